/*
 * stream_test: frames: round trip, and what is not a whole stream is never
 * taken for one.
 */
#include "ship/stream.h"

#include "coding.h"
#include "env.h"
#include "hash.h"
#include "kevo.h"
#include "tap.h"

#define FRAMES	12

static struct kv_env env;

/* A stream as bytes, and where its frames begin. */
struct sample {
	uint8_t buf[8192];
	size_t len;
	size_t at[FRAMES + 1];
	int frames;
};

static const struct kv_position somewhere = {
	.epoch = 3, .nonce = 0xfedcba9876543210u, .seq = 60,
	.chain = 0x0123456789abcdefu
};

static void
add(struct sample *s, struct kv_stream_out *out, enum kv_stream_kind kind,
    const void *payload, size_t len)
{
	uint8_t *p = s->buf + s->len;

	if (s->frames == 0) {
		memcpy(s->buf, KV_STREAM_MAGIC, KV_STREAM_MAGIC_LEN);
		p += KV_STREAM_MAGIC_LEN;
	}
	s->at[s->frames++] = (size_t)(p - s->buf);
	memcpy(p + KV_STREAM_HEAD, payload, len);
	kv_stream_frame(out, kind, payload, len, p,
	    p + KV_STREAM_HEAD + len);
	s->len = (size_t)(p - s->buf) + KV_STREAM_HEAD + len +
	    KV_STREAM_TAIL;
	s->at[s->frames] = s->len;
}

static void
add_hello(struct sample *s, struct kv_stream_out *out)
{
	struct kv_hello h = { .id = "0123456789abcde", .start = somewhere,
		.follow = 1, .primary = 1, .clock_ns = 77 };
	uint8_t b[KV_STREAM_HELLO_LEN];

	if (kv_stream_hello(&h, b) != 0)
		tap_bail("no random bits");
	add(s, out, KV_STREAM_HELLO, b, sizeof(b));
}

static void
add_beat(struct sample *s, struct kv_stream_out *out, uint64_t bytes)
{
	struct kv_beat b = { .end = somewhere, .bytes = bytes,
		.clock_ns = 99 };
	uint8_t buf[KV_STREAM_BEAT_LEN];

	kv_stream_beat(&b, buf);
	add(s, out, KV_STREAM_BEAT, buf, sizeof(buf));
}

static void
add_bye(struct sample *s, struct kv_stream_out *out)
{
	uint8_t buf[KV_STREAM_BYE_LEN];

	kv_stream_bye(out, &somewhere, buf);
	add(s, out, KV_STREAM_BYE, buf, sizeof(buf));
}

/* One of each kind, records of several sizes. */
static void
make(struct sample *s)
{
	struct kv_stream_out out = { 0, 0 };
	uint8_t any[1024];

	memset(s, 0, sizeof(*s));
	tap_fill(any, sizeof(any));
	add_hello(s, &out);
	add(s, &out, KV_STREAM_EPOCH, "kevo-epoch 1\n", 13);
	add_beat(s, &out, 4096);
	add(s, &out, KV_STREAM_SEG, any, 128);
	add(s, &out, KV_STREAM_REC, any, 56);
	add(s, &out, KV_STREAM_REC, any, 1024);
	add(s, &out, KV_STREAM_SEAL, any, 64);
	add(s, &out, KV_STREAM_SEG, any, 128);
	add(s, &out, KV_STREAM_REC, any, 256);
	add_beat(s, &out, 0);
	add_bye(s, &out);
}

/* What a reader made of some bytes. */
struct result {
	int frames;		/* that are those of the sample, in order */
	int others;		/* handed out, and not those */
	int rc;			/* 0, or the error */
	int ended;
};

static void
take_all(struct kv_stream_in *in, const struct sample *s, struct result *r)
{
	struct kv_stream_got g;

	while ((r->rc = kv_stream_next(&env, in, &g)) == 1) {
		const uint8_t *p = s->buf + s->at[r->frames];

		if (r->others == 0 && r->frames < s->frames &&
		    g.kind == p[0] && g.number == get_le64(p + 8) &&
		    g.len == get_le32(p + 4) &&
		    memcmp(g.payload, p + KV_STREAM_HEAD, g.len) == 0)
			r->frames++;
		else
			r->others++;
	}
}

