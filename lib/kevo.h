/*
 * kevo.h: the public interface of libkevo-core.
 *
 * An ordered key-value store in a directory, without a server.  Any number
 * of unrelated processes open the same directory at once; readers never
 * wait, one writer at a time commits, and any process may be killed at any
 * instant.  The concepts are in kevo(7), the bytes on disk in
 * kevo-format(5).
 *
 * Rules that hold for every function:
 *
 *  - A result of 0 is success, a positive one an expected answer
 *    (KEVO_NOTFOUND, KEVO_FALSE), a negative one an error of enum
 *    kevo_status, with a sentence in kevo_errmsg() of the handle that was
 *    used, directly or through a batch, transaction, snapshot or iterator.
 *  - A handle and everything made from it belong to one thread at a time.
 *    Another thread opens a handle of its own: an open costs a few
 *    microseconds, and all handles of all processes share the same memory.
 *  - After fork() the child must not use an inherited handle: every call
 *    but kevo_close() answers KEVO_EFORKED there.
 *  - Keys are 1 to KEVO_KEY_MAX bytes of any value, ordered as unsigned
 *    bytes; values are 0 to KEVO_VALUE_MAX bytes of any value.
 *  - The library never prints, exits or changes signal handling, and its
 *    descriptors are close-on-exec.
 */
#ifndef KEVO_H
#define KEVO_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define KEVO_VERSION "0.1.0"

#define KEVO_KEY_MAX	65536u		/* bytes in a key */
#define KEVO_VALUE_MAX	1000000000u	/* bytes in a value */
#define KEVO_COMMIT_MAX	1073741824u	/* bytes in one commit's record */
#define KEVO_COMMIT_OPS	4194304u	/* operations in one commit */

/*
 * The database is left as it was by every error but KEVO_EUNKNOWN.
 * KEVO_EBUSY always means "not done, try again".
 */
enum kevo_status {
	KEVO_OK = 0,
	KEVO_NOTFOUND = 1,	/* the key is absent; the iterator ended */
	KEVO_FALSE = 2,		/* a condition is false: nothing written */
	KEVO_EINVAL = -1,	/* an argument is not allowed */
	KEVO_ELIMIT = -2,	/* key, value or commit too large */
	KEVO_ENODB = -3,	/* no such database */
	KEVO_ENOTDB = -4,	/* something else, or a newer format */
	KEVO_ECORRUPT = -5,	/* the database is damaged */
	KEVO_ECREATE = -6,	/* the database cannot be created */
	KEVO_EIO = -7,		/* an operation of the system failed */
	KEVO_EUNKNOWN = -8,	/* written, but not known to be durable */
	KEVO_EBUSY = -9,	/* a lock was not to be had in time */
	KEVO_EPERM = -10,	/* permission; writing through a reader */
	KEVO_ENOMEM = -11,	/* out of memory */
	KEVO_EFORKED = -12,	/* the handle belongs to the parent process */
	KEVO_ECONFIG = -13,	/* the database's kevo.conf is wrong */
	KEVO_EREPLACED = -14,	/* the directory's files were replaced */
	KEVO_EHISTORY = -15,	/* so old a version is no longer kept */
	KEVO_ECONFLICT = -16,	/* what the transaction read has changed:
				 * nothing written, begin anew */
	KEVO_EENDED = -17	/* the transaction has ended */
};

struct kevo;			/* an open database */
struct kevo_batch;		/* writes that will be one commit */
struct kevo_txn;		/* reads and writes that belong together */
struct kevo_snapshot;		/* the database as of one commit */
struct kevo_iter;		/* a position in an ordered range */
struct kevo_feed;		/* a place in the log */

/* ---- opening ----------------------------------------------------------- */

enum kevo_open_flags {
	KEVO_RDONLY = 1,	/* takes no lock; writes nothing but the shared
				 * index after a boot or copy, if it may */
	KEVO_CREATE = 2,	/* create the database if it is missing */
	KEVO_EXISTING = 4,	/* with settings: fail if it exists already
				 * and has others */
	KEVO_ANY_CONFIG = 8	/* a wrong kevo.conf is no error: the settings
				 * that were valid last hold */
};

/*
 * How a commit treats the disk.  FULL: it is on disk when the call returns.
 * LATER: the call does not wait; the commit is on disk, and visible to
 * others, after kevo_sync(), kevo_close() or any process's next FULL commit:
 * what anybody reads is durable, as with FULL.  BATCH: visible at once, on
 * disk after the same events; and a commit of this kind that finds more than
 * the setting sync_bytes unsynced, or the oldest unsynced commit older than
 * sync_ms, brings all of it to disk before it returns.  (Nothing does so
 * while nobody commits.)  NONE: visible at once, and neither a commit nor
 * kevo_close() waits.
 * What a killed process committed is kept in every mode; what a power cut
 * may take is the newest commits, never an older one without the newer.
 */
