/*
 * escape: the backslash notation of the tsv format, shared by cli.c and
 * format.c.
 */
#ifndef ESCAPE_H
#define ESCAPE_H

#include <stddef.h>
#include <stdint.h>

/*
 * Decode escapes from src into dst (which may be src).  Returns the length,
 * or (size_t)-1 with *bad set to the offset of the bad escape.
 */
size_t escape_decode(uint8_t *dst, const uint8_t *src, size_t len,
    size_t *bad);

/*
 * Encode len bytes into dst, which has room for 4 * len.  terminal: also
 * escape what UTF-8 may do to a terminal.  Returns the length.
 */
size_t escape_encode(uint8_t *dst, const uint8_t *src, size_t len,
    int terminal);

/*
 * The same for literal formats on a terminal: a backslash, TAB and LF stay
 * as they are; it cannot be decoded.
 */
size_t escape_show(uint8_t *dst, const uint8_t *src, size_t len);

/*
 * Whether the well-formed sequence of n bytes at p may disturb a terminal:
 * U+0080 to U+009F and the bidirectional controls.
 */
int utf8_disturbs(const uint8_t *p, size_t n);

/* Whether all of p is well-formed UTF-8. */
int utf8_valid(const uint8_t *p, size_t len);

/* Length of the well-formed UTF-8 sequence at p (1 to 4), or 0. */
size_t utf8_len(const uint8_t *p, size_t len);

#endif /* ESCAPE_H */
