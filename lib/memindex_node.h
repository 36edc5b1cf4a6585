/*
 * memindex_node: leaves and nodes of the index as they lie in the arena.
 *
 * A link is 32 bits: the place in the arena divided by 8, shifted left by
 * one, and in bit 0 whether it leads to a leaf; 0 leads nowhere.  A leaf is
 * one version of a key, and links to the next older one.  An inner node
 * branches on one byte of the key; a path stands for bytes that all keys
 * below it share.  All multi-byte fields have the machine's byte order.
 *
 *     leaf   0 seq u64; 8 offset of the operation u32; 12 older link u32
 *     path   0 type u8; 1 the first 19 bytes; 20 length u32; 24 place in
 *            the log of the bytes u32; 28 child link
 *     inner  0 type u8; 1 count u8; then, where they lie differing by type,
 *            the key bytes and an array of links: the first leads to the
 *            leaf of the key that ends at this node, the others to children
 *
 * The types of inner nodes are named for their room.  5, 11 and 24 list
 * their bytes unsorted from place 2 on, byte i belonging to link i + 1; 62
 * has an array that holds the number of the link for each byte, 0 for none;
 * 256 has a link for each.  The rooms make the first four 32, 64, 128 and
 * 512 bytes long.
 *
 * What changes after a node is linked: its links (each one store), its
 * count, which follows the byte and the link it makes valid, and the array
 * of a 62, whose byte follows its link.  So a reader that loads in the
 * opposite order, with acquire, sees whole entries only.
 *
 * Everything here is checked against the arena, for a reader may meet a
 * damaged one.  Private to memindex.
 */
#ifndef KV_MEMINDEX_NODE_H
#define KV_MEMINDEX_NODE_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "coding.h"
#include "memindex.h"

#define KV_KEY_MAX	65536
#define KV_LEAF_BIT	1u
#define KV_NODE_MIN	32	/* bytes of the smallest node, and of a path */
#define KV_NODE_MAX	1040	/* of the largest */
#define KV_PATH_INLINE	19

enum kv_node_type {
	KV_NODE_PATH = 1,
	KV_NODE_5,
	KV_NODE_11,
	KV_NODE_24,
	KV_NODE_62,
	KV_NODE_256,
	KV_NODE_TYPES
};

struct kv_leaf {
	uint64_t seq;
	uint32_t off;
	uint32_t older;
};

struct kv_path {
	uint8_t type;
	uint8_t bytes[KV_PATH_INLINE];
	uint32_t len;
	uint32_t off;
	_Atomic uint32_t child;
};

_Static_assert(sizeof(struct kv_leaf) == 16, "leaf");
_Static_assert(sizeof(struct kv_path) == KV_NODE_MIN, "path");
_Static_assert(sizeof(struct kv_index_head) <= KV_INDEX_HEAD_LEN, "head");

/* Where an inner node has what. */
struct kv_node_shape {
	uint16_t size;
	uint16_t room;		/* children */
	uint16_t links;		/* place of the array of links */
};

static const struct kv_node_shape kv_node_shapes[KV_NODE_TYPES] = {
	[KV_NODE_PATH] = { KV_NODE_MIN, 0, 0 },
	[KV_NODE_5] = { KV_NODE_MIN, 5, 8 },
	[KV_NODE_11] = { 64, 11, 16 },
	[KV_NODE_24] = { 128, 24, 28 },
	[KV_NODE_62] = { 512, 62, 260 },
	[KV_NODE_256] = { KV_NODE_MAX, 256, 4 },
};
#define KV_NODE_BYTES	2	/* place of the bytes of 5, 11 and 24 */
#define KV_NODE_TABLE	4	/* place of the array of 62 */

/* Copies of nodes for an index that is not mapped; a node is looked at while
 * the one before it still is. */
#define KV_COPIES	2
struct kv_copies {
	const struct kv_index_source *src;
	unsigned turn;
	_Alignas(16) uint8_t node[KV_COPIES][KV_NODE_MAX + 16];
};

/*
 * What one call may touch.  The limit starts at 0, so that the first link
 * loads it; a link beyond it loads it again, for the arena may have grown
 * since.
 */
struct kv_arena {
	struct kv_copies *copies;	/* NULL: it is mapped */
	uint8_t *arena;
	const uint8_t *log;
	uint64_t log_len;
	uint64_t arena_len;
	uint64_t limit;
};

static inline struct kv_index_head *
kv_arena_head(const struct kv_arena *v)
{
	return (struct kv_index_head *)(void *)v->arena;
}

static inline void
kv_arena_init(struct kv_arena *v, const struct kv_index *ix)
{
	v->copies = NULL;
	v->arena = ix->arena;
	v->log = ix->log;
	v->log_len = ix->log_len;
	v->arena_len = ix->arena_len;
	v->limit = 0;
}

