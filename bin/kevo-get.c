/*
 * kevo-get: the value of one key, or the records of many.
 */
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "escape.h"
#include "format.h"
#include "options.h"

static const struct cli_opt opts[] = {
	ROW_ESCAPED,
	ROW_QUIET,
	ROW_VERBOSE,
	{ OPT_DEFAULT, 0, "default", CLI_REQUIRED, "V",
	    "print V if the key is absent" },
	ROW_FORMAT_OF(NAMES_LINES " cdb db resp ops sql raw",
	    "format of records; raw: exact bytes of one"),
	ROW_NULL,
	ROW_JSON_VALUES,
	ROW_META,
	ROW_STDIN("take keys from standard input, one a line"),
	{ OPT_INPUT_FORMAT, 0, "input-format", CLI_REQUIRED,
	    "FORMAT:tsv text nul hex base64 jsonl jsonl64",
	    "format of the keys (tsv)" },
	ROW_CRLF("lines of keys end in CRLF"),
	ROW_ENCODE,
	ROW_END
};

static const struct cli_tool tool = {
	"kevo-get",
	"Print the value of a key, or the records of many keys",
	"[-Eqv] [-f raw] [--default=V] DB KEY\n"
	"[-f F|-0] [-jm] [...] DB KEY...\n"
	"-i [-f F|-0] [-jm] [--input-format=F] [...] DB",
	opts,
	"  kevo-get data.kv user:1\n"
	"  kevo-get --default=0 data.kv hits\n"
	"  kevo-get -f jsonl data.kv user:1 user:2\n"
	"  cut -f1 wanted.tsv | kevo-get -i data.kv\n"
};

struct get {
	struct cli_open_opts open;
	struct kevo *db;
	struct kevo_snapshot *snap;
	struct format format;
	struct format input;
	int formatted;		/* -f, -0 or -m: records, not a bare value */
	int escaped, from_stdin;
	char *fallback;		/* --default */
	size_t fallback_len;
	int missing;
};

static void
parse(struct get *g, struct cli_args *a)
{
	int id;

	g->open.flags = KEVO_RDONLY;
	g->input.keys_only = 1;
	while ((id = cli_next(a)) != 0) {
		if (id == 'E')
			g->escaped = 1;
		else if (id == 'i')
			g->from_stdin = 1;
		else if (id == OPT_DEFAULT)
			g->fallback = a->arg;
		else if (id == OPT_INPUT_FORMAT)
			g->input.kind = format_parse(a->arg, FORMATS_LINES);
		else if (id == OPT_CRLF)
			g->input.crlf = 1;
		else if (opt_format(&g->format, a, id,
		    (FORMATS_WRITE | FORMATS_RAW) & ~(1u << FORMAT_LMDB)))
			g->formatted |= id == 'f' || id == '0' || id == 'm';
		else
			cli_common(&g->open, a, id);
		if (id == '0')
			g->input.kind = FORMAT_NUL;
	}
}

/* Say what is wrong with the options together. */
static void
check(struct get *g, struct cli_args *a)
{
	int raw = g->formatted && g->format.kind == FORMAT_RAW;
	int n;

	cli_operands_named(a, g->from_stdin ? 1 : 2, g->from_stdin ? 1 : -1,
	    "DB KEY", "-i takes keys from standard input");
	cli_refuse_late_options(a);
	n = a->argc - a->i - 1;
	opt_format_check(&g->format);
	if (g->input.crlf && !g->from_stdin)
		cli_usage("--crlf goes with -i");
	if (n > 1 && !g->formatted)
		cli_usage("more than one key needs -f, -0 or -m");
	if (raw && (g->from_stdin || n > 1))
		cli_usage("-f raw goes with one key");
	if (raw && g->format.meta)
		cli_usage("-m does not go with -f raw");
	if (g->fallback != NULL && (g->from_stdin || n > 1))
		cli_usage("--default goes with one key");
	if (g->fallback != NULL)
		g->fallback_len = cli_operand("--default", g->fallback,
		    g->escaped);
}

static void
absent(struct get *g, const void *key, size_t klen)
{
	g->missing = 1;
	if (cli_verbose)
		cli_note("%s: no such key", format_show_key(key, klen));
}

/* Find key, or what stands for it: 1, or 0 if it is absent. */
static int
look_up(struct get *g, const void *key, size_t klen, struct kevo_record *rec)
{
	int rc = kevo_peek(g->db, g->snap, key, klen, rec);

	if (rc == 0)
		return 1;
	if (rc < 0)
		cli_fail(g->db, rc);
	if (g->fallback == NULL) {
		absent(g, key, klen);
		return 0;
	}
	memset(rec, 0, sizeof(*rec));
	rec->value = g->fallback;
	rec->vlen = g->fallback_len;
	return 1;
}

