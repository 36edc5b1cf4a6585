#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "codec.h"
#include "kevo.h"
#include "settings.h"

#define K	((uint64_t)1 << 10)
#define M	((uint64_t)1 << 20)
#define G	((uint64_t)1 << 30)
#define T	((uint64_t)1 << 40)
#define SECOND	((uint64_t)1000)
#define HOUR	(3600 * SECOND)

/*
 * The table: row(NAME, name, kind, words, least, most, initial, range,
 * default, meaning, trade).  Ranges and defaults are there twice, as numbers
 * and as texts; settings_test compares them.
 */
#define ROWS(row) \
row(MEMTABLE_BYTES, "memtable_bytes", SIZE, NULL, 64 * K, G, 64 * M, \
    "64K to 1G", "64M", \
    "size of a segment of the log", \
    "More: fewer flushes, fewer segments to search, and less is written " \
    "again by compaction.  Less: less shared memory and less disk for the " \
    "log, and a quicker first open after a reboot.  It holds from the next " \
    "segment on.") \
row(MEMTABLES, "memtables", COUNT, NULL, 1, 64, 2, \
    "1 to 64", "2", \
    "complete segments of the log before writers help to flush them", \
    "More: bursts of writes go on undisturbed.  Less: fewer segments to " \
    "search, and less of the log on disk.") \
row(SYNC, "sync", CHOICE, "full batch none", KEVO_SYNC_FULL, \
    KEVO_SYNC_NONE, KEVO_SYNC_FULL, \
    "full, batch or none", "full", \
    "when a commit goes to disk, if its writer does not say", \
    "full: it is on disk when it is acknowledged.  batch: a power cut may " \
    "take what sync_bytes and sync_ms allow.  none: the system decides, and " \
    "a power cut takes more.") \
row(SYNC_BYTES, "sync_bytes", SIZE, NULL, K, G, 16 * M, \
    "1K to 1G", "16M", \
    "with sync=batch: a commit that finds so much unsynced syncs it", \
    "More: fewer waits for the disk.  Less: a power cut takes less.") \
row(SYNC_MS, "sync_ms", DURATION, NULL, 1, HOUR, SECOND, \
    "1ms to 1h", "1s", \
    "with sync=batch: a commit that finds unsynced ones so old syncs them", \
    "More: fewer waits for the disk.  Less: a power cut takes less.") \
row(BLOCK_BYTES, "block_bytes", SIZE, NULL, K, M, 4 * K, \
    "1K to 1M", "4K", \
    "size of a data block in a table, before it is compressed", \
    "More: better compression, a smaller index, quicker scans.  Less: a get " \
    "from a compressed table has less to decompress.  It holds for new " \
    "tables.") \
row(RESTART_INTERVAL, "restart_interval", COUNT, NULL, 1, 255, 16, \
    "1 to 255", "16", \
    "records of a block between two keys that are written in full", \
    "More: smaller tables.  Less: fewer keys to go through for one get.  It " \
    "holds for new tables.") \
row(HASH_INDEX, "hash_index", CHOICE, "off on", 0, 1, 1, \
    "off or on", "on", \
    "whether a table has a hash index from a key to its place", \
    "on: a get, of an absent key above all, touches little of a table.  " \
    "off: tables are smaller by a few bytes a record.  It holds for new " \
    "tables.") \
row(TABLE_BYTES, "table_bytes", SIZE, NULL, 16 * K, 4 * G, 64 * M, \
    "16K to 4G", "64M", \
    "size at which compaction begins another table", \
    "More: fewer files.  Less: a single merge is shorter, reads less, and " \
    "needs less free space.") \
row(LEVEL0_TABLES, "level0_tables", COUNT, NULL, 1, 64, 4, \
    "1 to 64", "4", \
    "tables of level 0 that are merged into level 1", \
    "More: less is written again.  Less: fewer tables to search.") \
row(LEVEL_BYTES, "level_bytes", SIZE, NULL, 64 * K, T, 256 * M, \
    "64K to 1T", "256M", \
    "size of level 1", \
    "More: fewer levels, but each merge into level 1 writes more.  About " \
    "level0_tables times memtable_bytes is a good size.") \
row(LEVEL_RATIO, "level_ratio", COUNT, NULL, 2, 100, 10, \
    "2 to 100", "10", \
    "how many times larger each level is than the one above", \
    "More: fewer levels to search, but each merge writes more.  Less: the " \
    "other way round, and more space is held by replaced records.") \
