#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "compact.h"
#include "key.h"

/*
 * Which tables to merge.  A level is due when it holds more than it should:
 * level 0 by how many of its tables may hold one key, the others by bytes.
 * The level that is the furthest over its limit comes first.
 *
 * A job takes tables of one level, all tables of the next one that lie beside
 * them, and puts what comes of it there.  What must hold so that jobs of
 * several processes go side by side:
 *
 *  - Of level 0 a job takes with a table all older ones beside it; else an
 *    older record would come to stand above a newer one.
 *  - What a job writes lies between the first and the last key of what it
 *    takes, so two jobs that have no table in common write beside each other.
 *    There is one exception: another job may put a new table into a gap
 *    between two neighbours of a sorted level.  Then it cannot be installed,
 *    and is done again.
 */

/* Level 0 is merged so many tables at a time, oldest first: a bound on how
 * much is open at once, where it has grown. */
#define LEVEL0_MAX	32

/* Tables that are moved as they are, in one new version. */
#define MOVES_MAX	64

/* Neighbours that a job takes along. */
#define ALONG_MAX	16

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

static uint64_t
level_bytes(const struct kv_version *v, uint32_t level)
{
	uint64_t sum = 0;

	for (uint32_t i = v->level_start[level]; i < v->level_start[level + 1];
	    i++)
		sum += v->table[i].info.size;
	return sum;
}

/* Bytes that a level may hold before something is due. */
static double
level_limit(const struct kv_shape *s, uint32_t level)
{
	double limit = (double)s->level_bytes;

	for (uint32_t i = 1; i < level; i++)
		limit *= (double)s->level_ratio;
	return limit;
}

static int
beside(const struct kv_table_info *a, const struct kv_table_info *b)
{
	return kv_key_cmp(a->first, a->first_len, b->last, b->last_len) <= 0 &&
	    kv_key_cmp(b->first, b->first_len, a->last, a->last_len) <= 0;
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
	double bytes = (double)level_bytes(v, level), tables;

	if (level + 1 >= s->levels)
		return 0;
	if (level > 0)
		return bytes / level_limit(s, level);
	tables = (double)kv_depth(v) / (double)s->level0_tables;
	bytes /= (double)s->level_bytes;
	return tables > bytes ? tables : bytes;
}

uint64_t
kv_pick_due(const struct kv_version *v, const struct kv_shape *s)
{
	double due = 0, carried = 0;

	for (uint32_t level = 0; level + 1 < s->levels; level++) {
		double bytes = (double)level_bytes(v, level) + carried;
		double over = bytes - level_limit(s, level);

		carried = 0;
		if (level == 0)
			over = kv_score(v, s, 0) >= 1 ? bytes : 0;
		if (over <= 0)
			continue;
		carried = over;
		/* It meets its share of the next level. */
		due += over + over / bytes * (double)level_bytes(v, level + 1);
	}
	return (uint64_t)due;
}

/* ---- jobs -------------------------------------------------------------- */

void
kv_job_release(struct kv_job *job)
{
	free(job->input);
	memset(job, 0, sizeof(*job));
}

static void
begin_job(struct kv_job *job, uint32_t level)
{
	job->level = level;
	job->out = level + 1;
	job->move = 0;
	job->nupper = job->ninput = 0;
	job->bytes = 0;
}

static int
add_input(struct kv_job *job, const struct kv_version *v, uint32_t i)
{
	uint32_t room = job->room != 0 ? 2 * job->room : 16;
	void *p;

	if (job->ninput == job->room) {
		p = realloc(job->input, room * sizeof(job->input[0]));
		if (p == NULL)
			return KEVO_ENOMEM;
		job->input = p;
		job->room = room;
	}
	job->input[job->ninput++] = i;
	job->bytes += v->table[i].info.size;
	return 0;
}

static int
add_upper(struct kv_job *job, const struct kv_version *v, uint32_t i)
{
	int rc = add_input(job, v, i);

	job->nupper = job->ninput;
	return rc;
}

