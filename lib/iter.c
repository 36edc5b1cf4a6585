#include <stdlib.h>
#include <string.h>

#include "db.h"
#include "record.h"

/*
 * An iterator merges the indexes of a view's segments, and a transaction's
 * own writes above them.  Sources are numbered from the newest, a heap
 * orders them by key and then by number; a source always stands behind the
 * record that was returned from it, so what has the key of the last record
 * is an older version of it and is passed over.  Keys and values stay where
 * they are in the mapped log.
 */
struct source {
	struct kv_index_iter it;
	const uint8_t *log;
	uint64_t log_len;
};

enum iter_state { UNPOSITIONED, FORWARD, BACKWARD, ENDED };

struct kevo_iter {
	struct kevo *db;
	struct kv_view *view;
	enum iter_state state;
	uint8_t *from, *to;
	size_t from_len, to_len;
	const uint8_t *last;		/* key of the last record looked at */
	uint32_t last_len;
	uint64_t now_ns;		/* one clock for the whole iteration */
	uint32_t nheap, nsource;
	uint32_t *heap;
	struct source source[];
};

static uint64_t
load_be64(const uint8_t *p)
{
	return __builtin_bswap64(get_le64(p));
}

static int
key_cmp(const uint8_t *a, size_t alen, const uint8_t *b, size_t blen)
{
	size_t n = alen < blen ? alen : blen;

	for (; n >= 8; n -= 8, a += 8, b += 8) {
		uint64_t x = load_be64(a), y = load_be64(b);

		if (x != y)
			return x < y ? -1 : 1;
	}
	for (; n > 0; n--, a++, b++)
		if (*a != *b)
			return *a < *b ? -1 : 1;
	return alen < blen ? -1 : alen > blen;
}

/* ---- the heap ---------------------------------------------------------- */

static int
before(const struct kevo_iter *it, uint32_t a, uint32_t b)
{
	const struct kv_index_iter *x = &it->source[a].it;
	const struct kv_index_iter *y = &it->source[b].it;
	int c = key_cmp(x->key, x->klen, y->key, y->klen);

	if (c == 0)
		return a < b;
	return it->state == FORWARD ? c < 0 : c > 0;
}

static void
sift_down(struct kevo_iter *it, uint32_t i)
{
	uint32_t moved = it->heap[i];

	for (;;) {
		uint32_t child = 2 * i + 1;

		if (child >= it->nheap)
			break;
		if (child + 1 < it->nheap && before(it, it->heap[child + 1],
		    it->heap[child]))
			child++;
		if (!before(it, it->heap[child], moved))
			break;
		it->heap[i] = it->heap[child];
		i = child;
	}
	it->heap[i] = moved;
}

static int
index_failed(struct kevo_iter *it, int r)
{
	it->state = ENDED;
	if (r == -2)
		return kv_fail(&it->db->env, KEVO_ENOMEM, "out of memory");
	return kv_fail(&it->db->env, KEVO_ECORRUPT, "%s: an index is damaged; "
	    "remove %s/shm when no process uses the database", it->db->path,
	    it->db->path);
}

/* Move the first source of the heap on. */
static int
advance_top(struct kevo_iter *it)
{
	struct kv_index_iter *x = &it->source[it->heap[0]].it;
	int r = it->state == FORWARD ? kv_index_next(x) : kv_index_prev(x);

	if (r < 0)
		return index_failed(it, r);
	if (r == 0)
		it->heap[0] = it->heap[--it->nheap];
	if (it->nheap > 1)
		sift_down(it, 0);
	return 0;
}

