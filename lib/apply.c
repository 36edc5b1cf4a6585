#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "apply.h"
#include "compact.h"
#include "count.h"
#include "db.h"
#include "epoch.h"
#include "promote.h"
#include "record.h"
#include "role.h"

/*
 * Applying is appending, as in commit.c, but for three things: the records
 * are there already and are verified before the lock is taken; several go to
 * the log under one mark, of which the heir of a killed writer keeps those
 * that are whole; and a segment belongs to one epoch, so a record of the next
 * one makes us rotate first.
 */

/* Under one mark. */
#define RUN_BYTES	((uint64_t)1 << 20)
#define RUN_OPS		((uint64_t)1 << 16)

struct kv_applier {
	struct kevo *db;
	struct kv_ident ident;
	struct kv_history history;
};

/* Records that were given: verified, each behind the one before. */
struct input {
	const uint8_t *p;
	uint64_t len;
	const struct kv_apply_from *from;
	uint64_t last;		/* sequence number */
	uint64_t off;		/* of the first that is not here yet */
};

int
kv_applier_open(struct kevo *db, struct kv_applier **out)
{
	struct kv_applier *a;
	int rc;

	if ((rc = kv_usable(db)) != 0 || (rc = kv_warm_up(db)) != 0)
		return rc;
	if ((a = calloc(1, sizeof(*a))) == NULL)
		return kv_fail(&db->env, KEVO_ENOMEM, "out of memory");
	a->db = db;
	if ((rc = kv_ident_read(&db->env, &db->dir, &a->ident)) != 0 ||
	    (rc = kv_history_of_db(&db->env, &db->dir, &a->ident,
	    &a->history)) != 0) {
		kv_applier_close(a);
		return rc;
	}
	*out = a;
	return 0;
}

void
kv_applier_close(struct kv_applier *a)
{
	if (a == NULL)
		return;
	kv_history_release(&a->history);
	free(a);
}

const struct kv_history *
kv_applier_history(struct kv_applier *a)
{
	return &a->history;
}

static int
read_history(struct kv_applier *a)
{
	struct kevo *db = a->db;
	struct kv_history h;
	int rc;

	rc = kv_history_of_db(&db->env, &db->dir, &a->ident, &h);
	if (rc != 0)
		return rc;
	kv_history_release(&a->history);
	a->history = h;
	return 0;
}

/* ---- the input, before any lock ---------------------------------------- */

static int
corrupt(struct kv_applier *a, struct kv_applied *out, uint64_t seq,
    uint64_t off, const char *what)
{
	out->why = KV_APPLY_CORRUPT;
	out->seq = seq;
	out->off = off;
	return kv_fail(&a->db->env, KEVO_EINVAL, "record %" PRIu64 " at byte %"
	    PRIu64 " of the input: %s", seq, off, what);
}

static int
verify(struct kv_applier *a, struct input *in, struct kv_applied *out)
{
	const struct kv_position *before = &in->from->before;
	uint64_t chain = before->chain, seq = before->seq, off = 0, n;

	if (seq >= (uint64_t)1 << 63)
		return corrupt(a, out, seq, 0, "it cannot have this number");
	for (; off < in->len; off += n) {
		n = kv_record_verify_at(in->p + off, in->len - off,
		    before->nonce, chain, ++seq);
		if (n == 0)
			return corrupt(a, out, seq, off,
			    "it does not verify");
		if (get_le32(in->p + off + KV_FRAME_LEN) > KEVO_COMMIT_OPS)
			return corrupt(a, out, seq, off,
			    "it has too many operations");
		chain = get_le64(in->p + off + n - KV_TRAILER_LEN);
	}
	in->last = seq;
	return 0;
}

static uint64_t
record_len(const struct input *in, uint64_t off)
{
	return kv_record_len(get_le32(in->p + off));
}

/* ---- does it belong here? ---------------------------------------------- */

static int
refuse(struct kv_applied *out, enum kv_apply_class why, uint64_t expected,
    uint64_t found)
{
	out->why = why;
	out->expected = expected;
	out->found = found;
	return why == KV_APPLY_ROLE ? KEVO_EPERM : KEVO_EHISTORY;
}

