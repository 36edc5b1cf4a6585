#include <stdlib.h>
#include <string.h>

#include "compact.h"
#include "key.h"
#include "record.h"

/*
 * What a flush and a merge have in common: records come in order, each the
 * newest of its key; those without an effect are left out, the others fill
 * tables of a bounded size.
 */

/* Clocks may be so far apart: a record is dropped so long after it expired. */
#define EXPIRY_MARGIN_NS	((uint64_t)3600 * 1000000000u)

/* Whatever the setting: all tables of a job are open at once. */
#define OUT_TABLES		128

/* A table that lies beside so many times its size of the next level would
 * make a large job of its own compaction. */
#define BESIDE_MAX		10

void
kv_out_init(struct kv_out *o, struct kv_work *w, const struct kv_version *v,
    uint32_t level, uint32_t older, uint64_t bytes, uint64_t last_time_ns)
{
	uint64_t now = kv_now_ns();

	memset(o, 0, sizeof(*o));
	o->w = w;
	o->v = v;
	o->level = level;
	o->older = older;
	o->table_bytes = kv_setting(w->db->ctl, KV_SET_TABLE_BYTES);
	if (o->table_bytes < bytes / OUT_TABLES)
		o->table_bytes = bytes / OUT_TABLES;
	if (w->tight)
		o->table_bytes = UINT64_MAX / 16;	/* one */
	if (now > last_time_ns)
		now = last_time_ns;
	if (now > EXPIRY_MARGIN_NS)
		o->horizon_ns = now - EXPIRY_MARGIN_NS;
	for (uint32_t i = 0; i < KV_LEVELS; i++)
		o->at[i] = v->level_start[i];
	if (level + 1 < KV_LEVELS)
		o->beside_at = v->level_start[level + 1];
}

/* ---- what is dropped --------------------------------------------------- */

static int
holds(const struct kv_table_info *t, const struct kv_op *op)
{
	return kv_key_cmp(t->first, t->first_len, op->key, op->klen) <= 0 &&
	    kv_key_cmp(op->key, op->klen, t->last, t->last_len) <= 0;
}

/* May a table that is looked at hold an older record of the key? */
static int
has_older(struct kv_out *o, const struct kv_op *op)
{
	const struct kv_version *v = o->v;

	for (uint32_t level = o->older; level < KV_LEVELS; level++) {
		uint32_t end = v->level_start[level + 1], *i = &o->at[level];

		for (uint32_t k = *i; level == 0 && k < end; k++)
			if (holds(&v->table[k].info, op))
				return 1;
		if (level == 0)
			continue;
		while (*i < end && kv_key_cmp(v->table[*i].info.last,
		    v->table[*i].info.last_len, op->key, op->klen) < 0)
			++*i;
		if (*i < end && holds(&v->table[*i].info, op))
			return 1;
	}
	return 0;
}

/*
 * A deletion is dropped when there is nothing left for it to hide; a record
 * that has expired becomes a deletion, since it still hides older ones.
 */
static int
has_no_effect(struct kv_out *o, uint64_t seq, struct kv_op *op)
{
	int expired = op->expires_ns != 0 && op->expires_ns <= o->horizon_ns;

	if (expired) {
		op->kind = KV_OP_DELETE;
		op->expires_ns = 0;
		op->vlen = 0;
	}
	if (op->kind != KV_OP_DELETE || has_older(o, op))
		return 0;
	if (seq > o->dropped_to)
		o->dropped_to = seq;
	o->w->p.dropped++;
	if (expired)
		o->w->expired++;
	else
		o->w->deleted++;
	return 1;
}

/* ---- tables ------------------------------------------------------------ */

static int
make_room(struct kv_out *o)
{
	size_t room = o->room != 0 ? 2 * o->room : 8;
	void *p;

	if (o->n < o->room)
		return 0;
	if ((p = realloc(o->table, room * sizeof(o->table[0]))) != NULL) {
		o->table = p;
		p = realloc(o->add, room * sizeof(o->add[0]));
	}
	if (p == NULL)
		return kv_fail(&o->w->db->env, KEVO_ENOMEM, "out of memory");
	o->add = p;
	o->room = room;
	return 0;
}

