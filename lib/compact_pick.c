#include <math.h>
#include <stdlib.h>

#include "compact_job.h"
#include "key.h"

/*
 * Which tables to merge.  A level is due when it holds more than it should:
 * level 0 by how many of its tables may hold one key, the others by bytes.
 * The level that is the furthest over its limit comes first.
 */

/* Level 0 is merged so many tables at a time, oldest first: a bound on how
 * much is open at once, where it has grown. */
#define LEVEL0_MAX	32

void
kv_shape_get(struct kv_shape *s, const struct kevo *db)
{
	s->level0_tables = kv_setting(db->ctl, KV_SET_LEVEL0_TABLES);
	s->level_bytes = kv_setting(db->ctl, KV_SET_LEVEL_BYTES);
	s->level_ratio = kv_setting(db->ctl, KV_SET_LEVEL_RATIO);
	s->table_bytes = kv_setting(db->ctl, KV_SET_TABLE_BYTES);
	s->levels = (uint32_t)kv_setting(db->ctl, KV_SET_LEVELS);
	if (s->levels > KV_LEVELS)
		s->levels = KV_LEVELS;
	if (s->levels < 2)
		s->levels = 2;
}

/* ---- about levels ------------------------------------------------------ */

uint64_t
kv_level_bytes(const struct kv_version *v, uint32_t level)
{
	uint64_t sum = 0;

	for (uint32_t i = v->level_start[level]; i < v->level_start[level + 1];
	    i++)
		sum += v->table[i].info.size;
	return sum;
}

double
kv_level_limit(const struct kv_shape *s, uint32_t level)
{
	double limit = (double)s->level_bytes;

	for (uint32_t i = 1; i < level; i++)
		limit *= (double)s->level_ratio;
	return limit;
}

uint32_t
kv_depth(const struct kv_version *v)
{
	uint32_t n = v->level_start[1], depth = 0;

	/* Where the most lie beside each other, one of them begins. */
	for (uint32_t i = 0; i < n; i++) {
		const struct kv_table_info *t = &v->table[i].info;
		uint32_t d = 0;

		for (uint32_t k = 0; k < n; k++) {
			const struct kv_table_info *u = &v->table[k].info;

			d += kv_key_cmp(u->first, u->first_len, t->first,
			    t->first_len) <= 0 && kv_key_cmp(t->first,
			    t->first_len, u->last, u->last_len) <= 0;
		}
		if (d > depth)
			depth = d;
	}
	return depth;
}

double
kv_score(const struct kv_version *v, const struct kv_shape *s, uint32_t level)
{
	double bytes = (double)kv_level_bytes(v, level), tables;

	if (level + 1 >= s->levels)
		return 0;
	if (level > 0)
		return bytes / kv_level_limit(s, level);
	tables = (double)kv_depth(v) / (double)s->level0_tables;
	bytes /= (double)s->level_bytes;
	return tables > bytes ? tables : bytes;
}

uint64_t
kv_pick_due(const struct kv_version *v, const struct kv_shape *s)
{
	double due = 0, carried = 0;

	for (uint32_t level = 0; level + 1 < s->levels; level++) {
		double bytes = (double)kv_level_bytes(v, level) + carried;
		double over = bytes - kv_level_limit(s, level);

		carried = 0;
		if (level == 0)
			over = kv_score(v, s, 0) >= 1 ? bytes : 0;
		if (over <= 0)
			continue;
		carried = over;
		/* It meets its share of the next level. */
		due += over + over / bytes *
		    (double)kv_level_bytes(v, level + 1);
	}
	return (uint64_t)due;
}

/* ---- level 0 ----------------------------------------------------------- */

/* 1, 0 or an error; *busy is set if somebody else has what is due. */
static int
pick_level0(const struct kv_version *v, const uint64_t *taken, size_t ntaken,
    struct kv_job *job, int *busy)
{
	uint32_t end = v->level_start[1];
	uint32_t from = end > LEVEL0_MAX ? end - LEVEL0_MAX : 0;
	int rc;

	if ((rc = kv_job_moves(job, v, 0, HUGE_VAL, NULL, taken,
	    ntaken)) != 0)
		return rc;
	for (uint32_t seed = end; seed-- > from;) {
		rc = kv_job_level0(job, v, seed, from, taken, ntaken);
		if (rc != 0)
			return rc;
		*busy = 1;
	}
	return 0;
}

/* ---- sorted levels ----------------------------------------------------- */

/*
 * A table, and its neighbours within the range of the lower tables that it
 * takes: they come at no cost.
 */
