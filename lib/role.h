/*
 * role: who may write to this copy of a database.
 *
 * The text file `role` says so; without it the database is a primary.  A word
 * in control repeats it, so that a writer looks at it under WRITER without a
 * system call; 0 there means that the file has to be read.  Who changes the
 * role holds WRITER, sets the word to 0, replaces the file, and sets the word
 * again: killed in between, the next writer reads what the file says.
 */
#ifndef KV_ROLE_H
#define KV_ROLE_H

#include <stdint.h>

struct kevo;
struct kv_env;
struct kv_dir;

enum kv_role {
	KV_ROLE_UNKNOWN = 0,
	KV_ROLE_PRIMARY = 1,	/* writers write */
	KV_ROLE_REPLICA = 2,	/* kv_apply() writes, nobody else */
	KV_ROLE_FENCED = 3	/* nobody writes: another line of history goes
				 * on elsewhere */
};

#define KV_ROLE_NAME	"role"

struct kv_role_note {
	enum kv_role role;
	char primary[129];	/* who is written to instead; "": unknown */
	char reason[201];	/* "": none was given */
	uint64_t since_ns;	/* 0: unknown */
};

const char *kv_role_word(enum kv_role role);

/* What the file says.  0, KEVO_ECORRUPT naming the line, KEVO_EIO,
 * KEVO_EPERM or KEVO_ENOMEM.  A missing file is a primary's. */
int kv_role_read(struct kv_env *env, const struct kv_dir *dir,
    struct kv_role_note *out);

/* Write the file and sync it; nothing else knows of it yet.  For a database
 * that nobody has open, such as one that is being restored. */
int kv_role_write(struct kv_env *env, const struct kv_dir *dir, uint32_t mode,
    const struct kv_role_note *n);

/* Under WRITER: change the role for everybody. */
int kv_role_change(struct kevo *db, const struct kv_role_note *n);

/* Under WRITER: 0 if this is a primary; KEVO_EPERM with the primary's name in
 * the message, or an error.  Called when the word in control is not
 * KV_ROLE_PRIMARY. */
int kv_role_may_write(struct kevo *db);

/* Under WRITER: the role, from the word or else from the file. */
int kv_role_now(struct kevo *db, enum kv_role *out);

#endif /* KV_ROLE_H */
