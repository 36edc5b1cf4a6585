/*
 * cold_test: a reader that maps nothing answers as one that maps
 * everything, and as a plain array says, whatever happens meanwhile.
 */
#include "testdb.h"

static struct kevo *
open_db(unsigned flags)
{
	return open_as(flags, NULL);
}

static void
create(const char *bytes)
{
	const char *const settings[] = { bytes, "sync=none",
		"compaction=manual", NULL };
	struct kevo_options opt = { .settings = settings };
	struct kevo *db = create_as(&opt);

	check(db, kevo_close(db), "close");
}

/* ---- the model --------------------------------------------------------- */

#define KEYS	200
#define BIG	(1u << 20)

struct entry {
	int there;
	uint32_t stamp;		/* says what the value is */
	size_t len;
	uint64_t version;
	uint64_t expires_ns;
};

static struct entry model[KEYS];

static size_t
key_of(unsigned i, char key[64])
{
	/* Some are prefixes of others. */
	if (i % 50 == 0)
		return (size_t)snprintf(key, 64, "k%u", i / 50);
	return (size_t)snprintf(key, 64, "k%u/%0*u", i / 50, (int)(i % 30),
	    i);
}

static void
make_value(char *v, uint32_t stamp, size_t len)
{
	for (size_t i = 0; i < len; i++)
		v[i] = (char)((stamp * 2654435761u + i * 40503u) >> 7);
}

static void
write_one(struct kevo *db, unsigned i, size_t len)
{
	static char value[BIG + 100];
	static uint32_t stamp;
	struct entry *e = &model[i];
	struct kevo_write w = { .sync = KEVO_SYNC_NONE };
	char key[64];
	size_t klen = key_of(i, key);

	if (len == 0 && tap_below(3) == 0) {
		check(db, kevo_delete(db, key, klen, &w, NULL), "delete");
		e->there = 0;
		return;
	}
	if (tap_below(6) == 0)		/* long ago, or long from now */
		w.expires_ns = tap_below(2) ? 1 + tap_below(1000000) :
		    kv_now_ns() + (uint64_t)3600 * 1000000000u;
	e->stamp = ++stamp;
	e->len = len;
	make_value(value, e->stamp, len);
	check(db, kevo_put(db, key, klen, value, len, &w, &e->version),
	    "put");
	e->expires_ns = w.expires_ns;
	e->there = w.expires_ns == 0 || w.expires_ns > kv_now_ns();
}

static size_t
any_length(void)
{
	switch (tap_below(8)) {
	case 0:
		return 0;
	case 1:
		return 900 + tap_below(300);	/* about a cold read's size */
	case 2:
		return tap_below(20000);
	}
	return tap_below(60);
}

static void
write_some(struct kevo *db, int n)
{
	while (n-- > 0)
		write_one(db, (unsigned)tap_below(KEYS), any_length());
}

/* One lookup, against the model. */
static int
agrees(struct kevo *db, unsigned i)
{
	static char value[BIG + 100];
	const struct entry *e = &model[i];
	struct kevo_record rec;
	char key[64];
	size_t klen = key_of(i, key);
	int rc = kevo_peek(db, NULL, key, klen, &rec);

	if (rc == KEVO_NOTFOUND && !e->there)
		return 1;
	if (rc != 0 || !e->there) {
		tap_note("key %u: %d, there %d: %s", i, rc, e->there,
		    rc < 0 ? kevo_errmsg(db) : "");
		return 0;
	}
	make_value(value, e->stamp, e->len);
	if (rec.klen == klen && memcmp(rec.key, key, klen) == 0 &&
	    rec.vlen == e->len && memcmp(rec.value, value, e->len) == 0 &&
	    rec.version == e->version && rec.expires_ns == e->expires_ns)
		return 1;
	tap_note("key %u has another record", i);
	return 0;
}

/* Each key by a reader of few lookups, and by one that has warmed up. */
static void
compare_all(void)
{
	struct kevo *cold = NULL, *warm = open_db(KEVO_RDONLY);
	struct kevo_record rec;
	struct kevo_stats st;

	check(warm, kevo_stats(warm, &st), "statistics");
	for (unsigned i = 0; i < KEYS; i++) {
		if (i % 3 == 0) {
			kevo_close(cold);
			cold = open_db(KEVO_RDONLY);
		}
		expect(agrees(cold, i));
		expect(agrees(warm, i));
	}
	expect(kevo_peek(cold, NULL, "k", 1, &rec) == KEVO_NOTFOUND);
	kevo_close(cold);
	kevo_close(warm);
}