enum kevo_sync {
	KEVO_SYNC_DEFAULT = 0,	/* the handle's, else the database's */
	KEVO_SYNC_FULL = 1,
	KEVO_SYNC_BATCH = 2,
	KEVO_SYNC_NONE = 3,
	KEVO_SYNC_LATER = 4
};

#define KEVO_WAIT_FOREVER	(-1)
#define KEVO_WAIT_DEFAULT	10000	/* milliseconds */

/* Zero-filled means: all defaults. */
struct kevo_options {
	const char *program;	/* shown to whom waits for us; NULL: "" */
	int wait_set;		/* 0: wait_ms is not used */
	int64_t wait_ms;	/* limit on waiting for the write lock; 0 try
				 * once; KEVO_WAIT_FOREVER */
	enum kevo_sync sync;	/* default of this handle's commits */
	const char *const *settings;	/* "name=value"..., NULL-ended, of a
				 * database that is created; as
				 * kevo_config_set() takes them */
	const char *compactor;	/* what a writer starts when compaction is
				 * due: a path, or a name that is looked for
				 * beside this program's file and then in
				 * PATH; NULL: "kevo-compact"; "": nothing,
				 * it compacts itself.  Not copied. */
	const char *txn;	/* what kevo_txn_env() gave another process, for
				 * one of its transactions: join it if it is
				 * of this database; NULL, "": join none */
};

/*
 * Open the database in directory path.
 *
 *   flags  enum kevo_open_flags.  Without KEVO_CREATE nothing is created.
 *          With it, path may be missing (its parent must exist) or an empty
 *          directory.
 *   opt    NULL: all defaults.  Strings are not kept, but for program and
 *          compactor.
 *   out    always set, also after an error: the handle then serves
 *          kevo_errmsg() and kevo_close() only.  NULL if memory is out.
 *
 * Returns 0, KEVO_ENODB, KEVO_ENOTDB, KEVO_ECORRUPT, KEVO_ECREATE,
 * KEVO_EIO, KEVO_EBUSY (somebody is rebuilding the index, or holds the
 * database without its shared memory), KEVO_EPERM, KEVO_ENOMEM,
 * KEVO_EINVAL (a setting in opt, too) or KEVO_ECONFIG (a writer finds that
 * kevo.conf is wrong; nothing was written).
 * The first open after a boot or a copy reads the whole log once; every
 * other open costs the same for any size of the database.
 */
int kevo_open(const char *path, unsigned flags,
    const struct kevo_options *opt, struct kevo **out);

/*
 * Close a handle (NULL is allowed).  Batches, transactions, snapshots and
 * iterators made from it must be gone.  Commits of KEVO_SYNC_BATCH and
 * KEVO_SYNC_LATER are brought to disk first.  Returns 0, KEVO_EIO or
 * KEVO_EUNKNOWN; the handle is gone in any case.
 */
int kevo_close(struct kevo *db);

/*
 * The same for a process that ends now: memory, maps, files and with them the
 * locks are left to the kernel, which takes them back faster.  Only
 * kevo_close() may be called on the handle afterwards.
 */
int kevo_leave(struct kevo *db);

/* The last error's sentence: object, place, reason; "" if there was none.
 * Valid until the next call on the handle. */
const char *kevo_errmsg(const struct kevo *db);

/* A short name for a status, for programs without a handle. */
const char *kevo_strerror(int status);

/* The durability of this handle's commits that do not say: its own, or the
 * database's. */
enum kevo_sync kevo_default_sync(const struct kevo *db);

/* Free memory that a kevo function returned (NULL is allowed). */
void kevo_free(void *p);

/* ---- records ----------------------------------------------------------- */

struct kevo_record {
	const void *key;
	size_t klen;
	const void *value;
	size_t vlen;
	uint64_t version;	/* sequence number of the commit */
	uint64_t expires_ns;	/* since 1970; 0: never */
};

/* ---- reading ----------------------------------------------------------- */

/*
 * Get a copy of a value.  snap NULL: as of now.
 *
 * Returns 0 with *val (to be freed with kevo_free(); never NULL, one zero
 * byte follows the value) and *vlen set, KEVO_NOTFOUND, KEVO_ECORRUPT,
 * KEVO_EIO, KEVO_ENOMEM, KEVO_EINVAL or KEVO_ELIMIT.
 */
int kevo_get(struct kevo *db, const struct kevo_snapshot *snap,
    const void *key, size_t klen, void **val, size_t *vlen);

/*
 * The same without a copy: *rec points into the database's mapped files and
 * is valid until the next call on the handle.  rec->key is the caller's.
 */
int kevo_peek(struct kevo *db, const struct kevo_snapshot *snap,
    const void *key, size_t klen, struct kevo_record *rec);

/*
 * Keep the database as of now readable for as long as the snapshot lives.
 * It costs writers nothing and needs no space of its own.  Its clock stands
 * still: what had not expired when it was taken stays in it.
 */
