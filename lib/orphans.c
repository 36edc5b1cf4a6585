#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "epoch.h"
#include "feed_file.h"
#include "orphans.h"
#include "slots_dir.h"

/*
 * All files that may have records behind the fork are listed by the commits
 * they have, and gone through in that order: each gives what is not saved yet
 * and verifies.  Several may have the same; a damaged one gives less, and the
 * next one the rest.
 */

#define TMP		KV_ORPHANS "/tmp.save"

struct source {
	uint64_t first, last;	/* commits, at most */
	int saved;		/* it is in orphans/ already */
	char path[128];
};

struct save {
	struct kevo *db;
	const struct kv_history *mine;
	struct kv_orphans *out;
	uint64_t next, end;	/* commits from and to */
	int dry_run;
	struct source *v;
	size_t n, room;
};

/* ---- where records may be ---------------------------------------------- */

static int
add(struct save *s, uint64_t first, uint64_t last, int saved,
    const char *dir, const char *name)
{
	size_t room = s->room != 0 ? 2 * s->room : 64;
	struct source *v;

	if (last < s->next || first > s->end)
		return 0;
	if (s->n == s->room) {
		if ((v = realloc(s->v, room * sizeof(*v))) == NULL)
			return kv_fail(&s->db->env, KEVO_ENOMEM,
			    "out of memory");
		s->v = v;
		s->room = room;
	}
	v = &s->v[s->n++];
	v->first = first;
	v->last = last;
	v->saved = saved;
	snprintf(v->path, sizeof(v->path), "%s%s", dir, name);
	return 0;
}

/* The newest first, for a segment ends where its successor begins. */
static int
list_wal(struct save *s)
{
	uint64_t c = kv_tail(s->db->ctl)->segment, last = s->end, oldest;
	char name[KV_SEGMENT_NAME_LEN];
	struct kv_segment_head h;
	int rc;

	rc = kv_slots_oldest_segment(s->db, &oldest);
	for (; rc == 0 && c > 0 && c >= oldest && last >= s->next; c--) {
		if (kv_slots_head(&s->db->dir, c, &h) != 0)
			continue;
		kv_segment_name(name, c);
		rc = add(s, h.first_seq, last, 0, "", name);
		last = h.first_seq - 1;
	}
	return rc;
}

static int
list_slot(struct save *s, const char *slot)
{
	char dir[KV_SLOTS_PATH];
	struct kv_slots_list l;
	int rc;

	if ((rc = kv_slots_list(s->db, slot, &l)) != 0)
		return rc;
	snprintf(dir, sizeof(dir), "slots/%s/", slot);
	for (size_t i = 0; rc == 0 && i < l.n; i++)
		rc = add(s, l.v[i].first, l.v[i].last, 0, dir, l.v[i].name);
	kv_slots_list_free(&l);
	return rc;
}

static int
list_slots(struct save *s)
{
	struct kv_slots_names names;
	int rc;

	if ((rc = kv_slots_names(&s->db->env, &s->db->dir, &names)) != 0)
		return rc;
	for (size_t i = 0; rc == 0 && i < names.n; i++)
		rc = list_slot(s, names.v[i]);
	free(names.v);
	return rc;
}

/* What an earlier call has saved. */
static int
list_saved(struct save *s)
{
	struct kevo *db = s->db;
	uint64_t first, last;
	const char *name;
	uint32_t epoch;
	DIR *d;
	int rc;

	rc = kv_list_open(&db->env, &db->dir, KV_ORPHANS, 1, &d);
	if (rc != 0 || d == NULL)
		return rc;
	while (rc == 0 && (name = kv_list_next(&db->env, &db->dir, KV_ORPHANS,
	    d, &rc)) != NULL)
		if (kv_ship_name_parse(name, &epoch, &first, &last))
			rc = add(s, first, last, 1, KV_ORPHANS "/", name);
	closedir(d);
	return rc;
}

static int
by_first(const void *a, const void *b)
{
	const struct source *x = a, *y = b;

	return x->first < y->first ? -1 : x->first > y->first;
}

/* ---- one of them ------------------------------------------------------- */

/* What is taken of a file. */
struct piece {
	struct kv_feed_file *f;
	uint64_t first;		/* commit; the last one is f->seq */
	uint64_t chain;		/* before it */
	uint64_t len;		/* of its records */
};

