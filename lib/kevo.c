#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "compact.h"
#include "count.h"
#include "join.h"
#include "record.h"

/*
 * The public functions that need little more than a check of their
 * arguments.  kevo_open() and kevo_close() are in open.c, iterators in
 * iter.c, transactions in txn.c.
 */

struct kevo_snapshot {
	struct kevo *db;
	struct kv_view *view;
	uint64_t seq;
	uint64_t now_ns;	/* its clock, for what expires */
	struct kv_layer *top;	/* of a transaction that the handle joined */
	struct kv_reach reach;
};

/* How often a condition is looked at anew because index files were missing. */
#define TRIES	8

const char *
kevo_errmsg(const struct kevo *db)
{
	return db == NULL ? "out of memory" : db->env.msg;
}

const char *
kevo_strerror(int status)
{
	switch (status) {
	case KEVO_OK: return "done";
	case KEVO_NOTFOUND: return "not found";
	case KEVO_FALSE: return "condition is false";
	case KEVO_EINVAL: return "invalid argument";
	case KEVO_ELIMIT: return "too large";
	case KEVO_ENODB: return "no such database";
	case KEVO_ENOTDB: return "not a kevo database";
	case KEVO_ECORRUPT: return "database is damaged";
	case KEVO_ECREATE: return "cannot create database";
	case KEVO_EIO: return "input or output error";
	case KEVO_EUNKNOWN: return "not known to be durable";
	case KEVO_EBUSY: return "busy";
	case KEVO_EPERM: return "not permitted";
	case KEVO_ENOMEM: return "out of memory";
	case KEVO_EFORKED: return "handle belongs to the parent process";
	case KEVO_ECONFIG: return "kevo.conf is wrong";
	case KEVO_EREPLACED: return "database was replaced";
	case KEVO_EHISTORY: return "history is no longer kept";
	case KEVO_ECONFLICT: return "what was read has changed";
	case KEVO_EENDED: return "the transaction has ended";
	}
	return "unknown status";
}

enum kevo_sync
kevo_default_sync(const struct kevo *db)
{
	return kv_sync_mode(db, KEVO_SYNC_DEFAULT);
}

void
kevo_free(void *p)
{
	free(p);
}

static int
usable(struct kevo *db)
{
	int rc = kv_usable(db);

	return rc != 0 ? rc : kv_warm_up(db);
}

/* To write into a transaction, what is below it is not needed. */
static int
usable_for_writing(struct kevo *db)
{
	return db->join != NULL ? kv_usable(db) : usable(db);
}

int
kv_index_missing(struct kevo *db)
{
	return kv_fail(&db->env, KEVO_ECORRUPT, "%s/shm: index files are "
	    "missing; remove shm when no process uses the database",
	    db->path);
}

/* ---- reading ----------------------------------------------------------- */

/* At a snapshot, with what it has of a transaction over it. */
static int
peek_at(struct kevo *db, const struct kevo_snapshot *snap, const void *key,
    size_t klen, struct kevo_record *rec)
{
	int rc = kv_join_check(db);

	if (rc == 0)
		rc = kv_layers_get(snap->top, &snap->reach, key, klen, rec);
	if (rc == KEVO_FALSE)
		rc = kv_lookup(db, snap->view, snap->seq, key, klen, rec);
	return kv_unexpired(rc, rec, snap->now_ns);
}

static int
peek(struct kevo *db, const struct kevo_snapshot *snap, const void *key,
    size_t klen, struct kevo_record *rec)
{
	int rc;

	if ((rc = kv_usable(db)) != 0 ||
	    (rc = kv_key_check(&db->env, key, klen)) != 0)
		return rc;
	if (snap != NULL)
		return peek_at(db, snap, key, klen, rec);
	return db->join != NULL ? kv_join_get(db, key, klen, rec) :
	    kv_unexpired(kv_get_now(db, key, klen, rec), rec, 0);
}

int
kevo_peek(struct kevo *db, const struct kevo_snapshot *snap, const void *key,
    size_t klen, struct kevo_record *rec)
{
	uint64_t began = kv_read_begin(db);

	return kv_read_end(db, began, peek(db, snap, key, klen, rec), rec);
}

