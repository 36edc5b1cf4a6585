/*
 * range: which records a scan, an export or a deletion is about.
 *
 * The bounds come from a prefix, --from, --to and --after, whose common part
 * is taken; what no bound can say (a suffix, a pattern, the value) is asked
 * of each record.
 */
#ifndef RANGE_H
#define RANGE_H

#include <stddef.h>

#include "cli.h"

/* What the options said; NULL: not given.  Text still in escape notation. */
struct range_opts {
	char *prefix, *from, *to, *after;
	char *suffix, *glob, *match_value;
};

struct range {
	struct kevo_range keys;
	int empty;		/* no key can be in it */
	const char *suffix, *glob, *match_value;	/* NULL: not asked */
	size_t suffix_len, glob_len, match_len;
};

/* Take -P, --from, --to, --after, --suffix, --glob or --match-value: 1 if
 * id is one. */
int range_option(struct range_opts *o, const struct cli_args *a, int id);

/*
 * Resolve to bounds, which stay allocated until the program ends.  A --to
 * that is empty and a pattern that is malformed end the program with 64.
 */
void range_init(struct range *r, const struct range_opts *o, int escaped);

/* Whether a record that is within the bounds passes the filters. */
int range_accepts(const struct range *r, const struct kevo_record *rec);

/* Move it to the first record (the last, if backwards; then to the one
 * after or before) that is accepted: kevo_iter_next()'s results. */
int range_step(const struct range *r, struct kevo_iter *it, int backwards,
    struct kevo_record *rec);

#endif /* RANGE_H */
