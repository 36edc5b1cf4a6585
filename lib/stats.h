/*
 * stats: the counters and histograms of a database.
 *
 * They lie in shm/control, so that processes that live for a millisecond
 * count too, and are carried over when that is built anew.  What a commit
 * touches is in the first 4096 bytes, which it touches anyway; the rest is in
 * the next.  The layout is kevo-format(5), COUNTERS; kevo-stats(1) says what
 * each one means.  count.h counts.
 *
 * A number that is written by the owner of WRITER alone is written by plain
 * stores; every other one by atomic additions.  Which is which is decided
 * here, by the order of the enumerations, so that nobody mixes the two.
 */
#ifndef KV_STATS_H
#define KV_STATS_H

#include <stdatomic.h>
#include <stdint.h>

struct kv_control;
struct kv_dir;

enum kv_stat {
	/* First page, by the owner of WRITER. */
	KV_STAT_COMMITS,
	KV_STAT_PUTS,
	KV_STAT_DELETES,
	KV_STAT_BATCHES,	/* commits of more than one operation */
	KV_STAT_USER_BYTES,	/* keys and values of them */
	KV_STAT_LOG_BYTES,	/* bytes of records appended */
	KV_STAT_COND_FALSE,	/* conditions that did not hold */
	KV_STAT_TXN_BEGUN,
	KV_STAT_TXN_COMMITTED,
	KV_STAT_TXN_ROLLED_BACK,
	KV_STAT_TXN_CONFLICTS,	/* something else that they read had changed */
	KV_STATS_OWNED,

	/* First page, by anybody. */
	KV_STAT_SYNCS = 16,	/* of the log, done by fdatasync() */
	KV_STAT_SYNC_FAILURES,
	KV_STATS_HOT,

	/* Second page, by anybody.  Reads are counted if the setting
	 * count_reads is on. */
	KV_STAT_SINCE_NS = 34,	/* when counting began, since 1970 */
	KV_STAT_GET_HITS,
	KV_STAT_GET_MISSES,
	KV_STAT_READ_BYTES,	/* of values got, of records passed by scans */
	KV_STAT_SCANS,		/* iterators that were made */
	KV_STAT_SEEKS,		/* times that one was positioned */
	KV_STAT_SCAN_RECORDS,	/* that they returned */
	KV_STAT_SNAPSHOTS,

	KV_STAT_ROTATIONS,	/* segments sealed */
	KV_STAT_ROTATION_NS,

	KV_STAT_FLUSHES,	/* log to tables; its histogram is their time */
	KV_STAT_FLUSH_SEGMENTS,
	KV_STAT_FLUSH_READ,	/* bytes of log */
	KV_STAT_FLUSH_WRITTEN,	/* bytes of tables */
	KV_STAT_FLUSH_LAST_NS,	/* when the last one ended */
	KV_STAT_COMPACTIONS,	/* merges; their time is a histogram */
	KV_STAT_COMPACT_MOVES,	/* tables that only changed their level */
	KV_STAT_COMPACT_READ,	/* bytes of tables */
	KV_STAT_COMPACT_WRITTEN,
	KV_STAT_COMPACT_LAST_NS,
	KV_STAT_COMPACT_STARTS,	/* kevo-compact processes that writers began */
	KV_STAT_VERSIONS,	/* installed */
	KV_STAT_DROP_OLDER,	/* records left out: a newer one has its key */
	KV_STAT_DROP_DELETED,	/* deletions that have nothing to delete */
	KV_STAT_DROP_EXPIRED,
	KV_STAT_REMOVED_FILES,
	KV_STAT_REMOVED_BYTES,

	KV_STAT_REBUILDS,	/* of shm, from the log */
	KV_STAT_REBUILD_NS,
	KV_STAT_REBUILD_RECORDS,	/* operations indexed by them */
	KV_STAT_REBUILD_BYTES,	/* of log read by them */
	KV_STAT_REBUILD_CUTS,	/* torn ends of the log that were cut off */
	KV_STAT_REBUILD_LAST_NS,
	KV_STAT_REPAIR_FINISHED,	/* commits of dead writers, finished */
	KV_STAT_REPAIR_UNDONE,	/* ... and torn ones, undone */
	KV_STAT_REPAIR_ROTATION,	/* rotations, likewise finished */

