#include <stdlib.h>
#include <string.h>

#include "heap.h"
#include "join.h"
#include "key.h"
#include "source.h"
#include "track.h"

/*
 * An iterator merges sources: the writes of a transaction, the indexes of the
 * view's segments, its level-0 tables, and each deeper level, whose tables
 * follow each other.  Sources are numbered from the newest; a heap orders
 * them by key and then by number.  The first of the heap stands on the
 * record that was returned last; moving on passes over what has its key in
 * the other sources, which is older.
 */
enum iter_state { UNPOSITIONED, FORWARD, BACKWARD, ENDED };

struct kevo_iter {
	struct kevo *db;
	struct kv_view *view;
	enum iter_state state;
	int standing;			/* the heap's first was returned */
	uint8_t *from, *to;
	size_t from_len, to_len;
	uint8_t *last;			/* a copy of a key */
	size_t last_len, last_room;
	uint64_t now_ns;		/* one clock for the whole iteration */
	uint64_t records, bytes;	/* returned, for the statistics */
	struct kevo_txn *txn;		/* that has a time limit; or NULL */
	uint64_t tick;			/* when the transaction was looked at */
	struct kv_span span;		/* for a transaction that validates */
	uint32_t nheap, nsource;
	uint32_t *heap;
	struct kv_source source[];
};

/* ---- the heap ---------------------------------------------------------- */

static int
before(const void *ctx, uint32_t a, uint32_t b)
{
	const struct kevo_iter *it = ctx;
	const struct kv_source *x = &it->source[a], *y = &it->source[b];
	int c = kv_key_cmp(x->key, x->klen, y->key, y->klen);

	if (c == 0)
		return a < b;
	return it->state == FORWARD ? c < 0 : c > 0;
}

static int
failed(struct kevo_iter *it, int rc)
{
	it->state = ENDED;
	it->standing = 0;
	return rc;
}

/* Move the first source of the heap on. */
static int
advance_top(struct kevo_iter *it)
{
	struct kv_source *s = &it->source[it->heap[0]];
	int r = kv_source_move(s, it->state == FORWARD);

	if (r < 0)
		return failed(it, r);
	if (r == 0)
		it->heap[0] = it->heap[--it->nheap];
	if (it->nheap > 1)
		kv_heap_sift(it->heap, it->nheap, 0, before, it);
	return 0;
}

/* Put every source at its place for a walk from key (NULL: from the end). */
static int
position(struct kevo_iter *it, enum iter_state dir, const void *key,
    size_t klen)
{
	it->state = dir;
	it->standing = 0;
	it->nheap = 0;
	for (uint32_t i = 0; i < it->nsource; i++) {
		int r = kv_source_seek(&it->source[i], dir == FORWARD, key,
		    klen);

		if (r < 0)
			return failed(it, r);
		if (r > 0)
			it->heap[it->nheap++] = i;
	}
	kv_heap_build(it->heap, it->nheap, before, it);
	return 0;
}

static int
remember_key(struct kevo_iter *it, const void *key, size_t klen)
{
	if (klen >= it->last_room) {
		uint8_t *p = realloc(it->last, klen * 2 + 1);

		if (p == NULL)
			return failed(it, kv_fail(&it->db->env, KEVO_ENOMEM,
			    "out of memory"));
		it->last = p;
		it->last_room = klen * 2 + 1;
	}
	memmove(it->last, key, klen);
	it->last_len = klen;
	return 0;
}

/* Leave the key that the heap's first stands on, in every source. */
static int
leave_key(struct kevo_iter *it)
{
	const struct kv_source *s = &it->source[it->heap[0]];
	int rc;

	it->standing = 0;
	if (it->nheap == 1)
		return advance_top(it);
	if ((rc = remember_key(it, s->key, s->klen)) != 0)
		return rc;
	do {
		if ((rc = advance_top(it)) != 0)
			return rc;
		s = &it->source[it->heap[0]];
	} while (it->nheap > 0 && kv_key_cmp(s->key, s->klen, it->last,
	    it->last_len) == 0);
	return 0;
}

/* ---- records ----------------------------------------------------------- */

static int
in_bounds(const struct kevo_iter *it, const uint8_t *key, uint32_t klen)
{
	if (it->state == FORWARD)
		return it->to == NULL ||
		    kv_key_cmp(key, klen, it->to, it->to_len) < 0;
	return it->from == NULL ||
	    kv_key_cmp(key, klen, it->from, it->from_len) >= 0;
}

static int
is_expired(struct kevo_iter *it, uint64_t expires_ns)
{
	if (expires_ns == 0)
		return 0;
	if (it->span.track != NULL)
		it->span.track->expiring = 1;
	if (it->now_ns == 0)
		it->now_ns = kv_now_ns();
	return expires_ns <= it->now_ns;
}

