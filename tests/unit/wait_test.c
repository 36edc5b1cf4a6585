/*
 * wait_test: who waits for commits is woken by each, also while others die
 * asleep, and needs nothing meanwhile.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "feed_file.h"
#include "lock.h"
#include "testdb.h"

/* A sleeper that is not woken looks by itself after a second. */
#define LATE_MS		900
#define WATCHERS	3

static struct kevo_feed *
feed_now(struct kevo *db)
{
	struct kevo_feed_start s = { .flags = KEVO_FEED_NOW };
	struct kevo_feed *f;

	check(db, kevo_feed_open(db, &s, &f), "feed");
	return f;
}

static void
put(struct kevo *db, enum kevo_sync sync)
{
	struct kevo_write w = { .sync = sync };

	check(db, kevo_put(db, "k", 1, "v", 1, &w, NULL), "put");
}

/* ---- watchers in processes of their own -------------------------------- */

static int said[2];		/* a byte for each commit that one has seen */

static void
watch(void)
{
	struct kevo *db = open_as(KEVO_RDONLY, NULL);
	struct kevo_feed *f = feed_now(db);
	struct kevo_feed_commit c;

	/* It has begun. */
	if (write(said[1], "b", 1) != 1)
		_exit(1);
	for (;;) {
		int rc = kevo_feed_next(f, &c);

		if (rc == KEVO_NOTFOUND)
			rc = kevo_feed_wait(f, -1);
		else if (rc == 0 && write(said[1], "c", 1) != 1)
			rc = KEVO_EIO;
		if (rc < 0)
			_exit(2);
	}
}

static pid_t
start(void (*run)(void))
{
	pid_t pid;

	fflush(stdout);
	if ((pid = fork()) < 0)
		tap_bail("cannot fork");
	if (pid == 0) {
		run();
		_exit(0);
	}
	return pid;
}

/* One more byte, in time. */
static int
hear(void)
{
	struct pollfd p = { .fd = said[0], .events = POLLIN };
	char b;

	return poll(&p, 1, LATE_MS) == 1 && read(said[0], &b, 1) == 1;
}

static void
end(pid_t pid)
{
	int status;

	kill(pid, SIGKILL);
	if (waitpid(pid, &status, 0) != pid || !WIFSIGNALED(status))
		expect(!"it was there until it was killed");
}

/* Until it sleeps: the mark is set, and the system says so. */
static void
wait_until_asleep(struct kevo *db, pid_t pid)
{
	char name[64], what[64] = "";
	FILE *fp;

	snprintf(name, sizeof(name), "/proc/%d/wchan", (int)pid);
	for (int i = 0; i < 5000; i++) {
		if ((fp = fopen(name, "r")) != NULL) {
			what[fread(what, 1, sizeof(what) - 1, fp)] = '\0';
			fclose(fp);
		}
		if (strstr(what, "futex") != NULL &&
		    (atomic_load(&db->ctl->event) & KV_EVENT_SLEEPERS))
			return;
		usleep(1000);
	}
	expect(!"it sleeps");
}

/*
 * Commit as soon as all have seen the one before, which is when they go to
 * sleep; now and then one is killed, anywhere.
 */
static void
test_rounds(enum kevo_sync sync)
{
	struct kevo *db = open_as(0, NULL);
	pid_t pid[WATCHERS];

	for (int i = 0; i < WATCHERS; i++) {
		pid[i] = start(watch);
		expect(hear());
	}
	for (int round = 0; round < 300; round++) {
		if (tap_below(20) == 0) {
			int i = (int)tap_below(WATCHERS);

			end(pid[i]);
			pid[i] = start(watch);
			expect(hear());
		}
		if (tap_below(4) == 0)
			usleep((unsigned)tap_below(300));
		put(db, sync);
		for (int i = 0; i < WATCHERS; i++)
			if (!expect(hear()))
				round = 1000;
	}
	for (int i = 0; i < WATCHERS; i++)
		end(pid[i]);
	kevo_close(db);
}

static void
test_killed(void)
{
	struct kevo *db = open_as(0, NULL);
	pid_t pid[WATCHERS];
	uint32_t before;

	for (int i = 0; i < WATCHERS; i++) {
		pid[i] = start(watch);
		expect(hear());
		wait_until_asleep(db, pid[i]);
	}
	for (int i = 0; i < WATCHERS; i++)
		end(pid[i]);
	expect(atomic_load(&db->ctl->event) & KV_EVENT_SLEEPERS);
	put(db, KEVO_SYNC_NONE);
	before = atomic_load(&db->ctl->event);
	expect(!(before & KV_EVENT_SLEEPERS));
	put(db, KEVO_SYNC_FULL);
	expect(atomic_load(&db->ctl->event) == before);
	kevo_close(db);
	tap_report("who is killed asleep costs one wake");
}

/* ---- a writer in a process of its own ---------------------------------- */

static int asked[2];

static void
write_when_asked(void)
{
	struct kevo *db = open_as(0, NULL);
	uint64_t acked;
	char b;

	while (read(asked[0], &b, 1) == 1) {
		/* Who asked goes to sleep. */
		usleep(2000);
		put(db, KEVO_SYNC_FULL);
		acked = kv_mono_ns();
		if (write(said[1], &acked, sizeof(acked)) != sizeof(acked))
			_exit(1);
	}
}

