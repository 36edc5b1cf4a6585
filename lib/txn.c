#include <stdlib.h>
#include <string.h>

#include "compact.h"
#include "count.h"
#include "join.h"
#include "lock.h"
#include "record.h"
#include "track.h"

/*
 * A transaction: a layer of writes (layer.h) over what it reads, which is one
 * of these.
 *
 *   the newest state   under WRITER.
 *   a snapshot         kept by a view, for KEVO_TXN_READ; and for the two
 *                      kinds that validate, as long as they have no lock.
 *                      What those read is remembered (track.h), and read
 *                      again before they take WRITER.  Under it they look
 *                      only at what came since, if that is little.
 *   what a transaction of another process shows, which the handle has joined
 *                      (join.h).  Its write lock is to us what WRITER is
 *                      outside.
 *
 * A shared one's layer is in files that others write into; the handle that
 * began it holds WRITER, or the lock of the one that it is within, until it
 * ends.
 */
struct kevo_txn {
	struct kevo *db;
	unsigned flags;
	struct kv_layer own;	/* its writes */
	int locked;		/* it has WRITER, or the lock of what it is
				 * within */
	int over;		/* why it has ended before its time; 0: not */
	int64_t max_ms, until_ms;	/* until_ms of kv_mono_ms(); 0: none */
	struct kv_view *view;	/* kept: it reads a snapshot; else NULL */
	struct kv_view *before;	/* that snapshot, under the lock: what was read
				 * in it is there for the write that took it */
	uint64_t seq;		/* newest commit that it reads */
	uint64_t now_ns;	/* its clock, for what expires */
	struct kv_reach below;	/* READ: how far it looks into what it is
				 * within */
	struct kv_track track;
	uint64_t life;		/* byte of PINS of a shared snapshot; or 0 */
	int pinned;		/* a pin for those who join it */
	char *env;
};

#define KINDS	(KEVO_TXN_READ | KEVO_TXN_DEFERRED | KEVO_TXN_OPTIMISTIC)

static struct kv_layer *
within(const struct kevo *db)
{
	return db->join != NULL ? db->join->top : NULL;
}

static int
is_shared(const struct kevo_txn *t)
{
	return t->own.head != NULL;
}

/* Does it still read a snapshot that it will have to read again? */
static int
remembers(const struct kevo_txn *t)
{
	return t->view != NULL && !(t->flags & KEVO_TXN_READ);
}

/* ---- letting go -------------------------------------------------------- */

static void
drop_snapshot(struct kevo_txn *t)
{
	struct kevo *db = t->db;

	if (t->life != 0 && db->pin_fd >= 0)
		kv_life_drop(db->pin_fd, t->life);
	if (t->pinned)
		kv_pin_drop(db, t->view->number);
	kv_view_release(t->view);
	kv_view_release(t->before);
	t->view = t->before = NULL;
	t->life = 0;
	t->pinned = 0;
}

static void
unlock(struct kevo_txn *t, enum kv_stat outcome)
{
	if (!t->locked)
		return;
	t->locked = 0;
	t->db->txn = NULL;
	if (t->db->join != NULL) {
		kv_layer_unlock(within(t->db));
		return;
	}
	kv_count(t->db->ctl, outcome, 1);
	kv_writer_unlock(t->db);
}

/* Others wait for it no longer.  What its iterators stand on stays. */
static void
stop(struct kevo_txn *t, enum kv_stat outcome)
{
	if (is_shared(t))
		kv_layer_end(&t->own);
	unlock(t, outcome);
	drop_snapshot(t);
}

/* All that is left is to free it. */
static void
let_go(struct kevo_txn *t, enum kv_stat outcome)
{
	stop(t, outcome);
	kv_layer_release(&t->own);
	kv_track_release(&t->track);
}

static void
txn_free(struct kevo_txn *t)
{
	if (t->locked)
		t->db->txn = NULL;	/* in a child of fork() */
	kv_layer_release(&t->own);
	drop_snapshot(t);
	kv_track_release(&t->track);
	free(t->env);
	free(t);
}

