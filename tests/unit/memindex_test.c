/*
 * memindex_test: the index against a sorted array.
 *
 * KEVO_SEED repeats a run.  With --bench it measures instead.
 */
#include "hash.h"
#include "memindex_model.h"

/* ---- random insertions ------------------------------------------------- */

/* One commit of some operations, alone or in groups, in exactly the room it
 * may need. */
static void
commit(struct test *t, struct world *w, struct model *m, enum shape shape,
    uint64_t seq, uint32_t nops)
{
	static uint8_t key[KEY_MAX];
	uint64_t end = w->head->end, need = kv_index_need(&w->ix, nops);
	const struct entry *e;
	uint32_t klen, off, first = (uint32_t)w->log_used;
	struct kv_index_group g = { .ix = &w->ix };
	int grouped = below(2) == 0;

	check(t, end + need <= w->ix.arena_len);
	w->head->size = end + need;
	while (nops-- > 0) {
		if (m->count != 0 && below(6) == 0) {
			e = &m->entries[below(m->count)];
			memcpy(key, e->key, klen = e->klen);
		} else
			klen = make_key(shape, key);
		off = log_op(w, key, klen);
		check(t, (grouped ? kv_index_add(&g, seq, off) :
		    kv_index_insert(&w->ix, seq, off)) == 0);
		model_put(m, key, klen, seq, off);
		if (!grouped && below(8) == 0)
			check(t, kv_index_insert(&w->ix, seq, off) == 0);
	}
	check(t, kv_index_flush(&g) == 0 && g.n == 0);
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

/* ---- the filter -------------------------------------------------------- */

static uint64_t
hash_of(const struct world *w, uint32_t n)
{
	char key[16];

	return kv_hash(key, (size_t)snprintf(key, sizeof(key), "%u", n),
	    w->ix.seed);
}

static uint32_t
count_passing(const struct world *w, uint32_t from, uint32_t to)
{
	uint32_t n = 0;

	for (uint32_t i = from; i < to; i++)
		n += kv_index_may_have(&w->ix, hash_of(w, i)) != 0;
	return n;
}

static void
insert_numbers(struct test *t, struct world *w, uint32_t from, uint32_t to)
{
	char key[16];

	for (uint32_t i = from; i < to; i++) {
		snprintf(key, sizeof(key), "%u", i);
		put(t, w, key, i + 1);
	}
}

static void
test_filter(void)
{
	struct test t = { "memindex: a filter lets every key pass, and few "
	    "others", 0 };
	const uint32_t len = kv_index_filter_len(1 << 20);
	struct world w;

	check(&t, len == 8192 && kv_index_filter_len(0) == 64);
	check(&t, kv_index_filter_len(~(uint64_t)0) == 8 << 20);
	world_init(&w, 4 << 20, 1 << 20);
	check(&t, kv_index_use_filter(&w.ix, len, 4 << 20, 9) == -1);
	check(&t, kv_index_use_filter(&w.ix, 0, 4 << 20, 9) == 0);
	check(&t, w.ix.filter == NULL && kv_index_may_have(&w.ix, 1));
	kv_index_format(w.ix.arena, 4 << 20, 1, 2, 3, len);
	check(&t, w.head->end == KV_INDEX_HEAD_LEN + len);
	check(&t, kv_index_use_filter(&w.ix, len, KV_INDEX_HEAD_LEN + len - 1,
	    9) == -1 && w.ix.filter == NULL);
	check(&t, kv_index_use_filter(&w.ix, len, KV_INDEX_HEAD_LEN + len,
	    9) == 0);
	check(&t, count_passing(&w, 0, 10000) == 0);
	insert_numbers(&t, &w, 0, 5000);
	check(&t, count_passing(&w, 0, 5000) == 5000);
	check(&t, count_passing(&w, 5000, 10000) < 500);
	insert_numbers(&t, &w, 5000, 10000);
	check(&t, count_passing(&w, 0, 10000) == 10000);
	check(&t, kv_index_check(w.ix.arena, 4 << 20) == 0);
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
	uint64_t seed = seed_start();
	int i;

	if (argc > 1 && strcmp(argv[1], "--bench") == 0)
		return bench();
	printf("1..%d\n# KEVO_SEED=%llu\n", SHAPES + 6,
	    (unsigned long long)seed);
	test_versions();
	test_head();
	test_full();
	test_need();
	test_deep();
	test_filter();
	for (i = 0; i < SHAPES; i++)
		test_random((enum shape)i);
	return failures != 0;
}
