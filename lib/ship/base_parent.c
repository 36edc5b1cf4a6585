#include <stdlib.h>
#include <string.h>

#include "../env.h"
#include "../kevo.h"
#include "../version.h"
#include "base.h"

struct parent {
	struct kv_env *env;
	struct kv_base base;
	struct kv_version *version;
};

static int
parent_head(void *arg, const struct kv_base *b)
{
	((struct parent *)arg)->base = *b;
	return 0;
}

static int
parent_small(void *arg, const struct kv_base_member *m, const void *p,
    size_t len)
{
	struct parent *o = arg;
	uint8_t *copy;

	if (m->kind != KV_BASE_VERSION)
		return 0;
	if ((copy = malloc(len)) == NULL)
		return kv_fail(o->env, KEVO_ENOMEM, "out of memory");
	memcpy(copy, p, len);
	/* It was decoded before. */
	if (kv_version_decode(copy, len, o->base.db, m->number,
	    &o->version) == NULL)
		return 0;
	free(copy);
	return kv_fail(o->env, KEVO_ENOMEM, "out of memory");
}

int
kv_base_parent_read(struct kv_env *env, struct kv_tar_in *in,
    const char *name, struct kv_base_parent *out)
{
	struct parent p = { .env = env };
	struct kv_base_sink sink = { .head = parent_head,
		.small = parent_small, .arg = &p };
	struct kv_base base;
	int rc = kv_base_read(env, in, name, &sink, &base);

	if (rc != 0) {
		kv_version_unref(p.version);
		return rc;
	}
	memcpy(out->db, base.db, 16);
	out->end = base.end;
	out->version = p.version;
	return 0;
}

void
kv_base_parent_release(struct kv_base_parent *p)
{
	kv_version_unref(p->version);
	p->version = NULL;
}
