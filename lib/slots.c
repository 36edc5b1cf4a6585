#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "feed_file.h"
#include "slots_dir.h"

/*
 * What is asked for: creating, acknowledging, dropping.  slots_dir.c reads
 * what there is, slots_text.c its texts, slots_keep.c links segments and holds
 * slots to their limits.
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

/* ---- where one may begin ----------------------------------------------- */

static struct kv_feed_place
place(struct kevo *db, const char *linked)
{
	struct kv_feed_place p = { &db->env, &db->dir, db->ctl->id, linked,
	    kv_tail(db->ctl)->segment };

	return p;
}

/* The chain at commit seq, if all that follows it is in wal/ or linked. */
static int
chain_in(struct kevo *db, const char *linked, uint64_t seq, uint64_t *chain)
{
	struct kv_feed_place p = place(db, linked);
	struct kv_feed_file *f;
	uint64_t after;
	int rc;

	if ((rc = kv_feed_first(&p, &after)) != 0)
		return rc;
	if (after > seq)
		return KEVO_NOTFOUND;
	if ((rc = kv_feed_find(&p, seq + 1, &f)) != 0)
		return rc;
	if ((rc = kv_feed_file_skip(f, seq, seq)) == 0)
		*chain = f->chain;
	kv_feed_file_close(f);
	return rc;
}

/* The same of any slot that has it; one that cannot be read has not. */
static int
chain_in_slots(struct kevo *db, uint64_t seq, uint64_t *chain, char *from)
{
	struct kv_slots_names names;
	char path[KV_SLOTS_PATH];
	int rc, found = KEVO_NOTFOUND;

	if ((rc = kv_slots_names(&db->env, &db->dir, &names)) != 0)
		return rc;
	for (size_t i = 0; found != 0 && i < names.n; i++) {
		kv_slots_path(path, names.v[i], "");
		if (chain_in(db, path, seq, chain) != 0)
			continue;
		strcpy(from, names.v[i]);
		found = 0;
	}
	free(names.v);
	return found;
}

/*
 * Under WRITER: is it a position of this log?  Most are near its end; older
 * segments stay because of wal_keep, or for a slot, whose name is then put
 * into from.  0 or KEVO_EHISTORY.
 */
static int
check_position(struct kevo *db, const struct kv_position *at, char *from)
{
	struct kv_position here = { .chain = 0 };
	uint64_t end = kv_tail(db->ctl)->seq;
	int rc;

	if (at->seq > end)
		return kv_fail(&db->env, KEVO_EHISTORY, "%s: there is no "
		    "commit %" PRIu64 " yet, the last one is %" PRIu64,
		    db->path, at->seq, end);
	rc = kv_position_find(db, at->seq, &here);
	if (rc == KEVO_NOTFOUND)
		rc = chain_in(db, NULL, at->seq, &here.chain);
	if (rc == KEVO_NOTFOUND)
		rc = chain_in_slots(db, at->seq, &here.chain, from);
	if (rc == KEVO_NOTFOUND)
		return kv_fail(&db->env, KEVO_EHISTORY, "%s: its log begins "
		    "behind commit %" PRIu64, db->path, at->seq);
	if (rc == 0 && here.chain != at->chain)
		rc = kv_fail(&db->env, KEVO_EHISTORY, "%s: commit %" PRIu64
		    " has another chain here", db->path, at->seq);
	return rc;
}

/* Under WRITER: where the slot begins. */
static int
begin_at(struct kevo *db, const struct kv_position *want,
    struct kv_position *at, char *from)
{
	int rc;

	if (want->epoch == 0) {
		rc = kv_sync_to(db, kv_tail(db->ctl)->seq);
		return rc != 0 ? KEVO_EIO : kv_position_find(db,
		    kv_tail(db->ctl)->seq, at);
	}
	*at = *want;
	return check_position(db, want, from);
}

/* ---- creating ---------------------------------------------------------- */

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
	return kv_slots_sync(&db->env, &db->dir);
}

