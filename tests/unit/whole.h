/*
 * whole: all that a database holds, read from its files without the engine's
 * ways of reading: the newest version's tables, verified byte by byte, and
 * the log from there on.  For tests that write beside it.
 */
#ifndef WHOLE_H
#define WHOLE_H

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cache.h"
#include "db.h"
#include "key.h"
#include "record.h"
#include "table.h"
#include "version.h"

/* One record as some file has it. */
struct whole_item {
	uint8_t *key, *val;
	uint32_t klen, vlen;
	uint64_t seq, expires_ns, order;
	uint32_t level;		/* of its table; KV_LEVELS: the log */
	int deleted;
};

struct whole {
	struct kv_env env;
	struct kv_names names;
	struct kv_dir dir;
	struct kv_ident ident;
	struct kv_version *v;
	struct whole_item *item;	/* after whole_read(): by key, newest
					 * first */
	size_t n, room;
	uint64_t last_seq;
	uint32_t level;
	char why[1024];		/* if something is wrong */
};

static inline int
whole_wrong(struct whole *w, const char *what)
{
	snprintf(w->why, sizeof(w->why), "%s: %.700s", what, w->env.msg);
	return -1;
}

static inline int
whole_add(void *arg, uint64_t seq, const struct kv_op *op)
{
	struct whole *w = arg;
	struct whole_item *i;

	if (w->n == w->room) {
		w->room = w->room != 0 ? 2 * w->room : 1024;
		w->item = realloc(w->item, w->room * sizeof(*i));
	}
	i = &w->item[w->n];
	i->key = malloc((size_t)op->klen + op->vlen + 1);
	if (w->item == NULL || i->key == NULL)
		abort();
	memcpy(i->key, op->key, op->klen);
	i->val = i->key + op->klen;
	if (op->vlen > 0)
		memcpy(i->val, op->val, op->vlen);
	i->klen = op->klen;
	i->vlen = op->vlen;
	i->seq = seq;
	i->expires_ns = op->expires_ns;
	i->order = w->n++;
	i->level = w->level;
	i->deleted = op->kind == KV_OP_DELETE;
	return 0;
}

static inline int
whole_order(const void *a, const void *b)
{
	const struct whole_item *x = a, *y = b;
	int c = kv_key_cmp(x->key, x->klen, y->key, y->klen);

	if (c != 0)
		return c;
	if (x->seq != y->seq)
		return x->seq > y->seq ? -1 : 1;
	return x->order > y->order ? -1 : 1;
}

static inline int
whole_table(struct whole *w, struct kv_table *t)
{
	struct kv_cache *cache = kv_cache_new((size_t)1 << 20);
	struct kv_table_iter it;
	int rc = kv_table_verify(&w->env, t);

	kv_table_iter_init(&it, &w->env, t, cache);
	if (rc == 0)
		for (rc = kv_table_first(&it); rc == 1;
		    rc = kv_table_next(&it))
			whole_add(w, it.seq, &it.op);
	kv_table_iter_release(&it);
	kv_cache_free(cache);
	return rc;
}

static inline int
whole_tables(struct whole *w)
{
	for (uint32_t i = 0; i < w->v->ntables; i++) {
		const struct kv_table_info *in = &w->v->table[i].info;
		struct kv_table *t;
		size_t before = w->n;
		int rc;

		w->level = w->v->table[i].level;
		rc = kv_table_open(&w->env, &w->dir, in->number, in->size,
		    in->hash, &t);
		if (rc == KEVO_NOTFOUND)
			return whole_wrong(w, "a table is missing");
		if (rc != 0)
			return whole_wrong(w, "table");
		rc = whole_table(w, t);
		kv_table_unref(t);
		if (rc != 0)
			return whole_wrong(w, "table");
		if (w->n - before != in->count)
			return whole_wrong(w, "wrong count of a table");
	}
	return 0;
}

static inline int
whole_records(struct whole *w, const uint8_t *log, const struct kv_walk *k)
{
	uint64_t off = k->rec_off + KV_FRAME_LEN;
	uint32_t count = get_le32(log + off);
	struct kv_op op;

	for (off += KV_PAYLOAD_HEAD; count > 0; count--, off += op.len) {
		if (kv_op_decode(log, k->len, off, &op) != 0)
			return whole_wrong(w, "operation in the log");
		whole_add(w, k->seq, &op);
	}
	return 0;
}

