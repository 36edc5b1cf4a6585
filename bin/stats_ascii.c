#include <stdio.h>
#include <string.h>

#include "stats_sample.h"

/*
 * Charts as text, 80 columns wide: a label, a value, and a bar of #.  Points
 * over time are averaged where there are more than fit a screen.
 */

enum { WIDTH = 46, LINES_MAX = 40 };

double
stat_chart_highest(const struct stat_chart *c)
{
	double max = 0;

	for (size_t i = 0; i < c->n; i++)
		if (c->bar[i].value > max)
			max = c->bar[i].value;
	return max;
}

static void
draw_bar(const struct stat_chart *c, const char *label, double value,
    double max)
{
	static const char hashes[] =
	    "##############################################";
	char v[STAT_SHORT];
	int len = max > 0 ? (int)(value / max * WIDTH + 0.5) : 0;

	if (len == 0 && value > 0)
		len = 1;	/* what is there is seen */
	stat_printf("%20.20s %11s%s%.*s\n", label, stat_short(v, c->scale,
	    value), len > 0 ? " " : "", len, hashes);
}

static void
draw(const struct stat_chart *c)
{
	double max = stat_chart_highest(c);
	size_t step = (c->n + LINES_MAX - 1) / LINES_MAX;

	if (!c->series)
		step = 1;
	stat_printf("%.79s\n", c->title);
	for (size_t i = 0; i < c->n; i += step) {
		size_t end = i + step < c->n ? i + step : c->n;
		double sum = 0;

		for (size_t j = i; j < end; j++)
			sum += c->bar[j].value;
		draw_bar(c, c->bar[i].label, sum / (double)(end - i), max);
	}
	if (c->n == 0)
		stat_printf("%20s\n", "nothing yet");
}

void
stat_draw_ascii(const struct stat_chart *c, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (i > 0)
			stat_printf("\n");
		draw(&c[i]);
	}
}
