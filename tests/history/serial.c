/*
 * serial: do the versions put all transactions into one order that explains
 * everything?
 *
 * First each version gets its commit.  Most were told by the commit itself.
 * One that nobody was told, because its process was killed, is known if some
 * read saw it; else it is one of the killed commits that were under way then,
 * and each possibility is tried.  Meanwhile the commits are replayed: one of
 * version V must have read what stood there at V - 1, a snapshot of V what
 * stood there at V.  At last, what has no version must fit to one that was the
 * newest at some moment while it ran.
 *
 * Where something does not fit, the keys that were read otherwise are to
 * blame: a choice that had nothing to do with them is not tried again.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "history.h"

enum { TRIES = 100000 };

#define ALL_KEYS	UINT32_MAX

/* What a key holds from a version on. */
struct change {
	uint64_t version;
	uint64_t value;
};

struct replay {
	struct history *h;
	uint64_t newest;
	size_t *owner;		/* of each version: event + 1; 0: nobody */
	uint64_t *version;	/* of each event that has one */
	int64_t *later_end;	/* the first end of a commit above */
	int64_t *sooner_start;	/* the last start of a commit below */
	struct change *change[H_KEYS];
	size_t nchanges[H_KEYS];
	/* What had ended, in order of time, and the newest version of it. */
	struct ended {
		int64_t end;
		uint64_t version;
	} *ended;
	size_t nended;
	size_t *snapshot;	/* of each version: event + 1, and then */
	size_t *next_snapshot;	/* that of each event; 0: no more */
	uint32_t blame;		/* keys that did not fit */
	unsigned tries;
};

static int
wrong(struct replay *r, const struct h_event *e, const char *text,
    uint64_t n)
{
	snprintf(r->h->why, sizeof(r->h->why), "event %td, %s: %s %" PRIu64,
	    e != NULL ? e - r->h->event : -1, e != NULL ? e->what : "none",
	    text, n);
	return 1;
}

/* ---- who made which version -------------------------------------------- */

static int
claim(struct replay *r, size_t i, uint64_t v)
{
	const struct h_event *e = &r->h->event[i];

	if (v == 0 || v > r->newest)
		return wrong(r, e, "there is no version", v);
	if (r->owner[v] == i + 1)
		return 0;
	if (r->owner[v] != 0 || r->version[i] != 0)
		return wrong(r, e, "two commits, or two versions:", v);
	r->owner[v] = i + 1;
	r->version[i] = v;
	return 0;
}

static int
claim_told(struct replay *r)
{
	for (size_t i = 0; i < r->h->count; i++) {
		const struct h_event *e = &r->h->event[i];

		if (e->what != NULL && e->outcome == H_DONE && !e->snapshot &&
		    e->version != 0 && claim(r, i, e->version) != 0)
			return 1;
	}
	return 0;
}

/* Each value that was read must be of somebody who may have written it. */
static int
claim_seen(struct replay *r)
{
	for (size_t i = 0; i < r->h->count; i++) {
		const struct h_event *e = &r->h->event[i], *by;

		if (e->what == NULL || e->outcome == H_NOTHING)
			continue;
		for (unsigned p = 0; p < e->nparts; p++) {
			uint64_t got = e->part[p].got;

			if (!(e->part[p].flags & H_READ) || got == 0)
				continue;
			if (h_writer(r->h, got, e->part[p].key, &by) == NULL ||
			    by->outcome == H_NOTHING ||
			    by->outcome == H_FALSE)
				return wrong(r, e, "read what nobody wrote:",
				    got);
			if (claim(r, (size_t)(by - r->h->event),
			    e->part[p].got_version) != 0)
				return 1;
		}
	}
	return 0;
}

/* ---- real time --------------------------------------------------------- */

/* The commit of a version; NULL: not known. */
static const struct h_event *
commit(const struct replay *r, uint64_t v)
{
	return r->owner[v] != 0 ? &r->h->event[r->owner[v] - 1] : NULL;
}

static int64_t
death(const struct h_event *e)
{
	return e->outcome == H_OPEN ? e->dead : e->end;
}

/* The order of versions contains that of time. */
static int
check_time(struct replay *r)
{
	int64_t last = INT64_MIN, first = INT64_MAX;

	for (uint64_t v = 1; v <= r->newest; v++) {
		const struct h_event *e = commit(r, v);

		r->sooner_start[v] = last;
		if (e == NULL)
			continue;
		if (death(e) < last)
			return wrong(r, e, "had ended before a commit of a "
			    "lower version began:", v);
		last = e->start > last ? e->start : last;
	}
	for (uint64_t v = r->newest; v >= 1; v--) {
		const struct h_event *e = commit(r, v);

		r->later_end[v] = first;
		if (e != NULL && e->outcome == H_DONE && e->end < first)
			first = e->end;
	}
	return 0;
}

static int
by_end(const void *a, const void *b)
{
	const struct ended *x = a, *y = b;

	return x->end < y->end ? -1 : x->end > y->end;
}

