/*
 * memindex: space, insertion, lookup.
 *
 * Every insertion prepares what it needs beyond the arena's end, having
 * moved the end first, and then links it with one store: a link of a node
 * or of the head, or the count or table byte of a node whose new entry is
 * complete.  A writer that dies before that store leaves bytes nobody links
 * to; one that dies after it has finished.  The next writer inserts the
 * same operation again, which changes nothing if it was finished.
 *
 * A node is never moved or shortened.  Where a full one must grow, or a
 * path must be split, a new one takes its place in the link that led to it,
 * and the old one stays as it was, its links included: a reader that stands
 * on it sees the tree as it was when it arrived, or newer.
 */
#include "memindex.h"

#include <string.h>

#include "memindex_node.h"
#include "record.h"

/* Version 2; sizes of a leaf and of the smallest node; unit of links. */
#define KV_INDEX_LAYOUT	((uint32_t)2 << 24 | 16 << 16 | 32 << 8 | 8)

static const char magic[8] = { 'K', 'E', 'V', 'O', 'I', 'D', 'X', '1' };

void
kv_index_format(void *arena, uint64_t size, uint64_t generation,
    uint64_t segment, uint64_t segment_hash, uint32_t filter)
{
	struct kv_index_head *h = arena;

	memcpy(h->magic, magic, sizeof(magic));
	h->layout = KV_INDEX_LAYOUT;
	h->head_len = KV_INDEX_HEAD_LEN;
	h->generation = generation;
	h->segment = segment;
	h->segment_hash = segment_hash;
	h->filter = filter;
	atomic_store_explicit(&h->size, size, memory_order_relaxed);
	atomic_store_explicit(&h->end, KV_INDEX_HEAD_LEN + filter,
	    memory_order_relaxed);
	atomic_store_explicit(&h->root, 0, memory_order_release);
}

int
kv_index_check(const void *arena, uint64_t file_len)
{
	const struct kv_index_head *h = arena;
	uint64_t end, size;

	if (file_len < KV_INDEX_HEAD_LEN ||
	    memcmp(h->magic, magic, sizeof(magic)) != 0 ||
	    h->layout != KV_INDEX_LAYOUT || h->head_len != KV_INDEX_HEAD_LEN)
		return -1;
	/* In this order, for a writer raises size first and then end. */
	end = atomic_load_explicit(&h->end, memory_order_acquire);
	size = atomic_load_explicit(&h->size, memory_order_acquire);
	if (size > file_len || size > KV_INDEX_ARENA_MAX ||
	    end < KV_INDEX_HEAD_LEN || end > size || end % 16 != 0)
		return -1;
	return 0;
}

/* ---- space ------------------------------------------------------------- */

#define ALIGN_SPLIT	32
#define ALIGN_GROWN	64

/*
 * Bytes that any operation is charged for: its leaf, and the node and the
 * two paths that splitting a path makes, with padding.
 */
#define OP_NEED		(16 + 3 * KV_NODE_MIN + ALIGN_SPLIT - 16)

/* Bytes that growing a node of a type takes, with padding and the leaf. */
static uint64_t
grow_need(unsigned type)
{
	return 16u + kv_node_shapes[type + 1].size + ALIGN_GROWN - 16;
}

/* The counter of the nodes of a type that may still grow; see below. */
static _Atomic uint32_t *
counter(struct kv_index_head *h, unsigned type)
{
	switch (type) {
	case KV_NODE_11:
		return &h->nodes11;
	case KV_NODE_24:
		return &h->nodes24;
	case KV_NODE_62:
		return &h->nodes62;
	default:
		return NULL;
	}
}

/*
 * An operation does one of these: add a leaf alone (16 bytes), split a path
 * or a leaf (at most OP_NEED), or grow one node.  Charge each OP_NEED = 128
 * bytes.  Growing a 5 takes 128, too.  Growing a larger one takes more, but
 * a node that became what it is during these operations had first to
 * receive entries, by operations that took 16 of their 128 bytes each:
 *
 *     11 -> 24     takes  192; paid by  6 operations: 128 +  5 * 112
 *     24 -> 62     takes  576; paid by 13 operations: 128 + 12 * 112
 *     62 -> 256    takes 1104; paid by 38 operations: 128 + 37 * 112
 *
 * An operation adds an entry to one node at most, so that none pays twice.
 * What is left are nodes that had their type before.  Each grows at most
 * once without having been paid for, and takes an operation to do it; it is
 * charged the difference, the largest first.
 *
 * (A 62 whose writer died may have lost an entry and grow early, but then
 * it is a node that had its type before.)
 */
