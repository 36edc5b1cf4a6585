/*
 * seal: completing a segment because of its age, so that it can travel as a
 * file although few write.
 */
#ifndef KV_SHIP_SEAL_H
#define KV_SHIP_SEAL_H

#include <stdint.h>

struct kevo;

/*
 * Seal the newest segment if its first commit was made more than age_ms ago.
 * db is open for writing.  Returns 1, 0 (it is younger, or empty), or what
 * kevo_seal() may.
 */
int kv_seal_if_older(struct kevo *db, int64_t age_ms);

#endif /* KV_SHIP_SEAL_H */
