/*
 * kill_random: writers and readers in many processes, killed at random.
 *
 * A writer's slot outlives its processes: before each call it notes in
 * memory shared with all what it is going to do, and afterwards that it was
 * acknowledged.  Whoever reads compares a snapshot with these notes: what
 * was acknowledged before the snapshot is in it, nothing that was not yet
 * begun after it is, batches are whole, transfers keep their total.
 *
 * Kills prove their point only if they interrupt something, so they are
 * counted by whether the victim was inside a call.
 *
 *   kill_random             writers and readers
 *   kill_random compact     and besides them processes that compact, which
 *                           are killed most of all
 *
 * KEVO_SECONDS (6, or KEVO_LONG_SECONDS with KEVO_LONG=1) is how long.
 */
#include <sys/mman.h>

#include "kill_random.h"

/* ---- writers ------------------------------------------------------------ */

static enum kevo_sync
some_sync(void)
{
	static const enum kevo_sync modes[] = { KEVO_SYNC_FULL,
	    KEVO_SYNC_FULL, KEVO_SYNC_BATCH, KEVO_SYNC_NONE };

	return modes[rnd(4)];
}

static uint64_t
begin(struct notes *w, int what)
{
	uint64_t n = atomic_load(&w->begun[what]) + 1;

	atomic_store(&w->begun[what], n);
	atomic_store(&w->inside, what + 1);
	return n;
}

static void
acknowledge(struct notes *w, int what, uint64_t n)
{
	atomic_store(&w->acked[what], n);
	atomic_store(&w->inside, 0);
}

static void
write_single(struct kevo *db, struct notes *w, int slot)
{
	static char val[VALUE_ROOM];
	struct kevo_write how = { .sync = some_sync() };
	unsigned i = rnd(KEYS);
	uint64_t n = begin(w, PUT + (int)i);
	char key[64];
	size_t klen = key_of(key, "s", slot, i);

	check(db, kevo_put(db, key, klen, val, make_value(val, key, n), &how,
	    NULL), "put");
	acknowledge(w, PUT + (int)i, n);
}

/* BATCH keys of one number; one more that each third batch deletes. */
static void
write_batch(struct kevo *db, struct notes *w, int slot)
{
	static char val[VALUE_ROOM];
	uint64_t n = begin(w, BATCHED);
	struct kevo_batch *b;
	char key[64];
	size_t klen;

	check(db, kevo_batch_new(db, &b), "batch");
	for (unsigned i = 0; i <= BATCH; i++) {
		klen = key_of(key, "b", slot, i);
		if (i == BATCH && n % 3 == 0)
			check(db, kevo_batch_delete(b, key, klen), "batch");
		else
			check(db, kevo_batch_put(b, key, klen, val,
			    make_value(val, key, n), 0), "batch");
	}
	check(db, kevo_commit(db, b, some_sync(), NULL), "commit");
	kevo_batch_free(b);
	acknowledge(w, BATCHED, n);
}

/* Keys 1, 2, 3, ...: an interrupted one is written again. */
static void
write_grow(struct kevo *db, struct notes *w, int slot)
{
	static char val[VALUE_ROOM];
	struct kevo_write how = { .sync = some_sync() };
	uint64_t n = atomic_load(&w->acked[GROW]) + 1;
	char key[64];
	size_t klen = key_of(key, "g", slot, (unsigned)n);

	if (n > GROW_MAX)
		return;
	atomic_store(&w->begun[GROW], n);
	atomic_store(&w->inside, GROW + 1);
	check(db, kevo_put(db, key, klen, val, make_value(val, key, n), &how,
	    NULL), "put");
	acknowledge(w, GROW, n);
}

