#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli.h"
#include "stats_sample.h"

/* ---- tsv --------------------------------------------------------------- */

static const char *
kind_name(enum kevo_metric_kind kind)
{
	static const char *const names[] = { "counter", "gauge", "histogram",
	    "info" };

	return names[kind];
}

/* What a part of a histogram is: the count and the sum only grow. */
static enum kevo_metric_kind
part_kind(enum stat_part part)
{
	return part <= STAT_SUM ? KEVO_COUNTER : KEVO_GAUGE;
}

static void
tsv_histogram(const struct stat_one *o)
{
	char n[STAT_NUMBER];

	for (enum stat_part p = 0; p < STAT_PARTS; p++)
		stat_printf("%s.%s\t%s\t%s\n", o->key, stat_part_name[p],
		    stat_number(n, stat_part_unit(p),
		    stat_part(&o->histogram, p)), kind_name(part_kind(p)));
}

void
stat_write_tsv(const struct stat_sample *s)
{
	char n[STAT_NUMBER];

	for (size_t i = 0; i < s->n; i++) {
		const struct stat_one *o = &s->one[i];

		if (o->kind == KEVO_HISTOGRAM)
			tsv_histogram(o);
		else
			stat_printf("%s\t%s\t%s\n", o->key,
			    o->kind == KEVO_INFO ? o->text :
			    stat_number(n, o->unit, o->value),
			    kind_name(o->kind));
	}
}

/* ---- json -------------------------------------------------------------- */

void
stat_json_string(const char *text)
{
	cli_out("\"", 1);
	for (const unsigned char *p = (const unsigned char *)text; *p != '\0';
	    p++) {
		if (*p == '"' || *p == '\\')
			stat_printf("\\%c", *p);
		else if (*p < 0x20 || *p == 0x7f)
			stat_printf("\\u%04x", *p);
		else
			cli_out(p, 1);
	}
	cli_out("\"", 1);
}

static void
json_value(const struct stat_one *o)
{
	char n[STAT_NUMBER];

	if (o->kind == KEVO_INFO) {
		stat_json_string(o->text);
		return;
	}
	if (o->kind != KEVO_HISTOGRAM) {
		stat_printf("%s", stat_number(n, o->unit, o->value));
		return;
	}
	for (enum stat_part p = 0; p < STAT_PARTS; p++)
		stat_printf("%s\"%s\":%s", p == 0 ? "{" : ",",
		    stat_part_name[p], stat_number(n, stat_part_unit(p),
		    stat_part(&o->histogram, p)));
	stat_printf("}");
}

static int
same_name(const struct stat_sample *s, size_t i, size_t j)
{
	return j < s->n && strcmp(s->one[i].name, s->one[j].name) == 0;
}

/* One line: an object, in it one for each name that has labels. */
void
stat_write_json(const struct stat_sample *s, const char *path)
{
	char n[STAT_NUMBER];

	stat_printf("{\"time\":%s,\"path\":", stat_number(n, KEVO_UNIT_TIME,
	    s->time_ns));
	stat_json_string(path);
	for (size_t i = 0; i < s->n; i++) {
		const struct stat_one *o = &s->one[i];
		int first = i == 0 || !same_name(s, i, i - 1);

		if (o->label == NULL) {
			stat_printf(",\"%s\":", o->name);
			json_value(o);
			continue;
		}
		if (first)
			stat_printf(",\"%s\":{", o->name);
		stat_printf("%s\"%s\":", first ? "" : ",", o->label_value);
		json_value(o);
		if (!same_name(s, i, i + 1))
			stat_printf("}");
	}
	stat_printf("}\n");
}

/* ---- prometheus and openmetrics ---------------------------------------- */

struct expose {
	const char *path;
	int open;		/* OpenMetrics */
};

/* A label's value, with the escapes of both formats. */
static void
label(const char *name, const char *value)
{
	stat_printf("%s=\"", name);
	for (; *value != '\0'; value++)
		if (*value == '\n')
			stat_printf("\\n");
		else if (*value == '"' || *value == '\\')
			stat_printf("\\%c", *value);
		else
			cli_out(value, 1);
	cli_out("\"", 1);
}

