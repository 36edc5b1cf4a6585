/*
 * lock_test: slots, words and their inheritance from the dead, in several
 * processes.
 */
#include "lock.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "env.h"
#include "tap.h"

/* Shared by the processes of a test. */
struct shared {
	_Atomic uint32_t word;
	_Atomic uint32_t stage;
	_Atomic uint32_t inside;	/* holders of word; must stay 0 or 1 */
	_Atomic uint32_t crowded;
	_Atomic uint32_t inherited;
	uint64_t count;			/* under word */
};

static struct shared *shared;
static char lock_path[260];

static int
open_lock(void)
{
	int fd = open(lock_path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	if (fd < 0)
		tap_bail("%s: %s", lock_path, strerror(errno));
	return fd;
}

static void
nap(int ms)
{
	poll(NULL, 0, ms);
}

static void
wait_for(uint32_t stage)
{
	for (int i = 0; atomic_load(&shared->stage) != stage; i++) {
		if (i > 20000)
			tap_bail("stage %u does not come", stage);
		nap(1);
	}
}

static void
reset(void)
{
	memset((void *)shared, 0, sizeof(*shared));
}

static pid_t
start(void (*child)(void))
{
	pid_t pid = fork();

	if (pid < 0)
		tap_bail("fork: %s", strerror(errno));
	if (pid == 0) {
		tap_dir[0] = '\0';	/* the parent's to remove */
		child();
		_exit(0);
	}
	return pid;
}

static void
end(pid_t pid, int sig)
{
	int status;

	if (sig != 0)
		kill(pid, sig);
	if (waitpid(pid, &status, 0) != pid)
		tap_bail("wait: %s", strerror(errno));
	if (sig == 0)
		expect(status == 0);
	else
		expect(WIFSIGNALED(status) && WTERMSIG(status) == sig);
}

/* ---- slots ------------------------------------------------------------- */

static void
test_slots(void)
{
	int a = open_lock(), b = open_lock(), c = open_lock();
	uint32_t s, t;

	expect(kv_slot_any(a) == 0);
	s = kv_slot_take(a, 100);
	expect(s != 0 && s <= KV_SLOT_MAX);
	expect(kv_slot_any(a) == 0);
	expect(kv_slot_any(b) == s);
	t = kv_slot_take(b, 100);
	expect(t != 0 && t != s);
	kv_slot_drop(a, s);
	expect(kv_slot_any(c) == t && kv_slot_any(b) == 0);
	expect(kv_slot_take(c, 100) == s);
	close(c);
	expect(kv_slot_any(a) == t);
	close(b);
	expect(kv_slot_any(a) == 0);
	tap_report("slots: one for each handle, given back when it is closed");

	b = open_lock();
	s = kv_slot_take(a, UINT32_MAX);
	t = kv_slot_take(b, KV_SLOT_MAX - 1);
	expect(s >= 1 && s <= KV_SLOT_MAX && t >= 1 && t <= KV_SLOT_MAX &&
	    s != t);
	kv_slot_drop(b, t);
	expect(kv_slot_any(b) == s);
	kv_slot_drop(a, s);
	s = kv_slot_take(a, KV_SLOT_MAX - 1);
	t = kv_slot_take(b, KV_SLOT_MAX - 1);
	expect(s == KV_SLOT_MAX && t == 1);
	expect(kv_slot_any(b) == KV_SLOT_MAX && kv_slot_any(a) == 1);
	tap_report("slots: any hint leads to a free one, around the end too");
	close(a);
	a = open(lock_path, O_RDONLY | O_CLOEXEC);
	expect(kv_slot_take(a, 1) == 0);
	tap_report("slots: who may only read LOCK gets none");
	close(a);
	close(b);
}

static void
take_slot_and_sleep(void)
{
	int fd = open_lock();

	atomic_store(&shared->word, kv_slot_take(fd, 7));
	atomic_store(&shared->stage, 1);
	for (;;)
		pause();
}

static void
test_slot_of_the_dead(void)
{
	int fd = open_lock();
	pid_t pid;

	reset();
	pid = start(take_slot_and_sleep);
	wait_for(1);
	expect(kv_slot_any(fd) == atomic_load(&shared->word));
	end(pid, SIGKILL);
	expect(kv_slot_any(fd) == 0);
	tap_report("slots: a killed owner's is free");
	close(fd);
}

/* ---- rebuild, beside --------------------------------------------------- */

static void
test_rebuild(void)
{
	int a = open_lock(), b = open_lock();
	int64_t t;

	expect(kv_lock_rebuild(a, -1) == 0);
	t = kv_mono_ms();
	expect(kv_lock_rebuild(b, 0) == KV_LOCK_TIMEOUT);
	expect(kv_lock_rebuild(b, t + 30) == KV_LOCK_TIMEOUT);
	expect(kv_mono_ms() >= t + 30);
	expect(kv_slot_any(b) == 0);
	kv_unlock_rebuild(a);
	expect(kv_lock_rebuild(b, 0) == 0);
	close(b);
	expect(kv_lock_rebuild(a, 0) == 0);
	tap_report("rebuild: one at a time, with a limit on waiting");
	close(a);
	a = open(lock_path, O_RDONLY | O_CLOEXEC);
	expect(kv_lock_rebuild(a, 0) > 0);
	tap_report("rebuild: another error is an errno");
	close(a);
}

static void
test_beside(void)
{
	int a = open_lock(), b = open_lock(), c = open_lock();

	expect(kv_beside_enter(a) && kv_beside_enter(b));
	expect(!kv_beside_exclude(c));
	kv_beside_leave(a);
	expect(!kv_beside_exclude(c) && !kv_beside_exclude(a));
	close(b);
	expect(kv_beside_exclude(c));
	expect(!kv_beside_enter(a) && !kv_beside_exclude(a));
	kv_beside_leave(c);
	expect(kv_beside_enter(a));
	expect(!kv_beside_exclude(c));
	tap_report("beside: shared by who is there, or excluded by one");
	close(a);
	close(c);
}

/* ---- words ------------------------------------------------------------- */

static void
test_word(void)
{
	_Atomic uint32_t word = 0;
	int a = open_lock(), b = open_lock();
	uint32_t s = kv_slot_take(a, 1), t = kv_slot_take(b, 1);
	int64_t now;

	expect(kv_word_lock(&word, a, s, 0) == KV_WORD_TAKEN && word == s);
	expect(kv_word_lock(&word, b, t, 0) == KV_WORD_TIMEOUT);
	expect(word == s);
	now = kv_mono_ms();
	expect(kv_word_lock(&word, b, t, now + 35) == KV_WORD_TIMEOUT);
	expect(kv_mono_ms() >= now + 35 && kv_mono_ms() < now + 5000);
	expect((word & KV_WORD_SLOT) == s);
	expect(kv_word_step(&word, b, t, 5) == KV_WORD_TIMEOUT);
	kv_word_unlock(&word);
	expect(word == 0);
	expect(kv_word_step(&word, b, t, 0) == KV_WORD_TAKEN);
	kv_word_unlock(&word);
	tap_report("word: taken, refused in time, freed");

	/* Two words are held by one slot. */
	expect(kv_word_lock(&word, a, s, 0) == KV_WORD_TAKEN);
	expect(kv_word_lock(&word, b, t, 0) == KV_WORD_TIMEOUT);
	close(a);
	expect(kv_word_lock(&word, b, t, 0) == KV_WORD_INHERITED);
	expect((word & KV_WORD_SLOT) == t);
	kv_word_unlock(&word);
	expect(kv_slot_any(b) == 0);
	tap_report("word: inherited from a closed handle");

	/* Whatever is in there: nobody is alive to be its owner. */
	for (int i = 0; i < 200; i++) {
		uint32_t v = (uint32_t)tap_random();

		atomic_store(&word, v == 0 ? 1 : v);
		if ((v & KV_WORD_SLOT) == t)
			continue;
		expect(kv_word_lock(&word, b, t, kv_mono_ms() + 100) ==
		    KV_WORD_INHERITED);
		kv_word_unlock(&word);
	}
	atomic_store(&word, KV_WORD_WAITERS);
	expect(kv_word_lock(&word, b, t, 0) == KV_WORD_INHERITED);
	atomic_store(&word, t);
	expect(kv_word_lock(&word, b, t, 0) == KV_WORD_INHERITED);
	tap_report("word: garbage in it stops nobody");
	close(b);
}

static void
take_word_and_sleep(void)
{
	int fd = open_lock();
	uint32_t slot = kv_slot_take(fd, 7);

	kv_word_lock(&shared->word, fd, slot, -1);
	atomic_store(&shared->stage, 1);
	for (;;)
		pause();
}

static void
test_word_of_the_dead(void)
{
	int fd = open_lock();
	uint32_t slot = kv_slot_take(fd, 1);
	pid_t pid;

	reset();
	pid = start(take_word_and_sleep);
	wait_for(1);
	kill(pid, SIGSTOP);
	expect(kv_word_lock(&shared->word, fd, slot, kv_mono_ms() + 40) ==
	    KV_WORD_TIMEOUT);
	tap_report("word: a stopped owner keeps it");
	end(pid, SIGKILL);
	expect(kv_word_lock(&shared->word, fd, slot, kv_mono_ms() + 5000) ==
	    KV_WORD_INHERITED);
	expect((shared->word & KV_WORD_SLOT) == slot);
	kv_word_unlock(&shared->word);
	expect(shared->word == 0);
	tap_report("word: inherited from a killed owner");
	close(fd);
}

static void
wait_for_word(void)
{
	int fd = open_lock();
	uint32_t slot = kv_slot_take(fd, 9);
	enum kv_word_result r;

	r = kv_word_lock(&shared->word, fd, slot, kv_mono_ms() + 10000);
	if (r != KV_WORD_TAKEN && r != KV_WORD_INHERITED)
		_exit(1);
	atomic_fetch_add(&shared->inherited, r == KV_WORD_INHERITED);
	shared->count++;
	atomic_fetch_add(&shared->stage, 1);
	kv_word_unlock(&shared->word);
}

#define WAITERS	4

static void
test_waiters(void)
{
	int fd = open_lock();
	uint32_t slot = kv_slot_take(fd, 1);
	pid_t pid[WAITERS], owner;

	reset();
	kv_word_lock(&shared->word, fd, slot, -1);
	for (int i = 0; i < WAITERS; i++)
		pid[i] = start(wait_for_word);
	for (int i = 0; i < 5000 && !(shared->word & KV_WORD_WAITERS); i++)
		nap(1);
	expect(shared->word == (slot | KV_WORD_WAITERS));
	expect(shared->count == 0);
	kv_word_unlock(&shared->word);
	for (int i = 0; i < WAITERS; i++)
		end(pid[i], 0);
	expect(shared->count == WAITERS && shared->inherited == 0 &&
	    shared->word == 0);
	tap_report("word: all waiters get it after it is freed");

	reset();
	owner = start(take_word_and_sleep);
	wait_for(1);
	for (int i = 0; i < WAITERS; i++)
		pid[i] = start(wait_for_word);
	nap(5);
	end(owner, SIGKILL);
	for (int i = 0; i < WAITERS; i++)
		end(pid[i], 0);
	expect(shared->count == WAITERS && shared->inherited == 1 &&
	    shared->word == 0);
	tap_report("word: of a killed owner's waiters one inherits it");
	close(fd);
}

/* ---- many ------------------------------------------------------------- */

static void
use_word(void)
{
	int fd = open_lock();
	uint32_t slot = kv_slot_take(fd, (uint32_t)getpid());

	for (;;) {
		enum kv_word_result r = kv_word_lock(&shared->word, fd, slot,
		    kv_mono_ms() + 10000);

		if (r == KV_WORD_TIMEOUT)
			_exit(1);
		if (r == KV_WORD_INHERITED)	/* it may have died inside */
			atomic_store(&shared->inside, 0);
		if (atomic_fetch_add(&shared->inside, 1) != 0)
			atomic_store(&shared->crowded, 1);
		shared->count++;
		atomic_fetch_sub(&shared->inside, 1);
		kv_word_unlock(&shared->word);
	}
}

#define USERS	3

static void
test_many(void)
{
	pid_t pid[USERS];
	int64_t until = kv_mono_ms() + 600;
	int killed = 0;

	reset();
	for (int i = 0; i < USERS; i++)
		pid[i] = start(use_word);
	while (kv_mono_ms() < until || killed < 20 || shared->count < 200) {
		int i = (int)tap_below(USERS);

		nap((int)tap_below(5));
		end(pid[i], SIGKILL);
		pid[i] = start(use_word);
		killed++;
	}
	for (int i = 0; i < USERS; i++)
		end(pid[i], SIGKILL);
	expect(atomic_load(&shared->crowded) == 0);
	tap_note("%d killed, %llu turns", killed,
	    (unsigned long long)shared->count);
	tap_report("word: never two owners, whoever is killed");
}

int
main(void)
{
	tap_start("lock");
	snprintf(lock_path, sizeof(lock_path), "%s/LOCK", tap_dir);
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED)
		tap_bail("no shared memory");
	test_slots();
	test_slot_of_the_dead();
	test_rebuild();
	test_beside();
	test_word();
	test_word_of_the_dead();
	test_waiters();
	test_many();
	munmap(shared, sizeof(*shared));
	return tap_end();
}
