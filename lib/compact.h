/*
 * compact: bringing the log into tables, merging tables, and removing what
 * no version needs any more.
 *
 * All of it is done by whoever calls kevo_compact(), in any number of
 * processes at once, each of which may be killed at any instruction: what it
 * writes are tables that no version names, until one link(2) makes them part
 * of the database; and what it removes no version names any more.
 *
 *   compact.c        kevo_compact(): what is done in which order
 *   compact_work.c   what the parts share: the newest version, installing
 *                    the next, new tables, pace and room
 *   compact_out.c    the tables that are written, and what is dropped
 *   flush.c          sealed segments to tables of level 0
 *   compact_pick.c   which tables a merge takes; looks at a version only
 *   compact_full.c   the same for a full run
 *   compact_job.c    how tables are gathered for both
 *   compact_run.c    one merge
 *   sweep.c          removing files
 *   spare.c          room for a flush on a full disk
 *   debt.c           what a writer does about all this
 *   spawn.c          starting kevo-compact, detached
 */
#ifndef KV_COMPACT_H
#define KV_COMPACT_H

#include <stddef.h>
#include <stdint.h>

#include "db.h"
#include "version.h"

struct kv_table_writer;

/* ---- one call's work; compact_work.c ----------------------------------- */

/* What was done up to a moment, for the statistics. */
struct kv_mark {
	uint64_t began_ns;
	struct kevo_compact_progress p;
	uint64_t deleted, expired;
};

struct kv_work {
	struct kevo *db;
	struct kevo_compact c;
	struct kevo_compact_progress p;
	int64_t until_ms;	/* begin nothing after it; 0: no limit */
	int64_t told_ms;	/* when progress was called */
	uint64_t rate;		/* bytes a second; 0: no limit */
	int64_t paid_ns;	/* what is written so far is allowed by then */
	uint64_t untold;	/* bytes since the clock was looked at */
	uint64_t deleted, expired;	/* of p.dropped */
	int merging;		/* then a flush may come in between */
	int flushing;		/* we have FLUSH */
	int tight;		/* this flush takes one segment; the reserve,
				 * too, if kv_spare_may_take() */
	struct kv_mark merge;	/* when it began */
	uint64_t *taken;	/* tables that others have locked, or for
				 * which there is no room */
	size_t ntaken, taken_room;
	uint64_t durable;	/* the version that we installed last */
	const char *no_room;	/* to do what; NULL: for all so far */
	uint64_t bytes_needed, bytes_free;
};

/* c may be NULL. */
void kv_work_init(struct kv_work *w, struct kevo *db,
    const struct kevo_compact *c);
void kv_work_release(struct kv_work *w);

/*
 * Is what we have open still the database?  Attaches anew if the shared
 * memory was rebuilt.  0, KEVO_EREPLACED or an error.
 */
int kv_work_check(struct kv_work *w);

/*
 * Count bytes read and written, keep to the rate, and call progress.  In the
 * middle of a merge, flush, if so much of the log has come together that
 * writers would begin to.  Returns 0, KEVO_FALSE (stop) or an error.
 */
int kv_work_step(struct kv_work *w, uint64_t bytes_read,
    uint64_t bytes_written);

/* Call progress, if it is time.  0 or KEVO_FALSE. */
int kv_work_tell(struct kv_work *w);

/*
 * Count what a flush or a merge did between a mark and its success.  A flush
 * in the middle of a merge is none of the merge's work.
 */
void kv_work_mark(const struct kv_work *w, struct kv_mark *m);
void kv_work_count(struct kv_work *w, const struct kv_mark *m, int flush);

/* 1 if the limits of time and bytes allow to begin something. */
int kv_work_may_begin(const struct kv_work *w);

/*
 * The newest version, announced to everybody.  One reference.
 */
int kv_newest_version(struct kevo *db, struct kv_version **out);

/* Bytes on disk that tables with so many bytes of records take, at most. */
uint64_t kv_room_for(uint64_t bytes);

/*
 * 0 if the disk has room for so many bytes more, to do what; KV_RETRY, noted,
 * if not: then something smaller comes first, which may make room.
 * kv_work_no_room() says it, with KEVO_EIO.
 */
int kv_work_room(struct kv_work *w, uint64_t bytes, const char *what);
int kv_work_no_room(struct kv_work *w);

/* ---- what becomes of a version ----------------------------------------- */

/* The log that a flush brought into tables. */
struct kv_flushed {
	uint64_t from_segment;	/* version.first_segment before it */
	uint64_t first_segment, first_seq, chain_before, time_ns;
};

