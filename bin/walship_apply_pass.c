/*
 * One pass of apply: what an archive has, and the replica has not.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "apply.h"
#include "coding.h"
#include "db.h"
#include "record.h"
#include "ship/accept.h"
#include "ship/archive.h"
#include "ship/image.h"
#include "ship/ship.h"
#include "ship/tail.h"
#include "walship.h"
#include "walship_apply_work.h"
#include "walship_archive.h"

/* How much is appended at once; a record that is larger goes alone. */
#define PIECE	((uint64_t)4 << 20)

void
apply_fail(struct apply *p, int rc)
{
	walship_archive_fail(p->a, rc);
}

/* The history that the replica has, or will have. */
static const struct kv_history *
history(const struct apply *p)
{
	return p->dry_run ? &p->plan : kv_applier_history(p->applier);
}

/* ---- one image --------------------------------------------------------- */

static int
class_of(enum kv_apply_class why)
{
	switch (why) {
	case KV_APPLY_CORRUPT:
		return KV_SHIP_CORRUPT;
	case KV_APPLY_GAP:
		return KV_SHIP_GAP;
	case KV_APPLY_FORK:
		return KV_SHIP_FORK;
	case KV_APPLY_WRONG_DB:
		return KV_SHIP_WRONG_DB;
	case KV_APPLY_ORPHANED:
		return KV_SHIP_ORPHANS;
	case KV_APPLY_AHEAD:
		return KV_SHIP_FENCED;
	case KV_APPLY_NO_EPOCH:
		return KV_SHIP_WAITING;
	case KV_APPLY_DONE:
	case KV_APPLY_ROLE:
		break;
	}
	return 0;
}

static void
check(struct apply *p, int rc, const struct kv_applied *out)
{
	int class = class_of(out->why);

	if (rc == 0)
		return;
	if (class == 0)
		cli_fail(p->db, rc);
	kv_ship_fail(&p->a->env, (enum kv_ship_class)class, "%s",
	    kevo_errmsg(p->db));
	apply_fail(p, class);
}

/* Where the next PIECE of whole records ends. */
static uint64_t
piece_end(const struct kv_image *img, uint64_t off, uint64_t end)
{
	uint64_t at = off, next;

	do {
		next = at + kv_record_len(get_le32(img->bytes + at));
		if (next - off > PIECE && at > off)
			break;
		at = next;
	} while (at < end);
	return at;
}

/* As if they had been. */
static void
pretend(struct apply *p, const struct kv_image *img, uint64_t last,
    uint64_t chain)
{
	p->applied += last - p->at.seq;
	p->time_ns = kv_image_time(img, last);
	p->at = (struct kv_position){ img->head.epoch, img->head.nonce, last,
		chain };
}

/* Append commits off to end, which were verified. */
static void
append(struct apply *p, const struct kv_image *img, uint64_t off,
    uint64_t end)
{
	struct kv_apply_from from = { .before = p->at };
	struct kv_applied out;
	uint64_t to;
	int rc;

	memcpy(from.db, img->head.id, sizeof(from.db));
	while (off < end && !cli_stopped()) {
		from.before = p->at;
		from.before.epoch = img->head.epoch;
		from.before.nonce = img->head.nonce;
		to = piece_end(img, off, end);
		memset(&out, 0, sizeof(out));
		rc = kv_apply(p->applier, &from, img->bytes + off,
		    (size_t)(to - off), KEVO_SYNC_LATER, &out);
		check(p, rc, &out);
		p->at = out.now;
		p->applied += out.applied;
		off = to;
	}
	if ((rc = kevo_sync(p->db)) != 0)
		cli_fail(p->db, rc);
}

/* The last commit that may be applied now, at most last. */
static uint64_t
allowed(struct apply *p, const struct kv_image *img, uint64_t last)
{
	uint64_t seq, delay, now = kv_now_ns();

	if (p->until_seq < last)
		last = p->until_seq;
	if (img->last_ns > p->until_ns &&
	    (seq = kv_image_seq_at(img, p->until_ns)) < last)
		last = seq;
	if (p->until_seq <= last || (last < img->last_seq ?
	    p->until_ns < img->last_ns : p->until_ns == img->last_ns))
		p->reached = 1;
	if (p->delay_ms < 0)
		return last;
	delay = (uint64_t)p->delay_ms * 1000000u;
	if (delay > now)
		delay = now;
	seq = kv_image_seq_at(img, now - delay);
	p->held = seq < last;
	if (p->held)
		p->reached = 0;		/* not before it is due */
	return p->held ? seq : last;
}

