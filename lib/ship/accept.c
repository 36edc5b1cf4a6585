#include <inttypes.h>
#include <string.h>

#include "../env.h"
#include "../epoch.h"
#include "accept.h"
#include "image.h"
#include "ship.h"

/*
 * Sequence numbers alone decide nothing: a commit that lost a fork has the
 * number of one that won, and "its last is not above mine" would take it for
 * a repeat and lose the evidence.  So the epochs are looked at first.
 */

const char *
kv_verdict_word(enum kv_verdict v)
{
	static const char *const words[] = {
		[KV_ACCEPT_APPLY] = "apply", [KV_ACCEPT_SKIP] = "skip",
		[KV_ACCEPT_SHORT] = "short", [KV_ACCEPT_CORRUPT] = "corrupt",
		[KV_ACCEPT_WRONG_DB] = "wrong-db",
		[KV_ACCEPT_WAIT] = "waiting", [KV_ACCEPT_FORK] = "fork",
		[KV_ACCEPT_ORPHANED] = "orphans", [KV_ACCEPT_AHEAD] = "ahead",
		[KV_ACCEPT_GAP] = "gap"
	};

	return words[v];
}

static int
fork_at(struct kv_accept *out, uint64_t seq, uint64_t ours, uint64_t theirs)
{
	out->verdict = KV_ACCEPT_FORK;
	out->seq = seq;
	out->ours = ours;
	out->theirs = theirs;
	return 1;
}

/* Is it of an epoch that we know, and does it begin in it?  1: decided. */
static int
judge_epoch(const struct kv_image *img, const struct kv_accept_to *to,
    struct kv_accept *out)
{
	const struct kv_epoch *e = kv_history_find(to->history,
	    img->head.epoch);

	if (e == NULL) {
		out->verdict = KV_ACCEPT_WAIT;
		out->theirs = img->head.epoch;
		return 1;
	}
	if (e->nonce != img->head.nonce)
		return fork_at(out, e->start, e->nonce, img->head.nonce);
	if (img->head.first_seq - 1 < e->start ||
	    (img->head.first_seq - 1 == e->start &&
	    img->head.chain_before != e->chain))
		return fork_at(out, e->start, e->chain,
		    img->head.chain_before);
	return 0;
}

/* Commits behind the place where the next epoch begins.  Those before it are
 * common to both; 1: there are none, or they are another history's. */
static int
judge_orphans(const struct kv_image *img, const struct kv_accept_to *to,
    struct kv_accept *out, uint64_t *last)
{
	const struct kv_epoch *next = kv_history_next(to->history,
	    img->head.epoch);
	uint64_t off, chain;

	*last = img->last_seq;
	if (next == NULL || img->last_seq < next->start)
		return 0;
	if (kv_image_at(img, next->start, &off, &chain) == 0 &&
	    chain != next->chain)
		return fork_at(out, next->start, next->chain, chain);
	if (img->last_seq == next->start)
		return 0;
	out->orphan_first = img->head.first_seq > next->start ?
	    img->head.first_seq : next->start + 1;
	out->orphan_last = img->last_seq;
	*last = next->start;
	if (img->head.first_seq <= next->start && (to->at.epoch == 0 ||
	    (to->at.epoch <= img->head.epoch && to->at.seq < next->start)))
		return 0;
	out->verdict = KV_ACCEPT_ORPHANED;
	return 1;
}

/* Where we are ourselves. */
static int
judge_us(const struct kv_accept_to *to, struct kv_accept *out)
{
	const struct kv_epoch *e, *next;

	if (to->at.epoch == 0)
		return 0;
	e = kv_history_find(to->history, to->at.epoch);
	if (e != NULL && e->nonce != to->at.nonce)
		return fork_at(out, e->start, to->at.nonce, e->nonce);
	next = kv_history_next(to->history, to->at.epoch);
	if (next == NULL || to->at.seq <= next->start)
		return 0;
	out->verdict = KV_ACCEPT_AHEAD;
	out->orphan_first = next->start + 1;
	out->orphan_last = to->at.seq;
	return 1;
}

/* The numbers, now that both are on one line. */
static void
judge_numbers(const struct kv_image *img, const struct kv_accept_to *to,
    uint64_t last, struct kv_accept *out)
{
	uint64_t mine = to->at.epoch != 0 ? to->at.seq :
	    img->head.first_seq - 1, end_chain, chain;

	out->verdict = KV_ACCEPT_SKIP;
	if (img->head.first_seq - 1 > mine) {
		out->verdict = KV_ACCEPT_GAP;
		out->seq = mine + 1;
		return;
	}
	if (to->at.epoch != 0 &&
	    kv_image_at(img, mine, &out->off, &chain) == 0 &&
	    chain != to->at.chain) {
		fork_at(out, mine, to->at.chain, chain);
		return;
	}
	if (last <= mine || img->records == 0)
		return;
	out->verdict = KV_ACCEPT_APPLY;
	out->first = mine + 1;
	out->last = last;
	kv_image_at(img, mine, &out->off, &chain);
	kv_image_at(img, last, &out->end, &end_chain);
}

