/*
 * shell_dot: what the shell does besides its language.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/wait.h>
#include <unistd.h>

#include "options.h"
#include "shell.h"

enum { READ_DEPTH = 16, WORD_ROOM = 4096 };

/* ---- operands ---------------------------------------------------------- */

/* The only operand as a string into s, "" if there is none; a status. */
static int
operand(struct shell *sh, struct shell_text *t, char *s)
{
	const char *why = NULL;
	struct shell_text w, more;
	int rc;

	s[0] = '\0';
	if ((rc = shell_word(t, &w, &why)) == 0)
		return 0;
	if (rc > 0)
		rc = shell_word(t, &more, &why);
	if (rc < 0)
		return shell_fail(sh, EX_USAGE_, "%s", why);
	if (rc > 0)
		return shell_fail(sh, EX_USAGE_, "one operand too many");
	if (w.len >= WORD_ROOM || memchr(w.p, '\0', w.len) != NULL)
		return shell_fail(sh, EX_USAGE_, "the operand is too long, or "
		    "holds NUL");
	memcpy(s, w.p, w.len);
	s[w.len] = '\0';
	return 0;
}

static int
no_operand(struct shell *sh, struct shell_text *t)
{
	shell_skip_blanks(t);
	return t->len == 0 ? 0 : shell_fail(sh, EX_USAGE_,
	    "this command takes no operand");
}

static int
number(const char *s, uint64_t *n)
{
	char *end;

	errno = 0;
	*n = strtoull(s, &end, 10);
	return *s >= '0' && *s <= '9' && *end == '\0' && errno == 0;
}

/* ---- the database ------------------------------------------------------ */

static int
run_open(struct shell *sh, struct shell_text *t)
{
	char path[WORD_ROOM];
	int rc;

	if ((rc = operand(sh, t, path)) != 0)
		return rc;
	if (path[0] == '\0')
		return shell_fail(sh, EX_USAGE_, "usage: .open PATH");
	if (sh->txn != NULL || sh->snap != NULL)
		return shell_fail(sh, EX_USAGE_, "a transaction is active: "
		    "COMMIT or ROLLBACK first");
	if ((rc = shell_open(sh, path)) == 0) {
		shell_puts("Database opened: ");
		shell_show(sh->path, strlen(sh->path));
		shell_puts("\n");
	}
	return rc;
}

static int
run_close(struct shell *sh, struct shell_text *t)
{
	int rc = no_operand(sh, t);

	if (rc != 0)
		return rc;
	if (sh->path == NULL)
		return shell_fail(sh, EX_NOINPUT_, "no database is open");
	if (sh->txn != NULL || sh->snap != NULL)
		return shell_fail(sh, EX_USAGE_, "a transaction is active: "
		    "COMMIT or ROLLBACK first");
	if ((rc = shell_close(sh)) == 0)
		shell_puts("Database closed\n");
	return rc;
}

static int
run_flush(struct shell *sh, struct shell_text *t)
{
	int rc;

	if ((rc = no_operand(sh, t)) != 0 || (rc = shell_reader(sh)) != 0)
		return rc;
	/* A reader has nothing of its own to bring to disk. */
	if (sh->writable && (rc = kevo_sync(sh->db)) != 0)
		return shell_lib(sh, rc);
	shell_puts("Flushed to disk\n");
	return 0;
}

/* A counter that is not 0, or how long half and 99 of 100 of something took. */
static int
show_metric(void *arg, const struct kevo_metric *m)
{
	const struct kevo_histogram *h = m->histogram;
	char name[100];

	(void)arg;
	snprintf(name, sizeof(name), "%s%s%s", m->name,
	    m->label_value != NULL ? "." : "",
	    m->label_value != NULL ? m->label_value : "");
	if (m->kind == KEVO_HISTOGRAM && h->count != 0)
		shell_printf("%-28s p50 %.6f p99 %.6f\n", name,
		    (double)kevo_histogram_quantile(h, 0.5) / 1e9,
		    (double)kevo_histogram_quantile(h, 0.99) / 1e9);
	if (m->kind != KEVO_COUNTER || m->value == 0)
		return 0;
	if (m->unit == KEVO_UNIT_NS)
		shell_printf("%-28s %.6f\n", name, (double)m->value / 1e9);
	else
		shell_printf("%-28s %" PRIu64 "\n", name, m->value);
	return 0;
}