static int
by_size(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return x < y ? -1 : x > y;
}

static void
test_latency(void)
{
	struct kevo *db = open_as(KEVO_RDONLY, NULL);
	struct kevo_feed *f = feed_now(db);
	struct kevo_feed_commit c;
	int64_t after[100];
	pid_t pid = start(write_when_asked);
	uint64_t now, acked;

	for (int i = 0; i < 100; i++) {
		if (write(asked[1], "x", 1) != 1)
			tap_bail("cannot ask");
		expect(kevo_feed_wait(f, 20000) == 0);
		expect(kevo_feed_next(f, &c) == 0);
		now = kv_mono_ns();
		if (read(said[0], &acked, sizeof(acked)) != sizeof(acked))
			tap_bail("the writer has gone");
		after[i] = (int64_t)now - (int64_t)acked;
		expect(after[i] < (int64_t)LATE_MS * 1000000);
	}
	end(pid);
	qsort(after, 100, sizeof(after[0]), by_size);
	printf("# after the acknowledgement: median %lld us, worst %lld us\n",
	    (long long)after[50] / 1000, (long long)after[99] / 1000);
	/* The half that met a free processor. */
	expect(after[50] < 5000000);
	kevo_feed_close(f);
	kevo_close(db);
	tap_report("a commit is there within 5 ms of its acknowledgement");
}

static long
switches(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return u.ru_nvcsw;
}

static void
test_idle(void)
{
	struct kevo *db = open_as(KEVO_RDONLY, NULL);
	struct kevo_feed *f = feed_now(db);
	long before = switches();
	pid_t pid;

	expect(kevo_feed_wait(f, 2500) == KEVO_NOTFOUND);
	expect(switches() - before <= 6);
	tap_report("who waits in vain sleeps");

	/* Control is not to be written. */
	kv_reads_release(db);
	db->reads_refused = 1;
	before = switches();
	expect(kevo_feed_wait(f, 1000) == KEVO_NOTFOUND);
	expect(switches() - before <= 30);
	pid = start(write_when_asked);
	for (int i = 0; i < 3; i++) {
		struct kevo_feed_commit c;
		uint64_t acked;

		if (write(asked[1], "x", 1) != 1)
			tap_bail("cannot ask");
		expect(kevo_feed_wait(f, 20000) == 0);
		expect(kevo_feed_next(f, &c) == 0);
		if (read(said[0], &acked, sizeof(acked)) != sizeof(acked))
			tap_bail("the writer has gone");
		expect(kv_mono_ns() < acked + (uint64_t)LATE_MS * 1000000);
	}
	end(pid);
	kevo_feed_close(f);
	kevo_close(db);
	tap_report("who cannot say that it waits looks, but seldom");
}

/* A failed sync: the next writer builds a new generation. */
static void
fail_and_build(void)
{
	struct kevo *db = open_as(0, NULL);
	char b;

	while (read(asked[0], &b, 1) == 1) {
		usleep(2000);
		atomic_store(&db->ctl->failed, EIO);
		put(db, KEVO_SYNC_FULL);
		if (write(said[1], "x", 1) != 1)
			_exit(1);
	}
}

static void
test_generation(void)
{
	struct kevo *db = open_as(KEVO_RDONLY, NULL);
	struct kevo_feed *f = feed_now(db);
	struct kevo_feed_commit c;
	pid_t pid = start(fail_and_build);
	uint64_t version = kevo_feed_version(f);

	for (int i = 0; i < 5; i++) {
		uint64_t generation = db->ctl->generation;

		if (write(asked[1], "x", 1) != 1)
			tap_bail("cannot ask");
		while (kevo_feed_next(f, &c) == KEVO_NOTFOUND)
			expect(kevo_feed_wait(f, 20000) == 0);
		expect(c.version == ++version);
		expect(db->ctl->generation != generation);
		expect(hear());
	}
	end(pid);
	kevo_feed_close(f);
	kevo_close(db);
	tap_report("a new generation wakes who waits for the old one");
}

static void
on_signal(int sig)
{
	(void)sig;
}

static void
test_signal(void)
{
	struct kevo *db = open_as(KEVO_RDONLY, NULL);
	struct kevo_feed *f = feed_now(db);
	struct sigaction act = { .sa_handler = on_signal };
	int64_t began = kv_mono_ms();

	sigaction(SIGALRM, &act, NULL);
	ualarm(300000, 0);
	expect(kevo_feed_wait(f, 20000) == KEVO_NOTFOUND);
	expect(kv_mono_ms() - began < 15000);
	kevo_feed_close(f);
	kevo_close(db);
	tap_report("a signal ends waiting");
}

int
main(void)
{
	tap_start("wait");
	snprintf(path, sizeof(path), "%s/db", tap_dir);
	kevo_close(open_as(KEVO_CREATE, NULL));
	if (pipe2(said, O_CLOEXEC) != 0 || pipe2(asked, O_CLOEXEC) != 0)
		tap_bail("no pipe");
	test_rounds(KEVO_SYNC_NONE);
	test_rounds(KEVO_SYNC_FULL);
	tap_report("each commit wakes all who wait");
	test_killed();
	test_latency();
	test_idle();
	test_generation();
	test_signal();
	return tap_end();
}
