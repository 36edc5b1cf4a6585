#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "compact.h"
#include "count.h"
#include "db.h"
#include "role.h"
#include "version.h"

/*
 * The numbers about a database, with their names.  What is counted is in one
 * table; what follows from the state of the log and of the tables is computed
 * here.  The page kevo-stats(1) lists the same names.
 */

/* ---- the tables' levels ------------------------------------------------ */

/* How full each level is: by what compaction decides. */
static void
set_scores(const struct kevo *db, const struct kv_version *v,
    struct kevo_stats *st)
{
	struct kv_shape shape;

	kv_shape_get(&shape, db);
	for (uint32_t i = 0; i < KEVO_LEVELS; i++)
		st->level[i].score = (uint64_t)(kv_score(v, &shape, i) * 1000);
}

void
kv_stats_levels(const struct kevo *db, const struct kv_version *v,
    struct kevo_stats *st)
{
	_Static_assert(KEVO_LEVELS == KV_LEVELS, "every level is shown");
	st->version = v->number;
	for (uint32_t i = 0; i < v->ntables; i++) {
		const struct kv_table_info *t = &v->table[i].info;
		struct kevo_level *l = &st->level[v->table[i].level];

		l->tables++;
		l->bytes += t->size;
		l->records += t->count;
		l->deletes += t->deletes;
	}
	set_scores(db, v, st);
}

/* ---- histograms -------------------------------------------------------- */

uint64_t
kevo_histogram_quantile(const struct kevo_histogram *h, double q)
{
	double rank = q * (double)h->count, low, high, at;
	uint64_t before = 0;
	size_t i = 0;

	if (h->count == 0)
		return 0;
	while (i + 1 < h->buckets && (h->bucket[i] == 0 ||
	    (double)(before + h->bucket[i]) < rank))
		before += h->bucket[i++];
	low = i == 0 ? 0 : (double)h->bound[i - 1];
	high = i + 1 < h->buckets ? (double)h->bound[i] : (double)h->max;
	if (h->bucket[i] == 0 || high < low)
		return h->max;
	at = low + (high - low) * (rank - (double)before) /
	    (double)h->bucket[i];
	return at < (double)h->max ? (uint64_t)at : h->max;
}

/* ---- what is counted --------------------------------------------------- */

#define NONE	KEVO_UNIT_NONE
#define BYTES	KEVO_UNIT_BYTES
#define NS	KEVO_UNIT_NS
#define TIME	KEVO_UNIT_TIME