static int
other_line(struct kv_applier *a, struct kv_applied *out, uint32_t epoch,
    uint64_t ours, uint64_t theirs)
{
	out->seq = 0;
	kv_fail(&a->db->env, KEVO_EHISTORY, "epoch %" PRIu32 " is %016" PRIx64
	    " here and %016" PRIx64 " in the input: two promotions to the "
	    "same number", epoch, ours, theirs);
	return refuse(out, KV_APPLY_FORK, ours, theirs);
}

static int
other_chain(struct kv_applier *a, struct kv_applied *out, uint64_t seq,
    uint64_t ours, uint64_t theirs)
{
	out->seq = seq;
	kv_fail(&a->db->env, KEVO_EHISTORY, "at commit %" PRIu64 " the chain "
	    "is %016" PRIx64 " here and %016" PRIx64 " in the input: two "
	    "writers, or a copy that was written to", seq, ours, theirs);
	return refuse(out, KV_APPLY_FORK, ours, theirs);
}

static int
unknown_epoch(struct kv_applier *a, struct kv_applied *out, uint32_t epoch)
{
	kv_fail(&a->db->env, KEVO_EHISTORY, "epoch %" PRIu32 " is not known "
	    "here; its file has to come first", epoch);
	return refuse(out, KV_APPLY_NO_EPOCH,
	    kv_history_newest(&a->history)->epoch, epoch);
}

static int
ahead(struct kv_applier *a, struct kv_applied *out, uint64_t start,
    uint64_t mine)
{
	kv_fail(&a->db->env, KEVO_EHISTORY, "%s: it has commits %" PRIu64
	    " to %" PRIu64 ", which the next epoch does without; next: kevo-"
	    "walship rejoin", a->db->path, start + 1, mine);
	return refuse(out, KV_APPLY_AHEAD, start, mine);
}

/* Under WRITER: may we apply at all? */
static int
check_role(struct kv_applier *a, struct kv_applied *out)
{
	struct kevo *db = a->db;
	enum kv_role role;
	int rc;

	if ((rc = kv_role_now(db, &role)) != 0)
		return rc;
	if (role != KV_ROLE_REPLICA) {
		kv_fail(&db->env, KEVO_EPERM, "%s: it is %s, not a replica",
		    db->path, role == KV_ROLE_PRIMARY ? "a primary" :
		    "fenced");
		return refuse(out, KV_APPLY_ROLE, KV_ROLE_REPLICA, role);
	}
	if (faccessat(db->dir.fd, KV_EPOCH_NEXT, F_OK, 0) == 0) {
		kv_fail(&db->env, KEVO_EPERM, "%s: its promotion has begun, "
		    "and is to be finished first", db->path);
		return refuse(out, KV_APPLY_ROLE, KV_ROLE_REPLICA, role);
	}
	return 0;
}

/* Under WRITER: where we are. */
static int
where(struct kv_applier *a, struct kv_position *me)
{
	const struct kv_tail *t = kv_tail(a->db->ctl);
	struct kv_seg *s;
	int rc;

	if ((rc = kv_active_seg(a->db, &s)) != 0)
		return rc;
	me->epoch = s->head.epoch;
	me->nonce = s->head.nonce;
	me->seq = t->seq;
	me->chain = t->chain;
	if (kv_history_newest(&a->history)->epoch < me->epoch)
		rc = read_history(a);
	return rc;
}

static int
check_epoch(struct kv_applier *a, const struct input *in,
    const struct kv_position *me, struct kv_applied *out)
{
	const struct kv_position *b = &in->from->before;
	const struct kv_epoch *e = kv_history_find(&a->history, b->epoch);
	const struct kv_epoch *after;

	if (e == NULL)
		return unknown_epoch(a, out, b->epoch);
	if (e->nonce != b->nonce)
		return other_line(a, out, b->epoch, e->nonce, b->nonce);
	if (b->seq < e->start)
		return corrupt(a, out, b->seq + 1, 0, "it is before the epoch "
		    "that it claims to be of");
	after = kv_history_next(&a->history, b->epoch);
	if (after != NULL && in->last > after->start) {
		kv_fail(&a->db->env, KEVO_EHISTORY, "commits %" PRIu64 " to %"
		    PRIu64 " of epoch %" PRIu32 " are orphaned: epoch %" PRIu32
		    " goes on behind %" PRIu64, after->start + 1, in->last,
		    b->epoch, after->epoch, after->start);
		return refuse(out, KV_APPLY_ORPHANED, after->start, in->last);
	}
	after = kv_history_next(&a->history, me->epoch);
	if (after != NULL && b->epoch > me->epoch && me->seq > after->start)
		return ahead(a, out, after->start, me->seq);
	return 0;
}

