/*
 * kevo-walship known-loss: commits of an archive that are gone for good.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "options.h"
#include "ship/archive.h"
#include "ship/ship.h"
#include "walship.h"
#include "walship_known.h"

#define NAME	"known-loss"

static const struct cli_opt opts[] = {
	ROW_DRY_RUN("say what would be noted"),
	ROW_QUIET,
	ROW_END
};

const struct cli_tool walship_known_loss_tool = {
	"kevo-walship known-loss",
	"Note that commits of an archive are lost for good",
	"[-nq] ARCHIVE FIRST-LAST REASON",
	opts,
	"  kevo-walship known-loss archive 61-65 'disk of db1, 2026-11-20'\n"
};

/* "61-65" or "61..65". */
static int
parse_range(const char *s, uint64_t *first, uint64_t *last)
{
	int n = 0;

	if (sscanf(s, "%" SCNu64 "-%" SCNu64 "%n", first, last, &n) != 2)
		n = 0;
	if (n == 0 && sscanf(s, "%" SCNu64 "..%" SCNu64 "%n", first, last,
	    &n) != 2)
		return -1;
	return n > 0 && s[n] == '\0' && s[0] != '-' && *first >= 1 &&
	    *first <= *last ? 0 : -1;
}

int
walship_known_read(struct kv_archive *a, struct walship_known *out)
{
	char *text, *line, *save = NULL;
	struct walship_loss *p;
	uint64_t first, last;
	int rc;

	memset(out, 0, sizeof(*out));
	rc = kv_archive_get_state(a, NAME, &text);
	if (rc == KEVO_ENODB)
		return 0;
	if (rc != 0)
		return rc;
	for (line = strtok_r(text, "\n", &save); line != NULL && rc == 0;
	    line = strtok_r(NULL, "\n", &save)) {
		if (sscanf(line, "%" SCNu64 "..%" SCNu64 " ", &first,
		    &last) != 2 || first > last)
			continue;
		p = realloc(out->v, (out->n + 1) * sizeof(*p));
		if (p == NULL) {
			rc = kv_fail(&a->env, KEVO_ENOMEM,
			    "%s: out of memory", a->path);
			break;
		}
		out->v = p;
		out->v[out->n++] = (struct walship_loss){ first, last };
	}
	free(text);
	return rc;
}

int
walship_known_covers(const struct walship_known *k, uint64_t first,
    uint64_t last)
{
	int moved = 1;

	while (moved && first <= last) {
		moved = 0;
		for (size_t i = 0; i < k->n && first <= last; i++)
			if (k->v[i].first <= first && first <= k->v[i].last) {
				if (k->v[i].last >= last)
					return 1;
				first = k->v[i].last + 1;
				moved = 1;
			}
	}
	return 0;
}

int
walship_known_loss(struct cli_args *a)
{
	char line[600], when[KV_SHIP_TIME_LEN];
	struct kv_archive *ar;
	struct walship_words w;
	uint64_t first, last;
	int id, dry_run = 0, rc;

	walship_words_init(&w);
	while ((id = walship_next(a, &w)) != 0)
		if (id == 'n')
			dry_run = 1;
		else
			cli_quiet = 1;
	walship_words_check(&w, 3, 3, "ARCHIVE FIRST-LAST REASON");
	if (parse_range(w.word[1], &first, &last) != 0)
		cli_usage("%s is not FIRST-LAST, two numbers of commits",
		    w.word[1]);
	if (strpbrk(w.word[2], "\n\r") != NULL || w.word[2][0] == '\0' ||
	    strlen(w.word[2]) > 400)
		cli_usage("REASON is one line");
	ar = walship_archive_open(w.word[0]);
	if (dry_run) {
		cli_say("%s: commits %" PRIu64 "..%" PRIu64 " would be "
		    "noted as lost: %s", ar->path, first, last, w.word[2]);
		kv_archive_close(ar);
		return cli_close(NULL, 0);
	}
	if ((rc = kv_archive_lock(ar, "kevo-walship known-loss")) != 0)
		walship_archive_fail(ar, rc);
	kv_ship_time(when, kv_now_ns());
	snprintf(line, sizeof(line), "%" PRIu64 "..%" PRIu64 " %s %s\n",
	    first, last, when, w.word[2]);
	if ((rc = kv_archive_note(ar, NAME, line)) != 0)
		walship_archive_fail(ar, rc);
	kv_archive_close(ar);
	return cli_close(NULL, 0);
}
