/*
 * Bases: their texts and names, and an archive of which every byte is changed
 * and every end is cut, in memory.
 */
#include <dirent.h>
#include <errno.h>
#include <sys/mman.h>

#include "db.h"
#include "hash.h"
#include "ship/base.h"
#include "ship/ship.h"
#include "tap.h"
#include "when.h"

/* ---- texts ------------------------------------------------------------- */

static void
random_base(struct kv_base *b)
{
	memset(b, 0, sizeof(*b));
	for (int i = 0; i < 16; i++)
		b->db[i] = (uint8_t)tap_below(256);
	b->mode = (uint32_t)tap_below(0667);
	b->start.epoch = 1 + (uint32_t)tap_below(9);
	b->start.nonce = tap_below(UINT64_MAX);
	b->start.seq = tap_below(1000);
	b->start.chain = tap_below(UINT64_MAX);
	b->end = b->start;
	b->end.seq += tap_below(1000);
	b->time_ns = tap_below((uint64_t)1 << 62);
	b->has_parent = (int)tap_below(2);
	if (b->has_parent)
		b->parent = b->start;
	b->version = b->has_parent ? tap_below(3) : 1 + tap_below(99);
	b->first_segment = 1 + tap_below(99);
	b->last_segment = b->first_segment + tap_below(9);
	b->files = 20 + tap_below(99);
	b->bytes = tap_below((uint64_t)1 << 40);
}

static void
test_head(void)
{
	char text[KV_BASE_TEXT_MAX], copy[KV_BASE_TEXT_MAX];
	struct kv_base b, back;
	size_t len;

	for (int i = 0; i < 200; i++) {
		random_base(&b);
		len = kv_base_print(text, &b);
		expect(kv_base_parse(text, len, &back) == 0);
		expect(kv_base_print(copy, &back) == len &&
		    memcmp(copy, text, len) == 0);
	}
	for (size_t n = 0; n < len; n++)
		expect(kv_base_parse(text, n, &back) != 0);
	for (size_t n = 0; n < len; n++)
		for (int bit = 0; bit < 8; bit++) {
			memcpy(copy, text, len);
			copy[n] = (char)(copy[n] ^ 1 << bit);
			expect(kv_base_parse(copy, len, &back) != 0);
		}
	tap_report("KEVO-BASE: what is written is read, and nothing else");
}

/* With a sum that fits, a line that says what cannot be. */
static int
accepts(struct kv_base b)
{
	char text[KV_BASE_TEXT_MAX];
	struct kv_base back;
	size_t len = kv_base_print(text, &b);

	return kv_base_parse(text, len, &back) == 0;
}

static void
test_impossible(void)
{
	struct kv_base good, b;

	do
		random_base(&good);
	while (!good.has_parent);
	expect(accepts(good));
#define REFUSED(change) do { b = good; change; expect(!accepts(b)); } while (0)
	REFUSED(b.mode = 0777);
	REFUSED(b.end.seq = b.start.seq - 1; b.start.seq++);
	REFUSED(b.first_segment = 0);
	REFUSED(b.last_segment = b.first_segment - 1);
	REFUSED(b.last_segment = b.first_segment + b.files);
	REFUSED(b.files = (uint64_t)1 << 32);
	REFUSED(b.bytes = UINT64_MAX);
	REFUSED(b.parent.seq = b.end.seq + 1);
	REFUSED(b.has_parent = 0; b.version = 0; b.start.seq = 5;
	    b.end.seq = 9);
	REFUSED(b.end.epoch = 0);
#undef REFUSED
	tap_report("KEVO-BASE: impossible values are refused");
}

static void
test_end(void)
{
	struct kv_base_end e = { .files = 12, .bytes = 345 }, back;
	char text[KV_BASE_TEXT_MAX];
	size_t len;

	kv_hash128_of("x", 1, e.sums);
	len = kv_base_end_print(text, &e);
	expect(kv_base_end_parse(text, len, &back) == 0 &&
	    strcmp(back.sums, e.sums) == 0 && back.files == 12 &&
	    back.bytes == 345);
	for (size_t n = 0; n < len; n++) {
		expect(kv_base_end_parse(text, n, &back) != 0);
		text[n]++;
		expect(kv_base_end_parse(text, len, &back) != 0);
		text[n]--;
	}
	tap_report("END: likewise");
}

