/*
 * kevo-walship apply: from an archive into a replica.
 *
 * The replica's position is in its own log, so there is nothing to remember:
 * what follows it is looked for in the archive, verified, and appended byte
 * for byte.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "apply.h"
#include "coding.h"
#include "db.h"
#include "options.h"
#include "position.h"
#include "record.h"
#include "role.h"
#include "ship/accept.h"
#include "ship/archive.h"
#include "ship/image.h"
#include "ship/kept.h"
#include "ship/replica.h"
#include "ship/ship.h"
#include "ship/tail.h"
#include "walship.h"
#include "walship_archive.h"
#include "walship_watch.h"

enum { OPT_INTO = 400, OPT_FOLLOW, OPT_DELAY, OPT_UNTIL_SEQ,
	OPT_UNTIL_TIME };

static const struct cli_opt opts[] = {
	{ OPT_INTO, 0, "into", CLI_REQUIRED, "DB", "the replica" },
	{ OPT_FOLLOW, 0, "follow", CLI_NONE, NULL,
	    "go on as the archive grows" },
	{ OPT_DELAY, 0, "delay", CLI_REQUIRED, "TIME",
	    "only commits that are so old (90, 5m, 4h)" },
	{ OPT_UNTIL_SEQ, 0, "until-seq", CLI_REQUIRED, "N",
	    "up to commit N, and end there" },
	{ OPT_UNTIL_TIME, 0, "until-time", CLI_REQUIRED, "TIME",
	    "up to the last commit at TIME, and end there" },
	ROW_QUIET,
	ROW_VERBOSE,
	ROW_END
};

const struct cli_tool walship_apply_tool = {
	"kevo-walship apply",
	"Apply what an archive has to a replica",
	"ARCHIVE --into=DB [-qv] [--follow] [--delay=TIME]\n"
	"  [--until-seq=N | --until-time=TIME]",
	opts,
	"  kevo-walship apply archive --into replica.kv\n"
	"  kevo-walship apply archive --into late.kv --follow --delay 4h\n"
};

/* How much is appended at once; a record that is larger goes alone. */
#define PIECE	((uint64_t)4 << 20)

struct apply {
	struct kevo *db;
	struct kv_archive *a;
	struct kv_applier *applier;
	struct kv_position at;
	struct kv_position end;	/* of the archive, as it was compared last */
	struct kv_kept kept;	/* what is applied now, if we follow */
	int64_t listed;		/* wal_stamp() before the archive was listed */
	int follow;
	int64_t delay_ms;	/* -1: none */
	uint64_t until_seq;	/* UINT64_MAX: none */
	uint64_t until_ns;
	uint64_t applied;
	int reached;		/* the end that was asked for */
	int held;		/* what follows is too young */
};

static void __attribute__((noreturn))
fail(struct apply *p, int rc)
{
	walship_archive_fail(p->a, rc);
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
	fail(p, class);
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
		.history = kv_applier_history(p->applier) };
	uint64_t last, end, chain;
	struct kv_accept v;
	int rc;

	memcpy(to.db, p->a->id, sizeof(to.db));
	kv_accept(img, &to, &v);
	if (v.verdict == KV_ACCEPT_SKIP || v.verdict == KV_ACCEPT_SHORT)
		return 0;
	if (v.verdict != KV_ACCEPT_APPLY) {
		rc = kv_accept_fail(&p->a->env, &v, img, &to, name,
		    p->db->path);
		fail(p, rc);
	}
	last = allowed(p, img, v.last);
	if (last < v.first || kv_image_at(img, last, &end, &chain) != 0)
		return 0;
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

		ours = kv_applier_history(p->applier);
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
	const struct kv_history *h = kv_applier_history(p->applier);
	const struct kv_epoch *e = kv_history_of(h, p->at.seq + 1);

	return e != NULL ? kv_archive_find(p->a, e->epoch, p->at.seq + 1) :
	    NULL;
}

