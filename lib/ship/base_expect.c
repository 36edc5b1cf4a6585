#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../conf.h"
#include "../env.h"
#include "../epoch.h"
#include "../ident.h"
#include "../kevo.h"
#include "../segment.h"
#include "../version.h"
#include "base_expect.h"
#include "ship.h"

#define VERSION_MAX	((uint64_t)1 << 30)

struct kv_base_named {
	uint64_t number, size;
	int came;
};

void
kv_base_expect_release(struct kv_base_expect *x)
{
	free(x->table);
	free(x->sums.text);
}

/* ---- sentences --------------------------------------------------------- */

static int
refuse(struct kv_base_expect *x, const char *member, const char *why)
{
	return kv_ship_fail(x->env, KV_SHIP_CORRUPT, "%s: %.100s: %s",
	    x->archive, member, why);
}

int
kv_base_refuse(struct kv_base_expect *x, const struct kv_base_member *m,
    const char *why)
{
	char name[KV_BASE_NAME_LEN];

	kv_base_name(name, m);
	return refuse(x, name, why);
}

static int
missing(struct kv_base_expect *x, enum kv_base_kind kind, uint64_t number)
{
	struct kv_base_member m = { .kind = kind, .number = number };

	return kv_base_refuse(x, &m, "missing");
}

static int
no_memory(struct kv_base_expect *x)
{
	return kv_fail(x->env, KEVO_ENOMEM, "out of memory");
}

int
kv_base_has(const struct kv_base_expect *x, enum kv_base_kind kind)
{
	return (x->seen >> kind & 1) != 0;
}

/* ---- names ------------------------------------------------------------- */

/* The directory is whatever the first member is in. */
static int
below_dir(struct kv_base_expect *x, const char *name, const char **rest)
{
	size_t n = strcspn(name, "/");

	if (n == 0)
		return refuse(x, name, "an absolute name");
	if (x->dir[0] == '\0') {
		if (n >= sizeof(x->dir) || strncmp(name, "..", n) == 0)
			return refuse(x, name, "no directory of a backup");
		memcpy(x->dir, name, n);
		x->dir[n] = '\0';
	}
	if (strlen(x->dir) != n || strncmp(x->dir, name, n) != 0)
		return refuse(x, name, "not in the directory of the others");
	*rest = name + n + (name[n] == '/');
	return 0;
}

