/*
 * source: what an iterator merges: the index of a segment or of a
 * transaction, or tables that follow each other.
 *
 * A source stands on one record a key, the newest that may be seen.
 */
#ifndef KV_SOURCE_H
#define KV_SOURCE_H

#include "db.h"
#include "record.h"

struct kv_source {
	/* Where it stands, after a move that returned 1; valid until the
	 * next one. */
	const uint8_t *key;
	uint32_t klen;
	uint64_t seq;

	struct kevo *db;
	/* The index, or NULL: tables. */
	const struct kv_index *ix;
	int own;			/* a transaction's: versions are 0 */
	struct kv_index_iter walk;
	/* Tables begin to end of the view's version; at: the open one. */
	struct kv_view *view;
	uint32_t begin, end, at;
	int open;
	struct kv_table_iter it;
};

void kv_source_segment(struct kv_source *s, struct kevo *db,
    const struct kv_index *ix, uint64_t seq);

/* A transaction's writes up to byte reach. */
void kv_source_own(struct kv_source *s, struct kevo *db,
    const struct kv_index *ix, uint64_t reach);

/* The view is kept by the caller. */
void kv_source_tables(struct kv_source *s, struct kevo *db,
    struct kv_view *v, uint32_t begin, uint32_t end);
void kv_source_release(struct kv_source *s);

/*
 * Move: to the first record at or after key (forward) or the last at or
 * before it, NULL being the very end; one on in that direction.  1, 0 at the
 * end, or an error.
 */
int kv_source_seek(struct kv_source *s, int forward, const void *key,
    size_t klen);
int kv_source_move(struct kv_source *s, int forward);

/* What is there.  0 or an error. */
int kv_source_op(const struct kv_source *s, struct kv_op *op);

#endif /* KV_SOURCE_H */
