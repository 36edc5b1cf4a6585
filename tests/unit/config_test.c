/*
 * config_test: how settings get from kevo.conf to those who use them, and
 * what sync=batch promises.
 */
#include <errno.h>
#include <sys/wait.h>

#include "testdb.h"

static int
try_open(unsigned flags, const char *const *settings, struct kevo **db)
{
	struct kevo_options opt = { .program = "config_test",
	    .settings = settings, .wait_set = 1, .wait_ms = 5000 };

	return kevo_open(path, flags, &opt, db);
}

static struct kevo *
must_open(unsigned flags, const char *const *settings)
{
	struct kevo *db;
	int rc = try_open(flags, settings, &db);

	check(db, rc, "open");
	return db;
}

static struct kevo *
open_db(unsigned flags)
{
	return must_open(flags, NULL);
}

/* Whether it cannot be opened like this, for that reason. */
static int
refuses(unsigned flags, int status)
{
	struct kevo *db;
	int rc = try_open(flags, NULL, &db);

	if (rc != status)
		tap_note("%d: %s", rc, kevo_errmsg(db));
	kevo_close(db);
	return rc == status;
}

static void
create(const char *a, const char *b)
{
	const char *const settings[] = { a, b, NULL };

	new_path();
	kevo_close(must_open(KEVO_CREATE, settings));
}

static const char *
file_name(const char *name)
{
	static char full[300];

	snprintf(full, sizeof(full), "%s/%s", path, name);
	return full;
}

/* An editor's way: in place, and the time moves on. */
static void
edit(const char *text)
{
	static time_t seconds = 1000000000;
	struct timespec ts[2] = { { seconds, 0 }, { seconds, 0 } };
	int fd = open(file_name("kevo.conf"), O_WRONLY | O_CREAT | O_TRUNC,
	    0666);

	if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text) ||
	    futimens(fd, ts) != 0)
		tap_bail("cannot edit kevo.conf");
	seconds++;
	close(fd);
}

static struct kevo_stats
stats(struct kevo *db)
{
	struct kevo_stats s;

	check(db, kevo_stats(db, &s), "stats");
	return s;
}

/* The size of segments that is in use, as any process sees it. */
static uint64_t
in_use(void)
{
	struct kevo *db = open_db(KEVO_RDONLY);
	struct kevo_stats s = stats(db);

	kevo_close(db);
	return s.memtable_bytes;
}

static int
put(struct kevo *db, size_t len, enum kevo_sync sync)
{
	static char value[1 << 20];
	struct kevo_write w = { .sync = sync };

	return kevo_put(db, "key", 3, value, len, &w, NULL);
}

/* ---- creation ---------------------------------------------------------- */

static void
test_creation(void)
{
	const char *const bad[] = { "memtables=4", "colour=red", NULL };
	const char *const not_together[] = { "memtables=20", NULL };
	const char *const good[] = { "memtable_bytes=128K", "sync=none", NULL };
	const char *const same[] = { "sync=none", "levels=7", NULL };
	const char *const other[] = { "sync=batch", NULL };
	struct kevo *db;
	struct stat st;

	new_path();
	expect(try_open(KEVO_CREATE, bad, &db) == KEVO_EINVAL &&
	    strstr(kevo_errmsg(db), "colour") != NULL);
	kevo_close(db);
	expect(try_open(KEVO_CREATE, not_together, &db) == KEVO_EINVAL);
	kevo_close(db);
	expect(stat(path, &st) != 0);
	tap_report("creation: impossible settings create nothing");
	db = must_open(KEVO_CREATE, good);
	expect(kevo_default_sync(db) == KEVO_SYNC_NONE);
	expect(stats(db).memtable_bytes == 131072);
	kevo_close(db);
	expect(stat(file_name("wal/0000000000000001.seg"), &st) == 0 &&
	    st.st_size == 131072);
	db = open_db(KEVO_RDONLY);
	expect(kevo_default_sync(db) == KEVO_SYNC_NONE);
	kevo_close(db);
	tap_report("creation: settings stand in kevo.conf, and hold");
	for (int i = 0; i < 2; i++) {
		unsigned f = KEVO_EXISTING | (i ? KEVO_RDONLY : KEVO_CREATE);

		expect(try_open(f, same, &db) == 0);
		kevo_close(db);
		expect(try_open(f, other, &db) == KEVO_ECREATE &&
		    strstr(kevo_errmsg(db), "sync is none") != NULL);
		kevo_close(db);
	}
	db = must_open(KEVO_CREATE, other);
	expect(kevo_default_sync(db) == KEVO_SYNC_NONE);
	kevo_close(db);
	tap_report("creation: an existing database keeps its settings");
	new_path();
	if (mkdir(path, 0777) != 0)
		tap_bail("mkdir");
	edit("memtable_bytes = 1\n");
	expect(refuses(KEVO_CREATE, KEVO_ECONFIG));
	expect(stat(file_name("FORMAT"), &st) != 0 && errno == ENOENT);
	edit("memtable_bytes = 256K\n");
	db = must_open(KEVO_CREATE, other);
	expect(kevo_default_sync(db) == KEVO_SYNC_BATCH &&
	    stats(db).memtable_bytes == 262144);
	kevo_close(db);
	tap_report("creation: a kevo.conf that was put there holds");
}

