/*
 * check_test: each kind of file damaged at each kind of place.  A check names
 * the file; a repair keeps what can be read, and says what it cannot; and
 * after it the database is sound and holds what it should.
 */
#include "checked.h"

#include "file.h"
#include "version.h"

/* Records that may lie in one block. */
static uint64_t most_in_block = 255;

/* ---- the log ----------------------------------------------------------- */

/* Where the record of a segment lies that begins behind off. */
static uint64_t
record_behind(const struct file *f, uint64_t off, uint64_t *len)
{
	struct kv_segment_head h;
	struct kv_walk w;

	if (kv_segment_head_decode(f->b, &h) != 0)
		tap_bail("%s: no header", f->name);
	kv_walk_start(&w, f->b, f->len, &h);
	while (kv_walk_next(&w) == KV_WALK_RECORD)
		if (w.rec_off >= off) {
			*len = w.rec_len;
			return w.rec_off;
		}
	tap_bail("%s: no record behind %llu", f->name,
	    (unsigned long long)off);
}

static void
test_headers(void)
{
	for (size_t i = 0; i < nsegments; i++) {
		const struct file *f = find(segment[i]);

		for (uint64_t off = 0; off < KV_SEGMENT_HEAD; off += step(2)) {
			restore();
			flip(f, off);
			judge(f->name, 0, 0, 0);
		}
	}
	tap_report("a segment's header, each field: nothing is lost");
}

static void
test_seals(void)
{
	for (size_t i = 0; i + 1 < nsegments; i++) {
		const struct file *f = find(segment[i]);

		for (uint64_t off = f->len - KV_SEAL_LEN; off < f->len;
		    off += step(1)) {
			restore();
			flip(f, off);
			judge(f->name, off, 0, 0);
		}
	}
	tap_report("a seal, each field: nothing is lost");
}

static void
test_records(void)
{
	uint64_t at, len;

	for (size_t i = 0; i < nsegments; i++) {
		const struct file *f = find(segment[i]);

		at = record_behind(f, i + 1 < nsegments ? 20000 : 1000, &len);
		for (uint64_t off = 0; off < len; off += step(1)) {
			restore();
			flip(f, at + off);
			judge(f->name, at + off, off >= len - KV_TRAILER_LEN ?
			    0 : 1, 0);
		}
	}
	tap_report("a record, each byte: it alone is lost, or nothing");
}

static void
test_pages(void)
{
	for (size_t i = 0; i < nsegments; i++) {
		const struct file *f = find(segment[i]);

		for (int n = 0; n < 6; n++) {
			uint64_t off = i + 1 < nsegments ? tap_below(12) *
			    4096 : 4096;

			restore();
			zero(f, off, 4096);
			/* One of 160 bytes or so begins before the page. */
			judge(f->name, off + 64, 4096 / 88 + 2, 0);
		}
	}
	tap_report("a page of zeros in the log: what lies in it is lost");
}

static void
test_noise(void)
{
	uint8_t junk[700];

	for (int n = 0; n < 20; n++) {
		const struct file *f =
		    find(segment[tap_below(nsegments - 1)]);
		uint64_t off = 200 + tap_below(50000);

		tap_fill(junk, sizeof(junk));
		restore();
		overwrite(f->name, off, junk, 1 + tap_below(sizeof(junk)));
		judge(f->name, off, 700 / 88 + 2, 0);
	}
	tap_report("random bytes over a run of records");
}

static void
test_cut_segments(void)
{
	for (size_t i = 0; i < nsegments; i++) {
		const struct file *f = find(segment[i]);
		const uint64_t lens[] = { 0, 100, 128, 20000, 40001 };

		for (size_t k = 0; k < 5; k++) {
			/* A short newest segment is a torn one, but for the
			 * control that is not there. */
			if (i + 1 == nsegments)
				continue;
			restore();
			cut(f, lens[k]);
			judge(f->name, UINT64_MAX, COMMITS, 0);
		}
	}
	tap_report("a segment that was cut");
}

