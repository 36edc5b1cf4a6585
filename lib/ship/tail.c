#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../coding.h"
#include "../kevo.h"
#include "accept.h"
#include "archive.h"
#include "ship.h"
#include "tail.h"

/* ---- publishing -------------------------------------------------------- */

struct old_tails {
	struct kv_archive *a;
	uint32_t epoch;
	uint64_t last;
};

/* "00000001-0000000000000033.open" */
static int
parse_tail(const char *name, uint32_t *epoch, uint64_t *first)
{
	char again[64];
	unsigned long long f;
	unsigned e;

	if (strlen(name) != 30 || sscanf(name, "%8x-%16llx", &e, &f) != 2)
		return 0;
	snprintf(again, sizeof(again), "%08x-%016llx.open", e, f);
	*epoch = e;
	*first = f;
	return strcmp(again, name) == 0;
}

/* A tail that has nothing beyond what is sealed now. */
static int
drop_tail(void *arg, const char *name)
{
	struct old_tails *o = arg;
	char file[KV_ARCHIVE_PATH_LEN];
	struct kv_image img;
	uint32_t epoch;
	uint64_t first;
	int rc, old;

	if (!parse_tail(name, &epoch, &first) || epoch != o->epoch ||
	    first > o->last)
		return 0;
	snprintf(file, sizeof(file), "state/tail/%s", name);
	rc = kv_image_load(&o->a->env, o->a->dir.fd, file,
	    kv_path(&o->a->dir, file), &img);
	if (rc != 0)
		return rc == KEVO_ENODB ? 0 : rc;
	old = !img.has_head || img.last_seq <= o->last;
	kv_image_release(&img);
	if (old && unlinkat(o->a->dir.fd, file, 0) != 0 && errno != ENOENT)
		return kv_ship_fail_errno(&o->a->env, kv_path(&o->a->dir,
		    file), "remove");
	return 0;
}

int
kv_tail_drop(struct kv_archive *a, uint32_t epoch, uint64_t last)
{
	struct old_tails o = { a, epoch, last };

	return kv_archive_each(a, "state/tail", drop_tail, &o);
}

int
kv_tail_publish(struct kv_archive *a, const struct kv_image *img, int zstd)
{
	int put = kv_archive_put_segment(a, img, zstd), rc;

	if (put != 0 && put != KEVO_FALSE)
		return put;
	rc = kv_tail_drop(a, img->head.epoch, img->last_seq);
	return rc != 0 ? rc : put;
}

/* ---- reading tails ----------------------------------------------------- */

struct newest {
	struct kv_archive *a;
	struct kv_accept_to to;
	struct kv_image best;
	uint64_t last;		/* of best; 0: none */
	char name[KV_ARCHIVE_PATH_LEN];
};

static int
look_at_tail(void *arg, const char *name)
{
	struct newest *n = arg;
	char file[KV_ARCHIVE_PATH_LEN];
	struct kv_accept v;
	struct kv_image img;
	uint32_t epoch;
	uint64_t first;
	int rc;

	if (!parse_tail(name, &epoch, &first))
		return 0;
	snprintf(file, sizeof(file), "state/tail/%s", name);
	rc = kv_image_load(&n->a->env, n->a->dir.fd, file,
	    kv_path(&n->a->dir, file), &img);
	if (rc != 0)
		return rc == KEVO_ENODB ? 0 : rc;
	kv_accept(&img, &n->to, &v);
	if (v.verdict == KV_ACCEPT_APPLY && v.last > n->last) {
		kv_image_release(&n->best);
		n->best = img;
		n->last = v.last;
		snprintf(n->name, sizeof(n->name), "%s", file);
	} else {
		kv_image_release(&img);
	}
	return 0;
}

int
kv_tail_load(struct kv_archive *a, struct kv_image *out, char *name,
    size_t room)
{
	struct newest n = { .a = a, .to = { .history = &a->history } };
	int rc;

	memcpy(n.to.db, a->id, sizeof(n.to.db));
	if ((rc = kv_archive_position(a, &n.to.at)) != 0)
		return rc;
	rc = kv_archive_each(a, "state/tail", look_at_tail, &n);
	if (rc != 0) {
		kv_image_release(&n.best);
		return rc;
	}
	if (n.last == 0)
		return KEVO_NOTFOUND;
	*out = n.best;
	if (name != NULL)
		snprintf(name, room, "%s", n.name);
	return 0;
}

/* ---- a tail that nobody sealed ------------------------------------------ */

/* A seal says nothing that is not in the segment, so it can be made here. */
static int
seal_at(struct kv_archive *a, int zstd, const struct kv_image *tail,
    uint64_t seq, uint64_t end, uint64_t chain)
{
	struct kv_seal z = { .last_seq = seq,
		.records = seq + 1 - tail->head.first_seq,
		.file_len = end + KV_SEAL_LEN, .chain = chain,
		.head_hash = tail->head.hash };
	uint8_t *p = malloc((size_t)end + KV_SEAL_LEN);
	struct kv_image img;
	uint64_t off, before;
	int rc;

	if (p == NULL)
		return kv_fail(&a->env, KEVO_ENOMEM, "%s: out of memory",
		    a->path);
	memcpy(p, tail->bytes, (size_t)end);
	kv_image_at(tail, seq - 1, &off, &before);
	z.time_ns = get_le64(tail->bytes + off + 16);
	kv_seal_encode(p + end, &z);
	kv_image_scan(&img, p, end + KV_SEAL_LEN);
	rc = img.state == KV_IMAGE_SEALED ? kv_tail_publish(a, &img, zstd) :
	    kv_ship_fail(&a->env, KV_SHIP_CORRUPT, "%s: a tail that ends with "
	    "commit %" PRIu64 " cannot be completed", a->path, seq);
	free(p);
	return rc;
}

/* Of what is behind the place nothing is lost. */
static int
set_aside(struct kv_archive *a, const struct kv_image *tail,
    const char *file)
{
	int rc = kv_archive_put_orphan(a, tail);

	if (rc != 0 && rc != KEVO_FALSE)
		return rc;
	if (unlinkat(a->dir.fd, file, 0) != 0 && errno != ENOENT)
		return kv_ship_fail_errno(&a->env, kv_path(&a->dir, file),
		    "remove");
	return 0;
}

int
kv_tail_complete(struct kv_archive *a, int zstd,
    const struct kv_segment_head *h)
{
	uint64_t seq = h->first_seq - 1, end, chain;
	char file[KV_ARCHIVE_PATH_LEN];
	struct kv_image tail;
	int rc, done = 0;

	rc = kv_tail_load(a, &tail, file, sizeof(file));
	if (rc != 0)
		return rc == KEVO_NOTFOUND ? 0 : rc;
	if (tail.head.first_seq <= seq && kv_image_at(&tail, seq, &end,
	    &chain) == 0 && chain == h->chain_before) {
		rc = seal_at(a, zstd, &tail, seq, end, chain);
		if ((rc == 0 || rc == KEVO_FALSE) && tail.last_seq > seq &&
		    tail.head.epoch != h->epoch)
			rc = set_aside(a, &tail, file);
		done = 1;
	}
	kv_image_release(&tail);
	return rc == 0 || rc == KEVO_FALSE ? done : rc;
}
