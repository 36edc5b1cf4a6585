#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "env.h"
#include "file.h"
#include "kevo.h"
#include "lock.h"
#include "version.h"

/* ---- the new list ------------------------------------------------------ */

static int
is_dropped(const struct kv_version_edit *e, uint64_t number)
{
	for (size_t i = 0; i < e->ndrop; i++)
		if (e->drop[i] == number)
			return 1;
	return 0;
}

static int
order(const void *a, const void *b)
{
	return kv_version_ordered(a, b) ? -1 :
	    kv_version_ordered(b, a) ? 1 : 0;
}

/* A version with the tables of the edit; its keys are borrowed. */
static struct kv_version *
apply(const struct kv_version_edit *e)
{
	size_t room = e->base->ntables + e->nadd;
	struct kv_version *v;

	v = calloc(1, sizeof(*v) + room * sizeof(v->table[0]));
	if (v == NULL)
		return NULL;
	v->number = e->base->number + 1;
	v->last_seq = e->last_seq;
	v->dropped_to = e->dropped_to;
	v->next_file = e->next_file;
	v->first_segment = e->first_segment;
	v->first_seq = e->first_seq;
	v->chain_before = e->chain_before;
	v->time_ns = e->time_ns;
	for (uint32_t i = 0; i < e->base->ntables; i++)
		if (!is_dropped(e, e->base->table[i].info.number))
			v->table[v->ntables++] = e->base->table[i];
	for (size_t i = 0; i < e->nadd; i++)
		v->table[v->ntables++] = e->add[i];
	qsort(v->table, v->ntables, sizeof(v->table[0]), order);
	return v;
}

static int
check(struct kv_env *env, const struct kv_version *v)
{
	for (uint32_t i = 1; i < v->ntables; i++)
		if (!kv_version_ordered(&v->table[i - 1], &v->table[i]))
			return kv_fail(env, KEVO_EINVAL, "tables %llx and "
			    "%llx of level %u overlap",
			    (unsigned long long)v->table[i - 1].info.number,
			    (unsigned long long)v->table[i].info.number,
			    (unsigned)v->table[i].level);
	return 0;
}

/* ---- the file ---------------------------------------------------------- */

/* 1 if it is ours, and has a name; 0 if somebody took it for a dead
 * process's before we had it locked. */
static int
is_kept(struct kv_env *env, int fd, const char *path)
{
	uint32_t links;

	return kv_file_lock(fd) && kv_file_stat(env, fd, path, NULL, NULL,
	    &links) == 0 && links > 0;
}

/* A name that nobody else uses; the file is locked as long as it is open. */
static int
create_temporary(struct kv_env *env, const struct kv_dir *dir, char *name,
    size_t room, uint32_t mode, int *out)
{
	uint64_t r;
	int fd;

	for (;;) {
		if (kv_random(&r, sizeof(r)) != 0)
			return kv_fail_errno(env, "random numbers", "get");
		snprintf(name, room, "version/tmp.%016llx",
		    (unsigned long long)r);
		fd = kv_openat(dir->fd, name, O_RDWR | O_CREAT | O_EXCL,
		    0666);
		if (fd < 0)
			return kv_fail_errno(env, kv_path(dir, name),
			    "create");
		if (is_kept(env, fd, kv_path(dir, name)))
			break;
		close(fd);
	}
	*out = fd;
	return kv_give(dir, fd, mode) == 0 ? 0 : kv_fail_errno(env, kv_path(dir,
	    name), "set the mode of");
}

static int
write_file(struct kv_env *env, const struct kv_dir *dir, uint32_t mode,
    uint64_t number, const void *b, size_t len)
{
	char tmp[48], name[KV_VERSION_NAME_LEN];
	int fd = -1, rc;

	kv_version_name(name, number);
	rc = create_temporary(env, dir, tmp, sizeof(tmp), mode, &fd);
	if (rc == 0)
		rc = kv_pwrite(env, fd, kv_path(dir, tmp), b, len, 0);
	if (rc == 0 && fsync(fd) != 0)
		rc = kv_fail_errno(env, kv_path(dir, tmp), "sync");
	if (rc == 0 && linkat(dir->fd, tmp, dir->fd, name, 0) != 0)
		rc = errno == EEXIST ? KEVO_FALSE : kv_fail_errno(env,
		    kv_path(dir, name), "create");
	if (fd >= 0) {
		unlinkat(dir->fd, tmp, 0);
		close(fd);
	}
	return rc;
}

int
kv_version_install(struct kv_env *env, const struct kv_dir *dir,
    const uint8_t id[16], uint32_t mode, const struct kv_version_edit *e,
    struct kv_version **out)
{
	struct kv_version *v = apply(e);
	uint8_t *b = NULL;
	size_t len = 0;
	int rc;

	if (v == NULL)
		return kv_fail(env, KEVO_ENOMEM, "out of memory");
	if ((rc = check(env, v)) == 0 && (b = kv_version_encode(id, v,
	    &len)) == NULL)
		rc = kv_fail(env, KEVO_ENOMEM, "out of memory");
	if (rc == 0)
		rc = write_file(env, dir, mode, v->number, b, len);
	/* Whoever links the next one before our name is on disk does so in
	 * the same directory, and its sync covers ours. */
	if (rc == 0)
		rc = kv_sync_dir(env, dir, "version");
	if (rc == 0 && out != NULL)
		rc = kv_version_read(env, dir, id, v->number, 0, out);
	if (rc == KEVO_NOTFOUND)
		rc = kv_fail(env, KEVO_EREPLACED, "%s: version %llx vanished",
		    dir->path, (unsigned long long)v->number);
	free(b);
	free(v);
	return rc;
}
