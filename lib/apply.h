/*
 * apply: records of another copy's log become records of this one's.
 *
 * They are appended byte for byte: the same sequence numbers, the same chain.
 * So the position of a replica lies in its log and is as durable as the data,
 * and nothing has to be remembered beside it.  Segments are the replica's own,
 * but for this: each epoch begins a new one.  They have the flag
 * KV_SEGMENT_COPIED.
 *
 * Nothing is believed before it is verified: identity, epoch, sequence
 * numbers, chain, payload.  A call applies a prefix of whole commits or, if
 * it fails, nothing of what is wrong; what it did apply becomes visible in
 * one step.  Repeating is harmless.
 */
#ifndef KV_APPLY_H
#define KV_APPLY_H

#include <stddef.h>
#include <stdint.h>

#include "kevo.h"
#include "position.h"

struct kv_epoch;
struct kv_history;

/* Why something was not applied; kevo-walship's exit code in brackets. */
enum kv_apply_class {
	KV_APPLY_DONE = 0,
	KV_APPLY_CORRUPT,	/* [80] it does not verify */
	KV_APPLY_GAP,		/* [81] expected, found: first missing commit,
				 * first one given */
	KV_APPLY_FORK,		/* [82] another commit with this number;
				 * expected, found: chain values at `seq` */
	KV_APPLY_WRONG_DB,	/* [83] */
	KV_APPLY_ORPHANED,	/* [88] it goes on where another epoch began;
				 * expected: last commit that was kept, found:
				 * last one given */
	KV_APPLY_AHEAD,		/* [86] so is this database; expected: as
				 * before, found: its last commit */
	KV_APPLY_NO_EPOCH,	/* [75] its epoch is not known here yet */
	KV_APPLY_ROLE		/* [77] this is no replica */
};

struct kv_applied {
	enum kv_apply_class why;
	uint64_t applied;	/* records */
	uint64_t skipped;	/* records that were here already */
	uint64_t off;		/* CORRUPT: where in the input */
	uint64_t seq;		/* FORK, CORRUPT: of that commit */
	uint64_t expected, found;
	struct kv_position now;	/* of this database, after it */
};

/* Where the bytes given come from. */
struct kv_apply_from {
	uint8_t db[16];
	struct kv_position before;	/* before the first record; epoch and
					 * nonce are the records' own */
};

struct kv_applier;

/*
 * Begin applying to a database that is open for writing; db outlives it.
 * Keeps the history and where we are between calls, no lock.
 */
int kv_applier_open(struct kevo *db, struct kv_applier **out);
void kv_applier_close(struct kv_applier *a);

/* The history as this database knows it; valid until the next call. */
const struct kv_history *kv_applier_history(struct kv_applier *a);

/*
 * Apply len bytes of whole records.  sync: FULL is on disk when the call
 * returns; with LATER several calls share one kevo_sync(), before which
 * nothing of them is visible.
 *
 * Returns 0 (out->why DONE; all may have been skipped); KEVO_EHISTORY,
 * KEVO_EINVAL or KEVO_EPERM with out->why set and the sentence in
 * kevo_errmsg(): nothing was applied; or what kevo_commit() may.
 */
int kv_apply(struct kv_applier *a, const struct kv_apply_from *from,
    const void *records, size_t len, enum kevo_sync sync,
    struct kv_applied *out);

/*
 * Take an epoch file's text: it must continue the history, and not begin
 * before our last commit (AHEAD) or on another chain (FORK).  One that is
 * known is DONE.  A newer one than ours whose parent is missing is NO_EPOCH.
 */
int kv_apply_epoch(struct kv_applier *a, const char *text, size_t len,
    struct kv_applied *out);

/*
 * What the primary says of itself, at its time: kept in control, for
 * staleness and for promotions, and carried over when that is built anew.
 */
void kv_apply_beat(struct kevo *db, uint64_t primary_seq, uint64_t time_ns);

#endif /* KV_APPLY_H */
