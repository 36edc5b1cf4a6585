/*
 * control: the shared memory in which the processes of one database say
 * where they are.
 *
 * It is a cache: all of it can be derived from FORMAT and the log, and is
 * derived anew (a new generation) after a boot, a copy or a damage.  Each
 * field names its writer.  Positions are sequence numbers and only grow.
 * The protocol that moves them is described in commit.c and explored by
 * tests/model.
 */
#ifndef KV_CONTROL_H
#define KV_CONTROL_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "settings.h"
#include "stats.h"

struct kv_env;
struct kv_dir;
struct kv_ident;
struct kv_conf;

#define KV_CONTROL_LAYOUT	6
#define KV_CONTROL_LEN		8192

/* Where the log ends: written in the idle slot of a pair, then chosen. */
struct kv_tail {
	uint64_t segment;	/* counter of the active segment */
	uint64_t off;		/* bytes used in it */
	uint64_t seq;		/* of the last record */
	uint64_t chain;		/* its chain value */
	uint64_t time_ns;	/* its commit time */
};

enum kv_writing_kind {
	KV_WRITING_NOTHING = 0,
	KV_WRITING_RECORD = 1,	/* len bytes at off may be torn */
	KV_WRITING_SEAL = 2	/* rotation has begun */
};

/* Who has a lock, for messages only: nothing is decided by it. */
struct kv_holder {
	_Atomic uint32_t pid;
	_Atomic uint32_t pad;
	_Atomic uint64_t since_ms;	/* of the monotonic clock */
	char program[32];
};

struct kv_control {
	/* Written once, before the file gets its name. */
	char magic[8];			/* "KEVOCTL1" */
	uint32_t layout;
	uint32_t len;			/* KV_CONTROL_LEN */
	uint8_t id[16];			/* of the database */
	uint8_t boot[16];		/* of the kernel; zero: unknown */
	uint64_t generation;		/* random; part of index names */
	uint64_t dev, ino, birth_ns;	/* of this file, against copies */
	uint64_t wal_ino;		/* of wal/ */
	uint64_t nonce;			/* from FORMAT, as are the next two: */
	uint32_t epoch;			/* of the first epoch; the one in force
					 * is that of the active segment */
	uint32_t mode;
	uint64_t hash;			/* XXH3-64 of the fields before */

	/* Lock words; lock.h. */
	_Alignas(64) _Atomic uint32_t writer;
	_Alignas(64) _Atomic uint32_t syncer;

	/* The rebuilder sets retired, holding WRITER and SYNC; a syncer sets
	 * failed to an errno and nobody clears it. */
	_Alignas(64) _Atomic uint32_t retired;
	_Atomic uint32_t failed;

	/* Read by every reader; written by committers, by maximum. */
	_Alignas(64) _Atomic uint64_t visible;
	_Atomic uint64_t active;	/* newest segment; by WRITER */
	/* By who installs a version, by maximum, in this order. */
	_Atomic uint64_t version;	/* the newest one */
	_Atomic uint64_t first;		/* no segment below it is needed */
	/* Told (lock.h) when visible, synced, active or retired has changed;
	 * who waits for that writes it, too. */
	_Atomic uint32_t event;

	/* Read by committers. */
	_Alignas(64) _Atomic uint64_t synced;	/* by maximum */
	_Atomic uint64_t syncing;	/* syncs that have begun and not
					 * succeeded; by who does one */
	_Alignas(64) _Atomic uint64_t appended;	/* by WRITER */
	_Atomic uint64_t full_to;	/* last FULL commit; by WRITER */

	/* For sync=batch, about: what was appended since the last sync began,
	 * and the tick (env.h) of its first commit.  WRITER adds, a syncer
	 * clears. */
	_Atomic uint64_t unsynced_bytes;
	_Atomic uint64_t unsynced_tick;

	/* Written by the owner of WRITER, for itself and its heir. */
	_Alignas(64) _Atomic uint64_t writing;	/* enum kv_writing_kind */
	_Atomic uint64_t writing_off;
	_Atomic uint64_t writing_len;
	_Atomic uint64_t reserved_to;	/* bytes of the active segment that
					 * exist on disk */
	_Alignas(64) _Atomic uint64_t tail_turn;	/* tail[turn & 1] */
	struct kv_tail tail[2];

