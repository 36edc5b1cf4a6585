/*
 * check_test: each kind of file damaged at each kind of place.  A check names
 * the file; a repair keeps what can be read, and says what it cannot; and
 * after it the database is sound and holds what it should.
 */
#include <kevo.h>

#include <dirent.h>
#include <errno.h>
#include <ftw.h>
#include <sys/wait.h>

#include "coding.h"
#include "control.h"
#include "file.h"
#include "memindex.h"
#include "segment.h"
#include "tap.h"
#include "version.h"

#define KEYS	300
#define COMMITS	3600
#define VALUE	100
#define FILES	64

/* make check does not try each byte. */
static uint64_t
step(uint64_t n)
{
	return getenv("KEVO_QUICK") != NULL ? 3 * n : n;
}

static char good[220], path[220], other[220];

/* ---- what was written -------------------------------------------------- */

/* Commit i, from 1: puts or deletes a key. */
static unsigned key_at[COMMITS + 1];
static int deletes_at[COMMITS + 1];
static uint64_t commits;

static void
key_of(unsigned k, char buf[16])
{
	snprintf(buf, 16, "key%05u", k);
}

static void
value_of(uint64_t seq, char buf[VALUE])
{
	memset(buf, 'v', VALUE);
	snprintf(buf, VALUE, "%llu is the commit of this", (unsigned long
	    long)seq);
}

static void
must(struct kevo *db, int rc, const char *what)
{
	if (rc != 0)
		tap_bail("%s: %d: %s", what, rc, kevo_errmsg(db));
}

static void
commit(struct kevo *db, enum kevo_sync sync)
{
	struct kevo_write w = { .sync = sync };
	unsigned k = (unsigned)tap_below(KEYS);
	char key[16], value[VALUE];
	uint64_t seq = ++commits, got;

	if (seq > COMMITS)
		tap_bail("too many commits");
	key_at[seq] = k;
	deletes_at[seq] = tap_below(6) == 0;
	key_of(k, key);
	value_of(seq, value);
	if (deletes_at[seq])
		must(db, kevo_delete(db, key, strlen(key), &w, &got),
		    "delete");
	else
		must(db, kevo_put(db, key, strlen(key), value, VALUE, &w,
		    &got), "put");
	if (got != seq)
		tap_bail("commit %llu became %llu", (unsigned long long)seq,
		    (unsigned long long)got);
}

static const char *compression = "compression=none";

static struct kevo *
open_db(const char *dir, unsigned flags)
{
	const char *const settings[] = { "memtable_bytes=64K",
	    "compaction=manual", compression, NULL };
	struct kevo_options opt = { .settings = settings };
	struct kevo *db;
	int rc = kevo_open(dir, flags, flags & KEVO_CREATE ? &opt : NULL,
	    &db);

	must(db, rc, "open");
	return db;
}

static void
compact(struct kevo *db, unsigned flags)
{
	struct kevo_compact c = { .flags = flags };

	must(db, kevo_compact(db, &c, NULL), "compact");
}

/* Two levels of tables and three segments of log. */
static void
make(const char *dir)
{
	struct kevo *db = open_db(dir, KEVO_CREATE);
	struct kevo_stats st;

	for (int i = 0; i < 600; i++)
		commit(db, KEVO_SYNC_BATCH);
	compact(db, KEVO_COMPACT_FULL);
	for (int i = 0; i < 600; i++)
		commit(db, KEVO_SYNC_BATCH);
	compact(db, KEVO_COMPACT_FLUSH);
	do {
		commit(db, KEVO_SYNC_BATCH);
		must(db, kevo_stats(db, &st), "stats");
	} while (st.segments < 4);
	for (int i = 0; i < 200; i++)
		commit(db, KEVO_SYNC_BATCH);
	must(db, kevo_sync(db), "sync");
	/* What these say makes anything before them damage. */
	for (int i = 0; i < 3; i++)
		commit(db, KEVO_SYNC_FULL);
	must(db, kevo_close(db), "close");
}

/* ---- files ------------------------------------------------------------- */

struct file {
	char name[64];		/* below the database */
	uint8_t *b;
	size_t len;
};

/* Records that may lie in one block. */
static uint64_t most_in_block = 255;

static struct file files[FILES];
static size_t nfiles;

static void
load(const char *dir, const char *name, struct file *f)
{
	char full[320];
	struct stat st;
	int fd;

	snprintf(f->name, sizeof(f->name), "%s", name);
	snprintf(full, sizeof(full), "%s/%s", dir, name);
	fd = open(full, O_RDONLY);
	if (fd < 0 || fstat(fd, &st) != 0)
		tap_bail("%s: %s", full, strerror(errno));
	f->len = (size_t)st.st_size;
	f->b = tap_alloc(f->len);
	if (read(fd, f->b, f->len) != (ssize_t)f->len)
		tap_bail("%s: cannot read", full);
	close(fd);
}

