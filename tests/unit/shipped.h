/*
 * shipped: segments made in memory, of histories that never were.
 */
#ifndef SHIPPED_H
#define SHIPPED_H

#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "env.h"
#include "epoch.h"
#include "ident.h"
#include "position.h"
#include "record.h"
#include "segment.h"
#include "ship/accept.h"
#include "ship/image.h"
#include "tap.h"

#define SHIPPED_MAX	(1 << 16)

/* One segment, and where the history behind it goes on. */
struct shipped {
	uint8_t b[SHIPPED_MAX];
	uint64_t len;
	uint64_t first, last, chain;
	uint64_t record[64];	/* where each begins */
	struct kv_segment_head head;
};

static const struct kv_ident shipped_ident = {
	.id = "the database id", .epoch = 1, .nonce = 0x1111111111111111u
};

/* One put of key "kSEQ" with a value of vlen times fill. */
static inline uint64_t
shipped_record(uint8_t *b, uint64_t seq, uint64_t nonce, uint64_t chain,
    uint32_t vlen, int fill)
{
	uint8_t val[2048];
	char key[32];
	struct kv_frame f = { .type = KV_RECORD_COMMIT, .seq = seq,
		.time_ns = 1000000000u * seq, .durable = seq - 1 };
	uint64_t total;

	memset(val, fill, sizeof(val));
	snprintf(key, sizeof(key), "k%" PRIu64, seq);
	memset(b, 0, 4096);
	put_le32(b + KV_FRAME_LEN, 1);
	f.payload_len = KV_PAYLOAD_HEAD + kv_op_encode(b + KV_FRAME_LEN +
	    KV_PAYLOAD_HEAD, KV_OP_PUT, 0, key, strlen(key), val, vlen);
	kv_frame_encode(b, &f, nonce);
	total = kv_record_len(f.payload_len);
	put_le64(b + total - KV_TRAILER_LEN, kv_chain(b, total -
	    KV_TRAILER_LEN, chain));
	return total;
}

/* Commits behind position p, n of them; p moves behind them.  seal: 1. */
static inline void
shipped_make(struct shipped *s, struct kv_position *p, unsigned n, int seal,
    int fill)
{
	struct kv_seal z;
	uint64_t total;

	memset(s, 0, sizeof(*s));
	memcpy(s->head.id, shipped_ident.id, sizeof(s->head.id));
	s->head.epoch = p->epoch;
	s->head.nonce = p->nonce;
	s->head.first_seq = s->first = p->seq + 1;
	s->head.chain_before = p->chain;
	s->head.created_ns = 5;
	s->head.counter = p->seq + 1;
	s->head.capacity = SHIPPED_MAX;
	kv_segment_head_encode(s->b, &s->head);
	s->len = KV_SEGMENT_HEAD;
	for (unsigned i = 0; i < n; i++) {
		s->record[i] = s->len;
		total = shipped_record(s->b + s->len, ++p->seq, p->nonce,
		    p->chain, 5 + 7 * i, fill);
		s->len += total;
		p->chain = get_le64(s->b + s->len - KV_TRAILER_LEN);
	}
	s->record[n] = s->len;
	s->last = p->seq;
	s->chain = p->chain;
	z = (struct kv_seal){ p->seq, n, s->len + KV_SEAL_LEN, p->chain,
		1000000000u * p->seq, s->head.hash };
	kv_seal_encode(s->b + s->len, &z);
	if (seal)
		s->len += KV_SEAL_LEN;
}

/* The beginning of the history. */
static inline struct kv_position
shipped_origin(void)
{
	struct kv_epoch e;

	kv_epoch_first(&shipped_ident, &e);
	return (struct kv_position){ e.epoch, e.nonce, 0, e.chain };
}

/* A promotion at p: the next epoch is added to the history. */
static inline void
shipped_promote(struct kv_history *h, struct kv_position *p, uint64_t nonce)
{
	struct kv_env env;
	struct kv_epoch e = { .epoch = p->epoch + 1, .nonce = nonce,
		.parent = p->epoch, .parent_nonce = p->nonce,
		.start = p->seq, .chain = p->chain, .time_ns = 7,
		.host = "here", .reason = "a test" };

	memcpy(e.db, shipped_ident.id, sizeof(e.db));
	if (kv_history_refuses(h, &e) != NULL ||
	    kv_history_add(&env, h, &e) != 0)
		tap_bail("the history does not take a promotion");
	p->epoch = e.epoch;
	p->nonce = nonce;
}

static inline void
shipped_history(struct kv_history *h)
{
	h->n = 1;
	h->v = tap_alloc(sizeof(*h->v));
	kv_epoch_first(&shipped_ident, h->v);
}

static inline enum kv_image_state
shipped_state(const uint8_t *b, uint64_t len)
{
	struct kv_image img;

	kv_image_scan(&img, b, len);
	return img.state;
}

#endif /* SHIPPED_H */
