/*
 * cli_in: buffered input that knows when it is about to wait.
 *
 * A tool that collects work (a batch, buffered answers) must not sit on it
 * while its input is silent.  So before each read from something that may
 * block, the input is polled, and if nothing is there the tool's on_block
 * is called.  At full speed that costs one poll per buffer.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli.h"
#include "cli_tool.h"

enum { ROOM_FIRST = 256 * 1024 };

int
cli_fd_high(int fd)
{
	int high;

	if (fd < 0 || fd > 2)
		return fd;
	high = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	close(fd);
	return high;
}

static int
open_status(int err)
{
	switch (err) {
	case ENOENT:
	case ENOTDIR:
		return EX_NOINPUT_;
	case EACCES:
	case EPERM:
		return EX_NOPERM_;
	default:
		return EX_IOERR_;
	}
}

void
cli_in_open(struct cli_in *in, const char *path)
{
	struct stat st;

	memset(in, 0, sizeof(*in));
	in->name = "(stdin)";
	if (path != NULL && strcmp(path, "-") != 0) {
		in->name = path;
		in->fd = cli_fd_high(open(path, O_RDONLY | O_CLOEXEC));
		if (in->fd < 0)
			cli_die(open_status(errno), "%s: %s", path,
			    strerror(errno));
	}
	if (fstat(in->fd, &st) != 0)
		cli_die(EX_IOERR_, "%s: %s", in->name, strerror(errno));
	if (S_ISDIR(st.st_mode))
		cli_die(EX_IOERR_, "%s: %s", in->name, strerror(EISDIR));
	if (S_ISREG(st.st_mode)) {
		in->regular = 1;
		in->size = (uint64_t)st.st_size;
	}
}

void
cli_in_check(const char *path)
{
	struct cli_in in;
	struct stat st;

	if (strcmp(path, "-") == 0)
		path = NULL;
	if (path == NULL || (stat(path, &st) == 0 && (S_ISREG(st.st_mode) ||
	    S_ISDIR(st.st_mode)))) {
		cli_in_open(&in, path);
		cli_in_close(&in);
	} else if (access(path, R_OK) != 0) {
		cli_die(open_status(errno), "%s: %s", path, strerror(errno));
	}
}

void
cli_in_close(struct cli_in *in)
{
	if (in->fd > 2)
		close(in->fd);
	in->fd = -1;
	free(in->buf);
	in->buf = NULL;
	in->pos = in->end = in->room = 0;
}

/* Make room behind the data: move it to the front, or grow. */
static void
make_room(struct cli_in *in)
{
	size_t len = in->end - in->pos;
	size_t room = in->room == 0 ? ROOM_FIRST : in->room * 2;
	uint8_t *p;

	if (in->pos > 0) {
		memmove(in->buf, in->buf + in->pos, len);
		in->pos = 0;
		in->end = len;
	}
	if (in->room - len >= in->room / 4 && in->room > 0)
		return;
	if ((p = realloc(in->buf, room)) == NULL)
		cli_die(EX_IOERR_, "%s: out of memory", in->name);
	in->buf = p;
	in->room = room;
}

static void
await(struct cli_in *in)
{
	struct pollfd pfd = { .fd = in->fd, .events = POLLIN };

	if (in->regular || in->on_block == NULL)
		return;
	if (poll(&pfd, 1, 0) == 0)
		in->on_block(in->arg);
}

/* Somebody made the descriptor non-blocking: wait as if it were not. */
static void
wait_readable(struct cli_in *in)
{
	struct pollfd pfd = { .fd = in->fd, .events = POLLIN };

	poll(&pfd, 1, -1);
}

static void
fill(struct cli_in *in)
{
	ssize_t n;

	if (in->end == in->room || in->pos == in->end)
		make_room(in);
	await(in);
	for (;;) {
		if (cli_stopped())
			cli_die_by_signal();
		n = read(in->fd, in->buf + in->end, in->room - in->end);
		if (n >= 0)
			break;
		if (errno == EINTR)
			cli_progress_poke();
		else if (errno == EAGAIN)
			wait_readable(in);
		else
			cli_die(EX_IOERR_, "%s: %s", in->name,
			    strerror(errno));
	}
	if (n == 0)
		in->eof = 1;
	in->end += (size_t)n;
	in->taken += (uint64_t)n;
}

size_t
cli_in_need(struct cli_in *in, size_t n)
{
	while (in->end - in->pos < n && !in->eof)
		fill(in);
	return in->end - in->pos;
}
