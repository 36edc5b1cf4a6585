/*
 * Slots: links at sealing, at recovery and before a segment is removed; the
 * four states; limits that drop and limits that stop writes; a full disk.
 */
#include "replica.h"
#include "slots.h"

static struct kevo *db;

static void
fresh(void)
{
	run_cmd("rm -rf %s", in_dir("p"));
	db = open_it("p", KEVO_CREATE);
}

static struct kv_slots_note
note(uint64_t max_bytes)
{
	struct kv_slots_note n = { .max_bytes = max_bytes,
	    .max_age_s = KV_SLOTS_NO_LIMIT };

	return n;
}

static void
make(const char *name, uint64_t max_bytes)
{
	struct kv_slots_note n = note(max_bytes);

	must(db, kv_slots_create(db, name, &n), "create");
}

static struct kv_slots_info
look(const char *name)
{
	struct kv_slots_info s;

	must(db, kv_slots_look(db, name, &s), "look");
	return s;
}

/* About so many bytes of log. */
static void
write_log(size_t bytes)
{
	static char value[4096];
	struct kevo_write w = { .sync = KEVO_SYNC_NONE };

	tap_fill(value, sizeof(value));
	for (; bytes > sizeof(value); bytes -= sizeof(value))
		must(db, kevo_put(db, "k", 1, value, sizeof(value), &w, NULL),
		    "put");
}

static struct kv_position
now(void)
{
	struct kv_position p;

	must(db, kv_position_now(db, KV_AT_VISIBLE, &p), "position");
	return p;
}

static int
exists(const char *path)
{
	return access(in_dir(path), F_OK) == 0;
}

/* ---- names and texts --------------------------------------------------- */

static void
test_names(void)
{
	static char long_name[KV_SLOTS_NAME_MAX + 2];
	static const char *const bad[] = { "", ".", "..", ".x", "a/b", "a b",
	    "\xc3\xa4", long_name };
	struct kv_slots_note n = note(1);
	uint64_t first, last;
	uint32_t epoch;
	char name[KV_SHIP_NAME_LEN];

	memset(long_name, 'a', sizeof(long_name) - 1);
	fresh();
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		expect(kv_slots_create(db, bad[i], &n) == KEVO_EINVAL);
	expect(kv_slots_name_ok("r1") && kv_slots_name_ok("A-b_c.9"));
	kv_ship_name(name, 7, 1, 0xfa00);
	expect(strcmp(name, "00000007-0000000000000001-000000000000fa00.seg")
	    == 0);
	expect(kv_ship_name_parse(name, &epoch, &first, &last) && epoch == 7
	    && first == 1 && last == 0xfa00);
	for (size_t i = 0; name[i] != '\0'; i++) {
		char was = name[i];

		name[i] = 'Z';
		expect(!kv_ship_name_parse(name, &epoch, &first, &last));
		name[i] = '\0';
		expect(!kv_ship_name_parse(name, &epoch, &first, &last));
		name[i] = was;
	}
	kevo_close(db);
	tap_report("names: of slots and of links, and no others");
}

