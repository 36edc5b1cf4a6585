/*
 * compact_remove_test: what should be gone is gone, what somebody needs stays;
 * limits of time, bytes and room; damage stops compaction, and harms nothing.
 */
#include "compacted.h"

#include <errno.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/wait.h>

/* ---- removal ----------------------------------------------------------- */

static void
make_file(const char *name, int locked, int *fd)
{
	char full[600];

	snprintf(full, sizeof(full), "%s/%s", path, name);
	*fd = open(full, O_RDWR | O_CREAT, 0666);
	if (*fd < 0 || (locked && !kv_file_lock(*fd)))
		tap_bail("%s", full);
}

static int
exists(const char *name)
{
	char full[600];

	snprintf(full, sizeof(full), "%s/%s", path, name);
	return access(full, F_OK) == 0;
}

static void
test_orphans(void)
{
	struct kevo *db = create();
	int fd[4];

	forget_model();
	write_some(db, 3000, 0, KEYS);
	check(db, compact(db, 0), "compact");
	make_file("table/00000000000000aa.sst", 0, &fd[0]);
	make_file("table/00000000000000ab.sst", 1, &fd[1]);
	make_file("table/else", 0, &fd[2]);
	make_file("version/tmp.0123456789abcdef", 0, &fd[3]);
	for (int i = 0; i < 4; i++)
		if (i != 1)
			close(fd[i]);
	check(db, compact(db, 0), "compact");
	expect(!exists("table/00000000000000aa.sst"));
	expect(exists("table/00000000000000ab.sst"));
	expect(exists("table/else"));
	expect(!exists("version/tmp.0123456789abcdef"));
	close(fd[1]);
	check(db, compact(db, 0), "compact");
	expect(!exists("table/00000000000000ab.sst"));
	expect(done.files_removed == 1);
	expect(same());
	kevo_close(db);
	tap_report("orphans go, unless somebody is writing them");
}

/* All files of a version are there. */
static int
has_all_of(const struct kv_version *v)
{
	char name[KV_TABLE_NAME_LEN];
	int good = 1;

	for (uint32_t i = 0; i < v->ntables; i++) {
		kv_table_name(name, v->table[i].info.number);
		good &= exists(name);
	}
	kv_segment_name(name, v->first_segment);
	return good && exists(name);
}

static void
test_pins(void)
{
	struct kevo *db = create();
	struct kv_version *old, *v;
	int pins;

	forget_model();
	write_some(db, 3000, 0, KEYS);
	check(db, compact(db, 0), "compact");
	make_file("PINS", 0, &pins);
	old = newest(db);
	expect(kv_pin(pins, old->number) == 0);
	for (int i = 0; i < 4; i++) {
		write_some(db, 2000, 0, KEYS);
		check(db, compact(db, i == 2 ? KEVO_COMPACT_FULL : 0),
		    "compact");
	}
	expect(has_all_of(old));
	v = newest(db);
	expect(v->number > old->number + 2);
	/* The pinned one and the newest, nothing in between. */
	expect(count_files("table", "") <= (int)(old->ntables + v->ntables));
	expect(count_files("version", "") == 3);
	kv_unpin(pins, old->number);
	check(db, compact(db, 0), "compact");
	expect(!has_all_of(old));
	kv_version_unref(v);
	kv_version_unref(old);
	expect(same());
	expect(only_needed_files(db));
	close(pins);
	kevo_close(db);
	tap_report("what a pinned version names stays, and no more");
}

/*
 * A generation takes the place of the one that a reader has open, and all its
 * files go.  Within a tick the reader does not look whether control still has
 * its name; what is missing must tell it.  Once more if a tick came between.
 */
