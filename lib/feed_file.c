#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "coding.h"
#include "env.h"
#include "feed_file.h"
#include "file.h"
#include "kevo.h"
#include "record.h"

/* How much is read ahead: little for who waits for the next commit, more for
 * who reads one after the other. */
#define CHUNK_MIN	((uint64_t)16 << 10)
#define CHUNK_MAX	((uint64_t)1 << 20)

static int
cannot_read(struct kv_feed_file *f)
{
	return kv_fail_errno(f->env, kv_path(f->dir, f->name), "read");
}

/* At most n bytes, fewer at the end of the file.  0 or an error. */
static int
read_some(struct kv_feed_file *f, void *p, uint64_t n, uint64_t off,
    uint64_t *got)
{
	*got = 0;
	while (*got < n) {
		ssize_t r = pread(f->fd, (uint8_t *)p + *got,
		    (size_t)(n - *got), (off_t)(off + *got));

		if (r == 0)
			break;
		if (r > 0)
			*got += (uint64_t)r;
		else if (errno != EINTR)
			return cannot_read(f);
	}
	return 0;
}

/* ---- the copy ---------------------------------------------------------- */

/* Bytes of it from off on. */
static uint64_t
have(const struct kv_feed_file *f, uint64_t off)
{
	return off < f->at || off - f->at > f->len ? 0 :
	    f->len - (off - f->at);
}

static const uint8_t *
at(const struct kv_feed_file *f, uint64_t off)
{
	return f->buf + (off - f->at);
}

/* Room for n bytes, which the file has; what was in it is forgotten. */
static int
make_room(struct kv_feed_file *f, uint64_t n)
{
	f->len = 0;
	if (n <= f->room && (n > CHUNK_MAX || f->room <= 4 * CHUNK_MAX))
		return 0;
	free(f->buf);
	f->room = 0;
	if ((f->buf = malloc((size_t)n)) == NULL)
		return kv_fail(f->env, KEVO_ENOMEM, "%s: out of memory for a "
		    "commit of %llu bytes", kv_path(f->dir, f->name),
		    (unsigned long long)n);
	f->room = n;
	return 0;
}

/*
 * Have n bytes from off on, copied when commit seq was whole, which it is now
 * with all others up to limit; or fewer, where the file is not so long.
 */
static int
fill(struct kv_feed_file *f, uint64_t off, uint64_t n, uint64_t seq,
    uint64_t limit)
{
	uint64_t size, want;
	int rc;

	if (f->known >= seq && have(f, off) >= n)
		return 0;
	if (f->known < seq)
		f->chunk = CHUNK_MIN;
	else if (f->chunk < CHUNK_MAX)
		f->chunk *= 2;
	want = n > f->chunk ? n : f->chunk;
	if (want > CHUNK_MAX) {
		if ((rc = kv_file_stat(f->env, f->fd, kv_path(f->dir,
		    f->name), &size, NULL, NULL)) != 0)
			return rc;
		if (off > size || want > size - off) {
			f->len = 0;
			return 0;
		}
	}
	if ((rc = make_room(f, want)) != 0)
		return rc;
	f->at = off;
	f->known = limit;
	return read_some(f, f->buf, want, off, &f->len);
}

void
kv_feed_file_again(struct kv_feed_file *f)
{
	f->len = f->known = 0;
}

/* ---- opening ----------------------------------------------------------- */

static int
read_head(struct kv_feed_file *f, const uint8_t id[16])
{
	uint64_t got;
	int rc;

	if ((rc = read_some(f, f->raw, sizeof(f->raw), 0, &got)) != 0)
		return rc;
	if (got < sizeof(f->raw) ||
	    kv_segment_head_decode(f->raw, &f->head) != 0)
		return kv_fail(f->env, KEVO_ECORRUPT, "%s: damaged: bad "
		    "segment header", kv_path(f->dir, f->name));
	if (memcmp(f->head.id, id, 16) != 0)
		return kv_fail(f->env, KEVO_ECORRUPT, "%s: it belongs to "
		    "another database", kv_path(f->dir, f->name));
	f->off = KV_SEGMENT_HEAD;
	f->seq = f->head.first_seq - 1;
	f->chain = f->head.chain_before;
	return 0;
}

int
kv_feed_file_open(struct kv_env *env, const struct kv_dir *dir,
    const char *name, const uint8_t id[16], struct kv_feed_file **out)
{
	struct kv_feed_file *f = calloc(1, sizeof(*f));
	int rc;

	if (f == NULL)
		return kv_fail(env, KEVO_ENOMEM, "out of memory");
	f->env = env;
	f->dir = dir;
	f->chunk = CHUNK_MIN;
	snprintf(f->name, sizeof(f->name), "%s", name);
	f->fd = kv_openat(dir->fd, name, O_RDONLY, 0);
	if (f->fd < 0)
		rc = errno == ENOENT ? KEVO_NOTFOUND :
		    kv_fail_errno(env, kv_path(dir, name), "open");
	else
		rc = read_head(f, id);
	if (rc != 0) {
		kv_feed_file_close(f);
		return rc;
	}
	*out = f;
	return 0;
}

