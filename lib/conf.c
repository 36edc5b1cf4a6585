#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conf.h"
#include "env.h"
#include "file.h"
#include "hash.h"
#include "kevo.h"

/* How often the file is read again because it changed meanwhile. */
#define READ_TRIES	4

void
kv_conf_init(struct kv_conf *c)
{
	for (int i = 0; i < KV_SETTINGS; i++) {
		c->value[i] = kv_setting_row(i)->initial;
		c->line[i] = 0;
	}
	c->stamp = KV_CONF_UNKNOWN;
}

static uint64_t
stamp_of(const struct stat *st)
{
	uint64_t v[4] = {
		(uint64_t)st->st_ino, (uint64_t)st->st_size,
		(uint64_t)st->st_mtim.tv_sec, (uint64_t)st->st_mtim.tv_nsec
	};

	return kv_hash(v, sizeof(v), 0) | 1;
}

uint64_t
kv_conf_stamp(const struct kv_dir *dir)
{
	struct stat st;

	if (fstatat(dir->fd, KV_CONF_NAME, &st, 0) != 0)
		return errno == ENOENT ? KV_CONF_MISSING : KV_CONF_UNKNOWN;
	return stamp_of(&st);
}

/* ---- a line ------------------------------------------------------------ */

struct part {
	size_t off, len;
};

struct line {
	uint32_t number;
	struct part all;		/* with its newline */
	struct part name, value;	/* of a setting */
	int kind;			/* 0 nothing, 1 a setting, -1 neither */
};

static int
is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

static struct part
trimmed(const char *text, size_t from, size_t to)
{
	while (from < to && is_blank(text[from]))
		from++;
	while (to > from && is_blank(text[to - 1]))
		to--;
	return (struct part){ from, to - from };
}

/* Go to the next line: 0 at the end.  l->all is that of the one before, zero
 * at the start. */
static int
next_line(const char *text, size_t len, struct line *l)
{
	size_t from = l->all.off + l->all.len, end;
	const char *p;

	if (from >= len)
		return 0;
	p = memchr(text + from, '\n', len - from);
	end = p != NULL ? (size_t)(p - text) : len;
	l->number++;
	l->all = (struct part){ from, end - from + (p != NULL) };
	if ((p = memchr(text + from, '#', end - from)) != NULL)
		end = (size_t)(p - text);
	l->name = trimmed(text, from, end);
	l->kind = 0;
	if (l->name.len == 0)
		return 1;
	p = memchr(text + from, '=', end - from);
	l->kind = p != NULL ? 1 : -1;
	if (p != NULL) {
		l->name = trimmed(text, from, (size_t)(p - text));
		l->value = trimmed(text, (size_t)(p - text) + 1, end);
	}
	return 1;
}

/* ---- what is wrong ----------------------------------------------------- */

/* "FILE:LINE: " or "setting " before the name of what is wrong. */
struct place {
	int status;
	const char *file;	/* NULL: not from a file */
	uint32_t line;
};

#define SHOWN	60		/* bytes of a word in a message */

static int
show(size_t len)
{
	return len > SHOWN ? SHOWN : (int)len;
}

static int __attribute__((format(printf, 3, 4)))
wrong(struct kv_env *env, const struct place *at, const char *fmt, ...)
{
	char why[400];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, sizeof(why), fmt, ap);
	va_end(ap);
	if (at->file == NULL)
		return kv_fail(env, at->status, "setting %s", why);
	if (at->line == 0)
		return kv_fail(env, at->status, "%s: %s", at->file, why);
	return kv_fail(env, at->status, "%s:%" PRIu32 ": %s", at->file,
	    at->line, why);
}

static int
out_of_range(struct kv_env *env, const struct place *at, int s,
    const char *text, size_t len)
{
	static const char *const is_not[] = {
		"is not a size from", "is not a number from",
		"is not a time from", "is not", "is not a list of"
	};
	const struct kv_setting_row *r = kv_setting_row(s);

	return wrong(env, at, "%s: %.*s%s %s %s", r->name, show(len), text,
	    len == 0 ? "nothing" : "", is_not[r->kind], r->range);
}

/* Take one name and value into c. */
static int
take(struct kv_env *env, const struct place *at, const char *name,
    size_t name_len, const char *value, size_t len, struct kv_conf *c)
{
	int s = kv_setting_find(name, name_len);

	if (s < 0)
		return wrong(env, at, "%.*s: no such setting",
		    show(name_len), name);
	if (c->line[s] != 0 && at->file != NULL)
		return wrong(env, at, "%.*s: set twice; it is in line %"
		    PRIu32 ", too", (int)name_len, name, c->line[s]);
	if (kv_setting_parse(s, value, len, &c->value[s]) != 0)
		return out_of_range(env, at, s, value, len);
	c->line[s] = at->line;
	return 0;
}