/* ---- tests ------------------------------------------------------------- */

static void
test_random(void)
{
	struct kevo_stats st;
	struct kevo *db;

	create("memtable_bytes=64K");
	memset(model, 0, sizeof(model));
	compare_all();
	db = open_db(0);
	for (int round = 0; round < 12; round++) {
		write_some(db, 40);
		compare_all();
	}
	check(db, kevo_stats(db, &st), "statistics");
	expect(st.segments > 5);
	kevo_close(db);
	tap_report("cold: equals warm and the model over many segments");
	remove_shm();
	compare_all();
	tap_report("cold: the same after shm was removed");
}

static void
test_big(void)
{
	struct kevo *db;

	create("memtable_bytes=256K");
	memset(model, 0, sizeof(model));
	db = open_db(0);
	for (unsigned i = 0; i < 6; i++) {
		write_one(db, i, BIG - 3 + i);
		write_one(db, 10 + i, 1024 - 12 - i);
	}
	kevo_close(db);
	compare_all();
	tap_report("cold: values of a megabyte, larger than a segment");
}

/* What was committed before the call is seen by it. */
static void
test_now(void)
{
	struct kevo *w = open_db(0), *r;

	for (int lookups = 0; lookups < 8; lookups++)
		for (int n = 0; n < 3; n++) {
			r = open_db(KEVO_RDONLY);
			for (int i = 0; i < lookups; i++)
				expect(agrees(r, (unsigned)i));
			/* Into this segment, the next one, some later one. */
			for (int i = 0; i < n * n * 40; i++)
				write_one(w, (unsigned)tap_below(KEYS), 3000);
			write_one(w, 7, 10 + tap_below(2000));
			expect(agrees(r, 7));
			write_one(w, 8, 10);
			expect(agrees(r, 8) && agrees(r, 7));
			kevo_close(r);
		}
	kevo_close(w);
	compare_all();
	tap_report("cold: each lookup sees all that was committed before it");
}

/* The index of the active segment grows between two lookups. */
static void
test_grown(void)
{
	struct kevo *w, *r;
	struct kevo_stats a, b;
	struct kevo_write none = { .sync = KEVO_SYNC_NONE };
	char key[32];
	int n = 0;

	create("memtable_bytes=8M");
	memset(model, 0, sizeof(model));
	w = open_db(0);
	write_some(w, 100);
	for (int lookups = 0; lookups < 6; lookups++) {
		r = open_db(KEVO_RDONLY);
		for (int i = 0; i < lookups; i++)
			expect(agrees(r, (unsigned)tap_below(KEYS)));
		check(w, kevo_stats(w, &a), "statistics");
		do {
			snprintf(key, sizeof(key), "%u/%d",
			    (unsigned)tap_below(1000000), ++n);
			check(w, kevo_put(w, key, strlen(key), "", 0, &none,
			    NULL), "put");
			check(w, kevo_stats(w, &b), "statistics");
		} while (b.index_bytes < a.index_bytes + 200000);
		expect(b.segments == a.segments);
		write_one(w, 3, 20);
		expect(agrees(r, 3));
		expect(kevo_peek(r, NULL, key, strlen(key),
		    &(struct kevo_record){ 0 }) == 0);
		kevo_close(r);
	}
	kevo_close(w);
	compare_all();
	tap_report("cold: an index that has grown meanwhile");
}

/* A new generation takes the old one's place between two lookups. */
static void
test_generation(void)
{
	struct kevo *w, *r;

	create("memtable_bytes=64K");
	memset(model, 0, sizeof(model));
	w = open_db(0);
	write_some(w, 150);
	kevo_close(w);
	for (int lookups = 0; lookups < 7; lookups++) {
		r = open_db(KEVO_RDONLY);
		for (int i = 0; i < lookups; i++)
			expect(agrees(r, (unsigned)tap_below(KEYS)));
		remove_shm();
		w = open_db(0);		/* builds the next one */
		write_some(w, 20);
		write_one(w, 5, 30);
		/* Once a reader maps, it looks at the files each tick. */
		if (lookups >= 4)
			nanosleep(&(struct timespec){ 0, 20000000 }, NULL);
		for (int i = 0; i < 8; i++)
			expect(agrees(r, i == 0 ? 5 :
			    (unsigned)tap_below(KEYS)));
		kevo_close(w);
		kevo_close(r);
	}
	compare_all();
	tap_report("cold: a generation that changed between two lookups");
}

