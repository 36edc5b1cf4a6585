/*
 * tar: archives; the only caller of libarchive.
 *
 * What is written is pax restricted: a plain ustar header for each member
 * that fits one, integer times, owner 0, and nothing of this machine or hour,
 * so that the same members are the same bytes.  What is read is hostile: a
 * tar archive, perhaps in one zstd or gzip stream, of regular files and
 * directories.  Everything else in it is refused.
 */
#ifndef KV_TAR_H
#define KV_TAR_H

#include <stddef.h>
#include <stdint.h>

struct kv_env;
struct kv_tar_out;
struct kv_tar_in;

/* 0 if this was built without libarchive: then what makes a writer or reader
 * fails. */
int kv_tar_available(void);

/* ---- writing ----------------------------------------------------------- */

enum kv_tar_filter { KV_TAR_PLAIN, KV_TAR_ZSTD, KV_TAR_GZIP };

/* Where an archive goes; put returns 0, or a status with its sentence in the
 * env that the writer was given. */
struct kv_tar_sink {
	int (*put)(void *arg, const void *p, size_t len);
	void *arg;
};

/*
 * Functions of a writer return 0, what put returned, or KEVO_EIO or
 * KEVO_ENOMEM; after a failure only kv_tar_abandon() is of use.
 */
int kv_tar_create(struct kv_env *env, const struct kv_tar_sink *sink,
    enum kv_tar_filter filter, struct kv_tar_out **out);

/* Begin a member: a directory, or a file whose size bytes follow by
 * kv_tar_data().  Names are printable ASCII.  time: seconds. */
int kv_tar_dir(struct kv_tar_out *o, const char *name, unsigned mode,
    int64_t time);
int kv_tar_file(struct kv_tar_out *o, const char *name, unsigned mode,
    int64_t time, uint64_t size);
int kv_tar_data(struct kv_tar_out *o, const void *p, size_t len);

/* Write the end; the writer is gone in any case. */
int kv_tar_finish(struct kv_tar_out *o);
void kv_tar_abandon(struct kv_tar_out *o);	/* NULL is allowed */

/* ---- reading ----------------------------------------------------------- */

struct kv_tar_member {
	const char *name;	/* valid until the next call */
	uint64_t size;
	int is_dir;
};

/*
 * Read from fd, which stays the caller's; name is for messages and is kept.
 * stopped (may be NULL) is asked when a signal interrupts a read: other than
 * 0 ends it, with KEVO_EBUSY.
 *
 * Functions of a reader return 1 or 0 as said below, a negative status
 * (the system failed), or a class of ship.h: KV_SHIP_SHORT where the input
 * ended too early, KV_SHIP_CORRUPT for what is no archive that this reader
 * takes.
 */
int kv_tar_open(struct kv_env *env, int fd, const char *name,
    int (*stopped)(void), struct kv_tar_in **out);	/* 0 */
void kv_tar_close(struct kv_tar_in *in);	/* NULL is allowed */

/* The next member: 1, or 0 at the archive's end. */
int kv_tar_next(struct kv_tar_in *in, struct kv_tar_member *m);

/* The next bytes of the member: 1, or 0 when it is complete. */
int kv_tar_bytes(struct kv_tar_in *in, const void **p, size_t *len);

/* Bytes read from fd so far, for progress. */
uint64_t kv_tar_taken(const struct kv_tar_in *in);

/* After the archive's end: read what a writer may still have to say, so that
 * it is not killed by a closed pipe. */
void kv_tar_drain(struct kv_tar_in *in);

#endif /* KV_TAR_H */
