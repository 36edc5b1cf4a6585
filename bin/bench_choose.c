/*
 * bench_choose: which records an operation is about.
 */
#include "bench_choose.h"

uint8_t *
bench_key_at(struct bench_worker *w, uint64_t j)
{
	return w->key + j * w->kroom;
}

uint8_t *
bench_value_at(struct bench_worker *w, uint64_t j)
{
	return w->value + j * w->vroom;
}

void
bench_set_key(struct bench_worker *w, uint64_t j, uint64_t idx)
{
	w->idx[j] = idx;
	w->klen[j] = bench_data_key(w->data, idx, bench_key_at(w, j));
}

void
bench_set_record(struct bench_worker *w, uint64_t j, uint64_t idx)
{
	bench_set_key(w, j, idx);
	w->version[j] = bench_data_next(w->data, idx);
	w->vlen[j] = bench_data_value(w->data, idx, w->version[j],
	    bench_value_at(w, j));
}

uint64_t
bench_commit_size(const struct bench_worker *w)
{
	uint64_t left = w->mine - w->i;

	return w->mine == 0 || left > w->b->batch ? w->b->batch : left;
}

unsigned
bench_writers(const struct bench_worker *w)
{
	return w->test->alone ? 1 : w->b->processes;
}

/* How many of 0 to n - 1 this process writes. */
static uint64_t
share(const struct bench_worker *w, uint64_t n)
{
	return n / bench_writers(w) + (w->id < n % bench_writers(w));
}

uint64_t
bench_own(const struct bench_worker *w, uint64_t i, uint64_t n)
{
	return i % share(w, n) * bench_writers(w) + w->id;
}

uint64_t
bench_own_near(const struct bench_worker *w, uint64_t idx)
{
	uint64_t n = bench_data_count(w->data), p = bench_writers(w);
	uint64_t near = idx - idx % p + w->id;

	return near < n ? near : near - p;
}

uint64_t
bench_in_order(const struct bench_worker *w, uint64_t i)
{
	return bench_perm_at(&w->b->order, bench_own(w, i, w->b->order.n));
}

void
bench_wrote(struct bench_worker *w, uint64_t j, size_t vlen)
{
	w->slot->records++;
	w->slot->bytes += w->klen[j] + vlen;
}

uint64_t
bench_total_ops(const struct bench *b)
{
	return b->ops_set ? b->ops : bench_data_count(b->data);
}

uint64_t
bench_all_keys(const struct bench *b)
{
	return bench_data_count(b->data);
}
