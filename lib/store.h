/*
 * store: bytes that grow, in memory or in a file that is mapped.
 *
 * In memory they may move when they grow, until they are many; in a file they
 * stay where they are,
 * and so much address space is taken at once that they need not.  (A process
 * that looks at a page or two of a file needs few addresses: a large range
 * has page tables of its own, which cost more than those pages.)  What a
 * file's store has is reserved on disk before anybody touches it, since a map
 * cannot report that there is no room.  New bytes of a file are zero; those in
 * memory are whatever they are.
 */
#ifndef KV_STORE_H
#define KV_STORE_H

#include <stddef.h>
#include <stdint.h>

struct kv_env;

struct kv_store {
	uint8_t *p;		/* NULL: nothing yet */
	uint64_t room;		/* bytes that there are */
	uint64_t space;		/* bytes that are mapped; 0: of malloc() */
	int fd;			/* of the file; -1: in memory */
	uint8_t *first;		/* an earlier map of it, or NULL */
	uint64_t first_space;
};

void kv_store_init(struct kv_store *s);
void kv_store_release(struct kv_store *s);

/*
 * Have at least want bytes, and some more than that, so that growing step by
 * step costs little.  On failure nothing has changed.
 *
 * Returns 0, KEVO_ENOMEM, KEVO_EIO (no room on disk) or KEVO_ELIMIT (of
 * addresses).  name: of the file, for a message.
 */
int kv_store_grow(struct kv_env *env, struct kv_store *s, const char *name,
    uint64_t want);

/*
 * Write len bytes at off, at most room, of a file's store, which has them then,
 * and spare more at least.  For many bytes: to write them is what makes room,
 * and no page has to be mapped for it.  On failure nothing has changed before
 * off.
 */
int kv_store_write(struct kv_env *env, struct kv_store *s, const char *name,
    uint64_t off, const void *p, uint64_t len, uint64_t spare);

/*
 * Map a file of which the first room bytes exist, with up to space bytes of
 * addresses; fewer if those are scarce, but never less than need.  fd becomes
 * the store's, also after a failure.
 */
int kv_store_map(struct kv_env *env, struct kv_store *s, int fd,
    const char *name, uint64_t room, uint64_t need, uint64_t space);

/*
 * Map once more what was mapped with too few addresses, likewise.  It has
 * another place then; what points to the first one stays valid.
 */
int kv_store_remap(struct kv_env *env, struct kv_store *s, const char *name,
    uint64_t need, uint64_t space);

/*
 * Move what there is in memory to an empty file, likewise; the first skip
 * bytes of the file stay zero.  On failure the store stays in memory, and fd
 * is closed.
 */
int kv_store_move(struct kv_env *env, struct kv_store *s, int fd,
    const char *name, uint64_t skip, uint64_t space);

#endif /* KV_STORE_H */
