/*
 * bench_tune: which settings suit this machine and this work?
 *
 * Each candidate is the baseline with one setting changed.  In every round
 * each gets a new database and does all tests, and the baseline does so
 * twice: how much it differs from itself is the noise.  Every round begins at
 * another candidate.
 *
 * Who looks at many candidates finds one that was lucky.  So those that came
 * out better are measured in a second series of rounds, which alone decides;
 * and what is left is measured together, since what is better alone need not
 * be so in company.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench_tune.h"
#include "setting.h"

/* What is tried, unless it is said; what a build does not take is passed
 * over. */
static const char *const candidates[] = {
	"memtable_bytes=16M", "memtable_bytes=256M", "block_bytes=2K",
	"block_bytes=8K", "block_bytes=16K", "restart_interval=8",
	"restart_interval=32", "hash_index=off", "compression=lz4",
	"compression=zstd", "level0_tables=2", "level0_tables=8",
	"level_ratio=4", "sync=batch", "sync=none"
};

enum {
	CANDIDATES = sizeof(candidates) / sizeof(candidates[0]),
	VARIANTS = BENCH_TUNE_ROOM + 3	/* the baseline twice, and all */
};

static void *
room(size_t n, size_t size)
{
	void *p = calloc(n, size);

	if (p == NULL)
		cli_die(EX_IOERR_, "out of memory");
	return p;
}

/* ---- the variants ------------------------------------------------------ */

static size_t
name_len(const char *setting)
{
	return strcspn(setting, "=");
}

int
bench_same_name(const char *a, const char *b)
{
	size_t n = name_len(a);

	return n == name_len(b) && memcmp(a, b, n) == 0;
}

/* What the user fixed is not tried otherwise. */
static int
is_fixed(const struct bench_tune *t, const char *setting)
{
	const char *const *s;

	if (t->b->open.sync != NULL && bench_same_name(setting, "sync="))
		return 1;
	for (s = t->b->open.settings; *s != NULL; s++)
		if (bench_same_name(*s, setting))
			return 1;
	return 0;
}

static struct bench_variant *
add(struct bench_tune *t, const char *setting)
{
	struct bench_variant *v = &t->v[t->count++];
	size_t i;

	v->setting = setting;
	v->settings = room(t->base_count + BENCH_TUNE_ROOM + 1,
	    sizeof(*v->settings));
	for (i = 0; i < t->base_count; i++)
		v->settings[i] = t->b->open.settings[i];
	v->settings[i] = setting;
	return v;
}

/* Whether this build takes the settings is found out by using them. */
static void
add_if_possible(struct bench_tune *t, const char *setting)
{
	struct bench_variant *v = add(t, setting);
	char why[1024];

	if (bench_place_try(t->b, v->settings, why, sizeof(why)) == 0)
		return;
	cli_note("%s: passed over: %s", setting, why);
	free(v->settings);
	t->count--;
	t->refused[t->refusals++] = setting;
}

static void
try_one(struct bench_tune *t, const char *setting)
{
	size_t i;

	for (i = BENCH_FIRST; i < t->count; i++)
		if (strcmp(t->v[i].setting, setting) == 0)
			return;
	if (t->count - BENCH_FIRST + t->refusals == BENCH_TUNE_ROOM)
		cli_die(EX_USAGE_, "--tune: more than %d values",
		    BENCH_TUNE_ROOM);
	if (!is_fixed(t, setting))
		add_if_possible(t, setting);
}

/* All candidates that there are for one setting; name NULL: for all. */
static int
try_known(struct bench_tune *t, const char *name)
{
	size_t i;
	int found = 0;

	for (i = 0; i < CANDIDATES; i++)
		if (name == NULL || bench_same_name(candidates[i], name)) {
			try_one(t, candidates[i]);
			found = 1;
		}
	return found;
}

static void
try_item(struct bench_tune *t, const char *item)
{
	size_t n = name_len(item);

	if (item[n] != '\0') {
		setting_check_change(item);
		try_one(t, item);
		return;
	}
	setting_check_name(item, n);
	if (!try_known(t, item))
		cli_die(EX_USAGE_, "--tune: %s: give values, as %s=VALUE",
		    item, item);
}

/* list is kept, and cut into its items. */
static void
choose_variants(struct bench_tune *t, char *list)
{
	char *item, *rest = NULL;

	while (t->b->open.settings[t->base_count] != NULL)
		t->base_count++;
	t->v = room(VARIANTS, sizeof(*t->v));
	add(t, NULL);
	add(t, NULL);
	if (list == NULL)
		try_known(t, NULL);
	for (item = list != NULL ? strtok_r(list, ",", &rest) : NULL;
	    item != NULL; item = strtok_r(NULL, ",", &rest))
		try_item(t, item);
	if (t->count == BENCH_FIRST)
		cli_die(EX_USAGE_, "--tune: nothing is left to be tried");
}

/* ---- measuring --------------------------------------------------------- */

