/*
 * memindex_test: the index against a sorted array, readers beside a writer,
 * writers killed anywhere, and damaged arenas.
 *
 * KEVO_SEED repeats a run.  With --bench it measures instead.
 */
#include "memindex.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/time.h>
#include <sys/wait.h>
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

static void
complain(struct test *t, const char *what, int line)
{
	if (t->bad++ < 5)
		printf("# %s: line %d: %s\n", t->name, line, what);
}

static void
report(const struct test *t)
{
	printf("%sok %d - %s\n", t->bad ? "not " : "", ++test_number, t->name);
	failures += t->bad != 0;
	fflush(stdout);
}

static uint64_t
rnd(void)
{
	uint64_t z = (rng_state += 0x9e3779b97f4a7c15u);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

static uint32_t
below(uint32_t n)
{
	return (uint32_t)(rnd() % n);
}

/* Of this process: others on the machine do not count. */
static uint64_t
cpu_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static void *
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

static void
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
	w->log_used = 0;
	kv_index_format(w->ix.arena, arena_len, 1, 2, 3);
}

static void
world_release(struct world *w)
{
	munmap(w->ix.arena, w->ix.arena_len + w->ix.log_len);
}

/* Append an operation to the log; its own encoder, by the book. */
static uint32_t
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

static int
compare(const uint8_t *a, size_t alen, const uint8_t *b, size_t blen)
{
	int c = memcmp(a, b, alen < blen ? alen : blen);

	return c != 0 ? c : (alen > blen) - (alen < blen);
}

/* The first entry at or after a key. */
static uint32_t
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

static struct entry *
model_find(const struct model *m, const uint8_t *key, size_t klen)
{
	uint32_t i = model_at(m, key, klen);

	if (i < m->count && compare(m->entries[i].key, m->entries[i].klen,
	    key, klen) == 0)
		return &m->entries[i];
	return NULL;
}

static void
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

static const struct version *
model_version(const struct entry *e, uint64_t seq)
{
	const struct version *found = NULL;

	for (uint32_t i = 0; i < e->count && e->versions[i].seq <= seq; i++)
		found = &e->versions[i];
	return found;
}

static void
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

static uint32_t
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

static int
fetch(void *arg, void *buf, uint32_t len, uint64_t place)
{
	const struct kv_index *ix = arg;

	if (place > ix->arena_len || len > ix->arena_len - place)
		return -1;
	memcpy(buf, ix->arena + place, len);
	return 0;
}

/* Look up without the map.  The key is not compared there, so it is here. */
static int
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

static void
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
static void
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
static int64_t
nearest(const struct model *m, int64_t i, int dir, uint64_t seq)
{
	while (i >= 0 && i < m->count &&
	    model_version(&m->entries[i], seq) == NULL)
		i += dir;
	return i;
}

static void
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
static void
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

static void
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

/* ---- random insertions ------------------------------------------------- */

/* One commit of a few operations, in exactly the room it may need. */
static void
commit(struct test *t, struct world *w, struct model *m, enum shape shape,
    uint64_t seq, uint32_t nops)
{
	static uint8_t key[KEY_MAX];
	uint64_t end = w->head->end, need = kv_index_need(&w->ix, nops);
	const struct entry *e;
	uint32_t klen, off, first = (uint32_t)w->log_used;

	check(t, end + need <= w->ix.arena_len);
	w->head->size = end + need;
	while (nops-- > 0) {
		if (m->count != 0 && below(6) == 0) {
			e = &m->entries[below(m->count)];
			memcpy(key, e->key, klen = e->klen);
		} else
			klen = make_key(shape, key);
		off = log_op(w, key, klen);
		check(t, kv_index_insert(&w->ix, seq, off) == 0);
		model_put(m, key, klen, seq, off);
		if (below(8) == 0)
			check(t, kv_index_insert(&w->ix, seq, off) == 0);
	}
	check(t, w->head->end - end <= need);
	check(t, kv_index_check(w->ix.arena, w->ix.arena_len) == 0);

	/* The whole commit again, as after a crash: nothing new. */
	end = w->head->end;
	for (off = first; off < w->log_used;
	    off += 8 + (w->log[off + 1] ? 8 : 0) + klen + 5) {
		klen = (uint32_t)get_le16(w->log + off + 2) + 1;
		if (kv_index_insert(&w->ix, seq, off) < 0)
			check(t, !"insert again");
	}
	check(t, w->head->end >= end);
}

