#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "cli.h"
#include "cli_tool.h"
#include "stats_sample.h"

/*
 * A record: lines of numbers, of one or several databases, over time.
 *
 * The first line names the columns, in TSV: time, id, and then the key of
 * each counter and gauge, and of each part of a histogram.  Who appends holds
 * a lock on the file, and first cuts off what a killed process left of a line.
 */

struct text {
	char *p;
	size_t len, room;
};

static void
add(struct text *t, const char *s)
{
	size_t n = strlen(s);

	if (t->len + n + 1 > t->room) {
		t->room = (t->len + n + 1) * 2;
		if ((t->p = realloc(t->p, t->room)) == NULL)
			cli_die(EX_IOERR_, "out of memory");
	}
	memcpy(t->p + t->len, s, n + 1);
	t->len += n;
}

/* One column, or more for a histogram: its name, or its value. */
static void
add_one(struct text *t, const struct stat_one *o, int names)
{
	char n[STAT_NUMBER];

	if (o->kind == KEVO_INFO)
		return;
	if (o->kind != KEVO_HISTOGRAM) {
		add(t, "\t");
		add(t, names ? o->key : stat_number(n, o->unit, o->value));
		return;
	}
	for (enum stat_part p = 0; p < STAT_PARTS; p++) {
		add(t, "\t");
		if (names) {
			add(t, o->key);
			add(t, ".");
			add(t, stat_part_name[p]);
		} else
			add(t, stat_number(n, stat_part_unit(p),
			    stat_part(&o->histogram, p)));
	}
}

static void
make_line(struct text *t, const struct stat_sample *s, int names)
{
	char n[STAT_NUMBER];

	add(t, names ? "time\tid" : stat_number(n, KEVO_UNIT_TIME,
	    s->time_ns));
	if (!names) {
		add(t, "\t");
		add(t, stat_text(s, "database.id"));
	}
	for (size_t i = 0; i < s->n; i++)
		add_one(t, &s->one[i], names);
	add(t, "\n");
}

static void __attribute__((noreturn))
failed(const char *file, const char *what)
{
	cli_die(EX_IOERR_, "%s: cannot %s: %s", file, what, strerror(errno));
}

static int
open_record(const char *file)
{
	int fd = cli_fd_high(open(file, O_RDWR | O_CREAT | O_APPEND |
	    O_CLOEXEC, 0666));

	if (fd < 0)
		cli_die(EX_CANTCREAT_, "%s: cannot open: %s", file,
		    strerror(errno));
	while (flock(fd, LOCK_EX) != 0)
		if (errno != EINTR)
			failed(file, "lock");
		else if (cli_stopped())
			cli_die_by_signal();
	return fd;
}

static size_t
read_at(int fd, const char *file, char *buf, size_t len, off_t off)
{
	ssize_t n;

	while ((n = pread(fd, buf, len, off)) < 0)
		if (errno != EINTR)
			failed(file, "read");
	return (size_t)n;
}

/* Does the file begin with our names?  A part of them may be all of it. */
static void
check_names(int fd, const char *file, const struct text *names)
{
	char *have = malloc(names->len);
	size_t n;

	if (have == NULL)
		cli_die(EX_IOERR_, "out of memory");
	n = read_at(fd, file, have, names->len, 0);
	if (memcmp(have, names->p, n) != 0)
		cli_die(EX_DATAERR_, "%s: not a record of this version's "
		    "columns; begin another file", file);
	free(have);
}

/* Where the last line ends that is whole; below the names there is none. */
static off_t
whole_lines(int fd, const char *file, const struct text *names, off_t size)
{
	char buf[16384];
	off_t at = size;

	while (at > (off_t)names->len) {
		size_t n = sizeof(buf);

		if ((off_t)n > at)
			n = (size_t)at;
		n = read_at(fd, file, buf, n, at - (off_t)n);
		for (size_t i = n; i > 0; i--, at--)
			if (buf[i - 1] == '\n')
				return at;
	}
	return size < (off_t)names->len ? 0 : (off_t)names->len;
}

