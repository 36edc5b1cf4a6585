#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "compact.h"
#include "count.h"
#include "flush_sort.h"
#include "lock.h"
#include "record.h"

/*
 * A flush reads the log itself, from its first byte to its seal, and
 * verifies it while it reads: the index is memory that was shared with
 * everybody, and what it does not show would be lost for good when the
 * segment is removed.
 */

#define SEGMENTS_MAX	16		/* in one flush */

struct flush {
	struct kv_work *w;
	struct kv_version *v;
	uint64_t last_segment;	/* the newest that may be taken */
	uint64_t safe_seq;	/* the newest commit that may be taken */
	struct kv_flushed to;
	struct kv_flush_segment segment[SEGMENTS_MAX];
	uint32_t nsegment;
	struct kv_flush_sort ops;
};

/* ---- reading the log --------------------------------------------------- */

static int
damaged(struct flush *f, uint64_t counter, uint64_t off, const char *why)
{
	struct kevo *db = f->w->db;

	return kv_segment_damaged(&db->env, &db->dir, counter, off, why);
}

static int
map_segment(struct flush *f, uint64_t counter, struct kv_flush_segment *s)
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
check_head(struct flush *f, uint64_t counter, struct kv_flush_segment *s)
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

static int
take_record(struct flush *f, const struct kv_flush_segment *s,
    const struct kv_walk *w)
{
	uint64_t off = w->rec_off + KV_FRAME_LEN;
	uint32_t count = get_le32(s->log + off);
	struct kv_op op;
	int rc;

	for (off += KV_PAYLOAD_HEAD; count > 0; count--) {
		if (kv_op_decode(s->log, s->len, off, &op) != 0)
			return damaged(f, s->head.counter, off,
			    "bad operation");
		if ((rc = kv_flush_add(&f->ops, s, w->seq, off, &op)) != 0)
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
	struct kv_flush_segment *s = &f->segment[f->nsegment];
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
	*more = counter < f->last_segment && kv_flush_memory(&f->ops) <
	    kv_setting(f->w->db->ctl, KV_SET_MEMTABLE_BYTES) &&
	    f->nsegment < SEGMENTS_MAX && !f->w->tight;
	return 0;
}

static int
take_segments(struct flush *f)
{
	int more = 1, rc;

	while (more)
		if ((rc = take_segment(f, f->to.first_segment, &more)) != 0)
			return rc;
	/* What one that was not taken to its end has left goes again. */
	kv_flush_forget(&f->ops, f->to.first_segment);
	return 0;
}

/* ---- making tables ----------------------------------------------------- */

static int
write_tables(struct flush *f, struct kv_out *o)
{
	struct kv_flush_op e;
	struct kv_op op;
	int rc;

	while (kv_flush_next(&f->ops, &e)) {
		if (e.again) {
			f->w->p.dropped++;
			continue;
		}
		if (kv_op_decode(e.s->log, e.s->len, e.off, &op) != 0)
			return damaged(f, e.s->head.counter, e.off,
			    "it changed while it was read");
		if ((rc = kv_out_add(o, e.seq, &op)) != 0)
			return rc;
	}
	return kv_out_finish(o);
}

/*
 * Where nothing in tables lies beside the keys, their tables can go to level
 * 1 at once: what is loaded in order, or first, is written once.
 */
static uint32_t
choose_level(const struct flush *f)
{
	struct kv_flush_keys k;

	kv_flush_range(&f->ops, &k);
	return k.first == NULL || kv_levels_overlap(f->v, 0, 1, k.first,
	    k.first_len, k.last, k.last_len) ? 0 : 1;
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

	if (f->w->tight && kv_spare_may_take(f->w) &&
	    kv_free_bytes(&db->env, &db->dir, &left) == 0 &&
	    kv_room_for(f->ops.bytes) <= left + kv_spare_bytes(db))
		return 0;
	return kv_work_room(f->w, f->ops.bytes, "bring the log into tables");
}

static int
make_tables(struct flush *f)
{
	struct kv_out o;
	int rc, installing = 0;

	if ((rc = kv_flush_order(&f->ops)) != 0 || (rc = has_room(f)) != 0)
		return rc;
	kv_out_init(&o, f->w, f->v, choose_level(f), 0, f->ops.bytes,
	    f->to.time_ns);
	if ((rc = write_tables(f, &o)) == 0) {
		installing = 1;
		rc = install(f, &o);
	}
	kv_out_release(&o, !installing);
	return rc;
}

/* ---- all together ------------------------------------------------------ */

static void
release(struct flush *f)
{
	for (uint32_t i = 0; i < f->nsegment; i++)
		if (f->segment[i].log != NULL)
			kv_unmap((void *)(uintptr_t)f->segment[i].log,
			    (size_t)f->segment[i].len);
	kv_flush_sort_release(&f->ops);
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
	f.ops.env = &w->db->env;
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
