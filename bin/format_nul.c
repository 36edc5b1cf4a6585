/*
 * format_nul: fields that end with NUL, and raw bytes.
 */
#include "escape.h"
#include "format_internal.h"
#include "format_scan.h"

/* ---- nul --------------------------------------------------------------- */

/* Find the end of a field; fails if there is none.  what begins with an
 * article. */
static size_t
find_nul(struct format_reader *r, size_t from, size_t max, const char *what)
{
	size_t at = format_find(r, from, 0, max);

	if (at == FORMAT_LONG)
		format_bad(r, NULL, "%s of more than %zu bytes", what, max);
	if (at == FORMAT_NONE)
		format_bad(r, NULL, "the input ends inside %s: no NUL", what);
	return at;
}

/* Pass a field of a version, which -m puts between key and value. */
static size_t
skip_version(struct format_reader *r, size_t from)
{
	size_t end = find_nul(r, from, 20, "a version"), i;

	for (i = from; i < end; i++)
		if (format_at(r)[i] < '0' || format_at(r)[i] > '9')
			break;
	if (i < end || i == from)
		format_bad(r, NULL, "no version between key and value");
	return end + 1;
}

static int
read_nul(struct format_reader *r, struct format_record *rec)
{
	size_t klen, value, end;

	r->line++;
	if (format_have(r) == 0 && !format_more(r, 0))
		return 0;
	klen = find_nul(r, 0, KEVO_KEY_MAX, "a key");
	format_check_key(r, klen);
	value = end = klen + 1;
	if (!r->f->keys_only) {
		if (format_byte(r, value) == -1)
			format_bad(r, NULL, "a key without a value at the "
			    "end: the number of fields is odd");
		if (r->f->meta)
			value = skip_version(r, value);
		end = find_nul(r, value, KEVO_VALUE_MAX, "a value") + 1;
	}
	rec->op = FORMAT_PUT;
	rec->line = r->line;
	rec->expires_ns = 0;
	rec->key = format_at(r);
	rec->klen = klen;
	rec->value = format_at(r) + value;
	rec->vlen = r->f->keys_only ? 0 : end - 1 - value;
	format_take(r, end);
	return 1;
}

static void
check_nul(const struct kevo_record *rec, const void *p, size_t len)
{
	if (scan1(p, 0, len, 0) < len)
		format_refuse(rec, "use -f tsv, which escapes them",
		    "nul cannot hold NUL");
}

static void
put_bytes(const struct format *f, const void *p, size_t len)
{
	if (f->terminal)
		format_put(escape_show, 4, p, len);
	else
		cli_out(p, len);
}

static void
write_nul(const struct format *f, const struct kevo_record *rec)
{
	if (!f->values_only)
		check_nul(rec, rec->key, rec->klen);
	if (!f->keys_only)
		check_nul(rec, rec->value, rec->vlen);
	if (!f->values_only) {
		put_bytes(f, rec->key, rec->klen);
		cli_out("", 1);
	}
	if (f->meta) {
		format_putn(rec->version);
		cli_out("", 1);
	}
	if (!f->keys_only) {
		put_bytes(f, rec->value, rec->vlen);
		cli_out("", 1);
	}
}

/* ---- raw --------------------------------------------------------------- */

static void
write_raw(const struct format *f, const struct kevo_record *rec)
{
	if (f->keys_only)
		cli_out(rec->key, rec->klen);
	else
		cli_out(rec->value, rec->vlen);
}

const struct format_ops format_nul = {
	.name = "nul",
	.can = CAN_READ | CAN_READ_KEYS | CAN_WRITE | CAN_WRITE_KEYS |
	    CAN_WRITE_VALUES | CAN_META | IS_BINARY,
	.read = read_nul, .write = write_nul
};

const struct format_ops format_raw = {
	.name = "raw", .can = CAN_WRITE | CAN_WRITE_KEYS | CAN_WRITE_VALUES,
	.write = write_raw
};
