/*
 * Records are collected until somebody wants them on disk, or enough are
 * there: then one call appends them.  They are seen when they are synced.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "apply.h"
#include "coding.h"
#include "db.h"
#include "epoch.h"
#include "record.h"
#include "ship.h"
#include "dest.h"

#define BUFFER	((size_t)256 << 10)	/* larger pieces need none */

struct dest_db {
	struct kv_dest k;
	struct kevo *db;
	struct kv_applier *applier;
	struct kv_apply_from from;	/* of what is in buf */
	int primary;			/* so says the sender */
	uint8_t *buf;
	size_t len, room;
	struct kv_position end;		/* of what is appended */
};

/* ---- why not ----------------------------------------------------------- */

static const struct {
	enum kv_apply_class why;
	enum kv_ship_class class;
} classes[] = {
	{ KV_APPLY_CORRUPT, KV_SHIP_CORRUPT },
	{ KV_APPLY_GAP, KV_SHIP_GAP },
	{ KV_APPLY_FORK, KV_SHIP_FORK },
	{ KV_APPLY_WRONG_DB, KV_SHIP_WRONG_DB },
	{ KV_APPLY_ORPHANED, KV_SHIP_ORPHANS },
	{ KV_APPLY_AHEAD, KV_SHIP_FENCED },
	{ KV_APPLY_NO_EPOCH, KV_SHIP_WAITING }
};

/* The engine's sentence stays, its class is the operator's. */
static int
classed(const struct kv_applied *a, int rc)
{
	for (size_t i = 0; i < sizeof(classes) / sizeof(classes[0]); i++)
		if (rc < 0 && classes[i].why == a->why)
			return (int)classes[i].class;
	return rc;
}

int
kv_dest_orphans(struct kv_env *env, const struct kv_history *h,
    const struct kv_position *end, const char *where)
{
	const struct kv_epoch *next = kv_history_next(h, end->epoch);

	if (next == NULL || end->seq <= next->start)
		return 0;
	return kv_ship_fail(env, KV_SHIP_ORPHANS, "stream: the sender has "
	    "commits %" PRIu64 "..%" PRIu64 " of epoch %" PRIu32 ", but %s "
	    "knows that epoch %" PRIu32 " began behind commit %" PRIu64 " (%s)"
	    "; nothing of them was used; next: kevo-walship rejoin there",
	    next->start + 1, end->seq, end->epoch, where, next->epoch,
	    next->start, next->host);
}

/* ---- records ----------------------------------------------------------- */

static int
apply(struct dest_db *s, const uint8_t *p, size_t len)
{
	struct kv_applied a;
	int rc;

	memset(&a, 0, sizeof(a));
	if ((rc = kv_apply(s->applier, &s->from, p, len, KEVO_SYNC_LATER,
	    &a)) != 0)
		return classed(&a, rc);
	s->end = a.now;
	return 0;
}

static int
flush(struct dest_db *s)
{
	size_t len = s->len;

	s->len = 0;
	return len == 0 ? 0 : apply(s, s->buf, len);
}

uint64_t
kv_dest_last_time(const uint8_t *p, size_t len)
{
	for (;;) {
		uint64_t n = kv_record_len(get_le32(p));

		if (n >= len)
			return get_le64(p + 16);
		p += n;
		len -= n;
	}
}

static int
db_records(struct kv_dest *k, const struct kv_position *before,
    const uint8_t *p, size_t len)
{
	struct dest_db *s = (struct dest_db *)k;
	int rc;

	if (s->len > 0 && (s->len + len > s->room ||
	    s->from.before.epoch != before->epoch) && (rc = flush(s)) != 0)
		return rc;
	k->time_ns = kv_dest_last_time(p, len);
	if (s->len == 0)
		s->from.before = *before;
	if (len > s->room)
		return apply(s, p, len);
	memcpy(s->buf + s->len, p, len);
	s->len += len;
	return 0;
}

static int
db_sync(struct kv_dest *k)
{
	struct dest_db *s = (struct dest_db *)k;
	int rc;

	if ((rc = flush(s)) == 0 && (rc = kevo_sync(s->db)) == 0)
		k->at = s->end;
	return rc;
}

/* ---- the rest ---------------------------------------------------------- */

