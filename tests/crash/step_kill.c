/*
 * step_kill: a writer killed between any two of its instructions.
 *
 * A writer is led through one call of the library by ptrace(2), instruction
 * by instruction, to learn the places it passes.  Then one writer after the
 * other runs to such a place and stands still: a reader must get the old or
 * the new state without waiting for it.  It is killed there: the next writer
 * must find the old or the new state, whole, and write on.  Each has a fresh
 * database.
 *
 * A sample of the places, or with KEVO_LONG=1 all of them, each at one of its
 * first passes.  On other processors than x86-64 there is nothing: where a
 * lock is taken by load-linked and store-conditional, a step between them
 * makes it fail for ever.
 */
#include <stddef.h>
#include <sys/ptrace.h>
#include <sys/user.h>

#include "crash.h"

#define SAMPLE		90	/* kills in each scene */
#define PASSES		16	/* of a loop that may be waited for */
#define LIMIT_MS	5000
#define MOMENT_MS	2000
#define STEPS_MAX	2000000u

/*
 * A scene is what stands before and one call.  Its keys are all as before
 * it or all as after it.  One that is joined plays in a transaction of this
 * process, and so do all who look at it, but for the last.
 */
struct scene {
	int joined;
	const char *name;
	void (*before)(struct kevo *db);
	int (*act)(struct kevo *db);
	const char *keys[5];
	int before_len[4], after_len[4];	/* of values; -1: absent */
};

static char path[300];

/* The transaction of a joined scene. */
static struct kevo *owner_db;
static struct kevo_txn *owner;
static struct kevo_options inside = { .wait_set = 1, .wait_ms = 2000 };

static int
put_len(struct kevo *db, const char *key, int len, enum kevo_sync sync)
{
	static char val[70000];
	struct kevo_write w = { .sync = sync };

	memset(val, len % 100, (size_t)len);
	return kevo_put(db, key, strlen(key), val, (size_t)len, &w, NULL);
}

static int
batch_add(struct kevo_batch *b, const char *key, int len)
{
	static char val[70000];

	memset(val, len % 100, (size_t)len);
	return kevo_batch_put(b, key, strlen(key), val, (size_t)len, 0);
}

/* ---- scenes ------------------------------------------------------------- */

static void
before_old(struct kevo *db)
{
	must(db, put_len(db, "k", 20, KEVO_SYNC_FULL), "put");
}

static int
act_over(struct kevo *db)
{
	return put_len(db, "k", 33, KEVO_SYNC_NONE);
}

static int
act_over_full(struct kevo *db)
{
	return put_len(db, "k", 33, KEVO_SYNC_FULL);
}

static int
act_delete(struct kevo *db)
{
	return kevo_delete(db, "k", 1, NULL, NULL);
}

/* n children of one node, so that one more makes it grow. */
static void
children(struct kevo *db, int n)
{
	char key[8];

	for (int i = 0; i < n; i++) {
		snprintf(key, sizeof(key), "n%c", 'A' + i);
		must(db, put_len(db, key, 3, KEVO_SYNC_NONE), "put");
	}
}

static void
before_4(struct kevo *db)
{
	children(db, 4);
}

static void
before_16(struct kevo *db)
{
	children(db, 16);
}

static void
before_48(struct kevo *db)
{
	children(db, 48);
}

static int
act_child(struct kevo *db)
{
	return put_len(db, "n!", 5, KEVO_SYNC_NONE);
}

/* A long path, to be split in its middle. */
static void
before_path(struct kevo *db)
{
	must(db, put_len(db, "a/long/path/to/a/leaf", 3, KEVO_SYNC_NONE),
	    "put");
}

static int
act_split(struct kevo *db)
{
	return put_len(db, "a/long/part", 5, KEVO_SYNC_NONE);
}