/* 1: there may be another segment behind it; 0: none; -1. */
static inline int
whole_segment(struct whole *w, uint64_t counter, uint64_t *seq,
    uint64_t *chain)
{
	char name[KV_SEGMENT_NAME_LEN];
	struct kv_segment_head h;
	enum kv_walk_result r;
	struct kv_walk k;
	char *log;
	size_t len;
	int rc;

	kv_segment_name(name, counter);
	rc = kv_read_small(&w->env, &w->dir, name, (size_t)1 << 31, &log,
	    &len);
	if (rc == KEVO_ENODB)
		return 0;
	if (rc != 0 || len < KV_SEGMENT_HEAD ||
	    kv_segment_head_decode((uint8_t *)log, &h) != 0)
		return whole_wrong(w, "segment");
	if (h.counter != counter || h.first_seq != *seq ||
	    h.chain_before != *chain)
		return whole_wrong(w, "the log does not follow the tables");
	kv_walk_start(&k, (uint8_t *)log, len, &h);
	while ((r = kv_walk_next(&k)) == KV_WALK_RECORD)
		if (whole_records(w, (uint8_t *)log, &k) != 0)
			return -1;
	*seq = k.seq + 1;
	*chain = k.chain;
	free(log);
	return r == KV_WALK_SEAL;
}

static inline int
whole_log(struct whole *w)
{
	uint64_t counter = w->v->first_segment, seq = w->v->first_seq;
	uint64_t chain = w->v->chain_before;
	int rc;

	w->level = KV_LEVELS;
	while ((rc = whole_segment(w, counter, &seq, &chain)) == 1)
		counter++;
	w->last_seq = seq - 1;
	return rc;
}

/* Read everything of the database in path.  0, or -1 with why set. */
static inline int
whole_read(struct whole *w, const char *path)
{
	uint64_t n;

	memset(w, 0, sizeof(*w));
	w->dir.names = &w->names;
	w->dir.path = path;
	w->dir.fd = kv_openat(AT_FDCWD, path, O_PATH | O_DIRECTORY, 0);
	if (w->dir.fd < 0)
		return whole_wrong(w, "cannot be opened");
	if (kv_ident_read(&w->env, &w->dir, &w->ident) != 0)
		return whole_wrong(w, "FORMAT");
	if (kv_version_newest(&w->env, &w->dir, &n) != 0 ||
	    kv_version_read(&w->env, &w->dir, w->ident.id, n,
	    kv_chain_origin(&w->ident), &w->v) != 0)
		return whole_wrong(w, "version");
	if (whole_tables(w) != 0 || whole_log(w) != 0)
		return -1;
	if (w->n > 0)
		qsort(w->item, w->n, sizeof(w->item[0]), whole_order);
	return 0;
}

static inline void
whole_release(struct whole *w)
{
	for (size_t i = 0; i < w->n; i++)
		free(w->item[i].key);
	free(w->item);
	kv_version_unref(w->v);
	close(w->dir.fd);
}

/* The first item at or after place i that is the newest of its key and no
 * deletion; NULL at the end. */
static inline const struct whole_item *
whole_next(const struct whole *w, size_t *i)
{
	for (; *i < w->n; ++*i) {
		const struct whole_item *x = &w->item[*i];

		if (*i > 0 && kv_key_cmp(x->key, x->klen, x[-1].key,
		    x[-1].klen) == 0)
			continue;
		if (!x->deleted)
			return &w->item[(*i)++];
	}
	return NULL;
}

/*
 * What the levels promise: of each key, a higher level has the newer record.
 * Items of a key come newest first, so levels must not fall.
 */
static inline int
whole_levels_sound(struct whole *w)
{
	for (size_t i = 1; i < w->n; i++) {
		const struct whole_item *x = &w->item[i];
		uint32_t a, b;

		if (kv_key_cmp(x->key, x->klen, x[-1].key, x[-1].klen) != 0)
			continue;
		a = x[-1].level == KV_LEVELS ? 0 : x[-1].level + 1;
		b = x->level == KV_LEVELS ? 0 : x->level + 1;
		if (a > b) {
			snprintf(w->why, sizeof(w->why), "%.*s: version %llu "
			    "in level %u, version %llu below it in %u",
			    (int)x->klen, (const char *)x->key,
			    (unsigned long long)x->seq, b,
			    (unsigned long long)x[-1].seq, a);
			return 0;
		}
	}
	return 1;
}

#endif /* WHOLE_H */
