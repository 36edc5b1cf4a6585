/*
 * ident_test: FORMAT: round trip, and each line damaged.
 */
#include "ident.h"

#include <errno.h>

#include "env.h"
#include "file.h"
#include "hash.h"
#include "kevo.h"
#include "tap.h"

static struct kv_env env;
static struct kv_names names;
static struct kv_dir dir = { .names = &names };

static const struct kv_ident sample = {
	.id = "0123456789abcde", .epoch = 7, .nonce = 0xfedcba9876543210u,
	.mode = 0640
};

static int
same(const struct kv_ident *a, const struct kv_ident *b)
{
	return memcmp(a->id, b->id, 16) == 0 && a->epoch == b->epoch &&
	    a->nonce == b->nonce && a->mode == b->mode;
}

static void
put_format(const char *text, size_t len)
{
	int fd;

	unlinkat(dir.fd, "FORMAT", 0);
	fd = openat(dir.fd, "FORMAT", O_WRONLY | O_CREAT | O_TRUNC, 0666);
	if (fd < 0 || write(fd, text, len) != (ssize_t)len)
		tap_bail("cannot write FORMAT");
	close(fd);
}

/* Lines with the hash that they must have. */
static void
put_lines(const char *text)
{
	char buf[5000];
	size_t n = strlen(text);

	snprintf(buf, sizeof(buf), "%sxxh3 %016llx\n", text,
	    (unsigned long long)kv_hash(text, n, 0));
	put_format(buf, strlen(buf));
}

static int
read_format(struct kv_ident *id)
{
	env.msg[0] = '\0';
	return kv_ident_read(&env, &dir, id);
}

/* An error, and its sentence names the file. */
static int
refused(int status)
{
	struct kv_ident id;
	int rc = read_format(&id);

	if (rc == status && strstr(env.msg, tap_dir) != NULL)
		return 1;
	tap_note("%d: %s", rc, env.msg);
	return 0;
}

static void
test_new(void)
{
	struct kv_ident a, b;

	expect(kv_ident_new(&env, &dir, &a) == 0 &&
	    kv_ident_new(&env, &dir, &b) == 0);
	expect(a.epoch == 1 && a.mode != 0);
	expect(memcmp(a.id, b.id, 16) != 0 && a.nonce != b.nonce);
	tap_report("an identity is new each time");
}

/* ---- FORMAT ------------------------------------------------------------ */

static void
test_round_trip(void)
{
	struct kv_ident id;
	struct stat st;

	expect(kv_ident_write(&env, &dir, &sample) == 0);
	expect(read_format(&id) == 0 && same(&id, &sample));
	expect(fstatat(dir.fd, "FORMAT", &st, 0) == 0 &&
	    (st.st_mode & 07777) == 0640 && st.st_nlink == 1);
	expect(faccessat(dir.fd, "FORMAT.tmp", F_OK, 0) != 0);
	tap_report("FORMAT: what was written comes back");
	id.epoch = 9;
	expect(kv_ident_write(&env, &dir, &id) < 0 &&
	    strstr(env.msg, "FORMAT") != NULL);
	expect(read_format(&id) == 0 && same(&id, &sample));
	expect(faccessat(dir.fd, "FORMAT.tmp", F_OK, 0) != 0);
	tap_report("FORMAT: one that is there is never replaced");
}

static void
test_bits(void)
{
	char text[4096], b[4096];
	size_t len;
	struct kv_ident id;
	int fd = openat(dir.fd, "FORMAT", O_RDONLY), rc;
	ssize_t n = read(fd, text, sizeof(text) - 1);

	close(fd);
	if (n <= 0)
		tap_bail("cannot read FORMAT");
	len = (size_t)n;
	for (size_t i = 0; i < len; i++)
		for (int bit = 0; bit < 8; bit++) {
			memcpy(b, text, len);
			b[i] ^= (char)(1 << bit);
			put_format(b, len);
			rc = read_format(&id);
			/* The hash may be written in other digits. */
			if (rc == 0 && i > len - 18 && same(&id, &sample))
				continue;
			if (!expect(rc == KEVO_ECORRUPT ||
			    (i < 7 && rc == KEVO_ENOTDB)))
				tap_note("byte %zu bit %d: %d %s", i, bit, rc,
				    env.msg);
			expect(strstr(env.msg, tap_dir) != NULL);
		}
	tap_report("FORMAT: any bit flipped is noticed");
	for (size_t i = 0; i < len - 1; i++) {
		put_format(text, i);
		expect(refused(i < 5 ? KEVO_ENOTDB : KEVO_ECORRUPT));
	}
	tap_report("FORMAT: cut at every length, it is refused");
	for (char *line = text; *line != '\0' && line < text + len;) {
		size_t at = (size_t)(line - text);
		size_t n_line = strcspn(line, "\n") + 1;

		memcpy(b, text, at);
		memcpy(b + at, text + at + n_line, len - at - n_line);
		put_format(b, len - n_line);
		expect(refused(at == 0 ? KEVO_ENOTDB : KEVO_ECORRUPT));
		memcpy(b, text, at + n_line);
		memcpy(b + at + n_line, text + at, len - at);
		put_format(b, len + n_line);
		if (at + n_line < len)
			expect(refused(KEVO_ECORRUPT));
		line += n_line;
	}
	tap_report("FORMAT: a line left out or doubled is noticed");
	put_format(text, len);
	expect(read_format(&id) == 0);
}

