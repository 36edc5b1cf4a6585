/*
 * lock: every lock of a database, and who is alive.
 *
 * Two kinds, and their order (a lock further down is taken while one above
 * it is held, never the other way round):
 *
 *   REBUILD   a byte of LOCK, held by the kernel: creating a database, or
 *             building a generation of its shared memory
 *   WRITER    a word in control: appending to the log
 *   SYNC      a word in control: bringing the log to disk
 *   FLUSH     a byte of LOCK: moving sealed segments into tables
 *   a table   the whole of its file: it is being written, or is the input of
 *             a compaction; only ever tried, never waited for
 *
 * A shared transaction has two more, in its own file: its owner's, and that of
 * who writes into it.  An owner has WRITER, or the second one of the
 * transaction that it is within; who joined has none of those above.
 *
 * A word holds 0 or the owner's slot.  A slot is a byte of LOCK on which its
 * owner has an open-file-description lock for as long as its handle lives.
 * So taking a free word costs one compare-and-swap, and the kernel remains
 * the witness of life: who finds a word taken and waits for it asks whether
 * that byte is still locked; if not, the owner is dead and its work is the
 * new owner's to repair.  A word is never freed by time.
 *
 * Besides, an event word, by which who waits for something that others do is
 * woken without their knowing of it beforehand.
 *
 * Only this file calls fcntl() for locks, and futex().  LOCK is readable by
 * writers only: a reader could otherwise hold a byte and feign a life.
 */
#ifndef KV_LOCK_H
#define KV_LOCK_H

#include <stdatomic.h>
#include <stdint.h>

struct kv_env;

#define KV_LOCK_REBUILD		0
#define KV_LOCK_BESIDE		1		/* shared by who syncs without
						 * holding SYNC */
#define KV_LOCK_FLUSH		2
#define KV_LOCK_COMPACT		3		/* shared by who compacts */
#define KV_SLOT_BASE		(1 << 20)	/* byte of slot 0 in LOCK */
#define KV_SLOT_MAX		((1u << 20) - 1)
#define KV_WORD_WAITERS		0x80000000u	/* somebody sleeps on it */
#define KV_WORD_SLOT		0x7fffffffu

/*
 * Take REBUILD, waiting until deadline_ms of kv_mono_ms() (negative: for
 * ever).  Returns 0, KV_LOCK_TIMEOUT if the time is over, or an errno.
 */
#define KV_LOCK_TIMEOUT		(-1)
int kv_lock_rebuild(int fd, int64_t deadline_ms);
void kv_unlock_rebuild(int fd);

/* Take FLUSH.  1, or 0 if another process has it; and has one? */
int kv_flush_try(int fd);
void kv_flush_leave(int fd);
int kv_flushing_other(int fd);

/* Say that this handle is compacting, until it leaves; and is another one? */
void kv_compacting_enter(int fd);
void kv_compacting_leave(int fd);
int kv_compacting_other(int fd);

/* Lock a table's file, open for writing, until it is closed.  1, or 0 if
 * somebody else has it locked. */
int kv_file_lock(int fd);

/* Has somebody else? */
int kv_file_locked(int fd);

/* The same for a directory, through any descriptor of it that reads. */
int kv_dir_lock(int fd);

/*
 * Pins.  Who keeps a snapshot holds the byte of its version in the file
 * PINS, shared, through a descriptor that may be read-only; so the kernel
 * knows which versions are in use, and forgets it with their holders.
 * kv_pin() returns 0 or an errno.  kv_pin_next() finds the lowest byte from
 * `from` on and below `end` that anybody holds through another description
 * than fd's, or `end` if there is none; UINT64_MAX: the system refuses to
 * say.
 */
int kv_pin(int fd, uint64_t version);
void kv_unpin(int fd, uint64_t version);
uint64_t kv_pin_next(int fd, uint64_t from, uint64_t end);

/*
 * A transaction that others join.  Its owner has its file from the beginning
 * to the end: kv_txn_own() is 1, or 0 if somebody else has it.  Who joined
 * asks with kv_txn_owned(), through a description of its own; and who writes
 * into it has the second byte, which kv_txn_write_lock() waits for until
 * deadline_ms (negative: for ever).  It returns 0, KV_LOCK_TIMEOUT or an
 * errno.
 *
 * Who removes the file of a dead owner has to have kv_txn_claim(), which its
 * owner has too.  It is a byte of its own, so that nobody takes the remover
 * for the owner.
 */
