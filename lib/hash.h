/*
 * hash: the only caller of xxHash.
 */
#ifndef KV_HASH_H
#define KV_HASH_H

#include <stddef.h>
#include <stdint.h>

/* XXH3-64 of len bytes with a seed. */
uint64_t kv_hash(const void *p, size_t len, uint64_t seed);

/*
 * XXH3-128 of bytes that come in pieces, as the 32 digits that xxhsum -H2
 * writes.  kv_hash128_new() returns NULL if memory is out; text may be asked
 * for at any time, and reset begins anew.
 */
#define KV_HASH128_TEXT	33
struct kv_hash128;
struct kv_hash128 *kv_hash128_new(void);
void kv_hash128_free(struct kv_hash128 *h);
void kv_hash128_reset(struct kv_hash128 *h);
void kv_hash128_add(struct kv_hash128 *h, const void *p, size_t len);
void kv_hash128_text(const struct kv_hash128 *h, char text[KV_HASH128_TEXT]);

/* The same of bytes that are all there. */
void kv_hash128_of(const void *p, size_t len, char text[KV_HASH128_TEXT]);

#endif /* KV_HASH_H */
