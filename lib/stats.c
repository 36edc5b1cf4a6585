#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "count.h"
#include "env.h"
#include "file.h"

/*
 * The memory that the numbers lie in belongs to whoever may write the
 * database, and a power cut may have torn it.  So nothing that is read there
 * is larger than these, and sums of them do not wrap.
 */
#define COUNT_MAX	((uint64_t)1 << 63)
#define BUCKET_MAX	((uint64_t)1 << 56)

static uint64_t
load(const _Atomic uint64_t *p, uint64_t max)
{
	uint64_t v = atomic_load_explicit(p, memory_order_relaxed);

	return v <= max ? v : 0;
}

/* All of a histogram, or none of it. */
static void
get_histogram(const struct kv_hist *h, unsigned shift, struct kv_stats *s,
    unsigned n)
{
	uint64_t max = COUNT_MAX >> shift;

	s->hist[n].sum = load(&h->sum, max) << shift;
	s->hist[n].max = load(&h->max, max) << shift;
	for (unsigned i = 0; i < KV_HIST_BUCKETS; i++) {
		uint64_t v = atomic_load_explicit(&h->bucket[i],
		    memory_order_relaxed);

		if (v > BUCKET_MAX) {
			memset(&s->hist[n], 0, sizeof(s->hist[n]));
			return;
		}
		s->hist[n].bucket[i] = v;
		s->hist[n].count += v;
	}
}

void
kv_stats_get(const struct kv_control *c, struct kv_stats *s)
{
	memset(s, 0, sizeof(*s));
	for (unsigned i = 0; i < KV_STATS; i++)
		s->count[i] = load(i < KV_STATS_HOT_ROOM ? &c->hot.count[i] :
		    &c->cold.count[i - KV_STATS_HOT_ROOM], COUNT_MAX);
	for (unsigned i = 0; i < KV_HISTS; i++)
		get_histogram(i < KV_HISTS_HOT ? &c->hot.hist[i] :
		    &c->cold.hist[i - KV_HISTS_HOT],
		    kv_hist_shift((enum kv_histogram)i), s, i);
}

static void
set_histogram(struct kv_hist *h, unsigned shift, const struct kv_stats *s,
    unsigned n)
{
	h->sum = s->hist[n].sum >> shift;
	h->max = s->hist[n].max >> shift;
	for (unsigned i = 0; i < KV_HIST_BUCKETS; i++)
		h->bucket[i] = s->hist[n].bucket[i];
}

static void
set(struct kv_control *c, const struct kv_stats *s)
{
	for (unsigned i = 0; i < KV_STATS; i++)
		*kv_stat(c, i) = s->count[i];
	for (unsigned i = 0; i < KV_HISTS; i++)
		set_histogram(i < KV_HISTS_HOT ? &c->hot.hist[i] :
		    &c->cold.hist[i - KV_HISTS_HOT],
		    kv_hist_shift((enum kv_histogram)i), s, i);
}

static int
read_old(const struct kv_dir *dir, struct kv_control *old)
{
	struct kv_env quiet;
	uint64_t size;
	int rc, fd = kv_openat(dir->fd, "shm/control", O_RDONLY, 0);

	if (fd < 0)
		return -1;
	rc = kv_file_stat(&quiet, fd, "", &size, NULL, NULL);
	if (rc == 0 && size == sizeof(*old))
		rc = kv_pread(&quiet, fd, "", old, sizeof(*old), 0);
	close(fd);
	return rc == 0 && size == sizeof(*old) ? 0 : -1;
}

void
kv_stats_inherit(struct kv_control *c, const struct kv_dir *dir)
{
	struct kv_control old;
	struct kv_stats s;
	uint64_t now = kv_now_ns();

	memset(&s, 0, sizeof(s));
	if (read_old(dir, &old) == 0 && kv_control_is_of(&old, c->id))
		kv_stats_get(&old, &s);
	if (s.count[KV_STAT_SINCE_NS] == 0 || s.count[KV_STAT_SINCE_NS] > now)
		s.count[KV_STAT_SINCE_NS] = now;
	set(c, &s);
}
