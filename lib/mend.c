#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "alone.h"
#include "hash.h"
#include "lock.h"
#include "mend.h"
#include "table.h"

/* ---- alone ------------------------------------------------------------- */

static int
open_lock(struct kv_check *ck)
{
	struct kevo *db = &ck->db;
	const char *full = kv_path(&db->dir, "LOCK");

	db->lock_fd = kv_openat(db->dir.fd, "LOCK", O_RDWR, 0);
	if (db->lock_fd >= 0 || errno != ENOENT)
		return db->lock_fd >= 0 ? 0 : kv_fail_errno(&db->env, full,
		    "open");
	/* Who had it open before it was removed cannot be seen through a new
	 * one, but is seen to have control open. */
	if (ck->db.ctl_fd >= 0 && kv_file_in_use(ck->db.ctl_fd))
		return kv_fail(&db->env, KEVO_EBUSY, "%s: missing, and a "
		    "process still has the database open; it must close it "
		    "first", full);
	db->lock_fd = kv_openat(db->dir.fd, "LOCK", O_RDWR | O_CREAT, 0666);
	if (db->lock_fd < 0)
		return kv_fail_errno(&db->env, full, "create");
	return 0;
}

static int
go_on(void *arg)
{
	return kv_check_step(arg, 0);
}

static int
take_over(struct kv_check *ck)
{
	int rc = open_lock(ck);

	return rc != 0 ? rc : kv_alone(&ck->db, "repaired", UINT64_MAX, go_on,
	    ck);
}

/* ---- the new version --------------------------------------------------- */

/* Behind all others, but for those that cannot be. */
static uint64_t
next_segment(const struct kv_check *ck)
{
	uint64_t first = ck->version->first_segment, last = first;

	for (size_t i = 0; i < ck->segments.n; i++)
		if (ck->segments.v[i] > last &&
		    ck->segments.v[i] - first < (uint64_t)1 << 32)
			last = ck->segments.v[i];
	return last + 1;
}

/*
 * The segment that the log goes on in.  Its chain goes on too, if no commit
 * is missing at its end; else it begins with a value that nothing before
 * leads to.
 */
static int
create_segment(struct kv_mend *m)
{
	struct kv_check *ck = m->ck;
	const struct kv_epoch *e = kv_history_newest(&ck->history);
	const struct kv_ident *id = &ck->ident;
	char name[KV_SEGMENT_NAME_LEN];
	struct kv_segment_head h;
	int rc;

	if (ck->last_seq >= (uint64_t)1 << 63)
		return kv_fail(&ck->db.env, KEVO_ECORRUPT, "%s: it has commit "
		    "%llu, which cannot be", ck->db.path,
		    (unsigned long long)ck->last_seq);
	memset(&h, 0, sizeof(h));
	memcpy(h.id, id->id, 16);
	h.epoch = e != NULL ? e->epoch : id->epoch;
	h.nonce = e != NULL ? e->nonce : id->nonce;
	h.first_seq = ck->last_seq + 1;
	h.chain_before = m->end.chain;
	if (!m->end.chained || m->end.seq != ck->last_seq)
		h.chain_before = kv_hash(&h.first_seq, sizeof(h.first_seq),
		    m->end.chain);
	h.created_ns = kv_now_ns();
	h.counter = next_segment(ck);
	h.capacity = m->conf.value[KV_SET_MEMTABLE_BYTES];
	rc = kv_segment_create(&ck->db.env, &ck->db.dir, id->mode, &h);
	if (rc != 0)
		return rc;
	m->segment = h.counter;
	m->end.chain = h.chain_before;
	kv_segment_name(name, h.counter);
	kv_mend_give(m, name);
	return 0;
}

static void
describe(const struct kv_mend *m, struct kv_version_edit *e)
{
	const struct kv_check *ck = m->ck;
	const struct kv_version *v = ck->version;

	e->add = m->table;
	e->nadd = m->ntable;
	e->next_file = m->next_file;
	e->first_segment = v->first_segment;
	e->first_seq = v->first_seq;
	e->chain_before = v->chain_before;
	e->time_ns = v->time_ns;
	if (m->new_log) {
		e->first_segment = m->segment;
		e->first_seq = ck->last_seq + 1;
		e->chain_before = m->end.chain;
		if (m->end.time_ns > e->time_ns)
			e->time_ns = m->end.time_ns;
	}
	e->last_seq = e->first_seq - 1;
	e->dropped_to = v->dropped_to;
	if (m->tables_lost || m->new_log)
		e->dropped_to = e->last_seq;
}

