/*
 * load: chunks, their commits, and when they reach the disk.
 */
#include <inttypes.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "load.h"

enum { SHOW_EACH_MS = 250 };

static struct load *current;	/* for hooks, which have no argument */
static struct cli_in no_input = { .fd = -1, .name = "(none)", .regular = 1 };

/* ---- commits ----------------------------------------------------------- */

/* Whether somebody is told about each chunk, so that it must be durable. */
static int
answers(const struct load *l)
{
	return l->print != NULL || l->ack;
}

/* How to commit a chunk; last: nothing follows it. */
static enum kevo_sync
chunk_sync(const struct load *l, int last)
{
	if (l->sync == KEVO_SYNC_FULL && !answers(l) && !last)
		return KEVO_SYNC_LATER;
	return l->sync;
}

static void
sync_now(struct load *l)
{
	int rc;

	if (!l->unsynced)
		return;
	if ((rc = kevo_sync(l->db)) != 0)
		cli_fail(l->db, rc);
	l->unsynced = 0;
	l->synced_ms = cli_now_ms();
}

static void
print_records(struct load *l)
{
	struct format_record rec;
	struct kevo_record out;
	uint64_t version;
	size_t pos = 0;

	while (recbuf_next(&l->printed, &pos, &rec, &version)) {
		out.key = rec.key;
		out.klen = rec.klen;
		out.value = rec.value;
		out.vlen = rec.vlen;
		out.expires_ns = rec.expires_ns;
		out.version = version;
		format_write(l->print, &out);
	}
	recbuf_clear(&l->printed);
}

/* After a commit of n changes that was made with the mode sync. */
static void
committed(struct load *l, size_t n, enum kevo_sync sync)
{
	char line[32];
	int len;

	l->count += n;
	l->chunk_count = 0;
	l->chunk_bytes = 0;
	if (sync == KEVO_SYNC_FULL)
		l->unsynced = 0;
	else if (sync != KEVO_SYNC_NONE && n > 0)
		l->unsynced = 1;
	if (sync == KEVO_SYNC_LATER &&
	    cli_now_ms() - l->synced_ms >= SHOW_EACH_MS)
		sync_now(l);
	if (l->sync == KEVO_SYNC_BATCH && l->unsynced && l->ack)
		sync_now(l);
	if (l->print != NULL)
		print_records(l);
	if (l->ack) {
		len = snprintf(line, sizeof(line), "%" PRIu64 "\n", l->count);
		cli_out(line, (size_t)len);
		cli_out_flush();
	}
}

static void
commit_batch(struct load *l, int last)
{
	enum kevo_sync sync = chunk_sync(l, last);
	size_t n = kevo_batch_count(l->batch);
	int rc;

	if ((rc = kevo_commit(l->db, l->batch, sync, NULL)) != 0)
		cli_fail(l->db, rc);
	committed(l, n, sync);
}

/* ---- chunks under the write lock --------------------------------------- */

static void __attribute__((noreturn))
txn_failed(struct load *l, struct kevo_txn *t, int rc)
{
	char why[2048];

	snprintf(why, sizeof(why), "%s", kevo_errmsg(l->db));
	kevo_txn_abort(t);
	cli_die(cli_status(rc), "%s", *why ? why : kevo_strerror(rc));
}

static void
fill_record(struct format_record *to, const struct kevo_record *from)
{
	to->op = FORMAT_PUT;
	to->key = from->key;
	to->klen = from->klen;
	to->value = from->value;
	to->vlen = from->vlen;
	to->expires_ns = from->expires_ns;
	to->line = 0;
}

/* Delete rec, keeping what it was: 1 if it was there. */
static int
apply_delete(struct load *l, struct kevo_txn *t,
    const struct format_record *rec)
{
	struct kevo_record old;
	struct format_record copy;
	int rc;

	rc = kevo_txn_get(t, rec->key, rec->klen, &old);
	if (rc == KEVO_NOTFOUND)
		return 0;
	if (rc == 0 && l->print != NULL) {
		fill_record(&copy, &old);
		copy.key = rec->key;
		copy.klen = rec->klen;
		recbuf_add(&l->printed, &copy, old.version);
	}
	if (rc == 0)
		rc = kevo_txn_delete(t, rec->key, rec->klen);
	if (rc != 0)
		txn_failed(l, t, rc);
	return 1;
}

