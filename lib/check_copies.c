#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "check.h"
#include "epoch.h"
#include "promote.h"
#include "role.h"
#include "slots_dir.h"

/*
 * What a database knows of its copies: its role, the lines of history, what
 * slots keep for replicas, orphans.  No record hangs on any of it, and no
 * repair can make it anew: what is wrong is a warning, and says what can be
 * done.
 */

/* The reason in what env says, "PATH/FILE: why" or "PATH/FILE:LINE: why". */
static int
warn_of_error(struct kv_check *ck, const char *file, const char *then)
{
	char why[256];
	uint64_t off;

	return kv_found(ck, KEVO_WARNING, file, 0, 0, NULL, "%s; %s",
	    kv_error_said(ck, file, why, sizeof(why), &off), then);
}

static int
is_stray(struct kv_check *ck, const char *sub, const char *name)
{
	char file[KV_SLOTS_PATH];

	snprintf(file, sizeof(file), "%.150s/%.200s", sub, name);
	return kv_found(ck, KEVO_NOTE, file, 0, 0, NULL, "no file of a "
	    "database");
}

static int
is_temporary(const char *name)
{
	return strncmp(name, "tmp.", 4) == 0;
}

/* ---- role and epochs --------------------------------------------------- */

static int
check_role(struct kv_check *ck)
{
	struct kv_role_note n;
	int rc = kv_role_read(&ck->db.env, &ck->db.dir, &n);

	if (rc == KEVO_ECORRUPT)
		return warn_of_error(ck, KV_ROLE_NAME, "nobody can write; "
		    "write into it what the database is");
	return rc;
}

static int
look_at_epoch(struct kv_check *ck, const char *name, void *arg)
{
	uint32_t epoch;

	(void)arg;
	if (kv_epoch_name_number(name, &epoch) || is_temporary(name) ||
	    strcmp(name, "next.tmp") == 0)
		return 0;
	if (strcmp(name, "next") == 0)
		return kv_found(ck, KEVO_NOTE, KV_EPOCH_NEXT, 0, 0, NULL,
		    "a promotion has begun and is not finished; call it "
		    "again");
	return is_stray(ck, KV_EPOCHS, name);
}

static int
check_epochs(struct kv_check *ck)
{
	struct kv_history h;
	int rc;

	if ((rc = kv_check_each(ck, KV_EPOCHS, look_at_epoch, NULL)) != 0 ||
	    ck->format != KV_FILE_SOUND)
		return rc;
	rc = kv_history_of_db(&ck->db.env, &ck->db.dir, &ck->ident, &h);
	if (rc == 0)
		kv_history_release(&h);
	if (rc == KEVO_ECORRUPT)
		return warn_of_error(ck, KV_EPOCHS, "it can neither follow nor"
		    " be promoted; copy the file from the archive or another "
		    "copy");
	return rc;
}

/* ---- segments outside of the log --------------------------------------- */

static int
warn_of_segment(struct kv_check *ck, const char *file, const char *what)
{
	return kv_found(ck, KEVO_WARNING, file, 0, 0, NULL, "%s; the log does "
	    "not need it, but a replica or a person may", what);
}

/* NULL, or what is wrong with a segment that should be as its name says. */
static const char *
judge(struct kv_check *ck, const char *name, const uint8_t *b, uint64_t len)
{
	struct kv_segment_head h;
	enum kv_walk_result r;
	uint64_t first, last;
	struct kv_walk w;
	uint32_t epoch;

	if (kv_segment_head_decode(b, &h) != 0)
		return "bad segment header";
	if (memcmp(h.id, ck->ident.id, 16) != 0)
		return "it belongs to another database";
	kv_walk_start(&w, b, len, &h);
	while ((r = kv_walk_next(&w)) == KV_WALK_RECORD)
		;
	if (r != KV_WALK_SEAL || w.off + KV_SEAL_LEN != len)
		return "its records do not end in a seal";
	if (!kv_ship_name_parse(name, &epoch, &first, &last) ||
	    epoch != h.epoch || first != h.first_seq || last != w.seq)
		return "it has other commits than its name says";
	return NULL;
}

