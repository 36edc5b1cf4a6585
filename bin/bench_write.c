/*
 * bench_write: the workloads that write, and what fills a database.
 */
#include "bench_choose.h"

/* ---- writing ----------------------------------------------------------- */

static int
put(struct bench_worker *w)
{
	uint64_t j;
	int rc = 0;

	if (w->n == 1)
		return kevo_put(w->db, w->key, w->klen[0], w->value,
		    w->vlen[0], NULL, NULL);
	for (j = 0; rc == 0 && j < w->n; j++)
		rc = kevo_batch_put(w->batch, bench_key_at(w, j), w->klen[j],
		    bench_value_at(w, j), w->vlen[j], 0);
	return rc == 0 ? kevo_commit(w->db, w->batch, KEVO_SYNC_DEFAULT,
	    NULL) : rc;
}

static void
have_put(struct bench_worker *w)
{
	uint64_t j;

	for (j = 0; j < w->n; j++) {
		bench_data_written(w->data, w->idx[j], w->version[j]);
		bench_wrote(w, j, w->vlen[j]);
	}
}

static void
draw_random_write(struct bench_worker *w)
{
	uint64_t j;

	w->n = bench_commit_size(w);
	for (j = 0; j < w->n; j++)
		bench_set_record(w, j, bench_in_order(w, w->i + j));
}

static void
draw_sequential_write(struct bench_worker *w)
{
	uint64_t j, n = bench_data_count(w->data);

	w->n = bench_commit_size(w);
	for (j = 0; j < w->n; j++)
		bench_set_record(w, j, bench_own(w, w->i + j, n));
}

/* A key that comes twice in one commit gets the same version twice, which is
 * the same value: whichever is kept is right. */
static void
draw_picked_write(struct bench_worker *w)
{
	uint64_t j;

	w->n = bench_commit_size(w);
	for (j = 0; j < w->n; j++)
		bench_set_record(w, j, bench_own_near(w, bench_pick(&w->pick)));
}

static void
draw_write(struct bench_worker *w)
{
	switch (w->b->dist) {
	case BENCH_UNIFORM:
		draw_random_write(w);
		break;
	case BENCH_SEQUENTIAL:
		draw_sequential_write(w);
		break;
	case BENCH_ZIPF:
	case BENCH_LATEST:
		draw_picked_write(w);
		break;
	}
}

/* ---- deleting ---------------------------------------------------------- */

static int
delete(struct bench_worker *w)
{
	uint64_t j;
	int rc = 0;

	if (w->n == 1)
		return kevo_delete(w->db, w->key, w->klen[0], NULL, NULL);
	for (j = 0; rc == 0 && j < w->n; j++)
		rc = kevo_batch_delete(w->batch, bench_key_at(w, j),
		    w->klen[j]);
	return rc == 0 ? kevo_commit(w->db, w->batch, KEVO_SYNC_DEFAULT,
	    NULL) : rc;
}

static void
draw_delete(struct bench_worker *w)
{
	uint64_t j;

	w->n = bench_commit_size(w);
	for (j = 0; j < w->n; j++) {
		bench_set_key(w, j, bench_in_order(w, w->i + j));
		w->version[j] = bench_data_next(w->data, w->idx[j]);
	}
}

static void
have_deleted(struct bench_worker *w)
{
	uint64_t j;

	for (j = 0; j < w->n; j++) {
		bench_data_deleted(w->data, w->idx[j], w->version[j]);
		bench_wrote(w, j, 0);
	}
}

/* ---- mixed ------------------------------------------------------------- */

enum { READS, WRITES };

static const char *const mixed_parts[] = { "read", "write", NULL };

static void
draw_mixed(struct bench_worker *w)
{
	w->part = bench_below(&w->rng, 4) == 0 ? WRITES : READS;
	if (w->part == WRITES)
		bench_set_record(w, 0, bench_own_near(w, bench_pick(&w->pick)));
	else
		bench_draw_read(w);
}