/* A key that is there after odd numbers only. */
static void
write_flip(struct kevo *db, struct notes *w, int slot)
{
	static char val[VALUE_ROOM];
	struct kevo_write how = { .sync = some_sync() };
	uint64_t n = begin(w, FLIP);
	char key[64];
	size_t klen = key_of(key, "f", slot, 0);

	if (n % 2 == 1)
		check(db, kevo_put(db, key, klen, val,
		    make_value(val, key, n), &how, NULL), "put");
	else
		check(db, kevo_delete(db, key, klen, &how, NULL), "delete");
	acknowledge(w, FLIP, n);
}

static int64_t
txn_number(struct kevo *db, struct kevo_txn *t, const char *key)
{
	struct kevo_record rec;

	check(db, kevo_txn_get(t, key, strlen(key), &rec), key);
	return number_in(rec.value, rec.vlen);
}

static void
txn_set(struct kevo *db, struct kevo_txn *t, const char *key, int64_t n)
{
	char val[32];

	snprintf(val, sizeof(val), "%lld", (long long)n);
	check(db, kevo_txn_put(t, key, strlen(key), val, strlen(val), 0),
	    "put in a transaction");
}

/* One counter for all writers. */
static void
write_incr(struct kevo *db, struct notes *w)
{
	struct kevo_txn *t;

	begin(w, INCR);
	check(db, kevo_txn_begin(db, NULL, &t), "begin");
	txn_set(db, t, "counter", txn_number(db, t, "counter") + 1);
	check(db, kevo_txn_commit(t, some_sync(), NULL), "commit");
	/* What was interrupted is not counted. */
	acknowledge(w, INCR, atomic_load(&w->acked[INCR]) + 1);
}

/* Between two accounts; the total stays.  Some change their mind. */
static void
write_transfer(struct kevo *db, struct notes *w)
{
	uint64_t n = begin(w, TRANSFER);
	int amount = (int)rnd(50);
	char from[64], to[64];
	unsigned a = rnd(ACCOUNTS), b = (a + 1 + rnd(ACCOUNTS - 1)) % ACCOUNTS;
	struct kevo_txn *t;

	key_of(from, "acct", 0, a);
	key_of(to, "acct", 0, b);
	check(db, kevo_txn_begin(db, NULL, &t), "begin");
	txn_set(db, t, from, txn_number(db, t, from) - amount);
	txn_set(db, t, to, txn_number(db, t, to) + amount);
	if (rnd(6) == 0) {
		txn_set(db, t, "never", 1);
		check(db, kevo_txn_abort(t), "abort");
	} else
		check(db, kevo_txn_commit(t, some_sync(), NULL), "commit");
	acknowledge(w, TRANSFER, n);
}

/* A false condition writes nothing. */
static void
write_false(struct kevo *db)
{
	struct kevo_write how = { .cond = { .kind = KEVO_IF_ABSENT } };
	int rc = kevo_put(db, "counter", 7, "oops", 4, &how, NULL);

	if (rc != KEVO_FALSE)
		fail("a false condition answers %d: %s", rc, kevo_errmsg(db));
}

static struct kevo *
open_or_fail(unsigned flags)
{
	struct kevo_options opt = { .program = "kill_random",
		.compactor = "" };
	struct kevo *db;
	int rc = kevo_open(path, flags, &opt, &db);

	check(db, rc, "open");
	return db;
}

static void
write_once(struct kevo *db, struct notes *w, int slot)
{
	switch (rnd(8)) {
	case 0:
	case 1:
		write_single(db, w, slot);
		break;
	case 2:
	case 3:
		write_batch(db, w, slot);
		break;
	case 4:
		write_grow(db, w, slot);
		break;
	case 5:
		write_flip(db, w, slot);
		break;
	case 6:
		write_incr(db, w);
		break;
	default:
		write_transfer(db, w);
	}
	if (rnd(32) == 0)
		write_false(db);
}

