#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "coding.h"
#include "join.h"
#include "lock.h"
#include "record.h"

/* ---- the text ---------------------------------------------------------- */

struct entry {
	uint64_t dev, ino;
	enum kv_join_kind kind;
	uint64_t value[KV_JOIN_VALUES];
};

#define ENTRY_ROOM	(8 + (2 + KV_JOIN_VALUES) * 17)

/* How many numbers follow the letter, or 0. */
static int
values_of(int kind)
{
	switch (kind) {
	case KV_JOIN_LAYER:
		return 1;
	case KV_JOIN_LAYER_AT:
		return 3;
	case KV_JOIN_SNAPSHOT:
		return 6;
	}
	return 0;
}

static int
parse_number(const char **p, uint64_t *v)
{
	int n = 0, d;

	for (*v = 0; (d = hex_digit_value(**p)) >= 0; n++, ++*p)
		*v = *v << 4 | (uint64_t)d;
	return n >= 1 && n <= 16 ? 0 : -1;
}

/* An entry, and the blank behind it if another one follows. */
static int
parse_entry(const char **p, struct entry *e)
{
	int n;

	if (parse_number(p, &e->dev) != 0 || *(*p)++ != '.' ||
	    parse_number(p, &e->ino) != 0 || *(*p)++ != '.')
		return -1;
	n = values_of(**p);
	e->kind = (enum kv_join_kind)*(*p)++;
	if (n == 0)
		return -1;
	memset(e->value, 0, sizeof(e->value));
	for (int i = 0; i < n; i++)
		if (*(*p)++ != '.' || parse_number(p, &e->value[i]) != 0)
			return -1;
	if (**p == ' ')
		return *++*p != '\0' ? 0 : -1;
	return **p == '\0' ? 0 : -1;
}

static int
print_entry(char *buf, const struct entry *e)
{
	int n = snprintf(buf, ENTRY_ROOM, "%" PRIx64 ".%" PRIx64 ".%c", e->dev,
	    e->ino, (int)e->kind);

	for (int i = 0; i < values_of((int)e->kind); i++)
		n += snprintf(buf + n, ENTRY_ROOM - (size_t)n, ".%" PRIx64,
		    e->value[i]);
	return n;
}

static int
ended(struct kevo *db)
{
	return kv_fail(&db->env, KEVO_EENDED, "%s: the transaction has ended",
	    db->path);
}

static int
whose(struct kevo *db, struct kv_file_id *id)
{
	return kv_file_stat(&db->env, db->dir.fd, db->path, NULL, id, NULL);
}

int
kv_join_text(struct kevo *db, enum kv_join_kind kind,
    const uint64_t value[KV_JOIN_VALUES], char **out)
{
	const char *p = db->txn_env != NULL ? db->txn_env : "";
	struct kv_file_id id;
	struct entry e;
	char *text;
	size_t n;
	int rc;

	if ((rc = whose(db, &id)) != 0)
		return rc;
	if ((text = malloc(ENTRY_ROOM + strlen(p) + 2)) == NULL)
		return kv_fail(&db->env, KEVO_ENOMEM, "out of memory");
	e.dev = id.dev;
	e.ino = id.ino;
	e.kind = kind;
	memcpy(e.value, value, sizeof(e.value));
	n = (size_t)print_entry(text, &e);
	while (*p != '\0' && parse_entry(&p, &e) == 0)
		if (e.dev != id.dev || e.ino != id.ino) {
			text[n++] = ' ';
			n += (size_t)print_entry(text + n, &e);
		}
	*out = text;
	return 0;
}

/* ---- joining ----------------------------------------------------------- */

static int
begin(struct kevo *db, const struct entry *e)
{
	struct kv_join *j = calloc(1, sizeof(*j));

	if (j == NULL)
		return kv_fail(&db->env, KEVO_ENOMEM, "out of memory");
	j->kind = e->kind;
	memcpy(j->value, e->value, sizeof(j->value));
	j->read_only = (db->flags & KEVO_RDONLY) != 0 ||
	    e->kind != KV_JOIN_LAYER;
	db->flags |= KEVO_RDONLY;
	db->join = j;
	return 0;
}

