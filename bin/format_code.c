/*
 * format_code: hexadecimal, base64 and decimal notation, and long fields.
 */
#include <string.h>

#include "format_internal.h"

static const char hexdigits[] = "0123456789abcdef";
static const char base64digits[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* ---- hexadecimal ------------------------------------------------------- */

/* Value + 1, so that 0 is no digit. */
static const uint8_t hex_value[256] = {
	['0'] = 1, ['1'] = 2, ['2'] = 3, ['3'] = 4, ['4'] = 5, ['5'] = 6,
	['6'] = 7, ['7'] = 8, ['8'] = 9, ['9'] = 10,
	['a'] = 11, ['b'] = 12, ['c'] = 13, ['d'] = 14, ['e'] = 15, ['f'] = 16,
	['A'] = 11, ['B'] = 12, ['C'] = 13, ['D'] = 14, ['E'] = 15, ['F'] = 16
};

int
hex_digit(uint8_t c)
{
	return hex_value[c] - 1;
}

size_t
hex_encode(uint8_t *dst, const uint8_t *src, size_t len)
{
	size_t i;

	for (i = 0; i < len; i++) {
		dst[2 * i] = (uint8_t)hexdigits[src[i] >> 4];
		dst[2 * i + 1] = (uint8_t)hexdigits[src[i] & 15];
	}
	return 2 * len;
}

size_t
hex_decode(uint8_t *dst, const uint8_t *src, size_t len, size_t *bad)
{
	size_t i;
	int hi, lo;

	for (i = 0; i + 1 < len; i += 2) {
		hi = hex_digit(src[i]);
		lo = hex_digit(src[i + 1]);
		if ((hi | lo) < 0) {
			*bad = hi < 0 ? i : i + 1;
			return (size_t)-1;
		}
		dst[i / 2] = (uint8_t)(hi << 4 | lo);
	}
	if (i < len) {
		*bad = i;
		return (size_t)-1;
	}
	return len / 2;
}

/* ---- base64 ------------------------------------------------------------ */

size_t
base64_encode(uint8_t *dst, const uint8_t *src, size_t len)
{
	uint8_t *d = dst;
	uint32_t w;

	for (; len >= 3; len -= 3, src += 3, d += 4) {
		w = (uint32_t)src[0] << 16 | (uint32_t)src[1] << 8 | src[2];
		d[0] = (uint8_t)base64digits[w >> 18];
		d[1] = (uint8_t)base64digits[w >> 12 & 63];
		d[2] = (uint8_t)base64digits[w >> 6 & 63];
		d[3] = (uint8_t)base64digits[w & 63];
	}
	if (len > 0) {
		w = (uint32_t)src[0] << 16 |
		    (len == 2 ? (uint32_t)src[1] << 8 : 0);
		d[0] = (uint8_t)base64digits[w >> 18];
		d[1] = (uint8_t)base64digits[w >> 12 & 63];
		d[2] = len == 2 ? (uint8_t)base64digits[w >> 6 & 63] : '=';
		d[3] = '=';
		d += 4;
	}
	return (size_t)(d - dst);
}

/* Value + 1 from '+' to 'z', so that 0 is no digit. */
static const uint8_t base64_value['z' - '+' + 1] = {
	63, 0, 0, 0, 64, 53, 54, 55, 56, 57, 58, 59, 60, 61, 62,
	0, 0, 0, 0, 0, 0, 0,
	1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13,
	14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26,
	0, 0, 0, 0, 0, 0,
	27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39,
	40, 41, 42, 43, 44, 45, 46, 47, 48, 49, 50, 51, 52
};

static int
base64_digit(uint8_t c)
{
	return c >= '+' && c <= 'z' ? base64_value[c - '+'] - 1 : -1;
}

/*
 * Decode one group of four that holds n digits, 2 to 4.  Bits that the
 * padding cuts off must be zero, so that each value has one notation.
 */
static int
base64_group(uint8_t *out, const uint8_t *s, size_t n, size_t *bad)
{
	uint32_t w = 0;
	size_t i;
	int v;

	for (i = 0; i < n; i++) {
		if ((v = base64_digit(s[i])) < 0) {
			*bad = i;
			return 0;
		}
		w |= (uint32_t)v << (18 - 6 * i);
	}
	*bad = n - 1;
	if ((n == 2 && (w & 0xffff)) || (n == 3 && (w & 0xff)))
		return 0;
	out[0] = (uint8_t)(w >> 16);
	if (n > 2)
		out[1] = (uint8_t)(w >> 8);
	if (n > 3)
		out[2] = (uint8_t)w;
	return 1;
}

size_t
base64_decode(uint8_t *dst, const uint8_t *src, size_t len, size_t *bad)
{
	size_t i, o = 0, n = 4;

	for (i = 0; i + 4 <= len; i += 4, o += n - 1) {
		if (i + 4 == len && src[i + 3] == '=')
			n = src[i + 2] == '=' ? 2 : 3;
		if (!base64_group(dst + o, src + i, n, bad)) {
			*bad += i;
			return (size_t)-1;
		}
	}
	if (i < len) {
		*bad = i;
		return (size_t)-1;
	}
	return o;
}

/* ---- numbers and output ------------------------------------------------ */

size_t
format_decimal(uint8_t *dst, uint64_t n)
{
	uint8_t tmp[20];
	size_t i = sizeof(tmp), len;

	do
		tmp[--i] = (uint8_t)('0' + n % 10);
	while ((n /= 10) != 0);
	len = sizeof(tmp) - i;
	memcpy(dst, tmp + i, len);
	return len;
}

void
format_puts(const char *s)
{
	cli_out(s, strlen(s));
}

void
format_putn(uint64_t n)
{
	cli_out_add(format_decimal(cli_out_room(20), n));
}

/* Where a piece of at most max bytes may end. */
static size_t
piece(const uint8_t *p, size_t len, size_t max)
{
	size_t n;

	if (len <= max)
		return len;
	for (n = max; n > max - 4; n--)
		if ((p[n] & 0xc0) != 0x80)
			return n;
	return max;	/* four in a row belong to no character */
}

void
format_put(format_encoder *encode, size_t grow, const void *ptr, size_t len)
{
	const uint8_t *p = ptr;
	size_t n;

	for (; len > 0; p += n, len -= n) {
		n = encode == base64_encode ? (len < 12288 ? len : 12288) :
		    piece(p, len, 12288);
		cli_out_add(encode(cli_out_room(grow * n), p, n));
	}
}
