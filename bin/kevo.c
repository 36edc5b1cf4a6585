/*
 * kevo: the front: runs kevo-TOOL, shows manual pages, lists the tools.
 *
 * A tool is looked for beside this program, then in PATH, so that anybody
 * can add one.  It replaces this process: nothing stands between a tool and
 * its caller.  A database instead of a tool's name means kevo-shell, which
 * is a program of its own because it needs a library to edit lines.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli.h"
#include "nearest.h"
#include "options.h"

enum { EXIT_CANNOT_RUN = 126, PATH_ROOM = 4096 };

enum { OPT_KEEP_GOING = 400 };

static const struct cli_opt opts[] = {
	{ 'c', 'c', "command", CLI_REQUIRED, "CMD",
	    "run the shell's commands in CMD and exit" },
	{ OPT_KEEP_GOING, 0, "keep-going", CLI_NONE, NULL,
	    "in a script: go on after errors" },
	ROW_END
};

static const struct cli_tool tool = {
	"kevo",
	"An ordered key-value store in a directory, without a server",
	"[--keep-going] [-c CMD] [DB]\n"
	"TOOL [ARG]...\n"
	"help [TOOL|formats|exit-status|stories]\n"
	"commands",
	opts,
	"  kevo ./data.kv                   the shell; .help is its help\n"
	"  kevo -c 'GET user:1' data.kv     one command of the shell\n"
	"  kevo put data.kv user:1 ada      the same as kevo-put ...\n"
	"  kevo scan data.kv user:\n"
	"  kevo help put                    the manual page kevo-put(1)\n"
	"  kevo commands                    the tools there are\n"
};

/* ---- where things are -------------------------------------------------- */

/* The directory of this program, "" if the system does not say. */
static const char *
own_dir(void)
{
	static char dir[PATH_ROOM];
	ssize_t n;
	char *slash;

	if (dir[0] != '\0')
		return dir;
	n = readlink("/proc/self/exe", dir, sizeof(dir) - 1);
	dir[n > 0 ? n : 0] = '\0';
	if ((slash = strrchr(dir, '/')) != NULL)
		slash[slash == dir ? 1 : 0] = '\0';
	return dir;
}

/* Call fn for the own directory and each of PATH, until it returns not 0. */
static int
each_dir(int (*fn)(const char *dir, void *arg), void *arg)
{
	const char *p = getenv("PATH");
	char dir[PATH_ROOM];
	size_t len;
	int rc;

	if (own_dir()[0] != '\0' && (rc = fn(own_dir(), arg)) != 0)
		return rc;
	for (; p != NULL && *p != '\0'; p += len + (p[len] == ':')) {
		len = strcspn(p, ":");
		if (len >= sizeof(dir))
			continue;
		memcpy(dir, p, len);
		dir[len] = '\0';
		if ((rc = fn(len > 0 ? dir : ".", arg)) != 0)
			return rc;
	}
	return 0;
}

/* ---- the names of the tools -------------------------------------------- */

struct names {
	char **name;
	size_t count, room;
};

static void
add_name(struct names *n, const char *name)
{
	size_t i, room = n->room == 0 ? 64 : n->room * 2;

	for (i = 0; i < n->count; i++)
		if (strcmp(n->name[i], name) == 0)
			return;
	if (n->count == n->room) {
		n->name = realloc(n->name, room * sizeof(*n->name));
		n->room = room;
	}
	if (n->name == NULL || (n->name[n->count++] = strdup(name)) == NULL)
		cli_die(EX_IOERR_, "out of memory");
}

static int
add_dir(const char *dir, void *arg)
{
	struct dirent *e;
	struct stat st;
	DIR *d = opendir(dir);

	if (d == NULL)
		return 0;
	while ((e = readdir(d)) != NULL)
		if (strncmp(e->d_name, "kevo-", 5) == 0 &&
		    e->d_name[5] != '\0' &&
		    fstatat(dirfd(d), e->d_name, &st, 0) == 0 &&
		    S_ISREG(st.st_mode) &&
		    faccessat(dirfd(d), e->d_name, X_OK, 0) == 0)
			add_name(arg, e->d_name + 5);
	closedir(d);
	return 0;
}

