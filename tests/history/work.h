/*
 * work: what the files of a worker share.
 */
#ifndef WORK_H
#define WORK_H

#include "history.h"

enum { VALUE_ROOM = 512 };

struct work {
	struct h_run *run;
	unsigned w;
	const char *path;	/* of the database */
	struct kevo *db;
	struct h_event *e;	/* the one that is under way */
	size_t i;		/* its number in the history */
	uint64_t seen[H_KEYS];	/* what this process read last, */
	uint64_t seen_version[H_KEYS];	/* for its conditions */
};

int64_t h_now_ns(void);

/* Of the worker's own numbers, below a limit. */
unsigned work_rnd(unsigned below);

/* The same bytes for the same value; long enough to fill segments. */
size_t h_value_text(uint64_t value, char buf[VALUE_ROOM]);

/* The value of these bytes; 1, which nobody writes, if they are of none. */
uint64_t h_text_value(const void *text, size_t len);

/* Something that cannot be: the process ends. */
void work_wrong(struct work *k, int rc, const char *what)
    __attribute__((noreturn));

/* An event; 0: there is no room for another one. */
int work_begin(struct work *k, const char *what);

/* From here on it may have an effect. */
void work_may_change(struct work *k);

/* The event ends with what a call returned. */
void work_end(struct work *k, int rc);

/* The part of the event that is of this key. */
struct h_part *work_part(struct work *k, unsigned key);

/* Look at one key. */
void work_get(struct work *k, unsigned key);

/* command.c: a transaction of kevo-txn. */
void work_command(struct work *k);

#endif /* WORK_H */