static void
test_texts(void)
{
	static const char *const bad[] = {
		"", "kevo-slot 2\\n", "kevo-slot 1",
		"kevo-slot 1\\nconfirmed x\\n",
		"kevo-slot 1\\nmax-bytes -1\\n",
		"kevo-slot 1\\nmax-age 01\\n",
		"kevo-slot 1\\non-limit ask\\n",
		"kevo-slot 1\\ncontact yesterday\\n",
		"kevo-slot 1\\nannounce a b\\n", "kevo-slot 1\\n\\001\\n"
	};
	struct kv_slots_info s;
	struct kv_slots_note n = note(4096);

	fresh();
	n.max_age_s = 60;
	n.stop_writes = 1;
	strcpy(n.announce, "db2:7000");
	must(db, kv_slots_create(db, "r1", &n), "create");
	s = look("r1");
	expect(s.note.max_bytes == 4096 && s.note.max_age_s == 60 &&
	    s.note.stop_writes == 1 && s.note.confirmed.epoch == 1 &&
	    strcmp(s.note.announce, "db2:7000") == 0 &&
	    s.state == KV_SLOT_RESERVED);
	expect(kv_slots_create(db, "r1", &n) == KEVO_FALSE);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		run_cmd("printf '%s' >%s", bad[i], in_dir("p/slots/r1/slot"));
		expect(kv_slots_look(db, "r1", &s) == KEVO_ECORRUPT &&
		    strstr(kevo_errmsg(db), "slots/r1/slot:") != NULL);
		/* It holds nobody up. */
		expect(kevo_put(db, "a", 1, "b", 1, NULL, NULL) == 0);
		expect(kevo_seal(db, NULL) == 0);
	}
	expect(kv_slots_drop(db, "r1") == 0 && !exists("p/slots/r1") &&
	    kv_slots_drop(db, "r1") == KEVO_NOTFOUND);
	kevo_close(db);
	tap_report("text: what was written is read; damage names its line");
}

/* ---- links ------------------------------------------------------------- */

static void
test_links(void)
{
	struct kv_position p;
	struct kv_slots_info s;
	uint64_t before;

	fresh();
	write_log(100000);
	make("r1", KV_SLOTS_NO_LIMIT);
	before = now().seq;
	expect(look("r1").files <= 1);	/* the part behind its position */
	write_log(300000);
	s = look("r1");
	expect(s.files >= 4 && s.state == KV_SLOT_RESERVED &&
	    s.note.confirmed.seq == before);
	/* Recovery makes what is missing. */
	run_cmd("rm %s/*.seg", in_dir("p/slots/r1"));
	kevo_close(db);
	run_cmd("rm -rf %s", in_dir("p/shm"));
	run_cmd("cd %s && stat -c %%s 0*2.seg >size && truncate -s +4K "
	    "0*2.seg", in_dir("p/wal"));
	db = open_it("p", 0);
	expect(look("r1").files == s.files);
	run_cmd("cd %s && stat -c %%s 0*2.seg | cmp - size && rm size",
	    in_dir("p/wal"));
	/* And so does who removes segments. */
	run_cmd("rm %s/*.seg", in_dir("p/slots/r1"));
	must(db, kevo_compact(db, NULL, NULL), "compact");
	s = look("r1");
	expect(s.files >= 4 && s.state == KV_SLOT_EXTENDED &&
	    s.kept_bytes > 0);
	tap_report("links: at sealing, at recovery, before a segment goes");
	p = now();
	must(db, kv_slots_ack(db, "r1", &p), "ack");
	s = look("r1");
	expect(s.files == 0 && s.note.confirmed.seq == p.seq &&
	    s.note.contact_ns != 0 && s.state == KV_SLOT_RESERVED);
	p.seq -= 5;
	p.chain = 0;
	expect(kv_slots_ack(db, "r1", &p) == KEVO_EHISTORY);
	p = now();
	p.seq++;
	expect(kv_slots_ack(db, "r1", &p) == KEVO_EHISTORY);
	expect(look("r1").note.confirmed.seq == now().seq);
	expect(kv_slots_ack(db, "r2", &p) == KEVO_NOTFOUND);
	tap_report("ack: links go, never backwards, and only of this history");
	kevo_close(db);
}

static void
test_create_at(void)
{
	struct kv_slots_note n = note(KV_SLOTS_NO_LIMIT);

	fresh();
	write_log(300000);
	must(db, kv_position_at(db, 10, &n.confirmed), "position");
	must(db, kv_slots_create(db, "r1", &n), "create");
	expect(look("r1").files >= 3);
	n.confirmed.chain ^= 1;
	expect(kv_slots_create(db, "r2", &n) == KEVO_EHISTORY &&
	    !exists("p/slots/r2"));
	n.confirmed.chain ^= 1;
	must(db, kevo_compact(db, NULL, NULL), "compact");
	/* What wal/ has no more, another slot may have. */
	must(db, kv_slots_create(db, "r2", &n), "create from r1");
	expect(look("r2").files == look("r1").files);
	must(db, kv_slots_drop(db, "r1"), "drop");
	must(db, kv_slots_drop(db, "r2"), "drop");
	expect(kv_slots_create(db, "r3", &n) == KEVO_EHISTORY &&
	    !exists("p/slots/r3"));
	kevo_close(db);
	tap_report("create: at a position that the log has, and no other");
}

