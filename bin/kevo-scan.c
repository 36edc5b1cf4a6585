/*
 * kevo-scan: records in key order, from one snapshot.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli.h"
#include "format.h"
#include "options.h"
#include "range.h"

static const struct cli_opt opts[] = {
	ROW_ESCAPED,
	ROW_QUIET,
	ROW_VERBOSE,
	ROW_FORMAT_OF(NAMES_WRITE " raw", "format of the records (tsv)"),
	ROW_NULL,
	ROW_JSON_VALUES,
	ROW_KEYS_ONLY,
	{ OPT_VALUES, 0, "values", CLI_NONE, NULL,
	    "write the values alone" },
	ROW_META,
	ROW_LIMIT,
	{ 'r', 'r', "reverse", CLI_NONE, NULL, "backwards" },
	{ 'c', 'c', "count", CLI_NONE, NULL, "only count the records" },
	{ 'e', 'e', "exit-status", CLI_NONE, NULL,
	    "exit 1 if nothing matched" },
	ROW_PREFIX("the same as the operand PREFIX"),
	ROW_FROM,
	ROW_TO,
	{ OPT_AFTER, 0, "after", CLI_REQUIRED, "K", "only keys after K" },
	{ OPT_SUFFIX, 0, "suffix", CLI_REQUIRED, "S",
	    "only keys that end in S" },
	{ OPT_GLOB, 0, "glob", CLI_REQUIRED, "G",
	    "only keys that match the pattern G" },
	{ OPT_MATCH_VALUE, 0, "match-value", CLI_REQUIRED, "S",
	    "only values that contain S" },
	ROW_CRLF("with csv: end lines in CRLF"),
	ROW_ENCODE,
	ROW_BYTEVALUE,
	ROW_MAPSIZE,
	ROW_TABLE,
	{ OPT_AT, 0, "at", CLI_REQUIRED, "VERSION",
	    "as it was when VERSION was the newest commit" },
	ROW_END
};

static const struct cli_tool tool = {
	"kevo-scan",
	"Write records in key order, all or those whose key begins with PREFIX",
	"[-Eqvkmrecj] [-f F|-0] [-l N] [--values] [--from K] [--to K]\n"
	" [--after K] [--suffix S] [--glob G] [--match-value S]\n"
	" [--at VERSION] DB [PREFIX]",
	opts,
	"  kevo-scan data.kv user:\n"
	"  kevo-scan -r -l 10 data.kv log/\n"
	"  kevo-scan -k --glob 'user:*:mail' data.kv\n"
};

struct scan {
	struct cli_open_opts open;
	struct format format;
	struct range_opts where;
	struct range range;
	int escaped, backwards, count_only, need_one, limited;
	uint64_t limit;
	int earlier;			/* --at */
	uint64_t version;
	uint64_t records, bytes;	/* found so far */
};

static void
parse(struct scan *s, struct cli_args *a)
{
	int id;

	s->open.flags = KEVO_RDONLY;
	while ((id = cli_next(a)) != 0) {
		if (id == 'E')
			s->escaped = 1;
		else if (id == 'r')
			s->backwards = 1;
		else if (id == 'c')
			s->count_only = 1;
		else if (id == 'e')
			s->need_one = 1;
		else if (id == 'l') {
			s->limited = 1;
			s->limit = cli_number("-l", a->arg, UINT64_MAX);
		} else if (id == OPT_AT) {
			s->earlier = 1;
			s->version = cli_number("--at", a->arg, UINT64_MAX);
		} else if (!range_option(&s->where, a, id) &&
		    !opt_format(&s->format, a, id,
		    FORMATS_WRITE | FORMATS_RAW))
			cli_common(&s->open, a, id);
	}
	cli_operands(a, 1, 2);
}

