#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../kevo.h"
#include "accept.h"
#include "archive.h"
#include "ship.h"
#include "sink.h"
#include "tail.h"

/*
 * The segment that is coming in is kept in memory from its header on, in a map
 * as large as its header allows, of which only what is used is ever touched.
 * The file of the tail is a prefix of it, except that it may be longer right
 * after a start, when it was written by somebody before us.
 */
struct kv_sink {
	struct kv_archive *a;
	int zstd;
	struct kv_position base;	/* of the archive's segments */
	uint8_t *buf;
	uint64_t room;
	int has_head;
	struct kv_segment_head head;
	struct kv_walk w;		/* how far it is verified */
	int fd;				/* of the tail; -1 */
	char file[KV_ARCHIVE_PATH_LEN];
	uint64_t on_disk;		/* bytes of buf in it */
};

int
kv_sink_open(struct kv_archive *a, int zstd, struct kv_sink **out)
{
	struct kv_sink *s = calloc(1, sizeof(*s));
	int rc;

	if (s == NULL)
		return kv_fail(&a->env, KEVO_ENOMEM, "%s: out of memory",
		    a->path);
	s->a = a;
	s->zstd = zstd;
	s->fd = -1;
	if ((rc = kv_archive_list(a)) != 0 ||
	    (rc = kv_archive_position(a, &s->base)) != 0) {
		free(s);
		return rc;
	}
	*out = s;
	return 0;
}

static void
forget(struct kv_sink *s)
{
	if (s->fd >= 0)
		close(s->fd);
	s->fd = -1;
	kv_unmap(s->buf, (size_t)s->room);
	s->buf = NULL;
	s->room = 0;
	s->has_head = 0;
	s->on_disk = 0;
}

void
kv_sink_close(struct kv_sink *s)
{
	if (s == NULL)
		return;
	forget(s);
	free(s);
}

void
kv_sink_position(const struct kv_sink *s, struct kv_position *p)
{
	*p = s->base;
	if (s->has_head && (s->base.epoch == 0 || s->w.seq >= s->base.seq))
		*p = (struct kv_position){ s->head.epoch, s->head.nonce,
			s->w.seq, s->w.chain };
}

/* A segment that is coming in may not be what the archive's segments wait
 * for, but what its tail waits for: then that is completed. */
static int
complete(struct kv_sink *s, const uint8_t *bytes)
{
	struct kv_segment_head h;
	int rc;

	if (kv_segment_head_decode(bytes, &h) != 0 ||
	    memcmp(h.id, s->a->id, sizeof(h.id)) != 0 ||
	    h.first_seq - 1 <= s->base.seq)
		return 0;
	if ((rc = kv_tail_complete(s->a, s->zstd, &h)) != 1)
		return rc;
	if ((rc = kv_archive_list(s->a)) != 0)
		return rc;
	return kv_archive_position(s->a, &s->base);
}

/* ---- a segment begins -------------------------------------------------- */

static void
tail_name(char buf[KV_ARCHIVE_PATH_LEN], const struct kv_segment_head *h)
{
	snprintf(buf, KV_ARCHIVE_PATH_LEN, "state/tail/%08" PRIx32 "-%016"
	    PRIx64 ".open", h->epoch, h->first_seq);
}

/* May a segment with this header follow?  Its records are not known yet. */
static int
judge_head(struct kv_sink *s, const uint8_t *bytes)
{
	struct kv_accept_to to = { .at = s->base, .history = &s->a->history };
	struct kv_accept v;
	struct kv_image img;

	memcpy(to.db, s->a->id, sizeof(to.db));
	kv_image_scan(&img, bytes, KV_SEGMENT_HEAD);
	if (!img.has_head)
		return kv_ship_fail(&s->a->env, KV_SHIP_CORRUPT,
		    "%s: the header of a segment that came in is damaged",
		    s->a->path);
	kv_accept(&img, &to, &v);
	s->head = img.head;
	return kv_accept_fail(&s->a->env, &v, &img, &to,
	    "a segment that came in", s->a->path);
}

