#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "count.h"
#include "lock.h"
#include "rebuild.h"

/*
 * Building a generation: control and the indexes, from FORMAT and the log.
 *
 * It happens beside the old generation and is put in place by one rename,
 * under REBUILD and, where the old control can be reached, under its WRITER
 * and SYNC.  Then the old control is marked retired: writers and new
 * snapshots go to the new one, old readers finish on what they have mapped.
 */

static void
set_positions(const struct kv_build *b, struct kv_control *c)
{
	c->tail[0] = b->tail;
	c->visible = c->synced = c->appended = c->full_to = b->tail.seq;
	c->version = b->version->number;
	c->next_file = b->version->next_file;
	c->first = b->first;
	c->active = b->last;
	c->reserved_to = b->tail.off;
	if (b->sealed) {
		/* The next writer finishes the rotation. */
		c->writing_off = b->tail.off;
		c->writing_len = b->tail.segment;
		c->writing = KV_WRITING_SEAL;
	}
}

/* Settings are kevo.conf's; if that is wrong, those that were valid last.  The
 * next writer that opens says what is wrong. */
static void
load_settings(struct kv_build *b, const struct kv_control *old)
{
	if (kv_conf_read(&b->db->env, &b->db->dir, &b->conf) == 0)
		return;
	kv_conf_init(&b->conf);
	for (int i = 0; old != NULL && i < KV_SETTINGS; i++)
		b->conf.value[i] = kv_setting(old, i);
}

/* Counting goes on from where the old control was. */
static void
set_counters(const struct kv_build *b, struct kv_control *c)
{
	uint64_t now = kv_now_ns();

	kv_stats_inherit(c, &b->db->dir);
	kv_count(c, KV_STAT_REBUILDS, 1);
	kv_count(c, KV_STAT_REBUILD_NS, kv_mono_ns() - b->began_ns);
	kv_count(c, KV_STAT_REBUILD_RECORDS, b->ops);
	kv_count(c, KV_STAT_REBUILD_BYTES, b->bytes);
	kv_count(c, KV_STAT_REBUILD_CUTS, b->cuts);
	kv_stamp(c, KV_STAT_REBUILD_LAST_NS, now);
}

/* ---- shared ------------------------------------------------------------ */

#define CONTROL_TMP	"shm/control.tmp"

/* How long an opener may take to find out that there is no control. */
#define UNREACHABLE_MS	2000

/*
 * The old control is retired before the new one gets its name: were it the
 * other way round, an heir of a rebuilder that died in between would go on
 * with the old one, beside the new.  (The model: RETIRE_LATE.)
 */
#define NUMBERS_APART	((uint64_t)1 << 20)

static int
retire(struct kv_build *b, struct kv_control *old, struct kv_control *c)
{
	uint64_t newest = b->version->number;
	int rc;

	if (old == NULL)
		return 0;
	atomic_store(&old->retired, 1);
	/* Who installs a version looks at `retired` after that: either it
	 * tells the new control, or we see its file here. */
	atomic_thread_fence(memory_order_seq_cst);
	/* Who still has the old control takes numbers from it. */
	if (c->next_file < old->next_file)
		c->next_file = atomic_load(&old->next_file);
	c->next_file += NUMBERS_APART;
	rc = kv_version_newest(&b->db->env, &b->db->dir, &newest);
	if (rc == 0 && newest != b->version->number)
		rc = kv_sync_dir(&b->db->env, &b->db->dir, "version");
	c->version = newest;
	return rc;
}