uint64_t
kv_index_need(const struct kv_index *ix, uint64_t nops)
{
	struct kv_index_head *h = (struct kv_index_head *)(void *)ix->arena;
	uint64_t need = nops * OP_NEED, left = nops, n;
	unsigned type;

	for (type = KV_NODE_62; type >= KV_NODE_11; type--) {
		n = atomic_load_explicit(counter(h, type),
		    memory_order_relaxed);
		if (n > left)
			n = left;
		need += n * (grow_need(type) - OP_NEED);
		left -= n;
	}
	return need;
}

/* An insertion under way. */
struct put {
	struct kv_arena v;
	const uint8_t *key;
	uint32_t klen;
	uint32_t key_off;	/* place of the key in the log */
	uint32_t off;		/* of the operation */
	uint64_t seq;
};

/*
 * Take len bytes from the arena.  The end moves before anything is linked:
 * should this process die, the next one must not hand them out again.
 * Returns their place, or 0 if they are not there.
 */
static uint64_t
take(struct put *p, uint32_t len, uint32_t align)
{
	struct kv_index_head *h = kv_arena_head(&p->v);
	uint64_t end = atomic_load_explicit(&h->end, memory_order_relaxed);
	uint64_t size = atomic_load_explicit(&h->size, memory_order_relaxed);
	uint64_t place = (end + align - 1) & ~(uint64_t)(align - 1);

	if (size > p->v.arena_len)
		size = p->v.arena_len;
	if (size > KV_INDEX_ARENA_MAX)
		size = KV_INDEX_ARENA_MAX;
	if (end < KV_INDEX_HEAD_LEN || end % 16 != 0 || place > size ||
	    len > size - place)
		return 0;
	atomic_store_explicit(&h->end, place + len, memory_order_release);
	return place;
}

static uint32_t
link_to(uint64_t place)
{
	return (uint32_t)(place >> 3) << 1;
}

/* ---- insertion --------------------------------------------------------- */

/* Write the leaf of p at a place; returns its link. */
static uint32_t
make_leaf(struct put *p, uint64_t place, uint32_t older)
{
	struct kv_leaf *leaf = (struct kv_leaf *)(void *)(p->v.arena + place);

	leaf->seq = p->seq;
	leaf->off = p->off;
	leaf->older = older;
	return link_to(place) | KV_LEAF_BIT;
}

/*
 * Write a path of len bytes, which are at off of the log and at bytes.
 * Returns its link; child itself if there is nothing to compress.
 */
static uint32_t
make_path(struct put *p, uint64_t place, const uint8_t *bytes, uint32_t len,
    uint32_t off, uint32_t child)
{
	struct kv_path *path = (struct kv_path *)(void *)(p->v.arena + place);
	uint32_t n = len < KV_PATH_INLINE ? len : KV_PATH_INLINE;

	if (len == 0)
		return child;
	path->type = KV_NODE_PATH;
	memcpy(path->bytes, bytes, n);
	path->len = len;
	path->off = off;
	atomic_store_explicit(&path->child, child, memory_order_relaxed);
	return link_to(place);
}

/*
 * Add an entry to a node of type 5, 11, 24 or 62 that has room for it, and
 * make it visible last.  In a 62 the count comes first: were a table byte
 * to precede it, a successor of a writer killed in between would use that
 * link for another byte.  This way the successor leaves it unused.
 */
static void
append_entry(uint8_t *n, unsigned type, unsigned count, uint8_t byte,
    uint32_t link)
{
	_Atomic uint8_t *table;

	if (type == KV_NODE_62) {
		table = (_Atomic uint8_t *)(void *)(n + KV_NODE_TABLE + byte);
		atomic_store_explicit(kv_node_count(n), (uint8_t)(count + 1),
		    memory_order_relaxed);
		atomic_store_explicit(&kv_node_links(n, type)[count + 1], link,
		    memory_order_release);
		atomic_store_explicit(table, (uint8_t)(count + 1),
		    memory_order_release);
		return;
	}
	n[KV_NODE_BYTES + count] = byte;
	atomic_store_explicit(&kv_node_links(n, type)[count + 1], link,
	    memory_order_relaxed);
	atomic_store_explicit(kv_node_count(n), (uint8_t)(count + 1),
	    memory_order_release);
}

