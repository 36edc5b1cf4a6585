/*
 * memindex: several insertions, whose ways down are walked side by side.
 *
 * The walk only reads, and what it reads is asked for one round before; so a
 * group waits for memory about once for each level of the tree, and not once
 * for each level and operation.  It decides nothing: each operation is then
 * inserted as if alone, and finds its way in the cache.
 *
 * Source: Chen et al., Improving Hash Join Performance through Prefetching,
 * ICDE 2004 (group prefetching).
 */
#include "memindex.h"
#include "memindex_node.h"
#include "record.h"

#define WORTH_IT	4	/* fewer gain nothing */

struct way {
	const uint8_t *key;
	uint32_t klen;
	uint32_t depth;
	uint32_t link;		/* what it leads to has been asked for */
};

/* The last place of a way: the key in the log that a leaf there has. */
static void
ask_for_key(struct kv_arena *v, uint32_t link)
{
	struct kv_leaf *leaf = kv_leaf_at(v, link);

	if (leaf != NULL && leaf->off < v->log_len)
		__builtin_prefetch(v->log + leaf->off);
}

/* Go on from the node that a way has come to.  The link behind it, or 0. */
static uint32_t
behind(struct kv_arena *v, struct way *w)
{
	_Atomic uint32_t *slot;
	struct kv_path *path;
	unsigned type;
	uint8_t *n = kv_node_at(v, w->link, &type);
	uint32_t end;

	if (n == NULL)
		return 0;
	if (type == KV_NODE_PATH) {
		path = kv_node_path(n);
		if (path->len == 0 || path->len > w->klen - w->depth)
			return 0;
		w->depth += path->len;
		return kv_link_load(&path->child);
	}
	if (w->depth == w->klen) {
		end = kv_link_load(kv_node_links(n, type));
		return end & KV_LEAF_BIT ? end : 0;
	}
	if (kv_node_slot(n, type, w->key[w->depth], &slot) <= 0)
		return 0;
	w->depth++;
	return kv_link_load(slot);
}

/* 1: there is more of it. */
static int
step(struct kv_arena *v, struct way *w)
{
	const uint8_t *next;

	if (w->link & KV_LEAF_BIT) {
		ask_for_key(v, w->link);
		return 0;
	}
	w->link = behind(v, w);
	next = kv_link_at(v, w->link, sizeof(struct kv_leaf));
	if (next != NULL)
		__builtin_prefetch(next);
	return next != NULL;
}

static void
walk(const struct kv_index_group *g)
{
	struct way ways[KV_INDEX_GROUP];
	unsigned i, more, n = 0;
	struct kv_arena v;

	kv_arena_init(&v, g->ix);
	if (v.arena_len < KV_INDEX_HEAD_LEN)
		return;
	for (i = 0; i < g->n; i++) {
		struct way *w = &ways[n];

		w->depth = 0;
		w->link = kv_link_load(&kv_arena_head(&v)->root);
		n += kv_op_key(v.log, v.log_len, g->off[i], &w->key,
		    &w->klen) == 0;
	}
	for (; n > 0; n = more)
		for (i = more = 0; i < n; i++)
			if (step(&v, &ways[i]))
				ways[more++] = ways[i];
}

int
kv_index_flush(struct kv_index_group *g)
{
	unsigned i, n = g->n;

	if (n >= WORTH_IT)
		walk(g);
	g->n = 0;
	for (i = 0; i < n; i++)
		if (kv_index_insert(g->ix, g->seq[i], g->off[i]) != 0)
			return -1;
	return 0;
}

int
kv_index_add(struct kv_index_group *g, uint64_t seq, uint32_t off)
{
	g->seq[g->n] = seq;
	g->off[g->n] = off;
	return ++g->n < KV_INDEX_GROUP ? 0 : kv_index_flush(g);
}
