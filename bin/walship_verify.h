/*
 * walship_verify: verifying files, directories and archives.
 */
#ifndef WALSHIP_VERIFY_H
#define WALSHIP_VERIFY_H

struct kv_image;

#define WALSHIP_ALL	1000000u

struct walship_verify {
	unsigned sample;	/* of a million segments; WALSHIP_ALL */
	const char *against;	/* a database; NULL: none */
	int deep;		/* compare with SUMS */
	int sums;		/* write SUMS anew */
};

/* Each tells what it finds, and returns the exit status. */
int walship_verify_file(const char *name);
int walship_verify_dir(const char *name);
int walship_verify_archive(const struct walship_verify *v, const char *path);

/* Is what was read no segment, but the beginning of a stream?  Verify it,
 * and what follows in fd. */
int walship_is_stream(const struct kv_image *img);
int walship_verify_stream(const char *name, int fd,
    const struct kv_image *img);

#endif /* WALSHIP_VERIFY_H */