static void
test_missing_segments(void)
{
	for (size_t i = 0; i < nsegments; i++) {
		if (i + 1 == nsegments)
			continue;	/* nothing tells that it was there */
		restore();
		drop(segment[i]);
		judge(segment[i], UINT64_MAX, COMMITS, 0);
	}
	restore();
	for (size_t i = 0; i < nsegments; i++)
		drop(segment[i]);
	judge(segment[0], UINT64_MAX, COMMITS, 0);
	tap_report("segments that are missing");
}

static void
test_swapped_segments(void)
{
	const struct file *a = find(segment[0]), *b = find(segment[1]);

	restore();
	write_file(path, a->name, b->b, b->len);
	write_file(path, b->name, a->b, a->len);
	judge(a->name, UINT64_MAX, 0, 0);

	restore();
	write_file(path, b->name, a->b, a->len);
	judge(b->name, UINT64_MAX, COMMITS, 0);
	tap_report("segments under each other's names");
}

static void
test_foreign_segment(const struct file *foreign)
{
	for (size_t i = 0; i < nsegments; i++) {
		restore();
		write_file(path, segment[i], foreign->b, foreign->len);
		judge(segment[i], UINT64_MAX, COMMITS, 0);
	}
	tap_report("a segment of another database");
}

static void
test_stray_segment(void)
{
	static const char *const far[] = { "wal/00000000000000f0.seg",
	    "wal/ffffffffffffffff.seg" };
	const struct file *f = find(segment[0]);

	for (size_t i = 0; i < 2; i++) {
		restore();
		write_file(path, far[i], f->b, 300);
		judge(far[i], UINT64_MAX, 0, 0);
	}
	tap_report("a segment far behind the others");
}

/* ---- tables ------------------------------------------------------------ */

static void
each_table(void (*fn)(const struct file *f))
{
	for (size_t i = 0; i < nfiles; i++)
		if (strncmp(files[i].name, "table/", 6) == 0)
			fn(&files[i]);
}

static void
flip_table(const struct file *f)
{
	uint64_t by = step(f->len / 90 + 1);

	for (uint64_t off = tap_below(by); off < f->len; off += by) {
		restore();
		flip(f, off);
		judge(f->name, UINT64_MAX, 0, most_in_block);
	}
	for (uint64_t off = f->len - 192; off < f->len; off += step(2)) {
		restore();
		flip(f, off);
		judge(f->name, UINT64_MAX, 0, 0);
	}
}

static void
zero_table(const struct file *f)
{
	size_t len = f->len > 8192 ? 4096 : f->len / 3;

	for (int n = 0; n < 4; n++) {
		uint64_t off = tap_below(f->len - len);

		restore();
		zero(f, off, len);
		judge(f->name, UINT64_MAX, 0, KEYS);
	}
}

static void
cut_table(const struct file *f)
{
	const uint64_t lens[] = { 0, 10, 64, 300, 5000, f->len / 2,
	    f->len - 1 };

	for (size_t k = 0; k < 7; k++) {
		if (lens[k] >= f->len)
			continue;
		restore();
		cut(f, lens[k]);
		judge(f->name, UINT64_MAX, 0, KEYS);
	}
}

static void
drop_table(const struct file *f)
{
	restore();
	drop(f->name);
	judge(f->name, UINT64_MAX, 0, KEYS);
}

static void
replace_table(const struct file *f)
{
	restore();
	write_file(path, f->name, foreign_table->b, foreign_table->len);
	judge(f->name, UINT64_MAX, 0, KEYS);
}

static void
test_tables(void)
{
	each_table(flip_table);
	tap_report("tables, bits all over them: one group is lost, or nothing");
	each_table(zero_table);
	tap_report("tables, a page of zeros");
	each_table(cut_table);
	tap_report("tables that were cut");
	each_table(drop_table);
	tap_report("tables that are missing");
	each_table(replace_table);
	tap_report("tables of another database");
}

/* ---- versions ---------------------------------------------------------- */

