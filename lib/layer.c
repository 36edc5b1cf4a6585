#include <string.h>
#include <unistd.h>

#include "layer_work.h"

/*
 * A layer's memory: its operations and its index as they grow, and move to
 * files.
 */

int
kv_layer_damaged(struct kv_layer *l)
{
	return kv_fail(&l->db->env, KEVO_ECORRUPT, "%s: the transaction's file"
	    " is damaged", l->db->path);
}

int
kv_layer_no_addresses(struct kv_layer *l)
{
	return kv_fail(&l->db->env, KEVO_ENOMEM, "%s: no addresses left for "
	    "the transaction", l->db->path);
}

int
kv_layer_ended(struct kv_layer *l)
{
	return kv_fail(&l->db->env, KEVO_EENDED, "%s: the transaction has "
	    "ended", l->db->path);
}

const char *
kv_layer_where(const struct kv_layer *l)
{
	return kv_path(&l->db->dir, "txn");
}

void
kv_layer_settle(struct kv_layer *l)
{
	l->batch.buf = l->ops.p + kv_layer_skip(l);
	l->batch.room = l->ops.room - kv_layer_skip(l);
	l->own.ix.log = l->common.ix.log = l->batch.buf;
	l->common.ix.log_len = l->ops.space - kv_layer_skip(l);
}

/* ---- making one -------------------------------------------------------- */

void
kv_layer_init(struct kv_layer *l, struct kevo *db, struct kv_layer *below,
    uint64_t limit)
{
	memset(l, 0, sizeof(*l));
	l->db = db;
	l->below = below;
	l->limit = limit;
	l->batch.db = db;
	l->batch.layer = l;
	l->indexed = KV_LAYER_START;
	kv_store_init(&l->ops);
	kv_store_init(&l->own.arena);
	kv_store_init(&l->common.arena);
}

static void
delist(struct kv_layer *l)
{
	if (l->prevp == NULL)
		return;
	*l->prevp = l->next;
	if (l->next != NULL)
		l->next->prevp = l->prevp;
	l->prevp = NULL;
}

void
kv_layer_release(struct kv_layer *l)
{
	struct kevo *db = l->db;

	/* In a child of fork() they are the parent's. */
	if (l->head != NULL && l->owner && !kv_forked(db))
		kv_txn_remove(&db->dir, l->head->number);
	delist(l);
	kv_store_release(&l->ops);
	kv_store_release(&l->own.arena);
	kv_store_release(&l->common.arena);
	kv_layer_init(l, db, NULL, 0);
}

int
kv_layer_extend(struct kv_layer *l, int fd)
{
	return ftruncate(fd, (off_t)KV_LAYER_SPACE) == 0 ? 0 : kv_fail_errno(
	    &l->db->env, kv_layer_where(l), "extend a file of");
}

int
kv_layer_map_all(struct kv_layer *l, uint64_t need)
{
	int rc;

	if (l->head == NULL || l->ops.first != NULL)
		return 0;
	rc = kv_store_remap(&l->db->env, &l->ops, kv_layer_where(l),
	    kv_layer_skip(l) + need, KV_LAYER_SPACE);
	if (rc == 0)
		kv_layer_settle(l);
	return rc;
}

int
kv_layer_map_to(struct kv_layer *l, uint64_t need)
{
	return kv_layer_skip(l) + need <= l->ops.space ? 0 :
	    kv_layer_map_all(l, need);
}

/* ---- moving to a file -------------------------------------------------- */

static int
unnamed(struct kv_layer *l, int *fd)
{
	return kv_txn_create_unnamed(&l->db->env, &l->db->dir,
	    kv_db_control(l->db)->mode, fd);
}

static int
spill_ops(struct kv_layer *l)
{
	int fd = -1, rc;

	if ((rc = unnamed(l, &fd)) != 0)
		return rc;
	if ((rc = kv_layer_extend(l, fd)) != 0) {
		close(fd);
		return rc;
	}
	rc = kv_store_move(&l->db->env, &l->ops, fd, kv_layer_where(l),
	    KV_TXN_HEAD_LEN, KV_LAYER_SPACE);
	if (rc == 0)
		kv_layer_settle(l);
	return rc;
}

int
kv_layer_spill_tree(struct kv_layer *l)
{
	int fd = -1, rc;

	if ((rc = unnamed(l, &fd)) != 0)
		return rc;
	rc = kv_store_move(&l->db->env, &l->own.arena, fd, kv_layer_where(l),
	    0, kv_tree_space());
	if (rc == 0)
		kv_tree_settle(&l->own);
	return rc;
}

