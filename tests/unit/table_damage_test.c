/*
 * table_damage_test: every byte of a table damaged, every field given values
 * that cannot be, and writing on a disk that fails.
 *
 * A damaged table may refuse to be read; what it does return is right.
 */
#include <errno.h>
#include <sys/wait.h>

#include "salvage.h"
#include "table_model.h"

static struct model model;

/* What the last error said, without the path. */
static const char *
why(void)
{
	const char *p = strstr(env.msg, "damaged: ");

	return p != NULL ? p : env.msg;
}

/* ---- a table in memory ------------------------------------------------- */

struct image {
	uint8_t *b;
	size_t len;
	struct kv_table_tail tail;
	struct kv_table_shape shape;
};

static const struct taste small = {
	"small", 60, 20, 60, 3, 30, 0, 0, 5000
};

static void
load(struct image *m, uint64_t number)
{
	char name[KV_TABLE_NAME_LEN];
	struct stat st;
	int fd;

	kv_table_name(name, number);
	fd = openat(dir.fd, name, O_RDONLY);
	if (fd < 0 || fstat(fd, &st) != 0)
		tap_bail("cannot open %s", name);
	m->len = (size_t)st.st_size;
	m->b = tap_alloc(m->len);
	if (read(fd, m->b, m->len) != (ssize_t)m->len)
		tap_bail("cannot read %s", name);
	close(fd);
	if (kv_table_tail_decode(m->b + m->len - KV_TABLE_TAIL, m->len,
	    &m->tail, &m->shape) != NULL)
		tap_bail("a tail that does not decode");
}

static void
store(uint64_t number, const uint8_t *b, size_t len)
{
	char name[KV_TABLE_NAME_LEN];
	int fd;

	kv_table_name(name, number);
	/* Not cut to nothing first: some file systems sync it then. */
	fd = openat(dir.fd, name, O_WRONLY | O_CREAT, 0666);
	if (fd < 0 || write(fd, b, len) != (ssize_t)len ||
	    ftruncate(fd, (off_t)len) != 0)
		tap_bail("cannot write %s", name);
	close(fd);
}

/* The index region of an image, and the array of places in it. */
static uint8_t *
index_of(struct image *m)
{
	return m->b + m->tail.data_len;
}

static uint8_t *
places_of(struct image *m)
{
	return index_of(m) + (size_t)m->tail.lines * KV_LINE +
	    (size_t)m->tail.groups * 8;
}

/*
 * Compute all hashes anew, so that what was changed looks as if it had been
 * written so: `was` says where things are.
 */
static void
rehash(struct image *m, struct image *was)
{
	const struct kv_table_tail *t = &was->tail;
	uint64_t seed = kv_table_seed(t->id, t->number), off, len;
	uint8_t *sums = index_of(m) + was->shape.index_len;
	uint8_t *tail = m->b + m->len - KV_TABLE_TAIL;

	for (uint32_t i = 0; i < t->groups; i++) {
		uint32_t n, split;

		off = (uint64_t)get_le32(places_of(was) + 4 * (size_t)i) <<
		    kv_unit_shift(t->codec);
		n = get_le32(m->b + off + 8);
		split = get_le32(m->b + off + 12);
		if (n <= t->data_len - off && split <= n && split >= 16)
			put_le64(m->b + off, kv_unit_hash(m->b + off, split,
			    m->b + off + split, n - split, seed, off));
	}
	for (uint64_t i = 0; i < was->shape.pages; i++) {
		off = i * KV_PAGE;
		len = was->shape.index_len - off;
		put_le64(sums + i * 8, kv_hash(index_of(m) + off,
		    len < KV_PAGE ? len : KV_PAGE,
		    kv_page_seed(seed, t->data_len + off)));
	}
	put_le64(m->b + 56, kv_hash(m->b, 56, 0));
	put_le64(tail + 120, kv_hash(sums, was->shape.pages * 8, seed));
	put_le64(tail + KV_TAIL_HASHED, kv_table_tail_hash(tail, tail -
	    was->shape.keys_len, was->shape.keys_len));
}

