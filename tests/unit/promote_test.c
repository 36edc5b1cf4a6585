/*
 * Promotions, two at once and killed in between; and the primary that comes
 * back, with no orphans, one, and many.  KEVO_SEED repeats a run.
 */
#include <signal.h>
#include <sys/wait.h>

#include "promote.h"
#include "replica.h"

static struct log primary;

/* The primary, and two replicas with its first n commits. */
static size_t
make_copies(size_t commits, size_t behind)
{
	struct kv_applied out;
	struct kv_applier *a;
	struct kevo *db;
	size_t n;

	run_cmd("rm -rf %s/*", tap_dir);
	log_free(&primary);
	db = open_it("p", KEVO_CREATE);
	must(db, kevo_close(db), "close");
	copy_db("p", "a", REPLICA_ROLE);
	copy_db("p", "b", REPLICA_ROLE);
	db = open_it("p", 0);
	for (size_t i = 0; i < commits; i++)
		commit_some(db, 200, 900);
	must(db, kevo_sync(db), "sync");
	must(db, kevo_close(db), "close");
	log_read(&primary, "p");
	n = primary.n - behind;
	for (int i = 0; i < 2; i++) {
		db = open_it(i == 0 ? "a" : "b", 0);
		must(db, kv_applier_open(db, &a), "applier");
		must(db, apply_piece(a, &primary, 0, n, KEVO_SYNC_FULL, &out),
		    "apply");
		kv_applier_close(a);
		must(db, kevo_close(db), "close");
	}
	run_cmd("mkdir %s", in_dir("archive"));
	return n;
}

/* What an archive does with an epoch: link(2). */
static int
publish(void *arg, uint32_t epoch, const char *text, size_t len)
{
	char name[300], tmp[300], have[KV_EPOCH_TEXT_MAX];
	FILE *f;
	size_t n;
	int r;

	(void)arg;
	snprintf(name, sizeof(name), "%s/archive/%08x.epoch", tap_dir, epoch);
	snprintf(tmp, sizeof(tmp), "%s/archive/tmp.%d", tap_dir, getpid());
	f = fopen(tmp, "w");
	if (f == NULL || fwrite(text, 1, len, f) != len || fclose(f) != 0)
		return KEVO_EIO;
	r = link(tmp, name);
	unlink(tmp);
	if (r == 0)
		return 0;
	f = fopen(name, "r");
	n = f != NULL ? fread(have, 1, sizeof(have), f) : 0;
	if (f != NULL)
		fclose(f);
	return n == len && memcmp(have, text, n) == 0 ? 0 : KEVO_FALSE;
}

static int
promote(const char *name, struct kv_promoted *out)
{
	struct kv_promote p = { .host = name, .reason = "a test",
	    .publish = publish };
	struct kevo *db = open_it(name, 0);
	int rc = kv_promote(db, &p, out);

	kevo_close(db);
	return rc;
}

static enum kv_role
role_of(const char *name)
{
	struct kv_role_note n;
	struct kv_names names;
	struct kv_dir dir = { .path = in_dir(name), .names = &names };
	struct kv_env env;

	names.turn = 0;
	dir.fd = kv_openat(AT_FDCWD, dir.path, O_PATH | O_DIRECTORY, 0);
	if (kv_role_read(&env, &dir, &n) != 0)
		tap_bail("%s", env.msg);
	close(dir.fd);
	return n.role;
}

static struct kv_position
position(const char *name)
{
	struct kevo *db = open_it(name, KEVO_RDONLY);
	struct kv_position p;

	must(db, kv_position_now(db, KV_AT_SYNCED, &p), "position");
	kevo_close(db);
	return p;
}

static int
can_write(const char *name)
{
	struct kevo *db = open_it(name, 0);
	int rc = kevo_put(db, "new", 3, name, 1, NULL, NULL);

	kevo_close(db);
	return rc;
}

/* What the others know: the archive's epochs, and the first. */
static void
history(struct kv_history *h)
{
	struct kv_names names;
	struct kv_dir dir = { .path = tap_dir, .names = &names };
	struct kv_epoch first;
	struct kv_ident id;
	struct kv_dir p;
	struct kv_env env;

	names.turn = 0;
	dir.fd = kv_openat(AT_FDCWD, tap_dir, O_PATH | O_DIRECTORY, 0);
	p = dir;
	p.fd = kv_openat(AT_FDCWD, in_dir("p"), O_PATH | O_DIRECTORY, 0);
	if (kv_ident_read(&env, &p, &id) != 0)
		tap_bail("%s", env.msg);
	kv_epoch_first(&id, &first);
	if (kv_history_read(&env, &dir, "archive", id.id, &first, h) != 0)
		tap_bail("%s", env.msg);
	close(dir.fd);
	close(p.fd);
}

