/*
 * damage_test: the engine over damaged files.  A damaged log is refused by
 * name; damaged shared memory leads to the right data or to an error, and
 * never to a crash, a loop or data that nobody wrote.
 *
 * What may crash runs in a child, which tells how far it came.
 */
#include <kevo.h>

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "coding.h"
#include "control.h"
#include "memindex.h"
#include "record.h"
#include "segment.h"
#include "tap.h"

#define COMMITS	600
#define TAIL	8		/* of them, synced one by one at the end */
#define VALUE	420
#define SEGMENTS_MAX 16

static char path[220];
static uint64_t segments;

/* ---- files ------------------------------------------------------------- */

struct file {
	char name[280];
	uint8_t *b;
	size_t len;
};

static struct file format, segment[SEGMENTS_MAX + 1];	/* from 1 */

static void
load(struct file *f, const char *name)
{
	struct stat st;
	int fd;

	snprintf(f->name, sizeof(f->name), "%s/%s", path, name);
	fd = open(f->name, O_RDONLY);
	if (fd < 0 || fstat(fd, &st) != 0)
		tap_bail("%s: %s", f->name, strerror(errno));
	free(f->b);
	f->len = (size_t)st.st_size;
	f->b = tap_alloc(f->len);
	if (read(fd, f->b, f->len) != (ssize_t)f->len)
		tap_bail("%s: cannot read", f->name);
	close(fd);
}

static void
write_at(const char *name, const void *p, size_t len, uint64_t off)
{
	int fd = open(name, O_WRONLY | O_CREAT, 0600);

	if (fd < 0 || pwrite(fd, p, len, (off_t)off) != (ssize_t)len)
		tap_bail("%s: %s", name, strerror(errno));
	close(fd);
}

static void
flip(const struct file *f, uint64_t off, int bit)
{
	uint8_t v = f->b[off] ^ (uint8_t)(1 << bit);

	write_at(f->name, &v, 1, off);
}

static void
restore(const struct file *f)
{
	if (truncate(f->name, 0) != 0 && errno != ENOENT)
		tap_bail("%s: %s", f->name, strerror(errno));
	write_at(f->name, f->b, f->len, 0);
}

static void
remove_shm(void)
{
	char dir[240], name[520];
	struct dirent *e;
	DIR *d;

	snprintf(dir, sizeof(dir), "%s/shm", path);
	if ((d = opendir(dir)) == NULL) {
		unlink(dir);
		return;
	}
	while ((e = readdir(d)) != NULL) {
		snprintf(name, sizeof(name), "%s/%s", dir, e->d_name);
		if (e->d_name[0] != '.' && unlink(name) != 0)
			rmdir(name);
	}
	closedir(d);
	rmdir(dir);
}

static void
segment_file(char name[280], uint64_t counter)
{
	char rel[KV_SEGMENT_NAME_LEN];

	kv_segment_name(rel, counter);
	snprintf(name, 280, "%s/%s", path, rel);
}

/* All as it was after set_up(), but for shm. */
static void
restore_all(void)
{
	char name[280];

	restore(&format);
	for (uint64_t c = 1; c <= segments; c++)
		restore(&segment[c]);
	for (uint64_t c = segments + 1; c < segments + 4; c++) {
		segment_file(name, c);
		unlink(name);
	}
	remove_shm();
}

/* ---- what is in it ----------------------------------------------------- */

/* Commit i puts key i; each tenth one deletes the key five before it. */
static size_t
key_of(unsigned i, char key[32])
{
	return (size_t)snprintf(key, 32, "key/%u/%05u", i / 100, i);
}

static void
value_of(unsigned i, char value[VALUE])
{
	for (unsigned j = 0; j < VALUE; j++)
		value[j] = (char)(i * 2654435761u >> 9 ^ j * 31);
}

static int
is_there(unsigned i, uint64_t commits)
{
	if (i % 10 == 0 || i >= commits)
		return 0;
	return i % 10 != 5 || i + 5 >= commits;
}

static int
commit(struct kevo *db, unsigned i)
{
	struct kevo_write w = {
		.sync = i < COMMITS - TAIL ? KEVO_SYNC_NONE : KEVO_SYNC_FULL
	};
	char key[32], value[VALUE];
	size_t klen;

	if (i % 10 == 0 && i > 0) {
		klen = key_of(i - 5, key);
		return kevo_delete(db, key, klen, &w, NULL);
	}
	if (i == 0)
		return kevo_delete(db, "none", 4, &w, NULL);
	klen = key_of(i, key);
	value_of(i, value);
	return kevo_put(db, key, klen, value, VALUE, &w, NULL);
}

