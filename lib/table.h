/*
 * table: one immutable sorted file of records.
 *
 * A table holds at most one record a key: the newest of what it was made
 * from, deletions included.  It is mapped and used where it lies; nothing is
 * parsed when it is opened.  The layout is kevo-format(5), TABLE: data
 * blocks, a hash index from a key to its place, a sorted index over the
 * blocks, and a tail.  Every block and every page of an index has its own
 * checksum, which a process verifies the first time it touches it.
 */
#ifndef KV_TABLE_H
#define KV_TABLE_H

#include <stddef.h>
#include <stdint.h>

#include "record.h"

struct kv_env;
struct kv_dir;
struct kv_cache;	/* cache.h: decompressed blocks of a handle */
struct kv_table;	/* an open one */
struct kv_table_writer;

#define KV_TABLE_NAME_LEN	32
/* "table/0000000000000001.sst" */
void kv_table_name(char buf[KV_TABLE_NAME_LEN], uint64_t number);

/* ---- writing ----------------------------------------------------------- */

struct kv_table_spec {
	uint8_t id[16];		/* of the database */
	uint32_t mode;		/* permissions of the file */
	uint32_t block_bytes;	/* aim for a data block before compression */
	uint32_t restart_interval;
	int hash_index;		/* 0: none */
	uint8_t codec;		/* codec.h, with its level */
	int8_t codec_level;
	const char *reserve;	/* a file that becomes the table's, if it is
				 * there, or NULL */
};

/* What a finished table says of itself; also what a version keeps of it. */
struct kv_table_info {
	uint64_t number;
	uint64_t size;		/* of the file */
	uint64_t count;		/* records, deletions included */
	uint64_t deletes;
	uint64_t expiring;	/* records with a time to end */
	uint64_t raw_bytes;	/* keys and values before compression */
	uint64_t min_seq, max_seq;
	uint64_t hash;		/* of the tail: names this very table */
	const uint8_t *first, *last;	/* keys; owned by the writer */
	uint32_t first_len, last_len;
};

/*
 * Begin table `number`: the file must not exist (KEVO_FALSE: it does; take
 * another number).  The file is locked exclusively (kv_file_lock()) from its
 * creation on, so that who removes orphans sees that it is being written.
 */
int kv_table_create(struct kv_env *env, const struct kv_dir *dir,
    uint64_t number, const struct kv_table_spec *spec,
    struct kv_table_writer **out);

/* Add a record; keys strictly ascend.  op->val may be of any length. */
int kv_table_add(struct kv_table_writer *w, uint64_t seq,
    const struct kv_op *op);

/* Bytes that the file would have if it were finished now, about. */
uint64_t kv_table_bytes(const struct kv_table_writer *w);

/*
 * Write indexes and tail, and sync the file (the directory is the caller's
 * to sync).  *info is valid until kv_table_writer_free().  The lock is kept.
 */
int kv_table_finish(struct kv_table_writer *w, struct kv_table_info *info);

/* Close the file, and with it give up its lock.  An unfinished table is
 * removed, and so is a finished one if remove is set. */
void kv_table_writer_free(struct kv_table_writer *w, int remove);

/* ---- reading ----------------------------------------------------------- */

/*
 * Open table `number` and check its tail against what the version says:
 * size and hash (0: not known, any will do).
 *
 * Returns 0 with one reference, KEVO_NOTFOUND if there is no such file,
 * KEVO_ECORRUPT naming file, place and reason, KEVO_EIO, KEVO_EPERM or
 * KEVO_ENOMEM.  The file is mapped and closed.
 */
int kv_table_open(struct kv_env *env, const struct kv_dir *dir,
    uint64_t number, uint64_t size, uint64_t hash, struct kv_table **out);
void kv_table_unref(struct kv_table *t);
struct kv_table *kv_table_ref(struct kv_table *t);

