/*
 * dest: where received records go: a replica, or an archive.
 */
#ifndef KV_DEST_H
#define KV_DEST_H

#include "receiver.h"

struct kevo;
struct kv_dir;
struct kv_history;

/*
 * Into a replica, by lib/apply.h.  db is open for writing and outlives it.
 * Returns 0 or an error, which is in kevo_errmsg() as all later ones are.
 */
int kv_dest_db_open(struct kevo *db, struct kv_dest **out);
void kv_dest_db_close(struct kv_dest *k);

/*
 * Into the archive at path, by tail.h.  One that is missing is made for the
 * database of the stream.  *out is set in any case but KEVO_ENOMEM, for the
 * message in out->env.  Returns 0, a class of ship.h, or an error.
 */
int kv_dest_archive_open(const char *path, int zstd, struct kv_dest **out);
void kv_dest_archive_close(struct kv_dest *k);

/* The archive's directory; NULL: there is none yet. */
const struct kv_dir *kv_dest_archive_dir(const struct kv_dest *k);

/*
 * 0, or KV_SHIP_ORPHANS if a sender whose log ends at a position has commits of
 * an epoch behind where the next one began; where is what receives.
 */
int kv_dest_orphans(struct kv_env *env, const struct kv_history *h,
    const struct kv_position *end, const char *where);

/* The commit time of the last of some records, whose frames are sound. */
uint64_t kv_dest_last_time(const uint8_t *p, size_t len);

#endif /* KV_DEST_H */
