/*
 * preload: programs under the library of tests/fault.
 */
#ifndef PRELOAD_H
#define PRELOAD_H

#include "crash.h"
#include "ops.h"

static char self[PATH_MAX], fault_lib[PATH_MAX], tool_dir[PATH_MAX];
static char count_file[300], input_file[300];

/* What the tool reads: a value, or lines of records. */
static inline void
write_input(const struct op *op)
{
	FILE *f = fopen(input_file, "w");
	int lines = op->act == act_batch;

	if (f == NULL)
		bail("%s: cannot write", input_file);
	for (int i = 0; i < op->nitems; i++) {
		if (op->items[i].after.len < 0)
			continue;
		if (lines)
			fprintf(f, "%s\t", op->items[i].key);
		fwrite(value_bytes(op->items[i].after), 1,
		    (size_t)op->items[i].after.len, f);
		if (lines)
			fputc('\n', f);
	}
	fclose(f);
}

static inline void
read_count(unsigned *calls, char fired[128])
{
	FILE *f = fopen(count_file, "r");

	*calls = 0;
	strcpy(fired, "-");
	if (f == NULL)
		return;
	if (fscanf(f, "calls %u fired %127[^\n]", calls, fired) != 2)
		strcpy(fired, "?");
	fclose(f);
}

/* Become a program under the library: argv as in execv(). */
static inline void
preload_exec(const char *db, const char *fault, char *const argv[])
{
	setenv("KEVO_FAULT", fault, 1);
	setenv("KEVO_FAULT_DIR", db, 1);
	setenv("KEVO_FAULT_COUNT", count_file, 1);
	setenv("LD_PRELOAD", fault_lib, 1);
	execv(argv[0], argv);
	_exit(127);
}

/* Where the build is, and whether tools that can be disturbed are there. */
static inline void
find_build(void)
{
	const char *build = getenv("KEVO_BUILD");
	char put[PATH_MAX + 16];

	if (build == NULL)
		build = "build";
	if (realpath("/proc/self/exe", self) == NULL)
		bail("cannot find this program");
	snprintf(fault_lib, sizeof(fault_lib), "%s/tests/libfault.so", build);
	snprintf(tool_dir, sizeof(tool_dir), "%s/dyn/bin", build);
	if (getenv("KEVO_FAULT_LIB") != NULL)
		snprintf(fault_lib, sizeof(fault_lib), "%s",
		    getenv("KEVO_FAULT_LIB"));
	if (access(fault_lib, R_OK) != 0)
		bail("%s: missing", fault_lib);
	snprintf(put, sizeof(put), "%s/kevo-put", tool_dir);
	if (access(put, X_OK) != 0)
		tool_dir[0] = '\0';
	snprintf(count_file, sizeof(count_file), "%s/count", scratch);
	snprintf(input_file, sizeof(input_file), "%s/input", scratch);
}

static inline int
is_wanted(const struct op *op)
{
	const char *list = getenv("KEVO_OPS"), *p;
	size_t n = strlen(op->name);

	if (list == NULL || *list == '\0')
		return 1;
	for (p = list; (p = strstr(p, op->name)) != NULL; p += n)
		if ((p == list || p[-1] == ' ') &&
		    (p[n] == ' ' || p[n] == '\0'))
			return 1;
	return 0;
}

#endif /* PRELOAD_H */
