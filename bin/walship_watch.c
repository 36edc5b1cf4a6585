#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli.h"
#include "ship/archive.h"
#include "walship_watch.h"

struct walship_watch {
	struct kv_archive *a;
	int fd;			/* of inotify; -1: there is none */
	uint32_t epoch;		/* whose directory is watched, too */
	uint64_t stamp;
};

enum { LOOK_MS = 1000 };

static const char *const places[] = {
	"epochs", "wal", "state/tail", "state/source"
};

/* The directory where new segments come to be. */
static void
newest_dir(const struct walship_watch *w, char buf[32])
{
	snprintf(buf, 32, "wal/%08" PRIx32,
	    kv_history_newest(&w->a->history)->epoch);
}

static void
watch(struct walship_watch *w, const char *name)
{
	char path[64 + KV_ARCHIVE_PATH_LEN];
	int fd = kv_openat(w->a->dir.fd, name, O_PATH, 0);

	if (fd < 0)
		return;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	/* What cannot be watched is looked at once a second. */
	(void)inotify_add_watch(w->fd, path, IN_CREATE | IN_MOVED_TO |
	    IN_MODIFY | IN_DELETE);
	close(fd);
}

/* Something that differs when a file was added, or a tail grew. */
static uint64_t
stamp_of(struct walship_watch *w, const char *name, uint64_t sum)
{
	struct stat st;

	if (fstatat(w->a->dir.fd, name, &st, 0) != 0)
		return sum * 31 + 1;
	sum = sum * 31 + (uint64_t)st.st_ino;
	sum = sum * 31 + (uint64_t)st.st_size;
	sum = sum * 31 + (uint64_t)st.st_mtim.tv_sec;
	return sum * 31 + (uint64_t)st.st_mtim.tv_nsec;
}

struct sum {
	struct walship_watch *w;
	uint64_t v;
};

static int
add_tail(void *arg, const char *name)
{
	struct sum *s = arg;
	char file[KV_ARCHIVE_PATH_LEN];

	snprintf(file, sizeof(file), "state/tail/%.255s", name);
	s->v += stamp_of(s->w, file, 0);
	return 0;
}

static uint64_t
look(struct walship_watch *w)
{
	struct sum s = { w, 0 };
	char dir[32];

	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++)
		s.v = stamp_of(w, places[i], s.v);
	newest_dir(w, dir);
	s.v = stamp_of(w, dir, s.v);
	(void)kv_archive_each(w->a, "state/tail", add_tail, &s);
	return s.v;
}

struct walship_watch *
walship_watch_open(struct kv_archive *a)
{
	struct walship_watch *w = calloc(1, sizeof(*w));
	char dir[32];

	if (w == NULL)
		cli_die(EX_IOERR_, "out of memory");
	w->a = a;
	w->fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++)
		watch(w, places[i]);
	newest_dir(w, dir);
	watch(w, dir);
	return w;
}

void
walship_watch_close(struct walship_watch *w)
{
	if (w->fd >= 0)
		close(w->fd);
	free(w);
}

static void
drain(struct walship_watch *w)
{
	char buf[4096];

	while (read(w->fd, buf, sizeof(buf)) > 0)
		;
}

int
walship_watch_wait(struct walship_watch *w, int64_t max_ms)
{
	struct pollfd p = { .fd = w->fd, .events = POLLIN };
	uint64_t stamp;
	char dir[32];

	/* What came between the last look and now is seen by the stamp. */
	stamp = look(w);
	if (stamp == w->stamp) {
		if (poll(&p, 1, max_ms >= 0 && max_ms < LOOK_MS ?
		    (int)max_ms : LOOK_MS) > 0)
			drain(w);
		stamp = look(w);
	}
	if (stamp == w->stamp)
		return max_ms >= 0 && max_ms <= LOOK_MS;
	w->stamp = stamp;
	if (kv_history_newest(&w->a->history)->epoch != w->epoch) {
		w->epoch = kv_history_newest(&w->a->history)->epoch;
		newest_dir(w, dir);
		watch(w, dir);
	}
	return 1;
}
