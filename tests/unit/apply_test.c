/*
 * Verbatim records: a primary's log applied in random pieces, killed at
 * random, compared byte by byte; and everything that must be refused, each
 * by its own name.  KEVO_SEED repeats a run.
 */
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "replica.h"
#include "stats.h"

static struct log primary;

static void
make_primary(size_t commits)
{
	struct kevo *db = open_it("p", KEVO_CREATE);

	must(db, kevo_close(db), "close");
	copy_db("p", "empty", REPLICA_ROLE);
	db = open_it("p", 0);
	while (commits-- > 0)
		commit_some(db, 300, tap_below(50) == 0 ? 90000 : 900);
	must(db, kevo_sync(db), "sync");
	must(db, kevo_close(db), "close");
	log_read(&primary, "p");
}

static struct kv_applier *
begin(struct kevo *db)
{
	struct kv_applier *a;

	must(db, kv_applier_open(db, &a), "applier");
	return a;
}

static int
is_at(struct kevo *db, size_t n)
{
	struct kv_position want = log_at(&primary, n), p;

	if (n == primary.n || n == 0)
		want = log_at(&primary, n == 0 ? 0 : n);
	return kv_position_now(db, KV_AT_VISIBLE, &p) == 0 &&
	    p.seq == want.seq && p.chain == want.chain;
}

static void
test_pieces(void)
{
	struct kevo *db;
	struct kv_applier *a;
	struct kv_applied out;
	size_t n = 0, at = 0;

	run_cmd("cp -r %s %s", in_dir("empty"), in_dir("r1"));
	db = open_it("r1", 0);
	a = begin(db);
	while (at < primary.n) {
		size_t from = at - tap_below(at < 20 ? at + 1 : 20);
		size_t to = from + tap_below(60);

		if (to > primary.n)
			to = primary.n;
		if (!expect(apply_piece(a, &primary, from, to,
		    tap_below(3) ? KEVO_SYNC_NONE : KEVO_SYNC_FULL, &out) == 0
		    && out.why == KV_APPLY_DONE)) {
			tap_note("%s", kevo_errmsg(db));
			break;
		}
		expect(out.applied == (to > at ? to - at : 0) &&
		    out.skipped == (to > at ? at : to) - from);
		if (to > at)
			at = to;
		expect(is_at(db, at));
		if (tap_below(40) == 0) {
			kv_applier_close(a);
			kevo_close(db);
			if (tap_below(2))
				run_cmd("rm -rf %s/shm", in_dir("r1"));
			db = open_it("r1", 0);
			a = begin(db);
		}
		if (tap_below(40) == 0)
			must(db, kevo_compact(db, NULL, NULL), "compact");
	}
	kv_applier_close(a);
	kevo_close(db);
	expect(contents("r1") == contents("p"));
	tap_report("pieces: random ones end in what the primary has");
	run_cmd("rm -rf %s && cp -r %s %s", in_dir("r1"), in_dir("empty"),
	    in_dir("r1"));
	db = open_it("r1", 0);
	a = begin(db);
	expect(apply_piece(a, &primary, 0, primary.n, KEVO_SYNC_FULL, &out) ==
	    0 && out.applied == primary.n);
	kv_applier_close(a);
	kevo_close(db);
	expect(log_is_prefix(&primary, "r1", &n) && n == primary.n);
	expect(contents("r1") == contents("p"));
	tap_report("pieces: all at once is byte for byte the primary's log");
}

/* ---- killed ------------------------------------------------------------ */

static void
apply_until_killed(size_t at, size_t most)
{
	struct kevo *db = open_it("k", 0);
	struct kv_applier *a = begin(db);
	struct kv_applied out;

	while (at < primary.n) {
		size_t to = at + 1 + tap_below(most);

		if (to > primary.n)
			to = primary.n;
		if (apply_piece(a, &primary, at, to, KEVO_SYNC_FULL, &out) !=
		    0)
			_exit(3);
		at = to;
	}
	_exit(0);
}

/* A reader that is there all the time never sees half of a commit: where the
 * newest one is, its chain is the primary's. */
