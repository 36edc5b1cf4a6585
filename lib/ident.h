/*
 * ident: the FORMAT file: what a database is, fixed when it is created.
 */
#ifndef KV_IDENT_H
#define KV_IDENT_H

#include <stdint.h>

#include "kevo.h"

struct kv_env;
struct kv_dir;

#define KV_FORMAT_VERSION	1
#define KV_MEMTABLE_MIN		((uint64_t)64 << 10)
#define KV_MEMTABLE_MAX		((uint64_t)1 << 30)
#define KV_MEMTABLE_DEFAULT	((uint64_t)64 << 20)

struct kv_ident {
	uint8_t id[16];
	uint32_t epoch;
	uint64_t nonce;
	uint32_t mode;		/* of new files */
	uint64_t memtable_bytes;
	enum kevo_sync sync;
};

/* 0, or KEVO_ECONFIG naming the setting that is unknown or out of range. */
int kv_ident_check(struct kv_env *env, const char *const *settings);

/* A new identity with settings ("name=value"..., NULL-ended, may be NULL).
 * Returns 0, KEVO_ECONFIG or KEVO_EIO. */
int kv_ident_new(struct kv_env *env, const struct kv_dir *dir,
    const char *const *settings, struct kv_ident *id);

/* Write FORMAT: synced under a temporary name, then linked.  It is what
 * makes a directory a database, so it is written last. */
int kv_ident_write(struct kv_env *env, const struct kv_dir *dir,
    const struct kv_ident *id);

/*
 * Read FORMAT.  Returns 0, KEVO_ENODB if it is missing, KEVO_ENOTDB for
 * another or a newer format, KEVO_ECORRUPT, KEVO_EIO, KEVO_EPERM.
 */
int kv_ident_read(struct kv_env *env, const struct kv_dir *dir,
    struct kv_ident *id);

#endif /* KV_IDENT_H */
