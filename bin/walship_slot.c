/*
 * kevo-walship slot: what replicas still need of a log.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "db.h"
#include "feed.h"
#include "options.h"
#include "position.h"
#include "ship/ack.h"
#include "ship/ship.h"
#include "slots.h"
#include "text.h"
#include "walship.h"

#define STORE_MS	1000	/* between two writes of a slot */

enum { OPT_MAX_BYTES = 400, OPT_MAX_AGE, OPT_ANNOUNCE, OPT_POSITION,
	OPT_ON_LIMIT };

static const struct cli_opt opts[] = {
	{ OPT_MAX_BYTES, 0, "max-bytes", CLI_REQUIRED, "SIZE",
	    "keep at most SIZE for it (8G or a quarter; none)" },
	{ OPT_MAX_AGE, 0, "max-age", CLI_REQUIRED, "TIME",
	    "keep nothing that is older (none)" },
	{ OPT_ON_LIMIT, 0, "on-limit", CLI_REQUIRED, "WHAT:drop stop-writes",
	    "drop, or stop-writes" },
	{ OPT_ANNOUNCE, 0, "announce", CLI_REQUIRED, "ADDRESS",
	    "where the replica can be reached, HOST:PORT" },
	{ OPT_POSITION, 0, "at", CLI_REQUIRED, "POSITION",
	    "what the replica has already" },
	ROW_DRY_RUN("say what would become of the slot"),
	ROW_QUIET,
	ROW_VERBOSE,
	ROW_END
};

const struct cli_tool walship_slot_tool = {
	"kevo-walship slot",
	"Keep what a replica still needs of the log",
	"[-nqv] DB create NAME [--max-bytes=SIZE]\n"
	" [--max-age=TIME] [--on-limit=drop|stop-writes]\n"
	" [--announce=ADDRESS] [--at=POSITION]\n"
	"[-qv] DB list\n"
	"[-nqv] DB drop NAME\n"
	"[-nqv] DB ack NAME",
	opts,
	"  kevo-walship slot data.kv create r1 --max-bytes 2G\n"
	"  kevo-walship slot data.kv list\n"
	"  kevo-walship slot data.kv ack r1 < archive/state/acks/r1\n"
};

struct slot_args {
	struct kv_slots_note note;
	int limited;		/* --max-bytes was given */
	int shaped;		/* any option of create was */
	int dry_run;
};

/* ---- options ----------------------------------------------------------- */

static uint64_t
limit_of(const char *what, const char *arg, int age)
{
	int64_t ms;

	if (strcmp(arg, "none") == 0)
		return KV_SLOTS_NO_LIMIT;
	if (!age)
		return cli_size(what, arg);
	ms = cli_duration_ms(what, arg);
	return ms < 0 ? KV_SLOTS_NO_LIMIT : (uint64_t)ms / 1000;
}

static void
set_announce(struct slot_args *s, const char *arg)
{
	if (strlen(arg) >= sizeof(s->note.announce) ||
	    !kv_text_printable(arg, 0))
		cli_usage("--announce: %s is no address", arg);
	strcpy(s->note.announce, arg);
}

static void
take(struct slot_args *s, int id, const char *arg)
{
	s->shaped |= id != 'n';
	switch (id) {
	case 'n':
		s->dry_run = 1;
		break;
	case OPT_MAX_BYTES:
		s->note.max_bytes = limit_of("--max-bytes", arg, 0);
		s->limited = 1;
		break;
	case OPT_MAX_AGE:
		s->note.max_age_s = limit_of("--max-age", arg, 1);
		break;
	case OPT_ON_LIMIT:
		s->note.stop_writes = strcmp(arg, "stop-writes") == 0;
		if (!s->note.stop_writes && strcmp(arg, "drop") != 0)
			cli_usage("--on-limit: %s is not drop or stop-writes",
			    arg);
		break;
	case OPT_ANNOUNCE:
		set_announce(s, arg);
		break;
	case OPT_POSITION:
		if (kv_position_parse(arg, &s->note.confirmed) != 0)
			cli_usage("--at: %s is no position", arg);
	}
}

/* ---- verbs ------------------------------------------------------------- */

