/*
 * power: what a power cut may leave of the log, and what rot may do to it.
 *
 * A writer makes known commits, durable and not, and copies the database
 * now and then.  Of a copy everything that was acknowledged as durable
 * stays; of the rest of the last segment each sector is there or not,
 * whatever their order.  (The file's length was synced before its first
 * record.)  Opened without its shared memory the copy must be exactly the
 * database as of some commit, at or after the last durable one, and must go on
 * from there.
 *
 * Then single bits before the durable position are turned over.  The open
 * must fail with KEVO_ECORRUPT and change nothing, unless nothing in the
 * file can tell this from a torn tail: then, too, the database is that of an
 * earlier commit.
 *
 * The segment format is read here anew, from kevo-format(5), and not by the
 * library's code.
 */
#include <sys/mman.h>

#include "coding.h"
#include "crash.h"

#define KEYS		60
#define COMMITS		420	/* a round */
#define OPS_MAX		8
#define COPIES		8	/* a round */
#define HEAD		128
#define FRAME		40
#define SEAL		64
#define VALUE_MAX	4000
#define LIMIT_MS	10000

struct commit {
	int n;
	uint8_t key[OPS_MAX];
	uint8_t gone[OPS_MAX];
};

struct copy {
	unsigned durable;	/* last commit acknowledged so */
	unsigned appended;	/* last commit */
};

static struct shared {
	struct commit commit[COMMITS + 1];	/* by sequence number */
	struct copy copy[COPIES];
	unsigned version;	/* what an opened copy turned out to be */
	int opened;		/* result of its open */
} *shared;

/* ---- values and the model ----------------------------------------------- */

static size_t
value_of(char *buf, unsigned key, unsigned seq)
{
	uint32_t h = key * 2654435761u + seq * 40503u;
	size_t len = (h >> 8) % 10 == 0 ? (h >> 12) % VALUE_MAX :
	    (h >> 12) % 300;

	for (size_t i = 0; i < len; i++) {
		h = h * 1664525u + 1013904223u;
		buf[i] = (char)(h >> 24);
	}
	return len;
}

static void
key_name(char buf[16], unsigned key)
{
	snprintf(buf, 16, "key%03u", key);
}

/* The commit that each key's value is of as of version; 0: absent. */
static void
model(unsigned version, unsigned state[KEYS])
{
	memset(state, 0, KEYS * sizeof(state[0]));
	for (unsigned seq = 1; seq <= version; seq++) {
		const struct commit *c = &shared->commit[seq];

		for (int i = 0; i < c->n; i++)
			state[c->key[i]] = c->gone[i] ? 0 : seq;
	}
}

/* ---- the writer --------------------------------------------------------- */

/* Commit number seq, chosen at random. */
static void
commit_one(struct kevo *db, unsigned seq, enum kevo_sync sync)
{
	static char val[VALUE_MAX];
	struct commit *c = &shared->commit[seq];
	struct kevo_batch *b;
	uint64_t got;
	char key[16];

	must(db, kevo_batch_new(db, &b), "batch");
	c->n = rnd(3) != 0 ? 1 : 1 + (int)rnd(OPS_MAX);
	for (int i = 0; i < c->n; i++) {
		c->key[i] = (uint8_t)rnd(KEYS);
		c->gone[i] = rnd(6) == 0;
		key_name(key, c->key[i]);
		must(db, c->gone[i] ?
		    kevo_batch_delete(b, key, strlen(key)) :
		    kevo_batch_put(b, key, strlen(key), val,
		    value_of(val, c->key[i], seq), 0), "batch");
	}
	must(db, kevo_commit(db, b, sync, &got), "commit");
	kevo_batch_free(b);
	if (got != seq)
		_exit(wrong("commit %u has number %llu", seq,
		    (unsigned long long)got));
}

static void
copy_name(char buf[300], int i)
{
	snprintf(buf, 300, "%s/copy.%d", scratch, i);
}

