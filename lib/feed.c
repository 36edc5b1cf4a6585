#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "db.h"
#include "feed_file.h"

/*
 * A feed stands behind one commit: its sequence number and chain value.  From
 * there it reads on in the segment that it has open, up to what control says
 * is visible (or synced), to the seal, and then in the next one.  The chain
 * makes that one history, whatever happens to the files.
 *
 * What happens to them:
 *
 *   rotation   control's `active` is higher than our segment's counter.  The
 *              seal was written before that, so it is there.
 *   sweep      removes names.  What is open stays; so the segments that come
 *              after ours are opened as soon as the feed looks at control,
 *              and one that is less than KV_FEED_AHEAD behind loses nothing.
 *   recovery   may cut commits that were visible and not on disk, and others
 *              may get their numbers.  It builds a new generation.  When the
 *              feed meets one, it looks whether our last commit is still
 *              where it was; if not, history has changed, and that is the
 *              end of this feed.
 *
 * Recovery cuts before it puts the new generation in place.  So a record that
 * does not verify is damage only if it was on disk, or if no new generation
 * comes.
 */

#define CUT_PATIENCE_MS	3000	/* how long a recovery may take */

/* ---- where it can be had ----------------------------------------------- */

static struct kv_feed_place
place(const struct kevo_feed *f)
{
	struct kv_feed_place p = { &f->db->env, &f->db->dir, f->id, f->linked,
	    f->active };

	return p;
}

/* The commits from first on are not to be had. */
static int
history_gone(struct kevo_feed *f, uint64_t first)
{
	struct kv_feed_place p = place(f);
	uint64_t oldest;
	int rc;

	if ((rc = kv_feed_first(&p, &oldest)) != 0)
		return rc;
	if (oldest < first)
		return kv_fail(&f->db->env, KEVO_EHISTORY, "%s: what follows "
		    "commit %llu is missing in the log", f->db->path,
		    (unsigned long long)first - 1);
	return kv_fail(&f->db->env, KEVO_EHISTORY, "%s: commits %llu to %llu "
	    "are no longer in the log; the oldest version to go on after is "
	    "%llu", f->db->path, (unsigned long long)first,
	    (unsigned long long)oldest, (unsigned long long)oldest);
}

static int
history_changed(struct kevo_feed *f)
{
	return kv_fail(&f->db->env, KEVO_EHISTORY, "%s: history has changed: "
	    "commit %llu is not the one that it was", f->db->path,
	    (unsigned long long)f->at.seq);
}

/* ---- looking at control ------------------------------------------------ */

static int
open_counter(struct kevo_feed *f, uint64_t counter, struct kv_feed_file **out)
{
	char name[KV_SEGMENT_NAME_LEN];

	kv_segment_name(name, counter);
	return kv_feed_file_open(&f->db->env, &f->db->dir, name, f->id, out);
}

/* Open what follows before somebody removes its name.  What cannot be opened
 * now is reported when it is needed. */
static void
take_ahead(struct kevo_feed *f)
{
	while (f->nahead < KV_FEED_AHEAD &&
	    f->counter + f->nahead < f->active) {
		if (open_counter(f, f->counter + f->nahead + 1,
		    &f->ahead[f->nahead]) != 0)
			return;
		f->nahead++;
	}
}

/* The commit that was read and not told is to be read again. */
static void
take_back(struct kevo_feed *f)
{
	if (f->held.kind != 0) {
		f->file->off -= f->held.len;
		f->file->seq = f->at.seq;
		f->file->chain = f->at.chain;
		f->held.kind = 0;
	}
	kv_feed_file_again(f->file);
}

static int
does_not_follow(struct kevo_feed *f, const struct kv_feed_file *file)
{
	if (file->head.first_seq > f->at.seq + 1)
		return history_gone(f, f->at.seq + 1);
	return history_changed(f);
}

/* Go on in file, which becomes the feed's, if our last commit is in it or
 * right before it. */
