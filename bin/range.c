/*
 * range: bounds and filters.
 */
#include <stdlib.h>
#include <string.h>

#include "glob.h"
#include "options.h"
#include "range.h"

int
range_option(struct range_opts *o, const struct cli_args *a, int id)
{
	char **where;

	switch (id) {
	case 'P':
		where = &o->prefix;
		break;
	case OPT_FROM:
		where = &o->from;
		break;
	case OPT_TO:
		where = &o->to;
		break;
	case OPT_AFTER:
		where = &o->after;
		break;
	case OPT_SUFFIX:
		where = &o->suffix;
		break;
	case OPT_GLOB:
		where = &o->glob;
		break;
	case OPT_MATCH_VALUE:
		where = &o->match_value;
		break;
	default:
		return 0;
	}
	*where = a->arg;
	return 1;
}

/* ---- bounds ------------------------------------------------------------ */

/* A bound being built: bytes, or none (NULL: no limit on that side). */
struct bound {
	uint8_t *p;
	size_t len;
};

static struct bound
copy_bound(const void *p, size_t len, size_t extra)
{
	struct bound b = { malloc(len + extra + 1), len };

	if (b.p == NULL)
		cli_die(EX_IOERR_, "out of memory");
	memcpy(b.p, p, len);
	return b;
}

/* The least byte string above all that begin with p; none if p is all ff. */
static struct bound
above_prefix(const void *p, size_t len)
{
	struct bound b = copy_bound(p, len, 0);

	while (b.len > 0 && b.p[b.len - 1] == 0xff)
		b.len--;
	if (b.len == 0) {
		free(b.p);
		b.p = NULL;
	} else {
		b.p[b.len - 1]++;
	}
	return b;
}

static int
compare(const void *a, size_t alen, const void *b, size_t blen)
{
	int c = memcmp(a, b, alen < blen ? alen : blen);

	return c != 0 ? c : (alen > blen) - (alen < blen);
}

/* Keys at or above b.  No key is longer than KEVO_KEY_MAX, so a longer
 * bound means the same as the one above its first KEVO_KEY_MAX bytes. */
static void
raise_from(struct range *r, struct bound b)
{
	if (b.p != NULL && b.len > KEVO_KEY_MAX)
		b = above_prefix(b.p, KEVO_KEY_MAX);
	if (b.p == NULL) {
		r->empty = 1;
		return;
	}
	if (b.len > 0 && (r->keys.from == NULL || compare(b.p, b.len,
	    r->keys.from, r->keys.from_len) > 0)) {
		r->keys.from = b.p;
		r->keys.from_len = b.len;
	}
}

static void
lower_to(struct range *r, struct bound b)
{
	if (b.p != NULL && b.len > KEVO_KEY_MAX)
		b = above_prefix(b.p, KEVO_KEY_MAX);
	if (b.p == NULL)
		return;
	if (r->keys.to == NULL || compare(b.p, b.len, r->keys.to,
	    r->keys.to_len) < 0) {
		r->keys.to = b.p;
		r->keys.to_len = b.len;
	}
}

static void
add_prefix(struct range *r, const void *p, size_t len)
{
	if (len == 0)
		return;
	if (len > KEVO_KEY_MAX) {
		r->empty = 1;
		return;
	}
	raise_from(r, copy_bound(p, len, 0));
	lower_to(r, above_prefix(p, len));
}

/* The least key above k is k and a zero byte. */
static void
add_after(struct range *r, const char *k, size_t len)
{
	struct bound b;

	if (len == 0)
		return;
	b = copy_bound(k, len, 1);
	b.p[b.len++] = 0;
	raise_from(r, b);
}

static void
init_bounds(struct range *r, const struct range_opts *o, int escaped)
{
	size_t len;

	if (o->prefix != NULL)
		add_prefix(r, o->prefix,
		    cli_operand("prefix", o->prefix, escaped));
	if (o->from != NULL) {
		len = cli_operand("--from", o->from, escaped);
		raise_from(r, copy_bound(o->from, len, 0));
	}
	if (o->after != NULL)
		add_after(r, o->after,
		    cli_operand("--after", o->after, escaped));
	if (o->to != NULL) {
		len = cli_operand("--to", o->to, escaped);
		if (len == 0)
			cli_die(EX_USAGE_, "--to: empty key");
		lower_to(r, copy_bound(o->to, len, 0));
	}
}

void
range_init(struct range *r, const struct range_opts *o, int escaped)
{
	memset(r, 0, sizeof(*r));
	init_bounds(r, o, escaped);
	if ((r->suffix = o->suffix) != NULL)
		r->suffix_len = cli_operand("--suffix", o->suffix, escaped);
	if ((r->match_value = o->match_value) != NULL)
		r->match_len = cli_operand("--match-value", o->match_value,
		    escaped);
	if ((r->glob = o->glob) != NULL) {
		r->glob_len = cli_operand("--glob", o->glob, escaped);
		if (!glob_valid(r->glob, r->glob_len))
			cli_die(EX_USAGE_, "--glob: %s: a [ without ], or a "
			    "backslash at the end", o->glob);
		add_prefix(r, r->glob, glob_literal(r->glob, r->glob_len));
	}
	if (r->keys.from != NULL && r->keys.to != NULL && compare(
	    r->keys.from, r->keys.from_len, r->keys.to, r->keys.to_len) >= 0)
		r->empty = 1;
}

/* ---- filters ----------------------------------------------------------- */

static int
ends_with(const struct kevo_record *rec, const char *s, size_t len)
{
	const uint8_t *key = rec->key;

	return rec->klen >= len &&
	    memcmp(key + rec->klen - len, s, len) == 0;
}

int
range_accepts(const struct range *r, const struct kevo_record *rec)
{
	if (r->suffix != NULL && !ends_with(rec, r->suffix, r->suffix_len))
		return 0;
	if (r->glob != NULL && !glob_match(r->glob, r->glob_len, rec->key,
	    rec->klen))
		return 0;
	if (r->match_value != NULL && r->match_len > 0 && memmem(rec->value,
	    rec->vlen, r->match_value, r->match_len) == NULL)
		return 0;
	return 1;
}

int
range_step(const struct range *r, struct kevo_iter *it, int backwards,
    struct kevo_record *rec)
{
	int rc;

	do
		rc = backwards ? kevo_iter_prev(it, rec) :
		    kevo_iter_next(it, rec);
	while (rc == 0 && !range_accepts(r, rec));
	return rc;
}
