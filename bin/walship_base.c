/*
 * kevo-walship base: a base, as a stream or into an archive.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "backup.h"
#include "db.h"
#include "options.h"
#include "ship/archive.h"
#include "ship/base.h"
#include "ship/ship.h"
#include "slots.h"
#include "walship.h"
#include "walship_base.h"

enum { OPT_BASE_TO = 700, OPT_BASE_SINCE, OPT_BASE_RATE, OPT_BASE_SLOT };

static const struct cli_opt opts[] = {
	{ OPT_BASE_TO, 0, "to", CLI_REQUIRED, "ARCHIVE",
	    "where it goes; -: standard output" },
	{ OPT_BASE_SINCE, 0, "since", CLI_REQUIRED, "FILE",
	    "only what the base FILE lacks" },
	{ OPT_BASE_SLOT, 0, "slot", CLI_REQUIRED, "NAME",
	    "keep the log from before the base on" },
	{ OPT_BASE_RATE, 0, "bwlimit", CLI_REQUIRED, "SIZE",
	    "at most so many bytes a second" },
	ROW_DRY_RUN("say what would be written"),
	ROW_PROGRESS,
	ROW_QUIET,
	ROW_VERBOSE,
	ROW_END
};

const struct cli_tool walship_base_tool = {
	"kevo-walship base",
	"Write a base: the database as one archive",
	"DB --to=ARCHIVE|- [-nqv] [--since=FILE] [--slot=NAME]\n"
	"  [--bwlimit=SIZE] [--progress]",
	opts,
	"  kevo-walship base data.kv --to archive\n"
	"  ssh primary kevo-walship base data.kv --to - |\n"
	"      kevo-walship restore - --into replica.kv\n"
};

struct base {
	const char *to, *since, *slot;
	struct kv_archive *a;	/* NULL: standard output */
	int fd;			/* of the file in it */
	char temp[KV_ARCHIVE_PATH_LEN];
	struct kv_hash128 *hash;
	int dry_run;
	uint64_t rate;		/* 0: no limit */
	uint64_t sent;
	struct timespec began;
	struct kv_base_write w;
	struct kv_base_parent parent;
};

static struct base base = { .fd = -1 };

/* ---- where it goes ----------------------------------------------------- */

/* Sleep until so much may have been sent. */
static void
keep_pace(struct base *b, size_t len)
{
	struct timespec now, nap;
	double due, spent;

	b->sent += len;
	if (b->rate == 0)
		return;
	clock_gettime(CLOCK_MONOTONIC, &now);
	due = (double)b->sent / (double)b->rate;
	spent = (double)(now.tv_sec - b->began.tv_sec) +
	    (double)(now.tv_nsec - b->began.tv_nsec) / 1e9;
	if (due <= spent)
		return;
	nap.tv_sec = (time_t)(due - spent);
	nap.tv_nsec = (long)((due - spent - (double)nap.tv_sec) * 1e9);
	while (!cli_stopped() && nanosleep(&nap, &nap) != 0 && errno == EINTR)
		;
}

static int
put(void *arg, const void *p, size_t len)
{
	struct base *b = arg;
	int rc;

	if (b->dry_run) {
		b->sent += len;
		return 0;
	}
	if (b->a == NULL) {
		cli_out(p, len);
	} else {
		rc = kv_pwrite(&b->a->env, b->fd, kv_path(&b->a->dir,
		    b->temp), p, len, b->sent);
		if (rc != 0)
			walship_archive_fail(b->a, errno == ENOSPC ||
			    errno == EDQUOT ? KV_SHIP_NOSPACE : rc);
		kv_hash128_add(b->hash, p, len);
	}
	keep_pace(b, len);
	return 0;
}

static int
progress(void *arg, uint64_t bytes, uint64_t total)
{
	(void)arg;
	cli_progress_bytes("sent", bytes, total);
	return cli_stopped();
}

/* ---- a file in an archive ---------------------------------------------- */

static void
remove_temp(int status)
{
	(void)status;
	if (base.temp[0] != '\0')
		unlinkat(base.a->dir.fd, base.temp, 0);
}

/* Who lost a promotion has nothing that could be restored; all the more so
 * if that is found out later. */
static void
check_line(struct base *b, struct kevo *db)
{
	const struct kv_epoch *next;
	struct kv_position at;
	int rc;

	if ((rc = kv_position_now(db, KV_AT_SYNCED, &at)) != 0)
		cli_fail(db, rc);
	if (!kv_archive_is_lost(b->a, at.epoch, at.seq))
		return;
	next = kv_history_next(&b->a->history, at.epoch);
	walship_archive_fail(b->a, kv_ship_fail(&b->a->env, KV_SHIP_FENCED,
	    "%s: epoch %" PRIu32 " exists (%s), and goes on behind commit %"
	    PRIu64 "; commits up to %" PRIu64 " are here; nothing was added; "
	    "next: kevo-walship rejoin", db->path, next->epoch, next->host,
	    next->start, at.seq));
}

