/*
 * Positions, epochs and roles as text, from anywhere; and what follows from a
 * history.  KEVO_SEED repeats a run.
 */
#include "epoch.h"
#include "file.h"
#include "env.h"
#include "ident.h"
#include "kevo.h"
#include "position.h"
#include "role.h"
#include "segment.h"
#include "tap.h"
#include "text.h"

static struct kv_names names;
static struct kv_dir dir;
static struct kv_env env;

/* ---- positions and times ----------------------------------------------- */

static void
test_positions(void)
{
	static const char *const bad[] = {
		"", "2", "2.9b0c6a1de4f20177:60:41d2c07be1a95f3",
		"2.9b0c6a1de4f20177:60:41d2c07be1a95f333",
		"0.9b0c6a1de4f20177:60:41d2c07be1a95f33",
		"02.9b0c6a1de4f20177:60:41d2c07be1a95f33",
		"2.9b0c6a1de4f20177:060:41d2c07be1a95f33",
		"2.9b0c6a1de4f20177:-1:41d2c07be1a95f33",
		"2.9B0C6A1DE4F20177:60:41d2c07be1a95f33",
		"2.9b0c6a1de4f20177:60:41d2c07be1a95f33 ",
		"4294967296.9b0c6a1de4f20177:60:41d2c07be1a95f33",
		"2.9b0c6a1de4f20177:18446744073709551616:41d2c07be1a95f33",
		"2.9b0c6a1de4f20177:60", "2.9b0c6a1de4f20177"
	};
	char buf[KV_POSITION_LEN];
	struct kv_position p, q;

	for (int i = 0; i < 2000; i++) {
		p.epoch = (uint32_t)tap_random() | 1;
		p.nonce = tap_random() >> tap_below(64);
		p.seq = tap_random() >> tap_below(64);
		p.chain = tap_random() >> tap_below(64);
		kv_position_print(buf, &p);
		expect(kv_position_parse(buf, &q) == 0 &&
		    kv_position_same(&p, &q));
		buf[tap_below(strlen(buf))] ^= 0x40;
		expect(kv_position_parse(buf, &q) == -1);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (!expect(kv_position_parse(bad[i], &q) == -1))
			tap_note("%s", bad[i]);
	expect(kv_position_parse("2.9b0c6a1de4f20177:60:41d2c07be1a95f33",
	    &q) == 0 && q.epoch == 2 && q.seq == 60);
	tap_report("position: there and back, and nothing else");
}

static void
test_times(void)
{
	static const char *const bad[] = {
		"", "2026-02-30T00:00:00.000000000Z",
		"2026-11-22T24:00:00.000000000Z",
		"2026-11-22T14:03:11.25Z", "2026-11-22T14:03:11.250000000",
		"2026-11-22 14:03:11.250000000Z",
		"1969-12-31T23:59:59.000000000Z",
		"9999-11-22T14:03:11.250000000Z"
	};
	char buf[KV_TIME_LEN];
	uint64_t t, v;

	for (int i = 0; i < 2000; i++) {
		t = tap_random() >> (1 + tap_below(40));
		kv_time_print(buf, t);
		expect(kv_time_parse(buf, &v) == 0 && v == t);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		expect(kv_time_parse(bad[i], &v) == -1);
	tap_report("time: there and back, and no day that is none");
}

/* ---- epochs ------------------------------------------------------------ */

static struct kv_epoch
next_of(const struct kv_epoch *p, uint64_t start)
{
	struct kv_epoch e = *p;

	e.epoch++;
	e.nonce = tap_random();
	e.parent = p->epoch;
	e.parent_nonce = p->nonce;
	e.start = start;
	e.chain = tap_random();
	e.time_ns = 1763820191250000000u;
	strcpy(e.host, "db2");
	strcpy(e.reason, "promote: primary db1 unreachable since 14:01");
	return e;
}

static void
first_of(struct kv_ident *id, struct kv_epoch *e)
{
	memset(id, 0, sizeof(*id));
	tap_fill(id->id, sizeof(id->id));
	id->epoch = 1;
	id->nonce = tap_random();
	id->mode = 0644;
	kv_epoch_first(id, e);
}

static void
test_text(void)
{
	char text[KV_EPOCH_TEXT_MAX], again[KV_EPOCH_TEXT_MAX];
	struct kv_epoch first, e, f;
	struct kv_ident id;
	const char *why;
	size_t len;

	first_of(&id, &first);
	e = next_of(&first, 60);
	len = kv_epoch_print(text, &e);
	expect(kv_epoch_parse(text, len, &f, &why) == 0 &&
	    kv_epoch_print(again, &f) == len && strcmp(text, again) == 0);
	expect(strncmp(text, "kevo-epoch 1\ndb ", 16) == 0 &&
	    strstr(text, "\nparent 1 ") != NULL &&
	    strstr(text, "\nstart 60\n") != NULL);
	for (size_t bit = 0; bit < len * 8; bit++) {
		text[bit / 8] ^= (char)(1 << bit % 8);
		expect(kv_epoch_parse(text, len, &f, &why) == -1 &&
		    why != NULL);
		text[bit / 8] ^= (char)(1 << bit % 8);
	}
	for (size_t cut = 0; cut < len; cut++)
		expect(kv_epoch_parse(text, cut, &f, &why) == -1);
	text[len] = 'x';
	expect(kv_epoch_parse(text, len + 1, &f, &why) == -1);
	expect(kv_epoch_parse(text, sizeof(text), &f, &why) == -1);
	tap_report("epoch: any bit flipped, any cut, and more behind it");
}

static void
write_epoch(const struct kv_epoch *e)
{
	if (kv_epoch_write(&env, &dir, "e", 0600, e) != 0)
		tap_bail("%s", env.msg);
}

static void
clear(void)
{
	char cmd[500];

	snprintf(cmd, sizeof(cmd), "rm -rf %s/e && mkdir %s/e", tap_dir,
	    tap_dir);
	if (system(cmd) != 0)
		tap_bail("%s", cmd);
}

static int
read_it(const struct kv_ident *id, const struct kv_epoch *first,
    struct kv_history *h)
{
	return kv_history_read(&env, &dir, "e", id->id, first, h);
}

static void
test_history(void)
{
	struct kv_epoch first, e[5], other;
	struct kv_history h;
	struct kv_ident id;

	clear();
	first_of(&id, &first);
	expect(read_it(&id, &first, &h) == 0 && h.n == 1);
	kv_history_release(&h);
	expect(read_it(&id, NULL, &h) == KEVO_ECORRUPT);
	write_epoch(&first);
	expect(read_it(&id, NULL, &h) == 0 && h.n == 1);
	kv_history_release(&h);
	e[0] = next_of(&first, 60);
	for (int i = 1; i < 5; i++)
		e[i] = next_of(&e[i - 1], 60 + 20 * (uint64_t)i);
	for (int i = 4; i >= 0; i--)
		write_epoch(&e[i]);
	expect(read_it(&id, &first, &h) == 0 && h.n == 6);
	expect(kv_history_newest(&h)->epoch == 6 &&
	    kv_history_find(&h, 7) == NULL && kv_history_find(&h, 0) == NULL
	    && kv_history_find(&h, 3)->nonce == e[1].nonce &&
	    kv_history_next(&h, 3)->nonce == e[2].nonce &&
	    kv_history_next(&h, 6) == NULL);
	expect(kv_history_of(&h, 0) == NULL && kv_history_of(&h, 1)->epoch ==
	    1 && kv_history_of(&h, 60)->epoch == 1 &&
	    kv_history_of(&h, 61)->epoch == 2 &&
	    kv_history_of(&h, 141)->epoch == 6);
	tap_report("history: which epoch a commit is of, and what follows");
	other = next_of(&e[4], 139);
	expect(kv_history_refuses(&h, &other) != NULL);
	other = next_of(&e[4], 140);
	expect(kv_history_refuses(&h, &other) != NULL);	/* another chain */
	other.chain = e[4].chain;
	expect(kv_history_refuses(&h, &other) == NULL);
	other.parent_nonce ^= 1;
	expect(kv_history_refuses(&h, &other) != NULL);
	other = next_of(&e[4], 200);
	other.epoch++;
	expect(kv_history_refuses(&h, &other) != NULL);
	other = next_of(&e[4], 200);
	other.db[0] ^= 1;
	expect(kv_history_refuses(&h, &other) != NULL);
	kv_history_release(&h);
	tap_report("history: what does not continue it is refused");
	other = e[2];
	other.nonce ^= 1;
	expect(kv_epoch_write(&env, &dir, "e", 0600, &other) == KEVO_FALSE);
	expect(kv_epoch_write(&env, &dir, "e", 0600, &e[2]) == 0);
	expect(read_it(&id, &first, &h) == 0 && h.n == 6);
	kv_history_release(&h);
	tap_report("history: a name that is taken is never replaced");
	if (unlinkat(dir.fd, "e/00000004.epoch", 0) != 0)
		tap_bail("unlink");
	expect(read_it(&id, &first, &h) == KEVO_ECORRUPT && h.n == 0);
	id.id[0] ^= 1;
	expect(read_it(&id, NULL, &h) == KEVO_ECORRUPT);
	tap_report("history: one that is missing, or another database's");
}

/* ---- roles ------------------------------------------------------------- */

static void
test_roles(void)
{
	static const struct { const char *text; int role; } cases[] = {
		{ "primary\n", KV_ROLE_PRIMARY },
		{ "replica\nprimary db1\n", KV_ROLE_REPLICA },
		{ "fenced\nlater 7\nreason any words\n", KV_ROLE_FENCED },
		{ "", 0 }, { "replica", 0 }, { "Replica\n", 0 },
		{ "replica x\n", 0 }, { "unknown\n", 0 },
		{ "replica\nprimary a b\n", 0 },
		{ "replica\nsince today\n", 0 }, { "replica\n\x01\n", 0 },
		{ "primary\nreason x", 0 }
	};
	struct kv_role_note n, m;
	char file[300], big[3000];
	FILE *f;

	expect(kv_role_read(&env, &dir, &n) == 0 && n.role ==
	    KV_ROLE_PRIMARY);
	snprintf(file, sizeof(file), "%s/role", tap_dir);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int rc;

		f = fopen(file, "w");
		if (f == NULL || fputs(cases[i].text, f) < 0 ||
		    fclose(f) != 0)
			tap_bail("%s", file);
		rc = kv_role_read(&env, &dir, &n);
		expect(cases[i].role != 0 ? rc == 0 && (int)n.role ==
		    cases[i].role : rc == KEVO_ECORRUPT && n.role ==
		    KV_ROLE_UNKNOWN);
	}
	memset(big, 'x', sizeof(big));
	f = fopen(file, "w");
	if (f == NULL || fwrite(big, 1, sizeof(big), f) != sizeof(big) ||
	    fclose(f) != 0)
		tap_bail("%s", file);
	expect(kv_role_read(&env, &dir, &n) == KEVO_ECORRUPT);
	memset(&n, 0, sizeof(n));
	n.role = KV_ROLE_FENCED;
	memset(n.primary, 'p', sizeof(n.primary) - 1);
	memset(n.reason, 'r', sizeof(n.reason) - 1);
	n.since_ns = 1763820191250000000u;
	expect(kv_role_write(&env, &dir, 0600, &n) == 0 &&
	    kv_role_read(&env, &dir, &m) == 0 && m.role == n.role &&
	    strcmp(m.primary, n.primary) == 0 && strcmp(m.reason, n.reason)
	    == 0 && m.since_ns == n.since_ns);
	tap_report("role: what a file can say, and what it cannot");
}

int
main(void)
{
	tap_start("epoch");
	dir.path = tap_dir;
	dir.names = &names;
	dir.fd = kv_openat(AT_FDCWD, tap_dir, O_PATH | O_DIRECTORY, 0);
	test_positions();
	test_times();
	test_text();
	test_history();
	test_roles();
	close(dir.fd);
	return tap_end();
}
