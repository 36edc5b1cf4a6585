/*
 * kevo-walship promote, fence, rejoin: who of several copies is the primary.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "count.h"
#include "db.h"
#include "options.h"
#include "promote.h"
#include "ship/archive.h"
#include "ship/image.h"
#include "ship/ship.h"
#include "ship/tail.h"
#include "walship.h"

enum {
	OPT_ARCHIVE = 600,
	OPT_WAIT_APPLY,
	OPT_FENCE_CMD,
	OPT_FORCE,
	OPT_HOST,
	OPT_REASON,
	OPT_REJOIN_FROM,
	OPT_PRIMARY
};

#define ROW_CHANGE_NOTHING { 'n', 'n', "dry-run", CLI_NONE, NULL, \
	"say what would be done, and change nothing" }
#define ROW_PRIMARY { OPT_PRIMARY, 0, "primary", CLI_REQUIRED, "NAME", \
	"who is written to instead, for messages" }

static const struct cli_opt promote_opts[] = {
	{ OPT_ARCHIVE, 0, "archive", CLI_REQUIRED, "DIR",
	    "the archive that decides who is first" },
	{ OPT_WAIT_APPLY, 0, "wait-apply", CLI_REQUIRED, "TIME",
	    "wait so long for what is still to be applied" },
	{ OPT_FENCE_CMD, 0, "fence-cmd", CLI_REQUIRED, "CMD",
	    "run it first; it keeps the old primary from writing" },
	{ OPT_FORCE, 0, "force", CLI_REQUIRED, "REASON",
	    "although the primary is known to have had more" },
	{ OPT_REASON, 0, "reason", CLI_REQUIRED, "TEXT",
	    "noted in the epoch's file" },
	{ OPT_HOST, 0, "host", CLI_REQUIRED, "NAME",
	    "the name of this copy (default: of the machine)" },
	ROW_WAIT,
	ROW_CHANGE_NOTHING,
	ROW_QUIET,
	ROW_END
};

const struct cli_tool walship_promote_tool = {
	"kevo-walship promote",
	"Make a replica the primary",
	"[OPTION]... DB",
	promote_opts,
	"  kevo-walship promote replica.kv --archive archive\n"
	"  kevo-walship promote replica.kv --archive archive \\\n"
	"      --force 'db1 burnt down' --fence-cmd './power-off db1'\n"
};

static const struct cli_opt fence_opts[] = {
	ROW_PRIMARY,
	ROW_CHANGE_NOTHING,
	ROW_WAIT,
	ROW_END
};

const struct cli_tool walship_fence_tool = {
	"kevo-walship fence",
	"Keep everybody from writing to a copy",
	"[OPTION]... DB REASON",
	fence_opts,
	"  kevo-walship fence data.kv 'db2 is the primary' --primary db2\n"
};

static const struct cli_opt rejoin_opts[] = {
	{ OPT_REJOIN_FROM, 0, "from", CLI_REQUIRED, "ARCHIVE",
	    "whose history it follows" },
	ROW_PRIMARY,
	ROW_WAIT,
	ROW_CHANGE_NOTHING,
	ROW_QUIET,
	ROW_END
};

const struct cli_tool walship_rejoin_tool = {
	"kevo-walship rejoin",
	"Make an old primary a replica of the new one",
	"[OPTION]... --from ARCHIVE DB",
	rejoin_opts,
	"  kevo-walship rejoin old.kv --from archive --dry-run\n"
	"  kevo-walship rejoin old.kv --from archive\n"
};

/* ---- promote ----------------------------------------------------------- */

struct promotion {
	const char *name;		/* of the database */
	struct kevo *db;
	const char *archive;		/* NULL: none */
	struct kv_archive *a;
	int published;			/* what publishing returned */
	int64_t wait_ms;
	const char *fence_cmd;
	struct kv_promote p;
	struct kv_promoted out;
};

