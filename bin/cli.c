/*
 * cli: messages, exit statuses and the database handle of a tool.
 *
 * Whatever ends a tool early passes through end_early(): what was output so
 * far is flushed, the message is on its way, and the tool's own hook removes
 * temporary files or says how far it got.  A failure inside that is not
 * allowed to start it again.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "cli_tool.h"
#include "escape.h"
#include "options.h"

int cli_quiet;
int cli_verbose;

static void (*exit_hook)(int status);

void
cli_at_exit(void (*fn)(int status))
{
	exit_hook = fn;
}

void
cli_run_exit_hook(int status)
{
	void (*fn)(int) = exit_hook;

	exit_hook = NULL;
	if (fn != NULL)
		fn(status);
}

/* ---- messages ---------------------------------------------------------- */

/* A terminal obeys C0, DEL and C1, and must not see broken UTF-8. */
static size_t
harmless(const uint8_t *p, size_t len)
{
	size_t n = utf8_len(p, len);

	if (n == 0 || p[0] < 0x20 || p[0] == 0x7f)
		return 0;
	if (n == 2 && p[0] == 0xc2 && p[1] < 0xa0)
		return 0;
	return n;
}

static size_t
sanitize(char *dst, size_t room, const char *src, size_t len)
{
	static const char hex[] = "0123456789abcdef";
	const uint8_t *p = (const uint8_t *)src;
	size_t n, out = 0;

	while (len > 0 && out + 5 < room) {
		if ((n = harmless(p, len)) > 0) {
			memcpy(dst + out, p, n);
			out += n;
		} else {
			n = 1;
			dst[out++] = '\\';
			dst[out++] = 'x';
			dst[out++] = hex[*p >> 4];
			dst[out++] = hex[*p & 15];
		}
		p += n;
		len -= n;
	}
	return out;
}

static void
message(const char *kind, const char *fmt, va_list ap)
{
	char text[4096], line[6000];
	size_t n;
	int len;

	cli_progress_end();
	len = vsnprintf(text, sizeof(text), fmt, ap);
	if (len < 0)
		len = 0;
	if ((size_t)len >= sizeof(text))
		len = sizeof(text) - 1;
	n = (size_t)snprintf(line, 100, "%s: %s", cli_tool_name(), kind);
	n += sanitize(line + n, sizeof(line) - n - 1, text, (size_t)len);
	line[n++] = '\n';
	/* There is nobody to tell when standard error does not work. */
	if (write(2, line, n) < 0)
		return;
}

void
cli_msg(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	message("", fmt, ap);
	va_end(ap);
}

void
cli_note(const char *fmt, ...)
{
	va_list ap;

	if (cli_quiet)
		return;
	va_start(ap, fmt);
	message("", fmt, ap);
	va_end(ap);
}

void
cli_hint(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	message("hint: ", fmt, ap);
	va_end(ap);
}

void
cli_end_early(int status)
{
	cli_run_exit_hook(status);
	exit(status);
}

void
cli_die(int status, const char *fmt, ...)
{
	va_list ap;

	cli_out_flush();
	va_start(ap, fmt);
	message("", fmt, ap);
	va_end(ap);
	cli_end_early(status);
}

void
cli_usage(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	message("", fmt, ap);
	va_end(ap);
	cli_synopsis(2);
	cli_end_early(EX_USAGE_);
}

void
cli_usage_hint(const char *hint, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	message("", fmt, ap);
	va_end(ap);
	if (hint != NULL)
		cli_hint("%s", hint);
	cli_synopsis(2);
	cli_end_early(EX_USAGE_);
}

/* ---- statuses ---------------------------------------------------------- */

int
cli_status(int rc)
{
	switch ((enum kevo_status)rc) {
	case KEVO_OK:
		return 0;
	case KEVO_NOTFOUND:
	case KEVO_FALSE:
		return EXIT_NO;
	case KEVO_ELIMIT:
	case KEVO_ENOTDB:
		return EX_DATAERR_;
	case KEVO_ENODB:
		return EX_NOINPUT_;
	case KEVO_ECORRUPT:
		return EX_OSFILE_;
	case KEVO_ECREATE:
		return EX_CANTCREAT_;
	case KEVO_EIO:
	case KEVO_EUNKNOWN:
	case KEVO_ENOMEM:
	case KEVO_EREPLACED:
		return EX_IOERR_;
	case KEVO_EBUSY:
	case KEVO_ECONFLICT:
		return EX_TEMPFAIL_;
	case KEVO_EPERM:
		return EX_NOPERM_;
	case KEVO_ECONFIG:
		return EX_CONFIG_;
	case KEVO_EHISTORY:
	case KEVO_EENDED:
		return EX_UNAVAILABLE_;
	case KEVO_EINVAL:
	case KEVO_EFORKED:
		break;
	}
	return EX_SOFTWARE_;
}

