/*
 * day: what the processes of a day share: the model, which says of each key
 * of each user what value it has; what is wrong, if anything is; tools, run
 * and now and then killed; and what a reader saw.
 */
#ifndef DAY_H
#define DAY_H

#include <stdatomic.h>

#include "tools.h"

#define USERS		4
#define READERS		2
#define COMPACTORS	2
#define PROCESSES	(USERS + READERS + COMPACTORS)

/* Of a user's keys, by number: one that is changed after each kill; a group
 * that changes in one commit; plain ones; and those that may expire. */
#define MARK		0
#define GROUP		1
#define GROUP_END	17
#define EXPIRING	3000
#define SLOTS		4000

#define MOST_OPS	1500
#define VALUE_ROOM	5000
#define TTL_MS		1000
#define CLOCK_MS	50	/* by which clocks may differ */
#define LEVEL_BYTES	((uint64_t)1 << 20)	/* as create() says */

struct slot {
	uint32_t gen;		/* says which value it has; 0: absent */
	int64_t lives, dies;	/* it expires between these two; 0: never */
	int used;		/* it had a value once */
};

enum kind { LOAD, IMPORT, ONE, CONDITION, KEYS, RANGE, GROUPED, READ, ALL,
	COMPACT, CHECK, KINDS };
static const char *const kind_name[KINDS] = { "loads", "imports",
	"single puts", "conditional puts", "deletions by key",
	"deletions of ranges", "groups", "readers of a range",
	"readers of all", "compactions", "checks" };

static struct shared {
	struct slot slot[USERS][SLOTS];
	uint32_t gen[USERS];
	_Atomic unsigned run[KINDS], killed[KINDS];
	_Atomic int failed, stop;
	char why[1000];
} *shared;

static char db[300];
static int me;			/* number of this process */
static unsigned adopted, adopted_killed, orphans;

/* ---- what goes wrong ---------------------------------------------------- */

__attribute__((format(printf, 1, 2))) static inline void
fail(const char *text, ...)
{
	va_list ap;

	if (atomic_exchange(&shared->failed, 1) == 0) {
		va_start(ap, text);
		vsnprintf(shared->why, sizeof(shared->why), text, ap);
		va_end(ap);
	}
	if (getpid() != scratch_owner)
		_exit(WRONG);
}

static inline int64_t
clock_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* A file of this process, for a tool. */
static inline const char *
file(const char *what)
{
	static char name[4][320];
	static unsigned next;
	char *p = name[next++ % 4];

	snprintf(p, sizeof(name[0]), "%s/%s.%d", scratch, what, me);
	return p;
}

/* ---- records ------------------------------------------------------------ */

/* The value that goes with a user's key in this generation. */
static inline size_t
value_of(char out[VALUE_ROOM], unsigned user, unsigned slot, uint32_t gen)
{
	static const char letters[] = "0123456789abcdef";
	uint64_t h = (user * 1000003ull + slot) * 0x9e3779b97f4a7c15ull +
	    gen * 0xbf58476d1ce4e5b9ull, bits;
	size_t n = (size_t)sprintf(out, "%u:", gen), len;

	h ^= h >> 29;
	h *= 0x94d049bb133111ebull;
	bits = h ^ h >> 31;
	len = n + (h % 64 == 0 ? 3000 : h % 300);
	for (; n < len; n++) {
		if (n % 8 == 0)
			bits = bits << 7 | bits >> 57;
		out[n] = letters[bits >> n % 8 * 4 & 15];
	}
	return n;
}

/* What was read of each key, between these times. */
struct sight {
	uint32_t gen[USERS][SLOTS];
	int64_t from, to;
};

/* Take a line; the result is what is wrong with it, or NULL. */
static inline const char *
understand(struct sight *s, char *line, size_t len)
{
	char want[VALUE_ROOM], *tab = memchr(line, '\t', len);
	unsigned user, slot, gen;
	size_t vlen;

	if (tab == NULL || line[len - 1] != '\n' ||
	    sscanf(line, "u%u/%u\t%u:", &user, &slot, &gen) != 3 ||
	    user >= USERS || slot >= SLOTS || gen == 0)
		return "that is no record of ours";
	vlen = (size_t)(line + len - 1 - (tab + 1));
	if (value_of(want, user, slot, gen) != vlen ||
	    memcmp(tab + 1, want, vlen) != 0)
		return "that is another value";
	s->gen[user][slot] = gen;
	return NULL;
}

