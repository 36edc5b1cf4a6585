/*
 * format_csv: RFC 4180, two columns and a header.
 */
#include <string.h>

#include "escape.h"
#include "format_internal.h"
#include "format_scan.h"

static const char *const headers[] = {
	[FORMAT_PLAIN] = "key,value",
	[FORMAT_ENC_HEX] = "key_hex,value_hex",
	[FORMAT_ENC_BASE64] = "key_base64,value_base64"
};

/* ---- reading ----------------------------------------------------------- */

/* A field, as offsets from the first byte not yet taken. */
struct field {
	size_t at, len;
};

/* A quote may be written as two, or all as base64. */
#define FIELD_MAX (2 * (size_t)KEVO_VALUE_MAX + 2)

static void
check_size(struct format_reader *r, size_t len)
{
	if (len > FIELD_MAX)
		format_bad(r, NULL, "the field is too long");
}

/* Find the first of a, b and c at or after i; FORMAT_NONE at the end. */
static size_t
find3(struct format_reader *r, size_t i, int a, int b, int c)
{
	size_t have, from = i;

	for (;;) {
		have = format_have(r);
		if (i < have)
			i = scan3(format_at(r), i, have, a, b, c);
		check_size(r, i - from);
		if (i < have)
			return i;
		if (!format_more(r, have))
			return FORMAT_NONE;
	}
}

static uint64_t
count_lines(const uint8_t *p, size_t i, size_t end)
{
	uint64_t n = 0;

	while ((i = scan1(p, i, end, '\n')) < end) {
		i++;
		n++;
	}
	return n;
}

/*
 * Read the inside of quotes, from f->at on; quotes written twice become one
 * in place.  Returns the offset behind the closing quote.
 */
static size_t
read_quoted(struct format_reader *r, struct field *f)
{
	size_t i = f->at, end;
	uint8_t *p;

	for (;; i = end + 2) {
		end = format_find(r, i, '"', FIELD_MAX);
		if (end == FORMAT_NONE)
			format_bad(r, NULL, "the input ends inside quotes");
		check_size(r, end == FORMAT_LONG ? end : f->len + (end - i));
		p = format_at(r);
		r->lines += count_lines(p, i, end);
		if (f->at + f->len != i)
			memmove(p + f->at + f->len, p + i, end - i);
		f->len += end - i;
		if (format_byte(r, end + 1) != '"')
			return end + 1;
		format_at(r)[f->at + f->len++] = '"';
	}
}

static const char hint_crlf[] = "use --crlf";

/*
 * Pass what ends a field at i: a comma, or the end of the line or input,
 * then *last is set.  Returns the offset behind it.
 */
static size_t
read_ending(struct format_reader *r, size_t i, int *last)
{
	int c = format_byte(r, i);

	*last = c != ',';
	if (c == -1)
		return i;
	if (c == '\r' && format_byte(r, i + 1) == '\n') {
		if (!r->f->crlf)
			format_bad(r, hint_crlf, "CR before the line's end");
		i++;
	} else if (c != ',' && c != '\n') {
		format_bad(r, NULL, c == '\r' ?
		    "CR outside of quotes" : "text behind a closing quote");
	}
	r->lines += *last != 0;
	return i + 1;
}

/* Read the field at i; returns the offset behind its end. */
static size_t
read_field(struct format_reader *r, size_t i, struct field *f, int *last)
{
	size_t end;

	f->at = i;
	f->len = 0;
	if (format_byte(r, i) == '"') {
		f->at = i + 1;
		return read_ending(r, read_quoted(r, f), last);
	}
	if ((end = find3(r, i, ',', '\n', '"')) == FORMAT_NONE)
		end = format_have(r);
	f->len = end - i;
	if (end < format_have(r) && format_at(r)[end] == '"')
		format_bad(r, NULL, "quote inside a field without quotes");
	if (f->len > 0 && format_at(r)[end - 1] == '\r') {
		f->len--;
		end--;
	}
	if (memchr(format_at(r) + i, '\r', f->len) != NULL)
		format_bad(r, NULL, "CR outside of quotes");
	return read_ending(r, end, last);
}

/* Read a line of two fields; 0 at the end of input.  *end is the offset
 * behind it. */
static int
read_row(struct format_reader *r, struct field *a, struct field *b,
    size_t *end)
{
	int last;

	r->line += r->lines > 0 ? r->lines : 1;
	r->lines = 0;
	if (format_byte(r, 0) == -1)
		return 0;
	*end = read_field(r, 0, a, &last);
	if (last)
		format_bad(r, NULL, a->len == 0 && a->at == 0 ?
		    "blank line" : "one field instead of two");
	*end = read_field(r, *end, b, &last);
	if (!last)
		format_bad(r, NULL, "more than two fields");
	return 1;
}

static void
read_header(struct format_reader *r)
{
	static const char bom[] = "\xef\xbb\xbf";
	const char *want = headers[r->f->encode];
	struct field a, b;
	uint8_t *p;
	size_t end, comma = strcspn(want, ",");

	/* Excel puts a byte order mark before UTF-8. */
	if (format_byte(r, 0) == 0xef && format_fill(r, 3) &&
	    memcmp(format_at(r), bom, 3) == 0)
		format_take(r, 3);
	if (!read_row(r, &a, &b, &end))
		format_bad(r, NULL, "no header line %s", want);
	p = format_at(r);
	if (a.len != comma || memcmp(p + a.at, want, a.len) != 0 ||
	    b.len != strlen(want + comma + 1) ||
	    memcmp(p + b.at, want + comma + 1, b.len) != 0)
		format_bad(r, r->f->encode == FORMAT_PLAIN ?
		    "--encode reads key_hex,value_hex and "
		    "key_base64,value_base64" : NULL,
		    "the header line is not %s", want);
	format_take(r, end);
	r->started = 1;
}

