#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cache.h"
#include "db.h"
#include "join.h"
#include "lock.h"

/*
 * Opening: find the directory, take a slot if we may write, map control.
 * The slot comes first: whoever wants to build a generation beside a
 * control that it cannot reach sees us, and refuses.
 */

int64_t
kv_deadline_from(const struct kevo *db, uint64_t began_ns)
{
	if (db->wait_ms < 0)
		return -1;
	return (int64_t)(began_ns / 1000000) + db->wait_ms;
}

int64_t
kv_deadline(const struct kevo *db)
{
	return kv_deadline_from(db, kv_mono_ns());
}

int
kv_usable(struct kevo *db)
{
	if (!db->opened)
		return KEVO_EINVAL;	/* kevo_open() said why */
	if (kv_forked(db))
		return kv_fail(&db->env, KEVO_EFORKED, "the handle belongs to "
		    "the parent process");
	return 0;
}

int
kv_lock_check(struct kevo *db)
{
	uint32_t nlink;
	int rc = kv_file_stat(&db->env, db->lock_fd, kv_path(&db->dir,
	    "LOCK"), NULL, NULL, &nlink);

	if (rc != 0 || nlink > 0)
		return rc;
	return kv_fail(&db->env, KEVO_EREPLACED, "%s/LOCK was replaced "
	    "under this process; open the database anew", db->path);
}

/* ---- attaching --------------------------------------------------------- */

static void
detach(struct kevo *db)
{
	kv_reads_release(db);
	if (db->ctl == NULL)
		return;
	if (db->ctl_fd < 0)
		free(db->ctl);
	else
		kv_control_unmap(db->ctl, db->ctl_fd);
	db->ctl = NULL;
	db->ctl_fd = -1;
	db->private_index = 0;
}

static int
may_use(const struct kevo *db, const struct kv_control *c)
{
	if (atomic_load_explicit(&c->retired, memory_order_acquire) ||
	    (db->broken != 0 && c->generation == db->broken))
		return 0;
	/* After a failed sync reading goes on; a writer recovers first. */
	return (db->flags & KEVO_RDONLY) ||
	    !atomic_load_explicit(&c->failed, memory_order_acquire);
}

int
kv_slot_acquire(struct kevo *db)
{
	db->slot = kv_slot_take(db->lock_fd, db->pid);
	if (db->slot == 0)
		return kv_fail_errno(&db->env, kv_path(&db->dir, "LOCK"),
		    "lock");
	return 0;
}

static int
slot_is_haunted(const struct kevo *db, struct kv_control *c)
{
	return (atomic_load(&c->writer) & KV_WORD_SLOT) == db->slot ||
	    (atomic_load(&c->syncer) & KV_WORD_SLOT) == db->slot;
}

int
kv_slot_leave_haunted(struct kevo *db, struct kv_control *c)
{
	while (slot_is_haunted(db, c)) {
		uint32_t old = db->slot;

		db->slot = kv_slot_take(db->lock_fd, old);
		if (db->slot == 0)
			return kv_fail_errno(&db->env, kv_path(&db->dir,
			    "LOCK"), "lock");
		kv_slot_drop(db->lock_fd, old);
	}
	return 0;
}

static int
open_lock(struct kevo *db)
{
	db->lock_fd = kv_openat(db->dir.fd, "LOCK", O_RDWR, 0);
	if (db->lock_fd < 0 && errno == ENOENT)
		return kv_fail(&db->env, KEVO_ECORRUPT, "%s: missing; if no "
		    "process has the database open, create it as an empty "
		    "file", kv_path(&db->dir, "LOCK"));
	if (db->lock_fd < 0)
		return kv_fail_errno(&db->env, kv_path(&db->dir, "LOCK"),
		    "open");
	return kv_slot_acquire(db);
}

static void
drop_lock(struct kevo *db)
{
	if (db->lock_fd >= 0)
		close(db->lock_fd);
	db->lock_fd = -1;
	db->slot = 0;
}

/*
 * Control is missing or not of this boot.  A reader that has the right to
 * builds a generation for everybody, as a writer does, and goes back to
 * being a reader; another one builds an index in its own memory.
 */
