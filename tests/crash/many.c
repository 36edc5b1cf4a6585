/*
 * many: ten million keys, where it takes a long test.
 *
 * They are loaded in no order, brought into one sorted run, counted, and
 * each is seen in a scan forward and backward.  That takes as much time as it
 * takes; what it must not take is more memory, or more of the kernel, than a
 * thousand keys do.  Memory is what a process has of its own: what it maps of
 * a file belongs to the system, which may take it away.
 */
#include <sys/ptrace.h>

#include "tools.h"

#define KEY_LEN		16
#define MANY		10000000ull
#define FEW		1000ull
#define SAMPLE		20000u
#define ONE_SHOTS	20u
#define STEP		6700417ull	/* a prime: each key comes once */

static uint64_t keys;
static char big[300], small[300];

/* ---- records ------------------------------------------------------------ */

/* The line of key number i. */
static size_t
line_of(char *out, uint64_t i)
{
	return (size_t)sprintf(out, "key-%012llu\t%llu\n",
	    (unsigned long long)i, (unsigned long long)(i * STEP % 1000003));
}

static uint64_t
shuffled(uint64_t i, uint64_t n)
{
	return (i * STEP + 12345) % n;
}

/* ---- tools -------------------------------------------------------------- */

/* KiB that a process has for itself, or 0. */
static unsigned
own_memory(pid_t pid)
{
	char path[64], line[128];
	unsigned kib = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	if ((f = fopen(path, "r")) == NULL)
		return 0;
	while (fgets(line, sizeof(line), f) != NULL)
		if (sscanf(line, "RssAnon: %u", &kib) == 1)
			break;
	fclose(f);
	return kib;
}

/* A tool, the pipes to and from it, and the most memory it had. */
struct running {
	pid_t pid;
	FILE *to, *from;
	unsigned kib;
};

static void
start(struct running *r, int writes, const char *const argv[])
{
	int p[2];

	if (pipe2(p, O_CLOEXEC) != 0 || (r->pid = fork()) < 0)
		bail("cannot start %s", argv[0]);
	r->kib = 0;
	r->to = r->from = NULL;
	if (r->pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dup2(writes ? p[1] : p[0], writes ? 1 : 0);
		tool_exec(argv);
	}
	close(p[writes ? 1 : 0]);
	if (writes)
		r->from = fdopen(p[0], "r");
	else
		r->to = fdopen(p[1], "w");
	if (r->from == NULL && r->to == NULL)
		bail("cannot start %s", argv[0]);
}

static void
sample(struct running *r)
{
	unsigned kib = own_memory(r->pid);

	if (kib > r->kib)
		r->kib = kib;
}

static int
finish(struct running *r)
{
	int status = 0;
	pid_t pid;

	if (r->to != NULL)
		fclose(r->to);
	if (r->from != NULL)
		fclose(r->from);
	while ((pid = waitpid(r->pid, &status, WNOHANG)) == 0) {
		sample(r);
		nap_us(5000);
	}
	return pid == r->pid ? status : -1;
}

/* Memory that no number of keys makes larger.  A flush is what needs most: 16
 * bytes for each record of the segments it takes, until it has 8 million. */
static void
tap_memory(const char *what, unsigned kib, unsigned most_mib)
{
	tap(kib > 0 && kib < most_mib << 10, "%s has less than %u MiB of its "
	    "own: %u KiB", what, most_mib, kib);
}

/* ---- loading ------------------------------------------------------------ */

static void
load(const char *db, uint64_t n, unsigned *kib)
{
	const char *argv[] = { "kevo-put", "-i", "--sync=none", "-winf", db,
	    NULL };
	struct running r;
	char line[64];

	start(&r, 0, argv);
	for (uint64_t i = 0; i < n; i++) {
		fwrite(line, 1, line_of(line, shuffled(i, n)), r.to);
		if (i % 20000 == 0)
			sample(&r);
	}
	tap(finish(&r) == 0, "%llu keys are loaded", (unsigned long long)n);
	*kib = r.kib;
}

static void
compact(const char *db, unsigned *kib)
{
	const char *argv[] = { "kevo-compact", "-winf", "--full", db, NULL };
	struct running r;

	start(&r, 1, argv);
	tap(finish(&r) == 0, "they are brought into one sorted run");
	*kib = r.kib;
}

/* ---- reading ------------------------------------------------------------ */

/* Each record is there, with its value, in order. */
static void
tap_scan(int backward)
{
	const char *argv[] = { "kevo-scan", backward ? "-r" : "-q", big, NULL };
	char want[64], got[64];
	struct running r;
	uint64_t i;

	start(&r, 1, argv);
	for (i = 0; i < keys; i++) {
		line_of(want, backward ? keys - 1 - i : i);
		if (fgets(got, sizeof(got), r.from) == NULL ||
		    strcmp(got, want) != 0)
			break;
		if (i % 100000 == 0)
			sample(&r);
	}
	tap(i == keys && getc(r.from) == EOF && finish(&r) == 0,
	    "a scan %s has each of them in order", backward ? "backward" :
	    "forward");
	if (i < keys)
		note("record %llu is %s", (unsigned long long)i, got);
	tap_memory("it", r.kib, 16);
}

