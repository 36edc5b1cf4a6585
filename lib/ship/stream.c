#include <stdlib.h>
#include <string.h>

#include "coding.h"
#include "env.h"
#include "hash.h"
#include "kevo.h"
#include "record.h"
#include "segment.h"
#include "stream.h"

#define FIRST_ROOM	(256u << 10)
#define REC_MAX		(KV_FRAME_LEN + KV_PAYLOAD_MAX + KV_TRAILER_LEN)
#define REC_MIN		(KV_FRAME_LEN + KV_PAYLOAD_HEAD + KV_TRAILER_LEN)
#define FOLLOW		1u	/* features in HELLO */
#define PRIMARY		2u

static const struct limit {
	uint32_t min, max, step;
} limits[] = {
	[KV_STREAM_HELLO] = { KV_STREAM_HELLO_LEN, KV_STREAM_HELLO_LEN, 1 },
	[KV_STREAM_EPOCH] = { 1, KV_STREAM_EPOCH_MAX, 1 },
	[KV_STREAM_SEG] = { KV_SEGMENT_HEAD, KV_SEGMENT_HEAD, 1 },
	[KV_STREAM_REC] = { REC_MIN, REC_MAX, 8 },
	[KV_STREAM_SEAL] = { KV_SEAL_LEN, KV_SEAL_LEN, 1 },
	[KV_STREAM_BEAT] = { KV_STREAM_BEAT_LEN, KV_STREAM_BEAT_LEN, 1 },
	[KV_STREAM_BYE] = { KV_STREAM_BYE_LEN, KV_STREAM_BYE_LEN, 1 }
};

#define KINDS	(sizeof(limits) / sizeof(limits[0]))

/* ---- payloads ---------------------------------------------------------- */

static void
put_position(uint8_t *p, const struct kv_position *pos)
{
	put_le32(p, pos->epoch);
	put_le32(p + 4, 0);
	put_le64(p + 8, pos->nonce);
	put_le64(p + 16, pos->seq);
	put_le64(p + 24, pos->chain);
}

static int
get_position(const uint8_t *p, struct kv_position *pos)
{
	pos->epoch = get_le32(p);
	pos->nonce = get_le64(p + 8);
	pos->seq = get_le64(p + 16);
	pos->chain = get_le64(p + 24);
	return get_le32(p + 4) == 0 && pos->epoch != 0;
}

int
kv_stream_hello(const struct kv_hello *h, uint8_t buf[KV_STREAM_HELLO_LEN])
{
	memcpy(buf, h->id, 16);
	if (kv_random(buf + 16, 8) != 0)
		return -1;
	put_position(buf + 24, &h->start);
	put_le32(buf + 56, (h->follow ? FOLLOW : 0) |
	    (h->primary ? PRIMARY : 0));
	put_le32(buf + 60, 0);
	put_le64(buf + 64, h->clock_ns);
	return 0;
}

void
kv_stream_beat(const struct kv_beat *b, uint8_t buf[KV_STREAM_BEAT_LEN])
{
	put_position(buf, &b->end);
	put_le64(buf + 32, b->bytes);
	put_le64(buf + 40, b->clock_ns);
}

void
kv_stream_bye(const struct kv_stream_out *s, const struct kv_position *end,
    uint8_t buf[KV_STREAM_BYE_LEN])
{
	put_position(buf, end);
	put_le64(buf + 32, s->number + 1);
}

static int
parse_hello(struct kv_stream_got *g)
{
	uint32_t features = get_le32(g->payload + 56);
	uint32_t reserved = get_le32(g->payload + 60);

	memcpy(g->hello.id, g->payload, 16);
	g->hello.follow = (features & FOLLOW) != 0;
	g->hello.primary = (features & PRIMARY) != 0;
	g->hello.clock_ns = get_le64(g->payload + 64);
	return get_position(g->payload + 24, &g->hello.start) &&
	    (features & ~(FOLLOW | PRIMARY)) == 0 && reserved == 0;
}

/* 1 if the payload is as its kind says; records, headers and texts are for
 * others. */
static int
parse(struct kv_stream_got *g)
{
	switch (g->kind) {
	case KV_STREAM_HELLO:
		return parse_hello(g);
	case KV_STREAM_BEAT:
		g->beat.bytes = get_le64(g->payload + 32);
		g->beat.clock_ns = get_le64(g->payload + 40);
		return get_position(g->payload, &g->beat.end);
	case KV_STREAM_BYE:
		g->bye.frames = get_le64(g->payload + 32);
		return get_position(g->payload, &g->bye.end) &&
		    g->bye.frames == g->number;
	default:
		return 1;
	}
}

/* ---- writing ----------------------------------------------------------- */

void
kv_stream_frame(struct kv_stream_out *s, enum kv_stream_kind kind,
    const void *payload, size_t len, uint8_t head[KV_STREAM_HEAD],
    uint8_t tail[KV_STREAM_TAIL])
{
	head[0] = (uint8_t)kind;
	head[1] = 0;
	put_le16(head + 2, 0);
	put_le32(head + 4, (uint32_t)len);
	put_le64(head + 8, ++s->number);
	put_le64(head + 16, kv_hash(head, 16, s->seed));
	put_le64(tail, kv_hash(payload, len, get_le64(head + 16)));
	if (kind == KV_STREAM_HELLO)
		s->seed = get_le64(tail);
}

/* ---- reading ----------------------------------------------------------- */

enum state { AT_MAGIC, AT_HELLO, AT_FRAME };

struct kv_stream_in {
	uint8_t *buf;
	size_t pos, end, room;
	enum state state;
	int streams;		/* that ended with BYE */
	int bad;
	uint64_t seed;
	uint64_t number;
};

