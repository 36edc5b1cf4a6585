/*
 * table_model: what the tests of tables share: a plain sorted array of random
 * records, and tables made of it.
 */
#ifndef TABLE_MODEL_H
#define TABLE_MODEL_H

#include "table.h"

#include "cache.h"
#include "codec.h"
#include "env.h"
#include "file.h"
#include "hash.h"
#include "kevo.h"
#include "key.h"
#include "tap.h"
#include "table_layout.h"

static struct kv_env env;
static struct kv_names names;
static struct kv_dir dir = { .names = &names };
static const uint8_t id[16] = "0123456789abcde";
static uint64_t last_number;
static struct kv_cache *cache;

static inline void ok(int good, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

static inline void
ok(int good, const char *fmt, ...)
{
	char what[400];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	expect(good);
	tap_report(what);
}

/* ---- the model --------------------------------------------------------- */

struct rec {
	uint64_t seq;
	struct kv_op op;	/* key and value are malloc'd, one block */
};

struct model {
	struct rec *rec;
	size_t n;
};

static inline int
by_key(const void *a, const void *b)
{
	const struct rec *x = a, *y = b;

	return kv_key_cmp(x->op.key, x->op.klen, y->op.key, y->op.klen);
}

/* What keys and values are like in one run. */
struct taste {
	const char *name;
	size_t count;
	uint32_t key_max, val_max;
	int alphabet;		/* letters; 256: all bytes, zeros too */
	int nested;		/* percent of keys that begin with another */
	int huge;		/* one in so many is as long as allowed */
	int even;		/* all keys and all values are of one length */
	uint64_t seq_span;
};

static inline void
random_key(const struct taste *t, const struct model *m, uint8_t *key,
    uint32_t *klen)
{
	uint32_t len = 1 + (uint32_t)tap_below(t->key_max), from = 0;

	if (t->huge > 0 && tap_below((uint64_t)t->huge) == 0)
		len = KEVO_KEY_MAX - (uint32_t)tap_below(3);
	if (m->n > 0 && tap_below(100) < (uint64_t)t->nested) {
		const struct kv_op *o = &m->rec[tap_below(m->n)].op;

		from = 1 + (uint32_t)tap_below(o->klen);
		memcpy(key, o->key, from);
		len = from + (uint32_t)tap_below(4);
		if (len > KEVO_KEY_MAX)
			len = KEVO_KEY_MAX;
	}
	for (uint32_t i = from; i < len; i++)
		key[i] = t->alphabet == 256 ? (uint8_t)tap_random() :
		    t->alphabet == 0 ? 0 :
		    (uint8_t)('a' + tap_below((uint64_t)t->alphabet));
	*klen = len;
}

static inline void
random_record(const struct taste *t, const struct model *m, struct rec *r)
{
	static uint8_t key[KEVO_KEY_MAX];
	uint32_t vlen = (uint32_t)tap_below(t->val_max + 1);
	uint8_t *p;

	memset(r, 0, sizeof(*r));
	random_key(t, m, key, &r->op.klen);
	if (tap_below(8) == 0)
		vlen = 0;
	if (t->even) {
		tap_fill(key, t->key_max);
		r->op.klen = t->key_max;
		vlen = t->val_max;
	}
	r->op.kind = tap_below(10) == 0 ? KV_OP_DELETE : KV_OP_PUT;
	if (r->op.kind == KV_OP_DELETE)
		vlen = t->even ? vlen : 0;
	else if (tap_below(10) == 0)
		r->op.expires_ns = tap_random() | 1;
	p = tap_alloc((size_t)r->op.klen + vlen);
	memcpy(p, key, r->op.klen);
	/* Half random, half not: a codec has something to do. */
	memset(p + r->op.klen, 'x', vlen);
	tap_fill(p + r->op.klen, vlen / 2);
	r->op.key = p;
	r->op.val = p + r->op.klen;
	r->op.vlen = vlen;
	r->seq = 1000 + tap_below(t->seq_span);
}

static inline void
make_model(const struct taste *t, struct model *m)
{
	size_t n = 0;

	m->rec = tap_alloc(t->count * sizeof(*m->rec));
	for (m->n = 0; m->n < t->count; m->n++)
		random_record(t, m, &m->rec[m->n]);
	qsort(m->rec, m->n, sizeof(*m->rec), by_key);
	for (size_t i = 0; i < m->n; i++) {
		if (n > 0 && by_key(&m->rec[n - 1], &m->rec[i]) == 0)
			free((void *)(uintptr_t)m->rec[i].op.key);
		else
			m->rec[n++] = m->rec[i];
	}
	m->n = n;
}

static inline void
free_model(struct model *m)
{
	for (size_t i = 0; i < m->n; i++)
		free((void *)(uintptr_t)m->rec[i].op.key);
	free(m->rec);
}

/* The first record at or after a key: its index, or m->n. */
static inline size_t
model_seek(const struct model *m, const void *key, size_t klen, int *found)
{
	size_t lo = 0, hi = m->n;

	*found = 0;
	while (lo < hi) {
		size_t mid = (lo + hi) / 2;
		int c = kv_key_cmp(m->rec[mid].op.key, m->rec[mid].op.klen,
		    key, klen);

		*found |= c == 0;
		if (c < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

/* ---- tables ------------------------------------------------------------ */

static inline struct kv_table_spec
spec(uint32_t block, uint32_t restart, int hash, uint8_t codec)
{
	struct kv_table_spec s = {
		.mode = 0640, .block_bytes = block,
		.restart_interval = restart, .hash_index = hash,
		.codec = codec, .codec_level = 1
	};

	memcpy(s.id, id, sizeof(id));
	return s;
}

/* Write a model as a table; its number. */
static inline uint64_t
write_table(const struct model *m, const struct kv_table_spec *s,
    struct kv_table_info *info)
{
	struct kv_table_writer *w;
	struct kv_table_info i;
	int rc;

	if (kv_table_create(&env, &dir, ++last_number, s, &w) != 0)
		tap_bail("create: %s", env.msg);
	for (size_t k = 0; k < m->n; k++)
		if (kv_table_add(w, m->rec[k].seq, &m->rec[k].op) != 0)
			tap_bail("add: %s", env.msg);
	if ((rc = kv_table_finish(w, &i)) != 0)
		tap_bail("finish: %d %s", rc, env.msg);
	if (info != NULL)
		*info = i;
	kv_table_writer_free(w, 0);
	return last_number;
}

static inline struct kv_table *
open_table(uint64_t number)
{
	struct kv_table *t;

	if (kv_table_open(&env, &dir, number, 0, 0, &t) != 0)
		tap_bail("open: %s", env.msg);
	return t;
}

static inline void
remove_table(uint64_t number)
{
	char name[KV_TABLE_NAME_LEN];

	kv_table_name(name, number);
	if (unlinkat(dir.fd, name, 0) != 0)
		tap_bail("cannot remove %s", name);
}

static inline int
same_record(const struct rec *r, uint64_t seq, const struct kv_op *op)
{
	return seq == r->seq && op->kind == r->op.kind &&
	    op->expires_ns == r->op.expires_ns && op->vlen == r->op.vlen &&
	    memcmp(op->val, r->op.val, op->vlen) == 0;
}

static inline int
same(const struct rec *r, uint64_t seq, const struct kv_op *op)
{
	return same_record(r, seq, op) && op->klen == r->op.klen &&
	    memcmp(op->key, r->op.key, op->klen) == 0;
}

static inline void
begin(const char *name)
{
	tap_start(name);
	dir.path = tap_dir;
	dir.fd = open(tap_dir, O_RDONLY | O_DIRECTORY);
	if (dir.fd < 0 || mkdirat(dir.fd, "table", 0777) != 0)
		tap_bail("cannot make a directory");
}

static inline int
finish(void)
{
	ok(unlinkat(dir.fd, "table", AT_REMOVEDIR) == 0,
	    "nothing else is left");
	close(dir.fd);
	return tap_end();
}

#endif /* TABLE_MODEL_H */
