#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "db.h"
#include "hash.h"
#include "position.h"
#include "ship/archive.h"
#include "ship/image.h"
#include "ship/ship.h"
#include "ship/tail.h"
#include "walship.h"
#include "walship_status.h"
#include "walship_verify.h"

struct archive {
	const struct walship_verify *v;
	struct kv_archive *a;
	struct kevo *db;	/* --against; NULL: none */
	struct kv_position end;	/* of the segment before; epoch 0: it was not
				 * read */
	char *sums;		/* state/SUMS; NULL: none */
	char *fresh;		/* what it should be */
	size_t fresh_len, fresh_room;
	uint64_t read, commits, bad;
};

/* ---- a directory of files ---------------------------------------------- */

static int
is_segment(const char *name)
{
	size_t n = strlen(name);

	return name[0] != '.' && ((n > 4 &&
	    strcmp(name + n - 4, ".seg") == 0) || (n > 8 &&
	    strcmp(name + n - 8, ".seg.zst") == 0) || (n > 5 &&
	    strcmp(name + n - 5, ".open") == 0));
}

int
walship_verify_dir(const char *name)
{
	struct dirent **list;
	char path[4096];
	int n, rc, worst = 0;

	if ((n = scandir(name, &list, NULL, alphasort)) < 0)
		cli_die(EX_IOERR_, "%s: cannot open: %s", name,
		    strerror(errno));
	for (int i = 0; i < n; i++) {
		if (is_segment(list[i]->d_name) && !cli_stopped() &&
		    snprintf(path, sizeof(path), "%s/%s", name,
		    list[i]->d_name) < (int)sizeof(path) &&
		    (rc = walship_verify_file(path)) > worst)
			worst = rc;
		free(list[i]);
	}
	free(list);
	return worst;
}

/* ---- what is found ----------------------------------------------------- */

static void
bad(struct archive *x, int rc)
{
	walship_report(&x->a->env, rc);
	x->bad++;
}

/* ---- one segment ------------------------------------------------------- */

/* Does it go on where the one before ended, or where its epoch began? */
static void
check_chain(struct archive *x, const char *file, const struct kv_image *img)
{
	const struct kv_epoch *e = kv_history_find(&x->a->history,
	    img->head.epoch);
	uint64_t before = img->head.first_seq - 1, want = 0, off;
	int known = 0;

	if (e == NULL || e->nonce != img->head.nonce) {
		bad(x, kv_ship_fail(&x->a->env, e == NULL ? KV_SHIP_WAITING :
		    KV_SHIP_FORK, "%s: its epoch %" PRIu32 " is %s", file,
		    img->head.epoch, e == NULL ? "not here" :
		    "another one than the archive's"));
		return;
	}
	if (before == e->start) {
		want = e->chain;
		known = 1;
	} else if (x->end.epoch == img->head.epoch && x->end.seq == before) {
		want = x->end.chain;
		known = 1;
	}
	if (known && want != img->head.chain_before)
		bad(x, kv_ship_fail(&x->a->env, KV_SHIP_FORK, "%s: it does "
		    "not follow commit %" PRIu64 " of the archive: chain %016"
		    PRIx64 ", there %016" PRIx64, file, before,
		    img->head.chain_before, want));
	if (x->end.epoch == img->head.epoch && kv_image_at(img, x->end.seq,
	    &off, &want) == 0 && want != x->end.chain)
		bad(x, kv_ship_fail(&x->a->env, KV_SHIP_FORK, "%s: it "
		    "overlaps the one before, and differs at commit %" PRIu64,
		    file, x->end.seq));
}

/* The database's log has the same commits, as far as it goes back. */
static void
check_against(struct archive *x, const char *file,
    const struct kv_image *img)
{
	struct kv_position at;
	int rc;

	if (x->db == NULL)
		return;
	rc = kv_position_at(x->db, img->last_seq, &at);
	if (rc < 0)
		cli_fail(x->db, rc);
	if (rc != 0)
		return;
	if (at.chain != img->chain)
		bad(x, kv_ship_fail(&x->a->env, KV_SHIP_FORK, "%s: at commit "
		    "%" PRIu64 " it has chain %016" PRIx64 ", the database "
		    "has %016" PRIx64, file, img->last_seq, img->chain,
		    at.chain));
}

