#include <errno.h>
#include <string.h>

#include "count.h"
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
 * Walk to the record of sequence end, and tell where the records after seq
 * begin and where they end.  They must all verify.
 */
static int
find_range(struct kevo *db, struct kv_seg *s, uint64_t seq, uint64_t end,
    uint64_t *from, uint64_t *to)
{
	struct kv_walk w;

	kv_walk_start(&w, s->log, s->log_len, &s->head);
	*from = w.off;
	while (w.seq < end) {
		if (w.seq <= seq)
			*from = w.off;
		if (kv_walk_next(&w) != KV_WALK_RECORD)
			return sync_failed(db, s, EIO);
	}
	*to = w.off;
	return 0;
}

/*
 * A sync began and was not seen to succeed.  The kernel may have given up its
 * pages and marked them clean; written again, they are dirty and cannot be
 * dropped and read back from the disk as they were.  Only then what they hold
 * is verified.  (The model calls the other order VERIFY_FIRST.)
 */
static int
write_again(struct kevo *db, struct kv_seg *s, uint64_t end)
{
	uint64_t synced = atomic_load(&db->ctl->synced), from, to;
	char name[KV_SEGMENT_NAME_LEN];
	int rc;

	if (end < s->head.first_seq)
		return 0;
	if ((rc = find_range(db, s, synced, end, &from, &to)) != 0)
		return rc;
	kv_segment_name(name, s->counter);
	rc = kv_pwrite(&db->env, s->fd, kv_path(&db->dir, name), s->log + from,
	    (size_t)(to - from), from);
	if (rc != 0)
		return sync_failed(db, s, EIO);
	return find_range(db, s, synced, end, &from, &to);
}

int
kv_sync_log(struct kevo *db, const struct kv_seg *s)
{
	uint64_t began = kv_mono_ns();
	int e = kv_datasync(s->fd);

	kv_count(db->ctl, e == 0 ? KV_STAT_SYNCS : KV_STAT_SYNC_FAILURES, 1);
	if (e == 0)
		kv_time(db->ctl, KV_HIST_SYNC, kv_mono_ns() - began);
	return e;
}

static int
sync_active(struct kevo *db, uint64_t end)
{
	struct kv_control *c = db->ctl;
	struct kv_seg *s;
	int rc, e;

	if ((rc = kv_view_extend(db)) != 0 || (rc = kv_active_seg(db, &s)) != 0)
		return rc;
	if (atomic_fetch_add(&c->syncing, 1) != 0 &&		/* S2_MARK */
	    (rc = write_again(db, s, end)) != 0)
		return rc;
	if ((e = kv_sync_log(db, s)) != 0)			/* S3_SYNC */
		return sync_failed(db, s, e);
	/* Visible first: who sees synced tells its caller, and from then on
	 * every new reader has to see the commit. */
	kv_raise(&c->visible, end);				/* S4_PUBLISH */
	kv_raise(&c->synced, end);
	return 0;
}

/*
 * One sync of all that is appended.  `syncing` counts the syncs that began
 * and did not succeed: of the dead, and of those who are at it now, for some
 * sync beside the owner of SYNC.
 *
 * An owner that finds a mark keeps others from syncing beside it, and only
 * then looks how far the log goes.  So whatever a dead syncer was about lies
 * before that end, and when it is on disk no mark is needed any more.
 */
static int
sync_all(struct kevo *db, int owner)
{
	struct kv_control *c = db->ctl;
	int alone, rc;

	atomic_store_explicit(&c->unsynced_bytes, 0, memory_order_seq_cst);
	alone = owner && atomic_load(&c->syncing) != 0 &&
	    kv_beside_exclude(db->lock_fd);
	rc = sync_active(db, atomic_load_explicit(&c->appended,
	    memory_order_acquire));
	if (rc == 0 && alone)
		atomic_store(&c->syncing, 0);
	else if (rc == 0)
		atomic_fetch_sub(&c->syncing, 1);
	if (alone)
		kv_beside_leave(db->lock_fd);
	return rc;
}

/* Whatever hinders a sync: the commit is in the log, so its outcome is not
 * known. */
static int
sync_once(struct kevo *db, int owner)
{
	return sync_all(db, owner) != 0 ? KEVO_EUNKNOWN : 0;
}

/* Beside an owner of SYNC who does not get on. */
static int
sync_beside(struct kevo *db)
{
	int rc;

	if (!kv_beside_enter(db->lock_fd))
		return 0;	/* somebody looks whether we are here */
	rc = sync_once(db, 0);
	kv_beside_leave(db->lock_fd);
	return rc;
}

