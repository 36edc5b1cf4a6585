#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "rebuild.h"
#include "record.h"
#include "slots.h"

/*
 * What the log must look like: segments without a gap from the one on that the
 * newest version begins with; all but the last sealed and whole, since a seal
 * is on disk before its successor exists.  The last may be torn at its end.
 * It is cut at the first record that does not verify, unless something behind
 * that record says that it was on disk once: then it is damage.
 */

/*
 * The highest counter, and that none is missing below it.  KV_RETRY, with a
 * message, where one is: it is damage unless a newer version does without it.
 */
static int
list_segments(struct kv_build *b)
{
	struct kevo *db = b->db;
	uint64_t first = b->version->first_segment;
	uint64_t counter, count = 0;
	const char *name;
	DIR *d;
	int rc;

	if ((rc = kv_list_open(&db->env, &db->dir, "wal", 0, &d)) != 0)
		return rc;
	b->first = first;
	b->last = 0;
	while ((name = kv_list_next(&db->env, &db->dir, "wal", d,
	    &rc)) != NULL)
		if (kv_name_number(name, ".seg", &counter) &&
		    counter >= first) {
			count++;
			if (counter > b->last)
				b->last = counter;
		}
	closedir(d);
	if (rc != 0)
		return rc;
	if (count == 0)
		return kv_fail(&db->env, KV_RETRY, "%s: damaged: no log "
		    "segment in it from %llu on", kv_path(&db->dir, "wal"),
		    (unsigned long long)first);
	if (count != b->last - first + 1)
		return kv_fail(&db->env, KV_RETRY, "%s: damaged: %llu log"
		    " segments are missing; is it a copy of a database in "
		    "use?", kv_path(&db->dir, "wal"),
		    (unsigned long long)(b->last - first + 1 - count));
	return 0;
}

static int
segment_damaged(struct kv_build *b, uint64_t counter, uint64_t off,
    const char *why)
{
	return kv_segment_damaged(&b->db->env, &b->db->dir, counter, off,
	    why);
}

/* Map a segment's log and check that it continues what came before. */
static int
open_log(struct kv_build *b, struct kv_seg *s, int *torn_header)
{
	struct kevo *db = b->db;
	char name[KV_SEGMENT_NAME_LEN];
	const char *full;
	void *p;
	int rc;

	*torn_header = 0;
	kv_segment_name(name, s->counter);
	full = kv_path(&db->dir, name);
	s->fd = kv_openat(db->dir.fd, name, b->read_only ? O_RDONLY : O_RDWR,
	    0);
	if (s->fd < 0 && errno == ENOENT)
		return kv_fail(&db->env, KV_RETRY, "%s: missing", full);
	if (s->fd < 0)
		return kv_fail_errno(&db->env, full, "open");
	rc = kv_file_stat(&db->env, s->fd, full, &s->log_len, NULL, NULL);
	if (rc != 0)
		return rc;
	if (s->log_len > KV_SEGMENT_MAX)
		return segment_damaged(b, s->counter, 0, "impossible length");
	b->data_end = kv_data_end(s->fd, s->log_len);
	if (b->data_end < KV_SEGMENT_HEAD) {
		*torn_header = 1;
		return 0;
	}
	rc = kv_map(&db->env, s->fd, full, (size_t)s->log_len, 0, &p);
	if (rc != 0)
		return rc;
	s->log = p;
	if (kv_segment_head_decode(s->log, &s->head) != 0) {
		*torn_header = 1;
		return 0;
	}
	if (memcmp(s->head.id, b->ident->id, 16) != 0)
		return segment_damaged(b, s->counter, 16,
		    "it belongs to another database");
	if (s->head.counter != s->counter || s->head.first_seq !=
	    b->next_seq || s->head.chain_before != b->chain)
		return segment_damaged(b, s->counter, 48,
		    "it does not continue the segment before it");
	return 0;
}

/* Memory for the index of a segment: a file of the new generation, or this
 * process's own. */
