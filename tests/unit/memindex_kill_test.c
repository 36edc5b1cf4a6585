/*
 * memindex_kill_test: readers beside a writer, writers killed anywhere, and
 * damaged arenas.
 *
 * KEVO_SEED repeats a run.
 */
#include "memindex_model.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/time.h>
#include <sys/wait.h>

/* ---- a reader beside the writer ---------------------------------------- */

#define BESIDE	60000

/* The i-th key: no two alike, in no order. */
static uint32_t
beside_key(uint32_t i, uint8_t *k)
{
	uint32_t x = i * 2654435761u;

	if (x % 5 == 0)
		return (uint32_t)sprintf((char *)k, "user/%010u/name", x);
	return (uint32_t)sprintf((char *)k, "%u", x);
}

/* All keys up to seq, each inserted by the commit of its number. */
static int
read_beside(const struct kv_index *ix, uint64_t seq, int dir)
{
	struct kv_index_iter it;
	struct kv_index_hit hit;
	uint8_t key[32], prev[32];
	uint32_t klen, plen = 0;
	uint64_t n = 0;
	int rc, bad = 0;

	kv_index_iter_init(&it, ix, seq);
	rc = dir > 0 ? kv_index_first(&it) : kv_index_last(&it);
	while (rc == 1) {
		if (plen != 0 &&
		    compare(it.key, it.klen, prev, plen) * dir <= 0)
			bad = 1;
		memcpy(prev, it.key, plen = it.klen);
		n++;
		rc = dir > 0 ? kv_index_next(&it) : kv_index_prev(&it);
	}
	kv_index_iter_release(&it);
	klen = beside_key(1 + below((uint32_t)seq), key);
	if (kv_index_find(ix, key, klen, seq, &hit) != 1)
		bad = 1;
	return rc != 0 || n != seq || bad;
}

static void
reader(const struct world *w, _Atomic uint64_t *visible,
    _Atomic uint64_t *walks)
{
	uint64_t seq = 0;
	int dir = 1;

	while (seq < BESIDE) {
		seq = atomic_load_explicit(visible, memory_order_acquire);
		if (seq == 0)
			continue;
		if (read_beside(&w->ix, seq, dir) != 0)
			_exit(1);
		dir = -dir;
		atomic_fetch_add_explicit(walks, 1, memory_order_relaxed);
	}
	_exit(0);
}

/* Wait until the reader has finished n walks, or has ended. */
static void
await_walks(pid_t pid, const _Atomic uint64_t *walks, uint64_t n)
{
	siginfo_t info = { 0 };

	while (atomic_load_explicit(walks, memory_order_relaxed) < n &&
	    info.si_pid == 0) {
		sched_yield();
		waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT);
	}
}

