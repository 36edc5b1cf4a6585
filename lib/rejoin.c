#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "alone.h"
#include "db.h"
#include "position.h"
#include "promote.h"
#include "role.h"
#include "slots.h"
#include "slots_dir.h"
#include "text.h"

/*
 * An old primary comes back.  Two halves:
 *
 * The first is done through a handle, under WRITER, after recovery: where the
 * lines part, how many commits are only here, and these to orphans/.  The
 * role becomes `fenced', so that nothing changes any more.
 *
 * The second is done alone, with no handle.  Segments that hold orphans only
 * go from the newest on, so that what is left is a log at any moment; the one
 * in which the lines part is written anew beside itself and renamed, since a
 * reader may have it mapped.  Then the epoch that others went on with gets its
 * file, and the role becomes `replica'.
 *
 * Both can be repeated: what is in orphans/ is not written twice, and a log
 * that is cut has no orphans.
 */

#define CUT_TMP		"wal/cut.tmp"

struct rejoin {
	struct kevo *db;	/* of the half in hand */
	struct kv_rejoined *out;
	const struct kv_history *line;
	struct kv_ident ident;
	struct kv_history mine;
	const struct kv_epoch *next;	/* of line, the first that is not
					 * ours; NULL: all are */
	int newest;		/* we have epochs that the others have not */
	uint64_t fork;
	int64_t wait_ms;
	int dry_run;
};

/* ---- where the lines part ---------------------------------------------- */

static int
is_same(const struct kv_epoch *a, const struct kv_epoch *b)
{
	return a->epoch == b->epoch && a->nonce == b->nonce;
}

/*
 * Epochs are the same up to some one.  Behind it, the others went on with
 * `next`, and we may have gone on with one of our own: the earlier of the two
 * beginnings is the last commit that both have.
 */
static void
find_fork(struct rejoin *r)
{
	const struct kv_history *a = &r->mine, *b = r->line;
	size_t i = 0;

	while (i < a->n && i < b->n && is_same(&a->v[i], &b->v[i]))
		i++;
	r->next = i < b->n ? &b->v[i] : NULL;
	r->fork = r->next != NULL ? r->next->start : UINT64_MAX;
	if (i < a->n && a->v[i].start < r->fork)
		r->fork = a->v[i].start;
	r->newest = r->next == NULL && i < a->n;
}

static int
refuse(struct rejoin *r, enum kv_rejoin_class class, const char *why)
{
	r->out->why = class;
	return kv_fail(&r->db->env, KEVO_EHISTORY, "%s: %s", r->db->path,
	    why);
}

/* Under WRITER. */
static int
compare(struct rejoin *r)
{
	struct kevo *db = r->db;
	struct kv_position at;
	enum kv_role role;
	int rc;

	if ((rc = kv_ident_read(&db->env, &db->dir, &r->ident)) != 0 ||
	    (rc = kv_role_now(db, &role)) != 0 ||
	    (rc = kv_history_of_db(&db->env, &db->dir, &r->ident,
	    &r->mine)) != 0)
		return rc;
	if (memcmp(r->line->v[0].db, r->ident.id, 16) != 0)
		return refuse(r, KV_REJOIN_FORK, "the others are another "
		    "database");
	if (!is_same(&r->mine.v[0], &r->line->v[0]))
		return refuse(r, KV_REJOIN_FORK, "its first epoch is another "
		    "one than the others'");
	find_fork(r);
	if (r->newest || (r->next == NULL && role == KV_ROLE_PRIMARY))
		return refuse(r, KV_REJOIN_NOTHING, "the others have no epoch "
		    "that it does not have: it went on, and not they");
	if (r->fork >= kv_tail(db->ctl)->seq)
		r->fork = kv_tail(db->ctl)->seq;
	r->out->fork = r->fork;
	/* Where the next epoch begins the chain is known. */
	if (r->next == NULL || r->next->start != r->fork)
		return 0;
	rc = kv_position_find(db, r->fork, &at);
	if (rc == 0 && at.chain != r->next->chain)
		rc = refuse(r, KV_REJOIN_FORK, "its commits differ from the "
		    "others' before the epoch that they went on with");
	return rc == KEVO_NOTFOUND ? 0 : rc;	/* it is in tables */
}

/* ---- tables --------------------------------------------------------- */

