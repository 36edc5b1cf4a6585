/*
 * leavings: what killed processes left under a name with their number.
 */
#ifndef LEAVINGS_H
#define LEAVINGS_H

/*
 * Keep an open file or directory from being taken for one, whoever looks: its
 * process may be of another machine.  Where there are no locks its number has
 * to do.
 */
void leavings_hold(int fd);

/*
 * Remove the files and directories in dir whose name is before, the number of
 * a process that is no more, and after; those of this user which nobody holds.
 * What cannot be removed stays for the next one.
 */
void leavings_remove(const char *dir, const char *before, const char *after);

/* Remove what is at path, and all below it.  0 or -1 with errno. */
int leavings_remove_all(const char *path);

#endif /* LEAVINGS_H */
