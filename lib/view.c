#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "db.h"
#include "record.h"

/*
 * Reading.  A reader takes no lock and leaves no trace.  It loads, in this
 * order, what is visible and which segment is active; every commit at or
 * below the first number was inserted into an index before that number was
 * stored, and lies in a segment at or before the second.
 */

void
kv_index_name(char buf[KV_INDEX_NAME_LEN], uint64_t generation,
    uint64_t counter)
{
	snprintf(buf, KV_INDEX_NAME_LEN, "shm/%016llx.%016llx.idx",
	    (unsigned long long)generation, (unsigned long long)counter);
}

uint64_t
kv_index_space(uint64_t capacity)
{
	uint64_t n = capacity * 32 + ((uint64_t)1 << 20);

	return n < KV_INDEX_ARENA_MAX ? n : KV_INDEX_ARENA_MAX;
}

/* If addresses are scarce, an index may grow by so much after it is mapped. */
#define INDEX_SLACK	((uint64_t)16 << 20)

static void
close_files(struct kv_seg *s)
{
	if (s->fd >= 0)
		close(s->fd);
	if (s->idx_fd >= 0)
		close(s->idx_fd);
	s->fd = s->idx_fd = -1;
}

static int
map_log(struct kevo *db, struct kv_seg *s, int writable)
{
	char name[KV_SEGMENT_NAME_LEN];
	const char *full;
	void *p;
	int fd, rc;

	kv_segment_name(name, s->counter);
	full = kv_path(&db->dir, name);
	fd = kv_openat(db->dir.fd, name, writable ? O_RDWR : O_RDONLY, 0);
	if (fd < 0 && errno == ENOENT)
		return kv_fail(&db->env, KEVO_ECORRUPT, "%s: missing", full);
	if (fd < 0)
		return kv_fail_errno(&db->env, full, "open");
	s->fd = fd;
	rc = kv_file_stat(&db->env, fd, full, &s->log_len, NULL, NULL);
	if (rc != 0)
		return rc;
	if (s->log_len < KV_SEGMENT_HEAD || s->log_len > KV_SEGMENT_MAX)
		return kv_fail(&db->env, KEVO_ECORRUPT,
		    "%s: damaged: impossible length", full);
	rc = kv_map(&db->env, fd, full, (size_t)s->log_len, writable, &p);
	if (rc != 0)
		return rc;
	s->log = p;
	if (kv_segment_head_decode(s->log, &s->head) != 0 ||
	    memcmp(s->head.id, db->ctl->id, 16) != 0 ||
	    s->head.counter != s->counter)
		return kv_fail(&db->env, KEVO_ECORRUPT,
		    "%s: damaged: bad segment header", full);
	return 0;
}

static int
map_index(struct kevo *db, struct kv_seg *s, uint64_t generation,
    int writable)
{
	char name[KV_INDEX_NAME_LEN];
	const char *full;
	uint64_t size;
	struct kv_index_head *h;
	int rc;

	kv_index_name(name, generation, s->counter);
	full = kv_path(&db->dir, name);
	s->idx_fd = kv_openat(db->dir.fd, name, writable ? O_RDWR : O_RDONLY,
	    0);
	if (s->idx_fd < 0 && errno == ENOENT)
		return KV_RETRY;
	if (s->idx_fd < 0)
		return kv_fail_errno(&db->env, full, "open");
	rc = kv_file_stat(&db->env, s->idx_fd, full, &size, NULL, NULL);
	if (rc != 0)
		return rc;
	if (size < KV_INDEX_HEAD_LEN)
		return KV_RETRY;
	/* Room to grow for the active one; less where addresses are scarce. */
	s->arena_mapped = size;
	if (s->counter == atomic_load_explicit(&db->ctl->active,
	    memory_order_acquire))
		s->arena_mapped += kv_index_space(s->head.capacity);
	rc = kv_map(&db->env, s->idx_fd, full, (size_t)s->arena_mapped,
	    writable, &s->arena);
	if (rc == KEVO_ENOMEM && s->arena_mapped > size + INDEX_SLACK) {
		s->arena_mapped = size + INDEX_SLACK;
		rc = kv_map(&db->env, s->idx_fd, full,
		    (size_t)s->arena_mapped, writable, &s->arena);
	}
	if (rc != 0)
		return rc;
	h = s->arena;
	/* It may have grown since we looked at the file. */
	if (kv_index_check(h, size) != 0 && (rc = kv_file_stat(&db->env,
	    s->idx_fd, full, &size, NULL, NULL)) != 0)
		return rc;
	if (kv_index_check(h, size) != 0 || h->generation != generation ||
	    h->segment != s->counter || h->segment_hash != s->head.hash)
		return kv_fail(&db->env, KEVO_ECORRUPT, "%s: damaged: not "
		    "the index of this segment; remove %s/shm when no "
		    "process uses the database", full, db->path);
	s->ix.arena = s->arena;
	s->ix.arena_len = s->arena_mapped;
	s->ix.log = s->log;
	s->ix.log_len = s->log_len;
	if (!writable)
		close_files(s);
	return 0;
}

int
kv_seg_open(struct kevo *db, uint64_t generation, uint64_t counter,
    int writable, struct kv_seg **out)
{
	struct kv_seg *s = calloc(1, sizeof(*s));
	int rc;

	if (s == NULL)
		return kv_fail(&db->env, KEVO_ENOMEM, "out of memory");
	s->refs = 1;
	s->counter = counter;
	s->fd = s->idx_fd = -1;
	if ((rc = map_log(db, s, writable)) != 0 ||
	    (rc = map_index(db, s, generation, writable)) != 0) {
		kv_seg_unref(s);
		return rc;
	}
	*out = s;
	return 0;
}

