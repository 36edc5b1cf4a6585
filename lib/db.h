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

#include "conf.h"
#include "control.h"
#include "env.h"
#include "file.h"
#include "ident.h"
#include "kevo.h"
#include "memindex.h"
#include "segment.h"
#include "store.h"
#include "version.h"

/* Not for callers of the library: the generation of shared memory moved on
 * while we looked; attach again and repeat. */
#define KV_RETRY	100

/* Room on disk that is kept for a flush; see spare.c. */
#define KV_SPARE_NAME	"reserve"

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

/*
 * What a reader looks at: one version's tables, and the log segments from
 * where it begins.  version is NULL until it is needed: a plain put never
 * needs it.
 */
struct kv_view {
	uint32_t refs;
	uint32_t keepers;	/* snapshots and iterators among them */
	int pinned;		/* while there are keepers */
	struct kevo *db;
	uint64_t generation;
	uint64_t number;	/* of the version */
	struct kv_version *version;
	struct kv_table **table;	/* one each; NULL: not open yet */
	uint32_t nopen;
	uint64_t first;		/* oldest segment, once version is known */
	uint64_t base, last;	/* counters of seg[0] and of the active one */
	struct kv_seg *seg[];	/* NULL: not mapped yet */
};

struct kv_op;
struct kv_cache;
struct kv_pin;
struct kv_join;
struct kv_layer;
struct kv_reach;
struct kv_track;

struct kevo_batch {
	struct kevo *db;	/* for messages; NULL: there are none */
	uint8_t *buf;		/* frame, payload head, operations; NULL:
				 * nothing yet */
	uint64_t len;		/* bytes used, frame and head included */
	uint64_t room;
	uint32_t count;
	uint32_t deletes;	/* of them */
	uint64_t user_bytes;	/* keys and values */
	int mark;		/* a record that begins an epoch */
	struct kv_layer *layer;	/* whose writes it has; NULL: its own, */
	struct kv_store mem;	/* in here, if there is a buffer */
};

struct kevo {
	struct kv_env env;
	char *path;
	struct kv_dir dir;
	struct kv_names names;
	unsigned flags;
	const char *program;
	const char *compactor;	/* as in struct kevo_options */
	uint32_t pid;
	int64_t wait_ms;
	enum kevo_sync sync;	/* KEVO_SYNC_DEFAULT: as the setting says */

	int lock_fd;		/* LOCK; -1: a reader */
	uint32_t slot;		/* 0: a reader */
	struct kv_control *ctl;
	int ctl_fd;		/* -1: ctl is private memory */
	int private_index;	/* built for this handle alone, */
	uint64_t unusable;	/* since control had this stamp */
	int opened;		/* kevo_open() succeeded */
	struct kv_view *view;
	int pin_fd;		/* PINS; -1: not opened */
	struct kv_pin *pins;
	struct kv_cache *cache;	/* NULL: no table was read yet */
	struct kv_cold *cold;	/* a reader that has mapped nothing yet */
	uint64_t tick;		/* when the files were last looked at */
	int conf_due;		/* kevo.conf is to be published by who has
				 * WRITER */
	int rotated;		/* by the commit in hand */
	struct kv_log_part {
		uint64_t segment, from, to;
	} complete;		/* by it: goes to disk; to 0: nothing */
	uint64_t broken;	/* generation whose index files are missing */

	uint64_t began_ns;	/* of kv_mono_ns(): when the commit in hand
				 * was asked for; 0: it is counted */
	struct kv_control *reads;	/* control mapped by a reader to count
					 * what it reads, or to say that it
					 * waits; NULL: not yet */
	int reads_refused;	/* it cannot be */

