/*
 * Transactions of one process: each kind against a plain model, with
 * savepoints, and so little memory that they spill; conflicts and what is
 * none; time limits; a disk on which nothing can be spilled.
 */
#include <signal.h>
#include <sys/resource.h>

#define KEYS	160
#define ROOM	3000

#include "db.h"
#include "track.h"
#include "txn_model.h"
#include "txns.h"

static struct kevo *
open_db(unsigned flags)
{
	static const char *const settings[] = { "memtable_bytes=256K",
		"compaction=manual", "txn_memory_bytes=64K", NULL };
	struct kevo_options opt = { .program = "txn_test", .wait_set = 1,
		.settings = settings };
	struct kevo *db = NULL;

	check(db, kevo_open(path, flags, &opt, &db), "open");
	return db;
}

/* A database of this name that nobody has seen. */
static struct kevo *
fresh(const char *name)
{
	snprintf(path, sizeof(path), "%s/%s", tap_dir, name);
	return open_db(KEVO_CREATE);
}

static int
txn_put(struct kevo_txn *t, const char *key, const char *val)
{
	return kevo_txn_put(t, key, strlen(key), val, strlen(val), 0);
}

/* 1 if the key has this value; NULL: is absent. */
static int
reads(struct kevo_txn *t, const char *key, const char *val)
{
	struct kevo_record r;
	int rc = kevo_txn_get(t, key, strlen(key), &r);

	if (val == NULL)
		return rc == KEVO_NOTFOUND;
	return rc == 0 && r.vlen == strlen(val) &&
	    memcmp(r.value, val, r.vlen) == 0;
}

/* ---- the model --------------------------------------------------------- */

static void
model_get(struct kevo_txn *t, const struct model *m)
{
	struct kevo_record r;
	size_t i = tap_below(KEYS);
	char k[16];
	int rc = kevo_txn_get(t, k, key_of(i, k), &r);

	if (m->stamp[i] == 0)
		expect(rc == KEVO_NOTFOUND);
	else
		expect(rc == 0 && is_stamp(m->stamp[i], &r));
}

static void
model_write(struct kevo *db, struct kevo_txn *t, struct model *m)
{
	size_t i = tap_below(KEYS), len;
	uint8_t v[ROOM];
	char k[16];

	if (tap_below(4) == 0) {
		check(db, kevo_txn_delete(t, k, key_of(i, k)), "delete");
		m->stamp[i] = 0;
		return;
	}
	len = value_of(++stamps, v);
	check(db, kevo_txn_put(t, k, key_of(i, k), v, len, 0), "put");
	m->stamp[i] = stamps;
}

/* Few writes, or so many that they do not stay in memory. */
static void
model_batch(struct kevo *db, struct kevo_txn *t, struct model *m)
{
	size_t most = tap_below(10) == 0 ? 200 : 5, len;
	size_t before = kevo_txn_count(t), n = 1 + tap_below(most);
	struct kevo_batch *b;
	uint8_t v[ROOM];
	char k[16];

	check(db, kevo_batch_new(NULL, &b), "batch");
	for (size_t j = 0; j < n; j++) {
		size_t i = tap_below(KEYS);

		len = value_of(++stamps, v);
		check(db, kevo_batch_put(b, k, key_of(i, k), v, len, 0),
		    "put");
		m->stamp[i] = stamps;
	}
	check(db, kevo_txn_batch(t, b), "batch");
	expect(kevo_batch_count(b) == 0 && kevo_txn_count(t) == before + n);
	kevo_batch_free(b);
}

/* A walk of a part, turning round now and then. */
static void
model_walk(struct kevo *db, struct kevo_txn *t, const struct model *m)
{
	size_t lo = tap_below(KEYS), hi = lo + tap_below(KEYS - lo + 1);
	char from[16], to[16], k[16];
	struct kevo_range range = { from, key_of(lo, from), to,
		key_of(hi, to) };
	struct kevo_record r;
	struct kevo_iter *it;
	size_t at;
	int rc, forward = (int)tap_below(2);

	check(db, kevo_txn_iter(t, &range, &it), "iterator");
	at = forward ? lo : hi;
	rc = forward ? kevo_iter_first(it, &r) : kevo_iter_last(it, &r);
	for (;;) {
		if (forward)
			while (at < hi && m->stamp[at] == 0)
				at++;
		else
			while (at > lo && m->stamp[at - 1] == 0)
				at--;
		if (at == (forward ? hi : lo)) {
			expect(rc == KEVO_NOTFOUND);
			break;
		}
		if (!forward)
			at--;
		if (!expect(rc == 0 && r.klen == key_of(at, k) &&
		    memcmp(r.key, k, r.klen) == 0 &&
		    is_stamp(m->stamp[at], &r)))
			break;
		if (tap_below(12) == 0)
			forward = !forward;
		if (forward)
			at++;
		rc = forward ? kevo_iter_next(it, &r) :
		    kevo_iter_prev(it, &r);
	}
	kevo_iter_free(it);
}

