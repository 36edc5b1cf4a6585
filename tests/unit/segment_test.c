/*
 * segment_test: a log segment in memory, damaged in every way: the walk
 * returns what stands before the damage, and nothing after it.
 */
#include "segment.h"

#include "coding.h"
#include "hash.h"
#include "ident.h"
#include "record.h"
#include "tap.h"

/* ---- building ---------------------------------------------------------- */

#define RECORDS	8
#define ROOM	16384

/* A segment, and where its records lie. */
struct world {
	uint8_t b[ROOM];
	uint64_t len;			/* end of the seal, or of the records */
	uint64_t off;			/* end of the records */
	struct kv_segment_head head;
	uint64_t seq, chain;
	uint64_t records;
	uint64_t at[RECORDS + 1];	/* [RECORDS] is the end */
	uint64_t chains[RECORDS + 1];	/* before each */
};

static void
begin(struct world *w, uint64_t capacity)
{
	memset(w, 0, sizeof(*w));
	tap_fill(w->head.id, 16);
	w->head.epoch = 3;
	w->head.nonce = tap_random();
	w->head.first_seq = 1000;
	w->head.chain_before = tap_random();
	w->head.created_ns = 77;
	w->head.counter = 5;
	w->head.capacity = capacity;
	kv_segment_head_encode(w->b, &w->head);
	w->off = w->len = KV_SEGMENT_HEAD;
	w->seq = w->head.first_seq - 1;
	w->chain = w->at[0] = 0;
	w->chain = w->head.chain_before;
	w->at[0] = w->off;
	w->chains[0] = w->chain;
}

/* Frame, padding and trailer around a payload that is there already. */
static void
finish(struct world *w, uint32_t payload_len, uint64_t seq, uint64_t durable)
{
	uint8_t *rec = w->b + w->off;
	uint64_t total = kv_record_len(payload_len);
	struct kv_frame f = { payload_len, KV_RECORD_COMMIT, seq,
		seq * 10, durable };

	kv_frame_encode(rec, &f, w->head.nonce);
	w->chain = kv_chain(rec, total - KV_TRAILER_LEN, w->chain);
	put_le64(rec + total - KV_TRAILER_LEN, w->chain);
	w->off += total;
	w->len = w->off;
	w->seq = seq;
	if (++w->records <= RECORDS) {
		w->at[w->records] = w->off;
		w->chains[w->records] = w->chain;
	}
}

/* One record of some operations; returns its payload's place. */
static uint64_t
append(struct world *w, uint32_t ops, uint64_t durable)
{
	uint8_t *p = w->b + w->off + KV_FRAME_LEN;
	uint32_t len = KV_PAYLOAD_HEAD;
	uint8_t key[40], val[60];

	put_le32(p, ops);
	put_le32(p + 4, 0);
	for (uint32_t i = 0; i < ops; i++) {
		size_t klen = 1 + tap_below(sizeof(key));
		size_t vlen = tap_below(sizeof(val));

		tap_fill(key, klen);
		tap_fill(val, vlen);
		len += kv_op_encode(p + len, KV_OP_PUT,
		    tap_below(3) == 0 ? 99 : 0, key, klen, val, vlen);
	}
	finish(w, len, w->seq + 1, durable);
	return (uint64_t)(p - w->b);
}

static void
seal(struct world *w)
{
	struct kv_seal s = { w->seq, w->records, w->off + KV_SEAL_LEN,
		w->chain, w->seq * 10, w->head.hash };

	kv_seal_encode(w->b + w->off, &s);
	w->len = w->off + KV_SEAL_LEN;
}

static void
build(struct world *w)
{
	begin(w, ROOM);
	for (int i = 0; i < RECORDS; i++)
		append(w, 1 + (uint32_t)i % 3, 0);
}

/* ---- walking ----------------------------------------------------------- */

struct seen {
	uint64_t records;
	enum kv_walk_result end;
};

/* In memory of exactly that length, for the sanitizer to see. */
static struct seen
walk(const struct world *w, uint64_t len)
{
	struct seen s = { 0, KV_WALK_BAD };
	uint8_t *copy = tap_alloc(len);
	struct kv_walk it;

	memcpy(copy, w->b, len);
	kv_walk_start(&it, copy, len, &w->head);
	while ((s.end = kv_walk_next(&it)) == KV_WALK_RECORD) {
		if (s.records <= RECORDS)
			expect(it.off <= len && it.seq == w->head.first_seq +
			    s.records && it.records == s.records + 1 &&
			    it.time_ns == it.seq * 10);
		if (++s.records > 1000)
			tap_bail("the walk does not end");
	}
	free(copy);
	return s;
}

