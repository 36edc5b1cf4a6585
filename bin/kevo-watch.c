/*
 * kevo-watch: every committed change, as it comes.
 */
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "cli.h"
#include "cli_tool.h"
#include "cursor.h"
#include "format.h"
#include "options.h"
#include "range.h"

static const struct cli_opt opts[] = {
	ROW_ESCAPED,
	ROW_QUIET,
	ROW_VERBOSE,
	{ 'f', 'f', "format", CLI_REQUIRED, "FORMAT:changes ops jsonl",
	    "changes (default), ops or jsonl" },
	{ '0', '0', "null", CLI_NONE, NULL,
	    "fields of changes end in NUL instead" },
	{ 'l', 'l', "limit", CLI_REQUIRED, "N",
	    "end behind the commit with the Nth change" },
	{ OPT_SINCE, 0, "since", CLI_REQUIRED, "VERSION",
	    "begin behind the commit VERSION" },
	{ OPT_CURSOR_FILE, 0, "cursor-file", CLI_REQUIRED, "FILE",
	    "begin where FILE says, and keep it up to date" },
	{ OPT_INITIAL, 0, "initial", CLI_NONE, NULL,
	    "first print what is there" },
	{ OPT_IDLE, 0, "idle", CLI_REQUIRED, "S",
	    "end when nothing has changed for S" },
	ROW_END
};

static const struct cli_tool tool = {
	"kevo-watch",
	"Print each committed change, of all keys or those that begin with "
	"PREFIX",
	"[-Eqv] [-f FORMAT|-0] [-l N] [--since=VERSION]\n"
	" [--cursor-file=FILE] [--initial] [--idle=S] DB [PREFIX]",
	opts,
	"  kevo-watch data.kv user:\n"
	"  kevo-watch --cursor-file=reload.cursor conf.kv svc/\n"
	"  kevo-watch --since=0 --idle=0 -f jsonl data.kv\n"
};

/* How often the cursor is saved while there is more to come, or nothing that
 * is printed; and how often a reader is looked after. */
enum { SAVE_MS = 200, QUIET_SAVE_MS = 1000, LOOK_MS = 1000 };

struct watch {
	struct cli_open_opts open;
	struct format format;
	struct range_opts where;
	struct range range;
	struct cursor cursor;
	const char *cursor_file;
	int escaped, initial, limited, since_set;
	uint64_t limit, since;
	int64_t idle_ms;		/* -1: never ends */

	struct kevo *db;
	struct kevo_feed *feed;
	int pipe;			/* standard output has a reader */
	uint64_t printed;		/* changes */
	int64_t changed_ms, saved_ms;	/* when last */
};

static void
parse_format(struct watch *w, const char *name)
{
	if (strcmp(name, "changes") == 0)
		w->format.kind = FORMAT_TSV;
	else if (strcmp(name, "ops") == 0)
		w->format.kind = FORMAT_OPS;
	else if (strcmp(name, "jsonl") == 0)
		w->format.kind = FORMAT_JSONL;
	else
		cli_die(EX_USAGE_, "-f %s: it is changes, ops or jsonl",
		    name);
}

static void
parse(struct watch *w, struct cli_args *a)
{
	int id;

	w->open.flags = KEVO_RDONLY;
	w->idle_ms = -1;
	while ((id = cli_next(a)) != 0)
		switch (id) {
		case 'E':
			w->escaped = 1;
			break;
		case 'f':
			parse_format(w, a->arg);
			break;
		case '0':
			w->format.kind = FORMAT_NUL;
			break;
		case 'l':
			w->limited = 1;
			w->limit = cli_number("-l", a->arg, UINT64_MAX);
			break;
		case OPT_SINCE:
			w->since_set = 1;
			w->since = cli_number("--since", a->arg, UINT64_MAX);
			break;
		case OPT_CURSOR_FILE:
			w->cursor_file = a->arg;
			break;
		case OPT_INITIAL:
			w->initial = 1;
			break;
		case OPT_IDLE:
			w->idle_ms = cli_duration_ms("--idle", a->arg);
			break;
		default:
			cli_common(&w->open, a, id);
		}
	cli_operands(a, 1, 2);
	if (w->initial && w->since_set)
		cli_usage("--initial begins now: it does not go with "
		    "--since");
	if (a->argc - a->i == 2)
		w->where.prefix = a->argv[a->i + 1];
}

