#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "codec.h"
#include "env.h"
#include "file.h"
#include "kevo.h"
#include "lock.h"
#include "table_writer.h"

#define OUT_ROOM	((size_t)1 << 18)
#define WRITE_OUT	((uint64_t)1 << 22)	/* go to disk at once */

/* ---- memory ------------------------------------------------------------ */

int
kv_writer_no_memory(struct kv_table_writer *w)
{
	return w->rc = kv_fail(w->env, KEVO_ENOMEM, "%s: out of memory",
	    kv_path(w->dir, w->name));
}

/* Room for len more bytes. */
int
kv_writer_grow(struct kv_table_writer *w, struct kv_bytes *b, size_t len)
{
	size_t room = b->len + len;
	uint8_t *p;

	if (room <= b->room)
		return 0;
	if (room < 2 * b->room)
		room = 2 * b->room;
	if ((p = realloc(b->p, room)) == NULL)
		return kv_writer_no_memory(w);
	b->p = p;
	b->room = room;
	return 0;
}

int
kv_writer_append(struct kv_table_writer *w, struct kv_bytes *b,
    const void *p, size_t len)
{
	if (kv_writer_grow(w, b, len) != 0)
		return w->rc;
	if (len > 0)
		memcpy(b->p + b->len, p, len);
	b->len += len;
	return 0;
}

int
kv_writer_set(struct kv_table_writer *w, struct kv_bytes *b, const void *p,
    size_t len)
{
	b->len = 0;
	return kv_writer_append(w, b, p, len);
}

/* An array of n elements with room for one more: p, or in its place a larger
 * one.  NULL: w->rc is set, p stands. */
void *
kv_writer_grow_array(struct kv_table_writer *w, void *p, size_t *room, size_t n,
    size_t size)
{
	size_t more = *room < 1024 ? 1024 : *room * 2;
	void *larger;

	if (n < *room)
		return p;
	if ((larger = realloc(p, more * size)) == NULL)
		kv_writer_no_memory(w);
	else
		*room = more;
	return larger;
}

/* ---- output ------------------------------------------------------------ */

/* What is written goes to disk while more is collected, so that the sync at
 * the end finds little to do. */
static int
write_on(struct kv_table_writer *w, const void *p, size_t len)
{
	w->rc = kv_pwrite(w->env, w->fd, kv_path(w->dir, w->name), p, len,
	    w->out_off);
	if (w->rc != 0)
		return w->rc;
	w->out_off += len;
	if (w->out_off - w->out_sent >= WRITE_OUT) {
		kv_write_out(w->fd, w->out_sent, w->out_off - w->out_sent);
		w->out_sent = w->out_off;
	}
	return 0;
}

static int
flush(struct kv_table_writer *w)
{
	if (w->out_len > 0 && write_on(w, w->out, w->out_len) != 0)
		return w->rc;
	w->out_len = 0;
	return 0;
}

int
kv_writer_output(struct kv_table_writer *w, const void *p, size_t len)
{
	if (len > OUT_ROOM - w->out_len && flush(w) != 0)
		return w->rc;
	if (len > OUT_ROOM)
		return write_on(w, p, len);
	if (len > 0) {
		memcpy(w->out + w->out_len, p, len);
		w->out_len += len;
	}
	return 0;
}

uint64_t
kv_writer_position(const struct kv_table_writer *w)
{
	return w->out_off + w->out_len;
}

/* Zeros up to a multiple of align. */
int
kv_writer_pad(struct kv_table_writer *w, uint64_t align)
{
	static const uint8_t zeros[KV_TABLE_ALIGN];

	return kv_writer_output(w, zeros,
	    (size_t)(-kv_writer_position(w) & (align - 1)));
}

/* ---- creating ---------------------------------------------------------- */

/* The name is somebody else's by now: it is not ours to remove. */
static int
lose_name(struct kv_table_writer *w)
{
	close(w->fd);
	w->fd = -1;
	return KEVO_FALSE;
}

