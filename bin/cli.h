/*
 * cli: what every tool shares: options, opening a database, buffered input
 * and output, messages, exit statuses, progress and signals.
 *
 * A tool describes its options in one table.  The parser, --help and the
 * completions come from it, and a test compares it with the man page.
 * Nothing here touches lib/ beyond kevo.h, and nothing looks at the locale.
 */
#ifndef CLI_H
#define CLI_H

#include <stddef.h>
#include <stdint.h>

#include <kevo.h>

enum cli_exit {
	EXIT_NO = 1,
	EX_USAGE_ = 64,
	EX_DATAERR_ = 65,
	EX_NOINPUT_ = 66,
	EX_UNAVAILABLE_ = 69,
	EX_SOFTWARE_ = 70,
	EX_OSFILE_ = 72,
	EX_CANTCREAT_ = 73,
	EX_IOERR_ = 74,
	EX_TEMPFAIL_ = 75,
	EX_PROTOCOL_ = 76,
	EX_NOPERM_ = 77,
	EX_CONFIG_ = 78
};

/* ---- options ----------------------------------------------------------- */

enum cli_arg { CLI_NONE, CLI_REQUIRED, CLI_OPTIONAL };

/*
 * One option.  short_name 0: only the long form; an id above 255 names it
 * then.  arg_name is shown in --help; after a colon there may be the words
 * that completions offer, with blanks between them.  Without such words they
 * go by the name: FILE, FORMAT, MODE, or anything else for nothing.
 */
struct cli_opt {
	int id;			/* what cli_next() returns */
	char short_name;
	const char *long_name;
	enum cli_arg arg;
	const char *arg_name;
	const char *help;	/* one line, no full stop */
};

/*
 * A tool, for parsing, --help and completion.  usage has one synopsis per
 * line, without the tool's name; a line that begins with a blank continues
 * the one before.  The man page's SYNOPSIS says the same.
 */
struct cli_tool {
	const char *name;	/* "kevo-put" */
	const char *summary;	/* one line */
	const char *usage;
	const struct cli_opt *opts;	/* ends with id 0 */
	const char *examples;	/* lines, shown by --help */
};

struct cli_args {
	const struct cli_tool *tool;
	int argc;
	char **argv;
	int i;			/* first word not yet taken */
	char *cluster;		/* rest of a word of short options */
	char *arg;		/* of the option just returned */
	int dashes;		/* "--" ended the options */
};

/*
 * Parse options up to the first operand or "--".  cli_next returns the id
 * of the next option, with its argument in a->arg, or 0 at the end, when
 * a->argv + a->i are the operands.  It answers -h, --help, -V, --version
 * and the hidden --dump-options (the table as TSV, for completions and
 * tests) itself, and ends the program with 64 on a wrong option, naming it
 * and the nearest one.  Long options may be shortened where unambiguous.
 */
void cli_start(struct cli_args *a, const struct cli_tool *tool, int argc,
    char **argv);
int cli_next(struct cli_args *a);

/*
 * The same for the front of a tool with sub-commands, each a tool by itself:
 * "kevo-walship send".  --help lists them, --dump-options has their tables
 * behind its own.  sub is NULL-ended.  When the front knows which one it is,
 * it calls cli_start() with that one's table and the words from its name on.
 */
void cli_start_front(struct cli_args *a, const struct cli_tool *tool,
    const struct cli_tool *const *sub, int argc, char **argv);

/* Parse an argument, or end the program with 64 naming option and value. */
uint64_t cli_number(const char *what, const char *s, uint64_t max);
int64_t cli_integer(const char *what, const char *s);
uint64_t cli_size(const char *what, const char *s);	/* K M G T */
int64_t cli_duration_ms(const char *what, const char *s); /* s m h d, inf: -1 */
enum kevo_sync cli_sync_mode(const char *what, const char *s);

/* Remove backslash escapes of the tsv notation in place; returns the new
 * length; a bad escape ends the program with 64. */
size_t cli_unescape(const char *what, char *s);

/* The length of an operand, with escapes removed in place if escaped. */
size_t cli_operand(const char *what, char *s, int escaped);

/* The same for a key; an empty one ends the program with 64. */
size_t cli_key(char *s, int escaped);

/* ---- messages and endings ---------------------------------------------- */

extern int cli_quiet;		/* -q */
extern int cli_verbose;		/* -v, counted */

