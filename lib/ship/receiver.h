/*
 * receiver: a stream into a replica or an archive.
 *
 * What has come is taken together: records are handed to a destination until
 * no more bytes are waiting, or for a tenth of a second, and then brought to
 * its disk by one sync.  After that, and after each beat, the sender is told
 * how far we are.  Telling never waits for the sender: a line that finds no
 * room is replaced by the next one.
 */
#ifndef KV_RECEIVER_H
#define KV_RECEIVER_H

#include <stddef.h>
#include <stdint.h>

#include "ack.h"
#include "position.h"
#include "stream.h"

struct kv_env;
struct kv_segment_head;

/*
 * Where records go.  Each function returns 0, or an error or class of ship.h
 * with the sentence in env.  They trust nothing but that frames are whole.
 */
struct kv_dest {
	struct kv_env *env;
	enum kv_ack_stage stage;	/* what sync() means */
	struct kv_position at;	/* on disk; epoch 0: nothing is there */
	uint64_t time_ns;	/* commit time there; 0: not known */
	int live;		/* set by the caller: the other side is there
				 * now, and no file that was kept */

	/* A stream of database id begins behind start. */
	int (*begin)(struct kv_dest *k, const struct kv_hello *h);
	int (*epoch)(struct kv_dest *k, const char *text, size_t len);
	/* What follows is of this segment, behind commit after. */
	int (*segment)(struct kv_dest *k, const struct kv_segment_head *h,
	    const uint8_t *raw, uint64_t after);
	/* Whole records of it, their frames sound, behind position before. */
	int (*records)(struct kv_dest *k, const struct kv_position *before,
	    const uint8_t *p, size_t len);
	int (*seal)(struct kv_dest *k, const uint8_t *seal);
	/* Bring to disk what was given, and set at and time_ns. */
	int (*sync)(struct kv_dest *k);
	/* The sender's beat, after what came before it was synced. */
	int (*beat)(struct kv_dest *k, const struct kv_beat *b);
};

/* What is known of the other side, for who watches. */
struct kv_recv_state {
	const struct kv_dest *dest;
	struct kv_beat beat;	/* the last one; clock_ns 0: none came */
	uint64_t contact_ns;	/* our clock, when the last frame came */
	uint64_t records;
	int follow;		/* beats will come */
};

struct kv_recv {
	int in_fd;
	const uint8_t *first;	/* what was read from it before */
	size_t first_len;
	int ack_fd;		/* -1: nobody is told */
	const char *slot;	/* its name in acknowledgements; NULL: "-" */
	int (*stopped)(void);
	/* Called after each beat and sync. */
	void (*watch)(void *arg, const struct kv_recv_state *s);
	void *arg;
};

/*
 * Receive until the end.  Returns 0 after BYE and the end of input, or when
 * stopped; KV_SHIP_SHORT, KV_SHIP_CORRUPT (a frame), KV_SHIP_REMOTE (silence),
 * or what the destination says.  What was received before an error is in the
 * destination.  out is filled in any case.
 */
int kv_recv(struct kv_dest *k, const struct kv_recv *r,
    struct kv_recv_state *out);

#endif /* KV_RECEIVER_H */
