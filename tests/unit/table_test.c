/*
 * table_test: tables against a plain sorted array.
 */
#include "salvage.h"
#include "table_model.h"

/* ---- lookups ----------------------------------------------------------- */

static void
check_get(struct kv_table *t, const struct rec *r, const void *key,
    size_t klen)
{
	uint64_t seq, h = kv_table_key_hash(id, key, klen);
	struct kv_op op;
	int rc = kv_table_get(&env, t, cache, key, klen, h, &seq, &op);

	if (rc < 0)
		tap_note("%s", env.msg);
	expect(rc == (r != NULL));
	if (rc == 1 && r != NULL)
		expect(same_record(r, seq, &op));
}

/* The same without a map. */
static void
check_pread_get(uint64_t number, const struct rec *r, const void *key,
    size_t klen)
{
	uint64_t seq, h = kv_table_key_hash(id, key, klen);
	uint8_t *buf = NULL;
	size_t room = 0;
	struct kv_op op;
	int rc = kv_table_pread_get(&env, &dir, number, 0, 0, key, klen, h,
	    &buf, &room, &seq, &op);

	if (rc < 0)
		tap_note("%s", env.msg);
	expect(rc == (r != NULL));
	if (rc == 1 && r != NULL)
		expect(same_record(r, seq, &op));
	free(buf);
}

/* A key near one of the model, mostly not in it. */
static size_t
near_key(const struct model *m, uint8_t *key)
{
	const struct kv_op *o = &m->rec[tap_below(m->n)].op;
	uint32_t len = o->klen;

	memcpy(key, o->key, len);
	switch (tap_below(6)) {
	case 0:
		if (len < KEVO_KEY_MAX)
			key[len++] = 0;
		break;
	case 1:
		if (len > 1)
			len--;
		break;
	case 2:
		key[len - 1]++;
		break;
	case 3:
		key[len - 1]--;
		break;
	case 4:
		key[tap_below(len)] ^= (uint8_t)(1 << tap_below(8));
		break;
	default:
		len = 1 + (uint32_t)tap_below(len);
	}
	return len;
}

static void
check_gets(struct kv_table *t, uint64_t number, const struct model *m)
{
	static uint8_t key[KEVO_KEY_MAX + 1];
	int found;

	for (size_t i = 0; i < m->n; i++)
		check_get(t, &m->rec[i], m->rec[i].op.key, m->rec[i].op.klen);
	for (size_t i = 0; i < m->n + 100; i++) {
		size_t len = near_key(m, key);
		size_t at = model_seek(m, key, len, &found);

		check_get(t, found ? &m->rec[at] : NULL, key, len);
		if (i % 16 == 0)
			check_pread_get(number, found ? &m->rec[at] : NULL,
			    key, len);
	}
	for (size_t i = 0; i < m->n; i += 1 + tap_below(32))
		check_pread_get(number, &m->rec[i], m->rec[i].op.key,
		    m->rec[i].op.klen);
}

/* ---- iterators --------------------------------------------------------- */

/* An iterator and where the model says it is: 0 before the first, n + 1
 * behind the last. */
struct pair {
	const struct model *m;
	struct kv_table_iter it;
	size_t at;
};

static void
check_at(struct pair *p, int rc)
{
	int inside = p->at > 0 && p->at <= p->m->n;

	if (rc < 0)
		tap_note("%s", env.msg);
	expect(rc == inside);
	if (rc == 1 && inside)
		expect(same(&p->m->rec[p->at - 1], p->it.seq, &p->it.op));
}

static void
move(struct pair *p, int how)
{
	static uint8_t key[KEVO_KEY_MAX + 1];
	size_t len, at;
	int found;

	switch (how) {
	case 0:
		p->at = 1;
		check_at(p, kv_table_first(&p->it));
		break;
	case 1:
		p->at = p->m->n;
		check_at(p, kv_table_last(&p->it));
		break;
	case 2:
	case 3:
		len = near_key(p->m, key);
		at = model_seek(p->m, key, len, &found);
		p->at = how == 2 ? at + 1 : at + (found ? 1 : 0);
		check_at(p, how == 2 ? kv_table_seek(&p->it, key, len) :
		    kv_table_seek_back(&p->it, key, len));
		break;
	case 4:
		p->at += p->at <= p->m->n;
		check_at(p, kv_table_next(&p->it));
		break;
	default:
		p->at -= p->at > 0;
		check_at(p, kv_table_prev(&p->it));
	}
}

