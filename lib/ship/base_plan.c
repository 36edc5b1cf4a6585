#include <stdlib.h>
#include <string.h>

#include "../conf.h"
#include "../db.h"
#include "../epoch.h"
#include "../table.h"
#include "base_plan.h"
#include "ship.h"

static int
no_memory(struct kv_base_plan *p)
{
	return kv_fail(&p->db->env, KEVO_ENOMEM, "out of memory");
}

/* ---- small members ----------------------------------------------------- */

static int
add_small(struct kv_base_plan *p, enum kv_base_kind kind, uint64_t number,
    char *bytes, size_t len)
{
	struct kv_base_small *s;

	s = realloc(p->before, (p->nbefore + 1) * sizeof(*s));
	if (s == NULL) {
		free(bytes);
		return no_memory(p);
	}
	p->before = s;
	s += p->nbefore++;
	s->m.kind = kind;
	s->m.number = number;
	s->m.size = len;
	s->bytes = bytes;
	p->base.bytes += len;
	p->base.files++;
	return 0;
}

static int
add_file(struct kv_base_plan *p, enum kv_base_kind kind, uint64_t number,
    size_t max)
{
	struct kv_base_member m = { .kind = kind, .number = number };
	char name[KV_BASE_NAME_LEN], *bytes;
	size_t len;
	int rc;

	kv_base_name(name, &m);
	rc = kv_read_small(&p->db->env, &p->db->dir, name, max, &bytes, &len);
	return rc != 0 ? rc : add_small(p, kind, number, bytes, len);
}

/* Those that begin behind the end belong to commits that are not in it. */
static int
add_epochs(struct kv_base_plan *p)
{
	struct kevo *db = p->db;
	struct kv_history h;
	int rc = kv_history_of_db(&db->env, &db->dir, &p->ident, &h);

	if (rc != 0)
		return rc;
	for (size_t i = 1; i < h.n && rc == 0; i++)
		if (h.v[i].start <= p->base.end.seq)
			rc = add_file(p, KV_BASE_EPOCH, h.v[i].epoch,
			    KV_EPOCH_TEXT_MAX);
	kv_history_release(&h);
	return rc;
}

static int
add_conf(struct kv_base_plan *p)
{
	int rc = add_file(p, KV_BASE_CONF, 0, KV_CONF_MAX);

	return rc == KEVO_ENODB ? 0 : rc;
}

static int
add_version(struct kv_base_plan *p, const struct kv_version *v)
{
	char *copy;

	if (v == NULL || v->number == 0)
		return 0;
	if ((copy = malloc(v->len)) == NULL)
		return no_memory(p);
	memcpy(copy, v->bytes, v->len);
	p->base.version = v->number;
	return add_small(p, KV_BASE_VERSION, v->number, copy, v->len);
}

static int
read_format(struct kv_base_plan *p)
{
	struct kevo *db = p->db;
	size_t len;
	int rc;

	rc = kv_read_small(&db->env, &db->dir, "FORMAT", KV_IDENT_MAX,
	    &p->format.bytes, &len);
	if (rc != 0)
		return rc;
	p->format.m.kind = KV_BASE_FORMAT;
	p->format.m.size = len;
	p->base.bytes += len;
	p->base.files++;
	return 0;
}

/* ---- full or incremental ----------------------------------------------- */

static int
by_number(const void *a, const void *b)
{
	uint64_t x = ((const struct kv_table_info *)a)->number;
	uint64_t y = ((const struct kv_table_info *)b)->number;

	return x < y ? -1 : x > y;
}

/* The archive's order. */
static int
by_name(const void *a, const void *b)
{
	return by_number(*(const struct kv_table_info *const *)a,
	    *(const struct kv_table_info *const *)b);
}

/* Tables of the version that the parent lacks. */
static int
choose_tables(struct kv_base_plan *p, const struct kv_version *parent)
{
	const struct kv_version *v = p->taken.version;
	uint32_t n = parent != NULL ? parent->ntables : 0;
	struct kv_table_info *have, *at;

	have = calloc((size_t)n + 1, sizeof(*have));
	p->table = calloc((size_t)v->ntables + 1, sizeof(p->table[0]));
	if (have == NULL || p->table == NULL) {
		free(have);
		return no_memory(p);
	}
	for (uint32_t i = 0; i < n; i++)
		have[i] = parent->table[i].info;
	qsort(have, n, sizeof(*have), by_number);
	for (uint32_t i = 0; i < v->ntables; i++) {
		at = bsearch(&v->table[i].info, have, n, sizeof(*have),
		    by_number);
		if (at == NULL || at->hash != v->table[i].info.hash)
			p->table[p->ntable++] = &v->table[i].info;
	}
	free(have);
	qsort(p->table, p->ntable, sizeof(p->table[0]), by_name);
	return 0;
}

static uint64_t
table_bytes(const struct kv_base_plan *p)
{
	uint64_t n = 0;

	for (uint32_t i = 0; i < p->ntable; i++)
		n += p->table[i]->size;
	return n;
}

