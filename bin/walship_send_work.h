/*
 * walship_send_work: what the parts of send DB --to ARCHIVE share.
 */
#ifndef WALSHIP_SEND_WORK_H
#define WALSHIP_SEND_WORK_H

#include <stdint.h>

#include "position.h"
#include "slots.h"
#include "walship_archive.h"

struct kevo;
struct kevo_feed;
struct kv_archive;
struct kv_sink;

struct send {
	const struct walship_to_archive *o;
	struct kevo *db;
	struct kv_archive *a;
	struct kv_sink *sink;
	struct kevo_feed *feed;
	char slot[KV_SLOTS_NAME_MAX + 1];	/* "": none */
	char slot_dir[KV_SLOTS_NAME_MAX + 8];
	int has_slot;
	int passing;		/* this segment is over, as far as we care */
	uint64_t before;	/* the commit before it */
	uint64_t began_ns;	/* first commit of the tail; 0: none */
	uint64_t shipped, present;
	uint64_t tail_bytes;
	struct kv_position said;	/* in state/source */
	uint64_t said_ns;
};

/* End the program with what the database, or the archive, says. */
void send_fail_db(struct send *s, int rc) __attribute__((noreturn));
void send_fail(struct send *s, int rc) __attribute__((noreturn));

/* The log no longer has commit need, which the archive lacks. */
void send_fail_gap(struct send *s, uint64_t need) __attribute__((noreturn));

/* Open the archive, which is made if it is missing, lock it, and open the
 * database as it is needed.  --dry-run does neither, and s->a is NULL where
 * there is no archive. */
void send_open(struct send *s);

/* Bring the archive the epochs that it lacks; KV_SHIP_FENCED ends us. */
void send_epochs(struct send *s);

/* Find where to begin: the slot, the sink and the feed. */
void send_begin(struct send *s);

/* Read from behind a commit on. */
void send_open_feed(struct send *s, uint64_t after);

/* --dry-run: say what would be sent.  Returns the exit status. */
int send_dry_run(struct send *s);

#endif /* WALSHIP_SEND_WORK_H */
