#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "compact.h"
#include "count.h"
#include "heap.h"
#include "key.h"
#include "lock.h"
#include "record.h"

/*
 * A flush reads the log itself, from its first byte to its seal, and
 * verifies it while it reads: the index is memory that was shared with
 * everybody, and what it does not show would be lost for good when the
 * segment is removed.
 *
 * The operations are sorted by key in runs of a bounded length, newest first
 * among equals, and the runs are merged into tables.  An entry of a run is 16
 * bytes; most comparisons are decided by the eight bytes of the key in it,
 * which are taken behind what all keys have in common.
 */

#define SEGMENTS_MAX	16		/* in one flush */
#define RUN_MAX		((size_t)1 << 20)
#define AHEAD		16		/* entries whose log is fetched early */

struct entry {
	uint64_t head;		/* of the key, behind the common part */
	uint32_t off;		/* of the operation in its segment */
	uint32_t seq;		/* of the commit, from the segment's first */
};

struct segment {
	struct kv_segment_head head;
	const uint8_t *log;
	uint64_t len;
};

struct run {
	const struct segment *s;
	struct entry *e;	/* in the flush's entries, once that is full */
	size_t first, n, at;
};

struct flush {
	struct kv_work *w;
	struct kv_version *v;
	uint64_t last_segment;	/* the newest that may be taken */
	uint64_t safe_seq;	/* the newest commit that may be taken */
	struct kv_flushed to;
	struct segment segment[SEGMENTS_MAX];
	uint32_t nsegment;
	struct entry *entry;
	size_t n, room;
	struct run *run;	/* oldest first */
	uint32_t nrun, run_room;
	uint32_t *heap, nheap;
	const uint8_t *common;	/* what every key begins with */
	uint32_t ncommon;
	uint64_t bytes;		/* of the operations */
};

/* ---- reading the log --------------------------------------------------- */

static int
damaged(struct flush *f, uint64_t counter, uint64_t off, const char *why)
{
	struct kevo *db = f->w->db;
	char name[KV_SEGMENT_NAME_LEN];

	kv_segment_name(name, counter);
	return kv_fail(&db->env, KEVO_ECORRUPT, "%s: damaged at byte %llu: %s",
	    kv_path(&db->dir, name), (unsigned long long)off, why);
}

static int
map_segment(struct flush *f, uint64_t counter, struct segment *s)
{
	struct kevo *db = f->w->db;
	char name[KV_SEGMENT_NAME_LEN];
	const char *full;
	void *p;
	int fd, rc;

	kv_segment_name(name, counter);
	full = kv_path(&db->dir, name);
	fd = kv_openat(db->dir.fd, name, O_RDONLY, 0);
	if (fd < 0 && errno == ENOENT)
		return damaged(f, counter, 0, "it is missing");
	if (fd < 0)
		return kv_fail_errno(&db->env, full, "open");
	rc = kv_file_stat(&db->env, fd, full, &s->len, NULL, NULL);
	if (rc == 0 && (s->len < KV_SEGMENT_HEAD || s->len > KV_SEGMENT_MAX))
		rc = damaged(f, counter, 0, "impossible length");
	if (rc == 0 && (rc = kv_map(&db->env, fd, full, (size_t)s->len, 0,
	    &p)) == 0)
		s->log = p;
	close(fd);
	return rc;
}

/* Does it continue what is in tables, or was read before it? */
static int
check_head(struct flush *f, uint64_t counter, struct segment *s)
{
	const struct kv_segment_head *h = &s->head;

	if (kv_segment_head_decode(s->log, &s->head) != 0)
		return damaged(f, counter, 0, "bad segment header");
	if (memcmp(h->id, f->w->db->ctl->id, 16) != 0)
		return damaged(f, counter, 16,
		    "it belongs to another database");
	if (h->counter != counter || h->first_seq != f->to.first_seq ||
	    h->chain_before != f->to.chain_before)
		return damaged(f, counter, 48,
		    "it does not continue the segment before it");
	return 0;
}

/* ---- entries ----------------------------------------------------------- */

static int
grow(struct kv_env *env, void *pp, size_t *room, size_t first, size_t size)
{
	size_t n = *room != 0 ? 2 * *room : first;
	void *p = realloc(*(void **)pp, n * size);

	if (p == NULL)
		return kv_fail(env, KEVO_ENOMEM, "out of memory");
	*(void **)pp = p;
	*room = n;
	return 0;
}