/* ---- is it still going on? --------------------------------------------- */

static int
time_is_over(struct kevo_txn *t)
{
	return kv_fail(&t->db->env, KEVO_EENDED, "%s: the transaction has "
	    "ended: its %lld ms are over", t->db->path, (long long)t->max_ms);
}

static int
is_over(struct kevo_txn *t)
{
	if (t->over == KEVO_EENDED)
		return time_is_over(t);
	return kv_fail(&t->db->env, t->over, "%s: the transaction has failed "
	    "before; abort it", t->db->path);
}

int
kv_txn_going_on(struct kevo_txn *t)
{
	int rc;

	if ((rc = kv_usable(t->db)) != 0)
		return rc;
	if (t->over != 0)
		return is_over(t);
	if (t->until_ms == 0 || kv_mono_ms() < t->until_ms)
		return kv_join_check(t->db);
	stop(t, KV_STAT_TXN_ROLLED_BACK);
	t->over = KEVO_EENDED;
	return time_is_over(t);
}

/* ---- beginning --------------------------------------------------------- */

/* Others read what it is within as long as we have it locked. */
static int
lock_outer(struct kv_layer *outer)
{
	int rc;

	if ((rc = kv_layer_lock(outer)) == 0 &&
	    (rc = kv_layer_index(outer)) != 0)
		kv_layer_unlock(outer);
	return rc;
}

static int
take_lock(struct kevo_txn *t)
{
	struct kevo *db = t->db;
	int rc;

	if (db->join == NULL) {
		if ((rc = kv_writer_lock(db)) != 0)
			return rc;
		kv_count(db->ctl, KV_STAT_TXN_BEGUN, 1);
		t->seq = kv_tail(db->ctl)->seq;
	} else {
		if ((rc = kv_join_may_write(db)) != 0 ||
		    (rc = lock_outer(within(db))) != 0)
			return rc;
		t->seq = db->join->seq;
	}
	t->locked = 1;
	db->txn = t;
	return 0;
}

static int
take_snapshot(struct kevo_txn *t)
{
	struct kevo *db = t->db;
	int rc = 0;

	if (db->join != NULL)
		rc = kv_join_look(db, &t->below);
	if (rc == 0)
		rc = kv_view_take(db, &t->view, &t->seq);
	if (rc == 0)
		rc = kv_join_check(db);
	if (rc == 0)
		kv_count_read(db, KV_STAT_SNAPSHOTS, 1);
	return rc;
}

/*
 * Those who join a snapshot of the database open its version by name.  It is
 * pinned before we look whether it is still the newest, as in view.c.
 */
static int
pin_snapshot(struct kevo_txn *t)
{
	struct kevo *db = t->db;
	int rc;

	for (;;) {
		if (!kv_pin_take(db, t->view->number))
			return kv_fail(&db->env, KEVO_EPERM, "%s/PINS: cannot "
			    "be read, and without it no snapshot can be "
			    "shared", db->path);
		t->pinned = 1;
		atomic_thread_fence(memory_order_seq_cst);
		if (kv_join_is_fixed(db) || !kv_view_overtaken(db, t->view))
			return 0;
		drop_snapshot(t);
		if ((rc = take_snapshot(t)) != 0)
			return rc;
	}
}

