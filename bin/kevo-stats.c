/*
 * kevo-stats: what a database counts, and how it stands.
 */
#include <string.h>
#include <time.h>

#include "cli.h"
#include "options.h"
#include "outfile.h"
#include "stats_sample.h"

enum { OPT_WATCH = 500, OPT_RECORD, OPT_PLOT };

static const struct cli_opt opts[] = {
	ROW_FORMAT_OF("human tsv json prometheus openmetrics",
	    "human (default), tsv, json, prometheus, openmetrics"),
	{ 'o', 'o', "output", CLI_REQUIRED, "FILE",
	    "write FILE, whole or not at all; -: stdout" },
	{ OPT_WATCH, 0, "watch", CLI_REQUIRED, "S",
	    "each S seconds a line of rates, until a signal" },
	{ OPT_RECORD, 0, "record", CLI_REQUIRED, "FILE",
	    "append a line of all numbers to FILE" },
	{ OPT_PLOT, 0, "plot", CLI_REQUIRED, "HOW:ascii svg",
	    "draw METRIC, or of --record's FILE over time" },
	ROW_END
};

static const struct cli_tool tool = {
	"kevo-stats",
	"Show what a database has counted, and how it stands",
	"[-f human|tsv|json|prometheus|openmetrics] [-o FILE]\n"
	" [--watch=S] [--record=FILE] [--plot=ascii|svg [METRIC]] DB",
	opts,
	"  kevo-stats data.kv\n"
	"  kevo-stats --watch=1 data.kv\n"
	"  kevo-stats -f prometheus -o kevo.prom data.kv\n"
	"  kevo-stats --plot=ascii put_latency data.kv\n"
	"  kevo-stats --record=data.tsv data.kv\n"
	"  kevo-stats --record=data.tsv --plot=svg commits data.kv > c.svg\n"
};

struct job {
	enum stat_format format;
	int format_set;
	const char *output;	/* NULL: standard output */
	int64_t watch_ms;	/* 0: once */
	const char *record;
	const char *plot;	/* "ascii", "svg", or NULL */
	const char *metric;
	const char *path;
};

/* ---- options ----------------------------------------------------------- */

static enum stat_format
format_of(const char *s)
{
	static const char *const names[] = { "human", "tsv", "json",
	    "prometheus", "openmetrics" };

	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strcmp(s, names[i]) == 0)
			return (enum stat_format)i;
	cli_usage("-f: %s: the formats here are human tsv json prometheus "
	    "openmetrics", s);
}

static const char *
file_of(const char *option, const char *s)
{
	if (*s == '\0')
		cli_usage("%s: the name of the file is empty", option);
	return s;
}

static void
option(struct job *j, const struct cli_args *a, int id)
{
	switch (id) {
	case 'f':
		j->format = format_of(a->arg);
		j->format_set = 1;
		break;
	case 'o':
		j->output = file_of("-o", a->arg);
		if (strcmp(j->output, "-") == 0)
			j->output = NULL;
		break;
	case OPT_WATCH:
		j->watch_ms = cli_duration_ms("--watch", a->arg);
		if (j->watch_ms <= 0 || j->watch_ms > INT64_C(31536000000))
			cli_usage("--watch: %s: not a period", a->arg);
		break;
	case OPT_RECORD:
		j->record = file_of("--record", a->arg);
		break;
	case OPT_PLOT:
		j->plot = a->arg;
		if (strcmp(j->plot, "ascii") != 0 &&
		    strcmp(j->plot, "svg") != 0)
			cli_usage("--plot: %s: not one of ascii, svg",
			    j->plot);
	}
}

/* What has no meaning together is refused rather than left out. */
static void
check(const struct job *j)
{
	if (j->plot != NULL && (j->watch_ms != 0 || j->format_set))
		cli_usage("--plot goes without -f and --watch");
	if (j->watch_ms != 0 && j->format >= STAT_PROMETHEUS)
		cli_usage("--watch shows rates; these formats have none");
	if (j->watch_ms != 0 && j->output != NULL)
		cli_usage("--watch goes without -o");
	if (j->record != NULL && j->plot == NULL &&
	    (j->format_set || j->output != NULL))
		cli_usage("--record writes its own file; it goes without -f "
		    "and -o");
}

static void
parse(struct job *j, struct cli_args *a)
{
	int id;

	memset(j, 0, sizeof(*j));
	while ((id = cli_next(a)) != 0)
		option(j, a, id);
	cli_operands(a, 1, j->plot != NULL ? 2 : 1);
	check(j);
	if (a->argc - a->i == 2)
		j->metric = a->argv[a->i++];
	j->path = a->argv[a->i];
}

/* ---- doing ------------------------------------------------------------- */

static void
show(const struct job *j, const struct stat_sample *s)
{
	switch (j->format) {
	case STAT_HUMAN:
		stat_write_human(s, j->path);
		break;
	case STAT_TSV:
		stat_write_tsv(s);
		break;
	case STAT_JSON:
		stat_write_json(s, j->path);
		break;
	default:
		stat_write_prometheus(s, j->path,
		    j->format == STAT_OPENMETRICS);
	}
}

static void
once(const struct job *j, struct kevo *db)
{
	struct stat_sample s;

	stat_sample_take(db, &s);
	if (j->output != NULL)
		outfile_open(j->output);
	if (j->plot != NULL)
		stat_plot(&s, j->path, j->metric, j->record,
		    strcmp(j->plot, "svg") == 0);
	else if (j->record != NULL)
		stat_record(&s, j->record);
	else
		show(j, &s);
	if (j->output != NULL)
		outfile_finish();
	stat_sample_free(&s);
}

/* Sleep until a period after *t, which moves on; a signal ends the program.
 * Periods that went by while we were stopped are left out. */
static void
sleep_period(struct timespec *t, int64_t ms)
{
	struct timespec now;

	t->tv_sec += ms / 1000;
	t->tv_nsec += ms % 1000 * 1000000;
	if (t->tv_nsec >= 1000000000) {
		t->tv_sec++;
		t->tv_nsec -= 1000000000;
	}
	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, t, NULL) != 0)
		if (cli_stopped())
			break;
	if (cli_stopped())
		cli_die_by_signal();
	clock_gettime(CLOCK_MONOTONIC, &now);
	if ((now.tv_sec - t->tv_sec) * 1000 > ms)
		*t = now;
}

static void __attribute__((noreturn))
watch(const struct job *j, struct kevo *db)
{
	struct stat_sample before, now;
	struct timespec t;
	uint64_t line;

	cli_signals();
	clock_gettime(CLOCK_MONOTONIC, &t);
	stat_sample_take(db, &before);
	for (line = 0;; line++) {
		if (j->record != NULL)
			stat_record(&before, j->record);
		sleep_period(&t, j->watch_ms);
		stat_sample_take(db, &now);
		if (j->record == NULL) {
			stat_write_rates(&before, &now, j->format, line);
			cli_out_flush();
		}
		stat_sample_free(&before);
		before = now;
	}
}

int
main(int argc, char *argv[])
{
	struct cli_open_opts o = { KEVO_RDONLY, NULL, NULL, NULL };
	struct cli_args a;
	struct kevo *db;
	struct job j;

	cli_start(&a, &tool, argc, argv);
	parse(&j, &a);
	cli_guard_maps(j.path);
	db = cli_open(j.path, &o);
	if (j.watch_ms != 0)
		watch(&j, db);
	once(&j, db);
	return cli_close(db, 0);
}
