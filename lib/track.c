#include <stdlib.h>
#include <string.h>

#include "db.h"
#include "key.h"
#include "record.h"
#include "track.h"

/* An entry, with its keys behind it; ENTRY bytes long with both empty. */
struct entry {
	uint64_t version;	/* of a key */
	uint32_t from_len, to_len;
	uint8_t range, open_from, open_to, closed;
	const uint8_t *from, *to;
};

#define ENTRY		20

void
kv_track_init(struct kv_track *t, size_t limit)
{
	memset(t, 0, sizeof(*t));
	t->limit = limit;
}

void
kv_track_release(struct kv_track *t)
{
	free(t->buf);
	t->buf = NULL;
	t->len = t->room = 0;
}

/* ---- remembering ------------------------------------------------------- */

static void
give_up(struct kv_track *t)
{
	kv_track_release(t);
	t->everything = 1;
}

static int
make_room(struct kv_track *t, size_t n)
{
	size_t room = t->room + t->room / 2 + n;
	uint8_t *p;

	if (n <= t->room - t->len)
		return 0;
	if (t->len + n > t->limit)
		return -1;
	if (room > t->limit)
		room = t->limit;
	if ((p = realloc(t->buf, room)) == NULL)
		return -1;
	t->buf = p;
	t->room = room;
	return 0;
}

static void
add(struct kv_track *t, const struct entry *e)
{
	size_t n = ENTRY + (size_t)e->from_len + e->to_len;
	uint8_t *p;

	if (t->everything)
		return;
	if (make_room(t, n) != 0) {
		give_up(t);
		return;
	}
	p = t->buf + t->len;
	put_le64(p, e->version);
	put_le32(p + 8, e->from_len);
	put_le32(p + 12, e->to_len);
	p[16] = e->range;
	p[17] = e->open_from;
	p[18] = e->open_to;
	p[19] = e->closed;
	if (e->from_len > 0)
		memcpy(p + ENTRY, e->from, e->from_len);
	if (e->to_len > 0)
		memcpy(p + ENTRY + e->from_len, e->to, e->to_len);
	t->len += n;
}

void
kv_track_key(struct kv_track *t, const void *key, size_t klen,
    uint64_t version, uint64_t expires_ns)
{
	struct entry e = { .version = version, .from = key,
	    .from_len = (uint32_t)klen };

	t->expiring |= expires_ns != 0;
	add(t, &e);
}

void
kv_track_range(struct kv_track *t, const struct kv_bound *from,
    const struct kv_bound *to, int closed)
{
	struct entry e = { .range = 1, .closed = closed != 0,
	    .open_from = from->key == NULL, .open_to = to->key == NULL };

	if (!e.open_from) {
		e.from = from->key;
		e.from_len = (uint32_t)from->klen;
	}
	if (!e.open_to) {
		e.to = to->key;
		e.to_len = (uint32_t)to->klen;
	}
	add(t, &e);
}

static size_t
take(const struct kv_track *t, size_t at, struct entry *e)
{
	const uint8_t *p = t->buf + at;

	e->version = get_le64(p);
	e->from_len = get_le32(p + 8);
	e->to_len = get_le32(p + 12);
	e->range = p[16];
	e->open_from = p[17];
	e->open_to = p[18];
	e->closed = p[19];
	e->from = p + ENTRY;
	e->to = e->from + e->from_len;
	return ENTRY + (size_t)e->from_len + e->to_len;
}

/* ---- reading again ----------------------------------------------------- */

/* A key as text for a message, a long one cut off. */
#define SHOWN	64

static void
show(char out[4 * SHOWN + 4], const uint8_t *key, size_t klen)
{
	static const char hex[] = "0123456789abcdef";
	size_t n = klen < SHOWN ? klen : SHOWN;

	for (size_t i = 0; i < n; i++) {
		if (key[i] >= ' ' && key[i] <= '~' && key[i] != '\\') {
			*out++ = (char)key[i];
			continue;
		}
		*out++ = '\\';
		*out++ = 'x';
		*out++ = hex[key[i] >> 4];
		*out++ = hex[key[i] & 15];
	}
	strcpy(out, n < klen ? "..." : "");
}

static int
key_conflict(struct kevo *db, const uint8_t *key, size_t klen)
{
	char text[4 * SHOWN + 4];

	show(text, key, klen);
	return kv_fail(&db->env, KEVO_ECONFLICT, "%s: conflict: %s changed "
	    "since the transaction read it", db->path, text);
}

static int
range_conflict(struct kevo *db, const uint8_t *key, size_t klen)
{
	char text[4 * SHOWN + 4];

	show(text, key, klen);
	return kv_fail(&db->env, KEVO_ECONFLICT, "%s: conflict: a range that "
	    "the transaction read changed at %s", db->path, text);
}

static int
check_key(const struct kv_reread *r, const struct entry *e)
{
	struct kevo_record rec;
	int rc = kv_lookup(r->db, r->now, r->now_seq, e->from, e->from_len,
	    &rec);

	if (rc == KV_RETRY)
		return kv_index_missing(r->db);
	if (rc < 0)
		return rc;
	rc = kv_unexpired(rc, &rec, r->now_ns);
	return (rc == 0 ? rec.version : 0) == e->version ? 0 :
	    key_conflict(r->db, e->from, e->from_len);
}

/* Does it tell of this key? */
static int
covers(const struct entry *e, const void *key, size_t klen)
{
	int c = e->open_from ? 1 : kv_key_cmp(key, klen, e->from, e->from_len);

	if (!e->range || c < 0)
		return c == 0;
	if (e->open_to)
		return 1;
	c = kv_key_cmp(key, klen, e->to, e->to_len);
	return c < 0 || (c == 0 && e->closed);
}

