#!/bin/sh
# compact_kill: processes that compact, killed at random beside writers and
# readers; see kill_random.c.
exec "${KEVO_BUILD:-build}/tests/crash/kill_random" compact