/*
 * The reserve gets the name of the table, and loses its own, for good: it must
 * never be taken a second time.  It is locked before.  1; 0: there is none
 * that could be taken; KEVO_FALSE: the name is taken; or an error.
 */
static int
take_reserve(struct kv_table_writer *w)
{
	const char *from = w->spec.reserve;
	uint32_t links;
	int fd, rc = 0;

	if (from == NULL || (fd = kv_openat(w->dir->fd, from, O_RDWR, 0)) < 0)
		return 0;
	if (!kv_file_lock(fd) || kv_file_stat(w->env, fd, from, NULL, NULL,
	    &links) != 0 || links != 1) {
		close(fd);
		return 0;
	}
	w->fd = fd;
	if (linkat(w->dir->fd, from, w->dir->fd, w->name, 0) != 0)
		rc = errno == EEXIST ? lose_name(w) : kv_fail_errno(w->env,
		    kv_path(w->dir, w->name), "create");
	else if (unlinkat(w->dir->fd, from, 0) != 0)
		rc = kv_fail_errno(w->env, kv_path(w->dir, from), "remove");
	else
		rc = kv_sync_dir(w->env, w->dir, ".");
	return rc != 0 ? rc : 1;
}

/* An open file of that name, locked.  KEVO_FALSE: the name is taken, or was
 * taken away by somebody who removes what nobody locks. */
static int
create_file(struct kv_table_writer *w)
{
	const char *path = kv_path(w->dir, w->name);
	uint32_t links;
	int rc;

	if ((rc = take_reserve(w)) != 0)
		return rc == 1 ? 0 : rc;
	w->fd = kv_openat(w->dir->fd, w->name, O_RDWR | O_CREAT | O_EXCL,
	    0666);
	if (w->fd < 0)
		return errno == EEXIST ? KEVO_FALSE : kv_fail_errno(w->env,
		    path, "create");
	if (!kv_file_lock(w->fd))
		return errno == EAGAIN || errno == EACCES ? lose_name(w) :
		    kv_fail_errno(w->env, path, "lock");
	rc = kv_file_stat(w->env, w->fd, path, NULL, NULL, &links);
	if (rc != 0 || links == 0)
		return rc != 0 ? rc : lose_name(w);
	if (kv_give(w->dir, w->fd, w->spec.mode) != 0)
		return kv_fail_errno(w->env, path, "set the mode of");
	return 0;
}

static void
set_limits(struct kv_table_writer *w)
{
	uint32_t n = w->spec.restart_interval, b = w->spec.block_bytes;

	w->tail.restart_interval = (uint8_t)(n < 1 ? 1 : n > KV_GROUP_MAX ?
	    KV_GROUP_MAX : n);
	w->tail.block_bytes = b < KV_BLOCK_BYTES_MIN ? KV_BLOCK_BYTES_MIN :
	    b > KV_BLOCK_BYTES_MAX ? KV_BLOCK_BYTES_MAX : b;
}

int
kv_table_create(struct kv_env *env, const struct kv_dir *dir,
    uint64_t number, const struct kv_table_spec *spec,
    struct kv_table_writer **out)
{
	struct kv_table_writer *w;
	uint8_t head[KV_TABLE_HEAD];
	int rc;

	if (!kv_codec_known(spec->codec))
		return kv_fail(env, KEVO_EINVAL, "%u is no codec",
		    spec->codec);
	if ((w = calloc(1, sizeof(*w))) == NULL)
		return kv_fail(env, KEVO_ENOMEM, "out of memory");
	w->env = env;
	w->dir = dir;
	w->spec = *spec;
	kv_table_name(w->name, number);
	memcpy(w->tail.id, spec->id, 16);
	w->tail.number = number;
	w->tail.codec = spec->codec;
	w->tail.created_ns = kv_now_ns();
	w->tail.min_seq = UINT64_MAX;
	w->unit_shift = kv_unit_shift(spec->codec);
	w->seed = kv_table_seed(spec->id, number);
	set_limits(w);
	w->fd = -1;
	if ((w->out = malloc(OUT_ROOM)) == NULL)
		rc = kv_writer_no_memory(w);
	else
		rc = create_file(w);
	if (rc != 0) {
		kv_table_writer_free(w, rc != KEVO_FALSE);
		return rc;
	}
	kv_table_head_encode(head, spec->id, number, spec->codec);
	kv_writer_output(w, head, sizeof(head));
	*out = w;
	return 0;
}

