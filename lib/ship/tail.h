/*
 * tail: what an archive has of a segment that is not sealed yet.
 *
 * state/tail/EPOCH-FIRST.open is written by a sink (sink.h); there may be
 * more than one, and what counts is what they hold.
 */
#ifndef KV_TAIL_H
#define KV_TAIL_H

#include <stddef.h>
#include <stdint.h>

#include "image.h"

struct kv_archive;
struct kv_segment_head;

/*
 * The newest tail of an archive: its whole commits are verified, and go on
 * from its segments.  KEVO_NOTFOUND: there is none.  *out is released by the
 * caller.  name (may be NULL) gets its path.
 */
int kv_tail_load(struct kv_archive *a, struct kv_image *out, char *name,
    size_t room);

/*
 * The segment with header h begins where the newest tail ends, whose seal we
 * missed, or where a promotion cut it off: then that is complete up to there,
 * and its seal, which says nothing that is not in it, is made here.  Commits
 * of another line behind the place are saved in orphans/.  The segments have
 * been listed.  Returns 1 if a segment was published, 0 if there was nothing
 * to do, or what publishing may.
 */
int kv_tail_complete(struct kv_archive *a, int zstd,
    const struct kv_segment_head *h);

/* Remove tails of an epoch that have nothing behind commit last. */
int kv_tail_drop(struct kv_archive *a, uint32_t epoch, uint64_t last);

/* Publish a sealed image, and drop tails that have nothing beyond it.  As
 * kv_archive_put_segment(). */
int kv_tail_publish(struct kv_archive *a, const struct kv_image *img,
    int zstd);

#endif /* KV_TAIL_H */