/* Also for an archive that somebody has locked: link(2) decides. */
static int
publish(void *arg, uint32_t epoch, const char *text, size_t len)
{
	struct promotion *pr = arg;
	struct kv_epoch e;
	const char *why;

	(void)epoch;
	pr->published = 0;
	if (pr->a == NULL)
		return 0;
	if (kv_epoch_parse(text, len, &e, &why) != 0)
		return KEVO_EINVAL;	/* it was printed just now */
	pr->published = kv_archive_read_epochs(pr->a);
	if (pr->published == 0)
		pr->published = kv_archive_put_epoch(pr->a, &e);
	switch (pr->published) {
	case 0:
	case KEVO_FALSE:
		return pr->published = 0;
	case KV_SHIP_FORK:
	case KV_SHIP_CONFLICT:
		return KEVO_FALSE;
	}
	return KEVO_EIO;
}

/* The newest commit that the archive has, its tail included. */
static uint64_t
archived(struct promotion *pr)
{
	struct kv_position p = { .epoch = 0 };
	struct kv_image tail;
	int rc;

	if (pr->a == NULL)
		return 0;
	if ((rc = kv_archive_list(pr->a)) != 0 ||
	    (rc = kv_archive_position(pr->a, &p)) != 0)
		walship_fail(&pr->a->env, rc);
	if (kv_tail_load(pr->a, &tail, NULL, 0) == 0) {
		if (tail.last_seq > p.seq)
			p.seq = tail.last_seq;
		kv_image_release(&tail);
	}
	return p.seq;
}

/* Our newest commit, and what is known to be missing behind it; 0: nothing. */
static uint64_t
missing(struct promotion *pr, uint64_t *mine)
{
	uint64_t there = archived(pr), told;
	struct kv_position p;
	int rc = kv_position_now(pr->db, KV_AT_VISIBLE, &p);

	if (rc != 0)
		cli_fail(pr->db, rc);
	told = atomic_load_explicit(kv_stat(pr->db->ctl, KV_STAT_PRIMARY_SEQ),
	    memory_order_relaxed);
	if (told < (uint64_t)1 << 63 && told > there)
		there = told;
	*mine = p.seq;
	return there > p.seq ? there : 0;
}

static void
wait_for_apply(struct promotion *pr)
{
	int64_t until = kv_mono_ms() + pr->wait_ms;
	struct timespec nap = { 0, 50000000 };
	uint64_t mine, last;

	while ((last = missing(pr, &mine)) != 0) {
		if (pr->wait_ms < 0 || kv_mono_ms() < until) {
			nanosleep(&nap, NULL);
			continue;
		}
		if (pr->p.force)
			return;
		cli_die(kv_ship_exit(KV_SHIP_GAP), "gap: %s: it has commits up"
		    " to %" PRIu64 ", and %" PRIu64 " to %" PRIu64 " exist; "
		    "nothing was changed; next: kevo-walship apply, or "
		    "promote --force REASON", pr->name, mine, mine + 1, last);
	}
}

static void
run_fence(struct promotion *pr)
{
	int st;

	if (pr->fence_cmd == NULL || pr->p.dry_run)
		return;
	st = system(pr->fence_cmd);
	if (st == 0)
		return;
	cli_die(kv_ship_exit(KV_SHIP_REMOTE), "remote: \"%s\": %s %d; nothing "
	    "was changed", pr->fence_cmd, WIFEXITED(st) ? "exit" : "signal",
	    WIFEXITED(st) ? WEXITSTATUS(st) : WTERMSIG(st));
}

static void
open_archive(struct promotion *pr)
{
	uint8_t id[16];
	int rc;

	if (pr->archive == NULL)
		return;
	rc = kv_archive_open(pr->archive, &pr->a);
	if (pr->a == NULL)
		cli_die(EX_TEMPFAIL_, "out of memory");
	if (rc != 0)
		walship_fail(&pr->a->env, rc);
	memcpy(id, pr->db->ctl->id, sizeof(id));
	if (memcmp(id, pr->a->id, sizeof(id)) != 0)
		cli_die(kv_ship_exit(KV_SHIP_WRONG_DB), "wrong-db: %s is of "
		    "another database than %s", pr->archive, pr->name);
}

