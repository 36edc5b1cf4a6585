#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "compact.h"

/*
 * The file `reserve`.  On a full disk nothing can be deleted, for a deletion
 * is a record too, and nothing can be merged; but what is in the log can be
 * brought into a table of the same size, and then the log goes, with its
 * index, which is more.  So a file is kept that is as large as that table.
 * The flush does not remove it, for then writers would take its room: it
 * becomes the table.  If all of the log but the active segment is in tables,
 * a full run gives it away for the next one.
 *
 * It is for databases that are many times its size, on disks that have room.
 */

#define NAME		KV_SPARE_NAME
#define TMP		KV_SPARE_NAME ".tmp"
#define SIZES_OF_TABLES	8	/* the tables are so many times its size */
#define SIZES_FREE	4	/* and the disk has so many left */

/* Of a segment's operations the table takes this, at most. */
static uint64_t
wanted(const struct kevo *db)
{
	uint64_t log = kv_setting(db->ctl, KV_SET_MEMTABLE_BYTES);

	return kv_room_for(log + log / 16);
}

uint64_t
kv_spare_bytes(const struct kevo *db)
{
	struct stat st;

	/* With a second name it may be a table by now. */
	if (fstatat(db->dir.fd, NAME, &st, AT_SYMLINK_NOFOLLOW) != 0 ||
	    !S_ISREG(st.st_mode) || st.st_nlink != 1)
		return 0;
	return (uint64_t)st.st_blocks * 512;
}

/*
 * While writers write on, they have the room of the log that a flush brought
 * into the reserve at once, and in the end there is neither.  So it waits for
 * somebody who asks for a flush or a full run; what is started when it is due
 * leaves it.
 */
int
kv_spare_may_take(const struct kv_work *w)
{
	return (w->c.flags & (KEVO_COMPACT_FLUSH | KEVO_COMPACT_FULL)) != 0 ||
	    kv_setting(w->db->ctl, KV_SET_COMPACTION) != KV_COMPACTION_AUTO;
}

int
kv_spare_drop(struct kevo *db)
{
	return kv_spare_bytes(db) > 0 &&
	    unlinkat(db->dir.fd, NAME, 0) == 0;
}

static uint64_t
bytes_of_tables(const struct kv_version *v)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < v->ntables; i++)
		sum += v->table[i].info.size;
	return sum;
}

/* A file of that size under another name, which it then has. */
static int
make(struct kevo *db, uint64_t size)
{
	int fd, rc;

	fd = kv_openat(db->dir.fd, TMP, O_RDWR | O_CREAT | O_EXCL, 0600);
	if (fd < 0)
		return -1;
	rc = kv_reserve(&db->env, fd, TMP, 0, size);
	if (rc == 0 && (kv_give(&db->dir, fd, db->ctl->mode) != 0 ||
	    renameat(db->dir.fd, TMP, db->dir.fd, NAME) != 0))
		rc = -1;
	close(fd);
	if (rc != 0)
		unlinkat(db->dir.fd, TMP, 0);
	return rc;
}

void
kv_spare_keep(struct kevo *db, const struct kv_version *v)
{
	struct kv_env before = db->env;
	uint64_t size = wanted(db), is = kv_spare_bytes(db), left;
	int large = bytes_of_tables(v) / SIZES_OF_TABLES >= size;

	if (is >= size && is <= 2 * size && large)
		return;
	unlinkat(db->dir.fd, TMP, 0);	/* of a killed process */
	if (!large)
		unlinkat(db->dir.fd, NAME, 0);
	else if (kv_free_bytes(&db->env, &db->dir, &left) == 0 &&
	    left / SIZES_FREE >= size)
		make(db, size);
	db->env = before;
}
