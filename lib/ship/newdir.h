/*
 * newdir: a directory that is built beside its place, and put there when it
 * is complete.
 *
 * It is called .NAME.restore until then, and locked, so that what a killed
 * process left of it is known to be nobody's: the next one empties it and
 * goes on in it.  Only names given here are ever written or removed.
 */
#ifndef KV_NEWDIR_H
#define KV_NEWDIR_H

#include <stddef.h>
#include <stdint.h>

struct kv_env;
struct kv_dir;
struct kv_newdir;

/*
 * Begin.  path is the place: free, or an empty directory; with force also a
 * database that nobody has open for writing.
 *
 * Returns 0; KEVO_ECREATE (the place is taken, or cannot be written to),
 * KV_SHIP_BUSY (somebody else is at it, or has the database open), or an
 * error.
 */
int kv_newdir_open(struct kv_env *env, const char *path, int force,
    struct kv_newdir **out);

/* The place is looked at, and nothing done: as kv_newdir_open(). */
int kv_newdir_check(struct kv_env *env, const char *path, int force);

/* Where it is now; names in it for the functions of file.h. */
const struct kv_dir *kv_newdir_dir(const struct kv_newdir *d);
const char *kv_newdir_path(const struct kv_newdir *d);

/* Permissions of files from now on; of directories as well. */
void kv_newdir_mode(struct kv_newdir *d, uint32_t mode);

int kv_newdir_mkdir(struct kv_newdir *d, const char *name);

/* Write a file that is not there yet: in pieces, or at once.  They go to disk
 * while others are written. */
int kv_newdir_begin(struct kv_newdir *d, const char *name);
int kv_newdir_data(struct kv_newdir *d, const void *p, size_t len);
int kv_newdir_end(struct kv_newdir *d);
int kv_newdir_file(struct kv_newdir *d, const char *name, const void *p,
    size_t len);

/* Bring all files to disk, then their directory and those named (NULL-ended);
 * what is missing of them does not matter. */
int kv_newdir_sync(struct kv_newdir *d, const char *const *dirs);

/* Remove a directory below it, with what is in it; a missing one is fine. */
int kv_newdir_remove_dir(struct kv_newdir *d, const char *name);

/* Put it in its place.  What was there, with force, is removed then. */
int kv_newdir_place(struct kv_newdir *d);

/* Remove it, unless it is in its place.  NULL is allowed. */
void kv_newdir_free(struct kv_newdir *d);

#endif /* KV_NEWDIR_H */
