#!/bin/sh
# power_sweep: the power fails at any system call; see power_sweep.c.
if [ -n "${KEVO_SAN-}" ]; then
	echo '1..0 # SKIP a sanitizer wants to be preloaded first'
	exit 0
fi
exec "${KEVO_BUILD:-build}/tests/crash/power_sweep"
