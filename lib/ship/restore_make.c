/*
 * What was chosen becomes a database: the rest goes, the log is cut and
 * sealed, and it is said who may write to it.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../conf.h"
#include "../db.h"
#include "../env.h"
#include "../epoch.h"
#include "../file.h"
#include "../ident.h"
#include "../kevo.h"
#include "../role.h"
#include "../segment.h"
#include "../version.h"
#include "restore_in.h"
#include "ship.h"

static const struct kv_dir *
dir_of(const struct kv_restore *r)
{
	return kv_newdir_dir(r->dir);
}

/* ---- files -------------------------------------------------------------- */

static int
cut(struct kv_restore *r, const struct kv_restore_reach *a)
{
	const struct kv_dir *dir = dir_of(r);
	char name[KV_SEGMENT_NAME_LEN];
	uint8_t seal[KV_SEAL_LEN];
	const char *full;
	int fd, rc, e;

	kv_segment_name(name, a->segment);
	full = kv_path(dir, name);
	kv_seal_encode(seal, &a->seal);
	fd = kv_openat(dir->fd, name, O_WRONLY, 0);
	if (fd < 0)
		return kv_fail_errno(r->env, full, "open");
	rc = kv_pwrite(r->env, fd, full, seal, sizeof(seal), a->off);
	if (rc == 0 && ftruncate(fd, (off_t)(a->off + sizeof(seal))) != 0)
		rc = kv_fail_errno(r->env, full, "truncate");
	if (rc == 0 && (e = kv_datasync(fd)) != 0) {
		errno = e;
		rc = kv_fail_errno(r->env, full, "sync");
	}
	close(fd);
	return rc;
}

static int
is_needed(const struct kv_restore_reach *a, const char *sub, const char *name)
{
	uint64_t n;

	if (strcmp(sub, "wal") == 0)
		return kv_name_number(name, ".seg", &n) &&
		    n >= a->v->first_segment && n <= a->segment;
	if (strcmp(sub, "version") == 0)
		return kv_name_number(name, "", &n) && n == a->v->number;
	if (!kv_name_number(name, ".sst", &n))
		return 0;
	for (uint32_t i = 0; i < a->v->ntables; i++)
		if (a->v->table[i].info.number == n)
			return 1;
	return 0;
}

static int
remove_others(struct kv_restore *r, const struct kv_restore_reach *a,
    const char *sub)
{
	const struct kv_dir *dir = dir_of(r);
	const char *name;
	DIR *d;
	int rc = kv_list_open(r->env, dir, sub, 0, &d);

	if (rc != 0)
		return rc;
	while (rc == 0 && (name = kv_list_next(r->env, dir, sub, d,
	    &rc)) != NULL)
		if (name[0] != '.' && !is_needed(a, sub, name) &&
		    unlinkat(dirfd(d), name, 0) != 0)
			rc = kv_fail_errno(r->env, kv_path(dir, sub),
			    "remove a file in");
	closedir(d);
	return rc;
}

/* Lines of history that began behind the commit are not this database's. */
static int
remove_epochs(struct kv_restore *r, const struct kv_restore_reach *a)
{
	const struct kv_dir *dir = dir_of(r);
	char name[KV_BASE_NAME_LEN];
	struct kv_history h;
	struct kv_ident id;
	int rc;

	if ((rc = kv_ident_read(r->env, dir, &id)) != 0 ||
	    (rc = kv_history_of_db(r->env, dir, &id, &h)) != 0)
		return rc;
	for (size_t i = 1; i < h.n && rc == 0; i++) {
		struct kv_base_member m = { KV_BASE_EPOCH, h.v[i].epoch, 0 };

		if (h.v[i].start <= a->at.seq)
			continue;
		kv_base_name(name, &m);
		if (unlinkat(dir->fd, name, 0) != 0)
			rc = kv_fail_errno(r->env, kv_path(dir, name),
			    "remove");
	}
	kv_history_release(&h);
	return rc;
}

