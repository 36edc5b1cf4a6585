/*
 * glob: shell patterns over bytes.
 *
 *   *      any bytes, also none          ?      any one byte
 *   [a-z]  one byte of a set             [!a-z] one byte not of it (or ^)
 *   \x     the byte x itself
 *
 * There are no path rules: a slash and a leading dot are bytes like others.
 */
#ifndef GLOB_H
#define GLOB_H

#include <stddef.h>

int glob_valid(const char *pat, size_t plen);

/* How many bytes at the start of pat stand for themselves. */
size_t glob_literal(const char *pat, size_t plen);

/* Whether all of s matches pat, which is valid. */
int glob_match(const char *pat, size_t plen, const void *s, size_t len);

#endif /* GLOB_H */