static struct image
copy(const struct image *m)
{
	struct image c = *m;

	c.b = tap_alloc(m->len);
	memcpy(c.b, m->b, m->len);
	return c;
}

/* ---- reading all of it ------------------------------------------------- */

/* What came of reading a damaged table. */
struct result {
	int noticed;	/* somebody said that it is damaged */
	int wrong;	/* something else than what was written was returned */
	int opens;
	size_t given;	/* records that a repair would get */
	uint64_t lost;
};

static void
note(struct result *r, int rc, int right)
{
	if (rc == KEVO_ECORRUPT)
		r->noticed = 1;
	else if (!right)
		r->wrong++;
}

static void
read_by_key(struct result *r, struct kv_table *t)
{
	struct kv_table_iter it;
	struct kv_op op;
	uint64_t seq;
	int rc;

	kv_table_iter_init(&it, &env, t, cache);
	for (size_t i = 0; i < model.n; i++) {
		const struct rec *k = &model.rec[i];

		rc = kv_table_get(&env, t, cache, k->op.key, k->op.klen,
		    kv_table_key_hash(id, k->op.key, k->op.klen), &seq, &op);
		note(r, rc, rc == 1 && same_record(k, seq, &op));
		rc = kv_table_seek(&it, k->op.key, k->op.klen);
		note(r, rc, rc == 1 && same(k, it.seq, &it.op));
	}
	kv_table_iter_release(&it);
}

static void
read_in_order(struct result *r, struct kv_table *t)
{
	struct kv_table_iter it;
	size_t i;
	int rc;

	kv_table_iter_init(&it, &env, t, NULL);
	for (i = 0; (rc = kv_table_next(&it)) == 1 && i < model.n; i++)
		note(r, rc, same(&model.rec[i], it.seq, &it.op));
	note(r, rc, rc == 0 && i == model.n);
	kv_table_iter_release(&it);
	kv_table_iter_init(&it, &env, t, cache);
	rc = kv_table_last(&it);
	for (i = model.n; rc == 1 && i > 0; rc = kv_table_prev(&it), i--)
		note(r, rc, same(&model.rec[i - 1], it.seq, &it.op));
	note(r, rc, rc == 0 && i == 0);
	kv_table_iter_release(&it);
}

static void
read_cold(struct result *r, uint64_t number)
{
	uint8_t *buf = NULL;
	size_t room = 0;
	struct kv_op op;
	uint64_t seq;

	for (size_t i = 0; i < model.n; i += 1 + tap_below(30)) {
		const struct rec *k = &model.rec[i];
		int rc = kv_table_pread_get(&env, &dir, number, 0, 0,
		    k->op.key, k->op.klen, kv_table_key_hash(id, k->op.key,
		    k->op.klen), &buf, &room, &seq, &op);

		note(r, rc, rc == 1 && same_record(k, seq, &op));
	}
	free(buf);
}

struct given {
	size_t at, n;
	int wrong;
};

/* What a repair gets is in order and was written. */
static int
give(void *arg, uint64_t seq, const struct kv_op *op)
{
	struct given *g = arg;

	while (g->at < model.n && !same(&model.rec[g->at], seq, op))
		g->at++;
	g->wrong += g->at == model.n;
	g->at += g->at < model.n;
	g->n++;
	return 0;
}

static struct result
read_all(uint64_t number)
{
	struct result r = { 0, 0, 0, 0, 0 };
	struct given g = { 0, 0, 0 };
	struct kv_table *t;
	int rc;

	/* Each time as a new process would find it. */
	cache = kv_cache_new(2000);
	rc = kv_table_open(&env, &dir, number, 0, 0, &t);
	note(&r, rc, rc == 0);
	if (rc == 0) {
		r.opens = 1;
		read_by_key(&r, t);
		read_in_order(&r, t);
		rc = kv_table_verify(&env, t);
		note(&r, rc, rc == 0);
		kv_table_unref(t);
	}
	if (salvage_file(&env, &dir, number, id, give, &g, &r.lost) != 0)
		r.wrong++;
	read_cold(&r, number);
	kv_cache_free(cache);
	r.given = g.n;
	r.wrong += g.wrong;
	return r;
}

