#include <stdlib.h>
#include <string.h>

#include "cache.h"
#include "codec.h"
#include "env.h"
#include "kevo.h"
#include "segment.h"
#include "table_layout.h"

/*
 * Verification goes by the index, as readers do, and stops at the first thing
 * that is not as a writer writes it.  What can still be read then,
 * table_salvage.c finds.
 */
struct walk {
	struct kv_env *env;
	struct kv_table *t;
	struct kv_cache *cache;
	uint8_t *key, *last;	/* of this record and of the one before */
	uint32_t last_len;
	struct kv_table_tail found;	/* what the records add up to */
	struct kv_content content;	/* the block that is being walked */
	uint64_t unit_end;	/* where its unit ends */
	uint64_t sub, sub_end;	/* where the next group in it begins, and where
				 * its groups end */
};

#define CACHE_BYTES	((size_t)1 << 20)

static int
start(struct walk *w, struct kv_env *env, struct kv_table *t)
{
	memset(w, 0, sizeof(*w));
	w->env = env;
	w->t = t;
	w->found.min_seq = UINT64_MAX;
	w->unit_end = KV_TABLE_HEAD;
	w->key = malloc(2 * (size_t)KEVO_KEY_MAX);
	w->cache = kv_cache_new(CACHE_BYTES);
	if (w->key == NULL || w->cache == NULL)
		return kv_fail(env, KEVO_ENOMEM, "out of memory");
	w->last = w->key + KEVO_KEY_MAX;
	return 0;
}

static void
stop(struct walk *w)
{
	kv_content_release(&w->content);
	kv_cache_free(w->cache);
	free(w->key);
}

static int
bad(struct walk *w, const char *what)
{
	return kv_fail(w->env, KEVO_ECORRUPT, "%s: damaged: %s", w->t->path,
	    what);
}

static int
check_record(void *arg, uint64_t seq, const struct kv_op *op)
{
	struct walk *w = arg;
	struct kv_table_tail *f = &w->found;
	struct kv_op found;
	uint64_t found_seq;
	int rc;

	if (f->count == 0 && kv_key_cmp(op->key, op->klen, w->t->info.first,
	    w->t->info.first_len) != 0)
		return bad(w, "its first key is another one");
	if (f->count > 0 && kv_key_cmp(w->last, w->last_len,
	    op->key, op->klen) >= 0)
		return bad(w, "keys out of order");
	memcpy(w->last, op->key, op->klen);
	w->last_len = op->klen;
	f->count++;
	f->deletes += op->kind == KV_OP_DELETE;
	f->expiring += op->expires_ns != 0;
	f->raw_bytes += (uint64_t)op->klen + op->vlen;
	f->min_seq = seq < f->min_seq ? seq : f->min_seq;
	f->max_seq = seq > f->max_seq ? seq : f->max_seq;
	rc = kv_table_get(w->env, w->t, w->cache, op->key, op->klen,
	    kv_table_key_hash(w->t->tail.id, op->key, op->klen), &found_seq,
	    &found);
	if (rc < 0)
		return rc;
	if (rc == 0 || found_seq != seq || found.vlen != op->vlen)
		return bad(w, "an index does not lead to a key");
	return 0;
}

static int
check_head(struct walk *w)
{
	const struct kv_table_tail *t = &w->t->tail;
	uint8_t head[KV_TABLE_HEAD];

	kv_table_head_encode(head, t->id, t->number, t->codec);
	return memcmp(head, w->t->map, sizeof(head)) == 0 ? 0 :
	    bad(w, "its head is wrong");
}

static int
check_pages(struct walk *w)
{
	struct kv_table *t = w->t;
	uint64_t pages = (t->index_len + KV_PAGE - 1) / KV_PAGE, used = 0;
	const uint8_t *p;
	int rc;

	if (kv_hash(t->sums, (size_t)pages * 8, t->seed) != t->tail.sums_hash)
		return bad(w, "the hash of the hashes of its index is wrong");
	for (uint64_t i = 0; i < pages; i++)
		if ((rc = kv_table_check_index(w->env, t, i)) != 0)
			return rc;
	p = t->codec == KV_CODEC_NONE ? t->subs : t->subs + t->ngroups *
	    (size_t)4;
	if (!kv_all_zero(p, (uint64_t)(t->sums - p)))
		return bad(w, "something behind its index");
	for (p = t->lines; p < t->heads; p += 4)
		used += get_le32(p) != 0;
	return t->nlines == 0 || used == t->info.count ? 0 :
	    bad(w, "its hash index has another number of keys");
}

/* What an index says of a group and what its first record says. */
static int
check_entry(struct walk *w, uint32_t number, const struct kv_group *g)
{
	const struct kv_table *t = w->t;
	uint8_t *key = w->key;
	const uint8_t *s;
	uint32_t len;

	if (kv_group_suffix(g, 0, &s, &len) != 0 ||
	    g->prefix_len + len > KEVO_KEY_MAX ||
	    g->prefix_len + len < t->prefix_len)
		return bad(w, "a malformed group");
	memcpy(key, g->prefix, g->prefix_len);
	memcpy(key + g->prefix_len, s, len);
	if (get_le64(t->heads + (size_t)number * 8) != kv_key_head(key +
	    t->prefix_len, g->prefix_len + len - t->prefix_len))
		return bad(w, "an entry of the sorted index is wrong");
	return 0;
}

