/*
 * feed_test: the log as a feed, against a model that remembers every commit:
 * through rotations, flushes, sweeps, new generations and cuts; the bytes for
 * who ships them; what damaged and hostile segments are answered.
 */
#include <errno.h>
#include <sys/resource.h>

#include "control.h"
#include "db.h"
#include "feed_file.h"
#include "hash.h"
#include "record.h"
#include "tap.h"

/* ---- the model --------------------------------------------------------- */

struct change {
	uint64_t hash;		/* of kind, key, value, expiry */
};

struct commit {
	uint64_t version;
	size_t first, n;	/* changes */
};

static struct commit *commits;
static struct change *changes;
static size_t ncommits, nchanges;

static char path[300];

static void
check(struct kevo *db, int rc, const char *what)
{
	if (rc != 0)
		tap_bail("%s: %d: %s", what, rc, kevo_errmsg(db));
}

static uint64_t
hash_of(int kind, const void *key, size_t klen, const void *val, size_t vlen,
    uint64_t expires_ns)
{
	uint64_t h = kv_hash(key, klen, (uint64_t)kind * 31 + expires_ns);

	return kv_hash(val, vlen, h);
}

static void
remember(int kind, const void *key, size_t klen, const void *val, size_t vlen,
    uint64_t expires_ns)
{
	if (nchanges % 1024 == 0)
		changes = realloc(changes, (nchanges + 1024) *
		    sizeof(changes[0]));
	if (changes == NULL)
		tap_bail("out of memory");
	changes[nchanges++].hash = hash_of(kind, key, klen, val, vlen,
	    expires_ns);
}

static void
committed(uint64_t version, size_t first)
{
	if (ncommits % 1024 == 0)
		commits = realloc(commits, (ncommits + 1024) *
		    sizeof(commits[0]));
	if (commits == NULL)
		tap_bail("out of memory");
	if (version != ncommits + 1)
		tap_bail("commit %llu has number %llu",
		    (unsigned long long)ncommits + 1,
		    (unsigned long long)version);
	commits[ncommits].version = version;
	commits[ncommits].first = first;
	commits[ncommits++].n = nchanges - first;
}

static void
forget_model(void)
{
	free(commits);
	free(changes);
	commits = NULL;
	changes = NULL;
	ncommits = nchanges = 0;
}

static struct kevo *
open_with(unsigned flags, const char *const *settings)
{
	struct kevo_options opt = { .settings = settings, .compactor = "" };
	struct kevo *db;
	int rc = kevo_open(path, flags, &opt, &db);

	check(db, rc, "open");
	return db;
}

static const char *const small[] = { "memtable_bytes=64K",
	"compaction=manual", NULL };
static const char *const keeping[] = { "memtable_bytes=64K",
	"compaction=manual", "wal_keep=1G", NULL };

static struct kevo *
fresh(const char *const *settings)
{
	static int n;

	forget_model();
	snprintf(path, sizeof(path), "%s/db%d", tap_dir, ++n);
	return open_with(KEVO_CREATE, settings);
}

static enum kevo_sync
any_sync(void)
{
	static const enum kevo_sync modes[] = { KEVO_SYNC_NONE,
	    KEVO_SYNC_NONE, KEVO_SYNC_NONE, KEVO_SYNC_BATCH,
	    KEVO_SYNC_LATER, KEVO_SYNC_FULL };

	return modes[tap_below(6)];
}