/* Which record a place is in; RECORDS: the seal. */
static uint64_t
record_of(const struct world *w, uint64_t off)
{
	uint64_t r = 0;

	while (r < RECORDS && off >= w->at[r + 1])
		r++;
	return r;
}

static int
ends(const struct world *w, uint64_t len, uint64_t records,
    enum kv_walk_result end)
{
	struct seen s = walk(w, len);

	if (s.records == records && s.end == end)
		return 1;
	tap_note("%llu records, then %d", (unsigned long long)s.records,
	    (int)s.end);
	return 0;
}

/* A file of len bytes that all were written. */
static int
claims(const uint8_t *b, uint64_t len, uint64_t off, uint64_t seq)
{
	uint8_t *copy = tap_alloc(len);
	int rc;

	memcpy(copy, b, len);
	rc = kv_claims_durable(copy, len, len, off, seq);
	free(copy);
	return rc;
}

/* ---- header and seal --------------------------------------------------- */

static void
test_header(void)
{
	static const struct { int off; uint8_t value; } bad[] = {
		{ 0, 'k' }, { 8, 127 }, { 12, 2 }, { 12, 0 }, { 36, 2 }
	};
	struct kv_segment_head h, g;
	uint8_t b[KV_SEGMENT_HEAD];
	struct world w;

	begin(&w, 4096);
	h = w.head;
	memcpy(b, w.b, sizeof(b));
	memset(&g, 0, sizeof(g));
	expect(kv_segment_head_decode(b, &g) == 0 &&
	    memcmp(g.id, h.id, 16) == 0 && g.epoch == h.epoch &&
	    g.nonce == h.nonce && g.first_seq == h.first_seq &&
	    g.chain_before == h.chain_before && g.created_ns == h.created_ns
	    && g.counter == h.counter && g.capacity == h.capacity &&
	    g.hash == h.hash);
	expect(memcmp(b, "KEVOSEG1", 8) == 0 && get_le32(b + 8) == 128 &&
	    get_le32(b + 12) == 1 && memcmp(b + 16, h.id, 16) == 0 &&
	    get_le32(b + 32) == 3 && get_le64(b + 40) == h.nonce &&
	    get_le64(b + 48) == 1000 && get_le64(b + 56) == h.chain_before &&
	    get_le64(b + 64) == 77 && get_le64(b + 72) == 5 &&
	    get_le64(b + 80) == 4096 &&
	    get_le64(b + 120) == kv_hash(b, 120, 0));
	tap_report("header: round trip, each field where the format says");
	for (int bit = 0; bit < KV_SEGMENT_HEAD * 8; bit++) {
		b[bit / 8] ^= (uint8_t)(1 << bit % 8);
		expect(kv_segment_head_decode(b, &g) == -1);
		b[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	memset(b, 0, sizeof(b));
	expect(kv_segment_head_decode(b, &g) == -1);
	tap_report("header: any bit flipped, and zeros, are refused");
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		memcpy(b, w.b, sizeof(b));
		b[bad[i].off] = bad[i].value;
		put_le64(b + 120, kv_hash(b, 120, 0));
		expect(kv_segment_head_decode(b, &g) == -1);
	}
	h.capacity = KV_SEGMENT_HEAD + KV_SEAL_LEN - 1;
	kv_segment_head_encode(b, &h);
	expect(kv_segment_head_decode(b, &g) == -1);
	h.capacity = KV_SEGMENT_MAX + 1;
	kv_segment_head_encode(b, &h);
	expect(kv_segment_head_decode(b, &g) == -1);
	h.capacity = KV_SEGMENT_MAX;
	h.first_seq = 0;
	kv_segment_head_encode(b, &h);
	expect(kv_segment_head_decode(b, &g) == -1);
	tap_report("header: fields out of range are refused");
}

static void
test_seal(void)
{
	struct kv_seal s = { 1, 2, 3, 4, 5, 6 }, t;
	uint8_t b[KV_SEAL_LEN];
	struct world w;

	kv_seal_encode(b, &s);
	expect(kv_seal_decode(b, &t) == 0 && t.last_seq == 1 && t.records == 2
	    && t.file_len == 3 && t.chain == 4 && t.time_ns == 5 &&
	    t.head_hash == 6);
	expect(memcmp(b, "KEVOSEAL", 8) == 0 && get_le64(b + 8) == 1 &&
	    get_le64(b + 16) == 2 && get_le64(b + 24) == 3 &&
	    get_le64(b + 32) == 4 && get_le64(b + 40) == 5 &&
	    get_le64(b + 48) == 6 && get_le64(b + 56) == kv_hash(b, 56, 0));
	for (int bit = 0; bit < KV_SEAL_LEN * 8; bit++) {
		b[bit / 8] ^= (uint8_t)(1 << bit % 8);
		expect(kv_seal_decode(b, &t) == -1);
		b[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	tap_report("seal: round trip; any bit flipped is refused");

	build(&w);
	seal(&w);
	/* All but the time has to agree with the records before it. */
	for (int off = 8; off < 56; off += 8) {
		uint8_t *p = w.b + w.off;

		if (off == 40)
			continue;
		put_le64(p + off, get_le64(p + off) + 1);
		put_le64(p + 56, kv_hash(p, 56, 0));
		expect(ends(&w, w.len, RECORDS, KV_WALK_BAD));
		put_le64(p + off, get_le64(p + off) - 1);
		put_le64(p + 56, kv_hash(p, 56, 0));
	}
	expect(ends(&w, w.len, RECORDS, KV_WALK_SEAL));
	tap_report("seal: one that does not fit what is before it is bad");
}

static void
test_names(void)
{
	char name[KV_SEGMENT_NAME_LEN];
	struct kv_ident id = { .nonce = 9 };

	kv_segment_name(name, 0x1f);
	expect(strcmp(name, "wal/000000000000001f.seg") == 0);
	kv_segment_name(name, UINT64_MAX);
	expect(strcmp(name, "wal/ffffffffffffffff.seg") == 0);
	expect(kv_chain_origin(&id) == kv_hash(id.id, 16, 9));
	tap_report("segment: its name, and the first chain value");
}

/* ---- damage ------------------------------------------------------------ */

static void
test_sound(void)
{
	struct world w;

	build(&w);
	expect(ends(&w, w.len, RECORDS, KV_WALK_END));
	expect(ends(&w, ROOM, RECORDS, KV_WALK_END));
	seal(&w);
	expect(ends(&w, w.len, RECORDS, KV_WALK_SEAL));
	expect(ends(&w, ROOM, RECORDS, KV_WALK_SEAL));
	begin(&w, ROOM);
	expect(ends(&w, ROOM, 0, KV_WALK_END));
	expect(ends(&w, w.len, 0, KV_WALK_END));
	seal(&w);
	expect(ends(&w, w.len, 0, KV_WALK_SEAL));
	tap_report("walk: each record, and then the seal or the end");
}

static void
test_bits(void)
{
	struct world w;
	uint64_t off, from;

	build(&w);
	seal(&w);
	for (off = KV_SEGMENT_HEAD; off < w.len; off++)
		for (int bit = 0; bit < 8; bit++) {
			w.b[off] ^= (uint8_t)(1 << bit);
			expect(ends(&w, w.len, record_of(&w, off),
			    KV_WALK_BAD));
			w.b[off] ^= (uint8_t)(1 << bit);
		}
	tap_report("walk: any bit flipped ends it before that record");
	/* The same without a seal, and with other bytes than flipped ones. */
	memset(w.b + w.off, 0, KV_SEAL_LEN);
	for (int i = 0; i < 2000; i++) {
		uint8_t was[64];
		uint64_t n = 1 + tap_below(sizeof(was));

		from = KV_SEGMENT_HEAD + tap_below(w.off - KV_SEGMENT_HEAD -
		    n);
		memcpy(was, w.b + from, n);
		tap_fill(w.b + from, n);
		if (memcmp(was, w.b + from, n) != 0) {
			struct seen s = walk(&w, ROOM);
			uint64_t r = record_of(&w, from);

			/* The first bytes may be as they were. */
			expect(s.end == KV_WALK_BAD && s.records >= r &&
			    s.records <= record_of(&w, from + n - 1));
		}
		memcpy(w.b + from, was, n);
	}
	tap_report("walk: so do random bytes");
}

static void
test_cuts(void)
{
	struct world w;

	build(&w);
	seal(&w);
	for (uint64_t len = KV_SEGMENT_HEAD; len < w.len; len++) {
		uint64_t r = record_of(&w, len);
		struct seen s = walk(&w, len);

		expect(s.records == r);
		expect(s.end == (len == w.at[r] ? KV_WALK_END : KV_WALK_BAD));
	}
	tap_report("walk: cut at every length, it returns the whole records");
}

static void
test_holes(void)
{
	struct world w, was;

	build(&was);
	for (uint64_t from = KV_SEGMENT_HEAD; from < was.off; from += 8)
		for (uint64_t n = 8; n <= 512; n *= 4) {
			uint64_t r = record_of(&was, from);

			if (from + n > was.off)
				break;
			w = was;
			memset(w.b + from, 0, n);
			if (memcmp(w.b, was.b, was.off) == 0)
				continue;
			expect(walk(&w, ROOM).records >= r);
			expect(walk(&w, ROOM).records < RECORDS);
			if (!kv_all_zero(w.b + from, w.off - from))
				expect(walk(&w, ROOM).end == KV_WALK_BAD);
		}
	for (int r = 0; r < RECORDS; r++) {
		w = was;
		memset(w.b + w.at[r], 0, w.off - w.at[r]);
		expect(ends(&w, ROOM, (uint64_t)r, KV_WALK_END));
	}
	tap_report("walk: a hole is bad; zeros to the end are the end");
}

/* Put record r of a segment at the end of another. */
static void
copy_record(struct world *to, const struct world *from, uint64_t r)
{
	uint64_t n = from->at[r + 1] - from->at[r];

	memcpy(to->b + to->off, from->b + from->at[r], n);
	to->off += n;
}

static void
test_order(void)
{
	struct world was, other, w;
	uint64_t r, i;

	build(&was);
	for (r = 0; r < RECORDS; r++) {
		w = was;
		memset(w.b + was.at[r], 0, ROOM - was.at[r]);
		w.off = was.at[r];
		for (i = r + 1; i < RECORDS; i++)
			copy_record(&w, &was, i);
		expect(ends(&w, ROOM, r, r + 1 == RECORDS ? KV_WALK_END :
		    KV_WALK_BAD));
	}
	tap_report("walk: a record taken out ends it");
	for (r = 0; r < RECORDS; r++) {
		w = was;
		w.off = was.at[r + 1];
		for (i = r; i < RECORDS; i++)
			copy_record(&w, &was, i);
		expect(ends(&w, ROOM, r + 1, KV_WALK_BAD));
	}
	tap_report("walk: a record repeated ends it");
	for (r = 0; r + 1 < RECORDS; r++) {
		w = was;
		w.off = was.at[r];
		copy_record(&w, &was, r + 1);
		copy_record(&w, &was, r);
		expect(ends(&w, ROOM, r, KV_WALK_BAD));
	}
	tap_report("walk: two records swapped end it");
	build(&other);
	for (r = 0; r < RECORDS; r++) {
		w = was;
		memset(w.b + was.at[r], 0, ROOM - was.at[r]);
		w.off = was.at[r];
		copy_record(&w, &other, r);
		expect(ends(&w, ROOM, r, KV_WALK_BAD));
	}
	tap_report("walk: a record of another segment ends it");
}

static void
test_sequence(void)
{
	static const int64_t wrong[] = { -1, 0, 2, 1 << 20 };
	struct world was, w;

	begin(&was, ROOM);
	append(&was, 1, 0);
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		uint64_t seq = was.seq + (uint64_t)wrong[i];

		w = was;
		put_le32(w.b + w.off + KV_FRAME_LEN, 0);
		finish(&w, KV_PAYLOAD_HEAD, seq, 0);
		expect(ends(&w, ROOM, 1, KV_WALK_BAD));
	}
	w = was;
	finish(&w, KV_PAYLOAD_HEAD, was.seq + 1, 0);
	expect(ends(&w, ROOM, 2, KV_WALK_END));
	tap_report("walk: a sequence number out of order is bad");
}

/* Hashes are right, the payload is not. */
static void
test_payload(void)
{
	struct world w;
	uint8_t *p;
	uint32_t len;

	for (uint32_t ops = 0; ops < 5; ops++)
		for (uint32_t count = 0; count < 8; count++) {
			struct world z;

			begin(&w, ROOM);
			z = w;
			append(&z, ops, 0);
			len = get_le32(z.b + z.at[0]);
			memcpy(w.b + w.off, z.b + z.at[0],
			    z.off - z.at[0]);
			put_le32(w.b + w.off + KV_FRAME_LEN, count);
			finish(&w, len, w.seq + 1, 0);
			expect(ends(&w, ROOM, count == ops, count == ops ?
			    KV_WALK_END : KV_WALK_BAD));
		}
	for (int what = 0; what < 7; what++) {
		begin(&w, ROOM);
		p = w.b + w.off + KV_FRAME_LEN;
		put_le32(p, 1);
		len = KV_PAYLOAD_HEAD + kv_op_encode(p + KV_PAYLOAD_HEAD,
		    KV_OP_PUT, 0, "key", 3, "value", 5);
		switch (what) {
		case 1: put_le32(p + 4, 1); break;
		case 2: p[8] = 3; break;
		case 3: p[9] = 2; break;
		case 4: p[9] = 1; break;
		case 5: p[12]++; break;
		case 6: len = 7; break;
		}
		finish(&w, len, w.seq + 1, 0);
		expect(ends(&w, ROOM, what == 0, what == 0 ? KV_WALK_END :
		    KV_WALK_BAD));
	}
	begin(&w, ROOM);
	put_le32(w.b + w.off + KV_FRAME_LEN, UINT32_MAX);
	finish(&w, 4000, w.seq + 1, 0);
	expect(ends(&w, ROOM, 0, KV_WALK_BAD));
	tap_report("walk: a payload with another count or shape is bad");
}

static void
test_garbage(void)
{
	struct world w;

	for (int i = 0; i < 300; i++) {
		uint64_t len = KV_SEGMENT_HEAD + tap_below(2000);

		build(&w);
		tap_fill(w.b + w.at[i % RECORDS], ROOM - w.at[i % RECORDS]);
		walk(&w, len);
		expect(ends(&w, ROOM, (uint64_t)(i % RECORDS), KV_WALK_BAD));
		claims(w.b, len, w.at[i % RECORDS], 1);
	}
	tap_report("walk: garbage is bad");
}

/* ---- values that look like records ------------------------------------- */

/* A record whose only value is n bytes of something. */
static void
append_value(struct world *w, const void *val, size_t n, uint64_t durable)
{
	uint8_t *p = w->b + w->off + KV_FRAME_LEN;
	uint32_t len = KV_PAYLOAD_HEAD;

	put_le32(p, 1);
	put_le32(p + 4, 0);
	/* The value begins at a multiple of eight. */
	len += kv_op_encode(p + len, KV_OP_PUT, 0, "12345678", 8, val, n);
	finish(w, len, w->seq + 1, durable);
}

static void
test_frames_in_values(void)
{
	struct world w, inner;
	struct kv_frame f = { 8, KV_RECORD_COMMIT, 5000, 1, 999 };
	uint8_t frame[KV_FRAME_LEN];

	build(&inner);
	seal(&inner);
	begin(&w, ROOM);
	for (int i = 0; i < 3; i++)
		append_value(&w, inner.b, inner.len, 0);
	expect(ends(&w, ROOM, 3, KV_WALK_END));
	seal(&w);
	expect(ends(&w, w.len, 3, KV_WALK_SEAL));
	tap_report("values: whole segments in them are just bytes");

	/* The record after the second is torn within its value, which holds
	 * what would be the next record. */
	begin(&w, ROOM);
	append(&w, 1, 0);
	inner = w;
	append(&inner, 1, 0);
	append_value(&w, inner.b + inner.at[1], inner.off - inner.at[1], 0);
	memset(w.b + w.at[1], 0, KV_FRAME_LEN + KV_PAYLOAD_HEAD);
	expect(ends(&w, ROOM, 1, KV_WALK_BAD));
	tap_report("values: a torn record's value is not taken for a record");

	begin(&w, ROOM);
	append(&w, 1, 0);
	kv_frame_encode(frame, &f, w.head.nonce);
	append_value(&w, frame, sizeof(frame), 0);
	w.b[w.at[1]] ^= 1;
	expect(!claims(w.b, ROOM, w.at[1], 1001));
	tap_report("values: a frame in one that names older commits as durable "
	    "claims nothing");

	/* Another database's log, stored in this one: its numbers are high,
	 * and it lies where frames may lie. */
	begin(&inner, ROOM);
	inner.seq = 1 << 20;
	for (int i = 0; i < 4; i++)
		append(&inner, 1, inner.seq);
	begin(&w, ROOM);
	append(&w, 1, 0);
	append_value(&w, inner.b, inner.len, 0);
	w.b[w.at[1]] ^= 1;
	expect(!claims(w.b, ROOM, w.at[1], 1001));
	tap_report("values: nor do the frames of another database");
}

/* ---- what was on disk -------------------------------------------------- */

static void
test_claims(void)
{
	struct world w;
	uint64_t bad = 3, seq;

	build(&w);
	seq = w.head.first_seq + bad;
	w.b[w.at[bad]] ^= 1;
	expect(!claims(w.b, ROOM, w.at[bad], seq));
	tap_report("claims: no record behind it names it as durable");
	append(&w, 1, seq - 1);
	expect(!claims(w.b, ROOM, w.at[bad], seq));
	append(&w, 1, seq);
	expect(claims(w.b, ROOM, w.at[bad], seq));
	expect(!claims(w.b, ROOM, w.at[bad], seq + 1));
	expect(claims(w.b, w.off, w.at[bad], seq));
	tap_report("claims: one that names it or a later one does");

	w.b[w.off - 9] ^= 1;		/* of its payload: the frame stands */
	expect(claims(w.b, ROOM, w.at[bad], seq));
	for (uint64_t r = w.off - 8; r >= w.at[RECORDS]; r -= 8)
		w.b[r] ^= 1;
	expect(!claims(w.b, ROOM, w.at[bad], seq));
	tap_report("claims: a damaged frame claims nothing");

	build(&w);
	w.b[w.at[bad]] ^= 1;
	append(&w, 1, w.seq + 1);	/* itself: not a frame that we write */
	expect(!claims(w.b, ROOM, w.at[bad], seq));
	append(&w, 1, w.seq + 5);
	expect(!claims(w.b, ROOM, w.at[bad], seq));
	tap_report("claims: a frame that calls itself durable claims nothing");
}

static void
test_claims_by_seal(void)
{
	struct world w, was;
	uint64_t bad = RECORDS - 1, seq;

	build(&was);
	seal(&was);
	seq = was.head.first_seq + bad;
	was.b[was.at[bad] + KV_FRAME_LEN] ^= 1;
	expect(claims(was.b, was.len, was.at[bad], seq));
	expect(!claims(was.b, ROOM, was.at[bad], seq));
	tap_report("claims: a seal does once the file is cut to it");
	for (uint64_t len = KV_SEGMENT_HEAD; len < was.len + 200; len++)
		if (len != was.len)
			expect(!claims(was.b, len, was.at[bad],
			    seq));
	tap_report("claims: a file cut anywhere else claims nothing");
	expect(!kv_claims_durable(was.b, was.len, ROOM, was.at[bad], seq));
	tap_report("claims: nor does a seal before a hole");
	w = was;
	put_le64(w.b + w.off + 48, w.head.hash + 1);
	put_le64(w.b + w.off + 56, kv_hash(w.b + w.off, 56, 0));
	expect(!claims(w.b, w.len, w.at[bad], seq));
	w = was;
	put_le64(w.b + w.off + 24, w.len + 8);
	put_le64(w.b + w.off + 56, kv_hash(w.b + w.off, 56, 0));
	expect(!claims(w.b, w.len, w.at[bad], seq));
	tap_report("claims: nor does the seal of another file");

	/* A segment that is full to the last byte was not cut. */
	begin(&w, 0);
	append(&w, 1, 0);
	w.head.capacity = w.off + KV_SEAL_LEN;
	kv_segment_head_encode(w.b, &w.head);
	seal(&w);
	w.b[w.at[0] + KV_FRAME_LEN] ^= 1;
	expect(!claims(w.b, w.len, w.at[0], 1000));
	tap_report("claims: nor one at the end of the capacity");
}

int
main(void)
{
	tap_start("segment");
	test_names();
	test_header();
	test_seal();
	test_sound();
	test_bits();
	test_cuts();
	test_holes();
	test_order();
	test_sequence();
	test_payload();
	test_garbage();
	test_frames_in_values();
	test_claims();
	test_claims_by_seal();
	return tap_end();
}
