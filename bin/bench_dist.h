/*
 * bench_dist: which key comes next.
 *
 * Everything is a function of a seed: two runs draw the same keys.
 */
#ifndef BENCH_DIST_H
#define BENCH_DIST_H

#include <stdint.h>

/* ---- random numbers ---------------------------------------------------- */

uint64_t bench_mix(uint64_t z);		/* any number to a random one */

struct bench_rng {
	uint64_t state;
};

uint64_t bench_random(struct bench_rng *r);
uint64_t bench_below(struct bench_rng *r, uint64_t n);	/* 0 to n - 1 */
double bench_unit(struct bench_rng *r);			/* 0 <= x < 1 */

/* ---- a random order ---------------------------------------------------- */

/*
 * A permutation of 0 to n - 1 that needs no memory: four rounds of a Feistel
 * network over the next even power of two, walked until it hits the range.
 */
struct bench_perm {
	uint64_t n, key, mask;
	unsigned half;		/* bits of a half */
};

void bench_perm_init(struct bench_perm *p, uint64_t n, uint64_t seed);
uint64_t bench_perm_at(const struct bench_perm *p, uint64_t i);

/* ---- Zipf -------------------------------------------------------------- */

/*
 * Ranks 0 to n - 1; rank i is drawn in proportion to 1 / (i + 1) ^ 0.99, the
 * exponent of YCSB.  Nothing is summed up first: W. Hoermann and
 * G. Derflinger, "Rejection-inversion to generate variates from monotone
 * discrete distributions", ACM TOMACS 6 (1996).
 */
struct bench_zipf {
	uint64_t n;
	double x1, xn, accept;
};

void bench_zipf_init(struct bench_zipf *z, uint64_t n);
uint64_t bench_zipf_draw(const struct bench_zipf *z, struct bench_rng *r);

/* ---- the four that a person can choose --------------------------------- */

enum bench_dist {
	BENCH_UNIFORM,		/* every key alike */
	BENCH_ZIPF,		/* a few keys most of the time, scattered */
	BENCH_SEQUENTIAL,	/* ascending, then from the beginning */
	BENCH_LATEST		/* as zipf; most often what was filled last */
};

struct bench_picker {
	enum bench_dist dist;
	uint64_t n, next;
	struct bench_rng rng;
	struct bench_perm scatter, filled;
	struct bench_zipf zipf;
};

/*
 *   fill    the order in which the keys were filled in
 *   seed    of this process and test
 *   first   where a sequential one begins
 */
void bench_picker_init(struct bench_picker *p, enum bench_dist dist,
    const struct bench_perm *fill, uint64_t seed, uint64_t first);
uint64_t bench_pick(struct bench_picker *p);

#endif /* BENCH_DIST_H */
