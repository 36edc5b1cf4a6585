#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"
#include "key.h"
#include "table.h"

/* ---- what is lost with it ---------------------------------------------- */

/* A run of bytes without records, and the records beside it. */
struct gap {
	uint64_t off, len;
	uint8_t *before, *behind;	/* keys; NULL: there is none */
	size_t before_len, behind_len;
};

#define GAPS_MAX	1000

struct census {
	struct kv_check *ck;
	uint64_t count;
	struct gap *gap;
	size_t n;
	int open;		/* nothing was read since the last gap */
	uint8_t *last;		/* key; KEVO_KEY_MAX bytes */
	size_t last_len;
};

static int
no_memory(struct kv_check *ck)
{
	return kv_fail(&ck->db.env, KEVO_ENOMEM, "out of memory");
}

static uint8_t *
copy(const uint8_t *p, size_t len)
{
	uint8_t *b = malloc(len + 1);

	if (b != NULL)
		memcpy(b, p, len);
	return b;
}

static int
count_record(void *arg, uint64_t seq, const struct kv_op *op)
{
	struct census *c = arg;

	(void)seq;
	if (c->open) {
		struct gap *g = &c->gap[c->n - 1];

		c->open = 0;
		g->behind_len = op->klen;
		if ((g->behind = copy(op->key, op->klen)) == NULL)
			return no_memory(c->ck);
	}
	memcpy(c->last, op->key, op->klen);
	c->last_len = op->klen;
	c->count++;
	return 0;
}

static int
note_gap(void *arg, uint64_t off, uint64_t len)
{
	struct census *c = arg;
	struct gap *g = &c->gap[c->n];

	if (c->n == GAPS_MAX) {
		c->gap[c->n - 1].len = 0;	/* to the end */
		return 0;
	}
	c->n++;
	c->open = 1;
	memset(g, 0, sizeof(*g));
	g->off = off;
	g->len = len;
	g->before_len = c->last_len;
	if (c->count > 0 && (g->before = copy(c->last, c->last_len)) == NULL)
		return no_memory(c->ck);
	return 0;
}

static int
begin_census(struct kv_check *ck, struct census *c)
{
	memset(c, 0, sizeof(*c));
	c->ck = ck;
	c->gap = calloc(GAPS_MAX, sizeof(c->gap[0]));
	c->last = malloc(KEVO_KEY_MAX);
	return c->gap == NULL || c->last == NULL ? no_memory(ck) : 0;
}

static void
end_census(struct census *c)
{
	for (size_t i = 0; i < c->n; i++) {
		free(c->gap[i].before);
		free(c->gap[i].behind);
	}
	free(c->gap);
	free(c->last);
}

/* t: what the version says of the table, NULL: nothing. */
static int
report_gap(struct kv_check *ck, const char *name,
    const struct kv_table_info *t, const struct gap *g, uint64_t records,
    const char *what)
{
	struct kv_loss loss = { .records = records };

	loss.from = g->before;
	loss.from_len = g->before_len;
	loss.to = g->behind;
	loss.to_len = g->behind_len;
	if (loss.from == NULL && t != NULL) {
		loss.from = t->first;
		loss.from_len = t->first_len;
	}
	if (loss.to == NULL && t != NULL) {
		loss.to = t->last;
		loss.to_len = t->last_len;
	}
	if (loss.from == NULL || loss.to == NULL)
		loss.from = loss.to = NULL;
	return kv_found(ck, KEVO_DAMAGE, name, g->off, g->len, &loss, "%s",
	    what);
}

/*
 * The gaps of a table from which `lost` records are missing (0: nobody knows
 * how many there were).  What env says belongs to one of them, or to none.
 */
