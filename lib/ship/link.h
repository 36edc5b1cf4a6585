/*
 * link: what a receiver that runs knows of its source, for others to see.
 *
 * A small text in state/link of an archive, shm/link of a database, rewritten
 * in place at every beat.  Its receiver holds a lock on it: without the lock
 * nobody receives, and how far behind we are is not known.
 */
#ifndef KV_LINK_H
#define KV_LINK_H

#include <stdint.h>

struct kv_env;
struct kv_dir;

#define KV_LINK_DB	"shm/link"
#define KV_LINK_ARCHIVE	"state/link"

struct kv_link {
	int alive;		/* its receiver runs */
	int connected;		/* and has the other side */
	uint32_t pid;
	uint64_t since_ns;	/* connected, or not; our clock */
	uint64_t contact_ns;	/* last frame, our clock; 0: none yet */
	uint64_t primary_seq;	/* of the last beat; 0: none yet */
	uint64_t primary_ns;	/* the sender's clock then */
	uint64_t behind_bytes;	/* of log that it had not sent yet */
	uint64_t seq;		/* ours, on disk */
	uint64_t commit_ns;	/* its commit time; 0: not known */
};

/* Milliseconds behind at the last beat, by the sender's clock; -1: not
 * known, which is so whenever the link is down. */
int64_t kv_link_lag_ms(const struct kv_link *l);

/* Read it.  0, KEVO_ENODB (nobody ever received here) or an error. */
int kv_link_read(struct kv_env *env, const struct kv_dir *dir,
    const char *name, struct kv_link *out);

/* ---- for the receiver -------------------------------------------------- */

struct kv_link_file;

/* KEVO_EBUSY: another process receives, whose pid the message has. */
int kv_link_open(struct kv_env *env, const struct kv_dir *dir,
    const char *name, uint32_t mode, struct kv_link_file **out);
void kv_link_close(struct kv_link_file *f);

/* Failing to tell is no reason to stop. */
void kv_link_write(struct kv_link_file *f, const struct kv_link *l);

#endif /* KV_LINK_H */
