#include <string.h>

#include "compact.h"
#include "count.h"
#include "join.h"
#include "lock.h"
#include "record.h"
#include "role.h"
#include "slots.h"

/*
 * Committing.  The steps have the names that tests/model gives them.
 *
 *   W1_LOCK    take WRITER; an owner that died may have left a mark
 *   W2_MARK    writing = what may be torn from here on
 *   W3_APPEND  the record goes to the log
 *   W4_INSERT  its keys go to the index, under a sequence number that no
 *              reader looks for yet
 *   W5_TAIL    the log ends behind it
 *   W6_CLEAR   writing = nothing
 *   W7_UNLOCK
 *   S1_LOCK    take SYNC, unless another's sync covered us meanwhile
 *   S2_MARK    syncing counts one more sync that has begun
 *   S3_SYNC    fdatasync
 *   S4_PUBLISH visible and then synced rise to the end that was loaded
 *              before; syncing counts one less
 *
 * A dies between any two of W2 and W7: B inherits WRITER and looks at the
 * mark.  A whole record is rolled forward (inserting is idempotent), a torn
 * one is zeroed; no index entry can point at a torn one, since W4 begins
 * when the record is whole.  A dies in S3: synced did not move, but the
 * kernel may have told A alone that pages were lost and marked them clean.
 * So who finds S2's mark writes those bytes again before it syncs.
 *
 * Only the active segment has unsynced bytes: rotation syncs the old one
 * before the new one exists.  So a syncer that loads `appended` and then
 * `active` syncs what it needs: if the rotation lies between the two, the
 * end it loaded is on disk already.
 */

/* How far ahead of the records space is reserved: as much as there is, at
 * least and at most this. */
#define RESERVE_MIN	((uint64_t)64 << 10)
#define RESERVE_MAX	((uint64_t)1 << 20)

/* What is written goes to disk in parts of this. */
#define WRITE_OUT	((uint64_t)4 << 20)

const struct kv_tail *
kv_tail(const struct kv_control *c)
{
	return &c->tail[atomic_load_explicit(&c->tail_turn,
	    memory_order_acquire) & 1];
}

int
kv_tail_copy(const struct kv_control *c, struct kv_tail *t)
{
	uint64_t turn = atomic_load_explicit(&c->tail_turn,
	    memory_order_acquire);

	*t = c->tail[turn & 1];
	atomic_thread_fence(memory_order_acquire);
	return atomic_load_explicit(&c->tail_turn, memory_order_relaxed) ==
	    turn;
}

void
kv_set_tail(struct kv_control *c, const struct kv_tail *t)
{
	uint64_t turn = atomic_load_explicit(&c->tail_turn,
	    memory_order_relaxed);

	c->tail[(turn + 1) & 1] = *t;
	atomic_store_explicit(&c->tail_turn, turn + 1, memory_order_release);
}

void
kv_mark_writing(struct kv_control *c, uint64_t kind, uint64_t off, uint64_t len)
{
	atomic_store_explicit(&c->writing_off, off, memory_order_relaxed);
	atomic_store_explicit(&c->writing_len, len, memory_order_relaxed);
	atomic_store_explicit(&c->writing, kind, memory_order_release);
}

void
kv_clear_writing(struct kv_control *c)
{
	atomic_store_explicit(&c->writing, KV_WRITING_NOTHING,
	    memory_order_release);
}

int
kv_active_seg(struct kevo *db, struct kv_seg **out)
{
	int rc = kv_view_seg(db, db->view, db->view->last, out);

	if (rc != KV_RETRY)
		return rc;
	/* Somebody removed the file; the next attempt builds all anew. */
	db->broken = db->view->generation;
	return kv_index_missing(db);
}

static int
insert_record(struct kv_index_group *g, uint64_t off, uint64_t seq)
{
	const struct kv_index *ix = g->ix;
	uint32_t count = get_le32(ix->log + off + KV_FRAME_LEN);
	struct kv_op op;

	for (off += KV_FRAME_LEN + KV_PAYLOAD_HEAD; count > 0; count--) {
		if (kv_op_decode(ix->log, ix->log_len, off, &op) != 0 ||
		    kv_index_add(g, seq, (uint32_t)off) != 0)
			return -1;
		off += op.len;
	}
	return 0;
}