static void
test_names(void)
{
	static const char *const wrong[] = { "", "x", "KEVO-BASE/", "LOCK ",
	    "wal", "wal/", "wal/1.seg", "wal/0000000000000000.seg",
	    "wal/0000000000000001.seg.zst", "wal/000000000000000A.seg",
	    "wal/../LOCK", "table/0000000000000001", "version/",
	    "version/0000000000000001.sst", "epochs/0000001.epoch",
	    "epochs/00000001.epoch.tmp", "shm/control", "role", "END\n" };
	struct kv_base_member m, back;
	char name[KV_BASE_NAME_LEN];

	for (int k = KV_BASE_HEAD; k <= KV_BASE_END; k++) {
		memset(&m, 0, sizeof(m));
		m.kind = (enum kv_base_kind)k;
		if (k == KV_BASE_EPOCH || k == KV_BASE_VERSION ||
		    k == KV_BASE_TABLE || k == KV_BASE_SEGMENT)
			m.number = 1 + tap_below(1 << 30);
		kv_base_name(name, &m);
		expect(kv_base_name_parse(name, &back) == 0 &&
		    back.kind == m.kind && back.number == m.number);
	}
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		expect(kv_base_name_parse(wrong[i], &back) != 0);
	tap_report("names: those there are, and no others");
}

static void
test_times(void)
{
	static const struct {
		const char *s;
		uint64_t ns;
	} good[] = {
		{ "1970-01-01T00:00:00Z", 0 },
		{ "1970-01-01T01:00:00+01:00", 0 },
		{ "1969-12-31T23:59:00-00:01", 0 },
		{ "2026-11-22T13:59:00Z", 1795355940000000000 },
		{ "2026-11-22t13:59:00.5z", 1795355940500000000 },
		{ "2024-02-29 00:00:00.123456789999Z", 1709164800123456789 },
		{ "@0", 0 }, { "@1795355940.25", 1795355940250000000 }
	};
	static const char *const wrong[] = { "", "2026", "2026-11-22",
	    "2026-11-22T13:59:00", "2026-11-22T13:59Z",
	    "2026-13-22T13:59:00Z", "2026-02-30T13:59:00Z",
	    "2026-11-22T24:00:00Z", "2026-11-22T13:60:00Z",
	    "2026-11-22T13:59:00.Z", "2026-11-22T13:59:00Zx",
	    "2026-11-22T13:59:00+1", "1969-12-31T23:59:59Z", "@", "@x", "@-1",
	    "@99999999999999999999", "-026-11-22T13:59:00Z" };
	char buf[WHEN_LEN];
	uint64_t ns;

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		expect(when_parse(good[i].s, &ns) == 0 && ns == good[i].ns);
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		expect(when_parse(wrong[i], &ns) != 0);
	when_print(buf, 1795355940250000000);
	expect(strcmp(buf, "2026-11-22T13:59:00.25Z") == 0);
	when_print(buf, 0);
	expect(strcmp(buf, "1970-01-01T00:00:00Z") == 0);
	tap_report("times: RFC 3339, with offset and fraction, and seconds");
}

/* ---- an archive in memory ---------------------------------------------- */

static struct kv_env env;
static uint8_t whole[1 << 20];
static size_t whole_len;

static int
put(void *arg, const void *p, size_t len)
{
	(void)arg;
	if (len > sizeof(whole) - whole_len)
		return kv_fail(&env, KEVO_EIO, "too much");
	memcpy(whole + whole_len, p, len);
	whole_len += len;
	return 0;
}

static void
make(enum kv_tar_filter filter)
{
	struct kv_base_write w = { .sink = { put, NULL }, .filter = filter,
		.time = -1 };
	struct kv_base made;
	char path[300];
	struct kevo *db;

	snprintf(path, sizeof(path), "%s/a.kv", tap_dir);
	if (kevo_open(path, KEVO_CREATE, NULL, &db) != 0 ||
	    kevo_put(db, "k", 1, "v", 1, NULL, NULL) != 0 ||
	    kevo_compact(db, &(struct kevo_compact){ .flags =
	    KEVO_COMPACT_FULL }, NULL) != 0 ||
	    kevo_put(db, "k", 1, "w", 1, NULL, NULL) != 0)
		tap_bail("%s", kevo_errmsg(db));
	whole_len = 0;
	if (kv_base_write(db, &w, &made) != 0)
		tap_bail("%s", kevo_errmsg(db));
	kevo_close(db);
}

/* What is told of an archive, as one number. */
static uint64_t told;

static void
tell_member(const struct kv_base_member *m)
{
	uint64_t v[3] = { m->kind, m->number, m->size };

	told = kv_hash(v, sizeof(v), told);
}

static int
on_small(void *arg, const struct kv_base_member *m, const void *p,
    size_t len)
{
	(void)arg;
	tell_member(m);
	told = kv_hash(p, len, told);
	return 0;
}

static int
on_begin(void *arg, const struct kv_base_member *m)
{
	(void)arg;
	tell_member(m);
	return 0;
}

static int
on_data(void *arg, const void *p, size_t len)
{
	const uint8_t *b = p;

	(void)arg;
	while (len-- > 0)	/* however it comes in pieces */
		told = kv_hash(b++, 1, told);
	return 0;
}

