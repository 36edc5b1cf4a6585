/*
 * escape: the backslash notation of the tsv format, and UTF-8.
 *
 * Nearly all bytes need no escape, so both directions copy SCAN_STEP bytes
 * at a time and stop only where a byte is not plain.
 */
#include <string.h>

#include "escape.h"
#include "format_scan.h"

static const char hexdigits[] = "0123456789abcdef";

/* ---- UTF-8 ------------------------------------------------------------- */

static int
is_tail(uint8_t c)
{
	return (c & 0xc0) == 0x80;
}

size_t
utf8_len(const uint8_t *p, size_t len)
{
	uint8_t lo = 0x80, hi = 0xbf;

	if (len == 0)
		return 0;
	if (p[0] < 0x80)
		return 1;
	if (p[0] < 0xc2 || p[0] > 0xf4 || len < 2)
		return 0;
	if (p[0] < 0xe0)
		return is_tail(p[1]) ? 2 : 0;
	/* The second byte excludes overlong forms, surrogates and what is
	 * above U+10FFFF. */
	if (p[0] == 0xe0)
		lo = 0xa0;
	else if (p[0] == 0xed)
		hi = 0x9f;
	else if (p[0] == 0xf0)
		lo = 0x90;
	else if (p[0] == 0xf4)
		hi = 0x8f;
	if (p[1] < lo || p[1] > hi || len < 3 || !is_tail(p[2]))
		return 0;
	if (p[0] < 0xf0)
		return 3;
	return len >= 4 && is_tail(p[3]) ? 4 : 0;
}

int
utf8_disturbs(const uint8_t *p, size_t n)
{
	unsigned u;

	if (n == 2) {
		u = (p[0] & 0x1fu) << 6 | (p[1] & 0x3fu);
		return u < 0xa0 || u == 0x61c;
	}
	if (n != 3 || p[0] != 0xe2)
		return 0;
	u = 0x2000u | (p[1] & 0x3fu) << 6 | (p[2] & 0x3fu);
	return u == 0x200e || u == 0x200f || (u >= 0x202a && u <= 0x202e) ||
	    (u >= 0x2066 && u <= 0x2069);
}

int
utf8_valid(const uint8_t *p, size_t len)
{
	size_t i = 0, n;

	while ((i = scan_odd(p, i, len, 0, 0)) < len)
		do {
			if ((n = utf8_len(p + i, len - i)) == 0)
				return 0;
			i += n;
		} while (i < len && p[i] >= 0x80);
	return 1;
}

/* ---- encoding ---------------------------------------------------------- */

enum { TERMINAL = 1, LITERAL = 2 };

/* The letter of a two-character escape, or 0. */
static uint8_t
letter_of(uint8_t c)
{
	switch (c) {
	case '\t':
		return 't';
	case '\n':
		return 'n';
	case '\r':
		return 'r';
	case '\\':
		return '\\';
	default:
		return 0;
	}
}

static uint8_t *
put_escape(uint8_t *d, uint8_t c)
{
	*d++ = '\\';
	if ((*d = letter_of(c)) != 0)
		return d + 1;
	*d++ = 'x';
	*d++ = (uint8_t)hexdigits[c >> 4];
	*d++ = (uint8_t)hexdigits[c & 15];
	return d;
}

/*
 * Encode what begins with a byte that is not plain; returns how many bytes
 * of src that took.  Of a disturbing sequence only the first byte is taken:
 * those left are not well-formed by themselves and so follow it.
 */
static size_t
put_odd(uint8_t **dp, const uint8_t *s, size_t left, int how)
{
	uint8_t *d = *dp, c = *s;
	size_t i, n;

	if (c >= 0x80 && (n = utf8_len(s, left)) != 0 &&
	    !((how & TERMINAL) && utf8_disturbs(s, n))) {
		for (i = 0; i < n; i++)
			*d++ = s[i];
		*dp = d;
		return n;
	}
	if ((how & LITERAL) && (c == '\\' || c == '\t' || c == '\n'))
		*d++ = c;
	else
		d = put_escape(d, c);
	*dp = d;
	return 1;
}

static int
is_odd(uint8_t c)
{
	return c < 0x20 || c >= 0x7f || c == '\\';
}

static size_t
encode(uint8_t *dst, const uint8_t *s, size_t len, int how)
{
	const uint8_t *end = s + len;
	uint8_t *d = dst;
	size_t left, back;
	unsigned m;
	int clean = 0;

	while ((left = (size_t)(end - s)) > 0) {
		if (left < SCAN_STEP && clean) {
			/* The bytes before were copied as they are: take
			 * some of them again to fill the step. */
			back = SCAN_STEP - left;
			s -= back;
			d -= back;
			left = SCAN_STEP;
		}
		if (left >= SCAN_STEP) {
			m = scan_copy_odd(d, s, '\\', '\\');
			clean = m == 0;
			s += clean ? SCAN_STEP : scan_first(m);
			d += clean ? SCAN_STEP : scan_first(m);
			if (clean)
				continue;
		} else if (!is_odd(*s)) {
			*d++ = *s++;
			continue;
		}
		do
			s += put_odd(&d, s, (size_t)(end - s), how);
		while (s < end && *s >= 0x80);
	}
	return (size_t)(d - dst);
}

size_t
escape_encode(uint8_t *dst, const uint8_t *src, size_t len, int terminal)
{
	return encode(dst, src, len, terminal ? TERMINAL : 0);
}

size_t
escape_show(uint8_t *dst, const uint8_t *src, size_t len)
{
	return encode(dst, src, len, TERMINAL | LITERAL);
}

/* ---- decoding ---------------------------------------------------------- */

static int
hex_value(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Decode the escape at s, which begins with a backslash.  Returns its
 * length, or 0 if it is not one. */
static size_t
take_escape(uint8_t *out, const uint8_t *s, size_t left)
{
	static const char from[] = "tnr\\0bfv", to[] = "\t\n\r\\\0\b\f\v";
	const char *at;
	int hi, lo;

	if (left < 2)
		return 0;
	if (s[1] == 'x') {
		if (left < 4 || (hi = hex_value(s[2])) < 0 ||
		    (lo = hex_value(s[3])) < 0)
			return 0;
		*out = (uint8_t)(hi << 4 | lo);
		return 4;
	}
	if (s[1] == 0 || (at = strchr(from, s[1])) == NULL)
		return 0;
	*out = (uint8_t)to[at - from];
	return 2;
}

/* Copy up to the next backslash.  dst is at or before src, so bytes beyond
 * the backslash must not be written: they may still be needed. */
static size_t
copy_plain(uint8_t *dst, const uint8_t *src, size_t left)
{
	size_t i, n = scan1(src, 0, left, '\\');

	if (dst == src)
		return n;
	if (n > 32)
		memmove(dst, src, n);
	else
		for (i = 0; i < n; i++)
			dst[i] = src[i];
	return n;
}

size_t
escape_decode(uint8_t *dst, const uint8_t *src, size_t len, size_t *bad)
{
	size_t i = 0, o = 0, n;

	for (;;) {
		n = copy_plain(dst + o, src + i, len - i);
		o += n;
		i += n;
		if (i == len)
			return o;
		if ((n = take_escape(dst + o, src + i, len - i)) == 0) {
			*bad = i;
			return (size_t)-1;
		}
		o++;
		i += n;
	}
}