int
kv_insert_ops(struct kevo *db, struct kv_seg *s, uint64_t off, uint64_t len,
    uint64_t seq)
{
	struct kv_index_group g = { .ix = &s->ix };
	uint64_t end = off + len;
	int rc = 0;

	for (; off < end && rc == 0; seq++) {
		rc = insert_record(&g, off, seq);
		off += kv_record_len(get_le32(s->log + off));
	}
	if (rc == 0 && kv_index_flush(&g) == 0)
		return 0;
	return kv_fail(&db->env, KEVO_ECORRUPT, "%s: index of segment %llu is "
	    "damaged; remove %s/shm when no process uses the database",
	    db->path, (unsigned long long)s->counter, db->path);
}

/* ---- the writer's lock ------------------------------------------------- */

static int
busy(struct kevo *db)
{
	char who[96];

	kv_holder_describe(&db->ctl->holder, who, sizeof(who));
	return kv_fail(&db->env, KEVO_EBUSY, "%s: busy: locked by %s",
	    db->path, who);
}

/* Under WRITER: is what we locked still the database? */
static int
check_place(struct kevo *db)
{
	uint64_t tick;
	int rc;

	if (atomic_load_explicit(&db->ctl->retired, memory_order_acquire) ||
	    atomic_load_explicit(&db->ctl->failed, memory_order_acquire))
		return KV_RETRY;
	tick = kv_tick();
	if (tick == db->tick)
		return 0;
	db->tick = tick;
	if ((rc = kv_lock_check(db)) != 0)
		return rc;
	return kv_control_linked(&db->env, db->ctl_fd) ? 0 : KV_RETRY;
}

/*
 * Does the log end where control says?  One comparison with the log's own
 * bytes; control may have been damaged, and what is appended at a wrong place
 * would be lost with all that follows.
 */
static int
tail_is_sound(const struct kevo *db, const struct kv_seg *s)
{
	const struct kv_tail *t = kv_tail(db->ctl);
	uint64_t chain, writing, appended;

	writing = atomic_load_explicit(&db->ctl->writing,
	    memory_order_relaxed);
	appended = atomic_load_explicit(&db->ctl->appended,
	    memory_order_relaxed);
	if (writing == KV_WRITING_SEAL)
		return 1;	/* the rotation may have moved it on */
	/* Several records at once, when they are copied. */
	if (t->seq != appended && (writing == KV_WRITING_NOTHING ||
	    t->seq < appended))
		return 0;
	return t->segment == s->counter &&
	    kv_chain_before(s, t->off, &chain) == 0 && chain == t->chain;
}

/* Take the word, and count the time if it was not free. */
static int
take_writer(struct kevo *db, int64_t deadline)
{
	struct kv_control *c = db->ctl;
	uint64_t began = db->began_ns, now = began;
	enum kv_word_result r = KV_WORD_TAKEN;

	if (!kv_word_try(&c->writer, db->slot)) {
		began = kv_mono_ns();
		r = kv_word_lock(&c->writer, db->lock_fd, db->slot, deadline);
		now = kv_mono_ns();
		kv_stall(c, KV_STALL_LOCK, now - began);
	}
	if (r == KV_WORD_TIMEOUT)
		return busy(db);
	kv_holder_set(&c->holder, db->pid, db->program, now / 1000000);
	return 0;
}

int
kv_may_write(struct kevo *db)
{
	int rc;

	if ((rc = kv_join_refuse(db, "this cannot be done")) != 0)
		return rc;
	if (db->slot == 0 || (db->flags & KEVO_RDONLY))
		return kv_fail(&db->env, KEVO_EPERM, "%s: opened for reading "
		    "only", db->path);
	if (db->txn != NULL)
		return kv_fail(&db->env, KEVO_EINVAL, "%s: a transaction is "
		    "open on this handle", db->path);
	return 0;
}

int
kv_log_lock(struct kevo *db)
{
	struct kv_seg *active;
	int64_t deadline;
	int rc, tries;

	if ((rc = kv_may_write(db)) != 0)
		return rc;
	db->began_ns = kv_mono_ns();
	deadline = kv_deadline_from(db, db->began_ns);
	for (tries = 0; tries < 16; tries++) {
		if ((rc = take_writer(db, deadline)) != 0)
			return rc;
		rc = db->broken != 0 && db->broken == db->ctl->generation ?
		    KV_RETRY : check_place(db);
		if (rc == 0 && (rc = kv_view_extend(db)) == 0 &&
		    (rc = kv_active_seg(db, &active)) == 0) {
			if (!tail_is_sound(db, active)) {
				atomic_store(&db->ctl->retired, 1);
				rc = KV_RETRY;
			} else if ((rc = kv_repair(db)) == 0) {
				if (db->conf_due)
					kv_config_refresh(db);
				return 0;
			}
		}
		if (db->broken == db->ctl->generation)
			rc = KV_RETRY;
		kv_word_unlock(&db->ctl->writer);
		if (rc != KV_RETRY)
			return rc;
		if ((rc = kv_attach(db, deadline)) != 0)
			return rc;
	}
	return kv_fail(&db->env, KEVO_EBUSY, "%s: its shared memory keeps "
	    "being rebuilt", db->path);
}