static int
build(struct kevo *db, int64_t deadline_ms)
{
	int reader = db->lock_fd < 0;
	struct kv_ident ident;
	struct kv_conf conf;
	int rc;

	if ((rc = kv_ident_read(&db->env, &db->dir, &ident)) != 0)
		return rc;
	if (kv_config_binds(db) &&
	    (rc = kv_conf_read(&db->env, &db->dir, &conf)) != 0)
		return rc;
	if (!reader)
		return kv_rebuild(db, &ident, deadline_ms);
	rc = open_lock(db);
	if (rc == 0)
		rc = kv_rebuild(db, &ident, deadline_ms);
	drop_lock(db);
	/* Not allowed, no room, no time: then for itself. */
	if (rc == KEVO_EPERM || rc == KEVO_EBUSY || rc == KEVO_EIO)
		rc = kv_build_private(db, &ident);
	return rc;
}

/* What is left to do with a control that is mapped.  A handle that cannot do
 * it is attached to nothing, and tries again at its next use. */
static int
settle(struct kevo *db)
{
	int rc = 0;

	db->tick = kv_tick();
	if (db->slot != 0)
		rc = kv_slot_leave_haunted(db, db->ctl);
	if (rc == 0)
		rc = kv_view_extend(db);
	if (rc == 0 && db->slot != 0)
		rc = kv_config_attach(db);
	if (rc != 0)
		detach(db);
	return rc;
}

int
kv_warm_up(struct kevo *db)
{
	if (db->ctl != NULL)
		return 0;
	/* The last attempt to attach failed; the reason may be gone. */
	if (db->cold == NULL)
		return kv_attach(db, kv_deadline(db));
	if (kv_cold_end(db) != 0 || !may_use(db, db->ctl))
		return kv_attach(db, kv_deadline(db));
	return settle(db);
}

int
kv_attach(struct kevo *db, int64_t deadline_ms)
{
	struct kv_control *c;
	int fd, rc;

	detach(db);
	if (db->lock_fd >= 0 && db->slot == 0 &&
	    (rc = kv_slot_acquire(db)) != 0)
		return rc;
	for (int tries = 0; tries < 8; tries++) {
		rc = kv_control_map(&db->env, &db->dir,
		    !(db->flags & KEVO_RDONLY), &c, &fd);
		if (rc < 0)
			return rc;
		if (rc == 0 && may_use(db, c)) {
			db->ctl = c;
			db->ctl_fd = fd;
			return settle(db);
		}
		if (c != NULL)
			kv_control_unmap(c, fd);
		if ((rc = build(db, deadline_ms)) != 0 || db->private_index)
			return rc;
	}
	return kv_fail(&db->env, KEVO_EBUSY, "%s: its shared memory keeps "
	    "being rebuilt", db->path);
}

/* ---- opening ----------------------------------------------------------- */

/* *made: it was not there. */
static int
open_directory(struct kevo *db, int *made)
{
	for (int tries = 0;; tries++) {
		db->dir.fd = kv_openat(AT_FDCWD, db->path,
		    O_PATH | O_DIRECTORY, 0);
		if (db->dir.fd >= 0)
			return 0;
		if (errno == ENOTDIR)
			return kv_fail(&db->env, KEVO_ENOTDB,
			    "%s: not a directory", db->path);
		if (errno != ENOENT)
			return kv_fail_errno(&db->env, db->path, "open");
		if (!(db->flags & KEVO_CREATE))
			return kv_fail(&db->env, KEVO_ENODB,
			    "%s: no such database", db->path);
		/* A name that exists and leads nowhere: a dangling link. */
		if (tries == 0 && mkdir(db->path, 0777) == 0) {
			*made = 1;
		} else if (tries > 0 || errno != EEXIST) {
			kv_fail_errno(&db->env, db->path, "create");
			return KEVO_ECREATE;
		}
	}
}

static int
find_database(struct kevo *db, const struct kevo_options *opt)
{
	if (faccessat(db->dir.fd, "FORMAT", F_OK, 0) == 0)
		return 0;
	if (errno != ENOENT)
		return kv_fail_errno(&db->env, kv_path(&db->dir, "FORMAT"),
		    "find");
	return db->flags & KEVO_CREATE ? kv_create(db, opt->settings) :
	    kv_why_none(db);
}