static void
model_savepoint(struct kevo *db, struct kevo_txn *t, struct model *m,
    struct model *saved, uint64_t *mark, int *has)
{
	if (*has && tap_below(2) == 0) {
		check(db, kevo_txn_rollback_to(t, *mark), "rollback");
		*m = *saved;
		return;
	}
	check(db, kevo_txn_savepoint(t, mark), "savepoint");
	*saved = *m;
	*has = 1;
}

static void
model_txn(struct kevo *db, struct model *now, unsigned flags)
{
	struct model m = *now, saved;
	struct kevo_txn *t = begin(db, flags);
	uint64_t mark = 0;
	int has = 0;

	for (size_t n = tap_below(150); n > 0; n--) {
		switch (tap_below(8)) {
		case 0:
		case 1:
			model_get(t, &m);
			break;
		case 2:
			model_walk(db, t, &m);
			break;
		case 3:
			model_savepoint(db, t, &m, &saved, &mark, &has);
			break;
		case 4:
			model_batch(db, t, &m);
			break;
		default:
			model_write(db, t, &m);
		}
	}
	if (tap_below(4) == 0) {
		check(db, kevo_txn_abort(t), "abort");
		return;
	}
	check(db, kevo_txn_commit(t, KEVO_SYNC_NONE, NULL), "commit");
	*now = m;
}

static void
test_model(void)
{
	static const unsigned kinds[] = { 0, KEVO_TXN_DEFERRED,
		KEVO_TXN_OPTIMISTIC };
	struct model now = { { 0 } };
	struct kevo *db = fresh("model");
	struct kevo_txn *t;

	for (int i = 0; i < 120; i++) {
		model_txn(db, &now, kinds[tap_below(3)]);
		if (i % 20 == 19)
			check(db, kevo_compact(db, NULL, NULL), "compact");
	}
	kevo_close(db);
	db = open_db(KEVO_RDONLY);
	t = begin(db, KEVO_TXN_READ);
	for (int i = 0; i < 300; i++)
		model_get(t, &now);
	for (int i = 0; i < 50; i++)
		model_walk(db, t, &now);
	check(db, kevo_txn_commit(t, 0, NULL), "commit");
	kevo_close(db);
	tap_report("txn: own writes, both ways, savepoints and spilling, as "
	    "the model");
}

/* ---- kinds ------------------------------------------------------------- */

static void
test_read(void)
{
	struct kevo *db = fresh("read"), *r;
	struct kevo_txn *a, *b;
	uint64_t version = 0;

	check(db, put(db, "k", "1"), "put");
	r = open_db(KEVO_RDONLY);
	a = begin(r, KEVO_TXN_READ);
	check(db, put(db, "k", "2"), "put");
	b = begin(r, KEVO_TXN_READ);
	expect(reads(a, "k", "1") && reads(b, "k", "2"));
	expect(txn_put(a, "k", "3") == KEVO_EPERM);
	expect(kevo_txn_delete(a, "k", 1) == KEVO_EPERM);
	expect(kevo_compact(db, &(struct kevo_compact){
	    .flags = KEVO_COMPACT_FULL }, NULL) == 0);
	expect(reads(a, "k", "1") && reads(b, "k", "2"));
	expect(kevo_txn_commit(a, 0, &version) == 0 && version == 1);
	expect(kevo_txn_abort(b) == 0);
	/* On a writer's handle it is in nobody's way. */
	a = begin(db, KEVO_TXN_READ);
	expect(put(db, "k", "4") == 0 && reads(a, "k", "2"));
	expect(kevo_txn_commit(a, 0, NULL) == 0);
	kevo_close(r);
	kevo_close(db);
	tap_report("txn: a snapshot stays, on a reader's handle, too");
}

static void
test_flags(void)
{
	static const unsigned wrong[] = { 3, 5, 6, 7, 16, 1u << 31,
		KEVO_TXN_SHARED | KEVO_TXN_DEFERRED,
		KEVO_TXN_SHARED | KEVO_TXN_OPTIMISTIC };
	struct kevo_begin b = { 0, -1 };
	struct kevo *db = fresh("flags"), *r;
	struct kevo_txn *t;

	expect(kevo_txn_begin(db, &b, &t) == KEVO_EINVAL);
	b.max_ms = 0;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		b.flags = wrong[i];
		expect(kevo_txn_begin(db, &b, &t) == KEVO_EINVAL);
	}
	r = open_db(KEVO_RDONLY);
	for (unsigned f = 0; f <= KEVO_TXN_OPTIMISTIC; f += 2) {
		b.flags = f;
		expect(kevo_txn_begin(r, &b, &t) == KEVO_EPERM);
	}
	kevo_close(r);
	kevo_close(db);
	tap_report("txn: flags that do not go together, a reader that writes");
}

