#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "coding.h"
#include "env.h"
#include "kevo.h"
#include "receiver.h"
#include "record.h"
#include "segment.h"
#include "ship.h"

#define SILENCE_MS	15000	/* without a beat the link is dead */
#define BATCH_MS	100	/* a sync is due, if more comes all the time */

struct receiver {
	struct kv_dest *k;
	const struct kv_recv *r;
	struct kv_recv_state *st;
	struct kv_stream_in *in;
	struct kv_segment_head head;	/* of the segment; counter of use: */
	int have_head;
	struct kv_position pos;	/* behind the last record that came */
	uint64_t pending;	/* bytes given to it since its sync */
	int64_t pending_ms;	/* when the first of them was */
	int ack_fd;
	char ack[KV_ACK_MAX];	/* not yet written */
	size_t ack_len;
};

/* ---- telling ----------------------------------------------------------- */

static int
writable(int fd, int wait_ms)
{
	struct pollfd p = { .fd = fd, .events = POLLOUT };

	return poll(&p, 1, wait_ms) > 0;
}

/* A pipe that has room for anything has room for a line. */
static void
push_ack(struct receiver *c, int wait_ms)
{
	ssize_t n;

	if (c->ack_fd < 0 || c->ack_len == 0 || !writable(c->ack_fd, wait_ms))
		return;
	n = write(c->ack_fd, c->ack, c->ack_len);
	if (n < 0 && errno != EINTR && errno != EAGAIN)
		c->ack_fd = -1;		/* nobody listens any more */
	else if (n > 0 && (size_t)n < c->ack_len) {
		c->ack_len -= (size_t)n;
		memmove(c->ack, c->ack + n, c->ack_len);
	} else if (n > 0)
		c->ack_len = 0;
}

static void
say(struct receiver *c, const struct kv_position *at, enum kv_ack_stage stage)
{
	struct kv_ack a = { .none = at->epoch == 0, .at = *at,
		.stage = stage, .time_ns = kv_now_ns() };

	if (c->ack_fd < 0)
		return;
	if (c->ack_len > 0 && strncmp(c->ack, "ack ", 4) != 0)
		push_ack(c, 1000);	/* the rest of a line */
	strcpy(a.slot, c->r->slot != NULL ? c->r->slot : "-");
	c->ack_len = kv_ack_print(c->ack, &a);
	push_ack(c, 0);
}

static void
watch(struct receiver *c)
{
	if (c->r->watch != NULL)
		c->r->watch(c->r->arg, c->st);
}

static int
sync_batch(struct receiver *c)
{
	int rc;

	if (c->pending == 0)
		return 0;
	say(c, &c->pos, KV_ACK_RECEIVED);
	c->pending = 0;
	if ((rc = c->k->sync(c->k)) != 0)
		return rc;
	say(c, &c->k->at, c->k->stage);
	watch(c);
	return 0;
}

/* ---- frames ------------------------------------------------------------ */

/* Frame hashes, order, and that the records fill the payload; the chain is the
 * destination's business.  Moves the position behind them. */
static int
walk(struct receiver *c, const struct kv_stream_got *g)
{
	const uint8_t *p = g->payload;
	size_t left = g->len;
	struct kv_frame f;

	while (left > 0) {
		uint64_t n;

		if (left < KV_FRAME_LEN ||
		    kv_frame_decode(p, &f, c->head.nonce) != 0 ||
		    (n = kv_record_len(f.payload_len)) > left)
			return kv_ship_fail(c->k->env, KV_SHIP_CORRUPT,
			    "stream: frame %" PRIu64 ": the record behind "
			    "commit %" PRIu64 " does not verify; nothing of "
			    "the frame was used", g->number, c->pos.seq);
		if (f.seq != c->pos.seq + 1)
			return kv_ship_fail(c->k->env, KV_SHIP_GAP, "stream: "
			    "frame %" PRIu64 ": need %" PRIu64 ", found %"
			    PRIu64 "; nothing of the frame was used",
			    g->number, c->pos.seq + 1, f.seq);
		c->pos.seq = f.seq;
		c->pos.chain = get_le64(p + n - KV_TRAILER_LEN);
		c->st->records++;
		p += n;
		left -= n;
	}
	return 0;
}

