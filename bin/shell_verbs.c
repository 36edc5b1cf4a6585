/*
 * shell_verbs: PUT, GET, DELETE, INCR, SCAN and transactions.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "decimal.h"
#include "escape.h"
#include "range.h"
#include "shell.h"

/* ---- output ------------------------------------------------------------ */

void
shell_puts(const char *s)
{
	cli_out(s, strlen(s));
}

void
shell_printf(const char *fmt, ...)
{
	char line[4096];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	shell_puts(line);
}

void
shell_show(const void *p, size_t len)
{
	const uint8_t *s = p;
	size_t n;

	if (!cli_out_is_tty()) {
		cli_out(p, len);
		return;
	}
	for (; len > 0; s += n, len -= n) {
		n = len < 4096 ? len : 4096;
		/* Not through the middle of a character. */
		while (n < len && n > 4090 && (s[n] & 0xc0) == 0x80)
			n--;
		cli_out_add(escape_show(cli_out_room(4 * n), s, n));
	}
}

static void
show_row(const struct shell *sh, const struct kevo_record *rec)
{
	if (!sh->rows) {
		format_write(&sh->format, rec);
		return;
	}
	shell_show(rec->key, rec->klen);
	shell_puts(": ");
	shell_show(rec->value, rec->vlen);
	shell_puts("\n");
}

/* ---- operands ---------------------------------------------------------- */

static int
usage(struct shell *sh, const char *verb)
{
	const struct shell_command *c = shell_find(verb, strlen(verb));

	return shell_fail(sh, EX_USAGE_, "usage: %s%s%s", c->name,
	    *c->args != '\0' ? " " : "", c->args);
}

/* -E before the operands. */
static int
take_escaped(struct shell_text *t)
{
	shell_skip_blanks(t);
	if (t->len < 2 || memcmp(t->p, "-E", 2) != 0 ||
	    (t->len > 2 && t->p[2] != ' ' && t->p[2] != '\t'))
		return 0;
	t->p += 2;
	t->len -= 2;
	return 1;
}

static int
unescape(struct shell *sh, struct shell_text *w)
{
	uint8_t *p = (uint8_t *)w->p;
	size_t bad, n = escape_decode(p, p, w->len, &bad);

	if (n == (size_t)-1)
		return shell_fail(sh, EX_USAGE_, "bad escape at byte %zu of "
		    "the operand (with -E a backslash is \\\\)", bad + 1);
	w->len = n;
	return 0;
}

/* The next word: 0, or a status; a word that is missing has no p. */
static int
take_word(struct shell *sh, struct shell_text *t, int escaped,
    struct shell_text *w)
{
	const char *why = NULL;
	int rc = shell_word(t, w, &why);

	if (rc < 0)
		return shell_fail(sh, EX_USAGE_, "%s", why);
	if (rc == 0)
		w->p = NULL;
	return rc == 1 && escaped ? unescape(sh, w) : 0;
}

static int
take_key(struct shell *sh, struct shell_text *t, const char *verb,
    int escaped, struct shell_text *key)
{
	int rc = take_word(sh, t, escaped, key);

	if (rc != 0)
		return rc;
	if (key->p == NULL)
		return usage(sh, verb);
	if (key->len == 0)
		return shell_fail(sh, EX_USAGE_, "empty key");
	return 0;
}

static int
at_end(struct shell *sh, struct shell_text *t, const char *verb)
{
	shell_skip_blanks(t);
	return t->len == 0 ? 0 : usage(sh, verb);
}

/* One key and nothing else. */
static int
only_key(struct shell *sh, struct shell_text *t, const char *verb,
    struct shell_text *key)
{
	int rc = take_key(sh, t, verb, take_escaped(t), key);

	return rc != 0 ? rc : at_end(sh, t, verb);
}