static void
load_dir(const char *sub)
{
	char full[300], name[600];
	struct dirent *e;
	struct stat st;
	DIR *d;

	snprintf(full, sizeof(full), "%s/%s", good, sub);
	if ((d = opendir(full)) == NULL)
		tap_bail("%s: %s", full, strerror(errno));
	while ((e = readdir(d)) != NULL) {
		snprintf(name, sizeof(name), "%s/%s/%.100s", good, sub,
		    e->d_name);
		if (stat(name, &st) != 0 || !S_ISREG(st.st_mode))
			continue;
		if (nfiles == FILES)
			tap_bail("too many files");
		load(good, name + strlen(good) + (*sub != '\0' ? 1 : 2),
		    &files[nfiles++]);
	}
	closedir(d);
}

static struct file *
find(const char *name)
{
	for (size_t i = 0; i < nfiles; i++)
		if (strcmp(files[i].name, name) == 0)
			return &files[i];
	tap_bail("there is no %s", name);
}

static void
write_file(const char *dir, const char *name, const void *p, size_t len)
{
	char full[320];
	int fd;

	snprintf(full, sizeof(full), "%s/%s", dir, name);
	fd = open(full, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	if (fd < 0 || write(fd, p, len) != (ssize_t)len)
		tap_bail("%s: %s", full, strerror(errno));
	close(fd);
}

static int
remove_one(const char *name, const struct stat *st, int kind, struct FTW *f)
{
	(void)st;
	(void)kind;
	(void)f;
	return remove(name);
}

static void
wipe(const char *dir)
{
	nftw(dir, remove_one, 20, FTW_DEPTH | FTW_PHYS);
}

/* All as it was made, without shared memory. */
static void
restore(void)
{
	static const char *const dirs[] = { "", "/wal", "/table", "/version" };
	char full[320];

	wipe(path);
	for (size_t i = 0; i < 4; i++) {
		snprintf(full, sizeof(full), "%s%s", path, dirs[i]);
		if (mkdir(full, 0700) != 0)
			tap_bail("%s: %s", full, strerror(errno));
	}
	for (size_t i = 0; i < nfiles; i++)
		write_file(path, files[i].name, files[i].b, files[i].len);
}

/* ---- damaging ---------------------------------------------------------- */

static void
overwrite(const char *name, uint64_t off, const void *p, size_t len)
{
	char full[320];
	int fd;

	snprintf(full, sizeof(full), "%s/%s", path, name);
	fd = open(full, O_WRONLY);
	if (fd < 0 || pwrite(fd, p, len, (off_t)off) != (ssize_t)len)
		tap_bail("%s: %s", full, strerror(errno));
	close(fd);
}

static void
flip(const struct file *f, uint64_t off)
{
	uint8_t v = f->b[off] ^ (uint8_t)(1 << tap_below(8));

	overwrite(f->name, off, &v, 1);
}

static void
zero(const struct file *f, uint64_t off, size_t len)
{
	uint8_t *z = tap_alloc(len);

	memset(z, 0, len);
	overwrite(f->name, off, z, len);
	free(z);
}

static void
cut(const struct file *f, uint64_t len)
{
	char full[320];

	snprintf(full, sizeof(full), "%s/%s", path, f->name);
	if (truncate(full, (off_t)len) != 0)
		tap_bail("%s: %s", full, strerror(errno));
}

static void
drop(const char *name)
{
	char full[320];

	snprintf(full, sizeof(full), "%s/%s", path, name);
	if (unlink(full) != 0)
		tap_bail("%s: %s", full, strerror(errno));
}

/* ---- checking ---------------------------------------------------------- */

#define FOUND_MAX	200

struct found {
	char file[64];
	uint64_t off, len, first, last, records;
	int kind, lost;
	char from[16], to[16];	/* "": not known */
	char text[300];
};

static struct found found[FOUND_MAX];
static size_t nfound;

static void
keep_key(char buf[16], const void *p, size_t len)
{
	buf[0] = '\0';
	if (p != NULL)
		snprintf(buf, 16, "%.*s", (int)len, (const char *)p);
}

static int
on_found(void *arg, const struct kevo_finding *f)
{
	struct found *v = &found[nfound];

	(void)arg;
	if (nfound == FOUND_MAX)
		return 1;
	nfound++;
	snprintf(v->file, sizeof(v->file), "%s", f->file);
	v->kind = f->kind;
	v->off = f->off;
	v->len = f->len;
	v->first = f->first_commit;
	v->last = f->last_commit;
	v->records = f->records;
	v->lost = *f->lost != '\0' && strncmp(f->lost, "nothing", 7) != 0;
	keep_key(v->from, f->from, f->from_len);
	keep_key(v->to, f->to, f->to_len);
	snprintf(v->text, sizeof(v->text), "%s at %llu: %s; lost: %s",
	    f->file, (unsigned long long)f->off, f->what, f->lost);
	return 0;
}

static int
check(unsigned flags, struct kevo_check_result *out)
{
	struct kevo_check c = { .flags = flags, .found = on_found,
		.wait_set = 1, .wait_ms = 100 };

	nfound = 0;
	return kevo_check(path, &c, out);
}

static void
show_found(void)
{
	for (size_t i = 0; i < nfound; i++)
		tap_note("found: %s", found[i].text);
}

/* Is there damage that names the file (and lies at off; UINT64_MAX: any)? */
static int
names(const char *file, uint64_t off)
{
	for (size_t i = 0; i < nfound; i++) {
		const struct found *f = &found[i];

		if (f->kind != KEVO_DAMAGE || strcmp(f->file, file) != 0)
			continue;
		if (off == UINT64_MAX || (f->off == 0 && f->len == 0) ||
		    (off >= f->off && (f->len == 0 ||
		    off < f->off + f->len)))
			return 1;
	}
	return 0;
}

/* Commits that are lost whole, by the findings; not those without an end. */
static uint64_t
commits_lost(void)
{
	uint64_t n = 0;

	for (size_t i = 0; i < nfound; i++)
		if (found[i].first != 0 && found[i].last >= found[i].first)
			n += found[i].last - found[i].first + 1;
	return n;
}

static uint64_t
records_lost(void)
{
	uint64_t n = 0;

	for (size_t i = 0; i < nfound; i++)
		n += found[i].records;
	return n;
}

/* Do the findings say that the record of commit seq may be gone? */
static int
may_be_lost(uint64_t seq)
{
	char key[16];

	key_of(key_at[seq], key);
	for (size_t i = 0; i < nfound; i++) {
		const struct found *f = &found[i];

		if (!f->lost || f->kind != KEVO_DAMAGE)
			continue;
		if (f->first != 0 && seq >= f->first && (f->last == 0 ||
		    seq <= f->last))
			return 1;
		if (f->from[0] != '\0' && strcmp(key, f->from) >= 0 &&
		    strcmp(key, f->to) <= 0)
			return 1;
		if (f->first == 0 && f->from[0] == '\0')
			return 1;	/* anything */
	}
	return 0;
}

/* Is something lost of which nobody knows where it ended? */
static int
ends_open(void)
{
	for (size_t i = 0; i < nfound; i++)
		if (found[i].first != 0 && found[i].last == 0)
			return 1;
	return 0;
}

/* The commit that a key's value comes from; 0: it is absent. */
static uint64_t
commit_of(struct kevo *db, unsigned k)
{
	char key[16], value[VALUE];
	uint64_t seq;
	size_t len;
	void *v;
	int rc;

	key_of(k, key);
	rc = kevo_get(db, NULL, key, strlen(key), &v, &len);
	if (rc == KEVO_NOTFOUND)
		return 0;
	must(db, rc, "get");
	seq = strtoull(v, NULL, 10);
	value_of(seq, value);
	if (len != VALUE || memcmp(v, value, VALUE) != 0 || seq == 0 ||
	    seq > commits || key_at[seq] != k)
		tap_bail("%s has a value that nobody wrote", key);
	kevo_free(v);
	return seq;
}

/*
 * What is there, against what was written and what the findings of the check
 * before it say is lost.
 */
static void
compare(void)
{
	struct kevo *db = open_db(path, 0);
	uint64_t version;
	int bad = 0;

	for (unsigned k = 0; k < KEYS; k++) {
		uint64_t seq = commit_of(db, k), want = commits;

		while (want > 0 && key_at[want] != k)
			want--;
		if (want == 0)
			continue;
		if (may_be_lost(want)) {
			if (seq > want)
				bad++;
			continue;
		}
		if (seq != (deletes_at[want] ? 0 : want) && bad++ < 3)
			tap_note("key %u is of commit %llu, and was of %llu%s",
			    k, (unsigned long long)seq,
			    (unsigned long long)want, deletes_at[want] ?
			    ", which deleted it" : "");
	}
	if (!expect(bad == 0))
		show_found();
	must(db, kevo_put(db, "new", 3, "new", 3, NULL, &version), "put");
	/* The end of the log may be lost without a trace. */
	expect(version > commits || ends_open());
	must(db, kevo_close(db), "close");
}

static int
same_bytes(const char *a, const char *b)
{
	struct file x = { .b = NULL }, y = { .b = NULL };
	char full[500];
	int same;

	snprintf(full, sizeof(full), "%s/%s", path, b);
	if (access(full, F_OK) != 0)
		return 0;
	load(other, a, &x);
	load(path, b, &y);
	same = x.len == y.len && memcmp(x.b, y.b, x.len) == 0;
	free(x.b);
	free(y.b);
	return same;
}

/*
 * The database is damaged in `file`, at off.  most_commits and most_records
 * is what may be lost.
 */
static void
judge(const char *file, uint64_t off, uint64_t most_commits,
    uint64_t most_records)
{
	struct kevo_check_result out, again;
	char aside[200], cmd[700];
	struct stat st;
	int there, rc;

	if (!expect((rc = check(0, &out)) == KEVO_FALSE)) {
		tap_note("%d: %s: %s at %llu", rc, out.msg, file,
		    (unsigned long long)off);
		return;
	}
	if (!expect(names(file, off)) || !expect(commits_lost() <=
	    most_commits) || !expect(records_lost() <= most_records)) {
		tap_note("%s at %llu", file, (unsigned long long)off);
		show_found();
	}
	snprintf(cmd, sizeof(cmd), "%s/%s", path, file);
	if ((there = stat(cmd, &st) == 0 && S_ISREG(st.st_mode)) != 0) {
		struct file f = { .b = NULL };

		load(path, file, &f);
		wipe(other);
		snprintf(cmd, sizeof(cmd), "mkdir -p %s/wal %s/table "
		    "%s/version", other, other, other);
		if (system(cmd) != 0)
			tap_bail("no directory");
		write_file(other, file, f.b, f.len);
		free(f.b);
	}
	rc = check(KEVO_CHECK_REPAIR, &out);
	if (!expect(rc == KEVO_FALSE) || !expect(out.repaired == 1)) {
		tap_note("%d: %s: %s at %llu", rc, out.msg, file,
		    (unsigned long long)off);
		show_found();
		return;
	}
	snprintf(aside, sizeof(aside), "%s/%s", out.aside, file);
	if (there && !expect(same_bytes(file, aside)))
		tap_note("%s is not %s/%s", file, path, aside);
	compare();
	if (!expect((rc = check(0, &again)) == 0)) {
		tap_note("%d: %s", rc, again.msg);
		show_found();
	}
	expect(check(KEVO_CHECK_REPAIR, &again) == 0 && !again.repaired);
}

/* ---- the log ----------------------------------------------------------- */

#define SEGMENTS_MAX	8

static char segment[SEGMENTS_MAX][64];	/* oldest first */
static size_t nsegments;

/* Where the record of a segment lies that begins behind off. */
static uint64_t
record_behind(const struct file *f, uint64_t off, uint64_t *len)
{
	struct kv_segment_head h;
	struct kv_walk w;

	if (kv_segment_head_decode(f->b, &h) != 0)
		tap_bail("%s: no header", f->name);
	kv_walk_start(&w, f->b, f->len, &h);
	while (kv_walk_next(&w) == KV_WALK_RECORD)
		if (w.rec_off >= off) {
			*len = w.rec_len;
			return w.rec_off;
		}
	tap_bail("%s: no record behind %llu", f->name,
	    (unsigned long long)off);
}

static void
test_headers(void)
{
	for (size_t i = 0; i < nsegments; i++) {
		const struct file *f = find(segment[i]);

		for (uint64_t off = 0; off < KV_SEGMENT_HEAD; off += step(2)) {
			restore();
			flip(f, off);
			judge(f->name, 0, 0, 0);
		}
	}
	tap_report("a segment's header, each field: nothing is lost");
}

static void
test_seals(void)
{
	for (size_t i = 0; i + 1 < nsegments; i++) {
		const struct file *f = find(segment[i]);

		for (uint64_t off = f->len - KV_SEAL_LEN; off < f->len;
		    off += step(1)) {
			restore();
			flip(f, off);
			judge(f->name, off, 0, 0);
		}
	}
	tap_report("a seal, each field: nothing is lost");
}

static void
test_records(void)
{
	uint64_t at, len;

	for (size_t i = 0; i < nsegments; i++) {
		const struct file *f = find(segment[i]);

		at = record_behind(f, i + 1 < nsegments ? 20000 : 1000, &len);
		for (uint64_t off = 0; off < len; off += step(1)) {
			restore();
			flip(f, at + off);
			judge(f->name, at + off, off >= len - KV_TRAILER_LEN ?
			    0 : 1, 0);
		}
	}
	tap_report("a record, each byte: it alone is lost, or nothing");
}

static void
test_pages(void)
{
	for (size_t i = 0; i < nsegments; i++) {
		const struct file *f = find(segment[i]);

		for (int n = 0; n < 6; n++) {
			uint64_t off = i + 1 < nsegments ? tap_below(12) *
			    4096 : 4096;

			restore();
			zero(f, off, 4096);
			/* One of 160 bytes or so begins before the page. */
			judge(f->name, off + 64, 4096 / 88 + 2, 0);
		}
	}
	tap_report("a page of zeros in the log: what lies in it is lost");
}

static void
test_noise(void)
{
	uint8_t junk[700];

	for (int n = 0; n < 20; n++) {
		const struct file *f =
		    find(segment[tap_below(nsegments - 1)]);
		uint64_t off = 200 + tap_below(50000);

		tap_fill(junk, sizeof(junk));
		restore();
		overwrite(f->name, off, junk, 1 + tap_below(sizeof(junk)));
		judge(f->name, off, 700 / 88 + 2, 0);
	}
	tap_report("random bytes over a run of records");
}

static void
test_cut_segments(void)
{
	for (size_t i = 0; i < nsegments; i++) {
		const struct file *f = find(segment[i]);
		const uint64_t lens[] = { 0, 100, 128, 20000, 40001 };

		for (size_t k = 0; k < 5; k++) {
			/* A short newest segment is a torn one, but for the
			 * control that is not there. */
			if (i + 1 == nsegments)
				continue;
			restore();
			cut(f, lens[k]);
			judge(f->name, UINT64_MAX, COMMITS, 0);
		}
	}
	tap_report("a segment that was cut");
}

static void
test_missing_segments(void)
{
	for (size_t i = 0; i < nsegments; i++) {
		if (i + 1 == nsegments)
			continue;	/* nothing tells that it was there */
		restore();
		drop(segment[i]);
		judge(segment[i], UINT64_MAX, COMMITS, 0);
	}
	restore();
	for (size_t i = 0; i < nsegments; i++)
		drop(segment[i]);
	judge(segment[0], UINT64_MAX, COMMITS, 0);
	tap_report("segments that are missing");
}

static void
test_swapped_segments(void)
{
	const struct file *a = find(segment[0]), *b = find(segment[1]);

	restore();
	write_file(path, a->name, b->b, b->len);
	write_file(path, b->name, a->b, a->len);
	judge(a->name, UINT64_MAX, 0, 0);

	restore();
	write_file(path, b->name, a->b, a->len);
	judge(b->name, UINT64_MAX, COMMITS, 0);
	tap_report("segments under each other's names");
}

static void
test_foreign_segment(const struct file *foreign)
{
	for (size_t i = 0; i < nsegments; i++) {
		restore();
		write_file(path, segment[i], foreign->b, foreign->len);
		judge(segment[i], UINT64_MAX, COMMITS, 0);
	}
	tap_report("a segment of another database");
}

static void
test_stray_segment(void)
{
	static const char *const far[] = { "wal/00000000000000f0.seg",
	    "wal/ffffffffffffffff.seg" };
	const struct file *f = find(segment[0]);

	for (size_t i = 0; i < 2; i++) {
		restore();
		write_file(path, far[i], f->b, 300);
		judge(far[i], UINT64_MAX, 0, 0);
	}
	tap_report("a segment far behind the others");
}

/* ---- tables ------------------------------------------------------------ */

static void
each_table(void (*fn)(const struct file *f))
{
	for (size_t i = 0; i < nfiles; i++)
		if (strncmp(files[i].name, "table/", 6) == 0)
			fn(&files[i]);
}

static void
flip_table(const struct file *f)
{
	uint64_t by = step(f->len / 90 + 1);

	for (uint64_t off = tap_below(by); off < f->len; off += by) {
		restore();
		flip(f, off);
		judge(f->name, UINT64_MAX, 0, most_in_block);
	}
	for (uint64_t off = f->len - 192; off < f->len; off += step(2)) {
		restore();
		flip(f, off);
		judge(f->name, UINT64_MAX, 0, 0);
	}
}

static void
zero_table(const struct file *f)
{
	size_t len = f->len > 8192 ? 4096 : f->len / 3;

	for (int n = 0; n < 4; n++) {
		uint64_t off = tap_below(f->len - len);

		restore();
		zero(f, off, len);
		judge(f->name, UINT64_MAX, 0, KEYS);
	}
}

static void
cut_table(const struct file *f)
{
	const uint64_t lens[] = { 0, 10, 64, 300, 5000, f->len / 2,
	    f->len - 1 };

	for (size_t k = 0; k < 7; k++) {
		if (lens[k] >= f->len)
			continue;
		restore();
		cut(f, lens[k]);
		judge(f->name, UINT64_MAX, 0, KEYS);
	}
}

static void
drop_table(const struct file *f)
{
	restore();
	drop(f->name);
	judge(f->name, UINT64_MAX, 0, KEYS);
}

static const struct file *foreign_table;

static void
replace_table(const struct file *f)
{
	restore();
	write_file(path, f->name, foreign_table->b, foreign_table->len);
	judge(f->name, UINT64_MAX, 0, KEYS);
}

static void
test_tables(void)
{
	each_table(flip_table);
	tap_report("tables, bits all over them: one group is lost, or nothing");
	each_table(zero_table);
	tap_report("tables, a page of zeros");
	each_table(cut_table);
	tap_report("tables that were cut");
	each_table(drop_table);
	tap_report("tables that are missing");
	each_table(replace_table);
	tap_report("tables of another database");
}

/* ---- versions ---------------------------------------------------------- */

static void
version_names(char newest[64], char before[64])
{
	uint64_t high = 0, n;

	for (size_t i = 0; i < nfiles; i++)
		if (strncmp(files[i].name, "version/", 8) == 0 &&
		    kv_name_number(files[i].name + 8, "", &n) && n > high)
			high = n;
	kv_version_name(newest, high);
	kv_version_name(before, high - 1);
}

static void
test_versions(void)
{
	char newest[64], before[64];
	const struct file *f;
	struct file *tables[FILES];
	size_t n = 0;

	version_names(newest, before);
	f = find(newest);
	for (uint64_t off = 0; off < f->len; off += step(1)) {
		restore();
		flip(f, off);
		judge(newest, UINT64_MAX, 0, 0);
	}
	tap_report("the newest version, each byte");
	for (uint64_t len = 0; len < f->len; len += 16) {
		restore();
		cut(f, len);
		judge(newest, UINT64_MAX, 0, 0);
	}
	tap_report("the newest version, cut");
	for (int i = 0; i < 40; i++) {
		restore();
		for (uint64_t k = 2 + tap_below(4); k > 0; k--)
			flip(f, tap_below(f->len));
		if (i % 2 == 0)		/* levels that may seem all right */
			flip(f, KV_VERSION_HEAD + 72);
		judge(newest, UINT64_MAX, 0, 0);
	}
	tap_report("the newest version, several bytes");
	f = find(before);
	for (uint64_t off = 0; off < f->len; off += step(4)) {
		restore();
		flip(f, off);
		judge(before, UINT64_MAX, 0, 0);
	}
	restore();
	flip(find(before), 90);
	flip(find(newest), 90);
	judge(before, UINT64_MAX, 0, 0);
	tap_report("the version before it");

	/* Without any version nothing tells what compaction had dropped, but
	 * here it had dropped nothing that is still in a table. */
	restore();
	drop(before);
	drop(newest);
	judge("version", UINT64_MAX, 0, 0);
	for (size_t i = 0; i < nfiles; i++)
		if (strncmp(files[i].name, "table/", 6) == 0)
			tables[n++] = &files[i];
	restore();
	drop(before);
	drop(newest);
	flip(tables[0], 2000);
	flip(find(segment[0]), 30000);
	judge("version", UINT64_MAX, 1, KEYS);
	tap_report("no version at all");
}

/* ---- FORMAT, LOCK, PINS ------------------------------------------------ */

static void
test_format(void)
{
	const struct file *f = find("FORMAT");
	struct kevo_check_result out;
	uint64_t bad = 0;

	for (uint64_t off = 0; off < f->len; off += step(1)) {
		restore();
		flip(f, off);
		judge("FORMAT", UINT64_MAX, 0, 0);
	}
	tap_report("FORMAT, each byte");
	for (uint64_t len = 0; len < f->len; len += 7) {
		restore();
		cut(f, len);
		judge("FORMAT", UINT64_MAX, 0, 0);
	}
	restore();
	drop("FORMAT");
	judge("FORMAT", UINT64_MAX, 0, 0);
	tap_report("FORMAT, cut and missing");

	restore();
	drop("FORMAT");
	for (size_t i = 0; i < nsegments; i++)
		flip(find(segment[i]), 20);
	if (!expect(check(0, &out) == KEVO_ECORRUPT))
		show_found();
	expect(check(KEVO_CHECK_REPAIR, &out) == KEVO_ECORRUPT);
	expect(strstr(out.msg, "FORMAT") != NULL);
	tap_report("FORMAT that nothing tells of: refused, and said what with");

	restore();
	overwrite("FORMAT", 5, "3", 1);
	for (uint64_t off = f->len - 17; off < f->len - 1; off++)
		overwrite("FORMAT", off, "0", 1);
	bad = check(KEVO_CHECK_REPAIR, &out) != KEVO_ENOTDB;
	expect(bad == 0);
	tap_report("FORMAT of a newer version: no damage, and not touched");
}

static void
test_small_files(const struct file *foreign)
{
	struct kevo_check_result out;

	restore();
	drop("LOCK");
	judge("LOCK", UINT64_MAX, 0, 0);
	tap_report("LOCK is missing");
	restore();
	drop("PINS");
	expect(check(0, &out) == 0);
	tap_report("PINS is missing: no damage");
	restore();
	write_file(path, "FORMAT", foreign->b, foreign->len);
	for (size_t i = 0; i < 2; i++) {
		char name[2][64];

		version_names(name[0], name[1]);
		drop(name[i]);
	}
	judge("FORMAT", UINT64_MAX, 0, 0);
	tap_report("FORMAT of another database");
}

/* ---- several at once --------------------------------------------------- */

static void
test_many(void)
{
	for (int n = 0; n < 60; n++) {
		struct kevo_check_result out;
		int rc;

		restore();
		for (uint64_t k = 1 + tap_below(5); k > 0; k--) {
			const struct file *f = &files[tap_below(nfiles)];

			if (f->len == 0 || strcmp(f->name, "kevo.conf") == 0)
				continue;
			if (tap_below(8) == 0)
				cut(f, tap_below(f->len));
			else if (tap_below(4) == 0 && f->len > 4096)
				zero(f, tap_below(f->len - 4096), 4096);
			else
				flip(f, tap_below(f->len));
		}
		rc = check(KEVO_CHECK_REPAIR, &out);
		if (rc < 0)
			continue;	/* FORMAT and segments, say */
		if (!expect(rc == 0 || out.repaired) ||
		    !expect(check(0, &out) == 0)) {
			tap_note("round %d: %s", n, out.msg);
			show_found();
		}
		must(NULL, 0, "");
		{
			struct kevo *db = open_db(path, 0);

			for (unsigned k = 0; k < KEYS; k++)
				commit_of(db, k);
			must(db, kevo_close(db), "close");
		}
	}
	tap_report("several damages: whatever is left is put in order");
}

/* ---- shared memory ----------------------------------------------------- */

static void
index_name(char name[64], uint64_t *len)
{
	char full[320];
	struct dirent *e;
	struct stat st;
	DIR *d;

	snprintf(full, sizeof(full), "%s/shm", path);
	if ((d = opendir(full)) == NULL)
		tap_bail("%s: %s", full, strerror(errno));
	name[0] = '\0';
	while ((e = readdir(d)) != NULL)
		if (strstr(e->d_name, ".idx") != NULL)
			snprintf(name, 64, "shm/%.50s", e->d_name);
	closedir(d);
	snprintf(full, sizeof(full), "%s/%s", path, name);
	if (stat(full, &st) != 0)
		tap_bail("%s: %s", full, strerror(errno));
	*len = (uint64_t)st.st_size;
}

static void
begin_live(char name[64], uint64_t *len)
{
	struct kevo *db;

	restore();
	db = open_db(path, 0);
	must(db, kevo_close(db), "close");
	index_name(name, len);
}

static void
test_index(void)
{
	struct kevo_check_result out;
	static const uint8_t none[4];
	uint64_t len;
	char name[64];
	int found_some = 0;

	begin_live(name, &len);
	expect(check(0, &out) == 0);
	overwrite(name, offsetof(struct kv_index_head, root), none, 4);
	expect(check(0, &out) == KEVO_FALSE && names(name, UINT64_MAX));
	expect(check(KEVO_CHECK_REPAIR, &out) == KEVO_FALSE && out.repaired);
	compare();
	expect(check(0, &out) == 0);
	for (int i = 0; i < 60; i++) {
		uint8_t v = (uint8_t)tap_random();

		begin_live(name, &len);
		overwrite(name, 256 + tap_below(20000), &v, 1);
		if (check(0, &out) == 0)
			continue;
		found_some++;
		expect(names(name, UINT64_MAX));
		expect(check(KEVO_CHECK_REPAIR, &out) == KEVO_FALSE &&
		    out.repaired);
		compare();
	}
	expect(found_some > 0);
	begin_live(name, &len);
	drop(name);
	expect(check(0, &out) == KEVO_FALSE && names(name, UINT64_MAX));
	expect(check(KEVO_CHECK_REPAIR, &out) == KEVO_FALSE);
	compare();
	tap_report("an index that disagrees with the log is found and removed");
}

static void
test_control(void)
{
	struct kevo_check_result out;
	uint8_t junk[8192];
	uint64_t len;
	char name[64];

	begin_live(name, &len);
	tap_fill(junk, sizeof(junk));
	write_file(path, "shm/control", junk, sizeof(junk));
	expect(check(0, &out) == 0);
	compare();
	for (int i = 0; i < 200; i++) {
		uint8_t v = (uint8_t)tap_random();
		int rc;

		begin_live(name, &len);
		overwrite("shm/control", tap_below(1024), &v, 1);
		rc = check(0, &out);
		expect(rc == 0 || rc == KEVO_FALSE || rc == KEVO_EBUSY);
		rc = check(KEVO_CHECK_REPAIR, &out);
		expect(rc == 0 || rc == KEVO_FALSE || rc == KEVO_EBUSY);
	}
	tap_report("garbage in control: no crash, and no damage of the log");
}

static void
test_clock(void)
{
	struct kevo_check_result out;
	struct kv_control c;
	uint64_t len;
	char name[64];
	struct file f = { .b = NULL };
	struct kevo *db;

	begin_live(name, &len);
	load(path, "shm/control", &f);
	memcpy(&c, f.b, sizeof(c));
	for (int i = 0; i < 2; i++)
		c.tail[i].time_ns += (uint64_t)400 * 1000000000u;
	overwrite("shm/control", offsetof(struct kv_control, tail), c.tail,
	    sizeof(c.tail));
	free(f.b);
	db = open_db(path, 0);
	must(db, kevo_put(db, "new", 3, "new", 3, NULL, NULL), "put");
	must(db, kevo_close(db), "close");
	expect(check(0, &out) == 0 && out.warnings == 1);
	expect(nfound == 1 && found[0].kind == KEVO_WARNING &&
	    strstr(found[0].text, "ahead of the clock") != NULL);
	tap_report("a log that is ahead of the clock is a warning");
}

/* ---- beside others ----------------------------------------------------- */

static void
run_writer(unsigned seed)
{
	struct kevo *db;
	char key[16], value[VALUE];
	struct kevo_write w = { .sync = KEVO_SYNC_FULL };

	if (kevo_open(path, 0, NULL, &db) != 0)
		_exit(2);
	for (unsigned i = 0;; i++) {
		key_of((i * 2654435761u + seed) % 5000, key);
		value_of(i, value);
		w.sync = i % 16 == 0 ? KEVO_SYNC_FULL : i % 16 < 8 ?
		    KEVO_SYNC_BATCH : KEVO_SYNC_NONE;
		if (kevo_put(db, key, strlen(key), value, VALUE, &w,
		    NULL) != 0) {
			fprintf(stderr, "# put: %s\n", kevo_errmsg(db));
			_exit(2);
		}
	}
}

static void
run_compactor(void)
{
	struct kevo *db;
	struct kevo_compact c = { .flags = 0 };
	int rc;

	if (kevo_open(path, 0, NULL, &db) != 0)
		_exit(2);
	for (unsigned i = 0;; i++) {
		c.flags = i % 20 == 19 ? KEVO_COMPACT_FULL : 0;
		rc = kevo_compact(db, &c, NULL);
		if (rc != 0 && rc != KEVO_EBUSY) {
			fprintf(stderr, "# compact: %s\n", kevo_errmsg(db));
			_exit(2);
		}
	}
}

static void
test_beside_others(void)
{
	struct kevo_check_result out;
	pid_t pid[3];
	int rc, status, rounds = getenv("KEVO_LONG") != NULL ? 3000 : 60;

	restore();
	for (int i = 0; i < 3; i++) {
		fflush(stdout);
		if ((pid[i] = fork()) == 0) {
			if (i < 2)
				run_writer((unsigned)i);
			else
				run_compactor();
		}
	}
	for (int i = 0; i < rounds; i++) {
		rc = check(i % 3 == 2 ? KEVO_CHECK_FAST : 0, &out);
		if (!expect(rc == 0)) {
			tap_note("round %d: %d: %s", i, rc, out.msg);
			show_found();
		}
		if (tap_below(4) == 0)
			usleep((useconds_t)tap_below(20000));
	}
	for (int i = 0; i < 3; i++) {
		expect(waitpid(pid[i], &status, WNOHANG) == 0);
		kill(pid[i], SIGKILL);
		waitpid(pid[i], &status, 0);
	}
	expect(check(0, &out) == 0);
	tap_report("beside writers and compaction nothing is taken for damage");
}

static void
test_in_use(void)
{
	struct kevo_check_result out;
	struct kevo *db;
	uint64_t len;
	char name[64], want[40];

	begin_live(name, &len);
	db = open_db(path, 0);
	flip(find(segment[0]), 30000);
	expect(check(0, &out) == KEVO_FALSE);
	drop("LOCK");
	expect(check(KEVO_CHECK_REPAIR, &out) == KEVO_EBUSY);
	must(db, kevo_close(db), "close");
	expect(check(KEVO_CHECK_REPAIR, &out) == KEVO_FALSE && out.repaired);

	begin_live(name, &len);
	db = open_db(path, 0);
	flip(find(segment[0]), 30000);
	expect(check(KEVO_CHECK_REPAIR, &out) == KEVO_EBUSY);
	snprintf(want, sizeof(want), "pid %d", (int)getpid());
	if (!expect(strstr(out.msg, want) != NULL))
		tap_note("%s", out.msg);
	must(db, kevo_close(db), "close");
	expect(check(KEVO_CHECK_REPAIR, &out) == KEVO_FALSE && out.repaired);
	tap_report("a repair waits for others to close it, and names them");
}

/* ---- answers ----------------------------------------------------------- */

static int
stop(void *arg, uint64_t bytes, uint64_t total)
{
	(void)bytes;
	(void)total;
	return --*(int *)arg < 0;
}

static void
test_answers(void)
{
	struct kevo_check_result out;
	struct kevo_check c = { .progress = stop };
	int n = 2;

	restore();
	expect(kevo_check(path, NULL, &out) == 0);
	expect(out.records > 0 && out.last_commit == commits);
	expect(check(KEVO_CHECK_FAST, &out) == 0);
	c.arg = &n;
	expect(kevo_check(path, &c, &out) == KEVO_EBUSY);
	wipe(path);
	expect(kevo_check(path, NULL, &out) == KEVO_ENODB);
	expect(out.msg[0] != '\0');
	expect(kevo_check("", NULL, &out) == KEVO_EINVAL);
	if (mkdir(path, 0700) != 0)
		tap_bail("mkdir");
	expect(kevo_check(path, NULL, &out) == KEVO_ENODB);
	write_file(path, "something", "x", 1);
	expect(kevo_check(path, NULL, &out) == KEVO_ENOTDB);
	tap_report("what it answers");
}

static void
find_segments(void)
{
	char name[KV_SEGMENT_NAME_LEN];

	nsegments = 0;
	for (uint64_t c = 1; c < 100 && nsegments < SEGMENTS_MAX; c++) {
		kv_segment_name(name, c);
		for (size_t i = 0; i < nfiles; i++)
			if (strcmp(files[i].name, name) == 0)
				snprintf(segment[nsegments++],
				    sizeof(segment[0]), "%s", name);
	}
	if (nsegments < 3 || nsegments == SEGMENTS_MAX)
		tap_bail("%zu segments", nsegments);
}

/* Databases to be damaged, and one more whose files are like theirs. */
static void
begin(struct file *seg, struct file *tab, struct file *format)
{
	wipe(good);
	wipe(other);
	commits = 0;
	make(other);
	commits = 0;
	make(good);
	while (nfiles > 0)
		free(files[--nfiles].b);
	load_dir("");
	load_dir("wal");
	load_dir("table");
	load_dir("version");
	find_segments();
	free(seg->b);
	free(tab->b);
	free(format->b);
	tab->b = NULL;
	load(other, segment[0], seg);
	for (size_t i = 0; i < nfiles && tab->b == NULL; i++)
		if (strncmp(files[i].name, "table/", 6) == 0)
			load(other, files[i].name, tab);
	load(other, "FORMAT", format);
	foreign_table = tab;
}

int
main(void)
{
	struct file seg = { .b = NULL }, tab = { .b = NULL },
	    format = { .b = NULL };

	/* So many databases are made that the disk would take minutes. */
	if (access("/dev/shm", W_OK) == 0)
		setenv("TMPDIR", "/dev/shm", 1);
	tap_start("check");
	snprintf(good, sizeof(good), "%s/good.kv", tap_dir);
	snprintf(path, sizeof(path), "%s/db.kv", tap_dir);
	snprintf(other, sizeof(other), "%s/other.kv", tap_dir);
	begin(&seg, &tab, &format);
	test_answers();
	test_headers();
	test_seals();
	test_records();
	test_pages();
	test_noise();
	test_cut_segments();
	test_missing_segments();
	test_swapped_segments();
	test_foreign_segment(&seg);
	test_stray_segment();
	test_tables();
	test_versions();
	test_format();
	test_small_files(&format);
	test_index();
	test_control();
	test_clock();
	test_many();
	test_in_use();
	test_beside_others();

	compression = "compression=lz4,zstd";
	most_in_block = KEYS;
	begin(&seg, &tab, &format);
	test_tables();
	test_versions();
	test_many();
	free(seg.b);
	free(tab.b);
	free(format.b);
	return tap_end();
}