static void
writer_main(int slot)
{
	struct notes *w = &shared->writer[slot];

	for (;;) {
		uint64_t n = begin(w, OPEN_CLOSE);
		struct kevo *db = open_or_fail(0);
		unsigned times = 1 + rnd(200);

		acknowledge(w, OPEN_CLOSE, n);
		while (times-- > 0) {
			write_once(db, w, slot);
			if (rnd(2) == 0)
				nap_us(rnd(1500));
		}
		n = begin(w, OPEN_CLOSE);
		check(NULL, kevo_close(db), "close");
		acknowledge(w, OPEN_CLOSE, n);
	}
}

/* ---- readers ------------------------------------------------------------ */

/* One look: the notes before it, and the snapshot. */
struct sight {
	struct kevo *db;
	struct kevo_snapshot *snap;
	uint64_t acked[WRITERS][WHATS];
};

static void
note_acked(struct sight *s)
{
	for (int i = 0; i < WRITERS; i++)
		for (int j = 0; j < WHATS; j++)
			s->acked[i][j] =
			    atomic_load(&shared->writer[i].acked[j]);
}

/* The value's number; 0 if the key is absent. */
static uint64_t
read_number(struct sight *s, const char *key, size_t klen)
{
	uint64_t n;
	void *val;
	size_t len;
	int rc = kevo_get(s->db, s->snap, key, klen, &val, &len);

	if (rc == KEVO_NOTFOUND)
		return 0;
	check(s->db, rc, "get");
	n = number_of(key, val, len);
	kevo_free(val);
	return n;
}

static int64_t
read_plain(struct sight *s, const char *key)
{
	int64_t n;
	void *val;
	size_t len;

	check(s->db, kevo_get(s->db, s->snap, key, strlen(key), &val, &len),
	    key);
	n = strtoll(val, NULL, 10);
	kevo_free(val);
	return n;
}

static void
check_between(struct sight *s, int slot, int what, const char *key,
    uint64_t n)
{
	uint64_t acked = s->acked[slot][what];
	uint64_t begun = atomic_load(&shared->writer[slot].begun[what]);

	if (n < acked)
		fail("%s is %llu where %llu was acknowledged", key,
		    (unsigned long long)n, (unsigned long long)acked);
	if (n > begun)
		fail("%s is %llu where %llu was begun last", key,
		    (unsigned long long)n, (unsigned long long)begun);
}

static void
check_batch(struct sight *s, int slot)
{
	uint64_t first = 0, n;
	char key[64];
	size_t klen;

	for (unsigned i = 0; i <= BATCH; i++) {
		klen = key_of(key, "b", slot, i);
		n = read_number(s, key, klen);
		if (i == 0)
			check_between(s, slot, BATCHED, key, first = n);
		else if (n != (i == BATCH && first % 3 == 0 ? 0 : first))
			fail("%s is of batch %llu beside one of batch %llu",
			    key, (unsigned long long)n,
			    (unsigned long long)first);
	}
}

/* As a walk over its range: no key missing between the first and last. */
static void
check_grow(struct sight *s, int slot)
{
	char from[64], to[64], key[64];
	struct kevo_range range = { from, 0, to, 0 };
	struct kevo_record rec;
	struct kevo_iter *it;
	uint64_t n = 0;
	int rc;

	range.from_len = (size_t)snprintf(from, 64, "g:%d:", slot);
	range.to_len = (size_t)snprintf(to, 64, "g:%d;", slot);
	check(s->db, kevo_iter_new(s->db, s->snap, &range, &it), "iterator");
	while ((rc = kevo_iter_next(it, &rec)) == 0) {
		size_t klen = key_of(key, "g", slot, (unsigned)++n);

		if (rec.klen != klen || memcmp(rec.key, key, klen) != 0)
			fail("a walk finds %.*s where %s must be",
			    (int)rec.klen, (const char *)rec.key, key);
		number_of(key, rec.value, rec.vlen);
	}
	if (rc != KEVO_NOTFOUND)
		check(s->db, rc, "a walk");
	kevo_iter_free(it);
	check_between(s, slot, GROW, from, n);
}

