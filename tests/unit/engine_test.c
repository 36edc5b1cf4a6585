/*
 * The engine through its public interface, against a plain sorted map:
 * random operations over segments so small that they rotate all the time,
 * snapshots, iterators both ways, transactions, other handles, reopening,
 * and a log without its shared memory.  KEVO_SEED repeats a run.
 */
#include <kevo.h>

#include "control.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int tests, failures;
static uint64_t seed, rng;
static char dir[256];

static uint64_t
rnd(uint64_t n)
{
	rng ^= rng << 13;
	rng ^= rng >> 7;
	rng ^= rng << 17;
	return rng % n;
}

static void
ok(int good, const char *name)
{
	tests++;
	if (!good)
		failures++;
	printf("%s %d - %s\n", good ? "ok" : "not ok", tests, name);
	fflush(stdout);
}

static void bail(const char *fmt, ...)
    __attribute__((noreturn, format(printf, 1, 2)));

static void
bail(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	printf("Bail out! ");
	vprintf(fmt, ap);
	printf(" (KEVO_SEED=%llu)\n", (unsigned long long)seed);
	va_end(ap);
	exit(1);
}

static void
check(struct kevo *db, int rc, const char *what)
{
	if (rc != 0)
		bail("%s: %d: %s", what, rc, kevo_errmsg(db));
}

/* ---- the model --------------------------------------------------------- */

#define KEYS	400
#define VALUE	300

struct entry {
	int there;
	size_t len;
	uint64_t version;
	char value[VALUE];
};

struct model {
	struct entry e[KEYS];
};

/* Keys of many shapes, in ascending order: prefixes of each other, zero
 * bytes, long ones. */
static char *keys[KEYS];
static size_t klens[KEYS];

static int
compare(const void *a, const void *b)
{
	size_t i = *(const size_t *)a, j = *(const size_t *)b;
	size_t n = klens[i] < klens[j] ? klens[i] : klens[j];
	int c = memcmp(keys[i], keys[j], n);

	if (c != 0)
		return c;
	return klens[i] < klens[j] ? -1 : klens[i] > klens[j];
}

static void
make_keys(void)
{
	size_t order[KEYS], len[KEYS];
	char *k[KEYS];

	for (size_t i = 0; i < KEYS; i++) {
		size_t n = 1 + rnd(i % 50 == 0 ? 5000 : 12);

		keys[i] = malloc(n + 16);
		for (size_t j = 0; j < n; j++)
			keys[i][j] = "ab\0\xff"[rnd(4)];
		klens[i] = n;
		/* Unique: a suffix, unless it is the first with this form. */
		if (i % 3 != 0)
			klens[i] += (size_t)sprintf(keys[i] + n, "%zu", i);
		else
			klens[i] = n + (size_t)sprintf(keys[i] + n, "/%zu", i);
		order[i] = i;
	}
	qsort(order, KEYS, sizeof(order[0]), compare);
	for (size_t i = 0; i < KEYS; i++) {
		k[i] = keys[order[i]];
		len[i] = klens[order[i]];
	}
	memcpy(keys, k, sizeof(k));
	memcpy(klens, len, sizeof(len));
}

static void
model_put(struct model *m, size_t i, const char *v, size_t len)
{
	m->e[i].there = 1;
	m->e[i].len = len;
	memcpy(m->e[i].value, v, len);
}

static int
same(const struct entry *e, const struct kevo_record *rec)
{
	return e->len == rec->vlen &&
	    memcmp(e->value, rec->value, e->len) == 0;
}

static void
compare_get(struct kevo *db, const struct kevo_snapshot *s,
    const struct model *m, size_t i)
{
	struct kevo_record rec;
	int rc = kevo_peek(db, s, keys[i], klens[i], &rec);

	if (rc < 0)
		bail("get: %d: %s", rc, kevo_errmsg(db));
	if ((rc == 0) != m->e[i].there)
		bail("key %zu is %s", i, rc == 0 ? "there" : "absent");
	if (rc == 0 && !same(&m->e[i], &rec))
		bail("key %zu has another value", i);
	if (rc == 0 && m->e[i].version != 0 &&
	    rec.version != m->e[i].version)
		bail("key %zu has another version", i);
}

