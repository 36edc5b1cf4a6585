/*
 * salvage: what can be read of a log segment that is damaged.
 *
 * Recovery stops at the first record that does not verify.  A salvage goes on
 * behind it: a frame with a good hash, which is seeded with the nonce of the
 * database, says where a record begins and which commit it is, and the
 * trailer before it is the seed that the record's own trailer must agree
 * with.
 */
#ifndef KV_SALVAGE_H
#define KV_SALVAGE_H

#include <stdint.h>

struct kv_salvage {
	const uint8_t *log;	/* its header is sound, or was made so */
	uint64_t len;
	uint64_t off;		/* of what comes next */
	uint64_t seq;		/* of the last record */
	int adjacent;		/* the next one is seq + 1; 0: any later one */
	uint64_t chain;		/* chain value before it, */
	int chained;		/* if that is known */
	int head_ok;		/* the header is the one that was written */
	uint64_t chain_after;	/* what the next segment continues, */
	int has_after;		/* if that is known */
	uint64_t spent;		/* bytes looked at for nothing */

	/* What kv_salvage_next() came by. */
	uint64_t at, at_len;	/* the record, or the gap */
	uint64_t time_ns;	/* of the record */
	uint64_t lost_first, lost_last;	/* commits in the gap; last 0: not
					 * known; first above last: none */
};

enum kv_salvage_result {
	KV_SALVAGE_RECORD,	/* one that verifies */
	KV_SALVAGE_MENDED,	/* one whose trailer is damaged, but whose bytes
				 * agree with what follows */
	KV_SALVAGE_LOOSE,	/* one with a good frame whose other bytes
				 * cannot be verified, the seed being lost */
	KV_SALVAGE_GAP,		/* bytes that are no record */
	KV_SALVAGE_SEAL,
	KV_SALVAGE_END		/* zeros, or nothing more */
};

/* The fields down to has_after are set by the caller, the others are zero. */
enum kv_salvage_result kv_salvage_next(struct kv_salvage *s);

#endif /* KV_SALVAGE_H */