row(LEVELS, "levels", COUNT, NULL, 2, 8, 7, \
    "2 to 8", "7", \
    "levels of tables, level 0 included", \
    "The last level takes what does not fit above it; there is hardly a " \
    "reason to change this.") \
row(COMPRESSION, "compression", LIST, NULL, 0, UINT64_MAX, 0, \
    "none, lz4, zstd or zstd:1 to zstd:22; one for each level, the last " \
    "goes on", "none", \
    "how the tables of each level are compressed", \
    "none: reads are quickest.  lz4: less space for a little time at each " \
    "read.  zstd: the least space for more of it; a higher number makes " \
    "compaction slower, not reading.  none,none,zstd compresses only what " \
    "has come to rest.  It holds for new tables.") \
row(COMPACTION, "compaction", CHOICE, "manual auto", \
    KV_COMPACTION_MANUAL, KV_COMPACTION_AUTO, KV_COMPACTION_AUTO, \
    "manual or auto", "auto", \
    "who starts compaction", \
    "auto: a writer starts kevo-compact in the background when it is due.  " \
    "manual: nobody does but you, from cron for instance; until then the " \
    "log grows, and shared memory with it.") \
row(COMPACTION_RATE, "compaction_rate", SIZE, NULL, 0, T, 0, \
    "0 to 1T", "0", \
    "bytes a second that one compaction may write; 0 is no limit", \
    "Less: the disk is there for others.  Too little: compaction falls " \
    "behind, and writers wait.") \
row(STALL_SEGMENTS, "stall_segments", COUNT, NULL, 1, 1024, 8, \
    "1 to 1024, and not below memtables", "8", \
    "complete segments of the log at which writers wait longest", \
    "More: longer bursts without a wait.  Less: a bound on shared memory, " \
    "on the log, and on the time of the first open after a reboot.") \
row(STALL_MS, "stall_ms", DURATION, NULL, 0, HOUR, 10 * SECOND, \
    "0 to 1h", "10s", \
    "how long one commit waits for a flush or a merge, at most", \
    "More: the log and level 0 stay small whatever writers do.  Less: a " \
    "commit takes less time at worst.") \
row(WAL_KEEP, "wal_keep", SIZE, NULL, 0, 1024 * T, 0, \
    "0 to 1024T", "0", \
    "bytes of log that are kept though tables hold them, too", \
    "More: who follows the log may be away for longer.  Less: less disk.") \
row(CACHE_BYTES, "cache_bytes", SIZE, NULL, 0, T, 32 * M, \
    "0 to 1T", "32M", \
    "memory in which a process keeps decompressed blocks", \
    "More: fewer blocks are decompressed again.  Less: less memory in each " \
    "process.  Tables that are not compressed need none.") \
row(COUNT_READS, "count_reads", CHOICE, "off on", 0, 1, 0, \
    "off or on", "off", \
    "whether readers count in the statistics what they do", \
    "on: kevo-stats knows about reads.  off: reading leaves no trace, and " \
    "readers do not share a word that they write.") \
row(TXN_MEMORY_BYTES, "txn_memory_bytes", SIZE, NULL, 64 * K, G, 64 * M, \
    "64K to 1G", "64M", \
    "what a transaction keeps in memory before it uses a file", \
    "More: larger transactions need no disk before their commit.  Less: less " \
    "memory in each process; and what an optimistic transaction has read is " \
    "told apart up to half of this, beyond it every commit is a conflict.")

#define AS_ROW(id, name, kind, words, min, max, initial, range, text, \
    meaning, trade) \
	[KV_SET_##id] = { name, KV_KIND_##kind, words, min, max, initial, \
	    range, text, meaning, trade },
static const struct kv_setting_row table[KV_SETTINGS] = { ROWS(AS_ROW) };
_Static_assert((int)KV_SETTINGS <= KV_SETTINGS_ROOM, "they fit control");

#define AS_NAME(id, name, kind, words, min, max, initial, range, text, \
    meaning, trade) \
	name "\0" meaning ", " range " (" text ")\0"
static const char names[] = ROWS(AS_NAME);

const struct kv_setting_row *
kv_setting_row(enum kv_setting s)
{
	return &table[s];
}

const char *
kv_setting_names(void)
{
	return names;
}