static int
by_place(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

/* The first and the last key of the upper tables. */
static void
hull(const struct kv_job *job, const struct kv_version *v,
    struct kv_table_info *h)
{
	*h = v->table[job->input[0]].info;
	for (uint32_t i = 1; i < job->nupper; i++) {
		const struct kv_table_info *t = &v->table[job->input[i]].info;

		if (kv_key_cmp(t->first, t->first_len, h->first,
		    h->first_len) < 0) {
			h->first = t->first;
			h->first_len = t->first_len;
		}
		if (kv_key_cmp(t->last, t->last_len, h->last,
		    h->last_len) > 0) {
			h->last = t->last;
			h->last_len = t->last_len;
		}
	}
}

/* The tables of a sorted level that lie beside t: *from to *to. */
static void
find_beside(const struct kv_version *v, uint32_t level,
    const struct kv_table_info *t, uint32_t *from, uint32_t *to)
{
	*from = *to = kv_version_find(v, level, t->first, t->first_len);
	while (*to < v->level_start[level + 1] &&
	    beside(&v->table[*to].info, t))
		++*to;
}

/* Sort the upper tables and add the lower ones. */
static int
complete(struct kv_job *job, const struct kv_version *v)
{
	struct kv_table_info h;
	uint32_t from, to;
	int rc;

	qsort(job->input, job->nupper, sizeof(job->input[0]), by_place);
	if (job->out == job->level)
		return 0;
	hull(job, v, &h);
	find_beside(v, job->out, &h, &from, &to);
	for (; from < to; from++)
		if ((rc = add_input(job, v, from)) != 0)
			return rc;
	return 0;
}

static int
is_taken(const struct kv_version *v, uint32_t i, const uint64_t *taken,
    size_t ntaken)
{
	for (size_t k = 0; k < ntaken; k++)
		if (taken[k] == v->table[i].info.number)
			return 1;
	return 0;
}

static int
is_job_taken(const struct kv_job *job, const struct kv_version *v,
    const uint64_t *taken, size_t ntaken)
{
	for (uint32_t i = 0; i < job->ninput; i++)
		if (is_taken(v, job->input[i], taken, ntaken))
			return 1;
	return 0;
}

/*
 * A table may go to the next level as it is, if nothing there lies beside it.
 * But deletions that would be dropped are worth a merge.
 */
static int
may_move(const struct kv_version *v, uint32_t i)
{
	const struct kv_vtable *t = &v->table[i];
	const struct kv_table_info *n = &t->info;
	uint32_t from, to;

	find_beside(v, t->level + 1, n, &from, &to);
	return from == to && (n->deletes == 0 || kv_levels_overlap(v,
	    t->level + 2, KV_LEVELS - 1, n->first, n->first_len, n->last,
	    n->last_len));
}

/* ---- moves ------------------------------------------------------------- */

static int
is_meant(const struct kv_full *f, const struct kv_table_info *t)
{
	return t->min_seq <= f->to_seq && (f->from == NULL || kv_key_cmp(
	    t->last, t->last_len, f->from, f->from_len) >= 0) &&
	    (f->to == NULL || kv_key_cmp(t->first, t->first_len, f->to,
	    f->to_len) < 0);
}

/* Is an older table of level 0 beside it? */
static int
hides_older(const struct kv_version *v, uint32_t i)
{
	if (v->table[i].level > 0)
		return 0;
	for (uint32_t k = i + 1; k < v->level_start[1]; k++)
		if (beside(&v->table[k].info, &v->table[i].info))
			return 1;
	return 0;
}

/*
 * Tables of a level that can be moved, so many that the level has lost more
 * than `over` bytes; of a full run (or NULL) only what it means.  1, or 0 if
 * there are none.
 */
static int
gather_moves(struct kv_job *job, const struct kv_version *v, uint32_t level,
    double over, const struct kv_full *f, const uint64_t *taken,
    size_t ntaken)
{
	int rc;

	begin_job(job, level);
	for (uint32_t i = v->level_start[level + 1];
	    i-- > v->level_start[level];) {
		if ((double)job->bytes > over || job->nupper == MOVES_MAX)
			break;
		if ((f == NULL || is_meant(f, &v->table[i].info)) &&
		    may_move(v, i) && !hides_older(v, i) &&
		    !is_taken(v, i, taken, ntaken) &&
		    (rc = add_upper(job, v, i)) != 0)
			return rc;
	}
	job->move = 1;
	return job->nupper > 0;
}

/* ---- level 0 ----------------------------------------------------------- */

static int
is_input(const struct kv_job *job, uint32_t i)
{
	for (uint32_t k = 0; k < job->nupper; k++)
		if (job->input[k] == i)
			return 1;
	return 0;
}

static int
is_beside_job(const struct kv_job *job, const struct kv_version *v,
    uint32_t i)
{
	for (uint32_t k = 0; k < job->nupper; k++)
		if (beside(&v->table[job->input[k]].info, &v->table[i].info))
			return 1;
	return 0;
}

/*
 * Table `seed` of level 0 and what is connected to it among the tables `from`
 * on, which are the oldest ones.
 */
static int
gather_level0(struct kv_job *job, const struct kv_version *v, uint32_t seed,
    uint32_t from)
{
	uint32_t end = v->level_start[1];
	int grown, rc;

	begin_job(job, 0);
	if ((rc = add_upper(job, v, seed)) != 0)
		return rc;
	do {
		grown = 0;
		for (uint32_t i = from; i < end; i++) {
			if (is_input(job, i) || !is_beside_job(job, v, i))
				continue;
			if ((rc = add_upper(job, v, i)) != 0)
				return rc;
			grown = 1;
		}
	} while (grown);
	return complete(job, v);
}

/* The place after the oldest table of the job that is taken. */
static uint32_t
after_taken(const struct kv_job *job, const struct kv_version *v,
    const uint64_t *taken, size_t ntaken)
{
	uint32_t i = job->nupper;

	while (i > 0 && !is_taken(v, job->input[i - 1], taken, ntaken))
		i--;
	return i > 0 ? job->input[i - 1] + 1 : 0;
}

/*
 * A table and what must go with it, but without newer ones that are taken.
 * 1, 0 if that is not possible, or an error.
 */
static int
untaken_level0(struct kv_job *job, const struct kv_version *v, uint32_t seed,
    uint32_t from, const uint64_t *taken, size_t ntaken)
{
	int rc;

	while (from <= seed) {
		if ((rc = gather_level0(job, v, seed, from)) != 0)
			return rc;
		if (!is_job_taken(job, v, taken, ntaken))
			return 1;
		if ((from = after_taken(job, v, taken, ntaken)) == 0)
			break;
	}
	return 0;
}

/* 1, 0 or an error; *busy is set if somebody else has what is due. */
static int
pick_level0(const struct kv_version *v, const uint64_t *taken, size_t ntaken,
    struct kv_job *job, int *busy)
{
	uint32_t end = v->level_start[1];
	uint32_t from = end > LEVEL0_MAX ? end - LEVEL0_MAX : 0;
	int rc;

	if ((rc = gather_moves(job, v, 0, HUGE_VAL, NULL, taken,
	    ntaken)) != 0)
		return rc;
	for (uint32_t seed = end; seed-- > from;) {
		rc = untaken_level0(job, v, seed, from, taken, ntaken);
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

	find_beside(v, level + 1, &v->table[seed].info, &from, &to);
	lo = hi = seed;
	if (from < to) {
		a = &v->table[from].info;
		b = &v->table[to - 1].info;
		while (lo > v->level_start[level] && seed - lo < ALONG_MAX &&
		    kv_key_cmp(a->first, a->first_len,
		    v->table[lo - 1].info.first,
		    v->table[lo - 1].info.first_len) <= 0)
			lo--;
		while (hi + 1 < v->level_start[level + 1] &&
		    hi - seed < ALONG_MAX && kv_key_cmp(
		    v->table[hi + 1].info.last, v->table[hi + 1].info.last_len,
		    b->last, b->last_len) <= 0)
			hi++;
	}
	begin_job(job, level);
	for (; lo <= hi; lo++)
		if ((rc = add_upper(job, v, lo)) != 0)
			return rc;
	return complete(job, v);
}

/* What a table costs: bytes of the next level for one of its own. */
static double
cost(const struct kv_version *v, uint32_t i)
{
	uint32_t from, to;
	double bytes = 0;

	find_beside(v, v->table[i].level + 1, &v->table[i].info, &from, &to);
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
		if (!is_job_taken(job, v, taken, ntaken)) {
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
		if (!is_job_taken(job, v, taken, ntaken))
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
	if ((rc = gather_moves(job, v, level, (double)level_bytes(v, level) -
	    level_limit(s, level), NULL, taken, ntaken)) != 0)
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

/* ---- a full run -------------------------------------------------------- */

uint32_t
kv_full_target(const struct kv_version *v, const struct kv_shape *s)
{
	uint32_t target = 1, level;
	double bytes = 0;

	for (level = 0; level < KV_LEVELS; level++) {
		bytes += (double)level_bytes(v, level);
		if (level > target && v->level_start[level] <
		    v->level_start[level + 1])
			target = level;
	}
	while (target + 1 < s->levels && bytes > level_limit(s, target))
		target++;
	return target;
}

/*
 * Several neighbours at once, so that a table of the next level which lies
 * beside two of them is written once.
 */
static int
gather_run(struct kv_job *job, const struct kv_version *v,
    const struct kv_full *f, uint32_t i, const uint64_t *taken,
    size_t ntaken)
{
	uint32_t level = v->table[i].level, end = v->level_start[level + 1];
	int rc;

	begin_job(job, level);
	do
		if ((rc = add_upper(job, v, i)) != 0)
			return rc;
	while (++i < end && job->nupper < ALONG_MAX &&
	    job->bytes + v->table[i].info.size <= f->run_bytes &&
	    is_meant(f, &v->table[i].info) && !is_taken(v, i, taken, ntaken));
	return complete(job, v);
}

static int
pick_full_level(const struct kv_version *v, const struct kv_full *f,
    uint32_t level, const uint64_t *taken, size_t ntaken, struct kv_job *job,
    int *busy)
{
	uint32_t end = v->level_start[level + 1];
	int rc;

	if ((rc = gather_moves(job, v, level, HUGE_VAL, f, taken,
	    ntaken)) != 0)
		return rc;
	for (uint32_t i = v->level_start[level]; i < end; i++) {
		if (!is_meant(f, &v->table[i].info))
			continue;
		if (level == 0)
			rc = untaken_level0(job, v, i, 0, taken, ntaken);
		else if ((rc = gather_run(job, v, f, i, taken, ntaken)) == 0)
			rc = !is_job_taken(job, v, taken, ntaken);
		if (rc != 0)
			return rc;
		*busy = 1;
	}
	return 0;
}

/* Is something in it that a merge would drop, once nothing is below it? */
static int
has_waste(const struct kv_vtable *t)
{
	return t->info.deletes > 0 || t->info.expiring > 0;
}

uint64_t
kv_pick_due_full(const struct kv_version *v, const struct kv_full *f)
{
	uint64_t upper = 0, lower = 0, waste = 0;

	for (uint32_t i = 0; i < v->level_start[f->target + 1]; i++) {
		const struct kv_vtable *t = &v->table[i];

		if (!is_meant(f, &t->info))
			continue;
		if (t->level < f->target)
			upper += t->info.size;
		else
			lower += t->info.size;
		if (t->level == f->target && has_waste(t))
			waste += t->info.size;
	}
	return upper > 0 ? upper + lower : waste;
}

/*
 * Last, the tables of the target level that hold something to be dropped, or
 * are so small that neighbours fit into one; from the lowest key to the
 * highest, each once.
 */
static int
pick_full_target(const struct kv_version *v, const struct kv_shape *s,
    const struct kv_full *f, const uint64_t *taken, size_t ntaken,
    struct kv_job *job, int *busy)
{
	uint32_t end = v->level_start[f->target + 1];
	uint32_t i = v->level_start[f->target];
	int rc;

	if (f->cursor != NULL)
		i = kv_version_find(v, f->target, f->cursor, f->cursor_len);
	for (; i < end; i++) {
		const struct kv_vtable *t = &v->table[i];
		uint32_t k = i + 1;
		uint64_t bytes = t->info.size;

		if (!is_meant(f, &t->info) || (f->cursor != NULL && kv_key_cmp(
		    t->info.first, t->info.first_len, f->cursor,
		    f->cursor_len) <= 0))
			continue;
		for (; k < end && k - i < ALONG_MAX && bytes +
		    v->table[k].info.size <= s->table_bytes &&
		    is_meant(f, &v->table[k].info); k++)
			bytes += v->table[k].info.size;
		if (k == i + 1 && !has_waste(t))
			continue;
		begin_job(job, f->target);
		job->out = f->target;
		for (uint32_t n = i; n < k; n++)
			if ((rc = add_upper(job, v, n)) != 0)
				return rc;
		if (!is_job_taken(job, v, taken, ntaken))
			return 1;
		*busy = 1;
	}
	return 0;
}

int
kv_pick_full(const struct kv_version *v, const struct kv_shape *s,
    const struct kv_full *f, const uint64_t *taken, size_t ntaken,
    struct kv_job *job, int *busy)
{
	int rc;

	*busy = 0;
	for (uint32_t level = 0; level < f->target; level++) {
		rc = pick_full_level(v, f, level, taken, ntaken, job, busy);
		if (rc != 0 || *busy)
			return rc;
	}
	return pick_full_target(v, s, f, taken, ntaken, job, busy);
}