int kevo_snapshot_new(struct kevo *db, struct kevo_snapshot **out);
void kevo_snapshot_free(struct kevo_snapshot *snap);

/*
 * The same as of an earlier commit: what a snapshot taken when `version` was
 * the newest one would show, but for keys that have expired by now.
 *
 * KEVO_EINVAL: there is no such commit yet.  KEVO_EHISTORY: it is no longer
 * kept.  What was brought into sorted tables keeps only the newest record of
 * a key; the message names the oldest version that can be had.
 */
int kevo_snapshot_at(struct kevo *db, uint64_t version,
    struct kevo_snapshot **out);

/* The sequence number of the newest commit in the snapshot. */
uint64_t kevo_snapshot_version(const struct kevo_snapshot *snap);

/*
 * An iterator over from <= key < to.  NULL in from or to: no bound there.
 * Bounds are copied.  snap NULL: a snapshot of now, kept by the iterator;
 * else snap must outlive it.  It starts unpositioned.
 */
struct kevo_range {
	const void *from;
	size_t from_len;
	const void *to;
	size_t to_len;
};

int kevo_iter_new(struct kevo *db, const struct kevo_snapshot *snap,
    const struct kevo_range *range, struct kevo_iter **out);
void kevo_iter_free(struct kevo_iter *it);

/*
 * Move: to the first or last record; to the first at or after key; to the
 * last at or before key; one forward or back.  next on an unpositioned
 * iterator is first, prev is last; past an end it stays ended.
 *
 * Return 0 and set *rec (may be NULL), or KEVO_NOTFOUND at the end of the
 * range, or KEVO_ECORRUPT, KEVO_EIO, KEVO_ENOMEM.  *rec points into mapped
 * files and is valid until the next move.
 */
int kevo_iter_first(struct kevo_iter *it, struct kevo_record *rec);
int kevo_iter_last(struct kevo_iter *it, struct kevo_record *rec);
int kevo_iter_seek(struct kevo_iter *it, const void *key, size_t klen,
    struct kevo_record *rec);
int kevo_iter_seek_back(struct kevo_iter *it, const void *key, size_t klen,
    struct kevo_record *rec);
int kevo_iter_next(struct kevo_iter *it, struct kevo_record *rec);
int kevo_iter_prev(struct kevo_iter *it, struct kevo_record *rec);

/* ---- writing ----------------------------------------------------------- */

/*
 * A condition on the state under the write lock.  An expired key is absent.
 */
enum kevo_cond_kind {
	KEVO_IF_ANY = 0,	/* no condition */
	KEVO_IF_ABSENT,
	KEVO_IF_PRESENT,
	KEVO_IF_VALUE,		/* present with exactly this value */
	KEVO_IF_VERSION		/* of this version; 0: absent */
};

struct kevo_cond {
	enum kevo_cond_kind kind;
	const void *value;
	size_t vlen;
	uint64_t version;
};

/* Zero-filled, or NULL where a pointer is taken, means: all defaults. */
struct kevo_write {
	enum kevo_sync sync;
	struct kevo_cond cond;
	uint64_t expires_ns;	/* put: since 1970; 0: never */
};

/*
 * Write or delete one key, as one commit.  *version (may be NULL) gets the
 * commit's sequence number.  Deleting an absent key is a commit too.
 *
 * Returns 0, KEVO_FALSE, KEVO_EINVAL, KEVO_ELIMIT, KEVO_EPERM, KEVO_EBUSY,
 * KEVO_EIO, KEVO_ECORRUPT, KEVO_EREPLACED, KEVO_ENOMEM or KEVO_EUNKNOWN.
 */
int kevo_put(struct kevo *db, const void *key, size_t klen,
    const void *val, size_t vlen, const struct kevo_write *w,
    uint64_t *version);
int kevo_delete(struct kevo *db, const void *key, size_t klen,
    const struct kevo_write *w, uint64_t *version);

/*
 * A batch collects writes without a lock; kevo_commit() makes them one
 * commit, there whole or not at all for every reader and after every crash.
 * Later operations on a key win.  A batch is cleared by a successful commit
 * and may be used again; it is freed before its handle is closed.  Committing
 * an empty one is KEVO_EINVAL.
 *
 * db NULL makes one before there is a handle, for whichever it is committed
 * to.  What goes wrong with it has a status then, and no sentence.
 */
int kevo_batch_new(struct kevo *db, struct kevo_batch **out);
void kevo_batch_free(struct kevo_batch *b);
void kevo_batch_clear(struct kevo_batch *b);
int kevo_batch_put(struct kevo_batch *b, const void *key, size_t klen,
    const void *val, size_t vlen, uint64_t expires_ns);
