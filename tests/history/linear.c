/*
 * linear: is each key linearizable?
 *
 * Time is gone through from one end of an operation to the next.  What is
 * known at a moment is a set of worlds: a world is the key's value and which
 * of the operations that are running have taken effect already.  When an
 * operation returns, each world in which it has not happened yet is led on by
 * every running operation that could come next, until it has; worlds in which
 * it cannot happen with the answer it gave are impossible.  If none is left,
 * nothing explains the answer.
 *
 * Operations that never returned run to the end of time; each has a bit, too.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "history.h"

enum { SLOTS = 64, WORLDS_MAX = 1 << 20, TELL_NS = 3000000 };

struct op {
	const struct h_event *e;
	const struct h_part *p;
	int slot;		/* while it is running */
};

/* A start or an end of an operation. */
struct point {
	int64_t time;
	int is_end;
	size_t op;
};

struct world {
	uint64_t done;		/* by slot */
	uint64_t value;
};

struct worlds {
	struct world *w;
	size_t count, room;
	size_t *table;		/* of hashes: index + 1 */
	size_t buckets;		/* a power of two */
};

struct search {
	struct history *h;
	const uint64_t *version;	/* of events, by what was seen */
	unsigned key;
	struct op *op;
	size_t nops;
	struct point *point;
	struct op *running[SLOTS];
	struct worlds now;
};

/* ---- sets of worlds ---------------------------------------------------- */

static size_t
hash(const struct worlds *s, const struct world *w)
{
	uint64_t x = (w->done ^ w->value * 0x9e3779b97f4a7c15) *
	    0xbf58476d1ce4e5b9;

	return (x ^ x >> 29) & (s->buckets - 1);
}

static void
place(struct worlds *s, size_t i)
{
	size_t b = hash(s, &s->w[i]);

	while (s->table[b] != 0)
		b = (b + 1) & (s->buckets - 1);
	s->table[b] = i + 1;
}

static void
grow(struct worlds *s)
{
	s->room = s->room != 0 ? 2 * s->room : 64;
	s->buckets = 4 * s->room;
	s->w = realloc(s->w, s->room * sizeof(*s->w));
	free(s->table);
	s->table = calloc(s->buckets, sizeof(*s->table));
	if (s->w == NULL || s->table == NULL)
		abort();
	for (size_t i = 0; i < s->count; i++)
		place(s, i);
}

static void
add(struct worlds *s, struct world w)
{
	size_t b;

	if (s->count == s->room)
		grow(s);
	for (b = hash(s, &w); s->table[b] != 0; b = (b + 1) &
	    (s->buckets - 1)) {
		const struct world *o = &s->w[s->table[b] - 1];

		if (o->done == w.done && o->value == w.value)
			return;
	}
	s->w[s->count++] = w;
	s->table[b] = s->count;
}

static void
release(struct worlds *s)
{
	free(s->w);
	free(s->table);
	memset(s, 0, sizeof(*s));
}

/* ---- one operation ----------------------------------------------------- */

/* The version that goes with a value, if anybody was told. */
static uint64_t
version_of(const struct search *s, uint64_t value)
{
	return value != 0 ? s->version[(value >> 24) - 1] : 0;
}

/* Can it take effect in this world, with the answer that it gave? */
static int
step(const struct search *s, const struct op *o, struct world *w)
{
	const struct h_part *p = o->p;
	uint64_t version = version_of(s, w->value);
	int holds = h_holds(p, w->value, version);

	if (p->flags & H_READ && w->value != p->got)
		return 0;
	/* Of a killed commit that nobody saw: its version is not known. */
	if (p->cond == KEVO_IF_VERSION && w->value != 0 && version == 0)
		holds = o->e->outcome != H_FALSE;
	if (o->e->outcome == H_FALSE)
		return !holds;
	if (!holds)
		return 0;
	if (p->flags & H_WRITE)
		w->value = p->put;
	return 1;
}

/* It returns: every world that is left has it.  1: none is left. */
static int
must_be_done(struct search *s, const struct op *o)
{
	uint64_t bit = (uint64_t)1 << o->slot;
	struct worlds left = { NULL, 0, 0, NULL, 0 };
	size_t i;

	for (i = 0; i < s->now.count && s->now.count < WORLDS_MAX; i++) {
		struct world w = s->now.w[i];

		if (w.done & bit) {
			w.done &= ~bit;
			add(&left, w);
			continue;
		}
		for (int n = 0; n < SLOTS; n++) {
			struct world next = w;

			if (s->running[n] == NULL || w.done >> n & 1 ||
			    !step(s, s->running[n], &next))
				continue;
			next.done |= (uint64_t)1 << n;
			add(&s->now, next);
		}
	}
	if (i < s->now.count) {
		release(&left);
		return -1;
	}
	release(&s->now);
	s->now = left;
	return left.count == 0;
}

static int
start(struct search *s, struct op *o)
{
	for (int n = 0; n < SLOTS; n++)
		if (s->running[n] == NULL) {
			s->running[n] = o;
			o->slot = n;
			return 0;
		}
	return -1;
}

