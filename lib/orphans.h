/*
 * orphans: commits of this copy that the others went on without, saved as
 * segments in orphans/ before they are given up.
 */
#ifndef KV_ORPHANS_H
#define KV_ORPHANS_H

#include <stdint.h>

struct kevo;
struct kv_dir;
struct kv_env;
struct kv_history;

#define KV_ORPHANS	"orphans"

struct kv_orphans {
	uint64_t saved;		/* commits of which there is a record, */
	uint64_t first, last;	/* from and to; 0: none */
	uint32_t epoch;		/* of the first */
	uint64_t files;		/* written */
	uint64_t missing;	/* commits of which there is none any more, */
	char which[200];	/* as "41..43, 57" */
};

/*
 * Under WRITER, with all of the log on disk: save what there is behind commit
 * fork.  Records are looked for in wal/, whether a version still needs them
 * there or not, in what slots keep, and in orphans/ itself.
 *
 *   mine     the epochs of this copy: what is of none of them is no orphan
 *   dry_run  only look
 *
 * Returns 0, KEVO_EHISTORY (orphans/ has other commits of such a name) or an
 * error.
 */
int kv_orphans_save(struct kevo *db, const struct kv_history *mine,
    uint64_t fork, int dry_run, struct kv_orphans *out);

/* Make the directory, unless it is there. */
int kv_orphans_dir(struct kv_env *env, const struct kv_dir *dir,
    uint32_t mode);

#endif /* KV_ORPHANS_H */