/* Give a reader the bytes in pieces of at most `piece`. */
static struct result
read_bytes(const struct sample *s, const uint8_t *p, size_t len, size_t piece)
{
	struct kv_stream_in *in = kv_stream_in_new();
	struct result r = { 0, 0, 0, 0 };

	if (in == NULL)
		tap_bail("out of memory");
	while (len > 0 && r.rc == 0) {
		size_t room, n = piece < len ? piece : len;
		uint8_t *b = kv_stream_room(in, &room);

		if (n > room)
			n = room;
		memcpy(b, p, n);
		kv_stream_add(in, n);
		p += n;
		len -= n;
		take_all(in, s, &r);
	}
	r.ended = kv_stream_ended(in);
	kv_stream_in_free(in);
	return r;
}

static void
test_round_trip(void)
{
	struct sample s;

	make(&s);
	for (size_t piece = 1; piece < s.len + 7; piece += piece < 40 ? 1 :
	    97) {
		struct result r = read_bytes(&s, s.buf, s.len, piece);

		expect(r.frames == s.frames && r.others == 0 && r.rc == 0 &&
		    r.ended);
	}
	tap_report("stream: in pieces of any size the same frames come out");
}

static void
test_values(void)
{
	struct kv_stream_in *in = kv_stream_in_new();
	struct kv_stream_got g;
	struct sample s;
	size_t room;

	make(&s);
	memcpy(kv_stream_room(in, &room), s.buf, s.len);
	kv_stream_add(in, s.len);
	expect(kv_stream_next(&env, in, &g) == 1 &&
	    g.kind == KV_STREAM_HELLO);
	expect(memcmp(g.hello.id, "0123456789abcde", 16) == 0);
	expect(g.hello.start.epoch == 3 && g.hello.start.seq == 60 &&
	    g.hello.start.nonce == somewhere.nonce &&
	    g.hello.start.chain == somewhere.chain);
	expect(g.hello.follow == 1 && g.hello.primary == 1 &&
	    g.hello.clock_ns == 77);
	expect(kv_stream_next(&env, in, &g) == 1 && g.len == 13);
	expect(kv_stream_next(&env, in, &g) == 1 &&
	    g.kind == KV_STREAM_BEAT && g.beat.bytes == 4096 &&
	    g.beat.clock_ns == 99 && g.beat.end.seq == 60);
	while (kv_stream_next(&env, in, &g) == 1)
		;
	expect(g.kind == KV_STREAM_BYE &&
	    g.bye.frames == (uint64_t)s.frames &&
	    g.bye.end.chain == somewhere.chain);
	expect(kv_stream_number(in) == (uint64_t)s.frames);
	kv_stream_in_free(in);
	tap_report("stream: what HELLO, BEAT and BYE say comes out");
}

static void
test_cut(void)
{
	struct sample s;

	make(&s);
	for (size_t len = 0; len < s.len; len++) {
		struct result r = read_bytes(&s, s.buf, len, len + 1);
		int whole = 0;

		while (whole < s.frames && s.at[whole + 1] <= len)
			whole++;
		if (!expect(r.rc == 0 && !r.ended && r.others == 0 &&
		    r.frames == whole))
			tap_note("cut to %zu of %zu", len, s.len);
	}
	tap_report("stream: cut at any byte, it has not ended");
}

static void
test_bits(void)
{
	struct sample s;

	make(&s);
	for (size_t bit = 0; bit < s.len * 8; bit++) {
		struct result r;
		int before = 0;

		while (before < s.frames && s.at[before + 1] <= bit / 8)
			before++;
		s.buf[bit / 8] ^= (uint8_t)(1u << bit % 8);
		r = read_bytes(&s, s.buf, s.len, s.len);
		s.buf[bit / 8] ^= (uint8_t)(1u << bit % 8);
		if (!expect(r.rc == KEVO_ECORRUPT && !r.ended &&
		    r.others == 0 && r.frames == before))
			tap_note("byte %zu bit %zu", bit / 8, bit % 8);
	}
	tap_report("stream: any bit flipped, nothing from there on is taken");
}

