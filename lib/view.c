#include <stdlib.h>
#include <string.h>

#include "cache.h"
#include "join.h"
#include "record.h"

/*
 * Reading.  A reader takes no lock that anybody waits for.  It loads, in this
 * order, the number of the newest version, what is visible, and which
 * segment is active.
 *
 * Every commit at or below `visible` was inserted into an index before that
 * number was stored, and lies in a segment at or before the active one, or
 * in a table of the version.  A flush takes only what is visible, and keeps
 * only the newest record of a key: so the version must be loaded first, or
 * it could hold a newer record and no longer the one that belongs to the
 * number.
 *
 * `first` is a hint below which no segment is needed.  It is raised after
 * the version that made it so, and loaded before it: it is never too high.
 */

/* How often a reader begins anew because the generation moved under it. */
#define TRIES	8

void
kv_view_unref(struct kv_view *v)
{
	if (v == NULL || --v->refs > 0)
		return;
	kv_view_drop_tables(v);
	for (uint64_t i = 0; i <= v->last - v->base; i++)
		kv_seg_unref(v->seg[i]);
	kv_version_unref(v->version);
	free(v);
}

/* The segments that both views cover are mapped already. */
static void
take_segments(struct kv_view *v, struct kv_view *old)
{
	if (old->generation != v->generation)
		return;
	for (uint64_t c = old->base; c <= old->last; c++) {
		struct kv_seg *s = old->seg[c - old->base];

		if (s == NULL || c < v->base || c > v->last)
			continue;
		s->refs++;
		v->seg[c - v->base] = s;
		if (c != v->last)
			kv_seg_close_files(s);	/* nothing is appended */
	}
}

static int
is_current(const struct kevo *db)
{
	const struct kv_control *c = db->ctl;
	const struct kv_view *v = db->view;
	uint64_t first = 0, seq = 0, number, last;

	number = atomic_load_explicit(&c->version, memory_order_acquire);
	last = atomic_load_explicit(&c->active, memory_order_acquire);
	if (db->join != NULL)
		kv_join_place(db->join, &first, &number, &seq, &last);
	return v != NULL && v->generation == c->generation &&
	    v->number == number && v->last == last;
}

/* A view of what the three numbers say; version and tables come with it if
 * the old view had used them. */
static int
replace_view(struct kevo *db, uint64_t first, uint64_t number, uint64_t last)
{
	struct kv_view *old = db->view, *v;
	int rc;

	if (first == 0 || last < first || last - first > 1u << 24)
		return kv_fail(&db->env, KEVO_ECORRUPT, "%s/shm/control: "
		    "damaged: impossible segment numbers", db->path);
	v = calloc(1, sizeof(*v) + (size_t)(last - first + 1) *
	    sizeof(v->seg[0]));
	if (v == NULL)
		return kv_fail(&db->env, KEVO_ENOMEM, "out of memory");
	v->refs = 1;
	v->db = db;
	v->generation = db->ctl->generation;
	v->number = number;
	v->base = first;
	v->last = last;
	if (old != NULL)
		take_segments(v, old);
	if (old != NULL && old->version != NULL &&
	    (rc = kv_view_tables(db, v, old)) != 0) {
		kv_view_unref(v);
		return rc;
	}
	kv_view_unref(old);
	db->view = v;
	return 0;
}

static int
load(struct kevo *db, uint64_t *visible)
{
	struct kv_control *c = db->ctl;
	uint64_t first, number, last, seq;
	int rc;

	for (;;) {
		first = atomic_load_explicit(&c->first, memory_order_acquire);
		number = atomic_load_explicit(&c->version,
		    memory_order_acquire);
		seq = atomic_load_explicit(&c->visible, memory_order_acquire);
		last = atomic_load_explicit(&c->active, memory_order_acquire);
		if (db->join != NULL)
			kv_join_place(db->join, &first, &number, &seq, &last);
		if (visible != NULL)
			*visible = seq;
		if (db->view != NULL && db->view->number == number &&
		    db->view->last == last && db->view->generation ==
		    c->generation)
			return 0;
		/* KV_RETRY: its file is gone; then there is a newer one, but
		 * perhaps this control does not hear of it. */
		rc = replace_view(db, first, number, last);
		if (rc != KV_RETRY || number == atomic_load_explicit(
		    &c->version, memory_order_acquire))
			return rc;
	}
}

