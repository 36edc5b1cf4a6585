#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "stats_sample.h"

/*
 * Rates: what happened between two samples, a second.  For people a choice
 * that fits a line, for programs every counter.
 */

struct period {
	const struct stat_sample *before, *now;
	double seconds;
};

static double
rate(const struct period *p, const char *key)
{
	return (double)stat_growth(stat_value(p->now, key),
	    stat_value(p->before, key)) / p->seconds;
}

/* What part of the time writers were held up; several at once can be more
 * than all of it. */
static double
stalled(const struct period *p)
{
	double ns = 0;

	for (size_t i = 0; i < p->now->n; i++)
		if (strcmp(p->now->one[i].name, "stall_seconds") == 0)
			ns += rate(p, p->now->one[i].key);
	return ns / 1e7;
}

/* The p99 of the commits in the period; 0: there were none. */
static double
commit_p99(const struct period *p)
{
	struct kevo_histogram a, b;
	uint64_t ns;

	stat_histogram(p->now, "commit_latency_seconds", NULL, &a);
	stat_histogram(p->before, "commit_latency_seconds", NULL, &b);
	if (a.buckets == b.buckets)
		stat_histogram_minus(&a, &b);
	ns = stat_part(&a, STAT_P99);
	free((void *)(uintptr_t)a.bucket);
	free((void *)(uintptr_t)a.bound);
	free((void *)(uintptr_t)b.bucket);
	free((void *)(uintptr_t)b.bound);
	return (double)ns;
}

static void
one_rate(double v, enum kevo_metric_unit unit)
{
	char n[STAT_SHORT];

	if (unit == KEVO_UNIT_NONE && v < 1000)
		snprintf(n, sizeof(n), "%.*f", v > 0 && v < 10 ? 1 : 0, v);
	else
		stat_short(n, unit, v);
	stat_printf("%9s", n);
}

static void
for_people(const struct period *p, uint64_t line)
{
	static const char *const keys[] = { "commits", "puts", "deletes",
	    "syncs" };
	char t[STAT_TIME], stall[STAT_SHORT];

	if (line % 20 == 0)
		stat_printf("time       commits     puts  deletes    syncs"
		    "     gets  written      p99 stalled\n");
	/* The time of the day out of date and time. */
	stat_printf("%.8s ", stat_time(t, p->now->time_ns) + 11);
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		one_rate(rate(p, keys[i]), KEVO_UNIT_NONE);
	one_rate(rate(p, "gets.hit") + rate(p, "gets.miss"), KEVO_UNIT_NONE);
	one_rate(rate(p, "log_written_bytes"), KEVO_UNIT_BYTES);
	one_rate(commit_p99(p), KEVO_UNIT_NS);
	snprintf(stall, sizeof(stall), "%.0f%%", stalled(p));
	stat_printf("%8s\n", stall);
}

/* In base units: a counter of nanoseconds grows by seconds a second. */
static double
base_rate(const struct period *p, const struct stat_one *o)
{
	return rate(p, o->key) / (o->unit == KEVO_UNIT_NS ? 1e9 : 1);
}

static void
for_tsv(const struct period *p, uint64_t line)
{
	char n[STAT_NUMBER];

	if (line == 0) {
		stat_printf("time");
		for (size_t i = 0; i < p->now->n; i++)
			if (p->now->one[i].kind == KEVO_COUNTER)
				stat_printf("\t%s", p->now->one[i].key);
		stat_printf("\n");
	}
	stat_printf("%s", stat_number(n, KEVO_UNIT_TIME, p->now->time_ns));
	for (size_t i = 0; i < p->now->n; i++)
		if (p->now->one[i].kind == KEVO_COUNTER)
			stat_printf("\t%.3f", base_rate(p, &p->now->one[i]));
	stat_printf("\n");
}

static void
for_json(const struct period *p)
{
	char n[STAT_NUMBER];

	stat_printf("{\"time\":%s,\"seconds\":%.3f,\"rates\":{",
	    stat_number(n, KEVO_UNIT_TIME, p->now->time_ns), p->seconds);
	for (size_t i = 0, many = 0; i < p->now->n; i++)
		if (p->now->one[i].kind == KEVO_COUNTER)
			stat_printf("%s\"%s\":%.3f", many++ != 0 ? "," : "",
			    p->now->one[i].key, base_rate(p,
			    &p->now->one[i]));
	stat_printf("}}\n");
}

void
stat_write_rates(const struct stat_sample *before,
    const struct stat_sample *now, enum stat_format format, uint64_t line)
{
	struct period p = { before, now, (double)stat_growth(now->time_ns,
	    before->time_ns) / 1e9 };

	if (p.seconds < 0.001)
		p.seconds = 0.001;	/* the clock was set back */
	if (format == STAT_TSV)
		for_tsv(&p, line);
	else if (format == STAT_JSON)
		for_json(&p);
	else
		for_people(&p, line);
}
