#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../env.h"
#include "../file.h"
#include "../kevo.h"
#include "../lock.h"
#include "newdir.h"
#include "ship.h"

#define QUEUE		8	/* files on their way to disk */
#define WRITE_OUT	((uint64_t)8 << 20)
#define DEPTH_MAX	16

struct kv_newdir {
	struct kv_env *env;
	int force;
	char *parent, *name;	/* the place */
	char *temp;		/* its name until then, below parent */
	char *path;		/* parent/temp */
	int parent_fd, lock_fd;
	struct kv_names names;
	struct kv_dir dir;
	uint32_t mode;
	int fd;			/* the file in hand */
	char file[64];
	uint64_t at, written_out;
	int queue[QUEUE];
	unsigned queued;
	int in_place;
};

static int
failed_errno(struct kv_newdir *d, const char *path, const char *verb)
{
	return kv_ship_fail_errno(d->env, path, verb);
}

/* ---- removing ---------------------------------------------------------- */

static int remove_entry(int at, const char *name, int depth);

static int
empty_dir(int at, const char *name, int depth)
{
	struct dirent *e;
	int fd, rc = 0;
	DIR *d;

	fd = kv_openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
	if (fd < 0)
		return -1;
	if ((d = fdopendir(fd)) == NULL) {
		close(fd);
		return -1;
	}
	errno = 0;
	while (rc == 0 && (e = readdir(d)) != NULL) {
		if (strcmp(e->d_name, ".") != 0 &&
		    strcmp(e->d_name, "..") != 0)
			rc = remove_entry(dirfd(d), e->d_name, depth);
		if (rc == 0)
			errno = 0;
	}
	if (rc == 0 && errno != 0)
		rc = -1;
	closedir(d);
	return rc;
}

/* Symbolic links are removed and not followed. */
static int
remove_entry(int at, const char *name, int depth)
{
	if (unlinkat(at, name, 0) == 0 || errno == ENOENT)
		return 0;
	if ((errno != EISDIR && errno != EPERM) || depth >= DEPTH_MAX)
		return -1;
	if (empty_dir(at, name, depth + 1) != 0)
		return -1;
	return unlinkat(at, name, AT_REMOVEDIR);
}

int
kv_newdir_remove_dir(struct kv_newdir *d, const char *name)
{
	if (remove_entry(d->dir.fd, name, 1) == 0)
		return 0;
	return failed_errno(d, kv_path(&d->dir, name), "remove");
}

/* ---- the place --------------------------------------------------------- */

static int
split(struct kv_newdir *d, const char *path)
{
	size_t n = strlen(path);
	const char *slash;

	while (n > 1 && path[n - 1] == '/')
		n--;
	if ((d->parent = strndup(path, n)) == NULL)
		return -1;
	slash = strrchr(d->parent, '/');
	d->name = strdup(slash != NULL ? slash + 1 : d->parent);
	if (slash == d->parent)
		d->parent[1] = '\0';
	else if (slash != NULL)
		d->parent[slash - d->parent] = '\0';
	else
		strcpy(d->parent, n > 0 ? "." : "");
	return d->name != NULL && asprintf(&d->temp, ".%s.restore",
	    d->name) >= 0 && asprintf(&d->path, "%s%s%s", d->parent,
	    strcmp(d->parent, "/") == 0 ? "" : "/", d->temp) >= 0 ? 0 : -1;
}

static int
cannot(struct kv_newdir *d, const char *why)
{
	return kv_fail(d->env, KEVO_ECREATE, "%s/%s: %s", d->parent, d->name,
	    why);
}

static int
is_empty(int fd)
{
	struct dirent *e;
	int n = 0, copy = kv_openat(fd, ".", O_RDONLY | O_DIRECTORY, 0);
	DIR *dir = copy >= 0 ? fdopendir(copy) : NULL;

	if (dir == NULL) {
		if (copy >= 0)
			close(copy);
		return 0;
	}
	while ((e = readdir(dir)) != NULL)
		n += strcmp(e->d_name, ".") != 0 &&
		    strcmp(e->d_name, "..") != 0;
	closedir(dir);
	return n == 0;
}

/* To be replaced it must be a database, and nobody may be writing to it. */
static int
check_replaced(struct kv_newdir *d, int fd)
{
	int lock, used;

	if (!d->force)
		return cannot(d, "not empty");
	if (faccessat(fd, "FORMAT", F_OK, 0) != 0)
		return cannot(d, "not empty, and no kevo database: it is not "
		    "replaced");
	lock = kv_openat(fd, "LOCK", O_RDWR, 0);
	if (lock < 0)
		return 0;
	used = kv_slot_any(lock) != 0;
	close(lock);
	return used ? kv_ship_fail(d->env, KV_SHIP_BUSY, "%s/%s: a process "
	    "has it open for writing", d->parent, d->name) : 0;
}