static void
test_random(enum shape shape)
{
	static const uint32_t commits[SHAPES] = { 300, 300, 200, 40, 60, 300,
	    300, 600 };
	char name[64];
	struct test t = { name, 0 };
	struct model m = { 0 };
	struct world w;
	uint64_t seq;

	snprintf(name, sizeof(name), "memindex: random %s as in the model",
	    shape_names[shape]);
	world_init(&w, 16 << 20, 64 << 20);
	for (seq = 1; seq <= commits[shape] && !t.bad; seq++) {
		commit(&t, &w, &m, shape, seq,
		    1 + below(shape == HUGE_KEYS ? 4 : seq % 10 ? 20 : 200));
		if (seq % (commits[shape] / 5) == 1)
			check_all(&t, &w, &m, shape, seq);
	}
	check_all(&t, &w, &m, shape, seq - 1);
	model_release(&m);
	world_release(&w);
	report(&t);
}

/* ---- small, fixed cases ------------------------------------------------ */

static uint32_t
put(struct test *t, struct world *w, const char *key, uint64_t seq)
{
	uint32_t off = log_op(w, (const uint8_t *)key, (uint32_t)strlen(key));

	check(t, kv_index_insert(&w->ix, seq, off) == 0);
	return off;
}

static int
get(const struct world *w, const char *key, uint64_t seq, uint32_t *off)
{
	struct kv_index_hit hit = { 0, 0 };
	int rc = kv_index_find(&w->ix, key, strlen(key), seq, &hit);

	*off = hit.off;
	return rc;
}

static void
test_versions(void)
{
	struct test t = { "memindex: versions, and inserting twice", 0 };
	struct world w;
	uint32_t off, o1, o2, o3;
	uint64_t end;

	world_init(&w, 1 << 16, 1 << 16);
	check(&t, get(&w, "k", 9, &off) == 0);
	o1 = put(&t, &w, "k", 5);
	o2 = put(&t, &w, "k", 7);
	o3 = put(&t, &w, "k", 7);
	check(&t, get(&w, "k", 4, &off) == 0);
	check(&t, get(&w, "k", 5, &off) == 1 && off == o1);
	check(&t, get(&w, "k", 6, &off) == 1 && off == o1);
	check(&t, get(&w, "k", 7, &off) == 1 && off == o3);
	end = w.head->end;
	check(&t, kv_index_insert(&w.ix, 7, o2) == 0);
	check(&t, kv_index_insert(&w.ix, 5, o1) == 0);
	check(&t, kv_index_insert(&w.ix, 7, o3) == 0);
	check(&t, w.head->end == end);
	check(&t, get(&w, "k", ~(uint64_t)0, &off) == 1 && off == o3);
	world_release(&w);
	report(&t);
}

static void
test_head(void)
{
	struct test t = { "memindex: check refuses other heads", 0 };
	struct world w;
	uint64_t i, n = 1 << 16;

	world_init(&w, n, 1 << 16);
	put(&t, &w, "k", 5);
	check(&t, kv_index_check(w.ix.arena, n) == 0);
	check(&t, kv_index_check(w.ix.arena, n - 1) == -1);
	check(&t, kv_index_check(w.ix.arena, 100) == -1);
	for (i = 0; i < 16; i++) {
		w.ix.arena[i] ^= 1;
		check(&t, kv_index_check(w.ix.arena, n) == -1);
		w.ix.arena[i] ^= 1;
	}
	w.head->end = n + 16;
	check(&t, kv_index_check(w.ix.arena, n) == -1);
	w.head->end = 16;
	check(&t, kv_index_check(w.ix.arena, n) == -1);
	world_release(&w);
	report(&t);
}

