#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "db.h"
#include "position.h"
#include "record.h"
#include "text.h"

void
kv_position_print(char buf[KV_POSITION_LEN], const struct kv_position *p)
{
	snprintf(buf, KV_POSITION_LEN, "%" PRIu32 ".%016" PRIx64 ":%" PRIu64
	    ":%016" PRIx64, p->epoch, p->nonce, p->seq, p->chain);
}

/* A decimal number up to a certain character.  What follows, or NULL. */
static const char *
number(const char *s, char then, uint64_t max, uint64_t *out)
{
	const char *end = strchr(s, then);
	char buf[24];

	if (end == NULL || (size_t)(end - s) >= sizeof(buf))
		return NULL;
	memcpy(buf, s, (size_t)(end - s));
	buf[end - s] = '\0';
	return kv_text_decimal(buf, max, out) == 0 ? end + 1 : NULL;
}

int
kv_position_parse(const char *s, struct kv_position *p)
{
	uint64_t epoch;

	if ((s = number(s, '.', UINT32_MAX, &epoch)) == NULL || epoch == 0 ||
	    (s = kv_text_hex(s, &p->nonce)) == NULL || *s++ != ':' ||
	    (s = number(s, ':', UINT64_MAX, &p->seq)) == NULL ||
	    (s = kv_text_hex(s, &p->chain)) == NULL || *s != '\0')
		return -1;
	p->epoch = (uint32_t)epoch;
	return 0;
}

int
kv_position_same(const struct kv_position *a, const struct kv_position *b)
{
	return a->epoch == b->epoch && a->nonce == b->nonce &&
	    a->seq == b->seq && a->chain == b->chain;
}

/* ---- of a database ----------------------------------------------------- */

/*
 * Find commit seq in a segment, if it is in it.  What is at or below the
 * newest visible or synced commit is whole, so nothing torn is met; what does
 * not verify all the same is damage.
 */
static int
find_in(struct kevo *db, const struct kv_seg *s, uint64_t seq,
    struct kv_position *out)
{
	struct kv_walk w;

	kv_walk_start(&w, s->log, s->log_len, &s->head);
	while (w.seq < seq)
		if (kv_walk_next(&w) != KV_WALK_RECORD)
			return kv_fail(&db->env, KEVO_ECORRUPT, "%s: segment "
			    "%llu is damaged at byte %llu", db->path,
			    (unsigned long long)s->counter,
			    (unsigned long long)w.off);
	out->epoch = s->head.epoch;
	out->nonce = s->head.nonce;
	out->seq = seq;
	out->chain = w.chain;
	return 0;
}

/* From the newest segment to the oldest: most are near the end. */
static int
find(struct kevo *db, uint64_t seq, struct kv_position *out)
{
	struct kv_view *v = db->view;
	struct kv_seg *s;
	int rc;

	for (uint64_t c = v->last;; c--) {
		if ((rc = kv_view_seg(db, v, c, &s)) != 0)
			return rc;
		if (seq + 1 >= s->head.first_seq)
			return find_in(db, s, seq, out);
		if (c == v->base)
			return KEVO_NOTFOUND;
	}
}

/* The tail in control, if it is that of seq and nobody is moving it. */
static int
is_tail(struct kevo *db, uint64_t seq, struct kv_position *out)
{
	const struct kv_control *c = db->ctl;
	uint64_t turn = atomic_load_explicit(&c->tail_turn,
	    memory_order_acquire);
	struct kv_tail t = c->tail[turn & 1];
	struct kv_seg *s;

	atomic_thread_fence(memory_order_acquire);
	if (atomic_load_explicit(&c->tail_turn, memory_order_relaxed) != turn
	    || t.seq != seq || t.segment != db->view->last ||
	    kv_view_seg(db, db->view, t.segment, &s) != 0)
		return 0;
	out->epoch = s->head.epoch;
	out->nonce = s->head.nonce;
	out->seq = seq;
	out->chain = t.chain;
	return 1;
}

int
kv_position_find(struct kevo *db, uint64_t seq, struct kv_position *out)
{
	const struct kv_tail *t = kv_tail(db->ctl);
	int rc;

	if (seq > t->seq)
		return KEVO_NOTFOUND;
	if (is_tail(db, seq, out))
		return 0;
	rc = find(db, seq, out);
	return rc == KV_RETRY ? kv_index_missing(db) : rc;
}

/* Views that go away under us: a newer version, or a new generation. */
#define TRIES	8

static int
look(struct kevo *db, enum kv_position_of which, uint64_t want,
    struct kv_position *out)
{
	uint64_t seq, visible;
	int rc;

	for (int i = 0; i < TRIES; i++) {
		/* A commit was in a segment before it was in `synced`. */
		seq = atomic_load_explicit(&db->ctl->synced,
		    memory_order_acquire);
		if ((rc = kv_view_now(db, &visible)) != 0)
			return rc;
		if (which == KV_AT_VISIBLE)
			seq = visible;
		if (want != UINT64_MAX && want > seq)
			return KEVO_NOTFOUND;
		if (want != UINT64_MAX)
			seq = want;
		if (is_tail(db, seq, out))
			return 0;
		if ((rc = find(db, seq, out)) != KV_RETRY &&
		    rc != KEVO_NOTFOUND)
			return rc;
		if (rc == KEVO_NOTFOUND && want != UINT64_MAX)
			return rc;
	}
	return kv_index_missing(db);
}

int
kv_position_now(struct kevo *db, enum kv_position_of which,
    struct kv_position *out)
{
	int rc;

	if ((rc = kv_usable(db)) != 0 || (rc = kv_warm_up(db)) != 0)
		return rc;
	return look(db, which, UINT64_MAX, out);
}

int
kv_position_at(struct kevo *db, uint64_t seq, struct kv_position *out)
{
	int rc;

	if ((rc = kv_usable(db)) != 0 || (rc = kv_warm_up(db)) != 0)
		return rc;
	return look(db, KV_AT_VISIBLE, seq, out);
}
