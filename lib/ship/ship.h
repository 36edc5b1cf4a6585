/*
 * ship: what the storey above the engine shares: the classes of failure that
 * an operator has to tell apart.
 *
 * Functions of lib/ship return 0, a negative status of kevo.h (the system
 * failed, or our own database did), or a positive class of this list: what
 * was read from elsewhere is not what it should be, and what is to be done
 * about it differs.  In each case env holds the sentence: object, what was
 * expected and what was found; consequence; next: what to do.
 */
#ifndef KV_SHIP_H
#define KV_SHIP_H

#include <stdint.h>

struct kv_env;

enum kv_ship_class {
	KV_SHIP_SHORT = 201,	/* input ended early */
	KV_SHIP_REMOTE,		/* another program or machine failed */
	KV_SHIP_BUSY,		/* somebody has the lock */
	KV_SHIP_WAITING,	/* something else must arrive first */
	KV_SHIP_NOSPACE,	/* a disk is full */
	KV_SHIP_CORRUPT,	/* not the bytes that were written */
	KV_SHIP_GAP,		/* commits before it are missing */
	KV_SHIP_FORK,		/* two histories under the same numbers */
	KV_SHIP_WRONG_DB,	/* of another database */
	KV_SHIP_CONFLICT,	/* a name is taken by other bytes */
	KV_SHIP_LOST,		/* a slot dropped what is needed */
	KV_SHIP_FENCED,		/* a newer epoch exists */
	KV_SHIP_FAILED,		/* a verification or drill found something */
	KV_SHIP_ORPHANS		/* commits that lost a fork were found */
};

/* Store a sentence and return the class. */
int kv_ship_fail(struct kv_env *env, enum kv_ship_class c, const char *fmt,
    ...) __attribute__((format(printf, 3, 4)));

/* As kv_fail_errno(), but a full disk is KV_SHIP_NOSPACE. */
int kv_ship_fail_errno(struct kv_env *env, const char *path,
    const char *verb);

/* "corrupt", or NULL if rc is no class. */
const char *kv_ship_class_name(int rc);

/* The exit status of a class: 74, 75, or 80 to 89; 0 if rc is none. */
int kv_ship_exit(int rc);

/* "2026-11-22T14:03:11Z" of nanoseconds since 1970. */
#define KV_SHIP_TIME_LEN	24
void kv_ship_time(char buf[KV_SHIP_TIME_LEN], uint64_t ns);

/* The name of this machine: letters, digits and -, so that it can be part of
 * a file's name. */
#define KV_SHIP_HOST_LEN	33
void kv_ship_host(char buf[KV_SHIP_HOST_LEN]);

#endif /* KV_SHIP_H */
