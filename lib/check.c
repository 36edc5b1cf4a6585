#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"
#include "conf.h"
#include "lock.h"

/* How often it begins anew because files have gone away. */
#define TRIES		8

/* A clock that is so far behind the log makes somebody look. */
#define CLOCK_NS	((uint64_t)300 * 1000000000u)

/* ---- where things are now ---------------------------------------------- */

int
kv_check_rebuilt(struct kv_check *ck)
{
	struct kevo *db = &ck->db;

	if (!ck->live)
		return kv_control_stamp(&db->dir) != ck->stamp;
	return atomic_load_explicit(&db->ctl->retired, memory_order_acquire)
	    || !kv_control_linked(&db->env, db->ctl_fd);
}

int
kv_check_moved(struct kv_check *ck)
{
	struct kv_env aside;
	uint64_t newest;

	return kv_check_rebuilt(ck) || kv_version_newest(&aside,
	    &ck->db.dir, &newest) != 0 || newest > ck->newest;
}

static void
forget_control(struct kv_check *ck)
{
	if (ck->db.ctl != NULL)
		kv_control_unmap(ck->db.ctl, ck->db.ctl_fd);
	ck->db.ctl = NULL;
	ck->db.ctl_fd = -1;
	ck->live = 0;
}

/*
 * What control says, if it is that of this place.  In the order of view.c,
 * after the versions were listed: a version holds nothing above what was
 * visible after it was there, and all that was visible lies in segments up to
 * the one loaded then.
 */
static uint64_t
read_control(struct kv_check *ck)
{
	const struct kv_control *c = ck->db.ctl;
	uint64_t version, synced, visible, appended;

	version = atomic_load_explicit(&c->version, memory_order_acquire);
	visible = atomic_load_explicit(&c->visible, memory_order_acquire);
	synced = atomic_load_explicit(&c->synced, memory_order_acquire);
	appended = atomic_load_explicit(&c->appended, memory_order_acquire);
	ck->active = atomic_load_explicit(&c->active, memory_order_acquire);
	ck->limit = visible > synced ? visible : synced;
	ck->durable = synced;
	ck->impossible = ck->limit > appended || appended > (uint64_t)1 << 60;
	return version;
}

/* Nothing of it is believed. */
static void
disregard_control(struct kv_check *ck)
{
	forget_control(ck);
	ck->durable = 0;
	ck->impossible = 1;
}

/* The version that control names, where that is not the newest one that was
 * listed: a newer one has come, or its file is gone. */
static int
compare_version(struct kv_check *ck, uint64_t version)
{
	uint64_t newest;
	int rc;

	if (version <= ck->newest)
		return 0;
	rc = kv_version_newest(&ck->db.env, &ck->db.dir, &newest);
	if (rc != 0 || newest >= version)
		return rc != 0 ? rc : KV_RETRY;
	if (version > newest + 1)
		disregard_control(ck);
	else if (ck->live)
		ck->newest = version;
	return 0;
}

static int
look_at_control(struct kv_check *ck)
{
	uint64_t version;
	int rc;

	forget_control(ck);
	ck->durable = 0;
	ck->impossible = 0;
	ck->stamp = kv_control_stamp(&ck->db.dir);
	rc = kv_control_map(&ck->db.env, &ck->db.dir, 0, &ck->db.ctl,
	    &ck->db.ctl_fd);
	if (rc < 0 || ck->db.ctl == NULL)
		return rc < 0 ? rc : 0;
	version = read_control(ck);
	if (ck->impossible) {
		disregard_control(ck);
		return 0;
	}
	ck->live = rc == 0 && !atomic_load_explicit(&ck->db.ctl->retired,
	    memory_order_acquire);
	return compare_version(ck, version);
}

/* From here on nothing that the newest version needs is removed. */
static void
pin(struct kv_check *ck)
{
	struct kevo *db = &ck->db;

	if (db->pin_fd < 0)
		db->pin_fd = kv_openat(db->dir.fd, "PINS", O_RDONLY, 0);
	if (db->pin_fd >= 0 && kv_pin(db->pin_fd, ck->newest) != 0) {
		close(db->pin_fd);
		db->pin_fd = -1;
	}
}

static void
unpin(struct kv_check *ck)
{
	if (ck->db.pin_fd >= 0)
		close(ck->db.pin_fd);
	ck->db.pin_fd = -1;
}

/* ---- what hangs on no other file --------------------------------------- */

static int
check_lock(struct kv_check *ck)
{
	static const struct kv_loss nothing = { .text = "nothing; but nobody "
	    "can write" };

	ck->lock_missing = faccessat(ck->db.dir.fd, "LOCK", F_OK, 0) != 0 &&
	    errno == ENOENT;
	if (!ck->lock_missing)
		return 0;
	return kv_found(ck, KEVO_DAMAGE, "LOCK", 0, 0, &nothing, "missing");
}

