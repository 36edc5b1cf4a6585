#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "mend.h"

int
kv_mend_replace(struct kv_mend *m, const char *name)
{
	size_t room = m->aside_room != 0 ? 2 * m->aside_room : 16;
	void *p;

	for (size_t i = 0; i < m->naside; i++)
		if (strcmp(m->aside[i], name) == 0)
			return 0;
	if (m->naside == m->aside_room) {
		p = realloc(m->aside, room * sizeof(m->aside[0]));
		if (p == NULL)
			return kv_fail(&m->ck->db.env, KEVO_ENOMEM,
			    "out of memory");
		m->aside = p;
		m->aside_room = room;
	}
	snprintf(m->aside[m->naside++], sizeof(m->aside[0]), "%s", name);
	return 0;
}

void
kv_mend_give(struct kv_mend *m, const char *name)
{
	int fd = m->ck->db.dir.fd, r = 0;
	struct stat st;

	if (geteuid() == 0 && fstatat(fd, ".", &st, 0) == 0)
		r = fchownat(fd, name, st.st_uid, st.st_gid, 0);
	(void)r;
}

/* ---- the directory ----------------------------------------------------- */

/* "damaged-20261125T134500Z", or with a number behind it. */
static int
make_dir(struct kv_mend *m)
{
	struct kv_dir *dir = &m->ck->db.dir;
	time_t now = (time_t)(kv_now_ns() / 1000000000u);
	char when[32];
	struct tm tm;

	gmtime_r(&now, &tm);
	strftime(when, sizeof(when), "damaged-%Y%m%dT%H%M%SZ", &tm);
	for (int i = 0; i < 1000; i++) {
		snprintf(m->dir, sizeof(m->dir), i == 0 ? "%s" : "%s-%d",
		    when, i);
		if (mkdirat(dir->fd, m->dir,
		    kv_dir_mode(m->ck->ident.mode)) == 0) {
			kv_mend_give(m, m->dir);
			return 0;
		}
		if (errno != EEXIST)
			break;
	}
	return kv_fail_errno(&m->ck->db.env, kv_path(dir, m->dir), "create");
}

/* Where name goes to; its directory is made. */
static int
place(struct kv_mend *m, const char *name, char *to, size_t room)
{
	const char *slash = strchr(name, '/');
	char sub[200];
	int rc;

	snprintf(to, room, "%s/%s", m->dir, name);
	if (slash == NULL)
		return 0;
	snprintf(sub, sizeof(sub), "%s/%.*s", m->dir, (int)(slash - name),
	    name);
	rc = kv_mkdir(&m->ck->db.env, &m->ck->db.dir, sub,
	    m->ck->ident.mode);
	kv_mend_give(m, sub);
	return rc;
}

static const char *const places[] = { "/wal", "/table", "/version", "" };

static int
sync_places(struct kv_mend *m)
{
	struct kevo *db = &m->ck->db;
	char name[100];
	int rc = 0;

	for (size_t i = 0; i < 4 && rc == 0; i++) {
		snprintf(name, sizeof(name), "%s%s", m->dir, places[i]);
		if (faccessat(db->dir.fd, name, F_OK, 0) == 0)
			rc = kv_sync_dir(&db->env, &db->dir, name);
	}
	return rc != 0 ? rc : kv_sync_dir(&db->env, &db->dir, ".");
}

/* ---- moving ------------------------------------------------------------ */

int
kv_mend_link(struct kv_mend *m)
{
	int fd = m->ck->db.dir.fd, rc;
	char to[200];

	if (m->naside == 0)
		return 0;
	if ((rc = make_dir(m)) != 0)
		return rc;
	for (size_t i = 0; i < m->naside; i++) {
		if ((rc = place(m, m->aside[i], to, sizeof(to))) != 0)
			return rc;
		if (linkat(fd, m->aside[i], fd, to, 0) != 0 &&
		    errno == ENOSPC)
			return kv_fail_errno(&m->ck->db.env,
			    kv_path(&m->ck->db.dir, to), "create");
	}
	return sync_places(m);
}

void
kv_mend_link_undo(struct kv_mend *m)
{
	int fd = m->ck->db.dir.fd;
	char to[200];

	if (m->dir[0] == '\0')
		return;
	for (size_t i = 0; i < m->naside; i++) {
		snprintf(to, sizeof(to), "%s/%s", m->dir, m->aside[i]);
		if (faccessat(fd, m->aside[i], F_OK, 0) == 0)
			unlinkat(fd, to, 0);
	}
	for (size_t i = 0; i < 4; i++) {
		snprintf(to, sizeof(to), "%s%s", m->dir, places[i]);
		unlinkat(fd, to, AT_REMOVEDIR);
	}
}

int
kv_mend_unlink(struct kv_mend *m)
{
	struct kv_dir *dir = &m->ck->db.dir;
	char to[200];
	int r;

	for (size_t i = 0; i < m->naside; i++) {
		snprintf(to, sizeof(to), "%s/%s", m->dir, m->aside[i]);
		if (faccessat(dir->fd, to, F_OK, 0) == 0)
			r = unlinkat(dir->fd, m->aside[i], 0);
		else
			r = renameat(dir->fd, m->aside[i], dir->fd, to);
		if (r != 0 && errno != ENOENT)
			return kv_fail_errno(&m->ck->db.env, kv_path(dir,
			    m->aside[i]), "move");
		m->ck->out->moved++;
	}
	snprintf(m->ck->out->aside, sizeof(m->ck->out->aside), "%s", m->dir);
	return m->naside > 0 ? sync_places(m) : 0;
}
