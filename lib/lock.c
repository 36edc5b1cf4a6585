#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "env.h"
#include "lock.h"

#define FUTEX_WAIT_OP	0
#define FUTEX_WAKE_OP	1

/* A sleep is never longer: the dead wake nobody. */
#define SLEEP_MS	10

/* Looks at a word before sleeping: a few microseconds. */
#define SPINS		200

static int
byte_lock(int fd, int cmd, short type, off_t byte, off_t len,
    struct flock *out)
{
	struct flock fl;
	int r;

	memset(&fl, 0, sizeof(fl));
	fl.l_type = type;
	fl.l_whence = SEEK_SET;
	fl.l_start = byte;
	fl.l_len = len;
	do
		r = fcntl(fd, cmd, &fl);
	while (r != 0 && errno == EINTR);
	if (out != NULL)
		*out = fl;
	return r;
}

static void
nap(int ms)
{
	struct timespec ts = { 0, (long)ms * 1000000 };

	nanosleep(&ts, NULL);
}

int
kv_lock_rebuild(int fd, int64_t deadline_ms)
{
	int ms = 1;

	while (byte_lock(fd, F_OFD_SETLK, F_WRLCK, KV_LOCK_REBUILD, 1,
	    NULL) != 0) {
		if (errno != EAGAIN && errno != EACCES)
			return errno;
		if (deadline_ms >= 0 && kv_mono_ms() >= deadline_ms)
			return KV_LOCK_TIMEOUT;
		nap(ms);
		if (ms < SLEEP_MS)
			ms++;
	}
	return 0;
}

void
kv_unlock_rebuild(int fd)
{
	byte_lock(fd, F_OFD_SETLK, F_UNLCK, KV_LOCK_REBUILD, 1, NULL);
}

uint32_t
kv_slot_take(int fd, uint32_t hint)
{
	for (uint32_t i = 0; i < KV_SLOT_MAX; i++) {
		uint32_t slot = 1 + (hint + i) % KV_SLOT_MAX;

		if (byte_lock(fd, F_OFD_SETLK, F_WRLCK,
		    (off_t)KV_SLOT_BASE + slot, 1, NULL) == 0)
			return slot;
		if (errno != EAGAIN && errno != EACCES)
			return 0;
	}
	errno = EAGAIN;
	return 0;
}

void
kv_slot_drop(int fd, uint32_t slot)
{
	byte_lock(fd, F_OFD_SETLK, F_UNLCK, (off_t)KV_SLOT_BASE + slot, 1,
	    NULL);
}

int
kv_beside_enter(int fd)
{
	return byte_lock(fd, F_OFD_SETLK, F_RDLCK, KV_LOCK_BESIDE, 1,
	    NULL) == 0;
}

void
kv_beside_leave(int fd)
{
	byte_lock(fd, F_OFD_SETLK, F_UNLCK, KV_LOCK_BESIDE, 1, NULL);
}

int
kv_beside_exclude(int fd)
{
	return byte_lock(fd, F_OFD_SETLK, F_WRLCK, KV_LOCK_BESIDE, 1,
	    NULL) == 0;
}

int
kv_flush_try(int fd)
{
	return byte_lock(fd, F_OFD_SETLK, F_WRLCK, KV_LOCK_FLUSH, 1,
	    NULL) == 0;
}

void
kv_flush_leave(int fd)
{
	byte_lock(fd, F_OFD_SETLK, F_UNLCK, KV_LOCK_FLUSH, 1, NULL);
}

void
kv_compacting_enter(int fd)
{
	byte_lock(fd, F_OFD_SETLK, F_RDLCK, KV_LOCK_COMPACT, 1, NULL);
}

void
kv_compacting_leave(int fd)
{
	byte_lock(fd, F_OFD_SETLK, F_UNLCK, KV_LOCK_COMPACT, 1, NULL);
}

static int
is_others(int fd, off_t byte)
{
	struct flock fl;

	return byte_lock(fd, F_OFD_GETLK, F_WRLCK, byte, 1, &fl) == 0 &&
	    fl.l_type != F_UNLCK;
}

int
kv_flushing_other(int fd)
{
	return is_others(fd, KV_LOCK_FLUSH);
}

int
kv_compacting_other(int fd)
{
	return is_others(fd, KV_LOCK_COMPACT);
}

int
kv_file_lock(int fd)
{
	return byte_lock(fd, F_OFD_SETLK, F_WRLCK, 0, 0, NULL) == 0;
}

int
kv_dir_lock(int fd)
{
	return flock(fd, LOCK_EX | LOCK_NB) == 0;
}

#define TXN_OWNER	0
#define TXN_WRITER	1
#define TXN_FILE	2

int
kv_txn_claim(int fd)
{
	return byte_lock(fd, F_OFD_SETLK, F_WRLCK, TXN_FILE, 1, NULL) == 0;
}

int
kv_txn_own(int fd)
{
	return kv_txn_claim(fd) && byte_lock(fd, F_OFD_SETLK, F_WRLCK,
	    TXN_OWNER, 1, NULL) == 0;
}