static int
read_it(const uint8_t *b, size_t len)
{
	static int fd = -1;
	struct kv_base_sink sink = { .small = on_small, .begin = on_begin,
		.data = on_data };
	struct kv_tar_in *in;
	struct kv_base base;
	int rc;

	if (fd < 0)
		fd = memfd_create("base", MFD_CLOEXEC);
	if (fd < 0 || ftruncate(fd, 0) != 0 || lseek(fd, 0, SEEK_SET) != 0 ||
	    pwrite(fd, b, len, 0) != (ssize_t)len)
		tap_bail("memfd: %s", strerror(errno));
	told = 0;
	if ((rc = kv_tar_open(&env, fd, "memory", NULL, &in)) != 0)
		return rc;
	rc = kv_base_read(&env, in, "memory", &sink, &base);
	kv_tar_close(in);
	return rc;
}

static int
is_refusal(int rc)
{
	return rc == KV_SHIP_SHORT || rc == KV_SHIP_CORRUPT;
}

static void
test_archive(enum kv_tar_filter filter, const char *name)
{
	static uint8_t bad[sizeof(whole)];
	unsigned passed = 0, tried = 0;
	uint64_t right;
	char text[80];
	int rc;

	make(filter);
	expect(read_it(whole, whole_len) == 0);
	right = told;
	for (size_t n = 0; n < whole_len; n++) {
		rc = read_it(whole, n);
		/* What stands behind END is of no use. */
		expect(rc == KV_SHIP_SHORT || (rc == 0 && told == right &&
		    n + 1100 > whole_len));
	}
	for (size_t n = 0; n < whole_len; n++) {
		memcpy(bad, whole, whole_len);
		bad[n] = (uint8_t)(bad[n] ^ 1 << tap_below(8));
		rc = read_it(bad, whole_len);
		expect(is_refusal(rc) || (rc == 0 && told == right));
		passed += rc == 0;
		tried++;
	}
	printf("# %s: %zu bytes, %u flips, %u in bytes that say nothing\n",
	    name, whole_len, tried, passed);
	expect(passed < tried / 2 + tried / 3);
	snprintf(text, sizeof(text), "%s: cut, or with a bit changed, it is "
	    "refused", name);
	tap_report(text);
}

/* ---- damage is not backed up ------------------------------------------- */

/* The file with the highest number in a directory of the database. */
static int
open_newest(const char *sub)
{
	char dir[300], path[600], best[256] = "";
	struct dirent *e;
	DIR *d;
	int fd;

	snprintf(dir, sizeof(dir), "%s/a.kv/%s", tap_dir, sub);
	if ((d = opendir(dir)) == NULL)
		tap_bail("%s: %s", dir, strerror(errno));
	while ((e = readdir(d)) != NULL)
		if (strcmp(e->d_name, best) > 0)
			snprintf(best, sizeof(best), "%s", e->d_name);
	closedir(d);
	snprintf(path, sizeof(path), "%s/%s", dir, best);
	if ((fd = open(path, O_RDWR)) < 0)
		tap_bail("%s: %s", path, strerror(errno));
	return fd;
}

/* Bytes of a file that are not what they were: how many of them a backup
 * takes no notice of. */
static unsigned
unnoticed(struct kevo *db, const char *sub, size_t len)
{
	struct kv_base_write w = { .sink = { put, NULL }, .time = -1 };
	unsigned n = 0;
	struct kv_base made;
	uint8_t byte, bad;
	int fd = open_newest(sub);

	if (len == 0)
		len = (size_t)lseek(fd, 0, SEEK_END);
	for (size_t i = 0; i < len; i++) {
		expect(pread(fd, &byte, 1, (off_t)i) == 1);
		bad = (uint8_t)(byte ^ 1 << tap_below(8));
		expect(pwrite(fd, &bad, 1, (off_t)i) == 1);
		whole_len = 0;
		n += kv_base_write(db, &w, &made) != KEVO_ECORRUPT;
		expect(pwrite(fd, &byte, 1, (off_t)i) == 1);
	}
	close(fd);
	return n;
}

static void
test_damage(void)
{
	struct kv_base_write w = { .sink = { put, NULL }, .time = -1 };
	struct kv_base made;
	char path[300];
	struct kevo *db;

	make(KV_TAR_PLAIN);
	snprintf(path, sizeof(path), "%s/a.kv", tap_dir);
	if (kevo_open(path, KEVO_RDONLY, NULL, &db) != 0)
		tap_bail("%s", kevo_errmsg(db));
	expect(unnoticed(db, "table", 0) == 0);
	/* Header and the two records. */
	expect(unnoticed(db, "wal", KV_SEGMENT_HEAD + 64) == 0);
	whole_len = 0;
	expect(kv_base_write(db, &w, &made) == 0);
	kevo_close(db);
	tap_report("writing: no byte of a table or of the log may differ");
}

int
main(void)
{
	tap_start("base");
	test_head();
	test_impossible();
	test_end();
	test_names();
	test_times();
	if (kv_tar_available()) {
		test_archive(KV_TAR_PLAIN, "plain");
		test_archive(KV_TAR_ZSTD, "zstd");
		test_archive(KV_TAR_GZIP, "gzip");
		test_damage();
	}
	return tap_end();
}
