/*
 * settings_test: the table of settings, and kevo.conf: what is read, what is
 * refused and how, and what a change leaves as it was.
 */
#include "settings.h"

#include <errno.h>
#include <inttypes.h>

#include "conf.h"
#include "control.h"
#include "env.h"
#include "file.h"
#include "kevo.h"
#include "tap.h"

static struct kv_env env;
static struct kv_names names;
static struct kv_dir dir = { .names = &names };

static uint64_t
initial(enum kv_setting s)
{
	return kv_setting_row(s)->initial;
}

static int
is_number(int s)
{
	return kv_setting_row(s)->words == NULL &&
	    kv_setting_row(s)->kind != KV_KIND_LIST;
}

static int
parse(int s, const char *text, uint64_t *v)
{
	return kv_setting_parse(s, text, strlen(text), v);
}

/* ---- the table --------------------------------------------------------- */

static void
test_table(void)
{
	static const char *const enum_names[] = {
		"memtable_bytes", "memtables", "sync", "sync_bytes", "sync_ms",
		"block_bytes", "restart_interval", "hash_index", "table_bytes",
		"level0_tables", "level_bytes", "level_ratio", "levels",
		"compression", "compaction", "compaction_rate",
		"stall_segments", "stall_ms", "wal_keep", "cache_bytes",
		"count_reads", "txn_memory_bytes"
	};
	const char *p = kv_setting_names();
	char text[KV_SETTING_TEXT], range[200];
	uint64_t v;

	_Static_assert(sizeof(enum_names) / sizeof(enum_names[0]) ==
	    KV_SETTINGS, "one name for each");
	for (int i = 0; i < KV_SETTINGS; i++) {
		const struct kv_setting_row *r = kv_setting_row(i);

		expect(strcmp(r->name, enum_names[i]) == 0);
		expect(kv_setting_find(r->name, strlen(r->name)) == i);
		expect(kv_setting_find(r->name, strlen(r->name) - 1) < 0);
		expect(kv_setting_valid(i, r->initial));
		expect(parse(i, r->initial_text, &v) == 0 && v == r->initial);
		kv_setting_print(i, r->initial, text);
		expect(strcmp(text, r->initial_text) == 0);
		expect(strlen(r->meaning) > 0 && strlen(r->meaning) < 76);
		expect(strlen(r->trade) > 40 && strchr(r->trade, '"') == NULL);
		expect(strchr(r->meaning, '"') == NULL);
		expect(strcmp(p, r->name) == 0);
		p += strlen(p) + 1;
		expect(strstr(p, r->range) != NULL && strstr(p,
		    r->initial_text) != NULL);
		p += strlen(p) + 1;
		if (is_number(i)) {
			kv_setting_print(i, r->min, text);
			snprintf(range, sizeof(range), "%s to ", text);
			kv_setting_print(i, r->max, text);
			strcat(range, text);
			if (!expect(strncmp(range, r->range,
			    strlen(range)) == 0))
				tap_note("%s: %s", r->name, range);
		}
	}
	expect(*p == '\0');
	tap_report("table: names, ranges, defaults and texts agree");
}

/* ---- values ------------------------------------------------------------ */

static int
refused(int s, const char *text)
{
	uint64_t v = 12345;

	if (parse(s, text, &v) != 0 && v == 12345)
		return 1;
	tap_note("%s: %s", kv_setting_row(s)->name, text);
	return 0;
}

static void
try_number(int s)
{
	static const char *const never[] = {
		"", " ", "-1", "+1", "x", "1x", "1KK", "1KB", "1.5M", "1k",
		"0x10", "1e3", " 4", "4 ", "18446744073709551616",
		"18446744073709551617K", "99999999999999999999999999",
		"16777216T", "17592186044416M", "1\n", "4,5", "=4", "default"
	};
	const struct kv_setting_row *r = kv_setting_row(s);
	char text[KV_SETTING_TEXT];
	uint64_t v;

	for (size_t i = 0; i < sizeof(never) / sizeof(never[0]); i++)
		expect(refused(s, never[i]));
	if (r->min > 0) {
		snprintf(text, sizeof(text), "%" PRIu64, r->min - 1);
		expect(refused(s, text) && refused(s, "0"));
		expect(!kv_setting_valid(s, r->min - 1));
	}
	snprintf(text, sizeof(text), "%" PRIu64, r->max + 1);
	expect(refused(s, text) && !kv_setting_valid(s, r->max + 1));
	expect(!kv_setting_valid(s, UINT64_MAX));
	for (int i = 0; i < 200; i++) {
		uint64_t want = r->min + tap_below(r->max - r->min + 1);

		if (i < 2)
			want = i == 0 ? r->min : r->max;
		snprintf(text, sizeof(text), "%" PRIu64, want);
		expect(parse(s, text, &v) == 0 && v == want);
		kv_setting_print(s, want, text);
		expect(parse(s, text, &v) == 0 && v == want);
	}
}