/* All of it is here already, it says.  What the log still has is compared. */
static int
check_old(struct kv_applier *a, const struct input *in,
    struct kv_applied *out)
{
	const struct kv_position *b = &in->from->before;
	uint64_t theirs = in->len == 0 ? b->chain :
	    get_le64(in->p + in->len - KV_TRAILER_LEN);
	struct kv_position at;
	int rc = kv_position_find(a->db, in->last, &at);

	if (rc == KEVO_NOTFOUND)
		return 0;	/* it is in tables, without its chain */
	if (rc == 0 && at.chain != theirs)
		rc = other_chain(a, out, in->last, at.chain, theirs);
	return rc;
}

/* Where what is new begins, and that it continues what we have. */
static int
check_place(struct kv_applier *a, struct input *in,
    const struct kv_position *me, struct kv_applied *out)
{
	uint64_t chain = in->from->before.chain, seq = in->from->before.seq;

	if (seq > me->seq) {
		kv_fail(&a->db->env, KEVO_EHISTORY, "%s: commit %" PRIu64 " is"
		    " missing; the input begins with %" PRIu64, a->db->path,
		    me->seq + 1, seq + 1);
		return refuse(out, KV_APPLY_GAP, me->seq + 1, seq + 1);
	}
	for (; seq < me->seq && in->off < in->len; seq++) {
		in->off += record_len(in, in->off);
		chain = get_le64(in->p + in->off - KV_TRAILER_LEN);
	}
	out->skipped = seq - in->from->before.seq;
	if (seq == me->seq)
		return chain == me->chain ? 0 : other_chain(a, out, seq,
		    me->chain, chain);
	return check_old(a, in, out);
}

/* Rotate, if the active segment is of another epoch or not a copy's. */
static int
enter_line(struct kv_applier *a, const struct input *in,
    const struct kv_position *me)
{
	const struct kv_position *b = &in->from->before;
	struct kv_line line = { b->epoch, b->nonce, KV_SEGMENT_COPIED };
	struct kv_seg *s;
	int rc;

	if ((rc = kv_active_seg(a->db, &s)) != 0)
		return rc;
	if (me->epoch == b->epoch &&
	    (s->head.flags & KV_SEGMENT_COPIED) != 0)
		return 0;
	return kv_rotate(a->db, 0, 0, &line);
}

/* ---- appending --------------------------------------------------------- */

struct run {
	uint64_t len, ops, records;
	uint64_t last;		/* where its last record begins */
};

/* As many of the next records as fit into so many bytes. */
static void
measure(const struct input *in, uint64_t room, struct run *r)
{
	uint64_t off = in->off;

	memset(r, 0, sizeof(*r));
	while (off < in->len && r->ops < RUN_OPS) {
		uint64_t n = record_len(in, off);

		if (n > room - r->len)
			return;
		r->last = r->len;
		r->len += n;
		r->ops += get_le32(in->p + off + KV_FRAME_LEN);
		r->records++;
		off += n;
	}
}

/* What still fits into the active segment, at least one record. */
static int
next_run(struct kevo *db, const struct input *in, struct run *r)
{
	uint64_t used = kv_tail(db->ctl)->off + KV_SEAL_LEN, room = 0;
	struct kv_seg *s;
	int rc;

	if ((rc = kv_active_seg(db, &s)) != 0)
		return rc;
	if (s->log_len > used)
		room = s->log_len - used;
	measure(in, room < RUN_BYTES ? room : RUN_BYTES, r);
	if (r->records == 0)
		measure(in, RUN_BYTES, r);
	if (r->records == 0)
		measure(in, record_len(in, in->off), r);
	return 0;
}