/* Apply what is new in an image.  1: there was something. */
static int
take(struct apply *p, const struct kv_image *img, const char *name)
{
	struct kv_accept_to to = { .at = p->at,
		.history = history(p) };
	uint64_t last, end, chain;
	struct kv_accept v;
	int rc;

	memcpy(to.db, p->a->id, sizeof(to.db));
	kv_accept(img, &to, &v);
	if (v.verdict == KV_ACCEPT_SKIP || v.verdict == KV_ACCEPT_SHORT)
		return 0;
	if (v.verdict != KV_ACCEPT_APPLY) {
		rc = kv_accept_fail(&p->a->env, &v, img, &to, name,
		    p->into);
		apply_fail(p, rc);
	}
	last = allowed(p, img, v.last);
	if (last < v.first || kv_image_at(img, last, &end, &chain) != 0)
		return 0;
	if (p->dry_run)
		pretend(p, img, last, chain);
	else
		append(p, img, v.off, end);
	return 1;
}

/* ---- the archive ------------------------------------------------------- */

/* Epochs that the replica does not know, in order. */
static void
take_epochs(struct apply *p)
{
	const struct kv_history *ours;
	char text[KV_EPOCH_TEXT_MAX];
	struct kv_applied out;
	size_t len;
	int rc;

	for (size_t i = 0; i < p->a->history.n; i++) {
		const struct kv_epoch *e = &p->a->history.v[i];

		ours = history(p);
		if (kv_history_find(ours, e->epoch) != NULL &&
		    kv_history_find(ours, e->epoch)->nonce == e->nonce)
			continue;
		len = kv_epoch_print(text, e);
		memset(&out, 0, sizeof(out));
		rc = kv_apply_epoch(p->applier, text, len, &out);
		check(p, rc, &out);
	}
}

/* The segment that follows the replica's position, or NULL. */
static const struct kv_archive_seg *
next_segment(struct apply *p)
{
	const struct kv_history *h = history(p);
	const struct kv_epoch *e = kv_history_of(h, p->at.seq + 1);

	return e != NULL ? kv_archive_find(p->a, e->epoch, p->at.seq + 1) :
	    NULL;
}

/* The first commit behind the position that the archive has; 0: none.  What
 * lost a promotion has numbers, too, and nobody needs it. */
static uint64_t
first_behind(const struct apply *p)
{
	const struct kv_archive_seg *s = p->a->seg;
	uint64_t best = 0;

	for (size_t i = 0; i < p->a->nseg; i++, s++)
		if (s->first > p->at.seq && (best == 0 || s->first < best) &&
		    !kv_archive_is_lost(p->a, s->epoch, s->first))
			best = s->first;
	return best;
}

static void
check_gap(struct apply *p, uint64_t first)
{
	if (first == 0)
		return;
	kv_ship_fail(&p->a->env, KV_SHIP_GAP, "%s: need commit %" PRIu64
	    ", the next one in %s is %" PRIu64 "; this replica cannot "
	    "continue; next: %s", p->into, p->at.seq + 1, p->a->path,
	    first, walship_archive_way(p->a, first));
	apply_fail(p, KV_SHIP_GAP);
}

/* Who follows will need what is held of a segment, and the place in a tail. */
static void
keep_or_release(struct apply *p, struct kv_image *img, const char *file,
    int tail)
{
	if (p->follow && (tail || p->held)) {
		kv_image_pass(img, p->at.seq);
		kv_kept_set(&p->kept, img, file, tail);
	}
	kv_image_release(img);
}

static void
take_segments(struct apply *p)
{
	const struct kv_archive_seg *seg;
	char file[KV_ARCHIVE_PATH_LEN];
	struct kv_image img;
	int rc, more = 1;

	while (more && !p->reached && !p->held && !cli_stopped() &&
	    (seg = next_segment(p)) != NULL) {
		kv_archive_seg_path(file, seg);
		if ((rc = kv_archive_load(p->a, seg, &img)) != 0)
			apply_fail(p, rc);
		more = take(p, &img, kv_path(&p->a->dir, file));
		keep_or_release(p, &img, file, 0);
	}
	if (more && !p->reached && !p->held && !cli_stopped())
		check_gap(p, first_behind(p));
}

static void
take_tail(struct apply *p)
{
	char file[KV_ARCHIVE_PATH_LEN];
	struct kv_image img;
	int rc;

	/* One that is kept was read on a moment ago. */
	if (p->reached || p->held || cli_stopped() || p->kept.any)
		return;
	rc = kv_tail_load(p->a, &img, file, sizeof(file));
	if (rc == KEVO_NOTFOUND)
		return;
	if (rc != 0)
		apply_fail(p, rc);
	take(p, &img, kv_path(&p->a->dir, file));
	keep_or_release(p, &img, file, 1);
}

/* Is what we need next of the epoch that was kept?  Else a promotion has put
 * an end to it. */
