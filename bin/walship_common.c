#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "env.h"
#include "ship/archive.h"
#include "ship/ship.h"
#include "ship/tail.h"
#include "walship.h"
#include "when.h"

/* ---- messages ---------------------------------------------------------- */

int
walship_report(const struct kv_env *env, int rc)
{
	const char *class = kv_ship_class_name(rc);

	if (class == NULL) {
		cli_msg("%s", env->msg[0] != '\0' ? env->msg :
		    kevo_strerror(rc));
		return cli_status(rc);
	}
	cli_msg("%s: %s", class, env->msg);
	return kv_ship_exit(rc);
}

void
walship_fail(const struct kv_env *env, int rc)
{
	const char *class = kv_ship_class_name(rc);

	if (class == NULL)
		cli_die(cli_status(rc), "%s", env->msg[0] != '\0' ?
		    env->msg : kevo_strerror(rc));
	cli_die(kv_ship_exit(rc), "%s: %s", class, env->msg);
}

/* ---- words ------------------------------------------------------------- */

void
walship_words_init(struct walship_words *w)
{
	w->n = 0;
}

int
walship_next(struct cli_args *a, struct walship_words *w)
{
	int id;

	while ((id = a->dashes ? 0 : cli_next(a)) == 0 && a->i < a->argc) {
		if (w->n == WALSHIP_WORDS)
			cli_usage("%s: too many operands", a->argv[a->i]);
		w->word[w->n++] = a->argv[a->i++];
	}
	return id;
}

void
walship_words_check(const struct walship_words *w, int min, int max,
    const char *names)
{
	if (w->n > max)
		cli_usage("%s: one operand too many", w->word[max]);
	for (int i = 0; i < w->n && *names != '\0'; i++) {
		names += strcspn(names, " ");
		names += *names == ' ';
	}
	if (w->n < min)
		cli_usage("%.*s is missing", (int)strcspn(names, " "), names);
}

/* ---- time -------------------------------------------------------------- */

uint64_t
walship_time(const char *what, const char *s)
{
	uint64_t ns;

	if (s[strspn(s, "0123456789")] == '\0' && *s != '\0')
		ns = cli_number(what, s, UINT64_MAX / 1000000000u) *
		    1000000000u;
	else if (when_parse(s, &ns) != 0)
		ns = 0;
	if (ns == 0)	/* which is no limit to others */
		cli_usage("%s: %s is no time such as 2026-11-22T14:00:00Z",
		    what, s);
	return ns;
}

void
walship_until(struct walship_until *u, int id, const char *arg)
{
	if (id == OPT_UNTIL_TIME)
		u->ns = walship_time("--until-time", arg);
	else if ((u->seq = cli_number("--until-seq", arg,
	    UINT64_MAX - 1)) == 0)
		cli_usage("--until-seq: commits begin with 1");
	if (u->seq != 0 && u->ns != 0)
		cli_usage("--until-seq and --until-time do not go together");
}

/* ---- archives ---------------------------------------------------------- */

void
walship_archive_fail(struct kv_archive *a, int rc)
{
	struct kv_env none = { "" };

	walship_fail(a != NULL ? &a->env : &none, rc);
}

struct kv_archive *
walship_archive_open(const char *path)
{
	struct kv_archive *a;
	int rc = kv_archive_open(path, &a);

	if (rc != 0)
		walship_archive_fail(a, rc);
	return a;
}

int
walship_archive_is_whole(struct kv_archive *a)
{
	struct kv_image tail;
	int rc, whole;

	if ((rc = kv_archive_list(a)) != 0)
		walship_archive_fail(a, rc);
	if (a->nseg > 0)
		return a->seg[0].first == 1;
	if (kv_tail_load(a, &tail, NULL, 0) != 0)
		return 0;
	whole = tail.head.first_seq == 1;
	kv_image_release(&tail);
	return whole;
}

/* The newest full base, and where it ends. */
struct newest {
	char name[64];
	unsigned long long end;
};

static int
look_at_base(void *arg, const char *name)
{
	struct newest *b = arg;
	unsigned long long end;
	unsigned epoch;
	int n = 0;

	if (sscanf(name, "%8x-%16llx.tar%n", &epoch, &end, &n) != 2 ||
	    n == 0 || name[n] != '\0' || (size_t)n >= sizeof(b->name) ||
	    (b->name[0] != '\0' && end < b->end))
		return 0;
	strcpy(b->name, name);
	b->end = end;
	return 0;
}

const char *
walship_archive_way(struct kv_archive *a, uint64_t first)
{
	static char way[1200];
	struct newest b = { "", 0 };

	if (kv_archive_each(a, "base", look_at_base, &b) == 0 &&
	    b.name[0] != '\0' && b.end + 1 >= first)
		snprintf(way, sizeof(way), "kevo-walship restore %.1000s, "
		    "from base %s", a->path, b.name);
	else
		snprintf(way, sizeof(way), "kevo-walship base DB --to %.1000s,"
		    " of the primary", a->path);
	return way;
}

enum walship_kind
walship_kind(const char *operand)
{
	struct stat st;

	if (strcmp(operand, "@") == 0)
		return WALSHIP_DB;
	if (kv_archive_is(operand))
		return WALSHIP_ARCHIVE;
	return stat(operand, &st) == 0 && S_ISDIR(st.st_mode) ? WALSHIP_DB :
	    WALSHIP_FILE;
}

/* ---- input ------------------------------------------------------------- */

int
walship_input(const char *name)
{
	int fd;

	if (strcmp(name, "-") == 0)
		return 0;
	fd = open(name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		cli_die(errno == ENOENT ? EX_NOINPUT_ : errno == EACCES ?
		    EX_NOPERM_ : EX_IOERR_, "%s: cannot open: %s", name,
		    strerror(errno));
	return fd;
}

void
walship_input_done(int fd)
{
	if (fd > 0)
		close(fd);
}
