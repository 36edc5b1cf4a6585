/*
 * epoch: lines of history, one for each promotion.
 *
 * An epoch is described by a text file that never changes, epochs/<8 hex
 * digits>.epoch, in a database and in an archive; kevo-format(5), EPOCH.  The
 * first one has no file in a database: it follows from FORMAT, and its text
 * is the same wherever it is written.  All epochs of a database, each the
 * next one's parent, are its history, from which follows where any segment
 * belongs.
 */
#ifndef KV_EPOCH_H
#define KV_EPOCH_H

#include <stddef.h>
#include <stdint.h>

struct kv_env;
struct kv_dir;
struct kv_ident;

struct kv_epoch {
	uint8_t db[16];		/* identity of the database */
	uint32_t epoch;
	uint64_t nonce;
	uint32_t parent;	/* 0: this is the first */
	uint64_t parent_nonce;
	uint64_t start;		/* last commit of the parent that stays */
	uint64_t chain;		/* its chain value */
	uint64_t time_ns;
	char host[65];		/* printable, without blanks */
	char reason[201];	/* printable */
};

#define KV_EPOCH_TEXT_MAX	1024
#define KV_EPOCH_NAME_LEN	16	/* "00000002.epoch" */

/* The first epoch, from FORMAT. */
void kv_epoch_first(const struct kv_ident *ident, struct kv_epoch *e);

/*
 * An epoch that continues parent behind its commit seq, whose chain value is
 * chain; with a nonce of its own, which tells it from all that do the same.
 * host NULL: this machine's name.  KEVO_ELIMIT: parent is the last one.
 */
int kv_epoch_next(struct kv_env *env, const struct kv_epoch *parent,
    uint64_t seq, uint64_t chain, const char *host, const char *reason,
    struct kv_epoch *e);

/* An identity as text, 36 characters and a zero byte; and back: 0 or -1. */
void kv_id_print(char buf[37], const uint8_t id[16]);
int kv_id_parse(const char *s, uint8_t id[16]);

/* Write the text into buf, with a zero byte; returns its length. */
size_t kv_epoch_print(char buf[KV_EPOCH_TEXT_MAX], const struct kv_epoch *e);

/*
 * Read a text from anywhere: it must be to the letter what kv_epoch_print()
 * would write.  Returns 0, or -1 with *why set.
 */
int kv_epoch_parse(const char *text, size_t len, struct kv_epoch *e,
    const char **why);

void kv_epoch_name(char buf[KV_EPOCH_NAME_LEN], uint32_t epoch);
/* 1 if name is such a name. */
int kv_epoch_name_number(const char *name, uint32_t *epoch);

/* Read the file of an epoch in sub, a directory below dir.  0, KEVO_ENODB,
 * KEVO_ECORRUPT, KEVO_EIO, KEVO_EPERM or KEVO_ENOMEM. */
int kv_epoch_read(struct kv_env *env, const struct kv_dir *dir,
    const char *sub, uint32_t number, struct kv_epoch *e);

/*
 * Write the file of an epoch into sub, a directory below dir that is there:
 * synced, then linked to its name.  One that is there already is never
 * replaced.  Returns 0 (the same bytes may have been there), KEVO_FALSE if the
 * name is taken by other ones, or an error.
 */
int kv_epoch_write(struct kv_env *env, const struct kv_dir *dir,
    const char *sub, uint32_t mode, const struct kv_epoch *e);

/* ---- history ----------------------------------------------------------- */

/* All epochs in order, without a gap, each the parent of the next. */
struct kv_history {
	struct kv_epoch *v;
	size_t n;		/* at least 1 once it is read */
};

void kv_history_release(struct kv_history *h);

/*
 * Read every epoch file in sub; a missing directory has none.  first NULL:
 * the first epoch must have a file, too.  Other names are ignored.
 *
 * Returns 0, KEVO_ECORRUPT naming the file (it does not parse, is of another
 * database than id, or does not continue the one before; one is missing),
 * KEVO_EIO, KEVO_EPERM or KEVO_ENOMEM.
 */
int kv_history_read(struct kv_env *env, const struct kv_dir *dir,
    const char *sub, const uint8_t id[16], const struct kv_epoch *first,
    struct kv_history *out);

/* The history of the database in dir. */
int kv_history_of_db(struct kv_env *env, const struct kv_dir *dir,
    const struct kv_ident *ident, struct kv_history *out);

/* NULL if there is none: by number; the one behind it; the newest. */
const struct kv_epoch *kv_history_find(const struct kv_history *h,
    uint32_t epoch);
const struct kv_epoch *kv_history_next(const struct kv_history *h,
    uint32_t epoch);
const struct kv_epoch *kv_history_newest(const struct kv_history *h);

/* The epoch that commit seq belongs to, if it was kept. */
const struct kv_epoch *kv_history_of(const struct kv_history *h,
    uint64_t seq);

/* Does e continue the newest epoch?  NULL, or why it does not. */
const char *kv_history_refuses(const struct kv_history *h,
    const struct kv_epoch *e);

/* Add one that continues it.  0 or KEVO_ENOMEM. */
int kv_history_add(struct kv_env *env, struct kv_history *h,
    const struct kv_epoch *e);

#endif /* KV_EPOCH_H */
