/*
 * kevo-export: all records, or a range, of one snapshot as one stream.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli.h"
#include "cli_tool.h"
#include "format.h"
#include "options.h"
#include "outfile.h"
#include "range.h"

static const struct cli_opt opts[] = {
	ROW_FORMAT_OF(NAMES_WRITE, "format of the stream (tsv)"),
	ROW_NULL,
	{ 'o', 'o', "output", CLI_REQUIRED, "FILE",
	    "write FILE, whole or not at all; -: stdout" },
	{ 'z', 'z', "compress", CLI_REQUIRED, "HOW:none zstd gzip",
	    "compress by the command zstd or gzip (none)" },
	ROW_PREFIX("only keys that begin with P"),
	ROW_FROM,
	ROW_TO,
	ROW_ESCAPED,
	ROW_JSON_VALUES,
	ROW_KEYS_ONLY,
	ROW_META,
	ROW_CRLF("with csv: end lines in CRLF"),
	ROW_ENCODE,
	ROW_BYTEVALUE,
	ROW_MAPSIZE,
	ROW_TABLE,
	ROW_QUIET,
	ROW_VERBOSE,
	ROW_PROGRESS,
	ROW_END
};

static const struct cli_tool tool = {
	"kevo-export",
	"Write all records, or a range of them, as one stream",
	"[-Eqvjkm] [-f F|-0] [-o FILE] [-z none|zstd|gzip] [-P P]\n"
	" [--from K] [--to K] [--progress] DB",
	opts,
	"  kevo-export data.kv > data.tsv\n"
	"  kevo-export -f jsonl -o users.jsonl -P user: data.kv\n"
	"  kevo-export -f lmdb data.kv | mdb_load out.lmdb\n"
	"  kevo-export -f sql data.kv | sqlite3 out.sqlite\n"
};

struct export {
	struct cli_open_opts open;
	struct format format;
	struct range_opts where;
	struct range range;
	int escaped;
	const char *output;
	const char *compress;	/* command of -z; NULL: none */
	uint64_t records, bytes;
	uint64_t total_bytes;	/* for progress; 0: not known */
};

/* ---- compression ------------------------------------------------------- */

/*
 * Compression is another program's work: it stands between us and where the
 * stream goes.
 */
static pid_t compressor = -1;

static void
start_compressor(const char *command)
{
	char name[8], quiet[] = "-q", out[] = "-c";
	char *argv[] = { name, quiet, out, NULL };
	posix_spawn_file_actions_t fa;
	int p[2], rc;

	if (outfile_fd() < 0 && cli_out_is_tty())
		cli_die(EX_USAGE_, "-z: compressed data does not go to a "
		    "terminal");
	snprintf(name, sizeof(name), "%s", command);
	if (pipe2(p, O_CLOEXEC) != 0)
		cli_die(EX_IOERR_, "cannot make a pipe: %s", strerror(errno));
	if ((rc = posix_spawn_file_actions_init(&fa)) == 0)
		rc = posix_spawn_file_actions_adddup2(&fa, p[0], 0);
	if (rc == 0 && outfile_fd() >= 0)
		rc = posix_spawn_file_actions_adddup2(&fa, outfile_fd(), 1);
	if (rc == 0)
		rc = posix_spawnp(&compressor, command, &fa, NULL, argv,
		    environ);
	posix_spawn_file_actions_destroy(&fa);
	if (rc != 0)
		cli_die(EX_UNAVAILABLE_, "%s: cannot be run: %s", command,
		    strerror(rc));
	close(p[0]);
	cli_out_fd(cli_fd_high(p[1]), command);
}

/* All that we wrote has reached the file, compressed. */
static void
finish_compressor(const char *command)
{
	int status;

	cli_out_flush();
	if (cli_out_close() != 0)
		cli_die(EX_IOERR_, "%s: %s", command, strerror(errno));
	while (waitpid(compressor, &status, 0) < 0)
		if (errno != EINTR)
			cli_die(EX_IOERR_, "%s: %s", command, strerror(errno));
	if (status != 0)
		cli_die(EX_IOERR_, "%s failed", command);
}

/* ---- the stream -------------------------------------------------------- */

static int
next(struct export *e, struct kevo *db, struct kevo_iter *it,
    struct kevo_record *rec)
{
	int rc = range_step(&e->range, it, 0, rec);

