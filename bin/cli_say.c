/*
 * cli_say: lines for people, with names in them.
 */
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>

#include "cli.h"
#include "escape.h"

/* The name of a database has up to PATH_MAX bytes. */
#define ROOM	(PATH_MAX + 2048)

void
cli_say(const char *fmt, ...)
{
	uint8_t safe[4 * ROOM];
	char line[ROOM];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	if (n >= (int)sizeof(line))
		n = sizeof(line) - 1;
	cli_out(safe, escape_show(safe, (const uint8_t *)line, (size_t)n));
	cli_out("\n", 1);
}
