/*
 * A transaction of several handles and processes: its end, however it comes;
 * writers at the same time; what others do to the database meanwhile; files
 * and texts that are not what they should be.
 */
#include <errno.h>
#include <signal.h>
#include <sys/wait.h>

#include "joined.h"
#include "lock.h"
#include "txnfile.h"

static int
get(struct kevo *db)
{
	struct kevo_record r;

	return kevo_peek(db, NULL, "k", 1, &r);
}

/* ---- its end ----------------------------------------------------------- */

/* Every call of a handle that has joined says that it is over. */
static void
all_ended(struct kevo *j, struct kevo_iter *it, struct kevo_snapshot *snap,
    struct kevo_txn *t)
{
	struct kevo_snapshot *s;
	struct kevo_batch *b;
	struct kevo_record r;
	struct kevo_txn *u;
	struct kevo_iter *i;

	expect(get(j) == KEVO_EENDED);
	expect(strstr(kevo_errmsg(j), "the transaction has ended") != NULL);
	expect(put(j, "k", "late") == KEVO_EENDED);
	expect(kevo_delete(j, "k", 1, NULL, NULL) == KEVO_EENDED);
	expect(kevo_snapshot_new(j, &s) == KEVO_EENDED);
	expect(kevo_peek(j, snap, "k", 1, &r) == KEVO_EENDED);
	expect(kevo_iter_new(j, NULL, NULL, &i) == KEVO_EENDED);
	expect(kevo_iter_new(j, snap, NULL, &i) == KEVO_EENDED);
	usleep(9000);		/* an iterator looks once in a tick */
	expect(kevo_iter_next(it, &r) == KEVO_EENDED);
	expect(kevo_iter_first(it, &r) == KEVO_EENDED);
	expect(kevo_txn_begin(j, NULL, &u) == KEVO_EENDED);
	expect(kevo_sync(j) == KEVO_EENDED);
	check(j, kevo_batch_new(j, &b), "batch");
	check(j, kevo_batch_put(b, "k", 1, "late", 4, 0), "put");
	expect(kevo_commit(j, b, 0, NULL) == KEVO_EENDED);
	kevo_batch_free(b);
	expect(kevo_txn_get(t, "k", 1, &r) == KEVO_EENDED);
	expect(kevo_txn_put(t, "k", 1, "late", 4, 0) == KEVO_EENDED);
	expect(kevo_txn_commit(t, 0, NULL) == KEVO_EENDED);
}

/* An owner in another process: it says its text, and ends as it is told. */
static pid_t
owner(int commit, char env[200], int *end)
{
	int there[2], back[2];
	ssize_t n;
	pid_t pid;

	if (pipe(there) != 0 || pipe(back) != 0 || (pid = fork()) < 0)
		tap_bail("no process");
	if (pid == 0) {
		struct kevo *db = join(NULL, 0);
		struct kevo_txn *t = share(db);
		char c;

		close(there[1]);
		check(db, kevo_txn_put(t, "k", 1, "owner", 5, 0), "put");
		n = write(back[1], kevo_txn_env(t),
		    strlen(kevo_txn_env(t)) + 1);
		if (n < 0 || read(there[0], &c, 1) < 0)
			_exit(2);
		check(db, commit ? kevo_txn_commit(t, 0, NULL) :
		    kevo_txn_abort(t), "end");
		kevo_close(db);
		_exit(0);
	}
	close(there[0]);
	close(back[1]);
	n = read(back[0], env, 200);
	close(back[0]);
	if (n <= 0)
		tap_bail("the owner said nothing");
	*end = there[1];
	return pid;
}

enum how { COMMIT, ABORT, KILL };

