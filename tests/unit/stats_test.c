/*
 * stats_test: each counter says what a plain model says that counted the same
 * events: through random operations, in many processes at once, after kills,
 * reboots and damage.
 */
#include <signal.h>
#include <sys/wait.h>

#include "counted.h"
#include "lock.h"
#include "record.h"

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
		check(db, kevo_txn_begin(db, NULL, &t), "begin");
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

	check(db, kevo_txn_begin(db, NULL, &t), "begin");
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

int
main(void)
{
	tap_start("stats");
	test_operations();
	test_pages();
	test_sync_failure();
	test_rotation();
	test_processes();
	test_kills();
	test_survival();
	test_hostile();
	test_repairs();
	return tap_end();
}
