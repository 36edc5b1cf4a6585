/*
 * settings: what a person may change about a database.
 *
 * Each setting is one number.  They stand in kevo.conf, for people, and in
 * shm/control, where every process finds them without a system call; a
 * writer's open compares the two.  Here are their names, ranges, defaults
 * and meanings, and the reading and writing of kevo.conf.
 */
#ifndef KV_SETTINGS_H
#define KV_SETTINGS_H

#include <stddef.h>
#include <stdint.h>

enum kv_setting {
	KV_SET_MEMTABLE_BYTES,	/* size of a log segment */
	KV_SET_MEMTABLES,	/* sealed segments before writers help */
	KV_SET_SYNC,		/* enum kevo_sync */
	KV_SET_SYNC_BYTES,	/* sync=batch: sync after so many bytes */
	KV_SET_SYNC_MS,		/* sync=batch: ... or so long */
	KV_SET_BLOCK_BYTES,
	KV_SET_RESTART_INTERVAL,
	KV_SET_HASH_INDEX,	/* 0, 1 */
	KV_SET_TABLE_BYTES,
	KV_SET_LEVEL0_TABLES,	/* so many start a compaction */
	KV_SET_LEVEL_BYTES,	/* size of level 1 */
	KV_SET_LEVEL_RATIO,
	KV_SET_LEVELS,
	KV_SET_COMPRESSION,	/* a byte a level, level 0 the lowest: codec in
				 * the low 3 bits, its level above */
	KV_SET_COMPACTION,	/* enum kv_compaction */
	KV_SET_COMPACTION_RATE,	/* bytes a second; 0: no limit */
	KV_SET_STALL_SEGMENTS,	/* sealed segments that stop a writer */
	KV_SET_STALL_MS,	/* the longest it waits for one commit */
	KV_SET_WAL_KEEP,	/* bytes of log kept that tables hold too */
	KV_SET_CACHE_BYTES,	/* a process keeps so much decompressed */
	KV_SET_COUNT_READS,	/* 0, 1 */
	KV_SET_TXN_MEMORY_BYTES,	/* a transaction keeps so much in
					 * memory, the rest in a file */
	KV_SETTINGS
};
#define KV_SETTINGS_ROOM	32	/* in control */

enum kv_compaction {
	KV_COMPACTION_MANUAL = 0,	/* only kevo-compact does it */
	KV_COMPACTION_AUTO = 1		/* writers start it when it is due */
};

enum kv_setting_kind {
	KV_KIND_SIZE,		/* bytes; K M G T */
	KV_KIND_COUNT,
	KV_KIND_DURATION,	/* milliseconds; ms s m h d */
	KV_KIND_CHOICE,		/* one of some words, numbered from min on */
	KV_KIND_LIST		/* codecs, one for each level */
};

struct kv_setting_row {
	const char *name;
	enum kv_setting_kind kind;
	const char *words;	/* of a choice, with a blank between them */
	uint64_t min, max, initial;
	const char *range;	/* the same as text */
	const char *initial_text;
	const char *meaning;	/* a line without a full stop */
	const char *trade;	/* sentences: what more and less of it do */
};

const struct kv_setting_row *kv_setting_row(enum kv_setting s);

/* "name\0meaning, range (default)\0...\0\0" */
const char *kv_setting_names(void);

/* The setting of a name, or -1. */
int kv_setting_find(const char *name, size_t len);

/*
 * Text to number: 0, or -1 if it is none or out of range.  No blanks, but
 * for those between the parts of a list.
 */
int kv_setting_parse(enum kv_setting s, const char *text, size_t len,
    uint64_t *value);

/* Number to text, as parse takes it.  The number is a valid one. */
#define KV_SETTING_TEXT	96
void kv_setting_print(enum kv_setting s, uint64_t value,
    char buf[KV_SETTING_TEXT]);

/* 1 if a number that was found somewhere can be a value of the setting. */
int kv_setting_valid(enum kv_setting s, uint64_t value);

/*
 * A profile: settings that go together, "name=value"..., NULL-ended.  Each
 * profile has the same names; the value may be "default".  NULL: no such
 * profile.  The names as those of settings.
 */
const char *const *kv_profile(const char *name);
const char *kv_profile_names(void);

#endif /* KV_SETTINGS_H */
