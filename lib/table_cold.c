#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cache.h"
#include "env.h"
#include "file.h"
#include "kevo.h"
#include "table_layout.h"

/*
 * A lookup without a map: the tail, a page of the hash index with its hash,
 * and the group.  Each is verified as in a mapped table.  Tables without such
 * an index, or with a codec, are mapped after all.
 */
struct cold {
	struct kv_env *env;
	const char *path;
	int fd;
	struct kv_table_tail tail;
	struct kv_table_shape shape;
	uint64_t seed;
	uint64_t page;		/* of the index that is in buf; or NO_PAGE */
	uint8_t buf[KV_PAGE];
};

#define NO_PAGE	UINT64_MAX

static int
damaged(struct cold *c, const char *why)
{
	return kv_fail(c->env, KEVO_ECORRUPT, "%s: damaged: %s", c->path, why);
}

static int
grow(struct cold *c, uint8_t **buf, size_t *room, uint64_t len)
{
	uint8_t *p;

	if (len + KV_OVERREAD <= *room)
		return 0;
	if ((p = realloc(*buf, (size_t)len + KV_OVERREAD)) == NULL)
		return kv_fail(c->env, KEVO_ENOMEM, "%s: out of memory",
		    c->path);
	*buf = p;
	*room = (size_t)len + KV_OVERREAD;
	return 0;
}

/* ---- the tail ---------------------------------------------------------- */

/* Check the hash of the tail and of the keys before it, of which have bytes
 * were read. */
static int
check_tail(struct cold *c, const uint8_t *tail, uint64_t have, uint64_t hash)
{
	uint64_t len = c->shape.keys_len, at;
	const uint8_t *keys = tail - len;
	uint8_t *p = NULL;
	int rc = 0;

	if (len > have) {
		if ((p = malloc((size_t)len)) == NULL)
			return kv_fail(c->env, KEVO_ENOMEM,
			    "%s: out of memory", c->path);
		keys = p;
		at = c->tail.size - KV_TABLE_TAIL - len;
		rc = kv_pread(c->env, c->fd, c->path, p, (size_t)len, at);
	}
	if (rc == 0 && get_le64(tail + KV_TAIL_HASHED) !=
	    kv_table_tail_hash(tail, keys, len))
		rc = damaged(c, "the hash of its tail is wrong");
	if (rc == 0 && hash != 0 && get_le64(tail + KV_TAIL_HASHED) != hash)
		rc = damaged(c, KV_NOT_THIS_TABLE);
	free(p);
	return rc;
}

static int
read_tail(struct cold *c, uint64_t number, uint64_t size, uint64_t hash)
{
	uint64_t have = sizeof(c->buf);
	const uint8_t *tail;
	const char *why;
	int rc;

	if (size == 0 && (rc = kv_file_stat(c->env, c->fd, c->path, &size,
	    NULL, NULL)) != 0)
		return rc;
	if (size < KV_TABLE_HEAD + KV_TABLE_TAIL)
		return damaged(c, "it is too short");
	have = size < have ? size : have;
	tail = c->buf + have - KV_TABLE_TAIL;
	if ((rc = kv_pread(c->env, c->fd, c->path, c->buf, (size_t)have,
	    size - have)) != 0)
		return rc;
	why = kv_table_tail_decode(tail, size, &c->tail, &c->shape);
	if (why == NULL && c->tail.number != number)
		why = KV_NOT_THIS_TABLE;
	if (why != NULL)
		return damaged(c, why);
	c->seed = kv_table_seed(c->tail.id, number);
	return check_tail(c, tail, have - KV_TABLE_TAIL, hash);
}

/* ---- the hash index ---------------------------------------------------- */

static int
read_page(struct cold *c, uint64_t page)
{
	uint64_t off = page << KV_PAGE_SHIFT, len = c->shape.index_len - off;
	uint64_t at = c->tail.data_len + off;
	uint8_t sum[8];
	int rc;

	c->page = NO_PAGE;
	if (len > KV_PAGE)
		len = KV_PAGE;
	if ((rc = kv_pread(c->env, c->fd, c->path, c->buf, (size_t)len,
	    at)) != 0 || (rc = kv_pread(c->env, c->fd, c->path, sum,
	    sizeof(sum), c->tail.data_len + c->shape.index_len + page *
	    sizeof(sum))) != 0)
		return rc;
	if (kv_hash(c->buf, (size_t)len, kv_page_seed(c->seed, at)) !=
	    get_le64(sum))
		return damaged(c, "the hash of a page of the index is wrong");
	c->page = page;
	return 0;
}

static int
read_line(struct cold *c, uint32_t line, const uint8_t **out)
{
	uint64_t off = (uint64_t)line * KV_LINE;
	int rc = 0;

	if (c->page != off >> KV_PAGE_SHIFT)
		rc = read_page(c, off >> KV_PAGE_SHIFT);
	*out = c->buf + (off & (KV_PAGE - 1));
	return rc;
}

/* ---- the group --------------------------------------------------------- */