static void
test_end(enum how how, const char *name)
{
	struct kevo *db = fresh(name), *j, *late;
	char env[200], title[80];
	struct kevo_snapshot *snap;
	struct kevo_iter *it;
	struct kevo_txn *t;
	int end, status;
	pid_t pid;

	check(db, put(db, "k", "0"), "put");
	pid = owner(how == COMMIT, env, &end);
	j = join(env, 0);
	expect(holds(j, "k", "owner") && holds(db, "k", "0"));
	check(j, put(j, "l", "1"), "put");
	check(j, kevo_snapshot_new(j, &snap), "snapshot");
	check(j, kevo_iter_new(j, NULL, NULL, &it), "iterator");
	t = how == KILL ? begin(j, 0) : begin(j, KEVO_TXN_READ);
	if (how == KILL)
		kill(pid, SIGKILL);
	close(end);
	if (waitpid(pid, &status, 0) != pid)
		tap_bail("wait");
	expect(how == KILL ? WIFSIGNALED(status) : status == 0);
	all_ended(j, it, snap, t);
	expect(try_open(env, 0, 0, &late) == KEVO_EENDED);
	kevo_close(late);
	expect(try_open(env, KEVO_RDONLY, 0, &late) == KEVO_EENDED);
	kevo_close(late);
	kevo_iter_free(it);
	kevo_snapshot_free(snap);
	kevo_close(j);
	expect(holds(db, "k", how == COMMIT ? "owner" : "0"));
	expect(holds(db, "l", how == COMMIT ? "1" : NULL));
	/* What the dead leave goes with the next one. */
	t = share(db);
	expect(count_files("txn", "") == 1);
	check(db, kevo_txn_abort(t), "abort");
	expect(count_files("txn", "") == 0);
	kevo_close(db);
	snprintf(title, sizeof(title), "join: the end by %s", name);
	tap_report(title);
}

/* ---- several at once --------------------------------------------------- */

#define SIBLINGS	4
#define ROUNDS		60

static void
increment(struct kevo *db, const char *key)
{
	struct kevo_txn *t = begin(db, 0);
	struct kevo_record r;
	char text[24] = "";
	int rc = kevo_txn_get(t, key, strlen(key), &r), n;

	if (rc == 0)
		memcpy(text, r.value, r.vlen < 20 ? r.vlen : 20);
	else if (rc != KEVO_NOTFOUND)
		check(db, rc, "get");
	n = snprintf(text, sizeof(text), "%d", atoi(text) + 1);
	check(db, kevo_txn_put(t, key, strlen(key), text, (size_t)n, 0),
	    "put");
	check(db, kevo_txn_commit(t, 0, NULL), "commit");
}

static void
sibling(const char *env, int me)
{
	char k[32];

	for (int i = 0; i < ROUNDS; i++) {
		struct kevo *db = join(env, 0);

		increment(db, "counter");
		snprintf(k, sizeof(k), "own %d %d", me, i);
		check(db, put(db, k, "1"), "put");
		if (!holds(db, k, "1"))
			_exit(3);
		kevo_close(db);
	}
	_exit(0);
}

static void
test_siblings(void)
{
	struct kevo *db = fresh("siblings"), *j;
	struct kevo_txn *t = share(db);
	pid_t pid[SIBLINGS];
	int status;
	char k[32];

	for (int i = 0; i < SIBLINGS; i++)
		if ((pid[i] = fork()) == 0)
			sibling(kevo_txn_env(t), i);
	j = join(kevo_txn_env(t), KEVO_RDONLY);
	for (int i = 0; i < SIBLINGS; i++)
		expect(waitpid(pid[i], &status, 0) == pid[i] && status == 0);
	snprintf(k, sizeof(k), "%d", SIBLINGS * ROUNDS);
	expect(holds(j, "counter", k) && holds(db, "counter", NULL));
	kevo_close(j);
	expect(kevo_txn_count(t) == 2 * SIBLINGS * ROUNDS);
	check(db, kevo_txn_commit(t, 0, NULL), "commit");
	expect(holds(db, "counter", k));
	for (int i = 0; i < SIBLINGS; i++) {
		snprintf(k, sizeof(k), "own %d %d", i, ROUNDS - 1);
		expect(holds(db, k, "1"));
	}
	kevo_close(db);
	tap_report("join: siblings at the same time lose nothing");
}

