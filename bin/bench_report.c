/*
 * bench_report: results as a table for people, as TSV and as JSON.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "bench.h"
#include "format_internal.h"

static const struct {
	const char *name;	/* a column of TSV, a member of JSON */
	double share;
} points[] = {
	{ "p50", 0.50 }, { "p90", 0.90 }, { "p99", 0.99 }, { "p999", 0.999 }
};

enum { POINTS = sizeof(points) / sizeof(points[0]) };

void
bench_out(const char *fmt, ...)
{
	char line[1024];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	if (n < 0 || n >= (int)sizeof(line))
		cli_die(EX_SOFTWARE_, "a line is too long: %.60s", line);
	cli_out(line, (size_t)n);
}

/* Six bytes for one are the most that an escape takes; an encoder that works
 * in steps may write a step more. */
void
bench_out_string(const char *s)
{
	size_t len = strlen(s);
	uint8_t *dst;

	cli_out("\"", 1);
	dst = cli_out_room(6 * len + 64);
	cli_out_add(json_encode(dst, (const uint8_t *)s, len));
	cli_out("\"", 1);
}

const char *
bench_show_time(char *buf, size_t room, double ns)
{
	static const char *const units[] = { "ns", "us", "ms", "s" };
	unsigned u = 0;

	while (ns >= 999.5 && u < 3) {
		ns /= 1000;
		u++;
	}
	snprintf(buf, room, "%.*f%s", u == 0 || ns >= 99.95 ? 0 :
	    ns >= 9.995 ? 1 : 2, ns, units[u]);
	return buf;
}

static double
mb_rate(const struct bench_result *r)
{
	return r->seconds > 0 ? (double)r->bytes / 1e6 / r->seconds : 0;
}

/* ---- what was asked for ------------------------------------------------ */

static const char *
dist_name(enum bench_dist d)
{
	static const char *const names[] = {
		"uniform", "zipf", "sequential", "latest"
	};

	return names[d];
}

static const char *
sync_name(const struct bench *b)
{
	if (b->open.sync != NULL)
		return b->open.sync;
	switch (b->stats.sync) {
	case KEVO_SYNC_BATCH:
		return "batch";
	case KEVO_SYNC_NONE:
		return "none";
	default:
		return "full";
	}
}

void
bench_report_data(const struct bench *b)
{
	const struct bench_shape *s = &b->shape;

	bench_out("%" PRIu64 " keys", bench_data_count(b->data));
	if (b->existing)
		bench_out(" of an existing database");
	else if (s->vmin == s->vmax)
		bench_out(" of %zu bytes, values of %zu", s->klen, s->vmax);
	else
		bench_out(" of %zu bytes, values of %zu to %zu", s->klen,
		    s->vmin, s->vmax);
	bench_out(", %s, %u process%s, seed %" PRIu64,
	    dist_name(b->dist), b->processes, b->processes == 1 ? "" : "es",
	    s->seed);
}

/* The head tells these in any case. */
static int
is_told(const char *setting)
{
	return strncmp(setting, "memtable_bytes=", 15) == 0 ||
	    strncmp(setting, "sync=", 5) == 0;
}

static void
head_human(const struct bench *b)
{
	const char *const *s;

	bench_out("kevo-bench " KEVO_VERSION ": ");
	bench_report_data(b);
	bench_out("\n%s, sync=%s, memtable_bytes=%" PRIu64,
	    bench_place_filesystem(b), sync_name(b), b->stats.memtable_bytes);
	for (s = b->open.settings; s != NULL && *s != NULL; s++)
		if (!is_told(*s))
			bench_out(", %s", *s);
	if (b->batch > 1)
		bench_out(", commits of %" PRIu64 " records", b->batch);
	if (b->unsettled)
		bench_out(", unsettled");
	bench_out("\nlatencies are without the %" PRIu64 " ns of the clock; "
	    "ops/s contain %.0f ns for key and value\n\n", b->timer_ns,
	    b->harness_ns);
	bench_out("%-17s%10s%10s%8s%7s%7s%7s%7s%7s\n", "test", "ops",
	    "ops/s", "MB/s", "p50", "p90", "p99", "p99.9", "max");
	cli_out_flush();
}

void
bench_report_setup(const struct bench *b)
{
	const struct bench_shape *s = &b->shape;
	const char *const *set;

	bench_out("\"version\":\"" KEVO_VERSION "\",\"keys\":%" PRIu64
	    ",\"existing\":%s", bench_data_count(b->data),
	    b->existing ? "true" : "false");
	if (!b->existing)
		bench_out(",\"key_size\":%zu,\"value_size_min\":%zu,"
		    "\"value_size_max\":%zu", s->klen, s->vmin, s->vmax);
	bench_out(",\"distribution\":\"%s\",\"processes\":%u,"
	    "\"batch\":%" PRIu64 ",\"scan_size\":%" PRIu64
	    ",\"seed\":%" PRIu64 ",\"settled\":%s,\"sync\":\"%s\"",
	    dist_name(b->dist), b->processes, b->batch, b->scan, s->seed,
	    b->unsettled ? "false" : "true", sync_name(b));
	bench_out(",\"memtable_bytes\":%" PRIu64 ",\"filesystem\":\"%s\","
	    "\"settings\":[", b->stats.memtable_bytes,
	    bench_place_filesystem(b));
	for (set = b->open.settings; set != NULL && *set != NULL; set++) {
		if (set != b->open.settings)
			bench_out(",");
		bench_out_string(*set);
	}
	bench_out("],\"clock_ns\":%" PRIu64 ",\"harness_ns\":%.1f",
	    b->timer_ns, b->harness_ns);
}