static int
enter(struct kevo_feed *f, struct kv_feed_file *file)
{
	int rc = 0;

	if (file->head.first_seq <= f->at.seq)
		rc = kv_feed_file_skip(file, f->at.seq, f->visible);
	if (rc == KEVO_NOTFOUND || (rc == 0 && (file->seq != f->at.seq ||
	    file->chain != f->at.chain)))
		rc = does_not_follow(f, file);
	if (rc != 0) {
		kv_feed_file_close(file);
		return rc;
	}
	kv_feed_file_close(f->file);
	f->file = file;
	f->counter = file->head.counter;
	f->told_seal = 0;
	return 0;
}

/*
 * What has the name of a file that we have open: 1, it; 0 with *out set,
 * another one; KEVO_NOTFOUND, none: it holds what is in tables by now; or an
 * error.
 */
static int
still_named(struct kevo_feed *f, const struct kv_feed_file *file,
    struct kv_feed_file **out)
{
	struct kv_file_id ours, theirs;
	struct kv_feed_file *g;
	int rc;

	if ((rc = open_counter(f, file->head.counter, &g)) != 0)
		return rc;
	if ((rc = kv_file_stat(&f->db->env, file->fd, file->name, NULL, &ours,
	    NULL)) == 0)
		rc = kv_file_stat(&f->db->env, g->fd, g->name, NULL, &theirs,
		    NULL);
	if (rc == 0 && memcmp(&ours, &theirs, sizeof(ours)) != 0) {
		*out = g;
		return 0;
	}
	kv_feed_file_close(g);
	return rc != 0 ? rc : 1;
}

/* What was replaced is not what follows any more. */
static void
check_ahead(struct kevo_feed *f)
{
	struct kv_feed_file *g;
	size_t n = 0;
	int rc;

	for (; n < f->nahead; n++) {
		rc = still_named(f, f->ahead[n], &g);
		if (rc == 0)
			kv_feed_file_close(g);
		if (rc != 1 && rc != KEVO_NOTFOUND)
			break;
	}
	while (f->nahead > n)
		kv_feed_file_close(f->ahead[--f->nahead]);
}

/* Is our last commit still where it was? */
static int
check_history(struct kevo_feed *f)
{
	struct kv_feed_file *g;
	int rc;

	if (f->visible < f->at.seq)
		return kv_fail(&f->db->env, KEVO_EHISTORY, "%s: history has "
		    "changed: commits %llu to %llu were lost before they were "
		    "on disk", f->db->path, (unsigned long long)f->visible +
		    1, (unsigned long long)f->at.seq);
	if (f->file == NULL)
		return 0;
	take_back(f);
	if ((rc = kv_feed_file_holds(f->file)) != 1)
		return rc == 0 ? history_changed(f) : rc;
	if (f->file->linked)
		return 0;
	if ((rc = still_named(f, f->file, &g)) == 0)
		return enter(f, g);
	return rc == 1 || rc == KEVO_NOTFOUND ? 0 : rc;
}

static int
new_generation(struct kevo_feed *f)
{
	int rc;

	if (memcmp(f->db->ctl->id, f->id, sizeof(f->id)) != 0)
		return kv_fail(&f->db->env, KEVO_EREPLACED, "%s: another "
		    "database has taken its place", f->db->path);
	if ((rc = check_history(f)) != 0)
		return rc;
	check_ahead(f);
	f->generation = f->db->ctl->generation;
	return 0;
}

/*
 * The limit is loaded before `active`: so every commit up to it lies in a
 * segment up to that one.
 */
int
kv_feed_look(struct kevo_feed *f)
{
	struct kevo *db = f->db;
	struct kv_control *c;
	uint64_t synced;
	int rc;

	if ((rc = kv_usable(db)) != 0 || (rc = kv_warm_up(db)) != 0 ||
	    (rc = kv_view_now(db, NULL)) != 0)
		return rc;
	c = db->ctl;
	synced = atomic_load_explicit(&c->synced, memory_order_acquire);
	f->visible = atomic_load_explicit(&c->visible, memory_order_acquire);
	f->limit = f->flags & KEVO_FEED_DURABLE ? synced : f->visible;
	f->active = atomic_load_explicit(&c->active, memory_order_acquire);
	if (c->generation != f->generation && (rc = new_generation(f)) != 0)
		return rc;
	if (f->file != NULL)
		take_ahead(f);
	return 0;
}

