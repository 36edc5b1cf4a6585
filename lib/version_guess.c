#include <stdlib.h>
#include <string.h>

#include "coding.h"
#include "hash.h"
#include "version.h"

/*
 * A version has one hash over everything, so a single bit makes all of it
 * doubtful.  But the hash also tells which bit it was: with the right one it
 * agrees, and by chance it does so once in 2^64 times.
 */

/* So many bytes may be hashed to find out. */
#define TRIES_MAX	((uint64_t)1 << 32)

/* Is it a byte of the hash itself? */
static int
correct_hash(uint8_t *b, size_t len)
{
	uint64_t want = kv_hash(b, len - 8, 0);
	uint64_t wrong = want ^ get_le64(b + len - 8);

	for (int i = 0; i < 64; i += 8)
		if ((wrong & ~((uint64_t)0xff << i)) == 0) {
			put_le64(b + len - 8, want);
			return 1;
		}
	return 0;
}

/* Some changes of the byte at i: all, or single bits. */
static int
correct_byte(uint8_t *b, size_t len, size_t i, int all)
{
	uint64_t want = get_le64(b + len - 8);
	uint8_t was = b[i];

	for (unsigned x = 1; x < 256; x = all ? x + 1 : x << 1) {
		b[i] = was ^ (uint8_t)x;
		if (kv_hash(b, len - 8, 0) == want)
			return 1;
	}
	b[i] = was;
	return 0;
}

int
kv_version_correct(uint8_t *b, size_t len)
{
	int all = len <= 65536 && 255 * (uint64_t)len * len <= TRIES_MAX;

	if (len < KV_VERSION_HEAD + 8)
		return 0;
	if (correct_hash(b, len))
		return 1;
	if (len > 65536 || 8 * (uint64_t)len * len > TRIES_MAX)
		return 0;
	for (size_t i = 0; i < len - 8; i++)
		if (correct_byte(b, len, i, all))
			return 1;
	return 0;
}

/*
 * Where more is wrong, an entry that has number, length and tail's hash of a
 * table that is there is beyond doubt; and if as many are found as there were,
 * it is known which tables were the database.
 */

static const uint8_t *
find_entry(const uint8_t *b, size_t len, const struct kv_table_info *t)
{
	size_t off = KV_VERSION_HEAD;

	for (; off + KV_VERSION_ENTRY <= len; off += KV_VERSION_ENTRY)
		if (get_le64(b + off) == t->number &&
		    get_le64(b + off + 8) == t->size &&
		    get_le64(b + off + 16) == t->hash)
			return b + off;
	return NULL;
}

static int
order(const void *a, const void *b)
{
	return kv_version_ordered(a, b) ? -1 :
	    kv_version_ordered(b, a) ? 1 : 0;
}

static int
is_possible(const struct kv_version *v)
{
	for (uint32_t i = 0; i < v->ntables; i++)
		if (v->table[i].level >= KV_LEVELS || (i > 0 &&
		    !kv_version_ordered(&v->table[i - 1], &v->table[i])))
			return 0;
	return 1;
}

/* Is each entry accounted for?  The head says how many there are, and so does
 * the length of the file.  That there were none is not believed: it is what
 * zeros say. */
static int
is_complete(const struct kv_version *v, const uint8_t *b, size_t len)
{
	size_t keys = 0;

	if (v->ntables == 0)
		return 0;
	for (uint32_t i = 0; i < v->ntables; i++)
		keys += v->table[i].info.first_len + v->table[i].info.last_len;
	return v->ntables == get_le32(b + 12) || len == KV_VERSION_HEAD +
	    (size_t)v->ntables * KV_VERSION_ENTRY + ((keys + 7) & ~(size_t)7)
	    + 8;
}

/* A sound version under the name of this one tells nothing of it. */
static int
is_another(const uint8_t *b, size_t len, uint64_t number)
{
	return len >= KV_VERSION_HEAD + 8 && get_le64(b + len - 8) ==
	    kv_hash(b, len - 8, 0) && get_le64(b + 32) != number;
}

struct kv_version *
kv_version_guess(const uint8_t *b, size_t len, uint64_t number,
    const struct kv_table_info *tables, size_t n)
{
	struct kv_version *v;
	const uint8_t *e;

	if (len < KV_VERSION_HEAD || is_another(b, len, number))
		return NULL;
	v = calloc(1, sizeof(*v) + n * sizeof(v->table[0]));
	if (v == NULL)
		return NULL;
	kv_version_decode_head(b, v);
	v->refs = 1;
	v->number = number;
	for (size_t i = 0; i < n; i++)
		if ((e = find_entry(b, len, &tables[i])) != NULL) {
			v->table[v->ntables].info = tables[i];
			v->table[v->ntables++].level = get_le32(e + 72);
		}
	qsort(v->table, v->ntables, sizeof(v->table[0]), order);
	if (!is_complete(v, b, len) || !is_possible(v)) {
		free(v);
		return NULL;
	}
	kv_version_set_levels(v);
	return v;
}