static int
begin_run(struct flush *f, const struct segment *s)
{
	size_t room = f->run_room;
	int rc;

	if (f->nrun == f->run_room) {
		rc = grow(&f->w->db->env, &f->run, &room, 16,
		    sizeof(f->run[0]));
		if (rc != 0)
			return rc;
		f->run_room = (uint32_t)room;
	}
	memset(&f->run[f->nrun], 0, sizeof(f->run[0]));
	f->run[f->nrun].s = s;
	f->run[f->nrun++].first = f->n;
	return 0;
}

static void
note_common(struct flush *f, const struct kv_op *op)
{
	uint32_t n = 0;

	if (f->common == NULL) {
		f->common = op->key;
		f->ncommon = op->klen;
		return;
	}
	while (n < f->ncommon && n < op->klen && f->common[n] == op->key[n])
		n++;
	f->ncommon = n;
}

static int
add_entry(struct flush *f, const struct segment *s, uint64_t seq,
    uint64_t off, const struct kv_op *op)
{
	struct entry *e;
	int rc;

	if (f->nrun == 0 || f->run[f->nrun - 1].s != s ||
	    f->run[f->nrun - 1].n == RUN_MAX)
		if ((rc = begin_run(f, s)) != 0)
			return rc;
	if (f->n == f->room && (rc = grow(&f->w->db->env, &f->entry, &f->room,
	    (size_t)1 << 12, sizeof(f->entry[0]))) != 0)
		return rc;
	e = &f->entry[f->n++];
	e->off = (uint32_t)off;
	e->seq = (uint32_t)(seq - s->head.first_seq);
	f->run[f->nrun - 1].n++;
	f->bytes += op->len;
	note_common(f, op);
	return 0;
}

static int
take_record(struct flush *f, const struct segment *s, const struct kv_walk *w)
{
	uint64_t off = w->rec_off + KV_FRAME_LEN;
	uint32_t count = get_le32(s->log + off);
	struct kv_op op;
	int rc;

	for (off += KV_PAYLOAD_HEAD; count > 0; count--) {
		if (kv_op_decode(s->log, s->len, off, &op) != 0)
			return damaged(f, s->head.counter, off,
			    "bad operation");
		if ((rc = add_entry(f, s, w->seq, off, &op)) != 0)
			return rc;
		off += op.len;
	}
	return kv_work_step(f->w, w->rec_len, 0);
}

/*
 * Take one more segment.  KEVO_FALSE in *more: it has a commit that not every
 * reader may see yet, so it stays in the log (never so with a sealed one, but
 * a version must not claim what is not visible).
 */
static int
take_segment(struct flush *f, uint64_t counter, int *more)
{
	struct segment *s = &f->segment[f->nsegment];
	enum kv_walk_result r;
	struct kv_walk w;
	int rc;

	memset(s, 0, sizeof(*s));
	f->nsegment++;
	if ((rc = map_segment(f, counter, s)) != 0 ||
	    (rc = check_head(f, counter, s)) != 0)
		return rc;
	kv_walk_start(&w, s->log, s->len, &s->head);
	while ((r = kv_walk_next(&w)) == KV_WALK_RECORD) {
		if (w.seq > f->safe_seq) {
			*more = 0;
			return 0;
		}
		if ((rc = take_record(f, s, &w)) != 0)
			return rc;
	}
	if (r != KV_WALK_SEAL)
		return damaged(f, counter, w.off,
		    "neither a record nor the seal that must be here");
	f->to.first_segment = counter + 1;
	f->to.first_seq = w.seq + 1;
	f->to.chain_before = w.chain;
	if (w.records > 0)
		f->to.time_ns = w.time_ns;
	/* What is sorted takes about as much memory as a segment, at most. */
	*more = counter < f->last_segment && f->n * sizeof(struct entry) <
	    kv_setting(f->w->db->ctl, KV_SET_MEMTABLE_BYTES) &&
	    f->nsegment < SEGMENTS_MAX && !f->w->tight;
	return 0;
}

