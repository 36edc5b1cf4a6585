#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../db.h"
#include "../table_layout.h"
#include "base.h"
#include "base_plan.h"

/*
 * What was planned is written, member by member.  Tables are verified one by
 * one on the way, while they are in memory anyway.
 */

#define STEP		((size_t)1 << 20)

struct write {
	struct kv_base_plan plan;
	struct kevo *db;
	const struct kv_base_write *opt;
	char dir[KV_BASE_DIR_LEN];
	int64_t time;
	struct kv_tar_out *out;
	struct kv_hash128 *hash;
	struct kv_base_sums sums;
	uint64_t done;
};

static int
no_memory(struct write *w)
{
	return kv_fail(&w->db->env, KEVO_ENOMEM, "out of memory");
}

/* ---- members ----------------------------------------------------------- */

static int
tell(struct write *w, uint64_t bytes)
{
	const struct kv_base_write *o = w->opt;

	w->done += bytes;
	if (o->progress == NULL || o->progress(o->arg, w->done,
	    w->plan.base.bytes) == 0)
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
begin(struct write *w, const struct kv_base_member *m)
{
	char name[KV_BASE_NAME_LEN], full[KV_BASE_DIR_LEN + KV_BASE_NAME_LEN];
	mode_t mode = w->plan.ident.mode;

	if (m->kind == KV_BASE_LOCK)
		mode = kv_lock_mode(mode);
	kv_base_name(name, m);
	snprintf(full, sizeof(full), "%s/%s", w->dir, name);
	kv_hash128_reset(w->hash);
	return kv_tar_file(w->out, full, mode, w->time, m->size);
}

static int
end(struct write *w, const struct kv_base_member *m)
{
	return kv_base_sums_add(&w->sums, m, w->hash) == 0 ? 0 : no_memory(w);
}

static int
put_small(struct write *w, const struct kv_base_small *s)
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
	int rc = kv_taken_map(&w->plan.taken, s, &log);

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
	unsigned mode = kv_dir_mode(w->plan.ident.mode);
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
	struct kv_base_small s = { { kind, 0, len }, text };

	return put_small(w, &s);
}

static int
put_head(struct write *w)
{
	char text[KV_BASE_TEXT_MAX];
	int rc;

	rc = put_text(w, KV_BASE_HEAD, text, kv_base_print(text,
	    &w->plan.base));
	w->done = 0;
	return rc;
}

static int
put_end(struct write *w)
{
	struct kv_base_end e = { .files = w->plan.base.files,
		.bytes = w->plan.base.bytes };
	char text[KV_BASE_TEXT_MAX];
	size_t len = w->sums.len;
	int rc;

	kv_hash128_of(w->sums.text, len, e.sums);
	if ((rc = put_text(w, KV_BASE_SUMS, w->sums.text, len)) != 0)
		return rc;
	return put_text(w, KV_BASE_END, text, kv_base_end_print(text, &e));
}

static int
put_all(struct write *w)
{
	int rc;

	if ((rc = put_dirs(w)) != 0 || (rc = put_head(w)) != 0)
		return rc;
	for (size_t i = 0; i < w->plan.nbefore; i++)
		if ((rc = put_small(w, &w->plan.before[i])) != 0)
			return rc;
	for (uint32_t i = 0; i < w->plan.ntable; i++)
		if ((rc = put_table(w, w->plan.table[i])) != 0)
			return rc;
	for (size_t i = 0; i < w->plan.taken.n; i++)
		if ((rc = put_segment(w, &w->plan.taken.seg[i])) != 0)
			return rc;
	if ((rc = put_small(w, &w->plan.format)) != 0)
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
set_dir(struct write *w)
{
	if (w->opt->name != NULL)
		snprintf(w->dir, sizeof(w->dir), "%s", w->opt->name);
	else
		kv_base_dir_name(w->dir, w->db->path);
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
	set_dir(&w);
	if ((rc = kv_base_plan(&w.plan, db, opt)) == 0) {
		w.time = opt->time >= 0 ? opt->time :
		    (int64_t)(w.plan.base.time_ns / 1000000000u);
		rc = archive(&w);
	}
	if (rc == 0)
		*out = w.plan.base;
	free(w.sums.text);
	kv_hash128_free(w.hash);
	kv_base_plan_release(&w.plan);
	return rc;
}
