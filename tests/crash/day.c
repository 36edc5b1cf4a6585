/*
 * day: a day of a database that cron drives, in fast forward.
 *
 * Users load, change and delete with the tools, each in a range of keys of
 * its own, so that each knows exactly what is there: the model.  Others read
 * all of it, and compact.  Now and then a tool is killed while it works.  Of
 * a killed writer the user finds out how far it came: to the end of one of
 * its commits, and not less far than it had acknowledged.
 *
 * After each round nobody is at work; then what there is equals the model,
 * read forward, backward and as an export, and compaction leaves a bounded
 * number of files in bounded space.
 */
#include <sys/mman.h>

#include "day.h"

/* ---- users -------------------------------------------------------------- */

/* What a tool is to do, in order, and after how many it commits. */
struct op {
	uint32_t slot, gen;	/* 0: delete */
	enum { ANYWAY, IF_ABSENT, IF_PRESENT } when;
};
static struct op ops[MOST_OPS];
static unsigned op_count, commit_every;

static struct slot *mine;
static struct sight sight;

static void
add_op(unsigned slot, int put, int when)
{
	ops[op_count].slot = slot;
	ops[op_count].gen = put ? ++shared->gen[me] : 0;
	ops[op_count++].when = when;
}

static void
set_gen(struct slot *s, uint32_t gen)
{
	s->gen = gen;
	s->used |= gen != 0;
}

/* The first n operations; those of before are gone by then. */
static void
apply(struct slot *model, unsigned from, unsigned n, int64_t lives,
    int64_t dies)
{
	for (unsigned i = from; i < n; i++) {
		struct slot *s = &model[ops[i].slot];

		if ((ops[i].when == IF_ABSENT && s->gen != 0) ||
		    (ops[i].when == IF_PRESENT && s->gen == 0))
			continue;
		set_gen(s, ops[i].gen);
		s->lives = lives;
		s->dies = dies;
	}
}

static void
write_key(FILE *f, unsigned slot)
{
	fprintf(f, "u%d/%05u", me, slot);
}

static const char *
write_input(void)
{
	const char *path = file("in");
	FILE *f = fopen(path, "w");
	char val[VALUE_ROOM];

	if (f == NULL)
		bail("%s", path);
	for (unsigned i = 0; i < op_count; i++) {
		write_key(f, ops[i].slot);
		if (ops[i].gen != 0) {
			size_t n = value_of(val, (unsigned)me, ops[i].slot,
			    ops[i].gen);

			putc('\t', f);
			fwrite(val, 1, n, f);
		}
		putc('\n', f);
	}
	if (fclose(f) != 0)
		bail("%s", path);
	return path;
}

/* The last number that a tool acknowledged. */
static unsigned
acknowledged(const char *path)
{
	FILE *f = fopen(path, "r");
	unsigned n, last = 0;
	char end;

	while (f != NULL && fscanf(f, "%u%c", &n, &end) == 2 && end == '\n')
		last = n;
	if (f != NULL)
		fclose(f);
	return last;
}

/* One put that nobody kills; what was whole becomes visible with it. */
static void
mark(void)
{
	char key[32], val[VALUE_ROOM];
	uint32_t gen = ++shared->gen[me];

	snprintf(key, sizeof(key), "u%d/%05u", me, MARK);
	val[value_of(val, (unsigned)me, MARK, gen)] = '\0';
	tool_args("kevo-put", "-w60", db, key, val, NULL);
	tool_go(ONE, 0, 0, 0);
	set_gen(&mine[MARK], gen);
}

