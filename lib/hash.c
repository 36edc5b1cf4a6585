#include <stdio.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "hash.h"

uint64_t
kv_hash(const void *p, size_t len, uint64_t seed)
{
	return XXH3_64bits_withSeed(p, len, seed);
}

/* The state is xxHash's own, which allocates it as it has to be aligned. */
static XXH3_state_t *
state(struct kv_hash128 *h)
{
	return (XXH3_state_t *)h;
}

struct kv_hash128 *
kv_hash128_new(void)
{
	XXH3_state_t *s = XXH3_createState();

	if (s != NULL)
		XXH3_128bits_reset(s);
	return (struct kv_hash128 *)s;
}

void
kv_hash128_free(struct kv_hash128 *h)
{
	XXH3_freeState(state(h));
}

void
kv_hash128_reset(struct kv_hash128 *h)
{
	XXH3_128bits_reset(state(h));
}

void
kv_hash128_add(struct kv_hash128 *h, const void *p, size_t len)
{
	XXH3_128bits_update(state(h), p, len);
}

static void
write_text(XXH128_hash_t sum, char text[KV_HASH128_TEXT])
{
	snprintf(text, KV_HASH128_TEXT, "%016llx%016llx",
	    (unsigned long long)sum.high64, (unsigned long long)sum.low64);
}

void
kv_hash128_text(const struct kv_hash128 *h, char text[KV_HASH128_TEXT])
{
	write_text(XXH3_128bits_digest((const XXH3_state_t *)(const void *)h),
	    text);
}

void
kv_hash128_of(const void *p, size_t len, char text[KV_HASH128_TEXT])
{
	write_text(XXH3_128bits(p, len), text);
}
