#include <stdlib.h>
#include <string.h>

#include "compact.h"
#include "count.h"
#include "db.h"
#include "record.h"

/*
 * A transaction: WRITER, a batch, and an index over the batch's bytes, so
 * that its reads see its own writes.  The index is the one that the log has;
 * here the batch's buffer is the log.  Operations are indexed when a read
 * needs them: a transaction that only writes builds none.
 */
struct kevo_txn {
	struct kevo *db;
	struct kevo_batch batch;
	uint64_t seq;			/* newest commit that it reads */
	uint64_t indexed;		/* bytes of the batch in the index */
	uint64_t ops;			/* operations in the index */
	struct kv_index own;
	uint64_t arena_room;
};

#define ARENA_ROOM	((uint64_t)16 << 10)

static int
begin(struct kevo *db, struct kevo_txn **out)
{
	struct kevo_txn *t;
	int rc;

	if ((rc = kv_usable(db)) != 0 || (rc = kv_warm_up(db)) != 0)
		return rc;
	if ((t = calloc(1, sizeof(*t))) == NULL)
		return kv_fail(&db->env, KEVO_ENOMEM, "out of memory");
	t->db = db;
	t->batch.db = db;
	if ((rc = kv_writer_lock(db)) != 0) {
		free(t);
		return rc;
	}
	kv_count(db->ctl, KV_STAT_TXN_BEGUN, 1);
	db->txn = t;
	t->seq = kv_tail(db->ctl)->seq;
	*out = t;
	return 0;
}

int
kevo_txn_begin(struct kevo *db, struct kevo_txn **out)
{
	if (!db->opened)
		return KEVO_EINVAL;	/* kevo_open() said why */
	return kv_result(db, begin(db, out));
}

static void
txn_free(struct kevo_txn *t)
{
	kv_batch_release(&t->batch);
	free(t->own.arena);
	t->db->txn = NULL;
	free(t);
}

static int
grow_arena(struct kevo_txn *t, uint64_t nops)
{
	struct kv_index_head *h = (void *)t->own.arena;
	uint64_t need = ARENA_ROOM, room;
	uint8_t *p;

	if (h != NULL)
		need = atomic_load_explicit(&h->end, memory_order_relaxed) +
		    kv_index_need(&t->own, nops);
	if (need <= t->arena_room)
		return 0;
	room = need + t->arena_room / 2;
	if (room > KV_INDEX_ARENA_MAX ||
	    (p = realloc(t->own.arena, (size_t)room)) == NULL)
		return kv_fail(&t->db->env, KEVO_ENOMEM, "out of memory for "
		    "the transaction's index");
	memset(p + t->arena_room, 0, (size_t)(room - t->arena_room));
	if (h == NULL)
		kv_index_format(p, room, 0, 0, 0);
	h = (void *)p;
	atomic_store_explicit(&h->size, room, memory_order_relaxed);
	t->own.arena = p;
	t->own.arena_len = room;
	t->arena_room = room;
	return 0;
}

/* Index what was written since the last read. */
static int
index_own(struct kevo_txn *t)
{
	struct kevo_batch *b = &t->batch;
	struct kv_op op;
	int rc;

	if (b->count == 0)
		return 0;
	if (t->own.arena == NULL) {
		if ((rc = grow_arena(t, 0)) != 0)
			return rc;
		t->indexed = KV_FRAME_LEN + KV_PAYLOAD_HEAD;
	}
	t->own.log = b->buf;
	t->own.log_len = b->len;
	if ((rc = grow_arena(t, b->count - t->ops)) != 0)
		return rc;
	while (t->indexed < b->len) {
		if (kv_op_decode(b->buf, b->len, t->indexed, &op) != 0 ||
		    kv_index_insert(&t->own, ++t->ops,
		    (uint32_t)t->indexed) != 0)
			return kv_fail(&t->db->env, KEVO_ECORRUPT,
			    "the transaction's index is damaged");
		t->indexed += op.len;
	}
	return 0;
}

/* 0 found, KEVO_NOTFOUND deleted by it, KEVO_FALSE not written by it. */
static int
own_get(struct kevo_txn *t, const void *key, size_t klen,
    struct kevo_record *rec)
{
	struct kv_index_hit hit;
	struct kv_op op;
	int rc;

	if ((rc = index_own(t)) != 0)
		return rc;
	if (t->own.arena == NULL ||
	    kv_index_find(&t->own, key, klen, UINT64_MAX, &hit) != 1)
		return KEVO_FALSE;
	if (kv_op_decode(t->batch.buf, t->batch.len, hit.off, &op) != 0)
		return kv_fail(&t->db->env, KEVO_ECORRUPT,
		    "the transaction's index is damaged");
	if (op.kind == KV_OP_DELETE ||
	    (op.expires_ns != 0 && op.expires_ns <= kv_now_ns()))
		return KEVO_NOTFOUND;
	rec->key = key;
	rec->klen = klen;
	rec->value = op.val;
	rec->vlen = op.vlen;
	rec->version = 0;
	rec->expires_ns = op.expires_ns;
	return 0;
}