static void
write_commit(struct kevo *db, enum kevo_sync sync)
{
	static char value[20000];
	size_t first = nchanges, n = tap_below(4) == 0 ? 1 + tap_below(9) : 1;
	struct kevo_batch *b;
	uint64_t version;

	if (value[0] == '\0')
		tap_fill(value, sizeof(value));
	check(db, kevo_batch_new(db, &b), "batch");
	while (n-- > 0) {
		char key[24];
		size_t klen = (size_t)snprintf(key, sizeof(key), "k%llu",
		    (unsigned long long)tap_below(500));
		size_t vlen = tap_below(tap_below(20) == 0 ? 20000 : 200);
		uint64_t expires = tap_below(5) == 0 ? tap_random() >> 2 : 0;

		if (tap_below(4) == 0) {
			check(db, kevo_batch_delete(b, key, klen), "delete");
			remember(KEVO_DELETE, key, klen, NULL, 0, 0);
			continue;
		}
		check(db, kevo_batch_put(b, key, klen, value, vlen, expires),
		    "put");
		remember(KEVO_PUT, key, klen, value, vlen, expires);
	}
	check(db, kevo_commit(db, b, sync, &version), "commit");
	committed(version, first);
	kevo_batch_free(b);
}

static int
compact(struct kevo *db, unsigned flags)
{
	struct kevo_compact c = { .flags = flags };

	return kevo_compact(db, &c, NULL);
}

/* ---- reading a feed ---------------------------------------------------- */

static struct kevo_feed *
feed_from(struct kevo *db, uint64_t after, unsigned flags)
{
	struct kevo_feed_start s = { .flags = flags, .after = after };
	struct kevo_feed *f;

	check(db, kevo_feed_open(db, &s, &f), "feed");
	return f;
}

/* One commit: is it the model's? */
static int
same_commit(struct kevo_feed *f, const struct kevo_feed_commit *c)
{
	const struct commit *m;
	struct kevo_change ch;

	if (!expect(c->version >= 1 && c->version <= ncommits))
		return 0;
	m = &commits[c->version - 1];
	if (!expect(c->changes == m->n))
		return 0;
	for (size_t i = 0; i < m->n; i++)
		if (!expect(kevo_feed_change(f, &ch) == 0) ||
		    !expect(ch.rec.version == c->version) ||
		    !expect(hash_of(ch.kind, ch.rec.key, ch.rec.klen,
		    ch.rec.value, ch.rec.vlen, ch.rec.expires_ns) ==
		    changes[m->first + i].hash))
			return 0;
	return expect(kevo_feed_change(f, &ch) == KEVO_NOTFOUND);
}

/* Read to the end; returns what ended it. */
static int
drain(struct kevo_feed *f)
{
	struct kevo_feed_commit c;
	int rc;

	for (;;) {
		uint64_t before = kevo_feed_version(f);

		if ((rc = kevo_feed_next(f, &c)) != 0)
			return rc;
		if (!expect(c.version == before + 1) ||
		    !expect(kevo_feed_version(f) == c.version) ||
		    !same_commit(f, &c))
			return KEVO_EINVAL;
	}
}

/* ---- the tests --------------------------------------------------------- */

static void
test_small(void)
{
	struct kevo *db = fresh(NULL);
	struct kevo_feed *f = feed_from(db, 0, 0), *now;
	struct kevo_feed_commit c;
	struct kevo_feed_start s = { .after = 5 };

	expect(kevo_feed_next(f, &c) == KEVO_NOTFOUND);
	expect(kevo_feed_wait(f, 0) == KEVO_NOTFOUND);
	write_commit(db, KEVO_SYNC_FULL);
	expect(kevo_feed_wait(f, 0) == 0);
	expect(drain(f) == KEVO_NOTFOUND && kevo_feed_version(f) == 1);
	write_commit(db, KEVO_SYNC_NONE);
	now = feed_from(db, 0, KEVO_FEED_NOW);
	expect(kevo_feed_version(now) == 2);
	expect(drain(now) == KEVO_NOTFOUND && kevo_feed_version(now) == 2);
	write_commit(db, KEVO_SYNC_FULL);
	expect(drain(now) == KEVO_NOTFOUND && kevo_feed_version(now) == 3);
	expect(drain(f) == KEVO_NOTFOUND && kevo_feed_version(f) == 3);
	kevo_feed_close(f);
	expect(kevo_feed_open(db, &s, &f) == KEVO_EINVAL);
	expect(strstr(kevo_errmsg(db), "no version 5 yet") != NULL);
	kevo_feed_close(now);
	kevo_close(db);
	tap_report("commits come as they are made, and none is made up");
}