static int
report_gaps(struct kv_check *ck, const char *name,
    const struct kv_table_info *t, const struct census *c, uint64_t lost)
{
	static const struct gap all;
	char buf[sizeof(ck->db.env.msg)];
	const char *said, *what;
	uint64_t off;
	int rc = 0, told = 0;

	said = kv_error_said(ck, name, buf, sizeof(buf), &off);
	for (size_t i = 0; i < c->n && rc == 0; i++) {
		const struct gap *g = &c->gap[i];

		what = "no sound block";
		if (!told && off >= g->off && (off - g->off < g->len ||
		    g->len == 0)) {
			what = said;
			told = 1;
		}
		rc = report_gap(ck, name, t, g, c->n == 1 ? lost : 0, what);
	}
	if (rc == 0 && !told && c->n > 0)
		rc = kv_found(ck, KEVO_DAMAGE, name, off, 0, NULL, "%s",
		    said);
	if (rc == 0 && c->n == 0)
		rc = report_gap(ck, name, t, &all, lost, said);
	return rc;
}

/* What a table that was cut had behind the place is lost, too. */
static int
note_cut(struct kv_check *ck, const char *name,
    const struct kv_table_info *t, struct census *c)
{
	struct stat st;

	if (fstatat(ck->db.dir.fd, name, &st, 0) != 0 ||
	    (uint64_t)st.st_size >= t->size)
		return 0;
	return note_gap(c, (uint64_t)st.st_size, 0);
}

/*
 * Tell what of the table can still be read; env says what is wrong with it.
 */
static int
report_damage(struct kv_check *ck, uint64_t number,
    const struct kv_table_info *t)
{
	struct kv_table_salvage to = { count_record, note_gap, NULL };
	static const struct kv_loss nothing = { .text = "nothing: all its "
	    "records can be read" };
	struct kv_env said = ck->db.env;
	char name[KV_TABLE_NAME_LEN];
	struct census c;
	uint64_t lost;
	int rc;

	kv_table_name(name, number);
	to.arg = &c;
	if ((rc = begin_census(ck, &c)) != 0 ||
	    (rc = kv_check_give(ck, number, &to)) != 0)
		goto out;
	ck->db.env = said;
	ck->out->records += ck->silent ? 0 : c.count;
	lost = t != NULL && t->count > c.count ? t->count - c.count : 0;
	if (lost > 0 && !c.open && (rc = note_cut(ck, name, t, &c)) != 0)
		goto out;
	if (t != NULL && lost == 0)
		rc = kv_found_error(ck, name, &nothing);
	else
		rc = report_gaps(ck, name, t, &c, lost);
out:
	end_census(&c);
	return rc;
}

/* ---- reading ----------------------------------------------------------- */

static int
open_file(struct kv_check *ck, const char *name, int *fd, uint64_t *size)
{
	const char *full = kv_path(&ck->db.dir, name);
	int rc;

	*fd = kv_openat(ck->db.dir.fd, name, O_RDONLY, 0);
	if (*fd < 0 && errno == ENOENT)
		return KEVO_NOTFOUND;
	if (*fd < 0)
		return kv_fail_errno(&ck->db.env, full, "open");
	rc = kv_file_stat(&ck->db.env, *fd, full, size, NULL, NULL);
	if (rc != 0)
		close(*fd);
	return rc;
}

int
kv_check_give(struct kv_check *ck, uint64_t number,
    const struct kv_table_salvage *to)
{
	char name[KV_TABLE_NAME_LEN];
	uint64_t size;
	uint8_t *b;
	int fd, bad, rc, silent = ck->silent;

	kv_table_name(name, number);
	if ((rc = open_file(ck, name, &fd, &size)) != 0)
		return rc == KEVO_NOTFOUND ? 0 : rc;
	b = kv_map_anon((size_t)size + KV_TABLE_SPARE);
	if (b == NULL) {
		close(fd);
		return no_memory(ck);
	}
	ck->silent = 1;		/* it was reported when it was read before */
	rc = kv_check_read(ck, fd, name, size, b, &bad);
	ck->silent = silent;
	if (rc == 0)
		rc = kv_table_salvage(&ck->db.env, b, size, number,
		    ck->ident.id, to);
	kv_unmap(b, (size_t)size + KV_TABLE_SPARE);
	close(fd);
	return rc;
}

/* ---- a table ----------------------------------------------------------- */

static int
same_key(const uint8_t *a, size_t alen, const uint8_t *b, size_t blen)
{
	return alen == blen && memcmp(a, b, alen) == 0;
}

