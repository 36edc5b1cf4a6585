#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "env.h"
#include "file.h"
#include "hash.h"
#include "kevo.h"
#include "lock.h"
#include "record.h"
#include "txnfile.h"

static const char magic[8] = "KEVOTXN1";

void
kv_txn_name(char buf[KV_TXN_NAME_LEN], uint64_t number, const char *ending)
{
	kv_name(buf, "txn/", number, ending);
}

/* ---- creating ---------------------------------------------------------- */

static int
make_directory(struct kv_env *env, const struct kv_dir *dir, uint32_t mode)
{
	return kv_mkdir(env, dir, "txn", mode);
}

int
kv_txn_create(struct kv_env *env, const struct kv_dir *dir, uint32_t mode,
    uint64_t number, const char *ending, int *out)
{
	char name[KV_TXN_NAME_LEN];
	int flags = O_RDWR | O_CREAT | O_EXCL, fd, rc;

	kv_txn_name(name, number, ending);
	fd = kv_openat(dir->fd, name, flags, 0666);
	if (fd < 0 && errno == ENOENT) {
		if ((rc = make_directory(env, dir, mode)) != 0)
			return rc;
		fd = kv_openat(dir->fd, name, flags, 0666);
	}
	if (fd < 0 && errno == EEXIST)
		return KEVO_FALSE;
	if (fd < 0)
		return kv_fail_errno(env, kv_path(dir, name), "create");
	if (kv_give(dir, fd, mode) != 0) {
		rc = kv_fail_errno(env, kv_path(dir, name),
		    "set the mode of");
		close(fd);
		unlinkat(dir->fd, name, 0);
		return rc;
	}
	*out = fd;
	return 0;
}

int
kv_txn_create_unnamed(struct kv_env *env, const struct kv_dir *dir,
    uint32_t mode, int *fd)
{
	char name[KV_TXN_NAME_LEN];
	uint64_t number;
	int rc;

	do {
		if (kv_random(&number, sizeof(number)) != 0)
			return kv_fail_errno(env, "random numbers", "get");
		rc = kv_txn_create(env, dir, mode, number | 1, ".txn", fd);
	} while (rc == KEVO_FALSE);
	if (rc != 0)
		return rc;
	kv_txn_name(name, number | 1, ".txn");
	if (unlinkat(dir->fd, name, 0) == 0 || errno == ENOENT)
		return 0;
	rc = kv_fail_errno(env, kv_path(dir, name), "remove");
	close(*fd);
	return rc;
}

/* ---- the head ---------------------------------------------------------- */

static uint64_t
head_hash(const struct kv_txn_head *h)
{
	return kv_hash(h, offsetof(struct kv_txn_head, hash), 0);
}

void
kv_txn_head_init(struct kv_txn_head *h, const uint8_t id[16], uint64_t number,
    const struct kv_txn_head *parent, uint64_t seq, uint64_t now_ns)
{
	struct kv_txn_end none = { KV_FRAME_LEN + KV_PAYLOAD_HEAD, 0 }, e;

	memcpy(h->magic, magic, sizeof(magic));
	h->layout = KV_TXN_LAYOUT;
	h->head_len = KV_TXN_HEAD_LEN;
	memcpy(h->id, id, 16);
	h->number = number;
	h->parent = parent != NULL ? parent->number : 0;
	h->depth = parent != NULL ? parent->depth + 1 : 0;
	h->seq = seq;
	h->now_ns = now_ns;
	h->below = 0;
	if (parent != NULL && kv_txn_end_get(parent, &e) == 0)
		h->below = e.end;
	h->hash = head_hash(h);
	kv_txn_end_set(h, &none);
	atomic_store(&h->indexed, none.end);
	atomic_store(&h->state, KV_TXN_OPEN);
}

int
kv_txn_head_check(const struct kv_txn_head *h, const uint8_t id[16],
    uint64_t number)
{
	if (memcmp(h->magic, magic, sizeof(magic)) != 0 ||
	    h->layout != KV_TXN_LAYOUT || h->head_len != KV_TXN_HEAD_LEN ||
	    h->hash != head_hash(h) || memcmp(h->id, id, 16) != 0 ||
	    h->number != number || h->depth >= KV_TXN_DEPTH ||
	    (h->depth == 0) != (h->parent == 0))
		return -1;
	return 0;
}

int
kv_txn_end_get(const struct kv_txn_head *h, struct kv_txn_end *e)
{
	uint64_t turn;

	do {
		turn = atomic_load_explicit(&h->turn, memory_order_acquire);
		*e = h->at[turn & 1];
		atomic_thread_fence(memory_order_acquire);
	} while (atomic_load_explicit(&h->turn, memory_order_relaxed) != turn);
	return e->end >= KV_FRAME_LEN + KV_PAYLOAD_HEAD &&
	    e->end - KV_FRAME_LEN <= KEVO_COMMIT_MAX &&
	    e->count <= KEVO_COMMIT_OPS ? 0 : -1;
}

void
kv_txn_end_set(struct kv_txn_head *h, const struct kv_txn_end *e)
{
	uint64_t turn = atomic_load_explicit(&h->turn, memory_order_relaxed);

	h->at[(turn + 1) & 1] = *e;
	atomic_store_explicit(&h->turn, turn + 1, memory_order_release);
}

/* ---- removing ---------------------------------------------------------- */

void
kv_txn_remove_index(const struct kv_dir *dir, uint64_t number)
{
	char name[KV_TXN_NAME_LEN];

	kv_txn_name(name, number, ".idx");
	unlinkat(dir->fd, name, 0);
}

/* The index first: without it there is nobody who looks for the other. */
void
kv_txn_remove(const struct kv_dir *dir, uint64_t number)
{
	char name[KV_TXN_NAME_LEN];

	kv_txn_remove_index(dir, number);
	kv_txn_name(name, number, ".txn");
	unlinkat(dir->fd, name, 0);
}

/*
 * Its owner lives if it has the file locked.  A creator whose file is not
 * locked yet finds that it has been taken from it, and makes another one.
 */
static void
remove_dead(const struct kv_dir *dir, uint64_t number)
{
	char name[KV_TXN_NAME_LEN];
	int fd;

	kv_txn_name(name, number, ".txn");
	if ((fd = kv_openat(dir->fd, name, O_RDWR, 0)) < 0)
		return;
	if (kv_txn_claim(fd))
		kv_txn_remove(dir, number);
	close(fd);
}

/* An index without its transaction: the system came down in between, or a
 * reader made it while the owner went. */
static void
remove_orphan(const struct kv_dir *dir, uint64_t number)
{
	char name[KV_TXN_NAME_LEN];

	kv_txn_name(name, number, ".txn");
	if (faccessat(dir->fd, name, F_OK, 0) == 0 || errno != ENOENT)
		return;
	kv_txn_name(name, number, ".idx");
	unlinkat(dir->fd, name, 0);
}

void
kv_txn_sweep(const struct kv_dir *dir)
{
	uint64_t number;
	struct dirent *e;
	DIR *d;
	int fd;

	fd = kv_openat(dir->fd, "txn", O_RDONLY | O_DIRECTORY, 0);
	if (fd < 0)
		return;
	if ((d = fdopendir(fd)) == NULL) {
		close(fd);
		return;
	}
	while ((e = readdir(d)) != NULL) {
		if (kv_name_number(e->d_name, ".txn", &number))
			remove_dead(dir, number);
		else if (kv_name_number(e->d_name, ".idx", &number))
			remove_orphan(dir, number);
	}
	closedir(d);
}
