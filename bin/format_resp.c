/*
 * format_resp: records as the commands that a Redis client would send.
 */
#include <string.h>

#include "format_internal.h"

/* ---- reading ----------------------------------------------------------- */

/* One argument, as an offset from the first byte not yet taken. */
struct arg {
	size_t at, len;
};

enum { ARGS_MAX = 5 };		/* SET key value PXAT ms */

static void cut(struct format_reader *r) __attribute__((noreturn));

static void
cut(struct format_reader *r)
{
	format_bad_at(r, format_have(r), "the input ends inside a command");
}

/* Pass CR LF. */
static void
line_end(struct format_reader *r, size_t *off)
{
	int c = format_byte(r, *off), d;

	if (c == -1)
		cut(r);
	if (c != '\r')
		format_bad_at(r, *off, "no CR LF");
	if ((d = format_byte(r, *off + 1)) == -1)
		cut(r);
	if (d != '\n')
		format_bad_at(r, *off, "no CR LF");
	*off += 2;
}

/* Pass a byte of kind, a number of at most max and CR LF. */
static size_t
header(struct format_reader *r, size_t *off, int kind, size_t max,
    const char *what)
{
	size_t from, n = 0;
	int c;

	if ((c = format_byte(r, *off)) == -1)
		cut(r);
	if (c != kind)
		format_bad_at(r, *off, "no %c before %s", kind, what);
	from = ++*off;
	while ((c = format_byte(r, *off)) >= '0' && c <= '9') {
		n = n * 10 + (size_t)(c - '0');
		if (n > max || *off - from > 12)
			format_bad_at(r, from, "%s is larger than %zu", what,
			    max);
		++*off;
	}
	if (*off == from && c != -1)
		format_bad_at(r, *off, "no number: %s", what);
	line_end(r, off);
	return n;
}

static void
read_arg(struct format_reader *r, size_t *off, struct arg *a, size_t max,
    const char *what)
{
	a->len = header(r, off, '$', max, what);
	a->at = *off;
	if (!format_fill(r, *off + a->len))
		cut(r);
	*off += a->len;
	line_end(r, off);
}

/* Redis takes words in either case. */
static int
is_word(struct format_reader *r, const struct arg *a, const char *word)
{
	const uint8_t *p = format_at(r) + a->at;
	size_t i;

	if (a->len != strlen(word))
		return 0;
	for (i = 0; i < a->len; i++)
		if ((p[i] & ~0x20) != word[i])
			return 0;
	return 1;
}

/* The option that a SET may have, as nanoseconds since 1970. */
static uint64_t
read_expiry(struct format_reader *r, size_t *off)
{
	struct arg word, number;
	uint64_t n = 0, unit;
	size_t i;
	int c;

	read_arg(r, off, &word, 16, "length of an option");
	if (is_word(r, &word, "PXAT"))
		unit = 1000000;
	else if (is_word(r, &word, "EXAT"))
		unit = 1000000000;
	else
		format_bad_at(r, word.at, "a SET takes PXAT or EXAT only");
	read_arg(r, off, &number, 20, "length of a time");
	for (i = 0; i < number.len; i++) {
		c = format_at(r)[number.at + i];
		if (c < '0' || c > '9' || n > UINT64_MAX / unit / 10 - 1)
			break;
		n = n * 10 + (uint64_t)(c - '0');
	}
	if (i < number.len || n == 0)
		format_bad_at(r, number.at, "not a time after 1970");
	return n * unit;
}

static int
read_resp(struct format_reader *r, struct format_record *rec)
{
	struct arg name, key, value = { 0, 0 };
	size_t off = 0, n;

	if (format_byte(r, 0) == -1)
		return 0;
	n = header(r, &off, '*', ARGS_MAX, "the number of arguments");
	if (n < 2)
		format_bad(r, NULL, "neither SET nor DEL");
	read_arg(r, &off, &name, 16, "length of a command");
	rec->op = is_word(r, &name, "DEL") ? FORMAT_DELETE : FORMAT_PUT;
	if (rec->op == FORMAT_PUT && !is_word(r, &name, "SET"))
		format_bad(r, NULL, "neither SET nor DEL");
	if (rec->op == FORMAT_DELETE ? n != 2 : n != 3 && n != 5)
		format_bad(r, NULL, "%s with %zu arguments",
		    rec->op == FORMAT_DELETE ? "DEL" : "SET", n - 1);
	read_arg(r, &off, &key, KEVO_KEY_MAX, "length of a key");
	if (key.len == 0)
		format_bad(r, NULL, "empty key");
	if (n > 2)
		read_arg(r, &off, &value, KEVO_VALUE_MAX, "length of a value");
	rec->expires_ns = n == 5 ? read_expiry(r, &off) : 0;
	rec->line = ++r->line;
	rec->key = format_at(r) + key.at;
	rec->klen = key.len;
	rec->value = format_at(r) + value.at;
	rec->vlen = value.len;
	format_take(r, off);
	return 1;
}

/* ---- writing ----------------------------------------------------------- */

static void
put_arg(const void *p, size_t len)
{
	format_puts("$");
	format_putn(len);
	format_puts("\r\n");
	cli_out(p, len);
	format_puts("\r\n");
}

static void
write_resp(const struct format *f, const struct kevo_record *rec)
{
	uint8_t ms[20];
	uint64_t n;

	(void)f;
	format_puts(rec->expires_ns != 0 ? "*5\r\n$3\r\nSET\r\n" :
	    "*3\r\n$3\r\nSET\r\n");
	put_arg(rec->key, rec->klen);
	put_arg(rec->value, rec->vlen);
	if (rec->expires_ns == 0)
		return;
	/* Rounded up: 0 would be refused, and nothing expires early. */
	n = rec->expires_ns / 1000000 + (rec->expires_ns % 1000000 != 0);
	format_puts("$4\r\nPXAT\r\n");
	put_arg(ms, format_decimal(ms, n));
}

static void
remove_resp(const struct format *f, const struct kevo_record *rec)
{
	(void)f;
	format_puts("*2\r\n$3\r\nDEL\r\n");
	put_arg(rec->key, rec->klen);
}

const struct format_ops format_resp = {
	.name = "resp",
	.can = CAN_READ | CAN_WRITE | CAN_DELETE | IS_BINARY,
	.read = read_resp, .write = write_resp, .remove = remove_resp
};
