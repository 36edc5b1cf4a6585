/*
 * kevo-init: create a database unless it is there.
 */
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "options.h"

static const struct cli_opt opts[] = {
	ROW_QUIET,
	{ OPT_SET, 0, "set", CLI_REQUIRED,
	    "NAME=VALUE:memtable_bytes= sync=full sync=batch sync=none",
	    "a setting, fixed from the creation on" },
	ROW_END
};

static const struct cli_tool tool = {
	"kevo-init",
	"Create a database; one that exists is left as it is",
	"[-q] [--set NAME=VALUE]... DB",
	opts,
	"  kevo-init data.kv\n"
	"  kevo-init --set memtable_bytes=256M --set sync=batch data.kv\n"
};

/* argv[] is longer than what it can hold of settings. */
static const char **
new_settings(int argc)
{
	const char **s = calloc((size_t)argc + 1, sizeof(*s));

	if (s == NULL)
		cli_die(EX_IOERR_, "out of memory");
	return s;
}

/* Whether db was made with this setting; one that is not known here is left
 * to the library to refuse. */
static int
has_setting(const struct kevo_stats *st, const char *setting)
{
	const char *value = strchr(setting, '=');

	if (value == NULL)
		return 0;
	value++;
	if (strncmp(setting, "memtable_bytes=", 15) == 0)
		return cli_size("memtable_bytes", value) == st->memtable_bytes;
	if (strncmp(setting, "sync=", 5) == 0)
		return cli_sync_mode("sync", value) == st->sync;
	return 0;
}

static int
has_settings(struct kevo *db, const char **settings)
{
	struct kevo_stats st;
	int rc;

	if (settings[0] == NULL)
		return 1;
	if ((rc = kevo_stats(db, &st)) != 0)
		cli_fail(db, rc);
	while (*settings != NULL && has_setting(&st, *settings))
		settings++;
	return *settings == NULL;
}

static void __attribute__((noreturn))
create(const char *path, const char **settings)
{
	struct cli_open_opts o = { KEVO_CREATE, NULL, NULL, settings };
	struct kevo_options opt = { .program = "kevo-init",
	    .settings = settings };
	struct kevo *db;
	int rc;

	if (settings[0] == NULL) {
		db = cli_open(path, &o);
	} else {
		rc = kevo_open(path, KEVO_CREATE | KEVO_EXISTING, &opt, &db);
		/* The setting came from an operand, not from a file. */
		if (rc == KEVO_ECONFIG && db != NULL)
			cli_die(EX_USAGE_, "%s", kevo_errmsg(db));
		if (rc != 0)
			cli_fail(db, rc);
	}
	cli_note("%s: created", path);
	exit(cli_close(db, 0));
}

int
main(int argc, char *argv[])
{
	const char **settings = new_settings(argc);
	struct cli_open_opts common = { 0, NULL, NULL, NULL };
	struct kevo *db;
	struct cli_args a;
	const char *path;
	int id, n = 0, rc;

	cli_start(&a, &tool, argc, argv);
	while ((id = cli_next(&a)) != 0)
		if (id == OPT_SET)
			settings[n++] = a.arg;
		else
			cli_common(&common, &a, id);
	cli_operands(&a, 1, 1);

	path = cli_db_path(a.argv[a.i]);
	rc = kevo_open(path, KEVO_RDONLY, NULL, &db);
	if (rc == 0 && has_settings(db, settings))
		return cli_close(db, 0);
	if (rc != 0 && rc != KEVO_ENODB && rc != KEVO_ENOTDB)
		cli_fail(db, rc);
	kevo_close(db);
	create(path, settings);
}