/*
 * Put a child, or with end the key that ends there, into a node that no
 * reader sees yet.
 */
static void
set_entry(uint8_t *n, unsigned type, int end, uint8_t byte, uint32_t link)
{
	if (end || type == KV_NODE_256)
		atomic_store_explicit(
		    &kv_node_links(n, type)[end ? 0 : byte + 1], link,
		    memory_order_relaxed);
	else
		append_entry(n, type, kv_node_load_count(n, type), byte, link);
}

static uint8_t *
make_node(struct put *p, uint64_t place, unsigned type)
{
	uint8_t *n = p->v.arena + place;

	memset(n, 0, kv_node_shapes[type].size);
	*n = (uint8_t)type;
	return n;
}

/* Add a leaf to what a slot holds: nothing, or an older version. */
static int
put_leaf(struct put *p, _Atomic uint32_t *slot, uint32_t older)
{
	uint64_t place = take(p, sizeof(struct kv_leaf), 16);

	if (place == 0)
		return -1;
	kv_link_store(slot, make_leaf(p, place, older));
	return 0;
}

/*
 * A leaf of another key is where the new one would go.  Both keys agree
 * from depth on in len bytes: a path of these, and a node below it.
 */
static int
split_leaf(struct put *p, _Atomic uint32_t *slot, uint32_t depth,
    uint32_t len, const uint8_t *old, uint32_t old_len)
{
	uint32_t path_len = len != 0 ? KV_NODE_MIN : 0;
	uint32_t at = depth + len, link = kv_link_load(slot);
	uint64_t place;
	uint8_t *n;

	place = take(p, path_len + KV_NODE_MIN + sizeof(struct kv_leaf),
	    ALIGN_SPLIT);
	if (place == 0)
		return -1;
	n = make_node(p, place + path_len, KV_NODE_5);
	set_entry(n, KV_NODE_5, at == old_len,
	    at == old_len ? 0 : old[at], link);
	link = make_leaf(p, place + path_len + KV_NODE_MIN, 0);
	set_entry(n, KV_NODE_5, at == p->klen,
	    at == p->klen ? 0 : p->key[at], link);
	kv_link_store(slot, make_path(p, place, p->key + depth, len,
	    p->key_off + depth, link_to(place + path_len)));
	return 0;
}

/*
 * The new key leaves a path after its first len bytes.  The path's place
 * is taken by a shorter one, a node, and in the node a path of what
 * remains, which leads where the whole path led.
 */
static int
split_path(struct put *p, _Atomic uint32_t *slot, struct kv_path *path,
    const uint8_t *bytes, uint32_t depth, uint32_t len)
{
	uint32_t head_len = len != 0 ? KV_NODE_MIN : 0;
	uint32_t rest = path->len - len - 1;
	uint32_t rest_len = rest != 0 ? KV_NODE_MIN : 0;
	uint32_t at = depth + len, link;
	uint64_t place;
	uint8_t *n;

	place = take(p, head_len + rest_len + KV_NODE_MIN +
	    sizeof(struct kv_leaf), ALIGN_SPLIT);
	if (place == 0)
		return -1;
	n = make_node(p, place + head_len, KV_NODE_5);
	link = make_path(p, place + head_len + KV_NODE_MIN, bytes + len + 1,
	    rest, path->off + len + 1, kv_link_load(&path->child));
	set_entry(n, KV_NODE_5, 0, bytes[len], link);
	link = make_leaf(p, place + head_len + KV_NODE_MIN + rest_len, 0);
	set_entry(n, KV_NODE_5, at == p->klen,
	    at == p->klen ? 0 : p->key[at], link);
	kv_link_store(slot, make_path(p, place, p->key + depth, len,
	    p->key_off + depth, link_to(place + head_len)));
	return 0;
}

/* Copy all entries of a node into the empty one of the next type. */
static int
copy_entries(uint8_t *to, uint8_t *from, unsigned type)
{
	_Atomic uint32_t *links = kv_node_links(from, type), *slot;
	unsigned i, count = kv_node_load_count(from, type);
	int rc;

	set_entry(to, type + 1, 1, 0, kv_link_load(&links[0]));
	if (type != KV_NODE_62) {
		for (i = 0; i < count; i++)
			set_entry(to, type + 1, 0, from[KV_NODE_BYTES + i],
			    kv_link_load(&links[i + 1]));
		return 0;
	}
	for (i = 0; i < 256; i++) {
		if ((rc = kv_node_slot(from, type, (uint8_t)i, &slot)) < 0)
			return -1;
		if (rc != 0)
			set_entry(to, type + 1, 0, (uint8_t)i,
			    kv_link_load(slot));
	}
	return 0;
}

