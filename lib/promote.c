#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "count.h"
#include "db.h"
#include "position.h"
#include "promote.h"
#include "record.h"
#include "role.h"
#include "text.h"

#define NEXT_TMP	"epochs/next.tmp"

/*
 * The order of a promotion, each step of which can be repeated:
 *
 *   1  epochs/next: the new epoch's text, with its nonce
 *   2  the archive's file, by link(2): here it is won or lost
 *   3  epochs/EPOCH.epoch
 *   4  a segment of the new epoch, and its first record, a mark
 *   5  role: primary
 *   6  epochs/next goes
 *
 * Until 5 nobody can write but who promotes.  Killed before 2, nothing has
 * happened; behind it, nobody else can win, and the same call goes on.
 */

struct promotion {
	struct kevo *db;
	const struct kv_promote *p;
	struct kv_promoted *out;
	struct kv_ident ident;
	struct kv_history history;
	struct kv_position me;
	int begun;		/* epochs/next is there */
};

static int
end(struct promotion *pr, enum kv_promote_class why)
{
	pr->out->why = why;
	return why == KV_PROMOTE_IS_PRIMARY || why == KV_PROMOTE_IS_FENCED ?
	    KEVO_EPERM : KEVO_EHISTORY;
}

/* ---- looking ----------------------------------------------------------- */

static int
look(struct promotion *pr)
{
	struct kevo *db = pr->db;
	const struct kv_tail *t = kv_tail(db->ctl);
	struct kv_seg *s;
	int rc;

	if ((rc = kv_ident_read(&db->env, &db->dir, &pr->ident)) != 0 ||
	    (rc = kv_history_of_db(&db->env, &db->dir, &pr->ident,
	    &pr->history)) != 0 || (rc = kv_active_seg(db, &s)) != 0)
		return rc;
	pr->me.epoch = s->head.epoch;
	pr->me.nonce = s->head.nonce;
	pr->me.seq = t->seq;
	pr->me.chain = t->chain;
	return 0;
}

/* What an earlier call has begun.  Sets out->epoch and begun. */
static int
look_for_begun(struct promotion *pr)
{
	struct kevo *db = pr->db;
	const char *why;
	char *text;
	size_t len;
	int rc;

	rc = kv_read_small(&db->env, &db->dir, KV_EPOCH_NEXT,
	    KV_EPOCH_TEXT_MAX - 1, &text, &len);
	if (rc == KEVO_ENODB)
		return 0;
	if (rc != 0)
		return rc;
	pr->begun = 1;
	if (kv_epoch_parse(text, len, &pr->out->epoch, &why) != 0)
		rc = kv_fail(&db->env, KEVO_ECORRUPT, "%s: damaged: %s",
		    kv_path(&db->dir, KV_EPOCH_NEXT), why);
	free(text);
	return rc;
}

static int
is_same(const struct kv_epoch *a, const struct kv_epoch *b)
{
	return a->epoch == b->epoch && a->nonce == b->nonce;
}

/*
 * Is what was begun still what has to be done?  Nothing is applied meanwhile,
 * so it is, unless files were moved about.
 */
static int
check_begun(struct promotion *pr)
{
	const struct kv_epoch *e = &pr->out->epoch;
	const struct kv_epoch *newest = kv_history_newest(&pr->history);
	const char *why = NULL;

	if (!is_same(e, newest))
		why = kv_history_refuses(&pr->history, e);
	if (why == NULL && (pr->me.epoch == e->epoch ? pr->me.nonce !=
	    e->nonce : pr->me.seq != e->start || pr->me.chain != e->chain))
		why = "it begins elsewhere than where the log ends";
	return why == NULL ? 0 : kv_fail(&pr->db->env, KEVO_ECORRUPT,
	    "%s: it does not belong to this database: %s",
	    kv_path(&pr->db->dir, KV_EPOCH_NEXT), why);
}

/* May it be promoted?  0, KEVO_FALSE (it is a primary, and all is done), or
 * why not. */