static int
writer(void *arg)
{
	static const char *const settings[] = { "memtable_bytes=65536",
	    "compaction=manual", NULL };
	struct kevo_options opt = { .settings = settings };
	unsigned durable = 0, seq = 0, copies = 0;
	char path[300], to[300];
	struct kevo *db;

	(void)arg;
	snprintf(path, sizeof(path), "%s/db", scratch);
	db = must_open(path, KEVO_CREATE, &opt, "create");
	while (seq < COMMITS) {
		/* Now and then long enough without to fill a segment. */
		enum kevo_sync sync = seq / 70 % 2 == 0 && rnd(6) == 0 ?
		    KEVO_SYNC_FULL : rnd(2) == 0 ? KEVO_SYNC_BATCH :
		    KEVO_SYNC_NONE;

		commit_one(db, ++seq, sync);
		if (sync == KEVO_SYNC_FULL)
			durable = seq;
		if (copies < COPIES && rnd(COMMITS - seq + 1) <
		    2 * (COPIES - copies)) {
			copy_name(to, (int)copies);
			copy_tree(path, to, "shm");
			shared->copy[copies].durable = durable;
			shared->copy[copies++].appended = seq;
		}
	}
	must_close(db, "close");
	return copies == COPIES ? 0 : wrong("only %u copies", copies);
}

/* ---- the log, read by its description ----------------------------------- */

static uint32_t
le32(const uint8_t *p)
{
	return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 |
	    (uint32_t)p[3] << 24;
}

static uint64_t
le64(const uint8_t *p)
{
	return le32(p) | (uint64_t)le32(p + 4) << 32;
}

struct file {
	char path[340];
	uint8_t *p;
	size_t len;
};

static void
load(struct file *f, const char *dir, const char *name)
{
	struct stat st;
	int fd;

	snprintf(f->path, sizeof(f->path), "%s/%s", dir, name);
	fd = open(f->path, O_RDONLY);
	if (fd < 0 || fstat(fd, &st) != 0 ||
	    (f->p = malloc((size_t)st.st_size + 1)) == NULL)
		bail("%s: cannot be read", f->path);
	f->len = (size_t)st.st_size;
	if (read(fd, f->p, f->len) != (ssize_t)f->len)
		bail("%s: cannot be read", f->path);
	close(fd);
}

static void
store(const struct file *f)
{
	int fd = open(f->path, O_WRONLY | O_TRUNC);

	if (fd < 0 || write(fd, f->p, f->len) != (ssize_t)f->len)
		bail("%s: cannot be written", f->path);
	close(fd);
}

static void
load_segment(struct file *f, const char *dir, unsigned counter)
{
	char name[32];

	snprintf(name, sizeof(name), "wal/%016x.seg", counter);
	load(f, dir, name);
}

/* Segments are counted from 1. */
static unsigned
last_segment(const char *dir)
{
	char path[360];
	unsigned n = 0;

	do
		snprintf(path, sizeof(path), "%s/wal/%016x.seg", dir, ++n);
	while (access(path, F_OK) == 0);
	return n - 1;
}

/* The bytes of the record at off, or 0 if none begins there. */
static size_t
record_at(const struct file *f, size_t off)
{
	size_t len;

	if (off + FRAME > f->len || memcmp(f->p + off, "KEVOSEAL", 8) == 0 ||
	    le32(f->p + off) == 0)
		return 0;
	len = FRAME + ((le32(f->p + off) + 7) & ~(size_t)7) + 8;
	return off + len <= f->len ? len : 0;
}

/* Where the records up to seq end; with UINT_MAX where all do. */
static size_t
end_of(const struct file *f, unsigned seq)
{
	size_t off = HEAD, len;

	while ((len = record_at(f, off)) != 0 && le64(f->p + off + 8) <= seq)
		off += len;
	return off;
}

static unsigned
first_seq(const struct file *f)
{
	return (unsigned)le64(f->p + 48);
}

/* ---- opening a copy ----------------------------------------------------- */

struct trial {
	char path[300];
	unsigned extra;		/* a commit made after the cut; 0: none */
};

static int
check_key(struct kevo *db, unsigned key, unsigned want)
{
	static char expect[VALUE_MAX];
	char name[16];
	size_t len;
	void *val;
	int rc;

	key_name(name, key);
	rc = kevo_get(db, NULL, name, strlen(name), &val, &len);
	if (rc == KEVO_NOTFOUND)
		return want == 0 ? 0 : wrong("%s is absent", name);
	must(db, rc, name);
	if (want == 0)
		return wrong("%s is there", name);
	if (len != value_of(expect, key, want) ||
	    memcmp(val, expect, len) != 0)
		return wrong("%s has a wrong value", name);
	kevo_free(val);
	return 0;
}