/* The rest of the line behind one blank, exactly. */
static int
take_rest(struct shell *sh, struct shell_text *t, const char *verb,
    int escaped, struct shell_text *rest)
{
	rest->p = t->p;
	rest->len = 0;
	if (t->len == 0)
		return usage(sh, verb);
	rest->p++;
	rest->len = t->len - 1;
	return escaped ? unescape(sh, rest) : 0;
}

/* ---- one key ----------------------------------------------------------- */

static int
run_put(struct shell *sh, struct shell_text *t)
{
	int escaped = take_escaped(t), rc;
	struct shell_text key, value;

	if ((rc = take_key(sh, t, "PUT", escaped, &key)) != 0 ||
	    (rc = take_rest(sh, t, "PUT", escaped, &value)) != 0 ||
	    (rc = shell_writer(sh)) != 0)
		return rc;
	rc = sh->txn != NULL ?
	    kevo_txn_put(sh->txn, key.p, key.len, value.p, value.len, 0) :
	    kevo_put(sh->db, key.p, key.len, value.p, value.len, NULL, NULL);
	if (rc != 0)
		return shell_lib(sh, rc);
	shell_puts(sh->txn == NULL ? "Value stored\n" : "Value stored in "
	    "transaction (will be visible after commit)\n");
	return 0;
}

static int
run_get(struct shell *sh, struct shell_text *t)
{
	struct kevo_record rec;
	struct shell_text key;
	int rc;

	if ((rc = only_key(sh, t, "GET", &key)) != 0 ||
	    (rc = shell_reader(sh)) != 0)
		return rc;
	if ((rc = shell_get(sh, &key, &rec)) < 0)
		return shell_lib(sh, rc);
	if (rc == KEVO_NOTFOUND) {
		shell_puts("Key not found\n");
		return EXIT_NO;
	}
	if (sh->rows) {
		shell_show(rec.value, rec.vlen);
		shell_puts("\n");
	} else {
		format_begin(&sh->format);
		show_row(sh, &rec);
		format_end(&sh->format);
	}
	return 0;
}

static int
run_delete(struct shell *sh, struct shell_text *t)
{
	struct shell_text key;
	int rc;

	if ((rc = only_key(sh, t, "DELETE", &key)) != 0 ||
	    (rc = shell_writer(sh)) != 0)
		return rc;
	rc = sh->txn != NULL ? kevo_txn_delete(sh->txn, key.p, key.len) :
	    kevo_delete(sh->db, key.p, key.len, NULL, NULL);
	if (rc != 0)
		return shell_lib(sh, rc);
	shell_puts(sh->txn == NULL ? "Key deleted\n" : "Key deleted in "
	    "transaction (will be applied after commit)\n");
	return 0;
}

/* ---- INCR -------------------------------------------------------------- */

/* Add to the number in transaction t; a status. */
static int
increment(struct shell *sh, struct kevo_txn *t, const struct shell_text *key,
    int64_t add, int64_t *sum)
{
	struct kevo_record old;
	uint64_t expires = 0;
	int64_t n = 0;
	char text[32];
	int len, rc;

	if ((rc = kevo_txn_get(t, key->p, key->len, &old)) < 0)
		return shell_lib(sh, rc);
	if (rc == 0 && !decimal_parse(old.value, old.vlen, &n))
		return shell_fail(sh, EX_DATAERR_, "the value is not a "
		    "decimal number of 64 bits");
	if (rc == 0)
		expires = old.expires_ns;
	if (__builtin_add_overflow(n, add, sum))
		return shell_fail(sh, EX_DATAERR_, "the result does not fit "
		    "in 64 bits");
	len = snprintf(text, sizeof(text), "%" PRId64, *sum);
	rc = kevo_txn_put(t, key->p, key->len, text, (size_t)len, expires);
	return rc != 0 ? shell_lib(sh, rc) : 0;
}

