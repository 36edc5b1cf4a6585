#!/bin/sh
# kill_sweep: a kill at every system call of every operation; see sweep.c.
if [ -n "${KEVO_SAN-}" ]; then
	echo '1..0 # SKIP a sanitizer wants to be preloaded first'
	exit 0
fi
exec "${KEVO_BUILD:-build}/tests/crash/sweep" kill