static int
gather_sorted(struct kv_job *job, const struct kv_version *v, uint32_t seed)
{
	uint32_t level = v->table[seed].level, from, to, lo, hi;
	const struct kv_table_info *a, *b;
	int rc;

	kv_tables_beside(v, level + 1, &v->table[seed].info, &from, &to);
	lo = hi = seed;
	if (from < to) {
		a = &v->table[from].info;
		b = &v->table[to - 1].info;
		while (lo > v->level_start[level] && seed - lo < KV_ALONG_MAX &&
		    kv_key_cmp(a->first, a->first_len,
		    v->table[lo - 1].info.first,
		    v->table[lo - 1].info.first_len) <= 0)
			lo--;
		while (hi + 1 < v->level_start[level + 1] &&
		    hi - seed < KV_ALONG_MAX && kv_key_cmp(
		    v->table[hi + 1].info.last, v->table[hi + 1].info.last_len,
		    b->last, b->last_len) <= 0)
			hi++;
	}
	kv_job_begin(job, level);
	for (; lo <= hi; lo++)
		if ((rc = kv_job_add(job, v, lo)) != 0)
			return rc;
	return kv_job_complete(job, v);
}

/* What a table costs: bytes of the next level for one of its own. */
static double
cost(const struct kv_version *v, uint32_t i)
{
	uint32_t from, to;
	double bytes = 0;

	kv_tables_beside(v, v->table[i].level + 1, &v->table[i].info, &from,
	    &to);
	for (; from < to; from++)
		bytes += (double)v->table[from].info.size;
	return bytes / ((double)v->table[i].info.size + 1);
}

struct candidate {
	double cost;
	uint32_t table;
};

static int
by_cost(const void *a, const void *b)
{
	const struct candidate *x = a, *y = b;

	if (x->cost != y->cost)
		return x->cost < y->cost ? -1 : 1;
	return x->table < y->table ? -1 : x->table > y->table;
}

/*
 * The cheapest table first.  A table that was just written covers fewer keys
 * of the next level than one that has grown old beside them, so this goes
 * round by itself.
 */
static int
pick_cheapest(const struct kv_version *v, uint32_t level,
    const uint64_t *taken, size_t ntaken, struct kv_job *job, int *busy)
{
	uint32_t first = v->level_start[level];
	uint32_t n = v->level_start[level + 1] - first;
	struct candidate *c = malloc((n + 1) * sizeof(*c));
	int rc = 0;

	if (c == NULL)
		return KEVO_ENOMEM;
	for (uint32_t i = 0; i < n; i++) {
		c[i].table = first + i;
		c[i].cost = cost(v, first + i);
	}
	qsort(c, n, sizeof(*c), by_cost);
	for (uint32_t i = 0; i < n; i++) {
		if ((rc = gather_sorted(job, v, c[i].table)) != 0)
			break;
		if (!kv_job_is_taken(job, v, taken, ntaken)) {
			rc = 1;
			break;
		}
		*busy = 1;
	}
	free(c);
	return rc;
}

/* A table that is mostly deletions: reads pass over them all, and what they
 * delete still takes its space. */
static int
is_stale(const struct kv_vtable *t)
{
	return t->info.deletes > t->info.count / 2;
}

static int
pick_stale(const struct kv_version *v, const struct kv_shape *s,
    const uint64_t *taken, size_t ntaken, struct kv_job *job, int *busy)
{
	int rc;

	for (uint32_t i = v->level_start[1]; i < v->level_start[s->levels - 1];
	    i++) {
		if (!is_stale(&v->table[i]))
			continue;
		if ((rc = gather_sorted(job, v, i)) != 0)
			return rc;
		if (!kv_job_is_taken(job, v, taken, ntaken))
			return 1;
		*busy = 1;
	}
	return 0;
}

static int
pick_from(const struct kv_version *v, const struct kv_shape *s,
    uint32_t level, const uint64_t *taken, size_t ntaken, struct kv_job *job,
    int *busy)
{
	int rc;

	if (level == 0)
		return pick_level0(v, taken, ntaken, job, busy);
	if ((rc = kv_job_moves(job, v, level, (double)kv_level_bytes(v, level) -
	    kv_level_limit(s, level), NULL, taken, ntaken)) != 0)
		return rc;
	return pick_cheapest(v, level, taken, ntaken, job, busy);
}

int
kv_pick(const struct kv_version *v, const struct kv_shape *s,
    const uint64_t *taken, size_t ntaken, struct kv_job *job, int *busy)
{
	double scores[KV_LEVELS];
	int rc;

	*busy = 0;
	for (uint32_t i = 0; i < KV_LEVELS; i++)
		scores[i] = kv_score(v, s, i);
	for (;;) {
		uint32_t best = 0;

		for (uint32_t i = 1; i < KV_LEVELS; i++)
			if (scores[i] > scores[best])
				best = i;
		if (scores[best] < 1)
			return pick_stale(v, s, taken, ntaken, job, busy);
		rc = pick_from(v, s, best, taken, ntaken, job, busy);
		if (rc != 0)
			return rc;
		scores[best] = 0;
	}
}