static void
look_at(struct archive *x, const struct kv_archive_seg *seg)
{
	char file[KV_ARCHIVE_PATH_LEN];
	struct kv_image img;
	int rc;

	kv_archive_seg_path(file, seg);
	x->read++;
	rc = kv_archive_load(x->a, seg, &img);
	if (rc != 0) {
		bad(x, rc);
		x->end.epoch = 0;
		return;
	}
	check_chain(x, file, &img);
	check_against(x, file, &img);
	x->commits += img.records;
	if (x->end.epoch != img.head.epoch || img.last_seq > x->end.seq)
		x->end = (struct kv_position){ img.head.epoch,
			img.head.nonce, img.last_seq, img.chain };
	kv_image_release(&img);
}

/* ---- sums -------------------------------------------------------------- */

static void
add_fresh(struct archive *x, const char *line)
{
	size_t n = strlen(line), room;
	char *p;

	if (x->fresh_len + n + 1 > x->fresh_room) {
		room = (x->fresh_room + n + 1) * 2;
		if ((p = realloc(x->fresh, room)) == NULL)
			cli_die(EX_IOERR_, "out of memory");
		x->fresh = p;
		x->fresh_room = room;
	}
	memcpy(x->fresh + x->fresh_len, line, n + 1);
	x->fresh_len += n;
}

/* XXH3-128 of a file, by pieces. */
static int
sum_file(struct archive *x, const char *file, char sum[KV_HASH128_TEXT])
{
	struct kv_hash128 *h = kv_hash128_new();
	static uint8_t buf[1 << 16];
	ssize_t n = -1;
	int fd;

	fd = kv_openat(x->a->dir.fd, file, O_RDONLY, 0);
	if (h != NULL && fd >= 0)
		while ((n = read(fd, buf, sizeof(buf))) > 0)
			kv_hash128_add(h, buf, (size_t)n);
	if (n == 0)
		kv_hash128_text(h, sum);
	if (fd >= 0)
		close(fd);
	kv_hash128_free(h);
	return n == 0 ? 0 : -1;
}

/* Both spellings, if both are there. */
static void
check_sums(struct archive *x, const struct kv_archive_seg *seg)
{
	char file[KV_ARCHIVE_PATH_LEN], sum[KV_HASH128_TEXT];
	char line[KV_ARCHIVE_PATH_LEN + KV_HASH128_TEXT + 8], *at;

	for (int i = KV_SPELL_SEG; i <= KV_SPELL_ZST; i++) {
		struct kv_archive_seg one = *seg;

		one.spelling = (uint8_t)i;
		kv_archive_seg_path(file, &one);
		if (!(seg->spelling & i) || sum_file(x, file, sum) != 0)
			continue;
		snprintf(line, sizeof(line), "%s  %s\n", sum, file);
		add_fresh(x, line);
		if (!x->v->deep || x->sums == NULL ||
		    (at = strstr(x->sums, file)) == NULL)
			continue;
		if (at - x->sums < 34 || memcmp(at - 34, sum, 32) != 0)
			bad(x, kv_ship_fail(&x->a->env, KV_SHIP_CORRUPT,
			    "%s: state/SUMS has another sum than %s", file,
			    sum));
	}
}

/* ---- all of them ------------------------------------------------------- */

/* Other segments each time: those that were missed will be hit. */
static int
is_sampled(const struct archive *x)
{
	uint32_t r;

	if (x->v->sample == WALSHIP_ALL)
		return 1;
	if (kv_random(&r, sizeof(r)) != 0)
		cli_die(EX_IOERR_, "random numbers: cannot get");
	return r % WALSHIP_ALL < x->v->sample;
}

static void
check_gaps(struct archive *x, const char *path)
{
	static struct walship_status s;

	walship_status_archive(path, &s);
	for (uint64_t i = 0; i < s.ngap; i++)
		if (!s.gap[i].known)
			bad(x, kv_ship_fail(&x->a->env, KV_SHIP_GAP, "%s: "
			    "commits %" PRIu64 "..%" PRIu64 " are missing",
			    path, s.gap[i].first, s.gap[i].last));
	if (s.gaps > s.ngap)
		bad(x, kv_ship_fail(&x->a->env, KV_SHIP_GAP, "%s: there are "
		    "%" PRIu64 " such places", path, s.gaps));
}