int
kv_setting_find(const char *name, size_t len)
{
	for (int i = 0; i < KV_SETTINGS; i++)
		if (strlen(table[i].name) == len &&
		    memcmp(table[i].name, name, len) == 0)
			return i;
	return -1;
}

/* ---- numbers with units ------------------------------------------------ */

struct unit {
	const char *name;
	uint64_t factor;
};

static const struct unit size_units[] = {
	{ "T", T }, { "G", G }, { "M", M }, { "K", K }, { "", 1 },
	{ NULL, 0 }
};
static const struct unit duration_units[] = {
	{ "d", 24 * HOUR }, { "h", HOUR }, { "m", 60 * SECOND },
	{ "s", SECOND }, { "ms", 1 }, { "", 1 }, { NULL, 0 }
};
static const struct unit no_units[] = { { "", 1 }, { NULL, 0 } };

static const struct unit *
units_of(enum kv_setting_kind kind)
{
	return kind == KV_KIND_SIZE ? size_units :
	    kind == KV_KIND_DURATION ? duration_units : no_units;
}

/* Digits at the beginning of text: how many there are, 0 for none or too
 * large a number. */
static size_t
parse_digits(const char *text, size_t len, uint64_t *out)
{
	uint64_t n = 0;
	size_t i;

	for (i = 0; i < len && text[i] >= '0' && text[i] <= '9'; i++)
		if (__builtin_mul_overflow(n, (uint64_t)10, &n) ||
		    __builtin_add_overflow(n, (uint64_t)(text[i] - '0'), &n))
			return 0;
	*out = n;
	return i;
}

static int
parse_number(const struct unit *u, const char *text, size_t len,
    uint64_t *out)
{
	size_t used = parse_digits(text, len, out);

	if (used == 0)
		return -1;
	for (; u->name != NULL; u++)
		if (strlen(u->name) == len - used &&
		    memcmp(u->name, text + used, len - used) == 0)
			return __builtin_mul_overflow(*out, u->factor, out) ?
			    -1 : 0;
	return -1;
}

static void
print_number(const struct unit *u, uint64_t v, char buf[KV_SETTING_TEXT])
{
	while (v != 0 && v % u->factor != 0)
		u++;
	snprintf(buf, KV_SETTING_TEXT, "%" PRIu64 "%s", v / u->factor,
	    v == 0 ? "" : u->name);
}

/* ---- words ------------------------------------------------------------- */

static int
parse_word(const char *words, const char *text, size_t len, uint64_t *place)
{
	for (*place = 0; *words != '\0'; ++*place) {
		size_t n = strcspn(words, " ");

		if (n == len && memcmp(words, text, n) == 0)
			return 0;
		words += n + (words[n] == ' ');
	}
	return -1;
}

static void
print_word(const char *words, uint64_t place, char buf[KV_SETTING_TEXT])
{
	for (; place > 0; place--)
		words += strcspn(words, " ") + 1;
	snprintf(buf, KV_SETTING_TEXT, "%.*s", (int)strcspn(words, " "),
	    words);
}

/* ---- codecs ------------------------------------------------------------ */

#define LEVELS		8
#define ZSTD_LEVEL	3
#define ZSTD_MAX	22

static const char codec_words[] = "none lz4 zstd";

static uint64_t
codec_byte(uint64_t codec, uint64_t level)
{
	return codec | level << 3;
}

/* "lz4", or "zstd:9". */
static int
parse_codec(const char *text, size_t len, uint64_t *byte)
{
	const char *colon = memchr(text, ':', len);
	size_t n = colon != NULL ? (size_t)(colon - text) : len;
	uint64_t codec, level;

	if (parse_word(codec_words, text, n, &codec) != 0)
		return -1;
	level = codec == KV_CODEC_ZSTD ? ZSTD_LEVEL : 0;
	if (colon != NULL && (codec != KV_CODEC_ZSTD || parse_number(no_units,
	    colon + 1, len - n - 1, &level) != 0 || level < 1 ||
	    level > ZSTD_MAX))
		return -1;
	*byte = codec_byte(codec, level);
	return 0;
}

static int
parse_list(const char *text, size_t len, uint64_t *out)
{
	const char *end = text + len;
	uint64_t byte = 0;
	int level = 0;

	*out = 0;
	for (;;) {
		const char *comma = memchr(text, ',', (size_t)(end - text));
		const char *e = comma != NULL ? comma : end;

		while (text < e && (*text == ' ' || *text == '\t'))
			text++;
		while (e > text && (e[-1] == ' ' || e[-1] == '\t'))
			e--;
		if (level == LEVELS ||
		    parse_codec(text, (size_t)(e - text), &byte) != 0)
			return -1;
		*out |= byte << 8 * level++;
		if (comma == NULL)
			break;
		text = comma + 1;
	}
	while (level < LEVELS)
		*out |= byte << 8 * level++;
	return 0;
}

