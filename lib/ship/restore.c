#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../env.h"
#include "../file.h"
#include "../kevo.h"
#include "restore_in.h"
#include "ship.h"

/* ---- members ----------------------------------------------------------- */

#define NEW_TABLE	"table/new"
#define NEW_SEGMENT	"wal/new"

/* What has a name already comes under this one, and is compared. */
static const char *
temporary(enum kv_base_kind kind)
{
	return kind == KV_BASE_TABLE ? NEW_TABLE : NEW_SEGMENT;
}

static int
is_there(struct kv_restore *r, const char *name)
{
	return faccessat(kv_newdir_dir(r->dir)->fd, name, F_OK,
	    AT_SYMLINK_NOFOLLOW) == 0;
}

/* A file of this name came before: it must have been the same. */
static int
same_as_before(struct kv_restore *r, const char *name, const void *p,
    size_t len)
{
	const struct kv_dir *dir = kv_newdir_dir(r->dir);
	char *old;
	size_t n;
	int rc, same;

	rc = kv_read_small(r->env, dir, name, len + 1, &old, &n);
	if (rc == KEVO_ENOTDB)
		n = len + 1;
	else if (rc != 0)
		return rc;
	same = rc == 0 && n == len && memcmp(old, p, len) == 0;
	if (rc == 0)
		free(old);
	return same ? 0 : kv_ship_fail(r->env, KV_SHIP_FORK, "%s: %s: the "
	    "archive before has another one: they are of two histories",
	    r->name, name);
}

static int
remember_version(struct kv_restore *r, uint64_t number)
{
	void *p;

	for (size_t i = 0; i < r->nversion; i++)
		if (r->version[i] == number)
			return 0;
	p = realloc(r->version, (r->nversion + 1) * sizeof(r->version[0]));
	if (p == NULL)
		return kv_fail(r->env, KEVO_ENOMEM, "out of memory");
	r->version = p;
	r->version[r->nversion++] = number;
	return 0;
}

static int
put_small(struct kv_restore *r, const struct kv_base_member *m,
    const void *p, size_t len)
{
	char name[KV_BASE_NAME_LEN];
	int rc;

	kv_base_name(name, m);
	if (is_there(r, name)) {
		if (m->kind != KV_BASE_CONF)
			return same_as_before(r, name, p, len);
		/* Settings may change; the last ones hold. */
		if (unlinkat(kv_newdir_dir(r->dir)->fd, name, 0) != 0)
			return kv_ship_fail_errno(r->env, name, "replace");
	}
	if (m->kind == KV_BASE_EPOCH && (rc = kv_newdir_mkdir(r->dir,
	    "epochs")) != 0)
		return rc;
	return kv_newdir_file(r->dir, name, p, len);
}

static int
on_small(void *arg, const struct kv_base_member *m, const void *p,
    size_t len)
{
	struct kv_restore *r = arg;
	char name[KV_BASE_NAME_LEN];
	int rc;

	kv_base_name(name, m);
	if (r->o.member != NULL)
		r->o.member(r->o.arg, name, len);
	if (m->kind == KV_BASE_VERSION && kv_restore_dry_is_asked(r))
		kv_restore_dry_version(r, p, len);
	if (m->kind == KV_BASE_HEAD || r->o.dry_run)
		return 0;
	if (m->kind == KV_BASE_VERSION &&
	    (rc = remember_version(r, m->number)) != 0)
		return rc;
	return put_small(r, m, p, len);
}

static int
on_begin(void *arg, const struct kv_base_member *m)
{
	struct kv_restore *r = arg;
	char name[KV_BASE_NAME_LEN];

	kv_base_name(name, m);
	if (r->o.member != NULL)
		r->o.member(r->o.arg, name, m->size);
	r->files++;
	r->bytes += m->size;
	r->member = *m;
	if (r->o.dry_run)
		return 0;
	r->again = is_there(r, name);
	return kv_newdir_begin(r->dir, r->again ? temporary(m->kind) : name);
}

static int
on_data(void *arg, const void *p, size_t len)
{
	struct kv_restore *r = arg;

	if (r->o.progress != NULL)
		r->o.progress(r->o.arg, kv_tar_taken(r->in));
	if (r->o.stopped != NULL && r->o.stopped())
		return kv_fail(r->env, KEVO_EBUSY, "the restore was ended");
	if (kv_restore_dry_is_asked(r))
		return kv_restore_dry_data(r, p, len);
	return r->o.dry_run ? 0 : kv_newdir_data(r->dir, p, len);
}

static int
on_close(void *arg)
{
	struct kv_restore *r = arg;
	int rc;

	if (r->o.dry_run)
		return kv_restore_dry_is_asked(r) ?
		    kv_restore_dry_segment(r) : 0;
	if ((rc = kv_newdir_end(r->dir)) != 0 || !r->again)
		return rc;
	return kv_restore_merge(r, temporary(r->member.kind));
}

/* ---- do they continue each other? -------------------------------------- */

static int
check_first(struct kv_restore *r, const struct kv_base *b)
{
	char at[KV_POSITION_LEN];

	if (!b->has_parent)
		return 0;
	kv_position_print(at, &b->parent);
	return kv_ship_fail(r->env, KV_SHIP_GAP, "%s: it is an increment to "
	    "the backup that ends at %s, which must come before it", r->name,
	    at);
}

