#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "epoch.h"
#include "format.h"
#include "format_internal.h"
#include "ship/ship.h"
#include "walship.h"
#include "walship_status.h"

void
walship_duration(char buf[32], uint64_t ms)
{
	if (ms == WALSHIP_UNKNOWN)
		snprintf(buf, 32, "unknown");
	else if (ms < 10000)
		snprintf(buf, 32, "%" PRIu64 ".%" PRIu64 " s", ms / 1000,
		    ms / 100 % 10);
	else if (ms < 600 * 1000)
		snprintf(buf, 32, "%" PRIu64 " s", ms / 1000);
	else if (ms < 10 * 3600 * (uint64_t)1000)
		snprintf(buf, 32, "%" PRIu64 " min", ms / 60000);
	else if (ms < 72 * 3600 * (uint64_t)1000)
		snprintf(buf, 32, "%" PRIu64 " h", ms / 3600000);
	else
		snprintf(buf, 32, "%" PRIu64 " d", ms / 86400000);
}

/* ---- for people -------------------------------------------------------- */

static void
human_lag(const struct walship_status *s)
{
	char lag[32], contact[32];

	if (s->lag_commits == WALSHIP_UNKNOWN) {
		cli_say("lag        unknown");
		return;
	}
	walship_duration(lag, s->lag_ms);
	walship_duration(contact, s->contact_ms);
	cli_say("lag        %" PRIu64 " commit%s, %s; last contact %s ago",
	    s->lag_commits, s->lag_commits == 1 ? "" : "s", lag, contact);
}

static void
human_archive(const struct walship_status *s)
{
	char drill[32];

	cli_say("segments   %" PRIu64 ", commits %" PRIu64 "..%" PRIu64,
	    s->segments, s->first, s->last_sealed);
	cli_say("tail       %" PRIu64 " commit%s", s->tail_commits,
	    s->tail_commits == 1 ? "" : "s");
	for (uint64_t i = 0; i < s->ngap; i++)
		cli_say("%s  %" PRIu64 "..%" PRIu64, s->gap[i].known ?
		    "known loss" : "missing   ", s->gap[i].first,
		    s->gap[i].last);
	human_lag(s);
	cli_say("files      %" PRIu64 " orphans, %" PRIu64 " rejected, %"
	    PRIu64 " incoming", s->orphans, s->rejected, s->incoming);
	walship_duration(drill, s->drill_ms);
	cli_say("drill      %s%s", s->drill_ms == WALSHIP_UNKNOWN ?
	    "never" : drill, s->drill_ms == WALSHIP_UNKNOWN ? "" : " ago");
}

static void
human_slots(const struct walship_status *s)
{
	char contact[32];

	for (uint64_t i = 0; i < s->nslots; i++) {
		const struct kv_slots_info *x = &s->slot[i];

		walship_duration(contact, x->note.contact_ns == 0 ?
		    WALSHIP_UNKNOWN : s->now_ns > x->note.contact_ns ?
		    (s->now_ns - x->note.contact_ns) / 1000000u : 0);
		cli_say("slot       %s: %s, at commit %" PRIu64 ", %"
		    PRIu64 " behind, %" PRIu64 " bytes kept, contact %s",
		    x->name, kv_slots_state_word(x->state),
		    x->note.confirmed.seq, s->at.seq > x->note.confirmed.seq ?
		    s->at.seq - x->note.confirmed.seq : 0, x->kept_bytes,
		    contact);
	}
}

void
walship_status_human(const struct walship_status *s)
{
	char id[37], at[KV_POSITION_LEN];

	kv_id_print(id, s->id);
	kv_position_print(at, &s->at);
	cli_say("database   %s", id);
	cli_say("position   %s", s->at.epoch != 0 ? at : "none");
	if (s->is_archive) {
		human_archive(s);
		return;
	}
	cli_say("role       %s%s%s", kv_role_word(s->role.role),
	    s->role.primary[0] != '\0' ? " of " : "", s->role.primary);
	if (s->role.role == KV_ROLE_REPLICA)
		human_lag(s);
	human_slots(s);
}

/* ---- JSON -------------------------------------------------------------- */

static void
put_string(const char *name, const char *v)
{
	format_puts(",\"");
	format_puts(name);
	format_puts("\":\"");
	format_put(json_encode, 6, v, strlen(v));
	format_puts("\"");
}

/* As a string: a program that reads numbers as doubles would round it. */
static void
put_number(const char *name, uint64_t v)
{
	char buf[24];

	if (v == WALSHIP_UNKNOWN) {
		put_string(name, "unknown");
		return;
	}
	snprintf(buf, sizeof(buf), "%" PRIu64, v);
	put_string(name, buf);
}

