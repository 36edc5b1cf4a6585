#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "join.h"
#include "key.h"
#include "record.h"

/*
 * Looking up without mapping anything.  A process that wants one value and
 * ends spends most of its time on page faults if it maps control, an index
 * and a segment; reading the dozen nodes that lead to the key, and the value,
 * costs a tenth of that.  So a reader's handle starts cold, and warms up
 * (maps, as view.c describes) at its first other operation or after a few
 * lookups.
 *
 * This is a short cut and nothing else: where anything is not as expected,
 * the answer is KV_RETRY, and the warm way decides and reports.
 */

/* From about here on mapping pays. */
#define COLD_LOOKUPS	4

struct kv_cold {
	int ctl_fd;
	int lookups;
	struct kv_version *version;	/* NULL: not read yet */
	uint8_t *value;			/* of the last lookup: small or heap */
	size_t room;
	uint8_t *block;			/* of a table; NULL: none yet */
	size_t block_room;
	uint8_t small[1024];
	struct kv_control ctl;		/* a copy, without the counters */
};

/* An index file that is read from. */
struct cold_index {
	int fd;
	struct kv_index_head head;
};

static int
read_at(int fd, void *buf, size_t len, uint64_t off)
{
	ssize_t n;

	do
		n = pread(fd, buf, len, (off_t)off);
	while (n < 0 && errno == EINTR);
	return n == (ssize_t)len ? 0 : -1;
}

static int
fetch(void *arg, void *buf, uint32_t len, uint64_t place)
{
	struct cold_index *x = arg;

	return read_at(x->fd, buf, len, place);
}

int
kv_cold_open(struct kevo *db)
{
	/* Of the copy, only what is read has memory. */
	struct kv_cold *c = malloc(offsetof(struct kv_cold, ctl) +
	    kv_control_base());

	if (c == NULL)
		return KV_RETRY;
	c->lookups = 0;
	c->version = NULL;
	c->block = NULL;
	c->block_room = 0;
	c->value = c->small;
	c->room = sizeof(c->small);
	c->ctl_fd = kv_control_read(&db->env, &db->dir, &c->ctl);
	if (c->ctl_fd < 0 || c->ctl.retired) {
		if (c->ctl_fd >= 0)
			close(c->ctl_fd);
		free(c);
		return KV_RETRY;
	}
	db->cold = c;
	return 0;
}

void
kv_cold_close(struct kevo *db)
{
	struct kv_cold *c = db->cold;

	if (c == NULL)
		return;
	if (c->ctl_fd >= 0)
		close(c->ctl_fd);
	kv_version_unref(c->version);
	free(c->block);
	if (c->value != c->small)
		free(c->value);
	free(c);
	db->cold = NULL;
}

uint64_t
kv_cold_setting(const struct kevo *db, enum kv_setting s)
{
	return kv_setting(&db->cold->ctl, s);
}

const struct kv_control *
kv_cold_copy(const struct kevo *db)
{
	return &db->cold->ctl;
}

int
kv_cold_appended(const struct kevo *db, uint64_t *seq)
{
	return read_at(db->cold->ctl_fd, seq, sizeof(*seq),
	    offsetof(struct kv_control, appended));
}

int
kv_cold_control(const struct kevo *db)
{
	return db->cold->ctl_fd;
}

int
kv_cold_end(struct kevo *db)
{
	struct kv_cold *c = db->cold;
	void *p;
	int rc = KV_RETRY;

	if (kv_control_linked(&db->env, c->ctl_fd) && kv_map(&db->env,
	    c->ctl_fd, "control", KV_CONTROL_LEN, 0, &p) == 0) {
		db->ctl = p;
		db->ctl_fd = c->ctl_fd;
		c->ctl_fd = -1;
		rc = 0;
	}
	kv_cold_close(db);
	return rc;
}

/*
 * What is visible (and whether this control is still in use), and then which
 * segment is active: the order that makes the two a snapshot.  A single read
 * would not promise it.  The version is the one that was read before, when
 * the handle was opened.
 */
static int
look_now(struct kv_cold *c)
{
	size_t retired = offsetof(struct kv_control, retired);
	size_t active = offsetof(struct kv_control, active);

	if (read_at(c->ctl_fd, (uint8_t *)&c->ctl + retired, active - retired,
	    retired) != 0)
		return -1;
	return read_at(c->ctl_fd, (uint8_t *)&c->ctl + active,
	    sizeof(uint64_t), active);
}

/* A transaction that the handle has joined says where to look. */
static void
place(struct kevo *db)
{
	struct kv_control *c = &db->cold->ctl;
	uint64_t first = c->first, version = c->version, seq = c->visible;
	uint64_t active = c->active;

	if (db->join == NULL)
		return;
	kv_join_place(db->join, &first, &version, &seq, &active);
	c->version = version;
	c->visible = seq;
	c->active = active;
}

static int
open_index(struct kevo *db, uint64_t counter, struct cold_index *x)
{
	const struct kv_control *ctl = &db->cold->ctl;
	char name[KV_INDEX_NAME_LEN];

	kv_index_name(name, ctl->generation, counter);
	x->fd = kv_openat(db->dir.fd, name, O_RDONLY, 0);
	if (x->fd < 0)
		return -1;
	if (read_at(x->fd, &x->head, sizeof(x->head), 0) != 0 ||
	    kv_index_check(&x->head, x->head.size) != 0 ||
	    x->head.generation != ctl->generation ||
	    x->head.segment != counter) {
		close(x->fd);
		return -1;
	}
	return 0;
}