/* 0, KEVO_FALSE or KEVO_EHISTORY, as the making of it would say. */
static int
try_create(struct kevo *db, const char *name, struct kv_slots_note *note)
{
	struct kv_feed_start start = { .flags = KEVO_FEED_DURABLE,
		.at = &note->confirmed };
	struct kv_slots_info old;
	struct kevo_feed *feed;
	int rc = kv_slots_look(db, name, &old);

	if (rc == 0 && old.state != KV_SLOT_LOST)
		return KEVO_FALSE;
	if (rc < 0 || (note->confirmed.epoch == 0 && (rc = kv_position_now(db,
	    KV_AT_SYNCED, &note->confirmed)) != 0) ||
	    (rc = kv_feed_open(db, &start, &feed)) != 0)
		return rc;
	kevo_feed_close(feed);
	return 0;
}

static void
say_create(const char *name, const struct kv_slots_note *note)
{
	char at[KV_POSITION_LEN];

	kv_position_print(at, &note->confirmed);
	cli_say("slot %s: would be created, at %s", name, at);
}

static int
create(struct kevo *db, const char *name, struct slot_args *s)
{
	int rc;

	if (!s->limited && (rc = kv_slots_default_bytes(db,
	    &s->note.max_bytes)) != 0)
		return walship_report(&db->env, rc);
	rc = s->dry_run ? try_create(db, name, &s->note) :
	    kv_slots_create(db, name, &s->note);
	if (rc == 0 && s->dry_run)
		say_create(name, &s->note);
	if (rc == KEVO_FALSE) {
		cli_msg("%s: there is a slot %s already", db->path, name);
		return EX_CANTCREAT_;
	}
	if (rc == KEVO_EHISTORY)
		rc = KV_SHIP_GAP;
	return rc != 0 ? walship_report(&db->env, rc) : 0;
}

static void
print_limit(char buf[32], uint64_t v)
{
	if (v == KV_SLOTS_NO_LIMIT)
		strcpy(buf, "none");
	else
		snprintf(buf, 32, "%" PRIu64, v);
}

/* Name, state, position, bytes kept for it alone, the limits, last contact. */
static int
print_slot(void *arg, const struct kv_slots_info *i)
{
	char at[KV_POSITION_LEN], bytes[32], age[32];
	char contact[KV_TIME_LEN] = "never";

	(void)arg;
	kv_position_print(at, &i->note.confirmed);
	print_limit(bytes, i->note.max_bytes);
	print_limit(age, i->note.max_age_s);
	if (i->note.contact_ns != 0)
		kv_time_print(contact, i->note.contact_ns);
	cli_say("%s\t%s\t%s\t%" PRIu64 "\t%s\t%s\t%s\t%s\t%s", i->name,
	    kv_slots_state_word(i->state), at, i->kept_bytes, bytes, age,
	    i->note.stop_writes ? "stop-writes" : "drop", contact,
	    i->note.announce[0] != '\0' ? i->note.announce : "-");
	return 0;
}

static int
list(struct kevo *db)
{
	int rc = kv_slots_each(db, print_slot, NULL);

	return rc != 0 ? walship_report(&db->env, rc) : 0;
}

static int
no_slot(const struct kevo *db, const char *name)
{
	cli_msg("%s: no slot %s", db->path, name);
	return EX_NOINPUT_;
}

static int
drop(struct kevo *db, const char *name, const struct slot_args *s)
{
	struct kv_slots_info i;
	int rc = s->dry_run ? kv_slots_look(db, name, &i) :
	    kv_slots_drop(db, name);

	if (rc == 0 && s->dry_run)
		cli_say("slot %s: would be dropped, and with it %" PRIu64
		    " bytes of log", name, i.kept_bytes);
	if (rc == KEVO_NOTFOUND)
		return no_slot(db, name);
	return rc != 0 ? walship_report(&db->env, rc) : 0;
}

/* Is there such a slot, and such a position? */
static int
try_store(struct kevo *db, const char *name, const struct kv_position *at)
{
	struct kv_slots_info i;
	struct kv_position ours;
	int rc = kv_slots_look(db, name, &i);

	if (rc != 0 || (rc = kv_position_at(db, at->seq, &ours)) < 0)
		return rc;
	if (rc == 0 && ours.chain != at->chain)
		return kv_fail(&db->env, KEVO_EHISTORY, "%s: it never had the "
		    "position that is acknowledged", db->path);
	return 0;
}

