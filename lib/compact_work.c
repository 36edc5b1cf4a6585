#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "compact.h"
#include "count.h"
#include "key.h"
#include "lock.h"

/* Progress is told, and the rate kept to, about this often. */
#define STEP_BYTES	((uint64_t)256 << 10)
#define TELL_MS		100
#define NAP_NS		20000000

/* ---- one call's work --------------------------------------------------- */

void
kv_work_init(struct kv_work *w, struct kevo *db, const struct kevo_compact *c)
{
	memset(w, 0, sizeof(*w));
	w->db = db;
	if (c != NULL)
		w->c = *c;
	if (w->c.max_ms > 0)
		w->until_ms = kv_mono_ms() + w->c.max_ms;
	w->rate = w->c.rate != 0 ? w->c.rate :
	    kv_setting(db->ctl, KV_SET_COMPACTION_RATE);
	w->paid_ns = (int64_t)kv_mono_ns();
	w->told_ms = kv_mono_ms();
}

void
kv_work_release(struct kv_work *w)
{
	free(w->taken);
}

int
kv_work_check(struct kv_work *w)
{
	struct kevo *db = w->db;
	int rc = kv_lock_check(db);

	if (rc != 0)
		return rc;
	if (atomic_load_explicit(&db->ctl->retired, memory_order_acquire) ||
	    atomic_load_explicit(&db->ctl->failed, memory_order_acquire) ||
	    !kv_control_linked(&db->env, db->ctl_fd))
		return kv_attach(db, kv_deadline(db));
	return 0;
}

int
kv_work_tell(struct kv_work *w)
{
	int64_t now = kv_mono_ms();

	if (w->c.progress == NULL || now - w->told_ms < TELL_MS)
		return 0;
	w->told_ms = now;
	if (w->c.progress(w->c.arg, &w->p) == 0)
		return 0;
	return kv_fail(&w->db->env, KEVO_FALSE, "%s: compaction was ended",
	    w->db->path);
}

/* Sleep until what is written is allowed, in slices, so that an order to end
 * is heard. */
static int
keep_pace(struct kv_work *w, uint64_t bytes)
{
	int64_t now = (int64_t)kv_mono_ns(), left;
	int rc;

	if (w->paid_ns < now - NAP_NS)
		w->paid_ns = now - NAP_NS;	/* nothing is saved up */
	w->paid_ns += (int64_t)((double)bytes * 1e9 / (double)w->rate);
	while ((left = w->paid_ns - (int64_t)kv_mono_ns()) > 0) {
		struct timespec ts = { 0, left < NAP_NS ? left : NAP_NS };

		nanosleep(&ts, NULL);
		if ((rc = kv_work_tell(w)) != 0)
			return rc;
	}
	return 0;
}

/* A merge may take long, and the log grows meanwhile. */
static int
flush_between(struct kv_work *w)
{
	uint64_t n;
	int rc;

	if (!w->merging || kv_sealed_now(w->db) < kv_setting(w->db->ctl,
	    KV_SET_MEMTABLES))
		return 0;
	w->merging = 0;
	if ((rc = kv_flush(w, &n)) == 0 && n > 0)
		rc = kv_sweep(w);
	w->merging = 1;
	return rc;
}

int
kv_work_step(struct kv_work *w, uint64_t bytes_read, uint64_t bytes_written)
{
	int rc;

	w->p.bytes_read += bytes_read;
	w->p.bytes_written += bytes_written;
	w->untold += bytes_read + bytes_written;
	if (w->rate != 0 && bytes_written > 0 &&
	    (rc = keep_pace(w, bytes_written)) != 0)
		return rc;
	if (w->untold < STEP_BYTES)
		return 0;
	w->untold = 0;
	if (w->flushing)
		kv_flush_beat(w);
	if ((rc = flush_between(w)) != 0)
		return rc;
	return kv_work_tell(w);
}

void
kv_work_mark(const struct kv_work *w, struct kv_mark *m)
{
	m->began_ns = kv_mono_ns();
	m->p = w->p;
	m->deleted = w->deleted;
	m->expired = w->expired;
}

/* What was done since a mark. */
static struct kv_mark
since(const struct kv_work *w, const struct kv_mark *m)
{
	struct kv_mark d;

	memset(&d, 0, sizeof(d));
	d.began_ns = kv_mono_ns() - m->began_ns;
	d.p.bytes_read = w->p.bytes_read - m->p.bytes_read;
	d.p.bytes_written = w->p.bytes_written - m->p.bytes_written;
	d.p.dropped = w->p.dropped - m->p.dropped;
	d.deleted = w->deleted - m->deleted;
	d.expired = w->expired - m->expired;
	return d;
}

