#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "stats_sample.h"

/*
 * For people: groups of what belongs together, two numbers a line, within 80
 * columns.  What is not there (levels without tables, errors that never
 * happened) is left out.
 */

static void
heading(const char *name)
{
	stat_printf("\n%s\n", name);
}

/* A name with a short value; the second of a line ends it. */
static void
field(const struct stat_sample *s, int *column, const char *name,
    const char *key)
{
	const struct stat_one *o = stat_find(s, key);
	char value[STAT_SHORT];

	if (o == NULL)
		return;
	stat_short(value, o->unit, (double)o->value);
	if (*column == 0)
		stat_printf("  %-22s %12s", name, value);
	else
		stat_printf("    %-22s %12s\n", name, value);
	*column = !*column;
}

static void
end_fields(int *column)
{
	if (*column != 0)
		stat_printf("\n");
	*column = 0;
}

struct field {
	const char *name, *key;
};

static void
group(const struct stat_sample *s, const char *name, const struct field *f)
{
	int column = 0;

	heading(name);
	for (; f->name != NULL; f++)
		field(s, &column, f->name, f->key);
	end_fields(&column);
}

static const struct field writing[] = {
	{ "commits", "commits" }, { "of several changes", "batches" },
	{ "puts", "puts" }, { "deletes", "deletes" },
	{ "keys and values", "user_bytes" },
	{ "written to the log", "log_written_bytes" },
	{ "syncs of the log", "syncs" },
	{ "failed syncs", "sync_failures" },
	{ "conditions false", "conditions_false" },
	{ "transactions begun", "transactions.begun" },
	{ "committed", "transactions.committed" },
	{ "rolled back", "transactions.rolled_back" },
	{ NULL, NULL }
}, reading[] = {
	{ "gets that found", "gets.hit" },
	{ "gets that did not", "gets.miss" },
	{ "iterators", "scans" }, { "positioned", "seeks" },
	{ "records returned", "scanned_records" },
	{ "bytes returned", "read_bytes" },
	{ "snapshots", "snapshots" },
	{ NULL, NULL }
}, log_fields[] = {
	{ "segments", "log_segments" },
	{ "of them complete", "sealed_segments" },
	{ "bytes used", "log_bytes" }, { "of indexes", "index_bytes" },
	{ "completed so far", "rotations" },
	{ "time that took", "rotation_seconds" },
	{ NULL, NULL }
}, tables[] = {
	{ "flushes", "flushes" }, { "of segments", "flushed_segments" },
	{ "flush: read", "flush_read_bytes" },
	{ "flush: written", "flush_written_bytes" },
	{ "merges", "compactions" }, { "moves", "compaction_moves" },
	{ "merges: read", "compaction_read_bytes" },
	{ "merges: written", "compaction_written_bytes" },
	{ "dropped: older", "dropped_records.older" },
	{ "dropped: deleted", "dropped_records.deleted" },
	{ "dropped: expired", "dropped_records.expired" },
	{ "compactors started", "compactors_started" },
	{ "files removed", "removed_files" },
	{ "bytes removed", "removed_bytes" },
	{ "waiting, about", "debt_bytes" },
	{ "version", "table_version" },
	{ NULL, NULL }
}, recovery[] = {
	{ "index built", "rebuilds" }, { "time that took", "rebuild_seconds" },
	{ "operations indexed", "rebuild_records" },
	{ "log read", "rebuild_read_bytes" },
	{ "torn ends cut", "rebuild_cuts" },
	{ "commits finished", "repairs.commit" },
	{ "torn commits undone", "repairs.torn_commit" },
	{ "rotations finished", "repairs.rotation" },
	{ NULL, NULL }
};

/* ---- tables of numbers ------------------------------------------------- */

static const struct stat_one *
of_level(const struct stat_sample *s, const char *name, int level)
{
	char key[60];

	snprintf(key, sizeof(key), "%s.%d", name, level);
	return stat_find(s, key);
}

static void
write_levels(const struct stat_sample *s)
{
	static const char *const names[] = { "level_tables", "level_bytes",
	    "level_records", "level_deletes", "level_score" };
	char v[STAT_SHORT];

	if (stat_value(s, "table_bytes") == 0)
		return;
	heading("Level      tables       bytes     records   deletions"
	    "    fullness");
	for (int level = 0; of_level(s, names[0], level) != NULL; level++) {
		if (of_level(s, names[0], level)->value == 0)
			continue;
		stat_printf("  %-3d", level);
		for (size_t i = 0; i < 5; i++) {
			const struct stat_one *o = of_level(s, names[i],
			    level);

			if (o != NULL)
				stat_printf("%12s", stat_short(v, o->unit,
				    (double)o->value));
		}
		stat_printf("\n");
	}
}

static void
write_latency(const char *name, const struct kevo_histogram *h)
{
	static const enum stat_part parts[] = { STAT_P50, STAT_P90, STAT_P99,
	    STAT_P999, STAT_MAX };
	char v[STAT_SHORT];

	if (h->count == 0)
		return;
	stat_printf("  %-16s%8s", name, stat_short(v, KEVO_UNIT_NONE,
	    (double)h->count));
	stat_printf("%9s", stat_short(v, KEVO_UNIT_NS,
	    (double)h->sum / (double)h->count));
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
		stat_printf("%9s", stat_short(v, KEVO_UNIT_NS,
		    (double)stat_part(h, parts[i])));
	stat_printf("\n");
}