/* ---- bytes ------------------------------------------------------------- */

/* Records that may go with one block. */
static size_t
most_in_block(const struct kv_table_spec *s)
{
	return s->codec == KV_CODEC_NONE ? s->restart_interval : model.n;
}

/* What flips showed. */
struct flips {
	uint64_t number;
	int fd;
	size_t most;		/* records that may go with one block */
	int missed, wrong, lost;
};

static void
flip(struct flips *f, const struct image *m, size_t i)
{
	uint8_t b = m->b[i] ^ (uint8_t)(1 + tap_below(255));
	struct result r;

	if (pwrite(f->fd, &b, 1, (off_t)i) != 1)
		tap_bail("cannot write");
	r = read_all(f->number);
	if (!r.noticed || r.wrong > 0)
		tap_note("byte %zu of %zu, %s", i, m->len, env.msg);
	f->missed += !r.noticed;
	f->wrong += r.wrong > 0;
	f->lost += r.given + f->most < model.n ||
	    (r.opens && r.given < model.n && r.lost == 0);
	if (pwrite(f->fd, m->b + i, 1, (off_t)i) != 1)
		tap_bail("cannot write");
}

/* Each byte, or some, and then those that units begin with. */
static void
flip_bytes(const struct kv_table_spec *s, const char *what, size_t step)
{
	struct flips f = { .number = write_table(&model, s, NULL) };
	char name[KV_TABLE_NAME_LEN];
	struct image m;

	load(&m, f.number);
	kv_table_name(name, f.number);
	f.most = most_in_block(s);
	if ((f.fd = openat(dir.fd, name, O_WRONLY)) < 0)
		tap_bail("cannot open %s", name);
	for (size_t i = 0; i < m.len; i += 1 + tap_below(step))
		flip(&f, &m, i);
	for (uint32_t i = 0; step > 1 && i < m.tail.groups; i++) {
		size_t off = (size_t)get_le32(places_of(&m) + 4 * (size_t)i)
		    << kv_unit_shift(s->codec);

		for (int k = 0; k < 40; k++)
			flip(&f, &m, off++);
	}
	close(f.fd);
	ok(f.missed == 0 && f.wrong == 0, "%s: %s of %zu bytes changed is "
	    "noticed, and nothing wrong is read", what, step == 1 ? "each" :
	    "any", m.len);
	ok(f.lost == 0, "%s: at most one block is lost by it", what);
	remove_table(f.number);
	free(m.b);
}

static void
cut_at_each_length(const struct kv_table_spec *s, const char *what)
{
	uint64_t number = write_table(&model, s, NULL);
	int missed = 0, wrong = 0, less = 0;
	size_t before = 0;
	struct result r;
	struct image m;

	load(&m, number);
	for (size_t len = 0; len < m.len; len += 1 + tap_below(4)) {
		store(number, m.b, len);
		r = read_all(number);
		missed += !r.noticed || r.opens;
		wrong += r.wrong > 0;
		less += r.given < before || (len >= m.tail.data_len &&
		    r.given < model.n);
		before = r.given;
	}
	ok(missed == 0 && wrong == 0, "%s: each length but the right one is "
	    "noticed", what);
	ok(less == 0, "%s: what lies before the cut can be saved", what);
	m.b = realloc(m.b, m.len + 64);
	memset(m.b + m.len, 0, 64);
	for (size_t n = missed = 0; n < 64; n += 1 + tap_below(8)) {
		store(number, m.b, m.len + 1 + n);
		missed += read_all(number).opens;
	}
	ok(missed == 0, "%s: so is one that is too long", what);
	store(number, m.b, m.len);
	r = read_all(number);
	ok(!r.noticed && r.given == model.n, "%s: and the table itself is "
	    "sound", what);
	remove_table(number);
	free(m.b);
}

/* Another table's file under this name (hole A6), or a version that means
 * another one. */
