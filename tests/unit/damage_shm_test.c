/*
 * damage_shm_test: damaged shared memory leads to the right data or to an
 * error, and never to a crash, a loop or data that nobody wrote.
 *
 * What may crash runs in a child, which tells how far it came.
 */
#include "damaged.h"

#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "control.h"
#include "memindex.h"

/* ---- shared memory ----------------------------------------------------- */

#define CASES	3000

/* Shared with the child that tries the cases. */
struct trial {
	_Atomic int at;
	_Atomic int outcome[CASES];
};

static struct trial *trial;
static struct file control, index_head[2];

/* Keep what the files of the generation are. */
static void
load_shm(void)
{
	uint64_t generation;
	char rel[100];

	load(&control, "shm/control");
	memcpy(&generation, control.b + offsetof(struct kv_control,
	    generation), 8);
	for (int i = 0; i < 2; i++) {
		snprintf(rel, sizeof(rel), "shm/%016llx.%016llx.idx",
		    (unsigned long long)generation,
		    (unsigned long long)(i == 0 ? segments : 2));
		load(&index_head[i], rel);
	}
}

static void
build_shm(void)
{
	struct kevo *db;

	restore_all();
	if (kevo_open(path, 0, NULL, &db) != 0)
		tap_bail("open: %s", kevo_errmsg(db));
	kevo_close(db);
	load_shm();
}

/* Do cases 0 to n - 1 in children; a dead one is replaced. */
static void
try_all(int n, enum outcome (*one)(int))
{
	int status;
	pid_t pid;

	if (n > CASES)
		tap_bail("%d cases", n);
	memset((void *)trial, 0, sizeof(*trial));
	while (trial->at < n) {
		fflush(stdout);
		if ((pid = fork()) < 0)
			tap_bail("fork: %s", strerror(errno));
		if (pid == 0) {
			tap_dir[0] = '\0';
			for (; trial->at < n; trial->at++) {
				alarm(5);
				trial->outcome[trial->at] = one(trial->at);
			}
			_exit(0);
		}
		waitpid(pid, &status, 0);
		if (status == 0)
			continue;
		tap_note("case %d died: %#x", trial->at, (unsigned)status);
		trial->outcome[trial->at++] = DIED;
		build_shm();
	}
}

/* Is the generation the one that build_shm() left? */
static int
shm_is_intact(void)
{
	static struct file now;
	char name[280];

	snprintf(name, sizeof(name), "%s/shm/control", path);
	if (access(name, F_OK) != 0)
		return 0;
	load(&now, "shm/control");
	return now.len == control.len && memcmp(now.b, control.b,
	    KV_CONTROL_BASE) == 0;
}

/* Is the file there, and as it was but for the byte at off? */
static int
differs_in(const struct file *f, uint64_t off)
{
	uint8_t b[KV_CONTROL_LEN];
	int fd = open(f->name, O_RDONLY);
	ssize_t n = fd < 0 ? 0 : pread(fd, b, sizeof(b), 0);

	if (fd >= 0)
		close(fd);
	if (n <= 0)
		return 0;
	if (f == &control && n > (ssize_t)KV_CONTROL_BASE)
		n = KV_CONTROL_BASE;	/* the counters count */
	if (off < (uint64_t)n)
		b[off] = f->b[off];
	return memcmp(b, f->b, (size_t)n) == 0;
}

/* The damage of a case: a byte of control, or of an index's head. */
static const struct file *
case_file(int n, uint64_t *off, int *bit)
{
	const int len = (int)KV_CONTROL_BASE;

	*bit = (int)(((uint64_t)n * 5 + tap_seed) % 8);
	if (n < len) {
		*off = (uint64_t)n;
		return &control;
	}
	n -= len;
	*off = (uint64_t)n % sizeof(struct kv_index_head);
	return &index_head[n / (int)sizeof(struct kv_index_head)];
}

#define ALL_CASES	((int)KV_CONTROL_BASE + \
			2 * (int)sizeof(struct kv_index_head))

static int written[ALL_CASES];