/* Go to the first commit wanted.  1, 0 (it does not lead there, or is of
 * another line), or an error. */
static int
begin_piece(struct save *s, const struct source *from, struct piece *p)
{
	struct kv_feed_file *f = p->f;
	const struct kv_epoch *e;
	int rc;

	p->first = s->next > from->first ? s->next : from->first;
	e = kv_history_of(s->mine, p->first);
	if (e == NULL || e->epoch != f->head.epoch || e->nonce !=
	    f->head.nonce || f->head.first_seq != from->first)
		return 0;
	rc = kv_feed_file_skip(f, p->first - 1, s->end);
	p->chain = f->chain;
	return rc == 0 ? 1 : rc == KEVO_NOTFOUND ? 0 : rc;
}

/* Copy records behind the place of a header; fd -1: only look at them. */
static int
copy(struct save *s, struct piece *p, uint64_t last, int fd, const char *full)
{
	const uint8_t *rec;
	uint64_t len;
	int rc = 0;

	if (last > s->end)
		last = s->end;
	while (rc == 0 && p->f->seq < last) {
		rc = kv_feed_file_next(p->f, s->end, &rec, &len);
		if (rc != 0)
			return rc == KEVO_NOTFOUND ? 0 : rc;
		if (fd >= 0)
			rc = kv_pwrite(&s->db->env, fd, full, rec,
			    (size_t)len, KV_SEGMENT_HEAD + p->len);
		p->len += len;
	}
	return rc;
}

static int
write_ends(struct save *s, const struct piece *p, int fd, const char *full,
    uint8_t tail[KV_SEAL_LEN])
{
	struct kv_segment_head h = p->f->head;
	uint8_t head[KV_SEGMENT_HEAD];
	struct kv_seal seal = { .last_seq = p->f->seq,
	    .records = p->f->seq - p->first + 1, .chain = p->f->chain,
	    .file_len = KV_SEGMENT_HEAD + p->len + KV_SEAL_LEN,
	    .time_ns = p->f->time_ns };
	int rc;

	h.flags |= KV_SEGMENT_COPIED;
	h.first_seq = p->first;
	h.chain_before = p->chain;
	h.capacity = seal.file_len;
	kv_segment_head_encode(head, &h);
	seal.head_hash = h.hash;
	kv_seal_encode(tail, &seal);
	rc = kv_pwrite(&s->db->env, fd, full, head, sizeof(head), 0);
	return rc != 0 ? rc : kv_pwrite(&s->db->env, fd, full, tail,
	    KV_SEAL_LEN, KV_SEGMENT_HEAD + p->len);
}

/* Has the file of this name, which ends there, the same seal? */
static int
compare(struct save *s, const char *name, const uint8_t tail[KV_SEAL_LEN],
    uint64_t off)
{
	struct kevo *db = s->db;
	uint8_t have[KV_SEAL_LEN];
	int fd = kv_openat(db->dir.fd, name, O_RDONLY, 0), same;

	if (fd < 0)
		return kv_fail_errno(&db->env, kv_path(&db->dir, name),
		    "open");
	same = pread(fd, have, sizeof(have), (off_t)off) ==
	    (ssize_t)sizeof(have) && memcmp(have, tail, sizeof(have)) == 0;
	close(fd);
	return same ? 0 : kv_fail(&db->env, KEVO_EHISTORY, "%s: it has other "
	    "commits than those that are to be saved under this name; move it "
	    "elsewhere first", kv_path(&db->dir, name));
}

static int
write_piece(struct save *s, struct piece *p, uint64_t last, int fd,
    const char *full)
{
	char ship[KV_SHIP_NAME_LEN], name[KV_SHIP_NAME_LEN + 16];
	uint8_t tail[KV_SEAL_LEN];
	struct kevo *db = s->db;
	int rc;

	if ((rc = copy(s, p, last, fd, full)) != 0 || p->len == 0 ||
	    (rc = write_ends(s, p, fd, full, tail)) != 0)
		return rc;
	if (kv_give(&db->dir, fd, db->ctl->mode) != 0 || fsync(fd) != 0)
		return kv_fail_errno(&db->env, full, "write");
	kv_ship_name(ship, p->f->head.epoch, p->first, p->f->seq);
	snprintf(name, sizeof(name), KV_ORPHANS "/%s", ship);
	if (linkat(db->dir.fd, TMP, db->dir.fd, name, 0) == 0)
		s->out->files++;
	else if (errno != EEXIST)
		return kv_fail_errno(&db->env, kv_path(&db->dir, name),
		    "create");
	else if ((rc = compare(s, name, tail, KV_SEGMENT_HEAD + p->len)) != 0)
		return rc;
	return kv_sync_dir(&db->env, &db->dir, KV_ORPHANS);
}