/* ---- from one segment to the next -------------------------------------- */

/* The segment is not written any more. */
static int
is_complete(const struct kevo_feed *f)
{
	return f->file->linked || f->counter < f->active;
}

/* By its number, or, since counters may begin anew behind a repair, by what is
 * in it. */
static int
find_next(struct kevo_feed *f, struct kv_feed_file **out)
{
	struct kv_feed_place p = place(f);
	int rc = KEVO_NOTFOUND;

	if (f->counter < f->active)
		rc = open_counter(f, f->counter + 1, out);
	if (rc == KEVO_NOTFOUND)
		rc = kv_feed_find(&p, f->at.seq + 1, out);
	if (rc == 0 && (*out)->head.counter <= f->counter) {
		kv_feed_file_close(*out);
		rc = KEVO_NOTFOUND;
	}
	return rc == KEVO_NOTFOUND ? history_gone(f, f->at.seq + 1) : rc;
}

/* Ours is at its end. */
static int
next_file(struct kevo_feed *f)
{
	struct kv_feed_file *file;
	int rc;

	if (f->nahead > 0) {
		file = f->ahead[0];
		memmove(f->ahead, f->ahead + 1, --f->nahead *
		    sizeof(f->ahead[0]));
	} else if ((rc = find_next(f, &file)) != 0)
		return rc;
	f->told_head = 0;
	return enter(f, file);
}

/* ---- telling ----------------------------------------------------------- */

static int
damaged(struct kevo_feed *f)
{
	return kv_fail(&f->db->env, KEVO_ECORRUPT, "%s: damaged at byte %llu: "
	    "commit %llu is not there", kv_path(&f->db->dir, f->file->name),
	    (unsigned long long)f->file->off,
	    (unsigned long long)f->at.seq + 1);
}

/*
 * A record that should be there is not.  If it was never synced, somebody may
 * be cutting it: wait for the generation that says so.  KV_RETRY: look again.
 */
static int
missing_record(struct kevo_feed *f)
{
	struct timespec nap = { 0, 10000000 };
	int64_t until = kv_mono_ms() + CUT_PATIENCE_MS;
	uint64_t generation = f->generation;
	int rc;

	while (!is_complete(f) && f->at.seq >= atomic_load(
	    &f->db->ctl->synced) && kv_mono_ms() < until) {
		nanosleep(&nap, NULL);
		if ((rc = kv_feed_look(f)) != 0)
			return rc;
		if (f->generation != generation)
			return KV_RETRY;
	}
	return damaged(f);
}

static void
describe(const struct kevo_feed *f, struct kv_feed_item *item,
    enum kv_feed_kind kind, const uint8_t *bytes, uint64_t len, uint64_t off)
{
	memset(item, 0, sizeof(*item));
	item->kind = kind;
	item->bytes = bytes;
	item->len = len;
	item->off = off;
	item->head = &f->file->head;
	item->seq = f->file->seq;
	item->time_ns = f->file->time_ns;
	item->chain = f->file->chain;
	item->records = f->file->seq + 1 - f->file->head.first_seq;
}

static int
tell_head(struct kevo_feed *f, struct kv_feed_item *item)
{
	describe(f, item, KV_FEED_HEAD, f->file->raw, sizeof(f->file->raw),
	    0);
	f->told_head = 1;
	return 0;
}

static int
tell_record(struct kevo_feed *f, struct kv_feed_item *item)
{
	const uint8_t *rec;
	uint64_t len;
	int rc;

	rc = kv_feed_file_next(f->file, f->limit, &rec, &len);
	if (rc != 0)
		return rc;
	describe(f, item, KV_FEED_RECORD, rec, len, f->file->off - len);
	item->type = rec[4];
	if (f->told_head)
		return 0;
	f->held = *item;
	return tell_head(f, item);
}

/* The segment's end, if this is it: 0 with *item set, KV_RETRY (nothing to
 * tell of an empty one, go on), KEVO_NOTFOUND or an error. */
