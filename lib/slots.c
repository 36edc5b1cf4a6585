#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "slots_dir.h"

/*
 * What is asked for: creating, acknowledging, dropping.  slots_dir.c reads
 * what there is, slots_keep.c links segments and holds slots to their limits.
 */

static int
bad_name(struct kevo *db, const char *name)
{
	return kv_fail(&db->env, KEVO_EINVAL, "`%.80s' cannot be the name of "
	    "a slot: 1 to %d letters, digits and . _ - , and no . first",
	    name, KV_SLOTS_NAME_MAX);
}

int
kv_slots_default_bytes(struct kevo *db, uint64_t *out)
{
	uint64_t most = (uint64_t)8 << 30, size;
	int rc = kv_disk_bytes(&db->env, &db->dir, &size);

	if (rc == 0)
		*out = size / 4 < most ? size / 4 : most;
	return rc;
}

/* ---- creating ---------------------------------------------------------- */

/* Under WRITER: where the slot begins. */
static int
begin_at(struct kevo *db, const struct kv_position *want,
    struct kv_position *at)
{
	int rc;

	if (want->epoch == 0) {
		rc = kv_sync_to(db, kv_tail(db->ctl)->seq);
		return rc != 0 ? KEVO_EIO : kv_position_find(db,
		    kv_tail(db->ctl)->seq, at);
	}
	*at = *want;
	return kv_slots_check_position(db, want);
}

/* Under WRITER: every sealed segment that has something behind `at`. */
static int
link_all(struct kevo *db)
{
	uint64_t active = kv_tail(db->ctl)->segment, oldest;
	int rc;

	if ((rc = kv_slots_oldest_segment(db, &oldest)) != 0)
		return rc;
	for (uint64_t c = oldest; c < active; c++)
		kv_slots_keep(&db->dir, c);
	return kv_sync_dir(&db->env, &db->dir, "slots");
}

/* A slot of this name may be there: 0 if it can be begun anew. */
static int
is_free(struct kevo *db, const char *name)
{
	struct kv_slots_info old;
	int rc = kv_slots_look(db, name, &old);

	if (rc == KEVO_NOTFOUND)
		return 0;
	if (rc != 0)
		return rc;
	if (old.state != KV_SLOT_LOST && old.note.confirmed.epoch != 0)
		return kv_fail(&db->env, KEVO_FALSE, "%s: there is a slot "
		    "`%s' already", db->path, name);
	return kv_slots_remove_files(db, name);
}

static int
create(struct kevo *db, const char *name, const struct kv_slots_note *want)
{
	struct kv_slots_note note = *want;
	int rc;

	if ((rc = begin_at(db, &want->confirmed, &note.confirmed)) != 0 ||
	    (rc = is_free(db, name)) != 0 ||
	    (rc = kv_slots_make_dir(db, name)) != 0)
		return rc;
	note.contact_ns = 0;
	if ((rc = kv_slots_write(db, name, &note)) != 0)
		return rc;
	return link_all(db);
}

int
kv_slots_create(struct kevo *db, const char *name,
    const struct kv_slots_note *note)
{
	int rc;

	if (!kv_slots_name_ok(name))
		return kv_result(db, bad_name(db, name));
	if ((rc = kv_usable(db)) != 0 || (rc = kv_warm_up(db)) != 0 ||
	    (rc = kv_log_lock(db)) != 0)
		return kv_result(db, rc);
	rc = create(db, name, note);
	kv_writer_unlock(db);
	db->began_ns = 0;
	return kv_result(db, rc);
}

/* ---- acknowledging ----------------------------------------------------- */

int
kv_slots_check_position(struct kevo *db, const struct kv_position *at)
{
	struct kv_position here;
	int rc = kv_position_find(db, at->seq, &here);

	if (rc == KEVO_NOTFOUND)
		return kv_fail(&db->env, KEVO_EHISTORY, "%s: its log begins "
		    "behind commit %" PRIu64, db->path, at->seq);
	if (rc == 0 && here.chain != at->chain)
		rc = kv_fail(&db->env, KEVO_EHISTORY, "%s: commit %" PRIu64
		    " has another chain here", db->path, at->seq);
	return rc;
}

/* What is confirmed need not be kept, and what is gone of it is no loss. */
static int
drop_links(struct kevo *db, const char *name, uint64_t seq)
{
	struct kv_slots_list l;
	int rc;

	if ((rc = kv_slots_list(db, name, &l)) != 0)
		return rc;
	for (size_t i = 0; i < l.n; i++)
		if (l.v[i].last <= seq)
			kv_slots_unlink(db, name, l.v[i].name);
	if (l.lost_last != 0 && seq >= l.lost_last)
		kv_slots_unlink(db, name, "lost");
	kv_slots_list_free(&l);
	return 0;
}

static int
acknowledge(struct kevo *db, const char *name, const struct kv_position *at)
{
	struct kv_slots_note note;
	struct kv_position here;
	uint64_t visible;
	int rc;

	if ((rc = kv_slots_read(&db->env, &db->dir, name, &note)) != 0 ||
	    (rc = kv_view_now(db, &visible)) != 0)
		return rc;
	/* What the log has no more was compared when it was sent. */
	rc = kv_position_at(db, at->seq, &here);
	if (at->seq > visible || (rc == 0 && here.chain != at->chain))
		return kv_fail(&db->env, KEVO_EHISTORY, "slot %s: commit %"
		    PRIu64 " of what is acknowledged is not this database's",
		    name, at->seq);
	if (rc != 0 && rc != KEVO_NOTFOUND)
		return rc;
	if (at->seq >= note.confirmed.seq)
		note.confirmed = *at;
	note.contact_ns = kv_now_ns();
	if ((rc = kv_slots_write(db, name, &note)) != 0)
		return rc;
	return drop_links(db, name, note.confirmed.seq);
}

int
kv_slots_ack(struct kevo *db, const char *name, const struct kv_position *at)
{
	int rc;

	if (!kv_slots_name_ok(name))
		return kv_result(db, bad_name(db, name));
	if ((rc = kv_usable(db)) != 0 || (rc = kv_warm_up(db)) != 0)
		return kv_result(db, rc);
	return kv_result(db, acknowledge(db, name, at));
}

/* ---- dropping ---------------------------------------------------------- */

int
kv_slots_drop(struct kevo *db, const char *name)
{
	char from[KV_SLOTS_PATH], to[KV_SLOTS_PATH], hidden[32];
	uint64_t random;
	int rc;

	if (!kv_slots_name_ok(name))
		return kv_result(db, bad_name(db, name));
	if (kv_random(&random, sizeof(random)) != 0)
		return kv_fail_errno(&db->env, "random numbers", "get");
	/* Under a name that no slot has, nothing is linked to it any more. */
	kv_name(hidden, ".drop.", random, "");
	kv_slots_path(from, name, "");
	kv_slots_path(to, hidden, "");
	if (renameat(db->dir.fd, from, db->dir.fd, to) != 0) {
		rc = errno == ENOENT ? KEVO_NOTFOUND : 0;
		return kv_result(db, rc != 0 ? rc : kv_fail_errno(&db->env,
		    kv_path(&db->dir, from), "remove"));
	}
	if ((rc = kv_slots_remove_files(db, hidden)) == 0 &&
	    unlinkat(db->dir.fd, to, AT_REMOVEDIR) != 0)
		rc = kv_fail_errno(&db->env, kv_path(&db->dir, to), "remove");
	return kv_result(db, rc);
}