void
kv_seg_unref(struct kv_seg *s)
{
	if (s == NULL || --s->refs > 0)
		return;
	kv_unmap(s->log, (size_t)s->log_len);
	kv_unmap(s->arena, (size_t)s->arena_mapped);
	close_files(s);
	free(s);
}

void
kv_view_unref(struct kv_view *v)
{
	if (v == NULL || --v->refs > 0)
		return;
	for (uint64_t i = 0; i <= v->last - v->first; i++)
		kv_seg_unref(v->seg[i]);
	free(v);
}

int
kv_view_extend(struct kevo *db)
{
	struct kv_view *old = db->view, *v;
	uint64_t first = atomic_load_explicit(&db->ctl->first,
	    memory_order_acquire);
	uint64_t last = atomic_load_explicit(&db->ctl->active,
	    memory_order_acquire);

	if (old != NULL && old->generation == db->ctl->generation &&
	    old->first == first && old->last == last)
		return 0;
	if (first == 0 || last < first || last - first > 1u << 24)
		return kv_fail(&db->env, KEVO_ECORRUPT, "%s/shm/control: "
		    "damaged: impossible segment numbers", db->path);
	v = calloc(1, sizeof(*v) + (size_t)(last - first + 1) *
	    sizeof(v->seg[0]));
	if (v == NULL)
		return kv_fail(&db->env, KEVO_ENOMEM, "out of memory");
	v->refs = 1;
	v->generation = db->ctl->generation;
	v->first = first;
	v->last = last;
	if (old != NULL && old->generation == v->generation)
		for (uint64_t c = old->first; c <= old->last; c++) {
			struct kv_seg *s = old->seg[c - old->first];

			if (s == NULL || c < first || c > last)
				continue;
			s->refs++;
			v->seg[c - first] = s;
			if (c != last)
				close_files(s);	/* nothing is appended */
		}
	kv_view_unref(old);
	db->view = v;
	return 0;
}

int
kv_view_seg(struct kevo *db, struct kv_view *v, uint64_t counter,
    struct kv_seg **out)
{
	struct kv_seg **s = &v->seg[counter - v->first];
	int writable = db->slot != 0 && !(db->flags & KEVO_RDONLY) &&
	    counter == v->last;
	int rc;

	if (*s == NULL && (rc = kv_seg_open(db, v->generation, counter,
	    writable, s)) != 0)
		return rc;
	*out = *s;
	return 0;
}

/*
 * The files may be replaced under a handle that lives long: a new
 * generation, or somebody's rm.  The flag in control is looked at each time,
 * the file's link count once a tick.
 */
static int
still_ours(struct kevo *db)
{
	uint64_t tick;

	if (atomic_load_explicit(&db->ctl->retired, memory_order_acquire))
		return 0;
	tick = kv_tick();
	if (tick == db->tick)
		return 1;
	db->tick = tick;
	if (db->private_index)
		return kv_control_stamp(&db->dir) == db->unusable;
	return kv_control_linked(&db->env, db->ctl_fd);
}

int
kv_view_now(struct kevo *db, uint64_t *visible)
{
	int rc;

	/* A transaction holds the WRITER of the control that it began with. */
	if (db->txn == NULL && !still_ours(db) &&
	    (rc = kv_attach(db, kv_deadline(db))) != 0)
		return rc;
	*visible = atomic_load_explicit(&db->ctl->visible,
	    memory_order_acquire);
	if (db->view->last != atomic_load_explicit(&db->ctl->active,
	    memory_order_acquire) && (rc = kv_view_extend(db)) != 0)
		return rc;
	return 0;
}

static int
is_expired(uint64_t expires_ns)
{
	return expires_ns != 0 && expires_ns <= kv_now_ns();
}

int
kv_record_of(const void *key, size_t klen, uint64_t seq,
    const struct kv_op *op, struct kevo_record *rec)
{
	if (op->kind == KV_OP_DELETE || is_expired(op->expires_ns))
		return KEVO_NOTFOUND;
	rec->key = key;
	rec->klen = klen;
	rec->value = op->val;
	rec->vlen = op->vlen;
	rec->version = seq;
	rec->expires_ns = op->expires_ns;
	return 0;
}

int
kv_lookup(struct kevo *db, struct kv_view *v, uint64_t seq, const void *key,
    size_t klen, struct kevo_record *rec)
{
	struct kv_index_hit hit;
	struct kv_seg *s;
	struct kv_op op;
	int rc;

	for (uint64_t c = v->last; c >= v->first; c--) {
		if ((rc = kv_view_seg(db, v, c, &s)) != 0)
			return rc;
		rc = kv_index_find(&s->ix, key, klen, seq, &hit);
		if (rc == 0)
			continue;
		if (rc < 0 || kv_op_decode(s->log, s->log_len, hit.off,
		    &op) != 0)
			return kv_fail(&db->env, KEVO_ECORRUPT, "%s: index of "
			    "segment %llu is damaged; remove %s/shm when no "
			    "process uses the database", db->path,
			    (unsigned long long)c, db->path);
		return kv_record_of(key, klen, hit.seq, &op, rec);
	}
	return KEVO_NOTFOUND;
}
