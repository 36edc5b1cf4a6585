/*
 * format_cdb: lengths and bytes, as cdbmake reads and cdbdump writes them.
 *
 * Nothing is searched for and nothing escaped, and the empty line at the
 * end shows that the stream is whole: the best form for a pipe.
 */
#include "format_internal.h"

static const char cut[] = "the input was cut: no empty line at the end";

/* Pass one byte that must be c. */
static void
expect(struct format_reader *r, size_t off, int c, const char *what)
{
	int got = format_byte(r, off);

	if (got == -1)
		format_bad_at(r, off, "%s", cut);
	if (got != c)
		format_bad_at(r, off, "no %s", what);
}

/* Pass a decimal number of at most max and the byte behind it. */
static size_t
number(struct format_reader *r, size_t *off, int behind, size_t max,
    const char *what)
{
	size_t from = *off, n = 0;
	int c;

	while ((c = format_byte(r, *off)) >= '0' && c <= '9') {
		n = n * 10 + (size_t)(c - '0');
		if (n > max || *off - from > 12)
			format_bad_at(r, from, "%s is longer than %zu bytes",
			    what, max);
		++*off;
	}
	if (c == -1)
		format_bad_at(r, *off, "%s", cut);
	if (*off == from || c != behind)
		format_bad_at(r, *off, "bad length of %s", what);
	++*off;
	return n;
}

static int
read_end(struct format_reader *r)
{
	format_take(r, 1);
	if (format_byte(r, 0) != -1)
		format_bad_at(r, 0, "input after the empty line that ends "
		    "it");
	r->ended = 1;
	return 0;
}

static int
read_cdb(struct format_reader *r, struct format_record *rec)
{
	size_t off = 1, klen, vlen, key, total;

	if (r->ended)
		return 0;
	if (format_byte(r, 0) == '\n')
		return read_end(r);
	expect(r, 0, '+', "+ before the lengths of a record");
	klen = number(r, &off, ',', KEVO_KEY_MAX, "the key");
	vlen = number(r, &off, ':', KEVO_VALUE_MAX, "the value");
	if (klen == 0)
		format_bad_at(r, 0, "empty key");
	key = off;
	total = key + klen + 2 + vlen + 1;
	if (!format_fill(r, total))
		format_bad_at(r, format_have(r), "%s", cut);
	expect(r, key + klen, '-', "-> behind the key");
	expect(r, key + klen + 1, '>', "-> behind the key");
	expect(r, total - 1, '\n', "LF behind the value");
	rec->op = FORMAT_PUT;
	rec->line = ++r->line;
	rec->expires_ns = 0;
	rec->key = format_at(r) + key;
	rec->klen = klen;
	rec->value = format_at(r) + key + klen + 2;
	rec->vlen = vlen;
	format_take(r, total);
	return 1;
}

static void
write_cdb(const struct format *f, const struct kevo_record *rec)
{
	uint8_t *start = cli_out_room(48), *d = start;

	(void)f;
	*d++ = '+';
	d += format_decimal(d, rec->klen);
	*d++ = ',';
	d += format_decimal(d, rec->vlen);
	*d++ = ':';
	cli_out_add((size_t)(d - start));
	cli_out(rec->key, rec->klen);
	cli_out("->", 2);
	cli_out(rec->value, rec->vlen);
	cli_out("\n", 1);
}

static void
end_cdb(const struct format *f)
{
	(void)f;
	cli_out("\n", 1);
}

const struct format_ops format_cdb = {
	.name = "cdb", .can = CAN_READ | CAN_WRITE | IS_BINARY,
	.read = read_cdb, .write = write_cdb, .end = end_cdb
};
