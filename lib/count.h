/*
 * count: add to the counters and histograms of a database.
 *
 * c is a control that is mapped for writing; never a reader's.  None of it
 * costs a system call or takes a lock.  What is below KV_STATS_OWNED or
 * KV_HISTS_OWNED may be counted by the owner of WRITER alone.
 */
#ifndef KV_COUNT_H
#define KV_COUNT_H

#include "control.h"

static inline _Atomic uint64_t *
kv_stat(struct kv_control *c, unsigned s)
{
	return s < KV_STATS_HOT_ROOM ? &c->hot.count[s] :
	    &c->cold.count[s - KV_STATS_HOT_ROOM];
}

static inline void
kv_add(_Atomic uint64_t *p, uint64_t n, int owned)
{
	if (owned)
		atomic_store_explicit(p, atomic_load_explicit(p,
		    memory_order_relaxed) + n, memory_order_relaxed);
	else
		atomic_fetch_add_explicit(p, n, memory_order_relaxed);
}

static inline void
kv_count(struct kv_control *c, enum kv_stat s, uint64_t n)
{
	kv_add(kv_stat(c, s), n, s < KV_STATS_OWNED);
}

/* Note a moment, of kv_now_ns(): the latest one stays. */
static inline void
kv_stamp(struct kv_control *c, enum kv_stat s, uint64_t now_ns)
{
	kv_raise(kv_stat(c, s), now_ns);
}

/* Something took ns nanoseconds. */
static inline void
kv_time(struct kv_control *c, enum kv_histogram i, uint64_t ns)
{
	struct kv_hist *h = i < KV_HISTS_HOT ? &c->hot.hist[i] :
	    &c->cold.hist[i - KV_HISTS_HOT];
	uint64_t v = ns >> kv_hist_shift(i);

	kv_add(&h->bucket[kv_hist_bucket(v)], 1, i < KV_HISTS_OWNED);
	kv_add(&h->sum, v, i < KV_HISTS_OWNED);
	if (v > atomic_load_explicit(&h->max, memory_order_relaxed))
		kv_raise(&h->max, v);
}

/* A writer was held up for ns nanoseconds. */
static inline void
kv_stall(struct kv_control *c, enum kv_stall why, uint64_t ns)
{
	kv_add(kv_stat(c, KV_STAT_STALLS + why), 1, 0);
	kv_add(kv_stat(c, KV_STAT_STALL_NS + why), ns, 0);
}

/* A call of the library failed with a status below 0. */
static inline void
kv_count_error(struct kv_control *c, int status)
{
	if (status < 0 && status >= -20)
		kv_add(kv_stat(c, KV_STAT_ERRORS + (unsigned)(-1 - status)),
		    1, 0);
}

#endif /* KV_COUNT_H */
