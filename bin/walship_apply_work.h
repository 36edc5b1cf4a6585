/*
 * walship_apply_work: what the parts of apply share.
 */
#ifndef WALSHIP_APPLY_WORK_H
#define WALSHIP_APPLY_WORK_H

#include <stdint.h>

#include "epoch.h"
#include "position.h"
#include "ship/kept.h"

struct kevo;
struct kv_applier;
struct kv_archive;
struct walship_until;

struct apply {
	struct kevo *db;	/* NULL: would be made */
	const char *into;	/* its name */
	struct kv_archive *a;
	struct kv_applier *applier;
	struct kv_position at;
	struct kv_position end;	/* of the archive, as it was compared last */
	struct kv_kept kept;	/* what is applied now, if we follow */
	int64_t listed;		/* kv_kept_stamp() before it was listed */
	int follow;
	int dry_run;
	struct kv_history plan;	/* that it will have, if so */
	int64_t delay_ms;	/* -1: none */
	uint64_t until_seq;	/* UINT64_MAX: none */
	uint64_t until_ns;
	uint64_t applied;
	uint64_t time_ns;	/* of the last one, in a dry run */
	int reached;		/* the end that was asked for */
	int held;		/* what follows is too young */
};

/* End the program with what the archive says. */
void apply_fail(struct apply *p, int rc) __attribute__((noreturn));

/* Apply all that the archive has by now, and may be applied. */
void apply_pass(struct apply *p);

/* Note what the archive says of the primary, for who asks how stale we are. */
void apply_beat(struct apply *p);

/*
 * How far the log of an archive would bring the copy `into`, which is not
 * made yet and would be at *at.  Ends the program as apply would; else *at
 * and *time_ns are moved on.
 */
void apply_would(struct kv_archive *a, const char *into,
    const struct walship_until *until, struct kv_position *at,
    uint64_t *time_ns);

#endif /* WALSHIP_APPLY_WORK_H */