/* A whole walk in one direction between two keys. */
static void
compare_walk(struct kevo *db, struct kevo_iter *it, const struct model *m,
    size_t lo, size_t hi, int back)
{
	struct kevo_record rec;
	size_t n = 0, seen = 0;
	int rc;

	rc = back ? kevo_iter_last(it, &rec) : kevo_iter_first(it, &rec);
	for (; rc == 0; rc = back ? kevo_iter_prev(it, &rec) :
	    kevo_iter_next(it, &rec)) {
		size_t i;

		while (n < hi - lo && !m->e[back ? hi - 1 - n : lo + n].there)
			n++;
		if (n == hi - lo)
			bail("the walk does not end");
		i = back ? hi - 1 - n : lo + n;
		if (rec.klen != klens[i] ||
		    memcmp(rec.key, keys[i], rec.klen) != 0)
			bail("the walk is at another key than %zu", i);
		if (!same(&m->e[i], &rec))
			bail("the walk has another value for key %zu", i);
		n++;
		seen++;
	}
	if (rc != KEVO_NOTFOUND)
		bail("walk: %d: %s", rc, kevo_errmsg(db));
	for (size_t i = lo; i < hi; i++)
		seen -= (size_t)m->e[i].there;
	if (seen != 0)
		bail("the walk left out records");
}

/* Seeks to random keys, and steps to and fro from there. */
static void
compare_seek(struct kevo_iter *it, const struct model *m)
{
	size_t i = rnd(KEYS);
	long at = (long)i;
	struct kevo_record rec;
	int back = (int)rnd(2), rc;

	rc = back ? kevo_iter_seek_back(it, keys[i], klens[i], &rec) :
	    kevo_iter_seek(it, keys[i], klens[i], &rec);
	for (int step = 0; step < 12; step++) {
		while (at >= 0 && at < KEYS && !m->e[at].there)
			at += back ? -1 : 1;
		if (at < 0 || at >= KEYS) {
			if (rc != KEVO_NOTFOUND)
				bail("a seek goes on past the end");
			return;
		}
		if (rc != 0 || rec.klen != klens[at] ||
		    memcmp(rec.key, keys[at], rec.klen) != 0)
			bail("a seek from %zu is not at key %ld", i, at);
		back = (int)rnd(2);
		rc = back ? kevo_iter_prev(it, &rec) :
		    kevo_iter_next(it, &rec);
		at += back ? -1 : 1;
	}
}

static void
compare_all(struct kevo *db, const struct kevo_snapshot *s,
    const struct model *m)
{
	size_t lo = rnd(KEYS), hi = lo + rnd(KEYS - lo) + 1;
	struct kevo_range range = { keys[lo], klens[lo], NULL, 0 };
	struct kevo_iter *it;

	for (size_t i = 0; i < KEYS; i++)
		compare_get(db, s, m, i);
	check(db, kevo_iter_new(db, s, NULL, &it), "iterator");
	compare_walk(db, it, m, 0, KEYS, 0);
	compare_walk(db, it, m, 0, KEYS, 1);
	for (int i = 0; i < 20; i++)
		compare_seek(it, m);
	kevo_iter_free(it);
	if (hi < KEYS) {
		range.to = keys[hi];
		range.to_len = klens[hi];
	}
	check(db, kevo_iter_new(db, s, &range, &it), "iterator");
	compare_walk(db, it, m, lo, hi, 0);
	compare_walk(db, it, m, lo, hi, 1);
	kevo_iter_free(it);
}

/* ---- random operations ------------------------------------------------- */

static enum kevo_sync
any_sync(void)
{
	return rnd(20) == 0 ? KEVO_SYNC_FULL :
	    rnd(2) == 0 ? KEVO_SYNC_BATCH : KEVO_SYNC_NONE;
}