int
kevo_get(struct kevo *db, const struct kevo_snapshot *snap, const void *key,
    size_t klen, void **val, size_t *vlen)
{
	struct kevo_record rec;
	char *p;
	int rc;

	if ((rc = kevo_peek(db, snap, key, klen, &rec)) != 0)
		return rc;
	if ((p = malloc(rec.vlen + 1)) == NULL)
		return kv_result(db, kv_fail(&db->env, KEVO_ENOMEM, "out of "
		    "memory for a value of %zu bytes", rec.vlen));
	if (rec.vlen > 0)
		memcpy(p, rec.value, rec.vlen);
	p[rec.vlen] = '\0';
	*val = p;
	*vlen = rec.vlen;
	return 0;
}

static int
new_snapshot(struct kevo *db, struct kevo_snapshot **out)
{
	struct kevo_snapshot *s;
	int rc;

	if ((rc = usable(db)) != 0)
		return rc;
	if ((s = calloc(1, sizeof(*s))) == NULL)
		return kv_fail(&db->env, KEVO_ENOMEM, "out of memory");
	s->db = db;
	if (db->join != NULL) {
		s->top = db->join->top;
		rc = kv_join_look(db, &s->reach);
	}
	s->now_ns = kv_begin_now(db);
	if (rc == 0)
		rc = kv_view_take(db, &s->view, &s->seq);
	if (rc == 0 && (rc = kv_join_check(db)) != 0)
		kv_view_release(s->view);
	if (rc != 0) {
		free(s);
		return rc;
	}
	kv_count_read(db, KV_STAT_SNAPSHOTS, 1);
	*out = s;
	return 0;
}

int
kevo_snapshot_new(struct kevo *db, struct kevo_snapshot **out)
{
	return kv_result(db, new_snapshot(db, out));
}

int
kevo_snapshot_at(struct kevo *db, uint64_t version,
    struct kevo_snapshot **out)
{
	struct kevo_snapshot *s;
	int rc;

	if ((rc = kevo_snapshot_new(db, &s)) != 0)
		return rc;
	if (version > s->seq) {
		rc = kv_fail(&db->env, KEVO_EINVAL, "%s: version %llu is not "
		    "there yet; the newest is %llu", db->path,
		    (unsigned long long)version, (unsigned long long)s->seq);
		kevo_snapshot_free(s);
		return kv_result(db, rc);
	}
	if (version < s->view->version->last_seq) {
		rc = kv_fail(&db->env, KEVO_EHISTORY, "%s: version %llu is no "
		    "longer kept; the oldest one is %llu", db->path,
		    (unsigned long long)version,
		    (unsigned long long)s->view->version->last_seq);
		kevo_snapshot_free(s);
		return kv_result(db, rc);
	}
	/* Without the writes of a transaction that the handle has joined. */
	s->seq = version;
	s->reach.n = 0;
	*out = s;
	return 0;
}

void
kevo_snapshot_free(struct kevo_snapshot *s)
{
	if (s == NULL)
		return;
	kv_view_release(s->view);
	free(s);
}

uint64_t
kevo_snapshot_version(const struct kevo_snapshot *s)
{
	return s->seq;
}

int
kevo_iter_new(struct kevo *db, const struct kevo_snapshot *snap,
    const struct kevo_range *range, struct kevo_iter **out)
{
	struct kv_reach reach = { .n = 0 };
	struct kv_scope scope = { .reach = &reach };
	int rc;

	if ((rc = usable(db)) == 0 && snap != NULL) {
		kv_view_keep_too(snap->view);
		scope.view = snap->view;
		scope.seq = snap->seq;
		scope.top = snap->top;
		scope.reach = &snap->reach;
		scope.now_ns = snap->now_ns;
	} else if (rc == 0) {
		if (db->join != NULL) {
			scope.top = db->join->top;
			scope.now_ns = db->join->now_ns;
			rc = kv_join_look(db, &reach);
		}
		if (rc == 0)
			rc = kv_view_take(db, &scope.view, &scope.seq);
	}
	if (rc == 0 && (rc = kv_join_check(db)) != 0)
		kv_view_release(scope.view);
	if (rc == 0)
		rc = kv_iter_new(db, &scope, range, out);
	return kv_result(db, rc);
}

/* ---- writing ----------------------------------------------------------- */