static size_t
read_back(void)
{
	struct kevo *db = open_it("k", KEVO_RDONLY);
	struct kv_position p;

	must(db, kv_position_now(db, KV_AT_VISIBLE, &p), "position");
	expect(p.seq <= primary.n && p.chain == log_at(&primary,
	    (size_t)p.seq).chain);
	kevo_close(db);
	return (size_t)p.seq;
}

static void
test_kills(void)
{
	size_t most = getenv("KEVO_LONG") != NULL ? 1000 : 80;
	size_t at = 0, n, rounds = 0, killed = 0;
	struct kevo *db;

	run_cmd("cp -r %s %s", in_dir("empty"), in_dir("k"));
	while (at < primary.n && rounds++ < most) {
		struct timespec ts = { 0, (long)tap_below(4000000) };
		pid_t pid;
		int st;

		tap_random();
		if ((pid = fork()) == 0)
			apply_until_killed(at, 1 + rounds % 40);
		nanosleep(&ts, NULL);
		kill(pid, SIGKILL);
		waitpid(pid, &st, 0);
		killed += WIFSIGNALED(st);
		expect(WIFSIGNALED(st) || WEXITSTATUS(st) == 0);
		if (tap_below(4) == 0)
			run_cmd("rm -rf %s/shm", in_dir("k"));
		n = read_back();
		expect(n >= at);
		/* The next applier finishes what the dead one began. */
		db = open_it("k", 0);
		must(db, kevo_seal(db, NULL) < 0 ? -1 : 0, "repair");
		kevo_close(db);
		at = read_back();
		expect(at >= n);
		if (tap_bad > 0)
			break;
	}
	expect(killed > 3);
	expect(log_is_prefix(&primary, "k", &n));
	tap_report("kill: what was killed and taken up again is a prefix");
}

/* ---- read meanwhile ---------------------------------------------------- */

#define WHOLE_KEYS	5

static void
put_whole(struct kevo *db, unsigned i)
{
	struct kevo_batch *b;
	char key[2] = "a", val[1200];

	must(db, kevo_batch_new(db, &b), "batch");
	memset(val, 'x', sizeof(val));
	memcpy(val, &i, sizeof(i));
	for (int k = 0; k < WHOLE_KEYS; k++) {
		key[0] = (char)('a' + k);
		must(db, kevo_batch_put(b, key, 1, val, sizeof(val), 0),
		    "put");
	}
	must(db, kevo_commit(db, b, KEVO_SYNC_NONE, NULL), "commit");
	kevo_batch_free(b);
}

static void
apply_all_slowly(const struct log *l)
{
	struct kevo *db = open_it("rr", 0);
	struct kv_applier *a = begin(db);
	struct kv_applied out;
	size_t at = 0;

	while (at < l->n) {
		size_t to = at + 1 + tap_below(12);

		if (to > l->n)
			to = l->n;
		if (apply_piece(a, l, at, to, tap_below(2) ? KEVO_SYNC_FULL :
		    KEVO_SYNC_NONE, &out) != 0)
			_exit(3);
		at = to;
	}
	kv_applier_close(a);
	_exit(kevo_close(db) != 0);
}

/* All keys of one snapshot are of one commit, and it never goes back. */
static unsigned
read_whole(struct kevo *db, unsigned before)
{
	unsigned first = 0, v;
	struct kevo_record rec;
	struct kevo_iter *it;
	int n = 0;

	must(db, kevo_iter_new(db, NULL, NULL, &it), "iterate");
	while (kevo_iter_next(it, &rec) == 0) {
		memcpy(&v, rec.value, sizeof(v));
		if (n++ == 0)
			first = v;
		expect(v == first);
	}
	kevo_iter_free(it);
	expect((n == 0 && before == 0) || (n == WHOLE_KEYS &&
	    first >= before));
	return first;
}