static int
by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void
find_names(struct names *n)
{
	each_dir(add_dir, n);
	if (n->count > 0)
		qsort(n->name, n->count, sizeof(*n->name), by_name);
}

static void
release_names(struct names *n)
{
	while (n->count > 0)
		free(n->name[--n->count]);
	free(n->name);
}

static int
list_commands(void)
{
	struct names n = { NULL, 0, 0 };
	size_t i;

	find_names(&n);
	for (i = 0; i < n.count; i++) {
		cli_out(n.name[i], strlen(n.name[i]));
		cli_out("\n", 1);
	}
	release_names(&n);
	return cli_close(NULL, 0);
}

/* alone: it was all there is, and may have been meant as a database. */
static void __attribute__((noreturn))
unknown(const char *name, int alone)
{
	struct names n = { NULL, 0, 0 };
	const char *best = NULL;
	int d, best_d = 1000;
	size_t i;

	find_names(&n);
	add_name(&n, "help");
	add_name(&n, "commands");
	for (i = 0; i < n.count; i++) {
		d = nearest_distance(name, n.name[i]);
		if (d < best_d) {
			best_d = d;
			best = n.name[i];
		}
	}
	cli_msg("%s: no such tool", name);
	if (best != NULL && nearest_plausible(name, best))
		cli_hint("did you mean %s?", best);
	else if (alone)
		cli_hint("kevo commands lists them; a new database is ./%s",
		    name);
	else
		cli_hint("kevo commands lists them");
	release_names(&n);
	exit(EX_USAGE_);
}

/* ---- running a tool ---------------------------------------------------- */

static int
run_in(const char *dir, void *arg)
{
	char **argv = arg, path[PATH_ROOM];
	struct stat st;

	if (snprintf(path, sizeof(path), "%s/%s", dir, argv[0]) >=
	    (int)sizeof(path))
		return 0;
	execv(path, argv);
	/* There, but what it names as its interpreter is not. */
	if (errno == ENOENT && stat(path, &st) == 0)
		cli_die(EXIT_CANNOT_RUN, "%s: its interpreter is missing",
		    path);
	if (errno == ENOENT || errno == ENOTDIR)
		return 0;
	/* PATH may hold directories that are not for us. */
	if (errno == EACCES && stat(path, &st) != 0)
		return 0;
	cli_die(EXIT_CANNOT_RUN, "%s: %s", path, strerror(errno));
}

/* argv[0] is the name as typed; it becomes kevo-NAME.  Returns if there is
 * no such tool. */
static void
run(char **argv)
{
	static char name[300];
	char *typed = argv[0];

	if (snprintf(name, sizeof(name), "kevo-%s", typed) >=
	    (int)sizeof(name))
		return;
	argv[0] = name;
	each_dir(run_in, argv);
	argv[0] = typed;
}

/* ---- the shell --------------------------------------------------------- */

struct shell_args {
	char *command;		/* of -c, or NULL */
	int keep_going;
};

static char *
joined(const char *a, const char *b)
{
	size_t len = strlen(a) + strlen(b) + 1;
	char *s = malloc(len);

	if (s == NULL)
		cli_die(EX_IOERR_, "out of memory");
	snprintf(s, len, "%s%s", a, b);
	return s;
}

/* A database may be called as it likes: -- stands before it. */
static void __attribute__((noreturn))
run_shell(const struct shell_args *s, char **operand, int count)
{
	static char name[] = "shell", keep[] = "--keep-going", end[] = "--";
	char **argv = calloc((size_t)count + 5, sizeof(*argv)), **p = argv;

	if (argv == NULL)
		cli_die(EX_IOERR_, "out of memory");
	*p++ = name;
	if (s->command != NULL)
		*p++ = joined("--command=", s->command);
	if (s->keep_going)
		*p++ = keep;
	*p++ = end;
	memcpy(p, operand, (size_t)count * sizeof(*p));
	run(argv);
	cli_die(EX_UNAVAILABLE_, "kevo-shell is not installed");
}

