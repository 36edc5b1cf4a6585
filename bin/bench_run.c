/*
 * bench_run: processes that do the same work at the same time.
 *
 * Two pipes hold them together.  A child writes a byte into the first one
 * when it has opened the database, and then reads from the second, which
 * ends when the parent closes it: that starts all of them.  The first pipe
 * ends when the last child has.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"
#include "cli_tool.h"
#include "format.h"

/* What all processes of a run share. */
struct shared {
	_Atomic int failed;		/* status of who has told of it */
	struct bench_slot slot[];
};

static struct {
	struct shared *shared;
	size_t len;
	unsigned count;
	pid_t *pid;			/* 0: reaped */
	int status;			/* the first bad one, or 0 */
	int ready[2], go[2];
} run;

uint64_t
bench_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

/* ---- what measuring costs ---------------------------------------------- */

/* The least that two readings are apart: what is subtracted must not be more
 * than it was. */
static uint64_t
measure_clock(void)
{
	uint64_t a, b, least = UINT64_MAX;
	int i;

	for (i = 0; i < 10000; i++) {
		a = bench_now();
		b = bench_now();
		if (b - a < least)
			least = b - a;
	}
	return least;
}

static double
measure_harness(const struct bench *b)
{
	uint8_t *key = malloc(bench_data_klen(b->data) + 1);
	uint8_t *value = malloc(bench_data_vlen(b->data) + 1);
	struct bench_picker pick;
	uint64_t begin, n, i;

	if (key == NULL || value == NULL)
		cli_die(EX_IOERR_, "out of memory");
	bench_picker_init(&pick, b->dist, &b->order, b->shape.seed, 0);
	begin = bench_now();
	for (n = 0; n < 20000 && bench_now() - begin < 20000000; n++) {
		i = bench_pick(&pick);
		bench_data_key(b->data, i, key);
		if (!b->existing)
			bench_data_value(b->data, i, 1, value);
	}
	begin = bench_now() - begin;
	free(key);
	free(value);
	return (double)begin / (double)n - (double)b->timer_ns;
}

void
bench_calibrate(struct bench *b)
{
	b->timer_ns = measure_clock();
	b->harness_ns = measure_harness(b);
}

/* ---- failures of a worker ---------------------------------------------- */

void
bench_first_to_fail(int status)
{
	int none = 0;

	if (!atomic_compare_exchange_strong(&run.shared->failed, &none,
	    status))
		_exit(status);
}

void
bench_fail(struct bench_worker *w, int rc)
{
	bench_first_to_fail(cli_status(rc));
	cli_fail(w->db, rc);
}

void
bench_wrong(struct bench_worker *w, const void *key, size_t klen,
    const char *what)
{
	bench_first_to_fail(EX_SOFTWARE_);
	cli_die(EX_SOFTWARE_, "%s: %s: wrong answer: key %s: %s", w->b->db,
	    w->test->name, format_show_key(key, klen), what);
}

/* ---- a worker ---------------------------------------------------------- */

static void *
room(uint64_t count, size_t size)
{
	void *p = calloc(count > 0 ? count : 1, size > 0 ? size : 1);

	if (p == NULL)
		cli_die(EX_IOERR_, "out of memory");
	return p;
}

static void
worker_init(struct bench_worker *w, const struct bench *b,
    const struct bench_test *t, unsigned id)
{
	uint64_t total = t->total(b), n = b->batch;

	memset(w, 0, sizeof(*w));
	w->b = b;
	w->test = t;
	w->data = b->data;
	w->id = id;
	w->mine = total / run.count + (id < total % run.count);
	w->rng.state = bench_mix(b->shape.seed + 1000003 * id);
	bench_picker_init(&w->pick, b->dist, &b->order, w->rng.state,
	    b->order.n / run.count * id);
	w->n = 1;
	w->kroom = bench_data_klen(b->data) + 1;
	w->vroom = bench_data_vlen(b->data) + 1;
	w->idx = room(n + 1, sizeof(*w->idx));
	w->version = room(n + 1, sizeof(*w->version));
	w->klen = room(n + 1, sizeof(*w->klen));
	w->vlen = room(n + 1, sizeof(*w->vlen));
	w->key = room(n + 1, w->kroom);
	w->value = room(n + 1, w->vroom);
	w->expected = room(1, w->vroom);
}

