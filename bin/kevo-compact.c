/*
 * kevo-compact: bring the log into tables, merge them, give space back.
 *
 * One call of the library does what is due.  Who wants more than that waits
 * here: for another process that is at it, or for more to do.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "cli.h"
#include "options.h"
#include "range.h"

enum { OPT_FULL = 400, OPT_FLUSH, OPT_MAX_TIME, OPT_MAX_BYTES, OPT_RATE,
    OPT_WATCH };

static const struct cli_opt opts[] = {
	{ 'n', 'n', "dry-run", CLI_NONE, NULL,
	    "say what is to be done, and do nothing" },
	{ OPT_FULL, 0, "full", CLI_NONE, NULL,
	    "merge everything into one sorted run" },
	{ OPT_FLUSH, 0, "flush", CLI_NONE, NULL,
	    "only bring the log into tables" },
	{ OPT_MAX_TIME, 0, "max-time", CLI_REQUIRED, "S",
	    "begin nothing after S (90, 5m, 1h)" },
	{ OPT_MAX_BYTES, 0, "max-bytes", CLI_REQUIRED, "N",
	    "begin nothing after N bytes were read" },
	{ OPT_RATE, 0, "rate", CLI_REQUIRED, "N",
	    "write at most N bytes a second when merging" },
	ROW_PREFIX("with --full: only tables with keys that begin with P"),
	ROW_FROM,
	ROW_TO,
	ROW_ESCAPED,
	{ OPT_WATCH, 0, "watch", CLI_OPTIONAL, "S",
	    "go on, and look every S what is due (1)" },
	ROW_WAIT,
	ROW_PROGRESS,
	ROW_QUIET,
	ROW_VERBOSE,
	ROW_END
};

static const struct cli_tool tool = {
	"kevo-compact",
	"Bring the log into tables, merge them and give space back",
	"[-nqv] [--flush] [--max-time=S] [--max-bytes=N] [--rate=N]\n"
	" [--watch[=S]] [-w S] [--progress[=WHEN]] DB\n"
	"--full [-E] [-P P] [--from K] [--to K] [...] DB",
	opts,
	"  kevo-compact data.kv\n"
	"  kevo-compact --full --max-time=10m data.kv\n"
	"  kevo-compact --watch=5 --rate=20M data.kv\n"
};

struct compact {
	struct cli_open_opts open;
	struct kevo_compact what;
	struct range_opts where;
	int escaped, ranged, watch;
	int64_t watch_ms;
	int64_t deadline_ms;	/* of -w; negative: none */
	const char *max_bytes, *rate;
};

/* ---- options ----------------------------------------------------------- */

static void
take(struct compact *c, const struct cli_args *a, int id)
{
	switch (id) {
	case 'n':
		c->what.flags |= KEVO_COMPACT_DRY_RUN;
		break;
	case 'E':
		c->escaped = 1;
		break;
	case OPT_FULL:
		c->what.flags |= KEVO_COMPACT_FULL;
		break;
	case OPT_FLUSH:
		c->what.flags |= KEVO_COMPACT_FLUSH;
		break;
	case OPT_MAX_TIME:
		c->what.max_ms = cli_duration_ms("--max-time", a->arg);
		if (c->what.max_ms == 0)
			c->what.max_ms = 1;
		break;
	case OPT_MAX_BYTES:
		c->what.max_bytes = cli_size("--max-bytes", a->arg);
		break;
	case OPT_RATE:
		c->what.rate = cli_size("--rate", a->arg);
		break;
	case OPT_WATCH:
		c->watch = 1;
		c->watch_ms = a->arg == NULL ? 1000 :
		    cli_duration_ms("--watch", a->arg);
		break;
	case OPT_PROGRESS:
		cli_progress_mode(a->arg);
		break;
	default:
		cli_common(&c->open, a, id);
	}
}

static void
parse(struct compact *c, struct cli_args *a)
{
	int id;

	while ((id = cli_next(a)) != 0)
		if (range_option(&c->where, a, id))
			c->ranged = 1;
		else
			take(c, a, id);
	cli_operands(a, 1, 1);
	if ((c->what.flags & KEVO_COMPACT_FULL) &&
	    (c->what.flags & KEVO_COMPACT_FLUSH))
		cli_usage("--full and --flush do not go together");
	if (c->ranged && !(c->what.flags & KEVO_COMPACT_FULL))
		cli_usage("-P, --from and --to need --full");
	if (c->watch && (c->what.flags & (KEVO_COMPACT_FULL |
	    KEVO_COMPACT_DRY_RUN)))
		cli_usage("--watch does not go with --full and -n");
	if (c->watch && c->watch_ms <= 0)
		cli_usage("--watch needs a time above 0");
}