/* What a segment that was not taken to its end has left goes again. */
static void
forget_rest(struct flush *f)
{
	uint64_t next = f->to.first_segment;

	while (f->nrun > 0 && f->run[f->nrun - 1].s->head.counter >= next)
		f->n = f->run[--f->nrun].first;
}

static int
take_segments(struct flush *f)
{
	int more = 1, rc;

	while (more)
		if ((rc = take_segment(f, f->to.first_segment, &more)) != 0)
			return rc;
	forget_rest(f);
	return 0;
}

/* ---- sorting ----------------------------------------------------------- */

static inline void
key_of(const struct segment *s, const struct entry *e, const uint8_t **key,
    uint32_t *klen)
{
	/* It was decoded before, so it lies within the log. */
	if (kv_op_key(s->log, s->len, e->off, key, klen) != 0) {
		*key = s->log;
		*klen = 0;
	}
}

static int
compare_whole(const struct segment *sa, const struct entry *a,
    const struct segment *sb, const struct entry *b)
{
	const uint8_t *ka, *kb;
	uint32_t la, lb;

	key_of(sa, a, &ka, &la);
	key_of(sb, b, &kb, &lb);
	return kv_key_cmp(ka, la, kb, lb);
}

static inline int
compare_keys(const struct segment *sa, const struct entry *a,
    const struct segment *sb, const struct entry *b)
{
	if (a->head != b->head)
		return a->head < b->head ? -1 : 1;
	return compare_whole(sa, a, sb, b);
}

static void
fill_heads(struct flush *f, struct run *r)
{
	const uint8_t *key;
	uint32_t klen;

	for (size_t i = 0; i < r->n; i++) {
		key_of(r->s, &r->e[i], &key, &klen);
		r->e[i].head = klen < f->ncommon ? 0 :
		    kv_key_head(key + f->ncommon, klen - f->ncommon);
	}
}

static void
insertion_sort(const struct segment *s, struct entry *e, size_t n)
{
	for (size_t i = 1; i < n; i++) {
		struct entry x = e[i];
		size_t k = i;

		/* Later is newer: among equals it comes first. */
		while (k > 0 && compare_keys(s, &x, s, &e[k - 1]) <= 0) {
			e[k] = e[k - 1];
			k--;
		}
		e[k] = x;
	}
}

/* tmp has room for half of n. */
static void
merge_sort(const struct segment *s, struct entry *e, size_t n,
    struct entry *tmp)
{
	size_t half = n / 2, i = 0, k = half, out = 0;

	if (n <= 12) {
		insertion_sort(s, e, n);
		return;
	}
	merge_sort(s, e, half, tmp);
	merge_sort(s, e + half, n - half, tmp);
	if (compare_keys(s, &e[half - 1], s, &e[half]) < 0)
		return;		/* in order already */
	memcpy(tmp, e, half * sizeof(*e));
	while (i < half && k < n) {
		if (compare_keys(s, &e[k], s, &tmp[i]) <= 0)
			e[out++] = e[k++];
		else
			e[out++] = tmp[i++];
	}
	memcpy(e + out, tmp + i, (half - i) * sizeof(*e));
}

static int
sort_runs(struct flush *f)
{
	size_t longest = 0;
	struct entry *tmp;

	for (uint32_t i = 0; i < f->nrun; i++)
		if (f->run[i].n > longest)
			longest = f->run[i].n;
	if ((tmp = malloc((longest / 2 + 1) * sizeof(*tmp))) == NULL)
		return kv_fail(&f->w->db->env, KEVO_ENOMEM, "out of memory");
	for (uint32_t i = 0; i < f->nrun; i++) {
		f->run[i].e = f->entry + f->run[i].first;
		fill_heads(f, &f->run[i]);
		merge_sort(f->run[i].s, f->run[i].e, f->run[i].n, tmp);
	}
	free(tmp);
	return 0;
}

/* ---- merging the runs -------------------------------------------------- */

static int
run_before(const void *ctx, uint32_t a, uint32_t b)
{
	const struct flush *f = ctx;
	const struct run *x = &f->run[a], *y = &f->run[b];
	int c = compare_keys(x->s, &x->e[x->at], y->s, &y->e[y->at]);

	return c != 0 ? c < 0 : a > b;	/* the newer run first */
}