static void
test_busy(void)
{
	struct kevo *db = fresh("busy"), *a, *b, *r;
	struct kevo_txn *t = share(db), *u;
	struct kevo_feed *f;

	a = join(kevo_txn_env(t), 0);
	check(a, try_open(kevo_txn_env(t), 0, 20, &b), "open");
	r = join(kevo_txn_env(t), KEVO_RDONLY);
	u = begin(a, 0);
	check(a, kevo_txn_put(u, "k", 1, "inner", 5, 0), "put");
	expect(put(b, "k", "b") == KEVO_EBUSY);
	expect(strstr(kevo_errmsg(b), "join_test, pid") != NULL);
	expect(put(a, "k", "a") == KEVO_EINVAL);
	expect(holds(r, "k", NULL) && holds(b, "k", NULL));
	expect(put(r, "k", "r") == KEVO_EPERM);
	check(a, kevo_txn_commit(u, 0, NULL), "commit");
	expect(holds(r, "k", "inner"));
	expect(put(b, "k", "b") == 0 && holds(r, "k", "b"));
	/* What cannot be done within one. */
	expect(kevo_compact(a, NULL, NULL) == KEVO_EPERM);
	expect(kevo_feed_open(a, NULL, &f) == KEVO_EPERM);
	expect(kevo_feed_open(r, NULL, &f) == KEVO_EPERM);
	expect(kevo_config_set(a, (const char *const[]){ "sync=none",
	    NULL }) == KEVO_EPERM);
	kevo_close(r);
	kevo_close(b);
	kevo_close(a);
	check(db, kevo_txn_abort(t), "abort");
	kevo_close(db);
	tap_report("join: writers wait for each other, readers do not");
}

static int
open_file(const char *ending)
{
	char full[600] = "";
	struct dirent *e;
	DIR *d;
	int fd;

	snprintf(full, sizeof(full), "%s/txn", path);
	if ((d = opendir(full)) == NULL)
		tap_bail("no directory");
	while ((e = readdir(d)) != NULL)
		if (strstr(e->d_name, ending) != NULL)
			snprintf(full, sizeof(full), "%s/txn/%s", path,
			    e->d_name);
	closedir(d);
	if ((fd = open(full, O_RDWR)) < 0)
		tap_bail("%s: %s", full, strerror(errno));
	return fd;
}

static void
fill(struct kevo *db, size_t from, size_t to)
{
	char k[16], v[100];

	memset(v, 'v', sizeof(v));
	for (size_t i = from; i < to; i++)
		check(db, kevo_put(db, k, (size_t)snprintf(k, sizeof(k),
		    "n%06zu", i), v, sizeof(v), NULL, NULL), "put");
}

/* Keys of fill() up to n, in order; beyond is ignored. */
static void
walk(struct kevo_iter *it, size_t n)
{
	struct kevo_record r;
	char k[16];

	expect(kevo_iter_first(it, &r) == 0);
	for (size_t i = 0; i < n; i++) {
		int len = snprintf(k, sizeof(k), "n%06zu", i);

		if (!expect(r.klen == (size_t)len &&
		    memcmp(r.key, k, r.klen) == 0 && r.vlen == 100))
			return;
		expect((kevo_iter_next(it, &r) == 0) == (i + 1 < n));
	}
}

/* From a transaction that each reader indexes for itself to one with an index
 * for all, in a file that somebody was killed in the midst of making. */
