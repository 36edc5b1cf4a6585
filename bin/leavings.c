#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "leavings.h"

void
leavings_hold(int fd)
{
	(void)flock(fd, LOCK_EX | LOCK_NB);
}

/* The number in a name, as %u prints it; 0: it has another form. */
static unsigned long
number_of(const char *name, const char *before, const char *after)
{
	size_t n = strlen(before);
	unsigned long pid;
	char *end;

	if (strncmp(name, before, n) != 0 || name[n] == '0' ||
	    !isdigit((unsigned char)name[n]))
		return 0;
	errno = 0;
	pid = strtoul(name + n, &end, 10);
	return errno == 0 && pid <= INT_MAX && strcmp(end, after) == 0 ? pid :
	    0;
}

static int
is_dead(unsigned long pid)
{
	return kill((pid_t)pid, 0) != 0 && errno == ESRCH;
}

static int
remove_one(const char *path, const struct stat *st, int type, struct FTW *f)
{
	(void)st;
	(void)type;
	(void)f;
	return remove(path);
}

int
leavings_remove_all(const char *path)
{
	return nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* Symbolic links are neither followed nor removed. */
static void
remove_entry(const char *dir, int at, const char *name)
{
	char path[PATH_MAX];
	struct stat st;
	int fd = openat(at, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK |
	    O_CLOEXEC);

	if (fd < 0)
		return;
	if (fstat(fd, &st) == 0 && st.st_uid == geteuid() &&
	    (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode)) &&
	    flock(fd, LOCK_EX | LOCK_NB) == 0 && snprintf(path, sizeof(path),
	    "%s/%s", dir, name) < (int)sizeof(path))
		(void)leavings_remove_all(path);
	close(fd);
}

void
leavings_remove(const char *dir, const char *before, const char *after)
{
	struct dirent *e;
	unsigned long pid;
	DIR *d = opendir(dir);

	if (d == NULL)
		return;
	while ((e = readdir(d)) != NULL)
		if ((pid = number_of(e->d_name, before, after)) != 0 &&
		    is_dead(pid))
			remove_entry(dir, dirfd(d), e->d_name);
	closedir(d);
}
