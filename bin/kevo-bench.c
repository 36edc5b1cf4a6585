/*
 * kevo-bench: how fast is kevo on this machine, and with which settings?
 *
 * This file takes the options and runs one test after the other.  The
 * workloads are in bench_tests.c and bench_exec.c, the processes that run
 * them in bench_run.c, and --tune in bench_tune.c.
 */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"
#include "bench_stat.h"
#include "options.h"
#include "setting.h"

enum {
	OPT_TESTS = 500, OPT_KEYS, OPT_KEY_SIZE, OPT_VALUE_SIZE, OPT_OPS,
	OPT_DURATION, OPT_PROCESSES, OPT_DISTRIBUTION, OPT_SEQUENTIAL,
	OPT_BATCH, OPT_SCAN_SIZE, OPT_SEED, OPT_UNSETTLED, OPT_EXISTING,
	OPT_TUNE, OPT_ROUNDS, OPT_PLOT
};

#define TEST_NAMES "write random-write sequential-write read random-read " \
	"read-missing scan range-scan mixed transactions optimistic delete " \
	"compaction exec all"

static const struct cli_opt opts[] = {
	{ OPT_TESTS, 0, "tests", CLI_REQUIRED, "LIST:" TEST_NAMES,
	    "what to measure, with commas between" },
	{ OPT_KEYS, 0, "keys", CLI_REQUIRED, "N", "records (100000)" },
	{ OPT_KEY_SIZE, 0, "key-size", CLI_REQUIRED, "BYTES",
	    "bytes in a key (16)" },
	{ OPT_VALUE_SIZE, 0, "value-size", CLI_REQUIRED, "BYTES",
	    "bytes in a value (100), or MIN-MAX" },
	{ OPT_OPS, 0, "ops", CLI_REQUIRED, "N",
	    "operations in a test (as keys); 0: no limit" },
	{ OPT_DURATION, 0, "duration", CLI_REQUIRED, "S",
	    "limit on the time of a test (10; inf)" },
	{ OPT_PROCESSES, 0, "processes", CLI_REQUIRED, "N",
	    "processes that do it together (1)" },
	{ OPT_DISTRIBUTION, 0, "distribution", CLI_REQUIRED,
	    "D:uniform zipf sequential latest",
	    "uniform, zipf, sequential, latest" },
	{ OPT_SEQUENTIAL, 0, "sequential", CLI_NONE, NULL,
	    "same as --distribution=sequential" },
	{ OPT_BATCH, 0, "batch", CLI_REQUIRED, "N",
	    "records in a commit (1)" },
	{ OPT_SCAN_SIZE, 0, "scan-size", CLI_REQUIRED, "N",
	    "records in a range-scan (100)" },
	ROW_SYNC,
	ROW_WAIT,
	{ OPT_PROFILE, 0, "profile", CLI_REQUIRED,
	    "NAME:balanced write-heavy read-heavy small-memory",
	    "settings that go together" },
	{ OPT_SET, 0, "set", CLI_REQUIRED,
	    "NAME=VALUE:memtable_bytes= sync=full sync=batch sync=none",
	    "a setting of the databases" },
	{ OPT_SEED, 0, "seed", CLI_REQUIRED, "N", "of random choices (1)" },
	{ OPT_UNSETTLED, 0, "unsettled", CLI_NONE, NULL,
	    "do not compact before tests that read" },
	{ OPT_EXISTING, 0, "existing", CLI_NONE, NULL,
	    "read the database DB, and write nothing" },
	{ OPT_TUNE, 0, "tune", CLI_OPTIONAL, "LIST",
	    "try settings; print lines for kevo.conf" },
	{ OPT_ROUNDS, 0, "rounds", CLI_REQUIRED, "N",
	    "with --tune: rounds (5)" },
	ROW_FORMAT_OF("human tsv json", "human, tsv, json"),
	{ OPT_PLOT, 0, "plot", CLI_REQUIRED, "FILE",
	    "draw the results as SVG" },
	ROW_PROGRESS,
	ROW_QUIET,
	ROW_END
};

static const struct cli_tool tool = {
	"kevo-bench",
	"Measure workloads, or try which settings suit them",
	"[-q] [--tests=LIST] [--keys=N] [--key-size=BYTES]\n"
	" [--value-size=BYTES] [--ops=N] [--duration=S] [--processes=N]\n"
	" [--distribution=D] [--batch=N] [--scan-size=N] [--sync=M]\n"
	" [-w S] [--profile=NAME] [--set NAME=VALUE]... [--seed=N]\n"
	" [--unsettled] [--existing] [--tune[=LIST]] [--rounds=N]\n"
	" [-f F] [--plot=FILE] [--progress] [DB]",
	opts,
	"  kevo-bench --keys=20000 --duration=1\n"
	"  kevo-bench --tests=read,scan --existing data.kv\n"
	"  kevo-bench --tune --sync=none --keys=20000\n"
};

