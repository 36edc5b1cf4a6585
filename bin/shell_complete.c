/*
 * shell_complete: what may stand where the cursor is.
 *
 * Keys are looked for in the order they have, at most KEYS of them and not
 * longer than the eye would notice.  If there are more, the last of all is
 * looked up too: what the first and the last have in common, all have.
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "escape.h"
#include "shell.h"

enum { KEYS = 100, KEYS_NS = 50 * 1000 * 1000, WORDS = 5 };

/* The line up to the cursor: where its words begin; the last is the one
 * being typed, which may be empty. */
struct typed {
	const char *line;
	size_t end;
	size_t start[WORDS];
	size_t count;
};

static int
is_blank(char c)
{
	return c == ' ' || c == '\t';
}

/* The end of the word that begins at i. */
static size_t
word_end(const char *line, size_t i, size_t end)
{
	int quoted = i < end && line[i] == '"';

	if (!quoted) {
		while (i < end && !is_blank(line[i]))
			i++;
		return i;
	}
	for (i++; i < end && line[i] != '"'; i++)
		if (line[i] == '\\' && i + 1 < end)
			i++;
	return i < end ? i + 1 : end;
}

/* 0 if there are more words than any command has. */
static int
split(struct typed *t, const char *line, size_t cursor)
{
	size_t i = 0;

	t->line = line;
	t->end = cursor;
	t->count = 0;
	for (;;) {
		while (i < cursor && is_blank(line[i]))
			i++;
		if (t->count == WORDS)
			return 0;
		t->start[t->count++] = i;
		if (i == cursor || (i = word_end(line, i, cursor)) == cursor)
			return 1;
	}
}

static int
word_is(const struct typed *t, size_t i, const char *name)
{
	size_t from = t->start[i];
	size_t len = word_end(t->line, from, t->end) - from;

	return len == strlen(name) &&
	    strncasecmp(t->line + from, name, len) == 0;
}

/* ---- choices ----------------------------------------------------------- */

/* Takes the word. */
static void
add(struct shell_choices *c, char *word)
{
	char **p = realloc(c->word, (c->count + 1) * sizeof(*p));

	if (p == NULL || word == NULL)
		cli_die(EX_IOERR_, "out of memory");
	c->word = p;
	c->word[c->count++] = word;
}

/* Add name if it begins with the word being typed, in any case. */
static void
offer(struct shell_choices *c, const struct typed *t, const char *name)
{
	size_t len = t->end - c->start;

	if (strncasecmp(name, t->line + c->start, len) == 0)
		add(c, strdup(name));
}

static void
offer_commands(struct shell_choices *c, const struct typed *t,
    const struct shell_command *table)
{
	for (; table->name != NULL; table++)
		offer(c, t, table->name);
}

/* How much of a C string can be kept: not half of an escape. */
static size_t
whole_units(const char *s, size_t len)
{
	size_t i = 0, n;

	if (len == 0 || *s != '"') {
		for (; i < len; i += n)
			if ((n = utf8_len((const uint8_t *)s + i,
			    len - i)) == 0)
				break;
		return i;
	}
	for (i = 1; i < len; i += n) {
		if (s[i] == '\\')
			n = i + 1 < len && s[i + 1] == 'x' ? 4 : 2;
		else if ((n = utf8_len((const uint8_t *)s + i, len - i)) == 0)
			break;
		if (i + n > len)
			break;
	}
	return i;
}

static void
find_common(struct shell_choices *c)
{
	const char *first = c->count > 0 ? c->word[0] : "";
	size_t len = strlen(first), i, n;

	for (i = 1; i < c->count; i++) {
		for (n = 0; n < len && c->word[i][n] == first[n]; n++)
			;
		len = n;
	}
	if (c->count > 1)
		len = whole_units(first, len);
	c->common = strndup(first, len);
	c->whole = c->count == 1;
	if (c->common == NULL)
		cli_die(EX_IOERR_, "out of memory");
}

void
shell_choices_free(struct shell_choices *c)
{
	while (c->count > 0)
		free(c->word[--c->count]);
	free(c->word);
	free(c->common);
	memset(c, 0, sizeof(*c));
}

/* ---- keys -------------------------------------------------------------- */

/* Add keys of the range that is in sh->iter. */
static void
add_keys(struct shell *sh, struct shell_choices *c, int quoted)
{
	uint64_t start = shell_clock();
	struct kevo_record rec;
	size_t n;
	int rc;

	for (n = 0; n < KEYS && shell_clock() - start < KEYS_NS; n++) {
		if ((rc = kevo_iter_next(sh->iter, &rec)) != 0)
			return;
		add(c, shell_quote(rec.key, rec.klen, quoted));
	}
	if (kevo_iter_next(sh->iter, &rec) == 0 &&
	    kevo_iter_last(sh->iter, &rec) == 0) {
		add(c, shell_quote(rec.key, rec.klen, quoted));
		c->more = 1;
	}
}