static void
try_choice(int s)
{
	const struct kv_setting_row *r = kv_setting_row(s);
	char text[KV_SETTING_TEXT];
	uint64_t v;

	for (uint64_t n = r->min; n <= r->max; n++) {
		kv_setting_print(s, n, text);
		expect(parse(s, text, &v) == 0 && v == n);
		text[strlen(text) - 1] ^= 0x20;
		expect(refused(s, text));
	}
	expect(!kv_setting_valid(s, r->max + 1));
	expect(r->min == 0 || !kv_setting_valid(s, r->min - 1));
	expect(refused(s, "") && refused(s, " ") && refused(s, "maybe") &&
	    refused(s, "0") && refused(s, "1") && refused(s, r->words) &&
	    refused(s, "on "));
}

static void
test_units(void)
{
	uint64_t v;

	expect(parse(KV_SET_MEMTABLE_BYTES, "64K", &v) == 0 && v == 65536);
	expect(parse(KV_SET_MEMTABLE_BYTES, "1M", &v) == 0 && v == 1 << 20);
	expect(parse(KV_SET_MEMTABLE_BYTES, "1G", &v) == 0 && v == 1 << 30);
	expect(parse(KV_SET_WAL_KEEP, "2T", &v) == 0 && v == (uint64_t)2 << 40);
	expect(parse(KV_SET_SYNC_MS, "250", &v) == 0 && v == 250);
	expect(parse(KV_SET_SYNC_MS, "250ms", &v) == 0 && v == 250);
	expect(parse(KV_SET_SYNC_MS, "3s", &v) == 0 && v == 3000);
	expect(parse(KV_SET_SYNC_MS, "2m", &v) == 0 && v == 120000);
	expect(parse(KV_SET_SYNC_MS, "1h", &v) == 0 && v == 3600000);
	expect(refused(KV_SET_SYNC_MS, "1d") && refused(KV_SET_SYNC_MS, "1K"));
	expect(refused(KV_SET_MEMTABLES, "1K") &&
	    refused(KV_SET_MEMTABLES, "2s"));
	tap_report("values: units mean what they say");
}

static void
test_list(void)
{
	static const char *const good[][2] = {
		{ "none", "none" }, { "lz4", "lz4" }, { "zstd", "zstd:3" },
		{ "zstd:1", "zstd:1" }, { "zstd:22", "zstd:22" },
		{ "none,none,none", "none" },
		{ "none, lz4 ,\tzstd:9", "none,lz4,zstd:9" },
		{ "none,none,zstd", "none,none,zstd:3" },
		{ "lz4,zstd:9,zstd:9", "lz4,zstd:9" },
		{ "none,lz4,none,lz4,none,lz4,none,zstd:22",
		    "none,lz4,none,lz4,none,lz4,none,zstd:22" },
		{ "zstd:11,zstd:12,zstd:13,zstd:14,zstd:15,zstd:16,zstd:17,"
		    "zstd:18", "zstd:11,zstd:12,zstd:13,zstd:14,zstd:15,"
		    "zstd:16,zstd:17,zstd:18" }
	};
	static const char *const bad[] = {
		"", ",", "none,", ",none", "lz4:1", "none:0", "zstd:0",
		"zstd:23", "zstd:", "zstd:x", "zstd:-1", "zstd:4294967297",
		"zstd: 3", "lz4 lz4", "LZ4", "gzip", "none;lz4",
		"none,none,none,none,none,none,none,none,none"
	};
	const int s = KV_SET_COMPRESSION;
	char text[KV_SETTING_TEXT];
	uint64_t v;

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		expect(parse(s, good[i][0], &v) == 0);
		expect(kv_setting_valid(s, v));
		kv_setting_print(s, v, text);
		if (!expect(strcmp(text, good[i][1]) == 0))
			tap_note("%s: %s", good[i][0], text);
	}
	expect(parse(s, "none,lz4,zstd:9", &v) == 0 &&
	    v == 0x4a4a4a4a4a4a0100u);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		expect(refused(s, bad[i]));
	for (int level = 0; level < 8; level++)
		for (unsigned b = 0; b < 256; b++) {
			int ok = (b & 7) < 2 ? b >> 3 == 0 : (b & 7) == 2 &&
			    b >> 3 >= 1 && b >> 3 <= 22;

			expect(kv_setting_valid(s, (uint64_t)b << 8 * level) ==
			    ok);
		}
	tap_report("values: a list of codecs, one for each level");
}