void
kv_table_writer_free(struct kv_table_writer *w, int remove)
{
	if (w == NULL)
		return;
	if (w->fd >= 0) {
		if (remove || !w->finished)
			unlinkat(w->dir->fd, w->name, 0);
		close(w->fd);
	}
	free(w->out);
	free(w->stage.keys.p);
	free(w->stage.values.p);
	free(w->head.p);
	free(w->block.p);
	free(w->packed.p);
	kv_codec_free(w->work);
	free(w->first.p);
	free(w->last.p);
	free(w->entry);
	free(w->hash);
	free(w);
}

/* ---- adding ------------------------------------------------------------ */

static int
in_order(const struct kv_table_writer *w, const struct kv_op *op)
{
	const uint8_t *last = w->last.p;
	size_t len = w->last.len;

	if (w->stage.n > 0)
		last = kv_stage_key(&w->stage, w->stage.n - 1, &len);
	return w->tail.count == 0 ||
	    kv_key_cmp(last, len, op->key, op->klen) < 0;
}

static void
count_record(struct kv_table_tail *t, uint64_t seq, const struct kv_op *op)
{
	t->count++;
	t->deletes += op->kind == KV_OP_DELETE;
	t->expiring += op->expires_ns != 0;
	t->raw_bytes += (uint64_t)op->klen + op->vlen;
	if (seq < t->min_seq)
		t->min_seq = seq;
	if (seq > t->max_seq)
		t->max_seq = seq;
}

static int
stage_record(struct kv_table_writer *w, uint64_t seq, const struct kv_op *op,
    int large)
{
	struct kv_stage *s = &w->stage;

	if (kv_writer_append(w, &s->keys, op->key, op->klen) != 0 ||
	    (!large && kv_writer_append(w, &s->values, op->val, op->vlen) != 0))
		return w->rc;
	if (large) {
		s->value = op->val;
		s->value_len = op->vlen;
	}
	s->kend[s->n] = (uint32_t)s->keys.len;
	s->vend[s->n] = large ? op->vlen : (uint32_t)s->values.len;
	s->seq[s->n] = seq;
	s->expires[s->n] = op->expires_ns;
	s->kind[s->n] = op->kind == KV_OP_DELETE;
	s->expiring |= op->expires_ns != 0;
	s->deletes |= op->kind == KV_OP_DELETE;
	s->n++;
	return 0;
}

static int
add_hash(struct kv_table_writer *w, const struct kv_op *op)
{
	uint64_t *h;

	if (!w->spec.hash_index)
		return 0;
	h = kv_writer_grow_array(w, w->hash, &w->hash_room, w->tail.count,
	    sizeof(*h));
	if (h == NULL)
		return w->rc;
	w->hash = h;
	h[w->tail.count] = kv_table_key_hash(w->spec.id, op->key, op->klen);
	return 0;
}

/* Is the group complete? */
static int
is_full(const struct kv_table_writer *w)
{
	const struct kv_stage *s = &w->stage;

	return s->value != NULL || s->n == w->tail.restart_interval ||
	    w->block.len + s->keys.len + s->values.len >=
	    w->tail.block_bytes;
}

/*
 * A record larger than a block has one of its own, and its value is not
 * copied, unless it will be compressed.
 */
