/*
 * nearest: which known word a mistyped one was meant to be.
 */
#ifndef NEAREST_H
#define NEAREST_H

/*
 * The number of letters to change, add, drop or swap to make b out of a.
 * Words longer than 63 bytes are compared by their first 63.
 */
int nearest_distance(const char *a, const char *b);

/* Whether b is close enough to a to be offered instead of it. */
int nearest_plausible(const char *a, const char *b);

#endif /* NEAREST_H */