/* ---- publishing -------------------------------------------------------- */

static void
test_open(void)
{
	struct kevo *db, *reader;

	create("memtable_bytes=64K", NULL);
	edit("memtable_bytes = 128K\n");
	reader = open_db(KEVO_RDONLY);
	expect(stats(reader).memtable_bytes == 65536);
	db = open_db(0);
	expect(stats(db).memtable_bytes == 131072);
	expect(stats(reader).memtable_bytes == 131072);
	kevo_close(db);
	if (unlink(file_name("kevo.conf")) != 0)
		tap_bail("unlink");
	db = open_db(0);
	expect(stats(db).memtable_bytes == 64 << 20);
	tap_report("a writer's open takes over what kevo.conf says");
	edit("memtable_bytes = 1K\n");
	expect(refuses(0, KEVO_ECONFIG));
	expect(refuses(KEVO_CREATE, KEVO_ECONFIG));
	expect(refuses(KEVO_ANY_CONFIG, 0));
	expect(refuses(KEVO_RDONLY, 0));
	expect(put(db, 10, KEVO_SYNC_FULL) == 0);
	expect(stats(reader).memtable_bytes == 64 << 20);
	tap_report("a wrong kevo.conf stops a writer's open, and nobody else");
	kevo_close(db);
	kevo_close(reader);
	remove_shm();
	expect(refuses(0, KEVO_ECONFIG));
	expect(in_use() == 64 << 20);
	expect(refuses(0, KEVO_ECONFIG));
	edit("memtable_bytes = 256K\n");
	remove_shm();
	expect(in_use() == 262144);
	edit("memtable_bytes = 512K\n");
	remove_shm();
	expect(refuses(0, 0) && in_use() == 524288);
	tap_report("so does a rebuild, which a reader does with what it has");
}

/* Until a segment begins; it has at most a few dozen of these. */
static void
rotate(struct kevo *db)
{
	uint64_t n = stats(db).segments;

	for (int i = 0; i < 1000 && stats(db).segments == n; i++)
		check(db, put(db, 30000, KEVO_SYNC_NONE), "put");
}

static void
test_rotation(void)
{
	struct kevo *db;

	create("memtable_bytes=64K", "compaction=manual");
	db = open_db(0);
	edit("compaction = manual\nmemtable_bytes = 256K\n");
	expect(stats(db).memtable_bytes == 65536);
	rotate(db);
	expect(stats(db).memtable_bytes == 262144);
	edit("compaction = manual\nmemtable_bytes = red\n");
	rotate(db);
	expect(stats(db).memtable_bytes == 262144);
	edit("compaction = manual\nmemtable_bytes = 128K\n");
	rotate(db);
	expect(stats(db).memtable_bytes == 131072);
	kevo_close(db);
	tap_report("a writer that stays looks again at each new segment");
}

/* The write lock is in another process's hands. */
static void
test_busy(void)
{
	struct kevo *holder, *db;
	struct kevo_txn *t;

	create("memtable_bytes=64K", NULL);
	holder = open_db(0);
	check(holder, kevo_txn_begin(holder, NULL, &t), "begin");
	edit("memtable_bytes = 128K\n");
	db = open_db(0);
	expect(in_use() == 65536);
	check(holder, kevo_txn_abort(t), "abort");
	expect(put(db, 10, KEVO_SYNC_NONE) == 0);
	expect(in_use() == 131072);
	edit("sync = never\n");
	check(holder, kevo_txn_begin(holder, NULL, &t), "begin");
	expect(refuses(0, KEVO_ECONFIG));
	check(holder, kevo_txn_abort(t), "abort");
	kevo_close(db);
	kevo_close(holder);
	tap_report("an open does not wait for the lock; its first commit does");
}

/* ---- kevo_config ------------------------------------------------------- */

