/*
 * testdb: what tests of an open database share: one database after the other
 * in `path`, below the test's own directory, and calls that must succeed.
 */
#ifndef TESTDB_H
#define TESTDB_H

#include <dirent.h>

#include "db.h"
#include "tap.h"

static char path[260];		/* the database at hand */

static inline void
check(struct kevo *db, int rc, const char *what)
{
	if (rc != 0)
		tap_bail("%s: %d: %s", what, rc, kevo_errmsg(db));
}

/* Let path be the name of a database that is not there yet. */
static inline void
new_path(void)
{
	static int number;

	snprintf(path, sizeof(path), "%s/db%d", tap_dir, ++number);
}

static inline struct kevo *
open_as(unsigned flags, const struct kevo_options *opt)
{
	struct kevo *db;
	int rc = kevo_open(path, flags, opt, &db);

	check(db, rc, "open");
	return db;
}

static inline struct kevo *
create_as(const struct kevo_options *opt)
{
	new_path();
	return open_as(KEVO_CREATE, opt);
}

/* A setting for everybody, until kevo.conf is read again. */
static inline void
set(struct kevo *db, enum kv_setting s, uint64_t value)
{
	atomic_store(&db->ctl->setting[s], value);
}

static inline void
remove_shm(void)
{
	char cmd[300];

	snprintf(cmd, sizeof(cmd), "rm -rf '%s/shm'", path);
	if (system(cmd) != 0)
		tap_bail("cannot remove shm");
}

/* Files of a directory of the database whose names end so. */
static inline int
count_files(const char *dir, const char *end)
{
	char name[600];
	struct dirent *e;
	int n = 0;
	DIR *d;

	snprintf(name, sizeof(name), "%s/%s", path, dir);
	if ((d = opendir(name)) == NULL)
		return 0;
	while ((e = readdir(d)) != NULL) {
		size_t len = strlen(e->d_name);

		n += e->d_name[0] != '.' && len >= strlen(end) &&
		    strcmp(e->d_name + len - strlen(end), end) == 0;
	}
	closedir(d);
	return n;
}

#endif /* TESTDB_H */
