#include <stdio.h>
#include <string.h>

#include "cli.h"
#include "stats_sample.h"

/*
 * Charts as SVG, one below the other: bars, or a line over time.
 */

enum { WIDTH = 800, HEIGHT = 260, LEFT = 90, RIGHT = 20, TOP = 40,
    BOTTOM = 60, LABELS = 8 };

#define PLOT_W	(WIDTH - LEFT - RIGHT)
#define PLOT_H	(HEIGHT - TOP - BOTTOM)

static void
text(const char *s)
{
	for (; *s != '\0'; s++)
		if (*s == '&')
			stat_printf("&amp;");
		else if (*s == '<')
			stat_printf("&lt;");
		else if (*s == '>')
			stat_printf("&gt;");
		else if ((unsigned char)*s >= 0x20)
			cli_out(s, 1);
}

static double
y_of(double value, double max)
{
	return TOP + PLOT_H * (1 - (max > 0 ? value / max : 0));
}

/* Where the middle of a bar, or a point, is. */
static double
x_of(const struct stat_chart *c, size_t i)
{
	if (c->series)
		return LEFT + (c->n < 2 ? 0 : (double)PLOT_W * (double)i /
		    (double)(c->n - 1));
	return LEFT + (double)PLOT_W * ((double)i + 0.5) / (double)c->n;
}

static void
draw_axes(const struct stat_chart *c, double max)
{
	char v[STAT_SHORT];

	stat_printf("<text class=\"title\" x=\"%d\" y=\"22\">", LEFT);
	text(c->title);
	stat_printf("</text>\n");
	for (int i = 0; i <= 4; i++) {
		double y = y_of(max * i / 4, max);

		stat_printf("<line class=\"grid\" x1=\"%d\" x2=\"%d\" "
		    "y1=\"%.1f\" y2=\"%.1f\"/>\n", LEFT, LEFT + PLOT_W, y, y);
		if (max > 0 || i == 0)
			stat_printf("<text class=\"y\" x=\"%d\" y=\"%.1f\">%s"
			    "</text>\n", LEFT - 6, y + 4, stat_short(v,
			    c->scale, max * i / 4));
		if (max <= 0)
			break;
	}
}

/* As many as there is room for. */
static void
draw_labels(const struct stat_chart *c)
{
	size_t step = (c->n + LABELS - 1) / LABELS;

	for (size_t i = 0; i < c->n; i += step) {
		const char *s = c->bar[i].label;

		stat_printf("<text class=\"x\" x=\"%.1f\" y=\"%d\">",
		    x_of(c, i), TOP + PLOT_H + 18);
		/* Of a time, the date goes to a second line. */
		if (c->series && strlen(s) == 20) {
			stat_printf("%.8s<tspan x=\"%.1f\" dy=\"14\">%.10s"
			    "</tspan>", s + 11, x_of(c, i), s);
		} else
			text(s);
		stat_printf("</text>\n");
	}
}

static void
draw_bars(const struct stat_chart *c, double max)
{
	double w = (double)PLOT_W / (double)c->n * 0.8;
	char v[STAT_SHORT];

	for (size_t i = 0; i < c->n; i++) {
		double y = y_of(c->bar[i].value, max);

		stat_printf("<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" "
		    "height=\"%.1f\"><title>", x_of(c, i) - w / 2, y, w,
		    TOP + PLOT_H - y);
		text(c->bar[i].label);
		stat_printf(": %s", stat_short(v, c->scale, c->bar[i].value));
		stat_printf("%s%s</title></rect>\n",
		    c->unit[0] != '\0' ? " " : "", c->unit);
	}
}

static void
draw_line(const struct stat_chart *c, double max)
{
	stat_printf("<polyline points=\"");
	for (size_t i = 0; i < c->n; i++)
		stat_printf("%s%.1f,%.1f", i > 0 ? " " : "", x_of(c, i),
		    y_of(c->bar[i].value, max));
	stat_printf("\"/>\n");
	if (c->n == 1)
		stat_printf("<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3\"/>\n",
		    x_of(c, 0), y_of(c->bar[0].value, max));
}

static void
draw(const struct stat_chart *c, size_t i)
{
	double max = stat_chart_highest(c);

	stat_printf("<g transform=\"translate(0,%zu)\">\n", i * HEIGHT);
	draw_axes(c, max);
	if (c->n > 0) {
		if (c->series)
			draw_line(c, max);
		else
			draw_bars(c, max);
		draw_labels(c);
	}
	stat_printf("</g>\n");
}

void
stat_draw_svg(const struct stat_chart *c, size_t n, const char *path)
{
	size_t height = n * HEIGHT;

	stat_printf("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
	    "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" "
	    "height=\"%zu\" viewBox=\"0 0 %d %zu\">\n<title>", WIDTH, height,
	    WIDTH, height);
	text("kevo-stats ");
	text(path);
	stat_printf("</title>\n<style>\n"
	    "text { font: 12px sans-serif; fill: #333 }\n"
	    ".title { font-weight: bold }\n"
	    ".y { text-anchor: end }\n.x { text-anchor: middle }\n"
	    ".grid { stroke: #ddd }\n"
	    "rect, circle { fill: #3b75af }\n"
	    "polyline { fill: none; stroke: #3b75af; stroke-width: 1.5 }\n"
	    "</style>\n"
	    "<rect width=\"100%%\" height=\"100%%\" style=\"fill: #fff\"/>\n");
	for (size_t i = 0; i < n; i++)
		draw(&c[i], i);
	stat_printf("</svg>\n");
}
