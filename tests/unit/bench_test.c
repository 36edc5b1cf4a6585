/*
 * bench_test: what kevo-bench computes: histograms, distributions, verdicts,
 * and whether it notices a wrong answer.
 */
#include <math.h>

#include "bench_data.h"
#include "bench_dist.h"
#include "bench_hist.h"
#include "bench_stat.h"
#include "tap.h"

/* ---- histogram --------------------------------------------------------- */

static int
by_size(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static int
close_to(uint64_t got, uint64_t want)
{
	uint64_t d = got > want ? got - want : want - got;

	return d <= want / 32 + 1;
}

/* The value that a share of n sorted ones do not exceed. */
static uint64_t
exact(const uint64_t *v, size_t n, double share)
{
	size_t rank = (size_t)ceil(share * (double)n);

	return v[rank > 0 ? rank - 1 : 0];
}

static void
test_hist(void)
{
	static const double share[] = { 0, 0.5, 0.9, 0.99, 0.999, 1 };
	struct bench_hist *h = tap_alloc(sizeof(*h));
	struct bench_hist *g = tap_alloc(sizeof(*g));
	enum { N = 20000 };
	uint64_t *v = tap_alloc(N * sizeof(*v)), sum = 0;
	size_t i;

	memset(h, 0, sizeof(*h));
	memset(g, 0, sizeof(*g));
	expect(bench_hist_at(h, 0.5) == 0 && bench_hist_mean(h) == 0);
	for (i = 0; i < N; i++) {
		v[i] = tap_random() >> (20 + tap_below(40));
		sum += v[i];
		bench_hist_add(i % 3 == 0 ? g : h, v[i]);
	}
	bench_hist_merge(h, g);
	qsort(v, N, sizeof(*v), by_size);
	expect(h->n == N && h->min == v[0] && h->max == v[N - 1] &&
	    h->sum == sum);
	for (i = 0; i < sizeof(share) / sizeof(share[0]); i++)
		if (!expect(close_to(bench_hist_at(h, share[i]),
		    exact(v, N, share[i]))))
			tap_note("at %g: %llu, not %llu", share[i],
			    (unsigned long long)bench_hist_at(h, share[i]),
			    (unsigned long long)exact(v, N, share[i]));
	expect(bench_hist_at(h, 1) == h->max);
	tap_report("histogram: percentiles are within a 32nd, ends are exact");

	memset(g, 0, sizeof(*g));
	bench_hist_merge(h, g);
	expect(h->n == N && h->min == v[0]);
	bench_hist_merge(g, h);
	expect(memcmp(g, h, sizeof(*g)) == 0);
	memset(g, 0, sizeof(*g));
	bench_hist_add(g, UINT64_MAX);
	bench_hist_add(g, 0);
	expect(g->min == 0 && g->max == UINT64_MAX);
	expect(bench_hist_at(g, 0.5) == 0 && bench_hist_at(g, 1) == UINT64_MAX);
	tap_report("histogram: merges with an empty one, and holds any value");
	free(v);
	free(g);
	free(h);
}

/* ---- random order ------------------------------------------------------ */

static void
test_perm(void)
{
	static const uint64_t sizes[] = { 1, 2, 3, 4, 5, 63, 64, 65, 1000,
	    4097, 100000 };
	struct bench_perm p, q;
	uint64_t fixed, i;
	uint8_t *seen;
	size_t s;

	for (s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
		bench_perm_init(&p, sizes[s], tap_random());
		seen = tap_alloc(sizes[s]);
		memset(seen, 0, sizes[s]);
		for (fixed = i = 0; i < sizes[s]; i++) {
			if (bench_perm_at(&p, i) < sizes[s])
				seen[bench_perm_at(&p, i)]++;
			fixed += bench_perm_at(&p, i) == i;
		}
		for (i = 0; i < sizes[s] && seen[i] == 1; i++)
			;
		if (!expect(i == sizes[s]))
			tap_note("of %llu, %llu is missing or twice",
			    (unsigned long long)sizes[s],
			    (unsigned long long)i);
		expect(sizes[s] < 1000 || fixed < 10);
		free(seen);
	}
	bench_perm_init(&p, 1000, 1);
	bench_perm_init(&q, 1000, 2);
	for (fixed = i = 0; i < 1000; i++)
		fixed += bench_perm_at(&p, i) == bench_perm_at(&q, i);
	expect(fixed < 20);
	tap_report("order: each number once, in a random order of the seed");
}

/* ---- distributions ----------------------------------------------------- */

/* Counts of n draws of ranks against what they should be, of which each is a
 * sum of many independent ones. */
static void
check_zipf(uint64_t n, uint64_t draws)
{
	uint64_t *count = tap_alloc(n * sizeof(*count)), i, rank;
	struct bench_rng rng = { tap_random() };
	struct bench_zipf z;
	double sum = 0, want, off;

	memset(count, 0, n * sizeof(*count));
	bench_zipf_init(&z, n);
	for (i = 0; i < draws; i++) {
		rank = bench_zipf_draw(&z, &rng);
		if (!expect(rank < n))
			break;
		count[rank]++;
	}
	for (i = 0; i < n; i++)
		sum += pow((double)i + 1, -0.99);
	for (i = 0; i < n && i < 20; i++) {
		want = (double)draws * pow((double)i + 1, -0.99) / sum;
		off = fabs((double)count[i] - want) / sqrt(want);
		if (!expect(off < 6))
			tap_note("rank %llu of %llu: %llu draws, not %.0f",
			    (unsigned long long)i, (unsigned long long)n,
			    (unsigned long long)count[i], want);
	}
	free(count);
}

static void
test_zipf(void)
{
	struct bench_rng rng = { tap_random() };
	struct bench_zipf z;
	int i;

	check_zipf(1, 1000);
	check_zipf(2, 50000);
	check_zipf(10, 100000);
	check_zipf(1000, 200000);
	check_zipf(100000, 200000);
	tap_report("zipf: ranks come as often as they should");
	bench_zipf_init(&z, UINT64_C(1) << 31);
	for (i = 0; i < 10000; i++)
		expect(bench_zipf_draw(&z, &rng) < UINT64_C(1) << 31);
	tap_report("zipf: two thousand million ranks need no table");
}

/* How often the most frequent of n keys comes in draws. */
static uint64_t
most_frequent(struct bench_picker *p, uint64_t n, uint64_t draws,
    uint64_t *which)
{
	uint64_t *count = tap_alloc(n * sizeof(*count)), i, k, best = 0;

	memset(count, 0, n * sizeof(*count));
	for (i = 0; i < draws; i++) {
		k = bench_pick(p);
		if (!expect(k < n))
			break;
		count[k]++;
	}
	for (i = 1; i < n; i++)
		if (count[i] > count[best])
			best = i;
	*which = best;
	best = count[best];
	free(count);
	return best;
}

static void
test_picker(void)
{
	enum { N = 1000, DRAWS = 100000 };
	struct bench_picker p;
	struct bench_perm fill;
	uint64_t which, other, n;

	bench_perm_init(&fill, N, 7);
	bench_picker_init(&p, BENCH_UNIFORM, &fill, tap_random(), 0);
	n = most_frequent(&p, N, DRAWS, &which);
	expect(n >= 100 && n < 170);
	bench_picker_init(&p, BENCH_ZIPF, &fill, tap_random(), 0);
	expect(most_frequent(&p, N, DRAWS, &which) > DRAWS / 10);
	bench_picker_init(&p, BENCH_ZIPF, &fill, tap_random(), 0);
	most_frequent(&p, N, DRAWS, &other);
	expect(which == other);
	tap_report("picker: zipf has the same hot key in every process");
	bench_picker_init(&p, BENCH_LATEST, &fill, tap_random(), 0);
	expect(most_frequent(&p, N, DRAWS, &which) > DRAWS / 10);
	expect(which == bench_perm_at(&fill, N - 1));
	bench_picker_init(&p, BENCH_SEQUENTIAL, &fill, 0, 998);
	expect(bench_pick(&p) == 998 && bench_pick(&p) == 999 &&
	    bench_pick(&p) == 0 && bench_pick(&p) == 1);
	tap_report("picker: latest prefers the last, sequential goes round");
}

/* ---- verdicts ---------------------------------------------------------- */

static int
is(double a, double b)
{
	return fabs(a - b) < 1e-9;
}

static void
test_stat(void)
{
	static const double few[] = { 3, 1, 2, 10 };
	static const double more[] = { 5, 100, 3, -100, 4, 6 };
	static const double a[] = { 100, 110, 90, 100, 500 };
	static const double b[] = { 102, 110, 91, 99, 100 };
	struct bench_spread s;

	bench_spread_of(&s, few, 4);
	expect(is(s.median, 2.5) && is(s.low, 1) && is(s.high, 10));
	bench_spread_of(&s, few, 1);
	expect(is(s.median, 3) && is(s.low, 3) && is(s.high, 3));
	bench_spread_of(&s, more, 6);
	expect(is(s.median, 4.5) && is(s.low, 3) && is(s.high, 6));
	tap_report("spread: the ends are left out of five and more");
	expect(is(bench_noise(a, b, 5), 0.02));
	expect(is(bench_noise(a, a, 5), 0));
	tap_report("noise: in either direction, without the worst round");
	s = (struct bench_spread){ 0.30, 0.21, 0.35 };
	expect(bench_verdict(&s, 0.20) == BENCH_BETTER);
	expect(bench_verdict(&s, 0.22) == BENCH_SAME);
	s = (struct bench_spread){ 0.006, 0.005, 0.007 };
	expect(bench_verdict(&s, 0) == BENCH_SAME);
	s = (struct bench_spread){ -0.30, -0.35, -0.21 };
	expect(bench_verdict(&s, 0.20) == BENCH_WORSE);
	expect(bench_verdict(&s, 0.30) == BENCH_SAME);
	s = (struct bench_spread){ 0.30, -0.01, 0.90 };
	expect(bench_verdict(&s, 0.01) == BENCH_SAME);
	tap_report("verdict: only what is beyond the noise counts");
}

/* ---- records ----------------------------------------------------------- */

static void
test_keys(void)
{
	struct bench_shape shape = { 500, 5, 8, 8, 1 };
	struct bench_data *d = bench_data_new(&shape);
	uint8_t key[8], gap[8], last[8] = "";
	uint64_t i;

	expect(bench_data_count(d) == 500 && bench_data_absent(d) == 500);
	for (i = 0; i < 500; i++) {
		expect(bench_data_key(d, i, key) == 5);
		expect(bench_data_gap(d, i, gap) == 5);
		expect(memcmp(last, key, 5) < 0 && memcmp(key, gap, 5) < 0);
		memcpy(last, gap, 5);
	}
	bench_data_key(d, 499, key);
	expect(memcmp(key, "00998", 5) == 0);
	tap_report("keys: in order, each with an absent one behind it");
	bench_data_free(d);
}

static const char *
check(struct bench_data *d, uint64_t i, const void *value, size_t len)
{
	struct kevo_record rec = { .value = value, .vlen = len };
	uint8_t *room = tap_alloc(bench_data_vlen(d) + 1);
	const char *wrong = bench_data_check(d, i, bench_data_before(d, i),
	    value != NULL ? &rec : NULL, room);

	free(room);
	return wrong;
}

static void
test_values(void)
{
	struct bench_shape shape = { 100, 8, 8, 300, 5 };
	struct bench_data *d = bench_data_new(&shape);
	uint8_t *v = tap_alloc(301), *w = tap_alloc(301);
	size_t len, len2, least = 1000, most = 0, at;
	uint32_t version;
	uint64_t i;

	for (i = 0; i < 100; i++) {
		expect(check(d, i, NULL, 0) == NULL);
		len = bench_data_value(d, i, 1, v);
		bench_data_written(d, i, 1);
		expect(check(d, i, v, len) == NULL);
		expect(check(d, i, NULL, 0) != NULL);
		least = len < least ? len : least;
		most = len > most ? len : most;
	}
	expect(least >= 8 && least < 60 && most <= 300 && most > 250);
	tap_report("values: of the sizes asked for, right as written");
	for (i = 0; i < 100; i++) {
		version = bench_data_next(d, i);
		expect(version == 2);
		len = bench_data_value(d, i, 1, v);
		len2 = bench_data_value(d, i, 2, w);
		/* The writer may be one ahead, and not behind. */
		expect(check(d, i, w, len2) == NULL);
		bench_data_written(d, i, 2);
		expect(check(d, i, v, len) != NULL);
		len = bench_data_value(d, i, 4, v);
		expect(check(d, i, v, len) != NULL);
		len = bench_data_value(d, (i + 1) % 100, 2, v);
		expect(check(d, i, v, len) != NULL);
		for (at = 0; at < len2; at++) {
			w[at] ^= 1;
			expect(check(d, i, w, len2) != NULL);
			w[at] ^= 1;
		}
		expect(check(d, i, w, len2 - 1) != NULL);
		expect(check(d, i, w, len2 + 1) != NULL);
		expect(check(d, i, w, len2) == NULL);
	}
	tap_report("values: an old, foreign or damaged one is noticed");
	bench_data_deleted(d, 7, 3);
	expect(check(d, 7, NULL, 0) == NULL && check(d, 7, v, len) != NULL);
	expect(bench_data_absent(d) == 1 && !bench_data_present(d, 7));
	expect(bench_data_next(d, 7) == 4);
	bench_data_clear(d);
	expect(bench_data_absent(d) == 100 && bench_data_next(d, 7) == 1);
	tap_report("values: one that was deleted must be absent");
	bench_data_free(d);
	free(w);
	free(v);
}

/* What a scan says that meets the given keys, of which it should meet those
 * from 0 to end. */
static const char *
scan(struct bench_data *d, const uint64_t *met, size_t n, uint64_t end)
{
	uint8_t key[9], value[101], room[101];
	struct kevo_record rec = { .key = key, .value = value };
	const char *wrong = NULL;
	uint64_t at = 0;
	size_t i;

	for (i = 0; i < n && wrong == NULL; i++) {
		rec.klen = bench_data_key(d, met[i], key);
		rec.vlen = bench_data_value(d, met[i], 1, value);
		wrong = bench_data_check_scan(d, &at, end, &rec, room);
	}
	return wrong != NULL ? wrong :
	    bench_data_check_scan(d, &at, end, NULL, room);
}

static void
test_scan(void)
{
	struct bench_shape shape = { 10, 8, 100, 100, 5 };
	struct bench_data *d = bench_data_new(&shape);
	uint8_t key[9], value[101], room[101];
	struct kevo_record rec = { key, 8, value, 100, 1, 0 };
	uint64_t i, at = 0;

	for (i = 0; i < 10; i++)
		bench_data_written(d, i, 1);
	bench_data_deleted(d, 3, 1);
	expect(scan(d, (uint64_t[]){ 0, 1, 2, 4, 5 }, 5, 6) == NULL);
	expect(scan(d, (uint64_t[]){ 0, 1, 2, 5 }, 4, 6) != NULL);
	expect(scan(d, (uint64_t[]){ 0, 1, 2, 3 }, 4, 6) != NULL);
	expect(scan(d, (uint64_t[]){ 0, 2, 1 }, 3, 3) != NULL);
	expect(scan(d, (uint64_t[]){ 0, 1, 1, 2 }, 4, 3) != NULL);
	expect(scan(d, (uint64_t[]){ 0, 1 }, 2, 6) != NULL);
	expect(scan(d, (uint64_t[]){ 1, 2 }, 2, 3) != NULL);
	tap_report("scan: a record left out, doubled, or out of order shows");
	bench_data_gap(d, 2, key);
	bench_data_value(d, 2, 1, value);
	expect(bench_data_check_scan(d, &at, 9, &rec, room) != NULL);
	memcpy(key, "zzzzzzzz", 8);
	expect(bench_data_check_scan(d, &at, 9, &rec, room) != NULL);
	tap_report("scan: so does one that was never written");
	bench_data_free(d);
}

int
main(void)
{
	tap_start("bench");
	test_hist();
	test_perm();
	test_zipf();
	test_picker();
	test_stat();
	test_keys();
	test_values();
	test_scan();
	return tap_end();
}