static const struct row {
	uint16_t stat;
	uint8_t unit;
	const char *name, *label, *value, *help;
} rows[] = {
	{ KV_STAT_COMMITS, NONE, "commits", NULL, NULL,
	    "Commits: single writes, batches and transactions" },
	{ KV_STAT_BATCHES, NONE, "batches", NULL, NULL,
	    "Commits of more than one operation" },
	{ KV_STAT_PUTS, NONE, "puts", NULL, NULL, "Records put" },
	{ KV_STAT_DELETES, NONE, "deletes", NULL, NULL, "Keys deleted" },
	{ KV_STAT_COND_FALSE, NONE, "conditions_false", NULL, NULL,
	    "Conditions that did not hold" },
	{ KV_STAT_TXN_BEGUN, NONE, "transactions", "outcome", "begun",
	    "Transactions" },
	{ KV_STAT_TXN_COMMITTED, NONE, "transactions", "outcome",
	    "committed", "Transactions" },
	{ KV_STAT_TXN_ROLLED_BACK, NONE, "transactions", "outcome",
	    "rolled_back", "Transactions" },
	{ KV_STAT_TXN_CONFLICTS, NONE, "transactions", "outcome",
	    "conflict", "Transactions" },
	{ KV_STAT_USER_BYTES, BYTES, "user_bytes", NULL, NULL,
	    "Keys and values written by users" },
	{ KV_STAT_LOG_BYTES, BYTES, "log_written_bytes", NULL, NULL,
	    "Records appended to the log" },
	{ KV_STAT_SYNCS, NONE, "syncs", NULL, NULL,
	    "Times that the log was brought to disk" },
	{ KV_STAT_SYNC_FAILURES, NONE, "sync_failures", NULL, NULL,
	    "Times that this failed" },
	{ KV_STAT_ROTATIONS, NONE, "rotations", NULL, NULL,
	    "Segments of the log that were completed" },
	{ KV_STAT_ROTATION_NS, NS, "rotation_seconds", NULL, NULL,
	    "Time that it took to complete segments" },
	{ KV_STAT_APPLIED, NONE, "applied_commits", NULL, NULL,
	    "Commits of a primary that were applied here" },
	{ KV_STAT_APPLIED_BYTES, BYTES, "applied_bytes", NULL, NULL,
	    "Bytes of their records" },

	{ KV_STAT_GET_HITS, NONE, "gets", "result", "hit",
	    "Lookups of one key" },
	{ KV_STAT_GET_MISSES, NONE, "gets", "result", "miss",
	    "Lookups of one key" },
	{ KV_STAT_SCANS, NONE, "scans", NULL, NULL, "Iterators made" },
	{ KV_STAT_SEEKS, NONE, "seeks", NULL, NULL,
	    "Times that an iterator was positioned" },
	{ KV_STAT_SCAN_RECORDS, NONE, "scanned_records", NULL, NULL,
	    "Records returned by iterators" },
	{ KV_STAT_READ_BYTES, BYTES, "read_bytes", NULL, NULL,
	    "Values looked up, keys and values returned by iterators" },
	{ KV_STAT_SNAPSHOTS, NONE, "snapshots", NULL, NULL,
	    "Snapshots taken" },

	{ KV_STAT_FLUSHES, NONE, "flushes", NULL, NULL,
	    "Times that log was brought into tables" },
	{ KV_STAT_FLUSH_SEGMENTS, NONE, "flushed_segments", NULL, NULL,
	    "Segments of the log brought into tables" },
	{ KV_STAT_FLUSH_READ, BYTES, "flush_read_bytes", NULL, NULL,
	    "Log read by flushes" },
	{ KV_STAT_FLUSH_WRITTEN, BYTES, "flush_written_bytes", NULL, NULL,
	    "Tables written by flushes" },
	{ KV_STAT_COMPACTIONS, NONE, "compactions", NULL, NULL,
	    "Merges of tables" },
	{ KV_STAT_COMPACT_MOVES, NONE, "compaction_moves", NULL, NULL,
	    "Tables that changed their level without being rewritten" },
	{ KV_STAT_COMPACT_READ, BYTES, "compaction_read_bytes", NULL, NULL,
	    "Tables read by merges" },
	{ KV_STAT_COMPACT_WRITTEN, BYTES, "compaction_written_bytes", NULL,
	    NULL, "Tables written by merges" },
	{ KV_STAT_COMPACT_STARTS, NONE, "compactors_started", NULL, NULL,
	    "Processes of kevo-compact that writers started" },
	{ KV_STAT_VERSIONS, NONE, "versions_installed", NULL, NULL,
	    "Changes of the set of tables" },
	{ KV_STAT_DROP_OLDER, NONE, "dropped_records", "why", "older",
	    "Records that flushes and merges left out" },
	{ KV_STAT_DROP_DELETED, NONE, "dropped_records", "why", "deleted",
	    "Records that flushes and merges left out" },
	{ KV_STAT_DROP_EXPIRED, NONE, "dropped_records", "why", "expired",
	    "Records that flushes and merges left out" },
	{ KV_STAT_REMOVED_FILES, NONE, "removed_files", NULL, NULL,
	    "Files removed that no snapshot needs any more" },
	{ KV_STAT_REMOVED_BYTES, BYTES, "removed_bytes", NULL, NULL,
	    "Bytes of them" },

	{ KV_STAT_STALLS + KV_STALL_LOCK, NONE, "stalls", "reason", "lock",
	    "Times that a writer was held up" },
	{ KV_STAT_STALLS + KV_STALL_HELP, NONE, "stalls", "reason", "help",
	    "Times that a writer was held up" },
	{ KV_STAT_STALLS + KV_STALL_SLOW, NONE, "stalls", "reason", "slow",
	    "Times that a writer was held up" },
	{ KV_STAT_STALLS + KV_STALL_SEGMENTS, NONE, "stalls", "reason",
	    "segments", "Times that a writer was held up" },
	{ KV_STAT_STALLS + KV_STALL_LEVEL0, NONE, "stalls", "reason",
	    "level0", "Times that a writer was held up" },
	{ KV_STAT_STALL_NS + KV_STALL_LOCK, NS, "stall_seconds", "reason",
	    "lock", "Time that writers were held up" },
	{ KV_STAT_STALL_NS + KV_STALL_HELP, NS, "stall_seconds", "reason",
	    "help", "Time that writers were held up" },
	{ KV_STAT_STALL_NS + KV_STALL_SLOW, NS, "stall_seconds", "reason",
	    "slow", "Time that writers were held up" },
	{ KV_STAT_STALL_NS + KV_STALL_SEGMENTS, NS, "stall_seconds",
	    "reason", "segments", "Time that writers were held up" },
	{ KV_STAT_STALL_NS + KV_STALL_LEVEL0, NS, "stall_seconds", "reason",
	    "level0", "Time that writers were held up" },

	{ KV_STAT_REBUILDS, NONE, "rebuilds", NULL, NULL,
	    "Times that the shared memory was built from the log" },
	{ KV_STAT_REBUILD_NS, NS, "rebuild_seconds", NULL, NULL,
	    "Time that it took" },
	{ KV_STAT_REBUILD_RECORDS, NONE, "rebuild_records", NULL, NULL,
	    "Operations indexed by it" },
	{ KV_STAT_REBUILD_BYTES, BYTES, "rebuild_read_bytes", NULL, NULL,
	    "Log read by it" },
	{ KV_STAT_REBUILD_CUTS, NONE, "rebuild_cuts", NULL, NULL,
	    "Torn ends of the log that it cut off" },
	{ KV_STAT_REPAIR_FINISHED, NONE, "repairs", "of", "commit",
	    "Work of killed writers, finished or undone by the next one" },
	{ KV_STAT_REPAIR_UNDONE, NONE, "repairs", "of", "torn_commit",
	    "Work of killed writers, finished or undone by the next one" },
	{ KV_STAT_REPAIR_ROTATION, NONE, "repairs", "of", "rotation",
	    "Work of killed writers, finished or undone by the next one" },
#define ERROR(status, name) { KV_STAT_ERRORS - 1 - (status), NONE, "errors", \
	"kind", name, "Calls of the library that failed" }
	ERROR(KEVO_EINVAL, "invalid"),
	ERROR(KEVO_ELIMIT, "limit"),
	ERROR(KEVO_ENODB, "no_database"),
	ERROR(KEVO_ENOTDB, "not_database"),
	ERROR(KEVO_ECORRUPT, "corrupt"),
	ERROR(KEVO_ECREATE, "create"),
	ERROR(KEVO_EIO, "io"),
	ERROR(KEVO_EUNKNOWN, "unknown"),
	ERROR(KEVO_EBUSY, "busy"),
	ERROR(KEVO_EPERM, "permission"),
	ERROR(KEVO_ENOMEM, "memory"),
	ERROR(KEVO_EFORKED, "forked"),
	ERROR(KEVO_ECONFIG, "config"),
	ERROR(KEVO_EREPLACED, "replaced"),
	ERROR(KEVO_EHISTORY, "history"),
	ERROR(KEVO_ECONFLICT, "conflict"),
	ERROR(KEVO_EENDED, "ended"),
}, times[] = {
	{ KV_STAT_SINCE_NS, TIME, "counters_since_timestamp_seconds", NULL,
	    NULL, "When counting began" },
	{ KV_STAT_FLUSH_LAST_NS, TIME, "last_flush_timestamp_seconds", NULL,
	    NULL, "When log was last brought into tables; 0: never" },
	{ KV_STAT_COMPACT_LAST_NS, TIME, "last_compaction_timestamp_seconds",
	    NULL, NULL, "When tables were last merged; 0: never" },
	{ KV_STAT_REBUILD_LAST_NS, TIME, "last_rebuild_timestamp_seconds",
	    NULL, NULL, "When the shared memory was last built; 0: never" },
	{ KV_STAT_APPLIED_LAST_NS, TIME, "last_apply_timestamp_seconds",
	    NULL, NULL, "When commits of a primary were last applied; 0: "
	    "never" },
	{ KV_STAT_PRIMARY_NS, TIME, "primary_timestamp_seconds", NULL, NULL,
	    "The primary's clock when it last told of itself; 0: never" },
}, hists[] = {
	{ KV_HIST_COMMIT, NS, "commit_latency_seconds", "wait", "none",
	    "Time of one commit that waits for the disk, or does not" },
	{ KV_HIST_COMMIT_DISK, NS, "commit_latency_seconds", "wait", "disk",
	    "Time of one commit that waits for the disk, or does not" },
	{ KV_HIST_SYNC, NS, "sync_latency_seconds", NULL, NULL,
	    "Time of bringing the log to disk" },
	{ KV_HIST_GET, NS, "get_latency_seconds", NULL, NULL,
	    "Time of looking up one key" },
	{ KV_HIST_SEEK, NS, "seek_latency_seconds", NULL, NULL,
	    "Time of positioning an iterator" },
	{ KV_HIST_FLUSH, NS, "flush_latency_seconds", NULL, NULL,
	    "Time of bringing log into tables" },
	{ KV_HIST_COMPACT, NS, "compaction_latency_seconds", NULL, NULL,
	    "Time of one merge of tables" },
};

