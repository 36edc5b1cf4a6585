/*
 * stats_test: each counter and histogram says what a plain model says that
 * counted the same events: through random operations, in many processes at
 * once, after kills, reboots and damage.
 */
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "count.h"
#include "db.h"
#include "hash.h"
#include "lock.h"
#include "record.h"
#include "tap.h"
#include "version.h"

static char path[260];

static void
check(struct kevo *db, int rc, const char *what)
{
	if (rc != 0)
		tap_bail("%s: %d: %s", what, rc, kevo_errmsg(db));
}

/* ---- fdatasync() is ours ----------------------------------------------- */

static uint64_t syncs_made, sync_fails;

int
fdatasync(int fd)
{
	if (sync_fails > 0) {
		sync_fails--;
		errno = EIO;
		return -1;
	}
	syncs_made++;
	return fsync(fd);
}

/* ---- so is unlinkat() -------------------------------------------------- */

static uint64_t files_unlinked, bytes_unlinked;

int
unlinkat(int fd, const char *name, int flags)
{
	struct stat st;
	int there = fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
	int rc = (int)syscall(SYS_unlinkat, fd, name, flags);

	/* Temporary names are no files of the database. */
	if (rc == 0 && there && strstr(name, "tmp") == NULL) {
		files_unlinked++;
		bytes_unlinked += (uint64_t)st.st_blocks * 512;
	}
	return rc;
}

/* ---- numbers by name --------------------------------------------------- */

struct number {
	char key[80];
	enum kevo_metric_kind kind;
	uint64_t value;		/* of a histogram: how many */
	uint64_t sum, max;
	uint64_t bucket[KV_HIST_BUCKETS];
};

struct numbers {
	size_t n;
	struct number of[250];
};

static int
keep(void *arg, const struct kevo_metric *m)
{
	struct numbers *all = arg;
	struct number *o = &all->of[all->n++];

	if (all->n > 250)
		tap_bail("too many metrics");
	snprintf(o->key, sizeof(o->key), "%s%s%s", m->name,
	    m->label_value != NULL ? "." : "",
	    m->label_value != NULL ? m->label_value : "");
	o->kind = m->kind;
	o->value = m->value;
	if (m->kind != KEVO_HISTOGRAM)
		return 0;
	o->value = m->histogram->count;
	o->sum = m->histogram->sum;
	o->max = m->histogram->max;
	memcpy(o->bucket, m->histogram->bucket, sizeof(o->bucket));
	return 0;
}

static struct numbers *
numbers(struct kevo *db)
{
	struct numbers *all = calloc(1, sizeof(*all));

	if (all == NULL)
		tap_bail("out of memory");
	check(db, kevo_metrics(db, keep, all), "metrics");
	return all;
}

static const struct number *
find(const struct numbers *all, const char *key)
{
	for (size_t i = 0; i < all->n; i++)
		if (strcmp(all->of[i].key, key) == 0)
			return &all->of[i];
	tap_bail("no metric %s", key);
}

static uint64_t
now_is(struct kevo *db, const char *key)
{
	struct numbers *all = numbers(db);
	uint64_t v = find(all, key)->value;

	free(all);
	return v;
}

/* Complains with the name. */
static void
is(struct kevo *db, const char *key, uint64_t want)
{
	uint64_t have = now_is(db, key);

	if (have != want && tap_bad++ < 6)
		printf("# %s is %llu, should be %llu\n", key,
		    (unsigned long long)have, (unsigned long long)want);
}

/* ---- databases --------------------------------------------------------- */

static struct kevo *
open_db(unsigned flags)
{
	struct kevo *db;
	int rc = kevo_open(path, flags, NULL, &db);

	check(db, rc, "open");
	return db;
}

static struct kevo *
create_with(const char *const *settings)
{
	struct kevo_options opt = { .settings = settings };
	static int number;
	struct kevo *db;
	int rc;

	snprintf(path, sizeof(path), "%s/db%d", tap_dir, ++number);
	rc = kevo_open(path, KEVO_CREATE, &opt, &db);
	check(db, rc, "create");
	return db;
}

/* Nobody brings its log into tables, unless a test does. */
static struct kevo *
create(const char *bytes)
{
	const char *const settings[] = { bytes, "compaction=manual", NULL };

	return create_with(settings);
}

static void
run(const char *fmt, const char *a, const char *b)
{
	char cmd[800];

	snprintf(cmd, sizeof(cmd), fmt, a, b);
	if (system(cmd) != 0)
		tap_bail("%s", cmd);
}

static struct kv_control *
map_control(void)
{
	char name[300];
	void *p;
	int fd;

	snprintf(name, sizeof(name), "%s/shm/control", path);
	if ((fd = open(name, O_RDWR)) < 0)
		tap_bail("%s: %s", name, strerror(errno));
	p = mmap(NULL, KV_CONTROL_LEN, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
	    0);
	close(fd);
	if (p == MAP_FAILED)
		tap_bail("%s: %s", name, strerror(errno));
	return p;
}

static void
count_reads(int on)
{
	struct kv_control *c = map_control();

	atomic_store(&c->setting[KV_SET_COUNT_READS], (uint64_t)on);
	munmap(c, KV_CONTROL_LEN);
}

/* The machine has started anew, for all that control knows. */
static void
reboot(void)
{
	struct kv_control *c = map_control();

	c->boot[3] ^= 0x55;
	c->hash = kv_hash(c, offsetof(struct kv_control, hash), 0);
	munmap(c, KV_CONTROL_LEN);
}

/* ---- histograms -------------------------------------------------------- */

static void
test_buckets(void)
{
	for (unsigned i = 0; i + 1 < KV_HIST_BUCKETS; i++) {
		expect(kv_hist_bucket(kv_hist_bound(i) - 1) == i);
		expect(kv_hist_bucket(kv_hist_bound(i)) == i + 1);
		expect(i == 0 || kv_hist_bound(i) - kv_hist_bound(i - 1) <=
		    kv_hist_bound(i) / 4);
	}
	expect(kv_hist_bucket(0) == 0);
	expect(kv_hist_bucket(UINT64_MAX) == KV_HIST_BUCKETS - 1);
	expect(kv_hist_bound(KV_HIST_BUCKETS - 1) == UINT64_MAX);
	tap_report("stats: each bucket ends where the next begins");
}