/* Put every source at its place for a walk from key (NULL: from the end). */
static int
position(struct kevo_iter *it, enum iter_state dir, const void *key,
    size_t klen)
{
	it->state = dir;
	it->nheap = 0;
	for (uint32_t i = 0; i < it->nsource; i++) {
		struct kv_index_iter *x = &it->source[i].it;
		int r;

		if (dir == FORWARD)
			r = key == NULL ? kv_index_first(x) :
			    kv_index_seek(x, key, klen);
		else
			r = key == NULL ? kv_index_last(x) :
			    kv_index_seek_back(x, key, klen);
		if (r < 0)
			return index_failed(it, r);
		if (r > 0)
			it->heap[it->nheap++] = i;
	}
	for (uint32_t i = it->nheap / 2; i-- > 0;)
		sift_down(it, i);
	return 0;
}

/* ---- records ----------------------------------------------------------- */

static int
in_bounds(const struct kevo_iter *it, const uint8_t *key, uint32_t klen)
{
	if (it->state == FORWARD)
		return it->to == NULL ||
		    key_cmp(key, klen, it->to, it->to_len) < 0;
	return it->from == NULL ||
	    key_cmp(key, klen, it->from, it->from_len) >= 0;
}

static int
is_expired(struct kevo_iter *it, uint64_t expires_ns)
{
	if (expires_ns == 0)
		return 0;
	if (it->now_ns == 0)
		it->now_ns = kv_now_ns();
	return expires_ns <= it->now_ns;
}

/* The next record in the direction of state. */
static int
step(struct kevo_iter *it, struct kevo_record *rec)
{
	struct kv_op op;
	int rc;

	while (it->nheap > 0) {
		struct source *s = &it->source[it->heap[0]];
		const uint8_t *key = s->it.key;
		uint32_t klen = s->it.klen;
		uint64_t seq = s->it.hit.seq;
		int older = it->last != NULL && key_cmp(key, klen, it->last,
		    it->last_len) == 0;

		if (!older && !in_bounds(it, key, klen))
			break;
		if (!older && kv_op_decode(s->log, s->log_len,
		    s->it.hit.off, &op) != 0)
			return index_failed(it, -1);
		it->last = key;
		it->last_len = klen;
		if ((rc = advance_top(it)) != 0)
			return rc;
		if (older || op.kind == KV_OP_DELETE ||
		    is_expired(it, op.expires_ns))
			continue;
		if (rec != NULL) {
			rec->key = op.key;
			rec->klen = op.klen;
			rec->value = op.val;
			rec->vlen = op.vlen;
			rec->version = s->it.seq == UINT64_MAX ? 0 : seq;
			rec->expires_ns = op.expires_ns;
		}
		return 0;
	}
	it->state = ENDED;
	return KEVO_NOTFOUND;
}

/* ---- public ------------------------------------------------------------ */

static int
forked(struct kevo_iter *it)
{
	if (!kv_forked(it->db))
		return 0;
	return kv_fail(&it->db->env, KEVO_EFORKED, "the handle belongs to the "
	    "parent process");
}

static int
start(struct kevo_iter *it, enum iter_state dir, const void *key, size_t klen,
    struct kevo_record *rec)
{
	int rc;

	if ((rc = forked(it)) != 0)
		return rc;
	it->last = NULL;
	if ((rc = position(it, dir, key, klen)) != 0)
		return rc;
	return step(it, rec);
}

int
kevo_iter_first(struct kevo_iter *it, struct kevo_record *rec)
{
	return start(it, FORWARD, it->from, it->from_len, rec);
}

int
kevo_iter_seek(struct kevo_iter *it, const void *key, size_t klen,
    struct kevo_record *rec)
{
	if (it->from != NULL && key_cmp(key, klen, it->from,
	    it->from_len) < 0)
		return kevo_iter_first(it, rec);
	return start(it, FORWARD, key, klen, rec);
}

/* The bound `to` is excluded: as if it were the record before the first. */
static int
start_below(struct kevo_iter *it, struct kevo_record *rec)
{
	int rc;

	if ((rc = forked(it)) != 0)
		return rc;
	it->last = it->to;
	it->last_len = (uint32_t)it->to_len;
	if ((rc = position(it, BACKWARD, it->to, it->to_len)) != 0)
		return rc;
	return step(it, rec);
}

