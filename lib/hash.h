/*
 * hash: the only caller of xxHash.
 */
#ifndef KV_HASH_H
#define KV_HASH_H

#include <stddef.h>
#include <stdint.h>

/* XXH3-64 of len bytes with a seed. */
uint64_t kv_hash(const void *p, size_t len, uint64_t seed);

#endif /* KV_HASH_H */