static void
test_values(void)
{
	for (int i = 0; i < KV_SETTINGS; i++)
		if (is_number(i))
			try_number(i);
		else if (kv_setting_row(i)->words != NULL)
			try_choice(i);
	tap_report("values: what is in range is taken, all else refused");
	test_units();
	test_list();
}

/* Shared memory is not trusted. */
static void
test_control(void)
{
	struct kv_control *c = aligned_alloc(64, KV_CONTROL_LEN);

	if (c == NULL)
		tap_bail("out of memory");
	memset(c, 0, KV_CONTROL_LEN);
	expect(kv_setting(c, KV_SET_MEMTABLE_BYTES) ==
	    initial(KV_SET_MEMTABLE_BYTES));
	expect(kv_setting(c, KV_SET_SYNC) == KEVO_SYNC_FULL);
	expect(kv_setting(c, KV_SET_WAL_KEEP) == 0);
	for (int i = 0; i < KV_SETTINGS; i++) {
		c->setting[i] = UINT64_MAX;
		expect(kv_setting(c, i) == initial(i));
		c->setting[i] = initial(i);
		expect(kv_setting(c, i) == initial(i));
	}
	for (int n = 0; n < 20000; n++) {
		int i = (int)tap_below(KV_SETTINGS);

		c->setting[i] = tap_random() >> tap_below(64);
		expect(kv_setting_valid(i, kv_setting(c, i)));
	}
	free(c);
	tap_report("control: a value that cannot be is taken for the default");
}

/* ---- kevo.conf --------------------------------------------------------- */

static void
put_file(const char *text, size_t len)
{
	int fd;

	unlinkat(dir.fd, KV_CONF_NAME, 0);
	fd = openat(dir.fd, KV_CONF_NAME, O_WRONLY | O_CREAT | O_TRUNC, 0666);
	if (fd < 0 || write(fd, text, len) != (ssize_t)len)
		tap_bail("cannot write " KV_CONF_NAME);
	close(fd);
}

static void
put_text(const char *text)
{
	put_file(text, strlen(text));
}

static size_t
get_file(char *buf, size_t size)
{
	int fd = openat(dir.fd, KV_CONF_NAME, O_RDONLY);
	ssize_t n = read(fd, buf, size - 1);

	if (fd < 0 || n < 0)
		tap_bail("cannot read " KV_CONF_NAME);
	close(fd);
	buf[n] = '\0';
	return (size_t)n;
}

static int
file_is(const char *want)
{
	char buf[8000];

	get_file(buf, sizeof(buf));
	if (strcmp(buf, want) == 0)
		return 1;
	tap_note("it is: %s", buf);
	return 0;
}

static int
read_conf(struct kv_conf *c)
{
	env.msg[0] = '\0';
	return kv_conf_read(&env, &dir, c);
}

static int
change_1(const char *a, const char *b)
{
	const char *const changes[] = { a, b, NULL };
	struct kv_conf c;

	env.msg[0] = '\0';
	return kv_conf_change(&env, &dir, 0640, changes, &c);
}

