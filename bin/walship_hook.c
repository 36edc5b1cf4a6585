#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli.h"
#include "walship_hook.h"

static void __attribute__((noreturn))
run(const char *command, const char *event, const char *archive,
    const char *file)
{
	int fd = open("/dev/null", O_RDONLY);

	if (fd < 0 || dup2(fd, 0) < 0 ||
	    setenv("KEVO_EVENT", event, 1) != 0 ||
	    setenv("KEVO_ARCHIVE", archive, 1) != 0 ||
	    setenv("KEVO_FILE", file, 1) != 0)
		_exit(126);
	execl("/bin/sh", "sh", "-c", command, (char *)NULL);
	_exit(127);
}

void
walship_hook(const char *command, const char *event, const char *archive,
    const char *file)
{
	int status = 0;
	pid_t pid, r;

	cli_out_flush();
	if ((pid = fork()) == 0)
		run(command, event, archive, file);
	if (pid < 0) {
		cli_msg("remote: hook: cannot start: %s", strerror(errno));
		return;
	}
	do
		r = waitpid(pid, &status, 0);
	while (r < 0 && errno == EINTR);
	if (r < 0 || !WIFEXITED(status) || WEXITSTATUS(status) != 0)
		cli_msg("remote: hook \"%s\": %s %d; the segment is in the "
		    "archive", command, WIFEXITED(status) ? "exit" : "signal",
		    WIFEXITED(status) ? WEXITSTATUS(status) :
		    WTERMSIG(status));
}
