/*
 * compact_test: flush and merges against a plain array: what the files hold,
 * read without the engine, is what was written, after any sequence of writes
 * and compactions, by one process and by several.
 */
#include "compacted.h"

#include <errno.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

/* ---- tests ------------------------------------------------------------- */

static void
test_nothing(void)
{
	struct kevo *db = create();

	expect(compact(db, 0) == 0);
	expect(done.flushed == 0 && done.jobs == 0 && done.busy == 0);
	expect(compact(db, KEVO_COMPACT_FULL) == 0);
	expect(done.flushed == 0 && done.jobs == 0);
	expect(count_files("version", "") == 0);
	kevo_close(db);
	tap_report("an empty database: nothing is due");
}

static void
test_flush(void)
{
	struct kevo *db = create();
	struct kv_version *v;

	forget_model();
	write_some(db, 4000, 0, KEYS);
	expect(atomic_load(&db->ctl->active) > 3);
	check(db, compact(db, KEVO_COMPACT_FLUSH), "flush");
	expect(done.flushed == atomic_load(&db->ctl->active) - 1);
	expect(same());
	expect(only_needed_files(db));
	v = newest(db);
	expect(v->first_segment == atomic_load(&db->ctl->active));
	expect(v->number == 1);
	expect(atomic_load(&db->ctl->version) == 1);
	expect(v->level_start[1] == 0);	/* nothing lay beside it */
	kv_version_unref(v);
	write_some(db, 2000, 0, KEYS);
	check(db, compact(db, KEVO_COMPACT_FLUSH), "flush");
	v = newest(db);
	expect(v->level_start[1] > 0);	/* now there does */
	kv_version_unref(v);
	expect(same());
	kevo_close(db);
	tap_report("flush: the log is in tables, and its segments are gone");
}

/* Deepest level that has a table, and whether it is the only one. */
static int
is_one_run(struct kevo *db)
{
	struct kv_version *v = newest(db);
	uint64_t deletes = 0;
	int levels = 0;

	for (uint32_t i = 0; i < KV_LEVELS; i++)
		levels += v->level_start[i] < v->level_start[i + 1];
	for (uint32_t i = 0; i < v->ntables; i++)
		deletes += v->table[i].info.deletes;
	levels += v->level_start[1] > 0;
	kv_version_unref(v);
	return expect(levels == 1) & expect(deletes == 0);
}

static void
test_full(void)
{
	struct kevo *db = create();
	uint64_t version;

	forget_model();
	for (int i = 0; i < 6; i++) {
		write_some(db, 1500, 0, KEYS);
		check(db, compact(db, 0), "compact");
	}
	expect(same());
	check(db, compact(db, KEVO_COMPACT_FULL), "full");
	expect(same());
	expect(is_one_run(db));
	expect(only_needed_files(db));
	/* Records that expire are looked at again, and nothing else is. */
	version = atomic_load(&db->ctl->version);
	for (unsigned i = 0; i < KEYS; i++)
		if (model[i].there && model[i].expires_ns != 0)
			model[i].there = 2;
	check(db, compact(db, KEVO_COMPACT_FULL), "full again");
	expect(done.flushed == 0);
	expect(same());
	expect(atomic_load(&db->ctl->version) >= version);
	kevo_close(db);
	tap_report("full: one sorted run, without deletions");
}

static void
test_delete_all(void)
{
	struct kevo *db = create();
	struct kevo_write w = { .sync = KEVO_SYNC_NONE };
	struct kv_version *v;
	uint64_t seq = 0;

	forget_model();
	write_some(db, 4000, 0, KEYS);
	check(db, compact(db, 0), "compact");
	for (unsigned i = 0; i < KEYS; i++) {
		char key[64];

		check(db, kevo_delete(db, key, key_of(i, key), &w, &seq),
		    "delete");
		model[i].there = 0;
	}
	check(db, compact(db, KEVO_COMPACT_FULL), "full");
	v = newest(db);
	expect(v->ntables == 0);
	expect(v->last_seq == seq);
	expect(v->dropped_to > 0 && v->dropped_to <= seq);
	kv_version_unref(v);
	expect(count_files("table", "") == 0);
	expect(same());
	write_some(db, 3000, 0, KEYS);
	check(db, compact(db, 0), "compact");
	expect(same());
	kevo_close(db);
	tap_report("all deleted: no table is left, and life goes on");
}

static void
put_expiring(struct kevo *db, const char *key, uint64_t expires_ns)
{
	struct kevo_write w = { .sync = KEVO_SYNC_NONE,
		.expires_ns = expires_ns };

	check(db, kevo_put(db, key, strlen(key), "v", 1, &w, NULL), "put");
}