int
kv_join_find(struct kevo *db, const char *txn)
{
	struct kv_file_id id;
	struct entry e, ours;
	const char *p = txn;
	int found = 0, rc;

	if ((rc = whose(db, &id)) != 0)
		return rc;
	while (*p != '\0') {
		if (parse_entry(&p, &e) != 0)
			return kv_fail(&db->env, KEVO_EENDED, "%s: there is "
			    "no transaction to join by the name of %.64s",
			    db->path, txn);
		if (!found && e.dev == id.dev && e.ino == id.ino) {
			ours = e;
			found = 1;
		}
	}
	if ((db->txn_env = strdup(txn)) == NULL)
		return kv_fail(&db->env, KEVO_ENOMEM, "out of memory");
	return found ? begin(db, &ours) : 0;
}

/* The transaction of a number, and those that it is within. */
static int
join_layers(struct kevo *db, uint64_t number)
{
	struct kv_join *j = db->join;
	struct kv_layer **at = &j->top, *above = NULL;
	int rc;

	while (number != 0) {
		struct kv_layer *l = malloc(sizeof(*l));

		if (l == NULL)
			return kv_fail(&db->env, KEVO_ENOMEM, "out of memory");
		if ((rc = kv_layer_join(l, db, number)) != 0) {
			free(l);
			return rc;
		}
		*at = l;
		at = &l->below;
		if (above != NULL && (l->head->depth + 1 !=
		    above->head->depth || l->head->seq != above->head->seq ||
		    l->head->now_ns != above->head->now_ns))
			return kv_fail(&db->env, KEVO_ECORRUPT, "%s: the "
			    "transaction's file is damaged", db->path);
		above = l;
		number = l->head->parent;
	}
	j->seq = j->top->head->seq;
	j->now_ns = j->top->head->now_ns;
	return 0;
}

static int
hold_snapshot(struct kevo *db)
{
	struct kv_join *j = db->join;

	j->seq = j->value[KV_JOIN_SEQ];
	j->now_ns = j->value[KV_JOIN_NOW];
	j->life = j->value[KV_JOIN_LIFE];
	/* Who made it holds it too: so there is no time without a pin. */
	j->pinned = kv_pin_take(db, j->value[KV_JOIN_VERSION]);
	return j->pinned ? 0 : kv_fail(&db->env, KEVO_EPERM, "%s/PINS: cannot "
	    "be read, and without it no snapshot can be shared", db->path);
}

int
kv_join_enter(struct kevo *db)
{
	struct kv_join *j = db->join;
	int rc;

	if (j->kind == KV_JOIN_SNAPSHOT)
		rc = hold_snapshot(db);
	else if (j->value[KV_JOIN_NUMBER] == 0)
		rc = ended(db);
	else
		rc = join_layers(db, j->value[KV_JOIN_NUMBER]);
	if (rc == 0 && j->kind == KV_JOIN_LAYER_AT) {
		j->life = j->value[KV_JOIN_LAYER_LIFE];
		rc = kv_pin_file(db);
	}
	if (rc == 0 && j->life >= KV_LIFE_BASE)
		rc = ended(db);
	return rc != 0 ? rc : kv_join_check(db);
}

void
kv_join_leave(struct kevo *db)
{
	struct kv_join *j = db->join;
	struct kv_layer *l, *below;

	free(db->txn_env);
	db->txn_env = NULL;
	if (j == NULL)
		return;
	for (l = j->top; l != NULL; l = below) {
		below = l->below;
		kv_layer_release(l);
		free(l);
	}
	if (j->pinned)
		kv_pin_drop(db, j->value[KV_JOIN_VERSION]);
	free(j);
	db->join = NULL;
}

/*
 * Has anybody committed?  Then the owner of the transaction has lost WRITER,
 * though it may not have lost all its locks yet: it is dying.
 */
static int
check_base(struct kevo *db)
{
	uint64_t appended;
	int rc;

	if (db->cold == NULL || kv_cold_appended(db, &appended) != 0) {
		if ((rc = kv_warm_up(db)) != 0)
			return rc;
		appended = atomic_load_explicit(&db->ctl->appended,
		    memory_order_acquire);
	}
	return appended == db->join->seq ? 0 : ended(db);
}

