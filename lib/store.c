#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "env.h"
#include "file.h"
#include "kevo.h"
#include "store.h"

#define MEMORY_STEP	((uint64_t)4 << 10)

/* From so much memory on, addresses are taken for all that a transaction can
 * be, and what is touched of them comes in large pages: filling many small
 * ones costs more than what is written into them. */
#define MEMORY_LARGE	((uint64_t)1 << 20)
#define MEMORY_SPACE	((uint64_t)2 << 30)

#define FILE_STEP	((uint64_t)4 << 10)
#define FILE_STEP_MAX	((uint64_t)64 << 20)

/* Up to here a file gets zeros.  Most go soon, and giving back what was
 * reserved can take a turn of the file system's journal, milliseconds where
 * others sync; pages that were only written cost nothing of it. */
#define ZEROS_MAX	((uint64_t)1 << 20)

/* Where addresses are scarce, a file may grow by so much while it is
 * mapped. */
#define SLACK		((uint64_t)16 << 20)

void
kv_store_init(struct kv_store *s)
{
	memset(s, 0, sizeof(*s));
	s->fd = -1;
}

void
kv_store_release(struct kv_store *s)
{
	if (s->space != 0)
		kv_unmap(s->p, (size_t)s->space);
	else
		free(s->p);
	kv_unmap(s->first, (size_t)s->first_space);
	if (s->fd >= 0)
		close(s->fd);
	kv_store_init(s);
}

/* 1, or 0: there are not so many addresses. */
static int
become_large(struct kv_store *s)
{
	uint8_t *p;

	if ((p = kv_map_anon((size_t)MEMORY_SPACE)) == NULL)
		return 0;
	kv_map_in_large(p, (size_t)MEMORY_SPACE);
	if (s->room > 0)
		memcpy(p, s->p, (size_t)s->room);
	free(s->p);
	s->p = p;
	s->space = MEMORY_SPACE;
	return 1;
}

static int
grow_memory(struct kv_env *env, struct kv_store *s, uint64_t want)
{
	uint64_t room = want + s->room / 2 + MEMORY_STEP;
	uint8_t *p;

	if (room > MEMORY_SPACE)
		room = MEMORY_SPACE;
	if (want > room)
		goto err;
	if (s->space == 0 && (room < MEMORY_LARGE || !become_large(s))) {
		if ((p = realloc(s->p, (size_t)room)) == NULL)
			goto err;
		s->p = p;
	}
	s->room = room;
	return 0;

err:
	return kv_fail(env, KEVO_ENOMEM, "out of memory for a commit of %llu "
	    "bytes", (unsigned long long)want);
}

static int
reserve(struct kv_env *env, struct kv_store *s, const char *name, uint64_t to)
{
	return to <= ZEROS_MAX ?
	    kv_write_zeros(env, s->fd, name, s->room, to - s->room) :
	    kv_reserve(env, s->fd, name, s->room, to - s->room);
}

static int
check_space(struct kv_env *env, const struct kv_store *s, const char *name,
    uint64_t want)
{
	return want <= s->space ? 0 : kv_fail(env, KEVO_ELIMIT, "%s: no "
	    "addresses left for %llu bytes; commit in parts", name,
	    (unsigned long long)want);
}

static int
grow_file(struct kv_env *env, struct kv_store *s, const char *name,
    uint64_t want)
{
	uint64_t step = s->room / 4, to;
	int rc;

	if ((rc = check_space(env, s, name, want)) != 0)
		return rc;
	if (step < FILE_STEP)
		step = FILE_STEP;
	if (step > FILE_STEP_MAX)
		step = FILE_STEP_MAX;
	to = want + step - 1;
	to -= to % FILE_STEP;
	if (to > s->space)
		to = s->space;
	rc = reserve(env, s, name, to);
	if (rc == KEVO_EIO && to > want) {
		to = want;	/* a nearly full disk */
		rc = reserve(env, s, name, to);
	}
	if (rc == 0)
		s->room = to;
	return rc;
}

int
kv_store_grow(struct kv_env *env, struct kv_store *s, const char *name,
    uint64_t want)
{
	if (want <= s->room)
		return 0;
	return s->fd >= 0 ? grow_file(env, s, name, want) :
	    grow_memory(env, s, want);
}

int
kv_store_write(struct kv_env *env, struct kv_store *s, const char *name,
    uint64_t off, const void *p, uint64_t len, uint64_t spare)
{
	uint64_t end = off + len, to = end + spare + FILE_STEP - 1;
	uint64_t from = end > s->room ? end : s->room;
	int rc;

	to -= to % FILE_STEP;
	if ((rc = check_space(env, s, name, to)) != 0 ||
	    (rc = kv_pwrite(env, s->fd, name, p, (size_t)len, off)) != 0)
		return rc;
	if (to > from && (rc = kv_write_zeros(env, s->fd, name, from,
	    to - from)) != 0)
		return rc;
	if (to > s->room)
		s->room = to;
	return 0;
}

static int
map(struct kv_env *env, struct kv_store *s, const char *name, uint64_t need,
    uint64_t space)
{
	void *p;
	int rc = kv_map(env, s->fd, name, (size_t)space, 1, &p);

	if (rc != 0 && space > need + SLACK) {
		space = need + SLACK;
		rc = kv_map(env, s->fd, name, (size_t)space, 1, &p);
	}
	if (rc != 0)
		return rc;
	kv_map_no_ahead(p, (size_t)space);
	s->p = p;
	s->space = space;
	return 0;
}

int
kv_store_map(struct kv_env *env, struct kv_store *s, int fd, const char *name,
    uint64_t room, uint64_t need, uint64_t space)
{
	int rc;

	s->fd = fd;
	if ((rc = map(env, s, name, need, space)) == 0)
		s->room = room;
	return rc;
}

int
kv_store_remap(struct kv_env *env, struct kv_store *s, const char *name,
    uint64_t need, uint64_t space)
{
	uint8_t *first = s->p;
	uint64_t first_space = s->space;
	int rc = map(env, s, name, need, space);

	if (rc == 0) {
		s->first = first;
		s->first_space = first_space;
	}
	return rc;
}

int
kv_store_move(struct kv_env *env, struct kv_store *s, int fd,
    const char *name, uint64_t skip, uint64_t space)
{
	struct kv_store f;
	int rc;

	kv_store_init(&f);
	rc = kv_store_map(env, &f, fd, name, 0, skip + s->room, space);
	if (rc == 0)
		rc = kv_store_grow(env, &f, name, skip + s->room);
	if (rc != 0) {
		kv_store_release(&f);
		return rc;
	}
	if (s->room > 0)
		memcpy(f.p + skip, s->p, (size_t)s->room);
	kv_store_release(s);
	*s = f;
	return 0;
}