static int
by_size(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

#define SAMPLES	5000

static void
compare_quantiles(struct kevo_histogram *h, uint64_t *v)
{
	static const double q[] = { 0, 0.01, 0.5, 0.9, 0.99, 0.999, 1 };

	qsort(v, SAMPLES, sizeof(*v), by_size);
	for (size_t i = 0; i < sizeof(q) / sizeof(q[0]); i++) {
		size_t at = (size_t)(q[i] * SAMPLES);
		/* Which of two neighbours is meant is nobody's concern. */
		uint64_t low = v[at > 2 ? at - 2 : 0];
		uint64_t high = v[at + 2 < SAMPLES ? at + 2 : SAMPLES - 1];
		double said = (double)kevo_histogram_quantile(h, q[i]);

		expect(said >= (double)low * 0.74 || q[i] == 0);
		expect(said <= (double)high * 1.26 + 256);
		expect(said <= (double)h->max);
	}
}

static void
test_quantiles(void)
{
	static uint64_t v[SAMPLES], bucket[KV_HIST_BUCKETS];
	uint64_t bound[KV_HIST_BUCKETS];
	struct kevo_histogram h = { .buckets = KV_HIST_BUCKETS,
	    .bucket = bucket, .bound = bound };

	for (unsigned i = 0; i < KV_HIST_BUCKETS; i++)
		bound[i] = kv_hist_bound(i);
	expect(kevo_histogram_quantile(&h, 0.5) == 0);
	for (int round = 0; round < 8; round++) {
		memset(bucket, 0, sizeof(bucket));
		h.count = SAMPLES;
		h.max = 0;
		for (int i = 0; i < SAMPLES; i++) {
			v[i] = tap_random() >> (30 + tap_below(20) +
			    (uint64_t)round);
			bucket[kv_hist_bucket(v[i])]++;
			if (v[i] > h.max)
				h.max = v[i];
		}
		compare_quantiles(&h, v);
	}
	tap_report("stats: quantiles are right to a quarter");
}

/* ---- operations, against a model --------------------------------------- */

struct model {
	uint64_t commits, batches, puts, deletes, user_bytes, cond_false;
	uint64_t begun, committed, rolled_back, waited, errors[20];
};

static struct model m;
static char value[2000];

static void
any_key(char key[20], size_t *len)
{
	*len = (size_t)snprintf(key, 20, "key%llu",
	    (unsigned long long)tap_below(50));
}

static enum kevo_sync
any_sync(void)
{
	static const enum kevo_sync modes[] = { KEVO_SYNC_NONE,
	    KEVO_SYNC_NONE, KEVO_SYNC_BATCH, KEVO_SYNC_LATER,
	    KEVO_SYNC_FULL };

	return modes[tap_below(5)];
}

/* A commit of such a mode is being made: does it wait for the disk? */
static void
count_wait(struct kevo *db, enum kevo_sync sync)
{
	m.commits++;
	if (sync == KEVO_SYNC_FULL || (sync != KEVO_SYNC_LATER &&
	    atomic_load(&db->ctl->full_to) > atomic_load(&db->ctl->synced)))
		m.waited++;
}

static void
single(struct kevo *db)
{
	struct kevo_write w = { .sync = any_sync() };
	size_t klen, vlen = (size_t)tap_below(sizeof(value));
	struct kevo_record rec;
	char key[20];
	int del = tap_below(4) == 0, holds = 1, rc;

	any_key(key, &klen);
	if (tap_below(3) == 0) {
		w.cond.kind = tap_below(2) ? KEVO_IF_ABSENT : KEVO_IF_PRESENT;
		struct kevo_txn *t;

		/* What is appended counts, not what is visible. */
		check(db, kevo_txn_begin(db, &t), "begin");
		rc = kevo_txn_get(t, key, klen, &rec);
		holds = (rc == 0) == (w.cond.kind == KEVO_IF_PRESENT);
		m.begun++;
		m.rolled_back++;
		check(db, kevo_txn_abort(t), "abort");
	}
	if (holds)
		count_wait(db, w.sync);
	rc = del ? kevo_delete(db, key, klen, &w, NULL) :
	    kevo_put(db, key, klen, value, vlen, &w, NULL);
	expect(rc == (holds ? 0 : KEVO_FALSE));
	if (!holds) {
		m.cond_false++;
		return;
	}
	m.puts += !del;
	m.deletes += (uint64_t)del;
	m.user_bytes += klen + (del ? 0 : vlen);
}

static void
batch(struct kevo *db)
{
	enum kevo_sync sync = any_sync();
	struct kevo_batch *b;
	size_t n = 1 + (size_t)tap_below(5), klen, vlen;
	char key[20];

	check(db, kevo_batch_new(db, &b), "batch");
	for (size_t i = 0; i < n; i++) {
		any_key(key, &klen);
		vlen = (size_t)tap_below(100);
		if (tap_below(3) == 0) {
			check(db, kevo_batch_delete(b, key, klen), "delete");
			m.deletes++;
			m.user_bytes += klen;
			continue;
		}
		check(db, kevo_batch_put(b, key, klen, value, vlen, 0),
		    "put");
		m.puts++;
		m.user_bytes += klen + vlen;
	}
	count_wait(db, sync);
	m.batches += n > 1;
	check(db, kevo_commit(db, b, sync, NULL), "commit");
	/* A batch that is cleared is counted from nothing. */
	check(db, kevo_batch_put(b, "gone", 4, value, 9, 0), "put");
	kevo_batch_clear(b);
	kevo_batch_free(b);
}

static void
transaction(struct kevo *db)
{
	struct kevo_cond cond = { .kind = KEVO_IF_PRESENT };
	enum kevo_sync sync = any_sync();
	size_t n = (size_t)tap_below(4), klen, bytes = 0;
	struct kevo_txn *t;
	char key[20];

	check(db, kevo_txn_begin(db, &t), "begin");
	m.begun++;
	if (tap_below(2) == 0) {
		expect(kevo_txn_check(t, "no such key", 11, &cond) ==
		    KEVO_FALSE);
		m.cond_false++;
	}
	for (size_t i = 0; i < n; i++) {
		any_key(key, &klen);
		check(db, kevo_txn_put(t, key, klen, value, 10, 0), "put");
		bytes += klen + 10;
	}
	if (tap_below(3) == 0) {
		m.rolled_back++;
		check(db, kevo_txn_abort(t), "abort");
		return;
	}
	m.committed++;
	if (n > 0) {
		count_wait(db, sync);
		m.batches += n > 1;
		m.puts += n;
		m.user_bytes += bytes;
	}
	check(db, kevo_txn_commit(t, sync, NULL), "commit");
}

static void
compare_model(struct kevo *db)
{
	is(db, "commits", m.commits);
	is(db, "batches", m.batches);
	is(db, "puts", m.puts);
	is(db, "deletes", m.deletes);
	is(db, "user_bytes", m.user_bytes);
	is(db, "conditions_false", m.cond_false);
	is(db, "transactions.begun", m.begun);
	is(db, "transactions.committed", m.committed);
	is(db, "transactions.rolled_back", m.rolled_back);
	is(db, "commit_latency_seconds.disk", m.waited);
	is(db, "commit_latency_seconds.none", m.commits - m.waited);
	is(db, "appended_version", m.commits);
	is(db, "log_written_bytes", now_is(db, "log_bytes") -
	    KV_SEGMENT_HEAD);
}

static void
test_operations(void)
{
	struct kevo *db = create("memtable_bytes=64M");
	uint64_t before = syncs_made, elapsed, began = kv_mono_ns();
	struct numbers *all;

	memset(&m, 0, sizeof(m));
	for (int i = 0; i < 600; i++) {
		switch (tap_below(3)) {
		case 0:
			batch(db);
			break;
		case 1:
			transaction(db);
			break;
		default:
			single(db);
		}
		if (i % 100 == 0)
			compare_model(db);
	}
	compare_model(db);
	tap_report("stats: commits, puts, deletes, bytes, conditions, "
	    "transactions");

	is(db, "syncs", syncs_made - before);
	is(db, "sync_latency_seconds", syncs_made - before);
	expect(syncs_made - before > 20);
	elapsed = kv_mono_ns() - began;
	all = numbers(db);
	expect(find(all, "sync_latency_seconds")->sum <= elapsed);
	expect(find(all, "sync_latency_seconds")->sum > 0);
	expect(find(all, "commit_latency_seconds.disk")->sum +
	    find(all, "commit_latency_seconds.none")->sum <= elapsed);
	expect(find(all, "commit_latency_seconds.disk")->max >=
	    find(all, "sync_latency_seconds")->bucket[0]);
	/* Who waits for the disk waits for at least one sync. */
	expect(find(all, "commit_latency_seconds.disk")->sum >
	    find(all, "sync_latency_seconds")->sum / 2);
	free(all);
	check(db, kevo_sync(db), "sync");
	is(db, "syncs", syncs_made - before);
	kevo_close(db);
	tap_report("stats: syncs and how long they took");
}

/* What a commit counts lies in the page that it writes anyway. */
static void
test_pages(void)
{
	struct kevo *db = create("memtable_bytes=64M");
	void *before = tap_alloc(sizeof(db->ctl->cold));

	memcpy(before, (void *)&db->ctl->cold, sizeof(db->ctl->cold));
	for (int i = 0; i < 50; i++) {
		batch(db);
		transaction(db);
		single(db);
	}
	check(db, kevo_sync(db), "sync");
	expect(memcmp(before, (void *)&db->ctl->cold,
	    sizeof(db->ctl->cold)) == 0);
	free(before);
	kevo_close(db);
	tap_report("stats: commits leave the second page alone");
}

/* A sync that fails, and what became of its commit. */
static void
test_sync_failure(void)
{
	struct kevo *db = create("memtable_bytes=64M");

	sync_fails = 1;
	expect(kevo_put(db, "a", 1, "", 0, NULL, NULL) == KEVO_EUNKNOWN);
	is(db, "sync_failures", 1);
	is(db, "errors.unknown", 1);
	is(db, "commits", 1);
	is(db, "commit_latency_seconds.disk", 0);
	/* The next one builds a generation: the numbers stay. */
	check(db, kevo_put(db, "a", 1, "", 0, NULL, NULL), "put");
	is(db, "sync_failures", 1);
	is(db, "errors.unknown", 1);
	is(db, "commits", 2);
	is(db, "rebuilds", 2);
	kevo_close(db);
	tap_report("stats: a failed sync");
}

static void
test_rotation(void)
{
	struct kevo *db = create("memtable_bytes=64K");
	struct kevo_write w = { .sync = KEVO_SYNC_NONE };
	uint64_t began = kv_mono_ns(), took, before = syncs_made;
	struct kevo_stats st;

	for (int i = 0; i < 300; i++)
		check(db, kevo_put(db, "key", 3, value, 1000, &w, NULL),
		    "put");
	took = kv_mono_ns() - began;
	check(db, kevo_stats(db, &st), "statistics");
	expect(st.segments > 3);
	is(db, "rotations", st.segments - 1);
	is(db, "log_segments", st.segments);
	is(db, "sealed_segments", st.segments - 1);
	is(db, "log_bytes", st.log_bytes);
	is(db, "index_bytes", st.index_bytes);
	expect(st.log_bytes > now_is(db, "log_written_bytes"));
	expect(now_is(db, "rotation_seconds") > 0 &&
	    now_is(db, "rotation_seconds") < took);
	is(db, "syncs", syncs_made - before);
	kevo_close(db);
	tap_report("stats: rotations and segments");
}

/* ---- reads ------------------------------------------------------------- */

struct reads {
	uint64_t hits, misses, bytes, scans, seeks, records, snapshots;
};

static struct reads r;

static void
compare_reads(struct kevo *db)
{
	is(db, "gets.hit", r.hits);
	is(db, "gets.miss", r.misses);
	is(db, "get_latency_seconds", r.hits + r.misses);
	is(db, "read_bytes", r.bytes);
	is(db, "scans", r.scans);
	is(db, "seeks", r.seeks);
	is(db, "seek_latency_seconds", r.seeks);
	is(db, "scanned_records", r.records);
	is(db, "snapshots", r.snapshots);
}

#define KEYS	50

static void
get_some(struct kevo *db, struct kevo_txn *t, int n)
{
	struct kevo_record rec;
	char key[20];
	size_t klen, vlen;
	void *val;
	int rc;

	while (n-- > 0) {
		klen = (size_t)snprintf(key, sizeof(key), "k%02llu",
		    (unsigned long long)tap_below(2 * KEYS));
		if (t != NULL) {
			rc = kevo_txn_get(t, key, klen, &rec);
			vlen = rec.vlen;
		} else if (tap_below(2) == 0) {
			rc = kevo_peek(db, NULL, key, klen, &rec);
			vlen = rec.vlen;
		} else if ((rc = kevo_get(db, NULL, key, klen, &val,
		    &vlen)) == 0)
			kevo_free(val);
		if (rc == 0)
			r.bytes += vlen;
		r.hits += rc == 0;
		r.misses += rc == KEVO_NOTFOUND;
	}
}

static void
walk(struct kevo_iter *it, int steps)
{
	struct kevo_record rec;
	int rc;

	r.scans++;
	switch (tap_below(4)) {
	case 0:
		rc = kevo_iter_seek(it, "k2", 2, &rec);
		break;
	case 1:
		rc = kevo_iter_seek_back(it, "k2", 2, &rec);
		break;
	case 2:
		rc = kevo_iter_last(it, &rec);
		break;
	default:
		rc = kevo_iter_first(it, &rec);
	}
	r.seeks++;
	for (; rc == 0; rc = kevo_iter_next(it, &rec)) {
		r.records++;
		r.bytes += rec.klen + rec.vlen;
		if (steps-- == 0)
			break;
	}
	kevo_iter_free(it);
}

static void
scan_some(struct kevo *db, int n)
{
	struct kevo_snapshot *s;
	struct kevo_iter *it;

	while (n-- > 0) {
		check(db, kevo_snapshot_new(db, &s), "snapshot");
		r.snapshots++;
		check(db, kevo_iter_new(db, tap_below(2) ? s : NULL, NULL,
		    &it), "iterator");
		walk(it, (int)tap_below(KEYS + 10));
		kevo_snapshot_free(s);
	}
}

static void
test_reads(void)
{
	struct kevo *w = create("memtable_bytes=64M"), *db;
	struct kevo_txn *t;
	struct kevo_iter *it;
	char key[20];

	for (int i = 0; i < KEYS; i++) {
		snprintf(key, sizeof(key), "k%02d", i);
		check(w, kevo_put(w, key, 3, value, (size_t)i, NULL, NULL),
		    "put");
	}
	memset(&r, 0, sizeof(r));
	db = open_db(KEVO_RDONLY);
	get_some(db, NULL, 20);
	scan_some(db, 3);
	get_some(w, NULL, 20);
	memset(&r, 0, sizeof(r));
	compare_reads(w);
	expect(db->reads == NULL);
	tap_report("stats: reads are not counted unless that is asked for");

	count_reads(1);
	get_some(db, NULL, 20);		/* was open */
	kevo_close(db);
	compare_reads(w);
	for (int lookups = 0; lookups < 8; lookups++) {
		db = open_db(KEVO_RDONLY);	/* cold, and getting warm */
		get_some(db, NULL, lookups);
		kevo_close(db);
		compare_reads(w);
	}
	db = open_db(KEVO_RDONLY);
	get_some(db, NULL, 100);
	scan_some(db, 20);
	compare_reads(db);
	get_some(w, NULL, 20);
	scan_some(w, 5);
	check(w, kevo_txn_begin(w, &t), "begin");
	get_some(w, t, 20);
	check(w, kevo_txn_iter(t, NULL, &it), "iterator");
	walk(it, 30);
	check(w, kevo_txn_abort(t), "abort");
	compare_reads(db);
	expect(r.hits > 50 && r.misses > 50 && r.records > 100);
	tap_report("stats: gets, misses, scans, seeks, records and bytes read");

	/* A reader's generation changes under it. */
	reboot();
	kevo_close(w);
	w = open_db(0);
	count_reads(1);
	nanosleep(&(struct timespec){ 0, 20000000 }, NULL);
	get_some(db, NULL, 50);
	scan_some(db, 3);
	compare_reads(db);
	compare_reads(w);
	count_reads(0);
	struct reads then = r;

	get_some(db, NULL, 5);
	r = then;
	compare_reads(w);
	kevo_close(db);
	kevo_close(w);
	tap_report("stats: a reader counts in the generation of now");
}

/* ---- errors ------------------------------------------------------------ */

static void
test_errors(void)
{
	struct kevo *db = create("memtable_bytes=64M"), *other, *reader;
	struct kevo_options once = { .wait_set = 1 };
	char *big = tap_alloc(KEVO_KEY_MAX + 1);
	struct kevo_snapshot *s;
	struct kevo_record rec;
	struct kevo_batch *b;
	struct kevo_txn *t;

	memset(big, 'k', KEVO_KEY_MAX + 1);
	expect(kevo_open(path, 0, &once, &other) == 0);
	for (int i = 0; i < 3; i++)
		expect(kevo_put(db, "", 0, "", 0, NULL, NULL) ==
		    KEVO_EINVAL);
	expect(kevo_peek(db, NULL, "", 0, &rec) == KEVO_EINVAL);
	check(db, kevo_batch_new(db, &b), "batch");
	expect(kevo_batch_put(b, "", 0, "", 0, 0) == KEVO_EINVAL);
	expect(kevo_commit(db, b, KEVO_SYNC_NONE, NULL) == KEVO_EINVAL);
	expect(kevo_batch_delete(b, big, KEVO_KEY_MAX + 1) == KEVO_ELIMIT);
	kevo_batch_free(b);
	expect(kevo_snapshot_at(db, 99, &s) == KEVO_EINVAL);
	expect(kevo_delete(db, big, KEVO_KEY_MAX + 1, NULL, NULL) ==
	    KEVO_ELIMIT);
	check(db, kevo_txn_begin(db, &t), "begin");
	expect(kevo_txn_get(t, "", 0, &rec) == KEVO_EINVAL);
	expect(kevo_put(other, "a", 1, "", 0, NULL, NULL) == KEVO_EBUSY);
	expect(kevo_delete(other, "a", 1, NULL, NULL) == KEVO_EBUSY);
	check(db, kevo_txn_abort(t), "abort");
	is(db, "errors.invalid", 8);
	is(db, "errors.limit", 2);
	is(db, "errors.busy", 2);
	is(db, "stalls.lock", 2);
	expect(now_is(db, "stall_seconds.lock") > 0);
	tap_report("stats: errors by kind");

	reader = open_db(KEVO_RDONLY);
	expect(kevo_put(reader, "a", 1, "", 0, NULL, NULL) == KEVO_EPERM);
	is(db, "errors.permission", 0);
	count_reads(1);
	expect(kevo_put(reader, "a", 1, "", 0, NULL, NULL) == KEVO_EPERM);
	expect(kevo_peek(reader, NULL, "", 0, &rec) == KEVO_EINVAL);
	is(db, "errors.permission", 1);
	is(db, "errors.invalid", 9);
	kevo_close(reader);
	kevo_close(other);
	kevo_close(db);
	free(big);
	tap_report("stats: a reader's errors are counted like its reads");
}

/* ---- processes --------------------------------------------------------- */

#define CHILDREN	8
#define PUTS		400

static void
child(int n)
{
	struct kevo *db = open_db(n % 4 == 3 ? KEVO_RDONLY : 0);
	struct kevo_write w = { .sync = n % 4 == 0 ? KEVO_SYNC_FULL :
	    n % 4 == 1 ? KEVO_SYNC_NONE : KEVO_SYNC_LATER };
	struct kevo_record rec;
	char key[20];

	for (int i = 0; i < (n % 4 == 0 ? PUTS / 10 : PUTS); i++) {
		size_t klen = (size_t)snprintf(key, sizeof(key), "%d.%d", n,
		    i);

		if (n % 4 == 3)
			kevo_peek(db, NULL, key, klen, &rec);
		else if (kevo_put(db, key, klen, "v", 1, &w, NULL) != 0)
			_exit(1);
	}
	kevo_close(db);
	_exit(0);
}

static void
test_processes(void)
{
	struct kevo *db = create("memtable_bytes=64K");
	uint64_t commits = CHILDREN / 4 * (PUTS / 10 + 2 * PUTS);
	struct numbers *all;
	int status;

	count_reads(1);
	fflush(stdout);
	for (int i = 0; i < CHILDREN; i++)
		if (fork() == 0) {
			tap_dir[0] = '\0';
			child(i);
		}
	while (wait(&status) > 0)
		expect(status == 0);
	is(db, "commits", commits);
	is(db, "puts", commits);
	is(db, "appended_version", commits);
	is(db, "rotations", now_is(db, "log_segments") - 1);
	all = numbers(db);
	expect(find(all, "commit_latency_seconds.disk")->value +
	    find(all, "commit_latency_seconds.none")->value == commits);
	expect(find(all, "commit_latency_seconds.disk")->value >=
	    CHILDREN / 4 * (PUTS / 10));
	expect(find(all, "gets.hit")->value + find(all, "gets.miss")->value
	    == CHILDREN / 4 * PUTS);
	expect(find(all, "get_latency_seconds")->value ==
	    CHILDREN / 4 * PUTS);
	free(all);
	kevo_close(db);
	tap_report("stats: many processes at once are counted exactly");
}

static void
kill_one(uint64_t ms)
{
	struct timespec t = { 0, (long)ms * 1000000 };
	int status;
	pid_t pid;

	fflush(stdout);
	if ((pid = fork()) == 0) {
		struct kevo_write w = { .sync = KEVO_SYNC_NONE };
		struct kevo *db;

		tap_dir[0] = '\0';
		if (kevo_open(path, 0, NULL, &db) != 0)
			_exit(1);
		for (;;)
			if (kevo_put(db, "key", 3, value, 100, &w, NULL) != 0)
				_exit(1);
	}
	nanosleep(&t, NULL);
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	expect(WIFSIGNALED(status));
}

static void
test_kills(void)
{
	struct kevo *db = create("memtable_bytes=256K");
	uint64_t began = kv_mono_ns(), appended, counted, repaired;
	const uint64_t kills = 30;
	struct numbers *all;

	for (uint64_t i = 0; i < kills; i++)
		kill_one(5 + tap_below(10));
	check(db, kevo_put(db, "last", 4, "", 0, NULL, NULL), "put");
	all = numbers(db);
	appended = find(all, "appended_version")->value;
	counted = find(all, "commits")->value;
	repaired = find(all, "repairs.commit")->value;
	tap_note("%llu commits, %llu counted, %llu finished by others",
	    (unsigned long long)appended, (unsigned long long)counted,
	    (unsigned long long)repaired);
	/* A commit is counted when it is made; who is killed in between may
	 * leave one that nobody counts. */
	expect(appended > 100);
	expect(counted + repaired <= appended + kills);
	expect(counted + kills >= appended);
	expect(find(all, "commit_latency_seconds.none")->value + kills + 1
	    >= counted);
	for (size_t i = 0; i < all->n; i++)
		if (all->of[i].kind == KEVO_HISTOGRAM)
			expect(all->of[i].sum <= kv_mono_ns() - began);
	expect(find(all, "rotation_seconds")->value < kv_mono_ns() - began);
	free(all);
	kevo_close(db);
	tap_report("stats: kill -9 leaves sane numbers");
}

/* ---- rebuilding and repair --------------------------------------------- */

/* Those that a rebuild does not change. */
static void
compare_after(struct kevo *db, const struct numbers *before)
{
	struct numbers *after = numbers(db);

	for (size_t i = 0; i < before->n; i++) {
		const struct number *a = &before->of[i];
		const struct number *b = find(after, a->key);

		if (a->kind != KEVO_COUNTER && a->kind != KEVO_HISTOGRAM)
			continue;
		if (strncmp(a->key, "rebuild", 7) == 0)
			continue;
		if (a->value != b->value && tap_bad++ < 6)
			printf("# %s was %llu, is %llu\n", a->key,
			    (unsigned long long)a->value,
			    (unsigned long long)b->value);
		expect(a->sum == b->sum && a->max == b->max &&
		    memcmp(a->bucket, b->bucket, sizeof(a->bucket)) == 0);
	}
	expect(find(before, "counters_since_timestamp_seconds")->value ==
	    find(after, "counters_since_timestamp_seconds")->value);
	free(after);
}

static void
test_survival(void)
{
	struct kevo *db = create("memtable_bytes=64K");
	struct numbers *before;
	uint64_t log, ops, since, now;
	char copy[280];

	is(db, "rebuilds", 1);		/* the creation */
	memset(&m, 0, sizeof(m));
	for (int i = 0; i < 200; i++)
		single(db);
	check(db, kevo_sync(db), "sync");
	kv_time(db->ctl, KV_HIST_COMPACT, 123456789);
	before = numbers(db);
	log = find(before, "log_bytes")->value;
	ops = m.puts + m.deletes;
	kevo_close(db);
	reboot();
	db = open_db(0);
	compare_after(db, before);
	is(db, "rebuilds", 2);
	is(db, "rebuild_records", ops);
	/* The seals are not read as records. */
	expect(now_is(db, "rebuild_read_bytes") <= log + KV_SEGMENT_HEAD);
	expect(now_is(db, "rebuild_read_bytes") + KV_SEAL_LEN *
	    now_is(db, "log_segments") >= log);
	expect(now_is(db, "rebuild_seconds") > 0);
	is(db, "rebuild_cuts", 0);
	now = kv_now_ns();
	expect(now_is(db, "last_rebuild_timestamp_seconds") <= now &&
	    now - now_is(db, "last_rebuild_timestamp_seconds") <
	    60000000000u);
	kevo_close(db);
	tap_report("stats: a reboot ends no count, and is one");

	snprintf(copy, sizeof(copy), "%s.copy", path);
	run("cp -r '%s' '%s'", path, copy);
	snprintf(path, sizeof(path), "%.250s", copy);
	db = open_db(0);
	compare_after(db, before);
	is(db, "rebuilds", 3);
	since = now_is(db, "counters_since_timestamp_seconds");
	kevo_close(db);
	tap_report("stats: so does a copy");

	run("rm -r '%s/shm'%s", path, "");
	db = open_db(0);
	is(db, "commits", 0);
	is(db, "commit_latency_seconds.none", 0);
	is(db, "rebuilds", 1);
	expect(now_is(db, "counters_since_timestamp_seconds") > since);
	kevo_close(db);
	free(before);
	tap_report("stats: without the shared memory counting begins anew");
}

/* Of another database, or full of nonsense. */
static void
test_hostile(void)
{
	struct kevo *db = create("memtable_bytes=64K");
	struct kv_control *c;
	char other[260];
	struct numbers *all;

	check(db, kevo_put(db, "a", 1, "", 0, NULL, NULL), "put");
	kevo_close(db);
	snprintf(other, sizeof(other), "%s", path);
	db = create("memtable_bytes=64K");
	kevo_close(db);
	run("cp '%s/shm/control' '%s/shm/control'", other, path);
	db = open_db(0);
	is(db, "commits", 0);
	is(db, "rebuilds", 1);
	kevo_close(db);
	tap_report("stats: another database's numbers are not taken over");

	for (int round = 0; round < 20; round++) {
		c = map_control();
		if (round == 0) {
			memset((void *)&c->hot, 0xff, sizeof(c->hot));
			memset((void *)&c->cold, 0xff, sizeof(c->cold));
		} else {
			tap_fill((void *)&c->hot, sizeof(c->hot));
			tap_fill((void *)&c->cold, sizeof(c->cold));
		}
		munmap(c, KV_CONTROL_LEN);
		db = open_db(round % 2 ? KEVO_RDONLY : 0);
		all = numbers(db);
		for (size_t i = 0; i < all->n; i++)
			if (all->of[i].kind == KEVO_HISTOGRAM)
				expect(all->of[i].value < (uint64_t)1 << 63);
		free(all);
		if (round % 2 == 0)
			check(db, kevo_put(db, "a", 1, "b", 1, NULL, NULL),
			    "put");
		kevo_close(db);
		reboot();
		db = open_db(0);
		if (round == 0) {
			is(db, "puts", 0);
			is(db, "commit_latency_seconds.none", 0);
			is(db, "gets.hit", 0);
		}
		expect(now_is(db, "counters_since_timestamp_seconds") <=
		    kv_now_ns());
		kevo_close(db);
	}
	tap_report("stats: impossible numbers harm nothing");
}

/* What a writer that was killed in a certain step left. */
static void
leave(struct kevo *db, uint64_t kind, uint64_t off, uint64_t len)
{
	kv_mark_writing(db->ctl, kind, off, len);
}

static void
test_repairs(void)
{
	struct kevo *db = create("memtable_bytes=64K");
	struct kv_tail t;
	char name[300];
	uint64_t off;
	int fd;

	check(db, kevo_put(db, "a", 1, "1", 1, NULL, NULL), "put");
	off = kv_tail(db->ctl)->off;
	check(db, kevo_put(db, "a", 1, "2", 1, NULL, NULL), "put");
	t = *kv_tail(db->ctl);
	leave(db, KV_WRITING_RECORD, off, t.off - off);
	check(db, kevo_put(db, "a", 1, "3", 1, NULL, NULL), "put");
	is(db, "repairs.commit", 1);
	t = *kv_tail(db->ctl);
	leave(db, KV_WRITING_RECORD, t.off, 64);
	check(db, kevo_put(db, "a", 1, "4", 1, NULL, NULL), "put");
	is(db, "repairs.torn_commit", 1);
	t = *kv_tail(db->ctl);
	leave(db, KV_WRITING_SEAL, t.off, t.segment);
	check(db, kevo_put(db, "a", 1, "5", 1, NULL, NULL), "put");
	is(db, "repairs.rotation", 1);
	is(db, "rotations", 1);
	is(db, "log_segments", 2);
	is(db, "repairs.commit", 1);
	is(db, "commits", 5);
	tap_report("stats: work of killed writers");

	t = *kv_tail(db->ctl);
	kevo_close(db);
	snprintf(name, sizeof(name), "%s/wal/%016llx.seg", path,
	    (unsigned long long)t.segment);
	fd = open(name, O_RDWR);
	if (fd < 0 || pwrite(fd, "torn torn torn torn torn", 24,
	    (off_t)t.off) != 24)
		tap_bail("%s: %s", name, strerror(errno));
	close(fd);
	reboot();
	db = open_db(0);
	is(db, "rebuild_cuts", 1);
	is(db, "commits", 5);
	kevo_close(db);
	tap_report("stats: a torn end of the log");
}

/* ---- what other parts of the library count ----------------------------- */

/* Every number has its own place, and keeps its name. */
static void
test_names(void)
{
	static const struct {
		unsigned stat;
		const char *key;
	} names[] = {
		{ KV_STAT_FLUSHES, "flushes" },
		{ KV_STAT_FLUSH_SEGMENTS, "flushed_segments" },
		{ KV_STAT_FLUSH_READ, "flush_read_bytes" },
		{ KV_STAT_FLUSH_WRITTEN, "flush_written_bytes" },
		{ KV_STAT_FLUSH_LAST_NS, "last_flush_timestamp_seconds" },
		{ KV_STAT_COMPACTIONS, "compactions" },
		{ KV_STAT_COMPACT_MOVES, "compaction_moves" },
		{ KV_STAT_COMPACT_READ, "compaction_read_bytes" },
		{ KV_STAT_COMPACT_WRITTEN, "compaction_written_bytes" },
		{ KV_STAT_COMPACT_LAST_NS,
		    "last_compaction_timestamp_seconds" },
		{ KV_STAT_COMPACT_STARTS, "compactors_started" },
		{ KV_STAT_VERSIONS, "versions_installed" },
		{ KV_STAT_DROP_OLDER, "dropped_records.older" },
		{ KV_STAT_DROP_DELETED, "dropped_records.deleted" },
		{ KV_STAT_DROP_EXPIRED, "dropped_records.expired" },
		{ KV_STAT_REMOVED_FILES, "removed_files" },
		{ KV_STAT_REMOVED_BYTES, "removed_bytes" },
		{ KV_STAT_STALLS + KV_STALL_LOCK, "stalls.lock" },
		{ KV_STAT_STALLS + KV_STALL_HELP, "stalls.help" },
		{ KV_STAT_STALLS + KV_STALL_SLOW, "stalls.slow" },
		{ KV_STAT_STALLS + KV_STALL_SEGMENTS, "stalls.segments" },
		{ KV_STAT_STALLS + KV_STALL_LEVEL0, "stalls.level0" },
		{ KV_STAT_STALL_NS + KV_STALL_HELP, "stall_seconds.help" },
		{ KV_STAT_STALL_NS + KV_STALL_SLOW, "stall_seconds.slow" },
		{ KV_STAT_STALL_NS + KV_STALL_SEGMENTS,
		    "stall_seconds.segments" },
		{ KV_STAT_STALL_NS + KV_STALL_LEVEL0,
		    "stall_seconds.level0" },
		{ KV_STAT_ERRORS + 4, "errors.corrupt" },
		{ KV_STAT_ERRORS + 6, "errors.io" },
		{ KV_STAT_ERRORS + 13, "errors.replaced" },
		{ KV_STAT_ERRORS + 14, "errors.history" }
	};
	struct kevo *db = create("memtable_bytes=64K");
	struct numbers *before, *after;

	for (size_t n = 0; n < sizeof(names) / sizeof(names[0]); n++) {
		before = numbers(db);
		kv_add(kv_stat(db->ctl, names[n].stat), 1000 + n, 0);
		after = numbers(db);
		for (size_t i = 0; i < after->n; i++) {
			int ours = strcmp(after->of[i].key,
			    names[n].key) == 0;

			/* Ratios follow from several. */
			if (strstr(after->of[i].key, "amplification"))
				continue;
			expect(after->of[i].value == before->of[i].value +
			    (ours ? 1000 + n : 0));
		}
		free(before);
		free(after);
	}
	kv_stall(db->ctl, KV_STALL_HELP, 77);
	is(db, "stalls.help", 1000 + 18 + 1);
	is(db, "stall_seconds.help", 1000 + 22 + 77);
	tap_report("stats: each number has a place and a name");

	for (int i = 0; i < KV_HISTS; i++) {
		static const char *const keys[] = {
			"commit_latency_seconds.none",
			"commit_latency_seconds.disk",
			"sync_latency_seconds", "get_latency_seconds",
			"seek_latency_seconds", "flush_latency_seconds",
			"compaction_latency_seconds"
		};

		for (int k = 0; k < 5; k++)
			kv_time(db->ctl, (enum kv_histogram)i,
			    (uint64_t)3000000000u << i);
		after = numbers(db);
		for (size_t k = 0; k < KV_HISTS; k++)
			expect(find(after, keys[k])->value ==
			    ((int)k <= i ? 5 : 0));
		expect(find(after, keys[i])->max / 1024 ==
		    ((uint64_t)3000000000u << i) / 1024);
		free(after);
	}
	kevo_close(db);
	tap_report("stats: each histogram, up to hours where it may be");
}

static struct kv_vtable
table(uint32_t level, uint64_t number, const char *first, const char *last)
{
	struct kv_vtable t = { .level = level };

	t.info.number = number;
	t.info.size = 1000 * number;
	t.info.count = 10 * number;
	t.info.deletes = number;
	t.info.hash = number;
	t.info.min_seq = 1;
	t.info.max_seq = 2;
	t.info.first = (const uint8_t *)first;
	t.info.first_len = (uint32_t)strlen(first);
	t.info.last = (const uint8_t *)last;
	t.info.last_len = (uint32_t)strlen(last);
	return t;
}

/*
 * Tables of level 0 count where they hold the same keys, and the last level
 * not at all: what the score says is due is what a compaction does.
 */
static void
test_scores(void)
{
	struct kevo *db = create("level_bytes=64K");
	struct kv_vtable tables[] = { table(0, 1, "a", "b"),
	    table(0, 2, "c", "d"), table(0, 3, "e", "f"),
	    table(0, 4, "f", "g"), table(1, 5, "a", "z"),
	    table(KEVO_LEVELS - 2, 900, "a", "z") };
	struct kv_version *zero, *v;
	struct kv_version_edit e = { .add = tables, .nadd = 6,
	    .last_seq = 2, .next_file = 901, .first_segment = 2,
	    .first_seq = 3, .time_ns = 1 };
	struct kevo_stats st;

	check(db, kevo_stats(db, &st), "statistics");
	run("mkdir -p '%s/version'%s", path, "");
	check(db, kv_version_read(&db->env, &db->dir, db->ctl->id, 0, 0,
	    &zero), "version 0");
	e.base = zero;
	check(db, kv_version_install(&db->env, &db->dir, db->ctl->id, 0644,
	    &e, &v), "install");
	kv_stats_levels(db, v, &st);
	expect(st.level[0].tables == 4);
	expect(st.level[0].score == 2 * 1000 / kv_setting(db->ctl,
	    KV_SET_LEVEL0_TABLES));
	expect(st.level[1].score == 5000 * 1000 / 65536);
	expect(st.level[KEVO_LEVELS - 2].bytes == 900000 &&
	    st.level[KEVO_LEVELS - 2].score == 0);
	kv_version_unref(zero);
	kv_version_unref(v);
	kevo_close(db);
	tap_report("stats: scores are those that compaction goes by");
}

/* A version of tables that nobody opens. */
static void
test_levels(void)
{
	struct kevo *db = create("memtable_bytes=64K");
	struct kv_vtable tables[] = { table(0, 1, "a", "z"),
	    table(0, 2, "a", "z"), table(1, 3, "a", "f"),
	    table(1, 4, "g", "z"), table(3, 5, "a", "z") };
	struct kv_version *zero, *v;
	struct kv_version_edit e = { .add = tables, .nadd = 5,
	    .last_seq = 2, .next_file = 6, .first_segment = 2,
	    .first_seq = 3, .time_ns = 1 };
	struct kevo_stats st;

	check(db, kevo_stats(db, &st), "statistics");
	expect(st.version == 0 && st.level[0].tables == 0);
	run("mkdir -p '%s/version'%s", path, "");
	check(db, kv_version_read(&db->env, &db->dir, db->ctl->id, 0, 0,
	    &zero), "version 0");
	e.base = zero;
	check(db, kv_version_install(&db->env, &db->dir, db->ctl->id, 0644,
	    &e, &v), "install");
	kv_stats_levels(db, v, &st);
	expect(st.version == 1);
	expect(st.level[0].tables == 2 && st.level[0].bytes == 3000 &&
	    st.level[0].records == 30 && st.level[0].deletes == 3);
	expect(st.level[1].tables == 2 && st.level[1].bytes == 7000);
	expect(st.level[2].tables == 0 && st.level[2].score == 0);
	expect(st.level[3].tables == 1 && st.level[3].bytes == 5000);
	expect(st.level[0].score == 2 * 1000 / kv_setting(db->ctl,
	    KV_SET_LEVEL0_TABLES));
	expect(st.level[1].score == 7000 * 1000 / kv_setting(db->ctl,
	    KV_SET_LEVEL_BYTES));
	kv_version_unref(zero);
	kv_version_unref(v);
	kevo_close(db);
	tap_report("stats: levels are those of the newest version");
}

/* ---- flushing and merging ---------------------------------------------- */

static const char *const wide[] = { "memtable_bytes=64K",
    "table_bytes=256K", "compaction=manual", NULL };

/* Bytes of the files of table/, and how many there are. */
static uint64_t
table_files(uint64_t *bytes)
{
	char name[600];
	struct dirent *e;
	struct stat st;
	uint64_t n = 0;
	DIR *d;

	snprintf(name, sizeof(name), "%s/table", path);
	*bytes = 0;
	if ((d = opendir(name)) == NULL)
		return 0;
	while ((e = readdir(d)) != NULL) {
		snprintf(name, sizeof(name), "%s/table/%s", path, e->d_name);
		if (strstr(e->d_name, ".sst") == NULL || stat(name, &st) != 0)
			continue;
		n++;
		*bytes += (uint64_t)st.st_size;
	}
	closedir(d);
	return n;
}

/* What all calls of kevo_compact() said. */
static struct kevo_compact_progress told;

static void
compact_as(struct kevo *db, const struct kevo_compact *c)
{
	struct kevo_compact_progress p;

	check(db, kevo_compact(db, c, &p), "compact");
	told.flushed += p.flushed;
	told.jobs += p.jobs;
	told.bytes_read += p.bytes_read;
	told.bytes_written += p.bytes_written;
}

static void
compact(struct kevo *db, unsigned flags)
{
	struct kevo_compact c = { .flags = flags };

	compact_as(db, &c);
}

static void
put_many(struct kevo *db, int n, uint64_t expires_ns)
{
	struct kevo_write w = { .sync = KEVO_SYNC_NONE,
	    .expires_ns = expires_ns };
	char key[20];

	while (n-- > 0) {
		size_t klen = (size_t)snprintf(key, sizeof(key), "k%03llu",
		    (unsigned long long)tap_below(300));

		check(db, kevo_put(db, key, klen, value, 300, &w, NULL),
		    "put");
	}
}

static uint64_t
in_levels(struct kevo *db, const char *name)
{
	uint64_t n = 0;
	char key[40];

	for (int i = 0; i < KEVO_LEVELS; i++) {
		snprintf(key, sizeof(key), "%s.%d", name, i);
		n += now_is(db, key);
	}
	return n;
}

/* What must hold at any time. */
static void
compare_tables(struct kevo *db, uint64_t began)
{
	uint64_t files, bytes, elapsed;
	struct numbers *all;

	files = table_files(&bytes);
	expect(in_levels(db, "level_tables") == files);
	expect(in_levels(db, "level_bytes") == bytes);
	is(db, "table_bytes", bytes);
	is(db, "l0_files", now_is(db, "level_tables.0"));
	is(db, "flushed_segments", told.flushed);
	is(db, "removed_files", files_unlinked);
	is(db, "removed_bytes", bytes_unlinked);
	is(db, "versions_installed", now_is(db, "table_version"));
	/* Every version holds all commits up to one: what is not in its
	 * tables was dropped. */
	is(db, "dropped_records.older", db->view->version->last_seq -
	    in_levels(db, "level_records") -
	    now_is(db, "dropped_records.deleted") -
	    now_is(db, "dropped_records.expired"));
	all = numbers(db);
	expect(find(all, "flush_read_bytes")->value +
	    find(all, "compaction_read_bytes")->value == told.bytes_read);
	expect(find(all, "flush_written_bytes")->value +
	    find(all, "compaction_written_bytes")->value ==
	    told.bytes_written);
	expect(find(all, "flush_latency_seconds")->value ==
	    find(all, "flushes")->value);
	expect(find(all, "compaction_latency_seconds")->value ==
	    find(all, "compactions")->value);
	elapsed = kv_mono_ns() - began;
	expect(find(all, "flush_latency_seconds")->sum +
	    find(all, "compaction_latency_seconds")->sum <= elapsed);
	expect(find(all, "flushes")->value <= told.flushed);
	free(all);
}

static void
begin_compaction(void)
{
	memset(&told, 0, sizeof(told));
	files_unlinked = bytes_unlinked = 0;
}

static void
test_flushes(void)
{
	uint64_t began = kv_mono_ns(), bytes, now;
	struct kevo *db = create_with(wide);

	begin_compaction();
	for (int i = 0; i < 4; i++) {
		put_many(db, 700, 0);
		check(db, kevo_sync(db), "sync");
		compact(db, KEVO_COMPACT_FLUSH);
		is(db, "flushes", (uint64_t)i + 1);
		compare_tables(db, began);
	}
	is(db, "compactions", 0);
	table_files(&bytes);
	is(db, "flush_written_bytes", bytes);
	expect(now_is(db, "flush_read_bytes") <=
	    now_is(db, "log_written_bytes") + 64 * 1024);
	expect(now_is(db, "dropped_records.older") > 500);
	now = kv_now_ns();
	expect(now - now_is(db, "last_flush_timestamp_seconds") <
	    60000000000u);
	kevo_close(db);
	tap_report("stats: flushes, and what they read, write and drop");
}

static void
test_merges(void)
{
	uint64_t began = kv_mono_ns(), jobs;
	struct kevo *db = create_with(wide);
	struct kevo_write w = { .sync = KEVO_SYNC_NONE };
	char key[20];

	begin_compaction();
	for (int i = 0; i < 8; i++) {
		put_many(db, 600, 0);
		check(db, kevo_sync(db), "sync");
		compact(db, i % 2 ? 0 : KEVO_COMPACT_FLUSH);
		compare_tables(db, began);
	}
	expect(now_is(db, "compactions") > 0);
	/* A job of moves counts each of its tables. */
	jobs = now_is(db, "compactions");
	expect(jobs <= told.jobs &&
	    jobs + now_is(db, "compaction_moves") >= told.jobs);
	expect(kv_now_ns() - now_is(db, "last_compaction_timestamp_seconds") <
	    60000000000u);
	tap_report("stats: merges, and what they read, write and drop");

	for (int i = 0; i < 300; i++) {
		size_t klen = (size_t)snprintf(key, sizeof(key), "k%03d", i);

		check(db, kevo_delete(db, key, klen, &w, NULL), "delete");
	}
	check(db, kevo_sync(db), "sync");
	compact(db, KEVO_COMPACT_FULL);
	compare_tables(db, began);
	is(db, "dropped_records.deleted", 300);
	is(db, "dropped_records.expired", 0);
	is(db, "level_records.1", 0);
	expect(in_levels(db, "level_records") == 0);
	kevo_close(db);

	db = create_with(wide);
	begin_compaction();
	for (int i = 0; i < 300; i++) {
		size_t klen = (size_t)snprintf(key, sizeof(key), "k%03d", i);

		/* Long ago, for any clock. */
		w.expires_ns = 1;
		check(db, kevo_put(db, key, klen, value, 300, &w, NULL),
		    "put");
	}
	check(db, kevo_sync(db), "sync");
	compact(db, KEVO_COMPACT_FULL);
	compare_tables(db, began);
	is(db, "dropped_records.expired", 300);
	is(db, "dropped_records.deleted", 0);
	kevo_close(db);
	tap_report("stats: deletions and expired records that are dropped");
}

/* A child writes so much that segments have to be flushed in the middle of a
 * merge; its work is not the merge's. */
static void
test_flush_between(void)
{
	uint64_t began = kv_mono_ns();
	struct kevo_compact c = { .flags = KEVO_COMPACT_FULL,
	    .rate = 3 << 20 };
	struct kevo *db = create_with(wide);
	int status;
	pid_t pid;

	begin_compaction();
	put_many(db, 4000, 0);
	check(db, kevo_sync(db), "sync");
	compact(db, KEVO_COMPACT_FLUSH);
	for (int i = 0; i < 1500; i++) {
		char key[20];
		struct kevo_write w = { .sync = KEVO_SYNC_NONE };
		size_t klen = (size_t)snprintf(key, sizeof(key), "wide%06d",
		    i);

		check(db, kevo_put(db, key, klen, value, 1900, &w, NULL),
		    "put");
	}
	check(db, kevo_sync(db), "sync");
	fflush(stdout);
	if ((pid = fork()) == 0) {
		struct kevo *own;

		tap_dir[0] = '\0';
		if (kevo_open(path, 0, NULL, &own) != 0)
			_exit(1);
		for (;;) {
			put_many(own, 100, 0);
			kevo_sync(own);
			nanosleep(&(struct timespec){ 0, 10000000 }, NULL);
		}
	}
	compact_as(db, &c);
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	expect(now_is(db, "flushes") > 2);
	expect(now_is(db, "compactions") > 0);
	compare_tables(db, began);
	kevo_close(db);
	tap_report("stats: a flush within a merge is none of its work");
}

static void
test_stalls(void)
{
	static const char *const slow[] = { "memtable_bytes=64K",
	    "memtables=1", "stall_segments=4", "stall_ms=30",
	    "compaction=auto", NULL };
	struct kevo *db = create_with(slow);
	struct kevo_write w = { .sync = KEVO_SYNC_NONE };
	uint64_t began, elapsed, stalled;
	struct numbers *all;
	char name[300], found[4096];
	int fd;

	/* There is no kevo-compact, so the writer does it. */
	snprintf(found, sizeof(found), "%s", getenv("PATH"));
	setenv("PATH", "/nowhere", 1);
	began = kv_mono_ns();
	for (int i = 0; i < 300; i++)
		check(db, kevo_put(db, "key", 3, value, 1500, &w, NULL),
		    "put");
	elapsed = kv_mono_ns() - began;
	is(db, "compactors_started", 0);
	expect(now_is(db, "rotations") > 3);
	is(db, "stalls.help", now_is(db, "rotations"));
	expect(now_is(db, "stall_seconds.help") > 0 &&
	    now_is(db, "stall_seconds.help") < elapsed);
	all = numbers(db);
	expect(find(all, "stall_seconds.help")->value >
	    find(all, "flush_latency_seconds")->sum);
	free(all);
	is(db, "stalls.segments", 0);

	/* Somebody else seems to flush, and does not get on. */
	snprintf(name, sizeof(name), "%s/LOCK", path);
	fd = open(name, O_RDWR);
	if (fd < 0 || !kv_flush_try(fd))
		tap_bail("cannot lock %s", name);
	began = kv_mono_ns();
	stalled = now_is(db, "stall_seconds.help");
	for (int i = 0; i < 400; i++)
		check(db, kevo_put(db, "key", 3, value, 1500, &w, NULL),
		    "put");
	elapsed = kv_mono_ns() - began;
	expect(now_is(db, "stalls.slow") > 0);
	expect(now_is(db, "stalls.segments") > 0);
	stalled = now_is(db, "stall_seconds.help") - stalled +
	    now_is(db, "stall_seconds.slow") +
	    now_is(db, "stall_seconds.segments");
	/* Who waits as long as stall_ms says is held up by segments. */
	expect(now_is(db, "stall_seconds.segments") >=
	    now_is(db, "stalls.segments") * 30000000);
	expect(now_is(db, "stall_seconds.slow") > 0);
	expect(stalled < elapsed && stalled > elapsed / 2);
	is(db, "stalls.level0", 0);
	close(fd);
	kevo_close(db);
	setenv("PATH", found, 1);
	tap_report("stats: why writers were held up, and for how long");
}

/* Somebody else seems to merge, and does not get on: level 0 grows. */
static void
test_level0_stalls(void)
{
	static const char *const slow[] = { "memtable_bytes=64K",
	    "memtables=1", "level0_tables=1", "stall_ms=30",
	    "compaction=auto", NULL };
	struct kevo *db = create_with(slow);
	uint64_t places;
	char name[300];
	int fd;

	snprintf(name, sizeof(name), "%s/LOCK", path);
	if ((fd = open(name, O_RDWR)) < 0)
		tap_bail("cannot open %s", name);
	kv_compacting_enter(fd);
	for (int i = 0; i < 400 && now_is(db, "stalls.level0") == 0; i++)
		put_many(db, 20, 0);
	expect(now_is(db, "stalls.level0") > 0);
	expect(now_is(db, "stall_seconds.level0") >=
	    now_is(db, "stalls.level0") * 30000000);
	expect(now_is(db, "l0_files") > 7);
	expect(now_is(db, "level_score.0") == now_is(db, "l0_files") * 1000);
	expect(now_is(db, "debt_bytes") >= now_is(db, "level_bytes.0"));
	/* Each deeper level that has tables is one place more. */
	places = now_is(db, "log_segments") + now_is(db, "l0_files");
	for (int i = 1; i < KEVO_LEVELS; i++) {
		snprintf(name, sizeof(name), "level_tables.%d", i);
		places += now_is(db, name) != 0;
	}
	is(db, "read_amplification", places);
	is(db, "stalls.segments", 0);
	is(db, "compactions", 0);
	close(fd);
	kevo_close(db);
	tap_report("stats: a level 0 that holds writers up");
}

static int
stop_at_ten(void *arg, const struct kevo_metric *one)
{
	(void)one;
	return ++*(int *)arg == 10 ? 42 : 0;
}

static void
test_walk(void)
{
	struct kevo *db = create("memtable_bytes=64K");
	int n = 0;

	expect(kevo_metrics(db, stop_at_ten, &n) == KEVO_FALSE && n == 10);
	kevo_close(db);
	tap_report("stats: a walk ends where it is told to");
}

int
main(void)
{
	tap_start("stats");
	test_buckets();
	test_quantiles();
	test_operations();
	test_pages();
	test_sync_failure();
	test_rotation();
	test_reads();
	test_errors();
	test_processes();
	test_kills();
	test_survival();
	test_hostile();
	test_repairs();
	test_names();
	test_levels();
	test_scores();
	test_flushes();
	test_merges();
	test_flush_between();
	test_stalls();
	test_level0_stalls();
	test_walk();
	return tap_end();
}
