/*
 * sender: the log of a database into a stream.
 *
 * What is on disk is sent, byte for byte, and nothing else.  With follow it
 * goes on as the log grows, with a beat every second, until it is asked to
 * stop or the other side is gone.  Acknowledgements that come back are kept
 * in the slot.  A sender takes no lock that a writer waits for: if it cannot
 * keep up, it falls behind.
 */
#ifndef KV_SENDER_H
#define KV_SENDER_H

#include <stddef.h>
#include <stdint.h>

#include "position.h"

struct kevo;

struct kv_send {
	const char *slot;	/* NULL: none */
	const struct kv_position *from;	/* NULL: what the receiver says, else
					 * the slot, else the oldest */
	int follow;
	int out_fd;
	int ack_fd;		/* -1: nobody acknowledges */
	uint64_t rate;		/* bytes a second; 0: no limit */
	int64_t seal_after_ms;	/* seal a segment that is older; -1: never */
	int (*stopped)(void);
	/* A remark for who watches, such as a line that is no
	 * acknowledgement. */
	void (*note)(const char *what);
};

struct kv_sent {
	uint64_t records, bytes, frames;
	struct kv_position at;	/* behind what was sent */
	struct kv_position acked;	/* epoch 0: nothing was */
	int gone;		/* nobody reads any more; there was no BYE */
};

/*
 * db is open, for writing if there is a slot or seal_after_ms.  Returns 0
 * with *out filled, an error, or KV_SHIP_LOST, KV_SHIP_GAP or KV_SHIP_FORK;
 * then the sentence is in kevo_errmsg().  KEVO_NOTFOUND: no such slot.
 */
int kv_send(struct kevo *db, const struct kv_send *s, struct kv_sent *out);

#endif /* KV_SENDER_H */
