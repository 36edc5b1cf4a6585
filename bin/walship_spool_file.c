/*
 * What becomes of one file of a spool.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "epoch.h"
#include "ship/accept.h"
#include "ship/image.h"
#include "ship/ship.h"
#include "ship/sink.h"
#include "ship/tail.h"
#include "walship.h"
#include "walship_spool_work.h"

void
spool_fail(struct spool *s, int rc)
{
	walship_archive_fail(s->a, rc);
}

/* Report what is in env; the worst status of all files is that of the
 * program. */
static void
report(struct spool *s, int rc)
{
	int status = walship_report(&s->a->env, rc);

	if (status > s->worst)
		s->worst = status;
}

static void
taken(struct spool *s, struct file *f)
{
	f->done = 1;
	s->changed = 1;
	s->taken++;
	if (s->o->dry_run)
		cli_say("%s: would be taken", f->name);
	else if (unlinkat(s->dir.fd, f->name, 0) != 0 && errno != ENOENT)
		spool_fail(s, kv_ship_fail_errno(&s->a->env, kv_path(&s->dir,
		    f->name), "remove"));
}

/* ---- files that nobody will want --------------------------------------- */

static int
copy_bytes(int from, int to)
{
	char buf[65536];
	ssize_t n, m, off;

	while ((n = read(from, buf, sizeof(buf))) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -1;
		for (off = 0; off < n; off += m)
			if ((m = write(to, buf + off, (size_t)(n - off))) <= 0)
				return -1;
	}
	return 0;
}

/* The spool may be on another file system. */
static int
copy_away(struct spool *s, const char *name, const char *to)
{
	int in, out, rc;

	if ((in = kv_openat(s->dir.fd, name, O_RDONLY, 0)) < 0)
		return -1;
	out = kv_openat(s->a->dir.fd, to, O_WRONLY | O_CREAT | O_TRUNC, 0666);
	rc = out < 0 ? -1 : copy_bytes(in, out);
	close(in);
	if (out >= 0 && close(out) != 0)
		rc = -1;
	return rc == 0 ? unlinkat(s->dir.fd, name, 0) : -1;
}

static void
say_reject(struct spool *s, struct file *f, int rc)
{
	const char *msg = s->a->env.msg, *moved = strstr(msg, "; moved to ");
	int status = kv_ship_exit(rc);

	f->done = 1;
	if (status > s->worst)
		s->worst = status;
	cli_say("%s: would be moved to state/reject: %s: %.*s", f->name,
	    kv_ship_class_name(rc), moved != NULL ? (int)(moved - msg) :
	    (int)strlen(msg), msg);
}

/* Move a file to state/reject, and say there why; then tell. */
static void
reject(struct spool *s, struct file *f, int rc)
{
	char to[KV_ARCHIVE_PATH_LEN], line[KV_ARCHIVE_PATH_LEN + 800];
	char when[KV_SHIP_TIME_LEN];

	if (s->o->dry_run) {
		say_reject(s, f, rc);
		return;
	}
	kv_ship_time(when, kv_now_ns());
	snprintf(to, sizeof(to), "state/reject/%.200s", f->name);
	snprintf(line, sizeof(line), "%s %s: %s: %s\n", when, f->name,
	    kv_ship_class_name(rc), s->a->env.msg);
	report(s, rc);
	if (renameat(s->dir.fd, f->name, s->a->dir.fd, to) != 0 &&
	    (errno != EXDEV || copy_away(s, f->name, to) != 0))
		spool_fail(s, kv_ship_fail_errno(&s->a->env, kv_path(&s->dir,
		    f->name), "move away"));
	f->done = 1;
	s->changed = 1;
	if ((rc = kv_archive_note(s->a, "reject/REASON", line)) != 0)
		spool_fail(s, rc);
}

/* ---- epochs ------------------------------------------------------------ */

