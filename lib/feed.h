/*
 * feed: the log, read in order.
 *
 * kevo.h has the public half, which tells of commits and their operations
 * (kevo_feed_*).  This half is for whoever ships the log: it gives the bytes
 * as they are in the segments.  Both are the same reader, over the same
 * struct kevo_feed, and are not mixed on one.
 *
 * What is told was copied out of the file first and verified then: frame,
 * chain and sequence number, back to the place where the feed began.  So a
 * copy of what it gives is as good as the log, whatever happens to the files
 * meanwhile.  A feed takes no lock and nobody waits for it; it keeps the
 * segments that it needs next open, so that their removal does not hurt it
 * while it keeps up.
 */
#ifndef KV_FEED_H
#define KV_FEED_H

#include <stdint.h>

#include "kevo.h"
#include "segment.h"

struct kv_position;		/* position.h */

struct kv_feed_start {
	unsigned flags;		/* enum kevo_feed_flags; who ships says
				 * KEVO_FEED_DURABLE */
	uint64_t after;		/* begin behind this commit, */
	const struct kv_position *at;	/* or, not NULL, behind this position:
				 * the chain there must be the same */
	const char *dir;	/* not NULL: "slots/r1", another directory of
				 * the database whose segments, named
				 * EPOCH-FIRST-LAST.seg, may be read where
				 * wal/ has them no more */
};

/* Returns as kevo_feed_open(); closed by kevo_feed_close(). */
int kv_feed_open(struct kevo *db, const struct kv_feed_start *start,
    struct kevo_feed **out);

enum kv_feed_kind {
	KV_FEED_HEAD = 1,	/* the header of the segment that what follows
				 * is from; also when the feed began in the
				 * middle of it */
	KV_FEED_RECORD = 2,	/* one record */
	KV_FEED_SEAL = 3	/* the segment is complete, and on disk */
};

struct kv_feed_item {
	enum kv_feed_kind kind;
	const uint8_t *bytes;	/* exactly as in the file; valid until the
				 * next call on the feed */
	uint64_t len;
	uint64_t off;		/* in the segment's file */
	const struct kv_segment_head *head;	/* of the segment, decoded */
	/* of a record: frame and trailer; of a seal: its last record */
	uint8_t type;		/* enum kv_record_type */
	uint64_t seq, time_ns, chain;
	uint64_t records;	/* of the segment up to here, if the feed was
				 * there from its beginning; seal: all */
};

/*
 * The next item.  A segment without a record yields nothing, neither header
 * nor seal.
 *
 * Returns 0, KEVO_NOTFOUND (that was all so far; kevo_feed_wait()), or what
 * kevo_feed_next() may.
 */
int kv_feed_step(struct kevo_feed *f, struct kv_feed_item *item);

/* Behind what was told last. */
void kv_feed_position(const struct kevo_feed *f, struct kv_position *p);

/*
 * How far the feed could tell now: the newest commit that is visible, or on
 * disk with KEVO_FEED_DURABLE.  Returns 0 or an error.
 */
int kv_feed_limit(struct kevo_feed *f, uint64_t *seq);

/*
 * The smallest commit that a feed may begin behind now, with what wal/ and
 * dir (NULL: none) still have.  Returns 0 or an error.
 */
int kv_feed_oldest(struct kevo *db, const char *dir, uint64_t *after);

#endif /* KV_FEED_H */