static void
test_readers(void)
{
	unsigned last = 0, seen = 0;
	struct kevo *db;
	struct log l;
	pid_t pid;
	int st = 0;

	db = open_it("pp", KEVO_CREATE);
	must(db, kevo_close(db), "close");
	copy_db("pp", "rr", REPLICA_ROLE);
	db = open_it("pp", 0);
	for (unsigned i = 1; i <= 1500; i++)
		put_whole(db, i);
	kevo_close(db);
	log_read(&l, "pp");
	if ((pid = fork()) == 0)
		apply_all_slowly(&l);
	db = open_it("rr", KEVO_RDONLY);
	while (waitpid(pid, &st, WNOHANG) == 0) {
		unsigned v = read_whole(db, last);

		seen += v != last;
		last = v;
	}
	expect(WIFEXITED(st) && WEXITSTATUS(st) == 0);
	expect(read_whole(db, last) == 1500 && seen > 2);
	kevo_close(db);
	log_free(&l);
	tap_report("readers: beside an applier they see whole commits alone");
}

/* ---- refused ----------------------------------------------------------- */

/* A replica with the first half of the log. */
static struct kevo *
half(const char *name, size_t *n)
{
	struct kv_applied out;
	struct kv_applier *a;
	struct kevo *db;

	run_cmd("rm -rf %s && cp -r %s %s", in_dir(name), in_dir("empty"),
	    in_dir(name));
	db = open_it(name, 0);
	a = begin(db);
	*n = primary.n / 2;
	must(db, apply_piece(a, &primary, 0, *n, KEVO_SYNC_FULL, &out),
	    "apply half");
	kv_applier_close(a);
	return db;
}

