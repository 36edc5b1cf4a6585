/*
 * power_sweep: the power fails at any system call of any operation.
 *
 *   power_sweep     run all
 *   power_sweep act OP DB, prepare OP DB, look OP DB ACKED     by itself
 *
 * What a program has synced is kept beside the database as it runs, and the
 * cut leaves that and a random part of the rest (disk.h).  So a sync that is
 * missing, of a file or of a directory, loses something that was
 * acknowledged sooner or later.  The state before the operation is synced,
 * or it was written without; then nobody misses it unless the operation,
 * later and durable, was acknowledged.
 *
 * In half of the cases the power holds until the next process has repaired
 * what a kill left and has written something more.
 */
#include <sys/vfs.h>

#include "crash.h"
#include "look.h"
#include "preload.h"
#include "disk.h"

#define TMPFS	0x01021994

struct cut {
	const struct op *op;
	char db[300];
	unsigned k;
	int unsynced;	/* so was the state before */
	int late;	/* the power fails after the next process */
	int acked;
	unsigned calls;
	char fired[128];
	unsigned keep;
};

/* ---- programs ----------------------------------------------------------- */

static int
run_self(const struct cut *c, const char *fault, const char *verb,
    const char *more)
{
	char *argv[] = { self, strdup(verb), strdup(c->op->name),
	    strdup(c->db), more != NULL ? strdup(more) : NULL, NULL };

	setenv("KEVO_FAULT_SHADOW", shadow, 1);
	preload_exec(c->db, fault, argv);
	return 127;
}

static int
run_prepare(void *arg)
{
	return run_self(arg, "", "prepare", NULL);
}

static int
run_act(void *arg)
{
	const struct cut *c = arg;
	char fault[64];

	snprintf(fault, sizeof(fault), "any:%u:kill", c->k);
	return run_self(c, fault, "act", NULL);
}

static int
run_look(void *arg)
{
	const struct cut *c = arg;

	return run_self(c, "", "look", c->acked ? "1" : "0");
}

static int
look_main(const char *op_name, const char *path, int acked)
{
	const struct op *op = find_op(op_name);
	unsigned flags = op->flags & FRESH ? KEVO_CREATE : 0;
	struct kevo *db = must_open(path, flags, NULL, "the next open");

	check_handle(db, op, acked, "again", 0);
	must_close(db, "the next close");
	return 0;
}

/*
 * Where the state before may be lost as well, it is only certain that all
 * can be read and that writing goes on.
 */
static int
look_at_less(void *arg)
{
	static const struct value again = { 'a', 100 };
	const struct cut *c = arg;
	unsigned flags = c->op->flags & FRESH ? KEVO_CREATE : 0;
	struct kevo *db = must_open(c->db, flags, NULL, "the next open");

	if (count_records(db) < 0)
		return wrong("a scan: %s", kevo_errmsg(db));
	must(db, put_value(db, "again", again), "the next put");
	if (c->acked && is_configured(db) != 1)
		return wrong("acknowledged and lost");
	if (!(c->op->flags & (ONCE | READS))) {
		must(db, c->op->act(db, c->op), "the operation, repeated");
		if (!(c->op->flags & ASIDE) && state_of(db, c->op) != 1)
			return wrong("the operation, repeated, did nothing");
	}
	must_close(db, "the next close");
	return 0;
}

/* After the last look. */
static int
look_last(void *arg, int less)
{
	static const struct value again = { 'a', 100 };
	const struct cut *c = arg;
	struct kevo *db = must_open(c->db, 0, NULL, "the last open");

	if (has_value(db, "again", again) != 1)
		return wrong("the next put is lost");
	if (c->op->flags & ASIDE ? is_configured(db) != 1 :
	    !(c->op->flags & (ONCE | READS)) && state_of(db, c->op) != 1)
		return wrong("the repeated operation is lost");
	if (!less) {
		check_base(db, c->op);
		check_count(db, c->op, 1, 1);
	}
	must_close(db, "the last close");
	return 0;
}

static int
look_last_all(void *arg)
{
	return look_last(arg, 0);
}

static int
look_last_less(void *arg)
{
	return look_last(arg, 1);
}

/* ---- one cut ------------------------------------------------------------ */

