/*
 * kevo-walship pos: where a copy is, one line.
 */
#include <string.h>
#include <sys/stat.h>

#include "db.h"
#include "env.h"
#include "options.h"
#include "position.h"
#include "ship/archive.h"
#include "ship/image.h"
#include "ship/ship.h"
#include "ship/tail.h"
#include "walship.h"

static const struct cli_opt opts[] = {
	ROW_END
};

const struct cli_tool walship_pos_tool = {
	"kevo-walship pos",
	"Print a position: epoch.nonce:commit:chain",
	"DB|ARCHIVE|FILE",
	opts,
	"  kevo-walship pos data.kv\n"
	"  kevo-walship pos archive\n"
};

static void
of_archive(const char *path, struct kv_position *out)
{
	struct kv_archive *a = walship_archive_open(path);
	struct kv_image tail;
	int rc;

	if ((rc = kv_archive_list(a)) != 0 ||
	    (rc = kv_archive_position(a, out)) != 0)
		walship_archive_fail(a, rc);
	rc = kv_tail_load(a, &tail, NULL, 0);
	if (rc == 0) {
		*out = (struct kv_position){ tail.head.epoch, tail.head.nonce,
			tail.last_seq, tail.chain };
		kv_image_release(&tail);
	} else if (rc != KEVO_NOTFOUND) {
		walship_archive_fail(a, rc);
	}
	if (out->epoch == 0)
		out->epoch = a->history.v[0].epoch,
		out->nonce = a->history.v[0].nonce,
		out->chain = a->history.v[0].chain;
	kv_archive_close(a);
}

static void
of_db(const char *path, struct kv_position *out)
{
	struct cli_open_opts open = { KEVO_RDONLY, NULL, NULL, NULL };
	struct kevo *db = cli_open(path, &open);
	int rc = kv_position_now(db, KV_AT_SYNCED, out);

	if (rc != 0)
		cli_fail(db, rc);
	kevo_close(db);
}

static void
of_file(const char *name, struct kv_position *out)
{
	struct kv_env env = { "" };
	struct kv_image img;
	int fd = walship_input(name), rc;

	rc = kv_image_read(&env, fd, name, &img);
	walship_input_done(fd);
	if (rc == 0 && img.state >= KV_IMAGE_SHORT)
		rc = kv_ship_fail(&env, img.state == KV_IMAGE_SHORT ?
		    KV_SHIP_SHORT : KV_SHIP_CORRUPT, "%s: %s", name, img.why);
	if (rc != 0)
		walship_fail(&env, rc);
	*out = (struct kv_position){ img.head.epoch, img.head.nonce,
		img.last_seq, img.chain };
	kv_image_release(&img);
}

int
walship_pos(struct cli_args *a)
{
	char text[KV_POSITION_LEN];
	struct kv_position p;
	struct walship_words w;

	walship_words_init(&w);
	while (walship_next(a, &w) != 0)
		;
	walship_words_check(&w, 1, 1, "DB");
	switch (walship_kind(w.word[0])) {
	case WALSHIP_ARCHIVE:
		of_archive(w.word[0], &p);
		break;
	case WALSHIP_DB:
		of_db(w.word[0], &p);
		break;
	case WALSHIP_FILE:
		of_file(w.word[0], &p);
		break;
	}
	kv_position_print(text, &p);
	cli_say("%s", text);
	return cli_close(NULL, 0);
}
