/*
 * cli_value: numbers, sizes, durations and escapes in arguments.
 *
 * A value that does not parse to its last character is refused: "10x" is
 * not ten.
 */
#include <inttypes.h>
#include <string.h>

#include "cli.h"
#include "cli_tool.h"
#include "escape.h"

/* Digits at *s: 1; 0 if there are none, -1 if they pass max. */
static int
digits(const char **s, uint64_t max, uint64_t *out)
{
	const char *p = *s;
	uint64_t d, n = 0;

	for (; *p >= '0' && *p <= '9'; p++) {
		d = (uint64_t)(*p - '0');
		if (n > max / 10 || n * 10 > max - d)
			return -1;
		n = n * 10 + d;
	}
	if (p == *s)
		return 0;
	*s = p;
	*out = n;
	return 1;
}

uint64_t
cli_number(const char *what, const char *s, uint64_t max)
{
	const char *p = s;
	uint64_t n;
	int ok = digits(&p, max, &n);

	if (ok < 0 && max != UINT64_MAX)
		cli_die(EX_USAGE_, "%s: %s: at most %" PRIu64, what, s, max);
	if (ok < 0)
		cli_die(EX_USAGE_, "%s: %s: too large", what, s);
	if (ok == 0 || *p != '\0')
		cli_die(EX_USAGE_, "%s: %s: not a whole number", what, s);
	return n;
}

int64_t
cli_integer(const char *what, const char *s)
{
	int minus = *s == '-';
	const char *p = s + (*s == '-' || *s == '+');
	uint64_t n;
	int ok = digits(&p, (uint64_t)INT64_MAX + (minus ? 1 : 0), &n);

	if (ok < 0)
		cli_die(EX_USAGE_, "%s: %s: more than 64 bits", what, s);
	if (ok == 0 || *p != '\0')
		cli_die(EX_USAGE_, "%s: %s: not a whole number", what, s);
	return minus ? -(int64_t)(n - (n > 0)) - (n > 0) : (int64_t)n;
}

uint64_t
cli_size(const char *what, const char *s)
{
	static const char units[] = "KMGT";
	const char *p = s, *unit;
	uint64_t n;
	int ok, shift = 0;

	if ((ok = digits(&p, UINT64_MAX, &n)) <= 0)
		goto bad;
	if (*p != '\0' && (unit = strchr(units, *p)) != NULL) {
		shift = 10 * (int)(unit - units + 1);
		p++;
	}
	if (*p != '\0')
		goto bad;
	if (n <= UINT64_MAX >> shift)
		return n << shift;
	ok = -1;
bad:
	if (ok < 0)
		cli_die(EX_USAGE_, "%s: %s: too large", what, s);
	cli_die(EX_USAGE_, "%s: %s: not a size like 512, 64K, 10M or 2G",
	    what, s);
}

/* Up to three digits after a point, as thousandths. */
static int
fraction(const char **s, uint64_t *ms)
{
	const char *p = *s;
	uint64_t scale = 100;

	*ms = 0;
	if (*p != '.')
		return 1;
	if (*++p < '0' || *p > '9')
		return 0;
	for (; *p >= '0' && *p <= '9'; p++, scale /= 10)
		*ms += scale * (uint64_t)(*p - '0');
	*s = p;
	return 1;
}

static uint64_t
seconds_in(char unit)
{
	switch (unit) {
	case 'm':
		return 60;
	case 'h':
		return 3600;
	case 'd':
		return 86400;
	default:
		return 1;
	}
}

int64_t
cli_duration_ms(const char *what, const char *s)
{
	const char *p = s;
	uint64_t n, ms, unit;
	int ok;

	if (strcmp(s, "inf") == 0)
		return -1;
	/* Ten thousand years are enough, and products stay in 64 bits. */
	if ((ok = digits(&p, 316000000000u, &n)) <= 0 || !fraction(&p, &ms))
		goto bad;
	unit = seconds_in(*p);
	if (*p != '\0' && strchr("smhd", *p) != NULL)
		p++;
	if (*p != '\0')
		goto bad;
	if (n <= 316000000000u / unit)
		return (int64_t)(n * unit * 1000 + ms * unit);
	ok = -1;
bad:
	if (ok < 0)
		cli_die(EX_USAGE_, "%s: %s: too long; inf is for ever", what,
		    s);
	cli_die(EX_USAGE_, "%s: %s: not a duration like 90, 5m, 12h, 7d or "
	    "inf", what, s);
}

enum kevo_sync
cli_sync_mode(const char *what, const char *s)
{
	if (strcmp(s, "full") == 0)
		return KEVO_SYNC_FULL;
	if (strcmp(s, "batch") == 0)
		return KEVO_SYNC_BATCH;
	if (strcmp(s, "none") == 0)
		return KEVO_SYNC_NONE;
	cli_die(EX_USAGE_, "%s: %s: not one of full, batch, none", what, s);
}

size_t
cli_unescape(const char *what, char *s)
{
	size_t bad, len = strlen(s);
	uint8_t *p = (uint8_t *)s;

	if (strchr(s, '\\') == NULL)
		return len;
	if ((len = escape_decode(p, p, len, &bad)) == (size_t)-1)
		cli_die(EX_USAGE_, "%s: bad escape at byte %zu (-E is given: "
		    "a backslash is \\\\)", what, bad + 1);
	return len;
}

size_t
cli_operand(const char *what, char *s, int escaped)
{
	return escaped ? cli_unescape(what, s) : strlen(s);
}

size_t
cli_key(char *s, int escaped)
{
	size_t len = cli_operand("key", s, escaped);

	if (len == 0)
		cli_die(EX_USAGE_, "empty key");
	/* Before a database is created for it. */
	if (len > KEVO_KEY_MAX)
		cli_die(EX_DATAERR_, "key of %zu bytes: the limit is %u", len,
		    KEVO_KEY_MAX);
	return len;
}
