#include <errno.h>
#include <string.h>

#include "db.h"
#include "lock.h"

/*
 * Bringing the log to disk, for everybody: while one process is in
 * fdatasync, others append and queue on SYNC, and the next one syncs for all
 * of them.  The steps S1 to S4 are described in commit.c.
 */

/* Who waits this long for SYNC syncs beside its owner, who may be stopped. */
#define SYNC_PATIENCE_MS	100

static int
sync_failed(struct kevo *db, struct kv_seg *s, int e)
{
	char name[KV_SEGMENT_NAME_LEN];

	atomic_store_explicit(&db->ctl->failed, (uint32_t)e,
	    memory_order_release);
	kv_segment_name(name, s->counter);
	return kv_fail(&db->env, KEVO_EUNKNOWN, "%s: cannot sync: %s; the "
	    "commit is not known to be durable", kv_path(&db->dir, name),
	    strerror(e));
}

/*
 * A sync began and was not seen to succeed.  Write the records that it was
 * about again, from the mapped bytes if these still verify: pages that the
 * kernel gave up and marked clean become dirty again.
 */
static int
write_again(struct kevo *db, struct kv_seg *s, uint64_t end)
{
	uint64_t synced = atomic_load(&db->ctl->synced);
	char name[KV_SEGMENT_NAME_LEN];
	struct kv_walk w;
	int rc;

	kv_segment_name(name, s->counter);
	kv_walk_start(&w, s->log, s->log_len, &s->head);
	while (w.seq < end) {
		if (kv_walk_next(&w) != KV_WALK_RECORD)
			return sync_failed(db, s, EIO);
		if (w.seq <= synced)
			continue;
		rc = kv_pwrite(&db->env, s->fd, kv_path(&db->dir, name),
		    s->log + w.rec_off, (size_t)w.rec_len, w.rec_off);
		if (rc != 0)
			return sync_failed(db, s, EIO);
	}
	return 0;
}

static int
sync_once(struct kevo *db)
{
	struct kv_control *c = db->ctl;
	uint64_t end, mark;
	struct kv_seg *s;
	int rc, e;

	end = atomic_load_explicit(&c->appended, memory_order_acquire);
	if ((rc = kv_view_extend(db)) != 0 || (rc = kv_active_seg(db, &s)) != 0)
		return rc;
	mark = atomic_load_explicit(&c->syncing, memory_order_acquire);
	if (mark != 0 && (rc = write_again(db, s, end)) != 0)
		return rc;
	kv_raise(&c->syncing, end);				/* S2_MARK */
	if ((e = kv_datasync(s->fd)) != 0)			/* S3_SYNC */
		return sync_failed(db, s, e);
	kv_raise(&c->synced, end);				/* S4_PUBLISH */
	kv_raise(&c->visible, end);
	/* Another's mark for a later end is the other's to clear. */
	mark = end;
	atomic_compare_exchange_strong(&c->syncing, &mark, 0);
	return 0;
}

int
kv_sync_to(struct kevo *db, uint64_t seq)
{
	struct kv_control *c = db->ctl;
	int64_t patience = -1;
	int rc;

	for (;;) {
		enum kv_word_result r;

		if (atomic_load_explicit(&c->synced, memory_order_acquire) >=
		    seq)
			return 0;
		if (atomic_load_explicit(&c->failed, memory_order_acquire))
			return kv_fail(&db->env, KEVO_EUNKNOWN, "%s: another "
			    "process failed to sync the log; the commit is "
			    "not known to be durable", db->path);
		r = kv_word_step(&c->syncer, db->lock_fd, db->slot,
		    SYNC_PATIENCE_MS / 10);			/* S1_LOCK */
		if (r == KV_WORD_TIMEOUT) {
			int64_t now = kv_mono_ms();

			if (patience < 0)
				patience = now + SYNC_PATIENCE_MS;
			if (now < patience)
				continue;
			if ((rc = sync_once(db)) != 0)
				return rc;
			continue;
		}
		rc = 0;
		if (atomic_load_explicit(&c->synced, memory_order_acquire) <
		    seq)
			rc = sync_once(db);
		kv_word_unlock(&c->syncer);
		if (rc != 0)
			return rc;
	}
}

int
kv_publish(struct kevo *db, uint64_t seq, enum kevo_sync sync)
{
	struct kv_control *c = db->ctl;

	if (sync == KEVO_SYNC_FULL)
		return kv_sync_to(db, seq);
	if (sync != KEVO_SYNC_NONE && seq > db->batch_to)
		db->batch_to = seq;
	if (sync == KEVO_SYNC_LATER)
		return 0;
	/* A durable commit before ours must not be seen before it is. */
	if (atomic_load_explicit(&c->full_to, memory_order_relaxed) >
	    atomic_load_explicit(&c->synced, memory_order_acquire))
		return kv_sync_to(db, seq);
	kv_raise(&c->visible, seq);
	return 0;
}

int
kv_settle(struct kevo *db, uint64_t seq)
{
	struct kv_control *c = db->ctl;
	uint64_t full = atomic_load_explicit(&c->full_to,
	    memory_order_relaxed);

	if (full > seq)
		full = seq;
	if (full <= atomic_load_explicit(&c->synced, memory_order_acquire))
		return 0;
	return kv_sync_to(db, full);
}
