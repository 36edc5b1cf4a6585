#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "check.h"

#define CHUNK	((size_t)1 << 20)
#define PIECE	((size_t)4096)

int
kv_check_step(struct kv_check *ck, uint64_t bytes)
{
	ck->out->bytes += bytes;
	if (ck->opt->progress != NULL &&
	    ck->opt->progress(ck->opt->arg, ck->out->bytes, ck->total) != 0)
		return kv_fail(&ck->db.env, KEVO_EBUSY, "%s: stopped on "
		    "request", ck->db.path);
	return 0;
}

static int
read_all(int fd, uint8_t *p, size_t len, uint64_t off)
{
	while (len > 0) {
		ssize_t n = pread(fd, p, len, (off_t)off);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno;
		if (n == 0) {
			memset(p, 0, len);
			return 0;
		}
		p += n;
		off += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

/*
 * 0 or an errno; what is behind the end of the file is zeros.  What fails
 * once may be a whim, and much hangs on what is taken for damage.
 */
static int
read_piece(int fd, uint8_t *p, size_t len, uint64_t off)
{
	return read_all(fd, p, len, off) == 0 ? 0 : read_all(fd, p, len, off);
}

static int
report_unreadable(struct kv_check *ck, const char *file, uint64_t off,
    uint64_t len, int e)
{
	static const struct kv_loss loss = { .text = "what is written there" };

	return kv_found(ck, KEVO_DAMAGE, file, off, len, &loss,
	    "cannot be read: %s", strerror(e));
}

/* A chunk in which something cannot be read, piece by piece. */
static int
read_around(struct kv_check *ck, int fd, const char *file, uint8_t *p,
    size_t len, uint64_t off, int *any)
{
	uint64_t bad = 0, begin = 0;
	int e, why = 0, rc = 0;

	for (size_t i = 0; i < len && rc == 0; i += PIECE) {
		size_t n = len - i < PIECE ? len - i : PIECE;

		if ((e = read_piece(fd, p + i, n, off + i)) != 0) {
			memset(p + i, 0, n);
			begin = bad == 0 ? off + i : begin;
			bad += n;
			why = e;
			*any = 1;
		} else if (bad > 0) {
			rc = report_unreadable(ck, file, begin, bad, why);
			bad = 0;
		}
	}
	if (rc == 0 && bad > 0)
		rc = report_unreadable(ck, file, begin, bad, why);
	return rc;
}

int
kv_check_read(struct kv_check *ck, int fd, const char *file, uint64_t size,
    uint8_t *into, int *bad)
{
	uint8_t *scratch = NULL, *p;
	int rc = 0;

	*bad = 0;
	if (into == NULL && (scratch = malloc(CHUNK)) == NULL)
		return kv_fail(&ck->db.env, KEVO_ENOMEM, "out of memory");
	for (uint64_t off = 0; rc == 0 && off < size; off += CHUNK) {
		size_t n = size - off < CHUNK ? (size_t)(size - off) : CHUNK;

		p = scratch != NULL ? scratch : into + off;
		if (read_piece(fd, p, n, off) != 0)
			rc = read_around(ck, fd, file, p, n, off, bad);
		if (rc == 0)
			rc = kv_check_step(ck, n);
	}
	free(scratch);
	return rc;
}

int
kv_check_head(struct kv_check *ck, uint64_t counter,
    struct kv_segment_head *h)
{
	struct kv_dir *dir = &ck->db.dir;
	char name[KV_SEGMENT_NAME_LEN];
	uint8_t b[KV_SEGMENT_HEAD];
	int fd, e;

	kv_segment_name(name, counter);
	fd = kv_openat(dir->fd, name, O_RDONLY, 0);
	if (fd < 0 && errno == ENOENT)
		return 0;
	if (fd < 0)
		return kv_fail_errno(&ck->db.env, kv_path(dir, name), "open");
	e = read_piece(fd, b, sizeof(b), 0);
	close(fd);
	return e == 0 && kv_segment_head_decode(b, h) == 0;
}
