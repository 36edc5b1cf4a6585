/*
 * bench_choose: which records an operation is about, for the workloads.
 *
 * A key has one writer: process p of P writes the keys whose number, or whose
 * place in the random order, leaves the rest p when divided by P.
 */
#ifndef BENCH_CHOOSE_H
#define BENCH_CHOOSE_H

#include "bench.h"

/* Where key and value of the j-th record of an operation are. */
uint8_t *bench_key_at(struct bench_worker *w, uint64_t j);
uint8_t *bench_value_at(struct bench_worker *w, uint64_t j);

/* Make record idx the j-th; the second with its next version as value. */
void bench_set_key(struct bench_worker *w, uint64_t j, uint64_t idx);
void bench_set_record(struct bench_worker *w, uint64_t j, uint64_t idx);

/* How many the next commit takes. */
uint64_t bench_commit_size(const struct bench_worker *w);

/* How many processes write. */
unsigned bench_writers(const struct bench_worker *w);

/* The i-th of this process' numbers below n, from the beginning after the
 * last one; one of its numbers near idx; its i-th one in the random order. */
uint64_t bench_own(const struct bench_worker *w, uint64_t i, uint64_t n);
uint64_t bench_own_near(const struct bench_worker *w, uint64_t idx);
uint64_t bench_in_order(const struct bench_worker *w, uint64_t i);

/* Count the j-th record, whose value has vlen bytes. */
void bench_wrote(struct bench_worker *w, uint64_t j, size_t vlen);

/* What the workloads of bench_read.c and bench_write.c have in common. */
int bench_get(struct bench_worker *w);
void bench_draw_read(struct bench_worker *w);
void bench_check_get(struct bench_worker *w);

/* How many operations: as --ops says or as there are keys; as there are. */
uint64_t bench_total_ops(const struct bench *b);
uint64_t bench_all_keys(const struct bench *b);

extern const struct bench_test bench_read, bench_random_read,
    bench_read_missing, bench_scan, bench_range_scan;
extern const struct bench_test bench_write, bench_random_write,
    bench_sequential_write, bench_mixed, bench_transactions,
    bench_optimistic, bench_delete;
extern const struct bench_test bench_compaction;

#endif /* BENCH_CHOOSE_H */
