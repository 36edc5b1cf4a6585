/*
 * decimal: the numbers that kevo-incr and the shell's INCR add to.
 */
#ifndef DECIMAL_H
#define DECIMAL_H

#include <stddef.h>
#include <stdint.h>

/*
 * Read exactly a decimal number of 64 bits: digits, with a minus sign before
 * them if it is negative, and nothing else.  Returns 1, or 0.
 */
int decimal_parse(const void *p, size_t len, int64_t *out);

#endif /* DECIMAL_H */
