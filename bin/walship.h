/*
 * walship: what the sub-commands of kevo-walship share.
 *
 * Each sub-command is a tool of its own, with a table of options, in a file
 * walship_NAME.c; kevo-walship.c has the list.  They link lib/ship, and may
 * include the library's inner headers.
 */
#ifndef WALSHIP_H
#define WALSHIP_H

#include "cli.h"

#define ROW_DRY_RUN(help) { 'n', 'n', "dry-run", CLI_NONE, NULL, help }

/* How far: walship_until() takes them. */
enum { OPT_UNTIL_SEQ = 380, OPT_UNTIL_TIME };
#define ROW_UNTIL_SEQ(help) \
	{ OPT_UNTIL_SEQ, 0, "until-seq", CLI_REQUIRED, "N", help }
#define ROW_UNTIL_TIME(help) \
	{ OPT_UNTIL_TIME, 0, "until-time", CLI_REQUIRED, "TIME", help }

struct kevo;
struct kv_archive;
struct kv_env;

/*
 * End the program with the sentence in env: "class: sentence" and the exit
 * status of the class where rc is one of ship.h, else as cli_fail() does.
 */
void walship_fail(const struct kv_env *env, int rc)
    __attribute__((noreturn));

/* The same for a message, and the status is returned. */
int walship_report(const struct kv_env *env, int rc);

/*
 * Words that are no options.  Unlike those of other tools they may stand
 * anywhere, since none of them is somebody's data: "send DB --to ARCHIVE".
 */
#define WALSHIP_WORDS	256
struct walship_words {
	char *word[WALSHIP_WORDS];
	int n;
};
void walship_words_init(struct walship_words *w);

/* The next option, as cli_next(); words are put aside. */
int walship_next(struct cli_args *a, struct walship_words *w);

/* End the program with 64 unless there are min to max words; names are what
 * they are, with blanks between them. */
void walship_words_check(const struct walship_words *w, int min, int max,
    const char *names);

/* A point in time, RFC 3339 or Unix seconds, in nanoseconds and not 0; or the
 * program ends with 64. */
uint64_t walship_time(const char *what, const char *s);

/* One of the two options: the last commit, or the time in nanoseconds.  What
 * was not given stays as it is; both of them, or a commit 0, are 64. */
struct walship_until {
	uint64_t seq, ns;	/* 0: not given */
};
void walship_until(struct walship_until *u, int id, const char *arg);

/* Open an archive, or end the program. */
struct kv_archive *walship_archive_open(const char *path);

/* End the program for an archive, or for a database: with what its handle
 * says. */
void walship_archive_fail(struct kv_archive *a, int rc)
    __attribute__((noreturn));

/* Has it the log from commit 1 on?  Segments are listed for it. */
int walship_archive_is_whole(struct kv_archive *a);

/*
 * What is to be done for a copy that lacks what is before commit first of an
 * archive: the end of a sentence, which names the newest base of it that will
 * do.  Valid until it is called again.
 */
const char *walship_archive_way(struct kv_archive *a, uint64_t first);

/* What an operand is: a directory with KEVO-ARCHIVE, another directory, or
 * anything else. */
enum walship_kind { WALSHIP_ARCHIVE, WALSHIP_DB, WALSHIP_FILE };
enum walship_kind walship_kind(const char *operand);

/* Open a file to be read ("-": standard input), or end the program. */
int walship_input(const char *name);
void walship_input_done(int fd);

/* The sub-commands: a table, and what does it with the options not yet
 * parsed; its result is the exit status. */
extern const struct cli_tool walship_apply_tool, walship_fence_tool,
    walship_known_loss_tool, walship_pos_tool, walship_promote_tool,
    walship_prune_tool, walship_recv_tool, walship_rejoin_tool,
    walship_send_tool, walship_slot_tool, walship_status_tool,
    walship_tail_tool, walship_verify_tool;
int walship_apply(struct cli_args *a);
int walship_fence(struct cli_args *a);
int walship_known_loss(struct cli_args *a);
int walship_pos(struct cli_args *a);
int walship_promote(struct cli_args *a);
int walship_prune(struct cli_args *a);
int walship_recv(struct cli_args *a);
int walship_rejoin(struct cli_args *a);
int walship_send(struct cli_args *a);
int walship_slot(struct cli_args *a);
int walship_status(struct cli_args *a);
int walship_tail(struct cli_args *a);
int walship_verify(struct cli_args *a);
extern const struct cli_tool walship_base_tool, walship_restore_tool,
    walship_drill_tool;
int walship_base(struct cli_args *a);
int walship_restore(struct cli_args *a);
int walship_drill(struct cli_args *a);

#endif /* WALSHIP_H */
