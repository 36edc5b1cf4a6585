/*
 * bench_data: keys, values, and what is known of them.
 *
 * The number of a key is doubled and written in decimal digits, so that
 * between two keys there is room for one that was never written, in the same
 * places of the same tables.  Values are printable, since one can be an
 * operand of a tool.  Their second half is their first, so that any codec
 * finds something to do.
 */
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "bench_data.h"
#include "bench_dist.h"
#include "cli.h"

/* A record that was sampled. */
struct sample {
	uint8_t *key;		/* malloc'ed */
	size_t klen;
	uint64_t version, hash;
};

/*
 * state[i]: the newest version of record i, times two, plus one if it is
 * there.  It is stored by the one process that writes the key, after the
 * commit has returned.
 */
struct bench_data {
	struct bench_shape shape;
	_Atomic uint32_t *state;	/* NULL: sampled */
	void *map;			/* where state is, shared */
	size_t map_len;
	struct sample *sample;
	uint64_t changed;
};

static void *
need(void *p)
{
	if (p == NULL)
		cli_die(EX_IOERR_, "out of memory");
	return p;
}

struct bench_data *
bench_data_new(const struct bench_shape *shape)
{
	struct bench_data *d = need(calloc(1, sizeof(*d)));

	d->shape = *shape;
	d->map_len = shape->keys * sizeof(*d->state);
	d->map = mmap(NULL, d->map_len, PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	d->state = need(d->map != MAP_FAILED ? d->map : NULL);
	return d;
}

void
bench_data_free(struct bench_data *d)
{
	uint64_t i;

	if (d == NULL)
		return;
	if (d->state != NULL)
		munmap(d->map, d->map_len);
	for (i = 0; d->sample != NULL && i < d->shape.keys; i++)
		free(d->sample[i].key);
	free(d->sample);
	free(d);
}

void
bench_data_clear(struct bench_data *d)
{
	memset(d->map, 0, d->map_len);
}

uint64_t
bench_data_count(const struct bench_data *d)
{
	return d->shape.keys;
}

int
bench_data_present(const struct bench_data *d, uint64_t i)
{
	return d->state == NULL || (bench_data_before(d, i) & 1) != 0;
}

uint64_t
bench_data_absent(const struct bench_data *d)
{
	uint64_t i, n = 0;

	for (i = 0; i < d->shape.keys; i++)
		n += !bench_data_present(d, i);
	return n;
}

size_t
bench_data_klen(const struct bench_data *d)
{
	return d->shape.klen;
}

size_t
bench_data_vlen(const struct bench_data *d)
{
	return d->shape.vmax;
}

/* ---- keys -------------------------------------------------------------- */

static void
write_digits(uint8_t *buf, size_t len, uint64_t n)
{
	static const char pairs[] =
	    "00010203040506070809101112131415161718192021222324"
	    "25262728293031323334353637383940414243444546474849"
	    "50515253545556575859606162636465666768697071727374"
	    "75767778798081828384858687888990919293949596979899";

	for (; len > 1; len -= 2, n /= 100) {
		if (n == 0) {
			memset(buf, '0', len);
			return;
		}
		memcpy(buf + len - 2, pairs + 2 * (n % 100), 2);
	}
	if (len > 0)
		buf[0] = (uint8_t)('0' + n % 10);
}

/* The number that these digits mean: 1 if they are digits. */
static int
read_digits(const uint8_t *p, size_t len, uint64_t *n)
{
	*n = 0;
	for (; len > 0; len--, p++) {
		if (*p < '0' || *p > '9' || *n > UINT64_MAX / 10 - 1)
			return 0;
		*n = *n * 10 + (uint64_t)(*p - '0');
	}
	return 1;
}

size_t
bench_data_key(const struct bench_data *d, uint64_t i, uint8_t *buf)
{
	if (d->state == NULL) {
		memcpy(buf, d->sample[i].key, d->sample[i].klen);
		return d->sample[i].klen;
	}
	write_digits(buf, d->shape.klen, 2 * i);
	return d->shape.klen;
}

size_t
bench_data_gap(const struct bench_data *d, uint64_t i, uint8_t *buf)
{
	size_t len;

	if (d->state != NULL) {
		write_digits(buf, d->shape.klen, 2 * i + 1);
		return d->shape.klen;
	}
	len = bench_data_key(d, i, buf);
	if (len == KEVO_KEY_MAX)
		buf[len - 1]++;
	else
		buf[len++] = 0;
	return len;
}

/* ---- values ------------------------------------------------------------ */

static uint64_t
content(const struct bench_data *d, uint64_t i, uint32_t version)
{
	return bench_mix(d->shape.seed ^ bench_mix(i << 20 ^ version));
}

static size_t
value_len(const struct bench_data *d, uint64_t s)
{
	size_t more = d->shape.vmax - d->shape.vmin;

	return d->shape.vmin + (more > 0 ? (size_t)(s % (more + 1)) : 0);
}

size_t
bench_data_value(const struct bench_data *d, uint64_t i, uint32_t version,
    uint8_t *buf)
{
	static const char hex[] = "0123456789abcdef";
	uint64_t s = content(d, i, version), w;
	size_t len = value_len(d, s), half = len / 2, n, at;

	for (n = 0; n < 8; n++)
		buf[n] = (uint8_t)hex[version >> (28 - 4 * n) & 15];
	for (at = 8; at < half; at += n) {
		w = (bench_mix(s += 0xd1b54a32d192ed03u) &
		    0x3f3f3f3f3f3f3f3fu) + 0x2020202020202020u;
		n = half - at < 8 ? half - at : 8;
		memcpy(buf + at, &w, n);
	}
	if (half > 8) {
		memcpy(buf + half, buf, half);
		if (len & 1)
			buf[len - 1] = '.';
	} else if (len > 8) {
		memset(buf + 8, '.', len - 8);
	}
	return len;
}

uint32_t
bench_data_next(const struct bench_data *d, uint64_t i)
{
	return (bench_data_before(d, i) >> 1) + 1;
}

void
bench_data_written(struct bench_data *d, uint64_t i, uint32_t version)
{
	atomic_store_explicit(&d->state[i], version << 1 | 1,
	    memory_order_release);
}

void
bench_data_deleted(struct bench_data *d, uint64_t i, uint32_t version)
{
	atomic_store_explicit(&d->state[i], version << 1,
	    memory_order_release);
}

/* ---- checking ---------------------------------------------------------- */

const char bench_data_lost[] = "nothing, where a record was written";

uint32_t
bench_data_before(const struct bench_data *d, uint64_t i)
{
	if (d->state == NULL)
		return 0;
	return atomic_load_explicit(&d->state[i], memory_order_acquire);
}

static int
read_version(const uint8_t *p, uint32_t *version)
{
	unsigned n, digit;

	*version = 0;
	for (n = 0; n < 8; n++) {
		if (p[n] >= '0' && p[n] <= '9')
			digit = p[n] - '0';
		else if (p[n] >= 'a' && p[n] <= 'f')
			digit = p[n] - 'a' + 10u;
		else
			return 0;
		*version = *version << 4 | digit;
	}
	return 1;
}

static const char *
check_value(const struct bench_data *d, uint64_t i, uint32_t before,
    const struct kevo_record *rec, uint8_t *buf)
{
	uint32_t after = bench_data_before(d, i), version;
	size_t len;

	if (rec->vlen < 8 || !read_version(rec->value, &version))
		return "a value that was never written";
	/* The writer is at most one ahead of what it has noted. */
	if (version < before >> 1 || version == 0)
		return "an older value than the newest";
	if (version > (after >> 1) + 1)
		return "a value that was never written";
	len = bench_data_value(d, i, version, buf);
	if (rec->vlen != len || memcmp(rec->value, buf, len) != 0)
		return "other bytes than were written";
	return NULL;
}

static uint64_t
hash(const uint8_t *p, size_t len)
{
	uint64_t h = len, w;

	for (; len >= 8; p += 8, len -= 8) {
		memcpy(&w, p, 8);
		h = bench_mix(h ^ w);
	}
	w = 0;
	memcpy(&w, p, len);
	return bench_mix(h ^ w);
}

/* Others may write a database that is not ours: what is newer than the
 * sample is theirs. */
static const char *
check_sample(struct bench_data *d, uint64_t i, const struct kevo_record *rec)
{
	const struct sample *s = &d->sample[i];

	if (rec == NULL || rec->version > s->version) {
		d->changed++;
		return NULL;
	}
	if (rec->version < s->version)
		return "an older version than was there before";
	if (hash(rec->value, rec->vlen) != s->hash)
		return "other bytes of the same version than before";
	return NULL;
}

const char *
bench_data_check(struct bench_data *d, uint64_t i, uint32_t before,
    const struct kevo_record *rec, uint8_t *buf)
{
	if (d->state == NULL)
		return check_sample(d, i, rec);
	if (rec != NULL)
		return check_value(d, i, before, rec, buf);
	if ((before & 1) != 0 && bench_data_present(d, i))
		return bench_data_lost;
	return NULL;
}

/* ---- checking a scan --------------------------------------------------- */

/* No record from *at to before i was met. */
static const char *
skip(struct bench_data *d, uint64_t *at, uint64_t i)
{
	for (; *at < i; ++*at) {
		if (d->state == NULL)
			d->changed++;
		else if (bench_data_present(d, *at))
			return bench_data_lost;
	}
	return NULL;
}

static const char *
scan_written(struct bench_data *d, uint64_t *at,
    const struct kevo_record *rec, uint8_t *buf)
{
	const char *wrong;
	uint64_t n;

	if (rec->klen != d->shape.klen ||
	    !read_digits(rec->key, rec->klen, &n) || n % 2 != 0 ||
	    n / 2 >= d->shape.keys)
		return "a key that was never written";
	n /= 2;
	if (n < *at)
		return "keys out of order";
	if ((wrong = skip(d, at, n)) != NULL)
		return wrong;
	++*at;
	return check_value(d, n, bench_data_before(d, n), rec, buf);
}

static int
compare(const struct kevo_record *rec, const struct sample *s)
{
	size_t n = rec->klen < s->klen ? rec->klen : s->klen;
	int c = memcmp(rec->key, s->key, n);

	if (c != 0 || rec->klen == s->klen)
		return c;
	return rec->klen < s->klen ? -1 : 1;
}

static const char *
scan_sampled(struct bench_data *d, uint64_t *at,
    const struct kevo_record *rec)
{
	int c = -1;

	while (*at < d->shape.keys &&
	    (c = compare(rec, &d->sample[*at])) > 0) {
		d->changed++;
		++*at;
	}
	if (*at == d->shape.keys || c < 0)
		return NULL;
	return check_sample(d, (*at)++, rec);
}

const char *
bench_data_check_scan(struct bench_data *d, uint64_t *at, uint64_t end,
    const struct kevo_record *rec, uint8_t *buf)
{
	if (rec == NULL)
		return skip(d, at, end);
	if (d->state == NULL)
		return scan_sampled(d, at, rec);
	return scan_written(d, at, rec, buf);
}

uint64_t
bench_data_changed(const struct bench_data *d)
{
	return d->changed;
}

/* ---- sampling ---------------------------------------------------------- */

static struct kevo_iter *
first(struct kevo *db, const struct kevo_snapshot *snap,
    struct kevo_record *rec, int *rc)
{
	struct kevo_iter *it;

	if ((*rc = kevo_iter_new(db, snap, NULL, &it)) != 0)
		cli_fail(db, *rc);
	*rc = kevo_iter_first(it, rec);
	return it;
}

static uint64_t
count(struct kevo *db, const struct kevo_snapshot *snap)
{
	struct kevo_record rec;
	struct kevo_iter *it;
	uint64_t n = 0;
	int rc;

	for (it = first(db, snap, &rec, &rc); rc == 0;
	    rc = kevo_iter_next(it, &rec)) {
		cli_progress("counting", ++n, 0, 0);
		if (cli_stopped())
			cli_die_by_signal();
	}
	if (rc < 0)
		cli_fail(db, rc);
	kevo_iter_free(it);
	return n;
}

static void
take(struct bench_data *d, struct sample *s, const struct kevo_record *rec)
{
	s->key = need(malloc(rec->klen));
	memcpy(s->key, rec->key, rec->klen);
	s->klen = rec->klen;
	s->version = rec->version;
	s->hash = hash(rec->value, rec->vlen);
	if (rec->klen > d->shape.klen)
		d->shape.klen = rec->klen;
	if (rec->vlen > d->shape.vmax)
		d->shape.vmax = rec->vlen;
}

/* Of those that are left, each is taken with the probability that makes the
 * number come out: D. Knuth, The Art of Computer Programming, 3.4.2 S. */
static void
choose(struct bench_data *d, struct kevo *db,
    const struct kevo_snapshot *snap, uint64_t left)
{
	struct bench_rng rng = { d->shape.seed };
	struct kevo_record rec;
	struct kevo_iter *it;
	uint64_t taken = 0;
	int rc;

	for (it = first(db, snap, &rec, &rc);
	    rc == 0 && left > 0 && taken < d->shape.keys;
	    rc = kevo_iter_next(it, &rec), left--) {
		if (bench_below(&rng, left) < d->shape.keys - taken)
			take(d, &d->sample[taken++], &rec);
		cli_progress("sampling", taken, 0, 0);
		if (cli_stopped())
			cli_die_by_signal();
	}
	if (rc < 0)
		cli_fail(db, rc);
	kevo_iter_free(it);
	/* A record can expire between the two passes. */
	d->shape.keys = taken;
}

struct bench_data *
bench_data_sample(struct kevo *db, uint64_t most, uint64_t seed)
{
	struct bench_data *d = need(calloc(1, sizeof(*d)));
	struct kevo_snapshot *snap;
	uint64_t all;
	int rc;

	if ((rc = kevo_snapshot_new(db, &snap)) != 0)
		cli_fail(db, rc);
	all = count(db, snap);
	d->shape.seed = seed;
	d->shape.keys = all < most ? all : most;
	d->sample = need(calloc(d->shape.keys + 1, sizeof(*d->sample)));
	choose(d, db, snap, all);
	kevo_snapshot_free(snap);
	cli_progress_end();
	if (d->shape.keys == 0)
		cli_die(EX_DATAERR_, "the database holds no records");
	return d;
}
