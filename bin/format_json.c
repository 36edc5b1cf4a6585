/*
 * format_json: the grammar of RFC 8259, and strings.
 *
 * Passing text and decoding it are two steps: most strings hold no escape
 * and are used where they stand, and values of members nobody asked for
 * are only passed.
 */
#include <string.h>

#include "escape.h"
#include "format_internal.h"
#include "format_scan.h"

/* Arrays and objects inside each other; more is refused, not recursed. */
#define DEPTH_MAX 512

static int
fail(struct json *j, const char *error)
{
	if (j->error == NULL)
		j->error = error;
	return 0;
}

void
json_space(struct json *j)
{
	while (j->p < j->end && (*j->p == ' ' || *j->p == '\t' ||
	    *j->p == '\n' || *j->p == '\r'))
		j->p++;
}

/* Pass one byte if it is c. */
static int
accept(struct json *j, int c)
{
	if (j->p == j->end || *j->p != c)
		return 0;
	j->p++;
	return 1;
}

/* ---- passing ----------------------------------------------------------- */

/* The number of four hexadecimal digits at p, or -1. */
static int
four_digits(const uint8_t *p, const uint8_t *end)
{
	int i, v, n = 0;

	if (end - p < 4)
		return -1;
	for (i = 0; i < 4; i++) {
		if ((v = hex_digit(p[i])) < 0)
			return -1;
		n = n << 4 | v;
	}
	return n;
}

/* Pass \uXXXX, or two of them that are a surrogate pair. */
static int
pass_unicode(struct json *j)
{
	int u = four_digits(j->p + 2, j->end);

	if (u < 0)
		return fail(j, "bad \\u escape");
	if (u >= 0xdc00 && u <= 0xdfff)
		return fail(j, "lone surrogate");
	if (u >= 0xd800 && u <= 0xdbff) {
		if (j->end - j->p < 12 || j->p[6] != '\\' || j->p[7] != 'u')
			return fail(j, "lone surrogate");
		u = four_digits(j->p + 8, j->end);
		if (u < 0xdc00 || u > 0xdfff)
			return fail(j, "lone surrogate");
		j->p += 6;
	}
	j->p += 6;
	return 1;
}

static int
pass_escape(struct json *j)
{
	if (j->end - j->p < 2)
		return fail(j, "string without end");
	if (j->p[1] == 'u')
		return pass_unicode(j);
	if (j->p[1] == 0 || strchr("\"\\/bfnrt", j->p[1]) == NULL)
		return fail(j, "bad escape");
	j->p += 2;
	return 1;
}

int
json_string(struct json *j, struct json_string *s)
{
	size_t n;

	if (!accept(j, '"'))
		return fail(j, "no string");
	s->p = j->p;
	s->escapes = 0;
	for (;;) {
		j->p += scan_odd(j->p, 0, (size_t)(j->end - j->p), '"', '\\');
		if (j->p == j->end)
			return fail(j, "string without end");
		if (*j->p == '"')
			break;
		if (*j->p == '\\') {
			s->escapes = 1;
			if (!pass_escape(j))
				return 0;
		} else if (*j->p < 0x20) {
			return fail(j, "control character in a string");
		} else {
			n = utf8_len(j->p, (size_t)(j->end - j->p));
			if (n == 0)
				return fail(j, "not UTF-8");
			j->p += n;
		}
	}
	s->len = (size_t)(j->p - s->p);
	j->p++;
	return 1;
}

static int
pass_digits(struct json *j)
{
	const uint8_t *from = j->p;

	while (j->p < j->end && *j->p >= '0' && *j->p <= '9')
		j->p++;
	return j->p > from ? 1 : fail(j, "bad number");
}

int
json_number(struct json *j)
{
	accept(j, '-');
	if (!accept(j, '0') && !pass_digits(j))
		return 0;
	if (accept(j, '.') && !pass_digits(j))
		return 0;
	if (accept(j, 'e') || accept(j, 'E')) {
		if (!accept(j, '+'))
			accept(j, '-');
		return pass_digits(j);
	}
	return 1;
}

static int
pass_word(struct json *j, const char *word)
{
	size_t n = strlen(word);

	if ((size_t)(j->end - j->p) < n || memcmp(j->p, word, n) != 0)
		return fail(j, "no value");
	j->p += n;
	return 1;
}

static int
pass_scalar(struct json *j)
{
	struct json_string s;

	if (j->p == j->end)
		return fail(j, "no value");
	switch (*j->p) {
	case '"':
		return json_string(j, &s);
	case 't':
		return pass_word(j, "true");
	case 'f':
		return pass_word(j, "false");
	case 'n':
		return pass_word(j, "null");
	default:
		if (*j->p != '-' && (*j->p < '0' || *j->p > '9'))
			return fail(j, "no value");
		return json_number(j);
	}
}

static int
pass_name(struct json *j)
{
	struct json_string s;

	json_space(j);
	if (!json_string(j, &s))
		return 0;
	json_space(j);
	return accept(j, ':') ? 1 : fail(j, "no colon behind a name");
}

/* Pass "," and what begins the next member, or the ends of containers;
 * inside is a stack with one bit for each, set for objects. */
static int
pass_ends(struct json *j, uint8_t *inside, size_t *depth)
{
	int object;

	while (*depth > 0) {
		object = inside[*depth - 1];
		json_space(j);
		if (accept(j, ','))
			return object ? pass_name(j) : 1;
		if (!accept(j, object ? '}' : ']'))
			return fail(j, object ? "no comma or } in an object" :
			    "no comma or ] in an array");
		--*depth;
	}
	return 1;
}

