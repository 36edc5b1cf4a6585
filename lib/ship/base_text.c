#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../epoch.h"
#include "../file.h"
#include "../kevo.h"
#include "../text.h"
#include "base.h"

/*
 * A text is a name and a value in each line, in a fixed order.  What is read
 * is written again and compared: so there is one spelling of everything, and
 * a reader need not be more careful than sscanf() is.
 */

/* ---- KEVO-BASE --------------------------------------------------------- */

static size_t
add_sum(char buf[KV_BASE_TEXT_MAX], size_t n)
{
	char sum[KV_HASH128_TEXT];

	kv_hash128_of(buf, n, sum);
	return n + (size_t)snprintf(buf + n, KV_BASE_TEXT_MAX - n,
	    "xxh128 %s\n", sum);
}

size_t
kv_base_print(char buf[KV_BASE_TEXT_MAX], const struct kv_base *b)
{
	char id[37], start[KV_POSITION_LEN], end[KV_POSITION_LEN];
	char parent[KV_POSITION_LEN] = "none", when[KV_TIME_LEN];
	int n;

	kv_id_print(id, b->db);
	kv_position_print(start, &b->start);
	kv_position_print(end, &b->end);
	if (b->has_parent)
		kv_position_print(parent, &b->parent);
	kv_time_print(when, b->time_ns);
	n = snprintf(buf, KV_BASE_TEXT_MAX, "kevo-base 1\ndb %s\nmode %04o\n"
	    "start %s\nend %s\ntime %s\nparent %s\nversion %" PRIu64
	    "\nsegments %" PRIu64 " %" PRIu64 "\nfiles %" PRIu64 "\nbytes %"
	    PRIu64 "\n", id, b->mode, start, end, when, parent, b->version,
	    b->first_segment, b->last_segment, b->files, b->bytes);
	return add_sum(buf, (size_t)n);
}

struct words {
	char id[37], start[KV_POSITION_LEN], end[KV_POSITION_LEN];
	char parent[KV_POSITION_LEN], when[KV_TIME_LEN];
};

static int
parse_words(const struct words *w, struct kv_base *b)
{
	if (kv_id_parse(w->id, b->db) != 0 ||
	    kv_position_parse(w->start, &b->start) != 0 ||
	    kv_position_parse(w->end, &b->end) != 0 ||
	    kv_time_parse(w->when, &b->time_ns) != 0)
		return -1;
	b->has_parent = strcmp(w->parent, "none") != 0;
	return b->has_parent ? kv_position_parse(w->parent, &b->parent) : 0;
}

static int
is_possible(const struct kv_base *b)
{
	return b->mode <= 0666 && b->start.seq <= b->end.seq &&
	    b->first_segment > 0 && b->first_segment <= b->last_segment &&
	    b->last_segment - b->first_segment < b->files &&
	    b->files < (uint64_t)1 << 32 && b->bytes < (uint64_t)1 << 60 &&
	    (!b->has_parent || b->parent.seq <= b->end.seq) &&
	    (b->has_parent || b->version > 0 || b->start.seq == 0);
}

int
kv_base_parse(const char *text, size_t len, struct kv_base *b)
{
	char again[KV_BASE_TEXT_MAX], copy[KV_BASE_TEXT_MAX];
	struct words w;

	if (len >= sizeof(copy) || memchr(text, '\0', len) != NULL)
		return -1;
	memcpy(copy, text, len);
	copy[len] = '\0';
	memset(b, 0, sizeof(*b));
	if (sscanf(copy, "kevo-base 1\ndb %36s\nmode %" SCNo32 "\nstart %71s\n"
	    "end %71s\ntime %31s\nparent %71s\nversion %" SCNu64 "\nsegments %"
	    SCNu64 " %" SCNu64 "\nfiles %" SCNu64 "\nbytes %" SCNu64 "\n",
	    w.id, &b->mode, w.start, w.end, w.when, w.parent, &b->version,
	    &b->first_segment, &b->last_segment, &b->files, &b->bytes) != 11 ||
	    parse_words(&w, b) != 0 || !is_possible(b))
		return -1;
	return kv_base_print(again, b) == len && memcmp(again, text,
	    len) == 0 ? 0 : -1;
}

/* ---- END --------------------------------------------------------------- */

size_t
kv_base_end_print(char buf[KV_BASE_TEXT_MAX], const struct kv_base_end *e)
{
	int n = snprintf(buf, KV_BASE_TEXT_MAX, "kevo-end 1\nsums %s\nfiles %"
	    PRIu64 "\nbytes %" PRIu64 "\n", e->sums, e->files, e->bytes);

	return add_sum(buf, (size_t)n);
}

