#include <stdlib.h>
#include <string.h>

#include "env.h"
#include "file.h"
#include "hash.h"
#include "kevo.h"
#include "key.h"
#include "version.h"

/*
 * A version file is a head, an entry a table, the keys of their ranges one
 * after the other, padding to eight, and a hash of all that.  It was synced
 * before it had a name, so one that does not verify is damage, never a torn
 * write.
 */
#define MAGIC		"KEVOVER1"
#define HEAD_LEN	KV_VERSION_HEAD
#define ENTRY_LEN	KV_VERSION_ENTRY
#define FILE_MAX	((size_t)1 << 30)

void
kv_version_name(char buf[KV_VERSION_NAME_LEN], uint64_t number)
{
	kv_name(buf, "version/", number, "");
}

/* ---- encoding ---------------------------------------------------------- */

static size_t
keys_len(const struct kv_vtable *t, uint32_t n)
{
	size_t len = 0;

	for (uint32_t i = 0; i < n; i++)
		len += t[i].info.first_len + t[i].info.last_len;
	return len;
}

static size_t
file_len(const struct kv_vtable *t, uint32_t n)
{
	return HEAD_LEN + (size_t)n * ENTRY_LEN + ((keys_len(t, n) + 7) &
	    ~(size_t)7) + 8;
}

static void
encode_entry(uint8_t *p, const struct kv_vtable *t)
{
	const struct kv_table_info *i = &t->info;

	put_le64(p, i->number);
	put_le64(p + 8, i->size);
	put_le64(p + 16, i->hash);
	put_le64(p + 24, i->count);
	put_le64(p + 32, i->deletes);
	put_le64(p + 40, i->expiring);
	put_le64(p + 48, i->raw_bytes);
	put_le64(p + 56, i->min_seq);
	put_le64(p + 64, i->max_seq);
	put_le32(p + 72, t->level);
	put_le32(p + 76, i->first_len);
	put_le32(p + 80, i->last_len);
}

static void
encode_head(uint8_t *p, const uint8_t id[16], const struct kv_version *v)
{
	memcpy(p, MAGIC, 8);
	put_le32(p + 8, 1);
	put_le32(p + 12, v->ntables);
	memcpy(p + 16, id, 16);
	put_le64(p + 32, v->number);
	put_le64(p + 40, v->last_seq);
	put_le64(p + 48, v->dropped_to);
	put_le64(p + 56, v->next_file);
	put_le64(p + 64, v->first_segment);
	put_le64(p + 72, v->first_seq);
	put_le64(p + 80, v->chain_before);
	put_le64(p + 88, v->time_ns);
}

uint8_t *
kv_version_encode(const uint8_t id[16], const struct kv_version *v,
    size_t *len)
{
	uint8_t *b, *p;

	*len = file_len(v->table, v->ntables);
	if (*len > FILE_MAX || (b = calloc(1, *len)) == NULL)
		return NULL;
	encode_head(b, id, v);
	p = b + HEAD_LEN;
	for (uint32_t i = 0; i < v->ntables; i++, p += ENTRY_LEN)
		encode_entry(p, &v->table[i]);
	for (uint32_t i = 0; i < v->ntables; i++) {
		const struct kv_table_info *t = &v->table[i].info;

		memcpy(p, t->first, t->first_len);
		memcpy(p + t->first_len, t->last, t->last_len);
		p += t->first_len + t->last_len;
	}
	put_le64(b + *len - 8, kv_hash(b, *len - 8, 0));
	return b;
}

/* ---- decoding ---------------------------------------------------------- */

void
kv_version_decode_head(const uint8_t p[KV_VERSION_HEAD], struct kv_version *v)
{
	v->number = get_le64(p + 32);
	v->last_seq = get_le64(p + 40);
	v->dropped_to = get_le64(p + 48);
	v->next_file = get_le64(p + 56);
	v->first_segment = get_le64(p + 64);
	v->first_seq = get_le64(p + 72);
	v->chain_before = get_le64(p + 80);
	v->time_ns = get_le64(p + 88);
}

/* Entry p; its keys begin at *keys, of which *left bytes are there. */
static int
decode_entry(const uint8_t *p, const uint8_t **keys, size_t *left,
    const struct kv_version *v, struct kv_vtable *t)
{
	struct kv_table_info *i = &t->info;

	i->number = get_le64(p);
	i->size = get_le64(p + 8);
	i->hash = get_le64(p + 16);
	i->count = get_le64(p + 24);
	i->deletes = get_le64(p + 32);
	i->expiring = get_le64(p + 40);
	i->raw_bytes = get_le64(p + 48);
	i->min_seq = get_le64(p + 56);
	i->max_seq = get_le64(p + 64);
	t->level = get_le32(p + 72);
	i->first_len = get_le32(p + 76);
	i->last_len = get_le32(p + 80);
	if (i->first_len < 1 || i->first_len > KEVO_KEY_MAX ||
	    i->last_len < 1 || i->last_len > KEVO_KEY_MAX ||
	    i->first_len + i->last_len > *left || t->level >= KV_LEVELS ||
	    i->number == 0 || i->number >= v->next_file || i->count == 0 ||
	    i->deletes > i->count || i->expiring > i->count ||
	    i->min_seq == 0 || i->min_seq > i->max_seq ||
	    i->max_seq > v->last_seq || get_le32(p + 84) != 0 ||
	    get_le64(p + 88) != 0)
		return -1;
	i->first = *keys;
	i->last = *keys + i->first_len;
	*keys += i->first_len + i->last_len;
	*left -= i->first_len + i->last_len;
	return kv_key_cmp(i->first, i->first_len, i->last, i->last_len) <= 0 ?
	    0 : -1;
}

