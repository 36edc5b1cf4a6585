/*
 * setting: names of settings and profiles in operands.
 */
#ifndef SETTING_H
#define SETTING_H

#include <stddef.h>

/* End the program with 64 and the nearest name unless name (of len bytes) is
 * one of a setting. */
void setting_check_name(const char *name, size_t len);

/* The same for "NAME=VALUE"; the value is the library's to judge. */
void setting_check_change(const char *change);

/* The changes of a profile, or 64 and all names. */
const char *const *setting_profile(const char *name);

#endif /* SETTING_H */