static void
test_names(void)
{
	struct kv_table_spec s = spec(512, 8, 1, KV_CODEC_NONE);
	struct kv_table_info info;
	uint64_t a = write_table(&model, &s, &info), b = a + 1, seq;
	struct kv_table *t;
	uint8_t *buf = NULL;
	size_t room = 0;
	struct kv_op op;
	struct image m;

	ok(kv_table_open(&env, &dir, a, info.size, info.hash, &t) == 0,
	    "A6: the table that a version means");
	kv_table_unref(t);
	ok(kv_table_open(&env, &dir, a, info.size, info.hash + 1, &t) ==
	    KEVO_ECORRUPT, "A6: not the one that it means: %s", why());
	ok(kv_table_open(&env, &dir, a, info.size + 1, 0, &t) ==
	    KEVO_ECORRUPT, "A6: not of the size: %s", why());
	ok(kv_table_pread_get(&env, &dir, a, info.size, info.hash + 1, "a",
	    1, 0, &buf, &room, &seq, &op) == KEVO_ECORRUPT,
	    "A6: the same without a map: %s", why());
	load(&m, a);
	store(b, m.b, m.len);
	last_number++;
	ok(kv_table_open(&env, &dir, b, 0, 0, &t) == KEVO_ECORRUPT,
	    "A6: another table under its name: %s", why());
	ok(kv_table_pread_get(&env, &dir, b, 0, 0, "a", 1, 0, &buf, &room,
	    &seq, &op) == KEVO_ECORRUPT, "A6: the same without a map");
	remove_table(a);
	remove_table(b);
	ok(kv_table_open(&env, &dir, a, 0, 0, &t) == KEVO_NOTFOUND &&
	    kv_table_pread_get(&env, &dir, a, 0, 0, "a", 1, 0, &buf, &room,
	    &seq, &op) == KV_TABLE_GONE, "no such table");
	free(m.b);
	free(buf);
}

/* ---- fields ------------------------------------------------------------ */

/* A value at a place, with all hashes as they must be.  1 if it is
 * noticed. */
static int
noticed_with(struct image *was, size_t off, uint64_t value, size_t width,
    uint64_t number)
{
	struct image m = copy(was);
	struct result r;

	memcpy(m.b + off, &value, width);
	rehash(&m, was);
	/* rehash() may have overwritten it: then it is a hash. */
	memcpy(m.b + off, &value, width);
	if (off >= m.len - KV_TABLE_TAIL && off < m.len - 16)
		put_le64(m.b + m.len - 16, kv_table_tail_hash(m.b + m.len -
		    KV_TABLE_TAIL, m.b + m.len - KV_TABLE_TAIL -
		    was->shape.keys_len, was->shape.keys_len));
	store(number, m.b, m.len);
	free(m.b);
	r = read_all(number);
	return r.noticed;
}