static int
install_control(struct kv_build *b, struct kv_control *old)
{
	struct kevo *db = b->db;
	const char *name = kv_path(&db->dir, CONTROL_TMP);
	void *p;
	int fd, rc;

	unlinkat(db->dir.fd, CONTROL_TMP, 0);
	fd = kv_openat(db->dir.fd, CONTROL_TMP, O_RDWR | O_CREAT | O_EXCL,
	    0666);
	if (fd < 0)
		return kv_fail_errno(&db->env, name, "create");
	kv_no_copy_on_write(fd);
	if (kv_give(&db->dir, fd, b->ident->mode) != 0)
		rc = kv_fail_errno(&db->env, name, "set the mode of");
	else
		rc = kv_reserve(&db->env, fd, name, 0, KV_CONTROL_LEN);
	if (rc == 0 && (rc = kv_map(&db->env, fd, name, KV_CONTROL_LEN, 1,
	    &p)) == 0) {
		rc = kv_control_format(&db->env, p, &db->dir, fd, b->ident,
		    &b->conf, b->generation);
		if (rc == 0) {
			set_positions(b, p);
			set_counters(b, p);
			rc = retire(b, old, p);
		}
		kv_unmap(p, KV_CONTROL_LEN);
	}
	close(fd);
	if (rc == 0 && renameat(db->dir.fd, CONTROL_TMP, db->dir.fd,
	    "shm/control") != 0)
		rc = kv_fail_errno(&db->env, kv_path(&db->dir, "shm/control"),
		    "put in place");
	if (old != NULL)
		kv_event_tell(&old->event);
	if (rc != 0)
		unlinkat(db->dir.fd, CONTROL_TMP, 0);
	return rc;
}

/*
 * Remove the index files of all generations but one: of failed attempts, and
 * of those before, whose readers have them mapped.
 */
static void
remove_others(struct kv_build *b, uint64_t generation)
{
	char keep[KV_INDEX_NAME_LEN], path[300];
	struct dirent *e;
	DIR *d;
	int fd;

	fd = kv_openat(b->db->dir.fd, "shm", O_RDONLY | O_DIRECTORY, 0);
	if (fd < 0)
		return;
	if ((d = fdopendir(fd)) == NULL) {
		close(fd);
		return;
	}
	snprintf(keep, sizeof(keep), "%016llx.",
	    (unsigned long long)generation);
	while ((e = readdir(d)) != NULL) {
		size_t n = strlen(e->d_name);

		if (n != 37 || strcmp(e->d_name + n - 4, ".idx") != 0 ||
		    strncmp(e->d_name, keep, 17) == 0)
			continue;
		snprintf(path, sizeof(path), "shm/%s", e->d_name);
		unlinkat(b->db->dir.fd, path, 0);
	}
	closedir(d);
}

/*
 * The old generation cannot be reached: nobody may be using it.  A process
 * that is only just opening has a slot for a moment, and gives it back when
 * it finds no control; so wait a little before calling it a user.
 */
static int
nobody_uses_old(struct kevo *db, int64_t deadline_ms)
{
	int64_t until = kv_mono_ms() + (db->flags & KEVO_RDONLY ?
	    UNREACHABLE_MS / 100 : UNREACHABLE_MS);
	struct timespec nap = { 0, 1000000 };
	uint32_t other;

	if (deadline_ms >= 0 && deadline_ms < until)
		until = deadline_ms;
	while ((other = kv_slot_any(db->lock_fd)) != 0) {
		if (kv_mono_ms() >= until)
			return kv_fail(&db->env, KEVO_EBUSY, "%s/shm was "
			    "removed or damaged under a running process "
			    "(probably pid %u); it must close the database "
			    "before anybody can go on", db->path, other - 1);
		nanosleep(&nap, NULL);
	}
	return 0;
}

/* Hold off who uses the old generation. */
static int
lock_old(struct kevo *db, struct kv_control *old, int64_t deadline_ms)
{
	int rc;

	if (old == NULL)
		return nobody_uses_old(db, deadline_ms);
	if ((rc = kv_slot_leave_haunted(db, old)) != 0)
		return rc;
	if (kv_word_lock(&old->writer, db->lock_fd, db->slot, deadline_ms) ==
	    KV_WORD_TIMEOUT) {
		char who[96];

		kv_holder_describe(&old->holder, who, sizeof(who));
		return kv_fail(&db->env, KEVO_EBUSY, "%s: busy: locked by %s",
		    db->path, who);
	}
	if (kv_word_lock(&old->syncer, db->lock_fd, db->slot, deadline_ms) ==
	    KV_WORD_TIMEOUT) {
		kv_word_unlock(&old->writer);
		return kv_fail(&db->env, KEVO_EBUSY, "%s: busy: a process is "
		    "syncing the log", db->path);
	}
	return 0;
}

static void
unlock_old(struct kv_control *old)
{
	if (old == NULL)
		return;
	kv_word_unlock(&old->syncer);
	kv_word_unlock(&old->writer);
}