/* A system that does not answer is taken to say yes: an orderly end is told
 * by the file itself. */
static int
is_locked(int fd, off_t byte)
{
	struct flock fl;

	return byte_lock(fd, F_OFD_GETLK, F_WRLCK, byte, 1, &fl) != 0 ||
	    fl.l_type != F_UNLCK;
}

int
kv_txn_owned(int fd)
{
	return is_locked(fd, TXN_OWNER);
}

int
kv_txn_write_try(int fd)
{
	return byte_lock(fd, F_OFD_SETLK, F_WRLCK, TXN_WRITER, 1, NULL) == 0;
}

/* Its holders are quick, or keep it as long as a transaction lasts. */
int
kv_txn_write_lock(int fd, int64_t deadline_ms)
{
	struct timespec ts = { 0, 20000 };

	while (!kv_txn_write_try(fd)) {
		if (errno != EAGAIN && errno != EACCES)
			return errno;
		if (deadline_ms >= 0 && kv_mono_ms() >= deadline_ms)
			return KV_LOCK_TIMEOUT;
		nanosleep(&ts, NULL);
		if (ts.tv_nsec < SLEEP_MS * 1000000 / 4)
			ts.tv_nsec += ts.tv_nsec / 2;
	}
	return 0;
}

void
kv_txn_write_unlock(int fd)
{
	byte_lock(fd, F_OFD_SETLK, F_UNLCK, TXN_WRITER, 1, NULL);
}

int
kv_life_hold(int fd, uint64_t life)
{
	return byte_lock(fd, F_OFD_SETLK, F_RDLCK, (off_t)(KV_LIFE_BASE +
	    life), 1, NULL) == 0 ? 0 : errno;
}

void
kv_life_drop(int fd, uint64_t life)
{
	byte_lock(fd, F_OFD_SETLK, F_UNLCK, (off_t)(KV_LIFE_BASE + life), 1,
	    NULL);
}

int
kv_life_held(int fd, uint64_t life)
{
	return is_locked(fd, (off_t)(KV_LIFE_BASE + life));
}

int
kv_file_locked(int fd)
{
	struct flock fl;

	return byte_lock(fd, F_OFD_GETLK, F_WRLCK, 0, 0, &fl) == 0 &&
	    fl.l_type != F_UNLCK;
}

/* A write lease is granted only if there is no other open description. */
int
kv_file_in_use(int fd)
{
	if (fcntl(fd, F_SETLEASE, F_WRLCK) != 0)
		return errno == EAGAIN;
	fcntl(fd, F_SETLEASE, F_UNLCK);
	return 0;
}

int
kv_pin(int fd, uint64_t version)
{
	return byte_lock(fd, F_OFD_SETLK, F_RDLCK, (off_t)version, 1,
	    NULL) == 0 ? 0 : errno;
}

void
kv_unpin(int fd, uint64_t version)
{
	byte_lock(fd, F_OFD_SETLK, F_UNLCK, (off_t)version, 1, NULL);
}

/*
 * The kernel names some lock in the range, not the lowest: ask again for what
 * lies below it.  A holder's locks on neighbours are one to it.
 */
uint64_t
kv_pin_next(int fd, uint64_t from, uint64_t end)
{
	uint64_t low = end;
	struct flock fl;

	while (low > from) {
		if (byte_lock(fd, F_OFD_GETLK, F_WRLCK, (off_t)from,
		    (off_t)(low - from), &fl) != 0)
			return UINT64_MAX;
		if (fl.l_type == F_UNLCK)
			break;
		low = (uint64_t)fl.l_start > from ? (uint64_t)fl.l_start :
		    from;
	}
	return low;
}

uint32_t
kv_slot_any(int fd)
{
	struct flock fl;

	/* Our own description's locks never conflict with its questions. */
	if (byte_lock(fd, F_OFD_GETLK, F_WRLCK, (off_t)KV_SLOT_BASE + 1,
	    (off_t)KV_SLOT_MAX + 1, &fl) != 0 || fl.l_type == F_UNLCK)
		return 0;
	if (fl.l_start <= KV_SLOT_BASE)
		return 1;
	return (uint32_t)(fl.l_start - KV_SLOT_BASE);
}

/* 0, or an errno. */
static int
futex_wait(_Atomic uint32_t *word, uint32_t value, int ms)
{
	struct timespec ts = { ms / 1000, (long)(ms % 1000) * 1000000 };

	return syscall(SYS_futex, word, FUTEX_WAIT_OP, value, &ts, NULL,
	    0) == 0 ? 0 : errno;
}

static void
futex_wake_all(_Atomic uint32_t *word)
{
	syscall(SYS_futex, word, FUTEX_WAKE_OP, 0x7fffffff, NULL, NULL, 0);
}

