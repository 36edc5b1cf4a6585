/*
 * bench_stat: is a difference larger than the noise?
 *
 * Two settings are measured in rounds, one right after the other, and
 * compared round by round, so that what changes slowly on the machine is the
 * same for both.  How much two measurements of one and the same setting
 * differ in such a round is the noise.
 */
#ifndef BENCH_STAT_H
#define BENCH_STAT_H

#include <stddef.h>

enum { BENCH_ROUNDS_MAX = 99 };

/*
 * The middle of some numbers, and where they lie.  Of five or more the
 * smallest and the largest are left out of low and high: one disturbance
 * should not decide.
 */
struct bench_spread {
	double median, low, high;
};

/* n is 1 to BENCH_ROUNDS_MAX. */
void bench_spread_of(struct bench_spread *s, const double *x, size_t n);

enum bench_verdict { BENCH_SAME, BENCH_BETTER, BENCH_WORSE };

/*
 *   gain   a/b - 1 in each round: how much better the candidate was
 *   noise  how much the setting differs from itself, 0.03 for 3 %
 *
 * Better or worse only if the whole spread is on that side of the noise, and
 * by a hundredth at least.
 */
enum bench_verdict bench_verdict(const struct bench_spread *gain,
    double noise);

/* The noise, from the same setting measured twice in each round. */
double bench_noise(const double *a, const double *b, size_t n);

#endif /* BENCH_STAT_H */