/* The parts of control, and of an index's head. */
static const struct part {
	const char *name;
	size_t end;
} control_parts[] = {
	{ "identity", offsetof(struct kv_control, writer) },
	{ "writer", offsetof(struct kv_control, syncer) },
	{ "syncer", offsetof(struct kv_control, retired) },
	{ "retired, failed", offsetof(struct kv_control, visible) },
	{ "visible", offsetof(struct kv_control, first) },
	{ "first", offsetof(struct kv_control, active) },
	{ "active", offsetof(struct kv_control, synced) },
	{ "synced", offsetof(struct kv_control, syncing) },
	{ "syncing", offsetof(struct kv_control, appended) },
	{ "appended", offsetof(struct kv_control, full_to) },
	{ "full_to", offsetof(struct kv_control, writing) },
	{ "writing", offsetof(struct kv_control, writing_off) },
	{ "writing_off, writing_len", offsetof(struct kv_control,
	    reserved_to) },
	{ "reserved_to", offsetof(struct kv_control, tail_turn) },
	{ "tail_turn", offsetof(struct kv_control, tail) },
	{ "tail", offsetof(struct kv_control, tail[1]) },
	{ "idle tail", offsetof(struct kv_control, holder) },
	{ "holder, version, settings", KV_CONTROL_BASE },
}, index_parts[] = {
	{ "index identity", offsetof(struct kv_index_head, size) },
	{ "index size", offsetof(struct kv_index_head, root) },
	{ "index root", offsetof(struct kv_index_head, end) },
	{ "index end", offsetof(struct kv_index_head, nodes11) },
	{ "index counts", sizeof(struct kv_index_head) },
};

static const char *
part_of(int n)
{
	const struct part *p = control_parts;
	uint64_t off;
	int bit;

	if (case_file(n, &off, &bit) != &control)
		p = index_parts;
	while (off >= p->end)
		p++;
	return p->name;
}

/* A rebuilder has made what is there now what was there before. */
static void
settle(enum outcome o)
{
	if (shm_is_intact())
		return;
	if (o == RIGHT)
		load_shm();
	else
		build_shm();
}

static enum outcome
read_damaged(int n)
{
	enum outcome o;
	uint64_t off;
	int bit;
	const struct file *f = case_file(n, &off, &bit);

	flip(f, off, bit);
	o = open_and_compare(KEVO_RDONLY);
	if (differs_in(f, off))
		write_at(f->name, f->b + off, 1, off);
	settle(o);
	return o;
}

static int
has_commits(uint64_t n)
{
	struct kevo_stats st = { .visible = 0 };
	struct kevo *db;

	if (kevo_open(path, 0, NULL, &db) == 0)
		kevo_stats(db, &st);
	kevo_close(db);
	return st.visible == n;
}

#define AFTER	10		/* added: the log is the worse for it */

/*
 * A writer adds commits that change nothing, the last so long that a new
 * segment begins.  What it did to the log is judged without the shared
 * memory.
 */
static enum outcome
write_damaged(int n)
{
	static const char absent[60000] = "a";
	struct kevo_options opt = { .wait_set = 1, .wait_ms = 300,
		.compactor = "" };
	struct kevo_write w = { .sync = KEVO_SYNC_NONE };
	enum outcome o, after;
	struct kevo *db;
	uint64_t off;
	int bit, rc;
	const struct file *f = case_file(written[n], &off, &bit);

	flip(f, off, bit);
	rc = kevo_open(path, 0, &opt, &db);
	if (rc == 0)
		rc = kevo_delete(db, "none", 4, &w, NULL);
	w.sync = KEVO_SYNC_FULL;
	if (rc == 0)
		rc = kevo_delete(db, "none", 4, &w, NULL);
	if (rc == 0)
		rc = kevo_delete(db, absent, sizeof(absent), &w, NULL);
	o = rc != 0 ? error(db, rc) : compare_all(db);
	kevo_close(db);
	remove_shm();
	after = open_and_compare(0);
	if (rc == 0 && after == RIGHT && !has_commits(COMMITS + 3))
		after = ABSENT;
	build_shm();
	return after == RIGHT ? o : (enum outcome)(after + AFTER);
}

