#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "coding.h"
#include "slots_dir.h"
#include "text.h"

#define SLOT_MAX	1024	/* bytes of a text file */

/* ---- names ------------------------------------------------------------- */

static int
is_name_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	    (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
}

int
kv_slots_name_ok(const char *name)
{
	size_t n = strlen(name);

	if (n == 0 || n > KV_SLOTS_NAME_MAX || *name == '.')
		return 0;
	while (is_name_char(*name))
		name++;
	return *name == '\0';
}

void
kv_slots_path(char buf[KV_SLOTS_PATH], const char *name, const char *file)
{
	snprintf(buf, KV_SLOTS_PATH, "slots/%.100s%s%.200s", name,
	    *file != '\0' ? "/" : "", file);
}

void
kv_ship_name(char buf[KV_SHIP_NAME_LEN], uint32_t epoch, uint64_t first,
    uint64_t last)
{
	snprintf(buf, KV_SHIP_NAME_LEN, "%08" PRIx32 "-%016" PRIx64 "-%016"
	    PRIx64 ".seg", epoch, first, last);
}

int
kv_ship_name_parse(const char *name, uint32_t *epoch, uint64_t *first,
    uint64_t *last)
{
	char again[KV_SHIP_NAME_LEN];
	uint64_t v[3] = { 0, 0, 0 };
	static const uint8_t width[3] = { 8, 16, 16 };
	const char *p = name;

	for (int i = 0; i < 3; i++, p++)
		for (int k = 0; k < width[i]; k++, p++) {
			int d = hex_digit_value(*p);

			if (d < 0)
				return 0;
			v[i] = v[i] << 4 | (uint64_t)d;
			if (k + 1 == width[i] && p[1] == '\0')
				return 0;
		}
	kv_ship_name(again, (uint32_t)v[0], v[1], v[2]);
	*epoch = (uint32_t)v[0];
	*first = v[1];
	*last = v[2];
	return strcmp(name, again) == 0 && *epoch != 0 && *first != 0 &&
	    *first <= *last;
}

/* ---- text files -------------------------------------------------------- */

static int
limit(const char *value, uint64_t *out)
{
	*out = KV_SLOTS_NO_LIMIT;
	return strcmp(value, "none") == 0 ? 0 : kv_text_decimal(value,
	    KV_SLOTS_NO_LIMIT - 1, out);
}

static int
take_line(const char *name, const char *value, struct kv_slots_note *n)
{
	if (strcmp(name, "confirmed") == 0)
		return kv_position_parse(value, &n->confirmed);
	if (strcmp(name, "max-bytes") == 0)
		return limit(value, &n->max_bytes);
	if (strcmp(name, "max-age") == 0)
		return limit(value, &n->max_age_s);
	if (strcmp(name, "on-limit") == 0) {
		n->stop_writes = strcmp(value, "stop-writes") == 0;
		return n->stop_writes || strcmp(value, "drop") == 0 ? 0 : -1;
	}
	if (strcmp(name, "announce") == 0) {
		if (strlen(value) >= sizeof(n->announce) ||
		    !kv_text_printable(value, 0))
			return -1;
		strcpy(n->announce, value);
		return 0;
	}
	if (strcmp(name, "contact") == 0)
		return kv_time_parse(value, &n->contact_ns);
	return 0;		/* a newer program's */
}

/* The number of a line that cannot be, or 0. */
static unsigned
parse(char *text, struct kv_slots_note *n)
{
	char *name, *value;
	unsigned line = 1;
	int r;

	if (kv_text_line(&text, &name, &value) != 1 ||
	    strcmp(name, "kevo-slot") != 0 || strcmp(value, "1") != 0)
		return line;
	while (line++, (r = kv_text_line(&text, &name, &value)) == 1)
		if (take_line(name, value, n) != 0)
			return line;
	return r == 0 ? 0 : line;
}

/* A text file of a slot, without a zero byte in it.  KEVO_NOTFOUND. */
static int
read_text(struct kv_env *env, const struct kv_dir *dir, const char *path,
    char **text)
{
	size_t len;
	int rc;

	rc = kv_read_small(env, dir, path, SLOT_MAX, text, &len);
	if (rc == KEVO_ENODB)
		return KEVO_NOTFOUND;
	if (rc == KEVO_ENOTDB)
		return kv_fail(env, KEVO_ECORRUPT, "%s: damaged: too large",
		    kv_path(dir, path));
	if (rc == 0 && strlen(*text) != len) {
		free(*text);
		rc = kv_fail(env, KEVO_ECORRUPT, "%s: damaged: no text",
		    kv_path(dir, path));
	}
	return rc;
}

