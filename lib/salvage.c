#include <string.h>

#include "record.h"
#include "salvage.h"
#include "segment.h"

/* No record is shorter. */
#define RECORD_MIN	(KV_FRAME_LEN + KV_PAYLOAD_HEAD + KV_TRAILER_LEN)

/* Frames that lead to nothing may cost so many times the segment. */
#define SPENT_MAX	16

static uint64_t
nonce(const struct kv_salvage *s)
{
	return get_le64(s->log + 40);
}

/* A frame at off whose record lies within the segment and has a payload of
 * operations.  Its length, or 0. */
static uint64_t
record_at(struct kv_salvage *s, uint64_t off, struct kv_frame *f)
{
	uint64_t total;

	if (off > s->len || s->len - off < RECORD_MIN ||
	    kv_frame_decode(s->log + off, f, nonce(s)) != 0)
		return 0;
	total = kv_record_len(f->payload_len);
	if (total > s->len - off || f->seq == 0 ||
	    s->spent / SPENT_MAX > s->len)
		return 0;
	if (kv_payload_sound(s->log + off + KV_FRAME_LEN, f->payload_len))
		return total;
	s->spent += total;
	return 0;
}

static int
seal_at(const struct kv_salvage *s, uint64_t off, uint64_t seq,
    uint64_t chain, int chained)
{
	struct kv_seal seal;

	return s->len - off >= KV_SEAL_LEN &&
	    kv_seal_decode(s->log + off, &seal) == 0 &&
	    seal.last_seq == seq && seal.file_len == off + KV_SEAL_LEN &&
	    (!chained || seal.chain == chain) &&
	    (!s->head_ok || seal.head_hash == get_le64(s->log + 120));
}

/* The seal of this segment, somewhere. */
static int
any_seal_at(const struct kv_salvage *s, uint64_t off, struct kv_seal *seal)
{
	return s->len - off >= KV_SEAL_LEN &&
	    kv_seal_decode(s->log + off, seal) == 0 &&
	    seal->file_len == off + KV_SEAL_LEN &&
	    seal->last_seq >= s->seq &&
	    (!s->head_ok || seal->head_hash == get_le64(s->log + 120));
}

/* Does what is at off agree with this being the chain value before it? */
static int
confirmed_at(const struct kv_salvage *s, uint64_t off, uint64_t seq,
    uint64_t chain)
{
	if (kv_record_verify(s->log, s->len, off, chain, seq + 1) != 0 ||
	    seal_at(s, off, seq, chain, 1))
		return 1;
	return s->has_after && s->chain_after == chain;
}

static enum kv_salvage_result
take(struct kv_salvage *s, uint64_t off, uint64_t len, uint64_t chain,
    enum kv_salvage_result r)
{
	s->at = off;
	s->at_len = len;
	s->off = off + len;
	s->seq = get_le64(s->log + off + 8);
	s->time_ns = get_le64(s->log + off + 16);
	s->adjacent = 1;
	s->chain = chain;
	s->chained = 1;
	return r;
}

/* The next record, with a seed that is known. */
static int
take_chained(struct kv_salvage *s, enum kv_salvage_result *r)
{
	const uint8_t *p = s->log + s->off;
	uint64_t len, chain;
	struct kv_frame f;

	if (!s->chained)
		return 0;
	len = kv_record_verify(s->log, s->len, s->off, s->chain, s->seq + 1);
	if (len != 0) {
		*r = take(s, s->off, len, get_le64(p + len - KV_TRAILER_LEN),
		    KV_SALVAGE_RECORD);
		return 1;
	}
	len = record_at(s, s->off, &f);
	if (len == 0 || f.seq != s->seq + 1)
		return 0;
	chain = kv_chain(p, len - KV_TRAILER_LEN, s->chain);
	if (!confirmed_at(s, s->off + len, f.seq, chain))
		return 0;
	*r = take(s, s->off, len, chain, KV_SALVAGE_MENDED);
	return 1;
}

/*
 * A record where the chain is broken: the trailer before it, if that is
 * whole, is its seed.
 */
static int
take_unchained(struct kv_salvage *s, enum kv_salvage_result *r)
{
	const uint8_t *p = s->log + s->off;
	struct kv_frame f;
	uint64_t len = record_at(s, s->off, &f), seed;
	int verified = 0;

	if (s->chained || len == 0 || f.seq <= s->seq ||
	    (s->adjacent && f.seq != s->seq + 1))
		return 0;
	if (s->off >= KV_SEGMENT_HEAD + RECORD_MIN) {
		seed = get_le64(p - KV_TRAILER_LEN);
		verified = kv_record_verify(s->log, s->len, s->off, seed,
		    f.seq) != 0;
	}
	*r = take(s, s->off, len, get_le64(p + len - KV_TRAILER_LEN),
	    verified ? KV_SALVAGE_RECORD : KV_SALVAGE_LOOSE);
	s->chained = verified;
	return 1;
}

/* May a record that begins at off be commit seq?  There must have been room
 * for those in between. */
static int
is_plausible(const struct kv_salvage *s, uint64_t off, uint64_t seq)
{
	return seq > s->seq && (!s->adjacent ||
	    seq - s->seq - 1 <= (off - s->off) / RECORD_MIN);
}

/*
 * Nothing verifies at s->off: look for what does.  A stored value that holds
 * a copy of this log has frames in it, too, but only of older commits.
 */
static enum kv_salvage_result
skip_gap(struct kv_salvage *s)
{
	uint64_t off = s->off + 8;
	struct kv_frame f;
	struct kv_seal seal;

	s->at = s->off;
	s->lost_first = s->seq + 1;
	s->lost_last = 0;
	s->chained = 0;
	for (; off < s->len; off += 8) {
		if (any_seal_at(s, off, &seal)) {
			s->seq = s->lost_last = seal.last_seq;
			s->chain = seal.chain;
			s->chained = 1;
			break;
		}
		if (record_at(s, off, &f) != 0 &&
		    is_plausible(s, off, f.seq)) {
			s->seq = s->lost_last = f.seq - 1;
			s->adjacent = 1;
			break;
		}
	}
	if (off > s->len)
		off = s->len;
	s->at_len = off - s->off;
	s->off = off;
	return KV_SALVAGE_GAP;
}

enum kv_salvage_result
kv_salvage_next(struct kv_salvage *s)
{
	enum kv_salvage_result r;

	if (s->off >= s->len)
		return KV_SALVAGE_END;
	if (take_chained(s, &r) || take_unchained(s, &r))
		return r;
	if (seal_at(s, s->off, s->seq, s->chain, s->chained))
		return KV_SALVAGE_SEAL;
	if (kv_all_zero(s->log + s->off, s->len - s->off))
		return KV_SALVAGE_END;
	return skip_gap(s);
}
