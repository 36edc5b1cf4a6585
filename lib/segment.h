/*
 * segment: one file of the write-ahead log.
 *
 * A header with the identity, records chained to each other, and a seal
 * once it is complete.  The layout is kevo-format(5), SEGMENT; replicas and
 * archives hold the same bytes.
 */
#ifndef KV_SEGMENT_H
#define KV_SEGMENT_H

#include <stddef.h>
#include <stdint.h>

struct kv_env;
struct kv_dir;
struct kv_ident;

#define KV_SEGMENT_HEAD	128
#define KV_SEAL_LEN	64
#define KV_SEGMENT_MAX	((uint64_t)0xffffffff)	/* offsets fit 32 bits */

/* Its records were copied from another log.  What they say of durability is
 * not of this disk. */
#define KV_SEGMENT_COPIED	1u

struct kv_segment_head {
	uint8_t id[16];
	uint32_t epoch;
	uint32_t flags;
	uint64_t nonce;
	uint64_t first_seq;
	uint64_t chain_before;
	uint64_t created_ns;
	uint64_t counter;
	uint64_t capacity;	/* bytes the file may grow to */
	uint64_t hash;
};

struct kv_seal {
	uint64_t last_seq;
	uint64_t records;
	uint64_t file_len;
	uint64_t chain;
	uint64_t time_ns;
	uint64_t head_hash;
};

/* "wal/0000000000000001.seg" */
#define KV_SEGMENT_NAME_LEN	32
void kv_segment_name(char buf[KV_SEGMENT_NAME_LEN], uint64_t counter);

/* KEVO_ECORRUPT, with the sentence that it is damaged at a byte, and why. */
int kv_segment_damaged(struct kv_env *env, const struct kv_dir *dir,
    uint64_t counter, uint64_t off, const char *why);

/* The chain value before the first record of a database. */
uint64_t kv_chain_origin(const struct kv_ident *ident);

/* Sets h->hash. */
void kv_segment_head_encode(uint8_t buf[KV_SEGMENT_HEAD],
    struct kv_segment_head *h);

/* Returns 0, or -1 if it is no sound header of this version. */
int kv_segment_head_decode(const uint8_t buf[KV_SEGMENT_HEAD],
    struct kv_segment_head *h);

void kv_seal_encode(uint8_t buf[KV_SEAL_LEN], const struct kv_seal *s);
int kv_seal_decode(const uint8_t buf[KV_SEAL_LEN], struct kv_seal *s);

/*
 * A walk over the records of a segment in memory, that trusts nothing.
 * seq, chain and time_ns are those of the record last returned.
 */
struct kv_walk {
	const uint8_t *log;
	uint64_t len;		/* bytes that may be read */
	uint64_t off;		/* of the next record */
	uint64_t rec_off;	/* of the record last returned */
	uint64_t rec_len;
	uint64_t seq, chain, time_ns, durable;
	uint64_t records;
};

enum kv_walk_result {
	KV_WALK_RECORD,		/* one more */
	KV_WALK_SEAL,		/* a sound seal that fits what came before */
	KV_WALK_END,		/* zeros from here: nothing was written */
	KV_WALK_BAD		/* neither; a torn tail or damage */
};

void kv_walk_start(struct kv_walk *w, const uint8_t *log, uint64_t len,
    const struct kv_segment_head *h);
enum kv_walk_result kv_walk_next(struct kv_walk *w);

/* 1 if len bytes are zeros. */
int kv_all_zero(const uint8_t *p, uint64_t len);

/* Every operation lies within the payload, and their number is right. */
int kv_payload_sound(const uint8_t *p, uint32_t len);

/*
 * Verify the record at off against the chain value before it and the
 * sequence number it must have.  Returns its length, or 0.
 */
uint64_t kv_record_verify(const uint8_t *log, uint64_t len, uint64_t off,
    uint64_t prev_chain, uint64_t seq);

/* The same of a record that begins at rec, in a segment of this nonce. */
uint64_t kv_record_verify_at(const uint8_t *rec, uint64_t len, uint64_t nonce,
    uint64_t prev_chain, uint64_t seq);

/*
 * Does anything in the len bytes say that sequence seq, which is bad at off,
 * was on disk once?  Looks at every eight bytes after off for a sound frame
 * that names it or a later one as durable, and whether the file, of file_len
 * bytes, was cut to its seal.  Where it was on disk, a bad record is damage
 * and not a torn tail.  Frames that were copied tell of another disk.
 */
int kv_claims_durable(const uint8_t *log, uint64_t len, uint64_t file_len,
    uint64_t off, uint64_t seq);

#endif /* KV_SEGMENT_H */