/* What two settings say together. */
static int
check(struct kv_env *env, struct place *at, const struct kv_conf *c)
{
	const int low = KV_SET_MEMTABLES, high = KV_SET_STALL_SEGMENTS;

	if (c->value[high] >= c->value[low])
		return 0;
	at->line = c->line[c->line[high] != 0 ? high : low];
	return wrong(env, at, "%s: %" PRIu64 " is below %s, which is %" PRIu64,
	    kv_setting_row(high)->name, c->value[high],
	    kv_setting_row(low)->name, c->value[low]);
}

int
kv_conf_check(struct kv_env *env, const struct kv_conf *c)
{
	struct place at = { KEVO_EINVAL, NULL, 0 };

	return check(env, &at, c);
}

static int
parse(struct kv_env *env, const char *file, const char *text, size_t len,
    struct kv_conf *c)
{
	struct place at = { KEVO_ECONFIG, file, 0 };
	struct line l = { .number = 0 };
	int rc;

	while (next_line(text, len, &l)) {
		at.line = l.number;
		if (l.kind < 0)
			return wrong(env, &at, "%.*s: NAME = VALUE expected",
			    show(l.name.len), text + l.name.off);
		if (l.kind > 0 && (rc = take(env, &at, text + l.name.off,
		    l.name.len, text + l.value.off, l.value.len, c)) != 0)
			return rc;
	}
	return check(env, &at, c);
}

/* ---- reading ----------------------------------------------------------- */

/* The file as it is: *text is NULL if it is missing. */
static int
load(struct kv_env *env, const struct kv_dir *dir, char **text, size_t *len,
    uint64_t *stamp)
{
	int rc = 0;

	*text = NULL;
	*len = 0;
	for (int i = 0; i < READ_TRIES; i++) {
		*stamp = kv_conf_stamp(dir);
		if (*stamp == KV_CONF_MISSING)
			return 0;
		rc = kv_read_small(env, dir, KV_CONF_NAME, KV_CONF_MAX, text,
		    len);
		if (kv_conf_stamp(dir) == *stamp)
			break;
		/* Somebody is at it; an editor may write in place. */
		if (rc == 0)
			free(*text);
		*text = NULL;
		rc = KEVO_ECORRUPT;
	}
	if (rc == KEVO_ENOTDB)
		return kv_fail(env, KEVO_ECONFIG, "%s: larger than %d bytes",
		    kv_path(dir, KV_CONF_NAME), KV_CONF_MAX);
	if (rc == KEVO_ECORRUPT)
		return kv_fail(env, KEVO_ECONFIG, "%s: changes all the time",
		    kv_path(dir, KV_CONF_NAME));
	return rc;
}

int
kv_conf_read(struct kv_env *env, const struct kv_dir *dir,
    struct kv_conf *out)
{
	char *text;
	size_t len;
	int rc;

	kv_conf_init(out);
	if ((rc = load(env, dir, &text, &len, &out->stamp)) != 0)
		return rc;
	rc = parse(env, kv_path(dir, KV_CONF_NAME), text, len, out);
	free(text);
	return rc;
}

/* ---- changes ----------------------------------------------------------- */

struct change {
	const char *name, *value;	/* value NULL: the default */
	size_t name_len, len;
};

static void
split(const char *s, struct change *c)
{
	c->name = s;
	c->name_len = strcspn(s, "=");
	c->value = s + c->name_len + (s[c->name_len] == '=');
	c->len = strlen(c->value);
	if (strcmp(c->value, "default") == 0)
		c->value = NULL;
}

int
kv_conf_apply(struct kv_env *env, const char *const *changes,
    struct kv_conf *conf)
{
	const struct place at = { KEVO_EINVAL, NULL, 0 };
	struct change c;
	int s, rc;

	for (; changes != NULL && *changes != NULL; changes++) {
		split(*changes, &c);
		s = kv_setting_find(c.name, c.name_len);
		if (strchr(*changes, '=') == NULL)
			return wrong(env, &at, "%.*s: NAME=VALUE expected",
			    show(c.name_len), c.name);
		if (s >= 0 && c.value == NULL)
			conf->value[s] = kv_setting_row(s)->initial;
		else if ((rc = take(env, &at, c.name, c.name_len,
		    c.value != NULL ? c.value : "", c.len, conf)) != 0)
			return rc;
	}
	return 0;
}