static int
is_same_epoch(const struct apply *p)
{
	const struct kv_epoch *e = kv_history_of(history(p), p->at.seq + 1);

	return e != NULL && e->epoch == p->kept.img.head.epoch;
}

/*
 * What was kept of the last pass.  1: that is all that can be done now; the
 * archive need not be listed.
 */
static int
take_kept(struct apply *p)
{
	struct kv_kept *k = &p->kept;
	uint64_t before = p->at.seq;
	int rc;

	if (k->any && !is_same_epoch(p))
		kv_kept_release(k);
	rc = kv_kept_read(p->a, k);
	if (rc != 0 && rc != KEVO_NOTFOUND)
		apply_fail(p, rc);
	if (rc == KEVO_NOTFOUND)
		return 0;
	take(p, &k->img, kv_path(&p->a->dir, k->file));
	kv_image_pass(&k->img, p->at.seq);
	if (p->held || p->reached)
		return 1;
	if (k->tail && is_same_epoch(p))
		return p->at.seq != before && kv_kept_stamp(p->a) ==
		    p->listed;
	kv_kept_release(k);
	return 0;
}

struct behind {
	const struct apply *p;
	uint64_t first;		/* 0: none */
};

/* A tail of the newest epoch that begins behind what we could reach. */
static int
look_at_tail(void *arg, const char *name)
{
	struct behind *b = arg;
	const struct kv_epoch *e = kv_history_newest(&b->p->a->history);
	unsigned long long first;
	unsigned epoch;
	int n = 0;

	if (sscanf(name, "%8x-%16llx.open%n", &epoch, &first, &n) != 2 ||
	    n == 0 || name[n] != '\0' || e == NULL || epoch != e->epoch ||
	    first <= b->p->at.seq + 1)
		return 0;
	if (b->first == 0 || first < b->first)
		b->first = first;
	return 0;
}

/*
 * Is there a tail that we cannot reach?  What is before it was a segment by
 * the time that it was begun: so either that is there now, and is to be taken
 * (1), or it is missing.
 */
static int
is_behind(struct apply *p)
{
	struct behind b = { .p = p };
	int rc;

	if (p->reached || p->held || cli_stopped())
		return 0;
	if ((rc = kv_archive_each(p->a, "state/tail", look_at_tail,
	    &b)) != 0 || (b.first != 0 &&
	    (rc = kv_archive_list(p->a)) != 0))
		apply_fail(p, rc);
	if (b.first != 0 && next_segment(p) == NULL)
		check_gap(p, b.first);
	return b.first != 0;
}

/* Where the archive ends, the replica has the same commit; it may have got
 * more in another way. */
static void
check_end(struct apply *p)
{
	struct kv_position end, ours = p->at;
	int rc;

	if ((rc = kv_archive_position(p->a, &end)) != 0)
		apply_fail(p, rc);
	if (end.epoch == 0 || end.seq > p->at.seq ||
	    kv_position_same(&end, &p->end))
		return;
	p->end = end;
	if (end.seq < p->at.seq &&
	    (rc = kv_position_at(p->db, end.seq, &ours)) != 0) {
		if (rc < 0)
			cli_fail(p->db, rc);
		return;		/* so far back its log is not kept */
	}
	if (end.chain == ours.chain)
		return;
	kv_ship_fail(&p->a->env, KV_SHIP_FORK, "%s: at commit %" PRIu64
	    " it has chain %016" PRIx64 ", %s has %016" PRIx64 ": two writers "
	    "or a cloned disk; next: find out which of both is to live",
	    p->into, end.seq, ours.chain, p->a->path, end.chain);
	apply_fail(p, KV_SHIP_FORK);
}

void
apply_beat(struct apply *p)
{
	struct kv_position at;
	uint64_t when;

	if (walship_source_read(p->a, &at, &when) == 0)
		kv_apply_beat(p->db, at.seq, when);
}

void
apply_pass(struct apply *p)
{
	uint64_t before;
	int rc;

	p->held = 0;
	if ((rc = kv_archive_read_epochs(p->a)) != 0)
		apply_fail(p, rc);
	if (!p->dry_run)
		take_epochs(p);
	if (take_kept(p)) {
		apply_beat(p);
		return;
	}
	p->listed = kv_kept_stamp(p->a);
	if ((rc = kv_archive_list(p->a)) != 0)
		apply_fail(p, rc);
	do {
		before = p->at.seq;
		take_segments(p);
		take_tail(p);
	} while (is_behind(p) && p->at.seq != before);
	if (p->at.seq >= p->until_seq)
		p->reached = 1;
	if (p->dry_run)
		return;
	check_end(p);
	apply_beat(p);
}
