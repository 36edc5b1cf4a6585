/*
 * kevo-shell: the interactive shell, and its scripts.
 *
 * kevo(1) runs it.  On a terminal it prompts, and goes on after errors; from
 * a script or a command line it says nothing of itself, and the first error
 * ends it with its status.
 */
#include <ctype.h>
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "cli_tool.h"
#include "escape.h"
#include "nearest.h"
#include "options.h"
#include "shell.h"

enum { OPT_COMMAND = 400, OPT_KEEP_GOING };

static const struct cli_opt opts[] = {
	ROW_QUIET,
	ROW_NO_CREATE,
	ROW_WAIT,
	ROW_SYNC,
	{ OPT_COMMAND, 0, "command", CLI_REQUIRED, "CMD",
	    "run the lines of CMD and exit" },
	{ OPT_KEEP_GOING, 0, "keep-going", CLI_NONE, NULL,
	    "in a script: go on after errors" },
	ROW_END
};

static const struct cli_tool tool = {
	"kevo-shell",
	"The interactive shell; kevo DB runs it",
	"[-qC] [-w S] [--sync=M] [--keep-going] [--command=CMD] [DB]",
	opts,
	"  kevo-shell data.kv\n"
	"  kevo-shell --command='GET user:1' data.kv\n"
	"  kevo-shell data.kv < script\n"
};

/* ---- signals ----------------------------------------------------------- */

volatile int shell_interrupted;

static volatile sig_atomic_t stop_signal;

static volatile sig_atomic_t reading;

/*
 * A signal that comes just before a read would not end it: ring, again and
 * again, until somebody looks.
 */
static void
on_interrupt(int sig)
{
	(void)sig;
	shell_interrupted = 1;
	if (reading)
		alarm(1);
}

static void
on_stop(int sig)
{
	if (sig != SIGALRM)
		stop_signal = sig;
	if (reading)
		alarm(1);
}

/* To be read again after we were stopped: the terminal is not as it was. */
static void
on_continue(int sig)
{
	(void)sig;
}

static void
catch(int sig, void (*fn)(int))
{
	struct sigaction act = { .sa_handler = fn };

	sigaction(sig, &act, NULL);
}

static void
catch_signals(void)
{
	catch(SIGINT, on_interrupt);
	catch(SIGTERM, on_stop);
	catch(SIGHUP, on_stop);
	catch(SIGALRM, on_stop);
	catch(SIGCONT, on_continue);
}

/* ---- messages ---------------------------------------------------------- */

int
shell_fail(struct shell *sh, int status, const char *fmt, ...)
{
	char text[2048];
	va_list ap;

	sh->trouble = 1;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	cli_out_flush();
	if (sh->where != NULL)
		cli_msg("%s:%" PRIu64 ": %s", sh->where, sh->line, text);
	else
		cli_msg("%s", text);
	return status;
}

/* ---- one line ---------------------------------------------------------- */

/* Where to come back to when cli would end the program; .read nests. */
struct frame {
	jmp_buf place;
	int status;
	struct frame *outer;
};

static struct frame *inner;

static void
come_back(int status)
{
	inner->status = status;
	longjmp(inner->place, 1);
}

static const struct shell_command *
find_in(const struct shell_command *c, const char *name, size_t len)
{
	for (; c->name != NULL; c++)
		if (strlen(c->name) == len &&
		    strncasecmp(c->name, name, len) == 0)
			return c;
	return NULL;
}

const struct shell_command *
shell_find(const char *name, size_t len)
{
	const struct shell_command *c = find_in(shell_verbs, name, len);

	return c != NULL ? c : find_in(shell_dots, name, len);
}

static int
unknown(struct shell *sh, const char *name, size_t len)
{
	const struct shell_command *c = *name == '.' ? shell_dots :
	    shell_verbs;
	const char *best = NULL;
	int d, best_d = 1000, status;
	char word[64];
	size_t i;

	for (i = 0; i < len && i < sizeof(word) - 1; i++)
		word[i] = (char)(*name == '.' ? tolower((uint8_t)name[i]) :
		    toupper((uint8_t)name[i]));
	word[i] = '\0';
	for (; c->name != NULL; c++)
		if ((d = nearest_distance(word, c->name)) < best_d) {
			best_d = d;
			best = c->name;
		}
	status = shell_fail(sh, EX_USAGE_, "%s: no such command",
	    format_show_key(name, len));
	if (best != NULL && nearest_plausible(word, best))
		cli_hint("did you mean %s?", best);
	else if (sh->interactive)
		cli_hint(".help shows the commands");
	return status;
}