static void
test_deferred(void)
{
	struct kevo *db = fresh("deferred"), *other = open_db(0);
	struct kevo_txn *t;

	check(db, put(db, "a", "1"), "put");
	t = begin(db, KEVO_TXN_DEFERRED);
	expect(reads(t, "a", "1"));
	check(other, put(other, "b", "1"), "put");	/* no lock yet */
	expect(reads(t, "b", NULL));
	/* b was read, and has changed. */
	expect(txn_put(t, "c", "1") == KEVO_ECONFLICT);
	expect(strstr(kevo_errmsg(db), "b changed") != NULL);
	expect(kevo_txn_get(t, "a", 1, &(struct kevo_record){ 0 }) ==
	    KEVO_ECONFLICT);
	expect(put(other, "a", "2") == 0);
	expect(kevo_txn_abort(t) == 0);

	t = begin(db, KEVO_TXN_DEFERRED);
	expect(reads(t, "a", "2"));
	check(other, put(other, "b", "2"), "put");
	expect(txn_put(t, "c", "1") == 0);
	expect(put(other, "a", "3") == KEVO_EBUSY);
	expect(strstr(kevo_errmsg(other), "txn_test") != NULL);
	/* With the lock it reads the newest state. */
	expect(reads(t, "b", "2") && reads(t, "c", "1"));
	expect(put(db, "x", "1") == KEVO_EINVAL);
	expect(kevo_txn_commit(t, 0, NULL) == 0 && holds(db, "c", "1"));

	/* Without a write there is nothing to validate. */
	t = begin(db, KEVO_TXN_DEFERRED);
	expect(reads(t, "a", "2"));
	check(other, put(other, "a", "4"), "put");
	expect(reads(t, "a", "2") && kevo_txn_commit(t, 0, NULL) == 0);
	kevo_close(other);
	kevo_close(db);
	tap_report("txn: deferred locks at the first write, and validates");
}

struct outcomes {
	uint64_t begun, committed, rolled_back, conflict;
};

static int
see_outcome(void *arg, const struct kevo_metric *m)
{
	struct outcomes *o = arg;

	if (strcmp(m->name, "transactions") != 0)
		return 0;
	if (strcmp(m->label_value, "begun") == 0)
		o->begun = m->value;
	else if (strcmp(m->label_value, "committed") == 0)
		o->committed = m->value;
	else if (strcmp(m->label_value, "rolled_back") == 0)
		o->rolled_back = m->value;
	else if (strcmp(m->label_value, "conflict") == 0)
		o->conflict = m->value;
	return 0;
}

static void
test_counted(void)
{
	struct kevo *db = fresh("counted"), *other = open_db(0);
	struct outcomes o = { 0 };
	uint64_t commits = 0, conflicts = 0;

	for (int i = 0; i < 40; i++) {
		struct kevo_txn *t = begin(db, i % 2 ? KEVO_TXN_OPTIMISTIC :
		    KEVO_TXN_DEFERRED);
		int rc;

		(void)reads(t, "k", NULL);
		if (tap_below(2) == 0)
			check(other, put(other, "k", "x"), "put");
		if ((rc = txn_put(t, "l", "1")) == 0) {
			rc = kevo_txn_commit(t, KEVO_SYNC_NONE, NULL);
		} else {
			check(db, kevo_txn_abort(t), "abort");
		}
		commits += rc == 0;
		conflicts += rc == KEVO_ECONFLICT;
	}
	expect(commits + conflicts == 40);
	check(db, kevo_metrics(db, see_outcome, &o), "metrics");
	expect(o.begun == 40 && o.committed == commits &&
	    o.conflict == conflicts && o.rolled_back == 0);
	kevo_close(other);
	kevo_close(db);
	tap_report("txn: conflicts are counted");
}

static void
test_optimistic(void)
{
	struct kevo *db = fresh("optimistic"), *other = open_db(0);
	struct kevo_stats st;
	struct kevo_txn *t;
	uint64_t before;

	check(db, put(db, "a", "1"), "put");
	t = begin(db, KEVO_TXN_OPTIMISTIC);
	expect(reads(t, "a", "1") && txn_put(t, "a", "2") == 0);
	expect(reads(t, "a", "2") && holds(other, "a", "1"));
	expect(put(other, "b", "1") == 0);
	expect(reads(t, "c", NULL) && kevo_txn_commit(t, 0, NULL) == 0);
	expect(holds(other, "a", "2"));

	t = begin(db, KEVO_TXN_OPTIMISTIC);
	expect(reads(t, "a", "2") && txn_put(t, "x", "1") == 0);
	expect(put(other, "a", "2") == 0);	/* the same, but another one */
	check(db, kevo_stats(db, &st), "stats");
	before = st.appended;
	expect(kevo_txn_commit(t, 0, NULL) == KEVO_ECONFLICT);
	expect(strstr(kevo_errmsg(db), "conflict: a changed") != NULL);
	check(db, kevo_stats(db, &st), "stats");
	expect(st.appended == before && holds(db, "x", NULL));

	/* What it has written itself it has not read. */
	t = begin(db, KEVO_TXN_OPTIMISTIC);
	expect(txn_put(t, "a", "5") == 0 && reads(t, "a", "5"));
	expect(put(other, "a", "6") == 0);
	expect(kevo_txn_commit(t, 0, NULL) == 0 && holds(db, "a", "5"));

	/* The lock is not to be had: nothing is written. */
	t = begin(db, KEVO_TXN_OPTIMISTIC);
	expect(txn_put(t, "y", "1") == 0);
	{
		struct kevo_txn *o = begin(other, 0);

		expect(kevo_txn_commit(t, 0, NULL) == KEVO_EBUSY);
		expect(kevo_txn_abort(o) == 0);
	}
	expect(holds(db, "y", NULL));
	kevo_close(other);
	kevo_close(db);
	tap_report("txn: optimistic locks to commit, and validates");
}