static int
share_snapshot(struct kevo_txn *t)
{
	struct kevo *db = t->db;
	struct kv_layer *top = within(db);
	uint64_t v[KV_JOIN_VALUES] = { 0 }, life;
	int rc;

	if ((rc = kv_pin_file(db)) != 0 ||
	    (top == NULL && (rc = pin_snapshot(t)) != 0))
		return rc;
	if (kv_random(&life, sizeof(life)) != 0)
		return kv_fail_errno(&db->env, "random numbers", "get");
	life = (life >> 4) | 1;
	if ((rc = kv_life_hold(db->pin_fd, life)) != 0)
		return kv_fail(&db->env, KEVO_EIO, "%s/PINS: cannot lock it "
		    "for a shared snapshot: %s", db->path, strerror(rc));
	t->life = life;
	if (top != NULL) {
		v[KV_JOIN_NUMBER] = top->head->number;
		v[KV_JOIN_REACH] = t->below.at[0];
		v[KV_JOIN_LAYER_LIFE] = life;
		return kv_join_text(db, KV_JOIN_LAYER_AT, v, &t->env);
	}
	v[KV_JOIN_SEQ] = t->seq;
	v[KV_JOIN_VERSION] = t->view->number;
	v[KV_JOIN_FIRST] = t->view->first;
	v[KV_JOIN_ACTIVE] = t->view->last;
	v[KV_JOIN_LIFE] = life;
	v[KV_JOIN_NOW] = t->now_ns;
	return kv_join_text(db, KV_JOIN_SNAPSHOT, v, &t->env);
}

/*
 * What those who join print has left this process before the commit: so what
 * they read has to be durable now.
 */
static int
share_writes(struct kevo_txn *t)
{
	struct kevo *db = t->db;
	uint64_t v[KV_JOIN_VALUES] = { 0 };
	int rc;

	if (db->join == NULL && (rc = kv_settle(db, t->seq)) != 0)
		return rc;
	kv_layer_release(&t->own);
	rc = kv_layer_share(&t->own, db, within(db), t->seq, t->now_ns);
	if (rc != 0)
		return rc;
	v[KV_JOIN_NUMBER] = t->own.head->number;
	return kv_join_text(db, KV_JOIN_LAYER, v, &t->env);
}

/* In a handle that has joined a transaction all that write lock at the
 * beginning: what they read is frozen only by that. */
static int
start(struct kevo_txn *t)
{
	struct kevo *db = t->db;
	int rc;

	if (t->flags & KEVO_TXN_READ) {
		rc = take_snapshot(t);
		t->now_ns = kv_begin_now(db);
		if (rc == 0 && (t->flags & KEVO_TXN_SHARED))
			rc = share_snapshot(t);
	} else if ((t->flags & KINDS) != 0 && db->join == NULL) {
		if ((rc = kv_may_write(db)) == 0)
			rc = take_snapshot(t);
		t->now_ns = kv_begin_now(db);
	} else {
		rc = take_lock(t);
		t->now_ns = kv_begin_now(db);
		if (rc == 0 && (t->flags & KEVO_TXN_SHARED))
			rc = share_writes(t);
	}
	return rc;
}

static int
check_flags(struct kevo *db, const struct kevo_begin *b)
{
	unsigned kind = b->flags & KINDS;

	if ((b->flags & ~(unsigned)(KINDS | KEVO_TXN_SHARED)) != 0 ||
	    (kind & (kind - 1)) != 0 || ((b->flags & KEVO_TXN_SHARED) &&
	    kind != 0 && kind != KEVO_TXN_READ) || b->max_ms < 0)
		return kv_fail(&db->env, KEVO_EINVAL, "transaction: flags "
		    "that are unknown, or do not go together");
	return 0;
}

static int
begin(struct kevo *db, const struct kevo_begin *b, struct kevo_txn **out)
{
	struct kevo_txn *t;
	uint64_t memory;
	int rc;

	if ((rc = kv_usable(db)) != 0 || (rc = check_flags(db, b)) != 0 ||
	    (rc = kv_warm_up(db)) != 0)
		return rc;
	if ((t = calloc(1, sizeof(*t))) == NULL)
		return kv_fail(&db->env, KEVO_ENOMEM, "out of memory");
	memory = kv_setting(db->ctl, KV_SET_TXN_MEMORY_BYTES);
	t->db = db;
	t->flags = b->flags;
	t->max_ms = b->max_ms;
	t->until_ms = b->max_ms != 0 ? kv_mono_ms() + b->max_ms : 0;
	kv_layer_init(&t->own, db, within(db), memory);
	kv_track_init(&t->track, (size_t)memory / 2);
	if ((rc = start(t)) != 0) {
		let_go(t, KV_STAT_TXN_ROLLED_BACK);
		txn_free(t);
		return rc;
	}
	*out = t;
	return 0;
}

