/*
 * slots: what replicas still need of the log.
 *
 * A slot is a directory slots/NAME: a text file `slot`, and a hard link to
 * each segment that its replica has not confirmed.  Whoever seals a segment
 * makes the link; recovery, and whoever is about to remove the segment, make
 * those that are missing.  So the log goes its own way, and du(1) tells what
 * a slow replica costs.  Replaced files are written beside and renamed; rm -r
 * drops a slot.
 *
 * (A `slot` in lock.h is something else: a process's place in LOCK.)
 */
#ifndef KV_SLOTS_H
#define KV_SLOTS_H

#include <stdint.h>

#include "position.h"

struct kevo;
struct kv_env;
struct kv_dir;
struct kv_segment_head;

#define KV_SLOTS_NAME_MAX	64	/* letters, digits and ._- , and no .
					 * first */
#define KV_SLOTS_NO_LIMIT	UINT64_MAX

struct kv_slots_note {
	struct kv_position confirmed;	/* what the replica has, by its word */
	uint64_t max_bytes;	/* or KV_SLOTS_NO_LIMIT */
	uint64_t max_age_s;	/* of the oldest segment; or NO_LIMIT */
	int stop_writes;	/* at the limit: 0 drop, 1 stop writes */
	char announce[129];	/* HOST:PORT, or "" */
	uint64_t contact_ns;	/* last acknowledgement; 0: none */
};

enum kv_slots_state {
	KV_SLOT_RESERVED,	/* all it needs is in the log anyway */
	KV_SLOT_EXTENDED,	/* some of it is kept for this slot only */
	KV_SLOT_AT_RISK,	/* over 80 % of a limit */
	KV_SLOT_LOST		/* some of what it needs is gone */
};

struct kv_slots_info {
	char name[KV_SLOTS_NAME_MAX + 1];
	struct kv_slots_note note;
	enum kv_slots_state state;
	uint64_t files, bytes;	/* links in it */
	uint64_t kept_bytes;	/* of segments that wal/ has no more */
	uint64_t oldest_ns;	/* when the oldest was completed; 0: none */
	uint64_t lost_first, lost_last;	/* commits, if LOST */
	uint64_t lost_ns;
};

const char *kv_slots_state_word(enum kv_slots_state s);

/* 1 if it can be a slot's name. */
int kv_slots_name_ok(const char *name);

/*
 * Create a slot; of note, contact_ns is ignored.  confirmed.epoch 0: the
 * newest commit on disk.  One of this name that is lost is begun anew.  Takes
 * WRITER.
 *
 * Returns 0, KEVO_EINVAL (name), KEVO_FALSE (there is one), KEVO_EHISTORY
 * (the log no longer has what follows the position, or never had that
 * position), or an error.
 */
int kv_slots_create(struct kevo *db, const char *name,
    const struct kv_slots_note *note);

/* The default of max_bytes here: the smaller of 8 GiB and a quarter of the
 * file system. */
int kv_slots_default_bytes(struct kevo *db, uint64_t *out);

/*
 * The replica has all up to a position: links to older segments go.  Never
 * backwards.  KEVO_NOTFOUND: no such slot.  KEVO_EHISTORY: the position is not
 * of this history.
 */
int kv_slots_ack(struct kevo *db, const char *name,
    const struct kv_position *at);

/* Remove a slot.  KEVO_NOTFOUND: there is none. */
int kv_slots_drop(struct kevo *db, const char *name);

/* One slot; KEVO_NOTFOUND.  Needs no lock; a handle for reading will do. */
int kv_slots_look(struct kevo *db, const char *name,
    struct kv_slots_info *out);

/* Each slot in the order of names, until each returns something other than
 * 0, which is returned. */
int kv_slots_each(struct kevo *db,
    int (*each)(void *arg, const struct kv_slots_info *s), void *arg);

/* ---- for the engine ---------------------------------------------------- */

/* "00000001-000000000000003d-000000000000fa00.seg" */
#define KV_SHIP_NAME_LEN	64
void kv_ship_name(char buf[KV_SHIP_NAME_LEN], uint32_t epoch, uint64_t first,
    uint64_t last);
/* 1 if it is such a name. */
int kv_ship_name_parse(const char *name, uint32_t *epoch, uint64_t *first,
    uint64_t *last);

/*
 * Give a sealed segment its name in each slot that has not confirmed all of
 * it.  A slot that cannot take it is late, and no reason to refuse writes: it
 * finds out by the gap.
 */
void kv_slots_link(const struct kv_dir *dir,
    const struct kv_segment_head *h, uint64_t last_seq);

/* Before a segment's name in wal/ goes: are its links there? */
void kv_slots_keep(const struct kv_dir *dir, uint64_t counter);

/* And are they on disk?  The same of names that have gone.  0 or KEVO_EIO. */
int kv_slots_sync(struct kv_env *env, const struct kv_dir *dir);

/* Remove what killed processes have left of slots that were dropped. */
void kv_slots_forget(struct kevo *db);

/* Under WRITER, before a rotation: KEVO_EBUSY if a slot that stops writes is
 * at its limit. */
int kv_slots_may_grow(struct kevo *db);

/* Cut slots that are over their limit. */
void kv_slots_limit(struct kevo *db);

/* If the disk has no room for so many bytes, cut the dropping slot that is
 * furthest behind.  1 if one was cut: what it kept may be kept by others,
 * too. */
int kv_slots_relieve(struct kevo *db, uint64_t bytes);

#endif /* KV_SLOTS_H */
