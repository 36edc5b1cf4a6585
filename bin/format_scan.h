/*
 * format_scan: looking at many bytes at once.
 *
 * Text formats spend their time looking for the few bytes that mean
 * something.  These helpers look at SCAN_STEP bytes per turn: 16 with SSE2,
 * else 8 in a word.  A mask has bit i set for byte i.  None of them reads
 * beyond what it is given.
 */
#ifndef FORMAT_SCAN_H
#define FORMAT_SCAN_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __SSE2__
#include <emmintrin.h>

#define SCAN_STEP 16

/* Which of the bytes at p equal a, b or c. */
static inline unsigned
scan_equal(const uint8_t *p, int a, int b, int c)
{
	__m128i v = _mm_loadu_si128((const void *)p);

	return (unsigned)_mm_movemask_epi8(_mm_or_si128(_mm_or_si128(
	    _mm_cmpeq_epi8(v, _mm_set1_epi8((char)a)),
	    _mm_cmpeq_epi8(v, _mm_set1_epi8((char)b))),
	    _mm_cmpeq_epi8(v, _mm_set1_epi8((char)c))));
}

/*
 * Which of the bytes at p are below 20, 7f, above it, or equal a or b; the
 * bytes are copied to dst as well.  A signed comparison finds both ends.
 */
static inline unsigned
scan_copy_odd(uint8_t *dst, const uint8_t *p, int a, int b)
{
	__m128i v = _mm_loadu_si128((const void *)p);
	__m128i m = _mm_cmplt_epi8(v, _mm_set1_epi8(0x20));

	_mm_storeu_si128((void *)dst, v);
	m = _mm_or_si128(m, _mm_cmpeq_epi8(v, _mm_set1_epi8(0x7f)));
	m = _mm_or_si128(m, _mm_cmpeq_epi8(v, _mm_set1_epi8((char)a)));
	m = _mm_or_si128(m, _mm_cmpeq_epi8(v, _mm_set1_epi8((char)b)));
	return (unsigned)_mm_movemask_epi8(m);
}

#else

#define SCAN_STEP 8
#define SCAN_ONES 0x0101010101010101u

/* Whether one byte of w is below n (1 to 128). */
static inline int
scan_below(uint64_t w, unsigned n)
{
	return ((w - SCAN_ONES * n) & ~w & SCAN_ONES * 0x80) != 0;
}

static inline uint64_t
scan_load(const uint8_t *p)
{
	uint64_t w;

	memcpy(&w, p, sizeof(w));
	return w;
}

static inline unsigned
scan_equal(const uint8_t *p, int a, int b, int c)
{
	uint64_t w = scan_load(p);
	unsigned i, m = 0;

	if (!scan_below(w ^ SCAN_ONES * (uint8_t)a, 1) &&
	    !scan_below(w ^ SCAN_ONES * (uint8_t)b, 1) &&
	    !scan_below(w ^ SCAN_ONES * (uint8_t)c, 1))
		return 0;
	for (i = 0; i < SCAN_STEP; i++)
		m |= (unsigned)(p[i] == a || p[i] == b || p[i] == c) << i;
	return m;
}

static inline unsigned
scan_copy_odd(uint8_t *dst, const uint8_t *p, int a, int b)
{
	uint64_t w = scan_load(p);
	unsigned i, m = 0;

	memcpy(dst, &w, sizeof(w));
	if (!(w & SCAN_ONES * 0x80) && !scan_below(w, 0x20) &&
	    !scan_below(w ^ SCAN_ONES * 0x7f, 1) &&
	    !scan_below(w ^ SCAN_ONES * (uint8_t)a, 1) &&
	    !scan_below(w ^ SCAN_ONES * (uint8_t)b, 1))
		return 0;
	for (i = 0; i < SCAN_STEP; i++)
		m |= (unsigned)(p[i] < 0x20 || p[i] >= 0x7f || p[i] == a ||
		    p[i] == b) << i;
	return m;
}

#endif

/* The number of the lowest byte in a mask that is not 0. */
static inline unsigned
scan_first(unsigned mask)
{
	return (unsigned)__builtin_ctz(mask);
}

/* The first of a, b and c in p[i..n), or n. */
static inline size_t
scan3(const uint8_t *p, size_t i, size_t n, int a, int b, int c)
{
	unsigned m;

	for (; n - i >= SCAN_STEP; i += SCAN_STEP)
		if ((m = scan_equal(p + i, a, b, c)) != 0)
			return i + scan_first(m);
	while (i < n && p[i] != a && p[i] != b && p[i] != c)
		i++;
	return i;
}

static inline size_t
scan1(const uint8_t *p, size_t i, size_t n, int a)
{
	return scan3(p, i, n, a, a, a);
}

/* The first byte in p[i..n) that is not printable ASCII, or is a or b. */
static inline size_t
scan_odd(const uint8_t *p, size_t i, size_t n, int a, int b)
{
	uint8_t unused[SCAN_STEP];
	unsigned m;

	for (; n - i >= SCAN_STEP; i += SCAN_STEP)
		if ((m = scan_copy_odd(unused, p + i, a, b)) != 0)
			return i + scan_first(m);
	while (i < n && p[i] >= 0x20 && p[i] < 0x7f && p[i] != a && p[i] != b)
		i++;
	return i;
}

#endif /* FORMAT_SCAN_H */
