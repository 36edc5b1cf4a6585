/*
 * send DB --to ARCHIVE: what the log has and the archive has not.
 *
 * The feed gives what is on the disk of the database, the sink keeps what is
 * not complete yet as a tail.  Where to begin is told by the archive alone, so
 * that a pass can be killed and repeated at any time.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "db.h"
#include "epoch.h"
#include "feed.h"
#include "hash.h"
#include "ident.h"
#include "position.h"
#include "ship/archive.h"
#include "ship/ship.h"
#include "ship/tail.h"
#include "slots.h"
#include "walship.h"
#include "walship_archive.h"
#include "walship_hook.h"

struct send {
	const struct walship_to_archive *o;
	struct kevo *db;
	struct kv_archive *a;
	struct kv_sink *sink;
	struct kevo_feed *feed;
	char slot[KV_SLOTS_NAME_MAX + 1];	/* "": none */
	char slot_dir[KV_SLOTS_NAME_MAX + 8];
	int has_slot;
	int passing;		/* this segment is over, as far as we care */
	uint64_t before;	/* the commit before it */
	uint64_t began_ns;	/* first commit of the tail; 0: none */
	uint64_t shipped, present;
	uint64_t tail_bytes;
	struct kv_position said;	/* in state/source */
	uint64_t said_ns;
};

/* Between two looks at a quiet log. */
enum { WAIT_MS = 5000, SAY_MS = 10000 };

static void __attribute__((noreturn))
fail_db(struct send *s, int rc)
{
	cli_fail(s->db, rc);
}

static void __attribute__((noreturn))
fail(struct send *s, int rc)
{
	walship_archive_fail(s->a, rc);
}

/* ---- epochs ------------------------------------------------------------ */

static void
read_history(struct send *s, struct kv_ident *ident, struct kv_history *h)
{
	int rc;

	if ((rc = kv_ident_read(&s->db->env, &s->db->dir, ident)) != 0 ||
	    (rc = kv_history_of_db(&s->db->env, &s->db->dir, ident, h)) != 0)
		fail_db(s, rc);
}

/* The archive knows an epoch that this database does not: another one was
 * promoted. */
static void __attribute__((noreturn))
fail_fenced(struct send *s, const struct kv_epoch *next, uint32_t epoch)
{
	char when[KV_SHIP_TIME_LEN], lost[100] = "";
	struct kv_position p;

	kv_ship_time(when, next->time_ns);
	if (kv_position_now(s->db, KV_AT_SYNCED, &p) == 0 &&
	    p.seq > next->start)
		snprintf(lost, sizeof(lost), "; %" PRIu64 " commits %" PRIu64
		    "..%" PRIu64 " are only here", p.seq - next->start,
		    next->start + 1, p.seq);
	kv_ship_fail(&s->a->env, KV_SHIP_FENCED, "%s: epoch %" PRIu32
	    " exists (%s, %s); this database is at epoch %" PRIu32
	    " and must not write%s; next: kevo-walship rejoin", s->o->db,
	    next->epoch, next->host, when, epoch, lost);
	fail(s, KV_SHIP_FENCED);
}

/* Both have the same history, up to what the archive lacks. */
static void
send_epochs(struct send *s)
{
	struct kv_history h = { NULL, 0 };
	struct kv_ident ident;
	uint32_t newest;
	int rc;

	read_history(s, &ident, &h);
	newest = kv_history_newest(&h)->epoch;
	for (size_t i = 0; i < h.n; i++) {
		rc = kv_archive_put_epoch(s->a, &h.v[i]);
		if (rc != 0 && rc != KEVO_FALSE)
			fail(s, rc);
	}
	kv_history_release(&h);
	if (kv_history_newest(&s->a->history)->epoch > newest)
		fail_fenced(s, kv_history_find(&s->a->history, newest + 1),
		    newest);
}

/* ---- the slot ---------------------------------------------------------- */

/* The slot is made by the first who sends for it, and keeps the log from
 * there on where the archive will begin.  What it could not keep any more is
 * found missing soon enough. */
