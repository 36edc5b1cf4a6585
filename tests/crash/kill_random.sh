#!/bin/sh
# kill_random: writers and readers killed at random; see kill_random.c.
exec "${KEVO_BUILD:-build}/tests/crash/kill_random"