static int
open_index(struct kv_build *b, struct kv_seg *s)
{
	struct kevo *db = b->db;
	char name[KV_INDEX_NAME_LEN];
	int rc;

	s->arena_mapped = kv_index_space(s->head.capacity);
	if (b->private_index) {
		s->arena = kv_map_anon((size_t)s->arena_mapped);
		if (s->arena == NULL)
			return kv_fail(&db->env, KEVO_ENOMEM,
			    "out of memory for a private index");
		kv_index_format(s->arena, KV_INDEX_HEAD_LEN +
		    kv_filter_for(&s->head), b->generation, s->counter,
		    s->head.hash, kv_filter_for(&s->head));
	} else {
		rc = kv_index_create(&db->env, &db->dir, b->ident->mode,
		    b->generation, &s->head, 0);
		if (rc != 0)
			return rc;
		kv_index_name(name, b->generation, s->counter);
		s->idx_fd = kv_openat(db->dir.fd, name, O_RDWR, 0);
		if (s->idx_fd < 0)
			return kv_fail_errno(&db->env, kv_path(&db->dir,
			    name), "open");
		rc = kv_map(&db->env, s->idx_fd, kv_path(&db->dir, name),
		    (size_t)s->arena_mapped, 1, &s->arena);
		if (rc != 0)
			return rc;
	}
	s->ix.arena = s->arena;
	s->ix.arena_len = s->arena_mapped;
	s->ix.log = s->log;
	s->ix.log_len = s->log_len;
	kv_index_use_filter(&s->ix, kv_filter_for(&s->head), s->arena_mapped,
	    get_le64(b->ident->id));
	return 0;
}

static int
index_record(struct kv_build *b, struct kv_seg *s, const struct kv_walk *w)
{
	uint64_t off = w->rec_off + KV_FRAME_LEN;
	uint32_t count = get_le32(s->log + off);
	struct kv_index_group g = { .ix = &s->ix };
	struct kv_op op;
	int rc;

	if ((rc = kv_index_grow(b->db, s, count)) != 0)
		return rc == KV_RETRY ? kv_fail(&b->db->env, KEVO_ECORRUPT,
		    "index of segment %llu does not fit its address space",
		    (unsigned long long)s->counter) : rc;
	for (off += KV_PAYLOAD_HEAD; count > 0; count--) {
		if (kv_op_decode(s->log, s->log_len, off, &op) != 0 ||
		    kv_index_add(&g, w->seq, (uint32_t)off) != 0)
			return segment_damaged(b, s->counter, off,
			    "it cannot be indexed");
		off += op.len;
		b->ops++;
	}
	return kv_index_flush(&g) == 0 ? 0 : segment_damaged(b, s->counter,
	    w->rec_off, "it cannot be indexed");
}

/* The torn end of the last segment goes. */
static int
cut(struct kv_build *b, struct kv_seg *s, uint64_t off)
{
	char name[KV_SEGMENT_NAME_LEN];

	if (b->read_only)
		return 0;
	b->cuts++;
	kv_segment_name(name, s->counter);
	return kv_zero(&b->db->env, s->fd, kv_path(&b->db->dir, name), off,
	    s->log_len - off);
}

/* Do the records still lead to the same end? */
static int
still_verifies(struct kv_build *b, struct kv_seg *s, const struct kv_walk *was)
{
	struct kv_walk w;

	kv_walk_start(&w, s->log, s->log_len, &s->head);
	while (w.seq < was->seq && kv_walk_next(&w) == KV_WALK_RECORD)
		;
	if (w.seq == was->seq && w.off == was->off && w.chain == was->chain)
		return 0;
	return segment_damaged(b, s->counter, w.off,
	    "it changed while it was read");
}

/*
 * Where the pages may have been given up by the kernel after a failed sync,
 * they are written again, and verified once they cannot be dropped any more.
 */
static int
make_durable(struct kv_build *b, struct kv_seg *s, const struct kv_walk *w)
{
	uint64_t end = w->off + (b->sealed ? KV_SEAL_LEN : 0);
	char name[KV_SEGMENT_NAME_LEN];
	const char *full;
	int rc = 0, e;

	if (b->read_only)
		return 0;
	kv_segment_name(name, s->counter);
	full = kv_path(&b->db->dir, name);
	if (b->rewrite)
		rc = kv_pwrite(&b->db->env, s->fd, full, s->log, (size_t)end,
		    0);
	if (rc == 0 && b->rewrite)
		rc = still_verifies(b, s, w);
	if (rc == 0 && (e = kv_datasync(s->fd)) != 0) {
		errno = e;
		rc = kv_fail_errno(&b->db->env, full, "sync");
	}
	return rc;
}

