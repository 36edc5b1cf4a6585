/*
 * kevo-walship status: how an archive or a database stands.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "options.h"
#include "walship.h"
#include "walship_status.h"

enum { OPT_JSON = 400, OPT_PROM, OPT_NAGIOS, OPT_MAX_LAG, OPT_MAX_COMMITS,
	OPT_MAX_BYTES, OPT_MAX_DRILL };

static const struct cli_opt opts[] = {
	{ OPT_JSON, 0, "json", CLI_NONE, NULL,
	    "JSON; numbers of 64 bits as strings" },
	{ OPT_PROM, 0, "prom", CLI_NONE, NULL, "text for Prometheus" },
	{ OPT_NAGIOS, 0, "nagios", CLI_NONE, NULL,
	    "one line, and the exit status of a plugin" },
	{ OPT_MAX_LAG, 0, "max-lag", CLI_REQUIRED, "TIME",
	    "fail if what is here is older (30s)" },
	{ OPT_MAX_COMMITS, 0, "max-lag-commits", CLI_REQUIRED, "N",
	    "fail if it is more commits behind" },
	{ OPT_MAX_BYTES, 0, "max-lag-bytes", CLI_REQUIRED, "SIZE",
	    "fail if it is more bytes of log behind" },
	{ OPT_MAX_DRILL, 0, "max-drill", CLI_REQUIRED, "TIME",
	    "fail if the last good drill is older (8d)" },
	ROW_QUIET,
	ROW_END
};

const struct cli_tool walship_status_tool = {
	"kevo-walship status",
	"Show how an archive or a database stands",
	"[-q] [--json | --prom | --nagios] [--max-lag=TIME]\n"
	"  [--max-lag-commits=N] [--max-lag-bytes=SIZE]\n"
	"  [--max-drill=TIME] DB|ARCHIVE",
	opts,
	"  kevo-walship status archive\n"
	"  kevo-walship status -q --max-lag 5m archive || mail -s late admin\n"
};

/* ---- what is wrong ----------------------------------------------------- */

/* What is unknown exceeds every limit. */
static int
over(const struct walship_status *s, uint64_t v, uint64_t limit,
    const char *unit, char *text, size_t room)
{
	if (limit == WALSHIP_UNKNOWN || v <= limit)
		return 0;
	if (v == WALSHIP_UNKNOWN)
		snprintf(text, room, "lag: %s: unknown (limit %" PRIu64
		    " %s)", s->path, limit, unit);
	else
		snprintf(text, room, "lag: %s: %" PRIu64 " %s behind (limit %"
		    PRIu64 ")", s->path, v, unit, limit);
	return 1;
}

static int
lag_trouble(const struct walship_status *s, const struct walship_limits *l,
    char *text, size_t room)
{
	char lag[32], limit[32];

	if (l->lag_ms != WALSHIP_UNKNOWN && s->lag_ms > l->lag_ms) {
		walship_duration(lag, s->lag_ms);
		walship_duration(limit, l->lag_ms);
		snprintf(text, room, "lag: %s: %s (limit %s)", s->path, lag,
		    limit);
		return 1;
	}
	return over(s, s->lag_commits, l->lag_commits, "commits", text,
	    room) || over(s, s->lag_bytes, l->lag_bytes, "bytes", text, room);
}

static int
drill_trouble(const struct walship_status *s, const struct walship_limits *l,
    char *text, size_t room)
{
	char age[32];

	if (l->drill_ms == WALSHIP_UNKNOWN || s->drill_ms <= l->drill_ms)
		return 0;
	walship_duration(age, s->drill_ms);
	snprintf(text, room, "drill: %s: the last good one was %s%s", s->path,
	    s->drill_ms == WALSHIP_UNKNOWN ? "never" : age,
	    s->drill_ms == WALSHIP_UNKNOWN ? "" : " ago");
	return 1;
}

static int
slot_trouble(const struct kv_slots_info *x, char *text, size_t room)
{
	if (x->state == KV_SLOT_LOST) {
		snprintf(text, room, "lost: slot %s: commits %" PRIu64 "..%"
		    PRIu64 " were dropped to keep its limit", x->name,
		    x->lost_first, x->lost_last);
		return 2;
	}
	if (x->state != KV_SLOT_AT_RISK)
		return 0;
	snprintf(text, room, "at-risk: slot %s: %" PRIu64 " bytes of at most "
	    "%" PRIu64, x->name, x->bytes, x->note.max_bytes);
	return 1;
}