/* Under WRITER. */
static int
check_cond(struct kevo *db, const void *key, size_t klen,
    const struct kevo_cond *cond)
{
	struct kevo_record rec;
	int rc = kv_unexpired(kv_lookup_newest(db, key, klen, &rec), &rec, 0);

	if (rc < 0 || rc == KV_RETRY)
		return rc;
	if (kv_cond_holds(cond, rc == 0, &rec))
		return 0;
	kv_count(db->ctl, KV_STAT_COND_FALSE, 1);
	return KEVO_FALSE;
}

/*
 * Take WRITER and evaluate the condition.  An index file that somebody removed
 * may be needed for that: then all are built anew, once.  Returns 0 or
 * KEVO_FALSE with WRITER held, or an error without.
 */
static int
lock_and_check(struct kevo *db, const void *key, size_t klen,
    const struct kevo_cond *cond)
{
	int rc;

	for (int i = 0; i < TRIES; i++) {
		if ((rc = kv_writer_lock(db)) != 0)
			return rc;
		if (cond->kind == KEVO_IF_ANY)
			return 0;
		rc = check_cond(db, key, klen, cond);
		if (rc == 0 || rc == KEVO_FALSE)
			return rc;
		if (rc == KV_RETRY)
			db->broken = db->ctl->generation;
		kv_writer_unlock(db);
		if (rc != KV_RETRY)
			return rc;
	}
	return kv_index_missing(db);
}

/* Into the transaction that the handle has joined. */
static int
join_write(struct kevo *db, const struct kevo_batch *b, const void *key,
    size_t klen, const struct kevo_cond *cond, uint64_t *version)
{
	int rc = kv_join_write(db, b, key, klen, cond);

	if (rc == 0 && version != NULL)
		*version = 0;
	return rc;
}

/*
 * One operation, one commit.  A false condition is an answer about a state
 * that may not be on disk yet; it is given when that is.
 */
static int
write_one(struct kevo *db, int kind, const void *key, size_t klen,
    const void *val, size_t vlen, const struct kevo_write *w,
    uint64_t *version)
{
	static const struct kevo_write defaults;
	enum kevo_sync sync;
	uint64_t seq;
	int rc;

	if (w == NULL)
		w = &defaults;
	if ((rc = usable_for_writing(db)) != 0 ||
	    (rc = kv_sync_check(db, w->sync)) != 0 ||
	    (rc = kv_cond_check(&db->env, &w->cond)) != 0)
		return rc;
	kv_batch_reset(&db->one);
	rc = kv_batch_add(&db->one, kind, key, klen, val, vlen,
	    w->expires_ns);
	if (rc != 0)
		return rc;
	if (db->join != NULL)
		return join_write(db, &db->one, key, klen, &w->cond, version);
	rc = lock_and_check(db, key, klen, &w->cond);
	if (rc != 0 && rc != KEVO_FALSE)
		return rc;
	sync = kv_sync_mode(db, w->sync);
	if (rc == 0)
		rc = kv_append(db, &db->one, sync, &seq);
	else
		seq = kv_tail(db->ctl)->seq;
	kv_writer_unlock(db);
	if (rc == KEVO_FALSE) {
		rc = kv_settle(db, seq);
		return rc != 0 ? rc : KEVO_FALSE;
	}
	if (rc != 0)
		return rc;
	if (version != NULL)
		*version = seq;
	return kv_finish_commit(db, seq, sync);
}

int
kevo_put(struct kevo *db, const void *key, size_t klen, const void *val,
    size_t vlen, const struct kevo_write *w, uint64_t *version)
{
	return kv_result(db, write_one(db, KV_OP_PUT, key, klen, val, vlen, w,
	    version));
}

int
kevo_delete(struct kevo *db, const void *key, size_t klen,
    const struct kevo_write *w, uint64_t *version)
{
	return kv_result(db, write_one(db, KV_OP_DELETE, key, klen, NULL, 0, w,
	    version));
}

int
kevo_batch_new(struct kevo *db, struct kevo_batch **out)
{
	struct kevo_batch *b = calloc(1, sizeof(*b));

	if (b == NULL)
		return kv_fail(db != NULL ? &db->env : NULL, KEVO_ENOMEM,
		    "out of memory");
	b->db = db;
	*out = b;
	return 0;
}

void
kevo_batch_free(struct kevo_batch *b)
{
	if (b == NULL)
		return;
	kv_batch_release(b);
	free(b);
}

void
kevo_batch_clear(struct kevo_batch *b)
{
	kv_batch_reset(b);
}

static int
batch_result(struct kevo_batch *b, int rc)
{
	return b->db != NULL ? kv_result(b->db, rc) : rc;
}

