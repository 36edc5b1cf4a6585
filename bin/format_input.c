/*
 * format_input: finding tokens in the input, and saying what is wrong.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "cli_tool.h"
#include "format_internal.h"
#include "format_scan.h"

void (*format_on_error)(void *arg);
void *format_on_error_arg;

static void malformed(const char *where, const char *hint, const char *fmt,
    va_list ap) __attribute__((noreturn, format(printf, 3, 0)));

/* The tool commits what came before; if that fails it does not return. */
static void
malformed(const char *where, const char *hint, const char *fmt, va_list ap)
{
	void (*on_error)(void *arg) = format_on_error;
	char text[512];

	vsnprintf(text, sizeof(text), fmt, ap);
	cli_out_flush();
	cli_msg("%s: %s", where, text);
	if (hint != NULL)
		cli_hint("%s", hint);
	format_on_error = NULL;
	if (on_error != NULL)
		on_error(format_on_error_arg);
	cli_out_flush();
	cli_end_early(EX_DATAERR_);
}

void
format_bad(struct format_reader *r, const char *hint, const char *fmt, ...)
{
	char where[4200];
	va_list ap;

	if (r->ops->can & IS_BINARY)
		snprintf(where, sizeof(where), "%s: byte %" PRIu64,
		    r->in->name, r->taken);
	else
		snprintf(where, sizeof(where), "%s:%" PRIu64, r->in->name,
		    r->line);
	va_start(ap, fmt);
	malformed(where, hint, fmt, ap);
}

void
format_bad_at(struct format_reader *r, size_t off, const char *fmt, ...)
{
	char where[4200];
	va_list ap;

	snprintf(where, sizeof(where), "%s: byte %" PRIu64, r->in->name,
	    r->taken + off);
	va_start(ap, fmt);
	malformed(where, NULL, fmt, ap);
}

void
format_refuse(const struct kevo_record *rec, const char *hint,
    const char *why)
{
	cli_out_flush();
	cli_msg("key %s: %s", format_show_key(rec->key, rec->klen), why);
	if (hint != NULL)
		cli_hint("%s", hint);
	cli_end_early(EX_DATAERR_);
}

void
format_check_key(struct format_reader *r, size_t klen)
{
	if (klen == 0)
		format_bad(r, NULL, "empty key");
	if (klen > KEVO_KEY_MAX)
		format_bad(r, NULL, "key of %zu bytes: the limit is %u", klen,
		    KEVO_KEY_MAX);
}

void
format_check_value(struct format_reader *r, size_t vlen)
{
	if (vlen > KEVO_VALUE_MAX)
		format_bad(r, NULL, "value of %zu bytes: the limit is %u",
		    vlen, KEVO_VALUE_MAX);
}

int
format_more(struct format_reader *r, size_t have)
{
	return cli_in_need(r->in, have + 1) > have;
}

int
format_fill(struct format_reader *r, size_t n)
{
	size_t have, step;

	while ((have = format_have(r)) < n) {
		/* Not all of n at once: it may be a lie. */
		step = have < 65536 ? 65536 : have * 2;
		if (step > n)
			step = n;
		if (cli_in_need(r->in, step) < step)
			return 0;
	}
	return 1;
}

int
format_byte(struct format_reader *r, size_t off)
{
	if (off >= format_have(r) && !format_fill(r, off + 1))
		return -1;
	return format_at(r)[off];
}

void
format_take(struct format_reader *r, size_t n)
{
	r->in->pos += n;
	r->taken += n;
}

size_t
format_find(struct format_reader *r, size_t from, int delim, size_t max)
{
	size_t i = from, have;

	for (;;) {
		have = format_have(r);
		if (i < have)
			i = scan1(format_at(r), i, have, delim);
		if (i > from && i - from > max)
			return FORMAT_LONG;
		if (i < have)
			return i;
		if (!format_more(r, have))
			return FORMAT_NONE;
	}
}