/* A copy with frame `from` left out (count 0) or put in count times before
 * frame `to`. */
static size_t
rearrange(const struct sample *s, uint8_t *out, int from, int to, int keep)
{
	size_t n = s->at[0];

	memcpy(out, s->buf, n);
	for (int i = 0; i <= s->frames; i++) {
		if (i == to) {
			memcpy(out + n, s->buf + s->at[from],
			    s->at[from + 1] - s->at[from]);
			n += s->at[from + 1] - s->at[from];
		}
		if (i < s->frames && (i != from || keep)) {
			memcpy(out + n, s->buf + s->at[i],
			    s->at[i + 1] - s->at[i]);
			n += s->at[i + 1] - s->at[i];
		}
	}
	return n;
}

static void
test_order(void)
{
	static uint8_t b[20000];
	struct result r;
	struct sample s;

	make(&s);
	for (int i = 0; i < s.frames; i++) {
		r = read_bytes(&s, b, rearrange(&s, b, i, -1, 0), 9999);
		expect(r.others == 0 && r.frames == i && !r.ended);
		expect(r.rc == (i == s.frames - 1 ? 0 : KEVO_ECORRUPT));
		if (i > 0 && i < s.frames - 1)
			expect(strstr(env.msg, "missing") != NULL);
	}
	tap_report("stream: a frame that is missing is noticed");
	for (int i = 0; i < s.frames; i++)
		for (int to = 0; to <= s.frames; to++) {
			r = read_bytes(&s, b, rearrange(&s, b, i, to, 1),
			    9999);
			expect(r.others == 0 && r.rc == KEVO_ECORRUPT &&
			    !r.ended);
			if (to == i || to == i + 1)
				continue;
			r = read_bytes(&s, b, rearrange(&s, b, i, to, 0),
			    9999);
			expect(r.others == 0 && r.rc == KEVO_ECORRUPT &&
			    r.frames <= (i < to ? i : to) && !r.ended);
		}
	tap_report("stream: one that is repeated or moved is noticed");
}

/* The head of one stream and the tail of another, at every frame. */
static void
test_splice(void)
{
	static uint8_t b[20000];
	struct sample s, t;
	struct result r;

	make(&s);
	make(&t);
	for (int i = 1; i < s.frames; i++) {
		memcpy(b, s.buf, s.at[i]);
		memcpy(b + s.at[i], t.buf + t.at[i], t.len - t.at[i]);
		r = read_bytes(&s, b, t.len, 9999);
		expect(r.frames == i && r.others == 0 &&
		    r.rc == KEVO_ECORRUPT);
	}
	tap_report("stream: the tail of another one is noticed");
}

static void
test_joined(void)
{
	static uint8_t b[20000];
	struct sample s;
	struct result r;

	make(&s);
	memcpy(b, s.buf, s.len);
	memcpy(b + s.len, s.buf, s.len);
	r = read_bytes(&s, b, 2 * s.len, 333);
	expect(r.rc == 0 && r.ended && r.others == s.frames);
	for (size_t n = 1; n < s.len; n++) {
		r = read_bytes(&s, b, s.len + n, 9999);
		expect(r.rc == 0 && !r.ended);
	}
	tap_report("stream: another one may follow, whole");
	memset(b + s.len, 'x', 3);
	r = read_bytes(&s, b, s.len + 3, 9999);
	expect(r.rc == KEVO_ECORRUPT && r.frames == s.frames && !r.ended);
	tap_report("stream: something else may not follow");
}

