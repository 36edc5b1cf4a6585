/*
 * bench_read: the workloads that only read.
 *
 * What was read is compared with what was written.  Only scans compare while
 * they go, since a record is there until the next step only.
 */
#include "bench_choose.h"

/* ---- reading ----------------------------------------------------------- */

int
bench_get(struct bench_worker *w)
{
	int rc = kevo_peek(w->db, NULL, w->key, w->klen[0], &w->rec);

	w->found = rc == 0;
	return rc < 0 ? rc : 0;
}

static void
draw_get(struct bench_worker *w, uint64_t idx)
{
	bench_set_key(w, 0, idx);
	w->before = bench_data_before(w->data, idx);
}

void
bench_draw_read(struct bench_worker *w)
{
	draw_get(w, bench_pick(&w->pick));
}

static void
draw_random_read(struct bench_worker *w)
{
	draw_get(w, bench_below(&w->rng, bench_data_count(w->data)));
}

void
bench_check_get(struct bench_worker *w)
{
	const struct kevo_record *rec = w->found ? &w->rec : NULL;
	const char *wrong = bench_data_check(w->data, w->idx[0], w->before,
	    rec, w->expected);

	if (wrong != NULL)
		bench_wrong(w, w->key, w->klen[0], wrong);
	w->slot->records += rec != NULL;
	w->slot->bytes += rec != NULL ? rec->klen + rec->vlen : 0;
}

static void
draw_missing(struct bench_worker *w)
{
	w->idx[0] = bench_pick(&w->pick);
	w->klen[0] = bench_data_gap(w->data, w->idx[0], w->key);
}

/* In a database of somebody else any key may be there. */
static void
check_missing(struct bench_worker *w)
{
	if (w->found && !w->b->existing)
		bench_wrong(w, w->key, w->klen[0],
		    "a record, where none was written");
}

/* ---- scanning ---------------------------------------------------------- */

static void
met(struct bench_worker *w, uint64_t *at, uint64_t end,
    const struct kevo_record *rec)
{
	const char *wrong = bench_data_check_scan(w->data, at, end, rec,
	    w->expected);

	if (wrong == bench_data_lost) {
		bench_set_key(w, 0, *at);
		bench_wrong(w, w->key, w->klen[0], wrong);
	}
	if (wrong != NULL)
		bench_wrong(w, rec->key, rec->klen, wrong);
	if (rec != NULL) {
		w->slot->records++;
		w->slot->bytes += rec->klen + rec->vlen;
	}
}

/* Read at most `most` records of a range, of which the first may be number
 * `at` and the last is before number `end`. */
static int
walk(struct bench_worker *w, const struct kevo_range *range, uint64_t most,
    uint64_t at, uint64_t end)
{
	struct kevo_record rec;
	struct kevo_iter *it;
	uint64_t n = 0;
	int rc;

	if ((rc = kevo_iter_new(w->db, NULL, range, &it)) != 0)
		return rc;
	for (rc = kevo_iter_first(it, &rec); rc == 0;
	    rc = kevo_iter_next(it, &rec)) {
		met(w, &at, end, &rec);
		if (++n == most)
			break;
	}
	if (rc == KEVO_NOTFOUND && n < most)
		met(w, &at, end, NULL);
	kevo_iter_free(it);
	return rc < 0 ? rc : 0;
}

/* A scan counts its records as operations. */
static void
draw_scan(struct bench_worker *w)
{
	w->n = w->mine != 0 && w->b->ops_set ? w->mine - w->i : UINT64_MAX;
}

static int
scan(struct bench_worker *w)
{
	uint64_t before = w->slot->records;
	int rc = walk(w, NULL, w->n, 0, bench_data_count(w->data));

	w->n = w->slot->records > before ? w->slot->records - before : 1;
	return rc;
}

static void
draw_range_scan(struct bench_worker *w)
{
	bench_set_key(w, 0, bench_pick(&w->pick));
	if (w->idx[0] + w->b->scan < bench_data_count(w->data))
		bench_set_key(w, 1, w->idx[0] + w->b->scan);
	else
		w->klen[1] = 0;
}

static int
range_scan(struct bench_worker *w)
{
	uint64_t n = bench_data_count(w->data), end = w->idx[0] + w->b->scan;
	struct kevo_range r = { w->key, w->klen[0], NULL, 0 };

	if (w->klen[1] > 0) {
		r.to = bench_key_at(w, 1);
		r.to_len = w->klen[1];
	}
	return walk(w, &r, w->b->scan, w->idx[0], end < n ? end : n);
}

/* ---- the workloads ----------------------------------------------------- */

/* Each process scans all of it. */
static uint64_t
total_scanned(const struct bench *b)
{
	return b->ops_set ? b->ops : bench_data_count(b->data) *
	    b->processes;
}

static uint64_t
total_scans(const struct bench *b)
{
	uint64_t n = bench_data_count(b->data) / b->scan;

	return b->ops_set ? b->ops : n > 0 ? n : 1;
}

const struct bench_test bench_read = {
	.name = "read", .start = BENCH_FULL, .by_default = 1, .every = 8,
	.total = bench_total_ops, .draw = bench_draw_read, .act = bench_get,
	.check = bench_check_get
};

const struct bench_test bench_random_read = {
	.name = "random-read", .start = BENCH_FULL, .every = 8,
	.total = bench_total_ops, .draw = draw_random_read, .act = bench_get,
	.check = bench_check_get
};

const struct bench_test bench_read_missing = {
	.name = "read-missing", .start = BENCH_FULL, .by_default = 1,
	.every = 8, .total = bench_total_ops, .draw = draw_missing,
	.act = bench_get, .check = check_missing
};

const struct bench_test bench_scan = {
	.name = "scan", .start = BENCH_FULL, .by_default = 1, .every = 1,
	.total = total_scanned, .draw = draw_scan, .act = scan
};

const struct bench_test bench_range_scan = {
	.name = "range-scan", .start = BENCH_FULL, .by_default = 1,
	.every = 1, .total = total_scans, .draw = draw_range_scan,
	.act = range_scan
};
