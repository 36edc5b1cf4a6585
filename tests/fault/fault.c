/*
 * fault: a preloaded library that lets the k-th system call fail.
 *
 * It stands between a program and the calls by which it reaches files, and
 * looks only at those that touch the directory KEVO_FAULT_DIR or something
 * in it.  Everything else passes.
 *
 *   KEVO_FAULT_DIR=DIR      an absolute path without symbolic links; DIR
 *                           itself need not exist
 *   KEVO_FAULT=CALL:K:WHAT  what happens at the K-th call (from 1) of CALL
 *   KEVO_FAULT_COUNT=FILE   rewritten at each counted call, so that it is
 *                           right however the program ends:
 *                               calls N     counted calls of CALL
 *                               fired TEXT  the call struck; - if none yet
 *   KEVO_FAULT_SHADOW=DIR2  keep there what a power cut cannot take: after
 *                           a sync the file's bytes as DIR2/INODE, a
 *                           directory's entries as lines `INODE NAME` in
 *                           DIR2/INODE.dir; DIR's parent is watched too
 *
 * CALL is one of the names in calls[] below, or a group: any (all of them),
 * xfer (those that move bytes and may move fewer), space (those that may
 * find a disk full), sync.
 *
 * WHAT is the name of an errno, with ":sticky" for every call from the K-th
 * on; or short, half of the bytes; or kill, SIGKILL instead of the call; or
 * killafter, SIGKILL when the call has been done.
 *
 * A program linked statically does not see any of this.
 */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum call {
	OPEN, READ, PREAD, WRITE, PWRITE, FDATASYNC, FSYNC, FTRUNCATE,
	FALLOCATE, MMAP, FCNTL, RENAME, LINK, UNLINK, MKDIR, CALLS
};

enum group { ANY = 1, XFER = 2, SPACE = 4, SYNC = 8 };

static const struct {
	const char *name;
	unsigned groups;
} calls[CALLS] = {
	[OPEN] = { "open", ANY | SPACE },
	[READ] = { "read", ANY | XFER },
	[PREAD] = { "pread", ANY | XFER },
	[WRITE] = { "write", ANY | XFER | SPACE },
	[PWRITE] = { "pwrite", ANY | XFER | SPACE },
	[FDATASYNC] = { "fdatasync", ANY | SYNC },
	[FSYNC] = { "fsync", ANY | SYNC },
	[FTRUNCATE] = { "ftruncate", ANY | SPACE },
	[FALLOCATE] = { "fallocate", ANY | SPACE },
	[MMAP] = { "mmap", ANY },
	[FCNTL] = { "fcntl", ANY },
	[RENAME] = { "rename", ANY | SPACE },
	[LINK] = { "link", ANY | SPACE },
	[UNLINK] = { "unlink", ANY },
	[MKDIR] = { "mkdir", ANY | SPACE }
};

static const struct {
	const char *name;
	unsigned group;
} groups[] = {
	{ "any", ANY }, { "xfer", XFER }, { "space", SPACE }, { "sync", SYNC }
};

static const struct {
	const char *name;
	int err;
} errors[] = {
	{ "ENOSPC", ENOSPC }, { "EIO", EIO }, { "EINTR", EINTR },
	{ "EAGAIN", EAGAIN }, { "EACCES", EACCES }, { "EROFS", EROFS },
	{ "ENOMEM", ENOMEM }, { "EDQUOT", EDQUOT }, { "EMFILE", EMFILE },
	{ "EMLINK", EMLINK }, { "ENOLCK", ENOLCK }
};

enum what { NOTHING, ERROR, SHORT, KILL, KILLAFTER };

static struct {
	char dir[PATH_MAX];
	size_t dir_len;
	size_t parent_len;
	const char *shadow;
	unsigned group;			/* 0: the call below alone */
	enum call call;
	unsigned long k;
	enum what what;
	int err;
	int sticky;
	int count_fd;
	unsigned long seen;
	char fired[PATH_MAX + 32];
} plan = { .count_fd = -1, .fired = "-" };

/* The next definition of a function, libc's. */
#define REAL(type, name, ...) \
	static type (*real)(__VA_ARGS__); \
	if (real == NULL) \
		*(void **)&real = dlsym(RTLD_NEXT, name)

static ssize_t
real_pwrite(int fd, const void *p, size_t len, off_t off)
{
	REAL(ssize_t, "pwrite", int, const void *, size_t, off_t);
	return real(fd, p, len, off);
}

