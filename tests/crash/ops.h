/*
 * ops: the operations that sweep disturbs: the state before and after each,
 * and how to do it by the library and by a tool.
 */
#ifndef OPS_H
#define OPS_H

#include "crash.h"

#define MEMTABLE	"memtable_bytes=65536"
#define MANUAL		"compaction=manual"	/* nobody else is at work */
#define BASE		10	/* older records */
#define ITEMS		5

enum op_flag {
	FRESH = 1,	/* there is no database before */
	COPY = 2,	/* it was copied: shared memory must be built anew */
	FILL = 4,	/* its segment is more than half full */
	READS = 8,	/* changes nothing */
	ONCE = 16,	/* repeating it changes more */
	ASIDE = 32,	/* changes settings, and makes no commit */
	TIDIES = 64,	/* changes files, but no record */
	LOG = 128,	/* there are several sealed segments */
	TABLES = 256	/* and there are tables before them */
};

/* A value is len times the byte fill; len -1: the key is absent. */
struct value {
	int fill;
	int len;
};

struct item {
	const char *key;
	struct value before, after;
};

struct op {
	const char *name;
	unsigned flags;
	int nitems;
	struct item items[ITEMS];
	int (*act)(struct kevo *db, const struct op *op);
	const char *tool[8];	/* arguments; DB stands for the database; none:
				 * no tool does it */
	const char *answer;	/* what a reading tool prints */
};

#define ABSENT { 0, -1 }

static int act_put(struct kevo *, const struct op *);
static int act_batch(struct kevo *, const struct op *);
static int act_delete(struct kevo *, const struct op *);
static int act_incr(struct kevo *, const struct op *);
static int act_shared(struct kevo *, const struct op *);
static int act_get(struct kevo *, const struct op *);
static int act_scan(struct kevo *, const struct op *);
static int act_flush(struct kevo *, const struct op *);
static int act_compact(struct kevo *, const struct op *);
static int act_full(struct kevo *, const struct op *);

#define AS_IT_IS { { "k", { 'o', 30 }, { 'o', 30 } } }
static int act_config(struct kevo *, const struct op *);