static void
test_durable(void)
{
	struct kevo *db = fresh(NULL);
	struct kevo_feed *f = feed_from(db, 0, KEVO_FEED_DURABLE), *v;

	v = feed_from(db, 0, 0);
	write_commit(db, KEVO_SYNC_NONE);
	expect(drain(f) == KEVO_NOTFOUND && kevo_feed_version(f) == 0);
	expect(drain(v) == KEVO_NOTFOUND && kevo_feed_version(v) == 1);
	write_commit(db, KEVO_SYNC_LATER);
	expect(drain(v) == KEVO_NOTFOUND && kevo_feed_version(v) == 1);
	check(db, kevo_sync(db), "sync");
	expect(drain(f) == KEVO_NOTFOUND && kevo_feed_version(f) == 2);
	expect(drain(v) == KEVO_NOTFOUND && kevo_feed_version(v) == 2);
	kevo_feed_close(f);
	kevo_feed_close(v);
	kevo_close(db);
	tap_report("a durable feed waits for the disk");
}

/* Feeds that begin anywhere, beside one that stays, a handle that only reads,
 * and a log that is rotated and flushed and swept all the time. */
static void
test_model(const char *const *settings, int kept)
{
	struct kevo *db = fresh(settings), *reader;
	struct kevo_feed *live, *other, *f;
	struct kevo_feed_start s = { 0 };

	reader = open_with(KEVO_RDONLY, NULL);
	live = feed_from(db, 0, 0);
	other = feed_from(reader, 0, KEVO_FEED_DURABLE);
	for (int round = 0; round < 60; round++) {
		for (size_t i = 1 + tap_below(60); i > 0; i--)
			write_commit(db, any_sync());
		if (tap_below(2) == 0)
			check(db, kevo_sync(db), "sync");
		/* Taking hold of what is there is enough. */
		expect(kevo_feed_wait(live, 0) >= 0);
		expect(kevo_feed_wait(other, 0) >= 0);
		if (tap_below(3) == 0)
			expect(compact(db, tap_below(2) ? 0 :
			    KEVO_COMPACT_FULL) == 0);
		if (tap_below(2) == 0)
			expect(drain(live) == KEVO_NOTFOUND);
		if (tap_below(2) == 0)
			expect(drain(other) == KEVO_NOTFOUND);
		s.after = tap_below(kevo_feed_version(live) + 1);
		if (kevo_feed_open(reader, &s, &f) == 0) {
			expect(drain(f) == KEVO_NOTFOUND);
			kevo_feed_close(f);
		} else
			expect(!kept);
	}
	check(db, kevo_sync(db), "sync");
	expect(drain(live) == KEVO_NOTFOUND);
	expect(drain(other) == KEVO_NOTFOUND);
	expect(kevo_feed_version(live) == ncommits);
	expect(kevo_feed_version(other) == ncommits);
	kevo_feed_close(live);
	kevo_feed_close(other);
	kevo_close(reader);
	kevo_close(db);
}

static void
test_gone(void)
{
	struct kevo *db = fresh(small);
	struct kevo_feed *f, *late = feed_from(db, 0, 0);
	struct kevo_feed_start s = { 0 };
	const char *told;
	uint64_t oldest;

	while (atomic_load(&db->ctl->active) < KV_FEED_AHEAD + 8)
		write_commit(db, KEVO_SYNC_NONE);
	expect(compact(db, KEVO_COMPACT_FULL) == 0);
	expect(kevo_feed_open(db, &s, &f) == KEVO_EHISTORY);
	told = strstr(kevo_errmsg(db), "go on after is ");
	if (expect(told != NULL)) {
		s.after = strtoull(told + 15, NULL, 10);
		expect(kv_feed_oldest(db, NULL, &oldest) == 0 &&
		    oldest == s.after);
		expect(s.after > 0 && kevo_feed_open(db, &s, &f) == 0);
		expect(drain(f) == KEVO_NOTFOUND);
		expect(kevo_feed_version(f) == ncommits);
		kevo_feed_close(f);
		s.after--;
		expect(kevo_feed_open(db, &s, &f) == KEVO_EHISTORY);
	}
	/* It did not look for too long: what it has open comes first. */
	expect(drain(late) == KEVO_EHISTORY);
	kevo_feed_close(late);
	kevo_close(db);
	tap_report("what is gone is said to be, with the oldest that is left");
}

