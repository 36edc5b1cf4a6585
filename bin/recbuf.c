/*
 * recbuf: copies of records.
 */
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "recbuf.h"

enum { ROOM_FIRST = 64 * 1024, ROOM_KEPT = 4 * 1024 * 1024 };

/* What stands before each key and value. */
struct header {
	uint64_t expires_ns, line, version;
	size_t klen, vlen;
	enum format_op op;
};

static size_t
padded(size_t n)
{
	return (n + 7) & ~(size_t)7;
}

static void
reserve(struct recbuf *b, size_t n)
{
	size_t room = b->room == 0 ? ROOM_FIRST : b->room;
	uint8_t *p;

	if (n <= b->room - b->len)
		return;
	while (room - b->len < n)
		room *= 2;
	if ((p = realloc(b->buf, room)) == NULL)
		cli_die(EX_IOERR_, "out of memory");
	b->buf = p;
	b->room = room;
}

void
recbuf_add(struct recbuf *b, const struct format_record *rec,
    uint64_t version)
{
	struct header h = { rec->expires_ns, rec->line, version, rec->klen,
	    rec->vlen, rec->op };
	size_t len = padded(sizeof(h) + rec->klen + rec->vlen);
	uint8_t *p;

	reserve(b, len);
	p = b->buf + b->len;
	memcpy(p, &h, sizeof(h));
	memcpy(p + sizeof(h), rec->key, rec->klen);
	if (rec->vlen > 0)
		memcpy(p + sizeof(h) + rec->klen, rec->value, rec->vlen);
	b->len += len;
	b->count++;
}

int
recbuf_next(const struct recbuf *b, size_t *pos, struct format_record *rec,
    uint64_t *version)
{
	const uint8_t *p = b->buf + *pos;
	struct header h;

	if (*pos >= b->len)
		return 0;
	memcpy(&h, p, sizeof(h));
	rec->op = h.op;
	rec->key = p + sizeof(h);
	rec->klen = h.klen;
	rec->value = p + sizeof(h) + h.klen;
	rec->vlen = h.vlen;
	rec->expires_ns = h.expires_ns;
	rec->line = h.line;
	*version = h.version;
	*pos += padded(sizeof(h) + h.klen + h.vlen);
	return 1;
}

void
recbuf_clear(struct recbuf *b)
{
	if (b->room > ROOM_KEPT)
		recbuf_release(b);
	b->len = 0;
	b->count = 0;
}

void
recbuf_release(struct recbuf *b)
{
	free(b->buf);
	memset(b, 0, sizeof(*b));
}