static size_t
any_value(char *v)
{
	size_t len = rnd(VALUE);

	for (size_t i = 0; i < len; i++)
		v[i] = (char)rnd(256);
	return len;
}

static void
one_op(struct kevo *db, struct model *m)
{
	struct kevo_write w = { .sync = any_sync() };
	size_t i = rnd(KEYS), len;
	char v[VALUE];
	uint64_t version;

	if (rnd(4) == 0) {
		check(db, kevo_delete(db, keys[i], klens[i], &w, &version),
		    "delete");
		m->e[i].there = 0;
		return;
	}
	len = any_value(v);
	check(db, kevo_put(db, keys[i], klens[i], v, len, &w, &version),
	    "put");
	model_put(m, i, v, len);
	m->e[i].version = version;
}

static void
conditional_op(struct kevo *db, struct model *m)
{
	size_t i = rnd(KEYS), len;
	struct kevo_write w = { .sync = KEVO_SYNC_NONE };
	struct entry *e = &m->e[i];
	int holds = 0, rc;
	uint64_t version;
	char v[VALUE];

	w.cond.kind = (enum kevo_cond_kind)(1 + rnd(4));
	switch (w.cond.kind) {
	case KEVO_IF_ABSENT:
		holds = !e->there;
		break;
	case KEVO_IF_PRESENT:
		holds = e->there;
		break;
	case KEVO_IF_VALUE:
		w.cond.value = e->value;
		w.cond.vlen = e->len + rnd(2);
		holds = e->there && w.cond.vlen == e->len;
		if (w.cond.vlen >= VALUE)
			return;
		break;
	default:
		if (e->there && e->version == 0)
			return;
		w.cond.version = e->there ? e->version + rnd(2) : rnd(2);
		holds = e->there ? w.cond.version == e->version :
		    w.cond.version == 0;
	}
	len = any_value(v);
	rc = kevo_put(db, keys[i], klens[i], v, len, &w, &version);
	if (rc != (holds ? 0 : KEVO_FALSE))
		bail("condition %d on key %zu: %d: %s", (int)w.cond.kind, i,
		    rc, kevo_errmsg(db));
	if (holds) {
		model_put(m, i, v, len);
		e->version = version;
	}
}

/* A batch, or a transaction that reads what it wrote, and may be undone. */
static void
many_ops(struct kevo *db, struct model *m)
{
	struct model after = *m;
	struct kevo_txn *t = NULL;
	struct kevo_batch *b = NULL;
	int txn = (int)rnd(2), undo = txn && rnd(3) == 0;
	uint64_t version = 0;
	struct kevo_record rec;

	if (txn)
		check(db, kevo_txn_begin(db, NULL, &t), "begin");
	else
		check(db, kevo_batch_new(db, &b), "batch");
	for (size_t n = 1 + rnd(60); n > 0; n--) {
		size_t i = rnd(KEYS), len;
		char v[VALUE];

		if (rnd(3) == 0) {
			check(db, txn ? kevo_txn_delete(t, keys[i], klens[i]) :
			    kevo_batch_delete(b, keys[i], klens[i]),
			    "delete");
			after.e[i].there = 0;
		} else {
			len = any_value(v);
			check(db, txn ? kevo_txn_put(t, keys[i], klens[i], v,
			    len, 0) : kevo_batch_put(b, keys[i], klens[i], v,
			    len, 0), "put");
			model_put(&after, i, v, len);
			after.e[i].version = UINT64_MAX;
		}
		if (!txn || rnd(3) != 0)
			continue;
		i = rnd(KEYS);
		if ((kevo_txn_get(t, keys[i], klens[i], &rec) == 0) !=
		    after.e[i].there || (after.e[i].there &&
		    !same(&after.e[i], &rec)))
			bail("a transaction does not read what it wrote");
	}
	if (txn) {
		struct kevo_iter *it;

		check(db, kevo_txn_iter(t, NULL, &it), "iterator");
		compare_walk(db, it, &after, 0, KEYS, (int)rnd(2));
		kevo_iter_free(it);
	}
	if (undo) {
		check(db, kevo_txn_abort(t), "abort");
		return;
	}
	if (txn)
		check(db, kevo_txn_commit(t, any_sync(), &version), "commit");
	else {
		check(db, kevo_commit(db, b, any_sync(), &version), "commit");
		kevo_batch_free(b);
	}
	for (size_t i = 0; i < KEYS; i++)
		if (after.e[i].version == UINT64_MAX)
			after.e[i].version = version;
	*m = after;
}

