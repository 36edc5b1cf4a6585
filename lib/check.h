/*
 * check: looking at every byte of a database, and putting a damaged one in
 * order; shared by check*.c and mend*.c.
 *
 * A check goes through files in the order in which they lead to each other:
 * FORMAT, the newest version, the tables it names, the log from where it
 * begins, and the indexes in shared memory.  Where one is damaged, it goes on
 * with what can be believed instead; the repair puts down in files just what
 * the check went on with.
 *
 * Files are read, and mapped only once they have been read without an error:
 * a bad sector is a finding, not a signal.
 */
#ifndef KV_CHECK_H
#define KV_CHECK_H

#include <stdarg.h>

#include "db.h"
#include "epoch.h"
#include "record.h"

/* ---- findings ---------------------------------------------------------- */

/* What is lost; zero-filled: nothing. */
struct kv_loss {
	const char *text;	/* instead of what follows */
	uint64_t first_commit, last_commit;	/* last 0: all that followed */
	uint64_t records;
	const uint8_t *from, *to;	/* NULL: not known */
	size_t from_len, to_len;
};

struct kv_finding;		/* check_found.c */

struct kv_findings {
	struct kv_finding *v;
	size_t n, room;
};

/* ---- lists ------------------------------------------------------------- */

/* Numbers in ascending order. */
struct kv_list {
	uint64_t *v;
	size_t n, room;
};

/* ---- a check ----------------------------------------------------------- */

enum kv_base {
	KV_BASE_NEWEST,		/* the newest version, which is sound */
	KV_BASE_GUESSED,	/* put together from a damaged one, and the
				 * tables that it names */
	KV_BASE_BEFORE,		/* the one before, of which nothing is gone */
	KV_BASE_NONE		/* every table and segment there is */
};

enum kv_file_state {
	KV_FILE_SOUND, KV_FILE_DAMAGED, KV_FILE_MISSING
};

struct kv_check {
	struct kevo db;		/* env, path, dir and ctl: not a handle */
	const struct kevo_check *opt;
	struct kevo_check_result *out;
	struct kv_findings found;
	int silent;		/* 1: count no findings and files */
	int fast;
	uint64_t total;		/* bytes that there are to be read, about */

	struct kv_list segments, tables, versions;	/* that have a file */

	struct kv_ident ident;
	struct kv_history history;	/* n 0: it cannot be read */
	enum kv_file_state format;
	const char *unsure;	/* why ident cannot be written; NULL: it can */

	enum kv_base base;
	uint64_t newest;	/* number of the newest version; 0: none */
	struct kv_version *version;	/* what base says; of NONE, only its
				 * fields, no tables */
	struct kv_table **held;	/* whose keys a guessed version borrows */
	enum kv_file_state *state;	/* of each of the version's tables */
	uint64_t stamp;		/* of control, when the check began */

	/* What db.ctl said at the beginning, if it is in use. */
	int live;
	int impossible;		/* what it said cannot be */
	uint64_t active, limit;	/* newest segment; newest commit in it that is
				 * looked at */
	uint64_t durable;	/* newest commit that is known to have been on
				 * disk; 0: not known */

	/* For the repair. */
	int log_damaged;	/* a segment that counts, or none */
	int lock_missing;
	struct kv_list bad_versions, bad_tables;
	uint64_t last_seq;	/* newest commit that was seen anywhere */
	uint64_t last_time_ns;
};

/* ---- check_found.c ----------------------------------------------------- */

/*
 * Note a finding.  file is below the database.  Nothing happens while the
 * check is silent.  Returns 0 or KEVO_ENOMEM.
 */
int kv_found(struct kv_check *ck, enum kevo_finding_kind kind,
    const char *file, uint64_t off, uint64_t len, const struct kv_loss *loss,
    const char *fmt, ...) __attribute__((format(printf, 7, 8)));

/* The reason and the place in what env says, "PATH/FILE: damaged: REASON". */
const char *kv_error_said(struct kv_check *ck, const char *file, char *buf,
    size_t room, uint64_t *off);

/* Note it as damage. */
int kv_found_error(struct kv_check *ck, const char *file,
    const struct kv_loss *loss);

void kv_findings_forget(struct kv_check *ck);
void kv_findings_tell(struct kv_check *ck);

int kv_list_add(struct kv_check *ck, struct kv_list *l, uint64_t v);
void kv_list_sort(struct kv_list *l);
int kv_list_has(const struct kv_list *l, uint64_t v);

/* A key for a sentence: printable, and not too long. */
#define KV_SHOWN_KEY	80
const char *kv_show_key(char buf[KV_SHOWN_KEY], const uint8_t *key,
    size_t klen);

/* ---- check_read.c, check.c --------------------------------------------- */

/* More bytes were read.  KEVO_EBUSY: the caller wants an end. */
int kv_check_step(struct kv_check *ck, uint64_t bytes);

/*
 * Read size bytes of an open file, into `into` or (NULL) nowhere.  What
 * cannot be read is zeros, is reported, and sets *bad.
 */