/* ---- the plan ----------------------------------------------------------- */

static void
bad_plan(const char *text)
{
	fprintf(stderr, "fault: KEVO_FAULT=%s is not understood\n", text);
	_exit(125);
}

static int
parse_call(const char *name)
{
	for (size_t i = 0; i < sizeof(groups) / sizeof(groups[0]); i++)
		if (strcmp(name, groups[i].name) == 0) {
			plan.group = groups[i].group;
			return 0;
		}
	for (int i = 0; i < CALLS; i++)
		if (strcmp(name, calls[i].name) == 0) {
			plan.call = (enum call)i;
			return 0;
		}
	return -1;
}

static int
parse_what(const char *name)
{
	if (strcmp(name, "short") == 0)
		plan.what = SHORT;
	else if (strcmp(name, "kill") == 0)
		plan.what = KILL;
	else if (strcmp(name, "killafter") == 0)
		plan.what = KILLAFTER;
	for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++)
		if (strcmp(name, errors[i].name) == 0) {
			plan.what = ERROR;
			plan.err = errors[i].err;
		}
	return plan.what == NOTHING ? -1 : 0;
}

static void
parse(const char *text)
{
	char copy[128], *call, *k, *what, *more, *rest;

	snprintf(copy, sizeof(copy), "%s", text);
	call = strtok_r(copy, ":", &rest);
	k = strtok_r(NULL, ":", &rest);
	what = strtok_r(NULL, ":", &rest);
	more = strtok_r(NULL, ":", &rest);
	if (what == NULL || parse_call(call) != 0 || parse_what(what) != 0 ||
	    (more != NULL && strcmp(more, "sticky") != 0))
		bad_plan(text);
	plan.sticky = more != NULL;
	plan.k = strtoul(k, NULL, 10);
}

static void
report(void)
{
	char text[sizeof(plan.fired) + 64];
	int n;

	if (plan.count_fd < 0)
		return;
	n = snprintf(text, sizeof(text), "calls %lu\nfired %s\n", plan.seen,
	    plan.fired);
	real_pwrite(plan.count_fd, text, (size_t)n, 0);
}

__attribute__((constructor)) static void
begin(void)
{
	const char *dir = getenv("KEVO_FAULT_DIR");
	const char *fault = getenv("KEVO_FAULT");
	const char *count = getenv("KEVO_FAULT_COUNT");
	REAL(int, "open", const char *, int, ...);

	plan.group = ANY;
	if (fault != NULL && *fault != '\0') {
		plan.group = 0;
		parse(fault);
	}
	if (count != NULL)
		plan.count_fd = real(count, O_WRONLY | O_CREAT | O_TRUNC |
		    O_CLOEXEC, 0666);
	report();
	if (dir != NULL && dir[0] == '/') {
		snprintf(plan.dir, sizeof(plan.dir), "%s", dir);
		plan.dir_len = strlen(plan.dir);
		plan.parent_len = (size_t)(strrchr(dir, '/') - dir);
	}
	plan.shadow = getenv("KEVO_FAULT_SHADOW");
}

/* ---- which calls concern the directory ---------------------------------- */

static int
inside(const char *path)
{
	return plan.dir_len > 0 &&
	    strncmp(path, plan.dir, plan.dir_len) == 0 &&
	    (path[plan.dir_len] == '/' || path[plan.dir_len] == '\0');
}

/* The directory that has DIR's name in it: only its syncs count. */
static int
is_parent(const char *path)
{
	return plan.parent_len > 0 && strlen(path) == plan.parent_len &&
	    strncmp(path, plan.dir, plan.parent_len) == 0;
}

static void
fd_path(int fd, char *buf, size_t size)
{
	char link[64];
	ssize_t n;
	int saved = errno;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, buf, size - 1);
	buf[n < 0 ? 0 : n] = '\0';
	errno = saved;
}

static void
at_path(int dirfd, const char *name, char *buf, size_t size)
{
	char dir[PATH_MAX];
	int saved = errno;

	if (name[0] == '/') {
		snprintf(buf, size, "%s", name);
		return;
	}
	if (dirfd == AT_FDCWD) {
		if (getcwd(dir, sizeof(dir)) == NULL)
			dir[0] = '\0';
	} else
		fd_path(dirfd, dir, sizeof(dir));
	if (strcmp(name, ".") == 0)
		snprintf(buf, size, "%s", dir);
	else if (strncmp(name, "./", 2) == 0)
		snprintf(buf, size, "%s/%s", dir, name + 2);
	else
		snprintf(buf, size, "%s/%s", dir, name);
	errno = saved;
}

