/*
 * kevo-walship prune: what an archive need not keep any more.
 *
 * A base restores alone, and the log behind its end goes on from there.  So
 * bases older than the newest few can go, and with them the log up to the end
 * of the oldest that stays.  Epochs and orphans are never touched.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "options.h"
#include "position.h"
#include "ship/archive.h"
#include "ship/image.h"
#include "ship/ship.h"
#include "walship.h"

enum { OPT_KEEP_BASES = 400, OPT_KEEP_DAYS };

static const struct cli_opt opts[] = {
	{ OPT_KEEP_BASES, 0, "keep-bases", CLI_REQUIRED, "N",
	    "keep the newest N full bases, and the log behind them" },
	{ OPT_KEEP_DAYS, 0, "keep-days", CLI_REQUIRED, "N",
	    "and everything that came in the last N days" },
	ROW_DRY_RUN("say what would be removed, remove nothing"),
	ROW_QUIET,
	ROW_VERBOSE,
	ROW_END
};

const struct cli_tool walship_prune_tool = {
	"kevo-walship prune",
	"Remove what an archive need not keep",
	"ARCHIVE --keep-bases=N [-nqv] [--keep-days=N]",
	opts,
	"  kevo-walship prune archive --keep-bases 4 --keep-days 30 -n\n"
};

struct base {
	char name[128];		/* below base/ */
	uint32_t epoch;
	uint64_t seq;		/* its end */
	int full;
	int lost;		/* a promotion: nothing is restored from it */
	int keep;
};

struct prune {
	struct kv_archive *a;
	uint64_t keep_bases;
	uint64_t days;
	int dry_run;
	time_t now;
	struct base *base;
	size_t nbase, room;
	uint64_t removed, bytes;
};

static void __attribute__((noreturn))
fail(struct prune *p, int rc)
{
	walship_archive_fail(p->a, rc);
}

/* ---- removing ---------------------------------------------------------- */

/* Older than so many days; a file that is gone is not. */
static int
is_old(struct prune *p, const char *file, uint64_t days, struct stat *st)
{
	return fstatat(p->a->dir.fd, file, st, AT_SYMLINK_NOFOLLOW) == 0 &&
	    S_ISREG(st->st_mode) && (p->now < st->st_mtime ? 0 :
	    (uint64_t)(p->now - st->st_mtime) >= days * 86400u);
}

static void
remove_old(struct prune *p, const char *file, uint64_t days)
{
	struct stat st;

	if (!is_old(p, file, days, &st))
		return;
	if (p->dry_run || cli_verbose)
		cli_say("%s %s", p->dry_run ? "would remove" : "removed",
		    file);
	if (!p->dry_run && unlinkat(p->a->dir.fd, file, 0) != 0 &&
	    errno != ENOENT)
		fail(p, kv_ship_fail_errno(&p->a->env, kv_path(&p->a->dir,
		    file), "remove"));
	p->removed++;
	p->bytes += (uint64_t)st.st_size;
}

/* ---- bases ------------------------------------------------------------- */

/* "00000002-000000000000003d.tar", ".inc.tar"; it may be compressed. */
static int
parse_base(const char *name, struct base *b)
{
	int n = 0;

	memset(b, 0, sizeof(*b));
	if (strlen(name) >= sizeof(b->name) || sscanf(name, "%8" SCNx32 "-%16"
	    SCNx64 "%n", &b->epoch, &b->seq, &n) != 2 || n != 25)
		return 0;
	strcpy(b->name, name);
	b->full = strncmp(name + n, ".tar", 4) == 0;
	return b->full || strncmp(name + n, ".inc.tar", 8) == 0;
}

static int
add_base(void *arg, const char *name)
{
	struct prune *p = arg;
	struct base b, *v;

	if (!parse_base(name, &b))
		return 0;
	b.lost = kv_archive_is_lost(p->a, b.epoch, b.seq);
	if (p->nbase == p->room) {
		p->room = p->room == 0 ? 16 : p->room * 2;
		if ((v = realloc(p->base, p->room * sizeof(*v))) == NULL)
			cli_die(EX_IOERR_, "out of memory");
		p->base = v;
	}
	p->base[p->nbase++] = b;
	return 0;
}

static int
by_place(const void *x, const void *y)
{
	const struct base *a = x, *b = y;

	if (a->epoch != b->epoch)
		return a->epoch < b->epoch ? -1 : 1;
	return a->seq < b->seq ? -1 : a->seq > b->seq;
}

/* Where the parent of an increment ends: its member KEVO-BASE says so, which
 * follows a few directories. */
