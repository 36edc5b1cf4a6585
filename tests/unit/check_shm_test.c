/*
 * check_shm_test: indexes and control that are damaged; checks and repairs
 * beside others, who write, compact, or have the database open.
 */
#include "checked.h"

#include <sys/wait.h>

#include "coding.h"
#include "control.h"
#include "file.h"
#include "memindex.h"

/* ---- shared memory ----------------------------------------------------- */

static void
index_name(char name[64], uint64_t *len)
{
	char full[320];
	struct dirent *e;
	struct stat st;
	DIR *d;

	snprintf(full, sizeof(full), "%s/shm", path);
	if ((d = opendir(full)) == NULL)
		tap_bail("%s: %s", full, strerror(errno));
	name[0] = '\0';
	while ((e = readdir(d)) != NULL)
		if (strstr(e->d_name, ".idx") != NULL)
			snprintf(name, 64, "shm/%.50s", e->d_name);
	closedir(d);
	snprintf(full, sizeof(full), "%s/%s", path, name);
	if (stat(full, &st) != 0)
		tap_bail("%s: %s", full, strerror(errno));
	*len = (uint64_t)st.st_size;
}

static void
begin_live(char name[64], uint64_t *len)
{
	struct kevo *db;

	restore();
	db = open_db(path, 0);
	must(db, kevo_close(db), "close");
	index_name(name, len);
}

static uint32_t
filter_of(const char *name)
{
	struct kv_index_head h = { .filter = 0 };
	char full[320];
	FILE *f;

	snprintf(full, sizeof(full), "%s/%s", path, name);
	if ((f = fopen(full, "r")) == NULL)
		tap_bail("%s: %s", full, strerror(errno));
	expect(fread(&h, sizeof(h), 1, f) == 1);
	fclose(f);
	return h.filter;
}

/* Without its bits in the filter a key is not there for a reader. */
static void
test_filter(const char *name)
{
	struct kevo_check_result out;
	static const uint8_t none[4096];
	uint32_t len = filter_of(name);

	expect(len >= 64 && len <= sizeof(none));
	overwrite(name, KV_INDEX_HEAD_LEN, none, len);
	expect(check(0, &out) == KEVO_FALSE && names(name, UINT64_MAX));
	expect(check(KEVO_CHECK_REPAIR, &out) == KEVO_FALSE && out.repaired);
	compare();
}

static void
test_index(void)
{
	struct kevo_check_result out;
	static const uint8_t none[4];
	uint64_t len;
	char name[64];
	int found_some = 0;

	begin_live(name, &len);
	expect(check(0, &out) == 0);
	overwrite(name, offsetof(struct kv_index_head, root), none, 4);
	expect(check(0, &out) == KEVO_FALSE && names(name, UINT64_MAX));
	expect(check(KEVO_CHECK_REPAIR, &out) == KEVO_FALSE && out.repaired);
	compare();
	expect(check(0, &out) == 0);
	for (int i = 0; i < 60; i++) {
		uint8_t v = (uint8_t)tap_random();

		begin_live(name, &len);
		overwrite(name, 256 + tap_below(20000), &v, 1);
		if (check(0, &out) == 0)
			continue;
		found_some++;
		expect(names(name, UINT64_MAX));
		expect(check(KEVO_CHECK_REPAIR, &out) == KEVO_FALSE &&
		    out.repaired);
		compare();
	}
	expect(found_some > 0);
	begin_live(name, &len);
	test_filter(name);
	begin_live(name, &len);
	drop(name);
	expect(check(0, &out) == KEVO_FALSE && names(name, UINT64_MAX));
	expect(check(KEVO_CHECK_REPAIR, &out) == KEVO_FALSE);
	compare();
	tap_report("an index that disagrees with the log is found and removed");
}

static void
test_control(void)
{
	struct kevo_check_result out;
	uint8_t junk[8192];
	uint64_t len;
	char name[64];

	begin_live(name, &len);
	tap_fill(junk, sizeof(junk));
	write_file(path, "shm/control", junk, sizeof(junk));
	expect(check(0, &out) == 0);
	compare();
	for (int i = 0; i < 200; i++) {
		uint8_t v = (uint8_t)tap_random();
		int rc;

		begin_live(name, &len);
		overwrite("shm/control", tap_below(1024), &v, 1);
		rc = check(0, &out);
		expect(rc == 0 || rc == KEVO_FALSE || rc == KEVO_EBUSY);
		rc = check(KEVO_CHECK_REPAIR, &out);
		expect(rc == 0 || rc == KEVO_FALSE || rc == KEVO_EBUSY);
	}
	tap_report("garbage in control: no crash, and no damage of the log");
}

