/*
 * counted: what the tests of statistics share: every number by its name, and
 * system calls that are counted on their way to the kernel.
 */
#ifndef COUNTED_H
#define COUNTED_H

#include <errno.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "count.h"
#include "hash.h"
#include "testdb.h"

/* ---- fdatasync() is ours ----------------------------------------------- */

static uint64_t syncs_made, sync_fails;

int
fdatasync(int fd)
{
	if (sync_fails > 0) {
		sync_fails--;
		errno = EIO;
		return -1;
	}
	syncs_made++;
	return fsync(fd);
}

/* ---- so is unlinkat() -------------------------------------------------- */

static uint64_t files_unlinked, bytes_unlinked;

int
unlinkat(int fd, const char *name, int flags)
{
	struct stat st;
	int there = fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
	int rc = (int)syscall(SYS_unlinkat, fd, name, flags);

	/* Temporary names are no files of the database. */
	if (rc == 0 && there && strstr(name, "tmp") == NULL) {
		files_unlinked++;
		bytes_unlinked += (uint64_t)st.st_blocks * 512;
	}
	return rc;
}

/* ---- numbers by name --------------------------------------------------- */

struct number {
	char key[80];
	enum kevo_metric_kind kind;
	uint64_t value;		/* of a histogram: how many */
	uint64_t sum, max;
	uint64_t bucket[KV_HIST_BUCKETS];
};

struct numbers {
	size_t n;
	struct number of[250];
};

static inline int
keep(void *arg, const struct kevo_metric *m)
{
	struct numbers *all = arg;
	struct number *o = &all->of[all->n++];

	if (all->n > 250)
		tap_bail("too many metrics");
	snprintf(o->key, sizeof(o->key), "%s%s%s", m->name,
	    m->label_value != NULL ? "." : "",
	    m->label_value != NULL ? m->label_value : "");
	o->kind = m->kind;
	o->value = m->value;
	if (m->kind != KEVO_HISTOGRAM)
		return 0;
	o->value = m->histogram->count;
	o->sum = m->histogram->sum;
	o->max = m->histogram->max;
	memcpy(o->bucket, m->histogram->bucket, sizeof(o->bucket));
	return 0;
}

static inline struct numbers *
numbers(struct kevo *db)
{
	struct numbers *all = calloc(1, sizeof(*all));

	if (all == NULL)
		tap_bail("out of memory");
	check(db, kevo_metrics(db, keep, all), "metrics");
	return all;
}

static inline const struct number *
find(const struct numbers *all, const char *key)
{
	for (size_t i = 0; i < all->n; i++)
		if (strcmp(all->of[i].key, key) == 0)
			return &all->of[i];
	tap_bail("no metric %s", key);
}

static inline uint64_t
now_is(struct kevo *db, const char *key)
{
	struct numbers *all = numbers(db);
	uint64_t v = find(all, key)->value;

	free(all);
	return v;
}

/* Complains with the name. */
static inline void
is(struct kevo *db, const char *key, uint64_t want)
{
	uint64_t have = now_is(db, key);

	if (have != want && tap_bad++ < 6)
		printf("# %s is %llu, should be %llu\n", key,
		    (unsigned long long)have, (unsigned long long)want);
}

/* ---- databases --------------------------------------------------------- */

static inline struct kevo *
open_db(unsigned flags)
{
	return open_as(flags, NULL);
}

static inline struct kevo *
create_with(const char *const *settings)
{
	struct kevo_options opt = { .settings = settings };

	return create_as(&opt);
}

/* Nobody brings its log into tables, unless a test does. */
static inline struct kevo *
create(const char *bytes)
{
	const char *const settings[] = { bytes, "compaction=manual", NULL };

	return create_with(settings);
}

static inline void
run(const char *fmt, const char *a, const char *b)
{
	char cmd[800];

	snprintf(cmd, sizeof(cmd), fmt, a, b);
	if (system(cmd) != 0)
		tap_bail("%s", cmd);
}

static inline struct kv_control *
map_control(void)
{
	char name[300];
	void *p;
	int fd;

	snprintf(name, sizeof(name), "%s/shm/control", path);
	if ((fd = open(name, O_RDWR)) < 0)
		tap_bail("%s: %s", name, strerror(errno));
	p = mmap(NULL, KV_CONTROL_LEN, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
	    0);
	close(fd);
	if (p == MAP_FAILED)
		tap_bail("%s: %s", name, strerror(errno));
	return p;
}

static inline void
count_reads(int on)
{
	struct kv_control *c = map_control();

	atomic_store(&c->setting[KV_SET_COUNT_READS], (uint64_t)on);
	munmap(c, KV_CONTROL_LEN);
}

/* The machine has started anew, for all that control knows. */
static inline void
reboot(void)
{
	struct kv_control *c = map_control();

	c->boot[3] ^= 0x55;
	c->hash = kv_hash(c, offsetof(struct kv_control, hash), 0);
	munmap(c, KV_CONTROL_LEN);
}

#endif /* COUNTED_H */
