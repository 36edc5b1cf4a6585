#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "env.h"
#include "file.h"

int
kv_list_open(struct kv_env *env, const struct kv_dir *dir, const char *name,
    int may_lack, DIR **out)
{
	int fd = kv_openat(dir->fd, name, O_RDONLY | O_DIRECTORY, 0), rc;

	*out = NULL;
	if (fd < 0 && errno == ENOENT && may_lack)
		return 0;
	if (fd >= 0 && (*out = fdopendir(fd)) != NULL)
		return 0;
	rc = kv_fail_errno(env, kv_path(dir, name), "open");
	if (fd >= 0)
		close(fd);
	return rc;
}

const char *
kv_list_next(struct kv_env *env, const struct kv_dir *dir, const char *name,
    DIR *d, int *rc)
{
	struct dirent *e;

	do {
		errno = 0;
		e = readdir(d);
	} while (e != NULL && (strcmp(e->d_name, ".") == 0 ||
	    strcmp(e->d_name, "..") == 0));
	if (e != NULL)
		return e->d_name;
	if (errno != 0)
		*rc = kv_fail_errno(env, kv_path(dir, name), "read");
	return NULL;
}
