#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "compact.h"
#include "join.h"
#include "key.h"
#include "lock.h"

/*
 * kevo_compact(): files that nobody needs go first, since that makes room;
 * then the log, since writers wait for that; then merges, the most urgent
 * first; and after each of them the files that it has replaced.
 */

/* What a full run leaves to others it waits for, in naps. */
#define NAP_MS		10

/* Neighbours that a full run merges at once, in sizes of a table. */
#define RUN_TABLES	8

static int
usable(struct kevo *db, const struct kevo_compact *c)
{
	unsigned all = KEVO_COMPACT_FLUSH | KEVO_COMPACT_FULL |
	    KEVO_COMPACT_DRY_RUN;
	int rc = kv_usable(db);

	if (rc != 0 || (rc = kv_join_refuse(db, "it cannot be compacted")) !=
	    0)
		return rc;
	if (db->slot == 0 || (db->flags & KEVO_RDONLY))
		return kv_fail(&db->env, KEVO_EPERM, "%s: opened for reading "
		    "only", db->path);
	if (db->txn != NULL)
		return kv_fail(&db->env, KEVO_EINVAL, "%s: a transaction is "
		    "open on this handle", db->path);
	if (c != NULL && ((c->flags & ~all) != 0 ||
	    (c->flags & (KEVO_COMPACT_FLUSH | KEVO_COMPACT_FULL)) ==
	    (KEVO_COMPACT_FLUSH | KEVO_COMPACT_FULL)))
		return kv_fail(&db->env, KEVO_EINVAL, "compaction: flags that "
		    "are unknown, or do not go together");
	if (c != NULL && (c->from != NULL || c->to != NULL) &&
	    !(c->flags & KEVO_COMPACT_FULL))
		return kv_fail(&db->env, KEVO_EINVAL, "compaction: a range is "
		    "for a full run");
	return kv_warm_up(db);
}

static int
busy(struct kv_work *w)
{
	return kv_fail(&w->db->env, KEVO_EBUSY, "%s: busy: another process is "
	    "compacting it", w->db->path);
}

static int
did_nothing(const struct kv_work *w)
{
	return w->p.flushed == 0 && w->p.jobs == 0;
}

/* ---- what there is to do ----------------------------------------------- */

static uint64_t
log_bytes(const struct kevo *db, const struct kv_version *v)
{
	uint64_t n = kv_sealed(db, v), bytes = 0;
	char name[KV_SEGMENT_NAME_LEN];
	struct stat st;

	for (uint64_t c = v->first_segment; n > 0; c++, n--) {
		kv_segment_name(name, c);
		if (fstatat(db->dir.fd, name, &st, 0) == 0)
			bytes += (uint64_t)st.st_size;
	}
	return bytes;
}

static void
full_init(struct kv_full *f, const struct kv_work *w)
{
	memset(f, 0, sizeof(*f));
	f->to_seq = UINT64_MAX;
	f->from = w->c.from;
	f->from_len = w->c.from_len;
	f->to = w->c.to;
	f->to_len = w->c.to_len;
	f->run_bytes = RUN_TABLES * kv_setting(w->db->ctl, KV_SET_TABLE_BYTES);
}

static int
dry_run(struct kv_work *w)
{
	struct kevo *db = w->db;
	uint64_t used = kv_tail(db->ctl)->off;
	struct kv_version *v;
	struct kv_shape shape;
	struct kv_full f;
	int rc;

	if ((rc = kv_newest_version(db, &v)) != 0)
		return rc;
	kv_shape_get(&shape, db);
	w->p.flushed = kv_sealed(db, v);
	w->p.due = log_bytes(db, v);
	if (w->c.flags & KEVO_COMPACT_FULL) {
		if (used > KV_SEGMENT_HEAD) {
			w->p.flushed++;
			w->p.due += used;
		}
		full_init(&f, w);
		f.target = kv_full_target(v, &shape);
		w->p.due += kv_pick_due_full(v, &f);
	} else if (!(w->c.flags & KEVO_COMPACT_FLUSH)) {
		w->p.due += kv_pick_due(v, &shape);
	}
	kv_version_unref(v);
	return 0;
}

/* ---- what is due ------------------------------------------------------- */

/* What others had locked may be free by now. */
static int
after_job(struct kv_work *w)
{
	w->ntaken = 0;
	return kv_sweep(w);
}

