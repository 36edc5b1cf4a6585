/*
 * faults: histories that no faultless database could have made.
 *
 * Each fault is put where it is certain to be one: where real time leaves no
 * other explanation.  A judge that accepts the result is blind for it.
 */
#include <stdlib.h>
#include <string.h>

#include "history.h"

static uint64_t state;

void
h_fault_seed(uint64_t seed)
{
	state = seed;
}

static size_t
rnd(size_t below)
{
	uint64_t z = state += 0x9e3779b97f4a7c15;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
	return (size_t)((z ^ (z >> 31)) % below);
}

/* ---- finding places ---------------------------------------------------- */

/* Is it a commit with a version, that wrote something? */
static int
committed(const struct h_event *e)
{
	return e->what != NULL && e->outcome == H_DONE && !e->snapshot &&
	    e->version != 0 && h_writes(e);
}

/* The part of e that writes this key; NULL: none does. */
static struct h_part *
writes(struct h_event *e, unsigned key)
{
	for (unsigned p = 0; p < e->nparts; p++)
		if (e->part[p].flags & H_WRITE && e->part[p].key == key)
			return &e->part[p];
	return NULL;
}

/*
 * The last commit that put something under the key and had ended before a
 * time.
 */
static struct h_event *
put_before(struct history *h, unsigned key, int64_t time)
{
	struct h_event *best = NULL;

	for (size_t i = 0; i < h->count; i++) {
		struct h_event *e = &h->event[i];
		const struct h_part *p;

		if (committed(e) && e->end < time &&
		    (p = writes(e, key)) != NULL && p->put != 0 &&
		    (best == NULL || e->end > best->end))
			best = e;
	}
	return best;
}

/*
 * A read that says nothing but what was there, with two commits on its key
 * that ended one before the other and both before it.
 */
static struct h_part *
old_news(struct history *h, struct h_event *e, struct h_event **old)
{
	struct h_part *p = &e->part[rnd(e->nparts)];
	struct h_event *newer;

	if (!(p->flags & H_READ) ||
	    (newer = put_before(h, p->key, e->start)) == NULL)
		return NULL;
	*old = put_before(h, p->key, newer->start);
	return *old != NULL ? p : NULL;
}

/* Call make() for events from a random one on, until it finds its place. */
static int
somewhere(struct history *h, int (*make)(struct history *, struct h_event *))
{
	size_t from = rnd(h->count);

	for (size_t i = 0; i < h->count; i++) {
		struct h_event *e = &h->event[(from + i) % h->count];

		if (e->what != NULL && e->nparts > 0 && make(h, e))
			return 1;
	}
	return 0;
}

static void
read_of(struct h_part *p, const struct h_event *writer)
{
	p->got = writes((struct h_event *)(uintptr_t)writer, p->key)->put;
	p->got_version = writer->version;
}

/* ---- the faults -------------------------------------------------------- */

static int
stale_get(struct history *h, struct h_event *e)
{
	struct h_event *old;
	struct h_part *p;

	if (e->nparts != 1 || e->outcome != H_DONE || h_writes(e) ||
	    (p = old_news(h, e, &old)) == NULL)
		return 0;
	read_of(p, old);
	return 1;
}

static int
make_stale_get(struct history *h)
{
	return somewhere(h, stale_get);
}

/* A transaction that writes has read what was replaced before it began. */
static int
stale_txn(struct history *h, struct h_event *e)
{
	struct h_event *old;
	struct h_part *p;

	if (!committed(e) || (p = old_news(h, e, &old)) == NULL)
		return 0;
	read_of(p, old);
	return 1;
}

static int
make_stale_txn(struct history *h)
{
	return somewhere(h, stale_txn);
}

/* One key of a snapshot is older than the others. */
static int
torn_scan(struct history *h, struct h_event *e)
{
	struct h_event *old;
	struct h_part *p;

	if (e->nparts < 2 || e->outcome != H_DONE || h_writes(e) ||
	    (p = old_news(h, e, &old)) == NULL)
		return 0;
	read_of(p, old);
	return 1;
}

static int
make_torn_scan(struct history *h)
{
	return somewhere(h, torn_scan);
}

/* A key is read as it was before the version that the snapshot names. */
static int
late_snapshot(struct history *h, struct h_event *e)
{
	if (e->nparts < 2 || !e->snapshot || e->outcome != H_DONE)
		return 0;
	for (unsigned i = 0; i < e->nparts; i++) {
		struct h_part *p = &e->part[i];
		const struct h_event *by;
		struct h_event *old;

		if (p->got == 0 ||
		    h_writer(h, p->got, p->key, &by) == NULL ||
		    !committed(by) ||
		    (old = put_before(h, p->key, e->start)) == NULL ||
		    old->version >= p->got_version)
			continue;
		read_of(p, old);
		return 1;
	}
	return 0;
}

static int
make_late_snapshot(struct history *h)
{
	return somewhere(h, late_snapshot);
}