int
kevo_txn_begin(struct kevo *db, const struct kevo_begin *b,
    struct kevo_txn **out)
{
	static const struct kevo_begin defaults;

	if (!db->opened)
		return KEVO_EINVAL;	/* kevo_open() said why */
	return kv_result(db, begin(db, b != NULL ? b : &defaults, out));
}

const char *
kevo_txn_env(const struct kevo_txn *t)
{
	return t->env;
}

/* ---- reading ----------------------------------------------------------- */

/*
 * An index file that this transaction needs was removed.  It cannot be built
 * under it; who comes next builds all anew.
 */
static int
index_missing(struct kevo_txn *t)
{
	atomic_store_explicit(&t->db->ctl->retired, 1, memory_order_release);
	return kv_index_missing(t->db);
}

/* The layers that it reads, and how far. */
static int
look(struct kevo_txn *t, struct kv_layer **top, struct kv_reach *r)
{
	if (t->flags & KEVO_TXN_READ) {
		*top = within(t->db);
		*r = t->below;
		return 0;
	}
	*top = &t->own;
	return kv_layers_look(&t->own, r);
}

/* Below all layers. */
static int
get_base(struct kevo_txn *t, const void *key, size_t klen,
    struct kevo_record *rec)
{
	struct kevo *db = t->db;
	int rc;

	if (t->view != NULL) {
		rc = kv_lookup(db, t->view, t->seq, key, klen, rec);
		rc = kv_unexpired(rc, rec, t->now_ns);
		if (rc >= 0 && rc != KV_RETRY && remembers(t))
			kv_track_key(&t->track, key, klen, rc == 0 ?
			    rec->version : 0, rc == 0 ? rec->expires_ns : 0);
		return rc == KV_RETRY ? kv_index_missing(db) : rc;
	}
	if (db->join != NULL)
		return kv_get_now(db, key, klen, rec);
	rc = kv_lookup_newest(db, key, klen, rec);
	return rc == KV_RETRY ? index_missing(t) : rc;
}

static int
get(struct kevo_txn *t, const void *key, size_t klen, struct kevo_record *rec)
{
	struct kv_layer *top;
	struct kv_reach r;
	int rc, over;

	if ((rc = kv_txn_going_on(t)) != 0 ||
	    (rc = kv_key_check(&t->db->env, key, klen)) != 0 ||
	    (rc = look(t, &top, &r)) != 0)
		return rc;
	rc = kv_layers_get(top, &r, key, klen, rec);
	if (rc == KEVO_FALSE)
		rc = get_base(t, key, klen, rec);
	over = kv_join_check(t->db);
	return over != 0 ? over : kv_unexpired(rc, rec, t->now_ns);
}

int
kevo_txn_get(struct kevo_txn *t, const void *key, size_t klen,
    struct kevo_record *rec)
{
	uint64_t began = kv_read_begin(t->db);

	return kv_read_end(t->db, began, get(t, key, klen, rec), rec);
}

int
kevo_txn_check(struct kevo_txn *t, const void *key, size_t klen,
    const struct kevo_cond *cond)
{
	struct kevo_record rec;
	int rc;

	if ((rc = kv_cond_check(&t->db->env, cond)) != 0)
		return kv_result(t->db, rc);
	if ((rc = kevo_txn_get(t, key, klen, &rec)) < 0)
		return rc;
	if (kv_cond_holds(cond, rc == 0, &rec))
		return 0;
	if (t->locked && t->db->join == NULL)
		kv_count(t->db->ctl, KV_STAT_COND_FALSE, 1);
	return KEVO_FALSE;
}

/* A kept view of the newest state, under WRITER. */
static int
keep_newest(struct kevo_txn *t, struct kv_view **v)
{
	int rc;

	while ((rc = kv_view_keep(t->db, v)) == KV_RETRY) {
		if (!kv_view_moved(t->db))
			return index_missing(t);
		if ((rc = kv_view_extend(t->db)) != 0)
			return rc;
	}
	return rc;
}

