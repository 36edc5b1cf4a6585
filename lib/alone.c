#include <errno.h>
#include <time.h>

#include "alone.h"
#include "db.h"
#include "lock.h"

/* So long, in milliseconds, has who is only just opening the database to find
 * out that it cannot be used. */
#define OPENER_MS	2000

struct wait {
	struct kevo *db;
	const char *to_do;
	int (*step)(void *arg);
	void *arg;
};

static int
wait_for_others(const struct wait *w, int64_t until)
{
	struct timespec nap = { 0, 10000000 };
	struct kevo *db = w->db;
	uint32_t other;
	int rc;

	while ((other = kv_slot_any(db->lock_fd)) != 0) {
		if (w->step != NULL && (rc = w->step(w->arg)) != 0)
			return rc;
		if (until >= 0 && kv_mono_ms() >= until)
			return kv_fail(&db->env, KEVO_EBUSY, "%s: busy: it is "
			    "open in another process (probably pid %u), which "
			    "must close it before it can be %s", db->path,
			    other - 1, w->to_do);
		nanosleep(&nap, NULL);
	}
	return 0;
}

/*
 * Who opens the database from now on finds no shared memory, and waits for
 * REBUILD to make it.
 */
static int
retire(struct kevo *db, uint64_t synced)
{
	struct kv_control *c;
	int fd, rc;

	rc = kv_control_map(&db->env, &db->dir, 1, &c, &fd);
	if (rc < 0)
		return rc;
	if (c != NULL) {
		if (atomic_load(&c->synced) > synced)
			atomic_store(&c->synced, synced);
		atomic_store(&c->retired, 1);
		kv_control_unmap(c, fd);
	}
	return 0;
}

int
kv_alone(struct kevo *db, const char *to_do, uint64_t synced,
    int (*step)(void *arg), void *arg)
{
	struct wait w = { db, to_do, step, arg };
	int64_t deadline = kv_deadline(db);
	int rc;

	rc = kv_lock_rebuild(db->lock_fd, deadline);
	if (rc == KV_LOCK_TIMEOUT)
		return kv_fail(&db->env, KEVO_EBUSY, "%s: busy: another "
		    "process is rebuilding its index or repairs it",
		    db->path);
	if (rc != 0) {
		errno = rc;
		return kv_fail_errno(&db->env, kv_path(&db->dir, "LOCK"),
		    "lock");
	}
	if ((rc = wait_for_others(&w, deadline)) != 0 ||
	    (rc = retire(db, synced)) != 0)
		return rc;
	return wait_for_others(&w, kv_mono_ms() + OPENER_MS);
}