static size_t
items_of(const char *key, struct whole_item *first)
{
	struct whole w;
	size_t n = 0;

	if (whole_read(&w, path) != 0)
		tap_bail("%s", w.why);
	for (size_t i = 0; i < w.n; i++)
		if (w.item[i].klen == strlen(key) &&
		    memcmp(w.item[i].key, key, strlen(key)) == 0)
			if (n++ == 0)
				*first = w.item[i];
	whole_release(&w);
	return n;
}

static void
test_expiry(void)
{
	const uint64_t hour = (uint64_t)3600 * 1000000000u;
	struct kevo *db = create();
	struct whole_item x;
	uint64_t now = kv_now_ns();

	put_expiring(db, "long ago", now - 2 * hour);
	put_expiring(db, "just now", now - hour / 2);
	put_expiring(db, "to come", now + hour);
	put_expiring(db, "hidden", 0);
	check(db, compact(db, KEVO_COMPACT_FULL), "full");
	expect(items_of("long ago", &x) == 0);
	expect(items_of("just now", &x) == 1);
	expect(items_of("to come", &x) == 1 && x.expires_ns == now + hour);
	/* Expired above an older record: it goes on hiding that. */
	put_expiring(db, "hidden", now - 2 * hour);
	check(db, compact(db, KEVO_COMPACT_FULL), "full");
	expect(items_of("hidden", &x) == 0);
	put_expiring(db, "just now", now - 2 * hour);
	seal(db);
	check(db, compact(db, KEVO_COMPACT_FLUSH), "flush");
	expect(items_of("just now", &x) == 2 && x.deleted && x.level == 0);
	kevo_close(db);
	tap_report("expired an hour ago: dropped, or hides what is older");
}

/* ---- any sequence ------------------------------------------------------ */

static void
compact_somehow(struct kevo *db)
{
	struct kevo_compact c = { .flags = 0 };
	char from[64], to[64];

	switch (tap_below(8)) {
	case 0:
		c.flags = KEVO_COMPACT_FULL;
		break;
	case 1:
		c.flags = KEVO_COMPACT_FULL;
		c.from = from;
		c.from_len = key_of((unsigned)tap_below(KEYS), from);
		c.to = to;
		c.to_len = key_of((unsigned)tap_below(KEYS), to);
		break;
	case 2:
	case 3:
		c.flags = KEVO_COMPACT_FLUSH;
		break;
	case 4:
		c.max_bytes = 1 + tap_below(100000);
		break;
	case 5:
		seal(db);
		break;
	}
	check(db, kevo_compact(db, &c, &done), "compact");
}

/* A snapshot and what it must show, for as long as it is kept. */
struct past {
	struct kevo *db;
	struct kevo_snapshot *snap;
	struct entry model[KEYS];
};

static void
keep_past(struct past *p)
{
	if (p->snap != NULL) {
		expect(reads_same(p->db, p->snap, p->model));
		kevo_snapshot_free(p->snap);
	}
	check(p->db, kevo_snapshot_new(p->db, &p->snap), "snapshot");
	memcpy(p->model, model, sizeof(model));
}

static void
test_random(void)
{
	static struct past past[3];
	struct kevo *db = create();

	forget_model();
	for (int i = 0; i < 3; i++) {
		past[i].db = open_reader();
		past[i].snap = NULL;
	}
	for (int round = 0; round < 60; round++) {
		unsigned from = (unsigned)tap_below(KEYS);
		unsigned to = from + 1 + (unsigned)tap_below(KEYS - from);

		if (tap_below(10) == 0) {
			set(db, KV_SET_LEVEL0_TABLES, 1 + tap_below(4));
			set(db, KV_SET_TABLE_BYTES, 16384 + tap_below(40000));
			set(db, KV_SET_LEVELS, 2 + tap_below(5));
		}
		write_some(db, (unsigned)tap_below(1500), from, to);
		compact_somehow(db);
		if (!expect(same()) || !expect(reads_same(db, NULL, model)))
			break;
		if (tap_below(4) == 0)
			keep_past(&past[tap_below(3)]);
		expect(reads_same(past[0].db, NULL, model));
		if (tap_below(10) == 0) {
			kevo_close(db);
			db = open_db();
		}
	}
	for (int i = 0; i < 3; i++) {
		if (past[i].snap != NULL)
			keep_past(&past[i]);
		kevo_snapshot_free(past[i].snap);
		kevo_close(past[i].db);
	}
	check(db, compact(db, KEVO_COMPACT_FULL), "full");
	expect(same());
	expect(only_needed_files(db));
	kevo_close(db);
	tap_report("any sequence of writes and compactions, and its readers");
}

/* ---- several processes ------------------------------------------------- */

/* Compact until the file `stop` is there. */
static int
compactor(unsigned salt)
{
	struct kevo *db = open_db();
	char stop[300];
	int rc;

	tap_rng += salt * 7919;
	snprintf(stop, sizeof(stop), "%s.stop", path);
	while (access(stop, F_OK) != 0) {
		struct kevo_compact c = { .flags = tap_below(10) == 0 ?
			KEVO_COMPACT_FULL : 0 };

		rc = kevo_compact(db, &c, NULL);
		if (rc != 0 && rc != KEVO_EBUSY) {
			printf("# compactor: %d: %s\n", rc, kevo_errmsg(db));
			fflush(stdout);
			return 1;
		}
	}
	return kevo_close(db) != 0;
}

