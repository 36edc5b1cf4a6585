/*
 * format_tab_read: lines of fields that are separated by TAB: tsv, text,
 * hex, base64 and ops.
 *
 * This is the way of bulk input.  One pass finds the end of the line, the
 * first TAB and whether there is anything to unescape; a line without
 * escapes is not touched again.
 */
#include <stdio.h>
#include <string.h>

#include "escape.h"
#include "format_internal.h"
#include "format_scan.h"
#include "format_tab.h"

/* A backslash escape makes at most 4 bytes of one, hex and base64 less. */
#define KEY_FIELD_MAX	(4 * (size_t)KEVO_KEY_MAX)
#define VALUE_FIELD_MAX	(4 * (size_t)KEVO_VALUE_MAX)

static const char hint_text[] = "use -f text for unescaped input";
static const char hint_crlf[] = "use --crlf";
static const char hint_keys[] = "-k takes lines of keys alone";
static const char hint_binary[] =
    "is it binary? kevo-put -i DB KEY stores all input as one value";

struct line {
	size_t len;		/* without its end */
	size_t end;		/* with its end */
	size_t tab;		/* the first TAB, or FORMAT_NONE */
	int escapes;		/* there is a backslash */
};

/* Control characters that no text has, and what is not UTF-8.  The end may be
 * that of a buffer, inside a character. */
static int
looks_binary(const uint8_t *p, size_t len)
{
	size_t n;

	for (; len > 0; p += n, len -= n) {
		n = utf8_len(p, len);
		if (n == 0 && len > 3)
			return 1;
		if (n == 0)
			n = 1;
		if (p[0] < 0x20 && (p[0] == 0 || strchr("\t\n\v\f\r\b\033",
		    p[0]) == NULL))
			return 1;
	}
	return 0;
}

/* The hint about a record, or a better one: p is what of it is still as it
 * came, from what is wrong on. */
static const char *
advise(const struct format_reader *r, const uint8_t *p, size_t len,
    const char *hint)
{
	if (r->f->keys_only || r->f->kind == FORMAT_OPS ||
	    !looks_binary(p, len))
		return hint;
	return hint_binary;
}

/* A field that no record could have is not worth reading to its end. */
static void
check_growth(struct format_reader *r, const struct line *l, size_t have)
{
	if (l->tab == FORMAT_NONE && have > KEY_FIELD_MAX + 32)
		format_bad(r, advise(r, format_at(r), have, NULL),
		    "no TAB in %zu bytes: the key is too long", have);
	/* In ops the key is behind the first TAB too. */
	if (l->tab != FORMAT_NONE && have - l->tab > KEY_FIELD_MAX +
	    VALUE_FIELD_MAX + 32)
		format_bad(r, NULL, "the value is too long");
}

/* Find the next line; 0 at the end of input.  backslash is the byte that
 * begins an escape, or LF if there are none. */
static inline int
find_line(struct format_reader *r, struct line *l, int backslash)
{
	size_t i = 0, n;
	const uint8_t *p;

	l->tab = FORMAT_NONE;
	l->escapes = 0;
	for (;;) {
		p = format_at(r);
		n = format_have(r);
		while (i < n) {
			if (l->tab == FORMAT_NONE)
				i = scan3(p, i, n, '\n', '\t', backslash);
			else if (l->escapes)
				i = scan1(p, i, n, '\n');
			else
				i = scan3(p, i, n, '\n', backslash, backslash);
			if (i == n)
				break;
			if (p[i] == '\n') {
				l->len = i;
				l->end = i + 1;
				return 1;
			}
			if (p[i] == '\t' && l->tab == FORMAT_NONE)
				l->tab = i;
			else
				l->escapes = 1;
			i++;
		}
		check_growth(r, l, n);
		if (!format_more(r, n)) {
			l->len = l->end = n;
			return n > 0;
		}
	}
}

/*
 * Take the next line, without its end.  A CR before the end is a mistake
 * that --crlf allows, but data in text, which has no other way to say it.
 */
