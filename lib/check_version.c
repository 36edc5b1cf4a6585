#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "table.h"

/*
 * The version with the highest number is the truth.  If it is damaged, these
 * take its place, the first that can be had:
 *
 *   GUESSED  its own bytes still name tables that are there, and all of them
 *   BEFORE   the version before it, if nothing that it needs is gone: a new
 *            version only arranges otherwise what is there already
 *   NONE     all tables and segments there are.  What compaction had dropped
 *            may come back from a table that was no longer needed
 */

void
kv_check_forget_version(struct kv_check *ck)
{
	if (ck->held != NULL && ck->version != NULL)
		for (uint32_t i = 0; i < ck->version->ntables; i++)
			kv_table_unref(ck->held[i]);
	free(ck->held);
	ck->held = NULL;
	kv_version_unref(ck->version);
	ck->version = NULL;
	free(ck->state);
	ck->state = NULL;
}

/* ---- guessing ---------------------------------------------------------- */

struct open_tables {
	struct kv_table **table;
	struct kv_table_info *info;
	size_t n;
};

/* All tables with a sound end. */
static int
open_tables(struct kv_check *ck, struct open_tables *o)
{
	struct kv_env *env = &ck->db.env;
	int rc;

	memset(o, 0, sizeof(*o));
	o->table = calloc(ck->tables.n + 1, sizeof(o->table[0]));
	o->info = calloc(ck->tables.n + 1, sizeof(o->info[0]));
	if (o->table == NULL || o->info == NULL)
		return kv_fail(env, KEVO_ENOMEM, "out of memory");
	for (size_t i = 0; i < ck->tables.n; i++) {
		rc = kv_table_open(env, &ck->db.dir, ck->tables.v[i], 0, 0,
		    &o->table[o->n]);
		if (rc == KEVO_ECORRUPT || rc == KEVO_NOTFOUND)
			continue;
		if (rc != 0 || (rc = kv_table_info(env, o->table[o->n],
		    &o->info[o->n])) != 0)
			return rc;
		o->n++;
	}
	return 0;
}

static void
close_tables(struct open_tables *o)
{
	for (size_t i = 0; i < o->n; i++)
		kv_table_unref(o->table[i]);
	free(o->table);
	free(o->info);
}

/* Keep those open whose keys the version borrows. */
static int
hold_tables(struct kv_check *ck, const struct open_tables *o)
{
	struct kv_version *v = ck->version;

	ck->held = calloc(v->ntables + 1, sizeof(ck->held[0]));
	if (ck->held == NULL)
		return kv_fail(&ck->db.env, KEVO_ENOMEM, "out of memory");
	for (uint32_t i = 0; i < v->ntables; i++)
		for (size_t k = 0; k < o->n && ck->held[i] == NULL; k++)
			if (o->info[k].number == v->table[i].info.number)
				ck->held[i] = kv_table_ref(o->table[k]);
	return 0;
}

/* ---- where the log begins ---------------------------------------------- */

/* The sound header of this segment of ours.  1, 0 or an error. */
static int
read_head(struct kv_check *ck, uint64_t counter, struct kv_segment_head *h)
{
	int rc = kv_check_head(ck, counter, h);

	return rc == 1 ? h->counter == counter &&
	    memcmp(h->id, ck->ident.id, 16) == 0 : rc;
}

static int
begins_with(const struct kv_version *v, const struct kv_segment_head *h)
{
	return h->first_seq == v->first_seq &&
	    h->chain_before == v->chain_before;
}

/* The oldest segment that begins behind all tables.  1, 0 or an error. */
static int
find_log(struct kv_check *ck, uint64_t last_in_tables,
    struct kv_segment_head *out)
{
	int rc;

	for (size_t i = 0; i < ck->segments.n; i++) {
		if ((rc = read_head(ck, ck->segments.v[i], out)) < 0)
			return rc;
		if (rc == 1 && out->first_seq > last_in_tables)
			return 1;
	}
	return 0;
}

/* A number above that of every table that is there. */
static uint64_t
next_file(const struct kv_check *ck)
{
	return ck->tables.n > 0 ? ck->tables.v[ck->tables.n - 1] + 1 : 1;
}