enum { TESTS_MAX = 16 };

static struct {
	struct bench bench;
	const struct bench_test *test[TESTS_MAX];
	size_t tests;
	const char *test_list;		/* of --tests, or NULL */
	const char **settings;
	size_t setting_count;
	int tune, duration_set, rounds_set;
	char *tune_list;		/* of --tune, or NULL */
	unsigned rounds;
	enum bench_output output;
	const char *plot;
	struct bench_result *result;	/* for the plot */
	size_t results;
} job;

/* ---- options ----------------------------------------------------------- */

static uint64_t
positive(const char *what, const char *arg, uint64_t max)
{
	uint64_t n = cli_number(what, arg, max);

	if (n == 0)
		cli_die(EX_USAGE_, "%s: 0: at least 1", what);
	return n;
}

static enum bench_dist
distribution(const char *arg)
{
	static const char *const names[] = {
		"uniform", "zipf", "sequential", "latest"
	};
	unsigned i;

	for (i = 0; i < 4; i++)
		if (strcmp(arg, names[i]) == 0)
			return (enum bench_dist)i;
	cli_die(EX_USAGE_, "--distribution: %s: not one of uniform, zipf, "
	    "sequential, latest", arg);
}

static enum bench_output
output(const char *arg)
{
	if (strcmp(arg, "human") == 0)
		return BENCH_HUMAN;
	if (strcmp(arg, "tsv") == 0)
		return BENCH_TSV;
	if (strcmp(arg, "json") == 0)
		return BENCH_JSON;
	cli_die(EX_USAGE_, "-f: %s: the formats here are human tsv json",
	    arg);
}

/* One size, or two with a dash between. */
static void
value_size(struct bench_shape *s, char *arg)
{
	char *dash = strchr(arg, '-');

	if (dash != NULL)
		*dash = '\0';
	s->vmin = s->vmax = cli_size("--value-size", arg);
	if (dash != NULL)
		s->vmax = cli_size("--value-size", dash + 1);
	if (s->vmin < BENCH_VALUE_MIN || s->vmax > KEVO_VALUE_MAX ||
	    s->vmin > s->vmax)
		cli_die(EX_USAGE_, "--value-size: from %d to %u, the smaller "
		    "one first", BENCH_VALUE_MIN, KEVO_VALUE_MAX);
}

static void
add_setting(const char *setting)
{
	struct cli_open_opts *o = &job.bench.open;

	job.settings = realloc(job.settings, (job.setting_count + 2) *
	    sizeof(*job.settings));
	if (job.settings == NULL)
		cli_die(EX_IOERR_, "out of memory");
	job.settings[job.setting_count++] = setting;
	job.settings[job.setting_count] = NULL;
	o->settings = job.settings;
}

static int
setting_option(const struct cli_args *a, int id)
{
	const char *const *p;

	if (id == OPT_SET) {
		setting_check_change(a->arg);
		add_setting(a->arg);
	} else if (id == OPT_PROFILE) {
		for (p = setting_profile(a->arg); *p != NULL; p++)
			add_setting(*p);
	} else {
		return 0;
	}
	return 1;
}

static int
data_option(struct bench *b, const struct cli_args *a, int id)
{
	switch (id) {
	case OPT_KEYS:
		b->shape.keys = positive("--keys", a->arg, 1u << 31);
		return 1;
	case OPT_KEY_SIZE:
		b->shape.klen = positive("--key-size", a->arg, KEVO_KEY_MAX);
		return 1;
	case OPT_VALUE_SIZE:
		value_size(&b->shape, a->arg);
		return 1;
	case OPT_SEED:
		b->shape.seed = cli_number("--seed", a->arg, UINT64_MAX);
		return 1;
	case OPT_DISTRIBUTION:
		b->dist = distribution(a->arg);
		return 1;
	case OPT_SEQUENTIAL:
		b->dist = BENCH_SEQUENTIAL;
		return 1;
	default:
		return 0;
	}
}

