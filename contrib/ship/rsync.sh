#!/bin/sh
# rsync.sh: what a slot keeps, into an archive on another host, by rsync.
#
#	rsync.sh DB SLOT HOST:ARCHIVE
#
# For cron.  rsync may be stopped anywhere: what is in incoming/ is looked at
# on the other side, and taken into the archive for what is in it.  What has
# arrived comes back as a line of acknowledgement, so that the slot forgets it.
# The archive must be there; kevo-walship recv or send makes one.
# Segments travel when they are complete: see --seal-after of kevo-walship(1).
set -eu

if [ $# -ne 3 ]; then
	echo 'usage: rsync.sh DB SLOT HOST:ARCHIVE' >&2
	exit 64
fi
db=$1 slot=$2 host=${3%%:*} archive=${3#*:}

set -- "$db/slots/$slot/"
for epoch in "$db"/epochs/*.epoch; do
	[ ! -e "$epoch" ] || set -- "$@" "$epoch"
done
rsync -a --partial-dir=.part --exclude=/slot --exclude=/lost "$@" \
	"$host:$archive/state/incoming/"
# shellcheck disable=SC2029 # the paths are ours
ssh "$host" "kevo-walship recv --spool '$archive/state/incoming' \
--to '$archive' --slot '$slot'" | kevo-walship slot "$db" ack "$slot"