static int
keep_base(struct kevo_txn *t, struct kv_scope *s)
{
	int rc;

	s->seq = t->seq;
	if (t->view != NULL) {
		kv_view_keep_too(t->view);
		s->view = t->view;
		s->track = remembers(t) ? &t->track : NULL;
		return 0;
	}
	if (t->db->join == NULL)
		return keep_newest(t, &s->view);
	rc = kv_view_take(t->db, &s->view, &s->seq);
	if (rc == 0 && (rc = kv_join_check(t->db)) != 0)
		kv_view_release(s->view);
	return rc;
}

static int
iterate(struct kevo_txn *t, const struct kevo_range *range,
    struct kevo_iter **out)
{
	struct kv_reach r;
	struct kv_scope s = { .reach = &r, .now_ns = t->now_ns,
	    .txn = t->until_ms != 0 ? t : NULL };
	int rc;

	if ((rc = kv_txn_going_on(t)) != 0 || (rc = look(t, &s.top, &r)) != 0 ||
	    (rc = keep_base(t, &s)) != 0)
		return rc;
	return kv_iter_new(t->db, &s, range, out);
}

int
kevo_txn_iter(struct kevo_txn *t, const struct kevo_range *range,
    struct kevo_iter **out)
{
	return kv_result(t->db, iterate(t, range, out));
}

/* ---- validating -------------------------------------------------------- */

/* Up to where in the log nothing that was read has changed. */
struct sound {
	uint64_t generation;
	struct kv_tail end;
};

static int
read_again(struct kevo_txn *t, struct kv_view *now, uint64_t seq,
    uint64_t now_ns)
{
	struct kv_reread r = { .db = t->db, .then = t->view,
	    .then_seq = t->seq, .then_ns = t->now_ns, .now = now,
	    .now_seq = seq, .now_ns = now_ns };

	return kv_track_check(&t->track, &r);
}

/*
 * Before WRITER is asked for, so that nobody waits while all is read again:
 * whatever the log has up to its end is in the index, whoever looks.  1, or 0
 * if something has changed or cannot be read; then that is found out under
 * WRITER.
 */
static int
look_ahead(struct kevo_txn *t, struct sound *s)
{
	struct kevo *db = t->db;
	struct kv_view *now;
	uint64_t visible;
	int rc;

	/* What expires does so at any moment. */
	if (t->track.expiring || kv_warm_up(db) != 0)
		return 0;
	s->generation = db->ctl->generation;
	if (!kv_tail_copy(db->ctl, &s->end) ||
	    kv_view_take(db, &now, &visible) != 0)
		return 0;
	rc = now->generation == s->generation ? read_again(t, now,
	    s->end.seq, t->now_ns) : KV_RETRY;
	kv_view_release(now);
	return rc == 0;
}

/* Under WRITER: what has come since is little, and nothing of it was read. */
static int
is_still_sound(struct kevo_txn *t, const struct sound *s)
{
	const struct kv_tail *now = kv_tail(t->db->ctl);
	struct kv_seg *active;

	return t->db->ctl->generation == s->generation &&
	    now->segment == s->end.segment &&
	    kv_active_seg(t->db, &active) == 0 &&
	    kv_track_untouched(&t->track, active, s->end.off, now->off);
}

/* Under WRITER. */
static int
validate(struct kevo_txn *t, uint64_t now_ns)
{
	struct kv_view *now;
	int rc;

	if ((rc = keep_newest(t, &now)) != 0)
		return rc;
	rc = read_again(t, now, kv_tail(t->db->ctl)->seq, now_ns);
	kv_view_release(now);
	return rc;
}

/*
 * From the snapshot to the newest state, and from its clock to now.  Without
 * the lock the transaction is as it was; after a conflict it is over.  That
 * answer tells of a commit that may not be durable yet.
 */
