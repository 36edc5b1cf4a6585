#include <string.h>
#include <unistd.h>

#include "layer_work.h"

/*
 * Indexes over a layer's operations, and reading through them.
 */

/* Operations for which room in the index is made at once. */
#define INDEX_CHUNK	1024

static int
index_damaged(struct kv_layer *l)
{
	return kv_fail(&l->db->env, KEVO_ECORRUPT, "%s: the transaction's "
	    "index is damaged", l->db->path);
}

static int
format_arena(struct kv_layer *l, struct kv_tree *x, uint64_t number)
{
	int rc = kv_store_grow(&l->db->env, &x->arena, kv_layer_where(l),
	    KV_INDEX_HEAD_LEN);

	if (rc != 0)
		return rc;
	memset(x->arena.p, 0, KV_INDEX_HEAD_LEN);
	kv_index_format(x->arena.p, x->arena.room, number, 0, 0, 0);
	kv_tree_settle(x);
	return 0;
}

/* The first room.  A private one's goes where its operations are. */
static int
make_arena(struct kv_layer *l, struct kv_tree *x)
{
	int rc = 0;

	if (x->arena.p != NULL)
		return 0;
	if (l->head == NULL && l->ops.fd >= 0)
		rc = kv_layer_spill_tree(l);
	return rc != 0 ? rc : format_arena(l, x, 0);
}

/* Room for nops more operations. */
static int
grow_arena(struct kv_layer *l, struct kv_tree *x, uint64_t nops)
{
	struct kv_index_head *h;
	uint64_t need;
	int rc;

	if ((rc = make_arena(l, x)) != 0)
		return rc;
	h = (void *)x->arena.p;
	need = atomic_load_explicit(&h->end, memory_order_relaxed) +
	    kv_index_need(&x->ix, nops);
	if (need > KV_INDEX_ARENA_MAX)
		return index_damaged(l);
	if (need <= atomic_load_explicit(&h->size, memory_order_relaxed))
		return 0;
	if (x->arena.fd < 0 && l->head == NULL &&
	    (rc = kv_layer_spill_if(l, &x->arena, need)) != 0)
		return rc;
	rc = kv_store_grow(&l->db->env, &x->arena, kv_layer_where(l), need);
	if (rc != 0)
		return rc;
	kv_tree_settle(x);
	h = (void *)x->arena.p;
	atomic_store_explicit(&h->size, x->arena.room, memory_order_release);
	return 0;
}

/* Index from byte *at up to end; INDEX_CHUNK operations at most. */
static int
index_some(struct kv_layer *l, struct kv_tree *x, uint64_t *at, uint64_t end)
{
	struct kv_index_group g = { .ix = &x->ix };
	uint64_t n = 0, off = *at;
	struct kv_op op;
	int rc;

	for (; off < end && n < INDEX_CHUNK; off += op.len, n++)
		if (kv_op_decode(l->batch.buf, end, off, &op) != 0)
			return kv_layer_damaged(l);
	if ((rc = grow_arena(l, x, n)) != 0)
		return rc;
	for (; n > 0; n--) {
		if (kv_op_decode(l->batch.buf, end, *at, &op) != 0 ||
		    kv_index_add(&g, *at + 1, (uint32_t)*at) != 0)
			return index_damaged(l);
		*at += op.len;
	}
	return kv_index_flush(&g) == 0 ? 0 : index_damaged(l);
}

static int
index_to(struct kv_layer *l, struct kv_tree *x, uint64_t at, uint64_t end)
{
	int rc = 0;

	while (rc == 0 && at < end)
		rc = index_some(l, x, &at, end);
	return rc;
}

/* This handle's own, up to end, before a read. */
static int
index_own(struct kv_layer *l, uint64_t end)
{
	int rc;

	if (l->indexed >= end)
		return 0;
	l->own.ix.log_len = end;
	if ((rc = index_to(l, &l->own, l->indexed, end)) == 0)
		l->indexed = end;
	return rc;
}

/* ---- one that all share ------------------------------------------------ */

static int
map_common(struct kv_layer *l, int fd)
{
	struct kv_env *env = &l->db->env;
	const char *name = kv_layer_where(l);
	struct kv_tree *x = &l->common;
	struct kv_index_head *h;
	uint64_t size;
	int rc;

	if ((rc = kv_file_stat(env, fd, name, &size, NULL, NULL)) != 0 ||
	    size < KV_INDEX_HEAD_LEN) {
		close(fd);
		return rc != 0 ? rc : index_damaged(l);
	}
	rc = kv_store_map(env, &x->arena, fd, name, size, size,
	    size + kv_tree_space());
	if (rc != 0)
		return rc;
	h = (void *)x->arena.p;
	/* It may have grown since we looked. */
	if (kv_index_check(h, size) != 0 && (rc = kv_file_stat(env, fd,
	    name, &size, NULL, NULL)) != 0)
		return rc;
	if (kv_index_check(h, size) != 0 || h->generation != l->head->number)
		return index_damaged(l);
	kv_tree_settle(x);
	return 0;
}

