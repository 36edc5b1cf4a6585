/*
 * format: the table of formats, and the functions of format.h.
 */
#include <stdlib.h>
#include <string.h>

#include "escape.h"
#include "format_internal.h"

static const struct format_ops *const table[] = {
	[FORMAT_TSV] = &format_tsv,
	[FORMAT_TEXT] = &format_text,
	[FORMAT_NUL] = &format_nul,
	[FORMAT_RAW] = &format_raw,
	[FORMAT_HEX] = &format_hex,
	[FORMAT_BASE64] = &format_base64,
	[FORMAT_JSONL] = &format_jsonl,
	[FORMAT_JSONL64] = &format_jsonl64,
	[FORMAT_CSV] = &format_csv,
	[FORMAT_CDB] = &format_cdb,
	[FORMAT_DB] = &format_db,
	[FORMAT_LMDB] = &format_lmdb,
	[FORMAT_RESP] = &format_resp,
	[FORMAT_SQL] = &format_sql,
	[FORMAT_OPS] = &format_ops_lines
};

#define FORMATS (sizeof(table) / sizeof(table[0]))

/* ---- names ------------------------------------------------------------- */

static void no_format(const char *name, unsigned allowed)
    __attribute__((noreturn));

static void
no_format(const char *name, unsigned allowed)
{
	char list[FORMATS * 10] = "";
	size_t i, len = 0;

	for (i = 0; i < FORMATS; i++)
		if (allowed & 1u << i) {
			list[len++] = ' ';
			memcpy(list + len, table[i]->name,
			    strlen(table[i]->name) + 1);
			len += strlen(table[i]->name);
		}
	cli_die(EX_USAGE_, "-f %s: the formats here are%s", name, list);
}

enum format_kind
format_parse(const char *name, unsigned allowed)
{
	size_t i;

	for (i = 0; i < FORMATS; i++)
		if (strcmp(name, table[i]->name) == 0 &&
		    (allowed & 1u << i) != 0)
			return (enum format_kind)i;
	no_format(name, allowed);
}

const char *
format_name(enum format_kind kind)
{
	return table[kind]->name;
}

/* ---- what goes together ------------------------------------------------ */

static void
refuse(const struct format *f, unsigned can, const char *what)
{
	if (!(table[f->kind]->can & can))
		cli_die(EX_USAGE_, "format %s %s", table[f->kind]->name, what);
}

static void
check_common(const struct format *f)
{
	if (f->meta)
		refuse(f, CAN_META, "has no place for versions (-m)");
	if (f->json_values && f->kind != FORMAT_JSONL &&
	    f->kind != FORMAT_JSONL64)
		cli_die(EX_USAGE_, "-j needs -f jsonl");
	if (f->encode != FORMAT_PLAIN && f->kind != FORMAT_CSV)
		cli_die(EX_USAGE_, "--encode needs -f csv");
}

/* ---- reading ----------------------------------------------------------- */

struct format_reader *
format_reader_new(const struct format *f, struct cli_in *in)
{
	struct format_reader *r;

	refuse(f, CAN_READ, "can only be written");
	if (f->keys_only)
		refuse(f, CAN_READ_KEYS, "has no lists of keys");
	check_common(f);
	if ((r = calloc(1, sizeof(*r))) == NULL)
		cli_die(cli_status(KEVO_ENOMEM), "out of memory");
	r->f = f;
	r->in = in;
	r->ops = f->guarded ? &format_ops_lines : table[f->kind];
	return r;
}

void
format_reader_free(struct format_reader *r)
{
	free(r);
}

int
format_read(struct format_reader *r, struct format_record *rec)
{
	return r->ops->read(r, rec);
}

/* ---- writing ----------------------------------------------------------- */

void
format_begin(const struct format *f)
{
	refuse(f, CAN_WRITE, "can only be read");
	if (f->keys_only)
		refuse(f, CAN_WRITE_KEYS, "cannot hold keys alone");
	if (f->values_only)
		refuse(f, CAN_WRITE_VALUES, "cannot hold values alone");
	if (f->keys_only && f->values_only)
		cli_die(EX_USAGE_, "keys alone and values alone exclude each "
		    "other");
	check_common(f);
	if (table[f->kind]->begin != NULL)
		table[f->kind]->begin(f);
}

void
format_write(const struct format *f, const struct kevo_record *rec)
{
	table[f->kind]->write(f, rec);
}

void
format_write_delete(const struct format *f, const struct kevo_record *rec)
{
	refuse(f, CAN_DELETE, "cannot hold deletions");
	table[f->kind]->remove(f, rec);
}

void
format_end(const struct format *f)
{
	if (table[f->kind]->end != NULL)
		table[f->kind]->end(f);
}

/* ---- messages ---------------------------------------------------------- */

/* Bytes of the first unit in escaped text: an escape or a character. */
static size_t
unit(const uint8_t *p, size_t len)
{
	if (p[0] == '\\')
		return p[1] == 'x' ? 4 : 2;
	return utf8_len(p, len);
}

const char *
format_show_key(const void *key, size_t klen)
{
	enum { SHOWN = 60, TAKEN = 4 * SHOWN };
	static uint8_t text[4 * TAKEN + 4];
	size_t len, i, n, chars = 0, cut = 0;

	len = escape_encode(text, key, klen < TAKEN ? klen : TAKEN, 1);
	for (i = 0; i < len; i += n) {
		n = unit(text + i, len - i);
		chars += text[i] == '\\' ? n : 1;
		if (chars <= SHOWN - 3)
			cut = i + n;
		if (chars > SHOWN) {
			memcpy(text + cut, "...", 3);
			cut += 3;
			break;
		}
	}
	text[i < len ? cut : len] = '\0';
	return (const char *)text;
}