static int
lock_and_validate(struct kevo_txn *t)
{
	struct kevo *db = t->db;
	uint64_t then = t->seq, now, now_ns;
	struct sound s;
	int ahead = look_ahead(t, &s), rc, r;

	if ((rc = take_lock(t)) != 0)
		return rc;
	now = t->seq;
	now_ns = kv_now_ns();
	t->seq = then;
	rc = ahead && is_still_sound(t, &s) ? 0 : validate(t, now_ns);
	t->seq = now;
	if (rc == 0) {
		t->now_ns = now_ns;
		t->before = t->view;
		t->view = NULL;
		kv_track_release(&t->track);
		return 0;
	}
	t->over = rc;
	let_go(t, rc == KEVO_ECONFLICT ? KV_STAT_TXN_CONFLICTS :
	    KV_STAT_TXN_ROLLED_BACK);
	return rc == KEVO_ECONFLICT && (r = kv_settle(db, now)) != 0 ? r : rc;
}

/* ---- writing ----------------------------------------------------------- */

static int
may_write(struct kevo_txn *t)
{
	int rc;

	if ((rc = kv_txn_going_on(t)) != 0)
		return rc;
	if (t->flags & KEVO_TXN_READ)
		return kv_fail(&t->db->env, KEVO_EPERM, "%s: the transaction "
		    "is read-only", t->db->path);
	if ((t->flags & KEVO_TXN_DEFERRED) && !t->locked)
		return lock_and_validate(t);
	return 0;
}

/* Others may be writing into it, too. */
static int
share_batch(struct kevo_txn *t, struct kevo_batch *b)
{
	int rc = kv_layer_lock(&t->own);

	if (rc != 0)
		return rc;
	rc = kv_layer_append(&t->own, b);
	kv_layer_unlock(&t->own);
	if (rc == 0)
		kv_batch_reset(b);
	return rc;
}

static int
write_shared(struct kevo_txn *t, int kind, const void *key, size_t klen,
    const void *val, size_t vlen, uint64_t expires_ns)
{
	struct kevo_batch *one = &t->db->one;
	int rc;

	kv_batch_reset(one);
	rc = kv_batch_add(one, kind, key, klen, val, vlen, expires_ns);
	return rc != 0 ? rc : share_batch(t, one);
}

static int
write_op(struct kevo_txn *t, int kind, const void *key, size_t klen,
    const void *val, size_t vlen, uint64_t expires_ns)
{
	int rc = may_write(t);

	if (rc == 0)
		rc = is_shared(t) ? write_shared(t, kind, key, klen, val,
		    vlen, expires_ns) : kv_batch_add(&t->own.batch, kind, key,
		    klen, val, vlen, expires_ns);
	return kv_result(t->db, rc);
}

int
kevo_txn_put(struct kevo_txn *t, const void *key, size_t klen,
    const void *val, size_t vlen, uint64_t expires_ns)
{
	return write_op(t, KV_OP_PUT, key, klen, val, vlen, expires_ns);
}

int
kevo_txn_delete(struct kevo_txn *t, const void *key, size_t klen)
{
	return write_op(t, KV_OP_DELETE, key, klen, NULL, 0, 0);
}

static int
write_batch(struct kevo_txn *t, struct kevo_batch *b)
{
	int rc = may_write(t);

	if (rc != 0 || b->count == 0)
		return rc;
	return is_shared(t) ? share_batch(t, b) : kv_layer_add(&t->own, b);
}

int
kevo_txn_batch(struct kevo_txn *t, struct kevo_batch *b)
{
	return kv_result(t->db, write_batch(t, b));
}

/* What is in it; of a shared one by whomever. */
static struct kv_txn_end
extent(const struct kevo_txn *t)
{
	struct kv_txn_end e = { t->own.batch.len, t->own.batch.count };

	if (is_shared(t) && kv_txn_end_get(t->own.head, &e) != 0)
		e.end = e.count = 0;
	return e;
}