static void
sample_name(const struct stat_one *o, const char *suffix)
{
	stat_printf("kevo_%s%s", o->name, suffix);
}

static void
sample_labels(const struct expose *e, const struct stat_one *o)
{
	stat_printf("{");
	label("path", e->path);
	if (o->label == NULL)
		return;
	stat_printf(",");
	label(o->label, o->label_value);
}

/* The names of a family in its own lines: OpenMetrics leaves out what is only
 * a sample's. */
static void
family(const struct expose *e, const struct stat_one *o)
{
	static const char *const types[] = { "counter", "gauge", "histogram",
	    "info" };
	const char *suffix = "", *type = types[o->kind], *unit = NULL;

	if (!e->open && o->kind == KEVO_COUNTER)
		suffix = "_total";
	if (!e->open && o->kind == KEVO_INFO) {
		suffix = "_info";
		type = "gauge";
	}
	stat_printf("# HELP kevo_%s%s %s%s\n", o->name, suffix, o->help,
	    e->open ? "." : "");
	stat_printf("# TYPE kevo_%s%s %s\n", o->name, suffix, type);
	if (o->unit == KEVO_UNIT_BYTES)
		unit = "bytes";
	else if (o->unit == KEVO_UNIT_NS || o->unit == KEVO_UNIT_TIME)
		unit = "seconds";
	if (e->open && unit != NULL)
		stat_printf("# UNIT kevo_%s %s\n", o->name, unit);
}

/* A bucket line for each power of two: its upper bound, and all below it. */
static void
expose_histogram(const struct expose *e, const struct stat_one *o)
{
	const struct kevo_histogram *h = &o->histogram;
	uint64_t below = 0;
	char n[STAT_NUMBER];

	for (size_t i = 0; i < h->buckets; i++) {
		below += h->bucket[i];
		if (i % 4 != 0 || h->bound[i] == UINT64_MAX)
			continue;
		sample_name(o, "_bucket");
		sample_labels(e, o);
		stat_printf(",le=\"%s\"} %" PRIu64 "\n", stat_number(n,
		    KEVO_UNIT_NS, h->bound[i]), below);
	}
	sample_name(o, "_bucket");
	sample_labels(e, o);
	stat_printf(",le=\"+Inf\"} %" PRIu64 "\n", h->count);
	sample_name(o, "_sum");
	sample_labels(e, o);
	stat_printf("} %s\n", stat_number(n, KEVO_UNIT_NS, h->sum));
	sample_name(o, "_count");
	sample_labels(e, o);
	stat_printf("} %" PRIu64 "\n", h->count);
}

/* All texts of one name are labels of one sample.  Returns the last one. */
static size_t
expose_info(const struct expose *e, const struct stat_sample *s, size_t i)
{
	sample_name(&s->one[i], "_info");
	stat_printf("{");
	label("path", e->path);
	for (;; i++) {
		stat_printf(",");
		label(s->one[i].label_value, s->one[i].text);
		if (!same_name(s, i, i + 1))
			break;
	}
	stat_printf("} 1\n");
	return i;
}

void
stat_write_prometheus(const struct stat_sample *s, const char *path,
    int openmetrics)
{
	struct expose e = { path, openmetrics };
	char n[STAT_NUMBER];

	for (size_t i = 0; i < s->n; i++) {
		const struct stat_one *o = &s->one[i];

		if (i == 0 || !same_name(s, i, i - 1))
			family(&e, o);
		if (o->kind == KEVO_INFO) {
			i = expose_info(&e, s, i);
		} else if (o->kind == KEVO_HISTOGRAM) {
			expose_histogram(&e, o);
		} else {
			sample_name(o, o->kind == KEVO_COUNTER ? "_total" :
			    "");
			sample_labels(&e, o);
			stat_printf("} %s\n", stat_number(n, o->unit,
			    o->value));
		}
	}
	if (openmetrics)
		stat_printf("# EOF\n");
}
