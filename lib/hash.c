#define XXH_INLINE_ALL
#include <xxhash.h>

#include "hash.h"

uint64_t
kv_hash(const void *p, size_t len, uint64_t seed)
{
	return XXH3_64bits_withSeed(p, len, seed);
}