static inline int
in_order(const char *last, const char *line, int backward)
{
	int c = strcmp(line, last);

	return *last == '\0' || (backward ? c < 0 : c > 0);
}

/* Read what a tool wrote; the records are in order. */
static inline void
look_at(struct sight *s, const char *path, int backward)
{
	FILE *f = fopen(path, "r");
	char *line = NULL, last[64] = "";
	const char *what;
	size_t room = 0;
	ssize_t n;

	memset(s->gen, 0, sizeof(s->gen));
	if (f == NULL)
		bail("%s", path);
	while ((n = getline(&line, &room, f)) > 0) {
		char key[64];

		if ((what = understand(s, line, (size_t)n)) != NULL)
			fail("%s: %.60s", what, line);
		snprintf(key, sizeof(key), "%.*s", (int)strcspn(line, "\t"),
		    line);
		if (!in_order(last, key, backward))
			fail("%s comes after %s", key, last);
		strcpy(last, key);
	}
	free(line);
	fclose(f);
}

/* Does what was seen of a key agree with what is known of it? */
static inline int
agrees(const struct slot *want, uint32_t gen, const struct sight *s)
{
	if (want->dies == 0 || want->gen == 0)
		return gen == want->gen;
	if (gen == 0)
		return s->to >= want->lives;
	return gen == want->gen && s->from <= want->dies;
}

/* The first key of a user that does not, or SLOTS. */
static inline unsigned
first_other(const struct slot *model, const struct sight *s, unsigned user)
{
	unsigned i = 0;

	while (i < SLOTS && agrees(&model[i], s->gen[user][i], s))
		i++;
	return i;
}

static inline void
check_user(const struct sight *s, unsigned user, const char *how)
{
	const struct slot *model = shared->slot[user];
	unsigned i = first_other(model, s, user);

	if (i < SLOTS)
		fail("%s: u%u/%05u is %u and should be %u", how, user, i,
		    s->gen[user][i], model[i].gen);
}

/* ---- tools -------------------------------------------------------------- */

static struct tool_run tool;

/* Arguments, up to NULL; they live until the tool has started. */
static inline void
tool_args(const char *name, ...)
{
	const char *arg = name;
	unsigned n = 0;
	va_list ap;

	memset(&tool, 0, sizeof(tool));
	tool.out = file("out");
	tool.err = file("err");
	va_start(ap, name);
	for (; arg != NULL; arg = va_arg(ap, const char *))
		tool.argv[n++] = arg;
	va_end(ap);
}

/*
 * Run it, and kill it one time in odds after some time (0: never).  Returns
 * 1 if it was killed at work; else it ended with ok or also_ok.
 */
static inline int
tool_go(enum kind kind, unsigned odds, int ok, int also_ok)
{
	pid_t pid = tool_start(&tool);
	int status;

	atomic_fetch_add(&shared->run[kind], 1);
	if (odds > 0 && rnd(odds) == 0) {
		nap_us(rnd(1u << (8 + rnd(9))));
		kill(pid, SIGKILL);
	}
	status = tool_wait(pid);
	if (odds > 0 && tool_killed(status)) {
		atomic_fetch_add(&shared->killed[kind], 1);
		return 1;
	}
	if (!WIFEXITED(status) || (WEXITSTATUS(status) != ok &&
	    WEXITSTATUS(status) != also_ok))
		fail("%s (%s): %s: %s", tool.argv[0], kind_name[kind],
		    tool_end(status), tool_line(tool.err));
	return 0;
}

static inline void
scan(struct sight *s, const char *prefix, int backward, unsigned odds)
{
	for (;;) {
		if (backward)
			tool_args("kevo-scan", "-r", db, prefix, NULL);
		else
			tool_args("kevo-scan", db, prefix, NULL);
		s->from = clock_ms() - CLOCK_MS;
		if (!tool_go(*prefix != '\0' ? READ : ALL, odds, 0, 0))
			break;
	}
	s->to = clock_ms() + CLOCK_MS;
	look_at(s, tool.out, backward);
}

#endif /* DAY_H */