static int
install(struct kv_mend *m)
{
	struct kv_check *ck = m->ck;
	struct kv_version base = { .number = ck->newest };
	struct kv_version_edit e = { .base = &base };
	char name[KV_VERSION_NAME_LEN];
	int rc;

	describe(m, &e);
	for (size_t i = 0; i < m->ntable; i++)
		if (m->table[i].info.max_seq > e.last_seq)
			return kv_fail(&ck->db.env, KEVO_ECORRUPT, "%s: table "
			    "%llx has commits that are behind the log",
			    ck->db.path, (unsigned long long)
			    m->table[i].info.number);
	rc = kv_version_install(&ck->db.env, &ck->db.dir, ck->ident.id,
	    ck->ident.mode, &e, &m->version);
	if (rc == KEVO_FALSE)
		rc = kv_fail(&ck->db.env, KEVO_EBUSY, "%s: busy: somebody has "
		    "changed it", ck->db.path);
	if (rc != 0)
		return rc;
	kv_version_name(name, m->version->number);
	kv_mend_give(m, name);
	return 0;
}

static int
needs_version(const struct kv_mend *m)
{
	return m->ck->base != KV_BASE_NEWEST || m->tables_lost || m->new_log;
}

/* ---- what is moved aside ----------------------------------------------- */

static int
replace_versions(struct kv_mend *m)
{
	const struct kv_list *l = &m->ck->bad_versions;
	char name[KV_VERSION_NAME_LEN];
	int rc;

	for (size_t i = 0; i < l->n; i++) {
		kv_version_name(name, l->v[i]);
		if ((rc = kv_mend_replace(m, name)) != 0)
			return rc;
	}
	return 0;
}

/* Older segments could be of use to a person, where records are lost. */
static int
replace_old_segments(struct kv_mend *m)
{
	const struct kv_list *l = &m->ck->segments;
	char name[KV_SEGMENT_NAME_LEN];
	int rc;

	for (size_t i = 0; i < l->n && m->tables_lost; i++) {
		if (l->v[i] >= m->ck->version->first_segment)
			break;
		kv_segment_name(name, l->v[i]);
		if ((rc = kv_mend_replace(m, name)) != 0)
			return rc;
	}
	return 0;
}

static int
mend_format(struct kv_mend *m)
{
	struct kv_check *ck = m->ck;
	int rc;

	if (ck->format == KV_FILE_SOUND)
		return 0;
	rc = kv_ident_write(&ck->db.env, &ck->db.dir, &ck->ident);
	kv_mend_give(m, "FORMAT");
	return rc;
}

static int
mend_lock(struct kv_mend *m)
{
	struct kv_check *ck = m->ck;

	if (!ck->lock_missing)
		return 0;
	if (fchmod(ck->db.lock_fd, kv_lock_mode(ck->ident.mode)) != 0)
		return kv_fail_errno(&ck->db.env, kv_path(&ck->db.dir,
		    "LOCK"), "set the mode of");
	kv_mend_give(m, "LOCK");
	return 0;
}

/* ---- shared memory ----------------------------------------------------- */

/*
 * It is made anew from the log.  A control that was retired stays until then,
 * because it has the counters; one that nobody can use goes, and before the
 * indexes.
 */
static int
clear_shm(struct kv_check *ck)
{
	int fd = ck->db.dir.fd, shm;
	struct dirent *e;
	char name[300];
	DIR *d;

	if (ck->db.ctl != NULL)
		return 0;
	if (unlinkat(fd, "shm/control", 0) != 0 && errno != ENOENT &&
	    errno != ENOTDIR)
		return kv_fail_errno(&ck->db.env, kv_path(&ck->db.dir,
		    "shm/control"), "remove");
	shm = kv_openat(fd, "shm", O_RDONLY | O_DIRECTORY, 0);
	if (shm < 0 || (d = fdopendir(shm)) == NULL) {
		if (shm >= 0)
			close(shm);
		return 0;
	}
	while ((e = readdir(d)) != NULL) {
		size_t n = strlen(e->d_name);

		snprintf(name, sizeof(name), "shm/%.255s", e->d_name);
		if (n == 37 && strcmp(e->d_name + n - 4, ".idx") == 0)
			unlinkat(fd, name, 0);
	}
	closedir(d);
	return 0;
}

/* ---- all together ------------------------------------------------------ */

/* Above the number of every table that there is, or was. */
static uint64_t
next_file(const struct kv_check *ck)
{
	uint64_t next = ck->version->next_file, n;

	if (ck->tables.n > 0 && (n = ck->tables.v[ck->tables.n - 1]) >= next)
		next = n + 1;
	if (ck->db.ctl != NULL && (n = atomic_load_explicit(
	    &ck->db.ctl->next_file, memory_order_relaxed)) > next &&
	    n - next < (uint64_t)1 << 32)
		next = n;
	return next;
}