/* Under the write lock, as long as nothing is indexed.  Who began with it and
 * was killed has left it to us. */
static int
create_common(struct kv_layer *l)
{
	uint64_t number = l->head->number;
	struct kevo *db = l->db;
	struct kv_tree *x = &l->common;
	int fd, rc;

	kv_txn_remove_index(&db->dir, number);
	rc = kv_txn_create(&db->env, &db->dir, kv_db_control(db)->mode,
	    number, ".idx", &fd);
	if (rc == KEVO_FALSE)
		return index_damaged(l);
	if (rc != 0)
		return rc;
	rc = kv_store_map(&db->env, &x->arena, fd, kv_layer_where(l), 0, 0,
	    kv_tree_space());
	return rc != 0 ? rc : format_arena(l, x, number);
}

/* Have it mapped; indexed: so far it goes.  Whoever finds nothing in it has
 * the write lock. */
static int
open_common(struct kv_layer *l, uint64_t indexed)
{
	int fd, rc;

	if (l->common.arena.p != NULL)
		return 0;
	if ((rc = kv_layer_map_all(l, indexed)) != 0)
		return rc;
	if (indexed == KV_LAYER_START)
		rc = create_common(l);
	else if ((rc = kv_layer_open_file(l, l->head->number, ".idx",
	    &fd)) == 0)
		rc = map_common(l, fd);
	if (rc != 0)
		kv_store_release(&l->common.arena);
	return rc;
}

/* Under the write lock: what others have made of it. */
static int
refresh_common(struct kv_layer *l)
{
	struct kv_store *arena = &l->common.arena;
	struct kv_index_head *h = (void *)arena->p;
	uint64_t size = atomic_load_explicit(&h->size, memory_order_relaxed);

	if (size > arena->space)
		return kv_layer_no_addresses(l);
	arena->room = size;
	return 0;
}

int
kv_layer_index(struct kv_layer *l)
{
	uint64_t at = atomic_load_explicit(&l->head->indexed,
	    memory_order_relaxed);
	int rc;

	if (l->batch.len <= KV_LAYER_SMALL || at == l->batch.len)
		return 0;
	if (at < KV_LAYER_START || at > l->batch.len)
		return kv_layer_damaged(l);
	if ((rc = open_common(l, at)) == 0 && (rc = refresh_common(l)) == 0 &&
	    (rc = index_to(l, &l->common, at, l->batch.len)) == 0)
		atomic_store_explicit(&l->head->indexed, l->batch.len,
		    memory_order_release);
	return rc;
}

/* ---- reading ----------------------------------------------------------- */

static int
lock_and_index(struct kv_layer *l)
{
	int had = l->locked, rc;

	if ((rc = kv_layer_lock(l)) == 0)
		rc = kv_layer_index(l);
	if (!had)
		kv_layer_unlock(l);
	return rc;
}

static int
look_shared(struct kv_layer *l, uint64_t *at)
{
	struct kv_txn_end e;
	int rc;

	if (kv_txn_end_get(l->head, &e) != 0)
		return kv_layer_damaged(l);
	*at = e.end;
	if (e.end <= KV_LAYER_SMALL)
		return index_own(l, e.end);
	if (atomic_load_explicit(&l->head->indexed, memory_order_acquire) <
	    e.end && (rc = lock_and_index(l)) != 0)
		return rc;
	*at = atomic_load_explicit(&l->head->indexed, memory_order_acquire);
	if (*at < e.end || *at > KV_LAYER_SPACE - KV_TXN_HEAD_LEN)
		return kv_layer_damaged(l);
	return open_common(l, *at);
}

int
kv_layers_look(struct kv_layer *top, struct kv_reach *r)
{
	int rc = 0;

	r->n = 0;
	for (struct kv_layer *l = top; rc == 0 && l != NULL; l = l->below) {
		uint64_t *at = &r->at[r->n++];

		if (l->head != NULL)
			rc = look_shared(l, at);
		else if ((rc = index_own(l, l->batch.len)) == 0)
			*at = l->indexed;
	}
	return rc;
}

const struct kv_index *
kv_layer_tree(const struct kv_layer *l, uint64_t at)
{
	const struct kv_tree *x = at <= l->indexed ? &l->own : &l->common;

	return x->arena.p != NULL ? &x->ix : NULL;
}

int
kv_layers_get(struct kv_layer *top, const struct kv_reach *r, const void *key,
    size_t klen, struct kevo_record *rec)
{
	const struct kv_index *ix;
	struct kv_layer *l = top;
	struct kv_index_hit hit;
	struct kv_op op;
	int rc;

	for (uint32_t i = 0; i < r->n && l != NULL; i++, l = l->below) {
		if ((ix = kv_layer_tree(l, r->at[i])) == NULL)
			continue;
		rc = kv_index_find(ix, key, klen, r->at[i], &hit);
		if (rc == 0)
			continue;
		if (rc < 0 || kv_op_decode(ix->log, ix->log_len, hit.off,
		    &op) != 0)
			return index_damaged(l);
		return kv_record_of(key, klen, 0, &op, rec);
	}
	return KEVO_FALSE;
}
