#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "compact.h"
#include "count.h"
#include "heap.h"
#include "key.h"
#include "lock.h"
#include "record.h"

/*
 * One job.  Its tables' files are locked as long as it lasts, so that no
 * other process merges or moves them.  The lock is taken first and the newest
 * version looked at then: it must be the one that the job was picked from.
 */

struct claim {
	int *fd;
	uint32_t n;
};

static void
let_go(struct claim *c)
{
	for (uint32_t i = 0; i < c->n; i++)
		close(c->fd[i]);
	free(c->fd);
}

static int
note_taken(struct kv_work *w, uint64_t number)
{
	size_t room = w->taken_room != 0 ? 2 * w->taken_room : 16;
	void *p;

	if (w->ntaken == w->taken_room) {
		p = realloc(w->taken, room * sizeof(w->taken[0]));
		if (p == NULL)
			return kv_fail(&w->db->env, KEVO_ENOMEM,
			    "out of memory");
		w->taken = p;
		w->taken_room = room;
	}
	w->taken[w->ntaken++] = number;
	return 0;
}

/* 1, 0 if it is another's, KV_RETRY if it is gone, or an error. */
static int
lock_table(struct kv_work *w, uint64_t number, struct claim *c)
{
	struct kevo *db = w->db;
	char name[KV_TABLE_NAME_LEN];
	int fd;

	kv_table_name(name, number);
	fd = kv_openat(db->dir.fd, name, O_RDWR, 0);
	if (fd < 0 && errno == ENOENT) {
		kv_fail(&db->env, KEVO_ECORRUPT, "%s: missing",
		    kv_path(&db->dir, name));
		return KV_RETRY;
	}
	if (fd < 0)
		return kv_fail_errno(&db->env, kv_path(&db->dir, name),
		    "open");
	if (!kv_file_lock(fd)) {
		close(fd);
		w->p.busy = 1;
		return note_taken(w, number);
	}
	c->fd[c->n++] = fd;
	return 1;
}

/* 1 with all tables locked, or as above. */
static int
claim(struct kv_work *w, const struct kv_version *v, const struct kv_job *job,
    struct claim *c)
{
	int rc;

	c->n = 0;
	c->fd = malloc((job->ninput + 1) * sizeof(c->fd[0]));
	if (c->fd == NULL)
		return kv_fail(&w->db->env, KEVO_ENOMEM, "out of memory");
	for (uint32_t i = 0; i < job->ninput; i++)
		if ((rc = lock_table(w, v->table[job->input[i]].info.number,
		    c)) != 1)
			return rc;
	return 1;
}

/* ---- moving ------------------------------------------------------------ */

static int
install(struct kv_work *w, struct kv_version **v, const struct kv_job *job,
    struct kv_vtable *add, size_t nadd, uint64_t dropped_to)
{
	uint64_t *drop = malloc((job->ninput + 1) * sizeof(drop[0]));
	struct kv_change ch = { .drop = drop, .ndrop = job->ninput,
		.add = add, .nadd = nadd, .dropped_to = dropped_to };
	int rc;

	if (drop == NULL)
		return kv_fail(&w->db->env, KEVO_ENOMEM, "out of memory");
	for (uint32_t i = 0; i < job->ninput; i++)
		drop[i] = (*v)->table[job->input[i]].info.number;
	rc = kv_install(w, v, &ch);
	free(drop);
	/* Another job's table has come to lie in a gap between ours. */
	return rc == KEVO_EINVAL ? KV_RETRY : rc;
}

/* The keys of what is added lie in the version that it is moved from. */
static int
move(struct kv_work *w, struct kv_version **v, const struct kv_job *job)
{
	struct kv_vtable *add = malloc((job->ninput + 1) * sizeof(add[0]));
	struct kv_version *from = *v;
	int rc;

	if (add == NULL)
		return kv_fail(&w->db->env, KEVO_ENOMEM, "out of memory");
	from->refs++;
	for (uint32_t i = 0; i < job->ninput; i++) {
		add[i] = from->table[job->input[i]];
		add[i].level = job->out;
	}
	rc = install(w, v, job, add, job->ninput, 0);
	kv_version_unref(from);
	free(add);
	return rc;
}