static int
check_clock(struct kv_check *ck)
{
	uint64_t now = kv_now_ns(), last = ck->last_time_ns;

	if (last <= now || last - now <= CLOCK_NS)
		return 0;
	return kv_found(ck, KEVO_WARNING, "wal", 0, 0, NULL, "the newest "
	    "commit is %llu s ahead of the clock: times of commits and of "
	    "expiry are off", (unsigned long long)((last - now) / 1000000000u));
}

/* What is wrong in kevo.conf keeps writers out, but that is all. */
static int
check_conf(struct kv_check *ck)
{
	const char *path = kv_path(&ck->db.dir, KV_CONF_NAME);
	const char *why = ck->db.env.msg;
	size_t n = strlen(path);
	struct kv_conf conf;
	int rc;

	rc = kv_conf_read(&ck->db.env, &ck->db.dir, &conf);
	if (rc != KEVO_ECONFIG)
		return rc;
	/* "PATH:LINE: why", or "PATH: why" */
	if (strncmp(why, path, n) == 0 && why[n] == ':' && why[n + 1] != ' ')
		return kv_found(ck, KEVO_WARNING, KV_CONF_NAME, 0, 0, NULL,
		    "line %s", why + n + 1);
	return kv_found(ck, KEVO_WARNING, KV_CONF_NAME, 0, 0, NULL, "%s",
	    why);
}

/* A control that nobody uses is made anew; what others do with one that is
 * damaged is anybody's guess. */
static int
check_control(struct kv_check *ck)
{
	static const struct kv_loss nothing = { .text = "nothing: the log has "
	    "it all" };

	if (ck->impossible)
		return kv_found(ck, KEVO_DAMAGE, "shm/control", 0, 0, &nothing,
		    "it has numbers that cannot be");
	if (ck->stamp == 0 || ck->db.ctl != NULL)
		return 0;
	return kv_found(ck, KEVO_NOTE, "shm/control", 0, 0, NULL, "of another "
	    "place, or not usable; it is made anew when the database is "
	    "opened");
}

/* ---- all together ------------------------------------------------------ */

static void
begin(struct kv_check *ck)
{
	kv_findings_forget(ck);
	kv_check_forget_version(ck);
	ck->out->damages = ck->out->warnings = ck->out->notes = 0;
	ck->out->files = ck->out->bytes = ck->out->records = 0;
	ck->out->last_commit = 0;
	ck->last_seq = ck->last_time_ns = 0;
	ck->total = 0;
}

static uint64_t
file_size(struct kv_check *ck, const char *name)
{
	struct stat st;

	return fstatat(ck->db.dir.fd, name, &st, 0) == 0 ?
	    (uint64_t)st.st_blocks * 512 : 0;
}

/* For who shows progress. */
static void
add_up(struct kv_check *ck)
{
	char name[KV_SEGMENT_NAME_LEN];

	if (ck->opt->progress == NULL)
		return;
	for (uint32_t i = 0; !ck->fast && i < ck->version->ntables; i++)
		ck->total += ck->version->table[i].info.size;
	for (size_t i = 0; i < ck->segments.n; i++)
		if (ck->segments.v[i] >= ck->version->first_segment) {
			kv_segment_name(name, ck->segments.v[i]);
			ck->total += file_size(ck, name);
		}
}

/* The files there are, and what control says; each segment has its file
 * before control names it. */
static int
look_around(struct kv_check *ck)
{
	const struct kv_list *l = &ck->segments;
	uint64_t versions = 0, last;
	int rc;

	if ((rc = kv_check_list_versions(ck)) != 0)
		return rc;
	if (ck->versions.n > 0)
		versions = ck->versions.v[ck->versions.n - 1];
	ck->newest = versions;
	if ((rc = look_at_control(ck)) != 0 ||
	    (rc = kv_check_list_segments(ck)) != 0)
		return rc;
	last = l->n > 0 ? l->v[l->n - 1] : 0;
	if (ck->live && (ck->active == 0 || ck->active > last + 1)) {
		disregard_control(ck);
		ck->newest = versions;
	}
	return 0;
}

