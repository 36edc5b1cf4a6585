/*
 * walship_watch: has an archive changed?
 */
#ifndef WALSHIP_WATCH_H
#define WALSHIP_WATCH_H

#include <stdint.h>

struct kv_archive;
struct walship_watch;

/* Never NULL.  Watching begins here, so what changes from now on is seen. */
struct walship_watch *walship_watch_open(struct kv_archive *a);
void walship_watch_close(struct walship_watch *w);

/*
 * Sleep until something in the archive may have changed, or a signal came.
 * The kernel tells of changes that are made on this machine; those that come
 * through a network file system are found by looking at the times of a few
 * directories once a second.  max_ms -1: no limit.
 *
 * Returns 1 if there is something to look at, or max_ms are over; else 0.
 */
int walship_watch_wait(struct walship_watch *w, int64_t max_ms);

#endif /* WALSHIP_WATCH_H */
