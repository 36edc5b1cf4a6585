/*
 * kevo-init: create a database unless it is there.
 */
#include <stdlib.h>

#include "cli.h"
#include "options.h"
#include "setting.h"

static const struct cli_opt opts[] = {
	ROW_QUIET,
	{ OPT_PROFILE, 0, "profile", CLI_REQUIRED,
	    "NAME:balanced write-heavy read-heavy small-memory",
	    "settings that go together" },
	{ OPT_SET, 0, "set", CLI_REQUIRED,
	    "NAME=VALUE:memtable_bytes= sync=full sync=batch sync=none",
	    "a setting, written to kevo.conf" },
	ROW_END
};

static const struct cli_tool tool = {
	"kevo-init",
	"Create a database; one that exists is left as it is",
	"[-q] [--profile=NAME] [--set NAME=VALUE]... DB",
	opts,
	"  kevo-init data.kv\n"
	"  kevo-init --set memtable_bytes=256M --set sync=batch data.kv\n"
	"  kevo-init --profile=small-memory sensors.kv\n"
};

/* What --profile and --set ask for, in this order. */
struct changes {
	const char **list;	/* ends with NULL */
	size_t count;
};

static void
add(struct changes *c, const char *change)
{
	c->list = realloc(c->list, (c->count + 2) * sizeof(*c->list));
	if (c->list == NULL)
		cli_die(EX_IOERR_, "out of memory");
	c->list[c->count++] = change;
	c->list[c->count] = NULL;
}

static void
add_profile(struct changes *c, const char *name)
{
	const char *const *p;

	for (p = setting_profile(name); *p != NULL; p++)
		add(c, *p);
}

/* A setting that is not possible came from an operand, not from a file. */
static int
open_with(const char *path, unsigned flags, const struct changes *c,
    struct kevo **db)
{
	struct kevo_options opt = { .program = "kevo-init",
	    .settings = c->list };
	int rc = kevo_open(path, flags | KEVO_EXISTING, &opt, db);

	if (rc == KEVO_EINVAL && *db != NULL)
		cli_die(EX_USAGE_, "%s", kevo_errmsg(*db));
	return rc;
}

int
main(int argc, char *argv[])
{
	struct cli_open_opts common = { 0, NULL, NULL, NULL };
	static struct changes c;	/* reachable to the end */
	struct kevo *db;
	struct cli_args a;
	const char *path;
	int id, rc;

	cli_start(&a, &tool, argc, argv);
	while ((id = cli_next(&a)) != 0)
		if (id == OPT_SET) {
			setting_check_change(a.arg);
			add(&c, a.arg);
		} else if (id == OPT_PROFILE)
			add_profile(&c, a.arg);
		else
			cli_common(&common, &a, id);
	cli_operands(&a, 1, 1);

	path = cli_db_path(a.argv[a.i]);
	rc = open_with(path, KEVO_RDONLY, &c, &db);
	if (rc == 0)
		return cli_close(db, 0);
	if (rc != KEVO_ENODB && rc != KEVO_ENOTDB)
		cli_fail(db, rc);
	kevo_close(db);
	if ((rc = open_with(path, KEVO_CREATE, &c, &db)) != 0)
		cli_fail(db, rc);
	cli_note("%s: created", path);
	return cli_close(db, 0);
}