static int
act_batch(struct kevo *db)
{
	struct kevo_batch *b;
	int rc = kevo_batch_new(db, &b);

	if (rc == 0 && (rc = batch_add(b, "k", 33)) == 0 &&
	    (rc = batch_add(b, "k2", 200)) == 0 &&
	    (rc = batch_add(b, "k3", 0)) == 0)
		rc = kevo_batch_delete(b, "k4", 2);
	return rc != 0 ? rc : kevo_commit(db, b, KEVO_SYNC_BATCH, NULL);
}

static void
before_batch(struct kevo *db)
{
	before_old(db);
	must(db, put_len(db, "k4", 9, KEVO_SYNC_NONE), "put");
}

/* A segment so full that the next record begins another. */
static void
before_full(struct kevo *db)
{
	before_old(db);
	must(db, put_len(db, "filler", 64000, KEVO_SYNC_NONE), "put");
}

static int
act_rotate(struct kevo *db)
{
	return put_len(db, "k", 2000, KEVO_SYNC_NONE);
}

/* Read and written in a transaction of its own. */
static int
act_txn(struct kevo *db)
{
	static char val[33];
	struct kevo_record rec;
	struct kevo_txn *t;
	int rc = kevo_txn_begin(db, NULL, &t);

	if (rc != 0)
		return rc;
	memset(val, 33, sizeof(val));
	if ((rc = kevo_txn_get(t, "k", 1, &rec)) >= 0)
		rc = kevo_txn_put(t, "k", 1, val, sizeof(val), 0);
	return rc != 0 ? rc : kevo_txn_commit(t, KEVO_SYNC_NONE, NULL);
}

static const struct scene scenes[] = {
	{ 0, "put over an older value", before_old, act_over, { "k" },
	    { 20 }, { 33 } },
	{ 0, "durable put", before_old, act_over_full, { "k" },
	    { 20 }, { 33 } },
	{ 0, "delete", before_old, act_delete, { "k" }, { 20 }, { -1 } },
	{ 0, "fifth child of a node", before_4, act_child, { "n!" },
	    { -1 }, { 5 } },
	{ 0, "seventeenth child of a node", before_16, act_child, { "n!" },
	    { -1 }, { 5 } },
	{ 0, "forty-ninth child of a node", before_48, act_child, { "n!" },
	    { -1 }, { 5 } },
	{ 0, "split of a path", before_path, act_split,
	    { "a/long/part", "a/long/path/to/a/leaf" }, { -1, 3 }, { 5, 3 } },
	{ 0, "batch", before_batch, act_batch, { "k", "k2", "k3", "k4" },
	    { 20, -1, -1, 9 }, { 33, 200, 0, -1 } },
	{ 0, "rotation", before_full, act_rotate, { "k" }, { 20 }, { 2000 } },
	{ 1, "put within a transaction", before_old, act_over, { "k" },
	    { 20 }, { 33 } },
	{ 1, "fifth child of a node, within one", before_4, act_child,
	    { "n!" }, { -1 }, { 5 } },
	{ 1, "batch within a transaction", before_batch, act_batch,
	    { "k", "k2", "k3", "k4" }, { 20, -1, -1, 9 }, { 33, 200, 0, -1 } },
	{ 1, "transaction within a transaction", before_old, act_txn, { "k" },
	    { 20 }, { 33 } },
};

/* ---- processes ---------------------------------------------------------- */

static int
prepare(void *arg)
{
	static const char *const settings[] = { "memtable_bytes=65536",
	    "compaction=manual", NULL };
	struct kevo_options opt = { .settings = settings };
	const struct scene *s = arg;
	struct kevo *db = must_open(path, KEVO_CREATE, &opt, "create");

	if (!s->joined)
		s->before(db);
	must_close(db, "close");
	return 0;
}

static int
prepare_within(void *arg)
{
	const struct scene *s = arg;
	struct kevo *db = must_open(path, 0, &inside, "open");

	s->before(db);
	must_close(db, "close");
	return 0;
}

