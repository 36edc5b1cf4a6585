#include <string.h>

#include "count.h"
#include "db.h"
#include "lock.h"
#include "record.h"

/*
 * Repair: the new owner of WRITER finishes or undoes what the one before it
 * left marked.  State is taken from the log, never from what control says of
 * the unfinished step; every step here can be repeated if its doer dies too.
 */

int
kv_chain_before(const struct kv_seg *s, uint64_t off, uint64_t *chain)
{
	if (off == KV_SEGMENT_HEAD) {
		*chain = s->head.chain_before;
		return 0;
	}
	if (off < KV_SEGMENT_HEAD + KV_TRAILER_LEN || off > s->log_len)
		return -1;
	*chain = get_le64(s->log + off - KV_TRAILER_LEN);
	return 0;
}

static int
damaged_log(struct kevo *db, const struct kv_seg *s, uint64_t off)
{
	return kv_segment_damaged(&db->env, &db->dir, s->counter, off,
	    "not the record that was written");
}

static int
zero_range(struct kevo *db, struct kv_seg *s, uint64_t off, uint64_t len)
{
	char name[KV_SEGMENT_NAME_LEN];

	kv_segment_name(name, s->counter);
	return kv_write_zeros(&db->env, s->fd, kv_path(&db->dir, name), off,
	    len);
}

/* A whole record that its writer did not finish: insert and count it. */
static int
roll_forward(struct kevo *db, struct kv_seg *s, uint64_t off, uint64_t len)
{
	struct kv_control *c = db->ctl;
	struct kv_tail t = *kv_tail(c);
	const uint8_t *rec = s->log + off;
	uint64_t seq = get_le64(rec + 8);
	int rc;

	rc = kv_index_grow(db, s, get_le32(rec + KV_FRAME_LEN));
	if (rc == KV_RETRY)
		rc = kv_fail(&db->env, KEVO_ECORRUPT, "%s: index of segment "
		    "%llu is full", db->path, (unsigned long long)s->counter);
	if (rc != 0 || (rc = kv_insert_ops(db, s, off, len, seq)) != 0)
		return rc;
	if (t.off == off) {
		t.off = off + len;
		t.seq = seq;
		t.time_ns = get_le64(rec + 16);
		t.chain = get_le64(rec + len - KV_TRAILER_LEN);
		kv_set_tail(c, &t);
	}
	/* Whether its writer wanted it durable died with it: yes. */
	kv_raise(&c->full_to, seq);
	kv_raise(&c->appended, seq);
	return 0;
}

/*
 * The mark is on one record, or on several that were copied.  They are rolled
 * forward one by one, each of them whole; what is behind the last whole one
 * goes.  Where the mark begins before the tail, its owner, or an heir, had
 * come further than it says.
 */
static int
repair_record(struct kevo *db)
{
	struct kv_control *c = db->ctl;
	const struct kv_tail *t = kv_tail(c);
	uint64_t at = atomic_load(&c->writing_off);
	uint64_t len = atomic_load(&c->writing_len);
	uint64_t chain, seq, end, whole, n = 0;
	struct kv_seg *s;
	int rc;

	if ((rc = kv_active_seg(db, &s)) != 0)
		return rc;
	if (at > t->off || kv_chain_before(s, at, &chain) != 0 ||
	    at > s->log_len || len > s->log_len - at)
		return damaged_log(db, s, at);
	end = at + len;
	seq = t->seq + 1;
	if (at < t->off)
		seq = get_le64(s->log + at + 8);
	while (at < end && (whole = kv_record_verify(s->log, s->log_len, at,
	    chain, seq)) != 0) {
		if ((rc = roll_forward(db, s, at, whole)) != 0)
			return rc;
		at += whole;
		chain = get_le64(s->log + at - KV_TRAILER_LEN);
		seq++;
		n++;
	}
	t = kv_tail(c);
	if (at != t->off || seq != t->seq + 1)
		return damaged_log(db, s, at);
	if (at < end && (rc = zero_range(db, s, at, end - at)) != 0)
		return rc;
	kv_clear_writing(c);
	kv_count(c, n > 0 ? KV_STAT_REPAIR_FINISHED :
	    KV_STAT_REPAIR_UNDONE, 1);
	return 0;
}

static int
repair_rotation(struct kevo *db)
{
	struct kv_control *c = db->ctl;
	const struct kv_tail *t = kv_tail(c);
	int rc;

	if (t->segment == atomic_load(&c->writing_len)) {
		if ((rc = kv_rotate(db, 0, 0, NULL)) == 0)
			kv_count(c, KV_STAT_REPAIR_ROTATION, 1);
		return rc;
	}
	kv_count(c, KV_STAT_REPAIR_ROTATION, 1);
	kv_count(c, KV_STAT_ROTATIONS, 1);
	atomic_store(&c->active, t->segment);
	kv_event_tell(&c->event);
	kv_clear_writing(c);
	return kv_view_extend(db);
}

int
kv_repair(struct kevo *db)
{
	switch (atomic_load_explicit(&db->ctl->writing,
	    memory_order_acquire)) {
	case KV_WRITING_NOTHING:
		return 0;
	case KV_WRITING_RECORD:
		return repair_record(db);
	case KV_WRITING_SEAL:
		return repair_rotation(db);
	}
	return kv_fail(&db->env, KEVO_ECORRUPT, "%s/shm/control: damaged",
	    db->path);
}