int
kv_merge_once(struct kv_work *w, int *did)
{
	struct kv_job job = { .room = 0 };
	struct kv_version *v;
	struct kv_shape shape;
	int rc, taken;

	*did = 0;
	if ((rc = kv_newest_version(w->db, &v)) != 0)
		return rc;
	kv_shape_get(&shape, w->db);
	w->p.due = log_bytes(w->db, v) + kv_pick_due(v, &shape);
	while ((rc = kv_pick(v, &shape, w->taken, w->ntaken, &job,
	    &taken)) == 1) {
		rc = kv_run(w, &v, &job, did);
		if (rc != 0 || *did)
			break;
	}
	if (rc == 0 && !*did)
		w->p.busy |= taken;
	kv_job_release(&job);
	kv_version_unref(v);
	return rc == 0 && *did ? after_job(w) : rc;
}

static int
do_what_is_due(struct kv_work *w)
{
	uint64_t flushed;
	int did, rc;

	do {
		w->p.busy = 0;
		w->no_room = NULL;
		if ((rc = kv_flush(w, &flushed)) != 0)
			return rc;
		if (flushed > 0 && (rc = kv_sweep(w)) != 0)
			return rc;
		did = 0;
		if (!(w->c.flags & KEVO_COMPACT_FLUSH) &&
		    kv_work_may_begin(w) &&
		    (rc = kv_merge_once(w, &did)) != 0)
			return rc;
	} while ((did || flushed > 0) && kv_work_may_begin(w));
	if (w->no_room != NULL)
		return kv_work_no_room(w);
	return w->p.busy && did_nothing(w) ? busy(w) : 0;
}

/* ---- a full run -------------------------------------------------------- */

/* Seal the active segment, if there is anything in it. */
static int
seal(struct kv_work *w, uint64_t *last_segment, uint64_t *last_seq)
{
	struct kevo *db = w->db;
	int rc;

	if ((rc = kv_log_lock(db)) != 0)
		return rc;
	if (kv_tail(db->ctl)->off > KV_SEGMENT_HEAD &&
	    (rc = kv_rotate_room(db)) == 0)
		rc = kv_rotate(db, 0, 0, NULL);
	*last_segment = kv_tail(db->ctl)->segment - 1;
	*last_seq = kv_tail(db->ctl)->seq;
	kv_writer_unlock(db);
	/* No commit of ours is in doubt. */
	return rc == KEVO_EUNKNOWN ? KEVO_EIO : rc;
}

static int
nap(struct kv_work *w, int64_t deadline_ms)
{
	struct timespec ts = { 0, NAP_MS * 1000000 };

	if (deadline_ms >= 0 && kv_mono_ms() >= deadline_ms)
		return busy(w);
	nanosleep(&ts, NULL);
	return kv_work_tell(w);
}

/* There is no room for a flush: perhaps a small merge makes some. */
static int
make_room(struct kv_work *w)
{
	int did, rc = kv_merge_once(w, &did);

	if (rc == 0 && !did)
		return kv_work_no_room(w);
	w->no_room = NULL;
	return rc;
}

/* Everything up to a segment into tables, by us or by another. */
static int
flush_to(struct kv_work *w, uint64_t last_segment)
{
	int64_t deadline = kv_deadline(w->db);
	struct kv_version *v;
	uint64_t flushed, first;
	int rc;

	for (;;) {
		if ((rc = kv_flush(w, &flushed)) != 0 ||
		    (rc = kv_newest_version(w->db, &v)) != 0)
			return rc;
		first = v->first_segment;
		kv_version_unref(v);
		if (first > last_segment)
			return kv_sweep(w);
		if (w->no_room != NULL)
			rc = make_room(w);
		else if (flushed == 0)
			rc = nap(w, deadline);
		if (rc != 0)
			return rc;
	}
}

/* The tables of the target level are gone through once, from the first key
 * to the last. */
static void
move_cursor(struct kv_full *f, const struct kv_version *v,
    const struct kv_job *job)
{
	const struct kv_table_info *t;

	if (job->level != job->out)
		return;
	t = &v->table[job->input[job->ninput - 1]].info;
	memcpy(f->cursor, t->last, t->last_len);
	f->cursor_len = t->last_len;
}

/*
 * Run a job of a full run.  Where there is not room for several tables and
 * what lies beside them, it goes on with one at a time.
 */
