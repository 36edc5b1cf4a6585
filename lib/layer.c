#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "layer.h"
#include "lock.h"
#include "record.h"

#define BATCH_START	((uint64_t)KV_FRAME_LEN + KV_PAYLOAD_HEAD)

/* Padding and trailer that a commit puts behind the operations. */
#define BATCH_END	((uint64_t)8 + KV_TRAILER_LEN)

/* A whole transaction, with what lies before and behind. */
#define OPS_SPACE	(KV_TXN_HEAD_LEN + BATCH_START + KEVO_COMMIT_MAX + \
    ((uint64_t)64 << 10))

/* Operations for which room in the index is made at once. */
#define INDEX_CHUNK	1024

/* Up to here a shared one has no index in a file; and as much of its file, the
 * head with it, is mapped at first. */
#define SMALL		((uint64_t)4 << 10)
#define SMALL_SPACE	((uint64_t)64 << 10)

static const char files[] = "txn";

static int
damaged(struct kv_layer *l)
{
	return kv_fail(&l->db->env, KEVO_ECORRUPT, "%s: the transaction's file"
	    " is damaged", l->db->path);
}

static int
index_damaged(struct kv_layer *l)
{
	return kv_fail(&l->db->env, KEVO_ECORRUPT, "%s: the transaction's "
	    "index is damaged", l->db->path);
}

static int
no_addresses(struct kv_layer *l)
{
	return kv_fail(&l->db->env, KEVO_ENOMEM, "%s: no addresses left for "
	    "the transaction", l->db->path);
}

static int
ended(struct kv_layer *l)
{
	return kv_fail(&l->db->env, KEVO_EENDED, "%s: the transaction has "
	    "ended", l->db->path);
}

/* Where its files are, for a message. */
static const char *
where(const struct kv_layer *l)
{
	return kv_path(&l->db->dir, files);
}

/* Bytes of the file before the batch. */
static uint64_t
skip(const struct kv_layer *l)
{
	return l->ops.fd >= 0 ? KV_TXN_HEAD_LEN : 0;
}

/* The batch lies where the store is. */
static void
settle_ops(struct kv_layer *l)
{
	l->batch.buf = l->ops.p + skip(l);
	l->batch.room = l->ops.room - skip(l);
	l->own.ix.log = l->common.ix.log = l->batch.buf;
	l->common.ix.log_len = l->ops.space - skip(l);
}

static void
settle_arena(struct kv_tree *x)
{
	x->ix.arena = x->arena.p;
	x->ix.arena_len = x->arena.space != 0 ? x->arena.space :
	    x->arena.room;
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
	l->indexed = BATCH_START;
	kv_store_init(&l->ops);
	kv_store_init(&l->own.arena);
	kv_store_init(&l->common.arena);
}