	KV_STAT_STALLS,		/* enum kv_stall: how often */
	KV_STAT_STALL_NS = KV_STAT_STALLS + 8,	/* ... and for how long */
	KV_STAT_ERRORS = KV_STAT_STALL_NS + 8,	/* -1 - enum kevo_status */

	/* Replication; behind the others, whose places are taken. */
	KV_STAT_APPLIED = KV_STAT_ERRORS + 20,	/* records copied */
	KV_STAT_APPLIED_BYTES,
	KV_STAT_APPLIED_LAST_NS,	/* when the last one was */
	KV_STAT_PRIMARY_SEQ,	/* newest commit of the primary, by its word */
	KV_STAT_PRIMARY_NS,	/* and what its clock said then */
	KV_STATS
};

/* Why a writer had to wait, or did something else first. */
enum kv_stall {
	KV_STALL_LOCK,		/* another writer held WRITER */
	KV_STALL_HELP,		/* it flushed or merged itself */
	KV_STALL_SLOW,		/* it was slowed down, a little a commit */
	KV_STALL_SEGMENTS,	/* too many sealed segments: it waited */
	KV_STALL_LEVEL0,	/* too many tables in level 0: it waited */
	KV_STALLS
};

enum kv_histogram {
	KV_HIST_COMMIT,		/* by the owner of WRITER: commits that did
				 * not wait for the disk */
	KV_HISTS_OWNED,
	KV_HIST_COMMIT_DISK = KV_HISTS_OWNED,	/* commits that did */
	KV_HIST_SYNC,		/* fdatasync() of the log */
	KV_HISTS_HOT,

	KV_HIST_GET = KV_HISTS_HOT,
	KV_HIST_SEEK,		/* positioning an iterator */
	KV_HIST_FLUSH,		/* these two in units of 1024 ns */
	KV_HIST_COMPACT,
	KV_HISTS
};

/*
 * Four buckets for each power of two: bucket 0 is below 2^8 units, the last
 * one has no upper bound.
 */
#define KV_HIST_BUCKETS	104

struct kv_hist {
	_Atomic uint64_t sum, max;	/* units */
	_Atomic uint64_t bucket[KV_HIST_BUCKETS];
};

/* What is in the first page, behind all else, and what is in the second. */
#define KV_STATS_HOT_ROOM	34
#define KV_STATS_COLD_ROOM	88

struct kv_hot_counters {
	_Atomic uint64_t count[KV_STATS_HOT_ROOM];
	struct kv_hist hist[KV_HISTS_HOT];
};

struct kv_counters {
	_Atomic uint64_t count[KV_STATS_COLD_ROOM];
	struct kv_hist hist[KV_HISTS - KV_HISTS_HOT];
};

_Static_assert(KV_STATS_HOT <= KV_STATS_HOT_ROOM &&
    KV_STATS <= KV_STATS_HOT_ROOM + KV_STATS_COLD_ROOM,
    "the counters fit their room");

static inline unsigned
kv_hist_shift(enum kv_histogram h)
{
	return h == KV_HIST_FLUSH || h == KV_HIST_COMPACT ? 10 : 0;
}

static inline unsigned
kv_hist_bucket(uint64_t v)
{
	unsigned e, i;

	if (v < 256)
		return 0;
	e = 63 - (unsigned)__builtin_clzll(v);
	i = 1 + (e - 8) * 4 + ((unsigned)(v >> (e - 2)) & 3);
	return i < KV_HIST_BUCKETS ? i : KV_HIST_BUCKETS - 1;
}

/* The least value that is not in bucket i any more. */
static inline uint64_t
kv_hist_bound(unsigned i)
{
	if (i >= KV_HIST_BUCKETS - 1)
		return UINT64_MAX;
	return (uint64_t)(4 + i % 4) << (6 + i / 4);
}

/* A copy of all numbers, within bounds. */
struct kv_stats {
	uint64_t count[KV_STATS];
	struct {
		uint64_t count, sum, max;	/* nanoseconds */
		uint64_t bucket[KV_HIST_BUCKETS];
	} hist[KV_HISTS];
};

void kv_stats_get(const struct kv_control *c, struct kv_stats *s);

/*
 * Take over the numbers of the shm/control that is there, whatever boot or
 * place it is from, if it is this database's; impossible ones become 0.  c is
 * a new control, not yet in place.  Without a file to take them from,
 * counting begins now.
 */
void kv_stats_inherit(struct kv_control *c, const struct kv_dir *dir);

#endif /* KV_STATS_H */
