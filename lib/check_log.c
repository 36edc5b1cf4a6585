#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "check.h"
#include "salvage.h"

/*
 * The log, segment by segment, as recovery reads it (kevo-format(5)); and
 * where recovery would stop, on behind the damage.
 *
 * Beside running writers the newest segment is read up to the commit that was
 * the newest visible one when the check began.  All of that is whole and stays
 * as it is.  What is behind it is being written, and no business of ours.
 */

/* ---- a segment's bytes ------------------------------------------------- */

static void
release(struct kv_log_file *f)
{
	kv_unmap(f->b, (size_t)f->len);
	f->b = NULL;
}

static int
read_bytes(struct kv_check *ck, struct kv_log_file *f, int fd)
{
	int bad;

	if (f->size > KV_SEGMENT_MAX) {
		f->size = 0;
		return kv_found(ck, KEVO_DAMAGE, f->name, 0, 0, NULL,
		    "impossible length");
	}
	f->len = kv_data_end(fd, f->size);
	if (f->len < KV_SEGMENT_HEAD)
		f->len = KV_SEGMENT_HEAD;
	f->b = kv_map_anon((size_t)f->len);
	if (f->b == NULL)
		return kv_fail(&ck->db.env, KEVO_ENOMEM, "%s: out of memory",
		    f->name);
	return kv_check_read(ck, fd, f->name, f->len < f->size ? f->len :
	    f->size, f->b, &bad);
}

/* KEVO_NOTFOUND: there is no such file. */
static int
load(struct kv_check *ck, uint64_t counter, struct kv_log_file *f)
{
	const char *full;
	int fd, rc;

	memset(f, 0, sizeof(*f));
	f->counter = counter;
	kv_segment_name(f->name, counter);
	full = kv_path(&ck->db.dir, f->name);
	fd = kv_openat(ck->db.dir.fd, f->name, O_RDONLY, 0);
	if (fd < 0 && errno == ENOENT)
		return KEVO_NOTFOUND;
	if (fd < 0)
		return kv_fail_errno(&ck->db.env, full, "open");
	rc = kv_file_stat(&ck->db.env, fd, full, &f->size, NULL, NULL);
	if (rc == 0)
		rc = read_bytes(ck, f, fd);
	close(fd);
	if (rc == 0 && f->b != NULL)
		f->head_ok = kv_segment_head_decode(f->b, &f->head) == 0;
	if (rc != 0 && f->b != NULL)
		release(f);
	return rc;
}

/* ---- what comes after -------------------------------------------------- */

/* What the next segment that has a sound header continues. */
struct after {
	uint64_t counter;	/* 0: there is none */
	uint64_t first_seq, chain_before;
};

static int
look_ahead(struct kv_check *ck, uint64_t counter, uint64_t last,
    struct after *a)
{
	const struct kv_list *l = &ck->segments;
	struct kv_segment_head h;
	int rc;

	memset(a, 0, sizeof(*a));
	for (size_t i = 0; i < l->n && a->counter == 0; i++) {
		if (l->v[i] <= counter || l->v[i] > last)
			continue;
		if ((rc = kv_check_head(ck, l->v[i], &h)) < 0)
			return rc;
		if (rc == 0 || h.counter != l->v[i] ||
		    memcmp(h.id, ck->ident.id, 16) != 0)
			continue;
		a->counter = h.counter;
		a->first_seq = h.first_seq;
		a->chain_before = h.chain_before;
	}
	return 0;
}

/* ---- a walk over one segment ------------------------------------------- */

struct walk {
	struct kv_check *ck;
	const struct kv_log_taker *taker;
	struct kv_log_file f;
	struct kv_log_end *end;
	struct after after;
	int oldest, last;	/* segment */
	int bounded;		/* nothing behind commit `reach` is judged */
	uint64_t reach;
};

static int
is_enough(const struct walk *w, uint64_t seq)
{
	return w->bounded && seq >= w->reach;
}

static int
damage(struct walk *w, uint64_t off, uint64_t len,
    const struct kv_loss *loss, const char *what)
{
	w->ck->log_damaged = 1;
	return kv_found(w->ck, KEVO_DAMAGE, w->f.name, off, len, loss, "%s",
	    what);
}

