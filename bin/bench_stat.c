/*
 * bench_stat: medians, spreads and verdicts.
 */
#include <string.h>

#include "bench_stat.h"

#define LEAST 0.01	/* a difference nobody needs to hear of */

static void
sort(double *x, size_t n)
{
	size_t i, j;
	double v;

	for (i = 1; i < n; i++) {
		v = x[i];
		for (j = i; j > 0 && x[j - 1] > v; j--)
			x[j] = x[j - 1];
		x[j] = v;
	}
}

void
bench_spread_of(struct bench_spread *s, const double *x, size_t n)
{
	double v[BENCH_ROUNDS_MAX];
	size_t trim = n >= 5;

	memcpy(v, x, n * sizeof(*v));
	sort(v, n);
	s->median = (v[(n - 1) / 2] + v[n / 2]) / 2;
	s->low = v[trim];
	s->high = v[n - 1 - trim];
}

enum bench_verdict
bench_verdict(const struct bench_spread *gain, double noise)
{
	double limit = noise > LEAST ? noise : LEAST;

	if (gain->low > limit)
		return BENCH_BETTER;
	/* The same factor the other way round. */
	if (gain->high < 1 / (1 + limit) - 1)
		return BENCH_WORSE;
	return BENCH_SAME;
}

double
bench_noise(const double *a, const double *b, size_t n)
{
	double v[BENCH_ROUNDS_MAX] = { 0 };
	struct bench_spread s;
	size_t i;

	for (i = 0; i < n; i++)
		v[i] = a[i] > b[i] ? a[i] / b[i] - 1 : b[i] / a[i] - 1;
	bench_spread_of(&s, v, n);
	return s.high;
}
