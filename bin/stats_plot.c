#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "cli.h"
#include "stats_sample.h"

/*
 * Which charts there are to draw: of a histogram, a bar for each range of
 * time; of a name with labels, a bar for each; of a record, points over time.
 */

enum { BARS_MAX = 40, CHARTS_MAX = 8 };

struct plot {
	const struct stat_sample *s;
	const char *record;	/* NULL: what is now */
	size_t n;
	struct stat_chart chart[CHARTS_MAX];
};

static struct stat_chart *
new_chart(struct plot *p, const char *title, const char *unit, size_t bars)
{
	struct stat_chart *c;

	if (p->n == CHARTS_MAX)
		return NULL;
	c = &p->chart[p->n++];
	memset(c, 0, sizeof(*c));
	snprintf(c->title, sizeof(c->title), "%s", title);
	snprintf(c->unit, sizeof(c->unit), "%s", unit);
	if (bars > 0 && (c->bar = calloc(bars, sizeof(*c->bar))) == NULL)
		cli_die(EX_IOERR_, "out of memory");
	return c;
}

/* ---- now --------------------------------------------------------------- */

/* Neighbouring buckets together, a power of two of them, until they fit. */
static size_t
step_for(size_t buckets)
{
	size_t step = 1;

	while (buckets / step >= BARS_MAX)
		step *= 2;
	return step;
}

static void
add_bars(struct stat_chart *c, const struct kevo_histogram *h, size_t first,
    size_t last, size_t step)
{
	char t[STAT_SHORT];

	for (size_t i = first - first % step; i <= last; i += step) {
		struct stat_bar *b = &c->bar[c->n++];
		size_t end = i + step - 1 < h->buckets ? i + step - 1 :
		    h->buckets - 1;

		for (size_t j = i; j <= end; j++)
			b->value += (double)h->bucket[j];
		if (h->bound[end] == UINT64_MAX)
			snprintf(b->label, sizeof(b->label), "more");
		else
			snprintf(b->label, sizeof(b->label), "< %s",
			    stat_short(t, KEVO_UNIT_NS,
			    (double)h->bound[end]));
	}
}

static void
histogram_chart(struct plot *p, const char *title, struct kevo_histogram *h)
{
	char full[120], p50[STAT_SHORT], p99[STAT_SHORT], max[STAT_SHORT];
	size_t first = 0, last = h->buckets;
	struct stat_chart *c;

	while (first < last && h->bucket[first] == 0)
		first++;
	while (last > first && h->bucket[last - 1] == 0)
		last--;
	snprintf(full, sizeof(full), "%s: %" PRIu64 " times, p50 %s, p99 %s, "
	    "max %s", title, h->count,
	    stat_short(p50, KEVO_UNIT_NS, (double)stat_part(h, STAT_P50)),
	    stat_short(p99, KEVO_UNIT_NS, (double)stat_part(h, STAT_P99)),
	    stat_short(max, KEVO_UNIT_NS, (double)h->max));
	c = new_chart(p, full, "times", h->buckets + 1);
	if (c != NULL && last > first)
		add_bars(c, h, first, last - 1, step_for(last - first));
	free((void *)(uintptr_t)h->bucket);
	free((void *)(uintptr_t)h->bound);
}

static void
family_chart(struct plot *p, const char *name)
{
	struct stat_chart *c = new_chart(p, name, "", p->s->n);

	for (size_t i = 0; c != NULL && i < p->s->n; i++) {
		const struct stat_one *o = &p->s->one[i];

		if (strcmp(o->name, name) != 0)
			continue;
		c->scale = o->unit;
		snprintf(c->bar[c->n].label, sizeof(c->bar[c->n].label),
		    "%s", o->label_value);
		c->bar[c->n++].value = (double)o->value;
	}
}

/* ---- a metric's name --------------------------------------------------- */

/* Names may be given without their unit, and a put is a commit. */
static int
names_it(const char *asked, const char *have)
{
	size_t n = strlen(asked), unit = strlen(have);

	if (strcmp(asked, "put_latency") == 0)
		return strcmp(have, "commit_latency_seconds") == 0;
	if (strncmp(asked, have, n) != 0)
		return 0;
	return unit == n || strcmp(have + n, "_seconds") == 0 ||
	    strcmp(have + n, "_bytes") == 0;
}

/* The same for a key: the label's value stays behind the unit. */
static int
names_key(const char *asked, const struct stat_one *o)
{
	const char *dot = strchr(asked, '.');
	char name[64];

	if (o->label_value == NULL || dot == NULL ||
	    strcmp(dot + 1, o->label_value) != 0 ||
	    (size_t)(dot - asked) >= sizeof(name))
		return 0;
	memcpy(name, asked, (size_t)(dot - asked));
	name[dot - asked] = '\0';
	return names_it(name, o->name);
}

