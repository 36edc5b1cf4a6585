/*
 * kevo-txn: all or nothing: of a command's changes, or of those that come
 * from standard input.
 *
 * A command runs inside the transaction: every tool that it starts finds it
 * by KEVO_TXN.  This program only keeps the transaction, waits, and commits
 * it, or not.
 *
 * From standard input, the input is read to its end before the write lock is
 * asked for: however slowly it comes, nobody waits for it, and a malformed
 * line is found while nothing has been done, not even a database created.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "format.h"
#include "options.h"
#include "recbuf.h"
#include "cli_tool.h"
#include "wrap.h"

enum { OPT_CONFLICT = 400 };

static const struct cli_opt opts[] = {
	{ 'R', 'R', "read-only", CLI_NONE, NULL,
	    "take no lock: all of COMMAND sees one snapshot" },
	{ OPT_CONFLICT, 0, "conflict-exit-code", CLI_REQUIRED, "CODE",
	    "exit status when others are in the way (75)" },
	ROW_STDIN("checks and changes come from standard input"),
	{ 'n', 'n', "dry-run", CLI_NONE, NULL,
	    "do the checks and write nothing" },
	ROW_QUIET,
	ROW_VERBOSE,
	ROW_NO_CREATE,
	ROW_FORMAT_OF("ops text", "format of the lines: ops or text (ops)"),
	ROW_WAIT,
	ROW_SYNC,
	ROW_END
};

static const struct cli_tool tool = {
	"kevo-txn",
	"Run a command as one transaction, or make checks and changes",
	"[-RqvC] [-w S] [--sync=M] [--conflict-exit-code=CODE] DB [--]\n"
	"  COMMAND [ARG]...\n"
	"-i [-nqvC] [-f ops|text] [-w S] [--sync=M]\n"
	"  [--conflict-exit-code=CODE] DB",
	opts,
	"  kevo-txn bank.kv sh -ec 'kevo-incr @ a -30; kevo-incr @ b 30'\n"
	"  printf '%s\\t%s\\t%s\\n' check-value acct/a 100 \\\n"
	"      put acct/a 70  put acct/b 30 | kevo-txn -i bank.kv\n"
	"  kevo-txn -i -n bank.kv < changes.ops\n"
};

struct txn {
	struct cli_open_opts open;
	struct format format;
	int from_stdin, dry_run, read_only, has_format;
	int conflict;		/* exit status; 0: not given */
	struct cli_in in;
	struct recbuf checks;
	struct kevo_batch *changes;
	uint64_t bytes;		/* of what would be written, in one record */
};

static int
exit_code(const char *s)
{
	uint64_t n = cli_number("--conflict-exit-code", s, 255);

	if (n == 0)
		cli_usage("--conflict-exit-code=%s: 1 to 255", s);
	return (int)n;
}

static void
take_option(struct txn *x, const struct cli_args *a, int id)
{
	switch (id) {
	case 'i':
		x->from_stdin = 1;
		break;
	case 'n':
		x->dry_run = 1;
		break;
	case 'R':
		x->read_only = 1;
		break;
	case OPT_CONFLICT:
		x->conflict = exit_code(a->arg);
		break;
	default:
		if (opt_format(&x->format, a, id,
		    1u << FORMAT_OPS | 1u << FORMAT_TEXT))
			x->has_format = 1;
		else
			cli_common(&x->open, a, id);
	}
}

static void
parse(struct txn *x, struct cli_args *a)
{
	int id;

	x->open.flags = KEVO_CREATE;
	x->format.kind = FORMAT_OPS;
	x->format.guarded = 1;
	while ((id = cli_next(a)) != 0)
		take_option(x, a, id);
	if (x->from_stdin) {
		if (x->read_only)
			cli_usage("-R goes with a command, and not with -i");
		cli_operands(a, 1, 1);
		return;
	}
	if (x->dry_run || x->has_format)
		cli_usage("%s goes with -i", x->dry_run ? "-n" : "-f");
	cli_operands_named(a, 2, -1, "DB COMMAND", "-i takes checks and "
	    "changes from standard input");
}

