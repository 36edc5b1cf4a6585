/*
 * walship_archive: sending into an archive, and taking files into one; for
 * the sub-commands send and recv.
 */
#ifndef WALSHIP_ARCHIVE_H
#define WALSHIP_ARCHIVE_H

#include <stdint.h>

struct kevo;
struct kv_ident;
struct kv_history;

/* send DB --to ARCHIVE */
struct walship_to_archive {
	const char *db, *to;
	const char *slot;	/* NULL: none */
	const char *hook;	/* a command for each segment; NULL: none */
	int follow;
	int zstd;
	int dry_run;		/* say what would be sent */
	int64_t seal_after_ms;	/* -1: never */
};

/* Both return the exit status. */
int walship_send_archive(const struct walship_to_archive *o);

/* recv --spool DIR --to ARCHIVE */
struct walship_spool {
	const char *dir, *to;
	int zstd;
	int dry_run;		/* say what would become of the files */
	const char *slot;	/* NULL: nothing is acknowledged */
};
int walship_recv_spool(const struct walship_spool *o);

/*
 * The line of state/source: where the database was when somebody sent from it
 * last, and when that was.  It has a fixed length, so that it can be written
 * over.
 */
struct kv_archive;
struct kv_position;
int walship_source_write(struct kv_archive *a, const struct kv_position *at,
    uint64_t now_ns);

/* 0, or -1: there is none, or it makes no sense. */
int walship_source_read(struct kv_archive *a, struct kv_position *at,
    uint64_t *when_ns);

#endif /* WALSHIP_ARCHIVE_H */
