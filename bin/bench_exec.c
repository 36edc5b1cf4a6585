/*
 * bench_exec: what a call of a tool costs, process and all.
 *
 * Three calls take turns: kevo-get -V, which does nothing and so shows what
 * the system needs to start and end a program; kevo-get of a key, whose
 * output is read through a pipe; and kevo-put of a record.  They are started
 * as a shell starts them, without the shell.
 */
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

enum { NOTHING, GET, PUT };

enum { BY_DEFAULT = 300 };	/* of each, unless --ops says */

enum { OPERAND_MAX = 100000 };	/* what the kernel takes as one */

static const char *const parts[] = { "nothing", "get", "put", NULL };

extern char **environ;

static char dir[4096];		/* of this program, with a slash; or "" */

/* What one call was and said. */
static struct {
	char *argv[9];
	uint8_t *out;
	size_t len, room;
} call;

static void
find_tools(void)
{
	ssize_t n = readlink("/proc/self/exe", dir, sizeof(dir) - 16);
	char *slash;

	dir[n > 0 ? n : 0] = '\0';
	slash = strrchr(dir, '/');
	if (slash != NULL)
		slash[1] = '\0';
	else
		dir[0] = '\0';
}

static void __attribute__((noreturn))
cannot(const struct bench_worker *w, const char *tool, int err)
{
	bench_first_to_fail(EX_UNAVAILABLE_);
	cli_die(EX_UNAVAILABLE_, "%s: %s%s: %s", w->test->name, dir, tool,
	    strerror(err));
}

static void
begin(struct bench_worker *w)
{
	find_tools();
	call.room = bench_data_vlen(w->data) + 4096;
	call.out = malloc(call.room);
	if (call.out == NULL)
		cli_die(EX_IOERR_, "out of memory");
}

/* A large value cannot be an operand, and nothing is put into a database of
 * somebody else. */
static unsigned
kinds(const struct bench *b)
{
	return b->existing || b->shape.vmax > OPERAND_MAX ? 2 : 3;
}

static uint64_t
total(const struct bench *b)
{
	uint64_t n = bench_data_count(b->data);

	if (b->ops_set)
		return b->ops * kinds(b);
	return (n < BY_DEFAULT ? n : BY_DEFAULT) * kinds(b);
}

/* A record of this process. */
static uint64_t
own_key(struct bench_worker *w)
{
	uint64_t n = bench_data_count(w->data), p = w->b->processes;
	uint64_t i = bench_below(&w->rng, n);

	i = i - i % p + w->id;
	return i < n ? i : i - p;
}

/* A key with a zero byte cannot be an operand: another one, if there is. */
static void
choose(struct bench_worker *w)
{
	int tries;

	for (tries = 0; tries < 100; tries++) {
		w->idx[0] = own_key(w);
		w->klen[0] = bench_data_key(w->data, w->idx[0], w->key);
		if (memchr(w->key, 0, w->klen[0]) == NULL)
			break;
	}
	w->key[w->klen[0]] = 0;
	w->before = bench_data_before(w->data, w->idx[0]);
}

static char **
add_options(char **arg, const struct cli_open_opts *o)
{
	static char sync[40], wait[40];

	if (o->sync != NULL) {
		snprintf(sync, sizeof(sync), "--sync=%s", o->sync);
		*arg++ = sync;
	}
	if (o->wait != NULL) {
		snprintf(wait, sizeof(wait), "--wait=%s", o->wait);
		*arg++ = wait;
	}
	return arg;
}

static void
draw(struct bench_worker *w)
{
	static char get[] = "kevo-get", put[] = "kevo-put", version[] = "-V";
	static char raw[] = "-fraw", end[] = "--";
	char **arg = call.argv;

	w->part = (int)(w->i % kinds(w->b));
	choose(w);
	*arg++ = w->part == PUT ? put : get;
	if (w->part == NOTHING) {
		*arg++ = version;
		*arg = NULL;
		return;
	}
	if (w->part == PUT)
		arg = add_options(arg, &w->b->open);
	else
		*arg++ = raw;
	*arg++ = end;
	*arg++ = (char *)(uintptr_t)w->b->db;
	*arg++ = (char *)w->key;
	if (w->part == PUT) {
		w->version[0] = bench_data_next(w->data, w->idx[0]);
		w->vlen[0] = bench_data_value(w->data, w->idx[0],
		    w->version[0], w->value);
		w->value[w->vlen[0]] = 0;
		*arg++ = (char *)w->value;
	}
	*arg = NULL;
}

static pid_t
spawn(struct bench_worker *w, int out)
{
	posix_spawn_file_actions_t fa;
	char path[sizeof(dir)];
	pid_t pid;
	int err;

	snprintf(path, sizeof(path), "%s%s", dir, call.argv[0]);
	if (posix_spawn_file_actions_init(&fa) != 0 ||
	    posix_spawn_file_actions_adddup2(&fa, out, 1) != 0)
		cannot(w, call.argv[0], ENOMEM);
	err = posix_spawn(&pid, path, &fa, NULL, call.argv, environ);
	if (err == ENOENT)
		err = posix_spawnp(&pid, call.argv[0], &fa, NULL, call.argv,
		    environ);
	posix_spawn_file_actions_destroy(&fa);
	if (err != 0)
		cannot(w, call.argv[0], err);
	return pid;
}

/* All that comes, of which too much is as wrong as too little. */
static void
read_output(int fd)
{
	ssize_t n;

	call.len = 0;
	while ((n = read(fd, call.out + call.len, call.room - call.len)) != 0)
		if (n > 0)
			call.len += (size_t)n;
		else if (errno != EINTR)
			break;
}

static int
ended(struct bench_worker *w, pid_t pid)
{
	int status;

	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			cannot(w, call.argv[0], errno);
	if (!WIFEXITED(status)) {
		bench_first_to_fail(EX_SOFTWARE_);
		cli_die(EX_SOFTWARE_, "%s: %s was ended by signal %d",
		    w->test->name, call.argv[0], WTERMSIG(status));
	}
	status = WEXITSTATUS(status);
	/* 1 is an answer; otherwise it has said what is wrong. */
	if (status > 1) {
		bench_first_to_fail(status);
		cli_die(status, "%s: %s failed", w->test->name, call.argv[0]);
	}
	return status;
}

static int
act(struct bench_worker *w)
{
	int p[2];
	pid_t pid;

	if (pipe2(p, O_CLOEXEC) != 0)
		cannot(w, call.argv[0], errno);
	pid = spawn(w, p[1]);
	close(p[1]);
	read_output(p[0]);
	close(p[0]);
	w->found = ended(w, pid) == 0;
	return 0;
}

/* A tool says no version with the value: of a sampled record only that there
 * is one can be checked. */
static void
check(struct bench_worker *w)
{
	struct kevo_record rec = { .value = call.out, .vlen = call.len };
	const char *wrong = NULL;

	w->slot->records++;
	if (w->part == PUT && w->found)
		bench_data_written(w->data, w->idx[0], w->version[0]);
	else if (w->part == GET && !w->b->existing)
		wrong = bench_data_check(w->data, w->idx[0], w->before,
		    w->found ? &rec : NULL, w->expected);
	else if (!w->found && !w->b->existing)
		wrong = "a failure";
	if (wrong != NULL)
		bench_wrong(w, w->key, w->klen[0], wrong);
}

const struct bench_test bench_exec = {
	.name = "exec", .start = BENCH_FULL, .by_default = 1, .every = 1,
	.part = parts, .parts_only = 1, .total = total, .begin = begin,
	.draw = draw, .act = act, .check = check
};
