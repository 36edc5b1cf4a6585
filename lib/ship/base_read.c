#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../conf.h"
#include "../epoch.h"
#include "../kevo.h"
#include "../env.h"
#include "../segment.h"
#include "../version.h"
#include "base.h"
#include "ship.h"

/*
 * Members come in one order, without a repetition, so whatever is missing or
 * too much is known by its name when the next one comes.  Nothing of a name
 * is ever used as a path: it is compared with the names that there can be.
 */

#define VERSION_MAX	((uint64_t)1 << 30)
#define FORMAT_MAX	4096

/* A table that the version names. */
struct named {
	uint64_t number, size;
	int came;
};

struct read {
	struct kv_env *env;
	struct kv_tar_in *in;
	const char *name;
	const struct kv_base_sink *sink;
	struct kv_base base;
	char dir[128];		/* that all members are in; "": not known */
	unsigned dirs;		/* that came, a bit each */
	unsigned seen;		/* kinds, a bit each */
	struct kv_base_member last;
	struct named *table;
	uint32_t ntable;
	uint64_t segments, files, bytes;
	struct kv_hash128 *hash;
	char *sums;		/* what SUMS must be */
	size_t sums_len, sums_room;
	char *buf;		/* the small member in hand */
	size_t room;
};

static int
refuse(struct read *r, const char *member, const char *why)
{
	return kv_ship_fail(r->env, KV_SHIP_CORRUPT, "%s: %.100s: %s",
	    r->name, member, why);
}

static int
refuse_member(struct read *r, const struct kv_base_member *m,
    const char *why)
{
	char name[KV_BASE_NAME_LEN];

	kv_base_name(name, m);
	return refuse(r, name, why);
}

static int
missing(struct read *r, enum kv_base_kind kind, uint64_t number)
{
	struct kv_base_member m = { .kind = kind, .number = number };

	return refuse_member(r, &m, "missing");
}

static int
no_memory(struct read *r)
{
	return kv_fail(r->env, KEVO_ENOMEM, "out of memory");
}

static int
has(const struct read *r, enum kv_base_kind kind)
{
	return (r->seen >> kind & 1) != 0;
}

/* ---- names ------------------------------------------------------------- */

/* The directory is whatever the first member is in. */
static int
below_dir(struct read *r, const char *name, const char **rest)
{
	size_t n = strcspn(name, "/");

	if (n == 0)
		return refuse(r, name, "an absolute name");
	if (r->dir[0] == '\0') {
		if (n >= sizeof(r->dir) || strncmp(name, "..", n) == 0)
			return refuse(r, name, "no directory of a backup");
		memcpy(r->dir, name, n);
		r->dir[n] = '\0';
	}
	if (strlen(r->dir) != n || strncmp(r->dir, name, n) != 0)
		return refuse(r, name, "not in the directory of the others");
	*rest = name + n + (name[n] == '/');
	return 0;
}