#define COUNT(a)	(sizeof(a) / sizeof((a)[0]))

/* ---- telling ----------------------------------------------------------- */

struct teller {
	int (*each)(void *arg, const struct kevo_metric *m);
	void *arg;
	int ended;
	struct kv_stats s;
	struct kevo_stats st;
};

static void
tell(struct teller *t, const struct kevo_metric *m)
{
	if (!t->ended)
		t->ended = t->each(t->arg, m) != 0;
}

static void
tell_text(struct teller *t, const char *name, const char *what,
    const char *help, const char *text)
{
	struct kevo_metric m = { .name = name, .label = "name",
	    .label_value = what, .text = text, .help = help,
	    .kind = KEVO_INFO };

	tell(t, &m);
}

static void
tell_gauge(struct teller *t, const char *name, enum kevo_metric_unit unit,
    uint64_t value, const char *help)
{
	struct kevo_metric m = { .name = name, .help = help,
	    .kind = KEVO_GAUGE, .unit = unit, .value = value };

	tell(t, &m);
}

static void
tell_row(struct teller *t, const struct row *r, enum kevo_metric_kind kind,
    const struct kevo_histogram *h)
{
	struct kevo_metric m = { .name = r->name, .label = r->label,
	    .label_value = r->value, .help = r->help, .kind = kind,
	    .unit = (enum kevo_metric_unit)r->unit, .histogram = h };

	if (h == NULL)
		m.value = t->s.count[r->stat];
	tell(t, &m);
}

