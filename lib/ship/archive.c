#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../hash.h"
#include "../kevo.h"
#include "../lock.h"
#include "archive.h"
#include "ship.h"

#define IDENT_MAX	512
#define LOCK_NAME	"state/lock"

/* Made with the archive; who creates one in pieces makes those missing. */
static const char *const places[] = {
	"epochs", "wal", "base", "orphans", "state", "state/tail",
	"state/incoming", "state/reject", "state/acks"
};

/* ---- identity ---------------------------------------------------------- */

static size_t
ident_text(char buf[IDENT_MAX], const uint8_t id[16])
{
	char text[37], sum[KV_HASH128_TEXT];
	int n;

	kv_id_print(text, id);
	n = snprintf(buf, IDENT_MAX, "kevo-archive 1\ndb %s\n", text);
	kv_hash128_of(buf, (size_t)n, sum);
	n += snprintf(buf + n, IDENT_MAX - (size_t)n, "xxh128 %s\n", sum);
	return (size_t)n;
}

/* It is what we would write, or it is damaged. */
static int
parse_ident(const char *text, size_t len, uint8_t id[16])
{
	char buf[IDENT_MAX], db[37];
	size_t off = sizeof("kevo-archive 1\ndb ") - 1;

	if (len < off + 36)
		return -1;
	memcpy(db, text + off, 36);
	db[36] = '\0';
	if (kv_id_parse(db, id) != 0)
		return -1;
	return ident_text(buf, id) == len && memcmp(buf, text, len) == 0 ?
	    0 : -1;
}

static int
read_ident(struct kv_archive *a)
{
	char *text;
	size_t len;
	int rc;

	rc = kv_read_small(&a->env, &a->dir, KV_ARCHIVE_NAME, IDENT_MAX, &text,
	    &len);
	if (rc == KEVO_ENODB)
		return kv_fail(&a->env, KEVO_ENODB,
		    "%s: no such archive: it has no file %s", a->path,
		    KV_ARCHIVE_NAME);
	if (rc != 0)
		return rc;
	if (strncmp(text, "kevo-archive ", 13) != 0)
		rc = kv_fail(&a->env, KEVO_ENOTDB, "%s: not an archive of "
		    "kevo", a->path);
	else if (strncmp(text, "kevo-archive 1\n", 15) != 0)
		rc = kv_fail(&a->env, KEVO_ENOTDB, "%s: an archive of a newer "
		    "format than this program knows", a->path);
	else if (parse_ident(text, len, a->id) != 0)
		rc = kv_fail(&a->env, KEVO_ECORRUPT, "%s: damaged",
		    kv_path(&a->dir, KV_ARCHIVE_NAME));
	free(text);
	return rc;
}

/* ---- opening ----------------------------------------------------------- */

static struct kv_archive *
new_archive(const char *path)
{
	struct kv_archive *a = calloc(1, sizeof(*a));

	if (a == NULL)
		return NULL;
	a->lock_fd = -1;
	a->dir.fd = -1;
	if ((a->path = strdup(path)) == NULL) {
		free(a);
		return NULL;
	}
	a->dir.path = a->path;
	a->dir.names = &a->names;
	return a;
}

static int
open_dir(struct kv_archive *a)
{
	a->dir.fd = kv_openat(AT_FDCWD, a->path, O_PATH | O_DIRECTORY, 0);
	if (a->dir.fd >= 0)
		return 0;
	if (errno == ENOENT)
		return kv_fail(&a->env, KEVO_ENODB, "%s: no such archive",
		    a->path);
	return kv_fail_errno(&a->env, a->path, "open");
}

int
kv_archive_open(const char *path, struct kv_archive **out)
{
	struct kv_archive *a = new_archive(path);
	int rc;

	if ((*out = a) == NULL)
		return KEVO_ENOMEM;
	if ((rc = open_dir(a)) != 0 || (rc = read_ident(a)) != 0)
		return rc;
	return kv_archive_read_epochs(a);
}

int
kv_archive_is(const char *path)
{
	struct stat st;
	int fd, yes;

	fd = kv_openat(AT_FDCWD, path, O_PATH | O_DIRECTORY, 0);
	if (fd < 0)
		return 0;
	yes = fstatat(fd, KV_ARCHIVE_NAME, &st, 0) == 0 &&
	    S_ISREG(st.st_mode);
	close(fd);
	return yes;
}

void
kv_archive_close(struct kv_archive *a)
{
	if (a == NULL)
		return;
	kv_archive_unlock(a);
	kv_history_release(&a->history);
	if (a->dir.fd >= 0)
		close(a->dir.fd);
	free(a->seg);
	free(a->path);
	free(a);
}

int
kv_archive_read_epochs(struct kv_archive *a)
{
	struct kv_history h = { NULL, 0 };
	int rc;

	rc = kv_history_read(&a->env, &a->dir, "epochs", a->id, NULL, &h);
	if (rc != 0)
		return rc;
	kv_history_release(&a->history);
	a->history = h;
	return 0;
}

/* ---- making one -------------------------------------------------------- */

