#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "count.h"
#include "db.h"

/*
 * Counting what a handle reads, and what fails in it.
 *
 * A writer's handle has control mapped for writing.  A reader's has not, and
 * leaves no trace, unless the setting count_reads is on: then it maps control
 * a second time, for writing, the first time that it counts something.  Who
 * may not do that is not counted.
 */

static int
map_for_writing(struct kevo *db, int ctl_fd)
{
	struct kv_env quiet;
	struct kv_file_id ours, theirs;
	void *p = NULL;
	int fd = kv_openat(db->dir.fd, "shm/control", O_RDWR, 0);

	if (fd < 0)
		return -1;
	if (kv_file_stat(&quiet, ctl_fd, "", NULL, &ours, NULL) == 0 &&
	    kv_file_stat(&quiet, fd, "", NULL, &theirs, NULL) == 0 &&
	    memcmp(&ours, &theirs, sizeof(ours)) == 0 &&
	    kv_map(&quiet, fd, "", KV_CONTROL_LEN, 1, &p) == 0)
		db->reads = p;
	close(fd);
	return p != NULL ? 0 : -1;
}

/* Where a reader counts, or NULL. */
static struct kv_control *
readers_control(struct kevo *db)
{
	int on = 0, fd = db->ctl_fd;

	if (db->private_index)
		return NULL;
	if (db->ctl != NULL)
		on = kv_counts_reads(db->ctl);
	else if (db->cold != NULL)
		on = kv_cold_setting(db, KV_SET_COUNT_READS) == 1;
	if (!on || db->reads_refused)
		return NULL;
	if (db->ctl == NULL)
		fd = kv_cold_control(db);
	if (db->reads == NULL && map_for_writing(db, fd) != 0)
		db->reads_refused = 1;
	return db->reads;
}

struct kv_control *
kv_writable_control(struct kevo *db)
{
	if (db->private_index || db->ctl == NULL)
		return NULL;
	if (!(db->flags & KEVO_RDONLY))
		return db->ctl;
	if (db->reads == NULL && !db->reads_refused &&
	    map_for_writing(db, db->ctl_fd) != 0)
		db->reads_refused = 1;
	return db->reads;
}

static struct kv_control *
control(struct kevo *db)
{
	return db->flags & KEVO_RDONLY ? readers_control(db) : db->ctl;
}

void
kv_reads_release(struct kevo *db)
{
	if (db->reads != NULL)
		kv_unmap(db->reads, KV_CONTROL_LEN);
	db->reads = NULL;
	db->reads_refused = 0;
}

uint64_t
kv_read_clock(struct kevo *db)
{
	return db->ctl != NULL || readers_control(db) != NULL ?
	    kv_mono_ns() : 0;
}

void
kv_read_counted(struct kevo *db, uint64_t began, int rc,
    const struct kevo_record *rec)
{
	struct kv_control *c = control(db);

	if (c == NULL)
		return;
	if (rc < 0)
		kv_count_error(c, rc);
	if (rc < 0 || began == 0)
		return;
	kv_time(c, KV_HIST_GET, kv_mono_ns() - began);
	kv_count(c, rc == 0 ? KV_STAT_GET_HITS : KV_STAT_GET_MISSES, 1);
	if (rc == 0)
		kv_count(c, KV_STAT_READ_BYTES, rec->vlen);
}

void
kv_seek_counted(struct kevo *db, uint64_t began)
{
	struct kv_control *c = control(db);

	if (c == NULL)
		return;
	kv_time(c, KV_HIST_SEEK, kv_mono_ns() - began);
	kv_count(c, KV_STAT_SEEKS, 1);
}

void
kv_count_read(struct kevo *db, enum kv_stat s, uint64_t n)
{
	struct kv_control *c;

	if (n != 0 && db->ctl != NULL && kv_counts_reads(db->ctl) &&
	    (c = control(db)) != NULL)
		kv_count(c, s, n);
}

void
kv_count_failure(struct kevo *db, int rc)
{
	struct kv_control *c = control(db);

	if (c != NULL)
		kv_count_error(c, rc);
}
