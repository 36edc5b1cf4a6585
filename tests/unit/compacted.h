/*
 * compacted: what the tests of compaction share: a database with so low limits
 * that all levels are used, a plain array of what is in it, and comparing the
 * two, through the engine and by reading the files without it.
 */
#ifndef COMPACTED_H
#define COMPACTED_H

#include "compact.h"
#include "key.h"
#include "lock.h"
#include "whole.h"
#include "testdb.h"	/* its path is everywhere from here on */

/* ---- a small database -------------------------------------------------- */

/* Limits so low that all levels are used. */
static const char *const small[] = { "memtable_bytes=64K", "sync=none",
	"compaction=manual", "block_bytes=1K", "restart_interval=8",
	"table_bytes=16K", "level0_tables=2", "level_bytes=64K",
	"level_ratio=2", "levels=4", NULL };

static inline struct kevo *
open_db(void)
{
	struct kevo_options opt = { .compactor = "" };

	return open_as(0, &opt);
}

static inline struct kevo *
open_reader(void)
{
	return open_as(KEVO_RDONLY, NULL);
}

static inline struct kevo *
create(void)
{
	struct kevo_options opt = { .settings = small, .compactor = "" };

	return create_as(&opt);
}

/* ---- the model --------------------------------------------------------- */

#define KEYS	1500
#define VALUE_MAX 3000

struct entry {
	int there;
	uint64_t seq, expires_ns;
	uint32_t len;
};

static struct entry model[KEYS];

static inline size_t
key_of(unsigned i, char key[64])
{
	if (i % 100 == 0)	/* some begin others */
		return (size_t)snprintf(key, 64, "key/%u", i / 100);
	return (size_t)snprintf(key, 64, "key/%u/%0*u", i / 100,
	    (int)(i % 30), i);
}

static inline void
make_value(char *v, unsigned i, uint32_t len)
{
	for (uint32_t k = 0; k < len; k++)
		v[k] = (char)(i * 31 + len + k);
}

static inline void
write_one(struct kevo *db, unsigned i)
{
	static char value[VALUE_MAX];
	struct kevo_write w = { .sync = KEVO_SYNC_NONE };
	struct entry *e = &model[i];
	char key[64];
	size_t klen = key_of(i, key);

	if (tap_below(4) == 0) {
		check(db, kevo_delete(db, key, klen, &w, &e->seq), "delete");
		e->there = 0;
		return;
	}
	e->len = (uint32_t)tap_below(tap_below(20) == 0 ? VALUE_MAX : 60);
	if (tap_below(8) == 0)		/* in an hour: not to be dropped */
		w.expires_ns = kv_now_ns() + (uint64_t)3600 * 1000000000u;
	e->expires_ns = w.expires_ns;
	e->there = 1;
	make_value(value, i, e->len);
	check(db, kevo_put(db, key, klen, value, e->len, &w, &e->seq), "put");
}

static inline void
write_some(struct kevo *db, unsigned n, unsigned from, unsigned to)
{
	while (n-- > 0)
		write_one(db, from + (unsigned)tap_below(to - from));
}

struct by_key {
	char key[64];
	size_t klen;
	unsigned i;
};

static inline int
key_order(const void *a, const void *b)
{
	const struct by_key *x = a, *y = b;

	return kv_key_cmp((const uint8_t *)x->key, x->klen,
	    (const uint8_t *)y->key, y->klen);
}

static inline int
is_entry(const struct whole_item *x, const struct by_key *k,
    const struct entry *e)
{
	static char value[VALUE_MAX];

	make_value(value, k->i, e->len);
	return x->klen == k->klen && memcmp(x->key, k->key, k->klen) == 0 &&
	    x->seq == e->seq && x->expires_ns == e->expires_ns &&
	    x->vlen == e->len && (e->len == 0 ||
	    memcmp(x->val, value, e->len) == 0);
}

/* What is there, by key; returns how many. */
static inline size_t
order_model(const struct entry *m, struct by_key order[KEYS])
{
	size_t n = 0;

	for (unsigned i = 0; i < KEYS; i++)
		if (m[i].there) {
			order[n].klen = key_of(i, order[n].key);
			order[n++].i = i;
		}
	qsort(order, n, sizeof(order[0]), key_order);
	return n;
}