static int
store(struct kevo *db, const char *name, struct kv_position *at,
    const struct slot_args *s)
{
	int rc = s->dry_run ? try_store(db, name, at) :
	    kv_slots_ack(db, name, at);
	char text[KV_POSITION_LEN];

	kv_position_print(text, at);
	if (rc == 0 && s->dry_run)
		cli_say("slot %s: would be at %s", name, text);
	at->epoch = 0;
	if (rc == KEVO_NOTFOUND)
		return no_slot(db, name);
	if (rc == KEVO_EHISTORY)
		rc = KV_SHIP_FORK;
	return rc != 0 ? walship_report(&db->env, rc) : 0;
}

/* Lines on standard input, until it ends; the last one counts. */
static int
ack(struct kevo *db, const char *name, const struct slot_args *s)
{
	struct kv_position at = { .epoch = 0 };
	struct kv_ack_in in = { .len = 0 };
	int64_t due = 0;
	int got, any = 0, rc;
	struct kv_ack a;

	while (!in.ended && !cli_stopped()) {
		got = kv_ack_read(&in, 0, STORE_MS, &a);
		if (got < 0)
			cli_note("a line that is no acknowledgement is "
			    "ignored");
		if (got > 0 && a.stage != KV_ACK_RECEIVED &&
		    (strcmp(a.slot, "-") == 0 || strcmp(a.slot, name) == 0)) {
			any = 1;	/* if only that nothing is there */
			if (!a.none)
				at = a.at;
		}
		if (at.epoch == 0 || (kv_mono_ms() < due && !in.ended))
			continue;
		if ((rc = store(db, name, &at, s)) != 0)
			return rc;
		due = kv_mono_ms() + STORE_MS;
	}
	if (at.epoch != 0 && (rc = store(db, name, &at, s)) != 0)
		return rc;
	if (any)
		return 0;
	cli_msg("(stdin): no acknowledgement for slot %s", name);
	return EXIT_NO;
}

static int
run(struct kevo *db, const char *verb, const char *name, struct slot_args *s)
{
	if (strcmp(verb, "create") == 0)
		return create(db, name, s);
	if (strcmp(verb, "drop") == 0)
		return drop(db, name, s);
	if (strcmp(verb, "ack") == 0)
		return ack(db, name, s);
	return list(db);
}

static void
check_words(const struct walship_words *w, const struct slot_args *s)
{
	const char *verb;

	walship_words_check(w, 2, 3, "DB VERB NAME");
	verb = w->word[1];
	if (strcmp(verb, "list") == 0) {
		walship_words_check(w, 2, 2, "DB VERB");
	} else if (strcmp(verb, "create") == 0 ||
	    strcmp(verb, "drop") == 0 || strcmp(verb, "ack") == 0) {
		walship_words_check(w, 3, 3, "DB VERB NAME");
		if (!kv_slots_name_ok(w->word[2]))
			cli_usage("%s: cannot be the name of a slot",
			    w->word[2]);
	} else {
		cli_usage("%s: not create, list, drop or ack", verb);
	}
	if (s->shaped && strcmp(verb, "create") != 0)
		cli_usage("options of a slot go with create");
}

int
walship_slot(struct cli_args *a)
{
	struct slot_args s = { .note = { .max_age_s = KV_SLOTS_NO_LIMIT } };
	struct cli_open_opts open = { 0, NULL, NULL, NULL };
	struct walship_words w;
	struct kevo *db;
	int id;

	walship_words_init(&w);
	while ((id = walship_next(a, &w)) != 0)
		if (!cli_common(&open, a, id))
			take(&s, id, a->arg);
	check_words(&w, &s);
	if (s.dry_run || strcmp(w.word[1], "list") == 0)
		open.flags = KEVO_RDONLY;
	cli_signals();
	db = cli_open(w.word[0], &open);
	return cli_close(db, run(db, w.word[1], w.n > 2 ? w.word[2] : NULL,
	    &s));
}
