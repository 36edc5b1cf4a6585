/*
 * walship_spool_work: what the parts of recv --spool share.
 */
#ifndef WALSHIP_SPOOL_WORK_H
#define WALSHIP_SPOOL_WORK_H

#include <stddef.h>
#include <stdint.h>

#include "file.h"
#include "position.h"
#include "ship/archive.h"
#include "walship_archive.h"

struct file {
	char *name;
	int done;		/* taken, or moved away */
};

struct spool {
	const struct walship_spool *o;
	struct kv_archive *a;
	struct kv_dir dir;
	struct kv_names names;
	struct file *file;
	size_t n, room;
	int worst;		/* exit status */
	int changed;
	int ours;		/* what is damaged is the archive's own */
	uint64_t taken;
	struct kv_position at;	/* --dry-run: where the archive would be;
				 * epoch 0: where it is */
};

/* End the program with what the archive says. */
void spool_fail(struct spool *s, int rc) __attribute__((noreturn));

/* Take one file, reject it, or leave it; why it is left is told in the last
 * round. */
void spool_take_epoch(struct spool *s, struct file *f, int last_round);
void spool_take_segment(struct spool *s, struct file *f, int last_round);

#endif /* WALSHIP_SPOOL_WORK_H */
