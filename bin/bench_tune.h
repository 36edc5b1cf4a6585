/*
 * bench_tune: what the two parts of --tune share: bench_tune.c measures,
 * bench_advice.c judges and tells.
 */
#ifndef BENCH_TUNE_H
#define BENCH_TUNE_H

#include "bench.h"
#include "bench_stat.h"

enum {
	BENCH_TUNE_ROOM = 32,	/* candidates that a run can have */
	BENCH_TUNE_TESTS = 16	/* tests; and one more column: the space */
};

/* Places of the baseline, and of the first candidate. */
enum { BENCH_BASE, BENCH_AGAIN, BENCH_FIRST };

enum bench_advice {
	BENCH_NO_DIFFERENCE,
	BENCH_ADVISED,
	BENCH_ONLY_WORSE,
	BENCH_TRADE,		/* better here and worse there */
	BENCH_PRICE,		/* better, for a price that no test shows */
	BENCH_HIDDEN,		/* the noise may hide that it is worse */
	BENCH_OTHER_VALUE,	/* another value of it gains more */
	BENCH_NOT_AGAIN,	/* not so when it was measured again */
	BENCH_NOT_TOGETHER	/* not together with the others */
};

struct bench_variant {
	const char *setting;	/* NULL: the baseline */
	const char **settings;	/* the baseline's and this one; owned */
	double x[BENCH_TUNE_TESTS + 1][BENCH_ROUNDS_MAX];
	struct bench_spread gain[BENCH_TUNE_TESTS + 1];
	enum bench_verdict verdict[BENCH_TUNE_TESTS + 1];
	enum bench_advice advice;
};

struct bench_tune {
	struct bench *b;
	const struct bench_test *const *test;
	size_t tests;
	unsigned rounds;
	enum bench_output output;
	size_t base_count;	/* settings of the baseline */
	struct bench_variant *v;
	size_t count;		/* baselines, candidates */
	struct bench_variant *together;	/* NULL: not measured */
	double noise[BENCH_TUNE_TESTS + 1];	/* of the first series */
	const char *refused[BENCH_TUNE_ROOM];
	size_t refusals;
};

/* Whether two settings, "name" or "name=value", are of one name. */
int bench_same_name(const char *a, const char *b);

/* Gains, verdicts and advice for v, from what was measured last. */
void bench_judge(const struct bench_tune *t, struct bench_variant *v);

/* Judge all after the first series, and only leave the best of several
 * values of a setting advised.  Returns how many are. */
size_t bench_judge_all(struct bench_tune *t);

/* By what factor it is better, all in all. */
double bench_merit(const struct bench_tune *t,
    const struct bench_variant *v);

/* Write all of it: as lines of kevo.conf, or as JSON. */
void bench_tell(const struct bench_tune *t);

#endif /* BENCH_TUNE_H */
