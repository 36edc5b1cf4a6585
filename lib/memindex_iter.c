/*
 * memindex: iteration.
 *
 * An iterator is a scout and a queue.  The scout walks over the nodes, a
 * stack of positions telling where it is, and queues the links of the leaves
 * it finds.  What an ordered walk costs is the memory it waits for: the
 * leaf, then the operation in the log.  The scout, some leaves ahead, asks
 * for a leaf when it is queued, and for the operation when it is half way
 * through.  It goes further ahead with each move, so that a short walk does
 * not pay for a long one.
 *
 * To turn round, the scout is sent anew to the key the iterator is on.
 *
 * In a damaged arena several links may lead to one node.  Depth grows with
 * each node and has a limit, a node without entries is an error, keys must
 * rise (or fall), and leaves without a version to show are counted: so each
 * move ends, and so does the walk.
 */
#include "memindex.h"

#include <stdlib.h>
#include <string.h>

#include "memindex_node.h"
#include "record.h"

#define QUEUE		32	/* a power of two */
#define STACK_ROOM	24

/* Where the scout is in one inner node. */
struct place {
	uint32_t link;
	uint32_t depth;		/* of the node: bytes of the key before it */
	int pos;		/* 0: the key that ends here; byte + 1: a
				 * child; POS_BEFORE, POS_BEHIND all: none */
};
#define POS_BEFORE	(-1)
#define POS_BEHIND	257

/* The iterator's private memory. */
struct kv_index_step {
	uint32_t queue[QUEUE];
	uint32_t first;
	uint32_t count;
	uint32_t asked;		/* of them, whose operations are fetched */
	uint32_t ahead;		/* leaves to have queued */
	int scouting;		/* 1; or, at an end or error, its result */
	struct place stack[];
};

static void
fetch(const struct kv_arena *v, uint32_t link)
{
	__builtin_prefetch(v->arena + kv_link_place(link));
}

/*
 * The next entry of a 5, 11 or 24 after pos, or with dir < 0 before it:
 * the least (greatest) byte of those beyond.  Returns its position, or
 * pos itself.
 */
static int
small_sibling(uint8_t *n, unsigned type, int pos, int dir,
    _Atomic uint32_t **slot)
{
	unsigned i, count = kv_node_load_count(n, type);
	int best = dir > 0 ? POS_BEHIND : 0, at;

	for (i = 0; i < count; i++) {
		at = n[KV_NODE_BYTES + i] + 1;
		if (dir > 0 ? at > pos && at < best : at < pos && at > best) {
			best = at;
			*slot = &kv_node_links(n, type)[i + 1];
		}
	}
	return best == POS_BEHIND || best == 0 ? pos : best;
}

/* The same in a 62 or 256.  pos is at least 0. */
static int
large_sibling(uint8_t *n, unsigned type, int pos, int dir,
    _Atomic uint32_t **slot)
{
	_Atomic uint32_t *child;
	int at;

	for (at = pos + dir; at > 0 && at < POS_BEHIND; at += dir) {
		if (kv_node_slot(n, type, (uint8_t)(at - 1), &child) > 0 &&
		    kv_link_load(child) != 0) {
			*slot = child;
			return at;
		}
	}
	return pos;
}

/*
 * Move a position in a node on by one entry.  Returns that entry's link, or
 * 0 if it was the last one.
 */
static uint32_t
sibling(uint8_t *n, unsigned type, int *pos, int dir)
{
	_Atomic uint32_t *links = kv_node_links(n, type), *slot = NULL;
	uint32_t link;
	int at;

	if (dir > 0 && *pos < 0) {
		*pos = 0;
		if ((link = kv_link_load(links)) != 0)
			return link;
	}
	at = type <= KV_NODE_24 ? small_sibling(n, type, *pos, dir, &slot) :
	    large_sibling(n, type, *pos, dir, &slot);
	if (slot != NULL) {
		*pos = at;
		return kv_link_load(slot);
	}
	if (dir < 0 && *pos > 0) {
		*pos = 0;
		return kv_link_load(links);
	}
	return 0;
}

/* Put a node on the stack.  Returns 0, -1 or -2. */
static int
push(struct kv_index_iter *it, uint32_t link, uint32_t depth, int pos)
{
	uint32_t room = it->room != 0 ? it->room * 2 : STACK_ROOM;
	struct kv_index_step *s = it->stack;

	if (depth > KV_KEY_MAX)
		return -1;
	if (it->depth == it->room) {
		s = realloc(s, sizeof(*s) + room * sizeof(s->stack[0]));
		if (s == NULL)
			return -2;
		it->stack = s;
		it->room = room;
	}
	s->stack[it->depth].link = link;
	s->stack[it->depth].depth = depth;
	s->stack[it->depth].pos = pos;
	it->depth++;
	return 0;
}

