#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../codec.h"
#include "../hash.h"
#include "../kevo.h"
#include "../slots.h"
#include "archive.h"
#include "image.h"
#include "ship.h"

#define ZSTD_LEVEL	3
#define RENAME_NOREPLACE_FLAG	1

/*
 * A file gets its name when its bytes are on disk, by a call that never
 * replaces one.  The temporary file lies beside it, so that both are on one
 * file system; its name begins with a dot and says whose it is.
 */

/* ---- bytes ------------------------------------------------------------- */

static int
write_all(struct kv_archive *a, int fd, const char *path, const void *p,
    size_t len, uint64_t off)
{
	const uint8_t *b = p;
	uint64_t left = 0;
	ssize_t n;
	int rc;

	while (len > 0) {
		n = pwrite(fd, b, len, (off_t)off);
		if (n < 0 && errno == EINTR)
			continue;
		if (n > 0) {
			b += n;
			off += (uint64_t)n;
			len -= (size_t)n;
			continue;
		}
		if (n == 0)
			errno = ENOSPC;
		rc = kv_ship_fail_errno(&a->env, path, "write");
		if (rc == KV_SHIP_NOSPACE && kv_free_bytes(&a->env, &a->dir,
		    &left) == 0)
			rc = kv_ship_fail(&a->env, KV_SHIP_NOSPACE, "%s: the "
			    "disk is full: needs %zu more bytes, %" PRIu64
			    " are free; nothing was published", path, len,
			    left);
		return rc;
	}
	return 0;
}

static int
make_temp(struct kv_archive *a, const char *sub,
    char temp[KV_ARCHIVE_PATH_LEN])
{
	char host[KV_SHIP_HOST_LEN];
	int fd;

	kv_ship_host(host);
	do {
		snprintf(temp, KV_ARCHIVE_PATH_LEN, "%s/.tmp.%s.%ld.%u", sub,
		    host, (long)getpid(), ++a->temps);
		fd = kv_openat(a->dir.fd, temp, O_WRONLY | O_CREAT | O_EXCL,
		    0666);
	} while (fd < 0 && errno == EEXIST);
	return fd;
}

static int
write_temp(struct kv_archive *a, const char *sub, const void *bytes,
    size_t len, char temp[KV_ARCHIVE_PATH_LEN])
{
	int fd = make_temp(a, sub, temp), rc, e;

	if (fd < 0)
		return kv_ship_fail_errno(&a->env, kv_path(&a->dir, temp),
		    "create");
	rc = write_all(a, fd, kv_path(&a->dir, temp), bytes, len, 0);
	if (rc == 0 && (e = kv_datasync(fd)) != 0) {
		errno = e;
		rc = kv_ship_fail_errno(&a->env, kv_path(&a->dir, temp),
		    "sync");
	}
	if (close(fd) != 0 && rc == 0)
		rc = kv_ship_fail_errno(&a->env, kv_path(&a->dir, temp),
		    "close");
	if (rc != 0)
		unlinkat(a->dir.fd, temp, 0);
	return rc;
}

/* ---- names ------------------------------------------------------------- */

/* The same length and bytes?  1, 0, or an error. */
static int
holds(struct kv_archive *a, const char *file, const void *bytes, size_t len)
{
	const char *path = kv_path(&a->dir, file);
	uint8_t *buf = malloc(1 << 16);
	uint64_t size, off = 0;
	int fd = -1, rc = 0;

	if (buf == NULL)
		return kv_fail(&a->env, KEVO_ENOMEM, "%s: out of memory",
		    path);
	fd = kv_openat(a->dir.fd, file, O_RDONLY, 0);
	if (fd < 0)
		rc = kv_fail_errno(&a->env, path, "open");
	else if ((rc = kv_file_stat(&a->env, fd, path, &size, NULL,
	    NULL)) == 0 && size == len) {
		rc = 1;
		while (rc == 1 && off < len) {
			size_t n = len - off < 1 << 16 ? len - (size_t)off :
			    1 << 16;
			int r = kv_pread(&a->env, fd, path, buf, n, off);

			if (r != 0)
				rc = r;
			else if (memcmp(buf, (const uint8_t *)bytes + off,
			    n) != 0)
				rc = 0;
			off += n;
		}
	}
	if (fd >= 0)
		close(fd);
	free(buf);
	return rc;
}

