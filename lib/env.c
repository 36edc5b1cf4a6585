#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "env.h"
#include "kevo.h"

int
kv_fail(struct kv_env *env, int status, const char *fmt, ...)
{
	va_list ap;

	if (env == NULL)
		return status;
	va_start(ap, fmt);
	vsnprintf(env->msg, sizeof(env->msg), fmt, ap);
	va_end(ap);
	return status;
}

int
kv_fail_errno(struct kv_env *env, const char *path, const char *verb)
{
	int e = errno;
	int status = KEVO_EIO;

	if (e == EACCES || e == EPERM || e == EROFS)
		status = KEVO_EPERM;
	else if (e == ENOMEM)
		status = KEVO_ENOMEM;
	return kv_fail(env, status, "%s: cannot %s: %s", path, verb,
	    strerror(e));
}

uint64_t
kv_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

int64_t
kv_mono_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

uint64_t
kv_mono_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

uint64_t
kv_tick(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &ts);
	return (uint64_t)ts.tv_sec * KV_TICKS_A_SECOND +
	    (uint64_t)ts.tv_nsec / (1000000000 / KV_TICKS_A_SECOND);
}

int
kv_random(void *p, size_t len)
{
	uint8_t *b = p;

	while (len > 0) {
		ssize_t n = getrandom(b, len, 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return -1;
		b += n;
		len -= (size_t)n;
	}
	return 0;
}
