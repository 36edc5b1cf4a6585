/*
 * accept: may this segment follow what is there?  The one rule for files and
 * streams, archives and replicas; it looks at contents and nothing else.
 */
#ifndef KV_ACCEPT_H
#define KV_ACCEPT_H

#include <stdint.h>

#include "../position.h"

struct kv_env;
struct kv_history;
struct kv_image;

enum kv_verdict {
	KV_ACCEPT_APPLY = 1,	/* some of it is new */
	KV_ACCEPT_SKIP,		/* all of it is there already, or it is empty */
	KV_ACCEPT_SHORT,	/* torn, and nothing before the tear is new */
	KV_ACCEPT_CORRUPT,	/* bytes that nobody wrote */
	KV_ACCEPT_WRONG_DB,
	KV_ACCEPT_WAIT,		/* its epoch is not known here yet */
	KV_ACCEPT_FORK,		/* another history under the same numbers */
	KV_ACCEPT_ORPHANED,	/* commits behind the beginning of an epoch
				 * that took their place */
	KV_ACCEPT_AHEAD,	/* we have such commits ourselves */
	KV_ACCEPT_GAP		/* commits before it are missing */
};

/* Where it is to be added. */
struct kv_accept_to {
	uint8_t db[16];
	struct kv_position at;	/* epoch 0: nothing is there yet, and anything
				 * may be the first */
	const struct kv_history *history;
};

struct kv_accept {
	enum kv_verdict verdict;
	/* APPLY: the commits that are new, from byte off on to byte end. */
	uint64_t first, last;
	uint64_t off, end;
	/* ORPHANED, and APPLY of what precedes them; AHEAD: ours.  0: none. */
	uint64_t orphan_first, orphan_last;
	/* GAP: the commit that is needed; FORK: where both differ, and the two
	 * chain values, or of WAIT the epoch that is missing. */
	uint64_t seq;
	uint64_t ours, theirs;
};

/*
 * Judge a scanned image.  Of one that is torn or damaged, the whole commits
 * before the place still count: whoever completes files looks at img->state
 * first.
 */
void kv_accept(const struct kv_image *img, const struct kv_accept_to *to,
    struct kv_accept *out);

/*
 * The sentence about a verdict other than APPLY and SKIP, in env; what is
 * judged is called object, and what it is to be added to, where.  Returns the
 * class (ship.h).
 */
int kv_accept_fail(struct kv_env *env, const struct kv_accept *v,
    const struct kv_image *img, const struct kv_accept_to *to,
    const char *object, const char *where);

/* "gap" */
const char *kv_verdict_word(enum kv_verdict v);

#endif /* KV_ACCEPT_H */