/* Leave it out of the merge in hand, if there is one. */
static void
leave_out(struct kv_mark *merge, const struct kv_mark *d)
{
	merge->began_ns += d->began_ns;
	merge->p.bytes_read += d->p.bytes_read;
	merge->p.bytes_written += d->p.bytes_written;
	merge->p.dropped += d->p.dropped;
	merge->deleted += d->deleted;
	merge->expired += d->expired;
}

void
kv_work_count(struct kv_work *w, const struct kv_mark *m, int flush)
{
	struct kv_control *c = w->db->ctl;
	struct kv_mark d = since(w, m);

	kv_count(c, flush ? KV_STAT_FLUSHES : KV_STAT_COMPACTIONS, 1);
	kv_count(c, flush ? KV_STAT_FLUSH_READ : KV_STAT_COMPACT_READ,
	    d.p.bytes_read);
	kv_count(c, flush ? KV_STAT_FLUSH_WRITTEN : KV_STAT_COMPACT_WRITTEN,
	    d.p.bytes_written);
	kv_count(c, KV_STAT_DROP_OLDER, d.p.dropped - d.deleted - d.expired);
	kv_count(c, KV_STAT_DROP_DELETED, d.deleted);
	kv_count(c, KV_STAT_DROP_EXPIRED, d.expired);
	kv_time(c, flush ? KV_HIST_FLUSH : KV_HIST_COMPACT, d.began_ns);
	kv_stamp(c, flush ? KV_STAT_FLUSH_LAST_NS : KV_STAT_COMPACT_LAST_NS,
	    kv_now_ns());
	if (flush)
		leave_out(&w->merge, &d);
}

int
kv_work_may_begin(const struct kv_work *w)
{
	if (w->c.max_bytes != 0 && w->p.bytes_read >= w->c.max_bytes)
		return 0;
	return w->until_ms == 0 || kv_mono_ms() < w->until_ms;
}

uint64_t
kv_room_for(uint64_t bytes)
{
	/* Indexes and ends of blocks. */
	return bytes + bytes / 16 + ((uint64_t)64 << 10);
}

int
kv_work_room(struct kv_work *w, uint64_t bytes, const char *what)
{
	struct kevo *db = w->db;
	uint64_t left;
	int rc;

	if ((rc = kv_free_bytes(&db->env, &db->dir, &left)) != 0)
		return rc;
	bytes = kv_room_for(bytes);
	if (bytes <= left)
		return 0;
	w->no_room = what;
	w->bytes_needed = bytes;
	w->bytes_free = left;
	return KV_RETRY;
}

int
kv_work_no_room(struct kv_work *w)
{
	return kv_fail(&w->db->env, KEVO_EIO, "%s: not enough room to %s: %llu"
	    " bytes are needed, %llu are free", w->db->path, w->no_room,
	    (unsigned long long)w->bytes_needed,
	    (unsigned long long)w->bytes_free);
}

/* ---- versions ---------------------------------------------------------- */

int
kv_newest_version(struct kevo *db, struct kv_version **out)
{
	struct kv_ident ident;
	uint64_t n, last = UINT64_MAX;
	int rc;

	memcpy(ident.id, db->ctl->id, sizeof(ident.id));
	ident.nonce = db->ctl->nonce;
	for (;;) {
		if ((rc = kv_version_newest(&db->env, &db->dir, &n)) != 0)
			return rc;
		/* What is added while a directory is read may be missed. */
		if (n < atomic_load(&db->ctl->version))
			n = atomic_load(&db->ctl->version);
		rc = kv_version_read(&db->env, &db->dir, db->ctl->id, n,
		    kv_chain_origin(&ident), out);
		if (rc != KEVO_NOTFOUND)
			break;
		/* It is old already, and swept away. */
		if (n == last)
			return kv_fail(&db->env, KEVO_ECORRUPT, "%s: version "
			    "%llx cannot be opened", db->path,
			    (unsigned long long)n);
		last = n;
	}
	if (rc == 0 && (rc = kv_announce(db, *out)) != 0)
		kv_version_unref(*out);
	return rc;
}

int
kv_levels_overlap(const struct kv_version *v, uint32_t from, uint32_t to,
    const uint8_t *first, size_t first_len, const uint8_t *last,
    size_t last_len)
{
	for (uint32_t level = from; level <= to && level < KV_LEVELS; level++) {
		uint32_t i = v->level_start[level];
		uint32_t end = v->level_start[level + 1];

		if (level > 0)
			i = kv_version_find(v, level, first, first_len);
		for (; i < end; i++) {
			const struct kv_table_info *t = &v->table[i].info;

			if (kv_key_cmp(t->first, t->first_len, last,
			    last_len) <= 0 && kv_key_cmp(t->last, t->last_len,
			    first, first_len) >= 0)
				return 1;
			if (level > 0)
				break;
		}
	}
	return 0;
}

