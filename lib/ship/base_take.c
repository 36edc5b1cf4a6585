#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../db.h"
#include "base_take.h"
#include "ship.h"

#define TRIES		64
#define SYNC_WAIT_MS	1000

/* ---- the version ------------------------------------------------------- */

/* As view.c does: pin what control names, and look whether it still does. */
static int
pin_once(struct kv_taken *t, uint64_t *visible)
{
	struct kevo *db = t->db;
	struct kv_view *v;
	int rc;

	if ((rc = kv_view_now(db, visible)) != 0 ||
	    (rc = kv_view_tables(db, db->view, NULL)) != 0)
		return rc;
	v = db->view;
	if (!kv_pin_take(db, v->number))
		return kv_fail_errno(&db->env, kv_path(&db->dir, "PINS"),
		    "lock");
	atomic_thread_fence(memory_order_seq_cst);
	if (kv_view_overtaken(db, v)) {
		kv_pin_drop(db, v->number);
		return KV_RETRY;
	}
	t->pinned = 1;
	t->number = v->number;
	if (v->number == 0)	/* a reader's does not know the origin */
		return kv_version_read(&db->env, &db->dir, t->ident->id, 0,
		    kv_chain_origin(t->ident), &t->version);
	t->version = v->version;
	t->version->refs++;
	return 0;
}

static int
pin(struct kv_taken *t, uint64_t *visible)
{
	struct kevo *db = t->db;
	int rc;

	if ((rc = kv_usable(db)) != 0 || (rc = kv_warm_up(db)) != 0)
		return rc;
	for (int i = 0; i < TRIES; i++)
		if ((rc = pin_once(t, visible)) != KV_RETRY ||
		    (rc = kv_attach(db, kv_deadline(db))) != 0)
			return rc;
	return kv_fail(&db->env, KEVO_EBUSY, "%s: its files change faster "
	    "than they can be looked at", db->path);
}

/* ---- segments ---------------------------------------------------------- */

static const char *
path_of(struct kevo *db, uint64_t counter)
{
	char name[KV_SEGMENT_NAME_LEN];

	kv_segment_name(name, counter);
	return kv_path(&db->dir, name);
}

static int
damaged(struct kv_taken *t, uint64_t counter, uint64_t off, const char *why)
{
	return kv_segment_damaged(&t->db->env, &t->db->dir, counter, off,
	    why);
}

/* 0, KEVO_NOTFOUND or an error. */
static int
open_segment(struct kv_taken *t, uint64_t counter, struct kv_taken_segment *s)
{
	struct kevo *db = t->db;
	char name[KV_SEGMENT_NAME_LEN];
	uint8_t head[KV_SEGMENT_HEAD];
	const char *full = path_of(db, counter);
	int rc;

	memset(s, 0, sizeof(*s));
	s->counter = counter;
	kv_segment_name(name, counter);
	s->fd = kv_openat(db->dir.fd, name, O_RDONLY, 0);
	if (s->fd < 0)
		return errno == ENOENT ? KEVO_NOTFOUND :
		    kv_fail_errno(&db->env, full, "open");
	rc = kv_file_stat(&db->env, s->fd, full, &s->file_len, NULL, NULL);
	if (rc == 0 && (s->file_len < KV_SEGMENT_HEAD ||
	    s->file_len > KV_SEGMENT_MAX))
		rc = damaged(t, counter, 0, "impossible length");
	if (rc == 0)
		rc = kv_pread(&db->env, s->fd, full, head, sizeof(head), 0);
	if (rc == 0 && (kv_segment_head_decode(head, &s->head) != 0 ||
	    memcmp(s->head.id, db->ctl->id, 16) != 0 ||
	    s->head.counter != counter))
		rc = damaged(t, counter, 0, "bad segment header");
	if (rc != 0)
		close(s->fd);
	return rc;
}

static int
open_current(struct kv_taken *t)
{
	uint64_t first = t->version->first_segment, last;
	int rc;

	last = atomic_load_explicit(&t->db->ctl->active, memory_order_acquire);
	if (last < first || last - first > 1u << 24)
		return kv_fail(&t->db->env, KEVO_ECORRUPT, "%s/shm/control: "
		    "damaged: impossible segment numbers", t->db->path);
	t->seg = calloc((size_t)(last - first + 1), sizeof(t->seg[0]));
	if (t->seg == NULL)
		return kv_fail(&t->db->env, KEVO_ENOMEM, "out of memory");
	for (uint64_t c = first; c <= last; c++) {
		rc = open_segment(t, c, &t->seg[t->n]);
		if (rc == KEVO_NOTFOUND)
			rc = kv_fail(&t->db->env, KEVO_ECORRUPT,
			    "%s: missing", path_of(t->db, c));
		if (rc != 0)
			return rc;
		t->n++;
	}
	return 0;
}