int
kv_view_extend(struct kevo *db)
{
	int rc;

	if (is_current(db))
		return 0;
	rc = load(db, NULL);
	return rc != KV_RETRY ? rc : kv_fail(&db->env, KEVO_EREPLACED,
	    "%s/shm was replaced while it was in use; try again", db->path);
}

int
kv_view_moved(const struct kevo *db)
{
	return !is_current(db);
}

int
kv_view_seg(struct kevo *db, struct kv_view *v, uint64_t counter,
    struct kv_seg **out)
{
	struct kv_seg **s = &v->seg[counter - v->base];
	int writable = db->slot != 0 && !(db->flags & KEVO_RDONLY) &&
	    counter == v->last;
	int rc;

	if (*s == NULL && (rc = kv_seg_open(db, v->generation, counter,
	    writable, s)) != 0)
		return rc;
	*out = *s;
	return 0;
}

/*
 * The files may be replaced under a handle that lives long: a new
 * generation, or somebody's rm.  The flag in control is looked at each time,
 * the file's link count once a tick.
 */
static int
still_ours(struct kevo *db)
{
	uint64_t tick;

	if (atomic_load_explicit(&db->ctl->retired, memory_order_acquire))
		return 0;
	tick = kv_tick();
	if (tick == db->tick)
		return 1;
	db->tick = tick;
	if (db->private_index)
		return kv_control_stamp(&db->dir) == db->unusable;
	return kv_control_linked(&db->env, db->ctl_fd);
}

int
kv_view_now(struct kevo *db, uint64_t *visible)
{
	int rc;

	/* A transaction holds the WRITER of the control that it began with. */
	if (db->txn == NULL && !still_ours(db) &&
	    (rc = kv_attach(db, kv_deadline(db))) != 0)
		return rc;
	while ((rc = load(db, visible)) == KV_RETRY) {
		if (db->txn != NULL)
			return kv_index_missing(db);
		if ((rc = kv_attach(db, kv_deadline(db))) != 0)
			return rc;
	}
	return rc;
}

/*
 * Pin the version, or open all of its tables.  What is open stays, whoever
 * removes its name: a handle that has read from every table needs no pin.
 */
static int
hold(struct kevo *db, struct kv_view *v)
{
	if (v->keepers > 0 || v->nopen == v->version->ntables)
		return 0;
	v->pinned = kv_pin_take(db, v->number);
	if (!v->pinned)
		return kv_view_open_all(db, v);
	if (kv_join_is_fixed(db))
		return 0;	/* who shares the snapshot has a pin */
	/* The pin is there before we look again, for everybody. */
	atomic_thread_fence(memory_order_seq_cst);
	if (!kv_view_overtaken(db, v))
		return 0;
	/* Who removes files may have looked before there was a pin. */
	kv_pin_drop(db, v->number);
	v->pinned = 0;
	return KV_RETRY;
}

static int
map_segments(struct kevo *db, struct kv_view *v)
{
	struct kv_seg *s;
	int rc;

	for (uint64_t c = v->last; c >= v->first; c--)
		if ((rc = kv_view_seg(db, v, c, &s)) != 0)
			return rc;
	return 0;
}

int
kv_view_keep(struct kevo *db, struct kv_view **out)
{
	struct kv_view *v = db->view;
	int rc;

	/* A new generation removes index files, whoever has a pin. */
	if ((rc = kv_view_tables(db, v, NULL)) != 0 ||
	    (rc = map_segments(db, v)) != 0 || (rc = hold(db, v)) != 0)
		return rc;
	*out = v;
	kv_view_keep_too(v);
	return 0;
}

void
kv_view_keep_too(struct kv_view *v)
{
	v->refs++;
	v->keepers++;
}

void
kv_view_release(struct kv_view *v)
{
	if (v == NULL)
		return;
	if (--v->keepers == 0 && v->pinned) {
		v->pinned = 0;
		kv_pin_drop(v->db, v->number);
	}
	kv_view_unref(v);
}

/*
 * A reader met a file that is gone.  Either there is a newer version, or a
 * newer generation of index files, and it looks again; or somebody removed an
 * index file and a generation has to be built.
 */