	if (rc < 0)
		cli_fail(db, rc);
	if (cli_stopped())
		cli_die_by_signal();
	return rc == 0;
}

static struct kevo_iter *
new_iter(struct export *e, struct kevo *db, const struct kevo_snapshot *snap)
{
	struct kevo_iter *it;
	int rc;

	if ((rc = kevo_iter_new(db, snap, &e->range.keys, &it)) != 0)
		cli_fail(db, rc);
	return it;
}

/* For a header that tells how much will come. */
static void
measure(struct export *e, struct kevo *db, const struct kevo_snapshot *snap)
{
	struct kevo_iter *it = new_iter(e, db, snap);
	struct kevo_record rec;

	while (next(e, db, it, &rec)) {
		e->format.total_records++;
		e->format.total_bytes += rec.klen + rec.vlen;
	}
	e->total_bytes = e->format.total_bytes;
	kevo_iter_free(it);
}

static void
write_all(struct export *e, struct kevo *db, const struct kevo_snapshot *snap)
{
	struct kevo_iter *it = new_iter(e, db, snap);
	struct kevo_record rec;

	while (next(e, db, it, &rec)) {
		format_write(&e->format, &rec);
		e->records++;
		e->bytes += rec.klen + rec.vlen;
		cli_progress("exported", e->records, e->bytes,
		    e->total_bytes);
	}
	kevo_iter_free(it);
}

static void
export(struct export *e, struct kevo *db)
{
	struct kevo_snapshot *snap;
	int rc;

	if ((rc = kevo_snapshot_new(db, &snap)) != 0)
		cli_fail(db, rc);
	if (e->format.kind == FORMAT_LMDB && e->format.mapsize == 0 &&
	    !e->range.empty)
		measure(e, db, snap);
	format_begin(&e->format);
	if (!e->range.empty)
		write_all(e, db, snap);
	format_end(&e->format);
	kevo_snapshot_free(snap);
}

static const char *
compressor_of(const char *how)
{
	if (strcmp(how, "none") == 0)
		return NULL;
	if (strcmp(how, "zstd") == 0 || strcmp(how, "gzip") == 0)
		return how;
	cli_usage("-z: %s: not one of none, zstd, gzip", how);
}

static void
parse(struct export *e, struct cli_args *a)
{
	int id;

	e->open.flags = KEVO_RDONLY;
	while ((id = cli_next(a)) != 0) {
		if (id == 'E')
			e->escaped = 1;
		else if (id == 'o')
			e->output = a->arg;
		else if (id == 'z')
			e->compress = compressor_of(a->arg);
		else if (id == OPT_PROGRESS)
			cli_progress_mode(a->arg);
		else if (!range_option(&e->where, a, id) &&
		    !opt_format(&e->format, a, id, FORMATS_WRITE))
			cli_common(&e->open, a, id);
	}
	cli_operands(a, 1, 1);
	opt_format_check(&e->format);
	if (e->format.crlf && e->format.kind != FORMAT_CSV)
		cli_usage("--crlf goes with -f csv");
	if (e->output != NULL && *e->output == '\0')
		cli_usage("-o: the name of the file is empty");
	if (e->output != NULL && strcmp(e->output, "-") == 0)
		e->output = NULL;
}

int
main(int argc, char *argv[])
{
	static struct export e;
	struct cli_args a;
	struct kevo *db;

	cli_start(&a, &tool, argc, argv);
	parse(&e, &a);
	range_init(&e.range, &e.where, e.escaped);
	cli_guard_maps(a.argv[a.i]);
	db = cli_open(a.argv[a.i], &e.open);
	if (e.output != NULL)
		outfile_open(e.output);
	else
		cli_signals();
	if (e.compress != NULL)
		start_compressor(e.compress);
	e.format.terminal = e.compress == NULL && cli_out_is_tty();
	cli_progress_yield();
	export(&e, db);
	if (e.compress != NULL)
		finish_compressor(e.compress);
	if (e.output != NULL)
		outfile_finish();
	cli_out_flush();
	cli_progress_done("exported", e.records);
	if (cli_verbose)
		cli_note("%" PRIu64 " records exported", e.records);
	return cli_close(db, 0);
}
