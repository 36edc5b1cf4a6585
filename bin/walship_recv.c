/*
 * kevo-walship recv: a stream, into a replica or an archive; or files, into
 * an archive.
 */
#include <string.h>

#include "options.h"
#include "walship.h"
#include "walship_archive.h"
#include "walship_stream.h"

enum { OPT_VIA = 400, OPT_APPLY, OPT_WHERE, OPT_FOLLOW, OPT_SLOT, OPT_ZSTD,
	OPT_SPOOL };

static const struct cli_opt opts[] = {
	{ OPT_VIA, 0, "via", CLI_REQUIRED, "COMMAND",
	    "receive from a command, and answer to it" },
	{ OPT_APPLY, 0, "apply", CLI_REQUIRED, "DB",
	    "apply to the replica DB" },
	{ OPT_WHERE, 0, "to", CLI_REQUIRED, "ARCHIVE",
	    "add to an archive, which is made if it is missing" },
	{ OPT_FOLLOW, 0, "follow", CLI_NONE, NULL,
	    "with --via: connect again when the connection ends" },
	{ OPT_SLOT, 0, "slot", CLI_REQUIRED, "NAME",
	    "the name in acknowledgements" },
	{ OPT_ZSTD, 0, "zstd", CLI_NONE, NULL,
	    "with --to: compress complete segments" },
	{ OPT_SPOOL, 0, "spool", CLI_REQUIRED, "DIR",
	    "with --to: take the files that were copied there" },
	ROW_DRY_RUN("with --spool: say what would become of them"),
	ROW_QUIET,
	ROW_VERBOSE,
	ROW_END
};

const struct cli_tool walship_recv_tool = {
	"kevo-walship recv",
	"Receive a log into a replica or an archive",
	"[-qv] --apply=DB [--via=COMMAND [--follow]]\n"
	" [--slot=NAME] [-]\n"
	"[-qv] --to=ARCHIVE [--zstd] [--via=COMMAND [--follow]]\n"
	" [--slot=NAME] [-]\n"
	"[-nqv] --spool=DIR --to=ARCHIVE [--zstd] [--slot=NAME]",
	opts,
	"  kevo-walship send data.kv --to - |\n"
	"      kevo-walship recv --to archive\n"
	"  kevo-walship recv --via 'ssh -T primary' --apply data.kv --follow\n"
};

static const char *spool;		/* --spool */
static int dry_run;

static void
take(struct walship_recv *r, int id, const char *arg)
{
	switch (id) {
	case OPT_SPOOL:
		spool = arg;
		break;
	case OPT_VIA:
		r->via = arg;
		break;
	case OPT_APPLY:
		r->apply = arg;
		break;
	case OPT_WHERE:
		r->to = arg;
		break;
	case OPT_FOLLOW:
		r->follow = 1;
		break;
	case OPT_SLOT:
		r->slot = arg;
		break;
	case OPT_ZSTD:
		r->zstd = 1;
		break;
	case 'n':
		dry_run = 1;
	}
}

static int
from_spool(const struct walship_recv *r, const struct walship_words *w)
{
	struct walship_spool o = { spool, r->to, r->zstd, dry_run, r->slot };

	if (r->to == NULL)
		cli_usage("--spool needs --to");
	if (w->n > 0 || r->via != NULL || r->apply != NULL || r->follow)
		cli_usage("with --spool there are only --to, --zstd, --slot "
		    "and -n");
	return walship_recv_spool(&o);
}

int
walship_recv(struct cli_args *a)
{
	struct cli_open_opts common = { 0, NULL, NULL, NULL };
	struct walship_recv r = { .follow = 0 };
	struct walship_words w;
	int id;

	walship_words_init(&w);
	while ((id = walship_next(a, &w)) != 0)
		if (!cli_common(&common, a, id))
			take(&r, id, a->arg);
	walship_words_check(&w, 0, 1, "");
	if (spool != NULL)
		return from_spool(&r, &w);
	if (dry_run)
		cli_usage("-n needs --spool: a stream passes once; kevo-"
		    "walship verify reads one that was kept");
	if (w.n == 1 && strcmp(w.word[0], "-") != 0)
		cli_usage("%s: a stream comes from - or --via", w.word[0]);
	if (w.n == 1 && r.via != NULL)
		cli_usage("- and --via do not go together");
	if ((r.apply == NULL) == (r.to == NULL))
		cli_usage("one of --apply and --to is needed");
	if (r.follow && r.via == NULL)
		cli_usage("--follow needs --via");
	if (r.zstd && r.to == NULL)
		cli_usage("--zstd needs --to");
	return walship_recv_stream(&r);
}
