/*
 * env: the error message of a handle, the clock, random numbers.
 */
#ifndef KV_ENV_H
#define KV_ENV_H

#include <stddef.h>
#include <stdint.h>

struct kv_env {
	char msg[704];
};

/*
 * Store one sentence (object, place, reason) and return status, which is
 * one of enum kevo_status.  env NULL: nobody asks for the sentence.
 */
int kv_fail(struct kv_env *env, int status, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/*
 * The same for a failed system call: "PATH: cannot VERB: reason of errno".
 * The status is KEVO_EPERM for a lack of permission, else KEVO_EIO.
 */
int kv_fail_errno(struct kv_env *env, const char *path, const char *verb);

/* Nanoseconds since 1970. */
uint64_t kv_now_ns(void);

/* Milliseconds of a clock that never steps; for waits.  The same in
 * nanoseconds, for how long something took. */
int64_t kv_mono_ms(void);
uint64_t kv_mono_ns(void);

/* The tick (about 4 ms) of a clock that costs no system call. */
#define KV_TICKS_A_SECOND	256
uint64_t kv_tick(void);

/* Fill p with random bytes.  Returns 0 or -1. */
int kv_random(void *p, size_t len);

#endif /* KV_ENV_H */
