/*
 * ack: what a receiver tells about itself, one line of text at a time.
 *
 * The line is kevo-archive(5), Acknowledgements.  It travels back through a
 * pipe, or lies in a file; a shell can read and write it.
 */
#ifndef KV_ACK_H
#define KV_ACK_H

#include <stddef.h>
#include <stdint.h>

#include "position.h"
#include "slots.h"

#define KV_ACK_MAX	256	/* bytes of a line, with newline */

enum kv_ack_stage {
	KV_ACK_RECEIVED,	/* in memory: no reason to forget anything */
	KV_ACK_SYNCED,
	KV_ACK_APPLIED
};

struct kv_ack {
	char slot[KV_SLOTS_NAME_MAX + 1];	/* "-": the one in use */
	int none;		/* it has nothing yet; at is not set */
	struct kv_position at;
	enum kv_ack_stage stage;
	uint64_t time_ns;	/* the receiver's clock, whole seconds */
};

/* Write the line, with its newline and a zero byte; returns its length. */
size_t kv_ack_print(char buf[KV_ACK_MAX], const struct kv_ack *a);

/* Read a line of len bytes without its newline: 0, or -1 if it is none. */
int kv_ack_parse(const char *line, size_t len, struct kv_ack *a);

/* ---- from a descriptor ------------------------------------------------- */

/* Lines as they arrive in pieces.  Zeroed: none. */
struct kv_ack_in {
	char line[KV_ACK_MAX];
	size_t len;
	int ended;		/* end of input, or an error */
};

/*
 * Read what is there, waiting for it at most wait_ms, and take the next
 * line.  Returns 1 with *a filled; 0 if there is none; -1 for a line that is
 * no acknowledgement, which is dropped.
 */
int kv_ack_read(struct kv_ack_in *in, int fd, int wait_ms, struct kv_ack *a);

#endif /* KV_ACK_H */
