#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"

/* So many findings are told one by one. */
#define FOUND_MAX	10000

struct kv_finding {
	struct kevo_finding f;
	char file[128];		/* "slots/NAME/EPOCH-FIRST-LAST.seg" */
	char *what;
	char *lost;
	uint8_t *keys;
};

/* ---- sentences --------------------------------------------------------- */

const char *
kv_show_key(char buf[KV_SHOWN_KEY], const uint8_t *key, size_t klen)
{
	size_t n = 0, i;

	for (i = 0; i < klen && n + 8 < KV_SHOWN_KEY; i++) {
		if (key[i] > ' ' && key[i] < 0x7f && key[i] != '\\')
			buf[n++] = (char)key[i];
		else
			n += (size_t)snprintf(buf + n, 5, "\\x%02x", key[i]);
	}
	snprintf(buf + n, 4, "%s", i < klen ? "..." : "");
	return buf;
}

static size_t
say_commits(char *buf, size_t room, const struct kv_loss *l)
{
	unsigned long long first = l->first_commit, last = l->last_commit;
	int n;

	if (last == 0)
		n = snprintf(buf, room, "the commits from %llu on", first);
	else if (first == last)
		n = snprintf(buf, room, "commit %llu", first);
	else
		n = snprintf(buf, room, "the commits %llu to %llu", first,
		    last);
	return (size_t)n;
}

static size_t
say_records(char *buf, size_t room, const struct kv_loss *l)
{
	char from[KV_SHOWN_KEY], to[KV_SHOWN_KEY];
	size_t n = 0;

	if (l->records != 0)
		n = (size_t)snprintf(buf, room, "%llu record%s",
		    (unsigned long long)l->records,
		    l->records == 1 ? "" : "s");
	else
		n = (size_t)snprintf(buf, room, "records");
	if (l->from != NULL)
		n += (size_t)snprintf(buf + n, room - n, " with keys between "
		    "%s and %s", kv_show_key(from, l->from, l->from_len),
		    kv_show_key(to, l->to, l->to_len));
	return n;
}

static void
say_loss(char *buf, size_t room, const struct kv_loss *l)
{
	buf[0] = '\0';
	if (l == NULL)
		return;
	if (l->text != NULL)
		snprintf(buf, room, "%s", l->text);
	else if (l->records != 0 || l->from != NULL)
		say_records(buf, room, l);
	else if (l->first_commit != 0)
		say_commits(buf, room, l);
}

/* ---- the list ---------------------------------------------------------- */

static void
count(struct kv_check *ck, enum kevo_finding_kind kind)
{
	if (kind == KEVO_DAMAGE)
		ck->out->damages++;
	else if (kind == KEVO_WARNING)
		ck->out->warnings++;
	else
		ck->out->notes++;
}

static int
keep_keys(struct kv_finding *f, const struct kv_loss *l)
{
	if (l->from == NULL)
		return 0;
	f->keys = malloc(l->from_len + l->to_len + 1);
	if (f->keys == NULL)
		return -1;
	memcpy(f->keys, l->from, l->from_len);
	memcpy(f->keys + l->from_len, l->to, l->to_len);
	f->f.from = f->keys;
	f->f.from_len = l->from_len;
	f->f.to = f->keys + l->from_len;
	f->f.to_len = l->to_len;
	return 0;
}

static struct kv_finding *
new_finding(struct kv_check *ck)
{
	struct kv_findings *l = &ck->found;
	struct kv_finding *v;

	if (l->n == l->room) {
		size_t room = l->room != 0 ? 2 * l->room : 16;

		if ((v = realloc(l->v, room * sizeof(*v))) == NULL)
			return NULL;
		l->v = v;
		l->room = room;
	}
	v = &l->v[l->n];
	memset(v, 0, sizeof(*v));
	return v;
}

