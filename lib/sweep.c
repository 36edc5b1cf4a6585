#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "compact.h"
#include "count.h"
#include "lock.h"
#include "slots.h"
#include "txnfile.h"

/*
 * Removing what nobody needs.  A version is needed if it is the newest, or if
 * somebody holds its pin.  What no such version names goes, but for what
 * somebody has locked: a table being written.
 *
 * A reader pins the version that control names, and looks once more whether
 * control still names it.  We announce the newest version first and look for
 * pins then.  So either the reader's second look sees our announcement, or
 * we see its pin.  Nothing that was pinned later can be older than what we
 * call the newest.
 *
 * A table is locked first; if no version was installed since we looked, none
 * can come to name it: its writer is gone, and only a version's own tables
 * are merged and moved.
 *
 * All this is done under REBUILD, which is not waited for.  So no generation
 * is being built out of what is removed, the control that we announce in is
 * the one that readers look at, and one process sweeps at a time.
 *
 * The name of the newest version may not be on disk yet, if its installer
 * was killed; before that nothing it has replaced may go.
 *
 * Where a table of the newest version is missing, the database is damaged:
 * perhaps a newer version is lost, and what no version names is the data.
 * Then nothing is removed, and a repair can use it.
 */

/* Versions are installed so fast that we never see the same twice. */
#define TRIES	4

struct sweep {
	struct kv_work *w;
	struct kv_version **v;	/* needed ones, the newest first */
	size_t n, room;
	uint64_t *table;	/* what they name */
	size_t ntable;
	uint64_t *newest;	/* what the newest names, for is_whole() */
	uint32_t nnewest, nfound;
	uint64_t first_segment;	/* the oldest that one of them needs */
	int synced;		/* the newest's name is on disk */
	int again;		/* a newer version has come */
};

/* ---- which versions are needed ----------------------------------------- */

static int
add_version(struct sweep *s, struct kv_version *v)
{
	size_t room = s->room != 0 ? 2 * s->room : 8;
	void *p;

	if (s->n == s->room) {
		p = realloc(s->v, room * sizeof(s->v[0]));
		if (p == NULL) {
			kv_version_unref(v);
			return kv_fail(&s->w->db->env, KEVO_ENOMEM,
			    "out of memory");
		}
		s->v = p;
		s->room = room;
	}
	s->v[s->n++] = v;
	if (v->first_segment < s->first_segment)
		s->first_segment = v->first_segment;
	return 0;
}

/*
 * A pin on a version that has no file is of a reader that is about to see
 * that it came too late.
 */
static int
add_pinned(struct sweep *s, uint64_t number)
{
	struct kevo *db = s->w->db;
	struct kv_version *v;
	int rc;

	rc = kv_version_read(&db->env, &db->dir, db->ctl->id, number, 0, &v);
	if (rc == KEVO_NOTFOUND)
		return 0;
	return rc != 0 ? rc : add_version(s, v);
}

static int
find_pinned(struct sweep *s, uint64_t newest)
{
	struct kevo *db = s->w->db;
	uint64_t n = 0;
	int fd, rc = 0;

	fd = kv_openat(db->dir.fd, "PINS", O_RDWR, 0);
	if (fd < 0 && errno == ENOENT)
		return 0;	/* then nobody can have one */
	if (fd < 0)
		return kv_fail_errno(&db->env, kv_path(&db->dir, "PINS"),
		    "open");
	while (rc == 0 && (n = kv_pin_next(fd, n, newest)) < newest)
		rc = add_pinned(s, n++);
	if (rc == 0 && n == UINT64_MAX)
		rc = kv_fail_errno(&db->env, kv_path(&db->dir, "PINS"),
		    "ask for the locks of");
	close(fd);
	return rc;
}

