/*
 * shell_out: cli's output functions for the shell.
 *
 * What a command writes is collected until it would fill the screen; only
 * then a pager is started, and short answers do not bother anybody.  A pager
 * that was left, and a file of .output that cannot be written, end the
 * command and not the shell; without standard output there is no reason to
 * go on.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli_tool.h"
#include "shell.h"

enum { ROOM_FIRST = 64 * 1024, ROOM_KEPT = 1024 * 1024 };

static struct {
	int fd;
	char *path;		/* of .output; NULL: standard output */
	uint8_t *buf;
	size_t len, room;
	int used;		/* standard output was written to */
	int failed;		/* it cannot be written: drop everything */
	int tty;		/* 0 unknown, 1 yes, 2 no */
	int paging;		/* this command may start a pager */
	pid_t pager;		/* 0: none */
	int left;		/* it does not read any more */
} out = { .fd = 1 };

/* ---- the pager --------------------------------------------------------- */

static int
in_path(const char *name)
{
	const char *p = getenv("PATH");
	char file[4096];
	size_t len, n = strlen(name);

	for (; p != NULL && *p != '\0'; p += len + (p[len] == ':')) {
		len = strcspn(p, ":");
		if (len == 0 || len + n + 2 > sizeof(file))
			continue;
		memcpy(file, p, len);
		file[len] = '/';
		memcpy(file + len + 1, name, n + 1);
		if (access(file, X_OK) == 0)
			return 1;
	}
	return 0;
}

/* What to page with; NULL: nothing. */
static const char *
pager_command(void)
{
	const char *s = getenv("PAGER");

	if (s != NULL)
		return *s != '\0' && strcmp(s, "cat") != 0 ? s : NULL;
	return in_path("less") ? "less" : in_path("more") ? "more" : NULL;
}

static void __attribute__((noreturn))
run_pager(const char *command, int fd)
{
	dup2(fd, 0);
	signal(SIGPIPE, SIG_DFL);
	signal(SIGINT, SIG_DFL);
	setenv("LESS", "FRX", 0);
	execl("/bin/sh", "sh", "-c", command, (char *)NULL);
	_exit(127);
}

static void
start_pager(void)
{
	const char *command = pager_command();
	int fd[2];

	out.paging = 0;
	if (command == NULL || pipe2(fd, O_CLOEXEC) != 0)
		return;
	if ((out.pager = fork()) == 0)
		run_pager(command, fd[0]);
	close(fd[0]);
	if (out.pager < 0) {
		close(fd[1]);
		out.pager = 0;
		return;
	}
	out.fd = fd[1];
}

static void
end_pager(void)
{
	int status;

	close(out.fd);
	out.fd = 1;
	while (waitpid(out.pager, &status, 0) < 0 && errno == EINTR)
		;
	out.pager = 0;
}

/* Whether what is collected needs more than a screen. */
static int
is_long(void)
{
	struct winsize w = { .ws_row = 0 };
	size_t i, col = 0, rows = 0;

	ioctl(1, TIOCGWINSZ, &w);
	if (w.ws_row == 0)
		w.ws_row = 24;
	if (w.ws_col == 0)
		w.ws_col = 80;
	for (i = 0; i < out.len; i++)
		if (out.buf[i] == '\n' || ++col > w.ws_col) {
			col = 0;
			rows++;
		}
	return rows + 1 >= w.ws_row;
}

/* ---- writing ----------------------------------------------------------- */

static void
back_to_stdout(void)
{
	if (out.path == NULL)
		return;
	close(out.fd);
	free(out.path);
	out.path = NULL;
	out.fd = 1;
	out.tty = 0;
}

static void
write_failed(int err)
{
	char name[1024] = "(stdout)";

	if (out.pager != 0) {
		out.left = 1;
		return;
	}
	if (out.path != NULL) {
		strncpy(name, out.path, sizeof(name) - 1);
		back_to_stdout();
		cli_die(EX_IOERR_, "%s: %s", name, strerror(err));
	}
	out.failed = 1;
	cli_at_exit(NULL);
	if (err == EPIPE)
		cli_die_by(SIGPIPE);
	cli_die(EX_IOERR_, "%s: %s", name, strerror(err));
}

static void
write_all(const uint8_t *p, size_t len)
{
	struct pollfd pfd = { .fd = out.fd, .events = POLLOUT };
	ssize_t n;

	while (len > 0 && !out.left && !out.failed) {
		n = write(out.fd, p, len);
		if (n > 0) {
			out.used = 1;
			p += n;
			len -= (size_t)n;
		} else if (n < 0 && errno == EAGAIN) {
			poll(&pfd, 1, -1);
		} else if (n == 0 || errno != EINTR) {
			write_failed(n < 0 ? errno : EIO);
			return;
		}
	}
}

void
cli_out_flush(void)
{
	size_t len = out.len;

	if (len > 0 && out.paging && is_long())
		start_pager();
	out.len = 0;
	if (len > 0)
		write_all(out.buf, len);
	if (out.room > ROOM_KEPT) {
		free(out.buf);
		out.buf = NULL;
		out.room = 0;
	}
}

uint8_t *
cli_out_room(size_t n)
{
	size_t room = n > ROOM_FIRST ? n : ROOM_FIRST;

	if (n <= out.room - out.len)
		return out.buf + out.len;
	cli_out_flush();
	if (n > out.room) {
		free(out.buf);
		out.room = 0;
		if ((out.buf = malloc(room)) == NULL)
			cli_die(EX_IOERR_, "out of memory");
		out.room = room;
	}
	return out.buf + out.len;
}

void
cli_out_add(size_t n)
{
	out.len += n;
}

void
cli_out(const void *p, size_t len)
{
	if (len > ROOM_FIRST) {
		cli_out_flush();
		if (out.paging)
			start_pager();
		write_all(p, len);
	} else if (len > 0) {
		memcpy(cli_out_room(len), p, len);
		out.len += len;
	}
}

int
cli_out_is_tty(void)
{
	if (out.pager != 0)
		return 1;
	if (out.tty == 0)
		out.tty = isatty(out.fd) ? 1 : 2;
	return out.tty == 1;
}

void
cli_out_fd(int fd, const char *name)
{
	(void)name;
	cli_out_flush();
	out.fd = fd;
	out.tty = 0;
}

int
cli_out_close(void)
{
	back_to_stdout();
	free(out.buf);
	out.buf = NULL;
	out.len = out.room = 0;
	if (!out.used || out.failed)
		return 0;
	out.failed = 1;
	return close(1) != 0 && errno != EINTR ? -1 : 0;
}

/* ---- commands ---------------------------------------------------------- */

void
shell_out_begin(int paging)
{
	out.left = 0;
	out.paging = paging && out.path == NULL;
}

void
shell_out_end(void)
{
	cli_out_flush();
	out.paging = 0;
	if (out.pager != 0)
		end_pager();
	out.left = 0;
}

int
shell_out_left(void)
{
	return out.left;
}

int
shell_out_fd(void)
{
	return out.fd;
}

int
shell_out_file(const char *path)
{
	char *copy;
	int fd;

	cli_out_flush();
	if (path == NULL) {
		back_to_stdout();
		return 0;
	}
	fd = cli_fd_high(open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC,
	    0666));
	if (fd < 0)
		return errno;
	if ((copy = strdup(path)) == NULL) {
		close(fd);
		return ENOMEM;
	}
	back_to_stdout();
	out.path = copy;
	out.fd = fd;
	out.tty = 0;
	return 0;
}