static void
test_positions(void)
{
	struct kevo *db = fresh(keeping);
	char at[KEVO_POSITION_LEN], wrong[KEVO_POSITION_LEN];
	struct kevo_feed_start s = { .position = at };
	struct kevo_feed_commit c;
	struct kevo_feed *f = feed_from(db, 0, 0), *g;
	char *last;

	for (int i = 0; i < 3000; i++)
		write_commit(db, KEVO_SYNC_NONE);
	for (int i = 0; i < 3000; i++) {
		if (i % 100 == 0) {
			kevo_feed_position(f, at);
			check(db, kevo_feed_open(db, &s, &g), "position");
			expect(kevo_feed_version(g) == (uint64_t)i);
			kevo_feed_position(g, wrong);
			expect(strcmp(at, wrong) == 0);
			expect(i % 1000 != 0 || drain(g) == KEVO_NOTFOUND);
			kevo_feed_close(g);
			last = wrong + strlen(wrong) - 1;
			*last = *last == '0' ? '1' : '0';
			s.position = wrong;
			expect(kevo_feed_open(db, &s, &g) == KEVO_EHISTORY);
			s.position = at;
		}
		expect(kevo_feed_next(f, &c) == 0);
	}
	s.position = "60";
	expect(kevo_feed_open(db, &s, &g) == KEVO_EINVAL);
	kevo_feed_close(f);
	kevo_close(db);
	tap_report("a feed goes on at a position, and only in its history");
}

/* ---- new generations --------------------------------------------------- */

static void
remove_shm(void)
{
	char cmd[400];

	snprintf(cmd, sizeof(cmd), "rm -rf '%s/shm'", path);
	if (system(cmd) != 0)
		tap_bail("cannot remove shm");
}

static void
test_generations(void)
{
	struct kevo *db = fresh(small), *reader = open_with(KEVO_RDONLY,
	    NULL);
	struct kevo_feed *f = feed_from(reader, 0, 0);

	for (int i = 0; i < 8; i++) {
		for (int k = 0; k < 50; k++)
			write_commit(db, KEVO_SYNC_NONE);
		if (i % 2 == 0)
			expect(drain(f) == KEVO_NOTFOUND);
		else
			expect(kevo_feed_wait(f, 0) == 0);
		if (i % 3 == 0)
			expect(compact(db, KEVO_COMPACT_FULL) == 0);
		kevo_close(db);
		remove_shm();
		db = open_with(0, NULL);
		/* A tick must pass before a handle looks at its files. */
		for (int k = 0; k < 100 && reader->ctl->generation !=
		    db->ctl->generation; k++) {
			usleep(1000);
			expect(kevo_feed_wait(f, 0) >= 0);
		}
		expect(reader->ctl->generation == db->ctl->generation);
	}
	expect(drain(f) == KEVO_NOTFOUND);
	expect(kevo_feed_version(f) == ncommits);
	kevo_feed_close(f);
	kevo_close(reader);
	kevo_close(db);
	tap_report("a feed goes on through new generations");
}

/* Overwrite the log from the end of commit `from` on, as a power cut does
 * with what was not synced. */
