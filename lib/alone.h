/*
 * alone: having a database for oneself, to change what the log says.
 */
#ifndef KV_ALONE_H
#define KV_ALONE_H

#include <stdint.h>

struct kevo;

/*
 * db is no handle: env, path, dir and wait_ms are set, and lock_fd is LOCK.
 * Take REBUILD, wait until nobody has the database open for writing, and
 * retire its shared memory; who opens it from now on waits for REBUILD, and
 * builds that anew.  Closing lock_fd ends it.
 *
 *   step    called while waiting; a result other than 0 ends that and is
 *           returned.  NULL: nothing is called
 *   synced  the newest commit that may be missed from the log after this; a
 *           later one that was on disk is going to be gone by intent.
 *           UINT64_MAX: none is
 *
 * Returns 0, KEVO_EBUSY naming a process, or an error.
 */
int kv_alone(struct kevo *db, const char *to_do, uint64_t synced,
    int (*step)(void *arg), void *arg);

#endif /* KV_ALONE_H */