static int
check_place(struct kv_newdir *d)
{
	struct stat st;
	int fd, rc = 0;

	if (fstatat(d->parent_fd, d->name, &st, AT_SYMLINK_NOFOLLOW) != 0)
		return errno == ENOENT ? 0 : cannot(d, strerror(errno));
	if (!S_ISDIR(st.st_mode))
		return cannot(d, "it is there, and is no directory");
	fd = kv_openat(d->parent_fd, d->name, O_RDONLY | O_DIRECTORY, 0);
	if (fd < 0)
		return cannot(d, strerror(errno));
	if (!is_empty(fd))
		rc = check_replaced(d, fd);
	close(fd);
	return rc;
}

static int
find_place(struct kv_newdir *d, const char *path)
{
	if (split(d, path) != 0)
		return kv_fail(d->env, KEVO_ENOMEM, "out of memory");
	if (*d->name == '\0' || strcmp(d->name, ".") == 0 ||
	    strcmp(d->name, "..") == 0)
		return kv_fail(d->env, KEVO_ECREATE, "%s: no name of a new "
		    "directory", path);
	d->parent_fd = kv_openat(AT_FDCWD, d->parent, O_RDONLY | O_DIRECTORY,
	    0);
	if (d->parent_fd < 0)
		return cannot(d, strerror(errno));
	return check_place(d);
}

static struct kv_newdir *
new_dir(struct kv_env *env, int force)
{
	struct kv_newdir *d = calloc(1, sizeof(*d));

	if (d == NULL) {
		kv_fail(env, KEVO_ENOMEM, "out of memory");
		return NULL;
	}
	d->env = env;
	d->force = force;
	d->parent_fd = d->lock_fd = d->dir.fd = d->fd = -1;
	d->dir.names = &d->names;
	d->mode = 0600;
	return d;
}

static void
release(struct kv_newdir *d)
{
	if (d->lock_fd >= 0)
		close(d->lock_fd);
	if (d->parent_fd >= 0)
		close(d->parent_fd);
	free(d->parent);
	free(d->name);
	free(d->temp);
	free(d->path);
	free(d);
}

int
kv_newdir_check(struct kv_env *env, const char *path, int force)
{
	struct kv_newdir *d = new_dir(env, force);
	int rc;

	if (d == NULL)
		return KEVO_ENOMEM;
	rc = find_place(d, path);
	release(d);
	return rc;
}

/* ---- the directory ----------------------------------------------------- */

/* Is what we have locked still what the name leads to?  It may have been
 * finished and put in its place by who had it before. */
static int
is_there(const struct kv_newdir *d, struct stat *st)
{
	struct stat b;

	return fstat(d->lock_fd, st) == 0 && fstatat(d->parent_fd, d->temp,
	    &b, AT_SYMLINK_NOFOLLOW) == 0 && st->st_dev == b.st_dev &&
	    st->st_ino == b.st_ino;
}

/* In a directory that everybody may write to, somebody else could have made
 * it, and would own what we put into it. */
static int
check_owner(struct kv_newdir *d, const struct stat *st)
{
	return st->st_uid == geteuid() ? 0 : kv_fail(d->env, KEVO_ECREATE,
	    "%s: it is there, and belongs to another user", d->path);
}

static int
lock_temp(struct kv_newdir *d)
{
	struct stat st;

	for (;;) {
		if (mkdirat(d->parent_fd, d->temp, 0700) != 0 &&
		    errno != EEXIST) {
			cannot(d, strerror(errno));
			return errno == ENOSPC ? KEVO_EIO : KEVO_ECREATE;
		}
		d->lock_fd = kv_openat(d->parent_fd, d->temp, O_RDONLY |
		    O_DIRECTORY | O_NOFOLLOW, 0);
		if (d->lock_fd < 0 && errno == ENOENT)
			continue;
		if (d->lock_fd < 0)
			return failed_errno(d, d->path, "open");
		if (!kv_dir_lock(d->lock_fd))
			return kv_ship_fail(d->env, KV_SHIP_BUSY, "%s/%s: "
			    "somebody else is restoring it", d->parent,
			    d->name);
		if (is_there(d, &st))
			return check_owner(d, &st);
		close(d->lock_fd);
		d->lock_fd = -1;
	}
}

int
kv_newdir_open(struct kv_env *env, const char *path, int force,
    struct kv_newdir **out)
{
	struct kv_newdir *d = new_dir(env, force);
	int rc;

	if (d == NULL)
		return KEVO_ENOMEM;
	if ((rc = find_place(d, path)) == 0 && (rc = lock_temp(d)) == 0 &&
	    empty_dir(d->parent_fd, d->temp, 0) != 0)
		rc = failed_errno(d, d->path, "empty");
	if (rc != 0) {
		release(d);
		return rc;
	}
	d->dir.fd = d->lock_fd;
	d->dir.path = d->path;
	*out = d;
	return 0;
}

