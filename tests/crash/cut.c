/*
 * cut: power cuts for the sweeps in shell.
 *
 *   cut keep DIR SHADOW    DIR and its name are on disk as they are now
 *   cut off DIR SHADOW     the power fails: DIR becomes what is left of it
 *
 * Paths are absolute.  SHADOW is kept by tests/fault in between; KEVO_SEED
 * chooses among what may be left.
 */
#include "crash.h"
#include "disk.h"

int
main(int argc, char *argv[])
{
	const char *s = getenv("KEVO_SEED");

	if (argc != 4 || argv[2][0] != '/' || s == NULL)
		return 64;
	seed = strtoull(s, NULL, 0);
	snprintf(shadow, sizeof(shadow), "%s", argv[3]);
	if (strcmp(argv[1], "keep") == 0) {
		remove_tree(shadow);
		if (mkdir(shadow, 0777) != 0)
			bail("%s: cannot be made", shadow);
		shadow_named(argv[2]);
		return 0;
	}
	printf("keep %u/8\n", cut_power(argv[2]));
	return 0;
}
