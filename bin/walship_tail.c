/*
 * kevo-walship tail: commits, one after the other, of whatever holds some.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "coding.h"
#include "db.h"
#include "escape.h"
#include "feed.h"
#include "format.h"
#include "format_internal.h"
#include "options.h"
#include "position.h"
#include "record.h"
#include "ship/archive.h"
#include "ship/image.h"
#include "ship/kept.h"
#include "ship/ship.h"
#include "ship/tail.h"
#include "walship.h"
#include "walship_watch.h"

enum { OPT_FOLLOW = 400, OPT_POSITION, OPT_JSON };

static const struct cli_opt opts[] = {
	{ OPT_FOLLOW, 0, "follow", CLI_NONE, NULL, "go on as it grows" },
	{ OPT_POSITION, 0, "from", CLI_REQUIRED, "POSITION",
	    "begin behind this position, or this commit" },
	{ OPT_JSON, 0, "json", CLI_NONE, NULL, "one JSON object a commit" },
	ROW_END
};

const struct cli_tool walship_tail_tool = {
	"kevo-walship tail",
	"Show commits and what they changed",
	"[--json] [--from=POSITION] [--follow] DB|ARCHIVE\n"
	"[--json] [--from=POSITION] FILE...",
	opts,
	"  kevo-walship tail archive/orphans/*.seg\n"
	"  kevo-walship tail --json --follow data.kv | jq .changes\n"
};

struct tail {
	int json, follow;
	uint64_t after;		/* the last commit shown, or asked for */
	int placed;		/* --from was given */
	struct kv_archive *a;
	struct kv_kept kept;	/* the tail, if we follow */
	int64_t listed;		/* as kv_kept_stamp() */
};

/* ---- output ------------------------------------------------------------ */

static void
print_time(char buf[40], uint64_t ns)
{
	char text[KV_SHIP_TIME_LEN];

	kv_ship_time(text, ns);
	snprintf(buf, 40, "%.19s.%09" PRIu64 "Z", text, ns % 1000000000u);
}

static void
put_text(const void *p, size_t len)
{
	const uint8_t *b = p;

	while (len > 0) {
		size_t n = len < 4096 ? len : 4096;

		if (n < len)
			while (n > 4000 && (b[n] & 0xc0) == 0x80)
				n--;
		cli_out_add(escape_encode(cli_out_room(4 * n), b, n,
		    isatty(1)));
		b += n;
		len -= n;
	}
}

static void
text_change(uint64_t seq, const char *when, const struct kv_op *op)
{
	char line[100];
	int n = snprintf(line, sizeof(line), "%" PRIu64 "\t%s\t%s\t", seq,
	    when, op->kind == KV_OP_PUT ? "put" : "delete");

	cli_out(line, (size_t)n);
	put_text(op->key, op->klen);
	if (op->kind == KV_OP_PUT) {
		cli_out("\t", 1);
		put_text(op->val, op->vlen);
	}
	cli_out("\n", 1);
}

static void
json_field(const char *name, const void *p, size_t len)
{
	static const struct format plain = { .kind = FORMAT_JSONL };

	format_puts(",");
	json_put_member(&plain, name, p, len);
}

static void
json_change(int first, const struct kv_op *op)
{
	format_puts(first ? "{\"op\":" : ",{\"op\":");
	format_puts(op->kind == KV_OP_PUT ? "\"put\"" : "\"delete\"");
	json_field("key", op->key, op->klen);
	if (op->kind == KV_OP_PUT)
		json_field("value", op->val, op->vlen);
	if (op->expires_ns != 0) {
		format_puts(",\"expires\":");
		format_putn(op->expires_ns / 1000000000u);
	}
	format_puts("}");
}

/* A commit: a whole record, which was verified. */
static void
show(const struct tail *t, uint32_t epoch, const uint8_t *rec)
{
	uint32_t len = get_le32(rec), off = KV_PAYLOAD_HEAD, count;
	const uint8_t *payload = rec + KV_FRAME_LEN;
	uint64_t seq = get_le64(rec + 8);
	char when[40], line[200];
	struct kv_op op;
	int n;

	print_time(when, get_le64(rec + 16));
	if (t->json) {
		n = snprintf(line, sizeof(line), "{\"version\":\"%" PRIu64
		    "\",\"time\":\"%s\",\"epoch\":%" PRIu32 ",\"changes\":[",
		    seq, when, epoch);
		cli_out(line, (size_t)n);
	} else if (get_le32(payload) == 0) {
		n = snprintf(line, sizeof(line), "%" PRIu64 "\t%s\tmark\n",
		    seq, when);
		cli_out(line, (size_t)n);
	}
	for (count = 0; count < get_le32(payload) &&
	    kv_op_decode(payload, len, off, &op) == 0; count++) {
		if (t->json)
			json_change(count == 0, &op);
		else
			text_change(seq, when, &op);
		off += op.len;
	}
	if (t->json)
		format_puts("]}\n");
}