static int
save_piece(struct save *s, struct piece *p, uint64_t last)
{
	struct kevo *db = s->db;
	const char *full = kv_path(&db->dir, TMP);
	int fd, rc;

	unlinkat(db->dir.fd, TMP, 0);
	fd = kv_openat(db->dir.fd, TMP, O_WRONLY | O_CREAT | O_EXCL, 0666);
	if (fd < 0)
		return kv_fail_errno(&db->env, full, "create");
	rc = write_piece(s, p, last, fd, full);
	close(fd);
	unlinkat(db->dir.fd, TMP, 0);
	return rc;
}

/* ---- all of them ------------------------------------------------------- */

static void
note_missing(struct save *s, uint64_t first, uint64_t last)
{
	struct kv_orphans *o = s->out;
	size_t n = strlen(o->which);
	char text[64];

	o->missing += last - first + 1;
	if (first == last)
		snprintf(text, sizeof(text), "%s%" PRIu64, n > 0 ? ", " : "",
		    first);
	else
		snprintf(text, sizeof(text), "%s%" PRIu64 "..%" PRIu64,
		    n > 0 ? ", " : "", first, last);
	/* The last room is for what says that there are more. */
	if (n + strlen(text) + sizeof(" ...") <= sizeof(o->which))
		strcpy(o->which + n, text);
	else if (n > 0 && o->which[n - 1] != '.')
		strcpy(o->which + n, " ...");
}

static void
note_piece(struct save *s, const struct piece *p)
{
	struct kv_orphans *o = s->out;

	if (p->first > s->next)
		note_missing(s, s->next, p->first - 1);
	o->saved += p->f->seq - p->first + 1;
	if (o->first == 0) {
		o->first = p->first;
		o->epoch = p->f->head.epoch;
	}
	o->last = p->f->seq;
	s->next = o->last + 1;
}

static int
take(struct save *s, const struct source *from)
{
	struct piece p = { .len = 0 };
	int rc;

	if (from->last < s->next)
		return 0;
	rc = kv_feed_file_open(&s->db->env, &s->db->dir, from->path,
	    s->db->ctl->id, &p.f);
	if (rc != 0)
		return rc == KEVO_NOTFOUND || rc == KEVO_ECORRUPT ? 0 : rc;
	if ((rc = begin_piece(s, from, &p)) == 1)
		rc = s->dry_run || from->saved ? copy(s, &p, from->last, -1,
		    from->path) : save_piece(s, &p, from->last);
	if (rc == 0 && p.len > 0)
		note_piece(s, &p);
	kv_feed_file_close(p.f);
	return rc;
}

int
kv_orphans_dir(struct kv_env *env, const struct kv_dir *dir, uint32_t mode)
{
	int rc = kv_mkdir(env, dir, KV_ORPHANS, mode);

	return rc != 0 ? rc : kv_sync_dir(env, dir, ".");
}

int
kv_orphans_save(struct kevo *db, const struct kv_history *mine,
    uint64_t fork, int dry_run, struct kv_orphans *out)
{
	struct save s = { .db = db, .mine = mine, .out = out,
		.next = fork + 1, .end = kv_tail(db->ctl)->seq,
		.dry_run = dry_run };
	int rc;

	memset(out, 0, sizeof(*out));
	if (s.next > s.end)
		return 0;
	if ((rc = list_wal(&s)) == 0 && (rc = list_slots(&s)) == 0 &&
	    (rc = list_saved(&s)) == 0 && !dry_run)
		rc = kv_orphans_dir(&db->env, &db->dir, db->ctl->mode);
	if (s.n > 1)
		qsort(s.v, s.n, sizeof(s.v[0]), by_first);
	for (size_t i = 0; rc == 0 && i < s.n; i++)
		rc = take(&s, &s.v[i]);
	free(s.v);
	if (rc == 0 && s.next <= s.end)
		note_missing(&s, s.next, s.end);
	return rc;
}
