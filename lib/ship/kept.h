/*
 * kept: the segment or tail that is being applied, and how far.
 *
 * Who follows an archive is woken for each commit that comes into a tail, and
 * who is to be late applies one commit at a time out of what came hours ago.
 * Neither may read a file from its beginning each time.  So the image stays
 * in memory, with the place behind which it is new; a tail that grew is read
 * on, if header and chain prove that it is the same one.
 */
#ifndef KV_KEPT_H
#define KV_KEPT_H

#include "archive.h"
#include "image.h"

struct kv_kept {
	int any;
	int tail;		/* of state/tail; else a complete segment */
	struct kv_image img;
	char file[KV_ARCHIVE_PATH_LEN];	/* below the archive */
};

/* Keep an image, which is the caller's no longer; what was kept is released. */
void kv_kept_set(struct kv_kept *k, struct kv_image *img, const char *file,
    int tail);
void kv_kept_release(struct kv_kept *k);

/*
 * Read on.  Returns 0 if what is kept is as good as what would be found in
 * the archive; KEVO_NOTFOUND if it is not, and was released: the tail is
 * another one, or not the only one, or gone; or an error.
 */
int kv_kept_read(struct kv_archive *a, struct kv_kept *k);

/* Another number if a segment came to the newest epoch: while it is the same,
 * what is kept is all that can be new. */
int64_t kv_kept_stamp(const struct kv_archive *a);

#endif /* KV_KEPT_H */
