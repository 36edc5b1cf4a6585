/*
 * recv --spool DIR --to ARCHIVE: files that something else copied.
 *
 * Nothing is known of them but what is in them.  A file that is taken is
 * removed; one that cannot be yet stays; one that nobody will want is moved
 * to state/reject with a reason.  What is taken may make another one fit, so
 * they are looked at until nothing changes.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "epoch.h"
#include "ident.h"
#include "ship/accept.h"
#include "ship/ack.h"
#include "ship/archive.h"
#include "ship/image.h"
#include "ship/ship.h"
#include "ship/tail.h"
#include "slots.h"
#include "walship.h"
#include "walship_archive.h"

struct file {
	char *name;
	int done;		/* taken, or moved away */
};

struct spool {
	const struct walship_spool *o;
	struct kv_archive *a;
	struct kv_dir dir;
	struct kv_names names;
	struct file *file;
	size_t n, room;
	int worst;		/* exit status */
	int changed;
	int ours;		/* what is damaged is the archive's own */
	uint64_t taken;
};

static void __attribute__((noreturn))
fail(struct spool *s, int rc)
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
	if (unlinkat(s->dir.fd, f->name, 0) != 0 && errno != ENOENT)
		fail(s, kv_ship_fail_errno(&s->a->env, kv_path(&s->dir,
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

/* Move a file to state/reject, and say there why; then tell. */
static void
reject(struct spool *s, struct file *f, int rc)
{
	char to[KV_ARCHIVE_PATH_LEN], line[KV_ARCHIVE_PATH_LEN + 800];
	char when[KV_SHIP_TIME_LEN];

	kv_ship_time(when, kv_now_ns());
	snprintf(to, sizeof(to), "state/reject/%.200s", f->name);
	snprintf(line, sizeof(line), "%s %s: %s: %s\n", when, f->name,
	    kv_ship_class_name(rc), s->a->env.msg);
	report(s, rc);
	if (renameat(s->dir.fd, f->name, s->a->dir.fd, to) != 0 &&
	    (errno != EXDEV || copy_away(s, f->name, to) != 0))
		fail(s, kv_ship_fail_errno(&s->a->env, kv_path(&s->dir,
		    f->name), "move away"));
	f->done = 1;
	s->changed = 1;
	if ((rc = kv_archive_note(s->a, "reject/REASON", line)) != 0)
		fail(s, rc);
}

/* ---- epochs ------------------------------------------------------------ */

static void
take_epoch(struct spool *s, struct file *f, int last_round)
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
		rc = kv_archive_put_epoch(s->a, &e);
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
		fail(s, rc);
}

/* ---- segments ---------------------------------------------------------- */

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
		fail(s, rc);
	kv_accept(img, to, v);
	if (v->verdict != KV_ACCEPT_GAP)
		return;
	rc = kv_tail_complete(s->a, s->o->zstd, &img->head);
	if (rc < 0 || rc > 1)
		fail(s, rc);
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
	return kv_archive_put_segment(s->a, img, s->o->zstd);
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
apply(struct spool *s, const struct kv_image *img, const struct kv_accept *v)
{
	int rc;

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
	    "saved in orphans/; next: kevo-walship tail it, and decide",
	    s->a->path, v->orphan_last - v->orphan_first + 1,
	    v->orphan_first, v->orphan_last, img->head.epoch);
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
	rc = kv_archive_put_orphan(s->a, img);
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
		fail(s, rc);
	}
}

static void
take_segment(struct spool *s, struct file *f, int last_round)
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
		fail(s, rc);
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

/* ---- which files ------------------------------------------------------- */

static int
ends(const char *name, const char *with)
{
	size_t n = strlen(name), w = strlen(with);

	return n > w && strcmp(name + n - w, with) == 0;
}

/* Names of copies that are on their way are others. */
static int
is_wanted(const char *name)
{
	return name[0] != '.' && strlen(name) < 200 && (ends(name, ".seg") ||
	    ends(name, ".seg.zst") || ends(name, ".open") ||
	    ends(name, ".epoch"));
}

static void
add(struct spool *s, const char *name)
{
	size_t room = s->room == 0 ? 64 : s->room * 2;
	struct file *p;

	if (s->n == s->room) {
		if ((p = realloc(s->file, room * sizeof(*p))) == NULL)
			cli_die(EX_IOERR_, "out of memory");
		s->file = p;
		s->room = room;
	}
	s->file[s->n].done = 0;
	if ((s->file[s->n++].name = strdup(name)) == NULL)
		cli_die(EX_IOERR_, "out of memory");
}

static int
by_name(const void *a, const void *b)
{
	return strcmp(((const struct file *)a)->name,
	    ((const struct file *)b)->name);
}

