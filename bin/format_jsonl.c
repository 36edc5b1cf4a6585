/*
 * format_jsonl: one JSON object a line.
 *
 * What is not UTF-8 travels as base64 in a member of another name, so that
 * every key and value has one notation and comes back as it was.
 */
#include <string.h>

#include "escape.h"
#include "format_internal.h"

/* Each byte may be written as \u00hh, and other members may stand there. */
#define LINE_MAX_ (6 * ((size_t)KEVO_KEY_MAX + KEVO_VALUE_MAX))

/* ---- reading ----------------------------------------------------------- */

enum member { KEY, KEY64, VALUE, VALUE64, EXPIRES, OTHER };

static const char *const names[OTHER] = {
	"key", "key_base64", "value", "value_base64", "expires"
};

struct object {
	struct format_reader *r;
	struct json j;
	uint8_t *line;
	unsigned seen;		/* bit 1 << member */
	struct json_string key, value;
	const uint8_t *raw;	/* -j: the value's text */
	size_t raw_len;
	uint64_t expires_ns;
};

static void bad_json(struct object *o) __attribute__((noreturn));

static void
bad_json(struct object *o)
{
	format_bad(o->r, NULL, "bad JSON at column %zu: %s",
	    (size_t)(o->j.p - o->line) + 1, o->j.error);
}

/* Pass space and then one byte, which must be c. */
static int
token(struct object *o, int c)
{
	json_space(&o->j);
	if (o->j.p == o->j.end || *o->j.p != c)
		return 0;
	o->j.p++;
	return 1;
}

static void
need_token(struct object *o, int c, const char *error)
{
	if (!token(o, c)) {
		o->j.error = error;
		bad_json(o);
	}
}

/* Decode a string where it stands.  The parser has passed it. */
static void
decode_in_place(struct object *o, struct json_string *s)
{
	uint8_t *p = o->line + (s->p - o->line);

	if (s->escapes) {
		s->len = json_decode(p, s);
		s->escapes = 0;
	}
}

static enum member
read_name(struct object *o)
{
	struct json_string s;
	size_t i;

	json_space(&o->j);
	if (!json_string(&o->j, &s))
		bad_json(o);
	decode_in_place(o, &s);
	need_token(o, ':', "no colon behind a name");
	json_space(&o->j);
	for (i = 0; i < OTHER; i++)
		if (strlen(names[i]) == s.len &&
		    memcmp(names[i], s.p, s.len) == 0)
			break;
	return (enum member)i;
}

static void
read_string(struct object *o, enum member m, struct json_string *s)
{
	if (o->j.p == o->j.end || *o->j.p != '"')
		format_bad(o->r, m == VALUE ? "use -j to store JSON values" :
		    NULL, "\"%s\" is not a string", names[m]);
	if (!json_string(&o->j, s))
		bad_json(o);
	decode_in_place(o, s);
}

static void
read_base64(struct object *o, enum member m, struct json_string *s)
{
	uint8_t *p;
	size_t bad;

	read_string(o, m, s);
	p = o->line + (s->p - o->line);
	s->len = base64_decode(p, p, s->len, &bad);
	if (s->len == (size_t)-1)
		format_bad(o->r, NULL, "\"%s\" is not base64: wrong at its "
		    "character %zu", names[m], bad + 1);
}

static void
read_raw(struct object *o)
{
	o->raw = o->j.p;
	if (!json_value(&o->j))
		bad_json(o);
	o->raw_len = (size_t)(o->j.p - o->raw);
}

/* Multiply by 10^power; 0 if that is too large. */
static int
scale(uint64_t *n, long power)
{
	for (; power > 0 && *n != 0; power--) {
		if (*n > UINT64_MAX / 10)
			return 0;
		*n *= 10;
	}
	for (; power < 0 && *n != 0; power++)
		*n /= 10;
	return 1;
}