static int
by_number(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* The numbers of all tables that are needed, in order. */
static int
list_tables(struct sweep *s)
{
	size_t n = 0;

	for (size_t i = 0; i < s->n; i++)
		n += s->v[i]->ntables;
	s->table = malloc((n + 1) * sizeof(s->table[0]));
	if (s->table == NULL)
		return kv_fail(&s->w->db->env, KEVO_ENOMEM, "out of memory");
	for (size_t i = 0; i < s->n; i++)
		for (uint32_t k = 0; k < s->v[i]->ntables; k++)
			s->table[s->ntable++] = s->v[i]->table[k].info.number;
	qsort(s->table, s->ntable, sizeof(s->table[0]), by_number);
	s->nnewest = s->v[0]->ntables;
	s->newest = malloc((s->nnewest + 1) * sizeof(s->newest[0]));
	if (s->newest == NULL)
		return kv_fail(&s->w->db->env, KEVO_ENOMEM, "out of memory");
	for (uint32_t k = 0; k < s->nnewest; k++)
		s->newest[k] = s->v[0]->table[k].info.number;
	qsort(s->newest, s->nnewest, sizeof(s->newest[0]), by_number);
	return 0;
}

static int
find_needed(struct sweep *s)
{
	struct kv_version *v;
	int rc;

	s->first_segment = UINT64_MAX;
	if ((rc = kv_newest_version(s->w->db, &v)) != 0 ||
	    (rc = add_version(s, v)) != 0 ||
	    (rc = find_pinned(s, v->number)) != 0)
		return rc;
	return list_tables(s);
}

static void
forget_needed(struct sweep *s)
{
	while (s->n > 0)
		kv_version_unref(s->v[--s->n]);
	free(s->v);
	free(s->table);
	free(s->newest);
	s->v = NULL;
	s->table = s->newest = NULL;
	s->room = s->ntable = 0;
}

static int
is_needed_table(const struct sweep *s, uint64_t number)
{
	return bsearch(&number, s->table, s->ntable, sizeof(s->table[0]),
	    by_number) != NULL;
}

/* The one before the newest stays, for a repair. */
static int
is_needed_version(const struct sweep *s, uint64_t number)
{
	if (number + 1 >= s->v[0]->number)
		return 1;
	for (size_t i = 1; i < s->n; i++)
		if (s->v[i]->number == number)
			return 1;
	return 0;
}

/* ---- removing ---------------------------------------------------------- */

static int
make_durable(struct sweep *s)
{
	struct kevo *db = s->w->db;
	int rc = 0;

	if (!s->synced && s->v[0]->number > s->w->durable)
		rc = kv_sync_dir(&db->env, &db->dir, "version");
	s->synced = rc == 0;
	return rc;
}

static int
remove_file(struct sweep *s, const char *name)
{
	struct kevo *db = s->w->db;
	struct stat st;
	int rc;

	if ((rc = make_durable(s)) != 0)
		return rc;
	if (fstatat(db->dir.fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0 ||
	    unlinkat(db->dir.fd, name, 0) != 0)
		return errno == ENOENT ? 0 : kv_fail_errno(&db->env,
		    kv_path(&db->dir, name), "remove");
	s->w->p.files_removed++;
	s->w->p.bytes_removed += (uint64_t)st.st_blocks * 512;
	kv_count(db->ctl, KV_STAT_REMOVED_FILES, 1);
	kv_count(db->ctl, KV_STAT_REMOVED_BYTES, (uint64_t)st.st_blocks * 512);
	return 0;
}

/* Remove a file unless somebody has it locked. */
static int
remove_unlocked(struct sweep *s, const char *name)
{
	struct kevo *db = s->w->db;
	uint64_t newest;
	uint32_t links = 0;
	int fd, rc = 0;

	fd = kv_openat(db->dir.fd, name, O_RDWR, 0);
	if (fd < 0)
		return errno == ENOENT ? 0 : kv_fail_errno(&db->env,
		    kv_path(&db->dir, name), "open");
	if (kv_file_lock(fd) && (rc = kv_file_stat(&db->env, fd, name, NULL,
	    NULL, &links)) == 0 && links > 0) {
		/* The name is still that of what we have locked. */
		rc = kv_version_newest(&db->env, &db->dir, &newest);
		if (rc == 0 && newest != s->v[0]->number)
			s->again = 1;
		else if (rc == 0)
			rc = remove_file(s, name);
	}
	close(fd);
	return rc;
}

/* ---- one directory after the other ------------------------------------- */

static int
look_at_table(struct sweep *s, const char *name)
{
	char path[KV_TABLE_NAME_LEN];
	uint64_t number;

	if (!kv_name_number(name, ".sst", &number) ||
	    is_needed_table(s, number))
		return 0;
	kv_table_name(path, number);
	return remove_unlocked(s, path);
}

static int
look_at_version(struct sweep *s, const char *name)
{
	char path[300];
	uint64_t number;

	snprintf(path, sizeof(path), "version/%.255s", name);
	if (strncmp(name, "tmp.", 4) == 0)
		return remove_unlocked(s, path);
	if (!kv_name_number(name, "", &number) || is_needed_version(s, number))
		return 0;
	return remove_file(s, path);
}

static int
look_at_index(struct sweep *s, const char *name)
{
	char path[KV_INDEX_NAME_LEN];
	uint64_t generation, counter;

	if (strlen(name) != 37 || name[16] != '.' ||
	    !kv_name_number(name + 17, ".idx", &counter) ||
	    counter >= s->first_segment)
		return 0;
	generation = s->w->db->ctl->generation;
	kv_index_name(path, generation, counter);
	return strcmp(path + sizeof("shm/") - 1, name) == 0 ?
	    remove_file(s, path) : 0;
}

static int
each_name(struct sweep *s, const char *dir,
    int (*look)(struct sweep *, const char *))
{
	struct kevo *db = s->w->db;
	const char *name;
	DIR *d;
	int rc;

	rc = kv_list_open(&db->env, &db->dir, dir, 1, &d);
	if (rc != 0 || d == NULL)
		return rc;
	while (rc == 0 && !s->again && (name = kv_list_next(&db->env,
	    &db->dir, dir, d, &rc)) != NULL)
		rc = look(s, name);
	closedir(d);
	return rc;
}

/*
 * The newest of the old segments stay, as many as wal_keep has room for; the
 * oldest go first, so that what is left has no gap, whenever we are killed.
 */
static int
remove_segments(struct sweep *s)
{
	struct kevo *db = s->w->db;
	uint64_t keep = kv_setting(db->ctl, KV_SET_WAL_KEEP);
	uint64_t low = s->first_segment, end = s->first_segment;
	char name[KV_SEGMENT_NAME_LEN];
	struct stat st;
	int rc = 0;

	while (low > 1) {
		kv_segment_name(name, low - 1);
		if (fstatat(db->dir.fd, name, &st, 0) != 0)
			break;
		low--;
		if (end == low + 1 && (uint64_t)st.st_size <= keep) {
			keep -= (uint64_t)st.st_size;
			end--;
		}
	}
	/* What a slot needs of them has its other name on disk first. */
	for (uint64_t c = low; c < end; c++)
		kv_slots_keep(&db->dir, c);
	if (low < end)
		rc = kv_slots_sync(&db->env, &db->dir);
	for (; rc == 0 && low < end; low++) {
		kv_segment_name(name, low);
		rc = remove_file(s, name);
	}
	return rc;
}

/* ---- all together ------------------------------------------------------ */

static int
count_newest(struct sweep *s, const char *name)
{
	uint64_t number;

	s->nfound += kv_name_number(name, ".sst", &number) &&
	    bsearch(&number, s->newest, s->nnewest, sizeof(s->newest[0]),
	    by_number) != NULL;
	return 0;
}

/* Has each table of the newest version a file?  1, 0 or an error. */
static int
is_whole(struct sweep *s)
{
	int rc;

	s->nfound = 0;
	rc = each_name(s, "table", count_newest);
	return rc != 0 ? rc : s->nfound >= s->nnewest;
}

static int
sweep_once(struct sweep *s)
{
	int rc;

	s->again = 0;
	if ((rc = find_needed(s)) != 0 || (rc = is_whole(s)) != 1)
		return rc;
	if ((rc = each_name(s, "table", look_at_table)) != 0 || s->again ||
	    (rc = remove_segments(s)) != 0 ||
	    (rc = each_name(s, "shm", look_at_index)) != 0)
		return rc;
	return each_name(s, "version", look_at_version);
}

/* Under REBUILD: is the control that we have open the one in place? */
static int
is_current(struct kevo *db)
{
	return !atomic_load_explicit(&db->ctl->retired,
	    memory_order_acquire) && kv_control_linked(&db->env, db->ctl_fd);
}

int
kv_sweep(struct kv_work *w)
{
	struct sweep s = { .w = w };
	int tries = 0, rc;

	if ((rc = kv_work_check(w)) != 0)
		return rc;
	if ((rc = kv_lock_rebuild(w->db->lock_fd, 0)) != 0)
		return 0;	/* who has it looks after itself */
	do {
		forget_needed(&s);
		rc = is_current(w->db) ? sweep_once(&s) : 0;
	} while (rc == 0 && s.again && ++tries < TRIES);
	if (rc == 0 && s.n > 0)
		kv_spare_keep(w->db, s.v[0]);
	forget_needed(&s);
	kv_slots_limit(w->db);
	kv_slots_forget(w->db);
	kv_unlock_rebuild(w->db->lock_fd);
	kv_txn_sweep(&w->db->dir);
	return rc;
}
