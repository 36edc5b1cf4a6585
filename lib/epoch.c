#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "coding.h"
#include "env.h"
#include "epoch.h"
#include "file.h"
#include "hash.h"
#include "ident.h"
#include "kevo.h"
#include "segment.h"
#include "text.h"

/* ---- identities -------------------------------------------------------- */

void
kv_id_print(char buf[37], const uint8_t id[16])
{
	for (int i = 0; i < 16; i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10)
			*buf++ = '-';
		*buf++ = "0123456789abcdef"[id[i] >> 4];
		*buf++ = "0123456789abcdef"[id[i] & 15];
	}
	*buf = '\0';
}

int
kv_id_parse(const char *s, uint8_t id[16])
{
	for (int i = 0; i < 16; i++) {
		int high, low;

		if ((i == 4 || i == 6 || i == 8 || i == 10) && *s++ != '-')
			return -1;
		if ((high = hex_digit_value(s[0])) < 0 ||
		    (low = hex_digit_value(s[1])) < 0)
			return -1;
		id[i] = (uint8_t)(high << 4 | low);
		s += 2;
	}
	return *s == '\0' ? 0 : -1;
}

/* ---- the text ---------------------------------------------------------- */

void
kv_epoch_first(const struct kv_ident *ident, struct kv_epoch *e)
{
	memset(e, 0, sizeof(*e));
	memcpy(e->db, ident->id, sizeof(e->db));
	e->epoch = ident->epoch;
	e->nonce = ident->nonce;
	e->chain = kv_chain_origin(ident);
	strcpy(e->host, "-");
	strcpy(e->reason, "created");
}

static void
set_host(struct kv_epoch *e, const char *host)
{
	char name[256] = "";

	if (host == NULL && gethostname(name, sizeof(name) - 1) == 0)
		host = name;
	if (host == NULL || *host == '\0')
		host = "-";
	kv_text_copy(e->host, sizeof(e->host), host, 0);
}

int
kv_epoch_next(struct kv_env *env, const struct kv_epoch *parent,
    uint64_t seq, uint64_t chain, const char *host, const char *reason,
    struct kv_epoch *e)
{
	memset(e, 0, sizeof(*e));
	if (parent->epoch == UINT32_MAX)
		return kv_fail(env, KEVO_ELIMIT, "no epoch comes after the "
		    "last one, %" PRIu32, parent->epoch);
	if (kv_random(&e->nonce, sizeof(e->nonce)) != 0)
		return kv_fail_errno(env, "random numbers", "get");
	memcpy(e->db, parent->db, sizeof(e->db));
	e->epoch = parent->epoch + 1;
	e->parent = parent->epoch;
	e->parent_nonce = parent->nonce;
	e->start = seq;
	e->chain = chain;
	e->time_ns = kv_now_ns();
	set_host(e, host);
	kv_text_copy(e->reason, sizeof(e->reason), reason, 1);
	return 0;
}

size_t
kv_epoch_print(char buf[KV_EPOCH_TEXT_MAX], const struct kv_epoch *e)
{
	char id[37], when[KV_TIME_LEN], sum[KV_HASH128_TEXT];
	int n;

	kv_id_print(id, e->db);
	kv_time_print(when, e->time_ns);
	n = snprintf(buf, KV_EPOCH_TEXT_MAX, "kevo-epoch 1\ndb %s\nepoch %"
	    PRIu32 "\nnonce %016" PRIx64 "\nparent %" PRIu32 " %016" PRIx64
	    "\nstart %" PRIu64 "\nchain %016" PRIx64 "\ntime %s\nhost %s\n"
	    "reason %s\n", id, e->epoch, e->nonce, e->parent,
	    e->parent_nonce, e->start, e->chain, when, e->host, e->reason);
	kv_hash128_of(buf, (size_t)n, sum);
	n += snprintf(buf + n, KV_EPOCH_TEXT_MAX - (size_t)n, "xxh128 %s\n",
	    sum);
	return (size_t)n;
}

/* A line that must be the next one: its value, or NULL. */
static char *
line(char **at, const char *name)
{
	char *found, *value;

	if (kv_text_line(at, &found, &value) != 1 ||
	    strcmp(found, name) != 0)
		return NULL;
	return value;
}

static int
hex_line(char **at, const char *name, uint64_t *out)
{
	const char *v = line(at, name);

	return v != NULL && (v = kv_text_hex(v, out)) != NULL && *v == '\0' ?
	    0 : -1;
}

static int
decimal_line(char **at, const char *name, uint64_t max, uint64_t *out)
{
	const char *v = line(at, name);

	return v != NULL ? kv_text_decimal(v, max, out) : -1;
}

static int
parent_line(char **at, struct kv_epoch *e)
{
	char *v = line(at, "parent"), *blank;
	const char *end;
	uint64_t n;

	if (v == NULL || (blank = strchr(v, ' ')) == NULL)
		return -1;
	*blank = '\0';
	if (kv_text_decimal(v, UINT32_MAX, &n) != 0 ||
	    (end = kv_text_hex(blank + 1, &e->parent_nonce)) == NULL ||
	    *end != '\0')
		return -1;
	e->parent = (uint32_t)n;
	return 0;
}

static int
words_line(char **at, const char *name, char *buf, size_t room, int blanks)
{
	const char *v = line(at, name);

	if (v == NULL || strlen(v) >= room || !kv_text_printable(v, blanks))
		return -1;
	strcpy(buf, v);
	return 0;
}

