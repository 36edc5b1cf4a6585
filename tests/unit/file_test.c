/*
 * file_test: descriptors, whole reads and writes, reserving and zeroing,
 * syncing, identity, maps, directories.
 */
#include "file.h"

#include <errno.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "env.h"
#include "kevo.h"
#include "tap.h"

static struct kv_env env;
static struct kv_names names;
static struct kv_dir dir = { .names = &names };

static int
open_file(const char *name, int flags)
{
	int fd = kv_openat(dir.fd, name, flags, 0600);

	if (fd < 0)
		tap_bail("%s: %s", name, strerror(errno));
	return fd;
}

static uint64_t
size_of(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 ? (uint64_t)st.st_size : UINT64_MAX;
}

/* ---- opening ----------------------------------------------------------- */

/* In a child whose standard descriptors are closed, all or one of them. */
static int
open_without(unsigned closed)
{
	int status, fd[3];
	pid_t pid = fork();

	if (pid == 0) {
		for (int i = 0; i < 3; i++)
			if (closed & 1u << i)
				close(i);
		for (int i = 0; i < 3; i++) {
			fd[i] = kv_openat(dir.fd, "some", O_RDWR | O_CREAT,
			    0600);
			if (fd[i] < 3 || !(fcntl(fd[i], F_GETFD) &
			    FD_CLOEXEC))
				_exit(1);
		}
		/* And what was closed stays closed. */
		for (int i = 0; i < 3; i++) {
			int want = closed & 1u << i ? -1 : 0;

			if (fcntl(i, F_GETFD) != want)
				_exit(2);
		}
		_exit(0);
	}
	if (waitpid(pid, &status, 0) != pid)
		tap_bail("wait: %s", strerror(errno));
	if (status != 0)
		tap_note("status %#x without %#x", (unsigned)status, closed);
	return status == 0;
}

static void
test_open(void)
{
	int fd;

	for (unsigned closed = 0; closed < 8; closed++)
		expect(open_without(closed));
	tap_report("open: never as a standard descriptor, always cloexec");
	errno = 0;
	fd = kv_openat(dir.fd, "absent", O_RDONLY, 0);
	expect(fd == -1 && errno == ENOENT);
	errno = 0;
	fd = kv_openat(dir.fd, "some", O_RDONLY | O_DIRECTORY, 0);
	expect(fd == -1 && errno == ENOTDIR);
	tap_report("open: errno tells why it failed");
}

static void
test_path(void)
{
	const char *a = kv_path(&dir, "one"), *b = kv_path(&dir, "two");
	char *longer = tap_alloc(4000);
	struct kv_dir deep = { -1, longer, &names };

	expect(strncmp(a, tap_dir, strlen(tap_dir)) == 0 &&
	    strcmp(a + strlen(tap_dir), "/one") == 0);
	expect(strcmp(b + strlen(tap_dir), "/two") == 0);
	memset(longer, 'd', 3999);
	longer[3999] = '\0';
	expect(strlen(kv_path(&deep, "x")) < sizeof(names.buf[0]));
	free(longer);
	tap_report("path: two at a time, cut to what a message holds");
}

/* ---- reading and writing ----------------------------------------------- */

