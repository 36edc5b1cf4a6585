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
#include "db.h"
#include "options.h"
#include "role.h"
#include "ship/archive.h"
#include "ship/replica.h"
#include "ship/ship.h"
#include "walship.h"
#include "walship_apply_work.h"
#include "walship_archive.h"
#include "walship_watch.h"

enum { OPT_INTO = 400, OPT_FOLLOW, OPT_DELAY };

static const struct cli_opt opts[] = {
	{ OPT_INTO, 0, "into", CLI_REQUIRED, "DB", "the replica" },
	{ OPT_FOLLOW, 0, "follow", CLI_NONE, NULL,
	    "go on as the archive grows" },
	{ OPT_DELAY, 0, "delay", CLI_REQUIRED, "TIME",
	    "only commits that are so old (90, 5m, 4h)" },
	ROW_UNTIL_SEQ("up to commit N, and end there"),
	ROW_UNTIL_TIME("up to the last commit at TIME, and end there"),
	ROW_DRY_RUN("say what would be applied"),
	ROW_QUIET,
	ROW_VERBOSE,
	ROW_END
};

const struct cli_tool walship_apply_tool = {
	"kevo-walship apply",
	"Apply what an archive has to a replica",
	"ARCHIVE --into=DB [-nqv] [--follow] [--delay=TIME]\n"
	"  [--until-seq=N | --until-time=TIME]",
	opts,
	"  kevo-walship apply archive --into replica.kv\n"
	"  kevo-walship apply archive --into late.kv --follow --delay 4h\n"
};

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
			apply_beat(p);
		else
			apply_pass(p);
	walship_watch_close(w);
	kv_kept_release(&p->kept);
}

/* A replica that is missing is begun with nothing in it, if the archive has
 * the log from its first commit on. */
static void
create(struct apply *p)
{
	struct stat st;
	mode_t mask;
	int rc;

	if (stat(p->into, &st) == 0 || errno != ENOENT)
		return;
	if (!walship_archive_is_whole(p->a)) {
		kv_ship_fail(&p->a->env, KV_SHIP_GAP, "%s: it does not begin "
		    "with commit 1, so %s cannot be made of it alone; next: "
		    "%s", p->a->path, p->into, walship_archive_way(p->a,
		    p->a->nseg > 0 ? p->a->seg[0].first : 1));
		apply_fail(p, KV_SHIP_GAP);
	}
	if (p->dry_run)
		return;
	umask(mask = umask(0));
	rc = kv_replica_create(&p->a->env, p->into, 0666 & ~(uint32_t)mask,
	    &p->a->history.v[0]);
	if (rc != 0)
		apply_fail(p, rc);
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
		    "from an archive", p->into, kv_role_word(note.role));
}

/* Where a replica would begin that is to be made. */
static void
plan_new(struct apply *p)
{
	const struct kv_epoch *e = &p->a->history.v[0];

	p->at = (struct kv_position){ e->epoch, e->nonce, 0, e->chain };
}

static void
plan_for(struct apply *p)
{
	struct cli_open_opts open = { KEVO_RDONLY, NULL, NULL, NULL };
	struct kv_ident id;
	int rc;

	p->db = cli_open(p->into, &open);
	check_role(p);
	if ((rc = kv_position_now(p->db, KV_AT_SYNCED, &p->at)) != 0 ||
	    (rc = kv_ident_read(&p->db->env, &p->db->dir, &id)) != 0 ||
	    (rc = kv_history_of_db(&p->db->env, &p->db->dir, &id,
	    &p->plan)) != 0)
		cli_fail(p->db, rc);
}

/* It will have the longer one of both histories. */
static void
plan_history(struct apply *p)
{
	int rc;

	for (size_t i = p->plan.n; i < p->a->history.n; i++)
		if ((rc = kv_history_add(&p->a->env, &p->plan,
		    &p->a->history.v[i])) != 0)
			apply_fail(p, rc);
}

static void
plan(struct apply *p)
{
	struct stat st;

	if (stat(p->into, &st) == 0 || errno != ENOENT)
		plan_for(p);
	else
		plan_new(p);
	plan_history(p);
}

static void
set_until(struct apply *p, const struct walship_until *until)
{
	p->until_seq = until->seq != 0 ? until->seq : UINT64_MAX;
	p->until_ns = until->ns != 0 ? until->ns : UINT64_MAX;
}

void
apply_would(struct kv_archive *a, const char *into,
    const struct walship_until *until, struct kv_position *at,
    uint64_t *time_ns)
{
	struct apply p = { .a = a, .into = into, .at = *at, .delay_ms = -1,
		.dry_run = 1, .time_ns = *time_ns };

	set_until(&p, until);
	plan_history(&p);
	apply_pass(&p);
	warn_of_end(&p);
	kv_history_release(&p.plan);
	if (cli_stopped())
		cli_die_by_signal();
	*at = p.at;
	*time_ns = p.time_ns;
}

static void
open_both(struct apply *p, const char *archive, const char *into)
{
	struct cli_open_opts open = { 0, NULL, NULL, NULL };
	int rc;

	p->into = cli_db_path(into);
	p->a = walship_archive_open(archive);
	create(p);
	if (p->dry_run) {
		plan(p);
		return;
	}
	p->db = cli_open(into, &open);
	check_role(p);
	if ((rc = kv_position_now(p->db, KV_AT_SYNCED, &p->at)) != 0 ||
	    (rc = kv_applier_open(p->db, &p->applier)) != 0)
		cli_fail(p->db, rc);
}

static void
option(struct apply *p, const char **into, struct walship_until *until,
    int id, const char *arg)
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
	case OPT_UNTIL_TIME:
		walship_until(until, id, arg);
		break;
	case 'n':
		p->dry_run = 1;
	}
}

int
walship_apply(struct cli_args *a)
{
	struct apply p = { .delay_ms = -1 };
	struct walship_until until = { 0, 0 };
	struct cli_open_opts common = { 0, NULL, NULL, NULL };
	const char *into = NULL;
	struct walship_words w;
	int id;

	walship_words_init(&w);
	while ((id = walship_next(a, &w)) != 0)
		if (!cli_common(&common, a, id))
			option(&p, &into, &until, id, a->arg);
	set_until(&p, &until);
	walship_words_check(&w, 1, 1, "ARCHIVE");
	if (into == NULL)
		cli_usage("--into is missing");
	if (p.dry_run && p.follow)
		cli_usage("--follow and -n do not go together");
	open_both(&p, w.word[0], into);
	cli_signals();
	apply_pass(&p);
	if (p.follow)
		follow(&p);
	warn_of_end(&p);
	if (p.dry_run)
		cli_say("%s: would %s %" PRIu64 " commits, up to %" PRIu64,
		    p.into, p.db != NULL ? "get" : "be made, and get",
		    p.applied, p.at.seq);
	else if (cli_verbose)
		cli_msg("applied %" PRIu64 ", at commit %" PRIu64, p.applied,
		    p.at.seq);
	kv_history_release(&p.plan);
	kv_applier_close(p.applier);
	kv_archive_close(p.a);
	if (cli_stopped())
		cli_die_by_signal();
	return cli_close(p.db, 0);
}
