#include <stdlib.h>
#include <string.h>

#include "cache.h"
#include "codec.h"

#define BUCKETS_FIRST	64

/* A block with its data behind it.  Each is in a chain of its bucket and in
 * the ring of all. */
struct entry {
	struct kv_block block;
	uint64_t table, off;
	struct entry *chain;
	struct entry *next, *prev;
	uint32_t pins;
	uint8_t used;		/* since the hand came by */
	uint8_t passing;
	struct kv_cache *cache;
	uint8_t data[];
};

struct kv_cache {
	size_t most, bytes;
	struct entry **bucket;	/* nbuckets, a power of two */
	size_t nbuckets, count;
	struct entry *hand;	/* in the ring; NULL: it is empty */
	struct kv_codec_work *work;
};

struct kv_cache *
kv_cache_new(size_t bytes)
{
	struct kv_cache *c = calloc(1, sizeof(*c));

	if (c != NULL)
		c->most = bytes;
	return c;
}

void
kv_cache_free(struct kv_cache *c)
{
	if (c == NULL)
		return;
	while (c->hand != NULL)
		kv_cache_drop(c, &c->hand->block);
	kv_codec_free(c->work);
	free(c->bucket);
	free(c);
}

struct kv_codec_work **
kv_cache_work(struct kv_cache *c)
{
	return &c->work;
}

/* ---- chains ------------------------------------------------------------ */

static struct entry **
bucket_of(const struct kv_cache *c, uint64_t table, uint64_t off)
{
	uint64_t h = (table ^ off) * 0x9e3779b97f4a7c15u;

	return &c->bucket[(h >> 32) & (c->nbuckets - 1)];
}

/* Keep chains short.  -1: there are no buckets at all. */
static int
grow_buckets(struct kv_cache *c)
{
	size_t old = c->nbuckets, n = old > 0 ? 2 * old : BUCKETS_FIRST;
	struct entry **were = c->bucket, **larger, *e, *next;

	if (c->count < old)
		return 0;
	if ((larger = calloc(n, sizeof(*larger))) == NULL)
		return old > 0 ? 0 : -1;
	c->bucket = larger;
	c->nbuckets = n;
	for (size_t i = 0; i < old; i++)
		for (e = were[i]; e != NULL; e = next) {
			struct entry **b = bucket_of(c, e->table, e->off);

			next = e->chain;
			e->chain = *b;
			*b = e;
		}
	free(were);
	return 0;
}

struct kv_block *
kv_cache_find(struct kv_cache *c, uint64_t table, uint64_t off, size_t at)
{
	struct entry *e;

	if (c->nbuckets == 0)
		return NULL;
	for (e = *bucket_of(c, table, off); e != NULL; e = e->chain) {
		__builtin_prefetch(e->data + at);
		__builtin_prefetch(e->data + at + 64);
		__builtin_prefetch(e->data + at + 128);
		if (e->off == off && e->table == table) {
			e->used = 1;
			e->passing = 0;
			return &e->block;
		}
	}
	return NULL;
}

/* ---- the ring ---------------------------------------------------------- */

void
kv_cache_drop(struct kv_cache *c, struct kv_block *b)
{
	struct entry *e = (struct entry *)b;
	struct entry **p = bucket_of(c, e->table, e->off);

	while (*p != e)
		p = &(*p)->chain;
	*p = e->chain;
	if (c->hand == e)
		c->hand = e->next != e ? e->next : NULL;
	e->next->prev = e->prev;
	e->prev->next = e->next;
	c->bytes -= sizeof(*e) + e->block.len;
	c->count--;
	free(e);
}

/* Behind the hand, where it comes last. */
static void
enter_ring(struct kv_cache *c, struct entry *e)
{
	if (c->hand == NULL) {
		c->hand = e->next = e->prev = e;
		return;
	}
	e->next = c->hand;
	e->prev = c->hand->prev;
	e->prev->next = e;
	c->hand->prev = e;
}

/* Twice round at most: the first time, marks are taken away. */
static void
make_room(struct kv_cache *c, size_t len)
{
	for (size_t n = 2 * c->count; n > 0 && c->hand != NULL &&
	    c->bytes + len > c->most; n--) {
		struct entry *e = c->hand;

		c->hand = e->next;
		if (e->pins == 0 && !e->used)
			kv_cache_drop(c, &e->block);
		else
			e->used = 0;
	}
}

struct kv_block *
kv_cache_add(struct kv_cache *c, uint64_t table, uint64_t off, size_t len,
    size_t spare, uint8_t **data)
{
	struct entry *e, **b;

	make_room(c, sizeof(*e) + len);
	if (grow_buckets(c) != 0 ||
	    (e = malloc(sizeof(*e) + len + spare)) == NULL)
		return NULL;
	memset(e->data + len, 0, spare);
	e->block.data = *data = e->data;
	e->block.len = len;
	e->table = table;
	e->off = off;
	e->pins = 0;
	e->used = e->passing = 0;
	e->cache = c;
	b = bucket_of(c, table, off);
	e->chain = *b;
	*b = e;
	enter_ring(c, e);
	c->bytes += sizeof(*e) + len;
	c->count++;
	return &e->block;
}

void
kv_block_pin(struct kv_block *b)
{
	((struct entry *)b)->pins++;
}

void
kv_block_unpin(struct kv_block *b)
{
	struct entry *e = (struct entry *)b;

	if (--e->pins == 0 && e->passing)
		kv_cache_drop(e->cache, b);
}

void
kv_block_pass(struct kv_block *b)
{
	((struct entry *)b)->passing = 1;
}