/* The version says which segment the log begins with. */
static int
check_tables(struct rejoin *r, uint64_t *first_segment, uint64_t *last)
{
	struct kevo *db = r->db;
	struct kv_version *v;
	uint64_t number;
	int rc;

	if ((rc = kv_version_newest(&db->env, &db->dir, &number)) != 0 ||
	    (rc = kv_version_read(&db->env, &db->dir, r->ident.id, number,
	    kv_chain_origin(&r->ident), &v)) != 0)
		return rc;
	*first_segment = v->first_segment;
	if (v->last_seq > r->fork) {
		r->out->why = KV_REJOIN_IN_TABLES;
		rc = kv_fail(&db->env, KEVO_EHISTORY, "%s: its tables hold "
		    "commits up to %" PRIu64 ", and the others went on behind "
		    "%" PRIu64 "; it must be restored from a base backup",
		    db->path, v->last_seq, r->fork);
	}
	kv_version_unref(v);
	for (*last = *first_segment; rc == 0; (*last)++) {
		char name[KV_SEGMENT_NAME_LEN];

		kv_segment_name(name, *last + 1);
		if (faccessat(db->dir.fd, name, F_OK, 0) != 0)
			break;
	}
	return rc;
}

/* What is in no table is in the log, unless that is damaged. */
static int
may_cut(struct rejoin *r, uint64_t *first_segment, uint64_t *last)
{
	int rc = check_tables(r, first_segment, last);

	if (rc != 0 || r->out->orphans.missing == 0)
		return rc;
	return kv_fail(&r->db->env, KEVO_ECORRUPT, "%s: its log is damaged: "
	    "commits %s cannot be saved, and are not cut off; see "
	    "kevo-check(1)", r->db->path, r->out->orphans.which);
}

/* ---- the first half ---------------------------------------------------- */

static const char *
followed(const struct rejoin *r, const char *primary)
{
	return primary != NULL && *primary != '\0' ? primary :
	    kv_history_newest(r->line)->host;
}

static int
fence(struct rejoin *r, const char *primary)
{
	struct kv_role_note n = { .role = KV_ROLE_FENCED };

	n.since_ns = kv_now_ns();
	kv_text_copy(n.primary, sizeof(n.primary), followed(r, primary), 0);
	strcpy(n.reason, "rejoin");
	return kv_role_change(r->db, &n);
}

/* Under WRITER. */
static int
prepare(struct rejoin *r, const char *primary)
{
	struct kevo *db = r->db;
	uint64_t first, last;
	int rc;

	if ((rc = kv_sync_to(db, kv_tail(db->ctl)->seq)) != 0)
		return KEVO_EIO;
	if ((rc = compare(r)) != 0)
		return rc;
	if (!r->dry_run && (rc = fence(r, primary)) != 0)
		return rc;
	rc = kv_orphans_save(db, &r->mine, r->fork, r->dry_run,
	    &r->out->orphans);
	if (rc != 0 || !r->dry_run)
		return rc;
	return may_cut(r, &first, &last);
}

static int
first_half(struct rejoin *r, const char *path, const char *primary)
{
	struct kevo_options opt = { .wait_set = 1, .wait_ms = r->wait_ms };
	struct kevo *db;
	int rc = kevo_open(path, KEVO_ANY_CONFIG, &opt, &db);

	if (db == NULL)
		return KEVO_ENOMEM;
	r->db = db;
	if (rc == 0 && (rc = kv_log_lock(db)) == 0) {
		rc = prepare(r, primary);
		kv_writer_unlock(db);
	}
	snprintf(r->out->msg, sizeof(r->out->msg), "%s", kevo_errmsg(db));
	kevo_close(db);
	r->db = NULL;
	return rc;
}

/* ---- the second half: the log ------------------------------------------ */

static int
bad_segment(struct kevo *db, uint64_t counter)
{
	char name[KV_SEGMENT_NAME_LEN];

	kv_segment_name(name, counter);
	return kv_fail(&db->env, KEVO_ECORRUPT, "%s: damaged", kv_path(
	    &db->dir, name));
}

/* Remove segments that begin behind what follows the fork, the newest first.
 * *at is the one that is left. */
static int
remove_newer(struct rejoin *r, uint64_t first, uint64_t last, uint64_t *at)
{
	struct kevo *db = r->db;
	char name[KV_SEGMENT_NAME_LEN];
	struct kv_segment_head h;

	for (; last > first; last--) {
		if (kv_slots_head(&db->dir, last, &h) != 0)
			return bad_segment(db, last);
		if (h.first_seq <= r->fork + 1)
			break;
		kv_segment_name(name, last);
		if (unlinkat(db->dir.fd, name, 0) != 0)
			return kv_fail_errno(&db->env, kv_path(&db->dir,
			    name), "remove");
	}
	*at = last;
	return kv_sync_dir(&db->env, &db->dir, "wal");
}

/* Where the records up to the fork end in a mapped segment. */
static int
find_end(struct rejoin *r, uint64_t counter, const uint8_t *log, uint64_t len,
    struct kv_segment_head *h, uint64_t *end, int *whole)
{
	struct kv_walk w;

