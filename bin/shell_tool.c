/*
 * shell_tool: dot commands that are tools of their own.
 *
 * The tool writes where answers go, on the terminal without a pager, and gets
 * the signals of the terminal itself.  It sees the database as everybody
 * outside of the shell's transaction does.
 */
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shell.h"

enum { NOT_FOUND = 127 };

/* In the child: the tool beside this program, else the one in PATH. */
static void __attribute__((noreturn))
become(char *const argv[], int out)
{
	char path[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 1);
	char *slash;

	if (out != 1 && dup2(out, 1) < 0)
		_exit(EX_IOERR_);
	signal(SIGPIPE, SIG_DFL);
	path[n > 0 ? n : 0] = '\0';
	slash = strrchr(path, '/');
	if (slash != NULL && (size_t)(slash - path) + strlen(argv[0]) + 2 <
	    sizeof(path)) {
		strcpy(slash + 1, argv[0]);
		execv(path, argv);
	}
	execvp(argv[0], argv);
	_exit(NOT_FOUND);
}

int
shell_tool(struct shell *sh, char *const argv[])
{
	int status;
	pid_t pid;

	if (sh->path == NULL)
		return shell_fail(sh, EX_NOINPUT_, "no database is open");
	cli_out_flush();
	if ((pid = fork()) < 0)
		return shell_fail(sh, EX_IOERR_, "%s", strerror(errno));
	if (pid == 0)
		become(argv, shell_out_fd());
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (WIFSIGNALED(status)) {
		sh->trouble = 1;
		return 128 + WTERMSIG(status);
	}
	status = WEXITSTATUS(status);
	if (status == NOT_FOUND)
		return shell_fail(sh, EX_UNAVAILABLE_, "%s is not installed",
		    argv[0]);
	/* It has said itself what was wrong. */
	sh->trouble = status > 1;
	return status;
}