/* The log as the version has it, if that can be; else as it is found. */
static int
correct_log(struct kv_check *ck, struct kv_version *v, uint64_t last)
{
	struct kv_segment_head h;
	int rc;

	if (v->first_seq > last && v->first_segment != 0) {
		rc = read_head(ck, v->first_segment, &h);
		if (rc < 0 || (rc == 1 && begins_with(v, &h)))
			return rc < 0 ? rc : 0;
	}
	if ((rc = find_log(ck, last, &h)) < 0)
		return rc;
	if (rc == 1) {
		v->first_segment = h.counter;
		v->first_seq = h.first_seq;
		v->chain_before = h.chain_before;
		v->time_ns = h.created_ns;
		return 0;
	}
	v->first_segment = ck->segments.n == 0 ? 1 :
	    ck->segments.v[ck->segments.n - 1] + 1;
	v->first_seq = last + 1;
	v->time_ns = 0;
	return 0;
}

/*
 * What the fields of a guessed version have to be, whatever they are.  Where
 * nothing else says so, the bytes are believed, but for a clock that may be
 * far ahead.
 */
static int
correct_fields(struct kv_check *ck, struct kv_version *v)
{
	uint64_t last = 0, next = next_file(ck);
	int rc;

	for (uint32_t i = 0; i < v->ntables; i++)
		if (v->table[i].info.max_seq > last)
			last = v->table[i].info.max_seq;
	if (v->next_file < next || v->next_file - next > (uint64_t)1 << 40)
		v->next_file = next;
	rc = correct_log(ck, v, last);
	v->last_seq = v->first_seq - 1;
	v->dropped_to = v->last_seq;
	if (v->time_ns > kv_now_ns())
		v->time_ns = 0;
	return rc;
}

/*
 * Levels that are wrong put an older record of a key before a newer one.  Is
 * each in the order in which a lookup meets them?
 */
static int
check_order(struct kv_check *ck, const struct kv_version *v, int *ordered)
{
	const struct kv_table_iter *it;
	struct kv_merge m;
	uint8_t *last = malloc(KEVO_KEY_MAX);
	size_t which, len = 0, at = 0;
	int rc;

	*ordered = 1;
	rc = kv_merge_init(&m, &ck->db.env, v->ntables);
	if (rc == 0 && last == NULL)
		rc = kv_fail(&ck->db.env, KEVO_ENOMEM, "out of memory");
	for (uint32_t i = 0; i < v->ntables && rc == 0; i++)
		rc = kv_merge_add(&m, &ck->db.dir, v->table[i].info.number);
	while (rc == 0 && *ordered &&
	    (rc = kv_merge_next(&m, &it, &which)) == 1) {
		if (it->op.klen == len && memcmp(it->op.key, last, len) == 0)
			*ordered = which > at;
		memcpy(last, it->op.key, it->op.klen);
		len = it->op.klen;
		at = which;
		rc = 0;
	}
	kv_merge_release(&m);
	free(last);
	return rc;
}

static int
guess_tables(struct kv_check *ck, const uint8_t *b, size_t len)
{
	struct kv_version *v;
	struct open_tables o;
	int rc, ordered = 1;

	if ((rc = open_tables(ck, &o)) != 0)
		goto out;
	v = kv_version_guess(b, len, ck->newest, o.info, o.n);
	if (v == NULL)
		goto out;
	if (!ck->fast)
		rc = check_order(ck, v, &ordered);
	if (rc != 0 || !ordered) {
		kv_version_unref(v);
		goto out;
	}
	ck->version = v;
	ck->base = KV_BASE_GUESSED;
	if ((rc = hold_tables(ck, &o)) == 0)
		rc = correct_fields(ck, v);
out:
	close_tables(&o);
	return rc;
}

static int
guess(struct kv_check *ck)
{
	char name[KV_VERSION_NAME_LEN], *b;
	size_t len;
	int rc;

	kv_version_name(name, ck->newest);
	rc = kv_read_small(&ck->db.env, &ck->db.dir, name, (size_t)1 << 30,
	    &b, &len);
	if (rc != 0)
		return rc == KEVO_ENODB || rc == KEVO_ENOTDB ||
		    rc == KEVO_ECORRUPT ? 0 : rc;
	if (kv_version_correct((uint8_t *)b, len) && kv_version_decode(
	    (uint8_t *)b, len, ck->ident.id, ck->newest,
	    &ck->version) == NULL) {
		ck->base = KV_BASE_GUESSED;
		return 0;	/* which has the bytes now */
	}
	rc = guess_tables(ck, (uint8_t *)b, len);
	free(b);
	return rc;
}