static int
overtake(int snapshot)
{
	struct kevo *db = create(), *r;
	struct kevo_compact full = { .flags = KEVO_COMPACT_FULL };
	struct kevo_snapshot *s = NULL;
	struct kevo_record rec;
	char key[64], shm[300];
	uint64_t tick;
	int rc;

	memset(model, 0, sizeof(model));
	for (unsigned i = 1; i < KEYS; i += 2)
		write_one(db, i);
	check(db, kevo_compact(db, &full, NULL), "compact");
	r = open_reader();
	/* One table is open; the others are not yet. */
	for (int i = 0; i < 8; i++)
		expect(kevo_peek(r, NULL, "a", 1, &rec) == KEVO_NOTFOUND &&
		    kevo_peek(r, NULL, "key/0/1", 7, &rec) >= 0);
	kevo_close(db);
	snprintf(shm, sizeof(shm), "rm -r '%s/shm'", path);
	expect(system(shm) == 0);
	db = open_db();
	for (int round = 0; round < 3; round++) {
		for (unsigned i = 1; i < KEYS; i += 2)
			write_one(db, i);
		check(db, kevo_compact(db, &full, NULL), "compact");
	}
	r->tick = tick = kv_tick();
	if (snapshot) {
		rc = kevo_snapshot_new(r, &s);
		expect(rc == 0 && kevo_snapshot_version(s) ==
		    atomic_load(&db->ctl->visible));
	}
	for (unsigned i = 1; i < KEYS; i += 2) {
		r->tick = kv_tick();	/* nothing but a lack tells it */
		/* Old answers are allowed that long, but no error. */
		rc = kevo_peek(r, s, key, key_of(i, key), &rec);
		if (!expect(rc >= 0))
			tap_note("%u: %d %s", i, rc, kevo_errmsg(r));
		if (i == 1)
			tick = tick == kv_tick() ? tick : 0;
	}
	for (unsigned i = 1; i < KEYS; i += 2) {
		rc = kevo_peek(r, s, key, key_of(i, key), &rec);
		expect(model[i].there ? rc == 0 && rec.version ==
		    model[i].seq : rc == KEVO_NOTFOUND);
	}
	kevo_snapshot_free(s);
	kevo_close(r);
	kevo_close(db);
	return tick != 0;
}

static void
test_overtaken(void)
{
	int in_time = 0;

	for (int i = 0; i < 50 && in_time < 2; i++)
		in_time += overtake(i % 2);
	expect(in_time > 0);
	tap_report("who reads from a generation that is gone looks again");
}

static void
test_wal_keep(void)
{
	struct kevo *db = create();
	struct kv_version *v;

	forget_model();
	set(db, KV_SET_WAL_KEEP, 200000);
	write_some(db, 9000, 0, KEYS);
	check(db, compact(db, 0), "compact");
	v = newest(db);
	/* Three segments of not quite 64 KiB, and the active one. */
	expect(v->first_segment > 5);
	expect(count_files("wal", ".seg") == 4);
	expect(count_files("shm", ".idx") == 1);
	kv_version_unref(v);
	expect(same());
	kevo_close(db);
	tap_report("wal_keep: old log stays, the oldest goes first");
}

/* A process that is building a generation needs the log as it is. */
static void
test_rebuilder(void)
{
	struct kevo *db = create(), *other = open_db();
	int segments;

	forget_model();
	write_some(db, 3000, 0, KEYS);
	segments = count_files("wal", ".seg");
	expect(kv_lock_rebuild(other->lock_fd, 0) == 0);
	check(db, compact(db, 0), "compact");
	expect(done.flushed > 0 && done.files_removed == 0);
	expect(count_files("wal", ".seg") == segments);
	kv_unlock_rebuild(other->lock_fd);
	check(db, compact(db, 0), "compact");
	expect(only_needed_files(db));
	expect(same());
	kevo_close(other);
	kevo_close(db);
	tap_report("nothing is removed under who builds a generation");
}

/*
 * A change is installed upon a version so old that the number after it is
 * free again: swept away, with newer ones in place.
 */
static void
test_late(void)
{
	struct kevo *db = create(), *other = open_db();
	struct kv_version *v, *now;
	struct kv_vtable add;
	struct kv_work w;
	uint64_t drop, old;
	struct kv_change ch = { .drop = &drop, .ndrop = 1, .add = &add,
		.nadd = 1 };

	forget_model();
	write_some(db, 2000, 0, KEYS);
	check(db, compact(db, KEVO_COMPACT_FLUSH), "flush");
	v = newest(db);
	old = v->number;
	for (int i = 0; i < 3; i++) {
		write_some(other, 100, 0, KEYS);
		seal(other);
		check(other, compact(other, KEVO_COMPACT_FLUSH), "flush");
	}
	expect(v->level_start[1] == 0 && v->ntables > 0);
	add = v->table[0];
	add.level = 2;
	drop = add.info.number;
	/* A reference of its own: the keys of what is added are the old
	 * version's. */
	v->refs++;
	now = v;
	kv_work_init(&w, db, NULL);
	check(db, kv_install(&w, &now, &ch), "install");
	kv_work_release(&w);
	expect(now->number == old + 4);
	expect(now->level_start[1] >= 3);
	expect(now->level_start[3] - now->level_start[2] == 1);
	expect(same());
	kv_version_unref(now);
	kv_version_unref(v);
	check(db, compact(db, KEVO_COMPACT_FULL), "full");
	expect(same());
	expect(only_needed_files(db));
	kevo_close(other);
	kevo_close(db);
	tap_report("a change upon an old version is made upon the newest");
}