static int
check_model(struct kevo *db, unsigned version)
{
	unsigned state[KEYS], want = 0, n = 0;
	struct kevo_record rec;
	struct kevo_iter *it;
	int rc;

	model(version, state);
	for (unsigned i = 0; i < KEYS; i++) {
		want += state[i] != 0;
		if ((rc = check_key(db, i, state[i])) != 0)
			return rc;
	}
	must(db, kevo_iter_new(db, NULL, NULL, &it), "iterator");
	while ((rc = kevo_iter_next(it, &rec)) == 0)
		n += memcmp(rec.key, "key", 3) == 0;
	kevo_iter_free(it);
	must(db, rc == KEVO_NOTFOUND ? 0 : rc, "a walk");
	return n == want ? 0 : wrong("%u records, not %u", n, want);
}

/*
 * Open, say which version it is, check that it is, and write on.  The second
 * time, with extra set, that write must be all there is more.
 */
static int
opener(void *arg)
{
	const struct trial *t = arg;
	struct kevo_snapshot *snap;
	struct kevo *db;
	uint64_t seq;
	void *val;
	size_t len;
	int rc;

	rc = shared->opened = kevo_open(t->path, 0, NULL, &db);
	if (rc != 0)
		return wrong("%s", kevo_errmsg(db));
	must(db, kevo_snapshot_new(db, &snap), "snapshot");
	shared->version = (unsigned)kevo_snapshot_version(snap);
	kevo_snapshot_free(snap);
	if (shared->version > COMMITS + 1)
		return wrong("version %u", shared->version);
	if (t->extra != 0 && shared->version != t->extra)
		return wrong("version %u after %u", shared->version,
		    t->extra);
	rc = check_model(db, shared->version - (t->extra != 0));
	if (rc != 0)
		return rc;
	if (t->extra != 0) {
		must(db, kevo_get(db, NULL, "extra", 5, &val, &len), "extra");
		kevo_free(val);
	} else {
		must(db, kevo_put(db, "extra", 5, "x", 1, NULL, &seq), "put");
		if (seq != shared->version + 1)
			return wrong("the next commit is %llu after %u",
			    (unsigned long long)seq, shared->version);
	}
	must_close(db, "close");
	return 0;
}

static void
drop_shm(const char *path)
{
	char shm[320];

	snprintf(shm, sizeof(shm), "%s/shm", path);
	remove_tree(shm);
}

static unsigned complaints;

static int
complain(const struct outcome *o, const char *text)
{
	if (complaints++ < 6)
		note("%s: %s: %s", text, outcome_name(o), o->text);
	return -1;
}

/* ---- torn tails --------------------------------------------------------- */

/* Each sector from `from` on is kept with a chance of keep in 8. */
static int
tear(struct file *f, size_t from, unsigned keep)
{
	size_t sector = rnd(2) == 0 ? 512 : 4096, next;
	int changed = 0;

	for (size_t at = from; at < f->len; at = next) {
		next = (at / sector + 1) * sector;
		if (next > f->len)
			next = f->len;
		if (rnd(8) < keep)
			continue;
		for (size_t i = at; i < next; i++)
			changed |= f->p[i] != 0;
		memset(f->p + at, 0, next - at);
	}
	return changed;
}

/* A segment is cut to its seal when it is on disk as a whole: one that is to
 * be torn still has its full length. */
static void
uncut(struct file *f)
{
	size_t capacity;

	if (f->len < 128)
		return;
	capacity = (size_t)get_le64(f->p + 80);
	if (capacity <= f->len)
		return;
	if ((f->p = realloc(f->p, capacity)) == NULL)
		bail("out of memory");
	memset(f->p + f->len, 0, capacity - f->len);
	f->len = capacity;
}

/*
 * Cut the power at this copy.  Where nothing in the last segment is durable,
 * its creation may have been cut as well, and the end of the one before it.
 */
static int
cut_power(const char *path, const struct copy *c, char *what, size_t size)
{
	static const unsigned keeps[] = { 0, 1, 4, 7, 8 };
	unsigned last = last_segment(path), keep = keeps[rnd(5)];
	size_t from;
	struct file f;
	int changed = 1;

	load_segment(&f, path, last);
	from = end_of(&f, c->durable);
	if (first_seq(&f) > c->durable && last > 1) {
		unsigned how = rnd(4);

		if (how < 2) {
			unlink(f.path);
			free(f.p);
			load_segment(&f, path, --last);
			from = end_of(&f, c->durable);
			if (how == 0)
				keep = 8;
		} else if (how == 2) {
			/* The header is on disk before the first record. */
			from = 0;
			keep = 0;
		}
	}
	if (keep < 8)
		uncut(&f);
	snprintf(what, size, "segment %u from %zu of %zu, keep %u/8", last,
	    from, f.len, keep);
	changed = tear(&f, from, keep);
	store(&f);
	free(f.p);
	return changed || last != last_segment(path);
}

