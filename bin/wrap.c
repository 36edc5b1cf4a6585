/*
 * wrap: a command between a tool's first half and its second.
 *
 * The handler knows the command's process number from before it runs until
 * before it is reaped, so that a signal is never lost and never sent to
 * somebody else: signals are blocked while it is started, and its end is
 * looked at without reaping it.
 */
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli.h"
#include "cli_tool.h"
#include "wrap.h"

enum { EXIT_CANNOT = 126, EXIT_NOT_FOUND = 127 };

extern char **environ;

static const int passed[] = { SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1,
    SIGUSR2 };

enum { PASSED = sizeof(passed) / sizeof(passed[0]) };

static volatile sig_atomic_t command;	/* its process; 0: none */
static volatile sig_atomic_t stopped;
static int caught[PASSED];		/* not ignored from the start */

/* A key on the terminal has reached the command, too. */
static void
pass_on(int sig, siginfo_t *info, void *context)
{
	int saved = errno;

	(void)context;
	if (command == 0) {
		if (sig != SIGUSR1 && sig != SIGUSR2)
			stopped = sig;
	} else if (info->si_code != SI_KERNEL) {
		kill((pid_t)command, sig);
	}
	errno = saved;
}

static void
catch_signals(void)
{
	struct sigaction act, old;

	memset(&act, 0, sizeof(act));
	act.sa_sigaction = pass_on;
	act.sa_flags = SA_SIGINFO | SA_RESTART;
	for (int i = 0; i < PASSED; i++) {
		caught[i] = sigaction(passed[i], &act, &old) == 0 &&
		    ((old.sa_flags & SA_SIGINFO) || old.sa_handler != SIG_IGN);
		if (!caught[i])
			signal(passed[i], SIG_IGN);
	}
	/* Whoever ignores this one learns nothing from waitpid(). */
	signal(SIGCHLD, SIG_DFL);
}

/* Where commands are looked for if the environment does not say. */
static const char usual[] = "/usr/local/bin:/usr/bin:/bin";

/* Whether it could be executed: an errno. */
static int
look(const char *path)
{
	struct stat st;

	if (access(path, X_OK) != 0)
		return errno;
	return stat(path, &st) == 0 && S_ISREG(st.st_mode) ? 0 : EACCES;
}

/* The file of a command, found as the shell would; an errno.  Looking is
 * cheaper than trying to execute what is not there. */
static int
find(const char *name, char *path, size_t room)
{
	const char *p = getenv("PATH");
	int err = ENOENT, why;
	size_t len, n = strlen(name);

	if (n == 0)
		return ENOENT;
	if (strchr(name, '/') != NULL) {
		if (n >= room)
			return ENAMETOOLONG;
		strcpy(path, name);
		return 0;
	}
	for (p = p != NULL ? p : usual; ; p += len + 1) {
		len = strcspn(p, ":");
		if (len + n + 2 <= room) {
			memcpy(path, p, len);
			path[len] = '/';
			strcpy(len > 0 ? path + len + 1 : path, name);
			if ((why = look(path)) == 0)
				return 0;
			if (why == EACCES)
				err = EACCES;
		}
		if (p[len] == '\0')
			return err;
	}
}

/* In the child, which borrows our memory: our handlers are not its own. */
static void
become(const char *path, char *const argv[], const sigset_t *mask)
{
	struct sigaction act;

	memset(&act, 0, sizeof(act));
	act.sa_handler = SIG_DFL;
	for (int i = 0; i < PASSED; i++)
		if (caught[i])
			sigaction(passed[i], &act, NULL);
	sigprocmask(SIG_SETMASK, mask, NULL);
	execve(path, argv, environ);
}

/*
 * Start it with the signals as we found them; an errno.  Not posix_spawn():
 * one libc asks the system for each of the signals there are.
 */
static int
spawn(const char *path, char *const argv[], const sigset_t *mask, pid_t *pid)
{
	static volatile int failed;

	failed = 0;
	if ((*pid = vfork()) < 0)
		return errno;
	if (*pid == 0) {
		become(path, argv, mask);
		failed = errno;
		_exit(EXIT_CANNOT);
	}
	if (failed != 0)
		while (waitpid(*pid, NULL, 0) < 0 && errno == EINTR)
			;
	return failed;
}

/* A script whose first line names no interpreter is one of the shell. */
static int
spawn_script(char *path, char *const argv[], const sigset_t *mask, pid_t *pid)
{
	static char shell[] = "sh";
	char **args;
	size_t n = 0;
	int err;

	while (argv[n] != NULL)
		n++;
	if ((args = calloc(n + 2, sizeof(*args))) == NULL)
		return ENOMEM;
	args[0] = shell;
	args[1] = path;
	memcpy(args + 2, argv + 1, (n - 1) * sizeof(*args));
	err = spawn("/bin/sh", args, mask, pid);
	free(args);
	return err;
}

static int
start(char *const argv[], const sigset_t *mask, pid_t *pid)
{
	char path[PATH_MAX];
	int err = find(argv[0], path, sizeof(path));

	if (err == 0 && (err = spawn(path, argv, mask, pid)) == ENOEXEC)
		err = spawn_script(path, argv, mask, pid);
	return err;
}

static int
not_run(const char *name, int err)
{
	int status = err == ENOENT || err == ENOTDIR ? EXIT_NOT_FOUND :
	    EXIT_CANNOT;

	cli_msg("%s: %s", name, status == EXIT_NOT_FOUND &&
	    strchr(name, '/') == NULL ? "command not found" : strerror(err));
	if (name[0] == '-')
		cli_hint("options go before DB");
	return status;
}

static int
wait_for(pid_t pid)
{
	siginfo_t info;
	int status;

	while (waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT) != 0 &&
	    errno == EINTR)
		;
	command = 0;
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			cli_die(EX_SOFTWARE_, "waiting for the command: %s",
			    strerror(errno));
	return WIFEXITED(status) ? WEXITSTATUS(status) :
	    128 + WTERMSIG(status);
}

int
wrap_run(char *const argv[])
{
	sigset_t set, mask;
	pid_t pid = 0;
	int err;

	sigemptyset(&set);
	for (int i = 0; i < PASSED; i++)
		sigaddset(&set, passed[i]);
	sigprocmask(SIG_BLOCK, &set, &mask);
	catch_signals();
	if ((err = start(argv, &mask, &pid)) == 0)
		command = (sig_atomic_t)pid;
	sigprocmask(SIG_SETMASK, &mask, NULL);
	return err != 0 ? not_run(argv[0], err) : wait_for(pid);
}

int
wrap_stopped(void)
{
	return stopped;
}

int
wrap_end(int status)
{
	switch (status - 128) {
	case SIGHUP:
	case SIGINT:
	case SIGTERM:
	case SIGPIPE:
		cli_die_by(status - 128);
	default:
		return status;
	}
}
