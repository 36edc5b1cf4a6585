/*
 * track: what a transaction has read, so that it can be read again.
 *
 * A key is remembered with the version that it had, a range by its ends: to
 * read it again is to walk it as of the transaction's snapshot and as of now,
 * side by side.  Both say what a reader sees: a change back, or a deletion
 * that compaction has forgotten, is what it looks like, and an expiry is a
 * change.  Beyond a limit of memory keys and ranges are no longer told
 * apart: then whatever was committed is a conflict.
 */
#ifndef KV_TRACK_H
#define KV_TRACK_H

#include <stddef.h>
#include <stdint.h>

struct kevo;
struct kv_view;
struct kv_seg;

struct kv_track {
	uint8_t *buf;
	size_t len, room, limit;
	int everything;		/* it has become too much */
	int expiring;		/* something that was read will expire */
};

void kv_track_init(struct kv_track *t, size_t limit);
void kv_track_release(struct kv_track *t);

/* A key was read: its version, 0 if it was absent. */
void kv_track_key(struct kv_track *t, const void *key, size_t klen,
    uint64_t version, uint64_t expires_ns);

/* An end of a range; key NULL: there is none. */
struct kv_bound {
	const void *key;
	size_t klen;
};

/* A range was read, from the first bound on and to the second one, which
 * belongs to it if `closed`. */
void kv_track_range(struct kv_track *t, const struct kv_bound *from,
    const struct kv_bound *to, int closed);

/* What the snapshot is that was read, and where to read again. */
struct kv_reread {
	struct kevo *db;
	struct kv_view *then;	/* kept */
	uint64_t then_seq;
	uint64_t then_ns;	/* the clock when it was taken */
	struct kv_view *now;	/* kept */
	uint64_t now_seq;
	uint64_t now_ns;	/* and the clock */
};

/* 0, KEVO_ECONFLICT or an error. */
int kv_track_check(const struct kv_track *t, const struct kv_reread *r);

/*
 * 1 if the records of the log from off to end of a segment are surely about
 * nothing that was read; 0: read it again, since they are, or are many.
 */
int kv_track_untouched(const struct kv_track *t, const struct kv_seg *s,
    uint64_t off, uint64_t end);

/*
 * What an iterator has passed since it was positioned.  It begins with a key
 * (NULL: with the end of the iterator's range) in one direction.
 */
struct kv_span {
	struct kv_track *track;	/* NULL: nothing is remembered */
	int open;
	int backward;
	uint8_t *start;		/* NULL: the end of the range */
	size_t start_len;
};

void kv_span_begin(struct kv_span *s, int backward, const void *key,
    size_t klen);

/* It has come to reached (key NULL: to the end), in a range whose ends are
 * from and to. */
void kv_span_end(struct kv_span *s, const struct kv_bound *reached,
    const struct kv_bound *from, const struct kv_bound *to);
void kv_span_release(struct kv_span *s);

#endif /* KV_TRACK_H */
