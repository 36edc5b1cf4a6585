/*
 * work: one of the processes whose history is judged.
 *
 * What it is about to ask is written down in memory that outlives it, before
 * it is asked; so a process that is killed leaves an event that is open.
 * Before the call that could change something, the event is worth nothing.
 */
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../crash/crash.h"
#include "work.h"

/* ---- keys and values ---------------------------------------------------- */

const char *
h_key(unsigned k)
{
	static char name[H_KEYS][24];
	const char *group = k < H_ACCOUNT0 ? "reg" : k < H_COUNTER0 ? "acct" :
	    k < H_SLOT0 ? "count" : "slot";
	unsigned first = k < H_ACCOUNT0 ? 0 : k < H_COUNTER0 ? H_ACCOUNT0 :
	    k < H_SLOT0 ? H_COUNTER0 : H_SLOT0;

	snprintf(name[k], sizeof(name[k]), "%s/%u", group, k - first);
	return name[k];
}

size_t
h_value_text(uint64_t value, char buf[VALUE_ROOM])
{
	size_t len = (size_t)snprintf(buf, 32, "%" PRIu64 ".", value);
	size_t pad = (size_t)((value >> 24) * 37 % (VALUE_ROOM - 32));

	memset(buf + len, 'x', pad);
	return len + pad;
}

uint64_t
h_text_value(const void *text, size_t len)
{
	char buf[VALUE_ROOM], same[VALUE_ROOM];
	uint64_t value;

	if (len >= sizeof(buf))
		return 1;
	memcpy(buf, text, len);
	buf[len] = '\0';
	value = strtoull(buf, NULL, 10);
	return h_value_text(value, same) == len &&
	    memcmp(buf, same, len) == 0 ? value : 1;
}

unsigned
work_rnd(unsigned below)
{
	return rnd(below);
}

/* ---- events ------------------------------------------------------------- */

int64_t
h_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

void
work_wrong(struct work *k, int rc, const char *what)
{
	snprintf(k->run->wrong, sizeof(k->run->wrong), "%s: %s: %s", what,
	    kevo_strerror(rc), k->db != NULL ? kevo_errmsg(k->db) : "");
	_exit(WRONG);
}

int
work_begin(struct work *k, const char *what)
{
	uint32_t n = k->run->used[k->w];

	if (n == H_ROOM)
		return 0;
	k->i = (size_t)k->w * H_ROOM + n;
	k->e = &k->run->event[k->i];
	k->e->what = what;
	k->e->start = h_now_ns();
	atomic_signal_fence(memory_order_seq_cst);
	k->run->used[k->w] = n + 1;
	return 1;
}

void
work_may_change(struct work *k)
{
	atomic_signal_fence(memory_order_seq_cst);
	k->e->outcome = H_OPEN;
	atomic_signal_fence(memory_order_seq_cst);
}

void
work_end(struct work *k, int rc)
{
	int64_t now = h_now_ns();

	if (rc == KEVO_EUNKNOWN) {
		k->e->dead = now;
		return;
	}
	k->e->end = now;
	/* We may be killed between any two stores. */
	atomic_signal_fence(memory_order_seq_cst);
	k->e->outcome = rc == 0 || rc == KEVO_NOTFOUND ? H_DONE :
	    rc == KEVO_FALSE ? H_FALSE : H_NOTHING;
	if (rc < 0 && rc != KEVO_EBUSY && rc != KEVO_ECONFLICT)
		work_wrong(k, rc, k->e->what);
}

struct h_part *
work_part(struct work *k, unsigned key)
{
	struct h_event *e = k->e;

	for (unsigned p = 0; p < e->nparts; p++)
		if (e->part[p].key == key)
			return &e->part[p];
	e->part[e->nparts].key = (uint8_t)key;
	return &e->part[e->nparts++];
}

/* A read's answer: rec NULL is absence. */
static struct h_part *
has_read(struct work *k, unsigned key, const struct kevo_record *rec)
{
	struct h_part *p = work_part(k, key);

	p->flags |= H_READ;
	p->got = rec != NULL ? h_text_value(rec->value, rec->vlen) : 0;
	p->got_version = rec != NULL ? rec->version : 0;
	k->seen[key] = p->got;
	k->seen_version[key] = p->got_version;
	return p;
}

