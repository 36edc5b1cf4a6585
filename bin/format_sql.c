/*
 * format_sql: a script for sqlite3, one transaction.
 */
#include <string.h>

#include "format_internal.h"

/* The name as it is by default, quoted when it was given: it may be a word
 * of the language. */
static void
put_table(const struct format *f)
{
	const char *p = f->table;

	if (p == NULL) {
		format_puts("kv");
		return;
	}
	format_puts("\"");
	for (; *p != '\0'; p++) {
		if (*p == '"')
			format_puts("\"");
		cli_out(p, 1);
	}
	format_puts("\"");
}

static void
begin_sql(const struct format *f)
{
	if (f->table != NULL && *f->table == '\0')
		cli_die(EX_USAGE_, "the name of the table is empty");
	format_puts("CREATE TABLE IF NOT EXISTS ");
	put_table(f);
	format_puts("(k BLOB PRIMARY KEY, v BLOB NOT NULL) WITHOUT ROWID; "
	    "BEGIN;\n");
}

static void
write_sql(const struct format *f, const struct kevo_record *rec)
{
	format_puts("INSERT OR REPLACE INTO ");
	put_table(f);
	format_puts(" VALUES(X'");
	format_put(hex_encode, 2, rec->key, rec->klen);
	format_puts("',X'");
	format_put(hex_encode, 2, rec->value, rec->vlen);
	format_puts("');\n");
}

static void
end_sql(const struct format *f)
{
	(void)f;
	format_puts("COMMIT;\n");
}

const struct format_ops format_sql = {
	.name = "sql", .can = CAN_WRITE,
	.begin = begin_sql, .write = write_sql, .end = end_sql
};