/* Commits of an image behind t->after, up to last. */
static void
show_image(struct tail *t, const struct kv_image *img, uint64_t last)
{
	uint64_t off = KV_SEGMENT_HEAD, seq = img->head.first_seq, chain;

	if (t->after >= seq && kv_image_at(img, t->after, &off, &chain) == 0)
		seq = t->after + 1;
	for (; off < img->end && seq <= last && !cli_stopped(); seq++) {
		if (seq > t->after) {
			show(t, img->head.epoch, img->bytes + off);
			t->after = seq;
		}
		off += kv_record_len(get_le32(img->bytes + off));
	}
}

/* ---- files ------------------------------------------------------------- */

static int
of_file(struct tail *t, const char *name)
{
	struct kv_env env = { "" };
	struct kv_image img;
	int fd = walship_input(name), rc;
	uint64_t from = t->after;

	rc = kv_image_read(&env, fd, name, &img);
	walship_input_done(fd);
	if (rc != 0)
		return walship_report(&env, rc);
	if (img.has_head)
		show_image(t, &img, img.last_seq);
	t->after = from;
	if (img.state >= KV_IMAGE_SHORT) {
		cli_out_flush();
		kv_ship_fail(&env, KV_SHIP_SHORT, "%s: at byte %" PRIu64
		    ": %s", name, img.end, img.why);
		rc = walship_report(&env, img.state == KV_IMAGE_SHORT ?
		    KV_SHIP_SHORT : KV_SHIP_CORRUPT);
	}
	kv_image_release(&img);
	return rc;
}

/* ---- archives ---------------------------------------------------------- */

/* Up to where commits of an epoch are in the history. */
static uint64_t
end_of_epoch(const struct tail *t, uint32_t epoch)
{
	const struct kv_epoch *next = kv_history_next(&t->a->history, epoch);

	return next != NULL ? next->start : UINT64_MAX;
}

static void
show_segments(struct tail *t)
{
	const struct kv_archive_seg *seg;
	const struct kv_epoch *e;
	struct kv_image img;
	int rc;

	while (!cli_stopped() &&
	    (e = kv_history_of(&t->a->history, t->after + 1)) != NULL &&
	    (seg = kv_archive_find(t->a, e->epoch, t->after + 1)) != NULL) {
		if ((rc = kv_archive_load(t->a, seg, &img)) != 0)
			walship_archive_fail(t->a, rc);
		show_image(t, &img, end_of_epoch(t, e->epoch));
		kv_image_release(&img);
	}
}

/* The next time it is read on from here. */
static void
show_tail(struct tail *t)
{
	char file[KV_ARCHIVE_PATH_LEN];
	struct kv_image img;
	int rc;

	if (t->kept.any)
		return;		/* it was read on a moment ago */
	rc = kv_tail_load(t->a, &img, file, sizeof(file));
	if (rc == KEVO_NOTFOUND)
		return;
	if (rc != 0)
		walship_archive_fail(t->a, rc);
	show_image(t, &img, end_of_epoch(t, img.head.epoch));
	kv_image_pass(&img, t->after);
	if (t->follow)
		kv_kept_set(&t->kept, &img, file, 1);
	kv_image_release(&img);
}

/* What was kept.  1: nothing else can be new. */
static int
show_kept(struct tail *t)
{
	const struct kv_epoch *e = kv_history_of(&t->a->history,
	    t->after + 1);
	uint64_t before = t->after;
	int rc;

	if (t->kept.any && e != NULL && e->epoch != t->kept.img.head.epoch)
		kv_kept_release(&t->kept);	/* it ends there */
	rc = kv_kept_read(t->a, &t->kept);
	if (rc != 0 && rc != KEVO_NOTFOUND)
		walship_archive_fail(t->a, rc);
	if (rc == KEVO_NOTFOUND)
		return 0;
	show_image(t, &t->kept.img, end_of_epoch(t,
	    t->kept.img.head.epoch));
	kv_image_pass(&t->kept.img, t->after);
	return t->after != before && kv_kept_stamp(t->a) == t->listed;
}

