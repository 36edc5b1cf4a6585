/*
 * kevo-config: show, explain, change and check the settings of a database.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "nearest.h"
#include "options.h"
#include "setting.h"

static const struct cli_opt opts[] = {
	ROW_FORMAT_OF("human tsv json", "of list: human, tsv or json"),
	ROW_WAIT,
	ROW_END
};

static const struct cli_tool tool = {
	"kevo-config",
	"Show, explain, change and check the settings of a database",
	"[-f F] DB [list]\n"
	"DB get NAME\n"
	"[-w S] DB set NAME=VALUE...\n"
	"[-w S] DB unset NAME...\n"
	"DB explain [NAME]\n"
	"[-w S] DB profile [NAME]\n"
	"DB check",
	opts,
	"  kevo-config data.kv\n"
	"  kevo-config data.kv explain sync\n"
	"  kevo-config data.kv set sync=batch sync_ms=500\n"
	"  kevo-config data.kv unset sync sync_ms\n"
	"  kevo-config data.kv profile write-heavy\n"
};

struct config {
	struct cli_open_opts open;
	const char *db;		/* operand */
	const char *format;	/* of -f, or NULL */
	char **arg;		/* operands of the command */
	int count;
};

static void __attribute__((format(printf, 1, 2)))
out(const char *fmt, ...)
{
	char buf[1024];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(buf, sizeof(buf), fmt, ap);
	va_end(ap);
	cli_out(buf, n < (int)sizeof(buf) ? (size_t)n : sizeof(buf) - 1);
}

static struct kevo *
open_reader(struct config *c)
{
	c->open.flags = KEVO_RDONLY;
	return cli_open(c->db, &c->open);
}

/* Call each for all settings as they are now, and end. */
static int
list_with(struct config *c, int (*each)(void *, const struct kevo_setting *),
    void *arg)
{
	struct kevo *db = open_reader(c);
	int rc = kevo_config_list(db, each, arg);

	if (rc != 0)
		cli_fail(db, rc);
	return cli_close(db, 0);
}

/* ---- list -------------------------------------------------------------- */

static void
source(const struct kevo_setting *s, char buf[32])
{
	if (s->line == 0)
		snprintf(buf, 32, "default");
	else
		snprintf(buf, 32, "kevo.conf:%u", s->line);
}

#define HUMAN	"%-17s %-8s %-8s %-13s %s\n"

static int
list_human(void *arg, const struct kevo_setting *s)
{
	int *count = arg;
	char from[32];

	if ((*count)++ == 0)
		out(HUMAN, "setting", "value", "default", "from", "range");
	source(s, from);
	out(HUMAN, s->name, s->value, s->initial, from, s->range);
	return 0;
}

static int
list_tsv(void *arg, const struct kevo_setting *s)
{
	char from[32];

	(void)arg;
	source(s, from);
	out("%s\t%s\t%s\t%s\t%s\n", s->name, s->value, s->initial, from,
	    s->range);
	return 0;
}

static int
is_word(const struct kevo_setting *s)
{
	return strcmp(s->kind, "choice") == 0 || strcmp(s->kind, "list") == 0;
}

/* No string of a setting has anything that JSON would escape. */
static int
list_json(void *arg, const struct kevo_setting *s)
{
	int *count = arg;

	out("%s{\"name\":\"%s\",\"kind\":\"%s\",\"value\":", (*count)++ > 0 ?
	    ",\n" : "[", s->name, s->kind);
	if (is_word(s))
		out("\"%s\"", s->value);
	else
		out("%" PRIu64, s->number);
	out(",\"text\":\"%s\",\"default\":\"%s\",\"range\":\"%s\","
	    "\"meaning\":\"%s\",\"source\":", s->value, s->initial, s->range,
	    s->meaning);
	if (s->line == 0)
		out("\"default\"}");
	else
		out("\"kevo.conf\",\"line\":%u}", s->line);
	return 0;
}