int
kv_writer_lock(struct kevo *db)
{
	int rc;

	if ((rc = kv_log_lock(db)) != 0)
		return rc;
	if (atomic_load_explicit(&db->ctl->role, memory_order_relaxed) !=
	    KV_ROLE_PRIMARY && (rc = kv_role_may_write(db)) != 0)
		kv_writer_unlock(db);
	return rc;
}

void
kv_writer_unlock(struct kevo *db)
{
	kv_word_unlock(&db->ctl->writer);
}

/* ---- appending --------------------------------------------------------- */

static int
reserve_range(struct kevo *db, struct kv_seg *s, uint64_t from, uint64_t to)
{
	char name[KV_SEGMENT_NAME_LEN];
	const char *full;
	int rc;

	kv_segment_name(name, s->counter);
	full = kv_path(&db->dir, name);
	rc = kv_reserve(&db->env, s->fd, full, from, to - from);
	if (rc == 0)
		rc = kv_write_zeros(&db->env, s->fd, full, from, to - from);
	if (rc == 0)
		atomic_store_explicit(&db->ctl->reserved_to, to,
		    memory_order_relaxed);
	return rc;
}

/*
 * Make the log exist on disk up to end, and some way beyond.  Records are
 * copied into the mapped file: a small pwrite() costs forty times as much,
 * since the page cache holds files in large pieces and looks through a whole
 * piece at each write.  A map cannot report an error, so every byte is
 * written by pwrite() once, here, as zeros, where ENOSPC and EIO are results.
 */
static int
reserve_log(struct kevo *db, struct kv_seg *s, uint64_t end)
{
	struct kv_control *c = db->ctl;
	uint64_t from = atomic_load_explicit(&c->reserved_to,
	    memory_order_relaxed);
	uint64_t used = kv_tail(c)->off, step, to;
	int rc;

	if (end <= from)
		return 0;
	if (from < used)
		from = used;	/* whatever control says: no record is zeroed */
	step = from;
	if (step < RESERVE_MIN)
		step = RESERVE_MIN;
	if (step > RESERVE_MAX)
		step = RESERVE_MAX;
	to = end > from + step ? end : from + step;
	if (to > s->log_len)
		to = s->log_len;
	rc = reserve_range(db, s, from, to);
	if (rc == KEVO_EIO && to > end)
		rc = reserve_range(db, s, from, end);	/* a nearly full disk */
	return rc;
}

static int
make_room(struct kevo *db, uint64_t total, uint64_t nops, struct kv_seg **out)
{
	struct kv_control *c = db->ctl;
	struct kv_seg *s;
	int rc;

	if ((rc = kv_active_seg(db, &s)) != 0)
		return rc;
	if (kv_tail(c)->off + total + KV_SEAL_LEN > s->log_len ||
	    (rc = kv_index_grow(db, s, nops)) == KV_RETRY) {
		if ((rc = kv_slots_may_grow(db)) != 0 ||
		    (rc = kv_debt_may_grow(db)) != 0)
			return rc;
		rc = kv_rotate(db, total, nops, NULL);
		if (rc == KEVO_EUNKNOWN)
			rc = KEVO_EIO;	/* earlier commits; not this one */
		db->rotated = 1;
		if (rc != 0 || (rc = kv_active_seg(db, &s)) != 0)
			return rc;
		rc = kv_index_grow(db, s, nops);
		if (rc == KV_RETRY)
			rc = kv_fail(&db->env, KEVO_ELIMIT, "commit too large "
			    "for its index; commit in parts");
	}
	if (rc != 0)
		return rc;
	*out = s;
	return reserve_log(db, s, kv_tail(c)->off + total + KV_SEAL_LEN);
}

/* A full disk is a reason to give up what a slow replica keeps of it. */
int
kv_log_room(struct kevo *db, uint64_t total, uint64_t nops,
    struct kv_seg **out)
{
	int rc;

	do
		rc = make_room(db, total, nops, out);
	while (rc == KEVO_EIO && kv_slots_relieve(db, total));
	return rc;
}

