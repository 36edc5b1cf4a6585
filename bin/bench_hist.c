/*
 * bench_hist: a histogram with buckets of equal ratio.
 */
#include "bench_hist.h"

enum { SUB_BITS = 5 };

static unsigned
bucket(uint64_t v)
{
	unsigned top;

	if (v < BENCH_HIST_SUB)
		return (unsigned)v;
	top = 63 - (unsigned)__builtin_clzll(v);
	return (top - SUB_BITS + 1) * BENCH_HIST_SUB +
	    (unsigned)(v >> (top - SUB_BITS) & (BENCH_HIST_SUB - 1));
}

/* The middle of bucket i. */
static uint64_t
middle(unsigned i)
{
	unsigned shift;
	uint64_t low;

	if (i < BENCH_HIST_SUB)
		return i;
	shift = i / BENCH_HIST_SUB - 1;
	low = (uint64_t)(BENCH_HIST_SUB + i % BENCH_HIST_SUB) << shift;
	return low + ((UINT64_C(1) << shift) >> 1);
}

void
bench_hist_add(struct bench_hist *h, uint64_t ns)
{
	h->count[bucket(ns)]++;
	if (h->n++ == 0 || ns < h->min)
		h->min = ns;
	if (ns > h->max)
		h->max = ns;
	h->sum += ns;
}

void
bench_hist_merge(struct bench_hist *to, const struct bench_hist *from)
{
	unsigned i;

	if (from->n == 0)
		return;
	for (i = 0; i < BENCH_HIST_BUCKETS; i++)
		to->count[i] += from->count[i];
	if (to->n == 0 || from->min < to->min)
		to->min = from->min;
	if (from->max > to->max)
		to->max = from->max;
	to->n += from->n;
	to->sum += from->sum;
}

uint64_t
bench_hist_at(const struct bench_hist *h, double share)
{
	uint64_t rank, seen = 0, v;
	unsigned i;

	if (h->n == 0)
		return 0;
	rank = (uint64_t)(share * (double)h->n);
	if ((double)rank < share * (double)h->n || rank == 0)
		rank++;
	for (i = 0; i < BENCH_HIST_BUCKETS; i++)
		if ((seen += h->count[i]) >= rank)
			break;
	v = i < BENCH_HIST_BUCKETS && rank < h->n ? middle(i) : h->max;
	if (v < h->min)
		return h->min;
	return v > h->max ? h->max : v;
}

double
bench_hist_mean(const struct bench_hist *h)
{
	return h->n > 0 ? (double)h->sum / (double)h->n : 0;
}