/* What will be written; the text's length. */
static size_t
will_write(struct work *k, struct h_part *p, unsigned number, char *buf)
{
	p->flags |= H_WRITE;
	p->put = h_value(k->i, (unsigned)(p - k->e->part), number);
	return h_value_text(p->put, buf);
}

static enum kevo_sync
some_sync(void)
{
	return rnd(4) == 0 ? KEVO_SYNC_NONE : rnd(4) == 0 ? KEVO_SYNC_BATCH :
	    KEVO_SYNC_FULL;
}

/* ---- single keys -------------------------------------------------------- */

void
work_get(struct work *k, unsigned key)
{
	struct kevo_record rec;
	int rc;

	if (!work_begin(k, "get"))
		return;
	rc = kevo_peek(k->db, NULL, h_key(key), strlen(h_key(key)), &rec);
	if (rc >= 0)
		has_read(k, key, rc == 0 ? &rec : NULL);
	work_end(k, rc);
}

static void
condition(struct work *k, struct h_part *p, struct kevo_cond *c, char *buf)
{
	static const enum kevo_cond_kind kinds[] = { KEVO_IF_ANY, KEVO_IF_ANY,
	    KEVO_IF_ABSENT, KEVO_IF_PRESENT, KEVO_IF_VALUE, KEVO_IF_VERSION };

	c->kind = kinds[rnd(6)];
	if (c->kind == KEVO_IF_VALUE && k->seen[p->key] == 0)
		c->kind = KEVO_IF_VERSION;
	p->cond = (uint8_t)c->kind;
	if (c->kind == KEVO_IF_VALUE) {
		p->want = k->seen[p->key];
		c->value = buf;
		c->vlen = h_value_text(p->want, buf);
	} else if (c->kind == KEVO_IF_VERSION) {
		p->want = c->version = k->seen_version[p->key];
	}
}

/* Put or delete a register, or put into a slot that must be free. */
static void
change(struct work *k, const char *what, unsigned key, int deletes)
{
	char val[VALUE_ROOM], want[VALUE_ROOM];
	struct kevo_write w = { .sync = some_sync() };
	struct h_part *p;
	uint64_t version = 0;
	size_t len = 0;
	int rc;

	if (!work_begin(k, what))
		return;
	p = work_part(k, key);
	if (key >= H_SLOT0)
		p->cond = (uint8_t)(w.cond.kind = KEVO_IF_ABSENT);
	else
		condition(k, p, &w.cond, want);
	if (deletes)
		p->flags |= H_WRITE;
	else
		len = will_write(k, p, 0, val);
	work_may_change(k);
	rc = deletes ?
	    kevo_delete(k->db, h_key(key), strlen(h_key(key)), &w, &version) :
	    kevo_put(k->db, h_key(key), strlen(h_key(key)), val, len, &w,
	    &version);
	k->e->version = rc == 0 ? version : 0;
	work_end(k, rc);
}

/* ---- several keys ------------------------------------------------------- */

static void
batch(struct work *k)
{
	struct kevo_batch *b;
	uint64_t version = 0;
	int rc;

	if (!work_begin(k, "batch"))
		return;
	if ((rc = kevo_batch_new(k->db, &b)) != 0)
		work_wrong(k, rc, "batch");
	for (unsigned i = 0; i < 3 && rc == 0; i++) {
		unsigned key = rnd(H_REGISTERS);
		struct h_part *p = work_part(k, key);
		char val[VALUE_ROOM];

		rc = kevo_batch_put(b, h_key(key), strlen(h_key(key)), val,
		    will_write(k, p, 0, val), 0);
	}
	work_may_change(k);
	if (rc == 0)
		rc = kevo_commit(k->db, b, some_sync(), &version);
	k->e->version = rc == 0 ? version : 0;
	work_end(k, rc);
	kevo_batch_free(b);
}

