#include "cache.h"
#include "codec.h"
#include "env.h"
#include "kevo.h"
#include "table_layout.h"

/* ---- verifying at the first touch -------------------------------------- */

int
kv_table_check_index(struct kv_env *env, struct kv_table *t, uint64_t page)
{
	uint64_t off = page << KV_PAGE_SHIFT, len = t->index_len - off;
	uint64_t at = t->data_len + off;

	if (len > KV_PAGE)
		len = KV_PAGE;
	if (kv_hash(t->map + at, (size_t)len, kv_page_seed(t->seed, at)) !=
	    get_le64(t->sums + page * 8))
		return kv_table_damaged(env, t, "the hash of a page of the "
		    "index is wrong", at);
	t->index_ok[page / 64] |= (uint64_t)1 << page % 64;
	return 0;
}

int
kv_unit_sound(const uint8_t *p, uint64_t avail, uint64_t seed, uint64_t off)
{
	uint32_t len, split;

	if (avail < KV_UNIT_HEAD)
		return 0;
	len = get_le32(p + 8);
	split = get_le32(p + 12);
	return len <= avail && split >= KV_UNIT_HEAD && split <= len &&
	    get_le64(p) == kv_unit_hash(p, split, p + split, len - split,
	    seed, off);
}

/* Where the unit of a group lies. */
static int
find_place(struct kv_env *env, struct kv_table *t, uint32_t number,
    uint64_t *off)
{
	const uint8_t *p = t->places + (size_t)number * 4;
	int rc;

	if ((rc = kv_index_ready(env, t, p)) != 0)
		return rc;
	*off = (uint64_t)get_le32(p) << t->unit_shift;
	if (*off >= t->data_len)
		return kv_table_damaged(env, t, "a place out of range",
		    t->data_len + (uint64_t)(p - t->lines));
	return 0;
}

/* The first group whose unit begins at off or later. */
static int
first_at(struct kv_env *env, struct kv_table *t, uint64_t off, uint32_t *out)
{
	uint32_t lo = 0, hi = t->ngroups;
	uint64_t place;
	int rc;

	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;

		if ((rc = find_place(env, t, mid, &place)) != 0)
			return rc;
		if (place < off)
			lo = mid + 1;
		else
			hi = mid;
	}
	*out = lo;
	return 0;
}

/* The group after those whose unit begins at off, of which `number` is one,
 * and where its unit begins, or the data end. */
static int
next_unit(struct kv_env *env, struct kv_table *t, uint64_t off,
    uint32_t *number, uint64_t *next)
{
	int rc;

	while (++*number < t->ngroups) {
		if ((rc = find_place(env, t, *number, next)) != 0)
			return rc;
		if (*next != off)
			return 0;
	}
	*next = t->data_len;
	return 0;
}

/*
 * The unit at off is sound, or it is large.  It must end before the next one
 * begins: a damaged length could else make it look like a large one, whose
 * bit in data_ok is another unit's.
 */
static int
is_sound_or_large(const struct kv_table *t, uint64_t off, uint64_t next)
{
	const uint8_t *p = t->map + off;
	uint32_t len = get_le32(p + 8);

	if (next < off)
		return 0;
	return (len >= KV_UNIT_LARGE && len <= next - off) ||
	    kv_unit_sound(p, next - off, t->seed, off);
}

int
kv_table_check_data(struct kv_env *env, struct kv_table *t, uint64_t page)
{
	uint64_t off = 0, next;
	uint32_t i;
	int rc;

	rc = first_at(env, t, page << KV_PAGE_SHIFT, &i);
	if (rc == 0 && i < t->ngroups)
		rc = find_place(env, t, i, &off);
	if (rc != 0)
		return rc;
	for (; i < t->ngroups && off >> KV_PAGE_SHIFT == page; off = next) {
		if ((rc = next_unit(env, t, off, &i, &next)) != 0)
			return rc;
		if (!is_sound_or_large(t, off, next))
			return kv_table_damaged(env, t, "the hash of a block "
			    "is wrong", off);
	}
	t->data_ok[page / 64] |= (uint64_t)1 << page % 64;
	return 0;
}

int
kv_table_check_large(struct kv_env *env, struct kv_table *t, uint64_t off)
{
	uint64_t page = (off >> KV_PAGE_SHIFT) + 1;

	if (!kv_unit_sound(t->map + off, t->data_len - off, t->seed, off))
		return kv_table_damaged(env, t, "the hash of a block is "
		    "wrong", off);
	t->data_ok[page / 64] |= (uint64_t)1 << page % 64;
	return 0;
}

/* ---- groups ------------------------------------------------------------ */

int
kv_table_group_at(struct kv_env *env, struct kv_table *t, uint64_t off,
    struct kv_group *g)
{
	int rc;

