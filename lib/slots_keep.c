#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "slots_dir.h"

/*
 * What the engine does for slots: a link to each segment that is sealed, and
 * an end to what grows too large.
 *
 * A slot that must be cut is told so first: the file `lost` is on disk before
 * a link goes.  So a replica that finds a gap finds the reason, too.
 */

/* ---- linking ----------------------------------------------------------- */

static void
link_one(const struct kv_dir *dir, const char *slot,
    const struct kv_segment_head *h, uint64_t last_seq)
{
	char from[KV_SEGMENT_NAME_LEN], name[KV_SHIP_NAME_LEN];
	char to[KV_SLOTS_PATH];
	struct kv_slots_note note;
	struct kv_env quiet;

	/* One that cannot be read may need it. */
	if (kv_slots_read(&quiet, dir, slot, &note) == 0 &&
	    note.confirmed.seq >= last_seq)
		return;
	kv_segment_name(from, h->counter);
	kv_ship_name(name, h->epoch, h->first_seq, last_seq);
	kv_slots_path(to, slot, name);
	linkat(dir->fd, from, dir->fd, to, 0);
}

void
kv_slots_link(const struct kv_dir *dir, const struct kv_segment_head *h,
    uint64_t last_seq)
{
	struct kv_slots_names names;
	struct kv_env quiet;

	if (last_seq < h->first_seq)
		return;		/* empty: there is nothing to ship */
	if (kv_slots_names(&quiet, dir, &names) != 0)
		return;
	for (size_t i = 0; i < names.n; i++)
		link_one(dir, names.v[i], h, last_seq);
	free(names.v);
}

/* Where its last record is, its successor says. */
void
kv_slots_keep(const struct kv_dir *dir, uint64_t counter)
{
	struct kv_segment_head h, next;

	if (faccessat(dir->fd, "slots", F_OK, 0) == 0 &&
	    kv_slots_head(dir, counter, &h) == 0 &&
	    kv_slots_head(dir, counter + 1, &next) == 0)
		kv_slots_link(dir, &h, next.first_seq - 1);
}

int
kv_slots_sync(struct kv_env *env, const struct kv_dir *dir)
{
	struct kv_slots_names names;
	char path[KV_SLOTS_PATH];
	int rc;

	if ((rc = kv_slots_names(env, dir, &names)) != 0)
		return rc;
	for (size_t i = 0; rc == 0 && i < names.n; i++) {
		kv_slots_path(path, names.v[i], "");
		rc = kv_sync_dir(env, dir, path);
		/* It may have been dropped meanwhile. */
		if (rc != 0 && faccessat(dir->fd, path, F_OK, 0) != 0 &&
		    errno == ENOENT)
			rc = 0;
	}
	free(names.v);
	return rc;
}

/* ---- limits ------------------------------------------------------------ */

static int
is_too_old(const struct kv_slots_note *n, uint64_t time_ns)
{
	uint64_t now = kv_now_ns();

	return n->max_age_s != KV_SLOTS_NO_LIMIT && now > time_ns &&
	    (now - time_ns) / 1000000000u > n->max_age_s;
}

/* How many of the oldest links must go, so that what is left is allowed. */
static size_t
count_over(const struct kv_slots_note *n, const struct kv_slots_list *l)
{
	uint64_t bytes = l->bytes;
	size_t i = 0;

	while (i < l->n && (bytes > n->max_bytes || is_too_old(n,
	    l->v[i].time_ns)))
		bytes -= l->v[i++].bytes;
	return i;
}

/*
 * Remove the n oldest links, at least one.  On a full disk there may be room
 * to tell of it only when some of them are gone.
 */
static void
cut(struct kevo *db, const char *name, const struct kv_slots_list *l,
    size_t n)
{
	uint64_t first = l->lost_last != 0 ? l->lost_first : l->v[0].first;
	uint64_t last = l->v[n - 1].last;
	int told = kv_slots_write_lost(db, name, first, last) == 0;

	for (size_t i = 0; i < n; i++) {
		kv_slots_unlink(db, name, l->v[i].name);
		if (!told)
			told = kv_slots_write_lost(db, name, first, last) == 0;
	}
}