static const struct op ops[] = {
	{ "put", 0, 1, { { "k", { 'o', 30 }, { 'n', 50 } } }, act_put,
	    { "kevo-put", "-i", "DB", "k" }, NULL },
	{ "batch", 0, 5, {
		{ "k1", { 'o', 9 }, { 'n', 2000 } },
		{ "k2", ABSENT, { 'n', 1 } },
		{ "k3", ABSENT, { 'n', 300 } },
		{ "k4", { 'o', 5000 }, { 'n', 0 } },
		{ "k5", ABSENT, { 'n', 7000 } } }, act_batch,
	    { "kevo-put", "-1", "-i", "DB" }, NULL },
	{ "delete", 0, 1, { { "k", { 'o', 30 }, ABSENT } }, act_delete,
	    { "kevo-delete", "DB", "k" }, NULL },
	{ "shared", 0, 5, {
		{ "k1", { 'o', 9 }, { 'n', 2000 } },
		{ "k2", ABSENT, { 'n', 1 } },
		{ "k3", ABSENT, { 'n', 300 } },
		{ "k4", { 'o', 5000 }, { 'n', 0 } },
		{ "k5", ABSENT, { 'n', 7000 } } }, act_shared, { NULL }, NULL },
	{ "incr", ONCE, 1, { { "k", { '1', 3 }, { '2', 3 } } }, act_incr,
	    { "kevo-incr", "DB", "k", "111" }, NULL },
	{ "create", FRESH, 1, { { "k", ABSENT, { 'n', 50 } } }, act_put,
	    { "kevo-put", "-i", "DB", "k" }, NULL },
	{ "rotate", FILL, 1, { { "k", { 'o', 30 }, { 'n', 40000 } } },
	    act_put, { "kevo-put", "-i", "DB", "k" }, NULL },
	{ "rotate-batch", FILL, 3, {
		{ "k1", { 'o', 9 }, { 'n', 20000 } },
		{ "k2", ABSENT, { 'n', 1 } },
		{ "k3", ABSENT, { 'n', 9000 } } }, act_batch,
	    { "kevo-put", "-1", "-i", "DB" }, NULL },
	{ "large", 0, 1, { { "k", { 'o', 30 }, { 'n', 200000 } } }, act_put,
	    { "kevo-put", "-i", "DB", "k" }, NULL },
	{ "copy", COPY, 1, { { "k", { 'o', 30 }, { 'n', 50 } } }, act_put,
	    { "kevo-put", "-i", "DB", "k" }, NULL },
	{ "copy-rotated", COPY | FILL, 1,
	    { { "k", { 'o', 30 }, { 'n', 40000 } } }, act_put,
	    { "kevo-put", "-i", "DB", "k" }, NULL },
	{ "get", READS, 1, { { "k", { 'o', 30 }, { 'o', 30 } } }, act_get,
	    { "kevo-get", "DB", "k" }, "oooooooooooooooooooooooooooooo" },
	{ "copy-get", READS | COPY, 1, { { "k", { 'o', 30 }, { 'o', 30 } } },
	    act_get, { "kevo-get", "DB", "k" },
	    "oooooooooooooooooooooooooooooo" },
	{ "scan", READS, 1, { { "k", { 'o', 30 }, { 'o', 30 } } }, act_scan,
	    { "kevo-scan", "-c", "DB" }, "11\n" },
	{ "flush", TIDIES | LOG, 1, AS_IT_IS, act_flush,
	    { "kevo-compact", "--flush", "DB" }, NULL },
	{ "compact", TIDIES | LOG | TABLES, 1, AS_IT_IS, act_compact,
	    { "kevo-compact", "DB" }, NULL },
	{ "full", TIDIES | LOG | TABLES, 1, AS_IT_IS, act_full,
	    { "kevo-compact", "--full", "DB" }, NULL },
	{ "copy-full", TIDIES | LOG | TABLES | COPY, 1, AS_IT_IS, act_full,
	    { "kevo-compact", "--full", "DB" }, NULL },
	{ "config", ASIDE, 1, { { "k", { 'o', 30 }, { 'o', 30 } } }, act_config,
	    { "kevo-config", "DB", "set", "levels=3", "sync_ms=2s" }, NULL },
};

#define OPS (sizeof(ops) / sizeof(ops[0]))

/* ---- values ------------------------------------------------------------- */

static inline char *
value_bytes(struct value v)
{
	static char buf[1 << 18];

	memset(buf, v.fill, (size_t)v.len);
	return buf;
}

static inline int
put_value(struct kevo *db, const char *key, struct value v)
{
	return kevo_put(db, key, strlen(key), value_bytes(v), (size_t)v.len,
	    NULL, NULL);
}

/* 1 if the key has this value, 0 if not, or an error. */
static inline int
has_value(struct kevo *db, const char *key, struct value v)
{
	void *p;
	size_t len;
	int rc = kevo_get(db, NULL, key, strlen(key), &p, &len);

	if (rc < 0)
		return rc;
	if (rc == KEVO_NOTFOUND)
		return v.len < 0;
	rc = v.len == (int)len && memcmp(p, value_bytes(v), len) == 0;
	kevo_free(p);
	return rc;
}

static inline void
base_key(char buf[16], int i)
{
	snprintf(buf, 16, "base:%d", i);
}

static inline struct value
base_value(int i)
{
	struct value v = { 'a' + i, 10 * i };

	return v;
}

/* ---- operations by the library ------------------------------------------ */

static inline int
act_put(struct kevo *db, const struct op *op)
{
	return put_value(db, op->items[0].key, op->items[0].after);
}