static void
remove_shm(void)
{
	char cmd[300];

	snprintf(cmd, sizeof(cmd), "rm -r '%s/shm'", dir);
	if (system(cmd) != 0)
		bail("cannot remove shm");
}

#define SNAPSHOTS 4

static void
test_model(void)
{
	static const char *const small[] = { "memtable_bytes=64K",
		"compaction=manual", NULL };
	struct kevo_options opt = { .settings = small };
	static struct model now, then[SNAPSHOTS];
	struct kevo_snapshot *snap[SNAPSHOTS] = { NULL };
	struct kevo *db, *other;
	struct kevo_stats st;

	check(NULL, kevo_open(dir, KEVO_CREATE, &opt, &db), "create");
	for (int round = 0; round < 60; round++) {
		size_t s = rnd(SNAPSHOTS);

		for (int i = 0; i < 40; i++)
			switch (rnd(8)) {
			case 0:
				many_ops(db, &now);
				break;
			case 1:
				conditional_op(db, &now);
				break;
			default:
				one_op(db, &now);
			}
		compare_all(db, NULL, &now);
		if (snap[s] != NULL)
			compare_all(db, snap[s], &then[s]);
		kevo_snapshot_free(snap[s]);
		check(db, kevo_snapshot_new(db, &snap[s]), "snapshot");
		then[s] = now;
		check(db, kevo_open(dir, KEVO_RDONLY, NULL, &other), "open");
		compare_all(other, NULL, &now);
		kevo_close(other);
		if (rnd(6) != 0)
			continue;
		for (s = 0; s < SNAPSHOTS; s++) {
			if (snap[s] != NULL)
				compare_all(db, snap[s], &then[s]);
			kevo_snapshot_free(snap[s]);
			snap[s] = NULL;
		}
		check(db, kevo_close(db), "close");
		if (rnd(2) == 0)
			remove_shm();
		kevo_open(dir, 0, NULL, &db);
		compare_all(db, NULL, &now);
	}
	for (size_t s = 0; s < SNAPSHOTS; s++)
		kevo_snapshot_free(snap[s]);
	check(db, kevo_stats(db, &st), "statistics");
	ok(st.segments > 10, "engine: the log rotated while it was compared");
	ok(st.visible == st.appended, "engine: all that was appended is seen");
	kevo_close(db);
	ok(1, "engine: equals a sorted map through snapshots and reopening");
}

/* ---- handles and generations ------------------------------------------- */

static void
test_two_handles(void)
{
	struct kevo *a, *b, *r;
	struct kevo_txn *t;
	struct kevo_options once = { .wait_set = 1, .program = "second" };
	struct kevo_options first = { .program = "first" };
	void *val;
	size_t len;
	int rc;

	kevo_open(dir, 0, &first, &a);
	kevo_open(dir, 0, &once, &b);
	kevo_open(dir, KEVO_RDONLY, NULL, &r);
	check(a, kevo_txn_begin(a, NULL, &t), "begin");
	check(a, kevo_txn_put(t, "locked", 6, "1", 1, 0), "put");
	rc = kevo_put(b, "other", 5, "1", 1, NULL, NULL);
	ok(rc == KEVO_EBUSY && strstr(kevo_errmsg(b), "locked by first, pid ")
	    != NULL, "handles: a busy lock names its holder");
	ok(kevo_get(r, NULL, "locked", 6, &val, &len) == KEVO_NOTFOUND,
	    "handles: a reader sees nothing of a transaction, and no wait");
	ok(kevo_put(a, "x", 1, "", 0, NULL, NULL) == KEVO_EINVAL,
	    "handles: a write beside its own transaction is refused");
	check(a, kevo_txn_commit(t, KEVO_SYNC_FULL, NULL), "commit");
	ok(kevo_get(r, NULL, "locked", 6, &val, &len) == 0,
	    "handles: a commit is seen by a handle that was open before");
	kevo_free(val);
	ok(kevo_put(r, "x", 1, "", 0, NULL, NULL) == KEVO_EPERM,
	    "handles: a reader does not write");
	kevo_close(a);
	kevo_close(b);
	kevo_close(r);
}