static int
judge(struct promotion *pr)
{
	struct kevo *db = pr->db;
	uint64_t theirs = atomic_load_explicit(kv_stat(db->ctl,
	    KV_STAT_PRIMARY_SEQ), memory_order_relaxed);
	enum kv_role role;
	int rc;

	if ((rc = kv_role_now(db, &role)) != 0 ||
	    (rc = look_for_begun(pr)) != 0)
		return rc;
	if (role == KV_ROLE_PRIMARY && pr->begun)
		return KEVO_FALSE;
	if (role == KV_ROLE_PRIMARY) {
		pr->out->epoch = *kv_history_newest(&pr->history);
		kv_fail(&db->env, KEVO_EPERM, "%s: it is a primary already",
		    db->path);
		return end(pr, KV_PROMOTE_IS_PRIMARY);
	}
	if (role == KV_ROLE_FENCED) {
		kv_fail(&db->env, KEVO_EPERM, "%s: it is fenced: another copy "
		    "went on without it, and it has to rejoin first",
		    db->path);
		return end(pr, KV_PROMOTE_IS_FENCED);
	}
	if (pr->begun)
		return check_begun(pr);
	if (theirs <= pr->me.seq || theirs >= (uint64_t)1 << 63 ||
	    pr->p->force)
		return 0;
	pr->out->missing = theirs;
	kv_fail(&db->env, KEVO_EHISTORY, "%s: commits %" PRIu64 " to %" PRIu64
	    " are not here; the primary had them when it last told of itself",
	    db->path, pr->me.seq + 1, theirs);
	return end(pr, KV_PROMOTE_BEHIND);
}

/* ---- doing ------------------------------------------------------------- */

static int
choose(struct promotion *pr)
{
	const struct kv_epoch *parent = kv_history_newest(&pr->history);

	/* It is known that others went on, but nothing of it is here. */
	if (parent->epoch != pr->me.epoch && parent->start != pr->me.seq) {
		kv_fail(&pr->db->env, KEVO_EHISTORY, "%s: epoch %" PRIu32
		    " begins behind commit %" PRIu64 ", and this ends with %"
		    PRIu64, pr->db->path, parent->epoch, parent->start,
		    pr->me.seq);
		return end(pr, pr->me.seq < parent->start ?
		    KV_PROMOTE_BEFORE : KV_PROMOTE_IS_FENCED);
	}
	return kv_epoch_next(&pr->db->env, parent, pr->me.seq, pr->me.chain,
	    pr->p->host, pr->p->reason != NULL ? pr->p->reason : "promotion",
	    &pr->out->epoch);
}

static int
write_intent(struct promotion *pr)
{
	struct kevo *db = pr->db;
	uint32_t mode = db->ctl->mode;
	char text[KV_EPOCH_TEXT_MAX];
	size_t len = kv_epoch_print(text, &pr->out->epoch);
	int rc;

	rc = kv_mkdir(&db->env, &db->dir, KV_EPOCHS, mode);
	if (rc == 0)
		rc = kv_sync_dir(&db->env, &db->dir, ".");
	if (rc == 0)
		rc = kv_text_replace(&db->env, &db->dir, KV_EPOCHS,
		    KV_EPOCH_NEXT, NEXT_TMP, mode, text, len);
	return rc;
}

static int
remove_intent(struct promotion *pr)
{
	struct kevo *db = pr->db;

	if (unlinkat(db->dir.fd, KV_EPOCH_NEXT, 0) != 0 && errno != ENOENT)
		return kv_fail_errno(&db->env, kv_path(&db->dir,
		    KV_EPOCH_NEXT), "remove");
	return kv_sync_dir(&db->env, &db->dir, KV_EPOCHS);
}

/* Here it is won or lost. */
static int
publish(struct promotion *pr)
{
	struct kevo *db = pr->db;
	char text[KV_EPOCH_TEXT_MAX];
	size_t len = kv_epoch_print(text, &pr->out->epoch);
	int rc = 0;

	if (pr->p->publish != NULL)
		rc = pr->p->publish(pr->p->arg, pr->out->epoch.epoch, text,
		    len);
	if (rc == 0)
		rc = kv_epoch_write(&db->env, &db->dir, KV_EPOCHS,
		    db->ctl->mode, &pr->out->epoch);
	if (rc != KEVO_FALSE)
		return rc;
	if ((rc = remove_intent(pr)) != 0)
		return rc;
	kv_fail(&db->env, KEVO_EHISTORY, "%s: another copy was promoted to "
	    "epoch %" PRIu32 " first", db->path, pr->out->epoch.epoch);
	return end(pr, KV_PROMOTE_LOST);
}

