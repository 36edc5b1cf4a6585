#!/bin/sh
# history: several processes, killed at random, and two judges; see history.h.
exec "${KEVO_BUILD:-build}/tests/history/history"