static void
test_full(void)
{
	struct test t = { "memindex: a full arena changes nothing", 0 };
	char key[8];
	struct world w;
	uint32_t off = 0, got, i;

	world_init(&w, 1 << 20, 1 << 16);
	for (i = 0; i < 300; i++) {
		snprintf(key, sizeof(key), "%03u", i);
		off = log_op(&w, (const uint8_t *)key, 3);
		w.head->size = w.head->end;
		check(&t, kv_index_insert(&w.ix, 1, off) == -1);
		check(&t, get(&w, key, 1, &got) == 0);
		check(&t, kv_index_check(w.ix.arena, w.head->size) == 0);
		w.head->size = w.head->end + kv_index_need(&w.ix, 1);
		check(&t, kv_index_insert(&w.ix, 1, off) == 0);
	}
	check(&t, get(&w, "299", 1, &got) == 1 && got == off);
	check(&t, get(&w, "000", 1, &got) == 1 && got == 0);
	world_release(&w);
	report(&t);
}

/*
 * The worst for space: in one commit, 60 nodes grow that all are full.  The
 * arena has exactly the room that was announced, and that is not absurd.
 */
static void
test_need(void)
{
	static const uint32_t rooms[] = { 5, 11, 24, 62 };
	struct test t = { "memindex: the space announced is enough", 0 };
	struct world w;
	uint8_t key[2];
	uint32_t r, i, j;
	uint64_t end, need;

	for (r = 0; r < 4; r++) {
		world_init(&w, 4 << 20, 1 << 20);
		end = need = 0;
		for (j = 0; j <= rooms[r]; j++) {
			if (j == rooms[r]) {
				end = w.head->end;
				need = kv_index_need(&w.ix, 60);
				w.head->size = end + need;
			}
			for (i = 0; i < 60; i++) {
				key[0] = (uint8_t)(i * 3);
				key[1] = (uint8_t)(j * 5);
				check(&t, kv_index_insert(&w.ix, 1,
				    log_op(&w, key, 2)) == 0);
			}
		}
		check(&t, w.head->end - end > need / 2);
		world_release(&w);
	}
	report(&t);
}

/* Each key is the one before with a byte more: the deepest tree. */
static void
test_deep(void)
{
	struct test t = { "memindex: 3000 keys, each a prefix of the next", 0 };
	struct kv_index_iter it;
	struct world w;
	uint8_t key[3000];
	uint32_t i;
	int rc;

	world_init(&w, 1 << 20, 8 << 20);
	memset(key, 'p', sizeof(key));
	for (i = 0; i < 3000; i++)
		check(&t, kv_index_insert(&w.ix, 1,
		    log_op(&w, key, (i * 7) % 3000 + 1)) == 0);
	kv_index_iter_init(&it, &w.ix, 1);
	rc = kv_index_first(&it);
	for (i = 1; rc == 1; i++, rc = kv_index_next(&it))
		check(&t, it.klen == i);
	check(&t, rc == 0 && i == 3001);
	rc = kv_index_last(&it);
	for (i = 3000; rc == 1; i--, rc = kv_index_prev(&it))
		check(&t, it.klen == i);
	check(&t, rc == 0 && i == 0);
	kv_index_iter_release(&it);
	world_release(&w);
	report(&t);
}

/* ---- a reader beside the writer ---------------------------------------- */

#define BESIDE	60000

/* The i-th key: no two alike, in no order. */
static uint32_t
beside_key(uint32_t i, uint8_t *k)
{
	uint32_t x = i * 2654435761u;

	if (x % 5 == 0)
		return (uint32_t)sprintf((char *)k, "user/%010u/name", x);
	return (uint32_t)sprintf((char *)k, "%u", x);
}

