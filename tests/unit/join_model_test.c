/*
 * Everything that a handle can do, random, within a transaction that it has
 * joined, and in those within that one, against a plain model.
 */
#define KEYS	60
#define ROOM	400

#include "joined.h"
#include "txn_model.h"

static void
model_get(struct kevo *db, const struct kevo_snapshot *snap,
    const struct model *m)
{
	struct kevo_record r;
	size_t i = tap_below(KEYS);
	char k[16];
	int rc = kevo_peek(db, snap, k, key_of(i, k), &r);

	if (m->stamp[i] == 0)
		expect(rc == KEVO_NOTFOUND);
	else
		expect(rc == 0 && is_stamp(m->stamp[i], &r));
}

static void
compare_walk(struct kevo_iter *it, const struct model *m, int forward)
{
	struct kevo_record r;
	char k[16];
	size_t at;

	for (size_t n = 0; n < KEYS; n++) {
		at = forward ? n : KEYS - 1 - n;
		if (m->stamp[at] == 0)
			continue;
		if (!expect((forward ? kevo_iter_next(it, &r) :
		    kevo_iter_prev(it, &r)) == 0 && r.klen == key_of(at, k) &&
		    memcmp(r.key, k, r.klen) == 0 &&
		    is_stamp(m->stamp[at], &r)))
			return;
	}
	expect((forward ? kevo_iter_next(it, &r) :
	    kevo_iter_prev(it, &r)) == KEVO_NOTFOUND);
}

static void
model_walk(struct kevo *db, const struct kevo_snapshot *snap,
    const struct model *m)
{
	struct kevo_iter *it;

	check(db, kevo_iter_new(db, snap, NULL, &it), "iterator");
	compare_walk(it, m, (int)tap_below(2));
	kevo_iter_free(it);
}

/* What a model says of a condition, and of a put or delete on it. */
static void
model_write(struct kevo *db, struct model *m)
{
	struct kevo_write w = { .sync = KEVO_SYNC_NONE };
	size_t i = tap_below(KEYS), len;
	uint64_t version = 77;
	uint8_t v[ROOM];
	char k[16];
	int rc, holds = 1;

	switch (tap_below(4)) {
	case 0:
		w.cond.kind = KEVO_IF_ABSENT;
		holds = m->stamp[i] == 0;
		break;
	case 1:
		w.cond.kind = KEVO_IF_PRESENT;
		holds = m->stamp[i] != 0;
		break;
	}
	if (tap_below(4) == 0) {
		rc = kevo_delete(db, k, key_of(i, k), &w, &version);
		if (holds)
			m->stamp[i] = 0;
	} else {
		len = value_of(++stamps, v);
		rc = kevo_put(db, k, key_of(i, k), v, len, &w, &version);
		if (holds)
			m->stamp[i] = stamps;
	}
	expect(holds ? rc == 0 && version == 0 : rc == KEVO_FALSE);
}

static void
model_batch(struct kevo *db, struct model *m)
{
	struct kevo_batch *b;
	uint8_t v[ROOM];
	char k[16];

	check(db, kevo_batch_new(db, &b), "batch");
	for (size_t n = 1 + tap_below(80); n > 0; n--) {
		size_t i = tap_below(KEYS), len = value_of(++stamps, v);

		check(db, kevo_batch_put(b, k, key_of(i, k), v, len, 0),
		    "put");
		m->stamp[i] = stamps;
	}
	check(db, kevo_commit(db, b, KEVO_SYNC_NONE, NULL), "commit");
	kevo_batch_free(b);
}

/* A private transaction within: read, written, walked, ended. */
static void
model_txn(struct kevo *db, struct model *m)
{
	struct kevo_txn *t = begin(db, (unsigned)tap_below(3) * 2);
	struct model own = *m;
	struct kevo_iter *it;
	uint8_t v[ROOM];
	char k[16];

	for (size_t n = tap_below(30); n > 0; n--) {
		size_t i = tap_below(KEYS), len = value_of(++stamps, v);
		struct kevo_record r;
		int rc = kevo_txn_get(t, k, key_of(i, k), &r);

		expect(own.stamp[i] == 0 ? rc == KEVO_NOTFOUND : rc == 0 &&
		    is_stamp(own.stamp[i], &r));
		check(db, kevo_txn_put(t, k, key_of(i, k), v, len, 0), "put");
		own.stamp[i] = stamps;
	}
	check(db, kevo_txn_iter(t, NULL, &it), "iterator");
	compare_walk(it, &own, (int)tap_below(2));
	kevo_iter_free(it);
	if (tap_below(3) == 0) {
		check(db, kevo_txn_abort(t), "abort");
		return;
	}
	check(db, kevo_txn_commit(t, KEVO_SYNC_NONE, NULL), "commit");
	*m = own;
}