/*
 * A change: tables that go, of `level` or the level below it, and tables
 * that come, which may have the same numbers.
 */
struct kv_change {
	const uint64_t *drop;
	size_t ndrop;
	struct kv_vtable *add;
	size_t nadd;
	uint64_t dropped_to;
	const struct kv_flushed *flushed;	/* NULL: no flush */
};

/*
 * Install a change upon *v, or upon what is the newest version by then, and
 * announce it; *v becomes the new one.  A flush's tables that can no longer
 * be in a level above 0 go to level 0.
 *
 * Returns 0; KV_RETRY if the tables to drop or the log to flush are gone, or
 * KEVO_EINVAL if the tables overlap others of their level: nothing was done;
 * or another error: then it may be installed all the same, so the tables must
 * not be removed but left to kv_sweep().
 */
int kv_install(struct kv_work *w, struct kv_version **v,
    struct kv_change *ch);

/* 1 if a table of these levels (last: included) may hold keys of first to
 * last. */
int kv_levels_overlap(const struct kv_version *v, uint32_t from,
    uint32_t to, const uint8_t *first, size_t first_len,
    const uint8_t *last, size_t last_len);

/* ---- output; compact_out.c --------------------------------------------- */

/*
 * The tables that a flush or a merge writes.  They stay locked until
 * kv_out_release().
 */
struct kv_out {
	struct kv_work *w;
	const struct kv_version *v;	/* deeper levels are looked at here */
	uint32_t level;			/* of the tables */
	uint32_t older;			/* tables from this level on may hold
					 * older records of the keys */
	uint64_t table_bytes;
	uint64_t horizon_ns;		/* what expired by then is gone */
	uint64_t dropped_to;
	uint32_t at[KV_LEVELS];		/* first table not below the key */
	uint32_t beside_at;		/* the same of level + 1, for cutting */
	uint64_t beside;		/* bytes of level + 1 that lie beside
					 * the table being written */
	uint64_t reported;		/* of its bytes */
	struct kv_table_writer *writing;	/* the last one, or NULL */
	struct kv_table_writer **table;
	struct kv_vtable *add;
	size_t n, room;
};

/*
 * bytes: of all that will be added, about.  last_time_ns: commit time of the
 * newest commit in tables.
 */
void kv_out_init(struct kv_out *o, struct kv_work *w,
    const struct kv_version *v, uint32_t level, uint32_t older,
    uint64_t bytes, uint64_t last_time_ns);

/* Add the newest record of the next key, unless it has no effect any more.
 * Returns 0, KEVO_FALSE (stop) or an error. */
int kv_out_add(struct kv_out *o, uint64_t seq, struct kv_op *op);

/* Finish the last table and sync their directory. */
int kv_out_finish(struct kv_out *o);

/* Close the tables; remove: and remove them, which must be in no version. */
void kv_out_release(struct kv_out *o, int remove);

/* ---- flush.c ----------------------------------------------------------- */

/*
 * Bring sealed segments into tables, if there are any, and FLUSH is to be
 * had; several at once, as many as fit a bounded memory.
 *
 * Returns 0 with *n segments flushed (0: there was nothing, w->p.busy is set,
 * or w->no_room), KEVO_FALSE (stop) or an error.
 */
int kv_flush(struct kv_work *w, uint64_t *n);

/* Tell everybody that who has FLUSH, which is us, gets on. */
void kv_flush_beat(struct kv_work *w);

/* How many sealed segments wait for it, after version v; and as far as
 * control knows. */
uint64_t kv_sealed(const struct kevo *db, const struct kv_version *v);
uint64_t kv_sealed_now(const struct kevo *db);

/* ---- compact_pick.c ---------------------------------------------------- */

/* Tables to be merged, or to be moved as they are. */
struct kv_job {
	uint32_t level;		/* they come from it, and the next, */
	uint32_t out;		/* and go to that */
	int move;
	uint32_t *input;	/* places in the version: of level, in the
				 * version's order, then of out */
	uint32_t nupper, ninput, room;
	uint64_t bytes;		/* of the inputs' files */
};

void kv_job_release(struct kv_job *job);

/* What decides about levels. */
struct kv_shape {
	uint64_t level0_tables, level_bytes, level_ratio, table_bytes;
	uint32_t levels;
};

void kv_shape_get(struct kv_shape *s, const struct kevo *db);

/*
 * How many tables of level 0 may hold the same key, at most.
 */
