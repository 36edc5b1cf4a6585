#include <stdlib.h>
#include <string.h>

#include "compact_job.h"
#include "key.h"

/*
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

/* Tables that are moved as they are, in one new version. */
#define MOVES_MAX	64

static int
beside(const struct kv_table_info *a, const struct kv_table_info *b)
{
	return kv_key_cmp(a->first, a->first_len, b->last, b->last_len) <= 0 &&
	    kv_key_cmp(b->first, b->first_len, a->last, a->last_len) <= 0;
}

/* ---- jobs -------------------------------------------------------------- */

void
kv_job_release(struct kv_job *job)
{
	free(job->input);
	memset(job, 0, sizeof(*job));
}

void
kv_job_begin(struct kv_job *job, uint32_t level)
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

int
kv_job_add(struct kv_job *job, const struct kv_version *v, uint32_t i)
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

void
kv_tables_beside(const struct kv_version *v, uint32_t level,
    const struct kv_table_info *t, uint32_t *from, uint32_t *to)
{
	*from = *to = kv_version_find(v, level, t->first, t->first_len);
	while (*to < v->level_start[level + 1] &&
	    beside(&v->table[*to].info, t))
		++*to;
}

int
kv_job_complete(struct kv_job *job, const struct kv_version *v)
{
	struct kv_table_info h;
	uint32_t from, to;
	int rc;

	qsort(job->input, job->nupper, sizeof(job->input[0]), by_place);
	if (job->out == job->level)
		return 0;
	hull(job, v, &h);
	kv_tables_beside(v, job->out, &h, &from, &to);
	for (; from < to; from++)
		if ((rc = add_input(job, v, from)) != 0)
			return rc;
	return 0;
}

int
kv_table_is_taken(const struct kv_version *v, uint32_t i, const uint64_t *taken,
    size_t ntaken)
{
	for (size_t k = 0; k < ntaken; k++)
		if (taken[k] == v->table[i].info.number)
			return 1;
	return 0;
}

int
kv_job_is_taken(const struct kv_job *job, const struct kv_version *v,
    const uint64_t *taken, size_t ntaken)
{
	for (uint32_t i = 0; i < job->ninput; i++)
		if (kv_table_is_taken(v, job->input[i], taken, ntaken))
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

	kv_tables_beside(v, t->level + 1, n, &from, &to);
	return from == to && (n->deletes == 0 || kv_levels_overlap(v,
	    t->level + 2, KV_LEVELS - 1, n->first, n->first_len, n->last,
	    n->last_len));
}

/* ---- moves ------------------------------------------------------------- */

int
kv_is_meant(const struct kv_full *f, const struct kv_table_info *t)
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

int
kv_job_moves(struct kv_job *job, const struct kv_version *v, uint32_t level,
    double over, const struct kv_full *f, const uint64_t *taken,
    size_t ntaken)
{
	int rc;

	kv_job_begin(job, level);
	for (uint32_t i = v->level_start[level + 1];
	    i-- > v->level_start[level];) {
		if ((double)job->bytes > over || job->nupper == MOVES_MAX)
			break;
		if ((f == NULL || kv_is_meant(f, &v->table[i].info)) &&
		    may_move(v, i) && !hides_older(v, i) &&
		    !kv_table_is_taken(v, i, taken, ntaken) &&
		    (rc = kv_job_add(job, v, i)) != 0)
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

	kv_job_begin(job, 0);
	if ((rc = kv_job_add(job, v, seed)) != 0)
		return rc;
	do {
		grown = 0;
		for (uint32_t i = from; i < end; i++) {
			if (is_input(job, i) || !is_beside_job(job, v, i))
				continue;
			if ((rc = kv_job_add(job, v, i)) != 0)
				return rc;
			grown = 1;
		}
	} while (grown);
	return kv_job_complete(job, v);
}

/* The place after the oldest table of the job that is taken. */
static uint32_t
after_taken(const struct kv_job *job, const struct kv_version *v,
    const uint64_t *taken, size_t ntaken)
{
	uint32_t i = job->nupper;

	while (i > 0 && !kv_table_is_taken(v, job->input[i - 1], taken, ntaken))
		i--;
	return i > 0 ? job->input[i - 1] + 1 : 0;
}

int
kv_job_level0(struct kv_job *job, const struct kv_version *v, uint32_t seed,
    uint32_t from, const uint64_t *taken, size_t ntaken)
{
	int rc;

	while (from <= seed) {
		if ((rc = gather_level0(job, v, seed, from)) != 0)
			return rc;
		if (!kv_job_is_taken(job, v, taken, ntaken))
			return 1;
		if ((from = after_taken(job, v, taken, ntaken)) == 0)
			break;
	}
	return 0;
}
