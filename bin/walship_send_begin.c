/*
 * Where send DB --to ARCHIVE begins: the archive alone tells, with its tail;
 * and both have the same history.
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
#include "ship/archive.h"
#include "ship/ship.h"
#include "ship/sink.h"
#include "ship/tail.h"
#include "walship.h"
#include "walship_send_work.h"

void
send_fail_db(struct send *s, int rc)
{
	cli_fail(s->db, rc);
}

void
send_fail(struct send *s, int rc)
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
		send_fail_db(s, rc);
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
	send_fail(s, KV_SHIP_FENCED);
}

/* Both have the same history, up to what the archive lacks. */
void
send_epochs(struct send *s)
{
	struct kv_history h = { NULL, 0 };
	struct kv_ident ident;
	uint32_t newest;
	int rc;

	read_history(s, &ident, &h);
	newest = kv_history_newest(&h)->epoch;
	for (size_t i = 0; i < h.n; i++) {
		rc = s->o->dry_run ? 0 : kv_archive_put_epoch(s->a, &h.v[i]);
		if (rc != 0 && rc != KEVO_FALSE)
			send_fail(s, rc);
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
		send_fail_db(s, rc);
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
		send_fail_db(s, rc);
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
		send_fail_db(s, rc);
	if (base->seq > now.seq) {
		kv_ship_fail(&s->a->env, KV_SHIP_FORK, "%s: it ends at commit "
		    "%" PRIu64 ", %s has %" PRIu64 " already: it was rolled "
		    "back; nothing was sent; next: find out which of both is "
		    "to live", s->o->db, now.seq, s->o->to, base->seq);
		send_fail(s, KV_SHIP_FORK);
	}
	rc = kv_position_at(s->db, base->seq, &at);
	if (rc < 0)
		send_fail_db(s, rc);
	if (rc == 0 && at.chain != base->chain) {
		kv_ship_fail(&s->a->env, KV_SHIP_FORK, "%s: at commit %"
		    PRIu64 " it has chain %016" PRIx64 ", %s has %016" PRIx64
		    ": two writers or a cloned disk; nothing was sent; next: "
		    "find out which of both is to live", s->o->db, base->seq,
		    at.chain, s->o->to, base->chain);
		send_fail(s, KV_SHIP_FORK);
	}
}

void
send_fail_gap(struct send *s, uint64_t need)
{
	struct kv_slots_info slot;
	uint64_t oldest = 0;

	if (s->has_slot && kv_slots_look(s->db, s->slot, &slot) == 0 &&
	    slot.state == KV_SLOT_LOST) {
		kv_ship_fail(&s->a->env, KV_SHIP_LOST, "slot %s: commits %"
		    PRIu64 "..%" PRIu64 " were dropped to keep its limit; "
		    "%s ends there; next: kevo-walship base %s --to NEW",
		    s->slot, slot.lost_first, slot.lost_last, s->o->to,
		    s->o->db);
		send_fail(s, KV_SHIP_LOST);
	}
	kv_feed_oldest(s->db, slot_dir(s), &oldest);
	kv_ship_fail(&s->a->env, KV_SHIP_GAP, "%s: need commit %" PRIu64
	    ", the log of %s begins at %" PRIu64 "; nothing was sent, %s ends "
	    "there; next: kevo-walship base %s --to NEW", s->o->to, need,
	    s->o->db, oldest + 1, s->o->to, s->o->db);
	send_fail(s, KV_SHIP_GAP);
}

void
send_open_feed(struct send *s, uint64_t after)
{
	struct kv_feed_start start = { .flags = KEVO_FEED_DURABLE,
		.after = after, .dir = slot_dir(s) };
	int rc;

	kevo_feed_close(s->feed);
	s->feed = NULL;
	rc = kv_feed_open(s->db, &start, &s->feed);
	if (rc == KEVO_EHISTORY)
		send_fail_gap(s, after + 1);
	if (rc != 0)
		send_fail_db(s, rc);
}

/* Behind what the archive has, with its tail. */
static void
behind_archive(struct send *s, struct kv_position *at)
{
	struct kv_image tail;
	int rc;

	if ((rc = kv_sink_open(s->a, s->o->zstd, &s->sink)) != 0)
		send_fail(s, rc);
	kv_sink_position(s->sink, at);
	rc = kv_tail_load(s->a, &tail, NULL, 0);
	if (rc == 0) {
		*at = (struct kv_position){ tail.head.epoch, tail.head.nonce,
			tail.last_seq, tail.chain };
		s->began_ns = tail.first_ns;
		kv_image_release(&tail);
	} else if (rc != KEVO_NOTFOUND) {
		send_fail(s, rc);
	}
}

/* There, or where the log begins. */
static void
find_place(struct send *s, struct kv_position *at)
{
	uint64_t after;
	int rc;

	memset(at, 0, sizeof(*at));
	if (s->a != NULL)
		behind_archive(s, at);
	if (at->epoch != 0) {
		check_source(s, at);
		return;
	}
	if ((rc = kv_feed_oldest(s->db, slot_dir(s), &after)) < 0 ||
	    (rc = kv_position_at(s->db, after, at)) < 0)
		send_fail_db(s, rc);
	at->seq = after;
}

void
send_begin(struct send *s)
{
	struct kv_position at;

	look_for_slot(s);
	find_place(s, &at);
	if (s->slot[0] != '\0' && !s->has_slot && !s->o->dry_run)
		make_slot(s, &at);
	send_open_feed(s, at.seq);
}

/* ---- opening ----------------------------------------------------------- */

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
	} else if (s->a != NULL && access(cli_db_path(s->o->db), W_OK) == 0) {
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
	rc = s->o->dry_run && !kv_archive_is(s->o->to) ? 0 :
	    kv_archive_create(s->o->to, &h.v[0], &s->a);
	kv_history_release(&h);
	if (rc == 0 && !s->o->dry_run)
		rc = kv_archive_lock(s->a, "kevo-walship send");
	if (rc != 0)
		send_fail(s, rc);
	kevo_close(s->db);
}

void
send_open(struct send *s)
{
	struct cli_open_opts open = { 0, NULL, NULL, NULL };

	open_archive(s);
	name_slot(s);
	if (s->o->dry_run || (s->slot[0] == '\0' && s->o->seal_after_ms < 0))
		open.flags |= KEVO_RDONLY;
	s->db = cli_open(s->o->db, &open);
}
