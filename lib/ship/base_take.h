/*
 * base_take: what goes into a base, held so that it stays readable, while
 * others write and compact.
 *
 * The version is pinned, which keeps its tables and the log from its first
 * segment on; segments are open besides, those too that no version needs any
 * more.  Nobody waits for this, and nothing is written.
 */
#ifndef KV_BASE_TAKE_H
#define KV_BASE_TAKE_H

#include <stddef.h>
#include <stdint.h>

#include "../position.h"
#include "../segment.h"
#include "../version.h"

struct kevo;
struct kv_ident;

/* A segment, as far as it goes into the base. */
struct kv_taken_segment {
	uint64_t counter;
	int fd;
	uint64_t file_len;	/* when it was opened */
	uint64_t len;		/* bytes of the file that are taken, */
	int cut;		/* and this seal behind them */
	uint8_t seal[KV_SEAL_LEN];
	struct kv_segment_head head;
};

/* What an increment continues.  chain and epoch are not known of a commit
 * that a person named. */
struct kv_take_from {
	struct kv_position at;
	int only_seq;
	int need_log;		/* KEVO_EHISTORY where the log is not whole */
};

struct kv_taken {
	struct kevo *db;
	const struct kv_ident *ident;
	struct kv_version *version;
	int pinned;
	uint64_t number;	/* of the version that is pinned */
	struct kv_taken_segment *seg;
	size_t n;
	struct kv_position start;	/* what the tables hold */
	struct kv_position from;	/* of an increment */
	int log_is_whole;		/* from there on */
	struct kv_position end;
	uint64_t time_ns;		/* of the last commit */
};

/*
 * Take what db, whose identity is ident, shows now.  durable as in struct
 * kv_base_write; from NULL: a full one.  t is to be released, also after an
 * error.
 */
int kv_take(struct kv_taken *t, struct kevo *db,
    const struct kv_ident *ident, int durable,
    const struct kv_take_from *from);
void kv_taken_release(struct kv_taken *t);

/* Map the file of a segment; to be unmapped with its file_len. */
int kv_taken_map(struct kv_taken *t, const struct kv_taken_segment *s,
    const uint8_t **log);

#endif /* KV_BASE_TAKE_H */
