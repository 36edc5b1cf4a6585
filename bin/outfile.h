/*
 * outfile: the file of -o, there whole or not at all.
 *
 * Output goes to a new file beside it that takes its name when all of it is on
 * disk: the file is never half written, whatever happens.
 */
#ifndef OUTFILE_H
#define OUTFILE_H

/*
 * Send what cli_out() is given to path from now on; once in a program.  A
 * pipe or a device has no half-written state to hide and is opened as it is.
 * Signals are caught (cli_signals()), so that the new file can be removed.
 */
void outfile_open(const char *path);

/* End the program as outfile_open() would, as far as it can be told without
 * making a file. */
void outfile_check(const char *path);

/* The descriptor of the new file; -1: there is none. */
int outfile_fd(void);

/* Bring it to disk and give it its name. */
void outfile_finish(void);

#endif /* OUTFILE_H */
