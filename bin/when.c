#include <stdio.h>
#include <string.h>
#include <time.h>

#include "when.h"

#define NS	((uint64_t)1000000000)

/* Exactly n digits, or -1. */
static int
digits(const char **s, int n)
{
	int v = 0;

	for (; n > 0; n--, (*s)++) {
		if (**s < '0' || **s > '9')
			return -1;
		v = v * 10 + (**s - '0');
	}
	return v;
}

static int
skip(const char **s, char c)
{
	if (**s != c)
		return 0;
	(*s)++;
	return 1;
}

/* Digits of a fraction; more than nine do not matter. */
static int
fraction(const char **s, uint64_t *ns)
{
	uint64_t unit = NS;

	*ns = 0;
	if (!skip(s, '.'))
		return 0;
	if (**s < '0' || **s > '9')
		return -1;
	for (; **s >= '0' && **s <= '9'; (*s)++) {
		unit /= 10;
		*ns += unit * (uint64_t)(**s - '0');
	}
	return 0;
}

/* Seconds that the clock there is ahead of UTC. */
static int
offset(const char **s, long *ahead)
{
	int sign = **s == '-' ? -1 : 1, h, m;

	*ahead = 0;
	if (skip(s, 'Z') || skip(s, 'z'))
		return 0;
	if (!skip(s, '+') && !skip(s, '-'))
		return -1;
	if ((h = digits(s, 2)) < 0 || h > 23 || !skip(s, ':') ||
	    (m = digits(s, 2)) < 0 || m > 59)
		return -1;
	*ahead = sign * (h * 3600L + m * 60L);
	return 0;
}

/* timegm() puts the 31st of a shorter month into the next one. */
static int
is_date(const struct tm *given, time_t t)
{
	struct tm tm;

	return gmtime_r(&t, &tm) != NULL && tm.tm_mday == given->tm_mday &&
	    tm.tm_mon == given->tm_mon && tm.tm_year == given->tm_year;
}

static int
date_and_time(const char **s, time_t *out)
{
	struct tm tm = { .tm_isdst = 0 }, copy;
	int year, month;

	if ((year = digits(s, 4)) < 0 || !skip(s, '-') ||
	    (month = digits(s, 2)) < 1 || month > 12 || !skip(s, '-') ||
	    (tm.tm_mday = digits(s, 2)) < 1 ||
	    (!skip(s, 'T') && !skip(s, 't') && !skip(s, ' ')) ||
	    (tm.tm_hour = digits(s, 2)) < 0 || tm.tm_hour > 23 ||
	    !skip(s, ':') || (tm.tm_min = digits(s, 2)) < 0 ||
	    tm.tm_min > 59 || !skip(s, ':') ||
	    (tm.tm_sec = digits(s, 2)) < 0 || tm.tm_sec > 59)
		return -1;
	tm.tm_year = year - 1900;
	tm.tm_mon = month - 1;
	copy = tm;
	*out = timegm(&copy);
	return is_date(&tm, *out) ? 0 : -1;
}

static int
seconds(const char *s, uint64_t *ns)
{
	uint64_t v = 0, frac;

	if (*s < '0' || *s > '9')
		return -1;
	for (; *s >= '0' && *s <= '9'; s++) {
		v = v * 10 + (uint64_t)(*s - '0');
		if (v > UINT64_MAX / NS - 1)
			return -1;
	}
	if (fraction(&s, &frac) != 0 || *s != '\0')
		return -1;
	*ns = v * NS + frac;
	return 0;
}

int
when_parse(const char *s, uint64_t *ns)
{
	uint64_t frac;
	long ahead;
	time_t t;

	if (*s == '@')
		return seconds(s + 1, ns);
	if (date_and_time(&s, &t) != 0 || fraction(&s, &frac) != 0 ||
	    offset(&s, &ahead) != 0 || *s != '\0')
		return -1;
	t -= ahead;
	if (t < 0 || (uint64_t)t > UINT64_MAX / NS - 1)
		return -1;
	*ns = (uint64_t)t * NS + frac;
	return 0;
}

void
when_print(char buf[WHEN_LEN], uint64_t ns)
{
	time_t t = (time_t)(ns / NS);
	unsigned frac = (unsigned)(ns % NS);
	struct tm tm;
	size_t n;

	gmtime_r(&t, &tm);
	n = strftime(buf, WHEN_LEN, "%Y-%m-%dT%H:%M:%S", &tm);
	if (frac != 0) {
		n += (size_t)snprintf(buf + n, WHEN_LEN - n, ".%09u", frac);
		while (buf[n - 1] == '0')
			n--;
	}
	strcpy(buf + n, "Z");
}