static int
run_command(struct shell *sh, char *line, size_t len)
{
	struct shell_text t = { line, len };
	const struct shell_command *c;
	size_t n = 0;

	shell_skip_blanks(&t);
	if (t.len == 0)
		return 0;
	while (n < t.len && t.p[n] != ' ' && t.p[n] != '\t')
		n++;
	if ((c = shell_find(t.p, n)) == NULL)
		return unknown(sh, t.p, n);
	t.p += n;
	t.len -= n;
	return c->run(sh, &t);
}

int
shell_run(struct shell *sh, char *line, size_t len)
{
	uint64_t start = shell_clock();
	struct frame here;
	int status;

	here.outer = inner;
	inner = &here;
	if (here.outer == NULL)
		shell_out_begin(sh->interactive);
	sh->trouble = 0;
	cli_at_exit(come_back);
	sh->format.terminal = cli_out_is_tty();
	if (setjmp(here.place) == 0) {
		status = run_command(sh, line, len);
	} else {
		status = here.status;
		sh->trouble = 1;
		shell_iter_end(sh);
	}
	inner = here.outer;
	cli_at_exit(inner != NULL ? come_back : NULL);
	if (sh->timer)
		shell_printf("Time: %.2f ms\n",
		    (double)(shell_clock() - start) / 1e6);
	if (inner == NULL)
		shell_out_end();
	return status;
}

/* ---- scripts ----------------------------------------------------------- */

static int
run_lines(struct shell *sh, struct shell_lines *l, const char *name)
{
	const char *where = sh->where;
	uint64_t number = sh->line;
	int rc, status = 0, first = 0;
	size_t len;
	char *line;

	sh->where = name;
	sh->line = 0;
	while ((rc = shell_next_line(l, &line, &len)) == 1 && !sh->quit &&
	    !shell_interrupted) {
		sh->line++;
		status = shell_run(sh, line, len);
		if (!sh->trouble)
			continue;
		first = first != 0 ? first : status;
		if (!sh->keep_going)
			break;
	}
	sh->where = where;
	sh->line = number;
	if (rc < 0)
		first = shell_fail(sh, EX_IOERR_, "%s: %s", name,
		    strerror(errno));
	sh->trouble = first != 0;
	return first != 0 ? first : status;
}

int
shell_run_file(struct shell *sh, int fd, const char *name)
{
	struct shell_lines l = { .fd = fd };
	int status = run_lines(sh, &l, name);

	free(l.buf);
	return status;
}

static int
run_text(struct shell *sh, const char *text)
{
	struct shell_lines l = { .fd = -1 };
	int status;

	if ((l.buf = strdup(text)) == NULL)
		cli_die(EX_IOERR_, "out of memory");
	l.end = strlen(text);
	status = run_lines(sh, &l, "-c");
	free(l.buf);
	return status;
}

static int
run_script(struct shell *sh, const char *command)
{
	int status, rc, open;

	status = command != NULL ? run_text(sh, command) :
	    shell_run_file(sh, 0, "(stdin)");
	open = sh->txn != NULL;
	if ((rc = shell_close(sh)) != 0 && status < EX_USAGE_)
		status = rc;
	if (open && status < EX_USAGE_) {
		cli_msg("the transaction was not committed: rolled back");
		status = EX_DATAERR_;
	}
	return status;
}

/* ---- the terminal ------------------------------------------------------ */

/* "kevo:PATH[RW]> ", without what a terminal would obey. */
static void
make_prompt(const struct shell *sh, char *prompt, size_t room)
{
	const char *path = sh->path != NULL ? sh->path : "";
	size_t len = strlen(path), n;
	uint8_t shown[4 * 256 + 1];

	if (len > 256) {
		path += len - 256;
		len = 256;
	}
	n = escape_encode(shown, (const uint8_t *)path, len, 1);
	shown[n] = '\0';
	snprintf(prompt, room, "kevo%s%s%s> ", sh->path != NULL ? ":" : "",
	    (char *)shown, sh->txn != NULL ? "[RW]" : sh->snap != NULL ?
	    "[RO]" : "");
}

