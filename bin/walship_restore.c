/*
 * kevo-walship restore: a base, and the log that follows it.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "backup.h"
#include "cli_tool.h"
#include "db.h"
#include "options.h"
#include "promote.h"
#include "ship/ship.h"
#include "walship.h"
#include "walship_apply_work.h"
#include "walship_base.h"
#include "when.h"

enum { OPT_INTO = 720, OPT_DETACHED };

static const struct cli_opt opts[] = {
	{ OPT_INTO, 0, "into", CLI_REQUIRED, "DB", "where it is to be" },
	ROW_UNTIL_SEQ("as of commit N"),
	ROW_UNTIL_TIME("as of the last commit at TIME"),
	{ OPT_DETACHED, 0, "detached", CLI_NONE, NULL,
	    "no replica, but a primary by itself" },
	ROW_DRY_RUN("say what would be restored, write nothing"),
	ROW_QUIET,
	ROW_VERBOSE,
	ROW_END
};

const struct cli_tool walship_restore_tool = {
	"kevo-walship restore",
	"Make a replica of a base and the log behind it",
	"ARCHIVE|- --into=DB [-nqv]\n"
	"  [--until-seq=N | --until-time=TIME]\n"
	"  [--detached]",
	opts,
	"  kevo-walship restore archive --into replica.kv\n"
	"  kevo-walship restore archive --into old.kv --detached \\\n"
	"      --until-time 2026-11-21T14:00:00Z\n"
};

/* ---- the bases of an archive ------------------------------------------- */

struct found {
	char name[KV_ARCHIVE_PATH_LEN];
	struct kv_base base;
};

struct bases {
	struct kv_archive *a;
	struct found *v;
	size_t n;
};

static int
take_head(void *arg, const struct kv_base *b)
{
	((struct found *)arg)->base = *b;
	return KEVO_FALSE;	/* that is all we want to know now */
}

/* The head of one; a file that is none, or cut in its head, is passed over:
 * another one may do. */
static int
look_at(void *arg, const char *name)
{
	struct bases *l = arg;
	struct kv_base_sink sink = { .head = take_head };
	struct kv_env aside = { "" };
	struct kv_base none;
	struct kv_tar_in *in;
	struct found *v;
	int fd, rc;

	if ((v = realloc(l->v, (l->n + 1) * sizeof(*v))) == NULL)
		cli_die(EX_IOERR_, "out of memory");
	l->v = v;
	v += l->n;
	snprintf(v->name, sizeof(v->name), "base/%.255s", name);
	sink.arg = v;
	fd = kv_openat(l->a->dir.fd, v->name, O_RDONLY, 0);
	if (fd < 0)
		return 0;
	if ((rc = kv_tar_open(&aside, fd, v->name, cli_stopped, &in)) == 0) {
		rc = kv_base_read(&aside, in, v->name, &sink, &none);
		kv_tar_close(in);
	}
	close(fd);
	if (rc == KEVO_FALSE && memcmp(v->base.db, l->a->id, 16) == 0)
		l->n++;
	return 0;
}

static struct found *
parent_of(struct bases *l, const struct kv_base *b)
{
	for (size_t i = 0; i < l->n; i++)
		if (kv_position_same(&l->v[i].base.end, &b->parent) &&
		    l->v[i].base.end.seq < b->end.seq)
			return &l->v[i];
	return NULL;
}

/* Is it early enough?  One whose end is too late may still begin early. */
static int
is_early(const struct kv_base *b, const struct walship_recover *o)
{
	if (o->until.seq != 0)
		return b->start.seq <= o->until.seq;
	return o->until.ns == 0 || b->time_ns <= o->until.ns;
}

/* Is it of a line of history that lost a promotion, by its end?  It may do for
 * what came before that. */