struct seen {
	int count, stop_at;
	unsigned lines;
};

static int
see(void *arg, const struct kevo_setting *s)
{
	struct seen *seen = arg;

	seen->lines += s->line;
	if (s->name == NULL || s->kind == NULL || *s->value == '\0')
		return 77;
	return ++seen->count == seen->stop_at ? 5 : 0;
}

static void
test_get(void)
{
	struct seen all = { 0, 0, 0 }, some = { 0, 3, 0 };
	struct kevo_setting s;
	struct kevo *db;

	create("memtables=3", NULL);
	edit("# one\nsync_ms = 2s\n");
	db = open_db(KEVO_RDONLY);
	expect(kevo_config_list(db, see, &all) == 0);
	expect(all.count == KV_SETTINGS && all.lines == 2);
	expect(kevo_config_list(db, see, &some) == 5 && some.count == 3);
	expect(kevo_config_get(db, "sync_ms", &s) == 0 && s.number == 2000 &&
	    s.line == 2 && strcmp(s.value, "2s") == 0 &&
	    strcmp(s.initial, "1s") == 0 && strcmp(s.kind, "duration") == 0);
	expect(kevo_config_get(db, "sync_m", &s) == KEVO_NOTFOUND);
	expect(kevo_config_get(NULL, "sync_ms", &s) == 0 && s.number == 1000 &&
	    s.line == 0);
	edit("sync_ms = 2s\nsync = 3\n");
	expect(kevo_config_get(db, "sync_ms", &s) == KEVO_ECONFIG &&
	    strstr(kevo_errmsg(db), "kevo.conf:2: sync") != NULL);
	expect(kevo_config_list(db, see, &all) == KEVO_ECONFIG);
	expect(kevo_config_set(db, (const char *const[]){ "sync=full",
	    NULL }) == KEVO_EPERM);
	kevo_close(db);
	tap_report("kevo_config_list, kevo_config_get: what kevo.conf says");
}

static int
change_to(struct kevo *db, const char *a, const char *b)
{
	return kevo_config_set(db, (const char *const[]){ a, b, NULL });
}

static void
test_set(void)
{
	struct kevo *db, *other, *reader;
	struct kevo_setting s;
	struct kevo_txn *t;

	create("memtable_bytes=64K", NULL);
	other = open_db(0);
	reader = open_db(KEVO_RDONLY);
	stats(reader);
	db = open_db(KEVO_ANY_CONFIG);
	expect(change_to(db, "memtable_bytes=1M", "sync=batch") == 0);
	expect(stats(other).memtable_bytes == 1 << 20 &&
	    stats(reader).memtable_bytes == 1 << 20);
	expect(kevo_default_sync(other) == KEVO_SYNC_BATCH);
	expect(refuses(0, 0) && in_use() == 1 << 20);
	expect(change_to(db, "memtable_bytes=default", NULL) == 0);
	expect(in_use() == 64 << 20);
	tap_report("kevo_config_set: holds for everybody at once");
	expect(change_to(db, "levels=3", "levels=9") == KEVO_EINVAL &&
	    strstr(kevo_errmsg(db), "2 to 8") != NULL);
	expect(change_to(db, "levels=3", "coluor=1") == KEVO_EINVAL);
	expect(change_to(db, "levels=3", "memtables=30") == KEVO_EINVAL &&
	    strstr(kevo_errmsg(db), "stall_segments") != NULL);
	expect(kevo_config_get(db, "levels", &s) == 0 && s.line == 0);
	expect(change_to(db, "stall_segments=31", "memtables=30") == 0);
	tap_report("kevo_config_set: all of the changes or none");
	edit("sync = x\nlevels = 1\n");
	expect(change_to(db, "sync=full", NULL) == KEVO_ECONFIG &&
	    strstr(kevo_errmsg(db), "kevo.conf:2: levels") != NULL);
	expect(change_to(db, "sync=none", "levels=default") == 0);
	expect(kevo_default_sync(other) == KEVO_SYNC_NONE);
	expect(refuses(0, 0));
	tap_report("kevo_config_set: mends a wrong file");
	check(other, kevo_txn_begin(other, NULL, &t), "begin");
	kevo_close(db);
	db = open_db(0);
	expect(kevo_txn_put(t, "a", 1, "b", 1, 0) == 0);
	expect(change_to(other, "levels=4", NULL) == KEVO_EINVAL);
	check(other, kevo_txn_commit(t, KEVO_SYNC_FULL, NULL), "commit");
	expect(change_to(other, "levels=4", NULL) == 0);
	kevo_close(db);
	kevo_close(other);
	kevo_close(reader);
	tap_report("kevo_config_set: takes the write lock");
}

