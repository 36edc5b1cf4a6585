#include <stdlib.h>
#include <string.h>

#include "cache.h"
#include "codec.h"
#include "env.h"
#include "kevo.h"
#include "segment.h"
#include "table_layout.h"

/*
 * Verification has two halves.  The strict one goes by the index, as readers
 * do, and stops at the first thing that is not as a writer writes it.  The
 * other one, for a repair, goes from unit to unit by what lies in the data
 * alone, and behind a damaged one looks for the next that is sound.
 */
struct walk {
	struct kv_env *env;
	struct kv_table *t;
	struct kv_cache *cache;
	int (*record)(struct walk *w, uint64_t seq, const struct kv_op *op);
	int (*each)(void *arg, uint64_t seq, const struct kv_op *op);
	void *arg;
	uint8_t *key[2];	/* of this record and of the one before */
	uint32_t klen[2];
	int turn;
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
	w->key[0] = malloc(2 * (size_t)KEVO_KEY_MAX);
	w->cache = kv_cache_new(CACHE_BYTES);
	if (w->key[0] == NULL || w->cache == NULL)
		return kv_fail(env, KEVO_ENOMEM, "out of memory");
	w->key[1] = w->key[0] + KEVO_KEY_MAX;
	return 0;
}

static void
stop(struct walk *w)
{
	kv_content_release(&w->content);
	kv_cache_free(w->cache);
	free(w->key[0]);
}

static uint32_t
group_len(const struct kv_group *g)
{
	return get_le32(g->kends - KV_GROUP_HEAD + 8);
}

/* Give each record of a group to w->record.  1 if the group is malformed. */
static int
walk_group(struct walk *w, const struct kv_group *g)
{
	const uint8_t *s;
	struct kv_op op;
	uint64_t seq;
	uint32_t len;
	int rc;

	for (uint32_t i = 0; i < g->n; i++) {
		if (kv_group_suffix(g, i, &s, &len) != 0 ||
		    kv_group_record(g, i, &seq, &op) != 0 ||
		    g->prefix_len + len == 0 ||
		    g->prefix_len + len > KEVO_KEY_MAX)
			return 1;
		w->turn ^= 1;
		memcpy(w->key[w->turn], g->prefix, g->prefix_len);
		memcpy(w->key[w->turn] + g->prefix_len, s, len);
		op.key = w->key[w->turn];
		op.klen = w->klen[w->turn] = g->prefix_len + len;
		op.len = 0;
		if ((rc = w->record(w, seq, &op)) != 0)
			return rc;
	}
	return 0;
}

/* ---- strict ------------------------------------------------------------ */

static int
bad(struct walk *w, const char *what)
{
	return kv_fail(w->env, KEVO_ECORRUPT, "%s: damaged: %s", w->t->path,
	    what);
}

static int
check_record(struct walk *w, uint64_t seq, const struct kv_op *op)
{
	struct kv_table_tail *f = &w->found;
	struct kv_op found;
	uint64_t found_seq;
	int rc;

	if (f->count == 0 && kv_key_cmp(op->key, op->klen, w->t->info.first,
	    w->t->info.first_len) != 0)
		return bad(w, "its first key is another one");
	if (f->count > 0 && kv_key_cmp(w->key[!w->turn], w->klen[!w->turn],
	    op->key, op->klen) >= 0)
		return bad(w, "keys out of order");
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
	uint8_t *key = w->key[!w->turn];
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
	uint32_t len = group_len(g);

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
	rc = walk_group(w, &g);
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
	if (kv_key_cmp(w->key[w->turn], w->klen[w->turn], i->last,
	    i->last_len) != 0)
		return bad(w, "its last key is another one");
	return 0;
}

static int
verify(struct kv_env *env, struct kv_table *t)
{
	struct walk w;
	int rc = start(&w, env, t);

	w.record = check_record;
	if (rc == 0 && (rc = check_head(&w)) == 0 &&
	    (rc = check_pages(&w)) == 0 && (rc = check_groups(&w)) == 0)
		rc = check_sums(&w);
	stop(&w);
	return rc;
}

/* ---- what can be read -------------------------------------------------- */

static int
give_record(struct walk *w, uint64_t seq, const struct kv_op *op)
{
	return w->each(w->arg, seq, op);
}

/* The records of groups that fill len bytes.  1: not all of them are
 * groups. */
static int
give_groups(struct walk *w, const uint8_t *p, uint64_t len)
{
	struct kv_group g;
	int rc;

	while (len > 0) {
		if (kv_group_parse(p, len, &g) != 0)
			return 1;
		if ((rc = walk_group(w, &g)) != 0)
			return rc;
		p += group_len(&g);
		len -= group_len(&g);
	}
	return 0;
}

