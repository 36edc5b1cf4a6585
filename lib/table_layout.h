/*
 * table_layout: where things lie in a table; private to table_*.c.
 *
 * A table is a head, units of data, an index region, the hashes of that
 * region's pages, the first and the last key, and a tail:
 *
 *   head | unit ... | lines | heads | places | subs | sums | keys | tail
 *
 * A unit is what has a hash of its own: a group of records, or, in a table
 * with a codec, a block of compressed groups.  A group is the records between
 * two restart points: at most 255, whose keys share a prefix that is stored
 * once, and whose lengths and numbers are columns of equal width, so that any
 * of them is found without reading those before it.
 *
 * The index is arrays.  lines is the hash index, 64 bytes a line; heads,
 * places and subs have an entry a group: the first eight bytes of its first
 * key after what all keys of the table share, its unit, and where in the
 * unit's content it lies.
 *
 * Nothing is used before its hash was verified, once in a process: index_ok
 * has a bit for each page of the index, data_ok one for each 4096 bytes of
 * the file, which says that all units that begin there are sound.  But a large
 * unit is verified on its own, lest its small neighbour has to wait for that:
 * its bit is that of the page after the one where it begins, which it covers,
 * so that no other unit begins there.
 */
#ifndef KV_TABLE_LAYOUT_H
#define KV_TABLE_LAYOUT_H

#include <stddef.h>
#include <stdint.h>

#include "coding.h"
#include "hash.h"
#include "key.h"
#include "record.h"
#include "table.h"

#define KV_TABLE_MAGIC	"KEVOTAB1"
#define KV_TABLE_VERSION	1
#define KV_TABLE_HEAD	64
#define KV_TABLE_HEAD_CODEC	12	/* where it has the codec */
#define KV_TABLE_TAIL	192
#define KV_TAIL_HASHED	176	/* bytes of the tail before its hash */
#define KV_TABLE_ALIGN	64	/* of the index region */
#define KV_UNIT_HEAD	16	/* what groups and blocks begin with */
#define KV_UNIT_LARGE	(2 * KV_PAGE)
#define KV_GROUP_HEAD	32
#define KV_BLOCK_HEAD	24
#define KV_BLOCK_MAX	((size_t)1 << 24)	/* larger: not compressed */
#define KV_GROUP_MAX	255	/* records in a group */
#define KV_BLOCK_BYTES_MIN	256u		/* what may be aimed for */
#define KV_BLOCK_BYTES_MAX	(1u << 22)
#define KV_PAGE_SHIFT	12
#define KV_PAGE		(1u << KV_PAGE_SHIFT)
#define KV_LINE		64u
#define KV_LINE_SLOTS	16u
#define KV_LINE_LOAD	11	/* slots to fill of them, on average */
#define KV_PROBES	64u	/* lines that a lookup may look at */
#define KV_PRINT_MIN	8u	/* bits of a fingerprint */
#define KV_OVERREAD	16	/* bytes behind a group that may be read */

enum kv_group_flag {
	KV_GROUP_KINDS = 1,	/* has a column of kinds */
	KV_GROUP_EXPIRES = 2	/* has a column of times of expiry */
};

/* The numbers of a tail. */
struct kv_table_tail {
	uint8_t id[16];
	uint64_t number, size, data_len;
	uint64_t count, deletes, expiring, raw_bytes;
	uint64_t min_seq, max_seq, created_ns;
	uint32_t groups, lines;
	uint32_t first_len, last_len;
	uint32_t block_bytes;
	uint8_t restart_interval, codec;
	uint8_t loc_bits;	/* of a slot that say where the key is, */
	uint8_t at_bits;	/* of these its number in the group */
	uint8_t direct;		/* the others: a place, not a group number */
	uint64_t sums_hash;	/* of the array of page hashes */
};

/* Lengths that follow from a tail. */
struct kv_table_shape {
	uint64_t index_len;	/* lines, heads, places, subs, padded to 8 */
	uint64_t pages;		/* of the index */
	uint64_t keys_len;	/* both keys, padded to 8 */
	uint64_t size;		/* of the file */
};

