#include <string.h>

#include "codec.h"
#include "kevo.h"
#include "segment.h"
#include "table_layout.h"

void
kv_table_shape(const struct kv_table_tail *t, struct kv_table_shape *s)
{
	uint64_t entry = t->codec == KV_CODEC_NONE ? 12 : 16;

	s->index_len = ((uint64_t)t->lines * KV_LINE + t->groups * entry +
	    7) & ~(uint64_t)7;
	s->pages = (s->index_len + KV_PAGE - 1) / KV_PAGE;
	s->keys_len = ((uint64_t)t->first_len + t->last_len + 7) &
	    ~(uint64_t)7;
	s->size = t->data_len + s->index_len + s->pages * 8 + s->keys_len +
	    KV_TABLE_TAIL;
}

void
kv_table_head_encode(uint8_t buf[KV_TABLE_HEAD], const uint8_t id[16],
    uint64_t number, uint8_t codec)
{
	memset(buf, 0, KV_TABLE_HEAD);
	memcpy(buf, KV_TABLE_MAGIC, 8);
	put_le32(buf + 8, KV_TABLE_VERSION);
	buf[KV_TABLE_HEAD_CODEC] = codec;
	memcpy(buf + 16, id, 16);
	put_le64(buf + 32, number);
	put_le64(buf + 56, kv_hash(buf, 56, 0));
}

uint64_t
kv_table_tail_hash(const uint8_t buf[KV_TABLE_TAIL], const uint8_t *keys,
    uint64_t keys_len)
{
	return kv_hash(buf, KV_TAIL_HASHED, kv_hash(keys, keys_len, 0));
}

void
kv_table_tail_encode(uint8_t buf[KV_TABLE_TAIL],
    const struct kv_table_tail *t, const uint8_t *keys)
{
	struct kv_table_shape shape;

	kv_table_shape(t, &shape);
	memset(buf, 0, KV_TABLE_TAIL);
	memcpy(buf, t->id, 16);
	put_le64(buf + 16, t->number);
	put_le64(buf + 24, t->size);
	put_le64(buf + 32, t->data_len);
	put_le64(buf + 40, t->count);
	put_le64(buf + 48, t->deletes);
	put_le64(buf + 56, t->expiring);
	put_le64(buf + 64, t->raw_bytes);
	put_le64(buf + 72, t->min_seq);
	put_le64(buf + 80, t->max_seq);
	put_le64(buf + 88, t->created_ns);
	put_le32(buf + 96, t->groups);
	put_le32(buf + 100, t->lines);
	put_le32(buf + 104, t->first_len);
	put_le32(buf + 108, t->last_len);
	put_le32(buf + 112, t->block_bytes);
	buf[116] = t->restart_interval;
	buf[117] = t->codec;
	buf[118] = t->loc_bits;
	buf[119] = t->at_bits;
	put_le64(buf + 120, t->sums_hash);
	buf[128] = t->direct;
	put_le32(buf + 168, KV_TABLE_VERSION);
	put_le32(buf + 172, KV_TABLE_TAIL);
	put_le64(buf + KV_TAIL_HASHED, kv_table_tail_hash(buf, keys,
	    shape.keys_len));
	memcpy(buf + 184, KV_TABLE_MAGIC, 8);
}

static void
decode(const uint8_t *b, struct kv_table_tail *t)
{
	memcpy(t->id, b, 16);
	t->number = get_le64(b + 16);
	t->size = get_le64(b + 24);
	t->data_len = get_le64(b + 32);
	t->count = get_le64(b + 40);
	t->deletes = get_le64(b + 48);
	t->expiring = get_le64(b + 56);
	t->raw_bytes = get_le64(b + 64);
	t->min_seq = get_le64(b + 72);
	t->max_seq = get_le64(b + 80);
	t->created_ns = get_le64(b + 88);
	t->groups = get_le32(b + 96);
	t->lines = get_le32(b + 100);
	t->first_len = get_le32(b + 104);
	t->last_len = get_le32(b + 108);
	t->block_bytes = get_le32(b + 112);
	t->restart_interval = b[116];
	t->codec = b[117];
	t->loc_bits = b[118];
	t->at_bits = b[119];
	t->sums_hash = get_le64(b + 120);
	t->direct = b[128];
}

static int
key_len_fits(uint32_t len)
{
	return len >= 1 && len <= KEVO_KEY_MAX;
}

static int
counts_fit(const struct kv_table_tail *t)
{
	return t->groups > 0 && t->count >= t->groups &&
	    t->count <= (uint64_t)t->groups * KV_GROUP_MAX &&
	    t->deletes <= t->count && t->expiring <= t->count &&
	    t->min_seq > 0 && t->min_seq <= t->max_seq;
}

static int
slots_fit(const struct kv_table_tail *t)
{
	if (t->lines == 0)
		return t->loc_bits == 0 && t->at_bits == 0 &&
		    t->direct == 0;
	return t->loc_bits <= 32 - KV_PRINT_MIN && t->at_bits <= 8 &&
	    t->at_bits < t->loc_bits &&
	    t->direct <= (t->codec == KV_CODEC_NONE);
}

const char *
kv_table_tail_decode(const uint8_t buf[KV_TABLE_TAIL], uint64_t size,
    struct kv_table_tail *t, struct kv_table_shape *s)
{
	if (memcmp(buf + 184, KV_TABLE_MAGIC, 8) != 0)
		return "it does not end as a table";
	if (get_le32(buf + 168) != KV_TABLE_VERSION ||
	    get_le32(buf + 172) != KV_TABLE_TAIL)
		return "it is of a newer format";
	decode(buf, t);
	if (!key_len_fits(t->first_len) || !key_len_fits(t->last_len) ||
	    !counts_fit(t) || !slots_fit(t) ||
	    !kv_all_zero(buf + 129, 39))
		return "impossible values in its tail";
	if (!kv_codec_known(t->codec))
		return "its codec is not known";
	if (t->data_len > size || t->data_len < KV_TABLE_HEAD +
	    KV_GROUP_HEAD || t->data_len % KV_TABLE_ALIGN != 0)
		return "impossible values in its tail";
	kv_table_shape(t, s);
	if (t->size != size || s->size != size)
		return "its length is not what its tail says";
	return NULL;
}