static int
is_record(const struct kevo_record *rec, unsigned i)
{
	char key[32], value[VALUE];
	size_t klen = key_of(i, key);

	value_of(i, value);
	return rec->klen == klen && memcmp(rec->key, key, klen) == 0 &&
	    rec->vlen == VALUE && memcmp(rec->value, value, VALUE) == 0 &&
	    rec->version == i + 1 && rec->expires_ns == 0;
}

static void
make_database(const char *name)
{
	static const char *const settings[] = { "memtable_bytes=64K",
		"compaction=manual", NULL };
	struct kevo_options opt = { .settings = settings };
	struct kevo *db;

	snprintf(path, sizeof(path), "%s/%s", tap_dir, name);
	if (kevo_open(path, KEVO_CREATE, &opt, &db) != 0)
		tap_bail("create: %s", kevo_errmsg(db));
	for (unsigned i = 0; i < COMMITS; i++)
		if (commit(db, i) != 0)
			tap_bail("commit: %s", kevo_errmsg(db));
	kevo_close(db);
}

static void
set_up(void)
{
	char rel[KV_SEGMENT_NAME_LEN], name[280];

	load(&format, "FORMAT");
	for (uint64_t c = 1; c <= SEGMENTS_MAX; c++) {
		kv_segment_name(rel, c);
		segment_file(name, c);
		if (access(name, F_OK) != 0)
			break;
		load(&segment[c], rel);
		segments = c;
	}
	if (segments < 4 || segments == SEGMENTS_MAX)
		tap_bail("%d segments", (int)segments);
}

/* ---- how a damaged database answers ------------------------------------ */

enum outcome {
	RIGHT = 1,	/* all commits are there */
	PREFIX,		/* the first commits are, and no others */
	ABSENT,		/* nothing wrong, but records are missing */
	ERROR,		/* refused with a sentence */
	WRONG,		/* data that is not so, or an error without a word */
	DIED
};

static const char *const outcomes[] = { "", "right", "a prefix",
	"records are missing", "an error", "wrong", "died" };

/* A sentence that says what it is about. */
static enum outcome
error(struct kevo *db, int rc)
{
	return rc < 0 && strstr(kevo_errmsg(db), path) != NULL ? ERROR :
	    WRONG;
}

/* Whether all is there that the first n commits put there. */
static enum outcome
compare_gets(struct kevo *db, uint64_t n)
{
	enum outcome o = RIGHT;
	struct kevo_record rec;
	char key[32];
	int rc;

	for (unsigned i = COMMITS + 10; i-- > 0; i -= i > 40 ? 7 : 0) {
		rc = kevo_peek(db, NULL, key, key_of(i, key), &rec);
		if (rc < 0)
			return error(db, rc);
		if (rc == KEVO_NOTFOUND && is_there(i, n))
			o = ABSENT;
		if (rc == 0 && !is_record(&rec, i))
			return WRONG;
		if (rc == 0 && !is_there(i, n) && o == RIGHT)
			o = ABSENT;	/* a deletion is */
	}
	return o;
}

static enum outcome
compare_walk(struct kevo *db, uint64_t n)
{
	enum outcome o = RIGHT;
	struct kevo_record rec;
	struct kevo_iter *it;
	unsigned i = 0;
	int rc;

	if ((rc = kevo_iter_new(db, NULL, NULL, &it)) != 0)
		return error(db, rc);
	for (rc = kevo_iter_first(it, &rec); rc == 0;
	    rc = kevo_iter_next(it, &rec)) {
		unsigned at = (unsigned)rec.version - 1;

		while (i < at && !is_there(i, n))
			i++;
		if (i != at)
			o = ABSENT;
		if (at < i || !is_record(&rec, at)) {
			kevo_iter_free(it);
			return WRONG;
		}
		i = at + 1;
	}
	if (rc == KEVO_NOTFOUND)
		for (; i < COMMITS + 10; i++)
			if (is_there(i, n))
				o = ABSENT;
	if (rc < 0)
		o = error(db, rc);
	kevo_iter_free(it);
	return o;
}

