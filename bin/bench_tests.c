/*
 * bench_tests: compaction, and the list of all workloads.
 */
#include <string.h>
#include <time.h>

#include "bench_choose.h"

/* ---- compaction -------------------------------------------------------- */

enum {
	FACT_BEFORE, FACT_AFTER, FACT_READ, FACT_WRITTEN, FACT_DROPPED,
	FACT_JOBS
};

static const char *const compaction_facts[] = {
	"space_before", "space_after", "bytes_read", "bytes_written",
	"records_dropped", "merges", NULL
};

static void
begin_compaction(struct bench_worker *w)
{
	w->slot->fact[FACT_BEFORE] = (double)bench_place_bytes(w->b);
}

static void
end_compaction(struct bench_worker *w)
{
	w->slot->fact[FACT_AFTER] = (double)bench_place_bytes(w->b);
}

static void
draw_compaction(struct bench_worker *w)
{
	w->n = bench_data_count(w->data);
}

static int
show_compaction(void *arg, const struct kevo_compact_progress *p)
{
	struct bench_worker *w = arg;

	/* About so many records. */
	atomic_store_explicit(&w->slot->done,
	    p->bytes_read / (w->kroom + w->vroom), memory_order_relaxed);
	return 0;
}

/* Merge everything into one run.  While another process is at a part of it,
 * which writers may have started, that is waited for. */
static int
compact(struct bench_worker *w)
{
	struct kevo_compact c = { .flags = KEVO_COMPACT_FULL,
	    .progress = show_compaction, .arg = w };
	struct kevo_compact_progress p;
	double *fact = w->slot->fact;
	int rc;

	for (;;) {
		rc = kevo_compact(w->db, &c, &p);
		fact[FACT_READ] += (double)p.bytes_read;
		fact[FACT_WRITTEN] += (double)p.bytes_written;
		fact[FACT_DROPPED] += (double)p.dropped;
		fact[FACT_JOBS] += (double)p.jobs;
		if (rc != KEVO_EBUSY && (rc != 0 || !p.busy))
			return rc;
		nanosleep(&(struct timespec){ 0, 5000000 }, NULL);
	}
}

static void
have_compacted(struct bench_worker *w)
{
	w->slot->records = bench_data_count(w->data) -
	    bench_data_absent(w->data);
	w->slot->bytes = (uint64_t)w->slot->fact[FACT_WRITTEN];
}

const struct bench_test bench_compaction = {
	.name = "compaction", .start = BENCH_OVERWRITTEN, .writes = 1,
	.by_default = 1, .alone = 1, .every = 1, .fact = compaction_facts,
	.total = bench_all_keys, .begin = begin_compaction,
	.draw = draw_compaction, .act = compact, .check = have_compacted,
	.end = end_compaction
};

const struct bench_test bench_settle = {
	.name = "settle", .writes = 1, .alone = 1, .every = 1,
	.total = bench_all_keys, .draw = draw_compaction, .act = compact
};

/* ---- the list ---------------------------------------------------------- */

static const struct bench_test *const tests[] = {
	&bench_write, &bench_random_write, &bench_sequential_write, &bench_read,
	&bench_random_read, &bench_read_missing, &bench_scan, &bench_range_scan,
	&bench_mixed, &bench_transactions, &bench_optimistic, &bench_delete,
	&bench_compaction, &bench_exec
};

const struct bench_test *
bench_test_at(unsigned i)
{
	return i < sizeof(tests) / sizeof(tests[0]) ? tests[i] : NULL;
}

const struct bench_test *
bench_test_find(const char *name)
{
	unsigned i;

	for (i = 0; bench_test_at(i) != NULL; i++)
		if (strcmp(tests[i]->name, name) == 0)
			return tests[i];
	return NULL;
}
