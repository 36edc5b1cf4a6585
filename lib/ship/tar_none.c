#ifndef KEVO_ARCHIVE

#include "../env.h"
#include "../kevo.h"
#include "tar.h"

/* Built without libarchive: nothing can be made, so nothing else is called
 * but with NULL. */

int
kv_tar_available(void)
{
	return 0;
}

static int
unavailable(struct kv_env *env)
{
	return kv_fail(env, KEVO_EINVAL, "built without libarchive");
}

int
kv_tar_create(struct kv_env *env, const struct kv_tar_sink *sink,
    enum kv_tar_filter filter, struct kv_tar_out **out)
{
	(void)sink;
	(void)filter;
	(void)out;
	return unavailable(env);
}

int
kv_tar_dir(struct kv_tar_out *o, const char *name, unsigned mode,
    int64_t time)
{
	(void)o;
	(void)name;
	(void)mode;
	(void)time;
	return KEVO_EINVAL;
}

int
kv_tar_file(struct kv_tar_out *o, const char *name, unsigned mode,
    int64_t time, uint64_t size)
{
	(void)size;
	return kv_tar_dir(o, name, mode, time);
}

int
kv_tar_data(struct kv_tar_out *o, const void *p, size_t len)
{
	(void)o;
	(void)p;
	(void)len;
	return KEVO_EINVAL;
}

int
kv_tar_finish(struct kv_tar_out *o)
{
	(void)o;
	return KEVO_EINVAL;
}

void
kv_tar_abandon(struct kv_tar_out *o)
{
	(void)o;
}

int
kv_tar_open(struct kv_env *env, int fd, const char *name,
    int (*stopped)(void), struct kv_tar_in **out)
{
	(void)fd;
	(void)name;
	(void)stopped;
	(void)out;
	return unavailable(env);
}

void
kv_tar_close(struct kv_tar_in *in)
{
	(void)in;
}

int
kv_tar_next(struct kv_tar_in *in, struct kv_tar_member *m)
{
	(void)in;
	(void)m;
	return KEVO_EINVAL;
}

int
kv_tar_bytes(struct kv_tar_in *in, const void **p, size_t *len)
{
	(void)in;
	(void)p;
	(void)len;
	return KEVO_EINVAL;
}

uint64_t
kv_tar_taken(const struct kv_tar_in *in)
{
	(void)in;
	return 0;
}

void
kv_tar_drain(struct kv_tar_in *in)
{
	(void)in;
}

#endif /* KEVO_ARCHIVE */