int kv_txn_claim(int fd);
int kv_txn_own(int fd);
int kv_txn_owned(int fd);
int kv_txn_write_lock(int fd, int64_t deadline_ms);
int kv_txn_write_try(int fd);
void kv_txn_write_unlock(int fd);

/*
 * A snapshot that others join has a byte of its own in PINS, behind those of
 * the versions, shared like them.  kv_life_held(): does another description
 * have it?
 */
#define KV_LIFE_BASE	((uint64_t)1 << 62)
int kv_life_hold(int fd, uint64_t life);	/* 0 or an errno */
void kv_life_drop(int fd, uint64_t life);
int kv_life_held(int fd, uint64_t life);

/*
 * 1 if any process, this one by another descriptor included, has the file
 * open or mapped; 0 if none has, or the system does not say.
 */
int kv_file_in_use(int fd);

/*
 * Say that this handle syncs without SYNC, until it leaves; or make sure that
 * nobody does, until it leaves.  Neither waits; both return 1, or 0 if the
 * other kind is in the way.
 */
int kv_beside_enter(int fd);
int kv_beside_exclude(int fd);
void kv_beside_leave(int fd);

/* Take a free slot, near hint.  Returns its number, or 0 if the system
 * refuses (errno). */
uint32_t kv_slot_take(int fd, uint32_t hint);
void kv_slot_drop(int fd, uint32_t slot);

/* Any slot taken but through fd?  Returns one of them, or 0. */
uint32_t kv_slot_any(int fd);

/*
 * Take a word for slot.  Waits until deadline_ms (negative: for ever; 0 or
 * past: try once).  fd is LOCK.  Returns:
 */
enum kv_word_result {
	KV_WORD_TAKEN = 0,	/* it is ours */
	KV_WORD_INHERITED = 1,	/* ours, from an owner that died */
	KV_WORD_TIMEOUT = 2
};
enum kv_word_result kv_word_lock(_Atomic uint32_t *word, int fd,
    uint32_t slot, int64_t deadline_ms);
void kv_word_unlock(_Atomic uint32_t *word);

/* 1 if the word was free and is ours now. */
static inline int
kv_word_try(_Atomic uint32_t *word, uint32_t slot)
{
	uint32_t seen = 0;

	return atomic_compare_exchange_strong_explicit(word, &seen, slot,
	    memory_order_acquire, memory_order_relaxed);
}

/* One try and one sleep of at most wait_ms, for callers whose wait may end
 * by another event.  KV_WORD_TIMEOUT: it was taken, look again. */
enum kv_word_result kv_word_step(_Atomic uint32_t *word, int fd,
    uint32_t slot, int wait_ms);

/*
 * An event word counts, and has a mark that somebody sleeps on it.  The steps
 * have the names of tests/model/event.pml.
 *
 * Who waits announces itself, then looks whether what it waits for is there,
 * and if not, sleeps.  Who does something announces it after it has done it,
 * which is one load where nobody waits.  Both orders are sequentially
 * consistent: either the one finds the mark, or the other what was done.
 *
 * Who finds the mark counts, wakes everybody, and takes the mark away unless
 * somebody has announced itself since it counted.  So nobody who dies in the
 * midst of it leaves a sleeper without a mark, and one who dies asleep costs
 * somebody one wake.
 */
#define KV_EVENT_SLEEPERS	1u	/* the mark; the count is above it */

/* Announce a sleeper; returns what to sleep on. */
uint32_t kv_event_enter(_Atomic uint32_t *word);	/* E1_ENTER */

/*
 * Sleep at most ms, unless the word is another than `seen` by now.  Returns 1
 * if it is or somebody woke us, 0 if the time is over, -1 if a signal came.
 * Works in a map that is only for reading.
 */
int kv_event_sleep(_Atomic uint32_t *word, uint32_t seen, int ms);

void kv_event_wake(_Atomic uint32_t *word);

/* What was done before is done: wake who waits. */
static inline void
kv_event_tell(_Atomic uint32_t *word)
{
	if (atomic_load(word) & KV_EVENT_SLEEPERS)		/* T2_LOOK */
		kv_event_wake(word);
}

#endif /* KV_LOCK_H */
