/*
 * memindex: the ordered index over one log segment, in shared memory.
 *
 * An adaptive radix tree whose leaves are offsets of operations in the
 * mapped log, so that the log is the memtable.  One writer (who holds
 * WRITER) inserts; any number of readers in any process look up and iterate
 * at the same time without a lock.  Nodes come from an append-only arena,
 * links are offsets in it, and every insertion becomes visible by one
 * aligned atomic store.  A writer killed between any two instructions
 * leaves a tree that is as before the insertion or as after it.  Old copies
 * of grown nodes stay as they were for whoever stands on them.
 *
 * Source: Leis et al., The Adaptive Radix Tree, ICDE 2013; the form with
 * one writer and readers without locks follows ROWEX in Leis et al., The
 * ART of Practical Synchronization, DaMoN 2016.  Compressed paths are nodes
 * of their own here, so that splitting one never copies a large node, and
 * their bytes are the log's: a path names the offset of a key in the log.
 *
 * A damaged arena is an input like any other: links, counts and offsets are
 * checked against the arena and the log before use, depth against the
 * key's length, so that no content of it can crash or hang a reader.  The
 * layout is kevo-format(5), INDEX.
 */
#ifndef KV_MEMINDEX_H
#define KV_MEMINDEX_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#define KV_INDEX_HEAD_LEN	256	/* bytes before the first node */
#define KV_INDEX_ARENA_MAX	((uint64_t)1 << 34)

/*
 * The head of the arena, as it lies in shared memory.  The writer alone
 * changes it.
 */
struct kv_index_head {
	char magic[8];			/* "KEVOIDX1" */
	uint32_t layout;		/* version and sizes, KV_INDEX_LAYOUT */
	uint32_t head_len;		/* KV_INDEX_HEAD_LEN */
	uint64_t generation;		/* of control, random */
	uint64_t segment;		/* counter of the log segment */
	uint64_t segment_hash;		/* hash in that segment's header */
	_Atomic uint64_t size;		/* bytes of the arena that exist on
					 * disk: grown before they are used */
	_Atomic uint32_t root;		/* link; 0: empty */
	uint32_t filter;		/* bytes of the filter behind the head,
					 * a power of two; 0: there is none */

	/* Changed by each insertion, and of no interest to a reader: it has
	 * a cache line of its own. */
	_Alignas(64) _Atomic uint64_t end;	/* bytes used; stored before a
					 * node is linked, so that no node
					 * is ever handed out twice */
	_Atomic uint32_t nodes11;	/* nodes that may still grow, by */
	_Atomic uint32_t nodes24;	/* class: never too few, for */
	_Atomic uint32_t nodes62;	/* kv_index_need() */
};

/* A process's view of an index; plain memory, copied freely. */
struct kv_index {
	uint8_t *arena;		/* struct kv_index_head at its start */
	uint64_t arena_len;	/* bytes mapped; what of them exists, the
				 * head's size says, which grows */
	const uint8_t *log;	/* the mapped segment, or a buffer */
	uint64_t log_len;	/* bytes of it that may be touched */
	_Atomic uint64_t *filter;	/* in the arena; NULL: none */
	uint64_t filter_mask;	/* its words less one */
	uint64_t seed;		/* of the hashes in it */
};

/* One version of a key. */
struct kv_index_hit {
	uint64_t seq;
	uint32_t off;		/* of the operation in the log */
};

/*
 * Write a head into a zeroed arena of size bytes (at least
 * KV_INDEX_HEAD_LEN, and what the filter takes).
 */
void kv_index_format(void *arena, uint64_t size, uint64_t generation,
    uint64_t segment, uint64_t segment_hash, uint32_t filter);

/*
 * The filter: two bits of a word for each key that was ever inserted, set
 * before the key is linked and never cleared.  So whoever finds one of them
 * clear need not go down the tree, which for an absent key would cost as many
 * cache misses as for one that is there.  A writer killed in between leaves a
 * key that passes and is not found.
 *
 * kv_index_filter_len() is a good length of one for a segment of that
 * capacity.  kv_index_use_filter() makes the one of filter bytes that an arena
 * was formatted with known to ix: to insert into such an arena that is a must.
 * seed is that of the hashes, which are kv_hash().  0, or -1 if the head names
 * another length, or one that the first len bytes have no room for.
 */
uint32_t kv_index_filter_len(uint64_t capacity);
int kv_index_use_filter(struct kv_index *ix, uint32_t filter, uint64_t len,
    uint64_t seed);

static inline uint64_t
kv_filter_bits(uint64_t key_hash)
{
	return (uint64_t)1 << (key_hash & 63) |
	    (uint64_t)1 << (key_hash >> 6 & 63);
}

static inline _Atomic uint64_t *
kv_filter_word(const struct kv_index *ix, uint64_t key_hash)
{
	return &ix->filter[key_hash >> 32 & ix->filter_mask];
}

