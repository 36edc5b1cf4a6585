/*
 * compact_test: flush, merges and removal, against a plain array: what the
 * files hold, read without the engine, is what was written, after any
 * sequence of writes and compactions, by one process and by several; and
 * what should be gone is gone.
 */
#include "compact.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "lock.h"
#include "tap.h"
#include "whole.h"

static char path[260];

/* ---- a small database -------------------------------------------------- */

/* Limits so low that all levels are used. */
static const char *const small[] = { "memtable_bytes=64K", "sync=none",
	"compaction=manual", "block_bytes=1K", "restart_interval=8",
	"table_bytes=16K", "level0_tables=2", "level_bytes=64K",
	"level_ratio=2", "levels=4", NULL };

static void
check(struct kevo *db, int rc, const char *what)
{
	if (rc != 0)
		tap_bail("%s: %d: %s", what, rc, kevo_errmsg(db));
}

static void
set(struct kevo *db, enum kv_setting s, uint64_t value)
{
	atomic_store(&db->ctl->setting[s], value);
}

static struct kevo *
open_db(void)
{
	struct kevo_options opt = { .compactor = "" };
	struct kevo *db;
	int rc = kevo_open(path, 0, &opt, &db);

	check(db, rc, "open");
	return db;
}

static struct kevo *
open_reader(void)
{
	struct kevo *db;
	int rc = kevo_open(path, KEVO_RDONLY, NULL, &db);

	check(db, rc, "open");
	return db;
}

static struct kevo *
create(void)
{
	struct kevo_options opt = { .settings = small, .compactor = "" };
	static int number;
	struct kevo *db;
	int rc;

	snprintf(path, sizeof(path), "%s/db%d", tap_dir, ++number);
	rc = kevo_open(path, KEVO_CREATE, &opt, &db);
	check(db, rc, "create");
	return db;
}

/* ---- the model --------------------------------------------------------- */

#define KEYS	1500
#define VALUE_MAX 3000

struct entry {
	int there;
	uint64_t seq, expires_ns;
	uint32_t len;
};

static struct entry model[KEYS];

static size_t
key_of(unsigned i, char key[64])
{
	if (i % 100 == 0)	/* some begin others */
		return (size_t)snprintf(key, 64, "key/%u", i / 100);
	return (size_t)snprintf(key, 64, "key/%u/%0*u", i / 100,
	    (int)(i % 30), i);
}

static void
make_value(char *v, unsigned i, uint32_t len)
{
	for (uint32_t k = 0; k < len; k++)
		v[k] = (char)(i * 31 + len + k);
}

static void
write_one(struct kevo *db, unsigned i)
{
	static char value[VALUE_MAX];
	struct kevo_write w = { .sync = KEVO_SYNC_NONE };
	struct entry *e = &model[i];
	char key[64];
	size_t klen = key_of(i, key);

	if (tap_below(4) == 0) {
		check(db, kevo_delete(db, key, klen, &w, &e->seq), "delete");
		e->there = 0;
		return;
	}
	e->len = (uint32_t)tap_below(tap_below(20) == 0 ? VALUE_MAX : 60);
	if (tap_below(8) == 0)		/* in an hour: not to be dropped */
		w.expires_ns = kv_now_ns() + (uint64_t)3600 * 1000000000u;
	e->expires_ns = w.expires_ns;
	e->there = 1;
	make_value(value, i, e->len);
	check(db, kevo_put(db, key, klen, value, e->len, &w, &e->seq), "put");
}

static void
write_some(struct kevo *db, unsigned n, unsigned from, unsigned to)
{
	while (n-- > 0)
		write_one(db, from + (unsigned)tap_below(to - from));
}

struct by_key {
	char key[64];
	size_t klen;
	unsigned i;
};

static int
key_order(const void *a, const void *b)
{
	const struct by_key *x = a, *y = b;

	return kv_key_cmp((const uint8_t *)x->key, x->klen,
	    (const uint8_t *)y->key, y->klen);
}

static int
is_entry(const struct whole_item *x, const struct by_key *k,
    const struct entry *e)
{
	static char value[VALUE_MAX];

	make_value(value, k->i, e->len);
	return x->klen == k->klen && memcmp(x->key, k->key, k->klen) == 0 &&
	    x->seq == e->seq && x->expires_ns == e->expires_ns &&
	    x->vlen == e->len && (e->len == 0 ||
	    memcmp(x->val, value, e->len) == 0);
}