static void
test_growing(void)
{
	struct kevo *db = fresh("growing"), *w, *r;
	struct kevo_txn *t = share(db), *u;
	struct kevo_iter *few, *many;
	struct kevo_snapshot *snap;
	char name[600];
	FILE *junk;

	w = join(kevo_txn_env(t), 0);
	r = join(kevo_txn_env(t), KEVO_RDONLY);
	fill(w, 0, 10);
	check(r, kevo_snapshot_new(r, &snap), "snapshot");
	check(r, kevo_iter_new(r, NULL, NULL, &few), "iterator");
	walk(few, 10);
	fill(w, 10, 2000);
	expect(count_files("txn", ".idx") == 0);
	snprintf(name, sizeof(name), "%s/txn/%016llx.idx", path,
	    strtoull(strstr(kevo_txn_env(t), ".w.") + 3, NULL, 16));
	if ((junk = fopen(name, "w")) == NULL || fputs("junk", junk) < 0 ||
	    fclose(junk) != 0)
		tap_bail("%s: %s", name, strerror(errno));
	check(r, kevo_iter_new(r, NULL, NULL, &many), "iterator");
	walk(many, 2000);
	walk(few, 10);
	/* Meanwhile others write, and read what they wrote. */
	u = begin(w, 0);
	check(w, kevo_txn_put(u, "z", 1, "1", 1, 0), "put");
	check(w, kevo_txn_commit(u, 0, NULL), "commit");
	expect(holds(w, "z", "1") && holds(r, "z", "1") &&
	    holds(r, "n001999", NULL) == 0);
	fill(w, 2000, 3000);
	walk(few, 10);
	walk(many, 2000);
	kevo_iter_free(many);
	check(r, kevo_iter_new(r, snap, NULL, &many), "iterator");
	walk(many, 10);
	kevo_iter_free(many);
	kevo_iter_free(few);
	kevo_snapshot_free(snap);
	kevo_close(r);
	kevo_close(w);
	check(db, kevo_txn_commit(t, 0, NULL), "commit");
	expect(holds(db, "z", "1") && count_files("txn", "") == 0);
	kevo_close(db);
	tap_report("join: a transaction that grows while it is read");
}

/* Who stands still with the write lock keeps readers waiting only if much was
 * written that nobody has read. */
static void
test_stopped(void)
{
	struct kevo *db = fresh("stopped"), *w, *r;
	struct kevo_txn *t = share(db);
	int fd;

	w = join(kevo_txn_env(t), 0);
	check(w, try_open(kevo_txn_env(t), KEVO_RDONLY, 20, &r), "open");
	fill(w, 0, 5);
	fd = open_file(".txn");
	expect(kv_txn_write_try(fd));
	expect(holds(r, "n000005", NULL) && !holds(r, "n000004", NULL));
	kv_txn_write_unlock(fd);
	fill(w, 5, 200);
	expect(kv_txn_write_try(fd));
	expect(get(r) == KEVO_EBUSY);
	expect(strstr(kevo_errmsg(r), "join_test, pid") != NULL);
	kv_txn_write_unlock(fd);
	expect(get(r) == KEVO_NOTFOUND && kv_txn_write_try(fd));
	expect(get(r) == KEVO_NOTFOUND && !holds(r, "n000199", NULL));
	kv_txn_write_unlock(fd);
	close(fd);
	kevo_close(r);
	kevo_close(w);
	check(db, kevo_txn_abort(t), "abort");
	kevo_close(db);
	tap_report("join: a reader waits for who has the lock if it must");
}

/* Two transactions, each waiting for the other's database. */
static void
test_two_databases(void)
{
	struct kevo *a = fresh("two-a"), *b, *b2;
	struct kevo_txn *ta = begin(a, 0), *tb;
	char first[260];
	struct kevo *a2;

	memcpy(first, path, sizeof(first));
	b = fresh("two-b");
	tb = begin(b, 0);
	check(b, try_open(NULL, 0, 30, &b2), "open");
	expect(put(b2, "k", "1") == KEVO_EBUSY);
	expect(strstr(kevo_errmsg(b2), "locked by join_test, pid") != NULL);
	kevo_close(b2);
	memcpy(path, first, sizeof(first));
	check(a, try_open(NULL, 0, 30, &a2), "open");
	expect(put(a2, "k", "1") == KEVO_EBUSY);
	kevo_close(a2);
	check(a, kevo_txn_abort(ta), "abort");
	check(b, kevo_txn_abort(tb), "abort");
	kevo_close(a);
	kevo_close(b);
	tap_report("join: who waits for a database is told by whom it is held");
}

/* ---- snapshots --------------------------------------------------------- */

