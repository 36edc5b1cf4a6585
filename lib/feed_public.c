#include <stdlib.h>
#include <string.h>

#include "db.h"
#include "feed_file.h"
#include "join.h"
#include "lock.h"
#include "record.h"

/*
 * The functions of kevo.h and feed.h around the walk in feed.c: beginning,
 * commits and their operations, waiting.
 */

/* Even who is woken looks now and then: the dead wake nobody, nor does who
 * removes the database. */
#define LOOK_MS		1000

/* Who cannot announce that it sleeps looks more often, but ever less so. */
#define POLL_MAX_MS	100

/* ---- beginning --------------------------------------------------------- */

static int
not_yet(struct kevo_feed *f, const struct kv_feed_start *s, uint64_t seq)
{
	if (s->at != NULL)
		return kv_fail(&f->db->env, KEVO_EHISTORY, "%s: history has "
		    "changed: commits %llu to %llu are not there any more",
		    f->db->path, (unsigned long long)f->visible + 1,
		    (unsigned long long)seq);
	return kv_fail(&f->db->env, KEVO_EINVAL, "%s: there is no version "
	    "%llu yet; the newest is %llu", f->db->path,
	    (unsigned long long)seq, (unsigned long long)f->visible);
}

static int
begin(struct kevo_feed *f, const struct kv_feed_start *s)
{
	uint64_t seq;
	int rc;

	if ((rc = kv_usable(f->db)) != 0 || (rc = kv_join_refuse(f->db, "its "
	    "log cannot be followed")) != 0 || (rc = kv_warm_up(f->db)) != 0)
		return rc;
	memcpy(f->id, f->db->ctl->id, sizeof(f->id));
	f->generation = f->db->ctl->generation;
	if ((rc = kv_feed_look(f)) != 0)
		return rc;
	seq = s->at != NULL ? s->at->seq : s->flags & KEVO_FEED_NOW ?
	    f->limit : s->after;
	if (seq > f->visible)
		return not_yet(f, s, seq);
	if ((rc = kv_feed_place(f, seq, s->at != NULL ? &s->at->chain :
	    NULL)) == 0 && s->at != NULL)
		f->at = *s->at;
	return rc;
}

int
kv_feed_open(struct kevo *db, const struct kv_feed_start *start,
    struct kevo_feed **out)
{
	struct kevo_feed *f = calloc(1, sizeof(*f));
	int rc;

	if (f == NULL || (start->dir != NULL &&
	    (f->linked = strdup(start->dir)) == NULL)) {
		free(f);
		return kv_fail(&db->env, KEVO_ENOMEM, "out of memory");
	}
	f->db = db;
	f->flags = start->flags;
	if ((rc = begin(f, start)) != 0) {
		kevo_feed_close(f);
		return rc;
	}
	*out = f;
	return 0;
}

int
kevo_feed_open(struct kevo *db, const struct kevo_feed_start *start,
    struct kevo_feed **out)
{
	static const struct kevo_feed_start all;
	const struct kevo_feed_start *p = start != NULL ? start : &all;
	struct kv_feed_start s = { .flags = p->flags, .after = p->after };
	struct kv_position at;

	if (p->position != NULL) {
		if (kv_position_parse(p->position, &at) != 0)
			return kv_fail(&db->env, KEVO_EINVAL, "not a position "
			    "in a log");
		s.at = &at;
	}
	return kv_result(db, kv_feed_open(db, &s, out));
}

void
kevo_feed_close(struct kevo_feed *f)
{
	if (f == NULL)
		return;
	while (f->nahead > 0)
		kv_feed_file_close(f->ahead[--f->nahead]);
	kv_feed_file_close(f->file);
	free(f->linked);
	free(f);
}

/* ---- where it is ------------------------------------------------------- */

void
kv_feed_position(const struct kevo_feed *f, struct kv_position *p)
{
	*p = f->at;
}

void
kevo_feed_position(const struct kevo_feed *f, char buf[KEVO_POSITION_LEN])
{
	_Static_assert(KEVO_POSITION_LEN == KV_POSITION_LEN, "one length");
	kv_position_print(buf, &f->at);
}

uint64_t
kevo_feed_version(const struct kevo_feed *f)
{
	return f->at.seq;
}

int
kv_feed_limit(struct kevo_feed *f, uint64_t *seq)
{
	int rc = kv_feed_look(f);

	*seq = f->limit;
	return rc;
}

