/*
 * walship_status: how an archive or a database stands, as numbers.
 */
#ifndef WALSHIP_STATUS_H
#define WALSHIP_STATUS_H

#include <stdint.h>

#include "position.h"
#include "role.h"
#include "slots.h"

#define WALSHIP_GAPS	16	/* that are told one by one */
#define WALSHIP_SLOTS	64
#define WALSHIP_UNKNOWN	UINT64_MAX

struct walship_gap {
	uint64_t first, last;	/* commits that are missing */
	int known;		/* known-loss says so */
};

struct walship_status {
	const char *path;
	int is_archive;
	uint8_t id[16];
	struct kv_position at;	/* what it has, with the tail */
	uint64_t now_ns;

	/* Behind the source or primary: WALSHIP_UNKNOWN where nobody can
	 * tell. */
	uint64_t lag_commits;
	uint64_t lag_bytes;
	uint64_t lag_ms;
	uint64_t contact_ms;	/* since the other side was heard of */

	/* Of an archive. */
	uint64_t segments, first, last_sealed, tail_commits;
	uint64_t gaps;		/* that are not known losses */
	struct walship_gap gap[WALSHIP_GAPS];
	uint64_t ngap;		/* in gap[] */
	uint64_t orphans, rejected, incoming;	/* files */
	uint64_t drill_ms;	/* since the last good one; UNKNOWN: none */

	/* Of a database. */
	struct kv_role_note role;
	struct kv_slots_info slot[WALSHIP_SLOTS];
	uint64_t nslots;
};

/* Limits; UINT64_MAX: none. */
struct walship_limits {
	uint64_t lag_ms, lag_commits, lag_bytes, drill_ms;
};

/* Fill it in, or end the program. */
void walship_status_archive(const char *path, struct walship_status *s);
void walship_status_db(const char *path, struct walship_status *s);

/*
 * What is not as it should be, one after the other, until there is no more:
 * returns 0 then.  1: it should be looked at; 2: something is lost.  text
 * begins with a class and a colon.
 */
struct walship_trouble {
	char text[300];
	int level;
};
int walship_status_trouble(const struct walship_status *s,
    const struct walship_limits *l, int n, struct walship_trouble *out);

/* ---- output ------------------------------------------------------------ */

void walship_status_human(const struct walship_status *s);
void walship_status_json(const struct walship_status *s);
void walship_status_prom(const struct walship_status *s);

/* 0.2 s, 42 s, 5 min, 3 h, 2 d; "unknown". */
void walship_duration(char buf[32], uint64_t ms);

#endif /* WALSHIP_STATUS_H */