/* ---- the input --------------------------------------------------------- */

/* What an operation takes in a commit's record besides key and value. */
enum { OP_HEAD = 8 };

static void
check_size(struct txn *x, const struct format_record *rec)
{
	x->bytes += OP_HEAD + rec->klen + rec->vlen;
	if (x->bytes > KEVO_COMMIT_MAX || x->checks.count >= KEVO_COMMIT_OPS ||
	    kevo_batch_count(x->changes) >= KEVO_COMMIT_OPS)
		cli_die(EX_DATAERR_, "%s:%" PRIu64 ": a transaction is at "
		    "most %u bytes and %u operations", x->in.name, rec->line,
		    KEVO_COMMIT_MAX, KEVO_COMMIT_OPS);
}

static void
take(struct txn *x, const struct format_record *rec)
{
	int rc = 0;

	check_size(x, rec);
	if (rec->op == FORMAT_PUT)
		rc = kevo_batch_put(x->changes, rec->key, rec->klen,
		    rec->value, rec->vlen, 0);
	else if (rec->op == FORMAT_DELETE)
		rc = kevo_batch_delete(x->changes, rec->key, rec->klen);
	else
		recbuf_add(&x->checks, rec, rec->version);
	if (rc != 0)
		cli_die(cli_status(rc), "%s:%" PRIu64 ": %s", x->in.name,
		    rec->line, kevo_strerror(rc));
}

static void
read_all(struct txn *x)
{
	struct format_reader *r;
	struct format_record rec;
	uint64_t n = 0;
	int rc;

	if ((rc = kevo_batch_new(NULL, &x->changes)) != 0)
		cli_die(cli_status(rc), "%s", kevo_strerror(rc));
	cli_in_open(&x->in, NULL);
	r = format_reader_new(&x->format, &x->in);
	while (format_read(r, &rec)) {
		take(x, &rec);
		cli_progress("read", ++n, x->in.taken, x->in.size);
		if (cli_stopped())
			cli_die_by_signal();
	}
	format_reader_free(r);
	cli_in_close(&x->in);
	cli_progress_end();
}

/* ---- under the write lock ---------------------------------------------- */

static void
condition(struct kevo_cond *c, const struct format_record *rec,
    uint64_t version)
{
	memset(c, 0, sizeof(*c));
	switch (rec->op) {
	case FORMAT_CHECK_VALUE:
		c->kind = KEVO_IF_VALUE;
		c->value = rec->value;
		c->vlen = rec->vlen;
		break;
	case FORMAT_CHECK_VERSION:
		c->kind = KEVO_IF_VERSION;
		c->version = version;
		break;
	case FORMAT_CHECK_ABSENT:
		c->kind = KEVO_IF_ABSENT;
		break;
	case FORMAT_CHECK_PRESENT:
		c->kind = KEVO_IF_PRESENT;
		break;
	case FORMAT_PUT:
	case FORMAT_DELETE:
		break;
	}
}

static const char *
why_false(const struct kevo_cond *c)
{
	switch (c->kind) {
	case KEVO_IF_VALUE:
		return "its value is not that one";
	case KEVO_IF_VERSION:
		return "its version is not that one";
	case KEVO_IF_ABSENT:
		return "it is there";
	case KEVO_IF_PRESENT:
	case KEVO_IF_ANY:
		break;
	}
	return "it is absent";
}

/* Whether a condition holds; in a dry run, for what a reader sees. */
typedef int holds_fn(void *arg, const struct format_record *rec,
    const struct kevo_cond *c);

