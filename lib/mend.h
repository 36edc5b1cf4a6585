/*
 * mend: putting a damaged database in order; shared by mend*.c.
 *
 * REBUILD is held, and nobody else has the database open.  What takes the
 * place of damaged files is written beside them: tables that no version
 * names, and a segment behind the log.  One version makes all of it the
 * database.  Before that, the files that it replaces get a second name in a
 * directory of their own, and lose their first one afterwards.
 */
#ifndef KV_MEND_H
#define KV_MEND_H

#include "check.h"
#include "conf.h"

struct kv_table_writer;

struct kv_mend {
	struct kv_check *ck;
	struct kv_conf conf;
	uint64_t next_file;

	/* The tables of the new version; those that are new are held by
	 * their writers, to which their keys belong. */
	struct kv_vtable *table;
	size_t ntable, table_room;
	struct kv_table_writer **writer;
	size_t nwriter, writer_room;

	int tables_lost;	/* records of tables, that is */
	int new_log;		/* the log goes on in a new segment */
	struct kv_log_end end;	/* where it ended */
	uint64_t segment;	/* the new one; 0: not created */
	struct kv_version *version;	/* the new one, installed; or NULL */

	/* Names below the database that are to be moved aside. */
	char (*aside)[64];
	size_t naside, aside_room;
	char dir[64];		/* to where; "": not made yet */
};

/* A name to be moved aside. */
int kv_mend_replace(struct kv_mend *m, const char *name);

/* ---- mend_table.c ------------------------------------------------------ */

/* The next new table, of a level: its writer. */
int kv_mend_begin_table(struct kv_mend *m, uint32_t level,
    struct kv_table_writer **out);

/* It is complete. */
int kv_mend_end_table(struct kv_mend *m, uint32_t level,
    struct kv_table_writer *w);

/* Sound tables stay, what can be read of others is written anew; without a
 * version to go by, all are merged. */
int kv_mend_tables(struct kv_mend *m);

/* ---- mend_log.c -------------------------------------------------------- */

/* What can be read of segments first to last, from commit `from` on, to
 * tables of level 0. */
int kv_mend_segments(struct kv_mend *m, uint64_t first, uint64_t last,
    uint64_t from, struct kv_log_end *end);

/* The log, and older segments that may have what a table has lost. */
int kv_mend_log(struct kv_mend *m);

/* ---- mend_file.c ------------------------------------------------------- */

/* Give all names that are to be moved aside their second one; take the first
 * one away.  Not all file systems know second names: then they are moved in
 * one step, by the second function. */
int kv_mend_link(struct kv_mend *m);
void kv_mend_link_undo(struct kv_mend *m);
int kv_mend_unlink(struct kv_mend *m);

/* Files that root has made belong to whom the others belong to. */
void kv_mend_give(struct kv_mend *m, const char *name);

#endif /* KV_MEND_H */
