/*
 * tools: run the tools of the build as processes, with files as their
 * standard input and output, and perhaps kill them.
 *
 * A file never blocks, so the order of reading and writing cannot hang
 * anything, and what a killed tool had written is there to be read.
 */
#ifndef TOOLS_H
#define TOOLS_H

#include "crash.h"

struct tool_run {
	const char *in;		/* file for standard input; NULL: none */
	const char *out;	/* file for standard output; NULL: discarded */
	const char *err;	/* file for standard error; NULL: discarded */
	const char *argv[32];	/* its name, without a directory, and up to
				 * NULL what comes behind */
};

/* In the child: the tool's three descriptors. */
__attribute__((unused)) static void
tool_redirect(const struct tool_run *t)
{
	static const char null[] = "/dev/null";
	int flags = O_WRONLY | O_CREAT | O_TRUNC;
	int in = open(t->in != NULL ? t->in : null, O_RDONLY);
	int out = open(t->out != NULL ? t->out : null, flags, 0666);
	int err = open(t->err != NULL ? t->err : null, flags, 0666);

	if (in < 0 || out < 0 || err < 0 || dup2(in, 0) < 0 ||
	    dup2(out, 1) < 0 || dup2(err, 2) < 0)
		_exit(126);
	if (in > 2)
		close(in);
	if (out > 2)
		close(out);
	if (err > 2)
		close(err);
}

/* In the child: become the tool. */
__attribute__((unused, noreturn)) static void
tool_exec(const char *const argv[])
{
	const char *build = getenv("KEVO_BUILD");
	char program[PATH_MAX], *copy[32] = { NULL };

	for (int i = 0; i < 31 && argv[i] != NULL; i++)
		copy[i] = strdup(argv[i]);
	snprintf(program, sizeof(program), "%s/bin/%s",
	    build != NULL ? build : "build", argv[0]);
	execv(program, copy);
	_exit(127);
}

/* The child dies with its parent; the result is its process number. */
__attribute__((unused)) static pid_t
tool_start(const struct tool_run *t)
{
	pid_t pid;

	/* It may be killed before it gets there: nothing old stays. */
	if (t->out != NULL)
		unlink(t->out);
	if (t->err != NULL)
		unlink(t->err);
	if ((pid = fork()) < 0)
		bail("cannot fork");
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		tool_redirect(t);
		tool_exec(t->argv);
	}
	return pid;
}

__attribute__((unused)) static int
tool_wait(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			bail("cannot wait");
	return status;
}

/* Was it still at work when it was killed? */
__attribute__((unused)) static int
tool_killed(int status)
{
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
}

/* "exit 74", "signal 9" */
__attribute__((unused)) static const char *
tool_end(int status)
{
	static char buf[32];

	if (WIFSIGNALED(status))
		snprintf(buf, sizeof(buf), "signal %d", WTERMSIG(status));
	else
		snprintf(buf, sizeof(buf), "exit %d", WEXITSTATUS(status));
	return buf;
}

/* The first line of a file, for a message. */
__attribute__((unused)) static const char *
tool_line(const char *path)
{
	static char line[400];
	FILE *f = fopen(path, "r");

	line[0] = '\0';
	if (f != NULL) {
		if (fgets(line, sizeof(line), f) == NULL)
			line[0] = '\0';
		fclose(f);
	}
	line[strcspn(line, "\n")] = '\0';
	return line;
}

/* Bytes of disk that a tree takes. */
static uint64_t tree_total;

__attribute__((unused)) static int
add_one(const char *path, const struct stat *st, int type, struct FTW *f)
{
	(void)path;
	(void)type;
	(void)f;
	tree_total += (uint64_t)st->st_blocks * 512;
	return 0;
}

__attribute__((unused)) static uint64_t
tree_bytes(const char *path)
{
	tree_total = 0;
	nftw(path, add_one, 16, FTW_PHYS);
	return tree_total;
}

/* Names in a directory that end in suffix. */
__attribute__((unused)) static unsigned
count_files(const char *dir, const char *name, const char *suffix)
{
	size_t end = strlen(suffix);
	char path[PATH_MAX];
	struct dirent *e;
	unsigned n = 0;
	DIR *d;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	if ((d = opendir(path)) == NULL)
		return 0;
	while ((e = readdir(d)) != NULL) {
		size_t len = strlen(e->d_name);

		n += e->d_name[0] != '.' && len >= end &&
		    strcmp(e->d_name + len - end, suffix) == 0;
	}
	closedir(d);
	return n;
}

/*
 * Processes that are children of this one: those it started, and those that
 * a writer had started in the background, if it is their reaper (prctl).
 * Returns how many are in out[], at most max.
 */
__attribute__((unused)) static unsigned
children_of_this(pid_t *out, unsigned max)
{
	char path[64];
	unsigned n = 0;
	FILE *f;
	int pid;

	snprintf(path, sizeof(path), "/proc/self/task/%d/children",
	    (int)getpid());
	if ((f = fopen(path, "r")) == NULL)
		return 0;
	while (n < max && fscanf(f, "%d", &pid) == 1)
		out[n++] = pid;
	fclose(f);
	return n;
}

/* Wait for the last child's end; those that take too long are killed. */
__attribute__((unused)) static int
wait_for_children(int limit_ms)
{
	int64_t end = now_ms() + limit_ms;
	int late = 0;
	pid_t pid;

	while ((pid = waitpid(-1, NULL, WNOHANG)) >= 0 || errno == EINTR) {
		pid_t left[64];
		unsigned n;

		if (pid != 0)
			continue;
		if (now_ms() >= end) {
			late = 1;
			n = children_of_this(left, 64);
			while (n > 0)
				kill(left[--n], SIGKILL);
		}
		nap_us(2000);
	}
	return !late;
}

#endif /* TOOLS_H */