static void
worker_open(struct bench_worker *w)
{
	struct cli_open_opts o = w->b->open;
	int rc;

	o.flags = w->test->writes ? 0 : KEVO_RDONLY;
	o.settings = NULL;
	cli_guard_maps(w->b->db);
	w->db = cli_open(w->b->db, &o);
	if (w->test->writes && (rc = kevo_batch_new(w->db, &w->batch)) != 0)
		bench_fail(w, rc);
}

/* One operation: 1 if its time was taken, which is the end of it then. */
static int
operate(struct bench_worker *w, uint64_t *now)
{
	const struct bench_test *t = w->test;
	int timed = w->i % t->every == 0, rc;
	uint64_t begin = 0, took;

	t->draw(w);
	if (timed)
		begin = bench_now();
	rc = t->act(w);
	if (timed) {
		*now = bench_now();
		took = *now - begin;
		bench_hist_add(&w->slot->part[w->part],
		    took > w->b->timer_ns ? took - w->b->timer_ns : 0);
	}
	if (rc < 0)
		bench_fail(w, rc);
	if (t->check != NULL)
		t->check(w);
	return timed;
}

/* Where one process failed, the others need not go on. */
static void
give_up_with_others(void)
{
	int status = atomic_load_explicit(&run.shared->failed,
	    memory_order_relaxed);

	if (status != 0)
		_exit(status);
}

static void
work(struct bench_worker *w)
{
	uint64_t now = bench_now();

	for (w->i = 0; w->mine == 0 || w->i < w->mine; w->i += w->n) {
		give_up_with_others();
		if (now >= w->deadline_ns) {
			w->slot->limited = w->mine != 0;
			break;
		}
		if (!operate(w, &now) && w->i % 64 == 0)
			now = bench_now();
		w->slot->ops += w->n;
		atomic_store_explicit(&w->slot->done, w->slot->ops,
		    memory_order_relaxed);
	}
}

/* With batch, and while nobody waits, the disk has yet to be waited for. */
static void
finish(struct bench_worker *w)
{
	int rc;

	if (w->test->end != NULL)
		w->test->end(w);
	if (w->test->writes && kevo_default_sync(w->db) == KEVO_SYNC_BATCH &&
	    (rc = kevo_sync(w->db)) != 0)
		bench_fail(w, rc);
	w->slot->end_ns = bench_now();
	w->slot->changed = bench_data_changed(w->data);
}

static void __attribute__((noreturn))
child(const struct bench *b, const struct bench_test *t, unsigned id)
{
	struct bench_worker w;
	char c = 0;
	int rc;

	worker_init(&w, b, t, id);
	w.slot = &run.shared->slot[id];
	worker_open(&w);
	if (t->begin != NULL)
		t->begin(&w);
	if (write(run.ready[1], &c, 1) != 1 || read(run.go[0], &c, 1) != 0)
		_exit(EX_SOFTWARE_);
	w.slot->begin_ns = bench_now();
	w.deadline_ns = b->limit_ms < 0 ? UINT64_MAX :
	    w.slot->begin_ns + (uint64_t)b->limit_ms * 1000000;
	/* No more processes than operations. */
	if (t->total(b) == 0 || w.mine > 0)
		work(&w);
	finish(&w);
	kevo_batch_free(w.batch);
	if ((rc = kevo_close(w.db)) != 0) {
		w.db = NULL;
		bench_fail(&w, rc);
	}
	_exit(0);
}