static int
db_begin(struct kv_dest *k, const struct kv_hello *h)
{
	struct dest_db *s = (struct dest_db *)k;
	const struct kv_history *hist = kv_applier_history(s->applier);
	char ours[37], theirs[37];

	if (memcmp(h->id, hist->v[0].db, 16) != 0) {
		kv_id_print(theirs, h->id);
		kv_id_print(ours, hist->v[0].db);
		return kv_ship_fail(k->env, KV_SHIP_WRONG_DB, "stream: the "
		    "input is %s, %s is %s; nothing was applied", theirs,
		    s->db->path, ours);
	}
	memcpy(s->from.db, h->id, 16);
	s->primary = h->primary;
	if (h->start.seq > k->at.seq)
		return kv_ship_fail(k->env, KV_SHIP_GAP, "%s: need %" PRIu64
		    ", the stream begins with %" PRIu64 "; nothing was "
		    "applied; next: begin earlier, or restore from a base",
		    s->db->path, k->at.seq + 1, h->start.seq + 1);
	if (h->start.seq == k->at.seq && h->start.epoch == k->at.epoch &&
	    h->start.chain != k->at.chain)
		return kv_ship_fail(k->env, KV_SHIP_FORK, "%s: at commit %"
		    PRIu64 ": we have chain %016" PRIx64 " (epoch %" PRIu32
		    "), the input has %016" PRIx64 " (epoch %" PRIu32 "): two"
		    " writers or a cloned disk; nothing was applied",
		    s->db->path, k->at.seq, k->at.chain, k->at.epoch,
		    h->start.chain, h->start.epoch);
	return 0;
}

static int
db_epoch(struct kv_dest *k, const char *text, size_t len)
{
	struct dest_db *s = (struct dest_db *)k;
	struct kv_applied a;
	int rc;

	if ((rc = db_sync(k)) != 0)
		return rc;
	memset(&a, 0, sizeof(a));
	return classed(&a, kv_apply_epoch(s->applier, text, len, &a));
}

static int
db_segment(struct kv_dest *k, const struct kv_segment_head *h,
    const uint8_t *raw, uint64_t after)
{
	struct dest_db *s = (struct dest_db *)k;

	(void)raw;
	(void)after;
	if (memcmp(h->id, s->from.db, 16) != 0)
		return kv_ship_fail(k->env, KV_SHIP_WRONG_DB, "stream: a "
		    "segment of another database than the stream's");
	return 0;
}

/* A replica's segments are its own. */
static int
db_seal(struct kv_dest *k, const uint8_t *seal)
{
	(void)k;
	(void)seal;
	return 0;
}

/*
 * A primary that is behind us on our own line of history lost something: an
 * old disk, or a snapshot of one.  A replica may be behind.
 */
static int
db_beat(struct kv_dest *k, const struct kv_beat *b)
{
	struct dest_db *s = (struct dest_db *)k;
	int rc;

	if (k->live && s->primary && b->end.epoch == k->at.epoch &&
	    b->end.nonce == k->at.nonce && b->end.seq < k->at.seq)
		return kv_ship_fail(k->env, KV_SHIP_FORK, "%s: we have commit "
		    "%" PRIu64 ", the primary only %" PRIu64 " of the same "
		    "epoch: it was rolled back; nothing was applied",
		    s->db->path, k->at.seq, b->end.seq);
	if ((rc = kv_dest_orphans(k->env, kv_applier_history(s->applier),
	    &b->end, s->db->path)) != 0)
		return rc;
	if (k->live)
		kv_apply_beat(s->db, b->end.seq, b->clock_ns);
	return 0;
}

int
kv_dest_db_open(struct kevo *db, struct kv_dest **out)
{
	struct dest_db *s = calloc(1, sizeof(*s));
	int rc;

	if (s == NULL)
		return kv_fail(&db->env, KEVO_ENOMEM, "out of memory");
	s->db = db;
	s->room = BUFFER;
	s->k = (struct kv_dest){ .env = &db->env, .stage = KV_ACK_APPLIED,
		.begin = db_begin, .epoch = db_epoch, .segment = db_segment,
		.records = db_records, .seal = db_seal, .sync = db_sync,
		.beat = db_beat };
	if ((s->buf = malloc(s->room)) == NULL) {
		rc = kv_fail(&db->env, KEVO_ENOMEM, "out of memory");
		goto err_free;
	}
	if ((rc = kv_position_now(db, KV_AT_SYNCED, &s->k.at)) != 0 ||
	    (rc = kv_applier_open(db, &s->applier)) != 0)
		goto err_free;
	s->end = s->k.at;
	*out = &s->k;
	return 0;

err_free:
	free(s->buf);
	free(s);
	return rc;
}

void
kv_dest_db_close(struct kv_dest *k)
{
	struct dest_db *s = (struct dest_db *)k;

	if (s == NULL)
		return;
	kv_applier_close(s->applier);
	free(s->buf);
	free(s);
}
