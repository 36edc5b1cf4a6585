#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "db.h"
#include "position.h"
#include "ship/archive.h"
#include "ship/image.h"
#include "ship/link.h"
#include "ship/ship.h"
#include "ship/tail.h"
#include "slots.h"
#include "walship.h"
#include "walship_archive.h"
#include "walship_known.h"
#include "walship_status.h"

/* ---- gaps -------------------------------------------------------------- */

static void
add_gap(struct walship_status *s, const struct walship_known *k,
    uint64_t first, uint64_t last)
{
	int known = walship_known_covers(k, first, last);

	if (!known)
		s->gaps++;
	if (s->ngap < WALSHIP_GAPS)
		s->gap[s->ngap++] = (struct walship_gap){ first, last, known };
}

/* The segments of one epoch, up to its end; *covered is the last commit that
 * is there without a gap before it that was not told. */
static size_t
walk_epoch(struct walship_status *s, const struct kv_archive *a,
    const struct walship_known *k, size_t i, uint64_t end, uint64_t *covered)
{
	uint32_t epoch = a->seg[i].epoch;
	uint64_t last;

	for (; i < a->nseg && a->seg[i].epoch == epoch; i++) {
		if (a->seg[i].first > end)
			continue;
		if (a->seg[i].first > *covered + 1)
			add_gap(s, k, *covered + 1, a->seg[i].first - 1);
		last = a->seg[i].last < end ? a->seg[i].last : end;
		if (last > *covered)
			*covered = last;
	}
	return i;
}

static void
find_gaps(struct walship_status *s, struct kv_archive *a)
{
	const struct kv_epoch *next;
	struct walship_known k;
	uint64_t covered;
	size_t i = 0;
	int rc;

	if ((rc = walship_known_read(a, &k)) != 0)
		walship_archive_fail(a, rc);
	for (; i < a->nseg; i++)
		if (!kv_archive_is_lost(a, a->seg[i].epoch, a->seg[i].first))
			break;
	covered = i < a->nseg ? a->seg[i].first - 1 : 0;
	s->first = i < a->nseg ? covered + 1 : 0;
	while (i < a->nseg) {
		next = kv_history_next(&a->history, a->seg[i].epoch);
		i = walk_epoch(s, a, &k, i, next != NULL ? next->start :
		    UINT64_MAX, &covered);
	}
	s->last_sealed = covered;
	free(k.v);
}

/* ---- other files ------------------------------------------------------- */

static int
count_one(void *arg, const char *name)
{
	uint64_t *n = arg;

	*n += strcmp(name, "REASON") != 0;
	return 0;
}

static uint64_t
count(struct kv_archive *a, const char *sub)
{
	uint64_t n = 0;
	int rc = kv_archive_each(a, sub, count_one, &n);

	if (rc != 0)
		walship_archive_fail(a, rc);
	return n;
}

/* Segments of the log with commits that lost a promotion: they came before
 * its epoch did, and are in wal/. */
static uint64_t
count_lost(struct kv_archive *a)
{
	char name[KV_SHIP_NAME_LEN], file[KV_SHIP_NAME_LEN + 16];
	const struct kv_archive_seg *s = a->seg;
	uint64_t n = 0;

	for (size_t i = 0; i < a->nseg; i++, s++) {
		if (!kv_archive_is_lost(a, s->epoch, s->last))
			continue;
		kv_ship_name(name, s->epoch, s->first, s->last);
		snprintf(file, sizeof(file), "orphans/%s", name);
		n += faccessat(a->dir.fd, file, F_OK, 0) != 0;
	}
	return n;
}

/* "2026-11-22T14:03:11Z good ..." at the beginning of a line. */
static void
look_at_drill(struct walship_status *s, const char *line)
{
	struct tm tm;
	uint64_t ms, now = s->now_ns / 1000000u;
	int n = 0;

	memset(&tm, 0, sizeof(tm));
	if (sscanf(line, "%4d-%2d-%2dT%2d:%2d:%2dZ good%n", &tm.tm_year,
	    &tm.tm_mon, &tm.tm_mday, &tm.tm_hour, &tm.tm_min, &tm.tm_sec,
	    &n) != 6 || n == 0)
		return;
	tm.tm_year -= 1900;
	tm.tm_mon -= 1;
	ms = (uint64_t)timegm(&tm) * 1000u;
	s->drill_ms = now > ms ? now - ms : 0;
}

static void
find_drill(struct walship_status *s, struct kv_archive *a)
{
	char *text, *line, *save = NULL;
	int rc;

	s->drill_ms = WALSHIP_UNKNOWN;
	rc = kv_archive_get_state(a, "drills", &text);
	if (rc == KEVO_ENODB)
		return;
	if (rc != 0)
		walship_archive_fail(a, rc);
	for (line = strtok_r(text, "\n", &save); line != NULL;
	    line = strtok_r(NULL, "\n", &save))
		look_at_drill(s, line);
	free(text);
}

/* ---- lag --------------------------------------------------------------- */

static uint64_t
age_ms(const struct walship_status *s, uint64_t ns)
{
	return s->now_ns > ns ? (s->now_ns - ns) / 1000000u : 0;
}