/* 0: no key can be meant. */
static int
set_range(struct compact *c)
{
	struct range r;

	if (!c->ranged)
		return 1;
	range_init(&r, &c->where, c->escaped);
	c->what.from = r.keys.from;
	c->what.from_len = r.keys.from_len;
	c->what.to = r.keys.to;
	c->what.to_len = r.keys.to_len;
	return !r.empty;
}

/* A merge has all its tables open. */
static void
allow_files(void)
{
	struct rlimit r;

	if (getrlimit(RLIMIT_NOFILE, &r) == 0) {
		r.rlim_cur = r.rlim_max;
		setrlimit(RLIMIT_NOFILE, &r);
	}
}

/* ---- the work ---------------------------------------------------------- */

static void
nap(int64_t ms)
{
	struct timespec ts = { ms / 1000, (long)(ms % 1000) * 1000000 };

	nanosleep(&ts, NULL);	/* a signal ends it */
}

static int
on_progress(void *arg, const struct kevo_compact_progress *p)
{
	(void)arg;
	cli_progress_bytes("read", p->bytes_read, p->bytes_read + p->due);
	return cli_stopped();
}

static const char *
plural(uint64_t n)
{
	return n == 1 ? "" : "s";
}

static void
tell(const struct compact *c, const struct kevo_compact_progress *p)
{
	if (c->what.flags & KEVO_COMPACT_DRY_RUN)
		cli_note("%" PRIu64 " log segment%s would be brought into "
		    "tables, and about %" PRIu64 " bytes be read", p->flushed,
		    plural(p->flushed), p->due);
	else if (cli_verbose)
		cli_note("%" PRIu64 " log segment%s brought into tables, %"
		    PRIu64 " merge%s; %" PRIu64 " bytes read, %" PRIu64
		    " written; %" PRIu64 " record%s dropped; %" PRIu64
		    " file%s of %" PRIu64 " bytes removed%s", p->flushed,
		    plural(p->flushed), p->jobs, plural(p->jobs),
		    p->bytes_read, p->bytes_written, p->dropped,
		    plural(p->dropped), p->files_removed,
		    plural(p->files_removed), p->bytes_removed,
		    p->busy ? "; the rest is another process's" : "");
}

static void
add(struct kevo_compact_progress *sum, const struct kevo_compact_progress *p)
{
	sum->flushed += p->flushed;
	sum->jobs += p->jobs;
	sum->bytes_read += p->bytes_read;
	sum->bytes_written += p->bytes_written;
	sum->files_removed += p->files_removed;
	sum->bytes_removed += p->bytes_removed;
	sum->dropped += p->dropped;
	sum->due = p->due;
	sum->busy = p->busy;
}

/* Until it is done, or -w is over; what others are at counts as done in a
 * watch. */
static int
run(struct compact *c, struct kevo *db)
{
	struct kevo_compact_progress p, sum;
	int rc;

	memset(&sum, 0, sizeof(sum));
	for (;;) {
		rc = kevo_compact(db, &c->what, &p);
		add(&sum, &p);
		if (cli_stopped()) {
			kevo_close(db);
			cli_die_by_signal();
		}
		if (rc == KEVO_EBUSY && c->watch)
			rc = 0;
		if (rc != KEVO_EBUSY || (c->deadline_ms >= 0 &&
		    cli_now_ms() >= c->deadline_ms))
			break;
		nap(50);
	}
	cli_progress_end();
	if (rc != 0)
		cli_fail(db, rc);
	/* Nothing is all of it, too. */
	cli_progress_bytes("read", sum.bytes_read, sum.bytes_read +
	    (sum.bytes_read == 0));
	if (!c->watch)
		cli_progress_done("read", CLI_NO_RECORDS);
	if (!c->watch || sum.flushed + sum.jobs + sum.files_removed > 0)
		tell(c, &sum);
	return 0;
}

static void
watch(struct compact *c, struct kevo *db)
{
	for (;;) {
		run(c, db);
		nap(c->watch_ms);
		if (cli_stopped()) {
			kevo_close(db);
			cli_die_by_signal();
		}
	}
}

int
main(int argc, char *argv[])
{
	struct compact c;
	struct cli_args a;
	struct kevo *db;

	memset(&c, 0, sizeof(c));
	cli_start(&a, &tool, argc, argv);
	parse(&c, &a);
	cli_db_path(a.argv[a.i]);
	if (!set_range(&c))
		cli_usage("no key is in the range");
	cli_signals();
	allow_files();
	c.what.progress = on_progress;
	c.deadline_ms = cli_wait_ms(&c.open);
	if (c.deadline_ms >= 0)
		c.deadline_ms += cli_now_ms();
	db = cli_open(a.argv[a.i], &c.open);
	if (c.watch)
		watch(&c, db);
	return cli_close(db, run(&c, db));
}