static void
enlist(struct kv_layer *l)
{
	l->next = l->db->layers;
	l->prevp = &l->db->layers;
	if (l->next != NULL)
		l->next->prevp = &l->next;
	l->db->layers = l;
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

/* The file of the operations has its whole length at once: what is not
 * reserved yet reads as zeros. */
static int
extend(struct kv_layer *l, int fd)
{
	return ftruncate(fd, (off_t)OPS_SPACE) == 0 ? 0 : kv_fail_errno(
	    &l->db->env, where(l), "extend a file of");
}

static uint64_t
arena_space(void)
{
	return kv_index_space(KEVO_COMMIT_MAX);
}

/* Map a new file for the operations, the head with it. */
static int
map_ops(struct kv_layer *l, int fd)
{
	struct kv_env *env = &l->db->env;
	int rc;

	rc = kv_store_map(env, &l->ops, fd, where(l), 0, KV_TXN_HEAD_LEN,
	    SMALL_SPACE);
	if (rc == 0 && (rc = extend(l, fd)) == 0)
		rc = kv_store_grow(env, &l->ops, where(l), KV_TXN_HEAD_LEN +
		    BATCH_START + BATCH_END);
	if (rc == 0)
		settle_ops(l);
	return rc;
}

/* A shared one that is large: all that it can become, so that whatever the
 * index leads to is mapped, from now on. */
static int
map_all(struct kv_layer *l, uint64_t need)
{
	int rc;

	if (l->head == NULL || l->ops.first != NULL)
		return 0;
	rc = kv_store_remap(&l->db->env, &l->ops, where(l), skip(l) + need,
	    OPS_SPACE);
	if (rc == 0)
		settle_ops(l);
	return rc;
}

/* So many bytes of its batch. */
static int
map_to(struct kv_layer *l, uint64_t need)
{
	return skip(l) + need <= l->ops.space ? 0 : map_all(l, need);
}

static int
format_arena(struct kv_layer *l, struct kv_tree *x, uint64_t number)
{
	int rc = kv_store_grow(&l->db->env, &x->arena, where(l),
	    KV_INDEX_HEAD_LEN);

	if (rc != 0)
		return rc;
	memset(x->arena.p, 0, KV_INDEX_HEAD_LEN);
	kv_index_format(x->arena.p, x->arena.room, number, 0, 0);
	settle_arena(x);
	return 0;
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
	if ((rc = extend(l, fd)) != 0) {
		close(fd);
		return rc;
	}
	rc = kv_store_move(&l->db->env, &l->ops, fd, where(l), KV_TXN_HEAD_LEN,
	    OPS_SPACE);
	if (rc == 0)
		settle_ops(l);
	return rc;
}

static int
spill_arena(struct kv_layer *l)
{
	int fd = -1, rc;

	if ((rc = unnamed(l, &fd)) != 0)
		return rc;
	rc = kv_store_move(&l->db->env, &l->own.arena, fd, where(l), 0,
	    arena_space());
	if (rc == 0)
		settle_arena(&l->own);
	return rc;
}

/* Would a store in memory, when it grows to want, take more than it may?  To
 * a file with both. */
static int
spill_if(struct kv_layer *l, const struct kv_store *s, uint64_t want)
{
	int rc = 0;

	if (l->ops.room + l->own.arena.room + want - s->room / 2 <= l->limit)
		return 0;
	if (l->ops.fd < 0)
		rc = spill_ops(l);
	if (rc == 0 && l->own.arena.fd < 0 && l->own.arena.p != NULL)
		rc = spill_arena(l);
	return rc;
}

static void
settle_room(struct kv_layer *l)
{
	settle_ops(l);
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
		rc = spill_if(l, &l->ops, want);
	else
		rc = map_to(l, want);
	if (rc == 0)
		rc = kv_store_grow(&l->db->env, &l->ops, where(l), skip(l) +
		    want);
	if (rc == 0)
		settle_room(l);
	return rc;
}

int
kv_layer_put(struct kv_layer *l, const void *p, uint64_t n)
{
	uint64_t end = l->batch.len + n + BATCH_END;
	int rc;

	if (end > l->batch.room && l->ops.fd < 0 &&
	    (rc = spill_if(l, &l->ops, end)) != 0)
		return rc;
	if (end > l->batch.room && l->ops.fd >= 0) {
		if ((rc = map_to(l, end)) == 0)
			rc = kv_store_write(&l->db->env, &l->ops, where(l),
			    skip(l) + l->batch.len, p, n, BATCH_END);
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
	settle_ops(l);
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

/* ---- the index --------------------------------------------------------- */

/* The first room.  A private one's goes where its operations are. */
static int
make_arena(struct kv_layer *l, struct kv_tree *x)
{
	int rc = 0;

	if (x->arena.p != NULL)
		return 0;
	if (l->head == NULL && l->ops.fd >= 0)
		rc = spill_arena(l);
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
	    (rc = spill_if(l, &x->arena, need)) != 0)
		return rc;
	if ((rc = kv_store_grow(&l->db->env, &x->arena, where(l), need)) != 0)
		return rc;
	settle_arena(x);
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
			return damaged(l);
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

/* ---- shared ------------------------------------------------------------ */

static int
open_file(struct kv_layer *l, uint64_t number, const char *ending, int *fd)
{
	struct kevo *db = l->db;
	char name[KV_TXN_NAME_LEN];

	kv_txn_name(name, number, ending);
	*fd = kv_openat(db->dir.fd, name, O_RDWR, 0);
	if (*fd >= 0)
		return 0;
	return errno == ENOENT ? ended(l) : kv_fail_errno(&db->env,
	    kv_path(&db->dir, name), "open");
}

/* The index that all share. */
static int
map_common(struct kv_layer *l, int fd)
{
	struct kv_env *env = &l->db->env;
	struct kv_tree *x = &l->common;
	struct kv_index_head *h;
	uint64_t size;
	int rc;

	if ((rc = kv_file_stat(env, fd, where(l), &size, NULL, NULL)) != 0 ||
	    size < KV_INDEX_HEAD_LEN) {
		close(fd);
		return rc != 0 ? rc : index_damaged(l);
	}
	rc = kv_store_map(env, &x->arena, fd, where(l), size, size,
	    size + arena_space());
	if (rc != 0)
		return rc;
	h = (void *)x->arena.p;
	/* It may have grown since we looked. */
	if (kv_index_check(h, size) != 0 && (rc = kv_file_stat(env, fd,
	    where(l), &size, NULL, NULL)) != 0)
		return rc;
	if (kv_index_check(h, size) != 0 || h->generation != l->head->number)
		return index_damaged(l);
	settle_arena(x);
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
	rc = kv_store_map(&db->env, &x->arena, fd, where(l), 0, 0,
	    arena_space());
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
	if ((rc = map_all(l, indexed)) != 0)
		return rc;
	if (indexed == BATCH_START)
		rc = create_common(l);
	else if ((rc = open_file(l, l->head->number, ".idx", &fd)) == 0)
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
		return no_addresses(l);
	arena->room = size;
	return 0;
}

int
kv_layer_index(struct kv_layer *l)
{
	uint64_t at = atomic_load_explicit(&l->head->indexed,
	    memory_order_relaxed);
	int rc;

	if (l->batch.len <= SMALL || at == l->batch.len)
		return 0;
	if (at < BATCH_START || at > l->batch.len)
		return damaged(l);
	if ((rc = open_common(l, at)) == 0 && (rc = refresh_common(l)) == 0 &&
	    (rc = index_to(l, &l->common, at, l->batch.len)) == 0)
		atomic_store_explicit(&l->head->indexed, l->batch.len,
		    memory_order_release);
	return rc;
}

/* A file of a new number that is locked and has kept its name. */
static int
create_owned(struct kv_layer *l, uint64_t *number, int *out)
{
	struct kevo *db = l->db;
	uint32_t links;
	int fd, rc;

	for (;;) {
		if (kv_random(number, sizeof(*number)) != 0)
			return kv_fail_errno(&db->env, "random numbers",
			    "get");
		*number |= 1;
		rc = kv_txn_create(&db->env, &db->dir, kv_db_control(db)->mode,
		    *number, ".txn", &fd);
		if (rc == KEVO_FALSE)
			continue;
		if (rc != 0)
			return rc;
		links = 0;
		if (kv_txn_own(fd) && (rc = kv_file_stat(&db->env, fd, where(l),
		    NULL, NULL, &links)) == 0 && links > 0) {
			*out = fd;
			return 0;
		}
		close(fd);
		if (rc != 0)
			return rc;
	}
}

int
kv_layer_share(struct kv_layer *l, struct kevo *db, struct kv_layer *below,
    uint64_t seq)
{
	uint64_t number;
	int fd = -1, rc;

	kv_layer_init(l, db, below, 0);
	if (below != NULL && below->head->depth + 1 >= KV_TXN_DEPTH)
		return kv_fail(&db->env, KEVO_ELIMIT, "%s: %d transactions "
		    "within each other are the limit", db->path,
		    KV_TXN_DEPTH);
	kv_txn_sweep(&db->dir);
	if ((rc = create_owned(l, &number, &fd)) != 0)
		return rc;
	if ((rc = map_ops(l, fd)) != 0) {
		kv_txn_remove(&db->dir, number);
		kv_layer_release(l);
		return rc;
	}
	l->head = (void *)l->ops.p;
	l->owner = 1;
	kv_txn_head_init(l->head, kv_db_control(db)->id, number,
	    below != NULL ? below->head : NULL, seq);
	atomic_store(&l->head->reserved, l->ops.room);
	l->batch.len = BATCH_START;
	enlist(l);
	return 0;
}

static int
join_ops(struct kv_layer *l, int fd, uint64_t number)
{
	struct kv_env *env = &l->db->env;
	uint64_t size;
	int rc;

	if ((rc = kv_file_stat(env, fd, where(l), &size, NULL, NULL)) != 0) {
		close(fd);
		return rc;
	}
	if (size != OPS_SPACE) {
		close(fd);
		return damaged(l);
	}
	rc = kv_store_map(env, &l->ops, fd, where(l), KV_TXN_HEAD_LEN,
	    KV_TXN_HEAD_LEN, SMALL_SPACE);
	if (rc != 0)
		return rc;
	settle_ops(l);
	l->head = (void *)l->ops.p;
	if (kv_txn_head_check(l->head, kv_db_control(l->db)->id, number) != 0) {
		l->head = NULL;
		return damaged(l);
	}
	return 0;
}

int
kv_layer_join(struct kv_layer *l, struct kevo *db, uint64_t number)
{
	int fd, rc;

	kv_layer_init(l, db, NULL, 0);
	if ((rc = open_file(l, number, ".txn", &fd)) != 0)
		return rc;
	if ((rc = join_ops(l, fd, number)) != 0) {
		kv_layer_release(l);
		return rc;
	}
	enlist(l);
	return 0;
}

/* ---- alive? ------------------------------------------------------------ */

/* When a process dies, its locks go one after the other. */
static int
below_moved(const struct kv_layer *l)
{
	struct kv_txn_end e;

	return l->below != NULL && (kv_txn_end_get(l->below->head, &e) != 0 ||
	    e.end != l->head->below);
}

/*
 * A layer's owner has the write lock of the one below, and the owner of the
 * lowest has WRITER, for as long as it lives.  So if all of them live now,
 * nothing below has changed up to now.
 */
int
kv_layers_alive(struct kv_layer *l)
{
	for (; l != NULL; l = l->below) {
		if (l->head == NULL || l->owner)
			continue;
		if (atomic_load_explicit(&l->head->state,
		    memory_order_acquire) != KV_TXN_OPEN ||
		    !kv_txn_owned(l->ops.fd) || below_moved(l))
			return ended(l);
	}
	return 0;
}

void
kv_layer_end(struct kv_layer *l)
{
	atomic_store_explicit(&l->head->state, KV_TXN_ENDED,
	    memory_order_release);
}

/* ---- writing ----------------------------------------------------------- */

/* Under the write lock: what others have written. */
static int
refresh(struct kv_layer *l)
{
	uint64_t reserved = atomic_load_explicit(&l->head->reserved,
	    memory_order_relaxed);
	struct kv_txn_end e;
	int rc;

	if (kv_txn_end_get(l->head, &e) != 0 || reserved > OPS_SPACE ||
	    reserved < KV_TXN_HEAD_LEN ||
	    e.end + BATCH_END > reserved - KV_TXN_HEAD_LEN)
		return damaged(l);
	if ((rc = map_to(l, reserved - KV_TXN_HEAD_LEN)) != 0)
		return rc;
	if (reserved > l->ops.space)
		return no_addresses(l);
	l->ops.room = reserved;
	l->batch.len = e.end;
	l->batch.count = (uint32_t)e.count;
	settle_ops(l);
	return 0;
}

static int
busy(struct kv_layer *l)
{
	char who[96];

	kv_holder_describe(&l->head->holder, who, sizeof(who));
	return kv_fail(&l->db->env, KEVO_EBUSY, "%s: busy: the transaction is "
	    "being written to by %s", l->db->path, who);
}

int
kv_layer_lock(struct kv_layer *l)
{
	struct kevo *db = l->db;
	int rc;

	if (l->locked)
		return 0;
	rc = kv_txn_write_lock(l->ops.fd, kv_deadline(db));
	if (rc == KV_LOCK_TIMEOUT)
		return kv_layers_alive(l) != 0 ? ended(l) : busy(l);
	if (rc != 0) {
		errno = rc;
		return kv_fail_errno(&db->env, where(l),
		    "lock a file of");
	}
	l->locked = 1;
	kv_holder_set(&l->head->holder, db->pid, db->program,
	    (uint64_t)kv_mono_ms());
	if ((rc = kv_layers_alive(l)) != 0 || (rc = refresh(l)) != 0)
		kv_layer_unlock(l);
	return rc;
}

void
kv_layer_unlock(struct kv_layer *l)
{
	if (!l->locked)
		return;
	l->locked = 0;
	kv_txn_write_unlock(l->ops.fd);
}

/* The operations first, behind the end, where they belong to nobody; then the
 * end. */
int
kv_layer_append(struct kv_layer *l, const struct kevo_batch *b)
{
	struct kv_txn_end e;
	int rc;

	if ((rc = kv_batch_append(&l->batch, b)) != 0)
		return rc;
	e.end = l->batch.len;
	e.count = l->batch.count;
	kv_txn_end_set(l->head, &e);
	return 0;
}

/* Count what there is up to byte len.  -1: no operation ends at len. */
static int
recount(struct kevo_batch *b, uint64_t len)
{
	uint64_t off = BATCH_START;
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

int
kv_layer_finish(struct kv_layer *l)
{
	uint32_t count;
	int rc;

	if ((rc = kv_layer_lock(l)) != 0)
		return rc;
	kv_layer_end(l);
	count = l->batch.count;
	if (recount(&l->batch, l->batch.len) != 0 || l->batch.count != count)
		rc = damaged(l);
	else
		rc = kv_layer_room(l, l->batch.len + BATCH_END);
	return rc;
}

/* ---- going back -------------------------------------------------------- */

int
kv_layer_cut(struct kv_layer *l, uint64_t len)
{
	struct kevo_batch was = l->batch;

	if (len < BATCH_START)
		len = BATCH_START;
	if (len == was.len || (len == BATCH_START && was.len == 0))
		return 0;
	if (len > was.len || recount(&l->batch, len) != 0) {
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
	settle_ops(l);
	l->indexed = BATCH_START;
	return 0;
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
		return damaged(l);
	*at = e.end;
	if (e.end <= SMALL)
		return index_own(l, e.end);
	if (atomic_load_explicit(&l->head->indexed, memory_order_acquire) <
	    e.end && (rc = lock_and_index(l)) != 0)
		return rc;
	*at = atomic_load_explicit(&l->head->indexed, memory_order_acquire);
	if (*at < e.end || *at > OPS_SPACE - KV_TXN_HEAD_LEN)
		return damaged(l);
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