/* ---- the reserve ------------------------------------------------------- */

static uint64_t free_bytes = UINT64_MAX;	/* what the disk says */

int
fstatfs(int fd, struct statfs *fs)
{
	int rc = (int)syscall(SYS_fstatfs, fd, fs);

	if (rc == 0 && free_bytes != UINT64_MAX)
		fs->f_bavail = (fsblkcnt_t)(free_bytes / (uint64_t)(
		    fs->f_frsize != 0 ? fs->f_frsize : fs->f_bsize));
	return rc;
}

/* Its inode, and how many names it has; 0: there is none. */
static ino_t
reserve(nlink_t *links)
{
	char full[600];
	struct stat st;

	snprintf(full, sizeof(full), "%s/reserve", path);
	if (stat(full, &st) != 0)
		return 0;
	if (links != NULL)
		*links = st.st_nlink;
	return st.st_ino;
}

/* Is a table of the newest version the file with that inode? */
static int
is_table(struct kevo *db, ino_t ino)
{
	struct kv_version *v = newest(db);
	char name[KV_TABLE_NAME_LEN], full[600];
	struct stat st;
	int found = 0;

	for (uint32_t i = 0; i < v->ntables; i++) {
		kv_table_name(name, v->table[i].info.number);
		snprintf(full, sizeof(full), "%s/%s", path, name);
		if (stat(full, &st) == 0 && st.st_ino == ino)
			found = st.st_nlink == 1 &&
			    (uint64_t)st.st_size == v->table[i].info.size;
	}
	kv_version_unref(v);
	return found;
}

static uint64_t
first_segment(struct kevo *db)
{
	struct kv_version *v = newest(db);
	uint64_t n = v->first_segment;

	kv_version_unref(v);
	return n;
}

/* Tables that are many times as large as a segment, and some log. */
static struct kevo *
create_large(void)
{
	struct kevo *db = create();
	char key[20], value[3000];

	forget_model();
	memset(value, 'v', sizeof(value));
	for (int i = 0; i < 500; i++) {
		snprintf(key, sizeof(key), "large%05d", i);
		check(db, kevo_put(db, key, strlen(key), value,
		    sizeof(value), NULL, NULL), "put");
	}
	check(db, compact(db, KEVO_COMPACT_FULL), "full");
	return db;
}

/* Several segments of which each leaves room for the next. */
static void
test_piecemeal(void)
{
	struct kevo *db = create();
	char key[20], value[3000];

	memset(value, 'v', sizeof(value));
	for (int i = 0; i < 60; i++) {
		snprintf(key, sizeof(key), "large%05d", i);
		check(db, kevo_put(db, key, strlen(key), value,
		    sizeof(value), NULL, NULL), "put");
		if (i % 20 == 19)
			seal(db);
	}
	free_bytes = 150000;
	check(db, compact(db, KEVO_COMPACT_FLUSH), "flush");
	free_bytes = UINT64_MAX;
	expect(done.flushed == 3 && count_files("wal", ".seg") == 1);
	kevo_close(db);
	tap_report("no room for all of the log: one segment after the other");
}

