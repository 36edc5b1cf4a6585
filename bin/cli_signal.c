/*
 * cli_signal: stop between two records, and die by the signal that asked.
 *
 * A tool that does one thing keeps the default actions: being killed at any
 * instant is safe.  A tool that works through many records wants to flush
 * what it says about the ones that are stored, and to remove its temporary
 * file, so it takes a note and stops at the next record.
 *
 * Two things could keep it from getting there: the signal arrives just
 * before a read that then sleeps, or the library waits for a lock.  The
 * alarm cures both: after a second it interrupts the read, and after one
 * more it ends the tool the hard way, which is safe too.
 */
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "cli.h"
#include "cli_tool.h"

static volatile sig_atomic_t stop_signal;
static volatile sig_atomic_t alarms;

volatile sig_atomic_t cli_progress_wanted;

static void
on_stop(int sig)
{
	stop_signal = sig;
	alarm(1);
}

static void
on_alarm(int sig)
{
	(void)sig;
	if (++alarms == 1) {
		alarm(1);
		return;
	}
	signal(stop_signal, SIG_DFL);
	raise(stop_signal);
}

static void
on_usr1(int sig)
{
	(void)sig;
	cli_progress_wanted = 1;
}

/* What the parent has ignored stays ignored: nohup, background jobs. */
static void
catch(int sig, void (*fn)(int))
{
	struct sigaction act = { .sa_handler = fn }, old;

	if (sigaction(sig, NULL, &old) == 0 && old.sa_handler == SIG_IGN)
		return;
	sigaction(sig, &act, NULL);
}

/* ---- damage under a map ------------------------------------------------ */

static const char *guarded;

static void
on_bus(int sig)
{
	const char *part[] = { cli_tool_name(), ": ", guarded, ": a mapped "
	    "file cannot be read, or was cut while it was in use\n" };
	struct iovec v[4];
	ssize_t n;

	for (int i = 0; i < 4; i++) {
		v[i].iov_base = (void *)(uintptr_t)part[i];
		v[i].iov_len = strlen(part[i]);
	}
	n = writev(2, v, 4);
	(void)sig;
	(void)n;
	_exit(EX_IOERR_);
}

void
cli_guard_maps(const char *operand)
{
	struct sigaction act = { .sa_handler = on_bus };

	guarded = cli_db_path(operand);
	sigaction(SIGBUS, &act, NULL);
	signal(SIGXFSZ, SIG_IGN);	/* EFBIG says it, too */
}

void
cli_signals(void)
{
	static int done;

	if (done)
		return;
	done = 1;
	catch(SIGINT, on_stop);
	catch(SIGTERM, on_stop);
	catch(SIGHUP, on_stop);
	catch(SIGALRM, on_alarm);
	catch(SIGUSR1, on_usr1);
#ifdef SIGINFO
	catch(SIGINFO, on_usr1);
#endif
}

int
cli_stopped(void)
{
	return stop_signal;
}

void
cli_die_by(int sig)
{
	sigset_t set;

	cli_progress_end();
	cli_run_exit_hook(128 + sig);
	signal(sig, SIG_DFL);
	sigemptyset(&set);
	sigaddset(&set, sig);
	sigprocmask(SIG_UNBLOCK, &set, NULL);
	raise(sig);
	_exit(128 + sig);
}

void
cli_die_by_signal(void)
{
	/* From here a second signal kills at once. */
	signal(stop_signal, SIG_DFL);
	cli_out_flush();
	cli_die_by(stop_signal);
}
