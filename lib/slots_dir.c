#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "slots_dir.h"

/* ---- directories ------------------------------------------------------- */

int
kv_slots_make_dir(struct kevo *db, const char *name)
{
	mode_t mode = db->ctl->mode;
	char path[KV_SLOTS_PATH];
	int rc;

	kv_slots_path(path, name, "");
	if ((rc = kv_mkdir(&db->env, &db->dir, "slots", mode)) != 0 ||
	    (rc = kv_mkdir(&db->env, &db->dir, path, mode)) != 0 ||
	    (rc = kv_sync_dir(&db->env, &db->dir, ".")) != 0)
		return rc;
	return kv_sync_dir(&db->env, &db->dir, "slots");
}

void
kv_slots_unlink(struct kevo *db, const char *name, const char *file)
{
	char path[KV_SLOTS_PATH];

	kv_slots_path(path, name, file);
	unlinkat(db->dir.fd, path, 0);
}

int
kv_slots_remove_files(struct kevo *db, const char *name)
{
	char path[KV_SLOTS_PATH];
	const char *file;
	DIR *d;
	int rc;

	kv_slots_path(path, name, "");
	rc = kv_list_open(&db->env, &db->dir, path, 1, &d);
	if (rc != 0 || d == NULL)
		return rc;
	while ((file = kv_list_next(&db->env, &db->dir, path, d,
	    &rc)) != NULL)
		kv_slots_unlink(db, name, file);
	closedir(d);
	return rc;
}

/* ---- lists ------------------------------------------------------------- */

static int
grow(struct kv_env *env, void *pp, size_t n, size_t size)
{
	void *p;

	if ((n & (n - 1)) != 0)
		return 0;	/* there is room up to the next power of two */
	p = realloc(*(void **)pp, (n != 0 ? 2 * n : 1) * size);
	if (p == NULL)
		return kv_fail(env, KEVO_ENOMEM, "out of memory");
	*(void **)pp = p;
	return 0;
}

static int
add_link(struct kevo *db, const char *slot, const char *name,
    struct kv_slots_list *l)
{
	char path[KV_SLOTS_PATH];
	struct kv_slots_link *k;
	uint64_t first, last;
	struct stat st;
	uint32_t epoch;
	int rc;

	if (!kv_ship_name_parse(name, &epoch, &first, &last))
		return 0;
	kv_slots_path(path, slot, name);
	if (fstatat(db->dir.fd, path, &st, AT_SYMLINK_NOFOLLOW) != 0)
		return errno == ENOENT ? 0 : kv_fail_errno(&db->env,
		    kv_path(&db->dir, path), "examine");
	if ((rc = grow(&db->env, &l->v, l->n, sizeof(l->v[0]))) != 0)
		return rc;
	k = &l->v[l->n++];
	strcpy(k->name, name);
	k->first = first;
	k->last = last;
	k->bytes = (uint64_t)st.st_blocks * 512;
	k->time_ns = (uint64_t)st.st_mtim.tv_sec * 1000000000u +
	    (uint64_t)st.st_mtim.tv_nsec;
	l->bytes += k->bytes;
	return 0;
}

static int
by_first(const void *a, const void *b)
{
	const struct kv_slots_link *x = a, *y = b;

	return strcmp(x->name + 9, y->name + 9);
}

/* Which of them are kept for slots alone? */
static void
note_kept(struct kevo *db, struct kv_slots_list *l)
{
	uint64_t oldest, first = 0;
	struct kv_segment_head h;

	if (kv_slots_oldest_segment(db, &oldest) == 0 &&
	    kv_slots_head(&db->dir, oldest, &h) == 0)
		first = h.first_seq;
	for (size_t i = 0; i < l->n; i++)
		l->v[i].kept = l->v[i].first < first;
}

int
kv_slots_list(struct kevo *db, const char *name, struct kv_slots_list *out)
{
	char path[KV_SLOTS_PATH];
	const char *file;
	DIR *d;
	int rc;

	memset(out, 0, sizeof(*out));
	rc = kv_slots_read_lost(&db->env, &db->dir, name, &out->lost_first,
	    &out->lost_last, &out->lost_ns);
	if (rc != 0 && rc != KEVO_NOTFOUND)
		return rc;
	kv_slots_path(path, name, "");
	rc = kv_list_open(&db->env, &db->dir, path, 1, &d);
	if (rc != 0 || d == NULL)
		return rc;
	while (rc == 0 && (file = kv_list_next(&db->env, &db->dir, path, d,
	    &rc)) != NULL)
		rc = add_link(db, name, file, out);
	closedir(d);
	if (rc != 0)
		kv_slots_list_free(out);
	else if (out->n > 0) {
		qsort(out->v, out->n, sizeof(out->v[0]), by_first);
		note_kept(db, out);
	}
	return rc;
}

void
kv_slots_list_free(struct kv_slots_list *l)
{
	free(l->v);
	l->v = NULL;
	l->n = 0;
}

static int
by_name(const void *a, const void *b)
{
	return strcmp(a, b);
}

static int
is_dropped(const char *name)
{
	size_t n = strlen(KV_SLOTS_DROPPED);

	return strncmp(name, KV_SLOTS_DROPPED, n) == 0 &&
	    strlen(name) == n + 16;
}