/*
 * A sealed segment ends with its seal before it has a name anywhere else: a
 * machine that stopped may have left zeros behind.
 */
static int
give_names(struct kv_build *b, struct kv_seg *s, const struct kv_walk *w)
{
	uint64_t end = w->off + KV_SEAL_LEN;
	char name[KV_SEGMENT_NAME_LEN];

	if (s->log_len > end && ftruncate(s->fd, (off_t)end) != 0) {
		kv_segment_name(name, s->counter);
		return kv_fail_errno(&b->db->env, kv_path(&b->db->dir, name),
		    "truncate");
	}
	kv_slots_link(&b->db->dir, &s->head, w->seq);
	return 0;
}

static int
cut_short(struct kv_build *b, const struct kv_seg *s)
{
	char why[120];

	snprintf(why, sizeof(why), "the file ends here, without a seal, and "
	    "must have %llu bytes: it was cut short",
	    (unsigned long long)s->head.capacity);
	return segment_damaged(b, s->counter, s->log_len, why);
}

/*
 * Whoever writes into a segment has given its file the length of its capacity
 * before, and only a seal shortens it: a shorter file lost its end, and what
 * was there nobody knows.  But one without a record may have been in creation
 * when the power failed, and gets its length now.
 */
static int
check_length(struct kv_build *b, struct kv_seg *s, const struct kv_walk *w,
    enum kv_walk_result r)
{
	char name[KV_SEGMENT_NAME_LEN];

	if (r == KV_WALK_SEAL || s->log_len >= s->head.capacity)
		return 0;
	if (r != KV_WALK_END || w->records > 0)
		return cut_short(b, s);
	if (b->read_only || ftruncate(s->fd, (off_t)s->head.capacity) == 0)
		return 0;
	kv_segment_name(name, s->counter);
	return kv_fail_errno(&b->db->env, kv_path(&b->db->dir, name),
	    "extend");
}

static int
scan_segment(struct kv_build *b, struct kv_seg *s)
{
	int last = s->counter == b->last;
	enum kv_walk_result r;
	struct kv_walk w;
	int rc;

	kv_walk_start(&w, s->log, b->data_end, &s->head);
	while ((r = kv_walk_next(&w)) == KV_WALK_RECORD)
		if ((rc = index_record(b, s, &w)) != 0)
			return rc;
	if (!last && r != KV_WALK_SEAL)
		return segment_damaged(b, s->counter, w.off,
		    "neither a record nor the seal that must be here");
	if (last && w.seq < b->durable)
		return segment_damaged(b, s->counter, w.off,
		    "a record that was on disk is missing");
	if ((rc = check_length(b, s, &w, r)) != 0)
		return rc;
	if (r == KV_WALK_BAD) {
		if (kv_claims_durable(s->log, b->data_end, s->log_len, w.off,
		    w.seq + 1))
			return segment_damaged(b, s->counter, w.off, "the "
			    "record here does not verify, and later ones say "
			    "that it was on disk");
		if ((rc = cut(b, s, w.off)) != 0)
			return rc;
	}
	b->bytes += w.off;
	b->sealed = r == KV_WALK_SEAL;
	if (!last && !b->read_only &&
	    (rc = give_names(b, s, &w)) != 0)
		return rc;
	b->next_seq = w.seq + 1;
	b->chain = w.chain;
	if (last)
		rc = make_durable(b, s, &w);
	else
		rc = 0;
	if (w.records > 0)
		b->tail.time_ns = w.time_ns;
	b->tail.segment = s->counter;
	b->tail.off = w.off;
	b->tail.seq = w.seq;
	b->tail.chain = w.chain;
	return rc;
}