/* The records of the sound block at off. */
static int
give_block(struct walk *w, uint64_t off)
{
	struct kv_content c;
	struct kv_block *b;
	uint8_t *to;
	size_t len;
	int r = kv_block_parse(w->t, off, &c, &len);

	if (r <= 0)
		return r < 0 ? 1 : give_groups(w, c.p, c.len);
	b = kv_cache_add(w->cache, 0, off, len, KV_OVERREAD, &to);
	if (b == NULL)
		return kv_fail(w->env, KEVO_ENOMEM, "out of memory");
	kv_block_pin(b);
	r = 1;
	if (kv_codec_decompress(kv_cache_work(w->cache), w->t->codec, c.p,
	    (size_t)c.len, to, len) == 0)
		r = give_groups(w, b->data, len);
	kv_block_unpin(b);
	kv_cache_drop(w->cache, b);
	return r;
}

/* Does a sound unit begin at off?  Its length, or 0. */
static uint32_t
unit_at(const struct walk *w, uint64_t off, uint64_t end)
{
	const uint8_t *p = w->t->map + off;

	return kv_unit_sound(p, end - off, w->t->seed, off) ?
	    get_le32(p + 8) : 0;
}

/*
 * Each sound unit before `end`.  Where one is not, the next may begin at any
 * place.  Bytes that look like the beginning of a unit but are not cost a
 * hash each time: what may be spent on that is bounded.
 */
static int
give_units(struct walk *w, uint64_t end, uint64_t *lost)
{
	const uint8_t *map = w->t->map;
	uint8_t shift = w->t->unit_shift;
	uint64_t off = KV_TABLE_HEAD, spent = 0;
	int rc, searching = 0;

	while (off < end && end - off >= KV_GROUP_HEAD &&
	    spent < 16 * (end + KV_PAGE)) {
		uint32_t len = unit_at(w, off, end);

		if (len == 0 && end - off < KV_TABLE_ALIGN &&
		    kv_all_zero(map + off, end - off))
			break;
		if (len == 0) {
			*lost += !searching;
			searching = 1;
			len = get_le32(map + off + 8);
			spent += len <= end - off ? len : 0;
			off += (uint64_t)1 << shift;
			continue;
		}
		searching = 0;
		rc = w->t->codec == KV_CODEC_NONE ? give_groups(w, map + off,
		    len) : give_block(w, off);
		if (rc < 0)
			return rc;
		*lost += rc == 1;
		off = kv_unit_end(off, len, shift);
	}
	return 0;
}

static int
give_all(struct kv_env *env, struct kv_table *t, uint64_t end,
    int (*each)(void *arg, uint64_t seq, const struct kv_op *op), void *arg,
    uint64_t *lost)
{
	struct walk w;
	int rc = start(&w, env, t);

	w.record = give_record;
	w.each = each;
	w.arg = arg;
	if (rc == 0)
		rc = give_units(&w, end, lost);
	stop(&w);
	return rc;
}

int
kv_table_verify(struct kv_env *env, struct kv_table *t,
    int (*each)(void *arg, uint64_t seq, const struct kv_op *op), void *arg,
    uint64_t *lost)
{
	struct kv_env first;
	int rc = verify(env, t), given;

	*lost = 0;
	if (each == NULL || (rc != 0 && rc != KEVO_ECORRUPT))
		return rc;
	first = *env;
	given = give_all(env, t, t->data_len, each, arg, lost);
	if (given != 0)
		return given;
	*env = first;
	return rc;
}

int
kv_table_salvage(struct kv_env *env, const struct kv_dir *dir,
    uint64_t number, const uint8_t id[16],
    int (*each)(void *arg, uint64_t seq, const struct kv_op *op), void *arg,
    uint64_t *lost)
{
	uint8_t head[KV_TABLE_HEAD];
	struct kv_table *t;
	int rc;

	*lost = 0;
	if ((rc = kv_table_map(env, dir, number, 0, &t)) != 0)
		return rc;
	t->codec = t->map[KV_TABLE_HEAD_CODEC];
	t->unit_shift = kv_unit_shift(t->codec);
	t->seed = kv_table_seed(id, number);
	kv_table_head_encode(head, id, number, t->codec);
	if (memcmp(head, t->map, sizeof(head)) != 0) {
		*lost = 1;
		rc = kv_fail(env, KEVO_ECORRUPT, "%s: damaged: both its head "
		    "and its tail are wrong", t->path);
	} else if ((rc = give_all(env, t, t->info.size, each, arg,
	    lost)) == 0)
		rc = kv_fail(env, KEVO_ECORRUPT, "%s: damaged: its tail is "
		    "wrong", t->path);
	kv_table_unref(t);
	return rc;
}