static int
mixed(struct bench_worker *w)
{
	return w->part == WRITES ? put(w) : bench_get(w);
}

static void
check_mixed(struct bench_worker *w)
{
	if (w->part == WRITES)
		have_put(w);
	else
		bench_check_get(w);
}

/* ---- transactions ------------------------------------------------------ */

/* Two records are read and replaced by their next versions. */
static void
draw_transaction(struct bench_worker *w)
{
	uint64_t n = bench_data_count(w->data), i;

	bench_set_record(w, 0, bench_own_near(w, bench_pick(&w->pick)));
	i = bench_own_near(w, bench_below(&w->rng, n));
	if (i == w->idx[0])
		i = bench_own_near(w, i + bench_writers(w) < n ?
		    i + bench_writers(w) : 0);
	bench_set_record(w, 1, i);
}

/* An error ends the program, and that ends the transaction. */
static int
read_in(struct bench_worker *w, struct kevo_txn *t, uint64_t j,
    uint32_t before)
{
	struct kevo_record rec;
	const char *wrong;
	int rc;

	rc = kevo_txn_get(t, bench_key_at(w, j), w->klen[j], &rec);
	if (rc < 0)
		return rc;
	wrong = bench_data_check(w->data, w->idx[j], before,
	    rc == 0 ? &rec : NULL, w->expected);
	if (wrong != NULL)
		bench_wrong(w, bench_key_at(w, j), w->klen[j], wrong);
	return 0;
}

static int
transact(struct bench_worker *w)
{
	struct kevo_txn *t;
	uint64_t j;
	int rc;

	if ((rc = kevo_txn_begin(w->db, NULL, &t)) != 0)
		return rc;
	for (j = 0; j < 2; j++) {
		rc = read_in(w, t, j, bench_data_before(w->data, w->idx[j]));
		if (rc != 0)
			return rc;
	}
	for (j = 0; j < 2; j++) {
		rc = kevo_txn_put(t, bench_key_at(w, j), w->klen[j],
		    bench_value_at(w, j), w->vlen[j], 0);
		if (rc != 0)
			return rc;
	}
	return kevo_txn_commit(t, KEVO_SYNC_DEFAULT, NULL);
}

static void
have_transacted(struct bench_worker *w)
{
	uint64_t j;

	for (j = 0; j < 2; j++) {
		bench_data_written(w->data, w->idx[j], w->version[j]);
		bench_wrote(w, j, w->vlen[j]);
	}
}

/* ---- optimistic transactions ------------------------------------------- */

/* Records of all processes are read, and one of its own is replaced. */
enum { LOOKS = 10 };

enum { FACT_CONFLICTS };

static const char *const optimistic_facts[] = { "conflicts", NULL };

static void
draw_optimistic(struct bench_worker *w)
{
	bench_set_record(w, 0, bench_own_near(w, bench_pick(&w->pick)));
}

/* What is known of a record before it is read is known before there is a
 * snapshot. */
static int
try_once(struct bench_worker *w)
{
	struct kevo_begin optimistic = { KEVO_TXN_OPTIMISTIC, 0 };
	uint32_t before[LOOKS];
	uint64_t idx[LOOKS];
	struct kevo_txn *t;
	int rc;

	for (unsigned i = 0; i < LOOKS; i++) {
		idx[i] = bench_pick(&w->pick);
		before[i] = bench_data_before(w->data, idx[i]);
	}
	rc = kevo_txn_begin(w->db, &optimistic, &t);
	for (unsigned i = 0; rc == 0 && i < LOOKS; i++) {
		bench_set_key(w, 1, idx[i]);
		rc = read_in(w, t, 1, before[i]);
	}
	if (rc == 0)
		rc = kevo_txn_put(t, w->key, w->klen[0], w->value, w->vlen[0],
		    0);
	return rc != 0 ? rc : kevo_txn_commit(t, KEVO_SYNC_DEFAULT, NULL);
}

