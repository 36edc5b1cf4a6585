#include <stdio.h>
#include <string.h>

#include "db.h"
#include "lock.h"

/*
 * Settings of an open database: kevo.conf is the truth, control a copy that
 * costs no system call to read.  Who holds WRITER brings the copy up to date:
 * a writer that opens, one that rotates the log, and kevo_config_set().
 */

/* ---- publishing -------------------------------------------------------- */

static int
is_current(const struct kevo *db)
{
	uint64_t stamp = kv_conf_stamp(&db->dir);

	return stamp != KV_CONF_UNKNOWN && stamp == atomic_load_explicit(
	    &db->ctl->conf_stamp, memory_order_acquire);
}

int
kv_config_refresh(struct kevo *db)
{
	struct kv_conf conf;
	int rc;

	db->conf_due = 0;
	if (is_current(db))
		return 0;
	if ((rc = kv_conf_read(&db->env, &db->dir, &conf)) == 0)
		kv_control_configure(db->ctl, &conf);
	return rc;
}

int
kv_config_binds(const struct kevo *db)
{
	return !db->opened && !(db->flags & (KEVO_RDONLY | KEVO_ANY_CONFIG));
}

int
kv_config_attach(struct kevo *db)
{
	struct kv_conf conf;
	int rc;

	if (is_current(db))
		return 0;
	if (kv_word_lock(&db->ctl->writer, db->lock_fd, db->slot, 0) !=
	    KV_WORD_TIMEOUT) {
		kv_holder_set(&db->ctl->holder, db->pid, db->program,
		    (uint64_t)kv_mono_ms());
		rc = kv_config_refresh(db);
		kv_word_unlock(&db->ctl->writer);
	} else {
		rc = kv_conf_read(&db->env, &db->dir, &conf);
		db->conf_due = 1;
	}
	return kv_config_binds(db) ? rc : 0;
}

enum kevo_sync
kv_sync_mode(const struct kevo *db, enum kevo_sync sync)
{
	if (sync == KEVO_SYNC_DEFAULT)
		sync = db->sync;
	if (sync != KEVO_SYNC_DEFAULT)
		return sync;
	if (db->cold != NULL)
		return (enum kevo_sync)kv_cold_setting(db, KV_SET_SYNC);
	return db->ctl == NULL ? KEVO_SYNC_FULL :
	    (enum kevo_sync)kv_setting(db->ctl, KV_SET_SYNC);
}

int
kv_sync_check(struct kevo *db, enum kevo_sync sync)
{
	if ((unsigned)sync <= KEVO_SYNC_LATER)
		return 0;
	return kv_fail(&db->env, KEVO_EINVAL, "sync: %d is none of enum "
	    "kevo_sync", (int)sync);
}

int
kv_config_check(struct kevo *db, const char *const *settings)
{
	struct kv_conf conf;
	int rc;

	kv_conf_init(&conf);
	if ((rc = kv_conf_apply(&db->env, settings, &conf)) != 0)
		return rc;
	return db->flags & KEVO_CREATE ? kv_conf_check(&db->env, &conf) : 0;
}

int
kv_config_compare(struct kevo *db, const char *const *settings)
{
	struct kv_conf is, wanted;
	char text[KV_SETTING_TEXT];
	int rc;

	if ((rc = kv_conf_read(&db->env, &db->dir, &is)) != 0)
		return rc;
	wanted = is;
	if ((rc = kv_conf_apply(&db->env, settings, &wanted)) != 0)
		return rc;
	for (int i = 0; i < KV_SETTINGS; i++) {
		if (is.value[i] == wanted.value[i])
			continue;
		kv_setting_print(i, is.value[i], text);
		return kv_fail(&db->env, KEVO_ECREATE, "%s: exists already, "
		    "and its setting %s is %s; kevo-config changes it",
		    db->path, kv_setting_row(i)->name, text);
	}
	return 0;
}

/* ---- the public functions ---------------------------------------------- */

const char *
kevo_setting_names(void)
{
	return kv_setting_names();
}

const char *
kevo_profile_names(void)
{
	return kv_profile_names();
}

const char *const *
kevo_profile(const char *name)
{
	return kv_profile(name);
}

static void
describe(int i, const struct kv_conf *conf, struct kevo_setting *out)
{
	static const char *const kinds[] = {
		"size", "count", "duration", "choice", "list"
	};
	const struct kv_setting_row *r = kv_setting_row(i);

	memset(out, 0, sizeof(*out));
	out->name = r->name;
	out->kind = kinds[r->kind];
	out->range = r->range;
	out->initial = r->initial_text;
	out->meaning = r->meaning;
	out->trade = r->trade;
	out->number = conf->value[i];
	out->line = conf->line[i];
	kv_setting_print(i, conf->value[i], out->value);
}

static int
read_conf(struct kevo *db, struct kv_conf *conf)
{
	int rc;

	if (db == NULL) {
		kv_conf_init(conf);
		return 0;
	}
	if ((rc = kv_usable(db)) != 0)
		return rc;
	return kv_conf_read(&db->env, &db->dir, conf);
}

int
kevo_config_list(struct kevo *db,
    int (*each)(void *arg, const struct kevo_setting *s), void *arg)
{
	struct kevo_setting s;
	struct kv_conf conf;
	int rc = read_conf(db, &conf);

	for (int i = 0; rc == 0 && i < KV_SETTINGS; i++) {
		describe(i, &conf, &s);
		rc = each(arg, &s);
	}
	return rc;
}

int
kevo_config_get(struct kevo *db, const char *name, struct kevo_setting *out)
{
	struct kv_conf conf;
	int i = kv_setting_find(name, strlen(name)), rc;

	if ((rc = read_conf(db, &conf)) != 0)
		return rc;
	if (i < 0)
		return KEVO_NOTFOUND;
	describe(i, &conf, out);
	return 0;
}

/* What does not go together is the fault of the changes if the file was right
 * before. */
static int
change(struct kevo *db, const char *const *changes)
{
	struct kv_conf conf;
	int rc;

	if (kv_conf_read(&db->env, &db->dir, &conf) == 0 &&
	    ((rc = kv_conf_apply(&db->env, changes, &conf)) != 0 ||
	    (rc = kv_conf_check(&db->env, &conf)) != 0))
		return rc;
	rc = kv_conf_change(&db->env, &db->dir, db->ctl->mode, changes, &conf);
	if (rc == 0)
		kv_control_configure(db->ctl, &conf);
	return rc;
}

int
kevo_config_set(struct kevo *db, const char *const *changes)
{
	struct kv_conf any;
	int rc;

	kv_conf_init(&any);
	if ((rc = kv_usable(db)) != 0 ||
	    (rc = kv_conf_apply(&db->env, changes, &any)) != 0 ||
	    (rc = kv_warm_up(db)) != 0 || (rc = kv_log_lock(db)) != 0)
		return rc;
	rc = change(db, changes);
	kv_writer_unlock(db);
	return rc;
}
