#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "cache.h"
#include "join.h"
#include "key.h"
#include "lock.h"

/*
 * The tables of a view.  They are opened when they are needed.  Where a file
 * is gone, a newer version exists and the reader starts over; a view that is
 * kept is pinned, so that its files stay.
 */

/* So many are mapped at most; the kernel's limit is 65,530 maps. */
#define OPEN_MAX	8192

/* ---- pins -------------------------------------------------------------- */

/* The byte of a version is held once for all views of the handle. */
struct kv_pin {
	struct kv_pin *next;
	uint64_t number;
	uint32_t count;
};

static struct kv_pin **
find_pin(struct kevo *db, uint64_t number)
{
	struct kv_pin **p = &db->pins;

	while (*p != NULL && (*p)->number != number)
		p = &(*p)->next;
	return p;
}

int
kv_pin_file(struct kevo *db)
{
	if (db->pin_fd < 0)
		db->pin_fd = kv_openat(db->dir.fd, "PINS", O_RDONLY, 0);
	return db->pin_fd >= 0 ? 0 : kv_fail_errno(&db->env,
	    kv_path(&db->dir, "PINS"), "open");
}

int
kv_pin_take(struct kevo *db, uint64_t number)
{
	struct kv_pin **p = find_pin(db, number), *pin = *p;

	if (pin != NULL) {
		pin->count++;
		return 1;
	}
	if (kv_pin_file(db) != 0 || (pin = calloc(1, sizeof(*pin))) == NULL)
		return 0;
	if (kv_pin(db->pin_fd, number) != 0) {
		free(pin);
		return 0;
	}
	pin->number = number;
	pin->count = 1;
	*p = pin;
	return 1;
}

void
kv_pin_drop(struct kevo *db, uint64_t number)
{
	struct kv_pin **p = find_pin(db, number), *pin = *p;

	if (pin == NULL || --pin->count > 0)
		return;
	/* In a child of fork() the lock is the parent's. */
	if (db->pin_fd >= 0 && !kv_forked(db))
		kv_unpin(db->pin_fd, number);
	*p = pin->next;
	free(pin);
}

/* ---- opening ----------------------------------------------------------- */

struct open_table {
	uint64_t number;
	struct kv_table *table;
};

static int
by_number(const void *a, const void *b)
{
	uint64_t x = ((const struct open_table *)a)->number;
	uint64_t y = ((const struct open_table *)b)->number;

	return x < y ? -1 : x > y;
}

/* Keep what the old view has open: its blocks need not be verified again. */
static void
take_tables(struct kv_view *v, const struct kv_view *old)
{
	uint32_t n = 0;
	struct open_table *open, *o, want = { 0, NULL };

	if (old->nopen == 0 || (open = malloc(old->nopen *
	    sizeof(*open))) == NULL)
		return;
	for (uint32_t i = 0; i < old->version->ntables; i++)
		if (old->table[i] != NULL) {
			open[n].number = old->version->table[i].info.number;
			open[n++].table = old->table[i];
		}
	qsort(open, n, sizeof(*open), by_number);
	for (uint32_t i = 0; i < v->version->ntables; i++) {
		want.number = v->version->table[i].info.number;
		o = bsearch(&want, open, n, sizeof(*open), by_number);
		if (o != NULL) {
			v->table[i] = kv_table_ref(o->table);
			v->nopen++;
		}
	}
	free(open);
}

int
kv_view_tables(struct kevo *db, struct kv_view *v, const struct kv_view *old)
{
	int rc;

	if (v->version != NULL)
		return 0;
	if (old != NULL && old->number == v->number) {
		v->version = old->version;
		v->version->refs++;
	} else if ((rc = kv_version_read(&db->env, &db->dir, db->ctl->id,
	    v->number, 0, &v->version)) != 0)
		return rc == KEVO_NOTFOUND ? kv_view_lost(db, v, "version",
		    v->number) : rc;
	v->first = v->version->first_segment;
	v->table = calloc(v->version->ntables + 1, sizeof(v->table[0]));
	if (v->table == NULL)
		rc = kv_fail(&db->env, KEVO_ENOMEM, "out of memory");
	else if (v->first < v->base || v->first > v->last)
		rc = kv_fail(&db->env, KEVO_ECORRUPT, "%s: version %llx begins"
		    " with segment %llu, which cannot be", db->path,
		    (unsigned long long)v->number,
		    (unsigned long long)v->first);
	else
		rc = 0;
	if (rc != 0) {
		kv_view_drop_tables(v);
		kv_version_unref(v->version);
		v->version = NULL;
		return rc;
	}
	if (old != NULL)
		take_tables(v, old);
	return 0;
}

static void
close_tables(struct kv_view *v)
{
	for (uint32_t i = 0; i < v->version->ntables; i++) {
		kv_table_unref(v->table[i]);
		v->table[i] = NULL;
	}
	v->nopen = 0;
}

