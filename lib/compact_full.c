#include <math.h>

#include "compact_job.h"
#include "key.h"

/*
 * A full run: level by level, everything that it means goes to the level that
 * is its target; then what is there is merged where that gives something.
 */

uint32_t
kv_full_target(const struct kv_version *v, const struct kv_shape *s)
{
	uint32_t target = 1, level;
	double bytes = 0;

	for (level = 0; level < KV_LEVELS; level++) {
		bytes += (double)kv_level_bytes(v, level);
		if (level > target && v->level_start[level] <
		    v->level_start[level + 1])
			target = level;
	}
	while (target + 1 < s->levels && bytes > kv_level_limit(s, target))
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

	kv_job_begin(job, level);
	do
		if ((rc = kv_job_add(job, v, i)) != 0)
			return rc;
	while (++i < end && job->nupper < KV_ALONG_MAX &&
	    job->bytes + v->table[i].info.size <= f->run_bytes &&
	    kv_is_meant(f, &v->table[i].info) &&
	    !kv_table_is_taken(v, i, taken, ntaken));
	return kv_job_complete(job, v);
}

static int
pick_full_level(const struct kv_version *v, const struct kv_full *f,
    uint32_t level, const uint64_t *taken, size_t ntaken, struct kv_job *job,
    int *busy)
{
	uint32_t end = v->level_start[level + 1];
	int rc;

	if ((rc = kv_job_moves(job, v, level, HUGE_VAL, f, taken,
	    ntaken)) != 0)
		return rc;
	for (uint32_t i = v->level_start[level]; i < end; i++) {
		if (!kv_is_meant(f, &v->table[i].info))
			continue;
		if (level == 0)
			rc = kv_job_level0(job, v, i, 0, taken, ntaken);
		else if ((rc = gather_run(job, v, f, i, taken, ntaken)) == 0)
			rc = !kv_job_is_taken(job, v, taken, ntaken);
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

		if (!kv_is_meant(f, &t->info))
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

		if (!kv_is_meant(f, &t->info) || (f->cursor != NULL &&
		    kv_key_cmp(t->info.first, t->info.first_len, f->cursor,
		    f->cursor_len) <= 0))
			continue;
		for (; k < end && k - i < KV_ALONG_MAX && bytes +
		    v->table[k].info.size <= s->table_bytes &&
		    kv_is_meant(f, &v->table[k].info); k++)
			bytes += v->table[k].info.size;
		if (k == i + 1 && !has_waste(t))
			continue;
		kv_job_begin(job, f->target);
		job->out = f->target;
		for (uint32_t n = i; n < k; n++)
			if ((rc = kv_job_add(job, v, n)) != 0)
				return rc;
		if (!kv_job_is_taken(job, v, taken, ntaken))
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