/* Write down what an iterator shows of a group of keys. */
static int
walk(struct work *k, struct kevo_iter *it, unsigned from, unsigned n)
{
	int (*move)(struct kevo_iter *, struct kevo_record *) =
	    rnd(2) == 0 ? kevo_iter_next : kevo_iter_prev;
	struct kevo_record rec;
	int rc;

	for (unsigned i = 0; i < n; i++)
		has_read(k, from + i, NULL);
	while ((rc = move(it, &rec)) == 0) {
		unsigned i = 0;

		while (i < n && (strlen(h_key(from + i)) != rec.klen ||
		    memcmp(h_key(from + i), rec.key, rec.klen) != 0))
			i++;
		if (i == n)
			work_wrong(k, 0, "a key that nobody wrote");
		has_read(k, from + i, &rec);
	}
	return rc;
}

/* The keys from number `from` on. */
static struct kevo_range
range_of(unsigned from, unsigned n)
{
	static char to[24];
	struct kevo_range r = { h_key(from), strlen(h_key(from)), to, 0 };

	r.to_len = (size_t)snprintf(to, sizeof(to), "%s", h_key(from + n - 1));
	to[r.to_len - 1]++;
	return r;
}

/* The accounts in one scan are worth what they were at the start. */
static void
check_sum(struct work *k)
{
	unsigned sum = 0;

	for (unsigned p = 0; p < k->e->nparts; p++)
		sum += h_number(k->e->part[p].got);
	if (sum != H_ACCOUNTS * H_BALANCE && !k->run->without)
		work_wrong(k, 0, "the sum of the accounts has changed");
}

static void
scan(struct work *k)
{
	static const unsigned first[] = { 0, H_ACCOUNT0, H_SLOT0 };
	static const unsigned count[] = { H_REGISTERS, H_ACCOUNTS, H_SLOTS };
	unsigned g = rnd(3);
	struct kevo_range range = range_of(first[g], count[g]);
	struct kevo_snapshot *snap = NULL;
	struct kevo_iter *it;
	int rc;

	if (!work_begin(k, "scan"))
		return;
	if (rnd(2) == 0) {
		if ((rc = kevo_snapshot_new(k->db, &snap)) != 0)
			work_wrong(k, rc, "snapshot");
		k->e->snapshot = 1;
		k->e->version = kevo_snapshot_version(snap);
	}
	if ((rc = kevo_iter_new(k->db, snap, &range, &it)) != 0)
		work_wrong(k, rc, "iterator");
	if (rnd(4) == 0)
		nap_us(rnd(2000));
	rc = walk(k, it, first[g], count[g]);
	work_end(k, rc);
	if (g == 1)
		check_sum(k);
	kevo_iter_free(it);
	kevo_snapshot_free(snap);
}

/* ---- transactions ------------------------------------------------------- */

static const struct {
	unsigned flags;
	const char *transfer, *incr, *pop;
} kinds[] = {
	{ 0, "transfer", "incr", "pop" },
	{ KEVO_TXN_DEFERRED, "deferred transfer", "deferred incr",
	    "deferred pop" },
	{ KEVO_TXN_OPTIMISTIC, "optimistic transfer", "optimistic incr",
	    "optimistic pop" },
};

static struct kevo_txn *
txn_begin(struct work *k, unsigned flags)
{
	struct kevo_begin b = { .flags = flags };
	struct kevo_txn *t;
	int rc = kevo_txn_begin(k->db, &b, &t);

	if (rc == 0)
		return t;
	work_end(k, rc);
	return NULL;
}

static int
txn_read(struct work *k, struct kevo_txn *t, unsigned key,
    struct h_part **out)
{
	struct kevo_record rec;
	int rc = kevo_txn_get(t, h_key(key), strlen(h_key(key)), &rec);

	if (rc < 0)
		return rc;
	*out = has_read(k, key, rc == 0 ? &rec : NULL);
	if (rnd(8) == 0)
		nap_us(rnd(500));
	return 0;
}

static int
txn_write(struct work *k, struct kevo_txn *t, struct h_part *p,
    unsigned number)
{
	char val[VALUE_ROOM];
	size_t len = will_write(k, p, number, val);

	return kevo_txn_put(t, h_key(p->key), strlen(h_key(p->key)), val, len,
	    0);
}

