/*
 * receiver_test: streams whose frames are whole and whose contents are not
 * to be trusted; what reaches the destination, and what is said back.
 */
#include "ship/receiver.h"

#include <errno.h>
#include <signal.h>

#include "env.h"
#include "kevo.h"
#include "record.h"
#include "segment.h"
#include "ship/ship.h"
#include "tap.h"

#define NONCE	0xfedcba9876543210u
#define RECORD	64	/* bytes of each */

static struct kv_env env;

/* ---- a destination ----------------------------------------------------- */

static struct dest {
	struct kv_dest k;
	int begins, epochs, segments, seals, syncs, beats;
	size_t bytes;		/* of records */
	uint64_t before;	/* where the first ones were to go */
	struct kv_position seen;
} d;

static int refuse;		/* what records() returns */

static int
d_begin(struct kv_dest *k, const struct kv_hello *h)
{
	(void)k;
	(void)h;
	d.begins++;
	return 0;
}

static int
d_epoch(struct kv_dest *k, const char *text, size_t len)
{
	(void)k;
	d.epochs += len == 5 && memcmp(text, "epoch", 5) == 0;
	return 0;
}

static int
d_segment(struct kv_dest *k, const struct kv_segment_head *h,
    const uint8_t *raw, uint64_t after)
{
	(void)k;
	(void)raw;
	d.segments += h->nonce == NONCE && after >= h->first_seq - 1;
	return 0;
}

static int
d_records(struct kv_dest *k, const struct kv_position *before,
    const uint8_t *p, size_t len)
{
	(void)k;
	if (d.bytes == 0)
		d.before = before->seq;
	d.bytes += len;
	d.seen = *before;
	d.seen.seq += len / RECORD;
	d.seen.chain = get_le64(p + len - 8);
	return refuse;
}

static int
d_seal(struct kv_dest *k, const uint8_t *seal)
{
	(void)k;
	(void)seal;
	d.seals++;
	return 0;
}

static int
d_sync(struct kv_dest *k)
{
	d.syncs++;
	k->at = d.seen;
	return 0;
}

static int
d_beat(struct kv_dest *k, const struct kv_beat *b)
{
	(void)k;
	(void)b;
	d.beats++;
	return 0;
}

/* ---- a stream ---------------------------------------------------------- */

static uint8_t bytes[65536];
static size_t len;
static struct kv_stream_out out;

static void
add(enum kv_stream_kind kind, const void *payload, size_t n)
{
	uint8_t *p = bytes + len;

	memcpy(p + KV_STREAM_HEAD, payload, n);
	kv_stream_frame(&out, kind, payload, n, p, p + KV_STREAM_HEAD + n);
	len += KV_STREAM_HEAD + n + KV_STREAM_TAIL;
}

static struct kv_position
position(uint64_t seq)
{
	return (struct kv_position){ .epoch = 1, .nonce = NONCE,
		.seq = seq, .chain = seq * 1000 };
}

/* Magic, HELLO behind commit `start`, one epoch. */
static void
begin(uint64_t start)
{
	struct kv_hello h = { .start = position(start) };
	uint8_t b[KV_STREAM_HELLO_LEN];

	memset(&out, 0, sizeof(out));
	memcpy(bytes, KV_STREAM_MAGIC, KV_STREAM_MAGIC_LEN);
	len = KV_STREAM_MAGIC_LEN;
	if (kv_stream_hello(&h, b) != 0)
		tap_bail("no random bits");
	add(KV_STREAM_HELLO, b, sizeof(b));
	add(KV_STREAM_EPOCH, "epoch", 5);
}

static void
add_head(uint64_t first)
{
	struct kv_segment_head h = { .epoch = 1, .nonce = NONCE,
		.first_seq = first, .counter = 1, .capacity = 4096 };
	uint8_t b[KV_SEGMENT_HEAD];

	kv_segment_head_encode(b, &h);
	add(KV_STREAM_SEG, b, sizeof(b));
}

/* A record whose frame verifies; its chain value is a thousand times its
 * number. */
static void
record(uint8_t *p, uint64_t seq, uint32_t payload_len, uint64_t nonce)
{
	struct kv_frame f = { .payload_len = payload_len,
		.type = KV_RECORD_COMMIT, .seq = seq };

	memset(p, 0, RECORD);
	kv_frame_encode(p, &f, nonce);
	put_le64(p + RECORD - 8, seq * 1000);
}

static void
add_records(uint64_t first, int n)
{
	uint8_t b[16 * RECORD];

	for (int i = 0; i < n; i++)
		record(b + i * RECORD, first + (uint64_t)i, 16, NONCE);
	add(KV_STREAM_REC, b, (size_t)n * RECORD);
}