/* A frame with true hashes, but a head of the test's making. */
static void
forge(uint8_t *p, uint64_t seed, unsigned kind, unsigned flags,
    uint32_t len, uint64_t number)
{
	p[0] = (uint8_t)kind;
	p[1] = (uint8_t)flags;
	put_le16(p + 2, 0);
	put_le32(p + 4, len);
	put_le64(p + 8, number);
	put_le64(p + 16, kv_hash(p, 16, seed));
}

/* What a reader says of a forged second frame with up to have bytes behind
 * its head; *room: how much memory it then has ready. */
static int
say_forged(unsigned kind, unsigned flags, uint32_t len, uint64_t number,
    size_t have, size_t *room)
{
	struct kv_stream_in *in = kv_stream_in_new();
	struct kv_stream_got g;
	struct kv_stream_out out = { 0, 0 };
	struct sample s;
	size_t n;
	int rc;

	memset(&s, 0, sizeof(s));
	add_hello(&s, &out);
	forge(s.buf + s.len, out.seed, kind, flags, len, number);
	n = s.len + KV_STREAM_HEAD + have;
	memcpy(kv_stream_room(in, room), s.buf, n);
	kv_stream_add(in, n);
	expect(kv_stream_next(&env, in, &g) == 1);
	rc = kv_stream_next(&env, in, &g);
	kv_stream_room(in, room);
	kv_stream_in_free(in);
	return rc;
}

static void
test_forged(void)
{
	const uint32_t max = (1u << 30) + 48;
	size_t room;

	expect(say_forged(KV_STREAM_REC, 0, max, 2, 1000, &room) == 0);
	expect(room < 1u << 20);
	tap_report("stream: a length reserves no memory");
	for (unsigned kind = 0; kind < 256; kind++) {
		static const uint32_t most[] = { 0, 0, 1024, 128,
			(1u << 30) + 48, 64, 0, 48, 40 };
		uint32_t m = kind < 9 ? most[kind] : 0;

		expect(say_forged(kind, 0, m + 8, 2, 0, &room) ==
		    KEVO_ECORRUPT);
		expect(say_forged(kind, 0, UINT32_MAX, 2, 0, &room) ==
		    KEVO_ECORRUPT);
		expect(say_forged(kind, 0, 0, 2, 0, &room) == KEVO_ECORRUPT);
		expect(say_forged(kind, 1, m, 2, 0, &room) == KEVO_ECORRUPT);
		expect(say_forged(kind, 0, m, 2, 0, &room) ==
		    (m != 0 ? 0 : KEVO_ECORRUPT));
		expect(say_forged(kind, 0, m, 1, 0, &room) == KEVO_ECORRUPT);
		expect(say_forged(kind, 0, m, UINT64_MAX, 0, &room) ==
		    KEVO_ECORRUPT);
	}
	expect(say_forged(KV_STREAM_REC, 0, 60, 2, 0, &room) ==
	    KEVO_ECORRUPT);
	tap_report("stream: kinds, flags and lengths that are not are refused");
}

/* A large frame: memory follows what came, and is given back. */
static void
test_large(void)
{
	const size_t len = 40u << 20;
	struct kv_stream_in *in = kv_stream_in_new();
	struct kv_stream_out out = { 0, 0 };
	uint8_t *p = tap_alloc(len), *b, tail[KV_STREAM_TAIL];
	struct kv_stream_got g;
	struct sample s;
	size_t room, most = 0;

	memset(&s, 0, sizeof(s));
	memset(p, 7, len);
	add_hello(&s, &out);
	kv_stream_frame(&out, KV_STREAM_REC, p, len, s.buf + s.len, tail);
	memcpy(kv_stream_room(in, &room), s.buf, s.len + KV_STREAM_HEAD);
	kv_stream_add(in, s.len + KV_STREAM_HEAD);
	expect(kv_stream_next(&env, in, &g) == 1);
	for (size_t off = 0; off < len;) {
		b = kv_stream_room(in, &room);
		if (room + off > most)
			most = room + off;
		expect(room + off < 2 * off + (1u << 20));
		if (room > len - off)
			room = len - off;
		memcpy(b, p + off, room);
		kv_stream_add(in, room);
		off += room;
		expect(kv_stream_next(&env, in, &g) == 0);
	}
	memcpy(kv_stream_room(in, &room), tail, sizeof(tail));
	kv_stream_add(in, sizeof(tail));
	expect(kv_stream_next(&env, in, &g) == 1 && g.len == len &&
	    memcmp(g.payload, p, len) == 0);
	expect(most <= len + 100);
	kv_stream_room(in, &room);
	expect(room < 1u << 20);
	kv_stream_in_free(in);
	free(p);
	tap_report("stream: memory follows the bytes of a large frame");
}

