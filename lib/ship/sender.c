/*
 * One thread does all of it.  It sleeps in kevo_feed_wait(), for at most the
 * time to the next beat, and so looks at the acknowledgements at least once a
 * second; while there is something to send it looks after each frame.  Nobody
 * waits for them: what they change is how long segments are kept.
 *
 * A receiver that waits for us to take its acknowledgements, while we wait for
 * it to take our frames, would wait for ever; so a receiver never does
 * (receiver.c), and we never have more than one frame under way between two
 * looks.
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "db.h"
#include "epoch.h"
#include "feed.h"
#include "record.h"
#include "role.h"
#include "seal.h"
#include "sender_work.h"
#include "ship.h"
#include "slots.h"

#define REC_TARGET	(1u << 20)	/* bytes of records in a frame */
#define REC_LEAST	(16u << 10)
#define BEAT_MS		1000
#define MOST_SEGMENTS	10000	/* whose sizes are looked up for a beat */
#define STORE_MS	1000		/* between two writes of the slot, */
#define CONTACT_MS	60000		/* if only the time is new */

/* ---- bytes out --------------------------------------------------------- */

/* What len bytes cost at the rate that was asked for. */
static void
charge(struct kv_sender *c, size_t len)
{
	int64_t now = kv_mono_ms();

	if (c->s->rate == 0)
		return;
	if (c->free_ms < now)
		c->free_ms = now;
	c->free_ms += (int64_t)(len * 1000 / c->s->rate);
}

/* Write all of it, or find that nobody reads. */
static int
write_all(struct kv_sender *c, struct iovec *v, int n)
{
	size_t total = 0;

	while (n > 0) {
		ssize_t w = writev(c->s->out_fd, v, n);

		if (w < 0 && errno == EINTR)
			continue;
		if (w < 0 && (errno == EPIPE || errno == ECONNRESET)) {
			c->out->gone = 1;
			return 0;
		}
		if (w < 0)
			return kv_fail_errno(&c->db->env, "the stream",
			    "write");
		total += (size_t)w;
		for (; n > 0 && (size_t)w >= v->iov_len; v++, n--)
			w -= (ssize_t)v->iov_len;
		if (n > 0) {
			v->iov_base = (uint8_t *)v->iov_base + w;
			v->iov_len -= (size_t)w;
		}
	}
	c->out->bytes += total;
	charge(c, total);
	return 0;
}

static int
put_frame(struct kv_sender *c, enum kv_stream_kind kind, const void *payload,
    size_t len)
{
	uint8_t head[KV_STREAM_HEAD], tail[KV_STREAM_TAIL];
	struct iovec v[] = { { head, sizeof(head) },
		{ (void *)(uintptr_t)payload, len }, { tail, sizeof(tail) } };

	if (c->out->gone)
		return 0;
	kv_stream_frame(&c->stream, kind, payload, len, head, tail);
	c->out->frames = c->stream.number;
	return write_all(c, v, 3);
}

static int
put_hello(struct kv_sender *c)
{
	struct iovec v = { (void *)(uintptr_t)KV_STREAM_MAGIC,
		KV_STREAM_MAGIC_LEN };
	struct kv_hello h = { .follow = c->s->follow,
		.clock_ns = kv_now_ns() };
	uint8_t buf[KV_STREAM_HELLO_LEN];
	struct kv_role_note role;
	int rc;

	if ((rc = kv_role_read(&c->db->env, &c->db->dir, &role)) != 0)
		return rc;
	h.primary = role.role == KV_ROLE_PRIMARY;
	h.start = c->out->at;
	memcpy(h.id, c->ident.id, 16);
	if (kv_stream_hello(&h, buf) != 0)
		return kv_fail(&c->db->env, KEVO_EIO,
		    "the system gives no random numbers");
	if ((rc = write_all(c, &v, 1)) != 0)
		return rc;
	return put_frame(c, KV_STREAM_HELLO, buf, sizeof(buf));
}