static void
write_record(int fd, const char *file, const struct text *t)
{
	size_t done = 0;

	while (done < t->len) {
		ssize_t n = write(fd, t->p + done, t->len - done);

		if (n < 0 && errno != EINTR)
			failed(file, "write");
		if (n > 0)
			done += (size_t)n;
	}
}

void
stat_record(const struct stat_sample *s, const char *file)
{
	struct text names = { NULL, 0, 0 }, line = { NULL, 0, 0 };
	int fd = open_record(file);
	off_t size = lseek(fd, 0, SEEK_END), whole;

	if (size < 0)
		failed(file, "append to");
	make_line(&names, s, 1);
	check_names(fd, file, &names);
	whole = whole_lines(fd, file, &names, size);
	if (whole < size && ftruncate(fd, whole) != 0)
		failed(file, "cut");
	if (whole == 0)
		add(&line, names.p);
	make_line(&line, s, 0);
	write_record(fd, file, &line);
	free(names.p);
	free(line.p);
	if (close(fd) != 0)	/* and with it the lock */
		failed(file, "close");
}

/* ---- reading ----------------------------------------------------------- */

/* The number of a column, or -1. */
static int
find_column(char *names, const char *key)
{
	char *save = NULL, *word;
	int n = 0;

	for (word = strtok_r(names, "\t\n", &save); word != NULL;
	    word = strtok_r(NULL, "\t\n", &save), n++)
		if (strcmp(word, key) == 0)
			return n;
	return -1;
}

/* Time, identity and the column of a line; 0 if it is not a whole one. */
static int
parse_line(char *line, int column, double *time, const char **id,
    double *value)
{
	char *save = NULL, *word, *end;

	if (strchr(line, '\n') == NULL)
		return 0;	/* it is just being written */
	if ((word = strtok_r(line, "\t\n", &save)) == NULL)
		return 0;
	*time = strtod(word, &end);
	if (*end != '\0' || (*id = strtok_r(NULL, "\t\n", &save)) == NULL)
		return 0;
	for (int i = 2; i <= column; i++)
		if ((word = strtok_r(NULL, "\t\n", &save)) == NULL)
			return 0;
	*value = strtod(word, &end);
	return *end == '\0';
}

static void
add_point(struct stat_point **points, size_t *n, double time, double value)
{
	/* Rooms of powers of two. */
	if ((*n & (*n - 1)) == 0 && (*points = realloc(*points,
	    (*n == 0 ? 1 : *n * 2) * sizeof(**points))) == NULL)
		cli_die(EX_IOERR_, "out of memory");
	(*points)[(*n)++] = (struct stat_point){ time, value };
}

/* Values to what they grew by a second; a value that fell began anew. */
static void
make_rates(struct stat_point *p, size_t *n)
{
	size_t out = 0;

	for (size_t i = 1; i < *n; i++) {
		double seconds = p[i].time - p[i - 1].time;
		double grown = p[i].value - p[i - 1].value;

		if (seconds <= 0)
			continue;
		if (grown < 0)
			grown = p[i].value;
		/* p[i - 1] is looked at no more. */
		p[out++] = (struct stat_point){ p[i].time, grown / seconds };
	}
	*n = out;
}

int
stat_record_read(const char *file, const char *id, const char *key,
    int is_rate, struct stat_point **points, size_t *n)
{
	FILE *f = fopen(file, "re");
	const char *whose;
	char *line = NULL;
	size_t room = 0;
	double time, value;
	int column = -1;

	*points = NULL;
	*n = 0;
	if (f == NULL)
		cli_die(EX_NOINPUT_, "%s: %s", file, strerror(errno));
	if (getline(&line, &room, f) > 0)
		column = find_column(line, key);
	while (column > 1 && getline(&line, &room, f) > 0)
		if (parse_line(line, column, &time, &whose, &value) &&
		    strcmp(whose, id) == 0)
			add_point(points, n, time, value);
	if (ferror(f))
		failed(file, "read");
	fclose(f);
	free(line);
	if (is_rate)
		make_rates(*points, n);
	return column > 1;
}