const struct kv_dir *
kv_newdir_dir(const struct kv_newdir *d)
{
	return &d->dir;
}

const char *
kv_newdir_path(const struct kv_newdir *d)
{
	return d->path;
}

void
kv_newdir_mode(struct kv_newdir *d, uint32_t mode)
{
	d->mode = mode;
}

int
kv_newdir_mkdir(struct kv_newdir *d, const char *name)
{
	return kv_mkdir(d->env, &d->dir, name, d->mode);
}

/* ---- files ------------------------------------------------------------- */

static int
sync_oldest(struct kv_newdir *d)
{
	int fd = d->queue[0], e;

	memmove(d->queue, d->queue + 1, (QUEUE - 1) * sizeof(d->queue[0]));
	d->queued--;
	e = kv_datasync(fd);
	close(fd);
	if (e == 0)
		return 0;
	errno = e;
	return failed_errno(d, d->path, "sync a file in");
}

int
kv_newdir_begin(struct kv_newdir *d, const char *name)
{
	snprintf(d->file, sizeof(d->file), "%s", name);
	d->at = d->written_out = 0;
	d->fd = kv_openat(d->dir.fd, name, O_WRONLY | O_CREAT | O_EXCL, 0600);
	if (d->fd < 0)
		return failed_errno(d, kv_path(&d->dir, name), "create");
	if (fchmod(d->fd, d->mode) != 0)
		return failed_errno(d, kv_path(&d->dir, name),
		    "set the mode of");
	return 0;
}

int
kv_newdir_data(struct kv_newdir *d, const void *p, size_t len)
{
	int rc = kv_pwrite(d->env, d->fd, kv_path(&d->dir, d->file), p, len,
	    d->at);

	if (rc != 0)
		return rc;
	d->at += len;
	if (d->at - d->written_out >= WRITE_OUT) {
		kv_write_out(d->fd, d->written_out, d->at - d->written_out);
		d->written_out = d->at;
	}
	return 0;
}

int
kv_newdir_end(struct kv_newdir *d)
{
	int rc = 0;

	if (d->queued == QUEUE)
		rc = sync_oldest(d);
	kv_write_out(d->fd, d->written_out, d->at - d->written_out);
	d->queue[d->queued++] = d->fd;
	d->fd = -1;
	return rc;
}

int
kv_newdir_file(struct kv_newdir *d, const char *name, const void *p,
    size_t len)
{
	int rc;

	if ((rc = kv_newdir_begin(d, name)) != 0 ||
	    (rc = kv_newdir_data(d, p, len)) != 0)
		return rc;
	return kv_newdir_end(d);
}

int
kv_newdir_sync(struct kv_newdir *d, const char *const *dirs)
{
	int rc = 0;

	while (rc == 0 && d->queued > 0)
		rc = sync_oldest(d);
	for (; rc == 0 && *dirs != NULL; dirs++)
		if (faccessat(d->dir.fd, *dirs, F_OK, 0) == 0)
			rc = kv_sync_dir(d->env, &d->dir, *dirs);
	if (rc == 0 && fchmod(d->dir.fd, kv_dir_mode(d->mode)) != 0)
		rc = failed_errno(d, d->path, "set the mode of");
	return rc != 0 ? rc : kv_sync_dir(d->env, &d->dir, ".");
}

/* ---- the end ----------------------------------------------------------- */

/* The old database takes our name, and is removed under it. */
static int
exchange(struct kv_newdir *d)
{
	int rc = check_place(d);	/* once more: it took a while */

	if (rc != 0)
		return rc;
	if (renameat2(d->parent_fd, d->temp, d->parent_fd, d->name,
	    RENAME_EXCHANGE) != 0)
		return cannot(d, strerror(errno));
	d->in_place = 1;
	if (fsync(d->parent_fd) != 0)
		return failed_errno(d, d->parent, "sync");
	if (remove_entry(d->parent_fd, d->temp, 0) != 0)
		return failed_errno(d, d->path, "remove what was replaced, "
		    "which is now");
	return 0;
}

int
kv_newdir_place(struct kv_newdir *d)
{
	if (renameat(d->parent_fd, d->temp, d->parent_fd, d->name) != 0) {
		if (errno == ENOTEMPTY || errno == EEXIST)
			return exchange(d);
		return cannot(d, strerror(errno));
	}
	d->in_place = 1;
	return fsync(d->parent_fd) == 0 ? 0 : failed_errno(d, d->parent,
	    "sync");
}

void
kv_newdir_free(struct kv_newdir *d)
{
	if (d == NULL)
		return;
	if (d->fd >= 0)
		close(d->fd);
	while (d->queued > 0)
		close(d->queue[--d->queued]);
	if (!d->in_place)
		remove_entry(d->parent_fd, d->temp, 0);
	release(d);
}
