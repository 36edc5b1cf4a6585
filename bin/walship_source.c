#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ship/archive.h"
#include "ship/ship.h"
#include "walship_archive.h"

#define SOURCE	"state/source"

/* Its length never changes, so it is written over in one call. */
int
walship_source_write(struct kv_archive *a, const struct kv_position *at,
    uint64_t now_ns)
{
	char text[KV_POSITION_LEN], line[160];
	int fd, n, rc = 0;

	kv_position_print(text, at);
	n = snprintf(line, sizeof(line), "at %-71s time %020" PRIu64
	    "\n", text, now_ns);
	fd = kv_openat(a->dir.fd, SOURCE, O_WRONLY | O_CREAT, 0666);
	if (fd < 0)
		return kv_ship_fail_errno(&a->env, kv_path(&a->dir, SOURCE),
		    "open");
	if (pwrite(fd, line, (size_t)n, 0) != n)
		rc = kv_ship_fail_errno(&a->env, kv_path(&a->dir, SOURCE),
		    "write");
	close(fd);
	return rc;
}

int
walship_source_read(struct kv_archive *a, struct kv_position *at,
    uint64_t *when_ns)
{
	char text[KV_POSITION_LEN], *line;
	int good;

	if (kv_archive_get_state(a, "source", &line) != 0)
		return -1;
	good = sscanf(line, "at %71s time %" SCNu64 "\n", text,
	    when_ns) == 2 && kv_position_parse(text, at) == 0;
	free(line);
	return good ? 0 : -1;
}