static enum outcome
compare_all(struct kevo *db)
{
	enum outcome o, p;
	struct kevo_stats st;
	int rc;

	/* Before anything else, for the first ones are read cold. */
	o = compare_gets(db, COMMITS);
	if (o == WRONG || o == ERROR)
		return o;
	if ((rc = kevo_stats(db, &st)) != 0)
		return error(db, rc);
	if (st.visible < COMMITS && compare_gets(db, st.visible) == RIGHT &&
	    compare_walk(db, st.visible) == RIGHT)
		return PREFIX;
	p = compare_walk(db, COMMITS);
	return o > p ? o : p;
}

static enum outcome
open_and_compare(unsigned flags)
{
	struct kevo_options opt = { .wait_set = 1, .wait_ms = 300 };
	enum outcome o;
	struct kevo *db;
	int rc = kevo_open(path, flags, &opt, &db);

	o = rc != 0 ? error(db, rc) : compare_all(db);
	if (kevo_close(db) != 0 && o == RIGHT)
		o = ERROR;
	return o;
}

/* The log is damaged in segment: without shm it is refused by its name. */
static int
refused(uint64_t counter, unsigned flags)
{
	char rel[KV_SEGMENT_NAME_LEN], said[200];
	struct kevo *db;
	int rc, named;

	kv_segment_name(rel, counter);
	remove_shm();
	rc = kevo_open(path, flags, NULL, &db);
	if (rc == 0 && (flags & KEVO_RDONLY))
		rc = kevo_peek(db, NULL, "k", 1, &(struct kevo_record){ 0 });
	named = strstr(kevo_errmsg(db), counter == 0 ? "/wal" : rel) != NULL;
	snprintf(said, sizeof(said), "%.190s", kevo_errmsg(db));
	kevo_close(db);
	if (rc == KEVO_ECORRUPT && named)
		return 1;
	tap_note("%d: %s", rc, said);
	return 0;
}

/* ---- the log ----------------------------------------------------------- */

static uint64_t
record_at(const struct file *f, unsigned n)
{
	uint64_t off = KV_SEGMENT_HEAD;

	while (n-- > 0)
		off += kv_record_len(get_le32(f->b + off));
	return off;
}

static unsigned
records_in(const struct file *f)
{
	unsigned n = 0;

	for (uint64_t off = KV_SEGMENT_HEAD; off + KV_FRAME_LEN < f->len &&
	    get_le32(f->b + off) != 0 &&
	    memcmp(f->b + off, "KEVOSEAL", 8) != 0; n++)
		off += kv_record_len(get_le32(f->b + off));
	return n;
}

static void
flip_range(uint64_t counter, uint64_t from, uint64_t len)
{
	const struct file *f = &segment[counter];

	for (uint64_t off = from; off < from + len; off++) {
		flip(f, off, (int)tap_below(8));
		if (!expect(refused(counter, off % 2 ? KEVO_RDONLY : 0)))
			tap_note("segment %d byte %d", (int)counter,
			    (int)off);
		write_at(f->name, f->b + off, 1, off);
	}
}

static void
test_sealed(void)
{
	uint64_t mid = 2, n = records_in(&segment[mid]);
	uint64_t off = record_at(&segment[mid], (unsigned)n / 2), total;

	flip_range(1, 0, KV_SEGMENT_HEAD);
	flip_range(mid, 32 + tap_below(64), 20);
	tap_report("log: each byte of a sealed segment's header");
	flip_range(1, segment[1].len - KV_SEAL_LEN, KV_SEAL_LEN);
	flip_range(segments - 1, segment[segments - 1].len - 1 -
	    tap_below(KV_SEAL_LEN - 20), 1);
	tap_report("log: each byte of a seal");
	total = kv_record_len(get_le32(segment[mid].b + off));
	flip_range(mid, off, KV_FRAME_LEN + KV_PAYLOAD_HEAD + KV_OP_HEAD);
	flip_range(mid, off + total - KV_TRAILER_LEN, KV_TRAILER_LEN);
	flip_range(1, KV_SEGMENT_HEAD, KV_FRAME_LEN);
	tap_report("log: each byte of frames, counts, operations, trailers");
	for (int i = 0; i < 40; i++) {
		uint64_t c = 1 + tap_below(segments - 1);

		flip_range(c, tap_below(segment[c].len), 1);
	}
	tap_report("log: any byte of any sealed segment");
	for (int i = 0; i < 30; i++) {
		uint64_t c = 1 + tap_below(segments - 1);

		if (truncate(segment[c].name,
		    (off_t)tap_below(segment[c].len)) != 0)
			tap_bail("truncate: %s", strerror(errno));
		expect(refused(c, i % 2 ? KEVO_RDONLY : 0));
		restore(&segment[c]);
	}
	tap_report("log: a sealed segment cut anywhere");
	remove_shm();
	expect(open_and_compare(0) == RIGHT);
	tap_report("log: and without damage all is there");
}

