/*
 * heap: which of several things comes first; they are known by number.
 *
 * at[0] is the first of n.  before(ctx, a, b) says whether a comes before b;
 * it is a constant wherever these are called, so that the compiler can put it
 * in place.
 */
#ifndef KV_HEAP_H
#define KV_HEAP_H

#include <stdint.h>

/* What is at place i may come later than its children: put that right. */
static inline __attribute__((always_inline)) void
kv_heap_sift(uint32_t *at, uint32_t n, uint32_t i,
    int (*before)(const void *ctx, uint32_t a, uint32_t b), const void *ctx)
{
	uint32_t moved = at[i];

	for (;;) {
		uint32_t child = 2 * i + 1;

		if (child >= n)
			break;
		if (child + 1 < n && before(ctx, at[child + 1], at[child]))
			child++;
		if (!before(ctx, at[child], moved))
			break;
		at[i] = at[child];
		i = child;
	}
	at[i] = moved;
}

/* Make a heap of n numbers in any order. */
static inline __attribute__((always_inline)) void
kv_heap_build(uint32_t *at, uint32_t n,
    int (*before)(const void *ctx, uint32_t a, uint32_t b), const void *ctx)
{
	for (uint32_t i = n / 2; i-- > 0;)
		kv_heap_sift(at, n, i, before, ctx);
}

#endif /* KV_HEAP_H */