/* As kv_archive_put_epoch(), in memory only. */
static int
try_epoch(struct spool *s, const struct kv_epoch *e)
{
	struct kv_archive *a = s->a;
	const struct kv_epoch *known = kv_history_find(&a->history, e->epoch);
	const char *why;

	if (known != NULL && known->nonce == e->nonce)
		return KEVO_FALSE;
	if (known == NULL &&
	    e->epoch > kv_history_newest(&a->history)->epoch + 1)
		return kv_ship_fail(&a->env, KV_SHIP_WAITING, "%s: epoch %"
		    PRIu32 " is here, the one before it is not", a->path,
		    e->epoch);
	why = known != NULL ? "another one of this number is there" :
	    kv_history_refuses(&a->history, e);
	if (why != NULL)
		return kv_ship_fail(&a->env, KV_SHIP_FORK, "%s: epoch %"
		    PRIu32 " does not continue its history: %s", a->path,
		    e->epoch, why);
	return kv_history_add(&a->env, &a->history, e);
}

void
spool_take_epoch(struct spool *s, struct file *f, int last_round)
{
	const char *why, *path = kv_path(&s->dir, f->name);
	struct kv_epoch e;
	size_t len;
	char *text;
	int rc;

	rc = kv_read_small(&s->a->env, &s->dir, f->name, KV_EPOCH_TEXT_MAX,
	    &text, &len);
	if (rc == KEVO_ENOTDB || (rc == 0 && kv_epoch_parse(text, len, &e,
	    &why) != 0))
		rc = kv_ship_fail(&s->a->env, KV_SHIP_CORRUPT, "%s: it is no "
		    "epoch file; moved to state/reject", path);
	else if (rc == 0 && memcmp(e.db, s->a->id, sizeof(e.db)) != 0)
		rc = kv_ship_fail(&s->a->env, KV_SHIP_WRONG_DB, "%s: it is of "
		    "another database; moved to state/reject", path);
	else if (rc == 0)
		rc = s->o->dry_run ? try_epoch(s, &e) :
		    kv_archive_put_epoch(s->a, &e);
	if (rc != KEVO_ENOTDB && rc >= 0 && rc != KEVO_EIO)
		free(text);
	if (rc == 0 || rc == KEVO_FALSE)
		taken(s, f);
	else if (rc == KV_SHIP_WAITING && last_round)
		report(s, rc);
	else if (rc == KV_SHIP_CORRUPT || rc == KV_SHIP_WRONG_DB ||
	    rc == KV_SHIP_FORK)
		reject(s, f, rc);
	else if (rc != KV_SHIP_WAITING)
		spool_fail(s, rc);
}

/* ---- segments ---------------------------------------------------------- */

/* As kv_tail_complete() would: 1 if the tail of the archive reaches to where
 * the segment begins. */
static int
try_tail(struct spool *s, const struct kv_segment_head *h)
{
	uint64_t seq = h->first_seq - 1, off, chain;
	struct kv_image tail;
	int rc = kv_tail_load(s->a, &tail, NULL, 0), reaches;

	if (rc != 0)
		return rc == KEVO_NOTFOUND ? 0 : rc;
	reaches = tail.head.first_seq <= seq && kv_image_at(&tail, seq, &off,
	    &chain) == 0 && chain == h->chain_before;
	if (reaches)
		s->at = (struct kv_position){ tail.head.epoch,
			tail.head.nonce, seq, chain };
	kv_image_release(&tail);
	return reaches;
}

static void
judge(struct spool *s, const struct kv_image *img, struct kv_accept_to *to,
    struct kv_accept *v)
{
	int rc;

	memset(to, 0, sizeof(*to));
	memcpy(to->db, s->a->id, sizeof(to->db));
	to->history = &s->a->history;
	if ((rc = kv_archive_list(s->a)) != 0 ||
	    (rc = kv_archive_position(s->a, &to->at)) != 0)
		spool_fail(s, rc);
	if (s->at.epoch != 0)
		to->at = s->at;
	kv_accept(img, to, v);
	if (v->verdict != KV_ACCEPT_GAP)
		return;
	rc = s->o->dry_run ? try_tail(s, &img->head) :
	    kv_tail_complete(s->a, s->o->zstd, &img->head);
	if (rc < 0 || rc > 1)
		spool_fail(s, rc);
	if (rc == 1)
		judge(s, img, to, v);
}