/* Send the epochs that were not sent yet. */
static int
put_epochs(struct kv_sender *c)
{
	char text[KV_EPOCH_TEXT_MAX];
	struct kv_history h;
	int rc;

	if ((rc = kv_history_of_db(&c->db->env, &c->db->dir, &c->ident,
	    &h)) != 0)
		return rc;
	for (size_t i = 0; i < h.n && rc == 0; i++) {
		if (h.v[i].epoch <= c->epochs_sent)
			continue;
		rc = put_frame(c, KV_STREAM_EPOCH, text,
		    kv_epoch_print(text, &h.v[i]));
		c->epochs_sent = h.v[i].epoch;
	}
	kv_history_release(&h);
	return rc;
}

/* ---- beats ------------------------------------------------------------- */

static uint64_t
segment_size(struct kv_sender *c, uint64_t counter)
{
	char name[KV_SEGMENT_NAME_LEN];
	struct stat st;

	kv_segment_name(name, counter);
	return fstatat(c->db->dir.fd, name, &st, 0) == 0 ?
	    (uint64_t)st.st_size : 0;
}

/*
 * About how many bytes of log are behind what was sent: the rest of this
 * segment, those between, and what is used of the newest.  Control is read
 * without a lock, so it may be nonsense for once.
 */
static uint64_t
unsent_bytes(struct kv_sender *c)
{
	struct kv_tail t;
	uint64_t sum;

	if (c->db->ctl == NULL || c->segment == 0)
		return 0;
	t = *kv_tail(c->db->ctl);
	if (t.segment < c->segment || t.segment - c->segment > MOST_SEGMENTS)
		return 0;
	if (c->segment == t.segment)
		return t.off > c->off ? t.off - c->off : 0;
	sum = segment_size(c, c->segment);
	sum = (sum > c->off ? sum - c->off : 0) + t.off;
	for (uint64_t n = c->segment + 1; n < t.segment; n++)
		sum += segment_size(c, n);
	return sum;
}

static int
put_beat(struct kv_sender *c)
{
	uint8_t buf[KV_STREAM_BEAT_LEN];
	struct kv_beat b = { .clock_ns = kv_now_ns() };
	int rc;

	c->beat_ms = kv_mono_ms() + BEAT_MS;
	if ((rc = kv_position_now(c->db, KV_AT_SYNCED, &b.end)) != 0)
		return rc;
	if (b.end.seq > c->out->at.seq)
		b.bytes = unsent_bytes(c);
	kv_stream_beat(&b, buf);
	return put_frame(c, KV_STREAM_BEAT, buf, sizeof(buf));
}

/* ---- acknowledgements -------------------------------------------------- */

/* Is this line for us, and does it say that something is on disk there? */
static int
counts(struct kv_sender *c, const struct kv_ack *a)
{
	if (c->s->slot != NULL && strcmp(a->slot, "-") != 0 &&
	    strcmp(a->slot, c->s->slot) != 0) {
		c->s->note("an acknowledgement of another slot is ignored");
		return 0;
	}
	return !a->none && a->stage != KV_ACK_RECEIVED;
}

void
kv_sender_note_ack(struct kv_sender *c, const struct kv_position *at)
{
	c->out->acked = *at;
	if (!kv_position_same(at, &c->stored) ||
	    kv_mono_ms() >= c->contact_ms)
		c->acked = *at;
}

/*
 * Write the newest acknowledgement into the slot.  An idle receiver says the
 * same again every second; that is no reason to write to the disk.
 */
static int
store_ack(struct kv_sender *c)
{
	int rc;

	if (c->s->slot == NULL || c->acked.epoch == 0)
		return 0;
	c->store_ms = kv_mono_ms() + STORE_MS;
	c->contact_ms = kv_mono_ms() + CONTACT_MS;
	c->stored = c->acked;
	c->acked.epoch = 0;
	rc = kv_slots_ack(c->db, c->s->slot, &c->stored);
	if (rc == KEVO_EHISTORY)
		return kv_ship_fail(&c->db->env, KV_SHIP_FORK, "slot %s: the "
		    "receiver acknowledges a position that this database "
		    "never had; nothing more is sent to it", c->s->slot);
	return rc;
}

