/*
 * compact_job: how tables are gathered for a job; shared by compact_pick.c,
 * which looks for what is due, and compact_full.c, which makes a full run.
 *
 * Tables are named by their places in a version.  What adds tables returns
 * KEVO_ENOMEM if memory is out.
 */
#ifndef KV_COMPACT_JOB_H
#define KV_COMPACT_JOB_H

#include "compact.h"

/* Neighbours that a job takes along. */
#define KV_ALONG_MAX	16

/* ---- levels: compact_pick.c -------------------------------------------- */

/* Bytes that a level holds, and may hold before something is due. */
uint64_t kv_level_bytes(const struct kv_version *v, uint32_t level);
double kv_level_limit(const struct kv_shape *s, uint32_t level);

/* ---- compact_job.c ----------------------------------------------------- */

/* The tables of a sorted level that lie beside t: *from to *to. */
void kv_tables_beside(const struct kv_version *v, uint32_t level,
    const struct kv_table_info *t, uint32_t *from, uint32_t *to);

/* Begin one anew, from a level to the next; add tables of the level; then sort
 * these, and add those of the next level that lie beside them. */
void kv_job_begin(struct kv_job *job, uint32_t level);
int kv_job_add(struct kv_job *job, const struct kv_version *v, uint32_t i);
int kv_job_complete(struct kv_job *job, const struct kv_version *v);

/* Is a table, or one of a job's, in taken[]? */
int kv_table_is_taken(const struct kv_version *v, uint32_t i,
    const uint64_t *taken, size_t ntaken);
int kv_job_is_taken(const struct kv_job *job, const struct kv_version *v,
    const uint64_t *taken, size_t ntaken);

/*
 * Tables of a level that can be moved, so many that the level has lost more
 * than `over` bytes; of a full run (or NULL) only what it means.  1, or 0 if
 * there are none.
 */
int kv_job_moves(struct kv_job *job, const struct kv_version *v,
    uint32_t level, double over, const struct kv_full *f,
    const uint64_t *taken, size_t ntaken);

/*
 * A table of level 0 and what must go with it of those from place `from' on,
 * but without newer ones that are taken.  1, 0 if that is not possible, or an
 * error.
 */
int kv_job_level0(struct kv_job *job, const struct kv_version *v,
    uint32_t seed, uint32_t from, const uint64_t *taken, size_t ntaken);

/* Is a table meant by a full run? */
int kv_is_meant(const struct kv_full *f, const struct kv_table_info *t);

#endif /* KV_COMPACT_JOB_H */