	if (off >= t->data_len)
		return kv_table_damaged(env, t, "a slot of the hash index "
		    "leads out of range", off);
	if ((rc = kv_unit_ready(env, t, off)) != 0)
		return rc;
	if (kv_group_parse(t->map + off, t->data_len - off, g) != 0)
		return kv_table_damaged(env, t, "impossible lengths", off);
	return 0;
}

int
kv_block_parse(const struct kv_table *t, uint64_t off, struct kv_content *c,
    size_t *len)
{
	const uint8_t *p = t->map + off;
	uint32_t unit_len = get_le32(p + 8), split = get_le32(p + 12);
	uint8_t codec = p[20];

	if (unit_len < KV_BLOCK_HEAD || split < KV_BLOCK_HEAD || p[21] != 0 ||
	    get_le16(p + 22) != 0)
		return -1;
	c->off = off;
	c->p = p + KV_BLOCK_HEAD;
	c->len = unit_len - KV_BLOCK_HEAD;
	c->block = NULL;
	*len = get_le32(p + 16);
	if (codec == KV_CODEC_NONE)
		return *len == c->len ? 0 : -1;
	return codec == t->codec && split == KV_BLOCK_HEAD && *len <=
	    KV_BLOCK_MAX ? 1 : -1;
}

/* Decompress what c says into the cache; c says then where it is. */
static int
unpack(struct kv_env *env, struct kv_table *t, struct kv_cache *cache,
    int passing, struct kv_content *c, size_t len)
{
	struct kv_block *b;
	uint8_t *to;

	if (cache == NULL)
		return kv_fail(env, KEVO_EINVAL, "%s: it is compressed, and "
		    "there is no cache", t->path);
	b = kv_cache_add(cache, t->info.hash, c->off, len, KV_OVERREAD, &to);
	if (b == NULL)
		return kv_fail(env, KEVO_ENOMEM, "%s: out of memory",
		    t->path);
	if (kv_codec_decompress(kv_cache_work(cache), t->codec, c->p,
	    (size_t)c->len, to, len) != 0) {
		kv_cache_drop(cache, b);
		return kv_table_damaged(env, t, "a block that does not "
		    "decompress", c->off);
	}
	if (passing)
		kv_block_pass(b);
	c->block = b;
	return 0;
}

/* The content of the block at off, in the map or in the cache; the caller
 * will look at byte `at` of it. */
static int
read_content(struct kv_env *env, struct kv_table *t, struct kv_cache *cache,
    int passing, uint64_t off, uint32_t at, struct kv_content *c)
{
	size_t len;
	int r, rc;

	/* What is in the cache was verified, and the map need not be touched:
	 * its pages may not be in memory. */
	c->block = cache == NULL ? NULL : kv_cache_find(cache, t->info.hash,
	    off, at);
	if (c->block == NULL) {
		if ((rc = kv_unit_ready(env, t, off)) != 0)
			return rc;
		if ((r = kv_block_parse(t, off, c, &len)) < 0)
			return kv_table_damaged(env, t, "impossible lengths",
			    off);
		if (r == 0)
			return 0;
		if ((rc = unpack(env, t, cache, passing, c, len)) != 0)
			return rc;
	}
	c->off = off;
	c->p = c->block->data;
	c->len = c->block->len;
	return 0;
}

void
kv_content_release(struct kv_content *keep)
{
	if (keep->block != NULL)
		kv_block_unpin(keep->block);
	keep->block = NULL;
	keep->p = NULL;
}

static int
group_in_block(struct kv_env *env, struct kv_table *t,
    struct kv_cache *cache, uint32_t number, uint64_t off,
    struct kv_group *g, struct kv_content *keep)
{
	const uint8_t *sub = t->subs + (size_t)number * 4;
	int passing = keep != NULL && keep->passing, rc;
	struct kv_content c;
	uint32_t at;

	if ((rc = kv_index_ready(env, t, sub)) != 0)
		return rc;
	at = get_le32(sub);
	if (keep != NULL && keep->p != NULL && keep->off == off) {
		c = *keep;
	} else {
		/* First: the next block takes its memory, which is warm. */
		if (keep != NULL)
			kv_content_release(keep);
		if ((rc = read_content(env, t, cache, passing, off, at,
		    &c)) != 0)
			return rc;
		if (keep != NULL) {
			if (c.block != NULL)
				kv_block_pin(c.block);
			*keep = c;
			keep->passing = passing;
		}
	}
	if (at > c.len || kv_group_parse(c.p + at, c.len - at, g) != 0)
		return kv_table_damaged(env, t, "impossible lengths", off);
	return 0;
}

int
kv_table_group(struct kv_env *env, struct kv_table *t,
    struct kv_cache *cache, uint32_t number, struct kv_group *g,
    struct kv_content *keep)
{
	uint64_t off;
	int rc;

	if ((rc = find_place(env, t, number, &off)) != 0)
		return rc;
	if (t->codec != KV_CODEC_NONE)
		return group_in_block(env, t, cache, number, off, g, keep);
	return kv_table_group_at(env, t, off, g);
}