static void
cut_log(uint64_t counter, uint64_t from)
{
	char name[400], seg[KV_SEGMENT_NAME_LEN];
	static uint8_t log[65536], zero[65536];
	struct kv_segment_head h;
	struct kv_walk w;
	int fd;

	kv_segment_name(seg, counter);
	snprintf(name, sizeof(name), "%s/%s", path, seg);
	fd = open(name, O_RDWR);
	if (fd < 0 || pread(fd, log, sizeof(log), 0) != sizeof(log) ||
	    kv_segment_head_decode(log, &h) != 0)
		tap_bail("cannot read %s", name);
	kv_walk_start(&w, log, sizeof(log), &h);
	while (w.seq < from)
		if (kv_walk_next(&w) != KV_WALK_RECORD)
			tap_bail("cannot find commit %llu",
			    (unsigned long long)from);
	if (pwrite(fd, zero, sizeof(log) - w.off, (off_t)w.off) !=
	    (ssize_t)(sizeof(log) - w.off))
		tap_bail("cannot cut %s", name);
	close(fd);
}

/* Twenty commits that were seen, ten of them lost, others in their place. */
static void
test_cut(int others, uint64_t told)
{
	struct kevo *db = fresh(NULL), *reader;
	char at[KEVO_POSITION_LEN], val[100] = "", key[20];
	struct kevo_feed_start s = { .position = at };
	struct kevo_feed *f, *g;
	struct kevo_feed_commit c;
	struct kevo_write w = { .sync = KEVO_SYNC_NONE };

	for (int i = 0; i < 20; i++) {
		snprintf(key, sizeof(key), "key%d", i);
		check(db, kevo_put(db, key, strlen(key), val, sizeof(val), &w,
		    NULL), "put");
	}
	reader = open_with(KEVO_RDONLY, NULL);
	f = feed_from(reader, 0, 0);
	while (kevo_feed_version(f) < told)
		expect(kevo_feed_next(f, &c) == 0);
	kevo_feed_position(f, at);
	kevo_close(db);
	cut_log(1, 10);
	remove_shm();
	db = open_with(0, NULL);
	for (int i = 0; i < others; i++) {
		snprintf(key, sizeof(key), "new%d", i);
		check(db, kevo_put(db, key, strlen(key), val, sizeof(val), &w,
		    NULL), "put");
	}
	usleep(10000);
	if (told <= 10) {
		while (kevo_feed_next(f, &c) == 0)
			;
		expect(kevo_feed_version(f) == 10 + (uint64_t)others);
		check(db, kevo_feed_open(db, &s, &g), "position");
		kevo_feed_close(g);
	} else {
		expect(kevo_feed_next(f, &c) == KEVO_EHISTORY);
		expect(strstr(kevo_errmsg(reader), "history has changed") !=
		    NULL);
		expect(kevo_feed_open(db, &s, &g) == KEVO_EHISTORY);
		expect(strstr(kevo_errmsg(db), "history has changed") !=
		    NULL);
	}
	kevo_feed_close(f);
	kevo_close(reader);
	kevo_close(db);
}

/* ---- bytes, for who ships them ----------------------------------------- */

static uint8_t *
read_file(const char *name, size_t *len)
{
	char full[500];
	uint8_t *p = tap_alloc(1 << 20);
	ssize_t n;
	int fd;

	snprintf(full, sizeof(full), "%s/%s", path, name);
	fd = open(full, O_RDONLY);
	if (fd < 0 || (n = read(fd, p, 1 << 20)) < 0)
		tap_bail("cannot read %s", full);
	close(fd);
	*len = (size_t)n;
	return p;
}