/*
 * The victim stops itself before the call and after it.  Its first read is
 * there so that what a handle does once is done.
 */
static void
victim(const struct scene *s)
{
	struct kevo *db = must_open(path, 0, &inside, "open");
	void *val;
	size_t len;

	if (kevo_get(db, NULL, "none", 4, &val, &len) != KEVO_NOTFOUND)
		_exit(WRONG);
	ptrace(PTRACE_TRACEME, 0, NULL, NULL);
	raise(SIGSTOP);
	must(db, s->act(db), "the operation");
	raise(SIGSTOP);
	_exit(0);
}

/* 1 if the key's value has this length and the bytes that go with it. */
static int
has_len(struct kevo *db, const char *key, int want)
{
	void *val;
	size_t len;
	int rc = kevo_get(db, NULL, key, strlen(key), &val, &len);

	if (rc < 0)
		_exit(wrong("%s: %s", key, kevo_errmsg(db)));
	if (rc == KEVO_NOTFOUND)
		return want < 0;
	for (size_t i = 0; i < len; i++)
		if (((char *)val)[i] != (int)(len % 100))
			_exit(wrong("%s: wrong bytes", key));
	kevo_free(val);
	return (int)len == want;
}

/* 0: all as before, 1: all as after. */
static int
state_of(struct kevo *db, const struct scene *s)
{
	int before = 1, after = 1;

	for (int i = 0; s->keys[i] != NULL; i++) {
		before &= has_len(db, s->keys[i], s->before_len[i]);
		after &= has_len(db, s->keys[i], s->after_len[i]);
	}
	if (!before && !after)
		_exit(wrong("neither the old state nor the new"));
	return after;
}

static void
walk_all(struct kevo *db)
{
	struct kevo_record rec;
	struct kevo_iter *it;
	int rc;

	must(db, kevo_iter_new(db, NULL, NULL, &it), "iterator");
	while ((rc = kevo_iter_next(it, &rec)) == 0)
		;
	must(db, rc == KEVO_NOTFOUND ? 0 : rc, "a walk");
	kevo_iter_free(it);
}

/* While the writer stands still.  One read may already see it. */
static int
reader(void *arg)
{
	const struct scene *s = arg;
	struct kevo *db = must_open(path, KEVO_RDONLY, &inside,
	    "reader's open");
	struct kevo_snapshot *snap;

	must(db, kevo_snapshot_new(db, &snap), "snapshot");
	kevo_snapshot_free(snap);
	state_of(db, s);
	walk_all(db);
	must_close(db, "reader's close");
	return 0;
}

/* After the writer's death. */
static int
heir(void *arg)
{
	const struct scene *s = arg;
	struct kevo *db = must_open(path, 0, &inside, "heir's open");

	state_of(db, s);
	must(db, put_len(db, "next", 7, KEVO_SYNC_FULL), "the next put");
	state_of(db, s);
	if (!has_len(db, "next", 7))
		return wrong("the next put is not there");
	must(db, s->act(db), "the operation, repeated");
	if (state_of(db, s) != 1)
		return wrong("the operation, repeated, did nothing");
	walk_all(db);
	must_close(db, "heir's close");
	return 0;
}

/* From the log alone. */
static int
rebuilder(void *arg)
{
	const struct scene *s = arg;
	struct kevo *db = must_open(path, 0, NULL, "open without shm");

	if (state_of(db, s) != 1 || !has_len(db, "next", 7))
		return wrong("lost in an open without shm");
	walk_all(db);
	must_close(db, "close");
	return 0;
}

/* ---- stepping ----------------------------------------------------------- */

#ifdef __x86_64__

struct place {
	unsigned long at;	/* address of an instruction */
	unsigned pass;		/* how often it was passed before */
};

static int
wait_stop(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -1;
	return WIFSTOPPED(status) ? WSTOPSIG(status) : -1;
}

