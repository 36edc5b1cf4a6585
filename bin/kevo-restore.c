/*
 * kevo-restore: a database out of archives that kevo-backup has written.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "backup.h"
#include "cli.h"
#include "env.h"
#include "options.h"
#include "ship/restore.h"
#include "when.h"

enum { OPT_TEST = 400, OPT_FORCE, OPT_UNTIL };

static const struct cli_opt opts[] = {
	{ OPT_UNTIL, 0, "until", CLI_REQUIRED, "VERSION|TIME",
	    "as of this version or time" },
	{ OPT_TEST, 0, "test", CLI_NONE, NULL,
	    "list, restore and check, but keep nothing" },
	{ OPT_FORCE, 0, "force", CLI_NONE, NULL,
	    "replace the database that is there" },
	{ 'n', 'n', "dry-run", CLI_NONE, NULL,
	    "read and verify the archives, write nothing" },
	ROW_PROGRESS,
	ROW_QUIET,
	ROW_VERBOSE,
	ROW_END
};

static const struct cli_tool tool = {
	"kevo-restore",
	"Make a database of a backup and its increments",
	"[-nqv] [--test] [--force] [--until=VERSION|TIME]\n"
	" [--progress] NEWDB [FILE...]",
	opts,
	"  kevo-restore new.kv monday.tar.zst\n"
	"  kevo-restore new.kv monday.tar.zst tuesday.tar.zst\n"
	"  kevo-restore --until=2026-11-22T13:59:00Z before.kv *.tar.zst\n"
	"  rclone cat remote:data.tar.zst | kevo-restore --test drill.kv\n"
};

struct restore {
	struct cli_open_opts common;
	struct kv_restore_options o;
	struct kv_restore *r;
	int test;
};

static struct restore restore;

/* ---- what is told ------------------------------------------------------ */

static void
member(void *arg, const char *name, uint64_t size)
{
	char line[128];
	int n;

	(void)arg;
	if (!restore.test || cli_quiet)
		return;
	n = snprintf(line, sizeof(line), "%12" PRIu64 "  %s\n", size, name);
	cli_out(line, (size_t)n);
}

static void
progress(void *arg, uint64_t bytes)
{
	(void)arg;
	cli_progress_bytes("read", bytes, 0);
}

static void
say(const struct kv_restored *res)
{
	char when[WHEN_LEN] = "", line[256];
	int n;

	if (res->at.seq > 0)
		when_print(when, res->time_ns);
	n = snprintf(line, sizeof(line), "%s: %s: commit %" PRIu64 "%s%s, %"
	    PRIu64 " records", restore.o.path, restore.test ? "sound" :
	    restore.o.dry_run ? "would be restored" : "restored",
	    res->at.seq, *when != '\0' ? " of " : "", when, res->records);
	if (restore.o.dry_run)
		n = snprintf(line, sizeof(line), "%s: would be restored, up to"
		    " commit %" PRIu64 "%s%s: %" PRIu64 " tables and segments"
		    ", %" PRIu64 " bytes", restore.o.path, res->at.seq,
		    *when != '\0' ? " of " : "", when, res->files,
		    res->bytes);
	if (cli_quiet)
		return;
	if (!restore.test && !restore.o.dry_run) {
		cli_note("%s", line);
		return;
	}
	cli_out(line, (size_t)n);
	cli_out("\n", 1);
}

/* Who asked for a time gets the state as of then, if there were no commits
 * after the backup; nobody here knows whether there were. */
static void
warn_of_end(const struct kv_restored *res)
{
	char when[WHEN_LEN];

	if (restore.o.until_ns != 0 && res->at.seq == 0)
		cli_note("no commit is as old as that: what is restored is "
		    "empty");
	if (restore.o.until_ns == 0 || !res->at_end ||
	    restore.o.until_ns <= res->time_ns)
		return;
	when_print(when, res->time_ns);
	cli_note("the backups end with commit %" PRIu64 " of %s; what was "
	    "written after it, up to the time that was asked for, is not in "
	    "them", res->at.seq, when);
}

/* ---- the work ---------------------------------------------------------- */

/* Whatever ends the program early: what was begun goes. */
static void
remove_begun(int status)
{
	(void)status;
	kv_restore_close(restore.r);
}

static void
add(struct kv_env *env, const char *path)
{
	const char *name;
	int fd = backup_input(path, &name), rc;

	if ((rc = kv_restore_add(restore.r, fd, name)) != 0)
		backup_fail(env, rc);
	if (fd > 2)
		close(fd);
}

static void
finish(struct kv_env *env, struct kv_restored *res)
{
	int rc = kv_restore_build(restore.r, res);

	if (rc == 0 && !restore.o.dry_run)
		rc = kv_restore_check(restore.r, res);
	if (rc == 0 && !restore.o.dry_run && !restore.test)
		rc = kv_restore_place(restore.r);
	if (rc != 0)
		backup_fail(env, rc);
}

/* ---- options ----------------------------------------------------------- */

static void
parse_until(const char *s)
{
	if (strspn(s, "0123456789") == strlen(s) && *s != '\0') {
		restore.o.until_seq = cli_number("--until", s, UINT64_MAX);
		if (restore.o.until_seq == 0)
			cli_usage("--until: versions begin with 1");
	} else if (when_parse(s, &restore.o.until_ns) != 0 ||
	    restore.o.until_ns == 0)
		cli_usage("--until: %s: neither a version nor a time such as "
		    "2026-11-22T13:59:00Z or @1795355940", s);
}

static void
parse(struct cli_args *a)
{
	int id;

	while ((id = cli_next(a)) != 0)
		if (id == OPT_UNTIL)
			parse_until(a->arg);
		else if (id == OPT_TEST)
			restore.test = 1;
		else if (id == OPT_FORCE)
			restore.o.force = 1;
		else if (id == 'n')
			restore.o.dry_run = 1;
		else if (id == OPT_PROGRESS)
			cli_progress_mode(a->arg);
		else
			cli_common(&restore.common, a, id);
	cli_operands(a, 1, -1);
	if (restore.test && restore.o.dry_run)
		cli_usage("--test and -n do not go together");
	if (restore.o.until_seq != 0 && restore.o.until_ns != 0)
		cli_usage("only one --until can be given");
	if (restore.o.dry_run && (restore.o.until_seq != 0 ||
	    restore.o.until_ns != 0))
		cli_usage("--until and -n do not go together; --test finds "
		    "out what can be had");
}

int
main(int argc, char *argv[])
{
	struct kv_env env = { "" };
	struct kv_restored res;
	struct cli_args a;
	int rc;

	cli_start(&a, &tool, argc, argv);
	parse(&a);
	backup_need_archives();
	restore.o.path = cli_db_path(a.argv[a.i]);
	restore.o.stopped = cli_stopped;
	restore.o.member = member;
	restore.o.progress = progress;
	cli_guard_maps(a.argv[a.i++]);
	cli_signals();
	cli_at_exit(remove_begun);
	if ((rc = kv_restore_open(&env, &restore.o, &restore.r)) != 0)
		backup_fail(&env, rc);
	if (a.i == a.argc)
		add(&env, "-");
	for (; a.i < a.argc; a.i++)
		add(&env, a.argv[a.i]);
	finish(&env, &res);
	cli_at_exit(NULL);
	kv_restore_close(restore.r);
	cli_progress_end();
	warn_of_end(&res);
	say(&res);
	return cli_close(NULL, 0);
}