/* Who won, as the archive says. */
static int
tell_lost(const struct promotion *pr)
{
	const struct kv_epoch *e = NULL;
	char when[KV_SHIP_TIME_LEN] = "";

	if (pr->a != NULL)
		e = kv_history_find(&pr->a->history, pr->out.epoch.epoch);
	if (e != NULL)
		kv_ship_time(when, e->time_ns);
	cli_msg("fenced: %s: epoch %" PRIu32 " exists already%s%s%s%s%s; it "
	    "stays a replica; next: kevo-walship apply", pr->name,
	    pr->out.epoch.epoch, e != NULL ? " (" : "", e != NULL ? e->host :
	    "", e != NULL ? ", " : "", when, e != NULL ? ")" : "");
	return kv_ship_exit(KV_SHIP_FENCED);
}

static int
tell_promotion(struct promotion *pr, int rc)
{
	const struct kv_epoch *e = &pr->out.epoch;

	switch (pr->out.why) {
	case KV_PROMOTE_IS_PRIMARY:
		cli_msg("%s", kevo_errmsg(pr->db));
		return EXIT_NO;
	case KV_PROMOTE_IS_FENCED:
		cli_msg("fenced: %s; next: kevo-walship rejoin",
		    kevo_errmsg(pr->db));
		return kv_ship_exit(KV_SHIP_FENCED);
	case KV_PROMOTE_BEFORE:
		cli_msg("gap: %s; nothing was changed; next: kevo-walship "
		    "apply, for what follows, or kevo-walship restore "
		    "--detached, to go on from here", kevo_errmsg(pr->db));
		return kv_ship_exit(KV_SHIP_GAP);
	case KV_PROMOTE_BEHIND:
		cli_msg("gap: %s; nothing was changed; next: kevo-walship "
		    "apply, or promote --force REASON", kevo_errmsg(pr->db));
		return kv_ship_exit(KV_SHIP_GAP);
	case KV_PROMOTE_LOST:
		return tell_lost(pr);
	case KV_PROMOTE_DONE:
		break;
	}
	if (rc != 0 && pr->published != 0)
		return walship_report(&pr->a->env, pr->published);
	if (rc != 0)
		cli_fail(pr->db, rc);
	if (!cli_quiet)
		cli_say("%s: %s epoch %" PRIu32 " behind commit %" PRIu64,
		    pr->name, pr->p.dry_run ? "would begin" :
		    "is the primary of", e->epoch, e->start);
	return 0;
}

static void
promote_option(struct promotion *pr, struct cli_open_opts *o,
    const struct cli_args *a, int id)
{
	switch (id) {
	case OPT_ARCHIVE:
		pr->archive = a->arg;
		break;
	case OPT_WAIT_APPLY:
		pr->wait_ms = cli_duration_ms("--wait-apply", a->arg);
		break;
	case OPT_FENCE_CMD:
		pr->fence_cmd = a->arg;
		break;
	case OPT_FORCE:
		pr->p.force = 1;
		pr->p.reason = a->arg;
		break;
	case OPT_REASON:
		pr->p.reason = a->arg;
		break;
	case OPT_HOST:
		pr->p.host = a->arg;
		break;
	case 'n':
		pr->p.dry_run = 1;
		break;
	default:
		cli_common(o, a, id);
	}
}

int
walship_promote(struct cli_args *a)
{
	struct promotion pr = { .p = { .publish = publish } };
	struct cli_open_opts o = { .flags = 0 };
	struct walship_words w;
	int id, rc;

	walship_words_init(&w);
	while ((id = walship_next(a, &w)) != 0)
		promote_option(&pr, &o, a, id);
	walship_words_check(&w, 1, 1, "DB");
	pr.name = w.word[0];
	pr.p.arg = &pr;
	pr.db = cli_open(pr.name, &o);
	open_archive(&pr);
	wait_for_apply(&pr);
	run_fence(&pr);
	rc = tell_promotion(&pr, kv_promote(pr.db, &pr.p, &pr.out));
	if (pr.a != NULL)
		kv_archive_close(pr.a);
	return cli_close(pr.db, rc);
}

/* ---- fence ------------------------------------------------------------- */

