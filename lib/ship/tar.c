#ifdef KEVO_ARCHIVE

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../env.h"
#include "../kevo.h"
#include "ship.h"
#include "tar.h"

#define BLOCK		((size_t)256 << 10)

/*
 * A stream that becomes a thousand times as long is no backup: each record
 * has a hash that nothing compresses.  One of very long values of nothing but
 * zeros could be; who has it decompresses it first.
 */
#define RATIO_MAX	1000
#define RATIO_FROM	((uint64_t)256 << 20)

#define DRAIN_MAX	((uint64_t)64 << 20)

int
kv_tar_available(void)
{
	return 1;
}

/* ---- writing ----------------------------------------------------------- */

struct kv_tar_out {
	struct kv_env *env;
	struct kv_tar_sink sink;
	struct archive *a;
	struct archive_entry *e;
	int rc;			/* what put returned */
	int dropped;		/* nothing more is put */
};

static int
out_failed(struct kv_tar_out *o, const char *what)
{
	const char *why = archive_error_string(o->a);

	if (o->rc != 0)
		return o->rc;
	return kv_fail(o->env, archive_errno(o->a) == ENOMEM ? KEVO_ENOMEM :
	    KEVO_EIO, "archive: cannot write %s: %s", what,
	    why != NULL ? why : "libarchive does not say why");
}

/*
 * libarchive never hears of a failure: a writer that has failed does not give
 * back its memory.  We remember it, and drop what comes after.
 */
static la_ssize_t
put(struct archive *a, void *arg, const void *p, size_t len)
{
	struct kv_tar_out *o = arg;

	(void)a;
	if (o->rc == 0 && !o->dropped)
		o->rc = o->sink.put(o->sink.arg, p, len);
	return (la_ssize_t)len;
}

static int
add_filter(struct archive *a, enum kv_tar_filter filter)
{
	if (filter == KV_TAR_ZSTD)
		return archive_write_add_filter_zstd(a);
	if (filter == KV_TAR_PLAIN)
		return archive_write_add_filter_none(a);
	if (archive_write_add_filter_gzip(a) != ARCHIVE_OK)
		return ARCHIVE_FATAL;
	/* The hour is no part of what is written. */
	return archive_write_set_filter_option(a, "gzip", "timestamp", NULL);
}

int
kv_tar_create(struct kv_env *env, const struct kv_tar_sink *sink,
    enum kv_tar_filter filter, struct kv_tar_out **out)
{
	struct kv_tar_out *o = calloc(1, sizeof(*o));
	int rc;

	if (o == NULL)
		return kv_fail(env, KEVO_ENOMEM, "out of memory");
	o->env = env;
	o->sink = *sink;
	if ((o->e = archive_entry_new()) == NULL ||
	    (o->a = archive_write_new()) == NULL) {
		kv_tar_abandon(o);
		return kv_fail(env, KEVO_ENOMEM, "out of memory");
	}
	if (archive_write_set_format_pax_restricted(o->a) != ARCHIVE_OK ||
	    add_filter(o->a, filter) != ARCHIVE_OK ||
	    archive_write_set_bytes_per_block(o->a, (int)BLOCK) !=
	    ARCHIVE_OK ||
	    archive_write_set_bytes_in_last_block(o->a, 1) != ARCHIVE_OK ||
	    archive_write_open(o->a, o, NULL, put, NULL) != ARCHIVE_OK) {
		rc = out_failed(o, "its beginning");
		kv_tar_abandon(o);
		return rc;
	}
	*out = o;
	return 0;
}

static int
header(struct kv_tar_out *o, const char *name, unsigned type, unsigned mode,
    int64_t time, uint64_t size)
{
	struct archive_entry *e = archive_entry_clear(o->e);

	archive_entry_set_pathname(e, name);
	archive_entry_set_filetype(e, type);
	archive_entry_set_perm(e, (mode_t)mode);
	archive_entry_set_mtime(e, (time_t)time, 0);
	archive_entry_set_size(e, (la_int64_t)size);
	archive_entry_set_uid(e, 0);
	archive_entry_set_gid(e, 0);
	if (archive_write_header(o->a, e) != ARCHIVE_OK)
		return out_failed(o, name);
	return o->rc;
}

int
kv_tar_dir(struct kv_tar_out *o, const char *name, unsigned mode,
    int64_t time)
{
	return header(o, name, AE_IFDIR, mode, time, 0);
}

