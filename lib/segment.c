#include <string.h>

#include "coding.h"
#include "env.h"
#include "file.h"
#include "hash.h"
#include "ident.h"
#include "kevo.h"
#include "record.h"
#include "segment.h"

#define MAGIC_SEGMENT	"KEVOSEG1"
#define MAGIC_SEAL	"KEVOSEAL"
#define SEGMENT_VERSION	1

void
kv_segment_name(char buf[KV_SEGMENT_NAME_LEN], uint64_t counter)
{
	kv_name(buf, "wal/", counter, ".seg");
}

int
kv_segment_damaged(struct kv_env *env, const struct kv_dir *dir,
    uint64_t counter, uint64_t off, const char *why)
{
	char name[KV_SEGMENT_NAME_LEN];

	kv_segment_name(name, counter);
	return kv_fail(env, KEVO_ECORRUPT, "%s: damaged at byte %llu: %s",
	    kv_path(dir, name), (unsigned long long)off, why);
}

uint64_t
kv_chain_origin(const struct kv_ident *ident)
{
	return kv_hash(ident->id, sizeof(ident->id), ident->nonce);
}

void
kv_segment_head_encode(uint8_t buf[KV_SEGMENT_HEAD],
    struct kv_segment_head *h)
{
	memset(buf, 0, KV_SEGMENT_HEAD);
	memcpy(buf, MAGIC_SEGMENT, 8);
	put_le32(buf + 8, KV_SEGMENT_HEAD);
	put_le32(buf + 12, SEGMENT_VERSION);
	memcpy(buf + 16, h->id, 16);
	put_le32(buf + 32, h->epoch);
	put_le32(buf + 36, h->flags);
	put_le64(buf + 40, h->nonce);
	put_le64(buf + 48, h->first_seq);
	put_le64(buf + 56, h->chain_before);
	put_le64(buf + 64, h->created_ns);
	put_le64(buf + 72, h->counter);
	put_le64(buf + 80, h->capacity);
	h->hash = kv_hash(buf, 120, 0);
	put_le64(buf + 120, h->hash);
}

int
kv_segment_head_decode(const uint8_t buf[KV_SEGMENT_HEAD],
    struct kv_segment_head *h)
{
	h->hash = get_le64(buf + 120);
	if (memcmp(buf, MAGIC_SEGMENT, 8) != 0 ||
	    h->hash != kv_hash(buf, 120, 0) ||
	    get_le32(buf + 8) != KV_SEGMENT_HEAD ||
	    get_le32(buf + 12) != SEGMENT_VERSION ||
	    (get_le32(buf + 36) & ~KV_SEGMENT_COPIED) != 0)
		return -1;
	memcpy(h->id, buf + 16, 16);
	h->epoch = get_le32(buf + 32);
	h->flags = get_le32(buf + 36);
	h->nonce = get_le64(buf + 40);
	h->first_seq = get_le64(buf + 48);
	h->chain_before = get_le64(buf + 56);
	h->created_ns = get_le64(buf + 64);
	h->counter = get_le64(buf + 72);
	h->capacity = get_le64(buf + 80);
	if (h->capacity < KV_SEGMENT_HEAD + KV_SEAL_LEN ||
	    h->capacity > KV_SEGMENT_MAX || h->first_seq == 0)
		return -1;
	return 0;
}

void
kv_seal_encode(uint8_t buf[KV_SEAL_LEN], const struct kv_seal *s)
{
	memcpy(buf, MAGIC_SEAL, 8);
	put_le64(buf + 8, s->last_seq);
	put_le64(buf + 16, s->records);
	put_le64(buf + 24, s->file_len);
	put_le64(buf + 32, s->chain);
	put_le64(buf + 40, s->time_ns);
	put_le64(buf + 48, s->head_hash);
	put_le64(buf + 56, kv_hash(buf, 56, 0));
}

int
kv_seal_decode(const uint8_t buf[KV_SEAL_LEN], struct kv_seal *s)
{
	if (memcmp(buf, MAGIC_SEAL, 8) != 0 ||
	    get_le64(buf + 56) != kv_hash(buf, 56, 0))
		return -1;
	s->last_seq = get_le64(buf + 8);
	s->records = get_le64(buf + 16);
	s->file_len = get_le64(buf + 24);
	s->chain = get_le64(buf + 32);
	s->time_ns = get_le64(buf + 40);
	s->head_hash = get_le64(buf + 48);
	return 0;
}

/* From the segment's header, which was verified when it was mapped. */
static uint64_t
segment_nonce(const uint8_t *log)
{
	return get_le64(log + 40);
}

