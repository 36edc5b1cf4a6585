/*
 * nearest: the restricted Damerau-Levenshtein distance.
 */
#include <string.h>

#include "nearest.h"

enum { WORD_MAX = 63 };

static int
min3(int a, int b, int c)
{
	int m = a < b ? a : b;

	return m < c ? m : c;
}

int
nearest_distance(const char *a, const char *b)
{
	int rows[3][WORD_MAX + 1];
	int *older = rows[0], *old = rows[1], *cur = rows[2], *spare;
	int alen = (int)strnlen(a, WORD_MAX), blen = (int)strnlen(b, WORD_MAX);
	int i, j;

	for (j = 0; j <= blen; j++)
		cur[j] = j;
	for (i = 1; i <= alen; i++) {
		spare = older;
		older = old;
		old = cur;
		cur = spare;
		cur[0] = i;
		for (j = 1; j <= blen; j++) {
			cur[j] = min3(old[j] + 1, cur[j - 1] + 1,
			    old[j - 1] + (a[i - 1] != b[j - 1]));
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] &&
			    a[i - 2] == b[j - 1] && older[j - 2] < cur[j])
				cur[j] = older[j - 2] + 1;
		}
	}
	return cur[blen];
}

int
nearest_plausible(const char *a, const char *b)
{
	int len = (int)strnlen(a, WORD_MAX);

	if (strncmp(a, b, (size_t)len) == 0)
		return 1;
	return nearest_distance(a, b) <= (len < 4 ? 1 : len < 7 ? 2 : 3);
}