static int
run_list(struct config *c)
{
	struct kevo *db = open_reader(c);
	int count = 0, rc;

	if (c->format == NULL || strcmp(c->format, "human") == 0) {
		rc = kevo_config_list(db, list_human, &count);
	} else if (strcmp(c->format, "tsv") == 0) {
		rc = kevo_config_list(db, list_tsv, NULL);
	} else {
		rc = kevo_config_list(db, list_json, &count);
		if (rc == 0)
			out("]\n");
	}
	if (rc != 0)
		cli_fail(db, rc);
	return cli_close(db, 0);
}

/* ---- get, explain, check ----------------------------------------------- */

static int
run_get(struct config *c)
{
	struct kevo_setting s;
	struct kevo *db;
	int rc;

	setting_check_name(c->arg[0], strlen(c->arg[0]));
	db = open_reader(c);
	if ((rc = kevo_config_get(db, c->arg[0], &s)) != 0)
		cli_fail(db, rc);
	out("%s\n", s.value);
	return cli_close(db, 0);
}

enum { WIDTH = 76, INDENT = 4 };

/* Words of text in lines, indented. */
static void
fill(const char *text)
{
	size_t col = 0, len;

	while (*text != '\0') {
		text += strspn(text, " ");
		len = strcspn(text, " ");
		if (col > 0 && col + 1 + len > WIDTH) {
			out("\n");
			col = 0;
		}
		if (col == 0) {
			out("%*s", INDENT, "");
			col = INDENT;
		} else {
			out(" ");
			col++;
		}
		cli_out(text, len);
		col += len;
		text += len;
	}
	out("\n");
}

/* arg: the name that is asked for, or NULL for all. */
static int
explain(void *arg, const struct kevo_setting *s)
{
	const char *wanted = arg;
	char text[400];

	if (wanted != NULL && strcmp(wanted, s->name) != 0)
		return 0;
	out("%s = %s\n", s->name, s->value);
	snprintf(text, sizeof(text), "What: %s.", s->meaning);
	fill(text);
	snprintf(text, sizeof(text), "Range: %s.  Default: %s.", s->range,
	    s->initial);
	fill(text);
	fill(s->trade);
	if (wanted == NULL)
		out("\n");
	return 0;
}

static int
run_explain(struct config *c)
{
	if (c->count > 0)
		setting_check_name(c->arg[0], strlen(c->arg[0]));
	return list_with(c, explain, c->count > 0 ? c->arg[0] : NULL);
}

static int
look(void *arg, const struct kevo_setting *s)
{
	(void)arg;
	(void)s;
	return 0;
}

static int
run_check(struct config *c)
{
	return list_with(c, look, NULL);
}

/* ---- set, unset, profile ----------------------------------------------- */

static int
change(struct config *c, const char *const *changes)
{
	struct kevo *db;
	int rc;

	c->open.flags = KEVO_ANY_CONFIG;
	db = cli_open(c->db, &c->open);
	rc = kevo_config_set(db, changes);
	if (rc == KEVO_EINVAL)
		cli_die(EX_USAGE_, "%s", kevo_errmsg(db));
	if (rc != 0)
		cli_fail(db, rc);
	return cli_close(db, 0);
}

static int
run_set(struct config *c)
{
	const char **changes = calloc((size_t)c->count + 1, sizeof(*changes));
	int status;

	if (changes == NULL)
		cli_die(EX_IOERR_, "out of memory");
	for (int i = 0; i < c->count; i++) {
		setting_check_change(c->arg[i]);
		changes[i] = c->arg[i];
	}
	status = change(c, changes);
	free(changes);
	return status;
}