static inline uint8_t *
take_line(struct format_reader *r, struct line *l, int backslash)
{
	uint8_t *p;

	r->line++;
	if (!find_line(r, l, backslash))
		return NULL;
	p = format_at(r);
	format_take(r, l->end);
	if (l->len > 0 && p[l->len - 1] == '\r') {
		if (r->f->crlf)
			l->len--;
		else if (r->f->kind != FORMAT_TEXT)
			format_bad(r, advise(r, p, l->len, hint_crlf),
			    "CR before the line's end");
	}
	if (l->len == 0)
		format_bad(r, NULL, "blank line");
	return p;
}

/* The bad escape at p as it should be shown: what a decoder would take. */
static void
bad_escape(struct format_reader *r, const char *what, const uint8_t *p,
    size_t left)
{
	const char *hint = advise(r, p, left, hint_text);
	char text[8];
	size_t i, n = left < 2 ? left : p[1] == 'x' ? 4 : 2;

	if (left < 2)
		format_bad(r, hint, "backslash at the end of %s", what);
	for (i = 0; i < n && i < left && p[i] > 0x20 && p[i] < 0x7f; i++)
		text[i] = (char)p[i];
	text[i] = 0;
	format_bad(r, hint, "bad escape %s in %s", text, what);
}

static size_t
decode_escapes(struct format_reader *r, uint8_t *p, size_t len,
    const char *what)
{
	size_t bad, n = escape_decode(p, p, len, &bad);

	if (n == (size_t)-1)
		bad_escape(r, what, p + bad, len - bad);
	return n;
}

/* Remove the notation of a field in its place; returns its new length. */
static size_t
decode(struct format_reader *r, uint8_t *p, size_t len, const char *what)
{
	size_t bad, n;

	switch (r->f->kind) {
	case FORMAT_HEX:
		n = hex_decode(p, p, len, &bad);
		break;
	case FORMAT_BASE64:
		n = base64_decode(p, p, len, &bad);
		break;
	case FORMAT_TEXT:
		return len;
	default:
		return decode_escapes(r, p, len, what);
	}
	if (n == (size_t)-1)
		format_bad(r, advise(r, p + bad, len - bad, NULL),
		    "%s is not %s: wrong at its character %zu",
		    what, r->ops->name, bad + 1);
	return n;
}

/* With -m a field of the version stands between key and value. */
static size_t
skip_version(struct format_reader *r, const uint8_t *p, size_t i, size_t len)
{
	size_t from = i;

	while (i < len && p[i] >= '0' && p[i] <= '9')
		i++;
	if (i == from || i == len || p[i] != '\t')
		format_bad(r, NULL, "no version between key and value");
	return i + 1;
}

static inline int
read_line(struct format_reader *r, struct format_record *rec, int backslash)
{
	struct line l;
	uint8_t *p;
	size_t at;
	int plain;

	if ((p = take_line(r, &l, backslash)) == NULL)
		return 0;
	plain = backslash == '\\' && !l.escapes;
	rec->op = FORMAT_PUT;
	rec->line = r->line;
	rec->expires_ns = 0;
	rec->key = p;
	rec->klen = l.tab == FORMAT_NONE ? l.len : l.tab;
	rec->value = p + l.len;
	rec->vlen = 0;
	if (!plain)
		rec->klen = decode(r, p, rec->klen, "key");
	format_check_key(r, rec->klen);
	if (r->f->keys_only)
		return 1;

	if (l.tab == FORMAT_NONE)
		format_bad(r, advise(r, p, plain || r->f->kind == FORMAT_TEXT ?
		    l.len : 0, hint_keys),
		    "no TAB between key and value");
	at = l.tab + 1;
	if (r->f->meta)
		at = skip_version(r, p, at, l.len);
	rec->value = p + at;
	rec->vlen = l.len - at;
	if (!plain)
		rec->vlen = decode(r, p + at, rec->vlen, "value");
	format_check_value(r, rec->vlen);
	return 1;
}