/* A name that says something else than the contents is no accident of a
 * copy. */
static int
name_lies(const struct file *f, const struct kv_image *img)
{
	struct kv_archive_seg seg;

	return img->state == KV_IMAGE_SEALED &&
	    kv_archive_seg_parse(f->name, &seg) &&
	    !kv_archive_name_fits(&seg, img);
}

/* Of commits that are there already: do those have the same chain? */
static int
compare(struct spool *s, const struct kv_image *img)
{
	const struct kv_archive_seg *seg = kv_archive_find(s->a,
	    img->head.epoch, img->last_seq);
	uint64_t off, ours;
	struct kv_image there;
	int rc;

	if (seg == NULL)
		return 0;
	if ((rc = kv_archive_load(s->a, seg, &there)) != 0) {
		s->ours = rc == KV_SHIP_CORRUPT;
		return rc;
	}
	if (kv_image_at(&there, img->last_seq, &off, &ours) == 0 &&
	    ours != img->chain)
		rc = kv_ship_fail(&s->a->env, KV_SHIP_FORK, "a segment that "
		    "came in: at commit %" PRIu64 " %s has chain %016" PRIx64
		    ", it has %016" PRIx64 " (epoch %" PRIu32 "): two writers "
		    "or a cloned disk; moved to state/reject; next: find out "
		    "which of both is to live", img->last_seq, s->a->path,
		    ours, img->chain, img->head.epoch);
	kv_image_release(&there);
	return rc;
}

/* All of it is there: as this segment, in other ones, or not at all, if the
 * archive has a hole that it fills. */
static int
skip(struct spool *s, const struct kv_image *img)
{
	const struct kv_archive_seg *seg;
	int rc;

	if (img->state != KV_IMAGE_SEALED || img->records == 0)
		return 0;
	if ((rc = compare(s, img)) != 0)
		return rc;
	seg = kv_archive_find(s->a, img->head.epoch, img->head.first_seq);
	if (seg != NULL && (seg->first != img->head.first_seq ||
	    seg->last != img->last_seq))
		return 0;
	return s->o->dry_run ? 0 : kv_archive_put_segment(s->a, img,
	    s->o->zstd);
}

static int
take_tail(struct spool *s, const struct kv_image *img)
{
	struct kv_sink *sink;
	int rc;

	if ((rc = kv_sink_open(s->a, s->o->zstd, &sink)) != 0)
		return rc;
	rc = kv_sink_head(sink, img->bytes, img->head.first_seq - 1);
	if (rc == 0)
		rc = kv_sink_records(sink, img->bytes + KV_SEGMENT_HEAD,
		    (size_t)(img->end - KV_SEGMENT_HEAD));
	if (rc == 0)
		rc = kv_sink_flush(sink);
	kv_sink_close(sink);
	return rc;
}

static int
pretend(struct spool *s, const struct kv_image *img,
    const struct kv_accept *v)
{
	uint64_t off;

	if (img->state == KV_IMAGE_SEALED && kv_image_at(img, v->last, &off,
	    &s->at.chain) == 0) {
		s->at.epoch = img->head.epoch;
		s->at.nonce = img->head.nonce;
		s->at.seq = v->last;
	}
	return 0;
}

static int
apply(struct spool *s, const struct kv_image *img, const struct kv_accept *v)
{
	int rc;

	if (s->o->dry_run)
		return pretend(s, img, v);
	if (img->state != KV_IMAGE_SEALED)
		return take_tail(s, img);
	rc = kv_archive_put_segment(s->a, img, s->o->zstd);
	if (rc != 0 && rc != KEVO_FALSE)
		return rc;
	if (v->orphan_first != 0)
		rc = kv_archive_put_orphan(s->a, img);
	if (rc != 0 && rc != KEVO_FALSE)
		return rc;
	return kv_tail_drop(s->a, img->head.epoch, img->last_seq);
}