int
kv_archive_mkdir(struct kv_archive *a, const char *name)
{
	char parent[KV_ARCHIVE_PATH_LEN];
	const char *slash = strrchr(name, '/');

	if (mkdirat(a->dir.fd, name, 0777) != 0)
		return errno == EEXIST ? 0 : kv_ship_fail_errno(&a->env,
		    kv_path(&a->dir, name), "create");
	snprintf(parent, sizeof(parent), "%.*s", slash != NULL ?
	    (int)(slash - name) : 1, slash != NULL ? name : ".");
	return kv_sync_dir(&a->env, &a->dir, parent);
}

/* Only names that an unfinished archive has? */
static int
is_ours(const char *name)
{
	if (name[0] == '.' || strcmp(name, "lost+found") == 0)
		return 1;
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++)
		if (strcmp(name, places[i]) == 0)
			return 1;
	return 0;
}

static int
is_foreign(void *arg, const char *name)
{
	(void)arg;
	return !is_ours(name);
}

static int
make_places(struct kv_archive *a)
{
	int rc;

	if ((rc = kv_archive_each(a, ".", is_foreign, NULL)) > 0)
		return kv_fail(&a->env, KEVO_ENOTDB, "%s: neither an archive "
		    "nor empty", a->path);
	for (size_t i = 0; rc == 0 && i < sizeof(places) / sizeof(places[0]);
	    i++)
		rc = kv_archive_mkdir(a, places[i]);
	return rc;
}

/* The identity comes last: it is what makes an archive of a directory. */
static int
make_archive(struct kv_archive *a, const struct kv_epoch *first)
{
	char text[IDENT_MAX], epoch[KV_EPOCH_TEXT_MAX];
	char name[KV_EPOCH_NAME_LEN];
	size_t len;
	int rc;

	memcpy(a->id, first->db, sizeof(a->id));
	kv_epoch_name(name, first->epoch);
	len = kv_epoch_print(epoch, first);
	if ((rc = make_places(a)) != 0 ||
	    (rc = kv_archive_put(a, "epochs", name, epoch, len)) < 0 ||
	    rc > KEVO_FALSE)
		return rc;
	len = ident_text(text, a->id);
	rc = kv_archive_put(a, ".", KV_ARCHIVE_NAME, text, len);
	return rc == KEVO_FALSE ? 0 : rc;
}

static int
is_of(struct kv_archive *a, const struct kv_epoch *first)
{
	char ours[37], theirs[37];

	if (memcmp(a->id, first->db, sizeof(a->id)) == 0)
		return 0;
	kv_id_print(ours, a->id);
	kv_id_print(theirs, first->db);
	return kv_ship_fail(&a->env, KV_SHIP_WRONG_DB, "%s: it is the archive "
	    "of database %s, not of %s; nothing was sent", a->path, ours,
	    theirs);
}

int
kv_archive_create(const char *path, const struct kv_epoch *first,
    struct kv_archive **out)
{
	struct kv_archive *a;
	int rc;

	rc = kv_archive_open(path, out);
	a = *out;
	if (rc == 0)
		return is_of(a, first);
	if (rc != KEVO_ENODB)
		return rc;
	if (mkdir(path, 0777) != 0 && errno != EEXIST)
		return kv_ship_fail_errno(&a->env, path, "create");
	if (a->dir.fd < 0 && (rc = open_dir(a)) != 0)
		return rc;
	if ((rc = make_archive(a, first)) != 0)
		return rc;
	return kv_archive_read_epochs(a);
}

/* ---- the lock ---------------------------------------------------------- */

static int
busy(struct kv_archive *a, int fd)
{
	char note[160];
	ssize_t n = pread(fd, note, sizeof(note) - 1, 0);
	size_t len;

	note[n > 0 ? n : 0] = '\0';
	len = strcspn(note, "\n");
	note[len] = '\0';
	for (size_t i = 0; i < len; i++)
		if (note[i] < ' ' || note[i] > '~')
			note[i] = '?';
	close(fd);
	return kv_ship_fail(&a->env, KV_SHIP_BUSY, "%s: %s has the lock",
	    a->path, len > 0 ? note : "somebody");
}

static void
sign(int fd, const char *who)
{
	char note[160], when[KV_SHIP_TIME_LEN], host[KV_SHIP_HOST_LEN];
	int n;

	kv_ship_time(when, kv_now_ns());
	kv_ship_host(host);
	n = snprintf(note, sizeof(note), "%s, pid %ld on %s, since %s\n", who,
	    (long)getpid(), host, when);
	/* It is for people: nothing hangs on it. */
	if (ftruncate(fd, 0) != 0 || pwrite(fd, note, (size_t)n, 0) != n)
		return;
}

int
kv_archive_lock(struct kv_archive *a, const char *who)
{
	int fd;

	fd = kv_openat(a->dir.fd, LOCK_NAME, O_RDWR | O_CREAT, 0666);
	if (fd < 0)
		return kv_ship_fail_errno(&a->env, kv_path(&a->dir, LOCK_NAME),
		    "open");
	if (!kv_file_lock(fd))
		return busy(a, fd);
	sign(fd, who);
	a->lock_fd = fd;
	return 0;
}

void
kv_archive_unlock(struct kv_archive *a)
{
	if (a->lock_fd >= 0)
		close(a->lock_fd);
	a->lock_fd = -1;
}
