#!/bin/sh
# backup_sweep: kevo-backup and kevo-restore are killed before or after each of
# their system calls, or the call fails.  A backup that did not end with 0 has
# left no archive, one that did is whole; a restore has left either all of
# the database or none of it, and the next one, undisturbed, succeeds.
if [ -n "${KEVO_SAN-}" ]; then
	echo '1..0 # SKIP a sanitizer wants to be preloaded first'
	exit 0
fi
build=${KEVO_BUILD:-build}
case $build in
/*) ;;
*) build=$PWD/$build ;;
esac
PATH=$build/bin:$PATH
tests=0 failed=0 work="" where=""
step=2
[ -z "${KEVO_QUICK-}" ] || step=13
[ -z "${KEVO_LONG-}" ] || step=1

tmp=${TMPDIR:-/tmp}
[ ! -w /dev/shm ] || tmp=/dev/shm
work=$(mktemp -d "$tmp/kevo-backup.XXXXXX") || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
cd "$work" || exit 1

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

# disturbed K WHAT COMMAND...: run it with a fault; sets status and fired.
disturbed() {
	k=$1 what=$2
	shift 2
	program=$1
	shift
	KEVO_FAULT_DIR=$work/$where KEVO_FAULT=any:$k:$what \
		KEVO_FAULT_COUNT=$work/count LD_PRELOAD=$build/tests/libfault.so \
		"$build/dyn/bin/$program" "$@" >out 2>err
	status=$?
	fired=$(sed -n 's/^fired //p' count)
}

status_is_possible() {
	case $1:$2 in
	kill*:137 | *:0 | *:6[59] | *:7[2-7]) return 0 ;;
	esac
	return 1
}

look_at_backup() {
	status_is_possible "$2" "$status" ||
		echo "exit status $status: $(head -n 1 err)"
	if [ -e place/out.tar ]; then
		cmp -s place/out.tar want.tar || echo 'another archive'
		case $2:$status in
		killafter:137 | kill:137 | *:0 | *:74) ;;
		*) echo "an archive, and status $status" ;;
		esac
	elif [ "$status" -eq 0 ]; then
		echo 'no archive'
	fi
	case $2 in
	kill*) ;;
	*)	[ -z "$(find place -name '*.tmp')" ] || [ "$status" -eq 0 ] ||
			[ "$status" -eq 74 ] || echo 'a temporary file stays'
		;;
	esac
}

look_at_restore() {
	status_is_possible "$2" "$status" ||
		echo "exit status $status: $(head -n 1 err)"
	if [ -e place/new ]; then
		kevo-check -q place/new >out 2>&1 || echo "damaged: $(cat out)"
		kevo-scan place/new | cmp -s - want || echo 'other records'
	elif [ "$status" -eq 0 ]; then
		echo 'no database'
	fi
	case $2 in
	kill*) ;;
	*) [ ! -e place/.new.restore ] || echo 'it left something' ;;
	esac
	rm -rf place/new
	kevo-restore -q place/new want.tar >out 2>&1 ||
		echo "the next restore: $(cat out)"
	kevo-scan place/new | cmp -s - want || echo 'then other records'
	[ ! -e place/.new.restore ] || echo 'something is left'
}

# A base in an archive: none, or all of it under its name.
look_at_base() {
	case $2:$status in
	*:8[0-9]) ;;
	*)	status_is_possible "$2" "$status" ||
			echo "exit status $status: $(head -n 1 err)"
		;;
	esac
	for file in place/archive/base/*; do
		[ ! -e "$file" ] || cmp -s "$file" want.tar ||
			echo 'another base'
	done
	case $2 in
	kill*) ;;
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
	case $2:$status in
	*:8[0-9]) ;;
	*)	status_is_possible "$2" "$status" ||
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

# sweep NAME WHAT LOOK COMMAND...: one result.
sweep() {
	name=$1 how=$2 looker=$3 k=1 bad=0
	shift 3
	while [ "$bad" -lt 3 ]; do
		rm -rf place
		mkdir place
		disturbed "$k" "$how" "$@"
		[ "$fired" != - ] || break
		wrong=$("$looker" "$k" "$how")
		if [ -n "$wrong" ]; then
			echo "# $name $how k=$k ($fired): $wrong"
			bad=$((bad + 1))
		fi
		k=$((k + step))
	done
	tests=$((tests + 1))
	not=
	if [ "$bad" -gt 0 ] || [ "$k" -eq 1 ]; then
		not='not '
		failed=$((failed + 1))
	fi
	echo "${not}ok $tests - $name, $how: $k calls"
}

make_db
kevo-walship base db --to archive
kevo-put db last 2
kevo-walship send db --to archive
kevo-backup -o want.tar db
kevo-scan db >want
[ -s want ] && [ -s want.tar ] || exit 1
for how in kill killafter EIO ENOSPC short; do
	where=place
	sweep backup "$how" look_at_backup kevo-backup -o place/out.tar db
	sweep restore "$how" look_at_restore kevo-restore -q place/new want.tar
	sweep base "$how" look_at_base kevo-walship base db --to place/archive
	sweep replica "$how" look_at_replica kevo-walship restore archive \
		--into place/new
	where=db
	sweep reading "$how" look_at_backup kevo-backup -o place/out.tar db
done
echo "1..$tests"
[ "$failed" -eq 0 ]