/* A load that what it leads to is read after. */
static inline uint32_t
kv_link_load(const _Atomic uint32_t *slot)
{
	return atomic_load_explicit(slot, memory_order_acquire);
}

/* A store that makes visible what was written before it. */
static inline void
kv_link_store(_Atomic uint32_t *slot, uint32_t link)
{
	atomic_store_explicit(slot, link, memory_order_release);
}

static inline uint64_t
kv_link_place(uint32_t link)
{
	return (uint64_t)(link >> 1) << 3;
}

/*
 * Copy the len bytes at place, or as many of them as the arena has, but no
 * fewer than min.
 *
 * The copy may be taken while the writer changes the node.  Whatever entry it
 * catches half made is newer than what its reader may see: all that is older
 * was stored before the reader loaded the number it reads at.
 */
static inline uint8_t *
kv_copy_at(struct kv_copies *c, uint64_t place, uint32_t len, uint32_t min)
{
	uint8_t *buf = c->node[c->turn = (c->turn + 1) % KV_COPIES];

	if (place < KV_INDEX_HEAD_LEN || place > c->src->size)
		return NULL;
	if (len > c->src->size - place)
		len = (uint32_t)(c->src->size - place);
	if (len < min || c->src->fetch(c->src->arg, buf, len, place) != 0)
		return NULL;
	return buf;
}

/* The len bytes a link leads to, or NULL if they are not in the arena. */
static inline uint8_t *
kv_link_at(struct kv_arena *v, uint32_t link, uint32_t len)
{
	uint64_t place = kv_link_place(link);

	if (v->copies != NULL)
		return kv_copy_at(v->copies, place, len, len);
	if (place + len > v->limit) {
		v->limit = atomic_load_explicit(&kv_arena_head(v)->size,
		    memory_order_acquire);
		if (v->limit > v->arena_len)
			v->limit = v->arena_len;
		if (place + len > v->limit)
			return NULL;
	}
	if (place < KV_INDEX_HEAD_LEN)
		return NULL;
	return v->arena + place;
}

/* The leaf a link leads to, or NULL if it leads to no leaf. */
static inline struct kv_leaf *
kv_leaf_at(struct kv_arena *v, uint32_t link)
{
	if (!(link & KV_LEAF_BIT))
		return NULL;
	return (struct kv_leaf *)(void *)kv_link_at(v, link,
	    sizeof(struct kv_leaf));
}

/*
 * The whole node that a link leads to, inner or path, and its type; or NULL.
 * Whoever uses the node passes the type on, and does not read it again.
 * Nearly always the largest node would fit, too, so that this is one check.
 */
static inline uint8_t *
kv_node_at(struct kv_arena *v, uint32_t link, unsigned *type)
{
	uint64_t place = kv_link_place(link);
	uint8_t *n;

	if ((link & KV_LEAF_BIT) || place < KV_INDEX_HEAD_LEN)
		return NULL;
	if (v->copies != NULL) {
		n = kv_copy_at(v->copies, place, KV_NODE_MAX, KV_NODE_MIN);
		if (n == NULL)
			return NULL;
		*type = *n;
		if (*type == 0 || *type >= KV_NODE_TYPES ||
		    kv_node_shapes[*type].size > v->copies->src->size - place)
			return NULL;
		return n;
	}
	n = v->arena + place;
	if (place + KV_NODE_MAX > v->limit &&
	    kv_link_at(v, link, KV_NODE_MIN) == NULL)
		return NULL;
	*type = *n;
	if (*type == 0 || *type >= KV_NODE_TYPES)
		return NULL;
	if (place + KV_NODE_MAX > v->limit &&
	    kv_link_at(v, link, kv_node_shapes[*type].size) == NULL)
		return NULL;
	return n;
}

/*
 * Go down the versions of a key to the newest at or below seq.  They are in
 * falling order, which also bounds the way.  Returns 1, 0 or -1.
 */
static inline int
kv_leaf_version(struct kv_arena *v, uint32_t link, uint64_t seq,
    struct kv_index_hit *hit)
{
	struct kv_leaf *leaf = kv_leaf_at(v, link), *newer;

	while (leaf != NULL) {
		if (leaf->seq <= seq) {
			hit->seq = leaf->seq;
			hit->off = leaf->off;
			return 1;
		}
		if (leaf->older == 0)
			return 0;
		newer = leaf;
		leaf = kv_leaf_at(v, newer->older);
		if (leaf != NULL && (leaf->seq > newer->seq ||
		    (leaf->seq == newer->seq && leaf->off >= newer->off)))
			return -1;
	}
	return -1;
}

static inline struct kv_path *
kv_node_path(uint8_t *n)
{
	return (struct kv_path *)(void *)n;
}