#define HEX	"id 00112233445566778899aabbccddeeff\n"
#define REST	"created 2024-01-01T00:00:00Z\nmode 0644\n"

/* Sound by its hash, and not by what it says. */
static void
test_values(void)
{
	static const char *const bad[] = {
		"kevo 2\nid 00112233445566778899aabbccddeef\nepoch 1\n"
		    "nonce 01\n" REST,
		"kevo 2\nid 00112233445566778899aabbccddeeff0\nepoch 1\n"
		    "nonce 01\n" REST,
		"kevo 2\nid 00112233445566778899AABBCCDDEEFF\nepoch 1\n"
		    "nonce 01\n" REST,
		"kevo 2\n" HEX "epoch 4294967296\nnonce 01\n" REST,
		"kevo 2\n" HEX "epoch -1\nnonce 01\n" REST,
		"kevo 2\n" HEX "epoch \nnonce 01\n" REST,
		"kevo 2\n" HEX "epoch 1x\nnonce 01\n" REST,
		"kevo 2\n" HEX "epoch 1\nnonce 10000000000000000\n" REST,
		"kevo 2\n" HEX "epoch 1\nnonce xyz\n" REST,
		"kevo 2\n" HEX "epoch 1\n" REST,
		"kevo 2\n" HEX "nonce 01\n" REST,
		"kevo 2\nepoch 1\nnonce 01\n" REST,
		"kevo 2\n" HEX "epoch 1\nnonce 01\nmode 0777\n",
		"kevo 2\n" HEX "epoch 1\nnonce 01\nmode 9\n",
		"kevo 2\n" HEX "epoch 1\nnonce 01\n",
		"kevo \n", "kevo x\n", "kevo -1\n", "kevo 99999999999\n",
		"kevo 2\n"
	};
	struct kv_ident id;

	put_lines("kevo 2\n" HEX "epoch 1\nnonce 01\n" REST);
	expect(read_format(&id) == 0 && id.epoch == 1 && id.nonce == 1 &&
	    id.id[0] == 0 && id.id[15] == 0xff && id.mode == 0644);
	put_lines("kevo 2\n" HEX "epoch 1\nnonce 01\nlater words\n" REST);
	expect(read_format(&id) == 0);
	/* Settings stood here once. */
	put_lines("kevo 2\n" HEX "epoch 1\nnonce 01\n" REST
	    "memtable_bytes 65536\nsync full\n");
	expect(read_format(&id) == 0);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		put_lines(bad[i]);
		if (!expect(refused(KEVO_ECORRUPT)))
			tap_note("case %zu", i);
	}
	tap_report("FORMAT: values out of range are damage");
}

static void
test_others(void)
{
	static const char *const other[] = {
		"", "kevo", "kev", "KEVO 1\n", "SQLite format 3", "\n",
		"xkevo 2\n"
	};
	struct kv_ident id;
	char *big = tap_alloc(5000);

	for (size_t i = 0; i < sizeof(other) / sizeof(other[0]); i++) {
		put_format(other[i], strlen(other[i]));
		expect(refused(KEVO_ENOTDB));
	}
	memset(big, 'k', 5000);
	put_format(big, 5000);
	expect(refused(KEVO_ENOTDB));
	memcpy(big, "kevo 2\n", 7);
	put_format(big, 4097);
	expect(refused(KEVO_ENOTDB));
	tap_report("FORMAT: other files are no database");
	put_format("kevo 3\nwhatever\n", 16);
	expect(refused(KEVO_ENOTDB) && strstr(env.msg, "newer") != NULL);
	put_format("kevo 4294967295\n", 16);
	expect(refused(KEVO_ENOTDB) && strstr(env.msg, "newer") != NULL);
	put_format("kevo 1\nwhatever\n", 16);
	expect(refused(KEVO_ENOTDB) && strstr(env.msg, "before") != NULL);
	tap_report("FORMAT: a newer or older version is named as such");
	unlinkat(dir.fd, "FORMAT", 0);
	expect(read_format(&id) == KEVO_ENODB);
	tap_report("FORMAT: a missing one is no database");
	for (int i = 0; i < 2000; i++) {
		size_t n = tap_below(300);

		tap_fill(big, n);
		if (n > 7 && i % 2 == 0)
			memcpy(big, "kevo 2\n", 7);
		put_format(big, n);
		expect(read_format(&id) < 0);
	}
	tap_report("FORMAT: garbage is refused");
	free(big);
}

int
main(void)
{
	tap_start("ident");
	dir.path = tap_dir;
	dir.fd = open(tap_dir, O_RDONLY | O_DIRECTORY);
	test_new();
	test_round_trip();
	test_bits();
	test_values();
	test_others();
	close(dir.fd);
	return tap_end();
}