static void
test_damage(void)
{
	struct kv_apply_from from;
	struct kv_applied out;
	struct kv_applier *a;
	struct kevo *db;
	size_t n, len, first;
	uint8_t *b;

	db = half("d", &n);
	a = begin(db);
	memcpy(from.db, primary.id, 16);
	from.before = log_at(&primary, n);
	b = log_piece(&primary, n, n + 3, &len);
	first = primary.r[n].len;
	for (size_t bit = 0; bit < len * 8; bit += 1 + tap_below(40)) {
		int rc;

		b[bit / 8] ^= (uint8_t)(1 << bit % 8);
		rc = kv_apply(a, &from, b, len, KEVO_SYNC_NONE, &out);
		expect(rc == KEVO_EINVAL && out.why == KV_APPLY_CORRUPT &&
		    out.applied == 0 && out.off <= bit / 8);
		b[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	for (size_t cut = 1; cut < len; cut += 1 + tap_below(30)) {
		int rc = kv_apply(a, &from, b, cut, KEVO_SYNC_NONE, &out);

		if (cut == first || cut == first + primary.r[n + 1].len)
			expect(rc == 0);
		else
			expect(rc == KEVO_EINVAL && out.why ==
			    KV_APPLY_CORRUPT && out.applied == 0);
	}
	free(b);
	kv_applier_close(a);
	kevo_close(db);
	expect(log_is_prefix(&primary, "d", &n));
	tap_report("refused: any bit flipped, and any length but a whole one");
}

static void
test_refused(void)
{
	struct kv_apply_from from;
	struct kv_applied out;
	struct kv_applier *a;
	struct kevo *db;
	size_t n, len;
	uint8_t *b;

	db = half("e", &n);
	a = begin(db);
	expect(apply_piece(a, &primary, n + 2, n + 5, KEVO_SYNC_NONE, &out) ==
	    KEVO_EHISTORY && out.why == KV_APPLY_GAP && out.expected == n + 1
	    && out.found == n + 3);
	tap_report("refused: a gap, which names the first missing commit");
	memcpy(from.db, primary.id, 16);
	from.before = log_at(&primary, n);
	b = log_piece(&primary, n, n + 3, &len);
	from.db[3] ^= 1;
	expect(kv_apply(a, &from, b, len, KEVO_SYNC_NONE, &out) ==
	    KEVO_EHISTORY && out.why == KV_APPLY_WRONG_DB);
	from.db[3] ^= 1;
	from.before.epoch++;
	expect(kv_apply(a, &from, b, len, KEVO_SYNC_NONE, &out) ==
	    KEVO_EHISTORY && out.why == KV_APPLY_NO_EPOCH);
	free(b);
	tap_report("refused: another database, an unknown epoch");
	expect(apply_piece(a, &primary, 0, n, KEVO_SYNC_NONE, &out) == 0 &&
	    out.skipped == n && out.applied == 0 && is_at(db, n));
	expect(apply_piece(a, &primary, 3, 3, KEVO_SYNC_NONE, &out) == 0);
	tap_report("skipped: what is here already, with the same chain");
	kv_applier_close(a);
	kevo_close(db);
}

/* Two writers from the same beginning. */
static void
test_fork(void)
{
	struct kv_applied out;
	struct kv_applier *a;
	struct log other;
	struct kevo *db;
	size_t n;

	db = half("f", &n);
	kevo_close(db);
	copy_db("f", "g", NULL);
	db = open_it("g", 0);
	for (int i = 0; i < 20; i++)
		commit_some(db, 10, 100);
	kevo_close(db);
	log_read(&other, "g");
	/* f takes three of the primary's, then hears of g's. */
	db = open_it("f", 0);
	a = begin(db);
	expect(apply_piece(a, &primary, n, n + 3, KEVO_SYNC_NONE, &out) == 0);
	expect(apply_piece(a, &other, n, n + 10, KEVO_SYNC_NONE, &out) ==
	    KEVO_EHISTORY && out.why == KV_APPLY_FORK && out.seq == n + 3 &&
	    out.applied == 0);
	expect(apply_piece(a, &other, n, n + 2, KEVO_SYNC_NONE, &out) ==
	    KEVO_EHISTORY && out.why == KV_APPLY_FORK && out.seq == n + 2);
	expect(apply_piece(a, &other, n + 3, n + 5, KEVO_SYNC_NONE, &out) ==
	    KEVO_EHISTORY && out.why == KV_APPLY_FORK);
	expect(is_at(db, n + 3));
	kv_applier_close(a);
	kevo_close(db);
	log_free(&other);
	tap_report("refused: a copy that was written to is a fork");
}

static void
test_roles(void)
{
	static const char *const roles[] = { "primary\\n", "fenced\\n" };
	struct kv_applied out;
	struct kv_applier *a;
	struct kevo *db;
	size_t n;

	db = half("w", &n);
	expect(kevo_put(db, "a", 1, "b", 1, NULL, NULL) == KEVO_EPERM &&
	    strstr(kevo_errmsg(db), "db1") != NULL);
	expect(kevo_compact(db, NULL, NULL) == 0);
	kevo_close(db);
	tap_report("role: a writer is told the name of the primary");
	for (int i = 0; i < 2; i++) {
		copy_db("w", "w2", roles[i]);
		db = open_it("w2", 0);
		a = begin(db);
		expect(apply_piece(a, &primary, n, n + 1, KEVO_SYNC_NONE, &out)
		    == KEVO_EPERM && out.why == KV_APPLY_ROLE);
		kv_applier_close(a);
		expect(kevo_put(db, "a", 1, "b", 1, NULL, NULL) ==
		    (i == 0 ? 0 : KEVO_EPERM));
		kevo_close(db);
		run_cmd("rm -rf %s", in_dir("w2"));
	}
	tap_report("role: nothing is applied to a primary or a fenced one");
	copy_db("w", "w2", "duck\\n");
	db = open_it("w2", 0);
	expect(kevo_put(db, "a", 1, "b", 1, NULL, NULL) == KEVO_ECORRUPT);
	kevo_close(db);
	tap_report("role: a damaged file lets nobody write");
}

/* ---- epochs ------------------------------------------------------------ */

static void
test_epochs(void)
{
	char text[KV_EPOCH_TEXT_MAX];
	struct kv_position p;
	struct kv_applied out;
	struct kv_applier *a;
	struct kv_epoch e;
	struct kevo *db;
	size_t n, len;

	db = half("h", &n);
	a = begin(db);
	memset(&e, 0, sizeof(e));
	memcpy(e.db, primary.id, 16);
	e.epoch = 2;
	e.nonce = tap_random();
	e.parent = 1;
	e.parent_nonce = primary.r[0].nonce;
	e.start = n - 2;
	e.chain = primary.r[n - 3].chain;
	strcpy(e.host, "db2");
	strcpy(e.reason, "a test");
	len = kv_epoch_print(text, &e);
	expect(kv_apply_epoch(a, text, len, &out) == KEVO_EHISTORY &&
	    out.why == KV_APPLY_AHEAD && out.expected == n - 2 &&
	    out.found == n);
	e.start = n;
	e.chain = primary.r[n - 1].chain ^ 1;
	len = kv_epoch_print(text, &e);
	expect(kv_apply_epoch(a, text, len, &out) == KEVO_EHISTORY &&
	    out.why == KV_APPLY_FORK);
	e.chain ^= 1;
	e.epoch = 3;
	e.parent = 2;
	len = kv_epoch_print(text, &e);
	expect(kv_apply_epoch(a, text, len, &out) == KEVO_EHISTORY &&
	    out.why == KV_APPLY_NO_EPOCH);
	e.epoch = 2;
	e.parent = 1;
	len = kv_epoch_print(text, &e);
	text[40] ^= 1;
	expect(kv_apply_epoch(a, text, len, &out) == KEVO_EINVAL &&
	    out.why == KV_APPLY_CORRUPT);
	text[40] ^= 1;
	tap_report("epoch: one that does not fit is refused, each by its name");
	expect(kv_apply_epoch(a, text, len, &out) == 0);
	expect(kv_apply_epoch(a, text, len, &out) == 0);
	expect(apply_piece(a, &primary, n, n + 2, KEVO_SYNC_NONE, &out) ==
	    KEVO_EHISTORY && out.why == KV_APPLY_ORPHANED && out.expected == n
	    && out.found == n + 2 && out.applied == 0);
	expect(apply_piece(a, &primary, n - 2, n, KEVO_SYNC_NONE, &out) == 0);
	e.nonce ^= 1;
	len = kv_epoch_print(text, &e);
	expect(kv_apply_epoch(a, text, len, &out) == KEVO_EHISTORY &&
	    out.why == KV_APPLY_FORK);
	expect(kv_position_now(db, KV_AT_SYNCED, &p) == 0 && p.epoch == 1 &&
	    p.seq == n);
	tap_report("epoch: what the old line has behind the fork is orphaned");
	kv_applier_close(a);
	kevo_close(db);
}

/* Claims of durability in copied records are another disk's. */
static void
test_torn(void)
{
	char file[400];
	struct kevo *db;
	size_t n, len, m;
	uint64_t c = 1;
	uint8_t *b, *at;
	FILE *f;

	db = half("t", &n);
	kevo_close(db);
	run_cmd("rm -rf %s/shm", in_dir("t"));
	while (has_segment("t", c, file, sizeof(file)))
		c++;
	has_segment("t", c - 1, file, sizeof(file));
	b = read_bytes(file, &len);
	for (m = n; m > 0; m--) {
		at = memmem(b, len, primary.r[m - 1].p, primary.r[m - 1].len);
		if (at == NULL)
			break;
	}
	/* Tear the second record of the segment: the later ones are whole. */
	at = memmem(b, len, primary.r[m + 1].p, 40);
	expect(at != NULL && m + 3 < n);
	f = fopen(file, "r+");
	if (f == NULL || fseek(f, (long)(at - b) + 9, SEEK_SET) != 0 ||
	    fputc(0xee, f) == EOF || fclose(f) != 0)
		tap_bail("%s cannot be damaged", file);
	free(b);
	db = open_it("t", 0);
	kevo_close(db);
	expect(log_is_prefix(&primary, "t", &n) && n == m + 1);
	tap_report("torn: a copied tail is cut, and fetched again");
}

int
main(void)
{
	tap_start("apply");
	make_primary(400);
	test_pieces();
	test_kills();
	test_readers();
	test_damage();
	test_refused();
	test_fork();
	test_roles();
	test_epochs();
	test_torn();
	log_free(&primary);
	return tap_end();
}