static void
list(struct spool *s)
{
	struct dirent *e;
	struct stat st;
	DIR *d;
	int fd;

	fd = kv_openat(s->dir.fd, ".", O_RDONLY | O_DIRECTORY, 0);
	if (fd < 0 || (d = fdopendir(fd)) == NULL)
		cli_die(EX_IOERR_, "%s: cannot open: %s", s->dir.path,
		    strerror(errno));
	errno = 0;
	while ((e = readdir(d)) != NULL) {
		if (is_wanted(e->d_name) && fstatat(s->dir.fd, e->d_name, &st,
		    AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode))
			add(s, e->d_name);
		errno = 0;
	}
	if (errno != 0)
		cli_die(EX_IOERR_, "%s: cannot read: %s", s->dir.path,
		    strerror(errno));
	closedir(d);
	if (s->n > 0)
		qsort(s->file, s->n, sizeof(*s->file), by_name);
}

/* ---- all of them ------------------------------------------------------- */

static void
look_at_all(struct spool *s, int last_round)
{
	for (int epochs = 1; epochs >= 0; epochs--)
		for (size_t i = 0; i < s->n && !cli_stopped(); i++) {
			struct file *f = &s->file[i];

			if (f->done || ends(f->name, ".epoch") != epochs)
				continue;
			if (epochs)
				take_epoch(s, f, last_round);
			else
				take_segment(s, f, last_round);
		}
}

/* A new archive is of the database that the first of the files is of; what
 * the first epoch is, each of its segments says. */
static int
first_epoch(struct spool *s, struct kv_epoch *e)
{
	struct kv_ident ident;
	struct kv_image img;
	int found = 0;

	for (size_t i = 0; i < s->n && !found; i++) {
		if (ends(s->file[i].name, ".epoch") || kv_image_load(
		    &s->a->env, s->dir.fd, s->file[i].name,
		    s->file[i].name, &img) != 0)
			continue;
		memset(&ident, 0, sizeof(ident));
		memcpy(ident.id, img.head.id, sizeof(ident.id));
		ident.epoch = img.head.epoch;
		ident.nonce = img.head.nonce;
		found = img.records > 0 && img.head.epoch == 1;
		if (found)
			kv_epoch_first(&ident, e);
		kv_image_release(&img);
	}
	return found;
}

static void
open_archive(struct spool *s)
{
	struct kv_epoch first;
	int rc;

	rc = kv_archive_open(s->o->to, &s->a);
	if (rc == KEVO_ENODB && s->a != NULL && first_epoch(s, &first)) {
		kv_archive_close(s->a);
		rc = kv_archive_create(s->o->to, &first, &s->a);
	}
	if (rc != 0 || (rc = kv_archive_lock(s->a, "kevo-walship recv")) != 0)
		fail(s, rc);
}

static void
open_spool(struct spool *s)
{
	s->dir.path = s->o->dir;
	s->dir.names = &s->names;
	s->dir.fd = kv_openat(AT_FDCWD, s->o->dir, O_PATH | O_DIRECTORY, 0);
	if (s->dir.fd < 0)
		cli_die(errno == ENOENT ? EX_NOINPUT_ : EX_IOERR_,
		    "%s: cannot open: %s", s->o->dir, strerror(errno));
}

/* How far the archive goes now, for the slot that it came from. */
static void
acknowledge(struct spool *s)
{
	struct kv_ack a = { .stage = KV_ACK_SYNCED, .time_ns = kv_now_ns() };
	char line[KV_ACK_MAX];
	int rc;

	if ((rc = kv_archive_list(s->a)) != 0 ||
	    (rc = kv_archive_position(s->a, &a.at)) != 0)
		fail(s, rc);
	if (!kv_slots_name_ok(s->o->slot))
		cli_usage("--slot: %s cannot be the name of a slot",
		    s->o->slot);
	strcpy(a.slot, s->o->slot);
	a.none = a.at.epoch == 0;
	cli_out(line, kv_ack_print(line, &a));
}

int
walship_recv_spool(const struct walship_spool *o)
{
	struct spool s = { .o = o };

	open_spool(&s);
	list(&s);
	open_archive(&s);
	cli_signals();
	do {
		s.changed = 0;
		look_at_all(&s, 0);
	} while (s.changed && !cli_stopped());
	look_at_all(&s, 1);
	if (cli_verbose)
		cli_msg("took %" PRIu64 " files", s.taken);
	if (o->slot != NULL && !cli_stopped())
		acknowledge(&s);
	for (size_t i = 0; i < s.n; i++)
		free(s.file[i].name);
	free(s.file);
	close(s.dir.fd);
	kv_archive_close(s.a);
	if (cli_stopped())
		cli_die_by_signal();
	return cli_close(NULL, s.worst);
}
