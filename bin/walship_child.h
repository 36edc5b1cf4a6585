/*
 * walship_child: a command at the other end of two pipes, such as ssh.
 */
#ifndef WALSHIP_CHILD_H
#define WALSHIP_CHILD_H

#include <sys/types.h>

struct walship_child {
	pid_t pid;
	int from;		/* its standard output */
	int to;			/* its standard input */
};

/* Start it by the shell.  0, or an errno. */
int walship_child_start(struct walship_child *c, const char *cmd);

/*
 * Close both pipes and wait until it has ended; one that does not end within
 * a second is asked to by SIGTERM, and by SIGKILL a second later.  Returns
 * its exit status as a shell gives it.
 */
int walship_child_end(struct walship_child *c);

#endif /* WALSHIP_CHILD_H */
