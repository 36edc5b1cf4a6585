#!/bin/sh
# day: loaders, deleters, readers and compaction, killed now and then, against
# a model; see day.c.  A tool leaves it to the kernel to free what it held.
ASAN_OPTIONS=${ASAN_OPTIONS-}:detect_leaks=0
export ASAN_OPTIONS
exec "${KEVO_BUILD:-build}/tests/crash/day"
