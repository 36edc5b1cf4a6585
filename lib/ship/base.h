/*
 * base: a database as one archive, full or incremental.
 *
 * It is a tar archive of one directory, which any tar unpacks into a database
 * that can be opened; kevo-archive(5), BASE.  What is in it, in this order:
 *
 *   KEVO-BASE   text: whose it is, and how far it reaches
 *   epochs/     lines of history
 *   LOCK PINS   empty
 *   kevo.conf   settings, if there is such a file
 *   version/    the version that tells which tables there are
 *   table/      the tables (of an increment: those that its parent lacks)
 *   wal/        the log, from where the version begins to the end; its last
 *               segment is cut at the end and sealed there
 *   FORMAT      what makes the directory a database comes when all is there
 *   SUMS        the sum of each file before, as xxhsum -c reads it
 *   END         proves that nothing is missing: tar does not
 *
 * An increment is what has to be put to its parent.  It may have no version:
 * then it is log alone.
 */
#ifndef KV_BASE_H
#define KV_BASE_H

#include <stddef.h>
#include <stdint.h>

#include "../hash.h"
#include "../position.h"
#include "tar.h"

struct kevo;
struct kv_env;
struct kv_version;

/* ---- texts and names --------------------------------------------------- */

/* KEVO-BASE. */
struct kv_base {
	uint8_t db[16];
	uint32_t mode;		/* of files */
	struct kv_position start;	/* what the tables hold; of log alone:
					 * what it continues */
	struct kv_position end;
	uint64_t time_ns;	/* of the last commit */
	int has_parent;
	struct kv_position parent;	/* the end of the one it builds on */
	uint64_t version;	/* number; 0: there is no such file */
	uint64_t first_segment, last_segment;	/* counters in wal/ */
	uint64_t files;		/* named in SUMS */
	uint64_t bytes;		/* of them, but for KEVO-BASE */
};

#define KV_BASE_TEXT_MAX	1024

/* Returns the length, a zero byte follows. */
size_t kv_base_print(char buf[KV_BASE_TEXT_MAX], const struct kv_base *b);

/* To the letter what kv_base_print() writes: 0, or -1. */
int kv_base_parse(const char *text, size_t len, struct kv_base *b);

/* END, in the same way. */
struct kv_base_end {
	char sums[KV_HASH128_TEXT];	/* of SUMS */
	uint64_t files, bytes;		/* as in KEVO-BASE */
};
size_t kv_base_end_print(char buf[KV_BASE_TEXT_MAX],
    const struct kv_base_end *e);
int kv_base_end_parse(const char *text, size_t len, struct kv_base_end *e);

/* Members below the directory, in their order. */
enum kv_base_kind {
	KV_BASE_HEAD,		/* KEVO-BASE */
	KV_BASE_EPOCH,
	KV_BASE_LOCK,
	KV_BASE_PINS,
	KV_BASE_CONF,
	KV_BASE_VERSION,
	KV_BASE_TABLE,
	KV_BASE_SEGMENT,
	KV_BASE_FORMAT,
	KV_BASE_SUMS,
	KV_BASE_END
};

#define KV_BASE_NAME_LEN	48

struct kv_base_member {
	enum kv_base_kind kind;
	uint64_t number;	/* of epoch, version, table or segment */
	uint64_t size;
};

/* "table/0000000000000007.sst" */
void kv_base_name(char buf[KV_BASE_NAME_LEN], const struct kv_base_member *m);

/* The member of this name, its size left alone: 0, or -1 if there is none. */
int kv_base_name_parse(const char *name, struct kv_base_member *m);

/* SUMS, line by line.  Starts as zeros; text is to be freed. */
struct kv_base_sums {
	char *text;		/* a zero byte follows; NULL: no line yet */
	size_t len, room;
};

/* Add the line of a member with these bytes: 0, or -1 if memory is out. */
int kv_base_sums_add(struct kv_base_sums *s, const struct kv_base_member *m,
    const struct kv_hash128 *bytes);

/* ---- writing ----------------------------------------------------------- */

/* What an increment is put to. */
struct kv_base_parent {
	uint8_t db[16];
	struct kv_position end;
	struct kv_version *version;	/* NULL: not known which tables it
					 * has */
};

struct kv_base_write {
	struct kv_tar_sink sink;
	enum kv_tar_filter filter;
	int durable;		/* only what is known to be on the primary's
				 * disk already, as replicas need it; else
				 * what readers see is brought to disk */
	const struct kv_base_parent *parent;	/* NULL: a full one, or */
	uint64_t since;		/* the log behind this commit; 0: neither */
	const char *name;	/* of the directory; NULL: by the database */
	int64_t time;		/* of members, in seconds; -1: that of the
				 * last commit */
	/* Called now and then.  Other than 0 ends it, with KEVO_EBUSY. */
	int (*progress)(void *arg, uint64_t bytes, uint64_t total);
	void *arg;
};

/*
 * Write a base of what db, a handle of any kind, shows now.  Nobody waits for
 * it.  All that is written is verified first.
 *
 * Returns 0 with *out; KEVO_EHISTORY where the log behind the parent's end is
 * not kept and its tables are not known; KV_SHIP_FORK if the parent is of
 * another line of history; what put returned; or an error.
 */
int kv_base_write(struct kevo *db, const struct kv_base_write *w,
    struct kv_base *out);

/*
 * The directory that a database gets in its archive: the last part of its
 * path, without ".kv", so that unpacking an archive beside the database does
 * not overwrite it; all but letters, digits and "._-" is "_".
 */
#define KV_BASE_DIR_LEN	72
void kv_base_dir_name(char buf[KV_BASE_DIR_LEN], const char *path);

/* ---- reading ----------------------------------------------------------- */

/*
 * Who takes what is read.  Each returns 0, or a status that ends it.  NULL is
 * allowed for all but none is called before head, and head before anything is
 * believed of what follows it.
 *
 * small: a member that is whole: all but tables and segments.  begin, data,
 * close: the others.  The sums are compared when all has come, so that what
 * was given is to be thrown away if kv_base_read() fails.
 */
struct kv_base_sink {
	int (*head)(void *arg, const struct kv_base *b);
	int (*small)(void *arg, const struct kv_base_member *m,
	    const void *p, size_t len);
	int (*begin)(void *arg, const struct kv_base_member *m);
	int (*data)(void *arg, const void *p, size_t len);
	int (*close)(void *arg);
	void *arg;
};

/*
 * Read a base from an open archive, to its end, and verify that it is whole:
 * each member in its place, once, of the length it has, with its sum.  What
 * is not named in KEVO-BASE, the version and SUMS is refused.
 *
 * Returns 0 with *out, KV_SHIP_SHORT, KV_SHIP_CORRUPT, or an error.
 */
int kv_base_read(struct kv_env *env, struct kv_tar_in *in, const char *name,
    const struct kv_base_sink *sink, struct kv_base *out);

/*
 * What an increment needs to know of the base that it is made to.  Reads it
 * to its end.  As kv_base_read(); to be released.
 */
int kv_base_parent_read(struct kv_env *env, struct kv_tar_in *in,
    const char *name, struct kv_base_parent *out);
void kv_base_parent_release(struct kv_base_parent *p);

#endif /* KV_BASE_H */
