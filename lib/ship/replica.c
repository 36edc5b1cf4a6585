#include <string.h>

#include "../conf.h"
#include "../db.h"
#include "../epoch.h"
#include "../role.h"
#include "newdir.h"
#include "replica.h"

static int
make_segment(struct kv_env *env, const struct kv_dir *dir,
    const struct kv_ident *ident, const struct kv_epoch *first)
{
	struct kv_segment_head h;
	struct kv_conf conf;

	kv_conf_init(&conf);
	memset(&h, 0, sizeof(h));
	memcpy(h.id, ident->id, sizeof(h.id));
	h.epoch = ident->epoch;
	h.nonce = ident->nonce;
	h.flags = KV_SEGMENT_COPIED;
	h.first_seq = 1;
	h.chain_before = first->chain;
	h.created_ns = kv_now_ns();
	h.counter = 1;
	h.capacity = conf.value[KV_SET_MEMTABLE_BYTES];
	return kv_segment_create(env, dir, ident->mode, &h);
}

static int
fill(struct kv_env *env, struct kv_newdir *d, const struct kv_ident *ident,
    const struct kv_epoch *first)
{
	static const char *const below[] = { "wal", "table", "version", NULL };
	const struct kv_dir *dir = kv_newdir_dir(d);
	struct kv_role_note role = { .role = KV_ROLE_REPLICA };
	int rc;

	kv_newdir_mode(d, kv_lock_mode(ident->mode));
	if ((rc = kv_newdir_file(d, "LOCK", "", 0)) != 0)
		return rc;
	kv_newdir_mode(d, ident->mode);
	if ((rc = kv_newdir_file(d, "PINS", "", 0)) != 0)
		return rc;
	for (size_t i = 0; below[i] != NULL; i++)
		if ((rc = kv_newdir_mkdir(d, below[i])) != 0)
			return rc;
	role.since_ns = kv_now_ns();
	if ((rc = make_segment(env, dir, ident, first)) != 0 ||
	    (rc = kv_role_write(env, dir, ident->mode, &role)) != 0 ||
	    (rc = kv_ident_write(env, dir, ident)) != 0)
		return rc;
	return kv_newdir_sync(d, below);
}

int
kv_replica_create(struct kv_env *env, const char *path, uint32_t mode,
    const struct kv_epoch *first)
{
	struct kv_ident ident = { .epoch = first->epoch,
		.nonce = first->nonce, .mode = mode };
	struct kv_newdir *d = NULL;
	int rc;

	memcpy(ident.id, first->db, sizeof(ident.id));
	rc = kv_newdir_open(env, path, 0, &d);
	if (rc == 0)
		rc = fill(env, d, &ident, first);
	if (rc == 0)
		rc = kv_newdir_place(d);
	kv_newdir_free(d);
	return rc;
}
