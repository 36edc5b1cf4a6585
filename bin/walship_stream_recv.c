/*
 * A connection is one stream; with --follow and --via there is one after the
 * other.  What goes wrong with a connection is tried again, less and less
 * often; what is wrong with the log itself is for a person.
 */
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli_tool.h"
#include "db.h"
#include "ship/dest.h"
#include "ship/link.h"
#include "ship/ship.h"
#include "slots.h"
#include "walship.h"
#include "walship_child.h"
#include "walship_notify.h"
#include "walship_stream.h"

#define MOST_NAP_MS	30000
#define FIRST_NAP_MS	1000
#define BAD_STREAMS	3	/* one after the other, and a person looks */
#define READY_MS	1000

struct conn {
	const struct walship_recv *o;
	struct kv_dest *dest;
	const struct kv_dir *(*dir)(const struct kv_dest *dest);
	const char *name;	/* of the link's file below it */
	uint32_t mode;
	struct kv_link_file *file;	/* NULL: not yet */
	struct kv_link link;	/* what the file says */
	int ready;		/* the service manager has been told */
	int came;		/* a frame came in this connection */
	int bad;		/* connections in a row that ended in damage */
	int64_t nap_ms;		/* before the next one */
};

/* ---- telling others ---------------------------------------------------- */

static void
tell_manager(struct conn *c)
{
	int64_t lag = kv_link_lag_ms(&c->link);
	const char *ready = "";

	if (!c->ready && lag >= 0 && lag < READY_MS) {
		c->ready = 1;
		ready = "READY=1\n";
	}
	if (!c->link.connected)
		walship_notify("%sWATCHDOG=1\nSTATUS=No connection; commit %"
		    PRIu64 ", lag unknown", ready, c->link.seq);
	else if (lag < 0)
		walship_notify("%sWATCHDOG=1\nSTATUS=Connected; commit %"
		    PRIu64 ", lag unknown", ready, c->link.seq);
	else
		walship_notify("%sWATCHDOG=1\nSTATUS=Commit %" PRIu64 " of %"
		    PRIu64 ", %" PRIu64 " bytes, %" PRId64 ".%03d s behind",
		    ready, c->link.seq, c->link.primary_seq,
		    c->link.behind_bytes, lag / 1000, (int)(lag % 1000));
}

/* An archive that is made by its first stream has no place for it before. */
static int
open_link(struct conn *c)
{
	const struct kv_dir *dir = c->dir(c->dest);

	return dir == NULL || c->file != NULL ? 0 :
	    kv_link_open(c->dest->env, dir, c->name, c->mode, &c->file);
}

static void
note_state(struct conn *c)
{
	c->link.seq = c->dest->at.seq;
	c->link.commit_ns = c->dest->time_ns;
	if (open_link(c) == 0 && c->file != NULL)
		kv_link_write(c->file, &c->link);
	tell_manager(c);
}

static void
set_connected(struct conn *c, int yes)
{
	c->link.connected = yes;
	c->link.since_ns = kv_now_ns();
	note_state(c);
}

static void
watch(void *arg, const struct kv_recv_state *s)
{
	struct conn *c = arg;

	c->came = 1;
	c->link.contact_ns = s->contact_ns;
	if (s->beat.clock_ns != 0) {
		c->link.primary_seq = s->beat.end.seq;
		c->link.primary_ns = s->beat.clock_ns;
		c->link.behind_bytes = s->beat.bytes;
	}
	note_state(c);
}

/* ---- one connection ---------------------------------------------------- */

/* The other program ended with a status: it knows better why than we do. */
static int
remote(struct conn *c, int rc, int status)
{
	if (status == 0 || rc != KV_SHIP_SHORT)
		return rc;
	return kv_ship_fail(c->dest->env, KV_SHIP_REMOTE, "\"%s\": exit %d",
	    c->o->via, status);
}

/* *status: of the command; 0 if there is none. */
static int
connect_once(struct conn *c, int *status)
{
	struct kv_recv r = { .ack_fd = -1, .slot = c->o->slot,
		.stopped = cli_stopped, .watch = watch, .arg = c };
	struct kv_recv_state st;
	struct walship_child child;
	int err, rc;

	*status = 0;
	c->came = 0;
	if (c->o->via == NULL) {
		if (c->o->slot != NULL)
			r.ack_fd = 1;
		set_connected(c, 1);
		return kv_recv(c->dest, &r, &st);
	}
	if ((err = walship_child_start(&child, c->o->via)) != 0)
		return kv_ship_fail(c->dest->env, KV_SHIP_REMOTE, "\"%s\": "
		    "cannot be started: %s", c->o->via, strerror(err));
	r.in_fd = child.from;
	r.ack_fd = child.to;
	set_connected(c, 1);
	rc = kv_recv(c->dest, &r, &st);
	*status = walship_child_end(&child);
	return remote(c, rc, *status);
}

/* ---- one after the other ----------------------------------------------- */

/* Sleep, while the manager hears that we are alive. */
static void
nap(struct conn *c)
{
	int64_t until = kv_mono_ms() + c->nap_ms, left;

	while ((left = until - kv_mono_ms()) > 0 && !cli_stopped()) {
		poll(NULL, 0, left < 1000 ? (int)left : 1000);
		tell_manager(c);
	}
	c->nap_ms = c->nap_ms * 2 > MOST_NAP_MS ? MOST_NAP_MS :
	    c->nap_ms * 2;
}

