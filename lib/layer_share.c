#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "layer_work.h"
#include "lock.h"

/*
 * A layer that several processes write into: its files, its end, its lock.
 */

/* ---- making and joining ------------------------------------------------ */

static void
enlist(struct kv_layer *l)
{
	l->next = l->db->layers;
	l->prevp = &l->db->layers;
	if (l->next != NULL)
		l->next->prevp = &l->next;
	l->db->layers = l;
}

/* Map a new file for the operations, the head with it. */
static int
map_ops(struct kv_layer *l, int fd)
{
	struct kv_env *env = &l->db->env;
	int rc;

	rc = kv_store_map(env, &l->ops, fd, kv_layer_where(l), 0,
	    KV_TXN_HEAD_LEN, KV_LAYER_SMALL_SPACE);
	if (rc == 0 && (rc = kv_layer_extend(l, fd)) == 0)
		rc = kv_store_grow(env, &l->ops, kv_layer_where(l),
		    KV_TXN_HEAD_LEN + KV_LAYER_START + KV_LAYER_TAIL);
	if (rc == 0)
		kv_layer_settle(l);
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
		if (kv_txn_own(fd) && (rc = kv_file_stat(&db->env, fd,
		    kv_layer_where(l), NULL, NULL, &links)) == 0 && links > 0) {
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
    uint64_t seq, uint64_t now_ns)
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
	    below != NULL ? below->head : NULL, seq, now_ns);
	atomic_store(&l->head->reserved, l->ops.room);
	l->batch.len = KV_LAYER_START;
	enlist(l);
	return 0;
}

int
kv_layer_open_file(struct kv_layer *l, uint64_t number, const char *ending,
    int *fd)
{
	struct kevo *db = l->db;
	char name[KV_TXN_NAME_LEN];

	kv_txn_name(name, number, ending);
	*fd = kv_openat(db->dir.fd, name, O_RDWR, 0);
	if (*fd >= 0)
		return 0;
	return errno == ENOENT ? kv_layer_ended(l) : kv_fail_errno(&db->env,
	    kv_path(&db->dir, name), "open");
}

static int
join_ops(struct kv_layer *l, int fd, uint64_t number)
{
	struct kv_env *env = &l->db->env;
	uint64_t size;
	int rc;

	rc = kv_file_stat(env, fd, kv_layer_where(l), &size, NULL, NULL);
	if (rc != 0) {
		close(fd);
		return rc;
	}
	if (size != KV_LAYER_SPACE) {
		close(fd);
		return kv_layer_damaged(l);
	}
	rc = kv_store_map(env, &l->ops, fd, kv_layer_where(l), KV_TXN_HEAD_LEN,
	    KV_TXN_HEAD_LEN, KV_LAYER_SMALL_SPACE);
	if (rc != 0)
		return rc;
	kv_layer_settle(l);
	l->head = (void *)l->ops.p;
	if (kv_txn_head_check(l->head, kv_db_control(l->db)->id, number) != 0) {
		l->head = NULL;
		return kv_layer_damaged(l);
	}
	return 0;
}

int
kv_layer_join(struct kv_layer *l, struct kevo *db, uint64_t number)
{
	int fd, rc;

	kv_layer_init(l, db, NULL, 0);
	if ((rc = kv_layer_open_file(l, number, ".txn", &fd)) != 0)
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
			return kv_layer_ended(l);
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

	if (kv_txn_end_get(l->head, &e) != 0 || reserved > KV_LAYER_SPACE ||
	    reserved < KV_TXN_HEAD_LEN ||
	    e.end + KV_LAYER_TAIL > reserved - KV_TXN_HEAD_LEN)
		return kv_layer_damaged(l);
	if ((rc = kv_layer_map_to(l, reserved - KV_TXN_HEAD_LEN)) != 0)
		return rc;
	if (reserved > l->ops.space)
		return kv_layer_no_addresses(l);
	l->ops.room = reserved;
	l->batch.len = e.end;
	l->batch.count = (uint32_t)e.count;
	kv_layer_settle(l);
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
		return kv_layers_alive(l) != 0 ? kv_layer_ended(l) : busy(l);
	if (rc != 0) {
		errno = rc;
		return kv_fail_errno(&db->env, kv_layer_where(l),
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

int
kv_layer_finish(struct kv_layer *l)
{
	uint32_t count;
	int rc;

	if ((rc = kv_layer_lock(l)) != 0)
		return rc;
	kv_layer_end(l);
	count = l->batch.count;
	if (kv_layer_recount(&l->batch, l->batch.len) != 0 ||
	    l->batch.count != count)
		rc = kv_layer_damaged(l);
	else
		rc = kv_layer_room(l, l->batch.len + KV_LAYER_TAIL);
	return rc;
}
