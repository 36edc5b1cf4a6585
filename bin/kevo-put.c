/*
 * kevo-put: store one record, or the records of an input.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "load.h"
#include "options.h"

static const struct cli_opt opts[] = {
	ROW_ESCAPED,
	ROW_QUIET,
	ROW_VERBOSE,
	ROW_NO_CREATE,
	ROW_WAIT,
	ROW_TTL,
	ROW_SYNC,
	ROWS_CONDITION,
	{ OPT_PRINT_VERSION, 0, "print-version", CLI_NONE, NULL,
	    "print the version of the new record" },
	ROW_STDIN("take the value, or records, from standard input"),
	ROW_FORMAT_OF(NAMES_STREAM, "format of the records (tsv)"),
	ROW_NULL,
	ROW_JSON_VALUES,
	ROW_KEYS_ONLY,
	ROW_CRLF("lines end in CRLF"),
	ROW_ENCODE,
	ROW_PRINT("write the records really stored"),
	ROW_META,
	ROW_SINGLE,
	{ 'b', 'b', "batch", CLI_REQUIRED, "N",
	    "commit every N records (1000)" },
	{ OPT_ACK, 0, "ack", CLI_NONE, NULL,
	    "print how many are stored after each commit" },
	ROW_PROGRESS,
	ROW_END
};

static const struct cli_tool tool = {
	"kevo-put",
	"Store records, creating the database if it is missing",
	"[-EqvC] [-w S] [-t TTL] [--sync=M] [--print-version]\n"
	" [--if-absent|--if-present|--if-value=V|--if-version=N]\n"
	" DB KEY VALUE\n"
	"-i [...] DB KEY\n"
	"-i [-f F|-0] [-jkmp1] [-b N] [--ack] [...] DB",
	opts,
	"  kevo-put data.kv user:1 ada\n"
	"  kevo-put -i data.kv photo < photo.jpg\n"
	"  tail -F app.log | awk -v OFS='\\t' '{print NR, $0}' |\n"
	"      kevo-put -i -f text log.kv\n"
};

struct put {
	struct cli_open_opts open;
	struct format format;
	struct opt_cond cond;
	const char *ttl;
	int escaped, from_stdin, print, print_version;
	int for_records;	/* id of an option that only records have */
	struct load load;
};

static int
record_option(struct put *p, const struct cli_args *a, int id)
{
	switch (id) {
	case 'p':
		p->print = 1;
		break;
	case '1':
		p->load.single = p->load.undo_if_false = 1;
		break;
	case 'b':
		p->load.every = (size_t)cli_number("-b", a->arg,
		    KEVO_COMMIT_OPS);
		break;
	case OPT_ACK:
		p->load.ack = 1;
		break;
	case OPT_PROGRESS:
		cli_progress_mode(a->arg);
		break;
	default:
		if (!opt_format(&p->format, a, id, FORMATS_STREAM))
			return 0;
	}
	p->for_records = id;
	return 1;
}

static const char *
option_name(int id)
{
	const struct cli_opt *o = opts;

	while (o->id != id)
		o++;
	return o->long_name;
}

static void
parse(struct put *p, struct cli_args *a)
{
	int id;

	p->open.flags = KEVO_CREATE;
	p->load.every = LOAD_EVERY;
	while ((id = cli_next(a)) != 0) {
		if (id == 'E')
			p->escaped = 1;
		else if (id == 'i')
			p->from_stdin = 1;
		else if (id == 't')
			p->ttl = a->arg;
		else if (id == OPT_PRINT_VERSION)
			p->print_version = 1;
		else if (!cli_common(&p->open, a, id) &&
		    !opt_cond(&p->cond, a, id))
			record_option(p, a, id);
	}
	cli_operands_named(a, p->from_stdin ? 1 : 3, p->from_stdin ? 2 : 3,
	    "DB KEY VALUE", a->argc - a->i == 1 ?
	    "-i takes records from standard input" :
	    "-i takes it from standard input");
}

/* ---- one record -------------------------------------------------------- */