static int
damaged(struct kv_env *env, const struct kv_dir *dir, const char *path,
    unsigned line)
{
	return kv_fail(env, KEVO_ECORRUPT, "%s:%u: damaged: no such line can "
	    "be in it", kv_path(dir, path), line);
}

int
kv_slots_read(struct kv_env *env, const struct kv_dir *dir, const char *name,
    struct kv_slots_note *out)
{
	char path[KV_SLOTS_PATH], *text;
	struct stat st;
	unsigned bad;
	int rc;

	memset(out, 0, sizeof(*out));
	out->max_bytes = out->max_age_s = KV_SLOTS_NO_LIMIT;
	kv_slots_path(path, name, "");
	if (fstatat(dir->fd, path, &st, 0) != 0 || !S_ISDIR(st.st_mode))
		return KEVO_NOTFOUND;
	kv_slots_path(path, name, "slot");
	rc = read_text(env, dir, path, &text);
	if (rc != 0)
		return rc == KEVO_NOTFOUND ? 0 : rc;
	bad = parse(text, out);
	free(text);
	return bad == 0 ? 0 : damaged(env, dir, path, bad);
}

/* Under a name of its own first: several may do so at once. */
static int
replace(struct kevo *db, const char *name, const char *file,
    const char *text, size_t len)
{
	char sub[KV_SLOTS_PATH], path[KV_SLOTS_PATH], tmp[KV_SLOTS_PATH];
	char unique[32];
	uint64_t random;

	if (kv_random(&random, sizeof(random)) != 0)
		return kv_fail_errno(&db->env, "random numbers", "get");
	kv_name(unique, "tmp.", random, "");
	kv_slots_path(sub, name, "");
	kv_slots_path(path, name, file);
	kv_slots_path(tmp, name, unique);
	return kv_text_replace(&db->env, &db->dir, sub, path, tmp,
	    db->ctl->mode, text, len);
}

static size_t
put_limit(char *text, size_t room, const char *name, uint64_t v)
{
	if (v == KV_SLOTS_NO_LIMIT)
		return (size_t)snprintf(text, room, "%s none\n", name);
	return (size_t)snprintf(text, room, "%s %" PRIu64 "\n", name, v);
}

int
kv_slots_write(struct kevo *db, const char *name,
    const struct kv_slots_note *note)
{
	char text[SLOT_MAX], at[KV_POSITION_LEN], when[KV_TIME_LEN];
	size_t n, room = sizeof(text);

	kv_position_print(at, &note->confirmed);
	n = (size_t)snprintf(text, room, "kevo-slot 1\nconfirmed %s\n", at);
	n += put_limit(text + n, room - n, "max-bytes", note->max_bytes);
	n += put_limit(text + n, room - n, "max-age", note->max_age_s);
	n += (size_t)snprintf(text + n, room - n, "on-limit %s\n",
	    note->stop_writes ? "stop-writes" : "drop");
	if (note->announce[0] != '\0')
		n += (size_t)snprintf(text + n, room - n, "announce %s\n",
		    note->announce);
	if (note->contact_ns != 0) {
		kv_time_print(when, note->contact_ns);
		n += (size_t)snprintf(text + n, room - n, "contact %s\n",
		    when);
	}
	return replace(db, name, "slot", text, n);
}

int
kv_slots_read_lost(struct kv_env *env, const struct kv_dir *dir,
    const char *name, uint64_t *first, uint64_t *last, uint64_t *time_ns)
{
	static const char *const want[] = { "first", "last", "time" };
	uint64_t *const to[] = { first, last, time_ns };
	char path[KV_SLOTS_PATH], *text, *at, *line, *value;
	unsigned i = 0;
	int rc, bad;

	kv_slots_path(path, name, "lost");
	if ((rc = read_text(env, dir, path, &text)) != 0)
		return rc;
	at = text;
	bad = kv_text_line(&at, &line, &value) != 1 ||
	    strcmp(line, "kevo-lost") != 0 || strcmp(value, "1") != 0;
	for (; !bad && i < 3; i++)
		bad = kv_text_line(&at, &line, &value) != 1 ||
		    strcmp(line, want[i]) != 0 || (i < 2 ?
		    kv_text_decimal(value, UINT64_MAX, to[i]) :
		    kv_time_parse(value, to[i])) != 0;
	free(text);
	return bad ? damaged(env, dir, path, i + 1) : 0;
}

int
kv_slots_write_lost(struct kevo *db, const char *name, uint64_t first,
    uint64_t last)
{
	char text[SLOT_MAX], when[KV_TIME_LEN];
	int n;

	kv_time_print(when, kv_now_ns());
	n = snprintf(text, sizeof(text), "kevo-lost 1\nfirst %" PRIu64
	    "\nlast %" PRIu64 "\ntime %s\n", first, last, when);
	return replace(db, name, "lost", text, (size_t)n);
}
