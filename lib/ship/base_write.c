#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../db.h"
#include "../epoch.h"
#include "../table_layout.h"
#include "base.h"
#include "base_take.h"
#include "ship.h"

/*
 * Everything is looked at before the first byte is written: the log is walked
 * to its end, since KEVO-BASE, which tells where that is, comes first.  Tables
 * are verified one by one on the way, while they are in memory anyway.
 */

#define STEP		((size_t)1 << 20)
#define SMALL_MAX	65536

/* A member whose bytes are in memory. */
struct small {
	struct kv_base_member m;
	char *bytes;
};

struct write {
	struct kevo *db;
	const struct kv_base_write *opt;
	struct kv_taken taken;
	struct kv_ident ident;
	struct kv_base base;
	struct small *before;	/* what comes before tables and log, */
	size_t nbefore;
	struct small format;	/* and what comes behind */
	const struct kv_table_info **table;	/* those that go into it */
	uint32_t ntable;
	char dir[KV_BASE_DIR_LEN];
	int64_t time;
	struct kv_tar_out *out;
	struct kv_hash128 *hash;
	char *sums;
	size_t sums_len, sums_room;
	uint64_t done;
};

static int
no_memory(struct write *w)
{
	return kv_fail(&w->db->env, KEVO_ENOMEM, "out of memory");
}

/* ---- what goes into it ------------------------------------------------- */

static int
add_small(struct write *w, enum kv_base_kind kind, uint64_t number,
    char *bytes, size_t len)
{
	struct small *s = realloc(w->before, (w->nbefore + 1) * sizeof(*s));

	if (s == NULL) {
		free(bytes);
		return no_memory(w);
	}
	w->before = s;
	s += w->nbefore++;
	s->m.kind = kind;
	s->m.number = number;
	s->m.size = len;
	s->bytes = bytes;
	w->base.bytes += len;
	w->base.files++;
	return 0;
}

static int
add_file(struct write *w, enum kv_base_kind kind, uint64_t number, size_t max)
{
	struct kv_base_member m = { .kind = kind, .number = number };
	char name[KV_BASE_NAME_LEN], *bytes;
	size_t len;
	int rc;

	kv_base_name(name, &m);
	rc = kv_read_small(&w->db->env, &w->db->dir, name, max, &bytes, &len);
	return rc != 0 ? rc : add_small(w, kind, number, bytes, len);
}

/* Those that begin behind the end belong to commits that are not in it. */
static int
add_epochs(struct write *w)
{
	struct kevo *db = w->db;
	struct kv_history h;
	int rc = kv_history_of_db(&db->env, &db->dir, &w->ident, &h);

	if (rc != 0)
		return rc;
	for (size_t i = 1; i < h.n && rc == 0; i++)
		if (h.v[i].start <= w->base.end.seq)
			rc = add_file(w, KV_BASE_EPOCH, h.v[i].epoch,
			    KV_EPOCH_TEXT_MAX);
	kv_history_release(&h);
	return rc;
}

static int
add_conf(struct write *w)
{
	int rc = add_file(w, KV_BASE_CONF, 0, KV_CONF_MAX);

	return rc == KEVO_ENODB ? 0 : rc;
}

static int
add_version(struct write *w, const struct kv_version *v)
{
	char *copy;

	if (v == NULL || v->number == 0)
		return 0;
	if ((copy = malloc(v->len)) == NULL)
		return no_memory(w);
	memcpy(copy, v->bytes, v->len);
	w->base.version = v->number;
	return add_small(w, KV_BASE_VERSION, v->number, copy, v->len);
}