static int
is_directory(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* ---- manual pages ------------------------------------------------------ */

/* The page dir/NAME.S or dir/manS/NAME.S of any section, into path. */
static int
page_in(char *path, size_t room, const char *dir, int by_section,
    const char *name)
{
	static const char sections[] = "1753";
	const char *s;
	int n;

	for (s = sections; *s != '\0'; s++) {
		n = by_section ? snprintf(path, room, "%s/%s/man%c/%s.%c",
		    own_dir(), dir, *s, name, *s) :
		    snprintf(path, room, "%s/%s/%s.%c", own_dir(), dir, name,
		    *s);
		if (n < (int)room && access(path, R_OK) == 0)
			return 1;
	}
	return 0;
}

/* A page that came with this program: installed under its prefix, or in
 * the source tree that it was built in. */
static int
page_file(char *path, size_t room, const char *name)
{
	return own_dir()[0] != '\0' &&
	    (page_in(path, room, "../share/man", 1, name) ||
	    page_in(path, room, "../man", 1, name) ||
	    page_in(path, room, "../../man", 0, name));
}

/* The page's name: of a tool, of a topic, or of kevo itself. */
static void
page_name(char *name, size_t room, const char *topic)
{
	if (topic == NULL || strcmp(topic, "kevo") == 0 ||
	    strcmp(topic, "help") == 0 || strcmp(topic, "commands") == 0)
		snprintf(name, room, "kevo");
	else if (strncmp(topic, "kevo-", 5) == 0 ||
	    strncmp(topic, "kevo_", 5) == 0 ||
	    strncmp(topic, "kevo.", 5) == 0)
		snprintf(name, room, "%s", topic);
	else
		snprintf(name, room, "kevo-%s", topic);
}

static int
is_tool(const char *dir, void *arg)
{
	char path[PATH_ROOM];

	return snprintf(path, sizeof(path), "%s/%s", dir,
	    (const char *)arg) < (int)sizeof(path) &&
	    access(path, X_OK) == 0;
}

static int
help(char **topic)
{
	static char name[300], path[PATH_ROOM], man[] = "man";
	static char dash_help[] = "--help";
	char *by_man[] = { man, name, NULL };
	char *by_help[] = { name, dash_help, NULL };
	int ours, known;

	if (topic[0] != NULL && topic[1] != NULL)
		cli_usage("%s: one operand too many", topic[1]);
	page_name(name, sizeof(name), topic[0]);
	if (strchr(name, '/') != NULL)
		unknown(topic[0], 0);
	ours = page_file(path, sizeof(path), name);
	known = each_dir(is_tool, name);
	if (!ours && !known && strncmp(name, "kevo-", 5) == 0 &&
	    strcmp(topic[0], "formats") != 0 &&
	    strcmp(topic[0], "exit-status") != 0 &&
	    strcmp(topic[0], "stories") != 0)
		unknown(topic[0], 0);
	if (ours)
		by_man[1] = path;
	execvp("man", by_man);
	/* No man(1) here: what the tool says itself is better than nothing. */
	if (known)
		each_dir(run_in, by_help);
	cli_die(EX_UNAVAILABLE_, "man: %s", strerror(errno));
}

int
main(int argc, char *argv[])
{
	struct shell_args shell = { NULL, 0 };
	struct cli_args a;
	char **operand;
	int id;

	cli_start(&a, &tool, argc, argv);
	while ((id = cli_next(&a)) != 0)
		if (id == 'c')
			shell.command = a.arg;
		else
			shell.keep_going = 1;
	operand = a.argv + a.i;
	if (*operand == NULL || shell.command != NULL || shell.keep_going ||
	    strchr(*operand, '/') != NULL || strcmp(*operand, "@") == 0)
		run_shell(&shell, operand, argc - a.i);
	if (strcmp(*operand, "commands") == 0)
		return list_commands();
	if (strcmp(*operand, "help") == 0)
		return help(operand + 1);
	run(operand);
	if (is_directory(*operand))
		run_shell(&shell, operand, argc - a.i);
	unknown(*operand, operand[1] == NULL);
}