/*
 * On file systems without hard links: a rename that replaces nothing; and
 * where there is no such call, a place is taken by creating it, which only
 * one can, and replaced at once.
 */
static int
no_links(struct kv_archive *a, const char *temp, const char *file)
{
	int fd;

	if (syscall(SYS_renameat2, a->dir.fd, temp, a->dir.fd, file,
	    RENAME_NOREPLACE_FLAG) == 0)
		return 0;
	if (errno == EEXIST)
		return -1;
	fd = kv_openat(a->dir.fd, file, O_WRONLY | O_CREAT | O_EXCL, 0666);
	if (fd < 0)
		return -1;
	close(fd);
	return renameat(a->dir.fd, temp, a->dir.fd, file);
}

static int
give_name(struct kv_archive *a, const char *temp, const char *file)
{
	if (linkat(a->dir.fd, temp, a->dir.fd, file, 0) == 0)
		return 0;
	if (errno != EPERM && errno != EOPNOTSUPP && errno != ENOSYS &&
	    errno != EMLINK && errno != EXDEV)
		return -1;
	return no_links(a, temp, file);
}

static int
name_taken(struct kv_archive *a, const char *temp, const char *file,
    const void *bytes, size_t len)
{
	char ours[KV_HASH128_TEXT];
	int same = holds(a, file, bytes, len);

	if (same == 1)
		return KEVO_FALSE;
	if (same == 0 && len > 0 && kv_archive_is_vacant(a, file)) {
		if (renameat(a->dir.fd, temp, a->dir.fd, file) == 0)
			return 0;
		return kv_ship_fail_errno(&a->env, kv_path(&a->dir, file),
		    "rename");
	}
	if (same < 0)
		return same;
	kv_hash128_of(bytes, len, ours);
	return kv_ship_fail(&a->env, KV_SHIP_CONFLICT, "%s exists with other "
	    "contents than ours (XXH128 %s, %zu bytes); nothing was "
	    "overwritten; next: kevo-walship verify both", kv_path(&a->dir,
	    file), ours, len);
}

int
kv_archive_put(struct kv_archive *a, const char *sub, const char *name,
    const void *bytes, size_t len)
{
	char temp[KV_ARCHIVE_PATH_LEN], file[KV_ARCHIVE_PATH_LEN];
	int rc, synced;

	snprintf(file, sizeof(file), "%s/%s", sub, name);
	if ((rc = write_temp(a, sub, bytes, len, temp)) != 0)
		return rc;
	if (give_name(a, temp, file) != 0)
		rc = errno == EEXIST ? name_taken(a, temp, file, bytes, len) :
		    kv_ship_fail_errno(&a->env, kv_path(&a->dir, file),
		    "create");
	unlinkat(a->dir.fd, temp, 0);
	if (rc != 0 && rc != KEVO_FALSE)
		return rc;
	/* Also where it was there: who made it may have been killed before
	 * this. */
	synced = kv_sync_dir(&a->env, &a->dir, sub);
	return synced != 0 ? synced : rc;
}

/* ---- state ------------------------------------------------------------- */

int
kv_archive_set_state(struct kv_archive *a, const char *name,
    const char *text)
{
	char temp[KV_ARCHIVE_PATH_LEN], file[KV_ARCHIVE_PATH_LEN];
	int rc;

	snprintf(file, sizeof(file), "state/%s", name);
	if ((rc = write_temp(a, "state", text, strlen(text), temp)) != 0)
		return rc;
	if (renameat(a->dir.fd, temp, a->dir.fd, file) == 0)
		return kv_sync_dir(&a->env, &a->dir, "state");
	rc = kv_ship_fail_errno(&a->env, kv_path(&a->dir, file), "rename");
	unlinkat(a->dir.fd, temp, 0);
	return rc;
}

