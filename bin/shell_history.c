/*
 * shell_history: the lines that were typed, in memory and in a file.
 *
 * Each line is appended to the file when it is typed, so that shells that
 * run at the same time lose nothing of each other.  Nobody else may read
 * the file: lines hold values.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shell.h"

enum { SIZE_DEFAULT = 1000, PATH_ROOM = 4096 };

static const char *
variable(const char *name)
{
	const char *s = getenv(name);

	return s != NULL && *s != '\0' ? s : NULL;
}

/* Make the directories that lead to the file, for ourselves only. */
static void
make_directories(char *path)
{
	char *p;

	for (p = strchr(path + 1, '/'); p != NULL; p = strchr(p + 1, '/')) {
		*p = '\0';
		if (mkdir(path, 0700) != 0 && errno != EEXIST)
			p[0] = '/';
		*p = '/';
	}
}

/* Where the file is: 1, or 0 if nobody says. */
static int
find_path(char *path)
{
	const char *s;
	int n;

	if ((s = variable("KEVO_HISTFILE")) != NULL) {
		n = snprintf(path, PATH_ROOM, "%s", s);
		return n < PATH_ROOM;
	}
	/* The standard has it that a relative path is to be ignored. */
	if ((s = variable("XDG_STATE_HOME")) != NULL && *s == '/')
		n = snprintf(path, PATH_ROOM, "%s/kevo/history", s);
	else if ((s = variable("HOME")) != NULL)
		n = snprintf(path, PATH_ROOM, "%s/.local/state/kevo/history",
		    s);
	else
		return 0;
	if (n >= PATH_ROOM)
		return 0;
	make_directories(path);
	return 1;
}

static size_t
find_size(void)
{
	const char *s = variable("KEVO_HISTSIZE");
	unsigned long n;
	char *end;

	if (s == NULL)
		return SIZE_DEFAULT;
	n = strtoul(s, &end, 10);
	return *end == '\0' && n <= 1000000 ? n : SIZE_DEFAULT;
}

/* ---- in memory --------------------------------------------------------- */

static int
keep(struct shell_history *h, const char *line, size_t len)
{
	char **p, *copy;

	if (h->count == h->max) {
		free(h->line[0]);
		h->count--;
		memmove(h->line, h->line + 1, h->count * sizeof(*h->line));
	}
	if (h->count == h->room) {
		p = realloc(h->line, (h->room + 64) * 2 * sizeof(*p));
		if (p == NULL)
			return 0;
		h->line = p;
		h->room = (h->room + 64) * 2;
	}
	if ((copy = strndup(line, len)) == NULL)
		return 0;
	h->line[h->count++] = copy;
	return 1;
}

void
shell_history_free(struct shell_history *h)
{
	while (h->count > 0)
		free(h->line[--h->count]);
	free(h->line);
	free(h->path);
	memset(h, 0, sizeof(*h));
}

/* ---- in the file ------------------------------------------------------- */

static void
write_lines(int fd, char *const *line, size_t count)
{
	size_t i;

	for (i = 0; i < count; i++)
		if (dprintf(fd, "%s\n", line[i]) < 0)
			return;
}

/* Write what is kept to a new file in the place of one that grew. */
static void
rewrite(const struct shell_history *h)
{
	char temp[PATH_ROOM + 16];
	int fd;

	snprintf(temp, sizeof(temp), "%s.XXXXXX", h->path);
	if ((fd = mkstemp(temp)) < 0)
		return;
	write_lines(fd, h->line, h->count);
	if (close(fd) != 0 || rename(temp, h->path) != 0)
		unlink(temp);
}

void
shell_history_load(struct shell_history *h)
{
	struct shell_lines l = { .fd = -1 };
	char path[PATH_ROOM], *line;
	struct stat st;
	size_t len, n = 0;

	h->max = find_size();
	if (h->max == 0 || !find_path(path))
		return;
	h->path = strdup(path);
	l.fd = open(path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK,
	    0600);
	if (l.fd < 0)
		return;
	if (fstat(l.fd, &st) == 0 && S_ISREG(st.st_mode)) {
		if ((st.st_mode & 077) != 0 && fchmod(l.fd, 0600) != 0)
			h->max = 0;
		while (shell_next_line(&l, &line, &len) == 1)
			if (len > 0 && h->max > 0)
				n += (size_t)keep(h, line, len);
		if (h->path != NULL && h->max > 0 && n > 2 * h->max)
			rewrite(h);
	}
	free(l.buf);
	close(l.fd);
}

int
shell_history_add(struct shell_history *h, const char *line, size_t len)
{
	int fd;

	if (h->max == 0 || len == 0 || *line == ' ' || *line == '\t' ||
	    memchr(line, '\0', len) != NULL)
		return 0;
	if (h->count > 0 && strlen(h->line[h->count - 1]) == len &&
	    memcmp(h->line[h->count - 1], line, len) == 0)
		return 0;
	if (!keep(h, line, len))
		return 0;
	if (h->path == NULL)
		return 1;
	fd = open(h->path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC |
	    O_NONBLOCK, 0600);
	if (fd < 0)
		return 1;
	write_lines(fd, h->line + h->count - 1, 1);
	close(fd);
	return 1;
}
