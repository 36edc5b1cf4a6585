/*
 * bench_advice: what the measurements of --tune say.
 *
 * A setting that is recommended is better in some test, beyond the noise,
 * and not worse in any, as far as can be seen: where the noise is so large
 * that it may hide a loss, nothing is recommended.  One that makes some
 * faster and others slower is a trade, and one that lets a power cut take
 * commits is never free: these are told, but left to the reader.
 */
#include <string.h>

#include "bench_tune.h"

#define HARM 0.05	/* a loss that must be ruled out */

/* ---- judging ----------------------------------------------------------- */

/* Of space less is better. */
static double
gain(const struct bench_tune *t, const struct bench_variant *v, size_t test,
    unsigned round)
{
	double base = (t->v[BENCH_BASE].x[test][round] +
	    t->v[BENCH_AGAIN].x[test][round]) / 2, x = v->x[test][round];

	return test == t->tests ? base / x - 1 : x / base - 1;
}

static double
noise(const struct bench_tune *t, size_t test)
{
	return bench_noise(t->v[BENCH_BASE].x[test],
	    t->v[BENCH_AGAIN].x[test], t->rounds);
}

/* What a setting costs that no test shows, or NULL. */
static const char *
price(const char *setting)
{
	if (!bench_same_name(setting, "sync") ||
	    strcmp(setting, "sync=full") == 0)
		return NULL;
	return "a power cut may take the newest commits";
}

static enum bench_advice
advise(const struct bench_tune *t, const struct bench_variant *v)
{
	int better = 0, worse = 0, hidden = 0;
	size_t i;

	for (i = 0; i <= t->tests; i++) {
		better |= v->verdict[i] == BENCH_BETTER;
		worse |= v->verdict[i] == BENCH_WORSE;
		hidden |= v->gain[i].low < -HARM;
	}
	if (!better)
		return worse ? BENCH_ONLY_WORSE : BENCH_NO_DIFFERENCE;
	if (price(v->setting) != NULL)
		return BENCH_PRICE;
	if (worse)
		return BENCH_TRADE;
	return hidden ? BENCH_HIDDEN : BENCH_ADVISED;
}

void
bench_judge(const struct bench_tune *t, struct bench_variant *v)
{
	double g[BENCH_ROUNDS_MAX] = { 0 };
	unsigned r;
	size_t i;

	for (i = 0; i <= t->tests; i++) {
		for (r = 0; r < t->rounds; r++)
			g[r] = gain(t, v, i, r);
		bench_spread_of(&v->gain[i], g, t->rounds);
		v->verdict[i] = bench_verdict(&v->gain[i], noise(t, i));
	}
	v->advice = advise(t, v);
}

double
bench_merit(const struct bench_tune *t, const struct bench_variant *v)
{
	double product = 1;
	size_t i;

	for (i = 0; i <= t->tests; i++)
		if (v->verdict[i] != BENCH_SAME)
			product *= 1 + v->gain[i].median;
	return product;
}

/* Another value of the same setting is better, or as good and comes first. */
static int
is_beaten(const struct bench_tune *t, const struct bench_variant *v)
{
	const struct bench_variant *w;
	double mine = bench_merit(t, v), its;

	for (w = t->v + BENCH_FIRST; w < t->v + t->count; w++) {
		if (w == v || !bench_same_name(w->setting, v->setting) ||
		    (w->advice != BENCH_ADVISED &&
		    w->advice != BENCH_OTHER_VALUE))
			continue;
		its = bench_merit(t, w);
		if (its > mine || (its >= mine && w < v))
			return 1;
	}
	return 0;
}

size_t
bench_judge_all(struct bench_tune *t)
{
	struct bench_variant *v;
	size_t i, n = 0;

	for (i = 0; i <= t->tests; i++)
		t->noise[i] = noise(t, i);
	for (v = t->v + BENCH_FIRST; v < t->v + t->count; v++)
		bench_judge(t, v);
	for (v = t->v + BENCH_FIRST; v < t->v + t->count; v++) {
		if (v->advice == BENCH_ADVISED && is_beaten(t, v))
			v->advice = BENCH_OTHER_VALUE;
		n += v->advice == BENCH_ADVISED;
	}
	return n;
}

/* ---- kevo.conf --------------------------------------------------------- */

static const char *
test_name(const struct bench_tune *t, size_t i)
{
	return i < t->tests ? t->test[i]->name : "space";
}

/* Gains of space are told as what it becomes: -40 % is less. */
static double
percent(const struct bench_tune *t, size_t test, double g)
{
	return 100 * (test == t->tests ? 1 / (1 + g) - 1 : g);
}

/* Where percents would be thousands, a factor is easier to read. */
static void
show_gain(const struct bench_tune *t, const struct bench_spread *g, size_t test)
{
	double a = percent(t, test, g->low), b = percent(t, test, g->high);

	if (g->median >= 9 && test != t->tests)
		bench_out("x%.0f (%.0f..%.0f)", 1 + g->median, 1 + g->low,
		    1 + g->high);
	else
		bench_out("%+.0f %% (%.0f..%.0f)", percent(t, test,
		    g->median), a < b ? a : b, a < b ? b : a);
	bench_out(" %s", test_name(t, test));
}

static void
evidence(const struct bench_tune *t, const struct bench_variant *v)
{
	const char *between = "  # ";
	size_t i;

	for (i = 0; i <= t->tests; i++) {
		if (v->verdict[i] == BENCH_SAME)
			continue;
		bench_out("%s", between);
		show_gain(t, &v->gain[i], i);
		between = ", ";
	}
	bench_out("%s%u rounds", between, t->rounds);
}