/* Commit, or roll back now and then, or after an error. */
static void
txn_end(struct work *k, struct kevo_txn *t, int rc)
{
	uint64_t version = 0;

	if (rc != 0 || rnd(16) == 0) {
		kevo_txn_abort(t);
		work_end(k, rc != 0 ? rc : KEVO_EBUSY);
		return;
	}
	work_may_change(k);
	rc = kevo_txn_commit(t, some_sync(), &version);
	k->e->version = rc == 0 && h_writes(k->e) ? version : 0;
	work_end(k, rc);
}

static void
transfer(struct work *k)
{
	unsigned kind = rnd(3);
	unsigned from = rnd(H_ACCOUNTS), to = rnd(H_ACCOUNTS - 1);
	struct h_part *a, *b;
	struct kevo_txn *t;
	int rc;

	to += to >= from;
	if (!work_begin(k, kinds[kind].transfer) ||
	    (t = txn_begin(k, kinds[kind].flags)) == NULL)
		return;
	rc = txn_read(k, t, H_ACCOUNT0 + from, &a);
	if (rc == 0)
		rc = txn_read(k, t, H_ACCOUNT0 + to, &b);
	if (rc == 0 && h_number(a->got) > 0) {
		unsigned sum = 1 + rnd(h_number(a->got));

		if ((rc = txn_write(k, t, a, h_number(a->got) - sum)) == 0)
			rc = txn_write(k, t, b, h_number(b->got) + sum);
	}
	txn_end(k, t, rc);
}

static void
incr(struct work *k)
{
	unsigned kind = rnd(3);
	struct h_part *p;
	struct kevo_txn *t;
	int rc;

	if (!work_begin(k, kinds[kind].incr) ||
	    (t = txn_begin(k, kinds[kind].flags)) == NULL)
		return;
	rc = txn_read(k, t, H_COUNTER0 + rnd(H_COUNTERS), &p);
	if (rc == 0)
		rc = txn_write(k, t, p, h_number(p->got) + 1);
	txn_end(k, t, rc);
}

/* Take the first of the queue. */
static void
pop(struct work *k)
{
	struct kevo_range range = range_of(H_SLOT0, H_SLOTS);
	unsigned kind = rnd(3), n = 0;
	struct kevo_record rec;
	struct kevo_iter *it;
	struct kevo_txn *t;
	int rc;

	if (!work_begin(k, kinds[kind].pop) ||
	    (t = txn_begin(k, kinds[kind].flags)) == NULL)
		return;
	if ((rc = kevo_txn_iter(t, &range, &it)) != 0) {
		txn_end(k, t, rc);
		return;
	}
	rc = kevo_iter_first(it, &rec);
	while (n < H_SLOTS && (rc != 0 ||
	    memcmp(rec.key, h_key(H_SLOT0 + n), rec.klen) != 0))
		has_read(k, H_SLOT0 + n++, NULL);
	if (rc == 0 && n < H_SLOTS)
		has_read(k, H_SLOT0 + n, &rec)->flags |= H_WRITE;
	kevo_iter_free(it);
	if (rc == 0 && n < H_SLOTS)
		rc = kevo_txn_delete(t, h_key(H_SLOT0 + n),
		    strlen(h_key(H_SLOT0 + n)));
	txn_end(k, t, rc == KEVO_NOTFOUND ? 0 : rc);
}

/* What is written behind a savepoint is undone with it. */
static void
savepoint(struct work *k)
{
	unsigned key = rnd(H_REGISTERS - 1);
	const char *other = h_key(key + 1);
	struct kevo_txn *t;
	uint64_t mark;
	int rc;

	if (!work_begin(k, "savepoint") || (t = txn_begin(k, 0)) == NULL)
		return;
	rc = txn_write(k, t, work_part(k, key), 0);
	if (rc == 0)
		rc = kevo_txn_savepoint(t, &mark);
	if (rc == 0)
		rc = kevo_txn_put(t, other, strlen(other), "undone", 6, 0);
	if (rc == 0)
		rc = kevo_txn_delete(t, h_key(key), strlen(h_key(key)));
	if (rc == 0)
		rc = kevo_txn_rollback_to(t, mark);
	txn_end(k, t, rc);
}