/* The newest version that an event tells of. */
static uint64_t
tells_of(const struct replay *r, const struct h_event *e)
{
	uint64_t v = e->snapshot ? e->version : r->version[e - r->h->event];

	for (unsigned p = 0; p < e->nparts; p++)
		if (e->part[p].flags & H_READ && e->part[p].got_version > v)
			v = e->part[p].got_version;
	return v;
}

/* What has been acknowledged, or read, is seen from then on. */
static void
sort_ends(struct replay *r)
{
	uint64_t most = 0, v;

	r->nended = 0;
	for (size_t i = 0; i < r->h->count; i++) {
		const struct h_event *e = &r->h->event[i];

		if (e->what != NULL && e->outcome == H_DONE &&
		    (v = tells_of(r, e)) != 0)
			r->ended[r->nended++] = (struct ended){ e->end, v };
	}
	qsort(r->ended, r->nended, sizeof(*r->ended), by_end);
	for (size_t i = 0; i < r->nended; i++) {
		most = r->ended[i].version > most ? r->ended[i].version : most;
		r->ended[i].version = most;
	}
}

/* The least version that what begins now must see. */
static uint64_t
must_see(const struct replay *r, int64_t now)
{
	size_t lo = 0, hi = r->nended;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;

		if (r->ended[mid].end < now)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo == 0 ? 0 : r->ended[lo - 1].version;
}

/* ---- replaying --------------------------------------------------------- */

static void
apply(struct replay *r, const struct h_event *e, uint64_t v)
{
	for (unsigned p = 0; p < e->nparts; p++)
		if (e->part[p].flags & H_WRITE) {
			unsigned k = e->part[p].key;

			r->change[k][r->nchanges[k]++] =
			    (struct change){ v, e->part[p].put };
		}
}

static struct change
at(const struct replay *r, unsigned key, uint64_t version)
{
	size_t lo = 0, hi = r->nchanges[key];

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;

		if (r->change[key][mid].version <= version)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo == 0 ? (struct change){ 0, 0 } : r->change[key][lo - 1];
}

static int
part_fits(const struct h_event *e, const struct h_part *p, struct change c)
{
	if (p->flags & H_READ && (c.value != p->got ||
	    (p->got != 0 && c.version != p->got_version)))
		return 0;
	return p->cond == KEVO_IF_ANY ||
	    h_holds(p, c.value, c.version) == (e->outcome != H_FALSE);
}

/* Is everything that e read, and its condition, so at this version? */
static int
fits(struct replay *r, const struct h_event *e, uint64_t version)
{
	int all = 1;

	for (unsigned i = 0; i < e->nparts; i++) {
		const struct h_part *p = &e->part[i];

		if (!part_fits(e, p, at(r, p->key, version))) {
			r->blame |= (uint32_t)1 << p->key;
			all = 0;
		}
	}
	return all;
}

/* Commit and snapshots of a version, when all below have been replayed. */
static int
pass(struct replay *r, uint64_t v)
{
	const struct h_event *e = commit(r, v);

	if (!fits(r, e, v - 1))
		return wrong(r, e, "did not read what was there before it:",
		    v);
	apply(r, e, v);
	for (size_t i = r->snapshot[v]; i != 0; i = r->next_snapshot[i - 1]) {
		e = &r->h->event[i - 1];
		if (!fits(r, e, v))
			return wrong(r, e, "did not read what was there at",
			    v);
	}
	return 0;
}

/* What has no version, and what a snapshot has to see. */
static int
check_event(struct replay *r, size_t i)
{
	const struct h_event *e = &r->h->event[i];
	uint64_t least, v;

	if (e->what == NULL || e->outcome == H_NOTHING ||
	    e->outcome == H_OPEN || r->version[i] != 0)
		return 0;
	least = must_see(r, e->start);
	if (e->snapshot && e->version < least) {
		r->blame = ALL_KEYS;
		return wrong(r, e, "does not see what was acknowledged "
		    "before it:", least);
	}
	if (e->snapshot)
		return commit(r, e->version)->start > e->end ?
		    wrong(r, e, "sees what was not yet begun:", e->version) :
		    0;
	for (v = least; v <= r->newest; v++) {
		if (v > 0 && commit(r, v)->start > e->end)
			break;
		if (fits(r, e, v))
			return 0;
	}
	return wrong(r, e, "nothing was so while it ran, from version",
	    least);
}

static int
check_rest(struct replay *r)
{
	sort_ends(r);
	for (size_t i = 0; i < r->h->count; i++)
		if (check_event(r, i) != 0)
			return 1;
	return 0;
}

/* ---- versions that nobody was told -------------------------------------- */

/* May event i, whose version is not known, be this one? */
static int
candidate(const struct replay *r, size_t i, uint64_t v)
{
	const struct h_event *e = &r->h->event[i];

	return e->what != NULL && r->version[i] == 0 && h_writes(e) &&
	    (e->outcome == H_OPEN || (e->outcome == H_DONE &&
	    e->version == 0 && !e->snapshot)) &&
	    e->start < r->later_end[v] && death(e) > r->sooner_start[v];
}