struct kv_table {
	uint32_t refs;
	uint32_t nlines, ngroups;
	uint8_t codec, unit_shift;
	const uint8_t *map;
	const uint8_t *lines;	/* also where the index begins */
	const uint8_t *heads, *places, *subs, *sums;
	uint64_t *index_ok, *data_ok;
	uint64_t data_len, index_len;
	uint64_t seed;		/* of the hashes of units and pages */
	uint32_t prefix_len;	/* what all keys share */
	struct kv_table_info info;
	struct kv_table_tail tail;
	char path[];
};

/* How many bytes two keys begin with alike. */
static inline uint32_t
kv_table_common(const uint8_t *a, size_t alen, const uint8_t *b, size_t blen)
{
	size_t n = 0, most = alen < blen ? alen : blen;

	while (n < most && a[n] == b[n])
		n++;
	return (uint32_t)n;
}

#define KV_NOT_THIS_TABLE	"it is not the table that belongs here"

/* ---- groups ------------------------------------------------------------ */

/* A group that was parsed; its pointers point into it. */
struct kv_group {
	const uint8_t *kends, *vends, *seqs, *kinds, *expires;
	const uint8_t *prefix, *suffix, *values;
	uint64_t kmask, vmask, smask, seq_base;
	uint64_t kstride, vstride;	/* where all lengths are the same */
	uint32_t prefix_len, suffix_len, values_len;
	uint32_t n;
	uint8_t kwidth, vwidth, swidth;
};

/*
 * Find one's way in the group at p, of which avail bytes may be used, and
 * KV_OVERREAD more be read.  0, or -1 if its lengths cannot be.
 */
int kv_group_parse(const uint8_t *p, uint64_t avail, struct kv_group *g);

/*
 * Find the first record at or after a key.  *at is its number, or g->n if
 * there is none.  1 if its key is this one, 0 if not, -1 if the group is
 * malformed.
 */
int kv_group_search(const struct kv_group *g, const uint8_t *key,
    size_t klen, uint32_t *at);

/* 1 if record i has this key, 0 if not, -1 if the group is malformed. */
int kv_group_has(const struct kv_group *g, uint32_t i, const uint8_t *key,
    size_t klen);

/*
 * Call fn for each record of a group, until it returns something other than 0;
 * that is the result, or 1 if the group is malformed.  key has room for
 * KEVO_KEY_MAX bytes.
 */
int kv_group_each(const struct kv_group *g, uint8_t *key,
    int (*fn)(void *arg, uint64_t seq, const struct kv_op *op), void *arg);

/* Its bytes. */
static inline uint32_t
kv_group_len(const struct kv_group *g)
{
	return get_le32(g->kends - KV_GROUP_HEAD + 8);
}

/* Compare the first key of a group with another: below, at or above 0, or
 * 2 if the group is malformed. */
int kv_group_cmp_first(const struct kv_group *g, const uint8_t *key,
    size_t klen);

/* The bits of a number of so many bytes. */
static inline uint64_t
kv_column_mask(uint8_t width)
{
	return width == 0 ? 0 : ~(uint64_t)0 >> (64 - 8 * width);
}

/* Element i of a column of numbers. */
static inline uint64_t
kv_column(const uint8_t *p, uint8_t width, uint64_t mask, uint32_t i)
{
	return get_le64(p + (size_t)i * width) & mask;
}

/* Where what record i has after the prefix ends, and where its value. */
static inline uint64_t
kv_group_kend(const struct kv_group *g, uint32_t i)
{
	return kv_column(g->kends, g->kwidth, g->kmask, i) +
	    (i + 1) * g->kstride;
}

static inline uint64_t
kv_group_vend(const struct kv_group *g, uint32_t i)
{
	return kv_column(g->vends, g->vwidth, g->vmask, i) +
	    (i + 1) * g->vstride;
}

/* What record i has after the prefix.  0, or -1: malformed. */
static inline int
kv_group_suffix(const struct kv_group *g, uint32_t i, const uint8_t **p,
    uint32_t *len)
{
	uint64_t from = i > 0 ? kv_group_kend(g, i - 1) : 0;
	uint64_t to = kv_group_kend(g, i);

	if (from > to || to > g->suffix_len)
		return -1;
	*p = g->suffix + from;
	*len = (uint32_t)(to - from);
	return 0;
}