static int
check_next(struct kv_restore *r, const struct kv_base *b)
{
	const struct kv_base *a = &r->base;

	if (memcmp(a->db, b->db, 16) != 0)
		return kv_ship_fail(r->env, KV_SHIP_WRONG_DB, "%s: of another "
		    "database than the backup before it", r->name);
	if (!b->has_parent)
		return kv_ship_fail(r->env, KV_SHIP_CORRUPT, "%s: a full "
		    "backup; only the first one may be that", r->name);
	if (b->parent.seq > a->end.seq)
		return kv_ship_fail(r->env, KV_SHIP_GAP, "%s: it continues "
		    "commit %llu, and what came before ends with %llu: a "
		    "backup is missing in between", r->name,
		    (unsigned long long)b->parent.seq,
		    (unsigned long long)a->end.seq);
	if (b->end.seq < a->end.seq)
		return kv_ship_fail(r->env, KV_SHIP_CORRUPT, "%s: it ends with"
		    " commit %llu, and the one before it with %llu: they are "
		    "not in their order", r->name,
		    (unsigned long long)b->end.seq,
		    (unsigned long long)a->end.seq);
	if (b->parent.seq == a->end.seq && b->parent.chain != a->end.chain)
		return kv_ship_fail(r->env, KV_SHIP_FORK, "%s: at commit %llu"
		    " it continues another history than that of the backup "
		    "before it", r->name, (unsigned long long)a->end.seq);
	return 0;
}

static int
check_room(struct kv_restore *r, const struct kv_base *b)
{
	uint64_t left;
	int rc = kv_free_bytes(r->env, kv_newdir_dir(r->dir), &left);

	if (rc != 0 || b->bytes <= left)
		return rc;
	return kv_ship_fail(r->env, KV_SHIP_NOSPACE, "%s: it has %llu bytes, "
	    "and %llu are free; nothing was written", r->name,
	    (unsigned long long)b->bytes, (unsigned long long)left);
}

/* The directory is begun when there is something that looks like a backup. */
static int
begin_dir(struct kv_restore *r, const struct kv_base *b)
{
	static const char *const below[] = { "wal", "table", "version" };
	int rc;

	rc = kv_newdir_open(r->env, r->o.path, r->o.force, &r->dir);
	if (rc != 0)
		return rc;
	kv_newdir_mode(r->dir, b->mode);
	for (size_t i = 0; i < 3; i++)
		if ((rc = kv_newdir_mkdir(r->dir, below[i])) != 0)
			return rc;
	return b->version == 0 ? remember_version(r, 0) : 0;
}

static int
on_head(void *arg, const struct kv_base *b)
{
	struct kv_restore *r = arg;
	int rc = r->archives == 0 ? check_first(r, b) : check_next(r, b);

	if (rc != 0)
		return rc;
	if (r->o.dry_run) {
		if (r->archives == 0 && b->version == 0)
			kv_restore_dry_begin(r, 0, 0);
		return 0;
	}
	if (r->dir == NULL && (rc = begin_dir(r, b)) != 0)
		return rc;
	return check_room(r, b);
}

/* ---- one archive after the other --------------------------------------- */

int
kv_restore_open(struct kv_env *env, const struct kv_restore_options *o,
    struct kv_restore **out)
{
	struct kv_restore *r;
	int rc = kv_newdir_check(env, o->path, o->force);

	if (rc != 0)
		return rc;
	if ((r = calloc(1, sizeof(*r))) == NULL)
		return kv_fail(env, KEVO_ENOMEM, "out of memory");
	r->env = env;
	r->o = *o;
	*out = r;
	return 0;
}

int
kv_restore_add(struct kv_restore *r, int fd, const char *name)
{
	struct kv_base_sink sink = { on_head, on_small, on_begin, on_data,
	    on_close, r };
	struct kv_base base;
	int rc;

	r->name = name;
	rc = kv_tar_open(r->env, fd, name, r->o.stopped, &r->in);
	if (rc != 0)
		return rc;
	rc = kv_base_read(r->env, r->in, name, &sink, &base);
	kv_tar_close(r->in);
	r->in = NULL;
	if (rc != 0)
		return rc;
	if (r->archives++ == 0)
		r->first = base;
	r->base = base;
	return 0;
}

const char *
kv_restore_path(const struct kv_restore *r)
{
	return kv_newdir_path(r->dir);
}

/* The files have been on their way to disk while they were verified. */
int
kv_restore_place(struct kv_restore *r)
{
	static const char *const dirs[] = { "wal", "table", "version",
	    "epochs", NULL };
	int rc = kv_newdir_sync(r->dir, dirs);

	return rc != 0 ? rc : kv_newdir_place(r->dir);
}

void
kv_restore_close(struct kv_restore *r)
{
	if (r == NULL)
		return;
	kv_tar_close(r->in);
	kv_newdir_free(r->dir);
	free(r->dry.log);
	free(r->version);
	free(r);
}

/* ---- verifying --------------------------------------------------------- */

struct finding {
	char text[500];
};

static int
on_finding(void *arg, const struct kevo_finding *f)
{
	struct finding *first = arg;

	if (f->kind != KEVO_DAMAGE || first->text[0] != '\0')
		return 0;
	snprintf(first->text, sizeof(first->text), "%s: %s; lost: %s",
	    f->file, f->what, f->lost);
	return 0;
}

int
kv_restore_check(struct kv_restore *r, struct kv_restored *out)
{
	struct finding first = { "" };
	struct kevo_check c = { .found = on_finding, .arg = &first };
	struct kevo_check_result res;
	int rc = kevo_check(kv_newdir_path(r->dir), &c, &res);

	if (rc < 0)
		return kv_fail(r->env, rc, "%s", res.msg);
	if (rc != 0)
		return kv_ship_fail(r->env, KV_SHIP_FAILED, "what was restored"
		    " is damaged: %s", first.text);
	out->records = res.records;
	return 0;
}
