/*
 * disk: what a power cut may leave of a directory.
 *
 * The shadow, kept by tests/fault, knows what is on disk for certain: the
 * bytes of each inode at its last sync, the names in each directory at its
 * last sync.  Of everything that differs from it now, any part may have
 * reached the disk as well: each name, each sector, any length in between.
 * An inode that has several names has them behind the cut, too, with the same
 * bytes.
 */
#ifndef DISK_H
#define DISK_H

#include "crash.h"

#define NAMES_MAX	128
#define INODES_MAX	1024

static char shadow[300];

struct name {
	char name[160];
	uint64_t durable, now;	/* inode; 0: it is not there */
};

struct names {
	int n;
	struct name name[NAMES_MAX];
};

/* One that a cut has come across; a link to it is one behind the cut, too. */
struct inode {
	uint64_t number;
	char *live;	/* a path by which it can be reached still, or NULL */
	char *after;	/* and where it is behind the cut, or NULL */
};

static struct inode inodes[INODES_MAX];
static int ninodes;

static inline struct inode *
inode_slot(uint64_t number)
{
	for (int i = 0; i < ninodes; i++)
		if (inodes[i].number == number)
			return &inodes[i];
	if (ninodes == INODES_MAX)
		bail("too many files");
	inodes[ninodes] = (struct inode){ number, NULL, NULL };
	return &inodes[ninodes++];
}

static inline int
inode_seen(const char *path, const struct stat *st, int type, struct FTW *f)
{
	struct inode *i = inode_slot((uint64_t)st->st_ino);

	(void)type;
	(void)f;
	if (i->live == NULL)
		i->live = strdup(path);
	return 0;
}

static inline void
inodes_forget(void)
{
	while (ninodes > 0) {
		free(inodes[--ninodes].live);
		free(inodes[ninodes].after);
	}
}

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
		if (strcmp(e->d_name, ".") != 0 &&
		    strcmp(e->d_name, "..") != 0)
			name_slot(l, e->d_name)->now = e->d_ino;
	if (d != NULL)
		closedir(d);
}

static inline void
names_durable(struct names *l, uint64_t dir_ino)
{
	char path[340], name[160];
	unsigned long long ino;
	FILE *f;

	snprintf(path, sizeof(path), "%s/%llu.dir", shadow,
	    (unsigned long long)dir_ino);
	if ((f = fopen(path, "r")) == NULL)
		return;
	while (fscanf(f, "%llu %159s", &ino, name) == 2)
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

/* The same, and its name is on disk as well.  Names of the parent are the
 * test's own files, too. */
static inline void
shadow_named(const char *dir)
{
	char parent[300], to[340];
	char *name;
	FILE *f;

	shadow_all(dir);
	snprintf(parent, sizeof(parent), "%s", dir);
	name = strrchr(parent, '/');
	*name++ = '\0';
	snprintf(to, sizeof(to), "%s/%llu.dir", shadow,
	    (unsigned long long)inode_of(parent));
	if ((f = fopen(to, "w")) == NULL)
		bail("%s: cannot be written", to);
	fprintf(f, "%llu %s\n", (unsigned long long)inode_of(dir), name);
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

static inline void
cut_file(struct inode *i, const char *to, unsigned keep)
{
	size_t old_len, new_len, len, sector = rnd(2) == 0 ? 512 : 4096;
	uint8_t *old, *new, *p;
	char path[340];
	FILE *f;

	if (i->after != NULL) {
		if (link(i->after, to) != 0)
			bail("%s: cannot be linked", to);
		return;
	}
	i->after = strdup(to);
	snprintf(path, sizeof(path), "%s/%llu", shadow,
	    (unsigned long long)i->number);
	old = slurp(path, &old_len);
	new = slurp(i->live != NULL ? i->live : path, &new_len);
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

static inline int
inode_is_dir(const struct inode *i)
{
	char path[340];
	struct stat st;

	if (i->live != NULL)
		return stat(i->live, &st) == 0 && S_ISDIR(st.st_mode);
	snprintf(path, sizeof(path), "%s/%llu.dir", shadow,
	    (unsigned long long)i->number);
	return access(path, F_OK) == 0;
}

/*
 * Make `to` what is left of a directory, but for a name shm.  keep: in 8, how
 * much of what is not certain.  One that was renamed has one name.
 */
static inline void
cut_dir(struct inode *dir, const char *to, unsigned keep)
{
	struct names l = { .n = 0 };

	if (dir->after != NULL)
		return;
	dir->after = strdup(to);
	if (mkdir(to, 0777) != 0)
		bail("%s: cannot be made", to);
	if (dir->live != NULL)
		names_now(&l, dir->live);
	names_durable(&l, dir->number);
	for (int i = 0; i < l.n; i++) {
		uint64_t number = cut_name(&l.name[i], keep);
		char out[PATH_MAX];
		struct inode *at;

		if (number == 0 || strcmp(l.name[i].name, "shm") == 0)
			continue;
		snprintf(out, sizeof(out), "%s/%s", to, l.name[i].name);
		at = inode_slot(number);
		if (inode_is_dir(at))
			cut_dir(at, out, keep);
		else
			cut_file(at, out, keep);
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
	uint64_t number;
	char *name;

	snprintf(parent, sizeof(parent), "%s", dir);
	name = strrchr(parent, '/');
	*name++ = '\0';
	snprintf(after, sizeof(after), "%s.after", dir);
	remove_tree(after);
	names_now(&l, parent);
	names_durable(&l, inode_of(parent));
	nftw(dir, inode_seen, 16, FTW_PHYS);
	number = cut_name(name_slot(&l, name), keep);
	if (number != 0)
		cut_dir(inode_slot(number), after, keep);
	inodes_forget();
	remove_tree(dir);
	rename(after, dir);
	return keep;
}

#endif /* DISK_H */
