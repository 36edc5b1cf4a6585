#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../codec.h"
#include "../coding.h"
#include "../env.h"
#include "../file.h"
#include "../kevo.h"
#include "../record.h"
#include "image.h"

/*
 * The header says how long a segment can be at most, so no more memory is
 * asked for than that, whatever a file's length or a frame's contents are.
 * A byte more is room to see that it is longer.
 */

#define PIECE	((size_t)1 << 18)

struct source {
	struct kv_env *env;
	int fd;
	const char *name;
	int eof;
	uint8_t *buf;		/* packed: PIECE bytes */
	const uint8_t *in;
	size_t left;
	uint8_t *p;		/* unpacked: what the image will be */
	uint64_t len, room;
};

/* Up to len bytes; fewer only at the end.  Negative: a status. */
static int64_t
fill(struct source *s, uint8_t *p, size_t len)
{
	size_t got = 0;
	ssize_t n;

	while (got < len && !s->eof) {
		n = read(s->fd, p + got, len - got);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return kv_fail_errno(s->env, s->name, "read");
		if (n == 0)
			s->eof = 1;
		got += (size_t)n;
	}
	return (int64_t)got;
}

static int
grow(struct source *s, uint64_t room)
{
	uint8_t *p = kv_map_anon((size_t)room);

	if (p == NULL)
		return kv_fail(s->env, KEVO_ENOMEM, "%s: out of memory",
		    s->name);
	if (s->len > 0)
		memcpy(p, s->p, (size_t)s->len);
	kv_unmap(s->p, (size_t)s->room);
	s->p = p;
	s->room = room;
	return 0;
}

/* How many bytes there may be, from the header; it is all there is if it
 * does not verify. */
static uint64_t
room_for(const uint8_t *head, uint64_t len)
{
	struct kv_segment_head h;

	if (len < KV_SEGMENT_HEAD || kv_segment_head_decode(head, &h) != 0)
		return 0;
	return h.capacity + 1;
}

/* Unpack until there are want bytes.  1: complete; 0: there may be more, or
 * the input ended; -1: damaged. */
static int
unpack(struct source *s, struct kv_zstd *z, uint64_t want, int *rc)
{
	uint8_t *out = s->p + s->len;
	size_t left = (size_t)(want - s->len);
	int64_t n;
	int r = 0;

	while (r == 0 && left > 0) {
		if (s->left == 0) {
			if ((n = fill(s, s->buf, PIECE)) < 0)
				*rc = (int)n;
			if (n <= 0)
				break;
			s->in = s->buf;
			s->left = (size_t)n;
		}
		r = kv_zstd_step(z, &s->in, &s->left, &out, &left);
	}
	s->len = want - left;
	return r;
}

/* Nothing may follow the frame. */
static int
is_at_end(struct source *s)
{
	uint8_t one;

	return s->left == 0 && fill(s, &one, 1) == 0;
}

static void
judge(struct kv_image *img, enum kv_image_state state, const char *why)
{
	img->state = state;
	snprintf(img->why, sizeof(img->why), "%s", why);
}

static void
judge_packed(struct source *s, struct kv_image *img, int r)
{
	kv_image_scan(img, s->p, s->len);
	img->zstd = 1;
	if (img->state == KV_IMAGE_CORRUPT)
		return;
	if (r < 0)
		judge(img, KV_IMAGE_CORRUPT, "the Zstandard frame is damaged");
	else if (r == 0)
		judge(img, KV_IMAGE_SHORT,
		    "it ends inside the Zstandard frame");
	else if (!is_at_end(s))
		judge(img, KV_IMAGE_CORRUPT,
		    "bytes follow the Zstandard frame");
}

/* What was read so far is the beginning of the frame. */
static int
read_packed(struct source *s, struct kv_image *img, struct kv_zstd *z)
{
	uint64_t room;
	int r, rc = 0;

	memcpy(s->buf, s->p, (size_t)s->len);
	s->in = s->buf;
	s->left = (size_t)s->len;
	s->len = 0;
	r = unpack(s, z, KV_SEGMENT_HEAD, &rc);
	if (rc == 0 && r == 0 && (room = room_for(s->p, s->len)) != 0 &&
	    (rc = grow(s, room)) == 0)
		r = unpack(s, z, room, &rc);
	if (rc == 0)
		judge_packed(s, img, r);
	return rc;
}

