/*
 * bench: what the parts of kevo-bench share: what is asked for, a workload,
 * a run of it, and its result.
 *
 * A workload is run by child processes, also if it is one: each opens the
 * database itself, waits until all are ready, and leaves what it measured in
 * memory shared with the parent.  The parent waits, shows progress, and
 * writes results.
 */
#ifndef BENCH_H
#define BENCH_H

#include <stdatomic.h>
#include <stdint.h>

#include <kevo.h>

#include "bench_data.h"
#include "bench_dist.h"
#include "bench_hist.h"
#include "cli.h"

/* ---- what is asked for ------------------------------------------------- */

struct bench {
	struct bench_shape shape;
	enum bench_dist dist;
	uint64_t ops;		/* of a test; 0: until the time is over */
	int ops_set;		/* --ops was given */
	int64_t limit_ms;	/* of a test; -1: none */
	unsigned processes;
	uint64_t batch;		/* records in a commit */
	uint64_t scan;		/* records in a range-scan */
	int unsettled, existing;
	struct cli_open_opts open;
	const char *db;		/* path of the database at present */
	struct bench_data *data;
	struct bench_perm order;	/* in which records are filled in */
	struct kevo_stats stats;	/* of the database, when it was new */
	uint64_t timer_ns;	/* what it takes to read the clock */
	double harness_ns;	/* to choose a key and to make a value */
};

/* ---- time -------------------------------------------------------------- */

uint64_t bench_now(void);	/* nanoseconds of a clock that only grows */

/* Measure timer_ns and harness_ns. */
void bench_calibrate(struct bench *b);

/* ---- a worker ---------------------------------------------------------- */

enum { BENCH_PARTS = 3, BENCH_FACTS = 8 };

/* What one process measured, in shared memory. */
struct bench_slot {
	_Atomic uint64_t done;		/* operations so far, for progress */
	uint64_t ops, records, bytes;
	uint64_t begin_ns, end_ns;
	uint64_t changed;		/* bench_data_changed() */
	int limited;			/* time was over before the work */
	double fact[BENCH_FACTS];	/* what the test says besides */
	struct bench_hist part[BENCH_PARTS];
};

struct bench_test;

struct bench_worker {
	const struct bench *b;
	const struct bench_test *test;
	struct bench_data *data;
	struct bench_slot *slot;
	unsigned id;
	struct kevo *db;
	struct kevo_batch *batch;
	struct bench_rng rng;
	struct bench_picker pick;
	uint64_t i;		/* number of this operation */
	uint64_t mine;		/* how many this process does; 0: no limit */
	uint64_t deadline_ns;	/* UINT64_MAX: none */
	int part;		/* of the test that it belongs to */

	/* What draw() has chosen. */
	uint64_t n;		/* records */
	uint64_t *idx;
	uint32_t *version;
	uint8_t *key, *value;	/* of record j at j times the longest */
	size_t kroom, vroom;
	size_t *klen, *vlen;
	uint32_t before;

	/* What act() has found. */
	struct kevo_record rec;
	int found;
	uint8_t *expected;	/* room to make a value for comparison */
};

/* A failure in a worker: the first one is reported, and the run ends.  Who
 * reports it itself calls the first of these; only one process returns. */
void bench_first_to_fail(int status);
void bench_fail(struct bench_worker *w, int rc) __attribute__((noreturn));
void bench_wrong(struct bench_worker *w, const void *key, size_t klen,
    const char *what) __attribute__((noreturn));

/* ---- a workload -------------------------------------------------------- */

enum bench_start {
	BENCH_ANY,		/* as it is */
	BENCH_EMPTY,		/* a new database */
	BENCH_FULL,		/* all records are there */
	BENCH_OVERWRITTEN	/* new, filled, each record written again */
};

struct bench_test {
	const char *name;
	enum bench_start start;
	int writes;		/* its handles are not read-only */
	int by_default;		/* it is run if no tests are named */
	int alone;		/* one process whatever was asked for */
	unsigned every;		/* the time of each n-th is taken */
	const char *const *part;	/* names, NULL-ended; NULL: no parts */
	int parts_only;		/* their sum has no meaning */
	const char *const *fact;	/* names, NULL-ended; or NULL */
	uint64_t (*total)(const struct bench *b);	/* operations */