static uint64_t
log_bytes(const struct kv_base_plan *p)
{
	uint64_t n = 0;

	for (size_t i = 0; i < p->taken.n; i++)
		n += p->taken.seg[i].len + (p->taken.seg[i].cut ?
		    KV_SEAL_LEN : 0);
	return n;
}

/*
 * Where the log behind the parent is whole, it is all that an increment
 * needs.  Tables go with it if that does not cost more than the log itself:
 * then what is restored has a short log.
 */
static int
choose(struct kv_base_plan *p)
{
	const struct kv_base_parent *of = p->opt->parent;
	const struct kv_version *v = p->taken.version;
	int rc;

	if (p->opt->since != 0)
		return 0;
	if ((rc = choose_tables(p, of != NULL ? of->version : NULL)) != 0)
		return rc;
	if (of != NULL && p->taken.log_is_whole && (of->version == NULL ||
	    table_bytes(p) > log_bytes(p))) {
		p->ntable = 0;
		v = of->version;
	}
	return add_version(p, v);
}

/* Without its log, the parent's place in our history is known by epochs. */
static int
check_parent(struct kv_base_plan *p)
{
	const struct kv_base_parent *of = p->opt->parent;
	struct kevo *db = p->db;
	const struct kv_epoch *e, *next;
	struct kv_history h;
	int rc, ours;

	if (of == NULL || p->taken.log_is_whole)
		return 0;
	rc = kv_history_of_db(&db->env, &db->dir, &p->ident, &h);
	if (rc != 0)
		return rc;
	e = kv_history_find(&h, of->end.epoch);
	next = kv_history_next(&h, of->end.epoch);
	ours = e != NULL && e->nonce == of->end.nonce && (next == NULL ||
	    of->end.seq <= next->start);
	kv_history_release(&h);
	return ours ? 0 : kv_ship_fail(&db->env, KV_SHIP_FORK, "%s: the "
	    "backup that is to be continued is of another history; make a "
	    "full one", db->path);
}

static int
take(struct kv_base_plan *p)
{
	const struct kv_base_write *o = p->opt;
	struct kv_take_from from = { .only_seq = o->parent == NULL,
		.need_log = o->parent == NULL || o->parent->version == NULL };

	if (o->parent != NULL)
		from.at = o->parent->end;
	else
		from.at.seq = o->since;
	return kv_take(&p->taken, p->db, &p->ident, o->durable,
	    o->parent != NULL || o->since != 0 ? &from : NULL);
}

static void
set_base(struct kv_base_plan *p)
{
	const struct kv_taken *t = &p->taken;
	struct kv_base *b = &p->base;

	memcpy(b->db, p->ident.id, 16);
	b->mode = p->ident.mode;
	b->end = t->end;
	b->time_ns = t->time_ns;
	b->has_parent = p->opt->parent != NULL || p->opt->since != 0;
	if (b->has_parent)
		b->parent = t->from;
	b->first_segment = t->seg[0].counter;
	b->last_segment = t->seg[t->n - 1].counter;
}

/* What it holds by itself begins with the tables, if it has them. */
static void
set_start(struct kv_base_plan *p)
{
	struct kv_base *b = &p->base;

	b->start = !b->has_parent || b->version ==
	    p->taken.version->number ? p->taken.start : b->parent;
	if (b->start.seq > b->end.seq)
		b->start = b->end;
	b->files += 1 + p->ntable + p->taken.n;
	b->bytes += table_bytes(p) + log_bytes(p);
}

static int
check_id(struct kv_base_plan *p)
{
	const struct kv_base_parent *of = p->opt->parent;

	if (of == NULL || memcmp(of->db, p->ident.id, 16) == 0)
		return 0;
	return kv_ship_fail(&p->db->env, KV_SHIP_WRONG_DB, "%s: the backup "
	    "that is to be continued is of another database", p->db->path);
}

/* ---- all together ------------------------------------------------------ */

int
kv_base_plan(struct kv_base_plan *p, struct kevo *db,
    const struct kv_base_write *opt)
{
	int rc;

	memset(p, 0, sizeof(*p));
	p->db = db;
	p->opt = opt;
	if ((rc = kv_ident_read(&db->env, &db->dir, &p->ident)) != 0 ||
	    (rc = check_id(p)) != 0 || (rc = take(p)) != 0)
		return rc;
	set_base(p);
	if ((rc = check_parent(p)) != 0 || (rc = add_epochs(p)) != 0 ||
	    (rc = add_small(p, KV_BASE_LOCK, 0, NULL, 0)) != 0 ||
	    (rc = add_small(p, KV_BASE_PINS, 0, NULL, 0)) != 0 ||
	    (rc = add_conf(p)) != 0 || (rc = choose(p)) != 0 ||
	    (rc = read_format(p)) != 0)
		return rc;
	set_start(p);
	return 0;
}

void
kv_base_plan_release(struct kv_base_plan *p)
{
	for (size_t i = 0; i < p->nbefore; i++)
		free(p->before[i].bytes);
	free(p->before);
	free(p->format.bytes);
	free(p->table);
	kv_taken_release(&p->taken);
}
