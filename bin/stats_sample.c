#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli.h"
#include "stats_sample.h"

/* ---- taking ------------------------------------------------------------ */

static void *
memory(void *p)
{
	if (p == NULL)
		cli_die(EX_IOERR_, "out of memory");
	return p;
}

static char *
copy(const char *s)
{
	return s != NULL ? memory(strdup(s)) : NULL;
}

static uint64_t *
copy_numbers(const uint64_t *from, size_t n)
{
	uint64_t *p = memory(malloc(n * sizeof(*p)));

	memcpy(p, from, n * sizeof(*p));
	return p;
}

static char *
make_key(const struct kevo_metric *m)
{
	size_t len = strlen(m->name) + 1;
	char *key;

	if (m->label_value == NULL)
		return copy(m->name);
	len += strlen(m->label_value) + 1;
	key = memory(malloc(len));
	snprintf(key, len, "%s.%s", m->name, m->label_value);
	return key;
}

static int
keep(void *arg, const struct kevo_metric *m)
{
	struct stat_sample *s = arg;
	struct stat_one *o;

	if (s->n == s->room) {
		s->room = s->room * 2 + 128;
		s->one = memory(realloc(s->one, s->room * sizeof(*s->one)));
	}
	o = &s->one[s->n++];
	memset(o, 0, sizeof(*o));
	o->key = make_key(m);
	o->name = copy(m->name);
	o->label = copy(m->label);
	o->label_value = copy(m->label_value);
	o->help = copy(m->help);
	o->text = copy(m->text);
	o->kind = m->kind;
	o->unit = m->unit;
	o->value = m->value;
	if (m->kind != KEVO_HISTOGRAM)
		return 0;
	o->histogram = *m->histogram;
	o->histogram.bucket = copy_numbers(m->histogram->bucket,
	    m->histogram->buckets);
	o->histogram.bound = copy_numbers(m->histogram->bound,
	    m->histogram->buckets);
	return 0;
}