static void
show_all(struct tail *t)
{
	int rc;

	t->listed = kv_kept_stamp(t->a);
	if ((rc = kv_archive_list(t->a)) != 0)
		walship_archive_fail(t->a, rc);
	for (size_t i = 0; i < t->a->nseg && !t->placed; i++)
		if (!kv_archive_is_lost(t->a, t->a->seg[i].epoch,
		    t->a->seg[i].first)) {
			t->after = t->a->seg[i].first - 1;
			t->placed = 1;
		}
	show_segments(t);
	show_tail(t);
}

static void
show_archive(struct tail *t)
{
	int rc = kv_archive_read_epochs(t->a);

	if (rc != 0)
		walship_archive_fail(t->a, rc);
	if (!show_kept(t))
		show_all(t);
	cli_out_flush();
}

static void
of_archive(struct tail *t, const char *path)
{
	struct walship_watch *w;

	t->a = walship_archive_open(path);
	if (!t->follow) {
		show_archive(t);
	} else {
		w = walship_watch_open(t->a);
		while (!cli_stopped())
			if (walship_watch_wait(w, -1))
				show_archive(t);
		walship_watch_close(w);
		kv_kept_release(&t->kept);
	}
	kv_archive_close(t->a);
}

/* ---- databases --------------------------------------------------------- */

static void
of_db(struct tail *t, const char *path)
{
	struct cli_open_opts open = { KEVO_RDONLY, NULL, NULL, NULL };
	struct kv_feed_start start = { .flags = 0 };
	struct kv_feed_item item;
	struct kevo_feed *feed;
	struct kevo *db = cli_open(path, &open);
	int rc = 0;

	start.after = t->after;
	if (!t->placed)
		rc = kv_feed_oldest(db, NULL, &start.after);
	if (rc != 0 || (rc = kv_feed_open(db, &start, &feed)) != 0)
		cli_fail(db, rc);
	while (!cli_stopped()) {
		rc = kv_feed_step(feed, &item);
		if (rc == 0 && item.kind == KV_FEED_RECORD)
			show(t, item.head->epoch, item.bytes);
		if (rc == 0)
			continue;
		cli_out_flush();
		if (rc == KEVO_NOTFOUND && !t->follow)
			break;
		if (rc == KEVO_NOTFOUND)
			rc = kevo_feed_wait(feed, -1);
		if (rc < 0)
			cli_fail(db, rc);
	}
	kevo_feed_close(feed);
	kevo_close(db);
}

/* ---- the command ------------------------------------------------------- */

/* A position, or the number of a commit alone. */
static uint64_t
parse_from(const char *s)
{
	struct kv_position p;

	if (kv_position_parse(s, &p) == 0)
		return p.seq;
	if (s[0] == '\0' || s[strspn(s, "0123456789")] != '\0')
		cli_usage("--from: %s is neither a position nor a number", s);
	return cli_number("--from", s, UINT64_MAX - 1);
}

static int
of_files(struct tail *t, const struct walship_words *w)
{
	int worst = 0, rc;

	if (t->follow)
		cli_usage("--follow needs DB or ARCHIVE");
	for (int i = 0; i < w->n && !cli_stopped(); i++)
		if ((rc = of_file(t, w->word[i])) > worst)
			worst = rc;
	return worst;
}

int
walship_tail(struct cli_args *a)
{
	struct tail t = { .json = 0 };
	struct walship_words w;
	int id, status = 0;

	walship_words_init(&w);
	while ((id = walship_next(a, &w)) != 0)
		if (id == OPT_JSON) {
			t.json = 1;
		} else if (id == OPT_FOLLOW) {
			t.follow = 1;
		} else {
			t.after = parse_from(a->arg);
			t.placed = 1;
		}
	walship_words_check(&w, 1, WALSHIP_WORDS, "DB");
	cli_signals();
	if (w.n > 1 || walship_kind(w.word[0]) == WALSHIP_FILE)
		status = of_files(&t, &w);
	else if (walship_kind(w.word[0]) == WALSHIP_ARCHIVE)
		of_archive(&t, w.word[0]);
	else
		of_db(&t, w.word[0]);
	if (cli_stopped())
		cli_die_by_signal();
	return cli_close(NULL, status);
}