static void
check_iter(struct kv_table *t, const struct model *m, int moves)
{
	struct pair p = { .m = m };

	kv_table_iter_init(&p.it, &env, t, cache);
	for (size_t i = 0; i < m->n + 2; i++)
		move(&p, 4);
	for (size_t i = 0; i < m->n + 2; i++)
		move(&p, 5);
	while (moves > 0) {
		/* Some steps one way after each jump. */
		int how = 4 + (int)tap_below(2);

		move(&p, (int)tap_below(4));
		for (uint64_t n = tap_below(40); n > 0; n--, moves--)
			move(&p, tap_below(8) == 0 ? 9 - how : how);
	}
	kv_table_iter_release(&p.it);
	for (size_t i = 0; i < m->n; i += 1 + tap_below(8)) {
		kv_table_iter_init(&p.it, &env, t, i % 2 ? cache : NULL);
		p.at = i + 1;
		check_at(&p, kv_table_seek(&p.it, m->rec[i].op.key,
		    m->rec[i].op.klen));
		check_at(&p, kv_table_seek_back(&p.it, m->rec[i].op.key,
		    m->rec[i].op.klen));
		kv_table_iter_release(&p.it);
	}
}

/* ---- verification ------------------------------------------------------ */

struct count {
	const struct model *m;
	size_t at, wrong;
};

static int
count_each(void *arg, uint64_t seq, const struct kv_op *op)
{
	struct count *c = arg;

	while (c->at < c->m->n && !same(&c->m->rec[c->at], seq, op))
		c->at++;
	if (c->at == c->m->n)
		c->wrong++;
	else
		c->at++;
	return 0;
}

static void
check_verify(struct kv_table *t, const struct model *m)
{
	struct count c = { .m = m };
	uint64_t lost;

	if (!expect(kv_table_verify(&env, t) == 0))
		tap_note("%s", env.msg);
	expect(salvage_file(&env, &dir, t->info.number, t->tail.id,
	    count_each, &c, &lost) == 0);
	expect(lost == 0 && c.wrong == 0 && c.at == m->n);
}

/* ---- tests ------------------------------------------------------------- */

static void
check_info(const struct model *m, const struct kv_table_info *i)
{
	uint64_t deletes = 0, expiring = 0, raw = 0, lo = UINT64_MAX, hi = 0;

	for (size_t k = 0; k < m->n; k++) {
		const struct rec *r = &m->rec[k];

		deletes += r->op.kind == KV_OP_DELETE;
		expiring += r->op.expires_ns != 0;
		raw += r->op.klen + r->op.vlen;
		lo = r->seq < lo ? r->seq : lo;
		hi = r->seq > hi ? r->seq : hi;
	}
	expect(i->count == m->n && i->deletes == deletes &&
	    i->expiring == expiring && i->raw_bytes == raw &&
	    i->min_seq == lo && i->max_seq == hi);
	expect(kv_key_cmp(i->first, i->first_len, m->rec[0].op.key,
	    m->rec[0].op.klen) == 0);
	expect(kv_key_cmp(i->last, i->last_len, m->rec[m->n - 1].op.key,
	    m->rec[m->n - 1].op.klen) == 0);
}

static void
check_model(const struct model *m, const struct kv_table_spec *s)
{
	struct kv_table_info made, read;
	struct kv_table *t;
	uint64_t n = write_table(m, s, &made);

	t = open_table(n);
	expect(kv_table_info(&env, t, &read) == 0);
	check_info(m, &read);
	expect(read.size == made.size && read.hash == made.hash &&
	    read.number == n && made.number == n);
	check_verify(t, m);
	check_gets(t, n, m);
	check_iter(t, m, 2000);
	kv_table_unref(t);
	remove_table(n);
}

static void
test_models(void)
{
	static const struct taste tastes[] = {
		{ "short keys", 3000, 12, 100, 26, 0, 0, 0, 1000 },
		{ "nested keys", 2000, 30, 20, 2, 60, 0, 0, 1 << 20 },
		{ "any bytes", 2000, 9, 300, 256, 30, 0, 0, UINT64_MAX / 2 },
		{ "only zero bytes", 300, 400, 50, 0, 0, 0, 0, 1 },
		{ "keys of 64 KiB", 60, 40, 3000, 3, 40, 3, 0, 300 },
		{ "large values", 60, 20, 200000, 20, 10, 0, 0, 300 },
		{ "no values", 2000, 20, 0, 10, 10, 0, 0, 300 },
		{ "one record", 1, 8, 20, 10, 0, 0, 0, 1 },
		{ "equal lengths", 2000, 16, 100, 256, 0, 0, 1, 1 << 20 }
	};
	static const uint32_t blocks[] = { 512, 4096, 65536 };
	static const uint32_t restarts[] = { 1, 2, 16, 255 };

	for (size_t i = 0; i < sizeof(tastes) / sizeof(tastes[0]); i++) {
		struct model m;

		make_model(&tastes[i], &m);
		for (int k = 0; k < 72; k++) {
			struct kv_table_spec s = spec(blocks[k % 3],
			    restarts[k / 3 % 4], k / 12 % 2,
			    (uint8_t)(k / 24));

			cache = kv_cache_new(tap_below(3) * 40000);
			check_model(&m, &s);
			kv_cache_free(cache);
		}
		free_model(&m);
		ok(1, "%s: as the model says", tastes[i].name);
	}
}

