/*
 * stream: the log as frames that travel through a pipe.
 *
 * The bytes are kevo-archive(5), STREAM.  Nothing here knows a descriptor:
 * who writes gives payloads and gets the bytes around them, who reads gives
 * bytes as they come and gets frames.  What comes is not trusted; a frame is
 * handed out only when all of it has been verified, and a length that it
 * claims reserves no memory before the bytes are there.
 */
#ifndef KV_STREAM_H
#define KV_STREAM_H

#include <stddef.h>
#include <stdint.h>

#include "position.h"

struct kv_env;

#define KV_STREAM_MAGIC		"KEVOSHIP 1\n"
#define KV_STREAM_MAGIC_LEN	11
#define KV_STREAM_HEAD		24
#define KV_STREAM_TAIL		8
#define KV_STREAM_EPOCH_MAX	1024	/* bytes of an epoch file */

enum kv_stream_kind {
	KV_STREAM_HELLO = 1,
	KV_STREAM_EPOCH = 2,	/* text of an epoch file */
	KV_STREAM_SEG = 3,	/* header of a segment */
	KV_STREAM_REC = 4,	/* whole records */
	KV_STREAM_SEAL = 5,	/* seal of the segment */
	KV_STREAM_BEAT = 7,
	KV_STREAM_BYE = 8
};

#define KV_STREAM_HELLO_LEN	72
#define KV_STREAM_BEAT_LEN	48
#define KV_STREAM_BYE_LEN	40

struct kv_hello {
	uint8_t id[16];		/* of the database */
	struct kv_position start;	/* before the first record to come */
	int follow;		/* beats come until the end */
	int primary;		/* the sender is one, and no replica */
	uint64_t clock_ns;	/* the sender's */
};

struct kv_beat {
	struct kv_position end;	/* last one on the sender's disk */
	uint64_t bytes;		/* of log up to there, not sent yet */
	uint64_t clock_ns;
};

struct kv_bye {
	struct kv_position end;	/* after the last record sent */
	uint64_t frames;
};

/* ---- writing ----------------------------------------------------------- */

/* Zeroed: nothing was sent.  The caller writes the magic text first. */
struct kv_stream_out {
	uint64_t seed;
	uint64_t number;	/* of the frame last made */
};

/*
 * Make the bytes before and after a payload, which is sound for its kind.
 * The first frame is made by kv_stream_hello().
 */
void kv_stream_frame(struct kv_stream_out *s, enum kv_stream_kind kind,
    const void *payload, size_t len, uint8_t head[KV_STREAM_HEAD],
    uint8_t tail[KV_STREAM_TAIL]);

/*
 * Payloads.  kv_stream_hello() takes 64 random bits of its own and returns
 * 0, or -1 if there are none to be had.  kv_stream_bye() sets frames.
 */
int kv_stream_hello(const struct kv_hello *h,
    uint8_t buf[KV_STREAM_HELLO_LEN]);
void kv_stream_beat(const struct kv_beat *b, uint8_t buf[KV_STREAM_BEAT_LEN]);
void kv_stream_bye(const struct kv_stream_out *s,
    const struct kv_position *end, uint8_t buf[KV_STREAM_BYE_LEN]);

/* ---- reading ----------------------------------------------------------- */

struct kv_stream_in;

/* A verified frame.  payload points into the reader's memory until the next
 * call of kv_stream_room() or kv_stream_next(). */
struct kv_stream_got {
	enum kv_stream_kind kind;
	uint64_t number;
	const uint8_t *payload;
	size_t len;
	struct kv_hello hello;	/* for their kind only */
	struct kv_beat beat;
	struct kv_bye bye;
};

/* NULL: out of memory. */
struct kv_stream_in *kv_stream_in_new(void);
void kv_stream_in_free(struct kv_stream_in *in);

/*
 * Where the next bytes go: at least one may be written there, then
 * kv_stream_add() says how many were.  NULL: out of memory.
 */
uint8_t *kv_stream_room(struct kv_stream_in *in, size_t *room);
void kv_stream_add(struct kv_stream_in *in, size_t n);

/*
 * Take the next frame.  Returns 1 with *got filled, 0 if more bytes are
 * needed, or KEVO_ECORRUPT, and then for ever, with the sentence in env:
 * which frame, what is wrong.
 */
int kv_stream_next(struct kv_env *env, struct kv_stream_in *in,
    struct kv_stream_got *got);

/* The number of the frame last handed out; 0: none. */
uint64_t kv_stream_number(const struct kv_stream_in *in);

/* 1 if the input may end here: directly behind a BYE. */
int kv_stream_ended(const struct kv_stream_in *in);

#endif /* KV_STREAM_H */