static int
check_once(struct kv_check *ck)
{
	int rc;

	begin(ck);
	if ((rc = look_around(ck)) != 0)
		return rc;
	pin(ck);
	if (kv_check_moved(ck))
		return KV_RETRY;
	if ((rc = kv_check_ident(ck)) != 0 ||
	    (rc = check_lock(ck)) != 0 ||
	    (rc = kv_check_version(ck)) != 0)
		return rc;
	if (ck->live && ck->active < ck->version->first_segment)
		disregard_control(ck);
	if ((rc = check_conf(ck)) != 0 || (rc = check_control(ck)) != 0)
		return rc;
	add_up(ck);
	if (ck->version->last_seq > ck->last_seq)
		ck->last_seq = ck->version->last_seq;
	ck->last_time_ns = ck->version->time_ns;
	if ((rc = kv_check_tables(ck)) != 0 ||
	    (rc = kv_check_log(ck)) != 0 ||
	    (rc = kv_check_indexes(ck)) != 0 ||
	    (rc = check_clock(ck)) != 0)
		return rc;
	ck->out->last_commit = ck->last_seq;
	if ((rc = kv_check_copies(ck)) != 0)
		return rc;
	return kv_check_strays(ck);
}

int
kv_check_all(struct kv_check *ck)
{
	int rc = KV_RETRY;

	for (int i = 0; i < TRIES && rc == KV_RETRY; i++) {
		rc = check_once(ck);
		unpin(ck);
	}
	if (rc == KV_RETRY)
		rc = kv_fail(&ck->db.env, KEVO_EBUSY, "%s: its files change "
		    "faster than they can be looked at", ck->db.path);
	return rc;
}

/* ---- the public function ----------------------------------------------- */

static int
open_directory(struct kv_check *ck, const char *path)
{
	struct kevo *db = &ck->db;

	if (path == NULL || *path == '\0')
		return kv_fail(&db->env, KEVO_EINVAL, "empty path");
	if ((db->path = strdup(path)) == NULL)
		return kv_fail(&db->env, KEVO_ENOMEM, "out of memory");
	db->dir.path = db->path;
	db->dir.fd = kv_openat(AT_FDCWD, path, O_PATH | O_DIRECTORY, 0);
	if (db->dir.fd >= 0)
		return 0;
	if (errno == ENOENT)
		return kv_fail(&db->env, KEVO_ENODB, "%s: no such database",
		    path);
	if (errno == ENOTDIR)
		return kv_fail(&db->env, KEVO_ENOTDB, "%s: not a directory",
		    path);
	return kv_fail_errno(&db->env, path, "open");
}

static void
release(struct kv_check *ck)
{
	kv_findings_forget(ck);
	kv_check_forget_version(ck);
	forget_control(ck);
	unpin(ck);
	kv_history_release(&ck->history);
	free(ck->segments.v);
	free(ck->tables.v);
	free(ck->versions.v);
	free(ck->bad_versions.v);
	free(ck->bad_tables.v);
	if (ck->db.dir.fd >= 0)
		close(ck->db.dir.fd);
	free(ck->db.path);
	free(ck);
}

static int
repair(struct kv_check *ck)
{
	struct kevo_check_result found = *ck->out;
	int rc = kv_mend(ck);

	found.repaired = ck->out->repaired;
	found.kept = ck->out->kept;
	found.moved = ck->out->moved;
	memcpy(found.aside, ck->out->aside, sizeof(found.aside));
	*ck->out = found;
	return rc;
}

static int
run(struct kv_check *ck, const char *path)
{
	int rc;

	if ((rc = open_directory(ck, path)) != 0 ||
	    (rc = kv_check_all(ck)) != 0)
		return rc;
	if (ck->fast)
		ck->out->records = 0;
	kv_findings_tell(ck);
	if (ck->out->damages == 0)
		return 0;
	if ((ck->opt->flags & KEVO_CHECK_REPAIR) && (rc = repair(ck)) != 0)
		return rc;
	return KEVO_FALSE;
}

int
kevo_check(const char *path, const struct kevo_check *opt,
    struct kevo_check_result *out)
{
	static const struct kevo_check defaults;
	struct kv_check *ck = calloc(1, sizeof(*ck));
	int rc;

	memset(out, 0, sizeof(*out));
	if (ck == NULL) {
		snprintf(out->msg, sizeof(out->msg), "out of memory");
		return KEVO_ENOMEM;
	}
	ck->opt = opt != NULL ? opt : &defaults;
	ck->out = out;
	ck->fast = (ck->opt->flags & KEVO_CHECK_FAST) != 0;
	ck->db.dir.fd = ck->db.lock_fd = ck->db.ctl_fd = ck->db.pin_fd = -1;
	ck->db.dir.names = &ck->db.names;
	ck->db.wait_ms = ck->opt->wait_set ? ck->opt->wait_ms :
	    KEVO_WAIT_DEFAULT;
	rc = run(ck, path);
	if (rc < 0)
		snprintf(out->msg, sizeof(out->msg), "%s", ck->db.env.msg);
	release(ck);
	return rc;
}
