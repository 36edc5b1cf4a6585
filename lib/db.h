/*
 * db: what an open handle consists of; shared by the files that make up the
 * engine's upper storey (open, rebuild, view, commit, txn, iter, kevo).
 *
 * A handle belongs to one thread.  What it maps is reached through a view:
 * an immutable list of segments, counted, so that a snapshot keeps the list
 * it was made with while the handle goes on to a newer one.
 */
#ifndef KV_DB_H
#define KV_DB_H

#include <stddef.h>
#include <stdint.h>

#include "control.h"
#include "env.h"
#include "file.h"
#include "ident.h"
#include "kevo.h"
#include "memindex.h"
#include "segment.h"

/* Not for callers of the library: the generation of shared memory moved on
 * while we looked; attach again and repeat. */
#define KV_RETRY	100

/* One mapped log segment with its index. */
struct kv_seg {
	uint32_t refs;
	uint64_t counter;
	struct kv_segment_head head;
	int fd;			/* of the log, for appending; else -1 */
	int idx_fd;		/* to look at its size; -1: private memory */
	uint8_t *log;
	uint64_t log_len;	/* mapped */
	void *arena;
	uint64_t arena_mapped;
	struct kv_index ix;
};

struct kv_view {
	uint32_t refs;
	uint64_t generation;
	uint64_t first, last;	/* counters */
	struct kv_seg *seg[];	/* last - first + 1; NULL: not mapped yet */
};

struct kv_op;

struct kevo_batch {
	struct kevo *db;
	uint8_t *buf;		/* frame, payload head, operations */
	uint64_t len;		/* bytes used, frame and head included */
	uint64_t room;
	uint32_t count;
};

struct kevo {
	struct kv_env env;
	char *path;
	struct kv_dir dir;
	struct kv_names names;
	unsigned flags;
	const char *program;
	uint32_t pid;
	int64_t wait_ms;
	enum kevo_sync sync;

	int lock_fd;		/* LOCK; -1: a reader */
	uint32_t slot;		/* 0: a reader */
	struct kv_control *ctl;
	int ctl_fd;		/* -1: ctl is private memory */
	int private_index;	/* built for this handle alone, */
	uint64_t unusable;	/* since control had this stamp */
	int opened;		/* kevo_open() succeeded */
	struct kv_view *view;
	struct kv_cold *cold;	/* a reader that has mapped nothing yet */
	uint64_t tick;		/* when the files were last looked at */
	uint64_t broken;	/* generation whose index files are missing */

	struct kevo_batch one;	/* for kevo_put() and kevo_delete() */
	struct kevo_txn *txn;	/* open on this handle */
	uint64_t batch_to;	/* last BATCH or LATER commit, not known to be
				 * synced */

	uint32_t fork_count;	/* of the process when it was opened */
	struct kevo *next, **prevp;	/* all handles; fork.c */
};

/* ---- fork.c ------------------------------------------------------------ */

/* Handles are listed so that a child of fork() closes their lock files: it
 * must not keep its parent's locks alive. */
void kv_fork_enlist(struct kevo *db);
void kv_fork_delist(struct kevo *db);
int kv_forked(const struct kevo *db);

/* ---- view.c ------------------------------------------------------------ */

/*
 * Map segment counter with its index of generation.  writable: for
 * appending.  Returns 0 with a reference, KV_RETRY, or an error.
 */
int kv_seg_open(struct kevo *db, uint64_t generation, uint64_t counter,
    int writable, struct kv_seg **out);
void kv_seg_unref(struct kv_seg *s);

/* KEVO_ECORRUPT: index files are missing and cannot be rebuilt now. */
int kv_index_missing(struct kevo *db);

/* Name of an index file, "shm/GENERATION.COUNTER.idx". */
#define KV_INDEX_NAME_LEN	48
void kv_index_name(char buf[KV_INDEX_NAME_LEN], uint64_t generation,
    uint64_t counter);

/* How much address space an index of a segment may need. */
uint64_t kv_index_space(uint64_t capacity);

void kv_view_unref(struct kv_view *v);

/*
 * The view of now and the newest commit that a reader may see, loaded in
 * the order that makes them a snapshot.  Attaches anew if the generation
 * moved.  The view belongs to the handle.
 */
int kv_view_now(struct kevo *db, uint64_t *visible);

/* Make the view cover the segments up to control's active one. */
int kv_view_extend(struct kevo *db);

/* Segment i of a view, mapped if it was not.  Returns as kv_seg_open(). */
int kv_view_seg(struct kevo *db, struct kv_view *v, uint64_t counter,
    struct kv_seg **out);

/*
 * Look a key up at seq.  Returns 0 with *rec set, KEVO_NOTFOUND (absent,
 * deleted or expired), KV_RETRY or an error.
 */
int kv_lookup(struct kevo *db, struct kv_view *v, uint64_t seq,
    const void *key, size_t klen, struct kevo_record *rec);

/*
 * The record that an operation is, or KEVO_NOTFOUND if it deletes the key or
 * has expired.
 */
int kv_record_of(const void *key, size_t klen, uint64_t seq,
    const struct kv_op *op, struct kevo_record *rec);

/* ---- cold.c ------------------------------------------------------------ */

/* Begin as a reader that maps nothing.  0, or KV_RETRY: attach instead. */
int kv_cold_open(struct kevo *db);
void kv_cold_close(struct kevo *db);

/* The database's default durability. */
uint32_t kv_cold_sync(const struct kevo *db);

/* End being cold: hand over control, mapped, as db->ctl.  0, or KV_RETRY if
 * it has to be looked for anew. */