int
walship_fence(struct cli_args *a)
{
	struct cli_open_opts o = { .flags = 0 };
	const char *primary = NULL;
	struct walship_words w;
	int id, rc, dry_run = 0;
	struct kevo *db;

	walship_words_init(&w);
	while ((id = walship_next(a, &w)) != 0)
		if (id == 'n')
			dry_run = 1;
		else if (!cli_common(&o, a, id))
			primary = a->arg;
	walship_words_check(&w, 2, 2, "DB REASON");
	db = cli_open(w.word[0], &o);
	if (dry_run)
		cli_say("%s: would be fenced", w.word[0]);
	else if ((rc = kv_fence(db, primary, w.word[1])) != 0)
		cli_fail(db, rc);
	return cli_close(db, 0);
}

/* ---- rejoin ------------------------------------------------------------ */

static int
tell_orphans(const char *name, const struct kv_orphans *o, int dry_run)
{
	cli_msg("orphans: %s: %" PRIu64 " commit%s %" PRIu64 "..%" PRIu64 " of"
	    " epoch %" PRIu32 " %s; next: %s", name, o->saved,
	    o->saved == 1 ? "" : "s", o->first, o->last, o->epoch, dry_run ?
	    "would be moved to orphans/" : "are in orphans/", dry_run ?
	    "kevo-walship rejoin" : "look at them, and decide");
	return kv_ship_exit(KV_SHIP_ORPHANS);
}

/* No segment has them any more. */
static void
tell_missing(const char *name, const struct kv_orphans *o)
{
	cli_msg("orphans: %s: %" PRIu64 " commit%s %s cannot be saved: what is"
	    " left of %s is in the tables of this copy; next: keep it until "
	    "you have decided", name, o->missing, o->missing == 1 ? "" : "s",
	    o->which, o->missing == 1 ? "it" : "them");
}

static int
tell_rejoin(const char *name, const char *archive,
    const struct kv_rejoined *r, int rc, int dry_run)
{
	if (rc != 0 && r->why == KV_REJOIN_DONE) {
		cli_msg("%s", r->msg);
		return cli_status(rc);
	}
	switch (r->why) {
	case KV_REJOIN_NOTHING:
		cli_msg("%s", r->msg);
		return EXIT_NO;
	case KV_REJOIN_FORK:
		cli_msg("fork: %s; nothing was changed", r->msg);
		return kv_ship_exit(KV_SHIP_FORK);
	case KV_REJOIN_IN_TABLES:
		if (r->orphans.saved > 0)
			tell_orphans(name, &r->orphans, dry_run);
		if (r->orphans.missing > 0)
			tell_missing(name, &r->orphans);
		cli_msg("fenced: %s; next: kevo-walship restore %s --into "
		    "NEW", r->msg, archive);
		return kv_ship_exit(KV_SHIP_FENCED);
	case KV_REJOIN_DONE:
		break;
	}
	if (!cli_quiet)
		cli_say("%s: %s a replica behind commit %" PRIu64, name,
		    dry_run ? "would be" : "is", r->fork);
	return r->orphans.saved > 0 ? tell_orphans(name, &r->orphans,
	    dry_run) : 0;
}

int
walship_rejoin(struct cli_args *a)
{
	const char *archive = NULL, *primary = NULL, *path;
	struct cli_open_opts o = { .flags = 0 };
	struct kv_archive *from = NULL;
	struct walship_words w;
	struct kv_rejoined out;
	int id, rc, dry_run = 0;

	walship_words_init(&w);
	while ((id = walship_next(a, &w)) != 0)
		switch (id) {
		case OPT_REJOIN_FROM:
			archive = a->arg;
			break;
		case OPT_PRIMARY:
			primary = a->arg;
			break;
		case 'n':
			dry_run = 1;
			break;
		default:
			cli_common(&o, a, id);
		}
	walship_words_check(&w, 1, 1, "DB");
	path = cli_db_path(w.word[0]);
	if (archive == NULL)
		cli_usage("--from is missing: the archive to follow");
	rc = kv_archive_open(archive, &from);
	if (from == NULL)
		cli_die(EX_TEMPFAIL_, "out of memory");
	if (rc != 0)
		walship_fail(&from->env, rc);
	rc = kv_rejoin(path, &from->history, primary, cli_wait_ms(&o),
	    dry_run, &out);
	rc = tell_rejoin(path, archive, &out, rc, dry_run);
	kv_archive_close(from);
	return cli_close(NULL, rc);
}