static int
run_unset(struct config *c)
{
	char **unset = calloc((size_t)c->count + 1, sizeof(*unset));
	int status;

	if (unset == NULL)
		cli_die(EX_IOERR_, "out of memory");
	for (int i = 0; i < c->count; i++) {
		size_t len = strlen(c->arg[i]), room = len + 9;
		char *s = malloc(room);

		setting_check_name(c->arg[i], len);
		if (s == NULL)
			cli_die(EX_IOERR_, "out of memory");
		snprintf(s, room, "%s=default", c->arg[i]);
		unset[i] = s;
	}
	status = change(c, (const char *const *)unset);
	for (int i = 0; i < c->count; i++)
		free(unset[i]);
	free(unset);
	return status;
}

static int
list_profiles(void)
{
	const char *const *change, *name, *value;

	for (name = kevo_profile_names(); *name != '\0';
	    name += strlen(name) + 1) {
		out("%s\n", name);
		change = kevo_profile(name);
		name += strlen(name) + 1;
		fill(name);
		for (; *change != NULL; change++) {
			value = strchr(*change, '=');
			if (strcmp(value, "=default") != 0)
				out("%*s%s\n", INDENT, "", *change);
		}
	}
	return cli_close(NULL, 0);
}

static int
run_profile(struct config *c)
{
	return c->count == 0 ? list_profiles() :
	    change(c, setting_profile(c->arg[0]));
}

/* ---- commands ---------------------------------------------------------- */

static const struct command {
	const char *name;
	int min, max;		/* operands; max -1: any number */
	const char *operand;
	int (*run)(struct config *c);
} commands[] = {
	{ "list", 0, 0, "", run_list },
	{ "get", 1, 1, "NAME", run_get },
	{ "set", 1, -1, "NAME=VALUE", run_set },
	{ "unset", 1, -1, "NAME", run_unset },
	{ "explain", 0, 1, "NAME", run_explain },
	{ "profile", 0, 1, "NAME", run_profile },
	{ "check", 0, 0, "", run_check },
};
enum { COMMANDS = sizeof(commands) / sizeof(commands[0]) };

static const struct command *
find_command(const char *name)
{
	const struct command *best = &commands[0];
	int d, best_d = 1000;

	for (int i = 0; i < COMMANDS; i++) {
		if ((d = nearest_distance(name, commands[i].name)) == 0)
			return &commands[i];
		if (d < best_d) {
			best_d = d;
			best = &commands[i];
		}
	}
	if (nearest_plausible(name, best->name))
		cli_usage("%s: no such command; did you mean %s?", name,
		    best->name);
	cli_usage("%s: no such command", name);
}

static void
check_format(const struct config *c, const struct command *cmd)
{
	static const char *const names[] = { "human", "tsv", "json" };

	if (c->format == NULL)
		return;
	if (cmd->run != run_list)
		cli_die(EX_USAGE_, "-f goes with list");
	for (int i = 0; i < 3; i++)
		if (strcmp(c->format, names[i]) == 0)
			return;
	cli_die(EX_USAGE_, "-f %s: the formats here are human tsv json",
	    c->format);
}

int
main(int argc, char *argv[])
{
	struct config c = { .open = { 0, NULL, NULL, NULL } };
	const struct command *cmd = &commands[0];
	struct cli_args a;
	int id;

	cli_start(&a, &tool, argc, argv);
	while ((id = cli_next(&a)) != 0)
		if (id == 'f')
			c.format = a.arg;
		else
			cli_common(&c.open, &a, id);
	cli_operands(&a, 1, -1);
	c.db = a.argv[a.i++];
	if (a.i < a.argc)
		cmd = find_command(a.argv[a.i++]);
	c.arg = a.argv + a.i;
	c.count = a.argc - a.i;
	if (c.count < cmd->min)
		cli_usage("%s: %s is missing", cmd->name, cmd->operand);
	if (cmd->max >= 0 && c.count > cmd->max)
		cli_usage("%s: %s", c.arg[cmd->max], c.arg[cmd->max][0] ==
		    '-' ? "options go before DB" : "one operand too many");
	check_format(&c, cmd);
	return cmd->run(&c);
}