/* ---- limits ------------------------------------------------------------ */

static void
test_drop(void)
{
	struct kv_slots_info s;
	struct kv_position p;

	fresh();
	make("r1", 400000);
	make("r2", KV_SLOTS_NO_LIMIT);
	write_log(300000);
	expect(look("r1").state == KV_SLOT_RESERVED);
	write_log(80000);
	expect(look("r1").state == KV_SLOT_AT_RISK);
	write_log(400000);
	s = look("r1");
	expect(s.state == KV_SLOT_LOST && s.lost_first == 1 &&
	    s.lost_last > 1 && s.bytes <= 400000 + 65536 && s.lost_ns != 0);
	expect(look("r2").files > s.files && look("r2").state ==
	    KV_SLOT_RESERVED);
	tap_report("drop: the oldest links go, and `lost' tells which");
	/* Its replica was further than it had said. */
	must(db, kv_position_at(db, s.lost_last, &p), "position");
	must(db, kv_slots_ack(db, "r1", &p), "ack");
	expect(look("r1").state != KV_SLOT_LOST && !exists("p/slots/r1/lost"));
	write_log(900000);
	expect(look("r1").state == KV_SLOT_LOST);
	make("r1", 800000);
	expect(look("r1").state == KV_SLOT_RESERVED && look("r1").files == 0);
	tap_report("drop: a slot that was lost can be begun anew");
	kevo_close(db);
}

static void
test_age(void)
{
	struct kv_slots_note n = note(KV_SLOTS_NO_LIMIT);
	struct kv_slots_info s;

	fresh();
	n.max_age_s = 3600;
	must(db, kv_slots_create(db, "r1", &n), "create");
	write_log(200000);
	expect(look("r1").state == KV_SLOT_RESERVED);
	run_cmd("touch -d '50 minutes ago' %s/*.seg", in_dir("p/slots/r1"));
	expect(look("r1").state == KV_SLOT_AT_RISK);
	run_cmd("touch -d '2 hours ago' %s/*.seg", in_dir("p/slots/r1"));
	write_log(70000);
	s = look("r1");
	expect(s.state == KV_SLOT_LOST && s.files <= 2);
	kevo_close(db);
	tap_report("age: what is too old goes, too");
}

static void
test_stop(void)
{
	struct kv_slots_note n = note(200000);
	struct kv_position p;
	int rc = 0, puts = 0;
	static char value[4096];

	fresh();
	n.stop_writes = 1;
	must(db, kv_slots_create(db, "r1", &n), "create");
	while (rc == 0 && puts++ < 500)
		rc = kevo_put(db, "k", 1, value, sizeof(value), NULL, NULL);
	expect(rc == KEVO_EBUSY && strstr(kevo_errmsg(db), "slot r1") != NULL);
	expect(look("r1").bytes <= 200000 && look("r1").state !=
	    KV_SLOT_LOST);
	p = now();
	must(db, kv_slots_ack(db, "r1", &p), "ack");
	expect(kevo_put(db, "k", 1, value, sizeof(value), NULL, NULL) == 0);
	kevo_close(db);
	tap_report("stop-writes: no segment is begun until an ack, and nothing "
	    "is lost");
}

int
main(void)
{
	tap_start("slots");
	test_names();
	test_texts();
	test_links();
	test_create_at();
	test_drop();
	test_age();
	test_stop();
	return tap_end();
}
