#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../coding.h"
#include "../kevo.h"
#include "../slots.h"
#include "archive.h"
#include "image.h"
#include "ship.h"

#define VACANT_MAX	8

/*
 * What an archive holds is told by its names: a directory of 200,000 segments
 * is read in a moment, and their contents are not.  A name that lies is found
 * when the file is read.
 */

int
kv_archive_each(struct kv_archive *a, const char *sub,
    int (*each)(void *arg, const char *name), void *arg)
{
	const char *name;
	DIR *d;
	int rc = kv_list_open(&a->env, &a->dir, sub, 1, &d);

	if (rc != 0 || d == NULL)
		return rc;
	while (rc == 0 && (name = kv_list_next(&a->env, &a->dir, sub, d,
	    &rc)) != NULL)
		if (name[0] != '.')
			rc = each(arg, name);
	closedir(d);
	return rc;
}

int
kv_archive_seg_parse(const char *name, struct kv_archive_seg *out)
{
	char plain[KV_SHIP_NAME_LEN];
	size_t len = strlen(name);

	out->spelling = KV_SPELL_SEG;
	if (len > 4 && len < sizeof(plain) &&
	    strcmp(name + len - 4, ".zst") == 0) {
		memcpy(plain, name, len - 4);
		plain[len - 4] = '\0';
		name = plain;
		out->spelling = KV_SPELL_ZST;
	}
	return kv_ship_name_parse(name, &out->epoch, &out->first,
	    &out->last) && out->epoch > 0 && out->first > 0 &&
	    out->first <= out->last;
}

void
kv_archive_seg_path(char buf[KV_ARCHIVE_PATH_LEN],
    const struct kv_archive_seg *s)
{
	char name[KV_SHIP_NAME_LEN];

	kv_ship_name(name, s->epoch, s->first, s->last);
	snprintf(buf, KV_ARCHIVE_PATH_LEN, "wal/%08" PRIx32 "/%s%s", s->epoch,
	    name, s->spelling & KV_SPELL_SEG ? "" : ".zst");
}

/* ---- listing ----------------------------------------------------------- */

struct listing {
	struct kv_archive *a;
	uint32_t epoch;
};

static int
add_segment(void *arg, const char *name)
{
	struct listing *l = arg;
	struct kv_archive *a = l->a;
	struct kv_archive_seg s, *p;
	size_t room;

	if (!kv_archive_seg_parse(name, &s) || s.epoch != l->epoch)
		return 0;
	if (a->nseg == a->seg_room) {
		room = a->seg_room == 0 ? 1024 : a->seg_room * 2;
		if ((p = realloc(a->seg, room * sizeof(*p))) == NULL)
			return kv_fail(&a->env, KEVO_ENOMEM,
			    "%s: out of memory", a->path);
		a->seg = p;
		a->seg_room = room;
	}
	a->seg[a->nseg++] = s;
	return 0;
}

static int
add_epoch(void *arg, const char *name)
{
	struct listing *l = arg;
	char sub[32], again[16];
	unsigned long epoch;

	if (strlen(name) != 8)
		return 0;
	epoch = strtoul(name, NULL, 16);
	snprintf(again, sizeof(again), "%08lx", epoch);
	if (strcmp(again, name) != 0)
		return 0;
	l->epoch = (uint32_t)epoch;
	snprintf(sub, sizeof(sub), "wal/%s", name);
	return kv_archive_each(l->a, sub, add_segment, l);
}

static int
by_place(const void *x, const void *y)
{
	const struct kv_archive_seg *a = x, *b = y;

	if (a->epoch != b->epoch)
		return a->epoch < b->epoch ? -1 : 1;
	if (a->first != b->first)
		return a->first < b->first ? -1 : 1;
	return a->last < b->last ? -1 : a->last > b->last;
}

/* Two spellings of one name become one. */
static void
join_spellings(struct kv_archive *a)
{
	size_t n = 0;

	for (size_t i = 0; i < a->nseg; i++)
		if (n > 0 && by_place(&a->seg[n - 1], &a->seg[i]) == 0)
			a->seg[n - 1].spelling |= a->seg[i].spelling;
		else
			a->seg[n++] = a->seg[i];
	a->nseg = n;
}

int
kv_archive_list(struct kv_archive *a)
{
	struct listing l = { a, 0 };
	int rc;

	a->nseg = 0;
	rc = kv_archive_each(a, "wal", add_epoch, &l);
	if (rc == 0 && a->nseg > 0) {
		qsort(a->seg, a->nseg, sizeof(*a->seg), by_place);
		join_spellings(a);
	}
	return rc;
}

/* ---- one of them ------------------------------------------------------- */

const struct kv_archive_seg *
kv_archive_find(const struct kv_archive *a, uint32_t epoch, uint64_t seq)
{
	size_t lo = 0, hi = a->nseg, mid;

	/* The last one that begins at seq or before; recut segments overlap,
	 * so one further back may reach further. */
	while (lo < hi) {
		mid = lo + (hi - lo) / 2;
		if (a->seg[mid].epoch < epoch ||
		    (a->seg[mid].epoch == epoch && a->seg[mid].first <= seq))
			lo = mid + 1;
		else
			hi = mid;
	}
	while (lo-- > 0 && a->seg[lo].epoch == epoch)
		if (a->seg[lo].last >= seq)
			return &a->seg[lo];
	return NULL;
}

int
kv_archive_is_lost(const struct kv_archive *a, uint32_t epoch, uint64_t seq)
{
	const struct kv_epoch *next = kv_history_next(&a->history, epoch);

	return next != NULL && seq > next->start;
}

int
kv_archive_name_fits(const struct kv_archive_seg *s,
    const struct kv_image *img)
{
	return img->has_head && img->head.epoch == s->epoch &&
	    img->head.first_seq == s->first && img->last_seq == s->last;
}

