/*
 * stats_compact_test: what flushes, merges and stalls count is what a walk
 * over the files, the calls made and the clock say; levels and their scores.
 */
#include <signal.h>
#include <sys/wait.h>

#include "counted.h"
#include "lock.h"
#include "record.h"
#include "version.h"

static char value[2000];

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

/* What statistics say of levels if the first version is of these tables. */
static void
levels_of(struct kevo *db, const struct kv_vtable *tables, uint32_t n,
    struct kevo_stats *st)
{
	struct kv_version *zero, *v;
	struct kv_version_edit e = { .add = tables, .nadd = n,
	    .last_seq = 2, .next_file = tables[n - 1].info.number + 1,
	    .first_segment = 2, .first_seq = 3, .time_ns = 1 };

	run("mkdir -p '%s/version'%s", path, "");
	check(db, kv_version_read(&db->env, &db->dir, db->ctl->id, 0, 0,
	    &zero), "version 0");
	e.base = zero;
	check(db, kv_version_install(&db->env, &db->dir, db->ctl->id, 0644,
	    &e, &v), "install");
	kv_stats_levels(db, v, st);
	kv_version_unref(zero);
	kv_version_unref(v);
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
	struct kevo_stats st;

	check(db, kevo_stats(db, &st), "statistics");
	levels_of(db, tables, 6, &st);
	expect(st.level[0].tables == 4);
	expect(st.level[0].score == 2 * 1000 / kv_setting(db->ctl,
	    KV_SET_LEVEL0_TABLES));
	expect(st.level[1].score == 5000 * 1000 / 65536);
	expect(st.level[KEVO_LEVELS - 2].bytes == 900000 &&
	    st.level[KEVO_LEVELS - 2].score == 0);
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
	struct kevo_stats st;

	check(db, kevo_stats(db, &st), "statistics");
	expect(st.version == 0 && st.level[0].tables == 0);
	levels_of(db, tables, 5, &st);
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
	tap_start("stats_compact");
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
