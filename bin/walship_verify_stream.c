/*
 * kevo-walship verify of a stream: as a receiver takes it, but that nothing
 * is written.
 */
#include <inttypes.h>
#include <string.h>

#include "coding.h"
#include "env.h"
#include "epoch.h"
#include "record.h"
#include "segment.h"
#include "ship/image.h"
#include "ship/receiver.h"
#include "ship/ship.h"
#include "walship.h"
#include "walship_verify.h"

/* at: behind what was verified. */
struct check {
	struct kv_dest k;
	struct kv_env env;
	const char *name;
	int begun;
	uint8_t id[16];
	uint64_t first;		/* before the first commit */
	struct kv_segment_head head;
};

static int
wrong_db(struct check *c, const char *what)
{
	return kv_ship_fail(&c->env, KV_SHIP_WRONG_DB, "%s: %s is of another "
	    "database than what came before it", c->name, what);
}

static int
on_begin(struct kv_dest *k, const struct kv_hello *h)
{
	struct check *c = (struct check *)k;

	if (c->begun && memcmp(c->id, h->id, sizeof(c->id)) != 0)
		return wrong_db(c, "the stream that follows");
	if (c->begun && h->start.seq > k->at.seq)
		return kv_ship_fail(&c->env, KV_SHIP_GAP, "%s: need %" PRIu64
		    ", the stream that follows begins with %" PRIu64, c->name,
		    k->at.seq + 1, h->start.seq + 1);
	if (!c->begun || h->start.seq < c->first)
		c->first = h->start.seq;
	c->begun = 1;
	memcpy(c->id, h->id, sizeof(c->id));
	k->at = h->start;
	return 0;
}

static int
on_epoch(struct kv_dest *k, const char *text, size_t len)
{
	struct check *c = (struct check *)k;
	const char *why;
	struct kv_epoch e;

	if (kv_epoch_parse(text, len, &e, &why) != 0)
		return kv_ship_fail(&c->env, KV_SHIP_CORRUPT, "%s: an epoch "
		    "file: %s", c->name, why);
	return memcmp(e.db, c->id, sizeof(c->id)) == 0 ? 0 :
	    wrong_db(c, "an epoch");
}

static int
on_segment(struct kv_dest *k, const struct kv_segment_head *h,
    const uint8_t *raw, uint64_t after)
{
	struct check *c = (struct check *)k;

	(void)raw;
	if (memcmp(h->id, c->id, sizeof(c->id)) != 0)
		return wrong_db(c, "a segment");
	if (h->first_seq == after + 1 && h->chain_before != k->at.chain)
		return kv_ship_fail(&c->env, KV_SHIP_FORK, "%s: at commit %"
		    PRIu64 " the chain is %016" PRIx64 ", and the segment that"
		    " follows has %016" PRIx64, c->name, after, k->at.chain,
		    h->chain_before);
	c->head = *h;
	k->at.epoch = h->epoch;
	k->at.nonce = h->nonce;
	return 0;
}

static int
on_records(struct kv_dest *k, const struct kv_position *before,
    const uint8_t *p, size_t len)
{
	struct check *c = (struct check *)k;
	uint64_t n;

	(void)before;
	for (; len > 0; p += n, len -= (size_t)n) {
		n = kv_record_verify_at(p, len, c->head.nonce, k->at.chain,
		    k->at.seq + 1);
		if (n == 0)
			return kv_ship_fail(&c->env, KV_SHIP_CORRUPT, "%s: "
			    "commit %" PRIu64 " does not verify; next: send "
			    "it again", c->name, k->at.seq + 1);
		k->at.seq++;
		k->at.chain = get_le64(p + n - KV_TRAILER_LEN);
	}
	return 0;
}

static int
on_seal(struct kv_dest *k, const uint8_t *bytes)
{
	struct check *c = (struct check *)k;
	struct kv_seal s;

	if (kv_seal_decode(bytes, &s) == 0 && s.last_seq == k->at.seq &&
	    s.chain == k->at.chain && s.head_hash == c->head.hash)
		return 0;
	return kv_ship_fail(&c->env, KV_SHIP_CORRUPT, "%s: the seal behind "
	    "commit %" PRIu64 " does not verify; next: send it again",
	    c->name, k->at.seq);
}

static int
on_sync(struct kv_dest *k)
{
	(void)k;
	return 0;
}

static int
on_beat(struct kv_dest *k, const struct kv_beat *b)
{
	(void)k;
	(void)b;
	return 0;
}

int
walship_is_stream(const struct kv_image *img)
{
	return !img->has_head && !img->zstd &&
	    img->len >= KV_STREAM_MAGIC_LEN &&
	    memcmp(img->bytes, KV_STREAM_MAGIC, KV_STREAM_MAGIC_LEN) == 0;
}

int
walship_verify_stream(const char *name, int fd, const struct kv_image *img)
{
	struct check c = { .name = name, .k = { .begin = on_begin,
		.epoch = on_epoch, .segment = on_segment,
		.records = on_records, .seal = on_seal, .sync = on_sync,
		.beat = on_beat } };
	struct kv_recv r = { .in_fd = fd, .ack_fd = -1,
		.stopped = cli_stopped, .first = img->bytes,
		.first_len = (size_t)img->len };
	struct kv_recv_state st;
	int rc;

	c.k.env = &c.env;
	if ((rc = kv_recv(&c.k, &r, &st)) != 0)
		return walship_report(&c.env, rc);
	if (!cli_quiet)
		cli_say("%s: stream: epoch %" PRIu32 ", commits %" PRIu64
		    "..%" PRIu64, name, c.k.at.epoch, c.first + 1,
		    c.k.at.seq);
	return 0;
}