/* Sequence number and operation of record i, all but the key.  0, or -1. */
static inline int
kv_group_record(const struct kv_group *g, uint32_t i, uint64_t *seq,
    struct kv_op *op)
{
	uint64_t from = i > 0 ? kv_group_vend(g, i - 1) : 0;
	uint64_t to = kv_group_vend(g, i);

	if (from > to || to > g->values_len)
		return -1;
	op->val = g->values + from;
	op->vlen = (uint32_t)(to - from);
	*seq = g->seq_base + kv_column(g->seqs, g->swidth, g->smask, i);
	op->kind = KV_OP_PUT;
	op->expires_ns = 0;
	if (g->kinds != NULL && g->kinds[i] != 0)
		op->kind = KV_OP_DELETE;
	if (g->expires != NULL)
		op->expires_ns = get_le64(g->expires + (size_t)i * 8);
	return 0;
}

/* ---- units and pages --------------------------------------------------- */

/*
 * Units begin at multiples of 2 to this, and a place counts in them: a group
 * at a cache line, because a lookup touches its first ones; a block is read
 * as a whole, so saving space is better.
 */
static inline uint8_t
kv_unit_shift(uint8_t codec)
{
	return codec == 0 ? 6 : 4;
}

/* Where the next unit begins. */
static inline uint64_t
kv_unit_end(uint64_t off, uint32_t len, uint8_t shift)
{
	uint64_t mask = ((uint64_t)1 << shift) - 1;

	return (off + len + mask) & ~mask;
}

static inline uint64_t
kv_table_seed(const uint8_t id[16], uint64_t number)
{
	return kv_hash(id, 16, number);
}

/* The seed for the page of the index at off of the file. */
static inline uint64_t
kv_page_seed(uint64_t seed, uint64_t off)
{
	return seed + off + 1;
}

/* The hash of a unit at off, in two steps so that a large value can be hashed
 * where it is. */
static inline uint64_t
kv_unit_hash(const uint8_t *head, uint32_t split, const uint8_t *rest,
    size_t rest_len, uint64_t seed, uint64_t off)
{
	return kv_hash(rest, rest_len, kv_hash(head + 8, split - 8,
	    seed + off));
}

/* Does a sound unit lie at p, of which avail bytes may be read? */
int kv_unit_sound(const uint8_t *p, uint64_t avail, uint64_t seed,
    uint64_t off);

/* Verify a page of the index, the units that begin in 4096 bytes, or a large
 * unit. */
int kv_table_check_index(struct kv_env *env, struct kv_table *t,
    uint64_t page);
int kv_table_check_data(struct kv_env *env, struct kv_table *t,
    uint64_t page);
int kv_table_check_large(struct kv_env *env, struct kv_table *t,
    uint64_t off);

/* Make sure that the entry of the index at p may be used. */
static inline int
kv_index_ready(struct kv_env *env, struct kv_table *t, const uint8_t *p)
{
	uint64_t page = (uint64_t)(p - t->lines) >> KV_PAGE_SHIFT;

	if (t->index_ok[page / 64] >> page % 64 & 1)
		return 0;
	return kv_table_check_index(env, t, page);
}

/* Make sure that the unit that begins at off may be used. */
static inline int
kv_unit_ready(struct kv_env *env, struct kv_table *t, uint64_t off)
{
	uint64_t page = off >> KV_PAGE_SHIFT;
	int rc;

	if (!(t->data_ok[page / 64] >> page % 64 & 1) &&
	    (rc = kv_table_check_data(env, t, page)) != 0)
		return rc;
	if (get_le32(t->map + off + 8) < KV_UNIT_LARGE)
		return 0;
	page++;
	if (t->data_ok[page / 64] >> page % 64 & 1)
		return 0;
	return kv_table_check_large(env, t, off);
}

/* The content of a block, and what keeps it in memory. */
struct kv_content {
	uint64_t off;		/* of the block */
	const uint8_t *p;	/* NULL: none */
	uint64_t len;
	struct kv_block *block;	/* pinned; NULL: p points into the map */
	int passing;		/* set by who walks on and on: the next block
				 * need not stay in the cache */
};

