/*
 * history: are single operations linearizable and transactions serializable,
 * for real processes that are killed?
 *
 * First the judges are judged: they must accept what a faultless database
 * does, and see each fault that one could have.  Then processes work on a
 * database, five at a time, one of them killed now and then and replaced by
 * another, and the judges look at what they have written down; and once more
 * with faults put into it.  At last kevo-txn is replaced by something that
 * runs the same commands without a transaction, and they must not like it.
 */
#include <stdatomic.h>
#include <sys/mman.h>

#include "../crash/crash.h"
#include "history.h"

enum { PLACES = 600 };

/* ---- the judges --------------------------------------------------------- */

static void
accept_simulated(unsigned rounds)
{
	static struct h_event event[PLACES];
	struct history h = { .event = event, .count = PLACES };
	unsigned good = 0;

	for (unsigned i = 0; i < rounds; i++) {
		h_simulate(&h, rnd64());
		if (h_linear(&h) == 0 && h_serial(&h) == 0)
			good++;
		else
			note("%s", h.why);
	}
	tap(good == rounds, "%u of %u faultless histories are accepted",
	    good, rounds);
}

/* One fault, in many histories. */
static void
refuse_simulated(const struct h_fault *f, unsigned rounds)
{
	static struct h_event event[PLACES];
	struct history h = { .event = event, .count = PLACES };
	unsigned made = 0, linear = 0, serial = 0;

	for (unsigned i = 0; i < rounds; i++) {
		uint64_t from = rnd64();

		h_simulate(&h, from);
		h_fault_seed(from);
		if (!f->make(&h))
			continue;
		made++;
		linear += h_linear(&h) == 1;
		serial += h_serial(&h) == 1;
	}
	tap(made > rounds / 8 && (!f->linear || linear == made) &&
	    (!f->serial || serial == made), "%s: by keys %u, by versions %u "
	    "of %u are seen", f->name, linear, serial, made);
}

/* ---- a run -------------------------------------------------------------- */

static struct h_run *run;
static pid_t worker[H_WORKERS];

static int64_t
now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

static void
start(unsigned w, const char *path)
{
	uint64_t from = rnd64();

	fflush(stdout);
	if ((worker[w] = fork()) < 0)
		bail("cannot fork");
	if (worker[w] == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		setpgid(0, 0);
		_exit(h_work(run, w, path, from));
	}
}

/* A killed worker, or all that it had started with it: then they end by
 * themselves. */
static void
kill_worker(unsigned w)
{
	kill(worker[w], SIGKILL);
	if (rnd(2) == 0)
		kill(-worker[w], SIGKILL);
}

/* What a killed process has begun last. */
static void
leave_open(unsigned w)
{
	uint32_t n = run->used[w];
	struct h_event *e = &run->event[(size_t)w * H_ROOM + n - 1];

	if (n == 0 || e->outcome != H_OPEN || e->dead != 0)
		return;
	e->dead = now_ns();
	if (h_is_command(e))
		h_command_left(run, w, e);
}

/* 0: it ended as it should; the event that a killed one leaves is open. */
static int
reap(unsigned w)
{
	int status;

	while (waitpid(worker[w], &status, 0) < 0)
		if (errno != EINTR)
			bail("cannot wait");
	/* Its children have become ours. */
	while (waitpid(-worker[w], NULL, 0) > 0 || errno == EINTR)
		;
	leave_open(w);
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
		return 0;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	note("a process ended with status %x: %s", (unsigned)status,
	    run->wrong);
	return 1;
}

/* Let them work, kill one now and then; how many were killed. */
static unsigned
work(const char *path, int ms, unsigned kills, int *bad)
{
	int64_t stop = now_ms() + ms;
	unsigned killed = 0;

	for (unsigned w = 0; w < H_WORKERS; w++)
		start(w, path);
	while (now_ms() < stop && run->wrong[0] == '\0') {
		unsigned w = rnd(H_WORKERS);

		nap_us(rnd(2 * (unsigned)ms * 1000 / (kills + 1)));
		if (killed == kills || run->used[w] == H_ROOM)
			continue;
		kill_worker(w);
		killed++;
		*bad |= reap(w);
		start(w, path);
	}
	run->stop = 1;
	for (unsigned w = 0; w < H_WORKERS; w++)
		*bad |= reap(w);
	return killed;
}

static void
create(const char *path)
{
	static const char *const settings[] = { "memtable_bytes=64K",
	    "table_bytes=32K", "level_bytes=64K", "level0_tables=2", NULL };
	struct kevo_options opt = { .settings = settings };

	must_close(must_open(path, KEVO_CREATE, &opt, "create"), "close");
}

static unsigned
count(int outcome)
{
	unsigned n = 0;

	for (size_t i = 0; i < (H_WORKERS + 1) * H_ROOM; i++)
		n += run->event[i].what != NULL &&
		    run->event[i].outcome == outcome;
	return n;
}

static unsigned
count_commands(int outcome)
{
	unsigned n = 0;

	for (size_t i = 0; i < (H_WORKERS + 1) * H_ROOM; i++)
		n += h_is_command(&run->event[i]) &&
		    run->event[i].outcome == outcome;
	return n;
}

/* Every fault in a copy of what really happened. */
static void
refuse_real(void)
{
	size_t size = sizeof(run->event);
	struct history h = { .count = (H_WORKERS + 1) * H_ROOM };
	unsigned made = 0, seen = 0;

	if ((h.event = malloc(size)) == NULL)
		bail("out of memory");
	for (const struct h_fault *f = h_faults; f->name != NULL; f++) {
		memcpy(h.event, run->event, size);
		h_fault_seed(rnd64());
		if (!f->make(&h))
			continue;
		made++;
		if ((!f->linear || h_linear(&h) == 1) &&
		    (!f->serial || h_serial(&h) == 1))
			seen++;
		else
			note("not seen: %s", f->name);
	}
	free(h.event);
	tap(made >= 8 && seen == made, "%u of %u faults in the real history "
	    "are seen", seen, made);
}