static void
test_read_write(void)
{
	size_t len = 3000000;
	uint8_t *a = tap_alloc(len), *b = tap_alloc(len);
	int fd = open_file("data", O_RDWR | O_CREAT);

	tap_fill(a, len);
	expect(kv_pwrite(&env, fd, "data", a, len, 12345) == 0);
	expect(size_of(fd) == len + 12345);
	expect(kv_pread(&env, fd, "data", b, len, 12345) == 0 &&
	    memcmp(a, b, len) == 0);
	expect(kv_pread(&env, fd, "data", b, 12345, 0) == 0 && b[0] == 0 &&
	    b[12344] == 0);
	expect(kv_pwrite(&env, fd, "data", a, 0, 0) == 0 &&
	    kv_pread(&env, fd, "data", b, 0, UINT32_MAX) == 0);
	tap_report("read, write: all of it, where it was asked for");
	expect(kv_pread(&env, fd, "D/data", b, 100, len + 12345 - 99) ==
	    KEVO_ECORRUPT && strstr(env.msg, "D/data") != NULL &&
	    strstr(env.msg, "1 more expected") != NULL);
	expect(kv_pread(&env, fd, "data", b, 1, len * 2) == KEVO_ECORRUPT);
	tap_report("read: past the end is damage, and says where");
	close(fd);
	fd = open_file("data", O_RDONLY);
	expect(kv_pwrite(&env, fd, "D/data", a, 1, 0) == KEVO_EIO &&
	    strstr(env.msg, "D/data: cannot write") != NULL);
	close(fd);
	fd = open_file("data", O_WRONLY);
	expect(kv_pread(&env, fd, "D/data", a, 1, 0) == KEVO_EIO &&
	    strstr(env.msg, "D/data: cannot read") != NULL);
	close(fd);
	fd = kv_openat(AT_FDCWD, "/dev/full", O_WRONLY, 0);
	if (fd >= 0) {
		expect(kv_pwrite(&env, fd, "full", a, 100, 0) == KEVO_EIO &&
		    strstr(env.msg, strerror(ENOSPC)) != NULL);
		close(fd);
	}
	tap_report("read, write: a failed one names file and reason");
	free(a);
	free(b);
}

/* A file may not grow past 64 KiB here. */
static int
write_to_limit(void)
{
	struct rlimit r = { 65536, 65536 };
	uint8_t b[1000];
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		int fd = open_file("limited", O_RDWR | O_CREAT), rc;

		signal(SIGXFSZ, SIG_IGN);
		setrlimit(RLIMIT_FSIZE, &r);
		memset(b, 7, sizeof(b));
		rc = kv_pwrite(&env, fd, "limited", b, sizeof(b),
		    65536 - 300);
		if (rc != KEVO_EIO || size_of(fd) != 65536)
			_exit(1);
		if (kv_reserve(&env, fd, "limited", 65536, 4096) != KEVO_EIO)
			_exit(2);
		if (kv_write_zeros(&env, fd, "limited", 60000, 9000) !=
		    KEVO_EIO)
			_exit(3);
		_exit(0);
	}
	if (waitpid(pid, &status, 0) != pid)
		tap_bail("wait: %s", strerror(errno));
	if (status != 0)
		tap_note("status %#x", (unsigned)status);
	return status == 0;
}

static void
test_limit(void)
{
	expect(write_to_limit());
	tap_report("write: a short one goes on, and ends with the reason");
}

static void
test_read_small(void)
{
	char *text = NULL;
	size_t len = 0;
	int fd = open_file("small", O_RDWR | O_CREAT);

	expect(kv_read_small(&env, &dir, "small", 0, &text, &len) == 0 &&
	    len == 0 && text[0] == '\0');
	free(text);
	expect(kv_pwrite(&env, fd, "small", "abc\0def", 7, 0) == 0);
	expect(kv_read_small(&env, &dir, "small", 7, &text, &len) == 0 &&
	    len == 7 && memcmp(text, "abc\0def", 8) == 0);
	free(text);
	text = NULL;
	expect(kv_read_small(&env, &dir, "small", 6, &text, &len) ==
	    KEVO_ENOTDB && text == NULL &&
	    strstr(env.msg, "small: too large") != NULL);
	expect(kv_read_small(&env, &dir, "absent", 6, &text, &len) ==
	    KEVO_ENODB && strstr(env.msg, "absent: missing") != NULL);
	expect(kv_read_small(&env, &dir, ".", 1 << 20, &text, &len) < 0 &&
	    text == NULL);
	tap_report("small files: whole, with a zero behind, up to the limit");
	close(fd);
}