/* The first commit behind the position that the archive has; 0: none. */
static uint64_t
first_behind(const struct apply *p)
{
	uint64_t best = 0;

	for (size_t i = 0; i < p->a->nseg; i++)
		if (p->a->seg[i].first > p->at.seq && (best == 0 ||
		    p->a->seg[i].first < best))
			best = p->a->seg[i].first;
	return best;
}

static void
check_gap(struct apply *p, uint64_t first)
{
	if (first == 0)
		return;
	kv_ship_fail(&p->a->env, KV_SHIP_GAP, "%s: need commit %" PRIu64
	    ", the next one in %s is %" PRIu64 "; this replica cannot "
	    "continue; next: %s", p->db->path, p->at.seq + 1, p->a->path,
	    first, walship_archive_way(p->a, first));
	fail(p, KV_SHIP_GAP);
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
			fail(p, rc);
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
		fail(p, rc);
	take(p, &img, kv_path(&p->a->dir, file));
	keep_or_release(p, &img, file, 1);
}

/* Is what we need next of the epoch that was kept?  Else a promotion has put
 * an end to it. */
static int
is_same_epoch(const struct apply *p)
{
	const struct kv_epoch *e = kv_history_of(kv_applier_history(
	    p->applier), p->at.seq + 1);

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
		fail(p, rc);
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
		fail(p, rc);
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
		fail(p, rc);
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
	    p->db->path, end.seq, ours.chain, p->a->path, end.chain);
	fail(p, KV_SHIP_FORK);
}

/* What the archive says of the primary, for who asks how stale we are. */
static void
beat(struct apply *p)
{
	struct kv_position at;
	uint64_t when;

	if (walship_source_read(p->a, &at, &when) == 0)
		kv_apply_beat(p->db, at.seq, when);
}

static void
pass(struct apply *p)
{
	uint64_t before;
	int rc;

	p->held = 0;
	if ((rc = kv_archive_read_epochs(p->a)) != 0)
		fail(p, rc);
	take_epochs(p);
	if (take_kept(p)) {
		beat(p);
		return;
	}
	p->listed = kv_kept_stamp(p->a);
	if ((rc = kv_archive_list(p->a)) != 0)
		fail(p, rc);
	do {
		before = p->at.seq;
		take_segments(p);
		take_tail(p);
	} while (is_behind(p) && p->at.seq != before);
	if (p->at.seq >= p->until_seq)
		p->reached = 1;
	check_end(p);
	beat(p);
}

/* Who asked for a time gets what came until then.  Whether that is all there
 * was, only the source knows: it told how far it was, and when. */
static void
warn_of_end(struct apply *p)
{
	struct kv_position source;
	uint64_t when;

	if (p->until_ns == UINT64_MAX || p->held || cli_stopped())
		return;
	if (p->at.seq == 0)
		cli_note("%s: no commit in it is as old as that", p->a->path);
	if (p->reached || (walship_source_read(p->a, &source, &when) == 0 &&
	    when >= p->until_ns && source.seq <= p->at.seq))
		return;
	cli_note("%s ends with commit %" PRIu64 "; what was written after it, "
	    "up to the time that was asked for, is not in it", p->a->path,
	    p->at.seq);
}

/* ---- the command ------------------------------------------------------- */

/* How long the next commit is still too young; -1: nothing is held. */
static int64_t
due_ms(const struct apply *p)
{
	uint64_t due, now = kv_now_ns();

	if (!p->held)
		return -1;
	due = kv_image_time(&p->kept.img, p->at.seq + 1);
	if (due >= now)
		return p->delay_ms;
	due = (now - due) / 1000000u;	/* its age */
	return due < (uint64_t)p->delay_ms ? p->delay_ms - (int64_t)due : 0;
}

