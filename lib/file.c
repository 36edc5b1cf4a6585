#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "coding.h"
#include "env.h"
#include "file.h"
#include "kevo.h"

#ifndef FALLOC_FL_PUNCH_HOLE
#define FALLOC_FL_KEEP_SIZE	0x01
#define FALLOC_FL_PUNCH_HOLE	0x02
#endif

/* As in linux/fs.h and linux/magic.h, which not every libc comes with. */
#define BTRFS_MAGIC	0x9123683e
#define FLAGS_GET	_IOR('f', 1, long)
#define FLAGS_SET	_IOW('f', 2, long)
#define FLAG_NO_COW	0x00800000

/* Append as much of s as there is room for. */
static size_t
append(char *buf, size_t room, size_t at, const char *s)
{
	size_t n = strlen(s);

	if (n > room - 1 - at)
		n = room - 1 - at;
	memcpy(buf + at, s, n);
	buf[at + n] = '\0';
	return at + n;
}

const char *
kv_path(const struct kv_dir *dir, const char *name)
{
	size_t room = sizeof(dir->names->buf[0]), n;
	char *b = dir->names->buf[dir->names->turn ^= 1];

	n = append(b, room, 0, dir->path);
	n = append(b, room, n, "/");
	append(b, room, n, name);
	return b;
}

char *
kv_name(char *buf, const char *before, uint64_t number, const char *after)
{
	char *p = stpcpy(buf, before);

	for (int shift = 60; shift >= 0; shift -= 4)
		*p++ = "0123456789abcdef"[number >> shift & 15];
	return stpcpy(p, after);
}

int
kv_name_number(const char *name, const char *after, uint64_t *number)
{
	uint64_t v = 0;

	for (int i = 0; i < 16; i++) {
		int d = hex_digit_value(name[i]);

		if (d < 0)
			return 0;
		v = v << 4 | (uint64_t)d;
	}
	*number = v;
	return v != 0 && strcmp(name + 16, after) == 0;
}

int
kv_openat(int dirfd, const char *name, int flags, mode_t mode)
{
	int fd, high;

	do
		fd = openat(dirfd, name, flags | O_CLOEXEC | O_NONBLOCK,
		    mode);
	while (fd < 0 && errno == EINTR);
	if (fd < 0 || fd > 2)
		return fd;
	high = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	close(fd);
	return high;
}