static const char *
remark(const struct bench_variant *v)
{
	switch (v->advice) {
	case BENCH_TRADE:
		return "a trade";
	case BENCH_PRICE:
		return price(v->setting);
	case BENCH_HIDDEN:
		return "the noise may hide a loss elsewhere";
	case BENCH_OTHER_VALUE:
		return "another value gains more";
	case BENCH_NOT_AGAIN:
		return "not so when it was measured again";
	case BENCH_NOT_TOGETHER:
		return "not together with what is recommended";
	case BENCH_NO_DIFFERENCE:
	case BENCH_ADVISED:
	case BENCH_ONLY_WORSE:
		break;
	}
	return NULL;
}

static void
conf_line(const struct bench_tune *t, const struct bench_variant *v)
{
	size_t n = strcspn(v->setting, "=");

	bench_out("%s%.*s = %s", v->advice == BENCH_ADVISED ? "" : "# ",
	    (int)n, v->setting, v->setting + n + 1);
	evidence(t, v);
	if (remark(v) != NULL)
		bench_out("; but %s", remark(v));
	bench_out("\n");
}

static void
conf_head(const struct bench_tune *t)
{
	const char *const *s;
	size_t i;

	bench_out("# kevo-bench --tune on %s: ",
	    bench_place_filesystem(t->b));
	bench_report_data(t->b);
	bench_out("\n# %u rounds; noise, which a difference must exceed:",
	    t->rounds);
	for (i = 0; i <= t->tests; i++)
		bench_out("%s %s %.1f %%", i > 0 ? "," : "", test_name(t, i),
		    100 * t->noise[i]);
	bench_out("\n");
	for (s = t->b->open.settings; *s != NULL; s++)
		bench_out("# given, and kept: %s\n", *s);
	for (i = 0; i < t->refusals; i++)
		bench_out("# not a setting of this version: %s\n",
		    t->refused[i]);
}

static void
conf_same(const struct bench_tune *t)
{
	const char *between = "# no difference beyond the noise:";
	const struct bench_variant *v;

	for (v = t->v + BENCH_FIRST; v < t->v + t->count; v++)
		if (v->advice == BENCH_NO_DIFFERENCE) {
			bench_out("%s %s", between, v->setting);
			between = ",";
		}
	if (*between == ',')
		bench_out("\n");
}

static void
conf(const struct bench_tune *t)
{
	const struct bench_variant *v;
	int any = 0;

	conf_head(t);
	for (v = t->v + BENCH_FIRST; v < t->v + t->count; v++) {
		if (v->advice != BENCH_NO_DIFFERENCE)
			conf_line(t, v);
		any |= v->advice == BENCH_ADVISED;
	}
	conf_same(t);
	if (t->together != NULL) {
		bench_out("# the recommended ones together%s",
		    t->together->advice == BENCH_ADVISED ? "" :
		    " with those that are not");
		evidence(t, t->together);
		bench_out("\n");
	}
	if (!any)
		bench_out("# nothing is recommended: keep the settings\n");
}

/* ---- JSON -------------------------------------------------------------- */

static const char *
verdict_name(enum bench_verdict v)
{
	return v == BENCH_BETTER ? "better" : v == BENCH_WORSE ? "worse" :
	    "same";
}

static const char *
advice_name(enum bench_advice a)
{
	static const char *const names[] = {
		"no difference", "recommended", "worse", "trade", "price",
		"hidden by noise", "other value", "not again", "not together"
	};

	return names[a];
}

static void
json_variant(const struct bench_tune *t, const struct bench_variant *v)
{
	size_t i;

	bench_out("{\"setting\":");
	bench_out_string(v->setting);
	bench_out(",\"advice\":\"%s\",\"gain\":{", advice_name(v->advice));
	for (i = 0; i <= t->tests; i++)
		bench_out("%s\"%s\":{\"median\":%.4f,\"low\":%.4f,"
		    "\"high\":%.4f,\"verdict\":\"%s\"}", i > 0 ? "," : "",
		    test_name(t, i), v->gain[i].median, v->gain[i].low,
		    v->gain[i].high, verdict_name(v->verdict[i]));
	bench_out("}}");
}

static void
json(const struct bench_tune *t)
{
	size_t i;

	bench_out("{");
	bench_report_setup(t->b);
	bench_out(",\"rounds\":%u,\"noise\":{", t->rounds);
	for (i = 0; i <= t->tests; i++)
		bench_out("%s\"%s\":%.4f", i > 0 ? "," : "", test_name(t, i),
		    t->noise[i]);
	bench_out("},\"refused\":[");
	for (i = 0; i < t->refusals; i++) {
		bench_out("%s", i > 0 ? "," : "");
		bench_out_string(t->refused[i]);
	}
	bench_out("],\"candidates\":[");
	for (i = BENCH_FIRST; i < t->count; i++) {
		bench_out("%s\n", i > BENCH_FIRST ? "," : "");
		json_variant(t, &t->v[i]);
	}
	bench_out("\n]");
	if (t->together != NULL) {
		bench_out(",\"together\":");
		json_variant(t, t->together);
	}
	bench_out("}\n");
}

void
bench_tell(const struct bench_tune *t)
{
	if (t->output == BENCH_HUMAN)
		conf(t);
	else if (t->output == BENCH_JSON)
		json(t);
}