/* Links behind the confirmed position are an ack's leftovers. */
static void
forget_confirmed(struct kevo *db, const char *name,
    const struct kv_slots_note *n, struct kv_slots_list *l)
{
	size_t kept = 0;

	for (size_t i = 0; i < l->n; i++) {
		if (l->v[i].last > n->confirmed.seq) {
			l->v[kept++] = l->v[i];
			continue;
		}
		kv_slots_unlink(db, name, l->v[i].name);
		l->bytes -= l->v[i].bytes;
	}
	l->n = kept;
}

static void
limit_one(struct kevo *db, const char *name)
{
	struct kv_slots_note note;
	struct kv_slots_list l;
	size_t n;

	if (kv_slots_read(&db->env, &db->dir, name, &note) != 0 ||
	    note.stop_writes || kv_slots_list(db, name, &l) != 0)
		return;
	forget_confirmed(db, name, &note, &l);
	if ((n = count_over(&note, &l)) > 0)
		cut(db, name, &l, n);
	kv_slots_list_free(&l);
}

void
kv_slots_limit(struct kevo *db)
{
	struct kv_env before = db->env;
	struct kv_slots_names names;

	if (kv_slots_names(&db->env, &db->dir, &names) == 0) {
		for (size_t i = 0; i < names.n; i++)
			limit_one(db, names.v[i]);
		free(names.v);
	}
	db->env = before;	/* the caller's own message */
}

static int
may_grow(struct kevo *db, const char *name)
{
	uint64_t used = kv_tail(db->ctl)->off;
	struct kv_slots_note note;
	struct kv_slots_list l;
	int rc = 0;

	if (kv_slots_read(&db->env, &db->dir, name, &note) != 0 ||
	    !note.stop_writes || kv_slots_list(db, name, &l) != 0)
		return 0;
	if (l.bytes > UINT64_MAX - used || l.bytes + used > note.max_bytes ||
	    count_over(&note, &l) > 0)
		rc = kv_fail(&db->env, KEVO_EBUSY, "%s: slot %s keeps %" PRIu64
		    " bytes of log, and is to stop writes at its limit; its "
		    "replica must catch up, or the slot be dropped", db->path,
		    name, l.bytes);
	kv_slots_list_free(&l);
	return rc;
}

int
kv_slots_may_grow(struct kevo *db)
{
	struct kv_slots_names names;
	int rc = 0;

	if (kv_slots_names(&db->env, &db->dir, &names) != 0)
		return 0;
	for (size_t i = 0; rc == 0 && i < names.n; i++)
		rc = may_grow(db, names.v[i]);
	free(names.v);
	return rc;
}

/* ---- a full disk ------------------------------------------------------- */

#define FULL_DISK	((uint64_t)4 << 20)

/* Links that hold space for slots alone: the first so many. */
static size_t
count_kept(const struct kv_slots_list *l)
{
	size_t n = 0;

	while (n < l->n && l->v[n].kept)
		n++;
	return n;
}

/* Does its replica lack more than the worst one so far? */
static void
compare(struct kevo *db, const char *name, const char **worst,
    uint64_t *worst_seq)
{
	struct kv_slots_note note;
	struct kv_slots_list l;

	if (kv_slots_read(&db->env, &db->dir, name, &note) != 0 ||
	    note.stop_writes || note.confirmed.seq >= *worst_seq ||
	    kv_slots_list(db, name, &l) != 0)
		return;
	if (count_kept(&l) > 0) {
		*worst = name;
		*worst_seq = note.confirmed.seq;
	}
	kv_slots_list_free(&l);
}

int
kv_slots_relieve(struct kevo *db, uint64_t bytes)
{
	struct kv_env before = db->env;
	uint64_t worst_seq = UINT64_MAX, left;
	struct kv_slots_names names;
	const char *worst = NULL;
	struct kv_slots_list l;
	int did = 0;

	/* More than is asked for at once: of log and index. */
	if (kv_free_bytes(&db->env, &db->dir, &left) == 0 &&
	    left < bytes + FULL_DISK &&
	    kv_slots_names(&db->env, &db->dir, &names) == 0) {
		for (size_t i = 0; i < names.n; i++)
			compare(db, names.v[i], &worst, &worst_seq);
		if (worst != NULL && kv_slots_list(db, worst, &l) == 0) {
			did = count_kept(&l) > 0;
			if (did)
				cut(db, worst, &l, count_kept(&l));
			kv_slots_list_free(&l);
		}
		free(names.v);
	}
	db->env = before;
	return did;
}
