/*
 * shell: what the parts of kevo-shell share.
 *
 * kevo-shell.c runs lines from the terminal, a script, -c or .read;
 * shell_verbs.c and shell_dot.c do what they say, with the help of
 * shell_db.c, which owns the handle and the transaction, and shell_tool.c,
 * which runs other tools.  shell_out.c stands
 * in for cli_out.c: it implements those functions of cli.h for a program
 * that must survive a full disk and a pager that was left.  shell_edit.c is
 * the only file that knows libedit, and all of the shell works without it.
 *
 * A command returns an exit status.  What is above 1 is trouble; it sets
 * sh->trouble, which ends a script.  Functions of cli that would end a tool
 * end the command only: shell_run() sets a place to come back to, so what a
 * command holds meanwhile (sh->iter) is kept where that place can free it.
 */
#ifndef SHELL_H
#define SHELL_H

#include <stddef.h>
#include <stdint.h>

#include <kevo.h>

#include "cli.h"
#include "format.h"

struct shell_edit;		/* shell_edit.c: a terminal with libedit */

struct shell_history {
	char **line;		/* the oldest first */
	size_t count, room, max;
	char *path;		/* NULL: kept in memory only */
};

struct shell {
	struct kevo_options opt;	/* for every open */
	int no_create;
	char *path;		/* NULL: no database is open */
	struct kevo *db;	/* NULL with a path: not there yet */
	int writable;		/* db is a handle that writes */
	struct kevo_txn *txn;	/* of BEGIN */
	struct kevo_snapshot *snap;	/* of BEGIN READONLY */
	struct kevo_iter *iter;	/* of the command that runs */

	struct format format;
	int rows;		/* .mode rows: "key: value" */
	uint64_t limit;		/* .limit; 0: none */
	int timer;		/* .timer on */

	int interactive;	/* prompts, and goes on after errors */
	int keep_going;
	int quit;		/* .exit */
	int trouble;		/* the command that ran has failed */
	int depth;		/* of .read */
	const char *where;	/* what the lines come from, or NULL */
	uint64_t line;		/* the number of the one that runs */
	struct shell_history history;
	struct shell_edit *edit;	/* NULL: plain lines */
};

/* Text that is being taken apart; its bytes are changed in place. */
struct shell_text {
	char *p;
	size_t len;
};

/* ---- kevo-shell.c: the loop -------------------------------------------- */

extern volatile int shell_interrupted;	/* Ctrl-C since the line began */