int
kv_base_end_parse(const char *text, size_t len, struct kv_base_end *e)
{
	char again[KV_BASE_TEXT_MAX], copy[KV_BASE_TEXT_MAX];

	if (len >= sizeof(copy) || memchr(text, '\0', len) != NULL)
		return -1;
	memcpy(copy, text, len);
	copy[len] = '\0';
	if (sscanf(copy, "kevo-end 1\nsums %32s\nfiles %" SCNu64 "\nbytes %"
	    SCNu64 "\n", e->sums, &e->files, &e->bytes) != 3)
		return -1;
	return kv_base_end_print(again, e) == len && memcmp(again, text,
	    len) == 0 ? 0 : -1;
}

/* ---- names ------------------------------------------------------------- */

static const struct {
	const char *before, *after;	/* after NULL: no number in it */
} names[] = {
	[KV_BASE_HEAD] = { "KEVO-BASE", NULL },
	[KV_BASE_EPOCH] = { "epochs/", ".epoch" },
	[KV_BASE_LOCK] = { "LOCK", NULL },
	[KV_BASE_PINS] = { "PINS", NULL },
	[KV_BASE_CONF] = { "kevo.conf", NULL },
	[KV_BASE_VERSION] = { "version/", "" },
	[KV_BASE_TABLE] = { "table/", ".sst" },
	[KV_BASE_SEGMENT] = { "wal/", ".seg" },
	[KV_BASE_FORMAT] = { "FORMAT", NULL },
	[KV_BASE_SUMS] = { "SUMS", NULL },
	[KV_BASE_END] = { "END", NULL }
};

void
kv_base_name(char buf[KV_BASE_NAME_LEN], const struct kv_base_member *m)
{
	char *p = stpcpy(buf, names[m->kind].before);

	if (m->kind == KV_BASE_EPOCH)
		kv_epoch_name(p, (uint32_t)m->number);
	else if (names[m->kind].after != NULL)
		kv_name(p, "", m->number, names[m->kind].after);
}

static int
parse_number(const char *rest, enum kv_base_kind kind, uint64_t *number)
{
	uint32_t epoch;

	if (kind != KV_BASE_EPOCH)
		return kv_name_number(rest, names[kind].after, number);
	if (!kv_epoch_name_number(rest, &epoch))
		return 0;
	*number = epoch;
	return 1;
}

int
kv_base_name_parse(const char *name, struct kv_base_member *m)
{
	for (unsigned k = 0; k < sizeof(names) / sizeof(names[0]); k++) {
		size_t n = strlen(names[k].before);

		if (strncmp(name, names[k].before, n) != 0)
			continue;
		m->kind = (enum kv_base_kind)k;
		m->number = 0;
		if (names[k].after == NULL ? name[n] == '\0' :
		    parse_number(name + n, m->kind, &m->number))
			return 0;
	}
	return -1;
}

/* ---- SUMS -------------------------------------------------------------- */

int
kv_base_sums_add(struct kv_base_sums *s, const struct kv_base_member *m,
    const struct kv_hash128 *bytes)
{
	size_t room = s->room != 0 ? 2 * s->room : 4096;
	char name[KV_BASE_NAME_LEN], sum[KV_HASH128_TEXT], *p;

	if (s->room - s->len < KV_HASH128_TEXT + KV_BASE_NAME_LEN + 4) {
		if ((p = realloc(s->text, room)) == NULL)
			return -1;
		s->text = p;
		s->room = room;
	}
	kv_base_name(name, m);
	kv_hash128_text(bytes, sum);
	s->len += (size_t)sprintf(s->text + s->len, "%s  %s\n", sum, name);
	return 0;
}

/* ---- the directory ----------------------------------------------------- */

static int
is_plain(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	    (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
}

void
kv_base_dir_name(char buf[KV_BASE_DIR_LEN], const char *path)
{
	char *real = realpath(path, NULL);
	const char *s = real != NULL ? real : path, *slash = strrchr(s, '/');
	size_t n;

	if (slash != NULL)
		s = slash + 1;
	n = strnlen(s, KV_BASE_DIR_LEN - 1);
	if (n > 3 && strcmp(s + n - 3, ".kv") == 0)
		n -= 3;
	for (size_t i = 0; i < n; i++)
		buf[i] = (char)(is_plain(s[i]) ? s[i] : '_');
	buf[n] = '\0';
	if (n == 0 || buf[0] == '.' || buf[0] == '-')
		memcpy(buf, "data", 5);
	free(real);
}