static void
tell_histogram(struct teller *t, const struct row *r)
{
	unsigned shift = kv_hist_shift((enum kv_histogram)r->stat);
	uint64_t bound[KV_HIST_BUCKETS];
	struct kevo_histogram h = {
		.count = t->s.hist[r->stat].count,
		.sum = t->s.hist[r->stat].sum,
		.max = t->s.hist[r->stat].max,
		.buckets = KV_HIST_BUCKETS,
		.bucket = t->s.hist[r->stat].bucket,
		.bound = bound
	};

	for (unsigned i = 0; i < KV_HIST_BUCKETS; i++)
		bound[i] = kv_hist_bound(i) == UINT64_MAX ? UINT64_MAX :
		    kv_hist_bound(i) << shift;
	tell_row(t, r, KEVO_HISTOGRAM, &h);
}

static void
tell_settings(struct teller *t, const struct kv_control *c)
{
	char text[KV_SETTING_TEXT];

	for (int i = 0; i < KV_SETTINGS; i++) {
		enum kv_setting s = (enum kv_setting)i;

		kv_setting_print(s, kv_setting(c, s), text);
		tell_text(t, "settings", kv_setting_row(s)->name,
		    "Settings in force", text);
	}
}

/* For people: nothing is decided by it. */
static const char *
role(const struct kevo *db)
{
	uint32_t word = atomic_load_explicit(&db->ctl->role,
	    memory_order_relaxed);
	struct kv_role_note n;
	struct kv_env quiet;

	if (word < KV_ROLE_PRIMARY || word > KV_ROLE_FENCED) {
		if (kv_role_read(&quiet, &db->dir, &n) != 0)
			return kv_role_word(KV_ROLE_UNKNOWN);
		word = n.role;
	}
	return kv_role_word((enum kv_role)word);
}