static int
read_segment(struct kv_check *ck, int fd, const char *file, const char *name)
{
	const char *why = "impossible length";
	uint64_t size;
	int rc, bad = 0;
	uint8_t *b;

	rc = kv_file_stat(&ck->db.env, fd, file, &size, NULL, NULL);
	if (rc != 0)
		return rc;
	if (size < KV_SEGMENT_HEAD + KV_SEAL_LEN || size > KV_SEGMENT_MAX)
		return warn_of_segment(ck, file, why);
	if ((b = kv_map_anon((size_t)size)) == NULL)
		return kv_fail(&ck->db.env, KEVO_ENOMEM, "%s: out of memory",
		    file);
	rc = kv_check_read(ck, fd, file, size, b, &bad);
	if (rc == 0 && !bad && (why = judge(ck, name, b, size)) != NULL)
		rc = warn_of_segment(ck, file, why);
	kv_unmap(b, (size_t)size);
	return rc;
}

/* A link to a segment that is in wal/, too, was read there. */
static int
check_segment(struct kv_check *ck, const char *sub, const char *name)
{
	char file[KV_SLOTS_PATH];
	uint32_t links = 0;
	int fd, rc;

	snprintf(file, sizeof(file), "%.150s/%.200s", sub, name);
	fd = kv_openat(ck->db.dir.fd, file, O_RDONLY, 0);
	if (fd < 0 && errno == ENOENT)
		return 0;
	if (fd < 0)
		return kv_fail_errno(&ck->db.env, kv_path(&ck->db.dir, file),
		    "open");
	rc = kv_file_stat(&ck->db.env, fd, file, NULL, NULL, &links);
	if (rc == 0 && links == 1 && !ck->fast)
		rc = read_segment(ck, fd, file, name);
	close(fd);
	return rc;
}

static int
is_segment(const char *name)
{
	uint64_t first, last;
	uint32_t epoch;

	return kv_ship_name_parse(name, &epoch, &first, &last);
}

/* ---- slots and orphans ------------------------------------------------- */

static int
look_in_slot(struct kv_check *ck, const char *name, void *arg)
{
	const char *sub = arg;

	if (is_segment(name))
		return check_segment(ck, sub, name);
	if (strcmp(name, "slot") == 0 || strcmp(name, "lost") == 0 ||
	    is_temporary(name))
		return 0;
	return is_stray(ck, sub, name);
}

static int
check_note(struct kv_check *ck, const char *slot)
{
	uint64_t first, last, time_ns;
	struct kv_slots_note note;
	char file[KV_SLOTS_PATH];
	int rc;

	kv_slots_path(file, slot, "slot");
	rc = kv_slots_read(&ck->db.env, &ck->db.dir, slot, &note);
	if (rc == KEVO_ECORRUPT)
		rc = warn_of_error(ck, file, "it has no limits meanwhile; "
		    "drop the slot and create it again");
	if (rc != 0)
		return rc == KEVO_NOTFOUND ? 0 : rc;
	kv_slots_path(file, slot, "lost");
	rc = kv_slots_read_lost(&ck->db.env, &ck->db.dir, slot, &first, &last,
	    &time_ns);
	if (rc == 0)
		rc = kv_found(ck, KEVO_WARNING, file, 0, 0, NULL, "commits "
		    "%llu to %llu were dropped to keep the slot's limit; its "
		    "replica needs a base backup", (unsigned long long)first,
		    (unsigned long long)last);
	else if (rc == KEVO_ECORRUPT)
		rc = warn_of_error(ck, file, "its replica may need a base "
		    "backup");
	return rc == KEVO_NOTFOUND ? 0 : rc;
}

static int
look_at_slot(struct kv_check *ck, const char *name, void *arg)
{
	char sub[KV_SLOTS_PATH];
	int rc;

	(void)arg;
	if (strncmp(name, KV_SLOTS_DROPPED,
	    strlen(KV_SLOTS_DROPPED)) == 0)
		return 0;
	if (!kv_slots_name_ok(name))
		return is_stray(ck, "slots", name);
	if ((rc = check_note(ck, name)) != 0)
		return rc;
	kv_slots_path(sub, name, "");
	return kv_check_each(ck, sub, look_in_slot, sub);
}

static int
look_at_orphan(struct kv_check *ck, const char *name, void *arg)
{
	size_t n = strlen(name);

	(void)arg;
	if (is_segment(name))
		return check_segment(ck, "orphans", name);
	if (is_temporary(name) || (n == 8 + 1 + 16 + 6 &&
	    strcmp(name + n - 6, ".epoch") == 0))
		return 0;
	return is_stray(ck, "orphans", name);
}

int
kv_check_copies(struct kv_check *ck)
{
	int rc;

	if ((rc = check_role(ck)) != 0 || (rc = check_epochs(ck)) != 0 ||
	    (rc = kv_check_each(ck, "slots", look_at_slot, NULL)) != 0)
		return rc;
	return kv_check_each(ck, "orphans", look_at_orphan, NULL);
}
