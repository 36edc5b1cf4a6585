#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "coding.h"
#include "env.h"
#include "file.h"
#include "kevo.h"
#include "text.h"

static int
is_printable(unsigned char c)
{
	return c >= ' ' && c <= '~';
}

int
kv_text_line(char **at, char **name, char **value)
{
	char *p = *at, *end = strchr(p, '\n');

	if (*p == '\0')
		return 0;
	if (end == NULL)
		return -1;
	*end = '\0';
	*at = end + 1;
	if (!kv_text_printable(p, 1))
		return -1;
	*name = p;
	p += strcspn(p, " ");
	if (*p == ' ')
		*p++ = '\0';
	*value = p;
	return 1;
}

int
kv_text_printable(const char *s, int blanks)
{
	for (; *s != '\0'; s++)
		if (!is_printable((unsigned char)*s) || (*s == ' ' && !blanks))
			return 0;
	return 1;
}

void
kv_text_copy(char *buf, size_t room, const char *s, int blanks)
{
	size_t n = 0;

	for (; n + 1 < room && s[n] != '\0'; n++)
		buf[n] = is_printable((unsigned char)s[n]) &&
		    (s[n] != ' ' || blanks) ? s[n] : '?';
	buf[n] = '\0';
}

int
kv_text_decimal(const char *s, uint64_t max, uint64_t *out)
{
	uint64_t v = 0;

	if (*s == '\0' || (*s == '0' && s[1] != '\0'))
		return -1;
	for (; *s != '\0'; s++) {
		uint64_t d = (uint64_t)(unsigned char)*s - '0';

		if (d > 9 || v > (UINT64_MAX - d) / 10)
			return -1;
		v = v * 10 + d;
	}
	*out = v;
	return v > max ? -1 : 0;
}

const char *
kv_text_hex(const char *s, uint64_t *out)
{
	uint64_t v = 0;

	for (int i = 0; i < 16; i++, s++) {
		int d = hex_digit_value(*s);

		if (d < 0)
			return NULL;
		v = v << 4 | (uint64_t)d;
	}
	*out = v;
	return s;
}

void
kv_time_print(char buf[KV_TIME_LEN], uint64_t ns)
{
	time_t t = (time_t)(ns / 1000000000u);
	struct tm tm;
	size_t n;

	gmtime_r(&t, &tm);
	n = strftime(buf, KV_TIME_LEN, "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(buf + n, KV_TIME_LEN - n, ".%09uZ",
	    (unsigned)(ns % 1000000000u));
}

/* Two, four or nine digits, and the character behind them. */
static int
digits(const char **s, int n, char then, int *out)
{
	int v = 0;

	while (n-- > 0) {
		int d = **s - '0';

		if (d < 0 || d > 9)
			return -1;
		v = v * 10 + d;
		(*s)++;
	}
	*out = v;
	return *(*s)++ == then ? 0 : -1;
}

int
kv_time_parse(const char *s, uint64_t *ns)
{
	char again[KV_TIME_LEN];
	const char *p = s;
	int fraction;
	struct tm tm;
	time_t t;

	memset(&tm, 0, sizeof(tm));
	if (digits(&p, 4, '-', &tm.tm_year) != 0 ||
	    digits(&p, 2, '-', &tm.tm_mon) != 0 ||
	    digits(&p, 2, 'T', &tm.tm_mday) != 0 ||
	    digits(&p, 2, ':', &tm.tm_hour) != 0 ||
	    digits(&p, 2, ':', &tm.tm_min) != 0 ||
	    digits(&p, 2, '.', &tm.tm_sec) != 0 ||
	    digits(&p, 9, 'Z', &fraction) != 0 || *p != '\0')
		return -1;
	tm.tm_year -= 1900;
	tm.tm_mon--;
	t = timegm(&tm);
	if (t < 0 || (uint64_t)t > UINT64_MAX / 1000000000u - 1)
		return -1;
	*ns = (uint64_t)t * 1000000000u + (uint64_t)fraction;
	kv_time_print(again, *ns);
	return strcmp(s, again) == 0 ? 0 : -1;	/* no 31st of February */
}

int
kv_text_create(struct kv_env *env, const struct kv_dir *dir,
    const char *name, uint32_t mode, const char *text, size_t len)
{
	const char *full = kv_path(dir, name);
	int fd, rc;

	fd = kv_openat(dir->fd, name, O_WRONLY | O_CREAT | O_EXCL, 0666);
	if (fd < 0)
		return kv_fail_errno(env, full, "create");
	rc = kv_pwrite(env, fd, full, text, len, 0);
	if (rc == 0 && (kv_give(dir, fd, mode) != 0 || fsync(fd) != 0))
		rc = kv_fail_errno(env, full, "write");
	close(fd);
	if (rc != 0)
		unlinkat(dir->fd, name, 0);
	return rc;
}

int
kv_text_replace(struct kv_env *env, const struct kv_dir *dir,
    const char *sub, const char *name, const char *tmp, uint32_t mode,
    const char *text, size_t len)
{
	int rc;

	unlinkat(dir->fd, tmp, 0);
	if ((rc = kv_text_create(env, dir, tmp, mode, text, len)) != 0)
		return rc;
	if (renameat(dir->fd, tmp, dir->fd, name) != 0) {
		rc = kv_fail_errno(env, kv_path(dir, name), "put in place");
		unlinkat(dir->fd, tmp, 0);
		return rc;
	}
	return kv_sync_dir(env, dir, sub);
}
