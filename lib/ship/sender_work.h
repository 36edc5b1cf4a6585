/*
 * sender_work: what the parts of the sender share with each other.
 */
#ifndef KV_SENDER_WORK_H
#define KV_SENDER_WORK_H

#include <stddef.h>
#include <stdint.h>

#include "ack.h"
#include "ident.h"
#include "sender.h"
#include "stream.h"

struct kevo_feed;

#define KV_FIRST_ACK_MS	5000	/* how long a receiver may be silent */

struct kv_sender {
	struct kevo *db;
	const struct kv_send *s;
	struct kv_sent *out;
	struct kevo_feed *feed;
	struct kv_stream_out stream;
	struct kv_ident ident;
	uint32_t epochs_sent;	/* up to this number */

	uint8_t *rec;		/* records of the next frame */
	size_t rec_len, rec_room;
	struct kv_position told;	/* behind the last record taken from
				 * the feed */
	uint64_t segment;	/* that it is in, */
	uint64_t off;		/* and where it ends there */

	int64_t beat_ms;	/* when the next one is due */
	int64_t free_ms;	/* when the rate allows to write again */
	int64_t store_ms;	/* when the slot may be written again */
	struct kv_ack_in acks;
	int has_it;		/* the first of them counts */
	struct kv_position acked;	/* epoch 0: none to be stored */
	struct kv_position stored;	/* by us */
	int64_t contact_ms;		/* when it is to be stored again */
	char dir[KV_SLOTS_NAME_MAX + 8];
};

/* Open the feed where the stream is to begin: c->feed, c->told, c->out->at. */
int kv_sender_begin(struct kv_sender *c);

/* The sentence: the log no longer has what follows commit seq. */
int kv_sender_gap(struct kv_sender *c, uint64_t seq);

/* Note that the receiver has all up to a position. */
void kv_sender_note_ack(struct kv_sender *c, const struct kv_position *at);

static inline int
kv_sender_stopped(const struct kv_sender *c)
{
	return c->s->stopped != NULL && c->s->stopped();
}

#endif /* KV_SENDER_WORK_H */
