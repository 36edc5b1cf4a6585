#include <stdlib.h>
#include <string.h>

#include "cache.h"
#include "codec.h"
#include "env.h"
#include "kevo.h"
#include "segment.h"
#include "table_layout.h"

/*
 * A unit says how long it is, and has a hash that is seeded with the identity
 * of the database, the number of the table and its own place.  So it can be
 * recognised without anything else, and behind a damaged one the next is
 * found.
 */
struct salvage {
	struct kv_env *env;
	struct kv_table *t;	/* map, seed, codec, unit_shift */
	uint64_t end;		/* of where units may be */
	uint64_t spent;		/* bytes hashed for nothing */
	const struct kv_table_salvage *to;
	struct kv_cache *cache;
	uint8_t *key;
};

/* Bytes that look like the beginning of a unit but are none cost a hash each
 * time: what is spent on that is bounded by so many times the table. */
#define SPENT_MAX	16

#define CACHE_BYTES	((size_t)1 << 20)

/* ---- units ------------------------------------------------------------- */

/* Does a sound unit begin at off?  Its length, or 0. */
static uint32_t
unit_at(struct salvage *s, uint64_t off)
{
	const uint8_t *p = s->t->map + off;
	uint64_t left = s->end - off;
	uint32_t len;

	if (left < KV_UNIT_HEAD)
		return 0;
	len = get_le32(p + 8);
	if (kv_unit_sound(p, left, s->t->seed, off))
		return len;
	s->spent += len <= left ? len : 0;
	return 0;
}

/* From a place where there is no unit to the next one, or the end. */
static uint64_t
next_unit(struct salvage *s, uint64_t off)
{
	while (off < s->end && s->spent / SPENT_MAX <= s->end) {
		if (unit_at(s, off) != 0)
			return off;
		off += (uint64_t)1 << s->t->unit_shift;
	}
	return s->end;
}

/* ---- records ----------------------------------------------------------- */

/* The records of groups that fill len bytes; to NULL: none is given.  1: not
 * all of them are groups. */
static int
give_groups(struct salvage *s, const uint8_t *p, uint64_t len, int give)
{
	const struct kv_table_salvage *to = s->to;
	struct kv_group g;
	int rc;

	while (len > 0) {
		if (kv_group_parse(p, len, &g) != 0)
			return 1;
		if (give && (rc = kv_group_each(&g, s->key, to->record,
		    to->arg)) != 0)
			return rc;
		p += kv_group_len(&g);
		len -= kv_group_len(&g);
	}
	return 0;
}

static int
give_block(struct salvage *s, uint64_t off, int give)
{
	struct kv_content c;
	struct kv_block *b;
	uint8_t *to;
	size_t len;
	int r = kv_block_parse(s->t, off, &c, &len);

	if (r <= 0)
		return r < 0 ? 1 : give_groups(s, c.p, c.len, give);
	b = kv_cache_add(s->cache, 0, off, len, KV_OVERREAD, &to);
	if (b == NULL)
		return kv_fail(s->env, KEVO_ENOMEM, "out of memory");
	kv_block_pin(b);
	r = 1;
	if (kv_codec_decompress(kv_cache_work(s->cache), s->t->codec, c.p,
	    (size_t)c.len, to, len) == 0)
		r = give_groups(s, b->data, len, give);
	kv_block_unpin(b);
	kv_cache_drop(s->cache, b);
	return r;
}

static int
give_unit(struct salvage *s, uint64_t off, uint32_t len, int give)
{
	if (s->t->codec == KV_CODEC_NONE)
		return give_groups(s, s->t->map + off, len, give);
	return give_block(s, off, give);
}

/* What stands between the last unit and the index. */
static int
is_padding(const struct salvage *s, uint64_t off, uint64_t next)
{
	return next == s->end && next - off < KV_TABLE_ALIGN &&
	    kv_all_zero(s->t->map + off, next - off);
}

