/*
 * memindex: what is certainly not in an index, by one word.
 */
#include "hash.h"
#include "memindex.h"
#include "memindex_node.h"
#include "record.h"

#define FILTER_MIN	64u
#define FILTER_MAX	(8u << 20)
#define FILTER_SHARE	128	/* of a segment: where it is full of records of
				 * 200 bytes, 3 % of absent keys pass; of 40
				 * bytes, 30 % */

uint32_t
kv_index_filter_len(uint64_t capacity)
{
	uint32_t len = FILTER_MIN;

	while (len < FILTER_MAX && len <= capacity / FILTER_SHARE / 2)
		len *= 2;
	return len;
}

int
kv_index_use_filter(struct kv_index *ix, uint32_t filter, uint64_t len,
    uint64_t seed)
{
	const struct kv_index_head *h = (const void *)ix->arena;

	ix->filter = NULL;
	if (h->filter != filter || len < KV_INDEX_HEAD_LEN + (uint64_t)filter)
		return -1;
	if (filter == 0)
		return 0;
	ix->filter = (void *)(ix->arena + KV_INDEX_HEAD_LEN);
	ix->filter_mask = filter / sizeof(uint64_t) - 1;
	ix->seed = seed;
	return 0;
}

/* There is one writer.  A store without a condition need not wait until the
 * word is there. */
void
kv_filter_add(const struct kv_index *ix, const uint8_t *key, uint32_t klen)
{
	uint64_t hash = kv_hash(key, klen, ix->seed);
	_Atomic uint64_t *word = kv_filter_word(ix, hash);

	atomic_store_explicit(word, atomic_load_explicit(word,
	    memory_order_relaxed) | kv_filter_bits(hash),
	    memory_order_relaxed);
}

void
kv_index_expect(const struct kv_index *ix, const uint8_t *buf, uint64_t len,
    uint64_t off)
{
	const uint8_t *key;
	uint32_t klen;

	if (ix->filter != NULL && kv_op_key(buf, len, off, &key, &klen) == 0)
		__builtin_prefetch(kv_filter_word(ix, kv_hash(key, klen,
		    ix->seed)), 1);
}
