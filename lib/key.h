/*
 * key: the order of keys: plain bytes, a prefix before what it begins.
 */
#ifndef KV_KEY_H
#define KV_KEY_H

#include <stddef.h>
#include <stdint.h>

#include "coding.h"

/* Eight bytes as a number that orders as they do. */
static inline uint64_t
kv_key_word(const uint8_t *p)
{
	return __builtin_bswap64(get_le64(p));
}

/* The first eight bytes, with zeros for those that are not there. */
static inline uint64_t
kv_key_head(const uint8_t *p, size_t len)
{
	uint8_t b[8] = { 0 };

	if (len >= 8)
		return kv_key_word(p);
	for (size_t i = 0; i < len; i++)
		b[i] = p[i];
	return kv_key_word(b);
}

/* Below, at or above 0 as a is below, equal to or above b. */
static inline int
kv_key_cmp(const uint8_t *a, size_t alen, const uint8_t *b, size_t blen)
{
	size_t n = alen < blen ? alen : blen;

	for (; n >= 8; n -= 8, a += 8, b += 8) {
		uint64_t x = kv_key_word(a), y = kv_key_word(b);

		if (x != y)
			return x < y ? -1 : 1;
	}
	for (; n > 0; n--, a++, b++)
		if (*a != *b)
			return *a < *b ? -1 : 1;
	return alen < blen ? -1 : alen > blen;
}

#endif /* KV_KEY_H */