/* The last segment has no seal; the last commit is not known to be synced
 * by anything behind it. */
static void
test_last(void)
{
	const struct file *f = &segment[segments];
	unsigned n = records_in(f);
	uint64_t last = record_at(f, n - 1), end = record_at(f, n);
	enum outcome o;

	flip_range(segments, 0, KV_SEGMENT_HEAD);
	tap_report("log: each byte of the last segment's header");
	flip_range(segments, record_at(f, n - 3), KV_FRAME_LEN);
	for (int i = 0; i < 40; i++)
		flip_range(segments, KV_SEGMENT_HEAD + tap_below(record_at(f,
		    n - 2) - KV_SEGMENT_HEAD), 1);
	tap_report("log: any byte of a record that was synced");
	for (uint64_t off = last; off < end; off += 13) {
		remove_shm();
		flip(f, off, (int)tap_below(8));
		o = open_and_compare(off % 2 ? KEVO_RDONLY : 0);
		if (!expect(o == PREFIX))
			tap_note("byte %d: %s", (int)off, outcomes[o]);
		restore(f);
	}
	tap_report("log: a torn last record is cut off");
	for (int i = 0; i < 20; i++) {
		remove_shm();
		flip(f, end + tap_below(f->len - end), (int)tap_below(8));
		o = open_and_compare(i % 2 ? KEVO_RDONLY : 0);
		if (!expect(o == RIGHT))
			tap_note("%s", outcomes[o]);
		restore(f);
	}
	tap_report("log: so is what lies behind it");
}

static void
move_file(const char *from, const char *to)
{
	if (rename(from, to) != 0)
		tap_bail("rename %s: %s", from, strerror(errno));
}

static void
test_files(void)
{
	char aside[280], other[280], next[280], theirs[280];
	char *name = segment[2].name;

	snprintf(aside, sizeof(aside), "%s/aside", tap_dir);
	for (uint64_t c = 1; c < segments; c++) {
		move_file(segment[c].name, aside);
		expect(refused(0, 0) && refused(0, KEVO_RDONLY));
		move_file(aside, segment[c].name);
	}
	tap_report("log: a missing segment");
	move_file(segment[1].name, aside);
	move_file(name, segment[1].name);
	move_file(aside, name);
	expect(refused(1, 0) && refused(1, KEVO_RDONLY));
	restore_all();
	write_at(segment[3].name, segment[2].b, segment[2].len, 0);
	if (truncate(segment[3].name, (off_t)segment[2].len) != 0)
		tap_bail("truncate: %s", strerror(errno));
	expect(refused(3, 0));
	restore_all();
	tap_report("log: swapped and repeated segments");
	segment_file(next, segments + 1);
	write_at(next, segment[2].b, segment[2].len, 0);
	expect(refused(segments, 0) || refused(segments + 1, 0));
	restore_all();
	tap_report("log: one too many");

	/* Another database with the same content. */
	snprintf(theirs, sizeof(theirs), "%s", path);
	make_database("other");
	segment_file(other, 2);
	snprintf(path, sizeof(path), "%.200s", theirs);
	move_file(other, name);
	expect(refused(2, 0) && refused(2, KEVO_RDONLY));
	restore_all();
	tap_report("log: a segment of another database");
}

static void
test_format(void)
{
	char aside[280];

	for (size_t line = 0; line < format.len;) {
		size_t n = strcspn((char *)format.b + line, "\n");

		for (int i = 0; i < 4; i++) {
			size_t off = line + tap_below(n + 1);
			enum outcome o;

			if (off + 1 == format.len)
				off--;
			remove_shm();
			flip(&format, off, 1 + (int)tap_below(3));
			o = open_and_compare(i % 2 ? KEVO_RDONLY : 0);
			if (!expect(o == ERROR))
				tap_note("byte %d: %s", (int)off,
				    outcomes[o]);
			restore(&format);
		}
		line += n + 1;
	}
	tap_report("FORMAT: each line damaged");
	snprintf(aside, sizeof(aside), "%s/aside", tap_dir);
	move_file(format.name, aside);
	remove_shm();
	expect(open_and_compare(0) == ERROR);
	expect(open_and_compare(KEVO_RDONLY) == ERROR);
	expect(open_and_compare(KEVO_CREATE) == ERROR);
	move_file(aside, format.name);
	expect(open_and_compare(KEVO_CREATE) == RIGHT);
	tap_report("FORMAT: missing, with a log: not created anew");
}