/* Step through all and put segments together again; each must be the file. */
static void
compare_bytes(struct kevo *db, const struct kv_feed_start *s, size_t *sealed)
{
	static uint8_t got[1 << 20];
	struct kv_feed_item item;
	struct kevo_feed *f;
	size_t len = 0, flen;
	uint64_t records = 0;
	int rc;

	*sealed = 0;
	check(db, kv_feed_open(db, s, &f), "feed");
	while ((rc = kv_feed_step(f, &item)) == 0) {
		if (item.kind == KV_FEED_HEAD)
			len = records = 0;
		if (!expect(item.off == len) ||
		    !expect(len + item.len <= sizeof(got)))
			break;
		memcpy(got + len, item.bytes, item.len);
		len += item.len;
		records += item.kind == KV_FEED_RECORD;
		if (item.kind == KV_FEED_RECORD)
			expect(item.records == records);
		if (item.kind == KV_FEED_SEAL) {
			char seg[KV_SEGMENT_NAME_LEN], keep[100];
			uint8_t *file;

			kv_segment_name(seg, item.head->counter);
			snprintf(keep, sizeof(keep), "keep/%s", seg + 4);
			file = read_file(keep, &flen);
			expect(flen == len && memcmp(file, got, len) == 0);
			expect(item.records == records);
			free(file);
			++*sealed;
		}
	}
	expect(rc == KEVO_NOTFOUND);
	kevo_feed_close(f);
}

static void
link_segments(struct kevo *db, int named)
{
	char from[400], to[500], seg[KV_SEGMENT_NAME_LEN];
	uint64_t active = atomic_load(&db->ctl->active);

	for (uint64_t c = 1; c < active; c++) {
		struct kv_segment_head h;
		struct kv_seal seal;
		uint8_t *b;
		size_t len;

		kv_segment_name(seg, c);
		snprintf(from, sizeof(from), "%s/%s", path, seg);
		snprintf(to, sizeof(to), "%s/keep/%s", path, seg + 4);
		if (access(from, F_OK) != 0)
			continue;
		if (named) {
			b = read_file(seg, &len);
			expect(kv_segment_head_decode(b, &h) == 0 &&
			    kv_seal_decode(b + len - KV_SEAL_LEN, &seal) == 0);
			free(b);
			snprintf(to, sizeof(to), "%s/slots/r1/%08x-%016llx-"
			    "%016llx.seg", path, h.epoch,
			    (unsigned long long)h.first_seq,
			    (unsigned long long)seal.last_seq);
		}
		if (link(from, to) != 0 && errno != EEXIST)
			tap_bail("cannot link %s", to);
	}
}

static void
make_dir(const char *name)
{
	char full[400];

	snprintf(full, sizeof(full), "%s/%s", path, name);
	if (mkdir(full, 0777) != 0 && errno != EEXIST)
		tap_bail("cannot make %s", full);
}

static void
test_bytes(void)
{
	struct kevo *db = fresh(small);
	struct kv_feed_start s = { .flags = KEVO_FEED_DURABLE };
	struct kevo_feed *f;
	size_t sealed;
	uint64_t oldest;

	make_dir("keep");
	make_dir("slots");
	make_dir("slots/r1");
	for (int i = 0; i < 1500; i++)
		write_commit(db, KEVO_SYNC_NONE);
	check(db, kevo_sync(db), "sync");
	link_segments(db, 0);
	compare_bytes(db, &s, &sealed);
	expect(sealed > 3 && sealed == atomic_load(&db->ctl->active) - 1);
	tap_report("the bytes of a shipped segment are the file's");

	link_segments(db, 1);
	expect(compact(db, KEVO_COMPACT_FULL) == 0);
	expect(kv_feed_open(db, &s, &f) == KEVO_EHISTORY);
	s.dir = "slots/r1";
	check(db, kv_feed_oldest(db, s.dir, &oldest), "oldest");
	expect(oldest == 0);
	s.after = 0;
	check(db, kv_feed_open(db, &s, &f), "feed");
	/* What the last compaction sealed is in no slot. */
	expect(drain(f) == KEVO_EHISTORY || kevo_feed_version(f) == ncommits);
	expect(kevo_feed_version(f) > 1000);
	kevo_feed_close(f);
	tap_report("a slot's directory has what wal/ has no more");
	kevo_close(db);
}