void
stat_sample_take(struct kevo *db, struct stat_sample *s)
{
	struct timespec ts;
	int rc;

	memset(s, 0, sizeof(*s));
	clock_gettime(CLOCK_REALTIME, &ts);
	s->time_ns = (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
	if ((rc = kevo_metrics(db, keep, s)) != 0)
		cli_fail(db, rc);
}

static void
free_histogram(const struct kevo_histogram *h)
{
	free((void *)(uintptr_t)h->bucket);
	free((void *)(uintptr_t)h->bound);
}

void
stat_sample_free(struct stat_sample *s)
{
	for (size_t i = 0; i < s->n; i++) {
		struct stat_one *o = &s->one[i];

		free(o->key);
		free(o->name);
		free(o->label);
		free(o->label_value);
		free(o->help);
		free(o->text);
		free_histogram(&o->histogram);
	}
	free(s->one);
	memset(s, 0, sizeof(*s));
}

/* ---- looking up -------------------------------------------------------- */

const struct stat_one *
stat_find(const struct stat_sample *s, const char *key)
{
	for (size_t i = 0; i < s->n; i++)
		if (strcmp(s->one[i].key, key) == 0)
			return &s->one[i];
	return NULL;
}

uint64_t
stat_value(const struct stat_sample *s, const char *key)
{
	const struct stat_one *o = stat_find(s, key);

	return o != NULL ? o->value : 0;
}

const char *
stat_text(const struct stat_sample *s, const char *key)
{
	const struct stat_one *o = stat_find(s, key);

	return o != NULL && o->text != NULL ? o->text : "";
}

static void
add_histogram(struct kevo_histogram *sum, const struct kevo_histogram *h)
{
	uint64_t *bucket = (uint64_t *)(uintptr_t)sum->bucket;

	sum->count += h->count;
	sum->sum += h->sum;
	if (h->max > sum->max)
		sum->max = h->max;
	for (size_t i = 0; i < sum->buckets; i++)
		bucket[i] += h->bucket[i];
}

size_t
stat_histogram(const struct stat_sample *s, const char *name,
    const char *label_value, struct kevo_histogram *h)
{
	size_t found = 0;

	memset(h, 0, sizeof(*h));
	for (size_t i = 0; i < s->n; i++) {
		const struct stat_one *o = &s->one[i];

		if (o->kind != KEVO_HISTOGRAM || strcmp(o->name, name) != 0 ||
		    (label_value != NULL && (o->label_value == NULL ||
		    strcmp(o->label_value, label_value) != 0)))
			continue;
		if (found++ != 0) {
			add_histogram(h, &o->histogram);
			continue;
		}
		*h = o->histogram;
		h->bucket = copy_numbers(h->bucket, h->buckets);
		h->bound = copy_numbers(h->bound, h->buckets);
	}
	return found;
}

uint64_t
stat_growth(uint64_t now, uint64_t before)
{
	return now >= before ? now - before : now;
}

void
stat_histogram_minus(struct kevo_histogram *a, const struct kevo_histogram *b)
{
	uint64_t *bucket = (uint64_t *)(uintptr_t)a->bucket;

	if (a->count < b->count)
		return;		/* it began anew */
	a->count = 0;
	a->sum = stat_growth(a->sum, b->sum);
	for (size_t i = 0; i < a->buckets; i++) {
		bucket[i] = stat_growth(bucket[i], b->bucket[i]);
		a->count += bucket[i];
	}
}

const char *const stat_part_name[STAT_PARTS] = {
	"count", "sum", "p50", "p90", "p99", "p999", "max"
};

uint64_t
stat_part(const struct kevo_histogram *h, enum stat_part part)
{
	static const double q[STAT_PARTS] = { 0, 0, 0.5, 0.9, 0.99, 0.999,
	    0 };

	if (part == STAT_COUNT)
		return h->count;
	if (part == STAT_SUM)
		return h->sum;
	return part == STAT_MAX ? h->max : kevo_histogram_quantile(h, q[part]);
}

enum kevo_metric_unit
stat_part_unit(enum stat_part part)
{
	return part == STAT_COUNT ? KEVO_UNIT_NONE : KEVO_UNIT_NS;
}

/* ---- showing ----------------------------------------------------------- */

const char *
stat_number(char buf[STAT_NUMBER], enum kevo_metric_unit unit, uint64_t v)
{
	if (unit == KEVO_UNIT_NS || unit == KEVO_UNIT_TIME)
		snprintf(buf, STAT_NUMBER, "%" PRIu64 ".%09" PRIu64,
		    v / 1000000000, v % 1000000000);
	else if (unit == KEVO_UNIT_THOUSANDTHS)
		snprintf(buf, STAT_NUMBER, "%" PRIu64 ".%03" PRIu64,
		    v / 1000, v % 1000);
	else
		snprintf(buf, STAT_NUMBER, "%" PRIu64, v);
	return buf;
}

/* Three digits that count, or four before the point. */
static void
scaled(char buf[STAT_SHORT], double v, const char *unit)
{
	snprintf(buf, STAT_SHORT, "%.*f%s%s", v >= 99.95 ? 0 : v >= 9.995 ? 1 :
	    2, v, *unit != '\0' ? " " : "", unit);
}

static void
scale(char buf[STAT_SHORT], double v, double step, const char *const *unit)
{
	for (; v >= step * 0.9995 && unit[1] != NULL; unit++)
		v /= step;
	scaled(buf, v, *unit);
}

const char *
stat_short(char buf[STAT_SHORT], enum kevo_metric_unit unit, double v)
{
	static const char *const bytes[] = { "B", "KiB", "MiB", "GiB", "TiB",
	    "PiB", "EiB", NULL };
	static const char *const times[] = { "ns", "us", "ms", "s", NULL };
	static const char *const counts[] = { "", "k", "M", "G", "T", "P",
	    NULL };

	if (v == 0)
		snprintf(buf, STAT_SHORT, "0");
	else if (unit == KEVO_UNIT_NS)
		scale(buf, v, 1000, times);
	else if (unit == KEVO_UNIT_BYTES)
		scale(buf, v, 1024, bytes);
	else if (unit == KEVO_UNIT_THOUSANDTHS)
		scaled(buf, v / 1000, "");
	else if (v < 1000000 && v == (double)(uint64_t)v)
		snprintf(buf, STAT_SHORT, "%" PRIu64, (uint64_t)v);
	else
		scale(buf, v, 1000, counts);
	return buf;
}

const char *
stat_time(char buf[STAT_TIME], uint64_t time_ns)
{
	time_t t = (time_t)(time_ns / 1000000000);
	struct tm tm;

	if (gmtime_r(&t, &tm) == NULL ||
	    strftime(buf, STAT_TIME, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
		snprintf(buf, STAT_TIME, "?");
	return buf;
}

void
stat_printf(const char *fmt, ...)
{
	char line[1000];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	if (n > (int)sizeof(line) - 1)
		n = sizeof(line) - 1;
	if (n > 0)
		cli_out(line, (size_t)n);
}
