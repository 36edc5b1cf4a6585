/*
 * table_writer: a table that is being written; private to table_write.c,
 * which takes records and has the file, table_encode.c, which makes groups and
 * blocks of them, and table_index.c.
 *
 * The first error stays in rc, and everything returns it from then on.
 */
#ifndef KV_TABLE_WRITER_H
#define KV_TABLE_WRITER_H

#include "table_layout.h"

struct kv_codec_work;

/* Bytes that grow. */
struct kv_bytes {
	uint8_t *p;
	size_t len, room;
};

/*
 * The group that is being collected.  Its form depends on all of it: widths
 * of columns, the common prefix.  A large value is not copied but stays with
 * the caller, and its group is written at once.
 */
struct kv_stage {
	struct kv_bytes keys, values;
	const uint8_t *value;	/* of a group of one large value */
	uint32_t value_len;
	uint32_t n;
	int deletes, expiring;
	uint32_t kend[KV_GROUP_MAX], vend[KV_GROUP_MAX];
	uint64_t seq[KV_GROUP_MAX], expires[KV_GROUP_MAX];
	uint8_t kind[KV_GROUP_MAX];
};

/*
 * What the index will say of a group.  Heads begin after what all keys of
 * the table share, and that is not known before the last of them: skip is
 * what was shared by those so far, at least as much.
 */
struct kv_entry {
	uint64_t head;
	uint32_t skip, place, sub;
	uint32_t n;
};

struct kv_table_writer {
	struct kv_env *env;
	const struct kv_dir *dir;
	struct kv_table_spec spec;
	struct kv_table_tail tail;
	int fd, rc, finished;
	uint8_t unit_shift;
	uint64_t seed;
	uint8_t *out;		/* what was not written yet: out_len bytes */
	size_t out_len;
	uint64_t out_off;	/* of them in the file */
	uint64_t out_sent;	/* where what is on its way to disk ends */
	struct kv_stage stage;
	struct kv_bytes head;	/* a group's bytes before its values */
	struct kv_bytes block;	/* groups that will be a block, with a codec */
	struct kv_bytes packed;
	struct kv_codec_work *work;
	struct kv_bytes first, last;
	uint32_t skip;
	struct kv_entry *entry;
	uint64_t *hash;		/* of each key */
	size_t entry_room, hash_room;
	struct kv_table_info info;
	char name[KV_TABLE_NAME_LEN];
};

/* ---- table_write.c ----------------------------------------------------- */

int kv_writer_no_memory(struct kv_table_writer *w);

/* Room for len more bytes; more bytes; other bytes instead. */
int kv_writer_grow(struct kv_table_writer *w, struct kv_bytes *b, size_t len);
int kv_writer_append(struct kv_table_writer *w, struct kv_bytes *b,
    const void *p, size_t len);
int kv_writer_set(struct kv_table_writer *w, struct kv_bytes *b,
    const void *p, size_t len);

/* An array of n elements with room for one more: p, or in its place a larger
 * one.  NULL: w->rc is set, p stands. */
void *kv_writer_grow_array(struct kv_table_writer *w, void *p, size_t *room,
    size_t n, size_t size);

/* Write on; zeros up to a multiple of align; where the next byte will be. */
int kv_writer_output(struct kv_table_writer *w, const void *p, size_t len);
int kv_writer_pad(struct kv_table_writer *w, uint64_t align);
uint64_t kv_writer_position(const struct kv_table_writer *w);

/* ---- table_encode.c ---------------------------------------------------- */

/* Key i of the group that is being collected. */
const uint8_t *kv_stage_key(const struct kv_stage *s, uint32_t i,
    size_t *len);

/* Write the group, or the block, that was collected, if any. */
int kv_writer_close_group(struct kv_table_writer *w);
int kv_writer_close_block(struct kv_table_writer *w);

/* ---- table_index.c ----------------------------------------------------- */

/* Write the index and the hashes of its pages; *shape says how long all of
 * the table is then. */
int kv_writer_index(struct kv_table_writer *w, struct kv_table_shape *shape);

#endif /* KV_TABLE_WRITER_H */