static void
write_latencies(const struct stat_sample *s)
{
	static const struct {
		const char *shown, *name, *label_value;
	} rows[] = {
		{ "commit, to disk", "commit_latency_seconds", "disk" },
		{ "commit, not", "commit_latency_seconds", "none" },
		{ "sync", "sync_latency_seconds", NULL },
		{ "get", "get_latency_seconds", NULL },
		{ "seek", "seek_latency_seconds", NULL },
		{ "flush", "flush_latency_seconds", NULL },
		{ "merge", "compaction_latency_seconds", NULL }
	};
	struct kevo_histogram h;

	heading("Time of one          count     mean      p50      p90"
	    "      p99    p99.9      max");
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (stat_histogram(s, rows[i].name, rows[i].label_value,
		    &h) != 0)
			write_latency(rows[i].shown, &h);
		free((void *)(uintptr_t)h.bucket);
		free((void *)(uintptr_t)h.bound);
	}
}

static void
write_cost(const struct stat_sample *s)
{
	static const struct field cost[] = {
		{ "places a get may ask", "read_amplification" },
		{ "written per user byte", "write_amplification" },
		{ "kept per live byte", "space_amplification" }
	};
	int column = 0;

	heading("Cost");
	for (size_t i = 0; i < sizeof(cost) / sizeof(cost[0]); i++)
		if (stat_value(s, cost[i].key) != 0)
			field(s, &column, cost[i].name, cost[i].key);
	end_fields(&column);
}

/* Those of a name that are not 0. */
static void
write_kinds(const struct stat_sample *s, const char *title, const char *name)
{
	int column = 0, any = 0;

	for (size_t i = 0; i < s->n; i++) {
		if (strcmp(s->one[i].name, name) != 0 || s->one[i].value == 0)
			continue;
		if (any++ == 0)
			heading(title);
		field(s, &column, s->one[i].label_value, s->one[i].key);
	}
	end_fields(&column);
}

static void
write_stalls(const struct stat_sample *s)
{
	char n[STAT_SHORT], t[STAT_SHORT], key[60];
	int any = 0;

	for (size_t i = 0; i < s->n; i++) {
		const struct stat_one *o = &s->one[i];

		if (strcmp(o->name, "stalls") != 0 || o->value == 0)
			continue;
		if (any++ == 0)
			heading("Writers held up       times        time");
		snprintf(key, sizeof(key), "stall_seconds.%s",
		    o->label_value);
		stat_printf("  %-13s%12s%12s\n", o->label_value,
		    stat_short(n, KEVO_UNIT_NONE, (double)o->value),
		    stat_short(t, KEVO_UNIT_NS, (double)stat_value(s, key)));
	}
}

/* ---- the whole --------------------------------------------------------- */

static void
write_top(const struct stat_sample *s, const char *path)
{
	uint64_t last = stat_value(s, "last_commit_timestamp_seconds");
	char t[STAT_TIME];

	stat_printf("Database   %.900s\n", path);
	stat_printf("Identity   %s\n", stat_text(s, "database.id"));
	stat_printf("Newest     %" PRIu64 " (on disk: %" PRIu64 "), %s\n",
	    stat_value(s, "visible_version"),
	    stat_value(s, "synced_version"),
	    last != 0 ? stat_time(t, last) : "no commit yet");
	stat_printf("Counted    since %s\n", stat_time(t, stat_value(s,
	    "counters_since_timestamp_seconds")));
}

static void
write_settings(const struct stat_sample *s)
{
	int column = 0;

	heading("Settings");
	for (size_t i = 0; i < s->n; i++) {
		const struct stat_one *o = &s->one[i];

		if (strcmp(o->name, "settings") != 0)
			continue;
		if (strlen(o->text) > 12) {
			end_fields(&column);
			stat_printf("  %-22s %s\n", o->label_value, o->text);
			continue;
		}
		stat_printf(column == 0 ? "  %-22s %12s" : "    %-22s %12s\n",
		    o->label_value, o->text);
		column = !column;
	}
	end_fields(&column);
}

/* A reader counts only where it was asked to. */
static int
has_reads(const struct stat_sample *s)
{
	return stat_value(s, "gets.hit") != 0 ||
	    stat_value(s, "gets.miss") != 0 || stat_value(s, "scans") != 0 ||
	    stat_value(s, "snapshots") != 0;
}

void
stat_write_human(const struct stat_sample *s, const char *path)
{
	write_top(s, path);
	group(s, "Writing", writing);
	if (has_reads(s))
		group(s, "Reading", reading);
	group(s, "Log", log_fields);
	write_levels(s);
	if (stat_value(s, "flushes") != 0 || stat_value(s, "table_bytes") != 0)
		group(s, "Tables", tables);
	write_cost(s);
	write_latencies(s);
	write_stalls(s);
	group(s, "Recovery", recovery);
	write_kinds(s, "Errors", "errors");
	write_settings(s);
}
