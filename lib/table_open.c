#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "env.h"
#include "file.h"
#include "kevo.h"
#include "table_layout.h"

void
kv_table_name(char buf[KV_TABLE_NAME_LEN], uint64_t number)
{
	kv_name(buf, "table/", number, ".sst");
}

int
kv_table_damaged(struct kv_env *env, const struct kv_table *t,
    const char *what, uint64_t off)
{
	return kv_fail(env, KEVO_ECORRUPT, "%s: damaged: %s at byte %llu",
	    t->path, what, (unsigned long long)off);
}

/* ---- opening ----------------------------------------------------------- */

/* Bits for n pages, all clear. */
static uint64_t *
new_bits(uint64_t n)
{
	return calloc((size_t)(n / 64 + 1), sizeof(uint64_t));
}

static void
set_info(struct kv_table *t, uint64_t hash)
{
	const struct kv_table_tail *tail = &t->tail;

	t->info = (struct kv_table_info) {
		.number = tail->number, .size = tail->size,
		.count = tail->count, .deletes = tail->deletes,
		.expiring = tail->expiring, .raw_bytes = tail->raw_bytes,
		.min_seq = tail->min_seq, .max_seq = tail->max_seq,
		.hash = hash, .first_len = tail->first_len,
		.last_len = tail->last_len
	};
}

static void
set_arrays(struct kv_table *t, const struct kv_table_shape *s)
{
	t->nlines = t->tail.lines;
	t->ngroups = t->tail.groups;
	t->codec = t->tail.codec;
	t->unit_shift = kv_unit_shift(t->codec);
	t->data_len = t->tail.data_len;
	t->index_len = s->index_len;
	t->seed = kv_table_seed(t->tail.id, t->tail.number);
	t->lines = t->map + t->data_len;
	t->heads = t->lines + (size_t)t->nlines * KV_LINE;
	t->places = t->heads + (size_t)t->ngroups * 8;
	t->subs = t->places + (size_t)t->ngroups * 4;
	t->sums = t->lines + t->index_len;
	t->info.first = t->sums + s->pages * 8;
	t->info.last = t->info.first + t->info.first_len;
	t->prefix_len = kv_table_common(t->info.first, t->info.first_len,
	    t->info.last, t->info.last_len);
}

/* Look at the tail of the mapped file. */
static int
read_tail(struct kv_env *env, struct kv_table *t, uint64_t size,
    uint64_t number, uint64_t hash)
{
	const uint8_t *tail = t->map + size - KV_TABLE_TAIL;
	struct kv_table_shape shape;
	const char *why;
	uint64_t found = get_le64(tail + KV_TAIL_HASHED);

	why = kv_table_tail_decode(tail, size, &t->tail, &shape);
	if (why == NULL && found != kv_table_tail_hash(tail, tail -
	    shape.keys_len, shape.keys_len))
		why = "the hash of its tail is wrong";
	if (why == NULL && (t->tail.number != number ||
	    (hash != 0 && found != hash)))
		why = KV_NOT_THIS_TABLE;
	if (why != NULL)
		return kv_fail(env, KEVO_ECORRUPT, "%s: damaged: %s", t->path,
		    why);
	set_info(t, found);
	set_arrays(t, &shape);
	t->data_ok = new_bits((t->data_len >> KV_PAGE_SHIFT) + 1);
	t->index_ok = new_bits(shape.pages);
	if (t->data_ok == NULL || t->index_ok == NULL)
		return kv_fail(env, KEVO_ENOMEM, "%s: out of memory",
		    t->path);
	return 0;
}

/* Map it; the descriptor may be closed. */
static int
map_file(struct kv_env *env, struct kv_table *t, int fd, uint64_t expected)
{
	void *p;
	int rc;

	rc = kv_file_stat(env, fd, t->path, &t->info.size, NULL, NULL);
	if (rc != 0)
		return rc;
	if (t->info.size < KV_TABLE_HEAD + KV_TABLE_TAIL ||
	    (expected != 0 && t->info.size != expected))
		return kv_fail(env, KEVO_ECORRUPT, "%s: damaged: it is %llu "
		    "bytes long", t->path, (unsigned long long)t->info.size);
	rc = kv_map(env, fd, t->path, (size_t)t->info.size, 0, &p);
	if (rc == 0)
		t->map = p;
	return rc;
}

static int
map_table(struct kv_env *env, const struct kv_dir *dir, uint64_t number,
    uint64_t size, struct kv_table **out)
{
	char name[KV_TABLE_NAME_LEN];
	const char *path;
	struct kv_table *t;
	int fd, rc;

	kv_table_name(name, number);
	path = kv_path(dir, name);
	fd = kv_openat(dir->fd, name, O_RDONLY, 0);
	if (fd < 0 && errno == ENOENT)
		return KEVO_NOTFOUND;
	if (fd < 0)
		return kv_fail_errno(env, path, "open");
	if ((t = calloc(1, sizeof(*t) + strlen(path) + 1)) == NULL) {
		close(fd);
		return kv_fail(env, KEVO_ENOMEM, "%s: out of memory", path);
	}
	t->refs = 1;
	memcpy(t->path, path, strlen(path) + 1);
	rc = map_file(env, t, fd, size);
	close(fd);
	if (rc != 0)
		kv_table_unref(t);
	else
		*out = t;
	return rc;
}

int
kv_table_open(struct kv_env *env, const struct kv_dir *dir, uint64_t number,
    uint64_t size, uint64_t hash, struct kv_table **out)
{
	struct kv_table *t = NULL;
	int rc;

	if ((rc = map_table(env, dir, number, size, &t)) != 0)
		return rc;
	rc = read_tail(env, t, t->info.size, number, hash);
	if (rc != 0)
		kv_table_unref(t);
	else
		*out = t;
	return rc;
}

struct kv_table *
kv_table_ref(struct kv_table *t)
{
	t->refs++;
	return t;
}

void
kv_table_unref(struct kv_table *t)
{
	if (t == NULL || --t->refs > 0)
		return;
	kv_unmap((void *)(uintptr_t)t->map, (size_t)t->info.size);
	free(t->index_ok);
	free(t->data_ok);
	free(t);
}

int
kv_table_info(struct kv_env *env, struct kv_table *t,
    struct kv_table_info *info)
{
	(void)env;
	*info = t->info;
	return 0;
}