static int
attach_again(struct kevo *db, int *tries)
{
	if (kv_view_moved(db))
		return 0;
	if (kv_join_is_fixed(db))
		return kv_fail(&db->env, KEVO_EHISTORY, "%s/shm was built anew,"
		    " and no longer has the snapshot of the transaction",
		    db->path);
	if (db->txn != NULL || ++*tries > TRIES)
		return kv_index_missing(db);
	db->broken = db->ctl->generation;
	return kv_attach(db, kv_deadline(db));
}

int
kv_view_take(struct kevo *db, struct kv_view **view, uint64_t *seq)
{
	int rc, tries = 0;

	for (;;) {
		if ((rc = kv_view_now(db, seq)) != 0 ||
		    (rc = kv_view_keep(db, view)) != KV_RETRY)
			return rc;
		if ((rc = attach_again(db, &tries)) != 0)
			return rc;
	}
}

/* ---- looking a key up -------------------------------------------------- */

int
kv_get_now(struct kevo *db, const void *key, size_t klen,
    struct kevo_record *rec)
{
	uint64_t seq;
	int rc, tries = 0;

	if (db->cold != NULL && (rc = kv_cold_lookup(db, key, klen, rec)) !=
	    KV_RETRY)
		return rc;
	if ((rc = kv_warm_up(db)) != 0)
		return rc;
	for (;;) {
		if ((rc = kv_view_now(db, &seq)) != 0)
			return rc;
		rc = kv_lookup(db, db->view, seq, key, klen, rec);
		if (rc != KV_RETRY)
			return rc;
		if ((rc = attach_again(db, &tries)) != 0)
			return rc;
	}
}

int
kv_unexpired(int rc, const struct kevo_record *rec, uint64_t now_ns)
{
	if (rc != 0 || rec->expires_ns == 0)
		return rc;
	if (now_ns == 0)
		now_ns = kv_now_ns();
	return rec->expires_ns <= now_ns ? KEVO_NOTFOUND : 0;
}

int
kv_record_of(const void *key, size_t klen, uint64_t seq,
    const struct kv_op *op, struct kevo_record *rec)
{
	if (op->kind == KV_OP_DELETE)
		return KEVO_NOTFOUND;
	rec->key = key;
	rec->klen = klen;
	rec->value = op->val;
	rec->vlen = op->vlen;
	rec->version = seq;
	rec->expires_ns = op->expires_ns;
	return 0;
}

static int
index_damaged(struct kevo *db, uint64_t counter)
{
	return kv_fail(&db->env, KEVO_ECORRUPT, "%s: index of segment %llu is "
	    "damaged; remove %s/shm when no process uses the database",
	    db->path, (unsigned long long)counter, db->path);
}

int
kv_lookup_newest(struct kevo *db, const void *key, size_t klen,
    struct kevo_record *rec)
{
	int rc;

	for (;;) {
		rc = kv_lookup(db, db->view, kv_tail(db->ctl)->seq, key, klen,
		    rec);
		if (rc != KV_RETRY || !kv_view_moved(db) ||
		    (rc = kv_view_extend(db)) != 0)
			return rc;
	}
}

int
kv_lookup(struct kevo *db, struct kv_view *v, uint64_t seq, const void *key,
    size_t klen, struct kevo_record *rec)
{
	uint64_t hash = kv_table_key_hash(db->ctl->id, key, klen);
	struct kv_index_hit hit;
	struct kv_seg *s;
	struct kv_op op;
	int rc;

	if (v->version == NULL && (rc = kv_view_tables(db, v, NULL)) != 0)
		return rc;
	for (uint64_t c = v->last; c >= v->first; c--) {
		if ((rc = kv_view_seg(db, v, c, &s)) != 0)
			return rc;
		if (!kv_index_may_have(&s->ix, hash))
			continue;
		rc = kv_index_find(&s->ix, key, klen, seq, &hit);
		if (rc == 0)
			continue;
		if (rc < 0 || kv_op_decode(s->log, s->log_len, hit.off,
		    &op) != 0)
			return index_damaged(db, c);
		return kv_record_of(key, klen, hit.seq, &op, rec);
	}
	if (v->version->ntables == 0)
		return KEVO_NOTFOUND;
	if ((rc = kv_tables_get(db, v, key, klen, hash, &hit.seq, &op)) != 1)
		return rc == 0 ? KEVO_NOTFOUND : rc;
	return kv_record_of(key, klen, hit.seq, &op, rec);
}