/* A get knows what will be written when it has ended. */
static int
future_get(struct history *h, struct h_event *e)
{
	struct h_part *p = &e->part[0];

	if (e->nparts != 1 || e->outcome != H_DONE || h_writes(e))
		return 0;
	for (size_t i = 0; i < h->count; i++) {
		struct h_event *w = &h->event[i];
		const struct h_part *q;

		if (committed(w) && w->start > e->end &&
		    (q = writes(w, p->key)) != NULL && q->put != 0) {
			read_of(p, w);
			return 1;
		}
	}
	return 0;
}

static int
make_future_get(struct history *h)
{
	return somewhere(h, future_get);
}

/* A get sees what a transaction that was rolled back, or a put whose
 * condition was false, would have written. */
static int
dirty_get(struct history *h, struct h_event *e)
{
	struct h_part *p = &e->part[0];

	if (!committed(e) || p->put == 0)
		return 0;
	for (size_t i = 0; i < h->count; i++) {
		struct h_event *g = &h->event[i];

		if (g->what != NULL && g->outcome == H_DONE &&
		    g->nparts == 1 && !h_writes(g) &&
		    g->part[0].key == p->key && g->part[0].got == p->put) {
			e->outcome = H_NOTHING;
			return 1;
		}
	}
	return 0;
}

static int
make_dirty_get(struct history *h)
{
	return somewhere(h, dirty_get);
}

/* Could what was killed, or a command, be of this version, going by the
 * time? */
static int
may_be(struct history *h, const struct h_event *killed, uint64_t version)
{
	int64_t end = killed->outcome == H_OPEN ? killed->dead : killed->end;

	for (size_t i = 0; i < h->count; i++) {
		const struct h_event *o = &h->event[i];

		if (committed(o) && (o->version > version ?
		    o->end <= killed->start : o->version < version &&
		    o->start >= end))
			return 0;
	}
	return 1;
}

/* What was acknowledged is nowhere, as if the power had failed. */
static int
lost_commit(struct history *h, struct h_event *e)
{
	if (!committed(e))
		return 0;
	for (size_t i = 0; i < h->count; i++) {
		const struct h_event *o = &h->event[i];

		if (o->what != NULL && h_writes(o) && !committed(o) &&
		    (o->outcome == H_OPEN || o->outcome == H_DONE) &&
		    may_be(h, o, e->version))
			return 0;
	}
	e->outcome = H_NOTHING;
	return 1;
}

static int
make_lost_commit(struct history *h)
{
	return somewhere(h, lost_commit);
}

/* Two commits of which one had ended when the other began change places. */
static int
swapped_versions(struct history *h, struct h_event *e)
{
	if (!committed(e))
		return 0;
	for (size_t i = 0; i < h->count; i++) {
		struct h_event *o = &h->event[i];
		uint64_t v = e->version;

		if (!committed(o) || o->start <= e->end)
			continue;
		e->version = o->version;
		o->version = v;
		return 1;
	}
	return 0;
}

static int
make_swapped_versions(struct history *h)
{
	return somewhere(h, swapped_versions);
}

static int
same_version(struct history *h, struct h_event *e)
{
	if (!committed(e))
		return 0;
	for (size_t i = 0; i < h->count; i++)
		if (committed(&h->event[i]) && &h->event[i] != e) {
			e->version = h->event[i].version;
			return 1;
		}
	return 0;
}

static int
make_same_version(struct history *h)
{
	return somewhere(h, same_version);
}

/* A condition on a value is said to have held for another one. */
static int
wrong_condition(struct history *h, struct h_event *e)
{
	struct h_part *p = &e->part[0];
	struct h_event *newer, *old;

	if (!committed(e) || p->cond != KEVO_IF_VALUE ||
	    (newer = put_before(h, p->key, e->start)) == NULL ||
	    (old = put_before(h, p->key, newer->start)) == NULL)
		return 0;
	p->want = writes(old, p->key)->put;
	return 1;
}

static int
make_wrong_condition(struct history *h)
{
	return somewhere(h, wrong_condition);
}

/* Two transactions have read the same account: one of the updates is lost. */
static int
lost_update(struct history *h, struct h_event *e)
{
	for (unsigned i = 0; i < e->nparts && committed(e); i++) {
		struct h_part *p = &e->part[i];
		const struct h_event *by;
		const struct h_part *q;

		if (p->flags != (H_READ | H_WRITE) || p->got == 0 ||
		    h_writer(h, p->got, p->key, &by) == NULL ||
		    !committed(by) || by->start >= e->start ||
		    (q = writes((struct h_event *)(uintptr_t)by,
		    p->key)) == NULL || !(q->flags & H_READ) || q->got == 0)
			continue;
		p->got = q->got;
		p->got_version = q->got_version;
		return 1;
	}
	return 0;
}

static int
make_lost_update(struct history *h)
{
	return somewhere(h, lost_update);
}