static void
check_flip(struct sight *s, int slot)
{
	char key[64];
	size_t klen = key_of(key, "f", slot, 0);
	uint64_t acked = s->acked[slot][FLIP];
	uint64_t n = read_number(s, key, klen);

	if (n != 0)
		check_between(s, slot, FLIP, key, n);
	else if (atomic_load(&shared->writer[slot].begun[FLIP]) == acked &&
	    acked % 2 == 1)
		fail("%s is absent after put %llu", key,
		    (unsigned long long)acked);
	if (n != 0 && n % 2 == 0)
		fail("%s is there with an even number", key);
}

static void
check_totals(struct sight *s)
{
	uint64_t acked = 0, begun = 0, n = (uint64_t)read_plain(s, "counter");
	int64_t total = 0;
	char key[64];
	void *val;
	size_t len;

	for (int i = 0; i < WRITERS; i++) {
		acked += s->acked[i][INCR];
		begun += atomic_load(&shared->writer[i].begun[INCR]);
	}
	if (n < acked || n > begun)
		fail("the counter is %llu after %llu acknowledged and %llu "
		    "begun increments", (unsigned long long)n,
		    (unsigned long long)acked, (unsigned long long)begun);
	for (unsigned i = 0; i < ACCOUNTS; i++) {
		key_of(key, "acct", 0, i);
		total += read_plain(s, key);
	}
	if (total != ACCOUNTS * OPENING)
		fail("the accounts' total is %lld", (long long)total);
	if (kevo_get(s->db, s->snap, "never", 5, &val, &len) !=
	    KEVO_NOTFOUND)
		fail("an aborted transaction's write is there");
}

/* A sum over all records but the last, the same in both directions. */
static uint64_t
walk_sum(struct sight *s, int back, uint64_t *count)
{
	struct kevo_record rec;
	struct kevo_iter *it;
	char last[64] = "";
	uint64_t sum = 0;
	int rc;

	*count = 0;
	check(s->db, kevo_iter_new(s->db, s->snap, NULL, &it), "iterator");
	while ((rc = back ? kevo_iter_prev(it, &rec) :
	    kevo_iter_next(it, &rec)) == 0) {
		uint64_t h = rec.version * 31 + rec.vlen;
		char key[64];

		snprintf(key, sizeof(key), "%.*s", (int)rec.klen,
		    (const char *)rec.key);
		if (*count > 0 && (back ? strcmp(key, last) >= 0 :
		    strcmp(key, last) <= 0))
			fail("a walk finds %s after %s", key, last);
		if (rec.version > kevo_snapshot_version(s->snap))
			fail("%s is newer than the snapshot", key);
		strcpy(last, key);
		if (strcmp(key, "zz") == 0)
			continue;
		for (const char *p = key; *p != '\0'; p++)
			h = h * 1000003 + (uint8_t)*p;
		sum += h;
		++*count;
	}
	if (rc != KEVO_NOTFOUND)
		check(s->db, rc, "a walk");
	kevo_iter_free(it);
	return sum;
}

/* All that must hold of the database now; its sum by *sum if not NULL. */
static uint64_t
check_snapshot(struct kevo *db, uint64_t at_least, uint64_t *sum)
{
	struct sight s = { .db = db };
	uint64_t version, forth, back;
	char key[64];

	note_acked(&s);
	check(db, kevo_snapshot_new(db, &s.snap), "snapshot");
	version = kevo_snapshot_version(s.snap);
	if (version < at_least)
		fail("version %llu comes after %llu",
		    (unsigned long long)version,
		    (unsigned long long)at_least);
	for (int i = 0; i < WRITERS; i++) {
		for (unsigned j = 0; j < KEYS; j++) {
			size_t klen = key_of(key, "s", i, j);

			check_between(&s, i, PUT + (int)j, key,
			    read_number(&s, key, klen));
		}
		check_batch(&s, i);
		check_grow(&s, i);
		check_flip(&s, i);
	}
	check_totals(&s);
	if (sum != NULL || rnd(4) == 0) {
		uint64_t a = walk_sum(&s, 0, &forth);
		uint64_t b = walk_sum(&s, 1, &back);

		if (a != b || forth != back)
			fail("%llu records forth and %llu back differ",
			    (unsigned long long)forth,
			    (unsigned long long)back);
		if (sum != NULL)
			*sum = a;
	}
	kevo_snapshot_free(s.snap);
	atomic_fetch_add(&shared->snapshots, 1);
	return version;
}