static void
test_garbage(void)
{
	static uint8_t b[8192];
	struct sample s;

	make(&s);
	for (int i = 0; i < 3000; i++) {
		size_t at = tap_below(s.len), n = 1 + tap_below(40);
		struct result r;
		int before = 0;

		memcpy(b, s.buf, s.len);
		tap_fill(b + at, n < s.len - at ? n : s.len - at);
		if (memcmp(b, s.buf, s.len) == 0)
			continue;
		while (b[at] == s.buf[at])
			at++;
		while (before < s.frames && s.at[before + 1] <= at)
			before++;
		r = read_bytes(&s, b, s.len, 1 + tap_below(300));
		expect(r.frames == before && r.others == 0 && !r.ended);
	}
	tap_report("stream: garbage within is noticed where it begins");
}

/* The example in kevo-archive(5). */
static void
test_example(void)
{
	static const char page[] =
	    "4b 45 56 4f 53 48 49 50 20 31 0a 01 00 00 00 48 "
	    "00 00 00 01 00 00 00 00 00 00 00 26 c7 79 a4 e2 "
	    "db ba 77 00 11 22 33 44 55 66 77 88 99 aa bb cc "
	    "dd ee ff 88 77 66 55 44 33 22 11 01 00 00 00 00 "
	    "00 00 00 77 01 f2 e4 1d 6a 0c 9b 00 00 00 00 00 "
	    "00 00 00 33 5f a9 e1 7b c0 d2 41 02 00 00 00 00 "
	    "00 00 00 00 18 ff fb c9 5a eb 18 3b 28 c6 5a b9 "
	    "c1 50 9a 08 00 00 00 28 00 00 00 02 00 00 00 00 "
	    "00 00 00 18 68 b9 b6 16 3f 9c ae 01 00 00 00 00 "
	    "00 00 00 77 01 f2 e4 1d 6a 0c 9b 00 00 00 00 00 "
	    "00 00 00 33 5f a9 e1 7b c0 d2 41 02 00 00 00 00 "
	    "00 00 00 b0 5f 92 09 a8 21 e2 0d ";
	struct kv_stream_in *in = kv_stream_in_new();
	struct kv_stream_got g;
	size_t room, n = 0;
	uint8_t *p = kv_stream_room(in, &room);
	int len;

	for (const char *s = page; sscanf(s, "%2hhx%n", p + n, &len) == 1;
	    s += len)
		n++;
	kv_stream_add(in, n);
	expect(n == 187);
	expect(kv_stream_next(&env, in, &g) == 1 &&
	    g.kind == KV_STREAM_HELLO && g.hello.id[15] == 0xff &&
	    g.hello.start.epoch == 1 && g.hello.start.seq == 0 &&
	    g.hello.primary && !g.hello.follow);
	expect(kv_stream_next(&env, in, &g) == 1 &&
	    g.kind == KV_STREAM_BYE && g.bye.frames == 2);
	expect(kv_stream_next(&env, in, &g) == 0 && kv_stream_ended(in));
	kv_stream_in_free(in);
	tap_report("stream: the example of the page is one");
}

int
main(void)
{
	tap_start("stream");
	test_example();
	test_round_trip();
	test_values();
	test_cut();
	test_bits();
	test_order();
	test_splice();
	test_joined();
	test_forged();
	test_large();
	test_garbage();
	return tap_end();
}