static int
build_heap(struct flush *f)
{
	f->heap = malloc((f->nrun + 1) * sizeof(f->heap[0]));
	if (f->heap == NULL)
		return kv_fail(&f->w->db->env, KEVO_ENOMEM, "out of memory");
	for (uint32_t i = 0; i < f->nrun; i++)
		f->heap[f->nheap++] = i;
	kv_heap_build(f->heap, f->nheap, run_before, f);
	return 0;
}

/* Keys and small values come from all over the log. */
static inline void
fetch_early(const struct segment *s, uint32_t off)
{
	__builtin_prefetch(s->log + off);
	__builtin_prefetch(s->log + off + 64);
	__builtin_prefetch(s->log + off + 128);
}

static void
advance(struct flush *f)
{
	struct run *r = &f->run[f->heap[0]];

	if (++r->at == r->n)
		f->heap[0] = f->heap[--f->nheap];
	else if (r->at + AHEAD < r->n)
		fetch_early(r->s, r->e[r->at + AHEAD].off);
	if (f->nheap > 1)
		kv_heap_sift(f->heap, f->nheap, 0, run_before, f);
}

static int
write_tables(struct flush *f, struct kv_out *o)
{
	const struct segment *last_s = NULL;
	struct entry last = { 0, 0, 0 };
	struct kv_op op;
	int rc;

	if ((rc = build_heap(f)) != 0)
		return rc;
	while (f->nheap > 0) {
		const struct run *r = &f->run[f->heap[0]];
		struct entry e = r->e[r->at];
		const struct segment *s = r->s;

		advance(f);
		if (last_s != NULL && compare_keys(s, &e, last_s, &last) == 0) {
			f->w->p.dropped++;
			continue;
		}
		last = e;
		last_s = s;
		if (kv_op_decode(s->log, s->len, e.off, &op) != 0)
			return damaged(f, s->head.counter, e.off,
			    "it changed while it was read");
		rc = kv_out_add(o, s->head.first_seq + e.seq, &op);
		if (rc != 0)
			return rc;
	}
	return kv_out_finish(o);
}

/* ---- all together ------------------------------------------------------ */

/*
 * Where nothing in tables lies beside the keys, their tables can go to level
 * 1 at once: what is loaded in order, or first, is written once.
 */
static uint32_t
choose_level(const struct flush *f)
{
	const uint8_t *first = NULL, *last = NULL;
	uint32_t first_len = 0, last_len = 0;

	for (uint32_t i = 0; i < f->nrun; i++) {
		const struct run *r = &f->run[i];
		const uint8_t *key;
		uint32_t klen;

		key_of(r->s, &r->e[0], &key, &klen);
		if (first == NULL || kv_key_cmp(key, klen, first,
		    first_len) < 0) {
			first = key;
			first_len = klen;
		}
		key_of(r->s, &r->e[r->n - 1], &key, &klen);
		if (last == NULL || kv_key_cmp(key, klen, last,
		    last_len) > 0) {
			last = key;
			last_len = klen;
		}
	}
	return first == NULL || kv_levels_overlap(f->v, 0, 1, first, first_len,
	    last, last_len) ? 0 : 1;
}

static int
install(struct flush *f, struct kv_out *o)
{
	struct kv_change ch = { .add = o->add, .nadd = o->n,
		.dropped_to = o->dropped_to, .flushed = &f->to };
	int rc = kv_install(f->w, &f->v, &ch);

	if (rc == KV_RETRY)
		return kv_fail(&f->w->db->env, KEVO_EREPLACED, "%s: its log "
		    "was brought into tables by another process that does not "
		    "share our locks", f->w->db->path);
	return rc;
}

/* In the reserve there is room for the table of one segment, unless that is
 * larger than others for the sake of a large commit. */
static int
has_room(struct flush *f)
{
	struct kevo *db = f->w->db;
	uint64_t left = 0;

	if (f->w->tight && kv_free_bytes(&db->env, &db->dir, &left) == 0 &&
	    kv_room_for(f->bytes) <= left + kv_spare_bytes(db))
		return 0;
	return kv_work_room(f->w, f->bytes, "bring the log into tables");
}