/* Ctrl-C ends a merge, as it ends every command. */
static int
on_compact(void *arg, const struct kevo_compact_progress *p)
{
	(void)arg;
	(void)p;
	return shell_interrupted;
}

static int
run_compact(struct shell *sh, struct shell_text *t)
{
	struct kevo_compact c = { .progress = on_compact };
	struct kevo_compact_progress p;
	char what[WORD_ROOM];
	int rc;

	if ((rc = operand(sh, t, what)) != 0)
		return rc;
	if (strcasecmp(what, "full") == 0)
		c.flags = KEVO_COMPACT_FULL;
	else if (what[0] != '\0')
		return shell_fail(sh, EX_USAGE_, "usage: .compact [full]");
	if (sh->txn != NULL)
		return shell_fail(sh, EX_USAGE_, "a transaction is active: "
		    "COMMIT or ROLLBACK first");
	if ((rc = shell_reader(sh)) != 0 || (rc = shell_writer(sh)) != 0)
		return rc;
	if ((rc = kevo_compact(sh->db, &c, &p)) == KEVO_FALSE)
		return shell_fail(sh, 130, "interrupted");
	if (rc != 0)
		return shell_lib(sh, rc);
	shell_printf("%" PRIu64 " log segments brought into tables, %" PRIu64
	    " merges, %" PRIu64 " bytes given back\n", p.flushed, p.jobs,
	    p.bytes_removed);
	return 0;
}

static int
run_check(struct shell *sh, struct shell_text *t)
{
	char name[] = "kevo-check", fast[] = "--fast", end[] = "--";
	char what[WORD_ROOM];
	int rc;

	if ((rc = operand(sh, t, what)) != 0)
		return rc;
	if (strcasecmp(what, "fast") == 0)
		return shell_tool(sh, (char *[]){ name, fast, end, sh->path,
		    NULL });
	if (what[0] != '\0')
		return shell_fail(sh, EX_USAGE_, "usage: .check [fast]");
	return shell_tool(sh, (char *[]){ name, end, sh->path, NULL });
}

static int
run_backup(struct shell *sh, struct shell_text *t)
{
	char name[] = "kevo-backup", output[] = "-o", end[] = "--";
	char path[WORD_ROOM];
	int rc;

	if ((rc = operand(sh, t, path)) != 0)
		return rc;
	if (path[0] == '\0')
		return shell_fail(sh, EX_USAGE_, "usage: .backup FILE");
	return shell_tool(sh, (char *[]){ name, output, path, end, sh->path,
	    NULL });
}

/* Until it is interrupted. */
static int
run_watch(struct shell *sh, struct shell_text *t)
{
	char name[] = "kevo-watch", end[] = "--";
	char prefix[WORD_ROOM];
	int rc;

	if ((rc = operand(sh, t, prefix)) != 0)
		return rc;
	return shell_tool(sh, (char *[]){ name, end, sh->path,
	    prefix[0] != '\0' ? prefix : NULL, NULL });
}

static int
run_stats(struct shell *sh, struct shell_text *t)
{
	static const char *const modes[] = { "default", "full", "batch",
	    "none", "later" };
	struct kevo_stats s;
	size_t i;
	int rc;

	if ((rc = no_operand(sh, t)) != 0 || (rc = shell_reader(sh)) != 0)
		return rc;
	if ((rc = kevo_stats(sh->db, &s)) != 0)
		return shell_lib(sh, rc);
	shell_puts("id              ");
	for (i = 0; i < sizeof(s.id); i++)
		shell_printf("%02x", s.id[i]);
	shell_printf("\nvisible         %" PRIu64 "\n"
	    "synced          %" PRIu64 "\n"
	    "appended        %" PRIu64 "\n"
	    "segments        %" PRIu64 "\n"
	    "log_bytes       %" PRIu64 "\n"
	    "index_bytes     %" PRIu64 "\n"
	    "memtable_bytes  %" PRIu64 "\n"
	    "sync            %s\n",
	    s.visible, s.synced, s.appended, s.segments, s.log_bytes,
	    s.index_bytes, s.memtable_bytes,
	    modes[s.sync <= KEVO_SYNC_LATER ? s.sync : 0]);
	if (sh->txn != NULL)
		shell_printf("transaction     %zu changes, %zu bytes\n",
		    kevo_txn_count(sh->txn), kevo_txn_bytes(sh->txn));
	rc = kevo_metrics(sh->db, show_metric, NULL);
	return rc != 0 ? shell_lib(sh, rc) : 0;
}

