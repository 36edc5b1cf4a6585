/*
 * ident: the FORMAT file: which database it is, fixed when it is created.
 */
#ifndef KV_IDENT_H
#define KV_IDENT_H

#include <stdint.h>

struct kv_env;
struct kv_dir;

#define KV_FORMAT_VERSION	2
#define KV_IDENT_MAX	4096	/* bytes of FORMAT, of any version */

struct kv_ident {
	uint8_t id[16];
	uint32_t epoch;
	uint64_t nonce;
	uint32_t mode;		/* of new files */
};

/* A new identity.  Returns 0 or KEVO_EIO. */
int kv_ident_new(struct kv_env *env, const struct kv_dir *dir,
    struct kv_ident *id);

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
