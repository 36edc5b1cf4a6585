/*
 * cli_progress: one line on standard error about a long run.
 *
 * Shown only on a terminal, after the first second, at most ten times a
 * second; who asked for it gets a last line too.  SIGUSR1 asks for one line
 * at any time.  The clock is read at
 * every 256th record only.
 */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "cli_tool.h"

static struct {
	enum cli_progress_mode mode;
	int decided;	/* AUTO has become ALWAYS or NEVER */
	int overwrite;	/* standard error is a terminal */
	int shown;	/* a line stands on the terminal */
	int asked;	/* always or numeric: a last line is due */
	unsigned calls;
	int64_t start_ms, last_ms;
	const char *verb;
	uint64_t records, bytes, total;
} st;

void
cli_progress_mode(const char *arg)
{
	if (arg == NULL || strcmp(arg, "always") == 0)
		st.mode = CLI_PROGRESS_ALWAYS;
	else if (strcmp(arg, "auto") == 0)
		st.mode = CLI_PROGRESS_AUTO;
	else if (strcmp(arg, "never") == 0)
		st.mode = CLI_PROGRESS_NEVER;
	else if (strcmp(arg, "numeric") == 0)
		st.mode = CLI_PROGRESS_NUMERIC;
	else
		cli_die(EX_USAGE_, "--progress: %s: not one of auto, always, "
		    "never, numeric", arg);
	st.asked = st.mode == CLI_PROGRESS_ALWAYS ||
	    st.mode == CLI_PROGRESS_NUMERIC;
}

void
cli_progress_yield(void)
{
	if (st.mode == CLI_PROGRESS_AUTO && cli_out_is_tty())
		st.mode = CLI_PROGRESS_NEVER;
}

static void
decide(int64_t now)
{
	const char *term = getenv("TERM");
	int tty = isatty(2);

	st.decided = 1;
	st.start_ms = st.last_ms = now;
	st.overwrite = tty && term != NULL && strcmp(term, "dumb") != 0;
	if (st.mode == CLI_PROGRESS_AUTO)
		st.mode = tty && !cli_quiet ? CLI_PROGRESS_ALWAYS :
		    CLI_PROGRESS_NEVER;
}

static int
add_bytes(char *buf, size_t room)
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB" };
	double n = (double)st.bytes;
	size_t u = 0;

	while (n >= 1024 && u < 4) {
		n /= 1024;
		u++;
	}
	return snprintf(buf, room, "%s %.*f %s", st.records != CLI_NO_RECORDS ?
	    "," : "", u == 0 ? 0 : 1, n, units[u]);
}

static int
add_rest(char *buf, size_t room, int64_t ms)
{
	uint64_t bytes = st.bytes < st.total ? st.bytes : st.total;
	uint64_t left_s;

	if (st.total == 0 || bytes == 0)
		return 0;
	left_s = (uint64_t)((double)ms / 1000 *
	    (double)(st.total - bytes) / (double)bytes);
	return snprintf(buf, room, ", %d%%, %" PRIu64 ":%02d left",
	    (int)((double)bytes * 100 / (double)st.total), left_s / 60,
	    (int)(left_s % 60));
}

static void
show(int64_t now, int overwrite)
{
	char line[300];
	int64_t ms = now - st.start_ms;
	size_t room = sizeof(line) - 8;
	int n;

	n = snprintf(line, room, "%s%s: %s", overwrite ? "\r" : "",
	    cli_tool_name(), st.verb);
	if (st.records != CLI_NO_RECORDS)
		n += snprintf(line + n, room - (size_t)n, " %" PRIu64
		    " record%s", st.records, st.records == 1 ? "" : "s");
	if (st.bytes > 0)
		n += add_bytes(line + n, room - (size_t)n);
	if (ms > 0 && st.records != CLI_NO_RECORDS)
		n += snprintf(line + n, room - (size_t)n, ", %.0f/s",
		    (double)st.records * 1000 / (double)ms);
	n += add_rest(line + n, room - (size_t)n, ms);
	n += snprintf(line + n, 8, overwrite ? "\033[K" : "\n");
	if (write(2, line, (size_t)n) >= 0)
		st.shown = overwrite;
}

static void
show_number(void)
{
	char line[40];
	uint64_t n = st.records != CLI_NO_RECORDS ? st.records : st.bytes;
	int len;

	if (st.total > 0)
		n = st.bytes >= st.total ? 100 :
		    (uint64_t)((double)st.bytes * 100 / (double)st.total);
	len = snprintf(line, sizeof(line), "%" PRIu64 "\n", n);
	if (write(2, line, (size_t)len) < 0)
		return;
}

static void
tick(void)
{
	int64_t now = cli_now_ms();
	int slow;

	if (!st.decided)
		decide(now);
	if (cli_progress_wanted) {
		cli_progress_wanted = 0;
		cli_progress_end();
		if (st.verb != NULL)
			show(now, 0);
	}
	slow = st.mode == CLI_PROGRESS_NUMERIC || !st.overwrite;
	if (st.mode == CLI_PROGRESS_NEVER || now - st.start_ms < 1000 ||
	    now - st.last_ms < (slow ? 1000 : 100))
		return;
	st.last_ms = now;
	if (st.mode == CLI_PROGRESS_NUMERIC)
		show_number();
	else
		show(now, st.overwrite);
}

void
cli_progress(const char *verb, uint64_t records, uint64_t bytes,
    uint64_t total_bytes)
{
	st.verb = verb;
	st.records = records;
	st.bytes = bytes;
	st.total = total_bytes;
	if ((st.calls++ & 255) == 0 || cli_progress_wanted)
		tick();
}

void
cli_progress_seldom(const char *verb, uint64_t records)
{
	st.calls = 0;
	cli_progress(verb, records, 0, 0);
}

void
cli_progress_phase(void)
{
	cli_progress_end();
	st.calls = 0;
	st.start_ms = st.last_ms = cli_now_ms();
}

void
cli_progress_bytes(const char *verb, uint64_t bytes, uint64_t total_bytes)
{
	st.verb = verb;
	st.records = CLI_NO_RECORDS;
	st.bytes = bytes;
	st.total = total_bytes;
	tick();
}

void
cli_progress_poke(void)
{
	if (cli_progress_wanted)
		tick();
}

void
cli_progress_end(void)
{
	if (!st.shown)
		return;
	st.shown = 0;
	if (write(2, "\r\033[K", 4) < 0)
		return;
}

void
cli_progress_done(const char *verb, uint64_t records)
{
	int64_t now;

	cli_progress_end();
	if (!st.asked)
		return;
	st.asked = 0;
	now = cli_now_ms();
	if (!st.decided)
		decide(now);
	st.verb = verb;
	st.records = records;
	if (st.mode == CLI_PROGRESS_NUMERIC) {
		st.bytes = st.total;
		show_number();
	} else {
		st.total = 0;	/* nothing is left to be foretold */
		show(now, 0);
	}
}