static int
append_mark(struct kevo *db)
{
	uint8_t buf[KV_FRAME_LEN + KV_PAYLOAD_HEAD + KV_TRAILER_LEN];
	struct kevo_batch b = { .db = db, .buf = buf, .room = sizeof(buf),
	    .len = KV_FRAME_LEN + KV_PAYLOAD_HEAD, .mark = 1 };
	uint64_t seq;
	int rc = kv_append(db, &b, KEVO_SYNC_FULL, &seq);

	return rc != 0 ? rc : kv_publish(db, seq, KEVO_SYNC_FULL);
}

static int
begin_epoch(struct promotion *pr)
{
	const struct kv_epoch *e = &pr->out->epoch;
	struct kv_line line = { e->epoch, e->nonce, 0 };
	int rc = 0;

	if (pr->me.epoch != e->epoch)
		rc = kv_rotate(pr->db, 0, 0, &line);
	if (rc == 0 && kv_tail(pr->db->ctl)->seq == e->start)
		rc = append_mark(pr->db);
	return rc;
}

static int
take_role(struct promotion *pr)
{
	struct kv_role_note n = { .role = KV_ROLE_PRIMARY,
	    .since_ns = pr->out->epoch.time_ns };

	strcpy(n.reason, pr->out->epoch.reason);
	return kv_role_change(pr->db, &n);
}

/* Under WRITER. */
static int
promote(struct promotion *pr)
{
	int rc;

	if ((rc = look(pr)) != 0)
		return rc;
	if ((rc = judge(pr)) == KEVO_FALSE)
		return pr->p->dry_run ? 0 : remove_intent(pr);
	if (rc != 0 || (!pr->begun && (rc = choose(pr)) != 0) ||
	    pr->p->dry_run)
		return rc;
	/* What the epoch begins with is not taken back by a power cut. */
	if ((rc = kv_sync_to(pr->db, pr->me.seq)) != 0 ||
	    (!pr->begun && (rc = write_intent(pr)) != 0) ||
	    (rc = publish(pr)) != 0 ||
	    (rc = begin_epoch(pr)) != 0 || (rc = take_role(pr)) != 0)
		return rc == KEVO_EUNKNOWN ? KEVO_EIO : rc;
	return remove_intent(pr);
}

int
kv_promote(struct kevo *db, const struct kv_promote *p,
    struct kv_promoted *out)
{
	struct promotion pr = { .db = db, .p = p, .out = out };
	int rc;

	memset(out, 0, sizeof(*out));
	if ((rc = kv_usable(db)) != 0 || (rc = kv_warm_up(db)) != 0 ||
	    (rc = kv_log_lock(db)) != 0)
		return kv_result(db, rc);
	rc = promote(&pr);
	kv_writer_unlock(db);
	db->began_ns = 0;
	kv_history_release(&pr.history);
	return kv_result(db, rc);
}

int
kv_fence(struct kevo *db, const char *primary, const char *reason)
{
	struct kv_role_note n = { .role = KV_ROLE_FENCED };
	int rc;

	n.since_ns = kv_now_ns();
	kv_text_copy(n.primary, sizeof(n.primary), primary != NULL ? primary :
	    "", 0);
	kv_text_copy(n.reason, sizeof(n.reason), reason != NULL ? reason : "",
	    1);
	if ((rc = kv_usable(db)) != 0 || (rc = kv_warm_up(db)) != 0 ||
	    (rc = kv_log_lock(db)) != 0)
		return kv_result(db, rc);
	rc = kv_role_change(db, &n);
	kv_writer_unlock(db);
	db->began_ns = 0;
	return kv_result(db, rc);
}