/* What a killed process had written was seen, and then it was not there. */
static int
undone(struct history *h, struct h_event *e)
{
	const struct h_event *by;
	struct h_event *old;
	struct h_part *p = &e->part[0];

	if (e->outcome != H_DONE || e->nparts != 1 ||
	    !(p->flags & H_READ) || p->got == 0 ||
	    h_writer(h, p->got, p->key, &by) == NULL ||
	    by->outcome != H_OPEN ||
	    (old = put_before(h, p->key, by->start)) == NULL)
		return 0;
	for (size_t i = 0; i < h->count; i++) {
		struct h_event *g = &h->event[i];

		if (g->what != NULL && g->outcome == H_DONE &&
		    g->nparts == 1 && !h_writes(g) && g->start > e->end &&
		    g->part[0].key == p->key) {
			read_of(&g->part[0], old);
			return 1;
		}
	}
	return 0;
}

static int
make_undone(struct history *h)
{
	return somewhere(h, undone);
}

/* ---- faults of kevo-txn ------------------------------------------------- */

/* Has anybody read what part p has put, since? */
static struct h_part *
seen(struct history *h, const struct h_part *p, struct h_event **by)
{
	for (size_t i = 0; i < h->count && p->put != 0; i++) {
		struct h_event *g = &h->event[i];

		for (unsigned k = 0; k < g->nparts && g->what != NULL &&
		    g->outcome == H_DONE; k++)
			if (g->part[k].flags & H_READ &&
			    g->part[k].key == p->key &&
			    g->part[k].got == p->put) {
				*by = g;
				return &g->part[k];
			}
	}
	return NULL;
}

static int
command_seen(struct history *h, struct h_event *e)
{
	struct h_event *by;

	return h_is_command(e) && e->outcome == H_DONE && h_writes(e) &&
	    seen(h, &e->part[0], &by) != NULL;
}

/* A command that failed was not undone. */
static int
failed_command(struct history *h, struct h_event *e)
{
	if (!command_seen(h, e))
		return 0;
	for (unsigned p = 0; p < e->nparts; p++) {
		e->part[p].flags &= (uint8_t)~H_WRITE;
		e->part[p].put = 0;
	}
	return 1;
}

static int
make_failed_command(struct history *h)
{
	return somewhere(h, failed_command);
}

/* Nor was one that was killed in the middle. */
static int
killed_command(struct history *h, struct h_event *e)
{
	if (!command_seen(h, e))
		return 0;
	e->outcome = H_NOTHING;
	return 1;
}

static int
make_killed_command(struct history *h)
{
	return somewhere(h, killed_command);
}

/* Half of a command is seen by who reads both keys. */
static int
half_command(struct history *h, struct h_event *e)
{
	struct h_event *one, *other;
	struct h_part *p, *q;

	if (!command_seen(h, e) || e->nparts != 2 ||
	    !(e->part[1].flags & H_READ) || e->part[1].got == 0 ||
	    (p = seen(h, &e->part[0], &one)) == NULL ||
	    (q = seen(h, &e->part[1], &other)) == NULL || one != other)
		return 0;
	q->got = e->part[1].got;
	q->got_version = e->part[1].got_version;
	return 1;
}

static int
make_half_command(struct history *h)
{
	return somewhere(h, half_command);
}

/* What one within it wrote and was undone has come into force. */
static int
within_command(struct history *h, struct h_event *e)
{
	struct h_event *by;
	struct h_part *p;

	if (!command_seen(h, e))
		return 0;
	p = seen(h, &e->part[0], &by);
	p->got = h_value((size_t)(e - h->event), H_PARTS, 0);
	return 1;
}

static int
make_within_command(struct history *h)
{
	return somewhere(h, within_command);
}

const struct h_fault h_faults[] = {
	{ "a get of what was replaced before", make_stale_get, 1, 1 },
	{ "a transaction that read what was replaced", make_stale_txn, 1, 1 },
	{ "a scan with one older record", make_torn_scan, 1, 1 },
	{ "a snapshot that lacks a commit", make_late_snapshot, 0, 1 },
	{ "a get of what was written later", make_future_get, 1, 1 },
	{ "a get of what was rolled back", make_dirty_get, 1, 1 },
	{ "a commit that was lost", make_lost_commit, 0, 1 },
	{ "versions against the order of time", make_swapped_versions, 0, 1 },
	{ "two commits of one version", make_same_version, 0, 1 },
	{ "a condition that did not hold", make_wrong_condition, 1, 1 },
	{ "an update that was lost", make_lost_update, 1, 1 },
	{ "a killed commit that was seen and undone", make_undone, 1, 1 },
	{ "a failed command that was seen", make_failed_command, 1, 1 },
	{ "a command killed in the middle that was seen",
	    make_killed_command, 1, 1 },
	{ "half of a command", make_half_command, 0, 1 },
	{ "a transaction undone within a command that was seen",
	    make_within_command, 1, 1 },
	{ NULL, NULL, 0, 0 }
};
