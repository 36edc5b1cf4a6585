/*
 * txnfile: the files of a transaction that is not in memory: its operations,
 * and the index over them.
 *
 * Those of a shared transaction have names, txn/NUMBER.txn and .idx, and
 * begin with a head that other processes find their way by.  Its owner holds
 * a lock on the file for as long as it lives (lock.h), and that lock alone
 * says that it does: the files of who was killed are removed by who comes
 * next.  Who writes holds another one.  The layout is kevo-format(5),
 * TRANSACTION.
 *
 * The rest of a large transaction lies in files of the same names that were
 * removed as soon as they were opened.
 */
#ifndef KV_TXNFILE_H
#define KV_TXNFILE_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "control.h"

struct kv_env;
struct kv_dir;

#define KV_TXN_LAYOUT		2
#define KV_TXN_HEAD_LEN		4096
#define KV_TXN_NAME_LEN		32	/* "txn/NUMBER.txn" */
#define KV_TXN_DEPTH		16	/* transactions within each other */

enum kv_txn_state {
	KV_TXN_OPEN = 1,
	KV_TXN_ENDED = 2	/* committed or aborted, or about to be */
};

/* How far the operations go; written in the idle one of a pair, then
 * chosen. */
struct kv_txn_end {
	uint64_t end;		/* bytes behind the head */
	uint64_t count;		/* operations */
};

struct kv_txn_head {
	/* Written once, before anybody is told the name. */
	char magic[8];		/* "KEVOTXN1" */
	uint32_t layout;
	uint32_t head_len;	/* KV_TXN_HEAD_LEN */
	uint8_t id[16];		/* of the database */
	uint64_t number;	/* of this file */
	uint64_t parent;	/* of the one that it is within; 0: none */
	uint64_t depth;		/* how many it is within */
	uint64_t seq;		/* newest commit under it */
	uint64_t below;		/* end of the one that it is within */
	uint64_t now_ns;	/* its clock, for what expires */
	uint64_t hash;		/* XXH3-64 of the fields before */

	_Alignas(64) _Atomic uint64_t state;	/* by its owner */

	/* By who holds the lock for writing. */
	_Alignas(64) _Atomic uint64_t turn;	/* of at[] */
	struct kv_txn_end at[2];
	_Atomic uint64_t indexed;	/* bytes behind the head that are in
					 * the index; stored last, so that a
					 * batch is seen whole or not at all */
	_Atomic uint64_t reserved;	/* bytes of the file that exist on
					 * disk; what follows is a hole */
	struct kv_holder holder;
};

_Static_assert(sizeof(struct kv_txn_head) <= KV_TXN_HEAD_LEN, "head");

/* "txn/NUMBER" and an ending. */
void kv_txn_name(char buf[KV_TXN_NAME_LEN], uint64_t number,
    const char *ending);

/*
 * Create txn/NUMBER and ending, in a directory that is made if it is missing.
 * Returns 0, KEVO_FALSE (there is one already) or an error.
 */
int kv_txn_create(struct kv_env *env, const struct kv_dir *dir,
    uint32_t mode, uint64_t number, const char *ending, int *fd);

/* The same without a name: whoever has it open has it to the end. */
int kv_txn_create_unnamed(struct kv_env *env, const struct kv_dir *dir,
    uint32_t mode, int *fd);

/* Fill in what is written once; turn and the rest are zero. */
void kv_txn_head_init(struct kv_txn_head *h, const uint8_t id[16],
    uint64_t number, const struct kv_txn_head *parent, uint64_t seq,
    uint64_t now_ns);

/* 0 if it is the head of this transaction of this database, or -1. */
int kv_txn_head_check(const struct kv_txn_head *h, const uint8_t id[16],
    uint64_t number);

/* How far it goes.  Returns 0, or -1 if that cannot be. */
int kv_txn_end_get(const struct kv_txn_head *h, struct kv_txn_end *e);
void kv_txn_end_set(struct kv_txn_head *h, const struct kv_txn_end *e);

/* Remove both files of a transaction, or its index. */
void kv_txn_remove(const struct kv_dir *dir, uint64_t number);
void kv_txn_remove_index(const struct kv_dir *dir, uint64_t number);

/* Remove the files of the dead.  Errors are not told: the next one tries
 * again. */
void kv_txn_sweep(const struct kv_dir *dir);

#endif /* KV_TXNFILE_H */
