#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../env.h"
#include "ship.h"

/* 75: run me again; 80 to 89: a person must look. */
static const struct {
	const char *name;
	int exit;
} classes[] = {
	[KV_SHIP_SHORT - KV_SHIP_SHORT] = { "short", 75 },
	[KV_SHIP_REMOTE - KV_SHIP_SHORT] = { "remote", 75 },
	[KV_SHIP_BUSY - KV_SHIP_SHORT] = { "busy", 75 },
	[KV_SHIP_WAITING - KV_SHIP_SHORT] = { "waiting", 75 },
	[KV_SHIP_NOSPACE - KV_SHIP_SHORT] = { "nospace", 74 },
	[KV_SHIP_CORRUPT - KV_SHIP_SHORT] = { "corrupt", 80 },
	[KV_SHIP_GAP - KV_SHIP_SHORT] = { "gap", 81 },
	[KV_SHIP_FORK - KV_SHIP_SHORT] = { "fork", 82 },
	[KV_SHIP_WRONG_DB - KV_SHIP_SHORT] = { "wrong-db", 83 },
	[KV_SHIP_CONFLICT - KV_SHIP_SHORT] = { "conflict", 84 },
	[KV_SHIP_LOST - KV_SHIP_SHORT] = { "lost", 85 },
	[KV_SHIP_FENCED - KV_SHIP_SHORT] = { "fenced", 86 },
	[KV_SHIP_FAILED - KV_SHIP_SHORT] = { "failed", 87 },
	[KV_SHIP_ORPHANS - KV_SHIP_SHORT] = { "orphans", 88 }
};

static int
is_class(int rc)
{
	return rc >= KV_SHIP_SHORT && rc <= KV_SHIP_ORPHANS;
}

int
kv_ship_fail(struct kv_env *env, enum kv_ship_class c, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(env->msg, sizeof(env->msg), fmt, ap);
	va_end(ap);
	return (int)c;
}

int
kv_ship_fail_errno(struct kv_env *env, const char *path, const char *verb)
{
	int full = errno == ENOSPC || errno == EDQUOT;
	int rc = kv_fail_errno(env, path, verb);

	return full ? KV_SHIP_NOSPACE : rc;
}

const char *
kv_ship_class_name(int rc)
{
	return is_class(rc) ? classes[rc - KV_SHIP_SHORT].name : NULL;
}

int
kv_ship_exit(int rc)
{
	return is_class(rc) ? classes[rc - KV_SHIP_SHORT].exit : 0;
}

void
kv_ship_time(char buf[KV_SHIP_TIME_LEN], uint64_t ns)
{
	time_t t = (time_t)(ns / 1000000000u);
	struct tm tm;

	gmtime_r(&t, &tm);
	strftime(buf, KV_SHIP_TIME_LEN, "%Y-%m-%dT%H:%M:%SZ", &tm);
}

static int
is_plain(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	    (c >= '0' && c <= '9') || c == '-';
}

void
kv_ship_host(char buf[KV_SHIP_HOST_LEN])
{
	char *p;

	if (gethostname(buf, KV_SHIP_HOST_LEN) != 0 || buf[0] == '\0')
		memcpy(buf, "unknown", sizeof("unknown"));
	buf[KV_SHIP_HOST_LEN - 1] = '\0';
	for (p = buf; is_plain(*p); p++)
		;
	*p = '\0';
	if (p == buf)
		memcpy(buf, "unknown", sizeof("unknown"));
}
