/*
 * slots_dir: what lies in slots/; shared by slots.c, slots_dir.c,
 * slots_text.c and slots_keep.c.
 */
#ifndef KV_SLOTS_DIR_H
#define KV_SLOTS_DIR_H

#include "db.h"
#include "slots.h"

#define KV_SLOTS_PATH	400	/* "slots/NAME/FILE" */

/* file "": the slot's directory. */
void kv_slots_path(char buf[KV_SLOTS_PATH], const char *name,
    const char *file);

/* ---- slots_text.c ------------------------------------------------------ */

/* The file `slot`.  One that is missing confirms nothing and has no limits.
 * KEVO_NOTFOUND: there is no such directory.  KEVO_ECORRUPT names the line. */
int kv_slots_read(struct kv_env *env, const struct kv_dir *dir,
    const char *name, struct kv_slots_note *out);
int kv_slots_write(struct kevo *db, const char *name,
    const struct kv_slots_note *note);

/* The file `lost`: KEVO_NOTFOUND if there is none. */
int kv_slots_read_lost(struct kv_env *env, const struct kv_dir *dir,
    const char *name, uint64_t *first, uint64_t *last, uint64_t *time_ns);
int kv_slots_write_lost(struct kevo *db, const char *name, uint64_t first,
    uint64_t last);

/* ---- slots_dir.c: directories ------------------------------------------ */

/* Make slots/ and the slot's directory, and sync what they are in. */
int kv_slots_make_dir(struct kevo *db, const char *name);
int kv_slots_remove_files(struct kevo *db, const char *name);
void kv_slots_unlink(struct kevo *db, const char *name, const char *file);

/* ---- lists ------------------------------------------------------------- */

struct kv_slots_link {
	char name[KV_SHIP_NAME_LEN];
	uint64_t first, last;	/* commits */
	uint64_t bytes;
	uint64_t time_ns;	/* when it was completed */
	int kept;		/* wal/ has it no more */
};

/* The links of a slot, the oldest first. */
struct kv_slots_list {
	struct kv_slots_link *v;
	size_t n;
	uint64_t bytes;
	uint64_t lost_first, lost_last, lost_ns;	/* last 0: none */
};

int kv_slots_list(struct kevo *db, const char *name,
    struct kv_slots_list *out);
void kv_slots_list_free(struct kv_slots_list *l);

/* The names of all slots, in order; freed as one. */
struct kv_slots_names {
	char (*v)[KV_SLOTS_NAME_MAX + 1];
	size_t n;
};
int kv_slots_names(struct kv_env *env, const struct kv_dir *dir,
    struct kv_slots_names *out);

/* What is left of slots that are being dropped, or were, by a process that
 * was killed; its names begin so. */
#define KV_SLOTS_DROPPED	".drop."
int kv_slots_dropped(struct kv_env *env, const struct kv_dir *dir,
    struct kv_slots_names *out);

/* ---- the log ----------------------------------------------------------- */

/* Counter of the oldest segment that has a file, needed or not. */
int kv_slots_oldest_segment(struct kevo *db, uint64_t *counter);

/* The header of a segment's file.  0 or -1. */
int kv_slots_head(const struct kv_dir *dir, uint64_t counter,
    struct kv_segment_head *h);

#endif /* KV_SLOTS_DIR_H */
