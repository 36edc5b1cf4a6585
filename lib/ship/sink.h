/*
 * sink: the log as it comes in, on its way into an archive.
 *
 * A sink is fed the header of a segment, records, and the seal, as they are in
 * the log.  What is not sealed yet lies in state/tail/EPOCH-FIRST.open and
 * grows by appending; with its seal it becomes a segment in wal/.  All of
 * it is verified again on its way: a sink trusts a stream no more than a
 * file.
 */
#ifndef KV_SINK_H
#define KV_SINK_H

#include <stddef.h>
#include <stdint.h>

#include "../position.h"

struct kv_archive;
struct kv_sink;

/*
 * a outlives the sink and is locked.  zstd: compress complete segments.
 */
int kv_sink_open(struct kv_archive *a, int zstd, struct kv_sink **out);
void kv_sink_close(struct kv_sink *s);

/*
 * A segment begins, or goes on behind commit after: then what is before must
 * be in the tail already.  bytes: KV_SEGMENT_HEAD of them.  Returns 0,
 * KV_SHIP_CORRUPT, KV_SHIP_WRONG_DB, KV_SHIP_GAP, KV_SHIP_FORK or an error.
 */
int kv_sink_head(struct kv_sink *s, const uint8_t *bytes, uint64_t after);

/* Whole records, in order.  Those that are in the tail already are skipped.
 * KV_SHIP_CORRUPT, KV_SHIP_GAP, KV_SHIP_FORK or an error. */
int kv_sink_records(struct kv_sink *s, const uint8_t *bytes, size_t len);

/*
 * The seal: KV_SEAL_LEN bytes.  The segment is published, and its tail goes.
 * Returns 0, KEVO_FALSE (it was there) or what publishing may.
 */
int kv_sink_seal(struct kv_sink *s, const uint8_t *bytes);

/* Bring what came since to disk, as a tail. */
int kv_sink_flush(struct kv_sink *s);

/* Behind the last record that was taken; epoch 0: none yet. */
void kv_sink_position(const struct kv_sink *s, struct kv_position *p);

#endif /* KV_SINK_H */