static void
test_shm_removed(void)
{
	struct kevo_options soon = { .wait_set = 1, .wait_ms = 200 };
	struct timespec tick = { 0, 20000000 };
	struct kevo *live, *next;
	int rc;

	kevo_open(dir, 0, NULL, &live);
	check(live, kevo_put(live, "before", 6, "", 0, NULL, NULL), "put");
	remove_shm();
	rc = kevo_open(dir, 0, &soon, &next);
	ok(rc == KEVO_EBUSY && strstr(kevo_errmsg(next), "running process"),
	    "shm removed: no second truth beside a live writer");
	kevo_close(next);
	nanosleep(&tick, NULL);
	rc = kevo_put(live, "after", 5, "", 0, NULL, NULL);
	ok(rc == 0, "shm removed: the only writer builds a new generation");
	kevo_close(live);
	check(NULL, kevo_open(dir, 0, NULL, &next), "open");
	ok(kevo_peek(next, NULL, "after", 5, &(struct kevo_record){ 0 }) == 0
	    && kevo_peek(next, NULL, "before", 6, &(struct kevo_record){ 0 })
	    == 0, "shm removed: nothing is lost");
	kevo_close(next);
}

/* A sealed segment has its name in each replication slot, and one that cannot
 * take it does not stop the writer. */
static void
test_slots(void)
{
	static const char *const small[] = { "memtable_bytes=64K",
		"compaction=manual", NULL };
	struct kevo_options opt = { .settings = small };
	struct kevo_write w = { .sync = KEVO_SYNC_NONE };
	char path[700], value[20000] = { 0 };
	struct stat seg, slot;
	struct kevo *db;

	snprintf(path, sizeof(path), "%s.slots", dir);
	check(NULL, kevo_open(path, KEVO_CREATE, &opt, &db), "create");
	snprintf(path, sizeof(path), "mkdir -p '%s.slots/slots/r1' && "
	    "touch '%s.slots/slots/full'", dir, dir);
	if (system(path) != 0)
		bail("no slots");
	for (char k = '1'; k <= '9'; k++)
		check(db, kevo_put(db, &k, 1, value, sizeof(value), &w, NULL),
		    "put");
	kevo_close(db);
	snprintf(path, sizeof(path), "%s.slots/wal/0000000000000001.seg", dir);
	if (stat(path, &seg) != 0)
		bail("no segment");
	/* Three records of 20,000 bytes and their seal fit into 64 KiB. */
	snprintf(path, sizeof(path), "%s.slots/slots/r1/00000001-"
	    "0000000000000001-0000000000000003.seg", dir);
	ok(stat(path, &slot) == 0 && slot.st_ino == seg.st_ino &&
	    slot.st_nlink == 2 && slot.st_size < 65536,
	    "slots: a sealed segment is linked there, at its own length");
	snprintf(path, sizeof(path), "%s.slots/slots/r1/00000001-"
	    "0000000000000004-0000000000000006.seg", dir);
	ok(stat(path, &slot) == 0,
	    "slots: and the next one, though another slot cannot take any");
}

