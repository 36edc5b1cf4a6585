/*
 * format_db: the dumps of Berkeley DB and of LMDB, which share a form.
 *
 * What is written avoids what their readers get wrong: a backslash is \5c
 * and never \\ (LMDB 0.9.24), digits are lower case (Berkeley DB 5.3).
 */
#include <inttypes.h>
#include <string.h>

#include "format_internal.h"
#include "format_scan.h"

#define LMDB_KEY_MAX 511

enum { NOTATION_PRINT = 1, NOTATION_BYTEVALUE = 2 };

/* Each byte may be written as \hh, after one blank. */
#define KEY_LINE_MAX	(3 * (size_t)KEVO_KEY_MAX + 2)
#define VALUE_LINE_MAX	(3 * (size_t)KEVO_VALUE_MAX + 2)
#define HEADER_LINE_MAX	4096

/* ---- reading ----------------------------------------------------------- */

/* Find the end of the line that begins at from. */
static size_t
find_end(struct format_reader *r, size_t from, size_t max, const char *what)
{
	size_t at = format_find(r, from, '\n', max);

	if (at == FORMAT_LONG)
		format_bad(r, NULL, "the %s is too long", what);
	if (at == FORMAT_NONE)
		format_bad(r, NULL, "the input was cut: no DATA=END");
	return at;
}

/* Whether a word of the header is name=value, or name= for any value. */
static int
is_word(const char *word, size_t len, const char *want)
{
	size_t n = strlen(want);

	return (want[n - 1] == '=' ? len >= n : len == n) &&
	    memcmp(word, want, n) == 0;
}

static void
header_word(struct format_reader *r, const char *p, size_t len)
{
	static const char *const usual[] = {
		"type=btree", "type=hash", "database=", "mapsize=",
		"maxreaders=", "db_pagesize=", "duplicates=0", "keys=1"
	};
	size_t i;

	if (is_word(p, len, "format=bytevalue")) {
		r->notation = NOTATION_BYTEVALUE;
		return;
	}
	if (is_word(p, len, "format=print")) {
		r->notation = NOTATION_PRINT;
		return;
	}
	if (is_word(p, len, "duplicates=1")) {
		cli_msg("%s:%" PRIu64 ": warning: duplicates=1: of the "
		    "values of one key the last one wins", r->in->name,
		    r->line);
		return;
	}
	for (i = 0; i < sizeof(usual) / sizeof(usual[0]); i++)
		if (is_word(p, len, usual[i]))
			return;
	if (is_word(p, len, "format=") || is_word(p, len, "type=") ||
	    is_word(p, len, "keys="))
		format_bad(r, NULL, "%s is not supported",
		    format_show_key(p, len));
	if (memchr(p, '=', len) == NULL)
		format_bad(r, NULL, "%s in the header: it lacks HEADER=END",
		    format_show_key(p, len));
	if (cli_verbose)
		cli_note("%s:%" PRIu64 ": ignored: %s", r->in->name, r->line,
		    format_show_key(p, len));
}

static void
read_header(struct format_reader *r)
{
	const char *p;
	size_t len;
	int first = 1;

	r->started = 1;
	for (;; first = 0) {
		r->line++;
		len = find_end(r, 0, HEADER_LINE_MAX, "line");
		p = (const char *)format_at(r);
		format_take(r, len + 1);
		if (first != is_word(p, len, "VERSION=3"))
			format_bad(r, NULL, "the header does not begin with "
			    "one VERSION=3");
		if (is_word(p, len, "HEADER=END"))
			break;
		if (!first)
			header_word(r, p, len);
	}
	if (r->notation == 0)
		format_bad(r, NULL, "no format= in the header");
}

/* Decode print notation in its place; returns the length, or (size_t)-1
 * with *bad set to the offset of a bad escape. */
static size_t
decode_print(uint8_t *p, size_t len, size_t *bad)
{
	size_t i = 0, o = 0, next;
	int hi, lo;

	for (;;) {
		next = scan1(p, i, len, '\\');
		if (o != i)
			memmove(p + o, p + i, next - i);
		o += next - i;
		if ((i = next) == len)
			return o;
		if (i + 1 < len && p[i + 1] == '\\') {
			p[o++] = '\\';
			i += 2;
			continue;
		}
		*bad = i;
		if (len - i < 3 || (hi = hex_digit(p[i + 1])) < 0 ||
		    (lo = hex_digit(p[i + 2])) < 0)
			return (size_t)-1;
		p[o++] = (uint8_t)(hi << 4 | lo);
		i += 3;
	}
}

/* Decode a line, which begins with one blank, in its place. */
static size_t
decode(struct format_reader *r, uint8_t *p, size_t len, const char *what)
{
	size_t bad, n;

	if (len == 0 || p[0] != ' ')
		format_bad(r, NULL, "no blank before the %s", what);
	if (r->notation == NOTATION_BYTEVALUE)
		n = hex_decode(p + 1, p + 1, len - 1, &bad);
	else
		n = decode_print(p + 1, len - 1, &bad);
	if (n == (size_t)-1)
		format_bad(r, NULL, "bad %s in the %s at its character %zu",
		    r->notation == NOTATION_PRINT ? "escape" : "digit", what,
		    bad + 1);
	return n;
}

