/*
 * conf: kevo.conf, the settings of a database as people write them.
 *
 * The file may be missing, and may be edited by anybody at any time; what is
 * in it is checked as a whole before any of it is used.  Its grammar is
 * kevo.conf(5).
 */
#ifndef KV_CONF_H
#define KV_CONF_H

#include <stdint.h>

#include "settings.h"

struct kv_env;
struct kv_dir;

#define KV_CONF_NAME		"kevo.conf"
#define KV_CONF_TMP		"kevo.conf.tmp"
#define KV_CONF_MAX		65536	/* bytes */

/* Stamps that no file has. */
#define KV_CONF_MISSING		((uint64_t)0)
#define KV_CONF_UNKNOWN		((uint64_t)2)

struct kv_conf {
	uint64_t value[KV_SETTINGS];
	uint32_t line[KV_SETTINGS];	/* where it stands; 0: the default */
	uint64_t stamp;
};

/* The defaults, stamped as unknown. */
void kv_conf_init(struct kv_conf *c);

/* Something that differs when the file is another or was changed; one
 * system call. */
uint64_t kv_conf_stamp(const struct kv_dir *dir);

/*
 * Read and check kevo.conf; a missing one means the defaults.  Returns 0,
 * KEVO_ECONFIG naming file, line, setting and range, KEVO_EIO, KEVO_EPERM
 * or KEVO_ENOMEM.
 */
int kv_conf_read(struct kv_env *env, const struct kv_dir *dir,
    struct kv_conf *out);

/*
 * Changes are strings "name=value", NULL-ended (NULL: none); the value
 * "default" means that the setting does not stand in the file.  The last
 * one of a name wins.
 *
 * kv_conf_apply() makes them in c, and kv_conf_check() looks whether what
 * came out goes together.  Both return 0, or KEVO_EINVAL naming setting and
 * range.
 */
int kv_conf_apply(struct kv_env *env, const char *const *changes,
    struct kv_conf *c);
int kv_conf_check(struct kv_env *env, const struct kv_conf *c);

/*
 * Make changes in the file.  Comments, order, and the values of the other
 * lines stay as they are.  The new file is checked, written beside the old
 * one, synced, and renamed; *out is what it says.  WRITER or REBUILD is held.
 *
 * Returns 0 or what kv_conf_read() may.  After an error the old file is in
 * place, unless only the directory could not be synced.
 */
int kv_conf_change(struct kv_env *env, const struct kv_dir *dir,
    uint32_t mode, const char *const *changes, struct kv_conf *out);

#endif /* KV_CONF_H */
