/*
 * kevo-check: is every byte as it was written?  And put in order what is not.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "format.h"
#include "format_internal.h"
#include "options.h"

enum { OPT_FAST = 400, OPT_REPAIR };

static const struct cli_opt opts[] = {
	{ OPT_FAST, 0, "fast", CLI_NONE, NULL,
	    "not the records, only what other files hang on" },
	{ OPT_REPAIR, 0, "repair", CLI_NONE, NULL,
	    "keep what can be read and move damaged files aside" },
	ROW_FORMAT_OF("human json", "human or json (human)"),
	{ 'w', 'w', "wait", CLI_REQUIRED, "S",
	    "a repair waits at most S for others (10; 0; inf)" },
	ROW_PROGRESS,
	ROW_QUIET,
	ROW_END
};

static const struct cli_tool tool = {
	"kevo-check",
	"Look whether every byte of a database is as it was written",
	"[-q] [--fast] [-f human|json] [--progress[=WHEN]] DB\n"
	"--repair [-q] [-w S] [-f human|json] [--progress[=WHEN]] DB",
	opts,
	"  kevo-check data.kv\n"
	"  kevo-check -q --fast data.kv || mail -s damaged admin </dev/null\n"
	"  kevo-check --repair data.kv\n"
};

struct report {
	const char *path;
	int json;
	uint64_t told;
};

/* ---- for people -------------------------------------------------------- */

static const char *
kind_name(const struct kevo_finding *f)
{
	return f->kind == KEVO_DAMAGE ? "damage" :
	    f->kind == KEVO_WARNING ? "warning" : "note";
}

static void
say_finding(const struct report *r, const struct kevo_finding *f)
{
	char place[80] = "";

	if (cli_quiet && f->kind != KEVO_DAMAGE)
		return;
	if (f->off > 0 || f->len > 0)
		snprintf(place, sizeof(place), f->len > 0 ? " at byte %"
		    PRIu64 " (%" PRIu64 " bytes)" : " at byte %" PRIu64,
		    f->off, f->len);
	cli_say("%s: %s/%s%s: %s%s%s", kind_name(f), r->path, f->file, place,
	    f->what, *f->lost != '\0' ? "; lost: " : "", f->lost);
}

static void
say_result(const struct report *r, const struct kevo_check_result *o)
{
	if (o->repaired && o->moved == 0)
		cli_say("%s: repaired: %" PRIu64 " record%s written anew",
		    r->path, o->kept, o->kept == 1 ? "" : "s");
	else if (o->repaired)
		cli_say("%s: repaired: %" PRIu64 " record%s written anew, %"
		    PRIu64 " file%s moved to %s/%s", r->path, o->kept,
		    o->kept == 1 ? "" : "s", o->moved, o->moved == 1 ? "" :
		    "s", r->path, o->aside);
	if (o->repaired)
		return;
	if (cli_quiet)
		return;
	if (o->damages > 0)
		cli_say("%s: damaged in %" PRIu64 " place%s", r->path,
		    o->damages, o->damages == 1 ? "" : "s");
	else if (o->records > 0)
		cli_say("%s: sound: %" PRIu64 " files, %" PRIu64 " bytes, %"
		    PRIu64 " records, newest commit %" PRIu64, r->path,
		    o->files, o->bytes, o->records, o->last_commit);
	else
		cli_say("%s: sound: %" PRIu64 " files, newest commit %" PRIu64,
		    r->path, o->files, o->last_commit);
}

/* ---- for programs ------------------------------------------------------ */

static void
put_string(const char *name, const void *p, size_t len)
{
	static const struct format plain = { .kind = FORMAT_JSONL };

	format_puts(",");
	json_put_member(&plain, name, p, len);
}

static void
put_number(const char *name, uint64_t n)
{
	format_puts(",\"");
	format_puts(name);
	format_puts("\":");
	format_putn(n);
}

static void
put_truth(const char *name, int yes)
{
	format_puts(",\"");
	format_puts(name);
	format_puts(yes ? "\":true" : "\":false");
}