static void
fill_spec(const struct kv_out *o, struct kv_table_spec *s)
{
	const struct kv_control *c = o->w->db->ctl;
	uint64_t codec;

	memset(s, 0, sizeof(*s));
	memcpy(s->id, c->id, sizeof(s->id));
	s->mode = c->mode;
	s->block_bytes = (uint32_t)kv_setting(c, KV_SET_BLOCK_BYTES);
	s->restart_interval = (uint32_t)kv_setting(c, KV_SET_RESTART_INTERVAL);
	s->hash_index = (int)kv_setting(c, KV_SET_HASH_INDEX);
	codec = kv_setting(c, KV_SET_COMPRESSION) >> (8 * o->level) & 0xff;
	s->codec = codec & 7;
	s->codec_level = (int8_t)(codec >> 3);
	s->reserve = o->w->tight && kv_spare_may_take(o->w) ? KV_SPARE_NAME :
	    NULL;
}

static int
begin_table(struct kv_out *o)
{
	struct kevo *db = o->w->db;
	struct kv_table_spec spec;
	struct kv_table_writer *t;
	int rc;

	if ((rc = make_room(o)) != 0)
		return rc;
	fill_spec(o, &spec);
	/* A number that is in use is that of another generation's table. */
	kv_raise(&db->ctl->next_file, o->v->next_file);
	do
		rc = kv_table_create(&db->env, &db->dir,
		    atomic_fetch_add(&db->ctl->next_file, 1), &spec, &t);
	while (rc == KEVO_FALSE);
	if (rc != 0)
		return rc;
	o->table[o->n++] = o->writing = t;
	o->beside = o->reported = 0;
	return 0;
}

static int
end_table(struct kv_out *o)
{
	struct kv_table_writer *w = o->writing;
	struct kv_vtable *t;
	int rc;

	if (w == NULL)
		return 0;
	o->writing = NULL;
	t = &o->add[o->n - 1];
	memset(t, 0, sizeof(*t));
	t->level = o->level;
	if ((rc = kv_table_finish(w, &t->info)) != 0)
		return rc;
	return kv_work_step(o->w, 0, t->info.size > o->reported ?
	    t->info.size - o->reported : 0);
}

/* Count the tables of the next level that end before the key. */
static void
pass_beside(struct kv_out *o, const struct kv_op *op)
{
	const struct kv_version *v = o->v;
	uint32_t end;

	if (o->level == 0 || o->level + 1 >= KV_LEVELS)
		return;
	end = v->level_start[o->level + 2];
	while (o->beside_at < end && kv_key_cmp(
	    v->table[o->beside_at].info.last,
	    v->table[o->beside_at].info.last_len, op->key, op->klen) < 0)
		o->beside += v->table[o->beside_at++].info.size;
}

static int
report(struct kv_out *o, uint64_t bytes)
{
	uint64_t more = bytes > o->reported ? bytes - o->reported : 0;

	if (more < (uint64_t)64 << 10)
		return 0;
	o->reported = bytes;
	return kv_work_step(o->w, 0, more);
}

int
kv_out_add(struct kv_out *o, uint64_t seq, struct kv_op *op)
{
	uint64_t bytes;
	int rc;

	if (has_no_effect(o, seq, op))
		return 0;
	pass_beside(o, op);
	if (o->writing != NULL) {
		bytes = kv_table_bytes(o->writing);
		if ((rc = report(o, bytes)) != 0)
			return rc;
		if ((bytes >= o->table_bytes || o->beside > BESIDE_MAX *
		    o->table_bytes) && (rc = end_table(o)) != 0)
			return rc;
	}
	if (o->writing == NULL && (rc = begin_table(o)) != 0)
		return rc;
	return kv_table_add(o->writing, seq, op);
}

int
kv_out_finish(struct kv_out *o)
{
	int rc;

	if ((rc = end_table(o)) != 0 || o->n == 0)
		return rc;
	return kv_sync_dir(&o->w->db->env, &o->w->db->dir, "table");
}

void
kv_out_release(struct kv_out *o, int remove)
{
	for (size_t i = 0; i < o->n; i++)
		kv_table_writer_free(o->table[i], remove);
	free(o->table);
	free(o->add);
}
