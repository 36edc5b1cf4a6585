/*
 * promote: how a replica becomes the primary, and what becomes of the one
 * before it.
 *
 * A promotion begins a new epoch at the last commit that is here.  It is
 * decided by one link(2): of the epoch's file in the archive, if there is
 * one, else of the file in this database.  Until then its text is kept in
 * epochs/next, so that a promotion that was killed goes on with its own nonce
 * when it is called again, and does not lose to itself.
 */
#ifndef KV_PROMOTE_H
#define KV_PROMOTE_H

#include <stddef.h>
#include <stdint.h>

#include "epoch.h"

struct kevo;

struct kv_promote {
	const char *host;	/* who this is; NULL: the system's name */
	const char *reason;
	int force;		/* although the primary had more */
	/*
	 * Put the text where the others look, by link(2) or what is as good.
	 * 0 (the same bytes may be there), KEVO_FALSE (other ones are: the
	 * promotion is lost), or an error: it may be called again.  NULL:
	 * there is no such place.
	 */
	int (*publish)(void *arg, uint32_t epoch, const char *text,
	    size_t len);
	void *arg;
};

enum kv_promote_class {
	KV_PROMOTE_DONE = 0,
	KV_PROMOTE_IS_PRIMARY,	/* it is one already */
	KV_PROMOTE_BEHIND,	/* the primary had commits up to `missing` */
	KV_PROMOTE_LOST		/* another one was faster */
};

struct kv_promoted {
	enum kv_promote_class why;
	uint64_t missing;
	struct kv_epoch epoch;
};

/*
 * Returns 0, KEVO_EPERM or KEVO_EHISTORY with out->why set, or an error, after
 * which the same call may be made again.
 */
int kv_promote(struct kevo *db, const struct kv_promote *p,
    struct kv_promoted *out);

/* Nobody writes here any more, not even kv_apply().  primary may be "". */
int kv_fence(struct kevo *db, const char *primary, const char *reason);

/*
 * Give up what this database has beyond the fork, and become a replica.
 *
 *   next  the epoch that others went on with; it must continue our history
 *
 * Commits beyond next->start are written to orphans/ as a sealed segment
 * first.  Then the log is cut, if no table holds one of them.
 */
enum kv_rejoin_class {
	KV_REJOIN_DONE = 0,
	KV_REJOIN_IN_TABLES,	/* a table holds orphans: only a base backup
				 * helps; they are saved all the same */
	KV_REJOIN_FORK		/* the chain at next->start is another one */
};

struct kv_rejoined {
	enum kv_rejoin_class why;
	uint64_t orphans, first, last;	/* commits */
	char file[80];		/* below the database; "": there are none */
};

/* dry_run: only count.  Returns 0, KEVO_EHISTORY with out->why set,
 * KEVO_EBUSY (it is open elsewhere) or an error. */
int kv_rejoin(const char *path, const struct kv_epoch *next, int dry_run,
    struct kv_env *env, struct kv_rejoined *out);

#endif /* KV_PROMOTE_H */