static void
offer_keys(struct shell *sh, struct shell_choices *c, const struct typed *t)
{
	struct kevo_range range = { NULL, 0, NULL, 0 };
	const char *word = t->line + c->start, *why;
	size_t len = t->end - c->start, alen;
	int quoted = len > 0 && *word == '"';
	char *prefix;
	uint8_t *above;

	if (sh->db == NULL || len > KEVO_KEY_MAX ||
	    (prefix = malloc(2 * len + 2)) == NULL)
		return;
	if (quoted)
		shell_unquote(prefix, &len, word + 1, len - 1, &why);
	else if (len > 0)
		memcpy(prefix, word, len);
	above = (uint8_t *)prefix + len + 1;
	alen = len;
	if (len > 0) {
		memcpy(above, prefix, len);
		range.from = prefix;
		range.from_len = len;
		if (shell_above(above, &alen)) {
			range.to = above;
			range.to_len = alen;
		}
	}
	if (shell_iter(sh, &range) == 0)
		add_keys(sh, c, quoted);
	shell_iter_end(sh);
	free(prefix);
}

/* ---- files ------------------------------------------------------------- */

static int
compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* A name in a directory, as a word; a directory ends with a slash. */
static void
add_file(struct shell_choices *c, const char *dir, const char *name,
    int quoted)
{
	char path[4096 + 300];
	struct stat st;
	int n;

	n = snprintf(path, sizeof(path) - 1, "%s%s", dir, name);
	if (n < 0 || n >= (int)sizeof(path) - 1)
		return;
	if (stat(path, &st) == 0 && S_ISDIR(st.st_mode)) {
		path[n++] = '/';
		path[n] = '\0';
	}
	add(c, shell_quote(path, (size_t)n, quoted));
}

static void
offer_files(struct shell_choices *c, const struct typed *t)
{
	const char *word = t->line + c->start, *base, *why;
	size_t len = t->end - c->start;
	int quoted = len > 0 && *word == '"';
	char path[4096], dir[4096];
	struct dirent *e;
	DIR *d;

	if (len >= sizeof(path))
		return;
	if (quoted)
		shell_unquote(path, &len, word + 1, len - 1, &why);
	else
		memcpy(path, word, len);
	path[len] = '\0';
	base = strrchr(path, '/') != NULL ? strrchr(path, '/') + 1 : path;
	memcpy(dir, path, (size_t)(base - path));
	dir[base - path] = '\0';
	if ((d = opendir(dir[0] != '\0' ? dir : ".")) == NULL)
		return;
	while ((e = readdir(d)) != NULL)
		if (strncmp(e->d_name, base, strlen(base)) == 0 &&
		    (e->d_name[0] != '.' || *base == '.') &&
		    strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
			add_file(c, dir, e->d_name, quoted);
	closedir(d);
	if (c->count > 1)
		qsort(c->word, c->count, sizeof(*c->word), compare);
}

/* ---- what is asked for ------------------------------------------------- */

static void
offer_scan(struct shell *sh, struct shell_choices *c, const struct typed *t,
    size_t i)
{
	if (i == 1) {
		offer_keys(sh, c, t);
		if (t->end > c->start) {
			offer(c, t, "SUFFIX");
			offer(c, t, "RANGE");
			offer(c, t, "VALUE");
		}
	} else if (i <= 3 && word_is(t, 1, "RANGE")) {
		offer_keys(sh, c, t);
	}
}

static void
offer_operand(struct shell *sh, struct shell_choices *c,
    const struct typed *t, size_t i)
{
	if (word_is(t, 0, "SCAN")) {
		offer_scan(sh, c, t, i);
	} else if (i > 1) {
		return;
	} else if (word_is(t, 0, "PUT") || word_is(t, 0, "GET") ||
	    word_is(t, 0, "DELETE") || word_is(t, 0, "INCR") ||
	    word_is(t, 0, ".watch")) {
		offer_keys(sh, c, t);
	} else if (word_is(t, 0, "BEGIN")) {
		offer(c, t, "TRANSACTION");
		offer(c, t, "READONLY");
	} else if (word_is(t, 0, ".open") || word_is(t, 0, ".read") ||
	    word_is(t, 0, ".output") || word_is(t, 0, ".backup")) {
		offer_files(c, t);
	} else if (word_is(t, 0, ".check")) {
		offer(c, t, "fast");
	} else if (word_is(t, 0, ".compact")) {
		offer(c, t, "full");
	} else if (word_is(t, 0, ".timer")) {
		offer(c, t, "on");
		offer(c, t, "off");
	} else if (word_is(t, 0, ".help")) {
		offer_commands(c, t, shell_verbs);
		offer_commands(c, t, shell_dots);
	}
}

void
shell_complete(struct shell *sh, const char *line, size_t cursor,
    struct shell_choices *c)
{
	struct typed t;

	memset(c, 0, sizeof(*c));
	c->start = cursor;
	if (split(&t, line, cursor)) {
		c->start = t.start[t.count - 1];
		if (t.count > 1)
			offer_operand(sh, c, &t, t.count - 1);
		else if (c->start < cursor && line[c->start] == '.')
			offer_commands(c, &t, shell_dots);
		else
			offer_commands(c, &t, shell_verbs);
	}
	find_common(c);
}