static int
take(struct walk *w, uint64_t off, uint64_t seq, uint64_t time_ns)
{
	struct kv_check *ck = w->ck;

	w->end->seq = seq;
	w->end->time_ns = time_ns;
	if (seq > ck->last_seq)
		ck->last_seq = seq;
	if (!ck->silent)
		ck->out->records += get_le32(w->f.b + off + KV_FRAME_LEN);
	if (w->taker == NULL)
		return 0;
	return w->taker->record(w->taker->arg, &w->f, off, seq);
}

/* Commits first to last, as far as the next segment knows better. */
static struct kv_loss
commits(const struct walk *w, uint64_t first, uint64_t last)
{
	struct kv_loss loss = { .first_commit = first };

	if (last == 0 && w->after.counter != 0)
		last = w->after.first_seq - 1;
	loss.last_commit = last;
	if (last != 0 && first > last) {
		loss.first_commit = loss.last_commit = 0;
		loss.text = "nothing";
	}
	return loss;
}

/* From where the walk that trusts nothing stopped, on behind the damage. */
static int
go_on(struct walk *w, struct kv_salvage *s)
{
	static const struct kv_loss nothing = { .text = "nothing" };
	enum kv_salvage_result r;
	struct kv_loss loss;
	int rc = 0, ended = 0;

	while (rc == 0 && !ended && !is_enough(w, s->seq)) {
		r = kv_salvage_next(s);
		switch (r) {
		case KV_SALVAGE_MENDED:
			rc = damage(w, s->at + s->at_len - KV_TRAILER_LEN,
			    KV_TRAILER_LEN, &nothing, "the trailer of a "
			    "record is wrong");
			break;
		case KV_SALVAGE_LOOSE:
			w->ck->log_damaged = 1;
			rc = kv_found(w->ck, KEVO_WARNING, w->f.name, s->at,
			    s->at_len, NULL, "commit %llu can be read, but "
			    "what would verify it is damaged",
			    (unsigned long long)s->seq);
			break;
		case KV_SALVAGE_GAP:
			loss = commits(w, s->lost_first, s->lost_last);
			rc = damage(w, s->at, s->at_len, &loss,
			    "not the records that were written");
			break;
		case KV_SALVAGE_RECORD:
		case KV_SALVAGE_SEAL:
		case KV_SALVAGE_END:
			break;
		}
		ended = r == KV_SALVAGE_SEAL || r == KV_SALVAGE_END;
		if (rc == 0 && !ended && r != KV_SALVAGE_GAP)
			rc = take(w, s->at, s->seq, s->time_ns);
	}
	w->end->seq = s->seq;
	w->end->chain = s->chain;
	w->end->chained = s->chained;
	return rc;
}

/* Where nothing verifies in the newest segment: was it on disk once? */
static int
is_torn(const struct walk *w, const struct kv_walk *k)
{
	if (!w->last || !w->f.head_ok || w->bounded)
		return 0;
	return w->ck->durable <= k->seq && !kv_claims_durable(w->f.b,
	    w->f.len, w->f.size, k->off, k->seq + 1);
}

/* A seal that ends the log, and what is known to have been on disk is not
 * reached: the segments behind it are gone. */
static int
lacks_successor(const struct walk *w, const struct kv_walk *k)
{
	return w->last && !w->bounded && k->seq < w->ck->durable &&
	    w->f.counter >= w->ck->version->first_segment;
}

/* The newest segment's file has the length of its capacity from before its
 * first record until its seal shortens it.  Beside running writers it may have
 * got one by now. */
static int
is_cut_short(const struct walk *w, const struct kv_walk *k,
    enum kv_walk_result r)
{
	return w->last && !w->bounded && w->f.head_ok && r != KV_WALK_SEAL &&
	    w->f.size < w->f.head.capacity &&
	    (r != KV_WALK_END || k->records > 0);
}

/* 1: what there is of it has to be gone through. */
static int
report_cut(struct walk *w, const struct kv_loss *loss, enum kv_walk_result r)
{
	char text[80];
	int rc;

	snprintf(text, sizeof(text), "cut short: it has %llu of %llu bytes",
	    (unsigned long long)w->f.size,
	    (unsigned long long)w->f.head.capacity);
	rc = damage(w, w->f.size, w->f.head.capacity - w->f.size, loss, text);
	return rc != 0 ? rc : r == KV_WALK_BAD;
}