static int
read_parent(struct prune *p, const struct base *b, struct kv_position *out)
{
	static char text[16384 + 1];
	char file[KV_ARCHIVE_PATH_LEN], *at;
	ssize_t n = -1, off = 0;
	int fd;

	snprintf(file, sizeof(file), "base/%s", b->name);
	if ((fd = kv_openat(p->a->dir.fd, file, O_RDONLY, 0)) >= 0) {
		n = pread(fd, text, sizeof(text) - 1, 0);
		close(fd);
	}
	text[n > 0 ? n : 0] = '\0';
	while (off < n && strncmp(text + off, "kevo-base 1\n", 12) != 0)
		off += 512;
	if (off >= n || (at = strstr(text + off, "\nparent ")) == NULL)
		return -1;
	at += sizeof("\nparent ") - 1;
	at[strcspn(at, "\n")] = '\0';
	return kv_position_parse(at, out);
}

/* What an increment that is kept builds on is kept, too.  1: it is there. */
static int
keep_parent(struct prune *p, const struct base *b)
{
	struct kv_position parent;

	if (read_parent(p, b, &parent) != 0)
		return 0;
	for (size_t i = 0; i < p->nbase; i++)
		if (p->base[i].epoch == parent.epoch &&
		    p->base[i].seq == parent.seq) {
			p->base[i].keep = 1;
			return 1;
		}
	return 0;
}

/* Which stay.  Where it cannot be told what an increment needs, all do. */
static void
choose_bases(struct prune *p)
{
	uint64_t fulls = 0;
	size_t i;

	for (i = p->nbase; i-- > 0;) {
		p->base[i].keep = fulls < p->keep_bases;
		fulls += p->base[i].full && !p->base[i].lost;
	}
	for (i = p->nbase; i-- > 0;)
		if (p->base[i].keep && !p->base[i].full &&
		    !keep_parent(p, &p->base[i])) {
			cli_note("base/%s: it cannot be told what it builds "
			    "on: all bases are kept", p->base[i].name);
			for (size_t k = 0; k < p->nbase; k++)
				p->base[k].keep = 1;
			return;
		}
}

static void
prune_bases(struct prune *p)
{
	char file[KV_ARCHIVE_PATH_LEN];
	struct stat st;

	for (size_t i = 0; i < p->nbase && !cli_stopped(); i++) {
		if (p->base[i].keep)
			continue;
		snprintf(file, sizeof(file), "base/%s", p->base[i].name);
		if (is_old(p, file, p->days, &st))
			remove_old(p, file, p->days);
		else
			p->base[i].keep = 1;
	}
}

/* ---- the log ----------------------------------------------------------- */

/* The first commit that some base which stays needs the log behind; 0: there
 * is no base. */
static uint64_t
log_from(const struct prune *p)
{
	for (size_t i = 0; i < p->nbase; i++)
		if (p->base[i].keep && p->base[i].full && !p->base[i].lost)
			return p->base[i].seq;
	return 0;
}

/* Commits that lost a promotion, and came before its epoch did, are kept in
 * orphans/.  1: they are there. */
static int
save_lost(struct prune *p, const struct kv_archive_seg *s)
{
	char file[KV_ARCHIVE_PATH_LEN];
	struct kv_image img;
	struct stat st;
	int rc;

	kv_archive_seg_path(file, s);
	if (!is_old(p, file, p->days, &st))
		return 0;
	if (p->dry_run || cli_verbose)
		cli_say("%s %s in orphans/", p->dry_run ? "would save" :
		    "saved", file);
	if (p->dry_run)
		return 1;
	if ((rc = kv_archive_load(p->a, s, &img)) != 0) {
		cli_note("%s; it stays", p->a->env.msg);
		return 0;
	}
	rc = kv_archive_put_orphan(p->a, &img);
	kv_image_release(&img);
	if (rc != 0 && rc != KEVO_FALSE)
		fail(p, rc);
	return 1;
}

/* Behind the place where the next epoch began nothing is needed. */
static uint64_t
last_needed(const struct prune *p, const struct kv_archive_seg *s)
{
	const struct kv_epoch *next = kv_history_next(&p->a->history,
	    s->epoch);

	return next != NULL && next->start < s->last ? next->start : s->last;
}

/* The oldest first, so that what is left has no gap, whenever we are
 * killed. */
static void
prune_log(struct prune *p)
{
	uint64_t from = log_from(p);
	char file[KV_ARCHIVE_PATH_LEN];

	for (size_t i = 0; i < p->a->nseg && !cli_stopped(); i++)
		for (int k = KV_SPELL_SEG; k <= KV_SPELL_ZST; k++) {
			struct kv_archive_seg s = p->a->seg[i];

			if (last_needed(p, &s) > from || !(s.spelling & k))
				continue;
			s.spelling = (uint8_t)k;
			if (kv_archive_is_lost(p->a, s.epoch, s.last) &&
			    !save_lost(p, &s))
				continue;
			kv_archive_seg_path(file, &s);
			remove_old(p, file, p->days);
		}
}