int
kevo_batch_put(struct kevo_batch *b, const void *key, size_t klen,
    const void *val, size_t vlen, uint64_t expires_ns)
{
	return batch_result(b, kv_batch_add(b, KV_OP_PUT, key, klen, val,
	    vlen, expires_ns));
}

int
kevo_batch_delete(struct kevo_batch *b, const void *key, size_t klen)
{
	return batch_result(b, kv_batch_add(b, KV_OP_DELETE, key, klen, NULL,
	    0, 0));
}

size_t
kevo_batch_count(const struct kevo_batch *b)
{
	return b->count;
}

size_t
kevo_batch_bytes(const struct kevo_batch *b)
{
	return (size_t)b->len;
}

static int
commit(struct kevo *db, struct kevo_batch *b, enum kevo_sync sync,
    uint64_t *version)
{
	static const struct kevo_cond always;
	uint64_t seq;
	int rc;

	if ((rc = usable_for_writing(db)) != 0 ||
	    (rc = kv_sync_check(db, sync)) != 0)
		return rc;
	if (b->count == 0)
		return kv_fail(&db->env, KEVO_EINVAL, "empty batch");
	if (db->join != NULL) {
		rc = join_write(db, b, NULL, 0, &always, version);
		if (rc == 0)
			kv_batch_reset(b);
		return rc;
	}
	sync = kv_sync_mode(db, sync);
	if ((rc = kv_writer_lock(db)) != 0)
		return rc;
	rc = kv_append(db, b, sync, &seq);
	kv_writer_unlock(db);
	if (rc != 0)
		return rc;
	kv_batch_reset(b);
	if (version != NULL)
		*version = seq;
	return kv_finish_commit(db, seq, sync);
}

int
kevo_commit(struct kevo *db, struct kevo_batch *b, enum kevo_sync sync,
    uint64_t *version)
{
	return kv_result(db, commit(db, b, sync, version));
}

int
kevo_sync(struct kevo *db)
{
	int rc;

	if ((rc = usable(db)) == 0 && db->join != NULL)
		return kv_result(db, kv_join_check(db));
	if (rc == 0 && db->slot == 0)
		rc = kv_fail(&db->env, KEVO_EPERM, "%s: opened for reading "
		    "only", db->path);
	if (rc == 0)
		rc = kv_sync_to(db, atomic_load_explicit(&db->ctl->appended,
		    memory_order_acquire));
	if (rc == 0)
		db->batch_to = 0;
	return kv_result(db, rc);
}

/* ---- statistics -------------------------------------------------------- */

/* Who mapped a segment while it was active has mapped more than it has: it is
 * cut when it is complete. */
static uint64_t
sealed_bytes(const struct kevo *db, const struct kv_seg *s)
{
	char name[KV_SEGMENT_NAME_LEN];
	struct stat st;

	kv_segment_name(name, s->counter);
	return fstatat(db->dir.fd, name, &st, 0) == 0 && st.st_size >= 0 &&
	    (uint64_t)st.st_size < s->log_len ? (uint64_t)st.st_size :
	    s->log_len;
}

int
kevo_stats(struct kevo *db, struct kevo_stats *out)
{
	const struct kv_control *c;
	struct kv_view *v;
	uint64_t seq;
	int rc;

	if ((rc = usable(db)) != 0 || (rc = kv_view_take(db, &v, &seq)) != 0)
		return rc;
	c = db->ctl;
	memset(out, 0, sizeof(*out));
	memcpy(out->id, c->id, sizeof(out->id));
	out->visible = seq;
	out->synced = atomic_load(&c->synced);
	out->appended = atomic_load(&c->appended);
	out->segments = v->last - v->first + 1;
	out->memtable_bytes = kv_setting(c, KV_SET_MEMTABLE_BYTES);
	out->sync = (enum kevo_sync)kv_setting(c, KV_SET_SYNC);
	for (uint64_t i = 0; i < out->segments; i++) {
		struct kv_index_head *h = v->seg[v->first - v->base + i]->
		    arena;

		out->index_bytes += atomic_load(&h->end);
		out->log_bytes += i + 1 < out->segments ?
		    sealed_bytes(db, v->seg[v->first - v->base + i]) :
		    kv_tail(c)->off;
	}
	kv_stats_levels(db, v->version, out);
	kv_view_release(v);
	return 0;
}
