/*
 * debt_test: what a writer does about the log it leaves behind: it starts a
 * compactor that has nothing of it, does the work itself, or waits.
 */
#include "compact.h"

#include <errno.h>
#include <signal.h>
#include <sys/wait.h>

#include "lock.h"
#include "testdb.h"

static char script[260], report[300];

static struct kevo *
create(const char *compactor)
{
	const char *const settings[] = { "memtable_bytes=65536", "sync=none",
		NULL };
	struct kevo_options opt = { .settings = settings,
		.compactor = compactor };

	return create_as(&opt);
}

/* Seal n segments more, of a few records each. */
static void
seal(struct kevo *db, int n)
{
	char key[32];

	for (int i = 0; i < n; i++) {
		for (int k = 0; k < 10; k++) {
			snprintf(key, sizeof(key), "%d/%d", k, (int)
			    tap_below(1000));
			check(db, kevo_put(db, key, strlen(key), "v", 1, NULL,
			    NULL), "put");
		}
		check(db, kv_writer_lock(db), "lock");
		check(db, kv_rotate(db, 0, 0, NULL), "rotate");
		kv_writer_unlock(db);
	}
}

static uint64_t
sealed(struct kevo *db)
{
	struct kv_version *v;
	uint64_t n;

	check(db, kv_newest_version(db, &v), "version");
	n = kv_sealed(db, v);
	kv_version_unref(v);
	return n;
}

/* ---- the program that is started --------------------------------------- */

/* A program that says what it finds, and is done when report.done is there. */
static void
write_script(void)
{
	FILE *f;

	snprintf(script, sizeof(script), "%s/compactor", tap_dir);
	snprintf(report, sizeof(report), "%s/report", tap_dir);
	f = fopen(script, "w");
	if (f == NULL)
		tap_bail("no script");
	fprintf(f, "#!/bin/sh\n"
	    "exec >'%s' 2>&1\n"
	    "echo \"args $*\"\n"
	    "echo \"dir $(pwd)\"\n"
	    "env | sed 's/^/env /'\n"
	    "read -r pid comm state ppid pgrp sid rest </proc/$$/stat\n"
	    "echo \"sid $sid ppid $ppid\"\n"
	    "ls -l /proc/$$/fd\n"
	    "mv '%s' '%s.done'\n", report, report, report);
	fclose(f);
	chmod(script, 0755);
}

static char *
wait_for_report(void)
{
	static char text[65536];
	char name[320];
	size_t n = 0;
	FILE *f = NULL;

	snprintf(name, sizeof(name), "%s.done", report);
	for (int i = 0; i < 2000 && (f = fopen(name, "r")) == NULL; i++)
		usleep(5000);
	if (f != NULL) {
		n = fread(text, 1, sizeof(text) - 1, f);
		fclose(f);
		unlink(name);
	}
	text[n] = '\0';
	return text;
}

/* Nothing tells that nothing happens: so wait a little. */
static int
was_started(void)
{
	char name[320];

	snprintf(name, sizeof(name), "%s.done", report);
	usleep(50000);
	return access(report, F_OK) == 0 || access(name, F_OK) == 0;
}

static volatile sig_atomic_t children;

static void
on_child(int sig)
{
	(void)sig;
	children++;
}

static void
test_spawn(void)
{
	struct kevo *db = create(script);
	char *text, want[600];
	int extra = open("/dev/zero", O_RDONLY), out = dup(1), e;
	pid_t child;

	dup2(extra, 20);		/* not closed by an exec */
	signal(SIGCHLD, on_child);
	signal(SIGTERM, SIG_IGN);
	setenv("KEVO_TXN", "secret", 1);
	setenv("OTHER", "kept", 1);
	fflush(stdout);
	expect(kv_spawn_compactor(db) == 1);
	text = wait_for_report();
	snprintf(want, sizeof(want), "args -q -w 0 %s\n", path);
	if (!expect(strstr(text, want) != NULL))
		tap_note("%.200s", text);
	expect(strstr(text, "dir /\n") != NULL);
	expect(strstr(text, "env OTHER=kept\n") != NULL);
	expect(strstr(text, "KEVO_TXN") == NULL);
	expect(strstr(text, " 0 -> /dev/null\n") != NULL);
	expect(strstr(text, " 20 -> ") == NULL);
	expect(strstr(text, "-> pipe:") == NULL);
	snprintf(want, sizeof(want), "sid %d ", (int)getsid(0));
	expect(strstr(text, "sid ") != NULL && strstr(text, want) == NULL);
	snprintf(want, sizeof(want), "ppid %d\n", (int)getpid());
	expect(strstr(text, want) == NULL);
	/* The program's own children are not disturbed. */
	expect(children == 0);
	if ((child = fork()) == 0)
		_exit(7);
	expect(wait(&e) == child && WEXITSTATUS(e) == 7);
	expect(wait(&e) == -1 && errno == ECHILD);
	signal(SIGCHLD, SIG_DFL);
	signal(SIGTERM, SIG_DFL);
	unsetenv("KEVO_TXN");
	close(extra);
	close(20);
	close(out);
	kevo_close(db);
	tap_report("what is started has nothing of who started it");
}