static void
check(struct scan *s, struct cli_args *a)
{
	opt_format_check(&s->format);
	if (s->format.crlf && s->format.kind != FORMAT_CSV)
		cli_usage("--crlf goes with -f csv");
	if (s->format.kind == FORMAT_RAW && !s->count_only &&
	    !(s->limited && s->limit <= 1))
		cli_usage("-f raw needs -l 1");
	if (s->format.kind == FORMAT_RAW && s->format.keys_only)
		cli_usage("-k does not go with -f raw");
	if (a->argc - a->i < 2)
		return;
	if (s->where.prefix != NULL)
		cli_usage("-P and the operand PREFIX are the same: give one");
	s->where.prefix = a->argv[a->i + 1];
}

typedef void visit_fn(struct scan *s, const struct kevo_record *rec);

static void
visit_count(struct scan *s, const struct kevo_record *rec)
{
	(void)s;
	(void)rec;
}

static void
visit_measure(struct scan *s, const struct kevo_record *rec)
{
	s->bytes += rec->klen + rec->vlen;
}

static void
visit_write(struct scan *s, const struct kevo_record *rec)
{
	format_write(&s->format, rec);
	cli_progress("written", s->records, 0, 0);
}

/* Only a long run needs them, and a short one should not pay. */
enum { SIGNALS_AFTER = 1000 };

static void
walk(struct scan *s, struct kevo *db, const struct kevo_snapshot *snap,
    visit_fn *visit)
{
	struct kevo_record rec;
	struct kevo_iter *it;
	int rc;

	s->records = s->bytes = 0;
	if (s->range.empty)
		return;
	if ((rc = kevo_iter_new(db, snap, &s->range.keys, &it)) != 0)
		cli_fail(db, rc);
	while (!s->limited || s->records < s->limit) {
		rc = range_step(&s->range, it, s->backwards, &rec);
		if (rc != 0)
			break;
		s->records++;
		visit(s, &rec);
		if (s->records == SIGNALS_AFTER)
			cli_signals();
		if (cli_stopped())
			cli_die_by_signal();
	}
	if (rc < 0)
		cli_fail(db, rc);
	kevo_iter_free(it);
}

/* The snapshot of the whole run. */
static struct kevo_snapshot *
take_snapshot(struct scan *s, struct kevo *db)
{
	struct kevo_snapshot *snap;
	int rc;

	rc = s->earlier ? kevo_snapshot_at(db, s->version, &snap) :
	    kevo_snapshot_new(db, &snap);
	if (rc == KEVO_EINVAL)
		cli_die(EX_UNAVAILABLE_, "%s", kevo_errmsg(db));
	if (rc != 0)
		cli_fail(db, rc);
	return snap;
}

static void
write_records(struct scan *s, struct kevo *db, struct kevo_snapshot *snap)
{
	/* The header of this format tells how much will come: look before. */
	if (s->format.kind == FORMAT_LMDB && s->format.mapsize == 0) {
		walk(s, db, snap, visit_measure);
		s->format.total_records = s->records;
		s->format.total_bytes = s->bytes;
	}
	format_begin(&s->format);
	walk(s, db, snap, visit_write);
	format_end(&s->format);
}

static void
count_records(struct scan *s, struct kevo *db, struct kevo_snapshot *snap)
{
	char line[32];
	int n;

	walk(s, db, snap, visit_count);
	n = snprintf(line, sizeof(line), "%" PRIu64 "\n", s->records);
	cli_out(line, (size_t)n);
}

int
main(int argc, char *argv[])
{
	static struct scan s;
	struct cli_args a;
	struct kevo_snapshot *snap;
	struct kevo *db;

	cli_progress_mode("never");
	cli_start(&a, &tool, argc, argv);
	parse(&s, &a);
	check(&s, &a);
	range_init(&s.range, &s.where, s.escaped);
	cli_guard_maps(a.argv[a.i]);
	db = cli_open(a.argv[a.i], &s.open);
	snap = take_snapshot(&s, db);
	s.format.terminal = s.format.kind != FORMAT_RAW && cli_out_is_tty();
	if (s.count_only)
		count_records(&s, db, snap);
	else
		write_records(&s, db, snap);
	kevo_snapshot_free(snap);
	return cli_close(db, s.need_one && s.records == 0 ? EXIT_NO : 0);
}