/* What a snapshot shows stays the same while files come and go. */
static void
check_kept(struct kevo *db)
{
	struct sight s = { .db = db };
	uint64_t forth, back, before, after;

	check(db, kevo_snapshot_new(db, &s.snap), "snapshot");
	before = walk_sum(&s, 0, &forth);
	nap_us(rnd(50000));
	after = walk_sum(&s, 1, &back);
	if (before != after || forth != back)
		fail("%llu records of a snapshot became %llu, or others",
		    (unsigned long long)forth, (unsigned long long)back);
	kevo_snapshot_free(s.snap);
}

static void
reader_main(int slot)
{
	uint64_t version = 0;

	for (;;) {
		struct kevo *db = open_or_fail(slot == 0 ? 0 : KEVO_RDONLY);
		unsigned times = 1 + rnd(20);

		while (times-- > 0) {
			version = check_snapshot(db, version, NULL);
			if (rnd(8) == 0)
				check_kept(db);
			nap_us(rnd(3000));
		}
		check(NULL, kevo_close(db), "close");
	}
}

/* ---- compactors --------------------------------------------------------- */

static void
compact_once(struct kevo *db, int slot)
{
	static const unsigned flags[] = { 0, 0, 0, KEVO_COMPACT_FLUSH,
	    KEVO_COMPACT_FULL };
	struct kevo_compact c = { .flags = flags[rnd(5)] };
	struct kevo_compact_progress p;
	int rc;

	atomic_store(&shared->compacting[slot], 1);
	rc = kevo_compact(db, &c, &p);
	atomic_store(&shared->compacting[slot], 0);
	if (rc != KEVO_EBUSY)
		check(db, rc, "compact");
	atomic_fetch_add(&shared->flushes, p.flushed);
	atomic_fetch_add(&shared->merges, p.jobs);
	atomic_fetch_add(&shared->removals, p.files_removed);
}

static void
compactor_main(int slot)
{
	for (;;) {
		struct kevo *db = open_or_fail(0);
		unsigned times = 1 + rnd(20);

		while (times-- > 0) {
			compact_once(db, slot);
			nap_us(rnd(3000));
		}
		check(NULL, kevo_close(db), "close");
	}
}

/* ---- the killer --------------------------------------------------------- */

static pid_t pids[PROCESSES];

static void
spawn(int i)
{
	uint64_t child_seed = rnd64();
	pid_t pid = fork();

	if (pid < 0)
		bail("cannot fork");
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		seed = child_seed;
		if (i < WRITERS)
			writer_main(i);
		else if (i < WRITERS + READERS)
			reader_main(i - WRITERS);
		else
			compactor_main(i - WRITERS - READERS);
	}
	pids[i] = pid;
}

static struct {
	unsigned kills, inside, readers, compacting;
} tally;

/* Kill number i and note whether it was inside a call. */
static void
slay(int i)
{
	int status;

	kill(pids[i], SIGKILL);
	while (waitpid(pids[i], &status, 0) < 0 && errno == EINTR)
		;
	pids[i] = 0;
	if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL) {
		if (!WIFEXITED(status) || WEXITSTATUS(status) != WRONG)
			snprintf(shared->why, sizeof(shared->why),
			    "a process ended by itself: status %#x", status);
		atomic_store(&shared->failed, 2);
		return;
	}
	tally.kills++;
	if (i >= WRITERS + READERS)
		tally.compacting += (unsigned)atomic_exchange(
		    &shared->compacting[i - WRITERS - READERS], 0);
	else if (i >= WRITERS)
		tally.readers++;
	else if (atomic_exchange(&shared->writer[i].inside, 0) != 0)
		tally.inside++;
}