static void
plot_now(struct plot *p, const char *metric)
{
	struct kevo_histogram h;

	for (size_t i = 0; i < p->s->n; i++) {
		const struct stat_one *o = &p->s->one[i];
		int whole = names_it(metric, o->name);

		if (!whole && !names_key(metric, o))
			continue;
		if (o->kind == KEVO_HISTOGRAM) {
			stat_histogram(p->s, o->name, whole ? NULL :
			    o->label_value, &h);
			histogram_chart(p, whole ? o->name : o->key, &h);
		} else if (whole && o->label != NULL &&
		    o->kind != KEVO_INFO) {
			family_chart(p, o->name);
		} else
			cli_usage_hint("kevo-stats --record=FILE keeps it, "
			    "and with --plot draws it over time",
			    "%s: a single number, nothing to plot", metric);
		return;
	}
	cli_usage("%s: no such metric; kevo-stats -f tsv has the names",
	    metric);
}

/* Without a name: whatever was timed, and the levels. */
static void
plot_all(struct plot *p)
{
	struct kevo_histogram h;

	for (size_t i = 0; i < p->s->n; i++) {
		const struct stat_one *o = &p->s->one[i];

		if (o->kind != KEVO_HISTOGRAM || o->histogram.count == 0)
			continue;
		stat_histogram(p->s, o->name, o->label_value, &h);
		histogram_chart(p, o->key, &h);
	}
	if (stat_value(p->s, "table_bytes") != 0)
		family_chart(p, "level_bytes");
	if (p->n == 0)
		new_chart(p, "nothing was timed yet", "", 0);
}

/* ---- a record ---------------------------------------------------------- */

static void
series(struct plot *p, const char *key, const char *title,
    enum kevo_metric_unit unit, int is_rate)
{
	struct stat_point *points;
	struct stat_chart *c;
	char full[120], t[STAT_TIME];
	size_t n;

	if (!stat_record_read(p->record, stat_text(p->s, "database.id"), key,
	    is_rate, &points, &n))
		cli_die(EX_DATAERR_, "%s: it has no column %s", p->record,
		    key);
	snprintf(full, sizeof(full), "%s%s", title, is_rate ? ", a second" :
	    "");
	c = new_chart(p, full, "", n);
	for (size_t i = 0; c != NULL && i < n; i++) {
		struct stat_bar *b = &c->bar[i];

		/* The file has seconds; times are shown from nanoseconds. */
		b->value = points[i].value * (unit == KEVO_UNIT_NS ||
		    unit == KEVO_UNIT_TIME ? 1e9 : unit ==
		    KEVO_UNIT_THOUSANDTHS ? 1000 : 1);
		snprintf(b->label, sizeof(b->label), "%s", points[i].time > 0 &&
		    points[i].time < 1e10 ? stat_time(t,
		    (uint64_t)(points[i].time * 1e9)) : "?");
	}
	if (c != NULL) {
		c->n = n;
		c->series = 1;
		c->scale = unit;
	}
	free(points);
}

/* Each part of a histogram that is a time of its own. */
static void
histogram_series(struct plot *p, const struct stat_one *o)
{
	static const enum stat_part parts[] = { STAT_P50, STAT_P99,
	    STAT_MAX };
	char key[120];

	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		snprintf(key, sizeof(key), "%s.%s", o->key,
		    stat_part_name[parts[i]]);
		series(p, key, key, KEVO_UNIT_NS, 0);
	}
}

static void
plot_record(struct plot *p, const char *metric)
{
	size_t before = p->n;

	for (size_t i = 0; i < p->s->n; i++) {
		const struct stat_one *o = &p->s->one[i];

		if (o->kind == KEVO_INFO || (!names_it(metric, o->name) &&
		    !names_key(metric, o)))
			continue;
		if (o->kind == KEVO_HISTOGRAM)
			histogram_series(p, o);
		else
			series(p, o->key, o->key, o->unit,
			    o->kind == KEVO_COUNTER);
	}
	if (p->n == before)
		cli_usage("%s: no such metric; kevo-stats -f tsv has the "
		    "names", metric);
}

/* ---- drawing ----------------------------------------------------------- */

void
stat_plot(const struct stat_sample *s, const char *path, const char *metric,
    const char *record, int svg)
{
	struct plot p = { .s = s, .record = record };

	if (record != NULL)
		plot_record(&p, metric != NULL ? metric : "commits");
	else if (metric != NULL)
		plot_now(&p, metric);
	else
		plot_all(&p);
	if (svg)
		stat_draw_svg(p.chart, p.n, path);
	else
		stat_draw_ascii(p.chart, p.n);
	for (size_t i = 0; i < p.n; i++)
		free(p.chart[i].bar);
}