int
kevo_iter_last(struct kevo_iter *it, struct kevo_record *rec)
{
	return start_below(it, rec);
}

int
kevo_iter_seek_back(struct kevo_iter *it, const void *key, size_t klen,
    struct kevo_record *rec)
{
	if (it->to != NULL && key_cmp(key, klen, it->to, it->to_len) >= 0)
		return start_below(it, rec);
	return start(it, BACKWARD, key, klen, rec);
}

static int
move(struct kevo_iter *it, enum iter_state dir, struct kevo_record *rec)
{
	int rc;

	if ((rc = forked(it)) != 0)
		return rc;
	if (it->state == ENDED)
		return KEVO_NOTFOUND;
	if (it->state == UNPOSITIONED)
		return dir == FORWARD ? kevo_iter_first(it, rec) :
		    kevo_iter_last(it, rec);
	if (it->state != dir && (rc = position(it, dir, it->last,
	    it->last_len)) != 0)
		return rc;
	return step(it, rec);
}

int
kevo_iter_next(struct kevo_iter *it, struct kevo_record *rec)
{
	return move(it, FORWARD, rec);
}

int
kevo_iter_prev(struct kevo_iter *it, struct kevo_record *rec)
{
	return move(it, BACKWARD, rec);
}

static int
copy_bound(struct kevo *db, const void *p, size_t len, uint8_t **out,
    size_t *out_len)
{
	if (p == NULL)
		return 0;
	if (len > KEVO_KEY_MAX)
		return kv_fail(&db->env, KEVO_ELIMIT, "bound of %zu bytes: the "
		    "limit is %u", len, KEVO_KEY_MAX);
	if ((*out = malloc(len + 1)) == NULL)
		return kv_fail(&db->env, KEVO_ENOMEM, "out of memory");
	if (len > 0)
		memcpy(*out, p, len);
	*out_len = len;
	return 0;
}

static void
add_source(struct kevo_iter *it, const struct kv_index *ix, uint64_t seq)
{
	struct source *s = &it->source[it->nsource++];

	kv_index_iter_init(&s->it, ix, seq);
	s->log = ix->log;
	s->log_len = ix->log_len;
}

int
kv_iter_new(struct kevo *db, struct kv_view *v, uint64_t seq,
    const struct kv_index *own, const struct kevo_range *range,
    struct kevo_iter **out)
{
	size_t n = (size_t)(v->last - v->first + 1) + (own != NULL);
	struct kevo_iter *it;
	struct kv_seg *s;
	int rc;

	it = calloc(1, sizeof(*it) + n * sizeof(it->source[0]));
	if (it == NULL || (it->heap = malloc(n * sizeof(it->heap[0]))) ==
	    NULL) {
		free(it);
		return kv_fail(&db->env, KEVO_ENOMEM, "out of memory");
	}
	it->db = db;
	it->view = v;
	v->refs++;
	if (own != NULL)
		add_source(it, own, UINT64_MAX);
	for (uint64_t c = v->last; c >= v->first; c--) {
		if ((rc = kv_view_seg(db, v, c, &s)) != 0)
			goto err;
		add_source(it, &s->ix, seq);
	}
	if (range != NULL && ((rc = copy_bound(db, range->from,
	    range->from_len, &it->from, &it->from_len)) != 0 ||
	    (rc = copy_bound(db, range->to, range->to_len, &it->to,
	    &it->to_len)) != 0))
		goto err;
	*out = it;
	return 0;
err:
	kevo_iter_free(it);
	return rc;
}

void
kevo_iter_free(struct kevo_iter *it)
{
	if (it == NULL)
		return;
	for (uint32_t i = 0; i < it->nsource; i++)
		kv_index_iter_release(&it->source[i].it);
	kv_view_unref(it->view);
	free(it->from);
	free(it->to);
	free(it->heap);
	free(it);
}