int kevo_batch_delete(struct kevo_batch *b, const void *key, size_t klen);
size_t kevo_batch_count(const struct kevo_batch *b);
size_t kevo_batch_bytes(const struct kevo_batch *b);
int kevo_commit(struct kevo *db, struct kevo_batch *b, enum kevo_sync sync,
    uint64_t *version);

/* Bring every commit so far to disk.  Returns 0, KEVO_EIO or
 * KEVO_EUNKNOWN. */
int kevo_sync(struct kevo *db);

/* ---- transactions ------------------------------------------------------ */

/*
 * Reads and writes that belong together.  A transaction's writes are seen by
 * its own reads, by iterators in both directions too, and by nobody else
 * before its commit, which makes them one commit: there whole or not at all.
 *
 * Isolation.  Transactions that write are serializable: what is in the
 * database is what they do one after the other, in the order of their
 * commits, each having read what those before it left.  A transaction that
 * only reads sees the database as of one commit; so does one that could
 * write and did not.  Readers outside never wait for any of them.  Its clock
 * stands still meanwhile: a record that had not expired when it began, or when
 * what it read was read again, is there to its end.
 *
 *   without a flag     the write lock is taken at the beginning and kept:
 *                      what is read is the newest state, and nobody can
 *                      change it.
 *   KEVO_TXN_READ      a snapshot that stays.  Writes are refused with
 *                      KEVO_EPERM.  It takes no lock, and a handle that was
 *                      opened with KEVO_RDONLY will do.
 *   KEVO_TXN_DEFERRED  reads a snapshot; the write lock is taken by the first
 *                      write, and what was read until then is read again.
 *                      From there on it is as without a flag.
 *   KEVO_TXN_OPTIMISTIC  reads a snapshot; the write lock is held inside the
 *                      commit only, where what was read is read again.
 *
 * If a key or a range reads otherwise than it did (another commit changed it;
 * it has expired), the write or commit answers KEVO_ECONFLICT, the message
 * names it, nothing is written, and all that is left to do with the
 * transaction is to abort it.  A commit without writes validates nothing.
 * Reads are remembered for this: keys, and of each iterator the range that it
 * has passed.  Beyond half of the setting txn_memory_bytes they are no longer
 * told apart, and any other commit is a conflict.
 *
 * Writes are kept in memory up to the setting txn_memory_bytes, and beyond
 * it in a file of the database directory; beyond KEVO_COMMIT_MAX or
 * KEVO_COMMIT_OPS a write is refused with KEVO_ELIMIT, and the transaction
 * is as it was before it.
 */
enum kevo_begin_flags {
	KEVO_TXN_READ = 1,	/* one of these three at most */
	KEVO_TXN_DEFERRED = 2,
	KEVO_TXN_OPTIMISTIC = 4,
	KEVO_TXN_SHARED = 8	/* other processes may join; goes with READ or
				 * none of the three */
};

/* Zero-filled, or NULL where a pointer is taken, means: all defaults. */
struct kevo_begin {
	unsigned flags;
	int64_t max_ms;		/* it ends after so long: from then on every
				 * call but kevo_txn_abort(), and every move
				 * of its iterators, answers KEVO_EENDED, and
				 * the first of them gives back the lock; 0:
				 * no limit */
};

/*
 * Begin a transaction.  While one holds the write lock, the handle's other
 * writing functions answer KEVO_EINVAL.
 *
 * Returns 0, or what kevo_put() may, or KEVO_EINVAL for flags that do not go
 * together.
 */
int kevo_txn_begin(struct kevo *db, const struct kevo_begin *b,
    struct kevo_txn **out);
int kevo_txn_get(struct kevo_txn *t, const void *key, size_t klen,
    struct kevo_record *rec);		/* valid until the next call, which
					 * may be given its value */
int kevo_txn_put(struct kevo_txn *t, const void *key, size_t klen,
    const void *val, size_t vlen, uint64_t expires_ns);
int kevo_txn_delete(struct kevo_txn *t, const void *key, size_t klen);
int kevo_txn_batch(struct kevo_txn *t, struct kevo_batch *b);
					/* all that is in it or nothing; it
					 * is cleared by success */
int kevo_txn_check(struct kevo_txn *t, const void *key, size_t klen,
    const struct kevo_cond *cond);	/* 0, KEVO_FALSE or an error */
int kevo_txn_iter(struct kevo_txn *t, const struct kevo_range *range,
    struct kevo_iter **out);		/* freed before the next write, and
					 * before the end */
size_t kevo_txn_count(const struct kevo_txn *t);
size_t kevo_txn_bytes(const struct kevo_txn *t);

/*
 * A savepoint marks how far the transaction has come; rolling back to it
 * undoes the writes since.  What was read since stays read, and a lock that
 * was taken is kept.  A mark is void once the transaction was rolled back to
 * an earlier one.  Going back costs time as what is left of the transaction
 * is large.  A shared transaction has no savepoints (KEVO_EINVAL): begin
 * another one in it.
 */
