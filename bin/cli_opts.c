/*
 * cli_opts: options and operands, and what --help says about them.
 *
 * Parsing stops at the first operand: everything after the database is
 * data, so keys that begin with a dash need no care.  That is why this is
 * not getopt_long(), which would permute, and would say less about a typing
 * error.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "cli_tool.h"
#include "nearest.h"

static const struct cli_tool *tool;
static const struct cli_tool *const *subs;	/* NULL: no sub-commands */
static char tool_name[40] = "kevo";	/* the first word of its name */

/* Every tool has these, after its own. */
static const struct cli_opt builtin[] = {
	{ CLI_OPT_HELP, 'h', "help", CLI_NONE, NULL, "show this help" },
	{ 'V', 'V', "version", CLI_NONE, NULL, "show the version" },
	{ CLI_OPT_DUMP, 0, "dump-options", CLI_NONE, NULL, NULL },
	{ 0, 0, NULL, CLI_NONE, NULL, NULL }
};

const char *
cli_tool_name(void)
{
	return tool_name;
}

void
cli_start(struct cli_args *a, const struct cli_tool *t, int argc,
    char **argv)
{
	size_t name_len;

	tool = t;
	subs = NULL;
	name_len = strcspn(t->name, " ");
	memcpy(tool_name, t->name, name_len);
	tool_name[name_len] = '\0';
	a->tool = t;
	a->argc = argc;
	a->argv = argv;
	a->i = 1;
	a->cluster = NULL;
	a->arg = NULL;
	a->dashes = 0;
}

void
cli_start_front(struct cli_args *a, const struct cli_tool *t,
    const struct cli_tool *const *sub, int argc, char **argv)
{
	cli_start(a, t, argc, argv);
	subs = sub;
}

/* ---- help -------------------------------------------------------------- */

static void
out_str(const char *s)
{
	cli_out(s, strlen(s));
}

/* Call fn for each line of the synopsis. */
static void
each_usage(void (*fn)(const char *line, size_t len))
{
	const char *p = tool->usage;
	size_t len;

	do {
		len = strcspn(p, "\n");
		fn(p, len);
		p += len;
	} while (*p++ == '\n');
}

static int synopsis_fd;

static void
write_usage(const char *line, size_t len)
{
	const char *start = line == tool->usage ? "usage:" : "      ";
	char buf[400];
	int n;

	if (*line == ' ')
		n = snprintf(buf, sizeof(buf), "%*s%.*s\n",
		    (int)(strlen(start) + 1 + strlen(tool->name)), "",
		    (int)len, line);
	else
		n = snprintf(buf, sizeof(buf), "%s %s %.*s\n", start,
		    tool->name, (int)len, line);
	if (n > (int)sizeof(buf) - 1)
		n = sizeof(buf) - 1;
	if (synopsis_fd == 1)
		cli_out(buf, (size_t)n);
	else if (write(synopsis_fd, buf, (size_t)n) < 0)
		return;
}

void
cli_synopsis(int fd)
{
	synopsis_fd = fd;
	if (tool != NULL)
		each_usage(write_usage);
}

/* The name of an option's argument, and the words after its colon. */
static int
arg_name_len(const struct cli_opt *o)
{
	return o->arg_name != NULL ? (int)strcspn(o->arg_name, ":") : 0;
}

static const char *
arg_words(const struct cli_opt *o)
{
	int len = arg_name_len(o);

	return len > 0 && o->arg_name[len] == ':' ? o->arg_name + len + 1 : "";
}

static void
help_option(const struct cli_opt *o)
{
	char left[80], line[200];
	int n;

	if (o->help == NULL)
		return;
	n = o->short_name ? snprintf(left, sizeof(left), "-%c, --%s",
	    o->short_name, o->long_name) :
	    snprintf(left, sizeof(left), "    --%s", o->long_name);
	if (o->arg != CLI_NONE)
		snprintf(left + n, sizeof(left) - (size_t)n,
		    o->arg == CLI_OPTIONAL ? "[=%.*s]" : "=%.*s",
		    arg_name_len(o), o->arg_name);
	n = snprintf(line, sizeof(line), "  %-24s %s\n", left, o->help);
	cli_out(line, (size_t)n);
}

static void __attribute__((noreturn))
finish(void)
{
	cli_end_early(cli_close(NULL, 0));
}