int
kv_layer_spill_if(struct kv_layer *l, const struct kv_store *s, uint64_t want)
{
	int rc = 0;

	if (l->ops.room + l->own.arena.room + want - s->room / 2 <= l->limit)
		return 0;
	if (l->ops.fd < 0)
		rc = spill_ops(l);
	if (rc == 0 && l->own.arena.fd < 0 && l->own.arena.p != NULL)
		rc = kv_layer_spill_tree(l);
	return rc;
}

static void
settle_room(struct kv_layer *l)
{
	kv_layer_settle(l);
	if (l->head != NULL)
		atomic_store_explicit(&l->head->reserved, l->ops.room,
		    memory_order_relaxed);
}

int
kv_layer_room(struct kv_layer *l, uint64_t want)
{
	int rc = 0;

	if (want <= l->batch.room)
		return 0;
	if (l->ops.fd < 0)
		rc = kv_layer_spill_if(l, &l->ops, want);
	else
		rc = kv_layer_map_to(l, want);
	if (rc == 0)
		rc = kv_store_grow(&l->db->env, &l->ops, kv_layer_where(l),
		    kv_layer_skip(l) + want);
	if (rc == 0)
		settle_room(l);
	return rc;
}

int
kv_layer_put(struct kv_layer *l, const void *p, uint64_t n)
{
	uint64_t end = l->batch.len + n + KV_LAYER_TAIL;
	int rc;

	if (end > l->batch.room && l->ops.fd < 0 &&
	    (rc = kv_layer_spill_if(l, &l->ops, end)) != 0)
		return rc;
	if (end > l->batch.room && l->ops.fd >= 0) {
		if ((rc = kv_layer_map_to(l, end)) == 0)
			rc = kv_store_write(&l->db->env, &l->ops,
			    kv_layer_where(l), kv_layer_skip(l) +
			    l->batch.len, p, n, KV_LAYER_TAIL);
		if (rc == 0)
			settle_room(l);
		return rc;
	}
	if ((rc = kv_layer_room(l, end)) == 0)
		memcpy(l->batch.buf + l->batch.len, p, (size_t)n);
	return rc;
}

/* The layer's batch becomes the other one, which has nothing any more. */
static void
take_over(struct kv_layer *l, struct kevo_batch *b)
{
	kv_store_release(&l->ops);
	l->ops = b->mem;
	b->buf = NULL;
	kv_layer_settle(l);
	l->batch.len = b->len;
	l->batch.count = b->count;
	l->batch.deletes = b->deletes;
	l->batch.user_bytes = b->user_bytes;
	kv_batch_release(b);
}

int
kv_layer_add(struct kv_layer *l, struct kevo_batch *b)
{
	int rc;

	if (l->batch.count == 0 && l->ops.fd < 0 && b->room <= l->limit) {
		take_over(l, b);
		return 0;
	}
	if ((rc = kv_batch_append(&l->batch, b)) == 0)
		kv_batch_reset(b);
	return rc;
}

int
kv_layer_recount(struct kevo_batch *b, uint64_t len)
{
	uint64_t off = KV_LAYER_START;
	struct kv_op op;

	b->count = b->deletes = 0;
	b->user_bytes = 0;
	for (; off < len; off += op.len) {
		if (kv_op_decode(b->buf, len, off, &op) != 0)
			return -1;
		b->count++;
		b->deletes += op.kind == KV_OP_DELETE;
		b->user_bytes += op.klen + op.vlen;
	}
	return 0;
}

/* ---- going back -------------------------------------------------------- */

/* A batch has no bytes at all before its first operation. */
uint64_t
kv_layer_mark(const struct kv_layer *l)
{
	return l->batch.len > KV_LAYER_START ? l->batch.len : KV_LAYER_START;
}

int
kv_layer_cut(struct kv_layer *l, uint64_t len)
{
	struct kevo_batch was = l->batch;

	if (len == was.len || (len == KV_LAYER_START && was.len == 0))
		return 0;
	if (len < KV_LAYER_START || len > was.len ||
	    kv_layer_recount(&l->batch, len) != 0) {
		l->batch = was;
		return kv_fail(&l->db->env, KEVO_EINVAL, "a savepoint that the"
		    " transaction does not have");
	}
	l->batch.len = len;
	if (l->indexed <= len)
		return 0;
	/* What is in the index and no longer true cannot be taken out. */
	kv_store_release(&l->own.arena);
	memset(&l->own.ix, 0, sizeof(l->own.ix));
	kv_layer_settle(l);
	l->indexed = KV_LAYER_START;
	return 0;
}