static void
add_seal(void)
{
	uint8_t b[KV_SEAL_LEN] = { 0 };

	add(KV_STREAM_SEAL, b, sizeof(b));
}

static void
add_beat(uint64_t seq)
{
	struct kv_beat beat = { .end = position(seq), .clock_ns = 5 };
	uint8_t b[KV_STREAM_BEAT_LEN];

	kv_stream_beat(&beat, b);
	add(KV_STREAM_BEAT, b, sizeof(b));
}

static void
add_bye(uint64_t seq)
{
	struct kv_position p = position(seq);
	uint8_t b[KV_STREAM_BYE_LEN];

	kv_stream_bye(&out, &p, b);
	add(KV_STREAM_BYE, b, sizeof(b));
}

/* ---- receiving it ------------------------------------------------------ */

static int
never(void)
{
	return 0;
}

static struct kv_recv_state state;

static int
receive(int ack_fd)
{
	struct kv_recv r = { .ack_fd = ack_fd, .slot = "r1",
		.stopped = never };
	char name[256];
	int fd, rc;

	memset(&d, 0, sizeof(d));
	d.k = (struct kv_dest){ .env = &env, .stage = KV_ACK_SYNCED,
		.begin = d_begin, .epoch = d_epoch, .segment = d_segment,
		.records = d_records, .seal = d_seal, .sync = d_sync,
		.beat = d_beat };
	env.msg[0] = '\0';
	snprintf(name, sizeof(name), "%s/stream", tap_dir);
	fd = open(name, O_RDWR | O_CREAT | O_TRUNC, 0600);
	if (fd < 0 || write(fd, bytes, len) != (ssize_t)len)
		tap_bail("cannot write the stream");
	lseek(fd, 0, SEEK_SET);
	r.in_fd = fd;
	rc = kv_recv(&d.k, &r, &state);
	close(fd);
	return rc;
}

/* The stream so far is refused so, and of records only these bytes, before
 * what is wrong, were handed on. */
static int
refused(int class, size_t handed)
{
	int rc;

	add_bye(99);
	rc = receive(-1);
	if (rc == class && d.bytes == handed && env.msg[0] != '\0')
		return 1;
	tap_note("%d, %zu bytes: %s", rc, d.bytes, env.msg);
	return 0;
}

static void
test_good(void)
{
	begin(4);
	add_head(5);
	add_records(5, 3);
	add_records(8, 1);
	add_seal();
	add_beat(9);
	add_head(9);
	add_records(9, 1);
	add_bye(9);
	expect(receive(-1) == 0);
	expect(d.begins == 1 && d.epochs == 1 && d.segments == 2 &&
	    d.seals == 1 && d.beats == 1);
	expect(d.bytes == 5 * RECORD && d.before == 4 && d.syncs >= 1);
	expect(d.k.at.seq == 9 && state.records == 5 &&
	    state.beat.end.seq == 9);
	tap_report("recv: what is sound reaches the destination, in order");
	for (size_t cut = 0; cut < len; cut++) {
		size_t whole = len;
		int rc;

		len = cut;
		rc = receive(-1);
		len = whole;
		if (!expect(rc == KV_SHIP_SHORT && d.bytes % RECORD == 0 &&
		    (d.bytes == 0 || d.k.at.seq == 4 + d.bytes / RECORD)))
			tap_note("cut at %zu: %d", cut, rc);
	}
	tap_report("recv: without BYE it is short, and what came is synced");
}

static void
test_order(void)
{
	begin(4);
	add_records(5, 1);
	expect(refused(KV_SHIP_CORRUPT, 0));
	begin(4);
	add_seal();
	expect(refused(KV_SHIP_CORRUPT, 0) && d.seals == 0);
	begin(4);
	add_head(5);
	add_records(5, 1);
	add_seal();
	add_records(6, 1);
	expect(refused(KV_SHIP_CORRUPT, RECORD));
	begin(4);
	add_head(6);
	expect(refused(KV_SHIP_CORRUPT, 0) && d.segments == 0);
	begin(4);
	add_head(5);
	add_records(5, 1);
	add_bye(6);
	expect(receive(-1) == KV_SHIP_CORRUPT);
	tap_report("recv: frames in a place that makes no sense are refused");
}