/* The tail of an archive; that it can be torn is no damage. */
static void
check_tail(struct archive *x)
{
	char file[KV_ARCHIVE_PATH_LEN];
	struct kv_image img;
	int rc = kv_tail_load(x->a, &img, file, sizeof(file));

	if (rc == KEVO_NOTFOUND)
		return;
	if (rc != 0) {
		bad(x, rc);
		return;
	}
	x->commits += img.records;
	if (img.state == KV_IMAGE_CORRUPT)
		bad(x, kv_ship_fail(&x->a->env, KV_SHIP_CORRUPT,
		    "%s: record %" PRIu64 " at byte %" PRIu64 ": %s", file,
		    img.records + 1, img.end, img.why));
	check_against(x, file, &img);
	kv_image_release(&img);
}

static void
open_all(struct archive *x, const char *path)
{
	struct cli_open_opts open = { KEVO_RDONLY, NULL, NULL, NULL };
	int rc;

	x->a = walship_archive_open(path);
	if ((rc = kv_archive_list(x->a)) != 0)
		walship_archive_fail(x->a, rc);
	if (x->v->against != NULL)
		x->db = cli_open(x->v->against, &open);
	if (!x->v->deep)
		return;
	rc = kv_archive_get_state(x->a, "SUMS", &x->sums);
	if (rc != 0 && rc != KEVO_ENODB)
		walship_archive_fail(x->a, rc);
}

/* The database that it is compared with is the archive's. */
static void
check_id(struct archive *x)
{
	struct kevo_stats st;
	int rc;

	if (x->db == NULL)
		return;
	if ((rc = kevo_stats(x->db, &st)) != 0)
		cli_fail(x->db, rc);
	if (memcmp(st.id, x->a->id, sizeof(st.id)) == 0)
		return;
	kv_ship_fail(&x->a->env, KV_SHIP_WRONG_DB, "%s: it is the archive of "
	    "another database than %s", x->a->path, x->v->against);
	walship_archive_fail(x->a, KV_SHIP_WRONG_DB);
}

static void
write_sums(struct archive *x)
{
	int rc;

	if (!x->v->sums || x->bad > 0)
		return;
	if ((rc = kv_archive_lock(x->a, "kevo-walship verify")) != 0 ||
	    (rc = kv_archive_set_state(x->a, "SUMS", x->fresh != NULL ?
	    x->fresh : "")) != 0)
		walship_archive_fail(x->a, rc);
}

static int
conclude(struct archive *x, const char *path)
{
	if (x->bad > 0) {
		kv_ship_fail(&x->a->env, KV_SHIP_FAILED, "%s: %" PRIu64
		    " thing%s wrong in %" PRIu64 " segments", path, x->bad,
		    x->bad == 1 ? " is" : "s are", x->read);
		return walship_report(&x->a->env, KV_SHIP_FAILED);
	}
	if (!cli_quiet)
		cli_say("%s: sound: %" PRIu64 " of %zu segments read, %"
		    PRIu64 " commits", path, x->read, x->a->nseg, x->commits);
	return 0;
}

int
walship_verify_archive(const struct walship_verify *v, const char *path)
{
	struct archive x = { .v = v };
	int status;

	open_all(&x, path);
	check_id(&x);
	check_gaps(&x, path);
	for (size_t i = 0; i < x.a->nseg && !cli_stopped(); i++) {
		if (!is_sampled(&x)) {
			x.end.epoch = 0;
			continue;
		}
		look_at(&x, &x.a->seg[i]);
		if (v->deep || v->sums)
			check_sums(&x, &x.a->seg[i]);
	}
	check_tail(&x);
	write_sums(&x);
	status = conclude(&x, path);
	if (x.db != NULL)
		kevo_close(x.db);
	free(x.sums);
	free(x.fresh);
	kv_archive_close(x.a);
	return status;
}