static int
tell_seal(struct kevo_feed *f, struct kv_feed_item *item)
{
	int rc;

	if (!is_complete(f))
		return KEVO_NOTFOUND;
	if ((rc = kv_feed_file_sealed(f->file)) != 1)
		return rc == 0 ? KEVO_NOTFOUND : rc;
	if (f->file->seal.records != 0 && !f->told_head)
		return tell_head(f, item);
	f->told_seal = 1;
	if (f->file->seal.records == 0)
		return KV_RETRY;
	describe(f, item, KV_FEED_SEAL, f->file->seal_raw,
	    sizeof(f->file->seal_raw), f->file->off);
	return 0;
}

static int
step(struct kevo_feed *f, struct kv_feed_item *item)
{
	int rc;

	if ((rc = kv_feed_look(f)) != 0 ||
	    (f->told_seal && (rc = next_file(f)) != 0))
		return rc;
	rc = f->at.seq < f->limit ? tell_record(f, item) : KEVO_NOTFOUND;
	if (rc == KEVO_NOTFOUND)
		rc = tell_seal(f, item);
	if (rc == KEVO_NOTFOUND && f->at.seq < f->limit)
		return missing_record(f);
	return rc;
}

int
kv_feed_step(struct kevo_feed *f, struct kv_feed_item *item)
{
	int rc = 0;

	if (f->held.kind != 0) {
		*item = f->held;
		f->held.kind = 0;
	} else
		while ((rc = step(f, item)) == KV_RETRY)
			;
	if (rc == 0 && item->kind == KV_FEED_RECORD) {
		f->at.epoch = item->head->epoch;
		f->at.nonce = item->head->nonce;
		f->at.seq = item->seq;
		f->at.chain = item->chain;
	}
	return rc;
}

int
kv_feed_ready(const struct kevo_feed *f)
{
	return f->held.kind != 0 || f->at.seq < f->limit ||
	    (is_complete(f) && !f->told_seal);
}

/* ---- the beginning ----------------------------------------------------- */

/* Control knows where the log ends, and most feeds begin there.  What it says
 * is checked. */
static int
jump_to_tail(struct kevo_feed *f, struct kv_feed_file *file, uint64_t seq)
{
	struct kv_tail t;

	if (!kv_tail_copy(f->db->ctl, &t) ||
	    t.segment != file->head.counter || t.seq != seq)
		return KEVO_NOTFOUND;
	return kv_feed_file_jump(file, t.off, seq, t.chain);
}

static int
go_to(struct kevo_feed *f, struct kv_feed_file *file, uint64_t seq)
{
	int rc;

	if (file->seq == seq)
		return 0;
	if ((rc = jump_to_tail(f, file, seq)) == KEVO_NOTFOUND)
		rc = kv_feed_file_skip(file, seq, f->visible);
	return rc != KEVO_NOTFOUND ? rc : kv_fail(&f->db->env, KEVO_ECORRUPT,
	    "%s: damaged at byte %llu: commit %llu is not there",
	    kv_path(&f->db->dir, file->name), (unsigned long long)file->off,
	    (unsigned long long)file->seq + 1);
}

int
kv_feed_place(struct kevo_feed *f, uint64_t seq, const uint64_t *chain)
{
	struct kv_feed_place p = place(f);
	struct kv_feed_file *file;
	int rc;

	rc = kv_feed_find(&p, seq, &file);
	if (rc == KEVO_NOTFOUND)
		rc = kv_feed_find(&p, seq + 1, &file);
	if (rc == KEVO_NOTFOUND)
		return history_gone(f, seq + 1);
	if (rc != 0)
		return rc;
	f->at.seq = seq;
	if ((rc = go_to(f, file, seq)) == 0 && chain != NULL &&
	    *chain != file->chain)
		rc = history_changed(f);
	if (rc != 0) {
		kv_feed_file_close(file);
		return rc;
	}
	f->file = file;
	f->counter = file->head.counter;
	f->at.epoch = file->head.epoch;
	f->at.nonce = file->head.nonce;
	f->at.chain = file->chain;
	take_ahead(f);
	return 0;
}