static int
prepare(struct kv_mend *m)
{
	struct kv_check *ck = m->ck;
	struct kevo *db = &ck->db;
	int rc;

	if (ck->format != KV_FILE_SOUND && ck->unsure != NULL)
		return kv_fail(&db->env, KEVO_ECORRUPT, "%s: it cannot be "
		    "written anew: %s", kv_path(&db->dir, "FORMAT"),
		    ck->unsure);
	/* A setting that is wrong does not stand in the way. */
	if (kv_conf_read(&db->env, &db->dir, &m->conf) != 0)
		kv_conf_init(&m->conf);
	m->next_file = next_file(ck);
	if ((rc = kv_mkdir(&db->env, &db->dir, "wal",
	    ck->ident.mode)) != 0 ||
	    (rc = kv_make_places(db, &ck->ident)) != 0)
		return rc;
	kv_mend_give(m, "wal");
	kv_mend_give(m, "table");
	kv_mend_give(m, "version");
	kv_mend_give(m, "PINS");
	return 0;
}

/*
 * No number is given twice: what is known to have been on disk counts, even
 * if nothing of it is left.
 */
static void
count_lost(struct kv_check *ck)
{
	if (ck->durable > ck->last_seq)
		ck->last_seq = ck->durable;
}

static int
write_tables(struct kv_mend *m)
{
	int rc;

	/* Without a version the log is merged with all the rest. */
	if (m->ck->base == KV_BASE_NONE)
		return (rc = kv_mend_log(m)) != 0 ? rc : kv_mend_tables(m);
	return (rc = kv_mend_tables(m)) != 0 ? rc : kv_mend_log(m);
}

/* Nothing that counts has changed when this returns. */
static int
write_anew(struct kv_mend *m)
{
	struct kevo *db = &m->ck->db;
	int rc;

	if ((rc = write_tables(m)) != 0)
		return rc;
	count_lost(m->ck);
	if ((m->new_log && (rc = create_segment(m)) != 0) ||
	    (m->nwriter > 0 && (rc = kv_sync_dir(&db->env, &db->dir,
	    "table")) != 0))
		return rc;
	if ((rc = replace_versions(m)) != 0 ||
	    (rc = replace_old_segments(m)) != 0 ||
	    (m->ck->format == KV_FILE_DAMAGED &&
	    (rc = kv_mend_replace(m, "FORMAT")) != 0))
		return rc;
	return kv_mend_link(m);
}

static int
put_in_force(struct kv_mend *m)
{
	int rc;

	if ((needs_version(m) && (rc = install(m)) != 0) ||
	    (rc = mend_lock(m)) != 0 || (rc = kv_mend_unlink(m)) != 0 ||
	    (rc = mend_format(m)) != 0)
		return rc;
	return clear_shm(m->ck);
}

static void
take_back(struct kv_mend *m)
{
	char name[KV_SEGMENT_NAME_LEN];

	for (size_t i = 0; i < m->nwriter; i++)
		if (m->writer[i] != NULL) {
			kv_table_writer_free(m->writer[i], 1);
			m->writer[i] = NULL;
		}
	if (m->segment != 0) {
		kv_segment_name(name, m->segment);
		unlinkat(m->ck->db.dir.fd, name, 0);
	}
	kv_mend_link_undo(m);
}

static void
release(struct kv_mend *m)
{
	for (size_t i = 0; i < m->nwriter; i++)
		if (m->writer[i] != NULL)
			kv_table_writer_free(m->writer[i], 0);
	kv_version_unref(m->version);
	free(m->writer);
	free(m->table);
	free(m->aside);
}

/* Trust is good. */
static int
look_again(struct kv_check *ck)
{
	int rc;

	ck->fast = 1;
	if ((rc = kv_check_all(ck)) != 0)
		return rc;
	if (ck->format == KV_FILE_SOUND && ck->base == KV_BASE_NEWEST &&
	    ck->bad_versions.n == 0 && ck->bad_tables.n == 0 &&
	    !ck->log_damaged && !ck->lock_missing)
		return 0;
	return kv_fail(&ck->db.env, KEVO_ECORRUPT, "%s: it is still damaged "
	    "after the repair; please report this", ck->db.path);
}

static int
mend_alone(struct kv_check *ck)
{
	struct kv_mend m = { .ck = ck };
	int rc;

	ck->silent = 1;
	if ((rc = kv_check_all(ck)) != 0)
		return rc;
	if ((rc = prepare(&m)) == 0) {
		if ((rc = write_anew(&m)) != 0)
			take_back(&m);
		else
			rc = put_in_force(&m);
	}
	release(&m);
	if (rc == 0 && (rc = look_again(ck)) == 0)
		ck->out->repaired = 1;
	return rc;
}

int
kv_mend(struct kv_check *ck)
{
	int rc = take_over(ck);

	if (rc == 0)
		rc = mend_alone(ck);
	if (ck->db.lock_fd >= 0)
		close(ck->db.lock_fd);	/* and with it REBUILD */
	ck->db.lock_fd = -1;
	return rc;
}