/* The scout enters an inner node; what hangs below is wanted soon. */
static int
enter(struct kv_index_iter *it, struct kv_arena *v, uint8_t *n, unsigned type,
    uint32_t link, uint32_t depth)
{
	_Atomic uint32_t *links = kv_node_links(n, type);
	unsigned i, count;

	if (type <= KV_NODE_24) {
		count = kv_node_load_count(n, type);
		for (i = 1; i <= count; i++)
			fetch(v, atomic_load_explicit(&links[i],
			    memory_order_relaxed));
	}
	return push(it, link, depth, it->state > 0 ? POS_BEFORE : POS_BEHIND);
}

/* Go through a path without looking at its bytes. */
static int
pass_path(const struct kv_path *path, uint32_t *link, uint32_t *depth)
{
	uint32_t len = path->len;

	if (len == 0 || *depth > KV_KEY_MAX || len > KV_KEY_MAX - *depth)
		return -1;
	*depth += len;
	*link = kv_link_load(&path->child);
	return *link != 0 ? 0 : -1;
}

/*
 * Go up from the stack's top until a node has a next entry.  Returns 1 with
 * its link and depth, 0 at the end, or -1.
 */
static int
climb(struct kv_index_iter *it, struct kv_arena *v, uint32_t *link,
    uint32_t *depth)
{
	struct place *top;
	unsigned type;
	uint8_t *n;
	int was;

	while (it->depth > 0) {
		top = &it->stack->stack[it->depth - 1];
		n = kv_node_at(v, top->link, &type);
		if (n == NULL || type == KV_NODE_PATH)
			return -1;
		was = top->pos;
		*link = sibling(n, type, &top->pos, it->state);
		*depth = top->depth + 1;
		if (*link != 0)
			return top->pos != 0 || (*link & KV_LEAF_BIT) ? 1 : -1;
		if (was == POS_BEFORE || was == POS_BEHIND)
			return -1;
		it->depth--;
	}
	return 0;
}

/*
 * Go down from link to the first leaf in the walk's direction.  A link of 0
 * means to go on from the stack's top.  Returns 1, 0 at the end, -1 or -2.
 */
static int
scout(struct kv_index_iter *it, struct kv_arena *v, uint32_t link,
    uint32_t depth, uint32_t *leaf)
{
	unsigned type;
	uint8_t *n;
	int rc;

	for (;;) {
		if (link == 0 && (rc = climb(it, v, &link, &depth)) <= 0)
			return rc;
		if (link & KV_LEAF_BIT) {
			*leaf = link;
			return 1;
		}
		if ((n = kv_node_at(v, link, &type)) == NULL)
			return -1;
		if (type == KV_NODE_PATH) {
			rc = pass_path(kv_node_path(n), &link, &depth);
		} else {
			rc = enter(it, v, n, type, link, depth);
			link = 0;
		}
		if (rc < 0)
			return rc;
	}
}

/* The n-th leaf of the queue. */
static uint32_t *
queued(struct kv_index_step *s, uint32_t n)
{
	return &s->queue[(s->first + n) % QUEUE];
}

static void
enqueue(struct kv_index_step *s, const struct kv_arena *v, uint32_t leaf)
{
	*queued(s, s->count++) = leaf;
	fetch(v, leaf);
}

/* Fill the queue, and fetch the operations of its first half. */
static void
look_ahead(struct kv_index_iter *it, struct kv_arena *v)
{
	struct kv_index_step *s;
	struct kv_leaf *leaf;
	uint32_t link;
	int rc;

	while ((s = it->stack)->scouting == 1 && s->count < s->ahead) {
		rc = scout(it, v, 0, 0, &link);
		s = it->stack;		/* it may have grown */
		if (rc == 1)
			enqueue(s, v, link);
		else
			s->scouting = rc;
	}
	for (; s->asked < (s->count + 1) / 2; s->asked++)
		if ((leaf = kv_leaf_at(v, *queued(s, s->asked))) != NULL) {
			/* A small record is two or three lines long. */
			__builtin_prefetch(v->log + leaf->off);
			__builtin_prefetch(v->log + leaf->off + 64);
			__builtin_prefetch(v->log + leaf->off + 128);
		}
}

