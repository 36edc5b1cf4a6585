/*
 * walship_base: bases in an archive, and databases out of them.
 */
#ifndef WALSHIP_BASE_H
#define WALSHIP_BASE_H

#include <stdint.h>

#include "ship/archive.h"
#include "ship/base.h"
#include "ship/restore.h"
#include "walship.h"

/* The name of a base in an archive, below it. */
void walship_base_name(char buf[KV_ARCHIVE_PATH_LEN],
    const struct kv_position *end, int increment);

/*
 * A database as of some commit, out of the bases and the log of an archive, or
 * out of one base from standard input ("-").
 */
struct walship_recover {
	const char *from, *into;
	struct walship_until until;	/* neither: all there is */
	int detached;		/* a primary by itself, no replica */
	int dry_run;
};

/* Ends the program with the class that belongs to it if it fails; nothing is
 * left behind then, and walship_recover_failed (NULL: nobody) is called. */
extern void (*walship_recover_failed)(int status);
void walship_recover(const struct walship_recover *o, struct kv_restored *out);

#endif /* WALSHIP_BASE_H */
