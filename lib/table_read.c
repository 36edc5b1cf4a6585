#include "kevo.h"
#include "table_layout.h"

static int
malformed(struct kv_env *env, struct kv_table *t)
{
	return kv_table_damaged(env, t, "a malformed group in the data before",
	    t->data_len);
}

/* ---- the sorted index -------------------------------------------------- */

/* The first group from lo on whose head is at or above (or, with after, is
 * above) this one.  *ties: its head is the same. */
static int
find_head(struct kv_env *env, struct kv_table *t, uint64_t head, int after,
    uint32_t lo, uint32_t *out, int *ties)
{
	uint32_t hi = t->ngroups;
	int rc;

	*ties = 0;

	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;
		const uint8_t *p = t->heads + (size_t)mid * 8;
		uint64_t v;

		if ((rc = kv_index_ready(env, t, p)) != 0)
			return rc;
		v = get_le64(p);
		*ties |= v == head;
		if (v < head || (after && v == head))
			lo = mid + 1;
		else
			hi = mid;
	}
	*out = lo;
	return 0;
}

/* Of the groups lo to hi, whose heads do not tell them from the key: the
 * first whose first key is above it. */
static int
find_among(struct kv_env *env, struct kv_table *t, struct kv_cache *cache,
    const uint8_t *key, size_t klen, uint32_t lo, uint32_t hi, uint32_t *out)
{
	struct kv_group g;
	int rc, c;

	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;

		if ((rc = kv_table_group(env, t, cache, mid, &g, NULL)) != 0)
			return rc;
		c = kv_group_cmp_first(&g, key, klen);
		if (c == 2)
			return malformed(env, t);
		if (c <= 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	*out = lo;
	return 0;
}

int
kv_table_find_group(struct kv_env *env, struct kv_table *t,
    struct kv_cache *cache, const uint8_t *key, size_t klen, int64_t *number)
{
	uint32_t lo, hi;
	uint64_t head;
	int rc, c, ties;

	c = kv_key_cmp(key, klen < t->prefix_len ? klen : t->prefix_len,
	    t->info.first, t->prefix_len);
	if (c != 0) {
		*number = c < 0 ? -1 : (int64_t)t->ngroups - 1;
		return 0;
	}
	head = kv_key_head(key + t->prefix_len, klen - t->prefix_len);
	if ((rc = find_head(env, t, head, 0, 0, &lo, &ties)) != 0)
		return rc;
	if (ties && ((rc = find_head(env, t, head, 1, lo, &hi, &ties)) != 0 ||
	    (rc = find_among(env, t, cache, key, klen, lo, hi, &lo)) != 0))
		return rc;
	*number = (int64_t)lo - 1;
	return 0;
}

/* ---- looking a key up -------------------------------------------------- */

uint64_t
kv_table_key_hash(const uint8_t id[16], const void *key, size_t klen)
{
	return kv_hash(key, klen, get_le64(id));
}

/* Is the key in this group?  1, 0 or an error. */
static int
get_in_group(struct kv_env *env, struct kv_table *t,
    const struct kv_group *g, const void *key, size_t klen, uint64_t *seq,
    struct kv_op *op)
{
	uint32_t i;
	int r = kv_group_search(g, key, klen, &i);

	if (r == 1 && kv_group_record(g, i, seq, op) != 0)
		r = -1;
	return r < 0 ? malformed(env, t) : r;
}

/* Is it record i? */
static int
get_at(struct kv_env *env, struct kv_table *t, const struct kv_group *g,
    uint32_t i, const void *key, size_t klen, uint64_t *seq, struct kv_op *op)
{
	int r = kv_group_has(g, i, key, klen);

	if (r == 1 && kv_group_record(g, i, seq, op) != 0)
		r = -1;
	return r < 0 ? malformed(env, t) : r;
}

static int
get_sorted(struct kv_env *env, struct kv_table *t, struct kv_cache *cache,
    const void *key, size_t klen, uint64_t *seq, struct kv_op *op)
{
	struct kv_group g;
	int64_t number;
	int rc;

	rc = kv_table_find_group(env, t, cache, key, klen, &number);
	if (rc != 0 || number < 0)
		return rc;
	rc = kv_table_group(env, t, cache, (uint32_t)number, &g, NULL);
	return rc != 0 ? rc : get_in_group(env, t, &g, key, klen, seq, op);
}

/* Follow a slot of the hash index. */
static int
get_at_slot(struct kv_env *env, struct kv_table *t, struct kv_cache *cache,
    uint32_t slot, const void *key, size_t klen, uint64_t *seq,
    struct kv_op *op)
{
	uint32_t loc = kv_slot_loc(slot, &t->tail);
	uint32_t at = kv_slot_at(slot, &t->tail);
	struct kv_group g;
	int rc;

	if (loc == 0)
		return 0;	/* a free slot */
	if (t->tail.direct)
		rc = kv_table_group_at(env, t, (uint64_t)loc << t->unit_shift,
		    &g);
	else if (loc > t->ngroups)
		rc = kv_table_damaged(env, t, "a slot of the hash index "
		    "leads out of range", t->data_len);
	else
		rc = kv_table_group(env, t, cache, loc - 1, &g, NULL);
	if (rc != 0)
		return rc;
	if (t->tail.at_bits == 0)
		return get_in_group(env, t, &g, key, klen, seq, op);
	return get_at(env, t, &g, at, key, klen, seq, op);
}

int
kv_table_get(struct kv_env *env, struct kv_table *t, struct kv_cache *cache,
    const void *key, size_t klen, uint64_t key_hash, uint64_t *seq,
    struct kv_op *op)
{
	uint32_t line, m, n;
	int rc;

	if (t->nlines == 0)
		return get_sorted(env, t, cache, key, klen, seq, op);
	line = kv_line_of(key_hash, t->nlines);
	for (n = 0; n < KV_PROBES && n < t->nlines; n++) {
		const uint8_t *p = t->lines + (size_t)line * KV_LINE;

		if ((rc = kv_index_ready(env, t, p)) != 0)
			return rc;
		for (m = kv_line_match(p, key_hash, t->tail.loc_bits); m != 0;
		    m &= m - 1) {
			uint32_t i = (uint32_t)__builtin_ctz(m);

			rc = get_at_slot(env, t, cache, get_le32(p + 4 * i),
			    key, klen, seq, op);
			if (rc != 0)
				return rc;
		}
		if (get_le32(p + KV_LINE - 4) == 0)
			return 0;
		line = line + 1 == t->nlines ? 0 : line + 1;
	}
	return 0;
}
