/*
 * cache_test: the cache of decompressed blocks, and the codecs.
 */
#include "cache.h"

#include "codec.h"
#include "tap.h"

/* ---- cache ------------------------------------------------------------- */

#define BLOCK	1000
#define PLACES	40

/* What a block holds follows from its name. */
static uint8_t
byte_of(uint64_t table, uint64_t off)
{
	return (uint8_t)(table * 31 + off * 7);
}

static int
is_block(const struct kv_block *b, uint64_t table, uint64_t off)
{
	if (b->len != BLOCK + off)
		return 0;
	for (size_t i = 0; i < b->len; i++)
		if (b->data[i] != byte_of(table, off))
			return 0;
	return 1;
}

static struct kv_block *
add(struct kv_cache *c, uint64_t table, uint64_t off)
{
	struct kv_block *b;
	uint8_t *p;

	b = kv_cache_add(c, table, off, BLOCK + off, 16, &p);
	if (b == NULL)
		tap_bail("out of memory");
	memset(p, byte_of(table, off), b->len);
	return b;
}

static size_t
how_many(struct kv_cache *c)
{
	size_t n = 0;

	for (uint64_t i = 0; i < PLACES; i++)
		n += kv_cache_find(c, 1, i, 0) != NULL;
	return n;
}

static void
test_bound(void)
{
	struct kv_cache *c = kv_cache_new(10 * (BLOCK + 200));
	size_t most = 0;

	tap_ok(kv_cache_find(c, 1, 1, 0) == NULL,
	    "cache: an empty one has none");
	for (uint64_t i = 0; i < PLACES; i++) {
		size_t n;

		add(c, 1, i);
		expect(is_block(kv_cache_find(c, 1, i, 0), 1, i));
		n = how_many(c);
		most = n > most ? n : most;
	}
	expect(most >= 8 && most <= 12);
	tap_report("cache: it keeps as many as it may");
	expect(kv_cache_find(c, 2, PLACES - 1, 0) == NULL);
	tap_report("cache: of that table alone");
	kv_cache_free(c);

	c = kv_cache_new(0);
	add(c, 1, 1);
	expect(is_block(kv_cache_find(c, 1, 1, 0), 1, 1));
	add(c, 1, 2);
	expect(kv_cache_find(c, 1, 1, 0) == NULL && how_many(c) == 1);
	tap_report("cache: one of no size keeps the last block");
	kv_cache_free(c);
}

static void
test_clock(void)
{
	struct kv_cache *c = kv_cache_new(10 * (BLOCK + 200));

	/* One that is used again and again outlives a scan. */
	add(c, 1, 0);
	for (uint64_t i = 1; i < 1000; i++) {
		expect(kv_cache_find(c, 1, 0, 0) != NULL);
		add(c, 1, i);
	}
	tap_report("cache: what is used stays");
	kv_cache_free(c);
}

/* A scan through everything, of which nothing is asked for again. */
static void
test_pass(void)
{
	struct kv_cache *c = kv_cache_new(10 * (BLOCK + 1200));
	struct kv_block *b;

	for (uint64_t i = 0; i < 8; i++)
		add(c, 1, i);
	for (uint64_t i = 100; i < 1000; i++) {
		b = add(c, 2, i);
		kv_block_pass(b);
		kv_block_pin(b);
		expect(is_block(b, 2, i));
		kv_block_unpin(b);
	}
	expect(how_many(c) == 8 && kv_cache_find(c, 2, 999, 0) == NULL);
	tap_report("cache: what is passed goes with its last pin");
	b = add(c, 1, 9);
	kv_block_pass(b);
	kv_block_pin(b);
	expect(kv_cache_find(c, 1, 9, 0) == b);
	kv_block_unpin(b);
	expect(kv_cache_find(c, 1, 9, 0) == b);
	tap_report("cache: unless somebody else found it");
	kv_cache_free(c);
}