/* An event that was told that it is done has a version. */
static int
all_have(struct replay *r)
{
	r->blame = ALL_KEYS;
	for (size_t i = 0; i < r->h->count; i++) {
		const struct h_event *e = &r->h->event[i];

		if (e->what != NULL && e->outcome == H_DONE &&
		    !e->snapshot && h_writes(e) && r->version[i] == 0)
			return wrong(r, e, "is in no version up to",
			    r->newest);
	}
	r->blame = 0;
	return 0;
}

static uint32_t
keys_of(const struct h_event *e)
{
	uint32_t keys = 0;

	for (unsigned p = 0; p < e->nparts; p++)
		if (e->part[p].flags & H_WRITE)
			keys |= (uint32_t)1 << e->part[p].key;
	return keys;
}

static int fill(struct replay *r, uint64_t v);

/* Version v was made by event i: go on from there. */
static int
try_as(struct replay *r, size_t i, uint64_t v)
{
	int rc;

	r->owner[v] = i + 1;
	r->version[i] = v;
	rc = fill(r, v);
	r->owner[v] = 0;
	r->version[i] = 0;
	return rc;
}

/*
 * Try everybody for version v.  If what went wrong in the end has nothing to
 * do with any of them, another choice does not mend it.
 */
static int
choose(struct replay *r, uint64_t v)
{
	uint32_t keys = 0, blame = 0;
	int rc = 1, any = 0;

	for (size_t i = 0; i < r->h->count; i++)
		if (candidate(r, i, v)) {
			keys |= keys_of(&r->h->event[i]);
			any = 1;
		}
	if (!any) {
		r->blame = ALL_KEYS;
		return wrong(r, NULL, "nobody can have made version", v);
	}
	for (size_t i = 0; i < r->h->count && rc == 1; i++) {
		if (!candidate(r, i, v))
			continue;
		if (++r->tries > TRIES)
			return -1;
		r->blame = 0;
		rc = try_as(r, i, v);
		if (rc == 1 && (r->blame & keys) == 0 &&
		    fits(r, &r->h->event[i], v - 1))
			return 1;
		blame |= r->blame;
	}
	r->blame = blame;
	return rc;
}

/* Replay from version v on: 1 if it cannot be, -1 if it takes too long. */
static int
fill(struct replay *r, uint64_t v)
{
	size_t before[H_KEYS];
	int rc = 0;

	memcpy(before, r->nchanges, sizeof(before));
	for (; rc == 0 && v <= r->newest && r->owner[v] != 0; v++)
		rc = pass(r, v);
	if (rc == 0 && v <= r->newest)
		rc = choose(r, v);
	else if (rc == 0)
		rc = all_have(r) != 0 || check_rest(r) != 0;
	memcpy(r->nchanges, before, sizeof(before));
	return rc;
}

/* ---- all of it --------------------------------------------------------- */

static void *
array(size_t n, size_t size)
{
	void *p = calloc(n + 1, size);

	if (p == NULL)
		abort();
	return p;
}

static void
prepare(struct replay *r)
{
	size_t v = (size_t)r->newest + 1;

	r->owner = array(v, sizeof(*r->owner));
	r->later_end = array(v, sizeof(*r->later_end));
	r->sooner_start = array(v, sizeof(*r->sooner_start));
	r->version = array(r->h->count, sizeof(*r->version));
	r->ended = array(r->h->count, sizeof(*r->ended));
	r->snapshot = array(v, sizeof(*r->snapshot));
	r->next_snapshot = array(r->h->count, sizeof(*r->next_snapshot));
	for (unsigned k = 0; k < H_KEYS; k++)
		r->change[k] = array(v, sizeof(*r->change[k]));
}

/* Snapshots by their version; 1: one is of the future. */
static int
sort_snapshots(struct replay *r)
{
	for (size_t i = 0; i < r->h->count; i++) {
		const struct h_event *e = &r->h->event[i];

		if (e->what == NULL || e->outcome != H_DONE || !e->snapshot)
			continue;
		if (e->version == 0 || e->version > r->newest)
			return wrong(r, e, "there is no version", e->version);
		r->next_snapshot[i] = r->snapshot[e->version];
		r->snapshot[e->version] = i + 1;
	}
	return 0;
}

static void
release(struct replay *r)
{
	free(r->snapshot);
	free(r->next_snapshot);
	free(r->owner);
	free(r->later_end);
	free(r->sooner_start);
	free(r->version);
	free(r->ended);
	for (unsigned k = 0; k < H_KEYS; k++)
		free(r->change[k]);
}

int
h_serial(struct history *h)
{
	struct replay r = { .h = h };
	size_t last = h->count;
	int rc = 1;

	while (last > 0 && h->event[last - 1].what == NULL)
		last--;
	if (last == 0 || !h->event[last - 1].snapshot)
		return wrong(&r, NULL, "the last event is no snapshot:", last);
	r.newest = h->event[last - 1].version;
	prepare(&r);
	if (sort_snapshots(&r) == 0 && claim_told(&r) == 0 &&
	    claim_seen(&r) == 0 && check_time(&r) == 0)
		rc = fill(&r, 1);
	if (rc < 0)
		snprintf(h->why, sizeof(h->why), "too many possibilities for "
		    "what was killed");
	release(&r);
	return rc;
}
