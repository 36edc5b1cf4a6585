/*
 * joined: what tests of a transaction that several handles share have in
 * common: handles that join, and the transaction to join.
 */
#ifndef JOINED_H
#define JOINED_H

#include "txns.h"

/* The handle is to be closed whatever this returns. */
static inline int
try_open(const char *txn, unsigned flags, int64_t wait_ms, struct kevo **db)
{
	static const char *const settings[] = { "memtable_bytes=64K",
		"compaction=manual", "txn_memory_bytes=64K", NULL };
	struct kevo_options opt = { .program = "join_test", .wait_set = 1,
		.wait_ms = wait_ms, .settings = settings, .txn = txn };

	return kevo_open(path, flags, &opt, db);
}

static inline struct kevo *
join(const char *txn, unsigned flags)
{
	struct kevo *db = NULL;

	check(db, try_open(txn, flags, 2000, &db), "open");
	return db;
}

static inline struct kevo *
fresh(const char *name)
{
	snprintf(path, sizeof(path), "%s/%s", tap_dir, name);
	return join(NULL, KEVO_CREATE);
}

static inline struct kevo_txn *
share(struct kevo *db)
{
	return begin(db, KEVO_TXN_SHARED);
}

#endif /* JOINED_H */