static void
make_slot(struct send *s, const struct kv_position *at)
{
	struct kv_slots_note note = { .max_age_s = KV_SLOTS_NO_LIMIT };
	int rc;

	note.confirmed = *at;
	if ((rc = kv_slots_default_bytes(s->db, &note.max_bytes)) != 0 ||
	    ((rc = kv_slots_create(s->db, s->slot, &note)) < 0 &&
	    rc != KEVO_EHISTORY))
		fail_db(s, rc);
	s->has_slot = rc != KEVO_EHISTORY;
}

static void
look_for_slot(struct send *s)
{
	struct kv_slots_info info;
	int rc;

	if (s->slot[0] == '\0')
		return;
	if ((rc = kv_slots_look(s->db, s->slot, &info)) < 0)
		fail_db(s, rc);
	s->has_slot = rc == 0;
}

static const char *
slot_dir(struct send *s)
{
	if (!s->has_slot)
		return NULL;
	snprintf(s->slot_dir, sizeof(s->slot_dir), "slots/%s", s->slot);
	return s->slot_dir;
}

/* ---- where to begin ---------------------------------------------------- */

static void
check_source(struct send *s, const struct kv_position *base)
{
	struct kv_position now, at;
	int rc;

	if ((rc = kv_position_now(s->db, KV_AT_SYNCED, &now)) != 0)
		fail_db(s, rc);
	if (base->seq > now.seq) {
		kv_ship_fail(&s->a->env, KV_SHIP_FORK, "%s: it ends at commit "
		    "%" PRIu64 ", %s has %" PRIu64 " already: it was rolled "
		    "back; nothing was sent; next: find out which of both is "
		    "to live", s->o->db, now.seq, s->o->to, base->seq);
		fail(s, KV_SHIP_FORK);
	}
	rc = kv_position_at(s->db, base->seq, &at);
	if (rc < 0)
		fail_db(s, rc);
	if (rc == 0 && at.chain != base->chain) {
		kv_ship_fail(&s->a->env, KV_SHIP_FORK, "%s: at commit %"
		    PRIu64 " it has chain %016" PRIx64 ", %s has %016" PRIx64
		    ": two writers or a cloned disk; nothing was sent; next: "
		    "find out which of both is to live", s->o->db, base->seq,
		    at.chain, s->o->to, base->chain);
		fail(s, KV_SHIP_FORK);
	}
}

static void __attribute__((noreturn))
fail_gap(struct send *s, uint64_t need)
{
	struct kv_slots_info slot;
	uint64_t oldest = 0;

	if (s->has_slot && kv_slots_look(s->db, s->slot, &slot) == 0 &&
	    slot.state == KV_SLOT_LOST) {
		kv_ship_fail(&s->a->env, KV_SHIP_LOST, "slot %s: commits %"
		    PRIu64 "..%" PRIu64 " were dropped to keep its limit; "
		    "next: kevo-walship base %s --to %s", s->slot,
		    slot.lost_first, slot.lost_last, s->o->db, s->o->to);
		fail(s, KV_SHIP_LOST);
	}
	kv_feed_oldest(s->db, slot_dir(s), &oldest);
	kv_ship_fail(&s->a->env, KV_SHIP_GAP, "%s: need commit %" PRIu64
	    ", the log of %s begins at %" PRIu64 "; nothing was sent; next: "
	    "kevo-walship base %s --to %s", s->o->to, need, s->o->db,
	    oldest + 1, s->o->db, s->o->to);
	fail(s, KV_SHIP_GAP);
}

static void
open_feed(struct send *s, uint64_t after)
{
	struct kv_feed_start start = { .flags = KEVO_FEED_DURABLE,
		.after = after, .dir = slot_dir(s) };
	int rc;

	kevo_feed_close(s->feed);
	s->feed = NULL;
	rc = kv_feed_open(s->db, &start, &s->feed);
	if (rc == KEVO_EHISTORY)
		fail_gap(s, after + 1);
	if (rc != 0)
		fail_db(s, rc);
}

/* Behind what the archive has, with its tail; or where the log begins. */
static void
find_place(struct send *s, struct kv_position *at)
{
	struct kv_image tail;
	uint64_t after;
	int rc;

	kv_sink_position(s->sink, at);
	rc = kv_tail_load(s->a, &tail, NULL, 0);
	if (rc == 0) {
		*at = (struct kv_position){ tail.head.epoch, tail.head.nonce,
			tail.last_seq, tail.chain };
		s->began_ns = tail.first_ns;
		kv_image_release(&tail);
	} else if (rc != KEVO_NOTFOUND) {
		fail(s, rc);
	}
	if (at->epoch != 0) {
		check_source(s, at);
		return;
	}
	if ((rc = kv_feed_oldest(s->db, slot_dir(s), &after)) < 0 ||
	    (rc = kv_position_at(s->db, after, at)) < 0)
		fail_db(s, rc);
	at->seq = after;
}

