#include <stdlib.h>
#include <string.h>

#include "env.h"
#include "flush_sort.h"
#include "heap.h"
#include "key.h"
#include "kevo.h"
#include "record.h"

/*
 * Operations are sorted in runs of a bounded length, and the runs are merged.
 * An entry of a run is 16 bytes; most comparisons are decided by the eight
 * bytes of the key in it, which are taken behind what all keys have in common.
 */

#define RUN_MAX		((size_t)1 << 20)
#define AHEAD		16		/* entries whose log is fetched early */

struct kv_flush_run {
	const struct kv_flush_segment *s;
	struct kv_flush_entry *e;	/* among all of them, once these are
					 * complete */
	size_t first, n, at;
};

/* ---- taking them ------------------------------------------------------- */

static int
grow(struct kv_env *env, void *pp, size_t *room, size_t first, size_t size)
{
	size_t n = *room != 0 ? 2 * *room : first;
	void *p = realloc(*(void **)pp, n * size);

	if (p == NULL)
		return kv_fail(env, KEVO_ENOMEM, "out of memory");
	*(void **)pp = p;
	*room = n;
	return 0;
}

static int
begin_run(struct kv_flush_sort *o, const struct kv_flush_segment *s)
{
	size_t room = o->run_room;
	int rc;

	if (o->nrun == o->run_room) {
		rc = grow(o->env, &o->run, &room, 16, sizeof(o->run[0]));
		if (rc != 0)
			return rc;
		o->run_room = (uint32_t)room;
	}
	memset(&o->run[o->nrun], 0, sizeof(o->run[0]));
	o->run[o->nrun].s = s;
	o->run[o->nrun++].first = o->n;
	return 0;
}

static void
note_common(struct kv_flush_sort *o, const struct kv_op *op)
{
	uint32_t n = 0;

	if (o->common == NULL) {
		o->common = op->key;
		o->ncommon = op->klen;
		return;
	}
	while (n < o->ncommon && n < op->klen && o->common[n] == op->key[n])
		n++;
	o->ncommon = n;
}

int
kv_flush_add(struct kv_flush_sort *o, const struct kv_flush_segment *s,
    uint64_t seq, uint64_t off, const struct kv_op *op)
{
	struct kv_flush_entry *e;
	int rc;

	if (o->nrun == 0 || o->run[o->nrun - 1].s != s ||
	    o->run[o->nrun - 1].n == RUN_MAX)
		if ((rc = begin_run(o, s)) != 0)
			return rc;
	if (o->n == o->room && (rc = grow(o->env, &o->entry, &o->room,
	    (size_t)1 << 12, sizeof(o->entry[0]))) != 0)
		return rc;
	e = &o->entry[o->n++];
	e->off = (uint32_t)off;
	e->seq = (uint32_t)(seq - s->head.first_seq);
	o->run[o->nrun - 1].n++;
	o->bytes += op->len;
	note_common(o, op);
	return 0;
}

void
kv_flush_forget(struct kv_flush_sort *o, uint64_t counter)
{
	while (o->nrun > 0 && o->run[o->nrun - 1].s->head.counter >= counter)
		o->n = o->run[--o->nrun].first;
}

uint64_t
kv_flush_memory(const struct kv_flush_sort *o)
{
	return o->n * sizeof(struct kv_flush_entry);
}

/* ---- sorting ----------------------------------------------------------- */

static inline void
key_of(const struct kv_flush_segment *s, const struct kv_flush_entry *e,
    const uint8_t **key, uint32_t *klen)
{
	/* It was decoded before, so it lies within the log. */
	if (kv_op_key(s->log, s->len, e->off, key, klen) != 0) {
		*key = s->log;
		*klen = 0;
	}
}

static int
compare_whole(const struct kv_flush_segment *sa, const struct kv_flush_entry *a,
    const struct kv_flush_segment *sb, const struct kv_flush_entry *b)
{
	const uint8_t *ka, *kb;
	uint32_t la, lb;

	key_of(sa, a, &ka, &la);
	key_of(sb, b, &kb, &lb);
	return kv_key_cmp(ka, la, kb, lb);
}

static inline int
compare_keys(const struct kv_flush_segment *sa, const struct kv_flush_entry *a,
    const struct kv_flush_segment *sb, const struct kv_flush_entry *b)
{
	if (a->head != b->head)
		return a->head < b->head ? -1 : 1;
	return compare_whole(sa, a, sb, b);
}

static void
fill_heads(struct kv_flush_sort *o, struct kv_flush_run *r)
{
	const uint8_t *key;
	uint32_t klen;

	for (size_t i = 0; i < r->n; i++) {
		key_of(r->s, &r->e[i], &key, &klen);
		r->e[i].head = klen < o->ncommon ? 0 :
		    kv_key_head(key + o->ncommon, klen - o->ncommon);
	}
}