static void
test_attach_again(void)
{
	struct kevo_options soon = { .wait_set = 1, .wait_ms = 100 };
	struct timespec tick = { 0, 20000000 };
	struct kevo *a, *b, *r;
	void *val;
	size_t len;

	kevo_open(dir, 0, &soon, &a);
	kevo_open(dir, 0, &soon, &b);
	kevo_open(dir, KEVO_RDONLY, NULL, &r);
	check(a, kevo_put(a, "now", 3, "1", 1, NULL, NULL), "put");
	ok(kevo_get(r, NULL, "now", 3, &val, &len) == 0,
	    "reader: its first get sees what came after its open");
	kevo_free(val);
	kevo_close(r);
	remove_shm();
	nanosleep(&tick, NULL);
	ok(kevo_put(a, "x", 1, "", 0, NULL, NULL) == KEVO_EBUSY,
	    "shm removed: two writers' handles refuse");
	kevo_close(b);
	ok(kevo_put(a, "x", 1, "", 0, NULL, NULL) == 0,
	    "shm removed: and go on when one of them is closed");
	kevo_close(a);
}

/* Overwrite eight bytes of shm/control. */
static void
set_control(size_t off, uint64_t value, uint64_t *old)
{
	char name[300];
	int fd;

	snprintf(name, sizeof(name), "%s/shm/control", dir);
	if ((fd = open(name, O_RDWR)) < 0 ||
	    pread(fd, old, 8, (off_t)off) != 8 ||
	    pwrite(fd, &value, 8, (off_t)off) != 8)
		bail("control cannot be changed");
	close(fd);
}

static void
test_damaged_control(void)
{
	size_t active = offsetof(struct kv_control, active);
	struct kevo_snapshot *s;
	struct kevo *r;
	uint64_t old, dummy;
	void *val;
	size_t len;
	int good;

	set_control(active, 0, &old);
	kevo_open(dir, KEVO_RDONLY, NULL, &r);
	good = kevo_get(r, NULL, "now", 3, &val, &len) == KEVO_ECORRUPT;
	for (int i = 0; i < 3; i++)
		good &= kevo_snapshot_new(r, &s) == KEVO_ECORRUPT;
	ok(good, "damaged control: an error each time, no answer and no crash");
	set_control(active, old, &dummy);
	ok(kevo_get(r, NULL, "now", 3, &val, &len) == 0,
	    "damaged control: the handle works when it is mended");
	kevo_free(val);
	kevo_close(r);
}

static void
test_index_removed(void)
{
	struct kevo_write w = { .cond = { .kind = KEVO_IF_ABSENT } };
	struct kevo_record rec;
	struct kevo_txn *t;
	struct kevo *db;
	char cmd[300];

	snprintf(cmd, sizeof(cmd), "rm '%s'/shm/*.0000000000000001.idx", dir);
	if (system(cmd) != 0)
		bail("no index file to remove");
	kevo_open(dir, 0, NULL, &db);
	ok(kevo_put(db, "never seen", 10, "", 0, &w, NULL) == 0,
	    "index removed: a conditional put builds it anew");
	kevo_close(db);
	if (system(cmd) != 0)
		bail("no index file to remove");
	kevo_open(dir, 0, NULL, &db);
	check(db, kevo_txn_begin(db, NULL, &t), "begin");
	ok(kevo_txn_get(t, "nor this", 8, &rec) == KEVO_ECORRUPT,
	    "index removed: a transaction cannot, and says so");
	check(db, kevo_txn_put(t, "in spite", 8, "", 0, 0), "put");
	check(db, kevo_txn_commit(t, KEVO_SYNC_FULL, NULL), "commit");
	check(db, kevo_txn_begin(db, NULL, &t), "begin");
	ok(kevo_txn_get(t, "nor this", 8, &rec) == KEVO_NOTFOUND &&
	    kevo_txn_get(t, "in spite", 8, &rec) == 0,
	    "index removed: the next one has it, and nothing is lost");
	check(db, kevo_txn_abort(t), "abort");
	kevo_close(db);
}

static void
test_fork(void)
{
	struct kevo *db;
	int status;
	pid_t pid;

	kevo_open(dir, 0, NULL, &db);
	if ((pid = fork()) == 0) {
		int rc = kevo_put(db, "child", 5, "", 0, NULL, NULL);

		kevo_close(db);
		_exit(rc == KEVO_EFORKED ? 0 : 1);
	}
	waitpid(pid, &status, 0);
	ok(status == 0, "fork: a child's use of the handle is refused");
	ok(kevo_put(db, "parent", 6, "", 0, NULL, NULL) == 0,
	    "fork: the parent's handle works on");
	kevo_close(db);
}

