/*
 * record: one commit as bytes, and the operations inside it.
 *
 * A record is a frame of 40 bytes, a payload padded to 8, and a trailer of
 * 8 bytes that chains it to the record before.  The payload is a count and
 * that many operations.  The layout is kevo-format(5), RECORD.
 */
#ifndef KV_RECORD_H
#define KV_RECORD_H

#include <stddef.h>
#include <stdint.h>

#include "coding.h"

#define KV_FRAME_LEN	40
#define KV_TRAILER_LEN	8
#define KV_PAYLOAD_HEAD	8	/* operation count u32, zero u32 */
#define KV_OP_HEAD	8
#define KV_PAYLOAD_MAX	(1u << 30)

enum kv_record_type {
	KV_RECORD_COMMIT = 1,
	KV_RECORD_MARK = 3
};

enum kv_op_kind {
	KV_OP_PUT = 1,
	KV_OP_DELETE = 2
};

enum kv_op_flag {
	KV_OP_EXPIRES = 1	/* eight bytes of time follow the head */
};

struct kv_frame {
	uint32_t payload_len;
	uint8_t type;
	uint64_t seq;
	uint64_t time_ns;
	uint64_t durable;	/* highest sequence known synced when written */
};

struct kv_op {
	uint8_t kind;
	uint64_t expires_ns;	/* 0: never */
	const uint8_t *key;
	uint32_t klen;
	const uint8_t *val;
	uint32_t vlen;
	uint32_t len;		/* bytes of the whole operation */
};

/* Bytes of a record in the log, with padding and trailer. */
static inline uint64_t
kv_record_len(uint32_t payload_len)
{
	return KV_FRAME_LEN + (((uint64_t)payload_len + 7) & ~(uint64_t)7) +
	    KV_TRAILER_LEN;
}

/* Bytes of one operation in a payload. */
static inline uint64_t
kv_op_len(size_t klen, size_t vlen, uint64_t expires_ns)
{
	return KV_OP_HEAD + (expires_ns != 0 ? 8 : 0) + (uint64_t)klen + vlen;
}

/*
 * Find the key of the operation at off in a log of len bytes.  Returns 0,
 * or -1 if the operation does not lie within the log (a damaged index may
 * point anywhere).  Inline: the index calls it once a lookup.
 */
static inline int
kv_op_key(const uint8_t *log, uint64_t len, uint64_t off,
    const uint8_t **key, uint32_t *klen)
{
	uint32_t head = KV_OP_HEAD;

	if (len < KV_OP_HEAD || off > len - KV_OP_HEAD)
		return -1;
	if (log[off + 1] & KV_OP_EXPIRES)
		head += 8;
	*klen = (uint32_t)get_le16(log + off + 2) + 1;
	if (head + *klen > len - off)
		return -1;
	*key = log + off + head;
	return 0;
}

/*
 * Decode the operation at off of a buffer of len bytes; the pointers point
 * into it.  Returns 0, or -1 if it is malformed or does not fit.
 */
int kv_op_decode(const uint8_t *buf, uint64_t len, uint64_t off,
    struct kv_op *op);

/*
 * Encode an operation; buf has room for kv_op_len() bytes.  Returns the
 * bytes written.  klen is 1 to KEVO_KEY_MAX, vlen to KEVO_VALUE_MAX.
 */
uint32_t kv_op_encode(uint8_t *buf, enum kv_op_kind kind,
    uint64_t expires_ns, const void *key, size_t klen, const void *val,
    size_t vlen);

/*
 * Write the frame of f with its hash into buf.  The hash is seeded with the
 * nonce of the epoch, so that a log of another database that somebody stores
 * as a value does not pass for frames of this one.
 */
void kv_frame_encode(uint8_t buf[KV_FRAME_LEN], const struct kv_frame *f,
    uint64_t nonce);

/*
 * Decode a frame.  Returns 0, or -1 if its hash differs or a field is out
 * of range; an all-zero frame is such a case.
 */
int kv_frame_decode(const uint8_t buf[KV_FRAME_LEN], struct kv_frame *f,
    uint64_t nonce);

/*
 * The chain value of a record: XXH3-64 over frame, payload and padding,
 * seeded with the chain value before it.
 */
uint64_t kv_chain(const uint8_t *rec, uint64_t len_without_trailer,
    uint64_t prev);

#endif /* KV_RECORD_H */
