/*
 * hold: take a database's write lock and keep it until standard input ends,
 * for tests of what others do meanwhile.  Says "held" when it has it.
 *
 *   hold DB [NAME]     NAME is who we say that we are
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <kevo.h>

static int
fail(struct kevo *db, const char *what)
{
	fprintf(stderr, "hold: %s: %s\n", what, kevo_errmsg(db));
	return 1;
}

int
main(int argc, char *argv[])
{
	struct kevo_options opt;
	struct kevo_txn *txn;
	struct kevo *db;
	char c;

	if (argc < 2)
		return 64;
	memset(&opt, 0, sizeof(opt));
	opt.program = argc > 2 ? argv[2] : "hold";
	if (kevo_open(argv[1], 0, &opt, &db) != 0)
		return fail(db, "open");
	if (kevo_txn_begin(db, NULL, &txn) != 0)
		return fail(db, "begin");
	puts("held");
	fflush(stdout);
	while (read(0, &c, 1) > 0)
		;
	if (kevo_txn_abort(txn) != 0)
		return fail(db, "abort");
	return -kevo_close(db);
}