int kv_cold_end(struct kevo *db);

/* As kv_lookup() of now; the record is valid until the next call.
 * KV_RETRY: attach, and look there. */
int kv_cold_lookup(struct kevo *db, const void *key, size_t klen,
    struct kevo_record *rec);

/* ---- open.c, rebuild.c ------------------------------------------------- */

/* Attach to the current generation, building one if need be.  Replaces
 * what the handle had.  deadline_ms as in lock.h. */
int kv_attach(struct kevo *db, int64_t deadline_ms);

/* Attach, if the handle is a cold reader's. */
int kv_warm_up(struct kevo *db);

/* Build a new generation under REBUILD and put it in place. */
int kv_rebuild(struct kevo *db, const struct kv_ident *ident,
    int64_t deadline_ms);

/* Build control and indexes in this handle's own memory. */
int kv_build_private(struct kevo *db, const struct kv_ident *ident);

int64_t kv_deadline(const struct kevo *db);

/*
 * Sync the directories that hold the names of the database and of its log.
 * A creator syncs them, but may have been killed before it did; so does who
 * builds a generation, before anything is acknowledged in it.
 */
int kv_sync_names(struct kevo *db);

/* Take a slot for this handle. */
int kv_slot_acquire(struct kevo *db);

/* A slot whose number a lock word still holds was its dead owner's, and
 * having it would feign that owner's life: take another. */
int kv_slot_leave_haunted(struct kevo *db, struct kv_control *c);

/* ---- log.c ------------------------------------------------------------- */

/*
 * Create segment counter as a file: header written, synced, and its name.
 * An unfinished one of that name is replaced.
 */
int kv_segment_create(struct kv_env *env, const struct kv_dir *dir,
    uint32_t mode, struct kv_segment_head *h);

/* Create an index file for it with room for need bytes of nodes. */
int kv_index_create(struct kv_env *env, const struct kv_dir *dir,
    uint32_t mode, uint64_t generation, const struct kv_segment_head *h,
    uint64_t need);

/* Give an index room for nops more operations. */
int kv_index_grow(struct kevo *db, struct kv_seg *s, uint64_t nops);

/* ---- commit.c ---------------------------------------------------------- */

/* Take WRITER, after repairing what a dead owner left.  Then the view
 * covers the active segment. */
int kv_writer_lock(struct kevo *db);
void kv_writer_unlock(struct kevo *db);

/*
 * Append a batch as one commit; WRITER is held.  full: readers must not see
 * it before it is synced.
 */
int kv_append(struct kevo *db, struct kevo_batch *b, int full,
    uint64_t *seq);

/* The active segment, mapped for appending if the handle may write. */
int kv_active_seg(struct kevo *db, struct kv_seg **out);

/* Insert the operations of the whole record at rec_off. */
int kv_insert_ops(struct kevo *db, struct kv_seg *s, uint64_t rec_off,
    uint64_t seq);

/* Where the log ends, and what its owner is about to do to it; all under
 * WRITER. */
const struct kv_tail *kv_tail(const struct kv_control *c);
void kv_set_tail(struct kv_control *c, const struct kv_tail *t);
void kv_mark_writing(struct kv_control *c, uint64_t kind, uint64_t off,
    uint64_t len);
void kv_clear_writing(struct kv_control *c);

/* ---- rotate.c, repair.c ------------------------------------------------ */

/*
 * Seal the active segment and begin the next one, with room for a record of
 * need bytes.  Each step can be repeated, so an heir of WRITER that finds
 * the mark simply calls it again.  A failure leaves the mark set.
 */
int kv_rotate(struct kevo *db, uint64_t need, uint64_t nops);

/* Finish or undo what the mark says.  KV_RETRY never comes back. */
int kv_repair(struct kevo *db);

/* The chain value before off, from the log.  0, or -1 if off cannot be. */
int kv_chain_before(const struct kv_seg *s, uint64_t off, uint64_t *chain);

/* ---- sync.c ------------------------------------------------------------ */

/* After unlocking: make commit seq visible, and durable if sync says so. */
int kv_publish(struct kevo *db, uint64_t seq, enum kevo_sync sync);

/* Must readers not see such a commit before it is on disk? */
static inline int
kv_hides(enum kevo_sync sync)
{
	return sync == KEVO_SYNC_FULL || sync == KEVO_SYNC_LATER;
}

/* Bring the log to disk up to seq.  0, or KEVO_EUNKNOWN. */
int kv_sync_to(struct kevo *db, uint64_t seq);

/* What depends on state read under WRITER may leave the process after
 * this. */
int kv_settle(struct kevo *db, uint64_t seq);

/* ---- batch.c ----------------------------------------------------------- */

int kv_batch_add(struct kevo_batch *b, int kind, const void *key,
    size_t klen, const void *val, size_t vlen, uint64_t expires_ns);
void kv_batch_reset(struct kevo_batch *b);
void kv_batch_release(struct kevo_batch *b);
int kv_key_check(struct kv_env *env, const void *key, size_t klen);

/* 1 if the state of a key (found: rec is set) meets the condition. */
int kv_cond_holds(const struct kevo_cond *c, int found,
    const struct kevo_record *rec);

/* ---- iter.c ------------------------------------------------------------ */

/* An iterator over a view at seq, with the writes in own on top (NULL:
 * none).  Takes a reference to the view. */
int kv_iter_new(struct kevo *db, struct kv_view *v, uint64_t seq,
    const struct kv_index *own, const struct kevo_range *range,
    struct kevo_iter **out);

#endif /* KV_DB_H */