static int
take_dir(struct kv_base_expect *x, const char *name, const char *rest)
{
	static const char *const known[] = { "", "epochs", "version", "table",
	    "wal" };
	size_t n = strlen(rest);

	if (n > 0 && rest[n - 1] == '/')
		n--;
	for (unsigned i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (strlen(known[i]) == n && strncmp(rest, known[i],
		    n) == 0) {
			if (x->dirs & 1u << i)
				return refuse(x, name, "it comes twice");
			x->dirs |= 1u << i;
			return 0;
		}
	return refuse(x, name, "no part of a backup");
}

/* ---- what may come now ------------------------------------------------- */

/* Of a full base all tables come; of an increment those that SUMS names. */
static int
check_tables_came(struct kv_base_expect *x)
{
	if (x->base.has_parent)
		return 0;
	for (uint32_t i = 0; i < x->ntable; i++)
		if (!x->table[i].came)
			return missing(x, KV_BASE_TABLE, x->table[i].number);
	return 0;
}

/* What had to come before a member of this kind. */
static int
check_before(struct kv_base_expect *x, enum kv_base_kind kind)
{
	const struct kv_base *b = &x->base;
	int rc;

	if (kind > KV_BASE_HEAD && !kv_base_has(x, KV_BASE_HEAD))
		return kv_ship_fail(x->env, KV_SHIP_CORRUPT, "%s: no backup "
		    "of a kevo database: it does not begin with KEVO-BASE",
		    x->archive);
	if (kind > KV_BASE_LOCK && !kv_base_has(x, KV_BASE_LOCK))
		return missing(x, KV_BASE_LOCK, 0);
	if (kind > KV_BASE_PINS && !kv_base_has(x, KV_BASE_PINS))
		return missing(x, KV_BASE_PINS, 0);
	if (kind > KV_BASE_VERSION && b->version != 0 &&
	    !kv_base_has(x, KV_BASE_VERSION))
		return missing(x, KV_BASE_VERSION, b->version);
	if (kind > KV_BASE_TABLE && (rc = check_tables_came(x)) != 0)
		return rc;
	if (kind > KV_BASE_SEGMENT && b->first_segment + x->segments <=
	    b->last_segment)
		return missing(x, KV_BASE_SEGMENT, b->first_segment +
		    x->segments);
	if (kind > KV_BASE_FORMAT && !kv_base_has(x, KV_BASE_FORMAT))
		return missing(x, KV_BASE_FORMAT, 0);
	if (kind > KV_BASE_SUMS && !kv_base_has(x, KV_BASE_SUMS))
		return missing(x, KV_BASE_SUMS, 0);
	return 0;
}

static int
check_order(struct kv_base_expect *x, const struct kv_base_member *m)
{
	if (x->seen == 0 || m->kind > x->last.kind)
		return 0;
	if (m->kind == x->last.kind && m->number > x->last.number)
		return 0;
	if (m->kind == x->last.kind && m->number == x->last.number)
		return kv_base_refuse(x, m, "it comes twice");
	return kv_base_refuse(x, m, "not in its place");
}

static struct kv_base_named *
find_table(struct kv_base_expect *x, uint64_t number)
{
	uint32_t lo = 0, hi = x->ntable;

	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;

		if (x->table[mid].number < number)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < x->ntable && x->table[lo].number == number ?
	    &x->table[lo] : NULL;
}

static int
check_table(struct kv_base_expect *x, const struct kv_base_member *m)
{
	struct kv_base_named *t = find_table(x, m->number);

	if (t == NULL)
		return kv_base_refuse(x, m, "the version does not name it");
	if (t->size != m->size)
		return kv_base_refuse(x, m, "not as long as the version says");
	t->came = 1;
	return 0;
}

static int
check_segment(struct kv_base_expect *x, const struct kv_base_member *m)
{
	const struct kv_base *b = &x->base;
	uint64_t next = b->first_segment + x->segments;

	if (m->number > b->last_segment || m->number < b->first_segment)
		return kv_base_refuse(x, m, "KEVO-BASE does not name it");
	if (m->number != next)
		return missing(x, KV_BASE_SEGMENT, next);
	x->segments++;
	return m->size >= KV_SEGMENT_HEAD + KV_SEAL_LEN &&
	    m->size <= KV_SEGMENT_MAX ? 0 :
	    kv_base_refuse(x, m, "impossible length");
}

static uint64_t
longest(const struct kv_base_expect *x, enum kv_base_kind kind)
{
	switch (kind) {
	case KV_BASE_HEAD:
	case KV_BASE_END:
		return KV_BASE_TEXT_MAX - 1;
	case KV_BASE_EPOCH:
		return KV_EPOCH_TEXT_MAX;
	case KV_BASE_CONF:
		return KV_CONF_MAX;
	case KV_BASE_VERSION:
		return VERSION_MAX;
	case KV_BASE_FORMAT:
		return KV_IDENT_MAX;
	case KV_BASE_SUMS:
		return 2 * x->sums.len + KV_BASE_TEXT_MAX;
	case KV_BASE_TABLE:
	case KV_BASE_SEGMENT:
		return UINT64_MAX;
	case KV_BASE_LOCK:
	case KV_BASE_PINS:
		break;
	}
	return 0;
}

/* Does it keep to what KEVO-BASE says of all of it? */
static int
check_room(struct kv_base_expect *x, const struct kv_base_member *m)
{
	if (m->kind == KV_BASE_HEAD || m->kind >= KV_BASE_SUMS)
		return 0;
	if (m->size > x->base.bytes - x->bytes ||
	    x->files >= x->base.files)
		return kv_base_refuse(x, m, "more than KEVO-BASE says there "
		    "is");
	x->bytes += m->size;
	return 0;
}

static int
check_member(struct kv_base_expect *x, const struct kv_base_member *m)
{
	int rc;

	if ((rc = check_order(x, m)) != 0 ||
	    (rc = check_before(x, m->kind)) != 0)
		return rc;
	if (m->size > longest(x, m->kind))
		return kv_base_refuse(x, m, "longer than it can be");
	if ((rc = check_room(x, m)) != 0)
		return rc;
	if (m->kind == KV_BASE_VERSION && m->number != x->base.version)
		return kv_base_refuse(x, m, "KEVO-BASE does not name it");
	if (m->kind == KV_BASE_TABLE)
		return check_table(x, m);
	return m->kind == KV_BASE_SEGMENT ? check_segment(x, m) : 0;
}

int
kv_base_expect(struct kv_base_expect *x, const struct kv_tar_member *t,
    struct kv_base_member *m, int *is_file)
{
	const char *rest = "";
	int rc = below_dir(x, t->name, &rest);

	m->size = t->size;
	*is_file = !t->is_dir;
	if (rc != 0)
		return rc;
	if (kv_base_has(x, KV_BASE_END))
		return refuse(x, t->name, "it comes behind END");
	if (t->is_dir)
		return take_dir(x, t->name, rest);
	if (kv_base_name_parse(rest, m) != 0)
		return refuse(x, t->name, "no part of a backup");
	return check_member(x, m);
}

/* ---- what has come ----------------------------------------------------- */

int
kv_base_came(struct kv_base_expect *x, const struct kv_base_member *m,
    const struct kv_hash128 *bytes)
{
	x->seen |= 1u << m->kind;
	x->last = *m;
	if (m->kind >= KV_BASE_SUMS)
		return 0;
	x->files++;
	return kv_base_sums_add(&x->sums, m, bytes) == 0 ? 0 : no_memory(x);
}

static int
by_number(const void *a, const void *b)
{
	const struct kv_base_named *x = a, *y = b;

	return x->number < y->number ? -1 : x->number > y->number;
}

int
kv_base_expect_tables(struct kv_base_expect *x, const struct kv_version *v)
{
	x->table = calloc((size_t)v->ntables + 1, sizeof(x->table[0]));
	if (x->table == NULL)
		return no_memory(x);
	x->ntable = v->ntables;
	for (uint32_t i = 0; i < x->ntable; i++) {
		x->table[i].number = v->table[i].info.number;
		x->table[i].size = v->table[i].info.size;
	}
	qsort(x->table, x->ntable, sizeof(x->table[0]), by_number);
	return 0;
}

/* ---- SUMS and END ------------------------------------------------------ */

/* The first line that differs tells what is wrong. */
static int
differing_sums(struct kv_base_expect *x, const char *theirs)
{
	const char *ours = x->sums.text, *what;
	char name[KV_BASE_NAME_LEN + 1];
	size_t n;

	while (*theirs != '\0' && *ours != '\0') {
		n = strcspn(ours, "\n") + 1;
		if (strncmp(theirs, ours, n) != 0)
			break;
		theirs += n;
		ours += n;
	}
	if (*theirs == '\0')
		return refuse(x, "SUMS", "it does not name all files");
	n = strcspn(theirs, "\n");
	if (n < KV_HASH128_TEXT + 1 || n - KV_HASH128_TEXT >= sizeof(name))
		return refuse(x, "SUMS", "damaged");
	what = theirs + KV_HASH128_TEXT + 1;
	n -= KV_HASH128_TEXT + 1;
	memcpy(name, what, n);
	name[n] = '\0';
	if (*ours == '\0' || strncmp(ours + KV_HASH128_TEXT + 1, name, n) !=
	    0 || ours[KV_HASH128_TEXT + 1 + n] != '\n')
		return refuse(x, name, "missing");
	return refuse(x, name, "not the bytes that were written");
}

int
kv_base_check_sums(struct kv_base_expect *x, const struct kv_base_member *m,
    const char *text)
{
	if (m->size == x->sums.len && memcmp(text, x->sums.text,
	    x->sums.len) == 0)
		return 0;
	if (memchr(text, '\0', (size_t)m->size) != NULL)
		return kv_base_refuse(x, m, "damaged");
	return differing_sums(x, text);
}

int
kv_base_check_end(struct kv_base_expect *x, const struct kv_base_member *m,
    const char *text)
{
	char sums[KV_HASH128_TEXT];
	struct kv_base_end e;

	kv_hash128_of(x->sums.text, x->sums.len, sums);
	if (kv_base_end_parse(text, (size_t)m->size, &e) != 0 ||
	    strcmp(e.sums, sums) != 0 || e.files != x->files ||
	    e.bytes != x->bytes || x->files != x->base.files ||
	    x->bytes != x->base.bytes)
		return kv_base_refuse(x, m, "it does not fit what came before");
	return 0;
}

