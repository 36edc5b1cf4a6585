/*
 * cli_out: buffered standard output that never loses an error.
 *
 * The buffer lies in zeroed memory, which costs a start nothing.  A reader
 * that went away ends the tool as SIGPIPE does, also where a parent has
 * SIGPIPE ignored (services are started so).
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "cli_tool.h"

enum { ROOM_FIRST = 64 * 1024, ROOM_KEPT = 1024 * 1024 };

static uint8_t first[ROOM_FIRST];

static struct {
	int fd;
	const char *name;
	uint8_t *buf;
	size_t len, room;
	int used;	/* something was written */
	int failed;	/* and reported: drop the rest */
	int tty;	/* 0 unknown, 1 yes, 2 no */
} out = { 1, "(stdout)", first, 0, ROOM_FIRST, 0, 0, 0 };

void
cli_out_fd(int fd, const char *name)
{
	cli_out_flush();
	out.fd = fd;
	out.name = name;
	out.tty = 0;
	out.used = 0;
}

static void __attribute__((noreturn))
write_failed(int err)
{
	out.failed = 1;
	out.len = 0;
	if (err == EPIPE)
		cli_die_by(SIGPIPE);
	cli_die(EX_IOERR_, "%s: %s", out.name, strerror(err));
}

static void
write_all(const uint8_t *p, size_t len)
{
	struct pollfd pfd = { .fd = out.fd, .events = POLLOUT };
	ssize_t n;

	while (len > 0) {
		n = write(out.fd, p, len);
		if (n > 0) {
			out.used = 1;
			p += n;
			len -= (size_t)n;
		} else if (n < 0 && errno == EINTR) {
			if (cli_stopped()) {
				out.failed = 1;
				cli_die_by_signal();
			}
			cli_progress_poke();
		} else if (n < 0 && errno == EAGAIN) {
			poll(&pfd, 1, -1);
		} else {
			write_failed(n < 0 ? errno : EIO);
		}
	}
}

void
cli_out_flush(void)
{
	size_t len = out.len;

	out.len = 0;
	if (len > 0 && !out.failed)
		write_all(out.buf, len);
	if (out.room > ROOM_KEPT) {
		free(out.buf);
		out.buf = first;
		out.room = ROOM_FIRST;
	}
}

void
cli_out(const void *p, size_t len)
{
	if (len > out.room - out.len)
		cli_out_flush();
	if (len > out.room) {
		if (!out.failed)
			write_all(p, len);
		return;
	}
	if (len > 0)
		memcpy(out.buf + out.len, p, len);
	out.len += len;
}

uint8_t *
cli_out_room(size_t n)
{
	uint8_t *p;

	if (n <= out.room - out.len)
		return out.buf + out.len;
	cli_out_flush();
	if (n > out.room) {
		if ((p = malloc(n)) == NULL)
			cli_die(EX_IOERR_, "%s: out of memory", out.name);
		if (out.buf != first)
			free(out.buf);
		out.buf = p;
		out.room = n;
	}
	return out.buf;
}

void
cli_out_add(size_t n)
{
	out.len += n;
}

int
cli_out_is_tty(void)
{
	if (out.tty == 0)
		out.tty = isatty(out.fd) ? 1 : 2;
	return out.tty == 1;
}

/* Some file systems report a full disk only now. */
int
cli_out_close(void)
{
	if (!out.used || out.failed)
		return 0;
	out.used = 0;
	out.failed = 1;
	if (close(out.fd) != 0 && errno != EINTR)
		return -1;
	return 0;
}