/* One row of raw data. */
static void
show_raw(const struct bench_tune *t, const struct bench_variant *v,
    unsigned round, const char *test, double x)
{
	if (t->output != BENCH_TSV)
		return;
	bench_out("%s\t%s\t%u\t%.1f\n", v->setting != NULL ? v->setting :
	    "baseline", test, round + 1, x);
	cli_out_flush();
}

static void
measure(struct bench_tune *t, struct bench_variant *v, unsigned round)
{
	static struct bench_result res[1 + BENCH_PARTS];
	const char *const *base = t->b->open.settings;
	char verb[100];
	size_t i;

	snprintf(verb, sizeof(verb), "round %u of %u, %.60s:", round + 1,
	    t->rounds, v->setting != NULL ? v->setting : "baseline");
	t->b->open.settings = v->settings;
	bench_place_new(t->b, v->settings);
	for (i = 0; i < t->tests; i++) {
		bench_place_prepare(t->b, t->test[i]);
		bench_run(t->b, t->test[i], verb, res);
		v->x[i][round] = bench_rate(&res[0]);
		show_raw(t, v, round, t->test[i]->name, v->x[i][round]);
	}
	bench_place_settle(t->b);
	v->x[t->tests][round] = (double)bench_place_bytes(t->b);
	show_raw(t, v, round, "space", v->x[t->tests][round]);
	t->b->open.settings = base;
}

/* All of a list, and the baseline twice among them. */
static void
measure_all(struct bench_tune *t, struct bench_variant *const *list, size_t n)
{
	size_t all = n + 2, i, at;
	unsigned round;

	for (round = 0; round < t->rounds; round++)
		for (i = 0; i < all; i++) {
			at = (i + round) % all;
			if (at == 0)
				measure(t, &t->v[BENCH_BASE], round);
			else if (at == all / 2)
				measure(t, &t->v[BENCH_AGAIN], round);
			else
				measure(t, list[at - 1 - (at > all / 2)],
				    round);
		}
}

/* ---- the three series -------------------------------------------------- */

/* Those that are advised so far. */
static size_t
advised(const struct bench_tune *t, struct bench_variant **list)
{
	size_t i, n = 0;

	for (i = BENCH_FIRST; i < t->count; i++)
		if (t->v[i].advice == BENCH_ADVISED)
			list[n++] = &t->v[i];
	return n;
}

static void
explore(struct bench_tune *t)
{
	struct bench_variant *list[BENCH_TUNE_ROOM];
	size_t i;

	for (i = BENCH_FIRST; i < t->count; i++)
		list[i - BENCH_FIRST] = &t->v[i];
	measure_all(t, list, t->count - BENCH_FIRST);
	bench_judge_all(t);
}

/* What was better must be so again; else the first evidence is kept. */
static void
confirm(struct bench_tune *t)
{
	struct bench_variant *list[BENCH_TUNE_ROOM], before;
	size_t n = advised(t, list), i;

	if (n == 0)
		return;
	cli_note("%zu of them once more", n);
	measure_all(t, list, n);
	for (i = 0; i < n; i++) {
		before = *list[i];
		bench_judge(t, list[i]);
		if (list[i]->advice == BENCH_ADVISED)
			continue;
		*list[i] = before;
		list[i]->advice = BENCH_NOT_AGAIN;
	}
}

/* Where all are no better than the baseline, only the best one is left. */
static void
leave_best(struct bench_tune *t, struct bench_variant **list, size_t n)
{
	size_t best = 0, i;

	for (i = 1; i < n; i++)
		if (bench_merit(t, list[i]) > bench_merit(t, list[best]))
			best = i;
	for (i = 0; i < n; i++)
		if (i != best)
			list[i]->advice = BENCH_NOT_TOGETHER;
}

static void
try_together(struct bench_tune *t)
{
	struct bench_variant *list[BENCH_TUNE_ROOM];
	size_t n = advised(t, list), i;

	if (n < 2)
		return;
	cli_note("%zu settings together", n);
	t->together = add(t, "together");
	t->count--;		/* it is no candidate */
	for (i = 0; i < n; i++)
		t->together->settings[t->base_count + i] = list[i]->setting;
	measure_all(t, &t->together, 1);
	bench_judge(t, t->together);
	if (t->together->advice != BENCH_ADVISED)
		leave_best(t, list, n);
}

void
bench_tune(struct bench *b, const struct bench_test *const *test,
    size_t tests, char *list, unsigned rounds, enum bench_output o)
{
	struct bench_tune t = { .b = b, .test = test, .tests = tests,
	    .rounds = rounds, .output = o };
	size_t i;

	choose_variants(&t, list);
	cli_note("%zu candidates, %u rounds", t.count - BENCH_FIRST, rounds);
	if (o == BENCH_TSV)
		bench_out("setting\ttest\tround\tvalue\n");
	explore(&t);
	confirm(&t);
	try_together(&t);
	bench_tell(&t);
	if (t.together != NULL)
		free(t.together->settings);
	for (i = 0; i < t.count; i++)
		free(t.v[i].settings);
	free(t.v);
}