/* ---- the one before ---------------------------------------------------- */

/* 1, 0 or an error. */
static int
has_segments_from(struct kv_check *ck, const struct kv_version *v)
{
	const struct kv_list *l = &ck->segments;
	struct kv_segment_head h;
	size_t i = 0;
	int rc;

	while (i < l->n && l->v[i] < v->first_segment)
		i++;
	if (i == l->n || l->v[i] != v->first_segment || l->v[l->n - 1] -
	    l->v[i] != l->n - 1 - i)
		return 0;
	rc = read_head(ck, v->first_segment, &h);
	return rc == 1 ? begins_with(v, &h) : rc;
}

static int
has_tables_of(struct kv_check *ck, const struct kv_version *v)
{
	struct kv_table *t;
	int rc;

	for (uint32_t i = 0; i < v->ntables; i++) {
		const struct kv_table_info *n = &v->table[i].info;

		rc = kv_table_open(&ck->db.env, &ck->db.dir, n->number,
		    n->size, n->hash, &t);
		if (rc != 0)
			return rc == KEVO_NOTFOUND || rc == KEVO_ECORRUPT ?
			    0 : rc;
		kv_table_unref(t);
	}
	return 1;
}

static int
take_before(struct kv_check *ck)
{
	struct kv_version *v;
	int rc;

	rc = kv_version_read(&ck->db.env, &ck->db.dir, ck->ident.id,
	    ck->newest - 1, kv_chain_origin(&ck->ident), &v);
	if (rc != 0)
		return rc == KEVO_ECORRUPT || rc == KEVO_NOTFOUND ? 0 : rc;
	if ((rc = has_segments_from(ck, v)) != 1 ||
	    (rc = has_tables_of(ck, v)) != 1) {
		kv_version_unref(v);
		return rc;
	}
	ck->base = KV_BASE_BEFORE;
	ck->version = v;
	return 0;
}

/* ---- none -------------------------------------------------------------- */

static int
take_none(struct kv_check *ck)
{
	struct kv_version *v = calloc(1, sizeof(*v));
	struct open_tables o;
	uint64_t last = 0;
	int rc;

	if (v == NULL)
		return kv_fail(&ck->db.env, KEVO_ENOMEM, "out of memory");
	v->refs = 1;
	v->number = ck->newest;
	ck->base = KV_BASE_NONE;
	ck->version = v;
	if ((rc = open_tables(ck, &o)) == 0)
		for (size_t i = 0; i < o.n; i++)
			if (o.info[i].max_seq > last)
				last = o.info[i].max_seq;
	close_tables(&o);
	if (rc != 0)
		return rc;
	v->next_file = next_file(ck);
	rc = correct_log(ck, v, last);
	v->last_seq = v->dropped_to = v->first_seq - 1;
	return rc;
}

/* ---- choosing ---------------------------------------------------------- */

static int
choose(struct kv_check *ck)
{
	static const struct kv_loss loss[] = {
		[KV_BASE_NEWEST] = { .text = NULL },
		[KV_BASE_GUESSED] = { .text = "nothing: its bytes and the "
		    "tables tell what it said" },
		[KV_BASE_BEFORE] = { .text = "nothing: all that the version "
		    "before it names is there" },
		[KV_BASE_NONE] = { .text = "which tables and segments count; "
		    "records that compaction had dropped may be seen again" }
	};
	struct kv_env said = ck->db.env;
	char name[KV_VERSION_NAME_LEN];
	int rc;

	ck->base = KV_BASE_NONE;
	if ((rc = guess(ck)) != 0 ||
	    (ck->version == NULL && (rc = take_before(ck)) != 0) ||
	    (ck->version == NULL && (rc = take_none(ck)) != 0))
		return rc;
	snprintf(name, sizeof(name), "version");
	if (ck->newest != 0)
		kv_version_name(name, ck->newest);
	ck->db.env = said;
	return kv_found_error(ck, name, &loss[ck->base]);
}