/* Read the unit at off as a whole: mostly its first page is all of it. */
static int
read_unit(struct cold *c, uint64_t off, uint8_t **buf, size_t *room)
{
	uint64_t left, have, len;
	int rc;

	if (off > c->tail.data_len - KV_GROUP_HEAD)
		return damaged(c, "a slot of the hash index leads out of "
		    "range");
	left = c->tail.data_len - off;
	have = left < KV_PAGE ? left : KV_PAGE;
	if ((rc = grow(c, buf, room, have)) != 0 || (rc = kv_pread(c->env,
	    c->fd, c->path, *buf, (size_t)have, off)) != 0)
		return rc;
	len = get_le32(*buf + 8);
	if (len > left)
		return damaged(c, "impossible lengths");
	if (len > have && ((rc = grow(c, buf, room, len)) != 0 ||
	    (rc = kv_pread(c->env, c->fd, c->path, *buf + have,
	    (size_t)(len - have), off + have)) != 0))
		return rc;
	if (!kv_unit_sound(*buf, len, c->seed, off))
		return damaged(c, "the hash of a block is wrong");
	return 0;
}

static int
get_at_slot(struct cold *c, uint32_t slot, const void *key, size_t klen,
    uint8_t **buf, size_t *room, uint64_t *seq, struct kv_op *op)
{
	uint64_t off = kv_slot_loc(slot, &c->tail);
	uint32_t i = kv_slot_at(slot, &c->tail);
	struct kv_group g;
	int r;

	if (off == 0)
		return 0;
	off <<= kv_unit_shift(c->tail.codec);
	if ((r = read_unit(c, off, buf, room)) != 0)
		return r;
	r = kv_group_parse(*buf, get_le32(*buf + 8), &g);
	if (r == 0 && c->tail.at_bits > 0)
		r = kv_group_has(&g, i, key, klen);
	else if (r == 0)
		r = kv_group_search(&g, key, klen, &i);
	if (r == 1 && kv_group_record(&g, i, seq, op) != 0)
		r = -1;
	return r < 0 ? damaged(c, "a malformed group") : r;
}

static int
get(struct cold *c, const void *key, size_t klen, uint64_t key_hash,
    uint8_t **buf, size_t *room, uint64_t *seq, struct kv_op *op)
{
	uint32_t nlines = c->tail.lines, line = kv_line_of(key_hash, nlines);
	const uint8_t *p;
	int rc;

	for (uint32_t n = 0; n < KV_PROBES && n < nlines; n++) {
		uint32_t m;

		if ((rc = read_line(c, line, &p)) != 0)
			return rc;
		for (m = kv_line_match(p, key_hash, c->tail.loc_bits); m != 0;
		    m &= m - 1) {
			uint32_t i = (uint32_t)__builtin_ctz(m);

			rc = get_at_slot(c, get_le32(p + 4 * i), key, klen,
			    buf, room, seq, op);
			if (rc != 0)
				return rc;
		}
		if (get_le32(p + KV_LINE - 4) == 0)
			return 0;
		line = line + 1 == nlines ? 0 : line + 1;
	}
	return 0;
}

/* ---- both ways --------------------------------------------------------- */

/* By a map, for this one lookup. */
static int
get_mapped(struct cold *c, const struct kv_dir *dir, uint64_t hash,
    const void *key, size_t klen, uint64_t key_hash, uint8_t **buf,
    size_t *room, uint64_t *seq, struct kv_op *op)
{
	struct kv_cache *cache = kv_cache_new(0);
	struct kv_table *t = NULL;
	int rc, grown;

	if (cache == NULL)
		return kv_fail(c->env, KEVO_ENOMEM, "%s: out of memory",
		    c->path);
	rc = kv_table_open(c->env, dir, c->tail.number, c->tail.size, hash,
	    &t);
	if (rc == KEVO_NOTFOUND)
		rc = KV_TABLE_GONE;
	if (rc == 0)
		rc = kv_table_get(c->env, t, cache, key, klen, key_hash, seq,
		    op);
	if (rc == 1) {
		if ((grown = grow(c, buf, room, op->vlen)) == 0) {
			memcpy(*buf, op->val, op->vlen);
			op->val = *buf;
		} else
			rc = grown;
	}
	kv_table_unref(t);
	kv_cache_free(cache);
	return rc;
}

int
kv_table_pread_get(struct kv_env *env, const struct kv_dir *dir,
    uint64_t number, uint64_t size, uint64_t hash, const void *key,
    size_t klen, uint64_t key_hash, uint8_t **buf, size_t *room,
    uint64_t *seq, struct kv_op *op)
{
	char name[KV_TABLE_NAME_LEN];
	struct cold c = { .env = env, .page = NO_PAGE };
	int rc;

	kv_table_name(name, number);
	c.path = kv_path(dir, name);
	c.fd = kv_openat(dir->fd, name, O_RDONLY, 0);
	if (c.fd < 0)
		return errno == ENOENT ? KV_TABLE_GONE : kv_fail_errno(env,
		    c.path, "open");
	rc = read_tail(&c, number, size, hash);
	if (rc == 0 && c.tail.lines > 0 && c.tail.direct)
		rc = get(&c, key, klen, key_hash, buf, room, seq, op);
	else if (rc == 0)
		rc = get_mapped(&c, dir, hash, key, klen, key_hash, buf, room,
		    seq, op);
	close(c.fd);
	return rc;
}