	_Alignas(64) struct kv_holder holder;	/* of WRITER */

	/* Number of the next table, taken by adding one. */
	_Alignas(64) _Atomic uint64_t next_file;

	/* enum kv_setting, and the stamp of the kevo.conf that they are from;
	 * by WRITER.  Who reads several may find some older than others. */
	_Atomic uint64_t conf_stamp;
	_Atomic uint64_t setting[KV_SETTINGS_ROOM];

	/* Who may write: enum kv_role, or 0: the file `role` says it.  By who
	 * changes it, and by who finds 0; both have WRITER. */
	_Atomic uint32_t role;
	uint32_t pad;

	/* Of FLUSH; since it got on last.  since_ms 0: nobody. */
	struct kv_holder flusher;

	/* For fields to come; the counters behind stay in their place. */
	uint64_t room[23];

	struct kv_hot_counters hot;	/* to the end of the first page */
	struct kv_counters cold;	/* all of the second */
};

/* A process that only looks needs no more than these bytes. */
#define KV_CONTROL_BASE	offsetof(struct kv_control, room)

_Static_assert(offsetof(struct kv_control, hot) == 1280 &&
    offsetof(struct kv_control, cold) == 4096 &&
    sizeof(struct kv_control) == KV_CONTROL_LEN,
    "what a commit counts is in the first page, the rest in the second");
_Static_assert(ATOMIC_LLONG_LOCK_FREE == 2, "64-bit atomics need no lock");

/* Raise *p to v; never lowers it.  Sequentially consistent, also where there
 * is nothing to raise, for who tells an event then. */
static inline void
kv_raise(_Atomic uint64_t *p, uint64_t v)
{
	uint64_t old = atomic_load(p);

	while (old < v && !atomic_compare_exchange_weak(p, &old, v))
		;
}

/*
 * Fill in the part that is written once, and the settings.  fd is the file,
 * under its temporary name.
 */
int kv_control_format(struct kv_env *env, struct kv_control *c,
    const struct kv_dir *dir, int fd, const struct kv_ident *ident,
    const struct kv_conf *conf, uint64_t generation);

/* The value of a setting; the default where control holds none that can
 * be. */
uint64_t kv_setting(const struct kv_control *c, enum kv_setting s);

/* Publish what kevo.conf says; WRITER is held. */
void kv_control_configure(struct kv_control *c, const struct kv_conf *conf);

/*
 * Map shm/control.  Returns 0 with *c and *fd set, KEVO_NOTFOUND if it is
 * missing, KEVO_FALSE if it is of another boot, file or layout or damaged, or
 * an error.  With KEVO_FALSE *c is set if only the boot differs: then its lock
 * words are those that processes use.  A copy's words mean nothing.
 */
int kv_control_map(struct kv_env *env, const struct kv_dir *dir,
    int writable, struct kv_control **c, int *fd);
/*
 * Read a copy of shm/control, but for the counters: KV_CONTROL_BASE bytes.
 * Returns its descriptor, or -1 if it cannot be read or kv_control_map() would
 * not return 0.
 */
int kv_control_read(struct kv_env *env, const struct kv_dir *dir,
    struct kv_control *c);

/* KV_CONTROL_BASE, as a number that no compiler compares with the whole
 * structure's size. */
size_t kv_control_base(void);

void kv_control_unmap(struct kv_control *c, int fd);

/* Is it a control of this database and of this layout, whatever boot or place
 * it is from? */
int kv_control_is_of(const struct kv_control *c, const uint8_t id[16]);

/* Something that differs when shm/control is another file; 0: missing. */
uint64_t kv_control_stamp(const struct kv_dir *dir);

/* 1 if shm/control is still the file that was mapped. */
int kv_control_linked(struct kv_env *env, int fd);

/* Fill the holder's note, or describe it ("kevo-put, pid 812, for 4 s").
 * since_ms is of kv_mono_ms(). */
void kv_holder_set(struct kv_holder *h, uint32_t pid, const char *program,
    uint64_t since_ms);
void kv_holder_describe(const struct kv_holder *h, char *buf, size_t len);

#endif /* KV_CONTROL_H */