static int
work_option(struct bench *b, const struct cli_args *a, int id)
{
	switch (id) {
	case OPT_OPS:
		b->ops = cli_number("--ops", a->arg, UINT64_MAX / 8);
		b->ops_set = 1;
		return 1;
	case OPT_DURATION:
		b->limit_ms = cli_duration_ms("--duration", a->arg);
		job.duration_set = 1;
		return 1;
	case OPT_PROCESSES:
		b->processes = (unsigned)positive("--processes", a->arg,
		    1000);
		return 1;
	case OPT_BATCH:
		b->batch = positive("--batch", a->arg, KEVO_COMMIT_OPS);
		return 1;
	case OPT_SCAN_SIZE:
		b->scan = positive("--scan-size", a->arg, 1u << 31);
		return 1;
	case OPT_UNSETTLED:
		b->unsettled = 1;
		return 1;
	case OPT_EXISTING:
		b->existing = 1;
		return 1;
	default:
		return 0;
	}
}

static void
job_option(const struct cli_args *a, int id)
{
	switch (id) {
	case OPT_TESTS:
		job.test_list = a->arg;
		break;
	case OPT_TUNE:
		job.tune = 1;
		job.tune_list = a->arg;
		break;
	case OPT_ROUNDS:
		job.rounds = (unsigned)cli_number("--rounds", a->arg,
		    BENCH_ROUNDS_MAX);
		if (job.rounds < 3)
			cli_die(EX_USAGE_, "--rounds: at least 3");
		job.rounds_set = 1;
		break;
	case 'f':
		job.output = output(a->arg);
		break;
	case OPT_PLOT:
		job.plot = a->arg;
		break;
	case OPT_PROGRESS:
		cli_progress_mode(a->arg);
		break;
	default:
		cli_common(&job.bench.open, a, id);
	}
}

static void
parse(struct cli_args *a)
{
	static const char *const none[] = { NULL };
	struct bench *b = &job.bench;
	int id;

	b->shape = (struct bench_shape){ 100000, 16, 100, 100, 1 };
	b->limit_ms = 10000;
	b->processes = 1;
	b->batch = 1;
	b->scan = 100;
	job.rounds = 5;
	b->open.settings = none;
	while ((id = cli_next(a)) != 0)
		if (!data_option(b, a, id) && !work_option(b, a, id) &&
		    !setting_option(a, id))
			job_option(a, id);
	cli_operands_named(a, 0, 1, "DB", NULL);
}

/* ---- which tests ------------------------------------------------------- */

static void
add_test(const struct bench_test *t)
{
	size_t i;

	for (i = 0; i < job.tests; i++)
		if (job.test[i] == t)
			cli_die(EX_USAGE_, "--tests: %s: twice", t->name);
	job.test[job.tests++] = t;
}

static int
fits(const struct bench_test *t)
{
	return !job.bench.existing || !t->writes;
}

static void
add_tests(int all)
{
	const struct bench_test *t;
	unsigned i;

	for (i = 0; (t = bench_test_at(i)) != NULL; i++)
		if ((all || t->by_default) && fits(t))
			add_test(t);
}

static void
add_named(char *list)
{
	const struct bench_test *t;
	char *name, *rest = NULL;

	for (name = strtok_r(list, ",", &rest); name != NULL;
	    name = strtok_r(NULL, ",", &rest)) {
		if (strcmp(name, "all") == 0) {
			add_tests(1);
			continue;
		}
		if ((t = bench_test_find(name)) == NULL)
			cli_die(EX_USAGE_, "--tests: %s: not one of "
			    TEST_NAMES, name);
		if (!fits(t))
			cli_die(EX_USAGE_, "--tests: %s writes, and "
			    "--existing does not", name);
		if (job.tune && t->parts_only)
			cli_die(EX_USAGE_, "--tests: %s does not go with "
			    "--tune", name);
		add_test(t);
	}
	if (job.tests == 0)
		cli_die(EX_USAGE_, "--tests: the list is empty");
}

static void
choose_tests(void)
{
	static char tuned[] = "write,random-read,range-scan,mixed";
	char *list;

	if (job.test_list == NULL && !job.tune) {
		add_tests(0);
		return;
	}
	list = strdup(job.test_list != NULL ? job.test_list : tuned);
	if (list == NULL)
		cli_die(EX_IOERR_, "out of memory");
	add_named(list);
	free(list);
}

/* ---- what does not go together ----------------------------------------- */

static void
check_shape(const struct bench *b)
{
	uint64_t most = 1;
	size_t i;

	/* Between two keys there is an absent one. */
	for (i = 0; i < b->shape.klen && most < 2 * b->shape.keys; i++)
		most *= 10;
	if (most < 2 * b->shape.keys)
		cli_die(EX_USAGE_, "--key-size: %zu: too small for %" PRIu64
		    " keys", b->shape.klen, b->shape.keys);
	if (b->shape.keys < 2 * b->processes)
		cli_die(EX_USAGE_, "--keys: at least 2 for each process");
	if (b->batch > (UINT32_C(1) << 30) / (b->shape.vmax + b->shape.klen))
		cli_die(EX_USAGE_, "--batch: %" PRIu64 " records of this size "
		    "are more than a commit can hold", b->batch);
	if (b->ops_set && b->ops == 0 && b->limit_ms < 0)
		cli_die(EX_USAGE_, "--ops=0 needs a limit on the duration");
}