int kevo_txn_savepoint(struct kevo_txn *t, uint64_t *mark);
int kevo_txn_rollback_to(struct kevo_txn *t, uint64_t mark);

/*
 * End the transaction and free it, whatever they return.  *version (may be
 * NULL) gets the sequence number of the commit, or, if there was nothing to
 * write, that of the newest commit that it has seen.  Under the write lock a
 * commit without writes, and an abort, wait until what was read is as durable
 * as its writer asked for, so that an answer that leaves the process cannot
 * be undone by a power cut.
 */
int kevo_txn_commit(struct kevo_txn *t, enum kevo_sync sync,
    uint64_t *version);
int kevo_txn_abort(struct kevo_txn *t);

/*
 * Sharing a transaction with other processes.
 *
 * Of a transaction that was begun with KEVO_TXN_SHARED, kevo_txn_env() is a
 * text that other processes on this machine give to kevo_open() as
 * kevo_options.txn (tools take it from the variable KEVO_TXN); NULL for any
 * other.  It is valid as long as the transaction, and it also says which
 * transactions of other databases the handle was told to join.
 *
 * A handle that has joined reads and writes inside the transaction, through
 * every function: reads see the database as of its beginning with all writes
 * of its processes on top; a put, delete or batch is added to it whole or not
 * at all, whenever the process is killed, and is seen by the others when the
 * call returns; conditions are checked on what is read.  Who reads much that
 * others have just added may wait for one that is adding at that moment
 * (KEVO_EBUSY, as below).  Versions of records that the transaction wrote, and
 * those returned by what adds to it, are 0.
 * kevo_txn_begin() in such a handle is a transaction within the transaction:
 * its commit adds its writes in one step, its abort adds none, and meanwhile
 * others who write into the outer one wait (as long as kevo_options.wait_ms
 * says).  DEFERRED and OPTIMISTIC lock at the beginning there.  It may be
 * shared in turn.  Compacting, changing settings and following the log are
 * refused with KEVO_EPERM.
 *
 * The transaction lives as long as the process that began it keeps it.  Once
 * that committed, aborted, closed or was killed, everything but
 * kevo_close() in a handle that has joined, and opening one, answers
 * KEVO_EENDED; what it added after the end counts for nothing.  So does a
 * text that is none.  A text that names no transaction of this database makes
 * an ordinary handle.
 *
 * A shared transaction of KEVO_TXN_READ is a snapshot for many processes:
 * writing is refused with KEVO_EPERM.  Nothing is written for it, a database
 * that can only be read will do.
 */
const char *kevo_txn_env(const struct kevo_txn *t);

/* ---- the log as a feed ------------------------------------------------- */

/*
 * A feed tells of every commit in the order in which they were made, whole,
 * and each once.  It reads the log, which is kept until it is in sorted
 * tables, and beyond that as far as the setting wal_keep says.  A feed that
 * keeps up needs no more; one that begins at an earlier place, or falls
 * behind, may find that it is gone, and says so: KEVO_EHISTORY, whose message
 * names the oldest version that one can begin after.
 *
 * A commit comes as soon as readers see it.  With KEVO_SYNC_NONE or _BATCH
 * that may be before it is on disk, and a crash of the machine may undo it.
 * A feed that has told of such a commit, and one that begins at a position
 * behind it, end with KEVO_EHISTORY rather than to go on with what took its
 * place.
 */
enum kevo_feed_flags {
	KEVO_FEED_NOW = 1,	/* begin behind the newest commit */
	KEVO_FEED_DURABLE = 2	/* tell of a commit when it is on disk */
};

/* Zero-filled: from the first commit on. */
struct kevo_feed_start {
	unsigned flags;
	uint64_t after;		/* begin behind this commit */
	const char *position;	/* or, not NULL, at the position that
				 * kevo_feed_position() gave */
};

/*
 * Returns 0 with *out set, KEVO_EHISTORY, KEVO_EINVAL (there is no such
 * commit yet; the position is malformed), KEVO_EPERM (also: the handle has
 * joined a transaction), KEVO_ECORRUPT, KEVO_EIO or KEVO_ENOMEM.  The handle
 * must outlive the feed.
 */
int kevo_feed_open(struct kevo *db, const struct kevo_feed_start *start,
    struct kevo_feed **out);
void kevo_feed_close(struct kevo_feed *f);

struct kevo_feed_commit {
	uint64_t version;
	uint64_t time_ns;	/* of the commit, since 1970; only grows */
	uint32_t changes;	/* 0: a mark, such as of a promotion */
};

enum kevo_change_kind {
	KEVO_PUT = 1,
	KEVO_DELETE = 2
};

struct kevo_change {
	enum kevo_change_kind kind;
	struct kevo_record rec;	/* of a deletion: without value */
};

