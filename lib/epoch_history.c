#include <stdlib.h>
#include <string.h>

#include "env.h"
#include "epoch.h"
#include "file.h"
#include "ident.h"
#include "kevo.h"

void
kv_history_release(struct kv_history *h)
{
	free(h->v);
	h->v = NULL;
	h->n = 0;
}

/* The array has room for the next power of two of what is in it. */
static int
append(struct kv_env *env, struct kv_history *h, const struct kv_epoch *e)
{
	if ((h->n & (h->n - 1)) == 0) {
		size_t room = h->n != 0 ? 2 * h->n : 1;
		void *p = realloc(h->v, room * sizeof(h->v[0]));

		if (p == NULL)
			return kv_fail(env, KEVO_ENOMEM, "out of memory");
		h->v = p;
	}
	h->v[h->n++] = *e;
	return 0;
}

const char *
kv_history_refuses(const struct kv_history *h, const struct kv_epoch *e)
{
	const struct kv_epoch *last = kv_history_newest(h);

	if (last == NULL)
		return e->parent != 0 || e->start != 0 ? "it is not the first "
		    "epoch" : NULL;
	if (memcmp(e->db, last->db, sizeof(e->db)) != 0)
		return "it belongs to another database";
	if (last->epoch == UINT32_MAX || e->epoch != last->epoch + 1)
		return "it does not follow the newest epoch";
	if (e->parent != last->epoch || e->parent_nonce != last->nonce)
		return "it continues another line of history";
	if (e->start < last->start)
		return "it begins before its parent";
	if (e->start == last->start && e->chain != last->chain)
		return "it begins on another chain than its parent";
	return NULL;
}

int
kv_history_add(struct kv_env *env, struct kv_history *h,
    const struct kv_epoch *e)
{
	return append(env, h, e);
}

static int
by_number(const void *a, const void *b)
{
	const struct kv_epoch *x = a, *y = b;

	return x->epoch < y->epoch ? -1 : x->epoch > y->epoch;
}

/* Where the first epoch follows from FORMAT, its file is one more copy. */
static int
is_first(const struct kv_epoch *first, const struct kv_epoch *e)
{
	char a[KV_EPOCH_TEXT_MAX], b[KV_EPOCH_TEXT_MAX];

	if (first == NULL)
		return 0;
	kv_epoch_print(a, first);
	kv_epoch_print(b, e);
	return strcmp(a, b) == 0;
}

static int
read_all(struct kv_env *env, const struct kv_dir *dir, const char *sub,
    const struct kv_epoch *first, struct kv_history *h)
{
	struct kv_epoch e;
	const char *name;
	uint32_t number;
	DIR *d;
	int rc = kv_list_open(env, dir, sub, 1, &d);

	if (rc != 0 || d == NULL)
		return rc;
	while (rc == 0 && (name = kv_list_next(env, dir, sub, d,
	    &rc)) != NULL) {
		if (!kv_epoch_name_number(name, &number))
			continue;
		rc = kv_epoch_read(env, dir, sub, number, &e);
		if (rc == 0 && !is_first(first, &e))
			rc = append(env, h, &e);
	}
	closedir(d);
	return rc;
}

/* Sort what was read and check it epoch by epoch. */
static int
check_line(struct kv_env *env, const struct kv_dir *dir, const char *sub,
    const uint8_t id[16], struct kv_history *h)
{
	struct kv_history so_far = { h->v, 0 };
	char name[KV_EPOCH_NAME_LEN];
	const char *why;

	if (h->n == 0)
		return kv_fail(env, KEVO_ECORRUPT, "%s: no epoch file in it",
		    kv_path(dir, sub));
	qsort(h->v, h->n, sizeof(h->v[0]), by_number);
	for (; so_far.n < h->n; so_far.n++) {
		const struct kv_epoch *e = &h->v[so_far.n];

		why = kv_history_refuses(&so_far, e);
		if (memcmp(e->db, id, 16) != 0)
			why = "it belongs to another database";
		if (why == NULL)
			continue;
		kv_epoch_name(name, e->epoch);
		return kv_fail(env, KEVO_ECORRUPT, "%s/%s: damaged: %s",
		    kv_path(dir, sub), name, why);
	}
	return 0;
}

int
kv_history_read(struct kv_env *env, const struct kv_dir *dir,
    const char *sub, const uint8_t id[16], const struct kv_epoch *first,
    struct kv_history *out)
{
	int rc = 0;

	memset(out, 0, sizeof(*out));
	if (first != NULL)
		rc = append(env, out, first);
	if (rc == 0)
		rc = read_all(env, dir, sub, first, out);
	if (rc == 0)
		rc = check_line(env, dir, sub, id, out);
	if (rc != 0)
		kv_history_release(out);
	return rc;
}

int
kv_history_of_db(struct kv_env *env, const struct kv_dir *dir,
    const struct kv_ident *ident, struct kv_history *out)
{
	struct kv_epoch first;

	kv_epoch_first(ident, &first);
	return kv_history_read(env, dir, "epochs", ident->id, &first, out);
}

const struct kv_epoch *
kv_history_find(const struct kv_history *h, uint32_t epoch)
{
	if (h->n == 0 || epoch < h->v[0].epoch ||
	    epoch - h->v[0].epoch >= h->n)
		return NULL;
	return &h->v[epoch - h->v[0].epoch];
}

const struct kv_epoch *
kv_history_next(const struct kv_history *h, uint32_t epoch)
{
	return epoch == UINT32_MAX ? NULL : kv_history_find(h, epoch + 1);
}

const struct kv_epoch *
kv_history_newest(const struct kv_history *h)
{
	return h->n == 0 ? NULL : &h->v[h->n - 1];
}

const struct kv_epoch *
kv_history_of(const struct kv_history *h, uint64_t seq)
{
	size_t i = h->n;

	while (i > 0 && h->v[i - 1].start >= seq)
		i--;
	return i > 0 ? &h->v[i - 1] : NULL;
}