static void
head_tsv(void)
{
	unsigned i;

	bench_out("test\tprocesses\tops\trecords\tbytes\tseconds\tops_s\t"
	    "limited\ttimed\tmin_us\tmean_us");
	for (i = 0; i < POINTS; i++)
		bench_out("\t%s_us", points[i].name);
	bench_out("\tmax_us\tmore\n");
}

static unsigned rows;

void
bench_report_head(enum bench_output o, const struct bench *b)
{
	switch (o) {
	case BENCH_HUMAN:
		head_human(b);
		break;
	case BENCH_TSV:
		head_tsv();
		break;
	case BENCH_JSON:
		bench_out("{");
		bench_report_setup(b);
		bench_out(",\"results\":[");
		break;
	}
}

/* ---- a result ---------------------------------------------------------- */

static int any_limited;

static void
human_facts(const struct bench_result *r)
{
	unsigned i;

	for (i = 0; i < r->facts; i++)
		bench_out("%s%s %.0f", i == 0 ? "  " : ", ", r->fact_name[i],
		    r->fact[i]);
	if (r->facts > 0)
		bench_out("\n");
}

static void
human(const struct bench_result *r)
{
	char name[48], t[16];
	unsigned i;

	snprintf(name, sizeof(name), "%s%s", r->name, r->limited ? "*" : "");
	any_limited |= r->limited;
	bench_out("%-17s%10" PRIu64 "%10.0f", name, r->ops, bench_rate(r));
	if (r->bytes > 0)
		bench_out("%8.1f", mb_rate(r));
	else
		bench_out("%8s", "");
	for (i = 0; i < POINTS; i++)
		bench_out("%7s", bench_show_time(t, sizeof(t),
		    (double)bench_hist_at(&r->latency, points[i].share)));
	bench_out("%7s\n", bench_show_time(t, sizeof(t),
	    (double)r->latency.max));
	human_facts(r);
}

static double
us(uint64_t ns)
{
	return (double)ns / 1000;
}

static void
tsv(const struct bench_result *r)
{
	const struct bench_hist *h = &r->latency;
	unsigned i;

	bench_out("%s\t%u\t%" PRIu64 "\t%" PRIu64 "\t%" PRIu64 "\t%.6f\t%.1f"
	    "\t%d\t%" PRIu64 "\t%.3f\t%.3f", r->name, r->processes, r->ops,
	    r->records, r->bytes, r->seconds, bench_rate(r), r->limited, h->n,
	    us(h->min), bench_hist_mean(h) / 1000);
	for (i = 0; i < POINTS; i++)
		bench_out("\t%.3f", us(bench_hist_at(h, points[i].share)));
	bench_out("\t%.3f\t", us(h->max));
	for (i = 0; i < r->facts; i++)
		bench_out("%s%s=%.0f", i > 0 ? " " : "", r->fact_name[i],
		    r->fact[i]);
	bench_out("\n");
}

static void
json(const struct bench_result *r)
{
	const struct bench_hist *h = &r->latency;
	unsigned i;

	bench_out("%s\n{\"test\":\"%s\",\"processes\":%u,\"ops\":%" PRIu64
	    ",\"records\":%" PRIu64 ",\"bytes\":%" PRIu64
	    ",\"seconds\":%.6f,\"ops_per_second\":%.1f,\"limited\":%s",
	    rows > 0 ? "," : "", r->name, r->processes, r->ops, r->records,
	    r->bytes, r->seconds, bench_rate(r), r->limited ? "true" :
	    "false");
	bench_out(",\"timed\":%" PRIu64 ",\"latency_us\":{\"min\":%.3f,"
	    "\"mean\":%.3f", h->n, us(h->min), bench_hist_mean(h) / 1000);
	for (i = 0; i < POINTS; i++)
		bench_out(",\"%s\":%.3f", points[i].name,
		    us(bench_hist_at(h, points[i].share)));
	bench_out(",\"max\":%.3f}", us(h->max));
	for (i = 0; i < r->facts; i++)
		bench_out(",\"%s\":%.0f", r->fact_name[i], r->fact[i]);
	bench_out("}");
}

void
bench_report(enum bench_output o, const struct bench_result *r)
{
	switch (o) {
	case BENCH_HUMAN:
		human(r);
		break;
	case BENCH_TSV:
		tsv(r);
		break;
	case BENCH_JSON:
		json(r);
		break;
	}
	rows++;
	cli_out_flush();
}

void
bench_report_end(enum bench_output o)
{
	if (o == BENCH_JSON)
		bench_out("\n]}\n");
	if (o == BENCH_HUMAN && any_limited)
		bench_out("\n*: the time was over before the work\n");
}