static int
full_job(struct kv_work *w, struct kv_full *f, struct kv_version **v,
    const struct kv_job *job, int *did)
{
	struct kv_version *from = *v;
	int rc;

	if (f->run_bytes > 0 && !job->move && kv_work_room(w, job->bytes,
	    "merge tables") != 0) {
		f->run_bytes = 0;
		return 0;
	}
	from->refs++;
	rc = kv_run(w, v, job, did);
	if (*did)
		move_cursor(f, from, job);
	kv_version_unref(from);
	return rc;
}

/* *taken: nothing is left but what others are at. */
static int
full_once(struct kv_work *w, struct kv_full *f, int *did, int *taken)
{
	struct kv_job job = { .room = 0 };
	struct kv_version *v;
	struct kv_shape shape;
	int rc;

	*did = 0;
	if ((rc = kv_newest_version(w->db, &v)) != 0)
		return rc;
	kv_shape_get(&shape, w->db);
	w->p.due = kv_pick_due_full(v, f);
	while ((rc = kv_pick_full(v, &shape, f, w->taken, w->ntaken, &job,
	    taken)) == 1)
		if ((rc = full_job(w, f, &v, &job, did)) != 0 || *did)
			break;
	kv_job_release(&job);
	kv_version_unref(v);
	return rc;
}

static int
full_merges(struct kv_work *w, struct kv_full *f)
{
	int64_t deadline = kv_deadline(w->db);
	int did, taken, rc;

	while (kv_work_may_begin(w)) {
		w->no_room = NULL;
		if ((rc = full_once(w, f, &did, &taken)) != 0)
			return rc;
		if (!did && w->no_room != NULL)
			return kv_work_no_room(w);
		if (!did && !taken)
			break;
		if ((rc = after_job(w)) != 0 ||
		    (!did && (rc = nap(w, deadline)) != 0))
			return rc;
		if (did)
			deadline = kv_deadline(w->db);
	}
	return 0;
}

/* A new segment needs room, which the log may have to make first.  Where all
 * of that is in tables the reserve has it, and the flush's room as well; it
 * goes before WRITER is taken, which ends the rotation that has failed. */
static int
seal_somehow(struct kv_work *w, uint64_t *last_segment, uint64_t *last_seq)
{
	uint64_t flushed;
	int rc = seal(w, last_segment, last_seq);

	if (rc == KEVO_EIO && kv_flush(w, &flushed) == 0 && flushed > 0 &&
	    kv_sweep(w) == 0)
		rc = seal(w, last_segment, last_seq);
	/* A failed sync takes control from us. */
	if (rc == KEVO_EIO && w->db->ctl != NULL &&
	    kv_sealed_now(w->db) == 0 && kv_spare_drop(w->db))
		rc = seal(w, last_segment, last_seq);
	return rc;
}

static int
do_all(struct kv_work *w)
{
	uint64_t last_segment;
	struct kv_version *v;
	struct kv_shape shape;
	struct kv_full f;
	int rc;

	full_init(&f, w);
	if ((rc = seal_somehow(w, &last_segment, &f.to_seq)) != 0 ||
	    (rc = flush_to(w, last_segment)) != 0 ||
	    (rc = kv_newest_version(w->db, &v)) != 0)
		return rc;
	kv_shape_get(&shape, w->db);
	f.target = kv_full_target(v, &shape);
	kv_version_unref(v);
	if ((f.cursor = malloc(KEVO_KEY_MAX)) == NULL)
		return kv_fail(&w->db->env, KEVO_ENOMEM, "out of memory");
	rc = full_merges(w, &f);
	free(f.cursor);
	return rc;
}

/* ---- all together ------------------------------------------------------ */

static int
work(struct kv_work *w)
{
	int rc;

	if ((rc = kv_work_check(w)) != 0)
		return rc;
	if (w->c.flags & KEVO_COMPACT_DRY_RUN)
		return dry_run(w);
	kv_compacting_enter(w->db->lock_fd);
	if ((rc = kv_sweep(w)) == 0)
		rc = w->c.flags & KEVO_COMPACT_FULL ? do_all(w) :
		    do_what_is_due(w);
	kv_compacting_leave(w->db->lock_fd);
	return rc;
}

int
kevo_compact(struct kevo *db, const struct kevo_compact *c,
    struct kevo_compact_progress *done)
{
	struct kv_work w;
	int rc;

	if (done != NULL)
		memset(done, 0, sizeof(*done));
	if ((rc = usable(db, c)) != 0)
		return kv_result(db, rc);
	kv_work_init(&w, db, c);
	rc = work(&w);
	if (done != NULL)
		*done = w.p;
	kv_work_release(&w);
	return kv_result(db, rc);
}
