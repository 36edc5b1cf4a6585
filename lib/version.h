/*
 * version: which files make up the database.
 *
 * A version is an immutable file, version/<n>: the tables of each level with
 * their ranges, and the first log segment that is not yet in tables.  The
 * highest numbered one is the truth.  Version 0 has no file: no tables, the
 * log begins with segment 1.  The layout is kevo-format(5), VERSION.
 *
 * A version is installed by link(2) under the next number, which fails if
 * somebody else was faster: then the edit is made again on what is there
 * now.  Nothing waits for anything.
 */
#ifndef KV_VERSION_H
#define KV_VERSION_H

#include <stddef.h>
#include <stdint.h>

#include "table.h"

#define KV_LEVELS	8	/* level 0 may overlap, the others are sorted */

/* One table in a version.  Keys point into the version. */
struct kv_vtable {
	struct kv_table_info info;
	uint32_t level;
};

struct kv_version {
	uint32_t refs;
	uint64_t number;
	uint64_t last_seq;	/* highest sequence in its tables */
	uint64_t dropped_to;	/* highest sequence of a deletion or expired
				 * record that compaction ever dropped */
	uint64_t next_file;	/* no table has this number or a higher one */
	uint64_t first_segment;	/* counter of the oldest one that counts */
	uint64_t first_seq;	/* what that one begins with, */
	uint64_t chain_before;	/* and continues */
	uint64_t time_ns;	/* commit time of last_seq */
	uint32_t ntables;
	uint32_t level_start[KV_LEVELS + 1];	/* index of the first table of
				 * each level; level 0: newest first, the
				 * others by key */
	void *bytes;		/* the file */
	size_t len;
	struct kv_vtable table[];	/* ntables */
};

/* "version/0000000000000001" */
#define KV_VERSION_NAME_LEN	32
void kv_version_name(char buf[KV_VERSION_NAME_LEN], uint64_t number);

/*
 * Read version `number`, of the database id; 0: the one without a file, for
 * which the log begins with `origin` (kv_chain_origin()).
 *
 * Returns 0 with one reference, KEVO_NOTFOUND if there is no such file,
 * KEVO_ECORRUPT, KEVO_EIO, KEVO_EPERM or KEVO_ENOMEM.
 */
int kv_version_read(struct kv_env *env, const struct kv_dir *dir,
    const uint8_t id[16], uint64_t number, uint64_t origin,
    struct kv_version **out);
void kv_version_unref(struct kv_version *v);

/* The highest number that has a file; 0: none. */
int kv_version_newest(struct kv_env *env, const struct kv_dir *dir,
    uint64_t *number);

/*
 * An edit of `base`: tables that leave, tables that come (in any order), and
 * the new values of the other fields.
 */
struct kv_version_edit {
	const struct kv_version *base;
	const uint64_t *drop;	/* numbers */
	size_t ndrop;
	const struct kv_vtable *add;
	size_t nadd;
	uint64_t last_seq, dropped_to, next_file;
	uint64_t first_segment, first_seq, chain_before, time_ns;
};

/*
 * Install the edit as version base->number + 1: written, synced, linked, the
 * directory synced.  Levels above 0 must not overlap: KEVO_EINVAL.
 *
 * Returns 0 with *out (one reference), KEVO_FALSE if that number is taken
 * (nothing was done), or an error, after which it may have been installed or
 * not: the new tables must stay.  table/ must have been synced before.
 */
int kv_version_install(struct kv_env *env, const struct kv_dir *dir,
    const uint8_t id[16], uint32_t mode, const struct kv_version_edit *e,
    struct kv_version **out);

/*
 * The table of a level above 0 that may hold key: the first whose last key
 * is not below it.  Its index, or level_start[level + 1] if there is none.
 */
uint32_t kv_version_find(const struct kv_version *v, uint32_t level,
    const void *key, size_t klen);

/* ---- what a damaged one still says ------------------------------------- */

/*
 * Look whether one byte of the file is wrong, and put it right: 1, or 0 if it
 * cannot be that, or the file is too large to try.
 */
int kv_version_correct(uint8_t *b, size_t len);

/*
 * Make a version of the bytes of a file that does not verify, with those of
 * the n tables that it names: by number, length and hash, so there is no
 * doubt about them.  The other fields are as the file has them, and may be
 * anything.  Its keys are borrowed from the tables.
 *
 * NULL: the file says that there are others as well, or the levels that it
 * has for them cannot be (or memory is out).
 */
struct kv_version *kv_version_guess(const uint8_t *b, size_t len,
    uint64_t number, const struct kv_table_info *tables, size_t n);

/* ---- for version_*.c and sweep.c --------------------------------------- */

#define KV_VERSION_HEAD		128	/* bytes */
#define KV_VERSION_ENTRY	96

/* Why the bytes are no version, or NULL with *out set; they belong to it
 * then. */
const char *kv_version_decode(uint8_t *b, size_t len, const uint8_t id[16],
    uint64_t number, struct kv_version **out);

/* Fill the fields from a head; the levels' limits from the tables. */
void kv_version_decode_head(const uint8_t b[KV_VERSION_HEAD],
    struct kv_version *v);
void kv_version_set_levels(struct kv_version *v);

/* Does table a stand before b, without overlap where there must be none? */
int kv_version_ordered(const struct kv_vtable *a, const struct kv_vtable *b);

/* The file of a version, malloc'd; NULL: out of memory. */
uint8_t *kv_version_encode(const uint8_t id[16], const struct kv_version *v,
    size_t *len);

#endif /* KV_VERSION_H */
