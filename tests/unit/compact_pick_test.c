/*
 * compact_pick_test: whatever levels look like, a job takes what it must and
 * nothing that others have, jobs that have nothing in common write to
 * different places, and an end is reached.
 *
 * Tables are made up; a job is carried out on their ranges alone.
 */
#include "compact.h"

#include "coding.h"
#include "key.h"
#include "tap.h"

#define TABLES	4000

/* ---- made-up tables ---------------------------------------------------- */

struct made {
	uint32_t level, first, last;	/* keys are numbers */
	uint64_t number, size, min_seq, max_seq, count, deletes;
	uint8_t key[2][4];
};

static struct made made[TABLES];
static uint32_t nmade;
static uint64_t next_number, next_seq;

static void
put_be32(uint8_t *p, uint32_t v)
{
	for (int i = 0; i < 4; i++)
		p[i] = (uint8_t)(v >> (24 - 8 * i));
}

static struct made *
make(uint32_t level, uint32_t first, uint32_t last, uint64_t size)
{
	struct made *m = &made[nmade++];

	if (nmade == TABLES)
		tap_bail("too many tables");
	memset(m, 0, sizeof(*m));
	m->level = level;
	m->first = first;
	m->last = last;
	m->number = ++next_number;
	m->size = size;
	m->min_seq = m->max_seq = 1;
	m->count = 10;
	return m;
}

static int
order(const void *a, const void *b)
{
	return kv_version_ordered(a, b) ? -1 : kv_version_ordered(b, a) ? 1 : 0;
}

static struct kv_version *
version(void)
{
	struct kv_version *v = calloc(1, sizeof(*v) + nmade *
	    sizeof(v->table[0]));
	uint32_t i = 0;

	v->refs = 1;
	v->ntables = nmade;
	for (uint32_t k = 0; k < nmade; k++) {
		struct made *m = &made[k];
		struct kv_vtable *t = &v->table[k];

		put_be32(m->key[0], m->first);
		put_be32(m->key[1], m->last);
		t->level = m->level;
		t->info.number = m->number;
		t->info.size = m->size;
		t->info.count = m->count;
		t->info.deletes = m->deletes;
		t->info.min_seq = m->min_seq;
		t->info.max_seq = m->max_seq;
		t->info.first = m->key[0];
		t->info.last = m->key[1];
		t->info.first_len = t->info.last_len = 4;
	}
	qsort(v->table, nmade, sizeof(v->table[0]), order);
	for (uint32_t level = 0; level < KV_LEVELS; level++) {
		v->level_start[level] = i;
		while (i < nmade && v->table[i].level == level)
			i++;
	}
	v->level_start[KV_LEVELS] = nmade;
	for (i = 1; i < nmade; i++)
		expect(kv_version_ordered(&v->table[i - 1], &v->table[i]));
	return v;
}

static struct made *
find(uint64_t number)
{
	for (uint32_t i = 0; i < nmade; i++)
		if (made[i].number == number)
			return &made[i];
	tap_bail("no table %llu", (unsigned long long)number);
}

/* ---- what holds of a job ----------------------------------------------- */

static int
overlap(const struct kv_table_info *a, const struct kv_table_info *b)
{
	return kv_key_cmp(a->first, 4, b->last, 4) <= 0 &&
	    kv_key_cmp(b->first, 4, a->last, 4) <= 0;
}

static int
has(const struct kv_job *job, uint32_t from, uint32_t to, uint32_t i)
{
	for (; from < to; from++)
		if (job->input[from] == i)
			return 1;
	return 0;
}

static void
check_level0(const struct kv_version *v, const struct kv_job *job)
{
	for (uint32_t n = 0; n < job->nupper; n++)
		for (uint32_t i = job->input[n] + 1; i < v->level_start[1];
		    i++)
			if (overlap(&v->table[i].info,
			    &v->table[job->input[n]].info))
				expect(has(job, 0, job->nupper, i) &&
				    !job->move);
}