static int
put_one(struct put *p, const char *name, char *key, const void *val,
    size_t vlen)
{
	struct kevo_write w;
	struct kevo *db;
	uint64_t version;
	char line[32];
	size_t klen = cli_key(key, p->escaped);
	int n, rc;

	memset(&w, 0, sizeof(w));
	opt_cond_get(&p->cond, p->escaped, &w.cond);
	w.expires_ns = opt_expiry(opt_ttl(p->ttl));
	db = cli_open(name, &p->open);
	rc = kevo_put(db, key, klen, val, vlen, &w, &version);
	if (rc < 0)
		cli_fail(db, rc);
	if (rc == KEVO_FALSE && cli_verbose)
		cli_note("%s: the condition is false",
		    format_show_key(key, klen));
	if (rc == 0 && p->print_version) {
		n = snprintf(line, sizeof(line), "%" PRIu64 "\n", version);
		cli_out(line, (size_t)n);
	}
	return cli_close(db, cli_status(rc));
}

/* The value is all of standard input. */
static int
put_value(struct put *p, const char *name, char *key)
{
	struct cli_in in;
	size_t len;
	int status;

	cli_in_open(&in, NULL);
	len = cli_in_need(&in, (size_t)KEVO_VALUE_MAX + 1);
	if (len > KEVO_VALUE_MAX)
		cli_die(EX_DATAERR_, "%s: a value has at most %u bytes",
		    in.name, KEVO_VALUE_MAX);
	status = put_one(p, name, key, in.buf + in.pos, len);
	cli_in_close(&in);
	return status;
}

/* ---- records ----------------------------------------------------------- */

static void
check_records(const struct put *p)
{
	opt_format_check(&p->format);
	if (p->print_version)
		cli_usage("--print-version goes with one record");
	if (p->load.ack && p->print)
		cli_usage("--ack and -p exclude each other");
	if (p->load.every == 0)
		cli_usage("-b: at least one record");
	if (p->format.meta && !p->print)
		cli_usage("-m goes with -p");
	if (p->load.single && p->load.ack)
		cli_usage("--ack and -1 exclude each other");
}

static int
put_records(struct put *p, const char *name)
{
	struct load *l = &p->load;
	struct format input = p->format;
	struct format_reader *reader;
	struct format_record rec;
	struct cli_in in;
	uint64_t ttl_ns = opt_ttl(p->ttl);
	int status;

	check_records(p);
	cli_signals();
	cli_in_open(&in, NULL);
	l->db = cli_open(name, &p->open);
	l->in = &in;
	l->done = "stored";
	if (p->open.sync != NULL)
		l->sync = cli_sync_mode("--sync", p->open.sync);
	opt_cond_get(&p->cond, p->escaped, &l->cond);
	p->format.terminal = p->print && cli_out_is_tty();
	if (p->print || l->ack)
		cli_progress_yield();
	l->print = p->print ? &p->format : NULL;
	load_start(l);

	input.meta = 0;
	reader = format_reader_new(&input, &in);
	if (p->print)
		format_begin(&p->format);
	while (format_read(reader, &rec)) {
		if (rec.expires_ns == 0)
			rec.expires_ns = opt_expiry(ttl_ns);
		load_record(l, &rec);
	}
	status = load_finish(l);
	if (p->print)
		format_end(&p->format);
	format_reader_free(reader);
	cli_in_close(&in);
	return cli_close(l->db, status);
}

int
main(int argc, char *argv[])
{
	static struct put p;
	struct cli_args a;
	char **operand;
	int n;

	cli_start(&a, &tool, argc, argv);
	parse(&p, &a);
	operand = a.argv + a.i;
	n = a.argc - a.i;
	if (p.from_stdin && n == 1)
		return put_records(&p, operand[0]);
	if (p.for_records)
		cli_usage("--%s goes with records from standard input "
		    "(-i DB)", option_name(p.for_records));
	if (p.from_stdin)
		return put_value(&p, operand[0], operand[1]);
	return put_one(&p, operand[0], operand[1], operand[2],
	    cli_operand("value", operand[2], p.escaped));
}