/* ---- promotions -------------------------------------------------------- */

static void
test_promote(void)
{
	size_t n = make_copies(60, 0);
	struct kv_promote p = { .publish = publish, .dry_run = 1 };
	struct kv_promoted out;
	struct kv_position at;
	struct kevo *db;

	db = open_it("a", 0);
	expect(kv_promote(db, &p, &out) == 0 && out.epoch.epoch == 2 &&
	    out.epoch.start == n);
	kevo_close(db);
	expect(role_of("a") == KV_ROLE_REPLICA && access(in_dir("a/epochs"),
	    F_OK) != 0);
	expect(can_write("a") == KEVO_EPERM);
	tap_report("promote: a dry run changes nothing");
	expect(promote("a", &out) == 0 && out.why == KV_PROMOTE_DONE &&
	    out.epoch.start == n && out.epoch.chain ==
	    primary.r[n - 1].chain);
	at = position("a");
	expect(at.epoch == 2 && at.nonce == out.epoch.nonce &&
	    at.seq == n + 1);
	expect(role_of("a") == KV_ROLE_PRIMARY && can_write("a") == 0);
	expect(access(in_dir("a/epochs/next"), F_OK) != 0);
	tap_report("promote: the first record of the epoch is a mark");
	expect(promote("a", &out) == KEVO_EPERM && out.why ==
	    KV_PROMOTE_IS_PRIMARY && out.epoch.epoch == 2);
	expect(promote("b", &out) == KEVO_EHISTORY && out.why ==
	    KV_PROMOTE_LOST);
	expect(role_of("b") == KV_ROLE_REPLICA &&
	    access(in_dir("b/epochs/next"), F_OK) != 0);
	tap_report("promote: of two to the same number one is told that it "
	    "lost");
	expect(contents("a") != contents("b"));
}

static void
test_behind(void)
{
	struct kv_promote p = { .publish = publish };
	struct kv_promoted out;
	struct kevo *db;
	size_t n = make_copies(20, 5);

	db = open_it("a", 0);
	kv_apply_beat(db, n + 5, 1);
	kevo_close(db);
	run_cmd("cp -r %s %s", in_dir("a"), in_dir("a2"));
	expect(promote("a2", &out) == KEVO_EHISTORY && out.why ==
	    KV_PROMOTE_BEHIND && out.missing == n + 5);
	run_cmd("rm -rf %s", in_dir("a2"));
	expect(promote("a", &out) == KEVO_EHISTORY && out.why ==
	    KV_PROMOTE_BEHIND && out.missing == n + 5);
	db = open_it("a", 0);
	p.force = 1;
	expect(kv_promote(db, &p, &out) == 0 && out.epoch.start == n);
	kevo_close(db);
	tap_report("promote: what the primary still had is a reason not to, "
	    "unless forced");
}

/* The records of the new primary reach the other replica. */
static void
test_follow(void)
{
	size_t n = make_copies(40, 0), len;
	struct kv_promoted out;
	struct kv_applied done;
	struct kv_applier *a;
	char text[KV_EPOCH_TEXT_MAX];
	struct log now;
	struct kevo *db;

	must(NULL, promote("a", &out), "promote");
	db = open_it("a", 0);
	for (int i = 0; i < 30; i++)
		commit_some(db, 200, 900);
	kevo_close(db);
	log_read(&now, "a");
	db = open_it("b", 0);
	must(db, kv_applier_open(db, &a), "applier");
	expect(apply_piece(a, &now, n, now.n, KEVO_SYNC_FULL, &done) ==
	    KEVO_EHISTORY && done.why == KV_APPLY_NO_EPOCH);
	len = kv_epoch_print(text, &out.epoch);
	expect(kv_apply_epoch(a, text, len, &done) == 0);
	expect(apply_piece(a, &now, n, now.n, KEVO_SYNC_FULL, &done) == 0 &&
	    done.applied == now.n - n && done.now.epoch == 2);
	kv_applier_close(a);
	kevo_close(db);
	log_free(&now);
	expect(contents("a") == contents("b"));
	tap_report("follow: the other replica goes on with the new epoch");
}

