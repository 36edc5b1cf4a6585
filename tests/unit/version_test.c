/*
 * version_test: version files: round trip, edits, and every byte damaged.
 */
#include "version.h"

#include "coding.h"
#include "env.h"
#include "file.h"
#include "hash.h"
#include "kevo.h"
#include "tap.h"

static struct kv_env env;
static struct kv_names names;
static struct kv_dir dir = { .names = &names };
static const uint8_t id[16] = "0123456789abcde";

static void ok(int good, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

static void
ok(int good, const char *fmt, ...)
{
	char what[400];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	expect(good);
	tap_report(what);
}

static struct kv_vtable
table(uint32_t level, uint64_t number, const char *first, const char *last,
    uint64_t min_seq, uint64_t max_seq)
{
	struct kv_vtable t = { .level = level };

	t.info.number = number;
	t.info.size = 1000 + number;
	t.info.hash = number * 77;
	t.info.count = 10;
	t.info.deletes = 2;
	t.info.expiring = 1;
	t.info.raw_bytes = 500;
	t.info.min_seq = min_seq;
	t.info.max_seq = max_seq;
	t.info.first = (const uint8_t *)first;
	t.info.first_len = (uint32_t)strlen(first);
	t.info.last = (const uint8_t *)last;
	t.info.last_len = (uint32_t)strlen(last);
	return t;
}

static struct kv_version_edit
edit(const struct kv_version *base, const struct kv_vtable *add, size_t nadd)
{
	struct kv_version_edit e = {
		.base = base, .add = add, .nadd = nadd, .last_seq = 100,
		.dropped_to = 7, .next_file = 50, .first_segment = 4,
		.first_seq = 101, .chain_before = 0xabcdef, .time_ns = 12345
	};

	return e;
}

static struct kv_version *
zero(void)
{
	struct kv_version *v;

	if (kv_version_read(&env, &dir, id, 0, 99, &v) != 0)
		tap_bail("version 0");
	return v;
}

static int
install(const struct kv_version_edit *e, struct kv_version **out)
{
	return kv_version_install(&env, &dir, id, 0644, e, out);
}

static void
test_zero(void)
{
	struct kv_version *v = zero();
	uint64_t n = 5;

	ok(v->ntables == 0 && v->first_segment == 1 && v->first_seq == 1 &&
	    v->chain_before == 99 && v->last_seq == 0,
	    "version 0 has no tables and begins with segment 1");
	ok(kv_version_newest(&env, &dir, &n) == 0 && n == 0,
	    "an empty directory has version 0");
	kv_version_unref(v);
}

static void
test_install(void)
{
	struct kv_vtable add[] = {
		table(1, 12, "m", "z", 1, 40), table(0, 20, "a", "k", 51, 90),
		table(1, 11, "a", "lz", 2, 50), table(0, 21, "b", "c", 91, 95)
	};
	struct kv_version *base = zero(), *v, *w;
	struct kv_version_edit e = edit(base, add, 4);
	uint64_t drop[] = { 11, 20 }, n;

	ok(install(&e, &v) == 0, "install");
	ok(v->number == 1 && v->ntables == 4 && v->last_seq == 100 &&
	    v->dropped_to == 7 && v->next_file == 50 &&
	    v->first_segment == 4 && v->first_seq == 101 &&
	    v->chain_before == 0xabcdef && v->time_ns == 12345,
	    "the head comes back");
	ok(v->table[0].info.number == 21 && v->table[1].info.number == 20 &&
	    v->table[2].info.number == 11 && v->table[3].info.number == 12,
	    "level 0 newest first, level 1 by key");
	ok(v->level_start[0] == 0 && v->level_start[1] == 2 &&
	    v->level_start[2] == 4 && v->level_start[KV_LEVELS] == 4,
	    "where levels start");
	ok(v->table[2].info.hash == 11 * 77 && v->table[2].info.size == 1011 &&
	    v->table[2].info.last_len == 2 &&
	    memcmp(v->table[2].info.last, "lz", 2) == 0 &&
	    v->table[2].info.deletes == 2 && v->table[2].info.max_seq == 50,
	    "what a table says comes back");
	ok(kv_version_find(v, 1, "a", 1) == 2 &&
	    kv_version_find(v, 1, "lz", 2) == 2 &&
	    kv_version_find(v, 1, "lzz", 3) == 3 &&
	    kv_version_find(v, 1, "zz", 2) == 4, "find the table of a key");
	ok(install(&e, &w) == KEVO_FALSE, "a number is given once");
	e = edit(v, NULL, 0);
	e.drop = drop;
	e.ndrop = 2;
	ok(install(&e, &w) == 0 && w->number == 2 && w->ntables == 2 &&
	    w->table[0].info.number == 21 && w->table[1].info.number == 12,
	    "drop tables");
	ok(kv_version_newest(&env, &dir, &n) == 0 && n == 2, "the newest");
	kv_version_unref(w);
	e = edit(v, add + 2, 1);
	ok(install(&e, &w) == KEVO_EINVAL, "overlap in a level is refused");
	ok(kv_version_read(&env, &dir, id, 3, 0, &w) == KEVO_NOTFOUND,
	    "no such version");
	kv_version_unref(v);
	kv_version_unref(base);
}

/* ---- damage ------------------------------------------------------------ */

static char file[4096];
static size_t file_len;

static void
load(const char *name)
{
	int fd = openat(dir.fd, name, O_RDONLY);
	ssize_t n = fd < 0 ? -1 : read(fd, file, sizeof(file));

	if (n <= 0)
		tap_bail("cannot read a version");
	file_len = (size_t)n;
	close(fd);
}

static int
try(const char *b, size_t len)
{
	struct kv_version *v = NULL;
	char name[KV_VERSION_NAME_LEN];
	int fd, rc;

	kv_version_name(name, 1);
	unlinkat(dir.fd, name, 0);
	fd = openat(dir.fd, name, O_WRONLY | O_CREAT, 0666);
	if (fd < 0 || write(fd, b, len) != (ssize_t)len)
		tap_bail("cannot write a version");
	close(fd);
	rc = kv_version_read(&env, &dir, id, 1, 0, &v);
	kv_version_unref(v);
	return rc;
}

/* With the hash that it must have, so that the fields are looked at. */
static int
try_field(size_t off, uint64_t value, size_t width)
{
	char b[sizeof(file)];

	memcpy(b, file, file_len);
	memcpy(b + off, &value, width);
	put_le64(b + file_len - 8, kv_hash(b, file_len - 8, 0));
	return try(b, file_len);
}

static void
test_damage(void)
{
	static const struct {
		size_t off, width;
		uint64_t value;
		const char *what;
	} field[] = {
		{ 8, 4, 2, "format" }, { 12, 4, 1, "fewer tables" },
		{ 12, 4, 1u << 31, "very many tables" },
		{ 16, 1, 'x', "database" }, { 32, 8, 2, "number" },
		{ 40, 8, 3, "last sequence below a table's" },
		{ 56, 8, 12, "next file below a table's" },
		{ 56, 8, 0, "no next file" },
		{ 64, 8, 0, "first segment 0" }, { 72, 8, 0, "first sequence" },
		{ 128, 8, 0, "table number 0" },
		{ 152, 8, 0, "a table without records" },
		{ 160, 8, 11, "more deletions than records" },
		{ 168, 8, 11, "more expiring than records" },
		{ 184, 8, 96, "sequences the wrong way round" },
		{ 200, 4, 1, "level out of order" }, { 200, 4, 8, "level 8" },
		{ 204, 4, 0, "empty first key" },
		{ 204, 4, 2, "first key too long" },
		{ 208, 4, 0xffffffff, "last key of 4 GiB" },
		{ 212, 4, 1, "reserved" }, { 216, 8, 1, "reserved" }
	};
	int bad = 0, n = 0;
	char b[sizeof(file)];

	load("version/0000000000000001");
	for (size_t i = 0; i < sizeof(field) / sizeof(field[0]); i++)
		ok(try_field(field[i].off, field[i].value, field[i].width) ==
		    KEVO_ECORRUPT, "damaged: %s: %s", field[i].what, env.msg);
	for (size_t i = 0; i < file_len * 8; i++, n++) {
		memcpy(b, file, file_len);
		b[i / 8] = (char)(b[i / 8] ^ 1 << i % 8);
		bad += try(b, file_len) != KEVO_ECORRUPT;
	}
	ok(bad == 0, "each of %d flipped bits is noticed", n);
	for (size_t i = bad = 0; i < file_len; i++)
		bad += try(file, i) != KEVO_ECORRUPT;
	ok(bad == 0, "each length but the right one is noticed");
	ok(try(file, file_len) == 0, "and the file itself is sound");
}

int
main(void)
{
	tap_start("version");
	dir.path = tap_dir;
	dir.fd = open(tap_dir, O_RDONLY | O_DIRECTORY);
	if (dir.fd < 0 || mkdirat(dir.fd, "version", 0777) != 0)
		tap_bail("cannot make a directory");
	test_zero();
	test_install();
	test_damage();
	for (uint64_t n = 1; n <= 2; n++) {
		char name[KV_VERSION_NAME_LEN];

		kv_version_name(name, n);
		unlinkat(dir.fd, name, 0);
	}
	ok(unlinkat(dir.fd, "version", AT_REMOVEDIR) == 0,
	    "nothing else is left");
	return tap_end();
}