size_t
kevo_txn_count(const struct kevo_txn *t)
{
	return (size_t)extent(t).count;
}

size_t
kevo_txn_bytes(const struct kevo_txn *t)
{
	return (size_t)extent(t).end;
}

/* ---- savepoints -------------------------------------------------------- */

static int
may_go_back(struct kevo_txn *t)
{
	int rc = kv_txn_going_on(t);

	if (rc == 0 && is_shared(t))
		rc = kv_fail(&t->db->env, KEVO_EINVAL, "%s: a shared "
		    "transaction has no savepoints", t->db->path);
	return rc;
}

int
kevo_txn_savepoint(struct kevo_txn *t, uint64_t *mark)
{
	int rc = may_go_back(t);

	if (rc == 0)
		*mark = kv_layer_mark(&t->own);
	return kv_result(t->db, rc);
}

int
kevo_txn_rollback_to(struct kevo_txn *t, uint64_t mark)
{
	int rc = may_go_back(t);

	if (rc == 0)
		rc = kv_layer_cut(&t->own, mark);
	return kv_result(t->db, rc);
}

/* ---- ending ------------------------------------------------------------ */

/* Without writes: what was read under WRITER has to be as durable as its
 * writer asked. */
static int
leave(struct kevo_txn *t, enum kv_stat outcome)
{
	int settle = t->locked && t->db->join == NULL;
	struct kevo *db = t->db;
	uint64_t seq = t->seq;

	let_go(t, outcome);
	return settle ? kv_settle(db, seq) : 0;
}

static int
commit_writes(struct kevo_txn *t, enum kevo_sync sync, uint64_t *version)
{
	struct kevo *db = t->db;
	uint64_t seq;
	int rc;

	db->began_ns = kv_mono_ns();
	sync = kv_sync_mode(db, sync);
	rc = kv_append(db, &t->own.batch, sync, &seq);
	unlock(t, rc == 0 ? KV_STAT_TXN_COMMITTED : KV_STAT_TXN_ROLLED_BACK);
	if (rc != 0)
		return rc;
	/* Files of its own take long to go; nobody waits for that. */
	if (version != NULL)
		*version = seq;
	return kv_finish_commit(db, seq, sync);
}

/* Into the transaction that it is within. */
static int
commit_within(struct kevo_txn *t, uint64_t *version)
{
	int rc = kv_layers_alive(within(t->db));

	if (rc == 0)
		rc = kv_layer_append(within(t->db), &t->own.batch);
	let_go(t, KV_STAT_TXN_COMMITTED);
	if (rc == 0 && version != NULL)
		*version = 0;
	return rc;
}

static int
commit(struct kevo_txn *t, enum kevo_sync sync, uint64_t *version)
{
	int rc = kv_txn_going_on(t);

	if (rc == 0)
		rc = kv_sync_check(t->db, sync);
	if (rc == 0 && is_shared(t))
		rc = kv_layer_finish(&t->own);
	if (rc == 0 && t->own.batch.count != 0 && !t->locked)
		rc = lock_and_validate(t);
	if (rc != 0) {
		if (kv_forked(t->db))
			return rc;
		let_go(t, KV_STAT_TXN_ROLLED_BACK);
		return rc;
	}
	if (t->own.batch.count == 0) {
		if (version != NULL)
			*version = t->seq;
		return leave(t, KV_STAT_TXN_COMMITTED);
	}
	return t->db->join != NULL ? commit_within(t, version) :
	    commit_writes(t, sync, version);
}

int
kevo_txn_commit(struct kevo_txn *t, enum kevo_sync sync, uint64_t *version)
{
	struct kevo *db = t->db;
	int rc = commit(t, sync, version);

	txn_free(t);
	return kv_result(db, rc);
}

int
kevo_txn_abort(struct kevo_txn *t)
{
	struct kevo *db = t->db;
	int rc = kv_usable(db);

	if (rc == 0)
		rc = leave(t, KV_STAT_TXN_ROLLED_BACK);
	txn_free(t);
	return kv_result(db, rc);
}
