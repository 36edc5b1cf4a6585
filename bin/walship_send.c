/*
 * kevo-walship send: the log, to a stream.
 */
#include <string.h>

#include "options.h"
#include "walship.h"
#include "walship_stream.h"

enum { OPT_WHERE = 400, OPT_SLOT, OPT_POSITION, OPT_FOLLOW, OPT_ACKS,
	OPT_BWLIMIT, OPT_SEAL_AFTER };

static const struct cli_opt opts[] = {
	{ OPT_WHERE, 0, "to", CLI_REQUIRED, "-",
	    "where to: - is standard output" },
	{ OPT_SLOT, 0, "slot", CLI_REQUIRED, "NAME",
	    "begin there, and keep acknowledgements in it" },
	{ OPT_POSITION, 0, "from", CLI_REQUIRED, "POSITION",
	    "begin behind this position" },
	{ OPT_FOLLOW, 0, "follow", CLI_NONE, NULL,
	    "go on as the log grows" },
	{ OPT_ACKS, 0, "acks", CLI_REQUIRED, "FD",
	    "acknowledgements come from there; - is standard input" },
	{ OPT_BWLIMIT, 0, "bwlimit", CLI_REQUIRED, "SIZE",
	    "write at most SIZE a second" },
	{ OPT_SEAL_AFTER, 0, "seal-after", CLI_REQUIRED, "TIME",
	    "complete a segment that is older" },
	ROW_QUIET,
	ROW_VERBOSE,
	ROW_END
};

const struct cli_tool walship_send_tool = {
	"kevo-walship send",
	"Send the log of a database",
	"[-qv] DB --to=- [--slot=NAME] [--from=POSITION]\n"
	" [--follow] [--acks=FD] [--bwlimit=SIZE]\n"
	" [--seal-after=TIME]",
	opts,
	"  kevo-walship send data.kv --to - | zstd > log.zst\n"
	"  kevo-walship send data.kv --to - --slot r1 --acks - --follow\n"
};

static void
take(struct walship_send *s, const char **to, int id, const char *arg)
{
	switch (id) {
	case OPT_WHERE:
		*to = arg;
		break;
	case OPT_SLOT:
		s->slot = arg;
		break;
	case OPT_POSITION:
		s->from = arg;
		break;
	case OPT_FOLLOW:
		s->follow = 1;
		break;
	case OPT_ACKS:
		s->ack_fd = walship_ack_fd(arg);
		break;
	case OPT_BWLIMIT:
		if ((s->rate = cli_size("--bwlimit", arg)) == 0)
			cli_usage("--bwlimit: 0 would never end");
		break;
	case OPT_SEAL_AFTER:
		s->seal_after_ms = cli_duration_ms("--seal-after", arg);
	}
}

int
walship_send(struct cli_args *a)
{
	struct walship_send s = { .ack_fd = -1, .seal_after_ms = -1 };
	struct cli_open_opts common = { 0, NULL, NULL, NULL };
	struct walship_words w;
	const char *to = NULL;
	int id;

	walship_words_init(&w);
	while ((id = walship_next(a, &w)) != 0)
		if (!cli_common(&common, a, id))
			take(&s, &to, id, a->arg);
	walship_words_check(&w, 1, 1, "DB");
	if (to == NULL)
		cli_usage("--to is missing");
	if (strcmp(to, "-") != 0)
		cli_usage("--to: %s is not -", to);
	s.db = w.word[0];
	return walship_send_stream(&s);
}
