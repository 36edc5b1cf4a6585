/*
 * damage_test: the engine over a damaged log, or FORMAT, is refused by the
 * name of the file; a torn end is cut off.
 */
#include "damaged.h"

/* ---- the log ----------------------------------------------------------- */

static uint64_t
record_at(const struct file *f, unsigned n)
{
	uint64_t off = KV_SEGMENT_HEAD;

	while (n-- > 0)
		off += kv_record_len(get_le32(f->b + off));
	return off;
}

static unsigned
records_in(const struct file *f)
{
	unsigned n = 0;

	for (uint64_t off = KV_SEGMENT_HEAD; off + KV_FRAME_LEN < f->len &&
	    get_le32(f->b + off) != 0 &&
	    memcmp(f->b + off, "KEVOSEAL", 8) != 0; n++)
		off += kv_record_len(get_le32(f->b + off));
	return n;
}

static void
flip_range(uint64_t counter, uint64_t from, uint64_t len)
{
	const struct file *f = &segment[counter];

	for (uint64_t off = from; off < from + len; off++) {
		flip(f, off, (int)tap_below(8));
		if (!expect(refused(counter, off % 2 ? KEVO_RDONLY : 0)))
			tap_note("segment %d byte %d", (int)counter,
			    (int)off);
		write_at(f->name, f->b + off, 1, off);
	}
}

static void
test_sealed(void)
{
	uint64_t mid = 2, n = records_in(&segment[mid]);
	uint64_t off = record_at(&segment[mid], (unsigned)n / 2), total;

	flip_range(1, 0, KV_SEGMENT_HEAD);
	flip_range(mid, 32 + tap_below(64), 20);
	tap_report("log: each byte of a sealed segment's header");
	flip_range(1, segment[1].len - KV_SEAL_LEN, KV_SEAL_LEN);
	flip_range(segments - 1, segment[segments - 1].len - 1 -
	    tap_below(KV_SEAL_LEN - 20), 1);
	tap_report("log: each byte of a seal");
	total = kv_record_len(get_le32(segment[mid].b + off));
	flip_range(mid, off, KV_FRAME_LEN + KV_PAYLOAD_HEAD + KV_OP_HEAD);
	flip_range(mid, off + total - KV_TRAILER_LEN, KV_TRAILER_LEN);
	flip_range(1, KV_SEGMENT_HEAD, KV_FRAME_LEN);
	tap_report("log: each byte of frames, counts, operations, trailers");
	for (int i = 0; i < 40; i++) {
		uint64_t c = 1 + tap_below(segments - 1);

		flip_range(c, tap_below(segment[c].len), 1);
	}
	tap_report("log: any byte of any sealed segment");
	for (int i = 0; i < 30; i++) {
		uint64_t c = 1 + tap_below(segments - 1);

		if (truncate(segment[c].name,
		    (off_t)tap_below(segment[c].len)) != 0)
			tap_bail("truncate: %s", strerror(errno));
		expect(refused(c, i % 2 ? KEVO_RDONLY : 0));
		restore(&segment[c]);
	}
	tap_report("log: a sealed segment cut anywhere");
	remove_shm();
	expect(open_and_compare(0) == RIGHT);
	tap_report("log: and without damage all is there");
}

static void
cut_last(uint64_t len)
{
	if (truncate(segment[segments].name, (off_t)len) != 0)
		tap_bail("truncate: %s", strerror(errno));
}

/* The last segment has no seal; the last commit is not known to be synced
 * by anything behind it. */
static void
test_last(void)
{
	const struct file *f = &segment[segments];
	unsigned n = records_in(f);
	uint64_t last = record_at(f, n - 1), end = record_at(f, n);
	enum outcome o;
	struct stat st;

	flip_range(segments, 0, KV_SEGMENT_HEAD);
	tap_report("log: each byte of the last segment's header");
	flip_range(segments, record_at(f, n - 3), KV_FRAME_LEN);
	for (int i = 0; i < 40; i++)
		flip_range(segments, KV_SEGMENT_HEAD + tap_below(record_at(f,
		    n - 2) - KV_SEGMENT_HEAD), 1);
	tap_report("log: any byte of a record that was synced");
	for (uint64_t off = last; off < end; off += 13) {
		remove_shm();
		flip(f, off, (int)tap_below(8));
		o = open_and_compare(off % 2 ? KEVO_RDONLY : 0);
		if (!expect(o == PREFIX))
			tap_note("byte %d: %s", (int)off, outcomes[o]);
		restore(f);
	}
	tap_report("log: a torn last record is cut off");
	for (int i = 0; i < 20; i++) {
		remove_shm();
		flip(f, end + tap_below(f->len - end), (int)tap_below(8));
		o = open_and_compare(i % 2 ? KEVO_RDONLY : 0);
		if (!expect(o == RIGHT))
			tap_note("%s", outcomes[o]);
		restore(f);
	}
	tap_report("log: so is what lies behind it");
	for (int i = 1; i <= 30; i++) {
		uint64_t first = record_at(f, 1), len;

		len = i <= 10 ? record_at(f, (unsigned)i * n / 10) : first +
		    tap_below((i < 20 ? end : f->len) - first);
		cut_last(len);
		if (!expect(refused(segments, i % 2 ? KEVO_RDONLY : 0)))
			tap_note("%d of %d bytes", (int)len, (int)f->len);
		restore(f);
	}
	tap_report("log: the last segment cut anywhere");
	remove_shm();
	cut_last(KV_SEGMENT_HEAD);
	expect(open_and_compare(0) == PREFIX);
	expect(stat(f->name, &st) == 0 && (uint64_t)st.st_size == f->len);
	restore(f);
	tap_report("log: one without a record gets its length again");
}