/* ---- ranges ------------------------------------------------------------ */

/* Walk n records of a part one way; -1: to the end. */
static void
walk(struct kevo *db, struct kevo_txn *t, const char *from, const char *to,
    const char *seek, int backward, int n)
{
	struct kevo_range r = { from, from != NULL ? strlen(from) : 0, to,
		to != NULL ? strlen(to) : 0 };
	struct kevo_iter *it;
	int rc;

	check(db, kevo_txn_iter(t, &r, &it), "iterator");
	if (seek != NULL)
		rc = backward ? kevo_iter_seek_back(it, seek, strlen(seek),
		    NULL) : kevo_iter_seek(it, seek, strlen(seek), NULL);
	else
		rc = backward ? kevo_iter_last(it, NULL) :
		    kevo_iter_first(it, NULL);
	while (rc == 0 && --n != 0)
		rc = backward ? kevo_iter_prev(it, NULL) :
		    kevo_iter_next(it, NULL);
	kevo_iter_free(it);
}

/* The walk, a change of key by another, a write, the commit. */
static int
conflicts(const char *from, const char *to, const char *seek, int backward,
    int n, const char *key, int delete)
{
	struct kevo *db = open_db(0), *other = open_db(0);
	struct kevo_txn *t = begin(db, KEVO_TXN_OPTIMISTIC);
	int rc;

	walk(db, t, from, to, seek, backward, n);
	if (delete)
		check(other, kevo_delete(other, key, strlen(key), NULL, NULL),
		    "delete");
	else
		check(other, put(other, key, "new"), "put");
	check(db, txn_put(t, "zz", "1"), "put");
	rc = kevo_txn_commit(t, 0, NULL);
	if (rc == KEVO_ECONFLICT)
		expect(strstr(kevo_errmsg(db), key) != NULL);
	else
		check(db, rc, "commit");
	kevo_close(other);
	kevo_close(db);
	return rc == KEVO_ECONFLICT;
}

static void
test_ranges(void)
{
	struct kevo *db = fresh("ranges");

	for (char k[] = "b"; *k <= 'p'; *k += 2)
		check(db, put(db, k, "1"), "put");	/* b d f ... p */
	kevo_close(db);
	/* All of it: any change is one. */
	expect(conflicts(NULL, NULL, NULL, 0, -1, "a", 0));
	expect(conflicts(NULL, NULL, NULL, 0, -1, "q", 0));
	expect(conflicts(NULL, NULL, NULL, 1, -1, "e", 0));
	expect(conflicts(NULL, NULL, NULL, 1, -1, "f", 0));
	expect(conflicts(NULL, NULL, NULL, 0, -1, "f", 1));
	/* To a bound; it does not belong to it. */
	expect(!conflicts("d", "h", NULL, 0, -1, "h", 0));
	expect(!conflicts("d", "h", NULL, 0, -1, "c", 0));
	expect(conflicts("d", "h", NULL, 0, -1, "g", 0));
	expect(conflicts("d", "h", NULL, 1, -1, "g", 1));
	expect(!conflicts("d", "h", NULL, 1, -1, "h", 1));
	/* As far as it went: a, b, d are there by now, h is gone. */
	expect(conflicts(NULL, NULL, NULL, 0, 2, "b", 0));
	expect(!conflicts(NULL, NULL, NULL, 0, 2, "c0", 0));
	expect(conflicts("d", NULL, NULL, 0, 2, "d1", 0));
	expect(!conflicts("d", NULL, NULL, 0, 1, "d2", 0));
	expect(conflicts(NULL, "o", NULL, 1, 1, "n", 0));
	expect(!conflicts(NULL, "o", NULL, 1, 1, "l", 0));
	/* From where it was sought: what lies between was seen absent. */
	expect(conflicts(NULL, NULL, "i", 0, 1, "i5", 0));
	expect(!conflicts(NULL, NULL, "i", 0, 1, "j1", 0));
	expect(conflicts(NULL, NULL, "k", 1, 1, "j9", 0));
	expect(!conflicts(NULL, NULL, "k", 1, 1, "k1", 0));
	/* A key that it does not have is deleted: nothing has changed. */
	expect(!conflicts(NULL, NULL, NULL, 0, -1, "nothing", 1));
	tap_report("txn: ranges conflict as far as they were read");
}

/* What compaction has forgotten is a change all the same. */
/* ---- what came since --------------------------------------------------- */

#define NUMBERS		40

static void
number_key(char k[4], unsigned n)
{
	snprintf(k, 4, "%02u", n % 100);
}

