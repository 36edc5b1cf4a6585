#include <string.h>

#include "kevo.h"
#include "table_layout.h"

/* Without a column all lengths are the same: this one.  0, or -1 if that
 * cannot be. */
static inline int
stride(uint8_t width, uint32_t len, uint32_t n, uint64_t *out)
{
	*out = width == 0 ? len / n : 0;
	return width == 0 && len % n != 0 ? -1 : 0;
}

int
kv_group_parse(const uint8_t *p, uint64_t avail, struct kv_group *g)
{
	uint64_t len, split, columns;
	uint8_t flags;

	if (avail < KV_GROUP_HEAD)
		return -1;
	len = get_le32(p + 8);
	split = get_le32(p + 12);
	g->seq_base = get_le64(p + 16);
	g->prefix_len = get_le16(p + 24);
	g->n = p[26];
	flags = p[27];
	g->kwidth = p[28];
	g->vwidth = p[29];
	g->swidth = p[30];
	if (len > avail || split > len || g->n == 0 || g->kwidth > 4 ||
	    g->vwidth > 4 || g->swidth > 8 || p[31] != 0 ||
	    (flags & ~(KV_GROUP_KINDS | KV_GROUP_EXPIRES)) != 0)
		return -1;
	columns = g->n * ((uint64_t)g->kwidth + g->vwidth + g->swidth +
	    (flags & KV_GROUP_KINDS ? 1 : 0) +
	    (flags & KV_GROUP_EXPIRES ? 8 : 0));
	if (KV_GROUP_HEAD + columns + g->prefix_len > split)
		return -1;
	g->kends = p + KV_GROUP_HEAD;
	g->prefix = g->kends + (size_t)g->n * g->kwidth;
	g->suffix = g->prefix + g->prefix_len;
	g->suffix_len = (uint32_t)(split - KV_GROUP_HEAD - columns -
	    g->prefix_len);
	g->vends = g->suffix + g->suffix_len;
	g->seqs = g->vends + (size_t)g->n * g->vwidth;
	g->kinds = g->expires = NULL;
	if (flags & KV_GROUP_EXPIRES)
		g->expires = g->seqs + (size_t)g->n * g->swidth;
	if (flags & KV_GROUP_KINDS)
		g->kinds = p + split - g->n;
	g->values = p + split;
	g->values_len = (uint32_t)(len - split);
	g->kmask = kv_column_mask(g->kwidth);
	g->vmask = kv_column_mask(g->vwidth);
	g->smask = kv_column_mask(g->swidth);
	if (stride(g->kwidth, g->suffix_len, g->n, &g->kstride) != 0 ||
	    stride(g->vwidth, g->values_len, g->n, &g->vstride) != 0)
		return -1;
	return 0;
}

/*
 * A key as what remains of it after the prefix, with its first eight bytes
 * as a number: mostly these decide.
 */
struct rest {
	const uint8_t *p;
	size_t len;
	uint64_t head;
};

/* Compare record i with a key that has the prefix.  *order as of
 * kv_key_cmp().  0, or -1 if the group is malformed. */
static inline int
compare(const struct kv_group *g, uint32_t i, const struct rest *key,
    int *order)
{
	const uint8_t *s;
	uint64_t head;
	uint32_t len;

	if (kv_group_suffix(g, i, &s, &len) != 0)
		return -1;
	/* More bytes than len may be read: see KV_OVERREAD. */
	head = kv_key_word(s);
	if (len < 8)
		head = len == 0 ? 0 : head >> (64 - 8 * len) << (64 - 8 * len);
	if (head != key->head)
		*order = head < key->head ? -1 : 1;
	else if (len > 8 && key->len > 8)
		*order = kv_key_cmp(s + 8, len - 8, key->p + 8, key->len - 8);
	else
		*order = len < key->len ? -1 : len > key->len;
	return 0;
}

/* Where does the prefix of a group stand to a key?  0: the key begins with
 * it, and *rest is what follows. */
static int
compare_prefix(const struct kv_group *g, const uint8_t *key, size_t klen,
    struct rest *rest)
{
	if (klen < g->prefix_len)
		return kv_key_cmp(g->prefix, g->prefix_len, key, klen);
	rest->p = key + g->prefix_len;
	rest->len = klen - g->prefix_len;
	rest->head = kv_key_head(rest->p, rest->len);
	return kv_key_cmp(g->prefix, g->prefix_len, key, g->prefix_len);
}

int
kv_group_search(const struct kv_group *g, const uint8_t *key, size_t klen,
    uint32_t *at)
{
	uint32_t lo = 0, hi = g->n;
	struct rest rest;
	int order, c = compare_prefix(g, key, klen, &rest);

	*at = c < 0 ? g->n : 0;
	if (c != 0)
		return 0;
	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;

		if (compare(g, mid, &rest, &order) != 0)
			return -1;
		if (order == 0) {
			*at = mid;
			return 1;
		}
		if (order < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	*at = lo;
	return 0;
}

/* The bytes that the compiler would call memcmp() for: mostly few. */
static inline int
equal(const uint8_t *a, const uint8_t *b, size_t n)
{
	for (; n >= 8; n -= 8, a += 8, b += 8)
		if (get_le64(a) != get_le64(b))
			return 0;
	for (; n > 0; n--, a++, b++)
		if (*a != *b)
			return 0;
	return 1;
}

int
kv_group_has(const struct kv_group *g, uint32_t i, const uint8_t *key,
    size_t klen)
{
	const uint8_t *s;
	uint32_t len;

	if (i >= g->n)
		return 0;
	if (kv_group_suffix(g, i, &s, &len) != 0)
		return -1;
	return klen == (size_t)g->prefix_len + len &&
	    equal(g->prefix, key, g->prefix_len) &&
	    equal(s, key + g->prefix_len, len);
}

int
kv_group_cmp_first(const struct kv_group *g, const uint8_t *key, size_t klen)
{
	struct rest rest;
	int order, c = compare_prefix(g, key, klen, &rest);

	if (c != 0)
		return c;
	return compare(g, 0, &rest, &order) == 0 ? order : 2;
}

int
kv_group_each(const struct kv_group *g, uint8_t *key,
    int (*fn)(void *arg, uint64_t seq, const struct kv_op *op), void *arg)
{
	const uint8_t *s;
	struct kv_op op;
	uint64_t seq;
	uint32_t len;
	int rc;

	memcpy(key, g->prefix, g->prefix_len);
	for (uint32_t i = 0; i < g->n; i++) {
		if (kv_group_suffix(g, i, &s, &len) != 0 ||
		    kv_group_record(g, i, &seq, &op) != 0 ||
		    g->prefix_len + len == 0 ||
		    g->prefix_len + len > KEVO_KEY_MAX)
			return 1;
		memcpy(key + g->prefix_len, s, len);
		op.key = key;
		op.klen = g->prefix_len + len;
		op.len = 0;
		if ((rc = fn(arg, seq, &op)) != 0)
			return rc;
	}
	return 0;
}