/* ---- the database ------------------------------------------------------ */

const char *
cli_db_path(const char *operand)
{
	const char *path = operand;

	if (strcmp(operand, "@") == 0) {
		path = getenv("KEVO_DB");
		if (path == NULL || *path == '\0')
			cli_die(EX_USAGE_, "@: KEVO_DB is not set");
	}
	if (*path == '\0')
		cli_die(EX_USAGE_, "the name of the database is empty");
	return path;
}

int
cli_common(struct cli_open_opts *o, const struct cli_args *a, int id)
{
	switch (id) {
	case 'q':
		cli_quiet = 1;
		return 1;
	case 'v':
		cli_verbose++;
		return 1;
	case 'w':
		o->wait = a->arg;
		return 1;
	case 'C':
		o->flags &= ~(unsigned)KEVO_CREATE;
		return 1;
	case OPT_SYNC:
		o->sync = a->arg;
		return 1;
	default:
		return 0;
	}
}

/* An empty variable is an unset one. */
static const char *
from_env(const char *name)
{
	const char *s = getenv(name);

	return s != NULL && *s != '\0' ? s : NULL;
}

int64_t
cli_wait_ms(const struct cli_open_opts *o)
{
	const char *s;

	if (o->wait != NULL)
		return cli_duration_ms("-w", o->wait);
	if ((s = from_env("KEVO_WAIT")) != NULL)
		return cli_duration_ms("KEVO_WAIT", s);
	return KEVO_WAIT_DEFAULT;
}

static void
fill_options(struct kevo_options *opt, const struct cli_open_opts *o,
    unsigned flags)
{
	const char *s;

	memset(opt, 0, sizeof(*opt));
	opt->program = cli_tool_name();
	opt->settings = o->settings;
	opt->txn = from_env("KEVO_TXN");
	if (flags & KEVO_RDONLY)
		return;
	opt->wait_set = 1;
	opt->wait_ms = cli_wait_ms(o);
	if (o->sync != NULL)
		opt->sync = cli_sync_mode("--sync", o->sync);
	else if ((s = from_env("KEVO_SYNC")) != NULL)
		opt->sync = cli_sync_mode("KEVO_SYNC", s);
}

/* Its leak checker wants to see all given back. */
#ifdef __SANITIZE_ADDRESS__
#define close_db	kevo_close
#else
#define close_db	kevo_leave
#endif

int
cli_try_open(const char *operand, const struct cli_open_opts *o,
    unsigned flags, struct kevo **db)
{
	struct kevo_options opt;

	fill_options(&opt, o, flags);
	if (!(flags & KEVO_RDONLY))
		cli_guard_maps(operand);
	return kevo_open(cli_db_path(operand), flags, &opt, db);
}

struct kevo *
cli_open(const char *operand, const struct cli_open_opts *o)
{
	struct kevo *db = NULL;
	int rc = cli_try_open(operand, o, o->flags, &db);

	if (rc != 0)
		cli_fail(db, rc);
	return db;
}

void
cli_fail(struct kevo *db, int rc)
{
	const char *why = db != NULL ? kevo_errmsg(db) : "";

	if (*why == '\0')
		why = kevo_strerror(rc);
	cli_die(cli_status(rc), "%s", why);
}

int
cli_close(struct kevo *db, int status)
{
	int rc;

	cli_out_flush();
	if (cli_out_close() != 0) {
		cli_msg("write error: %s", strerror(errno));
		status = EX_IOERR_;
	}
	if ((rc = close_db(db)) != 0) {
		cli_msg("closing the database: %s", kevo_strerror(rc));
		status = cli_status(rc);
	}
	cli_progress_end();
	return status;
}
