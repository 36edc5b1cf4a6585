/*
 * rebuild: a generation in the making; shared by rebuild.c and rebuild_log.c.
 */
#ifndef KV_REBUILD_H
#define KV_REBUILD_H

#include "db.h"

struct kv_build {
	struct kevo *db;
	const struct kv_ident *ident;
	struct kv_conf conf;
	uint64_t generation;
	uint64_t began_ns;	/* of kv_mono_ns() */
	int private_index;	/* in memory of our own, as b->view */
	int read_only;		/* nothing of the log may be mended */
	int rewrite;		/* the last segment's pages are not trusted */
	uint64_t durable;	/* sequence that is known to have been synced */

	/* What was found. */
	struct kv_version *version;	/* the newest one */
	uint64_t first, last;	/* counters */
	struct kv_tail tail;
	int sealed;		/* the last segment is */
	uint64_t ops, bytes, cuts;	/* indexed, read, cut off */
	struct kv_view *view;	/* private: the segments */

	/* On the way there. */
	uint64_t next_seq, chain;	/* what the next segment begins with */
	uint64_t data_end;	/* of the segment in hand: then a hole */
};

/*
 * Read the log from where the newest version says, index it, and cut a torn
 * end.  kv_build_forget() releases what was found, also after an error.  0,
 * KEVO_ECORRUPT or another error.
 */
int kv_build_log(struct kv_build *b);
void kv_build_forget(struct kv_build *b);

#endif /* KV_REBUILD_H */