int kv_check_read(struct kv_check *ck, int fd, const char *file,
    uint64_t size, uint8_t *into, int *bad);

/* The header of a segment.  1, 0 if there is none that is sound, or an
 * error. */
int kv_check_head(struct kv_check *ck, uint64_t counter,
    struct kv_segment_head *h);

/* 1 if somebody has built a generation since the check began; or installed a
 * version, too.  What is missing or odd then may be no damage. */
int kv_check_rebuilt(struct kv_check *ck);
int kv_check_moved(struct kv_check *ck);

/* ---- check_dir.c ------------------------------------------------------- */

/* Call fn for each name in a directory, which may be missing, until it
 * returns something other than 0. */
typedef int kv_check_name_fn(struct kv_check *ck, const char *name,
    void *arg);
int kv_check_each(struct kv_check *ck, const char *sub, kv_check_name_fn *fn,
    void *arg);

/* Fill the lists of files: versions and tables; segments. */
int kv_check_list_versions(struct kv_check *ck);
int kv_check_list_segments(struct kv_check *ck);

/* 1 if there is nothing in the directory that is not a database's. */
int kv_check_is_empty(struct kv_check *ck, int *empty);

/* Tell of names that nothing leads to. */
int kv_check_strays(struct kv_check *ck);

/* ---- check_copies.c ---------------------------------------------------- */

/* Role, epochs, slots, orphans. */
int kv_check_copies(struct kv_check *ck);

/* ---- check_ident.c ----------------------------------------------------- */

/* FORMAT, or who the files say that they belong to.  KEVO_ENODB,
 * KEVO_ENOTDB: it is no database. */
int kv_check_ident(struct kv_check *ck);

/* ---- check_version.c --------------------------------------------------- */

/* Read the newest version, and choose what is believed. */
int kv_check_version(struct kv_check *ck);
void kv_check_forget_version(struct kv_check *ck);

/* ---- check_merge.c ----------------------------------------------------- */

/*
 * All records of several tables in one order: by key, and those of a key the
 * newest first.  Where a table is damaged, it ends.
 */
struct kv_merge {
	struct kv_env *env;
	struct kv_cache *cache;
	struct kv_table **table;
	struct kv_table_iter *it;
	size_t n;		/* tables */
	uint32_t *heap, nheap;
	int begun;
};

int kv_merge_init(struct kv_merge *m, struct kv_env *env, size_t room);
void kv_merge_release(struct kv_merge *m);

/* One more table; at most as many as there is room for. */
int kv_merge_add(struct kv_merge *m, const struct kv_dir *dir,
    uint64_t number);

/* The next record, and the number of its table by kv_merge_add() from 0 on; it
 * is valid until the next call.  1, 0 at the end, or an error. */
int kv_merge_next(struct kv_merge *m, const struct kv_table_iter **it,
    size_t *which);

/* ---- check_table.c ----------------------------------------------------- */

/* Each table of the version; of KV_BASE_NONE, all there are.  KV_RETRY: one
 * is gone, and the version, too. */
int kv_check_tables(struct kv_check *ck);

/* Salvage what is left of a table's file; see table.h.  What cannot be read
 * is reported. */
int kv_check_give(struct kv_check *ck, uint64_t number,
    const struct kv_table_salvage *to);

/* ---- check_log.c ------------------------------------------------------- */

/* A segment's bytes, in memory of this process. */
struct kv_log_file {
	uint64_t counter;
	char name[KV_SEGMENT_NAME_LEN];
	uint8_t *b;
	uint64_t size;		/* of the file */
	uint64_t len;		/* in b: up to where anything was written */
	struct kv_segment_head head;
	int head_ok;
};

/* Who wants the records of the log, and not only to hear of damage. */
struct kv_log_taker {
	/* A commit that is sound, or cannot be verified: the record at off. */
	int (*record)(void *arg, const struct kv_log_file *f, uint64_t off,
	    uint64_t seq);
	/* No more of this segment. */
	int (*end)(void *arg, const struct kv_log_file *f);
	void *arg;
};

/* Where the log stands after a segment. */
struct kv_log_end {
	uint64_t seq;
	uint64_t chain;
	int chained;		/* chain is known */
	uint64_t time_ns;
};

/*
 * Go through the segments first to last, the end of what came before being
 * in *end.  taker may be NULL.  KV_RETRY as above.
 */
int kv_check_segments(struct kv_check *ck, uint64_t first, uint64_t last,
    const struct kv_log_taker *taker, struct kv_log_end *end);

/* The log of the version. */
int kv_check_log(struct kv_check *ck);

/* ---- check_index.c ----------------------------------------------------- */

/* The indexes of this boot against the log. */
int kv_check_indexes(struct kv_check *ck);

/* ---- mend.c ------------------------------------------------------------ */

/* Put the database in order.  REBUILD is taken, and all is checked again
 * under it. */
int kv_mend(struct kv_check *ck);

/* ---- check.c ----------------------------------------------------------- */

/* Go through all of it once; what was found before is forgotten. */
int kv_check_all(struct kv_check *ck);

#endif /* KV_CHECK_H */