/* ---- shared memory ----------------------------------------------------- */

#define CASES	3000

/* Shared with the child that tries the cases. */
struct trial {
	_Atomic int at;
	_Atomic int outcome[CASES];
};

static struct trial *trial;
static struct file control, index_head[2];

/* Keep what the files of the generation are. */
static void
load_shm(void)
{
	uint64_t generation;
	char rel[100];

	load(&control, "shm/control");
	memcpy(&generation, control.b + offsetof(struct kv_control,
	    generation), 8);
	for (int i = 0; i < 2; i++) {
		snprintf(rel, sizeof(rel), "shm/%016llx.%016llx.idx",
		    (unsigned long long)generation,
		    (unsigned long long)(i == 0 ? segments : 2));
		load(&index_head[i], rel);
	}
}

static void
build_shm(void)
{
	struct kevo *db;

	restore_all();
	if (kevo_open(path, 0, NULL, &db) != 0)
		tap_bail("open: %s", kevo_errmsg(db));
	kevo_close(db);
	load_shm();
}

/* Do cases 0 to n - 1 in children; a dead one is replaced. */
static void
try_all(int n, enum outcome (*one)(int))
{
	int status;
	pid_t pid;

	if (n > CASES)
		tap_bail("%d cases", n);
	memset((void *)trial, 0, sizeof(*trial));
	while (trial->at < n) {
		fflush(stdout);
		if ((pid = fork()) < 0)
			tap_bail("fork: %s", strerror(errno));
		if (pid == 0) {
			tap_dir[0] = '\0';
			for (; trial->at < n; trial->at++) {
				alarm(5);
				trial->outcome[trial->at] = one(trial->at);
			}
			_exit(0);
		}
		waitpid(pid, &status, 0);
		if (status == 0)
			continue;
		tap_note("case %d died: %#x", trial->at, (unsigned)status);
		trial->outcome[trial->at++] = DIED;
		build_shm();
	}
}

/* Is the generation the one that build_shm() left? */
static int
shm_is_intact(void)
{
	static struct file now;
	char name[280];

	snprintf(name, sizeof(name), "%s/shm/control", path);
	if (access(name, F_OK) != 0)
		return 0;
	load(&now, "shm/control");
	return now.len == control.len && memcmp(now.b, control.b,
	    KV_CONTROL_BASE) == 0;
}

/* Is the file there, and as it was but for the byte at off? */
static int
differs_in(const struct file *f, uint64_t off)
{
	uint8_t b[KV_CONTROL_LEN];
	int fd = open(f->name, O_RDONLY);
	ssize_t n = fd < 0 ? 0 : pread(fd, b, sizeof(b), 0);

	if (fd >= 0)
		close(fd);
	if (n <= 0)
		return 0;
	if (f == &control && n > (ssize_t)KV_CONTROL_BASE)
		n = KV_CONTROL_BASE;	/* the counters count */
	if (off < (uint64_t)n)
		b[off] = f->b[off];
	return memcmp(b, f->b, (size_t)n) == 0;
}

/* The damage of a case: a byte of control, or of an index's head. */
static const struct file *
case_file(int n, uint64_t *off, int *bit)
{
	const int len = (int)KV_CONTROL_BASE;

	*bit = (int)(((uint64_t)n * 5 + tap_seed) % 8);
	if (n < len) {
		*off = (uint64_t)n;
		return &control;
	}
	n -= len;
	*off = (uint64_t)n % sizeof(struct kv_index_head);
	return &index_head[n / (int)sizeof(struct kv_index_head)];
}

#define ALL_CASES	((int)KV_CONTROL_BASE + \
			2 * (int)sizeof(struct kv_index_head))

static int written[ALL_CASES];

