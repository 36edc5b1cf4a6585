#include <string.h>

#include "codec.h"
#include "env.h"
#include "file.h"
#include "kevo.h"
#include "table_writer.h"

static uint8_t
width_of(uint64_t v)
{
	return v == 0 ? 0 : (uint8_t)((71 - __builtin_clzll(v)) / 8);
}

/* The width of a column of ends: none is needed if all lengths are the
 * same. */
static uint8_t
width_of_ends(const uint32_t *end, uint32_t n, uint64_t last)
{
	for (uint32_t i = 1; i < n; i++)
		if (end[i] != (i + 1) * (uint64_t)end[0])
			return width_of(last);
	return 0;
}

const uint8_t *
kv_stage_key(const struct kv_stage *s, uint32_t i, size_t *len)
{
	uint32_t from = i > 0 ? s->kend[i - 1] : 0;

	*len = s->kend[i] - from;
	return s->keys.p + from;
}

/* Write a number of a column; eight bytes may be written. */
static uint8_t *
put_column(uint8_t *p, uint8_t width, uint64_t v)
{
	put_le64(p, v);
	return p + width;
}

struct shape {
	uint32_t prefix;
	uint64_t seq_base;
	uint8_t kwidth, vwidth, swidth, flags;
	uint32_t split, values_len;
};

static void
shape_group(const struct kv_stage *s, struct shape *f)
{
	size_t first_len, last_len;
	const uint8_t *first = kv_stage_key(s, 0, &first_len);
	const uint8_t *last = kv_stage_key(s, s->n - 1, &last_len);
	uint64_t most = 0, column = 0;

	f->prefix = kv_table_common(first, first_len, last, last_len);
	if (f->prefix > UINT16_MAX)
		f->prefix = UINT16_MAX;
	f->seq_base = UINT64_MAX;
	for (uint32_t i = 0; i < s->n; i++) {
		if (s->seq[i] < f->seq_base)
			f->seq_base = s->seq[i];
		if (s->seq[i] > most)
			most = s->seq[i];
	}
	f->values_len = s->value != NULL ? s->value_len :
	    (uint32_t)s->values.len;
	f->kwidth = width_of_ends(s->kend, s->n, s->keys.len -
	    (uint64_t)s->n * f->prefix);
	f->vwidth = width_of_ends(s->vend, s->n, f->values_len);
	f->swidth = width_of(most - f->seq_base);
	f->flags = (uint8_t)((s->deletes ? KV_GROUP_KINDS : 0) |
	    (s->expiring ? KV_GROUP_EXPIRES : 0));
	column = (uint64_t)f->kwidth + f->vwidth + f->swidth +
	    (s->deletes ? 1 : 0) + (s->expiring ? 8 : 0);
	f->split = (uint32_t)(KV_GROUP_HEAD + s->n * column + s->keys.len -
	    (uint64_t)(s->n - 1) * f->prefix);
}

/* Keys: where they end after the prefix, the prefix, the rests. */
static uint8_t *
put_keys(uint8_t *p, const struct kv_stage *s, const struct shape *f)
{
	const uint8_t *key;
	size_t len;

	for (uint32_t i = 0; i < s->n; i++)
		p = put_column(p, f->kwidth, s->kend[i] - (uint64_t)(i + 1) *
		    f->prefix);
	memcpy(p, s->keys.p, f->prefix);
	p += f->prefix;
	for (uint32_t i = 0; i < s->n; i++) {
		key = kv_stage_key(s, i, &len);
		memcpy(p, key + f->prefix, len - f->prefix);
		p += len - f->prefix;
	}
	return p;
}

/* A group up to its values; the hash is not set. */
static void
put_group(uint8_t *b, const struct kv_stage *s, const struct shape *f)
{
	uint8_t *p = b + KV_GROUP_HEAD;

	memset(b, 0, KV_GROUP_HEAD);
	put_le32(b + 8, f->split + f->values_len);
	put_le32(b + 12, f->split);
	put_le64(b + 16, f->seq_base);
	put_le16(b + 24, (uint16_t)f->prefix);
	b[26] = (uint8_t)s->n;
	b[27] = f->flags;
	b[28] = f->kwidth;
	b[29] = f->vwidth;
	b[30] = f->swidth;
	p = put_keys(p, s, f);
	for (uint32_t i = 0; i < s->n; i++)
		p = put_column(p, f->vwidth, s->vend[i]);
	for (uint32_t i = 0; i < s->n; i++)
		p = put_column(p, f->swidth, s->seq[i] - f->seq_base);
	for (uint32_t i = 0; s->expiring && i < s->n; i++)
		p = put_column(p, 8, s->expires[i]);
	if (s->deletes)
		memcpy(p, s->kind, s->n);
}