static const struct {
	size_t off, width;
	int64_t add;		/* to what is there */
	int set;		/* instead, and to this */
	uint64_t value;
	const char *what;
} tail_field[] = {
	{ 0, 1, 1, 0, 0, "identity" },
	{ 16, 8, 1, 0, 0, "number" },
	{ 24, 8, 1, 0, 0, "size" }, { 24, 8, -1, 0, 0, "size" },
	{ 24, 8, 0, 1, UINT64_MAX, "size of 2^64 - 1" },
	{ 32, 8, 64, 0, 0, "length of the data" },
	{ 32, 8, -64, 0, 0, "length of the data" },
	{ 32, 8, 1, 0, 0, "length of the data, odd" },
	{ 32, 8, 0, 1, 0, "no data" },
	{ 32, 8, 0, 1, UINT64_MAX - 63, "data of 2^64 bytes" },
	{ 40, 8, 1, 0, 0, "records" }, { 40, 8, 0, 1, 0, "no records" },
	{ 40, 8, 0, 1, UINT64_MAX, "very many records" },
	{ 48, 8, 1, 0, 0, "deletions" },
	{ 48, 8, 0, 1, 1000000, "more deletions than records" },
	{ 56, 8, 1, 0, 0, "expiring" },
	{ 56, 8, 0, 1, 1000000, "more expiring than records" },
	{ 64, 8, 1, 0, 0, "bytes of keys and values" },
	{ 72, 8, -1, 0, 0, "lowest sequence number" },
	{ 72, 8, 0, 1, 0, "sequence number 0" },
	{ 80, 8, 1, 0, 0, "highest sequence number" },
	{ 80, 8, 0, 1, 1, "sequence numbers the wrong way round" },
	{ 96, 4, 1, 0, 0, "groups" }, { 96, 4, -1, 0, 0, "groups" },
	{ 96, 4, 0, 1, 0, "no groups" },
	{ 96, 4, 0, 1, UINT32_MAX, "very many groups" },
	{ 100, 4, 1, 0, 0, "lines" }, { 100, 4, 0, 1, 0, "no lines" },
	{ 100, 4, 0, 1, UINT32_MAX, "very many lines" },
	{ 104, 4, 1, 0, 0, "length of the first key" },
	{ 104, 4, 0, 1, 0, "empty first key" },
	{ 104, 4, 0, 1, UINT32_MAX, "first key of 4 GiB" },
	{ 108, 4, -1, 0, 0, "length of the last key" },
	{ 108, 4, 0, 1, 0, "empty last key" },
	{ 108, 4, 0, 1, KEVO_KEY_MAX + 1, "last key too long" },
	{ 116, 1, 0, 1, 0, "restart interval" },
	{ 117, 1, 0, 1, 3, "unknown codec" },
	{ 117, 1, 0, 1, 1, "another codec" },
	{ 118, 1, 1, 0, 0, "bits of a slot" },
	{ 118, 1, 0, 1, 0, "no bits of a slot" },
	{ 118, 1, 0, 1, 25, "too many bits of a slot" },
	{ 119, 1, 1, 0, 0, "bits of a record's number" },
	{ 119, 1, 0, 1, 9, "too many bits of a record's number" },
	{ 120, 8, 1, 0, 0, "hash of hashes" },
	{ 128, 1, 0, 1, 0, "what slots lead to" },
	{ 128, 1, 0, 1, 2, "what slots lead to" },
	{ 129, 1, 1, 0, 0, "reserved" }, { 160, 8, 1, 0, 0, "reserved" },
	{ 168, 4, 1, 0, 0, "version" }, { 172, 4, 1, 0, 0, "its length" },
	{ 176, 8, 1, 0, 0, "hash" }, { 184, 1, 1, 0, 0, "magic" }
};

static void
test_tail_fields(struct image *m, uint64_t number)
{
	for (size_t i = 0; i < sizeof(tail_field) / sizeof(tail_field[0]);
	    i++) {
		size_t off = m->len - KV_TABLE_TAIL + tail_field[i].off;
		uint64_t v = 0;

		memcpy(&v, m->b + off, tail_field[i].width);
		v = tail_field[i].set ? tail_field[i].value :
		    v + (uint64_t)tail_field[i].add;
		ok(noticed_with(m, off, v, tail_field[i].width, number),
		    "tail: %s: %s", tail_field[i].what, why());
	}
	/* They say what the writer aimed for; nothing depends on them. */
	ok(!noticed_with(m, m->len - KV_TABLE_TAIL + 88, 5, 8, number) &&
	    !noticed_with(m, m->len - KV_TABLE_TAIL + 112, 5, 4, number),
	    "tail: time of creation and size of blocks may be any");
}