/* What is there, by key; returns how many. */
static size_t
order_model(const struct entry *m, struct by_key order[KEYS])
{
	size_t n = 0;

	for (unsigned i = 0; i < KEYS; i++)
		if (m[i].there) {
			order[n].klen = key_of(i, order[n].key);
			order[n++].i = i;
		}
	qsort(order, n, sizeof(order[0]), key_order);
	return n;
}

static int
is_record(const struct kevo_record *r, const struct by_key *k,
    const struct entry *e)
{
	struct whole_item x = { .key = (uint8_t *)(uintptr_t)r->key,
		.klen = (uint32_t)r->klen, .vlen = (uint32_t)r->vlen,
		.val = (uint8_t *)(uintptr_t)r->value, .seq = r->version,
		.expires_ns = r->expires_ns };

	return is_entry(&x, k, e);
}

/* The same as a reader sees it: forward, backward, and one by one. */
static int
reads_same(struct kevo *db, const struct kevo_snapshot *snap,
    const struct entry *m)
{
	static struct by_key order[KEYS];
	size_t n = order_model(m, order), at = 0;
	struct kevo_record r;
	struct kevo_iter *it;
	int rc, good = 1;

	check(db, kevo_iter_new(db, snap, NULL, &it), "iterator");
	while (good && (rc = kevo_iter_next(it, &r)) == 0) {
		good = at < n && is_record(&r, &order[at], &m[order[at].i]);
		at++;
	}
	good = expect(good && at == n);
	if (good && (rc = kevo_iter_last(it, &r)) == 0)
		do
			good = at > 0 && is_record(&r, &order[at - 1],
			    &m[order[at - 1].i]);
		while (good && at-- > 0 && (rc = kevo_iter_prev(it, &r)) == 0);
	good &= expect(good && at == 0);
	kevo_iter_free(it);
	for (unsigned i = 0; good && i < KEYS; i++) {
		struct by_key k = { .i = i };

		k.klen = key_of(i, k.key);
		rc = kevo_peek(db, snap, k.key, k.klen, &r);
		good = expect(m[i].there ? rc == 0 && is_record(&r, &k,
		    &m[i]) : rc == KEVO_NOTFOUND);
		if (!good)
			tap_note("%s: %d %s", k.key, rc, kevo_errmsg(db));
	}
	return good;
}

/* Compare the files with the model; 1 if they are the same. */
static int
same(void)
{
	static struct by_key order[KEYS];
	const struct whole_item *x;
	struct whole w;
	size_t n, at = 0;
	int good = 1;

	n = order_model(model, order);
	if (whole_read(&w, path) != 0 || !whole_levels_sound(&w)) {
		tap_note("%s", w.why);
		good = 0;
	}
	for (size_t i = 0; good && i < n; i++) {
		x = whole_next(&w, &at);
		if (x == NULL || !is_entry(x, &order[i],
		    &model[order[i].i])) {
			tap_note("%s is not there, or another", order[i].key);
			good = 0;
		}
	}
	if (good && (x = whole_next(&w, &at)) != NULL) {
		tap_note("%.*s should not be there", (int)x->klen,
		    (const char *)x->key);
		good = 0;
	}
	whole_release(&w);
	return good;
}

static void
forget_model(void)
{
	memset(model, 0, sizeof(model));
}

/* Begin a new segment, so that what was written can be flushed. */
static void
seal(struct kevo *db)
{
	check(db, kv_writer_lock(db), "lock");
	check(db, kv_rotate(db, 0, 0), "rotate");
	kv_writer_unlock(db);
}

/* ---- looking at files -------------------------------------------------- */

static int
count_files(const char *dir, const char *end)
{
	char name[600];
	struct dirent *e;
	int n = 0;
	DIR *d;

	snprintf(name, sizeof(name), "%s/%s", path, dir);
	if ((d = opendir(name)) == NULL)
		return 0;
	while ((e = readdir(d)) != NULL) {
		size_t len = strlen(e->d_name);

		n += e->d_name[0] != '.' && len >= strlen(end) &&
		    strcmp(e->d_name + len - strlen(end), end) == 0;
	}
	closedir(d);
	return n;
}

