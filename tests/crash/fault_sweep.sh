#!/bin/sh
# fault_sweep: every system call of every operation fails once; see sweep.c.
if [ -n "${KEVO_SAN-}" ]; then
	echo '1..0 # SKIP a sanitizer wants to be preloaded first'
	exit 0
fi
exec "${KEVO_BUILD:-build}/tests/crash/sweep" fault