static const struct {
	size_t off, width;
	int64_t add;
	const char *what;
} group_field[] = {
	{ 8, 4, 1, "length" }, { 8, 4, -1, "length" },
	{ 8, 4, 1 << 30, "length of 1 GiB" },
	{ 12, 4, 1, "where values begin" },
	{ 12, 4, 1 << 30, "values behind its end" },
	{ 16, 8, 1 << 20, "lowest sequence number" },
	{ 24, 2, 1, "length of the prefix" },
	{ 24, 2, 0x7fff, "a prefix longer than it" },
	{ 26, 1, 1, "records" }, { 26, 1, -1, "records" },
	{ 27, 1, 1, "deletions" }, { 27, 1, 2, "times of expiry" },
	{ 27, 1, 4, "unknown flag" },
	{ 28, 1, 1, "width of the keys' lengths" },
	{ 28, 1, 5, "width of the keys' lengths" },
	{ 29, 1, 1, "width of the values' lengths" },
	{ 29, 1, 5, "width of the values' lengths" },
	{ 30, 1, 1, "width of sequence numbers" },
	{ 30, 1, 9, "width of sequence numbers" },
	{ 31, 1, 1, "reserved" }, { 32, 1, 1, "a key's length" },
	{ 32, 1, 0x7f, "a key's length" }
};

static void
test_group_fields(struct image *m, uint64_t number)
{
	for (size_t i = 0; i < sizeof(group_field) / sizeof(group_field[0]);
	    i++) {
		size_t off = KV_TABLE_HEAD + group_field[i].off;
		uint64_t v = 0;

		memcpy(&v, m->b + off, group_field[i].width);
		v += (uint64_t)group_field[i].add;
		ok(noticed_with(m, off, v, group_field[i].width, number),
		    "group: %s: %s", group_field[i].what, why());
	}
}

/* A table with a codec whose first block is stored as it is. */
static void
test_block_fields(void)
{
	static const struct {
		size_t off, width;
		int64_t add;
		const char *what;
	} field[] = {
		{ 8, 4, 1, "length" }, { 8, 4, 1 << 30, "length of 1 GiB" },
		{ 8, 4, -1000, "length" }, { 12, 4, 8, "parts of its hash" },
		{ 12, 4, -8, "parts of its hash" },
		{ 16, 4, 1, "length of the content" },
		{ 16, 4, -1, "length of the content" },
		{ 16, 4, INT32_MAX, "content of 2 GiB" },
		{ 20, 1, 1, "codec" }, { 20, 1, 7, "unknown codec" },
		{ 21, 1, 1, "reserved" }, { 22, 2, 1, "reserved" }
	};

	for (uint8_t codec = KV_CODEC_LZ4; codec <= KV_CODEC_ZSTD; codec++) {
		struct kv_table_spec s = spec(2000, 8, 1, codec);
		uint64_t number = write_table(&model, &s, NULL);
		struct image m;

		load(&m, number);
		for (size_t i = 0; i < sizeof(field) / sizeof(field[0]);
		    i++) {
			size_t off = KV_TABLE_HEAD + field[i].off;
			uint64_t v = 0;

			memcpy(&v, m.b + off, field[i].width);
			v += (uint64_t)field[i].add;
			ok(noticed_with(&m, off, v, field[i].width, number),
			    "block of codec %d: %s: %s", codec,
			    field[i].what, why());
		}
		remove_table(number);
		free(m.b);
	}
}

/* Each byte of head and index, with right hashes. */
static void
test_index_bytes(struct image *m, uint64_t number, const char *what)
{
	size_t from = m->tail.data_len, end = from + m->shape.index_len;
	int missed = 0;

	for (size_t i = 0; i < end; i = i + 1 == KV_TABLE_HEAD - 8 ? from :
	    i + 1) {
		uint8_t v = m->b[i] ^ (uint8_t)(1 + tap_below(255));

		if (!noticed_with(m, i, v, 1, number)) {
			tap_note("byte %zu", i);
			missed++;
		}
	}
	ok(missed == 0, "%s: each byte of head and index, with a right hash",
	    what);
}

/* Bytes that nobody wrote, with right hashes: it may say anything that was
 * not written, but must not read or write elsewhere. */
