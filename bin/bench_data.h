/*
 * bench_data: the records of a benchmark, and whether what was read is right.
 *
 * A key is a number; a value is a function of the number and of a version
 * that counts the writes of this key.  The newest version of each key stands
 * in memory that all processes of the run share, so a value that is read is
 * compared byte for byte with what was written last.  A key has one writer
 * at a time, but readers run beside it: they look at the version before and
 * after they read, and accept what lies between.
 *
 * Of a database that holds something else (--existing) the keys are sampled
 * first, with a checksum of each value.
 */
#ifndef BENCH_DATA_H
#define BENCH_DATA_H

#include <stddef.h>
#include <stdint.h>

#include <kevo.h>

struct bench_data;

struct bench_shape {
	uint64_t keys;
	size_t klen;
	size_t vmin, vmax;
	uint64_t seed;
};

enum { BENCH_VALUE_MIN = 8 };	/* room for the version */

/* Records that are all absent.  Ends the program if memory is out. */
struct bench_data *bench_data_new(const struct bench_shape *shape);

/*
 * The records of a database, at most `most` of them, chosen evenly over all,
 * in their order.  Ends the program on an error and if there are none.
 */
struct bench_data *bench_data_sample(struct kevo *db, uint64_t most,
    uint64_t seed);
void bench_data_free(struct bench_data *d);

/* All records are absent again. */
void bench_data_clear(struct bench_data *d);

uint64_t bench_data_count(const struct bench_data *d);
uint64_t bench_data_absent(const struct bench_data *d);	/* how many */
int bench_data_present(const struct bench_data *d, uint64_t i);

/* The longest key and value there are. */
size_t bench_data_klen(const struct bench_data *d);
size_t bench_data_vlen(const struct bench_data *d);

/* Key i; of one that lies behind it and was never written.  buf has room for
 * bench_data_klen() + 1 bytes; returns the length. */
size_t bench_data_key(const struct bench_data *d, uint64_t i, uint8_t *buf);
size_t bench_data_gap(const struct bench_data *d, uint64_t i, uint8_t *buf);

/* The next version of record i, and its value in buf. */
uint32_t bench_data_next(const struct bench_data *d, uint64_t i);
size_t bench_data_value(const struct bench_data *d, uint64_t i,
    uint32_t version, uint8_t *buf);

/* The version is committed; after that, of a deletion, the key is absent. */
void bench_data_written(struct bench_data *d, uint64_t i, uint32_t version);
void bench_data_deleted(struct bench_data *d, uint64_t i, uint32_t version);

/* ---- checking ---------------------------------------------------------- */

/* What is known of record i before it is read. */
uint32_t bench_data_before(const struct bench_data *d, uint64_t i);

/*
 * Is this what a read of record i may find?  rec is NULL if the key was not
 * found.  buf has room for bench_data_vlen() bytes.
 *
 * Returns NULL, or what is wrong with it: a phrase.
 */
const char *bench_data_check(struct bench_data *d, uint64_t i,
    uint32_t before, const struct kevo_record *rec, uint8_t *buf);

/*
 * The same for records that a scan meets one after the other: *at is the
 * first number that may come now, and moves on.  At the end rec is NULL and
 * `end` is the number that the scan need not have reached.  If the result is
 * bench_data_lost, it is about record *at.
 */
extern const char bench_data_lost[];
const char *bench_data_check_scan(struct bench_data *d, uint64_t *at,
    uint64_t end, const struct kevo_record *rec, uint8_t *buf);

/* How many records somebody else has changed since they were sampled, as
 * this process has seen. */
uint64_t bench_data_changed(const struct bench_data *d);

#endif /* BENCH_DATA_H */
