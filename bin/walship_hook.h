/*
 * walship_hook: a command that is told of events.
 */
#ifndef WALSHIP_HOOK_H
#define WALSHIP_HOOK_H

/*
 * Run a command by sh(1), with KEVO_EVENT, KEVO_ARCHIVE and KEVO_FILE (below
 * the archive) in its environment and nothing on its standard input, and wait
 * for it.  What it answers changes nothing: a failure is reported.
 */
void walship_hook(const char *command, const char *event,
    const char *archive, const char *file);

#endif /* WALSHIP_HOOK_H */