static void
insertion_sort(const struct kv_flush_segment *s, struct kv_flush_entry *e,
    size_t n)
{
	for (size_t i = 1; i < n; i++) {
		struct kv_flush_entry x = e[i];
		size_t k = i;

		/* Later is newer: among equals it comes first. */
		while (k > 0 && compare_keys(s, &x, s, &e[k - 1]) <= 0) {
			e[k] = e[k - 1];
			k--;
		}
		e[k] = x;
	}
}

/* tmp has room for half of n. */
static void
merge_sort(const struct kv_flush_segment *s, struct kv_flush_entry *e, size_t n,
    struct kv_flush_entry *tmp)
{
	size_t half = n / 2, i = 0, k = half, out = 0;

	if (n <= 12) {
		insertion_sort(s, e, n);
		return;
	}
	merge_sort(s, e, half, tmp);
	merge_sort(s, e + half, n - half, tmp);
	if (compare_keys(s, &e[half - 1], s, &e[half]) < 0)
		return;		/* in order already */
	memcpy(tmp, e, half * sizeof(*e));
	while (i < half && k < n) {
		if (compare_keys(s, &e[k], s, &tmp[i]) <= 0)
			e[out++] = e[k++];
		else
			e[out++] = tmp[i++];
	}
	memcpy(e + out, tmp + i, (half - i) * sizeof(*e));
}

/* ---- merging the runs -------------------------------------------------- */

static int
run_before(const void *ctx, uint32_t a, uint32_t b)
{
	const struct kv_flush_sort *o = ctx;
	const struct kv_flush_run *x = &o->run[a], *y = &o->run[b];
	int c = compare_keys(x->s, &x->e[x->at], y->s, &y->e[y->at]);

	return c != 0 ? c < 0 : a > b;	/* the newer run first */
}

static int
build_heap(struct kv_flush_sort *o)
{
	o->heap = malloc((o->nrun + 1) * sizeof(o->heap[0]));
	if (o->heap == NULL)
		return kv_fail(o->env, KEVO_ENOMEM, "out of memory");
	for (uint32_t i = 0; i < o->nrun; i++)
		o->heap[o->nheap++] = i;
	kv_heap_build(o->heap, o->nheap, run_before, o);
	return 0;
}

int
kv_flush_order(struct kv_flush_sort *o)
{
	size_t longest = 0;
	struct kv_flush_entry *tmp;

	for (uint32_t i = 0; i < o->nrun; i++)
		if (o->run[i].n > longest)
			longest = o->run[i].n;
	if ((tmp = malloc((longest / 2 + 1) * sizeof(*tmp))) == NULL)
		return kv_fail(o->env, KEVO_ENOMEM, "out of memory");
	for (uint32_t i = 0; i < o->nrun; i++) {
		o->run[i].e = o->entry + o->run[i].first;
		fill_heads(o, &o->run[i]);
		merge_sort(o->run[i].s, o->run[i].e, o->run[i].n, tmp);
	}
	free(tmp);
	return build_heap(o);
}

void
kv_flush_range(const struct kv_flush_sort *o, struct kv_flush_keys *out)
{
	memset(out, 0, sizeof(*out));
	for (uint32_t i = 0; i < o->nrun; i++) {
		const struct kv_flush_run *r = &o->run[i];
		const uint8_t *key;
		uint32_t klen;

		key_of(r->s, &r->e[0], &key, &klen);
		if (out->first == NULL || kv_key_cmp(key, klen, out->first,
		    out->first_len) < 0) {
			out->first = key;
			out->first_len = klen;
		}
		key_of(r->s, &r->e[r->n - 1], &key, &klen);
		if (out->last == NULL || kv_key_cmp(key, klen, out->last,
		    out->last_len) > 0) {
			out->last = key;
			out->last_len = klen;
		}
	}
}

/* Keys and small values come from all over the log. */
static inline void
fetch_early(const struct kv_flush_segment *s, uint32_t off)
{
	__builtin_prefetch(s->log + off);
	__builtin_prefetch(s->log + off + 64);
	__builtin_prefetch(s->log + off + 128);
}

static void
advance(struct kv_flush_sort *o)
{
	struct kv_flush_run *r = &o->run[o->heap[0]];

	if (++r->at == r->n)
		o->heap[0] = o->heap[--o->nheap];
	else if (r->at + AHEAD < r->n)
		fetch_early(r->s, r->e[r->at + AHEAD].off);
	if (o->nheap > 1)
		kv_heap_sift(o->heap, o->nheap, 0, run_before, o);
}

int
kv_flush_next(struct kv_flush_sort *o, struct kv_flush_op *out)
{
	const struct kv_flush_run *r;
	struct kv_flush_entry e;

	if (o->nheap == 0)
		return 0;
	r = &o->run[o->heap[0]];
	e = r->e[r->at];
	out->s = r->s;
	out->off = e.off;
	out->seq = r->s->head.first_seq + e.seq;
	advance(o);
	out->again = o->last_s != NULL && compare_keys(out->s, &e, o->last_s,
	    &o->last) == 0;
	o->last_s = out->s;
	o->last = e;
	return 1;
}

void
kv_flush_sort_release(struct kv_flush_sort *o)
{
	free(o->entry);
	free(o->run);
	free(o->heap);
}