int
kv_payload_sound(const uint8_t *p, uint32_t len)
{
	uint32_t count, off = KV_PAYLOAD_HEAD;
	struct kv_op op;

	if (len < KV_PAYLOAD_HEAD || get_le32(p + 4) != 0)
		return 0;
	for (count = get_le32(p); count > 0; count--) {
		if (kv_op_decode(p, len, off, &op) != 0)
			return 0;
		off += op.len;
	}
	return off == len;
}

uint64_t
kv_record_verify_at(const uint8_t *rec, uint64_t len, uint64_t nonce,
    uint64_t prev_chain, uint64_t seq)
{
	struct kv_frame f;
	uint64_t total;

	if (len < KV_FRAME_LEN || kv_frame_decode(rec, &f, nonce) != 0 ||
	    f.seq != seq)
		return 0;
	total = kv_record_len(f.payload_len);
	if (total > len)
		return 0;
	if (get_le64(rec + total - KV_TRAILER_LEN) !=
	    kv_chain(rec, total - KV_TRAILER_LEN, prev_chain))
		return 0;
	if (!kv_payload_sound(rec + KV_FRAME_LEN, f.payload_len))
		return 0;
	return total;
}

uint64_t
kv_record_verify(const uint8_t *log, uint64_t len, uint64_t off,
    uint64_t prev_chain, uint64_t seq)
{
	return off > len ? 0 : kv_record_verify_at(log + off, len - off,
	    segment_nonce(log), prev_chain, seq);
}

void
kv_walk_start(struct kv_walk *w, const uint8_t *log, uint64_t len,
    const struct kv_segment_head *h)
{
	memset(w, 0, sizeof(*w));
	w->log = log;
	w->len = len;
	w->off = KV_SEGMENT_HEAD;
	w->seq = h->first_seq - 1;
	w->chain = h->chain_before;
}

int
kv_all_zero(const uint8_t *p, uint64_t len)
{
	while (len >= 8 && get_le64(p) == 0) {
		p += 8;
		len -= 8;
	}
	while (len > 0 && *p == 0) {
		p++;
		len--;
	}
	return len == 0;
}

static int
seal_fits(const struct kv_walk *w)
{
	struct kv_seal s;

	if (w->len - w->off < KV_SEAL_LEN ||
	    kv_seal_decode(w->log + w->off, &s) != 0)
		return 0;
	return s.last_seq == w->seq && s.records == w->records &&
	    s.file_len == w->off + KV_SEAL_LEN && s.chain == w->chain &&
	    s.head_hash == get_le64(w->log + 120);
}

enum kv_walk_result
kv_walk_next(struct kv_walk *w)
{
	const uint8_t *rec = w->log + w->off;
	uint64_t total;

	total = kv_record_verify(w->log, w->len, w->off, w->chain,
	    w->seq + 1);
	if (total == 0) {
		if (seal_fits(w))
			return KV_WALK_SEAL;
		if (kv_all_zero(rec, w->len - w->off))
			return KV_WALK_END;
		return KV_WALK_BAD;
	}
	w->rec_off = w->off;
	w->rec_len = total;
	w->off += total;
	w->seq++;
	w->records++;
	w->time_ns = get_le64(rec + 16);
	w->durable = get_le64(rec + 24);
	w->chain = get_le64(rec + total - KV_TRAILER_LEN);
	return KV_WALK_RECORD;
}

/*
 * The file is cut to its seal's end only once it is on disk as a whole; a
 * seal alone may have reached the disk before the records it follows.
 */
static int
is_cut_to_its_seal(const uint8_t *log, uint64_t len)
{
	struct kv_seal s;

	return len >= KV_SEGMENT_HEAD + KV_SEAL_LEN &&
	    len < get_le64(log + 80) &&
	    kv_seal_decode(log + len - KV_SEAL_LEN, &s) == 0 &&
	    s.file_len == len && s.head_hash == get_le64(log + 120);
}

int
kv_claims_durable(const uint8_t *log, uint64_t len, uint64_t file_len,
    uint64_t off, uint64_t seq)
{
	uint64_t nonce = segment_nonce(log);
	struct kv_frame f;

	if (len == file_len && is_cut_to_its_seal(log, len))
		return 1;
	if ((get_le32(log + 36) & KV_SEGMENT_COPIED) != 0)
		return 0;
	for (; off <= len && len - off >= KV_FRAME_LEN; off += 8) {
		if (get_le64(log + off) == 0 && get_le64(log + off + 32) == 0)
			continue;
		if (kv_frame_decode(log + off, &f, nonce) == 0 &&
		    f.durable >= seq && f.seq > f.durable)
			return 1;
	}
	return 0;
}
