#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "env.h"
#include "feed_file.h"
#include "file.h"
#include "kevo.h"
#include "slots.h"

/*
 * Finding a segment by a commit.  Segments of wal/ follow each other, so their
 * headers are searched by halves; the oldest may vanish meanwhile.  In a
 * slot's directory the names say what is in a file, and the header has to
 * say the same.
 */

struct name {
	uint64_t first, last;	/* commits; in wal/: the counter, twice */
	uint32_t epoch;		/* 0 in wal/ */
};

struct names {
	struct name *v;
	size_t n, room;
};

static int
by_first(const void *a, const void *b)
{
	const struct name *x = a, *y = b;

	if (x->first != y->first)
		return x->first < y->first ? -1 : 1;
	return x->epoch < y->epoch ? -1 : x->epoch > y->epoch;
}

static int
add_name(const struct kv_feed_place *p, struct names *l, const struct name *n)
{
	size_t room = l->room != 0 ? 2 * l->room : 64;
	struct name *v;

	if (l->n == l->room) {
		if ((v = realloc(l->v, room * sizeof(*v))) == NULL)
			return kv_fail(p->env, KEVO_ENOMEM, "out of memory");
		l->v = v;
		l->room = room;
	}
	l->v[l->n++] = *n;
	return 0;
}

/* Is it a segment's name in this directory, and one to be looked at? */
static int
read_name(const struct kv_feed_place *p, int linked, const char *s,
    struct name *n)
{
	if (linked)
		return kv_ship_name_parse(s, &n->epoch, &n->first, &n->last);
	n->epoch = 0;
	if (!kv_name_number(s, ".seg", &n->first))
		return 0;
	n->last = n->first;
	return n->first <= p->active;
}

/* Of segments that were removed a power cut may give some back, and not the
 * others: what is before a hole does not belong to the log. */
static void
forget_strays(struct names *l)
{
	size_t from = l->n;

	while (from > 1 && l->v[from - 2].first + 1 == l->v[from - 1].first)
		from--;
	if (from <= 1)
		return;
	l->n -= from - 1;
	memmove(l->v, l->v + from - 1, l->n * sizeof(l->v[0]));
}

static int
list(const struct kv_feed_place *p, int linked, struct names *l)
{
	const char *where = linked ? p->linked : "wal";
	const char *name;
	struct name n;
	DIR *d;
	int rc;

	memset(l, 0, sizeof(*l));
	if ((rc = kv_list_open(p->env, p->dir, where, 0, &d)) != 0)
		return rc;
	while (rc == 0 && (name = kv_list_next(p->env, p->dir, where, d,
	    &rc)) != NULL)
		if (read_name(p, linked, name, &n))
			rc = add_name(p, l, &n);
	closedir(d);
	if (rc == 0 && l->n > 1)
		qsort(l->v, l->n, sizeof(l->v[0]), by_first);
	if (rc == 0 && !linked)
		forget_strays(l);
	return rc;
}

/* ---- wal/ -------------------------------------------------------------- */

static int
open_counter(const struct kv_feed_place *p, uint64_t counter,
    struct kv_feed_file **out)
{
	char name[KV_SEGMENT_NAME_LEN];

	kv_segment_name(name, counter);
	return kv_feed_file_open(p->env, p->dir, name, p->id, out);
}

/* The oldest of them that is still there. */
static int
open_oldest(const struct kv_feed_place *p, const struct names *l,
    struct kv_feed_file **out)
{
	int rc = KEVO_NOTFOUND;

	for (size_t i = 0; rc == KEVO_NOTFOUND && i < l->n; i++)
		rc = open_counter(p, l->v[i].first, out);
	return rc;
}

/* The last of them that begins at or below seq. */
static int
find_in_wal(const struct kv_feed_place *p, const struct names *l,
    uint64_t seq, struct kv_feed_file **out)
{
	struct kv_feed_file *best = NULL, *f;
	size_t low = 0, high = l->n, mid;
	int rc;

	while (low < high) {
		mid = low + (high - low) / 2;
		rc = open_counter(p, l->v[mid].first, &f);
		if (rc == KEVO_NOTFOUND) {
			low = mid + 1;
			continue;
		}
		if (rc != 0) {
			kv_feed_file_close(best);
			return rc;
		}
		if (f->head.first_seq > seq) {
			kv_feed_file_close(f);
			high = mid;
			continue;
		}
		kv_feed_file_close(best);
		best = f;
		low = mid + 1;
	}
	*out = best;
	return best != NULL ? 0 : KEVO_NOTFOUND;
}