/* Several at once lose nothing of each other's. */
static void
test_race(void)
{
	static const char *const name[] = { "levels", "memtables", "sync_ms",
	    "level_ratio" };
	enum { N = 4, ROUNDS = 25 };
	struct kevo_setting s;
	pid_t pid[N];
	struct kevo *db;
	int status;

	create("memtable_bytes=64K", NULL);
	for (int i = 0; i < N; i++) {
		if ((pid[i] = fork()) != 0)
			continue;
		db = open_db(0);
		for (int n = 0; n < ROUNDS; n++) {
			char change[64];

			snprintf(change, sizeof(change), "%s=%d", name[i],
			    2 + n % 4);
			if (change_to(db, change, NULL) != 0)
				_exit(1);
		}
		_exit(kevo_close(db) != 0);
	}
	for (int i = 0; i < N; i++)
		expect(waitpid(pid[i], &status, 0) == pid[i] && status == 0);
	db = open_db(0);
	for (int i = 0; i < N; i++)
		expect(kevo_config_get(db, name[i], &s) == 0 &&
		    s.number == 2 + (ROUNDS - 1) % 4);
	kevo_close(db);
	tap_report("kevo_config_set: by several processes at once");
}

/* ---- sync=batch -------------------------------------------------------- */

static uint64_t
unsynced(struct kevo *db)
{
	struct kevo_stats s = stats(db);

	return s.appended - s.synced;
}

static void
test_batch_bytes(void)
{
	struct kevo *db, *other;
	int synced = 0;

	create("sync_bytes=10K", "sync_ms=1h");
	db = open_db(0);
	other = open_db(0);
	for (int i = 0; i < 100; i++) {
		check(db, put(db, 1000, KEVO_SYNC_BATCH), "put");
		/* A kilobyte and a frame each: the tenth is one too many. */
		expect(unsynced(other) < 10);
		synced += unsynced(other) == 0;
	}
	expect(synced >= 9 && synced <= 11);
	for (int i = 0; i < 20; i++)
		check(db, put(db, 1000, KEVO_SYNC_NONE), "put");
	expect(unsynced(db) >= 20);
	check(other, put(other, 1, KEVO_SYNC_BATCH), "put");
	expect(unsynced(db) == 0);
	tap_report("sync=batch: not more than sync_bytes stay unsynced");
	check(db, change_to(db, "sync_bytes=1G", NULL), "set");
	for (int i = 0; i < 300; i++)
		check(db, put(db, 1000, KEVO_SYNC_BATCH), "put");
	expect(unsynced(db) == 300);
	check(db, put(db, 1, KEVO_SYNC_FULL), "put");
	expect(unsynced(db) == 0);
	check(db, change_to(db, "sync_bytes=10K", NULL), "set");
	for (int i = 0; i < 5; i++)
		check(db, put(db, 1000, KEVO_SYNC_BATCH), "put");
	expect(unsynced(db) == 5);
	kevo_close(db);
	expect(unsynced(other) == 0);
	kevo_close(other);
	tap_report("sync=batch: any sync begins the count anew, and a close "
	    "syncs");
}

static void
test_batch_ms(void)
{
	struct timespec nap = { 0, 1000000 };
	struct kevo *db;
	int i;

	create("sync_bytes=1G", "sync_ms=1ms");
	db = open_db(0);
	/* At the latest when the clock has moved on. */
	for (i = 0; i < 20000; i++) {
		check(db, put(db, 10, KEVO_SYNC_BATCH), "put");
		if (unsynced(db) == 0)
			break;
		nanosleep(&nap, NULL);
	}
	expect(i < 20000);
	check(db, put(db, 10, KEVO_SYNC_NONE), "put");
	for (i = 0; i < 20; i++)
		nanosleep(&nap, NULL);
	check(db, put(db, 10, KEVO_SYNC_NONE), "put");
	expect(unsynced(db) == 2);
	check(db, put(db, 10, KEVO_SYNC_BATCH), "put");
	expect(unsynced(db) == 0);
	kevo_close(db);
	tap_report("sync=batch: nothing stays unsynced for longer than "
	    "sync_ms");
}

int
main(void)
{
	tap_start("config");
	test_creation();
	test_open();
	test_rotation();
	test_busy();
	test_get();
	test_set();
	test_race();
	test_batch_bytes();
	test_batch_ms();
	return tap_end();
}
