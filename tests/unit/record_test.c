/*
 * record_test: operations, frames and the chain as bytes: what is written
 * comes back, and nothing else is believed.
 */
#include "record.h"

#include "hash.h"
#include "kevo.h"
#include "tap.h"

/* ---- operations -------------------------------------------------------- */

struct sample {
	uint8_t key[KEVO_KEY_MAX];
	uint8_t val[3000];
	size_t klen, vlen;
	uint64_t expires_ns;
	enum kv_op_kind kind;
};

static void
make_sample(struct sample *s)
{
	s->klen = 1 + tap_below(tap_below(20) == 0 ? KEVO_KEY_MAX : 40);
	if (tap_below(30) == 0)
		s->klen = KEVO_KEY_MAX;
	s->vlen = tap_below(4) == 0 ? 0 : tap_below(sizeof(s->val));
	s->kind = tap_below(3) == 0 ? KV_OP_DELETE : KV_OP_PUT;
	if (s->kind == KV_OP_DELETE)
		s->vlen = 0;
	s->expires_ns = tap_below(3) == 0 ? 1 + tap_random() / 2 : 0;
	tap_fill(s->key, s->klen);
	tap_fill(s->val, s->vlen);
}

static int
is_sample(const struct sample *s, const struct kv_op *op)
{
	return op->kind == s->kind && op->expires_ns == s->expires_ns &&
	    op->klen == s->klen && memcmp(op->key, s->key, s->klen) == 0 &&
	    op->vlen == s->vlen && memcmp(op->val, s->val, s->vlen) == 0;
}

static void
test_op_round_trip(void)
{
	struct sample *s = tap_alloc(sizeof(*s));
	const uint8_t *key;
	struct kv_op op;
	uint32_t klen;

	for (int i = 0; i < 1000; i++) {
		uint64_t len, off = tap_below(50);
		uint8_t *b;

		make_sample(s);
		len = kv_op_len(s->klen, s->vlen, s->expires_ns);
		b = tap_alloc(off + len);
		expect(kv_op_encode(b + off, s->kind, s->expires_ns, s->key,
		    s->klen, s->val, s->vlen) == len);
		expect(kv_op_decode(b, off + len, off, &op) == 0 &&
		    op.len == len && is_sample(s, &op));
		expect(kv_op_key(b, off + len, off, &key, &klen) == 0 &&
		    key == op.key && klen == op.klen);
		free(b);
	}
	free(s);
	tap_report("operation: what was encoded comes back");
}

/* In memory of exactly that length, for the sanitizer to see. */
static void
test_op_cut(void)
{
	struct sample *s = tap_alloc(sizeof(*s));
	uint8_t whole[3200], *b;
	const uint8_t *key;
	struct kv_op op;
	uint32_t klen;

	for (int i = 0; i < 20; i++) {
		uint32_t len, head;

		make_sample(s);
		s->klen = 1 + tap_below(60);
		s->vlen = s->kind == KV_OP_PUT ? tap_below(200) : 0;
		len = kv_op_encode(whole, s->kind, s->expires_ns, s->key,
		    s->klen, s->val, s->vlen);
		head = len - (uint32_t)s->vlen;
		for (uint32_t n = 0; n < len; n++) {
			b = tap_alloc(n);
			memcpy(b, whole, n);
			expect(kv_op_decode(b, n, 0, &op) == -1);
			expect((kv_op_key(b, n, 0, &key, &klen) == 0) ==
			    (n >= head));
			free(b);
		}
		for (uint64_t off = len - KV_OP_HEAD + 1; off < len + 20;
		    off++)
			expect(kv_op_decode(whole, len, off, &op) == -1);
		expect(kv_op_decode(whole, len, UINT32_MAX, &op) == -1);
		expect(kv_op_key(whole, len, UINT64_MAX, &key, &klen) == -1);
	}
	free(s);
	tap_report("operation: a cut one is refused at every length");
}

static void
test_op_fields(void)
{
	uint8_t whole[64], b[64];
	struct kv_op op;
	uint32_t len;

	len = kv_op_encode(whole, KV_OP_PUT, 0, "key", 3, "value", 5);
	for (int v = 0; v < 256; v++) {
		memcpy(b, whole, len);
		b[0] = (uint8_t)v;
		expect((kv_op_decode(b, len, 0, &op) == 0) ==
		    (v == KV_OP_PUT || v == KV_OP_DELETE));
		memcpy(b, whole, len);
		b[1] = (uint8_t)v;
		expect((kv_op_decode(b, len, 0, &op) == 0) ==
		    (v == 0 || v == KV_OP_EXPIRES) || v == KV_OP_EXPIRES);
	}
	memcpy(b, whole, len);
	put_le32(b + 4, KEVO_VALUE_MAX + 1);
	expect(kv_op_decode(b, UINT32_MAX, 0, &op) == -1);
	put_le32(b + 4, UINT32_MAX);
	expect(kv_op_decode(b, UINT64_MAX / 2, 0, &op) == -1);
	tap_report("operation: kinds, flags and lengths out of range are "
	    "refused");
}