int
kv_tar_file(struct kv_tar_out *o, const char *name, unsigned mode,
    int64_t time, uint64_t size)
{
	return header(o, name, AE_IFREG, mode, time, size);
}

int
kv_tar_data(struct kv_tar_out *o, const void *p, size_t len)
{
	const uint8_t *b = p;

	while (len > 0) {
		la_ssize_t n = archive_write_data(o->a, b, len);

		if (n <= 0 || o->rc != 0)
			return out_failed(o, "a member");
		b += n;
		len -= (size_t)n;
	}
	return 0;
}

int
kv_tar_finish(struct kv_tar_out *o)
{
	int rc = 0;

	if (archive_write_close(o->a) != ARCHIVE_OK || o->rc != 0)
		rc = out_failed(o, "its end");
	kv_tar_abandon(o);
	return rc;
}

void
kv_tar_abandon(struct kv_tar_out *o)
{
	if (o == NULL)
		return;
	o->dropped = 1;		/* no end is written now */
	archive_write_free(o->a);
	archive_entry_free(o->e);
	free(o);
}

/* ---- reading ----------------------------------------------------------- */

struct kv_tar_in {
	struct kv_env *env;
	const char *name;
	int fd;
	int (*stopped)(void);
	struct archive *a;
	uint64_t taken, given;
	int64_t off;		/* in the member's data */
	int at_end;		/* nothing more comes from fd */
	int rc;			/* of reading fd */
	uint8_t buf[BLOCK];
};

static la_ssize_t
get(struct archive *a, void *arg, const void **p)
{
	struct kv_tar_in *in = arg;
	ssize_t n;

	while ((n = read(in->fd, in->buf, sizeof(in->buf))) < 0) {
		if (errno != EINTR)
			in->rc = kv_fail_errno(in->env, in->name, "read");
		else if (in->stopped != NULL && in->stopped())
			in->rc = kv_fail(in->env, KEVO_EBUSY, "%s: reading "
			    "was ended", in->name);
		else
			continue;
		archive_set_error(a, EIO, "the input failed");
		return -1;
	}
	in->at_end = n == 0;
	in->taken += (uint64_t)n;
	*p = in->buf;
	return n;
}

/* What nobody looks at need not be read, where it is a file. */
static la_int64_t
skip(struct archive *a, void *arg, la_int64_t want)
{
	struct kv_tar_in *in = arg;
	struct stat st;
	off_t at;

	(void)a;
	if (want <= 0 || fstat(in->fd, &st) != 0 || !S_ISREG(st.st_mode) ||
	    (at = lseek(in->fd, 0, SEEK_CUR)) < 0 || at >= st.st_size)
		return 0;
	if (want > st.st_size - at)
		want = st.st_size - at;
	if (lseek(in->fd, at + want, SEEK_SET) < 0)
		return 0;
	in->taken += (uint64_t)want;
	return want;
}

/*
 * libarchive says that something is wrong.  Where the input has ended by
 * then, it was probably cut; what it should have been is for whoever made it
 * to say.
 */
static int
in_failed(struct kv_tar_in *in)
{
	const char *why = archive_error_string(in->a);

	if (in->rc != 0)
		return in->rc;
	if (archive_errno(in->a) == ENOMEM)
		return kv_fail(in->env, KEVO_ENOMEM, "out of memory");
	if (in->at_end && (in->taken < 512 || why == NULL ||
	    strstr(why, "Unrecognized") == NULL))
		return kv_ship_fail(in->env, KV_SHIP_SHORT, "%s: it ends "
		    "after %llu bytes, in the middle of the archive; get it "
		    "again", in->name, (unsigned long long)in->taken);
	return kv_ship_fail(in->env, KV_SHIP_CORRUPT, "%s: not an archive "
	    "that can be read: %s", in->name, why != NULL ? why : "damaged");
}

static int
in_refused(struct kv_tar_in *in, const char *member, const char *why)
{
	return kv_ship_fail(in->env, KV_SHIP_CORRUPT, "%s: %.100s: %s",
	    in->name, member, why);
}

