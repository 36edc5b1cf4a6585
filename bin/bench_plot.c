/*
 * bench_plot: results as an SVG drawing.
 *
 * On the left a bar for each test's throughput, on the right a line from the
 * median to the maximum of its latencies, with marks at p50, p90, p99 and
 * p99.9.  Both axes are logarithmic, since a scan and a durable write are
 * four powers of ten apart; the number stands beside each bar.
 */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench.h"

enum {
	WIDTH = 960, TOP = 92, ROW = 26, BOTTOM = 40,
	RATE_X = 150, RATE_W = 300, TIME_X = 560, TIME_W = 360
};

static struct {
	const char *file;
	char *temp;		/* beside it; NULL: none */
	FILE *f;
} plot;

/* A logarithmic axis of whole decades. */
struct axis {
	double x, width;	/* on the drawing */
	int low, high;		/* powers of ten at its ends */
};

void
bench_plot_begin(const char *file)
{
	size_t len = strlen(file) + sizeof(".4294967295.tmp");

	plot.file = file;
	plot.temp = malloc(len);
	if (plot.temp == NULL)
		cli_die(EX_IOERR_, "out of memory");
	snprintf(plot.temp, len, "%s.%u.tmp", file, (unsigned)getpid());
	plot.f = fopen(plot.temp, "wx");
	if (plot.f == NULL) {
		free(plot.temp);
		plot.temp = NULL;
		cli_die(EX_CANTCREAT_, "%s: %s", file, strerror(errno));
	}
}

void
bench_plot_abort(void)
{
	if (plot.temp != NULL)
		unlink(plot.temp);
	plot.temp = NULL;
}

/* ---- axes -------------------------------------------------------------- */

static double
place(const struct axis *a, double v)
{
	double t = v > 0 ? (log10(v) - a->low) / (a->high - a->low) : 0;

	return a->x + a->width * (t < 0 ? 0 : t > 1 ? 1 : t);
}

/* Make the axis reach from decade to decade around low and high. */
static void
scale(struct axis *a, double low, double high)
{
	a->low = (int)floor(log10(low > 0 ? low : 1));
	a->high = (int)ceil(log10(high > 0 ? high : 1));
	if (a->high <= a->low)
		a->high = a->low + 1;
}

static const char *
decade(char *buf, size_t room, int power, int is_time)
{
	static const char *const counts[] = { "", "k", "M", "G", "T" };
	static const char *const times[] = { "ns", "us", "ms", "s", "ks" };

	snprintf(buf, room, "%.0f%s", pow(10, power % 3),
	    (is_time ? times : counts)[power / 3]);
	return buf;
}

static void
draw_axis(const struct axis *a, const char *title, int is_time, double end)
{
	char label[24];
	double x;
	int p;

	fprintf(plot.f, "<text x=\"%.0f\" y=\"%d\" class=\"t\">%s</text>\n",
	    a->x, TOP - 30, title);
	for (p = a->low; p <= a->high; p++) {
		x = a->x + a->width * (p - a->low) / (a->high - a->low);
		fprintf(plot.f, "<line x1=\"%.1f\" y1=\"%d\" x2=\"%.1f\" "
		    "y2=\"%.0f\" class=\"g\"/>\n<text x=\"%.1f\" y=\"%d\" "
		    "class=\"a\">%s</text>\n", x, TOP - 8, x, end, x,
		    TOP - 12, decade(label, sizeof(label), p, is_time));
	}
}

/* ---- rows -------------------------------------------------------------- */

static void
draw_rate(const struct axis *a, const struct bench_result *r, double y)
{
	double x = place(a, bench_rate(r)), rate = bench_rate(r);

	fprintf(plot.f, "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" "
	    "height=\"%d\" class=\"b\"/>\n<text x=\"%.1f\" y=\"%.1f\">"
	    "%.*f</text>\n", a->x, y - 8, x - a->x, ROW - 10, x + 5, y + 4,
	    rate < 100 ? 1 : 0, rate);
}

static void
draw_mark(const struct axis *a, double ns, double y, double radius)
{
	fprintf(plot.f, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"%.1f\" "
	    "class=\"m\"/>\n", place(a, ns), y, radius);
}