/* ---- space ------------------------------------------------------------- */

static void
test_reserve(void)
{
	int fd = open_file("reserved", O_RDWR | O_CREAT);
	uint8_t b[4096];
	struct stat st;

	expect(kv_reserve(&env, fd, "reserved", 0, 10000) == 0);
	expect(fstat(fd, &st) == 0 && st.st_size == 10000 &&
	    st.st_blocks * 512 >= 10000);
	expect(kv_reserve(&env, fd, "reserved", 10000, 10000) == 0 &&
	    size_of(fd) == 20000);
	expect(kv_pread(&env, fd, "reserved", b, sizeof(b), 15000) == 0 &&
	    b[0] == 0 && memcmp(b, b + 1, sizeof(b) - 1) == 0);
	tap_report("reserve: the bytes exist, and are zeros");
	close(fd);
	fd = open_file("reserved", O_RDONLY);
	expect(kv_reserve(&env, fd, "D/reserved", 0, 4096) < 0 &&
	    strstr(env.msg, "D/reserved: cannot reserve") != NULL);
	tap_report("reserve: a failure names the file");
	close(fd);
}

static void
test_zero(void)
{
	static const struct { uint64_t off, len; } part[] = {
		{ 0, 1 }, { 5, 0 }, { 1, 4095 }, { 4096, 4096 },
		{ 4000, 300000 }, { 599999, 1 }, { 590000, 10000 }
	};
	size_t size = 600000;
	uint8_t *a = tap_alloc(size), *b = tap_alloc(size);
	int fd = open_file("zeroed", O_RDWR | O_CREAT);

	for (int hole = 0; hole < 2; hole++)
		for (size_t i = 0; i < sizeof(part) / sizeof(part[0]); i++) {
			uint64_t off = part[i].off, len = part[i].len;

			tap_fill(a, size);
			expect(kv_pwrite(&env, fd, "z", a, size, 0) == 0);
			expect((hole ? kv_zero(&env, fd, "z", off, len) :
			    kv_write_zeros(&env, fd, "z", off, len)) == 0);
			memset(a + off, 0, len);
			expect(size_of(fd) == size && kv_pread(&env, fd, "z",
			    b, size, 0) == 0 && memcmp(a, b, size) == 0);
		}
	tap_report("zero: exactly the bytes that were named");
	expect(kv_write_zeros(&env, fd, "z", size - 10, 300000) == 0 &&
	    size_of(fd) == size + 300000 - 10);
	tap_report("zero: written zeros make the file longer");
	close(fd);
	free(a);
	free(b);
}

static void
test_data_end(void)
{
	uint64_t size = 1 << 20, end;
	int fd = open_file("holes", O_RDWR | O_CREAT);

	expect(ftruncate(fd, (off_t)size) == 0);
	end = kv_data_end(fd, size);
	expect(end == 0 || end == size);
	for (int i = 0; i < 60; i++) {
		uint64_t off = tap_below(size - 10);

		expect(ftruncate(fd, 0) == 0 &&
		    ftruncate(fd, (off_t)size) == 0);
		expect(kv_pwrite(&env, fd, "holes", "x", 1, off / 3) == 0);
		expect(kv_pwrite(&env, fd, "holes", "0123456789", 10, off) ==
		    0);
		end = kv_data_end(fd, size);
		expect(end >= off + 10 && end <= size);
		end = kv_data_end(fd, off + 10);
		expect(end == off + 10);
	}
	expect(kv_write_zeros(&env, fd, "holes", 0, size) == 0 &&
	    kv_data_end(fd, size) == size);
	expect(ftruncate(fd, 0) == 0 && kv_data_end(fd, 0) == 0);
	tap_report("data's end: behind all that was written");
	close(fd);
}

/* ---- syncing, identity, maps ------------------------------------------- */