/* Frame, padding and trailer around the operations of a batch. */
static uint64_t
finish_record(struct kevo_batch *b, const struct kv_tail *t, uint64_t nonce,
    uint64_t synced, uint64_t *time_ns)
{
	struct kv_frame f;
	uint64_t total, now = kv_now_ns();

	put_le32(b->buf + KV_FRAME_LEN, b->count);
	put_le32(b->buf + KV_FRAME_LEN + 4, 0);
	f.payload_len = (uint32_t)(b->len - KV_FRAME_LEN);
	f.type = b->mark ? KV_RECORD_MARK : KV_RECORD_COMMIT;
	f.seq = t->seq + 1;
	f.time_ns = now > t->time_ns ? now : t->time_ns + 1;
	f.durable = synced;
	kv_frame_encode(b->buf, &f, nonce);
	total = kv_record_len(f.payload_len);
	memset(b->buf + b->len, 0, (size_t)(total - KV_TRAILER_LEN - b->len));
	put_le64(b->buf + total - KV_TRAILER_LEN,
	    kv_chain(b->buf, total - KV_TRAILER_LEN, t->chain));
	*time_ns = f.time_ns;
	return total;
}

/* Under WRITER.  A commit that is going to wait for the disk is timed when it
 * has. */
static void
count_commit(struct kevo *db, const struct kevo_batch *b, uint64_t total,
    enum kevo_sync sync)
{
	struct kv_control *c = db->ctl;

	kv_count(c, KV_STAT_COMMITS, 1);
	kv_count(c, KV_STAT_PUTS, b->count - b->deletes);
	if (b->deletes != 0)
		kv_count(c, KV_STAT_DELETES, b->deletes);
	if (b->count > 1)
		kv_count(c, KV_STAT_BATCHES, 1);
	kv_count(c, KV_STAT_USER_BYTES, b->user_bytes);
	kv_count(c, KV_STAT_LOG_BYTES, total);
	if (kv_will_sync(db, sync))
		return;
	kv_time(c, KV_HIST_COMMIT, kv_mono_ns() - db->began_ns);
	db->began_ns = 0;
}

/*
 * The sync at the end of a segment is waited for by all writers.  So that it
 * finds little to do, the log goes to disk meanwhile, part by part, and each
 * of them once: only behind the end of the log, where nothing is written
 * again.  It is seen to by who completes a part, when it has left WRITER.
 */
static void
note_complete(struct kevo *db, const struct kv_seg *s, uint64_t from,
    uint64_t to)
{
	from -= from % WRITE_OUT;
	to -= to % WRITE_OUT;
	if (from < to)
		db->complete = (struct kv_log_part) { s->counter, from, to };
}

void
kv_log_write_out(struct kevo *db)
{
	struct kv_log_part part = db->complete;
	const struct kv_view *v = db->view;
	const struct kv_seg *s = v->seg[v->last - v->base];

	db->complete.to = 0;
	if (s != NULL && s->counter == part.segment && s->fd >= 0)
		kv_write_out(s->fd, part.from, part.to - part.from);
}

int
kv_append(struct kevo *db, struct kevo_batch *b, enum kevo_sync sync,
    uint64_t *seq)
{
	struct kv_control *c = db->ctl;
	uint64_t total = kv_record_len((uint32_t)(b->len - KV_FRAME_LEN));
	struct kv_seg *s;
	struct kv_tail t;
	uint64_t time_ns;
	int rc;

	if ((rc = kv_log_room(db, total, b->count, &s)) != 0)
		return rc;
	kv_index_expect(&s->ix, b->buf, b->len, KV_FRAME_LEN +
	    KV_PAYLOAD_HEAD);
	t = *kv_tail(c);
	finish_record(b, &t, s->head.nonce, atomic_load_explicit(&c->synced,
	    memory_order_relaxed), &time_ns);
	kv_mark_writing(c, KV_WRITING_RECORD, t.off, total);	/* W2_MARK */
	memcpy(s->log + t.off, b->buf, (size_t)total);		/* W3_APPEND */
	/* The next owner of WRITER would roll it forward. */
	if (kv_insert_ops(db, s, t.off, total, t.seq + 1) != 0)	/* W4_INSERT */
		return KEVO_EUNKNOWN;
	t.off += total;						/* W5_TAIL */
	t.seq++;
	t.time_ns = time_ns;
	t.chain = get_le64(b->buf + total - KV_TRAILER_LEN);
	kv_set_tail(c, &t);
	if (sync == KEVO_SYNC_FULL || sync == KEVO_SYNC_LATER)
		atomic_store_explicit(&c->full_to, t.seq,
		    memory_order_relaxed);
	atomic_store_explicit(&c->appended, t.seq, memory_order_release);
	kv_clear_writing(c);					/* W6_CLEAR */
	note_complete(db, s, t.off - total, t.off);
	kv_count_unsynced(c, total);
	count_commit(db, b, total, sync);
	*seq = t.seq;
	return 0;
}
