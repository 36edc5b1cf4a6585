/*
 * restore_in: what restore.c, which reads archives, and restore_plan.c, which
 * makes a database of what came, share.
 */
#ifndef KV_RESTORE_IN_H
#define KV_RESTORE_IN_H

#include "newdir.h"
#include "restore.h"

struct kv_restore {
	struct kv_env *env;
	struct kv_restore_options o;
	struct kv_newdir *dir;	/* NULL: not begun */
	unsigned archives;
	struct kv_base first, base;	/* the first one and the last */
	uint64_t *version;	/* numbers that came; 0: the log alone */
	size_t nversion;
	uint64_t files, bytes;
	/* The archive in hand. */
	const char *name;
	struct kv_tar_in *in;
	struct kv_base_member member;	/* a large one */
	int again;		/* there was one of its name before */
};

/*
 * r->member came under the name `temporary`, since there is one: a table must
 * be the same; of a segment one must continue the other, and the longer one
 * stays.
 */
int kv_restore_merge(struct kv_restore *r, const char *temporary);

#endif /* KV_RESTORE_IN_H */
