#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli.h"
#include "cli_tool.h"
#include "cursor.h"

static void __attribute__((noreturn))
cannot(const char *path, const char *what, int status)
{
	cli_die(status, "%s: cannot %s: %s", path, what, strerror(errno));
}

/* The whole file, which is short; its length. */
static size_t
read_file(const char *path, int fd, char *buf, size_t room)
{
	size_t len = 0;
	ssize_t n;

	do {
		n = read(fd, buf + len, room - len);
		if (n > 0)
			len += (size_t)n;
	} while ((n > 0 && len < room) || (n < 0 && errno == EINTR));
	if (n < 0)
		cannot(path, "read", EX_IOERR_);
	return len;
}

void
cursor_open(struct cursor *c, const char *path)
{
	char buf[KEVO_POSITION_LEN + 1];
	struct stat st;
	size_t len;
	int fd;

	memset(c, 0, sizeof(*c));
	if ((c->path = path) == NULL)
		return;
	len = strlen(path) + sizeof(".tmp");
	if ((c->temp = malloc(len)) == NULL)
		cli_die(EX_IOERR_, "out of memory");
	snprintf(c->temp, len, "%s.tmp", path);
	fd = cli_fd_high(open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK));
	if (fd < 0 && errno == ENOENT)
		return;
	if (fd < 0)
		cannot(path, "open", EX_NOINPUT_);
	/* It is going to be replaced. */
	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
		cli_die(EX_CANTCREAT_, "%s: not a regular file", path);
	len = read_file(path, fd, buf, sizeof(buf));
	close(fd);
	if (len < 2 || buf[len - 1] != '\n' || len > sizeof(c->saved) ||
	    memchr(buf, '\0', len) != NULL)
		cli_die(EX_DATAERR_, "%s: not a cursor of kevo-watch", path);
	memcpy(c->saved, buf, len - 1);
}

static void
write_file(const char *path, int fd, const char *p, size_t len)
{
	while (len > 0) {
		ssize_t n = write(fd, p, len);

		if (n > 0) {
			p += n;
			len -= (size_t)n;
		} else if (n == 0 || errno != EINTR)
			cannot(path, "write", EX_IOERR_);
	}
}

/* A temporary file that a killed one has left is taken over. */
void
cursor_save(struct cursor *c, const char position[KEVO_POSITION_LEN])
{
	char line[KEVO_POSITION_LEN + 1];
	int fd, n;

	if (c->path == NULL || strcmp(position, c->saved) == 0)
		return;
	n = snprintf(line, sizeof(line), "%s\n", position);
	fd = cli_fd_high(open(c->temp, O_WRONLY | O_CREAT | O_TRUNC |
	    O_CLOEXEC | O_NOFOLLOW, 0666));
	if (fd < 0)
		cannot(c->temp, "create", EX_CANTCREAT_);
	write_file(c->temp, fd, line, (size_t)n);
	if (fdatasync(fd) != 0)
		cannot(c->temp, "sync", EX_IOERR_);
	if (close(fd) != 0)
		cannot(c->temp, "close", EX_IOERR_);
	if (rename(c->temp, c->path) != 0)
		cannot(c->path, "replace", EX_CANTCREAT_);
	snprintf(c->saved, sizeof(c->saved), "%s", position);
}
