/*
 * wrap: run a command and stand aside, for tools that do something before it
 * and after it.
 */
#ifndef WRAP_H
#define WRAP_H

/*
 * Run argv, found as the shell would, and wait for its end.  Returns its exit
 * status, 128+N if signal N ended it, 127 if there is no such command, 126 if
 * it cannot be run; for the last two a message was written.
 *
 * Signals that people and supervisors send (HUP, INT, QUIT, TERM, USR1, USR2)
 * do not end this program meanwhile: they are passed on to the command,
 * except where the terminal has sent them to both.  What the caller of this
 * program ignores stays ignored.
 */
int wrap_run(char *const argv[]);

/* A signal that asks to stop and came when the command had ended, or 0. */
int wrap_stopped(void);

/* Exit with what wrap_run() returned; where it was a signal that people end
 * programs with, by the same one. */
int wrap_end(int status);

#endif /* WRAP_H */