/* Add a key.  kv_index_insert() does. */
void kv_filter_add(const struct kv_index *ix, const uint8_t *key,
    uint32_t klen);

/* The operation at off of buf is about to be inserted: its word of the filter
 * may come while its record is made. */
void kv_index_expect(const struct kv_index *ix, const uint8_t *buf,
    uint64_t len, uint64_t off);

/* 0 if no key of this hash is in the index. */
static inline int
kv_index_may_have(const struct kv_index *ix, uint64_t key_hash)
{
	uint64_t bits = kv_filter_bits(key_hash);

	return ix->filter == NULL || (atomic_load_explicit(kv_filter_word(ix,
	    key_hash), memory_order_relaxed) & bits) == bits;
}

/*
 * Check the head of an arena of which file_len bytes exist.  Returns 0, or
 * -1 if it is no index of this layout or claims more than file_len.
 */
int kv_index_check(const void *arena, uint64_t file_len);

/*
 * An upper bound on the arena bytes that inserting nops more operations
 * takes: new end minus end.  Owner grows the file to end + need and then
 * publishes head->size, before the record is appended, so that insertion
 * cannot fail for want of room.
 */
uint64_t kv_index_need(const struct kv_index *ix, uint64_t nops);

/*
 * Insert the operation at off with its sequence number.  Idempotent: if the
 * newest version of the key is (seq, off) or newer in that order, nothing
 * changes.  Only the holder of WRITER calls it.
 *
 * Returns 0, or -1 if the arena is damaged or full (then nothing changed).
 */
int kv_index_insert(struct kv_index *ix, uint64_t seq, uint32_t off);

/*
 * Several, in the order in which they are added.  Where the index is larger
 * than the caches, inserting is waiting for memory at each step of the way
 * down; a full group walks all its ways side by side first, so that these
 * waits overlap.  Nothing is inserted before kv_index_add() finds the group
 * full, or kv_index_flush(), which empties it.  Both return what
 * kv_index_insert() does; after -1 some of the group may be inserted.
 */
#define KV_INDEX_GROUP	16

struct kv_index_group {
	struct kv_index *ix;
	unsigned n;		/* 0 at first */
	uint64_t seq[KV_INDEX_GROUP];
	uint32_t off[KV_INDEX_GROUP];
};

int kv_index_add(struct kv_index_group *g, uint64_t seq, uint32_t off);
int kv_index_flush(struct kv_index_group *g);

/*
 * Find the newest version of a key with a sequence number of at most seq.
 * Returns 1 (found), 0 (none) or -1 (the arena is damaged).
 */
int kv_index_find(const struct kv_index *ix, const void *key, size_t klen,
    uint64_t seq, struct kv_index_hit *hit);

/*
 * The same for an index that is not mapped: a process that looks one key up
 * reads a few nodes sooner than it maps and faults them in.  fetch copies len
 * bytes at place of the arena into buf and returns 0, or -1.  The key is not
 * compared: hit is where it is if it is there at all.
 */
struct kv_index_source {
	int (*fetch)(void *arg, void *buf, uint32_t len, uint64_t place);
	void *arg;
	uint64_t size;		/* of the arena, from its head */
	uint32_t root;		/* from its head */
};

int kv_index_find_unmapped(const struct kv_index_source *src, const void *key,
    size_t klen, uint64_t seq, struct kv_index_hit *hit);

/*
 * A position in an index.  It may be used while the writer inserts; it
 * yields every key whose newest version at or below its seq was inserted
 * before the iterator was positioned, in byte order, each once.
 */
struct kv_index_iter {
	const struct kv_index *ix;
	uint64_t seq;
	struct kv_index_hit hit;	/* valid after a move returned 1 */
	const uint8_t *key;		/* in the log */
	uint32_t klen;
	/* private */
	struct kv_index_step *stack;
	uint32_t depth;
	uint32_t room;
	int state;
};

/* ix must outlive the iterator, at the same address. */
void kv_index_iter_init(struct kv_index_iter *it, const struct kv_index *ix,
    uint64_t seq);
void kv_index_iter_release(struct kv_index_iter *it);

/*
 * Move, and return 1 (on a key), 0 (past an end), -1 (the arena is
 * damaged) or -2 (out of memory).  seek: the first key at or after key.
 * seek_back: the last one at or before it.  After 0 or an error the
 * iterator has to be positioned anew by first, last or a seek.
 */
int kv_index_first(struct kv_index_iter *it);
int kv_index_last(struct kv_index_iter *it);
int kv_index_seek(struct kv_index_iter *it, const void *key, size_t klen);
int kv_index_seek_back(struct kv_index_iter *it, const void *key,
    size_t klen);
int kv_index_next(struct kv_index_iter *it);
int kv_index_prev(struct kv_index_iter *it);

#endif /* KV_MEMINDEX_H */
