/*
 * walship_stream: sending and receiving through pipes, for the sub-commands
 * send and recv.
 */
#ifndef WALSHIP_STREAM_H
#define WALSHIP_STREAM_H

#include <stdint.h>

#include "cli.h"

/* send DB --to - */
struct walship_send {
	const char *db;		/* operand */
	const char *slot;	/* --slot; NULL: none */
	const char *from;	/* --from; NULL: see sender.h */
	int follow;
	int ack_fd;		/* --acks; -1: none */
	uint64_t rate;		/* --bwlimit, bytes a second; 0: none */
	int64_t seal_after_ms;	/* --seal-after; -1: never */
};

/* Returns the exit status. */
int walship_send_stream(const struct walship_send *s);

/* --acks: "-" is standard input; else a descriptor.  64 if it is neither. */
int walship_ack_fd(const char *arg);

/* recv [- | --via CMD] --apply DB | --to ARCHIVE */
struct walship_recv {
	const char *via;	/* NULL: standard input */
	const char *apply;	/* a replica, */
	const char *to;		/* or an archive */
	const char *slot;
	int follow;		/* connect again and again */
	int zstd;		/* compress segments in the archive */
};

int walship_recv_stream(const struct walship_recv *r);

#endif /* WALSHIP_STREAM_H */