/* 0, KEVO_FALSE having said which, or an error. */
static int
check_all(struct txn *x, holds_fn *holds, void *arg)
{
	struct format_record rec;
	struct kevo_cond c;
	uint64_t version;
	size_t pos = 0;
	int rc;

	while (recbuf_next(&x->checks, &pos, &rec, &version)) {
		condition(&c, &rec, version);
		if ((rc = holds(arg, &rec, &c)) == KEVO_FALSE)
			cli_note("%s:%" PRIu64 ": check of %s failed: %s",
			    x->in.name, rec.line, format_show_key(rec.key,
			    rec.klen), why_false(&c));
		if (rc != 0)
			return rc;
	}
	return 0;
}

static int
holds_in_txn(void *arg, const struct format_record *rec,
    const struct kevo_cond *c)
{
	return kevo_txn_check(arg, rec->key, rec->klen, c);
}

/* That it could not be, and not that it failed, has a status of its own. */
static int
status_of(const struct txn *x, int rc)
{
	return x->conflict != 0 && (rc == KEVO_EBUSY || rc == KEVO_ECONFLICT) ?
	    x->conflict : cli_status(rc);
}

/* End with the library's message, and without the transaction (or NULL). */
static void __attribute__((noreturn))
end_failed(const struct txn *x, struct kevo *db, struct kevo_txn *t, int rc)
{
	char why[1024];

	snprintf(why, sizeof(why), "%s", kevo_errmsg(db));
	if (t != NULL)
		kevo_txn_abort(t);
	cli_die(status_of(x, rc), "%s", *why ? why : kevo_strerror(rc));
}

static int
run(struct txn *x, const char *name)
{
	struct kevo *db = cli_open(name, &x->open);
	size_t changes = kevo_batch_count(x->changes);
	struct kevo_txn *t;
	int rc;

	if ((rc = kevo_txn_begin(db, NULL, &t)) != 0)
		end_failed(x, db, NULL, rc);
	if ((rc = check_all(x, holds_in_txn, t)) == 0)
		rc = kevo_txn_batch(t, x->changes);
	if (cli_stopped()) {
		kevo_txn_abort(t);
		cli_die_by_signal();
	}
	if (rc < 0)
		end_failed(x, db, t, rc);
	if (rc == KEVO_FALSE) {
		/* That a check failed must be as durable as its reason. */
		if ((rc = kevo_txn_abort(t)) != 0)
			cli_fail(db, rc);
		return cli_close(db, EXIT_NO);
	}
	if ((rc = kevo_txn_commit(t, KEVO_SYNC_DEFAULT, NULL)) != 0)
		end_failed(x, db, NULL, rc);
	if (cli_verbose)
		cli_note("%zu checks, %zu changes", x->checks.count, changes);
	return cli_close(db, 0);
}

/* ---- a command --------------------------------------------------------- */

/* The command may change the directory that it runs in. */
static void
set_database(const char *path)
{
	char full[4096];
	size_t n = 0;

	if (*path != '/') {
		if (getcwd(full, sizeof(full)) == NULL)
			cli_die(EX_IOERR_, "%s: the current directory has no "
			    "name: %s", path, strerror(errno));
		n = strlen(full);
	}
	if (n + strlen(path) + 2 > sizeof(full))
		cli_die(EX_USAGE_, "%s: the name is too long", path);
	if (n > 0 && full[n - 1] != '/')
		full[n++] = '/';
	strcpy(full + n, path);
	if (setenv("KEVO_DB", full, 1) != 0)
		cli_die(EX_IOERR_, "out of memory");
}

static int
roll_back(struct kevo *db, struct kevo_txn *t, int status)
{
	int rc;

	if (cli_verbose)
		cli_note("rolled back: the command ended with status %d",
		    status);
	if ((rc = kevo_txn_abort(t)) != 0)
		cli_msg("rolling back: %s", kevo_strerror(rc));
	return wrap_end(cli_close(db, status));
}