/* The name of the first line that is not as it must be, or NULL. */
static const char *
read_lines(char *at, struct kv_epoch *e)
{
	const char *v;
	uint64_t n;

	if ((v = line(&at, "kevo-epoch")) == NULL || strcmp(v, "1") != 0)
		return "no epoch file of a known version";
	if ((v = line(&at, "db")) == NULL || kv_id_parse(v, e->db) != 0)
		return "bad line `db'";
	if (decimal_line(&at, "epoch", UINT32_MAX, &n) != 0 || n == 0)
		return "bad line `epoch'";
	e->epoch = (uint32_t)n;
	if (hex_line(&at, "nonce", &e->nonce) != 0)
		return "bad line `nonce'";
	if (parent_line(&at, e) != 0)
		return "bad line `parent'";
	if (decimal_line(&at, "start", UINT64_MAX - 1, &e->start) != 0)
		return "bad line `start'";
	if (hex_line(&at, "chain", &e->chain) != 0)
		return "bad line `chain'";
	if ((v = line(&at, "time")) == NULL ||
	    kv_time_parse(v, &e->time_ns) != 0)
		return "bad line `time'";
	if (words_line(&at, "host", e->host, sizeof(e->host), 0) != 0)
		return "bad line `host'";
	if (words_line(&at, "reason", e->reason, sizeof(e->reason), 1) != 0)
		return "bad line `reason'";
	return NULL;
}

int
kv_epoch_parse(const char *text, size_t len, struct kv_epoch *e,
    const char **why)
{
	char buf[KV_EPOCH_TEXT_MAX], again[KV_EPOCH_TEXT_MAX];

	memset(e, 0, sizeof(*e));
	if (len >= sizeof(buf) || memchr(text, '\0', len) != NULL) {
		*why = "no epoch file";
		return -1;
	}
	memcpy(buf, text, len);
	buf[len] = '\0';
	if ((*why = read_lines(buf, e)) != NULL)
		return -1;
	if (kv_epoch_print(again, e) == len && memcmp(again, text, len) == 0)
		return 0;
	*why = "its last line is not the hash of the others";
	return -1;
}

/* ---- files ------------------------------------------------------------- */

void
kv_epoch_name(char buf[KV_EPOCH_NAME_LEN], uint32_t epoch)
{
	snprintf(buf, KV_EPOCH_NAME_LEN, "%08" PRIx32 ".epoch", epoch);
}

int
kv_epoch_name_number(const char *name, uint32_t *epoch)
{
	uint32_t v = 0;

	for (int i = 0; i < 8; i++) {
		int d = hex_digit_value(name[i]);

		if (d < 0)
			return 0;
		v = v << 4 | (uint32_t)d;
	}
	*epoch = v;
	return v != 0 && strcmp(name + 8, ".epoch") == 0;
}

#define PATH_ROOM	320

static void
path_of(char buf[PATH_ROOM], const char *sub, const char *name)
{
	snprintf(buf, PATH_ROOM, "%.100s/%.200s", sub, name);
}

int
kv_epoch_read(struct kv_env *env, const struct kv_dir *dir, const char *sub,
    uint32_t number, struct kv_epoch *e)
{
	char name[KV_EPOCH_NAME_LEN], path[PATH_ROOM], *text;
	const char *why;
	size_t len;
	int rc;

	kv_epoch_name(name, number);
	path_of(path, sub, name);
	rc = kv_read_small(env, dir, path, KV_EPOCH_TEXT_MAX - 1, &text, &len);
	if (rc == KEVO_ENOTDB)
		rc = kv_fail(env, KEVO_ECORRUPT, "%s: damaged: no epoch file",
		    kv_path(dir, path));
	if (rc != 0)
		return rc;
	if (kv_epoch_parse(text, len, e, &why) != 0)
		rc = kv_fail(env, KEVO_ECORRUPT, "%s: damaged: %s",
		    kv_path(dir, path), why);
	else if (e->epoch != number)
		rc = kv_fail(env, KEVO_ECORRUPT, "%s: it is epoch %" PRIu32,
		    kv_path(dir, path), e->epoch);
	free(text);
	return rc;
}

/* 0 if the file has exactly these bytes, else KEVO_FALSE. */
static int
compare(struct kv_env *env, const struct kv_dir *dir, const char *path,
    const char *text, size_t len)
{
	size_t there;
	char *have;
	int rc;

	rc = kv_read_small(env, dir, path, KV_EPOCH_TEXT_MAX, &have, &there);
	if (rc != 0)
		return rc == KEVO_ENOTDB ? KEVO_FALSE : rc;
	rc = there == len && memcmp(have, text, len) == 0 ? 0 : KEVO_FALSE;
	free(have);
	return rc;
}

int
kv_epoch_write(struct kv_env *env, const struct kv_dir *dir, const char *sub,
    uint32_t mode, const struct kv_epoch *e)
{
	char text[KV_EPOCH_TEXT_MAX], name[KV_EPOCH_NAME_LEN];
	char path[PATH_ROOM], tmp[PATH_ROOM], unique[40];
	size_t len = kv_epoch_print(text, e);
	uint64_t random;
	int rc;

	kv_epoch_name(name, e->epoch);
	path_of(path, sub, name);
	if (kv_random(&random, sizeof(random)) != 0)
		return kv_fail_errno(env, "random numbers", "get");
	kv_name(unique, "tmp.", random, "");
	path_of(tmp, sub, unique);
	rc = kv_text_create(env, dir, tmp, mode, text, len);
	if (rc == 0 && linkat(dir->fd, tmp, dir->fd, path, 0) != 0)
		rc = errno == EEXIST ? compare(env, dir, path, text, len) :
		    kv_fail_errno(env, kv_path(dir, path), "create");
	unlinkat(dir->fd, tmp, 0);
	return rc != 0 ? rc : kv_sync_dir(env, dir, sub);
}