/* Take what a tail on disk has before commit after. */
static int
resume(struct kv_sink *s, uint64_t after)
{
	uint64_t off, chain, have;
	struct kv_image img;
	int rc;

	rc = kv_image_load(&s->a->env, s->a->dir.fd, s->file,
	    kv_path(&s->a->dir, s->file), &img);
	if (rc != 0 && rc != KEVO_ENODB)
		return rc;
	have = rc == 0 && img.has_head && img.head.hash == s->head.hash ?
	    img.last_seq : s->head.first_seq - 1;
	if (have >= after && kv_image_at(&img, after, &off, &chain) == 0) {
		memcpy(s->buf, img.bytes, (size_t)off);
		s->w.len = off;
		while (kv_walk_next(&s->w) == KV_WALK_RECORD)
			;
		rc = 0;
	} else {
		rc = kv_ship_fail(&s->a->env, KV_SHIP_GAP, "%s: need commit %"
		    PRIu64 ", the input goes on behind %" PRIu64 "; nothing "
		    "was taken", s->a->path, have + 1, after);
	}
	kv_image_release(&img);
	return rc;
}

int
kv_sink_head(struct kv_sink *s, const uint8_t *bytes, uint64_t after)
{
	int rc;

	forget(s);
	if ((rc = complete(s, bytes)) != 0 || (rc = judge_head(s, bytes)) != 0)
		return rc;
	if ((s->buf = kv_map_anon((size_t)s->head.capacity)) == NULL)
		return kv_fail(&s->a->env, KEVO_ENOMEM, "%s: out of memory",
		    s->a->path);
	s->room = s->head.capacity;
	memcpy(s->buf, bytes, KV_SEGMENT_HEAD);
	kv_walk_start(&s->w, s->buf, KV_SEGMENT_HEAD, &s->head);
	tail_name(s->file, &s->head);
	if (after >= s->head.first_seq && (rc = resume(s, after)) != 0) {
		forget(s);
		return rc;
	}
	s->has_head = 1;
	return 0;
}

/* ---- records ----------------------------------------------------------- */

static int
forked(struct kv_sink *s, uint64_t seq, uint64_t ours, uint64_t theirs)
{
	return kv_ship_fail(&s->a->env, KV_SHIP_FORK, "%s: at commit %" PRIu64
	    " it has chain %016" PRIx64 ", the input has %016" PRIx64
	    " (epoch %" PRIu32 "): two writers or a cloned disk; nothing was "
	    "taken; next: find out which of both is to live", s->a->path, seq,
	    ours, theirs, s->head.epoch);
}

int
kv_sink_records(struct kv_sink *s, const uint8_t *bytes, size_t len)
{
	if (!s->has_head || len > s->room - s->w.off)
		return kv_ship_fail(&s->a->env, KV_SHIP_CORRUPT, "%s: records "
		    "came in that belong to no segment, or are more than it "
		    "can hold", s->a->path);
	memcpy(s->buf + s->w.off, bytes, len);
	s->w.len = s->w.off + len;
	while (s->w.off < s->w.len) {
		if (kv_walk_next(&s->w) != KV_WALK_RECORD)
			return kv_ship_fail(&s->a->env, KV_SHIP_CORRUPT,
			    "%s: commit %" PRIu64 " came in damaged; nothing "
			    "of it was taken; next: send it again",
			    s->a->path, s->w.seq + 1);
		if (s->base.epoch != 0 && s->w.seq == s->base.seq &&
		    s->w.chain != s->base.chain)
			return forked(s, s->w.seq, s->base.chain, s->w.chain);
	}
	return 0;
}

/* ---- the tail's file --------------------------------------------------- */

static int
cannot(struct kv_sink *s, const char *verb)
{
	return kv_ship_fail_errno(&s->a->env, kv_path(&s->a->dir, s->file),
	    verb);
}