static void
json_gaps(const struct walship_status *s)
{
	format_puts(",\"missing\":[");
	for (uint64_t i = 0; i < s->ngap; i++) {
		format_puts(i == 0 ? "{\"known\":" : ",{\"known\":");
		format_puts(s->gap[i].known ? "true" : "false");
		put_number("first", s->gap[i].first);
		put_number("last", s->gap[i].last);
		format_puts("}");
	}
	format_puts("]");
}

static void
json_slots(const struct walship_status *s)
{
	char at[KV_POSITION_LEN];

	format_puts(",\"slots\":[");
	for (uint64_t i = 0; i < s->nslots; i++) {
		const struct kv_slots_info *x = &s->slot[i];

		format_puts(i == 0 ? "{\"lost\":" : ",{\"lost\":");
		format_puts(x->state == KV_SLOT_LOST ? "true" : "false");
		put_string("name", x->name);
		put_string("state", kv_slots_state_word(x->state));
		kv_position_print(at, &x->note.confirmed);
		put_string("confirmed", at);
		put_number("bytes", x->bytes);
		put_number("kept_bytes", x->kept_bytes);
		put_number("contact_ns", x->note.contact_ns);
		format_puts("}");
	}
	format_puts("]");
}

void
walship_status_json(const struct walship_status *s)
{
	char id[37], at[KV_POSITION_LEN];

	kv_id_print(id, s->id);
	kv_position_print(at, &s->at);
	format_puts(s->is_archive ? "{\"kind\":\"archive\"" :
	    "{\"kind\":\"database\"");
	put_string("database", id);
	put_string("position", at);
	put_number("commit", s->at.seq);
	put_number("lag_commits", s->lag_commits);
	put_number("lag_bytes", s->lag_bytes);
	put_number("lag_ms", s->lag_ms);
	put_number("contact_ms", s->contact_ms);
	if (s->is_archive) {
		put_number("segments", s->segments);
		put_number("first", s->first);
		put_number("last_sealed", s->last_sealed);
		put_number("tail_commits", s->tail_commits);
		put_number("gaps", s->gaps);
		json_gaps(s);
		put_number("orphans", s->orphans);
		put_number("rejected", s->rejected);
		put_number("incoming", s->incoming);
		put_number("drill_ms", s->drill_ms);
	} else {
		put_string("role", kv_role_word(s->role.role));
		put_string("primary", s->role.primary);
		json_slots(s);
	}
	format_puts("}\n");
}

/* ---- Prometheus -------------------------------------------------------- */

/* What is unknown is left out: an absent value alarms, a wrong one does not. */
static void
gauge(const char *name, const char *help, uint64_t v, unsigned unit)
{
	if (v == WALSHIP_UNKNOWN)
		return;
	cli_say("# HELP kevo_walship_%s %s", name, help);
	cli_say("# TYPE kevo_walship_%s gauge", name);
	if (unit == 1000)
		cli_say("kevo_walship_%s %" PRIu64 ".%03" PRIu64, name,
		    v / 1000, v % 1000);
	else
		cli_say("kevo_walship_%s %" PRIu64, name, v);
}

static void
prom_slots(const struct walship_status *s)
{
	if (s->nslots == 0)
		return;
	cli_say("# HELP kevo_walship_slot_bytes "
	    "bytes kept for a slot alone");
	cli_say("# TYPE kevo_walship_slot_bytes gauge");
	for (uint64_t i = 0; i < s->nslots; i++)
		cli_say("kevo_walship_slot_bytes{slot=\"%s\"} %" PRIu64,
		    s->slot[i].name, s->slot[i].kept_bytes);
	cli_say("# HELP kevo_walship_slot_lost "
	    "1 if the slot lost what it needs");
	cli_say("# TYPE kevo_walship_slot_lost gauge");
	for (uint64_t i = 0; i < s->nslots; i++)
		cli_say("kevo_walship_slot_lost{slot=\"%s\"} %d",
		    s->slot[i].name, s->slot[i].state == KV_SLOT_LOST);
}

void
walship_status_prom(const struct walship_status *s)
{
	gauge("commit", "newest commit that is here", s->at.seq, 1);
	gauge("epoch", "its epoch", s->at.epoch, 1);
	gauge("lag_commits", "commits behind", s->lag_commits, 1);
	gauge("lag_bytes", "bytes of log behind", s->lag_bytes, 1);
	gauge("lag_seconds", "age of what is here", s->lag_ms, 1000);
	gauge("contact_seconds", "since the source was heard of",
	    s->contact_ms, 1000);
	if (!s->is_archive) {
		prom_slots(s);
		return;
	}
	gauge("segments", "complete segments", s->segments, 1);
	gauge("gaps", "places where commits are missing", s->gaps, 1);
	gauge("orphans", "files of commits that lost a promotion",
	    s->orphans, 1);
	gauge("rejected", "files that were not accepted", s->rejected, 1);
	gauge("drill_seconds", "since the last good drill", s->drill_ms,
	    1000);
}