int
kv_table_add(struct kv_table_writer *w, uint64_t seq, const struct kv_op *op)
{
	uint64_t len = (uint64_t)op->klen + op->vlen;
	int alone = len > w->tail.block_bytes;
	int large = alone && (w->spec.codec == KV_CODEC_NONE ||
	    len > KV_BLOCK_MAX / 2);

	if (w->rc != 0)
		return w->rc;
	if (!in_order(w, op))
		return w->rc = kv_fail(w->env, KEVO_EINVAL, "%s: keys out of "
		    "order", kv_path(w->dir, w->name));
	if (alone && (kv_writer_close_group(w) != 0 ||
	    kv_writer_close_block(w) != 0))
		return w->rc;
	if (w->tail.count == 0 && kv_writer_set(w, &w->first, op->key,
	    op->klen) != 0)
		return w->rc;
	if (add_hash(w, op) != 0 || stage_record(w, seq, op, large) != 0)
		return w->rc;
	count_record(&w->tail, seq, op);
	return is_full(w) ? kv_writer_close_group(w) : 0;
}

uint64_t
kv_table_bytes(const struct kv_table_writer *w)
{
	return kv_writer_position(w) + w->block.len + w->stage.keys.len +
	    w->stage.values.len +
	    (uint64_t)w->tail.groups * 12 + (w->spec.hash_index ?
	    w->tail.count * KV_LINE / KV_LINE_LOAD : 0) + KV_TABLE_TAIL;
}

/* ---- finishing --------------------------------------------------------- */

/* Both keys and the tail. */
static int
write_tail(struct kv_table_writer *w, const struct kv_table_shape *shape)
{
	uint8_t tail[KV_TABLE_TAIL];

	w->tail.size = shape->size;
	w->head.len = 0;
	if (kv_writer_grow(w, &w->head, (size_t)shape->keys_len) != 0)
		return w->rc;
	memset(w->head.p, 0, (size_t)shape->keys_len);
	memcpy(w->head.p, w->first.p, w->first.len);
	memcpy(w->head.p + w->first.len, w->last.p, w->last.len);
	kv_table_tail_encode(tail, &w->tail, w->head.p);
	w->info.hash = get_le64(tail + KV_TAIL_HASHED);
	if (kv_writer_output(w, w->head.p, (size_t)shape->keys_len) != 0 ||
	    kv_writer_output(w, tail, sizeof(tail)) != 0)
		return w->rc;
	return flush(w);
}

static void
fill_info(struct kv_table_writer *w, struct kv_table_info *info)
{
	const struct kv_table_tail *t = &w->tail;

	*info = (struct kv_table_info) {
		.number = t->number, .size = t->size, .count = t->count,
		.deletes = t->deletes, .expiring = t->expiring,
		.raw_bytes = t->raw_bytes, .min_seq = t->min_seq,
		.max_seq = t->max_seq, .hash = w->info.hash,
		.first = w->first.p, .first_len = t->first_len,
		.last = w->last.p, .last_len = t->last_len
	};
}

int
kv_table_finish(struct kv_table_writer *w, struct kv_table_info *info)
{
	struct kv_table_shape shape;

	if (kv_writer_close_group(w) != 0 || kv_writer_close_block(w) != 0)
		return w->rc;
	if (w->tail.count == 0)
		return w->rc = kv_fail(w->env, KEVO_EINVAL, "%s: a table "
		    "without records", kv_path(w->dir, w->name));
	w->tail.first_len = (uint32_t)w->first.len;
	w->tail.last_len = (uint32_t)w->last.len;
	if (kv_writer_pad(w, KV_TABLE_ALIGN) != 0)
		return w->rc;
	w->tail.data_len = kv_writer_position(w);
	if (kv_writer_index(w, &shape) != 0 || write_tail(w, &shape) != 0)
		return w->rc;
	if (w->spec.reserve != NULL && ftruncate(w->fd,
	    (off_t)kv_writer_position(w)) != 0)
		return w->rc = kv_fail_errno(w->env, kv_path(w->dir,
		    w->name), "cut");
	if ((errno = kv_datasync(w->fd)) != 0)
		return w->rc = kv_fail_errno(w->env, kv_path(w->dir,
		    w->name), "sync");
	w->finished = 1;
	fill_info(w, info);
	return 0;
}