static int
take_acks(struct kv_sender *c)
{
	struct kv_ack a;
	int got;

	if (c->s->ack_fd < 0)
		return 0;
	while ((got = kv_ack_read(&c->acks, c->s->ack_fd, 0, &a)) != 0) {
		if (got < 0)
			c->s->note("a line that is no acknowledgement is "
			    "ignored");
		else if (counts(c, &a))
			kv_sender_note_ack(c, &a.at);
	}
	return kv_mono_ms() >= c->store_ms ? store_ack(c) : 0;
}

/* ---- records ----------------------------------------------------------- */

/*
 * Sleep until the rate allows more.  The receiver goes on to hear where we
 * are: a commit may be so large that it takes hours, and who promotes the
 * replica meanwhile is to know that there are later ones.
 */
static int
pace(struct kv_sender *c)
{
	int64_t now;
	int rc;

	while ((now = kv_mono_ms()) < c->free_ms && !c->out->gone &&
	    !kv_sender_stopped(c)) {
		if (now >= c->beat_ms && ((rc = put_beat(c)) != 0 ||
		    (rc = take_acks(c)) != 0))
			return rc;
		poll(NULL, 0, c->free_ms - now > 100 ? 100 :
		    (int)(c->free_ms - now));
	}
	return 0;
}

/* Nothing else can be said while a frame is on its way. */
static int
takes_long(const struct kv_sender *c, size_t len)
{
	return len > REC_TARGET || (c->s->rate != 0 && len > c->s->rate);
}

/* Whole records, up to c->told. */
static int
put_records(struct kv_sender *c, const void *p, size_t len)
{
	int rc;

	if ((takes_long(c, len) && (rc = put_beat(c)) != 0) ||
	    (rc = put_frame(c, KV_STREAM_REC, p, len)) != 0)
		return rc;
	c->out->at = c->told;
	return (rc = take_acks(c)) != 0 ? rc : pace(c);
}

static int
flush_records(struct kv_sender *c)
{
	size_t len = c->rec_len;

	c->rec_len = 0;
	return len == 0 ? 0 : put_records(c, c->rec, len);
}

static void
note_record(struct kv_sender *c, const struct kv_feed_item *it)
{
	c->out->records++;
	c->told = (struct kv_position){ .epoch = it->head->epoch,
		.nonce = it->head->nonce, .seq = it->seq,
		.chain = it->chain };
	c->segment = it->head->counter;
	c->off = it->off + it->len;
}

static int
put_record(struct kv_sender *c, const struct kv_feed_item *it)
{
	int rc;

	if (it->len > c->rec_room - c->rec_len &&
	    (rc = flush_records(c)) != 0)
		return rc;
	note_record(c, it);
	if (it->len <= c->rec_room) {
		memcpy(c->rec + c->rec_len, it->bytes, it->len);
		c->rec_len += it->len;
		return 0;
	}
	return put_records(c, it->bytes, it->len);
}

static int
put_item(struct kv_sender *c, const struct kv_feed_item *it)
{
	int rc;

	if (it->kind == KV_FEED_RECORD)
		return put_record(c, it);
	if ((rc = flush_records(c)) != 0)
		return rc;
	if (it->kind == KV_FEED_SEAL)
		return put_frame(c, KV_STREAM_SEAL, it->bytes, it->len);
	if (it->head->epoch > c->epochs_sent && (rc = put_epochs(c)) != 0)
		return rc;
	return put_frame(c, KV_STREAM_SEG, it->bytes, it->len);
}

/* Send what there is, up to commit `until`, and the seal behind it. */
static int
pump(struct kv_sender *c, uint64_t until)
{
	struct kv_feed_item it;
	int rc;

	while (!c->out->gone && !kv_sender_stopped(c)) {
		if (kv_mono_ms() >= c->beat_ms && ((rc = flush_records(c)) !=
		    0 || (rc = put_beat(c)) != 0))
			return rc;
		if ((rc = kv_feed_step(c->feed, &it)) == KEVO_NOTFOUND ||
		    (it.kind == KV_FEED_RECORD && it.seq > until))
			break;
		if (rc != 0 || (rc = put_item(c, &it)) != 0)
			return rc;
	}
	return flush_records(c);
}