	if (len < KV_SEGMENT_HEAD || kv_segment_head_decode(log, h) != 0)
		return bad_segment(r->db, counter);
	kv_walk_start(&w, log, len, h);
	while (w.seq < r->fork)
		if (kv_walk_next(&w) != KV_WALK_RECORD)
			return bad_segment(r->db, counter);
	*end = w.off;
	*whole = kv_walk_next(&w) == KV_WALK_END;
	return 0;
}

/* The epoch that an empty segment behind the fork is of. */
static void
set_line(const struct rejoin *r, struct kv_segment_head *h)
{
	const struct kv_epoch *e = kv_history_of(r->line, r->fork);

	if (e == NULL)
		e = &r->line->v[0];
	h->epoch = e->epoch;
	h->nonce = e->nonce;
}

static int
write_cut(struct rejoin *r, const uint8_t *log, struct kv_segment_head *h,
    uint64_t end)
{
	struct kevo *db = r->db;
	const char *full = kv_path(&db->dir, CUT_TMP);
	uint8_t head[KV_SEGMENT_HEAD];
	int fd, rc;

	memcpy(head, log, sizeof(head));
	if (end == KV_SEGMENT_HEAD) {
		set_line(r, h);
		kv_segment_head_encode(head, h);
	}
	unlinkat(db->dir.fd, CUT_TMP, 0);
	fd = kv_openat(db->dir.fd, CUT_TMP, O_WRONLY | O_CREAT | O_EXCL, 0666);
	if (fd < 0)
		return kv_fail_errno(&db->env, full, "create");
	rc = kv_pwrite(&db->env, fd, full, head, sizeof(head), 0);
	if (rc == 0)
		rc = kv_pwrite(&db->env, fd, full, log + sizeof(head),
		    (size_t)(end - sizeof(head)), sizeof(head));
	if (rc == 0 && (kv_give(&db->dir, fd, r->ident.mode) != 0 ||
	    ftruncate(fd, (off_t)h->capacity) != 0 || fsync(fd) != 0))
		rc = kv_fail_errno(&db->env, full, "write");
	close(fd);
	return rc;
}

static int
cut_mapped(struct rejoin *r, uint64_t counter, const uint8_t *log,
    uint64_t len)
{
	struct kevo *db = r->db;
	char name[KV_SEGMENT_NAME_LEN];
	struct kv_segment_head h;
	uint64_t end = 0;
	int rc, whole = 0;

	rc = find_end(r, counter, log, len, &h, &end, &whole);
	if (rc != 0 || (whole && end > KV_SEGMENT_HEAD))
		return rc;	/* there is nothing to cut */
	if ((rc = write_cut(r, log, &h, end)) != 0)
		return rc;
	kv_segment_name(name, counter);
	if (renameat(db->dir.fd, CUT_TMP, db->dir.fd, name) != 0)
		return kv_fail_errno(&db->env, kv_path(&db->dir, name),
		    "replace");
	return kv_sync_dir(&db->env, &db->dir, "wal");
}

static int
cut_segment(struct rejoin *r, uint64_t counter)
{
	struct kevo *db = r->db;
	char name[KV_SEGMENT_NAME_LEN];
	const char *full;
	uint64_t len;
	void *p;
	int fd, rc;

	kv_segment_name(name, counter);
	full = kv_path(&db->dir, name);
	if ((fd = kv_openat(db->dir.fd, name, O_RDONLY, 0)) < 0)
		return kv_fail_errno(&db->env, full, "open");
	rc = kv_file_stat(&db->env, fd, full, &len, NULL, NULL);
	if (rc == 0 && (len < KV_SEGMENT_HEAD || len > KV_SEGMENT_MAX))
		rc = bad_segment(db, counter);
	if (rc == 0 && (rc = kv_map(&db->env, fd, full, (size_t)len, 0,
	    &p)) == 0) {
		rc = cut_mapped(r, counter, p, len);
		kv_unmap(p, (size_t)len);
	}
	close(fd);
	return rc;
}

/* Links that slots have to orphans. */
static int
forget_links(struct rejoin *r)
{
	struct kv_slots_names names;
	struct kv_slots_list l;
	int rc;

	if ((rc = kv_slots_names(&r->db->env, &r->db->dir, &names)) != 0)
		return rc;
	for (size_t i = 0; rc == 0 && i < names.n; i++) {
		if ((rc = kv_slots_list(r->db, names.v[i], &l)) != 0)
			break;
		for (size_t k = 0; k < l.n; k++)
			if (l.v[k].last > r->fork)
				kv_slots_unlink(r->db, names.v[i],
				    l.v[k].name);
		kv_slots_list_free(&l);
	}
	free(names.v);
	return rc != 0 ? rc : kv_slots_sync(&r->db->env, &r->db->dir);
}

/* ---- the second half: the history -------------------------------------- */

