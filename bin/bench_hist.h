/*
 * bench_hist: how long things took, as counts in buckets of equal ratio.
 *
 * A bucket is at most a 32nd of its value wide, so that what is read back is
 * less than 2 % from what went in; minimum, maximum and sum are exact.
 */
#ifndef BENCH_HIST_H
#define BENCH_HIST_H

#include <stdint.h>

enum {
	BENCH_HIST_SUB = 32,			/* buckets to a doubling */
	BENCH_HIST_BUCKETS = 60 * BENCH_HIST_SUB
};

/* All zero is an empty one. */
struct bench_hist {
	uint64_t n, min, max, sum;
	uint64_t count[BENCH_HIST_BUCKETS];
};

void bench_hist_add(struct bench_hist *h, uint64_t ns);
void bench_hist_merge(struct bench_hist *to, const struct bench_hist *from);

/* The value that a share (0 to 1) of the values do not exceed; 0 if there
 * are none. */
uint64_t bench_hist_at(const struct bench_hist *h, double share);

double bench_hist_mean(const struct bench_hist *h);

#endif /* BENCH_HIST_H */
