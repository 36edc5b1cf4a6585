/*
 * archive: a directory that holds the log of one database, and can be copied
 * by anything that copies files.
 *
 * Files outside state/ appear complete and never change: a name is given by
 * link(2), after the bytes are on disk.  A name that is taken by the same
 * bytes is success, by other ones a conflict; nothing is ever overwritten.
 * Names that are not ours are ignored.  The layout is kevo-archive(5).
 */
#ifndef KV_ARCHIVE_H
#define KV_ARCHIVE_H

#include <stddef.h>
#include <stdint.h>

#include "../env.h"
#include "../epoch.h"
#include "../file.h"
#include "../position.h"

struct kv_image;

#define KV_ARCHIVE_NAME		"KEVO-ARCHIVE"
#define KV_ARCHIVE_PATH_LEN	320	/* of a file below an archive */

/* A segment in wal/, by its name alone. */
struct kv_archive_seg {
	uint32_t epoch;
	uint8_t spelling;	/* enum kv_archive_spelling, one or both */
	uint64_t first, last;
};

enum kv_archive_spelling {
	KV_SPELL_SEG = 1,	/* .seg */
	KV_SPELL_ZST = 2	/* .seg.zst */
};

struct kv_archive {
	struct kv_env env;
	struct kv_dir dir;
	struct kv_names names;
	char *path;
	uint8_t id[16];
	struct kv_history history;	/* as it was read last; n 0: none */
	struct kv_archive_seg *seg;	/* by epoch, first, last */
	size_t nseg, seg_room;
	int lock_fd;			/* -1 */
	unsigned temps;			/* temporary files made so far */
};

/* ---- opening ----------------------------------------------------------- */

/*
 * Open an archive: its identity and its epochs are read.  *out is set in any
 * case but KEVO_ENOMEM, for the message.  Returns 0, KEVO_ENODB (there is
 * none), KEVO_ENOTDB (something else, or a newer format), KEVO_ECORRUPT,
 * KEVO_EIO or KEVO_EPERM.
 */
int kv_archive_open(const char *path, struct kv_archive **out);

/* The same; an archive that is missing is made, for the database of first,
 * its first epoch.  The directory may be missing or empty.  KV_SHIP_WRONG_DB:
 * it is another database's. */
int kv_archive_create(const char *path, const struct kv_epoch *first,
    struct kv_archive **out);

void kv_archive_close(struct kv_archive *a);

/* 1 if path is an archive, or is going to be one: a directory with the file
 * KEVO-ARCHIVE. */
int kv_archive_is(const char *path);

/*
 * The lock of who adds to an archive; who says who it is.  KV_SHIP_BUSY
 * names the holder.  It is the kernel's, and ends with the process.
 */
int kv_archive_lock(struct kv_archive *a, const char *who);
void kv_archive_unlock(struct kv_archive *a);

/* Make a directory below an archive, such as "orphans", and those above it;
 * one that is there is fine. */
int kv_archive_mkdir(struct kv_archive *a, const char *name);

/* ---- what there is ----------------------------------------------------- */

/* Read the names of all segments; and the epochs, anew. */
int kv_archive_list(struct kv_archive *a);
int kv_archive_read_epochs(struct kv_archive *a);

/*
 * The position behind the newest segment of the newest line of history: one
 * file is looked at.  *out has epoch 0 if there is no segment.  Segments have
 * been listed.
 */
int kv_archive_position(struct kv_archive *a, struct kv_position *out);

/*
 * The first segment that holds commit seq of an epoch, among segments listed,
 * or NULL.
 */
const struct kv_archive_seg *kv_archive_find(const struct kv_archive *a,
    uint32_t epoch, uint64_t seq);

/* Is commit seq of an epoch behind the place where the next epoch began?  It
 * lost a promotion then: 1. */
int kv_archive_is_lost(const struct kv_archive *a, uint32_t epoch,
    uint64_t seq);

/* "wal/00000001/00000001-...seg", in the plain spelling if it is there. */
void kv_archive_seg_path(char buf[KV_ARCHIVE_PATH_LEN],
    const struct kv_archive_seg *s);

/*
 * Read a segment and verify it: also that it is what its name says.  Returns
 * 0 with a sealed image, KV_SHIP_CORRUPT, or an error.
 */
int kv_archive_load(struct kv_archive *a, const struct kv_archive_seg *s,
    struct kv_image *out);

/* Does a file's name say what is in the image?  1, or 0. */
int kv_archive_name_fits(const struct kv_archive_seg *s,
    const struct kv_image *img);

/* Is a file empty?  On file systems without hard links a name is taken before
 * it is filled, and who was killed in between leaves it so. */
int kv_archive_is_vacant(struct kv_archive *a, const char *file);

/* Parse the name of a segment, in either spelling.  1 if it is one. */
int kv_archive_seg_parse(const char *name, struct kv_archive_seg *out);

/*
 * Call each for the names in a directory below an archive, until it returns
 * something other than 0, which is returned.  Names that begin with a dot are
 * left out; a missing directory is an empty one.
 */
int kv_archive_each(struct kv_archive *a, const char *sub,
    int (*each)(void *arg, const char *name), void *arg);

/* ---- adding; the lock is held ------------------------------------------ */

/*
 * Publish bytes as sub/name.  sub is there.  Returns 0, KEVO_FALSE (the same
 * bytes have been there), KV_SHIP_CONFLICT, KV_SHIP_NOSPACE or an error.
 */
int kv_archive_put(struct kv_archive *a, const char *sub, const char *name,
    const void *bytes, size_t len);

/* Publish a sealed image in wal/, compressed if zstd is set, and note its sum.
 * A name that is taken in the other spelling by the same contents is
 * KEVO_FALSE, too. */
int kv_archive_put_segment(struct kv_archive *a, const struct kv_image *img,
    int zstd);

/* Save an image, whatever its state, in orphans/. */
int kv_archive_put_orphan(struct kv_archive *a, const struct kv_image *img);

/* Add an epoch: it continues the history.  KEVO_FALSE: known.  KV_SHIP_FORK
 * or KV_SHIP_WAITING: it does not continue it. */
int kv_archive_put_epoch(struct kv_archive *a, const struct kv_epoch *e);

/* Write a small file below state/, whatever was there. */
int kv_archive_set_state(struct kv_archive *a, const char *name,
    const char *text);

/* Append a line to a file below state/. */
int kv_archive_note(struct kv_archive *a, const char *name,
    const char *line);

/* Its text, malloc'd.  KEVO_ENODB: there is none. */
int kv_archive_get_state(struct kv_archive *a, const char *name, char **out);

#define KV_ARCHIVE_STATE_MAX	((size_t)1 << 20)

#endif /* KV_ARCHIVE_H */