/*
 * A last segment without a sound header was being created when the machine
 * stopped: it is as if it had never been.  Its header is on disk before its
 * first record is written, so one with anything behind the header is damaged.
 */
static int
drop_unborn(struct kv_build *b, struct kv_seg *s)
{
	char name[KV_SEGMENT_NAME_LEN];

	if (s->counter != b->last || s->counter == b->first || !b->sealed ||
	    (b->data_end > KV_SEGMENT_HEAD && !kv_all_zero(s->log +
	    KV_SEGMENT_HEAD, b->data_end - KV_SEGMENT_HEAD)))
		return segment_damaged(b, s->counter, 0,
		    "bad segment header");
	b->last--;
	if (b->read_only)
		return 0;
	kv_segment_name(name, s->counter);
	if (unlinkat(b->db->dir.fd, name, 0) != 0)
		return kv_fail_errno(&b->db->env, kv_path(&b->db->dir, name),
		    "remove");
	return 0;
}

static int
build_segment(struct kv_build *b, uint64_t counter)
{
	struct kv_seg *s = calloc(1, sizeof(*s));
	int rc, unborn;

	if (s == NULL)
		return kv_fail(&b->db->env, KEVO_ENOMEM, "out of memory");
	s->refs = 1;
	s->counter = counter;
	s->fd = s->idx_fd = -1;
	rc = open_log(b, s, &unborn);
	if (rc == 0 && unborn)
		rc = drop_unborn(b, s);
	else if (rc == 0 && (rc = open_index(b, s)) == 0)
		rc = scan_segment(b, s);
	if (rc == 0 && b->private_index && !unborn) {
		close(s->fd);		/* the map stays */
		s->fd = -1;
		b->view->seg[counter - b->first] = s;
	} else
		kv_seg_unref(s);
	return rc;
}

static int
make_private_view(struct kv_build *b)
{
	struct kv_view *v = calloc(1, sizeof(*v) + (size_t)(b->last -
	    b->first + 1) * sizeof(v->seg[0]));

	if (v == NULL)
		return kv_fail(&b->db->env, KEVO_ENOMEM, "out of memory");
	v->refs = 1;
	v->db = b->db;
	v->generation = b->generation;
	v->number = b->version->number;
	v->base = b->first;
	v->last = b->last;
	b->view = v;
	return 0;
}

static int
build_segments(struct kv_build *b)
{
	int rc;

	if ((rc = list_segments(b)) != 0 ||
	    (b->private_index && (rc = make_private_view(b)) != 0))
		return rc;
	b->next_seq = b->version->first_seq;
	b->chain = b->version->chain_before;
	b->tail.time_ns = b->version->time_ns;
	b->sealed = 0;
	for (uint64_t c = b->first; c <= b->last; c++)
		if ((rc = build_segment(b, c)) != 0)
			return rc;
	if (b->view != NULL)
		b->view->last = b->last;
	return 0;
}

void
kv_build_forget(struct kv_build *b)
{
	kv_view_unref(b->view);
	kv_version_unref(b->version);
	b->view = NULL;
	b->version = NULL;
}

/*
 * From the newest version on.  Whoever brings segments into tables does not
 * wait for us: if one vanishes under our hands, a newer version must be there
 * to say that it is not needed.
 */
int
kv_build_log(struct kv_build *b)
{
	struct kevo *db = b->db;
	uint64_t number, newest;
	int rc;

	for (;;) {
		if ((rc = kv_version_newest(&db->env, &db->dir,
		    &number)) != 0)
			return rc;
		rc = kv_version_read(&db->env, &db->dir, b->ident->id,
		    number, kv_chain_origin(b->ident), &b->version);
		if (rc == 0)
			rc = build_segments(b);
		else if (rc == KEVO_NOTFOUND)
			rc = kv_fail(&db->env, KV_RETRY, "%s: version %llx is "
			    "missing", db->path, (unsigned long long)number);
		if (rc != KV_RETRY)
			return rc;
		kv_build_forget(b);
		newest = number;
		if (kv_version_newest(&db->env, &db->dir, &newest) != 0 ||
		    newest == number)
			return KEVO_ECORRUPT;	/* the sentence stands */
	}
}