static void
test_snapshot(void)
{
	struct kevo_compact full = { .flags = KEVO_COMPACT_FULL };
	struct kevo *db = fresh("snapshot"), *r, *j, *k, *late;
	struct kevo_txn *t, *u;
	char env[200];

	check(db, put(db, "k", "1"), "put");
	check(db, kevo_compact(db, &full, NULL), "compact");
	check(db, put(db, "l", "1"), "put");
	r = join(NULL, KEVO_RDONLY);
	t = begin(r, KEVO_TXN_READ | KEVO_TXN_SHARED);
	snprintf(env, sizeof(env), "%s", kevo_txn_env(t));
	check(db, put(db, "k", "2"), "put");
	check(db, put(db, "l", "2"), "put");
	check(db, kevo_compact(db, &full, NULL), "compact");
	check(db, put(db, "k", "3"), "put");
	check(db, kevo_compact(db, &full, NULL), "compact");
	j = join(env, KEVO_RDONLY);
	k = join(env, 0);
	for (int i = 0; i < 8; i++)	/* cold, and mapped */
		expect(holds(j, "k", "1") && holds(j, "l", "1") &&
		    holds(j, "m", NULL));
	expect(put(k, "k", "x") == KEVO_EPERM && holds(k, "k", "1"));
	expect(kevo_txn_begin(k, NULL, &u) == KEVO_EPERM);
	/* Handed on. */
	u = begin(k, KEVO_TXN_READ | KEVO_TXN_SHARED);
	late = join(kevo_txn_env(u), KEVO_RDONLY);
	expect(holds(late, "k", "1"));
	check(k, kevo_txn_commit(u, 0, NULL), "commit");
	expect(get(late) == KEVO_EENDED && holds(k, "k", "1"));
	kevo_close(late);
	check(db, put(db, "k", "4"), "put");
	check(db, kevo_compact(db, &full, NULL), "compact");
	expect(holds(j, "k", "1") && holds(k, "l", "1"));
	check(r, kevo_txn_abort(t), "abort");
	expect(get(j) == KEVO_EENDED && get(k) == KEVO_EENDED);
	expect(try_open(env, KEVO_RDONLY, 0, &late) == KEVO_EENDED);
	kevo_close(late);
	kevo_close(j);
	kevo_close(k);
	kevo_close(r);
	expect(holds(db, "k", "4"));
	kevo_close(db);
	tap_report("join: a shared snapshot stays, whatever is compacted");
}

/* A snapshot within a transaction. */
static void
test_snapshot_within(void)
{
	struct kevo *db = fresh("snapshot-within"), *a, *b, *c;
	struct kevo_txn *t = share(db), *u;

	a = join(kevo_txn_env(t), 0);
	b = join(kevo_txn_env(t), 0);
	check(a, put(a, "k", "1"), "put");
	u = begin(a, KEVO_TXN_READ | KEVO_TXN_SHARED);
	check(b, put(b, "k", "2"), "put");
	c = join(kevo_txn_env(u), 0);
	expect(holds(c, "k", "1") && holds(b, "k", "2"));
	expect(put(c, "k", "3") == KEVO_EPERM);
	check(a, kevo_txn_abort(u), "abort");
	expect(get(c) == KEVO_EENDED && holds(a, "k", "2"));
	kevo_close(c);
	kevo_close(b);
	kevo_close(a);
	check(db, kevo_txn_commit(t, 0, NULL), "commit");
	expect(holds(db, "k", "2"));
	kevo_close(db);
	tap_report("join: a snapshot of a transaction");
}

/* ---- a new generation beside it ----------------------------------------- */

static void
shell(const char *what)
{
	char cmd[400];

	snprintf(cmd, sizeof(cmd), "cd '%s' && %s", path, what);
	if (system(cmd) != 0)
		tap_bail("%s", cmd);
}

static void
see_all(struct kevo *j, const char *value)
{
	struct kevo_iter *it;
	struct kevo_record r;
	size_t n = 0;
	int rc;

	expect(holds(j, "base", "1") && holds(j, "k", value));
	check(j, kevo_iter_new(j, NULL, NULL, &it), "iterator");
	while ((rc = kevo_iter_next(it, &r)) == 0)
		n++;
	expect(rc == KEVO_NOTFOUND && n == 2);
	kevo_iter_free(it);
}

