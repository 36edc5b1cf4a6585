#include <string.h>

#include "source.h"

void
kv_source_segment(struct kv_source *s, struct kevo *db,
    const struct kv_index *ix, uint64_t seq)
{
	s->db = db;
	s->ix = ix;
	kv_index_iter_init(&s->walk, ix, seq);
}

void
kv_source_own(struct kv_source *s, struct kevo *db, const struct kv_index *ix,
    uint64_t reach)
{
	kv_source_segment(s, db, ix, reach);
	s->own = 1;
}

void
kv_source_tables(struct kv_source *s, struct kevo *db, struct kv_view *v,
    uint32_t begin, uint32_t end)
{
	s->db = db;
	s->view = v;
	s->begin = begin;
	s->end = end;
}

static void
close_table(struct kv_source *s)
{
	if (s->open)
		kv_table_iter_release(&s->it);
	s->open = 0;
}

void
kv_source_release(struct kv_source *s)
{
	if (s->ix != NULL)
		kv_index_iter_release(&s->walk);
	close_table(s);
}

/* ---- an index ---------------------------------------------------------- */

static int
index_failed(struct kevo *db, int r)
{
	if (r == -2)
		return kv_fail(&db->env, KEVO_ENOMEM, "out of memory");
	return kv_fail(&db->env, KEVO_ECORRUPT, "%s: an index is damaged; "
	    "remove %s/shm when no process uses the database", db->path,
	    db->path);
}

static int
index_at(struct kv_source *s, int r)
{
	if (r < 0)
		return index_failed(s->db, r);
	s->key = s->walk.key;
	s->klen = s->walk.klen;
	s->seq = s->own ? 0 : s->walk.hit.seq;
	return r;
}

static int
index_seek(struct kv_source *s, int forward, const void *key, size_t klen)
{
	if (forward)
		return key == NULL ? kv_index_first(&s->walk) :
		    kv_index_seek(&s->walk, key, klen);
	return key == NULL ? kv_index_last(&s->walk) :
	    kv_index_seek_back(&s->walk, key, klen);
}

/* ---- tables ------------------------------------------------------------ */

static int
table_at(struct kv_source *s, int r)
{
	s->key = s->it.op.key;
	s->klen = s->it.op.klen;
	s->seq = s->it.seq;
	return r;
}

static int
open_table(struct kv_source *s, uint32_t i)
{
	struct kv_table *t;
	int rc;

	if (s->open && s->at == i)
		return 0;
	close_table(s);
	if ((rc = kv_view_table(s->db, s->view, i, &t)) != 0)
		return rc == KV_RETRY ? kv_index_missing(s->db) : rc;
	kv_table_iter_init(&s->it, &s->db->env, t, kv_db_cache(s->db));
	s->open = 1;
	s->at = i;
	return 0;
}

/* The first record of the tables from i on, or the last of those up to it. */
static int
enter_table(struct kv_source *s, uint32_t i, int forward)
{
	int r;

	while (i >= s->begin && i < s->end) {
		if ((r = open_table(s, i)) != 0)
			return r;
		r = forward ? kv_table_first(&s->it) : kv_table_last(&s->it);
		if (r != 0)
			return r;
		i = forward ? i + 1 : i - 1;	/* wraps below 0: out */
	}
	return 0;
}

static int
table_of(const struct kv_source *s, const void *key, size_t klen)
{
	const struct kv_version *v = s->view->version;
	uint32_t level = v->table[s->begin].level;

	return level == 0 ? (int)s->begin : (int)kv_version_find(v, level,
	    key, klen);
}

static int
tables_seek(struct kv_source *s, int forward, const void *key, size_t klen)
{
	uint32_t i;
	int r;

	if (key == NULL)
		return enter_table(s, forward ? s->begin : s->end - 1,
		    forward);
	i = (uint32_t)table_of(s, key, klen);
	if (i == s->end)
		return forward ? 0 : enter_table(s, i - 1, 0);
	if ((r = open_table(s, i)) != 0)
		return r;
	r = forward ? kv_table_seek(&s->it, key, klen) :
	    kv_table_seek_back(&s->it, key, klen);
	if (r != 0)
		return r;
	return enter_table(s, forward ? i + 1 : i - 1, forward);
}

static int
tables_move(struct kv_source *s, int forward)
{
	int r = forward ? kv_table_next(&s->it) : kv_table_prev(&s->it);

	if (r != 0)
		return r;
	return enter_table(s, forward ? s->at + 1 : s->at - 1, forward);
}

/* ---- either ------------------------------------------------------------ */

int
kv_source_seek(struct kv_source *s, int forward, const void *key, size_t klen)
{
	if (s->ix != NULL)
		return index_at(s, index_seek(s, forward, key, klen));
	return table_at(s, tables_seek(s, forward, key, klen));
}

int
kv_source_move(struct kv_source *s, int forward)
{
	if (s->ix == NULL)
		return table_at(s, tables_move(s, forward));
	return index_at(s, forward ? kv_index_next(&s->walk) :
	    kv_index_prev(&s->walk));
}

int
kv_source_op(const struct kv_source *s, struct kv_op *op)
{
	if (s->ix == NULL) {
		*op = s->it.op;
		return 0;
	}
	if (kv_op_decode(s->ix->log, s->ix->log_len, s->walk.hit.off,
	    op) != 0)
		return index_failed(s->db, -1);
	return 0;
}