static int
read_end(struct format_reader *r, size_t len)
{
	if (!is_word((char *)format_at(r), len, "DATA=END"))
		format_bad(r, NULL, "neither a key nor DATA=END");
	if (format_byte(r, len + 1) != -1) {
		r->line++;
		format_bad(r, NULL, "input after DATA=END: one database at "
		    "a time");
	}
	r->ended = 1;
	return 0;
}

/* The end of the key's line, or of DATA=END, which needs no LF. */
static size_t
find_key_end(struct format_reader *r)
{
	size_t at = format_find(r, 0, '\n', KEY_LINE_MAX);

	if (at == FORMAT_NONE && format_have(r) == 8 &&
	    memcmp(format_at(r), "DATA=END", 8) == 0)
		return 8;
	return at == FORMAT_NONE || at == FORMAT_LONG ?
	    find_end(r, 0, KEY_LINE_MAX, "key") : at;
}

static int
read_db(struct format_reader *r, struct format_record *rec)
{
	size_t klen, value, end;
	uint8_t *p;

	if (r->ended)
		return 0;
	if (!r->started)
		read_header(r);
	r->line++;
	klen = find_key_end(r);
	if (format_at(r)[0] != ' ')
		return read_end(r, klen);
	value = klen + 1;
	end = find_end(r, value, VALUE_LINE_MAX, "value");
	if (is_word((char *)format_at(r) + value, end - value, "DATA=END"))
		format_bad(r, NULL, "a key without a value");
	p = format_at(r);
	format_take(r, end + 1);
	rec->op = FORMAT_PUT;
	rec->line = r->line;
	rec->expires_ns = 0;
	rec->key = p + 1;
	rec->klen = decode(r, p, klen, "key");
	format_check_key(r, rec->klen);
	r->line++;
	rec->value = p + value + 1;
	rec->vlen = decode(r, p + value, end - value, "value");
	format_check_value(r, rec->vlen);
	return 1;
}

/* ---- writing ----------------------------------------------------------- */

#define MIB (1024 * 1024)

static uint64_t
mapsize(const struct format *f)
{
	uint64_t n = f->total_bytes * 2 + f->total_records * 64;

	if (f->mapsize != 0)
		return f->mapsize;
	n = (n + MIB - 1) / MIB * MIB;
	return n < 16 * MIB ? 16 * MIB : n;
}

static void
begin_db(const struct format *f)
{
	format_puts("VERSION=3\nformat=");
	format_puts(f->bytevalue ? "bytevalue" : "print");
	format_puts("\ntype=btree\n");
	if (f->kind == FORMAT_LMDB) {
		format_puts("mapsize=");
		format_putn(mapsize(f));
		format_puts("\n");
	}
	format_puts("HEADER=END\n");
}

static size_t
encode_print(uint8_t *dst, const uint8_t *src, size_t len)
{
	uint8_t *d = dst;
	size_t i = 0, n;
	unsigned m;

	while (i < len) {
		if (len - i >= SCAN_STEP) {
			m = scan_copy_odd(d, src + i, '\\', '\\');
			n = m == 0 ? SCAN_STEP : scan_first(m);
			d += n;
			i += n;
			if (m == 0)
				continue;
		} else if (src[i] >= 0x20 && src[i] < 0x7f &&
		    src[i] != '\\') {
			*d++ = src[i++];
			continue;
		}
		*d++ = '\\';
		d += hex_encode(d, src + i++, 1);
	}
	return (size_t)(d - dst);
}

static void
put_line(const struct format *f, const void *p, size_t len)
{
	cli_out(" ", 1);
	format_put(f->bytevalue ? hex_encode : encode_print, 3, p, len);
	cli_out("\n", 1);
}

static void
write_db(const struct format *f, const struct kevo_record *rec)
{
	if (f->kind == FORMAT_LMDB && rec->klen > LMDB_KEY_MAX)
		format_refuse(rec, NULL, "lmdb cannot hold keys of more than "
		    "511 bytes");
	put_line(f, rec->key, rec->klen);
	put_line(f, rec->value, rec->vlen);
}

static void
end_db(const struct format *f)
{
	(void)f;
	format_puts("DATA=END\n");
}

const struct format_ops format_db = {
	.name = "db", .can = CAN_READ | CAN_WRITE, .read = read_db,
	.begin = begin_db, .write = write_db, .end = end_db
};

const struct format_ops format_lmdb = {
	.name = "lmdb", .can = CAN_READ | CAN_WRITE, .read = read_db,
	.begin = begin_db, .write = write_db, .end = end_db
};