/* Keys whose hashes are so alike that they all belong into one line. */
static void
make_alike(struct model *m, size_t n)
{
	uint8_t key[8];

	m->rec = tap_alloc(n * sizeof(*m->rec));
	for (m->n = 0; m->n < n;) {
		struct rec *r = &m->rec[m->n];

		put_le64(key, tap_random());
		if (kv_table_key_hash(id, key, 8) >> 32 >= UINT32_MAX / 1000)
			continue;
		memset(r, 0, sizeof(*r));
		r->seq = 1;
		r->op.kind = KV_OP_PUT;
		r->op.key = memcpy(tap_alloc(8), key, 8);
		r->op.klen = 8;
		r->op.val = r->op.key;
		r->op.vlen = 3;
		m->n++;
	}
	qsort(m->rec, m->n, sizeof(*m->rec), by_key);
}

static void
test_alike(void)
{
	static const struct {
		size_t n;
		int lines;
		const char *what;
	} cases[] = {
		{ 900, 1, "keys that all belong into one line run over into "
		    "others" },
		{ 1500, 0, "too many of them, and there is no hash index" }
	};

	for (int i = 0; i < 2; i++) {
		struct kv_table_spec s = spec(4096, 16, 1, KV_CODEC_NONE);
		struct kv_table *t;
		struct model m;
		uint64_t n;

		make_alike(&m, cases[i].n);
		n = write_table(&m, &s, NULL);
		t = open_table(n);
		expect((t->nlines > 0) == cases[i].lines);
		kv_table_unref(t);
		remove_table(n);
		check_model(&m, &s);
		free_model(&m);
		ok(1, "%s", cases[i].what);
	}
}

/* What a writer refuses. */
static void
test_writer(void)
{
	struct kv_table_spec s = spec(4096, 16, 1, KV_CODEC_NONE);
	struct kv_op a = { .kind = KV_OP_PUT, .klen = 1, .vlen = 1,
	    .key = (const uint8_t *)"a", .val = (const uint8_t *)"x" };
	struct kv_table_writer *w, *other;
	struct kv_table_info info;
	struct kv_table *t;
	struct kv_op b = a;
	uint64_t n = ++last_number;

	b.key = (const uint8_t *)"b";
	if (kv_table_create(&env, &dir, n, &s, &w) != 0)
		tap_bail("create: %s", env.msg);
	ok(kv_table_create(&env, &dir, n, &s, &other) == KEVO_FALSE,
	    "a number that is taken");
	ok(kv_table_add(w, 1, &b) == 0 && kv_table_add(w, 2, &b) ==
	    KEVO_EINVAL, "a key twice");
	ok(kv_table_add(w, 2, &b) == KEVO_EINVAL &&
	    kv_table_finish(w, &info) == KEVO_EINVAL, "an error stays");
	kv_table_writer_free(w, 0);
	ok(kv_table_open(&env, &dir, n, 0, 0, &t) == KEVO_NOTFOUND,
	    "an unfinished table goes");
	if (kv_table_create(&env, &dir, n, &s, &w) != 0)
		tap_bail("create: %s", env.msg);
	ok(kv_table_finish(w, &info) == KEVO_EINVAL, "no records");
	kv_table_writer_free(w, 0);
	if (kv_table_create(&env, &dir, n, &s, &w) != 0)
		tap_bail("create: %s", env.msg);
	ok(kv_table_add(w, 1, &b) == 0 && kv_table_add(w, 1, &a) ==
	    KEVO_EINVAL, "keys in the wrong order");
	kv_table_writer_free(w, 0);
	s.codec = KV_CODEC_ZSTD + 1;
	ok(kv_table_create(&env, &dir, n, &s, &w) == KEVO_EINVAL,
	    "an unknown codec: %s", env.msg);
}

int
main(void)
{
	begin("table");
	test_writer();
	test_alike();
	test_models();
	return finish();
}