static int
append_run(struct kevo *db, const uint8_t *p, const struct run *r,
    enum kevo_sync sync)
{
	struct kv_control *c = db->ctl;
	struct kv_seg *s;
	struct kv_tail t;
	int rc;

	if ((rc = kv_log_room(db, r->len, r->ops, &s)) != 0)
		return rc;
	t = *kv_tail(c);
	kv_mark_writing(c, KV_WRITING_RECORD, t.off, r->len);	/* W2_MARK */
	memcpy(s->log + t.off, p, (size_t)r->len);		/* W3_APPEND */
	if (kv_insert_ops(db, s, t.off, r->len, t.seq + 1) != 0)
		return KEVO_EUNKNOWN;				/* W4_INSERT */
	t.off += r->len;					/* W5_TAIL */
	t.seq += r->records;
	t.time_ns = get_le64(p + r->last + 16);
	t.chain = get_le64(p + r->len - KV_TRAILER_LEN);
	kv_set_tail(c, &t);
	if (sync == KEVO_SYNC_FULL || sync == KEVO_SYNC_LATER)
		atomic_store_explicit(&c->full_to, t.seq,
		    memory_order_relaxed);
	atomic_store_explicit(&c->appended, t.seq, memory_order_release);
	kv_clear_writing(c);					/* W6_CLEAR */
	kv_count_unsynced(c, r->len);
	kv_count(c, KV_STAT_APPLIED, r->records);
	kv_count(c, KV_STAT_APPLIED_BYTES, r->len);
	return 0;
}

static int
append_all(struct kv_applier *a, struct input *in, enum kevo_sync sync,
    struct kv_applied *out)
{
	struct run r;
	int rc;

	while (in->off < in->len) {
		if ((rc = next_run(a->db, in, &r)) != 0 ||
		    (rc = append_run(a->db, in->p + in->off, &r, sync)) != 0)
			return rc;
		in->off += r.len;
		out->applied += r.records;
	}
	kv_stamp(a->db->ctl, KV_STAT_APPLIED_LAST_NS, kv_now_ns());
	return 0;
}

/* Under WRITER. */
static int
apply(struct kv_applier *a, struct input *in, enum kevo_sync sync,
    struct kv_applied *out)
{
	struct kv_position *me = &out->now;
	int rc;

	if ((rc = check_role(a, out)) != 0 || (rc = where(a, me)) != 0 ||
	    (rc = check_epoch(a, in, me, out)) != 0 ||
	    (rc = check_place(a, in, me, out)) != 0 || in->off == in->len ||
	    (rc = enter_line(a, in, me)) != 0)
		return rc;
	rc = append_all(a, in, sync, out);
	if (rc == 0)
		rc = where(a, me);
	return rc;
}

int
kv_apply(struct kv_applier *a, const struct kv_apply_from *from,
    const void *records, size_t len, enum kevo_sync sync,
    struct kv_applied *out)
{
	struct input in = { .p = records, .len = len, .from = from };
	struct kevo *db = a->db;
	uint64_t seq;
	int rc, published;

	memset(out, 0, sizeof(*out));
	if (memcmp(from->db, a->ident.id, sizeof(from->db)) != 0) {
		kv_fail(&db->env, KEVO_EHISTORY, "the input is of another "
		    "database");
		return refuse(out, KV_APPLY_WRONG_DB, 0, 0);
	}
	if ((rc = kv_usable(db)) != 0 || (rc = kv_warm_up(db)) != 0 ||
	    (rc = verify(a, &in, out)) != 0 || (rc = kv_log_lock(db)) != 0)
		return kv_result(db, rc);
	sync = kv_sync_mode(db, sync);
	rc = apply(a, &in, sync, out);
	seq = kv_tail(db->ctl)->seq;
	kv_writer_unlock(db);
	db->began_ns = 0;	/* it is no commit of ours */
	if (rc != 0 && out->applied == 0)
		return kv_result(db, rc);
	/* Who was killed before us may have appended all of it, and no more. */
	published = out->applied == 0 ? kv_publish(db, seq, sync) :
	    kv_finish_commit(db, seq, sync);
	return kv_result(db, rc != 0 ? rc : published);
}

/* ---- epochs ------------------------------------------------------------ */

