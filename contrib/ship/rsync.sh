#!/bin/sh
# rsync.sh: what a slot keeps, into an archive on another host, by rsync.
#
#	rsync.sh DB SLOT HOST:ARCHIVE [SEAL-AFTER]
#
# For cron.  The first run makes the slot, and an archive with a base in it,
# which lies beside DB until it has been copied; where an archive is already, as
# after a promotion, the slot is made where that ends.  Segments travel when
# they are complete; the newest is completed when its first commit is SEAL-AFTER
# old (60s).  rsync may be stopped anywhere: what is in incoming/ is looked at
# on the other side, and taken into the archive for what is in it.  What has
# arrived comes back as a line of acknowledgement, so that the slot forgets it.
# The exit status is that of kevo-walship there: 75 is tried again anyway.
set -eu

if [ $# -ne 3 ] && [ $# -ne 4 ]; then
	echo 'usage: rsync.sh DB SLOT HOST:ARCHIVE [SEAL-AFTER]' >&2
	exit 64
fi
db=$1 slot=$2 host=${3%%:*} archive=${3#*:} age=${4-60s}

# shellcheck disable=SC2029 # the paths are ours
if ! ssh "$host" "test -e '$archive/KEVO-ARCHIVE'"; then
	new=$(mktemp -d "$db.base.XXXXXX")
	trap 'rm -rf "$new"' EXIT
	kevo-walship base -q "$db" --to "$new/archive" --slot "$slot"
	# What makes an archive of it comes last.
	rsync -a --exclude=/KEVO-ARCHIVE "$new/archive/" "$host:$archive/"
	rsync -a "$new/archive/KEVO-ARCHIVE" "$host:$archive/"
elif [ ! -d "$db/slots/$slot" ]; then
	# Another database sent to it, before this one was promoted; or the
	# slot was dropped.  Where the log does not go back so far it says so:
	# that archive has come to its end, and another one may be begun.
	# shellcheck disable=SC2029
	at=$(ssh "$host" "kevo-walship pos '$archive'")
	kevo-walship slot -q "$db" create "$slot" --at "$at"
fi
kevo-walship send -q "$db" --to - --from "$(kevo-walship pos "$db")" \
	--seal-after "$age" >/dev/null

set -- "$db/slots/$slot/"
for epoch in "$db"/epochs/*.epoch; do
	[ ! -e "$epoch" ] || set -- "$@" "$epoch"
done
rsync -a --partial-dir=.part --exclude=/slot --exclude=/lost "$@" \
	"$host:$archive/state/incoming/"
status=0
# shellcheck disable=SC2029
ack=$(ssh "$host" "kevo-walship recv --spool '$archive/state/incoming' \
--to '$archive' --slot '$slot'") || status=$?
[ -z "$ack" ] || printf '%s\n' "$ack" | kevo-walship slot "$db" ack "$slot"
exit "$status"