static int
read_format(struct write *w)
{
	struct kevo *db = w->db;
	size_t len;
	int rc;

	rc = kv_read_small(&db->env, &db->dir, "FORMAT", 4096,
	    &w->format.bytes, &len);
	if (rc != 0)
		return rc;
	w->format.m.kind = KV_BASE_FORMAT;
	w->format.m.size = len;
	w->base.bytes += len;
	w->base.files++;
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
choose_tables(struct write *w, const struct kv_version *parent)
{
	const struct kv_version *v = w->taken.version;
	uint32_t n = parent != NULL ? parent->ntables : 0;
	struct kv_table_info *have, *at;

	have = calloc((size_t)n + 1, sizeof(*have));
	w->table = calloc((size_t)v->ntables + 1, sizeof(w->table[0]));
	if (have == NULL || w->table == NULL) {
		free(have);
		return no_memory(w);
	}
	for (uint32_t i = 0; i < n; i++)
		have[i] = parent->table[i].info;
	qsort(have, n, sizeof(*have), by_number);
	for (uint32_t i = 0; i < v->ntables; i++) {
		at = bsearch(&v->table[i].info, have, n, sizeof(*have),
		    by_number);
		if (at == NULL || at->hash != v->table[i].info.hash)
			w->table[w->ntable++] = &v->table[i].info;
	}
	free(have);
	qsort(w->table, w->ntable, sizeof(w->table[0]), by_name);
	return 0;
}

static uint64_t
table_bytes(const struct write *w)
{
	uint64_t n = 0;

	for (uint32_t i = 0; i < w->ntable; i++)
		n += w->table[i]->size;
	return n;
}

static uint64_t
log_bytes(const struct write *w)
{
	uint64_t n = 0;

	for (size_t i = 0; i < w->taken.n; i++)
		n += w->taken.seg[i].len + (w->taken.seg[i].cut ?
		    KV_SEAL_LEN : 0);
	return n;
}

/*
 * Where the log behind the parent is whole, it is all that an increment
 * needs.  Tables go with it if that does not cost more than the log itself:
 * then what is restored has a short log.
 */
static int
choose(struct write *w)
{
	const struct kv_base_parent *p = w->opt->parent;
	const struct kv_version *v = w->taken.version;
	int rc;

	if (w->opt->since != 0)
		return 0;
	if ((rc = choose_tables(w, p != NULL ? p->version : NULL)) != 0)
		return rc;
	if (p != NULL && w->taken.log_is_whole && (p->version == NULL ||
	    table_bytes(w) > log_bytes(w))) {
		w->ntable = 0;
		v = p->version;
	}
	return add_version(w, v);
}

/* Without its log, the parent's place in our history is known by epochs. */
static int
check_parent(struct write *w)
{
	const struct kv_base_parent *p = w->opt->parent;
	struct kevo *db = w->db;
	const struct kv_epoch *e, *next;
	struct kv_history h;
	int rc, ours;

	if (p == NULL || w->taken.log_is_whole)
		return 0;
	rc = kv_history_of_db(&db->env, &db->dir, &w->ident, &h);
	if (rc != 0)
		return rc;
	e = kv_history_find(&h, p->end.epoch);
	next = kv_history_next(&h, p->end.epoch);
	ours = e != NULL && e->nonce == p->end.nonce && (next == NULL ||
	    p->end.seq <= next->start);
	kv_history_release(&h);
	return ours ? 0 : kv_ship_fail(&db->env, KV_SHIP_FORK, "%s: the "
	    "backup that is to be continued is of another history; make a "
	    "full one", db->path);
}

static int
take(struct write *w)
{
	const struct kv_base_write *o = w->opt;
	struct kv_take_from from = { .only_seq = o->parent == NULL,
		.need_log = o->parent == NULL || o->parent->version == NULL };

	if (o->parent != NULL)
		from.at = o->parent->end;
	else
		from.at.seq = o->since;
	return kv_take(&w->taken, w->db, &w->ident, o->durable,
	    o->parent != NULL || o->since != 0 ? &from : NULL);
}

static void
set_base(struct write *w)
{
	const struct kv_taken *t = &w->taken;
	struct kv_base *b = &w->base;

	memcpy(b->db, w->ident.id, 16);
	b->mode = w->ident.mode;
	b->end = t->end;
	b->time_ns = t->time_ns;
	b->has_parent = w->opt->parent != NULL || w->opt->since != 0;
	if (b->has_parent)
		b->parent = t->from;
	b->first_segment = t->seg[0].counter;
	b->last_segment = t->seg[t->n - 1].counter;
}

/* What it holds by itself begins with the tables, if it has them. */
static void
set_start(struct write *w)
{
	struct kv_base *b = &w->base;

	b->start = !b->has_parent || b->version ==
	    w->taken.version->number ? w->taken.start : b->parent;
	if (b->start.seq > b->end.seq)
		b->start = b->end;
	b->files += 1 + w->ntable + w->taken.n;
	b->bytes += table_bytes(w) + log_bytes(w);
}

static int
check_id(struct write *w)
{
	const struct kv_base_parent *p = w->opt->parent;

	if (p == NULL || memcmp(p->db, w->ident.id, 16) == 0)
		return 0;
	return kv_ship_fail(&w->db->env, KV_SHIP_WRONG_DB, "%s: the backup "
	    "that is to be continued is of another database", w->db->path);
}

static int
prepare(struct write *w)
{
	struct kevo *db = w->db;
	int rc;

	if ((rc = kv_ident_read(&db->env, &db->dir, &w->ident)) != 0 ||
	    (rc = check_id(w)) != 0 || (rc = take(w)) != 0)
		return rc;
	set_base(w);
	if ((rc = check_parent(w)) != 0 || (rc = add_epochs(w)) != 0 ||
	    (rc = add_small(w, KV_BASE_LOCK, 0, NULL, 0)) != 0 ||
	    (rc = add_small(w, KV_BASE_PINS, 0, NULL, 0)) != 0 ||
	    (rc = add_conf(w)) != 0 || (rc = choose(w)) != 0 ||
	    (rc = read_format(w)) != 0)
		return rc;
	set_start(w);
	w->time = w->opt->time >= 0 ? w->opt->time :
	    (int64_t)(w->base.time_ns / 1000000000u);
	return 0;
}

/* ---- members ----------------------------------------------------------- */

static int
tell(struct write *w, uint64_t bytes)
{
	const struct kv_base_write *o = w->opt;

	w->done += bytes;
	if (o->progress == NULL || o->progress(o->arg, w->done,
	    w->base.bytes) == 0)
		return 0;
	return kv_fail(&w->db->env, KEVO_EBUSY, "%s: the backup was ended",
	    w->db->path);
}

static int
put(struct write *w, const void *p, size_t len)
{
	const uint8_t *b = p;
	int rc = 0;

	while (len > 0 && rc == 0) {
		size_t n = len < STEP ? len : STEP;

		kv_hash128_add(w->hash, b, n);
		if ((rc = kv_tar_data(w->out, b, n)) == 0)
			rc = tell(w, n);
		b += n;
		len -= n;
	}
	return rc;
}

static int
add_line(struct write *w, const char *name)
{
	size_t need = w->sums_len + KV_HASH128_TEXT + KV_BASE_NAME_LEN + 4;
	size_t room = w->sums_room != 0 ? 2 * w->sums_room : 4096;
	char sum[KV_HASH128_TEXT], *p;

	if (need > w->sums_room) {
		if ((p = realloc(w->sums, room)) == NULL)
			return no_memory(w);
		w->sums = p;
		w->sums_room = room;
	}
	kv_hash128_text(w->hash, sum);
	w->sums_len += (size_t)sprintf(w->sums + w->sums_len, "%s  %s\n", sum,
	    name);
	return 0;
}

/* Of the whole file LOCK: who may not write must not be able to hold it. */
static unsigned
mode_of(const struct write *w, enum kv_base_kind kind)
{
	unsigned write = w->ident.mode & 0222;

	return kind == KV_BASE_LOCK ? write | write << 1 : w->ident.mode;
}

static int
begin(struct write *w, const struct kv_base_member *m)
{
	char name[KV_BASE_NAME_LEN], full[KV_BASE_DIR_LEN + KV_BASE_NAME_LEN];

	kv_base_name(name, m);
	snprintf(full, sizeof(full), "%s/%s", w->dir, name);
	kv_hash128_reset(w->hash);
	return kv_tar_file(w->out, full, mode_of(w, m->kind), w->time,
	    m->size);
}

static int
end(struct write *w, const struct kv_base_member *m)
{
	char name[KV_BASE_NAME_LEN];

	kv_base_name(name, m);
	return add_line(w, name);
}

static int
put_small(struct write *w, const struct small *s)
{
	int rc;

	if ((rc = begin(w, &s->m)) != 0 ||
	    (rc = put(w, s->bytes, (size_t)s->m.size)) != 0)
		return rc;
	return end(w, &s->m);
}

static int
put_table(struct write *w, const struct kv_table_info *info)
{
	struct kv_base_member m = { KV_BASE_TABLE, info->number, info->size };
	struct kevo *db = w->db;
	struct kv_table *t;
	int rc;

	rc = kv_table_open(&db->env, &db->dir, info->number, info->size,
	    info->hash, &t);
	if (rc == KEVO_NOTFOUND)
		return kv_view_lost(db, db->view, "table", info->number);
	if (rc != 0)
		return rc;
	if ((rc = kv_table_verify_hashes(&db->env, t)) == 0 &&
	    (rc = begin(w, &m)) == 0 &&
	    (rc = put(w, t->map, (size_t)info->size)) == 0)
		rc = end(w, &m);
	kv_table_unref(t);
	return rc;
}

static int
put_segment(struct write *w, const struct kv_taken_segment *s)
{
	struct kv_base_member m = { KV_BASE_SEGMENT, s->counter, s->len +
	    (s->cut ? KV_SEAL_LEN : 0) };
	const uint8_t *log;
	int rc = kv_taken_map(&w->taken, s, &log);

	if (rc != 0)
		return rc;
	if ((rc = begin(w, &m)) == 0 &&
	    (rc = put(w, log, (size_t)s->len)) == 0 && s->cut)
		rc = put(w, s->seal, KV_SEAL_LEN);
	kv_unmap((void *)(uintptr_t)log, (size_t)s->file_len);
	return rc != 0 ? rc : end(w, &m);
}

/* ---- the archive ------------------------------------------------------- */

static int
put_dirs(struct write *w)
{
	static const char *const below[] = { "", "/epochs", "/version",
	    "/table", "/wal" };
	unsigned mode = w->ident.mode | (w->ident.mode & 0444) >> 2;
	char name[KV_BASE_DIR_LEN + 16];
	int rc = 0;

	for (size_t i = 0; i < sizeof(below) / sizeof(below[0]) && rc == 0;
	    i++) {
		snprintf(name, sizeof(name), "%s%s/", w->dir, below[i]);
		rc = kv_tar_dir(w->out, name, mode, w->time);
	}
	return rc;
}

static int
put_text(struct write *w, enum kv_base_kind kind, char *text, size_t len)
{
	struct small s = { { kind, 0, len }, text };

	return put_small(w, &s);
}

static int
put_head(struct write *w)
{
	char text[KV_BASE_TEXT_MAX];
	int rc;

	rc = put_text(w, KV_BASE_HEAD, text, kv_base_print(text, &w->base));
	w->done = 0;
	return rc;
}

static int
put_end(struct write *w)
{
	struct kv_base_end e = { .files = w->base.files,
		.bytes = w->base.bytes };
	char text[KV_BASE_TEXT_MAX];
	size_t len = w->sums_len;
	int rc;

	kv_hash128_of(w->sums, len, e.sums);
	if ((rc = put_text(w, KV_BASE_SUMS, w->sums, len)) != 0)
		return rc;
	return put_text(w, KV_BASE_END, text, kv_base_end_print(text, &e));
}

static int
put_all(struct write *w)
{
	int rc;

	if ((rc = put_dirs(w)) != 0 || (rc = put_head(w)) != 0)
		return rc;
	for (size_t i = 0; i < w->nbefore; i++)
		if ((rc = put_small(w, &w->before[i])) != 0)
			return rc;
	for (uint32_t i = 0; i < w->ntable; i++)
		if ((rc = put_table(w, w->table[i])) != 0)
			return rc;
	for (size_t i = 0; i < w->taken.n; i++)
		if ((rc = put_segment(w, &w->taken.seg[i])) != 0)
			return rc;
	if ((rc = put_small(w, &w->format)) != 0)
		return rc;
	return put_end(w);
}

static int
archive(struct write *w)
{
	struct kevo *db = w->db;
	int rc;

	if ((w->hash = kv_hash128_new()) == NULL)
		return no_memory(w);
	rc = kv_tar_create(&db->env, &w->opt->sink, w->opt->filter, &w->out);
	if (rc != 0)
		return rc;
	if ((rc = put_all(w)) == 0)
		rc = kv_tar_finish(w->out);
	else
		kv_tar_abandon(w->out);
	return rc;
}

static void
release(struct write *w)
{
	for (size_t i = 0; i < w->nbefore; i++)
		free(w->before[i].bytes);
	free(w->before);
	free(w->format.bytes);
	free(w->table);
	free(w->sums);
	kv_hash128_free(w->hash);
	kv_taken_release(&w->taken);
}

int
kv_base_write(struct kevo *db, const struct kv_base_write *opt,
    struct kv_base *out)
{
	struct write w;
	int rc;

	memset(&w, 0, sizeof(w));
	w.db = db;
	w.opt = opt;
	if (opt->name != NULL)
		snprintf(w.dir, sizeof(w.dir), "%s", opt->name);
	else
		kv_base_dir_name(w.dir, db->path);
	if ((rc = prepare(&w)) == 0)
		rc = archive(&w);
	if (rc == 0)
		*out = w.base;
	release(&w);
	return rc;
}