/* A writer was killed: which of its commits are there? */
static void
find_out(unsigned acked, int64_t lives, int64_t dies)
{
	static struct slot model[SLOTS];
	char prefix[8];
	unsigned n = 0, next, found = 0;
	int some = 0;

	mark();
	snprintf(prefix, sizeof(prefix), "u%d/", me);
	scan(&sight, prefix, 0, 0);
	memcpy(model, mine, sizeof(model));
	for (;; n = next) {
		if (n >= acked &&
		    first_other(model, &sight, (unsigned)me) == SLOTS) {
			found = n;
			some = 1;
		}
		if (n == op_count)
			break;
		next = n + commit_every < op_count ? n + commit_every :
		    op_count;
		apply(model, n, next, lives, dies);
	}
	if (!some) {
		apply(mine, 0, op_count, lives, dies);
		n = first_other(mine, &sight, (unsigned)me);
		fail("a killed kevo-%s left what none of its commits makes: "
		    "%u operations, %u in each commit, %u acknowledged; all "
		    "of it would make u%d/%05u %u, and it is %u",
		    ops[0].gen != 0 ? "put" : "delete", op_count, commit_every,
		    acked, me, n, mine[n].gen, sight.gen[me][n]);
	}
	apply(mine, 0, found, lives, dies);
}

/* Do the operations with the tool, whose arguments are there. */
static void
work(enum kind kind, int expiring)
{
	int64_t lives = 0, dies = 0;
	const char *out = tool.out;

	if (expiring)
		lives = clock_ms() - CLOCK_MS + TTL_MS;
	if (!tool_go(kind, 3, 0, 0)) {
		if (expiring)
			dies = clock_ms() + CLOCK_MS + TTL_MS;
		apply(mine, 0, op_count, lives, dies);
		return;
	}
	if (expiring)
		dies = clock_ms() + CLOCK_MS + TTL_MS;
	find_out(kind == LOAD ? acknowledged(out) : 0, lives, dies);
}

/* A run of keys or some at random, of those that may or may not expire. */
static void
choose(int put, int when, int expiring, unsigned most)
{
	unsigned from = expiring ? EXPIRING : GROUP_END;
	unsigned span = (expiring ? SLOTS : EXPIRING) - from;
	unsigned n = 1 + rnd(most), at = rnd(span);
	int run = rnd(2) == 0;

	op_count = 0;
	for (unsigned i = 0; i < n; i++)
		add_op(from + (run ? at + i : rnd(span)) % span, put, when);
}

static void
load(void)
{
	int expiring = rnd(4) == 0;
	char every[16];

	choose(1, ANYWAY, expiring, MOST_OPS);
	commit_every = 1 + rnd(300);
	snprintf(every, sizeof(every), "-b%u", commit_every);
	if (expiring)
		tool_args("kevo-put", "-w60", "-i", "--ack", every, "-t1", db,
		    NULL);
	else
		tool_args("kevo-put", "-w60", "-i", "--ack", every, db, NULL);
	tool.in = write_input();
	work(LOAD, expiring);
}

static void
import(void)
{
	const char *in;

	choose(1, ANYWAY, 0, MOST_OPS);
	commit_every = 1000;
	in = write_input();
	tool_args("kevo-import", "-q", "-w60", db, in, NULL);
	work(IMPORT, 0);
}

static void
one(void)
{
	char key[32], val[VALUE_ROOM];

	choose(1, ANYWAY, 0, 1);
	commit_every = 1;
	snprintf(key, sizeof(key), "u%d/%05u", me, ops[0].slot);
	val[value_of(val, (unsigned)me, ops[0].slot, ops[0].gen)] = '\0';
	tool_args("kevo-put", "-w60", db, key, val, NULL);
	work(ONE, 0);
}

static void
condition(void)
{
	int when = rnd(2) == 0 ? IF_ABSENT : IF_PRESENT;

	choose(1, when, 0, 400);
	commit_every = 50;
	tool_args("kevo-put", "-w60", "-i", "-b50", when == IF_ABSENT ?
	    "--if-absent" : "--if-present", db, NULL);
	tool.in = write_input();
	work(CONDITION, 0);
}

static void
delete_keys(void)
{
	choose(0, ANYWAY, rnd(4) == 0, MOST_OPS);
	commit_every = 1000;
	tool_args("kevo-delete", "-w60", "-i", db, NULL);
	tool.in = write_input();
	work(KEYS, 0);
}