static void
strike(void)
{
	int i = (int)rnd(rnd(5) == 0 ? WRITERS + READERS : WRITERS);

	if (compactors > 0 && rnd(4) != 0)
		i = WRITERS + READERS + (int)rnd((unsigned)compactors);
	switch (rnd(20)) {
	case 0:		/* all writers at once */
		for (i = 0; i < WRITERS; i++)
			kill(pids[i], SIGSTOP);
		for (i = 0; i < WRITERS; i++)
			slay(i);
		for (i = 0; i < WRITERS; i++)
			spawn(i);
		return;
	case 1:		/* stopped for a while, like a laptop's lid */
		kill(pids[i], SIGSTOP);
		nap_us(rnd(60000));
		kill(pids[i], SIGCONT);
		return;
	case 2:		/* stopped, and then killed */
		kill(pids[i], SIGSTOP);
		nap_us(rnd(30000));
	}
	slay(i);
	spawn(i);
}

/* Has a process ended by itself? */
static int
somebody_ended(void)
{
	siginfo_t info = { .si_pid = 0 };

	if (atomic_load(&shared->failed) != 0)
		return 1;
	return waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
	    info.si_pid != 0;
}

static void
run_for(int64_t ms)
{
	int64_t end = now_ms() + ms;

	int n = WRITERS + READERS + compactors;

	for (int i = 0; i < n; i++)
		spawn(i);
	while (now_ms() < end && !somebody_ended()) {
		nap_us(rnd(12000));
		strike();
	}
	for (int i = 0; i < n; i++)
		slay(i);
}

/* ---- before and after --------------------------------------------------- */

static int
create(void *arg)
{
	static const char *const plain[] = { "memtable_bytes=128K",
	    "compaction=manual", NULL };
	static const char *const tables[] = { "memtable_bytes=64K",
	    "memtables=3", "block_bytes=1K", "table_bytes=16K",
	    "level0_tables=2", "level_bytes=64K", "level_ratio=2", NULL };
	struct kevo_options opt = { .settings = compactors > 0 ? tables :
		plain };
	struct kevo *db;
	char key[64];

	(void)arg;
	db = must_open(path, KEVO_CREATE, &opt, "create");
	must(db, kevo_put(db, "counter", 7, "0", 1, NULL, NULL), "put");
	for (unsigned i = 0; i < ACCOUNTS; i++) {
		size_t klen = key_of(key, "acct", 0, i);

		must(db, kevo_put(db, key, klen, "1000", 4, NULL, NULL),
		    "put");
	}
	must_close(db, "close");
	return 0;
}

static int
look(void *arg)
{
	uint64_t *sum = arg;
	struct kevo *db = open_or_fail(0);
	struct kevo_stats st;

	check_snapshot(db, 0, NULL);
	/* What was whole but not yet durable becomes visible with this. */
	check(db, kevo_put(db, "zz", 2, "1", 1, NULL, NULL), "the next put");
	check_snapshot(db, 0, sum);
	check(db, kevo_stats(db, &st), "statistics");
	printf("%llu segments, %llu commits", (unsigned long long)st.segments,
	    (unsigned long long)st.appended);
	fflush(stdout);
	must_close(db, "close");
	return 0;
}