static void
begin(struct send *s)
{
	struct kv_position at;
	int rc;

	if ((rc = kv_sink_open(s->a, s->o->zstd, &s->sink)) != 0)
		fail(s, rc);
	look_for_slot(s);
	find_place(s, &at);
	if (s->slot[0] != '\0' && !s->has_slot)
		make_slot(s, &at);
	open_feed(s, at.seq);
}

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
		fail(s, rc);
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
		fail_db(s, rc);
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
		fail(s, rc);
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
		open_feed(s, s->before);
		return;
	}
	if (s->began_ns == 0)
		s->began_ns = item->time_ns;
	rc = kv_sink_records(s->sink, item->bytes, (size_t)item->len);
	if (rc != 0)
		fail(s, rc);
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
			fail_gap(s, kevo_feed_version(s->feed) + 1);
		if (rc != 0)
			fail_db(s, rc);
		take(s, &item);
	}
	if ((rc = kv_sink_flush(s->sink)) != 0)
		fail(s, rc);
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
		fail_db(s, rc);
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
		fail_db(s, rc);
	if (kv_position_same(&p, &s->said) &&
	    now - s->said_ns < (uint64_t)SAY_MS * 1000000u)
		return;
	if ((rc = walship_source_write(s->a, &p, now)) != 0)
		fail(s, rc);
	s->said = p;
	s->said_ns = now;
}

/* Another one may have been promoted meanwhile. */
static void
look_for_fence(struct send *s)
{
	int rc = kv_archive_read_epochs(s->a);

	if (rc != 0)
		fail(s, rc);
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
			fail_db(s, rc);
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

/*
 * Without a slot the log between two passes may be gone before the second: it
 * is removed as soon as it is in tables.  So each archive has one, named after
 * its place; unless --slot says another one or none, or we may not write.
 */
static void
name_slot(struct send *s)
{
	char *real;

	if (s->o->slot != NULL && strcmp(s->o->slot, "none") == 0)
		return;
	if (s->o->slot != NULL) {
		if (!kv_slots_name_ok(s->o->slot))
			cli_usage("--slot: %s cannot be the name of a slot",
			    s->o->slot);
		snprintf(s->slot, sizeof(s->slot), "%s", s->o->slot);
	} else if (access(cli_db_path(s->o->db), W_OK) == 0) {
		real = realpath(s->o->to, NULL);
		if (real == NULL)
			cli_die(EX_IOERR_, "%s: cannot find its place: %s",
			    s->o->to, strerror(errno));
		snprintf(s->slot, sizeof(s->slot), "archive-%016" PRIx64,
		    kv_hash(real, strlen(real), 0));
		free(real);
	}
}

/* The first epoch of the database, which an archive is made for. */
static void
open_archive(struct send *s)
{
	struct cli_open_opts open = { KEVO_RDONLY, NULL, NULL, NULL };
	struct kv_history h = { NULL, 0 };
	struct kv_ident ident;
	int rc;

	s->db = cli_open(s->o->db, &open);
	read_history(s, &ident, &h);
	rc = kv_archive_create(s->o->to, &h.v[0], &s->a);
	kv_history_release(&h);
	if (rc != 0 || (rc = kv_archive_lock(s->a, "kevo-walship send")) != 0)
		fail(s, rc);
	kevo_close(s->db);
}

static void
open_both(struct send *s)
{
	struct cli_open_opts open = { 0, NULL, NULL, NULL };

	open_archive(s);
	name_slot(s);
	if (s->slot[0] == '\0' && s->o->seal_after_ms < 0)
		open.flags |= KEVO_RDONLY;
	s->db = cli_open(s->o->db, &open);
}

int
walship_send_archive(const struct walship_to_archive *o)
{
	struct send s = { .o = o };

	open_both(&s);
	cli_signals();
	send_epochs(&s);
	begin(&s);
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
