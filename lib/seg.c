#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "db.h"

void
kv_index_name(char buf[KV_INDEX_NAME_LEN], uint64_t generation,
    uint64_t counter)
{
	kv_name(kv_name(buf, "shm/", generation, "."), "", counter, ".idx");
}

uint64_t
kv_index_space(uint64_t capacity)
{
	uint64_t n = capacity * 32 + kv_index_filter_len(capacity) +
	    ((uint64_t)1 << 20);

	return n < KV_INDEX_ARENA_MAX ? n : KV_INDEX_ARENA_MAX;
}

/* If addresses are scarce, an index may grow by so much after it is mapped. */
#define INDEX_SLACK	((uint64_t)16 << 20)

void
kv_seg_close_files(struct kv_seg *s)
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
	uint8_t head[KV_SEGMENT_HEAD];
	const char *full;
	void *p;
	int fd, rc;

	kv_segment_name(name, s->counter);
	full = kv_path(&db->dir, name);
	fd = kv_openat(db->dir.fd, name, writable ? O_RDWR : O_RDONLY, 0);
	if (fd < 0 && errno == ENOENT)
		return KV_RETRY;
	if (fd < 0)
		return kv_fail_errno(&db->env, full, "open");
	s->fd = fd;
	rc = kv_file_stat(&db->env, fd, full, &s->log_len, NULL, NULL);
	if (rc != 0)
		return rc;
	if (s->log_len < KV_SEGMENT_HEAD || s->log_len > KV_SEGMENT_MAX)
		return kv_fail(&db->env, KEVO_ECORRUPT,
		    "%s: damaged: impossible length", full);
	rc = kv_pread(&db->env, fd, full, head, sizeof(head), 0);
	if (rc == 0)
		rc = kv_map(&db->env, fd, full, (size_t)s->log_len, writable,
		    &p);
	if (rc != 0)
		return rc;
	s->log = p;
	if (kv_segment_head_decode(head, &s->head) != 0 ||
	    memcmp(s->head.id, db->ctl->id, 16) != 0 ||
	    s->head.counter != s->counter)
		return kv_fail(&db->env, KEVO_ECORRUPT,
		    "%s: damaged: bad segment header", full);
	return 0;
}

static int
not_this_index(struct kevo *db, const char *full)
{
	return kv_fail(&db->env, KEVO_ECORRUPT, "%s: damaged: not the index "
	    "of this segment; remove %s/shm when no process uses the "
	    "database", full, db->path);
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
		return not_this_index(db, full);
	s->ix.arena = s->arena;
	s->ix.arena_len = s->arena_mapped;
	s->ix.log = s->log;
	s->ix.log_len = s->log_len;
	if (kv_index_use_filter(&s->ix, kv_filter_for(&s->head), size,
	    get_le64(db->ctl->id)) != 0)
		return not_this_index(db, full);
	if (!writable)
		kv_seg_close_files(s);
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
	kv_seg_close_files(s);
	free(s);
}