/* The nanoseconds of a JSON number of seconds; 0 if out of range. */
static uint64_t
seconds_to_ns(const uint8_t *p, size_t len)
{
	uint64_t n = 0;
	size_t i;
	long power = 9, e = 0;
	int fraction = 0, full = 0, minus = 0;

	for (i = 0; i < len && (p[i] | 0x20) != 'e'; i++) {
		if (p[i] == '-')
			return 0;
		if (p[i] == '.') {
			fraction = 1;
			continue;
		}
		full |= n > (UINT64_MAX - 9) / 10;
		if (!full)
			n = n * 10 + (uint64_t)(p[i] - '0');
		power += full - fraction;
	}
	for (; i < len; i++) {
		minus |= p[i] == '-';
		if (p[i] >= '0' && p[i] <= '9' && e < 1000000)
			e = e * 10 + (p[i] - '0');
	}
	return scale(&n, power + (minus ? -e : e)) ? n : 0;
}

static void
read_expires(struct object *o)
{
	const uint8_t *p = o->j.p;

	if (p == o->j.end || (*p != '-' && (*p < '0' || *p > '9')))
		format_bad(o->r, NULL, "\"expires\" is not a number");
	if (!json_number(&o->j))
		bad_json(o);
	o->expires_ns = seconds_to_ns(p, (size_t)(o->j.p - p));
	if (o->expires_ns == 0)
		format_bad(o->r, NULL, "\"expires\" is not a time after 1970 "
		    "in seconds");
}

static void
read_member(struct object *o)
{
	enum member m = read_name(o);
	const struct format *f = o->r->f;

	if (f->keys_only && m != KEY && m != KEY64)
		m = OTHER;
	if (m != OTHER && (o->seen & 1u << m))
		format_bad(o->r, NULL, "\"%s\" stands there twice", names[m]);
	o->seen |= 1u << m;
	if (m == OTHER) {
		if (!json_value(&o->j))
			bad_json(o);
	} else if (m == KEY) {
		read_string(o, m, &o->key);
	} else if (m == KEY64) {
		read_base64(o, m, &o->key);
	} else if (m == VALUE64) {
		read_base64(o, m, &o->value);
	} else if (m == EXPIRES) {
		read_expires(o);
	} else if (f->json_values) {
		read_raw(o);
	} else {
		read_string(o, m, &o->value);
	}
}

/* One of the two forms of a member must have been there. */
static void
check_forms(struct object *o, enum member plain, enum member coded)
{
	unsigned both = 1u << plain | 1u << coded;

	if ((o->seen & both) == both)
		format_bad(o->r, NULL, "both \"%s\" and \"%s\"", names[plain],
		    names[coded]);
	if ((o->seen & both) == 0)
		format_bad(o->r, NULL, "no \"%s\"", names[plain]);
}

static void
parse_object(struct object *o)
{
	need_token(o, '{', "no object");
	if (!token(o, '}')) {
		do
			read_member(o);
		while (token(o, ','));
		need_token(o, '}', "no comma or } in an object");
	}
	json_space(&o->j);
	if (o->j.p < o->j.end) {
		o->j.error = "text after the object";
		bad_json(o);
	}
	check_forms(o, KEY, KEY64);
	if (!o->r->f->keys_only)
		check_forms(o, VALUE, VALUE64);
}

/* Take the next line; 0 at the end of input. */
static int
take_line(struct format_reader *r, uint8_t **line, size_t *len)
{
	size_t at;

	r->line++;
	if ((at = format_find(r, 0, '\n', LINE_MAX_)) == FORMAT_LONG)
		format_bad(r, NULL, "the line is too long");
	if (at == FORMAT_NONE && format_have(r) == 0)
		return 0;
	*line = format_at(r);
	*len = at == FORMAT_NONE ? format_have(r) : at;
	format_take(r, *len + (at != FORMAT_NONE));
	return 1;
}

static int
read_jsonl(struct format_reader *r, struct format_record *rec)
{
	struct object o;
	size_t len;

	memset(&o, 0, sizeof(o));
	if (!take_line(r, &o.line, &len))
		return 0;
	o.r = r;
	o.j.p = o.line;
	o.j.end = o.line + len;
	json_space(&o.j);
	if (o.j.p == o.j.end)
		format_bad(r, NULL, "blank line");
	parse_object(&o);
	rec->op = FORMAT_PUT;
	rec->line = r->line;
	rec->expires_ns = o.expires_ns;
	rec->key = o.key.p;
	rec->klen = o.key.len;
	rec->value = o.raw != NULL ? o.raw : o.value.p;
	rec->vlen = o.raw != NULL ? o.raw_len : o.value.len;
	if (rec->value == NULL)
		rec->value = o.line;	/* a key list */
	format_check_key(r, rec->klen);
	format_check_value(r, rec->vlen);
	return 1;
}