static int
take_dir(struct read *r, const char *name, const char *rest)
{
	static const char *const known[] = { "", "epochs", "version", "table",
	    "wal" };
	size_t n = strlen(rest);

	if (n > 0 && rest[n - 1] == '/')
		n--;
	for (unsigned i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (strlen(known[i]) == n && strncmp(rest, known[i],
		    n) == 0) {
			if (r->dirs & 1u << i)
				return refuse(r, name, "it comes twice");
			r->dirs |= 1u << i;
			return 0;
		}
	return refuse(r, name, "no part of a backup");
}

/* ---- what may come now ------------------------------------------------- */

/* Of a full base all tables come; of an increment those that SUMS names. */
static int
check_tables_came(struct read *r)
{
	if (r->base.has_parent)
		return 0;
	for (uint32_t i = 0; i < r->ntable; i++)
		if (!r->table[i].came)
			return missing(r, KV_BASE_TABLE, r->table[i].number);
	return 0;
}

/* What had to come before a member of this kind. */
static int
check_before(struct read *r, enum kv_base_kind kind)
{
	const struct kv_base *b = &r->base;
	int rc;

	if (kind > KV_BASE_HEAD && !has(r, KV_BASE_HEAD))
		return kv_ship_fail(r->env, KV_SHIP_CORRUPT, "%s: no backup "
		    "of a kevo database: it does not begin with KEVO-BASE",
		    r->name);
	if (kind > KV_BASE_LOCK && !has(r, KV_BASE_LOCK))
		return missing(r, KV_BASE_LOCK, 0);
	if (kind > KV_BASE_PINS && !has(r, KV_BASE_PINS))
		return missing(r, KV_BASE_PINS, 0);
	if (kind > KV_BASE_VERSION && b->version != 0 &&
	    !has(r, KV_BASE_VERSION))
		return missing(r, KV_BASE_VERSION, b->version);
	if (kind > KV_BASE_TABLE && (rc = check_tables_came(r)) != 0)
		return rc;
	if (kind > KV_BASE_SEGMENT && b->first_segment + r->segments <=
	    b->last_segment)
		return missing(r, KV_BASE_SEGMENT, b->first_segment +
		    r->segments);
	if (kind > KV_BASE_FORMAT && !has(r, KV_BASE_FORMAT))
		return missing(r, KV_BASE_FORMAT, 0);
	if (kind > KV_BASE_SUMS && !has(r, KV_BASE_SUMS))
		return missing(r, KV_BASE_SUMS, 0);
	return 0;
}

static int
check_order(struct read *r, const struct kv_base_member *m)
{
	if (r->seen == 0 || m->kind > r->last.kind)
		return 0;
	if (m->kind == r->last.kind && m->number > r->last.number)
		return 0;
	if (m->kind == r->last.kind && m->number == r->last.number)
		return refuse_member(r, m, "it comes twice");
	return refuse_member(r, m, "not in its place");
}

static struct named *
find_table(struct read *r, uint64_t number)
{
	uint32_t lo = 0, hi = r->ntable;

	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;

		if (r->table[mid].number < number)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < r->ntable && r->table[lo].number == number ?
	    &r->table[lo] : NULL;
}

static int
check_table(struct read *r, const struct kv_base_member *m)
{
	struct named *t = find_table(r, m->number);

	if (t == NULL)
		return refuse_member(r, m, "the version does not name it");
	if (t->size != m->size)
		return refuse_member(r, m, "not as long as the version says");
	t->came = 1;
	return 0;
}

static int
check_segment(struct read *r, const struct kv_base_member *m)
{
	const struct kv_base *b = &r->base;
	uint64_t next = b->first_segment + r->segments;

	if (m->number > b->last_segment || m->number < b->first_segment)
		return refuse_member(r, m, "KEVO-BASE does not name it");
	if (m->number != next)
		return missing(r, KV_BASE_SEGMENT, next);
	r->segments++;
	return m->size >= KV_SEGMENT_HEAD + KV_SEAL_LEN &&
	    m->size <= KV_SEGMENT_MAX ? 0 :
	    refuse_member(r, m, "impossible length");
}

static uint64_t
longest(const struct read *r, enum kv_base_kind kind)
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
		return FORMAT_MAX;
	case KV_BASE_SUMS:
		return 2 * r->sums_len + KV_BASE_TEXT_MAX;
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
check_room(struct read *r, const struct kv_base_member *m)
{
	if (m->kind == KV_BASE_HEAD || m->kind >= KV_BASE_SUMS)
		return 0;
	if (m->size > r->base.bytes - r->bytes ||
	    r->files >= r->base.files)
		return refuse_member(r, m, "more than KEVO-BASE says there "
		    "is");
	r->bytes += m->size;
	return 0;
}

static int
check_member(struct read *r, const struct kv_base_member *m)
{
	int rc;

	if ((rc = check_order(r, m)) != 0 ||
	    (rc = check_before(r, m->kind)) != 0)
		return rc;
	if (m->size > longest(r, m->kind))
		return refuse_member(r, m, "longer than it can be");
	if ((rc = check_room(r, m)) != 0)
		return rc;
	if (m->kind == KV_BASE_VERSION && m->number != r->base.version)
		return refuse_member(r, m, "KEVO-BASE does not name it");
	if (m->kind == KV_BASE_TABLE)
		return check_table(r, m);
	return m->kind == KV_BASE_SEGMENT ? check_segment(r, m) : 0;
}

/* ---- small members ----------------------------------------------------- */

static int
grow(struct read *r, char **buf, size_t *room, size_t need)
{
	size_t n = *room != 0 ? *room : 4096;
	char *p;

	if (need <= *room)
		return 0;
	while (n < need)
		n *= 2;
	if ((p = realloc(*buf, n)) == NULL)
		return no_memory(r);
	*buf = p;
	*room = n;
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
			return refuse_member(r, m, "longer than it says");
		if ((rc = grow(r, &r->buf, &r->room, at + len + 1)) != 0)
			return rc;
		memcpy(r->buf + at, p, len);
		at += len;
	}
	if (rc != 0)
		return rc;
	if (at != m->size)
		return refuse_member(r, m, "shorter than it says");
	if ((rc = grow(r, &r->buf, &r->room, 1)) != 0)
		return rc;
	r->buf[at] = '\0';
	kv_hash128_add(r->hash, r->buf, at);
	return 0;
}

