/*
 * layer_work: what the files of layer.h offer each other.
 */
#ifndef KV_LAYER_WORK_H
#define KV_LAYER_WORK_H

#include "layer.h"
#include "record.h"

/* Where the operations of a batch begin. */
#define KV_LAYER_START	((uint64_t)KV_FRAME_LEN + KV_PAYLOAD_HEAD)

/* Padding and trailer that a commit puts behind the operations. */
#define KV_LAYER_TAIL	((uint64_t)8 + KV_TRAILER_LEN)

/* A whole transaction, with what lies before and behind. */
#define KV_LAYER_SPACE	(KV_TXN_HEAD_LEN + KV_LAYER_START + KEVO_COMMIT_MAX + \
    ((uint64_t)64 << 10))

/* Up to here a shared one has no index in a file; and as much of its file, the
 * head with it, is mapped at first. */
#define KV_LAYER_SMALL		((uint64_t)4 << 10)
#define KV_LAYER_SMALL_SPACE	((uint64_t)64 << 10)

/* ---- layer.c ----------------------------------------------------------- */

/* Say what is the matter; they return the status. */
int kv_layer_damaged(struct kv_layer *l);
int kv_layer_no_addresses(struct kv_layer *l);
int kv_layer_ended(struct kv_layer *l);

/* Where its files are, for a message. */
const char *kv_layer_where(const struct kv_layer *l);

/* The batch lies where the store is. */
void kv_layer_settle(struct kv_layer *l);

/* The file of the operations has its whole length at once: what is not
 * reserved yet reads as zeros. */
int kv_layer_extend(struct kv_layer *l, int fd);

/* A shared one that is large: all that it can become, so that whatever the
 * index leads to is mapped, from now on.  Or so many bytes of its batch. */
int kv_layer_map_all(struct kv_layer *l, uint64_t need);
int kv_layer_map_to(struct kv_layer *l, uint64_t need);

/* Would a store in memory, when it grows to want, take more than it may?  To
 * a file with both.  Or the index alone. */
int kv_layer_spill_if(struct kv_layer *l, const struct kv_store *s,
    uint64_t want);
int kv_layer_spill_tree(struct kv_layer *l);

/* Count what there is up to byte len.  -1: no operation ends at len. */
int kv_layer_recount(struct kevo_batch *b, uint64_t len);

/* Bytes of the file before the batch. */
static inline uint64_t
kv_layer_skip(const struct kv_layer *l)
{
	return l->ops.fd >= 0 ? KV_TXN_HEAD_LEN : 0;
}

/* ---- layer_share.c ----------------------------------------------------- */

/* One of its files; KEVO_EENDED: it is not there. */
int kv_layer_open_file(struct kv_layer *l, uint64_t number,
    const char *ending, int *fd);

/* ---- layer_index.c ----------------------------------------------------- */

static inline uint64_t
kv_tree_space(void)
{
	return kv_index_space(KEVO_COMMIT_MAX);
}

/* The index lies where its store is. */
static inline void
kv_tree_settle(struct kv_tree *x)
{
	x->ix.arena = x->arena.p;
	x->ix.arena_len = x->arena.space != 0 ? x->arena.space :
	    x->arena.room;
}

#endif /* KV_LAYER_WORK_H */