static void
test_read(void)
{
	struct kv_conf c;

	unlinkat(dir.fd, KV_CONF_NAME, 0);
	expect(read_conf(&c) == 0 && c.stamp == KV_CONF_MISSING);
	for (int i = 0; i < KV_SETTINGS; i++)
		expect(c.value[i] == initial(i) && c.line[i] == 0);
	tap_report("kevo.conf: a missing one means the defaults");
	put_text("");
	expect(read_conf(&c) == 0 && c.stamp != KV_CONF_MISSING &&
	    c.stamp != KV_CONF_UNKNOWN);
	put_text("# nothing\n\n   \n\t# at all\r\n#");
	expect(read_conf(&c) == 0);
	put_text("# a comment\nmemtables = 5\n\n"
	    "  sync=batch# why\n\tmemtable_bytes\t=\t128K  # and why\r\n"
	    "compression = none, lz4 , zstd:5 # three\nstall_ms=1500ms");
	expect(read_conf(&c) == 0 && c.value[KV_SET_MEMTABLES] == 5 &&
	    c.line[KV_SET_MEMTABLES] == 2 &&
	    c.value[KV_SET_SYNC] == KEVO_SYNC_BATCH &&
	    c.line[KV_SET_SYNC] == 4 &&
	    c.value[KV_SET_MEMTABLE_BYTES] == 131072 &&
	    c.line[KV_SET_MEMTABLE_BYTES] == 5 &&
	    c.value[KV_SET_COMPRESSION] == 0x2a2a2a2a2a2a0100u &&
	    c.value[KV_SET_STALL_MS] == 1500 && c.line[KV_SET_STALL_MS] == 7 &&
	    c.value[KV_SET_LEVELS] == 7 && c.line[KV_SET_LEVELS] == 0);
	tap_report("kevo.conf: blanks, comments and line ends");
}

/* text, line and what the sentence says besides. */
static const struct {
	const char *text;
	int line;
	const char *says[3];
} wrong[] = {
	{ "colour = red\n", 1, { "colour", "no such setting" } },
	{ "# x\n\nMemtables = 3\n", 3, { "Memtables", "no such setting" } },
	{ "memtables = 65\n", 1, { "memtables", "65", "1 to 64" } },
	{ "memtables = 2\nmemtables = 3\n", 2, { "memtables", "line 1" } },
	{ "memtable_bytes = 1\n", 1, { "memtable_bytes", "64K to 1G" } },
	{ "sync = maybe\n", 1, { "sync", "maybe", "full, batch or none" } },
	{ "sync\n", 1, { "sync", "NAME = VALUE" } },
	{ "sync =\n", 1, { "sync", "nothing", "full, batch or none" } },
	{ "sync = # none\n", 1, { "sync", "nothing", "full, batch or none" } },
	{ "= full\n", 1, { "no such setting" } },
	{ "sync full\n", 1, { "NAME = VALUE" } },
	{ "sync = full full\n", 1, { "sync", "full full" } },
	{ "sync = full\n\n stall_ms = inf\n", 3, { "stall_ms", "0 to 1h" } },
	{ "compression = gz\n", 1, { "compression", "gz", "zstd" } },
	{ "levels = 2 8\n", 1, { "levels", "2 8", "2 to 8" } },
	{ "memtables = 9\n", 1, { "stall_segments", "8", "memtables" } },
	{ "stall_segments = 1\n", 1, { "stall_segments", "memtables, which "
	    "is 2" } },
	{ "memtables = 5\nsync = full\nstall_segments = 4\n", 3,
	    { "stall_segments", "memtables" } },
	{ "memtables = 5\rsync = full\n", 1, { "memtables", "1 to 64" } },
};