static int
transact_optimistic(struct bench_worker *w)
{
	int rc;

	while ((rc = try_once(w)) == KEVO_ECONFLICT)
		w->slot->fact[FACT_CONFLICTS]++;
	return rc;
}

/* ---- what brings a database to where a test starts --------------------- */

/* Only what is absent. */
static void
draw_fill(struct bench_worker *w)
{
	uint64_t i, j = 0, idx;

	w->n = bench_commit_size(w);
	for (i = 0; i < w->n; i++) {
		idx = bench_in_order(w, w->i + i);
		if (!bench_data_present(w->data, idx))
			bench_set_record(w, j++, idx);
	}
	w->klen[j] = 0;
}

static int
fill(struct bench_worker *w)
{
	uint64_t j;
	int rc = 0;

	for (j = 0; rc == 0 && w->klen[j] > 0; j++)
		rc = kevo_batch_put(w->batch, bench_key_at(w, j), w->klen[j],
		    bench_value_at(w, j), w->vlen[j], 0);
	if (rc != 0 || j == 0)
		return rc;
	return kevo_commit(w->db, w->batch, KEVO_SYNC_NONE, NULL);
}

static void
have_filled(struct bench_worker *w)
{
	uint64_t j;

	for (j = 0; w->klen[j] > 0; j++)
		bench_data_written(w->data, w->idx[j], w->version[j]);
}

/* ---- the workloads ----------------------------------------------------- */

/* Each key once is all that there is to do. */
static uint64_t
total_keys(const struct bench *b)
{
	uint64_t n = bench_data_count(b->data);

	return b->ops_set && b->ops > 0 && b->ops < n ? b->ops : n;
}

const struct bench_test bench_write = {
	.name = "write", .start = BENCH_EMPTY, .writes = 1, .by_default = 1,
	.every = 1, .total = bench_total_ops, .draw = draw_write, .act = put,
	.check = have_put
};

const struct bench_test bench_random_write = {
	.name = "random-write", .start = BENCH_EMPTY, .writes = 1,
	.every = 1, .total = bench_total_ops, .draw = draw_random_write,
	.act = put, .check = have_put
};

const struct bench_test bench_sequential_write = {
	.name = "sequential-write", .start = BENCH_EMPTY, .writes = 1,
	.by_default = 1, .every = 1, .total = bench_total_ops,
	.draw = draw_sequential_write, .act = put, .check = have_put
};

const struct bench_test bench_mixed = {
	.name = "mixed", .start = BENCH_FULL, .writes = 1, .by_default = 1,
	.every = 1, .part = mixed_parts, .total = bench_total_ops,
	.draw = draw_mixed, .act = mixed, .check = check_mixed
};

const struct bench_test bench_transactions = {
	.name = "transactions", .start = BENCH_FULL, .writes = 1,
	.by_default = 1, .every = 1, .total = bench_total_ops,
	.draw = draw_transaction, .act = transact, .check = have_transacted
};

const struct bench_test bench_optimistic = {
	.name = "optimistic", .start = BENCH_FULL, .writes = 1,
	.by_default = 1, .every = 1, .fact = optimistic_facts,
	.total = bench_total_ops, .draw = draw_optimistic,
	.act = transact_optimistic, .check = have_put
};

const struct bench_test bench_delete = {
	.name = "delete", .start = BENCH_FULL, .writes = 1, .by_default = 1,
	.every = 1, .total = total_keys, .draw = draw_delete, .act = delete,
	.check = have_deleted
};

const struct bench_test bench_fill = {
	.name = "fill", .writes = 1, .alone = 1, .every = 1,
	.total = bench_all_keys, .draw = draw_fill, .act = fill,
	.check = have_filled
};

const struct bench_test bench_refill = {
	.name = "overwrite", .writes = 1, .alone = 1, .every = 1,
	.total = bench_all_keys, .draw = draw_random_write, .act = put,
	.check = have_put
};
