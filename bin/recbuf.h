/*
 * recbuf: copies of records, kept in order in one piece of memory.
 */
#ifndef RECBUF_H
#define RECBUF_H

#include <stddef.h>
#include <stdint.h>

#include "format.h"

/* Zero-filled is empty. */
struct recbuf {
	uint8_t *buf;
	size_t len, room;
	size_t count;
};

/* Append a copy; out of memory ends the program with 74. */
void recbuf_add(struct recbuf *b, const struct format_record *rec,
    uint64_t version);

/*
 * The record at offset *pos (0 at first), which moves to the next one:
 * returns 1, or 0 at the end.  Pointers are valid until the next
 * recbuf_add().
 */
int recbuf_next(const struct recbuf *b, size_t *pos,
    struct format_record *rec, uint64_t *version);

void recbuf_clear(struct recbuf *b);	/* keeps some memory for the next */
void recbuf_release(struct recbuf *b);

#endif /* RECBUF_H */