static void
tap_counted(void)
{
	const char *argv[] = { "kevo-scan", "-c", big, NULL };
	unsigned long long n = 0;
	struct running r;

	start(&r, 1, argv);
	if (fscanf(r.from, "%llu", &n) != 1)
		n = 0;
	tap(finish(&r) == 0 && n == keys, "they are counted: %llu", n);
}

/* Many gets by one process, every other one of a key that is absent. */
static void
tap_gets(void)
{
	struct tool_run t = { .argv = { "kevo-get", "-i", big, NULL } };
	char in[300], out[300], want[64], got[64];
	struct running r = { .kib = 0 };
	uint64_t *asked = calloc(SAMPLE, sizeof(*asked));
	FILE *f;
	unsigned i;

	snprintf(in, sizeof(in), "%s/in", scratch);
	snprintf(out, sizeof(out), "%s/out", scratch);
	if (asked == NULL || (f = fopen(in, "w")) == NULL)
		bail("%s", in);
	for (i = 0; i < SAMPLE; i++) {
		asked[i] = rnd64() % keys;
		fprintf(f, "key-%012llu\nkey-%012llu.\n",
		    (unsigned long long)asked[i], (unsigned long long)
		    asked[i]);
	}
	fclose(f);
	t.in = in;
	t.out = out;
	r.pid = tool_start(&t);
	i = WEXITSTATUS((unsigned)finish(&r)) == 1 ? 0 : SAMPLE;
	f = fopen(out, "r");
	for (; f != NULL && i < SAMPLE; i++) {
		line_of(want, asked[i]);
		if (fgets(got, sizeof(got), f) == NULL ||
		    strcmp(got, want) != 0)
			break;
	}
	tap(i == SAMPLE && f != NULL && getc(f) == EOF, "of %u gets each finds "
	    "what it should", 2 * SAMPLE);
	if (f != NULL)
		fclose(f);
	free(asked);
	tap_memory("the process", r.kib, 16);
}

/* ---- what one get costs the kernel -------------------------------------- */

struct cost {
	unsigned calls, kib;
	int status;
};

/* Run a tool from one system call to the next; its exec is none of them. */
static void
trace(struct cost *c, const char *const argv[])
{
	struct tool_run t = { .in = NULL };
	unsigned stops = 0, kib;
	pid_t pid = fork();

	if (pid < 0)
		bail("cannot fork");
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		tool_redirect(&t);
		if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0)
			_exit(125);
		tool_exec(argv);
	}
	c->kib = 0;
	while (waitpid(pid, &c->status, 0) == pid && WIFSTOPPED(c->status)) {
		if ((kib = own_memory(pid)) > c->kib)
			c->kib = kib;
		stops++;
		if (ptrace(PTRACE_SYSCALL, pid, NULL, NULL) != 0)
			bail("cannot trace");
	}
	c->calls = stops / 2;
}

static void
get_cost(struct cost *c, const char *db, uint64_t i)
{
	char key[32];
	const char *argv[] = { "kevo-get", db, key, NULL };

	snprintf(key, sizeof(key), "key-%012llu", (unsigned long long)i);
	trace(c, argv);
}

/* A get by itself: it opens the database, and asks the tables that may have
 * the key. */
static void
tap_one_shots(void)
{
	unsigned most = 0, least = ~0u, few_most = 0, kib = 0, found = 0;
	struct cost c;

	for (unsigned i = 0; i < ONE_SHOTS; i++) {
		get_cost(&c, small, rnd(FEW));
		few_most = c.calls > few_most ? c.calls : few_most;
		found += c.status == 0;
		get_cost(&c, big, rnd64() % keys);
		most = c.calls > most ? c.calls : most;
		least = c.calls < least ? c.calls : least;
		kib = c.kib > kib ? c.kib : kib;
		found += c.status == 0;
	}
	if (c.status == 125 << 8) {
		note("ptrace is not allowed here");
		return;
	}
	tap(found == 2 * ONE_SHOTS, "gets of one key each find it");
	tap(most <= few_most + 4, "one takes %u to %u system calls, and with "
	    "%llu keys %u", least, most, FEW, few_most);
	tap_memory("it", kib, 1);
	get_cost(&c, big, keys);
	tap(WIFEXITED(c.status) && WEXITSTATUS(c.status) == 1 &&
	    c.calls <= few_most + 4, "one of an absent key takes %u",
	    c.calls);
}

/* ---- all of it ---------------------------------------------------------- */

int
main(void)
{
	const char *s = getenv("KEVO_KEYS");
	unsigned put_kib, compact_kib, small_kib;

	if (!is_long() && s == NULL) {
		printf("1..0 # SKIP KEVO_LONG is not set\n");
		return 0;
	}
	keys = s != NULL ? strtoull(s, NULL, 10) : MANY;
	seed_start();
	scratch_make(0);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	snprintf(big, sizeof(big), "%s/big", scratch);
	snprintf(small, sizeof(small), "%s/small", scratch);
	load(small, FEW, &small_kib);
	compact(small, &small_kib);
	load(big, keys, &put_kib);
	tap_memory("the loading process", put_kib, 64);
	compact(big, &compact_kib);
	tap_memory("the compacting process", compact_kib, 192);
	wait_for_children(600000);
	note("%llu MiB of disk", (unsigned long long)tree_bytes(big) >> 20);
	tap_counted();
	tap_scan(0);
	tap_scan(1);
	tap_gets();
	tap_one_shots();
	return tap_end();
}
