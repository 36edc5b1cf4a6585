#!/bin/sh
# backup_sweep: kevo-backup and kevo-restore are killed before or after each of
# their system calls, or the call fails.  A backup that did not end with 0 has
# left no archive, one that did is whole; a restore has left either all of
# the database or none of it, and the next one, undisturbed, succeeds.
# shellcheck source=tests/crash/frame.sh
. "$(dirname "$0")/frame.sh"
begin backup 2 13

records() {
	awk -v from="$1" -v to="$2" 'BEGIN {
		for (i = from; i <= to; i++)
			printf "key%05d\tvalue %d %060d\n", i, i, i
	}'
}

make_db() {
	kevo-init -q --set memtable_bytes=64K --set compaction=manual db
	records 1 300 | kevo-import -q db
	kevo-compact --full db
	records 200 900 | kevo-put -i -b 50 db
	kevo-put db last 1
}

status_is_possible() {
	case $1:$2 in
	kill*:137 | power:137 | *:0 | *:6[59] | *:7[2-7]) return 0 ;;
	esac
	return 1
}

look_at_backup() {
	status_is_possible "$1" "$status" ||
		echo "exit status $status: $(head -n 1 err)"
	if [ -e place/out.tar ]; then
		cmp -s place/out.tar want.tar || echo 'another archive'
		case $1:$status in
		kill*:137 | power:137 | *:0 | *:74) ;;
		*) echo "an archive, and status $status" ;;
		esac
	elif [ "$status" -eq 0 ]; then
		echo 'no archive'
	fi
	case $1 in
	kill* | power) ;;
	*)	[ -z "$(find place -name '*.tmp')" ] || [ "$status" -eq 0 ] ||
			[ "$status" -eq 74 ] || echo 'a temporary file stays'
		;;
	esac
}

look_at_restore() {
	status_is_possible "$1" "$status" ||
		echo "exit status $status: $(head -n 1 err)"
	if [ -e place/new ]; then
		kevo-check -q place/new >out 2>&1 || echo "damaged: $(cat out)"
		kevo-scan place/new | cmp -s - want || echo 'other records'
	elif [ "$status" -eq 0 ]; then
		echo 'no database'
	fi
	case $1 in
	kill* | power) ;;
	# What it could not open it does not remove: empty, it harms nobody.
	*)	[ ! -e place/.new.restore ] ||
			rmdir place/.new.restore 2>/dev/null ||
			echo 'it left something'
		;;
	esac
	rm -rf place/new
	kevo-restore -q place/new want.tar >out 2>&1 ||
		echo "the next restore: $(cat out)"
	kevo-scan place/new | cmp -s - want || echo 'then other records'
	[ ! -e place/.new.restore ] || echo 'something is left'
}

# A base in an archive: none, or all of it under its name.
look_at_base() {
	case $1:$status in
	*:8[0-9]) ;;
	*)	status_is_possible "$1" "$status" ||
			echo "exit status $status: $(head -n 1 err)"
		;;
	esac
	for file in place/archive/base/*; do
		[ ! -e "$file" ] || cmp -s "$file" want.tar ||
			echo 'another base'
	done
	case $1 in
	kill* | power) ;;
	*)	[ -z "$(find place -name '.tmp.base.*')" ] ||
			[ "$status" -eq 0 ] || echo 'a temporary file stays'
		;;
	esac
	kevo-walship base db --to place/archive >out 2>&1 ||
		echo "the next base: $(cat out)"
	[ "$(find place/archive/base -name '[!.]*.tar' | wc -l)" -eq 1 ] || echo 'not one base'
	kevo-walship restore place/archive --into place/new >out 2>&1 ||
		echo "restore: $(cat out)"
	kevo-scan place/new | cmp -s - want || echo 'other records'
}

# From an archive: as a restore, with the log applied behind the base.
look_at_replica() {
	case $1:$status in
	*:8[0-9]) ;;
	*)	status_is_possible "$1" "$status" ||
			echo "exit status $status: $(head -n 1 err)"
		;;
	esac
	if [ -e place/new ]; then
		kevo-check -q place/new >out 2>&1 || echo "damaged: $(cat out)"
		kevo-scan place/new | cmp -s - want || echo 'other records'
	elif [ "$status" -eq 0 ]; then
		echo 'no database'
	fi
	rm -rf place/new
	kevo-walship restore archive --into place/new >out 2>&1 ||
		echo "the next restore: $(cat out)"
	kevo-scan place/new | cmp -s - want || echo 'then other records'
	[ ! -e place/.new.restore ] || echo 'something is left'
}

afresh() {
	rm -rf place
	mkdir place
}

look() {
	case $1 in
	backup | reading) look_at_backup "$2" ;;
	*) "look_at_$1" "$2" ;;
	esac
}

kevo-backup nothing >out 2>&1
if [ $? -eq 69 ]; then
	echo '1..0 # SKIP built without libarchive'
	exit 0
fi
make_db
kevo-walship base db --to archive
kevo-put db last 2
kevo-walship send db --to archive
kevo-backup -o want.tar db
kevo-scan db >want
[ -s want ] && [ -s want.tar ] || exit 1
for how in $(ways); do
	sweep backup "$how" place kevo-backup -o place/out.tar db
	sweep restore "$how" place kevo-restore -q place/new want.tar
	sweep base "$how" place kevo-walship base db --to place/archive
	sweep replica "$how" place kevo-walship restore archive \
		--into place/new
	sweep reading "$how" db kevo-backup -o place/out.tar db
done
end