/*
 * Take a word over from its owner, if that is dead.  To ask whether the slot's
 * byte is locked would not do: between the answer and the swap the word may
 * be freed, the slot taken by a newcomer and the word by it, and the swap
 * would take it from a living owner.  So we hold the byte ourselves, and
 * nobody can be the slot's owner meanwhile.  (The model calls the other way
 * GETLK.)
 */
static enum kv_word_result
inherit(_Atomic uint32_t *word, int fd, uint32_t slot, uint32_t seen)
{
	uint32_t owner = seen & KV_WORD_SLOT;
	off_t byte = (off_t)KV_SLOT_BASE + owner;
	int taken;

	if (owner != slot && byte_lock(fd, F_OFD_SETLK, F_WRLCK, byte, 1,
	    NULL) != 0)
		return KV_WORD_TIMEOUT;
	taken = atomic_compare_exchange_strong_explicit(word, &seen,
	    slot | KV_WORD_WAITERS, memory_order_acquire,
	    memory_order_relaxed);
	if (owner != slot)
		kv_slot_drop(fd, owner);
	return taken ? KV_WORD_INHERITED : KV_WORD_TIMEOUT;
}

/*
 * A sleeper that takes the word cannot know whether others sleep, so it
 * takes it with the mark and wakes them when it lets go.
 */
enum kv_word_result
kv_word_step(_Atomic uint32_t *word, int fd, uint32_t slot, int wait_ms)
{
	uint32_t seen = 0;

	if (atomic_compare_exchange_strong_explicit(word, &seen, slot,
	    memory_order_acquire, memory_order_relaxed))
		return KV_WORD_TAKEN;
	if (inherit(word, fd, slot, seen) == KV_WORD_INHERITED)
		return KV_WORD_INHERITED;
	if (wait_ms <= 0)
		return KV_WORD_TIMEOUT;
	if (!(seen & KV_WORD_WAITERS) &&
	    !atomic_compare_exchange_strong_explicit(word, &seen,
	    seen | KV_WORD_WAITERS, memory_order_relaxed,
	    memory_order_relaxed))
		return KV_WORD_TIMEOUT;
	futex_wait(word, seen | KV_WORD_WAITERS, wait_ms);
	seen = 0;
	if (atomic_compare_exchange_strong_explicit(word, &seen,
	    slot | KV_WORD_WAITERS, memory_order_acquire,
	    memory_order_relaxed))
		return KV_WORD_TAKEN;
	return KV_WORD_TIMEOUT;
}

/* Tell the processor that this is a loop that waits. */
static void
relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#endif
}

/* Most owners have it for a few microseconds; to fall asleep and be woken
 * takes longer than that. */
static int
spin(_Atomic uint32_t *word, uint32_t slot)
{
	for (int i = 0; i < SPINS; i++) {
		if (atomic_load_explicit(word, memory_order_relaxed) == 0 &&
		    kv_word_try(word, slot))
			return 1;
		relax();
	}
	return 0;
}

enum kv_word_result
kv_word_lock(_Atomic uint32_t *word, int fd, uint32_t slot,
    int64_t deadline_ms)
{
	if (kv_word_try(word, slot) || spin(word, slot))
		return KV_WORD_TAKEN;
	for (;;) {
		int64_t left = SLEEP_MS;
		enum kv_word_result r;

		if (deadline_ms >= 0)
			left = deadline_ms - kv_mono_ms();
		if (left > SLEEP_MS)
			left = SLEEP_MS;
		r = kv_word_step(word, fd, slot, (int)left);
		if (r != KV_WORD_TIMEOUT)
			return r;
		if (deadline_ms >= 0 && kv_mono_ms() >= deadline_ms)
			return KV_WORD_TIMEOUT;
	}
}

void
kv_word_unlock(_Atomic uint32_t *word)
{
	uint32_t old = atomic_exchange_explicit(word, 0,
	    memory_order_release);

	if (old & KV_WORD_WAITERS)
		futex_wake_all(word);
}

/* ---- events ------------------------------------------------------------ */

/*
 * The word changes also where the mark is set already: who is about to take
 * it away must notice us.
 */
uint32_t
kv_event_enter(_Atomic uint32_t *word)
{
	uint32_t old = atomic_load(word), new;

	do
		new = (old + 2) | KV_EVENT_SLEEPERS;
	while (!atomic_compare_exchange_weak(word, &old, new));
	atomic_thread_fence(memory_order_seq_cst);
	return new;
}

int
kv_event_sleep(_Atomic uint32_t *word, uint32_t seen, int ms)
{
	int e = futex_wait(word, seen, ms);	/* E3_SLEEP */

	return e == ETIMEDOUT ? 0 : e == EINTR ? -1 : 1;
}

void
kv_event_wake(_Atomic uint32_t *word)
{
	uint32_t mine = atomic_fetch_add(word, 2) + 2;	/* T3_COUNT */

	futex_wake_all(word);				/* T4_WAKE */
	if (mine & KV_EVENT_SLEEPERS)
		atomic_compare_exchange_strong(word, &mine,
		    mine & ~KV_EVENT_SLEEPERS);		/* T5_UNMARK */
}