/* Some keys, one after the other, at one snapshot. */
static void
look_around(struct work *k)
{
	struct h_part *p;
	struct kevo_txn *t;
	int rc = 0;

	if (!work_begin(k, "read-only transaction") ||
	    (t = txn_begin(k, KEVO_TXN_READ)) == NULL)
		return;
	for (unsigned i = 0; i < 4 && rc == 0; i++)
		rc = txn_read(k, t, rnd(H_KEYS), &p);
	txn_end(k, t, rc);
}

/* ---- a process ---------------------------------------------------------- */

/* It takes as long as many of the others. */
enum { COMMAND_ONE_IN = 24 };

static void
choose(struct work *k)
{
	unsigned r = rnd(100);

	if (rnd(COMMAND_ONE_IN) == 0)
		work_command(k);
	else if (r < 25)
		work_get(k, rnd(H_KEYS));
	else if (r < 45)
		change(k, "put", rnd(H_REGISTERS), 0);
	else if (r < 52)
		change(k, "delete", rnd(H_REGISTERS), 1);
	else if (r < 58)
		change(k, "push", H_SLOT0 + rnd(H_SLOTS), 0);
	else if (r < 62)
		batch(k);
	else if (r < 70)
		scan(k);
	else if (r < 80)
		transfer(k);
	else if (r < 88)
		incr(k);
	else if (r < 94)
		pop(k);
	else if (r < 96)
		savepoint(k);
	else
		look_around(k);
}

static void
open_as(struct work *k, const char *path)
{
	struct kevo_options opt = { .program = "history", .wait_set = 1,
	    .wait_ms = 20000, .compactor = "" };
	int rc = kevo_open(path, 0, &opt, &k->db);

	if (rc != 0)
		work_wrong(k, rc, "open");
}

int
h_work(struct h_run *run, unsigned w, const char *path, uint64_t from)
{
	struct work k = { .run = run, .w = w, .path = path };

	seed = from;
	open_as(&k, path);
	while (!run->stop && run->used[w] < H_ROOM) {
		choose(&k);
		if (rnd(2) == 0)
			nap_us(rnd(300));
	}
	return kevo_close(k.db) == 0 ? 0 : WRONG;
}

int
h_first(struct h_run *run, const char *path)
{
	struct work k = { .run = run, .w = H_WORKERS };
	struct kevo_batch *b;
	char val[VALUE_ROOM];
	int rc;

	open_as(&k, path);
	if (!work_begin(&k, "first") || (rc = kevo_batch_new(k.db, &b)) != 0)
		return WRONG;
	for (unsigned i = H_ACCOUNT0; i < H_COUNTER0 && rc == 0; i++)
		rc = kevo_batch_put(b, h_key(i), strlen(h_key(i)), val,
		    will_write(&k, work_part(&k, i), H_BALANCE, val), 0);
	if (rc == 0)
		rc = kevo_commit(k.db, b, KEVO_SYNC_FULL, &k.e->version);
	work_end(&k, rc);
	kevo_batch_free(b);
	return kevo_close(k.db) == 0 ? 0 : WRONG;
}

int
h_last(struct h_run *run, const char *path)
{
	struct work k = { .run = run, .w = H_WORKERS };
	struct kevo_snapshot *snap;
	struct kevo_record rec;
	int rc;

	open_as(&k, path);
	/* So that what a killed process had written whole is seen. */
	if ((rc = kevo_sync(k.db)) != 0 ||
	    (rc = kevo_snapshot_new(k.db, &snap)) != 0)
		work_wrong(&k, rc, "the last snapshot");
	for (unsigned i = 0; i < H_KEYS; i++) {
		if (i % H_PARTS == 0) {
			if (!work_begin(&k, "last"))
				return WRONG;
			k.e->snapshot = 1;
			k.e->version = kevo_snapshot_version(snap);
		}
		rc = kevo_peek(k.db, snap, h_key(i), strlen(h_key(i)), &rec);
		if (rc >= 0)
			has_read(&k, i, rc == 0 ? &rec : NULL);
		work_end(&k, rc);
	}
	kevo_snapshot_free(snap);
	return kevo_close(k.db) == 0 ? 0 : WRONG;
}