/*
 * Parse group `number`, or the one at off of a table without a codec.  The
 * group of a compressed block is valid until another one is read through the
 * cache, or, with keep, until keep is used again or released.
 */
int kv_table_group(struct kv_env *env, struct kv_table *t,
    struct kv_cache *cache, uint32_t number, struct kv_group *g,
    struct kv_content *keep);
void kv_content_release(struct kv_content *keep);

/* Where the content of the sound block at off is, if it is not compressed;
 * else 1 with c->p and c->len saying where it is packed and *len how long it
 * will be.  -1: malformed. */
int kv_block_parse(const struct kv_table *t, uint64_t off,
    struct kv_content *c, size_t *len);

int kv_table_group_at(struct kv_env *env, struct kv_table *t, uint64_t off,
    struct kv_group *g);

/* The group where a key is if it is there: the last one whose first key is
 * not above it; -1 if all are.  Returns 0 or an error. */
int kv_table_find_group(struct kv_env *env, struct kv_table *t,
    struct kv_cache *cache, const uint8_t *key, size_t klen, int64_t *number);

/* KEVO_ECORRUPT: "PATH: damaged: WHAT at byte OFF". */
int kv_table_damaged(struct kv_env *env, const struct kv_table *t,
    const char *what, uint64_t off);

/* ---- tail -------------------------------------------------------------- */

void kv_table_tail_encode(uint8_t buf[KV_TABLE_TAIL],
    const struct kv_table_tail *tail, const uint8_t *keys);

/* 0 with *tail and *shape set, or why this is no tail of a file of size
 * bytes.  The hash is not looked at: it covers the keys too. */
const char *kv_table_tail_decode(const uint8_t buf[KV_TABLE_TAIL],
    uint64_t size, struct kv_table_tail *tail, struct kv_table_shape *shape);
uint64_t kv_table_tail_hash(const uint8_t buf[KV_TABLE_TAIL],
    const uint8_t *keys, uint64_t keys_len);
void kv_table_shape(const struct kv_table_tail *tail,
    struct kv_table_shape *shape);
void kv_table_head_encode(uint8_t buf[KV_TABLE_HEAD], const uint8_t id[16],
    uint64_t number, uint8_t codec);

/* ---- the hash index ---------------------------------------------------- */

static inline uint32_t
kv_line_of(uint64_t key_hash, uint32_t nlines)
{
	return (uint32_t)((key_hash >> 32) * nlines >> 32);
}

/* What a slot leads to: a place or the number of a group plus 1 (0: the slot
 * is free), and the number of the record in it, if it says that. */
static inline uint32_t
kv_slot_loc(uint32_t slot, const struct kv_table_tail *t)
{
	return (slot & (((uint32_t)1 << t->loc_bits) - 1)) >> t->at_bits;
}

static inline uint32_t
kv_slot_at(uint32_t slot, const struct kv_table_tail *t)
{
	return slot & (((uint32_t)1 << t->at_bits) - 1);
}

typedef uint32_t kv_slots __attribute__((vector_size(16)));

/*
 * A bit for each slot of a line that may be the key's.  Four slots at a time,
 * because a lookup of an absent key is little else than this: the fewer
 * instructions, the more of the next lookup is under way while this one waits
 * for memory.
 */
static inline uint32_t
kv_line_match(const uint8_t *line, uint64_t key_hash, uint8_t loc_bits)
{
	const uint32_t h = (uint32_t)key_hash;
	const kv_slots key = { h, h, h, h };
	kv_slots bit = { 1, 2, 4, 8 }, found = { 0, 0, 0, 0 }, four;

	for (uint32_t i = 0; i < KV_LINE_SLOTS / 4; i++) {
		memcpy(&four, line + 16 * i, sizeof(four));
		found |= (kv_slots)((four ^ key) >> loc_bits == 0) & bit;
		bit <<= 4;
	}
	return found[0] | found[1] | found[2] | found[3];
}

#endif /* KV_TABLE_LAYOUT_H */