/* ---- leavings ---------------------------------------------------------- */

static void
prune_dir(struct prune *p, const char *sub, int hidden, uint64_t days)
{
	char file[KV_ARCHIVE_PATH_LEN];
	struct dirent *e;
	DIR *d;
	int fd;

	fd = kv_openat(p->a->dir.fd, sub, O_RDONLY | O_DIRECTORY, 0);
	if (fd < 0)
		return;
	if ((d = fdopendir(fd)) == NULL) {
		close(fd);
		return;
	}
	while ((e = readdir(d)) != NULL)
		if ((e->d_name[0] == '.') == hidden &&
		    strcmp(e->d_name, "REASON") != 0 &&
		    snprintf(file, sizeof(file), "%s/%s", sub, e->d_name) <
		    (int)sizeof(file))
			remove_old(p, file, days);
	closedir(d);
}

/* What killed programs left, ours and others', and what was rejected. */
static void
prune_leavings(struct prune *p)
{
	static const char *const dirs[] = {
		".", "epochs", "base", "orphans", "state", "state/tail",
		"state/incoming"
	};
	char dir[32];

	for (size_t i = 0; i < sizeof(dirs) / sizeof(dirs[0]); i++)
		prune_dir(p, dirs[i], 1, 1);
	for (size_t i = 0; i < p->a->history.n; i++) {
		snprintf(dir, sizeof(dir), "wal/%08" PRIx32,
		    p->a->history.v[i].epoch);
		prune_dir(p, dir, 1, 1);
	}
	prune_dir(p, "state/reject", 0, 7);
}

/* Lines of files that are gone leave SUMS. */
static void
prune_sums(struct prune *p)
{
	char *text, *fresh, *line, *save = NULL;
	size_t n = 0;
	int rc;

	if (p->removed == 0 || p->dry_run ||
	    kv_archive_get_state(p->a, "SUMS", &text) != 0)
		return;
	if ((fresh = malloc(strlen(text) + 2)) == NULL)
		cli_die(EX_IOERR_, "out of memory");
	fresh[0] = '\0';
	for (line = strtok_r(text, "\n", &save); line != NULL;
	    line = strtok_r(NULL, "\n", &save))
		if (strlen(line) > 34 && faccessat(p->a->dir.fd, line + 34,
		    F_OK, 0) == 0)
			n += (size_t)sprintf(fresh + n, "%s\n", line);
	rc = kv_archive_set_state(p->a, "SUMS", fresh);
	free(fresh);
	free(text);
	if (rc != 0)
		fail(p, rc);
}

/* ---- the command ------------------------------------------------------- */

static void
prune(struct prune *p)
{
	int rc;

	if ((!p->dry_run && (rc = kv_archive_lock(p->a,
	    "kevo-walship prune")) != 0) ||
	    (rc = kv_archive_list(p->a)) != 0 ||
	    (rc = kv_archive_each(p->a, "base", add_base, p)) != 0)
		fail(p, rc);
	if (p->nbase > 0)
		qsort(p->base, p->nbase, sizeof(*p->base), by_place);
	choose_bases(p);
	prune_bases(p);
	if (log_from(p) == 0)
		cli_note("%s: there is no full base, so all of the log is "
		    "kept", p->a->path);
	else
		prune_log(p);
	prune_leavings(p);
	prune_sums(p);
}

int
walship_prune(struct cli_args *a)
{
	struct prune p = { .keep_bases = 0, .now = time(NULL) };
	struct cli_open_opts common = { 0, NULL, NULL, NULL };
	struct walship_words w;
	int id;

	walship_words_init(&w);
	while ((id = walship_next(a, &w)) != 0)
		if (id == OPT_KEEP_BASES)
			p.keep_bases = cli_number("--keep-bases", a->arg,
			    1000000);
		else if (id == OPT_KEEP_DAYS)
			p.days = cli_number("--keep-days", a->arg, 100000);
		else if (id == 'n')
			p.dry_run = 1;
		else
			cli_common(&common, a, id);
	walship_words_check(&w, 1, 1, "ARCHIVE");
	if (p.keep_bases == 0)
		cli_usage("--keep-bases is missing, or 0");
	p.a = walship_archive_open(w.word[0]);
	cli_signals();
	prune(&p);
	if (cli_verbose)
		cli_msg("%" PRIu64 " files, %" PRIu64 " bytes", p.removed,
		    p.bytes);
	free(p.base);
	kv_archive_close(p.a);
	if (cli_stopped())
		cli_die_by_signal();
	return cli_close(NULL, 0);
}