static void
test_wrong(void)
{
	char where[400];
	struct kv_conf c;
	struct stat st;

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		put_text(wrong[i].text);
		snprintf(where, sizeof(where), "%s/kevo.conf:%d: ", tap_dir,
		    wrong[i].line);
		expect(read_conf(&c) == KEVO_ECONFIG);
		expect(strncmp(env.msg, where, strlen(where)) == 0);
		for (int n = 0; n < 3 && wrong[i].says[n] != NULL; n++)
			if (!expect(strstr(env.msg, wrong[i].says[n]) != NULL))
				tap_note("%s", env.msg);
	}
	tap_report("kevo.conf: an error names file, line, setting and range");
	for (int i = 0; i < KV_SETTINGS; i++) {
		char text[200];

		snprintf(text, sizeof(text), "# one\n%s = -1\n",
		    kv_setting_row(i)->name);
		put_text(text);
		expect(read_conf(&c) == KEVO_ECONFIG && strstr(env.msg,
		    kv_setting_row(i)->range) != NULL && strstr(env.msg,
		    "kevo.conf:2: ") != NULL);
	}
	tap_report("kevo.conf: an impossible value of each setting");
	put_file("sync = full\0\n", 13);
	expect(read_conf(&c) == KEVO_ECONFIG);
	unlinkat(dir.fd, KV_CONF_NAME, 0);
	expect(mkdirat(dir.fd, KV_CONF_NAME, 0777) == 0);
	expect(read_conf(&c) < 0 && strstr(env.msg, tap_dir) != NULL);
	expect(unlinkat(dir.fd, KV_CONF_NAME, AT_REMOVEDIR) == 0);
	expect(mkfifoat(dir.fd, KV_CONF_NAME, 0666) == 0);
	read_conf(&c);		/* anything, but it does not wait */
	put_text("");
	if (truncate(strcat(strcpy(where, tap_dir), "/" KV_CONF_NAME),
	    KV_CONF_MAX + 1) != 0)
		tap_bail("cannot truncate");
	expect(read_conf(&c) == KEVO_ECONFIG && strstr(env.msg, "larger"));
	expect(change_1("sync=none", NULL) == KEVO_ECONFIG);
	expect(stat(where, &st) == 0 && st.st_size == KV_CONF_MAX + 1);
	tap_report("kevo.conf: what is no text file is refused");
}

/* Every byte and every length: a result is valid, or there is an error. */
static void
test_damage(void)
{
	static const char text[] = "# c\nmemtables = 5\nsync=batch\n"
	    "compression = none,lz4,zstd:5\nstall_segments = 12 # x\n";
	char b[sizeof(text)];
	struct kv_conf c;

	for (size_t i = 0; i < 8 * (sizeof(text) - 1); i++) {
		memcpy(b, text, sizeof(text));
		b[i / 8] ^= (char)(1 << i % 8);
		put_file(b, sizeof(text) - 1);
		if (read_conf(&c) == 0)
			for (int s = 0; s < KV_SETTINGS; s++)
				expect(kv_setting_valid(s, c.value[s]));
		else
			expect(strstr(env.msg, "kevo.conf:") != NULL);
	}
	for (size_t i = 0; i < sizeof(text); i++) {
		put_file(text, i);
		if (read_conf(&c) != 0)
			expect(strstr(env.msg, "kevo.conf:") != NULL);
	}
	for (int i = 0; i < 1500; i++) {
		char any[200];
		size_t n = tap_below(sizeof(any));

		for (size_t k = 0; k < n; k++)
			any[k] = i % 2 ? (char)tap_random() :
			    "=#\n ,:syncfull0\r\t\0"[tap_below(18)];
		put_file(any, n);
		if (read_conf(&c) == 0)
			expect(c.value[KV_SET_STALL_SEGMENTS] >=
			    c.value[KV_SET_MEMTABLES]);
		change_1("memtables=4", "sync=default");
	}
	tap_report("kevo.conf: damage of any kind gives valid values or an "
	    "error");
}

/* ---- changes ----------------------------------------------------------- */

static void
test_change(void)
{
	struct stat st;

	unlinkat(dir.fd, KV_CONF_NAME, 0);
	expect(change_1("sync=batch", "memtables=3") == 0);
	expect(file_is("# Settings of this database.  kevo.conf(5) tells what "
	    "they are,\n# and kevo-config(1) changes them and looks for "
	    "mistakes.\nsync = batch\nmemtables = 3\n"));
	expect(fstatat(dir.fd, KV_CONF_NAME, &st, 0) == 0 &&
	    (st.st_mode & 07777) == 0640);
	expect(faccessat(dir.fd, KV_CONF_TMP, F_OK, 0) != 0);
	tap_report("change: a new file begins with where to read about it");
	put_text("# top\n\n  sync=full   # because\r\n#memtables = 1\n"
	    "stall_ms\t=\t5s\nmemtables=2 #x\n# end");
	expect(change_1("sync=none", "memtables=16") == KEVO_ECONFIG);
	expect(change_1("sync=none", "memtables=7") == 0);
	expect(file_is("# top\n\n  sync=none   # because\r\n#memtables = 1\n"
	    "stall_ms\t=\t5s\nmemtables=7 #x\n# end"));
	expect(change_1("stall_ms=default", "levels=3") == 0);
	expect(file_is("# top\n\n  sync=none   # because\r\n#memtables = 1\n"
	    "memtables=7 #x\n# end\nlevels = 3\n"));
	expect(change_1("levels=4", "levels=default") == 0);
	expect(change_1("levels=default", "cache_bytes=default") == 0);
	expect(file_is("# top\n\n  sync=none   # because\r\n#memtables = 1\n"
	    "memtables=7 #x\n# end\n"));
	tap_report("change: comments, order and the other lines stay");
	put_text("sync = maybe\nlevels = 3\nlevels = 4\n");
	expect(change_1("levels=5", NULL) == KEVO_ECONFIG &&
	    strstr(env.msg, "kevo.conf:1: sync") != NULL);
	expect(file_is("sync = maybe\nlevels = 3\nlevels = 4\n"));
	expect(change_1("levels=5", "sync=full") == 0);
	expect(file_is("sync = full\nlevels = 5\n"));
	put_text("sync =");
	expect(change_1("sync=none", NULL) == 0 && file_is("sync =none"));
	put_text("sync = full");
	expect(change_1("levels=2", NULL) == 0 &&
	    file_is("sync = full\nlevels = 2\n"));
	tap_report("change: mends the line that it is about");
}