#define HANDLES	5

/* Handles that stay, of which some look and some write, and a snapshot. */
static void
model_steps(const char *txn, struct model *m, size_t steps, int depth)
{
	struct kevo *h[HANDLES] = { NULL };
	struct kevo_snapshot *snap = NULL;
	struct model then = { { 0 } };

	while (steps-- > 0) {
		size_t i = tap_below(HANDLES);

		if (h[i] == NULL)
			h[i] = join(txn, i == 0 ? KEVO_RDONLY : KEVO_CREATE);
		switch (tap_below(12)) {
		case 0:
			if (i > 1) {
				kevo_close(h[i]);
				h[i] = NULL;
			}
			break;
		case 1:
			model_walk(h[i], NULL, m);
			break;
		case 2:
			if (i != 1)
				break;
			kevo_snapshot_free(snap);
			check(h[i], kevo_snapshot_new(h[i], &snap),
			    "snapshot");
			then = *m;
			break;
		case 3:
			if (snap != NULL) {
				model_get(h[1], snap, &then);
				model_walk(h[1], snap, &then);
			}
			break;
		case 4:
			if (i != 0)
				model_batch(h[i], m);
			break;
		case 5:
			if (i != 0)
				model_txn(h[i], m);
			break;
		case 6:
			if (i != 0 && depth < 3) {
				struct kevo_txn *t = share(h[i]);
				struct model own = *m;

				model_steps(kevo_txn_env(t), &own, steps / 3,
				    depth + 1);
				/* Nobody else sees it yet. */
				model_walk(h[i], NULL, m);
				if (tap_below(2) == 0) {
					check(h[i], kevo_txn_abort(t),
					    "abort");
				} else {
					check(h[i], kevo_txn_commit(t, 0,
					    NULL), "commit");
					*m = own;
				}
				steps -= steps / 3;
			}
			break;
		case 7:
		case 8:
			if (i != 0) {
				model_write(h[i], m);
				break;
			}
			/* fall through */
		default:
			model_get(h[i], NULL, m);
		}
	}
	kevo_snapshot_free(snap);
	for (size_t i = 0; i < HANDLES; i++)
		kevo_close(h[i]);
}

static void
test_model(void)
{
	struct model m = { { 0 } }, inside;
	struct kevo *db = fresh("model"), *out = join(NULL, KEVO_RDONLY);
	struct kevo *other = join(NULL, 0);

	for (int i = 0; i < 30; i++) {
		struct kevo_txn *t = share(db);
		int abort = tap_below(3) == 0;

		inside = m;
		model_steps(kevo_txn_env(t), &inside, 10 + tap_below(120), 0);
		/* Outside nothing has happened, and nobody waits. */
		model_walk(out, NULL, &m);
		if (tap_below(3) == 0)
			check(other, kevo_compact(other, &(struct
			    kevo_compact){ .flags = KEVO_COMPACT_FLUSH },
			    NULL), "flush");
		model_steps(kevo_txn_env(t), &inside, tap_below(20), 0);
		if (abort) {
			check(db, kevo_txn_abort(t), "abort");
		} else {
			check(db, kevo_txn_commit(t, KEVO_SYNC_NONE, NULL),
			    "commit");
			m = inside;
		}
		model_walk(out, NULL, &m);
		expect(count_files("txn", "") == 0);
		if (i % 10 == 9)
			check(db, kevo_compact(db, NULL, NULL), "compact");
	}
	kevo_close(other);
	kevo_close(out);
	kevo_close(db);
	tap_report("join: everything within a transaction, as the model");
}

int
main(void)
{
	tap_start("join_model");
	test_model();
	return tap_end();
}