static int
put_before(struct kv_taken *t, const struct kv_taken_segment *s)
{
	void *p = realloc(t->seg, (t->n + 1) * sizeof(t->seg[0]));

	if (p == NULL)
		return kv_fail(&t->db->env, KEVO_ENOMEM, "out of memory");
	t->seg = p;
	memmove(t->seg + 1, t->seg, t->n * sizeof(t->seg[0]));
	t->seg[0] = *s;
	t->n++;
	return 0;
}

/* What is kept of the log before the version, as far back as the commit after
 * seq. */
static int
open_older(struct kv_taken *t, uint64_t seq)
{
	struct kv_taken_segment s;
	int rc = 0;

	while (t->seg[0].head.first_seq > seq + 1 && t->seg[0].counter > 1) {
		rc = open_segment(t, t->seg[0].counter - 1, &s);
		if (rc != 0)
			break;
		if ((rc = put_before(t, &s)) != 0) {
			close(s.fd);
			break;
		}
	}
	return rc == KEVO_NOTFOUND ? 0 : rc;
}

/* Segments that end before an increment begins do not belong to it. */
static void
drop_older(struct kv_taken *t, uint64_t seq)
{
	size_t k = 0;

	while (k + 1 < t->n && t->seg[k + 1].head.first_seq <= seq + 1)
		close(t->seg[k++].fd);
	t->n -= k;
	memmove(t->seg, t->seg + k, t->n * sizeof(t->seg[0]));
}

int
kv_taken_map(struct kv_taken *t, const struct kv_taken_segment *s,
    const uint8_t **log)
{
	void *p;
	int rc = kv_map(&t->db->env, s->fd, path_of(t->db, s->counter),
	    (size_t)s->file_len, 0, &p);

	if (rc == 0)
		*log = p;
	return rc;
}

/* ---- how far ----------------------------------------------------------- */

/* What is visible is on disk once the newest segments are synced: the others
 * were when they were sealed.  A sync of somebody else that has failed, or is
 * not known to have succeeded, spoils ours. */
static int
sync_newest(struct kv_taken *t)
{
	const struct kv_control *c = t->db->ctl;
	size_t n = t->n > 2 ? 2 : t->n;
	int e;

	for (size_t i = t->n - n; i < t->n; i++)
		if ((e = kv_datasync(t->seg[i].fd)) != 0)
			return 0;
	return !atomic_load(&c->failed) && atomic_load(&c->syncing) == 0;
}

static uint64_t
how_far(struct kv_taken *t, uint64_t visible, int durable)
{
	const struct kv_control *c = t->db->ctl;
	struct timespec nap = { 0, 1000000 };
	uint64_t synced;

	for (int i = 0;; i++) {
		synced = atomic_load_explicit(&c->synced,
		    memory_order_acquire);
		if (synced >= visible)
			return visible;
		if (durable || i >= SYNC_WAIT_MS)
			return synced;
		if (sync_newest(t))
			return visible;
		nanosleep(&nap, NULL);
	}
}

/* ---- walking ----------------------------------------------------------- */

struct walk {
	struct kv_taken *t;
	uint64_t to;		/* the last commit */
	const struct kv_take_from *from;
	uint64_t seq, chain;	/* where the segment before ended */
	int found;		/* from was passed */
	int done;
};

static int
check_from(struct walk *w, const struct kv_segment_head *h, uint64_t chain)
{
	struct kv_taken *t = w->t;
	const struct kv_take_from *f = w->from;

	w->found = 1;
	t->from = f->at;
	t->from.chain = chain;
	if (f->only_seq) {
		t->from.epoch = h->epoch;
		t->from.nonce = h->nonce;
		return 0;
	}
	if (chain == f->at.chain)
		return 0;
	return kv_ship_fail(&t->db->env, KV_SHIP_FORK, "%s: at commit %llu: "
	    "the chain is %016llx here and %016llx in the backup that is to "
	    "be continued: they are of two histories; make a full one",
	    t->db->path, (unsigned long long)f->at.seq,
	    (unsigned long long)chain, (unsigned long long)f->at.chain);
}

static int
passes_from(const struct walk *w, uint64_t seq)
{
	return w->from != NULL && !w->found && seq == w->from->at.seq;
}

/* The end lies in this segment: where it is, and the seal that belongs
 * there. */
static void
cut_here(struct walk *w, struct kv_taken_segment *s, const struct kv_walk *k)
{
	struct kv_taken *t = w->t;
	struct kv_seal seal = {
		.last_seq = k->seq, .records = k->records,
		.file_len = k->off + KV_SEAL_LEN, .chain = k->chain,
		.time_ns = k->records > 0 ? k->time_ns : t->time_ns,
		.head_hash = s->head.hash
	};

	s->len = k->off;
	s->cut = 1;
	kv_seal_encode(s->seal, &seal);
	t->end.epoch = s->head.epoch;
	t->end.nonce = s->head.nonce;
	t->end.seq = k->seq;
	t->end.chain = k->chain;
	w->done = 1;
}