/*
 * Replace a full node by one of the next type with the new leaf in it.  The
 * counters are never too low, wherever the writer dies.
 */
static int
grow(struct put *p, _Atomic uint32_t *slot, uint8_t *old, unsigned type,
    uint8_t byte)
{
	struct kv_index_head *h = kv_arena_head(&p->v);
	uint32_t size = kv_node_shapes[type + 1].size;
	_Atomic uint32_t *count;
	uint64_t place;
	uint8_t *n;

	place = take(p, size + sizeof(struct kv_leaf), ALIGN_GROWN);
	if (place == 0)
		return -1;
	n = make_node(p, place, type + 1);
	if (copy_entries(n, old, type) < 0)
		return -1;
	set_entry(n, type + 1, 0, byte, make_leaf(p, place + size, 0));
	if ((count = counter(h, type + 1)) != NULL)
		atomic_fetch_add_explicit(count, 1, memory_order_relaxed);
	kv_link_store(slot, link_to(place));
	if ((count = counter(h, type)) != NULL)
		atomic_fetch_sub_explicit(count, 1, memory_order_relaxed);
	return 0;
}

/* Add the new key to a node that has no link for its byte. */
static int
add_child(struct put *p, _Atomic uint32_t *slot, uint8_t *n, unsigned type,
    uint8_t byte)
{
	unsigned count = kv_node_load_count(n, type);
	uint64_t place;

	if (count == kv_node_shapes[type].room)
		return grow(p, slot, n, type, byte);
	if ((place = take(p, sizeof(struct kv_leaf), 16)) == 0)
		return -1;
	append_entry(n, type, count, byte, make_leaf(p, place, 0));
	return 0;
}

/* A leaf is where the new key would go: its own, or another's. */
static int
meet_leaf(struct put *p, _Atomic uint32_t *slot, uint32_t depth)
{
	uint32_t link = kv_link_load(slot), old_len, len;
	struct kv_leaf *leaf = kv_leaf_at(&p->v, link);
	const uint8_t *old;

	if (leaf == NULL || kv_op_key(p->v.log, p->v.log_len, leaf->off,
	    &old, &old_len) < 0 || old_len < depth)
		return -1;
	len = (old_len < p->klen ? old_len : p->klen) - depth;
	len = kv_common(old + depth, p->key + depth, len);
	if (depth + len < old_len || depth + len < p->klen)
		return split_leaf(p, slot, depth, len, old, old_len);
	if (leaf->seq > p->seq || (leaf->seq == p->seq && leaf->off >= p->off))
		return 0;
	return put_leaf(p, slot, link);
}

/* Follow a path as far as the key agrees. */
static int
meet_path(struct put *p, _Atomic uint32_t **slot, struct kv_path *path,
    uint32_t *depth)
{
	uint32_t len = path->len, left = p->klen - *depth, same;
	const uint8_t *bytes = kv_path_bytes(&p->v, path, len);

	if (bytes == NULL || len == 0)
		return -1;
	same = kv_common(bytes, p->key + *depth, len < left ? len : left);
	if (same < len)
		return split_path(p, *slot, path, bytes, *depth, same);
	*depth += len;
	*slot = &path->child;
	return 1;
}

/* Go from a node to the slot for the key, or add the key here. */
static int
meet_node(struct put *p, _Atomic uint32_t **slot, uint8_t *n,
    unsigned type, uint32_t *depth)
{
	_Atomic uint32_t *child;
	int rc;

	if (*depth == p->klen) {
		*slot = kv_node_links(n, type);
		if (kv_link_load(*slot) == 0)
			return put_leaf(p, *slot, 0);
		return meet_leaf(p, *slot, *depth);
	}
	if ((rc = kv_node_slot(n, type, p->key[*depth], &child)) < 0)
		return -1;
	if (rc == 0)
		return add_child(p, *slot, n, type, p->key[*depth]);
	*slot = child;
	++*depth;
	return 1;
}