static int
read_line(struct shell *sh, struct shell_lines *plain, char **line,
    size_t *len)
{
	char prompt[1200];

	make_prompt(sh, prompt, sizeof(prompt));
	if (sh->edit != NULL)
		return shell_edit_line(sh->edit, prompt, line, len);
	if (write(1, prompt, strlen(prompt)) < 0)
		return 0;
	return shell_next_line(plain, line, len);
}

/* The next line that was typed: 1, or 0 when it is time to leave. */
static int
ask(struct shell *sh, struct shell_lines *plain, char **line, size_t *len)
{
	int rc;

	for (;;) {
		shell_interrupted = 0;
		reading = 1;
		rc = stop_signal != 0 ? -1 : read_line(sh, plain, line, len);
		reading = 0;
		if (stop_signal != 0)
			return 0;
		if (rc > 0)
			return 1;
		if (rc < 0 && errno != EINTR && !shell_interrupted)
			shell_fail(sh, EX_IOERR_, "(stdin): %s",
			    strerror(errno));
		shell_puts(shell_interrupted && sh->edit != NULL ? "^C\n" :
		    "\n");
		cli_out_flush();
		if (rc == 0 || (errno != EINTR && !shell_interrupted))
			return 0;
	}
}

static void
remember(struct shell *sh, const char *line, size_t len)
{
	struct shell_history *h = &sh->history;

	if (shell_history_add(h, line, len))
		shell_edit_remember(sh->edit, h->line[h->count - 1]);
}

static int
run_terminal(struct shell *sh)
{
	struct shell_lines plain = { .fd = 0 };
	char *line;
	size_t len;

	catch_signals();
	shell_history_load(&sh->history);
	sh->edit = shell_edit_new(sh);
	if (!cli_quiet)
		shell_puts("kevo " KEVO_VERSION ": .help shows the commands, "
		    "Ctrl-D leaves\n");
	cli_out_flush();
	while (!sh->quit && ask(sh, &plain, &line, &len)) {
		remember(sh, line, len);
		shell_run(sh, line, len);
	}
	shell_close(sh);
	shell_edit_free(sh->edit);
	shell_history_free(&sh->history);
	free(plain.buf);
	cli_out_flush();
	if (stop_signal != 0)
		cli_die_by(stop_signal);
	shell_out_file(NULL);
	shell_puts("Goodbye!\n");
	return 0;
}

/* ---- start ------------------------------------------------------------- */

static const char *
variable(const char *name)
{
	const char *s = getenv(name);

	return s != NULL && *s != '\0' ? s : NULL;
}

/* As the tools: the option, else the variable, else the default. */
static void
set_options(struct shell *sh, const struct cli_open_opts *o)
{
	const char *s;

	sh->opt.program = "kevo-shell";
	sh->opt.txn = variable("KEVO_TXN");
	sh->opt.wait_set = 1;
	sh->opt.wait_ms = KEVO_WAIT_DEFAULT;
	if (o->wait != NULL)
		sh->opt.wait_ms = cli_duration_ms("-w", o->wait);
	else if ((s = variable("KEVO_WAIT")) != NULL)
		sh->opt.wait_ms = cli_duration_ms("KEVO_WAIT", s);
	if (o->sync != NULL)
		sh->opt.sync = cli_sync_mode("--sync", o->sync);
	else if ((s = variable("KEVO_SYNC")) != NULL)
		sh->opt.sync = cli_sync_mode("KEVO_SYNC", s);
	sh->no_create = (o->flags & KEVO_CREATE) == 0;
}

int
main(int argc, char *argv[])
{
	struct cli_open_opts o = { KEVO_CREATE, NULL, NULL, NULL };
	const char *command = NULL;
	static struct shell sh;
	struct cli_args a;
	int id, status;

	cli_start(&a, &tool, argc, argv);
	while ((id = cli_next(&a)) != 0)
		if (id == OPT_COMMAND)
			command = a.arg;
		else if (id == OPT_KEEP_GOING)
			sh.keep_going = 1;
		else
			cli_common(&o, &a, id);
	cli_operands(&a, 0, 1);
	set_options(&sh, &o);
	sh.rows = 1;
	sh.interactive = command == NULL && isatty(0) && isatty(1);
	/* A pager that is left must not end us; see shell_out.c. */
	signal(SIGPIPE, SIG_IGN);
	status = a.i < argc ? shell_open(&sh, argv[a.i]) : 0;
	if (status == 0)
		status = sh.interactive ? run_terminal(&sh) :
		    run_script(&sh, command);
	return cli_close(NULL, status);
}