static int
walk_records(struct walk *w, struct kv_taken_segment *s, const uint8_t *log)
{
	enum kv_walk_result r = KV_WALK_RECORD;
	struct kv_walk k;
	int rc;

	kv_walk_start(&k, log, s->file_len, &s->head);
	if (passes_from(w, k.seq) && (rc = check_from(w, &s->head,
	    k.chain)) != 0)
		return rc;
	while (k.seq < w->to && (r = kv_walk_next(&k)) == KV_WALK_RECORD)
		if (passes_from(w, k.seq) && (rc = check_from(w, &s->head,
		    k.chain)) != 0)
			return rc;
	if (k.records > 0)
		w->t->time_ns = k.time_ns;
	if (k.seq == w->to)
		cut_here(w, s, &k);
	else if (r != KV_WALK_SEAL)
		return damaged(w->t, s->counter, k.off, "neither a record nor "
		    "the seal that must be here");
	else
		s->len = k.off + KV_SEAL_LEN;
	w->seq = k.seq;
	w->chain = k.chain;
	return 0;
}

static int
walk_segment(struct walk *w, struct kv_taken_segment *s, int first)
{
	const struct kv_version *v = w->t->version;
	const uint8_t *log;
	int rc;

	if (s->counter == v->first_segment && (s->head.first_seq !=
	    v->first_seq || s->head.chain_before != v->chain_before))
		return damaged(w->t, s->counter, 48,
		    "it does not continue the tables");
	if (!first && (s->head.first_seq != w->seq + 1 ||
	    s->head.chain_before != w->chain))
		return damaged(w->t, s->counter, 48,
		    "it does not continue the segment before it");
	if ((rc = kv_taken_map(w->t, s, &log)) != 0)
		return rc;
	rc = walk_records(w, s, log);
	kv_unmap((void *)(uintptr_t)log, (size_t)s->file_len);
	return rc;
}

/* Verify the log up to the end, and find it. */
static int
walk(struct kv_taken *t, uint64_t to, const struct kv_take_from *from)
{
	struct walk w = { .t = t, .to = to, .from = from };
	size_t i;
	int rc;

	t->time_ns = t->version->time_ns;
	/* A segment that has just been begun goes with it, though it is
	 * empty: it may be of another epoch. */
	for (i = 0; i < t->n && (!w.done || t->seg[i].head.first_seq ==
	    to + 1); i++)
		if ((rc = walk_segment(&w, &t->seg[i], i == 0)) != 0)
			return rc;
	if (!w.done)
		return damaged(t, t->seg[t->n - 1].counter, 0, "it ends "
		    "before commits that were on disk");
	while (t->n > i)
		close(t->seg[--t->n].fd);
	return 0;
}

/* ---- all together ------------------------------------------------------ */

static void
set_start(struct kv_taken *t, const struct kv_segment_head *h)
{
	t->start.epoch = h->epoch;
	t->start.nonce = h->nonce;
	t->start.seq = t->version->last_seq;
	t->start.chain = t->version->chain_before;
}

static int
check_range(struct kv_taken *t, uint64_t to, const struct kv_take_from *from)
{
	struct kevo *db = t->db;

	if (from == NULL || from->at.seq <= to)
		return 0;
	return kv_ship_fail(&db->env, KV_SHIP_FORK, "%s: its last commit is "
	    "%llu, and what is to be continued ends with %llu",
	    db->path, (unsigned long long)to,
	    (unsigned long long)from->at.seq);
}

static int
find_from(struct kv_taken *t, const struct kv_take_from *from)
{
	uint64_t seq = from->at.seq, oldest;
	int rc;

	if ((rc = open_older(t, seq)) != 0)
		return rc;
	drop_older(t, seq);
	oldest = t->seg[0].head.first_seq - 1;
	t->log_is_whole = oldest <= seq;
	t->from = from->at;
	if (t->log_is_whole || !from->need_log)
		return 0;
	return kv_fail(&t->db->env, KEVO_EHISTORY, "%s: the log behind commit "
	    "%llu is no longer kept; it begins behind %llu", t->db->path,
	    (unsigned long long)seq, (unsigned long long)oldest);
}

int
kv_take(struct kv_taken *t, struct kevo *db, const struct kv_ident *ident,
    int durable, const struct kv_take_from *from)
{
	uint64_t visible, to;
	int rc;

	memset(t, 0, sizeof(*t));
	t->db = db;
	t->ident = ident;
	if ((rc = pin(t, &visible)) != 0 || (rc = open_current(t)) != 0)
		return rc;
	to = how_far(t, visible, durable);
	set_start(t, &t->seg[0].head);
	if ((rc = check_range(t, to, from)) != 0 ||
	    (from != NULL && (rc = find_from(t, from)) != 0))
		return rc;
	return walk(t, to, from);
}

void
kv_taken_release(struct kv_taken *t)
{
	while (t->n > 0)
		close(t->seg[--t->n].fd);
	free(t->seg);
	t->seg = NULL;
	if (t->pinned)
		kv_pin_drop(t->db, t->number);
	kv_version_unref(t->version);
	t->version = NULL;
	t->pinned = 0;
}