static void
test_sync(void)
{
	int fd = open_file("synced", O_RDWR | O_CREAT), p[2];

	expect(kv_datasync(fd) == 0);
	close(fd);
	expect(kv_datasync(fd) == EBADF);
	expect(pipe(p) == 0 && kv_datasync(p[1]) == EINVAL);
	close(p[0]);
	close(p[1]);
	expect(kv_sync_dir(&env, &dir, ".") == 0);
	expect(kv_sync_dir(&env, &dir, "absent") == KEVO_EIO &&
	    strstr(env.msg, "absent: cannot open") != NULL);
	expect(kv_sync_dir(&env, &dir, "synced") == KEVO_EIO);
	tap_report("sync: files and directories, or the errno");
}

static void
test_stat(void)
{
	int fd = open_file("a", O_RDWR | O_CREAT), other;
	struct kv_file_id x, y, z;
	uint64_t size;
	uint32_t nlink;

	expect(kv_pwrite(&env, fd, "a", "12345", 5, 0) == 0);
	expect(kv_file_stat(&env, fd, "a", &size, &x, &nlink) == 0 &&
	    size == 5 && nlink == 1);
	expect(linkat(dir.fd, "a", dir.fd, "b", 0) == 0 &&
	    kv_file_stat(&env, fd, "a", NULL, NULL, &nlink) == 0 &&
	    nlink == 2);
	expect(renameat(dir.fd, "a", dir.fd, "c") == 0);
	other = open_file("c", O_RDONLY);
	expect(kv_file_stat(&env, other, "c", NULL, &y, NULL) == 0 &&
	    x.dev == y.dev && x.ino == y.ino && x.birth_ns == y.birth_ns);
	close(other);
	unlinkat(dir.fd, "b", 0);
	unlinkat(dir.fd, "c", 0);
	expect(kv_file_stat(&env, fd, "a", NULL, NULL, &nlink) == 0 &&
	    nlink == 0);
	other = open_file("d", O_RDWR | O_CREAT);
	expect(kv_file_stat(&env, other, "d", NULL, &z, NULL) == 0 &&
	    (z.ino != x.ino || z.birth_ns != x.birth_ns));
	tap_report("identity: of the file, not of its name");
	close(other);
	close(fd);
	expect(kv_file_stat(&env, fd, "D/gone", &size, NULL, NULL) ==
	    KEVO_EIO && strstr(env.msg, "D/gone: cannot examine") != NULL);
	tap_report("identity: a failure names the file");
}

static void
test_map(void)
{
	int fd = open_file("mapped", O_RDWR | O_CREAT);
	uint8_t b[4] = { 0 };
	void *p, *q;

	/* Longer than the file: the rest comes to exist later. */
	expect(kv_reserve(&env, fd, "m", 0, 4096) == 0);
	if (!expect(kv_map(&env, fd, "m", 1 << 20, 1, &p) == 0 &&
	    kv_map(&env, fd, "m", 1 << 20, 0, &q) == 0))
		tap_bail("%s", env.msg);
	memcpy(p, "abcd", 4);
	expect(memcmp(q, "abcd", 4) == 0);
	expect(kv_pread(&env, fd, "m", b, 4, 0) == 0 &&
	    memcmp(b, "abcd", 4) == 0);
	expect(kv_reserve(&env, fd, "m", 4096, 4096) == 0);
	memcpy((char *)p + 5000, "later", 5);
	expect(memcmp((char *)q + 5000, "later", 5) == 0);
	kv_unmap(p, 1 << 20);
	kv_unmap(q, 1 << 20);
	kv_unmap(NULL, 1 << 20);
	close(fd);
	fd = open_file("mapped", O_RDONLY);
	expect(kv_map(&env, fd, "D/m", 4096, 1, &p) == KEVO_EPERM &&
	    strstr(env.msg, "D/m: cannot map") != NULL);
	close(fd);
	p = kv_map_anon((size_t)1 << 32);
	if (expect(p != NULL)) {
		((char *)p)[1 << 30] = 1;
		expect(((char *)p)[(1 << 30) + 1] == 0);
		kv_unmap(p, (size_t)1 << 32);
	}
	tap_report("map: shared, and it grows with the file");
}