static int
rebuild_locked(struct kevo *db, const struct kv_ident *ident,
    int64_t deadline_ms)
{
	struct kv_build b = { .db = db, .ident = ident, .rewrite = 1,
	    .began_ns = kv_mono_ns() };
	struct kv_control *old;
	uint8_t boot[16];
	int fd, rc;

	rc = kv_control_map(&db->env, &db->dir, 1, &old, &fd);
	if (rc < 0)
		return rc;
	if (rc == 0 && !atomic_load(&old->retired) &&
	    !atomic_load(&old->failed) && old->generation != db->broken) {
		kv_control_unmap(old, fd);	/* somebody was faster */
		return 0;
	}
	if ((rc = lock_old(db, old, deadline_ms)) != 0)
		goto out;
	if (old != NULL) {
		b.durable = old->synced;
		kv_boot_id(boot);
		b.rewrite = memcmp(boot, old->boot, 16) == 0 ||
		    kv_slot_any(db->lock_fd) != 0;
	}
	if ((rc = kv_fs_check(db, KEVO_ENOTDB)) != 0 ||
	    (rc = kv_make_places(db, ident)) != 0 ||
	    (rc = kv_sync_names(db)) != 0 ||
	    (rc = kv_mkdir(&db->env, &db->dir, "shm", ident->mode)) != 0)
		goto unlock;
	if (kv_random(&b.generation, sizeof(b.generation)) != 0) {
		rc = kv_fail_errno(&db->env, "random numbers", "get");
		goto unlock;
	}
	remove_others(&b, old != NULL ? old->generation : 0);
	load_settings(&b, old);
	if ((rc = kv_build_log(&b)) == 0)
		rc = install_control(&b, old);
	kv_build_forget(&b);
	remove_others(&b, rc == 0 ? b.generation : old != NULL ?
	    old->generation : 0);
unlock:
	unlock_old(old);
out:
	if (old != NULL)
		kv_control_unmap(old, fd);
	return rc;
}

/*
 * The slot is given back while waiting for REBUILD: whoever holds that one
 * must not take us for a user of the old generation.
 */
int
kv_rebuild(struct kevo *db, const struct kv_ident *ident, int64_t deadline_ms)
{
	int locked, rc;

	kv_slot_drop(db->lock_fd, db->slot);
	locked = kv_lock_rebuild(db->lock_fd, deadline_ms);
	if ((rc = kv_slot_acquire(db)) != 0) {
		if (locked == 0)
			kv_unlock_rebuild(db->lock_fd);
		return rc;
	}
	if (locked == KV_LOCK_TIMEOUT)
		return kv_fail(&db->env, KEVO_EBUSY, "%s: busy: another "
		    "process is rebuilding its index", db->path);
	if (locked != 0) {
		errno = locked;
		return kv_fail_errno(&db->env, kv_path(&db->dir, "LOCK"),
		    "lock");
	}
	rc = rebuild_locked(db, ident, deadline_ms);
	kv_unlock_rebuild(db->lock_fd);
	return rc;
}

/* ---- private ----------------------------------------------------------- */

int
kv_build_private(struct kevo *db, const struct kv_ident *ident)
{
	struct kv_build b = { .db = db, .ident = ident, .private_index = 1,
		.read_only = 1 };
	struct kv_control *c = aligned_alloc(64, KV_CONTROL_LEN);
	int rc;

	if (c == NULL)
		return kv_fail(&db->env, KEVO_ENOMEM, "out of memory");
	memset(c, 0, KV_CONTROL_LEN);
	db->unusable = kv_control_stamp(&db->dir);
	load_settings(&b, NULL);
	if ((rc = kv_fs_check(db, KEVO_ENOTDB)) != 0 ||
	    (rc = kv_control_format(&db->env, c, &db->dir, -1, ident,
	    &b.conf, 0)) != 0 || (rc = kv_build_log(&b)) != 0) {
		kv_build_forget(&b);
		free(c);
		return rc;
	}
	set_positions(&b, c);
	kv_version_unref(b.version);
	kv_stats_inherit(c, &db->dir);
	db->ctl = c;
	db->ctl_fd = -1;
	db->private_index = 1;
	kv_view_unref(db->view);
	db->view = b.view;
	return 0;
}
