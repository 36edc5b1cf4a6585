/*
 * stats_sample: what kevo_metrics() tells, kept, and the ways to show it;
 * shared by the files of kevo-stats.
 *
 * A number is known by its key: the name, and behind a dot the value of its
 * label, as in "errors.busy".  Times are kept in nanoseconds and shown in
 * seconds, ratios kept in thousandths.
 */
#ifndef STATS_SAMPLE_H
#define STATS_SAMPLE_H

#include <stddef.h>
#include <stdint.h>

#include <kevo.h>

struct stat_one {
	char *key;		/* "commit_latency_seconds.disk" */
	char *name;		/* "commit_latency_seconds" */
	char *label, *label_value;	/* "wait", "disk"; NULL: none */
	char *help;
	char *text;		/* KEVO_INFO */
	enum kevo_metric_kind kind;
	enum kevo_metric_unit unit;
	uint64_t value;
	struct kevo_histogram histogram;	/* KEVO_HISTOGRAM */
};

struct stat_sample {
	uint64_t time_ns;	/* since 1970 */
	size_t n, room;
	struct stat_one *one;
};

/* Take one; a failure ends the program. */
void stat_sample_take(struct kevo *db, struct stat_sample *s);
void stat_sample_free(struct stat_sample *s);

/* The one of that key, or NULL. */
const struct stat_one *stat_find(const struct stat_sample *s,
    const char *key);

/* Its value, or 0. */
uint64_t stat_value(const struct stat_sample *s, const char *key);

/* A text of KEVO_INFO, or "". */
const char *stat_text(const struct stat_sample *s, const char *key);

/*
 * Add the histograms of a name (and of a label's value, unless NULL) up.  Free
 * h->bucket and h->bound.  Returns how many there were.
 */
size_t stat_histogram(const struct stat_sample *s, const char *name,
    const char *label_value, struct kevo_histogram *h);

/* a less b, where b is an earlier sample's: a->bucket changes. */
void stat_histogram_minus(struct kevo_histogram *a,
    const struct kevo_histogram *b);

/* How much it grew; a counter that fell began anew. */
uint64_t stat_growth(uint64_t now, uint64_t before);

/* The parts of a histogram that are numbers of their own. */
enum stat_part {
	STAT_COUNT, STAT_SUM, STAT_P50, STAT_P90, STAT_P99, STAT_P999,
	STAT_MAX, STAT_PARTS
};
extern const char *const stat_part_name[STAT_PARTS];	/* "p99" */
uint64_t stat_part(const struct kevo_histogram *h, enum stat_part part);
enum kevo_metric_unit stat_part_unit(enum stat_part part);

/* A value as a decimal number, exact: "17", "0.000004200", "1.375". */
#define STAT_NUMBER	40
const char *stat_number(char buf[STAT_NUMBER], enum kevo_metric_unit unit,
    uint64_t value);

/* The same for people, at most 9 columns: "17", "4.2 us", "64.0 MiB". */
#define STAT_SHORT	24
const char *stat_short(char buf[STAT_SHORT], enum kevo_metric_unit unit,
    double value);

/* "2026-11-22T13:59:00Z" */
#define STAT_TIME	32
const char *stat_time(char buf[STAT_TIME], uint64_t time_ns);

/* printf() to the tool's output; at most 1000 bytes. */
void stat_printf(const char *fmt, ...)
    __attribute__((format(printf, 1, 2)));

/* ---- formats: stats_write.c, stats_human.c ----------------------------- */

/* path is the database's as the user named it. */
void stat_write_tsv(const struct stat_sample *s);
void stat_write_json(const struct stat_sample *s, const char *path);
void stat_write_prometheus(const struct stat_sample *s, const char *path,
    int openmetrics);
void stat_write_human(const struct stat_sample *s, const char *path);

/* A string with the quotes and escapes of JSON. */
void stat_json_string(const char *text);

/* ---- rates: stats_watch.c ---------------------------------------------- */

enum stat_format {
	STAT_HUMAN, STAT_TSV, STAT_JSON, STAT_PROMETHEUS, STAT_OPENMETRICS
};

/* One line, of what happened between two samples; the first one and every
 * twentieth (people's) is preceded by a heading. */
void stat_write_rates(const struct stat_sample *before,
    const struct stat_sample *now, enum stat_format format, uint64_t line);

/* ---- recording: stats_record.c ----------------------------------------- */

/* Append a line to file, after a heading if it is new. */
void stat_record(const struct stat_sample *s, const char *file);

/*
 * A column of a record, for one database: read it into points that the
 * caller frees.  A counter's points are rates a second.  Returns 0 if there
 * is no such column.
 */
struct stat_point {
	double time;		/* seconds since 1970 */
	double value;
};
int stat_record_read(const char *file, const char *id, const char *key,
    int is_rate, struct stat_point **points, size_t *n);

/* ---- plots: stats_plot.c, stats_ascii.c, stats_svg.c ------------------- */

struct stat_bar {
	char label[32];
	double value;
};

struct stat_chart {
	char title[120];
	char unit[16];		/* of what is drawn: "times", "B/s" */
	enum kevo_metric_unit scale;	/* how values are shown */
	int series;		/* points over time, in order */
	size_t n;
	struct stat_bar *bar;
};

/*
 * Draw metric (NULL: what there is) of a sample, or, if record is not NULL,
 * of that file over time, as text bars or SVG.  An unknown one ends the
 * program with 64.
 */
void stat_plot(const struct stat_sample *s, const char *path,
    const char *metric, const char *record, int svg);

/* Its highest bar. */
double stat_chart_highest(const struct stat_chart *c);

void stat_draw_ascii(const struct stat_chart *c, size_t n);
void stat_draw_svg(const struct stat_chart *c, size_t n, const char *path);

#endif /* STATS_SAMPLE_H */
