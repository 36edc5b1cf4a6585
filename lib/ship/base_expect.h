/*
 * base_expect: of which members a base must consist.
 *
 * They come in one order, without a repetition, so whatever is missing or too
 * much is known by its name when the next one comes.  Nothing of a name is
 * ever used as a path: it is compared with the names that there can be.
 *
 * This looks at names, lengths and sums alone; base_read.c reads the bytes.
 * Each function returns 0, or KV_SHIP_CORRUPT with what is wrong, and in
 * which archive, in a sentence; or KEVO_ENOMEM.
 */
#ifndef KV_BASE_EXPECT_H
#define KV_BASE_EXPECT_H

#include <stddef.h>
#include <stdint.h>

#include "base.h"

struct kv_env;
struct kv_version;
struct kv_base_named;		/* a table that the version names */

/* Starts as zeros, with env and archive. */
struct kv_base_expect {
	struct kv_env *env;
	const char *archive;	/* its name, for messages */
	struct kv_base base;	/* set when KEVO-BASE has come */
	struct kv_base_sums sums;	/* what SUMS must be */
	uint64_t files, bytes;	/* that came, as KEVO-BASE counts them */
	char dir[128];		/* that all members are in; "": not known */
	unsigned dirs;		/* that came, a bit each */
	unsigned seen;		/* kinds, a bit each */
	struct kv_base_member last;
	struct kv_base_named *table;
	uint32_t ntable;
	uint64_t segments;
};

void kv_base_expect_release(struct kv_base_expect *x);

/* KV_SHIP_CORRUPT, with the sentence that this member is `why'. */
int kv_base_refuse(struct kv_base_expect *x, const struct kv_base_member *m,
    const char *why);

/* Has one of this kind come? */
int kv_base_has(const struct kv_base_expect *x, enum kv_base_kind kind);

/*
 * May a member of this name come now?  A file's kind and number are put into
 * m, which has its size; *is_file 0: it is one of the directories.
 */
int kv_base_expect(struct kv_base_expect *x, const struct kv_tar_member *t,
    struct kv_base_member *m, int *is_file);

/* It has come, and these were its bytes. */
int kv_base_came(struct kv_base_expect *x, const struct kv_base_member *m,
    const struct kv_hash128 *bytes);

/* The tables that must come follow from the version. */
int kv_base_expect_tables(struct kv_base_expect *x,
    const struct kv_version *v);

/* Does SUMS, or END, say of what came what must be said? */
int kv_base_check_sums(struct kv_base_expect *x,
    const struct kv_base_member *m, const char *text);
int kv_base_check_end(struct kv_base_expect *x,
    const struct kv_base_member *m, const char *text);

#endif /* KV_BASE_EXPECT_H */