/* ---- the fault ---------------------------------------------------------- */

static int
is_meant(enum call call)
{
	return plan.group != 0 ? (calls[call].groups & plan.group) != 0 :
	    call == plan.call;
}

static void
die(void)
{
	kill(getpid(), SIGKILL);
	for (;;)
		pause();
}

/* Before a call on path: what is to happen to it.  ERROR has set errno. */
static enum what
gate(enum call call, const char *path)
{
	int saved = errno;

	if (!inside(path) && !(call == FSYNC && is_parent(path)))
		return NOTHING;
	if (!is_meant(call))
		return NOTHING;
	plan.seen++;
	if (plan.what == NOTHING || plan.seen < plan.k ||
	    (plan.seen > plan.k && !plan.sticky)) {
		report();
		errno = saved;
		return NOTHING;
	}
	if (plan.seen == plan.k)
		snprintf(plan.fired, sizeof(plan.fired), "%s %s",
		    calls[call].name, inside(path) ? path + plan.dir_len :
		    "..");
	report();
	if (plan.what == KILL)
		die();
	errno = plan.what == ERROR ? plan.err : saved;
	return plan.what;
}

static enum what
gate_fd(enum call call, int fd)
{
	char path[PATH_MAX];

	if (fd < 0 || plan.dir_len == 0)
		return NOTHING;
	fd_path(fd, path, sizeof(path));
	return gate(call, path);
}

static enum what
gate_at(enum call call, int dirfd, const char *name)
{
	char path[2 * PATH_MAX];

	if (plan.dir_len == 0)
		return NOTHING;
	at_path(dirfd, name, path, sizeof(path));
	return gate(call, path);
}

/* Half of a transfer, but a byte at least: none would mean the end. */
static size_t
half(enum what what, size_t len)
{
	return what == SHORT && len > 1 ? len / 2 : len;
}

/* ---- what is on disk ---------------------------------------------------- */

static void
keep_entries(FILE *f, const char *path)
{
	DIR *d = opendir(path);
	struct dirent *e;

	while (d != NULL && (e = readdir(d)) != NULL)
		if (strcmp(e->d_name, ".") != 0 &&
		    strcmp(e->d_name, "..") != 0)
			fprintf(f, "%" PRIu64 " %s\n", (uint64_t)e->d_ino,
			    e->d_name);
	if (d != NULL)
		closedir(d);
}

static void
keep_bytes(FILE *f, const char *path)
{
	char buf[65536];
	FILE *in = fopen(path, "r");
	size_t n;

	while (in != NULL && (n = fread(buf, 1, sizeof(buf), in)) > 0)
		fwrite(buf, 1, n, f);
	if (in != NULL)
		fclose(in);
}

/* After a sync of fd.  stdio's own calls do not come here. */
static void
keep(int fd)
{
	char path[PATH_MAX], link[64], to[PATH_MAX], tmp[PATH_MAX];
	struct stat st;
	FILE *f;

	if (plan.shadow == NULL || fstat(fd, &st) != 0)
		return;
	fd_path(fd, path, sizeof(path));
	if (!inside(path) && !is_parent(path))
		return;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	snprintf(tmp, sizeof(tmp), "%s/tmp", plan.shadow);
	snprintf(to, sizeof(to), "%s/%" PRIu64 "%s", plan.shadow,
	    (uint64_t)st.st_ino, S_ISDIR(st.st_mode) ? ".dir" : "");
	if ((f = fopen(tmp, "w")) == NULL) {
		fprintf(stderr, "fault: %s: %s\n", tmp, strerror(errno));
		_exit(125);
	}
	if (S_ISDIR(st.st_mode))
		keep_entries(f, link);
	else
		keep_bytes(f, link);
	fclose(f);
	rename(tmp, to);
}

/* ---- the calls ----------------------------------------------------------- */

#define FAIL_OR(what, call) do { \
	if ((what) == ERROR) \
		return -1; \
	call; \
	if ((what) == KILLAFTER) \
		die(); \
	return r; \
} while (0)