/* What it says of itself; keys point into the map. */
int kv_table_info(struct kv_env *env, struct kv_table *t,
    struct kv_table_info *info);

/* The hash of a key that a lookup takes, the same for all tables of a
 * database. */
uint64_t kv_table_key_hash(const uint8_t id[16], const void *key,
    size_t klen);

/*
 * Find a key.  Returns 1 with *seq and *op set, 0 if it is absent, or an
 * error.  op->key is not set; op->val points into the map or into a block
 * that the cache (NULL: only for a table without a codec) keeps until a block
 * comes to it.
 */
int kv_table_get(struct kv_env *env, struct kv_table *t,
    struct kv_cache *cache, const void *key, size_t klen, uint64_t key_hash,
    uint64_t *seq, struct kv_op *op);

/*
 * The same from a file that is not mapped, for a process that wants one
 * record: a handful of pread()s.  *buf (malloc'd, the caller's, may be NULL
 * at first, *room its size) holds the value.  KV_TABLE_GONE (not 1, which is
 * found): no such file.
 */
#define KV_TABLE_GONE	2
int kv_table_pread_get(struct kv_env *env, const struct kv_dir *dir,
    uint64_t number, uint64_t size, uint64_t hash, const void *key,
    size_t klen, uint64_t key_hash, uint8_t **buf, size_t *room,
    uint64_t *seq, struct kv_op *op);

/*
 * A place in a table: at first before its first record.  After a move that
 * returned 1, seq and op say what is there; op.key and op.val are valid until
 * the next move.  cache: NULL, and it keeps the one block it needs itself.
 */
struct kv_table_iter {
	struct kv_env *env;
	struct kv_table *t;
	struct kv_cache *cache;
	uint64_t seq;
	struct kv_op op;
	struct kv_table_place *place;	/* table_iter.c's own */
};

void kv_table_iter_init(struct kv_table_iter *it, struct kv_env *env,
    struct kv_table *t, struct kv_cache *cache);
void kv_table_iter_release(struct kv_table_iter *it);

/*
 * Move: to the first or last record; to the first at or after key; to the
 * last at or before key; one on or back.  1, 0 at the end, or an error.  From
 * behind the last record back is the last one, and likewise at the other end.
 * After an error the place is unknown until one of the first four moves.
 */
int kv_table_first(struct kv_table_iter *it);
int kv_table_last(struct kv_table_iter *it);
int kv_table_seek(struct kv_table_iter *it, const void *key, size_t klen);
int kv_table_seek_back(struct kv_table_iter *it, const void *key,
    size_t klen);
int kv_table_next(struct kv_table_iter *it);
int kv_table_prev(struct kv_table_iter *it);

/*
 * Verify every byte: each block, their order, that the indexes lead to each
 * key and the tail's counts.  0, or KEVO_ECORRUPT for the first thing that
 * is wrong.
 */
int kv_table_verify(struct kv_env *env, struct kv_table *t);

/* The same, by hashes alone: these are the bytes that were written.  It takes
 * a fraction of the time. */
int kv_table_verify_hashes(struct kv_env *env, struct kv_table *t);

/*
 * What can still be read of a damaged table: the len bytes at b, behind which
 * KV_TABLE_SPARE more may be read, are what is left of table `number` of
 * database id.  It needs neither its head, nor its tail, nor its indexes.
 *
 * record is called for each record in a block that verifies, in the order of
 * the file, and gap for each run of bytes where blocks should be and none
 * verifies.  A negative result of either ends it and is the result.
 */
#define KV_TABLE_SPARE	16

struct kv_table_salvage {
	int (*record)(void *arg, uint64_t seq, const struct kv_op *op);
	int (*gap)(void *arg, uint64_t off, uint64_t len);
	void *arg;
};

int kv_table_salvage(struct kv_env *env, const uint8_t *b, uint64_t len,
    uint64_t number, const uint8_t id[16], const struct kv_table_salvage *s);

#endif /* KV_TABLE_H */
