#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "backup.h"
#include "cli.h"
#include "cli_tool.h"
#include "env.h"
#include "ship/ship.h"
#include "ship/tar.h"

/* An archive is input like any other: malformed is 65, cut is 75. */
static int
status_of(int rc)
{
	switch (rc) {
	case KV_SHIP_SHORT:
	case KV_SHIP_BUSY:
		return EX_TEMPFAIL_;
	case KV_SHIP_NOSPACE:
		return EX_IOERR_;
	default:
		return kv_ship_class_name(rc) != NULL ? EX_DATAERR_ :
		    cli_status(rc);
	}
}

void
backup_fail(const struct kv_env *env, int rc)
{
	if (cli_stopped())
		cli_die_by_signal();
	cli_die(status_of(rc), "%s", env->msg);
}

void
backup_raise_limits(void)
{
	struct rlimit r;

	if (getrlimit(RLIMIT_NOFILE, &r) != 0 || r.rlim_cur >= r.rlim_max)
		return;
	r.rlim_cur = r.rlim_max;
	setrlimit(RLIMIT_NOFILE, &r);	/* it may do without */
}

void
backup_need_archives(void)
{
	if (!kv_tar_available())
		cli_die(EX_UNAVAILABLE_, "built without libarchive");
}

int
backup_input(const char *path, const char **name)
{
	int fd;

	if (strcmp(path, "-") == 0) {
		*name = "(stdin)";
		if (isatty(0))
			cli_die(EX_USAGE_, "(stdin): an archive does not come "
			    "from a terminal");
		return 0;
	}
	*name = path;
	fd = cli_fd_high(open(path, O_RDONLY | O_CLOEXEC));
	if (fd < 0)
		cli_die(errno == ENOENT ? EX_NOINPUT_ : errno == EACCES ?
		    EX_NOPERM_ : EX_IOERR_, "%s: cannot open: %s", path,
		    strerror(errno));
	return fd;
}
