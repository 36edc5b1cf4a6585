#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "db.h"

/* An index starts with this much and grows by at least as much. */
#define INDEX_STEP	((uint64_t)64 << 10)

/* From here on it grows by multiples of this, the size of a large page:
 * there are fewer faults, and who goes through it at random finds addresses
 * sooner. */
#define INDEX_LARGE	((uint64_t)2 << 20)

/*
 * A new file has its mode before its name is of use to anybody, whatever
 * the umask of the process that happens to create it.
 */
static int
create_file(struct kv_env *env, const struct kv_dir *dir, const char *name,
    uint32_t mode, int *out)
{
	int fd;

	if (unlinkat(dir->fd, name, 0) != 0 && errno != ENOENT)
		return kv_fail_errno(env, kv_path(dir, name), "replace");
	fd = kv_openat(dir->fd, name, O_RDWR | O_CREAT | O_EXCL, 0666);
	if (fd < 0)
		return kv_fail_errno(env, kv_path(dir, name), "create");
	if (kv_give(dir, fd, mode) != 0) {
		int rc = kv_fail_errno(env, kv_path(dir, name),
		    "set the mode of");

		close(fd);
		unlinkat(dir->fd, name, 0);
		return rc;
	}
	kv_no_copy_on_write(fd);
	*out = fd;
	return 0;
}

int
kv_segment_create(struct kv_env *env, const struct kv_dir *dir, uint32_t mode,
    struct kv_segment_head *h)
{
	char name[KV_SEGMENT_NAME_LEN];
	uint8_t head[KV_SEGMENT_HEAD];
	const char *full;
	int fd, rc;

	kv_segment_name(name, h->counter);
	full = kv_path(dir, name);
	kv_segment_head_encode(head, h);
	if ((rc = create_file(env, dir, name, mode, &fd)) != 0)
		return rc;
	/* Space is reserved step by step ahead of the records: a database of
	 * ten keys does not take up a whole segment. */
	if (ftruncate(fd, (off_t)h->capacity) != 0)
		rc = kv_fail_errno(env, full, "extend");
	if (rc == 0)
		rc = kv_pwrite(env, fd, full, head, sizeof(head), 0);
	if (rc == 0 && fsync(fd) != 0)
		rc = kv_fail_errno(env, full, "sync");
	close(fd);
	if (rc == 0)
		rc = kv_sync_dir(env, dir, "wal");
	if (rc != 0)
		unlinkat(dir->fd, name, 0);
	return rc;
}

uint32_t
kv_filter_for(const struct kv_segment_head *h)
{
	return h->counter > 1 ? kv_index_filter_len(h->capacity) : 0;
}

int
kv_index_create(struct kv_env *env, const struct kv_dir *dir, uint32_t mode,
    uint64_t generation, const struct kv_segment_head *h, uint64_t need)
{
	char name[KV_INDEX_NAME_LEN];
	uint32_t filter = kv_filter_for(h);
	uint64_t size = KV_INDEX_HEAD_LEN + filter + need + INDEX_STEP;
	const char *full;
	void *p;
	int fd, rc;

	size -= size % INDEX_STEP;
	kv_index_name(name, generation, h->counter);
	full = kv_path(dir, name);
	if ((rc = create_file(env, dir, name, mode, &fd)) != 0)
		return rc;
	rc = kv_reserve(env, fd, full, 0, size);
	if (rc == 0)
		rc = kv_map(env, fd, full, (size_t)size, 1, &p);
	if (rc == 0) {
		kv_index_format(p, size, generation, h->counter, h->hash,
		    filter);
		kv_unmap(p, (size_t)size);
	}
	close(fd);
	if (rc != 0)
		unlinkat(dir->fd, name, 0);
	return rc;
}

int
kv_index_grow(struct kevo *db, struct kv_seg *s, uint64_t nops)
{
	struct kv_index_head *h = s->arena;
	uint64_t size = atomic_load_explicit(&h->size, memory_order_relaxed);
	uint64_t end = atomic_load_explicit(&h->end, memory_order_relaxed);
	uint64_t need = kv_index_need(&s->ix, nops);
	uint64_t step = INDEX_STEP, want;
	char name[KV_INDEX_NAME_LEN];
	int rc;

	if (end > size || need > KV_INDEX_ARENA_MAX)
		return kv_fail(&db->env, KEVO_ECORRUPT, "%s: index of segment "
		    "%llu is damaged", db->path,
		    (unsigned long long)s->counter);
	if (end + need <= size)
		return 0;
	if (size / 4 > step)
		step = size / 4;
	want = end + need > size + step ? end + need : size + step;
	step = want < INDEX_LARGE ? INDEX_STEP : INDEX_LARGE;
	want += step - 1;
	want -= want % step;
	if (want > s->arena_mapped)
		want = s->arena_mapped;
	if (end + need > want)
		return KV_RETRY;	/* the next segment has a fresh one */
	if (want >= INDEX_LARGE)
		kv_map_in_large(s->arena, (size_t)s->arena_mapped);
	if (s->idx_fd >= 0) {
		kv_index_name(name, h->generation, s->counter);
		rc = kv_reserve(&db->env, s->idx_fd, kv_path(&db->dir, name),
		    size, want - size);
		if (rc != 0)
			return rc;
	}
	atomic_store_explicit(&h->size, want, memory_order_release);
	return 0;
}
