/*
 * shell_lines: lines of a script, of -c, and of a terminal without libedit.
 *
 * Not cli_in: an unreadable script must not end an interactive shell, and
 * Ctrl-C must get through to it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "shell.h"

enum { ROOM_FIRST = 4096 };

/* Nothing longer can be stored: a key in escapes, a value, and a verb. */
#define LINE_MAX_	((size_t)KEVO_VALUE_MAX * 4 + (1u << 20))

static int
more(struct shell_lines *l)
{
	size_t len = l->end - l->pos, room;
	ssize_t n;
	char *p;

	if (l->pos > 0) {
		memmove(l->buf, l->buf + l->pos, len);
		l->pos = 0;
		l->end = len;
	}
	if (l->end == l->room) {
		room = l->room == 0 ? ROOM_FIRST : l->room * 2;
		if (l->end > LINE_MAX_) {
			errno = EFBIG;
			return -1;
		}
		if ((p = realloc(l->buf, room)) == NULL)
			return -1;
		l->buf = p;
		l->room = room;
	}
	if ((n = read(l->fd, l->buf + l->end, l->room - l->end)) < 0)
		return -1;
	l->end += (size_t)n;
	l->eof = n == 0;
	return 0;
}

int
shell_next_line(struct shell_lines *l, char **line, size_t *len)
{
	size_t seen = 0, have;
	char *p = NULL;

	for (;;) {
		have = l->end - l->pos;
		if (have > seen)
			p = memchr(l->buf + l->pos + seen, '\n', have - seen);
		if (p != NULL || l->eof || l->fd < 0)
			break;
		seen = have;
		if (more(l) != 0)
			return -1;
	}
	if (p == NULL && have == 0)
		return 0;
	*line = l->buf + l->pos;
	*len = p != NULL ? (size_t)(p - *line) : have;
	l->pos += *len + (p != NULL);
	return 1;
}
