/*
 * load: records of an input into the database, in chunks that are commits.
 *
 * Shared by kevo-put -i, kevo-delete -i and kevo-import.  A chunk ends after
 * `every` records, after 1 MiB, and whenever the input would block.
 *
 * Durability.  With sync=full, exit 0 means that all is on disk, and so does
 * a line of --ack or -p; while neither is asked for, chunks that follow each
 * other at full speed are committed without waiting for the disk and synced
 * together: four times a second, at the end, before the input blocks, and on
 * every error.  Other processes see them from then on: what anybody reads is
 * durable.  With sync=batch chunks are visible at once, and synced at the end
 * and each second; with sync=none never.
 *
 * Conditions, -p of a deletion and --on-duplicate look at the database under
 * the write lock, which is held for one chunk's processing and never while
 * waiting for input.
 */
#ifndef LOAD_H
#define LOAD_H

#include <stddef.h>
#include <stdint.h>

#include <kevo.h>

#include "cli.h"
#include "format.h"
#include "recbuf.h"

enum { LOAD_EVERY = 1000, LOAD_BYTES = 1024 * 1024 };

struct load {
	/* Set by the tool before load_start(); the rest is zero. */
	struct kevo *db;
	struct cli_in *in;		/* NULL: none; see load_input() */
	enum kevo_sync sync;		/* DEFAULT: the database's */
	struct kevo_cond cond;
	int fail_if_false;		/* a false condition is error 65 */
	int single;			/* -1: all in one commit */
	int undo_if_false;		/* and a false condition undoes all */
	size_t every;			/* -b */
	int ack;			/* --ack */
	const struct format *print;	/* -p in this format, or NULL */
	const char *done;		/* "stored", "deleted", for messages */

	/* Owned by load. */
	struct kevo_batch *batch;	/* without conditions and -p */
	struct recbuf chunk;		/* else: what the input said */
	struct recbuf printed;		/* and what really happened */
	size_t chunk_count, chunk_bytes;
	uint64_t count;			/* records changed by commits */
	uint64_t skipped;		/* their condition was false */
	int unsynced;			/* commits not known to be on disk */
	int undone;			/* see undo_if_false */
	int64_t synced_ms;		/* when the last sync was */
	int64_t patience_ms;		/* batch: the setting sync_ms */
};

/* Ready for records; also arranges what happens on errors.  The tool has
 * called cli_signals(). */
void load_start(struct load *l);

/*
 * For an input of several files: what comes is from in, which stays open
 * until load_end_input(), that commits what came from it so far (not with
 * -1), so that a later message can name the right file.
 */
void load_input(struct load *l, struct cli_in *in);
void load_end_input(struct load *l);

/*
 * Take one record.  Errors end the program with the right status, after the
 * records before it were committed (not with -1) and a message said how
 * many.
 */
void load_record(struct load *l, const struct format_record *rec);

/*
 * Commit the rest and wait for the disk as asked.  Returns 0, or EXIT_NO if
 * a false condition undid everything.
 */
int load_finish(struct load *l);

/* End the program with 65 about the record at line, as load_record() does
 * on errors; fmt continues "INPUT:LINE: ". */
void load_die(struct load *l, uint64_t line, const char *fmt, ...)
    __attribute__((noreturn, format(printf, 3, 4)));

#endif /* LOAD_H */