static int
sync_to(struct kevo *db, uint64_t seq)
{
	struct kv_control *c = db->ctl;
	int64_t patience = -1;
	int rc;

	for (;;) {
		enum kv_word_result r;

		if (atomic_load(&c->synced) >= seq)
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
			if ((rc = sync_beside(db)) != 0)
				return rc;
			continue;
		}
		rc = 0;
		if (atomic_load_explicit(&c->synced, memory_order_acquire) <
		    seq)
			rc = sync_once(db, 1);
		kv_word_unlock(&c->syncer);
		if (rc != 0)
			return rc;
	}
}

/*
 * Whoever finds its commit synced tells of it, not only who synced: that one
 * may have died before it did.  So an acknowledged commit was told.
 */
int
kv_sync_to(struct kevo *db, uint64_t seq)
{
	int rc = sync_to(db, seq);

	kv_event_tell(&db->ctl->event);
	return rc;
}

/*
 * For sync=batch it is counted how much was appended since the last sync
 * began.  A commit counts itself after it was appended, a syncer clears the
 * count before it looks how far the log goes: so nothing is left out, but
 * what was just synced may be counted, also because a syncer's zero between
 * this load and this store is lost.  Then a sync comes too early.
 */
void
kv_count_unsynced(struct kv_control *c, uint64_t bytes)
{
	uint64_t before = atomic_load_explicit(&c->unsynced_bytes,
	    memory_order_relaxed);

	if (before == 0)
		atomic_store_explicit(&c->unsynced_tick, kv_tick(),
		    memory_order_relaxed);
	atomic_store_explicit(&c->unsynced_bytes, before + bytes,
	    memory_order_relaxed);
}

/* Is so much unsynced, or for so long, that a commit has to do something?
 * Not if somebody has just begun to. */
static int
batch_is_due(const struct kv_control *c)
{
	uint64_t bytes = atomic_load_explicit(&c->unsynced_bytes,
	    memory_order_relaxed), age;

	if (bytes == 0)
		return 0;
	if (bytes >= kv_setting(c, KV_SET_SYNC_BYTES))
		return 1;
	age = kv_tick() - atomic_load_explicit(&c->unsynced_tick,
	    memory_order_relaxed);
	return age / KV_TICKS_A_SECOND * 1000 + age % KV_TICKS_A_SECOND *
	    1000 / KV_TICKS_A_SECOND >= kv_setting(c, KV_SET_SYNC_MS);
}

/* A durable commit must not be seen before it is. */
static int
hides_behind_full(const struct kv_control *c)
{
	return atomic_load_explicit(&c->full_to, memory_order_relaxed) >
	    atomic_load_explicit(&c->synced, memory_order_acquire);
}

int
kv_will_sync(const struct kevo *db, enum kevo_sync sync)
{
	if (sync == KEVO_SYNC_FULL || sync == KEVO_SYNC_LATER)
		return sync == KEVO_SYNC_FULL;
	return hides_behind_full(db->ctl) ||
	    (sync == KEVO_SYNC_BATCH && batch_is_due(db->ctl));
}

static int
publish(struct kevo *db, uint64_t seq, enum kevo_sync sync)
{
	struct kv_control *c = db->ctl;

	if (sync == KEVO_SYNC_FULL)
		return kv_sync_to(db, seq);
	if (sync != KEVO_SYNC_NONE && seq > db->batch_to)
		db->batch_to = seq;
	if (sync == KEVO_SYNC_LATER)
		return 0;
	if (hides_behind_full(c))
		return kv_sync_to(db, seq);
	kv_raise(&c->visible, seq);				/* T1_DO */
	kv_event_tell(&c->event);
	return sync == KEVO_SYNC_BATCH && batch_is_due(c) ?
	    kv_sync_to(db, seq) : 0;
}

int
kv_publish(struct kevo *db, uint64_t seq, enum kevo_sync sync)
{
	int rc = publish(db, seq, sync);

	/* It waited for the disk, or is timed already. */
	if (rc == 0 && db->began_ns != 0)
		kv_time(db->ctl, KV_HIST_COMMIT_DISK, kv_mono_ns() -
		    db->began_ns);
	db->began_ns = 0;
	return rc;
}

int
kv_settle(struct kevo *db, uint64_t seq)
{
	struct kv_control *c = db->ctl;
	uint64_t full = atomic_load_explicit(&c->full_to,
	    memory_order_relaxed);
	int rc;

	if (full > seq)
		full = seq;
	if (full > atomic_load_explicit(&c->synced, memory_order_acquire) &&
	    (rc = kv_sync_to(db, full)) != 0)
		return rc;
	/* What stands above it did not ask for the disk.  Its writer may not
	 * have come to this line, but who is answered sees it from now on. */
	kv_raise(&c->visible, seq);
	kv_event_tell(&c->event);
	return 0;
}