int
kv_pwrite(struct kv_env *env, int fd, const char *name, const void *p,
    size_t len, uint64_t off)
{
	const uint8_t *b = p;

	while (len > 0) {
		ssize_t n = pwrite(fd, b, len, (off_t)off);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			if (n == 0)
				errno = EIO;
			return kv_fail_errno(env, name, "write");
		}
		b += n;
		off += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

int
kv_pread(struct kv_env *env, int fd, const char *name, void *p, size_t len,
    uint64_t off)
{
	uint8_t *b = p;

	while (len > 0) {
		ssize_t n = pread(fd, b, len, (off_t)off);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return kv_fail_errno(env, name, "read");
		if (n == 0)
			return kv_fail(env, KEVO_ECORRUPT,
			    "%s: ends at byte %llu, %zu more expected", name,
			    (unsigned long long)off, len);
		b += n;
		off += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

int
kv_read_small(struct kv_env *env, const struct kv_dir *dir, const char *name,
    size_t max, char **out, size_t *len)
{
	const char *full = kv_path(dir, name);
	uint64_t size;
	char *b = NULL;
	int fd, rc;

	fd = kv_openat(dir->fd, name, O_RDONLY, 0);
	if (fd < 0 && errno == ENOENT)
		return kv_fail(env, KEVO_ENODB, "%s: missing", full);
	if (fd < 0)
		return kv_fail_errno(env, full, "open");
	if ((rc = kv_file_stat(env, fd, full, &size, NULL, NULL)) != 0)
		goto out;
	if (size > max) {
		rc = kv_fail(env, KEVO_ENOTDB, "%s: too large", full);
		goto out;
	}
	if ((b = malloc((size_t)size + 1)) == NULL) {
		rc = kv_fail(env, KEVO_ENOMEM, "%s: out of memory", full);
		goto out;
	}
	if ((rc = kv_pread(env, fd, full, b, (size_t)size, 0)) != 0) {
		free(b);
		goto out;
	}
	b[size] = '\0';
	*out = b;
	*len = (size_t)size;
out:
	close(fd);
	return rc;
}

int
kv_write_zeros(struct kv_env *env, int fd, const char *name, uint64_t off,
    uint64_t len)
{
	static uint8_t zeros[1 << 18];	/* const, it would be in the file */
	int rc;

	while (len > 0) {
		size_t n = len < sizeof(zeros) ? (size_t)len : sizeof(zeros);

		if ((rc = kv_pwrite(env, fd, name, zeros, n, off)) != 0)
			return rc;
		off += n;
		len -= n;
	}
	return 0;
}

int
kv_reserve(struct kv_env *env, int fd, const char *name, uint64_t off,
    uint64_t len)
{
	int r;

	/* The system's own call, not libc's posix_fallocate(): one libc
	 * emulates that by writing into the file. */
	do
		r = fallocate(fd, 0, (off_t)off, (off_t)len);
	while (r != 0 && errno == EINTR);
	if (r == 0)
		return 0;
	if (errno == EOPNOTSUPP)
		return kv_write_zeros(env, fd, name, off, len);
	return kv_fail_errno(env, name, "reserve space");
}

/* 1 if what we make must be given to the owner of the database. */
static int
has_owner(const struct kv_dir *dir, struct stat *st)
{
	return geteuid() == 0 && fstatat(dir->fd, "FORMAT", st, 0) == 0;
}

int
kv_give(const struct kv_dir *dir, int fd, mode_t mode)
{
	struct stat st;
	int r = 0;

	if (has_owner(dir, &st))
		r = fchown(fd, st.st_uid, st.st_gid);
	(void)r;
	return fchmod(fd, mode);
}

mode_t
kv_dir_mode(mode_t files)
{
	return files | (files & 0444) >> 2;
}

mode_t
kv_lock_mode(mode_t files)
{
	mode_t w = files & 0222;

	return files & (w | w << 1);
}

int
kv_mkdir(struct kv_env *env, const struct kv_dir *dir, const char *name,
    mode_t files)
{
	struct stat st;
	int r = 0;

	if (mkdirat(dir->fd, name, 0777) != 0)
		return errno == EEXIST ? 0 : kv_fail_errno(env,
		    kv_path(dir, name), "create");
	if (has_owner(dir, &st))
		r = fchownat(dir->fd, name, st.st_uid, st.st_gid, 0);
	(void)r;
	if (fstatat(dir->fd, name, &st, 0) != 0 || fchmodat(dir->fd, name,
	    kv_dir_mode(files) | (st.st_mode & S_ISGID), 0) != 0)
		return kv_fail_errno(env, kv_path(dir, name),
		    "set the mode of");
	return 0;
}

int
kv_zero(struct kv_env *env, int fd, const char *name, uint64_t off,
    uint64_t len)
{
	if (len == 0)
		return 0;
	if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
	    (off_t)off, (off_t)len) == 0)
		return 0;
	return kv_write_zeros(env, fd, name, off, len);
}

void
kv_write_out(int fd, uint64_t off, uint64_t len)
{
	(void)sync_file_range(fd, (off_t)off, (off_t)len,
	    SYNC_FILE_RANGE_WRITE);
}

int
kv_datasync(int fd)
{
	int r;

	do
		r = fdatasync(fd);
	while (r != 0 && errno == EINTR);
	return r == 0 ? 0 : errno;
}

int
kv_sync_dir(struct kv_env *env, const struct kv_dir *dir, const char *name)
{
	int fd, r, rc = 0;

	fd = kv_openat(dir->fd, name, O_RDONLY | O_DIRECTORY, 0);
	if (fd < 0)
		return kv_fail_errno(env, kv_path(dir, name), "open");
	do
		r = fsync(fd);
	while (r != 0 && errno == EINTR);
	if (r != 0)
		rc = kv_fail_errno(env, kv_path(dir, name), "sync");
	close(fd);
	return rc;
}

uint64_t
kv_data_end(int fd, uint64_t size)
{
	off_t at = 0, hole = 0;

	while ((uint64_t)at < size && (at = lseek(fd, at, SEEK_DATA)) >= 0) {
		if ((hole = lseek(fd, at, SEEK_HOLE)) < 0)
			return size;
		at = hole;
	}
	if (at < 0 && errno != ENXIO)
		return size;
	return (uint64_t)hole < size ? (uint64_t)hole : size;
}

/*
 * statx(2) as the kernel has it: one call gives size, identity, birth time
 * and links, and not every C library declares it.
 */
struct statx_time {
	int64_t sec;
	uint32_t nsec;
	int32_t pad;
};

struct statx_buf {
	uint32_t mask, blksize;
	uint64_t attributes;
	uint32_t nlink, uid, gid;
	uint16_t mode, pad;
	uint64_t ino, size, blocks, attributes_mask;
	struct statx_time atime, btime, ctime, mtime;
	uint32_t rdev_major, rdev_minor, dev_major, dev_minor;
	uint64_t spare[14];
};

#define ST_RDONLY_FLAG		1
#define STATX_EMPTY_PATH	0x1000
#define STATX_BASIC_AND_BIRTH	0xfff

int
kv_file_stat(struct kv_env *env, int fd, const char *name, uint64_t *size,
    struct kv_file_id *id, uint32_t *nlink)
{
	struct statx_buf st;

	memset(&st, 0, sizeof(st));
	if (syscall(SYS_statx, fd, "", STATX_EMPTY_PATH,
	    STATX_BASIC_AND_BIRTH, &st) != 0)
		return kv_fail_errno(env, name, "examine");
	if (size != NULL)
		*size = st.size;
	if (nlink != NULL)
		*nlink = st.nlink;
	if (id != NULL) {
		id->dev = ((uint64_t)st.dev_major << 32) | st.dev_minor;
		id->ino = st.ino;
		id->birth_ns = (uint64_t)st.btime.sec * 1000000000u +
		    st.btime.nsec;
	}
	return 0;
}

static int
look_at_fs(struct kv_env *env, const struct kv_dir *dir, struct statfs *fs)
{
	return fstatfs(dir->fd, fs) == 0 ? 0 : kv_fail_errno(env, dir->path,
	    "examine");
}

static uint64_t
fs_unit(const struct statfs *fs)
{
	return (uint64_t)(fs->f_frsize != 0 ? fs->f_frsize : fs->f_bsize);
}

int
kv_free_bytes(struct kv_env *env, const struct kv_dir *dir, uint64_t *bytes)
{
	struct statfs fs;
	int rc = look_at_fs(env, dir, &fs);

	if (rc == 0)
		*bytes = (uint64_t)fs.f_bavail * fs_unit(&fs);
	return rc;
}

int
kv_disk_bytes(struct kv_env *env, const struct kv_dir *dir, uint64_t *bytes)
{
	struct statfs fs;
	int rc = look_at_fs(env, dir, &fs);

	if (rc == 0)
		*bytes = (uint64_t)fs.f_blocks * fs_unit(&fs);
	return rc;
}

int
kv_map(struct kv_env *env, int fd, const char *name, size_t len, int writable,
    void **out)
{
	int prot = writable ? PROT_READ | PROT_WRITE : PROT_READ;
	void *p = mmap(NULL, len, prot, MAP_SHARED, fd, 0);

	if (p == MAP_FAILED)
		return kv_fail_errno(env, name, "map");
	*out = p;
	return 0;
}

void
kv_unmap(void *p, size_t len)
{
	if (p != NULL)
		munmap(p, len);
}

void
kv_map_no_ahead(void *p, size_t len)
{
	(void)madvise(p, len, MADV_RANDOM);
}

void *
kv_map_anon(size_t len)
{
	void *p = mmap(NULL, len, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

void
kv_map_in_large(void *p, size_t len)
{
#ifdef MADV_HUGEPAGE
	(void)madvise(p, len, MADV_HUGEPAGE);
#else
	(void)p;
	(void)len;
#endif
}

void
kv_no_copy_on_write(int fd)
{
	struct statfs fs;
	long flags;

	if (fstatfs(fd, &fs) == 0 && (uint32_t)fs.f_type == BTRFS_MAGIC &&
	    ioctl(fd, FLAGS_GET, &flags) == 0) {
		flags |= FLAG_NO_COW;
		ioctl(fd, FLAGS_SET, &flags);
	}
}

int
kv_fs_supported(int fd, uint64_t *type)
{
	/* ext4, xfs, btrfs, zfs, f2fs, tmpfs, ramfs, overlayfs, bcachefs */
	static const uint32_t known[] = {
		0xef53, 0x58465342, BTRFS_MAGIC, 0x2fc12fc1, 0xf2f52010,
		0x01021994, 0x858458f6, 0x794c7630, 0xca451a4e
	};
	struct statfs fs;

	*type = 0;
	/* On a medium that nobody writes there is nothing to share. */
	if (fstatfs(fd, &fs) != 0 || (fs.f_flags & ST_RDONLY_FLAG) != 0)
		return 1;
	*type = (uint32_t)fs.f_type;
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (*type == known[i])
			return 1;
	return 0;
}

void
kv_boot_id(uint8_t out[16])
{
	char text[64];
	int fd, n = 0;
	ssize_t len;

	memset(out, 0, 16);
	fd = kv_openat(AT_FDCWD, "/proc/sys/kernel/random/boot_id", O_RDONLY,
	    0);
	if (fd < 0)
		return;
	len = read(fd, text, sizeof(text));
	close(fd);
	for (ssize_t i = 0; i < len && n < 32; i++) {
		int d = hex_digit_value(text[i]);

		if (d < 0)
			continue;
		out[n / 2] |= (uint8_t)(n % 2 == 0 ? d << 4 : d);
		n++;
	}
}
