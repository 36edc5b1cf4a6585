/*
 * stats_read_test: histograms and their quantiles; what readers count, and
 * errors by kind.
 */
#include "counted.h"

static char value[100];

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
	check(w, kevo_txn_begin(w, NULL, &t), "begin");
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
	check(db, kevo_txn_begin(db, NULL, &t), "begin");
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

int
main(void)
{
	tap_start("stats_read");
	test_buckets();
	test_quantiles();
	test_reads();
	test_errors();
	return tap_end();
}
