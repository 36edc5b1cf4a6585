#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "codec.h"
#include "key.h"
#include "mend.h"
#include "table.h"

static int
no_memory(struct kv_mend *m)
{
	return kv_fail(&m->ck->db.env, KEVO_ENOMEM, "out of memory");
}

static int
grow(struct kv_mend *m, void *pp, size_t *room, size_t size)
{
	size_t n = *room != 0 ? 2 * *room : 16;
	void *p = realloc(*(void **)pp, n * size);

	if (p == NULL)
		return no_memory(m);
	*(void **)pp = p;
	*room = n;
	return 0;
}

/* ---- new tables -------------------------------------------------------- */

static void
fill_spec(const struct kv_mend *m, uint32_t level, struct kv_table_spec *s)
{
	const uint64_t *v = m->conf.value;
	uint64_t codec = v[KV_SET_COMPRESSION] >> (8 * level) & 0xff;

	memset(s, 0, sizeof(*s));
	memcpy(s->id, m->ck->ident.id, sizeof(s->id));
	s->mode = m->ck->ident.mode;
	s->block_bytes = (uint32_t)v[KV_SET_BLOCK_BYTES];
	s->restart_interval = (uint32_t)v[KV_SET_RESTART_INTERVAL];
	s->hash_index = (int)v[KV_SET_HASH_INDEX];
	if (kv_codec_known(codec & 7)) {
		s->codec = codec & 7;
		s->codec_level = (int8_t)(codec >> 3);
	}
}

int
kv_mend_begin_table(struct kv_mend *m, uint32_t level,
    struct kv_table_writer **out)
{
	struct kevo *db = &m->ck->db;
	struct kv_table_spec spec;
	int rc;

	if (m->nwriter == m->writer_room && (rc = grow(m, &m->writer,
	    &m->writer_room, sizeof(m->writer[0]))) != 0)
		return rc;
	fill_spec(m, level, &spec);
	do
		rc = kv_table_create(&db->env, &db->dir, m->next_file++,
		    &spec, out);
	while (rc == KEVO_FALSE);
	if (rc == 0)
		m->writer[m->nwriter++] = *out;
	return rc;
}

static int
add_table(struct kv_mend *m, uint32_t level, const struct kv_table_info *info)
{
	int rc;

	if (m->ntable == m->table_room && (rc = grow(m, &m->table,
	    &m->table_room, sizeof(m->table[0]))) != 0)
		return rc;
	memset(&m->table[m->ntable], 0, sizeof(m->table[0]));
	m->table[m->ntable].level = level;
	m->table[m->ntable++].info = *info;
	return 0;
}

int
kv_mend_end_table(struct kv_mend *m, uint32_t level,
    struct kv_table_writer *w)
{
	struct kv_table_info info;
	char name[KV_TABLE_NAME_LEN];
	int rc;

	if ((rc = kv_table_finish(w, &info)) != 0)
		return rc;
	m->ck->out->kept += info.count;
	if (info.max_seq > m->ck->last_seq)
		m->ck->last_seq = info.max_seq;
	kv_table_name(name, info.number);
	kv_mend_give(m, name);
	return add_table(m, level, &info);
}

/* ---- what is left of a table ------------------------------------------- */

struct rewrite {
	struct kv_mend *m;
	uint32_t level;
	struct kv_table_writer *w;	/* NULL: no record yet */
	uint8_t *last;			/* key; KEVO_KEY_MAX bytes */
	size_t last_len;
};

static int
keep_record(void *arg, uint64_t seq, const struct kv_op *op)
{
	struct rewrite *r = arg;
	int rc;

	/* What is not in order was not written by us. */
	if (r->w != NULL && kv_key_cmp(r->last, r->last_len, op->key,
	    op->klen) >= 0)
		return 0;
	if (r->w == NULL && (rc = kv_mend_begin_table(r->m, r->level,
	    &r->w)) != 0)
		return rc;
	memcpy(r->last, op->key, op->klen);
	r->last_len = op->klen;
	return kv_table_add(r->w, seq, op);
}

static int
pass_gap(void *arg, uint64_t off, uint64_t len)
{
	(void)arg;
	(void)off;
	(void)len;
	return 0;
}

static int
rewrite(struct kv_mend *m, uint64_t number, uint32_t level)
{
	struct rewrite r = { .m = m, .level = level };
	const struct kv_table_salvage to = { keep_record, pass_gap, &r };
	int rc;

	if ((r.last = malloc(KEVO_KEY_MAX)) == NULL)
		return no_memory(m);
	rc = kv_check_give(m->ck, number, &to);
	if (rc == 0 && r.w != NULL)
		rc = kv_mend_end_table(m, level, r.w);
	free(r.last);
	return rc;
}

static int
replace_table(struct kv_mend *m, uint64_t number)
{
	char name[KV_TABLE_NAME_LEN];

	kv_table_name(name, number);
	return kv_mend_replace(m, name);
}

/* ---- with a version ---------------------------------------------------- */