static void
put_finding(struct report *r, const struct kevo_finding *f)
{
	format_puts(r->told == 0 ? "{\"findings\":[\n" : ",\n");
	format_puts("{\"kind\":\"");
	format_puts(kind_name(f));
	format_puts("\"");
	put_string("file", f->file, strlen(f->file));
	put_number("offset", f->off);
	if (f->len > 0)
		put_number("length", f->len);
	put_string("what", f->what, strlen(f->what));
	put_string("lost", f->lost, strlen(f->lost));
	if (f->first_commit > 0)
		put_number("first_commit", f->first_commit);
	if (f->last_commit > 0)
		put_number("last_commit", f->last_commit);
	if (f->records > 0)
		put_number("records", f->records);
	if (f->from != NULL) {
		put_string("from", f->from, f->from_len);
		put_string("to", f->to, f->to_len);
	}
	format_puts("}");
}

static void
put_result(const struct report *r, const struct kevo_check_result *o)
{
	format_puts(r->told == 0 ? "{\"findings\":[]" : "\n]");
	put_string("database", r->path, strlen(r->path));
	put_truth("sound", o->damages == 0 || o->repaired);
	put_number("damages", o->damages);
	put_number("warnings", o->warnings);
	put_number("notes", o->notes);
	put_number("files", o->files);
	put_number("bytes", o->bytes);
	put_number("records", o->records);
	put_number("last_commit", o->last_commit);
	put_truth("repaired", o->repaired);
	if (o->repaired) {
		put_number("kept", o->kept);
		put_number("moved", o->moved);
		put_string("aside", o->aside, strlen(o->aside));
	}
	format_puts("}\n");
}

/* ---- checking ---------------------------------------------------------- */

static int
found(void *arg, const struct kevo_finding *f)
{
	struct report *r = arg;

	cli_progress_end();
	if (r->json)
		put_finding(r, f);
	else
		say_finding(r, f);
	r->told++;
	return 0;
}

static int
progress(void *arg, uint64_t bytes, uint64_t total)
{
	(void)arg;
	cli_progress_bytes("checked", bytes, total);
	return cli_stopped();
}

/* -w, else KEVO_WAIT, else the library's own. */
static void
set_wait(struct kevo_check *c, const char *arg)
{
	const char *env = getenv("KEVO_WAIT");

	if (arg == NULL && (env == NULL || *env == '\0'))
		return;
	c->wait_set = 1;
	c->wait_ms = arg != NULL ? cli_duration_ms("-w", arg) :
	    cli_duration_ms("KEVO_WAIT", env);
}

static void
parse(struct kevo_check *c, struct report *r, struct cli_args *a)
{
	struct cli_open_opts common = { 0, NULL, NULL, NULL };
	int id;

	while ((id = cli_next(a)) != 0)
		if (id == OPT_FAST)
			c->flags |= KEVO_CHECK_FAST;
		else if (id == OPT_REPAIR)
			c->flags |= KEVO_CHECK_REPAIR;
		else if (id == OPT_PROGRESS)
			cli_progress_mode(a->arg);
		else if (id != 'f')
			cli_common(&common, a, id);
		else if (strcmp(a->arg, "json") == 0)
			r->json = 1;
		else if (strcmp(a->arg, "human") == 0)
			r->json = 0;
		else
			cli_usage("-f: %s is not human or json", a->arg);
	cli_operands(a, 1, 1);
	if ((c->flags & KEVO_CHECK_FAST) && (c->flags & KEVO_CHECK_REPAIR))
		cli_usage("--fast and --repair do not go together");
	if (common.wait != NULL && !(c->flags & KEVO_CHECK_REPAIR))
		cli_usage("-w needs --repair");
	set_wait(c, common.wait);
}

int
main(int argc, char *argv[])
{
	struct report r = { NULL, 0, 0 };
	struct kevo_check c = { .found = found, .progress = progress,
		.arg = &r };
	struct kevo_check_result out;
	struct cli_args a;
	int rc;

	cli_start(&a, &tool, argc, argv);
	parse(&c, &r, &a);
	r.path = cli_db_path(a.argv[a.i]);
	cli_guard_maps(a.argv[a.i]);
	cli_signals();
	rc = kevo_check(r.path, &c, &out);
	cli_progress_end();
	if (cli_stopped())
		cli_die_by_signal();
	if (rc < 0)
		cli_die(cli_status(rc), "%s", out.msg);
	cli_progress_bytes("checked", out.bytes, out.bytes);
	cli_progress_done("checked", CLI_NO_RECORDS);
	if (r.json)
		put_result(&r, &out);
	else
		say_result(&r, &out);
	return cli_close(NULL, cli_status(rc));
}