static int
give_all(struct salvage *s)
{
	const struct kv_table_salvage *to = s->to;
	uint64_t off = KV_TABLE_HEAD, next;
	uint32_t len;
	int rc;

	while (off < s->end) {
		if ((len = unit_at(s, off)) != 0) {
			next = kv_unit_end(off, len, s->t->unit_shift);
			if ((rc = give_unit(s, off, len, 1)) < 0)
				return rc;
			if (rc > 0 && (rc = to->gap(to->arg, off, len)) != 0)
				return rc;
		} else {
			next = next_unit(s, off);
			if (!is_padding(s, off, next) &&
			    (rc = to->gap(to->arg, off, next - off)) != 0)
				return rc;
		}
		off = next;
	}
	return 0;
}

/* ---- what kind of table it is ------------------------------------------ */

/* The codec that makes records of the first sound unit. */
static uint8_t
try_codecs(struct salvage *s)
{
	uint64_t off;
	uint32_t len;

	s->t->unit_shift = 4;	/* the smallest */
	off = next_unit(s, KV_TABLE_HEAD);
	if (off >= s->end)
		return KV_CODEC_NONE;
	len = get_le32(s->t->map + off + 8);
	for (unsigned codec = 0; codec < 8; codec++) {
		s->t->codec = (uint8_t)codec;
		if (kv_codec_known(s->t->codec) &&
		    give_unit(s, off, len, 0) == 0)
			return s->t->codec;
	}
	return KV_CODEC_NONE;
}

/* Head or tail say where the units end and what is in them. */
static void
look_at_ends(struct salvage *s, uint64_t len, uint64_t number,
    const uint8_t id[16])
{
	const uint8_t *b = s->t->map;
	struct kv_table_shape shape;
	struct kv_table_tail tail;
	uint8_t head[KV_TABLE_HEAD];
	int known = 0;

	s->end = len;
	if (len >= KV_TABLE_HEAD + KV_TABLE_TAIL &&
	    kv_table_tail_decode(b + len - KV_TABLE_TAIL, len, &tail,
	    &shape) == NULL && tail.number == number &&
	    memcmp(tail.id, id, 16) == 0 &&
	    get_le64(b + len - KV_TABLE_TAIL + KV_TAIL_HASHED) ==
	    kv_table_tail_hash(b + len - KV_TABLE_TAIL, b + len -
	    KV_TABLE_TAIL - shape.keys_len, shape.keys_len)) {
		s->end = tail.data_len;
		s->t->codec = tail.codec;
		known = 1;
	} else if (len >= KV_TABLE_HEAD) {
		s->t->codec = b[KV_TABLE_HEAD_CODEC];
		kv_table_head_encode(head, id, number, s->t->codec);
		known = memcmp(head, b, sizeof(head)) == 0 &&
		    kv_codec_known(s->t->codec);
	}
	if (!known)
		s->t->codec = try_codecs(s);
	s->t->unit_shift = kv_unit_shift(s->t->codec);
}

static int
start(struct salvage *s)
{
	s->t = calloc(1, sizeof(*s->t) + 1);
	s->cache = kv_cache_new(CACHE_BYTES);
	s->key = malloc(KEVO_KEY_MAX);
	if (s->t == NULL || s->cache == NULL || s->key == NULL)
		return kv_fail(s->env, KEVO_ENOMEM, "out of memory");
	return 0;
}

int
kv_table_salvage(struct kv_env *env, const uint8_t *b, uint64_t len,
    uint64_t number, const uint8_t id[16], const struct kv_table_salvage *to)
{
	struct salvage s = { .env = env, .to = to };
	int rc = start(&s);

	if (rc == 0) {
		s.t->map = b;
		s.t->seed = kv_table_seed(id, number);
		look_at_ends(&s, len, number, id);
		rc = give_all(&s);
	}
	kv_cache_free(s.cache);
	free(s.key);
	free(s.t);
	return rc;
}