/* At the very end of a segment: its header and its seal come, no record. */
static void
test_seal(void)
{
	struct kevo *db = fresh(keeping);
	struct kv_feed_start s = { .flags = KEVO_FEED_DURABLE };
	struct kv_feed_item item;
	struct kevo_feed *f, *live;

	for (int i = 0; i < 5; i++)
		write_commit(db, KEVO_SYNC_FULL);
	check(db, kv_feed_open(db, &s, &live), "feed");
	for (int i = 0; i < 6; i++)
		expect(kv_feed_step(live, &item) == 0 && item.kind ==
		    (i == 0 ? KV_FEED_HEAD : KV_FEED_RECORD));
	expect(kv_feed_step(live, &item) == KEVO_NOTFOUND);
	expect(kevo_feed_wait(live, 0) == KEVO_NOTFOUND);
	expect(compact(db, KEVO_COMPACT_FULL) == 0);
	expect(kevo_feed_wait(live, 0) == 0);
	expect(kv_feed_step(live, &item) == 0 && item.kind == KV_FEED_SEAL);
	expect(item.seq == 5 && item.records == 5);
	expect(kv_feed_step(live, &item) == KEVO_NOTFOUND);
	s.after = 5;
	check(db, kv_feed_open(db, &s, &f), "feed");
	expect(kv_feed_step(f, &item) == 0 && item.kind == KV_FEED_HEAD &&
	    item.head->first_seq == 1);
	expect(kv_feed_step(f, &item) == 0 && item.kind == KV_FEED_SEAL);
	expect(kv_feed_step(f, &item) == KEVO_NOTFOUND);
	write_commit(db, KEVO_SYNC_FULL);
	for (int i = 0; i < 2; i++) {
		struct kevo_feed *one = i == 0 ? f : live;

		expect(kv_feed_step(one, &item) == 0 && item.kind ==
		    KV_FEED_HEAD && item.head->first_seq == 6);
		expect(kv_feed_step(one, &item) == 0 && item.kind ==
		    KV_FEED_RECORD && item.seq == 6);
	}
	kevo_feed_close(f);
	kevo_feed_close(live);
	kevo_close(db);
	tap_report("the seal of a segment is told when it is there");
}

/* ---- damage ------------------------------------------------------------ */

static void
flip(const char *name, uint64_t off, uint8_t with)
{
	char full[400];
	uint8_t b;
	int fd;

	snprintf(full, sizeof(full), "%s/%s", path, name);
	fd = open(full, O_RDWR);
	if (fd < 0 || pread(fd, &b, 1, (off_t)off) != 1)
		tap_bail("cannot read %s", full);
	b ^= with;
	if (pwrite(fd, &b, 1, (off_t)off) != 1)
		tap_bail("cannot write %s", full);
	close(fd);
}

/* What a feed over all of it ends with. */
static int
drain_all(struct kevo *db)
{
	struct kevo_feed_start s = { 0 };
	struct kevo_feed *f;
	int rc;

	if ((rc = kevo_feed_open(db, &s, &f)) != 0)
		return rc;
	rc = drain(f);
	kevo_feed_close(f);
	return rc;
}

/* Whatever byte of a sealed segment is wrong: the commits before it come,
 * then it is reported, and nothing that was not written ever comes. */
