/*
 * backup: what kevo-backup and kevo-restore share.
 *
 * Both link lib/ship, and may include the library's inner headers.
 */
#ifndef BACKUP_H
#define BACKUP_H

struct kv_env;

/*
 * End the program with the sentence in env and the exit status that belongs
 * to rc: a negative status of kevo.h or a class of ship.h.  If a signal was
 * the reason, it is died by.
 */
void backup_fail(const struct kv_env *env, int rc) __attribute__((noreturn));

/* Each segment of the log is a file that is kept open, and a log that is kept
 * for increments has many. */
void backup_raise_limits(void);

/* End the program with 69 if this was built without libarchive. */
void backup_need_archives(void);

/* Open an archive to be read, or end the program; "-" is standard input.
 * *name is what messages call it. */
int backup_input(const char *path, const char **name);

#endif /* BACKUP_H */
