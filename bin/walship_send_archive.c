/*
 * send DB --to ARCHIVE: what the log has and the archive has not.
 *
 * The feed gives what is on the disk of the database, the sink keeps what is
 * not complete yet as a tail.  Where to begin is told by the archive alone, so
 * that a pass can be killed and repeated at any time.
 */
#include <inttypes.h>

#include "db.h"
#include "epoch.h"
#include "feed.h"
#include "ship/archive.h"
#include "ship/ship.h"
#include "ship/sink.h"
#include "walship.h"
#include "walship_hook.h"
#include "walship_send_work.h"

/* Between two looks at a quiet log. */
enum { WAIT_MS = 5000, SAY_MS = 10000 };

/* ---- a pass ------------------------------------------------------------ */

/*
 * The feed may begin in the middle of a segment, or behind the last commit of
 * one.  The tail has what is before, then it is gone on with; or the archive
 * has all of it as a segment, which is passed over unless there is a record
 * more: then it is read from its beginning.
 */
static void
head(struct send *s, const struct kv_feed_item *item)
{
	struct kv_position p;
	int rc;

	kv_feed_position(s->feed, &p);
	s->before = item->head->first_seq - 1;
	if (p.seq <= s->before)
		s->began_ns = 0;
	if (item->head->epoch > kv_history_newest(&s->a->history)->epoch)
		send_epochs(s);
	rc = kv_sink_head(s->sink, item->bytes, p.seq > s->before ? p.seq :
	    s->before);
	s->passing = rc == KV_SHIP_GAP && p.seq > s->before;
	if (rc != 0 && !s->passing)
		send_fail(s, rc);
}

static void
acknowledge(struct send *s)
{
	struct kv_position p;
	int rc;

	if (!s->has_slot)
		return;
	kv_sink_position(s->sink, &p);
	rc = p.epoch != 0 ? kv_slots_ack(s->db, s->slot, &p) : 0;
	if (rc < 0)
		send_fail_db(s, rc);
}

static void
seal(struct send *s, const struct kv_feed_item *item)
{
	struct kv_archive_seg seg = { item->head->epoch, s->o->zstd ?
		KV_SPELL_ZST : KV_SPELL_SEG, item->head->first_seq,
		item->seq };
	char file[KV_ARCHIVE_PATH_LEN];
	int rc = kv_sink_seal(s->sink, item->bytes);

	if (rc != 0 && rc != KEVO_FALSE)
		send_fail(s, rc);
	s->began_ns = 0;
	if (rc == KEVO_FALSE)
		s->present++;
	else
		s->shipped++;
	acknowledge(s);
	kv_archive_seg_path(file, &seg);
	if (rc == 0 && s->o->hook != NULL)
		walship_hook(s->o->hook, "segment", s->o->to, file);
}

static void
take(struct send *s, const struct kv_feed_item *item)
{
	int rc;

	if (item->kind == KV_FEED_HEAD) {
		head(s, item);
		return;
	}
	if (item->kind == KV_FEED_SEAL) {
		if (!s->passing)
			seal(s, item);
		return;
	}
	if (s->passing) {
		send_open_feed(s, s->before);
		return;
	}
	if (s->began_ns == 0)
		s->began_ns = item->time_ns;
	rc = kv_sink_records(s->sink, item->bytes, (size_t)item->len);
	if (rc != 0)
		send_fail(s, rc);
}

/* All that is there now. */
static void
pass(struct send *s)
{
	struct kv_feed_item item;
	int rc;

	while (!cli_stopped() && (rc = kv_feed_step(s->feed, &item)) !=
	    KEVO_NOTFOUND) {
		if (rc == KEVO_EHISTORY)
			send_fail_gap(s, kevo_feed_version(s->feed) + 1);
		if (rc != 0)
			send_fail_db(s, rc);
		take(s, &item);
	}
	if ((rc = kv_sink_flush(s->sink)) != 0)
		send_fail(s, rc);
}

/* ---- sealing ----------------------------------------------------------- */

/* How long until the tail is old enough; -1: there is none. */
static int64_t
seal_in_ms(const struct send *s)
{
	uint64_t now = kv_now_ns(), due;

	if (s->o->seal_after_ms < 0 || s->began_ns == 0)
		return -1;
	due = s->began_ns + (uint64_t)s->o->seal_after_ms * 1000000u;
	return due <= now ? 0 : (int64_t)((due - now + 999999) / 1000000);
}

static void
seal_if_due(struct send *s)
{
	int rc;

	if (seal_in_ms(s) != 0)
		return;
	rc = kevo_seal(s->db, NULL);
	if (rc < 0)
		send_fail_db(s, rc);
	pass(s);
}

/* ---- what it says of itself -------------------------------------------- */

static void
say_where(struct send *s)
{
	uint64_t now = kv_now_ns();
	struct kv_position p;
	int rc;

	if ((rc = kv_position_now(s->db, KV_AT_SYNCED, &p)) != 0)
		send_fail_db(s, rc);
	if (kv_position_same(&p, &s->said) &&
	    now - s->said_ns < (uint64_t)SAY_MS * 1000000u)
		return;
	if ((rc = walship_source_write(s->a, &p, now)) != 0)
		send_fail(s, rc);
	s->said = p;
	s->said_ns = now;
}

/* Another one may have been promoted meanwhile. */
static void
look_for_fence(struct send *s)
{
	int rc = kv_archive_read_epochs(s->a);

	if (rc != 0)
		send_fail(s, rc);
	send_epochs(s);
}

static int64_t
patience(const struct send *s)
{
	int64_t ms = seal_in_ms(s);

	return ms >= 0 && ms < WAIT_MS ? ms : WAIT_MS;
}

static void
follow(struct send *s)
{
	int rc;

	while (!cli_stopped()) {
		rc = kevo_feed_wait(s->feed, patience(s));
		if (rc < 0)
			send_fail_db(s, rc);
		if (cli_stopped())
			break;
		if (rc == KEVO_NOTFOUND)
			look_for_fence(s);
		pass(s);
		seal_if_due(s);
		say_where(s);
	}
}

/* ---- all of it --------------------------------------------------------- */

int
walship_send_archive(const struct walship_to_archive *o)
{
	struct send s = { .o = o };

	cli_signals();
	if (o->dry_run)
		return send_dry_run(&s);
	send_open(&s);
	send_epochs(&s);
	send_begin(&s);
	pass(&s);
	seal_if_due(&s);
	acknowledge(&s);
	say_where(&s);
	if (o->follow)
		follow(&s);
	if (cli_verbose)
		cli_msg("shipped %" PRIu64 ", present %" PRIu64, s.shipped,
		    s.present);
	kevo_feed_close(s.feed);
	kv_sink_close(s.sink);
	kv_archive_close(s.a);
	if (cli_stopped())
		cli_die_by_signal();
	return cli_close(s.db, 0);
}