static void
test_hostile(struct image *was, uint64_t number, const char *what)
{
	int opened = 0, rounds = getenv("KEVO_LONG") != NULL ? 50000 : 1500;

	for (int i = 0; i < rounds; i++) {
		struct image m = copy(was);
		struct result r;

		for (uint64_t n = 1 + tap_below(4); n > 0; n--) {
			size_t off = tap_below(m.len);

			m.b[off] = tap_below(3) == 0 ?
			    (uint8_t)(tap_below(2) * 255) :
			    (uint8_t)tap_random();
		}
		rehash(&m, was);
		store(number, m.b, m.len);
		free(m.b);
		r = read_all(number);
		opened += r.opens;
	}
	ok(opened > 0, "%s: bytes that no writer wrote, with right hashes "
	    "(%d of %d opened)", what, opened, rounds);
}

static void
test_fields(void)
{
	for (uint8_t codec = 0; codec <= KV_CODEC_ZSTD; codec++) {
		struct kv_table_spec s = spec(700, 8, 1, codec);
		uint64_t number = write_table(&model, &s, NULL);
		struct image m;
		char what[40];

		snprintf(what, sizeof(what), "codec %d", codec);
		load(&m, number);
		if (codec == KV_CODEC_NONE) {
			test_tail_fields(&m, number);
			test_group_fields(&m, number);
		}
		test_index_bytes(&m, number, what);
		test_hostile(&m, number, what);
		remove_table(number);
		free(m.b);
	}
	test_block_fields();
}

static void
test_bytes(void)
{
	for (uint8_t codec = 0; codec <= KV_CODEC_ZSTD; codec++)
		for (int hash = 0; hash < 2; hash++) {
			struct kv_table_spec s = spec(700, 8, hash, codec);
			char what[40];

			snprintf(what, sizeof(what), "codec %d, %s hash index",
			    codec, hash ? "with" : "without");
			flip_bytes(&s, what, 1);
			cut_at_each_length(&s, what);
		}
}

/* ---- a disk that fails ------------------------------------------------- */

/*
 * This program runs itself under the library of tests/fault, as a writer of
 * one table in a directory; argv: write DIR SEED.
 */
static const struct taste bulky = {
	"bulky", 300, 20, 4000, 20, 0, 0, 0, 5000
};

enum { WRITTEN = 0, FAILED = 3, SILENT = 4 };

static void
write_as_child(char **argv)
{
	struct kv_table_spec s = spec(4096, 16, 1, KV_CODEC_NONE);
	struct kv_table_writer *w = NULL;
	struct kv_table_info info;
	int rc;

	dir.path = argv[2];
	dir.fd = open(argv[2], O_RDONLY | O_DIRECTORY);
	tap_rng = strtoull(argv[3], NULL, 10);
	make_model(&bulky, &model);
	rc = kv_table_create(&env, &dir, 1, &s, &w);
	for (size_t i = 0; rc == 0 && i < model.n; i++)
		rc = kv_table_add(w, model.rec[i].seq, &model.rec[i].op);
	if (rc == 0)
		rc = kv_table_finish(w, &info);
	kv_table_writer_free(w, rc != 0);
	if (rc != 0 && (rc > 0 || strstr(env.msg, "/table/") == NULL))
		exit(SILENT);
	exit(rc == 0 ? WRITTEN : FAILED);
}

static char fault_lib[300], count_file[300];

/* Run the writer with a fault.  Its wait status; *fired: it struck. */
static int
write_with(const char *fault, int *fired)
{
	char seed[24], self[] = "/proc/self/exe", text[200] = "";
	char *argv[] = { self, (char *)(uintptr_t)"write", tap_dir, seed,
	    NULL };
	int status;
	FILE *f;
	pid_t pid;

	snprintf(seed, sizeof(seed), "%llu", (unsigned long long)tap_seed);
	if ((pid = fork()) == 0) {
		setenv("KEVO_FAULT", fault, 1);
		setenv("KEVO_FAULT_DIR", tap_dir, 1);
		setenv("KEVO_FAULT_COUNT", count_file, 1);
		setenv("LD_PRELOAD", fault_lib, 1);
		execv("/proc/self/exe", argv);
		_exit(127);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid ||
	    (f = fopen(count_file, "r")) == NULL)
		tap_bail("cannot run a writer");
	if (fread(text, 1, sizeof(text) - 1, f) == 0)
		tap_bail("%s: empty", count_file);
	fclose(f);
	*fired = strstr(text, "fired -") == NULL;
	return status;
}