void
kv_feed_file_close(struct kv_feed_file *f)
{
	if (f == NULL)
		return;
	if (f->fd >= 0)
		close(f->fd);
	free(f->buf);
	free(f);
}

/* ---- reading ----------------------------------------------------------- */

/* The frame of the next record, whose length is set. */
static int
next_frame(struct kv_feed_file *f, uint64_t limit, struct kv_frame *fr,
    uint64_t *total)
{
	int rc;

	rc = fill(f, f->off, KV_FRAME_LEN, f->seq + 1, limit);
	if (rc != 0)
		return rc;
	if (have(f, f->off) < KV_FRAME_LEN ||
	    kv_frame_decode(at(f, f->off), fr, f->head.nonce) != 0 ||
	    fr->seq != f->seq + 1)
		return KEVO_NOTFOUND;
	*total = kv_record_len(fr->payload_len);
	return 0;
}

int
kv_feed_file_next(struct kv_feed_file *f, uint64_t limit,
    const uint8_t **rec, uint64_t *len)
{
	struct kv_frame fr;
	uint64_t total;
	int rc;

	if ((rc = next_frame(f, limit, &fr, &total)) != 0 ||
	    (rc = fill(f, f->off, total, f->seq + 1, limit)) != 0)
		return rc;
	if (have(f, f->off) < total || kv_record_verify_at(at(f, f->off),
	    total, f->head.nonce, f->chain, f->seq + 1) != total)
		return KEVO_NOTFOUND;
	*rec = at(f, f->off);
	*len = total;
	f->off += total;
	f->seq++;
	f->time_ns = fr.time_ns;
	f->chain = get_le64(*rec + total - KV_TRAILER_LEN);
	return 0;
}

int
kv_feed_file_skip(struct kv_feed_file *f, uint64_t seq, uint64_t limit)
{
	struct kv_frame fr;
	uint64_t total, end;
	int rc;

	while (f->seq < seq) {
		if ((rc = next_frame(f, limit, &fr, &total)) != 0)
			return rc;
		end = f->off + total - KV_TRAILER_LEN;
		if (f->seq + 1 == seq) {
			if ((rc = fill(f, end, KV_TRAILER_LEN, seq,
			    limit)) != 0)
				return rc;
			if (have(f, end) < KV_TRAILER_LEN)
				return KEVO_NOTFOUND;
			f->chain = get_le64(at(f, end));
		}
		f->off += total;
		f->seq++;
		f->time_ns = fr.time_ns;
	}
	return 0;
}

/* 1 if the record that ends at off has this chain value. */
static int
ends_with(struct kv_feed_file *f, uint64_t off, uint64_t chain)
{
	uint8_t b[KV_TRAILER_LEN];
	uint64_t got;
	int rc;

	if (off < KV_SEGMENT_HEAD + KV_FRAME_LEN + KV_TRAILER_LEN ||
	    off > f->head.capacity)
		return 0;
	rc = read_some(f, b, sizeof(b), off - KV_TRAILER_LEN, &got);
	return rc != 0 ? rc : got == sizeof(b) && get_le64(b) == chain;
}

int
kv_feed_file_jump(struct kv_feed_file *f, uint64_t off, uint64_t seq,
    uint64_t chain)
{
	int rc;

	if (seq < f->head.first_seq || off % 8 != 0)
		return KEVO_NOTFOUND;
	if ((rc = ends_with(f, off, chain)) != 1)
		return rc == 0 ? KEVO_NOTFOUND : rc;
	f->off = off;
	f->seq = seq;
	f->chain = chain;
	return 0;
}

int
kv_feed_file_holds(struct kv_feed_file *f)
{
	return f->off == KV_SEGMENT_HEAD ? 1 : ends_with(f, f->off, f->chain);
}

int
kv_feed_file_sealed(struct kv_feed_file *f)
{
	uint64_t got;
	int rc;

	rc = read_some(f, f->seal_raw, sizeof(f->seal_raw), f->off, &got);
	if (rc != 0)
		return rc;
	return got == sizeof(f->seal_raw) &&
	    kv_seal_decode(f->seal_raw, &f->seal) == 0 &&
	    f->seal.last_seq == f->seq && f->seal.chain == f->chain &&
	    f->seal.records == f->seq + 1 - f->head.first_seq &&
	    f->seal.file_len == f->off + KV_SEAL_LEN &&
	    f->seal.head_hash == f->head.hash;
}
