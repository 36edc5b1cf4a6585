#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "coding.h"
#include "env.h"
#include "file.h"
#include "hash.h"
#include "ident.h"
#include "kevo.h"

#define FORMAT_TMP	"FORMAT.tmp"

/* The creator's umask, without changing it: the mode of what it creates. */
static mode_t
umask_now(const struct kv_dir *dir)
{
	struct stat st;

	if (fstatat(dir->fd, "LOCK", &st, 0) == 0)
		return st.st_mode & 0666;
	return 0600;
}

int
kv_ident_new(struct kv_env *env, const struct kv_dir *dir,
    struct kv_ident *id)
{
	memset(id, 0, sizeof(*id));
	id->epoch = 1;
	id->mode = umask_now(dir);
	if (kv_random(id->id, sizeof(id->id)) != 0 ||
	    kv_random(&id->nonce, sizeof(id->nonce)) != 0)
		return kv_fail_errno(env, "random numbers", "get");
	return 0;
}

static int
encode(const struct kv_ident *id, char *buf, size_t size)
{
	char hex[33], when[32];
	struct tm tm;
	time_t now = time(NULL);
	int n;

	for (int i = 0; i < 16; i++)
		snprintf(hex + i * 2, 3, "%02x", id->id[i]);
	gmtime_r(&now, &tm);
	strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ", &tm);
	n = snprintf(buf, size, "kevo %d\nid %s\nepoch %" PRIu32 "\nnonce %016"
	    PRIx64 "\ncreated %s\nmode %04o\n", KV_FORMAT_VERSION, hex,
	    id->epoch, id->nonce, when, (unsigned)id->mode);
	n += snprintf(buf + n, size - (size_t)n, "xxh3 %016" PRIx64 "\n",
	    kv_hash(buf, (size_t)n, 0));
	return n;
}

int
kv_ident_write(struct kv_env *env, const struct kv_dir *dir,
    const struct kv_ident *id)
{
	char buf[KV_IDENT_MAX];
	int n = encode(id, buf, sizeof(buf));
	const char *name = kv_path(dir, FORMAT_TMP);
	int fd, rc;

	unlinkat(dir->fd, FORMAT_TMP, 0);
	fd = kv_openat(dir->fd, FORMAT_TMP, O_WRONLY | O_CREAT | O_EXCL, 0666);
	if (fd < 0)
		return kv_fail_errno(env, name, "create");
	rc = kv_pwrite(env, fd, name, buf, (size_t)n, 0);
	if (rc == 0 && (fchmod(fd, id->mode) != 0 || kv_datasync(fd) != 0))
		rc = kv_fail_errno(env, name, "write");
	close(fd);
	/* All that FORMAT stands for is on disk before its name can be. */
	if (rc == 0)
		rc = kv_sync_dir(env, dir, ".");
	if (rc == 0 && linkat(dir->fd, FORMAT_TMP, dir->fd, "FORMAT", 0) != 0)
		rc = kv_fail_errno(env, kv_path(dir, "FORMAT"), "create");
	unlinkat(dir->fd, FORMAT_TMP, 0);
	return rc != 0 ? rc : kv_sync_dir(env, dir, ".");
}

/* The value of "\nname value\n" in text, ended by a zero byte, or NULL. */
static char *
field(const char *text, const char *name, char *buf, size_t size)
{
	size_t n = strlen(name);
	const char *p = text;

	while (p != NULL && *p != '\0') {
		if (strncmp(p, name, n) == 0 && p[n] == ' ') {
			size_t len = strcspn(p + n + 1, "\n");

			if (len >= size)
				return NULL;
			memcpy(buf, p + n + 1, len);
			buf[len] = '\0';
			return buf;
		}
		p = strchr(p, '\n');
		if (p != NULL)
			p++;
	}
	return NULL;
}

static int
number(const char *text, const char *name, int base, uint64_t max,
    uint64_t *out)
{
	char buf[64], *end;

	if (field(text, name, buf, sizeof(buf)) == NULL || *buf == '\0' ||
	    *buf == '-' || *buf == '+')
		return -1;
	errno = 0;
	*out = strtoull(buf, &end, base);
	return errno != 0 || *end != '\0' || *out > max ? -1 : 0;
}

static int
hash_matches(const char *text, size_t len)
{
	uint64_t want;
	const char *last;

	if (memchr(text, '\0', len) != NULL)
		return 0;
	if ((last = strstr(text, "\nxxh3 ")) == NULL)
		return 0;
	last++;
	if (number(last, "xxh3", 16, UINT64_MAX, &want) != 0)
		return 0;
	return want == kv_hash(text, (size_t)(last - text), 0);
}

static int
decode(const char *text, struct kv_ident *id)
{
	char buf[64];
	uint64_t v;

	memset(id, 0, sizeof(*id));
	if (field(text, "id", buf, sizeof(buf)) == NULL || strlen(buf) != 32)
		return -1;
	for (int i = 0; i < 32; i++) {
		int d = hex_digit_value(buf[i]);

		if (d < 0)
			return -1;
		id->id[i / 2] = (uint8_t)(id->id[i / 2] << 4 | d);
	}
	if (number(text, "epoch", 10, UINT32_MAX, &v) != 0)
		return -1;
	id->epoch = (uint32_t)v;
	if (number(text, "nonce", 16, UINT64_MAX, &id->nonce) != 0)
		return -1;
	if (number(text, "mode", 8, 0666, &v) != 0)
		return -1;
	id->mode = (uint32_t)v;
	return 0;
}

int
kv_ident_read(struct kv_env *env, const struct kv_dir *dir,
    struct kv_ident *id)
{
	const char *name = kv_path(dir, "FORMAT");
	uint64_t version;
	size_t len;
	char *text;
	int rc;

	rc = kv_read_small(env, dir, "FORMAT", KV_IDENT_MAX, &text, &len);
	if (rc != 0)
		return rc;
	if (strncmp(text, "kevo ", 5) != 0)
		rc = kv_fail(env, KEVO_ENOTDB, "%s: not a kevo database",
		    dir->path);
	else if (number(text, "kevo", 10, UINT32_MAX, &version) != 0)
		rc = kv_fail(env, KEVO_ECORRUPT, "%s: bad version", name);
	else if (version > KV_FORMAT_VERSION)
		rc = kv_fail(env, KEVO_ENOTDB, "%s: format %" PRIu64 " is "
		    "newer than this program, which knows format %d", name,
		    version, KV_FORMAT_VERSION);
	else if (version < KV_FORMAT_VERSION)
		rc = kv_fail(env, KEVO_ENOTDB, "%s: format %" PRIu64 " is of "
		    "before there were tables; export it with the program "
		    "that made it", name, version);
	else if (!hash_matches(text, len))
		rc = kv_fail(env, KEVO_ECORRUPT, "%s: damaged: its hash "
		    "differs", name);
	else if (decode(text, id) != 0)
		rc = kv_fail(env, KEVO_ECORRUPT, "%s: damaged: a line is "
		    "missing or out of range", name);
	free(text);
	return rc;
}