static struct kv_version *
newest(struct kevo *db)
{
	struct kv_version *v;

	check(db, kv_newest_version(db, &v), "version");
	return v;
}

/* Tables on disk are those of the newest version, and the log begins where
 * it says. */
static int
only_needed_files(struct kevo *db)
{
	struct kv_version *v = newest(db);
	uint64_t active = atomic_load(&db->ctl->active);
	int good;

	good = expect(count_files("table", "") == (int)v->ntables) &
	    expect(count_files("wal", ".seg") ==
	    (int)(active - v->first_segment + 1)) &
	    expect(count_files("shm", ".idx") ==
	    (int)(active - v->first_segment + 1)) &
	    expect(count_files("version", "") == (v->number > 1 ? 2 :
	    (int)v->number));
	kv_version_unref(v);
	return good;
}

static struct kevo_compact_progress done;

static int
compact(struct kevo *db, unsigned flags)
{
	struct kevo_compact c = { .flags = flags };

	return kevo_compact(db, &c, &done);
}

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

/* ---- removal ----------------------------------------------------------- */

static void
make_file(const char *name, int locked, int *fd)
{
	char full[600];

	snprintf(full, sizeof(full), "%s/%s", path, name);
	*fd = open(full, O_RDWR | O_CREAT, 0666);
	if (*fd < 0 || (locked && !kv_file_lock(*fd)))
		tap_bail("%s", full);
}

static int
exists(const char *name)
{
	char full[600];

	snprintf(full, sizeof(full), "%s/%s", path, name);
	return access(full, F_OK) == 0;
}

static void
test_orphans(void)
{
	struct kevo *db = create();
	int fd[4];

	forget_model();
	write_some(db, 3000, 0, KEYS);
	check(db, compact(db, 0), "compact");
	make_file("table/00000000000000aa.sst", 0, &fd[0]);
	make_file("table/00000000000000ab.sst", 1, &fd[1]);
	make_file("table/else", 0, &fd[2]);
	make_file("version/tmp.0123456789abcdef", 0, &fd[3]);
	for (int i = 0; i < 4; i++)
		if (i != 1)
			close(fd[i]);
	check(db, compact(db, 0), "compact");
	expect(!exists("table/00000000000000aa.sst"));
	expect(exists("table/00000000000000ab.sst"));
	expect(exists("table/else"));
	expect(!exists("version/tmp.0123456789abcdef"));
	close(fd[1]);
	check(db, compact(db, 0), "compact");
	expect(!exists("table/00000000000000ab.sst"));
	expect(done.files_removed == 1);
	expect(same());
	kevo_close(db);
	tap_report("orphans go, unless somebody is writing them");
}

/* All files of a version are there. */
static int
has_all_of(const struct kv_version *v)
{
	char name[KV_TABLE_NAME_LEN];
	int good = 1;

	for (uint32_t i = 0; i < v->ntables; i++) {
		kv_table_name(name, v->table[i].info.number);
		good &= exists(name);
	}
	kv_segment_name(name, v->first_segment);
	return good && exists(name);
}

static void
test_pins(void)
{
	struct kevo *db = create();
	struct kv_version *old, *v;
	int pins;

	forget_model();
	write_some(db, 3000, 0, KEYS);
	check(db, compact(db, 0), "compact");
	make_file("PINS", 0, &pins);
	old = newest(db);
	expect(kv_pin(pins, old->number) == 0);
	for (int i = 0; i < 4; i++) {
		write_some(db, 2000, 0, KEYS);
		check(db, compact(db, i == 2 ? KEVO_COMPACT_FULL : 0),
		    "compact");
	}
	expect(has_all_of(old));
	v = newest(db);
	expect(v->number > old->number + 2);
	/* The pinned one and the newest, nothing in between. */
	expect(count_files("table", "") <= (int)(old->ntables + v->ntables));
	expect(count_files("version", "") == 3);
	kv_unpin(pins, old->number);
	check(db, compact(db, 0), "compact");
	expect(!has_all_of(old));
	kv_version_unref(v);
	kv_version_unref(old);
	expect(same());
	expect(only_needed_files(db));
	close(pins);
	kevo_close(db);
	tap_report("what a pinned version names stays, and no more");
}

