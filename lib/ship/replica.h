/*
 * replica: a copy of a database with nothing in it yet.
 */
#ifndef KV_REPLICA_H
#define KV_REPLICA_H

#include <stdint.h>

struct kv_env;
struct kv_epoch;

/*
 * Make a database in directory path, which is missing or empty, that has the
 * identity of another one and its first epoch, no commit, and the role of a
 * replica: what follows comes from the log of that one, from commit 1 on.  It
 * is there as a whole or not at all.  mode: of its files.
 *
 * Returns 0, KEVO_ECREATE (something is there), KV_SHIP_BUSY, or an error.
 */
int kv_replica_create(struct kv_env *env, const char *path, uint32_t mode,
    const struct kv_epoch *first);

#endif /* KV_REPLICA_H */