/* Start a victim and stop it before the call. */
static pid_t
start_victim(const struct scene *s)
{
	pid_t pid;

	fflush(stdout);
	if ((pid = fork()) < 0)
		bail("cannot fork");
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		victim(s);
	}
	if (wait_stop(pid) != SIGSTOP)
		bail("%s: the victim did not come to its call", s->name);
	return pid;
}

/* The address of the instruction that comes next. */
static unsigned long
where(pid_t pid)
{
	return (unsigned long)ptrace(PTRACE_PEEKUSER, pid,
	    offsetof(struct user_regs_struct, rip), NULL);
}

/*
 * Lead it step by step to the end of the call and note where each begins,
 * at most max.  Returns their number.  A step over a system call is one.
 */
static unsigned
lead(pid_t pid, unsigned long *at, unsigned max)
{
	unsigned i;
	int sig;

	for (i = 0; i < max; i++) {
		at[i] = where(pid);
		if (ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL) != 0)
			bail("cannot step");
		if ((sig = wait_stop(pid)) == SIGSTOP)
			break;
		if (sig != SIGTRAP)
			bail("the victim ended in step %u (%d)", i, sig);
	}
	return i;
}

static void
end_victim(pid_t pid)
{
	kill(pid, SIGKILL);
	while (waitpid(pid, NULL, __WALL) < 0 && errno == EINTR)
		;
}

/*
 * Let it run to the pass-th time (from 0) that it comes to the instruction
 * at address at: a breakpoint costs less than stepping there.  If it never
 * comes there it stops behind the call.
 */
static void
run_to(pid_t pid, unsigned long at, unsigned pass)
{
	void *place = (void *)at;
	long code = ptrace(PTRACE_PEEKTEXT, pid, place, NULL);
	long trap = (code & ~0xffL) | 0xcc;
	int sig;

	for (;; pass--) {
		if (ptrace(PTRACE_POKETEXT, pid, place, (void *)trap) != 0 ||
		    ptrace(PTRACE_CONT, pid, NULL, NULL) != 0)
			bail("cannot set a breakpoint at %#lx", at);
		if ((sig = wait_stop(pid)) == SIGSTOP)
			return;
		if (sig != SIGTRAP)
			bail("the victim ended (%d)", sig);
		ptrace(PTRACE_POKETEXT, pid, place, (void *)code);
		ptrace(PTRACE_POKEUSER, pid,
		    offsetof(struct user_regs_struct, rip), place);
		if (pass == 0)
			return;
		if (ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL) != 0 ||
		    wait_stop(pid) != SIGTRAP)
			bail("cannot step over a breakpoint");
	}
}

/* The address of the program, so that `where` can be looked up. */
static unsigned long
load_address(void)
{
	unsigned long at = 0;
	FILE *f = fopen("/proc/self/maps", "r");

	if (f != NULL) {
		if (fscanf(f, "%lx", &at) != 1)
			at = 0;
		fclose(f);
	}
	return at;
}

static int
ask(const char *who, int (*fn)(void *), const struct scene *s,
    const struct place *p)
{
	struct scene copy = *s;
	struct outcome o;

	child_run(&o, MOMENT_MS, fn, &copy);
	if (exited(&o, 0))
		return 0;
	note("%s: killed at %#lx of the program, pass %u: the %s: %s: %s",
	    s->name, p->at - load_address(), p->pass, who, outcome_name(&o),
	    o.text);
	return -1;
}

static void
begin_transaction(void)
{
	struct kevo_begin b = { KEVO_TXN_SHARED, 0 };

	owner_db = must_open(path, 0, NULL, "owner's open");
	must(owner_db, kevo_txn_begin(owner_db, &b, &owner), "begin");
	inside.txn = kevo_txn_env(owner);
}

/* Those who look from here on see what it was. */
static int
end_transaction(const struct scene *s)
{
	int rc = 0;

	if (s->joined) {
		inside.txn = NULL;
		if ((rc = kevo_txn_commit(owner, KEVO_SYNC_NONE, NULL)) != 0)
			note("%s: the commit: %s", s->name,
			    kevo_errmsg(owner_db));
		must_close(owner_db, "owner's close");
	}
	return rc;
}