/* The record at the heap's first, or the next one in the direction of
 * state. */
static int
settle(struct kevo_iter *it, struct kevo_record *rec)
{
	struct kv_source *s;
	struct kv_op op;
	int rc;

	while (it->nheap > 0) {
		s = &it->source[it->heap[0]];
		if (!in_bounds(it, s->key, s->klen))
			break;
		if ((rc = kv_source_op(s, &op)) != 0)
			return failed(it, rc);
		if (op.kind == KV_OP_DELETE || is_expired(it,
		    op.expires_ns)) {
			if ((rc = leave_key(it)) != 0)
				return rc;
			continue;
		}
		it->standing = 1;
		it->records++;
		it->bytes += s->klen + op.vlen;
		if (rec != NULL) {
			rec->key = s->key;
			rec->klen = s->klen;
			rec->value = op.val;
			rec->vlen = op.vlen;
			rec->version = s->seq;
			rec->expires_ns = op.expires_ns;
		}
		return 0;
	}
	it->state = ENDED;
	return KEVO_NOTFOUND;
}

/* ---- what was read ----------------------------------------------------- */

/* It leaves where it is, for another place or another direction. */
static void
end_span(struct kevo_iter *it)
{
	struct kv_bound reached = { NULL, 0 };
	struct kv_bound from = { it->from, it->from_len };
	struct kv_bound to = { it->to, it->to_len };

	if (it->span.track == NULL)
		return;
	if (it->standing) {
		reached.key = it->source[it->heap[0]].key;
		reached.klen = it->source[it->heap[0]].klen;
	}
	kv_span_end(&it->span, &reached, &from, &to);
}

/* ---- public ------------------------------------------------------------ */

/* What it stands on does not go away; but who is in a transaction is to know
 * of its end. */
static int
usable(struct kevo_iter *it)
{
	uint64_t tick;
	int rc = kv_usable(it->db);

	if (rc != 0 || (it->db->join == NULL && it->txn == NULL))
		return rc;
	tick = kv_tick();
	if (tick == it->tick)
		return 0;
	rc = it->txn != NULL ? kv_txn_going_on(it->txn) :
	    kv_join_check(it->db);
	if (rc == 0)
		it->tick = tick;
	return rc;
}

/* The iterator was positioned, beginning at a clock: a seek. */
static int
end_seek(struct kevo_iter *it, uint64_t began, int rc)
{
	if (rc >= 0 && began != 0)
		kv_seek_counted(it->db, began);
	return kv_result(it->db, rc);
}

static int
start(struct kevo_iter *it, enum iter_state dir, const void *key, size_t klen,
    struct kevo_record *rec)
{
	uint64_t began = kv_read_begin(it->db);
	int rc = usable(it);

	end_span(it);
	/* The key may be that of a record that a source is about to leave. */
	if (rc == 0 && key != NULL)
		rc = remember_key(it, key, klen);
	if (rc == 0)
		kv_span_begin(&it->span, dir == BACKWARD, key != NULL ?
		    it->last : NULL, klen);
	if (rc == 0)
		rc = position(it, dir, key != NULL ? it->last : NULL, klen);
	if (rc == 0)
		rc = settle(it, rec);
	return end_seek(it, began, rc);
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
	if (it->from != NULL && kv_key_cmp(key, klen, it->from,
	    it->from_len) < 0)
		return kevo_iter_first(it, rec);
	return start(it, FORWARD, key, klen, rec);
}

static int
stands_on(const struct kevo_iter *it, const void *key, size_t klen)
{
	const struct kv_source *s = &it->source[it->heap[0]];

	return it->nheap > 0 && kv_key_cmp(s->key, s->klen, key, klen) == 0;
}

/* The bound `to` is excluded. */
static int
start_below(struct kevo_iter *it, struct kevo_record *rec)
{
	uint64_t began = kv_read_begin(it->db);
	int rc = usable(it);

	end_span(it);
	kv_span_begin(&it->span, 1, NULL, 0);
	if (rc == 0)
		rc = position(it, BACKWARD, it->to, it->to_len);
	if (rc == 0 && it->to != NULL && stands_on(it, it->to, it->to_len))
		rc = leave_key(it);
	if (rc == 0)
		rc = settle(it, rec);
	return end_seek(it, began, rc);
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
	if (it->to != NULL && kv_key_cmp(key, klen, it->to, it->to_len) >= 0)
		return start_below(it, rec);
	return start(it, BACKWARD, key, klen, rec);
}

