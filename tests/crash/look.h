/*
 * look: whether a database in which an operation was disturbed is as it
 * must be, and how it was made.
 */
#ifndef LOOK_H
#define LOOK_H

#include "crash.h"
#include "ops.h"

#define MOMENT_MS	3000	/* more than this is waiting, not working */
#define HANG_MS		20000

/* So much that several segments are sealed. */
static inline void
fill_log(struct kevo *db)
{
	struct value filler = { 'f', 40000 };

	for (int i = 0; i < 5; i++)
		must(db, put_value(db, "filler", filler), "put");
}

/* The state before an operation, in a new database. */
static inline int
prepare(const struct op *op, const char *path, enum kevo_sync sync)
{
	static const char *const settings[] = { MEMTABLE, MANUAL,
	    NULL };
	struct kevo_options opt = { .settings = settings, .sync = sync };
	struct value filler = { 'f', 40000 };
	struct kevo *db;
	char key[16];

	db = must_open(path, KEVO_CREATE, &opt, "open");
	for (int i = 0; i < BASE; i++) {
		base_key(key, i);
		must(db, put_value(db, key, base_value(i)), "put");
	}
	for (int i = 0; i < op->nitems; i++)
		if (op->items[i].before.len >= 0)
			must(db, put_value(db, op->items[i].key,
			    op->items[i].before), "put");
	if (op->flags & FILL)
		must(db, put_value(db, "filler", filler), "put");
	for (int i = 0; i < 5 && (op->flags & TABLES); i++) {
		fill_log(db);
		must(db, compact(db, KEVO_COMPACT_FLUSH), "flush");
	}
	if (op->flags & LOG)
		fill_log(db);
	must_close(db, "close");
	return 0;
}

/* Are all items as before (0) or as after (1) the operation? */
static inline int
state_of(struct kevo *db, const struct op *op)
{
	int before = 1, after = 1;

	for (int i = 0; i < op->nitems; i++) {
		int b = has_value(db, op->items[i].key, op->items[i].before);
		int a = has_value(db, op->items[i].key, op->items[i].after);

		if (a < 0 || b < 0)
			_exit(wrong("%s: cannot be read: %s",
			    op->items[i].key, kevo_errmsg(db)));
		before &= b;
		after &= a;
	}
	if (!before && !after)
		_exit(wrong("the operation is there in part"));
	return after;
}

static inline void
check_base(struct kevo *db, const struct op *op)
{
	char key[16];

	for (int i = 0; i < BASE && !(op->flags & FRESH); i++) {
		base_key(key, i);
		if (has_value(db, key, base_value(i)) != 1)
			_exit(wrong("%s: lost or changed: %s", key,
			    kevo_errmsg(db)));
	}
}

static inline int
expected_count(const struct op *op, int after)
{
	int n = op->flags & FRESH ? 0 : BASE;

	n += (op->flags & (FILL | LOG)) != 0;
	for (int i = 0; i < op->nitems; i++)
		n += (after ? op->items[i].after : op->items[i].before).len >=
		    0;
	return n;
}

static inline void
check_count(struct kevo *db, const struct op *op, int after, int more)
{
	int n = count_records(db);
	int want = expected_count(op, after) + more;

	if (n != want)
		_exit(wrong("%d records in a scan, not %d: %s", n, want,
		    n < 0 ? kevo_errmsg(db) : ""));
}

/*
 * All promises about a database whose last operation was disturbed.  A
 * record key is added to more that were.
 */
static inline void
check_handle(struct kevo *db, const struct op *op, int acked, const char *key,
    int more)
{
	static const struct value again = { 'a', 100 };
	int after;

	check_base(db, op);
	after = state_of(db, op);
	if (acked && (!after || ((op->flags & ASIDE) &&
	    is_configured(db) != 1)))
		_exit(wrong("acknowledged and lost"));
	check_count(db, op, after, more);
	must(db, put_value(db, key, again), "the next put");
	if (has_value(db, key, again) != 1)
		_exit(wrong("the next put is not there"));
	/* What was whole but not yet durable has become visible with it. */
	after = state_of(db, op);
	if (!after || !(op->flags & ONCE)) {
		must(db, op->act(db, op), "the operation, repeated");
		if (!(op->flags & (READS | TIDIES)) && state_of(db, op) != 1)
			_exit(wrong("the operation, repeated, did nothing"));
	}
	check_base(db, op);
	check_count(db, op, 1, more + 1);
}

#endif /* LOOK_H */
