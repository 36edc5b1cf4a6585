/*
 * crash: what the crash tests share: TAP, random numbers, directories, and
 * work in a child that may die or hang.
 *
 * Each test is one program, so all of this is in a header.
 */
#ifndef CRASH_H
#define CRASH_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "kevo.h"

/* ---- results ------------------------------------------------------------ */

static int tap_count, tap_failed;

/* One test; text is its name. */
__attribute__((format(printf, 2, 3), unused)) static int
tap(int ok, const char *text, ...)
{
	va_list ap;

	printf("%sok %d - ", ok ? "" : "not ", ++tap_count);
	va_start(ap, text);
	vprintf(text, ap);
	va_end(ap);
	putchar('\n');
	fflush(stdout);
	tap_failed += !ok;
	return ok;
}

__attribute__((format(printf, 1, 2), unused)) static void
note(const char *text, ...)
{
	va_list ap;

	printf("# ");
	va_start(ap, text);
	vprintf(text, ap);
	va_end(ap);
	putchar('\n');
	fflush(stdout);
}

/* Print the plan; the result is main()'s. */
__attribute__((unused)) static int
tap_end(void)
{
	printf("1..%d\n", tap_count);
	return tap_failed > 0;
}

/* For what the test itself cannot do. */
__attribute__((format(printf, 1, 2), unused, noreturn)) static void
bail(const char *text, ...)
{
	va_list ap;

	printf("Bail out! ");
	va_start(ap, text);
	vprintf(text, ap);
	va_end(ap);
	printf(" (%s)\n", strerror(errno));
	exit(1);
}

/* ---- random numbers ----------------------------------------------------- */

static uint64_t seed;

/* splitmix64 */
__attribute__((unused)) static uint64_t
rnd64(void)
{
	uint64_t z = seed += 0x9e3779b97f4a7c15;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
	return z ^ (z >> 31);
}

__attribute__((unused)) static unsigned
rnd(unsigned below)
{
	return (unsigned)(rnd64() % below);
}

/* Start from KEVO_SEED, or anew, and say so. */
__attribute__((unused)) static void
seed_start(void)
{
	const char *s = getenv("KEVO_SEED");

	seed = s != NULL ? strtoull(s, NULL, 0) :
	    (uint64_t)time(NULL) * 1000003 + (uint64_t)getpid();
	note("KEVO_SEED=%llu", (unsigned long long)seed);
}

/* KEVO_LONG asks for all there is, otherwise a sample is enough. */
__attribute__((unused)) static int
is_long(void)
{
	const char *s = getenv("KEVO_LONG");

	return s != NULL && *s != '\0' && strcmp(s, "0") != 0;
}

/* ---- time and directories ----------------------------------------------- */

__attribute__((unused)) static int64_t
now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

__attribute__((unused)) static void
nap_us(unsigned us)
{
	struct timespec ts = { us / 1000000, (long)(us % 1000000) * 1000 };

	nanosleep(&ts, NULL);
}

__attribute__((unused)) static int
remove_one(const char *path, const struct stat *st, int type, struct FTW *f)
{
	(void)st;
	(void)type;
	(void)f;
	return remove(path);
}

