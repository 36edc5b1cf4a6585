/*
 * bench_place: where the databases of a benchmark are, and how they get to
 * the state in which a test starts.
 *
 * Without a path of the user's everything is below one directory, made in
 * the current one and removed at the end; a test that starts with a new
 * database gets one with a new name.  Below a path of the user's nothing is
 * ever removed.
 */
#include <errno.h>
#include <ftw.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "bench.h"

enum { FILL_RECORDS = 1000, FILL_BYTES = 16 << 20 };

static struct {
	char dir[40];		/* the temporary directory; "" if none */
	char db[60];		/* the database in it */
	unsigned made;		/* how many there were */
	int dirty;		/* written since everything was merged */
	int used;		/* it is not empty */
} place;

/* ---- removing ---------------------------------------------------------- */

static int
remove_one(const char *path, const struct stat *st, int type, struct FTW *f)
{
	(void)st;
	(void)type;
	(void)f;
	return remove(path) != 0 && errno != ENOENT;
}

/* What compacts in the background may still make a file. */
static void
remove_tree(const char *path)
{
	int tries;

	for (tries = 0; tries < 10; tries++)
		if (nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS) == 0 ||
		    errno == ENOENT)
			return;
	cli_msg("%s: cannot be removed: %s", path, strerror(errno));
}

void
bench_place_remove(void)
{
	if (place.dir[0] != '\0')
		remove_tree(place.dir);
	place.dir[0] = '\0';
}

/* ---- making ------------------------------------------------------------ */

static void
refuse_existing(const char *path)
{
	char format[4200];

	if (snprintf(format, sizeof(format), "%s/FORMAT", path) <
	    (int)sizeof(format) && access(format, F_OK) == 0)
		cli_die(EX_CANTCREAT_, "%s: is a database already; with "
		    "--existing it is only read", path);
}

void
bench_place_init(struct bench *b, const char *path)
{
	if (path != NULL) {
		b->db = cli_db_path(path);
		if (!b->existing)
			refuse_existing(b->db);
		return;
	}
	snprintf(place.dir, sizeof(place.dir), "kevo-bench.XXXXXX");
	if (mkdtemp(place.dir) == NULL) {
		place.dir[0] = '\0';
		cli_die(EX_CANTCREAT_, "cannot create a directory here: %s",
		    strerror(errno));
	}
	b->db = place.db;
}

int
bench_place_try(struct bench *b, const char *const *settings, char *why,
    size_t room)
{
	struct kevo_options opt = { .program = "kevo-bench",
	    .settings = settings };
	struct kevo *db;
	int rc;

	if (place.dir[0] != '\0') {
		if (place.made > 0)
			remove_tree(place.db);
		snprintf(place.db, sizeof(place.db), "%s/%u.kv", place.dir,
		    ++place.made);
	}
	cli_guard_maps(b->db);
	rc = kevo_open(b->db, KEVO_CREATE | KEVO_EXISTING, &opt, &db);
	if (rc == KEVO_EINVAL && db != NULL)
		snprintf(why, room, "%s", kevo_errmsg(db));
	else if (rc != 0)
		cli_fail(db, rc);
	kevo_close(db);
	if (b->data != NULL)
		bench_data_clear(b->data);
	place.dirty = place.used = 0;
	return rc;
}

void
bench_place_new(struct bench *b, const char *const *settings)
{
	char why[1024];

	/* The setting came from an operand, not from a file. */
	if (bench_place_try(b, settings, why, sizeof(why)) != 0)
		cli_die(EX_USAGE_, "%s", why);
}

/* ---- the state that a test starts in ----------------------------------- */

static void
phase(const struct bench *b, const struct bench_test *t, const char *verb)
{
	static struct bench_result res[1 + BENCH_PARTS];
	struct bench with = *b;

	with.batch = FILL_BYTES / (b->shape.vmax + b->shape.klen);
	if (with.batch > FILL_RECORDS)
		with.batch = FILL_RECORDS;
	if (with.batch == 0)
		with.batch = 1;
	with.limit_ms = -1;
	with.ops_set = 0;
	with.open.sync = "none";
	bench_run(&with, t, verb, res);
}

static void
fill(struct bench *b)
{
	if (bench_data_absent(b->data) == 0)
		return;
	phase(b, &bench_fill, "filling");
	place.dirty = place.used = 1;
}

void
bench_place_settle(struct bench *b)
{
	if (!place.dirty || b->unsettled)
		return;
	phase(b, &bench_settle, "settling");
	place.dirty = 0;
}

void
bench_place_prepare(struct bench *b, const struct bench_test *t)
{
	if (b->existing)
		return;
	if ((t->start == BENCH_EMPTY || t->start == BENCH_OVERWRITTEN) &&
	    place.used && place.dir[0] != '\0')
		bench_place_new(b, b->open.settings);
	if (t->start == BENCH_OVERWRITTEN) {
		fill(b);
		phase(b, &bench_refill, "overwriting");
	}
	if (t->start == BENCH_FULL) {
		fill(b);
		bench_place_settle(b);
	}
	if (t->writes || t == &bench_exec)
		place.dirty = place.used = 1;
}

/* ---- what there is ----------------------------------------------------- */

static uint64_t sum;

static int
add_one(const char *path, const struct stat *st, int type, struct FTW *f)
{
	(void)path;
	(void)type;
	(void)f;
	sum += (uint64_t)st->st_blocks * 512;
	return 0;
}

uint64_t
bench_place_bytes(const struct bench *b)
{
	sum = 0;
	nftw(b->db, add_one, 16, FTW_PHYS);
	return sum;
}

const char *
bench_place_filesystem(const struct bench *b)
{
	static const struct {
		unsigned long type;
		const char *name;
	} known[] = {
		{ 0xef53, "ext4" }, { 0x58465342, "xfs" },
		{ 0x9123683e, "btrfs" }, { 0x01021994, "tmpfs" },
		{ 0x794c7630, "overlayfs" }, { 0x2fc12fc1, "zfs" },
		{ 0xf2f52010, "f2fs" }, { 0xca451a4e, "bcachefs" }
	};
	static char other[24];
	struct statfs fs;
	size_t i;

	if (statfs(b->db, &fs) != 0)
		return "unknown";
	for (i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if ((unsigned long)fs.f_type == known[i].type)
			return known[i].name;
	snprintf(other, sizeof(other), "%#lx", (unsigned long)fs.f_type);
	return other;
}