/* "TOOL: text" on standard error; control characters are shown escaped. */
void cli_msg(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void cli_note(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void cli_hint(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* The same and exit with a status, after the output so far was flushed. */
void cli_die(int status, const char *fmt, ...)
    __attribute__((noreturn, format(printf, 2, 3)));

/* 64 with the tool's synopsis. */
void cli_usage(const char *fmt, ...)
    __attribute__((noreturn, format(printf, 1, 2)));

/* The same with a hint (NULL: none) before the synopsis. */
void cli_usage_hint(const char *hint, const char *fmt, ...)
    __attribute__((noreturn, format(printf, 2, 3)));

/*
 * Refuse fewer operands than min, and more than max (-1: any number):
 * "options go before DB" where that is it.  The second form can name the one
 * that is missing: names are words with a blank between them, and hint (or
 * NULL) says how to do without it.
 */
void cli_operands(struct cli_args *a, int min, int max);
void cli_operands_named(struct cli_args *a, int min, int max,
    const char *names, const char *hint);

/*
 * For a tool that takes any number of keys: where there are several and one
 * of them is an option of the tool to the letter, it is one that came too
 * late, unless "--" stood before DB.  Ends the program with 64 then.
 */
void cli_refuse_late_options(const struct cli_args *a);

/*
 * End the program from cli_close()'s result; fn, if set by cli_at_exit(), is
 * called once by whatever ends the program early (cli_die, a write error, a
 * signal) after the message was written: it removes temporary files and
 * says how far the work got.
 */
void cli_at_exit(void (*fn)(int status));

/* The exit status of a kevo_status. */
int cli_status(int rc);

/* ---- the database ------------------------------------------------------ */

/* DB operand to path: "@" is $KEVO_DB, or 64 if that is unset. */
const char *cli_db_path(const char *operand);

/* What -w, --sync, -C, KEVO_WAIT and KEVO_SYNC say, for cli_open(), which
 * joins the transaction that KEVO_TXN names, too. */
struct cli_open_opts {
	unsigned flags;
	const char *wait;		/* argument of -w, or NULL */
	const char *sync;		/* argument of --sync, or NULL */
	const char *const *settings;
};

/* Take one of the options -q -v -w -C --sync: 1 if id is one, else 0. */
int cli_common(struct cli_open_opts *o, const struct cli_args *a, int id);

/* How long to wait for a lock: -w, KEVO_WAIT or the default; -1: for ever. */
int64_t cli_wait_ms(const struct cli_open_opts *o);

/* Open or end the program with the right status and message. */
struct kevo *cli_open(const char *operand, const struct cli_open_opts *o);

/* The same with other flags, and kevo_open()'s result and handle. */
int cli_try_open(const char *operand, const struct cli_open_opts *o,
    unsigned flags, struct kevo **db);

/*
 * A bad sector under a map, or somebody who cuts a database file, is a signal;
 * from here on it ends the tool with 74 and a message.  cli_open() calls it
 * for writers; a reader that does more than look up a key does itself.
 */
void cli_guard_maps(const char *operand);

/* Report kevo_errmsg(db) and exit with the status of rc. */
void cli_fail(struct kevo *db, int rc) __attribute__((noreturn));

/* Close db (NULL allowed), flush standard output, and return status, or
 * the status of what failed then, having reported it. */
int cli_close(struct kevo *db, int status);

/* ---- input ------------------------------------------------------------- */

/*
 * Buffered input.  Before a read that would block, on_block(arg) is called
 * once, so that a tool commits or flushes what it has; it is not called for
 * a regular file.  Memory is bounded by the longest token asked for.
 */
struct cli_in {
	int fd;
	const char *name;	/* "(stdin)" or a file's name */
	uint64_t line;		/* of the token last returned, from 1 */
	uint8_t *buf;
	size_t pos, end, room;
	int eof;
	void (*on_block)(void *arg);
	void *arg;
	int regular;		/* a regular file: reading never blocks */
	uint64_t size;		/* of a regular file, else 0 */
	uint64_t taken;		/* bytes read so far */
};

void cli_in_open(struct cli_in *in, const char *path);	/* NULL or "-": 0 */

/* End the program as cli_in_open() would if path cannot be read; a pipe is
 * not opened, since its writer would notice. */
void cli_in_check(const char *path);
void cli_in_close(struct cli_in *in);

/*
 * Make at least n bytes available at buf + pos, reading as needed; returns
 * how many there are (fewer than n only at the end of input).  Read errors
 * end the program with 74.  Signals that ask the tool to stop end it here.
 */
size_t cli_in_need(struct cli_in *in, size_t n);

/* ---- output ------------------------------------------------------------ */

/*
 * Buffered standard output.  A write error ends the program with 74 and a
 * message, EPIPE as SIGPIPE would (141, silently).  cli_out_room makes n
 * contiguous bytes available to be filled and then taken by cli_out_add(n).
 */
void cli_out_fd(int fd, const char *name);	/* other than standard output */
void cli_out(const void *p, size_t len);
uint8_t *cli_out_room(size_t n);
void cli_out_add(size_t n);
void cli_out_flush(void);
int cli_out_is_tty(void);
int cli_out_close(void);	/* 0 or -1 with errno; nothing to flush */

/* A line of output for people; what may disturb a terminal is escaped. */
void cli_say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* ---- signals and progress ---------------------------------------------- */

/*
 * SIGINT, SIGTERM and SIGHUP set a flag that cli_stopped() reads; a loop
 * over records looks at it after each, lets on_stop undo what is not
 * committed, and calls cli_die_by_signal().  SIGUSR1 asks for a progress
 * line.
 */
void cli_signals(void);
int cli_stopped(void);		/* the signal's number, or 0 */
void cli_die_by_signal(void) __attribute__((noreturn));

/* Milliseconds of a clock that nobody sets. */
int64_t cli_now_ms(void);

enum cli_progress_mode {
	CLI_PROGRESS_AUTO, CLI_PROGRESS_ALWAYS, CLI_PROGRESS_NEVER,
	CLI_PROGRESS_NUMERIC
};
void cli_progress_mode(const char *arg);	/* auto always never numeric */
void cli_progress_yield(void);	/* auto: not while records go to a terminal */
void cli_progress(const char *verb, uint64_t records, uint64_t bytes,
    uint64_t total_bytes);			/* cheap; throttles itself */
void cli_progress_seldom(const char *verb, uint64_t records);	/* for who
				 * calls a few times a second at most */
void cli_progress_phase(void);	/* something else begins: rates count anew */
/* The same for work that is not in records, by who calls a few times a
 * second. */
void cli_progress_bytes(const char *verb, uint64_t bytes,
    uint64_t total_bytes);
void cli_progress_poke(void);	/* a signal interrupted: show it if asked */
void cli_progress_end(void);	/* remove the line, before other output */

/* All went well: with always and numeric a last line says how many. */
#define CLI_NO_RECORDS	UINT64_MAX	/* after cli_progress_bytes() */
void cli_progress_done(const char *verb, uint64_t records);

#endif /* CLI_H */