/* The items from the given one on, as one commit. */
static inline int
commit_items(struct kevo *db, const struct op *op, int from)
{
	struct kevo_batch *b;
	int rc = kevo_batch_new(db, &b);

	if (rc != 0)
		return rc;
	for (int i = from; i < op->nitems && rc == 0; i++)
		rc = kevo_batch_put(b, op->items[i].key,
		    strlen(op->items[i].key),
		    value_bytes(op->items[i].after),
		    (size_t)op->items[i].after.len, 0);
	if (rc == 0)
		rc = kevo_commit(db, b, KEVO_SYNC_FULL, NULL);
	kevo_batch_free(b);
	return rc;
}

static inline int
act_batch(struct kevo *db, const struct op *op)
{
	return commit_items(db, op, 0);
}

static inline int
act_delete(struct kevo *db, const struct op *op)
{
	return kevo_delete(db, op->items[0].key, strlen(op->items[0].key),
	    NULL, NULL);
}

static inline int
act_incr(struct kevo *db, const struct op *op)
{
	const char *key = op->items[0].key;
	struct kevo_record rec;
	struct kevo_txn *t;
	char sum[32];
	int rc = kevo_txn_begin(db, NULL, &t);

	if (rc != 0)
		return rc;
	rc = kevo_txn_get(t, key, strlen(key), &rec);
	if (rc == 0) {
		snprintf(sum, sizeof(sum), "%d",
		    111 + (int)number_in(rec.value, rec.vlen));
		rc = kevo_txn_put(t, key, strlen(key), sum, strlen(sum), 0);
	}
	if (rc != 0) {
		kevo_txn_abort(t);
		return rc;
	}
	return kevo_txn_commit(t, KEVO_SYNC_FULL, NULL);
}

/* Written into by a handle that has joined it, and read there. */
static inline int
write_within(struct kevo *j, const struct op *op)
{
	int half = op->nitems / 2, rc = 0;

	for (int i = 0; i < half && rc == 0; i++)
		rc = put_value(j, op->items[i].key, op->items[i].after);
	if (rc == 0)
		rc = commit_items(j, op, half);
	for (int i = 0; i < op->nitems && rc == 0; i++)
		if ((rc = has_value(j, op->items[i].key,
		    op->items[i].after)) == 0)
			_exit(wrong("wrong value in a transaction"));
		else if (rc > 0)
			rc = 0;
	return rc;
}

static inline int
act_shared(struct kevo *db, const struct op *op)
{
	struct kevo_begin b = { KEVO_TXN_SHARED, 0 };
	struct kevo_options opt = { .program = "joined" };
	struct kevo_txn *t;
	struct kevo *j;
	int rc = kevo_txn_begin(db, &b, &t);

	if (rc != 0)
		return rc;
	opt.txn = kevo_txn_env(t);
	if ((rc = kevo_open(opened, 0, &opt, &j)) == 0)
		rc = write_within(j, op);
	if (rc != 0)
		fprintf(stderr, "%s\n", j == NULL ? kevo_strerror(rc) :
		    kevo_errmsg(j));
	kevo_close(j);
	if (rc == 0)
		return kevo_txn_commit(t, KEVO_SYNC_FULL, NULL);
	kevo_txn_abort(t);
	return rc;
}

static inline int
act_get(struct kevo *db, const struct op *op)
{
	int r = has_value(db, op->items[0].key, op->items[0].after);

	if (r == 0)
		_exit(wrong("wrong value"));
	return r < 0 ? r : 0;
}

/* The number of records, or an error; they must be in order. */
static inline int
count_records(struct kevo *db)
{
	char last[64] = "";
	struct kevo_record rec;
	struct kevo_iter *it;
	int rc = kevo_iter_new(db, NULL, NULL, &it), n = 0;

	if (rc != 0)
		return rc;
	for (; (rc = kevo_iter_next(it, &rec)) == 0; n++) {
		char key[64];

		snprintf(key, sizeof(key), "%.*s", (int)rec.klen,
		    (const char *)rec.key);
		if (strcmp(key, last) <= 0)
			_exit(wrong("%s comes after %s", key, last));
		strcpy(last, key);
	}
	kevo_iter_free(it);
	return rc < 0 ? rc : n;
}