/* ---- merging ----------------------------------------------------------- */

/* Tables of the version that follow each other, read as one. */
struct source {
	uint32_t next, end;	/* places in the job's inputs still to come */
	struct kv_table *t;
	struct kv_table_iter it;
	uint64_t size;		/* of the file, and what is not counted yet */
	uint64_t records;
};

struct merge {
	struct kv_work *w;
	const struct kv_version *v;
	const struct kv_job *job;
	struct source *source;	/* the newest first */
	uint32_t nsource;
	uint32_t *heap, nheap;
	uint8_t *last;		/* key of the record before */
	uint32_t last_len;
	int has_last;
};

static void
close_table(struct source *s)
{
	if (s->t == NULL)
		return;
	kv_table_iter_release(&s->it);
	kv_table_unref(s->t);
	s->t = NULL;
}

/* Go to the first record of the next table; 1, 0 if there is none. */
static int
open_next(struct merge *m, struct source *s)
{
	struct kv_env *env = &m->w->db->env;
	const struct kv_table_info *t;
	int rc;

	while (s->next < s->end) {
		t = &m->v->table[m->job->input[s->next++]].info;
		rc = kv_table_open(env, &m->w->db->dir, t->number, t->size,
		    t->hash, &s->t);
		if (rc == KEVO_NOTFOUND)
			return kv_fail(env, KEVO_ECORRUPT, "%s: table %llx of "
			    "version %llx is missing", m->w->db->path,
			    (unsigned long long)t->number,
			    (unsigned long long)m->v->number);
		if (rc != 0)
			return rc;
		kv_table_iter_init(&s->it, env, s->t, NULL);
		if ((rc = kv_work_step(m->w, t->size, 0)) != 0 ||
		    (rc = kv_table_first(&s->it)) != 0)
			return rc;
		close_table(s);
	}
	return 0;
}

static int
advance_source(struct merge *m, struct source *s)
{
	int rc = kv_table_next(&s->it);

	if (rc != 0)
		return rc;
	close_table(s);
	return open_next(m, s);
}

static int
before(const void *ctx, uint32_t a, uint32_t b)
{
	const struct merge *m = ctx;
	const struct kv_op *x = &m->source[a].it.op, *y = &m->source[b].it.op;
	int c = kv_key_cmp(x->key, x->klen, y->key, y->klen);

	return c != 0 ? c < 0 : a < b;
}

static void
add_source(struct merge *m, uint32_t from, uint32_t to)
{
	struct source *s = &m->source[m->nsource];

	if (from == to)
		return;
	s->next = from;
	s->end = to;
	m->nsource++;
}

static int
open_sources(struct merge *m)
{
	const struct kv_job *job = m->job;
	int rc;

	m->source = calloc(job->ninput + 1, sizeof(m->source[0]));
	m->heap = malloc((job->ninput + 1) * sizeof(m->heap[0]));
	m->last = malloc(KEVO_KEY_MAX);
	if (m->source == NULL || m->heap == NULL || m->last == NULL)
		return kv_fail(&m->w->db->env, KEVO_ENOMEM, "out of memory");
	if (job->level == 0)
		for (uint32_t i = 0; i < job->nupper; i++)
			add_source(m, i, i + 1);
	else
		add_source(m, 0, job->nupper);
	add_source(m, job->nupper, job->ninput);
	for (uint32_t i = 0; i < m->nsource; i++) {
		if ((rc = open_next(m, &m->source[i])) < 0 ||
		    rc == KEVO_FALSE)
			return rc;
		if (rc == 1)
			m->heap[m->nheap++] = i;
	}
	kv_heap_build(m->heap, m->nheap, before, m);
	return 0;
}

/* Is the record of the key that came last?  Then it is an older one. */
static int
is_older(struct merge *m, const struct kv_op *op)
{
	if (m->has_last && kv_key_cmp(op->key, op->klen, m->last,
	    m->last_len) == 0)
		return 1;
	memcpy(m->last, op->key, op->klen);
	m->last_len = op->klen;
	m->has_last = 1;
	return 0;
}

