/*
 * when: points in time, as they are given and shown: RFC 3339.
 */
#ifndef WHEN_H
#define WHEN_H

#include <stdint.h>

/*
 * Nanoseconds since 1970 of "2026-11-22T13:59:00Z", with a fraction or an
 * offset such as "+01:00" if there is one, or of seconds behind "@".
 * Returns 0, or -1 if it is neither or before 1970.
 */
int when_parse(const char *s, uint64_t *ns);

/* "2026-11-22T13:59:00.250Z"; the fraction only if there is one. */
#define WHEN_LEN	40
void when_print(char buf[WHEN_LEN], uint64_t ns);

#endif /* WHEN_H */