static void
test_removed(void)
{
	struct kevo *w, *r;

	for (int lookups = 0; lookups < 7; lookups++) {
		r = open_db(KEVO_RDONLY);
		for (int i = 0; i < lookups; i++)
			expect(agrees(r, (unsigned)tap_below(KEYS)));
		remove_shm();
		for (int i = 0; i < 8; i++)
			expect(agrees(r, (unsigned)tap_below(KEYS)));
		kevo_close(r);
		w = open_db(0);
		write_some(w, 5);
		kevo_close(w);
	}
	compare_all();
	tap_report("cold: shm removed under a reader");
}

/* Other uses of a cold handle come first, and after lookups. */
static void
test_other_uses(void)
{
	struct kevo_snapshot *s;
	struct kevo_iter *it;
	struct kevo_record rec;
	struct kevo_stats st;
	struct kevo *r, *w = open_db(0);
	struct kevo_txn *t;

	write_one(w, 1, 50);
	for (int lookups = 0; lookups < 3; lookups++)
		for (int use = 0; use < 6; use++) {
			r = open_db(KEVO_RDONLY);
			for (int i = 0; i < lookups; i++)
				expect(agrees(r, 1));
			write_one(w, 1, 40);
			switch (use) {
			case 0:
				check(r, kevo_snapshot_new(r, &s),
				    "snapshot");
				write_one(w, 2, 10);
				expect(kevo_snapshot_version(s) ==
				    model[1].version);
				kevo_snapshot_free(s);
				break;
			case 1:
				check(r, kevo_iter_new(r, NULL, NULL, &it),
				    "iterator");
				expect(kevo_iter_first(it, &rec) == 0);
				kevo_iter_free(it);
				break;
			case 2:
				expect(kevo_stats(r, &st) == 0 &&
				    st.visible == model[1].version);
				break;
			case 3:
				expect(kevo_put(r, "k", 1, "", 0, NULL, NULL)
				    == KEVO_EPERM);
				break;
			case 4:
				expect(kevo_txn_begin(r, NULL, &t) ==
				    KEVO_EPERM);
				break;
			case 5:
				expect(kevo_sync(r) == KEVO_EPERM);
				break;
			}
			expect(agrees(r, 1) && agrees(r, 2));
			kevo_close(r);
		}
	kevo_close(w);
	tap_report("cold: any other use warms it up");
}

static void
test_arguments(void)
{
	struct kevo *r = open_db(KEVO_RDONLY);
	char *big = tap_alloc(KEVO_KEY_MAX + 1);
	struct kevo_record rec;

	memset(big, 'k', KEVO_KEY_MAX + 1);
	expect(kevo_peek(r, NULL, "", 0, &rec) == KEVO_EINVAL);
	expect(kevo_peek(r, NULL, big, KEVO_KEY_MAX + 1, &rec) ==
	    KEVO_ELIMIT);
	expect(kevo_peek(r, NULL, big, KEVO_KEY_MAX, &rec) == KEVO_NOTFOUND);
	free(big);
	kevo_close(r);
	tap_report("cold: keys are checked as everywhere");
}

/* No descriptor is left open, whatever was done with it. */
static int
descriptors(void)
{
	DIR *d = opendir("/proc/self/fd");
	int n = 0;

	while (d != NULL && readdir(d) != NULL)
		n++;
	if (d != NULL)
		closedir(d);
	return n;
}

int
main(void)
{
	int before;

	tap_start("cold");
	before = descriptors();
	test_random();
	test_big();
	test_now();
	test_grown();
	test_generation();
	test_removed();
	test_other_uses();
	test_arguments();
	tap_ok(descriptors() == before, "cold: all descriptors are closed");
	return tap_end();
}
