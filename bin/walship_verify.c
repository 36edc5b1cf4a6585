/*
 * kevo-walship verify: is every byte of a segment one that was written?
 */
#include <inttypes.h>
#include <string.h>

#include "env.h"
#include "options.h"
#include "ship/image.h"
#include "ship/ship.h"
#include "walship.h"

static const struct cli_opt opts[] = {
	ROW_QUIET,
	ROW_END
};

const struct cli_tool walship_verify_tool = {
	"kevo-walship verify",
	"Look whether what was shipped is as it was written",
	"[-q] FILE...",
	opts,
	"  kevo-walship verify 00000001-*.seg\n"
	"  ssh host cat archive/wal/00000001/*-00000000000000ff.seg |\n"
	"      kevo-walship verify -\n"
};

/* ---- one file ---------------------------------------------------------- */

static int
judge(struct kv_env *env, const char *name, const struct kv_image *img)
{
	if (img->state == KV_IMAGE_SHORT)
		return kv_ship_fail(env, KV_SHIP_SHORT, "%s: %s, after %"
		    PRIu64 " sound records; next: send it again", name,
		    img->why, img->records);
	if (img->state == KV_IMAGE_CORRUPT)
		return kv_ship_fail(env, KV_SHIP_CORRUPT, "%s: record %"
		    PRIu64 " at byte %" PRIu64 ": %s; next: fetch it again",
		    name, img->records + 1, img->end, img->why);
	return 0;
}

static int
verify_file(const char *name)
{
	struct kv_env env = { "" };
	struct kv_image img;
	int fd, rc;

	fd = walship_input(name);
	rc = kv_image_read(&env, fd, name, &img);
	walship_input_done(fd);
	if (rc != 0)
		return walship_report(&env, rc);
	rc = judge(&env, name, &img);
	if (rc != 0)
		rc = walship_report(&env, rc);
	else if (!cli_quiet)
		walship_say("%s: %s: epoch %" PRIu32 ", commits %" PRIu64
		    "..%" PRIu64, name, kv_image_state_word(img.state),
		    img.head.epoch, img.head.first_seq, img.last_seq);
	kv_image_release(&img);
	return rc;
}

int
walship_verify(struct cli_args *a)
{
	struct walship_words w;
	int id, worst = 0, rc;

	walship_words_init(&w);
	while ((id = walship_next(a, &w)) != 0)
		cli_quiet = 1;
	walship_words_check(&w, 1, WALSHIP_WORDS, "FILE");
	for (int i = 0; i < w.n; i++)
		if ((rc = verify_file(w.word[i])) > worst)
			worst = rc;
	return cli_close(NULL, worst);
}