static struct kevo *
join_briefly(const char *txn, unsigned flags)
{
	struct kevo *db = NULL;
	int rc = try_open(txn, flags, 50, &db);

	check(db, rc, "open");
	return db;
}

/*
 * Who misses an index or all of shm cannot build it for everybody while the
 * owner of the transaction lives, and builds one for itself.
 */
static void
test_rebuild(const char *name, const char *remove, int kill_owner)
{
	struct kevo *db = fresh(name), *warm, *cold, *late, *out;
	char env[200], title[80];
	int end, status;
	pid_t pid;

	check(db, put(db, "base", "1"), "put");
	kevo_close(db);
	pid = owner(1, env, &end);
	warm = join_briefly(env, 0);
	cold = join_briefly(env, 0);
	see_all(warm, "owner");
	shell(remove);
	for (int i = 0; i < 8; i++)
		expect(holds(cold, "base", "1") && holds(cold, "k", "owner"));
	late = join_briefly(env, 0);
	check(late, put(late, "k", "late"), "put");
	see_all(late, "late");
	see_all(warm, "late");
	see_all(cold, "late");
	out = join_briefly(NULL, KEVO_RDONLY);
	expect(holds(out, "base", "1") && holds(out, "k", NULL));
	kevo_close(out);
	if (kill_owner)
		kill(pid, SIGKILL);
	close(end);
	expect(waitpid(pid, &status, 0) == pid && (kill_owner ?
	    WIFSIGNALED(status) : status == 0));
	expect(get(warm) == KEVO_EENDED && get(cold) == KEVO_EENDED &&
	    get(late) == KEVO_EENDED);
	kevo_close(warm);
	kevo_close(cold);
	kevo_close(late);
	db = join(NULL, 0);
	expect(holds(db, "base", "1") &&
	    holds(db, "k", kill_owner ? NULL : "late"));
	check(db, put(db, "k", "after"), "put");
	expect(holds(db, "k", "after"));
	kevo_close(db);
	snprintf(title, sizeof(title), "join: %s, under a transaction that "
	    "is %s", name, kill_owner ? "killed" : "committed");
	tap_report(title);
}

/* ---- who removes what is left ------------------------------------------ */

/*
 * An owner is killed, and somebody is about to remove its file: that is not to
 * be taken for its life.
 */
static void
test_remover(void)
{
	struct kevo *db = fresh("remover"), *j;
	char env[200];
	int end, fd;
	pid_t pid;

	check(db, put(db, "k", "0"), "put");
	pid = owner(1, env, &end);
	j = join(env, 0);
	fd = open_file(".txn");
	expect(!kv_txn_claim(fd) && holds(j, "k", "owner"));
	kill(pid, SIGKILL);
	if (waitpid(pid, NULL, 0) != pid)
		tap_bail("wait");
	close(end);
	expect(kv_txn_claim(fd));
	expect(get(j) == KEVO_EENDED && put(j, "k", "1") == KEVO_EENDED);
	/* As long as it has it, nobody else does it. */
	check(db, kevo_txn_abort(share(db)), "abort");
	expect(count_files("txn", "") == 1);
	close(fd);
	check(db, kevo_txn_abort(share(db)), "abort");
	expect(count_files("txn", "") == 0);
	kevo_close(j);
	kevo_close(db);
	tap_report("join: who removes a dead one's file is not its owner");
}

/* ---- texts and files --------------------------------------------------- */