int
kv_archive_load(struct kv_archive *a, const struct kv_archive_seg *s,
    struct kv_image *out)
{
	char file[KV_ARCHIVE_PATH_LEN];
	const char *name;
	int rc;

	kv_archive_seg_path(file, s);
	name = kv_path(&a->dir, file);
	rc = kv_image_load(&a->env, a->dir.fd, file, name, out);
	if (rc != 0)
		return rc;
	if (out->state == KV_IMAGE_SEALED && kv_archive_name_fits(s, out) &&
	    memcmp(out->head.id, a->id, sizeof(a->id)) == 0)
		return 0;
	rc = kv_ship_fail(&a->env, KV_SHIP_CORRUPT, "%s: record %" PRIu64
	    " at byte %" PRIu64 ": %s; next: remove it, fetch it again, then "
	    "kevo-walship verify", name, out->records + 1, out->end,
	    out->state != KV_IMAGE_SEALED ? (out->why[0] != '\0' ? out->why :
	    "it has no seal") : "its name is not what it holds");
	kv_image_release(out);
	return rc;
}

/* ---- places that were taken and not filled ------------------------------ */

int
kv_archive_is_vacant(struct kv_archive *a, const char *file)
{
	uint64_t size = 1;
	int fd = kv_openat(a->dir.fd, file, O_RDONLY, 0);

	if (fd < 0)
		return 0;
	if (kv_file_stat(&a->env, fd, file, &size, NULL, NULL) != 0)
		size = 1;
	close(fd);
	return size == 0;
}

static int
seg_is_vacant(struct kv_archive *a, const struct kv_archive_seg *s)
{
	char file[KV_ARCHIVE_PATH_LEN];

	kv_archive_seg_path(file, s);
	return kv_archive_is_vacant(a, file);
}

/* ---- position ---------------------------------------------------------- */

/* The seal of a plain file says it all: 1 and *chain, else it is read. */
static int
seal_only(struct kv_archive *a, const struct kv_archive_seg *s,
    struct kv_position *out)
{
	uint8_t head[KV_SEGMENT_HEAD], buf[KV_SEAL_LEN];
	char file[KV_ARCHIVE_PATH_LEN];
	struct kv_segment_head h;
	struct kv_seal seal;
	uint64_t size;
	int fd, good;

	kv_archive_seg_path(file, s);
	if (!(s->spelling & KV_SPELL_SEG) ||
	    (fd = kv_openat(a->dir.fd, file, O_RDONLY, 0)) < 0)
		return 0;
	good = kv_file_stat(&a->env, fd, file, &size, NULL, NULL) == 0 &&
	    size >= KV_SEGMENT_HEAD + KV_SEAL_LEN &&
	    kv_pread(&a->env, fd, file, head, sizeof(head), 0) == 0 &&
	    kv_pread(&a->env, fd, file, buf, sizeof(buf), size -
	    KV_SEAL_LEN) == 0 && kv_segment_head_decode(head, &h) == 0 &&
	    kv_seal_decode(buf, &seal) == 0 && seal.head_hash == h.hash &&
	    seal.file_len == size && seal.last_seq == s->last &&
	    h.epoch == s->epoch && memcmp(h.id, a->id, sizeof(h.id)) == 0;
	close(fd);
	if (good)
		*out = (struct kv_position){ h.epoch, h.nonce, s->last,
			seal.chain };
	return good;
}

static int
end_of(struct kv_archive *a, const struct kv_archive_seg *s,
    struct kv_position *out)
{
	struct kv_image img;
	int rc;

	if (seal_only(a, s, out))
		return 0;
	if ((rc = kv_archive_load(a, s, &img)) != 0)
		return rc;
	*out = (struct kv_position){ img.head.epoch, img.head.nonce,
		img.last_seq, img.chain };
	kv_image_release(&img);
	return 0;
}

/*
 * The segment of an epoch that reaches furthest; not one that lost a promotion
 * from its first commit on.  One that was killed when it was to be written,
 * where there are no hard links, is none; there is hardly ever one of these,
 * and where there are many, somebody should look.
 */
static const struct kv_archive_seg *
furthest(struct kv_archive *a, uint32_t epoch)
{
	size_t best = a->nseg;

	for (int tries = 0; tries < VACANT_MAX; tries++) {
		best = a->nseg;
		for (size_t i = a->nseg; i-- > 0 && a->seg[i].epoch >= epoch;)
			if (a->seg[i].epoch == epoch && (best == a->nseg ||
			    a->seg[i].last > a->seg[best].last) &&
			    !kv_archive_is_lost(a, epoch, a->seg[i].first))
				best = i;
		if (best == a->nseg)
			return NULL;
		if (!seg_is_vacant(a, &a->seg[best]))
			break;
		memmove(&a->seg[best], &a->seg[best + 1],
		    (a->nseg - best - 1) * sizeof(*a->seg));
		a->nseg--;
	}
	return best < a->nseg ? &a->seg[best] : NULL;
}

int
kv_archive_position(struct kv_archive *a, struct kv_position *out)
{
	const struct kv_archive_seg *s = NULL;
	const struct kv_epoch *e, *next;
	size_t i;

	memset(out, 0, sizeof(*out));
	for (i = a->history.n; i-- > 0 && s == NULL;)
		s = furthest(a, a->history.v[i].epoch);
	if (s == NULL)
		return 0;
	e = kv_history_find(&a->history, s->epoch);
	next = kv_history_next(&a->history, s->epoch);
	if (next != NULL && s->last >= next->start) {
		*out = (struct kv_position){ next->epoch, next->nonce,
			next->start, next->chain };
		return 0;
	}
	if (e == NULL)
		return 0;
	return end_of(a, s, out);
}