static void
test_no_program(void)
{
	struct kevo *db = create("/nonexistent/compactor");

	expect(kv_spawn_compactor(db) == 0);
	db->compactor = "no-program-has-this-name";
	expect(kv_spawn_compactor(db) == 0);
	db->compactor = "";
	expect(kv_spawn_compactor(db) == 0);
	db->compactor = tap_dir;	/* may be searched, not run */
	expect(kv_spawn_compactor(db) == 0);
	kevo_close(db);
	tap_report("no such program: told so");
}

/* Standard streams that are closed are not mistaken for anything. */
static void
test_closed_streams(void)
{
	struct kevo *db = create(script);
	int save[3], status;
	pid_t pid;
	char *text;

	(void)save;
	fflush(stdout);
	if ((pid = fork()) == 0) {
		struct kevo_options opt = { .compactor = script };
		struct kevo *own;

		for (int i = 0; i < 3; i++)
			close(i);
		if (kevo_open(path, 0, &opt, &own) != 0)
			_exit(1);
		_exit(kv_spawn_compactor(own) == 1 ? 0 : 2);
	}
	waitpid(pid, &status, 0);
	expect(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	text = wait_for_report();
	expect(strstr(text, " 0 -> /dev/null\n") != NULL);
	kevo_close(db);
	tap_report("with closed standard streams, too");
}

/* ---- after a rotation -------------------------------------------------- */

static void
test_starts(void)
{
	struct kevo *db = create(script), *other;

	seal(db, 1);
	kv_after_rotate(db);
	expect(*wait_for_report() != '\0');
	expect(sealed(db) == 1);
	/* Not while somebody is at it. */
	check(db, kevo_open(path, 0, NULL, &other), "open");
	kv_compacting_enter(other->lock_fd);
	expect(kv_compacting_other(db->lock_fd));
	expect(!kv_compacting_other(other->lock_fd));
	kv_after_rotate(db);
	kv_compacting_leave(other->lock_fd);
	expect(!was_started());
	kevo_close(other);
	kevo_close(db);
	tap_report("a compactor is started, unless there is one");
}

static void
test_manual(void)
{
	struct kevo *db = create(script);

	set(db, KV_SET_COMPACTION, KV_COMPACTION_MANUAL);
	seal(db, 3);
	kv_after_rotate(db);
	expect(!was_started());
	expect(sealed(db) == 3);
	kevo_close(db);
	tap_report("compaction=manual: nothing by itself");
}

static void
test_alone(void)
{
	struct kevo *db = create("");
	struct kv_version *v;

	for (int i = 0; i < 12; i++) {
		seal(db, 1);
		kv_after_rotate(db);
		expect(sealed(db) == 0);
	}
	check(db, kv_newest_version(db, &v), "version");
	expect(kv_depth(v) < 6);	/* it merges, too */
	expect(v->level_start[2] > v->level_start[1]);
	kv_version_unref(v);
	kevo_close(db);
	tap_report("without a program the writer does it all");
}

static void
test_helps(void)
{
	struct kevo *db = create(script), *other;
	int64_t start;

	set(db, KV_SET_MEMTABLES, 2);
	set(db, KV_SET_STALL_SEGMENTS, 6);
	set(db, KV_SET_STALL_MS, 300);
	check(db, kevo_open(path, 0, NULL, &other), "open");
	kv_compacting_enter(other->lock_fd);
	seal(db, 2);
	kv_after_rotate(db);
	expect(sealed(db) == 2);	/* not yet */
	seal(db, 1);
	kv_after_rotate(db);
	expect(sealed(db) == 0);
	/* Somebody else is flushing, and does not get on. */
	expect(kv_flush_try(other->lock_fd));
	seal(db, 4);
	start = kv_mono_ms();
	kv_after_rotate(db);
	expect(kv_mono_ms() - start >= 100);	/* half of it */
	seal(db, 6);
	start = kv_mono_ms();
	kv_after_rotate(db);
	expect(kv_mono_ms() - start >= 300);
	expect(sealed(db) == 10);
	kv_flush_leave(other->lock_fd);
	kv_after_rotate(db);
	expect(sealed(db) == 0);
	kv_compacting_leave(other->lock_fd);
	kevo_close(other);
	kevo_close(db);
	tap_report("it helps, and waits the longer the more there is");
}

static int
stop(void *arg, const struct kevo_compact_progress *p)
{
	(void)arg;
	(void)p;
	raise(SIGSTOP);
	return 0;
}

/* In a process of its own: a flush that is stopped in the middle. */
static void
flush_and_stop(void)
{
	struct kevo_compact c = { .progress = stop };
	struct kv_work w;
	struct kevo *own;
	uint64_t n;

	if (kevo_open(path, 0, NULL, &own) != 0 || kv_warm_up(own) != 0)
		_exit(1);
	kv_work_init(&w, own, &c);
	w.told_ms = 0;
	_exit(kv_flush(&w, &n) == 0 && n > 0 ? 0 : 2);
}

static int
put_some(struct kevo *db)
{
	char value[4000] = "";
	int rc = 0;

	for (int i = 0; rc == 0 && i < 15; i++)
		rc = kevo_put(db, "key", 3, value, sizeof(value), NULL, NULL);
	return rc;
}

static void
test_stopped(void)
{
	struct kevo *db = create("");
	uint64_t most = 0;
	char want[40];
	int rc, status;
	pid_t pid;

	set(db, KV_SET_COMPACTION, KV_COMPACTION_MANUAL);
	while (sealed(db) < 8)
		check(db, put_some(db), "put");
	fflush(stdout);
	if ((pid = fork()) == 0)
		flush_and_stop();
	waitpid(pid, &status, WUNTRACED);
	expect(WIFSTOPPED(status));
	set(db, KV_SET_COMPACTION, KV_COMPACTION_AUTO);
	set(db, KV_SET_STALL_SEGMENTS, 6);
	set(db, KV_SET_STALL_MS, 50);
	while ((rc = put_some(db)) == 0 && most < 30)
		most = sealed(db);
	expect(rc == KEVO_EBUSY && most < 20);
	snprintf(want, sizeof(want), "pid %d, for ", (int)pid);
	if (!expect(strstr(kevo_errmsg(db), want) != NULL))
		tap_note("%s", kevo_errmsg(db));
	expect(put_some(db) == KEVO_EBUSY && sealed(db) == most);
	/* It goes on. */
	kill(pid, SIGCONT);
	waitpid(pid, &status, 0);
	expect(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	for (int i = 0; i < 8; i++)
		check(db, put_some(db), "put");
	expect(sealed(db) <= 6);
	kevo_close(db);
	tap_report("behind a flush that is stopped the log does not grow");
}

/* A transaction on the handle is not disturbed. */
static void
test_transaction(void)
{
	struct kevo *db = create("");
	struct kevo_txn *t;

	seal(db, 8);
	check(db, kevo_txn_begin(db, NULL, &t), "begin");
	kv_after_rotate(db);
	expect(sealed(db) == 8);
	kevo_txn_abort(t);
	kv_fail(&db->env, KEVO_EIO, "the commit's own");
	kv_after_rotate(db);
	expect(sealed(db) == 0);
	expect(strcmp(kevo_errmsg(db), "the commit's own") == 0);
	kevo_close(db);
	tap_report("not in a transaction; a message stays what it was");
}

int
main(void)
{
	tap_start("debt");
	write_script();
	test_spawn();
	test_no_program();
	test_closed_streams();
	test_starts();
	test_manual();
	test_alone();
	test_helps();
	test_stopped();
	test_transaction();
	return tap_end();
}