static int
kinds_known(const struct kv_group *g)
{
	for (uint32_t i = 0; g->kinds != NULL && i < g->n; i++)
		if (g->kinds[i] > 1)
			return 0;
	return 1;
}

/* A group has no more records than it may, of kinds that there are, and its
 * columns end where their areas do. */
static int
check_ends(struct walk *w, const struct kv_group *g)
{
	if (g->n > w->t->tail.restart_interval || !kinds_known(g) ||
	    kv_group_kend(g, g->n - 1) != g->suffix_len ||
	    kv_group_vend(g, g->n - 1) != g->values_len)
		return bad(w, "a malformed group");
	return 0;
}

/* The unit at off follows the one before it, with zeros between them. */
static int
check_gap(struct walk *w, uint64_t off)
{
	uint64_t gap = off - w->unit_end;

	if (off < w->unit_end || gap >= KV_TABLE_ALIGN ||
	    !kv_all_zero(w->t->map + w->unit_end, gap))
		return bad(w, "something between its blocks");
	if (off < w->t->data_len)
		w->unit_end = off + get_le32(w->t->map + off + 8);
	return 0;
}

/* The groups of a block fill it. */
static int
check_filled(struct walk *w)
{
	return w->sub == w->sub_end ? 0 : bad(w, "bytes behind the groups of "
	    "a block");
}

/* Group `number` begins where the one before it ended. */
static int
check_place(struct walk *w, uint32_t number, const struct kv_group *g)
{
	const struct kv_table *t = w->t;
	uint32_t len = kv_group_len(g);

	w->sub_end = t->codec == KV_CODEC_NONE ? len : w->content.len;
	if (t->codec != KV_CODEC_NONE &&
	    get_le32(t->subs + (size_t)number * 4) != w->sub)
		return bad(w, "an entry of the sorted index is wrong");
	w->sub += len;
	return 0;
}

static int
check_group(struct walk *w, uint32_t number)
{
	struct kv_group g;
	int rc;

	rc = kv_table_group(w->env, w->t, w->cache, number, &g, &w->content);
	if (rc != 0 || (rc = check_place(w, number, &g)) != 0 ||
	    (rc = check_entry(w, number, &g)) != 0 ||
	    (rc = check_ends(w, &g)) != 0)
		return rc;
	rc = kv_group_each(&g, w->key, check_record, w);
	return rc == 1 ? bad(w, "a malformed group") : rc;
}

static int
check_groups(struct walk *w)
{
	const struct kv_table *t = w->t;
	uint64_t last = 0;
	int rc;

	for (uint32_t i = 0; i < t->ngroups; i++) {
		uint64_t off = (uint64_t)get_le32(t->places + (size_t)i * 4)
		    << t->unit_shift;

		if (off != last && ((rc = check_filled(w)) != 0 ||
		    (rc = check_gap(w, off)) != 0))
			return rc;
		if (off != last)
			w->sub = 0;
		last = off;
		if ((rc = check_group(w, i)) != 0)
			return rc;
	}
	if ((rc = check_filled(w)) != 0)
		return rc;
	return check_gap(w, t->data_len);
}

static int
check_sums(struct walk *w)
{
	const struct kv_table_info *i = &w->t->info;
	const struct kv_table_tail *f = &w->found;

	if (f->count != i->count || f->deletes != i->deletes ||
	    f->expiring != i->expiring || f->raw_bytes != i->raw_bytes ||
	    f->min_seq != i->min_seq || f->max_seq != i->max_seq)
		return bad(w, "its records do not add up to what its tail "
		    "says");
	if (kv_key_cmp(w->last, w->last_len, i->last,
	    i->last_len) != 0)
		return bad(w, "its last key is another one");
	return 0;
}

int
kv_table_verify(struct kv_env *env, struct kv_table *t)
{
	struct walk w;
	int rc = start(&w, env, t);

	if (rc == 0 && (rc = check_head(&w)) == 0 &&
	    (rc = check_pages(&w)) == 0 && (rc = check_groups(&w)) == 0)
		rc = check_sums(&w);
	stop(&w);
	return rc;
}

/* Each unit by its hash, and that there is nothing between them. */
static int
check_units(struct walk *w)
{
	const struct kv_table *t = w->t;
	uint64_t last = 0, off;
	int rc;

	for (uint32_t i = 0; i < t->ngroups; i++, last = off) {
		off = (uint64_t)get_le32(t->places + (size_t)i * 4) <<
		    t->unit_shift;
		if (off == last)
			continue;
		if (off >= t->data_len)
			return bad(w, "an entry of the sorted index is "
			    "wrong");
		if ((rc = check_gap(w, off)) != 0)
			return rc;
		if (!kv_unit_sound(t->map + off, t->data_len - off, t->seed,
		    off))
			return kv_table_damaged(w->env, w->t, "the hash of a "
			    "block is wrong", off);
	}
	return check_gap(w, t->data_len);
}

int
kv_table_verify_hashes(struct kv_env *env, struct kv_table *t)
{
	struct walk w;
	int rc = start(&w, env, t);

	if (rc == 0 && (rc = check_head(&w)) == 0 &&
	    (rc = check_pages(&w)) == 0)
		rc = check_units(&w);
	stop(&w);
	return rc;
}
