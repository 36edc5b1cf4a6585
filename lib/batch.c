#include <string.h>

#include "db.h"
#include "layer.h"
#include "record.h"

#define BATCH_START	(KV_FRAME_LEN + KV_PAYLOAD_HEAD)

/* More than this may be written to a file, in place of being copied. */
#define COPY_MOST	((uint64_t)4096)

/* Who is told what is wrong with a batch. */
static struct kv_env *
env_of(const struct kevo_batch *b)
{
	return b->db != NULL ? &b->db->env : NULL;
}

int
kv_key_check(struct kv_env *env, const void *key, size_t klen)
{
	if (klen == 0 || key == NULL)
		return kv_fail(env, KEVO_EINVAL, "empty key");
	if (klen > KEVO_KEY_MAX)
		return kv_fail(env, KEVO_ELIMIT, "key of %zu bytes: the limit "
		    "is %u", klen, KEVO_KEY_MAX);
	return 0;
}

/* Room for n more bytes, and always for padding and trailer behind them. */
static int
make_room(struct kevo_batch *b, uint64_t n)
{
	uint64_t want = b->len + n + 8 + KV_TRAILER_LEN;
	int rc;

	if (want <= b->room)
		return 0;
	if (b->layer != NULL)
		return kv_layer_room(b->layer, want);
	if (b->buf == NULL)
		kv_store_init(&b->mem);
	if ((rc = kv_store_grow(env_of(b), &b->mem, NULL, want)) != 0)
		return rc;
	b->buf = b->mem.p;
	b->room = b->mem.room;
	return 0;
}

/* So many more operations, of n bytes together? */
static int
check_limits(const struct kevo_batch *b, uint64_t ops, uint64_t n)
{
	if (ops <= KEVO_COMMIT_OPS - b->count &&
	    b->len - KV_FRAME_LEN + n <= KEVO_COMMIT_MAX)
		return 0;
	return kv_fail(env_of(b), KEVO_ELIMIT, "commit too large: the limit "
	    "is %u bytes and %u operations; commit in parts",
	    KEVO_COMMIT_MAX, KEVO_COMMIT_OPS);
}

/* What was read in a transaction may lie in its batch, which has moved: where
 * it is now. */
static const void *
follow(const struct kevo_batch *b, uintptr_t was, const void *p)
{
	uint64_t at = (uintptr_t)p - was;

	return was != 0 && at < b->len ? b->buf + at : p;
}

int
kv_batch_add(struct kevo_batch *b, int kind, const void *key, size_t klen,
    const void *val, size_t vlen, uint64_t expires_ns)
{
	struct kv_env *env = env_of(b);
	uintptr_t was = (uintptr_t)b->buf;
	uint64_t n;
	int rc;

	if ((rc = kv_key_check(env, key, klen)) != 0)
		return rc;
	if (vlen > KEVO_VALUE_MAX)
		return kv_fail(env, KEVO_ELIMIT, "value of %zu bytes: the "
		    "limit is %u", vlen, KEVO_VALUE_MAX);
	if (b->len == 0)
		b->len = BATCH_START;
	n = kv_op_len(klen, vlen, expires_ns);
	if ((rc = check_limits(b, 1, n)) != 0 || (rc = make_room(b, n)) != 0)
		return rc;
	b->len += kv_op_encode(b->buf + b->len, (enum kv_op_kind)kind,
	    expires_ns, follow(b, was, key), klen, follow(b, was, val), vlen);
	b->count++;
	b->deletes += kind == KV_OP_DELETE;
	b->user_bytes += klen + vlen;
	return 0;
}

/* Behind what there is. */
static int
put_bytes(struct kevo_batch *b, const void *p, uint64_t n)
{
	int rc;

	if (b->layer != NULL && n > COPY_MOST)
		return kv_layer_put(b->layer, p, n);
	if ((rc = make_room(b, n)) == 0)
		memcpy(b->buf + b->len, p, (size_t)n);
	return rc;
}

int
kv_batch_append(struct kevo_batch *b, const struct kevo_batch *more)
{
	uint64_t n = more->len - BATCH_START;
	int rc;

	if (more->count == 0)
		return 0;
	if (b->len == 0)
		b->len = BATCH_START;
	if ((rc = check_limits(b, more->count, n)) != 0 ||
	    (rc = put_bytes(b, more->buf + BATCH_START, n)) != 0)
		return rc;
	b->len += n;
	b->count += more->count;
	b->deletes += more->deletes;
	b->user_bytes += more->user_bytes;
	return 0;
}

void
kv_batch_reset(struct kevo_batch *b)
{
	b->len = BATCH_START;
	b->count = b->deletes = 0;
	b->user_bytes = 0;
	/* One huge commit shall not hold memory for ever. */
	if (b->room > (uint64_t)16 << 20)
		kv_batch_release(b);
}

void
kv_batch_release(struct kevo_batch *b)
{
	if (b->buf != NULL)
		kv_store_release(&b->mem);
	b->buf = NULL;
	b->room = 0;
	b->len = 0;
	b->count = b->deletes = 0;
	b->user_bytes = 0;
}

int
kv_cond_check(struct kv_env *env, const struct kevo_cond *c)
{
	if ((unsigned)c->kind <= KEVO_IF_VERSION)
		return 0;
	return kv_fail(env, KEVO_EINVAL, "condition: %d is none of enum "
	    "kevo_cond_kind", (int)c->kind);
}

int
kv_cond_holds(const struct kevo_cond *c, int found,
    const struct kevo_record *rec)
{
	switch (c->kind) {
	case KEVO_IF_ANY:
		return 1;
	case KEVO_IF_ABSENT:
		return !found;
	case KEVO_IF_PRESENT:
		return found;
	case KEVO_IF_VALUE:
		return found && rec->vlen == c->vlen &&
		    (c->vlen == 0 || memcmp(rec->value, c->value,
		    c->vlen) == 0);
	case KEVO_IF_VERSION:
		/* What this transaction wrote has version 0, and is there. */
		return found ? c->version != 0 && rec->version == c->version :
		    c->version == 0;
	}
	return 0;
}
