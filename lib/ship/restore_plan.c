#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../db.h"
#include "../env.h"
#include "../epoch.h"
#include "../file.h"
#include "../ident.h"
#include "../kevo.h"
#include "../segment.h"
#include "../version.h"
#include "restore_in.h"
#include "ship.h"

/* A file, mapped. */
struct map {
	const uint8_t *p;
	uint64_t len;
};

static const struct kv_dir *
dir_of(const struct kv_restore *r)
{
	return kv_newdir_dir(r->dir);
}

/* 0, KEVO_NOTFOUND or an error. */
static int
map_file(struct kv_restore *r, const char *name, struct map *m)
{
	const struct kv_dir *dir = dir_of(r);
	const char *full = kv_path(dir, name);
	void *p = NULL;
	int fd, rc;

	fd = kv_openat(dir->fd, name, O_RDONLY, 0);
	if (fd < 0)
		return errno == ENOENT ? KEVO_NOTFOUND :
		    kv_fail_errno(r->env, full, "open");
	rc = kv_file_stat(r->env, fd, full, &m->len, NULL, NULL);
	if (rc == 0 && m->len == 0)
		rc = kv_fail(r->env, KEVO_ECORRUPT, "%s: empty", full);
	if (rc == 0)
		rc = kv_map(r->env, fd, full, (size_t)m->len, 0, &p);
	m->p = p;
	close(fd);
	return rc;
}

static void
unmap(struct map *m)
{
	kv_unmap((void *)(uintptr_t)m->p, (size_t)m->len);
}

/* ---- what came twice --------------------------------------------------- */

/* Each segment of a base ends in a seal; before it one is the beginning of
 * the other. */
static uint64_t
common(const struct kv_base_member *m, const struct map *a,
    const struct map *b)
{
	uint64_t n = a->len < b->len ? a->len : b->len;

	if (m->kind == KV_BASE_TABLE)
		return a->len == b->len ? n : 0;
	return n > KV_SEAL_LEN ? n - KV_SEAL_LEN : 0;
}

static int
keep_longer(struct kv_restore *r, const char *name, const char *temporary,
    int longer)
{
	int fd = dir_of(r)->fd;

	if (longer ? renameat(fd, temporary, fd, name) != 0 :
	    unlinkat(fd, temporary, 0) != 0)
		return kv_ship_fail_errno(r->env, kv_path(dir_of(r), name),
		    "replace");
	return 0;
}

int
kv_restore_merge(struct kv_restore *r, const char *temporary)
{
	char name[KV_BASE_NAME_LEN];
	struct map old, new;
	uint64_t n;
	int rc, same, longer;

	kv_base_name(name, &r->member);
	if ((rc = map_file(r, name, &old)) != 0)
		return rc;
	if ((rc = map_file(r, temporary, &new)) != 0) {
		unmap(&old);
		return rc;
	}
	n = common(&r->member, &old, &new);
	same = n > 0 && memcmp(old.p, new.p, (size_t)n) == 0;
	longer = new.len > old.len;
	unmap(&old);
	unmap(&new);
	return same ? keep_longer(r, name, temporary, longer) :
	    kv_ship_fail(r->env, KV_SHIP_FORK, "%s: %s: the archive before "
	    "has another one: they are of two histories", r->name, name);
}

/* ---- how far a version leads ------------------------------------------- */

struct want {
	uint64_t seq;		/* UINT64_MAX: no limit */
	uint64_t ns;
};

static int
is_beyond(const struct want *want, uint64_t seq, uint64_t ns)
{
	return seq > want->seq || ns > want->ns;
}

static int
damaged(struct kv_restore *r, const char *name, uint64_t off)
{
	return kv_ship_fail(r->env, KV_SHIP_CORRUPT, "%s: damaged at byte "
	    "%llu: it does not verify", kv_path(dir_of(r), name),
	    (unsigned long long)off);
}

static int
forked(struct kv_restore *r, const char *name, uint64_t seq)
{
	return kv_ship_fail(r->env, KV_SHIP_FORK, "%s: %s: it does not "
	    "continue commit %llu of the archives before: they are of two "
	    "histories", r->name, name, (unsigned long long)seq);
}