static void
begin_file(struct base *b, struct kevo *db)
{
	struct kv_epoch first;
	struct kv_ident id;
	int rc;

	if ((rc = kv_ident_read(&db->env, &db->dir, &id)) != 0)
		cli_fail(db, rc);
	kv_epoch_first(&id, &first);
	if ((rc = kv_archive_create(b->to, &first, &b->a)) != 0 ||
	    (rc = kv_archive_mkdir(b->a, "base")) != 0)
		walship_archive_fail(b->a, rc);
	check_line(b, db);
	snprintf(b->temp, sizeof(b->temp), "base/.tmp.base.%u",
	    (unsigned)getpid());
	cli_at_exit(remove_temp);
	unlinkat(b->a->dir.fd, b->temp, 0);
	b->fd = kv_openat(b->a->dir.fd, b->temp, O_RDWR | O_CREAT | O_EXCL,
	    0666);
	if (b->fd < 0 || (b->hash = kv_hash128_new()) == NULL)
		walship_archive_fail(b->a, kv_ship_fail_errno(&b->a->env,
		    kv_path(&b->a->dir, b->temp), "create"));
}

/* A name is given once; one that is taken by the same bytes is as good. */
static int
is_same(struct base *b, const char *name)
{
	static uint8_t x[65536], y[65536];
	struct stat st;
	int fd = kv_openat(b->a->dir.fd, name, O_RDONLY, 0), same;
	uint64_t at = 0;

	if (fd < 0)
		return 0;
	same = fstat(fd, &st) == 0 && (uint64_t)st.st_size == b->sent;
	while (same && at < b->sent) {
		size_t n = b->sent - at < sizeof(x) ? (size_t)(b->sent - at) :
		    sizeof(x);

		same = kv_pread(&b->a->env, fd, name, x, n, at) == 0 &&
		    kv_pread(&b->a->env, b->fd, name, y, n, at) == 0 &&
		    memcmp(x, y, n) == 0;
		at += n;
	}
	close(fd);
	return same;
}

static void
give_name(struct base *b, const char *name)
{
	struct kv_archive *a = b->a;
	const char *full = kv_path(&a->dir, name);
	int rc = 0;

	if (fsync(b->fd) != 0)
		rc = kv_ship_fail_errno(&a->env, full, "sync");
	else if (linkat(a->dir.fd, b->temp, a->dir.fd, name, 0) != 0)
		rc = errno != EEXIST ? kv_ship_fail_errno(&a->env, full,
		    "create") : is_same(b, name) ? KEVO_FALSE :
		    kv_ship_fail(&a->env, KV_SHIP_CONFLICT, "%s exists with "
		    "other contents; nothing was overwritten", full);
	if (rc != 0 && rc != KEVO_FALSE)
		walship_archive_fail(a, rc);
	remove_temp(0);
	b->temp[0] = '\0';
	if (kv_sync_dir(&a->env, &a->dir, "base") != 0)
		walship_archive_fail(a, KEVO_EIO);
	if (rc == KEVO_FALSE && cli_verbose)
		cli_note("%s was there already", full);
}

static void
finish_file(struct base *b, const struct kv_base *made)
{
	char name[KV_ARCHIVE_PATH_LEN], sum[KV_HASH128_TEXT];
	char line[KV_ARCHIVE_PATH_LEN + KV_HASH128_TEXT + 4];
	int rc;

	walship_base_name(name, &made->end, made->has_parent);
	give_name(b, name);
	kv_hash128_text(b->hash, sum);
	snprintf(line, sizeof(line), "%s  %s\n", sum, name);
	if ((rc = kv_archive_note(b->a, "SUMS", line)) != 0)
		walship_archive_fail(b->a, rc);
	if (cli_verbose)
		cli_note("%s/%s: %" PRIu64 " bytes", b->to, name, b->sent);
	kv_hash128_free(b->hash);
	close(b->fd);
	kv_archive_close(b->a);
}

/* As begin_file() does, and nothing is changed. */
static void
look_at_archive(struct base *b, struct kevo *db)
{
	struct kv_ident id;
	int rc;

	if ((rc = kv_ident_read(&db->env, &db->dir, &id)) != 0)
		cli_fail(db, rc);
	b->a = walship_archive_open(b->to);
	if (memcmp(id.id, b->a->id, sizeof(id.id)) != 0)
		walship_archive_fail(b->a, kv_ship_fail(&b->a->env,
		    KV_SHIP_WRONG_DB, "%s is of another database than %s",
		    b->to, db->path));
	check_line(b, db);
	kv_archive_close(b->a);
	b->a = NULL;
}

/* ---- the command ------------------------------------------------------- */