static void
test_texts(void)
{
	static const char *const none[] = { "x", "1", "1.2", "1.2.w", "1.2.w.",
		"1.2.w.g", "1.2.q.1", "1.2.w.1 ", "1.2.w.1  1.2.w.1",
		" 1.2.w.1",
		"1.2.w.1.2", "1.2.r.1.2.3.4", "11112222333344445.2.w.1",
		"1.2.w.1\n", "../../etc.1.w.1" };
	struct kevo *a = fresh("texts-a"), *b, *j, *late;
	struct kevo_txn *ta = share(a), *tb;
	char second[260];

	for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++) {
		expect(try_open(none[i], 0, 0, &late) == KEVO_EENDED);
		kevo_close(late);
	}
	/* Of another database: an ordinary handle there, and both go on. */
	snprintf(path, sizeof(path), "%s/texts-b", tap_dir);
	b = join(kevo_txn_env(ta), KEVO_CREATE);
	check(b, put(b, "k", "b"), "put");
	tb = share(b);
	expect(strchr(kevo_txn_env(tb), ' ') != NULL);
	j = join(kevo_txn_env(tb), 0);
	check(j, put(j, "k", "in b"), "put");
	memcpy(second, path, sizeof(second));
	snprintf(path, sizeof(path), "%s/texts-a", tap_dir);
	late = join(kevo_txn_env(tb), 0);
	check(late, put(late, "k", "in a"), "put");
	expect(holds(late, "k", "in a") && holds(j, "k", "in b"));
	check(b, kevo_txn_abort(tb), "abort");
	expect(get(j) == KEVO_EENDED && holds(late, "k", "in a"));
	kevo_close(late);
	kevo_close(j);
	check(a, kevo_txn_commit(ta, 0, NULL), "commit");
	expect(holds(a, "k", "in a") && holds(b, "k", "b"));
	kevo_close(b);
	kevo_close(a);
	tap_report("join: texts that are none, and of several databases");
}

/* A read, a write and a walk; whatever they answer, they end. */
static void
use(const char *env)
{
	struct kevo_record r;
	struct kevo_iter *it;
	struct kevo *j;

	if (try_open(env, 0, 0, &j) == 0) {
		get(j);
		put(j, "k", "damaged");
		get(j);
		if (kevo_iter_new(j, NULL, NULL, &it) == 0) {
			for (int i = 0; i < 50; i++)
				if (kevo_iter_next(it, &r) != 0)
					break;
			kevo_iter_free(it);
		}
	}
	kevo_close(j);
}

static void
damage(int fd, off_t off, const char *env)
{
	uint8_t was, now;

	if (pread(fd, &was, 1, off) != 1)
		tap_bail("read");
	now = (uint8_t)(was ^ (1 + tap_below(255)));
	if (pwrite(fd, &now, 1, off) != 1)
		tap_bail("write");
	use(env);
	if (pwrite(fd, &was, 1, off) != 1)
		tap_bail("write");
}

static void
test_damage(void)
{
	struct kevo *db = fresh("damage"), *j;
	struct kevo_txn *t = share(db);
	char env[200], value[400] = "";
	int txn, idx;

	snprintf(env, sizeof(env), "%s", kevo_txn_env(t));
	j = join(env, 0);
	/* So much that there is an index once somebody reads. */
	memset(value, 'v', sizeof(value) - 1);
	for (char k[] = "a"; *k <= 'z'; ++*k)
		check(j, put(j, k, value), "put");
	expect(count_files("txn", ".idx") == 0 && holds(j, "a", value) &&
	    count_files("txn", ".idx") == 1);
	txn = open_file(".txn");
	idx = open_file(".idx");
	for (off_t off = 0; off < (off_t)sizeof(struct kv_txn_head); off++)
		damage(txn, off, env);
	for (off_t off = 0; off < 300; off++)
		damage(txn, KV_TXN_HEAD_LEN + off, env);
	for (off_t off = 0; off < 2000; off++)
		damage(idx, off, env);
	kevo_close(j);
	/* Operations that are none never get into the log. */
	{
		uint8_t bad = 9;

		if (pwrite(txn, &bad, 1, KV_TXN_HEAD_LEN + 48) != 1)
			tap_bail("write");
	}
	expect(kevo_txn_commit(t, 0, NULL) == KEVO_ECORRUPT);
	expect(holds(db, "a", NULL) && put(db, "a", "1") == 0);
	close(txn);
	close(idx);
	kevo_close(db);
	tap_report("join: files that are damaged anywhere");
}

/* ---- fork, and what does not fit --------------------------------------- */