/* rm -rf */
__attribute__((unused)) static void
remove_tree(const char *path)
{
	nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static char scratch[256];
static pid_t scratch_owner;

__attribute__((unused)) static void
scratch_remove(void)
{
	if (getpid() == scratch_owner)
		remove_tree(scratch);
}

/* Interrupted, too, the test leaves nothing; it waits for its children's
 * reports most of its life, so calling more than a handler may is fine. */
__attribute__((unused)) static void
scratch_interrupted(int sig)
{
	scratch_remove();
	_exit(128 + sig);
}

/*
 * Make the directory `scratch`, without links in its name; it goes at exit.
 * Where the disk plays no part, in_memory saves its time.
 */
__attribute__((unused)) static void
scratch_make(int in_memory)
{
	const char *tmp = getenv("TMPDIR");
	char buf[sizeof(scratch) - 32], full[PATH_MAX];

	if (in_memory && access("/dev/shm", W_OK) == 0)
		tmp = "/dev/shm";
	snprintf(buf, sizeof(buf), "%s/kevo-crash.XXXXXX",
	    tmp != NULL && *tmp != '\0' ? tmp : "/tmp");
	if (mkdtemp(buf) == NULL || realpath(buf, full) == NULL ||
	    strlen(full) >= sizeof(scratch))
		bail("%s: cannot make a directory", buf);
	strcpy(scratch, full);
	scratch_owner = getpid();
	atexit(scratch_remove);
	signal(SIGINT, scratch_interrupted);
	signal(SIGTERM, scratch_interrupted);
	signal(SIGHUP, scratch_interrupted);
}

/* The number at the start of a value, which no zero byte ends. */
__attribute__((unused)) static int64_t
number_in(const void *val, size_t len)
{
	char text[24];

	if (len >= sizeof(text))
		len = sizeof(text) - 1;
	memcpy(text, val, len);
	text[len] = '\0';
	return strtoll(text, NULL, 10);
}

__attribute__((unused)) static int
copy_file(const char *from, const char *to)
{
	static char buf[1 << 16];
	int in = open(from, O_RDONLY | O_CLOEXEC);
	int out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	ssize_t n = -1;

	if (in >= 0 && out >= 0)
		while ((n = read(in, buf, sizeof(buf))) > 0)
			if (write(out, buf, (size_t)n) != n) {
				n = -1;
				break;
			}
	if (in >= 0)
		close(in);
	if (out >= 0)
		close(out);
	return n == 0 ? 0 : -1;
}

/* cp -r, but for the names at any depth that equal skip (may be NULL). */
__attribute__((unused)) static void
copy_tree(const char *from, const char *to, const char *skip)
{
	DIR *d = opendir(from);
	struct dirent *e;

	if (d == NULL || mkdir(to, 0777) != 0)
		bail("cannot copy %s", from);
	while ((e = readdir(d)) != NULL) {
		char a[PATH_MAX], b[PATH_MAX];
		struct stat st;

		if (strcmp(e->d_name, ".") == 0 ||
		    strcmp(e->d_name, "..") == 0 ||
		    (skip != NULL && strcmp(e->d_name, skip) == 0))
			continue;
		snprintf(a, sizeof(a), "%s/%s", from, e->d_name);
		snprintf(b, sizeof(b), "%s/%s", to, e->d_name);
		if (stat(a, &st) != 0)
			bail("cannot copy %s", a);
		if (S_ISDIR(st.st_mode))
			copy_tree(a, b, skip);
		else if (copy_file(a, b) != 0)
			bail("cannot copy %s", a);
	}
	closedir(d);
}

/* ---- children ----------------------------------------------------------- */

struct outcome {
	int status;		/* of waitpid(); -1: it hung and was killed */
	int64_t ms;
	char text[1024];	/* what it wrote, zero-ended */
	size_t len;
};

struct child {
	pid_t pid;
	int fd;			/* what it writes; ends with its life */
};

/*
 * Start fn(arg) in a child whose standard output and error are read by
 * child_wait().  It dies with its parent.
 */
__attribute__((unused)) static void
child_start(struct child *c, int (*fn)(void *), void *arg)
{
	int p[2];

	fflush(stdout);
	if (pipe2(p, O_CLOEXEC) != 0 || (c->pid = fork()) < 0)
		bail("cannot start a child");
	if (c->pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dup2(p[1], 1);
		dup2(p[1], 2);
		close(p[0]);
		close(p[1]);
		setvbuf(stdout, NULL, _IOLBF, 0);
		_exit(fn(arg));
	}
	close(p[1]);
	c->fd = p[0];
}

__attribute__((unused)) static void
child_wait(struct child *c, int limit_ms, struct outcome *o)
{
	struct pollfd pfd = { .fd = c->fd, .events = POLLIN };
	int64_t start = now_ms(), left = limit_ms;

	memset(o, 0, sizeof(*o));
	while (left > 0) {
		char buf[512];
		ssize_t n;
		int r = poll(&pfd, 1, (int)left);

		if (r > 0) {
			if ((n = read(c->fd, buf, sizeof(buf))) <= 0)
				break;
			if ((size_t)n > sizeof(o->text) - 1 - o->len)
				n = (ssize_t)(sizeof(o->text) - 1 - o->len);
			memcpy(o->text + o->len, buf, (size_t)n);
			o->len += (size_t)n;
		}
		left = limit_ms - (now_ms() - start);
	}
	if (left <= 0)
		kill(c->pid, SIGKILL);
	while (waitpid(c->pid, &o->status, 0) < 0 && errno == EINTR)
		;
	if (left <= 0)
		o->status = -1;
	o->ms = now_ms() - start;
	close(c->fd);
}

__attribute__((unused)) static void
child_run(struct outcome *o, int limit_ms, int (*fn)(void *), void *arg)
{
	struct child c;

	child_start(&c, fn, arg);
	child_wait(&c, limit_ms, o);
}

/* Did it end by itself with this exit code? */
__attribute__((unused)) static int
exited(const struct outcome *o, int code)
{
	return o->status != -1 && WIFEXITED(o->status) &&
	    WEXITSTATUS(o->status) == code;
}

/* "exit 74", "signal 9", "no end after 5000 ms" */
__attribute__((unused)) static const char *
outcome_name(const struct outcome *o)
{
	static char buf[64];

	if (o->status == -1)
		snprintf(buf, sizeof(buf), "no end after %lld ms",
		    (long long)o->ms);
	else if (WIFSIGNALED(o->status))
		snprintf(buf, sizeof(buf), "signal %d", WTERMSIG(o->status));
	else
		snprintf(buf, sizeof(buf), "exit %d",
		    WEXITSTATUS(o->status));
	return buf;
}

/* In a child: say what is wrong and give the code for "wrong". */
#define WRONG 99
__attribute__((format(printf, 1, 2), unused)) static int
wrong(const char *text, ...)
{
	va_list ap;

	va_start(ap, text);
	vprintf(text, ap);
	va_end(ap);
	putchar('\n');
	fflush(stdout);
	return WRONG;
}

/* In a child: go on only if rc is 0. */
__attribute__((unused)) static void
must(struct kevo *db, int rc, const char *what)
{
	if (rc != 0)
		_exit(wrong("%s: %s", what, db == NULL ? kevo_strerror(rc) :
		    kevo_errmsg(db)));
}

/* The database that this process opened last. */
static char opened[PATH_MAX];

__attribute__((unused)) static struct kevo *
must_open(const char *path, unsigned flags, const struct kevo_options *opt,
    const char *what)
{
	struct kevo *db;
	int rc = kevo_open(path, flags, opt, &db);

	must(db, rc, what);
	snprintf(opened, sizeof(opened), "%s", path);
	return db;
}

__attribute__((unused)) static void
must_close(struct kevo *db, const char *what)
{
	must(NULL, kevo_close(db), what);
}

#endif /* CRASH_H */
