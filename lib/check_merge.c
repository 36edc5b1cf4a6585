#include <stdlib.h>
#include <string.h>

#include "cache.h"
#include "check.h"
#include "heap.h"
#include "key.h"
#include "table.h"

#define CACHE_BYTES	((size_t)8 << 20)

int
kv_merge_init(struct kv_merge *m, struct kv_env *env, size_t room)
{
	memset(m, 0, sizeof(*m));
	m->env = env;
	m->cache = kv_cache_new(CACHE_BYTES);
	m->table = calloc(room + 1, sizeof(m->table[0]));
	m->it = calloc(room + 1, sizeof(m->it[0]));
	m->heap = calloc(room + 1, sizeof(m->heap[0]));
	if (m->cache == NULL || m->table == NULL || m->it == NULL ||
	    m->heap == NULL)
		return kv_fail(env, KEVO_ENOMEM, "out of memory");
	return 0;
}

void
kv_merge_release(struct kv_merge *m)
{
	for (size_t i = 0; i < m->n; i++) {
		kv_table_iter_release(&m->it[i]);
		kv_table_unref(m->table[i]);
	}
	free(m->table);
	free(m->it);
	free(m->heap);
	kv_cache_free(m->cache);
}

int
kv_merge_add(struct kv_merge *m, const struct kv_dir *dir, uint64_t number)
{
	int rc = kv_table_open(m->env, dir, number, 0, 0, &m->table[m->n]);

	if (rc != 0)
		return rc;
	kv_table_iter_init(&m->it[m->n], m->env, m->table[m->n], m->cache);
	m->n++;
	return 0;
}

static int
before(const void *ctx, uint32_t a, uint32_t b)
{
	const struct kv_merge *m = ctx;
	const struct kv_table_iter *x = &m->it[a], *y = &m->it[b];
	int c = kv_key_cmp(x->op.key, x->op.klen, y->op.key, y->op.klen);

	if (c != 0)
		return c < 0;
	return x->seq != y->seq ? x->seq > y->seq : a < b;
}

/* A table that is damaged ends where it is. */
static int
has_more(int rc)
{
	return rc == KEVO_ECORRUPT ? 0 : rc;
}

static int
begin(struct kv_merge *m)
{
	int rc;

	m->begun = 1;
	for (size_t i = 0; i < m->n; i++) {
		if ((rc = has_more(kv_table_first(&m->it[i]))) < 0)
			return rc;
		if (rc == 1)
			m->heap[m->nheap++] = (uint32_t)i;
	}
	kv_heap_build(m->heap, m->nheap, before, m);
	return 0;
}

int
kv_merge_next(struct kv_merge *m, const struct kv_table_iter **it,
    size_t *which)
{
	int rc;

	if (!m->begun) {
		if ((rc = begin(m)) != 0)
			return rc;
	} else if (m->nheap > 0) {
		rc = has_more(kv_table_next(&m->it[m->heap[0]]));
		if (rc < 0)
			return rc;
		if (rc == 0)
			m->heap[0] = m->heap[--m->nheap];
		if (m->nheap > 1)
			kv_heap_sift(m->heap, m->nheap, 0, before, m);
	}
	if (m->nheap == 0)
		return 0;
	*which = m->heap[0];
	*it = &m->it[*which];
	return 1;
}
