/*
 * kevo-import: load records from files or standard input.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "load.h"
#include "options.h"

static const struct cli_opt opts[] = {
	ROW_FORMAT_OF(NAMES_STREAM, "format of the input (tsv)"),
	ROW_NULL,
	ROW_JSON_VALUES,
	ROW_KEYS_ONLY,
	ROW_CRLF("lines end in CRLF"),
	ROW_ENCODE,
	ROW_PREFIX("put P before every key"),
	ROW_ESCAPED,
	{ OPT_ON_DUPLICATE, 0, "on-duplicate", CLI_REQUIRED,
	    "WHAT:replace keep fail",
	    "a key that exists: replace (default), keep, fail" },
	ROW_SINGLE,
	{ OPT_SORTED, 0, "sorted", CLI_NONE, NULL,
	    "fail at the first key out of order" },
	ROW_TTL,
	{ 'n', 'n', "dry-run", CLI_NONE, NULL,
	    "check the input, write nothing" },
	ROW_NO_CREATE,
	ROW_WAIT,
	ROW_SYNC,
	ROW_QUIET,
	ROW_VERBOSE,
	ROW_PROGRESS,
	ROW_END
};

static const struct cli_tool tool = {
	"kevo-import",
	"Load records from files, or from standard input if there are none",
	"[-EqvC] [-f F|-0] [-jk1n] [-P PREFIX]\n"
	" [--on-duplicate=replace|keep|fail] [--sorted] [--crlf]\n"
	" [--encode=E] [-t TTL] [-w S] [--sync=M] [--progress]\n"
	" DB [FILE...]",
	opts,
	"  kevo-import data.kv dump.tsv\n"
	"  kevo-import -f csv --on-duplicate=keep people.kv people.csv\n"
	"  kevo-export -f cdb a.kv | kevo-import -q -1 -f cdb b.kv\n"
};

enum on_duplicate { DUP_REPLACE, DUP_KEEP, DUP_FAIL };

struct import {
	struct cli_open_opts open;
	struct format format;
	enum on_duplicate on_duplicate;
	int escaped, sorted, dry_run;
	char *prefix;
	size_t prefix_len;
	const char *ttl;
	uint64_t ttl_ns;
	struct load load;
	uint64_t taken;		/* records read */
	char *key;		/* with -P: prefix and key */
	char *last;		/* with --sorted: the last key */
	size_t last_len;
};

static enum on_duplicate
duplicates(const char *s)
{
	if (strcmp(s, "replace") == 0)
		return DUP_REPLACE;
	if (strcmp(s, "keep") == 0)
		return DUP_KEEP;
	if (strcmp(s, "fail") == 0)
		return DUP_FAIL;
	cli_die(EX_USAGE_, "--on-duplicate: %s: not one of replace, keep, "
	    "fail", s);
}

static int
import_option(struct import *m, const struct cli_args *a, int id)
{
	switch (id) {
	case 'E':
		m->escaped = 1;
		return 1;
	case 'P':
		m->prefix = a->arg;
		return 1;
	case 't':
		m->ttl = a->arg;
		return 1;
	case 'n':
		m->dry_run = 1;
		return 1;
	case '1':
		m->load.single = 1;
		return 1;
	case OPT_SORTED:
		m->sorted = 1;
		return 1;
	case OPT_ON_DUPLICATE:
		m->on_duplicate = duplicates(a->arg);
		return 1;
	case OPT_PROGRESS:
		cli_progress_mode(a->arg);
		return 1;
	default:
		return 0;
	}
}

static void *
need(size_t len)
{
	void *p = malloc(len);

	if (p == NULL)
		cli_die(EX_IOERR_, "out of memory");
	return p;
}

static void
parse(struct import *m, struct cli_args *a)
{
	int id;

	m->open.flags = KEVO_CREATE;
	while ((id = cli_next(a)) != 0)
		if (!import_option(m, a, id) &&
		    !opt_format(&m->format, a, id, FORMATS_STREAM))
			cli_common(&m->open, a, id);
	cli_operands(a, 1, -1);
	opt_format_check(&m->format);
	m->ttl_ns = opt_ttl(m->ttl);
	if (m->prefix != NULL && *m->prefix != '\0') {
		m->prefix_len = cli_operand("-P", m->prefix, m->escaped);
		if (m->prefix_len >= KEVO_KEY_MAX)
			cli_die(EX_USAGE_, "-P: longer than any key");
		m->key = need(KEVO_KEY_MAX);
		memcpy(m->key, m->prefix, m->prefix_len);
	}
	if (m->sorted)
		m->last = need(KEVO_KEY_MAX);
}