static int
misplaced(struct receiver *c, const struct kv_stream_got *g,
    const char *what)
{
	return kv_ship_fail(c->k->env, KV_SHIP_CORRUPT, "stream: frame %"
	    PRIu64 ": %s", g->number, what);
}

static void
give(struct receiver *c, size_t len)
{
	if (c->pending == 0)
		c->pending_ms = kv_mono_ms();
	c->pending += len;
}

static int
on_records(struct receiver *c, const struct kv_stream_got *g)
{
	struct kv_position before = c->pos;
	int rc;

	if (!c->have_head)
		return misplaced(c, g, "records without a segment");
	before.epoch = c->head.epoch;
	before.nonce = c->head.nonce;
	c->pos = before;
	if ((rc = walk(c, g)) != 0)
		return rc;
	give(c, g->len);
	rc = c->k->records(c->k, &before, g->payload, g->len);
	return rc != 0 || kv_mono_ms() - c->pending_ms < BATCH_MS ? rc :
	    sync_batch(c);
}

static int
on_segment(struct receiver *c, const struct kv_stream_got *g)
{
	if (kv_segment_head_decode(g->payload, &c->head) != 0)
		return misplaced(c, g, "the header does not verify");
	if (c->head.first_seq > c->pos.seq + 1)
		return misplaced(c, g, "the segment begins too late");
	c->have_head = 1;
	return c->k->segment(c->k, &c->head, g->payload, c->pos.seq);
}

static int
on_hello(struct receiver *c, const struct kv_stream_got *g)
{
	c->pos = g->hello.start;
	c->have_head = 0;
	c->st->follow = g->hello.follow;
	return c->k->begin(c->k, &g->hello);
}

static int
on_beat(struct receiver *c, const struct kv_stream_got *g)
{
	int rc;

	if ((rc = sync_batch(c)) != 0)
		return rc;
	c->st->beat = g->beat;
	if ((rc = c->k->beat(c->k, &g->beat)) != 0)
		return rc;
	say(c, &c->k->at, c->k->stage);
	watch(c);
	return 0;
}

static int
on_seal(struct receiver *c, const struct kv_stream_got *g)
{
	if (!c->have_head)
		return misplaced(c, g, "a seal without a segment");
	c->have_head = 0;
	give(c, g->len);
	return c->k->seal(c->k, g->payload);
}

static int
on_bye(struct receiver *c, const struct kv_stream_got *g)
{
	if (g->bye.end.seq != c->pos.seq || g->bye.end.chain != c->pos.chain)
		return misplaced(c, g, "it ends at another position than its "
		    "records");
	c->st->follow = 0;
	return sync_batch(c);
}

static int
on_frame(struct receiver *c, const struct kv_stream_got *g)
{
	switch (g->kind) {
	case KV_STREAM_HELLO:
		return on_hello(c, g);
	case KV_STREAM_EPOCH:
		return c->k->epoch(c->k, (const char *)g->payload, g->len);
	case KV_STREAM_SEG:
		return on_segment(c, g);
	case KV_STREAM_REC:
		return on_records(c, g);
	case KV_STREAM_SEAL:
		return on_seal(c, g);
	case KV_STREAM_BEAT:
		return on_beat(c, g);
	case KV_STREAM_BYE:
		return on_bye(c, g);
	}
	return misplaced(c, g, "of no known kind");
}

/* ---- bytes ------------------------------------------------------------- */

/* All frames that are there.  0: more bytes are needed. */
static int
take_frames(struct receiver *c)
{
	struct kv_stream_got g;
	int rc;

	while ((rc = kv_stream_next(c->k->env, c->in, &g)) == 1) {
		c->st->contact_ns = kv_now_ns();
		if ((rc = on_frame(c, &g)) != 0)
			return rc;
	}
	if (rc == KEVO_ECORRUPT) {
		struct kv_env why = *c->k->env;

		return kv_ship_fail(c->k->env, KV_SHIP_CORRUPT, "%s; nothing "
		    "from there on was used", why.msg);
	}
	return rc;
}