/* ---- limits ------------------------------------------------------------ */

/* What is none of the constants must not be taken for one of them. */
static void
refuse_unknown(struct kevo *db)
{
	struct kevo_options opt = { .sync = (enum kevo_sync)5 };
	struct kevo_write w = { .sync = (enum kevo_sync)5 };
	struct kevo_cond cond = { .kind = (enum kevo_cond_kind)5 };
	struct kevo_batch *b;
	struct kevo_txn *t;
	struct kevo *other;

	ok(kevo_open(dir, 1u << 15, NULL, &other) == KEVO_EINVAL,
	    "limits: unknown flags are refused");
	kevo_close(other);
	ok(kevo_open(dir, 0, &opt, &other) == KEVO_EINVAL &&
	    kevo_put(db, "m", 1, "", 0, &w, NULL) == KEVO_EINVAL,
	    "limits: an unknown mode of durability is refused");
	kevo_close(other);
	check(db, kevo_batch_new(db, &b), "batch");
	ok(kevo_commit(db, b, KEVO_SYNC_NONE, NULL) == KEVO_EINVAL,
	    "limits: an empty batch is refused");
	check(db, kevo_batch_put(b, "m", 1, "", 0, 0), "batch");
	ok(kevo_commit(db, b, w.sync, NULL) == KEVO_EINVAL &&
	    kevo_batch_count(b) == 1, "limits: and for a batch, which stays");
	kevo_batch_free(b);
	w.sync = KEVO_SYNC_NONE;
	w.cond = cond;
	ok(kevo_delete(db, "m", 1, &w, NULL) == KEVO_EINVAL,
	    "limits: an unknown condition is refused");
	check(db, kevo_txn_begin(db, NULL, &t), "begin");
	ok(kevo_txn_check(t, "m", 1, &cond) == KEVO_EINVAL &&
	    kevo_txn_put(t, "m", 1, "", 0, 0) == 0 &&
	    kevo_txn_commit(t, (enum kevo_sync)5, NULL) == KEVO_EINVAL &&
	    kevo_get(db, NULL, "m", 1, &(void *){ 0 }, &(size_t){ 0 }) ==
	    KEVO_NOTFOUND,
	    "limits: and by a transaction, which writes nothing");
}

static void
test_limits(void)
{
	char *big = calloc(1, KEVO_KEY_MAX + 1);
	size_t vlen = (size_t)3 << 20, len;
	char *value = malloc(vlen);
	struct kevo *db;
	void *val = NULL;

	kevo_open(dir, 0, NULL, &db);
	ok(kevo_put(db, big, KEVO_KEY_MAX, "v", 1, NULL, NULL) == 0 &&
	    kevo_peek(db, NULL, big, KEVO_KEY_MAX,
	    &(struct kevo_record){ 0 }) == 0,
	    "limits: a key of 65536 bytes goes in and comes out");
	ok(kevo_put(db, big, KEVO_KEY_MAX + 1, "v", 1, NULL, NULL) ==
	    KEVO_ELIMIT, "limits: a longer one is refused");
	ok(kevo_put(db, "", 0, "v", 1, NULL, NULL) == KEVO_EINVAL,
	    "limits: an empty key is refused");
	ok(kevo_put(db, "k", 1, big, (size_t)KEVO_VALUE_MAX + 1, NULL, NULL)
	    == KEVO_ELIMIT, "limits: a value over the limit is refused");
	refuse_unknown(db);
	for (size_t i = 0; i < vlen; i++)
		value[i] = (char)rnd(256);
	ok(kevo_put(db, "large", 5, value, vlen, NULL, NULL) == 0 &&
	    kevo_get(db, NULL, "large", 5, &val, &len) == 0 && len == vlen &&
	    memcmp(val, value, len) == 0,
	    "limits: a value larger than a segment has one of its own");
	kevo_free(val);
	kevo_close(db);
	remove_shm();
	check(NULL, kevo_open(dir, 0, NULL, &db), "open");
	ok(kevo_get(db, NULL, "large", 5, &val, &len) == 0 && len == vlen &&
	    memcmp(val, value, len) == 0, "limits: and survives a rebuild");
	kevo_free(val);
	kevo_close(db);
	free(value);
	free(big);
}