/* Is there a record of the range? */
static int
inside(const struct entry *e, int rc, const struct kevo_record *rec)
{
	return rc == 0 && covers(e, rec->key, rec->klen);
}

/* Side by side, to the first difference. */
static int
compare(const struct kv_reread *r, const struct entry *e,
    struct kevo_iter *then, struct kevo_iter *now)
{
	struct kevo_record a, b;
	int ra = kevo_iter_first(then, &a), rb = kevo_iter_first(now, &b);

	for (;;) {
		int has_a = inside(e, ra, &a), has_b = inside(e, rb, &b), c;

		if (ra < 0 || rb < 0)
			return ra < 0 ? ra : rb;
		if (!has_a && !has_b)
			return 0;
		c = !has_a ? 1 : !has_b ? -1 : kv_key_cmp(a.key, a.klen,
		    b.key, b.klen);
		if (c != 0 || a.version != b.version)
			return c <= 0 ? range_conflict(r->db, a.key, a.klen) :
			    range_conflict(r->db, b.key, b.klen);
		ra = kevo_iter_next(then, &a);
		rb = kevo_iter_next(now, &b);
	}
}

static int
check_range(const struct kv_reread *r, const struct entry *e)
{
	struct kv_scope then = { .view = r->then, .seq = r->then_seq,
	    .now_ns = r->then_ns };
	struct kv_scope now = { .view = r->now, .seq = r->now_seq,
	    .now_ns = r->now_ns };
	struct kevo_range range = { e->open_from ? NULL : e->from,
	    e->from_len, NULL, 0 };
	struct kevo_iter *a = NULL, *b = NULL;
	int rc;

	kv_view_keep_too(r->then);
	if ((rc = kv_iter_new(r->db, &then, &range, &a)) != 0)
		return rc;
	kv_view_keep_too(r->now);
	if ((rc = kv_iter_new(r->db, &now, &range, &b)) == 0)
		rc = compare(r, e, a, b);
	kevo_iter_free(a);
	kevo_iter_free(b);
	return rc;
}

int
kv_track_check(const struct kv_track *t, const struct kv_reread *r)
{
	struct entry e;
	int rc = 0;

	if (r->now_seq == r->then_seq && !t->expiring)
		return 0;
	if (t->everything)
		return kv_fail(&r->db->env, KEVO_ECONFLICT, "%s: conflict: "
		    "another commit came, and the transaction has read more "
		    "than txn_memory_bytes can tell apart", r->db->path);
	for (size_t at = 0; rc == 0 && at < t->len;) {
		at += take(t, at, &e);
		rc = e.range ? check_range(r, &e) : check_key(r, &e);
	}
	return rc;
}

/* ---- what came since --------------------------------------------------- */

/* Up to so many operations are compared with everything that was read; that
 * takes no longer than to read it again. */
#define SINCE_MAX	16

static int
is_tracked(const struct kv_track *t, const struct kv_op *op)
{
	struct entry e;

	for (size_t at = 0; at < t->len;) {
		at += take(t, at, &e);
		if (covers(&e, op->key, op->klen))
			return 1;
	}
	return t->everything;
}

/* The record at *off, which moves behind it: 1 if nothing in it was read. */
static int
is_elsewhere(const struct kv_track *t, const struct kv_seg *s, uint64_t *off,
    uint64_t end, unsigned *left)
{
	uint64_t at = *off + KV_FRAME_LEN + KV_PAYLOAD_HEAD;
	struct kv_frame f;
	struct kv_op op;

	if (end > s->log_len || end - *off < kv_record_len(KV_PAYLOAD_HEAD) ||
	    kv_frame_decode(s->log + *off, &f, s->head.nonce) != 0 ||
	    f.type != KV_RECORD_COMMIT ||
	    kv_record_len(f.payload_len) > end - *off)
		return 0;
	for (uint32_t n = get_le32(s->log + *off + KV_FRAME_LEN); n > 0; n--) {
		if ((*left)-- == 0 || kv_op_decode(s->log, end, at, &op) != 0 ||
		    is_tracked(t, &op))
			return 0;
		at += op.len;
	}
	*off += kv_record_len(f.payload_len);
	return 1;
}

int
kv_track_untouched(const struct kv_track *t, const struct kv_seg *s,
    uint64_t off, uint64_t end)
{
	unsigned left = SINCE_MAX;

	while (off < end)
		if (!is_elsewhere(t, s, &off, end, &left))
			return 0;
	return off == end;
}

/* ---- iterators --------------------------------------------------------- */

void
kv_span_begin(struct kv_span *s, int backward, const void *key, size_t klen)
{
	if (s->track == NULL)
		return;
	s->open = 1;
	s->backward = backward;
	s->start_len = klen;
	free(s->start);
	s->start = NULL;
	if (key == NULL || s->track->everything)
		return;
	if ((s->start = malloc(klen + 1)) == NULL)
		give_up(s->track);
	else
		memcpy(s->start, key, klen);
}

void
kv_span_end(struct kv_span *s, const struct kv_bound *reached,
    const struct kv_bound *from, const struct kv_bound *to)
{
	struct kv_bound start = { s->start, s->start_len };

	if (s->track == NULL || !s->open)
		return;
	s->open = 0;
	if (!s->backward)
		kv_track_range(s->track, start.key != NULL ? &start : from,
		    reached->key != NULL ? reached : to, reached->key != NULL);
	else
		kv_track_range(s->track, reached->key != NULL ? reached : from,
		    start.key != NULL ? &start : to, start.key != NULL);
}

void
kv_span_release(struct kv_span *s)
{
	free(s->start);
	s->start = NULL;
}