int
walship_status_trouble(const struct walship_status *s,
    const struct walship_limits *l, int n, struct walship_trouble *out)
{
	int i = 0;

	memset(out, 0, sizeof(*out));
	if (s->gaps > 0 && i++ == n) {
		snprintf(out->text, sizeof(out->text), "gap: %s: commits are "
		    "missing in %" PRIu64 " place%s", s->path, s->gaps,
		    s->gaps == 1 ? "" : "s");
		return out->level = 2;
	}
	if ((out->level = lag_trouble(s, l, out->text,
	    sizeof(out->text))) != 0 && i++ == n)
		return out->level;
	if ((out->level = drill_trouble(s, l, out->text,
	    sizeof(out->text))) != 0 && i++ == n)
		return out->level;
	for (uint64_t k = 0; k < s->nslots; k++)
		if ((out->level = slot_trouble(&s->slot[k], out->text,
		    sizeof(out->text))) != 0 && i++ == n)
			return out->level;
	return out->level = 0;
}

/* ---- the answer -------------------------------------------------------- */

static int
report(const struct walship_status *s, const struct walship_limits *l)
{
	struct walship_trouble t;
	int n;

	for (n = 0; walship_status_trouble(s, l, n, &t) != 0; n++)
		cli_msg("%s", t.text);
	return n > 0 ? EXIT_NO : 0;
}

static void
perf(char *buf, size_t room, const char *name, uint64_t v, const char *unit)
{
	size_t n = strlen(buf);

	if (v == WALSHIP_UNKNOWN)
		snprintf(buf + n, room - n, " %s=U", name);
	else if (unit[0] != '\0')
		snprintf(buf + n, room - n, " %s=%" PRIu64 ".%03" PRIu64 "%s",
		    name, v / 1000, v % 1000, unit);
	else
		snprintf(buf + n, room - n, " %s=%" PRIu64, name, v);
}

/* 0 fine, 1 to be looked at, 2 something is lost; 3 by main() elsewhere. */
static int
nagios(const struct walship_status *s, const struct walship_limits *l)
{
	static const char *const words[] = { "OK", "WARNING", "CRITICAL" };
	struct walship_trouble t, worst = { "", 0 };
	char numbers[200] = "";
	int n;

	for (n = 0; walship_status_trouble(s, l, n, &t) != 0; n++)
		if (t.level > worst.level)
			worst = t;
	perf(numbers, sizeof(numbers), "commit", s->at.seq, "");
	perf(numbers, sizeof(numbers), "lag_commits", s->lag_commits, "");
	perf(numbers, sizeof(numbers), "lag", s->lag_ms, "s");
	cli_say("KEVO %s: %s |%s", words[worst.level], worst.level > 0 ?
	    worst.text : s->path, numbers);
	return worst.level;
}

/* An error is UNKNOWN to Nagios. */
static void
exit_unknown(int status)
{
	if (status >= EX_USAGE_)
		_exit(3);
}

static void
option(struct walship_limits *l, int *form, int id, const char *arg)
{
	switch (id) {
	case OPT_MAX_LAG:
		l->lag_ms = (uint64_t)cli_duration_ms("--max-lag", arg);
		break;
	case OPT_MAX_COMMITS:
		l->lag_commits = cli_number("--max-lag-commits", arg,
		    UINT64_MAX - 1);
		break;
	case OPT_MAX_BYTES:
		l->lag_bytes = cli_size("--max-lag-bytes", arg);
		break;
	case OPT_MAX_DRILL:
		l->drill_ms = (uint64_t)cli_duration_ms("--max-drill", arg);
		break;
	case 'q':
		cli_quiet = 1;
		break;
	default:
		if (*form != 0 && *form != id)
			cli_usage("--json, --prom and --nagios do not go "
			    "together");
		*form = id;
	}
}

static void
show(const struct walship_status *s, int form)
{
	if (form == OPT_JSON)
		walship_status_json(s);
	else if (form == OPT_PROM)
		walship_status_prom(s);
	else if (!cli_quiet)
		walship_status_human(s);
}

int
walship_status(struct cli_args *a)
{
	static struct walship_status s;
	struct walship_limits l = { UINT64_MAX, UINT64_MAX, UINT64_MAX,
		UINT64_MAX };
	struct walship_words w;
	int id, form = 0;

	walship_words_init(&w);
	while ((id = walship_next(a, &w)) != 0)
		option(&l, &form, id, a->arg);
	walship_words_check(&w, 1, 1, "DB");
	if (form == OPT_NAGIOS)
		cli_at_exit(exit_unknown);
	if (walship_kind(w.word[0]) == WALSHIP_ARCHIVE)
		walship_status_archive(w.word[0], &s);
	else
		walship_status_db(w.word[0], &s);
	if (form == OPT_NAGIOS)
		return cli_close(NULL, nagios(&s, &l));
	show(&s, form);
	cli_out_flush();
	return cli_close(NULL, report(&s, &l));
}
