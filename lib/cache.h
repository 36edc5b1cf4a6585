/*
 * cache: decompressed blocks of tables, for one handle.
 *
 * A block is named by a number for its table and its place there.  Which one
 * goes when there are too many: a hand goes round, past those that were used
 * since it came by last.  Belongs to one thread, as its handle does.
 */
#ifndef KV_CACHE_H
#define KV_CACHE_H

#include <stddef.h>
#include <stdint.h>

struct kv_cache;
struct kv_codec_work;

struct kv_block {
	const uint8_t *data;
	size_t len;
};

/* A cache for so many bytes; it takes memory when blocks come.  NULL: out of
 * memory. */
struct kv_cache *kv_cache_new(size_t bytes);
void kv_cache_free(struct kv_cache *c);

/*
 * Find a block, or NULL.  It stays until the next kv_cache_add(), or until
 * kv_block_unpin() if it was pinned.  The caller will look at byte `at` of it
 * first: that is fetched together with the block's name.
 */
struct kv_block *kv_cache_find(struct kv_cache *c, uint64_t table,
    uint64_t off, size_t at);

/*
 * Make room for a block of len bytes, that kv_cache_find() will find.  The
 * caller fills it through *data, or gives it to kv_cache_drop().  spare more
 * bytes may be read behind it.  Other blocks go for it, but none that is
 * pinned: only those may make the cache larger than it should be, and a
 * single block that is.  NULL: out of memory.
 */
struct kv_block *kv_cache_add(struct kv_cache *c, uint64_t table,
    uint64_t off, size_t len, size_t spare, uint8_t **data);
void kv_cache_drop(struct kv_cache *c, struct kv_block *b);


/* Pins are counted. */
void kv_block_pin(struct kv_block *b);
void kv_block_unpin(struct kv_block *b);

/* A block that was added will hardly be asked for again: it goes with its last
 * pin, unless it is found before that. */
void kv_block_pass(struct kv_block *b);

/* What codecs keep from one block to the next; the cache frees it. */
struct kv_codec_work **kv_cache_work(struct kv_cache *c);

#endif /* KV_CACHE_H */