/* All of a range, in commits of any size, or its first ones in one. */
static void
delete_range(void)
{
	unsigned limit = rnd(2) == 0 ? 1 + rnd(300) : 0;
	unsigned from = GROUP_END + rnd(EXPIRING - GROUP_END), to = from +
		rnd(600), end = limit > 0 ? EXPIRING : SLOTS;
	char first[40], last[40], most[16];

	op_count = 0;
	to = to > end ? end : to;
	for (unsigned i = from; i < to; i++)
		if (limit == 0 || (mine[i].gen != 0 && op_count < limit))
			add_op(i, 0, ANYWAY);
	if (op_count == 0)
		return;
	commit_every = limit > 0 ? op_count : 1;
	snprintf(first, sizeof(first), "--from=u%d/%05u", me, from);
	snprintf(last, sizeof(last), "--to=u%d/%05u", me, to);
	snprintf(most, sizeof(most), "-l%u", limit);
	if (limit > 0)
		tool_args("kevo-delete", "-w60", first, last, most, db, NULL);
	else
		tool_args("kevo-delete", "-w60", first, last, db, NULL);
	work(RANGE, 0);
}

/* The keys of a group are stored or deleted in one commit. */
static void
group(void)
{
	int put = rnd(4) != 0;

	op_count = 0;
	for (unsigned i = GROUP; i < GROUP_END; i++)
		add_op(i, put, ANYWAY);
	for (unsigned i = 0; put && i < op_count; i++)
		ops[i].gen = shared->gen[me];
	commit_every = op_count;
	if (put)
		tool_args("kevo-put", "-w60", "-i", "-1", db, NULL);
	else
		tool_args("kevo-delete", "-w60", "-i", db, NULL);
	tool.in = write_input();
	work(GROUPED, 0);
}

/* Of some keys, what kevo-get says. */
static void
get_some(void)
{
	int64_t from = clock_ms() - CLOCK_MS;

	op_count = 0;
	for (unsigned i = rnd(40); i < SLOTS; i += 1 + rnd(80))
		add_op(i, 0, ANYWAY);
	tool_args("kevo-get", "-i", db, NULL);
	tool.in = write_input();
	if (tool_go(READ, 6, 0, 1))
		return;
	look_at(&sight, tool.out, 0);
	sight.from = from;
	sight.to = clock_ms() + CLOCK_MS;
	for (unsigned i = 0; i < op_count; i++) {
		unsigned slot = ops[i].slot;

		if (!agrees(&mine[slot], sight.gen[me][slot], &sight))
			fail("kevo-get: u%d/%05u is %u and should be %u", me,
			    slot, sight.gen[me][slot], mine[slot].gen);
	}
}

static void
scan_own(void)
{
	char prefix[8];
	int backward = rnd(2) == 0;

	snprintf(prefix, sizeof(prefix), "u%d/", me);
	scan(&sight, prefix, backward, 6);
	check_user(&sight, (unsigned)me, backward ? "kevo-scan -r" :
	    "kevo-scan");
}

static void
user_main(void)
{
	static void (*const what[])(void) = { load, load, import, one, one,
	    one, condition, delete_keys, delete_range, group, get_some,
	    get_some, scan_own };

	mine = shared->slot[me];
	while (!atomic_load(&shared->stop))
		what[rnd(sizeof(what) / sizeof(what[0]))]();
}

/* ---- readers and compactors --------------------------------------------- */

/* In one snapshot a group is whole, and no mark is older than before. */
static void
check_snapshot(uint32_t marks[USERS])
{
	for (unsigned u = 0; u < USERS; u++) {
		const uint32_t *gen = sight.gen[u];

		for (unsigned i = GROUP; i < GROUP_END; i++)
			if (gen[i] != gen[GROUP])
				fail("u%u/%05u is %u in a snapshot where "
				    "u%u/%05u is %u", u, i, gen[i], u, GROUP,
				    gen[GROUP]);
		if (gen[MARK] < marks[u])
			fail("u%u/%05u was %u and is %u", u, MARK, marks[u],
			    gen[MARK]);
		marks[u] = gen[MARK];
	}
}

/* Others are killed at work, and nothing of that is damage. */
static void
check_files(unsigned odds)
{
	tool_args("kevo-check", "-q", odds > 0 && rnd(3) == 0 ? "--fast" :
	    "--progress=never", db, NULL);
	if (!tool_go(CHECK, odds, 0, 1) && *tool_line(tool.out) != '\0')
		fail("kevo-check: %s", tool_line(tool.out));
}