/* The parts of control, and of an index's head. */
static const struct part {
	const char *name;
	size_t end;
} control_parts[] = {
	{ "identity", offsetof(struct kv_control, writer) },
	{ "writer", offsetof(struct kv_control, syncer) },
	{ "syncer", offsetof(struct kv_control, retired) },
	{ "retired, failed", offsetof(struct kv_control, visible) },
	{ "visible", offsetof(struct kv_control, first) },
	{ "first", offsetof(struct kv_control, active) },
	{ "active", offsetof(struct kv_control, synced) },
	{ "synced", offsetof(struct kv_control, syncing) },
	{ "syncing", offsetof(struct kv_control, appended) },
	{ "appended", offsetof(struct kv_control, full_to) },
	{ "full_to", offsetof(struct kv_control, writing) },
	{ "writing", offsetof(struct kv_control, writing_off) },
	{ "writing_off, writing_len", offsetof(struct kv_control,
	    reserved_to) },
	{ "reserved_to", offsetof(struct kv_control, tail_turn) },
	{ "tail_turn", offsetof(struct kv_control, tail) },
	{ "tail", offsetof(struct kv_control, tail[1]) },
	{ "idle tail", offsetof(struct kv_control, holder) },
	{ "holder, version, settings", KV_CONTROL_BASE },
}, index_parts[] = {
	{ "index identity", offsetof(struct kv_index_head, size) },
	{ "index size", offsetof(struct kv_index_head, end) },
	{ "index end", offsetof(struct kv_index_head, root) },
	{ "index root", offsetof(struct kv_index_head, nodes11) },
	{ "index counts", sizeof(struct kv_index_head) },
};

static const char *
part_of(int n)
{
	const struct part *p = control_parts;
	uint64_t off;
	int bit;

	if (case_file(n, &off, &bit) != &control)
		p = index_parts;
	while (off >= p->end)
		p++;
	return p->name;
}


/* A rebuilder has made what is there now what was there before. */
static void
settle(enum outcome o)
{
	if (shm_is_intact())
		return;
	if (o == RIGHT)
		load_shm();
	else
		build_shm();
}

static enum outcome
read_damaged(int n)
{
	enum outcome o;
	uint64_t off;
	int bit;
	const struct file *f = case_file(n, &off, &bit);

	flip(f, off, bit);
	o = open_and_compare(KEVO_RDONLY);
	if (differs_in(f, off))
		write_at(f->name, f->b + off, 1, off);
	settle(o);
	return o;
}

static int
has_commits(uint64_t n)
{
	struct kevo_stats st = { .visible = 0 };
	struct kevo *db;

	if (kevo_open(path, 0, NULL, &db) == 0)
		kevo_stats(db, &st);
	kevo_close(db);
	return st.visible == n;
}

#define AFTER	10		/* added: the log is the worse for it */

/*
 * A writer adds commits that change nothing, the last so long that a new
 * segment begins.  What it did to the log is judged without the shared
 * memory.
 */
static enum outcome
write_damaged(int n)
{
	static const char absent[60000] = "a";
	struct kevo_options opt = { .wait_set = 1, .wait_ms = 300 };
	struct kevo_write w = { .sync = KEVO_SYNC_NONE };
	enum outcome o, after;
	struct kevo *db;
	uint64_t off;
	int bit, rc;
	const struct file *f = case_file(written[n], &off, &bit);

	flip(f, off, bit);
	rc = kevo_open(path, 0, &opt, &db);
	if (rc == 0)
		rc = kevo_delete(db, "none", 4, &w, NULL);
	w.sync = KEVO_SYNC_FULL;
	if (rc == 0)
		rc = kevo_delete(db, "none", 4, &w, NULL);
	if (rc == 0)
		rc = kevo_delete(db, absent, sizeof(absent), &w, NULL);
	o = rc != 0 ? error(db, rc) : compare_all(db);
	kevo_close(db);
	remove_shm();
	after = open_and_compare(0);
	if (rc == 0 && after == RIGHT && !has_commits(COMMITS + 3))
		after = ABSENT;
	build_shm();
	return after == RIGHT ? o : (enum outcome)(after + AFTER);
}

