/*
 * flush_sort: the operations of a few segments in the order of their keys,
 * the newest first among equals.
 */
#ifndef KV_FLUSH_SORT_H
#define KV_FLUSH_SORT_H

#include <stddef.h>
#include <stdint.h>

#include "segment.h"

struct kv_env;
struct kv_flush_run;		/* a part of them that is sorted by itself */
struct kv_op;

/* A mapped one.  It stays where it is until all is released. */
struct kv_flush_segment {
	struct kv_segment_head head;
	const uint8_t *log;
	uint64_t len;
};

struct kv_flush_entry {
	uint64_t head;		/* of the key, behind the common part */
	uint32_t off;		/* of the operation in its segment */
	uint32_t seq;		/* of the commit, from the segment's first */
};

/* Starts as zeros, with env. */
struct kv_flush_sort {
	struct kv_env *env;
	uint64_t bytes;		/* of the operations */
	struct kv_flush_entry *entry;
	size_t n, room;
	struct kv_flush_run *run;	/* oldest first */
	uint32_t nrun, run_room;
	const uint8_t *common;	/* what every key begins with */
	uint32_t ncommon;
	uint32_t *heap, nheap;
	const struct kv_flush_segment *last_s;
	struct kv_flush_entry last;	/* that kv_flush_next() gave */
};

/* Take an operation that was decoded, the oldest first: 0 or KEVO_ENOMEM. */
int kv_flush_add(struct kv_flush_sort *o, const struct kv_flush_segment *s,
    uint64_t seq, uint64_t off, const struct kv_op *op);

/* Give back those of the segments from this counter on, but for `bytes'. */
void kv_flush_forget(struct kv_flush_sort *o, uint64_t counter);

/* Bytes of memory that they take. */
uint64_t kv_flush_memory(const struct kv_flush_sort *o);

/* All are there: bring them into order.  0 or KEVO_ENOMEM. */
int kv_flush_order(struct kv_flush_sort *o);

/* Then: the first key and the last; NULL where there is no operation. */
struct kv_flush_keys {
	const uint8_t *first, *last;
	uint32_t first_len, last_len;
};
void kv_flush_range(const struct kv_flush_sort *o, struct kv_flush_keys *out);

/* The next one: 1, or 0 when all have been given. */
struct kv_flush_op {
	const struct kv_flush_segment *s;
	uint64_t off, seq;
	int again;		/* its key is that of the one before */
};
int kv_flush_next(struct kv_flush_sort *o, struct kv_flush_op *out);

void kv_flush_sort_release(struct kv_flush_sort *o);

#endif /* KV_FLUSH_SORT_H */
