/*
 * setting: a name that is not known is answered with the nearest one.
 */
#include <stdio.h>
#include <string.h>

#include "cli.h"
#include "nearest.h"
#include "setting.h"

enum { NAME_ROOM = 80 };

static void __attribute__((noreturn))
unknown(const char *name)
{
	const char *best = NULL, *p;
	int d, best_d = 1000;

	for (p = kevo_setting_names(); *p != '\0'; p += strlen(p) + 1) {
		d = nearest_distance(name, p);
		if (d < best_d) {
			best_d = d;
			best = p;
		}
		p += strlen(p) + 1;
	}
	if (best != NULL && nearest_plausible(name, best))
		cli_die(EX_USAGE_, "%s: no such setting; did you mean %s?",
		    name, best);
	cli_die(EX_USAGE_, "%s: no such setting", name);
}

/* names: "name\0meaning\0...\0\0". */
static int
is_known(const char *name, const char *names)
{
	for (; *names != '\0'; names += strlen(names) + 1) {
		if (strcmp(name, names) == 0)
			return 1;
		names += strlen(names) + 1;
	}
	return 0;
}

void
setting_check_name(const char *name, size_t len)
{
	char word[NAME_ROOM];

	snprintf(word, sizeof(word), "%.*s", (int)(len < NAME_ROOM ? len :
	    NAME_ROOM), name);
	if (!is_known(word, kevo_setting_names()))
		unknown(word);
}

void
setting_check_change(const char *change)
{
	size_t len = strcspn(change, "=");

	if (change[len] == '\0')
		cli_die(EX_USAGE_, "%s: NAME=VALUE expected", change);
	setting_check_name(change, len);
}

const char *const *
setting_profile(const char *name)
{
	const char *const *changes = kevo_profile(name);
	const char *p = kevo_profile_names();
	char all[200] = "";

	if (changes != NULL)
		return changes;
	for (; *p != '\0'; p += strlen(p) + 1) {
		snprintf(all + strlen(all), sizeof(all) - strlen(all), " %s",
		    p);
		p += strlen(p) + 1;
	}
	cli_die(EX_USAGE_, "%s: no such profile; there are%s", name, all);
}