int
kv_version_ordered(const struct kv_vtable *a, const struct kv_vtable *b)
{
	if (a->level != b->level)
		return a->level < b->level;
	if (a->level == 0)
		return a->info.max_seq > b->info.max_seq ||
		    (a->info.max_seq == b->info.max_seq &&
		    a->info.number > b->info.number);
	return kv_key_cmp(a->info.last, a->info.last_len, b->info.first,
	    b->info.first_len) < 0;
}

void
kv_version_set_levels(struct kv_version *v)
{
	uint32_t i = 0;

	for (uint32_t level = 0; level < KV_LEVELS; level++) {
		v->level_start[level] = i;
		while (i < v->ntables && v->table[i].level == level)
			i++;
	}
	v->level_start[KV_LEVELS] = v->ntables;
}

const char *
kv_version_decode(uint8_t *b, size_t len, const uint8_t id[16],
    uint64_t number, struct kv_version **out)
{
	const uint8_t *keys;
	struct kv_version *v;
	uint32_t n;
	size_t left;

	if (len < HEAD_LEN + 8 || memcmp(b, MAGIC, 8) != 0)
		return "no version file";
	if (get_le64(b + len - 8) != kv_hash(b, len - 8, 0))
		return "its hash is wrong";
	if (get_le32(b + 8) != 1)
		return "of a newer format";
	if (memcmp(b + 16, id, 16) != 0)
		return "it belongs to another database";
	n = get_le32(b + 12);
	if (n > (len - HEAD_LEN - 8) / ENTRY_LEN ||
	    get_le64(b + 32) != number)
		return "impossible numbers in its head";
	if ((v = calloc(1, sizeof(*v) + n * sizeof(v->table[0]))) == NULL)
		return "out of memory";
	v->refs = 1;
	v->ntables = n;
	kv_version_decode_head(b, v);
	keys = b + HEAD_LEN + (size_t)n * ENTRY_LEN;
	left = len - HEAD_LEN - (size_t)n * ENTRY_LEN - 8;
	if (v->first_segment == 0 || v->first_seq == 0 ||
	    v->last_seq != v->first_seq - 1 || v->next_file == 0)
		goto bad;
	for (uint32_t i = 0; i < n; i++)
		if (decode_entry(b + HEAD_LEN + (size_t)i * ENTRY_LEN, &keys,
		    &left, v, &v->table[i]) != 0 || (i > 0 &&
		    !kv_version_ordered(&v->table[i - 1], &v->table[i])))
			goto bad;
	if (left > 7)
		goto bad;
	kv_version_set_levels(v);
	v->bytes = b;
	v->len = len;
	*out = v;
	return NULL;
bad:
	free(v);
	return "impossible values in it";
}

static int
version_zero(struct kv_env *env, uint64_t origin, struct kv_version **out)
{
	struct kv_version *v = calloc(1, sizeof(*v));

	if (v == NULL)
		return kv_fail(env, KEVO_ENOMEM, "out of memory");
	v->refs = 1;
	v->next_file = v->first_segment = v->first_seq = 1;
	v->chain_before = origin;
	*out = v;
	return 0;
}

int
kv_version_read(struct kv_env *env, const struct kv_dir *dir,
    const uint8_t id[16], uint64_t number, uint64_t origin,
    struct kv_version **out)
{
	char name[KV_VERSION_NAME_LEN];
	const char *why;
	char *b;
	size_t len;
	int rc;

	if (number == 0)
		return version_zero(env, origin, out);
	kv_version_name(name, number);
	rc = kv_read_small(env, dir, name, FILE_MAX, &b, &len);
	if (rc == KEVO_ENODB)
		return KEVO_NOTFOUND;
	if (rc == KEVO_ENOTDB)
		return kv_fail(env, KEVO_ECORRUPT, "%s: damaged: too large",
		    kv_path(dir, name));
	if (rc != 0)
		return rc;
	why = kv_version_decode((uint8_t *)b, len, id, number, out);
	if (why == NULL)
		return 0;
	free(b);
	return kv_fail(env, KEVO_ECORRUPT, "%s: damaged: %s",
	    kv_path(dir, name), why);
}

void
kv_version_unref(struct kv_version *v)
{
	if (v == NULL || --v->refs > 0)
		return;
	free(v->bytes);
	free(v);
}

/* ---- looking around ---------------------------------------------------- */

int
kv_version_newest(struct kv_env *env, const struct kv_dir *dir,
    uint64_t *number)
{
	const char *name;
	uint64_t n;
	DIR *d;
	int rc = kv_list_open(env, dir, "version", 1, &d);

	*number = 0;
	if (rc != 0 || d == NULL)
		return rc;
	while ((name = kv_list_next(env, dir, "version", d, &rc)) != NULL)
		if (kv_name_number(name, "", &n) && n > *number)
			*number = n;
	closedir(d);
	return rc;
}

uint32_t
kv_version_find(const struct kv_version *v, uint32_t level, const void *key,
    size_t klen)
{
	uint32_t lo = v->level_start[level], hi = v->level_start[level + 1];

	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;
		const struct kv_table_info *t = &v->table[mid].info;

		if (kv_key_cmp(t->last, t->last_len, key, klen) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}