static void
reader_main(void)
{
	uint32_t marks[USERS] = { 0 };
	int backward;

	while (!atomic_load(&shared->stop)) {
		backward = rnd(3) == 0;
		if (backward || rnd(2) == 0) {
			scan(&sight, "", backward, 4);
		} else {
			tool_args("kevo-export", "-q", db, NULL);
			if (tool_go(ALL, 4, 0, 0))
				continue;
			look_at(&sight, tool.out, 0);
		}
		check_snapshot(marks);
		if (rnd(8) == 0)
			check_files(4);
		nap_us(rnd(20000));
	}
}

static void
compactor_main(void)
{
	static const char *const how[] = { "-q", "-q", "-q", "--flush",
	    "--max-time=0.02", "--full" };

	while (!atomic_load(&shared->stop)) {
		tool_args("kevo-compact", "-w60", how[rnd(6)], db, NULL);
		if (rnd(12) == 0)
			tool_args("kevo-compact", "-w60", "--full", "-Pu1/",
			    db, NULL);
		tool_go(COMPACT, 2, 0, 75);
		nap_us(rnd(200000));
	}
}

/* ---- a round ------------------------------------------------------------ */

static pid_t pids[PROCESSES];

static void
spawn(int i)
{
	uint64_t child_seed = rnd64();

	if ((pids[i] = fork()) < 0)
		bail("cannot fork");
	if (pids[i] != 0)
		return;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	seed = child_seed;
	me = i;
	if (i < USERS)
		user_main();
	else if (i < USERS + READERS)
		reader_main();
	else
		compactor_main();
	_exit(0);
}

static int
is_own(pid_t pid)
{
	for (int i = 0; i < PROCESSES; i++)
		if (pids[i] == pid)
			return 1;
	return 0;
}

/* What a writer started in the background has become a child of ours. */
static void
strike_background(void)
{
	static pid_t seen;
	pid_t pid[64];
	unsigned n = children_of_this(pid, 64);

	while (n > 0)
		if (!is_own(pid[--n]) && pid[n] != seen) {
			seen = pid[n];
			adopted++;
			if (rnd(3) == 0) {
				nap_us(rnd(3000));
				kill(seen, SIGKILL);
			}
		}
}

static void
reap(pid_t pid, int status)
{
	for (int i = 0; i < PROCESSES; i++)
		if (pids[i] == pid) {
			pids[i] = 0;
			if (status != 0 && status != WRONG << 8)
				fail("process %d of the test: %s", i,
				    tool_end(status));
			return;
		}
	adopted_killed += tool_killed(status) != 0;
}

static void
run_for(int64_t ms)
{
	int64_t end = now_ms() + ms;
	int status;
	pid_t pid;

	atomic_store(&shared->stop, 0);
	for (int i = 0; i < PROCESSES; i++)
		spawn(i);
	for (;;) {
		if (now_ms() >= end || atomic_load(&shared->failed))
			atomic_store(&shared->stop, 1);
		else
			strike_background();
		if ((pid = waitpid(-1, &status, WNOHANG)) > 0)
			reap(pid, status);
		else if (pid < 0 && errno == ECHILD)
			return;
		else
			nap_us(3000);
	}
}

/* ---- a pause ------------------------------------------------------------ */

/* Wait for the last record to expire. */
static void
expire(void)
{
	int64_t last = 0;

	for (unsigned u = 0; u < USERS; u++)
		for (unsigned i = 0; i < SLOTS; i++) {
			struct slot *s = &shared->slot[u][i];

			if (s->dies == 0)
				continue;
			last = s->dies > last ? s->dies : last;
			s->gen = 0;
			s->lives = s->dies = 0;
		}
	while (clock_ms() <= last)
		nap_us(5000);
}

/* Bytes of keys and values, and the number of records. */
static uint64_t
live_bytes(unsigned *records)
{
	char val[VALUE_ROOM];
	uint64_t sum = 0;

	*records = 0;
	for (unsigned u = 0; u < USERS; u++)
		for (unsigned i = 0; i < SLOTS; i++)
			if (shared->slot[u][i].gen != 0) {
				sum += 8 + value_of(val, u, i,
				    shared->slot[u][i].gen);
				++*records;
			}
	return sum;
}

