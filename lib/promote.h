/*
 * promote: how a replica becomes the primary, and what becomes of the one
 * before it.
 *
 * A promotion begins a new epoch at the last commit that is here.  It is
 * decided by one link(2): of the epoch's file in the archive, if there is
 * one, else of the file in this database.  Until then its text is kept in
 * epochs/next, so that a promotion that was killed goes on with its own nonce
 * when it is called again, and does not lose to itself.  Nothing is applied
 * while that file is there.
 */
#ifndef KV_PROMOTE_H
#define KV_PROMOTE_H

#include <stddef.h>
#include <stdint.h>

#include "epoch.h"
#include "orphans.h"

struct kevo;

#define KV_EPOCHS	"epochs"
#define KV_EPOCH_NEXT	"epochs/next"

/* Zero-filled means: all defaults. */
struct kv_promote {
	const char *host;	/* who this is; NULL: the system's name */
	const char *reason;	/* NULL: none is given */
	int force;		/* although the primary had more */
	int dry_run;		/* change nothing */
	/*
	 * Put the text where the others look, by link(2) or what is as good.
	 * 0 (the same bytes may be there), KEVO_FALSE (other ones are: the
	 * promotion is lost), or an error: it may be called again.  NULL:
	 * there is no such place.  The write lock is held meanwhile.
	 */
	int (*publish)(void *arg, uint32_t epoch, const char *text,
	    size_t len);
	void *arg;
};

enum kv_promote_class {
	KV_PROMOTE_DONE = 0,
	KV_PROMOTE_IS_PRIMARY,	/* it is one already */
	KV_PROMOTE_IS_FENCED,	/* it has to rejoin first */
	KV_PROMOTE_BEFORE,	/* a later epoch is known, and what leads there
				 * is not here: also with force */
	KV_PROMOTE_BEHIND,	/* the primary had commits up to `missing` */
	KV_PROMOTE_LOST		/* another one was faster */
};

struct kv_promoted {
	enum kv_promote_class why;
	uint64_t missing;
	struct kv_epoch epoch;	/* the new one; IS_PRIMARY: the one in force */
};

/*
 * Returns 0; KEVO_EPERM or KEVO_EHISTORY with out->why set; or an error, after
 * which the same call may be made again.
 */
int kv_promote(struct kevo *db, const struct kv_promote *p,
    struct kv_promoted *out);

/*
 * The role of a replica or a fenced copy, for everybody from the next write
 * on.  primary and reason may be "" or NULL.  Returns 0 or an error.
 */
int kv_fence(struct kevo *db, const char *primary, const char *reason);

/* ---- rejoin.c ---------------------------------------------------------- */

enum kv_rejoin_class {
	KV_REJOIN_DONE = 0,
	KV_REJOIN_IN_TABLES,	/* a table holds orphans: only a base backup
				 * helps; those that have a record are saved */
	KV_REJOIN_FORK,		/* these are not two lines of one history */
	KV_REJOIN_NOTHING	/* the others did not go on without it */
};

struct kv_rejoined {
	enum kv_rejoin_class why;
	uint64_t fork;		/* last commit that both lines have */
	struct kv_orphans orphans;	/* what is behind it here */
	char msg[704];		/* after an error: its sentence */
};

/*
 * Give up what the database in directory path has beyond the history of the
 * others, and make it a replica.  It must be closed, but for readers.
 *
 *   line     all epochs of the others
 *   primary  who is followed then; NULL or "": the host of the newest epoch
 *   wait_ms  limit on waiting until others have closed it; negative: none
 *   dry_run  only count
 *
 * Orphans are written to orphans/ as sealed segments first.  Then the log is
 * cut, if no table holds one of them; readers that are there finish on what
 * they have.  Killed at any moment, it is called again.
 *
 * Returns 0, KEVO_EHISTORY with out->why set, KEVO_EBUSY (it is open
 * elsewhere) or what kevo_open() may.
 */
int kv_rejoin(const char *path, const struct kv_history *line,
    const char *primary, int64_t wait_ms, int dry_run,
    struct kv_rejoined *out);

#endif /* KV_PROMOTE_H */