static int
report_end(struct walk *w, const struct kv_walk *k, enum kv_walk_result r)
{
	struct kv_loss loss = commits(w, k->seq + 1, 0);
	int rc;

	if (r == KV_WALK_SEAL && lacks_successor(w, k))
		return damage(w, k->off + KV_SEAL_LEN, 0, &loss, "the log "
		    "ends here, but more of it was on disk");
	if (r == KV_WALK_SEAL || is_enough(w, k->seq))
		return 0;
	if (is_cut_short(w, k, r))
		return report_cut(w, &loss, r);
	if (r == KV_WALK_END && w->last && w->ck->durable <= k->seq &&
	    !w->bounded)
		return 0;
	if (r == KV_WALK_BAD && is_torn(w, k))
		return kv_found(w->ck, KEVO_NOTE, w->f.name, k->off, 0, NULL,
		    "a torn tail; who opens the database for writing cuts "
		    "it");
	if (r != KV_WALK_END)
		return 1;
	/* Zeros where there should be more. */
	if (w->last && w->after.counter == 0)
		rc = damage(w, k->off, 0, &loss, "the log ends here, but more "
		    "of it was on disk");
	else
		rc = damage(w, k->off, 0, &loss, "the log ends here, without "
		    "a seal");
	return rc;
}

static void
start_salvage(const struct walk *w, const struct kv_walk *k,
    struct kv_salvage *s)
{
	memset(s, 0, sizeof(*s));
	s->log = w->f.b;
	s->len = w->f.len;
	s->off = k->off;
	s->seq = k->seq;
	s->chain = k->chain;
	s->chained = s->adjacent = w->end->chained;
	s->head_ok = w->f.head_ok;
	s->has_after = w->after.counter == w->f.counter + 1;
	s->chain_after = w->after.chain_before;
}

static int
walk_records(struct walk *w, const struct kv_segment_head *h)
{
	enum kv_walk_result r = KV_WALK_BAD;
	struct kv_salvage s;
	struct kv_walk k;
	int rc = 0;

	kv_walk_start(&k, w->f.b, w->f.len, h);
	while (!is_enough(w, k.seq) && w->end->chained &&
	    (r = kv_walk_next(&k)) == KV_WALK_RECORD)
		if ((rc = take(w, k.rec_off, k.seq, k.time_ns)) != 0)
			return rc;
	w->end->seq = k.seq;
	w->end->chain = k.chain;
	if ((rc = report_end(w, &k, r)) != 1)
		return rc;
	start_salvage(w, &k, &s);
	return go_on(w, &s);
}

/* ---- headers ----------------------------------------------------------- */

/*
 * A header that can be is put in the place of a damaged one, in our copy:
 * what the segment before it leads to.
 */
static void
mend_header(struct walk *w, struct kv_segment_head *h)
{
	const struct kv_ident *id = &w->ck->ident;
	const struct kv_epoch *e = kv_history_of(&w->ck->history,
	    w->end->seq + 1);

	memset(h, 0, sizeof(*h));
	memcpy(h->id, id->id, 16);
	h->epoch = e != NULL ? e->epoch : id->epoch;
	h->nonce = e != NULL ? e->nonce : id->nonce;
	h->first_seq = w->end->seq + 1;
	h->chain_before = w->end->chain;
	h->counter = w->f.counter;
	h->capacity = w->f.len > KV_SEGMENT_HEAD + KV_SEAL_LEN ? w->f.len :
	    KV_SEGMENT_HEAD + KV_SEAL_LEN;
	kv_segment_head_encode(w->f.b, h);
}

/* It was being created when the machine stopped. */
static int
is_unborn(const struct walk *w)
{
	return w->last && !w->oldest && !w->bounded && w->end->chained &&
	    w->ck->durable <= w->end->seq && kv_all_zero(w->f.b +
	    KV_SEGMENT_HEAD, w->f.len - KV_SEGMENT_HEAD);
}

/* Does a segment lie under another name?  1, 0 or an error. */
static int
is_elsewhere(struct kv_check *ck, uint64_t counter)
{
	const struct kv_list *l = &ck->segments;
	struct kv_segment_head h;
	int rc;

	for (size_t i = 0; i < l->n; i++) {
		if (l->v[i] == counter)
			continue;
		if ((rc = kv_check_head(ck, l->v[i], &h)) < 0)
			return rc;
		if (rc == 1 && h.counter == counter &&
		    memcmp(h.id, ck->ident.id, 16) == 0)
			return 1;
	}
	return 0;
}

