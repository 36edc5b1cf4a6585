#include <string.h>
#include <time.h>

#include "compact.h"
#include "count.h"
#include "lock.h"
#include "slots.h"

/*
 * What a writer does so that the log and level 0 do not grow without bound:
 * it starts kevo-compact, unless somebody is compacting; if the sealed
 * segments are more than `memtables` all the same, it flushes them itself; if
 * another process is at that, it waits, the longer the more there are, and at
 * `stall_segments` for as long as it takes, but never longer than `stall_ms`.
 * If that process does not get on, no segment is begun beyond these.
 * A level 0 that grows slows it down in the same way.
 *
 * No lock is held meanwhile, but for FLUSH while it flushes.
 */

/* Level 0 slows writers down from so many times its limit on, and does its
 * worst at the second. */
#define DEPTH_SLOW	3
#define DEPTH_STOP	8

#define NAP_MAX_MS	10

struct debt {
	uint64_t sealed;	/* segments */
	uint64_t depth;		/* of level 0 */
	int due;		/* anything */
};

static int
look(struct kevo *db, struct debt *d)
{
	struct kv_job job = { .room = 0 };
	struct kv_version *v;
	struct kv_shape shape;
	int busy = 0, rc;

	if ((rc = kv_newest_version(db, &v)) != 0)
		return rc;
	kv_shape_get(&shape, db);
	d->sealed = kv_sealed(db, v);
	d->depth = kv_depth(v);
	d->due = d->sealed > 0 || kv_pick(v, &shape, NULL, 0, &job,
	    &busy) == 1;
	kv_job_release(&job);
	kv_version_unref(v);
	return 0;
}

/* Do a part of it: flush; and merge once, if there is nobody who would. */
static void
help(struct kevo *db, int merge)
{
	uint64_t start = kv_mono_ns();
	struct kv_work w;
	uint64_t flushed;
	int did;

	kv_work_init(&w, db, NULL);
	w.rate = 0;
	if (kv_flush(&w, &flushed) == 0 &&
	    (flushed == 0 || kv_sweep(&w) == 0) && merge)
		kv_merge_once(&w, &did);
	kv_work_release(&w);
	kv_stall(db->ctl, KV_STALL_HELP, kv_mono_ns() - start);
}

/* How long to wait, at most, when x is between low and high or beyond. */
static int64_t
patience_ms(uint64_t x, uint64_t low, uint64_t high, int64_t most)
{
	if (x <= low)
		return 0;
	if (x >= high)
		return most;
	return most * (int64_t)(x - low) / (int64_t)(high - low);
}

static int
wait_until_below(struct kevo *db, enum kv_stall what, uint64_t low,
    int64_t ms, int64_t most)
{
	struct timespec ts = { 0, 1000000 };
	uint64_t start = kv_mono_ns();
	struct debt d;
	int rc = 0;

	if (ms == 0)
		return 0;
	while (kv_mono_ns() - start < (uint64_t)ms * 1000000) {
		nanosleep(&ts, NULL);
		if (ts.tv_nsec < NAP_MAX_MS * 1000000)
			ts.tv_nsec += 1000000;
		if ((rc = look(db, &d)) != 0 ||
		    (what == KV_STALL_SEGMENTS ? d.sealed : d.depth) <= low)
			break;
	}
	kv_stall(db->ctl, ms < most ? KV_STALL_SLOW : what,
	    kv_mono_ns() - start);
	return rc;
}

static void
reduce(struct kevo *db, struct debt *d)
{
	uint64_t many = kv_setting(db->ctl, KV_SET_MEMTABLES);
	uint64_t level0 = kv_setting(db->ctl, KV_SET_LEVEL0_TABLES);
	int64_t most = (int64_t)kv_setting(db->ctl, KV_SET_STALL_MS);
	int alone = !kv_compacting_other(db->lock_fd);

	if (alone && kv_spawn_compactor(db)) {
		kv_count(db->ctl, KV_STAT_COMPACT_STARTS, 1);
		alone = 0;
	}
	if (alone || d->sealed > many) {
		help(db, alone);
		if (look(db, d) != 0)
			return;
	}
	if (wait_until_below(db, KV_STALL_SEGMENTS, many, patience_ms(d->sealed,
	    many, kv_setting(db->ctl, KV_SET_STALL_SEGMENTS), most), most) != 0)
		return;
	wait_until_below(db, KV_STALL_LEVEL0, DEPTH_SLOW * level0,
	    patience_ms(d->depth, DEPTH_SLOW * level0, DEPTH_STOP * level0,
	    most), most);
}

int
kv_debt_may_grow(struct kevo *db)
{
	const struct kv_control *c = db->ctl;
	int64_t most = (int64_t)kv_setting(c, KV_SET_STALL_MS), since;
	uint64_t n = kv_sealed_now(db);
	char who[96];

	since = (int64_t)atomic_load_explicit(&c->flusher.since_ms,
	    memory_order_relaxed);
	if (n < kv_setting(c, KV_SET_STALL_SEGMENTS) || most == 0 ||
	    since == 0 || kv_mono_ms() - since < most ||
	    kv_setting(c, KV_SET_COMPACTION) != KV_COMPACTION_AUTO ||
	    !kv_flushing_other(db->lock_fd))
		return 0;
	kv_holder_describe(&c->flusher, who, sizeof(who));
	return kv_fail(&db->env, KEVO_EBUSY, "%s: busy: %llu segments of log "
	    "wait for a flush that does not get on: %s", db->path,
	    (unsigned long long)n, who);
}

void
kv_after_rotate(struct kevo *db)
{
	struct kv_env before = db->env;
	struct debt d;

	if (db->txn == NULL && kv_setting(db->ctl, KV_SET_COMPACTION) ==
	    KV_COMPACTION_AUTO && look(db, &d) == 0 && d.due)
		reduce(db, &d);
	db->env = before;	/* the commit's own message */
}

int
kv_finish_commit(struct kevo *db, uint64_t seq, enum kevo_sync sync)
{
	int rc = kv_publish(db, seq, sync);

	if (db->complete.to != 0)
		kv_log_write_out(db);
	if (db->rotated) {
		db->rotated = 0;
		kv_slots_limit(db);
		kv_after_rotate(db);
	}
	return rc;
}