static void
test_several(void)
{
	struct kevo *db = create();
	char stop[300];
	pid_t pid[3];
	int status;
	FILE *f;

	forget_model();
	fflush(stdout);
	for (unsigned i = 0; i < 3; i++)
		if ((pid[i] = fork()) == 0)
			_exit(compactor(i));
	for (int i = 0; i < 40; i++)
		write_some(db, 500, 0, KEYS);
	snprintf(stop, sizeof(stop), "%s.stop", path);
	if ((f = fopen(stop, "w")) != NULL)
		fclose(f);
	for (int i = 0; i < 3; i++) {
		waitpid(pid[i], &status, 0);
		expect(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	}
	expect(same());
	check(db, compact(db, KEVO_COMPACT_FULL), "full");
	expect(same());
	expect(is_one_run(db));
	expect(only_needed_files(db));
	kevo_close(db);
	tap_report("three processes compact while one writes");
}

/* Tables of others are left alone, and somebody else's flush too. */
static void
test_busy(void)
{
	struct kevo *db = create(), *other = open_db();
	struct kv_version *v;
	char name[600];
	int fd[64], n = 0;

	forget_model();
	for (int i = 0; i < 3; i++) {
		write_some(db, 1500, 0, KEYS);
		check(db, compact(db, KEVO_COMPACT_FLUSH), "flush");
	}
	write_some(db, 1500, 0, KEYS);
	expect(kv_flush_try(other->lock_fd));
	expect(compact(db, KEVO_COMPACT_FLUSH) == KEVO_EBUSY && done.busy);
	kv_flush_leave(other->lock_fd);
	check(db, compact(db, KEVO_COMPACT_FLUSH), "flush");
	v = newest(db);
	for (uint32_t i = 0; i < v->ntables && n < 64; i++) {
		snprintf(name, sizeof(name), "%s/table/%016llx.sst", path,
		    (unsigned long long)v->table[i].info.number);
		fd[n] = open(name, O_RDWR);
		expect(fd[n] >= 0 && kv_file_lock(fd[n]));
		n++;
	}
	kv_version_unref(v);
	db->wait_ms = 50;
	expect(compact(db, 0) == KEVO_EBUSY && done.busy);
	expect(strstr(kevo_errmsg(db), "another process") != NULL);
	expect(compact(db, KEVO_COMPACT_FULL) == KEVO_EBUSY);
	while (n > 0)
		close(fd[--n]);
	check(db, compact(db, 0), "compact");
	expect(!done.busy && done.jobs > 0);
	expect(same());
	kevo_close(other);
	kevo_close(db);
	tap_report("what others are at is left to them");
}

static uint64_t
sealed(struct kevo *db)
{
	struct kv_version *v = newest(db);
	uint64_t n = kv_sealed(db, v);

	kv_version_unref(v);
	return n;
}

/* Values so large that a merge of them at this rate takes seconds. */
static void
write_large(struct kevo *db, int n)
{
	static char value[1000];
	struct kevo_write w = { .sync = KEVO_SYNC_NONE };
	char key[32];

	for (int i = 0; i < n; i++) {
		snprintf(key, sizeof(key), "large/%d", i);
		check(db, kevo_put(db, key, strlen(key), value, sizeof(value),
		    &w, NULL), "put");
	}
}

/* The log does not wait for a long merge to end. */
static void
test_between(void)
{
	struct kevo_compact slow = { .rate = 300000 };
	struct kevo *db = create();
	int status, tries = 2000;
	pid_t pid;

	for (int i = 0; i < 3; i++) {
		write_large(db, 1000);
		seal(db);
		check(db, compact(db, KEVO_COMPACT_FLUSH), "flush");
	}
	fflush(stdout);
	if ((pid = fork()) == 0)
		_exit(kevo_compact(open_db(), &slow, NULL) != 0);
	while (!kv_compacting_other(db->lock_fd) && tries-- > 0)
		usleep(1000);
	write_large(db, 300);
	while (sealed(db) >= 2 && tries-- > 0)
		usleep(1000);
	expect(tries > 0);
	expect(waitpid(pid, &status, WNOHANG) == 0);	/* still merging */
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	check(db, compact(db, KEVO_COMPACT_FULL), "full");
	expect(only_needed_files(db));
	kevo_close(db);
	tap_report("a flush comes between, while a merge takes long");
}

int
main(void)
{
	tap_start("compact");
	test_nothing();
	test_flush();
	test_full();
	test_delete_all();
	test_expiry();
	test_random();
	test_several();
	test_busy();
	test_between();
	return tap_end();
}
