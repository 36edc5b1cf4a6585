#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "db.h"
#include "epoch.h"
#include "role.h"
#include "text.h"

#define ROLE_TMP	"role.tmp"
#define ROLE_MAX	1024	/* bytes of the file */

static const char *const words[] = {
	"unknown", "primary", "replica", "fenced"
};

const char *
kv_role_word(enum kv_role role)
{
	return words[role];
}

/* ---- the file ---------------------------------------------------------- */

static int
first_line(const char *name, const char *value, struct kv_role_note *out)
{
	for (int r = KV_ROLE_PRIMARY; r <= KV_ROLE_FENCED; r++)
		if (strcmp(name, words[r]) == 0 && *value == '\0') {
			out->role = (enum kv_role)r;
			return 0;
		}
	return -1;
}

static int
copy(char *to, size_t room, const char *from, int blanks)
{
	if (strlen(from) >= room || !kv_text_printable(from, blanks))
		return -1;
	strcpy(to, from);
	return 0;
}

/* Lines of other names are a newer program's. */
static int
next_line(const char *name, const char *value, struct kv_role_note *out)
{
	if (strcmp(name, "primary") == 0)
		return copy(out->primary, sizeof(out->primary), value, 0);
	if (strcmp(name, "reason") == 0)
		return copy(out->reason, sizeof(out->reason), value, 1);
	if (strcmp(name, "since") == 0)
		return kv_time_parse(value, &out->since_ns);
	return 0;
}

/* The number of a line that cannot be, or 0. */
static unsigned
parse(char *text, struct kv_role_note *out)
{
	char *name, *value;
	unsigned n = 1;
	int r;

	if (kv_text_line(&text, &name, &value) != 1 ||
	    first_line(name, value, out) != 0)
		return n;
	while (n++, (r = kv_text_line(&text, &name, &value)) == 1)
		if (next_line(name, value, out) != 0)
			return n;
	return r == 0 ? 0 : n;
}

int
kv_role_read(struct kv_env *env, const struct kv_dir *dir,
    struct kv_role_note *out)
{
	unsigned bad;
	char *text;
	size_t len;
	int rc;

	memset(out, 0, sizeof(*out));
	rc = kv_read_small(env, dir, KV_ROLE_NAME, ROLE_MAX, &text, &len);
	if (rc == KEVO_ENODB) {
		out->role = KV_ROLE_PRIMARY;
		return 0;
	}
	if (rc == KEVO_ENOTDB)
		return kv_fail(env, KEVO_ECORRUPT, "%s: damaged: too large",
		    kv_path(dir, KV_ROLE_NAME));
	if (rc != 0)
		return rc;
	bad = strlen(text) != len ? 1 : parse(text, out);
	free(text);
	if (bad == 0)
		return 0;
	memset(out, 0, sizeof(*out));
	return kv_fail(env, KEVO_ECORRUPT, "%s:%u: damaged: it must be "
	    "`primary', `replica' or `fenced', and lines that tell more",
	    kv_path(dir, KV_ROLE_NAME), bad);
}

int
kv_role_write(struct kv_env *env, const struct kv_dir *dir, uint32_t mode,
    const struct kv_role_note *n)
{
	char text[ROLE_MAX], when[KV_TIME_LEN];
	size_t len = 0;

	len += (size_t)snprintf(text, sizeof(text), "%s\n", words[n->role]);
	if (n->primary[0] != '\0')
		len += (size_t)snprintf(text + len, sizeof(text) - len,
		    "primary %s\n", n->primary);
	if (n->since_ns != 0) {
		kv_time_print(when, n->since_ns);
		len += (size_t)snprintf(text + len, sizeof(text) - len,
		    "since %s\n", when);
	}
	if (n->reason[0] != '\0')
		len += (size_t)snprintf(text + len, sizeof(text) - len,
		    "reason %s\n", n->reason);
	return kv_text_replace(env, dir, ".", KV_ROLE_NAME, ROLE_TMP, mode,
	    text, len);
}

/* ---- the word in control ----------------------------------------------- */

static void
set_word(struct kevo *db, enum kv_role role)
{
	atomic_store_explicit(&db->ctl->role, (uint32_t)role,
	    memory_order_release);
}

int
kv_role_change(struct kevo *db, const struct kv_role_note *n)
{
	int rc;

	set_word(db, KV_ROLE_UNKNOWN);
	rc = kv_role_write(&db->env, &db->dir, db->ctl->mode, n);
	if (rc == 0)
		set_word(db, n->role);
	return rc;
}

int
kv_role_now(struct kevo *db, enum kv_role *out)
{
	uint32_t word = atomic_load_explicit(&db->ctl->role,
	    memory_order_acquire);
	struct kv_role_note n;
	int rc;

	if (word < KV_ROLE_PRIMARY || word > KV_ROLE_FENCED) {
		if ((rc = kv_role_read(&db->env, &db->dir, &n)) != 0)
			return rc;
		set_word(db, n.role);
		word = n.role;
	}
	*out = (enum kv_role)word;
	return 0;
}

/* Where the file does not name the primary, as in a copy that was restored,
 * it is who began the newest epoch; of the first one that is not known. */
static void
name_primary(struct kevo *db, struct kv_role_note *n)
{
	struct kv_history h;
	struct kv_ident ident;
	struct kv_env quiet;
	const char *host;

	if (n->primary[0] != '\0' ||
	    kv_ident_read(&quiet, &db->dir, &ident) != 0 ||
	    kv_history_of_db(&quiet, &db->dir, &ident, &h) != 0)
		return;
	host = kv_history_newest(&h)->host;
	if (strcmp(host, "-") != 0)
		strcpy(n->primary, host);
	kv_history_release(&h);
}

int
kv_role_may_write(struct kevo *db)
{
	struct kv_role_note n;
	enum kv_role role;
	int rc;

	if ((rc = kv_role_now(db, &role)) != 0 || role == KV_ROLE_PRIMARY)
		return rc;
	if ((rc = kv_role_read(&db->env, &db->dir, &n)) != 0)
		return rc;
	if (role == KV_ROLE_REPLICA) {
		name_primary(db, &n);
		return kv_fail(&db->env, KEVO_EPERM, "%s: a replica: write to "
		    "the primary%s%s", db->path, n.primary[0] != '\0' ?
		    ", " : "", n.primary);
	}
	return kv_fail(&db->env, KEVO_EPERM, "%s: fenced: another copy went "
	    "on without it%s%s%s; write to the primary%s%s", db->path,
	    n.reason[0] != '\0' ? " (" : "", n.reason, n.reason[0] != '\0' ?
	    ")" : "", n.primary[0] != '\0' ? ", " : "", n.primary);
}