/*
 * Go on to the next commit; then call kevo_feed_change() for each of its
 * changes, in their order: 0, or KEVO_NOTFOUND after the last.  Pointers are
 * valid until the next call of kevo_feed_next().
 *
 * next returns 0, KEVO_NOTFOUND (there is no newer one now), KEVO_EHISTORY,
 * KEVO_EREPLACED (another database took this one's place), KEVO_ECORRUPT,
 * KEVO_EIO, KEVO_ENOMEM, or what attaching a handle may.
 */
int kevo_feed_next(struct kevo_feed *f, struct kevo_feed_commit *c);
int kevo_feed_change(struct kevo_feed *f, struct kevo_change *c);

/*
 * Sleep until there may be something new, at most max_ms (negative: without
 * end).  Who sleeps costs nobody anything, and is woken by a commit before
 * that is acknowledged.  Also to be called now and then by who does something
 * else for long, with 0: it keeps what the feed needs next.
 *
 * Returns 0 (look), KEVO_NOTFOUND (the time is over, or a signal came), or
 * what kevo_feed_next() may.
 */
int kevo_feed_wait(struct kevo_feed *f, int64_t max_ms);

/* The commit last told, or begun behind; and the place behind it, as text
 * that says which history it belongs to. */
uint64_t kevo_feed_version(const struct kevo_feed *f);

#define KEVO_POSITION_LEN	72
void kevo_feed_position(const struct kevo_feed *f,
    char buf[KEVO_POSITION_LEN]);

/*
 * Complete the log's newest segment, if there is a commit in it, so that it
 * can be copied as a file.  Writers do so by themselves when it is full.
 * *version (may be NULL) gets the last commit that is in a complete segment.
 *
 * Returns 0, KEVO_NOTFOUND (there was nothing to complete), KEVO_EPERM (a
 * reader), KEVO_EBUSY, KEVO_EIO, KEVO_ECORRUPT or KEVO_EREPLACED.
 */
int kevo_seal(struct kevo *db, uint64_t *version);

/* ---- settings ---------------------------------------------------------- */

/*
 * Settings stand in the file kevo.conf of the database, one `name = value` a
 * line, for people and for kevo_config_set().  Processes keep a copy in
 * shared memory.  A change by kevo_config_set() holds at once for all of
 * them; one by an editor when the next writer opens the database, or begins
 * a segment of the log.
 */

/* Names and meanings, "name\0meaning\0...\0\0". */
const char *kevo_setting_names(void);

/* One setting.  Strings are constants, but for value. */
struct kevo_setting {
	const char *name;
	const char *kind;	/* size, count, duration, choice or list */
	const char *range;	/* "64K to 1G" */
	const char *initial;	/* its default */
	const char *meaning;	/* a line without a full stop */
	const char *trade;	/* what more and less of it do */
	char value[96];		/* as kevo.conf has it, else the default */
	uint64_t number;	/* the same: bytes, milliseconds, a count; of a
				 * choice and a list what the engine uses */
	unsigned line;		/* of kevo.conf; 0: it does not stand there */
};

/*
 * Call each for every setting, as kevo.conf has it now, until it returns
 * something other than 0; or tell of one.  db NULL: the defaults.
 *
 * Return 0, what each returned, KEVO_NOTFOUND (get: there is no setting of
 * this name), KEVO_ECONFIG (kevo.conf is wrong: file, line, setting and
 * range are in the message), KEVO_EIO, KEVO_EPERM or KEVO_ENOMEM.
 */
int kevo_config_list(struct kevo *db,
    int (*each)(void *arg, const struct kevo_setting *s), void *arg);
int kevo_config_get(struct kevo *db, const char *name,
    struct kevo_setting *out);

/*
 * Change settings: "name=value"..., NULL-ended.  The value "default" takes
 * the setting out of kevo.conf.  Either all changes are made or none; the
 * file's comments and order stay.  It is on disk, and holds for all
 * processes, when the call returns.
 *
 * A handle that is to mend a wrong kevo.conf is opened with KEVO_ANY_CONFIG.
 *
 * Returns 0, KEVO_EINVAL (a name or value is not possible, or they do not go
 * together), KEVO_ECONFIG (other lines of kevo.conf are wrong), KEVO_EPERM,
 * KEVO_EBUSY, KEVO_EIO or KEVO_ENOMEM.
 */
int kevo_config_set(struct kevo *db, const char *const *changes);

/*
 * A profile is a set of changes that go together, for kevo_config_set() and
 * for kevo_options; NULL if there is none of this name.  All profiles change
 * the same settings, so that the last one given holds.  Names and meanings
 * as of settings.
 */
const char *const *kevo_profile(const char *name);
const char *kevo_profile_names(void);

/* ---- housekeeping ------------------------------------------------------ */

/*
 * Bring the log into sorted tables and merge them, so that reads stay fast
 * and the space of what was overwritten or deleted comes back.  Any process
 * may do it at any time, several at once, and be killed at any moment;
 * readers and writers go on.  Unless the setting `compaction` is `manual`,
 * writers start kevo-compact(1) for it when it is due.
 */