static void
build_state(struct cut *c)
{
	char from[340];
	struct outcome o;

	remove_tree(shadow);
	remove_tree(c->db);
	if (mkdir(shadow, 0777) != 0)
		bail("%s: cannot be made", shadow);
	if (c->op->flags & FRESH)
		return;
	child_run(&o, HANG_MS, run_prepare, c);
	if (!exited(&o, 0))
		bail("the state before cannot be made: %s", o.text);
	if (c->op->flags & COPY) {
		snprintf(from, sizeof(from), "%s.from", c->db);
		remove_tree(from);
		rename(c->db, from);
		copy_tree(from, c->db, NULL);
		remove_tree(from);
	}
	if (c->unsynced)
		return;
	shadow_named(c->db);
}

static int shown;

static int
complain(const struct cut *c, const char *who, const struct outcome *o)
{
	if (shown++ < 4)
		note("cut %s k=%u (%s), keep %u/8%s%s: %s: %s: %s",
		    c->late ? "after the next process," : "at",
		    c->k, c->fired, c->keep,
		    c->unsynced ? ", older unsynced" : "",
		    c->acked ? ", acknowledged" : "", who, outcome_name(o),
		    o->text);
	return -1;
}

/* Returns 0, or -1 if a promise was broken. */
static int
run_case(struct cut *c)
{
	struct outcome o;
	char shm[340];
	int less;

	build_state(c);
	child_run(&o, HANG_MS, run_act, c);
	read_count(&c->calls, c->fired);
	c->acked = strstr(o.text, "ack\n") != NULL &&
	    !(c->op->flags & READS);
	if (!exited(&o, 0) && !(o.status != -1 && WIFSIGNALED(o.status)))
		return complain(c, "the operation", &o);
	if (!c->late)
		c->keep = cut_power(c->db);
	less = c->unsynced && !c->late &&
	    (!c->acked || (c->op->flags & ASIDE));
	child_run(&o, MOMENT_MS, less ? look_at_less : run_look, c);
	if (!exited(&o, 0))
		return complain(c, "the next process", &o);
	if (c->late)
		c->keep = cut_power(c->db);
	snprintf(shm, sizeof(shm), "%s/shm", c->db);
	remove_tree(shm);
	child_run(&o, MOMENT_MS, less ? look_last_less : look_last_all, c);
	return exited(&o, 0) ? 0 : complain(c, "in the end", &o);
}

static void
sweep_op(const struct op *op, const char *db, unsigned sample)
{
	struct cut c = { .op = op, .k = 1000000, .late = 1 };
	unsigned calls, bad = 0, acked = 0, lost = 0, done = 0;

	snprintf(c.db, sizeof(c.db), "%s", db);
	shown = 0;
	if (run_case(&c) != 0) {
		tap(0, "%s: works where the power holds", op->name);
		return;
	}
	calls = c.calls;
	if (is_long())
		sample = 8 * (calls + 1);
	for (; done < sample && bad < 8; done++) {
		/* One more than there are: after all has been done. */
		c.k = is_long() ? 1 + done % (calls + 1) :
		    rnd(4) == 0 ? calls + 1 : 1 + rnd(calls);
		c.unsynced = !(op->flags & (COPY | FRESH)) && rnd(2) == 0;
		c.late = rnd(2) == 0;
		bad += run_case(&c) != 0;
		acked += c.acked != 0;
		lost += c.keep < 8;
	}
	tap(bad == 0 && (acked > 0 || (op->flags & READS)) && lost > 0,
	    "%s: %u power cuts at %u calls, %u of them after the "
	    "acknowledgement, %u broke a promise", op->name, done, calls,
	    acked, bad);
}

int
main(int argc, char *argv[])
{
	struct statfs fs;
	char db[300];

	if (argc == 4 && strcmp(argv[1], "act") == 0)
		return act_main(argv[2], argv[3]);
	if (argc == 4 && strcmp(argv[1], "prepare") == 0)
		return prepare(find_op(argv[2]), argv[3], KEVO_SYNC_NONE);
	if (argc == 5 && strcmp(argv[1], "look") == 0)
		return look_main(argv[2], argv[3], argv[4][0] == '1');
	seed_start();
	scratch_make(1);
	find_build();
	if (statfs(scratch, &fs) != 0 || fs.f_type != TMPFS) {
		printf("1..0 # SKIP inode numbers may be used again here\n");
		return 0;
	}
	snprintf(shadow, sizeof(shadow), "%s/shadow", scratch);
	snprintf(db, sizeof(db), "%s/db", scratch);
	for (size_t i = 0; i < OPS; i++)
		if (is_wanted(&ops[i]))
			sweep_op(&ops[i], db, 32);
	return tap_end();
}
