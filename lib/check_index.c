#include <string.h>

#include "check.h"

/*
 * The index of a segment against the segment: each operation that counts is
 * found at its commit, and nothing else is.  An index is memory that is shared
 * with everybody, and what it does not show is not there for a reader.
 */
struct compare {
	struct kv_check *ck;
	struct kv_seg *s;
	uint64_t reach;		/* commits behind it are not looked at */
	uint64_t found;		/* operations that the index leads to */
	char name[KV_INDEX_NAME_LEN];
};

#define STEP	4096		/* operations */

static int
damage(struct compare *c, const char *what)
{
	static const struct kv_loss nothing = { .text = "nothing: the log has "
	    "it all" };

	if (kv_check_rebuilt(c->ck))
		return 0;
	return kv_found(c->ck, KEVO_DAMAGE, c->name, 0, 0, &nothing, "%s",
	    what);
}

/* A later operation of the same commit on the same key? */
static int
is_superseded(const struct compare *c, const struct kv_walk *w,
    const struct kv_op *op, uint64_t off, const struct kv_index_hit *hit)
{
	const uint8_t *key;
	uint32_t klen;

	return hit->seq == w->seq && hit->off > off &&
	    hit->off < w->rec_off + w->rec_len &&
	    kv_op_key(c->s->log, c->s->log_len, hit->off, &key, &klen) == 0
	    && klen == op->klen && memcmp(key, op->key, klen) == 0;
}

/* A key that its filter lets not pass is not there for a reader. */
static int
may_have(const struct compare *c, const struct kv_op *op)
{
	return kv_index_may_have(&c->s->ix, kv_table_key_hash(
	    c->ck->db.ctl->id, op->key, op->klen));
}

/* 1 if the index leads to each operation of the record, 0 if not. */
static int
leads_to(struct compare *c, const struct kv_walk *w)
{
	uint64_t off = w->rec_off + KV_FRAME_LEN;
	uint32_t count = get_le32(c->s->log + off);
	struct kv_index_hit hit;
	struct kv_op op;

	for (off += KV_PAYLOAD_HEAD; count > 0; count--, off += op.len) {
		if (kv_op_decode(c->s->log, c->s->log_len, off, &op) != 0 ||
		    !may_have(c, &op) || kv_index_find(&c->s->ix, op.key,
		    op.klen, w->seq, &hit) != 1)
			return 0;
		if (hit.seq == w->seq && hit.off == off)
			c->found++;
		else if (!is_superseded(c, w, &op, off, &hit))
			return 0;
	}
	return 1;
}

static int
walk_log(struct compare *c, int *ok)
{
	uint64_t n = 0;
	struct kv_walk w;
	int rc;

	*ok = 1;
	kv_walk_start(&w, c->s->log, c->s->log_len, &c->s->head);
	while (*ok && w.seq < c->reach && kv_walk_next(&w) ==
	    KV_WALK_RECORD) {
		*ok = leads_to(c, &w);
		if (++n % STEP == 0 && (rc = kv_check_step(c->ck, 0)) != 0)
			return rc;
	}
	return 0;
}

/* The versions of a key, from the one that the iterator stands on. */
static uint64_t
count_versions(const struct compare *c, const struct kv_index_iter *it,
    uint64_t most)
{
	struct kv_index_hit hit = it->hit;
	uint64_t n = 1;

	while (n <= most && hit.seq > 0 && kv_index_find(&c->s->ix, it->key,
	    it->klen, hit.seq - 1, &hit) == 1)
		n++;
	return n;
}

static int
walk_index(struct compare *c, uint64_t *count)
{
	struct kv_index_iter it;
	uint64_t n = 0;
	int r, rc = 0;

	*count = 0;
	kv_index_iter_init(&it, &c->s->ix, c->reach);
	for (r = kv_index_first(&it); r == 1 && *count <= c->found;
	    r = kv_index_next(&it)) {
		*count += count_versions(c, &it, c->found);
		if (++n % STEP == 0 && (rc = kv_check_step(c->ck, 0)) != 0)
			break;
	}
	kv_index_iter_release(&it);
	if (rc == 0 && r == -2)
		rc = kv_fail(&c->ck->db.env, KEVO_ENOMEM, "out of memory");
	if (r == -1)
		*count = UINT64_MAX;
	return rc;
}

static int
compare(struct compare *c)
{
	uint64_t count;
	int ok, rc;

	if ((rc = walk_log(c, &ok)) != 0)
		return rc;
	if (!ok)
		return damage(c, "it does not lead to a record of the log");
	if ((rc = walk_index(c, &count)) != 0)
		return rc;
	if (count == UINT64_MAX)
		return damage(c, "it is malformed");
	if (count != c->found)
		return damage(c, "it leads to other records than the log "
		    "has");
	return 0;
}

static int
check_index(struct kv_check *ck, uint64_t counter)
{
	uint64_t generation = ck->db.ctl->generation;
	struct compare c = { .ck = ck };
	int rc;

	c.reach = counter == ck->active ? ck->limit : UINT64_MAX;
	kv_index_name(c.name, generation, counter);
	rc = kv_seg_open(&ck->db, generation, counter, 0, &c.s);
	if (rc == KV_RETRY)
		return kv_check_moved(ck) ? KV_RETRY : damage(&c, "missing");
	if (rc == KEVO_ECORRUPT)
		return damage(&c, "it is not the index of its segment");
	if (rc != 0)
		return rc;
	if (!ck->silent)
		ck->out->files++;
	rc = compare(&c);
	kv_seg_unref(c.s);
	return rc;
}

int
kv_check_indexes(struct kv_check *ck)
{
	int rc;

	if (!ck->live || ck->fast || ck->log_damaged)
		return 0;
	for (uint64_t c = ck->version->first_segment; c <= ck->active; c++)
		if ((rc = check_index(ck, c)) != 0)
			return rc;
	return 0;
}