int
json_value(struct json *j)
{
	uint8_t inside[DEPTH_MAX];
	size_t depth = 0;
	int object;

	do {
		json_space(j);
		if ((object = accept(j, '{')) || accept(j, '[')) {
			if (depth == DEPTH_MAX)
				return fail(j, "nested too deeply");
			inside[depth++] = (uint8_t)object;
			json_space(j);
			if (j->p == j->end || *j->p != (object ? '}' : ']')) {
				if (object && !pass_name(j))
					return 0;
				continue;	/* with its first member */
			}
		} else if (!pass_scalar(j)) {
			return 0;
		}
		if (!pass_ends(j, inside, &depth))
			return 0;
	} while (depth > 0);
	return 1;
}

int
json_valid(const uint8_t *p, size_t len)
{
	struct json j = { p, p + len, NULL };

	json_space(&j);
	if (!json_value(&j))
		return 0;
	json_space(&j);
	return j.p == j.end;
}

/* ---- decoding ---------------------------------------------------------- */

static uint8_t *
put_utf8(uint8_t *d, unsigned u)
{
	if (u < 0x80) {
		*d++ = (uint8_t)u;
		return d;
	}
	if (u < 0x800) {
		*d++ = (uint8_t)(0xc0 | u >> 6);
	} else {
		if (u < 0x10000) {
			*d++ = (uint8_t)(0xe0 | u >> 12);
		} else {
			*d++ = (uint8_t)(0xf0 | u >> 18);
			*d++ = (uint8_t)(0x80 | (u >> 12 & 63));
		}
		*d++ = (uint8_t)(0x80 | (u >> 6 & 63));
	}
	*d++ = (uint8_t)(0x80 | (u & 63));
	return d;
}

/* Decode the escape at p; returns what follows it. */
static const uint8_t *
take_escape(uint8_t **d, const uint8_t *p, const uint8_t *end)
{
	static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
	unsigned u;

	if (p[1] != 'u') {
		*(*d)++ = (uint8_t)to[strchr(from, p[1]) - from];
		return p + 2;
	}
	u = (unsigned)four_digits(p + 2, end);
	p += 6;
	if (u >= 0xd800 && u <= 0xdbff) {
		u = 0x10000 + ((u - 0xd800) << 10) +
		    ((unsigned)four_digits(p + 2, end) - 0xdc00);
		p += 6;
	}
	*d = put_utf8(*d, u);
	return p;
}

size_t
json_decode(uint8_t *dst, const struct json_string *s)
{
	const uint8_t *p = s->p, *end = s->p + s->len;
	uint8_t *d = dst;
	size_t n;

	for (;;) {
		n = scan1(p, 0, (size_t)(end - p), '\\');
		if (n > 0 && d != p)
			memmove(d, p, n);
		d += n;
		p += n;
		if (p == end)
			return (size_t)(d - dst);
		p = take_escape(&d, p, end);
	}
}

/* ---- encoding ---------------------------------------------------------- */

static uint8_t *
put_u(uint8_t *d, unsigned u)
{
	static const char hexdigits[] = "0123456789abcdef";

	*d++ = '\\';
	*d++ = 'u';
	*d++ = (uint8_t)hexdigits[u >> 12];
	*d++ = (uint8_t)hexdigits[u >> 8 & 15];
	*d++ = (uint8_t)hexdigits[u >> 4 & 15];
	*d++ = (uint8_t)hexdigits[u & 15];
	return d;
}

/* Encode the character at p, which is not plain; returns its length. */
static size_t
put_odd(uint8_t **dp, const uint8_t *p, size_t left, int terminal)
{
	static const char from[] = "\"\\\b\f\n\r\t", to[] = "\"\\bfnrt";
	const char *at;
	uint8_t *d = *dp;
	size_t i, n = 1;

	if (*p >= 0x80) {
		n = utf8_len(p, left);
		if (terminal && utf8_disturbs(p, n))
			d = put_u(d, n == 2 ?
			    (p[0] & 0x1fu) << 6 | (p[1] & 0x3fu) :
			    (p[0] & 0x0fu) << 12 | (p[1] & 0x3fu) << 6 |
			    (p[2] & 0x3fu));
		else
			for (i = 0; i < n; i++)
				*d++ = p[i];
	} else if (*p != 0 && (at = strchr(from, *p)) != NULL) {
		*d++ = '\\';
		*d++ = (uint8_t)to[at - from];
	} else {
		d = put_u(d, *p);
	}
	*dp = d;
	return n;
}

static size_t
encode(uint8_t *dst, const uint8_t *p, size_t len, int terminal)
{
	const uint8_t *end = p + len;
	uint8_t *d = dst;
	size_t n;
	unsigned m;

	while (p < end) {
		if (end - p >= SCAN_STEP) {
			m = scan_copy_odd(d, p, '"', '\\');
			n = m == 0 ? SCAN_STEP : scan_first(m);
			p += n;
			d += n;
			if (m == 0)
				continue;
		} else if (*p >= 0x20 && *p < 0x7f && *p != '"' &&
		    *p != '\\') {
			*d++ = *p++;
			continue;
		}
		do
			p += put_odd(&d, p, (size_t)(end - p), terminal);
		while (p < end && *p >= 0x80);
	}
	return (size_t)(d - dst);
}

size_t
json_encode(uint8_t *dst, const uint8_t *src, size_t len)
{
	return encode(dst, src, len, 0);
}

size_t
json_encode_terminal(uint8_t *dst, const uint8_t *src, size_t len)
{
	return encode(dst, src, len, 1);
}