static int
list_names(struct kv_env *env, const struct kv_dir *dir,
    int (*wanted)(const char *name), struct kv_slots_names *out)
{
	const char *name;
	DIR *d;
	int rc;

	memset(out, 0, sizeof(*out));
	rc = kv_list_open(env, dir, "slots", 1, &d);
	if (rc != 0 || d == NULL)
		return rc;
	while (rc == 0 && (name = kv_list_next(env, dir, "slots", d,
	    &rc)) != NULL) {
		if (!wanted(name))
			continue;
		rc = grow(env, &out->v, out->n, sizeof(out->v[0]));
		if (rc == 0)
			strcpy(out->v[out->n++], name);
	}
	closedir(d);
	if (rc != 0) {
		free(out->v);
		out->v = NULL;
		out->n = 0;
	} else if (out->n > 0)
		qsort(out->v, out->n, sizeof(out->v[0]), by_name);
	return rc;
}

int
kv_slots_names(struct kv_env *env, const struct kv_dir *dir,
    struct kv_slots_names *out)
{
	return list_names(env, dir, kv_slots_name_ok, out);
}

int
kv_slots_dropped(struct kv_env *env, const struct kv_dir *dir,
    struct kv_slots_names *out)
{
	return list_names(env, dir, is_dropped, out);
}

/* ---- the log ----------------------------------------------------------- */

int
kv_slots_oldest_segment(struct kevo *db, uint64_t *counter)
{
	const char *name;
	uint64_t n;
	DIR *d;
	int rc;

	*counter = UINT64_MAX;
	rc = kv_list_open(&db->env, &db->dir, "wal", 1, &d);
	if (rc != 0 || d == NULL)
		return rc;
	while ((name = kv_list_next(&db->env, &db->dir, "wal", d,
	    &rc)) != NULL)
		if (kv_name_number(name, ".seg", &n) && n < *counter)
			*counter = n;
	closedir(d);
	return rc;
}

int
kv_slots_head(const struct kv_dir *dir, uint64_t counter,
    struct kv_segment_head *h)
{
	uint8_t buf[KV_SEGMENT_HEAD];
	char name[KV_SEGMENT_NAME_LEN];
	ssize_t n;
	int fd;

	kv_segment_name(name, counter);
	if ((fd = kv_openat(dir->fd, name, O_RDONLY, 0)) < 0)
		return -1;
	do
		n = pread(fd, buf, sizeof(buf), 0);
	while (n < 0 && errno == EINTR);
	close(fd);
	return n == (ssize_t)sizeof(buf) ? kv_segment_head_decode(buf, h) :
	    -1;
}

/* ---- states ------------------------------------------------------------ */

const char *
kv_slots_state_word(enum kv_slots_state s)
{
	static const char *const word[] = {
		"reserved", "extended", "at-risk", "lost"
	};

	return word[s];
}

/* Over 80 % of it. */
static int
is_near(uint64_t v, uint64_t most)
{
	return most != KV_SLOTS_NO_LIMIT && v > most / 5 * 4;
}

static void
judge(const struct kv_slots_list *l, struct kv_slots_info *info)
{
	uint64_t now = kv_now_ns(), age = 0;

	info->files = l->n;
	info->bytes = l->bytes;
	for (size_t i = 0; i < l->n; i++)
		if (l->v[i].kept)
			info->kept_bytes += l->v[i].bytes;
	if (l->n > 0)
		info->oldest_ns = l->v[0].time_ns;
	if (info->oldest_ns != 0 && now > info->oldest_ns)
		age = (now - info->oldest_ns) / 1000000000u;
	info->lost_first = l->lost_first;
	info->lost_last = l->lost_last;
	info->lost_ns = l->lost_ns;
	if (l->lost_last > info->note.confirmed.seq)
		info->state = KV_SLOT_LOST;
	else if (is_near(l->bytes, info->note.max_bytes) ||
	    is_near(age, info->note.max_age_s))
		info->state = KV_SLOT_AT_RISK;
	else
		info->state = info->kept_bytes > 0 ? KV_SLOT_EXTENDED :
		    KV_SLOT_RESERVED;
}

int
kv_slots_look(struct kevo *db, const char *name, struct kv_slots_info *out)
{
	struct kv_slots_list l;
	int rc;

	memset(out, 0, sizeof(*out));
	if (!kv_slots_name_ok(name))
		return KEVO_NOTFOUND;
	strcpy(out->name, name);
	if ((rc = kv_slots_read(&db->env, &db->dir, name, &out->note)) != 0 ||
	    (rc = kv_slots_list(db, name, &l)) != 0)
		return rc;
	judge(&l, out);
	kv_slots_list_free(&l);
	return 0;
}

int
kv_slots_each(struct kevo *db,
    int (*each)(void *arg, const struct kv_slots_info *s), void *arg)
{
	struct kv_slots_names names;
	struct kv_slots_info info;
	int rc;

	if ((rc = kv_slots_names(&db->env, &db->dir, &names)) != 0)
		return rc;
	for (size_t i = 0; rc == 0 && i < names.n; i++) {
		rc = kv_slots_look(db, names.v[i], &info);
		if (rc == 0)
			rc = each(arg, &info);
		else if (rc == KEVO_NOTFOUND)
			rc = 0;		/* dropped meanwhile */
	}
	free(names.v);
	return rc;
}
