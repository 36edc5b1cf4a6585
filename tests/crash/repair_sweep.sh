#!/bin/sh
# repair_sweep: kevo-check --repair is killed before or after each of its
# system calls, or the call fails, or the power does.  Whatever happens, the
# next repair ends in the same records as one that nothing disturbs, and no
# byte of a damaged file is gone.
# shellcheck source=tests/crash/frame.sh
. "$(dirname "$0")/frame.sh"
begin repair 7 23

# flip FILE BYTE [COUNT]: other bytes from there on.
flip() {
	head -c "${3:-1}" /dev/zero | tr '\0' '\252' |
		dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}

records() {
	awk -v from="$1" -v to="$2" -v what="$3" 'BEGIN {
		for (i = from; i <= to; i++)
			printf "key%05d\t%s value %d %060d\n", i, what, i, i
	}'
}

make_db() {
	kevo-init -q --set memtable_bytes=64K --set compaction=manual db
	records 1 900 first | kevo-import -q db
	kevo-compact --full db
	records 300 700 second | kevo-import -q db
	kevo-delete db key00100 key00101
	kevo-compact --full db
	records 500 900 third | kevo-put -i -b 50 db
	kevo-compact --flush db
	records 600 1100 fourth | kevo-put -i -b 10 db
	kevo-put db last 1
	kevo-put db last 2
}

# The newest file in a directory, and the one before it.
newest() {
	find "$1" -type f | LC_ALL=C sort | tail -n 1
}
before() {
	find "$1" -type f | LC_ALL=C sort | tail -n 2 | head -n 1
}

damage() {
	case $1 in
	a*)	flip "$(find db/wal -type f | LC_ALL=C sort | head -n 1)" 9000
		flip "$(newest db/table)" 3000
		flip db/FORMAT 30
		flip "$(before db/version)" 40
		;;
	b*)	rm "$(before db/version)"
		flip "$(newest db/version)" 100 100
		flip "$(newest db/table)" 200
		;;
	c*)	flip "$(newest db/version)" 60
		rm db/LOCK "$(newest db/table)"
		;;
	esac
}

# Sums of all files that the repair may move.
sums() {
	find "$1" -path '*/shm' -prune -o -type f -exec cksum {} + |
		awk '{ print $1, $2 }' | LC_ALL=C sort -u
}

afresh() {
	rm -rf db
	cp -a "$1" db
}

look() {
	case $2:$status in
	kill*:137 | power:137 | *:0 | *:1 | *:7[24567]) ;;
	*)	echo "exit status $status: $(cat err)" ;;
	esac
	kevo-check -q --repair db >out 2>err
	case $? in
	[01]) ;;
	*)	echo "the next repair: $(cat err)" ;;
	esac
	kevo-check -q db >out 2>&1 || echo "damaged: $(cat out)"
	kevo-scan db >got 2>err || echo "scan: $(cat err)"
	cmp -s got want || echo "other records: $(diff got want | head -n 3)"
	sums db >after
	[ -z "$(LC_ALL=C comm -23 old after)" ] ||
		echo 'bytes of a damaged file are gone'
}

make_db
mv db good
for name in a-log-table-FORMAT b-no-version c-version-table-LOCK; do
	afresh good
	damage "$name"
	cp -a db "$name"
	# FORMAT and kevo.conf stand in the way of no comparison.
	sums db >old
	kevo-check -q --repair db >out 2>err
	status=$?
	kevo-scan db >want
	if [ "$status" -eq 1 ] && [ -s want ] && kevo-check -q db; then
		result 0 "$name, undisturbed"
	else
		echo "# exit status $status: $(cat out err)"
		result 1 "$name, undisturbed"
	fi
	for what in $(ways) EIO:sticky; do
		sweep "$name" "$what" db kevo-check -q --repair db
	done
done
end