static void
test_system(void)
{
	uint8_t a[16], b[16], zero[16] = { 0 };
	uint64_t type;
	int fd;

	kv_boot_id(a);
	kv_boot_id(b);
	expect(memcmp(a, b, 16) == 0);
	expect(memcmp(a, zero, 16) != 0 ||
	    access("/proc/sys/kernel/random/boot_id", R_OK) != 0);
	expect(kv_fs_supported(dir.fd, &type) == 1 && type != 0);
	expect(kv_fs_supported(-1, &type) == 1 && type == 0);
	/* procfs stands for what is not on the list, as are network ones. */
	if ((fd = open("/proc/self", O_RDONLY | O_DIRECTORY)) >= 0) {
		expect(kv_fs_supported(fd, &type) == 0 && type == 0x9fa0);
		close(fd);
	}
	tap_report("system: the boot has a name, the file system a type");
}

/* ---- directories ------------------------------------------------------- */

static void
test_list(void)
{
	unsigned seen = 0;
	const char *name;
	DIR *d;
	int rc;

	expect(kv_mkdir(&env, &dir, "list", 0640) == 0);
	close(open_file("list/a", O_RDWR | O_CREAT));
	close(open_file("list/.b", O_RDWR | O_CREAT));
	expect((rc = kv_list_open(&env, &dir, "list", 0, &d)) == 0);
	while ((name = kv_list_next(&env, &dir, "list", d, &rc)) != NULL)
		seen += strcmp(name, "a") == 0 ? 1 :
		    strcmp(name, ".b") == 0 ? 10 : 100;
	expect(seen == 11 && rc == 0);
	tap_report("list: every name but . and ..");

	/* Whoever closes it under our hands makes reading fail. */
	rewinddir(d);
	close(dirfd(d));
	while (kv_list_next(&env, &dir, "list", d, &rc) != NULL)
		;
	expect(rc == KEVO_EIO && strstr(env.msg, "list: cannot read") != NULL);
	closedir(d);
	tap_report("list: an error of reading is not its end");

	expect(kv_list_open(&env, &dir, "none", 1, &d) == 0 && d == NULL);
	expect(kv_list_open(&env, &dir, "none", 0, &d) == KEVO_EIO &&
	    d == NULL && strstr(env.msg, "none: cannot open") != NULL);
	expect(kv_list_open(&env, &dir, "list/a", 1, &d) == KEVO_EIO);
	tap_report("list: one that is missing, where it may lack and not");
}

static void
test_modes(void)
{
	struct stat st;

	expect(kv_dir_mode(0600) == 0700 && kv_dir_mode(0640) == 0750 &&
	    kv_dir_mode(0664) == 0775 && kv_dir_mode(0620) == 0720);
	expect(kv_dir_mode(kv_dir_mode(0644)) == kv_dir_mode(0644));
	expect(kv_lock_mode(0600) == 0600 && kv_lock_mode(0644) == 0600 &&
	    kv_lock_mode(0664) == 0660 && kv_lock_mode(0622) == 0622);
	expect(fstatat(dir.fd, "list", &st, 0) == 0 &&
	    (st.st_mode & 0777) == 0750);
	tap_report("modes: of directories and of LOCK, from that of files");
}

int
main(void)
{
	tap_start("file");
	dir.path = tap_dir;
	dir.fd = open(tap_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	test_open();
	test_path();
	test_read_write();
	test_limit();
	test_read_small();
	test_reserve();
	test_zero();
	test_data_end();
	test_sync();
	test_stat();
	test_map();
	test_system();
	test_list();
	test_modes();
	close(dir.fd);
	return tap_end();
}
