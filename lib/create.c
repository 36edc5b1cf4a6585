#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "coding.h"
#include "db.h"
#include "lock.h"

/*
 * A database is made in place, LOCK first, FORMAT last.  So a directory with
 * our names and without FORMAT is an unfinished creation, which whoever comes
 * next finishes under REBUILD; unless it has more in it than a creation
 * leaves.
 */

/* ---- a directory without FORMAT ---------------------------------------- */

/* Names that an unfinished creation may have left. */
static int
is_our_name(const char *s)
{
	static const char *const ours[] = {
		"LOCK", "FORMAT", "FORMAT.tmp", KV_CONF_NAME, KV_CONF_TMP,
		"wal", "shm", "table", "version", "PINS", KV_SPARE_NAME, "txn"
	};

	for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++)
		if (strcmp(s, ours[i]) == 0)
			return 1;
	return 0;
}

static int
only_our_names(struct kevo *db)
{
	const char *name;
	DIR *d;
	int rc;

	if ((rc = kv_list_open(&db->env, &db->dir, ".", 0, &d)) != 0)
		return rc;
	while (rc == 0 && (name = kv_list_next(&db->env, &db->dir, ".", d,
	    &rc)) != NULL)
		if (!is_our_name(name))
			rc = kv_fail(&db->env, KEVO_ENOTDB, "%s: not a kevo "
			    "database, and not empty", db->path);
	closedir(d);
	return rc;
}

/* Is there a file with a number of at least `least` and that end in dir?  1, 0
 * or an error. */
static int
has_number(struct kevo *db, const char *dir, const char *end, uint64_t least)
{
	const char *name;
	uint64_t n;
	DIR *d;
	int rc;

	rc = kv_list_open(&db->env, &db->dir, dir, 1, &d);
	if (rc != 0 || d == NULL)
		return rc;
	while (rc == 0 && (name = kv_list_next(&db->env, &db->dir, dir, d,
	    &rc)) != NULL)
		rc = kv_name_number(name, end, &n) && n >= least;
	closedir(d);
	return rc;
}

/* Does the first segment of the log hold a record?  1, 0 or an error. */
static int
has_record(struct kevo *db)
{
	char name[KV_SEGMENT_NAME_LEN];
	uint8_t b[KV_SEGMENT_HEAD + 8];
	ssize_t n;
	int fd;

	kv_segment_name(name, 1);
	fd = kv_openat(db->dir.fd, name, O_RDONLY, 0);
	if (fd < 0)
		return errno == ENOENT ? 0 : kv_fail_errno(&db->env,
		    kv_path(&db->dir, name), "open");
	do
		n = pread(fd, b, sizeof(b), 0);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		kv_fail_errno(&db->env, kv_path(&db->dir, name), "read");
	close(fd);
	if (n < 0)
		return KEVO_EIO;
	return n == (ssize_t)sizeof(b) && get_le64(b + KV_SEGMENT_HEAD) != 0;
}

/*
 * An unfinished creation has at most a first segment without a record.  If
 * there is more, somebody lost FORMAT, and the data is not ours to replace.
 */
static int
check_unfinished(struct kevo *db)
{
	const char *what = "a log";
	int rc;

	if ((rc = has_record(db)) == 0)
		rc = has_number(db, "wal", ".seg", 2);
	if (rc == 0 && (rc = has_number(db, "version", "", 1)) == 1)
		what = "a version";
	if (rc == 0 && (rc = has_number(db, "table", ".sst", 1)) == 1)
		what = "a table";
	if (rc != 1)
		return rc;
	return kv_fail(&db->env, KEVO_ECORRUPT, "%s: missing, but there is "
	    "%s; kevo-check --repair may write it anew", kv_path(&db->dir,
	    "FORMAT"), what);
}

int
kv_why_none(struct kevo *db)
{
	int rc = only_our_names(db);

	if (rc != 0)
		return kv_fail(&db->env, KEVO_ENOTDB, "%s: not a kevo "
		    "database", db->path);
	if ((rc = check_unfinished(db)) != 0)
		return rc;
	return kv_fail(&db->env, KEVO_ENODB, "%s: no database in it",
	    db->path);
}

/* ---- making it --------------------------------------------------------- */

int
kv_fs_check(struct kevo *db, int status)
{
	uint64_t type;

	if (kv_fs_supported(db->lock_fd >= 0 ? db->lock_fd : db->dir.fd,
	    &type))
		return 0;
	return kv_fail(&db->env, status, "%s: on a file system (type %#llx) "
	    "without shared locks and memory that kevo can rely on, such as a "
	    "network one", db->path, (unsigned long long)type);
}