/* Report trouble, with its place in a script; returns status. */
int shell_fail(struct shell *sh, int status, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Run one line; returns its status. */
int shell_run(struct shell *sh, char *line, size_t len);

/* Run the lines of a file: until the first trouble, unless --keep-going. */
int shell_run_file(struct shell *sh, int fd, const char *name);

/* ---- shell_verbs.c, shell_dot.c: commands ------------------------------ */

struct shell_command {
	const char *name;
	const char *args;	/* for .help */
	const char *help;
	int (*run)(struct shell *sh, struct shell_text *rest);
};

extern const struct shell_command shell_verbs[];	/* name NULL ends */
extern const struct shell_command shell_dots[];

/* The command called so, in any case; NULL if there is none. */
const struct shell_command *shell_find(const char *name, size_t len);

/* Write a value for people: as it is, harmless on a terminal. */
void shell_show(const void *p, size_t len);
void shell_puts(const char *s);
void shell_printf(const char *fmt, ...)
    __attribute__((format(printf, 1, 2)));

/* The least key above all that begin with the prefix: the same memory and
 * *len changed; 0 if there is none. */
int shell_above(uint8_t *prefix, size_t *len);

/* ---- shell_words.c: the language's words ------------------------------- */

void shell_skip_blanks(struct shell_text *t);

/*
 * Take the next word, decoded in its place: a C string if it begins with a
 * quote.  Returns 1; 0 if there is none; -1 with *why set if it is
 * malformed.
 */
int shell_word(struct shell_text *t, struct shell_text *word,
    const char **why);

/* Decode the C string at p, behind its quote, into dst (which may be p).
 * Returns the bytes taken, with the closing quote; those before the bad
 * escape or the end, with *why set, if there is none. */
size_t shell_unquote(char *dst, size_t *dlen, const char *p, size_t len,
    const char **why);

/* Whether the word is this one, in any case. */
int shell_is(const struct shell_text *word, const char *name);

/* A key as it can be typed: as it is, or as a C string; to be freed. */
char *shell_quote(const void *key, size_t klen, int always);

/* ---- shell_db.c: the handle -------------------------------------------- */

/* Open a database; "@" is $KEVO_DB.  One that is not there is created by
 * the first write. */
int shell_open(struct shell *sh, const char *path);

/* Close it, rolling back first; says so if it did. */
int shell_close(struct shell *sh);

/* Have a database that can be read, or written; 0 or a status. */
int shell_reader(struct shell *sh);
int shell_writer(struct shell *sh);

/* Report the library's message; returns the status of rc. */
int shell_lib(struct shell *sh, int rc);

int shell_begin(struct shell *sh, int readonly);
int shell_commit(struct shell *sh);
int shell_rollback(struct shell *sh);

/* Read in the transaction, the snapshot, or as of now. */
int shell_get(struct shell *sh, const struct shell_text *key,
    struct kevo_record *rec);
int shell_iter(struct shell *sh, const struct kevo_range *range);
void shell_iter_end(struct shell *sh);

/* A clock for intervals, in nanoseconds. */
uint64_t shell_clock(void);

/* ---- shell_out.c: output ----------------------------------------------- */

/* A command begins: page what it writes, if it is long and paging is set;
 * and has ended: everything has been seen. */
void shell_out_begin(int paging);
void shell_out_end(void);

/* The reader of the pager has seen enough. */
int shell_out_left(void);

/* Write to a file from now on, or again to standard output (NULL).
 * Returns 0 or an errno. */
int shell_out_file(const char *path);

/* The descriptor that answers go to. */
int shell_out_fd(void);

/* ---- shell_tool.c ------------------------------------------------------ */

/* Run a tool on the database that is open: its status; above 1, or if a
 * signal ended it, it is trouble. */
int shell_tool(struct shell *sh, char *const argv[]);

/* ---- shell_lines.c: input ---------------------------------------------- */

struct shell_lines {
	int fd;			/* -1: the text alone */
	char *buf;
	size_t pos, end, room;
	int eof;
};

/* The next line, without its end, valid until the next call: 1; 0 at the
 * end; -1 with errno, EINTR if a signal came. */
int shell_next_line(struct shell_lines *l, char **line, size_t *len);

/* ---- shell_history.c --------------------------------------------------- */

void shell_history_load(struct shell_history *h);
/* Whether the line was worth keeping. */
int shell_history_add(struct shell_history *h, const char *line, size_t len);
void shell_history_free(struct shell_history *h);

/* ---- shell_complete.c -------------------------------------------------- */

/* What may stand where the cursor is. */
struct shell_choices {
	size_t start;		/* of the word in the line */
	char **word;
	size_t count;
	int more;		/* and others, which the last one is of */
	char *common;		/* what all begin with; "" for nothing */
	int whole;		/* there is one only, and it is complete */
};

void shell_complete(struct shell *sh, const char *line, size_t cursor,
    struct shell_choices *c);
void shell_choices_free(struct shell_choices *c);

/* ---- shell_edit.c ------------------------------------------------------ */

/* NULL if there is no libedit, or the terminal does not do. */
struct shell_edit *shell_edit_new(struct shell *sh);
void shell_edit_free(struct shell_edit *e);

/* As shell_next_line(), from the terminal. */
int shell_edit_line(struct shell_edit *e, const char *prompt, char **line,
    size_t *len);
void shell_edit_remember(struct shell_edit *e, const char *line);

#endif /* SHELL_H */