/* Remember a key or a range, and mark its numbers. */
static void
track_some(struct kv_track *t, uint8_t read[NUMBERS])
{
	unsigned low = (unsigned)tap_below(NUMBERS), high;
	unsigned kind = (unsigned)tap_below(5);
	struct kv_bound from, to;
	char a[4], b[4];

	high = low + (unsigned)tap_below(NUMBERS - low);
	number_key(a, low);
	number_key(b, high);
	from = (struct kv_bound){ kind == 1 ? NULL : a, 2 };
	to = (struct kv_bound){ kind == 2 ? NULL : b, 2 };
	if (kind == 0) {
		kv_track_key(t, a, 2, 0, 0);
		read[low] = 1;
		return;
	}
	kv_track_range(t, &from, &to, kind == 3);
	for (unsigned i = kind == 1 ? 0 : low; i < NUMBERS; i++)
		if (kind == 2 || i < high || (i == high && kind == 3))
			read[i] = 1;
}

/* A commit of some keys; 1 if one of them was read. */
static int
commit_some(struct kevo *db, const uint8_t read[NUMBERS], unsigned *ops)
{
	unsigned n = 1 + (unsigned)tap_below(tap_below(4) == 0 ? 20 : 2);
	struct kevo_batch *b;
	int touched = 0;
	char k[4];

	check(db, kevo_batch_new(db, &b), "batch");
	for (*ops += n; n > 0; n--) {
		unsigned i = (unsigned)tap_below(NUMBERS);

		number_key(k, i);
		check(db, tap_below(2) == 0 ? kevo_batch_delete(b, k, 2) :
		    kevo_batch_put(b, k, 2, "value", tap_below(6), 0), "add");
		touched |= read[i];
	}
	check(db, kevo_commit(db, b, KEVO_SYNC_NONE, NULL), "commit");
	kevo_batch_free(b);
	return touched;
}

static void
test_since(void)
{
	struct kevo *db = fresh("since");
	int yes = 0, no = 0, many = 0;

	for (int round = 0; round < 3000; round++) {
		uint8_t read[NUMBERS] = { 0 };
		unsigned commits = (unsigned)tap_below(4), ops = 0;
		struct kv_tail then = *kv_tail(db->ctl), now;
		struct kv_track t;
		struct kv_seg *s;
		int touched = 0, untouched;

		kv_track_init(&t, 4096);
		for (unsigned n = 1 + (unsigned)tap_below(3); n > 0; n--)
			track_some(&t, read);
		for (; commits > 0; commits--)
			touched |= commit_some(db, read, &ops);
		now = *kv_tail(db->ctl);
		check(db, kv_view_extend(db), "view");
		check(db, kv_active_seg(db, &s), "segment");
		if (now.segment == then.segment) {
			untouched = kv_track_untouched(&t, s, then.off,
			    now.off);
			expect(!untouched || !touched);
			expect(untouched || touched || ops > 16);
			yes += untouched;
			no += touched;
			many += !untouched && !touched;
		}
		kv_track_release(&t);
	}
	expect(yes > 100 && no > 100 && many > 0);
	kevo_close(db);
	tap_report("txn: what has come since, against what was read");
}

static void
test_dropped(void)
{
	struct kevo_compact full = { .flags = KEVO_COMPACT_FULL };
	struct kevo *db = fresh("dropped"), *other = open_db(0);
	struct kevo_txn *t;

	check(db, put(db, "a", "1"), "put");
	check(db, put(db, "b", "1"), "put");
	t = begin(db, KEVO_TXN_OPTIMISTIC);
	walk(db, t, NULL, NULL, NULL, 0, -1);
	check(other, kevo_delete(other, "b", 1, NULL, NULL), "delete");
	check(other, kevo_compact(other, &full, NULL), "compact");
	check(db, txn_put(t, "c", "1"), "put");
	expect(kevo_txn_commit(t, 0, NULL) == KEVO_ECONFLICT);
	/* Put and deleted again: it reads as it did. */
	t = begin(db, KEVO_TXN_OPTIMISTIC);
	expect(reads(t, "b", NULL));
	check(other, put(other, "b", "2"), "put");
	check(other, kevo_delete(other, "b", 1, NULL, NULL), "delete");
	check(db, txn_put(t, "c", "1"), "put");
	expect(kevo_txn_commit(t, 0, NULL) == 0);
	kevo_close(other);
	kevo_close(db);
	tap_report("txn: a deletion that compaction has dropped is a conflict");
}

static void
test_expiry(void)
{
	struct kevo *db = fresh("expiry");
	struct kevo_write w = { .sync = KEVO_SYNC_NONE,
	    .expires_ns = kv_now_ns() + 50000000 };
	struct kevo_txn *t, *u;

	check(db, kevo_put(db, "k", 1, "v", 1, &w, NULL), "put");
	t = begin(db, KEVO_TXN_OPTIMISTIC);
	u = begin(db, KEVO_TXN_OPTIMISTIC);
	if (!reads(t, "k", "v")) {
		tap_note("it was too slow to see the key");
	} else {
		walk(db, u, NULL, NULL, NULL, 0, -1);
		while (kv_now_ns() <= w.expires_ns)
			usleep(1000);
		check(db, txn_put(t, "x", "1"), "put");
		check(db, txn_put(u, "x", "1"), "put");
		expect(kevo_txn_commit(t, 0, NULL) == KEVO_ECONFLICT);
		expect(kevo_txn_commit(u, 0, NULL) == KEVO_ECONFLICT);
		t = begin(db, KEVO_TXN_OPTIMISTIC);
		u = begin(db, KEVO_TXN_OPTIMISTIC);
	}
	/* An own write that had expired when it began is absent. */
	check(db, kevo_txn_put(t, "k", 1, "v", 1, 1), "put");
	expect(reads(t, "k", NULL));
	kevo_txn_abort(t);
	kevo_txn_abort(u);
	kevo_close(db);
	tap_report("txn: what expires has changed");
}