int
kv_tar_open(struct kv_env *env, int fd, const char *name,
    int (*stopped)(void), struct kv_tar_in **out)
{
	struct kv_tar_in *in = calloc(1, sizeof(*in));
	int rc;

	if (in == NULL)
		return kv_fail(env, KEVO_ENOMEM, "out of memory");
	in->env = env;
	in->fd = fd;
	in->name = name;
	in->stopped = stopped;
	if ((in->a = archive_read_new()) == NULL) {
		free(in);
		return kv_fail(env, KEVO_ENOMEM, "out of memory");
	}
	if (archive_read_support_format_tar(in->a) != ARCHIVE_OK ||
	    archive_read_support_filter_zstd(in->a) != ARCHIVE_OK ||
	    archive_read_support_filter_gzip(in->a) != ARCHIVE_OK ||
	    archive_read_open2(in->a, in, NULL, get, skip, NULL) !=
	    ARCHIVE_OK) {
		rc = in_failed(in);
		kv_tar_close(in);
		return rc;
	}
	*out = in;
	return 0;
}

void
kv_tar_close(struct kv_tar_in *in)
{
	if (in == NULL)
		return;
	archive_read_free(in->a);
	free(in);
}

uint64_t
kv_tar_taken(const struct kv_tar_in *in)
{
	return in->taken;
}

static int
check_entry(struct kv_tar_in *in, struct archive_entry *e,
    struct kv_tar_member *m)
{
	m->name = archive_entry_pathname(e);
	if (m->name == NULL)
		return in_refused(in, "a member", "its name is not ASCII");
	if (archive_entry_hardlink(e) != NULL)
		return in_refused(in, m->name, "a link; a backup has none");
	if (archive_entry_filetype(e) != AE_IFREG &&
	    archive_entry_filetype(e) != AE_IFDIR)
		return in_refused(in, m->name, "neither a file nor a "
		    "directory; a backup has nothing else");
	if (archive_entry_sparse_count(e) > 0)
		return in_refused(in, m->name, "a sparse file; a backup has "
		    "none");
	if (!archive_entry_size_is_set(e) || archive_entry_size(e) < 0)
		return in_refused(in, m->name, "its size is not given");
	m->is_dir = archive_entry_filetype(e) == AE_IFDIR;
	m->size = (uint64_t)archive_entry_size(e);
	return 1;
}

int
kv_tar_next(struct kv_tar_in *in, struct kv_tar_member *m)
{
	struct archive_entry *e;
	int r = archive_read_next_header(in->a, &e);

	in->off = 0;
	if (r == ARCHIVE_EOF)
		return 0;
	if (r != ARCHIVE_OK)
		return in_failed(in);
	/* The tar reader and at most one filter. */
	if (archive_filter_count(in->a) > 2)
		return kv_ship_fail(in->env, KV_SHIP_CORRUPT, "%s: compressed "
		    "more than once", in->name);
	if (in->given == 0)
		in->given = 512;
	return check_entry(in, e, m);
}

static int
is_bomb(const struct kv_tar_in *in)
{
	return in->given > RATIO_FROM && archive_filter_count(in->a) > 1 &&
	    in->given / RATIO_MAX > in->taken;
}

int
kv_tar_bytes(struct kv_tar_in *in, const void **p, size_t *len)
{
	la_int64_t off;
	int r;

	do {
		r = archive_read_data_block(in->a, p, len, &off);
		if (r == ARCHIVE_EOF)
			return 0;
		if (r != ARCHIVE_OK)
			return in_failed(in);
	} while (*len == 0);
	if (off != in->off)
		return kv_ship_fail(in->env, KV_SHIP_CORRUPT, "%s: a sparse "
		    "file; a backup has none", in->name);
	in->off += (int64_t)*len;
	in->given += *len;
	if (is_bomb(in))
		return kv_ship_fail(in->env, KV_SHIP_CORRUPT, "%s: it becomes "
		    "more than %d times as long; if that is how it should "
		    "be, decompress it before", in->name, RATIO_MAX);
	return 1;
}

void
kv_tar_drain(struct kv_tar_in *in)
{
	uint64_t left = DRAIN_MAX;
	ssize_t n;

	while (left > 0) {
		n = read(in->fd, in->buf, sizeof(in->buf));
		if (n < 0 && errno == EINTR &&
		    (in->stopped == NULL || !in->stopped()))
			continue;
		if (n <= 0)
			return;
		in->taken += (uint64_t)n;
		left -= (uint64_t)n < left ? (uint64_t)n : left;
	}
}

#endif /* KEVO_ARCHIVE */
