/*
 * position: how far a copy of a database has come, on which line of history.
 *
 * The chain is the hash of everything before, so two copies at the same
 * position hold the same commits, and two at the same sequence number with
 * another chain do not.  The text is "2.9b0c6a1de4f20177:60:41d2c07be1a95f33":
 * epoch and sequence number decimal, nonce and chain 16 hexadecimal digits.
 */
#ifndef KV_POSITION_H
#define KV_POSITION_H

#include <stdint.h>

struct kevo;

struct kv_position {
	uint32_t epoch;		/* at least 1 */
	uint64_t nonce;		/* of the epoch */
	uint64_t seq;		/* of the last commit; 0: none yet */
	uint64_t chain;		/* its chain value */
};

#define KV_POSITION_LEN	72	/* the text with its zero byte */

void kv_position_print(char buf[KV_POSITION_LEN],
    const struct kv_position *p);

/* 0, or -1 if it is not to the letter what kv_position_print() writes. */
int kv_position_parse(const char *s, struct kv_position *p);

/* 1 if all four are the same. */
int kv_position_same(const struct kv_position *a,
    const struct kv_position *b);

/*
 * The position of a database: of the last commit in its log, known to be on
 * disk (KV_AT_SYNCED: what may be shipped) or seen by readers
 * (KV_AT_VISIBLE).  Takes no lock; a handle for reading will do.  Returns 0
 * or what attaching and reading may.
 */
enum kv_position_of { KV_AT_SYNCED, KV_AT_VISIBLE };
int kv_position_now(struct kevo *db, enum kv_position_of which,
    struct kv_position *out);

/*
 * The chain value of commit seq, from the log as far as it is kept.  Returns
 * 0 with *out set (its epoch is that of the segment), KEVO_NOTFOUND if it is
 * older than the log or not there yet, or an error.
 */
int kv_position_at(struct kevo *db, uint64_t seq, struct kv_position *out);

/* The same under WRITER, up to the end of the log. */
int kv_position_find(struct kevo *db, uint64_t seq, struct kv_position *out);

#endif /* KV_POSITION_H */
