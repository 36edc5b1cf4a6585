/*
 * tap: what unit tests share: results as TAP, random numbers, and a
 * directory of the test's own.
 *
 * KEVO_SEED repeats a run; the seed is printed.  expect() notes what is
 * wrong and goes on; tap_report() makes one result of all that was expected
 * since the last one.
 */
#ifndef TAP_H
#define TAP_H

#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static int tap_tests, tap_failures, tap_bad;
static uint64_t tap_seed, tap_rng;
static char tap_dir[200];	/* exists from tap_start() to tap_end() */

static inline void
tap_clean(void)
{
	char cmd[300];

	snprintf(cmd, sizeof(cmd), "rm -rf '%s'", tap_dir);
	if (tap_dir[0] != '\0' && system(cmd) != 0)
		printf("# %s stays behind\n", tap_dir);
}

static inline void tap_bail(const char *fmt, ...)
    __attribute__((noreturn, format(printf, 1, 2)));

static inline void
tap_bail(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	printf("Bail out! ");
	vprintf(fmt, ap);
	printf(" (KEVO_SEED=%llu)\n", (unsigned long long)tap_seed);
	va_end(ap);
	fflush(stdout);
	tap_clean();
	exit(1);
}

static inline void
tap_start(const char *name)
{
	const char *given = getenv("KEVO_SEED"), *tmp = getenv("TMPDIR");

	tap_seed = given != NULL ? strtoull(given, NULL, 10) :
	    (uint64_t)time(NULL) * 1000003u + (uint64_t)getpid();
	tap_rng = tap_seed;
	printf("# KEVO_SEED=%llu\n", (unsigned long long)tap_seed);
	fflush(stdout);
	snprintf(tap_dir, sizeof(tap_dir), "%s/kevo-%s.XXXXXX",
	    tmp != NULL ? tmp : "/tmp", name);
	if (mkdtemp(tap_dir) == NULL) {
		tap_dir[0] = '\0';
		tap_bail("no temporary directory");
	}
}

/* What main() returns. */
static inline int
tap_end(void)
{
	tap_clean();
	printf("1..%d\n", tap_tests);
	return tap_failures != 0;
}

static inline uint64_t
tap_random(void)
{
	uint64_t z = (tap_rng += 0x9e3779b97f4a7c15u);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

/* 0 to n - 1. */
static inline uint64_t
tap_below(uint64_t n)
{
	return tap_random() % n;
}

static inline void
tap_fill(void *p, size_t len)
{
	uint8_t *b = p;

	for (size_t i = 0; i < len; i++)
		b[i] = (uint8_t)tap_random();
}

static inline void *
tap_alloc(size_t len)
{
	void *p = malloc(len > 0 ? len : 1);

	if (p == NULL)
		tap_bail("out of memory");
	return p;
}

/* A remark in the output, at most a few between two results. */
static inline void tap_note(const char *fmt, ...)
    __attribute__((format(printf, 1, 2)));

static inline void
tap_note(const char *fmt, ...)
{
	va_list ap;

	if (tap_bad > 6)
		return;
	va_start(ap, fmt);
	printf("# ");
	vprintf(fmt, ap);
	printf("\n");
	va_end(ap);
}

static inline int
tap_complain(const char *what, int line)
{
	if (++tap_bad <= 6)
		printf("# line %d: not so: %s\n", line, what);
	return 0;
}

/* 1 if it is so. */
#define expect(cond) ((cond) ? 1 : tap_complain(#cond, __LINE__))

static inline void
tap_report(const char *name)
{
	printf("%sok %d - %s\n", tap_bad ? "not " : "", ++tap_tests, name);
	fflush(stdout);
	tap_failures += tap_bad != 0;
	tap_bad = 0;
}

static inline void
tap_ok(int good, const char *name)
{
	if (!good)
		tap_bad++;
	tap_report(name);
}

#endif /* TAP_H */