static int
apply_put(struct load *l, struct kevo_txn *t, const struct format_record *rec)
{
	int rc;

	rc = kevo_txn_put(t, rec->key, rec->klen, rec->value, rec->vlen,
	    rec->expires_ns);
	if (rc != 0)
		txn_failed(l, t, rc);
	if (l->print != NULL)
		recbuf_add(&l->printed, rec, 0);
	return 1;
}

/* Returns 1 if the record changed something, 0 if there was nothing to
 * change, -1 if its condition is false. */
static int
apply(struct load *l, struct kevo_txn *t, const struct format_record *rec)
{
	int rc;

	rc = kevo_txn_check(t, rec->key, rec->klen, &l->cond);
	if (rc < 0)
		txn_failed(l, t, rc);
	if (rc == KEVO_FALSE)
		return -1;
	return rec->op == FORMAT_DELETE ? apply_delete(l, t, rec) :
	    apply_put(l, t, rec);
}

/* Print versions: a commit's own is known only now. */
static void
set_versions(struct load *l, uint64_t version)
{
	struct recbuf all = l->printed;
	struct format_record rec;
	uint64_t v;
	size_t pos = 0;

	memset(&l->printed, 0, sizeof(l->printed));
	while (recbuf_next(&all, &pos, &rec, &v))
		recbuf_add(&l->printed, &rec, v != 0 ? v : version);
	recbuf_release(&all);
}

static void
end_txn(struct load *l, struct kevo_txn *t, size_t n, int last)
{
	enum kevo_sync sync = chunk_sync(l, last);
	uint64_t version = 0;
	int rc;

	if ((rc = kevo_txn_commit(t, sync, &version)) != 0)
		cli_fail(l->db, rc);
	if (l->print != NULL && l->print->meta)
		set_versions(l, version);
	committed(l, n, sync);
	recbuf_clear(&l->chunk);
}

static void
undo(struct load *l, struct kevo_txn *t, const struct format_record *rec)
{
	int rc;

	if ((rc = kevo_txn_abort(t)) != 0)
		cli_fail(l->db, rc);
	if (cli_verbose)
		cli_note("%s:%" PRIu64 ": %s: the condition is false",
		    l->in->name, rec->line, format_show_key(rec->key,
		    rec->klen));
	recbuf_release(&l->printed);
	l->chunk_count = 0;
	l->undone = 1;
}

/* What came before rec in its chunk is kept, but not with -1. */
static void __attribute__((noreturn))
refuse_duplicate(struct load *l, struct kevo_txn *t,
    const struct format_record *rec, size_t n)
{
	uint64_t line = rec->line;
	char key[256];

	snprintf(key, sizeof(key), "%s", format_show_key(rec->key,
	    rec->klen));
	if (l->single)
		kevo_txn_abort(t);
	else
		end_txn(l, t, n, 1);
	l->chunk_count = 0;
	cli_die(EX_DATAERR_, "%s:%" PRIu64 ": %s: the key exists already",
	    l->in->name, line, key);
}

static void
commit_chunk(struct load *l, int last)
{
	struct format_record rec;
	struct kevo_txn *t;
	uint64_t version;
	size_t pos = 0, n = 0;
	int rc;

	if ((rc = kevo_txn_begin(l->db, NULL, &t)) != 0)
		cli_fail(l->db, rc);
	while (recbuf_next(&l->chunk, &pos, &rec, &version)) {
		rc = apply(l, t, &rec);
		if (rc > 0) {
			n++;
		} else if (rc < 0 && l->fail_if_false) {
			refuse_duplicate(l, t, &rec, n);
		} else if (rc < 0 && l->undo_if_false) {
			undo(l, t, &rec);
			return;
		} else if (rc < 0) {
			l->skipped++;
		}
	}
	end_txn(l, t, n, last);
}

static int
needs_txn(const struct load *l)
{
	return l->cond.kind != KEVO_IF_ANY || l->print != NULL;
}

static void
commit(struct load *l, int last)
{
	if (l->chunk_count == 0)
		return;
	if (needs_txn(l))
		commit_chunk(l, last);
	else
		commit_batch(l, last);
}

/* ---- the input is silent, or wrong ------------------------------------- */

/*
 * With sync=batch what is committed may stay unsynced for a while, which the
 * library sees to at each commit; but the input may be silent for hours, so
 * wait for that time here.
 */
static void
await_sync(struct load *l)
{
	struct pollfd pfd = { .fd = l->in->fd, .events = POLLIN };
	int64_t ms = l->synced_ms + l->patience_ms - cli_now_ms();

	if (ms > 0 && poll(&pfd, 1, (int)ms) != 0)
		return;
	sync_now(l);
}

