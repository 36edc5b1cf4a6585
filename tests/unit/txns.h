/*
 * txns: what tests of transactions share: puts and looks beside them, and how
 * one begins.
 */
#ifndef TXNS_H
#define TXNS_H

#include "testdb.h"

static inline int
put(struct kevo *db, const char *key, const char *val)
{
	return kevo_put(db, key, strlen(key), val, strlen(val), NULL, NULL);
}

/* 1 if the key has this value; NULL: is absent. */
static inline int
holds(struct kevo *db, const char *key, const char *val)
{
	struct kevo_record r;
	int rc = kevo_peek(db, NULL, key, strlen(key), &r);

	if (val == NULL)
		return rc == KEVO_NOTFOUND;
	return rc == 0 && r.vlen == strlen(val) &&
	    memcmp(r.value, val, r.vlen) == 0;
}

static inline struct kevo_txn *
begin(struct kevo *db, unsigned flags)
{
	struct kevo_begin b = { flags, 0 };
	struct kevo_txn *t;

	check(db, kevo_txn_begin(db, &b, &t), "begin");
	return t;
}

#endif /* TXNS_H */