static void
check_all(const char *how)
{
	for (unsigned u = 0; u < USERS; u++)
		check_user(&sight, u, how);
}

static void
check_model(void)
{
	unsigned records;

	scan(&sight, "", 0, 0);
	check_all("kevo-scan");
	scan(&sight, "", 1, 0);
	check_all("kevo-scan -r");
	tool_args("kevo-export", "-q", db, NULL);
	tool_go(ALL, 0, 0, 0);
	look_at(&sight, tool.out, 0);
	check_all("kevo-export");
	check_files(0);
	live_bytes(&records);
	tool_args("kevo-scan", "-c", db, NULL);
	tool_go(ALL, 0, 0, 0);
	if (strtoul(tool_line(tool.out), NULL, 10) != records)
		fail("kevo-scan -c: %s records, and should be %u",
		    tool_line(tool.out), records);
}

/* Files in table/ that the newest version does not name. */
static unsigned
count_orphans(struct kevo_stats *st)
{
	struct kevo *k;
	unsigned tables = 0;

	if (kevo_open(db, KEVO_RDONLY, NULL, &k) != 0)
		bail("cannot open %s", db);
	if (kevo_stats(k, st) != 0)
		bail("%s", kevo_errmsg(k));
	for (unsigned i = 0; i < KEVO_LEVELS; i++)
		tables += (unsigned)st->level[i].tables;
	kevo_close(k);
	return count_files(db, "table", ".sst") - tables;
}

/* There are none, and no level has more than it should, so that a search
 * looks into few. */
static void
check_tables(const char *when)
{
	struct kevo_stats st;
	unsigned n = count_orphans(&st);

	for (unsigned i = 0; i < KEVO_LEVELS; i++)
		if (st.level[i].score >= 1000)
			fail("%s, level %u has %llu bytes in %llu tables", when,
			    i, (unsigned long long)st.level[i].bytes,
			    (unsigned long long)st.level[i].tables);
	if (n != 0)
		fail("%s, %u files in table/ are no tables", when, n);
}

/*
 * A level has each key at most once, so this is about the most that one can
 * have.  Values have 200 bytes on average, whichever of them are there.
 */
static uint64_t
most_of_a_level(void)
{
	uint64_t keys = 0;

	for (unsigned u = 0; u < USERS; u++)
		for (unsigned i = 0; i < SLOTS; i++)
			keys += shared->slot[u][i].used != 0;
	return keys * 280;
}

/*
 * A plain compaction leaves what the limits allow: levels 0 and 1 full, and
 * level 2, which has room for all keys there are, with each of them; below it
 * each of them once more, since a full one before.  All of that may be
 * replaced or deleted by what is above it, so it says nothing that few records
 * are left.
 */
static uint64_t
most_of_tables(void)
{
	return 2 * LEVEL_BYTES + 2 * most_of_a_level();
}

/*
 * After a full compaction there is nothing twice, but what expired less than
 * an hour ago is still there.  The log takes a segment or two with their
 * indexes, whatever the data.
 */
static void
check_space(int full)
{
	const char *when = full ? "after a full compaction" :
	    "after a compaction";
	unsigned records, segments = count_files(db, "wal", ".seg");
	unsigned tables = count_files(db, "table", ".sst");
	uint64_t live = live_bytes(&records), used = tree_bytes(db);
	uint64_t most = (full ? live + live / 3 + records * 16 :
	    most_of_tables()) + (2 << 20);

	if (used > most)
		fail("%s, %llu bytes of records take %llu", when,
		    (unsigned long long)live, (unsigned long long)used);
	if (segments > 2 || tables > most / (128 << 10) + 8 ||
	    count_files(db, "version", "") > 3 ||
	    count_files(db, "shm", ".idx") > segments)
		fail("%s there are %u segments, %u indexes, %u tables, and "
		    "%u versions", when, segments, count_files(db, "shm",
		    ".idx"), tables, count_files(db, "version", ""));
	note("%s: %u records, %llu K, take %llu K of %llu K: %u tables, "
	    "%u segments", when, records, (unsigned long long)live >> 10,
	    (unsigned long long)used >> 10, (unsigned long long)most >> 10,
	    tables, segments);
	check_tables(when);
}

