/*
 * layer: the writes of a transaction, over those of the one that it is
 * within, over the database.
 *
 * They lie one behind the other as in the record of a commit, and an index
 * lies over them, the one that the log has: here the layer's bytes are the
 * log.  An operation's number in the index is its place plus one, so that
 * "up to byte n" is a state of the layer that its later writes leave alone.
 *
 * A private layer lies in memory, beyond a limit in files without a name.  A
 * shared one lies in the files of txnfile.h and has several writers, one at a
 * time: who holds its write lock.  Whatever lies before `end` counts, what is
 * behind it belongs to nobody.
 *
 * Both are indexed when a read needs it: what is only written, as a large load
 * is, needs no index but that of the log, which it comes into in the end.  The
 * index of a private one is its own.  So is that of a small shared one: each
 * reader has made it sooner than it would have found another's.  A larger one
 * has an index that all share, in a file, made by who reads first, under the
 * write lock.  So who keeps this lock for more than a moment has all indexed
 * before.
 */
#ifndef KV_LAYER_H
#define KV_LAYER_H

#include <stdint.h>

#include "db.h"
#include "store.h"
#include "txnfile.h"

struct kv_tree {
	struct kv_index ix;
	struct kv_store arena;		/* its p NULL: there is none */
};

struct kv_layer {
	struct kevo *db;
	struct kv_layer *below;	/* NULL: the database */
	struct kevo_batch batch;	/* a shared one's is as of its last
					 * refresh under the write lock */
	struct kv_store ops;
	struct kv_tree own;		/* this handle's index, */
	uint64_t indexed;		/* up to this byte of the batch */
	struct kv_tree common;		/* that of a large shared one */
	uint64_t limit;			/* bytes in memory, at most */

	struct kv_txn_head *head;	/* of a shared one, else NULL */
	int owner;			/* it was begun by this handle */
	int locked;			/* this handle has the write lock */
	struct kv_layer *next, **prevp;	/* shared ones of the handle */
};

/* How far a reader looks into each layer, the topmost first. */
struct kv_reach {
	uint32_t n;
	uint64_t at[KV_TXN_DEPTH + 1];
};

/* A private layer.  limit: bytes of memory before it goes to a file. */
void kv_layer_init(struct kv_layer *l, struct kevo *db,
    struct kv_layer *below, uint64_t limit);

/*
 * A shared one, owned by this handle, over what is at commit seq by the clock
 * now_ns.  Or the one of a number that another process owns.
 *
 * On failure the layer holds nothing and need not be released.
 */
int kv_layer_share(struct kv_layer *l, struct kevo *db,
    struct kv_layer *below, uint64_t seq, uint64_t now_ns);
int kv_layer_join(struct kv_layer *l, struct kevo *db, uint64_t number);

/* Close and free what it holds; the files of one that this handle owns are
 * removed. */
void kv_layer_release(struct kv_layer *l);

/*
 * Add a batch to a private layer, whole or not at all, and clear it.  An
 * empty layer takes its memory over, if it may have so much.
 */
int kv_layer_add(struct kv_layer *l, struct kevo_batch *b);

/* For batch.c: room for bytes of the batch's buffer; bytes put behind what is
 * in it. */
int kv_layer_room(struct kv_layer *l, uint64_t want);
int kv_layer_put(struct kv_layer *l, const void *p, uint64_t n);

/*
 * A shared layer's write lock; waits as the handle's options say.  With it
 * comes what others have written.  Who has it already does not ask again.
 * KEVO_EENDED: it has ended.
 */
int kv_layer_lock(struct kv_layer *l);
void kv_layer_unlock(struct kv_layer *l);

/* What was written into a shared layer is indexed as far as its readers do
 * not do it for themselves; it is locked. */
int kv_layer_index(struct kv_layer *l);

/* 0, or KEVO_EENDED: a layer from l downwards has ended or its owner died. */
int kv_layers_alive(struct kv_layer *l);

/* End a shared layer: nobody joins it or writes into it any more. */
void kv_layer_end(struct kv_layer *l);

/* The same, and make its batch what was written, every operation of it
 * verified, for a commit. */
int kv_layer_finish(struct kv_layer *l);

/* Add a batch to a shared layer, whole or not at all.  It is locked. */
int kv_layer_append(struct kv_layer *l, const struct kevo_batch *b);

/*
 * Forget what a private layer has behind byte len of its batch, to where
 * kv_layer_mark() said once that it goes.  KEVO_EINVAL: no operation ends
 * there.
 */
uint64_t kv_layer_mark(const struct kv_layer *l);
int kv_layer_cut(struct kv_layer *l, uint64_t len);

/* What a read of now sees of the layers from top on (NULL: none). */
int kv_layers_look(struct kv_layer *top, struct kv_reach *r);

/* The index over what a layer has up to byte at, or NULL: that is nothing. */
const struct kv_index *kv_layer_tree(const struct kv_layer *l, uint64_t at);

/*
 * Look a key up in them.  0 with *rec set (its version is 0), KEVO_NOTFOUND:
 * the topmost that has it deletes it or has expired; KEVO_FALSE: none has it.
 */
int kv_layers_get(struct kv_layer *top, const struct kv_reach *r,
    const void *key, size_t klen, struct kevo_record *rec);

#endif /* KV_LAYER_H */
