/*
 * join: a handle that is part of a transaction which another process began.
 *
 * What it is told is a text of entries with a blank between them, one for
 * each database: device and inode of its directory, a letter, and numbers,
 * with points between them, all in hexadecimal.  The letter says what to
 * join:
 *
 *   w  a transaction: the number of its file
 *   m  a snapshot of one: the same, how far its operations go, and a byte of
 *      PINS
 *   r  a snapshot of the database: commit, version, oldest and newest
 *      segment, a byte of PINS, and its clock
 *
 * The byte is locked by who keeps the snapshot, for as long as it does.
 *
 * Such a handle is a reader's: it has no slot and takes no lock of the
 * database, since the owner of the transaction has WRITER.  It reads at the
 * commit that the transaction began with; while the owner has WRITER, nothing
 * is committed after it, so whatever tables and segments there are now hold
 * it.  After each read it looks whether the owner still lives: only if it
 * does is that so.
 */
#ifndef KV_JOIN_H
#define KV_JOIN_H

#include <stdint.h>

#include "layer.h"

enum kv_join_kind {
	KV_JOIN_LAYER = 'w',
	KV_JOIN_LAYER_AT = 'm',
	KV_JOIN_SNAPSHOT = 'r'
};

/* Which number of an entry is which. */
enum kv_join_value {
	KV_JOIN_NUMBER = 0,		/* w, m */
	KV_JOIN_REACH = 1,		/* m */
	KV_JOIN_LAYER_LIFE = 2,		/* m */
	KV_JOIN_SEQ = 0,		/* r */
	KV_JOIN_VERSION = 1,
	KV_JOIN_FIRST = 2,
	KV_JOIN_ACTIVE = 3,
	KV_JOIN_LIFE = 4,
	KV_JOIN_NOW = 5,
	KV_JOIN_VALUES = 6
};

struct kv_join {
	enum kv_join_kind kind;
	uint64_t value[KV_JOIN_VALUES];
	int read_only;		/* the handle was opened for reading */
	uint64_t seq;		/* the commit to read at */
	uint64_t now_ns;	/* the clock for what expires */
	uint64_t life;		/* of a snapshot, else 0 */
	int pinned;		/* its version */
	struct kv_layer *top;	/* the innermost transaction, or NULL */
};

/*
 * The directory is open: is this database named in txn?  Then db->join is
 * set, and the handle a reader's from now on.  0, KEVO_EENDED (the text is
 * none) or an error.
 */
int kv_join_find(struct kevo *db, const char *txn);

/* The database is open: join.  0, KEVO_EENDED or an error. */
int kv_join_enter(struct kevo *db);
void kv_join_leave(struct kevo *db);

/* 0, or KEVO_EENDED: it is over.  A handle that has joined none is never in
 * that case. */
int kv_join_check(struct kevo *db);

/* What a reader looks at in place of what control says. */
void kv_join_place(const struct kv_join *j, uint64_t *first,
    uint64_t *version, uint64_t *seq, uint64_t *active);

/* The handle has joined a snapshot, whose files stay as they are. */
static inline int
kv_join_is_fixed(const struct kevo *db)
{
	return db->join != NULL && db->join->kind == KV_JOIN_SNAPSHOT;
}

/* The clock of what begins in this handle: its transaction's, or now. */
static inline uint64_t
kv_begin_now(const struct kevo *db)
{
	return db->join != NULL ? db->join->now_ns : kv_now_ns();
}

/* What a read of now sees: the layers, and how far. */
int kv_join_look(struct kevo *db, struct kv_reach *r);
int kv_join_get(struct kevo *db, const void *key, size_t klen,
    struct kevo_record *rec);

/* 0 if the handle may write into the transaction, KEVO_EPERM, or KEVO_EINVAL
 * (it has begun one within it). */
int kv_join_may_write(struct kevo *db);

/* Add a batch of one operation on a condition, or any without. */
int kv_join_write(struct kevo *db, const struct kevo_batch *b,
    const void *key, size_t klen, const struct kevo_cond *cond);

/* KEVO_EPERM if the handle has joined: it cannot do what is asked. */
int kv_join_refuse(struct kevo *db, const char *what);

/* The text for others: this entry, and those of other databases that the
 * handle was told.  *out is on the heap. */
int kv_join_text(struct kevo *db, enum kv_join_kind kind,
    const uint64_t value[KV_JOIN_VALUES], char **out);

#endif /* KV_JOIN_H */