static inline int
act_scan(struct kevo *db, const struct op *op)
{
	int n = count_records(db);

	(void)op;
	if (n >= 0 && n < BASE + 1)
		_exit(wrong("%d records", n));
	return n < 0 ? n : 0;
}

static inline int
compact(struct kevo *db, unsigned flags)
{
	struct kevo_compact c = { .flags = flags };

	return kevo_compact(db, &c, NULL);
}

static inline int
act_flush(struct kevo *db, const struct op *op)
{
	(void)op;
	return compact(db, KEVO_COMPACT_FLUSH);
}

static inline int
act_compact(struct kevo *db, const struct op *op)
{
	(void)op;
	return compact(db, 0);
}

static inline int
act_full(struct kevo *db, const struct op *op)
{
	(void)op;
	return compact(db, KEVO_COMPACT_FULL);
}

/* 1 if the two settings are changed, 0 if they are not, or an error. */
static inline int
is_configured(struct kevo *db)
{
	struct kevo_setting a, b;
	int rc;

	if ((rc = kevo_config_get(db, "levels", &a)) != 0 ||
	    (rc = kevo_config_get(db, "sync_ms", &b)) != 0)
		return rc;
	if ((a.line != 0) != (b.line != 0))
		_exit(wrong("one of two settings is changed"));
	return a.line != 0;
}

static inline int
act_config(struct kevo *db, const struct op *op)
{
	static const char *const changes[] = { "levels=3", "sync_ms=2s",
	    NULL };
	int rc = is_configured(db);

	(void)op;
	return rc < 0 ? rc : kevo_config_set(db, changes);
}

/* ---- a process that does one --------------------------------------------- */

static inline int
exit_code(int rc)
{
	switch (rc) {
	case 0:
		return 0;
	case KEVO_NOTFOUND:
	case KEVO_FALSE:
		return 1;
	case KEVO_EINVAL:
		return 64;
	case KEVO_ELIMIT:
	case KEVO_ENOTDB:
		return 65;
	case KEVO_ENODB:
		return 66;
	case KEVO_ECORRUPT:
		return 72;
	case KEVO_ECREATE:
		return 73;
	case KEVO_EIO:
	case KEVO_EUNKNOWN:
	case KEVO_EREPLACED:
	case KEVO_ENOMEM:
		return 74;
	case KEVO_EBUSY:
		return 75;
	case KEVO_EPERM:
		return 77;
	case KEVO_ECONFIG:
		return 78;
	}
	return 70;
}

static inline const struct op *
find_op(const char *name)
{
	for (size_t i = 0; i < OPS; i++)
		if (strcmp(ops[i].name, name) == 0)
			return &ops[i];
	return NULL;
}

static inline int
open_flags(const struct op *op)
{
	if (op->flags & READS)
		return KEVO_RDONLY;
	return op->flags & FRESH ? KEVO_CREATE : 0;
}

/* sweep act OP DB: "ack" on standard output is the acknowledgement. */
static inline int
act_main(const char *name, const char *path)
{
	static const char *const settings[] = { MEMTABLE, MANUAL,
	    NULL };
	const struct op *op = find_op(name);
	struct kevo_options opt = { .program = "sweep" };
	struct kevo *db;
	int rc;

	if (op == NULL)
		return 64;
	if (op->flags & FRESH)
		opt.settings = settings;
	rc = kevo_open(path, (unsigned)open_flags(op), &opt, &db);
	snprintf(opened, sizeof(opened), "%s", path);
	if (rc == 0 && (rc = op->act(db, op)) == 0)
		if (write(1, "ack\n", 4) != 4)
			return 70;
	if (rc != 0)
		fprintf(stderr, "%s\n", db == NULL ? kevo_strerror(rc) :
		    kevo_errmsg(db));
	if (rc == 0)
		rc = kevo_close(db);
	else
		kevo_close(db);
	return exit_code(rc);
}

#endif /* OPS_H */