static void
test_expiry(void)
{
	struct timespec ts, nap = { 0, 5000000 };
	struct kevo_record rec;
	struct kevo_write w = { .sync = KEVO_SYNC_NONE };
	struct kevo *db;
	uint64_t now;

	kevo_open(dir, 0, NULL, &db);
	clock_gettime(CLOCK_REALTIME, &ts);
	now = (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
	w.expires_ns = now + (uint64_t)3600 * 1000000000u;
	check(db, kevo_put(db, "later", 5, "v", 1, &w, NULL), "put");
	ok(kevo_peek(db, NULL, "later", 5, &rec) == 0 &&
	    rec.expires_ns == w.expires_ns,
	    "expiry: the time comes back with the record");
	w.expires_ns = now + 200000000;
	check(db, kevo_put(db, "soon", 4, "v", 1, &w, NULL), "put");
	while (kevo_peek(db, NULL, "soon", 4, &rec) == 0)
		nanosleep(&nap, NULL);
	clock_gettime(CLOCK_REALTIME, &ts);
	ok((uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec >=
	    w.expires_ns, "expiry: absent from its time on, and not before");
	w.cond.kind = KEVO_IF_ABSENT;
	w.expires_ns = 0;
	ok(kevo_put(db, "soon", 4, "w", 1, &w, NULL) == 0,
	    "expiry: an expired key is absent for a condition");
	kevo_close(db);
}

/* A LATER commit is seen by others when it is on disk, and not before. */
static void
test_leave(void)
{
	struct kevo_write w = { .sync = KEVO_SYNC_LATER };
	struct kevo_record rec;
	struct kevo *db, *other;

	kevo_open(dir, 0, NULL, &db);
	kevo_open(dir, KEVO_RDONLY, NULL, &other);
	check(db, kevo_put(db, "leave", 5, "v", 1, &w, NULL), "put");
	ok(kevo_peek(other, NULL, "leave", 5, &rec) == KEVO_NOTFOUND,
	    "leave: not on disk before");
	ok(kevo_leave(db) == 0 &&
	    kevo_peek(other, NULL, "leave", 5, &rec) == 0,
	    "leave: commits are brought to disk");
	ok(kevo_leave(NULL) == 0 && kevo_close(db) == 0,
	    "leave: and the handle can still be closed");
	kevo_close(other);
}

int
main(void)
{
	const char *given = getenv("KEVO_SEED"), *tmp = getenv("TMPDIR");
	char top[200], cmd[300];

	seed = given != NULL ? strtoull(given, NULL, 10) :
	    (uint64_t)time(NULL) * 1000003u + (uint64_t)getpid();
	rng = seed | 1;
	printf("# KEVO_SEED=%llu\n", (unsigned long long)seed);
	snprintf(top, sizeof(top), "%s/kevo-engine.XXXXXX",
	    tmp != NULL ? tmp : "/tmp");
	if (mkdtemp(top) == NULL)
		bail("no temporary directory");
	snprintf(dir, sizeof(dir), "%s/db", top);
	make_keys();
	test_model();
	test_two_handles();
	test_shm_removed();
	test_slots();
	test_attach_again();
	test_damaged_control();
	test_index_removed();
	test_fork();
	test_limits();
	test_expiry();
	test_leave();
	snprintf(cmd, sizeof(cmd), "rm -r '%s'", top);
	if (system(cmd) != 0)
		printf("# %s stays behind\n", top);
	for (size_t i = 0; i < KEYS; i++)
		free(keys[i]);
	printf("1..%d\n", tests);
	return failures != 0;
}