/* All keys up to seq, each inserted by the commit of its number. */
static int
read_beside(const struct kv_index *ix, uint64_t seq, int dir)
{
	struct kv_index_iter it;
	struct kv_index_hit hit;
	uint8_t key[32], prev[32];
	uint32_t klen, plen = 0;
	uint64_t n = 0;
	int rc, bad = 0;

	kv_index_iter_init(&it, ix, seq);
	rc = dir > 0 ? kv_index_first(&it) : kv_index_last(&it);
	while (rc == 1) {
		if (plen != 0 &&
		    compare(it.key, it.klen, prev, plen) * dir <= 0)
			bad = 1;
		memcpy(prev, it.key, plen = it.klen);
		n++;
		rc = dir > 0 ? kv_index_next(&it) : kv_index_prev(&it);
	}
	kv_index_iter_release(&it);
	klen = beside_key(1 + below((uint32_t)seq), key);
	if (kv_index_find(ix, key, klen, seq, &hit) != 1)
		bad = 1;
	return rc != 0 || n != seq || bad;
}

static void
reader(const struct world *w, _Atomic uint64_t *visible,
    _Atomic uint64_t *walks)
{
	uint64_t seq = 0;
	int dir = 1;

	while (seq < BESIDE) {
		seq = atomic_load_explicit(visible, memory_order_acquire);
		if (seq == 0)
			continue;
		if (read_beside(&w->ix, seq, dir) != 0)
			_exit(1);
		dir = -dir;
		atomic_fetch_add_explicit(walks, 1, memory_order_relaxed);
	}
	_exit(0);
}

/* Wait until the reader has finished n walks, or has ended. */
static void
await_walks(pid_t pid, const _Atomic uint64_t *walks, uint64_t n)
{
	siginfo_t info = { 0 };

	while (atomic_load_explicit(walks, memory_order_relaxed) < n &&
	    info.si_pid == 0) {
		sched_yield();
		waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT);
	}
}