/* Stand on the same record, for a walk in the other direction. */
static int
turn(struct kevo_iter *it, enum iter_state dir)
{
	const struct kv_source *s = &it->source[it->heap[0]];
	int rc;

	end_span(it);
	if ((rc = remember_key(it, s->key, s->klen)) != 0)
		return rc;
	kv_span_begin(&it->span, dir == BACKWARD, it->last, it->last_len);
	return position(it, dir, it->last, it->last_len);
}

static int
move(struct kevo_iter *it, enum iter_state dir, struct kevo_record *rec)
{
	int rc = usable(it);

	if (rc == 0 && it->state == ENDED)
		return KEVO_NOTFOUND;
	if (rc == 0 && it->state == UNPOSITIONED)
		return dir == FORWARD ? kevo_iter_first(it, rec) :
		    kevo_iter_last(it, rec);
	if (rc == 0 && it->state != dir)
		rc = turn(it, dir);
	if (rc == 0)
		rc = leave_key(it);
	if (rc == 0)
		rc = settle(it, rec);
	return kv_result(it->db, rc);
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

static int
set_range(struct kevo_iter *it, const struct kevo_range *range)
{
	int rc;

	if (range == NULL)
		return 0;
	rc = copy_bound(it->db, range->from, range->from_len, &it->from,
	    &it->from_len);
	return rc != 0 ? rc : copy_bound(it->db, range->to, range->to_len,
	    &it->to, &it->to_len);
}

static void
add_layers(struct kevo_iter *it, const struct kv_scope *scope)
{
	const struct kv_reach *r = scope->reach;
	struct kv_layer *l = scope->top;

	for (uint32_t i = 0; l != NULL && i < r->n; i++, l = l->below) {
		const struct kv_index *ix = kv_layer_tree(l, r->at[i]);

		if (ix != NULL)
			kv_source_own(&it->source[it->nsource++], it->db, ix,
			    r->at[i]);
	}
}

/* Newest first. */
static int
add_sources(struct kevo_iter *it, const struct kv_scope *scope)
{
	const struct kv_version *ver = it->view->version;
	struct kv_view *v = it->view;
	struct kv_seg *s;
	int rc;

	add_layers(it, scope);
	for (uint64_t c = v->last; c >= v->first; c--) {
		if ((rc = kv_view_seg(it->db, v, c, &s)) != 0)
			return rc;
		kv_source_segment(&it->source[it->nsource++], it->db, &s->ix,
		    scope->seq);
	}
	for (uint32_t i = 0; i < ver->level_start[1]; i++)
		kv_source_tables(&it->source[it->nsource++], it->db, v, i,
		    i + 1);
	for (uint32_t level = 1; level < KV_LEVELS; level++)
		if (ver->level_start[level] < ver->level_start[level + 1])
			kv_source_tables(&it->source[it->nsource++], it->db,
			    v, ver->level_start[level],
			    ver->level_start[level + 1]);
	return 0;
}

static size_t
count_sources(const struct kv_view *v)
{
	const uint32_t *start = v->version->level_start;
	size_t n = (size_t)(v->last - v->first + 1) + start[1];

	for (uint32_t level = 1; level < KV_LEVELS; level++)
		n += start[level] < start[level + 1];
	return n;
}

int
kv_iter_new(struct kevo *db, const struct kv_scope *scope,
    const struct kevo_range *range, struct kevo_iter **out)
{
	size_t n = count_sources(scope->view) +
	    (scope->top != NULL ? scope->reach->n : 0);
	struct kevo_iter *it;
	int rc;

	it = calloc(1, sizeof(*it) + n * sizeof(it->source[0]));
	if (it == NULL) {
		kv_view_release(scope->view);
		return kv_fail(&db->env, KEVO_ENOMEM, "out of memory");
	}
	it->db = db;
	it->view = scope->view;
	it->now_ns = scope->now_ns;
	it->span.track = scope->track;
	it->txn = scope->txn;
	it->heap = malloc((n + 1) * sizeof(it->heap[0]));
	rc = it->heap == NULL ? kv_fail(&db->env, KEVO_ENOMEM,
	    "out of memory") : add_sources(it, scope);
	if (rc == 0)
		rc = set_range(it, range);
	if (rc != 0) {
		kevo_iter_free(it);
		return rc;
	}
	kv_count_read(db, KV_STAT_SCANS, 1);
	*out = it;
	return 0;
}

void
kevo_iter_free(struct kevo_iter *it)
{
	if (it == NULL)
		return;
	end_span(it);
	kv_span_release(&it->span);
	kv_count_read(it->db, KV_STAT_SCAN_RECORDS, it->records);
	kv_count_read(it->db, KV_STAT_READ_BYTES, it->bytes);
	for (uint32_t i = 0; i < it->nsource; i++)
		kv_source_release(&it->source[i]);
	kv_view_release(it->view);
	free(it->last);
	free(it->from);
	free(it->to);
	free(it->heap);
	free(it);
}