static int
is_named(const struct kv_version *v, uint64_t number)
{
	for (uint32_t i = 0; i < v->ntables; i++)
		if (v->table[i].info.number == number)
			return 1;
	return 0;
}

/* Where records are lost, tables that compaction has replaced may have them,
 * and who comes next would remove them. */
static int
replace_unnamed(struct kv_mend *m)
{
	const struct kv_list *l = &m->ck->tables;
	int rc;

	for (size_t i = 0; i < l->n; i++)
		if (!is_named(m->ck->version, l->v[i]) &&
		    (rc = replace_table(m, l->v[i])) != 0)
			return rc;
	return 0;
}

static int
mend_named(struct kv_mend *m)
{
	const struct kv_version *v = m->ck->version;
	int rc = 0;

	for (uint32_t i = 0; i < v->ntables && rc == 0; i++) {
		const struct kv_vtable *t = &v->table[i];

		if (m->ck->state[i] == KV_FILE_SOUND) {
			rc = add_table(m, t->level, &t->info);
			continue;
		}
		m->tables_lost = 1;
		if (m->ck->state[i] == KV_FILE_MISSING)
			continue;
		rc = rewrite(m, t->info.number, t->level);
		if (rc == 0)
			rc = replace_table(m, t->info.number);
	}
	if (rc == 0 && m->tables_lost)
		rc = replace_unnamed(m);
	return rc;
}

/* ---- without one ------------------------------------------------------- */

/* The tables of level 1 that are written, out of all there are. */
struct output {
	struct kv_mend *m;
	struct kv_table_writer *w;
	uint8_t *last;			/* key; KEVO_KEY_MAX bytes */
	size_t last_len;
};

static int
put(struct output *o, const struct kv_table_iter *it)
{
	struct kv_mend *m = o->m;
	int rc;

	if (o->last_len > 0 && kv_key_cmp(o->last, o->last_len, it->op.key,
	    it->op.klen) == 0)
		return 0;
	memcpy(o->last, it->op.key, it->op.klen);
	o->last_len = it->op.klen;
	if (o->w != NULL && kv_table_bytes(o->w) >=
	    m->conf.value[KV_SET_TABLE_BYTES]) {
		if ((rc = kv_mend_end_table(m, 1, o->w)) != 0)
			return rc;
		o->w = NULL;
	}
	if (o->w == NULL && (rc = kv_mend_begin_table(m, 1, &o->w)) != 0)
		return rc;
	return kv_table_add(o->w, it->seq, &it->op);
}

/* The newest record of each key. */
static int
merge(struct kv_mend *m, struct kv_merge *from)
{
	struct output o = { .m = m };
	const struct kv_table_iter *it;
	uint64_t steps = 0;
	size_t which;
	int rc;

	if ((o.last = malloc(KEVO_KEY_MAX)) == NULL)
		return no_memory(m);
	while ((rc = kv_merge_next(from, &it, &which)) == 1)
		if ((rc = put(&o, it)) != 0 || (++steps % 4096 == 0 &&
		    (rc = kv_check_step(m->ck, 0)) != 0))
			break;
	if (rc == 0 && o.w != NULL)
		rc = kv_mend_end_table(m, 1, o.w);
	free(o.last);
	return rc;
}

/*
 * Damaged tables are written anew first, as the log was; these copies are only
 * read.
 */
static int
collect(struct kv_mend *m, struct kv_merge *to)
{
	const struct kv_list *l = &m->ck->tables;
	const struct kv_dir *dir = &m->ck->db.dir;
	size_t copies;
	int rc = 0;

	for (size_t i = 0; i < l->n && rc == 0; i++) {
		if ((rc = replace_table(m, l->v[i])) != 0)
			return rc;
		if (kv_list_has(&m->ck->bad_tables, l->v[i]))
			rc = rewrite(m, l->v[i], 0);
		else
			rc = kv_merge_add(to, dir, l->v[i]);
	}
	copies = m->ntable;
	m->ntable = 0;
	m->ck->out->kept = 0;
	for (size_t i = 0; i < copies && rc == 0; i++)
		rc = kv_merge_add(to, dir, m->table[i].info.number);
	return rc;
}

/* The copies are no longer needed; they have the first writers. */
static void
drop_copies(struct kv_mend *m, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		kv_table_writer_free(m->writer[i], 1);
		m->writer[i] = NULL;
	}
}

static int
merge_all(struct kv_mend *m)
{
	struct kv_merge from;
	size_t copies;
	int rc;

	m->tables_lost = 1;
	rc = kv_merge_init(&from, &m->ck->db.env, 2 * m->ck->tables.n +
	    m->ntable);
	if (rc == 0 && (rc = collect(m, &from)) == 0) {
		copies = m->nwriter;
		if ((rc = merge(m, &from)) == 0)
			drop_copies(m, copies);
	}
	kv_merge_release(&from);
	return rc;
}

int
kv_mend_tables(struct kv_mend *m)
{
	if (m->ck->base == KV_BASE_NONE)
		return merge_all(m);
	return mend_named(m);
}
