/*
 * text: small files of lines `name value`, as people and programs read them;
 * numbers, times and identities in them.
 */
#ifndef KV_TEXT_H
#define KV_TEXT_H

#include <stddef.h>
#include <stdint.h>

struct kv_env;
struct kv_dir;

/*
 * The next line of a text that ends with a zero byte, which is changed: *at
 * moves on, *name is its first word and *value what follows one blank, "" if
 * there is nothing.  1, 0 at the end, or -1 if the last line is cut off or a
 * character is not printable.
 */
int kv_text_line(char **at, char **name, char **value);

/* 1 if there is nothing in it but printable ASCII, and no blank unless
 * blanks. */
int kv_text_printable(const char *s, int blanks);

/* Copy as much of s as fits and is printable; other characters become `?`. */
void kv_text_copy(char *buf, size_t room, const char *s, int blanks);

/* Decimal digits alone, without leading zeros, at most max.  0 or -1. */
int kv_text_decimal(const char *s, uint64_t max, uint64_t *out);

/* 16 lower-case hexadecimal digits, and what follows.  The end, or NULL. */
const char *kv_text_hex(const char *s, uint64_t *out);

/* "2026-11-22T14:03:11.250000000Z" */
#define KV_TIME_LEN	32
void kv_time_print(char buf[KV_TIME_LEN], uint64_t ns);
int kv_time_parse(const char *s, uint64_t *ns);		/* 0 or -1 */

/* Write a file of a name that must be free, and sync it.  After an error
 * nothing stays of it. */
int kv_text_create(struct kv_env *env, const struct kv_dir *dir,
    const char *name, uint32_t mode, const char *text, size_t len);

/*
 * Write a file and put it in the place of one that may be there: first under
 * the name tmp, synced, then renamed, and sub, the directory it is in,
 * synced.  After an error the old one is in place, unless only the directory
 * could not be synced.
 */
int kv_text_replace(struct kv_env *env, const struct kv_dir *dir,
    const char *sub, const char *name, const char *tmp, uint32_t mode,
    const char *text, size_t len);

#endif /* KV_TEXT_H */