static int
run_command(struct txn *x, const char *name, char *const argv[])
{
	struct kevo_begin begin = { KEVO_TXN_SHARED, 0 };
	struct kevo_txn *t;
	struct kevo *db;
	int rc, status;

	if (x->read_only) {
		x->open.flags = KEVO_RDONLY;
		begin.flags |= KEVO_TXN_READ;
	}
	db = cli_open(name, &x->open);
	if ((rc = kevo_txn_begin(db, &begin, &t)) != 0)
		end_failed(x, db, NULL, rc);
	set_database(cli_db_path(name));
	if (setenv("KEVO_TXN", kevo_txn_env(t), 1) != 0)
		cli_die(EX_IOERR_, "out of memory");
	if ((status = wrap_run(argv)) == 0 && wrap_stopped() != 0)
		status = 128 + wrap_stopped();
	if (status != 0)
		return roll_back(db, t, status);
	if ((rc = kevo_txn_commit(t, KEVO_SYNC_DEFAULT, NULL)) != 0)
		end_failed(x, db, NULL, rc);
	return cli_close(db, 0);
}

/* ---- dry run ----------------------------------------------------------- */

/* db NULL: there is no database yet, and every key is absent. */
struct view {
	struct kevo *db;
	struct kevo_snapshot *snap;
};

static int
holds_in_view(void *arg, const struct format_record *rec,
    const struct kevo_cond *c)
{
	struct view *v = arg;
	struct kevo_record old;
	int rc = KEVO_NOTFOUND, holds = 0;

	if (v->db != NULL)
		rc = kevo_peek(v->db, v->snap, rec->key, rec->klen, &old);
	if (rc < 0)
		return rc;
	if (c->kind == KEVO_IF_ABSENT)
		holds = rc != 0;
	else if (rc != 0)
		holds = c->kind == KEVO_IF_VERSION && c->version == 0;
	else if (c->kind == KEVO_IF_PRESENT)
		holds = 1;
	else if (c->kind == KEVO_IF_VERSION)
		holds = c->version != 0 && old.version == c->version;
	else
		holds = old.vlen == c->vlen && (c->vlen == 0 ||
		    memcmp(old.value, c->value, c->vlen) == 0);
	return holds ? 0 : KEVO_FALSE;
}

static int
dry_run(struct txn *x, const char *name)
{
	struct view v = { NULL, NULL };
	struct kevo *db = NULL;
	int rc;

	rc = cli_try_open(name, &x->open, KEVO_RDONLY, &db);
	if (rc == 0 && (rc = kevo_snapshot_new(db, &v.snap)) == 0)
		v.db = db;
	else if (rc != KEVO_ENODB || !(x->open.flags & KEVO_CREATE))
		cli_fail(db, rc);
	if ((rc = check_all(x, holds_in_view, &v)) < 0)
		cli_fail(db, rc);
	kevo_snapshot_free(v.snap);
	if (rc == 0)
		cli_note("%zu checks hold; %zu changes would be made",
		    x->checks.count, kevo_batch_count(x->changes));
	if (kevo_close(db) != 0)
		cli_die(EX_IOERR_, "closing the database failed");
	return cli_close(NULL, rc == KEVO_FALSE ? EXIT_NO : 0);
}

static int
from_stdin(struct txn *x, const char *name)
{
	int status;

	cli_signals();
	read_all(x);
	status = x->dry_run ? dry_run(x, name) : run(x, name);
	recbuf_release(&x->checks);
	kevo_batch_free(x->changes);
	return status;
}

int
main(int argc, char *argv[])
{
	struct txn x;
	struct cli_args a;
	const char *name;
	char **command;

	memset(&x, 0, sizeof(x));
	cli_start(&a, &tool, argc, argv);
	parse(&x, &a);
	name = a.argv[a.i];
	cli_db_path(name);
	if (x.from_stdin)
		return from_stdin(&x, name);
	command = a.argv + a.i + 1;
	if (strcmp(command[0], "--") == 0 && command[1] != NULL)
		command++;
	return run_command(&x, name, command);
}