	struct kevo_batch one;	/* for kevo_put() and kevo_delete() */
	struct kevo_txn *txn;	/* open on this handle, with a write lock */
	struct kv_join *join;	/* what it is part of; NULL: nothing */
	char *txn_env;		/* what it was told to join; NULL: nothing */
	struct kv_layer *layers;	/* that have descriptors; layer.c */
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

/* ---- seg.c ------------------------------------------------------------- */

/*
 * Map segment counter with its index of generation.  writable: for
 * appending.  Returns 0 with a reference, KV_RETRY (a file is not there), or
 * an error.
 */
int kv_seg_open(struct kevo *db, uint64_t generation, uint64_t counter,
    int writable, struct kv_seg **out);
void kv_seg_unref(struct kv_seg *s);
void kv_seg_close_files(struct kv_seg *s);

/* Name of an index file, "shm/GENERATION.COUNTER.idx". */
#define KV_INDEX_NAME_LEN	48
void kv_index_name(char buf[KV_INDEX_NAME_LEN], uint64_t generation,
    uint64_t counter);

/* How much address space an index of a segment may need. */
uint64_t kv_index_space(uint64_t capacity);

/* ---- view.c ------------------------------------------------------------ */

/* KEVO_ECORRUPT: index files are missing and cannot be rebuilt now. */
int kv_index_missing(struct kevo *db);

void kv_view_unref(struct kv_view *v);

/*
 * Make the handle's view the one of now, and set *visible to the newest
 * commit that a reader may see in it: loaded in the order that makes them a
 * snapshot.  Attaches anew if the generation moved.
 */
int kv_view_now(struct kevo *db, uint64_t *visible);

/* The same for a writer, who reads at the end of the log. */
int kv_view_extend(struct kevo *db);

/* Has the view fallen behind?  Then files that are gone are no damage. */
int kv_view_moved(const struct kevo *db);

/* Segment i of a view, mapped if it was not.  Returns as kv_seg_open(). */
int kv_view_seg(struct kevo *db, struct kv_view *v, uint64_t counter,
    struct kv_seg **out);

/*
 * Keep the handle's view readable: its segments are mapped, its version is
 * pinned.  Returns 0 with *out to be released, KV_RETRY (look again) or an
 * error.  keep_too: once more, for who has it kept already.
 */
int kv_view_keep(struct kevo *db, struct kv_view **out);
void kv_view_keep_too(struct kv_view *v);
void kv_view_release(struct kv_view *v);

/* A view of now that stays readable, and the newest commit in it; to be
 * released. */
int kv_view_take(struct kevo *db, struct kv_view **out, uint64_t *seq);

/* Look a key up as of now; in a handle that has joined a transaction, below
 * its writes. */
int kv_get_now(struct kevo *db, const void *key, size_t klen,
    struct kevo_record *rec);

/*
 * Look a key up at seq.  Returns 0 with *rec set, KEVO_NOTFOUND (absent or
 * deleted), KV_RETRY or an error.  Whether it has expired is another question,
 * to be asked of kv_unexpired(), as of the record of each of these functions.
 */
int kv_lookup(struct kevo *db, struct kv_view *v, uint64_t seq,
    const void *key, size_t klen, struct kevo_record *rec);

/* The same at the end of the log, under WRITER. */
int kv_lookup_newest(struct kevo *db, const void *key, size_t klen,
    struct kevo_record *rec);

/* The record that an operation is, or KEVO_NOTFOUND if it deletes the key. */
int kv_record_of(const void *key, size_t klen, uint64_t seq,
    const struct kv_op *op, struct kevo_record *rec);

/*
 * rc, with its record if it is 0; but KEVO_NOTFOUND if that has expired by
 * now_ns; 0: by the clock.  A transaction or snapshot has one now for all.
 */
int kv_unexpired(int rc, const struct kevo_record *rec, uint64_t now_ns);

/* ---- open.c: is it fit for use? ----------------------------------------- */

/* 0, KEVO_EINVAL (kevo_open() failed) or KEVO_EFORKED. */
int kv_usable(struct kevo *db);

/* 0, KEVO_EREPLACED if LOCK is another file by now, or an error. */
int kv_lock_check(struct kevo *db);

/* ---- view_tables.c ----------------------------------------------------- */

/*
 * Read the view's version, if it was not; tables that old (NULL: none) has
 * open are taken over.  KV_RETRY: there is a newer one.
 */
int kv_view_tables(struct kevo *db, struct kv_view *v,
    const struct kv_view *old);
void kv_view_drop_tables(struct kv_view *v);

/* Table i of the view's version, opened if it was not; the view keeps it
 * until the handle's next call. */
int kv_view_table(struct kevo *db, struct kv_view *v, uint32_t i,
    struct kv_table **out);
int kv_view_open_all(struct kevo *db, struct kv_view *v);

/*
 * Has another version taken the place of the view's?  Unlike kv_view_moved()
 * this does not believe a control that nobody tells anything any more: one
 * that was retired or lost its name, or is this handle's own.
 */
int kv_view_overtaken(struct kevo *db, const struct kv_view *v);

/* A file that the view needs is gone: KV_RETRY if the view has fallen
 * behind, else KEVO_ECORRUPT. */
int kv_view_lost(struct kevo *db, const struct kv_view *v, const char *what,
    uint64_t number);

/* 1 with *seq and *op set, 0 absent, KV_RETRY or an error.  hash is that of
 * kv_table_key_hash(). */
int kv_tables_get(struct kevo *db, struct kv_view *v, const void *key,
    size_t klen, uint64_t hash, uint64_t *seq, struct kv_op *op);

/* Decompressed blocks of this handle; NULL: out of memory. */
struct kv_cache *kv_db_cache(struct kevo *db);

/* Open PINS, if it was not: 0 or an error. */
int kv_pin_file(struct kevo *db);

/* Hold the byte of a version in PINS, once more: 1, or 0 if it cannot be. */
int kv_pin_take(struct kevo *db, uint64_t number);
void kv_pin_drop(struct kevo *db, uint64_t number);

/* ---- cold.c ------------------------------------------------------------ */

/* Begin as a reader that maps nothing.  0, or KV_RETRY: attach instead. */
int kv_cold_open(struct kevo *db);
void kv_cold_close(struct kevo *db);

/* A setting, as kv_setting(). */
uint64_t kv_cold_setting(const struct kevo *db, enum kv_setting s);

/* The descriptor of control, and a copy of it without the counters. */
int kv_cold_control(const struct kevo *db);
const struct kv_control *kv_cold_copy(const struct kevo *db);

/* The newest commit in the log, as of now.  0 or -1. */
int kv_cold_appended(const struct kevo *db, uint64_t *seq);

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

/* When waiting must end; began_ns: what the clock says now. */
int64_t kv_deadline(const struct kevo *db);
int64_t kv_deadline_from(const struct kevo *db, uint64_t began_ns);

/*
 * A version was installed: say so in control.  If a generation was built
 * meanwhile, it may not know of it; then to that one, too.
 */
int kv_announce(struct kevo *db, const struct kv_version *v);

/* Take a slot for this handle. */
int kv_slot_acquire(struct kevo *db);

/* A slot whose number a lock word still holds was its dead owner's, and
 * having it would feign that owner's life: take another. */
int kv_slot_leave_haunted(struct kevo *db, struct kv_control *c);

/* ---- create.c ---------------------------------------------------------- */

/*
 * Make a database of db->dir, which has no FORMAT, under REBUILD.  0: also if
 * another process has done so.  KEVO_ENOTDB, KEVO_ECORRUPT (its data is there,
 * and FORMAT is lost), KEVO_EBUSY, KEVO_ECREATE (the file system will not do)
 * or an error.
 */
int kv_create(struct kevo *db, const char *const *settings);

/* Why there is no database in db->dir, which has no FORMAT: KEVO_ENOTDB,
 * KEVO_ECORRUPT, KEVO_ENODB or an error. */
int kv_why_none(struct kevo *db);

/* Is it on a file system that will do?  0, or the status. */
int kv_fs_check(struct kevo *db, int status);

/*
 * Sync the directories that hold the names of the database and of its log.
 * A creator syncs them, but may have been killed before it did; so does who
 * builds a generation, before anything is acknowledged in it.
 */
int kv_sync_names(struct kevo *db);

/* Make the directories of tables and versions and the file PINS, if they
 * are missing. */
int kv_make_places(struct kevo *db, const struct kv_ident *ident);

/* ---- config.c ---------------------------------------------------------- */

/*
 * A writer attached: if kevo.conf is not the one that control has, check and
 * publish it.  If WRITER is not to be had at once, that is left to the
 * handle's first commit.  An error, as of kv_conf_read(), is the caller's
 * only while the handle is being opened; later the settings stay as they are.
 */
int kv_config_attach(struct kevo *db);

/* Under WRITER: take over a kevo.conf that changed.  One that is wrong changes
 * nothing, and is reported. */
int kv_config_refresh(struct kevo *db);

/* Must a wrong kevo.conf end what this handle is about? */
int kv_config_binds(const struct kevo *db);

/* 0 if a database can be created with these settings ("name=value"...), or
 * KEVO_EINVAL. */
int kv_config_check(struct kevo *db, const char *const *settings);

/* 0 if the database has these settings, else KEVO_ECREATE naming one that
 * differs, or an error. */
int kv_config_compare(struct kevo *db, const char *const *settings);

/* 0, or KEVO_EINVAL: there is no such mode. */
int kv_sync_check(struct kevo *db, enum kevo_sync sync);

/* What DEFAULT means, else the mode itself. */
enum kevo_sync kv_sync_mode(const struct kevo *db, enum kevo_sync sync);

/* ---- log.c ------------------------------------------------------------- */

/*
 * Create segment counter as a file: header written, synced, and its name.
 * An unfinished one of that name is replaced.
 */
int kv_segment_create(struct kv_env *env, const struct kv_dir *dir,
    uint32_t mode, struct kv_segment_head *h);

/* Bytes of the filter in its index.  The first segment has none: a database
 * that is so small should stay so. */
uint32_t kv_filter_for(const struct kv_segment_head *h);

/* Create an index file for it with room for need bytes of nodes. */
int kv_index_create(struct kv_env *env, const struct kv_dir *dir,
    uint32_t mode, uint64_t generation, const struct kv_segment_head *h,
    uint64_t need);

/* Give an index room for nops more operations. */
int kv_index_grow(struct kevo *db, struct kv_seg *s, uint64_t nops);

/* ---- commit.c ---------------------------------------------------------- */

/* May this handle take WRITER?  0, KEVO_EPERM or KEVO_EINVAL. */
int kv_may_write(struct kevo *db);

/*
 * Take WRITER, after repairing what a dead owner left.  Then the view covers
 * the active segment.  For who is going to commit; KEVO_EPERM: this is no
 * primary, as the message says.
 */
int kv_writer_lock(struct kevo *db);
void kv_writer_unlock(struct kevo *db);

/* The same whatever the role: for sealing, settings, verbatim records. */
int kv_log_lock(struct kevo *db);

/*
 * Under WRITER: room for total bytes of records in the log and for nops
 * operations in the index, so that appending them lacks nothing.  It may
 * rotate; *out is the active segment then.
 */
int kv_log_room(struct kevo *db, uint64_t total, uint64_t nops,
    struct kv_seg **out);

/*
 * Append a batch as one commit; WRITER is held.  sync is not
 * KEVO_SYNC_DEFAULT, and the same as for kv_publish(), which must follow.
 */
int kv_append(struct kevo *db, struct kevo_batch *b, enum kevo_sync sync,
    uint64_t *seq);

/* Let the system begin to write to disk what the commit in hand has completed
 * of the log.  No lock is needed. */
void kv_log_write_out(struct kevo *db);

/* The active segment, mapped for appending if the handle may write. */
int kv_active_seg(struct kevo *db, struct kv_seg **out);

/* Insert the operations of the whole records that lie in len bytes from off on;
 * the first is number seq. */
int kv_insert_ops(struct kevo *db, struct kv_seg *s, uint64_t off,
    uint64_t len, uint64_t seq);

/* Where the log ends, and what its owner is about to do to it; all under
 * WRITER. */
const struct kv_tail *kv_tail(const struct kv_control *c);

/* The same for who does not have WRITER: 1, or 0 if it was being moved. */
int kv_tail_copy(const struct kv_control *c, struct kv_tail *t);
void kv_set_tail(struct kv_control *c, const struct kv_tail *t);
void kv_mark_writing(struct kv_control *c, uint64_t kind, uint64_t off,
    uint64_t len);
void kv_clear_writing(struct kv_control *c);

/* ---- rotate.c, repair.c ------------------------------------------------ */

/* What the next segment is part of. */
struct kv_line {
	uint32_t epoch;
	uint64_t nonce;
	uint32_t flags;		/* of its header */
};

/*
 * Seal the active segment and begin the next one, with room for a record of
 * need bytes, on the same line of history or (not NULL) another one.  Each
 * step can be repeated, so an heir of WRITER that finds the mark simply calls
 * it again; for the line it does not know, which whoever wanted it asks for
 * once more.  A failure leaves the mark set.
 */
int kv_rotate(struct kevo *db, uint64_t need, uint64_t nops,
    const struct kv_line *line);

/*
 * Is there room on the disk for what kv_rotate() makes?  Behind a seal nothing
 * fits into the old segment any more, so who seals one that is not full looks
 * first: 0, or KEVO_EIO with the message.
 */
int kv_rotate_room(struct kevo *db);

/* Finish or undo what the mark says.  KV_RETRY never comes back. */
int kv_repair(struct kevo *db);

/* The chain value before off, from the log.  0, or -1 if off cannot be. */
int kv_chain_before(const struct kv_seg *s, uint64_t off, uint64_t *chain);

/* ---- sync.c ------------------------------------------------------------ */

/* Under WRITER, behind a commit of so many bytes. */
void kv_count_unsynced(struct kv_control *c, uint64_t bytes);

/* After unlocking: make commit seq visible, and durable if sync says so. */
int kv_publish(struct kevo *db, uint64_t seq, enum kevo_sync sync);

/* Will publishing a commit of the mode wait for the disk, as it looks now? */
int kv_will_sync(const struct kevo *db, enum kevo_sync sync);

/* fdatasync() of a segment of the log, counted.  0 or an errno. */
int kv_sync_log(struct kevo *db, const struct kv_seg *s);

/* Bring the log to disk up to seq.  0, or KEVO_EUNKNOWN.  Who waits for
 * that, or for a commit that became visible by it, is woken. */
int kv_sync_to(struct kevo *db, uint64_t seq);

/* What depends on the state up to seq, read under WRITER, may leave the
 * process after this: it is as durable as its writers asked for, and visible.
 * 0, or KEVO_EUNKNOWN. */
int kv_settle(struct kevo *db, uint64_t seq);

/* ---- reads.c ----------------------------------------------------------- */

/*
 * Count reads, if the setting count_reads is on, and errors.  A reader's
 * errors are counted where its reads are.
 */
static inline int
kv_counts_reads(const struct kv_control *c)
{
	return atomic_load_explicit(&c->setting[KV_SET_COUNT_READS],
	    memory_order_relaxed) == 1;
}

uint64_t kv_read_clock(struct kevo *db);
void kv_read_counted(struct kevo *db, uint64_t began, int rc,
    const struct kevo_record *rec);
void kv_seek_counted(struct kevo *db, uint64_t began);
void kv_count_read(struct kevo *db, enum kv_stat s, uint64_t n);
void kv_count_failure(struct kevo *db, int rc);

/* Control, for what a reader may change in it too; NULL: it may not. */
struct kv_control *kv_writable_control(struct kevo *db);

/* Forget where this reader counts; control may be another one. */
void kv_reads_release(struct kevo *db);

/* Before a read: a clock, or 0 if it is not counted. */
static inline uint64_t
kv_read_begin(struct kevo *db)
{
	if (db->ctl != NULL && !kv_counts_reads(db->ctl))
		return 0;
	return kv_read_clock(db);
}

/* After the lookup of one key that ended in rc, which is returned. */
static inline int
kv_read_end(struct kevo *db, uint64_t began, int rc,
    const struct kevo_record *rec)
{
	if (began != 0 || rc < 0)
		kv_read_counted(db, began, rc, rec);
	return rc;
}

/* What a public function returns, counted if it is an error. */
static inline int
kv_result(struct kevo *db, int rc)
{
	if (rc < 0)
		kv_count_failure(db, rc);
	return rc;
}

/* ---- metrics.c --------------------------------------------------------- */

/* What a version says of the tables, for kevo_stats(). */
void kv_stats_levels(const struct kevo *db, const struct kv_version *v,
    struct kevo_stats *out);

/* ---- batch.c ----------------------------------------------------------- */

int kv_batch_add(struct kevo_batch *b, int kind, const void *key,
    size_t klen, const void *val, size_t vlen, uint64_t expires_ns);

/* Add what another one has, whole or not at all. */
int kv_batch_append(struct kevo_batch *b, const struct kevo_batch *more);
void kv_batch_reset(struct kevo_batch *b);
void kv_batch_release(struct kevo_batch *b);
int kv_key_check(struct kv_env *env, const void *key, size_t klen);

/* 0, or KEVO_EINVAL: there is no such kind of condition. */
int kv_cond_check(struct kv_env *env, const struct kevo_cond *c);

/* 1 if the state of a key (found: rec is set) meets the condition. */
int kv_cond_holds(const struct kevo_cond *c, int found,
    const struct kevo_record *rec);

/* ---- iter.c ------------------------------------------------------------ */

/* What an iterator looks at. */
struct kv_scope {
	struct kv_view *view;	/* kept */
	uint64_t seq;		/* at this commit */
	struct kv_layer *top;	/* with these writes over it; NULL: none, */
	const struct kv_reach *reach;	/* as far as this says */
	uint64_t now_ns;	/* the clock for what expires; 0: of now */
	struct kv_track *track;	/* remember what is read; NULL: do not */
	struct kevo_txn *txn;	/* it can end before it is ended; or NULL */
};

/* A new iterator.  The view is its to release, also after an error. */
int kv_iter_new(struct kevo *db, const struct kv_scope *scope,
    const struct kevo_range *range, struct kevo_iter **out);

/* 0, KEVO_EENDED or what else ended the transaction before its time. */
int kv_txn_going_on(struct kevo_txn *t);

/* What an attached or cold handle knows of its database. */
static inline const struct kv_control *
kv_db_control(const struct kevo *db)
{
	return db->ctl != NULL ? db->ctl : kv_cold_copy(db);
}

#endif /* KV_DB_H */