int
format_tsv_read(struct format_reader *r, struct format_record *rec)
{
	return read_line(r, rec, '\\');
}

int
format_tab_read(struct format_reader *r, struct format_record *rec)
{
	return read_line(r, rec, '\n');
}

/* ---- ops --------------------------------------------------------------- */

struct word {
	const char *text;
	enum format_op op;
	enum { ALONE, WITH_VALUE, WITH_VERSION } what;	/* behind the key */
};

static const struct word words[] = {
	{ "put", FORMAT_PUT, WITH_VALUE },
	{ "delete", FORMAT_DELETE, ALONE },
	{ "check-value", FORMAT_CHECK_VALUE, WITH_VALUE },
	{ "check-version", FORMAT_CHECK_VERSION, WITH_VERSION },
	{ "check-absent", FORMAT_CHECK_ABSENT, ALONE },
	{ "check-present", FORMAT_CHECK_PRESENT, ALONE }
};

enum { CHANGES = 2 };		/* the words before the checks */

static const struct word *
find_word(struct format_reader *r, const uint8_t *p, size_t len)
{
	size_t i, n = r->f->guarded ? sizeof(words) / sizeof(*words) : CHANGES;

	for (i = 0; i < n; i++)
		if (len == strlen(words[i].text) &&
		    memcmp(p, words[i].text, len) == 0)
			return &words[i];
	format_bad(r, NULL, "unknown operation %s: %s", format_show_key(p, len),
	    r->f->guarded ? "put, delete, check-value, check-version, "
	    "check-absent or check-present" : "put or delete");
}

/* A version is what the rest of the line says in decimal digits. */
static uint64_t
read_version(struct format_reader *r, const uint8_t *p, size_t len)
{
	uint64_t n = 0;
	size_t i;

	for (i = 0; i < len && p[i] >= '0' && p[i] <= '9'; i++)
		if (__builtin_mul_overflow(n, (uint64_t)10, &n) ||
		    __builtin_add_overflow(n, (uint64_t)(p[i] - '0'), &n))
			break;
	if (len == 0 || i < len)
		format_bad(r, NULL, "%s is not a version",
		    format_show_key(p, len));
	return n;
}

int
format_ops_read(struct format_reader *r, struct format_record *rec)
{
	const struct word *w;
	struct line l;
	uint8_t *p;
	size_t key, tab;

	if ((p = take_line(r, &l, '\\')) == NULL)
		return 0;
	key = l.tab == FORMAT_NONE ? l.len : l.tab;
	w = find_word(r, p, key);
	if (l.tab == FORMAT_NONE)
		format_bad(r, NULL, "no TAB after the operation");
	tab = scan1(p, ++key, l.len, '\t');
	rec->op = w->op;
	rec->line = r->line;
	rec->expires_ns = 0;
	rec->version = 0;
	rec->key = p + key;
	rec->klen = tab - key;
	if (l.escapes)
		rec->klen = decode(r, p + key, rec->klen, "key");
	format_check_key(r, rec->klen);
	rec->value = p + l.len;
	rec->vlen = 0;
	if (w->what == ALONE) {
		if (tab < l.len)
			format_bad(r, NULL, "TAB after the key of %s",
			    w->op == FORMAT_DELETE ? "a delete" : w->text);
		return 1;
	}
	if (tab == l.len)
		format_bad(r, NULL, "no TAB between key and %s",
		    w->what == WITH_VALUE ? "value" : "version");
	tab++;
	if (w->what == WITH_VERSION) {
		rec->version = read_version(r, p + tab, l.len - tab);
		return 1;
	}
	rec->value = p + tab;
	rec->vlen = l.len - tab;
	if (l.escapes)
		rec->vlen = decode(r, p + tab, rec->vlen, "value");
	format_check_value(r, rec->vlen);
	return 1;
}