#define OPEN_BODY(dirfd, name, flags, sym) \
	enum what what; \
	va_list ap; \
	mode_t mode = 0; \
	int r; \
	REAL(int, sym, int, const char *, int, ...); \
	va_start(ap, flags); \
	if (((flags) & O_CREAT) || ((flags) & O_TMPFILE) == O_TMPFILE) \
		mode = va_arg(ap, mode_t); \
	va_end(ap); \
	what = gate_at(OPEN, dirfd, name); \
	FAIL_OR(what, r = real(dirfd, name, flags, mode))

int
openat(int dirfd, const char *name, int flags, ...)
{
	OPEN_BODY(dirfd, name, flags, "openat");
}

int
openat64(int dirfd, const char *name, int flags, ...)
{
	OPEN_BODY(dirfd, name, flags, "openat64");
}

int
open(const char *name, int flags, ...)
{
	OPEN_BODY(AT_FDCWD, name, flags, "openat");
}

int
open64(const char *name, int flags, ...)
{
	OPEN_BODY(AT_FDCWD, name, flags, "openat64");
}

ssize_t
read(int fd, void *p, size_t len)
{
	enum what what = gate_fd(READ, fd);
	ssize_t r;
	REAL(ssize_t, "read", int, void *, size_t);

	FAIL_OR(what, r = real(fd, p, half(what, len)));
}

ssize_t
write(int fd, const void *p, size_t len)
{
	enum what what = gate_fd(WRITE, fd);
	ssize_t r;
	REAL(ssize_t, "write", int, const void *, size_t);

	FAIL_OR(what, r = real(fd, p, half(what, len)));
}

#define PREAD_BODY(sym) \
	enum what what = gate_fd(PREAD, fd); \
	ssize_t r; \
	REAL(ssize_t, sym, int, void *, size_t, off_t); \
	FAIL_OR(what, r = real(fd, p, half(what, len), off))

ssize_t
pread(int fd, void *p, size_t len, off_t off)
{
	PREAD_BODY("pread");
}

ssize_t
pread64(int fd, void *p, size_t len, off64_t off)
{
	PREAD_BODY("pread64");
}

#define PWRITE_BODY(sym) \
	enum what what = gate_fd(PWRITE, fd); \
	ssize_t r; \
	REAL(ssize_t, sym, int, const void *, size_t, off_t); \
	FAIL_OR(what, r = real(fd, p, half(what, len), off))

ssize_t
pwrite(int fd, const void *p, size_t len, off_t off)
{
	PWRITE_BODY("pwrite");
}

ssize_t
pwrite64(int fd, const void *p, size_t len, off64_t off)
{
	PWRITE_BODY("pwrite64");
}

/* A short vector is half of its first part. */
#define VECTOR_BODY(CALL, sym, params, args) \
	enum what what = gate_fd(CALL, fd); \
	struct iovec first; \
	ssize_t r; \
	REAL(ssize_t, sym, params); \
	if (what == SHORT && n > 0) { \
		first = v[0]; \
		first.iov_len = half(what, first.iov_len); \
		v = &first; \
		n = 1; \
	} \
	FAIL_OR(what, r = real args)
#define COMMA ,

ssize_t
writev(int fd, const struct iovec *v, int n)
{
	VECTOR_BODY(WRITE, "writev", int COMMA const struct iovec * COMMA int,
	    (fd, v, n));
}

ssize_t
pwritev(int fd, const struct iovec *v, int n, off_t off)
{
	VECTOR_BODY(PWRITE, "pwritev",
	    int COMMA const struct iovec * COMMA int COMMA off_t,
	    (fd, v, n, off));
}

ssize_t
pwritev64(int fd, const struct iovec *v, int n, off64_t off)
{
	VECTOR_BODY(PWRITE, "pwritev64",
	    int COMMA const struct iovec * COMMA int COMMA off64_t,
	    (fd, v, n, off));
}

int
fdatasync(int fd)
{
	enum what what = gate_fd(FDATASYNC, fd);
	int r;
	REAL(int, "fdatasync", int);

	FAIL_OR(what, if ((r = real(fd)) == 0) keep(fd));
}

int
fsync(int fd)
{
	enum what what = gate_fd(FSYNC, fd);
	int r;
	REAL(int, "fsync", int);

	FAIL_OR(what, if ((r = real(fd)) == 0) keep(fd));
}

#define FTRUNCATE_BODY(sym) \
	enum what what = gate_fd(FTRUNCATE, fd); \
	int r; \
	REAL(int, sym, int, off_t); \
	FAIL_OR(what, r = real(fd, len))

int
ftruncate(int fd, off_t len)
{
	FTRUNCATE_BODY("ftruncate");
}