int
kv_join_check(struct kevo *db)
{
	struct kv_join *j = db->join;
	int rc = 0;

	if (j == NULL)
		return 0;
	if (j->kind != KV_JOIN_LAYER && (db->pin_fd < 0 ||
	    !kv_life_held(db->pin_fd, j->life)))
		return ended(db);
	if (j->top == NULL || (rc = check_base(db)) != 0)
		return rc;
	return kv_layers_alive(j->top);
}

int
kv_join_refuse(struct kevo *db, const char *what)
{
	return db->join == NULL ? 0 : kv_fail(&db->env, KEVO_EPERM, "%s: %s "
	    "within a transaction", db->path, what);
}

/* ---- reading ----------------------------------------------------------- */

void
kv_join_place(const struct kv_join *j, uint64_t *first, uint64_t *version,
    uint64_t *seq, uint64_t *active)
{
	*seq = j->seq;
	if (j->kind != KV_JOIN_SNAPSHOT)
		return;
	*first = j->value[KV_JOIN_FIRST];
	*version = j->value[KV_JOIN_VERSION];
	*active = j->value[KV_JOIN_ACTIVE];
}

int
kv_join_look(struct kevo *db, struct kv_reach *r)
{
	struct kv_join *j = db->join;
	int rc = kv_layers_look(j->top, r);

	if (rc == 0 && j->kind == KV_JOIN_LAYER_AT &&
	    j->value[KV_JOIN_REACH] < r->at[0])
		r->at[0] = j->value[KV_JOIN_REACH];
	return rc;
}

int
kv_join_get(struct kevo *db, const void *key, size_t klen,
    struct kevo_record *rec)
{
	struct kv_reach r;
	int rc, over, cold;

	do {
		if ((rc = kv_join_look(db, &r)) == 0 && (rc = kv_layers_get(
		    db->join->top, &r, key, klen, rec)) == KEVO_FALSE)
			rc = kv_get_now(db, key, klen, rec);
		/* Whatever it was, if it is over this is the reason. */
		cold = db->cold != NULL;
		over = kv_join_check(db);
		/* A handle that has warmed up has forgotten the value. */
	} while (over == 0 && cold && db->cold == NULL);
	return over != 0 ? over : kv_unexpired(rc, rec, db->join->now_ns);
}

/* ---- writing ----------------------------------------------------------- */

/* One that is over is over first of all. */
static int
refuse(struct kevo *db, int status, const char *why)
{
	int rc = kv_join_check(db);

	return rc != 0 ? rc : kv_fail(&db->env, status, "%s: %s", db->path,
	    why);
}

int
kv_join_may_write(struct kevo *db)
{
	if (db->join->kind != KV_JOIN_LAYER)
		return refuse(db, KEVO_EPERM, "the transaction is read-only");
	if (db->join->read_only)
		return refuse(db, KEVO_EPERM, "opened for reading only");
	if (db->txn != NULL)
		return refuse(db, KEVO_EINVAL, "a transaction is open on this "
		    "handle");
	return 0;
}

/* Under the write lock. */
static int
check_cond(struct kevo *db, const void *key, size_t klen,
    const struct kevo_cond *cond)
{
	struct kevo_record rec;
	int rc;

	if (cond->kind == KEVO_IF_ANY)
		return 0;
	if ((rc = kv_join_get(db, key, klen, &rec)) < 0)
		return rc;
	return kv_cond_holds(cond, rc == 0, &rec) ? 0 : KEVO_FALSE;
}

int
kv_join_write(struct kevo *db, const struct kevo_batch *b, const void *key,
    size_t klen, const struct kevo_cond *cond)
{
	struct kv_layer *top = db->join->top;
	int rc;

	if ((rc = kv_join_may_write(db)) != 0 ||
	    (rc = kv_layer_lock(top)) != 0)
		return rc;
	if ((rc = check_cond(db, key, klen, cond)) == 0)
		rc = kv_layer_append(top, b);
	kv_layer_unlock(top);
	return rc;
}