static void
write_record(struct get *g, const void *key, size_t klen)
{
	struct kevo_record rec;

	if (!look_up(g, key, klen, &rec))
		return;
	rec.key = key;
	rec.klen = klen;
	format_write(&g->format, &rec);
}

/* ---- one value --------------------------------------------------------- */

enum { PIECE = 4096 };

/* Shown as it is, though the escape notation would not. */
static int
is_plain(uint8_t c)
{
	return c == '\n' || c == '\t' || c == '\\';
}

/* How many bytes at p to escape at once, not ending inside a character. */
static size_t
piece(const uint8_t *p, size_t len)
{
	size_t n = 0;

	while (n < len && n < PIECE && !is_plain(p[n]))
		n++;
	if (n < PIECE)
		return n;
	while (n > PIECE - 4 && n < len && (p[n] & 0xc0) == 0x80)
		n--;
	return n;
}

/* On a terminal: nothing that disturbs it, and the cursor on a new line. */
static void
show_value(const uint8_t *p, size_t len)
{
	uint8_t last = 0;
	size_t n;

	while (len > 0) {
		if ((n = piece(p, len)) > 0) {
			cli_out_add(escape_encode(cli_out_room(4 * n), p, n,
			    1));
		} else {
			n = 1;
			cli_out(p, 1);
		}
		last = p[n - 1];
		p += n;
		len -= n;
	}
	if (last != '\n')
		cli_out("\n", 1);
}

static int
get_value(struct get *g, const char *name, char *key)
{
	struct kevo_record rec;
	size_t klen = cli_key(key, g->escaped);

	g->db = cli_open(name, &g->open);
	if (look_up(g, key, klen, &rec)) {
		if (!g->formatted && cli_out_is_tty())
			show_value(rec.value, rec.vlen);
		else
			cli_out(rec.value, rec.vlen);
	}
	return cli_close(g->db, g->missing ? EXIT_NO : 0);
}

/* ---- records ----------------------------------------------------------- */

static void
begin(struct get *g, const char *name)
{
	int rc;

	cli_guard_maps(name);
	g->db = cli_open(name, &g->open);
	g->format.terminal = cli_out_is_tty();
	if ((rc = kevo_snapshot_new(g->db, &g->snap)) != 0)
		cli_fail(g->db, rc);
	format_begin(&g->format);
}

static int
end(struct get *g)
{
	format_end(&g->format);
	kevo_snapshot_free(g->snap);
	return cli_close(g->db, g->missing ? EXIT_NO : 0);
}

static int
get_operands(struct get *g, const char *name, char **keys)
{
	size_t *klen, i, n;

	for (n = 0; keys[n] != NULL; n++)
		;
	if ((klen = calloc(n, sizeof(*klen))) == NULL)
		cli_die(EX_IOERR_, "out of memory");
	for (i = 0; i < n; i++)
		klen[i] = cli_key(keys[i], g->escaped);
	begin(g, name);
	for (i = 0; i < n; i++)
		write_record(g, keys[i], klen[i]);
	free(klen);
	return end(g);
}

/* Whoever asks is waiting: answer, and look at newer data from now on. */
static void
on_block(void *arg)
{
	struct get *g = arg;

	cli_out_flush();
	kevo_snapshot_free(g->snap);
	g->snap = NULL;
}

static int
get_stdin(struct get *g, const char *name)
{
	struct format_reader *reader;
	struct format_record rec;
	struct cli_in in;
	int rc;

	cli_in_open(&in, NULL);
	begin(g, name);
	in.on_block = on_block;
	in.arg = g;
	reader = format_reader_new(&g->input, &in);
	while (format_read(reader, &rec)) {
		if (g->snap == NULL &&
		    (rc = kevo_snapshot_new(g->db, &g->snap)) != 0)
			cli_fail(g->db, rc);
		write_record(g, rec.key, rec.klen);
	}
	format_reader_free(reader);
	cli_in_close(&in);
	return end(g);
}

int
main(int argc, char *argv[])
{
	static struct get g;
	struct cli_args a;
	char **operand;

	cli_start(&a, &tool, argc, argv);
	parse(&g, &a);
	check(&g, &a);
	operand = a.argv + a.i;
	if (g.from_stdin)
		return get_stdin(&g, operand[0]);
	if (g.formatted && g.format.kind != FORMAT_RAW)
		return get_operands(&g, operand[0], operand + 1);
	return get_value(&g, operand[0], operand[1]);
}
