/*
 * history: what several processes did to one database, and whether all of it
 * can be explained.
 *
 * Everything that was asked of the database is an event: when it was asked,
 * when it was answered, and for each key that it touched a part: what was
 * read, what was written, which condition was set.  A single put has one
 * part, a transaction or a scan has several.  Every value that is ever
 * written is written once, and names the event that wrote it, so a read says
 * whose write it saw.
 *
 * Two judges look at a history, and neither trusts the other:
 *
 *  - linear.c looks at one key after the other and at no version: is there an
 *    order of the operations on it that contains the order of real time and
 *    explains each answer?  (Wing and Gong; the search keeps a set of
 *    possible states and decides an operation's place when it returns, as
 *    Lowe does.)
 *  - serial.c goes by versions.  Each commit has one, so they are an order of
 *    all transactions.  Does it contain the order of real time, is no version
 *    missing or there twice, and is what each event read exactly what is left
 *    by replaying all commits below its own, or up to its snapshot?
 *
 * What a killed process asked for is open: it happened, before the process
 * died, or it never does.  Of a command of kevo-txn more is known: killed
 * before its end it never happens.
 */
#ifndef HISTORY_H
#define HISTORY_H

#include <stddef.h>
#include <stdint.h>

#include "kevo.h"

/*
 * The keys, in groups that are adjacent in order: registers that are put and
 * deleted, accounts whose sum stays, counters, and the slots of a queue.
 */
enum {
	H_REGISTERS = 6, H_ACCOUNTS = 6, H_COUNTERS = 2, H_SLOTS = 6,
	H_ACCOUNT0 = H_REGISTERS,
	H_COUNTER0 = H_ACCOUNT0 + H_ACCOUNTS,
	H_SLOT0 = H_COUNTER0 + H_COUNTERS,
	H_KEYS = H_SLOT0 + H_SLOTS,
	H_PARTS = 8,
	H_BALANCE = 1000		/* of each account at the start */
};

/* How an event ended. */
enum h_outcome {
	H_NOTHING,		/* it had no effect and says nothing */
	H_OPEN,			/* killed, or its outcome is not known */
	H_DONE,
	H_FALSE			/* its condition did not hold */
};

enum h_flag { H_READ = 1, H_WRITE = 2 };

/* What an event did to one key.  A value of 0 is that of an absent key. */
struct h_part {
	uint8_t key;
	uint8_t flags;		/* enum h_flag */
	uint8_t cond;		/* enum kevo_cond_kind */
	uint64_t got;		/* H_READ: the value */
	uint64_t got_version;	/* its version, 0 if it is absent */
	uint64_t put;		/* H_WRITE: the value; 0 deletes */
	uint64_t want;		/* of the condition: value or version */
};

struct h_event {
	const char *what;	/* for messages; NULL: the place is empty */
	int64_t start;		/* monotonic clock, nanoseconds */
	int64_t end;		/* when it was answered; 0: never */
	int64_t dead;		/* H_OPEN: when its process was gone */
	uint64_t version;	/* of the commit, or of the snapshot it read;
				 * 0: not told */
	uint8_t outcome;	/* enum h_outcome */
	uint8_t snapshot;	/* version is that of a snapshot */
	uint8_t nparts;
	struct h_part part[H_PARTS];
};

struct history {
	struct h_event *event;
	size_t count;		/* of places; many may be empty */
	int tell;		/* print what leads up to it, too */
	char why[400];		/* the sentence of what was found */
};

/* ---- values ------------------------------------------------------------ */

/* The value that part p of event i writes; it carries a number that the
 * program computes with, below 2^20. */
static inline uint64_t
h_value(size_t i, unsigned p, unsigned number)
{
	return (uint64_t)(i + 1) << 24 | (uint64_t)p << 20 | number;
}

static inline unsigned
h_number(uint64_t value)
{
	return value & 0xfffff;
}

/* The part that wrote a value, and its event in *e; NULL: nobody did. */
static inline const struct h_part *
h_writer(const struct history *h, uint64_t value, unsigned key,
    const struct h_event **e)
{
	uint64_t i = (value >> 24) - 1;
	unsigned p = value >> 20 & 15;

	if (i >= h->count || h->event[i].what == NULL ||
	    p >= h->event[i].nparts)
		return NULL;
	*e = &h->event[i];
	return (*e)->part[p].put == value && (*e)->part[p].key == key &&
	    (*e)->part[p].flags & H_WRITE ? &(*e)->part[p] : NULL;
}

/* Does it write, if it takes place? */
static inline int
h_writes(const struct h_event *e)
{
	for (unsigned p = 0; p < e->nparts; p++)
		if (e->part[p].flags & H_WRITE)
			return 1;
	return 0;
}

/* What a key holds, for a condition. */
static inline int
h_holds(const struct h_part *p, uint64_t value, uint64_t version)
{
	switch (p->cond) {
	case KEVO_IF_ABSENT:
		return value == 0;
	case KEVO_IF_PRESENT:
		return value != 0;
	case KEVO_IF_VALUE:
		return value != 0 && value == p->want;
	case KEVO_IF_VERSION:
		return value == 0 ? p->want == 0 : version == p->want;
	default:
		return 1;
	}
}

/* ---- the judges -------------------------------------------------------- */

/* 0: every key is explained.  1: one is not, h->why says which event.
 * -1: too many possibilities, h->why says where. */
int h_linear(struct history *h);

/* The same for versions and transactions.  The last event must be a snapshot
 * of everything when all others had ended. */
int h_serial(struct history *h);

/* ---- trying the judges ------------------------------------------------- */

/* A history as a faultless database would have made it, in `count` places:
 * some events are killed.  Deterministic by seed. */
void h_simulate(struct history *h, uint64_t seed);

/* Faults that a database could have, each put into a history. */
struct h_fault {
	const char *name;
	int (*make)(struct history *h);	/* 0: there is no place for it */
	int linear, serial;	/* which judges must see it */
};

extern const struct h_fault h_faults[];		/* name NULL ends */
void h_fault_seed(uint64_t seed);	/* for the choices of make() */

/* ---- real processes ---------------------------------------------------- */

enum { H_WORKERS = 5, H_ROOM = 8192 };

/* Shared by all processes of a run. */
struct h_run {
	_Atomic int stop;
	_Atomic uint32_t used[H_WORKERS + 1];	/* places, of each worker;
						 * the last is the test's */
	char wrong[400];	/* what a worker could not believe */
	int without;		/* kevo-txn is one that has no transactions */
	char notes[200];	/* where commands write down what they do: a
				 * directory, with a file for each worker */
	struct h_event event[(H_WORKERS + 1) * H_ROOM];
};

/* The way of the key with this number. */
const char *h_key(unsigned k);

/* Be worker w on the database at path, until stop or the room is used; the
 * result is the exit status.  Called in a process of its own. */
int h_work(struct h_run *run, unsigned w, const char *path, uint64_t seed);

/* ---- command.c: transactions of kevo-txn -------------------------------- */

int h_is_command(const struct h_event *e);

/* In the test: the last event of a worker, which was killed with all that it
 * had started, is a command: what did it do? */
void h_command_left(struct h_run *run, unsigned w, struct h_event *e);

/* ---- the beginning and the end of a run --------------------------------- */

/* In the test: the first commit, and the snapshot of everything. */
int h_first(struct h_run *run, const char *path);
int h_last(struct h_run *run, const char *path);

#endif /* HISTORY_H */