/* ---- killed ------------------------------------------------------------ */

/* A promotion that dies when its text is published, or behind that. */
static int kill_before;

static int
die(void *arg, uint32_t epoch, const char *text, size_t len)
{
	if (!kill_before)
		publish(arg, epoch, text, len);
	raise(SIGKILL);
	return KEVO_EIO;
}

static void
test_killed(void)
{
	struct kv_promoted out;
	struct kv_applied done;
	struct kv_applier *a;
	struct kevo *db;
	size_t n;
	pid_t pid;
	int st;

	for (kill_before = 0; kill_before < 2; kill_before++) {
		n = make_copies(20, 3);
		if ((pid = fork()) == 0) {
			struct kv_promote p = { .publish = die };

			db = open_it("a", 0);
			kv_promote(db, &p, &out);
			_exit(0);
		}
		waitpid(pid, &st, 0);
		expect(WIFSIGNALED(st));
		expect(access(in_dir("a/epochs/next"), F_OK) == 0);
		db = open_it("a", 0);
		must(db, kv_applier_open(db, &a), "applier");
		expect(apply_piece(a, &primary, n, n + 2, KEVO_SYNC_FULL,
		    &done) == KEVO_EPERM && done.why == KV_APPLY_ROLE);
		kv_applier_close(a);
		kevo_close(db);
		if (kill_before) {
			/* Another one is faster. */
			must(NULL, promote("b", &out), "promote b");
			expect(promote("a", &out) == KEVO_EHISTORY &&
			    out.why == KV_PROMOTE_LOST);
			expect(role_of("a") == KV_ROLE_REPLICA);
		} else {
			expect(promote("b", &out) == KEVO_EHISTORY &&
			    out.why == KV_PROMOTE_LOST);
			expect(promote("a", &out) == 0 &&
			    position("a").nonce == out.epoch.nonce);
			expect(can_write("a") == 0);
		}
	}
	tap_report("killed: it goes on with its own nonce, and loses only to "
	    "another");
}

/* ---- coming back ------------------------------------------------------- */

static void
test_rejoin(size_t behind)
{
	size_t n = make_copies(80 + behind, behind);
	struct kv_rejoined back;
	struct kv_promoted out;
	struct kv_history line;
	struct kv_applied done;
	struct kv_applier *a;
	struct log now, saved;
	struct kevo *db, *reader;
	struct kevo_record rec;
	char name[80], cmd[80];
	int rc;

	db = open_it("p", 0);
	reader = open_it("p", KEVO_RDONLY);
	kevo_peek(reader, NULL, "key1", 4, &rec);
	kevo_close(db);
	must(NULL, promote("a", &out), "promote");
	for (int i = 0; i < 9; i++)
		expect(can_write("a") == 0);
	history(&line);
	expect(kv_rejoin(in_dir("p"), &line, NULL, 10000, 1,
	    &back) == 0 &&
	    back.orphans.saved == behind && back.fork == n);
	expect(role_of("p") == KV_ROLE_PRIMARY &&
	    access(in_dir("p/orphans"), F_OK) != 0);
	rc = kv_rejoin(in_dir("p"), &line, NULL, 10000, 0,
	    &back);
	if (!expect(rc == 0))
		tap_note("%s", back.msg);
	expect(back.orphans.saved == behind && back.fork == n && (behind == 0 ||
	    (back.orphans.first == n + 1 && back.orphans.last == n + behind &&
	    back.orphans.files > 0)));
	expect(role_of("p") == KV_ROLE_REPLICA && can_write("p") ==
	    KEVO_EPERM);
	expect(log_is_prefix(&primary, "p", &n) && n == primary.n - behind);
	expect(kevo_peek(reader, NULL, "key1", 4, &rec) >= 0);
	kevo_close(reader);
	/* What was saved is, byte for byte, what is missing now. */
	memset(&saved, 0, sizeof(saved));
	for (size_t i = n; i < primary.n;) {
		size_t k = i + 1;

		for (; k <= primary.n; k++) {
			snprintf(name, sizeof(name), "p/orphans/%08x-%016zx-"
			    "%016zx.seg", 1, i + 1, k);
			if (access(in_dir(name), F_OK) == 0)
				break;
		}
		if (!expect(k <= primary.n))
			break;
		log_segment(&saved, in_dir(name));
		i = k;
	}
	expect(saved.n == behind);
	for (size_t i = 0; i < saved.n; i++)
		expect(saved.r[i].len == primary.r[n + i].len &&
		    memcmp(saved.r[i].p, primary.r[n + i].p,
		    saved.r[i].len) == 0);
	log_free(&saved);
	/* It follows. */
	log_read(&now, "a");
	db = open_it("p", 0);
	must(db, kv_applier_open(db, &a), "applier");
	expect(apply_piece(a, &now, n, now.n, KEVO_SYNC_FULL, &done) == 0);
	kv_applier_close(a);
	kevo_close(db);
	expect(contents("p") == contents("a"));
	log_free(&now);
	/* Again, nothing happens. */
	expect(kv_rejoin(in_dir("p"), &line, NULL, 10000, 0,
	    &back) == 0 &&
	    back.orphans.saved == 0 && contents("p") == contents("a"));
	expect(kv_rejoin(in_dir("a"), &line, NULL, 10000, 0,
	    &back) == KEVO_EHISTORY
	    && back.why == KV_REJOIN_NOTHING);
	kv_history_release(&line);
	snprintf(cmd, sizeof(cmd), "rejoin: %zu orphans are counted and saved",
	    behind);
	tap_report(cmd);
}