static inline int
is_record(const struct kevo_record *r, const struct by_key *k,
    const struct entry *e)
{
	struct whole_item x = { .key = (uint8_t *)(uintptr_t)r->key,
		.klen = (uint32_t)r->klen, .vlen = (uint32_t)r->vlen,
		.val = (uint8_t *)(uintptr_t)r->value, .seq = r->version,
		.expires_ns = r->expires_ns };

	return is_entry(&x, k, e);
}

/* The same as a reader sees it: forward, backward, and one by one. */
static inline int
reads_same(struct kevo *db, const struct kevo_snapshot *snap,
    const struct entry *m)
{
	static struct by_key order[KEYS];
	size_t n = order_model(m, order), at = 0;
	struct kevo_record r;
	struct kevo_iter *it;
	int rc, good = 1;

	check(db, kevo_iter_new(db, snap, NULL, &it), "iterator");
	while (good && (rc = kevo_iter_next(it, &r)) == 0) {
		good = at < n && is_record(&r, &order[at], &m[order[at].i]);
		at++;
	}
	good = expect(good && at == n);
	if (good && (rc = kevo_iter_last(it, &r)) == 0)
		do
			good = at > 0 && is_record(&r, &order[at - 1],
			    &m[order[at - 1].i]);
		while (good && at-- > 0 && (rc = kevo_iter_prev(it, &r)) == 0);
	good &= expect(good && at == 0);
	kevo_iter_free(it);
	for (unsigned i = 0; good && i < KEYS; i++) {
		struct by_key k = { .i = i };

		k.klen = key_of(i, k.key);
		rc = kevo_peek(db, snap, k.key, k.klen, &r);
		good = expect(m[i].there ? rc == 0 && is_record(&r, &k,
		    &m[i]) : rc == KEVO_NOTFOUND);
		if (!good)
			tap_note("%s: %d %s", k.key, rc, kevo_errmsg(db));
	}
	return good;
}

/* Compare the files with the model; 1 if they are the same. */
static inline int
same(void)
{
	static struct by_key order[KEYS];
	const struct whole_item *x;
	struct whole w;
	size_t n, at = 0;
	int good = 1;

	n = order_model(model, order);
	if (whole_read(&w, path) != 0 || !whole_levels_sound(&w)) {
		tap_note("%s", w.why);
		good = 0;
	}
	for (size_t i = 0; good && i < n; i++) {
		x = whole_next(&w, &at);
		if (x == NULL || !is_entry(x, &order[i],
		    &model[order[i].i])) {
			tap_note("%s is not there, or another", order[i].key);
			good = 0;
		}
	}
	if (good && (x = whole_next(&w, &at)) != NULL) {
		tap_note("%.*s should not be there", (int)x->klen,
		    (const char *)x->key);
		good = 0;
	}
	whole_release(&w);
	return good;
}

static inline void
forget_model(void)
{
	memset(model, 0, sizeof(model));
}

/* Begin a new segment, so that what was written can be flushed. */
static inline void
seal(struct kevo *db)
{
	check(db, kv_writer_lock(db), "lock");
	check(db, kv_rotate(db, 0, 0, NULL), "rotate");
	kv_writer_unlock(db);
}

/* ---- looking at files -------------------------------------------------- */

static inline struct kv_version *
newest(struct kevo *db)
{
	struct kv_version *v;

	check(db, kv_newest_version(db, &v), "version");
	return v;
}

/* Tables on disk are those of the newest version, and the log begins where
 * it says. */
static inline int
only_needed_files(struct kevo *db)
{
	struct kv_version *v = newest(db);
	uint64_t active = atomic_load(&db->ctl->active);
	int good;

	good = expect(count_files("table", "") == (int)v->ntables) &
	    expect(count_files("wal", ".seg") ==
	    (int)(active - v->first_segment + 1)) &
	    expect(count_files("shm", ".idx") ==
	    (int)(active - v->first_segment + 1)) &
	    expect(count_files("version", "") == (v->number > 1 ? 2 :
	    (int)v->number));
	kv_version_unref(v);
	return good;
}

static struct kevo_compact_progress done;

static inline int
compact(struct kevo *db, unsigned flags)
{
	struct kevo_compact c = { .flags = flags };

	return kevo_compact(db, &c, &done);
}

#endif /* COMPACTED_H */
