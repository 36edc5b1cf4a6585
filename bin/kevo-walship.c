/*
 * kevo-walship: shipping the log: the front of its sub-commands.
 */
#include <string.h>

#include "cli.h"
#include "nearest.h"
#include "options.h"
#include "walship.h"

static const struct cli_opt opts[] = {
	ROW_END
};

static const struct cli_tool tool = {
	"kevo-walship",
	"Ship the log of a database to archives and replicas",
	"COMMAND [ARG]...",
	opts,
	"  kevo-walship send data.kv --to archive\n"
	"  kevo-walship status archive\n"
	"  kevo-walship send --help\n"
};

static const struct command {
	const struct cli_tool *tool;
	int (*run)(struct cli_args *a);
} commands[] = {
	{ &walship_apply_tool, walship_apply },
	{ &walship_base_tool, walship_base },
	{ &walship_drill_tool, walship_drill },
	{ &walship_fence_tool, walship_fence },
	{ &walship_known_loss_tool, walship_known_loss },
	{ &walship_pos_tool, walship_pos },
	{ &walship_promote_tool, walship_promote },
	{ &walship_prune_tool, walship_prune },
	{ &walship_recv_tool, walship_recv },
	{ &walship_rejoin_tool, walship_rejoin },
	{ &walship_restore_tool, walship_restore },
	{ &walship_send_tool, walship_send },
	{ &walship_slot_tool, walship_slot },
	{ &walship_status_tool, walship_status },
	{ &walship_tail_tool, walship_tail },
	{ &walship_verify_tool, walship_verify }
};

enum { COMMANDS = sizeof(commands) / sizeof(commands[0]) };

/* "send" of "kevo-walship send". */
static const char *
verb(const struct command *c)
{
	return c->tool->name + sizeof("kevo-walship ") - 1;
}

static const struct command *
find(const char *name)
{
	const char *best = NULL;
	int d, best_d = 1000;

	for (size_t i = 0; i < COMMANDS; i++) {
		if (strcmp(verb(&commands[i]), name) == 0)
			return &commands[i];
		d = nearest_distance(name, verb(&commands[i]));
		if (d < best_d) {
			best_d = d;
			best = verb(&commands[i]);
		}
	}
	if (best != NULL && nearest_plausible(name, best))
		cli_usage("%s: no such command; did you mean %s?", name,
		    best);
	cli_usage("%s: no such command", name);
}

int
main(int argc, char *argv[])
{
	const struct cli_tool *subs[COMMANDS + 1];
	const struct command *c;
	struct cli_args a;

	for (size_t i = 0; i < COMMANDS; i++)
		subs[i] = commands[i].tool;
	subs[COMMANDS] = NULL;
	cli_start_front(&a, &tool, subs, argc, argv);
	if (cli_next(&a) != 0 || a.i == argc)
		cli_usage("COMMAND is missing");
	c = find(argv[a.i]);
	cli_start(&a, c->tool, argc - a.i, argv + a.i);
	return c->run(&a);
}
