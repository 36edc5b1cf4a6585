#include <string.h>

#include "hash.h"
#include "kevo.h"
#include "record.h"

int
kv_op_decode(const uint8_t *buf, uint64_t len, uint64_t off, struct kv_op *op)
{
	const uint8_t *p = buf + off;
	uint64_t left, need;
	uint32_t head = KV_OP_HEAD;

	if (len < KV_OP_HEAD || off > len - KV_OP_HEAD)
		return -1;
	left = len - off;
	op->kind = p[0];
	if ((op->kind != KV_OP_PUT && op->kind != KV_OP_DELETE) ||
	    (p[1] & ~KV_OP_EXPIRES) != 0)
		return -1;
	op->klen = (uint32_t)get_le16(p + 2) + 1;
	op->vlen = get_le32(p + 4);
	op->expires_ns = 0;
	if (p[1] & KV_OP_EXPIRES) {
		head += 8;
		if (left < head)
			return -1;
		op->expires_ns = get_le64(p + KV_OP_HEAD);
	}
	need = (uint64_t)head + op->klen + op->vlen;
	if (op->vlen > KEVO_VALUE_MAX || need > left)
		return -1;
	op->key = p + head;
	op->val = op->key + op->klen;
	op->len = (uint32_t)need;
	return 0;
}

uint32_t
kv_op_encode(uint8_t *buf, enum kv_op_kind kind, uint64_t expires_ns,
    const void *key, size_t klen, const void *val, size_t vlen)
{
	uint8_t *p = buf;

	p[0] = (uint8_t)kind;
	p[1] = expires_ns != 0 ? KV_OP_EXPIRES : 0;
	put_le16(p + 2, (uint16_t)(klen - 1));
	put_le32(p + 4, (uint32_t)vlen);
	p += KV_OP_HEAD;
	if (expires_ns != 0) {
		put_le64(p, expires_ns);
		p += 8;
	}
	memcpy(p, key, klen);
	p += klen;
	if (vlen > 0)
		memcpy(p, val, vlen);
	p += vlen;
	return (uint32_t)(p - buf);
}

void
kv_frame_encode(uint8_t buf[KV_FRAME_LEN], const struct kv_frame *f,
    uint64_t nonce)
{
	put_le32(buf, f->payload_len);
	buf[4] = f->type;
	buf[5] = 0;
	put_le16(buf + 6, 0);
	put_le64(buf + 8, f->seq);
	put_le64(buf + 16, f->time_ns);
	put_le64(buf + 24, f->durable);
	put_le64(buf + 32, kv_hash(buf, 32, nonce));
}

int
kv_frame_decode(const uint8_t buf[KV_FRAME_LEN], struct kv_frame *f,
    uint64_t nonce)
{
	f->payload_len = get_le32(buf);
	f->type = buf[4];
	f->seq = get_le64(buf + 8);
	f->time_ns = get_le64(buf + 16);
	f->durable = get_le64(buf + 24);
	if (get_le64(buf + 32) != kv_hash(buf, 32, nonce))
		return -1;
	if (f->payload_len > KV_PAYLOAD_MAX || buf[5] != 0 ||
	    get_le16(buf + 6) != 0)
		return -1;
	if (f->type != KV_RECORD_COMMIT && f->type != KV_RECORD_MARK)
		return -1;
	return 0;
}

uint64_t
kv_chain(const uint8_t *rec, uint64_t len_without_trailer, uint64_t prev)
{
	return kv_hash(rec, (size_t)len_without_trailer, prev);
}