static void
compact(int full)
{
	tool_args("kevo-compact", full ? "--full" : "-q", db, NULL);
	tool_go(COMPACT, 0, 0, 0);
	check_model();
	check_space(full);
}

static int
pause_after(unsigned number)
{
	struct kevo_stats st;

	me = PROCESSES;
	if (!atomic_load(&shared->failed)) {
		expire();
		orphans += count_orphans(&st);
		check_model();
		compact(0);
		if (number % 2 == 1)
			compact(1);
		wait_for_children(60000);
	}
	if (tap(!atomic_load(&shared->failed), "pause %u: all is as it "
	    "should be", number))
		return 1;
	note("%s", shared->why);
	return 0;
}

/* Each round has others. */
static void
change_settings(void)
{
	static const char *const compression[] = { "compression=none",
	    "compression=lz4", "compression=zstd:1",
	    "compression=none,lz4,zstd" };
	static const char *const memtable[] = { "memtable_bytes=64K",
	    "memtable_bytes=128K", "memtable_bytes=256K" };
	static const char *const block[] = { "block_bytes=1K",
	    "block_bytes=4K", "restart_interval=1", "hash_index=off",
	    "hash_index=on" };
	static const char *const sync[] = { "sync=full", "sync=batch",
	    "sync=none" };

	tool_args("kevo-config", db, "set", compression[rnd(4)],
	    memtable[rnd(3)], block[rnd(5)], sync[rnd(3)], rnd(2) == 0 ?
	    "compaction=manual" : "compaction=auto", NULL);
	for (int i = 3; tool.argv[i] != NULL; i++)
		note("%s", tool.argv[i]);
	tool_go(ONE, 0, 0, 0);
}

/* ---- a day -------------------------------------------------------------- */

static int64_t
seconds(void)
{
	const char *s = getenv("KEVO_SECONDS");

	if (s == NULL && is_long())
		s = getenv("KEVO_LONG_SECONDS");
	return s != NULL && atoi(s) > 0 ? atoi(s) : 6;
}

static void
create(void)
{
	me = PROCESSES;
	tool_args("kevo-init", "--set", "memtable_bytes=128K", "--set",
	    "memtables=3", "--set", "table_bytes=256K", "--set",
	    "level_bytes=1M", "--set", "level_ratio=4", db, NULL);
	tool_go(ONE, 0, 0, 0);
}

/* The interruptions of all kinds, and whether each kind had some. */
static unsigned
killed(int *each)
{
	unsigned n = 0;

	*each = 1;
	for (int i = 0; i < KINDS; i++) {
		n += shared->killed[i];
		*each = *each && shared->killed[i] > 0;
	}
	return n;
}

static void
tap_killed(void)
{
	int each;
	unsigned n = killed(&each);

	tap(each && n >= 30, "%u tools were killed at work, of each kind some",
	    n);
	for (int i = 0; i < KINDS; i++)
		note("%s: %u, killed at work: %u", kind_name[i],
		    shared->run[i], shared->killed[i]);
	note("compactions started by a writer: %u seen, %u killed", adopted,
	    adopted_killed);
	note("unfinished tables at the pauses: %u", orphans);
}

int
main(void)
{
	int64_t start = now_ms();
	unsigned round = 0;
	int each;

	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED)
		bail("cannot map");
	seed_start();
	scratch_make(0);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	snprintf(db, sizeof(db), "%s/db", scratch);
	create();
	/* On a slow machine it takes longer until enough has happened. */
	while (round < 2 || now_ms() - start < seconds() * 1000 ||
	    ((killed(&each) < 30 || !each) && round < 40)) {
		change_settings();
		run_for(1500 + rnd(1000));
		if (!pause_after(round++))
			break;
	}
	if (!atomic_load(&shared->failed))
		tap_killed();
	if (!wait_for_children(60000))
		tap(0, "a compaction in the background does not end");
	return tap_end();
}