/* Returns 0, -1 for a broken promise; *cut if commits are gone. */
static int
torn_trial(int number, int *cut)
{
	const struct copy *c = &shared->copy[number];
	char from[300], what[200], text[400];
	struct trial t = { .extra = 0 };
	struct outcome o;
	int changed;
	unsigned segments;

	copy_name(from, number);
	snprintf(t.path, sizeof(t.path), "%s/trial", scratch);
	remove_tree(t.path);
	copy_tree(from, t.path, NULL);
	segments = last_segment(t.path);
	changed = cut_power(t.path, c, what, sizeof(what)) ||
	    segments != last_segment(t.path);
	snprintf(text, sizeof(text), "%s (durable %u, appended %u)", what,
	    c->durable, c->appended);
	child_run(&o, LIMIT_MS, opener, &t);
	if (!exited(&o, 0))
		return complain(&o, text);
	if (shared->version < c->durable || shared->version > c->appended ||
	    (!changed && shared->version != c->appended)) {
		snprintf(o.text, sizeof(o.text), "opened as %u",
		    shared->version);
		return complain(&o, text);
	}
	*cut = shared->version < c->appended;
	drop_shm(t.path);
	t.extra = shared->version + 1;
	child_run(&o, LIMIT_MS, opener, &t);
	if (!exited(&o, 0)) {
		strcat(text, ", a second time");
		return complain(&o, text);
	}
	return 0;
}

/* ---- damage ------------------------------------------------------------- */

/* An order-free sum of all bytes under wal/. */
static uint64_t
log_sum(const char *path)
{
	unsigned last = last_segment(path);
	uint64_t sum = last;
	struct file f;

	for (unsigned i = 1; i <= last; i++) {
		load_segment(&f, path, i);
		for (size_t j = 0; j < f.len; j++)
			if (f.p[j] != 0)
				sum += (j + 1) * 1000003 * f.p[j] * i;
		free(f.p);
	}
	return sum;
}

/*
 * Damage at off of the last segment: which commit would be the first to go,
 * and does a later record say that it was durable?
 */
static unsigned
first_hit(const struct file *f, size_t off, int *claimed)
{
	size_t at = HEAD, len;
	unsigned hit = off < HEAD ? first_seq(f) : 0;

	*claimed = 0;
	for (; (len = record_at(f, at)) != 0; at += len) {
		if (hit != 0 && le64(f->p + at + 24) >= hit)
			*claimed = 1;
		if (hit == 0 && off < at + len)
			hit = (unsigned)le64(f->p + at + 8);
	}
	return hit;
}

enum verdict { REPORTED, HARMLESS, UNDECIDABLE, BROKEN };

/* What an open makes of the damaged trial database. */
static enum verdict
judge(const char *path, const struct copy *c, const char *text,
    unsigned may_cut_to)
{
	struct trial t = { .extra = 0 };
	uint64_t sum = log_sum(path);
	struct outcome o;

	snprintf(t.path, sizeof(t.path), "%s", path);
	shared->opened = 1;
	child_run(&o, LIMIT_MS, opener, &t);
	if (exited(&o, WRONG) && shared->opened < 0) {
		if (log_sum(path) != sum) {
			complain(&o, text);
			note("... and the open changed the log");
			return BROKEN;
		}
		if (shared->opened == KEVO_ECORRUPT ||
		    shared->opened == KEVO_ENOTDB)
			return REPORTED;
		complain(&o, text);
		return BROKEN;
	}
	if (!exited(&o, 0)) {
		complain(&o, text);
		return BROKEN;
	}
	if (shared->version == c->appended)
		return HARMLESS;
	if (may_cut_to != 0 && shared->version == may_cut_to - 1)
		return UNDECIDABLE;
	snprintf(o.text, sizeof(o.text), "opened as %u", shared->version);
	complain(&o, text);
	return BROKEN;
}

static void
fresh_trial(char path[300], int number)
{
	char from[300];

	copy_name(from, number);
	snprintf(path, 300, "%s/trial", scratch);
	remove_tree(path);
	copy_tree(from, path, NULL);
}

