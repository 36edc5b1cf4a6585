#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli.h"
#include "cli_tool.h"
#include "leavings.h"
#include "outfile.h"

static struct {
	int fd;
	const char *path;
	char *temp;	/* to be removed unless renamed; NULL: none */
} file = { -1, NULL, NULL };

static void
remove_temp(int status)
{
	(void)status;
	if (file.temp != NULL)
		unlink(file.temp);
}

static void __attribute__((noreturn))
cannot(const char *what, int status)
{
	cli_die(status, "%s: %s: %s", file.path, what, strerror(errno));
}

static int
is_special(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && !S_ISREG(st.st_mode);
}

/* The directory of a path, to be freed. */
static char *
directory_of(const char *path)
{
	const char *slash = strrchr(path, '/');
	char *dir = slash == NULL ? strdup(".") : strndup(path,
	    slash == path ? 1 : (size_t)(slash - path));

	if (dir == NULL)
		cli_die(EX_IOERR_, "out of memory");
	return dir;
}

void
outfile_check(const char *path)
{
	struct stat st;
	char *dir;

	file.path = path;
	if (is_special(path)) {
		if (stat(path, &st) == 0 && S_ISDIR(st.st_mode))
			errno = EISDIR;
		else if (faccessat(AT_FDCWD, path, W_OK, AT_EACCESS) == 0)
			return;
		cannot("cannot open", EX_CANTCREAT_);
	}
	dir = directory_of(path);
	if (stat(dir, &st) == 0 && !S_ISDIR(st.st_mode)) {
		errno = ENOTDIR;
		cannot("cannot create", EX_CANTCREAT_);
	}
	if (faccessat(AT_FDCWD, dir, W_OK | X_OK, AT_EACCESS) != 0)
		cannot("cannot create", EX_CANTCREAT_);
	free(dir);
}

/* What killed programs left of this file. */
static void
remove_leavings(void)
{
	const char *slash = strrchr(file.path, '/');
	char *dir = directory_of(file.path), *before;

	if (asprintf(&before, "%s.", slash != NULL ? slash + 1 :
	    file.path) < 0)
		cli_die(EX_IOERR_, "out of memory");
	leavings_remove(dir, before, ".tmp");
	free(before);
	free(dir);
}

void
outfile_open(const char *path)
{
	size_t len = strlen(path) + sizeof(".4294967295.tmp");
	int fd;

	file.path = path;
	if (is_special(path)) {
		fd = cli_fd_high(open(path, O_WRONLY | O_CLOEXEC));
		if (fd < 0)
			cannot("cannot open", EX_CANTCREAT_);
		cli_out_fd(fd, path);
		return;
	}
	if ((file.temp = malloc(len)) == NULL)
		cli_die(EX_IOERR_, "out of memory");
	snprintf(file.temp, len, "%s.%u.tmp", path, (unsigned)getpid());
	/* One of an earlier process with our number is nobody's either. */
	unlink(file.temp);
	remove_leavings();
	fd = cli_fd_high(open(file.temp, O_WRONLY | O_CREAT | O_EXCL |
	    O_CLOEXEC, 0666));
	if (fd < 0) {
		free(file.temp);
		file.temp = NULL;
		cannot("cannot create", EX_CANTCREAT_);
	}
	file.fd = fd;
	leavings_hold(fd);
	cli_at_exit(remove_temp);
	cli_signals();
	cli_out_fd(fd, path);
}

int
outfile_fd(void)
{
	return file.fd;
}

static void
sync_directory(void)
{
	char *dir = directory_of(file.path);
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0 || fsync(fd) != 0)
		cannot("cannot sync its directory", EX_IOERR_);
	close(fd);
	free(dir);
}

void
outfile_finish(void)
{
	cli_out_flush();
	if (file.temp == NULL)
		return;
	if (fsync(file.fd) != 0)
		cannot("sync", EX_IOERR_);
	if (cli_out_close() != 0)
		cannot("close", EX_IOERR_);
	if (rename(file.temp, file.path) != 0)
		cannot("rename", EX_CANTCREAT_);
	free(file.temp);
	file.temp = NULL;
	cli_at_exit(NULL);
	sync_directory();
}