/*
 * Does the status of the other side call for a person?  80 to 89 do, and 64 to
 * 74 if that is why the stream ended: its command line, its slot or its files
 * are wrong.  But 69 may pass; and 126, 127 and 255 are of a shell and ssh.
 */
static int
calls_person(int rc, int status)
{
	return (status >= 80 && status <= 89) || (rc == KV_SHIP_REMOTE &&
	    status >= 64 && status <= 74 && status != 69);
}

/* Is it worth to connect again? */
static int
is_passing(struct conn *c, int rc, int status)
{
	if (calls_person(rc, status))
		return 0;
	if (rc != KV_SHIP_CORRUPT)
		c->bad = 0;
	switch (rc) {
	case 0:
	case KV_SHIP_SHORT:
	case KV_SHIP_REMOTE:
	case KV_SHIP_WAITING:
	case KEVO_EBUSY:
		return 1;
	case KV_SHIP_CORRUPT:
		return ++c->bad < BAD_STREAMS;
	default:
		return 0;
	}
}

static void
say_retry(struct conn *c, int rc)
{
	const char *class = kv_ship_class_name(rc);

	if (rc == 0)
		cli_note("the other side has ended; next: connecting again "
		    "in %" PRId64 " s", c->nap_ms / 1000);
	else
		cli_msg("%s%s%s; next: retried in %" PRId64 " s",
		    class != NULL ? class : "", class != NULL ? ": " : "",
		    c->dest->env->msg, c->nap_ms / 1000);
}

static int
report(struct conn *c, int rc, int status)
{
	struct kv_env env = *c->dest->env;
	int theirs = calls_person(rc, status);

	if (rc == KV_SHIP_SHORT || rc == KV_SHIP_REMOTE ||
	    rc == KV_SHIP_CORRUPT)
		kv_ship_fail(c->dest->env, (enum kv_ship_class)rc,
		    "%.600s; next: %s", env.msg, theirs ?
		    "what it said before" : "run again");
	rc = walship_report(c->dest->env, rc);
	return theirs ? status : rc;
}

static int
run(struct conn *c)
{
	int rc, status;

	for (;;) {
		rc = connect_once(c, &status);
		set_connected(c, 0);
		if (cli_stopped())
			return rc == 0 || is_passing(c, rc, status) ? 0 :
			    report(c, rc, status);
		if (rc == 0 && (!c->o->follow || c->o->via == NULL))
			return 0;
		if (!c->o->follow || c->o->via == NULL ||
		    !is_passing(c, rc, status))
			return report(c, rc, status);
		if (c->came)
			c->nap_ms = FIRST_NAP_MS;
		say_retry(c, rc);
		nap(c);
		if (cli_stopped())
			return 0;
	}
}

static int
run_to(struct conn *c)
{
	int rc;

	c->nap_ms = FIRST_NAP_MS;
	c->dest->live = c->o->via != NULL;
	c->link.alive = 1;
	c->link.pid = (uint32_t)getpid();
	if ((rc = open_link(c)) != 0)
		return walship_report(c->dest->env, rc);
	rc = run(c);
	if (c->file != NULL)
		kv_link_close(c->file);
	return rc;
}

/* ---- where to ---------------------------------------------------------- */

static struct kevo *replica;

static const struct kv_dir *
replica_dir(const struct kv_dest *dest)
{
	(void)dest;
	return &replica->dir;
}

static int
recv_replica(const struct walship_recv *o)
{
	struct cli_open_opts open = { KEVO_ANY_CONFIG, NULL, NULL, NULL };
	struct conn c = { .o = o, .dir = replica_dir, .name = KV_LINK_DB };
	struct kv_ident id;
	int rc;

	replica = cli_open(o->apply, &open);
	if ((rc = kv_ident_read(&replica->env, &replica->dir, &id)) != 0 ||
	    (rc = kv_dest_db_open(replica, &c.dest)) != 0)
		cli_fail(replica, rc);
	c.mode = id.mode;
	rc = run_to(&c);
	kv_dest_db_close(c.dest);
	return cli_close(replica, rc);
}

static int
recv_archive(const struct walship_recv *o)
{
	struct conn c = { .o = o, .dir = kv_dest_archive_dir,
		.name = KV_LINK_ARCHIVE, .mode = 0644 };
	int rc = kv_dest_archive_open(o->to, o->zstd, &c.dest);

	if (rc == KEVO_ENOMEM)
		cli_die(EX_SOFTWARE_, "out of memory");
	if (rc != 0)
		walship_fail(c.dest->env, rc);
	rc = run_to(&c);
	kv_dest_archive_close(c.dest);
	return cli_close(NULL, rc);
}

int
walship_recv_stream(const struct walship_recv *o)
{
	int rc;

	if (o->slot != NULL && !kv_slots_name_ok(o->slot))
		cli_usage("--slot: %s cannot be the name of a slot", o->slot);
	signal(SIGPIPE, SIG_IGN);
	cli_signals();
	rc = o->apply != NULL ? recv_replica(o) : recv_archive(o);
	if (rc == 0 && cli_stopped())
		cli_die_by_signal();
	return rc;
}
