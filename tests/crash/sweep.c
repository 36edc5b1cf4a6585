/*
 * sweep: one operation after the other, disturbed at every system call it
 * makes on the database.
 *
 *   sweep fault         the call fails, or moves fewer bytes than asked for
 *   sweep kill          the process is killed before the call, or after it
 *   sweep act OP DB     do an operation by the library (it calls itself)
 *
 * Whatever happens, the operation ends with a documented exit code (or the
 * kill), what it acknowledged is there, what it did not is there whole or
 * not at all, older data are intact, and the next process repeats the
 * operation and writes more, at once.  The same must hold where another
 * process has the database open all the while.
 *
 * KEVO_OPS="put copy" runs these only; KEVO_LONG=1 disturbs every call
 * instead of a sample.
 */
#include "crash.h"
#include "look.h"
#include "preload.h"

/* ---- one case: an operation, who does it, and what disturbs it ---------- */

enum subject { LIBRARY, TOOL, SUBJECTS };

struct fault {
	const char *name;
	const char *call;	/* of KEVO_FAULT */
	const char *what;
	int harmless;		/* the operation must succeed all the same */
};

static const struct fault faults[] = {
	{ "ENOSPC", "any", "ENOSPC", 0 },
	{ "EIO", "any", "EIO", 0 },
	{ "EINTR", "any", "EINTR", 0 },
	{ "interrupted transfer", "xfer", "EINTR", 1 },
	{ "short transfer", "xfer", "short", 1 },
	{ "disk full from then on", "space", "ENOSPC:sticky", 0 },
	{ "no sync from then on", "sync", "EIO:sticky", 0 },
}, kills[] = {
	{ "kill before", "any", "kill", 0 },
	{ "kill after", "any", "killafter", 0 },
};

struct run {
	const struct op *op;
	enum subject subject;
	const struct fault *fault;
	unsigned k;
	int beside;		/* another process has it open */
	int acked;
	char db[300];
	struct child witness;
	int go;			/* a byte here and the witness looks */
	unsigned calls;
	char fired[128];
};

static int
subject_main(void *arg)
{
	char text[128], program[PATH_MAX + 32], act[] = "act";
	struct run *r = arg;
	char *argv[10] = { program };
	int fd = open(input_file, O_RDONLY), n;

	dup2(fd, 0);
	close(fd);
	snprintf(text, sizeof(text), "%s:%u:%s", r->fault->call, r->k,
	    r->fault->what);
	if (r->subject == TOOL) {
		snprintf(program, sizeof(program), "%s/%s", tool_dir,
		    r->op->tool[0]);
		for (n = 1; r->op->tool[n] != NULL; n++)
			argv[n] = strcmp(r->op->tool[n], "DB") == 0 ? r->db :
			    strdup(r->op->tool[n]);
	} else {
		strcpy(program, self);
		argv[1] = act;
		argv[2] = strdup(r->op->name);
		argv[3] = r->db;
	}
	preload_exec(r->db, text, argv);
	return 127;
}

static int
prepare_main(void *arg)
{
	struct run *r = arg;

	return prepare(r->op, r->db, KEVO_SYNC_BATCH);
}

/* ---- looking at the result ---------------------------------------------- */

static int
look(void *arg)
{
	struct run *r = arg;
	struct kevo_options opt = { .program = "look", .wait_set = 1,
	    .wait_ms = MOMENT_MS };
	unsigned flags = r->op->flags & FRESH ? KEVO_CREATE : 0;
	struct kevo *db;

	db = must_open(r->db, flags, &opt, "the next open");
	check_handle(db, r->op, r->acked, "again", r->beside);
	must_close(db, "the next close");
	return 0;
}

/* After everything was acknowledged, from the log alone. */
static int
look_again(void *arg)
{
	struct run *r = arg;
	struct kevo *db;
	int want = 1 + r->beside;

	db = must_open(r->db, 0, NULL, "an open without shm");
	check_base(db, r->op);
	if (!(r->op->flags & READS) && state_of(db, r->op) != 1)
		return wrong("lost in an open without shm");
	check_count(db, r->op, 1, want);
	must_close(db, "close");
	return 0;
}

