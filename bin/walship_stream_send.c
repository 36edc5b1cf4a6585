#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli_tool.h"
#include "position.h"
#include "db.h"
#include "ship/sender.h"
#include "slots.h"
#include "walship.h"
#include "walship_stream.h"

int
walship_ack_fd(const char *arg)
{
	uint64_t fd;

	if (strcmp(arg, "-") == 0)
		return 0;
	fd = cli_number("--acks", arg, INT_MAX);
	if (fcntl((int)fd, F_GETFD) < 0)
		cli_usage("--acks: descriptor %s is not open", arg);
	return (int)fd;
}

static void
note(const char *what)
{
	cli_note("%s", what);
}

/* A sender that may write wakes at once; one that may not can do without. */
static struct kevo *
open_db(const struct walship_send *s)
{
	struct kevo_options o = { .program = "kevo-walship" };
	const char *path = cli_db_path(s->db);
	struct kevo *db;
	int rc = kevo_open(path, 0, &o, &db);

	if (rc == KEVO_EPERM && s->slot == NULL && s->seal_after_ms < 0) {
		kevo_close(db);
		rc = kevo_open(path, KEVO_RDONLY, &o, &db);
	}
	if (db == NULL)
		cli_die(EX_SOFTWARE_, "out of memory");
	if (rc != 0)
		cli_fail(db, rc);
	return db;
}

static void
no_slot(const struct walship_send *s)
{
	cli_msg("%s: no slot %s", cli_db_path(s->db), s->slot);
	cli_hint("kevo-walship slot %s create %s", s->db, s->slot);
}

/* As a program that SIGPIPE ends. */
static void
die_of_pipe(void)
{
	signal(SIGPIPE, SIG_DFL);
	raise(SIGPIPE);
	_exit(128 + SIGPIPE);
}

static void
say_sent(const struct kv_sent *o)
{
	char at[KV_POSITION_LEN];

	if (cli_verbose == 0)
		return;
	kv_position_print(at, &o->at);
	cli_note("sent %" PRIu64 " commit%s, %" PRIu64 " bytes, up to %s",
	    o->records, o->records == 1 ? "" : "s", o->bytes, at);
}

int
walship_send_stream(const struct walship_send *s)
{
	struct kv_send k = { .slot = s->slot, .follow = s->follow,
		.out_fd = 1, .ack_fd = s->ack_fd, .rate = s->rate,
		.seal_after_ms = s->seal_after_ms, .stopped = cli_stopped,
		.note = note };
	struct kv_position from;
	struct kv_sent out;
	struct kevo *db;
	int rc;

	if (isatty(1))
		cli_usage("a stream does not go to a terminal");
	if (s->slot != NULL && !kv_slots_name_ok(s->slot))
		cli_usage("--slot: %s cannot be the name of a slot", s->slot);
	if (s->from != NULL && kv_position_parse(s->from, &from) != 0)
		cli_usage("--from: %s is no position", s->from);
	if (s->from != NULL)
		k.from = &from;
	signal(SIGPIPE, SIG_IGN);
	cli_signals();
	db = open_db(s);
	rc = kv_send(db, &k, &out);
	if (rc == KEVO_NOTFOUND) {
		no_slot(s);
		return cli_close(db, EX_NOINPUT_);
	}
	if (rc != 0)
		rc = walship_report(&db->env, rc);
	else
		say_sent(&out);
	rc = cli_close(db, rc);
	if (cli_stopped())
		cli_die_by_signal();
	if (rc == 0 && out.gone)
		die_of_pipe();
	return rc;
}
