/*
 * walship_known: commits that somebody said are lost for good, so that their
 * absence from an archive alarms nobody any more.
 */
#ifndef WALSHIP_KNOWN_H
#define WALSHIP_KNOWN_H

#include <stddef.h>
#include <stdint.h>

struct kv_archive;

struct walship_loss {
	uint64_t first, last;
};

struct walship_known {
	struct walship_loss *v;	/* malloc'd */
	size_t n;
};

/* Returns 0 or an error; none is fine. */
int walship_known_read(struct kv_archive *a, struct walship_known *out);

/* 1 if all of first to last is known to be lost. */
int walship_known_covers(const struct walship_known *k, uint64_t first,
    uint64_t last);

#endif /* WALSHIP_KNOWN_H */
