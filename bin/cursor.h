/*
 * cursor: a file that says how far somebody has come in a log.
 *
 * One line, a position of kevo_feed_position().  It is replaced by rename(2),
 * so it is whole at any moment: the place before or the one after.
 */
#ifndef CURSOR_H
#define CURSOR_H

#include <kevo.h>

struct cursor {
	const char *path;	/* NULL: there is none */
	char *temp;
	char saved[KEVO_POSITION_LEN];	/* what the file says; "": nothing */
};

/*
 * Read the file at path (NULL: none) into c->saved, if it is there; one that
 * holds something else, or is no regular file, ends the program.
 */
void cursor_open(struct cursor *c, const char *path);

/* Put a position into the file, unless it is there already. */
void cursor_save(struct cursor *c, const char position[KEVO_POSITION_LEN]);

#endif /* CURSOR_H */