static int
run_incr(struct shell *sh, struct shell_text *t)
{
	struct kevo_txn *own = NULL;
	struct shell_text key, number;
	int64_t add = 1, sum = 0;
	int rc;

	if ((rc = take_key(sh, t, "INCR", take_escaped(t), &key)) != 0 ||
	    (rc = take_word(sh, t, 0, &number)) != 0 ||
	    (rc = at_end(sh, t, "INCR")) != 0)
		return rc;
	if (number.p != NULL && !decimal_parse(number.p, number.len, &add))
		return shell_fail(sh, EX_USAGE_, "INCR: not a whole number of "
		    "64 bits");
	if ((rc = shell_writer(sh)) != 0)
		return rc;
	if (sh->txn == NULL && (rc = kevo_txn_begin(sh->db, NULL, &own)) != 0)
		return shell_lib(sh, rc);
	rc = increment(sh, own != NULL ? own : sh->txn, &key, add, &sum);
	if (own != NULL && rc != 0)
		kevo_txn_abort(own);
	else if (own != NULL &&
	    (rc = kevo_txn_commit(own, KEVO_SYNC_DEFAULT, NULL)) != 0)
		rc = shell_lib(sh, rc);
	if (rc == 0)
		shell_printf("%" PRId64 "\n", sum);
	return rc;
}

/* ---- SCAN -------------------------------------------------------------- */

int
shell_above(uint8_t *prefix, size_t *len)
{
	while (*len > 0 && prefix[*len - 1] == 0xff)
		--*len;
	if (*len == 0)
		return 0;
	prefix[*len - 1]++;
	return 1;
}

/* What a line asks for; the upper bound of a prefix needs memory. */
struct query {
	struct range range;
	uint8_t above[KEVO_KEY_MAX];
};

static int
set_prefix(struct query *q, const struct shell_text *w)
{
	size_t len = w->len;

	if (len == 0)
		return 0;
	if (len > KEVO_KEY_MAX) {
		q->range.empty = 1;
		return 0;
	}
	memcpy(q->above, w->p, len);
	q->range.keys.from = w->p;
	q->range.keys.from_len = w->len;
	if (shell_above(q->above, &len)) {
		q->range.keys.to = q->above;
		q->range.keys.to_len = len;
	}
	return 0;
}

static int
set_range(struct shell *sh, struct query *q, struct shell_text *t,
    int escaped)
{
	struct kevo_range *k = &q->range.keys;
	struct shell_text from, to;
	size_t n;
	int rc, c;

	if ((rc = take_word(sh, t, escaped, &from)) != 0 ||
	    (rc = take_word(sh, t, escaped, &to)) != 0)
		return rc;
	if (from.p == NULL || to.p == NULL)
		return usage(sh, "SCAN");
	if (from.len > KEVO_KEY_MAX || to.len > KEVO_KEY_MAX)
		return shell_fail(sh, EX_USAGE_, "a key is at most %u bytes",
		    KEVO_KEY_MAX);
	if (to.len == 0)
		return shell_fail(sh, EX_USAGE_, "empty key");
	k->from = from.len > 0 ? from.p : NULL;
	k->from_len = from.len;
	k->to = to.p;
	k->to_len = to.len;
	n = from.len < to.len ? from.len : to.len;
	c = memcmp(from.p, to.p, n);
	q->range.empty = c > 0 || (c == 0 && from.len >= to.len);
	return at_end(sh, t, "SCAN");
}

/* A word behind which there are operands is one of the language; alone, or
 * quoted, it is a prefix. */
static int
parse_scan(struct shell *sh, struct query *q, struct shell_text *t)
{
	int escaped = take_escaped(t), quoted, rc;
	struct shell_text w, s;

	shell_skip_blanks(t);
	quoted = t->len > 0 && *t->p == '"';
	if ((rc = take_word(sh, t, escaped, &w)) != 0 || w.p == NULL)
		return rc;
	if (!quoted && t->len > 0 && shell_is(&w, "VALUE")) {
		if ((rc = take_rest(sh, t, "SCAN", escaped, &s)) != 0)
			return rc;
		q->range.match_value = s.p;
		q->range.match_len = s.len;
		return 0;
	}
	shell_skip_blanks(t);
	if (quoted || t->len == 0) {
		set_prefix(q, &w);
		return at_end(sh, t, "SCAN");
	}
	if (shell_is(&w, "RANGE"))
		return set_range(sh, q, t, escaped);
	if (!shell_is(&w, "SUFFIX"))
		return usage(sh, "SCAN");
	if ((rc = take_word(sh, t, escaped, &s)) != 0)
		return rc;
	q->range.suffix = s.p;
	q->range.suffix_len = s.len;
	return at_end(sh, t, "SCAN");
}

