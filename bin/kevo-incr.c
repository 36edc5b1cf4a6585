/*
 * kevo-incr: add to a number, atomically.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli.h"
#include "decimal.h"
#include "format.h"
#include "options.h"

static const struct cli_opt opts[] = {
	ROW_ESCAPED,
	ROW_QUIET,
	ROW_NO_CREATE,
	ROW_WAIT,
	{ 't', 't', "ttl", CLI_REQUIRED, "TTL",
	    "a key that is created expires after TTL" },
	ROW_SYNC,
	ROW_END
};

static const struct cli_tool tool = {
	"kevo-incr",
	"Add N (1) to a decimal value and print the result; absent counts as 0",
	"[-EqC] [-w S] [-t TTL] [--sync=M] DB KEY [N]",
	opts,
	"  kevo-incr data.kv hits\n"
	"  kevo-incr -t 1h rate.kv \"$address\"\n"
	"  kevo-incr data.kv stock -3\n"
};

struct counter {
	const void *key;
	size_t klen;
	int64_t add;
	uint64_t ttl_ns;
	int64_t result;
};

static void __attribute__((noreturn))
fail(struct kevo *db, struct kevo_txn *t, int rc)
{
	char why[1024];

	snprintf(why, sizeof(why), "%s", kevo_errmsg(db));
	kevo_txn_abort(t);
	cli_die(cli_status(rc), "%s", *why ? why : kevo_strerror(rc));
}

static void __attribute__((noreturn))
refuse(struct kevo_txn *t, const struct counter *c, const char *why)
{
	kevo_txn_abort(t);
	cli_die(EX_DATAERR_, "%s: %s", format_show_key(c->key, c->klen), why);
}

static void
increment(struct kevo *db, struct kevo_txn *t, struct counter *c)
{
	struct kevo_record old;
	uint64_t expires_ns = 0;
	int64_t n = 0;
	char text[32];
	int len, rc;

	rc = kevo_txn_get(t, c->key, c->klen, &old);
	if (rc < 0)
		fail(db, t, rc);
	if (rc == 0 && !decimal_parse(old.value, old.vlen, &n))
		refuse(t, c, "the value is not a decimal number of 64 bits");
	expires_ns = rc == 0 ? old.expires_ns : opt_expiry(c->ttl_ns);
	if (__builtin_add_overflow(n, c->add, &c->result))
		refuse(t, c, "the result does not fit in 64 bits");
	len = snprintf(text, sizeof(text), "%" PRId64, c->result);
	rc = kevo_txn_put(t, c->key, c->klen, text, (size_t)len, expires_ns);
	if (rc != 0)
		fail(db, t, rc);
}

int
main(int argc, char *argv[])
{
	struct cli_open_opts o = { KEVO_CREATE, NULL, NULL, NULL };
	struct counter c = { NULL, 0, 1, 0, 0 };
	struct kevo *db;
	struct kevo_txn *t;
	struct cli_args a;
	char line[32], **operand;
	int escaped = 0, id, len, rc;

	cli_start(&a, &tool, argc, argv);
	while ((id = cli_next(&a)) != 0)
		if (id == 'E')
			escaped = 1;
		else if (id == 't')
			c.ttl_ns = opt_ttl(a.arg);
		else
			cli_common(&o, &a, id);
	cli_operands_named(&a, 2, 3, "DB KEY", NULL);
	operand = a.argv + a.i;
	if (a.argc - a.i == 3)
		c.add = cli_integer("N", operand[2]);
	c.klen = cli_key(operand[1], escaped);
	c.key = operand[1];

	db = cli_open(operand[0], &o);
	if ((rc = kevo_txn_begin(db, NULL, &t)) != 0)
		cli_fail(db, rc);
	increment(db, t, &c);
	if ((rc = kevo_txn_commit(t, KEVO_SYNC_DEFAULT, NULL)) != 0)
		cli_fail(db, rc);
	len = snprintf(line, sizeof(line), "%" PRId64 "\n", c.result);
	cli_out(line, (size_t)len);
	return cli_close(db, 0);
}