static int
check_tables(struct kv_restore *r, const struct kv_restore_reach *a)
{
	for (uint32_t i = 0; i < a->v->ntables; i++) {
		char name[KV_TABLE_NAME_LEN];

		kv_table_name(name, a->v->table[i].info.number);
		if (faccessat(dir_of(r)->fd, name, F_OK, 0) != 0)
			return kv_ship_fail(r->env, KV_SHIP_CORRUPT, "%s: in "
			    "none of the archives, and version %llu needs "
			    "it", name, (unsigned long long)a->v->number);
	}
	return 0;
}

static int
set_lock_mode(struct kv_restore *r)
{
	if (fchmodat(dir_of(r)->fd, "LOCK", kv_lock_mode(r->base.mode), 0) == 0)
		return 0;
	return kv_fail_errno(r->env, kv_path(dir_of(r), "LOCK"),
	    "set the mode of");
}

/* ---- who may write to it ----------------------------------------------- */

/* An epoch is in force from the segment on that has it. */
static int
begin_segment(struct kv_restore *r, const struct kv_restore_reach *a,
    const struct kv_epoch *e)
{
	struct kv_segment_head h;
	struct kv_conf conf;

	/* A wrong one is for the first writer to tell of. */
	if (kv_conf_read(r->env, dir_of(r), &conf) != 0)
		kv_conf_init(&conf);
	memset(&h, 0, sizeof(h));
	memcpy(h.id, e->db, 16);
	h.epoch = e->epoch;
	h.nonce = e->nonce;
	h.first_seq = a->at.seq + 1;
	h.chain_before = a->at.chain;
	h.created_ns = e->time_ns;
	h.counter = a->segment + 1;
	h.capacity = conf.value[KV_SET_MEMTABLE_BYTES];
	return kv_segment_create(r->env, dir_of(r), r->base.mode, &h);
}

/*
 * The database that was backed up may still be there and go on, and the same
 * archive may be restored twice.  Each of them writes commits under the same
 * numbers; so each restored one gets an epoch of its own.
 */
static int
begin_epoch(struct kv_restore *r, const struct kv_restore_reach *a)
{
	struct kv_history h;
	struct kv_ident id;
	struct kv_epoch e;
	int rc;

	if ((rc = kv_newdir_mkdir(r->dir, "epochs")) != 0 ||
	    (rc = kv_ident_read(r->env, dir_of(r), &id)) != 0 ||
	    (rc = kv_history_of_db(r->env, dir_of(r), &id, &h)) != 0)
		return rc;
	rc = kv_epoch_next(r->env, kv_history_newest(&h), a->at.seq,
	    a->at.chain, NULL, "restored from a backup", &e);
	kv_history_release(&h);
	if (rc != 0)
		return rc;
	rc = kv_epoch_write(r->env, dir_of(r), "epochs", r->base.mode, &e);
	if (rc == KEVO_FALSE)
		return kv_fail(r->env, KEVO_EIO, "%s: an epoch that was not "
		    "there is there", kv_newdir_path(r->dir));
	return rc != 0 ? rc : begin_segment(r, a, &e);
}

static int
make_replica(struct kv_restore *r)
{
	struct kv_role_note n = { .role = KV_ROLE_REPLICA,
		.since_ns = kv_now_ns() };

	snprintf(n.reason, sizeof(n.reason), "restored from a base");
	return kv_role_write(r->env, dir_of(r), r->base.mode, &n);
}

int
kv_restore_make(struct kv_restore *r, const struct kv_restore_reach *a)
{
	int rc;

	if ((rc = check_tables(r, a)) != 0 ||
	    (rc = remove_others(r, a, "wal")) != 0 ||
	    (rc = remove_others(r, a, "version")) != 0 ||
	    (rc = remove_others(r, a, "table")) != 0 ||
	    (rc = remove_epochs(r, a)) != 0 || (rc = cut(r, a)) != 0 ||
	    (rc = set_lock_mode(r)) != 0)
		return rc;
	return r->o.replica ? make_replica(r) : begin_epoch(r, a);
}