static void
version_names(char newest[64], char before[64])
{
	uint64_t high = 0, n;

	for (size_t i = 0; i < nfiles; i++)
		if (strncmp(files[i].name, "version/", 8) == 0 &&
		    kv_name_number(files[i].name + 8, "", &n) && n > high)
			high = n;
	kv_version_name(newest, high);
	kv_version_name(before, high - 1);
}

static void
test_versions(void)
{
	char newest[64], before[64];
	const struct file *f;
	struct file *tables[FILES];
	size_t n = 0;

	version_names(newest, before);
	f = find(newest);
	for (uint64_t off = 0; off < f->len; off += step(1)) {
		restore();
		flip(f, off);
		judge(newest, UINT64_MAX, 0, 0);
	}
	tap_report("the newest version, each byte");
	for (uint64_t len = 0; len < f->len; len += 16) {
		restore();
		cut(f, len);
		judge(newest, UINT64_MAX, 0, 0);
	}
	tap_report("the newest version, cut");
	for (int i = 0; i < 40; i++) {
		restore();
		for (uint64_t k = 2 + tap_below(4); k > 0; k--)
			flip(f, tap_below(f->len));
		if (i % 2 == 0)		/* levels that may seem all right */
			flip(f, KV_VERSION_HEAD + 72);
		judge(newest, UINT64_MAX, 0, 0);
	}
	tap_report("the newest version, several bytes");
	f = find(before);
	for (uint64_t off = 0; off < f->len; off += step(4)) {
		restore();
		flip(f, off);
		judge(before, UINT64_MAX, 0, 0);
	}
	restore();
	flip(find(before), 90);
	flip(find(newest), 90);
	judge(before, UINT64_MAX, 0, 0);
	tap_report("the version before it");

	/* Without any version nothing tells what compaction had dropped, but
	 * here it had dropped nothing that is still in a table. */
	restore();
	drop(before);
	drop(newest);
	judge("version", UINT64_MAX, 0, 0);
	for (size_t i = 0; i < nfiles; i++)
		if (strncmp(files[i].name, "table/", 6) == 0)
			tables[n++] = &files[i];
	restore();
	drop(before);
	drop(newest);
	flip(tables[0], 2000);
	flip(find(segment[0]), 30000);
	judge("version", UINT64_MAX, 1, KEYS);
	tap_report("no version at all");
}

/* ---- FORMAT, LOCK, PINS ------------------------------------------------ */

static void
test_format(void)
{
	const struct file *f = find("FORMAT");
	struct kevo_check_result out;
	uint64_t bad = 0;

	for (uint64_t off = 0; off < f->len; off += step(1)) {
		restore();
		flip(f, off);
		judge("FORMAT", UINT64_MAX, 0, 0);
	}
	tap_report("FORMAT, each byte");
	for (uint64_t len = 0; len < f->len; len += 7) {
		restore();
		cut(f, len);
		judge("FORMAT", UINT64_MAX, 0, 0);
	}
	restore();
	drop("FORMAT");
	judge("FORMAT", UINT64_MAX, 0, 0);
	tap_report("FORMAT, cut and missing");

	restore();
	drop("FORMAT");
	for (size_t i = 0; i < nsegments; i++)
		flip(find(segment[i]), 20);
	if (!expect(check(0, &out) == KEVO_ECORRUPT))
		show_found();
	expect(check(KEVO_CHECK_REPAIR, &out) == KEVO_ECORRUPT);
	expect(strstr(out.msg, "FORMAT") != NULL);
	tap_report("FORMAT that nothing tells of: refused, and said what with");

	restore();
	overwrite("FORMAT", 5, "3", 1);
	for (uint64_t off = f->len - 17; off < f->len - 1; off++)
		overwrite("FORMAT", off, "0", 1);
	bad = check(KEVO_CHECK_REPAIR, &out) != KEVO_ENOTDB;
	expect(bad == 0);
	tap_report("FORMAT of a newer version: no damage, and not touched");
}