/* What stands there: 1 the whole table, 0 none, -1 one that is damaged. */
static int
what_stands(void)
{
	struct kv_table *t;
	int rc = kv_table_open(&env, &dir, 1, 0, 0, &t);

	if (rc == KEVO_NOTFOUND)
		return 0;
	if (rc != 0)
		return -1;
	rc = kv_table_verify(&env, t);
	if (t->info.count != model.n)
		rc = -1;
	kv_table_unref(t);
	return rc == 0 ? 1 : -1;
}

static int
outcome_fits(const char *what, int status)
{
	int stands = what_stands();

	if (WIFSIGNALED(status))
		return strncmp(what, "kill", 4) == 0;
	if (WEXITSTATUS(status) == WRITTEN)
		return stands == 1;
	/* What fails is told, and leaves nothing behind. */
	return WEXITSTATUS(status) == FAILED && stands == 0 &&
	    strcmp(what, "short") != 0 && strcmp(what, "EINTR") != 0;
}

static void
sweep(const char *calls, const char *what, const char *claim)
{
	char fault[60], name[KV_TABLE_NAME_LEN];
	int fired = 1, bad = 0, struck = 0;

	kv_table_name(name, 1);
	for (int k = 1; fired; k++) {
		int status;

		snprintf(fault, sizeof(fault), "%s:%d:%s", calls, k, what);
		status = write_with(fault, &fired);
		struck += fired;
		if (!outcome_fits(what, status)) {
			tap_note("%s: status %#x, %d", fault,
			    (unsigned)status, what_stands());
			bad++;
		}
		unlinkat(dir.fd, name, 0);
	}
	ok(bad == 0 && struck > 0, "%s (%d times)", claim, struck);
}

static void
test_faults(void)
{
	char path[260], *slash;
	ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 1);

	path[n > 0 ? n : 0] = '\0';
	for (int i = 0; i < 2; i++)
		if ((slash = strrchr(path, '/')) != NULL)
			*slash = '\0';
	snprintf(fault_lib, sizeof(fault_lib), "%s/libfault.so", path);
	snprintf(count_file, sizeof(count_file), "%s.count", tap_dir);
	if (access(fault_lib, R_OK) != 0 || (getenv("KEVO_SAN") != NULL &&
	    getenv("KEVO_SAN")[0] != '\0')) {
		tap_ok(1, "faults # SKIP no library that makes them");
		return;
	}
	tap_rng = tap_seed;
	make_model(&bulky, &model);
	sweep("space", "ENOSPC", "a full disk at each call is told and leaves "
	    "nothing");
	sweep("space", "ENOSPC:sticky", "so is one that stays full");
	sweep("any", "EIO", "an error of each call is told and leaves "
	    "nothing");
	sweep("sync", "EIO", "so is a failed sync");
	sweep("xfer", "short", "short writes go on");
	sweep("xfer", "EINTR", "so do interrupted ones");
	sweep("any", "kill", "killed at each call, nobody takes the rest for "
	    "a table");
	unlink(count_file);
	free_model(&model);
}

/* Values that are verified apart from their neighbours. */
static void
test_large(void)
{
	static const struct taste large = {
		"large", 24, 20, 24000, 3, 30, 0, 0, 5000
	};

	make_model(&large, &model);
	for (uint8_t codec = 0; codec <= KV_CODEC_LZ4; codec++) {
		struct kv_table_spec s = spec(700, 8, 1, codec);
		char what[40];

		snprintf(what, sizeof(what), "large values, codec %d", codec);
		flip_bytes(&s, what, 400);
	}
	free_model(&model);
}

int
main(int argc, char **argv)
{
	if (argc == 4)
		write_as_child(argv);
	begin("table-damage");
	make_model(&small, &model);
	test_names();
	test_bytes();
	test_fields();
	free_model(&model);
	test_large();
	test_faults();
	return finish();
}