static void
print_list(uint64_t v, char buf[KV_SETTING_TEXT])
{
	int n = LEVELS, at = 0;

	while (n > 1 && (v >> 8 * (n - 1) & 255) == (v >> 8 * (n - 2) & 255))
		n--;
	for (int i = 0; i < n; i++) {
		uint64_t byte = v >> 8 * i & 255;
		char word[KV_SETTING_TEXT];

		print_word(codec_words, byte & 7, word);
		at += snprintf(buf + at, KV_SETTING_TEXT - (size_t)at,
		    "%s%.4s", i > 0 ? "," : "", word);
		if (byte >> 3 != 0)
			at += snprintf(buf + at, KV_SETTING_TEXT - (size_t)at,
			    ":%u", (unsigned)(byte >> 3));
	}
}

static int
list_is_valid(uint64_t v)
{
	for (int i = 0; i < LEVELS; i++, v >>= 8) {
		unsigned codec = v & 7, level = (unsigned)(v & 255) >> 3;

		if (codec == KV_CODEC_ZSTD ? level < 1 || level > ZSTD_MAX :
		    codec > KV_CODEC_ZSTD || level != 0)
			return 0;
	}
	return 1;
}

/* ---- values ------------------------------------------------------------ */

int
kv_setting_valid(enum kv_setting s, uint64_t v)
{
	const struct kv_setting_row *r = &table[s];

	return v >= r->min && v <= r->max &&
	    (r->kind != KV_KIND_LIST || list_is_valid(v));
}

int
kv_setting_parse(enum kv_setting s, const char *text, size_t len,
    uint64_t *out)
{
	const struct kv_setting_row *r = &table[s];
	uint64_t v;
	int rc;

	if (r->kind == KV_KIND_CHOICE) {
		rc = parse_word(r->words, text, len, &v);
		v += r->min;
	} else if (r->kind == KV_KIND_LIST)
		rc = parse_list(text, len, &v);
	else
		rc = parse_number(units_of(r->kind), text, len, &v);
	if (rc != 0 || !kv_setting_valid(s, v))
		return -1;
	*out = v;
	return 0;
}

void
kv_setting_print(enum kv_setting s, uint64_t v, char buf[KV_SETTING_TEXT])
{
	const struct kv_setting_row *r = &table[s];

	if (r->kind == KV_KIND_CHOICE)
		print_word(r->words, v - r->min, buf);
	else if (r->kind == KV_KIND_LIST)
		print_list(v, buf);
	else
		print_number(units_of(r->kind), v, buf);
}

/* ---- profiles ---------------------------------------------------------- */

#define PROFILE(memtable, memtables, stall, level0, level, table, restart, \
    cache) \
	{ "memtable_bytes=" memtable, "memtables=" memtables, \
	    "stall_segments=" stall, "level0_tables=" level0, \
	    "level_bytes=" level, "table_bytes=" table, \
	    "restart_interval=" restart, "cache_bytes=" cache, NULL }

static const struct profile {
	const char *name;
	const char *const settings[9];
} profiles[] = {
	{ "balanced", PROFILE("default", "default", "default", "default",
	    "default", "default", "default", "default") },
	{ "write-heavy", PROFILE("128M", "4", "16", "8", "1G", "128M",
	    "default", "default") },
	{ "read-heavy", PROFILE("default", "1", "default", "2", "128M",
	    "default", "8", "256M") },
	{ "small-memory", PROFILE("2M", "1", "4", "4", "8M", "4M",
	    "default", "1M") },
};

const char *const *
kv_profile(const char *name)
{
	for (size_t i = 0; i < sizeof(profiles) / sizeof(profiles[0]); i++)
		if (strcmp(profiles[i].name, name) == 0)
			return profiles[i].settings;
	return NULL;
}

const char *
kv_profile_names(void)
{
	return "balanced\0the defaults: a bit of everything\0"
	    "write-heavy\0more memory and disk, so that less is written again\0"
	    "read-heavy\0fewer places to search, for more merging\0"
	    "small-memory\0a few megabytes for everything: a small device\0";
}
