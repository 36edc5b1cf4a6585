/*
 * txn_model: a plain model for tests of transactions, of KEYS keys with values
 * of less than ROOM bytes; who includes this defines both.
 */
#ifndef TXN_MODEL_H
#define TXN_MODEL_H

#include <kevo.h>

#include "tap.h"

/* A value is made of a number; 0: absent. */
struct model {
	uint64_t stamp[KEYS];
};

static uint64_t stamps;

static inline size_t
value_of(uint64_t stamp, uint8_t *v)
{
	size_t len = (size_t)(stamp * 2654435761u >> 7) % ROOM;

	for (size_t i = 0; i < len; i++)
		v[i] = (uint8_t)(stamp + i * (stamp | 1) / 3);
	return len;
}

static inline size_t
key_of(size_t i, char k[16])
{
	return (size_t)snprintf(k, 16, "k%03zu", i);
}

static inline int
is_stamp(uint64_t stamp, const struct kevo_record *r)
{
	uint8_t v[ROOM];
	size_t len = value_of(stamp, v);

	return r->vlen == len && memcmp(r->value, v, len) == 0;
}

#endif /* TXN_MODEL_H */
