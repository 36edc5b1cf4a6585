#include <stdlib.h>
#include <string.h>

#include "../env.h"
#include "../kevo.h"
#include "../version.h"
#include "base.h"
#include "base_expect.h"
#include "ship.h"

struct read {
	struct kv_base_expect x;
	struct kv_tar_in *in;
	const struct kv_base_sink *sink;
	struct kv_hash128 *hash;
	char *buf;		/* the small member in hand */
	size_t room;
};

static int
no_memory(struct read *r)
{
	return kv_fail(r->x.env, KEVO_ENOMEM, "out of memory");
}

/* ---- small members ----------------------------------------------------- */

static int
grow(struct read *r, size_t need)
{
	size_t n = r->room != 0 ? r->room : 4096;
	char *p;

	if (need <= r->room)
		return 0;
	while (n < need)
		n *= 2;
	if ((p = realloc(r->buf, n)) == NULL)
		return no_memory(r);
	r->buf = p;
	r->room = n;
	return 0;
}

/* Memory is taken as bytes come, not as a header says. */
static int
collect(struct read *r, const struct kv_base_member *m)
{
	size_t len, at = 0;
	const void *p;
	int rc;

	while ((rc = kv_tar_bytes(r->in, &p, &len)) == 1) {
		if (len > m->size - at)
			return kv_base_refuse(&r->x, m, "longer than it says");
		if ((rc = grow(r, at + len + 1)) != 0)
			return rc;
		memcpy(r->buf + at, p, len);
		at += len;
	}
	if (rc != 0)
		return rc;
	if (at != m->size)
		return kv_base_refuse(&r->x, m, "shorter than it says");
	if ((rc = grow(r, 1)) != 0)
		return rc;
	r->buf[at] = '\0';
	kv_hash128_add(r->hash, r->buf, at);
	return 0;
}

static int
take_version(struct read *r, const struct kv_base_member *m)
{
	struct kv_version *v;
	const char *why;
	uint8_t *copy;
	int rc;

	if ((copy = malloc((size_t)m->size + 1)) == NULL)
		return no_memory(r);
	memcpy(copy, r->buf, (size_t)m->size);
	why = kv_version_decode(copy, (size_t)m->size, r->x.base.db, m->number,
	    &v);
	if (why != NULL) {
		free(copy);
		return kv_base_refuse(&r->x, m, why);
	}
	rc = kv_base_expect_tables(&r->x, v);
	kv_version_unref(v);
	return rc;
}

static int
take_head(struct read *r, const struct kv_base_member *m)
{
	if (strncmp(r->buf, "kevo-base ", 10) == 0 &&
	    strncmp(r->buf, "kevo-base 1\n", 12) != 0)
		return kv_base_refuse(&r->x, m, "of a newer format than this "
		    "program knows");
	if (kv_base_parse(r->buf, (size_t)m->size, &r->x.base) != 0)
		return kv_base_refuse(&r->x, m, "damaged");
	return r->sink->head == NULL ? 0 : r->sink->head(r->sink->arg,
	    &r->x.base);
}

static int
take_small(struct read *r, const struct kv_base_member *m)
{
	int rc = collect(r, m);

	if (rc != 0)
		return rc;
	if (m->kind == KV_BASE_SUMS)
		return kv_base_check_sums(&r->x, m, r->buf);
	if (m->kind == KV_BASE_END)
		return kv_base_check_end(&r->x, m, r->buf);
	if (m->kind == KV_BASE_HEAD)
		rc = take_head(r, m);
	else if (m->kind == KV_BASE_VERSION)
		rc = take_version(r, m);
	if (rc != 0 || r->sink->small == NULL)
		return rc;
	return r->sink->small(r->sink->arg, m, r->buf, (size_t)m->size);
}

/* ---- large ones -------------------------------------------------------- */

static int
take_large(struct read *r, const struct kv_base_member *m)
{
	const struct kv_base_sink *s = r->sink;
	uint64_t left = m->size;
	const void *p;
	size_t len;
	int rc;

	if (s->begin != NULL && (rc = s->begin(s->arg, m)) != 0)
		return rc;
	while ((rc = kv_tar_bytes(r->in, &p, &len)) == 1) {
		if (len > left)
			return kv_base_refuse(&r->x, m, "longer than it says");
		left -= len;
		kv_hash128_add(r->hash, p, len);
		if (s->data != NULL && (rc = s->data(s->arg, p, len)) != 0)
			return rc;
	}
	if (rc != 0)
		return rc;
	if (left != 0)
		return kv_base_refuse(&r->x, m, "shorter than it says");
	return s->close != NULL ? s->close(s->arg) : 0;
}

/* ---- all together ------------------------------------------------------ */

static int
take_file(struct read *r, const struct kv_base_member *m)
{
	int large = m->kind == KV_BASE_TABLE || m->kind == KV_BASE_SEGMENT;
	int rc;

	kv_hash128_reset(r->hash);
	if ((rc = large ? take_large(r, m) : take_small(r, m)) != 0)
		return rc;
	return kv_base_came(&r->x, m, r->hash);
}

static int
read_all(struct read *r)
{
	struct kv_base_member m;
	struct kv_tar_member t;
	int rc, is_file;

	if ((r->hash = kv_hash128_new()) == NULL)
		return no_memory(r);
	while ((rc = kv_tar_next(r->in, &t)) == 1)
		if ((rc = kv_base_expect(&r->x, &t, &m, &is_file)) != 0 ||
		    (is_file && (rc = take_file(r, &m)) != 0))
			return rc;
	if (rc != 0)
		return rc;
	if (!kv_base_has(&r->x, KV_BASE_END))
		return kv_ship_fail(r->x.env, KV_SHIP_SHORT, "%s: it ends "
		    "without END: it was cut, or is no backup of a kevo "
		    "database; get it again", r->x.archive);
	kv_tar_drain(r->in);
	return 0;
}

int
kv_base_read(struct kv_env *env, struct kv_tar_in *in, const char *name,
    const struct kv_base_sink *sink, struct kv_base *out)
{
	struct read r = { .x = { .env = env, .archive = name }, .in = in,
		.sink = sink };
	int rc;

	if ((rc = read_all(&r)) == 0)
		*out = r.x.base;
	kv_hash128_free(r.hash);
	kv_base_expect_release(&r.x);
	free(r.buf);
	return rc;
}