/* Made before the base is taken, it has all that follows it. */
static void
make_slot(const char *db, const char *name)
{
	struct cli_open_opts open = { 0, NULL, NULL, NULL };
	struct kv_slots_note note = { .max_age_s = KV_SLOTS_NO_LIMIT };
	struct kevo *w = cli_open(db, &open);
	int rc;

	if ((rc = kv_slots_default_bytes(w, &note.max_bytes)) != 0 ||
	    ((rc = kv_slots_create(w, name, &note)) != 0 &&
	    rc != KEVO_FALSE))
		cli_fail(w, rc);
	if ((rc = kevo_close(w)) != 0)
		cli_die(cli_status(rc), "%s", kevo_strerror(rc));
}

static void
read_parent(struct base *b)
{
	struct kv_env env = { "" };
	struct kv_tar_in *in;
	int fd = walship_input(b->since), rc;

	rc = kv_tar_open(&env, fd, b->since, cli_stopped, &in);
	if (rc == 0) {
		rc = kv_base_parent_read(&env, in, b->since, &b->parent);
		kv_tar_close(in);
	}
	if (rc != 0)
		walship_fail(&env, rc);
	walship_input_done(fd);
	b->w.parent = &b->parent;
}

static void
option(struct base *b, int id, const char *arg)
{
	switch (id) {
	case OPT_BASE_TO:
		b->to = arg;
		break;
	case OPT_BASE_SINCE:
		b->since = arg;
		break;
	case OPT_BASE_SLOT:
		b->slot = arg;
		break;
	case OPT_BASE_RATE:
		b->rate = cli_size("--bwlimit", arg);
		break;
	case OPT_PROGRESS:
		cli_progress_mode(arg);
		break;
	case 'n':
		b->dry_run = 1;
	}
}

static const char *
parse(struct base *b, struct cli_args *a, struct cli_open_opts *open)
{
	static struct walship_words w;
	int id;

	walship_words_init(&w);
	while ((id = walship_next(a, &w)) != 0)
		if (!cli_common(open, a, id))
			option(b, id, a->arg);
	walship_words_check(&w, 1, 1, "DB");
	if (b->to == NULL)
		cli_usage("--to is missing");
	backup_need_archives();
	backup_raise_limits();
	if (strcmp(b->to, "-") == 0 && !b->dry_run && isatty(1))
		cli_die(EX_USAGE_, "a base does not go to a terminal");
	return w.word[0];
}

/* All of it was read, and nothing kept. */
static void
say_dry(const struct base *b, const struct kv_base *made)
{
	char name[KV_ARCHIVE_PATH_LEN] = "-";

	if (strcmp(b->to, "-") != 0)
		walship_base_name(name, &made->end, made->has_parent);
	cli_say("%s: would get %s: %" PRIu64 " files, %" PRIu64 " bytes, "
	    "up to commit %" PRIu64, b->to, name, made->files, b->sent,
	    made->end.seq);
}

int
walship_base(struct cli_args *a)
{
	struct cli_open_opts open = { KEVO_RDONLY, NULL, NULL, NULL };
	struct base *b = &base;
	const char *path = parse(b, a, &open);
	struct kv_base made;
	struct kevo *db;
	int rc;

	cli_guard_maps(path);
	cli_signals();
	if (b->since != NULL)
		read_parent(b);
	if (b->slot != NULL && !b->dry_run)
		make_slot(path, b->slot);
	db = cli_open(path, &open);
	if (strcmp(b->to, "-") != 0 && !b->dry_run)
		begin_file(b, db);
	else if (strcmp(b->to, "-") != 0 && kv_archive_is(b->to))
		look_at_archive(b, db);
	clock_gettime(CLOCK_MONOTONIC, &b->began);
	b->w.sink.put = put;
	b->w.sink.arg = b;
	b->w.durable = 1;
	b->w.time = -1;
	b->w.progress = progress;
	if ((rc = kv_base_write(db, &b->w, &made)) != 0) {
		if (cli_stopped())
			cli_die_by_signal();
		walship_fail(&db->env, rc);
	}
	if (b->a != NULL)
		finish_file(b, &made);
	if (b->dry_run)
		say_dry(b, &made);
	kv_base_parent_release(&b->parent);
	cli_progress_done("sent", CLI_NO_RECORDS);
	return cli_close(db, 0);
}

/* ---- names ------------------------------------------------------------- */

/* "base/00000002-000000000000003d.tar", ".inc.tar" if it is an increment. */
void
walship_base_name(char buf[KV_ARCHIVE_PATH_LEN], const struct kv_position *end,
    int increment)
{
	snprintf(buf, KV_ARCHIVE_PATH_LEN, "base/%08" PRIx32 "-%016" PRIx64
	    "%s.tar", end->epoch, end->seq, increment ? ".inc" : "");
}