/* Whatever comes while a commit is held comes behind it. */
static void
follow(struct apply *p)
{
	struct walship_watch *w = walship_watch_open(p->a);

	while (!cli_stopped() && !p->reached)
		if (!walship_watch_wait(w, due_ms(p)))
			continue;
		else if (due_ms(p) > 0)
			beat(p);
		else
			pass(p);
	walship_watch_close(w);
	kv_kept_release(&p->kept);
}

/* A replica that is missing is begun with nothing in it, if the archive has
 * the log from its first commit on. */
static void
create(struct apply *p, const char *into)
{
	struct stat st;
	mode_t mask;
	int rc;

	if (stat(into, &st) == 0 || errno != ENOENT)
		return;
	if (!walship_archive_is_whole(p->a)) {
		kv_ship_fail(&p->a->env, KV_SHIP_GAP, "%s: it does not begin "
		    "with commit 1, so %s cannot be made of it alone; next: "
		    "%s", p->a->path, into, walship_archive_way(p->a,
		    p->a->nseg > 0 ? p->a->seg[0].first : 1));
		fail(p, KV_SHIP_GAP);
	}
	umask(mask = umask(0));
	rc = kv_replica_create(&p->a->env, into, 0666 & ~(uint32_t)mask,
	    &p->a->history.v[0]);
	if (rc != 0)
		fail(p, rc);
}

static void
check_role(struct apply *p)
{
	struct kv_role_note note;
	int rc = kv_role_read(&p->db->env, &p->db->dir, &note);

	if (rc != 0)
		cli_fail(p->db, rc);
	if (note.role != KV_ROLE_REPLICA)
		cli_die(EX_NOPERM_, "%s: a %s: only a replica takes commits "
		    "from an archive", p->db->path, kv_role_word(note.role));
}

static void
open_both(struct apply *p, const char *archive, const char *into)
{
	struct cli_open_opts open = { 0, NULL, NULL, NULL };
	int rc;

	p->a = walship_archive_open(archive);
	create(p, into);
	p->db = cli_open(into, &open);
	check_role(p);
	if ((rc = kv_position_now(p->db, KV_AT_SYNCED, &p->at)) != 0 ||
	    (rc = kv_applier_open(p->db, &p->applier)) != 0)
		cli_fail(p->db, rc);
}

static void
option(struct apply *p, const char **into, int id, const char *arg)
{
	switch (id) {
	case OPT_INTO:
		*into = arg;
		break;
	case OPT_FOLLOW:
		p->follow = 1;
		break;
	case OPT_DELAY:
		p->delay_ms = cli_duration_ms("--delay", arg);
		if (p->delay_ms < 0)
			cli_usage("--delay: inf would never end");
		break;
	case OPT_UNTIL_SEQ:
		p->until_seq = cli_number("--until-seq", arg, UINT64_MAX - 1);
		break;
	case OPT_UNTIL_TIME:
		p->until_ns = walship_time("--until-time", arg);
	}
}

int
walship_apply(struct cli_args *a)
{
	struct apply p = { .delay_ms = -1, .until_seq = UINT64_MAX,
		.until_ns = UINT64_MAX };
	struct cli_open_opts common = { 0, NULL, NULL, NULL };
	const char *into = NULL;
	struct walship_words w;
	int id;

	walship_words_init(&w);
	while ((id = walship_next(a, &w)) != 0)
		if (!cli_common(&common, a, id))
			option(&p, &into, id, a->arg);
	walship_words_check(&w, 1, 1, "ARCHIVE");
	if (into == NULL)
		cli_usage("--into is missing");
	open_both(&p, w.word[0], into);
	cli_signals();
	pass(&p);
	if (p.follow)
		follow(&p);
	warn_of_end(&p);
	if (cli_verbose)
		cli_msg("applied %" PRIu64 ", at commit %" PRIu64, p.applied,
		    p.at.seq);
	kv_applier_close(p.applier);
	kv_archive_close(p.a);
	if (cli_stopped())
		cli_die_by_signal();
	return cli_close(p.db, 0);
}