/* The one before the newest is there for a repair alone. */
static int
check_before(struct kv_check *ck)
{
	static const struct kv_loss nothing = { .text = "nothing" };
	char name[KV_VERSION_NAME_LEN];
	struct kv_version *v;
	int rc;

	if (ck->newest < 2 || !kv_list_has(&ck->versions, ck->newest - 1))
		return 0;
	rc = kv_version_read(&ck->db.env, &ck->db.dir, ck->ident.id,
	    ck->newest - 1, 0, &v);
	if (rc == 0) {
		kv_version_unref(v);
		return 0;
	}
	if (rc == KEVO_NOTFOUND)
		return 0;
	if (rc != KEVO_ECORRUPT)
		return rc;
	kv_version_name(name, ck->newest - 1);
	rc = kv_found_error(ck, name, &nothing);
	return rc != 0 ? rc : kv_list_add(ck, &ck->bad_versions,
	    ck->newest - 1);
}

/* Is a version that there must have been gone, and all others with it? */
static int
lacks_all(const struct kv_check *ck)
{
	return ck->newest == 0 && ck->segments.n + ck->tables.n > 0 &&
	    !kv_list_has(&ck->segments, 1);
}

/* Is there a whole table that was made after this version?  1, 0 or an
 * error. */
static int
has_newer_table(struct kv_check *ck)
{
	const struct kv_list *l = &ck->tables;
	struct kv_table *t;
	int rc;

	for (size_t i = l->n; i-- > 0 &&
	    l->v[i] >= ck->version->next_file;) {
		rc = kv_table_open(&ck->db.env, &ck->db.dir, l->v[i], 0, 0,
		    &t);
		if (rc == 0) {
			kv_table_unref(t);
			return 1;
		}
		if (rc != KEVO_ECORRUPT && rc != KEVO_NOTFOUND)
			return rc;
	}
	return 0;
}

static int
has_all_files(const struct kv_check *ck)
{
	const struct kv_version *v = ck->version;

	if (!kv_list_has(&ck->segments, v->first_segment))
		return 0;
	for (uint32_t i = 0; i < v->ntables; i++)
		if (!kv_list_has(&ck->tables, v->table[i].info.number))
			return 0;
	return 1;
}

/*
 * What replaces a version removes files that the version needs.  If some of
 * them are gone, and a newer table is there, then it is not the newest one,
 * but what has replaced it is lost.  Where control is in use, it names the
 * newest one.
 */
static int
look_for_newer(struct kv_check *ck)
{
	int rc;

	if (ck->live || has_all_files(ck) ||
	    (rc = has_newer_table(ck)) == 0)
		return 0;
	if (rc < 0)
		return rc;
	kv_version_unref(ck->version);
	ck->version = NULL;
	ck->newest++;
	return kv_fail(&ck->db.env, KEVO_ECORRUPT, "missing, and there are "
	    "tables of it");
}

static int
read_newest(struct kv_check *ck)
{
	struct kv_env *env = &ck->db.env;
	int rc;

	if (lacks_all(ck))
		rc = kv_fail(env, KEVO_ECORRUPT, "missing, and the log does "
		    "not begin with its first segment");
	else
		rc = kv_version_read(env, &ck->db.dir, ck->ident.id,
		    ck->newest, kv_chain_origin(&ck->ident), &ck->version);
	if (rc == KEVO_NOTFOUND && kv_check_moved(ck))
		return KV_RETRY;
	if (rc == KEVO_NOTFOUND)
		rc = kv_fail(env, KEVO_ECORRUPT, "missing, and shm/control "
		    "names it");
	if (rc == KEVO_ECORRUPT && kv_list_has(&ck->versions, ck->newest) &&
	    (rc = kv_list_add(ck, &ck->bad_versions, ck->newest)) == 0)
		rc = KEVO_ECORRUPT;
	return rc != 0 ? rc : look_for_newer(ck);
}

int
kv_check_version(struct kv_check *ck)
{
	int rc;

	ck->bad_versions.n = 0;
	ck->base = KV_BASE_NEWEST;
	if ((rc = read_newest(ck)) == KEVO_ECORRUPT)
		rc = choose(ck);
	if (rc != 0 || (rc = check_before(ck)) != 0)
		return rc;
	if (!ck->silent && ck->newest != 0)
		ck->out->files++;
	ck->state = calloc(ck->version->ntables + 1, sizeof(ck->state[0]));
	if (ck->state == NULL)
		return kv_fail(&ck->db.env, KEVO_ENOMEM, "out of memory");
	return 0;
}