static void
test_fork(void)
{
	struct kevo *db = fresh("fork"), *j;
	struct kevo_txn *t = share(db);
	int status;
	pid_t pid;

	j = join(kevo_txn_env(t), 0);
	check(j, put(j, "k", "1"), "put");
	if ((pid = fork()) == 0) {
		int bad = put(j, "k", "2") != KEVO_EFORKED ||
		    kevo_txn_put(t, "k", 1, "3", 1, 0) != KEVO_EFORKED;

		kevo_close(j);
		if (kevo_txn_abort(t) != KEVO_EFORKED)
			bad = 1;
		kevo_close(db);
		_exit(bad);
	}
	expect(waitpid(pid, &status, 0) == pid && status == 0);
	expect(holds(j, "k", "1") && put(j, "l", "1") == 0);
	kevo_close(j);
	check(db, kevo_txn_commit(t, 0, NULL), "commit");
	expect(holds(db, "k", "1") && holds(db, "l", "1"));
	kevo_close(db);
	tap_report("join: a child of fork() leaves it alone");
}

static void
test_depth(void)
{
	struct kevo *db[KV_TXN_DEPTH + 2];
	struct kevo_txn *t[KV_TXN_DEPTH + 2];
	struct kevo_begin b = { KEVO_TXN_SHARED, 0 };
	int n = 0, rc;

	db[0] = fresh("depth");
	while ((rc = kevo_txn_begin(db[n], &b, &t[n])) == 0 &&
	    n < KV_TXN_DEPTH) {
		db[n + 1] = join(kevo_txn_env(t[n]), 0);
		n++;
		check(db[n], put(db[n], "k", "deep"), "put");
	}
	expect(n == KV_TXN_DEPTH && rc == KEVO_ELIMIT);
	for (; n > 0; n--) {
		kevo_close(db[n]);
		check(db[n - 1], kevo_txn_commit(t[n - 1], 0, NULL),
		    "commit");
	}
	expect(holds(db[0], "k", "deep"));
	kevo_close(db[0]);
	tap_report("join: transactions within each other have a limit");
}

/* More than fits the first pieces of both files. */
static void
test_large(void)
{
	struct kevo *db = fresh("large"), *j;
	struct kevo_txn *t = share(db);
	struct kevo_batch *b;
	struct kevo_record r;
	char k[16];

	j = join(kevo_txn_env(t), 0);
	for (int round = 0; round < 20; round++) {
		check(j, kevo_batch_new(j, &b), "batch");
		for (int i = 0; i < 2000; i++) {
			snprintf(k, sizeof(k), "%08x", (unsigned)(round *
			    2000 + i) * 2654435761u);
			check(j, kevo_batch_put(b, k, 8, k, 8, 0), "put");
		}
		check(j, kevo_commit(j, b, 0, NULL), "commit");
		kevo_batch_free(b);
	}
	for (unsigned i = 0; i < 40000; i += 7) {
		snprintf(k, sizeof(k), "%08x", i * 2654435761u);
		expect(kevo_peek(j, NULL, k, 8, &r) == 0);
	}
	kevo_close(j);
	expect(kevo_txn_count(t) == 40000);
	check(db, kevo_txn_commit(t, 0, NULL), "commit");
	for (unsigned i = 0; i < 40000; i += 7) {
		snprintf(k, sizeof(k), "%08x", i * 2654435761u);
		expect(kevo_peek(db, NULL, k, 8, &r) == 0);
	}
	kevo_close(db);
	tap_report("join: a large one");
}

int
main(void)
{
	tap_start("join");
	test_texts();
	test_busy();
	test_growing();
	test_stopped();
	test_two_databases();
	test_end(COMMIT, "commit");
	test_end(ABORT, "abort");
	test_end(KILL, "SIGKILL");
	test_snapshot();
	test_snapshot_within();
	test_rebuild("shm removed", "rm -r shm", 0);
	test_rebuild("shm removed again", "rm -r shm", 1);
	test_rebuild("an index removed", "rm shm/*.idx", 0);
	test_rebuild("an index removed again", "rm shm/*.idx", 1);
	test_remover();
	test_siblings();
	test_fork();
	test_depth();
	test_large();
	test_damage();
	return tap_end();
}