static void
test_heads(void)
{
	uint8_t b[KV_SEGMENT_HEAD];
	size_t at;

	begin(4);
	at = len;
	add_head(5);
	memcpy(b, bytes + at + KV_STREAM_HEAD, sizeof(b));
	for (size_t bit = 0; bit < sizeof(b) * 8; bit++) {
		b[bit / 8] ^= (uint8_t)(1u << bit % 8);
		begin(4);
		add(KV_STREAM_SEG, b, sizeof(b));
		expect(refused(KV_SHIP_CORRUPT, 0) && d.segments == 0);
		b[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	tap_report("recv: a segment's header is verified");
}

static void
test_records(void)
{
	uint8_t b[4 * RECORD];

	begin(4);
	add_head(5);
	add_records(6, 1);
	expect(refused(KV_SHIP_GAP, 0));
	begin(4);
	add_head(5);
	add_records(5, 2);
	add_records(6, 1);
	expect(refused(KV_SHIP_GAP, 2 * RECORD));
	begin(4);
	add_head(5);
	record(b, 5, 16, NONCE);
	record(b + RECORD, 7, 16, NONCE);
	add(KV_STREAM_REC, b, 2 * RECORD);
	expect(refused(KV_SHIP_GAP, 0));
	tap_report("recv: a missing or repeated record is a gap");
	begin(4);
	add_head(5);
	record(b, 5, 16, NONCE + 1);
	add(KV_STREAM_REC, b, RECORD);
	expect(refused(KV_SHIP_CORRUPT, 0));
	for (uint32_t n = 0; n < 200; n++) {
		begin(4);
		add_head(5);
		record(b, 5, n, NONCE);
		memset(b + RECORD, 0, RECORD);
		add(KV_STREAM_REC, b, 2 * RECORD);
		/* only one length fills both, and then BYE is wrong */
		expect(refused(KV_SHIP_CORRUPT, n > 72 && n <= 80 ?
		    2 * RECORD : 0));
	}
	begin(4);
	add_head(5);
	record(b, 5, 1u << 30, NONCE);
	add(KV_STREAM_REC, b, RECORD);
	expect(refused(KV_SHIP_CORRUPT, 0));
	begin(4);
	add_head(5);
	record(b, 5, UINT32_MAX, NONCE);
	add(KV_STREAM_REC, b, RECORD);
	expect(refused(KV_SHIP_CORRUPT, 0));
	tap_report("recv: records fill their frame, or none of it is used");
}

static void
test_refusal(void)
{
	begin(4);
	add_head(5);
	add_records(5, 1);
	add_records(6, 1);
	add_bye(6);
	refuse = KV_SHIP_FORK;
	expect(receive(-1) == KV_SHIP_FORK && d.bytes == RECORD);
	refuse = 0;
	expect(receive(-1) == 0 && d.bytes == 2 * RECORD);
	tap_report("recv: what the destination says ends it");
}

/* What is said back, one line at a time. */
static void
test_acks(void)
{
	struct kv_ack_in in = { .len = 0 };
	struct kv_ack a;
	int fd[2], n = 0;

	if (pipe(fd) != 0)
		tap_bail("no pipe");
	begin(4);
	add_head(5);
	add_records(5, 3);
	add_beat(7);
	add_bye(7);
	expect(receive(fd[1]) == 0);
	close(fd[1]);
	expect(kv_ack_read(&in, fd[0], 0, &a) == 1 && a.none &&
	    strcmp(a.slot, "r1") == 0);
	expect(kv_ack_read(&in, fd[0], 0, &a) == 1 && !a.none &&
	    a.stage == KV_ACK_RECEIVED && a.at.seq == 7);
	while (kv_ack_read(&in, fd[0], 0, &a) == 1) {
		expect(a.stage == KV_ACK_SYNCED && a.at.seq == 7 &&
		    a.at.nonce == NONCE);
		n++;
	}
	expect(n >= 2);
	close(fd[0]);
	tap_report("recv: it says what it has, received, and synced");
}

/* Nobody reads what is said: not even a full pipe may stop it, nor one that
 * is closed. */
static void
test_deaf(void)
{
	char junk[4096] = { 0 };
	int fd[2];

	if (pipe(fd) != 0 || fcntl(fd[1], F_SETFL, O_NONBLOCK) != 0)
		tap_bail("no pipe");
	while (write(fd[1], junk, sizeof(junk)) > 0)
		;
	expect(errno == EAGAIN);
	fcntl(fd[1], F_SETFL, 0);
	begin(0);
	add_head(1);
	for (uint64_t i = 0; i < 200; i++) {
		add_records(i + 1, 1);
		add_beat(i + 1);
	}
	add_bye(200);
	expect(receive(fd[1]) == 0 && d.k.at.seq == 200);
	close(fd[0]);
	expect(receive(fd[1]) == 0 && d.k.at.seq == 200);
	close(fd[1]);
	tap_report("recv: it does not wait for who does not listen");
}

int
main(void)
{
	tap_start("receiver");
	signal(SIGPIPE, SIG_IGN);
	test_good();
	test_order();
	test_heads();
	test_records();
	test_refusal();
	test_acks();
	test_deaf();
	return tap_end();
}
