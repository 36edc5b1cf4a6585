/*
 * image: a segment of the log that came from anywhere, in memory.
 *
 * It is read once into memory of our own and verified there; what is used or
 * written somewhere else afterwards are the bytes that were verified,
 * whatever happens to the file meanwhile.  Nothing is believed: not the name,
 * not the length, not the compression.
 */
#ifndef KV_IMAGE_H
#define KV_IMAGE_H

#include <stdint.h>

#include "../segment.h"

struct kv_env;

enum kv_image_state {
	KV_IMAGE_SEALED,	/* complete: every byte is verified */
	KV_IMAGE_OPEN,		/* ends between two records, without a seal */
	KV_IMAGE_SHORT,		/* ends inside a record, the header or seal */
	KV_IMAGE_CORRUPT	/* bytes that nobody wrote */
};

/*
 * What a segment proved to be.  Up to `end` it is verified in any state:
 * whole records, chained to each other and to chain_before of the header.
 */
struct kv_image {
	uint8_t *bytes;
	uint64_t len;
	uint64_t room;			/* mapped; 0: the bytes are not ours */
	enum kv_image_state state;
	int has_head;			/* head is set; else end is 0 */
	int zstd;			/* it was compressed */
	struct kv_segment_head head;
	uint64_t records;
	uint64_t last_seq;		/* first_seq - 1: no record */
	uint64_t chain;			/* at last_seq */
	uint64_t first_ns, last_ns;	/* commit times; 0: no record */
	uint64_t end;			/* of the last record */
	char why[100];			/* if CORRUPT or SHORT: what is wrong
					 * at `end` */
	struct kv_image_place {		/* where commits are looked for from; */
		uint64_t seq, off, chain;	/* kv_image_pass() */
	} passed;
};

/* Verify len bytes; they stay the caller's.  Never fails: see state. */
void kv_image_scan(struct kv_image *img, const uint8_t *bytes, uint64_t len);

/* There are len bytes by now: verify what is behind `end`.  Not of an image
 * that is sealed or corrupt. */
void kv_image_scan_on(struct kv_image *img, uint64_t len);

/*
 * Read a file to its end, unpack it if it is a Zstandard frame, and verify
 * it.  fd may be a pipe; name is for messages.  Returns 0 with *out to be
 * released, KEVO_EIO, KEVO_EPERM or KEVO_ENOMEM.
 */
int kv_image_read(struct kv_env *env, int fd, const char *name,
    struct kv_image *out);

/* The same for a file below a directory.  KEVO_ENODB: there is none. */
int kv_image_load(struct kv_env *env, int dirfd, const char *file,
    const char *name, struct kv_image *out);

/*
 * The file that an image was read from may have grown: read it on from `end`,
 * and verify what is new.  Returns 0, or KEVO_NOTFOUND if it is to be read
 * anew: it cannot be read on, or is not what it was, which header and chain
 * tell; or KEVO_EIO.
 */
int kv_image_grow(struct kv_env *env, int fd, const char *name,
    struct kv_image *img);

void kv_image_release(struct kv_image *img);

/*
 * Where commit seq ends in the image, and its chain value.  first_seq - 1 is
 * the end of the header.  Returns 0, or -1 if it has no such commit.
 */
int kv_image_at(const struct kv_image *img, uint64_t seq, uint64_t *off,
    uint64_t *chain);

/* Commits up to seq will hardly be asked for again: what is behind them is
 * found without going over them. */
void kv_image_pass(struct kv_image *img, uint64_t seq);

/* When commit seq was made; 0: there is no such commit. */
uint64_t kv_image_time(const struct kv_image *img, uint64_t seq);

/* The same for the last commit made at time_ns or before; 0: none is. */
uint64_t kv_image_seq_at(const struct kv_image *img, uint64_t time_ns);

/* "sealed", "open", "short" or "corrupt". */
const char *kv_image_state_word(enum kv_image_state s);

#endif /* KV_IMAGE_H */
