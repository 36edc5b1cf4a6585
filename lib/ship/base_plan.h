/*
 * base_plan: what a base consists of.
 *
 * It is known to the last byte before the first one is written: the log is
 * walked to its end, since KEVO-BASE, which tells where that is, comes first.
 * Of the tables only the names and lengths are known; who writes them verifies
 * them on the way.
 */
#ifndef KV_BASE_PLAN_H
#define KV_BASE_PLAN_H

#include <stddef.h>
#include <stdint.h>

#include "../ident.h"
#include "base.h"
#include "base_take.h"

struct kv_table_info;

/* A member whose bytes are in memory. */
struct kv_base_small {
	struct kv_base_member m;
	char *bytes;
};

struct kv_base_plan {
	struct kevo *db;
	const struct kv_base_write *opt;
	struct kv_taken taken;	/* with the log that goes into it */
	struct kv_ident ident;
	struct kv_base base;	/* KEVO-BASE */
	struct kv_base_small *before;	/* what comes before tables and log, */
	size_t nbefore;
	struct kv_base_small format;	/* and what comes behind */
	const struct kv_table_info **table;	/* those that go into it */
	uint32_t ntable;
};

/*
 * Plan a base of what db shows now.  As kv_base_write(); p is to be released,
 * also after an error.
 */
int kv_base_plan(struct kv_base_plan *p, struct kevo *db,
    const struct kv_base_write *opt);
void kv_base_plan_release(struct kv_base_plan *p);

#endif /* KV_BASE_PLAN_H */