static int
unpack_all(struct source *s, struct kv_image *img)
{
	struct kv_zstd *z = kv_zstd_new();
	int rc;

	s->buf = malloc(PIECE);
	if (s->buf == NULL || z == NULL)
		rc = kv_fail(s->env, KEVO_ENOMEM, "%s: out of memory",
		    s->name);
	else
		rc = read_packed(s, img, z);
	kv_zstd_free(z);
	free(s->buf);
	return rc;
}

static int
read_plain(struct source *s, struct kv_image *img)
{
	uint64_t room = room_for(s->p, s->len);
	int64_t n;
	int rc;

	if (room != 0) {
		if ((rc = grow(s, room)) != 0)
			return rc;
		n = fill(s, s->p + s->len, (size_t)(room - s->len));
		if (n < 0)
			return (int)n;
		s->len += (uint64_t)n;
	}
	kv_image_scan(img, s->p, s->len);
	return 0;
}

/* The first bytes say what it is. */
static int
read_any(struct source *s, struct kv_image *img)
{
	int64_t n;
	int rc;

	if ((rc = grow(s, KV_SEGMENT_HEAD)) != 0)
		return rc;
	if ((n = fill(s, s->p, KV_SEGMENT_HEAD)) < 0)
		return (int)n;
	s->len = (uint64_t)n;
	if (kv_zstd_is_frame(s->p, (size_t)n))
		return unpack_all(s, img);
	return read_plain(s, img);
}

int
kv_image_read(struct kv_env *env, int fd, const char *name,
    struct kv_image *out)
{
	struct source s = { .env = env, .fd = fd, .name = name };
	int rc;

	memset(out, 0, sizeof(*out));
	if ((rc = read_any(&s, out)) != 0) {
		kv_unmap(s.p, (size_t)s.room);
		return rc;
	}
	out->room = s.room;
	return 0;
}

int
kv_image_load(struct kv_env *env, int dirfd, const char *file,
    const char *name, struct kv_image *out)
{
	int fd, rc;

	memset(out, 0, sizeof(*out));
	fd = kv_openat(dirfd, file, O_RDONLY, 0);
	if (fd < 0 && errno == ENOENT)
		return kv_fail(env, KEVO_ENODB, "%s: missing", name);
	if (fd < 0)
		return kv_fail_errno(env, name, "open");
	rc = kv_image_read(env, fd, name, out);
	close(fd);
	return rc;
}

/* ---- reading on -------------------------------------------------------- */

/* Are the bytes from off on what they were?  1, 0, or an error. */
static int
is_there(struct source *s, const struct kv_image *img, uint64_t off,
    size_t len)
{
	uint8_t buf[KV_SEGMENT_HEAD];
	int64_t n;

	if (lseek(s->fd, (off_t)off, SEEK_SET) < 0)
		return kv_fail_errno(s->env, s->name, "read");
	s->eof = 0;
	if ((n = fill(s, buf, len)) < 0)
		return (int)n;
	return n == (int64_t)len && memcmp(buf, img->bytes + off, len) == 0;
}

int
kv_image_grow(struct kv_env *env, int fd, const char *name,
    struct kv_image *img)
{
	struct source s = { .env = env, .fd = fd, .name = name };
	int64_t n;
	int rc;

	if (!img->has_head || img->zstd || img->room < img->end ||
	    img->state == KV_IMAGE_SEALED || img->state == KV_IMAGE_CORRUPT)
		return KEVO_NOTFOUND;
	/* The last record's trailer comes last, so that we stand behind it. */
	if ((rc = is_there(&s, img, 0, KV_SEGMENT_HEAD)) == 1)
		rc = is_there(&s, img, img->end - KV_TRAILER_LEN,
		    KV_TRAILER_LEN);
	if (rc != 1)
		return rc == 0 ? KEVO_NOTFOUND : rc;
	n = fill(&s, img->bytes + img->end, (size_t)(img->room - img->end));
	if (n < 0)
		return (int)n;
	if (img->end + (uint64_t)n > img->head.capacity)
		return KEVO_NOTFOUND;
	kv_image_scan_on(img, img->end + (uint64_t)n);
	return img->state == KV_IMAGE_CORRUPT ? KEVO_NOTFOUND : 0;
}

void
kv_image_release(struct kv_image *img)
{
	if (img->room != 0)
		kv_unmap(img->bytes, (size_t)img->room);
	memset(img, 0, sizeof(*img));
}
