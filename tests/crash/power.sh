#!/bin/sh
# power: power cuts and rot; see power.c.
exec "${KEVO_BUILD:-build}/tests/crash/power"