static void
check(const char *db)
{
	struct bench *b = &job.bench;

	if (b->existing && db == NULL)
		cli_usage("--existing: which database?");
	if (b->existing && job.setting_count > 0)
		cli_usage("settings do not go with --existing");
	if (job.rounds_set && !job.tune)
		cli_usage("--rounds goes with --tune");
	if (job.tune && (db != NULL || b->existing))
		cli_usage("--tune makes databases of its own: give no DB");
	if (job.tune && job.plot != NULL)
		cli_usage("--plot does not go with --tune");
	/* What a setting does needs some time to show. */
	if (job.tune && !b->ops_set)
		b->ops_set = 1;
	if (job.tune && !job.duration_set)
		b->limit_ms = 1000;
	/* Before a database is made. */
	if (b->open.sync != NULL)
		cli_sync_mode("--sync", b->open.sync);
	if (b->open.wait != NULL)
		cli_duration_ms("-w", b->open.wait);
	if (!b->existing)
		check_shape(b);
}

/* ---- preparing --------------------------------------------------------- */

static void
clean_up(int status)
{
	(void)status;
	alarm(0);		/* it would cut this short */
	bench_run_abort();
	bench_plot_abort();
	bench_place_remove();
}

static void
look_at_database(struct bench *b)
{
	struct cli_open_opts o = { KEVO_RDONLY, NULL, NULL, NULL };
	struct kevo *db = cli_open(b->db, &o);
	int rc;

	if ((rc = kevo_stats(db, &b->stats)) != 0)
		cli_fail(db, rc);
	if (b->existing) {
		b->data = bench_data_sample(db, b->shape.keys,
		    b->shape.seed);
		if (bench_data_count(b->data) < 2 * b->processes)
			cli_die(EX_USAGE_, "%s: fewer than 2 records for "
			    "each process", b->db);
	} else {
		b->data = bench_data_new(&b->shape);
	}
	bench_perm_init(&b->order, bench_data_count(b->data), b->shape.seed);
	kevo_close(db);
}

static void
prepare(const char *db)
{
	struct bench *b = &job.bench;

	cli_signals();
	signal(SIGPIPE, SIG_IGN);	/* a write tells of it, in time */
	cli_at_exit(clean_up);
	if (job.plot != NULL)
		bench_plot_begin(job.plot);
	bench_place_init(b, db);
	if (!b->existing)
		bench_place_new(b, b->open.settings);
	look_at_database(b);
	bench_calibrate(b);
}

/* ---- running ----------------------------------------------------------- */

static void
keep(const struct bench_result *r, unsigned n)
{
	size_t room = (job.results + n) * sizeof(*job.result);

	if (job.plot == NULL)
		return;
	job.result = realloc(job.result, room);
	if (job.result == NULL)
		cli_die(EX_IOERR_, "out of memory");
	memcpy(job.result + job.results, r, n * sizeof(*r));
	job.results += n;
}

static void
run_tests(void)
{
	static struct bench_result res[1 + BENCH_PARTS];
	struct bench *b = &job.bench;
	unsigned n, j;
	size_t i;

	bench_report_head(job.output, b);
	for (i = 0; i < job.tests; i++) {
		bench_place_prepare(b, job.test[i]);
		n = bench_run(b, job.test[i], job.test[i]->name, res);
		for (j = 0; j < n; j++)
			bench_report(job.output, &res[j]);
		keep(res, n);
	}
	bench_report_end(job.output);
	if (job.plot != NULL)
		bench_plot_end(b, job.result, job.results);
}

int
main(int argc, char *argv[])
{
	struct cli_args a;
	const char *db;

	cli_start(&a, &tool, argc, argv);
	parse(&a);
	db = a.argv[a.i];
	check(db);
	choose_tests();
	prepare(db);
	if (job.tune)
		bench_tune(&job.bench, job.test, job.tests, job.tune_list,
		    job.rounds, job.output);
	else
		run_tests();
	cli_progress_end();
	clean_up(0);
	cli_at_exit(NULL);
	bench_data_free(job.bench.data);
	free(job.result);
	free(job.settings);
	return cli_close(NULL, 0);
}