/* 1 if the key is what an iteration finds first, and only it. */
static int
only(struct kevo_iter *it, const char *key)
{
	struct kevo_record r;

	return kevo_iter_first(it, &r) == 0 && r.klen == strlen(key) &&
	    memcmp(r.key, key, r.klen) == 0 &&
	    kevo_iter_next(it, &r) == KEVO_NOTFOUND;
}

/* A transaction or snapshot that began in time has the key to its end. */
static void
test_one_clock(unsigned flags, const char *name)
{
	struct kevo_write w = { .sync = KEVO_SYNC_NONE,
	    .expires_ns = kv_now_ns() + 100000000 };
	struct kevo *db, *other;
	struct kevo_snapshot *s;
	struct kevo_record r;
	struct kevo_iter *it;
	struct kevo_txn *t;
	char title[80];

	snprintf(title, sizeof(title), "clock-%s", name);
	db = fresh(title);
	other = open_db(0);
	check(db, kevo_put(db, "k", 1, "v", 1, &w, NULL), "put");
	check(other, kevo_snapshot_new(other, &s), "snapshot");
	t = begin(db, flags);
	if (kv_now_ns() >= w.expires_ns) {
		tap_note("it was too slow to begin in time");
	} else {
		while (kevo_peek(other, NULL, "k", 1, &r) == 0)
			usleep(1000);
		expect(reads(t, "k", "v"));
		check(db, kevo_txn_iter(t, NULL, &it), "iterate");
		expect(only(it, "k"));
		kevo_iter_free(it);
		expect(kevo_peek(other, s, "k", 1, &r) == 0);
		check(other, kevo_iter_new(other, s, NULL, &it), "iterate");
		expect(only(it, "k"));
		kevo_iter_free(it);
	}
	kevo_snapshot_free(s);
	kevo_txn_abort(t);
	expect(kevo_peek(db, NULL, "k", 1, &r) == KEVO_NOTFOUND);
	kevo_close(other);
	kevo_close(db);
	snprintf(title, sizeof(title), "txn: %s: its clock stands still", name);
	tap_report(title);
}

static void
test_too_much_read(void)
{
	struct kevo *db = fresh("much"), *other = open_db(0);
	struct kevo_txn *t, *u;

	check(db, put(db, "a", "1"), "put");
	t = begin(db, KEVO_TXN_OPTIMISTIC);
	u = begin(db, KEVO_TXN_OPTIMISTIC);
	for (int i = 0; i < 20000; i++) {
		char k[32];

		snprintf(k, sizeof(k), "not there %d", i);
		expect(reads(t, k, NULL) && reads(u, k, NULL));
	}
	check(db, txn_put(t, "x", "1"), "put");
	check(db, txn_put(u, "x", "2"), "put");
	expect(kevo_txn_commit(t, 0, NULL) == 0);
	expect(kevo_txn_commit(u, 0, NULL) == KEVO_ECONFLICT);
	expect(strstr(kevo_errmsg(db), "txn_memory_bytes") != NULL);
	kevo_close(other);
	kevo_close(db);
	tap_report("txn: more read than is remembered conflicts with any "
	    "commit");
}

/* ---- the rest ---------------------------------------------------------- */

static void
test_time(void)
{
	struct kevo_begin b = { 0, 20 };
	struct kevo *db = fresh("time"), *other = open_db(0);
	struct kevo_record r;
	struct kevo_txn *t;

	check(db, kevo_txn_begin(db, &b, &t), "begin");
	check(db, txn_put(t, "k", "1"), "put");
	usleep(25000);
	expect(kevo_txn_get(t, "k", 1, &r) == KEVO_EENDED);
	/* That call has given back the lock. */
	expect(put(other, "k", "2") == 0);
	expect(txn_put(t, "k", "1") == KEVO_EENDED);
	expect(kevo_txn_savepoint(t, &(uint64_t){ 0 }) == KEVO_EENDED);
	expect(kevo_txn_iter(t, NULL, &(struct kevo_iter *){ NULL }) ==
	    KEVO_EENDED);
	expect(strstr(kevo_errmsg(db), "20 ms") != NULL);
	expect(kevo_txn_abort(t) == 0);
	for (unsigned f = 1; f <= KEVO_TXN_OPTIMISTIC; f *= 2) {
		b.flags = f;
		check(db, kevo_txn_begin(db, &b, &t), "begin");
		usleep(25000);
		expect(kevo_txn_commit(t, 0, NULL) == KEVO_EENDED);
	}
	expect(put(db, "k", "3") == 0);
	kevo_close(other);
	kevo_close(db);
	tap_report("txn: its time is over");
}

