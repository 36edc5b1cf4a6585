/*
 * checked: what the tests of kevo_check() share: databases to be damaged,
 * what is found, and the judgement of a repair: nothing is lost that no
 * finding tells of, and no damaged file is gone.
 */
#ifndef CHECKED_H
#define CHECKED_H

#include <kevo.h>

#include <dirent.h>
#include <errno.h>
#include <ftw.h>

#include "segment.h"
#include "tap.h"

#define KEYS	300
#define COMMITS	3600
#define VALUE	100
#define FILES	64

/* make check does not try each byte. */
static inline uint64_t
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

static inline void
key_of(unsigned k, char buf[16])
{
	snprintf(buf, 16, "key%05u", k);
}

static inline void
value_of(uint64_t seq, char buf[VALUE])
{
	memset(buf, 'v', VALUE);
	snprintf(buf, VALUE, "%llu is the commit of this", (unsigned long
	    long)seq);
}

static inline void
must(struct kevo *db, int rc, const char *what)
{
	if (rc != 0)
		tap_bail("%s: %d: %s", what, rc, kevo_errmsg(db));
}

static inline void
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

static inline struct kevo *
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

static inline void
compact(struct kevo *db, unsigned flags)
{
	struct kevo_compact c = { .flags = flags };

	must(db, kevo_compact(db, &c, NULL), "compact");
}

/* Two levels of tables and three segments of log. */
static inline void
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

static struct file files[FILES];
static size_t nfiles;

static inline void
load(const char *dir, const char *name, struct file *f)
{
	char full[320];
	struct stat st;
	int fd;

	snprintf(f->name, sizeof(f->name), "%.63s", name);
	snprintf(full, sizeof(full), "%s/%.90s", dir, name);
	fd = open(full, O_RDONLY);
	if (fd < 0 || fstat(fd, &st) != 0)
		tap_bail("%s: %s", full, strerror(errno));
	f->len = (size_t)st.st_size;
	f->b = tap_alloc(f->len);
	if (read(fd, f->b, f->len) != (ssize_t)f->len)
		tap_bail("%s: cannot read", full);
	close(fd);
}

static inline void
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

static inline struct file *
find(const char *name)
{
	for (size_t i = 0; i < nfiles; i++)
		if (strcmp(files[i].name, name) == 0)
			return &files[i];
	tap_bail("there is no %s", name);
}

static inline void
write_file(const char *dir, const char *name, const void *p, size_t len)
{
	char full[320];
	int fd;

	snprintf(full, sizeof(full), "%s/%.90s", dir, name);
	fd = open(full, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	if (fd < 0 || write(fd, p, len) != (ssize_t)len)
		tap_bail("%s: %s", full, strerror(errno));
	close(fd);
}

static inline int
remove_one(const char *name, const struct stat *st, int kind, struct FTW *f)
{
	(void)st;
	(void)kind;
	(void)f;
	return remove(name);
}

static inline void
wipe(const char *dir)
{
	nftw(dir, remove_one, 20, FTW_DEPTH | FTW_PHYS);
}

/* All as it was made, without shared memory. */
static inline void
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

static inline void
overwrite(const char *name, uint64_t off, const void *p, size_t len)
{
	char full[320];
	int fd;

	snprintf(full, sizeof(full), "%s/%.90s", path, name);
	fd = open(full, O_WRONLY);
	if (fd < 0 || pwrite(fd, p, len, (off_t)off) != (ssize_t)len)
		tap_bail("%s: %s", full, strerror(errno));
	close(fd);
}

static inline void
flip(const struct file *f, uint64_t off)
{
	uint8_t v = f->b[off] ^ (uint8_t)(1 << tap_below(8));

	overwrite(f->name, off, &v, 1);
}

static inline void
zero(const struct file *f, uint64_t off, size_t len)
{
	uint8_t *z = tap_alloc(len);

	memset(z, 0, len);
	overwrite(f->name, off, z, len);
	free(z);
}

static inline void
cut(const struct file *f, uint64_t len)
{
	char full[320];

	snprintf(full, sizeof(full), "%s/%.90s", path, f->name);
	if (truncate(full, (off_t)len) != 0)
		tap_bail("%s: %s", full, strerror(errno));
}

static inline void
drop(const char *name)
{
	char full[320];

	snprintf(full, sizeof(full), "%s/%.90s", path, name);
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

static inline void
keep_key(char buf[16], const void *p, size_t len)
{
	buf[0] = '\0';
	if (p != NULL)
		snprintf(buf, 16, "%.*s", (int)len, (const char *)p);
}

static inline int
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

static inline int
check(unsigned flags, struct kevo_check_result *out)
{
	struct kevo_check c = { .flags = flags, .found = on_found,
		.wait_set = 1, .wait_ms = 100 };

	nfound = 0;
	return kevo_check(path, &c, out);
}

static inline void
show_found(void)
{
	for (size_t i = 0; i < nfound; i++)
		tap_note("found: %s", found[i].text);
}

/* Is there damage that names the file (and lies at off; UINT64_MAX: any)? */
static inline int
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
static inline uint64_t
commits_lost(void)
{
	uint64_t n = 0;

	for (size_t i = 0; i < nfound; i++)
		if (found[i].first != 0 && found[i].last >= found[i].first)
			n += found[i].last - found[i].first + 1;
	return n;
}

static inline uint64_t
records_lost(void)
{
	uint64_t n = 0;

	for (size_t i = 0; i < nfound; i++)
		n += found[i].records;
	return n;
}

/* Do the findings say that the record of commit seq may be gone? */
static inline int
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
static inline int
ends_open(void)
{
	for (size_t i = 0; i < nfound; i++)
		if (found[i].first != 0 && found[i].last == 0)
			return 1;
	return 0;
}

/* The commit that a key's value comes from; 0: it is absent. */
static inline uint64_t
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
static inline void
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

static inline int
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
static inline void
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

#define SEGMENTS_MAX	8

static char segment[SEGMENTS_MAX][64];	/* oldest first */
static size_t nsegments;
static const struct file *foreign_table;

static inline void
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
static inline void
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

/* What main() begins with. */
static inline void
begin_test(const char *name)
{
	/* So many databases are made that the disk would take minutes. */
	if (access("/dev/shm", W_OK) == 0)
		setenv("TMPDIR", "/dev/shm", 1);
	tap_start(name);
	snprintf(good, sizeof(good), "%s/good.kv", tap_dir);
	snprintf(path, sizeof(path), "%s/db.kv", tap_dir);
	snprintf(other, sizeof(other), "%s/other.kv", tap_dir);
}

#endif /* CHECKED_H */