/* What belongs in the place of this segment is not here; go on behind it. */
static int
report_other(struct walk *w, uint64_t off, uint64_t len, const char *what)
{
	struct kv_log_end *end = w->end;
	struct kv_loss loss = commits(w, end->seq + 1, 0);
	int elsewhere = is_elsewhere(w->ck, w->f.counter);

	if (elsewhere < 0)
		return elsewhere;
	end->chained = 0;
	if (w->after.counter != 0)
		end->seq = w->after.first_seq - 1;
	return damage(w, off, len, elsewhere ? NULL : &loss, what);
}

/* A sound header: is it this segment's?  *walk: records of ours follow. */
static int
check_header(struct walk *w, int *walk)
{
	const struct kv_segment_head *h = &w->f.head;
	struct kv_log_end *end = w->end;
	struct kv_loss loss;
	char text[100];

	*walk = memcmp(h->id, w->ck->ident.id, 16) == 0;
	if (!*walk)
		return report_other(w, 16, 16, "it belongs to another "
		    "database");
	if (h->counter != w->f.counter) {
		snprintf(text, sizeof(text), "it is segment %llx by its header",
		    (unsigned long long)h->counter);
		return report_other(w, 72, 8, text);
	}
	if (end->chained && (h->first_seq != end->seq + 1 ||
	    h->chain_before != end->chain)) {
		memset(&loss, 0, sizeof(loss));
		loss.text = "nothing";
		if (h->first_seq > end->seq + 1)
			loss = commits(w, end->seq + 1, h->first_seq - 1);
		end->chained = 1;
		return damage(w, 48, 16, &loss, "it does not continue what is "
		    "before it");
	}
	end->chained = 1;
	return 0;
}

/* Records that are not where they belong: whoever wants them, gets them, and
 * the log goes on as if they were not there. */
static int
walk_misplaced(struct walk *w)
{
	struct kv_log_end end = *w->end, *own = w->end;
	int rc;

	end.seq = w->f.head.first_seq - 1;
	end.chain = w->f.head.chain_before;
	end.chained = 1;
	w->end = &end;
	w->after.counter = 0;
	rc = walk_records(w, &w->f.head);
	w->end = own;
	if (end.seq > w->ck->last_seq)
		w->ck->last_seq = end.seq;
	return rc;
}

static int
walk_file(struct walk *w)
{
	struct kv_segment_head h = w->f.head;
	int rc, walk = 1;

	if (w->f.b == NULL) {
		w->ck->log_damaged = 1;
		w->end->chained = 0;
		return 0;
	}
	if (!w->f.head_ok) {
		if (is_unborn(w))
			return kv_found(w->ck, KEVO_NOTE, w->f.name, 0, 0,
			    NULL, "its creation was not finished; who opens "
			    "the database for writing removes it");
		rc = damage(w, 0, KV_SEGMENT_HEAD, NULL,
		    "bad segment header");
		mend_header(w, &h);
	} else
		rc = check_header(w, &walk);
	if (rc != 0 || !walk)
		return rc;
	if (w->f.head_ok && h.counter != w->f.counter)
		return walk_misplaced(w);
	return walk_records(w, &h);
}

/* ---- fast -------------------------------------------------------------- */

/* 1 if header and seal say all that is needed, 0 if they do not, or an
 * error. */
static int
skip_by_seal(struct walk *w)
{
	struct kv_check *ck = w->ck;
	uint8_t b[KV_SEGMENT_HEAD], e[KV_SEAL_LEN];
	struct kv_segment_head h;
	struct kv_seal s;
	uint64_t size;
	int fd, ok = 0;

	kv_segment_name(w->f.name, w->f.counter);
	fd = kv_openat(ck->db.dir.fd, w->f.name, O_RDONLY, 0);
	if (fd < 0)
		return 0;
	if (kv_file_stat(&ck->db.env, fd, w->f.name, &size, NULL, NULL) == 0
	    && size >= KV_SEGMENT_HEAD + KV_SEAL_LEN &&
	    pread(fd, b, sizeof(b), 0) == (ssize_t)sizeof(b) &&
	    pread(fd, e, sizeof(e), (off_t)(size - sizeof(e))) ==
	    (ssize_t)sizeof(e))
		ok = kv_segment_head_decode(b, &h) == 0 &&
		    kv_seal_decode(e, &s) == 0 && s.head_hash == h.hash &&
		    s.file_len == size && memcmp(h.id, ck->ident.id, 16) ==
		    0 && h.counter == w->f.counter && w->end->chained &&
		    h.first_seq == w->end->seq + 1 &&
		    h.chain_before == w->end->chain &&
		    s.last_seq + 1 == h.first_seq + s.records;
	close(fd);
	if (!ok)
		return 0;
	w->end->seq = s.last_seq;
	w->end->chain = s.chain;
	w->end->time_ns = s.time_ns;
	if (s.last_seq > ck->last_seq)
		ck->last_seq = s.last_seq;
	if (!ck->silent)
		ck->out->files++;
	return 1;
}

