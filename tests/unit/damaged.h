/*
 * damaged: what the tests of damaged databases share: one that was written by
 * the book, its files as they were, and how it answers once they are not.
 */
#ifndef DAMAGED_H
#define DAMAGED_H

#include <kevo.h>

#include <dirent.h>
#include <errno.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "coding.h"
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

static inline void
load(struct file *f, const char *name)
{
	struct stat st;
	int fd;

	snprintf(f->name, sizeof(f->name), "%s/%.59s", path, name);
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

static inline void
write_at(const char *name, const void *p, size_t len, uint64_t off)
{
	int fd = open(name, O_WRONLY | O_CREAT, 0600);

	if (fd < 0 || pwrite(fd, p, len, (off_t)off) != (ssize_t)len)
		tap_bail("%s: %s", name, strerror(errno));
	close(fd);
}

static inline void
flip(const struct file *f, uint64_t off, int bit)
{
	uint8_t v = f->b[off] ^ (uint8_t)(1 << bit);

	write_at(f->name, &v, 1, off);
}

static inline void
restore(const struct file *f)
{
	if (truncate(f->name, 0) != 0 && errno != ENOENT)
		tap_bail("%s: %s", f->name, strerror(errno));
	write_at(f->name, f->b, f->len, 0);
}

/* Remove what is in a directory of the database. */
static inline void
empty(const char *sub)
{
	char dir[240], name[520];
	struct dirent *e;
	DIR *d;

	snprintf(dir, sizeof(dir), "%s/%s", path, sub);
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
}

static inline void
remove_shm(void)
{
	char dir[240];

	empty("shm");
	snprintf(dir, sizeof(dir), "%s/shm", path);
	rmdir(dir);
}

static inline void
segment_file(char name[280], uint64_t counter)
{
	char rel[KV_SEGMENT_NAME_LEN];

	kv_segment_name(rel, counter);
	snprintf(name, 280, "%s/%s", path, rel);
}

/* All as it was after set_up(), but for shm.  With a damaged setting in
 * control somebody may have brought the log into tables. */
static inline void
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
	empty("version");
	empty("table");
	remove_shm();
}

/* ---- what is in it ----------------------------------------------------- */

/* Commit i puts key i; each tenth one deletes the key five before it. */
static inline size_t
key_of(unsigned i, char key[32])
{
	return (size_t)snprintf(key, 32, "key/%u/%05u", i / 100, i);
}

static inline void
value_of(unsigned i, char value[VALUE])
{
	for (unsigned j = 0; j < VALUE; j++)
		value[j] = (char)(i * 2654435761u >> 9 ^ j * 31);
}

static inline int
is_there(unsigned i, uint64_t commits)
{
	if (i % 10 == 0 || i >= commits)
		return 0;
	return i % 10 != 5 || i + 5 >= commits;
}

static inline int
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

static inline int
is_record(const struct kevo_record *rec, unsigned i)
{
	char key[32], value[VALUE];
	size_t klen = key_of(i, key);

	value_of(i, value);
	return rec->klen == klen && memcmp(rec->key, key, klen) == 0 &&
	    rec->vlen == VALUE && memcmp(rec->value, value, VALUE) == 0 &&
	    rec->version == i + 1 && rec->expires_ns == 0;
}

static inline void
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

static inline void
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
static inline enum outcome
error(struct kevo *db, int rc)
{
	return rc < 0 && strstr(kevo_errmsg(db), path) != NULL ? ERROR :
	    WRONG;
}

/* Whether all is there that the first n commits put there. */
static inline enum outcome
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

static inline enum outcome
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

static inline enum outcome
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

static inline enum outcome
open_and_compare(unsigned flags)
{
	struct kevo_options opt = { .wait_set = 1, .wait_ms = 300,
		.compactor = "" };
	enum outcome o;
	struct kevo *db;
	int rc = kevo_open(path, flags, &opt, &db);

	o = rc != 0 ? error(db, rc) : compare_all(db);
	if (kevo_close(db) != 0 && o == RIGHT)
		o = ERROR;
	return o;
}

/* The log is damaged in segment: without shm it is refused by its name. */
static inline int
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

#endif /* DAMAGED_H */