/* A process with the database open while it happens. */
static int
witness_main(void *arg)
{
	struct run *r = arg;
	struct kevo_options opt = { .program = "witness", .wait_set = 1,
	    .wait_ms = MOMENT_MS };
	struct kevo *db;
	char c;

	db = must_open(r->db, 0, &opt, "the witness's open");
	check_base(db, r->op);
	write(1, "+", 1);
	if (read(r->go, &c, 1) != 1)
		return 1;
	r->acked = c == 'a';
	check_handle(db, r->op, r->acked, "again, beside", 0);
	must_close(db, "the witness's close");
	return 0;
}

static int
start_witness(struct run *r)
{
	int p[2];
	char c;

	if (pipe2(p, O_CLOEXEC) != 0)
		bail("cannot make a pipe");
	r->go = p[0];
	child_start(&r->witness, witness_main, r);
	close(p[0]);
	r->go = p[1];
	return read(r->witness.fd, &c, 1) == 1 && c == '+' ? 0 : -1;
}

/* ---- verdicts ----------------------------------------------------------- */

static int
is_kill(const struct fault *f)
{
	return f >= kills && f < kills + sizeof(kills) / sizeof(kills[0]);
}

/*
 * What may come out of a failing call: success, or the codes for "cannot
 * create", "input/output error" and "busy".  Others would blame the user or
 * the data.
 */
static const char *
judge(struct run *r, const struct outcome *o)
{
	int struck = r->fired[0] != '-';

	if (r->subject == LIBRARY)
		r->acked = strstr(o->text, "ack\n") != NULL;
	else
		r->acked = exited(o, 0);
	if (struck && is_kill(r->fault))
		return o->status != -1 && WIFSIGNALED(o->status) &&
		    WTERMSIG(o->status) == SIGKILL ? NULL : "was not killed";
	if (o->status == -1)
		return "hangs";
	if (exited(o, 0)) {
		if (r->subject == TOOL && (r->op->flags & READS) &&
		    strcmp(o->text, r->op->answer) != 0)
			return "exit 0 with a wrong answer";
		return NULL;
	}
	if (!struck)
		return "fails by itself";
	if (r->fault->harmless)
		return "fails where it could go on";
	if (!exited(o, 73) && !exited(o, 74) && !exited(o, 75))
		return "ends in another way than 0, 73, 74 or 75";
	if (o->len == 0)
		return "fails without a message";
	return NULL;
}

static int failures_shown;

static int
complain(const struct run *r, const char *who, const struct outcome *o,
    const char *why)
{
	char *nl, text[sizeof(o->text)];

	strcpy(text, o->text);
	while ((nl = strchr(text, '\n')) != NULL)
		*nl = ';';
	if (failures_shown++ < 4)
		note("k=%u (%s)%s%s: %s %s: %s: %s", r->k, r->fired,
		    r->beside ? ", with another process," : "",
		    r->acked ? " acknowledged" : "", who, why,
		    outcome_name(o), text);
	return -1;
}

static void
build_state(struct run *r)
{
	char from[PATH_MAX];
	struct outcome o;

	remove_tree(r->db);
	if (r->op->flags & FRESH)
		return;
	child_run(&o, HANG_MS, prepare_main, r);
	if (!exited(&o, 0))
		bail("the state before cannot be made: %s", o.text);
	if (r->op->flags & COPY) {
		snprintf(from, sizeof(from), "%s.from", r->db);
		remove_tree(from);
		if (rename(r->db, from) != 0)
			bail("%s: cannot be renamed", r->db);
		copy_tree(from, r->db, NULL);
	}
}

/* Returns 0, or -1 if a promise was broken. */
static int
run_case(struct run *r)
{
	char shm[PATH_MAX];
	struct outcome o;
	const char *why;
	int bad = 0;

	build_state(r);
	r->acked = 0;
	if (r->beside && start_witness(r) != 0) {
		child_wait(&r->witness, HANG_MS, &o);
		close(r->go);
		return complain(r, "the witness", &o, "cannot open");
	}
	child_run(&o, HANG_MS, subject_main, r);
	read_count(&r->calls, r->fired);
	if ((why = judge(r, &o)) != NULL)
		bad = complain(r, "it", &o, why);
	if (r->beside) {
		if (write(r->go, r->acked ? "a" : "-", 1) != 1)
			bad = -1;
		close(r->go);
		child_wait(&r->witness, MOMENT_MS, &o);
		if (!exited(&o, 0))
			bad = complain(r, "the witness", &o, "sees");
	}
	child_run(&o, MOMENT_MS, look, r);
	if (!exited(&o, 0))
		return complain(r, "the next process", &o, "sees");
	snprintf(shm, sizeof(shm), "%s/shm", r->db);
	remove_tree(shm);
	child_run(&o, MOMENT_MS, look_again, r);
	if (!exited(&o, 0))
		return complain(r, "a rebuild", &o, "sees");
	return bad;
}