static int
is_lost(struct bases *l, const struct kv_base *b,
    const struct walship_recover *o)
{
	const struct kv_epoch *e = kv_history_find(&l->a->history,
	    b->end.epoch);
	const struct kv_epoch *next = kv_history_next(&l->a->history,
	    b->end.epoch);

	if (e != NULL && e->nonce != b->end.nonce)
		return 1;
	return next != NULL && b->end.seq > next->start &&
	    (o->until.seq == 0 || o->until.seq > next->start);
}

static int
leads_to_full(struct bases *l, const struct found *f)
{
	while (f != NULL && f->base.has_parent)
		f = parent_of(l, &f->base);
	return f != NULL;
}

/* The latest base that is not too late; for a time before all of them the
 * earliest, whose log may reach back to it. */
static struct found *
choose(struct bases *l, const struct walship_recover *o)
{
	struct found *best = NULL, *first = NULL;

	for (size_t i = 0; i < l->n; i++) {
		struct found *f = &l->v[i];

		if (!leads_to_full(l, f) || is_lost(l, &f->base, o))
			continue;
		if (first == NULL || f->base.end.seq < first->base.end.seq)
			first = f;
		if (is_early(&f->base, o) && (best == NULL ||
		    f->base.end.seq > best->base.end.seq))
			best = f;
	}
	return best != NULL ? best : first;
}

/* ---- the log behind it ------------------------------------------------- */

/*
 * kevo-walship apply does it, as for any replica: it uses all that arrived,
 * the unsealed tail too, and ends where it is told to.
 */
static void
apply(const struct walship_recover *o, const char *path)
{
	char self[] = "/proc/self/exe", name[] = "kevo-walship";
	char verb[] = "apply", into[] = "--into", quiet[] = "-q";
	char seq[32], until[WHEN_LEN], opt_seq[] = "--until-seq";
	char opt_time[] = "--until-time", *argv[10];
	int n = 0, status, rc;
	pid_t pid;

	argv[n++] = name;
	argv[n++] = verb;
	if (cli_quiet)
		argv[n++] = quiet;
	argv[n++] = (char *)(uintptr_t)o->from;
	argv[n++] = into;
	argv[n++] = (char *)(uintptr_t)path;
	if (o->until.seq != 0) {
		snprintf(seq, sizeof(seq), "%" PRIu64, o->until.seq);
		argv[n++] = opt_seq;
		argv[n++] = seq;
	} else if (o->until.ns != 0) {
		when_print(until, o->until.ns);
		argv[n++] = opt_time;
		argv[n++] = until;
	}
	argv[n] = NULL;
	if ((rc = posix_spawn(&pid, self, NULL, NULL, argv, environ)) != 0)
		cli_die(EX_IOERR_, "cannot run myself: %s", strerror(rc));
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			cli_die(EX_IOERR_, "waitpid: %s", strerror(errno));
	if (cli_stopped())
		cli_die_by_signal();
	if (WIFSIGNALED(status))
		cli_die(EX_IOERR_, "apply was ended by signal %d",
		    WTERMSIG(status));
	if (status != 0)	/* it has told why */
		cli_end_early(WEXITSTATUS(status));
}

/* ---- what came out ----------------------------------------------------- */

static struct kevo *
open_result(const char *path)
{
	struct cli_open_opts open = { 0, NULL, NULL, NULL };

	return cli_open(path, &open);
}

/* Epochs that began behind its last commit came with the log, for a replica
 * that goes on; they are not the history of one that does not. */
static void
drop_epochs(const char *path)
{
	struct kevo *db = open_result(path);
	struct kv_history h = { NULL, 0 };
	char name[KV_EPOCH_NAME_LEN];
	struct kv_position at;
	struct kv_ident id;
	int rc;

	if ((rc = kv_position_now(db, KV_AT_SYNCED, &at)) != 0 ||
	    (rc = kv_ident_read(&db->env, &db->dir, &id)) != 0 ||
	    (rc = kv_history_of_db(&db->env, &db->dir, &id, &h)) != 0)
		walship_fail(&db->env, rc);
	for (size_t i = h.n; i-- > 1 && h.v[i].start > at.seq;) {
		char file[sizeof(KV_EPOCHS) + KV_EPOCH_NAME_LEN];

		kv_epoch_name(name, h.v[i].epoch);
		snprintf(file, sizeof(file), KV_EPOCHS "/%s", name);
		if (unlinkat(db->dir.fd, file, 0) != 0)
			walship_fail(&db->env, kv_fail_errno(&db->env,
			    kv_path(&db->dir, file), "remove"));
	}
	kv_history_release(&h);
	if ((rc = kevo_close(db)) != 0)
		cli_die(cli_status(rc), "%s: %s", path, kevo_strerror(rc));
}