/* What the version says and what the table says of itself. */
static int
agrees(const struct kv_table_info *v, const struct kv_table_info *t)
{
	return v->number == t->number && v->size == t->size &&
	    v->count == t->count && v->deletes == t->deletes &&
	    v->expiring == t->expiring && v->raw_bytes == t->raw_bytes &&
	    v->min_seq == t->min_seq && v->max_seq == t->max_seq &&
	    same_key(v->first, v->first_len, t->first, t->first_len) &&
	    same_key(v->last, v->last_len, t->last, t->last_len);
}

/* Through its own structures; the file has been read, so that nothing of its
 * map is unreadable. */
static int
verify(struct kv_check *ck, uint64_t number, const struct kv_table_info *t)
{
	struct kv_env *env = &ck->db.env;
	struct kv_table_info own;
	struct kv_table *table;
	int rc;

	rc = kv_table_open(env, &ck->db.dir, number, t != NULL ? t->size : 0,
	    t != NULL ? t->hash : 0, &table);
	if (rc != 0)
		return rc;
	rc = kv_table_info(env, table, &own);
	if (rc == 0 && t != NULL && !agrees(t, &own))
		rc = kv_fail(env, KEVO_ECORRUPT, "its end is not what the "
		    "version says");
	if (rc == 0 && !ck->fast)
		rc = kv_table_verify(env, table);
	if (rc == 0 && !ck->silent && !ck->fast)
		ck->out->records += own.count;
	if (rc == 0 && own.max_seq > ck->last_seq)
		ck->last_seq = own.max_seq;
	kv_table_unref(table);
	return rc;
}

static int
report_missing(struct kv_check *ck, const char *name,
    const struct kv_table_info *t)
{
	struct kv_loss loss = { .records = t->count, .from = t->first,
		.from_len = t->first_len, .to = t->last,
		.to_len = t->last_len };

	if (kv_check_moved(ck))
		return KV_RETRY;
	return kv_found(ck, KEVO_DAMAGE, name, 0, 0, &loss, "missing");
}

/* t NULL: no version says anything of it. */
static int
check_table(struct kv_check *ck, uint64_t number,
    const struct kv_table_info *t, enum kv_file_state *state)
{
	char name[KV_TABLE_NAME_LEN];
	uint64_t size;
	int fd, bad = 0, rc;

	*state = KV_FILE_SOUND;
	kv_table_name(name, number);
	rc = open_file(ck, name, &fd, &size);
	if (rc == 0) {
		if (!ck->silent)
			ck->out->files++;
		if (!ck->fast)
			rc = kv_check_read(ck, fd, name, size, NULL, &bad);
		close(fd);
	}
	if (rc == 0 && bad)
		rc = kv_fail(&ck->db.env, KEVO_ECORRUPT, "not all of it can be "
		    "read");
	else if (rc == 0)
		rc = verify(ck, number, t);
	if (rc == KEVO_NOTFOUND) {
		*state = KV_FILE_MISSING;
		return t != NULL ? report_missing(ck, name, t) : 0;
	}
	if (rc != KEVO_ECORRUPT)
		return rc;
	if (t != NULL && kv_check_moved(ck) && faccessat(ck->db.dir.fd, name,
	    F_OK, 0) != 0)
		return KV_RETRY;
	*state = KV_FILE_DAMAGED;
	rc = kv_list_add(ck, &ck->bad_tables, number);
	return rc != 0 ? rc : report_damage(ck, number, t);
}

/* ---- all of them ------------------------------------------------------- */

static int
check_all_there_are(struct kv_check *ck)
{
	enum kv_file_state state;
	int rc;

	for (size_t i = 0; i < ck->tables.n; i++) {
		rc = check_table(ck, ck->tables.v[i], NULL, &state);
		if (rc != 0)
			return rc;
	}
	return 0;
}

int
kv_check_tables(struct kv_check *ck)
{
	const struct kv_version *v = ck->version;
	int rc = 0;

	ck->bad_tables.n = 0;
	if (ck->base == KV_BASE_NONE)
		rc = check_all_there_are(ck);
	else
		for (uint32_t i = 0; i < v->ntables && rc == 0; i++)
			rc = check_table(ck, v->table[i].info.number,
			    &v->table[i].info, &ck->state[i]);
	kv_list_sort(&ck->bad_tables);
	return rc;
}
