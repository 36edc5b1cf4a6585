#!/bin/sh
# copies_sweep: kevo-walship apply, recv, promote and rejoin are killed before
# or after each of their system calls, or the call fails, or the power does.
# Whatever happens, the database is one of whole commits, it has what was
# there before and what was acknowledged, and the same command, called again,
# ends in the same as one that nothing disturbs.
# shellcheck source=tests/crash/frame.sh
. "$(dirname "$0")/frame.sh"
begin copies 7 23

make_all() {
	kevo-init -q --set memtable_bytes=64K --set compaction=manual p
	replica p empty
	commits 1 60 p
	kevo-walship send -q p --to archive
	# For apply: an old replica, and what it lacks.
	mkdir apply recv epoch promote rejoin
	cp -a empty apply/db
	cp -a archive apply/archive
	kevo-walship apply -q archive --into apply/db
	cp -a apply/db recv/db
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
	kevo-walship slot -q p create r1
	commits 201 230 p
	cp -a p rejoin/db
	rm -rf rejoin/db/shm
	# For epoch and recv: what the winner wrote then, for others.
	cp -a promote/db epoch/db
	commits 201 220 winner
	cp -a rejoin/archive epoch/archive
	kevo-walship send -q winner --to epoch/archive
	kevo-walship send -q winner --to - >stream
}

# The command of a sweep, and what it reads.
command_of() {
	case $1 in
	apply | epoch) echo 'apply -q w/archive --into w/db' ;;
	recv) echo 'recv -q --apply w/db --slot r1' ;;
	promote) echo 'promote -q w/db --archive w/archive' ;;
	rejoin) echo 'rejoin -q w/db --from w/archive' ;;
	esac
}

input_of() {
	case $1 in
	recv) echo stream ;;
	*) echo /dev/null ;;
	esac
}

afresh() {
	rm -rf w
	cp -a "$1" w
}

# acknowledged NAME: is what was promised there?
acknowledged() {
	case $1 in
	apply | recv) least=60 ;;
	*) least=200 ;;
	esac
	[ "$(number w/db)" -ge "$least" ] ||
		echo "only $(number w/db) of $least that were there"
	# What was told line by line.
	least=$(acked out)
	[ "$(last_of w/db)" -ge "${least:-0}" ] ||
		echo "only $(last_of w/db) of $least that were acknowledged"
	case $1:$status in
	*:0 | rejoin:88) ;;
	*) return ;;
	esac
	kevo-scan w/db | cmp -s - "want.$1" || echo 'acknowledged and lost'
	[ "$(head -n 1 w/db/role)" = "$(head -n 1 "role.$1")" ] ||
		echo 'the role is lost'
	[ ! -e w/archive ] || kevo-walship verify -q w/archive 2>&1
	for f in w/db/slots/r1/*.seg; do
		[ -e "$f" ] || continue
		f=${f##*-}
		[ $((0x${f%.seg})) -le 200 ] || echo 'the slot has orphans'
	done
	[ "$1" != promote ] || cmp w/archive/epochs/00000002.epoch \
		w/db/epochs/00000002.epoch 2>&1
}

look() {
	case $2:$status in
	kill*:137 | power:137 | *:0 | *:7[24567] | *:8[0-9]) ;;
	*)	echo "exit status $status: $(cat err)" ;;
	esac
	is_whole w/db || echo 'half a commit is seen'
	acknowledged "$1"
	# shellcheck disable=SC2046 # words are wanted
	kevo-walship $(command_of "$1") <"$input" >out 2>err
	again=$?
	case $1:$again in
	*:0 | promote:1 | rejoin:88) ;;
	*)	echo "again: exit status $again: $(cat err)" ;;
	esac
	kevo-check -q w/db >out 2>&1 || echo "damaged: $(cat out)"
	kevo-scan w/db >got 2>err || echo "scan: $(cat err)"
	cmp -s got "want.$1" || echo 'other records'
	case $1 in
	recv | epoch)
		cmp winner/epochs/00000002.epoch \
			w/db/epochs/00000002.epoch 2>&1
		;;
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
for name in apply recv epoch promote rejoin; do
	afresh "$name"
	input=$(input_of "$name")
	# shellcheck disable=SC2046 # words are wanted
	kevo-walship $(command_of "$name") <"$input" >out 2>err
	status=$?
	kevo-scan w/db >"want.$name"
	cp w/db/role "role.$name"
	case $name:$status in
	rejoin:0 | rejoin:88 | *:0) result 0 "$name, undisturbed" ;;
	*)	echo "# exit status $status: $(cat out err)"
		result 1 "$name, undisturbed" ;;
	esac
	for what in $(ways); do
		# shellcheck disable=SC2046 # words are wanted
		sweep "$name" "$what" w kevo-walship $(command_of "$name")
	done
done
end
