#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conf.h"
#include "control.h"
#include "env.h"
#include "file.h"
#include "hash.h"
#include "ident.h"
#include "kevo.h"

#define MAGIC	"KEVOCTL1"
#define NAME	"shm/control"

static uint64_t
head_hash(const struct kv_control *c)
{
	return kv_hash(c, offsetof(struct kv_control, hash), 0);
}

static uint64_t
wal_ino(const struct kv_dir *dir)
{
	struct stat st;

	return fstatat(dir->fd, "wal", &st, 0) == 0 ? (uint64_t)st.st_ino : 0;
}

int
kv_control_format(struct kv_env *env, struct kv_control *c,
    const struct kv_dir *dir, int fd, const struct kv_ident *ident,
    const struct kv_conf *conf, uint64_t generation)
{
	struct kv_file_id id = { 0, 0, 0 };
	int rc;

	if (fd >= 0 && (rc = kv_file_stat(env, fd, kv_path(dir, NAME), NULL,
	    &id, NULL)) != 0)
		return rc;
	memset(c, 0, sizeof(*c));
	memcpy(c->magic, MAGIC, 8);
	c->layout = KV_CONTROL_LAYOUT;
	c->len = KV_CONTROL_LEN;
	memcpy(c->id, ident->id, 16);
	kv_boot_id(c->boot);
	c->generation = generation;
	c->dev = id.dev;
	c->ino = id.ino;
	c->birth_ns = id.birth_ns;
	c->wal_ino = wal_ino(dir);
	c->nonce = ident->nonce;
	c->epoch = ident->epoch;
	c->mode = ident->mode;
	c->hash = head_hash(c);
	kv_control_configure(c, conf);
	return 0;
}

uint64_t
kv_setting(const struct kv_control *c, enum kv_setting s)
{
	uint64_t v = atomic_load_explicit(&c->setting[s],
	    memory_order_relaxed);

	return kv_setting_valid(s, v) ? v : kv_setting_row(s)->initial;
}

void
kv_control_configure(struct kv_control *c, const struct kv_conf *conf)
{
	for (int i = 0; i < KV_SETTINGS; i++)
		atomic_store_explicit(&c->setting[i], conf->value[i],
		    memory_order_relaxed);
	atomic_store_explicit(&c->conf_stamp, conf->stamp,
	    memory_order_release);
}

static int
is_ours(const struct kv_control *c)
{
	return memcmp(c->magic, MAGIC, 8) == 0 &&
	    c->layout == KV_CONTROL_LAYOUT && c->len == KV_CONTROL_LEN;
}

int
kv_control_is_of(const struct kv_control *c, const uint8_t id[16])
{
	return is_ours(c) && c->hash == head_hash(c) &&
	    memcmp(c->id, id, 16) == 0;
}

/* Was it made in this place? */
static int
is_in_place(const struct kv_control *c, const struct kv_file_id *id,
    const struct kv_dir *dir)
{
	return c->hash == head_hash(c) && c->dev == id->dev &&
	    c->ino == id->ino && c->birth_ns == id->birth_ns &&
	    c->wal_ino == wal_ino(dir);
}

/* And since this boot? */
static int
is_of_this_boot(const struct kv_control *c)
{
	static const uint8_t unknown[16];
	uint8_t boot[16];

	kv_boot_id(boot);
	return memcmp(boot, c->boot, 16) == 0 &&
	    memcmp(boot, unknown, 16) != 0;
}

int
kv_control_map(struct kv_env *env, const struct kv_dir *dir, int writable,
    struct kv_control **out, int *fd_out)
{
	const char *name = kv_path(dir, NAME);
	struct kv_file_id id;
	uint64_t size;
	void *p;
	int fd, rc;

	*out = NULL;
	*fd_out = -1;
	fd = kv_openat(dir->fd, NAME, writable ? O_RDWR : O_RDONLY, 0);
	if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
		return KEVO_NOTFOUND;
	if (fd < 0)
		return kv_fail_errno(env, name, "open");
	if ((rc = kv_file_stat(env, fd, name, &size, &id, NULL)) != 0)
		goto err;
	if (size != KV_CONTROL_LEN) {
		rc = KEVO_FALSE;
		goto err;
	}
	rc = kv_map(env, fd, name, KV_CONTROL_LEN, writable, &p);
	if (rc != 0)
		goto err;
	*out = p;
	if (!is_ours(*out) || !is_in_place(*out, &id, dir)) {
		kv_unmap(p, KV_CONTROL_LEN);
		*out = NULL;
		rc = KEVO_FALSE;
		goto err;
	}
	*fd_out = fd;
	return is_of_this_boot(*out) ? 0 : KEVO_FALSE;
err:
	close(fd);
	return rc;
}

size_t
kv_control_base(void)
{
	return KV_CONTROL_BASE;
}

int
kv_control_read(struct kv_env *env, const struct kv_dir *dir,
    struct kv_control *c)
{
	struct kv_file_id id;
	uint64_t size;
	int fd = kv_openat(dir->fd, NAME, O_RDONLY, 0);

	if (fd < 0)
		return -1;
	if (kv_file_stat(env, fd, NAME, &size, &id, NULL) == 0 &&
	    size == KV_CONTROL_LEN &&
	    kv_pread(env, fd, NAME, c, KV_CONTROL_BASE, 0) == 0 && is_ours(c) &&
	    is_in_place(c, &id, dir) && is_of_this_boot(c))
		return fd;
	close(fd);
	return -1;
}

void
kv_control_unmap(struct kv_control *c, int fd)
{
	kv_unmap(c, KV_CONTROL_LEN);
	if (fd >= 0)
		close(fd);
}

uint64_t
kv_control_stamp(const struct kv_dir *dir)
{
	struct stat st;
	uint64_t v[3];

	if (fstatat(dir->fd, NAME, &st, 0) != 0)
		return 0;
	v[0] = (uint64_t)st.st_ino;
	v[1] = (uint64_t)st.st_ctim.tv_sec;
	v[2] = (uint64_t)st.st_ctim.tv_nsec;
	return kv_hash(v, sizeof(v), 1) | 1;
}

int
kv_control_linked(struct kv_env *env, int fd)
{
	uint32_t nlink;

	return kv_file_stat(env, fd, NAME, NULL, NULL, &nlink) == 0 &&
	    nlink > 0;
}

void
kv_holder_set(struct kv_holder *h, uint32_t pid, const char *program,
    uint64_t since_ms)
{
	size_t n = strlen(program);

	if (n >= sizeof(h->program))
		n = sizeof(h->program) - 1;
	memcpy(h->program, program, n);
	h->program[n] = '\0';
	atomic_store_explicit(&h->pid, pid, memory_order_relaxed);
	atomic_store_explicit(&h->since_ms, since_ms, memory_order_relaxed);
}

void
kv_holder_describe(const struct kv_holder *h, char *buf, size_t len)
{
	char program[sizeof(h->program)];
	uint32_t pid = atomic_load_explicit(&h->pid, memory_order_relaxed);
	int64_t since = (int64_t)atomic_load_explicit(&h->since_ms,
	    memory_order_relaxed);
	int64_t s = (kv_mono_ms() - since) / 1000;

	memcpy(program, h->program, sizeof(program));
	program[sizeof(program) - 1] = '\0';
	for (char *p = program; *p != '\0'; p++)
		if (*p < ' ' || *p > '~')
			*p = '?';
	snprintf(buf, len, "%s, pid %" PRIu32 ", for %" PRId64 " s",
	    program[0] != '\0' ? program : "a program", pid, s < 0 ? 0 : s);
}
