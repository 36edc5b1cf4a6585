/*
 * kevo-delete: remove keys: named, listed by an input, or in a range.
 *
 * Keys given as operands are one commit.  A list is removed in chunks, as
 * kevo-put -i stores.  A range with -l or -p is one commit under the write
 * lock, so that two who pop never get the same record; without them it is
 * removed in chunks of bounded memory: the keys there were at the start,
 * each chunk a commit of its own.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli.h"
#include "load.h"
#include "options.h"
#include "range.h"

static const struct cli_opt opts[] = {
	ROW_ESCAPED,
	ROW_QUIET,
	ROW_VERBOSE,
	ROW_WAIT,
	ROW_SYNC,
	ROWS_CONDITION,
	ROW_STDIN("take keys from standard input, one a line"),
	ROW_PREFIX("remove all keys that begin with P"),
	ROW_FROM,
	ROW_TO,
	ROW_LIMIT,
	{ OPT_ALL, 0, "all", CLI_NONE, NULL, "remove all records" },
	ROW_PRINT("write the records removed"),
	ROW_FORMAT_OF(NAMES_STREAM " raw",
	    "format of keys read and records written (tsv)"),
	ROW_NULL,
	ROW_JSON_VALUES,
	ROW_KEYS_ONLY,
	ROW_META,
	ROW_CRLF("lines of keys end in CRLF"),
	ROW_END
};

static const struct cli_tool tool = {
	"kevo-delete",
	"Remove records; a key that is absent is no error",
	"[-Eqv] [-w S] [--sync=M] [-pjkm] [-f F|-0]\n"
	" [--if-absent|--if-present|--if-value=V|--if-version=N]\n"
	" DB KEY...\n"
	"-i [...] DB\n"
	"[-P P] [--from K] [--to K] [-l N] [...] DB\n"
	"--all [...] DB",
	opts,
	"  kevo-delete data.kv user:1 user:2\n"
	"  kevo-scan -k data.kv tmp: | kevo-delete -i data.kv\n"
	"  job=$(kevo-delete -p -f raw -P todo: -l 1 jobs.kv)\n"
};

struct removal {
	struct cli_open_opts open;
	struct format format;
	struct opt_cond cond;
	struct kevo_cond kcond;
	struct range_opts where;
	struct range range;
	int escaped, from_stdin, all, ranged, print, limited;
	uint64_t limit;
	struct load load;
};

static void
parse(struct removal *d, struct cli_args *a)
{
	int id;

	while ((id = cli_next(a)) != 0) {
		if (id == 'E')
			d->escaped = 1;
		else if (id == 'i')
			d->from_stdin = 1;
		else if (id == 'p')
			d->print = 1;
		else if (id == OPT_ALL)
			d->all = 1;
		else if (id == 'l') {
			d->limited = 1;
			d->limit = cli_number("-l", a->arg, KEVO_COMMIT_OPS);
		} else if (range_option(&d->where, a, id))
			d->ranged = 1;
		else if (!opt_cond(&d->cond, a, id) &&
		    !opt_format(&d->format, a, id,
		    FORMATS_STREAM | FORMATS_RAW))
			cli_common(&d->open, a, id);
	}
}

/* A variable that happens to be unset must not remove everything. */
static void
refuse_empty(const char *what, const char *s)
{
	if (s != NULL && *s == '\0')
		cli_usage("%s is empty; to remove all records, say --all",
		    what);
}

static void
check(struct removal *d, struct cli_args *a)
{
	int keys = a->argc - a->i - 1;
	int by_range = d->all || d->ranged;

	cli_operands_named(a, d->from_stdin || by_range ? 1 : 2,
	    d->from_stdin || by_range ? 1 : -1, "DB KEY",
	    "-i, -P, --from, --to and --all say which without naming "
	    "them");
	cli_refuse_late_options(a);
	refuse_empty("-P", d->where.prefix);
	refuse_empty("--from", d->where.from);
	refuse_empty("--to", d->where.to);
	opt_format_check(&d->format);
	if (d->all && d->ranged)
		cli_usage("--all does not go with -P, --from and --to");
	if (d->from_stdin && by_range)
		cli_usage("-i does not go with a range");
	if (d->limited && !by_range)
		cli_usage("-l needs -P, --from, --to or --all");
	if (d->format.meta && !d->print)
		cli_usage("-m goes with -p");
	if (d->format.kind != FORMAT_RAW)
		return;
	if (!d->print || d->from_stdin || keys > 1 ||
	    (by_range && !(d->limited && d->limit <= 1)))
		cli_usage("-f raw goes with -p, and one key or -l 1");
	if (d->format.keys_only)
		cli_usage("-k does not go with -f raw");
}