/* ---- beginning --------------------------------------------------------- */

/* The cursor's place is lost: --since does not help as long as it is there. */
static void __attribute__((noreturn))
lost(const struct watch *w)
{
	cli_msg("%s", kevo_errmsg(w->db));
	cli_hint("without %s it begins anew; --initial first prints what is "
	    "there", w->cursor.path);
	exit(EX_UNAVAILABLE_);
}

static void
begin(struct watch *w)
{
	struct kevo_feed_start s = { 0 };
	int rc;

	if (w->cursor.saved[0] != '\0')
		s.position = w->cursor.saved;
	else if (w->since_set)
		s.after = w->since;
	else
		s.flags = KEVO_FEED_NOW;
	rc = kevo_feed_open(w->db, &s, &w->feed);
	if (rc == KEVO_EINVAL && s.position != NULL)
		cli_die(EX_DATAERR_, "%s: not a cursor of kevo-watch",
		    w->cursor.path);
	if (rc == KEVO_EINVAL)
		cli_die(EX_UNAVAILABLE_, "%s", kevo_errmsg(w->db));
	if (rc == KEVO_EHISTORY && s.position != NULL)
		lost(w);
	if (rc != 0)
		cli_fail(w->db, rc);
}

/* The prefix is the range's lower bound; none: there was none, or an empty
 * one. */
static int
in_range(const struct watch *w, const struct kevo_record *rec)
{
	const struct kevo_range *r = &w->range.keys;

	return !w->range.empty && (r->from == NULL ||
	    (rec->klen >= r->from_len &&
	    memcmp(rec->key, r->from, r->from_len) == 0));
}

static void
print(struct watch *w, const struct kevo_change *c)
{
	format_write_change(&w->format, c);
	w->printed++;
	cli_progress("written", w->printed, 0, 0);
}

static void
save(struct watch *w)
{
	char at[KEVO_POSITION_LEN];

	w->saved_ms = cli_now_ms();
	kevo_feed_position(w->feed, at);
	cursor_save(&w->cursor, at);
}

/* Stop between two commits; all that was printed is behind the cursor. */
static void
stop_if_asked(struct watch *w)
{
	if (!cli_stopped())
		return;
	cli_out_flush();
	save(w);
	cli_die_by_signal();
}

/* The feed holds on to the log from before the snapshot on; what is in both is
 * passed over. */
static void
skip_to(struct watch *w, uint64_t version)
{
	struct kevo_feed_commit c;
	int rc;

	while (kevo_feed_version(w->feed) < version)
		if ((rc = kevo_feed_next(w->feed, &c)) != 0)
			cli_fail(w->db, rc);
}

static void
print_records(struct watch *w, struct kevo_snapshot *snap)
{
	struct kevo_change c = { .kind = KEVO_PUT };
	struct kevo_iter *it;
	int rc;

	if ((rc = kevo_iter_new(w->db, snap, &w->range.keys, &it)) != 0)
		cli_fail(w->db, rc);
	while ((rc = kevo_iter_next(it, &c.rec)) == 0) {
		print(w, &c);
		if (cli_stopped())
			cli_die_by_signal();
		/* The log goes on meanwhile. */
		if (w->printed % 1000 == 0 && (rc = kevo_feed_wait(w->feed,
		    0)) < 0)
			break;
	}
	if (rc < 0)
		cli_fail(w->db, rc);
	kevo_iter_free(it);
}

static void
print_initial(struct watch *w)
{
	struct kevo_snapshot *snap;
	int rc;

	if ((rc = kevo_snapshot_new(w->db, &snap)) != 0)
		cli_fail(w->db, rc);
	skip_to(w, kevo_snapshot_version(snap));
	if (!w->range.empty)
		print_records(w, snap);
	kevo_snapshot_free(snap);
	cli_out_flush();
}