/* Write the rows: how many, or an error. */
static int
walk(struct shell *sh, const struct range *r, uint64_t *count)
{
	struct kevo_record rec;
	int rc = 0;

	if (r->empty)
		return 0;
	if ((rc = shell_iter(sh, &r->keys)) != 0)
		return rc;
	while ((sh->limit == 0 || *count < sh->limit) &&
	    !shell_interrupted && !shell_out_left()) {
		if ((rc = range_step(r, sh->iter, 0, &rec)) != 0)
			break;
		show_row(sh, &rec);
		++*count;
	}
	shell_iter_end(sh);
	return rc;
}

static int
scan(struct shell *sh, struct query *q, struct shell_text *t)
{
	uint64_t count = 0;
	int rc;

	if ((rc = parse_scan(sh, q, t)) != 0 || (rc = shell_reader(sh)) != 0)
		return rc;
	if (!sh->rows)
		format_begin(&sh->format);
	if ((rc = walk(sh, &q->range, &count)) < 0)
		return shell_lib(sh, rc);
	if (shell_interrupted)
		return shell_fail(sh, 130, "interrupted");
	if (sh->rows)
		shell_printf(count == 1 ? "%" PRIu64 " entry found\n" :
		    "%" PRIu64 " entries found\n", count);
	else
		format_end(&sh->format);
	return 0;
}

static int
run_scan(struct shell *sh, struct shell_text *t)
{
	static struct query q;

	memset(&q.range, 0, sizeof(q.range));
	return scan(sh, &q, t);
}

/* ---- transactions ------------------------------------------------------ */

static int
run_begin(struct shell *sh, struct shell_text *t)
{
	struct shell_text w;
	int rc;

	if ((rc = take_word(sh, t, 0, &w)) != 0 ||
	    (rc = at_end(sh, t, "BEGIN")) != 0)
		return rc;
	if (w.p != NULL && !shell_is(&w, "TRANSACTION") &&
	    !shell_is(&w, "READONLY"))
		return usage(sh, "BEGIN");
	return shell_begin(sh, w.p != NULL && shell_is(&w, "READONLY"));
}

static int
run_commit(struct shell *sh, struct shell_text *t)
{
	int rc = at_end(sh, t, "COMMIT");

	return rc != 0 ? rc : shell_commit(sh);
}

static int
run_rollback(struct shell *sh, struct shell_text *t)
{
	int rc = at_end(sh, t, "ROLLBACK");

	return rc != 0 ? rc : shell_rollback(sh);
}

const struct shell_command shell_verbs[] = {
	{ "PUT", "[-E] KEY VALUE", "store; the value is the rest of the line",
	    run_put },
	{ "GET", "[-E] KEY", "show a value", run_get },
	{ "DELETE", "[-E] KEY", "remove a key", run_delete },
	{ "INCR", "[-E] KEY [N]", "add N (1) to a number", run_incr },
	{ "SCAN", "[-E] [PREFIX|SUFFIX S|RANGE A B|VALUE S]",
	    "show rows in key order", run_scan },
	{ "BEGIN", "[TRANSACTION|READONLY]", "start a transaction",
	    run_begin },
	{ "COMMIT", "", "make its changes, all at once", run_commit },
	{ "ROLLBACK", "", "forget its changes", run_rollback },
	{ NULL, NULL, NULL, NULL }
};
