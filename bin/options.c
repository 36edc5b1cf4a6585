/*
 * options: arguments of the options that mean the same in every tool.
 */
#include <string.h>
#include <time.h>

#include "options.h"

static enum format_encode
encoding(const char *s)
{
	if (strcmp(s, "hex") == 0)
		return FORMAT_ENC_HEX;
	if (strcmp(s, "base64") == 0)
		return FORMAT_ENC_BASE64;
	cli_die(EX_USAGE_, "--encode: %s: not one of hex, base64", s);
}

int
opt_format(struct format *f, const struct cli_args *a, int id,
    unsigned allowed)
{
	switch (id) {
	case 'f':
		f->kind = format_parse(a->arg, allowed);
		return 1;
	case '0':
		f->kind = FORMAT_NUL;
		return 1;
	case 'j':
		f->json_values = 1;
		return 1;
	case 'k':
		f->keys_only = 1;
		return 1;
	case 'm':
		f->meta = 1;
		return 1;
	case OPT_VALUES:
		f->values_only = 1;
		return 1;
	case OPT_CRLF:
		f->crlf = 1;
		return 1;
	case OPT_ENCODE:
		f->encode = encoding(a->arg);
		return 1;
	case OPT_BYTEVALUE:
		f->bytevalue = 1;
		return 1;
	case OPT_MAPSIZE:
		f->mapsize = cli_size("--mapsize", a->arg);
		return 1;
	case OPT_TABLE:
		f->table = a->arg;
		return 1;
	default:
		return 0;
	}
}

void
opt_format_check(const struct format *f)
{
	if (f->json_values && f->kind != FORMAT_JSONL)
		cli_die(EX_USAGE_, "-j goes with -f jsonl");
	if (f->encode != FORMAT_PLAIN && f->kind != FORMAT_CSV)
		cli_die(EX_USAGE_, "--encode goes with -f csv");
	if (f->bytevalue && f->kind != FORMAT_DB && f->kind != FORMAT_LMDB)
		cli_die(EX_USAGE_, "--bytevalue goes with -f db and lmdb");
	if (f->mapsize != 0 && f->kind != FORMAT_LMDB)
		cli_die(EX_USAGE_, "--mapsize goes with -f lmdb");
	if (f->table != NULL && f->kind != FORMAT_SQL)
		cli_die(EX_USAGE_, "--table goes with -f sql");
	if (f->keys_only && f->values_only)
		cli_die(EX_USAGE_, "--keys-only and --values exclude each "
		    "other");
}

/* ---- conditions -------------------------------------------------------- */

static enum kevo_cond_kind
cond_kind(int id)
{
	switch (id) {
	case OPT_IF_ABSENT:
		return KEVO_IF_ABSENT;
	case OPT_IF_PRESENT:
		return KEVO_IF_PRESENT;
	case OPT_IF_VALUE:
		return KEVO_IF_VALUE;
	case OPT_IF_VERSION:
		return KEVO_IF_VERSION;
	default:
		return KEVO_IF_ANY;
	}
}

int
opt_cond(struct opt_cond *c, const struct cli_args *a, int id)
{
	enum kevo_cond_kind kind = cond_kind(id);

	if (kind == KEVO_IF_ANY)
		return 0;
	if (c->kind != KEVO_IF_ANY && c->kind != kind)
		cli_die(EX_USAGE_, "only one condition can be given");
	c->kind = kind;
	if (kind == KEVO_IF_VALUE)
		c->value = a->arg;
	if (kind == KEVO_IF_VERSION)
		c->version = cli_number("--if-version", a->arg, UINT64_MAX);
	return 1;
}

void
opt_cond_get(const struct opt_cond *c, int escaped, struct kevo_cond *out)
{
	memset(out, 0, sizeof(*out));
	out->kind = c->kind;
	out->version = c->version;
	if (c->kind == KEVO_IF_VALUE) {
		out->vlen = cli_operand("--if-value", c->value, escaped);
		out->value = c->value;
	}
}

/* ---- time -------------------------------------------------------------- */

uint64_t
opt_ttl(const char *arg)
{
	int64_t ms = arg != NULL ? cli_duration_ms("-t", arg) : -1;
	uint64_t ns;

	if (ms < 0)
		return 0;
	if (ms == 0)
		cli_die(EX_USAGE_, "-t: %s: a record cannot expire at once",
		    arg);
	/* A third of what 64 bits hold, so that adding the clock is safe. */
	if (__builtin_mul_overflow((uint64_t)ms, (uint64_t)1000000, &ns) ||
	    ns > UINT64_MAX / 3)
		cli_die(EX_USAGE_, "-t: %s: too long; inf is for ever", arg);
	return ns;
}

uint64_t
opt_expiry(uint64_t ttl_ns)
{
	struct timespec ts;

	if (ttl_ns == 0)
		return 0;
	clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec +
	    ttl_ns;
}
