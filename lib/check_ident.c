#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"
#include "hash.h"

/*
 * Which database is it?  FORMAT says so, and each segment's header says the
 * same: from these FORMAT can be written anew.
 */

/* ---- what the log says ------------------------------------------------- */

struct witness {
	struct kv_segment_head head;	/* of the newest segment that has one */
	uint32_t mode;
	uint64_t sound;			/* headers */
	uint64_t ours;			/* that have the identity of FORMAT */
	int differ;			/* not all have the same one */
};

static uint32_t
mode_of(struct kv_check *ck, uint64_t counter)
{
	char name[KV_SEGMENT_NAME_LEN];
	struct stat st;

	kv_segment_name(name, counter);
	return fstatat(ck->db.dir.fd, name, &st, 0) == 0 ?
	    st.st_mode & 0666 : 0600;
}

static int
hear_segments(struct kv_check *ck, struct witness *w)
{
	struct kv_segment_head h;
	int rc;

	memset(w, 0, sizeof(*w));
	for (size_t i = ck->segments.n; i-- > 0;) {
		if ((rc = kv_check_head(ck, ck->segments.v[i], &h)) < 0)
			return rc;
		if (rc == 0)
			continue;
		if (w->sound++ == 0) {
			w->head = h;
			w->mode = mode_of(ck, ck->segments.v[i]);
		}
		w->differ |= memcmp(h.id, w->head.id, 16) != 0;
		w->ours += memcmp(h.id, ck->ident.id, 16) == 0;
	}
	return 0;
}

static int
find_lowest(struct kv_check *ck, const char *name, void *arg)
{
	uint32_t epoch, *lowest = arg;

	(void)ck;
	if (kv_epoch_name_number(name, &epoch) && epoch < *lowest)
		*lowest = epoch;
	return 0;
}

/* FORMAT has the first epoch; a segment its own, and the lowest epoch file
 * that there is names the one before it. */
static void
believe_epochs(struct kv_check *ck)
{
	struct kv_ident *id = &ck->ident;
	char name[KV_EPOCH_NAME_LEN], path[64], *text;
	uint32_t lowest = UINT32_MAX;
	struct kv_epoch e;
	const char *why;
	size_t len;

	if (kv_check_each(ck, "epochs", find_lowest, &lowest) != 0 ||
	    lowest == UINT32_MAX)
		return;
	kv_epoch_name(name, lowest);
	snprintf(path, sizeof(path), "epochs/%s", name);
	if (kv_read_small(&ck->db.env, &ck->db.dir, path, KV_EPOCH_TEXT_MAX,
	    &text, &len) != 0)
		return;
	if (kv_epoch_parse(text, len, &e, &why) == 0 &&
	    memcmp(e.db, id->id, sizeof(e.db)) == 0 && e.parent != 0) {
		id->epoch = e.parent;
		id->nonce = e.parent_nonce;
	}
	free(text);
}

static void
believe(struct kv_check *ck, const struct witness *w)
{
	struct kv_ident *id = &ck->ident;

	memcpy(id->id, w->head.id, 16);
	id->epoch = w->head.epoch;
	id->nonce = w->head.nonce;
	id->mode = w->mode;
	believe_epochs(ck);
}

static void
load_history(struct kv_check *ck)
{
	kv_history_release(&ck->history);
	if (kv_history_of_db(&ck->db.env, &ck->db.dir, &ck->ident,
	    &ck->history) != 0)
		ck->history.n = 0;
}

/* ---- FORMAT ------------------------------------------------------------ */

/*
 * Is the text that of our version of FORMAT, to the letter, whatever its first
 * line says?  With a damaged one it looks like something else, or like another
 * version; and its last line can be read although it is not as written.
 */
static int
is_to_the_letter(struct kv_check *ck)
{
	char want[64], first[32], *text, *body, *last, *b;
	size_t len, n, k;
	int same = 0;

	if (kv_read_small(&ck->db.env, &ck->db.dir, "FORMAT", KV_IDENT_MAX,
	    &text, &len) != 0)
		return 0;
	body = strchr(text, '\n');
	last = body != NULL ? strstr(body, "\nxxh3 ") : NULL;
	if (last != NULL && (b = malloc(len + sizeof(first))) != NULL) {
		n = (size_t)(last + 1 - body);
		k = (size_t)snprintf(first, sizeof(first), "kevo %d",
		    KV_FORMAT_VERSION);
		memcpy(b, first, k);
		memcpy(b + k, body, n);
		snprintf(want, sizeof(want), "xxh3 %016llx\n",
		    (unsigned long long)kv_hash(b, n + k, 0));
		same = strcmp(want, last + 1) == 0 &&
		    strlen(text) == len;
		free(b);
	}
	free(text);
	return same;
}