/* When the newest commit was made that the archive has sealed. */
static uint64_t
last_time(struct kv_archive *a, const struct kv_position *at)
{
	const struct kv_archive_seg *seg = kv_archive_find(a, at->epoch,
	    at->seq);
	struct kv_image img;
	uint64_t ns;

	if (seg == NULL || kv_archive_load(a, seg, &img) != 0)
		return 0;
	ns = img.last_ns;
	kv_image_release(&img);
	return ns;
}

/* A receiver that runs knows it best.  1: there is one, and the link is up. */
static int
find_link(struct walship_status *s, struct kv_env *env,
    const struct kv_dir *dir, const char *name)
{
	struct kv_link l;
	int64_t ms;

	s->lag_commits = s->lag_bytes = WALSHIP_UNKNOWN;
	s->lag_ms = s->contact_ms = WALSHIP_UNKNOWN;
	if (kv_link_read(env, dir, name, &l) != 0 || l.contact_ns == 0)
		return 0;
	if ((ms = kv_link_lag_ms(&l)) < 0)
		return 0;
	s->contact_ms = age_ms(s, l.contact_ns);
	s->lag_commits = l.primary_seq > l.seq ? l.primary_seq - l.seq : 0;
	s->lag_bytes = l.behind_bytes;
	s->lag_ms = (uint64_t)ms;
	return 1;
}

/*
 * All that the source had when it was heard of last is here: then the archive
 * is as old as that.  Else it is as old as the newest commit that it has.
 */
static void
find_lag(struct walship_status *s, struct kv_archive *a, uint64_t last_ns)
{
	struct kv_position source;
	uint64_t when;

	if (find_link(s, &a->env, &a->dir, KV_LINK_ARCHIVE) ||
	    walship_source_read(a, &source, &when) != 0)
		return;
	s->contact_ms = age_ms(s, when);
	s->lag_commits = source.seq > s->at.seq ? source.seq - s->at.seq : 0;
	s->lag_ms = s->contact_ms;
	s->lag_bytes = s->lag_commits == 0 ? 0 : WALSHIP_UNKNOWN;
	if (s->lag_commits == 0)
		return;
	if (last_ns == 0)
		last_ns = last_time(a, &s->at);
	s->lag_ms = last_ns != 0 ? age_ms(s, last_ns) : WALSHIP_UNKNOWN;
}

/* ---- archive ----------------------------------------------------------- */

static uint64_t
find_position(struct walship_status *s, struct kv_archive *a)
{
	struct kv_image tail;
	uint64_t ns;
	int rc;

	if ((rc = kv_archive_position(a, &s->at)) != 0)
		walship_archive_fail(a, rc);
	rc = kv_tail_load(a, &tail, NULL, 0);
	if (rc == KEVO_NOTFOUND)
		return 0;
	if (rc != 0)
		walship_archive_fail(a, rc);
	s->tail_commits = tail.last_seq - s->at.seq;
	s->at = (struct kv_position){ tail.head.epoch, tail.head.nonce,
		tail.last_seq, tail.chain };
	ns = tail.last_ns;
	kv_image_release(&tail);
	return ns;
}

void
walship_status_archive(const char *path, struct walship_status *s)
{
	struct kv_archive *a = walship_archive_open(path);
	uint64_t last_ns;
	int rc;

	memset(s, 0, sizeof(*s));
	s->path = path;
	s->is_archive = 1;
	s->now_ns = kv_now_ns();
	memcpy(s->id, a->id, sizeof(s->id));
	if ((rc = kv_archive_list(a)) != 0)
		walship_archive_fail(a, rc);
	s->segments = a->nseg;
	find_gaps(s, a);
	last_ns = find_position(s, a);
	find_lag(s, a, last_ns);
	s->orphans = count(a, "orphans") + count_lost(a);
	s->rejected = count(a, "state/reject");
	s->incoming = count(a, "state/incoming");
	find_drill(s, a);
	kv_archive_close(a);
}

/* ---- database ---------------------------------------------------------- */

static int
add_slot(void *arg, const struct kv_slots_info *info)
{
	struct walship_status *s = arg;

	if (s->nslots < WALSHIP_SLOTS)
		s->slot[s->nslots++] = *info;
	return 0;
}

void
walship_status_db(const char *path, struct walship_status *s)
{
	struct cli_open_opts open = { KEVO_RDONLY, NULL, NULL, NULL };
	struct kevo *db = cli_open(path, &open);
	struct kevo_stats st;
	int rc;

	memset(s, 0, sizeof(*s));
	s->path = path;
	s->now_ns = kv_now_ns();
	s->drill_ms = WALSHIP_UNKNOWN;
	find_link(s, &db->env, &db->dir, KV_LINK_DB);
	if ((rc = kevo_stats(db, &st)) != 0 ||
	    (rc = kv_position_now(db, KV_AT_SYNCED, &s->at)) != 0 ||
	    (rc = kv_role_read(&db->env, &db->dir, &s->role)) != 0 ||
	    (rc = kv_slots_each(db, add_slot, s)) != 0)
		cli_fail(db, rc);
	memcpy(s->id, st.id, sizeof(s->id));
	kevo_close(db);
}
