/*
 * walship_verify: verifying files, directories and archives.
 */
#ifndef WALSHIP_VERIFY_H
#define WALSHIP_VERIFY_H

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

#endif /* WALSHIP_VERIFY_H */