static void
test_rejoin_tables(void)
{
	struct kevo_compact c = { .flags = KEVO_COMPACT_FULL };
	struct kv_rejoined back;
	struct kv_promoted out;
	struct kv_history line;
	struct kevo *db;
	size_t n = make_copies(50, 4);

	db = open_it("p", 0);
	must(db, kevo_compact(db, &c, NULL), "compact");
	kevo_close(db);
	must(NULL, promote("a", &out), "promote");
	history(&line);
	expect(kv_rejoin(in_dir("p"), &line, NULL, 10000, 0,
	    &back) == KEVO_EHISTORY
	    && back.why == KV_REJOIN_IN_TABLES && back.fork == n);
	expect(role_of("p") == KV_ROLE_FENCED && can_write("p") ==
	    KEVO_EPERM);
	kv_history_release(&line);
	tap_report("rejoin: orphans that are in tables cannot be cut off");
}

/* Both were promoted; the one that had no archive comes back. */
static void
test_rejoin_promoted(void)
{
	struct kv_promote p = { .host = "lonely" };
	struct kv_rejoined back;
	struct kv_promoted out;
	struct kv_history line;
	struct kv_applied done;
	struct kv_applier *a;
	struct kevo *db;
	struct log now;
	size_t n = make_copies(30, 6);

	db = open_it("b", 0);
	must(db, kv_promote(db, &p, &out), "promote b");
	for (int i = 0; i < 12; i++)
		commit_some(db, 100, 100);
	kevo_close(db);
	db = open_it("a", 0);
	must(db, kv_applier_open(db, &a), "applier");
	must(db, apply_piece(a, &primary, n, n + 3, KEVO_SYNC_FULL, &done),
	    "apply");
	kv_applier_close(a);
	kevo_close(db);
	must(NULL, promote("a", &out), "promote a");
	expect(can_write("a") == 0);
	history(&line);
	expect(kv_rejoin(in_dir("b"), &line, NULL, 10000, 0,
	    &back) == 0 && back.fork == n && back.orphans.saved == 13 &&
	    back.orphans.epoch == 2);
	/* It lacks three commits of the first epoch, too. */
	log_read(&now, "a");
	db = open_it("b", 0);
	must(db, kv_applier_open(db, &a), "applier");
	expect(apply_piece(a, &now, n, n + 3, KEVO_SYNC_FULL, &done) == 0 &&
	    done.applied == 3);
	expect(apply_piece(a, &now, n + 3, now.n, KEVO_SYNC_FULL, &done) == 0
	    && done.now.nonce == out.epoch.nonce);
	kv_applier_close(a);
	kevo_close(db);
	expect(contents("b") == contents("a"));
	log_free(&now);
	kv_history_release(&line);
	tap_report("rejoin: of two that were promoted, one gives its epoch up");
}

int
main(void)
{
	tap_start("promote");
	test_promote();
	test_behind();
	test_follow();
	test_killed();
	test_rejoin(0);
	test_rejoin(1);
	test_rejoin(300);
	test_rejoin_tables();
	test_rejoin_promoted();
	log_free(&primary);
	return tap_end();
}
