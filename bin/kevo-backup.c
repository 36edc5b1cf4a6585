/*
 * kevo-backup: a database as one archive, full or incremental.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backup.h"
#include "cli.h"
#include "db.h"
#include "options.h"
#include "outfile.h"
#include "ship/base.h"
#include "when.h"

enum { OPT_BASE = 400 };

static const struct cli_opt opts[] = {
	{ 'o', 'o', "output", CLI_REQUIRED, "FILE",
	    "write FILE, whole or not at all; -: stdout" },
	{ 'z', 'z', "compress", CLI_REQUIRED, "HOW:none zstd gzip",
	    "compress (none)" },
	{ OPT_BASE, 0, "base", CLI_REQUIRED, "FILE",
	    "only what the backup FILE lacks" },
	{ OPT_SINCE, 0, "since", CLI_REQUIRED, "VERSION",
	    "only the log behind this version" },
	{ 'n', 'n', "dry-run", CLI_NONE, NULL,
	    "read all of it, say what would be written" },
	ROW_PROGRESS,
	ROW_QUIET,
	ROW_VERBOSE,
	ROW_END
};

static const struct cli_tool tool = {
	"kevo-backup",
	"Write a database as an archive that any tar unpacks",
	"[-nqv] [-o FILE] [-z none|zstd|gzip]\n"
	" [--base=FILE|--since=VERSION] [--progress] DB",
	opts,
	"  kevo-backup -z zstd -o monday.tar.zst data.kv\n"
	"  kevo-backup -z zstd --base=monday.tar.zst -o tuesday.tar.zst \\\n"
	"      data.kv\n"
	"  kevo-backup data.kv | ssh host 'cat > data.tar'\n"
	"  kevo-restore new.kv monday.tar.zst tuesday.tar.zst\n"
};

struct backup {
	struct cli_open_opts open;
	struct kv_base_write w;
	const char *output;
	const char *base;
	int dry_run;
	uint64_t size;		/* of the archive */
	struct kv_base_parent parent;
};

/* ---- the archive ------------------------------------------------------- */

static int
put(void *arg, const void *p, size_t len)
{
	struct backup *b = arg;

	b->size += len;
	if (!b->dry_run)
		cli_out(p, len);
	return 0;
}

static int
progress(void *arg, uint64_t bytes, uint64_t total)
{
	(void)arg;
	cli_progress_bytes("backed up", bytes, total);
	return cli_stopped();
}

/* The backup that is continued is read to its end: an increment to one that
 * is not whole would be worth nothing. */
static void
read_parent(struct backup *b)
{
	struct kv_env env = { "" };
	struct kv_tar_in *in;
	const char *name;
	int fd = backup_input(b->base, &name), rc;

	if ((rc = kv_tar_open(&env, fd, name, cli_stopped, &in)) == 0) {
		rc = kv_base_parent_read(&env, in, name, &b->parent);
		kv_tar_close(in);
	}
	if (rc != 0)
		backup_fail(&env, rc);
	if (fd > 2)
		close(fd);
	b->w.parent = &b->parent;
}

static void
say_dry(const struct backup *b, const struct kv_base *base)
{
	char line[200];
	int n = snprintf(line, sizeof(line), "would be written: %" PRIu64
	    " bytes, of %" PRIu64 " files, up to commit %" PRIu64 "\n",
	    b->size, base->files, base->end.seq);

	cli_out(line, (size_t)n);
}

static void
say(const struct kv_base *base)
{
	char at[KV_POSITION_LEN], when[WHEN_LEN];

	if (!cli_verbose)
		return;
	kv_position_print(at, &base->end);
	when_print(when, base->time_ns);
	cli_note("%" PRIu64 " files, %" PRIu64 " bytes, up to commit %" PRIu64
	    " of %s (%s)", base->files, base->bytes, base->end.seq, when, at);
}

/* ---- options ----------------------------------------------------------- */

static enum kv_tar_filter
filter_of(const char *how)
{
	if (strcmp(how, "none") == 0)
		return KV_TAR_PLAIN;
	if (strcmp(how, "zstd") == 0)
		return KV_TAR_ZSTD;
	if (strcmp(how, "gzip") == 0)
		return KV_TAR_GZIP;
	cli_usage("-z: %s: not one of none, zstd, gzip", how);
}

/* Times of members, for who wants to say. */
static int64_t
source_date(void)
{
	const char *s = getenv("SOURCE_DATE_EPOCH");

	if (s == NULL || *s == '\0')
		return -1;
	return (int64_t)cli_number("SOURCE_DATE_EPOCH", s,
	    (uint64_t)1 << 33);
}

static void
parse(struct backup *b, struct cli_args *a)
{
	int id;

	b->open.flags = KEVO_RDONLY;
	while ((id = cli_next(a)) != 0)
		if (id == 'o')
			b->output = a->arg;
		else if (id == 'z')
			b->w.filter = filter_of(a->arg);
		else if (id == OPT_BASE)
			b->base = a->arg;
		else if (id == OPT_SINCE)
			b->w.since = cli_number("--since", a->arg,
			    UINT64_MAX);
		else if (id == OPT_PROGRESS)
			cli_progress_mode(a->arg);
		else if (id == 'n')
			b->dry_run = 1;
		else
			cli_common(&b->open, a, id);
	cli_operands(a, 1, 1);
	if (b->base != NULL && b->w.since != 0)
		cli_usage("--base and --since do not go together");
	if (b->output != NULL && *b->output == '\0')
		cli_usage("-o: the name of the file is empty");
	if (b->output != NULL && strcmp(b->output, "-") == 0)
		b->output = NULL;
	if (!b->dry_run && b->output == NULL && isatty(1))
		cli_usage_hint("name a file with -o, or send it into a pipe",
		    "an archive does not go to a terminal");
}

int
main(int argc, char *argv[])
{
	static struct backup b = { .w = { .sink = { put, &b },
		.progress = progress } };
	struct kv_base base;
	struct cli_args a;
	struct kevo *db;
	int rc;

	cli_start(&a, &tool, argc, argv);
	parse(&b, &a);
	backup_need_archives();
	backup_raise_limits();
	b.w.time = source_date();
	cli_guard_maps(a.argv[a.i]);
	db = cli_open(a.argv[a.i], &b.open);
	cli_signals();
	if (b.base != NULL)
		read_parent(&b);
	if (b.output != NULL && b.dry_run)
		outfile_check(b.output);
	else if (b.output != NULL)
		outfile_open(b.output);
	if ((rc = kv_base_write(db, &b.w, &base)) != 0)
		backup_fail(&db->env, rc);
	if (b.output != NULL && !b.dry_run)
		outfile_finish();
	if (b.dry_run)
		say_dry(&b, &base);
	cli_out_flush();
	cli_progress_done("backed up", CLI_NO_RECORDS);
	say(&base);
	kv_base_parent_release(&b.parent);
	return cli_close(db, 0);
}