/* One write, so that lines of several do not mix; the kernel puts it behind
 * what is there. */
int
kv_archive_note(struct kv_archive *a, const char *name, const char *line)
{
	char file[KV_ARCHIVE_PATH_LEN];
	size_t len = strlen(line);
	ssize_t n;
	int fd, rc = 0;

	snprintf(file, sizeof(file), "state/%s", name);
	fd = kv_openat(a->dir.fd, file, O_WRONLY | O_CREAT | O_APPEND, 0666);
	if (fd < 0)
		return kv_ship_fail_errno(&a->env, kv_path(&a->dir, file),
		    "open");
	n = write(fd, line, len);
	if (n != (ssize_t)len) {
		if (n >= 0)
			errno = ENOSPC;
		rc = kv_ship_fail_errno(&a->env, kv_path(&a->dir, file),
		    "write");
	}
	close(fd);
	return rc;
}

int
kv_archive_get_state(struct kv_archive *a, const char *name, char **out)
{
	char file[KV_ARCHIVE_PATH_LEN];
	size_t len;

	snprintf(file, sizeof(file), "state/%s", name);
	return kv_read_small(&a->env, &a->dir, file, KV_ARCHIVE_STATE_MAX, out,
	    &len);
}

static int
note_sum(struct kv_archive *a, const char *sub, const char *name,
    const void *bytes, size_t len)
{
	char sum[KV_HASH128_TEXT];
	char line[KV_HASH128_TEXT + KV_ARCHIVE_PATH_LEN + 8];

	kv_hash128_of(bytes, len, sum);
	snprintf(line, sizeof(line), "%s  %s/%s\n", sum, sub, name);
	return kv_archive_note(a, "SUMS", line);
}

/* ---- segments ---------------------------------------------------------- */

static int
conflict(struct kv_archive *a, const char *file)
{
	return kv_ship_fail(&a->env, KV_SHIP_CONFLICT, "%s exists with other "
	    "contents; nothing was overwritten; next: kevo-walship verify "
	    "both", kv_path(&a->dir, file));
}

/* Is it there in a spelling whose bytes are not those we would write?  0 no,
 * KEVO_FALSE yes and the same, KV_SHIP_CONFLICT, or an error. */
static int
look_for(struct kv_archive *a, const struct kv_image *img, int zst)
{
	struct kv_archive_seg s = { img->head.epoch,
		zst ? KV_SPELL_ZST : KV_SPELL_SEG, img->head.first_seq,
		img->last_seq };
	char file[KV_ARCHIVE_PATH_LEN];
	struct kv_image there;
	int rc;

	kv_archive_seg_path(file, &s);
	if (faccessat(a->dir.fd, file, F_OK, 0) != 0 ||
	    kv_archive_is_vacant(a, file))
		return 0;
	rc = kv_image_load(&a->env, a->dir.fd, file, kv_path(&a->dir, file),
	    &there);
	if (rc != 0)
		return rc;
	rc = there.len == img->len && memcmp(there.bytes, img->bytes,
	    (size_t)img->len) == 0 ? KEVO_FALSE : conflict(a, file);
	kv_image_release(&there);
	return rc;
}

/* Both spellings' directory is on disk before anybody relies on it. */
static int
is_there(struct kv_archive *a, const char *sub, const struct kv_image *img)
{
	int rc = look_for(a, img, 1), synced;

	if (rc == 0)
		rc = look_for(a, img, 0);
	if (rc != KEVO_FALSE)
		return rc;
	synced = kv_sync_dir(&a->env, &a->dir, sub);
	return synced != 0 ? synced : rc;
}