/* Under WRITER: an epoch that is not known yet. */
static int
take_epoch(struct kv_applier *a, const struct kv_epoch *e,
    struct kv_applied *out)
{
	uint32_t mode = a->db->ctl->mode;
	struct kevo *db = a->db;
	struct kv_position *me = &out->now;
	int rc;

	if ((rc = check_role(a, out)) != 0 || (rc = where(a, me)) != 0)
		return rc;
	if (me->seq > e->start)
		return ahead(a, out, e->start, me->seq);
	if (me->seq == e->start && me->chain != e->chain)
		return other_chain(a, out, e->start, me->chain, e->chain);
	rc = kv_mkdir(&db->env, &db->dir, KV_EPOCHS, mode |
	    ((mode & 0444) >> 2));
	if (rc == 0)
		rc = kv_sync_dir(&db->env, &db->dir, ".");
	if (rc == 0)
		rc = kv_epoch_write(&db->env, &db->dir, KV_EPOCHS, mode, e);
	if (rc == KEVO_FALSE) {
		kv_fail(&db->env, KEVO_EHISTORY, "epoch %" PRIu32 " was taken "
		    "meanwhile, by another promotion", e->epoch);
		return refuse(out, KV_APPLY_FORK, 0, e->nonce);
	}
	return rc != 0 ? rc : kv_history_add(&db->env, &a->history, e);
}

/* 1: it is known; 0: it is new, and continues the history; else an error. */
static int
look_at_epoch(struct kv_applier *a, const struct kv_epoch *e,
    struct kv_applied *out)
{
	const struct kv_epoch *known = kv_history_find(&a->history, e->epoch);
	const struct kv_epoch *newest = kv_history_newest(&a->history);
	char ours[KV_EPOCH_TEXT_MAX], theirs[KV_EPOCH_TEXT_MAX];
	const char *why;

	if (memcmp(e->db, a->ident.id, sizeof(e->db)) != 0) {
		kv_fail(&a->db->env, KEVO_EHISTORY, "the epoch file is of "
		    "another database");
		return refuse(out, KV_APPLY_WRONG_DB, 0, 0);
	}
	if (known != NULL) {
		kv_epoch_print(ours, known);
		kv_epoch_print(theirs, e);
		return strcmp(ours, theirs) == 0 ? 1 : other_line(a, out,
		    e->epoch, known->nonce, e->nonce);
	}
	if (e->epoch > newest->epoch && e->epoch - newest->epoch > 1)
		return unknown_epoch(a, out, e->epoch - 1);
	if ((why = kv_history_refuses(&a->history, e)) == NULL)
		return 0;
	kv_fail(&a->db->env, KEVO_EHISTORY, "epoch %" PRIu32 ": %s", e->epoch,
	    why);
	return refuse(out, KV_APPLY_FORK, newest->nonce, e->parent_nonce);
}

int
kv_apply_epoch(struct kv_applier *a, const char *text, size_t len,
    struct kv_applied *out)
{
	struct kevo *db = a->db;
	struct kv_epoch e;
	const char *why;
	int rc;

	memset(out, 0, sizeof(*out));
	if (kv_epoch_parse(text, len, &e, &why) != 0) {
		out->why = KV_APPLY_CORRUPT;
		return kv_result(db, kv_fail(&db->env, KEVO_EINVAL,
		    "epoch file: %s", why));
	}
	if ((rc = kv_usable(db)) != 0 || (rc = kv_warm_up(db)) != 0 ||
	    (rc = read_history(a)) != 0)
		return kv_result(db, rc);
	rc = look_at_epoch(a, &e, out);
	if (rc != 0)
		return kv_result(db, rc == 1 ? 0 : rc);
	if ((rc = kv_log_lock(db)) == 0) {
		rc = take_epoch(a, &e, out);
		kv_writer_unlock(db);
		db->began_ns = 0;
	}
	return kv_result(db, rc);
}

void
kv_apply_beat(struct kevo *db, uint64_t primary_seq, uint64_t time_ns)
{
	if (db->ctl == NULL || db->slot == 0)
		return;
	kv_stamp(db->ctl, KV_STAT_PRIMARY_SEQ, primary_seq);
	kv_stamp(db->ctl, KV_STAT_PRIMARY_NS, time_ns);
}