static void
judge(struct history *h, int (*judges)(struct history *), unsigned n,
    const char *what)
{
	int rc = judges(h);

	tap(rc == 0, "round %u: %s%s%s", n, what, rc != 0 ? ": " : "",
	    rc != 0 ? h->why : "");
}

/* Processes at work; 1 if something was wrong. */
static int
run_round(unsigned n, int without, int ms, unsigned kills, unsigned *killed)
{
	char path[sizeof(scratch) + 32];
	int bad = 0;

	memset(run, 0, sizeof(*run));
	run->without = without;
	snprintf(run->notes, sizeof(run->notes), "%.190s", scratch);
	snprintf(path, sizeof(path), "%s/%u.kv", scratch, n);
	create(path);
	bad |= h_first(run, path);
	*killed = work(path, ms, kills, &bad);
	bad |= h_last(run, path);
	remove_tree(path);
	return bad;
}

static void
round_of(unsigned n, int in_memory, int ms, unsigned kills)
{
	struct history h = { .event = run->event,
	    .count = (H_WORKERS + 1) * H_ROOM, .tell = 1 };
	unsigned killed;
	int bad = run_round(n, 0, ms, kills, &killed);

	note("round %u, %s: %u done, %u conditions false, %u nothing, %u open "
	    "of %u kills; of commands %u done, %u nothing, %u open", n,
	    in_memory ? "in memory" : "on disk", count(H_DONE),
	    count(H_FALSE), count(H_NOTHING), count(H_OPEN), killed,
	    count_commands(H_DONE), count_commands(H_NOTHING),
	    count_commands(H_OPEN));
	tap(!bad && count(H_DONE) > 200 && count_commands(H_DONE) > 2 &&
	    killed > 0, "round %u: processes worked, and %u were killed", n,
	    killed);
	judge(&h, h_linear, n, "each key is linearizable");
	judge(&h, h_serial, n, "transactions are serializable");
}

/* ---- without transactions ----------------------------------------------- */

/* The tools of the build; before them, if asked for, a kevo-txn that only runs
 * its command. */
static void
set_path(const char *first)
{
	static char *old;
	const char *build = getenv("KEVO_BUILD"), *now = getenv("PATH");
	char *path;

	if (old == NULL)
		old = strdup(now != NULL ? now : "/usr/bin:/bin");
	if (old == NULL || asprintf(&path, "%s%s%s/bin:%s",
	    first != NULL ? first : "", first != NULL ? ":" : "",
	    build != NULL ? build : "build", old) < 0 ||
	    setenv("PATH", path, 1) != 0)
		bail("out of memory");
	free(path);
}

static void
make_without(const char *dir)
{
	char path[sizeof(scratch) + 32];
	FILE *f;

	snprintf(path, sizeof(path), "%s/kevo-txn", dir);
	if (mkdir(dir, 0777) != 0 || (f = fopen(path, "w")) == NULL)
		bail("%s: cannot be made", dir);
	fputs("#!/bin/sh\n"
	    "while [ \"$1\" != -- ]; do\n"
	    "	case $1 in\n"
	    "	-* | @) ;;\n"
	    "	*) export KEVO_DB=\"$1\" ;;\n"
	    "	esac\n"
	    "	shift\n"
	    "done\n"
	    "shift\n"
	    "\"$@\"\n", f);
	if (fclose(f) != 0 || chmod(path, 0755) != 0)
		bail("%s: cannot be made", path);
}

static void
refuse_without(unsigned n)
{
	struct history h = { .event = run->event,
	    .count = (H_WORKERS + 1) * H_ROOM };
	char dir[sizeof(scratch) + 16];
	unsigned killed;
	int linear, serial;

	snprintf(dir, sizeof(dir), "%s/without", scratch);
	make_without(dir);
	set_path(dir);
	run_round(n, 1, 1000, 20, &killed);
	set_path(NULL);
	linear = h_linear(&h);
	serial = h_serial(&h);
	note("%s", h.why);
	tap(linear == 1 && serial == 1, "commands without a transaction: by "
	    "keys %d, by versions %d is seen", linear, serial);
}

int
main(void)
{
	const char *seconds = getenv("KEVO_LONG_SECONDS");
	int64_t stop = now_ms() + 1000 * (int64_t)(is_long() ?
	    seconds != NULL ? atoi(seconds) : 60 : 0);
	unsigned n = 0;
	char reaper[24];

	seed_start();
	accept_simulated(is_long() ? 200 : 20);
	for (const struct h_fault *f = h_faults; f->name != NULL; f++)
		refuse_simulated(f, is_long() ? 200 : 20);
	run = mmap(NULL, sizeof(*run), PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (run == MAP_FAILED)
		bail("no memory");
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	/* A shell whose parent was killed before it began has us for one, and
	 * must not kill us. */
	snprintf(reaper, sizeof(reaper), "%ld", (long)getpid());
	setenv("H_REAPER", reaper, 1);
	set_path(NULL);
	scratch_make(1);
	refuse_without(0);
	round_of(++n, 1, 1500, 40);
	refuse_real();
	do {
		scratch_remove();
		scratch_make(n % 2 == 0);
		round_of(n + 1, n % 2 == 0, 1500, 40);
		n++;
	} while (now_ms() < stop && tap_failed == 0);
	return tap_end();
}
