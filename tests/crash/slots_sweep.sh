#!/bin/sh
# slots_sweep: what is done with slots, and what is added to an archive, is
# killed before or after each of its system calls, or the call fails, or the
# power does.  Whatever happens, a slot is there or not, it confirms nothing
# that was not acknowledged, and the replica that it was made for gets all
# that it lacks; an archive has what was acknowledged; and the same command,
# called again, succeeds.
# shellcheck source=tests/crash/frame.sh
. "$(dirname "$0")/frame.sh"
begin slots 5 17

# more FROM TO: commits for kevo-put -b 1, enough for several segments.
more() {
	seq "$1" "$2" | awk -v pad="$(printf %01500d 0)" \
		'{ print "more" $1 "\t" $1 pad }'
}

make_all() {
	kevo-init -q --set memtable_bytes=64K --set compaction=manual p
	replica p empty
	commits 1 60 p
	at60=$(kevo-walship pos p)
	kevo-walship send -q p --to - >first
	mkdir create ack drop keep send receive
	commits 61 130 p
	at130=$(kevo-walship pos p)
	kevo-walship send -q p --to - >second
	commits 131 200 p
	for name in create ack drop keep send receive; do
		cp -a p "$name/db"
		[ "$name" = create ] || kevo-walship slot -q "$name/db" \
			create r1 --at "$at60"
	done
	echo "ack r1 $at130 applied 2026-11-25T12:00:00Z" >acks
	more 1 120 >lines
	kevo-walship send -q p --to - >stream
	kevo-walship recv -q --to send/archive <first
	kevo-walship recv -q --to receive/archive <first
	# The replicas of the slot.
	cp -a empty at60
	kevo-walship recv -q --apply at60 <first
	cp -a at60 at130
	kevo-walship recv -q --apply at130 <second
}

# The command of a sweep, and what it reads.
command_of() {
	case $1 in
	create) echo "kevo-walship slot -q w/db create r1 --at $at60" ;;
	ack) echo 'kevo-walship slot -q w/db ack r1' ;;
	drop) echo 'kevo-walship slot -q w/db drop r1' ;;
	keep) echo 'kevo-compact -q --full w/db' ;;
	send) echo 'kevo-walship send -q w/db --to w/archive --slot r1' ;;
	receive) echo 'kevo-walship recv -q --to w/archive --slot r1' ;;
	esac
}

input_of() {
	case $1 in
	ack) echo acks ;;
	receive) echo stream ;;
	*) echo /dev/null ;;
	esac
}

afresh() {
	rm -rf w
	cp -a "$1" w
}

# Segments are completed, and given to the slot, of which nobody syncs names.
earlier() {
	[ "$1" != keep ] || calmly kevo-put -i -b 1 w/db <lines
}

# What the slot confirms; nothing if there is none.
confirmed() {
	kevo-walship slot w/db list | cut -f 3
}

seq_of() {
	echo "$1" | cut -d : -f 2
}

# The slot is as before the command or as after it; after it, if it said so.
slot_is_right() {
	at=$(confirmed)
	case $1:$status:$at in
	create:0:"$at60" | ack:0:"$at130" | drop:0:) ;;
	create:0:* | ack:0:* | drop:0:*)
		echo "acknowledged and lost: it is at ${at:-nothing}" ;;
	# Killed before its text was written.
	create:137:0.*) ;;
	create:*: | drop:*: | ack:*:"$at130" | *:"$at60") ;;
	send:*:?*)
		[ "$(seq_of "$at")" -le "$(last_of w/archive)" ] ||
			echo "the slot is at $at, and the archive is not" ;;
	*)	echo "the slot is at ${at:-nothing}" ;;
	esac
}

# What was acknowledged is there.
archive_is_right() {
	kevo-walship verify -q w/archive 2>&1
	least=$(acked out)
	[ "$status" -ne 0 ] || least=200
	[ "$(last_of w/archive)" -ge "${least:-60}" ] || echo "the archive" \
		"ends at $(last_of w/archive), and $least was acknowledged"
}

# The slot's replica is given all that it lacks.
catches_up() {
	rm -rf copy
	cp -a "$1" copy
	kevo-walship send -q w/db --to - --slot r1 >ship 2>err ||
		echo "send: $(cat err)"
	kevo-walship recv -q --apply copy <ship >out 2>err ||
		echo "recv: $(cat err)"
	kevo-scan copy >got
	kevo-scan w/db | cmp -s - got || echo 'the replica is not the same'
}

look() {
	case $2:$status in
	kill*:137 | power:137 | *:0 | *:7[24567] | *:8[0-9]) ;;
	*)	echo "exit status $status: $(cat err)" ;;
	esac
	[ "$(number w/db)" = 200 ] || echo 'commits are lost'
	slot_is_right "$1"
	[ ! -e w/archive ] || archive_is_right
	# shellcheck disable=SC2046 # words are wanted
	env $(command_of "$1") <"$input" >out 2>err
	case $1:$? in
	create:73 | drop:66 | *:0) ;;
	*)	echo "again: $(cat err)" ;;
	esac
	kevo-check -q w/db >out 2>&1 || echo "damaged: $(cat out)"
	case $1 in
	ack)	[ "$(confirmed)" = "$at130" ] || echo 'not acknowledged'
		catches_up at130 ;;
	create | keep)
		kevo-compact -q --full w/db
		catches_up at60 ;;
	drop)	kevo-compact -q --flush w/db
		[ -z "$(ls -A w/db/slots)" ] || echo 'something is left of it'
		;;
	*)	rm -rf copy
		cp -a at60 copy
		kevo-walship apply -q w/archive --into copy 2>&1
		kevo-scan copy >got
		kevo-scan p | cmp -s - got || echo 'not all is in the archive'
		;;
	esac
}

make_all
for name in create ack drop keep send receive; do
	input=$(input_of "$name")
	for what in $(ways); do
		# shellcheck disable=SC2046 # words are wanted
		sweep "$name" "$what" w $(command_of "$name")
	done
done
end
