/*
 * An archive that is missing is made when the first epoch arrives; what knows
 * how to add to one is tail.h.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "archive.h"
#include "coding.h"
#include "dest.h"
#include "kevo.h"
#include "record.h"
#include "ship.h"
#include "sink.h"

struct dest_archive {
	struct kv_dest k;
	struct kv_env env;
	const char *path;
	struct kv_archive *a;	/* NULL: there is none yet */
	struct kv_sink *sink;
	int zstd;
	uint8_t id[16];		/* of the stream */
};

/* The archive's sentence becomes ours. */
static int
pass(struct dest_archive *s, int rc)
{
	if (rc != 0 && s->a != NULL)
		s->env = s->a->env;
	return rc;
}

/* The archive is there: lock it, and go on where it ends. */
static int
go_on(struct dest_archive *s)
{
	int rc;

	if ((rc = kv_archive_lock(s->a, "recv")) != 0 ||
	    (rc = kv_sink_open(s->a, s->zstd, &s->sink)) != 0)
		return pass(s, rc);
	kv_sink_position(s->sink, &s->k.at);
	return 0;
}

static int
wrong_db(struct dest_archive *s, const uint8_t theirs[16],
    const uint8_t ours[16])
{
	char t[37], o[37];

	kv_id_print(t, theirs);
	kv_id_print(o, ours);
	return kv_ship_fail(&s->env, KV_SHIP_WRONG_DB, "stream: the input is "
	    "%s, %s is %s; nothing was written", t, s->path, o);
}

static int
archive_begin(struct kv_dest *k, const struct kv_hello *h)
{
	struct dest_archive *s = (struct dest_archive *)k;

	memcpy(s->id, h->id, 16);
	if (s->a != NULL && memcmp(s->a->id, h->id, 16) != 0)
		return wrong_db(s, h->id, s->a->id);
	if (k->at.epoch == 0)
		return 0;
	if (h->start.seq > k->at.seq)
		return kv_ship_fail(&s->env, KV_SHIP_GAP, "%s: need %" PRIu64
		    ", the stream begins with %" PRIu64 "; nothing was "
		    "written; next: begin earlier", s->path, k->at.seq + 1,
		    h->start.seq + 1);
	if (h->start.seq == k->at.seq && h->start.epoch == k->at.epoch &&
	    h->start.chain != k->at.chain)
		return kv_ship_fail(&s->env, KV_SHIP_FORK, "%s: at commit %"
		    PRIu64 ": we have chain %016" PRIx64 " (epoch %" PRIu32
		    "), the input has %016" PRIx64 " (epoch %" PRIu32 "): two"
		    " writers or a cloned disk; nothing was written", s->path,
		    k->at.seq, k->at.chain, k->at.epoch, h->start.chain,
		    h->start.epoch);
	return 0;
}

static int
archive_epoch(struct kv_dest *k, const char *text, size_t len)
{
	struct dest_archive *s = (struct dest_archive *)k;
	const char *why;
	struct kv_epoch e;
	int rc;

	if (kv_epoch_parse(text, len, &e, &why) != 0)
		return kv_ship_fail(&s->env, KV_SHIP_CORRUPT, "stream: an "
		    "epoch file: %s", why);
	if (memcmp(e.db, s->id, 16) != 0)
		return wrong_db(s, e.db, s->id);
	if (s->a != NULL) {
		rc = kv_archive_put_epoch(s->a, &e);
		return rc == KEVO_FALSE ? 0 : pass(s, rc);
	}
	rc = kv_archive_create(s->path, &e, &s->a);
	return rc != 0 ? pass(s, rc) : go_on(s);
}

static int
archive_segment(struct kv_dest *k, const struct kv_segment_head *h,
    const uint8_t *raw, uint64_t after)
{
	struct dest_archive *s = (struct dest_archive *)k;

	(void)h;
	if (s->a == NULL)
		return kv_ship_fail(&s->env, KV_SHIP_CORRUPT, "stream: a "
		    "segment came before its epoch");
	return pass(s, kv_sink_head(s->sink, raw, after));
}

static int
archive_records(struct kv_dest *k, const struct kv_position *before,
    const uint8_t *p, size_t len)
{
	struct dest_archive *s = (struct dest_archive *)k;

	(void)before;
	k->time_ns = kv_dest_last_time(p, len);
	return pass(s, kv_sink_records(s->sink, p, len));
}

static int
archive_seal(struct kv_dest *k, const uint8_t *seal)
{
	struct dest_archive *s = (struct dest_archive *)k;
	int rc = kv_sink_seal(s->sink, seal);

	return rc == KEVO_FALSE ? 0 : pass(s, rc);
}

static int
archive_sync(struct kv_dest *k)
{
	struct dest_archive *s = (struct dest_archive *)k;
	int rc;

	if ((rc = kv_sink_flush(s->sink)) != 0)
		return pass(s, rc);
	kv_sink_position(s->sink, &k->at);
	return 0;
}

static int
archive_beat(struct kv_dest *k, const struct kv_beat *b)
{
	struct dest_archive *s = (struct dest_archive *)k;

	return s->a == NULL ? 0 : kv_dest_orphans(&s->env, &s->a->history,
	    &b->end, s->path);
}

int
kv_dest_archive_open(const char *path, int zstd, struct kv_dest **out)
{
	struct dest_archive *s = calloc(1, sizeof(*s));
	int rc;

	if (s == NULL)
		return KEVO_ENOMEM;
	s->path = path;
	s->zstd = zstd;
	s->k = (struct kv_dest){ .env = &s->env, .stage = KV_ACK_SYNCED,
		.begin = archive_begin, .epoch = archive_epoch,
		.segment = archive_segment, .records = archive_records,
		.seal = archive_seal, .sync = archive_sync,
		.beat = archive_beat };
	*out = &s->k;
	rc = kv_archive_open(path, &s->a);
	if (rc == 0)
		return go_on(s);
	pass(s, rc);
	kv_archive_close(s->a);
	s->a = NULL;
	return rc == KEVO_ENODB ? 0 : rc;
}

void
kv_dest_archive_close(struct kv_dest *k)
{
	struct dest_archive *s = (struct dest_archive *)k;

	if (s == NULL)
		return;
	if (s->sink != NULL)
		kv_sink_close(s->sink);
	if (s->a != NULL)
		kv_archive_close(s->a);
	free(s);
}

const struct kv_dir *
kv_dest_archive_dir(const struct kv_dest *k)
{
	const struct dest_archive *s = (const struct dest_archive *)k;

	return s->a != NULL ? &s->a->dir : NULL;
}