/* All tables of the level below that lie between the first and the last key
 * of the upper ones, and nothing else. */
static void
check_lower(const struct kv_version *v, const struct kv_job *job)
{
	struct kv_table_info h = v->table[job->input[0]].info;

	for (uint32_t n = 1; n < job->nupper; n++) {
		const struct kv_table_info *t = &v->table[job->input[n]].info;

		if (kv_key_cmp(t->first, 4, h.first, 4) < 0)
			h.first = t->first;
		if (kv_key_cmp(t->last, 4, h.last, 4) > 0)
			h.last = t->last;
	}
	for (uint32_t i = v->level_start[job->out];
	    i < v->level_start[job->out + 1]; i++)
		expect(has(job, job->nupper, job->ninput, i) ==
		    overlap(&v->table[i].info, &h));
}

static void
check_job(const struct kv_version *v, const struct kv_job *job,
    const uint64_t *taken, size_t ntaken)
{
	expect(job->nupper > 0 && job->out < KV_LEVELS);
	expect(job->out == job->level || job->out == job->level + 1);
	for (uint32_t n = 0; n < job->ninput; n++) {
		const struct kv_vtable *t = &v->table[job->input[n]];

		expect(t->level == (n < job->nupper ? job->level : job->out));
		for (size_t k = 0; k < ntaken; k++)
			expect(taken[k] != t->info.number);
	}
	if (job->level == 0)
		check_level0(v, job);
	if (job->move)
		expect(job->ninput == job->nupper);
	else if (job->out > job->level)
		check_lower(v, job);
}

/* ---- carrying it out --------------------------------------------------- */

static void
remove_made(uint64_t number)
{
	struct made *m = find(number);

	*m = made[--nmade];
}