static int
open_db(struct kevo *db, const struct kevo_options *opt)
{
	int rc, made = 0;

	if ((rc = open_directory(db, &made)) != 0)
		return rc;
	if (opt->txn != NULL && *opt->txn != '\0' &&
	    (rc = kv_join_find(db, opt->txn)) != 0)
		return rc;
	/* Where control is there and sound, nothing else has to be. */
	if (!(db->flags & KEVO_RDONLY) || kv_cold_open(db) != 0) {
		if ((rc = find_database(db, opt)) != 0) {
			/* It goes if it is empty: nothing was created. */
			if (made)
				rmdir(db->path);
			return rc;
		}
		if (!(db->flags & KEVO_RDONLY) && (rc = open_lock(db)) != 0)
			return rc;
		if ((rc = kv_attach(db, kv_deadline(db))) != 0)
			return rc;
	}
	if (db->join != NULL && (rc = kv_join_enter(db)) != 0)
		return rc;
	return (db->flags & KEVO_EXISTING) && opt->settings != NULL ?
	    kv_config_compare(db, opt->settings) : 0;
}

int
kevo_open(const char *path, unsigned flags, const struct kevo_options *opt,
    struct kevo **out)
{
	static const struct kevo_options defaults;
	struct kevo *db = calloc(1, sizeof(*db));
	int rc;

	*out = db;
	if (db == NULL)
		return KEVO_ENOMEM;
	if (opt == NULL)
		opt = &defaults;
	db->dir.fd = db->lock_fd = db->ctl_fd = db->pin_fd = -1;
	db->dir.names = &db->names;
	db->flags = flags;
	db->one.db = db;
	db->program = opt->program != NULL ? opt->program : "";
	db->compactor = opt->compactor != NULL ? opt->compactor :
	    "kevo-compact";
	db->wait_ms = opt->wait_set ? opt->wait_ms : KEVO_WAIT_DEFAULT;
	if (!(flags & KEVO_RDONLY))
		db->pid = (uint32_t)getpid();
	kv_fork_enlist(db);
	if (path == NULL || *path == '\0')
		return kv_fail(&db->env, KEVO_EINVAL, "empty path");
	if (flags & ~(unsigned)(KEVO_RDONLY | KEVO_CREATE | KEVO_EXISTING |
	    KEVO_ANY_CONFIG))
		return kv_fail(&db->env, KEVO_EINVAL, "%s: unknown flags 0x%x",
		    path, flags);
	if ((flags & KEVO_RDONLY) && (flags & KEVO_CREATE))
		return kv_fail(&db->env, KEVO_EINVAL, "%s: a reader cannot "
		    "create a database", path);
	if ((rc = kv_sync_check(db, opt->sync)) != 0 ||
	    (rc = kv_config_check(db, opt->settings)) != 0)
		return rc;
	if ((db->path = strdup(path)) == NULL)
		return kv_fail(&db->env, KEVO_ENOMEM, "out of memory");
	db->dir.path = db->path;
	if ((rc = open_db(db, opt)) != 0)
		return rc;
	db->sync = opt->sync;
	db->opened = 1;
	return 0;
}

int
kevo_leave(struct kevo *db)
{
	if (db == NULL || kv_forked(db) || db->batch_to == 0)
		return 0;
	return kv_warm_up(db) == 0 ? kv_sync_to(db, db->batch_to) :
	    KEVO_EUNKNOWN;
}

int
kevo_close(struct kevo *db)
{
	int rc = kevo_leave(db);

	if (db == NULL)
		return 0;
	kv_fork_delist(db);
	kv_batch_release(&db->one);
	kv_view_unref(db->view);
	kv_join_leave(db);
	kv_cache_free(db->cache);
	kv_cold_close(db);
	detach(db);
	drop_lock(db);
	if (db->pin_fd >= 0)
		close(db->pin_fd);
	if (db->dir.fd >= 0)
		close(db->dir.fd);
	free(db->path);
	free(db);
	return rc;
}