/* A child has nothing to clean up, and dies like any other program. */
static void
become_child(pid_t parent)
{
	static const int sig[] = { SIGINT, SIGTERM, SIGHUP, SIGALRM, SIGPIPE };
	size_t i;

	cli_at_exit(NULL);
	cli_progress_mode("never");
	for (i = 0; i < sizeof(sig) / sizeof(sig[0]); i++)
		signal(sig[i], SIG_DFL);
	signal(SIGUSR1, SIG_IGN);
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent)
		_exit(EX_SOFTWARE_);
	close(run.ready[0]);
	close(run.go[1]);
}

/* ---- the parent -------------------------------------------------------- */

void
bench_run_abort(void)
{
	unsigned i;

	for (i = 0; i < run.count; i++)
		if (run.pid[i] > 0)
			kill(run.pid[i], SIGKILL);
	for (i = 0; i < run.count; i++)
		if (run.pid[i] > 0)
			while (waitpid(run.pid[i], NULL, 0) < 0 &&
			    errno == EINTR)
				;
	run.count = 0;
}

static void
start(const struct bench *b, const struct bench_test *t)
{
	pid_t parent = getpid();
	unsigned i, n = t->alone ? 1 : b->processes;

	run.len = sizeof(*run.shared) + n * sizeof(run.shared->slot[0]);
	run.shared = mmap(NULL, run.len, PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (run.shared == MAP_FAILED)
		cli_die(EX_IOERR_, "out of memory");
	run.pid = room(n, sizeof(*run.pid));
	if (pipe2(run.ready, O_CLOEXEC) != 0 || pipe2(run.go, O_CLOEXEC) != 0)
		cli_die(EX_IOERR_, "pipe: %s", strerror(errno));
	cli_out_flush();
	run.count = n;
	run.status = 0;
	for (i = 0; i < n; i++) {
		run.pid[i] = fork();
		if (run.pid[i] < 0)
			cli_die(EX_IOERR_, "fork: %s", strerror(errno));
		if (run.pid[i] == 0) {
			become_child(parent);
			child(b, t, i);
		}
	}
	close(run.ready[1]);
	close(run.go[0]);
}

static void
show(const char *verb)
{
	uint64_t sum = 0;
	unsigned i;

	for (i = 0; i < run.count; i++)
		sum += atomic_load_explicit(&run.shared->slot[i].done,
		    memory_order_relaxed);
	cli_progress_seldom(verb, sum);
}

/* Reap who has ended; the others are told if it was a failure. */
static void
look(void)
{
	int status, none = 0;
	unsigned i;

	for (i = 0; i < run.count; i++) {
		if (run.pid[i] == 0 ||
		    waitpid(run.pid[i], &status, WNOHANG) != run.pid[i])
			continue;
		run.pid[i] = 0;
		if (status == 0)
			continue;
		if (run.status == 0)
			run.status = status;
		atomic_compare_exchange_strong(&run.shared->failed, &none,
		    EX_SOFTWARE_);
	}
}

/* A byte from the children, or the end of all of them: what read() says; -1
 * if one of them has failed. */
static ssize_t
hear(const char *verb)
{
	struct pollfd p = { .fd = run.ready[0], .events = POLLIN };
	char c;
	int n;

	for (;;) {
		n = poll(&p, 1, 50);
		if (cli_stopped())
			cli_die_by_signal();
		if (n > 0)
			return read(run.ready[0], &c, 1);
		if (n < 0 && errno != EINTR)
			cli_die(EX_IOERR_, "poll: %s", strerror(errno));
		show(verb);
		look();
		if (run.status != 0)
			return -1;
	}
}

static void __attribute__((noreturn))
died(const struct bench_test *t, int status)
{
	if (WIFEXITED(status))		/* it has said why */
		cli_end_early(WEXITSTATUS(status));
	cli_die(EX_SOFTWARE_, "%s: a process was ended by signal %d", t->name,
	    WTERMSIG(status));
}

static void
reap(const struct bench_test *t)
{
	int left = 1;
	unsigned i;

	while (left) {
		look();
		for (left = 0, i = 0; i < run.count; i++)
			left |= run.pid[i] != 0;
		if (left)
			nanosleep(&(struct timespec){ 0, 1000000 }, NULL);
	}
	if (run.status != 0)
		died(t, run.status);
	close(run.ready[0]);
	free(run.pid);
}

/* ---- results ----------------------------------------------------------- */

static void
add(struct bench_result *r, const struct bench_slot *s)
{
	unsigned i;

	r->ops += s->ops;
	r->records += s->records;
	r->bytes += s->bytes;
	r->limited |= s->limited;
	for (i = 0; i < BENCH_PARTS; i++)
		bench_hist_merge(&r->latency, &s->part[i]);
	for (i = 0; i < r->facts; i++)
		r->fact[i] += s->fact[i];
}

static double
wall(void)
{
	uint64_t begin = UINT64_MAX, end = 0;
	unsigned i;

	for (i = 0; i < run.count; i++) {
		if (run.shared->slot[i].begin_ns < begin)
			begin = run.shared->slot[i].begin_ns;
		if (run.shared->slot[i].end_ns > end)
			end = run.shared->slot[i].end_ns;
	}
	return (double)(end - begin) / 1e9;
}

static void
result(const struct bench_test *t, struct bench_result *r)
{
	unsigned i;

	memset(r, 0, sizeof(*r));
	snprintf(r->name, sizeof(r->name), "%s", t->name);
	r->test = t;
	r->processes = run.count;
	r->every = t->every;
	for (i = 0; t->fact != NULL && t->fact[i] != NULL; i++)
		r->fact_name[r->facts++] = t->fact[i];
	for (i = 0; i < run.count; i++)
		add(r, &run.shared->slot[i]);
	r->seconds = wall();
}

/* Parts that have no sum had the processes to themselves for their time. */
static void
part(const struct bench_test *t, unsigned which,
    const struct bench_result *all, struct bench_result *r)
{
	unsigned i;

	memset(r, 0, sizeof(*r));
	snprintf(r->name, sizeof(r->name), "%s.%s", t->name, t->part[which]);
	r->test = t;
	r->processes = all->processes;
	r->every = t->every;
	r->limited = all->limited;
	for (i = 0; i < run.count; i++)
		bench_hist_merge(&r->latency,
		    &run.shared->slot[i].part[which]);
	r->ops = r->records = r->latency.n;
	r->seconds = t->parts_only ? (double)r->latency.sum / 1e9 /
	    r->processes : all->seconds;
}

static void
note_changes(const struct bench_test *t)
{
	uint64_t n = 0;
	unsigned i;

	for (i = 0; i < run.count; i++)
		n += run.shared->slot[i].changed;
	if (n > 0)
		cli_note("%s: %llu records were changed by others meanwhile, "
		    "and not checked", t->name, (unsigned long long)n);
}

unsigned
bench_run(const struct bench *b, const struct bench_test *t,
    const char *verb, struct bench_result *res)
{
	struct bench_result all;
	unsigned i, n = 0;

	cli_progress_phase();
	start(b, t);
	for (i = 0; i < run.count && hear(verb) == 1; i++)
		;
	close(run.go[1]);
	while (hear(verb) != 0)
		;
	reap(t);
	cli_progress_end();
	note_changes(t);
	result(t, &all);
	if (!t->parts_only)
		res[n++] = all;
	for (i = 0; t->part != NULL && t->part[i] != NULL; i++) {
		part(t, i, &all, &res[n]);
		n += res[n].latency.n > 0;
	}
	munmap(run.shared, run.len);
	run.count = 0;
	return n;
}

double
bench_rate(const struct bench_result *r)
{
	return r->seconds > 0 ? (double)r->ops / r->seconds : 0;
}