enum kevo_compact_flags {
	KEVO_COMPACT_FLUSH = 1,	/* only bring the log into tables */
	KEVO_COMPACT_FULL = 2,	/* seal the log and merge everything into one
				 * sorted run */
	KEVO_COMPACT_DRY_RUN = 4	/* count what is due, do nothing */
};

struct kevo_compact_progress {
	uint64_t flushed;	/* log segments brought into tables */
	uint64_t jobs;		/* merges finished, moves included */
	uint64_t bytes_read;	/* of log and tables */
	uint64_t bytes_written;	/* of tables */
	uint64_t files_removed;
	uint64_t bytes_removed;
	uint64_t dropped;	/* records: older, deleted or expired */
	uint64_t due;		/* bytes that are still to be read, about */
	int busy;		/* something was left to another process */
};

/* Zero-filled, or NULL where a pointer is taken, means: all defaults. */
struct kevo_compact {
	unsigned flags;
	const void *from, *to;	/* FULL: only tables that hold keys of this
				 * range; NULL: no bound there */
	size_t from_len, to_len;
	uint64_t max_bytes;	/* begin nothing after having read so many */
	int64_t max_ms;		/* ... or after so long; 0: no limit */
	uint64_t rate;		/* bytes a second; 0: as the setting says */
	/* Called now and then; a result other than 0 ends the work, with
	 * KEVO_FALSE. */
	int (*progress)(void *arg, const struct kevo_compact_progress *p);
	void *arg;
};

/*
 * Do what is due.  *done (may be NULL) is set in any case.
 *
 * Returns 0 (also if there was nothing to do), KEVO_FALSE (ended by
 * progress), KEVO_EBUSY (another process is at all of it), KEVO_EPERM (a
 * reader), KEVO_ECORRUPT, KEVO_EIO, KEVO_ENOMEM or KEVO_EREPLACED.  An error
 * leaves the database as it was; what was finished before it stays.
 */
int kevo_compact(struct kevo *db, const struct kevo_compact *c,
    struct kevo_compact_progress *done);

/* ---- checking and repairing -------------------------------------------- */

/*
 * A check reads a database that may be damaged, of which kevo_open() may say
 * nothing but KEVO_ECORRUPT, and tells of everything that is not as it was
 * written.  It needs no handle, takes no lock that anybody waits for, and
 * writes nothing.  Others may go on writing and compacting beside it: what
 * comes after its beginning it does not look at, and it never takes for
 * damage what is only on its way.
 */
enum kevo_check_flags {
	KEVO_CHECK_FAST = 1,	/* what other files hang on, not the records:
				 * versions, ends of tables, headers and seals
				 * of the log, and its newest segment */
	KEVO_CHECK_REPAIR = 2	/* if there is damage, put it in order */
};

enum kevo_finding_kind {
	KEVO_DAMAGE = 1,	/* bytes that are not those that were written,
				 * or that are missing */
	KEVO_WARNING = 2,	/* nothing is lost, but somebody should look */
	KEVO_NOTE = 3		/* worth knowing */
};

/* What was found at one place.  Pointers are valid during the call. */
struct kevo_finding {
	enum kevo_finding_kind kind;
	const char *file;	/* below the database's directory */
	uint64_t off;		/* where in it it begins, */
	uint64_t len;		/* and how far it reaches; 0: to the end, or
				 * it is the whole file */
	const char *what;	/* what is wrong, without a full stop */
	const char *lost;	/* what is lost with it; "": nothing */
	/* The same as numbers, where they are known; else 0 and NULL.  Older
	 * records of what is lost may be seen again. */
	uint64_t first_commit, last_commit;	/* commits, whole, */
	uint64_t records;	/* records of a table, */
	const void *from, *to;	/* with keys between these, which may be
				 * there */
	size_t from_len, to_len;
};

/* Zero-filled, or NULL where a pointer is taken, means: all defaults. */
struct kevo_check {
	unsigned flags;
	int wait_set;		/* as in struct kevo_options: how long a */
	int64_t wait_ms;	/* repair waits for others to close it */
	/* Called for each finding, when all have been made and before a
	 * repair begins.  A result other than 0 means: no more. */
	int (*found)(void *arg, const struct kevo_finding *f);
	/* Called now and then with the bytes that were read, of about total.
	 * A result other than 0 ends the work, with KEVO_EBUSY; a database
	 * that is being repaired is then as before. */
	int (*progress)(void *arg, uint64_t bytes, uint64_t total);
	void *arg;
};

