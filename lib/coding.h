/*
 * coding: integers to little-endian bytes and back.
 *
 * Every number in a file goes through here; a struct is never copied to
 * one.  Shared memory is different: its readers run on this machine, and
 * its header states byte order and sizes.
 */
#ifndef KV_CODING_H
#define KV_CODING_H

#include <stdint.h>
#include <string.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "kevo supports little-endian machines only"
#endif

static inline uint16_t
get_le16(const void *p)
{
	uint16_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

static inline uint32_t
get_le32(const void *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

static inline uint64_t
get_le64(const void *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

static inline void
put_le16(void *p, uint16_t v)
{
	memcpy(p, &v, sizeof(v));
}

static inline void
put_le32(void *p, uint32_t v)
{
	memcpy(p, &v, sizeof(v));
}

static inline void
put_le64(void *p, uint64_t v)
{
	memcpy(p, &v, sizeof(v));
}

/* 0 to 15, or -1 if c is no lower-case hexadecimal digit. */
static inline int
hex_digit_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

#endif /* KV_CODING_H */