static void
test_clock(void)
{
	struct kevo_check_result out;
	struct kv_control c;
	uint64_t len;
	char name[64];
	struct file f = { .b = NULL };
	struct kevo *db;

	begin_live(name, &len);
	load(path, "shm/control", &f);
	memcpy(&c, f.b, sizeof(c));
	for (int i = 0; i < 2; i++)
		c.tail[i].time_ns += (uint64_t)400 * 1000000000u;
	overwrite("shm/control", offsetof(struct kv_control, tail), c.tail,
	    sizeof(c.tail));
	free(f.b);
	db = open_db(path, 0);
	must(db, kevo_put(db, "new", 3, "new", 3, NULL, NULL), "put");
	must(db, kevo_close(db), "close");
	expect(check(0, &out) == 0 && out.warnings == 1);
	expect(nfound == 1 && found[0].kind == KEVO_WARNING &&
	    strstr(found[0].text, "ahead of the clock") != NULL);
	tap_report("a log that is ahead of the clock is a warning");
}

/* ---- beside others ----------------------------------------------------- */

static void
run_writer(unsigned seed)
{
	struct kevo *db;
	char key[16], value[VALUE];
	struct kevo_write w = { .sync = KEVO_SYNC_FULL };

	if (kevo_open(path, 0, NULL, &db) != 0)
		_exit(2);
	for (unsigned i = 0;; i++) {
		key_of((i * 2654435761u + seed) % 5000, key);
		value_of(i, value);
		w.sync = i % 16 == 0 ? KEVO_SYNC_FULL : i % 16 < 8 ?
		    KEVO_SYNC_BATCH : KEVO_SYNC_NONE;
		if (kevo_put(db, key, strlen(key), value, VALUE, &w,
		    NULL) != 0) {
			fprintf(stderr, "# put: %s\n", kevo_errmsg(db));
			_exit(2);
		}
	}
}

static void
run_compactor(void)
{
	struct kevo *db;
	struct kevo_compact c = { .flags = 0 };
	int rc;

	if (kevo_open(path, 0, NULL, &db) != 0)
		_exit(2);
	for (unsigned i = 0;; i++) {
		c.flags = i % 20 == 19 ? KEVO_COMPACT_FULL : 0;
		rc = kevo_compact(db, &c, NULL);
		if (rc != 0 && rc != KEVO_EBUSY) {
			fprintf(stderr, "# compact: %s\n", kevo_errmsg(db));
			_exit(2);
		}
	}
}

static void
test_beside_others(void)
{
	struct kevo_check_result out;
	pid_t pid[3];
	int rc, status, rounds = getenv("KEVO_LONG") != NULL ? 3000 : 60;

	restore();
	for (int i = 0; i < 3; i++) {
		fflush(stdout);
		if ((pid[i] = fork()) == 0) {
			if (i < 2)
				run_writer((unsigned)i);
			else
				run_compactor();
		}
	}
	for (int i = 0; i < rounds; i++) {
		rc = check(i % 3 == 2 ? KEVO_CHECK_FAST : 0, &out);
		if (!expect(rc == 0)) {
			tap_note("round %d: %d: %s", i, rc, out.msg);
			show_found();
		}
		if (tap_below(4) == 0)
			usleep((useconds_t)tap_below(20000));
	}
	for (int i = 0; i < 3; i++) {
		expect(waitpid(pid[i], &status, WNOHANG) == 0);
		kill(pid[i], SIGKILL);
		waitpid(pid[i], &status, 0);
	}
	expect(check(0, &out) == 0);
	tap_report("beside writers and compaction nothing is taken for damage");
}

static void
test_in_use(void)
{
	struct kevo_check_result out;
	struct kevo *db;
	uint64_t len;
	char name[64], want[40];

	begin_live(name, &len);
	db = open_db(path, 0);
	flip(find(segment[0]), 30000);
	expect(check(0, &out) == KEVO_FALSE);
	drop("LOCK");
	expect(check(KEVO_CHECK_REPAIR, &out) == KEVO_EBUSY);
	must(db, kevo_close(db), "close");
	expect(check(KEVO_CHECK_REPAIR, &out) == KEVO_FALSE && out.repaired);

	begin_live(name, &len);
	db = open_db(path, 0);
	flip(find(segment[0]), 30000);
	expect(check(KEVO_CHECK_REPAIR, &out) == KEVO_EBUSY);
	snprintf(want, sizeof(want), "pid %d", (int)getpid());
	if (!expect(strstr(out.msg, want) != NULL))
		tap_note("%s", out.msg);
	must(db, kevo_close(db), "close");
	expect(check(KEVO_CHECK_REPAIR, &out) == KEVO_FALSE && out.repaired);
	tap_report("a repair waits for others to close it, and names them");
}

int
main(void)
{
	struct file seg = { .b = NULL }, tab = { .b = NULL },
	    format = { .b = NULL };

	begin_test("check_shm");
	begin(&seg, &tab, &format);
	test_index();
	test_control();
	test_clock();
	test_in_use();
	test_beside_others();
	free(seg.b);
	free(tab.b);
	free(format.b);
	return tap_end();
}