/* ---- the whole log ----------------------------------------------------- */

static int
report_missing(struct walk *w)
{
	struct kv_loss loss = commits(w, w->end->seq + 1, 0);

	if (kv_check_moved(w->ck))
		return KV_RETRY;
	w->end->chained = 0;
	/* Several in a row are lost as one. */
	if (w->after.counter != 0)
		w->end->seq = w->after.first_seq - 1;
	return damage(w, 0, 0, &loss, "missing");
}

static int
check_segment(struct walk *w, uint64_t counter, uint64_t last)
{
	struct kv_check *ck = w->ck;
	int rc;

	w->oldest = counter == ck->version->first_segment;
	w->last = counter == last;
	w->bounded = ck->live && w->last;
	w->reach = ck->limit;
	memset(&w->f, 0, sizeof(w->f));
	w->f.counter = counter;
	if (ck->fast && !w->last && w->taker == NULL && skip_by_seal(w))
		return 0;
	if ((rc = look_ahead(ck, counter, last, &w->after)) != 0)
		return rc;
	rc = load(ck, counter, &w->f);
	if (rc == KEVO_NOTFOUND) {
		kv_segment_name(w->f.name, counter);
		return report_missing(w);
	}
	if (rc != 0)
		return rc;
	if (!ck->silent)
		ck->out->files++;
	rc = walk_file(w);
	if (w->end->seq > ck->last_seq)
		ck->last_seq = w->end->seq;
	if (rc == 0 && w->taker != NULL)
		rc = w->taker->end(w->taker->arg, &w->f);
	release(&w->f);
	return rc;
}

/* The next counter that is worth a look, at most last: where many in a row
 * are missing, they are one finding. */
static uint64_t
next_counter(struct kv_check *ck, uint64_t c, uint64_t last)
{
	const struct kv_list *l = &ck->segments;

	if (kv_list_has(l, c))
		return c + 1;
	for (size_t i = 0; i < l->n; i++)
		if (l->v[i] > c && l->v[i] < last)
			return l->v[i];
	return last;
}

int
kv_check_segments(struct kv_check *ck, uint64_t first, uint64_t last,
    const struct kv_log_taker *taker, struct kv_log_end *end)
{
	struct walk w = { .ck = ck, .taker = taker, .end = end };
	uint64_t c = first;
	int rc;

	while ((rc = check_segment(&w, c, last)) == 0 && c < last)
		c = next_counter(ck, c, last);
	return rc;
}

static int
report_no_log(struct kv_check *ck)
{
	struct kv_loss loss = { .first_commit = ck->version->first_seq };
	char name[KV_SEGMENT_NAME_LEN];

	if (kv_check_moved(ck))
		return KV_RETRY;
	ck->log_damaged = 1;
	kv_segment_name(name, ck->version->first_segment);
	return kv_found(ck, KEVO_DAMAGE, name, 0, 0, &loss, "missing, and the "
	    "log begins with it");
}

int
kv_check_log(struct kv_check *ck)
{
	const struct kv_version *v = ck->version;
	struct kv_log_end end = { v->first_seq - 1, v->chain_before, 1,
		v->time_ns };
	uint64_t last = ck->segments.n == 0 ? 0 :
	    ck->segments.v[ck->segments.n - 1];
	uint64_t damages = ck->out->damages;
	int rc;

	ck->log_damaged = 0;
	if (ck->live)
		last = ck->active;
	if (last < v->first_segment)
		rc = report_no_log(ck);
	else
		rc = kv_check_segments(ck, v->first_segment, last, NULL,
		    &end);
	/* Somebody who builds a generation cuts the tail, and then writes. */
	if (rc == 0 && ck->out->damages != damages &&
	    kv_control_stamp(&ck->db.dir) != ck->stamp)
		return KV_RETRY;
	if (rc == 0 && end.time_ns > ck->last_time_ns)
		ck->last_time_ns = end.time_ns;
	return rc;
}