/* Note the group in the index. */
static int
add_entry(struct kv_table_writer *w, uint64_t place, uint64_t sub)
{
	size_t len;
	const uint8_t *key = kv_stage_key(&w->stage, 0, &len);
	uint32_t skip = kv_table_common(w->first.p, w->first.len, key, len);
	struct kv_entry *e;

	if (place >> w->unit_shift > UINT32_MAX || w->tail.groups ==
	    UINT32_MAX)
		return w->rc = kv_fail(w->env, KEVO_ELIMIT, "%s: the table "
		    "gets too large", kv_path(w->dir, w->name));
	e = kv_writer_grow_array(w, w->entry, &w->entry_room, w->tail.groups,
	    sizeof(*e));
	if (e == NULL)
		return w->rc;
	w->entry = e;
	if (w->tail.groups == 0 || skip < w->skip)
		w->skip = skip;
	e = &w->entry[w->tail.groups++];
	e->head = kv_key_head(key + w->skip, len - w->skip);
	e->skip = w->skip;
	e->place = (uint32_t)(place >> w->unit_shift);
	e->sub = (uint32_t)sub;
	e->n = w->stage.n;
	return 0;
}

static void
clear_stage(struct kv_stage *s)
{
	s->keys.len = s->values.len = 0;
	s->value = NULL;
	s->n = 0;
	s->deletes = s->expiring = 0;
}

/* Write a unit of two parts; its hash goes into the first. */
static int
write_unit(struct kv_table_writer *w, uint8_t *head, uint32_t split,
    const uint8_t *rest, size_t len)
{
	put_le64(head, kv_unit_hash(head, split, rest, len, w->seed,
	    kv_writer_position(w)));
	if (kv_writer_output(w, head, split) != 0 ||
	    kv_writer_output(w, rest, len) != 0)
		return w->rc;
	return kv_writer_pad(w, (uint64_t)1 << w->unit_shift);
}

static void
put_block_head(uint8_t *b, uint32_t split, size_t len, size_t content_len,
    uint8_t codec)
{
	memset(b, 0, KV_BLOCK_HEAD);
	put_le32(b + 8, (uint32_t)(KV_BLOCK_HEAD + len));
	put_le32(b + 12, split);
	put_le32(b + 16, (uint32_t)content_len);
	b[20] = codec;
}

/* Write the block that was collected, if any; compressed if that saves a
 * sixteenth of it. */
int
kv_writer_close_block(struct kv_table_writer *w)
{
	struct kv_bytes *b = &w->block;
	uint8_t head[KV_BLOCK_HEAD], codec = w->spec.codec;
	size_t room = b->len - b->len / 16, len;
	int rc;

	if (w->rc != 0 || b->len == 0)
		return w->rc;
	w->packed.len = 0;
	if (kv_writer_grow(w, &w->packed, room) != 0)
		return w->rc;
	len = kv_codec_compress(&w->work, codec, w->spec.codec_level, b->p,
	    b->len, w->packed.p, room);
	if (len == 0)
		codec = KV_CODEC_NONE;
	put_block_head(head, KV_BLOCK_HEAD, len > 0 ? len : b->len, b->len,
	    codec);
	rc = len > 0 ? write_unit(w, head, KV_BLOCK_HEAD, w->packed.p, len) :
	    write_unit(w, head, KV_BLOCK_HEAD, b->p, b->len);
	b->len = 0;
	return rc;
}

/* A block of one group with a value that is too large to be compressed. */
static int
write_large(struct kv_table_writer *w, const struct shape *f,
    const uint8_t *value)
{
	uint32_t split = KV_BLOCK_HEAD + f->split;

	if (kv_writer_grow(w, &w->head, KV_BLOCK_HEAD) != 0)
		return w->rc;
	memmove(w->head.p + KV_BLOCK_HEAD, w->head.p, f->split);
	put_block_head(w->head.p, split, (size_t)f->split + f->values_len,
	    (size_t)f->split + f->values_len, KV_CODEC_NONE);
	return write_unit(w, w->head.p, split, value, f->values_len);
}

/* Put the group in w->head where it belongs. */
static int
place_group(struct kv_table_writer *w, const struct shape *f)
{
	const struct kv_stage *s = &w->stage;
	const uint8_t *values = s->value != NULL ? s->value : s->values.p;

	if (w->spec.codec == KV_CODEC_NONE)
		return write_unit(w, w->head.p, f->split, values,
		    f->values_len);
	if (s->value != NULL)
		return write_large(w, f, values);
	if (kv_writer_append(w, &w->block, w->head.p, f->split) != 0 ||
	    kv_writer_append(w, &w->block, values, f->values_len) != 0)
		return w->rc;
	return w->block.len >= w->tail.block_bytes ?
	    kv_writer_close_block(w) : 0;
}

/* Write the group that was collected, if any. */
int
kv_writer_close_group(struct kv_table_writer *w)
{
	struct kv_stage *s = &w->stage;
	const uint8_t *key;
	struct shape f;
	size_t len;

	if (w->rc != 0 || s->n == 0)
		return w->rc;
	shape_group(s, &f);
	w->head.len = 0;
	if (add_entry(w, kv_writer_position(w), w->block.len) != 0 ||
	    kv_writer_grow(w, &w->head, (size_t)f.split + 8) != 0)
		return w->rc;
	w->head.len = f.split;
	put_group(w->head.p, s, &f);
	key = kv_stage_key(s, s->n - 1, &len);
	if (kv_writer_set(w, &w->last, key, len) != 0 ||
	    place_group(w, &f) != 0)
		return w->rc;
	clear_stage(s);
	return 0;
}
