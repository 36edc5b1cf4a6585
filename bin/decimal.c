#include "decimal.h"

int
decimal_parse(const void *text, size_t len, int64_t *out)
{
	const char *p = text;
	int minus = len > 0 && *p == '-';
	size_t i = (size_t)minus;
	int64_t n = 0;

	if (i == len)
		return 0;
	/* Downwards, because the least number has no opposite. */
	for (; i < len; i++)
		if (p[i] < '0' || p[i] > '9' ||
		    __builtin_mul_overflow(n, (int64_t)10, &n) ||
		    __builtin_sub_overflow(n, (int64_t)(p[i] - '0'), &n))
			return 0;
	if (!minus && __builtin_sub_overflow((int64_t)0, n, &n))
		return 0;
	*out = n;
	return 1;
}
