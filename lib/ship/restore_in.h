/*
 * restore_in: what the parts of a restore share: restore.c, which reads
 * archives; restore_plan.c, which chooses among what came; and restore_make.c,
 * which makes a database of the choice.
 */
#ifndef KV_RESTORE_IN_H
#define KV_RESTORE_IN_H

#include "../segment.h"
#include "newdir.h"
#include "restore.h"

struct kv_version;

/* What a dry run with an end to look for finds as the log passes by. */
struct kv_restore_dry {
	uint8_t *log;		/* the segment in hand */
	uint64_t len, room;
	int begun;		/* a version came that is not beyond the end */
	int past;		/* a commit beyond it was seen */
	struct kv_position at;	/* how far it leads */
	uint64_t time_ns;
};

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
	struct kv_restore_dry dry;
};

/*
 * r->member came under the name `temporary`, since there is one: a table must
 * be the same; of a segment one must continue the other, and the longer one
 * stays.
 */
int kv_restore_merge(struct kv_restore *r, const char *temporary);

/* How far the log of a version leads, towards what is wanted. */
struct kv_restore_reach {
	struct kv_version *v;
	uint64_t segment;	/* where the last commit is, */
	uint64_t off;		/* and ends; */
	struct kv_seal seal;	/* what belongs there */
	struct kv_position at;
	uint64_t time_ns;
	int past;		/* a later commit was seen */
};

/*
 * Make a database of what came, as of there: what it does not need goes, the
 * log is cut and sealed, and it is said who may write to it.  As
 * kv_restore_build(); KV_SHIP_CORRUPT where a table is in none of the archives.
 */
int kv_restore_make(struct kv_restore *r, const struct kv_restore_reach *a);

/*
 * The same question without a directory, if one is asked for (is_asked): a
 * version that came, a piece of a segment, its end, and the answer, as
 * kv_restore_build() gives it.  One segment is in memory at a time.
 */
int kv_restore_dry_is_asked(const struct kv_restore *r);
void kv_restore_dry_begin(struct kv_restore *r, uint64_t seq,
    uint64_t time_ns);
void kv_restore_dry_version(struct kv_restore *r, const void *p, size_t len);
int kv_restore_dry_data(struct kv_restore *r, const void *p, size_t len);
int kv_restore_dry_segment(struct kv_restore *r);
int kv_restore_dry_answer(struct kv_restore *r);

#endif /* KV_RESTORE_IN_H */