void
kv_view_drop_tables(struct kv_view *v)
{
	if (v->table == NULL)
		return;
	close_tables(v);
	free(v->table);
	v->table = NULL;
}

int
kv_view_overtaken(struct kevo *db, const struct kv_view *v)
{
	const struct kv_control *c = db->ctl;
	uint64_t newest;

	if (v->number != atomic_load_explicit(&c->version,
	    memory_order_acquire) || atomic_load_explicit(&c->retired,
	    memory_order_acquire))
		return 1;
	if (!db->private_index)
		return !kv_control_linked(&db->env, db->ctl_fd);
	return kv_version_newest(&db->env, &db->dir, &newest) == 0 &&
	    newest != v->number;
}

int
kv_view_lost(struct kevo *db, const struct kv_view *v, const char *what,
    uint64_t number)
{
	if (!v->pinned && !kv_join_is_fixed(db) && kv_view_overtaken(db, v))
		return KV_RETRY;
	return kv_fail(&db->env, KEVO_ECORRUPT, "%s/%s/%016llx%s: missing, and"
	    " version %llx needs it", db->path, what,
	    (unsigned long long)number, *what == 't' ? ".sst" : "",
	    (unsigned long long)v->number);
}

int
kv_view_table(struct kevo *db, struct kv_view *v, uint32_t i,
    struct kv_table **out)
{
	const struct kv_table_info *t = &v->version->table[i].info;
	int rc;

	if (v->table[i] == NULL) {
		if (v->nopen >= OPEN_MAX)
			close_tables(v);
		rc = kv_table_open(&db->env, &db->dir, t->number, t->size,
		    t->hash, &v->table[i]);
		if (rc == KEVO_NOTFOUND)
			return kv_view_lost(db, v, "table", t->number);
		if (rc != 0)
			return rc;
		v->nopen++;
	}
	*out = v->table[i];
	return 0;
}

int
kv_view_open_all(struct kevo *db, struct kv_view *v)
{
	struct kv_table *t;
	int rc;

	if (v->version->ntables > OPEN_MAX)
		return kv_fail(&db->env, KEVO_EPERM, "%s/PINS: cannot be read,"
		    " and without it a snapshot of %u tables cannot be kept",
		    db->path, v->version->ntables);
	for (uint32_t i = 0; i < v->version->ntables; i++)
		if ((rc = kv_view_table(db, v, i, &t)) != 0)
			return rc;
	return 0;
}

int
kv_announce(struct kevo *db, const struct kv_version *v)
{
	int rc;

	for (;;) {
		kv_raise(&db->ctl->version, v->number);
		kv_raise(&db->ctl->first, v->first_segment);
		/* See retire() in rebuild.c. */
		atomic_thread_fence(memory_order_seq_cst);
		if (!atomic_load(&db->ctl->retired))
			return 0;
		if ((rc = kv_attach(db, kv_deadline(db))) != 0)
			return rc;
	}
}

/* ---- looking a key up -------------------------------------------------- */

struct kv_cache *
kv_db_cache(struct kevo *db)
{
	if (db->cache == NULL)
		db->cache = kv_cache_new((size_t)kv_setting(db->ctl,
		    KV_SET_CACHE_BYTES));
	return db->cache;
}

static int
in_range(const struct kv_table_info *t, const void *key, size_t klen)
{
	return kv_key_cmp(key, klen, t->first, t->first_len) >= 0 &&
	    kv_key_cmp(key, klen, t->last, t->last_len) <= 0;
}

static int
get_from(struct kevo *db, struct kv_view *v, uint32_t i, const void *key,
    size_t klen, uint64_t hash, uint64_t *seq, struct kv_op *op)
{
	struct kv_table *t;
	int rc;

	if (!in_range(&v->version->table[i].info, key, klen))
		return 0;
	if ((rc = kv_view_table(db, v, i, &t)) != 0)
		return rc;
	return kv_table_get(&db->env, t, kv_db_cache(db), key, klen, hash,
	    seq, op);
}

int
kv_tables_get(struct kevo *db, struct kv_view *v, const void *key,
    size_t klen, uint64_t hash, uint64_t *seq, struct kv_op *op)
{
	const struct kv_version *ver = v->version;
	uint32_t i;
	int rc;

	for (i = 0; i < ver->level_start[1]; i++)
		if ((rc = get_from(db, v, i, key, klen, hash, seq, op)) != 0)
			return rc;
	for (uint32_t level = 1; level < KV_LEVELS; level++) {
		i = kv_version_find(ver, level, key, klen);
		if (i < ver->level_start[level + 1] && (rc = get_from(db, v,
		    i, key, klen, hash, seq, op)) != 0)
			return rc;
	}
	return 0;
}