/* With KEVO_LIST: how many cases of each part had which outcome. */
static void
list_outcomes(const char *who, const int *cases, int n)
{
	int count[2 * AFTER] = { 0 };

	if (getenv("KEVO_LIST") == NULL)
		return;
	for (int i = 0; i < n; i++) {
		count[trial->outcome[i]]++;
		if (i + 1 < n && part_of(cases[i + 1]) == part_of(cases[i]))
			continue;
		for (int o = 0; o < 2 * AFTER; o++)
			if (count[o] > 0)
				printf("# %s: %s: %d times %s%s\n", who,
				    part_of(cases[i]), count[o],
				    o > AFTER ? "the log: " : "",
				    outcomes[o % AFTER]);
		memset(count, 0, sizeof(count));
	}
}

/*
 * Which segments there are, and up to which commit they are read, is
 * believed.  So a reader may see an older state or miss records, but none is
 * wrong; all else is noticed or does not matter.
 */
static int
may_be_old(const char *part)
{
	return strcmp(part, "visible") == 0 || strcmp(part, "first") == 0 ||
	    strcmp(part, "active") == 0 || strcmp(part, "index root") == 0;
}

static int
is_allowed(const char *part, int o)
{
	return o == RIGHT || o == ERROR ||
	    ((o == PREFIX || o == ABSENT) && may_be_old(part));
}

static void
test_readers(void)
{
	int cases[ALL_CASES];

	for (int i = 0; i < ALL_CASES; i++)
		cases[i] = i;
	build_shm();
	expect(open_and_compare(KEVO_RDONLY) == RIGHT && shm_is_intact());
	try_all(ALL_CASES, read_damaged);
	list_outcomes("reader", cases, ALL_CASES);
	for (int i = 0; i < ALL_CASES; i++)
		if (!expect(is_allowed(part_of(i), trial->outcome[i])))
			tap_note("%s: %s", part_of(i),
			    outcomes[trial->outcome[i]]);
	tap_report("shm: each byte of control and of an index's head, read");
	for (int i = 0; part_of(i) == control_parts[0].name; i++)
		expect(trial->outcome[i] == RIGHT);
	tap_report("shm: a damaged identity leads to a new generation");
}

/* Some bytes of each part; with KEVO_LONG all. */
static int
choose_written(void)
{
	int some = getenv("KEVO_LONG") != NULL ? ALL_CASES : 2, n = 0, to;

	for (int from = 0; from < ALL_CASES; from = to) {
		for (to = from; to < ALL_CASES &&
		    part_of(to) == part_of(from); to++)
			if (some == ALL_CASES)
				written[n++] = to;
		for (int i = 0; some != ALL_CASES && i < some; i++)
			written[n++] = from + (int)tap_below((uint64_t)(to -
			    from));
	}
	return n;
}

static void
expect_written(int n)
{
	for (int i = 0; i < n; i++) {
		const char *part = part_of(written[i]);
		int o = trial->outcome[i];

		if (!expect(is_allowed(part, o)))
			tap_note("%s, case %d: %s%s", part, written[i],
			    o > AFTER ? "the log: " : "",
			    outcomes[o % AFTER]);
	}
}

static void
test_writers(void)
{
	int n = choose_written();

	build_shm();
	try_all(n, write_damaged);
	list_outcomes("writer", written, n);
	expect_written(n);
	tap_report("shm: written with damage in control or an index's head");
}

/* ---- other things in place of the files -------------------------------- */

enum replacement {
	EMPTY, SHORT, LONG, ZEROS, ONES, RANDOM, DIRECTORY, DANGLING, FIFO,
	MISSING, OTHER, REPLACEMENTS
};

static void
replace(const struct file *f, enum replacement how)
{
	const struct file *other = &segment[1];
	uint8_t b[8192];
	size_t len = 4096;

	unlink(f->name);
	switch (how) {
	case EMPTY:
		len = 0;
		break;
	case SHORT:
		len = 100;
		break;
	case LONG:
		len = 8192;
		break;
	case DIRECTORY:
		if (mkdir(f->name, 0700) != 0)
			tap_bail("mkdir: %s", strerror(errno));
		return;
	case DANGLING:
		if (symlink("nowhere", f->name) != 0)
			tap_bail("symlink: %s", strerror(errno));
		return;
	case FIFO:
		if (mkfifo(f->name, 0600) != 0)
			tap_bail("mkfifo: %s", strerror(errno));
		return;
	case MISSING:
		return;
	case OTHER:
		write_at(f->name, other->b, other->len, 0);
		return;
	default:
		break;
	}
	memset(b, how == ONES ? 0xff : 0, sizeof(b));
	if (how == RANDOM)
		tap_fill(b, sizeof(b));
	if (how == SHORT || how == LONG)
		memcpy(b, f->b, len < f->len ? len : f->len);
	write_at(f->name, b, len, 0);
}