static int
make_tables(struct flush *f)
{
	struct kv_out o;
	int rc, installing = 0;

	if ((rc = sort_runs(f)) != 0 || (rc = has_room(f)) != 0)
		return rc;
	kv_out_init(&o, f->w, f->v, choose_level(f), 0, f->bytes,
	    f->to.time_ns);
	if ((rc = write_tables(f, &o)) == 0) {
		installing = 1;
		rc = install(f, &o);
	}
	kv_out_release(&o, !installing);
	return rc;
}

static void
release(struct flush *f)
{
	for (uint32_t i = 0; i < f->nsegment; i++)
		if (f->segment[i].log != NULL)
			kv_unmap((void *)(uintptr_t)f->segment[i].log,
			    (size_t)f->segment[i].len);
	free(f->entry);
	free(f->run);
	free(f->heap);
	kv_version_unref(f->v);
}

uint64_t
kv_sealed(const struct kevo *db, const struct kv_version *v)
{
	uint64_t active = atomic_load_explicit(&db->ctl->active,
	    memory_order_acquire);

	return active > v->first_segment ? active - v->first_segment : 0;
}

uint64_t
kv_sealed_now(const struct kevo *db)
{
	return atomic_load_explicit(&db->ctl->active, memory_order_relaxed) -
	    atomic_load_explicit(&db->ctl->first, memory_order_relaxed);
}

static int
prepare(struct flush *f)
{
	const struct kv_control *c;
	uint64_t synced, visible;
	int rc;

	if ((rc = kv_work_check(f->w)) != 0 ||
	    (rc = kv_newest_version(f->w->db, &f->v)) != 0)
		return rc;
	c = f->w->db->ctl;
	synced = atomic_load_explicit(&c->synced, memory_order_acquire);
	visible = atomic_load_explicit(&c->visible, memory_order_acquire);
	f->safe_seq = synced < visible ? synced : visible;
	f->last_segment = f->v->first_segment + kv_sealed(f->w->db, f->v) - 1;
	f->to.from_segment = f->to.first_segment = f->v->first_segment;
	f->to.first_seq = f->v->first_seq;
	f->to.chain_before = f->v->chain_before;
	f->to.time_ns = f->v->time_ns;
	return 0;
}

void
kv_flush_beat(struct kv_work *w)
{
	w->flushing = 1;
	kv_holder_set(&w->db->ctl->flusher, w->db->pid, w->db->program,
	    (uint64_t)kv_mono_ms());
}

static int
flush_locked(struct kv_work *w, uint64_t *n)
{
	struct kv_mark mark;
	struct flush f;
	int rc;

	memset(&f, 0, sizeof(f));
	f.w = w;
	kv_work_mark(w, &mark);
	if ((rc = prepare(&f)) != 0 || kv_sealed(w->db, f.v) == 0)
		goto out;
	kv_flush_beat(w);
	if ((rc = take_segments(&f)) == 0 &&
	    f.to.first_segment > f.to.from_segment &&
	    (rc = make_tables(&f)) == 0) {
		*n = f.to.first_segment - f.to.from_segment;
		w->p.flushed += *n;
		kv_work_count(w, &mark, 1);
		kv_count(w->db->ctl, KV_STAT_FLUSH_SEGMENTS, *n);
	}
out:
	release(&f);
	return rc;
}

/* A failed sync may have taken control from us, for a new one. */
static void
leave(struct kv_work *w)
{
	if (w->flushing && w->db->ctl != NULL)
		atomic_store_explicit(&w->db->ctl->flusher.since_ms, 0,
		    memory_order_relaxed);
	w->flushing = 0;
	kv_flush_leave(w->db->lock_fd);
}

/* Writers wait for a flush, so it is not held to the rate.  Where there is no
 * room for several segments there may be some for one, and then more. */
int
kv_flush(struct kv_work *w, uint64_t *n)
{
	uint64_t rate = w->rate;
	int rc;

	*n = 0;
	if (!kv_flush_try(w->db->lock_fd)) {
		w->p.busy = 1;
		return 0;
	}
	w->rate = 0;
	rc = flush_locked(w, n);
	if (rc == KV_RETRY) {
		w->no_room = NULL;
		w->tight = 1;
		rc = flush_locked(w, n);
		w->tight = 0;
	}
	w->rate = rate;
	leave(w);
	return rc == KV_RETRY ? 0 : rc;
}