/*
 * Show the version of a leaf, if one is old enough.  Its key has to be
 * beyond the key shown before.  Returns 1, 0 or -1.
 */
static int
show(struct kv_index_iter *it, struct kv_arena *v, uint32_t link)
{
	const uint8_t *key;
	uint32_t klen;
	int rc;

	if ((rc = kv_leaf_version(v, link, it->seq, &it->hit)) <= 0)
		return rc;
	if (kv_op_key(v->log, v->log_len, it->hit.off, &key, &klen) < 0)
		return -1;
	if (it->klen != 0) {
		rc = kv_key_compare(key, klen, it->key, it->klen);
		if (it->state > 0 ? rc <= 0 : rc >= 0)
			return -1;
	}
	it->key = key;
	it->klen = klen;
	return 1;
}

/* Show the next leaf of the queue that has something to show. */
static int
deliver(struct kv_index_iter *it, struct kv_arena *v)
{
	uint64_t skips = v->arena_len / sizeof(struct kv_leaf);
	struct kv_index_step *s;
	uint32_t link;
	int rc;

	do {
		look_ahead(it, v);
		s = it->stack;
		if (s->count == 0) {
			rc = s->scouting;
			it->state = 0;
			return rc;
		}
		link = *queued(s, 0);
		s->first++;
		s->count--;
		s->asked--;
		rc = show(it, v, link);
	} while (rc == 0 && skips-- > 0);
	if (rc <= 0) {
		it->state = 0;
		rc = -1;
	}
	return rc;
}

/* Start a walk in a direction. */
static int
begin(struct kv_index_iter *it, struct kv_arena *v, int dir)
{
	struct kv_index_step *s = it->stack;

	it->state = 0;
	kv_arena_init(v, it->ix);
	if (v->arena_len < KV_INDEX_HEAD_LEN)
		return -1;
	if (s == NULL) {
		s = malloc(sizeof(*s) + STACK_ROOM * sizeof(s->stack[0]));
		if (s == NULL)
			return -2;
		it->stack = s;
		it->room = STACK_ROOM;
	}
	it->depth = 0;
	s->first = s->count = s->asked = 0;
	s->ahead = 1;
	s->scouting = 1;
	it->state = dir;
	return 0;
}

/* Queue what lies below link, unless nothing does, and deliver. */
static int
begin_below(struct kv_index_iter *it, struct kv_arena *v, uint32_t link,
    uint32_t depth)
{
	uint32_t leaf;
	int rc;

	if (link != 0) {
		if ((rc = scout(it, v, link, depth, &leaf)) < 0) {
			it->state = 0;
			return rc;
		}
		if (rc == 1)
			enqueue(it->stack, v, leaf);
	}
	return deliver(it, v);
}

static int
begin_at_edge(struct kv_index_iter *it, int dir)
{
	struct kv_arena v;
	int rc;

	it->klen = 0;
	if ((rc = begin(it, &v, dir)) < 0)
		return rc;
	return begin_below(it, &v, kv_link_load(&kv_arena_head(&v)->root), 0);
}

/* A key to go to. */
struct target {
	const uint8_t *key;
	size_t klen;
	int beyond;		/* do not stop at the key itself */
};

/*
 * Is a leaf where the walk may begin?  Returns 1, 0 or -1.  All versions
 * have the same key, so that the newest one tells it, visible or not.
 */
static int
accepts_leaf(struct kv_index_iter *it, struct kv_arena *v,
    const struct target *t, uint32_t link)
{
	struct kv_leaf *leaf = kv_leaf_at(v, link);
	const uint8_t *key;
	uint32_t klen;
	int cmp;

	if (leaf == NULL ||
	    kv_op_key(v->log, v->log_len, leaf->off, &key, &klen) < 0)
		return -1;
	cmp = kv_key_compare(key, klen, t->key, t->klen);
	if (cmp == 0)
		return !t->beyond;
	return (cmp > 0) == (it->state > 0);
}

/*
 * Compare a path with the key from depth on.  Returns 2 if the key agrees
 * with all of it, 1 if the walk is to begin below it, 0 if all below it
 * lies on the other side, or -1.
 */