/*
 * A generation takes the place of the one that a reader has open, and all its
 * files go.  Within a tick the reader does not look whether control still has
 * its name; what is missing must tell it.  Once more if a tick came between.
 */
static int
overtake(int snapshot)
{
	struct kevo *db = create(), *r;
	struct kevo_compact full = { .flags = KEVO_COMPACT_FULL };
	struct kevo_snapshot *s = NULL;
	struct kevo_record rec;
	char key[64], shm[300];
	uint64_t tick;
	int rc;

	memset(model, 0, sizeof(model));
	for (unsigned i = 1; i < KEYS; i += 2)
		write_one(db, i);
	check(db, kevo_compact(db, &full, NULL), "compact");
	r = open_reader();
	/* One table is open; the others are not yet. */
	for (int i = 0; i < 8; i++)
		expect(kevo_peek(r, NULL, "a", 1, &rec) == KEVO_NOTFOUND &&
		    kevo_peek(r, NULL, "key/0/1", 7, &rec) >= 0);
	kevo_close(db);
	snprintf(shm, sizeof(shm), "rm -r '%s/shm'", path);
	expect(system(shm) == 0);
	db = open_db();
	for (int round = 0; round < 3; round++) {
		for (unsigned i = 1; i < KEYS; i += 2)
			write_one(db, i);
		check(db, kevo_compact(db, &full, NULL), "compact");
	}
	r->tick = tick = kv_tick();
	if (snapshot) {
		rc = kevo_snapshot_new(r, &s);
		expect(rc == 0 && kevo_snapshot_version(s) ==
		    atomic_load(&db->ctl->visible));
	}
	for (unsigned i = 1; i < KEYS; i += 2) {
		r->tick = kv_tick();	/* nothing but a lack tells it */
		/* Old answers are allowed that long, but no error. */
		rc = kevo_peek(r, s, key, key_of(i, key), &rec);
		if (!expect(rc >= 0))
			tap_note("%u: %d %s", i, rc, kevo_errmsg(r));
		if (i == 1)
			tick = tick == kv_tick() ? tick : 0;
	}
	for (unsigned i = 1; i < KEYS; i += 2) {
		rc = kevo_peek(r, s, key, key_of(i, key), &rec);
		expect(model[i].there ? rc == 0 && rec.version ==
		    model[i].seq : rc == KEVO_NOTFOUND);
	}
	kevo_snapshot_free(s);
	kevo_close(r);
	kevo_close(db);
	return tick != 0;
}

static void
test_overtaken(void)
{
	int in_time = 0;

	for (int i = 0; i < 50 && in_time < 2; i++)
		in_time += overtake(i % 2);
	expect(in_time > 0);
	tap_report("who reads from a generation that is gone looks again");
}

static void
test_wal_keep(void)
{
	struct kevo *db = create();
	struct kv_version *v;

	forget_model();
	set(db, KV_SET_WAL_KEEP, 200000);
	write_some(db, 9000, 0, KEYS);
	check(db, compact(db, 0), "compact");
	v = newest(db);
	/* Three segments of not quite 64 KiB, and the active one. */
	expect(v->first_segment > 5);
	expect(count_files("wal", ".seg") == 4);
	expect(count_files("shm", ".idx") == 1);
	kv_version_unref(v);
	expect(same());
	kevo_close(db);
	tap_report("wal_keep: old log stays, the oldest goes first");
}

/* A process that is building a generation needs the log as it is. */
static void
test_rebuilder(void)
{
	struct kevo *db = create(), *other = open_db();
	int segments;

	forget_model();
	write_some(db, 3000, 0, KEYS);
	segments = count_files("wal", ".seg");
	expect(kv_lock_rebuild(other->lock_fd, 0) == 0);
	check(db, compact(db, 0), "compact");
	expect(done.flushed > 0 && done.files_removed == 0);
	expect(count_files("wal", ".seg") == segments);
	kv_unlock_rebuild(other->lock_fd);
	check(db, compact(db, 0), "compact");
	expect(only_needed_files(db));
	expect(same());
	kevo_close(other);
	kevo_close(db);
	tap_report("nothing is removed under who builds a generation");
}