/* What another slot has behind commit seq. */
static int
link_from(struct kevo *db, const char *from, const char *name, uint64_t seq)
{
	char old[KV_SLOTS_PATH], new[KV_SLOTS_PATH];
	struct kv_slots_list l;
	int rc;

	if (*from == '\0' || strcmp(from, name) == 0)
		return 0;
	if ((rc = kv_slots_list(db, from, &l)) != 0)
		return rc;
	for (size_t i = 0; rc == 0 && i < l.n; i++) {
		if (l.v[i].last <= seq)
			continue;
		kv_slots_path(old, from, l.v[i].name);
		kv_slots_path(new, name, l.v[i].name);
		if (linkat(db->dir.fd, old, db->dir.fd, new, 0) != 0 &&
		    errno != EEXIST && errno != ENOENT)
			rc = kv_fail_errno(&db->env, kv_path(&db->dir, new),
			    "link");
	}
	kv_slots_list_free(&l);
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

/* A slot of this name may be there: 0 if it can be begun anew.  *is_new: there
 * is none. */
static int
is_free(struct kevo *db, const char *name, int *is_new)
{
	struct kv_slots_info old;
	int rc = kv_slots_look(db, name, &old);

	*is_new = rc == KEVO_NOTFOUND;
	if (rc == KEVO_NOTFOUND)
		return 0;
	if (rc == 0 && old.state != KV_SLOT_LOST &&
	    old.note.confirmed.epoch != 0)
		rc = kv_fail(&db->env, KEVO_FALSE, "%s: there is a slot "
		    "`%s' already", db->path, name);
	return rc;
}

/* The log goes its own way, and may have lost a segment before there was a
 * slot to give it to. */
static int
check_complete(struct kevo *db, const char *name, uint64_t seq)
{
	char path[KV_SLOTS_PATH];
	struct kv_feed_place p;
	uint64_t after;
	int rc;

	kv_slots_path(path, name, "");
	p = place(db, path);
	if ((rc = kv_feed_first(&p, &after)) != 0 || after <= seq)
		return rc;
	kv_slots_drop(db, name);
	return kv_fail(&db->env, KEVO_EHISTORY, "%s: its log begins behind "
	    "commit %" PRIu64 " by now", db->path, seq);
}

static int
fill(struct kevo *db, const char *name, const struct kv_slots_note *note,
    const char *from)
{
	uint64_t seq = note->confirmed.seq;
	int rc;

	if ((rc = kv_slots_make_dir(db, name)) != 0 ||
	    (rc = kv_slots_write(db, name, note)) != 0)
		return rc;
	/* Of one that was lost. */
	kv_slots_unlink(db, name, "lost");
	if ((rc = drop_links(db, name, seq)) != 0 ||
	    (rc = link_from(db, from, name, seq)) != 0 ||
	    (rc = link_all(db)) != 0)
		return rc;
	return check_complete(db, name, seq);
}

static int
create(struct kevo *db, const char *name, const struct kv_slots_note *want)
{
	char from[KV_SLOTS_NAME_MAX + 1] = "";
	struct kv_slots_note note = *want;
	struct kv_env why;
	int rc, is_new;

	if ((rc = begin_at(db, &want->confirmed, &note.confirmed,
	    from)) != 0 || (rc = is_free(db, name, &is_new)) != 0)
		return rc;
	note.contact_ns = 0;
	rc = fill(db, name, &note, from);
	if (rc != 0 && is_new) {
		/* Half of one could keep the log without a limit. */
		why = db->env;
		kv_slots_drop(db, name);
		db->env = why;
	}
	return rc;
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

/* Under a name that no slot has, nothing is linked to it any more.  Somebody
 * else may be at it, too. */
static int
remove_hidden(struct kevo *db, const char *hidden)
{
	char path[KV_SLOTS_PATH];
	int rc = kv_slots_remove_files(db, hidden);

	kv_slots_path(path, hidden, "");
	if (rc == 0 && unlinkat(db->dir.fd, path, AT_REMOVEDIR) != 0 &&
	    errno != ENOENT)
		rc = kv_fail_errno(&db->env, kv_path(&db->dir, path),
		    "remove");
	return rc;
}

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
	kv_name(hidden, KV_SLOTS_DROPPED, random, "");
	kv_slots_path(from, name, "");
	kv_slots_path(to, hidden, "");
	if (renameat(db->dir.fd, from, db->dir.fd, to) != 0) {
		rc = errno == ENOENT ? KEVO_NOTFOUND : 0;
		return kv_result(db, rc != 0 ? rc : kv_fail_errno(&db->env,
		    kv_path(&db->dir, from), "remove"));
	}
	/* It must not come back with half of its files. */
	if ((rc = kv_sync_dir(&db->env, &db->dir, "slots")) == 0)
		rc = remove_hidden(db, hidden);
	return kv_result(db, rc);
}

void
kv_slots_forget(struct kevo *db)
{
	struct kv_env before = db->env;
	struct kv_slots_names names;

	if (kv_slots_dropped(&db->env, &db->dir, &names) == 0) {
		for (size_t i = 0; i < names.n; i++)
			remove_hidden(db, names.v[i]);
		free(names.v);
	}
	db->env = before;	/* the caller's own message */
}