/* Random files and changes, compared with a list of lines. */
#define LINES	12

struct model_line {
	char before[40], value[20], after[40];
	int setting;		/* -1: none */
};

static struct model_line model[LINES + KV_SETTINGS];
static int model_lines;

static size_t
model_text(char *buf)
{
	size_t n = 0;

	for (int i = 0; i < model_lines; i++)
		n += (size_t)sprintf(buf + n, "%s%s%s\n", model[i].before,
		    model[i].value, model[i].after);
	buf[n] = '\0';
	return n;
}

static void
random_value(int s, char *buf)
{
	const struct kv_setting_row *r = kv_setting_row(s);
	char text[KV_SETTING_TEXT];

	if (r->kind == KV_KIND_LIST)
		strcpy(text, tap_below(2) ? "none,lz4" : "zstd:7");
	else
		kv_setting_print(s, r->min + tap_below(r->max - r->min + 1),
		    text);
	/* These two have to go together. */
	if (s == KV_SET_MEMTABLES)
		snprintf(text, sizeof(text), "%d", (int)tap_below(8) + 1);
	if (s == KV_SET_STALL_SEGMENTS)
		snprintf(text, sizeof(text), "%d", (int)tap_below(90) + 8);
	snprintf(buf, 20, "%.19s", text);
}

static void
random_model(void)
{
	static const char *const odd[] = {
		"# a comment = 5", "", "   ", "\t#", "#sync = none"
	};
	static const char *const ends[] = { "", " ", " # sync", "\t#=", "\r" };
	int used[KV_SETTINGS] = { 0 };

	model_lines = (int)tap_below(LINES);
	for (int i = 0; i < model_lines; i++) {
		struct model_line *l = &model[i];
		int s = (int)tap_below(KV_SETTINGS);

		l->setting = -1;
		l->value[0] = l->after[0] = '\0';
		strcpy(l->before, odd[tap_below(5)]);
		if (used[s]++ || tap_below(3) == 0)
			continue;
		l->setting = s;
		snprintf(l->before, sizeof(l->before), "%s%s%s=%s",
		    tap_below(2) ? " " : "", kv_setting_row(s)->name,
		    tap_below(2) ? "\t " : "", tap_below(2) ? " " : "");
		random_value(s, l->value);
		strcpy(l->after, ends[tap_below(5)]);
	}
}

static void
model_change(int s, const char *value)
{
	int i;

	for (i = 0; i < model_lines && model[i].setting != s; i++)
		;
	if (value == NULL && i < model_lines) {
		memmove(&model[i], &model[i + 1], (size_t)(model_lines - i -
		    1) * sizeof(model[0]));
		model_lines--;
	} else if (value != NULL && i < model_lines) {
		strcpy(model[i].value, value);
	} else if (value != NULL) {
		memset(&model[i], 0, sizeof(model[i]));
		model[i].setting = s;
		snprintf(model[i].before, sizeof(model[i].before), "%s = ",
		    kv_setting_row(s)->name);
		strcpy(model[i].value, value);
		model_lines++;
	}
}

