/*
 * memindex_model: what the tests of the index share: an index over a log in
 * memory, keys of all shapes, a sorted array, and the comparison of the two.
 */
#ifndef MEMINDEX_MODEL_H
#define MEMINDEX_MODEL_H

#include "memindex.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "record.h"

#define KEY_MAX 65536

/* ---- TAP, random numbers, clock ---------------------------------------- */

static int test_number;
static int failures;
static uint64_t rng_state;

#define check(t, cond) \
	((cond) ? (void)0 : complain((t), #cond, __LINE__))

struct test {
	const char *name;
	int bad;
};

static inline void
complain(struct test *t, const char *what, int line)
{
	if (t->bad++ < 5)
		printf("# %s: line %d: %s\n", t->name, line, what);
}

static inline void
report(const struct test *t)
{
	printf("%sok %d - %s\n", t->bad ? "not " : "", ++test_number, t->name);
	failures += t->bad != 0;
	fflush(stdout);
}

static inline uint64_t
rnd(void)
{
	uint64_t z = (rng_state += 0x9e3779b97f4a7c15u);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

/* KEVO_SEED, or another one each time. */
static inline uint64_t
seed_start(void)
{
	const char *given = getenv("KEVO_SEED");

	rng_state = given != NULL ? strtoull(given, NULL, 0) :
	    (uint64_t)time(NULL) << 20 ^ (uint64_t)getpid();
	return rng_state;
}

static inline uint32_t
below(uint32_t n)
{
	return (uint32_t)(rnd() % n);
}

/* Of this process: others on the machine do not count. */
static inline uint64_t
cpu_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static inline void *
must(void *p)
{
	if (p == NULL || p == MAP_FAILED) {
		perror("memindex_test");
		exit(2);
	}
	return p;
}

/* ---- an index over a log in memory ------------------------------------- */

struct world {
	struct kv_index ix;
	struct kv_index_head *head;
	uint8_t *log;
	uint64_t log_used;
};

static inline void
world_init(struct world *w, uint64_t arena_len, uint64_t log_len)
{
	uint64_t size = arena_len + log_len;

	w->ix.arena = must(mmap(NULL, size, PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
	w->ix.arena_len = arena_len;
	w->head = (void *)w->ix.arena;
	w->log = w->ix.arena + arena_len;
	w->ix.log = w->log;
	w->ix.log_len = log_len;
	w->ix.filter = NULL;
	w->log_used = 0;
	kv_index_format(w->ix.arena, arena_len, 1, 2, 3, 0);
}

static inline void
world_release(struct world *w)
{
	munmap(w->ix.arena, w->ix.arena_len + w->ix.log_len);
}

/* Append an operation to the log; its own encoder, by the book. */
static inline uint32_t
log_op(struct world *w, const uint8_t *key, uint32_t klen)
{
	uint32_t off = (uint32_t)w->log_used;
	uint8_t *p = w->log + off;
	int expires = off % 3 == 0;

	if (klen + 32 > w->ix.log_len - w->log_used) {
		printf("Bail out! log too small\n");
		exit(2);
	}
	p[0] = 1;
	p[1] = expires ? 1 : 0;
	p[2] = (uint8_t)(klen - 1);
	p[3] = (uint8_t)((klen - 1) >> 8);
	p[4] = 5;			/* value length */
	memset(p + 5, 0, 3);
	p += 8;
	if (expires) {
		memset(p, 0x77, 8);
		p += 8;
	}
	memcpy(p, key, klen);
	memcpy(p + klen, "value", 5);
	w->log_used = (uint64_t)(p - w->log) + klen + 5;
	return off;
}

/* ---- the model: a sorted array of keys, each with its versions --------- */

struct version {
	uint64_t seq;
	uint32_t off;
};

struct entry {
	uint8_t *key;
	uint32_t klen;
	uint32_t count;
	struct version *versions;	/* oldest first */
};

struct model {
	struct entry *entries;
	uint32_t count;
	uint32_t room;
};

static inline int
compare(const uint8_t *a, size_t alen, const uint8_t *b, size_t blen)
{
	int c = memcmp(a, b, alen < blen ? alen : blen);

	return c != 0 ? c : (alen > blen) - (alen < blen);
}

/* The first entry at or after a key. */
static inline uint32_t
model_at(const struct model *m, const uint8_t *key, size_t klen)
{
	uint32_t lo = 0, hi = m->count, mid;

	while (lo < hi) {
		mid = (lo + hi) / 2;
		if (compare(m->entries[mid].key, m->entries[mid].klen, key,
		    klen) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static inline struct entry *
model_find(const struct model *m, const uint8_t *key, size_t klen)
{
	uint32_t i = model_at(m, key, klen);

	if (i < m->count && compare(m->entries[i].key, m->entries[i].klen,
	    key, klen) == 0)
		return &m->entries[i];
	return NULL;
}

static inline void
model_put(struct model *m, const uint8_t *key, uint32_t klen, uint64_t seq,
    uint32_t off)
{
	struct entry *e = model_find(m, key, klen);
	uint32_t i = model_at(m, key, klen);

	if (e == NULL) {
		if (m->count == m->room) {
			m->room = m->room * 2 + 64;
			m->entries = must(realloc(m->entries,
			    m->room * sizeof(*e)));
		}
		e = &m->entries[i];
		memmove(e + 1, e, (m->count++ - i) * sizeof(*e));
		memset(e, 0, sizeof(*e));
		e->key = must(malloc(klen));
		memcpy(e->key, key, klen);
		e->klen = klen;
	}
	e->versions = must(realloc(e->versions,
	    (e->count + 1) * sizeof(struct version)));
	e->versions[e->count].seq = seq;
	e->versions[e->count++].off = off;
}

static inline const struct version *
model_version(const struct entry *e, uint64_t seq)
{
	const struct version *found = NULL;

	for (uint32_t i = 0; i < e->count && e->versions[i].seq <= seq; i++)
		found = &e->versions[i];
	return found;
}

static inline void
model_release(struct model *m)
{
	for (uint32_t i = 0; i < m->count; i++) {
		free(m->entries[i].key);
		free(m->entries[i].versions);
	}
	free(m->entries);
	memset(m, 0, sizeof(*m));
}

/* ---- key shapes -------------------------------------------------------- */

enum shape {
	DECIMAL, BINARY, PREFIXES, HUGE_KEYS, ONE_BYTE, LONG_PREFIX, URLS,
	DENSE, SHAPES
};

static const char *const shape_names[SHAPES] = {
	"16 digits", "binary with zero bytes", "prefixes of each other",
	"64 KiB keys", "one and two bytes", "long common prefixes", "urls",
	"counters"
};

static inline uint32_t
make_key(enum shape shape, uint8_t *k)
{
	static const char *const hosts[] = { "example.org", "example.com",
	    "www.example.org", "a.very-long-host-name.example.net" };
	uint32_t i, n;

	switch (shape) {
	case DECIMAL:
		return (uint32_t)sprintf((char *)k, "%016llu",
		    (unsigned long long)(rnd() % 10000000000000000u));
	case BINARY:
		n = 1 + below(24);
		for (i = 0; i < n; i++)
			k[i] = below(3) ? (uint8_t)rnd() : 0;
		return n;
	case PREFIXES:
		n = 1 + below(60);
		for (i = 0; i < n; i++)
			k[i] = below(12) ? 'a' : 'b';
		return n;
	case HUGE_KEYS:
		n = below(4) ? KEY_MAX - below(3) : 1 + below(KEY_MAX);
		memset(k, 'x', n);
		for (i = below(3); i > 0; i--)
			k[below(n)] = (uint8_t)rnd();
		return n;
	case ONE_BYTE:
		k[0] = (uint8_t)rnd();
		k[1] = (uint8_t)rnd();
		return below(20) ? 1 : 2;
	case LONG_PREFIX:
		n = below(3) ? 10 + below(3) * 40 : below(120);
		for (i = 0; i < n; i++)
			k[i] = (uint8_t)('a' + (i * i + i / 7) % 23);
		return n + (uint32_t)sprintf((char *)k + n, "%u", below(3000));
	case URLS:
		return (uint32_t)sprintf((char *)k,
		    "https://%s/%s/%u/%c%s", hosts[below(4)],
		    below(2) ? "articles" : "archive", below(30),
		    'a' + (int)below(26), below(3) ? "/index.html" : "");
	default:
		n = below(20000);
		k[0] = 'k';
		k[1] = (uint8_t)(n >> 8);
		k[2] = (uint8_t)n;
		return 3;
	}
}

/* ---- comparison with the model ----------------------------------------- */

static inline int
fetch(void *arg, void *buf, uint32_t len, uint64_t place)
{
	const struct kv_index *ix = arg;

	if (place > ix->arena_len || len > ix->arena_len - place)
		return -1;
	memcpy(buf, ix->arena + place, len);
	return 0;
}

/* Look up without the map.  The key is not compared there, so it is here. */
static inline int
find_unmapped(const struct kv_index *ix, const uint8_t *key, size_t klen,
    uint64_t seq, struct kv_index_hit *hit)
{
	const struct kv_index_head *h = (const void *)ix->arena;
	struct kv_index copy = *ix;
	struct kv_index_source src = { fetch, &copy, h->size, h->root };
	const uint8_t *found;
	uint32_t found_len;
	int rc = kv_index_find_unmapped(&src, key, klen, seq, hit);

	if (rc != 1)
		return rc;
	if (kv_op_key(ix->log, ix->log_len, hit->off, &found,
	    &found_len) != 0)
		return -1;
	return found_len == klen && memcmp(found, key, klen) == 0;
}

static inline void
check_find(struct test *t, const struct world *w, const struct model *m,
    const uint8_t *key, size_t klen, uint64_t seq)
{
	const struct entry *e = model_find(m, key, klen);
	const struct version *v = e != NULL ? model_version(e, seq) : NULL;
	struct kv_index_hit hit = { 0, 0 };
	int rc = kv_index_find(&w->ix, key, klen, seq, &hit);

	check(t, rc == (v != NULL));
	if (v != NULL)
		check(t, hit.seq == v->seq && hit.off == v->off);
	rc = find_unmapped(&w->ix, key, klen, seq, &hit);
	check(t, rc == (v != NULL));
	if (v != NULL)
		check(t, hit.seq == v->seq && hit.off == v->off);
}

/* Is the iterator on entry i, or past the end if there is no such entry? */
static inline void
check_on(struct test *t, const struct kv_index_iter *it, int rc,
    const struct model *m, int64_t i)
{
	const struct entry *e;
	const struct version *v;

	if (i < 0 || i >= m->count) {
		check(t, rc == 0);
		return;
	}
	check(t, rc == 1);
	if (rc != 1)
		return;
	e = &m->entries[i];
	v = model_version(e, it->seq);
	check(t, it->klen == e->klen && memcmp(it->key, e->key, e->klen) == 0);
	check(t, it->hit.seq == v->seq && it->hit.off == v->off);
}

/* The nearest entry in a direction, from i on, that has a version at seq. */
static inline int64_t
nearest(const struct model *m, int64_t i, int dir, uint64_t seq)
{
	while (i >= 0 && i < m->count &&
	    model_version(&m->entries[i], seq) == NULL)
		i += dir;
	return i;
}

static inline void
check_walk(struct test *t, const struct world *w, const struct model *m,
    uint64_t seq, int dir)
{
	struct kv_index_iter it;
	int64_t i = nearest(m, dir > 0 ? 0 : (int64_t)m->count - 1, dir, seq);
	int rc;

	kv_index_iter_init(&it, &w->ix, seq);
	rc = dir > 0 ? kv_index_first(&it) : kv_index_last(&it);
	for (;;) {
		check_on(t, &it, rc, m, i);
		if (rc != 1 || t->bad)
			break;
		i = nearest(m, i + dir, dir, seq);
		rc = dir > 0 ? kv_index_next(&it) : kv_index_prev(&it);
	}
	check(t, kv_index_next(&it) == 0 && kv_index_prev(&it) == 0);
	kv_index_iter_release(&it);
}

/* Seek, then go back and forth at random. */
static inline void
check_seek(struct test *t, struct kv_index_iter *it, const struct model *m,
    const uint8_t *key, size_t klen, int dir)
{
	int64_t i = model_at(m, key, klen);
	int rc, steps = (int)below(12);

	if (dir < 0 && (i == m->count ||
	    compare(m->entries[i].key, m->entries[i].klen, key, klen) != 0))
		i--;
	i = nearest(m, i, dir, it->seq);
	rc = dir > 0 ? kv_index_seek(it, key, klen) :
	    kv_index_seek_back(it, key, klen);
	check_on(t, it, rc, m, i);
	while (rc == 1 && steps-- > 0) {
		if (below(3) == 0)
			dir = -dir;
		i = nearest(m, i + dir, dir, it->seq);
		rc = dir > 0 ? kv_index_next(it) : kv_index_prev(it);
		check_on(t, it, rc, m, i);
	}
}

static inline void
check_all(struct test *t, const struct world *w, const struct model *m,
    enum shape shape, uint64_t last)
{
	static uint8_t key[KEY_MAX];
	struct kv_index_iter it;
	const struct entry *e;
	int i, n = shape == HUGE_KEYS ? 20 : 60;

	check_walk(t, w, m, last, 1);
	check_walk(t, w, m, last, -1);
	check_walk(t, w, m, rnd() % (last + 1), below(2) ? 1 : -1);
	kv_index_iter_init(&it, &w->ix, 0);
	for (i = 0; i < n && !t->bad; i++) {
		uint32_t klen = make_key(shape, key);

		it.seq = below(3) ? last : rnd() % (last + 1);
		check_find(t, w, m, key, klen, it.seq);
		check_seek(t, &it, m, key, klen, below(2) ? 1 : -1);
		e = &m->entries[below(m->count)];
		check_find(t, w, m, e->key, e->klen, it.seq);
		check_seek(t, &it, m, e->key, e->klen - below(2),
		    below(2) ? 1 : -1);
	}
	check_seek(t, &it, m, key, 0, 1);
	check_seek(t, &it, m, key, 0, -1);
	kv_index_iter_release(&it);
}

static inline uint32_t
put(struct test *t, struct world *w, const char *key, uint64_t seq)
{
	uint32_t off = log_op(w, (const uint8_t *)key, (uint32_t)strlen(key));

	check(t, kv_index_insert(&w->ix, seq, off) == 0);
	return off;
}

static inline int
get(const struct world *w, const char *key, uint64_t seq, uint32_t *off)
{
	struct kv_index_hit hit = { 0, 0 };
	int rc = kv_index_find(&w->ix, key, strlen(key), seq, &hit);

	*off = hit.off;
	return rc;
}

#endif /* MEMINDEX_MODEL_H */