/* Control, the active index, another index; a reader, a writer. */
static enum outcome
open_replaced(int n)
{
	const struct file *f = n / 2 % 3 == 0 ? &control :
	    &index_head[n / 2 % 3 - 1];
	enum outcome o;

	replace(f, (enum replacement)(n / 6));
	o = open_and_compare(n % 2 == 0 ? KEVO_RDONLY : 0);
	build_shm();
	return o;
}

/* The number in a key, if it is one of ours with the value that it has. */
static int
is_value(const struct kevo_record *rec)
{
	char key[32], own[32], value[VALUE];
	unsigned i;

	if (rec->klen >= sizeof(key))
		return 0;
	memcpy(key, rec->key, rec->klen);
	key[rec->klen] = '\0';
	if (sscanf(key, "key/%*u/%u", &i) != 1 ||
	    key_of(i, own) != rec->klen || strcmp(key, own) != 0)
		return 0;
	value_of(i, value);
	return rec->vlen == VALUE && memcmp(rec->value, value, VALUE) == 0;
}

/* Each record that comes out is one, whatever its place and version. */
static enum outcome
only_values(void)
{
	struct kevo_record rec;
	struct kevo_iter *it;
	enum outcome o = RIGHT;
	unsigned n = 0;
	struct kevo *db;
	char key[32];
	int rc;

	if ((rc = kevo_open(path, KEVO_RDONLY, NULL, &db)) != 0)
		o = error(db, rc);
	for (unsigned i = 0; i < COMMITS && o == RIGHT; i++) {
		rc = kevo_peek(db, NULL, key, key_of(i, key), &rec);
		if (rc < 0)
			o = error(db, rc);
		else if (rc == 0 && !is_value(&rec))
			o = WRONG;
	}
	if (o == RIGHT && (rc = kevo_iter_new(db, NULL, NULL, &it)) == 0) {
		rc = kevo_iter_first(it, &rec);
		for (; rc == 0 && o == RIGHT; rc = kevo_iter_next(it, &rec))
			if (!is_value(&rec) || ++n > 2 * COMMITS)
				o = WRONG;
		if (rc < 0)
			o = error(db, rc);
		kevo_iter_free(it);
	}
	kevo_close(db);
	return o;
}

/*
 * A random change anywhere in an index.  It is not verified as a whole, so
 * keys may be missing or come twice.
 */
static enum outcome
read_damaged_index(int n)
{
	const struct file *f = &index_head[n % 2];
	uint64_t end = get_le64(f->b + offsetof(struct kv_index_head, end));
	uint64_t off = KV_INDEX_HEAD_LEN + tap_below(end -
	    KV_INDEX_HEAD_LEN);
	enum outcome o;

	flip(f, off, (int)tap_below(8));
	o = only_values();
	if (differs_in(f, off))
		write_at(f->name, f->b + off, 1, off);
	settle(o);
	return o;
}

static void
test_garbage(void)
{
	build_shm();
	try_all(REPLACEMENTS * 6, open_replaced);
	for (int i = 0; i < REPLACEMENTS * 6; i++)
		if (!expect(trial->outcome[i] == RIGHT ||
		    trial->outcome[i] == ERROR))
			tap_note("replaced by %d, file %d, %s: %s", i / 6,
			    i / 2 % 3, i % 2 ? "writer" : "reader",
			    outcomes[trial->outcome[i]]);
	tap_report("shm: garbage in place of control or an index");
	build_shm();
	try_all(200, read_damaged_index);
	for (int i = 0; i < 200; i++)
		if (!expect(trial->outcome[i] == RIGHT ||
		    trial->outcome[i] == ERROR))
			tap_note("case %d: %s", i,
			    outcomes[trial->outcome[i]]);
	tap_report("shm: any byte of an index: never a wrong value");
}

int
main(void)
{
	tap_start("damage_shm");
	trial = mmap(NULL, sizeof(*trial), PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (trial == MAP_FAILED)
		tap_bail("no shared memory");
	make_database("db");
	set_up();
	test_readers();
	test_writers();
	test_garbage();
	return tap_end();
}