int
kv_feed_oldest(struct kevo *db, const char *dir, uint64_t *after)
{
	struct kv_feed_place p = { &db->env, &db->dir, NULL, dir, 0 };
	int rc;

	if ((rc = kv_usable(db)) != 0 || (rc = kv_warm_up(db)) != 0 ||
	    (rc = kv_view_now(db, NULL)) != 0)
		return rc;
	p.id = db->ctl->id;
	p.active = atomic_load_explicit(&db->ctl->active,
	    memory_order_acquire);
	return kv_feed_first(&p, after);
}

/* ---- commits ----------------------------------------------------------- */

static int
next_commit(struct kevo_feed *f, struct kevo_feed_commit *c)
{
	struct kv_feed_item item;
	int rc;

	f->left = 0;
	do {
		if ((rc = kv_feed_step(f, &item)) != 0)
			return rc;
	} while (item.kind != KV_FEED_RECORD);
	f->payload = item.bytes + KV_FRAME_LEN;
	f->len = item.len - KV_FRAME_LEN - KV_TRAILER_LEN;
	f->off = KV_PAYLOAD_HEAD;
	if (item.type == KV_RECORD_COMMIT)
		f->left = get_le32(f->payload);
	c->version = item.seq;
	c->time_ns = item.time_ns;
	c->changes = f->left;
	return 0;
}

int
kevo_feed_next(struct kevo_feed *f, struct kevo_feed_commit *c)
{
	return kv_result(f->db, next_commit(f, c));
}

int
kevo_feed_change(struct kevo_feed *f, struct kevo_change *c)
{
	struct kv_op op;

	if (f->left == 0)
		return KEVO_NOTFOUND;
	if (kv_op_decode(f->payload, f->len, f->off, &op) != 0)
		return kv_fail(&f->db->env, KEVO_ECORRUPT, "%s: commit %llu "
		    "cannot be decoded", f->db->path,
		    (unsigned long long)f->at.seq);
	f->left--;
	f->off += op.len;
	memset(c, 0, sizeof(*c));
	c->kind = op.kind == KV_OP_PUT ? KEVO_PUT : KEVO_DELETE;
	c->rec.key = op.key;
	c->rec.klen = op.klen;
	c->rec.version = f->at.seq;
	if (c->kind == KEVO_PUT) {
		c->rec.value = op.val;
		c->rec.vlen = op.vlen;
		c->rec.expires_ns = op.expires_ns;
	}
	return 0;
}

/* ---- waiting ----------------------------------------------------------- */

/* 1: there is something; 0: not yet; or an error. */
static int
look(struct kevo_feed *f)
{
	int rc = kv_feed_look(f);

	return rc != 0 ? rc : kv_feed_ready(f);
}

/*
 * Announce, look, sleep: the steps of lock.h.  Returns 0 (look again),
 * KEVO_NOTFOUND (a signal came) or an error.  If looking finds another
 * control, what we announced ourselves in may be gone.
 */
static int
sleep_once(struct kevo_feed *f, int64_t left, int *poll_ms)
{
	const struct kv_control *ctl = f->db->ctl;
	struct kv_control *c = kv_writable_control(f->db);
	_Atomic uint32_t *word = c != NULL ? &c->event : &f->db->ctl->event;
	uint32_t seen = c != NULL ? kv_event_enter(word) : atomic_load(word);
	uint64_t generation = f->generation;
	int ms = c != NULL ? LOOK_MS : *poll_ms, rc;

	if ((rc = look(f)) != 0)
		return rc == 1 ? 0 : rc;
	if (f->db->ctl != ctl || f->generation != generation)
		return 0;
	if (c == NULL && *poll_ms < POLL_MAX_MS)
		*poll_ms *= 2;
	if (left >= 0 && left < ms)
		ms = (int)left;
	return kv_event_sleep(word, seen, ms) < 0 ? KEVO_NOTFOUND : 0;
}

static int
wait(struct kevo_feed *f, int64_t max_ms)
{
	int64_t until = kv_mono_ms() + max_ms, left = -1;
	int poll_ms = 1, rc;

	for (;;) {
		if ((rc = look(f)) != 0)
			return rc == 1 ? 0 : rc;
		if (max_ms >= 0 && (left = until - kv_mono_ms()) <= 0)
			return KEVO_NOTFOUND;
		if ((rc = sleep_once(f, left, &poll_ms)) != 0)
			return rc;
	}
}

int
kevo_feed_wait(struct kevo_feed *f, int64_t max_ms)
{
	return kv_result(f->db, wait(f, max_ms));
}
