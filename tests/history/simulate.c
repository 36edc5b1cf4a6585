/*
 * simulate: a database without faults, and processes that use it.
 *
 * Each operation takes effect at one moment between its start and its end,
 * one after the other in the order of these moments: that is the definition
 * of what the judges must accept.  Some operations are killed, before that
 * moment or after it.
 */
#include <string.h>

#include "history.h"

enum { PROCESSES = 5 };

struct world {
	struct history *h;
	uint64_t random;
	uint64_t version;
	uint64_t value[H_KEYS];
	uint64_t of[H_KEYS];	/* the version of each */
	size_t used;
	struct next {
		int64_t start, moment, end;
	} next[PROCESSES];
};

static unsigned
rnd(struct world *w, unsigned below)
{
	uint64_t z = w->random += 0x9e3779b97f4a7c15;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
	return (unsigned)((z ^ (z >> 31)) % below);
}

static struct h_part *
touch(struct world *w, struct h_event *e, unsigned key, unsigned flags)
{
	struct h_part *p = &e->part[e->nparts++];

	p->key = (uint8_t)key;
	p->flags = (uint8_t)flags;
	if (flags & H_READ) {
		p->got = w->value[key];
		p->got_version = w->of[key];
	}
	return p;
}

static void
set(struct world *w, struct h_event *e, struct h_part *p, unsigned number)
{
	p->flags |= H_WRITE;
	p->put = h_value((size_t)(e - w->h->event),
	    (unsigned)(p - e->part), number);
}

/* A register: conditions that hold and others. */
static void
put(struct world *w, struct h_event *e, unsigned key)
{
	static const uint8_t kinds[] = { KEVO_IF_ANY, KEVO_IF_ANY,
	    KEVO_IF_ABSENT, KEVO_IF_PRESENT, KEVO_IF_VALUE, KEVO_IF_VERSION };
	struct h_part *p = touch(w, e, key, 0);

	e->what = "put";
	p->cond = kinds[rnd(w, sizeof(kinds))];
	if (p->cond == KEVO_IF_VALUE)
		p->want = rnd(w, 4) != 0 && w->value[key] != 0 ?
		    w->value[key] : h_value(0, 9, 0);
	if (p->cond == KEVO_IF_VERSION)
		p->want = w->of[key] - (rnd(w, 4) == 0 && w->of[key] > 1);
	if (h_holds(p, w->value[key], w->of[key]))
		set(w, e, p, 0);
	else
		e->outcome = H_FALSE;
}

static void
transfer(struct world *w, struct h_event *e)
{
	unsigned from = rnd(w, H_ACCOUNTS), to = rnd(w, H_ACCOUNTS - 1);
	struct h_part *a, *b;

	to += to >= from;
	e->what = "transfer";
	a = touch(w, e, H_ACCOUNT0 + from, H_READ);
	b = touch(w, e, H_ACCOUNT0 + to, H_READ);
	set(w, e, a, h_number(a->got) - 1);
	set(w, e, b, h_number(b->got) + 1);
}

/* Take the first of the queue, or fill a place of it. */
static void
queue(struct world *w, struct h_event *e)
{
	struct h_part *p;
	unsigned k;

	if (rnd(w, 2) == 0) {
		put(w, e, H_SLOT0 + rnd(w, H_SLOTS));
		e->what = "push";
		return;
	}
	e->what = "pop";
	for (k = 0; k < H_SLOTS; k++) {
		p = touch(w, e, H_SLOT0 + k, H_READ);
		if (p->got != 0) {
			p->flags |= H_WRITE;
			return;
		}
	}
}

/* One of kevo-txn: nobody is told its version.  One that fails has read what
 * was there; of one that is killed before its end nothing is believed. */
static void
command(struct world *w, struct h_event *e)
{
	unsigned fate = rnd(w, 6);

	transfer(w, e);
	e->what = "command transfer";
	if (fate > 1)
		return;
	for (unsigned p = 0; p < e->nparts; p++) {
		e->part[p].flags = H_READ;
		e->part[p].put = 0;
	}
	e->outcome = fate == 0 ? H_DONE : H_NOTHING;
}

