/*
 * feed_file: one segment of the log as a feed reads it, and what a feed
 * consists of, for feed*.c.
 *
 * Records are copied out of the file and verified then, so that they stay
 * what they are: the newest segment is being written, and recovery may cut
 * it.  What lies behind the newest commit that is known to be whole is never
 * looked at.
 */
#ifndef KV_FEED_FILE_H
#define KV_FEED_FILE_H

#include <stdint.h>

#include "feed.h"
#include "position.h"
#include "segment.h"

struct kv_env;
struct kv_dir;

struct kv_feed_file {
	struct kv_env *env;
	const struct kv_dir *dir;
	int fd;
	char name[128];		/* below the directory */
	int linked;		/* from another directory than wal/: it is
				 * complete */
	uint8_t raw[KV_SEGMENT_HEAD];
	struct kv_segment_head head;

	/* Behind the record that was read last. */
	uint64_t off, seq, chain, time_ns;

	uint8_t seal_raw[KV_SEAL_LEN];
	struct kv_seal seal;

	/* Copied: len bytes of the file from at on, when all commits up to
	 * known were whole. */
	uint8_t *buf;
	uint64_t at, len, room, known;
	uint64_t chunk;		/* how much is read ahead */
};

/*
 * Open a segment of the database id, at its beginning.  env and dir are kept.
 * Returns 0, KEVO_NOTFOUND (no such file), KEVO_ECORRUPT (no header of this
 * database), KEVO_EIO, KEVO_EPERM or KEVO_ENOMEM.
 */
int kv_feed_file_open(struct kv_env *env, const struct kv_dir *dir,
    const char *name, const uint8_t id[16], struct kv_feed_file **out);
void kv_feed_file_close(struct kv_feed_file *f);

/*
 * The next record; commits up to limit, which is above f->seq, are whole.
 * Returns 0 with *rec valid until the next call, KEVO_NOTFOUND (there is none
 * that verifies) or an error.
 */
int kv_feed_file_next(struct kv_feed_file *f, uint64_t limit,
    const uint8_t **rec, uint64_t *len);

/* Forget what was copied: the file is to be read again. */
void kv_feed_file_again(struct kv_feed_file *f);

/*
 * Go behind commit seq, which is not below f->seq, by the frames alone.
 * Returns as kv_feed_file_next().
 */
int kv_feed_file_skip(struct kv_feed_file *f, uint64_t seq, uint64_t limit);

/* The same at once, where the place is known: 0, or KEVO_NOTFOUND if the log
 * does not say so. */
int kv_feed_file_jump(struct kv_feed_file *f, uint64_t off, uint64_t seq,
    uint64_t chain);

/* Is this the end, with a seal that fits?  1 with f->seal set, 0 or an
 * error. */
int kv_feed_file_sealed(struct kv_feed_file *f);

/* Is the record that was read last still in this file?  1, 0 or an error. */
int kv_feed_file_holds(struct kv_feed_file *f);

/* ---- feed_find.c: which file? ------------------------------------------ */

/* Where segments may be. */
struct kv_feed_place {
	struct kv_env *env;
	const struct kv_dir *dir;
	const uint8_t *id;
	const char *linked;	/* "slots/r1", or NULL */
	uint64_t active;	/* newest segment that is to be looked at */
};

/*
 * Open the segment that commit seq is in, or will be.  Returns 0, KEVO_NOTFOUND
 * (it is not there) or an error.
 */
int kv_feed_find(const struct kv_feed_place *p, uint64_t seq,
    struct kv_feed_file **out);

/* The smallest commit that can be begun behind. */
int kv_feed_first(const struct kv_feed_place *p, uint64_t *after);

/* ---- the feed ---------------------------------------------------------- */

#define KV_FEED_AHEAD	64	/* segments that are kept open */

struct kevo_feed {
	struct kevo *db;
	unsigned flags;
	char *linked;			/* another directory, or NULL */
	uint8_t id[16];
	uint64_t generation;		/* that was looked at last, */
	uint64_t visible, limit, active;	/* and what it said */

	struct kv_position at;		/* behind what was told last */
	struct kv_feed_file *file;	/* that it is in; NULL: none yet */
	uint64_t counter;		/* of that one */
	struct kv_feed_file *ahead[KV_FEED_AHEAD];	/* those that follow */
	size_t nahead;
	int told_head, told_seal;	/* of the file */
	struct kv_feed_item held;	/* a record whose header is told first;
					 * kind 0: none */

	/* The commit in hand, for kevo_feed_change(). */
	const uint8_t *payload;
	uint64_t off, len;
	uint32_t left;
};

/* ---- feed.c ------------------------------------------------------------ */

/* See what control says now, and keep what will be needed. */
int kv_feed_look(struct kevo_feed *f);

/* Go behind commit seq, where the chain must be *chain (NULL: whatever it
 * is). */
int kv_feed_place(struct kevo_feed *f, uint64_t seq, const uint64_t *chain);

/* 1 if kv_feed_step() has something to tell. */
int kv_feed_ready(const struct kevo_feed *f);

#endif /* KV_FEED_FILE_H */