/* What an iterator stands on is the transaction's own memory. */
static void
test_time_of_iterator(void)
{
	struct kevo_begin b = { 0, 20 };
	struct kevo *db = fresh("time_of_iterator"), *other = open_db(0);
	struct kevo_iter *it;
	struct kevo_record r;
	struct kevo_txn *t;
	char key[8];

	for (int get = 0; get < 2; get++) {
		check(db, kevo_txn_begin(db, &b, &t), "begin");
		for (int i = 0; i < 1000; i++) {
			snprintf(key, sizeof(key), "k%03d", i);
			check(db, txn_put(t, key, "1"), "put");
		}
		check(db, kevo_txn_iter(t, NULL, &it), "iter");
		expect(kevo_iter_first(it, &r) == 0);
		usleep(25000);
		if (get)
			expect(kevo_txn_get(t, "k001", 4, &r) == KEVO_EENDED);
		expect(kevo_iter_next(it, &r) == KEVO_EENDED);
		expect(put(other, "k", "2") == 0);
		expect(kevo_iter_last(it, &r) == KEVO_EENDED);
		expect(kevo_iter_prev(it, &r) == KEVO_EENDED);
		kevo_iter_free(it);
		expect(kevo_txn_abort(t) == 0);
	}
	kevo_close(other);
	kevo_close(db);
	tap_report("txn: the time of one that is iterated over is over");
}

static void
test_savepoints(void)
{
	struct kevo *db = fresh("savepoints");
	struct kevo_txn *t = begin(db, 0);
	uint64_t none, one, two;

	check(db, kevo_txn_savepoint(t, &none), "savepoint");
	check(db, txn_put(t, "a", "1"), "put");
	check(db, kevo_txn_savepoint(t, &one), "savepoint");
	check(db, txn_put(t, "a", "2"), "put");
	check(db, txn_put(t, "b", "2"), "put");
	check(db, kevo_txn_savepoint(t, &two), "savepoint");
	expect(reads(t, "a", "2") && kevo_txn_count(t) == 3);
	check(db, kevo_txn_rollback_to(t, one), "rollback");
	expect(reads(t, "a", "1") && reads(t, "b", NULL));
	expect(kevo_txn_count(t) == 1);
	expect(kevo_txn_rollback_to(t, two) == KEVO_EINVAL);
	expect(kevo_txn_rollback_to(t, one - 1) == KEVO_EINVAL);
	expect(kevo_txn_rollback_to(t, 0) == KEVO_EINVAL);
	expect(reads(t, "a", "1"));
	check(db, kevo_txn_rollback_to(t, none), "rollback");
	expect(reads(t, "a", NULL) && kevo_txn_count(t) == 0);
	check(db, txn_put(t, "c", "3"), "put");
	check(db, kevo_txn_commit(t, 0, NULL), "commit");
	expect(holds(db, "a", NULL) && holds(db, "c", "3"));
	kevo_close(db);
	tap_report("txn: savepoints");
}

static void
test_batch(void)
{
	struct kevo *db = fresh("batch"), *reader;
	struct kevo_txn *t = begin(db, 0);
	struct kevo_batch *b;
	uint64_t mark;

	check(db, kevo_batch_new(NULL, &b), "batch");
	expect(kevo_batch_put(b, "", 0, "1", 1, 0) == KEVO_EINVAL);
	expect(kevo_txn_batch(t, b) == 0 && kevo_txn_count(t) == 0);
	check(db, kevo_batch_put(b, "a", 1, "1", 1, 0), "put");
	check(db, kevo_batch_delete(b, "b", 1), "delete");
	check(db, kevo_txn_batch(t, b), "batch");
	expect(kevo_txn_count(t) == 2 && kevo_batch_count(b) == 0);
	expect(reads(t, "a", "1") && reads(t, "b", NULL));
	/* It may be used again, on top of what is there. */
	check(db, kevo_txn_savepoint(t, &mark), "savepoint");
	check(db, kevo_batch_put(b, "b", 1, "2", 1, 0), "put");
	check(db, kevo_txn_batch(t, b), "batch");
	expect(reads(t, "b", "2") && holds(db, "b", NULL));
	check(db, kevo_txn_rollback_to(t, mark), "rollback");
	expect(reads(t, "a", "1") && reads(t, "b", NULL));
	check(db, kevo_txn_commit(t, 0, NULL), "commit");
	expect(holds(db, "a", "1"));
	/* What is refused stays in it. */
	reader = open_db(KEVO_RDONLY);
	t = begin(reader, KEVO_TXN_READ);
	check(db, kevo_batch_put(b, "c", 1, "3", 1, 0), "put");
	expect(kevo_txn_batch(t, b) == KEVO_EPERM && kevo_batch_count(b) == 1);
	check(reader, kevo_txn_abort(t), "abort");
	kevo_close(reader);
	check(db, kevo_commit(db, b, 0, NULL), "commit");
	expect(holds(db, "c", "3"));
	kevo_batch_free(b);
	kevo_close(db);
	tap_report("txn: a batch, made before there is a handle");
}