/* ---- what answers look like -------------------------------------------- */

#define MODES (FORMATS_LINES | 1u << FORMAT_CDB | 1u << FORMAT_DB | \
	1u << FORMAT_RESP | 1u << FORMAT_SQL | 1u << FORMAT_OPS)

static int
run_mode(struct shell *sh, struct shell_text *t)
{
	char name[WORD_ROOM];
	unsigned k;
	int rc;

	if ((rc = operand(sh, t, name)) != 0)
		return rc;
	if (name[0] == '\0') {
		shell_printf("%s\n", sh->rows ? "rows" :
		    format_name(sh->format.kind));
		return 0;
	}
	if (strcmp(name, "rows") == 0) {
		sh->rows = 1;
		return 0;
	}
	for (k = 0; k <= FORMAT_OPS; k++)
		if ((MODES & 1u << k) != 0 &&
		    strcmp(name, format_name((enum format_kind)k)) == 0) {
			sh->format.kind = (enum format_kind)k;
			sh->rows = 0;
			return 0;
		}
	return shell_fail(sh, EX_USAGE_, "%s: not one of rows, tsv, text, "
	    "nul, hex, base64, jsonl, jsonl64, csv, cdb, db, resp, sql, ops",
	    name);
}

static int
run_limit(struct shell *sh, struct shell_text *t)
{
	char s[WORD_ROOM];
	int rc;

	if ((rc = operand(sh, t, s)) != 0)
		return rc;
	if (s[0] == '\0')
		shell_printf("%" PRIu64 "\n", sh->limit);
	else if (!number(s, &sh->limit))
		return shell_fail(sh, EX_USAGE_, "%s: not a number", s);
	return 0;
}

static int
run_timer(struct shell *sh, struct shell_text *t)
{
	char s[WORD_ROOM];
	int rc;

	if ((rc = operand(sh, t, s)) != 0)
		return rc;
	if (s[0] == '\0')
		shell_puts(sh->timer ? "on\n" : "off\n");
	else if (strcasecmp(s, "on") == 0)
		sh->timer = 1;
	else if (strcasecmp(s, "off") == 0)
		sh->timer = 0;
	else
		return shell_fail(sh, EX_USAGE_, "%s: not on or off", s);
	return 0;
}

static int
run_output(struct shell *sh, struct shell_text *t)
{
	char path[WORD_ROOM];
	int rc, err;

	if ((rc = operand(sh, t, path)) != 0)
		return rc;
	if ((err = shell_out_file(path[0] != '\0' ? path : NULL)) != 0)
		return shell_fail(sh, EX_CANTCREAT_, "%s: %s", path,
		    strerror(err));
	return 0;
}

/* ---- the shell --------------------------------------------------------- */

static int
run_read(struct shell *sh, struct shell_text *t)
{
	char path[WORD_ROOM];
	int fd, rc;

	if ((rc = operand(sh, t, path)) != 0)
		return rc;
	if (path[0] == '\0')
		return shell_fail(sh, EX_USAGE_, "usage: .read FILE");
	if (sh->depth >= READ_DEPTH)
		return shell_fail(sh, EX_USAGE_, "%s: files are read within "
		    "files %d deep already", path, READ_DEPTH);
	if ((fd = open(path, O_RDONLY | O_CLOEXEC)) < 0)
		return shell_fail(sh, errno == EACCES ? EX_NOPERM_ :
		    EX_NOINPUT_, "%s: %s", path, strerror(errno));
	sh->depth++;
	rc = shell_run_file(sh, fd, path);
	sh->depth--;
	close(fd);
	return rc;
}

