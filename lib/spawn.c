#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "compact.h"

/*
 * Starting kevo-compact so that nobody has to know of it.  The program that
 * happens to write may be a word in a pipeline, whose reader waits for the
 * end of file; a service that waits for its children; or a process with
 * threads and with handlers of SIGCHLD.  So what is started has a session of
 * its own, no descriptor of ours, the root as its directory, no variable of
 * kevo's, and another parent; and the children that make it so are cloned
 * without a signal at their end, which keeps them out of the program's
 * wait() too.
 *
 * Between clone and exec the child is a copy of one thread of a program that
 * may have had locks in any state: it calls the kernel, and nothing else.
 */

#define FD_LIMIT	1024		/* of a kernel without close_range() */
#define PATH_ROOM	PATH_MAX

#ifndef SYS_close_range
#define SYS_close_range	436
#endif

extern char **environ;

/* ---- what is to be run ------------------------------------------------- */

/* A program called name in directory dir (of len bytes). */
static int
find_in(char out[PATH_ROOM], const char *dir, size_t len, const char *name)
{
	int n = snprintf(out, PATH_ROOM, "%.*s/%s", (int)len, dir, name);

	return dir[0] == '/' && n > 0 && n < PATH_ROOM &&
	    access(out, X_OK) == 0;
}

static int
find_beside(char out[PATH_ROOM], const char *name)
{
	char self[PATH_ROOM];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	char *slash;

	if (n <= 0)
		return 0;
	self[n] = '\0';
	slash = strrchr(self, '/');
	return slash != NULL && find_in(out, self, (size_t)(slash - self),
	    name);
}

static int
find_program(char out[PATH_ROOM], const char *name)
{
	const char *p;
	size_t len;

	if (strchr(name, '/') != NULL)
		return realpath(name, out) != NULL && access(out, X_OK) == 0;
	if (find_beside(out, name))
		return 1;
	/* NULL where the program has more rights than who called it. */
	if ((p = secure_getenv("PATH")) == NULL)
		return 0;
	for (;; p += len + 1) {
		len = strcspn(p, ":");
		if (find_in(out, p, len, name))
			return 1;
		if (p[len] == '\0')
			return 0;
	}
}

/* The database's own name, wherever the working directory is by now. */
static int
find_database(const struct kevo *db, char out[PATH_ROOM])
{
	char link[64];
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", db->dir.fd);
	n = readlink(link, out, PATH_ROOM - 1);
	if (n <= 0 || out[0] != '/')
		return 0;
	out[n] = '\0';
	return 1;
}

static char **
make_environment(void)
{
	size_t n = 0, out = 0;
	char **env;

	while (environ != NULL && environ[n] != NULL)
		n++;
	if ((env = malloc((n + 1) * sizeof(*env))) == NULL)
		return NULL;
	for (size_t i = 0; i < n; i++)
		if (strncmp(environ[i], "KEVO_", 5) != 0)
			env[out++] = environ[i];
	env[out] = NULL;
	return env;
}

/* ---- running it -------------------------------------------------------- */

/* A copy of this thread that ends without a signal. */
static pid_t
clone_quietly(void)
{
	return (pid_t)syscall(SYS_clone, 0, 0, 0, 0, 0);
}

static void
default_signals(void)
{
	struct sigaction act;
	sigset_t none;

	memset(&act, 0, sizeof(act));
	act.sa_handler = SIG_DFL;
	for (int sig = 1; sig <= 31; sig++)
		sigaction(sig, &act, NULL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

/* Everything but 0 to 2 and fd, which becomes 3. */
static void
close_others(int fd)
{
	if (fd != 3)
		dup3(fd, 3, O_CLOEXEC);
	if (syscall(SYS_close_range, 4u, ~0u, 0u) == 0)
		return;
	for (int i = 4; i < FD_LIMIT; i++)
		close(i);
}

static void
run(const char *program, char *const argv[], char *const env[], int report)
{
	int null = open("/dev/null", O_RDWR), e;

	if (null < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0 ||
	    dup2(null, 2) < 0 || chdir("/") != 0)
		goto failed;
	close_others(report);
	report = 3;
	default_signals();
	execve(program, argv, env);
failed:
	e = errno;
	if (write(report, &e, sizeof(e)) < 0)
		_exit(126);
	_exit(127);
}

/* In the child: leave the session, and have a child that is nobody's. */
static void
detach(const char *program, char *const argv[], char *const env[], int report)
{
	if (setsid() < 0)
		_exit(1);
	switch (clone_quietly()) {
	case 0:
		run(program, argv, env, report);
		_exit(127);
	case -1:
		_exit(1);
	}
	_exit(0);
}

static int
wait_for(pid_t child, int report)
{
	int status = 0, e = 0;
	ssize_t n;

	while (waitpid(child, &status, __WALL) < 0)
		if (errno != EINTR)
			return 0;
	if (status != 0)
		return 0;
	/* The end of file is the exec's doing. */
	do
		n = read(report, &e, sizeof(e));
	while (n < 0 && errno == EINTR);
	return n == 0;
}

static int
start(const char *program, char *const argv[], char *const env[])
{
	int p[2], report, started = 0;
	pid_t child = -1;

	if (pipe2(p, O_CLOEXEC) != 0)
		return 0;
	/* Where standard streams are closed it may be one of them. */
	report = fcntl(p[1], F_DUPFD_CLOEXEC, 3);
	close(p[1]);
	if (report >= 0 && (child = clone_quietly()) == 0)
		detach(program, argv, env, report);
	close(report);
	if (child > 0)
		started = wait_for(child, p[0]);
	close(p[0]);
	return started;
}

int
kv_spawn_compactor(struct kevo *db)
{
	char program[PATH_ROOM], path[PATH_ROOM];
	char name[] = "kevo-compact", quiet[] = "-q", wait[] = "-w";
	char once[] = "0";
	char *argv[] = { name, quiet, wait, once, path, NULL }, **env;
	int started;

	if (db->compactor[0] == '\0' || !find_program(program,
	    db->compactor) || !find_database(db, path))
		return 0;
	if ((env = make_environment()) == NULL)
		return 0;
	started = start(program, argv, env);
	free(env);
	return started;
}
