#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "ack.h"

static const char *const stages[] = { "received", "synced", "applied" };

#define STAGES	(int)(sizeof(stages) / sizeof(stages[0]))

size_t
kv_ack_print(char buf[KV_ACK_MAX], const struct kv_ack *a)
{
	char at[KV_POSITION_LEN] = "none", when[32];
	time_t t = (time_t)(a->time_ns / 1000000000u);
	struct tm tm;

	if (!a->none)
		kv_position_print(at, &a->at);
	if (gmtime_r(&t, &tm) == NULL || strftime(when, sizeof(when),
	    "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
		strcpy(when, "1970-01-01T00:00:00Z");
	return (size_t)snprintf(buf, KV_ACK_MAX, "ack %s %s %s %s\n",
	    a->slot, at, stages[a->stage], when);
}

/* Cut the word that p begins with from what follows one blank; NULL: there
 * is no blank. */
static char *
cut_word(char *p)
{
	char *end = strchr(p, ' ');

	if (end == NULL)
		return NULL;
	*end = '\0';
	return end + 1;
}

static int
parse_time(const char *s, uint64_t *ns)
{
	struct tm tm = { 0 };
	const char *end = strptime(s, "%Y-%m-%dT%H:%M:%SZ", &tm);
	time_t t;

	if (end == NULL || *end != '\0')
		return -1;
	t = timegm(&tm);
	if (t < 0 || (uint64_t)t > UINT64_MAX / 1000000000u)
		return -1;
	*ns = (uint64_t)t * 1000000000u;
	return 0;
}

static int
parse_stage(const char *s, enum kv_ack_stage *stage)
{
	for (int i = 0; i < STAGES; i++)
		if (strcmp(s, stages[i]) == 0) {
			*stage = (enum kv_ack_stage)i;
			return 0;
		}
	return -1;
}

int
kv_ack_parse(const char *line, size_t len, struct kv_ack *a)
{
	char buf[KV_ACK_MAX], *slot, *at, *stage, *when;

	if (len >= sizeof(buf) || memchr(line, '\0', len) != NULL)
		return -1;
	memcpy(buf, line, len);
	buf[len] = '\0';
	if (strncmp(buf, "ack ", 4) != 0 ||
	    (at = cut_word(slot = buf + 4)) == NULL ||
	    (stage = cut_word(at)) == NULL ||
	    (when = cut_word(stage)) == NULL)
		return -1;
	if (strcmp(slot, "-") != 0 && !kv_slots_name_ok(slot))
		return -1;
	memset(a, 0, sizeof(*a));
	strcpy(a->slot, slot);
	a->none = strcmp(at, "none") == 0;
	if (!a->none && kv_position_parse(at, &a->at) != 0)
		return -1;
	return parse_stage(stage, &a->stage) != 0 ||
	    parse_time(when, &a->time_ns) != 0 ? -1 : 0;
}

/* ---- from a descriptor ------------------------------------------------- */

static int
readable(int fd, int wait_ms)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, wait_ms) > 0;
}

/* Take the line that is complete; 0 if none is. */
static int
take_line(struct kv_ack_in *in, struct kv_ack *a)
{
	char *nl = memchr(in->line, '\n', in->len);
	size_t n;
	int rc;

	if (nl == NULL) {
		if (in->len == sizeof(in->line))
			in->len = 0;	/* too long; its rest is no line */
		return 0;
	}
	n = (size_t)(nl - in->line);
	rc = kv_ack_parse(in->line, n, a) == 0 ? 1 : -1;
	in->len -= n + 1;
	memmove(in->line, nl + 1, in->len);
	return rc;
}

int
kv_ack_read(struct kv_ack_in *in, int fd, int wait_ms, struct kv_ack *a)
{
	ssize_t n;
	int rc;

	for (;;) {
		if ((rc = take_line(in, a)) != 0)
			return rc;
		if (in->ended || !readable(fd, wait_ms))
			return 0;
		n = read(fd, in->line + in->len, sizeof(in->line) - in->len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			in->ended = 1;
		else
			in->len += (size_t)n;
	}
}