/* Whatever the bytes are, what is decoded lies within them. */
static void
test_op_garbage(void)
{
	const uint8_t *key;
	struct kv_op op;
	uint32_t klen;

	for (int i = 0; i < 20000; i++) {
		size_t len = tap_below(100), off = tap_below(len + 1);
		uint8_t *b = tap_alloc(len);

		tap_fill(b, len);
		if (len - off >= KV_OP_HEAD) {
			b[off] = (uint8_t)(1 + tap_below(2));
			b[off + 1] = (uint8_t)tap_below(2);
			b[off + 3] = b[off + 6] = b[off + 7] = 0;
			b[off + 2] %= 64;
			b[off + 5] = 0;
			b[off + 4] %= 64;
		}
		if (kv_op_decode(b, len, off, &op) == 0)
			expect(op.key >= b + off && op.val == op.key + op.klen
			    && op.val + op.vlen <= b + len &&
			    op.len == (size_t)(op.val + op.vlen - b) - off);
		if (kv_op_key(b, len, off, &key, &klen) == 0)
			expect(key + klen <= b + len);
		free(b);
	}
	tap_report("operation: garbage never leads outside the buffer");
}

/* ---- frames ------------------------------------------------------------ */

#define NONCE	((uint64_t)0xfedcba9876543210)

static struct kv_frame
any_frame(void)
{
	struct kv_frame f = {
		.payload_len = (uint32_t)tap_below((uint64_t)KV_PAYLOAD_MAX
		    + 1),
		.type = tap_below(2) == 0 ? KV_RECORD_COMMIT : KV_RECORD_MARK,
		.seq = tap_random(), .time_ns = tap_random(),
		.durable = tap_random()
	};

	return f;
}

static void
test_frame(void)
{
	uint8_t b[KV_FRAME_LEN];
	struct kv_frame f, g;

	for (int i = 0; i < 100; i++) {
		f = any_frame();
		kv_frame_encode(b, &f, NONCE);
		expect(kv_frame_decode(b, &g, NONCE) == 0 &&
		    g.payload_len == f.payload_len && g.type == f.type &&
		    g.seq == f.seq && g.time_ns == f.time_ns &&
		    g.durable == f.durable);
	}
	expect(get_le32(b) == f.payload_len && b[4] == f.type && b[5] == 0 &&
	    get_le16(b + 6) == 0 && get_le64(b + 8) == f.seq &&
	    get_le64(b + 16) == f.time_ns && get_le64(b + 24) == f.durable &&
	    get_le64(b + 32) == kv_hash(b, 32, NONCE));
	tap_report("frame: round trip, each field where the format says");
	for (int bit = 0; bit < KV_FRAME_LEN * 8; bit++) {
		b[bit / 8] ^= (uint8_t)(1 << bit % 8);
		expect(kv_frame_decode(b, &g, NONCE) == -1);
		b[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	expect(kv_frame_decode(b, &g, NONCE) == 0);
	memset(b, 0, sizeof(b));
	expect(kv_frame_decode(b, &g, NONCE) == -1);
	tap_report("frame: any bit flipped, and zeros, are refused");
	f = any_frame();
	kv_frame_encode(b, &f, NONCE);
	for (int bit = 0; bit < 64; bit++)
		expect(kv_frame_decode(b, &g, NONCE ^ (uint64_t)1 << bit) ==
		    -1);
	tap_report("frame: that of another epoch or database is refused");
}

/* The hash is right, a field is not. */
static void
test_frame_fields(void)
{
	static const struct { size_t off; uint8_t value; } bad[] = {
		{ 3, 0x40 }, { 3, 0x80 }, { 4, 0 }, { 4, 2 }, { 4, 4 },
		{ 4, 255 }, { 5, 1 }, { 5, 128 }, { 6, 1 }, { 7, 1 }
	};
	struct kv_frame f = { 100, KV_RECORD_COMMIT, 7, 8, 6 }, g;
	uint8_t b[KV_FRAME_LEN];

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		kv_frame_encode(b, &f, NONCE);
		b[bad[i].off] = bad[i].value;
		put_le64(b + 32, kv_hash(b, 32, NONCE));
		expect(kv_frame_decode(b, &g, NONCE) == -1);
	}
	f.payload_len = KV_PAYLOAD_MAX;
	kv_frame_encode(b, &f, NONCE);
	expect(kv_frame_decode(b, &g, NONCE) == 0);
	f.payload_len++;
	kv_frame_encode(b, &f, NONCE);
	expect(kv_frame_decode(b, &g, NONCE) == -1);
	tap_report("frame: fields out of range are refused");
}

static void
test_chain(void)
{
	uint8_t b[200];
	uint64_t chain;

	for (uint32_t n = 0; n < 100; n++) {
		uint64_t len = kv_record_len(n);

		expect(len % 8 == 0 && len >= KV_FRAME_LEN + n +
		    KV_TRAILER_LEN && len < KV_FRAME_LEN + n + KV_TRAILER_LEN
		    + 8);
	}
	expect(kv_record_len(UINT32_MAX) > UINT32_MAX);
	tap_fill(b, sizeof(b));
	chain = kv_chain(b, sizeof(b), 5);
	for (size_t bit = 0; bit < sizeof(b) * 8; bit++) {
		b[bit / 8] ^= (uint8_t)(1 << bit % 8);
		expect(kv_chain(b, sizeof(b), 5) != chain);
		b[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	for (int bit = 0; bit < 64; bit++)
		expect(kv_chain(b, sizeof(b), 5 ^ (uint64_t)1 << bit) !=
		    chain);
	expect(kv_chain(b, sizeof(b) - 1, 5) != chain);
	expect(kv_chain(b, sizeof(b), 5) == chain);
	tap_report("chain: depends on each bit and on the chain before");
}

int
main(void)
{
	tap_start("record");
	test_op_round_trip();
	test_op_cut();
	test_op_fields();
	test_op_garbage();
	test_frame();
	test_frame_fields();
	test_chain();
	return tap_end();
}