static int
add(struct kv_check *ck, enum kevo_finding_kind kind, const char *file,
    uint64_t off, uint64_t len, const struct kv_loss *loss, const char *what)
{
	struct kv_finding *f;
	char lost[400];

	if (ck->silent)
		return 0;
	count(ck, kind);
	if (ck->found.n >= FOUND_MAX)
		return 0;
	if ((f = new_finding(ck)) == NULL)
		goto no_memory;
	say_loss(lost, sizeof(lost), loss);
	f->what = strdup(what);
	f->lost = strdup(lost);
	if (f->what == NULL || f->lost == NULL ||
	    (loss != NULL && keep_keys(f, loss) != 0)) {
		free(f->what);
		free(f->lost);
		goto no_memory;
	}
	snprintf(f->file, sizeof(f->file), "%s", file);
	f->f.kind = kind;
	f->f.off = off;
	f->f.len = len;
	if (loss != NULL) {
		f->f.first_commit = loss->first_commit;
		f->f.last_commit = loss->last_commit;
		f->f.records = loss->records;
	}
	ck->found.n++;
	return 0;
no_memory:
	return kv_fail(&ck->db.env, KEVO_ENOMEM, "out of memory");
}

int
kv_found(struct kv_check *ck, enum kevo_finding_kind kind, const char *file,
    uint64_t off, uint64_t len, const struct kv_loss *loss, const char *fmt,
    ...)
{
	char what[400];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	return add(ck, kind, file, off, len, loss, what);
}

/* A place that the sentence names: "at byte N: WHY" or "WHY at byte N". */
static uint64_t
take_place(char *why)
{
	static const char at[] = "at byte ";
	char *p = strstr(why, at), *end;
	uint64_t off;

	if (p == NULL)
		return 0;
	off = strtoull(p + sizeof(at) - 1, &end, 10);
	if (p == why && *end == ':')
		memmove(why, end + 2, strlen(end + 2) + 1);
	else if (p > why && *end == '\0')
		p[-1] = '\0';
	return off;
}

const char *
kv_error_said(struct kv_check *ck, const char *file, char *buf, size_t room,
    uint64_t *off)
{
	static const char damaged[] = "damaged";
	const char *path = kv_path(&ck->db.dir, file);
	size_t n = strlen(path);
	char *p = buf;

	snprintf(buf, room, "%s", ck->db.env.msg);
	if (strncmp(p, path, n) == 0 && p[n] == ':' && p[n + 1] == ' ')
		p += n + 2;
	n = sizeof(damaged) - 1;
	if (strncmp(p, damaged, n) == 0 && (p[n] == ':' || p[n] == ' '))
		p += n + (p[n] == ':' ? 2 : 1);
	*off = take_place(p);
	return p;
}

int
kv_found_error(struct kv_check *ck, const char *file,
    const struct kv_loss *loss)
{
	char buf[sizeof(ck->db.env.msg)];
	const char *why;
	uint64_t off;

	why = kv_error_said(ck, file, buf, sizeof(buf), &off);
	return add(ck, KEVO_DAMAGE, file, off, 0, loss, why);
}

void
kv_findings_forget(struct kv_check *ck)
{
	for (size_t i = 0; i < ck->found.n; i++) {
		free(ck->found.v[i].what);
		free(ck->found.v[i].lost);
		free(ck->found.v[i].keys);
	}
	free(ck->found.v);
	memset(&ck->found, 0, sizeof(ck->found));
}

void
kv_findings_tell(struct kv_check *ck)
{
	const struct kevo_check *opt = ck->opt;

	if (opt->found == NULL)
		return;
	for (size_t i = 0; i < ck->found.n; i++) {
		struct kv_finding *v = &ck->found.v[i];

		v->f.file = v->file;
		v->f.what = v->what;
		v->f.lost = v->lost;
		if (opt->found(opt->arg, &v->f) != 0)
			break;
	}
}

/* ---- lists of numbers -------------------------------------------------- */

int
kv_list_add(struct kv_check *ck, struct kv_list *l, uint64_t v)
{
	size_t room = l->room != 0 ? 2 * l->room : 64;
	void *p;

	if (l->n == l->room) {
		if ((p = realloc(l->v, room * sizeof(l->v[0]))) == NULL)
			return kv_fail(&ck->db.env, KEVO_ENOMEM,
			    "out of memory");
		l->v = p;
		l->room = room;
	}
	l->v[l->n++] = v;
	return 0;
}

static int
by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

void
kv_list_sort(struct kv_list *l)
{
	if (l->n > 1)
		qsort(l->v, l->n, sizeof(l->v[0]), by_value);
}

int
kv_list_has(const struct kv_list *l, uint64_t v)
{
	return l->n > 0 && bsearch(&v, l->v, l->n, sizeof(l->v[0]),
	    by_value) != NULL;
}
