#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli_tool.h"
#include "walship_child.h"

#define PATIENCE	100	/* looks, 10 ms apart */
#define PIPE_BYTES	(1 << 20)	/* a frame of records, mostly */

extern char **environ;

/* A pipe of which no end is 0, 1 or 2. */
static int
open_pipe(int p[2])
{
	if (pipe2(p, O_CLOEXEC) != 0)
		return -1;
	p[0] = cli_fd_high(p[0]);
	p[1] = cli_fd_high(p[1]);
	return p[0] < 0 || p[1] < 0 ? -1 : 0;
}

/* SIGPIPE is ignored here, and must not be there. */
static int
spawn(pid_t *pid, const char *cmd, int in, int out)
{
	char *const argv[] = { (char *)(uintptr_t)"sh",
		(char *)(uintptr_t)"-c", (char *)(uintptr_t)cmd, NULL };
	posix_spawn_file_actions_t fa;
	posix_spawnattr_t at;
	sigset_t def;
	int err;

	if ((err = posix_spawn_file_actions_init(&fa)) != 0)
		return err;
	if ((err = posix_spawnattr_init(&at)) != 0)
		goto out_fa;
	sigemptyset(&def);
	sigaddset(&def, SIGPIPE);
	if ((err = posix_spawn_file_actions_adddup2(&fa, in, 0)) == 0 &&
	    (err = posix_spawn_file_actions_adddup2(&fa, out, 1)) == 0 &&
	    (err = posix_spawnattr_setsigdefault(&at, &def)) == 0 &&
	    (err = posix_spawnattr_setflags(&at,
	    POSIX_SPAWN_SETSIGDEF)) == 0)
		err = posix_spawn(pid, "/bin/sh", &fa, &at, argv, environ);
	posix_spawnattr_destroy(&at);
out_fa:
	posix_spawn_file_actions_destroy(&fa);
	return err;
}

int
walship_child_start(struct walship_child *c, const char *cmd)
{
	int in[2], out[2], err;

	if (open_pipe(in) != 0)
		return errno;
	if (open_pipe(out) != 0) {
		err = errno;
		goto err_in;
	}
	if ((err = spawn(&c->pid, cmd, in[0], out[1])) != 0)
		goto err_out;
	close(in[0]);
	close(out[1]);
	c->to = in[1];
	c->from = out[0];
	/* Fewer turns; where it is not allowed it goes without. */
	(void)fcntl(c->from, F_SETPIPE_SZ, PIPE_BYTES);
	return 0;

err_out:
	close(out[0]);
	close(out[1]);
err_in:
	close(in[0]);
	close(in[1]);
	return err;
}

/* 1 with its status if it has ended within `looks`. */
static int
ended(pid_t pid, int looks, int *status)
{
	pid_t got;

	for (;;) {
		got = waitpid(pid, status, WNOHANG);
		if (got == pid)
			return 1;
		if (got < 0 && errno != EINTR) {
			*status = 0;
			return 1;
		}
		if (looks-- == 0)
			return 0;
		poll(NULL, 0, 10);
	}
}

int
walship_child_end(struct walship_child *c)
{
	int status;

	close(c->to);
	close(c->from);
	if (!ended(c->pid, PATIENCE, &status)) {
		kill(c->pid, SIGTERM);
		if (!ended(c->pid, PATIENCE, &status)) {
			kill(c->pid, SIGKILL);
			while (!ended(c->pid, PATIENCE, &status))
				;
		}
	}
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) :
	    WEXITSTATUS(status);
}
