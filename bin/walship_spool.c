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
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "epoch.h"
#include "ident.h"
#include "ship/ack.h"
#include "ship/image.h"
#include "slots.h"
#include "walship.h"
#include "walship_spool_work.h"

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
				spool_take_epoch(s, f, last_round);
			else
				spool_take_segment(s, f, last_round);
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
	if (s->o->dry_run && rc == KEVO_ENODB && s->a != NULL &&
	    first_epoch(s, &first)) {
		cli_say("%s: would be made", s->o->to);
		exit(cli_close(NULL, 0));
	}
	if (s->o->dry_run && rc == 0)
		return;
	if (rc == KEVO_ENODB && s->a != NULL && first_epoch(s, &first)) {
		kv_archive_close(s->a);
		rc = kv_archive_create(s->o->to, &first, &s->a);
	}
	if (rc != 0 || (rc = kv_archive_lock(s->a, "kevo-walship recv")) != 0)
		spool_fail(s, rc);
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
		spool_fail(s, rc);
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
	if (o->slot != NULL && !o->dry_run && !cli_stopped())
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