static void
test_reserve(void)
{
	struct kevo *db = create_large();
	uint64_t was, now;
	char full[600], other[600];
	nlink_t links;
	ino_t ino;

	expect((ino = reserve(&links)) != 0 && links == 1);
	expect(kv_spare_bytes(db) > 65536);
	free_bytes = 4096;
	for (int i = 0; i < 3; i++) {
		write_some(db, 20, 0, KEYS);
		seal(db);
	}
	was = first_segment(db);
	/* What is removed then makes no room here, so it ends with that. */
	expect(compact(db, KEVO_COMPACT_FLUSH) == KEVO_EIO);
	now = first_segment(db);
	expect(now == was + 1);
	expect(reserve(NULL) == 0 && is_table(db, ino));
	expect(done.files_removed > 0);
	tap_report("no room: the reserve becomes the table of one segment");

	expect(compact(db, KEVO_COMPACT_FLUSH) == KEVO_EIO);
	expect(strstr(kevo_errmsg(db), "not enough room") != NULL);
	expect(first_segment(db) == now);
	free_bytes = UINT64_MAX;
	check(db, compact(db, KEVO_COMPACT_FLUSH), "flush");
	expect((ino = reserve(NULL)) != 0 && !is_table(db, ino));
	tap_report("there is room again: and another reserve");

	/* As a power cut may leave it: it is a table's, too. */
	snprintf(full, sizeof(full), "%s/reserve", path);
	snprintf(other, sizeof(other), "%s/table/else", path);
	if (link(full, other) != 0)
		tap_bail("link");
	write_some(db, 20, 0, KEYS);
	seal(db);
	free_bytes = 4096;
	expect(compact(db, KEVO_COMPACT_FLUSH) == KEVO_EIO);
	expect(reserve(NULL) == ino);
	free_bytes = UINT64_MAX;
	check(db, compact(db, KEVO_COMPACT_FLUSH), "flush");
	expect(reserve(&links) != ino && links == 1);
	tap_report("a reserve with two names is not taken, but replaced");

	for (int i = 0; i < 500; i++) {
		char key[20];

		snprintf(key, sizeof(key), "large%05d", i);
		check(db, kevo_delete(db, key, strlen(key), NULL, NULL),
		    "delete");
	}
	check(db, compact(db, KEVO_COMPACT_FULL), "full");
	expect(reserve(NULL) == 0);
	expect(same());
	kevo_close(db);
	tap_report("a small database has none");
}

/* ---- limits ------------------------------------------------------------ */

static int
stop_after(void *arg, const struct kevo_compact_progress *p)
{
	uint64_t *limit = arg;

	return p->bytes_written > *limit;
}

static void
test_limits(void)
{
	struct kevo *db = create();
	struct kevo_compact c = { .flags = KEVO_COMPACT_FULL };
	struct kevo_compact_progress p;
	int64_t start;
	uint64_t limit;

	forget_model();
	for (int i = 0; i < 3; i++) {
		write_some(db, 3000, 0, KEYS);
		seal(db);	/* a flush is not held to the rate */
		check(db, compact(db, KEVO_COMPACT_FLUSH), "flush");
	}
	c.max_ms = 1;
	c.max_bytes = 1;
	check(db, kevo_compact(db, &c, &p), "limited");
	expect(p.jobs <= 1);
	c.max_ms = 0;
	c.max_bytes = 0;
	c.flags |= KEVO_COMPACT_DRY_RUN;
	check(db, kevo_compact(db, &c, &p), "dry run");
	expect(p.due > 0 && p.jobs == 0 && p.bytes_written == 0);
	c.flags = KEVO_COMPACT_FULL;
	c.rate = 200000;
	limit = 50000;
	c.progress = stop_after;
	c.arg = &limit;
	start = kv_mono_ms();
	expect(kevo_compact(db, &c, &p) == KEVO_FALSE);
	expect(p.bytes_written > limit);
	/* That much takes a quarter of a second. */
	expect(kv_mono_ms() - start >= 200);
	expect(same());
	check(db, compact(db, KEVO_COMPACT_FULL), "full");
	expect(same());
	expect(only_needed_files(db));
	kevo_close(db);
	tap_report("limits of time, bytes and rate; ended by progress");
}

