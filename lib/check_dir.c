#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "check.h"
#include "conf.h"
#include "role.h"

/*
 * What files there are.  Names are what a writer gives them; others are none
 * of a database's business, but somebody may wonder what they are.
 */

int
kv_check_each(struct kv_check *ck, const char *sub, kv_check_name_fn *fn,
    void *arg)
{
	struct kv_dir *dir = &ck->db.dir;
	struct dirent *e;
	DIR *d;
	int fd, rc = 0;

	fd = kv_openat(dir->fd, sub, O_RDONLY | O_DIRECTORY, 0);
	if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
		return 0;
	if (fd < 0 || (d = fdopendir(fd)) == NULL) {
		rc = kv_fail_errno(&ck->db.env, kv_path(dir, sub), "open");
		if (fd >= 0)
			close(fd);
		return rc;
	}
	errno = 0;
	while (rc == 0 && (e = readdir(d)) != NULL) {
		if (strcmp(e->d_name, ".") != 0 &&
		    strcmp(e->d_name, "..") != 0)
			rc = fn(ck, e->d_name, arg);
		errno = 0;
	}
	if (rc == 0 && errno != 0)
		rc = kv_fail_errno(&ck->db.env, kv_path(dir, sub), "read");
	closedir(d);
	return rc;
}

struct numbered {
	struct kv_list *list;
	const char *ending;
};

static int
list_name(struct kv_check *ck, const char *name, void *arg)
{
	const struct numbered *n = arg;
	uint64_t number;

	if (!kv_name_number(name, n->ending, &number))
		return 0;
	return kv_list_add(ck, n->list, number);
}

static int
list(struct kv_check *ck, const char *sub, const char *ending,
    struct kv_list *l)
{
	struct numbered n = { l, ending };
	int rc;

	l->n = 0;
	rc = kv_check_each(ck, sub, list_name, &n);
	kv_list_sort(l);
	return rc;
}

int
kv_check_list_versions(struct kv_check *ck)
{
	int rc = list(ck, "version", "", &ck->versions);

	return rc != 0 ? rc : list(ck, "table", ".sst", &ck->tables);
}

int
kv_check_list_segments(struct kv_check *ck)
{
	return list(ck, "wal", ".seg", &ck->segments);
}

/* ---- strays ------------------------------------------------------------ */

static int
is_one_of(const char *name, const char *const *names)
{
	while (*names != NULL && strcmp(name, *names) != 0)
		names++;
	return *names != NULL;
}

static int
begins_with(const char *name, const char *with)
{
	return strncmp(name, with, strlen(with)) == 0;
}

static int
note(struct kv_check *ck, const char *sub, const char *name,
    const char *what)
{
	char file[64];

	snprintf(file, sizeof(file), "%s%s%.40s", sub, *sub != '\0' ? "/" : "",
	    name);
	return kv_found(ck, KEVO_NOTE, file, 0, 0, NULL, "%s", what);
}

static int
look_at_top(struct kv_check *ck, const char *name, void *arg)
{
	static const char *const known[] = {
		"FORMAT", "LOCK", "PINS", KV_CONF_NAME, "wal", "table",
		"version", "shm", "slots", "epochs", "orphans", "txn",
		KV_SPARE_NAME, KV_ROLE_NAME,
		/* of a backup that was unpacked */
		"KEVO-BASE", "SUMS", "END", NULL
	};
	static const char *const temporary[] = {
		"FORMAT.tmp", KV_CONF_TMP, KV_SPARE_NAME ".tmp",
		KV_ROLE_NAME ".tmp", NULL
	};

	(void)arg;
	if (is_one_of(name, known))
		return 0;
	if (is_one_of(name, temporary))
		return note(ck, "", name, "left over; the next writer "
		    "replaces it");
	if (begins_with(name, "damaged-"))
		return note(ck, "", name, "what a repair moved aside; nothing "
		    "needs it");
	return note(ck, "", name, "no file of a database");
}

static int
look_at_name(struct kv_check *ck, const char *name, void *arg)
{
	const char *sub = arg;
	uint64_t number;

	if (strcmp(sub, "wal") == 0 && kv_name_number(name, ".seg", &number))
		return 0;
	if (strcmp(sub, "table") == 0 && kv_name_number(name, ".sst", &number))
		return 0;
	if (strcmp(sub, "version") == 0 && (kv_name_number(name, "", &number) ||
	    begins_with(name, "tmp.")))
		return 0;
	return note(ck, sub, name, "no file of a database");
}

static int
count_temporary(struct kv_check *ck, const char *name, void *arg)
{
	(void)ck;
	*(uint64_t *)arg += begins_with(name, "tmp.") != 0;
	return 0;
}

static int
note_count(struct kv_check *ck, const char *sub, uint64_t n,
    const char *one, const char *many)
{
	if (n == 0)
		return 0;
	return kv_found(ck, KEVO_NOTE, sub, 0, 0, NULL, "%llu %s",
	    (unsigned long long)n, n == 1 ? one : many);
}

static int
is_named(const struct kv_version *v, uint64_t table)
{
	for (uint32_t i = 0; i < v->ntables; i++)
		if (v->table[i].info.number == table)
			return 1;
	return 0;
}

/* What is left over, or is being written just now. */
static int
note_unused(struct kv_check *ck)
{
	const struct kv_version *v = ck->version;
	uint64_t tables = 0, segments = 0, tmp = 0;
	int rc;

	for (size_t i = 0; i < ck->tables.n; i++)
		tables += !is_named(v, ck->tables.v[i]);
	for (size_t i = 0; i < ck->segments.n; i++)
		segments += ck->segments.v[i] < v->first_segment;
	if ((rc = kv_check_each(ck, "version", count_temporary, &tmp)) != 0 ||
	    (rc = note_count(ck, "table", tables, "table that no version "
	    "names: left over, or being written", "tables that no version "
	    "names: left over, or being written")) != 0 ||
	    (rc = note_count(ck, "wal", segments, "segment that is in tables: "
	    "kept, or not yet removed", "segments that are in tables: kept, "
	    "or not yet removed")) != 0)
		return rc;
	return note_count(ck, "version", tmp, "file tmp.*: left over, or "
	    "being written", "files tmp.*: left over, or being written");
}

int
kv_check_strays(struct kv_check *ck)
{
	static char wal[] = "wal", table[] = "table", version[] = "version";
	int rc;

	if ((rc = kv_check_each(ck, ".", look_at_top, NULL)) != 0 ||
	    (rc = kv_check_each(ck, wal, look_at_name, wal)) != 0 ||
	    (rc = kv_check_each(ck, table, look_at_name, table)) != 0 ||
	    (rc = kv_check_each(ck, version, look_at_name, version)) != 0)
		return rc;
	return ck->base == KV_BASE_NONE ? 0 : note_unused(ck);
}

/* ---- is it one at all? ------------------------------------------------- */

static int
count_foreign(struct kv_check *ck, const char *name, void *arg)
{
	static const char *const ours[] = {
		"FORMAT", "FORMAT.tmp", "LOCK", "PINS", KV_CONF_NAME,
		KV_CONF_TMP, "wal", "table", "version", "shm",
		KV_SPARE_NAME, "txn", NULL
	};

	(void)ck;
	*(int *)arg += !is_one_of(name, ours);
	return 0;
}

int
kv_check_is_empty(struct kv_check *ck, int *empty)
{
	int foreign = 0, rc;

	rc = kv_check_each(ck, ".", count_foreign, &foreign);
	*empty = foreign == 0;
	return rc;
}