/* Whatever was left by the killed goes, and nothing else. */
static int
tidy(void *arg)
{
	struct kevo_compact c = { .flags = KEVO_COMPACT_FULL };
	struct kevo_compact_progress p;
	struct kevo *db = open_or_fail(0);
	struct kevo_stats st;

	(void)arg;
	check(db, kevo_compact(db, &c, &p), "a full compaction");
	printf("%llu files removed, ", (unsigned long long)p.files_removed);
	check(db, kevo_compact(db, &c, &p), "another one");
	if (p.files_removed != 0 || p.flushed != 0)
		fail("%llu files are left over",
		    (unsigned long long)p.files_removed);
	check(db, kevo_stats(db, &st), "statistics");
	if (st.segments != 1)
		fail("%llu segments are left",
		    (unsigned long long)st.segments);
	must_close(db, "close");
	return 0;
}

static void
tap_look(const char *what, uint64_t *sum)
{
	struct outcome o;
	int ok;

	child_run(&o, 10000, look, sum);
	ok = tap(exited(&o, 0), "%s, all that was acknowledged is there, and "
	    "whole", what);
	if (ok)
		note("%s, in %lld ms", o.text, (long long)o.ms);
	else
		note("%s: %s %s", outcome_name(&o), shared->why, o.text);
}

static void
tap_tidy(void)
{
	struct outcome o;

	child_run(&o, 20000, tidy, NULL);
	tap(exited(&o, 0), "what the killed left is removed");
	note("%s%s %s", o.text, exited(&o, 0) ? "" : outcome_name(&o),
	    shared->why);
}

static int64_t
seconds(void)
{
	const char *s = getenv("KEVO_SECONDS");

	if (s == NULL && is_long())
		s = getenv("KEVO_LONG_SECONDS");
	return s != NULL && atoi(s) > 0 ? atoi(s) : 6;
}

int
main(int argc, char *argv[])
{
	uint64_t acked = 0, *sums;
	char shm[320];
	struct outcome o;

	shared = mmap(NULL, sizeof(*shared) + 4096, PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED)
		bail("cannot map");
	sums = (uint64_t *)(void *)(shared + 1);
	if (argc > 1 && strcmp(argv[1], "compact") == 0)
		compactors = COMPACTORS;
	seed_start();
	scratch_make(0);
	snprintf(path, sizeof(path), "%s/db", scratch);
	child_run(&o, 10000, create, NULL);
	if (!tap(exited(&o, 0), "a database is created")) {
		note("%s %s", outcome_name(&o), o.text);
		return tap_end();
	}
	run_for(seconds() * 1000);
	for (int i = 0; i < WRITERS; i++)
		for (int j = 0; j < WHATS; j++)
			acked += atomic_load(&shared->writer[i].acked[j]);
	if (!tap(shared->failed == 0, "no process saw a broken promise in "
	    "%llu snapshots and %llu acknowledged operations",
	    (unsigned long long)shared->snapshots, (unsigned long long)acked))
		note("%s", shared->why);
	tap(tally.inside >= 10 && tally.readers > 0 && shared->snapshots > 0,
	    "the kills interrupted something: %u, of them %u inside a call "
	    "and %u of readers", tally.kills, tally.inside, tally.readers);
	if (compactors > 0)
		tap(tally.compacting >= 10 && shared->flushes > 0 &&
		    shared->merges > 0 && shared->removals > 0,
		    "%u were compacting; others brought %llu segments into "
		    "tables, merged %llu times and removed %llu files",
		    tally.compacting, (unsigned long long)shared->flushes,
		    (unsigned long long)shared->merges,
		    (unsigned long long)shared->removals);
	shared->failed = 0;
	tap_look("after the last kill", &sums[0]);
	if (compactors > 0) {
		tap_tidy();
		tap_look("after a full compaction", &sums[1]);
		tap(sums[0] == sums[1], "it changed nothing");
	}
	snprintf(shm, sizeof(shm), "%s/shm", path);
	remove_tree(shm);
	tap_look("rebuilt from the log", &sums[1]);
	tap(sums[0] == sums[1], "the log and the shared index agree");
	return tap_end();
}