static void
test_arguments(void)
{
	struct kevo *db = create(), *reader;
	struct kevo_compact c = { .flags = 64 };
	struct kevo_txn *t;
	struct kv_work w;

	expect(kevo_compact(db, &c, NULL) == KEVO_EINVAL);
	c.flags = KEVO_COMPACT_FULL | KEVO_COMPACT_FLUSH;
	expect(kevo_compact(db, &c, NULL) == KEVO_EINVAL);
	c.flags = 0;
	c.from = "a";
	c.from_len = 1;
	expect(kevo_compact(db, &c, NULL) == KEVO_EINVAL);
	check(db, kevo_txn_begin(db, NULL, &t), "begin");
	expect(kevo_compact(db, NULL, NULL) == KEVO_EINVAL);
	kevo_txn_abort(t);
	expect(kevo_open(path, KEVO_RDONLY, NULL, &reader) == 0);
	expect(kevo_compact(reader, NULL, NULL) == KEVO_EPERM);
	kevo_close(reader);
	kv_work_init(&w, db, NULL);
	expect(kv_work_room(&w, (uint64_t)1 << 60, "do it") == KV_RETRY);
	expect(kv_work_no_room(&w) == KEVO_EIO);
	expect(strstr(kevo_errmsg(db), "not enough room to do it") != NULL);
	expect(kv_work_room(&w, 1, "do it") == 0);
	kv_work_release(&w);
	kevo_close(db);
	tap_report("arguments that are refused, and lack of room");
}

/* Turn bits over in the first half of a file; once more, and it is as it
 * was. */
static void
damage(const char *name)
{
	uint8_t b[64];
	char full[600];
	struct stat st;
	int fd;

	snprintf(full, sizeof(full), "%s/%s", path, name);
	if ((fd = open(full, O_RDWR)) < 0 || fstat(fd, &st) != 0 ||
	    pread(fd, b, sizeof(b), st.st_size / 4) != sizeof(b))
		tap_bail("%s", full);
	for (size_t i = 0; i < sizeof(b); i++)
		b[i] ^= 0x40;
	if (pwrite(fd, b, sizeof(b), st.st_size / 4) != sizeof(b))
		tap_bail("%s", full);
	close(fd);
}

/* What does not verify is reported, and nothing is built on it. */
static void
test_damage(void)
{
	struct kevo *db = create();
	char name[KV_TABLE_NAME_LEN];
	struct kv_version *v;

	forget_model();
	write_some(db, 3000, 0, KEYS);
	kv_segment_name(name, 2);
	damage(name);
	expect(compact(db, KEVO_COMPACT_FLUSH) == KEVO_ECORRUPT);
	expect(strstr(kevo_errmsg(db), name) != NULL);
	expect(atomic_load(&db->ctl->version) == 0 && exists(name));
	damage(name);
	check(db, compact(db, KEVO_COMPACT_FLUSH), "flush");
	write_some(db, 3000, 0, KEYS);
	check(db, compact(db, KEVO_COMPACT_FLUSH), "flush");
	v = newest(db);
	kv_table_name(name, v->table[v->ntables - 1].info.number);
	kv_version_unref(v);
	damage(name);
	expect(compact(db, KEVO_COMPACT_FULL) == KEVO_ECORRUPT);
	expect(strstr(kevo_errmsg(db), name) != NULL);
	v = newest(db);
	expect(has_all_of(v));
	kv_version_unref(v);
	damage(name);
	check(db, compact(db, KEVO_COMPACT_FULL), "full");
	expect(same());
	expect(only_needed_files(db));
	kevo_close(db);
	tap_report("damage of a segment or table stops it, harming nothing");
}

/* Each level may be compressed in its own way. */
static void
test_codecs(void)
{
	static const uint64_t codecs[] = { 0x0101010101010101,
		0x0a0a0a0a0a0a0a0a, 0x1a0a0100010a0000 };
	struct kevo *db = create();

	forget_model();
	for (size_t i = 0; i < sizeof(codecs) / sizeof(codecs[0]); i++) {
		set(db, KV_SET_COMPRESSION, codecs[i]);
		if (kv_setting(db->ctl, KV_SET_COMPRESSION) != codecs[i]) {
			tap_note("codecs %zu are not in this build", i);
			continue;
		}
		for (int k = 0; k < 4; k++) {
			write_some(db, 1500, 0, KEYS);
			check(db, compact(db, 0), "compact");
			expect(same());
			expect(reads_same(db, NULL, model));
		}
	}
	check(db, compact(db, KEVO_COMPACT_FULL), "full");
	expect(same());
	expect(reads_same(db, NULL, model));
	kevo_close(db);
	tap_report("with compressed tables");
}

int
main(void)
{
	tap_start("compact_remove");
	test_orphans();
	test_pins();
	test_overtaken();
	test_wal_keep();
	test_rebuilder();
	test_late();
	test_piecemeal();
	test_reserve();
	test_limits();
	test_arguments();
	test_damage();
	test_codecs();
	return tap_end();
}