/* Is it the commit that was asked for? */
static int
check_until(struct kv_env *env, const struct walship_recover *o,
    const struct kv_position *at)
{
	if (o->until.seq == 0 || at->seq == o->until.seq)
		return 0;
	return kv_ship_fail(env, KV_SHIP_GAP, "%s: need commit %" PRIu64 ", %s"
	    " ends with %" PRIu64 "; nothing was restored", o->into,
	    o->until.seq, o->from, at->seq);
}

static void
look(const struct walship_recover *o, const char *path,
    struct kv_restored *out)
{
	struct kv_promote p = { .reason = "restored, detached", .force = 1 };
	struct kv_promoted done;
	struct kevo *db;
	int rc;

	if (o->detached)
		drop_epochs(path);
	db = open_result(path);
	rc = kv_position_now(db, KV_AT_SYNCED, &out->at);
	if (rc == 0)
		rc = check_until(&db->env, o, &out->at);
	if (rc == 0 && o->detached)
		rc = kv_promote(db, &p, &done);
	if (rc != 0)
		walship_fail(&db->env, rc);
	if ((rc = kevo_close(db)) != 0)
		cli_die(cli_status(rc), "%s: %s", path, kevo_strerror(rc));
}

/* ---- all together ------------------------------------------------------ */

static struct {
	struct kv_env env;
	struct kv_restore *r;
	struct bases l;
} work;

void (*walship_recover_failed)(int status);

static void
remove_begun(int status)
{
	kv_restore_close(work.r);
	work.r = NULL;
	if (walship_recover_failed != NULL)
		walship_recover_failed(status);
}

static void
add(int fd, const char *name)
{
	int rc = kv_restore_add(work.r, fd, name);

	if (rc == 0)
		return;
	if (cli_stopped())
		cli_die_by_signal();
	walship_fail(&work.env, rc);
}

/* The full one first. */
static void
add_chain(struct found *f)
{
	int fd;

	if (f->base.has_parent)
		add_chain(parent_of(&work.l, &f->base));
	fd = kv_openat(work.l.a->dir.fd, f->name, O_RDONLY, 0);
	if (fd < 0)
		walship_archive_fail(work.l.a, kv_fail_errno(&work.l.a->env,
		    kv_path(&work.l.a->dir, f->name), "open"));
	add(fd, f->name);
	close(fd);
}

static struct found *
find_base(const struct walship_recover *o)
{
	struct found *f;
	int rc;

	work.l.a = walship_archive_open(o->from);
	rc = kv_archive_each(work.l.a, "base", look_at, &work.l);
	if (rc != 0)
		walship_archive_fail(work.l.a, rc);
	if ((f = choose(&work.l, o)) != NULL)
		return f;
	if (walship_archive_is_whole(work.l.a))
		kv_ship_fail(&work.l.a->env, KV_SHIP_GAP, "%s: there is no "
		    "base in it, but all of the log; next: kevo-walship apply "
		    "%s --into %s", o->from, o->from, o->into);
	else
		kv_ship_fail(&work.l.a->env, KV_SHIP_GAP, "%s: there is no "
		    "base in it; next: %s", o->from,
		    walship_archive_way(work.l.a, UINT64_MAX));
	walship_archive_fail(work.l.a, KV_SHIP_GAP);
}