/* The links of an inner node: [0] is the key that ends there. */
static inline _Atomic uint32_t *
kv_node_links(uint8_t *n, unsigned type)
{
	return (_Atomic uint32_t *)(void *)(n + kv_node_shapes[type].links);
}

static inline _Atomic uint8_t *
kv_node_count(uint8_t *n)
{
	return (_Atomic uint8_t *)(void *)(n + 1);
}

/*
 * The entries of an inner node that are valid; at most its room, whatever
 * the arena says.  Not for 256, which has no count.
 */
static inline unsigned
kv_node_load_count(uint8_t *n, unsigned type)
{
	unsigned count = atomic_load_explicit(kv_node_count(n),
	    memory_order_acquire);
	unsigned room = kv_node_shapes[type].room;

	return count < room ? count : room;
}

/*
 * Look a byte up in a 5, 11 or 24.  The vectors hold more than the keys;
 * count tells what of them are keys.
 */
static inline int
kv_node_small_slot(uint8_t *n, unsigned type, uint8_t byte)
{
	unsigned count = kv_node_load_count(n, type);
#ifdef __SSE2__
	const __m128i *p = (const __m128i *)(const void *)n;
	__m128i b = _mm_set1_epi8((char)byte);
	uint32_t m = (uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(
	    _mm_loadu_si128(p), b));

	if (type == KV_NODE_24)
		m |= (uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(
		    _mm_loadu_si128(p + 1), b)) << 16;
	m = (m >> KV_NODE_BYTES) & ((1u << count) - 1);
	return m == 0 ? 0 : __builtin_ctz(m) + 1;
#else
	for (unsigned i = 0; i < count; i++)
		if (n[KV_NODE_BYTES + i] == byte)
			return (int)i + 1;
	return 0;
#endif
}

/*
 * Find the slot of the link for a byte in an inner node.  Returns 1; 0 if
 * the node has none; -1 if it is damaged.  The link may still be 0 in a
 * 256.  Each type's code comes from one function with the type a constant.
 */
static inline int
kv_node_slot(uint8_t *n, unsigned type, uint8_t byte,
    _Atomic uint32_t **slot)
{
	int i;

	switch (type) {
	case KV_NODE_5:
		i = kv_node_small_slot(n, KV_NODE_5, byte);
		*slot = &kv_node_links(n, KV_NODE_5)[i];
		break;
	case KV_NODE_11:
		i = kv_node_small_slot(n, KV_NODE_11, byte);
		*slot = &kv_node_links(n, KV_NODE_11)[i];
		break;
	case KV_NODE_24:
		i = kv_node_small_slot(n, KV_NODE_24, byte);
		*slot = &kv_node_links(n, KV_NODE_24)[i];
		break;
	case KV_NODE_62:
		i = atomic_load_explicit((_Atomic uint8_t *)(void *)
		    (n + KV_NODE_TABLE + byte), memory_order_acquire);
		if (i > 62)
			return -1;
		*slot = &kv_node_links(n, KV_NODE_62)[i];
		break;
	default:
		i = 1;
		*slot = &kv_node_links(n, KV_NODE_256)[byte + 1];
	}
	return i != 0;
}

/*
 * The len bytes of a path in one piece, or NULL if they are not in the
 * log.
 */
static inline const uint8_t *
kv_path_bytes(const struct kv_arena *v, const struct kv_path *p, uint32_t len)
{
	if (len <= KV_PATH_INLINE)
		return p->bytes;
	if (p->off > v->log_len || len > v->log_len - p->off)
		return NULL;
	return v->log + p->off;
}

/*
 * The length of the common beginning of two byte strings that both have
 * len bytes.  In words, and inline: keys are short, and a call into some C
 * libraries costs more than the comparison.
 */
static inline uint32_t
kv_common(const uint8_t *a, const uint8_t *b, uint32_t len)
{
	uint32_t i = 0;
	uint64_t x;

	for (; len - i >= 8; i += 8)
		if ((x = get_le64(a + i) ^ get_le64(b + i)) != 0)
			return i + (uint32_t)__builtin_ctzll(x) / 8;
	if (i > 0 && i < len) {		/* once more, up to the last byte */
		i = len - 8;
		x = get_le64(a + i) ^ get_le64(b + i);
		return x == 0 ? len : i + (uint32_t)__builtin_ctzll(x) / 8;
	}
	while (i < len && a[i] == b[i])
		i++;
	return i;
}

/* Byte order: negative, 0 or positive, a prefix being less. */
static inline int
kv_key_compare(const uint8_t *a, uint64_t alen, const uint8_t *b,
    uint64_t blen)
{
	uint64_t len = alen < blen ? alen : blen;
	uint32_t i = kv_common(a, b, (uint32_t)len);

	if (i < len)
		return a[i] < b[i] ? -1 : 1;
	return (alen > blen) - (alen < blen);
}

#endif /* KV_MEMINDEX_NODE_H */