static int
nothing_here(struct kv_check *ck)
{
	int empty, rc;

	if ((rc = kv_check_is_empty(ck, &empty)) != 0)
		return rc;
	if (empty)
		return kv_fail(&ck->db.env, KEVO_ENODB, "%s: no database in "
		    "it", ck->db.path);
	return kv_fail(&ck->db.env, KEVO_ENOTDB, "%s: not a kevo database",
	    ck->db.path);
}

/* Is a segment without a record all there is? */
static int
is_unfinished(struct kv_check *ck)
{
	char name[KV_SEGMENT_NAME_LEN];
	uint8_t b[8] = { 0 };
	int fd;

	if (ck->versions.n + ck->tables.n > 0 || ck->segments.n > 1)
		return 0;
	if (ck->segments.n == 0)
		return 1;
	kv_segment_name(name, ck->segments.v[0]);
	fd = kv_openat(ck->db.dir.fd, name, O_RDONLY, 0);
	if (fd < 0)
		return 0;
	if (pread(fd, b, sizeof(b), KV_SEGMENT_HEAD) < 0)
		b[0] = 1;
	close(fd);
	return kv_all_zero(b, sizeof(b));
}

/* What FORMAT is, and whether it is the log's. */
static int
read_format(struct kv_check *ck, struct witness *w)
{
	struct kv_env *env = &ck->db.env;
	int rc = kv_ident_read(env, &ck->db.dir, &ck->ident);

	ck->format = KV_FILE_SOUND;
	if (rc == 0 && !is_to_the_letter(ck))
		rc = kv_fail(env, KEVO_ECORRUPT, "its last line is not as it "
		    "was written");
	if (rc == KEVO_ENODB) {
		if (is_unfinished(ck))
			return nothing_here(ck);
		ck->format = KV_FILE_MISSING;
		rc = 0;
	} else if (rc == KEVO_ENOTDB) {
		struct kv_env said = *env;

		if (!is_to_the_letter(ck) &&
		    strstr(said.msg, ": format ") != NULL) {
			*env = said;
			return KEVO_ENOTDB;
		}
		if (is_unfinished(ck))
			return nothing_here(ck);
		kv_fail(env, 0, "its first line is damaged");
	}
	if (rc == KEVO_ECORRUPT || rc == KEVO_ENOTDB) {
		ck->format = KV_FILE_DAMAGED;
		rc = 0;
	}
	return rc != 0 ? rc : hear_segments(ck, w);
}

static const char *
why_unsure(const struct witness *w)
{
	if (w->sound == 0)
		return "no segment of the log has a sound header, which would "
		    "tell the identity of the database; a copy of FORMAT from "
		    "a backup would do";
	if (w->differ)
		return "the segments of the log belong to several databases; "
		    "those of the others must be moved elsewhere first";
	return NULL;
}

/* Sound, but not one segment has its identity, and they all have another. */
static int
is_another_ones(struct kv_check *ck, const struct witness *w)
{
	struct kv_version *v;

	if (w->sound == 0 || w->ours > 0 || w->differ)
		return 0;
	for (size_t i = ck->versions.n; i-- > 0;)
		if (kv_version_read(&ck->db.env, &ck->db.dir, ck->ident.id,
		    ck->versions.v[i], 0, &v) == 0) {
			kv_version_unref(v);
			return 0;
		}
	return 1;
}

static int
check_ident(struct kv_check *ck)
{
	static const struct kv_loss loss = { .text = "nothing: the log says "
	    "the same" };
	struct witness w;
	int rc;

	if ((rc = read_format(ck, &w)) != 0)
		return rc;
	ck->unsure = NULL;
	if (!ck->silent)
		ck->out->files++;
	if (ck->format == KV_FILE_SOUND) {
		if (!is_another_ones(ck, &w))
			return 0;
		ck->format = KV_FILE_DAMAGED;
		kv_fail(&ck->db.env, 0, "it belongs to another database than "
		    "the log");
	}
	ck->unsure = why_unsure(&w);
	if (w.sound > 0)
		believe(ck, &w);
	else if (ck->db.ctl != NULL) {
		const struct kv_control *c = ck->db.ctl;

		memcpy(ck->ident.id, c->id, 16);
		ck->ident.nonce = c->nonce;
		ck->ident.epoch = c->epoch;
	} else
		return kv_fail(&ck->db.env, KEVO_ECORRUPT, "%s: damaged or "
		    "missing, and %s", kv_path(&ck->db.dir, "FORMAT"),
		    ck->unsure);
	if (ck->format == KV_FILE_MISSING)
		return kv_found(ck, KEVO_DAMAGE, "FORMAT", 0, 0,
		    ck->unsure == NULL ? &loss : NULL, "missing");
	return kv_found_error(ck, "FORMAT", ck->unsure == NULL ? &loss :
	    NULL);
}

int
kv_check_ident(struct kv_check *ck)
{
	int rc = check_ident(ck);
	struct kv_env said = ck->db.env;

	if (rc == 0)
		load_history(ck);
	ck->db.env = said;
	return rc;
}