/* ---- writing ----------------------------------------------------------- */

static void
put_base64(const char *name, const void *p, size_t len)
{
	format_puts("\"");
	format_puts(name);
	format_puts("_base64\":\"");
	format_put(base64_encode, 4, p, len);
	format_puts("\"");
}

void
json_put_member(const struct format *f, const char *name, const void *p,
    size_t len)
{
	if (f->kind == FORMAT_JSONL64 || !utf8_valid(p, len)) {
		put_base64(name, p, len);
		return;
	}
	format_puts("\"");
	format_puts(name);
	format_puts("\":\"");
	format_put(f->terminal ? json_encode_terminal : json_encode, 6, p,
	    len);
	format_puts("\"");
}

/* Line ends can only stand between the tokens of valid JSON, where a blank
 * means the same and keeps the object on its line. */
static size_t
embed(uint8_t *dst, const uint8_t *src, size_t len)
{
	size_t i;

	for (i = 0; i < len; i++)
		dst[i] = src[i] == '\n' || src[i] == '\r' ? ' ' : src[i];
	return len;
}

/* Other bytes than ASCII and 7f can only stand in strings. */
static size_t
embed_terminal(uint8_t *dst, const uint8_t *src, size_t len)
{
	uint8_t *d = dst;
	size_t i, n;

	for (i = 0; i < len; i += n) {
		n = src[i] >= 0x80 ? utf8_len(src + i, len - i) : 1;
		if (src[i] >= 0x7f)
			d += json_encode_terminal(d, src + i, n);
		else
			d += embed(d, src + i, n);
	}
	return (size_t)(d - dst);
}

static void
put_value(const struct format *f, const struct kevo_record *rec)
{
	if (!f->json_values || f->kind == FORMAT_JSONL64 ||
	    !json_valid(rec->value, rec->vlen)) {
		json_put_member(f, "value", rec->value, rec->vlen);
		return;
	}
	format_puts("\"value\":");
	format_put(f->terminal ? embed_terminal : embed, 6, rec->value,
	    rec->vlen);
}

/* Seconds, with as many decimals as they need. */
void
json_put_seconds(uint64_t ns)
{
	uint8_t digits[10];
	uint64_t part = ns % 1000000000;
	size_t len = 10;

	format_putn(ns / 1000000000);
	if (part == 0)
		return;
	format_decimal(digits, 1000000000 + part);
	digits[0] = '.';
	while (digits[len - 1] == '0')
		len--;
	cli_out(digits, len);
}

static void
write_jsonl(const struct format *f, const struct kevo_record *rec)
{
	format_puts("{");
	if (!f->values_only)
		json_put_member(f, "key", rec->key, rec->klen);
	if (!f->values_only && !f->keys_only)
		format_puts(",");
	if (!f->keys_only)
		put_value(f, rec);
	if (f->meta) {
		format_puts(",\"version\":");
		format_putn(rec->version);
		if (rec->expires_ns != 0) {
			format_puts(",\"expires\":");
			json_put_seconds(rec->expires_ns);
		}
	}
	format_puts("}\n");
}

const struct format_ops format_jsonl = {
	.name = "jsonl",
	.can = CAN_READ | CAN_READ_KEYS | CAN_WRITE | CAN_WRITE_KEYS |
	    CAN_WRITE_VALUES | CAN_META,
	.read = read_jsonl, .write = write_jsonl
};

const struct format_ops format_jsonl64 = {
	.name = "jsonl64",
	.can = CAN_READ | CAN_READ_KEYS | CAN_WRITE | CAN_WRITE_KEYS |
	    CAN_WRITE_VALUES | CAN_META,
	.read = read_jsonl, .write = write_jsonl
};
