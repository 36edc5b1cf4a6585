/*
 * ack_test: lines of acknowledgement: round trip, pieces, and what is none.
 */
#include "ship/ack.h"

#include "tap.h"

static struct kv_ack
sample(void)
{
	struct kv_ack a = { .slot = "r1", .at = { .epoch = 2,
		.nonce = 0x9b0c6a1de4f20177u, .seq = 61234,
		.chain = 0x51c0u }, .stage = KV_ACK_APPLIED,
		.time_ns = 1795628700u * 1000000000ull };

	return a;
}

static int
same(const struct kv_ack *a, const struct kv_ack *b)
{
	return strcmp(a->slot, b->slot) == 0 && a->none == b->none &&
	    (a->none || kv_position_same(&a->at, &b->at)) &&
	    a->stage == b->stage && a->time_ns == b->time_ns;
}

static void
test_lines(void)
{
	struct kv_ack a = sample(), b;
	char line[KV_ACK_MAX];
	size_t n = kv_ack_print(line, &a);

	expect(strcmp(line, "ack r1 2.9b0c6a1de4f20177:61234:"
	    "00000000000051c0 applied 2026-11-25T17:45:00Z\n") == 0);
	expect(kv_ack_parse(line, n - 1, &b) == 0 && same(&a, &b));
	strcpy(a.slot, "-");
	a.none = 1;
	a.stage = KV_ACK_RECEIVED;
	n = kv_ack_print(line, &a);
	expect(kv_ack_parse(line, n - 1, &b) == 0 && same(&a, &b));
	memset(a.slot, 'x', KV_SLOTS_NAME_MAX);
	a.slot[KV_SLOTS_NAME_MAX] = '\0';
	a.none = 0;
	a.at.epoch = UINT32_MAX;
	a.at.seq = UINT64_MAX;
	n = kv_ack_print(line, &a);
	expect(n < KV_ACK_MAX && kv_ack_parse(line, n - 1, &b) == 0 &&
	    same(&a, &b));
	tap_report("ack: what is written is read");
}

static void
test_others(void)
{
	static const char *const bad[] = {
		"", "ack", "ack ", "ack r1", "ack r1 none",
		"ack r1 none applied", "ack r1 none applied ",
		"ack r1 none done 2026-11-25T17:45:00Z",
		"ack  r1 none applied 2026-11-25T17:45:00Z",
		"ack ../r1 none applied 2026-11-25T17:45:00Z",
		"ack .r none applied 2026-11-25T17:45:00Z",
		"ack r1 2.9b0c:1:2 applied 2026-11-25T17:45:00Z",
		"ack r1 none applied 2026-11-25T17:45:00Z x",
		"ack r1 none applied 2026-11-25 17:45:00",
		"Ack r1 none applied 2026-11-25T17:45:00Z"
	};
	char line[300];
	struct kv_ack a;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (!expect(kv_ack_parse(bad[i], strlen(bad[i]), &a) != 0))
			tap_note("%s", bad[i]);
	memset(line, 'a', sizeof(line));
	memcpy(line, "ack ", 4);
	for (size_t n = 0; n < sizeof(line); n++)
		expect(kv_ack_parse(line, n, &a) != 0);
	memcpy(line, "ack r1 none applied 2026-11-25T17:45:00Z", 40);
	line[6] = '\0';
	expect(kv_ack_parse(line, 40, &a) != 0);
	tap_report("ack: other lines are none");
	for (int i = 0; i < 20000; i++) {
		size_t n = tap_below(sizeof(line));

		tap_fill(line, n);
		if (n > 20)
			memcpy(line, "ack r1 2.9b0c6a1de4", 19);
		expect(kv_ack_parse(line, n, &a) != 0);
	}
	tap_report("ack: garbage is none");
}

/* Lines through a pipe, in pieces of any size. */
static void
test_pieces(void)
{
	char text[4 * KV_ACK_MAX + 1000], *p = text;
	struct kv_ack_in in;
	struct kv_ack a = sample(), b;
	int fd[2];

	for (int i = 0; i < 3; i++) {
		a.at.seq = (uint64_t)i;
		p += kv_ack_print(p, &a);
		if (i == 0) {
			memset(p, 'x', 700);	/* longer than any line */
			p[700] = '\n';
			p += 701;
		}
	}
	for (int i = 0; i < 200; i++) {
		size_t left = (size_t)(p - text), piece = 1 + tap_below(400);
		uint64_t seq = 0;
		int bad = 0, got;

		if (pipe(fd) != 0)
			tap_bail("no pipe");
		memset(&in, 0, sizeof(in));
		while (left > 0) {
			size_t n = piece < left ? piece : left;

			if (write(fd[1], p - left, n) != (ssize_t)n)
				tap_bail("cannot write");
			left -= n;
			while ((got = kv_ack_read(&in, fd[0], 0, &b)) != 0)
				if (got < 0)
					bad++;
				else
					expect(b.at.seq == seq++);
		}
		expect(seq == 3 && bad > 0 && !in.ended);
		close(fd[1]);
		expect(kv_ack_read(&in, fd[0], 1000, &b) == 0 && in.ended);
		close(fd[0]);
	}
	tap_report("ack: lines come in pieces; one too long is left out");
}

int
main(void)
{
	tap_start("ack");
	test_lines();
	test_others();
	test_pieces();
	return tap_end();
}
