#include <stdlib.h>
#include <string.h>

#include "cache.h"
#include "codec.h"
#include "env.h"
#include "kevo.h"
#include "table_layout.h"

/*
 * A record of a parsed group is found by its number alone, so on and back are
 * alike.  Keys are put together in a buffer, which keeps the prefix for as
 * long as the place is in one group.
 */
enum where { BEFORE, INSIDE, BEHIND };

struct kv_table_place {
	struct kv_group g;
	struct kv_content keep;	/* what g lies in */
	struct kv_cache *own;	/* of who gave none: for one block */
	unsigned walked;	/* groups, since it was put somewhere */
	enum where where;
	uint32_t number;	/* of the group */
	uint32_t at;		/* record in it */
	uint8_t *key;
	size_t key_room;
};

#define SHORT	16		/* bytes that are copied at once */
#define STROLL	64		/* groups; who goes on from there goes far */

void
kv_table_iter_init(struct kv_table_iter *it, struct kv_env *env,
    struct kv_table *t, struct kv_cache *cache)
{
	memset(it, 0, sizeof(*it));
	it->env = env;
	it->t = t;
	it->cache = cache;
}

void
kv_table_iter_release(struct kv_table_iter *it)
{
	if (it->place == NULL)
		return;
	kv_content_release(&it->place->keep);
	kv_cache_free(it->place->own);
	free(it->place->key);
	if (it->place->own != NULL)
		it->cache = NULL;
	free(it->place);
	it->place = NULL;
}

static int
prepare(struct kv_table_iter *it)
{
	struct kv_table_place *pl;

	if (it->place != NULL)
		return 0;
	if ((pl = calloc(1, sizeof(*pl))) == NULL)
		return kv_fail(it->env, KEVO_ENOMEM, "out of memory");
	if (it->cache == NULL && it->t->codec != KV_CODEC_NONE) {
		if ((pl->own = kv_cache_new(0)) == NULL) {
			free(pl);
			return kv_fail(it->env, KEVO_ENOMEM, "out of memory");
		}
		it->cache = pl->own;
	}
	it->place = pl;
	return 0;
}

static int
malformed(struct kv_table_iter *it)
{
	it->place->where = BEFORE;
	return kv_fail(it->env, KEVO_ECORRUPT, "%s: damaged: group %lu is "
	    "malformed", it->t->path, (unsigned long)it->place->number);
}

/* Room for the longest key of the group, and the prefix in its place. */
static int
set_prefix(struct kv_table_iter *it)
{
	struct kv_table_place *pl = it->place;
	size_t need = (size_t)pl->g.prefix_len + KEVO_KEY_MAX + SHORT;
	uint8_t *p;

	if ((uint64_t)pl->g.prefix_len + pl->g.suffix_len + SHORT < need)
		need = (size_t)pl->g.prefix_len + pl->g.suffix_len + SHORT;
	if (need > pl->key_room) {
		need = (need + 255) & ~(size_t)255;
		if ((p = realloc(pl->key, need)) == NULL)
			return kv_fail(it->env, KEVO_ENOMEM, "out of memory");
		pl->key = p;
		pl->key_room = need;
	}
	memcpy(pl->key, pl->g.prefix, pl->g.prefix_len);
	return 0;
}

/* Stand in group `number`. */
static int
enter(struct kv_table_iter *it, uint32_t number)
{
	struct kv_table_place *pl = it->place;
	int rc;

	pl->where = BEFORE;
	pl->number = number;
	rc = kv_table_group(it->env, it->t, it->cache, number, &pl->g,
	    &pl->keep);
	if (rc != 0 || (rc = set_prefix(it)) != 0)
		return rc;
	pl->where = INSIDE;
	return 0;
}

