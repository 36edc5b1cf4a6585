/*
 * kevo-walship verify: is every byte one that was written?
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "env.h"
#include "options.h"
#include "ship/image.h"
#include "ship/ship.h"
#include "walship.h"
#include "walship_verify.h"

enum { OPT_SAMPLE = 400, OPT_AGAINST, OPT_DEEP, OPT_SUMS };

static const struct cli_opt opts[] = {
	{ OPT_SAMPLE, 0, "sample", CLI_REQUIRED, "PERCENT",
	    "of an archive, read only so many of the segments (5%)" },
	{ OPT_DEEP, 0, "deep", CLI_NONE, NULL,
	    "of an archive, compare with state/SUMS as well" },
	{ OPT_AGAINST, 0, "against", CLI_REQUIRED, "DB",
	    "and is it the log of this database?" },
	{ OPT_SUMS, 0, "sums", CLI_NONE, NULL,
	    "if all is well, write state/SUMS anew" },
	ROW_QUIET,
	ROW_END
};

const struct cli_tool walship_verify_tool = {
	"kevo-walship verify",
	"Look whether what was shipped is as it was written",
	"[-q] FILE|DIR...\n"
	"[-q] [--deep] [--sample=PERCENT] [--against=DB]\n"
	"  [--sums] ARCHIVE",
	opts,
	"  kevo-walship verify archive --sample 5%\n"
	"  ssh host cat archive/wal/00000001/*-00000000000000ff.seg |\n"
	"      kevo-walship verify -\n"
	"  kevo-walship send data.kv --to - | tee log.ship |\n"
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

int
walship_verify_file(const char *name)
{
	struct kv_env env = { "" };
	struct kv_image img;
	int fd, rc;

	fd = walship_input(name);
	rc = kv_image_read(&env, fd, name, &img);
	if (rc == 0 && walship_is_stream(&img)) {
		rc = walship_verify_stream(name, fd, &img);
		kv_image_release(&img);
		walship_input_done(fd);
		return rc;
	}
	walship_input_done(fd);
	if (rc != 0)
		return walship_report(&env, rc);
	rc = judge(&env, name, &img);
	if (rc != 0)
		rc = walship_report(&env, rc);
	else if (!cli_quiet)
		cli_say("%s: %s: epoch %" PRIu32 ", commits %" PRIu64
		    "..%" PRIu64, name, kv_image_state_word(img.state),
		    img.head.epoch, img.head.first_seq, img.last_seq);
	kv_image_release(&img);
	return rc;
}

/* ---- the command ------------------------------------------------------- */

static unsigned
percent(const char *s)
{
	char *end;
	double v = strtod(s, &end);

	if (*end == '%')
		end++;
	if (end == s || *end != '\0' || !(v > 0 && v <= 100))
		cli_usage("--sample: %s is not more than 0 and at most 100 "
		    "percent", s);
	return (unsigned)(v * 10000);
}

static int
verify_one(const struct walship_verify *v, const char *name)
{
	switch (walship_kind(name)) {
	case WALSHIP_ARCHIVE:
		return walship_verify_archive(v, name);
	case WALSHIP_DB:
		return walship_verify_dir(name);
	case WALSHIP_FILE:
		break;
	}
	return walship_verify_file(name);
}

static int
is_for_archives(const struct walship_verify *v)
{
	return v->sample != WALSHIP_ALL || v->against != NULL || v->deep ||
	    v->sums;
}

int
walship_verify(struct cli_args *a)
{
	struct walship_verify v = { .sample = WALSHIP_ALL };
	struct walship_words w;
	int id, worst = 0, rc;

	walship_words_init(&w);
	while ((id = walship_next(a, &w)) != 0)
		if (id == OPT_SAMPLE)
			v.sample = percent(a->arg);
		else if (id == OPT_AGAINST)
			v.against = a->arg;
		else if (id == OPT_DEEP)
			v.deep = 1;
		else if (id == OPT_SUMS)
			v.sums = 1;
		else
			cli_quiet = 1;
	walship_words_check(&w, 1, WALSHIP_WORDS, "FILE");
	if (is_for_archives(&v) && (w.n != 1 ||
	    walship_kind(w.word[0]) != WALSHIP_ARCHIVE))
		cli_usage("--sample, --deep, --against and --sums are for one "
		    "archive");
	if (v.sums && v.sample != WALSHIP_ALL)
		cli_usage("--sums and --sample do not go together");
	cli_signals();
	for (int i = 0; i < w.n && !cli_stopped(); i++)
		if ((rc = verify_one(&v, w.word[i])) > worst)
			worst = rc;
	if (cli_stopped())
		cli_die_by_signal();
	return cli_close(NULL, worst);
}