static int
by_number(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

/* Replace the inputs by tables that end where inputs ended. */
static void
merge(const struct kv_version *v, const struct kv_job *job,
    const struct kv_shape *s)
{
	static uint32_t end[TABLES];
	uint32_t n = 0, first = UINT32_MAX, parts, last_level = 1;
	uint64_t bytes = 0, deletes = 0, min_seq = UINT64_MAX, max_seq = 0;

	for (uint32_t i = 0; i < job->ninput; i++) {
		struct made *m = find(v->table[job->input[i]].info.number);

		if (m->first < first)
			first = m->first;
		if (m->min_seq < min_seq)
			min_seq = m->min_seq;
		if (m->max_seq > max_seq)
			max_seq = m->max_seq;
		end[n++] = m->last;
		bytes += m->size;
		deletes += m->deletes;
		remove_made(v->table[job->input[i]].info.number);
	}
	for (uint32_t i = 0; i < nmade; i++)
		last_level &= made[i].level <= job->out;
	qsort(end, n, sizeof(end[0]), by_number);
	parts = (uint32_t)(bytes / s->table_bytes) + 1;
	for (uint32_t i = 0; i < n; i++) {
		struct made *m;

		if (i + 1 < n && (end[i] < first || (i * parts) / n ==
		    ((i + 1) * parts) / n))
			continue;
		if (end[i] < first)
			break;
		m = make(job->out, first, end[i], bytes / parts + 1);
		m->min_seq = min_seq;
		m->max_seq = max_seq;
		m->deletes = last_level ? 0 : deletes > 0 ? m->count : 0;
		first = end[i] + 1;
	}
}

static void
carry_out(const struct kv_version *v, const struct kv_job *job,
    const struct kv_shape *s)
{
	if (!job->move) {
		merge(v, job, s);
		return;
	}
	for (uint32_t i = 0; i < job->ninput; i++)
		find(v->table[job->input[i]].info.number)->level = job->out;
}

/* A flush: a few tables beside each other. */
static void
flush(const struct kv_shape *s)
{
	uint32_t n = 1 + (uint32_t)tap_below(3), width, at;
	uint64_t seq = next_seq + 1;

	width = tap_below(3) == 0 ? 100 : (uint32_t)tap_below(1000000) + 10;
	at = (uint32_t)tap_below(4000000);
	next_seq += 100;
	for (uint32_t i = 0; i < n; i++) {
		struct made *m = make(0, at, at + width, s->table_bytes / 2 +
		    tap_below(s->table_bytes));

		m->min_seq = seq;
		m->max_seq = next_seq - tap_below(50);
		m->deletes = tap_below(6) == 0 ? m->count : 0;
		at += width + 1 + (uint32_t)tap_below(10);
	}
}

/* ---- tests ------------------------------------------------------------- */

static size_t
take_some(const struct kv_version *v, uint64_t *taken)
{
	size_t n = 0;

	for (uint32_t i = 0; i < v->ntables && n < 60; i++)
		if (tap_below(6) == 0)
			taken[n++] = v->table[i].info.number;
	return n;
}

static void
random_shape(struct kv_shape *s)
{
	s->level0_tables = 1 + tap_below(4);
	s->level_bytes = 1000 + tap_below(4000);
	s->level_ratio = 2 + tap_below(4);
	s->table_bytes = 200 + tap_below(400);
	s->levels = 2 + (uint32_t)tap_below(6);
}

/* Jobs until nothing is due, some of them while others have tables. */
static int
settle(const struct kv_shape *s)
{
	struct kv_job job = { .room = 0 };
	uint64_t taken[60];
	int n = 0, rc, busy;

	for (;; n++) {
		struct kv_version *v = version();
		size_t ntaken = tap_below(3) == 0 ? take_some(v, taken) : 0;

		rc = kv_pick(v, s, taken, ntaken, &job, &busy);
		if (rc == 0 && ntaken > 0) {
			ntaken = 0;
			rc = kv_pick(v, s, taken, 0, &job, &busy);
			expect(rc == 0 || rc == 1);
		}
		if (rc == 1) {
			check_job(v, &job, taken, ntaken);
			carry_out(v, &job, s);
		} else {
			expect(rc == 0 && !busy);
			expect(kv_pick_due(v, s) == 0);
			expect(kv_depth(v) < s->level0_tables ||
			    v->level_start[1] == 0);
		}
		kv_version_unref(v);
		if (rc != 1 || n > 3000 || tap_bad)
			break;
	}
	kv_job_release(&job);
	return expect(n <= 3000);
}

static void
test_due(void)
{
	struct kv_shape s;

	for (int round = 0; round < 30 && !tap_bad; round++) {
		nmade = 0;
		random_shape(&s);
		for (int i = 0; i < 40 && !tap_bad; i++) {
			for (uint64_t k = tap_below(4); k > 0; k--)
				flush(&s);
			settle(&s);
		}
	}
	tap_report("what is due comes to an end, and each job is whole");
}

static void
test_full(void)
{
	struct kv_job job = { .room = 0 };
	uint8_t cursor[64];
	struct kv_shape s;
	int rc = 0, busy;

	for (int round = 0; round < 30 && !tap_bad; round++) {
		struct kv_full f = { .to_seq = UINT64_MAX, .cursor = cursor };
		struct kv_version *v;
		int n = 0;

		nmade = 0;
		random_shape(&s);
		for (int i = 0; i < 30; i++) {
			flush(&s);
			if (tap_below(3) == 0)
				settle(&s);
		}
		f.run_bytes = tap_below(3) * s.table_bytes;
		v = version();
		f.target = kv_full_target(v, &s);
		for (; !tap_bad && n < 3000 && (rc = kv_pick_full(v, &s, &f,
		    NULL, 0, &job, &busy)) == 1; n++) {
			check_job(v, &job, NULL, 0);
			if (job.out == job.level) {
				f.cursor_len = 4;
				memcpy(cursor, v->table[job.input[
				    job.ninput - 1]].info.last, 4);
			}
			carry_out(v, &job, &s);
			kv_version_unref(v);
			v = version();
		}
		expect(rc == 0 && n < 3000);
		for (uint32_t i = 0; i < nmade; i++)
			expect(made[i].level == f.target);
		expect(kv_pick_due_full(v, &f) == 0);
		kv_version_unref(v);
	}
	kv_job_release(&job);
	tap_report("a full run ends with one level");
}

static void
test_full_parts(void)
{
	struct kv_job job = { .room = 0 };
	struct kv_shape s = { .level0_tables = 4, .level_bytes = 1000,
		.level_ratio = 10, .table_bytes = 300, .levels = 7 };
	uint8_t from[4], to[4];
	struct kv_full f = { .to_seq = 50, .target = 1 };
	struct kv_version *v;
	int busy;

	nmade = 0;
	make(0, 100, 200, 300)->max_seq = 60;
	make(0, 300, 400, 300)->max_seq = 60;
	made[1].min_seq = 51;		/* written after it began */
	v = version();
	expect(kv_pick_full(v, &s, &f, NULL, 0, &job, &busy) == 1);
	expect(job.nupper == 1 && v->table[job.input[0]].info.min_seq == 1);
	put_be32(from, 201);
	put_be32(to, 300);
	f.to_seq = UINT64_MAX;
	f.from = from;
	f.to = to;
	f.from_len = f.to_len = 4;
	expect(kv_pick_full(v, &s, &f, NULL, 0, &job, &busy) == 0 && !busy);
	put_be32(to, 301);
	expect(kv_pick_full(v, &s, &f, NULL, 0, &job, &busy) == 1);
	expect(kv_pick_full(v, &s, &f, &made[1].number, 1, &job, &busy) == 0 &&
	    busy);
	kv_version_unref(v);
	kv_job_release(&job);
	tap_report("a full run of a range, and of what there was");
}

static void
test_moves(void)
{
	struct kv_job job = { .room = 0 };
	struct kv_shape s = { .level0_tables = 2, .level_bytes = 1000,
		.level_ratio = 10, .table_bytes = 300, .levels = 7 };
	struct kv_version *v;
	int busy;

	nmade = 0;
	make(0, 100, 200, 300)->max_seq = 10;
	make(0, 150, 250, 300)->max_seq = 20;
	make(0, 300, 400, 300)->max_seq = 30;
	make(1, 500, 600, 300);
	v = version();
	expect(kv_depth(v) == 2);
	/* The oldest has nothing below it, and so has the one apart. */
	expect(kv_pick(v, &s, NULL, 0, &job, &busy) == 1);
	expect(job.move && job.nupper == 2);
	for (uint32_t i = 0; i < job.nupper; i++)
		expect(v->table[job.input[i]].info.max_seq != 20);
	kv_version_unref(v);
	/* A table of deletions is merged, so that they go. */
	made[0].deletes = made[2].deletes = 5;
	v = version();
	expect(kv_pick(v, &s, NULL, 0, &job, &busy) == 1);
	expect(!job.move && job.nupper == 2);
	kv_version_unref(v);
	kv_job_release(&job);
	tap_report("what has nothing beside it is moved");
}

static void
test_stale(void)
{
	struct kv_job job = { .room = 0 };
	struct kv_shape s = { .level0_tables = 4, .level_bytes = 100000,
		.level_ratio = 10, .table_bytes = 300, .levels = 4 };
	struct kv_version *v;
	int busy;

	nmade = 0;
	make(1, 100, 200, 300);
	make(1, 300, 400, 300)->deletes = 6;
	make(2, 310, 320, 300);
	make(3, 300, 400, 300)->deletes = 9;
	v = version();
	expect(kv_pick(v, &s, NULL, 0, &job, &busy) == 1);
	expect(job.level == 1 && job.nupper == 1 && job.ninput == 2);
	expect(v->table[job.input[0]].info.deletes == 6);
	kv_version_unref(v);
	kv_job_release(&job);
	tap_report("a table of deletions goes down, though its level is small");
}

int
main(void)
{
	tap_start("pick");
	test_due();
	test_full();
	test_full_parts();
	test_moves();
	test_stale();
	return tap_end();
}