static void
note(struct kv_restore_reach *a, const struct kv_walk *k,
    const struct kv_segment_head *h)
{
	if (k->records > 0)
		a->time_ns = k->time_ns;
	a->segment = h->counter;
	a->off = k->off;
	a->at.epoch = h->epoch;
	a->at.nonce = h->nonce;
	a->at.seq = k->seq;
	a->at.chain = k->chain;
	a->seal.last_seq = k->seq;
	a->seal.records = k->records;
	a->seal.file_len = k->off + KV_SEAL_LEN;
	a->seal.chain = k->chain;
	a->seal.time_ns = a->time_ns;
	a->seal.head_hash = h->hash;
}

/* 1: it goes on in the next segment; 0: this was the last one. */
static int
walk_records(struct kv_restore *r, struct kv_restore_reach *a,
    const struct map *m, const struct kv_segment_head *h, const char *name,
    const struct want *want)
{
	enum kv_walk_result res;
	struct kv_walk k, before;

	kv_walk_start(&k, m->p, m->len, h);
	for (before = k; (res = kv_walk_next(&k)) == KV_WALK_RECORD;
	    before = k)
		if (is_beyond(want, k.seq, k.time_ns)) {
			a->past = 1;
			note(a, &before, h);
			return 0;
		}
	note(a, &k, h);
	return res == KV_WALK_SEAL ? 1 : damaged(r, name, k.off);
}

/* 1, 0 (there is none that continues the log), or an error. */
static int
walk_segment(struct kv_restore *r, struct kv_restore_reach *a, uint64_t counter,
    const struct want *want)
{
	char name[KV_SEGMENT_NAME_LEN];
	struct kv_segment_head h;
	struct map m;
	int rc;

	kv_segment_name(name, counter);
	if ((rc = map_file(r, name, &m)) != 0)
		return rc == KEVO_NOTFOUND ? 0 : rc;
	if (m.len < KV_SEGMENT_HEAD || kv_segment_head_decode(m.p, &h) != 0 ||
	    memcmp(h.id, r->base.db, 16) != 0 || h.counter != counter)
		rc = damaged(r, name, 0);
	else if (h.first_seq > a->at.seq + 1)
		rc = 0;
	else if (h.first_seq != a->at.seq + 1 ||
	    h.chain_before != a->at.chain)
		rc = forked(r, name, a->at.seq);
	else
		rc = walk_records(r, a, &m, &h, name, want);
	unmap(&m);
	return rc;
}

static int
walk(struct kv_restore *r, struct kv_restore_reach *a, const struct want *want)
{
	uint64_t c = a->v->first_segment;
	int rc;

	a->at.seq = a->v->last_seq;
	a->at.chain = a->v->chain_before;
	a->time_ns = a->v->time_ns;
	do
		rc = walk_segment(r, a, c++, want);
	while (rc == 1);
	return rc;
}

/* ---- choosing ---------------------------------------------------------- */

static int
is_wanted(const struct kv_restore *r, const struct kv_restore_reach *a)
{
	if (a->segment == 0)
		return 0;
	if (r->o.until_seq != 0)
		return a->at.seq == r->o.until_seq;
	return (r->o.until_ns != 0 && a->past) ||
	    (a->at.seq == r->base.end.seq &&
	    a->at.chain == r->base.end.chain);
}

static int
newest_first(const void *x, const void *y)
{
	const struct kv_restore_reach *a = x, *b = y;

	if (a->v->last_seq != b->v->last_seq)
		return a->v->last_seq > b->v->last_seq ? -1 : 1;
	return a->v->number > b->v->number ? -1 : a->v->number < b->v->number;
}

static int
read_versions(struct kv_restore *r, struct kv_restore_reach *a)
{
	struct kv_ident id;
	int rc;

	if ((rc = kv_ident_read(r->env, dir_of(r), &id)) != 0)
		return rc;
	if (memcmp(id.id, r->base.db, 16) != 0 || id.mode != r->base.mode)
		return kv_ship_fail(r->env, KV_SHIP_CORRUPT, "%s: FORMAT is "
		    "not that of KEVO-BASE", r->name);
	for (size_t i = 0; i < r->nversion; i++) {
		rc = kv_version_read(r->env, dir_of(r), id.id, r->version[i],
		    kv_chain_origin(&id), &a[i].v);
		if (rc != 0)
			return rc == KEVO_NOTFOUND ? kv_fail(r->env,
			    KEVO_EIO, "%s: a version vanished",
			    kv_newdir_path(r->dir)) : rc;
	}
	qsort(a, r->nversion, sizeof(*a), newest_first);
	return 0;
}