/* ---- by keys: operands, a list, a range in chunks ---------------------- */

static void
begin_output(struct removal *d)
{
	if (!d->print)
		return;
	d->format.terminal = d->format.kind != FORMAT_RAW &&
	    cli_out_is_tty();
	cli_progress_yield();
	format_begin(&d->format);
}

static void
start(struct removal *d, const char *name)
{
	struct load *l = &d->load;

	cli_signals();
	l->db = cli_open(name, &d->open);
	l->every = LOAD_EVERY;
	l->done = "removed";
	if (d->open.sync != NULL)
		l->sync = cli_sync_mode("--sync", d->open.sync);
	l->cond = d->kcond;
	l->print = d->print ? &d->format : NULL;
	begin_output(d);
	load_start(l);
}

/* Commit the rest.  Of keys that were named, each must meet the condition;
 * else it is enough that something was removed. */
static int
finish(struct removal *d)
{
	int no;

	load_finish(&d->load);
	no = d->load.single && d->load.skipped > 0;
	if (d->print)
		format_end(&d->format);
	if (d->load.count == 0 &&
	    (d->print || d->kcond.kind == KEVO_IF_PRESENT))
		no = 1;
	return cli_close(d->load.db, no ? EXIT_NO : 0);
}

static void
remove_key(struct removal *d, const void *key, size_t klen, uint64_t line)
{
	struct format_record rec;

	memset(&rec, 0, sizeof(rec));
	rec.op = FORMAT_DELETE;
	rec.key = key;
	rec.klen = klen;
	rec.line = line;
	load_record(&d->load, &rec);
}

/* The usual case, without preparations for more. */
static int
remove_one(struct removal *d, const char *name, char *key)
{
	struct kevo_write w;
	struct kevo *db;
	size_t klen = cli_key(key, d->escaped);
	int rc;

	memset(&w, 0, sizeof(w));
	w.cond = d->kcond;
	db = cli_open(name, &d->open);
	if ((rc = kevo_delete(db, key, klen, &w, NULL)) < 0)
		cli_fail(db, rc);
	if (rc == KEVO_FALSE && cli_verbose)
		cli_note("%s: the condition is false",
		    format_show_key(key, klen));
	return cli_close(db, cli_status(rc));
}

static int
remove_operands(struct removal *d, const char *name, char **keys)
{
	size_t klen;

	if (keys[1] == NULL && !d->print)
		return remove_one(d, name, keys[0]);
	d->load.single = 1;
	start(d, name);
	for (; *keys != NULL; keys++) {
		klen = cli_key(*keys, d->escaped);
		remove_key(d, *keys, klen, 0);
	}
	return finish(d);
}

static int
remove_listed(struct removal *d, const char *name)
{
	struct format input = d->format;
	struct format_reader *reader;
	struct format_record rec;
	struct cli_in in;
	int status;

	cli_in_open(&in, NULL);
	d->load.in = &in;
	start(d, name);
	input.keys_only = 1;
	input.meta = input.json_values = 0;
	reader = format_reader_new(&input, &in);
	while (format_read(reader, &rec))
		remove_key(d, rec.key, rec.klen, rec.line);
	format_reader_free(reader);
	status = finish(d);
	cli_in_close(&in);
	return status;
}

static void
say_removed(uint64_t n)
{
	if (cli_verbose)
		cli_note("%" PRIu64 " record%s removed", n,
		    n == 1 ? "" : "s");
}

/* The iterator's snapshot says which keys. */
static int
remove_range(struct removal *d, const char *name)
{
	struct kevo_record rec;
	struct kevo_iter *it;
	struct kevo *db;
	int rc, status;

	start(d, name);
	db = d->load.db;
	if (d->range.empty) {
		status = finish(d);
		say_removed(0);
		return status;
	}
	if ((rc = kevo_iter_new(db, NULL, &d->range.keys, &it)) != 0)
		cli_fail(db, rc);
	while ((rc = kevo_iter_next(it, &rec)) == 0)
		remove_key(d, rec.key, rec.klen, 0);
	if (rc < 0)
		cli_fail(db, rc);
	kevo_iter_free(it);
	status = finish(d);
	say_removed(d->load.count);
	return status;
}