static const struct kv_vtable *
find_table(const struct kv_version *v, uint64_t number)
{
	for (uint32_t i = 0; i < v->ntables; i++)
		if (v->table[i].info.number == number)
			return &v->table[i];
	return NULL;
}

/* Is all that the change takes away still there? */
static int
applies(const struct kv_version *v, const struct kv_change *ch)
{
	for (size_t i = 0; i < ch->ndrop; i++)
		if (find_table(v, ch->drop[i]) == NULL)
			return 0;
	return ch->flushed == NULL ||
	    v->first_segment == ch->flushed->from_segment;
}

/* Is it part of a version that came later? */
static int
is_part_of(const struct kv_version *v, const struct kv_change *ch)
{
	for (size_t i = 0; i < ch->nadd; i++) {
		const struct kv_vtable *t = find_table(v,
		    ch->add[i].info.number);

		if (t == NULL || t->level != ch->add[i].level)
			return 0;
	}
	for (size_t i = 0; i < ch->ndrop; i++) {
		const struct kv_vtable *t = find_table(v, ch->drop[i]);
		size_t k = 0;

		while (k < ch->nadd && ch->add[k].info.number != ch->drop[i])
			k++;
		if (t != NULL && k == ch->nadd)
			return 0;
	}
	return ch->flushed == NULL ||
	    v->first_segment >= ch->flushed->first_segment;
}

/* A flush may have found nothing beside its tables, and now there is. */
static void
settle_level(const struct kv_version *v, struct kv_change *ch)
{
	int beside = 0;

	for (size_t i = 0; i < ch->nadd; i++) {
		const struct kv_table_info *t = &ch->add[i].info;

		beside |= kv_levels_overlap(v, 0, ch->add[i].level, t->first,
		    t->first_len, t->last, t->last_len);
	}
	for (size_t i = 0; beside && i < ch->nadd; i++)
		ch->add[i].level = 0;
}

static int
install_on(struct kevo *db, const struct kv_version *v,
    const struct kv_change *ch)
{
	struct kv_version_edit e = { .base = v, .drop = ch->drop,
		.ndrop = ch->ndrop, .add = ch->add, .nadd = ch->nadd,
		.last_seq = v->last_seq, .dropped_to = v->dropped_to,
		.first_segment = v->first_segment, .first_seq = v->first_seq,
		.chain_before = v->chain_before, .time_ns = v->time_ns };

	if (ch->flushed != NULL) {
		e.first_segment = ch->flushed->first_segment;
		e.first_seq = ch->flushed->first_seq;
		e.last_seq = e.first_seq - 1;
		e.chain_before = ch->flushed->chain_before;
		e.time_ns = ch->flushed->time_ns;
	}
	if (ch->dropped_to > e.dropped_to)
		e.dropped_to = ch->dropped_to;
	e.next_file = atomic_load_explicit(&db->ctl->next_file,
	    memory_order_relaxed);
	if (v->next_file > e.next_file)
		e.next_file = v->next_file;
	for (size_t i = 0; i < ch->nadd; i++)
		if (ch->add[i].info.number >= e.next_file)
			e.next_file = ch->add[i].info.number + 1;
	return kv_version_install(&db->env, &db->dir, db->ctl->id,
	    db->ctl->mode, &e, NULL);
}

/*
 * The base may be so old that its successor was installed and swept away
 * again: then its number is free, and the link succeeds beside a version
 * that is newer.  So look: what is the newest version now has our change in
 * it, as its own or its ancestor's, or the change was not made.
 */
int
kv_install(struct kv_work *w, struct kv_version **v, struct kv_change *ch)
{
	struct kevo *db = w->db;
	struct kv_version *out;
	int rc;

	if ((rc = kv_work_check(w)) != 0)
		return rc;
	for (;;) {
		if (!applies(*v, ch))
			return KV_RETRY;
		if (ch->flushed != NULL)
			settle_level(*v, ch);
		rc = install_on(db, *v, ch);
		if (rc != 0 && rc != KEVO_FALSE)
			return rc;
		if (rc == 0)
			w->durable = (*v)->number + 1;
		if ((rc = kv_newest_version(db, &out)) != 0)
			return rc;
		kv_version_unref(*v);
		*v = out;
		if (is_part_of(out, ch)) {
			kv_count(db->ctl, KV_STAT_VERSIONS, 1);
			return 0;
		}
	}
}
