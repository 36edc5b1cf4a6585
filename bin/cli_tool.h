/*
 * cli_tool: what the parts of cli share with each other and not with tools.
 */
#ifndef CLI_TOOL_H
#define CLI_TOOL_H

#include <signal.h>

/* Ids of long options that cli itself understands. */
enum { CLI_OPT_HELP = 256, CLI_OPT_DUMP };

/* The running tool's name, "kevo" before cli_start(). */
const char *cli_tool_name(void);

/* Write the synopsis to descriptor fd. */
void cli_synopsis(int fd);

/* Call what cli_at_exit() was given, once. */
void cli_run_exit_hook(int status);

/* The same, and exit; the message is written already. */
void cli_end_early(int status) __attribute__((noreturn));

/* The same, and die by signal sig. */
void cli_die_by(int sig) __attribute__((noreturn));

/* fd, moved above 2 if it is below: those are not for data. */
int cli_fd_high(int fd);

/* SIGUSR1 came. */
extern volatile sig_atomic_t cli_progress_wanted;

#endif /* CLI_TOOL_H */