/* It is of the same segment.  What is verified in it must be ours. */
static int
go_on(struct kv_sink *s, const struct kv_image *img)
{
	uint64_t n = img->end < s->w.off ? img->end : s->w.off;
	uint64_t seq, off, ours, theirs;

	if (memcmp(img->bytes, s->buf, (size_t)n) == 0) {
		s->on_disk = n;
		if (img->end < img->len && img->end <= s->w.off &&
		    ftruncate(s->fd, (off_t)img->end) != 0)
			return cannot(s, "truncate");
		return 0;
	}
	seq = img->last_seq < s->w.seq ? img->last_seq : s->w.seq;
	ours = kv_image_at(img, seq, &off, &theirs) == 0 ? theirs : 0;
	return forked(s, seq, ours, s->w.chain);
}

/* Of another segment that began with the same commit: it is kept. */
static int
put_aside(struct kv_sink *s, const struct kv_image *img)
{
	int rc = 0;

	if (img->records > 0)
		rc = kv_archive_put_orphan(s->a, img);
	if (rc != 0 && rc != KEVO_FALSE)
		return rc;
	return ftruncate(s->fd, 0) != 0 ? cannot(s, "truncate") : 0;
}

static int
open_tail(struct kv_sink *s)
{
	struct kv_image img;
	int rc;

	s->fd = kv_openat(s->a->dir.fd, s->file, O_RDWR | O_CREAT, 0666);
	if (s->fd < 0)
		return cannot(s, "open");
	rc = kv_image_read(&s->a->env, s->fd, kv_path(&s->a->dir, s->file),
	    &img);
	if (rc != 0)
		return rc;
	rc = img.has_head && img.head.hash == s->head.hash ?
	    go_on(s, &img) : put_aside(s, &img);
	kv_image_release(&img);
	return rc != 0 ? rc : kv_sync_dir(&s->a->env, &s->a->dir,
	    "state/tail");
}

static int
write_tail(struct kv_sink *s)
{
	const uint8_t *p = s->buf + s->on_disk;
	uint64_t left = s->w.off - s->on_disk;
	ssize_t n;
	int e;

	while (left > 0) {
		n = pwrite(s->fd, p, (size_t)left, (off_t)s->on_disk);
		if (n < 0 && errno == EINTR)
			continue;
		if (n == 0)
			errno = ENOSPC;
		if (n <= 0)
			return cannot(s, "write");
		p += n;
		left -= (uint64_t)n;
		s->on_disk += (uint64_t)n;
	}
	if ((e = kv_datasync(s->fd)) != 0) {
		errno = e;
		return cannot(s, "sync");
	}
	return 0;
}

int
kv_sink_flush(struct kv_sink *s)
{
	int rc;

	if (!s->has_head || s->w.records == 0)
		return 0;
	if (s->fd < 0 && (rc = open_tail(s)) != 0) {
		if (s->fd >= 0)
			close(s->fd);
		s->fd = -1;
		return rc;
	}
	return s->on_disk < s->w.off ? write_tail(s) : 0;
}

/* ---- the seal ---------------------------------------------------------- */

static int
finish(struct kv_sink *s, const struct kv_image *img)
{
	struct kv_position end = { img->head.epoch, img->head.nonce,
		img->last_seq, img->chain };
	int rc = kv_tail_publish(s->a, img, s->zstd);

	if (rc != 0 && rc != KEVO_FALSE)
		return rc;
	if (s->base.epoch == 0 || end.seq > s->base.seq)
		s->base = end;
	forget(s);
	return rc;
}

int
kv_sink_seal(struct kv_sink *s, const uint8_t *bytes)
{
	struct kv_image img;

	if (!s->has_head || KV_SEAL_LEN > s->room - s->w.off)
		return kv_ship_fail(&s->a->env, KV_SHIP_CORRUPT,
		    "%s: a seal came in that belongs to no segment",
		    s->a->path);
	memcpy(s->buf + s->w.off, bytes, KV_SEAL_LEN);
	kv_image_scan(&img, s->buf, s->w.off + KV_SEAL_LEN);
	if (img.state != KV_IMAGE_SEALED)
		return kv_ship_fail(&s->a->env, KV_SHIP_CORRUPT, "%s: the "
		    "seal behind commit %" PRIu64 " came in damaged; next: "
		    "send it again", s->a->path, s->w.seq);
	if (img.records == 0) {
		forget(s);
		return 0;
	}
	return finish(s, &img);
}