int
kv_archive_put_segment(struct kv_archive *a, const struct kv_image *img,
    int zstd)
{
	char sub[32], name[KV_SHIP_NAME_LEN + 4];
	const void *bytes = img->bytes;
	size_t len = (size_t)img->len;
	void *packed = NULL;
	int rc;

	snprintf(sub, sizeof(sub), "wal/%08" PRIx32, img->head.epoch);
	if ((rc = kv_archive_mkdir(a, sub)) != 0 ||
	    (rc = is_there(a, sub, img)) != 0)
		return rc;
	kv_ship_name(name, img->head.epoch, img->head.first_seq,
	    img->last_seq);
	if (zstd) {
		len = kv_zstd_frame(ZSTD_LEVEL, bytes, len, &packed);
		if (len == 0)
			return kv_fail(&a->env, KEVO_ENOMEM,
			    "%s: out of memory", a->path);
		bytes = packed;
		memcpy(name + strlen(name), ".zst", 5);
	}
	rc = kv_archive_put(a, sub, name, bytes, len);
	if (rc == 0)
		rc = note_sum(a, sub, name, bytes, len);
	free(packed);
	return rc;
}

int
kv_archive_put_orphan(struct kv_archive *a, const struct kv_image *img)
{
	char name[KV_SHIP_NAME_LEN], full[KV_SHIP_NAME_LEN + 20];
	int rc;

	kv_ship_name(name, img->head.epoch, img->head.first_seq,
	    img->last_seq);
	rc = kv_archive_put(a, "orphans", name, img->bytes,
	    (size_t)img->len);
	if (rc != KV_SHIP_CONFLICT)
		return rc;
	/* Others of the same numbers are kept, too. */
	name[strlen(name) - 4] = '\0';
	snprintf(full, sizeof(full), "%s.%016" PRIx64 ".seg", name,
	    img->chain);
	return kv_archive_put(a, "orphans", full, img->bytes,
	    (size_t)img->len);
}

/* ---- epochs ------------------------------------------------------------ */

static int
same_epoch(struct kv_archive *a, const struct kv_epoch *known,
    const struct kv_epoch *e)
{
	char x[KV_EPOCH_TEXT_MAX], y[KV_EPOCH_TEXT_MAX];
	size_t n = kv_epoch_print(x, known);

	if (kv_epoch_print(y, e) == n && memcmp(x, y, n) == 0)
		return KEVO_FALSE;
	return kv_ship_fail(&a->env, KV_SHIP_FORK, "%s: epoch %" PRIu32
	    " is %016" PRIx64 " (%s), the input has %016" PRIx64 " (%s): two "
	    "promotions; nothing was taken; next: find out which of both is "
	    "to live", a->path, e->epoch, known->nonce, known->host,
	    e->nonce, e->host);
}

int
kv_archive_put_epoch(struct kv_archive *a, const struct kv_epoch *e)
{
	const struct kv_epoch *known = kv_history_find(&a->history, e->epoch);
	char text[KV_EPOCH_TEXT_MAX], name[KV_EPOCH_NAME_LEN];
	const char *why;
	int rc;

	if (known != NULL)
		return same_epoch(a, known, e);
	if (e->epoch > kv_history_newest(&a->history)->epoch + 1)
		return kv_ship_fail(&a->env, KV_SHIP_WAITING, "%s: epoch %"
		    PRIu32 " is here, epoch %" PRIu32 " before it is not",
		    a->path, e->epoch,
		    kv_history_newest(&a->history)->epoch + 1);
	if ((why = kv_history_refuses(&a->history, e)) != NULL)
		return kv_ship_fail(&a->env, KV_SHIP_FORK, "%s: epoch %"
		    PRIu32 " does not continue its history: %s; nothing was "
		    "taken", a->path, e->epoch, why);
	kv_epoch_name(name, e->epoch);
	rc = kv_archive_put(a, "epochs", name, text, kv_epoch_print(text, e));
	if (rc != 0 && rc != KEVO_FALSE)
		return rc;
	return kv_history_add(&a->env, &a->history, e);
}