static void
test_small_files(const struct file *foreign)
{
	struct kevo_check_result out;

	restore();
	drop("LOCK");
	judge("LOCK", UINT64_MAX, 0, 0);
	tap_report("LOCK is missing");
	restore();
	drop("PINS");
	expect(check(0, &out) == 0);
	tap_report("PINS is missing: no damage");
	restore();
	write_file(path, "FORMAT", foreign->b, foreign->len);
	for (size_t i = 0; i < 2; i++) {
		char name[2][64];

		version_names(name[0], name[1]);
		drop(name[i]);
	}
	judge("FORMAT", UINT64_MAX, 0, 0);
	tap_report("FORMAT of another database");
}

/* ---- several at once --------------------------------------------------- */

static void
test_many(void)
{
	for (int n = 0; n < 60; n++) {
		struct kevo_check_result out;
		int rc;

		restore();
		for (uint64_t k = 1 + tap_below(5); k > 0; k--) {
			const struct file *f = &files[tap_below(nfiles)];

			if (f->len == 0 || strcmp(f->name, "kevo.conf") == 0)
				continue;
			if (tap_below(8) == 0)
				cut(f, tap_below(f->len));
			else if (tap_below(4) == 0 && f->len > 4096)
				zero(f, tap_below(f->len - 4096), 4096);
			else
				flip(f, tap_below(f->len));
		}
		rc = check(KEVO_CHECK_REPAIR, &out);
		if (rc < 0)
			continue;	/* FORMAT and segments, say */
		if (!expect(rc == 0 || out.repaired) ||
		    !expect(check(0, &out) == 0)) {
			tap_note("round %d: %s", n, out.msg);
			show_found();
		}
		must(NULL, 0, "");
		{
			struct kevo *db = open_db(path, 0);

			for (unsigned k = 0; k < KEYS; k++)
				commit_of(db, k);
			must(db, kevo_close(db), "close");
		}
	}
	tap_report("several damages: whatever is left is put in order");
}

/* ---- answers ----------------------------------------------------------- */

static int
stop(void *arg, uint64_t bytes, uint64_t total)
{
	(void)bytes;
	(void)total;
	return --*(int *)arg < 0;
}

static void
test_answers(void)
{
	struct kevo_check_result out;
	struct kevo_check c = { .progress = stop };
	int n = 2;

	restore();
	expect(kevo_check(path, NULL, &out) == 0);
	expect(out.records > 0 && out.last_commit == commits);
	expect(check(KEVO_CHECK_FAST, &out) == 0);
	c.arg = &n;
	expect(kevo_check(path, &c, &out) == KEVO_EBUSY);
	wipe(path);
	expect(kevo_check(path, NULL, &out) == KEVO_ENODB);
	expect(out.msg[0] != '\0');
	expect(kevo_check("", NULL, &out) == KEVO_EINVAL);
	if (mkdir(path, 0700) != 0)
		tap_bail("mkdir");
	expect(kevo_check(path, NULL, &out) == KEVO_ENODB);
	write_file(path, "something", "x", 1);
	expect(kevo_check(path, NULL, &out) == KEVO_ENOTDB);
	tap_report("what it answers");
}

int
main(void)
{
	struct file seg = { .b = NULL }, tab = { .b = NULL },
	    format = { .b = NULL };

	begin_test("check");
	begin(&seg, &tab, &format);
	test_answers();
	test_headers();
	test_seals();
	test_records();
	test_pages();
	test_noise();
	test_cut_segments();
	test_missing_segments();
	test_swapped_segments();
	test_foreign_segment(&seg);
	test_stray_segment();
	test_tables();
	test_versions();
	test_format();
	test_small_files(&format);
	test_many();

	compression = "compression=lz4,zstd";
	most_in_block = KEYS;
	begin(&seg, &tab, &format);
	test_tables();
	test_versions();
	test_many();
	free(seg.b);
	free(tab.b);
	free(format.b);
	return tap_end();
}