/* How far the base alone is to be brought. */
static void
set_until(struct kv_restore_options *r, const struct walship_recover *o,
    const struct found *f)
{
	if (f == NULL || o->until.seq < f->base.end.seq)
		r->until_seq = o->until.seq;
	if (f == NULL || o->until.ns < f->base.time_ns)
		r->until_ns = o->until.ns;
}

static void
go_on(const struct walship_recover *o, struct kv_restored *out)
{
	if (o->dry_run)
		apply_would(work.l.a, o->into, &o->until, &out->at,
		    &out->time_ns);
	else
		apply(o, kv_restore_path(work.r));
}

static void
build(const struct walship_recover *o, const struct found *f,
    struct kv_restored *out)
{
	int rc = kv_restore_build(work.r, out);

	if (rc != 0)
		walship_fail(&work.env, rc);
	if (f != NULL && out->at_end && out->at.seq != o->until.seq)
		go_on(o, out);
	else if (o->until.ns != 0 && out->at.seq == 0)
		cli_note("%s: no commit is as old as that: what is restored "
		    "is empty", o->from);
	if (o->dry_run) {
		if ((rc = check_until(&work.env, o, &out->at)) != 0)
			walship_fail(&work.env, rc);
		return;
	}
	look(o, kv_restore_path(work.r), out);
	if ((rc = kv_restore_check(work.r, out)) != 0 ||
	    (rc = kv_restore_place(work.r)) != 0)
		walship_fail(&work.env, rc);
}

void
walship_recover(const struct walship_recover *o, struct kv_restored *out)
{
	struct kv_restore_options r = { .path = o->into, .replica = 1,
		.dry_run = o->dry_run, .stopped = cli_stopped };
	struct found *f = NULL;
	int rc;

	backup_need_archives();
	cli_at_exit(remove_begun);
	if (strcmp(o->from, "-") != 0)
		f = find_base(o);
	set_until(&r, o, f);
	if ((rc = kv_restore_open(&work.env, &r, &work.r)) != 0)
		walship_fail(&work.env, rc);
	if (f != NULL)
		add_chain(f);
	else
		add(0, "(stdin)");
	build(o, f, out);
	cli_at_exit(NULL);
	kv_restore_close(work.r);
	work.r = NULL;
	free(work.l.v);
	if (work.l.a != NULL)
		kv_archive_close(work.l.a);
}

/* ---- the command ------------------------------------------------------- */

static void
option(struct walship_recover *o, int id, const char *arg)
{
	switch (id) {
	case OPT_INTO:
		o->into = arg;
		break;
	case OPT_UNTIL_SEQ:
	case OPT_UNTIL_TIME:
		walship_until(&o->until, id, arg);
		break;
	case OPT_DETACHED:
		o->detached = 1;
		break;
	case 'n':
		o->dry_run = 1;
	}
}

int
walship_restore(struct cli_args *a)
{
	struct cli_open_opts common = { 0, NULL, NULL, NULL };
	struct walship_recover o = { NULL, NULL, { 0, 0 }, 0, 0 };
	char at[KV_POSITION_LEN], when[WHEN_LEN];
	struct kv_restored out;
	struct walship_words w;
	int id;

	walship_words_init(&w);
	while ((id = walship_next(a, &w)) != 0)
		if (!cli_common(&common, a, id))
			option(&o, id, a->arg);
	walship_words_check(&w, 1, 1, "ARCHIVE");
	if (o.into == NULL)
		cli_usage("--into is missing");
	o.from = w.word[0];
	cli_signals();
	walship_recover(&o, &out);
	kv_position_print(at, &out.at);
	when_print(when, out.time_ns);
	if (o.dry_run)
		cli_say("%s: would be restored up to commit %" PRIu64 "%s%s "
		    "(%s)", o.into, out.at.seq, out.at.seq != 0 ? " of " : "",
		    out.at.seq != 0 ? when : "", at);
	else if (cli_verbose)
		cli_note("%s: at %s, %" PRIu64 " records", o.into, at,
		    out.records);
	return cli_close(NULL, 0);
}