/* Epochs of our own, which nobody else knows, are kept with the orphans. */
static int
drop_epochs(struct rejoin *r)
{
	char name[KV_EPOCH_NAME_LEN], from[64], to[64];
	struct kevo *db = r->db;
	int moved = 0, rc;

	for (size_t i = r->mine.n; i-- > 0;) {
		const struct kv_epoch *e = &r->mine.v[i];
		const struct kv_epoch *theirs = kv_history_find(r->line,
		    e->epoch);

		if (theirs != NULL && is_same(e, theirs))
			break;
		kv_epoch_name(name, e->epoch);
		snprintf(from, sizeof(from), KV_EPOCHS "/%s", name);
		snprintf(to, sizeof(to), KV_ORPHANS "/%.8s-%016" PRIx64
		    ".epoch", name, e->nonce);
		if (!moved && (rc = kv_orphans_dir(&db->env, &db->dir,
		    r->ident.mode)) != 0)
			return rc;
		moved = 1;
		if (renameat(db->dir.fd, from, db->dir.fd, to) != 0)
			return kv_fail_errno(&db->env, kv_path(&db->dir,
			    from), "move");
	}
	if (!moved)
		return 0;
	rc = kv_sync_dir(&db->env, &db->dir, KV_ORPHANS);
	return rc != 0 ? rc : kv_sync_dir(&db->env, &db->dir, KV_EPOCHS);
}

static int
take_epoch(struct rejoin *r)
{
	uint32_t mode = r->ident.mode;
	struct kevo *db = r->db;
	int rc;

	if (r->next == NULL)
		return 0;
	rc = kv_mkdir(&db->env, &db->dir, KV_EPOCHS, mode);
	if (rc == 0)
		rc = kv_sync_dir(&db->env, &db->dir, ".");
	if (rc == 0 && unlinkat(db->dir.fd, KV_EPOCH_NEXT, 0) != 0 &&
	    errno != ENOENT)
		rc = kv_fail_errno(&db->env, kv_path(&db->dir, KV_EPOCH_NEXT),
		    "remove");
	if (rc == 0)
		rc = kv_epoch_write(&db->env, &db->dir, KV_EPOCHS, mode,
		    r->next);
	if (rc == KEVO_FALSE)
		rc = kv_fail(&db->env, KEVO_ECORRUPT, "%s: epoch %" PRIu32
		    " is there with other contents", kv_path(&db->dir,
		    KV_EPOCHS), r->next->epoch);
	return rc;
}

static int
change_all(struct rejoin *r, const char *primary)
{
	struct kv_role_note n = { .role = KV_ROLE_REPLICA };
	uint64_t first, last, at = 0;
	int rc;

	if ((rc = may_cut(r, &first, &last)) != 0 ||
	    (rc = forget_links(r)) != 0 ||
	    (rc = remove_newer(r, first, last, &at)) != 0 ||
	    (rc = cut_segment(r, at)) != 0 ||
	    (rc = drop_epochs(r)) != 0 || (rc = take_epoch(r)) != 0)
		return rc;
	n.since_ns = kv_now_ns();
	kv_text_copy(n.primary, sizeof(n.primary), followed(r, primary), 0);
	strcpy(n.reason, "rejoined");
	return kv_role_write(&r->db->env, &r->db->dir, r->ident.mode, &n);
}

static int
second_half(struct rejoin *r, const char *path, const char *primary)
{
	struct kevo db = { .wait_ms = r->wait_ms };
	int rc;

	db.path = (char *)(uintptr_t)path;
	db.dir.path = path;
	db.dir.names = &db.names;
	r->db = &db;
	db.dir.fd = kv_openat(AT_FDCWD, path, O_PATH | O_DIRECTORY, 0);
	if (db.dir.fd < 0)
		rc = kv_fail_errno(&db.env, path, "open");
	else if ((db.lock_fd = kv_openat(db.dir.fd, "LOCK", O_RDWR, 0)) < 0)
		rc = kv_fail_errno(&db.env, kv_path(&db.dir, "LOCK"), "open");
	else {
		rc = kv_alone(&db, "cut", r->fork, NULL, NULL);
		if (rc == 0)
			rc = change_all(r, primary);
		close(db.lock_fd);	/* and with it REBUILD */
	}
	if (db.dir.fd >= 0)
		close(db.dir.fd);
	snprintf(r->out->msg, sizeof(r->out->msg), "%s", db.env.msg);
	r->db = NULL;
	return rc;
}

int
kv_rejoin(const char *path, const struct kv_history *line,
    const char *primary, int64_t wait_ms, int dry_run,
    struct kv_rejoined *out)
{
	struct rejoin r = { .line = line, .out = out,
	    .dry_run = dry_run, .wait_ms = wait_ms };
	int rc;

	memset(out, 0, sizeof(*out));
	rc = first_half(&r, path, primary);
	if (rc == 0 && !dry_run)
		rc = second_half(&r, path, primary);
	kv_history_release(&r.mine);
	return rc;
}
