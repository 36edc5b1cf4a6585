/*
 * kill_random: what its processes share: the notes of writers, and what value
 * belongs to which key and number.
 */
#ifndef KILL_RANDOM_H
#define KILL_RANDOM_H

#include <stdatomic.h>

#include "crash.h"

#define WRITERS		5
#define READERS		3
#define COMPACTORS	2
#define PROCESSES	(WRITERS + READERS + COMPACTORS)
#define KEYS		12	/* of single puts, a writer */
#define BATCH		8
#define ACCOUNTS	10
#define OPENING		1000	/* in each account */
#define GROW_MAX	1500	/* keys that are never overwritten */
#define VALUE_ROOM	40000

enum what { PUT, PUT_LAST = PUT + KEYS - 1, BATCHED, GROW, FLIP, INCR,
    TRANSFER, OPEN_CLOSE, WHATS };

/* Notes of one slot: by what, how many were begun, how many acknowledged. */
struct notes {
	_Atomic int inside;
	_Atomic uint64_t begun[WHATS], acked[WHATS];
};

struct shared {
	struct notes writer[WRITERS];
	_Atomic int compacting[COMPACTORS];	/* inside that call */
	_Atomic uint64_t flushes, merges, removals;
	_Atomic uint64_t snapshots;
	_Atomic int failed;
	char why[600];
};

static struct shared *shared;
static char path[300];
static int compactors;		/* how many there are */

/* The first failure of anybody is the one to report. */
__attribute__((format(printf, 1, 2), noreturn)) static inline void
fail(const char *text, ...)
{
	int none = 0;
	va_list ap;

	if (atomic_compare_exchange_strong(&shared->failed, &none, 1)) {
		va_start(ap, text);
		vsnprintf(shared->why, sizeof(shared->why), text, ap);
		va_end(ap);
		atomic_store(&shared->failed, 2);
	}
	_exit(WRONG);
}

static inline void
check(struct kevo *db, int rc, const char *what)
{
	if (rc != 0)
		fail("%s: %s: %s", what, kevo_strerror(rc),
		    db != NULL ? kevo_errmsg(db) : "");
}

/* ---- keys and values ---------------------------------------------------- */

static inline size_t
key_of(char key[64], const char *kind, int slot, unsigned i)
{
	return (size_t)snprintf(key, 64, "%s:%d:%06u", kind, slot, i);
}

/* The value of number n: its length and bytes follow from key and n. */
static inline size_t
make_value(char *buf, const char *key, uint64_t n)
{
	uint64_t h = n * 0x9e3779b97f4a7c15 + strlen(key) * 77;
	size_t len = (size_t)snprintf(buf, 32, "%llu ",
	    (unsigned long long)n), more = h >> 56;

	for (const char *p = key; *p != '\0'; p++)
		h = (h ^ (uint8_t)*p) * 0x100000001b3;
	if (h % 61 == 0)
		more = 30000;
	for (; more > 0; more--) {
		h = h * 6364136223846793005u + 1442695040888963407u;
		buf[len++] = (char)(h >> 56);
	}
	return len;
}

/* The number in a value, whole and right, or fail. */
static inline uint64_t
number_of(const char *key, const void *val, size_t len)
{
	static char want[VALUE_ROOM];
	uint64_t n = strtoull(val, NULL, 10);

	if (make_value(want, key, n) != len || memcmp(want, val, len) != 0)
		fail("%s: wrong bytes in the value of number %llu", key,
		    (unsigned long long)n);
	return n;
}

#endif /* KILL_RANDOM_H */