struct kevo_check_result {
	uint64_t damages;	/* findings of each kind */
	uint64_t warnings;
	uint64_t notes;
	uint64_t files;		/* that were looked at */
	uint64_t bytes;		/* of them that were read */
	uint64_t records;	/* in tables and log, older ones of a key and
				 * deletions included; 0 after a fast check */
	uint64_t last_commit;	/* the newest one that was seen */
	/* Of a repair: */
	int repaired;		/* 1: it was damaged, and is in order now */
	uint64_t kept;		/* records that were written anew */
	uint64_t moved;		/* files that were moved aside, */
	char aside[64];		/* into this directory of the database's */
	char msg[736];		/* after an error: its sentence */
};

/*
 * Check the database in directory path, and repair it if it is to be.  *out
 * is set in any case.
 *
 * A repair begins only if there is damage.  It keeps every record that can be
 * read; what takes the place of damaged files is written beside them and
 * comes into force in one step, so that a repair that is killed has changed
 * nothing that counts, or all of it.  Files that are damaged or replaced are
 * moved into a directory damaged-TIME of the database and never removed.
 * Nobody else may have the database open for writing meanwhile.
 *
 * Returns 0 if it is sound, KEVO_FALSE if there is damage (repaired, if
 * out->repaired is set), KEVO_ENODB, KEVO_ENOTDB, KEVO_ECORRUPT (so little is
 * left that nothing can be said, or that a repair needs something that is
 * told in out->msg), KEVO_EIO, KEVO_EPERM, KEVO_ENOMEM or KEVO_EBUSY (the
 * database is in use; progress asked for an end).
 */
int kevo_check(const char *path, const struct kevo_check *c,
    struct kevo_check_result *out);

/* ---- statistics -------------------------------------------------------- */

#define KEVO_LEVELS	8

/* The tables of one level. */
struct kevo_level {
	uint64_t tables;
	uint64_t bytes;		/* of their files */
	uint64_t records;	/* deletions included */
	uint64_t deletes;
	uint64_t score;		/* thousandths of what it should hold: from
				 * 1000 on a compaction is due */
};

struct kevo_stats {
	uint8_t id[16];		/* of the database */
	uint64_t visible;	/* newest commit that readers see */
	uint64_t synced;	/* newest commit known to be on disk */
	uint64_t appended;	/* newest commit in the log */
	uint64_t segments;	/* log segments, the active one included */
	uint64_t log_bytes;	/* used in them */
	uint64_t index_bytes;	/* of shared memory used by their indexes */
	uint64_t memtable_bytes;	/* setting: size of a segment */
	enum kevo_sync sync;	/* setting: default durability */
	uint64_t version;	/* number of the set of tables */
	struct kevo_level level[KEVO_LEVELS];
};

int kevo_stats(struct kevo *db, struct kevo_stats *out);

/*
 * Every number that the database keeps or that can be told about it.
 * Counters are of all processes, since counting began; a reboot does not end
 * them, but the loss of the shared memory does, so they may begin anew.
 * What readers do is counted if the setting count_reads is on.  The names and
 * meanings are in kevo-stats(1).
 */
enum kevo_metric_kind {
	KEVO_COUNTER,		/* only grows */
	KEVO_GAUGE,
	KEVO_HISTOGRAM,
	KEVO_INFO		/* a text; no number */
};

enum kevo_metric_unit {
	KEVO_UNIT_NONE,
	KEVO_UNIT_BYTES,
	KEVO_UNIT_NS,		/* nanoseconds; the name says seconds */
	KEVO_UNIT_TIME,		/* nanoseconds since 1970, likewise */
	KEVO_UNIT_THOUSANDTHS	/* of a ratio */
};

/* How long something took, in nanoseconds. */
struct kevo_histogram {
	uint64_t count, sum, max;
	size_t buckets;
	const uint64_t *bucket;	/* how many there are in each */
	const uint64_t *bound;	/* and the time that they are below;
				 * UINT64_MAX for the last */
};

struct kevo_metric {
	const char *name;	/* "stall_seconds" */
	const char *label;	/* "reason", or NULL: there is only one */
	const char *label_value;	/* "lock" */
	const char *help;	/* one line, the same for one name */
	enum kevo_metric_kind kind;
	enum kevo_metric_unit unit;
	uint64_t value;
	const char *text;		/* KEVO_INFO */
	const struct kevo_histogram *histogram;	/* KEVO_HISTOGRAM */
};

/*
 * Call each() for all of them, those of one name one after the other.  What
 * it is given is valid until it returns; a result other than 0 ends the walk.
 *
 * Returns 0, KEVO_FALSE (ended by each), KEVO_ECORRUPT, KEVO_EIO,
 * KEVO_ENOMEM, or what attaching a handle may.
 */
int kevo_metrics(struct kevo *db,
    int (*each)(void *arg, const struct kevo_metric *m), void *arg);

/*
 * The time below which a share q, 0 to 1, of a histogram lies: 0.5 is the
 * median.  It is right to a quarter of itself.  0: the histogram is empty.
 */
uint64_t kevo_histogram_quantile(const struct kevo_histogram *h, double q);

#ifdef __cplusplus
}
#endif
#endif /* KEVO_H */