static void
test_pins(void)
{
	struct kv_cache *c = kv_cache_new(3 * BLOCK);
	struct kv_block *b[20];

	for (uint64_t i = 0; i < 20; i++) {
		b[i] = add(c, 1, i);
		kv_block_pin(b[i]);
	}
	for (uint64_t i = 0; i < 20; i++)
		expect(is_block(b[i], 1, i) &&
		    kv_cache_find(c, 1, i, 0) == b[i]);
	tap_report("cache: what is pinned stays, whatever it may hold");
	kv_block_pin(b[0]);
	for (uint64_t i = 0; i < 20; i++)
		kv_block_unpin(b[i]);
	add(c, 1, 30);
	expect(is_block(b[0], 1, 0) && how_many(c) <= 4);
	kv_block_unpin(b[0]);
	tap_report("cache: until as many unpins as pins");
	kv_cache_free(c);
}

/* Adding, finding, dropping at random, beside a list of what is pinned. */
static void
test_random(void)
{
	struct kv_cache *c = kv_cache_new(12 * (BLOCK + 200));
	struct kv_block *pinned[PLACES] = { NULL };

	for (int i = 0; i < 20000; i++) {
		uint64_t k = tap_below(PLACES);
		struct kv_block *b = kv_cache_find(c, k % 3, k, 0);

		expect(b == NULL || is_block(b, k % 3, k));
		expect(pinned[k] == NULL || b == pinned[k]);
		if (b == NULL)
			b = add(c, k % 3, k);
		if (pinned[k] != NULL) {
			kv_block_unpin(b);
			pinned[k] = NULL;
		} else if (tap_below(4) == 0) {
			kv_block_pin(b);
			pinned[k] = b;
		} else if (tap_below(8) == 0)
			kv_cache_drop(c, b);
	}
	tap_report("cache: any order of calls");
	kv_cache_free(c);
}

/* ---- codecs ------------------------------------------------------------ */

#define LEN	5000

static void
test_codec(uint8_t codec)
{
	struct kv_codec_work *work = NULL;
	static uint8_t in[LEN], packed[2 * LEN], out[LEN + 16];
	size_t n;

	for (int round = 0; round < 50; round++) {
		size_t len = 1 + tap_below(LEN);

		memset(in, 'x', LEN);
		tap_fill(in, tap_below(len + 1));
		n = kv_codec_compress(&work, codec, 1 + round % 5, in, len,
		    packed, sizeof(packed));
		expect(n > 0 && kv_codec_decompress(&work, codec, packed, n,
		    out, len) == 0 && memcmp(in, out, len) == 0);
		expect(kv_codec_decompress(&work, codec, packed, n, out,
		    len - 1) == -1);
		expect(kv_codec_decompress(&work, codec, packed, n, out,
		    len + 1) == -1);
		expect(kv_codec_decompress(&work, codec, packed, n - 1, out,
		    len) == -1);
	}
	tap_ok(kv_codec_known(codec), "codec: there and back");
	tap_fill(in, LEN);
	expect(kv_codec_compress(&work, codec, 1, in, LEN, packed, LEN - 1)
	    == 0);
	tap_report("codec: what does not fit is no result");
	for (int round = 0; round < 3000; round++) {
		memset(in, 'x', LEN);
		n = kv_codec_compress(&work, codec, 1, in, LEN, packed,
		    sizeof(packed));
		for (uint64_t k = 1 + tap_below(3); k > 0; k--)
			packed[tap_below(n)] = (uint8_t)tap_random();
		out[LEN] = 77;
		kv_codec_decompress(&work, codec, packed, n, out, LEN);
		expect(out[LEN] == 77);
	}
	tap_report("codec: damaged input stays within bounds");
	kv_codec_free(work);
}

int
main(void)
{
	struct kv_codec_work *work = NULL;
	uint8_t b[8] = { 0 };

	tap_start("cache");
	test_bound();
	test_clock();
	test_pass();
	test_pins();
	test_random();
	test_codec(KV_CODEC_LZ4);
	test_codec(KV_CODEC_ZSTD);
	expect(!kv_codec_known(KV_CODEC_ZSTD + 1));
	expect(kv_codec_compress(&work, 3, 1, b, 8, b, 8) == 0 &&
	    kv_codec_compress(&work, KV_CODEC_NONE, 1, b, 8, b, 8) == 0 &&
	    kv_codec_decompress(&work, 3, b, 8, b, 8) == -1);
	kv_codec_free(work);
	tap_report("codec: there is no other");
	return tap_end();
}
