/*
 * salvage: what kv_table_salvage() finds in a table's file, for tests.
 */
#ifndef SALVAGE_H
#define SALVAGE_H

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "file.h"
#include "table.h"

struct salvage_to {
	int (*each)(void *arg, uint64_t seq, const struct kv_op *op);
	void *arg;
	uint64_t gaps;
};

static inline int
salvage_record(void *arg, uint64_t seq, const struct kv_op *op)
{
	struct salvage_to *to = arg;

	return to->each(to->arg, seq, op);
}

static inline int
salvage_count(void *arg, uint64_t off, uint64_t len)
{
	struct salvage_to *to = arg;

	(void)off;
	(void)len;
	to->gaps++;
	return 0;
}

/* Its result; *gaps are the places where nothing verifies. */
static inline int
salvage_file(struct kv_env *env, const struct kv_dir *dir, uint64_t number,
    const uint8_t id[16], int (*each)(void *arg, uint64_t seq,
    const struct kv_op *op), void *arg, uint64_t *gaps)
{
	struct salvage_to to = { each, arg, 0 };
	const struct kv_table_salvage s = { salvage_record, salvage_count,
	    &to };
	char name[KV_TABLE_NAME_LEN];
	struct stat st;
	uint8_t *b;
	int fd, rc;

	kv_table_name(name, number);
	fd = openat(dir->fd, name, O_RDONLY);
	if (fd < 0 || fstat(fd, &st) != 0 ||
	    (b = calloc(1, (size_t)st.st_size + KV_TABLE_SPARE)) == NULL)
		abort();
	if (read(fd, b, (size_t)st.st_size) != (ssize_t)st.st_size)
		abort();
	close(fd);
	rc = kv_table_salvage(env, b, (uint64_t)st.st_size, number, id, &s);
	free(b);
	*gaps = to.gaps;
	return rc;
}

#endif /* SALVAGE_H */