/* Wait for input, after what has come is on disk.  1: there is some, or its
 * end. */
static int
await(struct receiver *c)
{
	struct pollfd p = { .fd = c->r->in_fd, .events = POLLIN };
	int n, rc;

	if (poll(&p, 1, 0) > 0)
		return 1;
	if ((rc = sync_batch(c)) != 0)
		return rc;
	push_ack(c, 0);
	n = poll(&p, 1, c->st->follow ? SILENCE_MS : -1);
	if (n > 0 || (n < 0 && errno == EINTR))
		return n > 0;
	if (n < 0)
		return kv_ship_fail_errno(c->k->env, "stream", "wait for");
	return kv_ship_fail(c->k->env, KV_SHIP_REMOTE, "stream: nothing came "
	    "for %d s, not even a beat", SILENCE_MS / 1000);
}

/* 1: some bytes came; 0: the end. */
static int
read_some(struct receiver *c)
{
	size_t room;
	uint8_t *p = kv_stream_room(c->in, &room);
	ssize_t n;

	if (p == NULL)
		return kv_fail(c->k->env, KEVO_ENOMEM, "out of memory");
	n = read(c->r->in_fd, p, room);
	if (n > 0)
		kv_stream_add(c->in, (size_t)n);
	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return 1;
	if (n < 0)
		return kv_ship_fail_errno(c->k->env, "stream", "read");
	return n > 0;
}

static int
at_end(struct receiver *c)
{
	int rc;

	if ((rc = sync_batch(c)) != 0)
		return rc;
	if (kv_stream_ended(c->in))
		return 0;
	return kv_ship_fail(c->k->env, KV_SHIP_SHORT, "stream: ended after "
	    "frame %" PRIu64 " without BYE; the %" PRIu64 " commit%s that came "
	    "before %s used", kv_stream_number(c->in), c->st->records,
	    c->st->records == 1 ? "" : "s", c->st->records == 1 ? "was" :
	    "were");
}

/* What was read before belongs to the input. */
static int
add_first(struct receiver *c)
{
	const uint8_t *from = c->r->first;
	size_t room, left = c->r->first_len;

	while (left > 0) {
		uint8_t *p = kv_stream_room(c->in, &room);

		if (p == NULL)
			return kv_fail(c->k->env, KEVO_ENOMEM, "out of "
			    "memory");
		room = room < left ? room : left;
		memcpy(p, from, room);
		kv_stream_add(c->in, room);
		from += room;
		left -= room;
	}
	return take_frames(c);
}

static int
receive(struct receiver *c)
{
	int rc;

	say(c, &c->k->at, c->k->stage);
	if (c->r->first_len > 0 && (rc = add_first(c)) != 0)
		return rc;
	while (!c->r->stopped()) {
		if ((rc = await(c)) < 0 || rc > 1)
			return rc;
		if (rc == 0)
			continue;
		if ((rc = read_some(c)) == 0)
			return at_end(c);
		if (rc != 1 || (rc = take_frames(c)) != 0)
			return rc;
	}
	return sync_batch(c);
}

int
kv_recv(struct kv_dest *k, const struct kv_recv *r, struct kv_recv_state *out)
{
	struct receiver c = { .k = k, .r = r, .st = out,
		.ack_fd = r->ack_fd };
	int rc;

	memset(out, 0, sizeof(*out));
	out->dest = k;
	if ((c.in = kv_stream_in_new()) == NULL)
		return kv_fail(k->env, KEVO_ENOMEM, "out of memory");
	rc = receive(&c);
	if (rc != 0 && c.pending > 0) {
		struct kv_env why = *k->env;

		(void)sync_batch(&c);
		*k->env = why;
	}
	push_ack(&c, 1000);
	kv_stream_in_free(c.in);
	return rc;
}