/* Decode a field in its place; returns its new length. */
static size_t
decode(struct format_reader *r, uint8_t *p, size_t len, const char *what)
{
	size_t bad, n;

	if (r->f->encode == FORMAT_PLAIN) {
		if (memchr(p, 0, len) != NULL)
			format_bad(r, NULL, "NUL in the %s", what);
		if (!utf8_valid(p, len))
			format_bad(r, NULL, "the %s is not UTF-8", what);
		return len;
	}
	if (r->f->encode == FORMAT_ENC_HEX)
		n = hex_decode(p, p, len, &bad);
	else
		n = base64_decode(p, p, len, &bad);
	if (n == (size_t)-1)
		format_bad(r, NULL, "%s is not %s: wrong at its character "
		    "%zu", what, r->f->encode == FORMAT_ENC_HEX ? "hex" :
		    "base64", bad + 1);
	return n;
}

static int
read_csv(struct format_reader *r, struct format_record *rec)
{
	struct field key, value;
	uint8_t *p;
	size_t end;

	if (!r->started)
		read_header(r);
	if (!read_row(r, &key, &value, &end))
		return 0;
	p = format_at(r);
	format_take(r, end);
	rec->op = FORMAT_PUT;
	rec->line = r->line;
	rec->expires_ns = 0;
	rec->key = p + key.at;
	rec->klen = decode(r, p + key.at, key.len, "key");
	rec->value = p + value.at;
	rec->vlen = decode(r, p + value.at, value.len, "value");
	format_check_key(r, rec->klen);
	format_check_value(r, rec->vlen);
	return 1;
}

/* ---- writing ----------------------------------------------------------- */

static void
check_field(const struct kevo_record *rec, const uint8_t *p, size_t len)
{
	static const char hint[] = "use --encode=hex or --encode=base64";

	if (!utf8_valid(p, len))
		format_refuse(rec, hint, "csv cannot hold what is not UTF-8");
	if (scan1(p, 0, len, 0) < len)
		format_refuse(rec, hint, "csv cannot hold NUL");
}

/* At most 4 bytes of one: with quotes doubled, or on a terminal. */
static size_t
encode_quoted(uint8_t *dst, const uint8_t *src, size_t len)
{
	uint8_t *d = dst;
	size_t i, from;

	for (i = from = 0; from < len; from = i) {
		i = scan1(src, from, len, '"');
		memcpy(d, src + from, i - from);
		d += i - from;
		if (i < len) {
			*d++ = '"';
			*d++ = '"';
			i++;
		}
	}
	return (size_t)(d - dst);
}

static size_t
encode_quoted_terminal(uint8_t *dst, const uint8_t *src, size_t len)
{
	uint8_t *d = dst;
	size_t i, from;

	for (i = from = 0; from < len; from = i) {
		i = scan1(src, from, len, '"');
		d += escape_show(d, src + from, i - from);
		if (i < len) {
			*d++ = '"';
			*d++ = '"';
			i++;
		}
	}
	return (size_t)(d - dst);
}

static void
put_field(const struct format *f, const uint8_t *p, size_t len)
{
	size_t special;

	if (f->encode != FORMAT_PLAIN) {
		format_put(f->encode == FORMAT_ENC_HEX ? hex_encode :
		    base64_encode, 4, p, len);
		return;
	}
	special = scan3(p, 0, len, '"', ',', '\n');
	if (special == len && scan1(p, 0, len, '\r') == len) {
		if (f->terminal)
			format_put(escape_show, 4, p, len);
		else
			cli_out(p, len);
		return;
	}
	cli_out("\"", 1);
	format_put(f->terminal ? encode_quoted_terminal : encode_quoted, 4, p,
	    len);
	cli_out("\"", 1);
}

static void
put_end(const struct format *f)
{
	format_puts(f->crlf ? "\r\n" : "\n");
}

static void
begin_csv(const struct format *f)
{
	const char *names = headers[f->encode];
	size_t comma = strcspn(names, ",");

	if (f->keys_only)
		cli_out(names, comma);
	else
		format_puts(f->values_only ? names + comma + 1 : names);
	put_end(f);
}

static void
write_csv(const struct format *f, const struct kevo_record *rec)
{
	if (f->encode == FORMAT_PLAIN && !f->values_only)
		check_field(rec, rec->key, rec->klen);
	if (f->encode == FORMAT_PLAIN && !f->keys_only)
		check_field(rec, rec->value, rec->vlen);
	if (!f->values_only)
		put_field(f, rec->key, rec->klen);
	if (!f->values_only && !f->keys_only)
		cli_out(",", 1);
	if (!f->keys_only)
		put_field(f, rec->value, rec->vlen);
	put_end(f);
}

const struct format_ops format_csv = {
	.name = "csv",
	.can = CAN_READ | CAN_WRITE | CAN_WRITE_KEYS | CAN_WRITE_VALUES,
	.read = read_csv, .begin = begin_csv, .write = write_csv
};