/*
 * A change is installed upon a version so old that the number after it is
 * free again: swept away, with newer ones in place.
 */
static void
test_late(void)
{
	struct kevo *db = create(), *other = open_db();
	struct kv_version *v, *now;
	struct kv_vtable add;
	struct kv_work w;
	uint64_t drop, old;
	struct kv_change ch = { .drop = &drop, .ndrop = 1, .add = &add,
		.nadd = 1 };

	forget_model();
	write_some(db, 2000, 0, KEYS);
	check(db, compact(db, KEVO_COMPACT_FLUSH), "flush");
	v = newest(db);
	old = v->number;
	for (int i = 0; i < 3; i++) {
		write_some(other, 100, 0, KEYS);
		seal(other);
		check(other, compact(other, KEVO_COMPACT_FLUSH), "flush");
	}
	expect(v->level_start[1] == 0 && v->ntables > 0);
	add = v->table[0];
	add.level = 2;
	drop = add.info.number;
	/* A reference of its own: the keys of what is added are the old
	 * version's. */
	v->refs++;
	now = v;
	kv_work_init(&w, db, NULL);
	check(db, kv_install(&w, &now, &ch), "install");
	kv_work_release(&w);
	expect(now->number == old + 4);
	expect(now->level_start[1] >= 3);
	expect(now->level_start[3] - now->level_start[2] == 1);
	expect(same());
	kv_version_unref(now);
	kv_version_unref(v);
	check(db, compact(db, KEVO_COMPACT_FULL), "full");
	expect(same());
	expect(only_needed_files(db));
	kevo_close(other);
	kevo_close(db);
	tap_report("a change upon an old version is made upon the newest");
}

/* ---- limits ------------------------------------------------------------ */

static int
stop_after(void *arg, const struct kevo_compact_progress *p)
{
	uint64_t *limit = arg;

	return p->bytes_written > *limit;
}

static void
test_limits(void)
{
	struct kevo *db = create();
	struct kevo_compact c = { .flags = KEVO_COMPACT_FULL };
	struct kevo_compact_progress p;
	int64_t start;
	uint64_t limit;

	forget_model();
	for (int i = 0; i < 3; i++) {
		write_some(db, 3000, 0, KEYS);
		seal(db);	/* a flush is not held to the rate */
		check(db, compact(db, KEVO_COMPACT_FLUSH), "flush");
	}
	c.max_ms = 1;
	c.max_bytes = 1;
	check(db, kevo_compact(db, &c, &p), "limited");
	expect(p.jobs <= 1);
	c.max_ms = 0;
	c.max_bytes = 0;
	c.flags |= KEVO_COMPACT_DRY_RUN;
	check(db, kevo_compact(db, &c, &p), "dry run");
	expect(p.due > 0 && p.jobs == 0 && p.bytes_written == 0);
	c.flags = KEVO_COMPACT_FULL;
	c.rate = 200000;
	limit = 50000;
	c.progress = stop_after;
	c.arg = &limit;
	start = kv_mono_ms();
	expect(kevo_compact(db, &c, &p) == KEVO_FALSE);
	expect(p.bytes_written > limit);
	/* That much takes a quarter of a second. */
	expect(kv_mono_ms() - start >= 200);
	expect(same());
	check(db, compact(db, KEVO_COMPACT_FULL), "full");
	expect(same());
	expect(only_needed_files(db));
	kevo_close(db);
	tap_report("limits of time, bytes and rate; ended by progress");
}