	void (*begin)(struct bench_worker *w);	/* or NULL */
	void (*draw)(struct bench_worker *w);	/* not timed */
	int (*act)(struct bench_worker *w);	/* timed: 0 or an error */
	void (*check)(struct bench_worker *w);	/* not timed; or NULL */
	void (*end)(struct bench_worker *w);	/* or NULL */
};

/* By name; NULL if there is none. */
const struct bench_test *bench_test_find(const char *name);
const struct bench_test *bench_test_at(unsigned i);	/* NULL at the end */

/* Not for people: what brings a database to where a test starts. */
extern const struct bench_test bench_fill, bench_refill, bench_settle;

extern const struct bench_test bench_exec;

/* ---- a run ------------------------------------------------------------- */

struct bench_result {
	char name[40];
	const struct bench_test *test;
	unsigned processes;
	uint64_t ops, records, bytes;
	double seconds;
	int limited;
	unsigned every;
	unsigned facts;
	const char *fact_name[BENCH_FACTS];
	double fact[BENCH_FACTS];
	struct bench_hist latency;
};

/*
 * Run a test, and put its results into res, of which there is room for
 * 1 + BENCH_PARTS; returns how many.  verb is what progress shows.  Ends the
 * program if a process failed.
 */
unsigned bench_run(const struct bench *b, const struct bench_test *t,
    const char *verb, struct bench_result *res);

/* Kill what runs; for who ends the program. */
void bench_run_abort(void);

double bench_rate(const struct bench_result *r);	/* operations/s */

/* ---- the database ------------------------------------------------------ */

/*
 * Where databases are made: at path, which must be free or empty; or, if
 * path is NULL, in a directory that bench_place_remove() removes again.
 */
void bench_place_init(struct bench *b, const char *path);
void bench_place_remove(void);

/* Bring the database to where the test starts. */
void bench_place_prepare(struct bench *b, const struct bench_test *t);

/* Merge everything, unless the user wants databases unsettled. */
void bench_place_settle(struct bench *b);

/* A new, empty database with these settings; the old one is removed.  With a
 * path of the user's own nothing is removed, and the old one goes on. */
void bench_place_new(struct bench *b, const char *const *settings);

/* The same, but returns KEVO_EINVAL, with the reason in why, instead of
 * ending the program, if the settings are refused. */
int bench_place_try(struct bench *b, const char *const *settings, char *why,
    size_t room);

/* Bytes that the database takes on disk. */
uint64_t bench_place_bytes(const struct bench *b);
const char *bench_place_filesystem(const struct bench *b);

/* ---- results for people and programs ----------------------------------- */

enum bench_output { BENCH_HUMAN, BENCH_TSV, BENCH_JSON };

/* printf() to standard output, of a line or a part of one. */
void bench_out(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* A string of JSON, with its quotes. */
void bench_out_string(const char *s);

/* What was measured: a phrase, and as members for both kinds of JSON. */
void bench_report_data(const struct bench *b);
void bench_report_setup(const struct bench *b);

/* A time in few characters: "850ns", "12.3us", "1.23ms", "4.56s". */
const char *bench_show_time(char *buf, size_t room, double ns);

void bench_report_head(enum bench_output o, const struct bench *b);
void bench_report(enum bench_output o, const struct bench_result *r);
void bench_report_end(enum bench_output o);

/* A drawing of all results, as SVG: begin makes sure that file can be
 * written; end writes it. */
void bench_plot_begin(const char *file);
void bench_plot_end(const struct bench *b, const struct bench_result *r,
    size_t n);
void bench_plot_abort(void);

/* ---- choosing settings ------------------------------------------------- */

/*
 * Try settings, and print what is found out.
 *
 *   list  what to try, with commas between: "name=value", or "name" for the
 *         usual values of it; NULL: all that is usual.  It is cut into
 *         pieces.
 */
void bench_tune(struct bench *b, const struct bench_test *const *test,
    size_t tests, char *list, unsigned rounds, enum bench_output o);

#endif /* BENCH_H */