/* "100 to 160", for each version from the oldest on. */
static int
not_here(struct kv_restore *r, struct kv_restore_reach *a)
{
	const struct want all = { UINT64_MAX, UINT64_MAX };
	char what[64], have[300] = "";
	size_t n = 0;
	int rc;

	if (r->o.until_seq != 0)
		snprintf(what, sizeof(what), "commit %llu",
		    (unsigned long long)r->o.until_seq);
	else if (r->o.until_ns != 0)
		snprintf(what, sizeof(what), "that time");
	else
		snprintf(what, sizeof(what), "the end");
	for (size_t i = r->nversion; i > 0 && n < sizeof(have) - 60; i--) {
		struct kv_restore_reach *x = &a[i - 1];

		x->segment = 0;
		if ((rc = walk(r, x, &all)) < 0 || rc > 1)
			return rc;
		n += (size_t)snprintf(have + n, sizeof(have) - n, "%s%llu to "
		    "%llu", n > 0 ? ", " : "",
		    (unsigned long long)x->v->last_seq,
		    (unsigned long long)x->at.seq);
	}
	return kv_ship_fail(r->env, KV_SHIP_GAP, "%s: not in these backups: "
	    "they have the commits %s; in between the log was not kept "
	    "(setting wal_keep)", what, have);
}

static int
choose(struct kv_restore *r, struct kv_restore_reach *a,
    struct kv_restore_reach **out)
{
	struct want want = { UINT64_MAX, UINT64_MAX };
	int rc;

	if (r->o.until_seq != 0)
		want.seq = r->o.until_seq;
	else if (r->o.until_ns != 0)
		want.ns = r->o.until_ns;
	for (size_t i = 0; i < r->nversion; i++) {
		if (is_beyond(&want, a[i].v->last_seq, a[i].v->time_ns))
			continue;
		rc = walk(r, &a[i], &want);
		if (rc != 0)
			return rc;
		if (is_wanted(r, &a[i])) {
			*out = &a[i];
			return 0;
		}
	}
	return not_here(r, a);
}

/* ---- all of it --------------------------------------------------------- */

static void
tell(const struct kv_restore *r, const struct kv_position *at,
    uint64_t time_ns, struct kv_restored *out)
{
	memset(out, 0, sizeof(*out));
	memcpy(out->db, r->base.db, 16);
	out->at = *at;
	out->time_ns = time_ns;
	out->files = r->files;
	out->bytes = r->bytes;
	out->at_end = at->seq == r->base.end.seq;
}

static int
build_dry(struct kv_restore *r, struct kv_restored *out)
{
	int rc;

	if (!kv_restore_dry_is_asked(r)) {
		tell(r, &r->base.end, r->base.time_ns, out);
		return 0;
	}
	if ((rc = kv_restore_dry_answer(r)) == 0)
		tell(r, &r->dry.at, r->dry.time_ns, out);
	return rc;
}

/* All versions are released; they are many, and the choice is one. */
static int
choose_and_make(struct kv_restore *r, struct kv_restore_reach *all,
    struct kv_restored *out)
{
	struct kv_restore_reach *a = all;
	int rc;

	if ((rc = read_versions(r, all)) != 0 ||
	    (rc = choose(r, all, &a)) != 0 || (rc = kv_restore_make(r, a)) != 0)
		return rc;
	tell(r, &a->at, a->time_ns, out);
	return 0;
}

int
kv_restore_build(struct kv_restore *r, struct kv_restored *out)
{
	struct kv_restore_reach *all;
	int rc;

	if (r->o.dry_run)
		return build_dry(r, out);
	all = calloc(r->nversion + 1, sizeof(*all));
	if (all == NULL)
		return kv_fail(r->env, KEVO_ENOMEM, "out of memory");
	rc = choose_and_make(r, all, out);
	for (size_t i = 0; i < r->nversion; i++)
		kv_version_unref(all[i].v);
	free(all);
	return rc;
}