static void
scan(struct world *w, struct h_event *e)
{
	unsigned group = rnd(w, 2) == 0 ? 0 : H_ACCOUNT0;

	e->what = "scan";
	for (unsigned k = 0; k < H_ACCOUNTS; k++)
		touch(w, e, group + k, H_READ);
	e->snapshot = rnd(w, 2) == 0;
	if (e->snapshot)
		e->version = w->version;
}

static void
choose(struct world *w, struct h_event *e)
{
	struct h_part *p;

	e->outcome = H_DONE;
	switch (rnd(w, 9)) {
	case 0:
	case 1:
		e->what = "get";
		touch(w, e, rnd(w, H_KEYS), H_READ);
		return;
	case 2:
	case 3:
		put(w, e, rnd(w, H_REGISTERS));
		return;
	case 4:
		e->what = "delete";
		touch(w, e, rnd(w, H_REGISTERS), H_WRITE);
		return;
	case 5:
		e->what = "incr";
		p = touch(w, e, H_COUNTER0 + rnd(w, H_COUNTERS), H_READ);
		set(w, e, p, h_number(p->got) + 1);
		return;
	case 6:
		transfer(w, e);
		return;
	case 7:
		command(w, e);
		return;
	default:
		rnd(w, 2) == 0 ? queue(w, e) : scan(w, e);
	}
}

static void
apply(struct world *w, struct h_event *e)
{
	if (!h_writes(e) || e->outcome == H_FALSE)
		return;
	w->version++;
	if (e->outcome == H_DONE && !h_is_command(e))
		e->version = w->version;
	for (unsigned p = 0; p < e->nparts; p++)
		if (e->part[p].flags & H_WRITE) {
			unsigned k = e->part[p].key;

			w->value[k] = e->part[p].put;
			w->of[k] = e->part[p].put != 0 ? w->version : 0;
		}
}

static void
plan(struct world *w, unsigned n, int64_t after)
{
	w->next[n].start = after + 1 + rnd(w, 50);
	w->next[n].moment = w->next[n].start + rnd(w, 100);
	w->next[n].end = w->next[n].moment + rnd(w, 100);
}

/* The process whose operation takes effect next does it. */
static void
step(struct world *w)
{
	struct h_event *e = &w->h->event[w->used];
	unsigned n = 0;

	for (unsigned i = 1; i < PROCESSES; i++)
		if (w->next[i].moment < w->next[n].moment)
			n = i;
	choose(w, e);
	e->start = w->next[n].start;
	if (rnd(w, 40) == 0) {
		e->outcome = e->outcome == H_FALSE || !h_writes(e) ?
		    H_NOTHING : H_OPEN;
		e->dead = w->next[n].end + 1;
	} else {
		e->end = w->next[n].end;
	}
	if (e->outcome != H_OPEN || rnd(w, 2) == 0)
		apply(w, e);
	w->used++;
	plan(w, n, w->next[n].end);
}

static void
first(struct world *w)
{
	struct h_event *e = &w->h->event[w->used++];

	e->what = "first";
	e->outcome = H_DONE;
	for (unsigned k = 0; k < H_ACCOUNTS; k++)
		set(w, e, touch(w, e, H_ACCOUNT0 + k, 0), H_BALANCE);
	e->start = 1;
	e->end = 2;
	apply(w, e);
}

/* A snapshot of everything needs several events: all are of one version. */
static void
last(struct world *w, int64_t now)
{
	struct h_event *e = NULL;

	for (unsigned k = 0; k < H_KEYS; k++) {
		if (e == NULL || e->nparts == H_PARTS) {
			e = &w->h->event[w->used++];
			e->what = "last";
			e->outcome = H_DONE;
			e->snapshot = 1;
			e->version = w->version;
			e->start = now;
			e->end = now + 1;
		}
		touch(w, e, k, H_READ);
	}
}

void
h_simulate(struct history *h, uint64_t seed)
{
	struct world w = { .h = h, .random = seed };
	int64_t now = 0;

	memset(h->event, 0, h->count * sizeof(*h->event));
	first(&w);
	for (unsigned n = 0; n < PROCESSES; n++)
		plan(&w, n, 2);
	while (w.used + H_KEYS / H_PARTS + 1 < h->count)
		step(&w);
	for (size_t i = 0; i < w.used; i++) {
		const struct h_event *e = &h->event[i];

		now = e->end > now ? e->end : now;
		now = e->dead > now ? e->dead : now;
	}
	last(&w, now + 1);
}