static int
merge_all(struct merge *m, struct kv_out *o)
{
	int rc;

	while (m->nheap > 0) {
		struct source *s = &m->source[m->heap[0]];

		if (is_older(m, &s->it.op))
			m->w->p.dropped++;
		else if ((rc = kv_out_add(o, s->it.seq, &s->it.op)) != 0)
			return rc;
		if ((rc = advance_source(m, s)) < 0 || rc == KEVO_FALSE)
			return rc;
		if (rc == 0)
			m->heap[0] = m->heap[--m->nheap];
		if (m->nheap > 1)
			kv_heap_sift(m->heap, m->nheap, 0, before, m);
	}
	return kv_out_finish(o);
}

static void
release_merge(struct merge *m)
{
	for (uint32_t i = 0; i < m->nsource; i++)
		close_table(&m->source[i]);
	free(m->source);
	free(m->heap);
	free(m->last);
}

static int
merge(struct kv_work *w, struct kv_version **v, const struct kv_job *job)
{
	struct merge m = { .w = w, .v = *v, .job = job };
	struct kv_version *from = *v;
	struct kv_out o;
	int rc, installing = 0;

	from->refs++;
	kv_out_init(&o, w, from, job->out, job->out + 1, job->bytes,
	    from->time_ns);
	w->merging = 1;
	if ((rc = open_sources(&m)) == 0)
		rc = merge_all(&m, &o);
	w->merging = 0;
	release_merge(&m);
	if (rc == 0) {
		rc = install(w, v, job, o.add, o.n, o.dropped_to);
		/* Refused: nothing was linked. */
		installing = rc != KV_RETRY;
	}
	kv_out_release(&o, !installing);
	kv_version_unref(from);
	return rc;
}

/* ---- one job ----------------------------------------------------------- */

/* 1 if *v is the newest version; else it becomes that. */
static int
is_newest(struct kv_work *w, struct kv_version **v)
{
	uint64_t number = (*v)->number;
	struct kv_version *now;
	int rc;

	if ((rc = kv_newest_version(w->db, &now)) != 0)
		return rc;
	kv_version_unref(*v);
	*v = now;
	return now->number == number;
}

/* Room for what the job writes; for a move that is a version. */
static int
has_room(struct kv_work *w, const struct kv_version *v,
    const struct kv_job *job)
{
	int rc = job->move ? kv_work_room(w, 0, "move tables") :
	    kv_work_room(w, job->bytes, "merge tables");

	if (rc == KV_RETRY)
		return note_taken(w, v->table[job->input[0]].info.number);
	return rc == 0 ? 1 : rc;
}

static int
run_claimed(struct kv_work *w, struct kv_version **v, const struct kv_job *job,
    int *did)
{
	uint64_t input;
	int rc;

	if ((rc = is_newest(w, v)) != 1 || (rc = has_room(w, *v, job)) != 1)
		return rc;
	input = (*v)->table[job->input[0]].info.number;
	kv_work_mark(w, &w->merge);
	rc = job->move ? move(w, v, job) : merge(w, v, job);
	if (rc == 0) {
		*did = 1;
		w->p.jobs++;
		if (job->move)
			kv_count(w->db->ctl, KV_STAT_COMPACT_MOVES,
			    job->ninput);
		else
			kv_work_count(w, &w->merge, 0);
	}
	/* Refused: this call does not come back to it. */
	return rc == KV_RETRY ? note_taken(w, input) : rc;
}

int
kv_run(struct kv_work *w, struct kv_version **v, const struct kv_job *job,
    int *did)
{
	struct claim c;
	int rc;

	*did = 0;
	if ((rc = kv_work_check(w)) != 0)
		return rc;
	rc = claim(w, *v, job, &c);
	if (rc == 1)
		rc = run_claimed(w, v, job, did);
	else if (rc == KV_RETRY && (rc = is_newest(w, v)) == 1)
		rc = KEVO_ECORRUPT;	/* the message says which is gone */
	let_go(&c);
	return rc;
}