static void
fresh(const struct scene *s)
{
	struct scene copy = *s;
	struct outcome o;

	remove_tree(path);
	child_run(&o, LIMIT_MS, prepare, &copy);
	if (!exited(&o, 0))
		bail("%s: cannot be prepared: %s", s->name, o.text);
	inside.txn = NULL;
	if (!s->joined)
		return;
	begin_transaction();
	child_run(&o, LIMIT_MS, prepare_within, &copy);
	if (!exited(&o, 0))
		bail("%s: cannot be prepared: %s", s->name, o.text);
}

/* Returns 0, or -1 if a promise was broken. */
static int
kill_at(const struct scene *s, const struct place *p)
{
	char shm[320];
	int bad;
	pid_t pid;

	fresh(s);
	pid = start_victim(s);
	run_to(pid, p->at, p->pass);
	bad = ask("reader", reader, s, p) != 0;
	end_victim(pid);
	bad |= ask("heir", heir, s, p) != 0;
	if (end_transaction(s) != 0 || bad)
		return -1;
	snprintf(shm, sizeof(shm), "%s/shm", path);
	remove_tree(shm);
	return ask("rebuilder", rebuilder, s, p) != 0 ? -1 : 0;
}

static int
by_address(const void *a, const void *b)
{
	const unsigned long *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

/*
 * Lead a victim through the whole call and note every place it passes, and
 * one of the first passes of each.  Returns the number of places.
 */
static unsigned
trace(const struct scene *s, struct place *out, unsigned *steps)
{
	static unsigned long at[STEPS_MAX];
	unsigned places = 0, n, times;
	pid_t pid;

	fresh(s);
	pid = start_victim(s);
	n = *steps = lead(pid, at, STEPS_MAX);
	end_victim(pid);
	end_transaction(s);
	qsort(at, n, sizeof(at[0]), by_address);
	for (unsigned i = 0; i < n; i += times) {
		for (times = 1; i + times < n && at[i + times] == at[i];)
			times++;
		out[places].at = at[i];
		out[places++].pass = rnd(times < PASSES ? times : PASSES);
	}
	return places;
}

static void
play(const struct scene *s)
{
	static struct place list[STEPS_MAX];
	unsigned steps, places = trace(s, list, &steps);
	unsigned kills = 0, bad = 0, want = is_long() ? places : SAMPLE;

	for (; kills < want && kills < places && bad < 4; kills++) {
		unsigned i = kills + rnd(places - kills);
		struct place p = list[i];

		list[i] = list[kills];
		bad += kill_at(s, &p) != 0;
	}
	tap(steps > 100 && kills > 0 && bad == 0, "%s: killed at %u of %u "
	    "places in %u steps, %u broke a promise", s->name, kills, places,
	    steps, bad);
}

static int
can_trace(void)
{
	int status = 0;
	pid_t pid = fork();

	if (pid == 0) {
		if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0)
			_exit(1);
		raise(SIGSTOP);
		_exit(0);
	}
	if (waitpid(pid, &status, 0) != pid || !WIFSTOPPED(status))
		return 0;
	if (ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL) != 0)
		return 0;
	waitpid(pid, &status, 0);
	end_victim(pid);
	return 1;
}

int
main(void)
{
	if (!can_trace()) {
		printf("1..0 # SKIP ptrace is not allowed\n");
		return 0;
	}
	seed_start();
	scratch_make(1);
	snprintf(path, sizeof(path), "%s/db", scratch);
	for (size_t i = 0; i < sizeof(scenes) / sizeof(scenes[0]); i++)
		play(&scenes[i]);
	return tap_end();
}

#else

int
main(void)
{
	printf("1..0 # SKIP stepping is known for x86-64 only\n");
	return 0;
}

#endif