static int
by_number(const void *a, const void *b)
{
	const struct named *x = a, *y = b;

	return x->number < y->number ? -1 : x->number > y->number;
}

static int
take_version(struct read *r, const struct kv_base_member *m)
{
	struct kv_version *v;
	const char *why;
	uint8_t *copy;

	if ((copy = malloc((size_t)m->size + 1)) == NULL)
		return no_memory(r);
	memcpy(copy, r->buf, (size_t)m->size);
	why = kv_version_decode(copy, (size_t)m->size, r->base.db, m->number,
	    &v);
	if (why != NULL) {
		free(copy);
		return refuse_member(r, m, why);
	}
	r->table = calloc((size_t)v->ntables + 1, sizeof(r->table[0]));
	r->ntable = r->table != NULL ? v->ntables : 0;
	for (uint32_t i = 0; i < r->ntable; i++) {
		r->table[i].number = v->table[i].info.number;
		r->table[i].size = v->table[i].info.size;
	}
	kv_version_unref(v);
	if (r->table == NULL)
		return no_memory(r);
	qsort(r->table, r->ntable, sizeof(r->table[0]), by_number);
	return 0;
}

static int
take_head(struct read *r, const struct kv_base_member *m)
{
	if (strncmp(r->buf, "kevo-base ", 10) == 0 &&
	    strncmp(r->buf, "kevo-base 1\n", 12) != 0)
		return refuse_member(r, m, "of a newer format than this "
		    "program knows");
	if (kv_base_parse(r->buf, (size_t)m->size, &r->base) != 0)
		return refuse_member(r, m, "damaged");
	return r->sink->head == NULL ? 0 : r->sink->head(r->sink->arg,
	    &r->base);
}

/* The first line that differs tells what is wrong. */
static int
differing_sums(struct read *r, const char *theirs)
{
	const char *ours = r->sums, *what;
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
		return refuse(r, "SUMS", "it does not name all files");
	n = strcspn(theirs, "\n");
	if (n < KV_HASH128_TEXT + 1 || n - KV_HASH128_TEXT >= sizeof(name))
		return refuse(r, "SUMS", "damaged");
	what = theirs + KV_HASH128_TEXT + 1;
	n -= KV_HASH128_TEXT + 1;
	memcpy(name, what, n);
	name[n] = '\0';
	if (*ours == '\0' || strncmp(ours + KV_HASH128_TEXT + 1, name, n) !=
	    0 || ours[KV_HASH128_TEXT + 1 + n] != '\n')
		return refuse(r, name, "missing");
	return refuse(r, name, "not the bytes that were written");
}

static int
take_sums(struct read *r, const struct kv_base_member *m)
{
	if (m->size == r->sums_len && memcmp(r->buf, r->sums,
	    r->sums_len) == 0)
		return 0;
	if (memchr(r->buf, '\0', (size_t)m->size) != NULL)
		return refuse_member(r, m, "damaged");
	return differing_sums(r, r->buf);
}