/* ---- one key ----------------------------------------------------------- */

static int
by_time(const void *a, const void *b)
{
	const struct point *x = a, *y = b;

	if (x->time != y->time)
		return x->time < y->time ? -1 : 1;
	return x->is_end - y->is_end;
}

static void
collect(struct search *s)
{
	s->nops = 0;
	for (size_t i = 0; i < s->h->count; i++) {
		const struct h_event *e = &s->h->event[i];

		if (e->what == NULL || e->outcome == H_NOTHING)
			continue;
		for (unsigned p = 0; p < e->nparts; p++) {
			const struct h_part *q = &e->part[p];

			if (q->key == s->key && (e->outcome != H_OPEN ||
			    q->flags & H_WRITE))
				s->op[s->nops++] = (struct op){ e, q, -1 };
		}
	}
}

static size_t
make_points(struct search *s)
{
	size_t n = 0;

	for (size_t i = 0; i < s->nops; i++) {
		const struct h_event *e = s->op[i].e;

		s->point[n++] = (struct point){ e->start, 0, i };
		if (e->outcome != H_OPEN)
			s->point[n++] = (struct point){ e->end, 1, i };
	}
	qsort(s->point, n, sizeof(*s->point), by_time);
	return n;
}

static const char *
outcome(const struct h_event *e)
{
	return e->outcome == H_DONE ? "done" : e->outcome == H_FALSE ?
	    "false" : "open";
}

/* What happened to the key shortly before, as remarks. */
static void
tell(const struct search *s, const struct op *last)
{
	int64_t from = last->e->start - TELL_NS;

	for (size_t i = 0; i < s->nops; i++) {
		const struct h_event *e = s->op[i].e;
		const struct h_part *p = s->op[i].p;

		if (e->start > last->e->end ||
		    (e->outcome != H_OPEN && e->end < from))
			continue;
		printf("# %td %s %s %" PRId64 " to %" PRId64 " version %"
		    PRIu64 " got %" PRIx64 " (%" PRIu64 ") put %" PRIx64
		    " if %d %" PRIx64 "\n", e - s->h->event, e->what,
		    outcome(e), e->start - from, e->outcome == H_OPEN ? -1 :
		    e->end - from, e->version, p->got, p->got_version,
		    p->put, p->cond, p->want);
	}
}

static int
say(struct search *s, const struct op *o, int rc)
{
	const struct h_event *e = o->e;

	if (rc < 0)
		snprintf(s->h->why, sizeof(s->h->why), "key %u: too many "
		    "possibilities", s->key);
	else
		snprintf(s->h->why, sizeof(s->h->why), "key %u: event %td, %s "
		    "from %" PRId64 " to %" PRId64 ", cannot have been "
		    "answered so: read %" PRIx64 " (of version %" PRIu64 ")",
		    s->key, e - s->h->event, e->what, e->start, e->end,
		    o->p->got, o->p->got_version);
	if (s->h->tell && rc > 0)
		tell(s, o);
	return rc;
}

static int
check_key(struct search *s)
{
	size_t n;
	int rc;

	collect(s);
	n = make_points(s);
	release(&s->now);
	add(&s->now, (struct world){ 0, 0 });
	memset(s->running, 0, sizeof(s->running));
	for (size_t i = 0; i < n; i++) {
		struct op *o = &s->op[s->point[i].op];

		rc = s->point[i].is_end ? must_be_done(s, o) : start(s, o);
		if (rc != 0)
			return say(s, o, rc);
		if (s->point[i].is_end)
			s->running[o->slot] = NULL;
	}
	return 0;
}

/* What anybody was told of the versions of events. */
static uint64_t *
versions_seen(const struct history *h)
{
	uint64_t *v = calloc(h->count + 1, sizeof(*v));

	if (v == NULL)
		abort();
	for (size_t i = 0; i < h->count; i++) {
		const struct h_event *e = &h->event[i];

		if (e->what == NULL || e->outcome == H_NOTHING)
			continue;
		if (!e->snapshot && e->version != 0)
			v[i] = e->version;
		for (unsigned p = 0; p < e->nparts; p++) {
			uint64_t got = e->part[p].got;

			if (got != 0 && (got >> 24) - 1 < h->count)
				v[(got >> 24) - 1] = e->part[p].got_version;
		}
	}
	return v;
}

int
h_linear(struct history *h)
{
	struct search s = { .h = h };
	uint64_t *version = versions_seen(h);
	int rc = 0;

	s.version = version;
	s.op = malloc((h->count * H_PARTS + 1) * sizeof(*s.op));
	s.point = malloc((2 * h->count + 1) * sizeof(*s.point));
	if (s.op == NULL || s.point == NULL)
		abort();
	for (s.key = 0; s.key < H_KEYS && rc == 0; s.key++)
		rc = check_key(&s);
	release(&s.now);
	free(s.op);
	free(s.point);
	free(version);
	return rc;
}
