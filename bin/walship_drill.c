/*
 * kevo-walship drill: really restore, check, and look at the clock.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "db.h"
#include "leavings.h"
#include "options.h"
#include "ship/ship.h"
#include "walship.h"
#include "walship_base.h"
#include "when.h"

enum { OPT_INTO = 740, OPT_MAX_TIME, OPT_CHECK };

static const struct cli_opt opts[] = {
	{ OPT_INTO, 0, "into", CLI_REQUIRED, "DIR",
	    "a directory to restore in; nothing stays there" },
	ROW_UNTIL_SEQ("as of commit N"),
	ROW_UNTIL_TIME("as of the last commit at TIME"),
	{ OPT_MAX_TIME, 0, "max-time", CLI_REQUIRED, "TIME",
	    "fail if it takes longer (90, 30m)" },
	{ OPT_CHECK, 0, "check", CLI_REQUIRED, "COMMAND",
	    "run by sh with KEVO_DB set; fail if it does" },
	ROW_DRY_RUN("read and verify, say what would be restored"),
	ROW_QUIET,
	ROW_VERBOSE,
	ROW_END
};

const struct cli_tool walship_drill_tool = {
	"kevo-walship drill",
	"Restore an archive, check what comes out, and time it",
	"ARCHIVE --into=DIR [-nqv]\n"
	"  [--until-seq=N | --until-time=TIME] [--max-time=TIME]\n"
	"  [--check=COMMAND]",
	opts,
	"  kevo-walship drill archive --into /var/tmp --max-time 30m\n"
	"  kevo-walship drill archive --into /var/tmp \\\n"
	"      --check 'test \"$(kevo-scan -c @)\" -gt 1000'\n"
};

static struct {
	struct walship_recover o;
	const char *check;
	int64_t max_ms;		/* -1: no limit */
	int64_t began_ms;
	const char *dir;
	char path[4096];	/* of the database */
} drill = { .max_ms = -1 };

/* ---- the record -------------------------------------------------------- */

/* "2026-11-22T14:03:11Z good 4.211 s, commit 61234" in state/drills. */
static void
record(const char *what)
{
	struct kv_archive *a = NULL;
	uint64_t now = kv_now_ns();
	char when[WHEN_LEN], line[256];
	int64_t ms = kv_mono_ms() - drill.began_ms;

	when_print(when, now - now % 1000000000u);
	snprintf(line, sizeof(line), "%s %s, %" PRId64 ".%03d s\n", when,
	    what, ms / 1000, (int)(ms % 1000));
	if (kv_archive_open(drill.o.from, &a) == 0 &&
	    kv_archive_note(a, "drills", line) != 0)
		cli_msg("%s", a->env.msg);
	if (a != NULL)
		kv_archive_close(a);
}

static void
remove_result(void)
{
	if (access(drill.path, F_OK) == 0 &&
	    leavings_remove_all(drill.path) != 0)
		cli_msg("%s: cannot remove: %s", drill.path, strerror(errno));
}

static void
failed(int status)
{
	char what[64];

	remove_result();
	snprintf(what, sizeof(what), "failed with %d", status);
	record(what);
}

/* ---- the work ---------------------------------------------------------- */

static void __attribute__((noreturn, format(printf, 1, 2)))
fail(const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	cli_die(kv_ship_exit(KV_SHIP_FAILED), "%s: %s",
	    kv_ship_class_name(KV_SHIP_FAILED), text);
}

static void
run_check(void)
{
	int status;

	if (drill.check == NULL)
		return;
	if (setenv("KEVO_DB", drill.path, 1) != 0)
		cli_die(EX_IOERR_, "setenv: %s", strerror(errno));
	status = system(drill.check);
	if (cli_stopped())
		cli_die_by_signal();
	if (status != 0)
		fail("\"%.200s\": %s %d on what was restored; next: look at "
		    "it with kevo-walship restore", drill.check,
		    WIFSIGNALED(status) ? "signal" : "exit",
		    WIFSIGNALED(status) ? WTERMSIG(status) :
		    WEXITSTATUS(status));
}

/* A killed drill leaves what it was at, or what it had restored. */
static void
remove_leavings(const char *dir)
{
	leavings_remove(dir, ".drill-", ".kv.restore");
	leavings_remove(dir, "drill-", ".kv");
}

/* For as long as the program runs, while it is looked at. */
static void
hold_result(void)
{
	int fd = open(drill.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		fail("%s: it is gone: %s", drill.path, strerror(errno));
	leavings_hold(fd);
}

static void
check_time(void)
{
	int64_t ms = kv_mono_ms() - drill.began_ms;

	if (drill.max_ms >= 0 && ms > drill.max_ms)
		fail("%s: restored and checked in %" PRId64 " ms, the limit "
		    "is %" PRId64, drill.o.from, ms, drill.max_ms);
}

static void
option(int id, const char *arg)
{
	switch (id) {
	case OPT_INTO:
		drill.o.into = arg;
		break;
	case OPT_UNTIL_SEQ:
	case OPT_UNTIL_TIME:
		walship_until(&drill.o.until, id, arg);
		break;
	case OPT_MAX_TIME:
		drill.max_ms = cli_duration_ms("--max-time", arg);
		break;
	case OPT_CHECK:
		drill.check = arg;
		break;
	case 'n':
		drill.o.dry_run = 1;
	}
}

static void
parse(struct cli_args *a)
{
	struct cli_open_opts common = { 0, NULL, NULL, NULL };
	static struct walship_words w;
	int id;

	walship_words_init(&w);
	while ((id = walship_next(a, &w)) != 0)
		if (!cli_common(&common, a, id))
			option(id, a->arg);
	walship_words_check(&w, 1, 1, "ARCHIVE");
	if (drill.o.into == NULL)
		cli_usage("--into is missing");
	if (strcmp(w.word[0], "-") == 0)
		cli_usage("a drill needs an archive to tell of it");
	drill.o.from = w.word[0];
	if ((size_t)snprintf(drill.path, sizeof(drill.path), "%s/drill-%u.kv",
	    drill.o.into, (unsigned)getpid()) >= sizeof(drill.path))
		cli_usage("--into: the name is too long");
	drill.dir = drill.o.into;
	drill.o.into = drill.path;
}

int
walship_drill(struct cli_args *a)
{
	struct kv_restored out;
	char what[64];

	parse(a);
	cli_signals();
	drill.began_ms = kv_mono_ms();
	if (!drill.o.dry_run) {
		walship_recover_failed = failed;
		remove_leavings(drill.dir);
	}
	walship_recover(&drill.o, &out);
	if (drill.o.dry_run) {
		cli_say("%s: would be restored up to commit %" PRIu64 ", and "
		    "checked", drill.o.from, out.at.seq);
		return cli_close(NULL, 0);
	}
	cli_at_exit(failed);
	hold_result();
	run_check();
	check_time();
	cli_at_exit(NULL);
	remove_result();
	snprintf(what, sizeof(what), "good, commit %" PRIu64, out.at.seq);
	record(what);
	if (cli_verbose)
		cli_note("%s: %s, %" PRIu64 " records, %" PRId64 " ms",
		    drill.o.from, what, out.records,
		    kv_mono_ms() - drill.began_ms);
	return cli_close(NULL, 0);
}
