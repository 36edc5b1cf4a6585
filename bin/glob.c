/*
 * glob: matching without recursion.  After a star, a mismatch resumes one
 * byte further; only the last star matters, because whatever an earlier one
 * took can be left to it.
 */
#include <stdint.h>

#include "glob.h"

/*
 * One element of a pattern at p, which is not a star: its length, and in
 * *hit whether the byte c is of it.  0 if it is malformed.  A ] right after
 * the opening is a member.
 */
static size_t
element(const uint8_t *p, size_t len, uint8_t c, int *hit)
{
	size_t i = 1, start;
	uint8_t lo, hi;
	int negated;

	if (*p == '\\') {
		*hit = len > 1 && p[1] == c;
		return len > 1 ? 2 : 0;
	}
	if (*p != '[') {
		*hit = *p == '?' || *p == c;
		return 1;
	}
	*hit = 0;
	negated = i < len && (p[i] == '!' || p[i] == '^');
	i += (size_t)negated;
	for (start = i; i < len && (p[i] != ']' || i == start); i++) {
		if (p[i] == '\\' && ++i == len)
			return 0;
		lo = hi = p[i];
		if (i + 2 < len && p[i + 1] == '-' && p[i + 2] != ']') {
			i += 2;
			if (p[i] == '\\' && ++i == len)
				return 0;
			hi = p[i];
		}
		if (lo <= c && c <= hi)
			*hit = 1;
	}
	*hit ^= negated;
	return i < len ? i + 1 : 0;
}

int
glob_valid(const char *pat, size_t plen)
{
	const uint8_t *p = (const uint8_t *)pat;
	size_t n, i;
	int hit;

	for (i = 0; i < plen; i += n) {
		n = p[i] == '*' ? 1 : element(p + i, plen - i, 0, &hit);
		if (n == 0)
			return 0;
	}
	return 1;
}

size_t
glob_literal(const char *pat, size_t plen)
{
	size_t i;

	for (i = 0; i < plen; i++)
		if (pat[i] == '*' || pat[i] == '?' || pat[i] == '[' ||
		    pat[i] == '\\')
			break;
	return i;
}

int
glob_match(const char *pat, size_t plen, const void *s, size_t len)
{
	const uint8_t *p = (const uint8_t *)pat, *t = s;
	size_t pi = 0, ti = 0, n, star = plen, mark = 0;
	int hit;

	for (;;) {
		if (pi < plen && p[pi] == '*') {
			star = ++pi;
			mark = ti;
			if (star == plen)
				return 1;
			continue;
		}
		if (pi == plen && ti == len)
			return 1;
		n = 0;
		hit = 0;
		if (pi < plen && ti < len)
			n = element(p + pi, plen - pi, t[ti], &hit);
		if (hit) {
			pi += n;
			ti++;
		} else if (star < plen && mark < len) {
			pi = star;
			ti = ++mark;
		} else {
			return 0;
		}
	}
}