static int
run_history(struct shell *sh, struct shell_text *t)
{
	const struct shell_history *h = &sh->history;
	char s[WORD_ROOM];
	uint64_t n = h->count;
	size_t i;
	int rc;

	if ((rc = operand(sh, t, s)) != 0)
		return rc;
	if (s[0] != '\0' && !number(s, &n))
		return shell_fail(sh, EX_USAGE_, "%s: not a number", s);
	for (i = n < h->count ? h->count - n : 0; i < h->count; i++) {
		shell_show(h->line[i], strlen(h->line[i]));
		shell_puts("\n");
	}
	return 0;
}

/* A child gets the signals that we would have. */
static int
run_shell(struct shell *sh, struct shell_text *t)
{
	char *command;
	int status = 0;
	pid_t pid;

	shell_skip_blanks(t);
	if (t->len == 0)
		return shell_fail(sh, EX_USAGE_, "usage: .shell COMMAND");
	cli_out_flush();
	if ((command = strndup(t->p, t->len)) == NULL ||
	    (pid = fork()) < 0) {
		free(command);
		return shell_fail(sh, EX_IOERR_, "%s", strerror(errno));
	}
	if (pid == 0) {
		signal(SIGPIPE, SIG_DFL);
		execl("/bin/sh", "sh", "-c", command, (char *)NULL);
		_exit(127);
	}
	free(command);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	status = WIFEXITED(status) ? WEXITSTATUS(status) :
	    128 + WTERMSIG(status);
	return status == 0 ? 0 : shell_fail(sh, status, "the command ended "
	    "with status %d", status);
}

static int
run_version(struct shell *sh, struct shell_text *t)
{
	int rc = no_operand(sh, t);

	if (rc == 0)
		shell_puts("kevo " KEVO_VERSION "\n");
	return rc;
}

static int
run_exit(struct shell *sh, struct shell_text *t)
{
	int rc = no_operand(sh, t);

	if (rc == 0)
		sh->quit = 1;
	return rc;
}

static void
help_table(const struct shell_command *c)
{
	char left[100];

	for (; c->name != NULL; c++) {
		snprintf(left, sizeof(left), "%s %s", c->name, c->args);
		shell_printf(strlen(left) > 28 ? "  %s\n%31s%s\n" :
		    "  %-28s %.0s%s\n", left, "", c->help);
	}
}

static int
run_help(struct shell *sh, struct shell_text *t)
{
	const struct shell_command *c;
	char name[WORD_ROOM];
	int rc;

	if ((rc = operand(sh, t, name)) != 0)
		return rc;
	if (name[0] != '\0') {
		if ((c = shell_find(name, strlen(name))) == NULL)
			return shell_fail(sh, EX_USAGE_, "%s: no such command",
			    name);
		shell_printf("%s %s\n  %s\n", c->name, c->args, c->help);
		return 0;
	}
	help_table(shell_verbs);
	help_table(shell_dots);
	shell_puts("A key that begins with \" is a C string; with -E operands "
	    "have the escapes of tsv.\n");
	return 0;
}

const struct shell_command shell_dots[] = {
	{ ".help", "[COMMAND]", "show this, or one command", run_help },
	{ ".open", "PATH", "open a database", run_open },
	{ ".close", "", "close it", run_close },
	{ ".stats", "", "show numbers about the database", run_stats },
	{ ".flush", "", "bring all changes to disk", run_flush },
	{ ".compact", "[full]", "merge tables and give space back",
	    run_compact },
	{ ".check", "[fast]", "look whether everything is as it was written",
	    run_check },
	{ ".backup", "FILE", "write all of it as an archive, for any tar",
	    run_backup },
	{ ".watch", "[PREFIX]", "show changes as they come, until Ctrl-C",
	    run_watch },
	{ ".mode", "[rows|FORMAT]", "how GET and SCAN show records",
	    run_mode },
	{ ".limit", "[N]", "show at most N rows of a SCAN (0: all)",
	    run_limit },
	{ ".timer", "[on|off]", "say how long each command took", run_timer },
	{ ".output", "[FILE]", "write answers to FILE, or here again",
	    run_output },
	{ ".read", "FILE", "run the lines of FILE", run_read },
	{ ".history", "[N]", "show the last N lines that were typed",
	    run_history },
	{ ".shell", "COMMAND", "run a command of the system's shell",
	    run_shell },
	{ ".version", "", "show the version", run_version },
	{ ".exit", "", "leave", run_exit },
	{ NULL, NULL, NULL, NULL }
};