static void
help_subs(void)
{
	char line[200];
	int n;

	for (size_t i = 0; subs != NULL && subs[i] != NULL; i++) {
		n = snprintf(line, sizeof(line), "  %-12s %s\n",
		    subs[i]->name + strlen(tool->name) + 1, subs[i]->summary);
		cli_out(line, (size_t)n);
	}
}

static void __attribute__((noreturn))
help(void)
{
	const struct cli_opt *o;
	const char *topic = strcmp(tool_name, "kevo") == 0 ? "TOOL" :
	    tool_name + sizeof("kevo-") - 1;

	cli_synopsis(1);
	out_str(tool->summary);
	out_str(".\n");
	help_subs();
	for (o = tool->opts; o->id != 0; o++)
		help_option(o);
	for (o = builtin; o->id != 0; o++)
		help_option(o);
	if (tool->examples != NULL) {
		out_str("Examples:\n");
		out_str(tool->examples);
	}
	out_str("More: kevo help ");
	out_str(topic);
	out_str("\n");
	finish();
}

/* One line for each synopsis. */
static void
dump_usage(const char *line, size_t len)
{
	if (*line != ' ')
		out_str(line == tool->usage ? "usage\t" : "\nusage\t");
	cli_out(line, len);
}

/* option, short, long, none|required|optional, argument's name, help, and
 * what completions offer for the argument, if there is a list of it. */
static void
dump_option(const struct cli_opt *o)
{
	static const char *const kinds[] = { "none", "required", "optional" };
	char line[400];
	int n;

	if (o->help == NULL)
		return;
	n = snprintf(line, sizeof(line),
	    "option\t%.*s\t--%s\t%s\t%.*s\t%s%s%s\n",
	    o->short_name ? 2 : 0, (char[]){ '-', o->short_name, 0 },
	    o->long_name, kinds[o->arg], arg_name_len(o),
	    o->arg_name != NULL ? o->arg_name : "", o->help,
	    *arg_words(o) != '\0' ? "\t" : "", arg_words(o));
	cli_out(line, (size_t)n);
}

static void
dump_tool(void)
{
	const struct cli_opt *o;

	out_str("tool\t");
	out_str(tool->name);
	out_str("\t");
	out_str(tool->summary);
	out_str("\n");
	each_usage(dump_usage);
	out_str("\n");
	for (o = tool->opts; o->id != 0; o++)
		dump_option(o);
	for (o = builtin; o->id != 0; o++)
		dump_option(o);
}

/* The tables of the sub-commands follow that of their front. */
static void __attribute__((noreturn))
dump(void)
{
	dump_tool();
	for (size_t i = 0; subs != NULL && subs[i] != NULL; i++) {
		tool = subs[i];
		dump_tool();
	}
	finish();
}

static void __attribute__((noreturn))
version(void)
{
	out_str(tool_name);
	out_str(" " KEVO_VERSION "\n");
	finish();
}

/* ---- parsing ----------------------------------------------------------- */

/* The options of the tool, then the builtin ones. */
static const struct cli_opt *
next_option(const struct cli_opt *o)
{
	if (o == NULL)
		o = tool->opts;
	else
		o++;
	if (o->id == 0 && o != builtin + sizeof(builtin) / sizeof(*o) - 1)
		o = builtin;
	return o->id != 0 ? o : NULL;
}

static int
answer(const struct cli_opt *o)
{
	if (o->id == CLI_OPT_HELP)
		help();
	if (o->id == 'V')
		version();
	if (o->id == CLI_OPT_DUMP)
		dump();
	return o->id;
}

static int
short_option(struct cli_args *a)
{
	const struct cli_opt *o = NULL;
	char c = *a->cluster++;

	while ((o = next_option(o)) != NULL && o->short_name != c)
		;
	if (o == NULL)
		cli_usage("unknown option -%c", c);
	if (o->arg == CLI_REQUIRED) {
		if (*a->cluster != '\0')
			a->arg = a->cluster;
		else if (a->i < a->argc)
			a->arg = a->argv[a->i++];
		else
			cli_usage("option -%c needs %.*s", c,
			    arg_name_len(o), o->arg_name);
		a->cluster = NULL;
	}
	return answer(o);
}

static void __attribute__((noreturn))
unknown_long(const char *name)
{
	const struct cli_opt *o = NULL, *best = NULL;
	int d, best_d = 1000;

	while ((o = next_option(o)) != NULL) {
		if (o->help == NULL)
			continue;
		d = nearest_distance(name, o->long_name);
		if (d < best_d) {
			best_d = d;
			best = o;
		}
	}
	if (best != NULL && nearest_plausible(name, best->long_name))
		cli_usage("unknown option --%s; did you mean --%s?", name,
		    best->long_name);
	cli_usage("unknown option --%s", name);
}