static void
on_block(void *arg)
{
	struct load *l = arg;

	if (l->single)
		return;
	commit(l, 1);
	if (l->sync == KEVO_SYNC_FULL)
		sync_now(l);
	cli_out_flush();
	if (l->sync == KEVO_SYNC_BATCH && l->unsynced)
		await_sync(l);
}

/* The input is malformed: what came before it is kept. */
static void
on_error(void *arg)
{
	struct load *l = arg;

	format_on_error = NULL;
	if (current == NULL || l->single)
		return;
	commit(l, 1);
	sync_now(l);
}

/* The tool ends early: what was committed is brought to disk all the same. */
static void
say_how_far(int status)
{
	struct load *l = current;

	if (l->unsynced && kevo_sync(l->db) != 0) {
		cli_msg("the last records %s may not be on disk", l->done);
		return;
	}
	if (status >= 128 && !cli_verbose)
		return;
	if (l->single || l->count == 0)
		cli_msg("nothing was %s", l->done);
	else
		cli_msg("%" PRIu64 " record%s %s before", l->count,
		    l->count == 1 ? " was" : "s were", l->done);
}

void
load_die(struct load *l, uint64_t line, const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	on_error(l);
	cli_die(EX_DATAERR_, "%s:%" PRIu64 ": %s", l->in->name, line, text);
}

/* ---- the main path ----------------------------------------------------- */

/* What DEFAULT means here: the handle knows; an option or KEVO_SYNC was
 * resolved before. */
static void
resolve_sync(struct load *l)
{
	struct kevo_setting s;
	int rc;

	if (l->sync == KEVO_SYNC_DEFAULT)
		l->sync = kevo_default_sync(l->db);
	if (l->sync != KEVO_SYNC_BATCH)
		return;
	if ((rc = kevo_config_get(l->db, "sync_ms", &s)) != 0)
		cli_fail(l->db, rc);
	l->patience_ms = (int64_t)s.number;
}

void
load_input(struct load *l, struct cli_in *in)
{
	l->in = in;
	in->on_block = on_block;
	in->arg = l;
}

void
load_end_input(struct load *l)
{
	static int inputs;

	if (!l->single)
		commit(l, 0);
	no_input.name = ++inputs > 1 ? "(several files)" : l->in->name;
	l->in = &no_input;
}

void
load_start(struct load *l)
{
	int rc;

	resolve_sync(l);
	if (!needs_txn(l) && (rc = kevo_batch_new(l->db, &l->batch)) != 0)
		cli_fail(l->db, rc);
	l->synced_ms = cli_now_ms();
	current = l;
	format_on_error = on_error;
	format_on_error_arg = l;
	cli_at_exit(say_how_far);
	load_input(l, l->in != NULL ? l->in : &no_input);
}

static void
collect(struct load *l, const struct format_record *rec)
{
	int rc = 0;

	if (needs_txn(l))
		recbuf_add(&l->chunk, rec, 0);
	else if (rec->op == FORMAT_DELETE)
		rc = kevo_batch_delete(l->batch, rec->key, rec->klen);
	else
		rc = kevo_batch_put(l->batch, rec->key, rec->klen, rec->value,
		    rec->vlen, rec->expires_ns);
	if (rc == KEVO_ELIMIT)
		load_die(l, rec->line, "%s", kevo_errmsg(l->db));
	if (rc != 0)
		cli_fail(l->db, rc);
}

void
load_record(struct load *l, const struct format_record *rec)
{
	if (cli_stopped())
		cli_die_by_signal();
	collect(l, rec);
	l->chunk_count++;
	l->chunk_bytes += rec->klen + rec->vlen;
	if (!l->single && (l->chunk_count >= l->every ||
	    l->chunk_bytes >= LOAD_BYTES))
		commit(l, 0);
	cli_progress(l->done, l->count + l->chunk_count, l->in->taken,
	    l->in->size);
}

int
load_finish(struct load *l)
{
	commit(l, 1);
	if (l->sync != KEVO_SYNC_NONE)
		sync_now(l);
	kevo_batch_free(l->batch);
	recbuf_release(&l->chunk);
	recbuf_release(&l->printed);
	format_on_error = NULL;
	cli_at_exit(NULL);
	cli_progress_done(l->done, l->count);
	return l->undone ? EXIT_NO : 0;
}