void
kv_accept(const struct kv_image *img, const struct kv_accept_to *to,
    struct kv_accept *out)
{
	uint64_t last;

	memset(out, 0, sizeof(*out));
	out->verdict = img->state == KV_IMAGE_SHORT ? KV_ACCEPT_SHORT :
	    KV_ACCEPT_CORRUPT;
	if (!img->has_head || (img->records == 0 &&
	    img->state >= KV_IMAGE_SHORT))
		return;
	if (memcmp(img->head.id, to->db, 16) != 0) {
		out->verdict = KV_ACCEPT_WRONG_DB;
		return;
	}
	if (judge_epoch(img, to, out) || judge_orphans(img, to, out, &last) ||
	    judge_us(to, out))
		return;
	judge_numbers(img, to, last, out);
	if (out->verdict == KV_ACCEPT_SKIP && img->state >= KV_IMAGE_SHORT)
		out->verdict = img->state == KV_IMAGE_SHORT ?
		    KV_ACCEPT_SHORT : KV_ACCEPT_CORRUPT;
}

/* ---- in words ---------------------------------------------------------- */

static int
fail_fork(struct kv_env *env, const struct kv_accept *v,
    const struct kv_image *img, const char *object, const char *where)
{
	return kv_ship_fail(env, KV_SHIP_FORK, "%s: at commit %" PRIu64
	    " %s has %016" PRIx64 ", the input has %016" PRIx64
	    " (epoch %" PRIu32 "): two writers or a cloned disk; nothing was "
	    "applied; next: find out which of both is to live", object,
	    v->seq, where, v->ours, v->theirs, img->head.epoch);
}

static int
fail_wrong_db(struct kv_env *env, const struct kv_image *img,
    const struct kv_accept_to *to, const char *object, const char *where)
{
	char theirs[37], ours[37];

	kv_id_print(theirs, img->head.id);
	kv_id_print(ours, to->db);
	return kv_ship_fail(env, KV_SHIP_WRONG_DB,
	    "%s: it is of database %s, %s is %s; nothing was applied",
	    object, theirs, where, ours);
}

static int
fail_orphans(struct kv_env *env, const struct kv_accept *v,
    const struct kv_image *img, const char *object)
{
	uint64_t n = v->orphan_last - v->orphan_first + 1;

	return kv_ship_fail(env, KV_SHIP_ORPHANS, "%s: %" PRIu64 " commit%s %"
	    PRIu64 "..%" PRIu64 " of epoch %" PRIu32 " lost a promotion at %"
	    PRIu64, object, n, n == 1 ? "" : "s", v->orphan_first,
	    v->orphan_last, img->head.epoch, v->orphan_first - 1);
}

static int
fail_ahead(struct kv_env *env, const struct kv_accept *v,
    const struct kv_accept_to *to, const char *where)
{
	uint64_t n = v->orphan_last - v->orphan_first + 1;

	return kv_ship_fail(env, KV_SHIP_FENCED, "%s: at epoch %" PRIu32
	    ", but the next one began at commit %" PRIu64 "; %" PRIu64
	    " commit%s %" PRIu64 "..%" PRIu64 " %s only here; next: "
	    "kevo-walship rejoin", where, to->at.epoch, v->orphan_first - 1,
	    n, n == 1 ? "" : "s", v->orphan_first, v->orphan_last,
	    n == 1 ? "is" : "are");
}

int
kv_accept_fail(struct kv_env *env, const struct kv_accept *v,
    const struct kv_image *img, const struct kv_accept_to *to,
    const char *object, const char *where)
{
	switch (v->verdict) {
	case KV_ACCEPT_APPLY:
	case KV_ACCEPT_SKIP:
		return 0;
	case KV_ACCEPT_SHORT:
		return kv_ship_fail(env, KV_SHIP_SHORT, "%s: %s, at byte %"
		    PRIu64 "; nothing new in it; next: send it again", object,
		    img->why, img->len);
	case KV_ACCEPT_CORRUPT:
		return kv_ship_fail(env, KV_SHIP_CORRUPT, "%s: record %"
		    PRIu64 " at byte %" PRIu64 ": %s; next: fetch it again, "
		    "then kevo-walship verify", object, img->records + 1,
		    img->end, img->why);
	case KV_ACCEPT_WRONG_DB:
		return fail_wrong_db(env, img, to, object, where);
	case KV_ACCEPT_WAIT:
		return kv_ship_fail(env, KV_SHIP_WAITING, "%s: it is of epoch "
		    "%" PRIu64 ", whose epoch file is not in %s yet", object,
		    v->theirs, where);
	case KV_ACCEPT_FORK:
		return fail_fork(env, v, img, object, where);
	case KV_ACCEPT_ORPHANED:
		return fail_orphans(env, v, img, object);
	case KV_ACCEPT_AHEAD:
		return fail_ahead(env, v, to, where);
	case KV_ACCEPT_GAP:
		break;
	}
	return kv_ship_fail(env, KV_SHIP_GAP, "%s: need commit %" PRIu64
	    ", it begins at %" PRIu64 "; nothing was applied", object, v->seq,
	    img->head.first_seq);
}