/* ---- a slot's directory ------------------------------------------------ */

static int
open_linked(const struct kv_feed_place *p, const struct name *n,
    struct kv_feed_file **out)
{
	char file[KV_SHIP_NAME_LEN], name[128];
	struct kv_feed_file *f;
	int rc;

	kv_ship_name(file, n->epoch, n->first, n->last);
	if (snprintf(name, sizeof(name), "%s/%s", p->linked, file) >=
	    (int)sizeof(name))
		return kv_fail(p->env, KEVO_EINVAL, "%s: the name is too long",
		    p->linked);
	if ((rc = kv_feed_file_open(p->env, p->dir, name, p->id, &f)) != 0)
		return rc;
	if (f->head.epoch != n->epoch || f->head.first_seq != n->first) {
		rc = kv_fail(p->env, KEVO_ECORRUPT, "%s: it begins with "
		    "commit %llu of epoch %u", kv_path(p->dir, name),
		    (unsigned long long)f->head.first_seq, f->head.epoch);
		kv_feed_file_close(f);
		return rc;
	}
	f->linked = 1;
	*out = f;
	return 0;
}

/* Newest first: where two hold a commit, the one of the later epoch is what
 * was kept. */
static int
find_linked(const struct kv_feed_place *p, uint64_t seq,
    struct kv_feed_file **out)
{
	int rc, found = KEVO_NOTFOUND;
	struct names l;

	rc = list(p, 1, &l);
	for (size_t i = l.n; rc == 0 && found == KEVO_NOTFOUND && i-- > 0;)
		if (l.v[i].first <= seq && l.v[i].last >= seq)
			found = open_linked(p, &l.v[i], out);
	free(l.v);
	return rc != 0 ? rc : found;
}

int
kv_feed_find(const struct kv_feed_place *p, uint64_t seq,
    struct kv_feed_file **out)
{
	struct kv_feed_file *f;
	struct names l;
	int rc;

	/* Most begin in the newest one. */
	rc = open_counter(p, p->active, &f);
	if (rc == 0 && f->head.first_seq <= seq) {
		*out = f;
		return 0;
	}
	if (rc == 0)
		kv_feed_file_close(f);
	if (rc == 0 || rc == KEVO_NOTFOUND)
		rc = list(p, 0, &l);
	if (rc != 0)
		return rc;
	rc = find_in_wal(p, &l, seq, out);
	free(l.v);
	return rc == KEVO_NOTFOUND && p->linked != NULL ?
	    find_linked(p, seq, out) : rc;
}

/* The oldest of the links from which they lead, without a gap, to where wal/
 * begins. */
static int
extend_by_links(const struct kv_feed_place *p, uint64_t *first)
{
	struct names l;
	int rc;

	rc = list(p, 1, &l);
	for (size_t i = l.n; rc == 0 && i-- > 0;)
		if (l.v[i].first < *first && l.v[i].last >= *first - 1)
			*first = l.v[i].first;
	free(l.v);
	return rc;
}

int
kv_feed_first(const struct kv_feed_place *p, uint64_t *after)
{
	struct kv_feed_file *f;
	struct names l;
	uint64_t first;
	int rc;

	if ((rc = list(p, 0, &l)) != 0)
		return rc;
	rc = open_oldest(p, &l, &f);
	free(l.v);
	if (rc != 0)
		return rc == KEVO_NOTFOUND ? kv_fail(p->env, KEVO_ECORRUPT,
		    "%s: damaged: no log segment in it", kv_path(p->dir,
		    "wal")) : rc;
	first = f->head.first_seq;
	kv_feed_file_close(f);
	if (p->linked != NULL && (rc = extend_by_links(p, &first)) != 0)
		return rc;
	*after = first - 1;
	return 0;
}