/* ---- going on ---------------------------------------------------------- */

static int
seal_if_old(struct kv_sender *c)
{
	return c->s->seal_after_ms < 0 ? 0 :
	    kv_seal_if_older(c->db, c->s->seal_after_ms);
}

static int
follow(struct kv_sender *c)
{
	int64_t left;
	int rc;

	while (!c->out->gone && !kv_sender_stopped(c)) {
		if ((rc = pump(c, UINT64_MAX)) != 0 ||
		    (rc = take_acks(c)) != 0 || (rc = seal_if_old(c)) < 0)
			return rc;
		left = c->beat_ms - kv_mono_ms();
		rc = kevo_feed_wait(c->feed, left > 0 && rc == 0 ? left : 0);
		if (rc < 0)
			return rc;
	}
	return 0;
}

/* Everything up to what is on disk now. */
static int
once(struct kv_sender *c)
{
	uint64_t until;
	int rc;

	if ((rc = kv_feed_limit(c->feed, &until)) != 0 ||
	    (rc = pump(c, until)) != 0)
		return rc;
	if ((rc = seal_if_old(c)) > 0)
		rc = pump(c, UINT64_MAX);
	return rc;
}

static int
put_bye(struct kv_sender *c)
{
	uint8_t buf[KV_STREAM_BYE_LEN];

	kv_stream_bye(&c->stream, &c->out->at, buf);
	return put_frame(c, KV_STREAM_BYE, buf, sizeof(buf));
}

/* After BYE the receiver says what it has, and then closes. */
static int
last_acks(struct kv_sender *c)
{
	int64_t until = kv_mono_ms() + KV_FIRST_ACK_MS, left;
	int rc = 0;

	while (c->s->ack_fd >= 0 && c->s->slot != NULL && rc == 0 &&
	    !c->acks.ended && c->out->acked.seq < c->out->at.seq &&
	    (left = until - kv_mono_ms()) > 0) {
		struct pollfd p = { .fd = c->s->ack_fd, .events = POLLIN };

		(void)poll(&p, 1, (int)left);
		rc = take_acks(c);
	}
	return rc != 0 ? rc : store_ack(c);
}

static int
send_all(struct kv_sender *c)
{
	int rc;

	if ((rc = kv_sender_begin(c)) != 0 || (rc = put_hello(c)) != 0 ||
	    (rc = put_epochs(c)) != 0 || (rc = put_beat(c)) != 0)
		return rc;
	rc = c->s->follow ? follow(c) : once(c);
	if (rc == KEVO_EHISTORY)
		return kv_sender_gap(c, c->told.seq);
	if (rc != 0 || (rc = put_bye(c)) != 0)
		return rc;
	return last_acks(c);
}

static size_t
frame_target(uint64_t rate)
{
	uint64_t half = rate / 2;

	if (rate == 0 || half > REC_TARGET)
		return REC_TARGET;
	return half < REC_LEAST ? REC_LEAST : (size_t)half;
}

int
kv_send(struct kevo *db, const struct kv_send *s, struct kv_sent *out)
{
	struct kv_sender c = { .db = db, .s = s, .out = out };
	int rc;

	memset(out, 0, sizeof(*out));
	if ((rc = kv_ident_read(&db->env, &db->dir, &c.ident)) != 0)
		return rc;
	if (s->slot != NULL)
		snprintf(c.dir, sizeof(c.dir), "slots/%s", s->slot);
	c.rec_room = frame_target(s->rate);
	if ((c.rec = malloc(c.rec_room)) == NULL)
		return kv_fail(&db->env, KEVO_ENOMEM, "out of memory");
	rc = send_all(&c);
	if (c.feed != NULL)
		kevo_feed_close(c.feed);
	free(c.rec);
	return rc;
}