/* The option called name, or the only one that begins with it. */
static const struct cli_opt *
find_long(const char *name, size_t len)
{
	const struct cli_opt *o = NULL, *found = NULL;

	while ((o = next_option(o)) != NULL) {
		if (strncmp(o->long_name, name, len) != 0)
			continue;
		if (o->long_name[len] == '\0')
			return o;
		if (o->help == NULL)
			continue;
		if (found != NULL)
			cli_usage("--%.*s may be --%s or --%s", (int)len, name,
			    found->long_name, o->long_name);
		found = o;
	}
	return found;
}

static int
long_option(struct cli_args *a, char *word)
{
	const struct cli_opt *o;
	char *eq = strchr(word, '=');
	size_t len = eq != NULL ? (size_t)(eq - word) : strlen(word);

	if ((o = len > 0 ? find_long(word, len) : NULL) == NULL) {
		word[len] = '\0';
		unknown_long(word);
	}
	if (eq != NULL && o->arg == CLI_NONE)
		cli_usage("option --%s takes no argument", o->long_name);
	if (eq != NULL)
		a->arg = eq + 1;
	else if (o->arg == CLI_REQUIRED && a->i < a->argc)
		a->arg = a->argv[a->i++];
	else if (o->arg == CLI_REQUIRED)
		cli_usage("option --%s needs %.*s", o->long_name,
		    arg_name_len(o), o->arg_name);
	return answer(o);
}

int
cli_next(struct cli_args *a)
{
	char *word;

	a->arg = NULL;
	if (a->cluster != NULL && *a->cluster != '\0')
		return short_option(a);
	if (a->i >= a->argc)
		return 0;
	word = a->argv[a->i];
	if (word[0] != '-' || word[1] == '\0')
		return 0;
	a->i++;
	if (word[1] == '-' && word[2] == '\0') {
		a->dashes = 1;
		return 0;
	}
	if (word[1] == '-')
		return long_option(a, word + 2);
	a->cluster = word + 1;
	return short_option(a);
}

/* ---- operands ---------------------------------------------------------- */

void
cli_operands_named(struct cli_args *a, int min, int max, const char *names,
    const char *hint)
{
	int i, n = a->argc - a->i;

	if (n < min) {
		for (i = 0; i < n && *names != '\0'; i++) {
			names += strcspn(names, " ");
			names += *names == ' ';
		}
		cli_usage_hint(n > 0 ? hint : NULL, "%.*s is missing",
		    (int)strcspn(names, " "), names);
	}
	if (max < 0 || n <= max)
		return;
	for (i = a->i + 1; i < a->argc; i++)
		if (a->argv[i][0] == '-' && a->argv[i][1] != '\0')
			cli_usage("%s: options go before DB", a->argv[i]);
	cli_usage("%s: one operand too many", a->argv[a->i + max]);
}

void
cli_operands(struct cli_args *a, int min, int max)
{
	if (a->argc - a->i < min && a->argc > a->i)
		cli_usage("an operand is missing");
	cli_operands_named(a, min, max, "DB", NULL);
}

/* Letters that are all options, but for an argument after one of them. */
static int
is_cluster(const char *word)
{
	const struct cli_opt *o;

	for (; *word != '\0'; word++) {
		o = NULL;
		while ((o = next_option(o)) != NULL && o->short_name != *word)
			;
		if (o == NULL)
			return 0;
		if (o->arg == CLI_REQUIRED)
			break;
	}
	return 1;
}

static int
is_option(const char *word)
{
	const struct cli_opt *o = NULL;
	size_t len;

	if (word[0] != '-' || word[1] == '\0')
		return 0;
	if (word[1] != '-')
		return is_cluster(word + 1);
	word += 2;
	len = strcspn(word, "=");
	while ((o = next_option(o)) != NULL)
		if (strlen(o->long_name) == len &&
		    memcmp(o->long_name, word, len) == 0)
			return 1;
	return 0;
}

void
cli_refuse_late_options(const struct cli_args *a)
{
	int i;

	if (a->dashes || a->argc - a->i < 3)
		return;
	for (i = a->i + 1; i < a->argc; i++)
		if (is_option(a->argv[i]))
			cli_usage_hint("`--` before DB if it is a key",
			    "%s: options go before DB", a->argv[i]);
}