static void
move_file(const char *from, const char *to)
{
	if (rename(from, to) != 0)
		tap_bail("rename %s: %s", from, strerror(errno));
}

static void
test_files(void)
{
	char aside[280], other[280], next[280], theirs[280];
	char *name = segment[2].name;

	snprintf(aside, sizeof(aside), "%s/aside", tap_dir);
	for (uint64_t c = 1; c < segments; c++) {
		move_file(segment[c].name, aside);
		expect(refused(0, 0) && refused(0, KEVO_RDONLY));
		move_file(aside, segment[c].name);
	}
	tap_report("log: a missing segment");
	move_file(segment[1].name, aside);
	move_file(name, segment[1].name);
	move_file(aside, name);
	expect(refused(1, 0) && refused(1, KEVO_RDONLY));
	restore_all();
	write_at(segment[3].name, segment[2].b, segment[2].len, 0);
	if (truncate(segment[3].name, (off_t)segment[2].len) != 0)
		tap_bail("truncate: %s", strerror(errno));
	expect(refused(3, 0));
	restore_all();
	tap_report("log: swapped and repeated segments");
	segment_file(next, segments + 1);
	write_at(next, segment[2].b, segment[2].len, 0);
	expect(refused(segments, 0) || refused(segments + 1, 0));
	restore_all();
	tap_report("log: one too many");

	/* Another database with the same content. */
	snprintf(theirs, sizeof(theirs), "%s", path);
	make_database("other");
	segment_file(other, 2);
	snprintf(path, sizeof(path), "%.200s", theirs);
	move_file(other, name);
	expect(refused(2, 0) && refused(2, KEVO_RDONLY));
	restore_all();
	tap_report("log: a segment of another database");
}

static void
test_format(void)
{
	char aside[280];

	for (size_t line = 0; line < format.len;) {
		size_t n = strcspn((char *)format.b + line, "\n");

		for (int i = 0; i < 4; i++) {
			size_t off = line + tap_below(n + 1);
			enum outcome o;

			if (off + 1 == format.len)
				off--;
			remove_shm();
			flip(&format, off, 1 + (int)tap_below(3));
			o = open_and_compare(i % 2 ? KEVO_RDONLY : 0);
			if (!expect(o == ERROR))
				tap_note("byte %d: %s", (int)off,
				    outcomes[o]);
			restore(&format);
		}
		line += n + 1;
	}
	tap_report("FORMAT: each line damaged");
	snprintf(aside, sizeof(aside), "%s/aside", tap_dir);
	move_file(format.name, aside);
	remove_shm();
	expect(open_and_compare(0) == ERROR);
	expect(open_and_compare(KEVO_RDONLY) == ERROR);
	expect(open_and_compare(KEVO_CREATE) == ERROR);
	move_file(aside, format.name);
	expect(open_and_compare(KEVO_CREATE) == RIGHT);
	tap_report("FORMAT: missing, with a log: not created anew");
}

/* The same where the log does not begin with its first segment any more. */
static void
test_late_format(void)
{
	struct kevo_compact full = { .flags = KEVO_COMPACT_FULL };
	char theirs[220], aside[280], name[280];
	struct kevo *db;

	snprintf(theirs, sizeof(theirs), "%s", path);
	make_database("flushed");
	if (kevo_open(path, 0, NULL, &db) != 0 ||
	    kevo_compact(db, &full, NULL) != 0 || kevo_close(db) != 0)
		tap_bail("compact: %s", kevo_errmsg(db));
	snprintf(aside, sizeof(aside), "%s/aside", tap_dir);
	snprintf(name, sizeof(name), "%s/FORMAT", path);
	move_file(name, aside);
	remove_shm();
	expect(open_and_compare(0) == ERROR);
	expect(open_and_compare(KEVO_RDONLY) == ERROR);
	expect(open_and_compare(KEVO_CREATE) == ERROR);
	expect(access(name, F_OK) != 0);
	move_file(aside, name);
	expect(open_and_compare(KEVO_CREATE) == RIGHT);
	snprintf(path, sizeof(path), "%s", theirs);
	tap_report("FORMAT: missing, with tables: not created anew");
}

int
main(void)
{
	tap_start("damage");
	make_database("db");
	set_up();
	test_sealed();
	test_last();
	test_files();
	test_format();
	test_late_format();
	return tap_end();
}
