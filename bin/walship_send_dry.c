/*
 * send DB --to ARCHIVE --dry-run: the same way to the place where to begin,
 * and then the feed is read to its end, for nothing but numbers.
 */
#include <inttypes.h>

#include "db.h"
#include "feed.h"
#include "ship/archive.h"
#include "ship/sink.h"
#include "walship.h"
#include "walship_send_work.h"

struct count {
	uint64_t commits, bytes;
	uint64_t segments;	/* that would be complete */
	uint64_t first;		/* commit of the segment */
};

static void
take(struct send *s, struct count *c, const struct kv_feed_item *item)
{
	const struct kv_archive_seg *seg;

	if (item->kind == KV_FEED_HEAD) {
		c->first = item->head->first_seq;
	} else if (item->kind == KV_FEED_RECORD) {
		c->commits++;
		c->bytes += item->len;
	} else {
		seg = s->a == NULL ? NULL : kv_archive_find(s->a,
		    item->head->epoch, c->first);
		c->segments += item->seq >= c->first && (seg == NULL ||
		    seg->last < item->seq);
	}
}

int
send_dry_run(struct send *s)
{
	struct count c = { 0, 0, 0, 0 };
	struct kv_feed_item item;
	int rc;

	send_open(s);
	if (s->a != NULL)
		send_epochs(s);
	send_begin(s);
	while (!cli_stopped() &&
	    (rc = kv_feed_step(s->feed, &item)) != KEVO_NOTFOUND) {
		if (rc == KEVO_EHISTORY)
			send_fail_gap(s, kevo_feed_version(s->feed) + 1);
		if (rc != 0)
			send_fail_db(s, rc);
		take(s, &c, &item);
	}
	cli_say("%s: would %s: %" PRIu64 " commits, %" PRIu64 " bytes, %"
	    PRIu64 " segments complete", s->o->to, s->a != NULL ? "get" :
	    "be made, and get", c.commits, c.bytes, c.segments);
	kevo_feed_close(s->feed);
	kv_sink_close(s->sink);
	kv_archive_close(s->a);
	return cli_close(s->db, 0);
}