/* ---- a range as one commit --------------------------------------------- */

/* What kevo_txn_check() would say, of a record that is at hand. */
static int
holds(const struct kevo_cond *c, const struct kevo_record *rec)
{
	switch (c->kind) {
	case KEVO_IF_ABSENT:
		return 0;
	case KEVO_IF_VALUE:
		return rec->vlen == c->vlen && (c->vlen == 0 ||
		    memcmp(rec->value, c->value, c->vlen) == 0);
	case KEVO_IF_VERSION:
		return c->version != 0 && rec->version == c->version;
	case KEVO_IF_ANY:
	case KEVO_IF_PRESENT:
		break;
	}
	return 1;
}

static void __attribute__((noreturn))
txn_failed(struct kevo *db, struct kevo_txn *t, int rc)
{
	char why[2048];

	snprintf(why, sizeof(why), "%s", kevo_errmsg(db));
	if (t != NULL)
		kevo_txn_abort(t);
	cli_die(cli_status(rc), "%s", *why ? why : kevo_strerror(rc));
}

/* Copy what is to be removed: at most limit records whose condition holds.
 * The values are needed only to be printed. */
static void
collect(struct removal *d, struct kevo *db, struct kevo_txn *t,
    struct recbuf *found)
{
	struct format_record copy;
	struct kevo_record rec;
	struct kevo_iter *it;
	int rc;

	if (d->range.empty)
		return;
	if ((rc = kevo_txn_iter(t, &d->range.keys, &it)) != 0)
		txn_failed(db, t, rc);
	memset(&copy, 0, sizeof(copy));
	rc = 0;
	while (!d->limited || found->count < d->limit) {
		if ((rc = kevo_iter_next(it, &rec)) != 0)
			break;
		copy.key = rec.key;
		copy.klen = rec.klen;
		copy.value = rec.value;
		copy.vlen = d->print ? rec.vlen : 0;
		copy.expires_ns = rec.expires_ns;
		if (holds(&d->kcond, &rec))
			recbuf_add(found, &copy, rec.version);
	}
	kevo_iter_free(it);
	if (rc < 0)
		txn_failed(db, t, rc);
}

static void
print(struct removal *d, const struct recbuf *found)
{
	struct format_record rec;
	struct kevo_record out;
	uint64_t version;
	size_t pos = 0;

	begin_output(d);
	while (recbuf_next(found, &pos, &rec, &version)) {
		out.key = rec.key;
		out.klen = rec.klen;
		out.value = rec.value;
		out.vlen = rec.vlen;
		out.version = version;
		out.expires_ns = rec.expires_ns;
		format_write(&d->format, &out);
	}
	format_end(&d->format);
}

static int
remove_at_once(struct removal *d, const char *name)
{
	struct recbuf found = { NULL, 0, 0, 0 };
	struct format_record rec;
	struct kevo_txn *t;
	struct kevo *db;
	uint64_t version;
	size_t pos = 0;
	int rc, no;

	db = cli_open(name, &d->open);
	if ((rc = kevo_txn_begin(db, NULL, &t)) != 0)
		cli_fail(db, rc);
	collect(d, db, t, &found);
	while (recbuf_next(&found, &pos, &rec, &version))
		if ((rc = kevo_txn_delete(t, rec.key, rec.klen)) != 0)
			txn_failed(db, t, rc);
	if ((rc = kevo_txn_commit(t, KEVO_SYNC_DEFAULT, NULL)) != 0)
		txn_failed(db, NULL, rc);
	if (d->print)
		print(d, &found);
	say_removed(found.count);
	no = found.count == 0 &&
	    (d->print || d->kcond.kind == KEVO_IF_PRESENT);
	recbuf_release(&found);
	return cli_close(db, no ? EXIT_NO : 0);
}

int
main(int argc, char *argv[])
{
	static struct removal d;
	struct cli_args a;
	char **operand;

	cli_start(&a, &tool, argc, argv);
	parse(&d, &a);
	check(&d, &a);
	opt_cond_get(&d.cond, d.escaped, &d.kcond);
	operand = a.argv + a.i;
	if (d.from_stdin)
		return remove_listed(&d, operand[0]);
	if (!d.all && !d.ranged)
		return remove_operands(&d, operand[0], operand + 1);
	range_init(&d.range, &d.where, d.escaped);
	if (d.print || d.limited)
		return remove_at_once(&d, operand[0]);
	return remove_range(&d, operand[0]);
}