/* With KEVO_LIST: how many cases of each part had which outcome. */
static void
list_outcomes(const char *who, const int *cases, int n)
{
	int count[2 * AFTER] = { 0 };

	if (getenv("KEVO_LIST") == NULL)
		return;
	for (int i = 0; i < n; i++) {
		count[trial->outcome[i]]++;
		if (i + 1 < n && part_of(cases[i + 1]) == part_of(cases[i]))
			continue;
		for (int o = 0; o < 2 * AFTER; o++)
			if (count[o] > 0)
				printf("# %s: %s: %d times %s%s\n", who,
				    part_of(cases[i]), count[o],
				    o > AFTER ? "the log: " : "",
				    outcomes[o % AFTER]);
		memset(count, 0, sizeof(count));
	}
}

/*
 * Which segments there are, and up to which commit they are read, is
 * believed.  So a reader may see an older state or miss records, but none is
 * wrong; all else is noticed or does not matter.
 */
static int
may_be_old(const char *part)
{
	return strcmp(part, "visible") == 0 || strcmp(part, "first") == 0 ||
	    strcmp(part, "active") == 0 || strcmp(part, "index root") == 0;
}

static int
is_allowed(const char *part, int o)
{
	return o == RIGHT || o == ERROR ||
	    ((o == PREFIX || o == ABSENT) && may_be_old(part));
}

static void
test_readers(void)
{
	int cases[ALL_CASES];

	for (int i = 0; i < ALL_CASES; i++)
		cases[i] = i;
	build_shm();
	expect(open_and_compare(KEVO_RDONLY) == RIGHT && shm_is_intact());
	try_all(ALL_CASES, read_damaged);
	list_outcomes("reader", cases, ALL_CASES);
	for (int i = 0; i < ALL_CASES; i++)
		if (!expect(is_allowed(part_of(i), trial->outcome[i])))
			tap_note("%s: %s", part_of(i),
			    outcomes[trial->outcome[i]]);
	tap_report("shm: each byte of control and of an index's head, read");
	for (int i = 0; part_of(i) == control_parts[0].name; i++)
		expect(trial->outcome[i] == RIGHT);
	tap_report("shm: a damaged identity leads to a new generation");
}

/* Some bytes of each part; with KEVO_LONG all. */
static int
choose_written(void)
{
	int some = getenv("KEVO_LONG") != NULL ? ALL_CASES : 2, n = 0, to;

	for (int from = 0; from < ALL_CASES; from = to) {
		for (to = from; to < ALL_CASES &&
		    part_of(to) == part_of(from); to++)
			if (some == ALL_CASES)
				written[n++] = to;
		for (int i = 0; some != ALL_CASES && i < some; i++)
			written[n++] = from + (int)tap_below((uint64_t)(to -
			    from));
	}
	return n;
}

static void
expect_written(int n)
{
	for (int i = 0; i < n; i++) {
		const char *part = part_of(written[i]);
		int o = trial->outcome[i];

		if (!expect(is_allowed(part, o)))
			tap_note("%s, case %d: %s%s", part, written[i],
			    o > AFTER ? "the log: " : "",
			    outcomes[o % AFTER]);
	}
}

static void
test_writers(void)
{
	int n = choose_written();

	build_shm();
	try_all(n, write_damaged);
	list_outcomes("writer", written, n);
	expect_written(n);
	tap_report("shm: written with damage in control or an index's head");
}

/* ---- other things in place of the files -------------------------------- */

enum replacement {
	EMPTY, SHORT, LONG, ZEROS, ONES, RANDOM, DIRECTORY, DANGLING, FIFO,
	MISSING, OTHER, REPLACEMENTS
};

static void
replace(const struct file *f, enum replacement how)
{
	const struct file *other = &segment[1];
	uint8_t b[8192];
	size_t len = 4096;

	unlink(f->name);
	switch (how) {
	case EMPTY:
		len = 0;
		break;
	case SHORT:
		len = 100;
		break;
	case LONG:
		len = 8192;
		break;
	case DIRECTORY:
		if (mkdir(f->name, 0700) != 0)
			tap_bail("mkdir: %s", strerror(errno));
		return;
	case DANGLING:
		if (symlink("nowhere", f->name) != 0)
			tap_bail("symlink: %s", strerror(errno));
		return;
	case FIFO:
		if (mkfifo(f->name, 0600) != 0)
			tap_bail("mkfifo: %s", strerror(errno));
		return;
	case MISSING:
		return;
	case OTHER:
		write_at(f->name, other->b, other->len, 0);
		return;
	default:
		break;
	}
	memset(b, how == ONES ? 0xff : 0, sizeof(b));
	if (how == RANDOM)
		tap_fill(b, sizeof(b));
	if (how == SHORT || how == LONG)
		memcpy(b, f->b, len < f->len ? len : f->len);
	write_at(f->name, b, len, 0);
}

