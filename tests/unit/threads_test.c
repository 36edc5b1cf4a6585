/*
 * threads_test: threads of one process, each with a handle of its own.
 * Writers move amounts between ten accounts; whatever a reader sees adds up
 * to the same sum.
 */
#include <kevo.h>

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>

#include "tap.h"

#define ACCOUNTS	10
#define START		1000
#define WRITERS		3
#define READERS		3

static char path[260];
static _Atomic int stop, errors;
static _Atomic uint64_t moves, sums, opens;

/* The first few errors; a thread that met one ends. */
static int
failed(struct kevo *db, int rc, const char *what)
{
	if (rc == 0)
		return 0;
	if (atomic_fetch_add(&errors, 1) < 5)
		printf("# %s: %d: %s\n", what, rc, kevo_errmsg(db));
	atomic_store(&stop, 1);
	return 1;
}

static int
wrong(const char *what)
{
	if (atomic_fetch_add(&errors, 1) < 5)
		printf("# %s\n", what);
	atomic_store(&stop, 1);
	return 1;
}

static uint64_t
next(uint64_t *state)
{
	uint64_t z = (*state += 0x9e3779b97f4a7c15u);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

static void
account(unsigned i, char key[16])
{
	snprintf(key, 16, "account%02u", i);
}

/* ---- writers ----------------------------------------------------------- */

static int
get_amount(struct kevo_txn *t, unsigned i, int64_t *amount)
{
	struct kevo_record rec;
	char key[16], text[32];
	int rc;

	account(i, key);
	if ((rc = kevo_txn_get(t, key, strlen(key), &rec)) != 0)
		return rc;
	if (rec.vlen >= sizeof(text))
		return KEVO_ECORRUPT;
	memcpy(text, rec.value, rec.vlen);
	text[rec.vlen] = '\0';
	*amount = strtoll(text, NULL, 10);
	return 0;
}

static int
put_amount(struct kevo_txn *t, unsigned i, int64_t amount)
{
	char key[16], text[32];

	account(i, key);
	snprintf(text, sizeof(text), "%" PRId64, amount);
	return kevo_txn_put(t, key, strlen(key), text, strlen(text), 0);
}

static int
move(struct kevo *db, uint64_t *rng)
{
	static const enum kevo_sync modes[] = { KEVO_SYNC_NONE,
		KEVO_SYNC_NONE, KEVO_SYNC_BATCH, KEVO_SYNC_LATER };
	unsigned from = (unsigned)(next(rng) % ACCOUNTS);
	unsigned to = (unsigned)(next(rng) % ACCOUNTS);
	enum kevo_sync sync = next(rng) % 100 == 0 ? KEVO_SYNC_FULL :
	    modes[next(rng) % 4];
	int64_t a = 0, b = 0, n = (int64_t)(next(rng) % 50);
	struct kevo_txn *t;
	int rc;

	if (from == to)
		to = (to + 1) % ACCOUNTS;
	if (failed(db, kevo_txn_begin(db, NULL, &t), "begin"))
		return 1;
	if ((rc = get_amount(t, from, &a)) == 0 &&
	    (rc = get_amount(t, to, &b)) == 0 &&
	    (rc = put_amount(t, from, a - n)) == 0)
		rc = put_amount(t, to, b + n);
	if (rc != 0 || next(rng) % 10 == 0) {
		kevo_txn_abort(t);
		return failed(db, rc, "transaction");
	}
	return failed(db, kevo_txn_commit(t, sync, NULL), "commit");
}

static void *
writer(void *arg)
{
	uint64_t rng = *(uint64_t *)arg;
	struct kevo *db = NULL;

	while (!atomic_load(&stop)) {
		if (db == NULL && failed(db, kevo_open(path, 0, NULL, &db),
		    "open"))
			break;
		if (move(db, &rng))
			break;
		atomic_fetch_add(&moves, 1);
		if (next(&rng) % 200 == 0) {
			failed(NULL, kevo_close(db), "close");
			db = NULL;
			atomic_fetch_add(&opens, 1);
		}
	}
	failed(NULL, kevo_close(db), "close");
	return NULL;
}

/* ---- readers ----------------------------------------------------------- */

static int
add(const struct kevo_record *rec, int64_t *sum)
{
	char text[32];

	if (rec->vlen >= sizeof(text))
		return wrong("a value that nobody wrote");
	memcpy(text, rec->value, rec->vlen);
	text[rec->vlen] = '\0';
	*sum += strtoll(text, NULL, 10);
	return 0;
}

static int
sum_by_get(struct kevo *db, const struct kevo_snapshot *s, int64_t *sum)
{
	struct kevo_record rec;
	char key[16];

	*sum = 0;
	for (unsigned i = 0; i < ACCOUNTS; i++) {
		account(i, key);
		if (failed(db, kevo_peek(db, s, key, strlen(key), &rec),
		    "get") || add(&rec, sum))
			return 1;
	}
	return 0;
}

static int
sum_by_walk(struct kevo *db, const struct kevo_snapshot *s, int back,
    int64_t *sum)
{
	struct kevo_record rec;
	struct kevo_iter *it;
	int rc, n = 0;

	*sum = 0;
	if (failed(db, kevo_iter_new(db, s, NULL, &it), "iterator"))
		return 1;
	for (rc = back ? kevo_iter_last(it, &rec) :
	    kevo_iter_first(it, &rec); rc == 0; rc = back ?
	    kevo_iter_prev(it, &rec) : kevo_iter_next(it, &rec)) {
		add(&rec, sum);
		n++;
	}
	kevo_iter_free(it);
	if (rc != KEVO_NOTFOUND)
		return failed(db, rc, "walk");
	return n == ACCOUNTS ? 0 : wrong("the walk has other keys");
}

/* The same sum, and versions that never fall. */
static int
look(struct kevo *db, uint64_t *rng, uint64_t *version)
{
	struct kevo_snapshot *s;
	int64_t a, b;
	uint64_t v;
	int rc;

	if (next(rng) % 3 == 0) {
		rc = sum_by_walk(db, NULL, next(rng) % 2 == 0, &a);
		return rc != 0 ? rc : a == (int64_t)ACCOUNTS * START ? 0 :
		    wrong("an iterator's sum differs");
	}
	if (failed(db, kevo_snapshot_new(db, &s), "snapshot"))
		return 1;
	v = kevo_snapshot_version(s);
	if (v < *version)
		rc = wrong("a snapshot is older than one before");
	else if ((rc = sum_by_get(db, s, &a)) == 0 &&
	    (rc = sum_by_walk(db, s, next(rng) % 2 == 0, &b)) == 0 &&
	    (a != b || a != (int64_t)ACCOUNTS * START))
		rc = wrong("a snapshot's sum differs");
	*version = v;
	kevo_snapshot_free(s);
	return rc;
}

static void *
reader(void *arg)
{
	uint64_t rng = *(uint64_t *)arg, version = 0;
	struct kevo *db = NULL;

	while (!atomic_load(&stop)) {
		if (db == NULL && failed(db, kevo_open(path, KEVO_RDONLY,
		    NULL, &db), "open"))
			break;
		if (look(db, &rng, &version))
			break;
		atomic_fetch_add(&sums, 1);
		if (next(&rng) % 20 == 0) {
			kevo_close(db);
			db = NULL;
			atomic_fetch_add(&opens, 1);
		}
	}
	kevo_close(db);
	return NULL;
}

/* ---- all --------------------------------------------------------------- */

static void
create(void)
{
	static const char *const settings[] = { "memtable_bytes=64K", NULL };
	struct kevo_options opt = { .settings = settings };
	struct kevo *db;
	struct kevo_txn *t;

	snprintf(path, sizeof(path), "%s/db", tap_dir);
	if (kevo_open(path, KEVO_CREATE, &opt, &db) != 0 ||
	    kevo_txn_begin(db, NULL, &t) != 0)
		tap_bail("create: %s", kevo_errmsg(db));
	for (unsigned i = 0; i < ACCOUNTS; i++)
		put_amount(t, i, START);
	if (kevo_txn_commit(t, KEVO_SYNC_FULL, NULL) != 0)
		tap_bail("commit: %s", kevo_errmsg(db));
	kevo_close(db);
}

static void
run(int ms)
{
	pthread_t t[WRITERS + READERS];
	uint64_t seeds[WRITERS + READERS];

	atomic_store(&stop, 0);
	for (int i = 0; i < WRITERS + READERS; i++) {
		seeds[i] = tap_random();
		if (pthread_create(&t[i], NULL, i < WRITERS ? writer :
		    reader, &seeds[i]) != 0)
			tap_bail("no thread");
	}
	/* As long as that, and until all got on; but not for ever. */
	while ((ms > 0 || moves <= 50 || sums <= 50) && ms > -20000 &&
	    !atomic_load(&stop)) {
		nanosleep(&(struct timespec){ 0, 10000000 }, NULL);
		ms -= 10;
	}
	atomic_store(&stop, 1);
	for (int i = 0; i < WRITERS + READERS; i++)
		pthread_join(t[i], NULL);
}

int
main(void)
{
	struct kevo_stats st;
	struct kevo *db;
	int64_t sum = 0;

	tap_start("threads");
	create();
	run(1200);
	tap_note("%" PRIu64 " moves, %" PRIu64 " sums, %" PRIu64
	    " handles opened anew", moves, sums, opens);
	tap_ok(errors == 0, "threads: the sum is the same in every snapshot");
	tap_ok(moves > 50 && sums > 50, "threads: all of them got on");
	expect(kevo_open(path, KEVO_RDONLY, NULL, &db) == 0 &&
	    kevo_stats(db, &st) == 0 && st.visible == st.appended &&
	    moves > 50);
	expect(sum_by_get(db, NULL, &sum) == 0 &&
	    sum == (int64_t)ACCOUNTS * START);
	kevo_close(db);
	tap_report("threads: and in the end");
	return tap_end();
}