/* A text that is edited. */
struct text {
	char *p;
	size_t len;
	int failed;		/* out of memory */
};

static void
replace(struct text *t, size_t off, size_t old, const char *s, size_t len)
{
	char *p = t->p;

	if (t->failed)
		return;
	if (len > old && (p = realloc(p, t->len + len - old + 1)) == NULL) {
		t->failed = 1;
		return;
	}
	t->p = p;
	memmove(p + off + len, p + off + old, t->len - off - old);
	memcpy(p + off, s, len);
	t->len = t->len + len - old;
}

static void
append(struct text *t, const char *s, size_t len)
{
	replace(t, t->len, 0, s, len);
}

static int
is_of(const struct text *t, const struct line *l, const struct change *c)
{
	return l->kind == 1 && l->name.len == c->name_len &&
	    memcmp(t->p + l->name.off, c->name, c->name_len) == 0;
}

/* The value in its line is replaced; a second line of the same name, which
 * is an error, goes. */
static void
edit(struct text *t, const struct change *c)
{
	struct line l = { .number = 0 };
	int found = 0;

	while (!t->failed && next_line(t->p, t->len, &l)) {
		if (!is_of(t, &l, c))
			continue;
		if (c->value == NULL || found) {
			replace(t, l.all.off, l.all.len, "", 0);
			l.all.len = 0;
		} else {
			replace(t, l.value.off, l.value.len, c->value, c->len);
			l.all.len = l.all.len + c->len - l.value.len;
			found = 1;
		}
	}
	if (c->value == NULL || found)
		return;
	if (t->len > 0 && !t->failed && t->p[t->len - 1] != '\n')
		append(t, "\n", 1);
	append(t, c->name, c->name_len);
	append(t, " = ", 3);
	append(t, c->value, c->len);
	append(t, "\n", 1);
}

/* ---- writing ----------------------------------------------------------- */

static int
write_file(struct kv_env *env, const struct kv_dir *dir, uint32_t mode,
    const struct text *t, uint64_t *stamp)
{
	const char *name = kv_path(dir, KV_CONF_TMP);
	struct stat st;
	int fd, rc;

	unlinkat(dir->fd, KV_CONF_TMP, 0);
	fd = kv_openat(dir->fd, KV_CONF_TMP, O_WRONLY | O_CREAT | O_EXCL,
	    0666);
	if (fd < 0)
		return kv_fail_errno(env, name, "create");
	rc = kv_pwrite(env, fd, name, t->p, t->len, 0);
	if (rc == 0 && (kv_give(dir, fd, mode) != 0 || fsync(fd) != 0 ||
	    fstat(fd, &st) != 0))
		rc = kv_fail_errno(env, name, "write");
	close(fd);
	if (rc == 0 && renameat(dir->fd, KV_CONF_TMP, dir->fd, KV_CONF_NAME)
	    != 0)
		rc = kv_fail_errno(env, kv_path(dir, KV_CONF_NAME),
		    "put in place");
	if (rc != 0) {
		unlinkat(dir->fd, KV_CONF_TMP, 0);
		return rc;
	}
	*stamp = stamp_of(&st);
	return kv_sync_dir(env, dir, ".");
}

int
kv_conf_change(struct kv_env *env, const struct kv_dir *dir, uint32_t mode,
    const char *const *changes, struct kv_conf *out)
{
	static const char head[] =
	    "# Settings of this database.  kevo.conf(5) tells what they are,\n"
	    "# and kevo-config(1) changes them and looks for mistakes.\n";
	struct text t = { NULL, 0, 0 };
	struct change c;
	int rc;

	kv_conf_init(out);
	if ((rc = load(env, dir, &t.p, &t.len, &out->stamp)) != 0)
		return rc;
	if (out->stamp == KV_CONF_MISSING)
		append(&t, head, sizeof(head) - 1);
	for (; !t.failed && *changes != NULL; changes++) {
		split(*changes, &c);
		edit(&t, &c);
	}
	if (t.failed)
		rc = kv_fail(env, KEVO_ENOMEM, "%s: out of memory",
		    kv_path(dir, KV_CONF_NAME));
	else if (t.len > KV_CONF_MAX)
		rc = kv_fail(env, KEVO_ECONFIG, "%s: larger than %d bytes",
		    kv_path(dir, KV_CONF_NAME), KV_CONF_MAX);
	else
		rc = parse(env, kv_path(dir, KV_CONF_NAME), t.p, t.len, out);
	if (rc == 0)
		rc = write_file(env, dir, mode, &t, &out->stamp);
	free(t.p);
	return rc;
}