static int
accepts_path(struct kv_index_iter *it, struct kv_arena *v,
    const struct target *t, const struct kv_path *path, uint32_t depth)
{
	uint32_t len = path->len, same;
	const uint8_t *bytes = kv_path_bytes(v, path, len);
	size_t left = t->klen - depth;
	int greater;

	if (bytes == NULL)
		return -1;
	same = kv_common(bytes, t->key + depth,
	    len < left ? len : (uint32_t)left);
	if (same == len)
		return 2;
	greater = same == left || bytes[same] > t->key[depth + same];
	return greater == (it->state > 0);
}

/* Put an inner node on the stack, positioned at the key. */
static int
enter_at(struct kv_index_iter *it, const struct target *t, uint32_t link,
    uint32_t depth)
{
	if (depth < t->klen)
		return push(it, link, depth, t->key[depth] + 1);
	if (it->state > 0)
		return push(it, link, depth, t->beyond ? 0 : POS_BEFORE);
	return push(it, link, depth, t->beyond ? 0 : 1);
}

/*
 * Send the scout towards a key as far as the tree agrees with it.  *link
 * is then what to go on with: where to begin, or 0 for beside the stack's
 * top.  Returns 0, -1 or -2.
 */
static int
approach(struct kv_index_iter *it, struct kv_arena *v, const struct target *t,
    uint32_t *link, uint32_t *depth)
{
	_Atomic uint32_t *slot;
	unsigned type;
	uint8_t *n;
	int rc;

	while (*link != 0 && !(*link & KV_LEAF_BIT)) {
		if ((n = kv_node_at(v, *link, &type)) == NULL)
			return -1;
		if (type == KV_NODE_PATH) {
			rc = accepts_path(it, v, t, kv_node_path(n), *depth);
			if (rc == 0)
				*link = 0;
			if (rc == 2)
				rc = pass_path(kv_node_path(n), link, depth);
			else if (rc >= 0)
				return 0;
			if (rc < 0)
				return rc;
			continue;
		}
		if ((rc = enter_at(it, t, *link, *depth)) < 0)
			return rc;
		*link = 0;
		if (*depth == t->klen)
			return 0;
		rc = kv_node_slot(n, type, t->key[*depth], &slot);
		if (rc < 0)
			return rc;
		if (rc > 0)
			*link = kv_link_load(slot);
		++*depth;
	}
	if (*link == 0)
		return 0;
	if ((rc = accepts_leaf(it, v, t, *link)) == 0)
		*link = 0;
	return rc < 0 ? rc : 0;
}

static int
begin_at_key(struct kv_index_iter *it, int dir, const void *key, size_t klen,
    int beyond)
{
	struct target t = { .key = key, .klen = klen, .beyond = beyond };
	struct kv_arena v;
	uint32_t link, depth = 0;
	int rc;

	if ((rc = begin(it, &v, dir)) < 0)
		return rc;
	link = kv_link_load(&kv_arena_head(&v)->root);
	if ((rc = approach(it, &v, &t, &link, &depth)) < 0) {
		it->state = 0;
		return rc;
	}
	return begin_below(it, &v, link, depth);
}

static int
move(struct kv_index_iter *it, int dir)
{
	struct kv_arena v;

	if (it->state == 0)
		return 0;
	if (it->state != dir)
		return begin_at_key(it, dir, it->key, it->klen, 1);
	kv_arena_init(&v, it->ix);
	if (it->stack->ahead < QUEUE)
		it->stack->ahead *= 2;
	return deliver(it, &v);
}

void
kv_index_iter_init(struct kv_index_iter *it, const struct kv_index *ix,
    uint64_t seq)
{
	memset(it, 0, sizeof(*it));
	it->ix = ix;
	it->seq = seq;
}

void
kv_index_iter_release(struct kv_index_iter *it)
{
	free(it->stack);
	it->stack = NULL;
	it->room = 0;
	it->state = 0;
}

int
kv_index_first(struct kv_index_iter *it)
{
	return begin_at_edge(it, 1);
}

int
kv_index_last(struct kv_index_iter *it)
{
	return begin_at_edge(it, -1);
}

int
kv_index_seek(struct kv_index_iter *it, const void *key, size_t klen)
{
	it->klen = 0;
	return begin_at_key(it, 1, key, klen, 0);
}

int
kv_index_seek_back(struct kv_index_iter *it, const void *key, size_t klen)
{
	it->klen = 0;
	return begin_at_key(it, -1, key, klen, 0);
}

int
kv_index_next(struct kv_index_iter *it)
{
	return move(it, 1);
}

int
kv_index_prev(struct kv_index_iter *it)
{
	return move(it, -1);
}