static void
tell_identity(struct teller *t, const struct kevo *db)
{
	static const char help[] = "Which database, and what looked at it";
	char id[33];

	for (unsigned i = 0; i < 16; i++)
		snprintf(id + 2 * i, 3, "%02x", t->st.id[i]);
	tell_text(t, "database", "id", help, id);
	tell_text(t, "database", "kevo", help, KEVO_VERSION);
	tell_text(t, "database", "role", help, role(db));
}

static void
tell_log(struct teller *t, uint64_t last_commit)
{
	const struct kevo_stats *st = &t->st;

	tell_gauge(t, "visible_version", NONE, st->visible,
	    "Newest commit that readers see");
	tell_gauge(t, "synced_version", NONE, st->synced,
	    "Newest commit known to be on disk");
	tell_gauge(t, "appended_version", NONE, st->appended,
	    "Newest commit in the log");
	tell_gauge(t, "last_commit_timestamp_seconds", TIME, last_commit,
	    "When it was made; 0: there is none");
	tell_gauge(t, "primary_version", NONE,
	    t->s.count[KV_STAT_PRIMARY_SEQ],
	    "Newest commit of the primary, as it last said");
	tell_gauge(t, "log_segments", NONE, st->segments,
	    "Segments of the log, the active one included");
	tell_gauge(t, "sealed_segments", NONE, st->segments - 1,
	    "Segments of the log that wait to be brought into tables");
	tell_gauge(t, "log_bytes", BYTES, st->log_bytes,
	    "Bytes used in the segments");
	tell_gauge(t, "index_bytes", BYTES, st->index_bytes,
	    "Shared memory used by their indexes");
}

static uint64_t
of_level(const struct kevo_level *l, unsigned field)
{
	switch (field) {
	case 0:
		return l->tables;
	case 1:
		return l->bytes;
	case 2:
		return l->records;
	case 3:
		return l->deletes;
	}
	return l->score;
}

static void
tell_levels(struct teller *t)
{
	static const char *const number[KEVO_LEVELS] = { "0", "1", "2", "3",
	    "4", "5", "6", "7" };
	static const struct {
		const char *name, *help;
		enum kevo_metric_unit unit;
	} fields[] = {
		{ "level_tables", "Tables of a level", NONE },
		{ "level_bytes", "Bytes of its files", BYTES },
		{ "level_records", "Records in it, deletions included",
		    NONE },
		{ "level_deletes", "Deletions in it", NONE },
		{ "level_score", "How full it is; from 1 on a compaction is "
		    "due", KEVO_UNIT_THOUSANDTHS }
	};

	for (unsigned f = 0; f < COUNT(fields); f++)
		for (unsigned i = 0; i < KEVO_LEVELS; i++) {
			struct kevo_metric m = { .name = fields[f].name,
			    .label = "level", .label_value = number[i],
			    .help = fields[f].help, .kind = KEVO_GAUGE,
			    .unit = fields[f].unit,
			    .value = of_level(&t->st.level[i], f) };

			tell(t, &m);
		}
	tell_gauge(t, "l0_files", NONE, t->st.level[0].tables,
	    "Tables of level 0, each of which a get may have to ask");
}