int
kv_sync_names(struct kevo *db)
{
	int rc;

	if ((rc = kv_sync_dir(&db->env, &db->dir, "wal")) != 0 ||
	    (rc = kv_sync_dir(&db->env, &db->dir, "table")) != 0 ||
	    (rc = kv_sync_dir(&db->env, &db->dir, "version")) != 0 ||
	    (rc = kv_sync_dir(&db->env, &db->dir, ".")) != 0)
		return rc;
	rc = kv_sync_dir(&db->env, &db->dir, "..");
	/* Who may not look into the parent did not create anything there. */
	return rc == KEVO_EPERM ? 0 : rc;
}

static int
create_first_segment(struct kevo *db, const struct kv_ident *ident,
    const struct kv_conf *conf)
{
	struct kv_segment_head h;
	int rc = kv_mkdir(&db->env, &db->dir, "wal", ident->mode);

	if (rc != 0)
		return rc;
	memset(&h, 0, sizeof(h));
	memcpy(h.id, ident->id, 16);
	h.epoch = ident->epoch;
	h.nonce = ident->nonce;
	h.first_seq = 1;
	h.chain_before = kv_chain_origin(ident);
	h.created_ns = kv_now_ns();
	h.counter = 1;
	h.capacity = conf->value[KV_SET_MEMTABLE_BYTES];
	return kv_segment_create(&db->env, &db->dir, ident->mode, &h);
}

int
kv_make_places(struct kevo *db, const struct kv_ident *ident)
{
	mode_t mode = ident->mode;
	int fd, rc;

	if ((rc = kv_mkdir(&db->env, &db->dir, "table", mode)) != 0 ||
	    (rc = kv_mkdir(&db->env, &db->dir, "version", mode)) != 0)
		return rc;
	fd = kv_openat(db->dir.fd, "PINS", O_RDWR | O_CREAT | O_EXCL, 0666);
	if (fd < 0)
		return errno == EEXIST ? 0 : kv_fail_errno(&db->env,
		    kv_path(&db->dir, "PINS"), "create");
	if (fchmod(fd, mode) != 0)
		rc = kv_fail_errno(&db->env, kv_path(&db->dir, "PINS"),
		    "set the mode of");
	close(fd);
	return rc;
}

/* A kevo.conf that is there already was put there for this database. */
static int
create_conf(struct kevo *db, const struct kv_ident *ident,
    const char *const *settings, struct kv_conf *conf)
{
	if (settings == NULL || *settings == NULL)
		return kv_conf_read(&db->env, &db->dir, conf);
	return kv_conf_change(&db->env, &db->dir, ident->mode, settings,
	    conf);
}

static int
fill_directory(struct kevo *db, const char *const *settings)
{
	struct kv_ident ident;
	struct kv_conf conf;
	int rc;

	if (faccessat(db->dir.fd, "FORMAT", F_OK, 0) == 0)
		return 0;
	if ((rc = check_unfinished(db)) != 0 ||
	    (rc = kv_ident_new(&db->env, &db->dir, &ident)) != 0 ||
	    (rc = create_conf(db, &ident, settings, &conf)) != 0 ||
	    (rc = kv_make_places(db, &ident)) != 0 ||
	    (rc = create_first_segment(db, &ident, &conf)) != 0)
		return rc;
	if (fchmod(db->lock_fd, kv_lock_mode(ident.mode)) != 0)
		return kv_fail_errno(&db->env, kv_path(&db->dir, "LOCK"),
		    "set the mode of");
	if ((rc = kv_ident_write(&db->env, &db->dir, &ident)) != 0)
		return rc;
	return kv_sync_names(db);
}

int
kv_create(struct kevo *db, const char *const *settings)
{
	int64_t deadline = kv_deadline(db);
	int fd, rc;

	/* What is refused gets no file. */
	if ((rc = only_our_names(db)) != 0 ||
	    (rc = kv_fs_check(db, KEVO_ECREATE)) != 0)
		return rc;
	fd = kv_openat(db->dir.fd, "LOCK", O_RDWR | O_CREAT, 0666);
	if (fd < 0)
		return kv_fail_errno(&db->env, kv_path(&db->dir, "LOCK"),
		    "create");
	rc = kv_lock_rebuild(fd, deadline);
	if (rc == KV_LOCK_TIMEOUT)
		rc = kv_fail(&db->env, KEVO_EBUSY, "%s: busy: another process "
		    "is creating it", db->path);
	else if (rc != 0) {
		errno = rc;
		rc = kv_fail_errno(&db->env, kv_path(&db->dir, "LOCK"),
		    "lock");
	} else {
		db->lock_fd = fd;
		rc = fill_directory(db, settings);
		db->lock_fd = -1;
	}
	close(fd);		/* and with it the lock */
	return rc;
}