/* ---- going on ---------------------------------------------------------- */

/*
 * The changes of one commit.  A record that has expired by now is not there
 * any more: its value is not shown, and who keeps a copy has to drop it.
 */
static int
print_commit(struct watch *w)
{
	uint64_t before = w->printed;
	struct kevo_change c;
	struct timespec ts;
	int rc;

	clock_gettime(CLOCK_REALTIME, &ts);
	while ((rc = kevo_feed_change(w->feed, &c)) == 0) {
		if (!in_range(w, &c.rec))
			continue;
		if (c.rec.expires_ns != 0 && c.rec.expires_ns <=
		    (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec) {
			c.kind = KEVO_DELETE;
			c.rec.value = NULL;
			c.rec.vlen = 0;
			c.rec.expires_ns = 0;
		}
		print(w, &c);
	}
	if (rc < 0)
		cli_fail(w->db, rc);
	return w->printed > before;
}

/* A reader that has gone is not told by a write that does not come. */
static void
look_after_reader(const struct watch *w)
{
	struct pollfd p = { .fd = 1, .events = 0 };

	if (w->pipe && poll(&p, 1, 0) > 0 && (p.revents & (POLLERR | POLLHUP)))
		cli_die_by(SIGPIPE);
}

/* Nothing is left to print.  1, or 0 if that has lasted long enough. */
static int
wait_for_more(struct watch *w)
{
	int64_t now = cli_now_ms(), left = LOOK_MS;
	int rc;

	if (w->changed_ms >= w->saved_ms || now - w->saved_ms >=
	    QUIET_SAVE_MS)
		save(w);
	if (w->idle_ms >= 0) {
		if (now - w->changed_ms >= w->idle_ms)
			return 0;
		if (w->idle_ms - (now - w->changed_ms) < left)
			left = w->idle_ms - (now - w->changed_ms);
	}
	if ((rc = kevo_feed_wait(w->feed, left)) < 0)
		cli_fail(w->db, rc);
	cli_progress_poke();
	if (rc == KEVO_NOTFOUND)
		look_after_reader(w);
	return 1;
}

static void
follow(struct watch *w)
{
	struct kevo_feed_commit c;
	int rc;

	w->changed_ms = cli_now_ms();
	while (!w->limited || w->printed < w->limit) {
		stop_if_asked(w);
		rc = kevo_feed_next(w->feed, &c);
		if (rc < 0)
			save(w);
		if (rc == KEVO_EHISTORY && w->cursor.path != NULL)
			lost(w);
		if (rc < 0)
			cli_fail(w->db, rc);
		if (rc == KEVO_NOTFOUND) {
			if (!wait_for_more(w))
				break;
		} else if (print_commit(w)) {
			cli_out_flush();
			w->changed_ms = cli_now_ms();
			if (w->changed_ms - w->saved_ms >= SAVE_MS)
				save(w);
		}
	}
	save(w);
}

static int
is_pipe(void)
{
	struct stat st;

	return fstat(1, &st) == 0 && (S_ISFIFO(st.st_mode) ||
	    S_ISSOCK(st.st_mode));
}

int
main(int argc, char *argv[])
{
	static struct watch w;
	struct cli_args a;

	cli_progress_mode("never");
	cli_start(&a, &tool, argc, argv);
	parse(&w, &a);
	range_init(&w.range, &w.where, w.escaped);
	cursor_open(&w.cursor, w.cursor_file);
	cli_guard_maps(a.argv[a.i]);
	w.db = cli_open(a.argv[a.i], &w.open);
	cli_signals();
	w.format.terminal = cli_out_is_tty();
	w.pipe = is_pipe();
	begin(&w);
	if (w.initial && w.cursor.saved[0] == '\0') {
		print_initial(&w);
		w.printed = 0;	/* those are no changes */
	}
	if (cli_verbose)
		cli_note("%s: after version %llu", cli_db_path(a.argv[a.i]),
		    (unsigned long long)kevo_feed_version(w.feed));
	save(&w);
	follow(&w);
	kevo_feed_close(w.feed);
	return cli_close(w.db, 0);
}
