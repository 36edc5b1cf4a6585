#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "env.h"
#include "file.h"
#include "hash.h"
#include "kevo.h"
#include "link.h"
#include "lock.h"
#include "ship.h"

#define TEXT_MAX	1024
#define TRIES		20	/* while somebody rewrites it */

struct kv_link_file {
	const struct kv_dir *dir;
	const char *name;
	uint32_t mode;
	int fd;
};

int64_t
kv_link_lag_ms(const struct kv_link *l)
{
	if (!l->alive || !l->connected || l->primary_seq == 0)
		return -1;
	if (l->seq >= l->primary_seq)
		return 0;
	if (l->commit_ns == 0)
		return -1;
	return l->primary_ns > l->commit_ns ?
	    (int64_t)((l->primary_ns - l->commit_ns) / 1000000) : 0;
}

/* ---- text -------------------------------------------------------------- */

static const char format[] = "kevo-link 1\n"
    "connected %d\n"
    "pid %" PRIu32 "\n"
    "since %" PRIu64 "\n"
    "contact %" PRIu64 "\n"
    "primary-seq %" PRIu64 "\n"
    "primary-clock %" PRIu64 "\n"
    "behind-bytes %" PRIu64 "\n"
    "seq %" PRIu64 "\n"
    "commit-time %" PRIu64 "\n";

static size_t
print(char buf[TEXT_MAX], const struct kv_link *l)
{
	int n = snprintf(buf, TEXT_MAX, format, l->connected != 0, l->pid,
	    l->since_ns, l->contact_ns, l->primary_seq, l->primary_ns,
	    l->behind_bytes, l->seq, l->commit_ns);

	n += snprintf(buf + n, TEXT_MAX - (size_t)n, "xxh3 %016" PRIx64 "\n",
	    kv_hash(buf, (size_t)n, 0));
	return (size_t)n;
}

/* The value of the next line, which must have this name. */
static int
number(const char **at, const char *name, uint64_t *out)
{
	size_t n = strlen(name);
	char *end;

	if (strncmp(*at, name, n) != 0 || (*at)[n] != ' ' ||
	    (*at)[n + 1] < '0' || (*at)[n + 1] > '9')
		return -1;
	*out = strtoull(*at + n + 1, &end, 10);
	*at = end + 1;
	return *end == '\n' ? 0 : -1;
}

/* It is to the letter what print() writes, or it is being rewritten. */
static int
parse(const char *text, size_t len, struct kv_link *l)
{
	uint64_t connected, pid;
	char again[TEXT_MAX];
	const char *at = text;

	memset(l, 0, sizeof(*l));
	if (strncmp(at, "kevo-link 1\n", 12) != 0)
		return -1;
	at += 12;
	if (number(&at, "connected", &connected) != 0 ||
	    number(&at, "pid", &pid) != 0 ||
	    number(&at, "since", &l->since_ns) != 0 ||
	    number(&at, "contact", &l->contact_ns) != 0 ||
	    number(&at, "primary-seq", &l->primary_seq) != 0 ||
	    number(&at, "primary-clock", &l->primary_ns) != 0 ||
	    number(&at, "behind-bytes", &l->behind_bytes) != 0 ||
	    number(&at, "seq", &l->seq) != 0 ||
	    number(&at, "commit-time", &l->commit_ns) != 0)
		return -1;
	l->connected = connected == 1;
	l->pid = (uint32_t)pid;
	return print(again, l) == len && memcmp(again, text, len) == 0 ?
	    0 : -1;
}

static int
read_text(int fd, struct kv_link *l)
{
	char text[TEXT_MAX];
	ssize_t n = pread(fd, text, sizeof(text) - 1, 0);

	if (n <= 0)
		return -1;
	text[n] = '\0';
	return parse(text, (size_t)n, l);
}

int
kv_link_read(struct kv_env *env, const struct kv_dir *dir, const char *name,
    struct kv_link *out)
{
	int fd = kv_openat(dir->fd, name, O_RDONLY, 0), tries = TRIES, rc;

	if (fd < 0)
		return kv_fail(env, KEVO_ENODB, "%s: nobody receives here",
		    kv_path(dir, name));
	while ((rc = read_text(fd, out)) != 0 && --tries > 0)
		usleep(500);
	if (rc != 0)
		rc = kv_fail(env, KEVO_ECORRUPT, "%s: damaged", kv_path(dir,
		    name));
	else
		out->alive = kv_file_locked(fd);
	close(fd);
	return rc;
}

/* ---- for the receiver -------------------------------------------------- */

static int
open_file(struct kv_env *env, struct kv_link_file *f)
{
	f->fd = kv_openat(f->dir->fd, f->name, O_RDWR | O_CREAT, 0666);
	if (f->fd < 0 || kv_give(f->dir, f->fd, f->mode) != 0)
		return kv_fail_errno(env, kv_path(f->dir, f->name), "create");
	return 0;
}

int
kv_link_open(struct kv_env *env, const struct kv_dir *dir, const char *name,
    uint32_t mode, struct kv_link_file **out)
{
	struct kv_link_file *f = calloc(1, sizeof(*f));
	char host[KV_SHIP_HOST_LEN];
	struct kv_link l;
	int rc;

	if (f == NULL)
		return kv_fail(env, KEVO_ENOMEM, "out of memory");
	f->dir = dir;
	f->name = name;
	f->mode = mode;
	if ((rc = open_file(env, f)) != 0)
		goto err;
	if (!kv_file_lock(f->fd)) {
		if (read_text(f->fd, &l) != 0)
			l.pid = 0;
		kv_ship_host(host);
		rc = kv_ship_fail(env, KV_SHIP_BUSY, "%s: kevo-walship recv, "
		    "pid %" PRIu32 " on %s, receives here", dir->path, l.pid,
		    host);
		goto err;
	}
	l = (struct kv_link){ .pid = (uint32_t)getpid() };
	kv_link_write(f, &l);		/* who has the lock */
	*out = f;
	return 0;

err:
	kv_link_close(f);
	return rc;
}

void
kv_link_close(struct kv_link_file *f)
{
	if (f == NULL)
		return;
	if (f->fd >= 0)
		close(f->fd);
	free(f);
}

/* shm/ may be removed at any time by who knows that nobody needs it. */
static void
make_again(struct kv_link_file *f)
{
	struct kv_env env;
	struct stat st;

	if (f->fd >= 0 && fstat(f->fd, &st) == 0 && st.st_nlink > 0)
		return;
	if (f->fd >= 0)
		close(f->fd);
	if (open_file(&env, f) == 0)
		(void)kv_file_lock(f->fd);
}

void
kv_link_write(struct kv_link_file *f, const struct kv_link *l)
{
	char text[TEXT_MAX];
	size_t n = print(text, l);

	make_again(f);
	if (f->fd >= 0 && pwrite(f->fd, text, n, 0) == (ssize_t)n &&
	    ftruncate(f->fd, (off_t)n) != 0)
		return;
}
