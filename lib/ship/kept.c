#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../kevo.h"
#include "kept.h"
#include "ship.h"

void
kv_kept_release(struct kv_kept *k)
{
	if (k->any)
		kv_image_release(&k->img);
	k->any = 0;
}

void
kv_kept_set(struct kv_kept *k, struct kv_image *img, const char *file,
    int tail)
{
	kv_kept_release(k);
	k->any = 1;
	k->tail = tail;
	k->img = *img;
	snprintf(k->file, sizeof(k->file), "%s", file);
	memset(img, 0, sizeof(*img));
}

/* Where there are two tails, somebody has to look which one it is. */
static int
is_other(void *arg, const char *name)
{
	const struct kv_kept *k = arg;

	return strcmp(name, k->file + sizeof("state/tail/") - 1) != 0;
}

static int
read_on(struct kv_archive *a, struct kv_kept *k)
{
	const char *name = kv_path(&a->dir, k->file);
	int fd = kv_openat(a->dir.fd, k->file, O_RDONLY, 0), rc;

	if (fd < 0)
		return errno == ENOENT ? KEVO_NOTFOUND :
		    kv_ship_fail_errno(&a->env, name, "open");
	rc = kv_image_grow(&a->env, fd, name, &k->img);
	close(fd);
	return rc;
}

int
kv_kept_read(struct kv_archive *a, struct kv_kept *k)
{
	int rc;

	if (!k->any)
		return KEVO_NOTFOUND;
	if (!k->tail)
		return 0;	/* its name is given once */
	rc = kv_archive_each(a, "state/tail", is_other, k);
	if (rc == 0)
		rc = read_on(a, k);
	else if (rc > 0)
		rc = KEVO_NOTFOUND;
	if (rc != 0)
		kv_kept_release(k);
	return rc;
}

int64_t
kv_kept_stamp(const struct kv_archive *a)
{
	struct stat st;
	char dir[32];

	snprintf(dir, sizeof(dir), "wal/%08" PRIx32,
	    kv_history_newest(&a->history)->epoch);
	if (fstatat(a->dir.fd, dir, &st, 0) != 0)
		return -1;
	return (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
}
