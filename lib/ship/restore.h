/*
 * restore: a database out of a full base and its increments.
 *
 * Nothing is replayed.  The log of an increment continues that of its parent,
 * segment by segment, with the same names; so a database as of any commit is
 * one of the versions that came, with its tables, and the log from there up
 * to that commit, cut and sealed.
 *
 * It is built beside its place (newdir.h) and verified by kevo_check() before
 * it is put there.  Until then only what was read from archives is in it, and
 * whatever fails, nothing stays.
 */
#ifndef KV_RESTORE_H
#define KV_RESTORE_H

#include <stddef.h>
#include <stdint.h>

#include "base.h"

struct kv_env;
struct kv_restore;

struct kv_restore_options {
	const char *path;	/* where it is to be; kept */
	int force;		/* replace a database that is there */
	int dry_run;		/* read and verify, write nothing */
	int replica;		/* what comes out follows its primary; else it
				 * is one itself, on a line of history of its
				 * own */
	uint64_t until_seq;	/* the last commit; 0: as until_ns says */
	uint64_t until_ns;	/* the last one not after it; 0: the end */
	int (*stopped)(void);	/* as of kv_tar_open(); may be NULL */
	/* Called for each file that comes, and now and then with the bytes
	 * read of an archive.  May be NULL. */
	void (*member)(void *arg, const char *name, uint64_t size);
	void (*progress)(void *arg, uint64_t bytes);
	void *arg;
};

/* What came out. */
struct kv_restored {
	uint8_t db[16];
	struct kv_position at;	/* as of this commit, */
	uint64_t time_ns;	/* and its time */
	uint64_t files, bytes;	/* that were read of tables and log */
	uint64_t records;	/* that were verified */
	int at_end;		/* all that the archives have */
};

/*
 * Functions return 0, a negative status, or a class of ship.h: SHORT and
 * CORRUPT of an archive, WRONG_DB, GAP and FORK where they do not continue
 * each other, BUSY, NOSPACE.  After a failure only kv_restore_close() is of
 * use.
 *
 * kv_restore_open() writes nothing yet.
 */
int kv_restore_open(struct kv_env *env, const struct kv_restore_options *o,
    struct kv_restore **out);

/* Read one archive, the full one first; name is for messages and kept. */
int kv_restore_add(struct kv_restore *r, int fd, const char *name);

/*
 * Make a database of it, as of the commit that is asked for: KV_SHIP_GAP with
 * what there is, if it is not among those that can be had.
 */
int kv_restore_build(struct kv_restore *r, struct kv_restored *out);

/* Where it lies now, to do something with it before it is put in its place.
 * Who opened it has closed it before the next call. */
const char *kv_restore_path(const struct kv_restore *r);

/* Verify every byte: KV_SHIP_FAILED with the first thing that is wrong. */
int kv_restore_check(struct kv_restore *r, struct kv_restored *out);

/* Bring all of it to disk, and put it in its place. */
int kv_restore_place(struct kv_restore *r);

/* Remove what is not in its place.  NULL is allowed. */
void kv_restore_close(struct kv_restore *r);

#endif /* KV_RESTORE_H */
