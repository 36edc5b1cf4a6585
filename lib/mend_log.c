#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mend.h"
#include "table.h"

/*
 * What can be read of the log goes into tables of level 0, a segment into
 * one.  It is put in order by an index like those in shared memory, and so is
 * it found out which record of a key is the newest.
 */
struct run {
	struct kv_mend *m;
	uint64_t from;		/* older commits are in tables */
	struct kv_index ix;	/* arena NULL: nothing was taken yet */
};

static int
begin_index(struct run *r, const struct kv_log_file *f)
{
	uint64_t room = kv_index_space(f->len);

	r->ix.arena = kv_map_anon((size_t)room);
	if (r->ix.arena == NULL)
		return kv_fail(&r->m->ck->db.env, KEVO_ENOMEM,
		    "out of memory");
	kv_index_format(r->ix.arena, room, 0, f->counter, 0, 0);
	r->ix.arena_len = room;
	r->ix.log = f->b;
	r->ix.log_len = f->len;
	return 0;
}

static void
end_index(struct run *r)
{
	if (r->ix.arena != NULL)
		kv_unmap(r->ix.arena, (size_t)r->ix.arena_len);
	memset(&r->ix, 0, sizeof(r->ix));
}

static int
take_record(void *arg, const struct kv_log_file *f, uint64_t off,
    uint64_t seq)
{
	struct run *r = arg;
	uint64_t at = off + KV_FRAME_LEN;
	uint32_t count = get_le32(f->b + at);
	struct kv_index_group g = { .ix = &r->ix };
	struct kv_op op;
	int rc;

	if (seq < r->from)
		return 0;
	if (r->ix.arena == NULL && (rc = begin_index(r, f)) != 0)
		return rc;
	for (at += KV_PAYLOAD_HEAD, rc = 0; count > 0 && rc == 0; count--) {
		if ((rc = kv_op_decode(f->b, f->len, at, &op)) == 0)
			rc = kv_index_add(&g, seq, (uint32_t)at);
		at += op.len;
	}
	if (rc == 0 && kv_index_flush(&g) == 0)
		return 0;
	return kv_fail(&r->m->ck->db.env, KEVO_ENOMEM, "%s: no room for an "
	    "index", f->name);
}

static int
write_table(struct run *r, const struct kv_log_file *f)
{
	struct kv_table_writer *w = NULL;
	struct kv_mend *m = r->m;
	struct kv_index_iter it;
	struct kv_op op;
	int step, rc = 0;

	kv_index_iter_init(&it, &r->ix, UINT64_MAX);
	for (step = kv_index_first(&it); step == 1 && rc == 0;
	    step = kv_index_next(&it)) {
		if (w == NULL)
			rc = kv_mend_begin_table(m, 0, &w);
		if (rc == 0 && kv_op_decode(f->b, f->len, it.hit.off,
		    &op) == 0)
			rc = kv_table_add(w, it.hit.seq, &op);
	}
	kv_index_iter_release(&it);
	if (rc == 0 && step < 0)
		rc = kv_fail(&m->ck->db.env, KEVO_ENOMEM, "out of memory");
	if (rc == 0 && w != NULL)
		rc = kv_mend_end_table(m, 0, w);
	return rc;
}

static int
end_segment(void *arg, const struct kv_log_file *f)
{
	struct run *r = arg;
	int rc = 0;

	if (r->ix.arena != NULL)
		rc = write_table(r, f);
	end_index(r);
	return rc != 0 ? rc : kv_mend_replace(r->m, f->name);
}

int
kv_mend_segments(struct kv_mend *m, uint64_t first, uint64_t last,
    uint64_t from, struct kv_log_end *end)
{
	struct run r = { .m = m, .from = from };
	struct kv_log_taker taker = { take_record, end_segment, NULL };
	int rc;

	taker.arg = &r;
	rc = kv_check_segments(m->ck, first, last, &taker, end);
	end_index(&r);
	return rc;
}

/* ---- older segments ---------------------------------------------------- */

/*
 * Segments that are in tables already, without a gap up to the log: of every
 * key in them they have the newest record up to the log, so nothing that was
 * deleted can come back out of them.  Returns the oldest one.
 */
static uint64_t
oldest_useful(const struct kv_check *ck)
{
	uint64_t first = ck->version->first_segment;

	while (first > 1 && kv_list_has(&ck->segments, first - 1))
		first--;
	return first;
}

/* They are good for it only if they are sound; else a key's newest record may
 * be the one that is damaged. */
static int
use_older(struct kv_mend *m)
{
	struct kv_check *ck = m->ck;
	const struct kv_version *v = ck->version;
	uint64_t first = oldest_useful(ck);
	struct kv_log_end end;
	int rc, damaged = ck->log_damaged;

	for (; first < v->first_segment; first++) {
		memset(&end, 0, sizeof(end));
		ck->log_damaged = 0;
		rc = kv_check_segments(ck, first, v->first_segment - 1, NULL,
		    &end);
		if (rc != 0)
			return rc;
		if (!ck->log_damaged && end.seq + 1 == v->first_seq)
			break;
	}
	memset(&end, 0, sizeof(end));
	rc = 0;
	if (first < v->first_segment)
		rc = kv_mend_segments(m, first, v->first_segment - 1, 0,
		    &end);
	ck->log_damaged = damaged;
	return rc;
}

/* ---- the log ----------------------------------------------------------- */

/* All segments there are from this one on, and who knows what else calls
 * itself one. */
static int
salvage_log(struct kv_mend *m, uint64_t first, uint64_t from)
{
	struct kv_check *ck = m->ck;
	const struct kv_version *v = ck->version;
	const struct kv_list *l = &ck->segments;
	struct kv_log_end *end = &m->end;
	uint64_t last = l->n > 0 ? l->v[l->n - 1] : 0;
	int rc = 0;

	end->seq = v->first_seq - 1;
	end->chain = v->chain_before;
	end->chained = first == v->first_segment;
	end->time_ns = v->time_ns;
	m->new_log = 1;
	if (last >= first)
		rc = kv_mend_segments(m, first, last, from, end);
	return rc;
}

/* Where all is merged, and something is damaged, the log is merged, too. */
static int
log_without_version(struct kv_mend *m)
{
	if (!m->ck->log_damaged && m->ck->bad_tables.n == 0)
		return 0;
	return salvage_log(m, oldest_useful(m->ck), 0);
}

int
kv_mend_log(struct kv_mend *m)
{
	const struct kv_version *v = m->ck->version;
	int rc = 0;

	if (m->ck->base == KV_BASE_NONE)
		return log_without_version(m);
	if (m->tables_lost)
		rc = use_older(m);
	if (rc == 0 && m->ck->log_damaged)
		rc = salvage_log(m, v->first_segment, v->first_seq);
	return rc;
}
