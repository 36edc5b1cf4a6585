/*
 * bench_dist: random numbers, orders and distributions.
 */
#include <math.h>

#include "bench_dist.h"

/* ---- random numbers ---------------------------------------------------- */

/* The finalizer of SplitMix64. */
uint64_t
bench_mix(uint64_t z)
{
	z += 0x9e3779b97f4a7c15u;
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

uint64_t
bench_random(struct bench_rng *r)
{
	return bench_mix(r->state++);
}

uint64_t
bench_below(struct bench_rng *r, uint64_t n)
{
	return (uint64_t)((unsigned __int128)bench_random(r) * n >> 64);
}

double
bench_unit(struct bench_rng *r)
{
	return (double)(bench_random(r) >> 11) * 0x1p-53;
}

/* ---- a random order ---------------------------------------------------- */

void
bench_perm_init(struct bench_perm *p, uint64_t n, uint64_t seed)
{
	unsigned bits = n > 1 ? 64 - (unsigned)__builtin_clzll(n - 1) : 1;

	p->n = n;
	p->half = (bits + 1) / 2;
	p->mask = (UINT64_C(1) << p->half) - 1;
	p->key = bench_mix(seed);
}

static uint64_t
feistel(const struct bench_perm *p, uint64_t x)
{
	uint64_t left = x >> p->half, right = x & p->mask, next;
	uint64_t round;

	/* right has 32 bits at most: no round sees another one's input. */
	for (round = 0; round < 4; round++) {
		next = left ^ (bench_mix(p->key + (round << 40 | right)) &
		    p->mask);
		left = right;
		right = next;
	}
	return left << p->half | right;
}

uint64_t
bench_perm_at(const struct bench_perm *p, uint64_t i)
{
	do
		i = feistel(p, i);
	while (i >= p->n);
	return i;
}

/* ---- Zipf -------------------------------------------------------------- */

#define EXPONENT 0.99

/* log1p(x) / x and expm1(x) / x, also where x is next to nothing. */
static double
log1p_over(double x)
{
	return fabs(x) > 1e-8 ? log1p(x) / x : 1 - x / 2;
}

static double
expm1_over(double x)
{
	return fabs(x) > 1e-8 ? expm1(x) / x : 1 + x / 2;
}

/* The density, its integral, and the inverse of that. */
static double
density(double x)
{
	return exp(-EXPONENT * log(x));
}

static double
integral(double x)
{
	return expm1_over((1 - EXPONENT) * log(x)) * log(x);
}

static double
inverse(double y)
{
	double t = y * (1 - EXPONENT);

	return exp(log1p_over(t < -1 ? -1 : t) * y);
}

void
bench_zipf_init(struct bench_zipf *z, uint64_t n)
{
	z->n = n;
	z->x1 = integral(1.5) - 1;
	z->xn = integral((double)n + 0.5);
	z->accept = 2 - inverse(integral(2.5) - density(2));
}

uint64_t
bench_zipf_draw(const struct bench_zipf *z, struct bench_rng *r)
{
	double u, x, k;

	for (;;) {
		u = z->xn + bench_unit(r) * (z->x1 - z->xn);
		x = inverse(u);
		k = floor(x + 0.5);
		if (k < 1)
			k = 1;
		else if (k > (double)z->n)
			k = (double)z->n;
		if (k - x <= z->accept ||
		    u >= integral(k + 0.5) - density(k))
			return (uint64_t)k - 1;
	}
}

/* ---- the four that a person can choose --------------------------------- */

void
bench_picker_init(struct bench_picker *p, enum bench_dist dist,
    const struct bench_perm *fill, uint64_t seed, uint64_t first)
{
	p->dist = dist;
	p->n = fill->n;
	p->next = first;
	p->rng.state = bench_mix(seed);
	p->filled = *fill;
	/* What is hot must be the same for all processes. */
	bench_perm_init(&p->scatter, fill->n, fill->key + 1);
	if (dist == BENCH_ZIPF || dist == BENCH_LATEST)
		bench_zipf_init(&p->zipf, fill->n);
}

uint64_t
bench_pick(struct bench_picker *p)
{
	uint64_t rank;

	switch (p->dist) {
	case BENCH_UNIFORM:
		return bench_below(&p->rng, p->n);
	case BENCH_SEQUENTIAL:
		return p->next++ % p->n;
	case BENCH_ZIPF:
		rank = bench_zipf_draw(&p->zipf, &p->rng);
		return bench_perm_at(&p->scatter, rank);
	case BENCH_LATEST:
		break;
	}
	rank = bench_zipf_draw(&p->zipf, &p->rng);
	return bench_perm_at(&p->filled, p->n - 1 - rank);
}
