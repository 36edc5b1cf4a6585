#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "compact.h"
#include "count.h"
#include "db.h"
#include "lock.h"
#include "slots.h"

/*
 * Rotation: the active segment is sealed and the next one begins.  WRITER is
 * held throughout, SYNC is not needed: positions only rise.
 *
 * The order is what recovery relies on: the seal is on disk before the
 * successor's file exists, so a segment with a successor that is not sealed
 * is damage, and only the newest segment can have a torn end.
 */

static int
file_failed(struct kevo *db, struct kv_seg *s, const char *verb)
{
	char name[KV_SEGMENT_NAME_LEN];

	kv_segment_name(name, s->counter);
	return kv_fail_errno(&db->env, kv_path(&db->dir, name), verb);
}

static int
write_seal(struct kevo *db, struct kv_seg *s, const struct kv_tail *t)
{
	uint8_t buf[KV_SEAL_LEN];
	struct kv_seal seal = {
		.last_seq = t->seq,
		.records = t->seq + 1 - s->head.first_seq,
		.file_len = t->off + KV_SEAL_LEN, .chain = t->chain,
		.time_ns = t->time_ns, .head_hash = s->head.hash
	};
	char name[KV_SEGMENT_NAME_LEN];

	kv_segment_name(name, s->counter);
	kv_seal_encode(buf, &seal);
	return kv_pwrite(&db->env, s->fd, kv_path(&db->dir, name), buf,
	    sizeof(buf), t->off);
}

static int
create_next(struct kevo *db, const struct kv_line *line,
    const struct kv_tail *t, uint64_t need, uint64_t nops)
{
	struct kv_control *c = db->ctl;
	struct kv_segment_head h;
	uint64_t want = need + KV_SEGMENT_HEAD + KV_SEAL_LEN;
	int rc;

	memset(&h, 0, sizeof(h));
	memcpy(h.id, c->id, 16);
	h.epoch = line->epoch;
	h.nonce = line->nonce;
	h.flags = line->flags;
	h.first_seq = t->seq + 1;
	h.chain_before = t->chain;
	h.created_ns = kv_now_ns();
	h.counter = t->segment + 1;
	h.capacity = kv_setting(c, KV_SET_MEMTABLE_BYTES);
	if (h.capacity < want)
		h.capacity = want;
	rc = kv_segment_create(&db->env, &db->dir, c->mode, &h);
	if (rc != 0)
		return rc;
	return kv_index_create(&db->env, &db->dir, c->mode, c->generation, &h,
	    nops * 64);
}

/* What the next segment and its index take of the disk at first, besides the
 * filter. */
#define NEXT_BYTES	((uint64_t)128 << 10)

int
kv_rotate_room(struct kevo *db)
{
	uint64_t end = kv_tail(db->ctl)->off + KV_SEAL_LEN, ahead, left;
	uint64_t need = NEXT_BYTES + kv_index_filter_len(kv_setting(db->ctl,
	    KV_SET_MEMTABLE_BYTES));
	int rc = kv_free_bytes(&db->env, &db->dir, &left);

	if (rc != 0)
		return rc;
	/* Whatever was reserved behind the seal is given back. */
	ahead = atomic_load_explicit(&db->ctl->reserved_to,
	    memory_order_relaxed);
	if (ahead > end)
		left += ahead - end;
	return left >= need ? 0 : kv_fail(&db->env, KEVO_EIO, "%s: not "
	    "enough room to begin a log segment: %llu bytes are needed, %llu "
	    "are free", db->path, (unsigned long long)need,
	    (unsigned long long)left);
}

int
kv_rotate(struct kevo *db, uint64_t need, uint64_t nops,
    const struct kv_line *line)
{
	struct kv_control *c = db->ctl;
	struct kv_tail t = *kv_tail(c);
	uint64_t began = kv_mono_ns();
	struct kv_line same;
	struct kv_seg *s;
	int rc, e;

	if ((rc = kv_active_seg(db, &s)) != 0)
		return rc;
	same.epoch = s->head.epoch;
	same.nonce = s->head.nonce;
	same.flags = s->head.flags;
	kv_mark_writing(c, KV_WRITING_SEAL, t.off, t.segment);
	if ((rc = write_seal(db, s, &t)) != 0)
		return rc;
	if ((rc = kv_sync_to(db, t.seq)) != 0)
		return rc;
	/* kv_sync_to() has nothing to do if the records are on disk; the
	 * seal has to be, before a successor exists. */
	if ((e = kv_sync_log(db, s)) != 0) {
		errno = e;
		rc = file_failed(db, s, "sync");
		atomic_store(&c->failed, EIO);
		return rc;
	}
	if (ftruncate(s->fd, (off_t)(t.off + KV_SEAL_LEN)) != 0)
		return file_failed(db, s, "truncate");
	kv_slots_link(&db->dir, &s->head, t.seq);
	kv_config_refresh(db);	/* a wrong one changes nothing */
	rc = create_next(db, line != NULL ? line : &same, &t, need, nops);
	if (rc != 0)
		return rc;
	t.segment++;
	t.off = KV_SEGMENT_HEAD;
	atomic_store_explicit(&c->reserved_to, KV_SEGMENT_HEAD,
	    memory_order_relaxed);
	kv_set_tail(c, &t);
	atomic_store(&c->active, t.segment);
	kv_event_tell(&c->event);
	kv_clear_writing(c);
	kv_count(c, KV_STAT_ROTATIONS, 1);
	kv_count(c, KV_STAT_ROTATION_NS, kv_mono_ns() - began);
	return kv_view_extend(db);
}

/* Under WRITER. */
static int
seal(struct kevo *db)
{
	int rc;

	if (kv_tail(db->ctl)->off == KV_SEGMENT_HEAD)
		return KEVO_NOTFOUND;
	if ((rc = kv_rotate_room(db)) != 0)
		return rc;
	rc = kv_rotate(db, 0, 0, NULL);
	db->rotated = 1;
	return rc == KEVO_EUNKNOWN ? KEVO_EIO : rc;	/* of no commit here */
}

int
kevo_seal(struct kevo *db, uint64_t *version)
{
	uint64_t seq;
	int rc;

	if ((rc = kv_usable(db)) != 0 || (rc = kv_warm_up(db)) != 0 ||
	    (rc = kv_log_lock(db)) != 0)
		return kv_result(db, rc);
	rc = seal(db);
	seq = kv_tail(db->ctl)->seq;
	kv_writer_unlock(db);
	db->began_ns = 0;
	if (rc >= 0 && version != NULL)
		*version = seq;
	if (db->rotated) {
		db->rotated = 0;
		kv_slots_limit(db);
		kv_after_rotate(db);
	}
	return kv_result(db, rc);
}