static int
take_end(struct read *r, const struct kv_base_member *m)
{
	char sums[KV_HASH128_TEXT];
	struct kv_base_end e;

	kv_hash128_of(r->sums, r->sums_len, sums);
	if (kv_base_end_parse(r->buf, (size_t)m->size, &e) != 0 ||
	    strcmp(e.sums, sums) != 0 || e.files != r->files ||
	    e.bytes != r->bytes || r->files != r->base.files ||
	    r->bytes != r->base.bytes)
		return refuse_member(r, m, "it does not fit what came before");
	return 0;
}

static int
take_small(struct read *r, const struct kv_base_member *m)
{
	int rc = collect(r, m);

	if (rc != 0)
		return rc;
	if (m->kind == KV_BASE_SUMS)
		return take_sums(r, m);
	if (m->kind == KV_BASE_END)
		return take_end(r, m);
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
			return refuse_member(r, m, "longer than it says");
		left -= len;
		kv_hash128_add(r->hash, p, len);
		if (s->data != NULL && (rc = s->data(s->arg, p, len)) != 0)
			return rc;
	}
	if (rc != 0)
		return rc;
	if (left != 0)
		return refuse_member(r, m, "shorter than it says");
	return s->close != NULL ? s->close(s->arg) : 0;
}

/* ---- all together ------------------------------------------------------ */

static int
add_line(struct read *r, const struct kv_base_member *m)
{
	char name[KV_BASE_NAME_LEN], sum[KV_HASH128_TEXT];
	int rc = grow(r, &r->sums, &r->sums_room, r->sums_len +
	    KV_HASH128_TEXT + KV_BASE_NAME_LEN + 4);

	if (rc != 0)
		return rc;
	kv_base_name(name, m);
	kv_hash128_text(r->hash, sum);
	r->sums_len += (size_t)sprintf(r->sums + r->sums_len, "%s  %s\n", sum,
	    name);
	r->files++;
	return 0;
}

static int
take_file(struct read *r, const struct kv_base_member *m)
{
	int large = m->kind == KV_BASE_TABLE || m->kind == KV_BASE_SEGMENT;
	int rc;

	if ((rc = check_member(r, m)) != 0)
		return rc;
	kv_hash128_reset(r->hash);
	if ((rc = large ? take_large(r, m) : take_small(r, m)) != 0)
		return rc;
	r->seen |= 1u << m->kind;
	r->last = *m;
	return m->kind < KV_BASE_SUMS ? add_line(r, m) : 0;
}

static int
take_member(struct read *r, const struct kv_tar_member *t)
{
	struct kv_base_member m = { .size = t->size };
	const char *rest = "";
	int rc = below_dir(r, t->name, &rest);

	if (rc != 0)
		return rc;
	if (has(r, KV_BASE_END))
		return refuse(r, t->name, "it comes behind END");
	if (t->is_dir)
		return take_dir(r, t->name, rest);
	if (kv_base_name_parse(rest, &m) != 0)
		return refuse(r, t->name, "no part of a backup");
	return take_file(r, &m);
}

static int
read_all(struct read *r)
{
	struct kv_tar_member t;
	int rc;

	if ((r->hash = kv_hash128_new()) == NULL)
		return no_memory(r);
	while ((rc = kv_tar_next(r->in, &t)) == 1)
		if ((rc = take_member(r, &t)) != 0)
			return rc;
	if (rc != 0)
		return rc;
	if (!has(r, KV_BASE_END))
		return kv_ship_fail(r->env, KV_SHIP_SHORT, "%s: it ends "
		    "without END: it was cut, or is no backup of a kevo "
		    "database; get it again", r->name);
	kv_tar_drain(r->in);
	return 0;
}

int
kv_base_read(struct kv_env *env, struct kv_tar_in *in, const char *name,
    const struct kv_base_sink *sink, struct kv_base *out)
{
	struct read r;
	int rc;

	memset(&r, 0, sizeof(r));
	r.env = env;
	r.in = in;
	r.name = name;
	r.sink = sink;
	if ((rc = read_all(&r)) == 0)
		*out = r.base;
	kv_hash128_free(r.hash);
	free(r.table);
	free(r.sums);
	free(r.buf);
	return rc;
}

/* ---- the parent of an increment ---------------------------------------- */

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