static void
test_beside(void)
{
	struct test t = { "memindex: a reader beside the writer sees all", 0 };
	_Atomic uint64_t *visible = must(mmap(NULL, 4096,
	    PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
	struct world w;
	uint8_t key[32];
	uint32_t i;
	int status = 0;
	pid_t pid;

	world_init(&w, 16 << 20, 8 << 20);
	w.head->size = 4096;
	if ((pid = fork()) == 0)
		reader(&w, visible, visible + 1);
	for (i = 1; i <= BESIDE; i++) {
		uint32_t off = log_op(&w, key, beside_key(i, key));

		if (w.head->end + kv_index_need(&w.ix, 1) > w.head->size)
			w.head->size += 4096;
		check(&t, kv_index_insert(&w.ix, i, off) == 0);
		atomic_store_explicit(visible, i, memory_order_release);
		if (i % (BESIDE / 8) == 0 && i < BESIDE)
			await_walks(pid, visible + 1, visible[1] + 2);
	}
	check(&t, waitpid(pid, &status, 0) == pid);
	check(&t, WIFEXITED(status) && WEXITSTATUS(status) == 0);
	munmap((void *)(uintptr_t)visible, 4096);
	world_release(&w);
	report(&t);
}

/* ---- killed writers ---------------------------------------------------- */

/* The operations a writer is to insert, and the model of all of them. */
struct script {
	struct world w;
	struct model m;
	uint32_t *offs;
	uint32_t count;
};

static void
script_add(struct script *s, const void *key, uint32_t klen)
{
	s->offs = must(realloc(s->offs, (s->count + 1) * sizeof(*s->offs)));
	s->offs[s->count] = log_op(&s->w, key, klen);
	model_put(&s->m, key, klen, s->count + 1, s->offs[s->count]);
	s->count++;
}

static void
script_release(struct script *s)
{
	free(s->offs);
	model_release(&s->m);
	world_release(&s->w);
}

/*
 * Every kind of step: nodes of all types grow, leaves and paths of short
 * and long bytes are split at each place, keys end at nodes, versions.
 */
static void
script_init(struct script *s)
{
	static const char *const fixed[] = { "romane", "romanus", "romulus",
	    "rom", "r", "rubens", "ruber", "rubicon", "rubicundus", "romane",
	    "abcdefghijklmnopqrstuvwxyz-abcdefghijklmnopqrstuvwxyz-1",
	    "abcdefghijklmnopqrstuvwxyz-abcdefghijklmnopqrstuvwxyz-2",
	    "abcdefghijklmnopqrstuvwxyz-abcdefghijklm",
	    "abcdefghijklmnopqrstuvwxyz", "abcdefghi", "a",
	    "abcdefghijklmnopqrstuvwxyz-abcdefghijklmnopqrstuvwxyz-1" };
	uint8_t key[2] = { 'q', 0 };
	unsigned i;

	memset(s, 0, sizeof(*s));
	world_init(&s->w, 1 << 16, 1 << 20);
	for (i = 0; i < sizeof(fixed) / sizeof(fixed[0]); i++)
		script_add(s, fixed[i], (uint32_t)strlen(fixed[i]));
	for (i = 0; i < 70; i++) {
		key[1] = (uint8_t)(i * 37);
		script_add(s, key, 2);
	}
	script_add(s, "q", 1);
	script_add(s, key, 2);
}

/*
 * A writer was stopped while it inserted operation n.  Is the arena good
 * for readers, and for the next writer?
 */
static void
check_stopped(struct test *t, struct script *s, uint32_t n, uint8_t *copy,
    uint32_t depth)
{
	struct world w = s->w;
	struct kv_index_hit hit;
	const uint8_t *key;
	uint32_t klen, i;
	int rc;

	memcpy(copy, s->w.ix.arena, s->w.head->end);
	memset(copy + s->w.head->end, 0, 4096);
	w.ix.arena = copy;
	w.ix.arena_len = s->w.head->end + 4096;
	w.head = (void *)copy;
	w.head->size = w.ix.arena_len;
	check(t, kv_index_check(copy, w.ix.arena_len) == 0);
	check_walk(t, &w, &s->m, n, 1);
	check_walk(t, &w, &s->m, n, -1);

	if (kv_op_key(w.log, w.ix.log_len, s->offs[n], &key, &klen) < 0)
		abort();
	rc = kv_index_find(&w.ix, key, klen, n + 1, &hit);
	check(t, rc == 0 || rc == 1);
	for (i = n; i < n + depth && i < s->count; i++)
		check(t, kv_index_insert(&w.ix, i + 1, s->offs[i]) == 0);
	check_walk(t, &w, &s->m, i, 1);
	check_find(t, &w, &s->m, key, klen, n + 1);
}

/* The child: insert all, having said which one is next. */
static void
insert_script(struct script *s, _Atomic uint32_t *next)
{
	uint32_t i;

	for (i = *next; i < s->count; i++) {
		atomic_store_explicit(next, i, memory_order_relaxed);
		if (kv_index_insert(&s->w.ix, i + 1, s->offs[i]) < 0)
			_exit(1);
	}
	atomic_store_explicit(next, i, memory_order_relaxed);
}

/* memcmp() of some C libraries goes byte by byte. */
static int
differs(const uint8_t *a, const uint8_t *b, uint64_t len)
{
	for (uint64_t i = 0; i + 8 <= len; i += 8)
		if (get_le64(a + i) != get_le64(b + i))
			return 1;
	return 0;
}

/*
 * Run a writer one instruction at a time, and look at the arena after each
 * that changed it: what it holds then is what a kill would leave.
 */
static void
test_steps(void)
{
	struct test t = { "memindex: killed after any instruction", 0 };
	_Atomic uint32_t *next = must(mmap(NULL, 4096,
	    PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
	struct script s;
	uint8_t *copy = must(calloc(1, 1 << 17)), *last;
	uint64_t changes = 0, len;
	int status;
	pid_t pid;

	script_init(&s);
	last = must(calloc(1, 1 << 16));
	fflush(stdout);
	if ((pid = fork()) == 0) {
		if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0)
			_exit(77);
		raise(SIGSTOP);
		insert_script(&s, next);
		_exit(0);
	}
	while (waitpid(pid, &status, 0) == pid && WIFSTOPPED(status)) {
		len = s.w.head->end + 64;
		if (*next < s.count && !t.bad &&
		    differs(last, s.w.ix.arena, len)) {
			memcpy(last, s.w.ix.arena, len);
			check_stopped(&t, &s, *next, copy, 2);
			changes++;
		}
		if (ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL) < 0)
			break;
	}
	if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
		printf("# cannot trace: %s\n", strerror(errno));
	else
		check(&t, WIFEXITED(status) && WEXITSTATUS(status) == 0 &&
		    changes > s.count * 5);
	printf("# %llu states\n", (unsigned long long)changes);
	munmap((void *)(uintptr_t)next, 4096);
	free(copy);
	free(last);
	script_release(&s);
	report(&t);
}

/*
 * Writers whose alarm, which nobody handles, ends them at random; each
 * successor begins with the same operation.
 */
static void
test_kills(void)
{
	struct test t = { "memindex: writers killed at random", 0 };
	_Atomic uint32_t *next = must(mmap(NULL, 4096,
	    PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
	struct itimerval timer = { { 0, 0 }, { 0, 0 } };
	struct script s = { .count = 0 };
	uint8_t key[32];
	uint32_t i, kills = 0;
	int status;
	pid_t pid;

	world_init(&s.w, 8 << 20, 8 << 20);
	for (i = 0; i < 40000; i++)
		script_add(&s, key, beside_key(i, key));
	while (*next < s.count && !t.bad && kills < 10000) {
		timer.it_value.tv_usec = 1 + below(400);
		if ((pid = fork()) == 0) {
			setitimer(ITIMER_REAL, &timer, NULL);
			insert_script(&s, next);
			_exit(0);
		}
		waitpid(pid, &status, 0);
		kills += WIFSIGNALED(status);
		check(&t, WIFSIGNALED(status) || WEXITSTATUS(status) == 0);
	}
	printf("# %u kills\n", kills);
	check(&t, kills > 0);
	check_walk(&t, &s.w, &s.m, s.count, 1);
	check_walk(&t, &s.w, &s.m, s.count, -1);
	munmap((void *)(uintptr_t)next, 4096);
	script_release(&s);
	report(&t);
}

/* ---- damaged arenas ---------------------------------------------------- */

/* Everything a reader can do; what it finds does not matter. */
static void
read_damaged(struct test *t, const struct world *w, const struct model *m)
{
	struct kv_index_iter it;
	struct kv_index_hit hit;
	const struct entry *e;
	uint64_t moves;
	uint32_t i;
	int rc;

	kv_index_iter_init(&it, &w->ix, 1 + below(200));
	for (i = 0; i < m->count; i += 1 + below(8)) {
		e = &m->entries[i];
		kv_index_find(&w->ix, e->key, e->klen, it.seq, &hit);
		rc = below(2) ? kv_index_seek(&it, e->key, e->klen) :
		    kv_index_seek_back(&it, e->key, e->klen);
		if (rc == 1 && below(2))
			kv_index_next(&it);
		else
			kv_index_prev(&it);
	}
	rc = kv_index_first(&it);
	for (moves = 0; rc == 1 && moves <= w->ix.log_len; moves++)
		rc = kv_index_next(&it);
	check(t, rc != 1);
	rc = kv_index_last(&it);
	for (moves = 0; rc == 1 && moves <= w->ix.log_len; moves++)
		rc = kv_index_prev(&it);
	check(t, rc != 1);
	kv_index_iter_release(&it);
}

/* A writer in a damaged arena: it may fail, or spoil it further. */
static void
write_damaged(const struct script *s, const struct world *w)
{
	struct world copy = *w;
	struct kv_index_group g = { .ix = &copy.ix };
	uint64_t len = w->ix.arena_len;
	uint32_t i;

	copy.ix.arena = must(calloc(1, len + 4096));
	memcpy(copy.ix.arena, w->ix.arena, len);
	copy.ix.arena_len = len + 4096;
	copy.head = (void *)copy.ix.arena;
	copy.head->size += 4096;
	for (i = 0; i < s->count; i += 1 + below(5))
		if (below(2) == 0)
			kv_index_insert(&copy.ix, s->count + i, s->offs[i]);
		else
			(void)kv_index_add(&g, s->count + i, s->offs[i]);
	(void)kv_index_flush(&g);
	kv_index_need(&copy.ix, 100);
	free(copy.ix.arena);
}

/* The script's arena and log, in memory that ends where they end. */
static void
damaged_init(struct world *d, const struct script *s)
{
	*d = s->w;
	d->ix.arena_len = s->w.head->end;
	d->ix.log_len = s->w.log_used;
	d->ix.arena = must(malloc(d->ix.arena_len));
	d->log = must(malloc(d->ix.log_len));
	d->ix.log = d->log;
	d->head = (void *)d->ix.arena;
}

static void
damaged_reset(struct world *d, const struct script *s)
{
	memcpy(d->ix.arena, s->w.ix.arena, d->ix.arena_len);
	memcpy(d->log, s->w.log, d->ix.log_len);
	d->head->size = d->ix.arena_len;
}

/* Damage at random: bytes, links copied elsewhere, the log. */
static void
damage(struct world *d)
{
	uint32_t words = (uint32_t)(d->ix.arena_len / 4), n = 1 + below(8);
	uint32_t *w = (void *)d->ix.arena;

	while (n-- > 0)
		switch (below(4)) {
		case 0:
			d->ix.arena[below(words * 4)] = (uint8_t)rnd();
			break;
		case 1:
			w[below(words)] = (uint32_t)rnd();
			break;
		case 2:
			w[64 + below(words - 64)] = w[64 + below(words - 64)];
			break;
		default:
			d->log[below((uint32_t)d->ix.log_len)] = (uint8_t)rnd();
		}
}

static void
test_damage(void)
{
	struct test t = { "memindex: damage neither crashes nor hangs", 0 };
	struct script s;
	struct world d;
	uint64_t i;

	script_init(&s);
	for (i = 0; i < s.count; i++)
		check(&t, kv_index_insert(&s.w.ix, i + 1, s.offs[i]) == 0);
	damaged_init(&d, &s);
	for (i = 0; i < d.ix.arena_len; i++) {
		damaged_reset(&d, &s);
		d.ix.arena[i] ^= (uint8_t)(below(2) ? 1 + below(255) :
		    1u << below(8));
		read_damaged(&t, &d, &s.m);
		write_damaged(&s, &d);
	}
	for (i = 0; i < 3000; i++) {
		damaged_reset(&d, &s);
		damage(&d);
		read_damaged(&t, &d, &s.m);
		write_damaged(&s, &d);
	}
	for (i = 0; i < 300; i++) {
		damaged_reset(&d, &s);
		for (uint64_t j = 256; j < d.ix.arena_len; j++)
			d.ix.arena[j] = (uint8_t)(below(2) ? below(8) : rnd());
		d.head->root = below((uint32_t)d.ix.arena_len / 4);
		read_damaged(&t, &d, &s.m);
		write_damaged(&s, &d);
	}
	free(d.ix.arena);
	free(d.log);
	script_release(&s);
	report(&t);
}

/* A version that links to itself, and children that are shared. */
static void
test_cycles(void)
{
	struct test t = { "memindex: cycles and shared children end", 0 };
	struct kv_index_iter it;
	struct world w;
	uint8_t *n;
	uint32_t links[3], i, off, leaf = 256 / 8 << 1 | 1;
	int rc;

	world_init(&w, 1 << 16, 1 << 16);
	put(&t, &w, "a", 2);
	put_le32(w.ix.arena + 256 + 12, leaf);
	check(&t, get(&w, "a", 2, &off) == 1);
	check(&t, get(&w, "a", 1, &off) == -1);
	put_le32(w.ix.arena + 256 + 12, 0);

	/* 60 nodes, both children of each the next: no counting to 2^60. */
	w.head->root = 512 / 8 << 1;
	for (i = 0; i < 60; i++) {
		n = w.ix.arena + 512 + i * 32;
		n[0] = 2;
		n[1] = 2;
		n[2] = 'a';
		n[3] = 'b';
		links[0] = 0;
		links[1] = links[2] = i == 59 ? leaf :
		    (512 + (i + 1) * 32) / 8 << 1;
		memcpy(n + 8, links, sizeof(links));
	}
	kv_index_iter_init(&it, &w.ix, 1);
	check(&t, kv_index_first(&it) == -1);
	it.seq = 2;
	rc = kv_index_first(&it);
	check(&t, rc == 1 && kv_index_next(&it) == -1);
	kv_index_iter_release(&it);
	world_release(&w);
	report(&t);
}

int
main(void)
{
	printf("1..5\n# KEVO_SEED=%llu\n", (unsigned long long)seed_start());
	test_beside();
	test_steps();
	test_kills();
	test_damage();
	test_cycles();
	return failures != 0;
}