static void
draw_times(const struct axis *a, const struct bench_result *r, double y)
{
	static const double share[] = { 0.999, 0.99, 0.9, 0.5 };
	const struct bench_hist *h = &r->latency;
	unsigned i;

	fprintf(plot.f, "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" "
	    "y2=\"%.1f\" class=\"l\"/>\n",
	    place(a, (double)bench_hist_at(h, 0.5)), y,
	    place(a, (double)h->max), y);
	fprintf(plot.f, "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" "
	    "y2=\"%.1f\" class=\"l\"/>\n", place(a, (double)h->max), y - 5,
	    place(a, (double)h->max), y + 5);
	for (i = 0; i < 4; i++)
		draw_mark(a, (double)bench_hist_at(h, share[i]), y, 2.5 + i);
}

static void
draw_head(const struct bench *b, double height)
{
	fprintf(plot.f, "<svg xmlns=\"http://www.w3.org/2000/svg\" "
	    "viewBox=\"0 0 %d %.0f\" width=\"%d\" height=\"%.0f\">\n<style>"
	    "text{font:12px sans-serif;fill:#222}.t{font-weight:bold}"
	    ".a{text-anchor:middle;font-size:10px;fill:#666}"
	    ".n{text-anchor:end}.g{stroke:#ddd}.b{fill:#4477aa}"
	    ".l{stroke:#aa5533;stroke-width:1.5}"
	    ".m{fill:#aa5533;fill-opacity:.75}</style>\n"
	    "<rect width=\"100%%\" height=\"100%%\" fill=\"#fff\"/>\n",
	    WIDTH, height, WIDTH, height);
	fprintf(plot.f, "<text x=\"12\" y=\"26\" class=\"t\">kevo-bench "
	    KEVO_VERSION ": %llu keys, %u process%s</text>\n",
	    (unsigned long long)bench_data_count(b->data), b->processes,
	    b->processes == 1 ? "" : "es");
}

static void
draw(const struct bench *b, const struct bench_result *r, size_t n)
{
	struct axis rate = { .x = RATE_X, .width = RATE_W };
	struct axis time = { .x = TIME_X, .width = TIME_W };
	double low_r = 1e18, high_r = 1, low_t = 1e18, high_t = 1, y, v;
	double end = TOP + ROW * (double)n;
	size_t i;

	for (i = 0; i < n; i++) {
		v = bench_rate(&r[i]);
		low_r = v < low_r ? v : low_r;
		high_r = v > high_r ? v : high_r;
		v = (double)bench_hist_at(&r[i].latency, 0.5);
		low_t = v < low_t ? v : low_t;
		v = (double)r[i].latency.max;
		high_t = v > high_t ? v : high_t;
	}
	/* The smallest bar must be one. */
	scale(&rate, low_r < 10 ? 1 : low_r / 10, high_r);
	scale(&time, low_t < 1 ? 1 : low_t, high_t);
	draw_head(b, end + BOTTOM);
	draw_axis(&rate, "operations a second (logarithmic)", 0, end);
	draw_axis(&time, "latency: p50, p90, p99, p99.9, maximum "
	    "(logarithmic)", 1, end);
	for (i = 0; i < n; i++) {
		y = TOP + ROW * (double)i + ROW / 2;
		fprintf(plot.f, "<text x=\"%d\" y=\"%.1f\" class=\"n\">%s"
		    "</text>\n", RATE_X - 8, y + 4, r[i].name);
		draw_rate(&rate, &r[i], y);
		draw_times(&time, &r[i], y);
	}
	fprintf(plot.f, "</svg>\n");
}

void
bench_plot_end(const struct bench *b, const struct bench_result *r, size_t n)
{
	int bad;

	draw(b, r, n);
	bad = ferror(plot.f);
	if (fclose(plot.f) != 0 || bad)
		cli_die(EX_IOERR_, "%s: %s", plot.temp, strerror(errno));
	if (rename(plot.temp, plot.file) != 0)
		cli_die(EX_CANTCREAT_, "%s: %s", plot.file, strerror(errno));
	free(plot.temp);
	plot.temp = NULL;
}