uint32_t kv_depth(const struct kv_version *v);

/*
 * How full a level is: level 0 by that or by its bytes, whichever is more,
 * the others by their bytes, and the last one is never.  From 1 on a
 * compaction is due.
 */
double kv_score(const struct kv_version *v, const struct kv_shape *s,
    uint32_t level);

/* Bytes that are to be merged, about, until nothing is due. */
uint64_t kv_pick_due(const struct kv_version *v, const struct kv_shape *s);

/*
 * The most urgent job of which no table is in taken[].  Returns 1 with *job
 * set; 0 if nothing is due (*busy: but for what others are at); KEVO_ENOMEM.
 */
int kv_pick(const struct kv_version *v, const struct kv_shape *s,
    const uint64_t *taken, size_t ntaken, struct kv_job *job, int *busy);

/* ---- compact_full.c ---------------------------------------------------- */

/* A full run: everything up to a sequence number to one level. */
struct kv_full {
	uint64_t to_seq;
	uint32_t target;	/* level */
	uint64_t run_bytes;	/* of neighbours that are merged at once */
	const uint8_t *from, *to;	/* NULL: no bound */
	size_t from_len, to_len;
	uint8_t *cursor;	/* tables of target up to this key are done */
	size_t cursor_len;
};

/* The level that a full run of v goes to. */
uint32_t kv_full_target(const struct kv_version *v, const struct kv_shape *s);

/* Bytes that are to be merged until it has ended, about. */
uint64_t kv_pick_due_full(const struct kv_version *v,
    const struct kv_full *f);

/* The next job of a full run; returns as kv_pick(). */
int kv_pick_full(const struct kv_version *v, const struct kv_shape *s,
    const struct kv_full *f, const uint64_t *taken, size_t ntaken,
    struct kv_job *job, int *busy);

/* ---- compact_run.c ----------------------------------------------------- */

/*
 * Claim a job's tables, merge or move them, and install the result.
 *
 * Returns 0 with *did set to 1, or to 0 if another process has one of the
 * tables or there is no room (noted in w->taken), or the version has moved
 * on; KEVO_FALSE (stop) or an error.  *v becomes the newest version.
 */
int kv_run(struct kv_work *w, struct kv_version **v,
    const struct kv_job *job, int *did);

/* ---- sweep.c ----------------------------------------------------------- */

/*
 * Remove tables, log segments, index files and version files that nobody
 * needs.  Does nothing if another process is at it, or is building a
 * generation.
 */
int kv_sweep(struct kv_work *w);

/* ---- spare.c ----------------------------------------------------------- */

/* Room on disk that a flush may take when there is no other; 0: none. */
uint64_t kv_spare_bytes(const struct kevo *db);

/* May this call's flush take it?  Not what writers do or start by
 * themselves. */
int kv_spare_may_take(const struct kv_work *w);

/* Give its room to whoever takes it first; 0: there is none. */
int kv_spare_drop(struct kevo *db);

/*
 * Make it or remove it, as the tables of the newest version and the free
 * room want it.  Under REBUILD.  Where it fails there is none.
 */
void kv_spare_keep(struct kevo *db, const struct kv_version *v);

/* ---- compact.c --------------------------------------------------------- */

/* The most urgent merge, and what it replaced removed; *did is 0 if there is
 * none, or others are at it (w->p.busy). */
int kv_merge_once(struct kv_work *w, int *did);

/* ---- debt.c, spawn.c --------------------------------------------------- */

/*
 * To be called by who made a commit that began a new segment, with no lock
 * held.  Sees to it that somebody brings the log into tables: starts
 * kevo-compact, does it itself, or waits, for at most the setting stall_ms.
 * Whatever fails here is found again by who compacts next.
 */
void kv_after_rotate(struct kevo *db);

/*
 * Under WRITER, before a rotation: KEVO_EBUSY if there are stall_segments
 * sealed already, and who brings them into tables has not got on for stall_ms,
 * as one that is stopped.
 */
int kv_debt_may_grow(struct kevo *db);

/* The end of a commit: kv_publish(), and that. */
int kv_finish_commit(struct kevo *db, uint64_t seq, enum kevo_sync sync);

/*
 * Start kevo-compact for the database, with nothing of this process: its own
 * session, no descriptors, directory or environment of kevo's.  1 if it was
 * started, 0 if there is no such program or the system refuses.
 */
int kv_spawn_compactor(struct kevo *db);

#endif /* KV_COMPACT_H */