/* 1 found, 0 none, -1 something is odd. */
static int
find_in(struct kevo *db, uint64_t counter, const void *key, size_t klen,
    struct kv_index_hit *hit, uint64_t *segment_hash)
{
	struct kv_index_source src;
	struct cold_index x;
	int rc;

	if (open_index(db, counter, &x) != 0)
		return -1;
	src.fetch = fetch;
	src.arg = &x;
	src.size = x.head.size;
	src.root = x.head.root;
	rc = kv_index_find_unmapped(&src, key, klen, db->cold->ctl.visible,
	    hit);
	*segment_hash = x.head.segment_hash;
	close(x.fd);
	return rc;
}

static int
make_room(struct kv_cold *c, size_t len)
{
	uint8_t *old = c->value == c->small ? NULL : c->value, *p;

	if (len <= c->room)
		return 0;
	if ((p = realloc(old, len)) == NULL)
		return -1;
	c->value = p;
	c->room = len;
	return 0;
}

/*
 * Read the operation at off: some bytes, and the rest if it is longer.  The
 * segment's header says whether it is the one that was indexed.
 */
static int
read_op(struct kevo *db, int fd, uint64_t segment_hash, uint64_t off,
    struct kv_op *op)
{
	struct kv_cold *c = db->cold;
	struct kv_segment_head h;
	uint8_t head[KV_SEGMENT_HEAD];
	uint64_t len;
	ssize_t n;

	if (read_at(fd, head, sizeof(head), 0) != 0 ||
	    kv_segment_head_decode(head, &h) != 0 || h.hash != segment_hash)
		return -1;
	n = pread(fd, c->value, c->room, (off_t)off);
	if (n < KV_OP_HEAD + 8)
		return -1;
	len = kv_op_len((size_t)get_le16(c->value + 2) + 1,
	    get_le32(c->value + 4), c->value[1] & KV_OP_EXPIRES);
	if (len > (uint64_t)n && (len > KV_PAYLOAD_MAX ||
	    make_room(c, (size_t)len) != 0 ||
	    read_at(fd, c->value, (size_t)len, off) != 0))
		return -1;
	return kv_op_decode(c->value, len, 0, op);
}

static int
get_op(struct kevo *db, uint64_t counter, uint64_t segment_hash, uint64_t off,
    struct kv_op *op)
{
	char name[KV_SEGMENT_NAME_LEN];
	int fd, rc;

	kv_segment_name(name, counter);
	if ((fd = kv_openat(db->dir.fd, name, O_RDONLY, 0)) < 0)
		return -1;
	rc = read_op(db, fd, segment_hash, off, op);
	close(fd);
	return rc;
}

/* 1 found, 0 none, -1 something is odd. */
static int
get_from(struct kevo *db, uint32_t i, const void *key, size_t klen,
    uint64_t key_hash, uint64_t *seq, struct kv_op *op)
{
	struct kv_cold *c = db->cold;
	const struct kv_table_info *t = &c->version->table[i].info;
	int rc;

	if (kv_key_cmp(key, klen, t->first, t->first_len) < 0 ||
	    kv_key_cmp(key, klen, t->last, t->last_len) > 0)
		return 0;
	rc = kv_table_pread_get(&db->env, &db->dir, t->number, t->size,
	    t->hash, key, klen, key_hash, &c->block, &c->block_room, seq, op);
	return rc == 0 || rc == 1 ? rc : -1;
}

static int
find_in_tables(struct kevo *db, const void *key, size_t klen,
    struct kevo_record *rec)
{
	const struct kv_version *v = db->cold->version;
	struct kv_op op;
	uint64_t hash, seq;
	uint32_t i, level = 1;
	int rc = 0;

	if (v->ntables == 0)
		return KEVO_NOTFOUND;
	hash = kv_table_key_hash(db->cold->ctl.id, key, klen);
	for (i = 0; i < v->level_start[1] && rc == 0; i++)
		rc = get_from(db, i, key, klen, hash, &seq, &op);
	for (; level < KV_LEVELS && rc == 0; level++) {
		i = kv_version_find(v, level, key, klen);
		if (i < v->level_start[level + 1])
			rc = get_from(db, i, key, klen, hash, &seq, &op);
	}
	if (rc == 1)
		return kv_record_of(key, klen, seq, &op, rec);
	return rc == 0 ? KEVO_NOTFOUND : KV_RETRY;
}

int
kv_cold_lookup(struct kevo *db, const void *key, size_t klen,
    struct kevo_record *rec)
{
	struct kv_cold *c = db->cold;
	struct kv_index_hit hit;
	struct kv_op op;
	uint64_t hash;
	int rc;

	place(db);
	if (c->version == NULL && kv_version_read(&db->env, &db->dir,
	    c->ctl.id, c->ctl.version, 0, &c->version) != 0)
		return KV_RETRY;
	if (c->lookups++ >= COLD_LOOKUPS || look_now(c) != 0 ||
	    c->ctl.retired || (c->lookups > 1 &&
	    !kv_control_linked(&db->env, c->ctl_fd)))
		return KV_RETRY;
	place(db);
	if (c->ctl.active < c->version->first_segment)
		return KV_RETRY;
	for (uint64_t n = c->ctl.active; n >= c->version->first_segment;
	    n--) {
		rc = find_in(db, n, key, klen, &hit, &hash);
		if (rc == 0)
			continue;
		/* An index that has grown meanwhile is odd, too. */
		if (rc < 0 || get_op(db, n, hash, hit.off, &op) != 0)
			return KV_RETRY;
		if (op.klen != klen || memcmp(op.key, key, klen) != 0)
			continue;	/* another key below the same path */
		return kv_record_of(key, klen, hit.seq, &op, rec);
	}
	return find_in_tables(db, key, klen, rec);
}
