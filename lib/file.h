/*
 * file: whole reads and writes, syncing, mapping; what is peculiar to Linux
 * in them.
 *
 * Paths are relative to a directory descriptor; `name` in a message is the
 * database's path and the file's, made by kv_path().  Each function returns
 * 0 or a status with the sentence stored in env, unless said otherwise.
 */
#ifndef KV_FILE_H
#define KV_FILE_H

#include <dirent.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct kv_env;

/* Where a database lives; paths in messages begin with path. */
struct kv_names {
	char buf[2][512];
	int turn;
};

struct kv_dir {
	int fd;			/* of the directory, O_PATH */
	const char *path;
	struct kv_names *names;
};

/* "DIR/NAME" for a message, in one of two buffers that take turns. */
const char *kv_path(const struct kv_dir *dir, const char *name);

/*
 * The name of a file with a number: before, 16 hexadecimal digits, after.
 * Returns where it ends.  Neither of the two uses snprintf(), whose pages of
 * code and stack a one-shot tool would touch for this alone.
 */
char *kv_name(char *buf, const char *before, uint64_t number,
    const char *after);

/* 1 if name is such a number, not 0, and then `after`. */
int kv_name_number(const char *name, const char *after, uint64_t *number);

/*
 * openat() with O_CLOEXEC.  The descriptor is never 0, 1 or 2, so that a
 * program with closed standard streams cannot write into a data file.  It
 * does not wait if somebody put a FIFO in a file's place.
 * Returns it, or -1 with errno set.
 */
int kv_openat(int dirfd, const char *name, int flags, mode_t mode);

/* Write or read exactly len bytes at off, through EINTR and short counts. */
int kv_pwrite(struct kv_env *env, int fd, const char *name, const void *p,
    size_t len, uint64_t off);
int kv_pread(struct kv_env *env, int fd, const char *name, void *p,
    size_t len, uint64_t off);

/* Read a whole small file (at most max bytes) into malloc'd memory with a
 * zero byte after it.  A larger one is KEVO_ENOTDB.  KEVO_ENODB: absent. */
int kv_read_small(struct kv_env *env, const struct kv_dir *dir,
    const char *name, size_t max, char **out, size_t *len);

/* ---- file_list.c ------------------------------------------------------- */

/* Open a directory to list it; *out is NULL, and the result 0, where one that
 * may lack is missing.  To be closed with closedir(). */
int kv_list_open(struct kv_env *env, const struct kv_dir *dir,
    const char *name, int may_lack, DIR **out);

/* The next name in it, but for "." and "..", or NULL: at its end, or with *rc
 * set.  *rc must be 0; it is good until the next call. */
const char *kv_list_next(struct kv_env *env, const struct kv_dir *dir,
    const char *name, DIR *d, int *rc);

/* ---- file.c ------------------------------------------------------------ */

/*
 * Make the bytes off..off+len of a file exist on disk, so that writing them
 * cannot lack space.  Where the file system cannot reserve, zeros are
 * written: only bytes past the used end may be given.
 */
int kv_reserve(struct kv_env *env, int fd, const char *name, uint64_t off,
    uint64_t len);

/*
 * Give a new file its permissions, whatever the umask of the process that
 * happens to make it; and if that is root, the owner of the database, where
 * that is possible.  Returns as fchmod().
 */
int kv_give(const struct kv_dir *dir, int fd, mode_t mode);

/*
 * What follows from the mode of a database's files: that of its directories,
 * who may read files may enter them; and that of LOCK, who may not write must
 * not be able to hold a lock either.
 */
mode_t kv_dir_mode(mode_t files);
mode_t kv_lock_mode(mode_t files);

/* Create a directory below dir, if it is missing, for files of this mode,
 * with what it inherits of its group; in the same way as kv_give(). */
int kv_mkdir(struct kv_env *env, const struct kv_dir *dir, const char *name,
    mode_t files);

/* Overwrite with zeros, or make a hole where the file system can. */
int kv_write_zeros(struct kv_env *env, int fd, const char *name,
    uint64_t off, uint64_t len);
int kv_zero(struct kv_env *env, int fd, const char *name, uint64_t off,
    uint64_t len);

/* Let the system begin to write these bytes to disk, without waiting for it.
 * What fails is told by the sync that must follow. */
void kv_write_out(int fd, uint64_t off, uint64_t len);

/* fdatasync() through EINTR; returns 0 or an errno. */
int kv_datasync(int fd);

/* fsync a directory below dir. */
int kv_sync_dir(struct kv_env *env, const struct kv_dir *dir,
    const char *name);

/*
 * Where the last byte ends that was ever written to a file of size bytes:
 * what follows is a hole.  Holes are not looked at, because some file systems
 * fill them in when they are mapped and read.
 */
uint64_t kv_data_end(int fd, uint64_t size);

struct kv_file_id {
	uint64_t dev, ino, birth_ns;
};

/*
 * For a new, empty file that will be mapped and written in place: keep a file
 * system that copies on write from doing so with this file, for else what was
 * reserved is no promise, and a store into the map can find the disk full.
 * Where that is not to be had, or not needed, nothing happens.
 */
void kv_no_copy_on_write(int fd);

/* Size, identity and link count of an open file; any out may be NULL. */
int kv_file_stat(struct kv_env *env, int fd, const char *name,
    uint64_t *size, struct kv_file_id *id, uint32_t *nlink);

/* Bytes that the file system of a directory has left for us, and in all. */
int kv_free_bytes(struct kv_env *env, const struct kv_dir *dir,
    uint64_t *bytes);
int kv_disk_bytes(struct kv_env *env, const struct kv_dir *dir,
    uint64_t *bytes);

/* Map len bytes shared from the start; more than the file has may be asked
 * for, those come to exist when it grows. */
int kv_map(struct kv_env *env, int fd, const char *name, size_t len,
    int writable, void **out);
void kv_unmap(void *p, size_t len);

/* What is mapped there is new, or was written lately: the system is not to
 * read ahead, which in a file with a hole behind its end means making
 * pages of zeros. */
void kv_map_no_ahead(void *p, size_t len);

/* Anonymous zeroed memory that is not charged until touched; NULL: none.
 * For large pieces that are written from end to end: in large pages, where the
 * system has them. */
void *kv_map_anon(size_t len);
void kv_map_in_large(void *p, size_t len);

/* 1 if the file system of fd has shared locks and maps that kevo knows to
 * work, 0 if not, with its type in *type. */
int kv_fs_supported(int fd, uint64_t *type);

/* The kernel's identity of this boot; all zero if it cannot be read. */
void kv_boot_id(uint8_t out[16]);

#endif /* KV_FILE_H */