int
kv_index_insert(struct kv_index *ix, uint64_t seq, uint32_t off)
{
	struct put p = { .off = off, .seq = seq };
	_Atomic uint32_t *slot;
	uint32_t link, depth = 0;
	uint64_t key_off;
	unsigned type;
	uint8_t *n;
	int rc = 1;

	kv_arena_init(&p.v, ix);
	if (p.v.arena_len < KV_INDEX_HEAD_LEN ||
	    kv_op_key(p.v.log, p.v.log_len, off, &p.key, &p.klen) < 0)
		return -1;
	key_off = (uint64_t)(p.key - p.v.log);
	if (key_off + p.klen > UINT32_MAX)
		return -1;
	p.key_off = (uint32_t)key_off;
	if (ix->filter != NULL)
		kv_filter_add(ix, p.key, p.klen);
	slot = &kv_arena_head(&p.v)->root;
	while (rc > 0) {
		if ((link = kv_link_load(slot)) == 0)
			return put_leaf(&p, slot, 0);
		if (link & KV_LEAF_BIT)
			return meet_leaf(&p, slot, depth);
		if ((n = kv_node_at(&p.v, link, &type)) == NULL)
			return -1;
		if (type == KV_NODE_PATH)
			rc = meet_path(&p, &slot, kv_node_path(n), &depth);
		else
			rc = meet_node(&p, &slot, n, type, &depth);
	}
	return rc;
}

/* ---- lookup ------------------------------------------------------------ */

/*
 * Follow a path.  Of a long one only the bytes in the node are compared:
 * the key is compared in the end.  Returns 1, 0 if it is another, or -1.
 */
static inline int
follow_path(const struct kv_path *path, const uint8_t *key, uint32_t klen,
    uint32_t *depth, uint32_t *link)
{
	uint32_t len = path->len;
	uint32_t known = len < KV_PATH_INLINE ? len : KV_PATH_INLINE;

	if (len == 0)
		return -1;
	if (len > klen - *depth ||
	    kv_common(path->bytes, key + *depth, known) < known)
		return 0;
	*depth += len;
	*link = kv_link_load(&path->child);
	return 1;
}

/*
 * Find the leaf that the key has if it is here at all.  Returns 1, 0 or
 * -1.
 */
static inline int
find_leaf(struct kv_arena *v, uint32_t link, const uint8_t *key,
    uint32_t klen, uint32_t *leaf)
{
	uint32_t depth = 0;
	_Atomic uint32_t *slot;
	unsigned type;
	uint8_t *n;
	int rc;

	while (link != 0 && !(link & KV_LEAF_BIT)) {
		if ((n = kv_node_at(v, link, &type)) == NULL)
			return -1;
		if (type == KV_NODE_PATH) {
			rc = follow_path(kv_node_path(n), key, klen, &depth,
			    &link);
			if (rc <= 0)
				return rc;
			continue;
		}
		if (depth == klen) {
			link = kv_link_load(kv_node_links(n, type));
			break;
		}
		if ((rc = kv_node_slot(n, type, key[depth], &slot)) <= 0)
			return rc;
		link = kv_link_load(slot);
		depth++;
	}
	*leaf = link;
	return link != 0;
}

int
kv_index_find(const struct kv_index *ix, const void *key, size_t klen,
    uint64_t seq, struct kv_index_hit *hit)
{
	struct kv_arena v;
	const uint8_t *k;
	uint32_t link = 0, len;
	int rc;

	kv_arena_init(&v, ix);
	if (v.arena_len < KV_INDEX_HEAD_LEN)
		return -1;
	if (klen > KV_KEY_MAX)
		return 0;
	if ((rc = find_leaf(&v, kv_link_load(&kv_arena_head(&v)->root), key,
	    (uint32_t)klen, &link)) <= 0 ||
	    (rc = kv_leaf_version(&v, link, seq, hit)) <= 0)
		return rc;
	if (kv_op_key(v.log, v.log_len, hit->off, &k, &len) < 0)
		return -1;
	return len == klen && kv_common(k, key, len) == len;
}

int
kv_index_find_unmapped(const struct kv_index_source *src, const void *key,
    size_t klen, uint64_t seq, struct kv_index_hit *hit)
{
	struct kv_copies copies;
	struct kv_arena v;
	uint32_t link = 0;
	int rc;

	copies.src = src;
	copies.turn = 0;
	memset(&v, 0, sizeof(v));
	v.copies = &copies;
	if (klen > KV_KEY_MAX)
		return 0;
	rc = find_leaf(&v, src->root, key, (uint32_t)klen, &link);
	return rc <= 0 ? rc : kv_leaf_version(&v, link, seq, hit);
}
