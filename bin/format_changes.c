/*
 * format_changes: what kevo-watch writes: changes, each with the version of
 * its commit.
 */
#include <string.h>

#include "format_internal.h"
#include "format_scan.h"

static void
write_op(const struct format *f, const struct kevo_change *c)
{
	if (c->kind == KEVO_PUT)
		format_ops_lines.write(f, &c->rec);
	else
		format_ops_lines.remove(f, &c->rec);
}

static void
write_tab(const struct format *f, const struct kevo_change *c)
{
	format_putn(c->rec.version);
	cli_out("\t", 1);
	write_op(f, c);
}

/* Four fields also for a deletion, so that a reader can count. */
static void
write_nul(const struct format *f, const struct kevo_change *c)
{
	const struct kevo_record *rec = &c->rec;

	if (scan1(rec->key, 0, rec->klen, 0) < rec->klen ||
	    (rec->vlen > 0 && scan1(rec->value, 0, rec->vlen, 0) < rec->vlen))
		format_refuse(rec, "use -f changes, which escapes it",
		    "-0 cannot hold NUL");
	format_putn(rec->version);
	cli_out("", 1);
	format_puts(c->kind == KEVO_PUT ? "put" : "delete");
	cli_out("", 1);
	format_nul.write(f, rec);
}

static void
write_json(const struct format *f, const struct kevo_change *c)
{
	format_puts("{\"version\":");
	format_putn(c->rec.version);
	format_puts(c->kind == KEVO_PUT ? ",\"op\":\"put\"," :
	    ",\"op\":\"delete\",");
	json_put_member(f, "key", c->rec.key, c->rec.klen);
	if (c->kind == KEVO_PUT) {
		format_puts(",");
		json_put_member(f, "value", c->rec.value, c->rec.vlen);
	}
	if (c->rec.expires_ns != 0) {
		format_puts(",\"expires\":");
		json_put_seconds(c->rec.expires_ns);
	}
	format_puts("}\n");
}

void
format_write_change(const struct format *f, const struct kevo_change *c)
{
	if (f->kind == FORMAT_OPS)
		write_op(f, c);
	else if (f->kind == FORMAT_NUL)
		write_nul(f, c);
	else if (f->kind == FORMAT_JSONL)
		write_json(f, c);
	else
		write_tab(f, c);
}