static void
test_arguments(void)
{
	struct kevo *db = create(), *reader;
	struct kevo_compact c = { .flags = 64 };
	struct kevo_txn *t;
	struct kv_work w;

	expect(kevo_compact(db, &c, NULL) == KEVO_EINVAL);
	c.flags = KEVO_COMPACT_FULL | KEVO_COMPACT_FLUSH;
	expect(kevo_compact(db, &c, NULL) == KEVO_EINVAL);
	c.flags = 0;
	c.from = "a";
	c.from_len = 1;
	expect(kevo_compact(db, &c, NULL) == KEVO_EINVAL);
	check(db, kevo_txn_begin(db, &t), "begin");
	expect(kevo_compact(db, NULL, NULL) == KEVO_EINVAL);
	kevo_txn_abort(t);
	expect(kevo_open(path, KEVO_RDONLY, NULL, &reader) == 0);
	expect(kevo_compact(reader, NULL, NULL) == KEVO_EPERM);
	kevo_close(reader);
	kv_work_init(&w, db, NULL);
	expect(kv_work_room(&w, (uint64_t)1 << 60, "do it") == KV_RETRY);
	expect(kv_work_no_room(&w) == KEVO_EIO);
	expect(strstr(kevo_errmsg(db), "not enough room to do it") != NULL);
	expect(kv_work_room(&w, 1, "do it") == 0);
	kv_work_release(&w);
	kevo_close(db);
	tap_report("arguments that are refused, and lack of room");
}

/* Turn bits over in the first half of a file; once more, and it is as it
 * was. */
static void
damage(const char *name)
{
	uint8_t b[64];
	char full[600];
	struct stat st;
	int fd;

	snprintf(full, sizeof(full), "%s/%s", path, name);
	if ((fd = open(full, O_RDWR)) < 0 || fstat(fd, &st) != 0 ||
	    pread(fd, b, sizeof(b), st.st_size / 4) != sizeof(b))
		tap_bail("%s", full);
	for (size_t i = 0; i < sizeof(b); i++)
		b[i] ^= 0x40;
	if (pwrite(fd, b, sizeof(b), st.st_size / 4) != sizeof(b))
		tap_bail("%s", full);
	close(fd);
}

/* What does not verify is reported, and nothing is built on it. */
static void
test_damage(void)
{
	struct kevo *db = create();
	char name[KV_TABLE_NAME_LEN];
	struct kv_version *v;

	forget_model();
	write_some(db, 3000, 0, KEYS);
	kv_segment_name(name, 2);
	damage(name);
	expect(compact(db, KEVO_COMPACT_FLUSH) == KEVO_ECORRUPT);
	expect(strstr(kevo_errmsg(db), name) != NULL);
	expect(atomic_load(&db->ctl->version) == 0 && exists(name));
	damage(name);
	check(db, compact(db, KEVO_COMPACT_FLUSH), "flush");
	write_some(db, 3000, 0, KEYS);
	check(db, compact(db, KEVO_COMPACT_FLUSH), "flush");
	v = newest(db);
	kv_table_name(name, v->table[v->ntables - 1].info.number);
	kv_version_unref(v);
	damage(name);
	expect(compact(db, KEVO_COMPACT_FULL) == KEVO_ECORRUPT);
	expect(strstr(kevo_errmsg(db), name) != NULL);
	v = newest(db);
	expect(has_all_of(v));
	kv_version_unref(v);
	damage(name);
	check(db, compact(db, KEVO_COMPACT_FULL), "full");
	expect(same());
	expect(only_needed_files(db));
	kevo_close(db);
	tap_report("damage of a segment or table stops it, harming nothing");
}

/* Each level may be compressed in its own way. */
static void
test_codecs(void)
{
	static const uint64_t codecs[] = { 0x0101010101010101,
		0x0a0a0a0a0a0a0a0a, 0x1a0a0100010a0000 };
	struct kevo *db = create();

	forget_model();
	for (size_t i = 0; i < sizeof(codecs) / sizeof(codecs[0]); i++) {
		set(db, KV_SET_COMPRESSION, codecs[i]);
		if (kv_setting(db->ctl, KV_SET_COMPRESSION) != codecs[i]) {
			tap_note("codecs %zu are not in this build", i);
			continue;
		}
		for (int k = 0; k < 4; k++) {
			write_some(db, 1500, 0, KEYS);
			check(db, compact(db, 0), "compact");
			expect(same());
			expect(reads_same(db, NULL, model));
		}
	}
	check(db, compact(db, KEVO_COMPACT_FULL), "full");
	expect(same());
	expect(reads_same(db, NULL, model));
	kevo_close(db);
	tap_report("with compressed tables");
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
	test_orphans();
	test_pins();
	test_overtaken();
	test_wal_keep();
	test_rebuilder();
	test_late();
	test_limits();
	test_arguments();
	test_damage();
	test_codecs();
	return tap_end();
}
