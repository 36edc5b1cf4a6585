#!/bin/sh
# rclone.sh: an archive to an object store, and proof that it is there.
#
#	rclone.sh ARCHIVE REMOTE:PATH
#
# For cron.  Files of an archive never change, but for what is in state/, which
# stays here: so a file that is there already must be the same (--immutable).
# The way back is `rclone copy REMOTE:PATH ARCHIVE`; all of an archive but
# state/ is enough to restore from.
set -eu

if [ $# -ne 2 ]; then
	echo 'usage: rclone.sh ARCHIVE REMOTE:PATH' >&2
	exit 64
fi
rclone copy -q --immutable --exclude 'state/**' "$1" "$2"
rclone check -q --one-way --exclude 'state/**' "$1" "$2"