/*
 * An index file that this transaction needs was removed.  It cannot be built
 * under it; who comes next builds all anew.
 */
static int
index_missing(struct kevo_txn *t)
{
	atomic_store_explicit(&t->db->ctl->retired, 1, memory_order_release);
	return kv_index_missing(t->db);
}

static int
get(struct kevo_txn *t, const void *key, size_t klen, struct kevo_record *rec)
{
	int rc;

	if ((rc = kv_usable(t->db)) != 0 ||
	    (rc = kv_key_check(&t->db->env, key, klen)) != 0)
		return rc;
	if ((rc = own_get(t, key, klen, rec)) != KEVO_FALSE)
		return rc;
	rc = kv_lookup_newest(t->db, key, klen, rec);
	return rc == KV_RETRY ? index_missing(t) : rc;
}

int
kevo_txn_get(struct kevo_txn *t, const void *key, size_t klen,
    struct kevo_record *rec)
{
	uint64_t began = kv_read_begin(t->db);

	return kv_read_end(t->db, began, get(t, key, klen, rec), rec);
}

int
kevo_txn_put(struct kevo_txn *t, const void *key, size_t klen,
    const void *val, size_t vlen, uint64_t expires_ns)
{
	return kv_result(t->db, kv_batch_add(&t->batch, KV_OP_PUT, key, klen,
	    val, vlen, expires_ns));
}

int
kevo_txn_delete(struct kevo_txn *t, const void *key, size_t klen)
{
	return kv_result(t->db, kv_batch_add(&t->batch, KV_OP_DELETE, key,
	    klen, NULL, 0, 0));
}

int
kevo_txn_check(struct kevo_txn *t, const void *key, size_t klen,
    const struct kevo_cond *cond)
{
	struct kevo_record rec;
	int rc = kevo_txn_get(t, key, klen, &rec);

	if (rc < 0)
		return rc;
	if (kv_cond_holds(cond, rc == 0, &rec))
		return 0;
	kv_count(t->db->ctl, KV_STAT_COND_FALSE, 1);
	return KEVO_FALSE;
}

static int
iterate(struct kevo_txn *t, const struct kevo_range *range,
    struct kevo_iter **out)
{
	struct kv_view *v;
	int rc;

	while ((rc = kv_view_keep(t->db, &v)) == KV_RETRY) {
		if (!kv_view_moved(t->db))
			return index_missing(t);
		if ((rc = kv_view_extend(t->db)) != 0)
			return rc;
	}
	if (rc != 0)
		return rc;
	return kv_iter_new(t->db, v, t->seq, t->own.arena != NULL ? &t->own :
	    NULL, range, out);
}

int
kevo_txn_iter(struct kevo_txn *t, const struct kevo_range *range,
    struct kevo_iter **out)
{
	int rc;

	if ((rc = kv_usable(t->db)) == 0 && (rc = index_own(t)) == 0)
		rc = iterate(t, range, out);
	return kv_result(t->db, rc);
}

size_t
kevo_txn_count(const struct kevo_txn *t)
{
	return t->batch.count;
}

size_t
kevo_txn_bytes(const struct kevo_txn *t)
{
	return (size_t)t->batch.len;
}

/* Under WRITER, which is given back, as is the transaction. */
static void
end(struct kevo_txn *t, enum kv_stat outcome)
{
	kv_count(t->db->ctl, outcome, 1);
	kv_writer_unlock(t->db);
	txn_free(t);
}

/* Without writes: what was read has to be as durable as its writer asked. */
static int
leave(struct kevo_txn *t, enum kv_stat outcome)
{
	struct kevo *db = t->db;
	uint64_t seq = t->seq;

	end(t, outcome);
	return kv_settle(db, seq);
}

static int
commit(struct kevo_txn *t, enum kevo_sync sync, uint64_t *version)
{
	struct kevo *db = t->db;
	uint64_t seq;
	int rc;

	db->began_ns = kv_mono_ns();
	sync = kv_sync_mode(db, sync);
	rc = kv_append(db, &t->batch, sync, &seq);
	end(t, rc == 0 ? KV_STAT_TXN_COMMITTED : KV_STAT_TXN_ROLLED_BACK);
	if (rc != 0)
		return rc;
	if (version != NULL)
		*version = seq;
	return kv_finish_commit(db, seq, sync);
}

int
kevo_txn_commit(struct kevo_txn *t, enum kevo_sync sync, uint64_t *version)
{
	struct kevo *db = t->db;
	int rc;

	if ((rc = kv_usable(db)) != 0)
		txn_free(t);
	else if (t->batch.count != 0)
		rc = commit(t, sync, version);
	else {
		if (version != NULL)
			*version = t->seq;
		rc = leave(t, KV_STAT_TXN_COMMITTED);
	}
	return kv_result(db, rc);
}

int
kevo_txn_abort(struct kevo_txn *t)
{
	struct kevo *db = t->db;
	int rc;

	if ((rc = kv_usable(db)) != 0)
		txn_free(t);
	else
		rc = leave(t, KV_STAT_TXN_ROLLED_BACK);
	return kv_result(db, rc);
}