/* As on a full disk: no file may be made as long as a spilled one is. */
static void
test_no_room(void)
{
	struct rlimit was, little = { 64 << 20, 64 << 20 };
	struct kevo *db = fresh("no-room");
	struct kevo_txn *t = begin(db, 0);
	static char v[ROOM];
	int n = 0, rc = 0;
	char k[16];

	signal(SIGXFSZ, SIG_IGN);
	getrlimit(RLIMIT_FSIZE, &was);
	little.rlim_max = was.rlim_max;
	setrlimit(RLIMIT_FSIZE, &little);
	while (n < 1000 && (rc = kevo_txn_put(t, k, key_of((size_t)n, k), v,
	    sizeof(v), 0)) == 0)
		n++;
	expect(rc == KEVO_EIO && n > 5 && n < 25);
	expect(strstr(kevo_errmsg(db), "no-room/txn: cannot ") != NULL);
	expect(kevo_txn_count(t) == (size_t)n && reads(t, "k999", NULL));
	setrlimit(RLIMIT_FSIZE, &was);
	expect(count_files("txn", "") == 0);
	while (n < 1000 && (rc = kevo_txn_put(t, k, key_of((size_t)n, k), v,
	    sizeof(v), 0)) == 0)
		n++;
	expect(n == 1000 && count_files("txn", "") == 0);
	check(db, kevo_txn_commit(t, 0, NULL), "commit");
	for (int i = 0; i < n; i++) {
		struct kevo_record r;

		expect(kevo_peek(db, NULL, k, key_of((size_t)i, k), &r) == 0 &&
		    r.vlen == sizeof(v));
	}
	kevo_close(db);
	tap_report("txn: what cannot be spilled is refused; no file stays");
}

static void
test_limits(void)
{
	struct kevo *db;
	struct kevo_txn *t;
	char k[16];
	int rc = 0;
	size_t n;

	if (getenv("KEVO_LONG") == NULL) {
		tap_ok(1, "txn: too many operations # SKIP KEVO_LONG");
		return;
	}
	db = fresh("limits");
	t = begin(db, 0);
	for (n = 0; rc == 0; n += rc == 0)
		rc = kevo_txn_put(t, k, (size_t)snprintf(k, sizeof(k), "%zx",
		    n & 0xffff), "", 0, 0);
	expect(rc == KEVO_ELIMIT && n == KEVO_COMMIT_OPS);
	expect(reads(t, "77", "") && reads(t, "no", NULL));
	check(db, kevo_txn_commit(t, 0, NULL), "commit");
	expect(holds(db, "ffff", ""));
	kevo_close(db);
	tap_report("txn: too many operations");
}

/*
 * A value that was read is written under another key, as it lies: in what the
 * transaction has written itself, which moves as it grows, or in a file that
 * others remove.
 */
static void
test_read_is_written(void)
{
	struct kevo_compact full = { .flags = KEVO_COMPACT_FULL };
	struct kevo *db = fresh("given"), *other = open_db(0);
	struct kevo_record r;
	struct kevo_txn *t;
	char key[8];

	for (unsigned kind = 0; kind <= KEVO_TXN_OPTIMISTIC; kind += 2) {
		check(db, put(db, "a", "old"), "put");
		check(other, kevo_compact(other, &full, NULL), "compact");
		t = begin(db, kind);
		expect(kevo_txn_get(t, "a", 1, &r) == 0);
		if (kind != 0) {
			check(other, put(other, "x", "1"), "put");
			check(other, kevo_compact(other, &full, NULL),
			    "compact");
		}
		check(db, kevo_txn_put(t, "k0000", 5, r.value, r.vlen, 0),
		    "put what was read");
		for (int i = 0; i < 9999; i++) {
			snprintf(key, sizeof(key), "k%04d", i);
			expect(kevo_txn_get(t, key, 5, &r) == 0);
			snprintf(key, sizeof(key), "k%04d", i + 1);
			check(db, kevo_txn_put(t, key, 5, r.value, r.vlen, 0),
			    "put what was written");
		}
		expect(kevo_txn_commit(t, 0, NULL) == 0);
		expect(holds(db, "k0000", "old") && holds(db, "k9999", "old"));
	}
	kevo_close(other);
	kevo_close(db);
	tap_report("txn: what was read may be written as it lies");
}

int
main(void)
{
	tap_start("txn");
	test_flags();
	test_read();
	test_deferred();
	test_optimistic();
	test_counted();
	test_ranges();
	test_since();
	test_dropped();
	test_read_is_written();
	test_expiry();
	test_one_clock(0, "immediate");
	test_one_clock(KEVO_TXN_READ, "read");
	test_one_clock(KEVO_TXN_DEFERRED, "deferred");
	test_one_clock(KEVO_TXN_OPTIMISTIC, "optimistic");
	test_too_much_read();
	test_time();
	test_time_of_iterator();
	test_savepoints();
	test_batch();
	test_no_room();
	test_model();
	test_limits();
	return tap_end();
}
