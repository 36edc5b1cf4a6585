/*
 * kevo-walship send: the log of a database, to an archive or a stream.
 */
#include <string.h>

#include "options.h"
#include "walship.h"
#include "walship_archive.h"
#include "walship_stream.h"

enum { OPT_WHERE = 400, OPT_SLOT, OPT_POSITION, OPT_FOLLOW, OPT_ACKS,
	OPT_BWLIMIT, OPT_SEAL_AFTER, OPT_ZSTD, OPT_HOOK };

static const struct cli_opt opts[] = {
	{ OPT_WHERE, 0, "to", CLI_REQUIRED, "ARCHIVE",
	    "where to: an archive, or - for standard output" },
	{ OPT_SLOT, 0, "slot", CLI_REQUIRED, "NAME",
	    "keep the log for it until it has arrived" },
	{ OPT_POSITION, 0, "from", CLI_REQUIRED, "POSITION",
	    "to -: begin behind this position" },
	{ OPT_FOLLOW, 0, "follow", CLI_NONE, NULL,
	    "go on as the log grows" },
	{ OPT_ACKS, 0, "acks", CLI_REQUIRED, "FD",
	    "to -: acknowledgements come from there (-: input)" },
	{ OPT_BWLIMIT, 0, "bwlimit", CLI_REQUIRED, "SIZE",
	    "to -: write at most SIZE a second" },
	{ OPT_SEAL_AFTER, 0, "seal-after", CLI_REQUIRED, "TIME",
	    "complete a segment that is older" },
	{ OPT_ZSTD, 0, "zstd", CLI_NONE, NULL,
	    "to an archive: compress complete segments" },
	{ OPT_HOOK, 0, "hook", CLI_REQUIRED, "COMMAND",
	    "to an archive: run it for each segment" },
	ROW_DRY_RUN("to an archive: say what would be sent"),
	ROW_QUIET,
	ROW_VERBOSE,
	ROW_END
};

const struct cli_tool walship_send_tool = {
	"kevo-walship send",
	"Send the log of a database",
	"[-nqv] DB --to=ARCHIVE [--slot=NAME] [--follow]\n"
	" [--seal-after=TIME] [--zstd] [--hook=COMMAND]\n"
	"[-qv] DB --to=- [--slot=NAME] [--from=POSITION]\n"
	" [--follow] [--acks=FD] [--bwlimit=SIZE]\n"
	" [--seal-after=TIME]",
	opts,
	"  kevo-walship send data.kv --to archive --seal-after 60s\n"
	"  kevo-walship send data.kv --to - | zstd > log.zst\n"
	"  kevo-walship send data.kv --to - --slot r1 --acks - --follow\n"
};

struct options {
	struct walship_send stream;	/* what both have, too */
	const char *to, *hook;
	int zstd, dry_run;
};

static void
take(struct options *o, int id, const char *arg)
{
	struct walship_send *s = &o->stream;

	switch (id) {
	case OPT_WHERE:
		o->to = arg;
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
		break;
	case OPT_ZSTD:
		o->zstd = 1;
		break;
	case OPT_HOOK:
		o->hook = arg;
		break;
	case 'n':
		o->dry_run = 1;
	}
}

static int
to_archive(const struct options *o)
{
	struct walship_to_archive to = { .db = o->stream.db, .to = o->to,
		.slot = o->stream.slot, .hook = o->hook,
		.follow = o->stream.follow, .zstd = o->zstd,
		.dry_run = o->dry_run,
		.seal_after_ms = o->stream.seal_after_ms };

	if (o->stream.from != NULL || o->stream.ack_fd >= 0 ||
	    o->stream.rate != 0)
		cli_usage("--from, --acks and --bwlimit need --to -");
	if (o->dry_run && o->stream.follow)
		cli_usage("--follow and -n do not go together");
	return walship_send_archive(&to);
}

int
walship_send(struct cli_args *a)
{
	struct options o = { .stream = { .ack_fd = -1,
		.seal_after_ms = -1 } };
	struct cli_open_opts common = { 0, NULL, NULL, NULL };
	struct walship_words w;
	int id;

	walship_words_init(&w);
	while ((id = walship_next(a, &w)) != 0)
		if (!cli_common(&common, a, id))
			take(&o, id, a->arg);
	walship_words_check(&w, 1, 1, "DB");
	if (o.to == NULL)
		cli_usage("--to is missing");
	o.stream.db = w.word[0];
	if (strcmp(o.to, "-") != 0)
		return to_archive(&o);
	if (o.zstd || o.hook != NULL)
		cli_usage("--zstd and --hook need an archive");
	if (o.dry_run)
		cli_usage("-n needs an archive: what a stream will have, its "
		    "receiver tells; see kevo-walship pos");
	return walship_send_stream(&o.stream);
}