/* ---- all of them -------------------------------------------------------- */

/* How many calls of this kind does the operation make undisturbed? */
static unsigned
count_calls(const struct run *base)
{
	static const struct fault never[] = {
		{ "never", "any", "EIO", 0 }, { "never", "xfer", "EIO", 0 },
		{ "never", "space", "EIO", 0 }, { "never", "sync", "EIO", 0 }
	};
	struct run r = *base;

	for (size_t i = 0; i < sizeof(never) / sizeof(never[0]); i++)
		if (strcmp(never[i].call, base->fault->call) == 0)
			r.fault = &never[i];
	r.k = 1000000;
	failures_shown = 0;
	if (run_case(&r) != 0)
		return 0;
	return r.calls;
}

static void
sweep_one(struct run *r, unsigned sample)
{
	unsigned calls = count_calls(r), struck = 0, done = 0, bad = 0;
	const char *who = r->subject == LIBRARY ? "library" : "tool";

	/* An operation may touch nothing of a kind, but never nothing. */
	if (calls == 0 && strcmp(r->fault->call, "any") == 0) {
		tap(0, "%s by the %s: works undisturbed", r->op->name, who);
		return;
	}
	failures_shown = 0;
	for (unsigned k = 1; k <= calls; k++) {
		/* Knuth's selection sampling: just `sample` of them. */
		if (calls > sample && rnd(calls - k + 1) >= sample - done)
			continue;
		done++;
		r->k = k;
		r->beside = !(r->op->flags & (FRESH | COPY)) && rnd(3) == 0;
		bad += run_case(r) != 0;
		struck += r->fired[0] != '-';
	}
	r->beside = 0;
	tap(bad == 0 && struck == done, "%s by the %s, %s: %u of %u calls "
	    "struck, %u broke a promise", r->op->name, who, r->fault->name,
	    struck, calls, bad);
}

static int
has_tool(const struct op *op)
{
	char path[PATH_MAX + 32];

	if (tool_dir[0] == '\0')
		return 0;
	snprintf(path, sizeof(path), "%s/%s", tool_dir, op->tool[0]);
	return access(path, X_OK) == 0;
}

static void
sweep(const struct fault *list, size_t n, unsigned sample)
{
	static struct run r;

	snprintf(r.db, sizeof(r.db), "%s/db", scratch);
	for (size_t i = 0; i < OPS; i++) {
		if (!is_wanted(&ops[i]))
			continue;
		r.op = &ops[i];
		write_input(r.op);
		for (int s = LIBRARY; s < SUBJECTS; s++)
			for (size_t f = 0; f < n; f++) {
				r.subject = (enum subject)s;
				r.fault = &list[f];
				if (s == TOOL && r.op->tool[0] == NULL)
					continue;
				if (s == TOOL && !has_tool(r.op))
					note("%s: no shared build",
					    r.op->tool[0]);
				else
					sweep_one(&r, sample);
			}
	}
}

int
main(int argc, char *argv[])
{
	if (argc == 4 && strcmp(argv[1], "act") == 0)
		return act_main(argv[2], argv[3]);
	if (argc != 2) {
		fprintf(stderr, "usage: sweep fault|kill\n");
		return 64;
	}
	signal(SIGPIPE, SIG_IGN);
	seed_start();
	scratch_make(1);
	find_build();
	if (strcmp(argv[1], "kill") == 0)
		sweep(kills, sizeof(kills) / sizeof(kills[0]),
		    is_long() ? UINT_MAX : 24);
	else
		sweep(faults, sizeof(faults) / sizeof(faults[0]),
		    is_long() ? UINT_MAX : 10);
	return tap_end();
}