/* Sealed log, and what levels hold beyond what they should. */
static uint64_t
debt(const struct teller *t)
{
	const struct kevo_stats *st = &t->st;
	uint64_t n = st->segments > 1 ? st->log_bytes / st->segments *
	    (st->segments - 1) : 0;

	for (unsigned i = 0; i < KEVO_LEVELS; i++) {
		const struct kevo_level *l = &st->level[i];

		if (l->score < 1000)
			continue;
		n += i == 0 ? l->bytes : (uint64_t)((double)l->bytes *
		    (double)(l->score - 1000) / (double)l->score);
	}
	return n;
}

static uint64_t
thousandths(double a, double b)
{
	return b > 0 ? (uint64_t)(a * 1000 / b) : 0;
}

static void
tell_shape(struct teller *t)
{
	const struct kevo_stats *st = &t->st;
	uint64_t sources = st->segments + st->level[0].tables, bytes = 0;
	uint64_t deepest = 0;

	for (unsigned i = 0; i < KEVO_LEVELS; i++) {
		bytes += st->level[i].bytes;
		if (st->level[i].bytes != 0)
			deepest = st->level[i].bytes;
		sources += i > 0 && st->level[i].tables != 0;
	}
	tell_gauge(t, "table_version", NONE, st->version,
	    "Number of the set of tables");
	tell_gauge(t, "table_bytes", BYTES, bytes, "Bytes of all tables");
	tell_gauge(t, "debt_bytes", BYTES, debt(t),
	    "What waits to be flushed or merged, about");
	tell_gauge(t, "read_amplification", NONE, sources,
	    "Segments, tables and levels that a get may have to ask");
	tell_gauge(t, "write_amplification", KEVO_UNIT_THOUSANDTHS,
	    thousandths((double)t->s.count[KV_STAT_LOG_BYTES] +
	    (double)t->s.count[KV_STAT_FLUSH_WRITTEN] +
	    (double)t->s.count[KV_STAT_COMPACT_WRITTEN],
	    (double)t->s.count[KV_STAT_USER_BYTES]),
	    "Bytes written to log and tables for one of the user's; 0: none");
	tell_gauge(t, "space_amplification", KEVO_UNIT_THOUSANDTHS,
	    thousandths((double)st->log_bytes + (double)bytes,
	    (double)deepest),
	    "Bytes of log and tables for one of the deepest level; 0: none");
}

static int
tell_all(struct kevo *db, struct teller *t)
{
	uint64_t last = kv_tail(db->ctl)->time_ns;

	kv_stats_get(db->ctl, &t->s);
	tell_identity(t, db);
	tell_settings(t, db->ctl);
	tell_log(t, t->st.appended != 0 ? last : 0);
	tell_levels(t);
	tell_shape(t);
	for (size_t i = 0; i < COUNT(rows); i++)
		tell_row(t, &rows[i], KEVO_COUNTER, NULL);
	for (size_t i = 0; i < COUNT(times); i++)
		tell_row(t, &times[i], KEVO_GAUGE, NULL);
	for (size_t i = 0; i < COUNT(hists); i++)
		tell_histogram(t, &hists[i]);
	return t->ended ? KEVO_FALSE : 0;
}

int
kevo_metrics(struct kevo *db, int (*each)(void *arg,
    const struct kevo_metric *m), void *arg)
{
	struct teller *t = malloc(sizeof(*t));
	int rc;

	if (t == NULL)
		return kv_fail(&db->env, KEVO_ENOMEM, "out of memory");
	t->each = each;
	t->arg = arg;
	t->ended = 0;
	if ((rc = kevo_stats(db, &t->st)) == 0)
		rc = tell_all(db, t);
	free(t);
	return rc;
}