static void
orphans(struct spool *s, const struct kv_accept *v,
    const struct kv_image *img)
{
	kv_ship_fail(&s->a->env, KV_SHIP_ORPHANS, "%s: %" PRIu64 " commits %"
	    PRIu64 "..%" PRIu64 " of epoch %" PRIu32 " lost a promotion; "
	    "%s in orphans/; next: kevo-walship tail it, and decide",
	    s->a->path, v->orphan_last - v->orphan_first + 1,
	    v->orphan_first, v->orphan_last, img->head.epoch,
	    s->o->dry_run ? "to be saved" : "saved");
	report(s, KV_SHIP_ORPHANS);
}

/* A file that is still growing, or whose copy was interrupted, stays for the
 * copy to go on with.  Only a name that ends in .open says that it is all
 * there is. */
static int
is_unfinished(const struct file *f, const struct kv_image *img)
{
	size_t len = strlen(f->name);

	return img->state == KV_IMAGE_SHORT || (img->state == KV_IMAGE_OPEN &&
	    (len < 5 || strcmp(f->name + len - 5, ".open") != 0));
}

static int
verdict(struct spool *s, struct file *f, const struct kv_image *img,
    const struct kv_accept *v, const struct kv_accept_to *to)
{
	int rc;

	if (v->verdict == KV_ACCEPT_APPLY)
		return apply(s, img, v);
	if (v->verdict == KV_ACCEPT_SKIP)
		return skip(s, img);
	if (v->verdict != KV_ACCEPT_ORPHANED)
		return kv_accept_fail(&s->a->env, v, img, to, kv_path(&s->dir,
		    f->name), s->a->path);
	rc = s->o->dry_run ? 0 : kv_archive_put_orphan(s->a, img);
	return rc == KEVO_FALSE ? 0 : rc;
}

static void
finish(struct spool *s, struct file *f, const struct kv_image *img,
    const struct kv_accept *v, int rc, int last_round)
{
	if (s->ours) {		/* the file that came can replace it */
		s->ours = 0;
		if (last_round)
			report(s, rc);
		return;
	}
	switch (rc) {
	case 0:
	case KEVO_FALSE:
		if (v->orphan_first != 0)
			orphans(s, v, img);
		taken(s, f);
		break;
	case KV_SHIP_CORRUPT:
	case KV_SHIP_WRONG_DB:
	case KV_SHIP_FORK:
	case KV_SHIP_CONFLICT:
		reject(s, f, rc);
		break;
	case KV_SHIP_SHORT:
	case KV_SHIP_GAP:
	case KV_SHIP_WAITING:
		if (last_round)
			report(s, rc);
		break;
	default:
		spool_fail(s, rc);
	}
}

void
spool_take_segment(struct spool *s, struct file *f, int last_round)
{
	const char *path = kv_path(&s->dir, f->name);
	struct kv_accept v = { .verdict = KV_ACCEPT_SKIP };
	struct kv_accept_to to;
	struct kv_image img;
	int rc;

	rc = kv_image_load(&s->a->env, s->dir.fd, f->name, path, &img);
	if (rc == KEVO_ENODB) {
		f->done = 1;	/* taken back */
		return;
	}
	if (rc != 0)
		spool_fail(s, rc);
	if (is_unfinished(f, &img))
		rc = kv_ship_fail(&s->a->env, KV_SHIP_SHORT, "%s: it ends "
		    "after %" PRIu64 " sound records, without a seal; it "
		    "stays; next: let the copy go on", path, img.records);
	else if (img.state == KV_IMAGE_CORRUPT || name_lies(f, &img))
		rc = kv_ship_fail(&s->a->env, KV_SHIP_CORRUPT, "%s: record %"
		    PRIu64 " at byte %" PRIu64 ": %s; moved to state/reject; "
		    "next: fetch it again", path, img.records + 1, img.end,
		    img.why[0] != '\0' ? img.why :
		    "its name is not what it holds");
	if (rc == 0) {
		judge(s, &img, &to, &v);
		rc = verdict(s, f, &img, &v, &to);
	}
	finish(s, f, &img, &v, rc, last_round);
	kv_image_release(&img);
}