static void
test_random(void)
{
	char text[4000], value[20], change[80];
	const char *const changes[] = { change, NULL };
	struct kv_conf c, again;
	uint64_t v;
	int s, bad = 0;

	for (int round = 0; round < 60; round++) {
		random_model();
		put_file(text, model_text(text));
		for (int i = 0; i < 6; i++) {
			s = (int)tap_below(KV_SETTINGS);
			random_value(s, value);
			if (tap_below(3) == 0)
				strcpy(value, "default");
			snprintf(change, sizeof(change), "%s=%s",
			    kv_setting_row(s)->name, value);
			expect(kv_conf_change(&env, &dir, 0644, changes,
			    &c) == 0);
			model_change(s, strcmp(value, "default") == 0 ? NULL :
			    value);
			model_text(text);
			bad += !expect(file_is(text));
			expect(read_conf(&again) == 0 && c.stamp ==
			    again.stamp && memcmp(c.value, again.value,
			    sizeof(c.value)) == 0);
			expect(strcmp(value, "default") == 0 ?
			    c.value[s] == initial(s) :
			    parse(s, value, &v) == 0 && c.value[s] == v);
		}
		if (bad > 3)
			break;
	}
	tap_report("change: as a list of lines says, whatever the file");
}

static void
test_apply(void)
{
	static const char *const bad[] = {
		"", "=", "=1", "sync", "sync=", "sync=FULL", " sync=full",
		"sync =full", "sync= full", "sync=full ", "sync=full\n",
		"memtables=0", "memtable=64K", "memtable_bytesx=1M",
		"sync=default ", "Sync=full"
	};
	struct kv_conf c;

	kv_conf_init(&c);
	expect(kv_conf_apply(&env, NULL, &c) == 0);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		const char *const changes[] = { "levels=3", bad[i], NULL };

		env.msg[0] = '\0';
		if (!expect(kv_conf_apply(&env, changes, &c) == KEVO_EINVAL &&
		    memmem(env.msg, strlen(env.msg), bad[i], strcspn(bad[i],
		    "=")) != NULL))
			tap_note("%s: %s", bad[i], env.msg);
	}
	expect(kv_conf_apply(&env, (const char *const[]){ "memtables=9",
	    "memtables=5", "levels=default", "sync=none", NULL }, &c) == 0);
	expect(c.value[KV_SET_MEMTABLES] == 5 && c.value[KV_SET_LEVELS] == 7 &&
	    c.value[KV_SET_SYNC] == KEVO_SYNC_NONE);
	expect(kv_conf_check(&env, &c) == 0);
	c.value[KV_SET_MEMTABLES] = 9;
	expect(kv_conf_check(&env, &c) == KEVO_EINVAL &&
	    strstr(env.msg, "stall_segments: 8 is below memtables") != NULL);
	tap_report("change: what is not possible is refused by name");
}

static void
test_profiles(void)
{
	const char *const *first = NULL, *const *p;
	const char *name;
	struct kv_conf c;
	int n = 0;

	for (name = kv_profile_names(); *name != '\0';
	    name += strlen(name) + 1) {
		expect((p = kv_profile(name)) != NULL);
		kv_conf_init(&c);
		expect(kv_conf_apply(&env, p, &c) == 0 &&
		    kv_conf_check(&env, &c) == 0);
		if (first == NULL)
			first = p;
		for (int i = 0; p[i] != NULL || first[i] != NULL; i++)
			if (!expect(p[i] != NULL && first[i] != NULL &&
			    strncmp(p[i], first[i], strcspn(p[i], "=") + 1)
			    == 0))
				break;
		n++;
		name += strlen(name) + 1;
		expect(*name != '\0');
	}
	expect(n == 4 && kv_profile("balanced") == first);
	expect(kv_profile("") == NULL && kv_profile("Balanced") == NULL);
	tap_report("profiles: each is possible, and of the same settings");
}

int
main(void)
{
	tap_start("settings");
	dir.path = tap_dir;
	dir.fd = open(tap_dir, O_RDONLY | O_DIRECTORY);
	test_table();
	test_values();
	test_control();
	test_read();
	test_wrong();
	test_damage();
	test_change();
	test_random();
	test_apply();
	test_profiles();
	close(dir.fd);
	return tap_end();
}