/* Say what is at record i of the group. */
static inline int
show(struct kv_table_iter *it, uint32_t i)
{
	struct kv_table_place *pl = it->place;
	const uint8_t *s;
	uint32_t len;

	pl->at = i;
	if (kv_group_suffix(&pl->g, i, &s, &len) != 0 ||
	    kv_group_record(&pl->g, i, &it->seq, &it->op) != 0)
		return malformed(it);
	it->op.klen = pl->g.prefix_len + len;
	if (it->op.klen - 1 >= KEVO_KEY_MAX)
		return malformed(it);
	if (len <= SHORT)
		memcpy(pl->key + pl->g.prefix_len, s, SHORT);
	else
		memcpy(pl->key + pl->g.prefix_len, s, len);
	it->op.key = pl->key;
	return 1;
}

/* Go to a group beside the one where it is. */
static int
walk(struct kv_table_iter *it, uint32_t number)
{
	struct kv_table_place *pl = it->place;

	pl->keep.passing = ++pl->walked > STROLL;
	return enter(it, number);
}

/* Go to any. */
static int
jump(struct kv_table_iter *it, uint32_t number)
{
	it->place->walked = 0;
	it->place->keep.passing = 0;
	return enter(it, number);
}

static int
end(struct kv_table_iter *it, enum where where)
{
	it->place->where = where;
	return 0;
}

int
kv_table_first(struct kv_table_iter *it)
{
	int rc = prepare(it);

	if (rc != 0 || (rc = jump(it, 0)) != 0)
		return rc;
	return show(it, 0);
}

int
kv_table_last(struct kv_table_iter *it)
{
	int rc = prepare(it);

	if (rc != 0 || (rc = jump(it, it->t->ngroups - 1)) != 0)
		return rc;
	return show(it, it->place->g.n - 1);
}

int
kv_table_next(struct kv_table_iter *it)
{
	struct kv_table_place *pl = it->place;
	int rc;

	if (pl == NULL || pl->where == BEFORE)
		return kv_table_first(it);
	if (pl->where == BEHIND)
		return 0;
	if (pl->at + 1 < pl->g.n)
		return show(it, pl->at + 1);
	if (pl->number + 1 == it->t->ngroups)
		return end(it, BEHIND);
	if ((rc = walk(it, pl->number + 1)) != 0)
		return rc;
	return show(it, 0);
}

int
kv_table_prev(struct kv_table_iter *it)
{
	struct kv_table_place *pl = it->place;
	int rc;

	if (pl == NULL || pl->where == BEFORE)
		return 0;
	if (pl->where == BEHIND)
		return kv_table_last(it);
	if (pl->at > 0)
		return show(it, pl->at - 1);
	if (pl->number == 0)
		return end(it, BEFORE);
	if ((rc = walk(it, pl->number - 1)) != 0)
		return rc;
	return show(it, pl->g.n - 1);
}

/* Stand in the group where a key is or would be, or in the first one.  1 if
 * the key is there, 0 if *at is the first record behind it. */
static int
find(struct kv_table_iter *it, const void *key, size_t klen, uint32_t *at)
{
	int64_t number;
	int rc = prepare(it);

	if (rc != 0)
		return rc;
	it->place->where = BEFORE;
	rc = kv_table_find_group(it->env, it->t, it->cache, key, klen,
	    &number);
	if (rc != 0 || (rc = jump(it, number < 0 ? 0 :
	    (uint32_t)number)) != 0)
		return rc;
	rc = kv_group_search(&it->place->g, key, klen, at);
	return rc < 0 ? malformed(it) : rc;
}

int
kv_table_seek(struct kv_table_iter *it, const void *key, size_t klen)
{
	struct kv_table_place *pl;
	uint32_t at;
	int rc = find(it, key, klen, &at);

	if (rc < 0)
		return rc;
	pl = it->place;
	if (at < pl->g.n)
		return show(it, at);
	pl->at = pl->g.n - 1;
	return kv_table_next(it);
}

int
kv_table_seek_back(struct kv_table_iter *it, const void *key, size_t klen)
{
	uint32_t at;
	int rc = find(it, key, klen, &at);

	if (rc < 0)
		return rc;
	if (rc == 1)
		return show(it, at);
	it->place->at = at;
	return kv_table_prev(it);
}
