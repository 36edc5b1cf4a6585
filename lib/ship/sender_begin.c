/*
 * Where a stream begins, and why it cannot.
 *
 * The receiver's own word counts most: it knows what it has.  If we do not
 * have what follows that, because it is gone, that is our sentence; if we
 * never had it, the receiver finds out from what we send instead.
 */
#include <inttypes.h>
#include <string.h>

#include "db.h"
#include "feed.h"
#include "sender_work.h"
#include "ship.h"
#include "slots.h"
#include "text.h"

/* What the receiver says that it has: 1 with *at; -1: nothing; 0: it does not
 * say. */
static int
receiver_has(struct kv_sender *c, struct kv_position *at)
{
	int64_t until = kv_mono_ms() + KV_FIRST_ACK_MS, left;
	struct kv_ack a;
	int got;

	if (c->s->ack_fd < 0)
		return 0;
	while ((left = until - kv_mono_ms()) > 0 && !kv_sender_stopped(c)) {
		got = kv_ack_read(&c->acks, c->s->ack_fd, (int)left, &a);
		if (got == 1) {
			*at = a.at;
			c->has_it = a.stage != KV_ACK_RECEIVED;
			return a.none ? -1 : 1;
		}
		if (got == 0 && c->acks.ended)
			break;
	}
	return 0;
}

static int
lost(struct kv_sender *c, const struct kv_slots_info *i)
{
	char when[KV_TIME_LEN];

	kv_time_print(when, i->lost_ns);
	return kv_ship_fail(&c->db->env, KV_SHIP_LOST, "slot %s: commits %"
	    PRIu64 "..%" PRIu64 " were dropped at %s to keep its limit; next: "
	    "give the replica a new base, and kevo-walship slot %s create %s",
	    c->s->slot, i->lost_first, i->lost_last, when, c->db->path,
	    c->s->slot);
}

static int
look_at_slot(struct kv_sender *c, struct kv_position *confirmed)
{
	struct kv_slots_info i;
	int rc = kv_slots_look(c->db, c->s->slot, &i);

	if (rc != 0)
		return rc;
	if (i.state == KV_SLOT_LOST)
		return lost(c, &i);
	*confirmed = i.note.confirmed;
	return 0;
}

/* The log no longer has what follows commit seq. */
int
kv_sender_gap(struct kv_sender *c, uint64_t seq)
{
	struct kv_slots_info i;
	uint64_t oldest = 0;

	if (c->s->slot != NULL && kv_slots_look(c->db, c->s->slot, &i) == 0 &&
	    i.state == KV_SLOT_LOST)
		return lost(c, &i);
	(void)kv_feed_oldest(c->db, c->s->slot != NULL ? c->dir : NULL,
	    &oldest);
	return kv_ship_fail(&c->db->env, KV_SHIP_GAP, "%s: need %" PRIu64
	    ", oldest available is %" PRIu64 "; the receiver cannot go on; "
	    "next: kevo-walship base %s --to - --slot %s, and restore it "
	    "there", c->db->path, seq + 1, oldest + 1, c->db->path,
	    c->s->slot != NULL ? c->s->slot : "NAME");
}

static int
open_feed(struct kv_sender *c, const struct kv_position *at, uint64_t after)
{
	struct kv_feed_start st = { .flags = KEVO_FEED_DURABLE, .at = at,
		.after = after, .dir = c->s->slot != NULL ? c->dir : NULL };
	int rc = kv_feed_open(c->db, &st, &c->feed);

	if (rc == 0)
		kv_feed_position(c->feed, &c->told);
	c->out->at = c->told;
	return rc;
}

/*
 * The log does not go on from a position.  It is gone, or it never was here:
 * then what we have at that number, or our end, is sent, and the receiver
 * finds out in which way the histories differ.
 */
static int
open_elsewhere(struct kv_sender *c, const struct kv_position *at)
{
	char text[KV_POSITION_LEN];
	struct kv_position end;
	uint64_t oldest;
	int rc;

	if ((rc = kv_feed_oldest(c->db, c->s->slot != NULL ? c->dir : NULL,
	    &oldest)) != 0 ||
	    (rc = kv_position_now(c->db, KV_AT_SYNCED, &end)) != 0)
		return rc;
	if (at->seq < oldest)
		return kv_sender_gap(c, at->seq);
	if (c->s->from != NULL)
		return kv_ship_fail(&c->db->env, KV_SHIP_FORK, "%s: never had "
		    "the position to begin at; its own is %s", c->db->path,
		    (kv_position_print(text, &end), text));
	return open_feed(c, NULL, at->seq < end.seq ? at->seq : end.seq);
}

static int
open_oldest(struct kv_sender *c)
{
	uint64_t oldest;
	int rc = kv_feed_oldest(c->db, c->s->slot != NULL ? c->dir : NULL,
	    &oldest);

	return rc != 0 ? rc : open_feed(c, NULL, oldest);
}

int
kv_sender_begin(struct kv_sender *c)
{
	struct kv_position at = { .epoch = 0 }, has;
	int said, rc;

	if (c->s->slot != NULL && (rc = look_at_slot(c, &at)) != 0)
		return rc;
	said = c->s->from != NULL ? 0 : receiver_has(c, &has);
	if (c->s->from != NULL)
		at = *c->s->from;
	else if (said > 0)
		at = has;
	if (at.epoch == 0 || said < 0)
		return open_oldest(c);
	rc = open_feed(c, &at, 0);
	if (rc == 0 && said > 0 && c->has_it)
		kv_sender_note_ack(c, &at);
	return rc == KEVO_EHISTORY || rc == KEVO_EINVAL ?
	    open_elsewhere(c, &at) : rc;
}