static enum verdict
flip_log(int number)
{
	const struct copy *c = &shared->copy[number];
	unsigned last, which, hit = 0;
	char path[300], text[200];
	struct file f;
	int claimed = 1;
	size_t end, off;

	fresh_trial(path, number);
	last = last_segment(path);
	which = rnd(2) == 0 ? last : 1 + rnd(last);
	load_segment(&f, path, which);
	end = which < last ? f.len : end_of(&f, c->durable);
	/* The header and the seal are small: give them a share. */
	off = rnd(4) == 0 ? rnd(HEAD) : rnd((unsigned)end);
	if (which < last && rnd(4) == 0)
		off = f.len - 1 - rnd(SEAL);
	if (which == last)
		hit = first_hit(&f, off, &claimed);
	f.p[off] ^= (uint8_t)(1u << rnd(8));
	store(&f);
	free(f.p);
	snprintf(text, sizeof(text), "a bit of byte %zu in segment %u of %u "
	    "(durable %u, appended %u)", off, which, last, c->durable,
	    c->appended);
	return judge(path, c, text, claimed ? 0 : hit);
}

static enum verdict
flip_format(int number)
{
	char path[300], text[100];
	struct file f;
	size_t off;

	fresh_trial(path, number);
	load(&f, path, "FORMAT");
	off = rnd((unsigned)f.len);
	f.p[off] ^= (uint8_t)(1u << rnd(8));
	store(&f);
	free(f.p);
	snprintf(text, sizeof(text), "a bit of byte %zu in FORMAT", off);
	return judge(path, &shared->copy[number], text, 0);
}

/* A segment that has a successor goes, ends early, or is another's. */
static enum verdict
break_segment(int number)
{
	char path[300], text[100];
	unsigned last, which;
	struct file f, g;

	fresh_trial(path, number);
	last = last_segment(path);
	if (last < 2)
		return HARMLESS;
	which = 1 + rnd(last - 1);
	load_segment(&f, path, which);
	switch (rnd(3)) {
	case 0:
		snprintf(text, sizeof(text), "segment %u of %u removed",
		    which, last);
		unlink(f.path);
		break;
	case 1:
		f.len = rnd((unsigned)f.len);
		snprintf(text, sizeof(text), "segment %u of %u cut to %zu",
		    which, last, f.len);
		store(&f);
		break;
	default:
		snprintf(text, sizeof(text), "segment %u in the place of %u",
		    which, which + 1);
		load_segment(&g, path, which + 1);
		strcpy(f.path, g.path);
		free(g.p);
		store(&f);
	}
	free(f.p);
	return judge(path, &shared->copy[number], text, 0);
}

/* ---- all of it ---------------------------------------------------------- */

static void
damage(const char *what, enum verdict (*one)(int), int times)
{
	unsigned count[4] = { 0, 0, 0, 0 };

	complaints = 0;
	for (int i = 0; i < times; i++)
		count[one((int)rnd(COPIES))]++;
	tap(count[BROKEN] == 0 && count[REPORTED] > 0, "%s: %u reported, %u "
	    "harmless, %u like a torn tail, %u broke a promise", what,
	    count[REPORTED], count[HARMLESS], count[UNDECIDABLE],
	    count[BROKEN]);
}

static void
round_of(int trials)
{
	unsigned cuts = 0, bad = 0;
	char path[300];
	struct outcome o;

	for (int i = 0; i < COPIES; i++) {
		copy_name(path, i);
		remove_tree(path);
	}
	snprintf(path, sizeof(path), "%s/db", scratch);
	remove_tree(path);
	memset(shared, 0, sizeof(*shared));
	child_run(&o, 60000, writer, NULL);
	if (!exited(&o, 0)) {
		tap(0, "a log is written");
		note("%s: %s", outcome_name(&o), o.text);
		return;
	}
	complaints = 0;
	for (int i = 0; i < trials; i++) {
		int cut = 0;

		bad += torn_trial(i % COPIES, &cut) != 0;
		cuts += cut != 0;
	}
	tap(bad == 0 && cuts > 0, "power cut: %d torn tails, %u lost "
	    "commits that were not durable, %u broke a promise", trials,
	    cuts, bad);
	damage("a bit turned over in the log", flip_log, trials);
	damage("a bit turned over in FORMAT", flip_format, trials / 4);
	damage("a segment missing, cut or foreign", break_segment,
	    trials / 4);
}

int
main(void)
{
	const char *s = getenv("KEVO_LONG_SECONDS");
	int64_t end;

	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED)
		bail("cannot map");
	seed_start();
	scratch_make(1);
	end = now_ms() + (is_long() ? s != NULL ? atoi(s) * 1000 : 60000 : 0);
	do
		round_of(is_long() ? 800 : 160);
	while (tap_failed == 0 && now_ms() < end);
	return tap_end();
}