/* Control, the active index, another index; a reader, a writer. */
static enum outcome
open_replaced(int n)
{
	const struct file *f = n / 2 % 3 == 0 ? &control :
	    &index_head[n / 2 % 3 - 1];
	enum outcome o;

	replace(f, (enum replacement)(n / 6));
	o = open_and_compare(n % 2 == 0 ? KEVO_RDONLY : 0);
	build_shm();
	return o;
}

/* The number in a key, if it is one of ours with the value that it has. */
static int
is_value(const struct kevo_record *rec)
{
	char key[32], own[32], value[VALUE];
	unsigned i;

	if (rec->klen >= sizeof(key))
		return 0;
	memcpy(key, rec->key, rec->klen);
	key[rec->klen] = '\0';
	if (sscanf(key, "key/%*u/%u", &i) != 1 ||
	    key_of(i, own) != rec->klen || strcmp(key, own) != 0)
		return 0;
	value_of(i, value);
	return rec->vlen == VALUE && memcmp(rec->value, value, VALUE) == 0;
}

/* Each record that comes out is one, whatever its place and version. */
static enum outcome
only_values(void)
{
	struct kevo_record rec;
	struct kevo_iter *it;
	enum outcome o = RIGHT;
	unsigned n = 0;
	struct kevo *db;
	char key[32];
	int rc;

	if ((rc = kevo_open(path, KEVO_RDONLY, NULL, &db)) != 0)
		o = error(db, rc);
	for (unsigned i = 0; i < COMMITS && o == RIGHT; i++) {
		rc = kevo_peek(db, NULL, key, key_of(i, key), &rec);
		if (rc < 0)
			o = error(db, rc);
		else if (rc == 0 && !is_value(&rec))
			o = WRONG;
	}
	if (o == RIGHT && (rc = kevo_iter_new(db, NULL, NULL, &it)) == 0) {
		rc = kevo_iter_first(it, &rec);
		for (; rc == 0 && o == RIGHT; rc = kevo_iter_next(it, &rec))
			if (!is_value(&rec) || ++n > 2 * COMMITS)
				o = WRONG;
		if (rc < 0)
			o = error(db, rc);
		kevo_iter_free(it);
	}
	kevo_close(db);
	return o;
}

/*
 * A random change anywhere in an index.  It is not verified as a whole, so
 * keys may be missing or come twice.
 */
static enum outcome
read_damaged_index(int n)
{
	const struct file *f = &index_head[n % 2];
	uint64_t end = get_le64(f->b + offsetof(struct kv_index_head, end));
	uint64_t off = KV_INDEX_HEAD_LEN + tap_below(end -
	    KV_INDEX_HEAD_LEN);
	enum outcome o;

	flip(f, off, (int)tap_below(8));
	o = only_values();
	if (differs_in(f, off))
		write_at(f->name, f->b + off, 1, off);
	settle(o);
	return o;
}

static void
test_garbage(void)
{
	build_shm();
	try_all(REPLACEMENTS * 6, open_replaced);
	for (int i = 0; i < REPLACEMENTS * 6; i++)
		if (!expect(trial->outcome[i] == RIGHT ||
		    trial->outcome[i] == ERROR))
			tap_note("replaced by %d, file %d, %s: %s", i / 6,
			    i / 2 % 3, i % 2 ? "writer" : "reader",
			    outcomes[trial->outcome[i]]);
	tap_report("shm: garbage in place of control or an index");
	build_shm();
	try_all(200, read_damaged_index);
	for (int i = 0; i < 200; i++)
		if (!expect(trial->outcome[i] == RIGHT ||
		    trial->outcome[i] == ERROR))
			tap_note("case %d: %s", i,
			    outcomes[trial->outcome[i]]);
	tap_report("shm: any byte of an index: never a wrong value");
}

int
main(void)
{
	tap_start("damage");
	trial = mmap(NULL, sizeof(*trial), PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (trial == MAP_FAILED)
		tap_bail("no shared memory");
	make_database("db");
	set_up();
	test_sealed();
	test_last();
	test_files();
	test_format();
	test_readers();
	test_writers();
	test_garbage();
	return tap_end();
}