static void
test_beside(void)
{
	struct test t = { "memindex: a reader beside the writer sees all", 0 };
	_Atomic uint64_t *visible = must(mmap(NULL, 4096,
	    PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
	struct world w;
	uint8_t key[32];
	uint32_t i;
	int status = 0;
	pid_t pid;

	world_init(&w, 16 << 20, 8 << 20);
	w.head->size = 4096;
	if ((pid = fork()) == 0)
		reader(&w, visible, visible + 1);
	for (i = 1; i <= BESIDE; i++) {
		uint32_t off = log_op(&w, key, beside_key(i, key));

		if (w.head->end + kv_index_need(&w.ix, 1) > w.head->size)
			w.head->size += 4096;
		check(&t, kv_index_insert(&w.ix, i, off) == 0);
		atomic_store_explicit(visible, i, memory_order_release);
		if (i % (BESIDE / 8) == 0 && i < BESIDE)
			await_walks(pid, visible + 1, visible[1] + 2);
	}
	check(&t, waitpid(pid, &status, 0) == pid);
	check(&t, WIFEXITED(status) && WEXITSTATUS(status) == 0);
	munmap((void *)(uintptr_t)visible, 4096);
	world_release(&w);
	report(&t);
}

/* ---- killed writers ---------------------------------------------------- */

/* The operations a writer is to insert, and the model of all of them. */
struct script {
	struct world w;
	struct model m;
	uint32_t *offs;
	uint32_t count;
};

static void
script_add(struct script *s, const void *key, uint32_t klen)
{
	s->offs = must(realloc(s->offs, (s->count + 1) * sizeof(*s->offs)));
	s->offs[s->count] = log_op(&s->w, key, klen);
	model_put(&s->m, key, klen, s->count + 1, s->offs[s->count]);
	s->count++;
}

static void
script_release(struct script *s)
{
	free(s->offs);
	model_release(&s->m);
	world_release(&s->w);
}

/*
 * Every kind of step: nodes of all types grow, leaves and paths of short
 * and long bytes are split at each place, keys end at nodes, versions.
 */
static void
script_init(struct script *s)
{
	static const char *const fixed[] = { "romane", "romanus", "romulus",
	    "rom", "r", "rubens", "ruber", "rubicon", "rubicundus", "romane",
	    "abcdefghijklmnopqrstuvwxyz-abcdefghijklmnopqrstuvwxyz-1",
	    "abcdefghijklmnopqrstuvwxyz-abcdefghijklmnopqrstuvwxyz-2",
	    "abcdefghijklmnopqrstuvwxyz-abcdefghijklm",
	    "abcdefghijklmnopqrstuvwxyz", "abcdefghi", "a",
	    "abcdefghijklmnopqrstuvwxyz-abcdefghijklmnopqrstuvwxyz-1" };
	uint8_t key[2] = { 'q', 0 };
	unsigned i;

	memset(s, 0, sizeof(*s));
	world_init(&s->w, 1 << 16, 1 << 20);
	for (i = 0; i < sizeof(fixed) / sizeof(fixed[0]); i++)
		script_add(s, fixed[i], (uint32_t)strlen(fixed[i]));
	for (i = 0; i < 70; i++) {
		key[1] = (uint8_t)(i * 37);
		script_add(s, key, 2);
	}
	script_add(s, "q", 1);
	script_add(s, key, 2);
}

/*
 * A writer was stopped while it inserted operation n.  Is the arena good
 * for readers, and for the next writer?
 */
static void
check_stopped(struct test *t, struct script *s, uint32_t n, uint8_t *copy,
    uint32_t depth)
{
	struct world w = s->w;
	struct kv_index_hit hit;
	const uint8_t *key;
	uint32_t klen, i;
	int rc;

	memcpy(copy, s->w.ix.arena, s->w.head->end);
	memset(copy + s->w.head->end, 0, 4096);
	w.ix.arena = copy;
	w.ix.arena_len = s->w.head->end + 4096;
	w.head = (void *)copy;
	w.head->size = w.ix.arena_len;
	check(t, kv_index_check(copy, w.ix.arena_len) == 0);
	check_walk(t, &w, &s->m, n, 1);
	check_walk(t, &w, &s->m, n, -1);

	if (kv_op_key(w.log, w.ix.log_len, s->offs[n], &key, &klen) < 0)
		abort();
	rc = kv_index_find(&w.ix, key, klen, n + 1, &hit);
	check(t, rc == 0 || rc == 1);
	for (i = n; i < n + depth && i < s->count; i++)
		check(t, kv_index_insert(&w.ix, i + 1, s->offs[i]) == 0);
	check_walk(t, &w, &s->m, i, 1);
	check_find(t, &w, &s->m, key, klen, n + 1);
}

/* The child: insert all, having said which one is next. */
static void
insert_script(struct script *s, _Atomic uint32_t *next)
{
	uint32_t i;

	for (i = *next; i < s->count; i++) {
		atomic_store_explicit(next, i, memory_order_relaxed);
		if (kv_index_insert(&s->w.ix, i + 1, s->offs[i]) < 0)
			_exit(1);
	}
	atomic_store_explicit(next, i, memory_order_relaxed);
}

/* memcmp() of some C libraries goes byte by byte. */
static int
differs(const uint8_t *a, const uint8_t *b, uint64_t len)
{
	for (uint64_t i = 0; i + 8 <= len; i += 8)
		if (get_le64(a + i) != get_le64(b + i))
			return 1;
	return 0;
}

/*
 * Run a writer one instruction at a time, and look at the arena after each
 * that changed it: what it holds then is what a kill would leave.
 */
static void
test_steps(void)
{
	struct test t = { "memindex: killed after any instruction", 0 };
	_Atomic uint32_t *next = must(mmap(NULL, 4096,
	    PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
	struct script s;
	uint8_t *copy = must(calloc(1, 1 << 17)), *last;
	uint64_t changes = 0, len;
	int status;
	pid_t pid;

	script_init(&s);
	last = must(calloc(1, 1 << 16));
	fflush(stdout);
	if ((pid = fork()) == 0) {
		if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0)
			_exit(77);
		raise(SIGSTOP);
		insert_script(&s, next);
		_exit(0);
	}
	while (waitpid(pid, &status, 0) == pid && WIFSTOPPED(status)) {
		len = s.w.head->end + 64;
		if (*next < s.count && !t.bad &&
		    differs(last, s.w.ix.arena, len)) {
			memcpy(last, s.w.ix.arena, len);
			check_stopped(&t, &s, *next, copy, 2);
			changes++;
		}
		if (ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL) < 0)
			break;
	}
	if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
		printf("# cannot trace: %s\n", strerror(errno));
	else
		check(&t, WIFEXITED(status) && WEXITSTATUS(status) == 0 &&
		    changes > s.count * 5);
	printf("# %llu states\n", (unsigned long long)changes);
	munmap((void *)(uintptr_t)next, 4096);
	free(copy);
	free(last);
	script_release(&s);
	report(&t);
}

/*
 * Writers whose alarm, which nobody handles, ends them at random; each
 * successor begins with the same operation.
 */
static void
test_kills(void)
{
	struct test t = { "memindex: writers killed at random", 0 };
	_Atomic uint32_t *next = must(mmap(NULL, 4096,
	    PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
	struct itimerval timer = { { 0, 0 }, { 0, 0 } };
	struct script s = { .count = 0 };
	uint8_t key[32];
	uint32_t i, kills = 0;
	int status;
	pid_t pid;

	world_init(&s.w, 8 << 20, 8 << 20);
	for (i = 0; i < 40000; i++)
		script_add(&s, key, beside_key(i, key));
	while (*next < s.count && !t.bad && kills < 10000) {
		timer.it_value.tv_usec = 1 + below(400);
		if ((pid = fork()) == 0) {
			setitimer(ITIMER_REAL, &timer, NULL);
			insert_script(&s, next);
			_exit(0);
		}
		waitpid(pid, &status, 0);
		kills += WIFSIGNALED(status);
		check(&t, WIFSIGNALED(status) || WEXITSTATUS(status) == 0);
	}
	printf("# %u kills\n", kills);
	check(&t, kills > 0);
	check_walk(&t, &s.w, &s.m, s.count, 1);
	check_walk(&t, &s.w, &s.m, s.count, -1);
	munmap((void *)(uintptr_t)next, 4096);
	script_release(&s);
	report(&t);
}

/* ---- damaged arenas ---------------------------------------------------- */

/* Everything a reader can do; what it finds does not matter. */
static void
read_damaged(struct test *t, const struct world *w, const struct model *m)
{
	struct kv_index_iter it;
	struct kv_index_hit hit;
	const struct entry *e;
	uint64_t moves;
	uint32_t i;
	int rc;

	kv_index_iter_init(&it, &w->ix, 1 + below(200));
	for (i = 0; i < m->count; i += 1 + below(8)) {
		e = &m->entries[i];
		kv_index_find(&w->ix, e->key, e->klen, it.seq, &hit);
		rc = below(2) ? kv_index_seek(&it, e->key, e->klen) :
		    kv_index_seek_back(&it, e->key, e->klen);
		if (rc == 1 && below(2))
			kv_index_next(&it);
		else
			kv_index_prev(&it);
	}
	rc = kv_index_first(&it);
	for (moves = 0; rc == 1 && moves <= w->ix.log_len; moves++)
		rc = kv_index_next(&it);
	check(t, rc != 1);
	rc = kv_index_last(&it);
	for (moves = 0; rc == 1 && moves <= w->ix.log_len; moves++)
		rc = kv_index_prev(&it);
	check(t, rc != 1);
	kv_index_iter_release(&it);
}

/* A writer in a damaged arena: it may fail, or spoil it further. */
static void
write_damaged(const struct script *s, const struct world *w)
{
	struct world copy = *w;
	uint64_t len = w->ix.arena_len;
	uint32_t i;

	copy.ix.arena = must(calloc(1, len + 4096));
	memcpy(copy.ix.arena, w->ix.arena, len);
	copy.ix.arena_len = len + 4096;
	copy.head = (void *)copy.ix.arena;
	copy.head->size += 4096;
	for (i = 0; i < s->count; i += 1 + below(5))
		kv_index_insert(&copy.ix, s->count + i, s->offs[i]);
	kv_index_need(&copy.ix, 100);
	free(copy.ix.arena);
}

/* The script's arena and log, in memory that ends where they end. */
static void
damaged_init(struct world *d, const struct script *s)
{
	*d = s->w;
	d->ix.arena_len = s->w.head->end;
	d->ix.log_len = s->w.log_used;
	d->ix.arena = must(malloc(d->ix.arena_len));
	d->log = must(malloc(d->ix.log_len));
	d->ix.log = d->log;
	d->head = (void *)d->ix.arena;
}

static void
damaged_reset(struct world *d, const struct script *s)
{
	memcpy(d->ix.arena, s->w.ix.arena, d->ix.arena_len);
	memcpy(d->log, s->w.log, d->ix.log_len);
	d->head->size = d->ix.arena_len;
}

/* Damage at random: bytes, links copied elsewhere, the log. */
static void
damage(struct world *d)
{
	uint32_t words = (uint32_t)(d->ix.arena_len / 4), n = 1 + below(8);
	uint32_t *w = (void *)d->ix.arena;

	while (n-- > 0)
		switch (below(4)) {
		case 0:
			d->ix.arena[below(words * 4)] = (uint8_t)rnd();
			break;
		case 1:
			w[below(words)] = (uint32_t)rnd();
			break;
		case 2:
			w[64 + below(words - 64)] = w[64 + below(words - 64)];
			break;
		default:
			d->log[below((uint32_t)d->ix.log_len)] = (uint8_t)rnd();
		}
}

static void
test_damage(void)
{
	struct test t = { "memindex: damage neither crashes nor hangs", 0 };
	struct script s;
	struct world d;
	uint64_t i;

	script_init(&s);
	for (i = 0; i < s.count; i++)
		check(&t, kv_index_insert(&s.w.ix, i + 1, s.offs[i]) == 0);
	damaged_init(&d, &s);
	for (i = 0; i < d.ix.arena_len; i++) {
		damaged_reset(&d, &s);
		d.ix.arena[i] ^= (uint8_t)(below(2) ? 1 + below(255) :
		    1u << below(8));
		read_damaged(&t, &d, &s.m);
		write_damaged(&s, &d);
	}
	for (i = 0; i < 3000; i++) {
		damaged_reset(&d, &s);
		damage(&d);
		read_damaged(&t, &d, &s.m);
		write_damaged(&s, &d);
	}
	for (i = 0; i < 300; i++) {
		damaged_reset(&d, &s);
		for (uint64_t j = 256; j < d.ix.arena_len; j++)
			d.ix.arena[j] = (uint8_t)(below(2) ? below(8) : rnd());
		d.head->root = below((uint32_t)d.ix.arena_len / 4);
		read_damaged(&t, &d, &s.m);
		write_damaged(&s, &d);
	}
	free(d.ix.arena);
	free(d.log);
	script_release(&s);
	report(&t);
}

/* A version that links to itself, and children that are shared. */
static void
test_cycles(void)
{
	struct test t = { "memindex: cycles and shared children end", 0 };
	struct kv_index_iter it;
	struct world w;
	uint8_t *n;
	uint32_t links[3], i, off, leaf = 256 / 8 << 1 | 1;
	int rc;

	world_init(&w, 1 << 16, 1 << 16);
	put(&t, &w, "a", 2);
	put_le32(w.ix.arena + 256 + 12, leaf);
	check(&t, get(&w, "a", 2, &off) == 1);
	check(&t, get(&w, "a", 1, &off) == -1);
	put_le32(w.ix.arena + 256 + 12, 0);

	/* 60 nodes, both children of each the next: no counting to 2^60. */
	w.head->root = 512 / 8 << 1;
	for (i = 0; i < 60; i++) {
		n = w.ix.arena + 512 + i * 32;
		n[0] = 2;
		n[1] = 2;
		n[2] = 'a';
		n[3] = 'b';
		links[0] = 0;
		links[1] = links[2] = i == 59 ? leaf :
		    (512 + (i + 1) * 32) / 8 << 1;
		memcpy(n + 8, links, sizeof(links));
	}
	kv_index_iter_init(&it, &w.ix, 1);
	check(&t, kv_index_first(&it) == -1);
	it.seq = 2;
	rc = kv_index_first(&it);
	check(&t, rc == 1 && kv_index_next(&it) == -1);
	kv_index_iter_release(&it);
	world_release(&w);
	report(&t);
}

/* ---- measurement ------------------------------------------------------- */

static void
bench_keys(const char *name, enum shape shape, uint32_t n)
{
	uint32_t *offs = must(malloc(n * sizeof(*offs))), i, j, found = 0;
	struct kv_index_iter it;
	struct kv_index_hit hit;
	struct world w;
	uint8_t key[KEY_MAX];
	const uint8_t *k;
	uint32_t klen;
	uint64_t start, best = UINT64_MAX, sum = 0;
	uint8_t *copies = must(malloc((size_t)n * 16));

	world_init(&w, (uint64_t)1 << 30, (uint64_t)n * 64);
	for (i = 0; i < n; i++) {
		klen = 16;
		if (shape == BINARY)
			for (j = 0; j < 16; j++)
				key[j] = (uint8_t)rnd();
		else if (shape == DENSE)
			sprintf((char *)key, "%016u", i);
		else
			klen = make_key(shape, key);
		offs[i] = log_op(&w, key, klen);
	}
	start = cpu_ns();
	for (i = 0; i < n; i++)
		kv_index_insert(&w.ix, i + 1, offs[i]);
	printf("%-16s insert %4llu ns", name,
	    (unsigned long long)(cpu_ns() - start) / n);
	for (i = 0; i < n; i++) {
		j = below(n);
		if (kv_op_key(w.log, w.ix.log_len, offs[j], &k, &klen) < 0)
			abort();
		memcpy(copies + (size_t)i * 16, k, 16);
	}
	for (j = 0; j < 5; j++) {
		start = cpu_ns();
		for (i = 0, found = 0; i < n; i++)
			found += kv_index_find(&w.ix, copies + (size_t)i * 16,
			    16, n, &hit) == 1;
		start = cpu_ns() - start;
		if (best > start / n)
			best = start / n;
	}
	printf(", find %4llu ns", (unsigned long long)best);
	kv_index_iter_init(&it, &w.ix, n);
	start = cpu_ns();
	for (int rc = kv_index_first(&it); rc == 1; rc = kv_index_next(&it))
		sum += it.klen;
	printf(", next %3llu ns", (unsigned long long)(cpu_ns() - start) / n);
	start = cpu_ns();
	for (int rc = kv_index_last(&it); rc == 1; rc = kv_index_prev(&it))
		sum += it.klen;
	printf(", prev %3llu ns", (unsigned long long)(cpu_ns() - start) / n);
	start = cpu_ns();
	for (i = 0; i < n / 4; i++)
		sum += (unsigned)kv_index_seek(&it,
		    copies + (size_t)i * 16, 16);
	printf(", seek %4llu ns",
	    (unsigned long long)(cpu_ns() - start) / (n / 4));
	kv_index_iter_release(&it);
	printf(", %llu bytes/key%s\n", (unsigned long long)w.head->end / n,
	    found == n && sum > 0 ? "" : " WRONG");
	fflush(stdout);
	free(copies);
	free(offs);
	world_release(&w);
}

static int
bench(void)
{
	bench_keys("16 digits", DECIMAL, 1000000);
	bench_keys("16 random bytes", BINARY, 1000000);
	bench_keys("counter", DENSE, 1000000);
	bench_keys("counter, 100 K", DENSE, 100000);
	bench_keys("16 digits, 10 K", DECIMAL, 10000);
	return 0;
}

int
main(int argc, char *argv[])
{
	const char *seed = getenv("KEVO_SEED");
	int i;

	rng_state = seed != NULL ? strtoull(seed, NULL, 0) :
	    (uint64_t)time(NULL) << 20 ^ (uint64_t)getpid();
	if (argc > 1 && strcmp(argv[1], "--bench") == 0)
		return bench();
	printf("1..%d\n# KEVO_SEED=%llu\n", SHAPES + 10,
	    (unsigned long long)rng_state);
	test_versions();
	test_head();
	test_full();
	test_need();
	test_deep();
	for (i = 0; i < SHAPES; i++)
		test_random((enum shape)i);
	test_beside();
	test_steps();
	test_kills();
	test_damage();
	test_cycles();
	return failures != 0;
}
