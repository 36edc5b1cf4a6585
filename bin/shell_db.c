/*
 * shell_db: the shell's handle, its transaction and its snapshot.
 *
 * A shell that only reads leaves no trace: it has a reader's handle until
 * something is written, and a database that is missing is created by then,
 * as by the tools.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli_tool.h"
#include "shell.h"

uint64_t
shell_clock(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

int
shell_lib(struct shell *sh, int rc)
{
	const char *why = sh->db != NULL ? kevo_errmsg(sh->db) : "";

	return shell_fail(sh, cli_status(rc), "%s", *why != '\0' ? why :
	    kevo_strerror(rc));
}

/* ---- opening and closing ----------------------------------------------- */

/* Open path with these flags in the place of the handle there is. */
static int
open_handle(struct shell *sh, unsigned flags)
{
	struct kevo_snapshot *snap;
	struct kevo *db = NULL;
	int rc;

	rc = kevo_open(sh->path, flags, &sh->opt, &db);
	/* A handle that will stay has everything mapped from the start. */
	if (rc == 0 && (rc = kevo_snapshot_new(db, &snap)) == 0)
		kevo_snapshot_free(snap);
	if (rc != 0) {
		if (rc != KEVO_ENODB || !(flags & KEVO_RDONLY) ||
		    sh->no_create)
			shell_fail(sh, cli_status(rc), "%s", db != NULL ?
			    kevo_errmsg(db) : kevo_strerror(rc));
		kevo_close(db);
		return rc;
	}
	kevo_close(sh->db);
	sh->db = db;
	sh->writable = (flags & KEVO_RDONLY) == 0;
	return 0;
}

int
shell_open(struct shell *sh, const char *path)
{
	int rc;

	path = cli_db_path(path);
	if (sh->path != NULL && (rc = shell_close(sh)) != 0)
		return rc;
	if ((sh->path = strdup(path)) == NULL)
		return shell_fail(sh, EX_IOERR_, "out of memory");
	cli_guard_maps(path);
	rc = open_handle(sh, KEVO_RDONLY);
	if (rc == KEVO_ENODB && !sh->no_create) {
		if (sh->interactive)
			cli_note("%s: no such database; the first write "
			    "creates it", path);
		return 0;
	}
	if (rc != 0) {
		free(sh->path);
		sh->path = NULL;
	}
	return cli_status(rc);
}

static void
end_transaction(struct shell *sh)
{
	if (sh->txn != NULL)
		kevo_txn_abort(sh->txn);
	kevo_snapshot_free(sh->snap);
	sh->txn = NULL;
	sh->snap = NULL;
}

int
shell_close(struct shell *sh)
{
	int rc, open = sh->txn != NULL || sh->snap != NULL;

	shell_iter_end(sh);
	end_transaction(sh);
	if (open && sh->interactive)
		shell_puts("Transaction rolled back\n");
	rc = kevo_close(sh->db);
	sh->db = NULL;
	sh->writable = 0;
	free(sh->path);
	sh->path = NULL;
	if (rc != 0)
		return shell_fail(sh, cli_status(rc), "closing the database: "
		    "%s", kevo_strerror(rc));
	return 0;
}

static int
need_path(struct shell *sh)
{
	if (sh->path != NULL)
		return 0;
	shell_fail(sh, EX_NOINPUT_, "no database is open");
	if (sh->interactive)
		cli_hint(".open PATH opens one");
	return EX_NOINPUT_;
}

int
shell_reader(struct shell *sh)
{
	int rc = need_path(sh);

	if (rc != 0 || sh->db != NULL)
		return rc;
	/* Somebody may have created it meanwhile. */
	rc = open_handle(sh, KEVO_RDONLY);
	if (rc == KEVO_ENODB && !sh->no_create)
		shell_fail(sh, EX_NOINPUT_, "%s: no such database", sh->path);
	return cli_status(rc);
}

int
shell_writer(struct shell *sh)
{
	int rc = need_path(sh);

	if (rc != 0)
		return rc;
	if (sh->snap != NULL)
		return shell_fail(sh, EX_NOPERM_, "the transaction is "
		    "read-only");
	if (sh->writable)
		return 0;
	rc = open_handle(sh, sh->no_create ? 0 : KEVO_CREATE);
	return cli_status(rc);
}

/* ---- transactions ------------------------------------------------------ */

int
shell_begin(struct shell *sh, int readonly)
{
	int rc;

	if (sh->txn != NULL || sh->snap != NULL)
		return shell_fail(sh, EX_USAGE_, "a transaction is active: "
		    "COMMIT or ROLLBACK first");
	rc = readonly ? shell_reader(sh) : shell_writer(sh);
	if (rc != 0)
		return rc;
	rc = readonly ? kevo_snapshot_new(sh->db, &sh->snap) :
	    kevo_txn_begin(sh->db, NULL, &sh->txn);
	if (rc != 0) {
		sh->snap = NULL;
		sh->txn = NULL;
		return shell_lib(sh, rc);
	}
	shell_printf("Started %s transaction\n",
	    readonly ? "read-only" : "read-write");
	return 0;
}

static int
need_transaction(struct shell *sh)
{
	if (sh->txn == NULL && sh->snap == NULL)
		return shell_fail(sh, EX_USAGE_, "no transaction is active: "
		    "BEGIN starts one");
	return 0;
}

int
shell_commit(struct shell *sh)
{
	struct kevo_txn *t = sh->txn;
	uint64_t ns = shell_clock();
	int rc;

	if ((rc = need_transaction(sh)) != 0)
		return rc;
	sh->txn = NULL;
	if (t != NULL && (rc = kevo_txn_commit(t, KEVO_SYNC_DEFAULT,
	    NULL)) != 0)
		return shell_lib(sh, rc);
	end_transaction(sh);
	shell_printf("Transaction committed (%.2f ms)\n",
	    (double)(shell_clock() - ns) / 1e6);
	return 0;
}

int
shell_rollback(struct shell *sh)
{
	int rc;

	if ((rc = need_transaction(sh)) != 0)
		return rc;
	end_transaction(sh);
	shell_puts("Transaction rolled back\n");
	return 0;
}

/* ---- reading ----------------------------------------------------------- */

int
shell_get(struct shell *sh, const struct shell_text *key,
    struct kevo_record *rec)
{
	return sh->txn != NULL ? kevo_txn_get(sh->txn, key->p, key->len, rec) :
	    kevo_peek(sh->db, sh->snap, key->p, key->len, rec);
}

int
shell_iter(struct shell *sh, const struct kevo_range *range)
{
	return sh->txn != NULL ? kevo_txn_iter(sh->txn, range, &sh->iter) :
	    kevo_iter_new(sh->db, sh->snap, range, &sh->iter);
}

void
shell_iter_end(struct shell *sh)
{
	kevo_iter_free(sh->iter);
	sh->iter = NULL;
}