static void
check_order(struct import *m, const struct format_record *rec)
{
	size_t len = rec->klen < m->last_len ? rec->klen : m->last_len;
	int c = memcmp(m->last, rec->key, len);

	if (c > 0 || (c == 0 && rec->klen < m->last_len))
		load_die(&m->load, rec->line, "%s: the key is out of order",
		    format_show_key(rec->key, rec->klen));
	memcpy(m->last, rec->key, rec->klen);
	m->last_len = rec->klen;
}

static void
add_prefix(struct import *m, struct format_record *rec)
{
	if (rec->klen > KEVO_KEY_MAX - m->prefix_len)
		load_die(&m->load, rec->line, "%s: the key is too long with "
		    "the prefix", format_show_key(rec->key, rec->klen));
	memcpy(m->key + m->prefix_len, rec->key, rec->klen);
	rec->key = m->key;
	rec->klen += m->prefix_len;
}

/* What --on-duplicate=fail would say; another duplicate inside the input is
 * not seen. */
static void
check_only(struct import *m, const struct format_record *rec)
{
	struct kevo_record old;
	int rc;

	if (m->on_duplicate != DUP_FAIL || m->load.db == NULL)
		return;
	rc = kevo_peek(m->load.db, NULL, rec->key, rec->klen, &old);
	if (rc < 0)
		cli_fail(m->load.db, rc);
	if (rc == 0)
		load_die(&m->load, rec->line, "%s: the key exists already",
		    format_show_key(rec->key, rec->klen));
}

static void
import_file(struct import *m, const char *path)
{
	struct format_reader *reader;
	struct format_record rec;
	struct cli_in in;

	cli_in_open(&in, path);
	m->load.in = &in;
	if (!m->dry_run)
		load_input(&m->load, &in);
	reader = format_reader_new(&m->format, &in);
	while (format_read(reader, &rec)) {
		m->taken++;
		if (m->sorted)
			check_order(m, &rec);
		if (m->prefix_len > 0)
			add_prefix(m, &rec);
		if (rec.expires_ns == 0)
			rec.expires_ns = opt_expiry(m->ttl_ns);
		if (m->dry_run)
			check_only(m, &rec);
		else
			load_record(&m->load, &rec);
	}
	if (!m->dry_run)
		load_end_input(&m->load);
	format_reader_free(reader);
	cli_in_close(&in);
}

static void
import_files(struct import *m, char **files)
{
	if (*files == NULL)
		import_file(m, NULL);
	for (; *files != NULL; files++)
		import_file(m, *files);
}

/* With -n the database may be missing, unless -C says it must not. */
static struct kevo *
open_to_look(const struct import *m, const char *name)
{
	struct kevo *db;
	int rc;

	rc = cli_try_open(name, &m->open, KEVO_RDONLY, &db);
	if (rc == KEVO_ENODB && (m->open.flags & KEVO_CREATE)) {
		kevo_close(db);
		return NULL;
	}
	if (rc != 0)
		cli_fail(db, rc);
	return db;
}

static int
dry_run(struct import *m, const char *name, char **files)
{
	m->load.db = open_to_look(m, name);
	m->load.done = "checked";
	import_files(m, files);
	cli_progress_done(m->load.done, m->taken);
	cli_note("%" PRIu64 " records are well-formed", m->taken);
	return cli_close(m->load.db, 0);
}

static const char *
plural(uint64_t n)
{
	return n == 1 ? "" : "s";
}

static int
import(struct import *m, const char *name, char **files)
{
	struct load *l = &m->load;
	int i;

	cli_signals();
	/* A wrong name leaves no new database behind. */
	if (files[0] == NULL)
		cli_in_check("-");
	for (i = 0; files[i] != NULL; i++)
		cli_in_check(files[i]);
	l->db = cli_open(name, &m->open);
	l->every = LOAD_EVERY;
	l->done = "imported";
	if (m->open.sync != NULL)
		l->sync = cli_sync_mode("--sync", m->open.sync);
	if (m->on_duplicate != DUP_REPLACE)
		l->cond.kind = KEVO_IF_ABSENT;
	l->fail_if_false = m->on_duplicate == DUP_FAIL;
	load_start(l);
	import_files(m, files);
	load_finish(l);
	if (l->skipped > 0)
		cli_note("%" PRIu64 " record%s imported, %" PRIu64
		    " kept as they were", l->count, plural(l->count),
		    l->skipped);
	else
		cli_note("%" PRIu64 " record%s imported", l->count,
		    plural(l->count));
	return cli_close(l->db, 0);
}

int
main(int argc, char *argv[])
{
	static struct import m;
	struct cli_args a;
	char **operand;

	cli_start(&a, &tool, argc, argv);
	parse(&m, &a);
	operand = a.argv + a.i;
	if (m.dry_run)
		return dry_run(&m, operand[0], operand + 1);
	return import(&m, operand[0], operand + 1);
}