static void
test_damage(void)
{
	struct kevo *db = fresh(keeping);
	const char *seg = "wal/0000000000000002.seg";
	struct kevo_feed_start s = { 0 };
	struct kevo_feed *f;
	uint8_t *b;
	size_t len;

	while (atomic_load(&db->ctl->active) < 4)
		write_commit(db, KEVO_SYNC_NONE);
	b = read_file(seg, &len);
	for (int i = 0; i < 400; i++) {
		uint64_t off = i < 128 ? (uint64_t)i : i < 192 ? len - 192 +
		    (uint64_t)i : tap_below(len);
		uint8_t with = (uint8_t)(1u << tap_below(8));

		flip(seg, off, with);
		if (!expect(drain_all(db) == KEVO_ECORRUPT))
			tap_note("byte %llu of %zu", (unsigned long long)off,
			    len);
		expect(strstr(kevo_errmsg(db), seg) != NULL);
		flip(seg, off, with);
	}
	/* Begun in the midst of it, frames alone lead there. */
	flip(seg, len - KV_SEAL_LEN - 1, 1);
	s.after = get_le64(b + 48) + 3;
	check(db, kevo_feed_open(db, &s, &f), "feed");
	expect(drain(f) == KEVO_ECORRUPT);
	kevo_feed_close(f);
	flip(seg, len - KV_SEAL_LEN - 1, 1);
	expect(drain_all(db) == KEVO_NOTFOUND);
	free(b);
	kevo_close(db);
	tap_report("a damaged segment is reported, and nothing else comes");
}

/* A sealed segment whose first record says that it is huge, under a hash that
 * is right; files that are cut, and one that is another's. */
static void
test_hostile(void)
{
	struct kevo *db = fresh(keeping);
	const char *seg = "wal/0000000000000002.seg";
	char full[400];
	uint8_t *b, frame[KV_FRAME_LEN];
	struct kv_frame fr;
	struct rusage before, after;
	size_t len;
	int fd;

	while (atomic_load(&db->ctl->active) < 4)
		write_commit(db, KEVO_SYNC_NONE);
	b = read_file(seg, &len);
	snprintf(full, sizeof(full), "%s/%s", path, seg);
	if ((fd = open(full, O_RDWR)) < 0)
		tap_bail("cannot open %s", full);
	getrusage(RUSAGE_SELF, &before);
	expect(kv_frame_decode(b + KV_SEGMENT_HEAD, &fr, get_le64(b + 40)) ==
	    0);
	fr.payload_len = KV_PAYLOAD_MAX;
	kv_frame_encode(frame, &fr, get_le64(b + 40));
	expect(pwrite(fd, frame, sizeof(frame), KV_SEGMENT_HEAD) ==
	    (ssize_t)sizeof(frame));
	expect(drain_all(db) == KEVO_ECORRUPT);
	getrusage(RUSAGE_SELF, &after);
	expect(after.ru_maxrss - before.ru_maxrss < 65536);
	expect(pwrite(fd, b, len, 0) == (ssize_t)len);
	for (int i = 0; i < 100; i++) {
		uint64_t cut = tap_below(len);

		if (ftruncate(fd, (off_t)cut) != 0)
			tap_bail("cannot cut");
		expect(drain_all(db) == KEVO_ECORRUPT);
		expect(pwrite(fd, b, len, 0) == (ssize_t)len);
	}
	/* Whole and sound, but of another history. */
	put_le64(b + 56, get_le64(b + 56) ^ 1);
	put_le64(b + 120, kv_hash(b, 120, 0));
	expect(pwrite(fd, b, KV_SEGMENT_HEAD, 0) == KV_SEGMENT_HEAD);
	expect(drain_all(db) == KEVO_EHISTORY);
	close(fd);
	free(b);
	kevo_close(db);
	tap_report("hostile and cut segments cost nothing and come to nothing");
}

int
main(void)
{
	tap_start("feed");
	test_small();
	test_durable();
	test_model(small, 0);
	tap_report("a feed that keeps up gets all, whatever is swept");
	test_model(keeping, 1);
	tap_report("a feed begins anywhere in a log that is kept");
	test_gone();
	test_positions();
	test_generations();
	test_cut(0, 20);
	test_cut(5, 20);
	test_cut(10, 20);
	test_cut(15, 20);
	tap_report("a feed that told what was lost says that history changed");
	test_cut(5, 10);
	test_cut(5, 7);
	tap_report("a feed that did not goes on");
	test_bytes();
	test_seal();
	test_damage();
	test_hostile();
	forget_model();
	return tap_end();
}
