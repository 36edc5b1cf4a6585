/*
 * disk: what a power cut may leave of a directory.
 *
 * The shadow, kept by tests/fault, knows what is on disk for certain: the
 * bytes of each inode at its last sync, the names in each directory at its
 * last sync.  Of everything that differs from it now, any part may have
 * reached the disk as well: each name, each sector, any length in between.
 */
#ifndef DISK_H
#define DISK_H

#include "crash.h"

#define NAMES_MAX	64

static char shadow[300];

struct name {
	char name[64];
	uint64_t durable, now;	/* inode; 0: it is not there */
};

struct names {
	int n;
	struct name name[NAMES_MAX];
};

static inline struct name *
name_slot(struct names *l, const char *name)
{
	for (int i = 0; i < l->n; i++)
		if (strcmp(l->name[i].name, name) == 0)
			return &l->name[i];
	if (l->n == NAMES_MAX || strlen(name) >= sizeof(l->name[0].name))
		bail("too many names, or too long ones");
	memset(&l->name[l->n], 0, sizeof(l->name[0]));
	strcpy(l->name[l->n].name, name);
	return &l->name[l->n++];
}

static inline void
names_now(struct names *l, const char *dir)
{
	DIR *d = opendir(dir);
	struct dirent *e;

	while (d != NULL && (e = readdir(d)) != NULL)
		if (e->d_name[0] != '.')
			name_slot(l, e->d_name)->now = e->d_ino;
	if (d != NULL)
		closedir(d);
}

static inline void
names_durable(struct names *l, uint64_t dir_ino)
{
	char path[340], name[64];
	unsigned long long ino;
	FILE *f;

	snprintf(path, sizeof(path), "%s/%llu.dir", shadow,
	    (unsigned long long)dir_ino);
	if ((f = fopen(path, "r")) == NULL)
		return;
	while (fscanf(f, "%llu %63s", &ino, name) == 2)
		name_slot(l, name)->durable = ino;
	fclose(f);
}

static inline uint64_t
inode_of(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 ? (uint64_t)st.st_ino : 0;
}

/* Everything in dir, and dir's name, is on disk as it is now. */
static inline void
shadow_all(const char *dir)
{
	struct names l = { .n = 0 };
	char path[PATH_MAX], to[340];
	struct stat st;
	FILE *f;

	snprintf(to, sizeof(to), "%s/%llu.dir", shadow,
	    (unsigned long long)inode_of(dir));
	if ((f = fopen(to, "w")) == NULL)
		bail("%s: cannot be written", to);
	names_now(&l, dir);
	for (int i = 0; i < l.n; i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, l.name[i].name);
		if (stat(path, &st) != 0)
			bail("%s: cannot be examined", path);
		fprintf(f, "%llu %s\n", (unsigned long long)l.name[i].now,
		    l.name[i].name);
		snprintf(to, sizeof(to), "%s/%llu", shadow,
		    (unsigned long long)l.name[i].now);
		if (S_ISDIR(st.st_mode))
			shadow_all(path);
		else if (copy_file(path, to) != 0)
			bail("%s: cannot be copied", path);
	}
	fclose(f);
}

/* A whole file in memory, with one byte more; an absent one has none. */
static inline uint8_t *
slurp(const char *path, size_t *len)
{
	struct stat st;
	uint8_t *p;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	*len = 0;
	if (fd >= 0 && fstat(fd, &st) == 0)
		*len = (size_t)st.st_size;
	if ((p = malloc(*len + 1)) == NULL ||
	    (fd >= 0 && read(fd, p, *len) != (ssize_t)*len))
		bail("%s: cannot be read", path);
	if (fd >= 0)
		close(fd);
	return p;
}

/* now: a path by which the inode can be reached still, or NULL. */
static inline void
cut_file(uint64_t ino, const char *now, const char *to, unsigned keep)
{
	size_t old_len, new_len, len, sector = rnd(2) == 0 ? 512 : 4096;
	uint8_t *old, *new, *p;
	char path[340];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%llu", shadow,
	    (unsigned long long)ino);
	old = slurp(path, &old_len);
	new = slurp(now != NULL ? now : path, &new_len);
	len = rnd(8) < keep ? new_len : old_len;
	if (old_len != new_len && rnd(4) == 0)
		len = old_len < new_len ?
		    old_len + rnd((unsigned)(new_len - old_len)) :
		    new_len + rnd((unsigned)(old_len - new_len));
	if ((p = calloc(1, len + 1)) == NULL ||
	    (f = fopen(to, "w")) == NULL)
		bail("%s: cannot be written", to);
	for (size_t at = 0; at < len; at += sector) {
		const uint8_t *from = rnd(8) < keep ? new : old;
		size_t have = from == new ? new_len : old_len;
		size_t n = len - at < sector ? len - at : sector;

		if (at < have)
			memcpy(p + at, from + at, have - at < n ? have - at :
			    n);
	}
	fwrite(p, 1, len, f);
	fclose(f);
	free(old);
	free(new);
	free(p);
}

/* Which inode has the name after the cut? */
static inline uint64_t
cut_name(const struct name *n, unsigned keep)
{
	return n->durable == n->now || rnd(8) < keep ? n->now : n->durable;
}

/*
 * Make `to` what is left of the directory `now`, but for a name shm.  keep:
 * in 8, how much of what is not certain.
 */
static inline void
cut_dir(const char *now, const char *to, unsigned keep)
{
	struct names l = { .n = 0 };

	if (mkdir(to, 0777) != 0)
		bail("%s: cannot be made", to);
	names_now(&l, now);
	names_durable(&l, inode_of(now));
	for (int i = 0; i < l.n; i++) {
		uint64_t ino = cut_name(&l.name[i], keep);
		char from[PATH_MAX], out[PATH_MAX];
		const char *live = NULL;
		struct stat st;

		if (ino == 0 || strcmp(l.name[i].name, "shm") == 0)
			continue;
		/* The inode may have another name by now. */
		for (int j = 0; j < l.n && live == NULL; j++)
			if (l.name[j].now == ino) {
				snprintf(from, sizeof(from), "%s/%s", now,
				    l.name[j].name);
				live = from;
			}
		snprintf(out, sizeof(out), "%s/%s", to, l.name[i].name);
		if (live != NULL && stat(live, &st) == 0 &&
		    S_ISDIR(st.st_mode))
			cut_dir(live, out, keep);
		else
			cut_file(ino, live, out, keep);
	}
}

/* Cut the power: dir becomes what is left of it, perhaps nothing. */
static inline unsigned
cut_power(const char *dir)
{
	static const unsigned keeps[] = { 0, 1, 4, 7, 8 };
	unsigned keep = keeps[rnd(5)];
	struct names l = { .n = 0 };
	char parent[300], after[340];
	char *name;

	snprintf(parent, sizeof(parent), "%s", dir);
	name = strrchr(parent, '/');
	*name++ = '\0';
	snprintf(after, sizeof(after), "%s.after", dir);
	remove_tree(after);
	names_now(&l, parent);
	names_durable(&l, inode_of(parent));
	if (inode_of(dir) != 0 && cut_name(name_slot(&l, name), keep) != 0)
		cut_dir(dir, after, keep);
	remove_tree(dir);
	rename(after, dir);
	return keep;
}

#endif /* DISK_H */
