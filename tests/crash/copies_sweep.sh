#!/bin/sh
# copies_sweep: kevo-walship apply, promote and rejoin are killed before or
# after each of their system calls, or the call fails.  Whatever happens, the
# database is one of whole commits, and the same command, called again, ends
# in the same as one that nothing disturbs.
# shellcheck source=tests/crash/frame.sh
. "$(dirname "$0")/frame.sh"
begin copies 7 23

# commits FROM TO DB: each puts its number under three keys, so that half of
# one would be seen.
commits() {
	i=$1
	pad=$(printf %0900d 0)
	while [ "$i" -le "$2" ]; do
		printf 'put\tkey%d\t%d %s\n' 1 "$i" "$pad" 2 "$i" "$pad" \
			3 "$i" "$pad" | kevo-txn -i "$3"
		i=$((i + 1))
	done
}

# One of whole commits?
is_whole() {
	[ "$(kevo-scan -f tsv "$1" | cut -f 2 | sort -u | wc -l)" -eq 1 ]
}

replica() {
	cp -a "$1" "$2"
	rm -rf "$2/shm"
	printf 'replica\nprimary db1\n' >"$2/role"
}

make_all() {
	kevo-init -q --set memtable_bytes=64K --set compaction=manual p
	replica p empty
	commits 1 60 p
	kevo-walship send -q p --to archive
	# For apply: an old replica, and what it lacks.
	mkdir apply promote rejoin
	cp -a empty apply/db
	cp -a archive apply/archive
	kevo-walship apply -q archive --into apply/db
	commits 61 200 p
	cp -a p before
	kevo-walship send -q p --to archive --seal-after 0s
	cp -a archive apply/later
	rm -rf apply/archive
	mv apply/later apply/archive
	# For promote: a replica that has all.
	cp -a apply/db promote/db
	cp -a archive promote/archive
	kevo-walship apply -q archive --into promote/db
	# For rejoin: somebody else was promoted, and p went on.
	cp -a promote/db winner
	cp -a archive rejoin/archive
	kevo-walship promote -q winner --archive rejoin/archive
	commits 201 230 p
	cp -a p rejoin/db
	rm -rf rejoin/db/shm
}

# The command of a sweep.
command_of() {
	case $1 in
	apply) echo 'apply -q w/archive --into w/db' ;;
	promote) echo 'promote -q w/db --archive w/archive' ;;
	rejoin) echo 'rejoin -q w/db --from w/archive' ;;
	esac
}

afresh() {
	rm -rf w
	cp -a "$1" w
}

look() {
	case $2:$status in
	kill*:137 | *:0 | *:7[24567] | *:8[0-9]) ;;
	*)	echo "exit status $status: $(cat err)" ;;
	esac
	is_whole w/db || echo 'half a commit is seen'
	# shellcheck disable=SC2046 # words are wanted
	kevo-walship $(command_of "$1") >out 2>err
	again=$?
	case $1:$again in
	apply:0 | promote:[01] | rejoin:0 | rejoin:88) ;;
	*)	echo "again: exit status $again: $(cat err)" ;;
	esac
	kevo-check -q w/db >out 2>&1 || echo "damaged: $(cat out)"
	kevo-scan w/db >got 2>err || echo "scan: $(cat err)"
	cmp -s got "want.$1" || echo 'other records'
	case $1 in
	promote)
		cmp w/archive/epochs/00000002.epoch \
			w/db/epochs/00000002.epoch 2>&1
		[ ! -e w/db/epochs/next ] || echo 'epochs/next is left'
		kevo-put w/db new 1 2>&1 || echo 'it cannot be written'
		;;
	rejoin)
		[ "$(head -n 1 w/db/role)" = replica ] || echo 'no replica'
		kevo-walship verify -q w/db/orphans/*.seg 2>&1
		for f in w/db/orphans/*-00000000000000e6.seg; do
			[ -e "$f" ] || echo 'the last orphan is gone'
		done
		;;
	esac
}

make_all
for name in apply promote rejoin; do
	afresh "$name"
	# shellcheck disable=SC2046 # words are wanted
	kevo-walship $(command_of "$name") >out 2>err
	status=$?
	kevo-scan w/db >"want.$name"
	case $name:$status in
	apply:0 | promote:0 | rejoin:88) result 0 "$name, undisturbed" ;;
	*)	echo "# exit status $status: $(cat out err)"
		result 1 "$name, undisturbed" ;;
	esac
	for what in kill killafter EIO ENOSPC short; do
		# shellcheck disable=SC2046 # words are wanted
		sweep "$name" "$what" w kevo-walship $(command_of "$name")
	done
done
end