int
ftruncate64(int fd, off64_t len)
{
	FTRUNCATE_BODY("ftruncate64");
}

#define FALLOCATE_BODY(sym) \
	enum what what = gate_fd(FALLOCATE, fd); \
	int r; \
	REAL(int, sym, int, int, off_t, off_t); \
	FAIL_OR(what, r = real(fd, mode, off, len))

int
fallocate(int fd, int mode, off_t off, off_t len)
{
	FALLOCATE_BODY("fallocate");
}

int
fallocate64(int fd, int mode, off64_t off, off64_t len)
{
	FALLOCATE_BODY("fallocate64");
}

/* This one returns the error. */
int
posix_fallocate(int fd, off_t off, off_t len)
{
	enum what what = gate_fd(FALLOCATE, fd);
	int r;
	REAL(int, "posix_fallocate", int, off_t, off_t);

	if (what == ERROR)
		return errno;
	r = real(fd, off, len);
	if (what == KILLAFTER)
		die();
	return r;
}

#define MMAP_BODY(sym) \
	enum what what = gate_fd(MMAP, fd); \
	void *r; \
	REAL(void *, sym, void *, size_t, int, int, int, off_t); \
	if (what == ERROR) \
		return MAP_FAILED; \
	r = real(at, len, prot, flags, fd, off); \
	if (what == KILLAFTER) \
		die(); \
	return r

void *
mmap(void *at, size_t len, int prot, int flags, int fd, off_t off)
{
	MMAP_BODY("mmap");
}

void *
mmap64(void *at, size_t len, int prot, int flags, int fd, off64_t off)
{
	MMAP_BODY("mmap64");
}

/* Every argument of fcntl fits a pointer. */
#define FCNTL_BODY(sym) \
	enum what what = gate_fd(FCNTL, fd); \
	va_list ap; \
	void *arg; \
	int r; \
	REAL(int, sym, int, int, ...); \
	va_start(ap, cmd); \
	arg = va_arg(ap, void *); \
	va_end(ap); \
	FAIL_OR(what, r = real(fd, cmd, arg))

int
fcntl(int fd, int cmd, ...)
{
	FCNTL_BODY("fcntl");
}

int
fcntl64(int fd, int cmd, ...)
{
	FCNTL_BODY("fcntl64");
}

int
renameat(int from_fd, const char *from, int to_fd, const char *to)
{
	enum what what = gate_at(RENAME, to_fd, to);
	int r;
	REAL(int, "renameat", int, const char *, int, const char *);

	FAIL_OR(what, r = real(from_fd, from, to_fd, to));
}

int
rename(const char *from, const char *to)
{
	return renameat(AT_FDCWD, from, AT_FDCWD, to);
}

int
renameat2(int from_fd, const char *from, int to_fd, const char *to,
    unsigned flags)
{
	enum what what = gate_at(RENAME, to_fd, to);
	int r;
	REAL(int, "renameat2", int, const char *, int, const char *, unsigned);

	FAIL_OR(what, r = real(from_fd, from, to_fd, to, flags));
}

int
linkat(int from_fd, const char *from, int to_fd, const char *to, int flags)
{
	enum what what = gate_at(LINK, to_fd, to);
	int r;
	REAL(int, "linkat", int, const char *, int, const char *, int);

	FAIL_OR(what, r = real(from_fd, from, to_fd, to, flags));
}

int
link(const char *from, const char *to)
{
	return linkat(AT_FDCWD, from, AT_FDCWD, to, 0);
}

int
unlinkat(int dirfd, const char *name, int flags)
{
	enum what what = gate_at(UNLINK, dirfd, name);
	int r;
	REAL(int, "unlinkat", int, const char *, int);

	FAIL_OR(what, r = real(dirfd, name, flags));
}

int
unlink(const char *name)
{
	return unlinkat(AT_FDCWD, name, 0);
}

int
rmdir(const char *name)
{
	return unlinkat(AT_FDCWD, name, AT_REMOVEDIR);
}

int
mkdirat(int dirfd, const char *name, mode_t mode)
{
	enum what what = gate_at(MKDIR, dirfd, name);
	int r;
	REAL(int, "mkdirat", int, const char *, mode_t);

	FAIL_OR(what, r = real(dirfd, name, mode));
}

int
mkdir(const char *name, mode_t mode)
{
	return mkdirat(AT_FDCWD, name, mode);
}