struct kv_stream_in *
kv_stream_in_new(void)
{
	struct kv_stream_in *in = calloc(1, sizeof(*in));

	if (in == NULL)
		return NULL;
	in->room = FIRST_ROOM;
	if ((in->buf = malloc(in->room)) == NULL) {
		free(in);
		return NULL;
	}
	return in;
}

void
kv_stream_in_free(struct kv_stream_in *in)
{
	if (in == NULL)
		return;
	free(in->buf);
	free(in);
}

static int
resize(struct kv_stream_in *in, size_t room)
{
	uint8_t *p = realloc(in->buf, room);

	if (p == NULL)
		return -1;
	in->buf = p;
	in->room = room;
	return 0;
}

/*
 * The buffer is full of one frame's bytes: twice as much, or what the frame
 * needs.  So it is never more than twice as large as what has come.
 */
static size_t
larger(const struct kv_stream_in *in)
{
	size_t need = KV_STREAM_HEAD + KV_STREAM_TAIL +
	    (size_t)get_le32(in->buf + 4);

	return need > in->room && need < 2 * in->room ? need : 2 * in->room;
}

uint8_t *
kv_stream_room(struct kv_stream_in *in, size_t *room)
{
	if (in->pos > 0) {
		memmove(in->buf, in->buf + in->pos, in->end - in->pos);
		in->end -= in->pos;
		in->pos = 0;
	}
	if (in->end == in->room && resize(in, larger(in)) != 0)
		return NULL;
	if (in->end < FIRST_ROOM / 2 && in->room > 8 * FIRST_ROOM)
		(void)resize(in, FIRST_ROOM);
	*room = in->room - in->end;
	return in->buf + in->end;
}

void
kv_stream_add(struct kv_stream_in *in, size_t n)
{
	in->end += n;
}

static int
bad(struct kv_env *env, struct kv_stream_in *in, const char *what)
{
	in->bad = 1;
	return kv_fail(env, KEVO_ECORRUPT, "stream: frame %llu: %s",
	    (unsigned long long)(in->number + 1), what);
}

static int
take_magic(struct kv_env *env, struct kv_stream_in *in)
{
	size_t have = in->end - in->pos, n = KV_STREAM_MAGIC_LEN;

	if (have < n)
		n = have;
	if (memcmp(in->buf + in->pos, KV_STREAM_MAGIC, n) != 0) {
		in->bad = 1;
		return kv_fail(env, KEVO_ECORRUPT, in->streams > 0 ?
		    "stream: something else follows after its end" :
		    "stream: does not begin with KEVOSHIP 1");
	}
	if (n < KV_STREAM_MAGIC_LEN)
		return 0;
	in->pos += n;
	in->state = AT_HELLO;
	in->seed = 0;
	in->number = 0;
	return 1;
}

/* NULL if the head may come here and says what can be. */
static const char *
wrong_head(const struct kv_stream_in *in, const uint8_t *h)
{
	uint32_t kind = h[0], len = get_le32(h + 4);

	if (get_le64(h + 16) != kv_hash(h, 16, in->seed))
		return "its head does not verify";
	if (get_le64(h + 8) != in->number + 1)
		return get_le64(h + 8) > in->number ?
		    "a frame before it is missing" : "it came before";
	if (kind >= KINDS || limits[kind].max == 0 || h[1] != 0 ||
	    get_le16(h + 2) != 0)
		return "of no known kind";
	if (len < limits[kind].min || len > limits[kind].max ||
	    len % limits[kind].step != 0)
		return "its length is out of range";
	if ((kind == KV_STREAM_HELLO) != (in->state == AT_HELLO))
		return "it may not come here";
	return NULL;
}

static int
take_frame(struct kv_env *env, struct kv_stream_in *in,
    struct kv_stream_got *g)
{
	const uint8_t *h = in->buf + in->pos;
	size_t have = in->end - in->pos;
	const char *wrong;

	if (have < KV_STREAM_HEAD)
		return 0;
	if ((wrong = wrong_head(in, h)) != NULL)
		return bad(env, in, wrong);
	g->kind = (enum kv_stream_kind)h[0];
	g->number = in->number + 1;
	g->payload = h + KV_STREAM_HEAD;
	g->len = get_le32(h + 4);
	if (have - KV_STREAM_HEAD < g->len + KV_STREAM_TAIL)
		return 0;
	if (get_le64(g->payload + g->len) !=
	    kv_hash(g->payload, g->len, get_le64(h + 16)))
		return bad(env, in, "its payload does not verify");
	if (!parse(g))
		return bad(env, in, "its payload makes no sense");
	return 1;
}

int
kv_stream_next(struct kv_env *env, struct kv_stream_in *in,
    struct kv_stream_got *g)
{
	int rc;

	if (in->bad)
		return KEVO_ECORRUPT;
	if (in->state == AT_MAGIC && (rc = take_magic(env, in)) != 1)
		return rc;
	if ((rc = take_frame(env, in, g)) != 1)
		return rc;
	in->pos += KV_STREAM_HEAD + g->len + KV_STREAM_TAIL;
	in->number++;
	if (g->kind == KV_STREAM_HELLO) {
		in->seed = get_le64(g->payload + g->len);
		in->state = AT_FRAME;
	} else if (g->kind == KV_STREAM_BYE) {
		in->streams++;
		in->state = AT_MAGIC;
	}
	return 1;
}

uint64_t
kv_stream_number(const struct kv_stream_in *in)
{
	return in->number;
}

int
kv_stream_ended(const struct kv_stream_in *in)
{
	return !in->bad && in->streams > 0 && in->state == AT_MAGIC &&
	    in->pos == in->end;
}
