#!/usr/bin/env bats
# shellcheck disable=SC2030,SC2031,SC2154
# Replicas that follow: connections, acknowledgements, kills, idle links.

load stream
setup() {
	common_setup
	records 100 | kevo-put -i -b 7 p.kv
	replica p.kv r.kv
	kevo-walship slot p.kv create r1
}
teardown() { common_teardown; }

# follow [OPTION...]: r.kv follows p.kv, by a slot.
follow() {
	background kevo-walship recv --via "$(via --slot r1)" --apply r.kv \
		--follow "$@"
	wait_for grep -q 'connected 1' r.kv/shm/link
}

@test "follow: commits arrive as they are made, and the slot follows" {
	follow
	for i in 1 2 3 4 5; do
		kevo-put p.kv "now$i" "$i"
		wait_for kevo-get r.kv "now$i"
	done
	same p.kv r.kv
	wait_for eval '[ "$(kevo-walship slot p.kv list | cut -f3)" = \
		"$(position p.kv)" ]'
	wait_for eval '[ "$(link r.kv primary-seq)" = "$(link r.kv seq)" ]'
	equal pid "$(link r.kv pid)" "$child"
	ends_after_term
	equal connected "$(link r.kv connected)" 0
}

@test "follow: one receiver at a time" {
	follow
	fails 75 "busy: r.kv: kevo-walship recv, pid $child on *" \
		kevo-walship recv --apply r.kv </dev/null
	ends_after_term
}

@test "follow: while a commit takes long, the replica hears of later ones" {
	# At this rate it takes minutes.
	background kevo-walship recv --apply r.kv --follow \
		--via "$(via --slot r1 --bwlimit 1K)"
	wait_for grep -q 'connected 1' r.kv/shm/link
	head -c 200000 /dev/urandom | base64 -w 0 | kevo-put -i p.kv big
	wait_for kevo-get r.kv big
	kevo-put p.kv next one
	wait_for eval '[ "$(link r.kv primary-seq)" = "$(version p.kv)" ]'
	no kevo-get r.kv next
	fails 81 'gap: r.kv: *17 to 17 exist; *' kevo-walship promote r.kv
	ends_after_term
}

@test "follow: SIGTERM to the sender is a clean end, and it connects again" {
	follow
	sender=$(child_of "$child")
	kill -TERM "$sender"
	kevo-put p.kv after term
	wait_for kevo-get r.kv after
	[ "$(child_of "$child")" != "$sender" ]
	ends_after_term
	[ ! -e "/proc/$sender" ]
}

@test "follow: a sender that is killed is named, and connected to again" {
	follow 2>err
	kill -KILL "$(child_of "$child")"
	kevo-put p.kv after kill
	wait_for kevo-get r.kv after
	ends_after_term
	matches "$(cat err)" 'kevo-walship: remote: "exec kevo-walship send'*'"*
: exit 137; next: retried in 1 s' || matches "$(cat err)" \
		'kevo-walship: remote: *: exit 137; next: retried in 1 s'
}

@test "follow: a command that fails is 75 once, and tried again with --follow" {
	fails 75 'remote: "exit 255": exit 255; next: run again' \
		kevo-walship recv --via 'exit 255' --apply r.kv
	fails 75 'remote: "no-such-program": exit 127; next: run again' \
		kevo-walship recv --via 'no-such-program 2>&-' --apply r.kv ||
		run -75 kevo-walship recv --via 'no-such-program' --apply r.kv
	background kevo-walship recv --apply r.kv --follow \
		--via 'if [ -e up ]; then '"$(via)"'; fi; exit 255' 2>err
	wait_for grep -q 'exit 255; next: retried in 1 s' err
	touch up
	kevo-put p.kv at last
	wait_for kevo-get r.kv at
	ends_after_term
}

@test "follow: what a person must look at ends it with the sender's status" {
	kevo-walship slot p.kv drop r1
	run -66 kevo-walship send p.kv --to - --slot r1
	kevo-put q.kv a b
	run -83 --separate-stderr kevo-walship recv --follow --apply r.kv \
		--via 'exec kevo-walship send q.kv --to - --follow'
	matches "$stderr" 'kevo-walship: wrong-db: *'
	run -85 --separate-stderr kevo-walship recv --follow --apply r.kv \
		--via 'echo "kevo-walship: lost: ..." >&2; exit 85'
}

@test "follow: acknowledgements on a descriptor, and from a file" {
	kevo-put p.kv a b
	at=$(position p.kv)
	kevo-walship send p.kv --to - --slot r1 >some.ship
	kevo-walship recv --apply r.kv --slot r1 <some.ship >acks
	matches "$(tail -n 1 acks)" "ack r1 $at applied 20??-*Z"
	matches "$(head -n 1 acks)" "ack r1 1.*:15:* applied 20??-*Z"
	ok kevo-walship slot p.kv ack r1 <acks
	equal slot "$(kevo-walship slot p.kv list | cut -f3)" "$at"
	fails 1 '(stdin): no acknowledgement for slot r1' \
		kevo-walship slot -q p.kv ack r1 < <(echo ack r2 "$at" applied x)
	kevo-put q.kv c d
	fails 82 'fork: *' kevo-walship slot p.kv ack r1 \
		< <(echo "ack r1 $(position q.kv) applied $(date -u +%FT%TZ)")
	kevo-put p.kv c d
	at=$(position p.kv)
	exec 5< <(echo nonsense; echo "ack - $at synced $(date -u +%FT%TZ)")
	kevo-walship send -q p.kv --to - --slot r1 --acks 5 >rest.ship
	equal slot "$(kevo-walship slot p.kv list | cut -f3)" "$at"
}

@test "follow: a receiver killed at any time loses nothing" {
	background sh -c 'while [ ! -e stop ]; do
		seq 20 | kevo-put -i -k -b 3 p.kv; done'
	writer=$child
	for i in 1 2 3 4 5 6 7 8; do
		background kevo-walship recv --via "$(via --slot r1)" \
			--apply r.kv --follow
		before=$(link r.kv seq) || before=
		wait_for eval '[ "$(link r.kv seq)" != "$before" ]'
		sleep 0.0$((RANDOM % 9 + 1))
		other=$(child_of "$child") || other=
		kill -KILL "$child" $other
		wait "$child" || true
	done
	touch stop
	child=$writer
	ends 0
	kevo-walship recv --via 'exec kevo-walship send p.kv --to - \
		--acks - --slot r1' --apply r.kv
	same p.kv r.kv
	kevo-check -q r.kv
}

@test "follow: a reader never sees half of a commit" {
	group() { seq 50 | sed "s/\$/\t$1/;s/^/g/"; }
	group 0 | kevo-put -i -1 p.kv
	follow
	wait_for kevo-get r.kv g50
	background sh -c 'i=0; while [ ! -e stop ]; do i=$((i + 1))
		seq 50 | sed "s/\$/	$i/;s/^/g/" | kevo-put -i -1 p.kv
		done'
	writer=$child
	for i in $(seq 150); do
		kevo-scan --values r.kv g >seen
		equal values "$(sort -u seen | wc -l)" 1
		equal records "$(wc -l <seen)" 50
	done
	touch stop
	child=$writer
	ends 0
	child=${children[0]}
	last=$(kevo-get p.kv g1)
	[ "$last" -gt 3 ]
	wait_for eval '[ "$(kevo-get r.kv g50)" = "$last" ]'
	ends_after_term
}

# ticks PID: what it has used of a processor, in hundredths of a second.
ticks() {
	awk '{ print $14 + $15 }' "/proc/$1/stat"
}

# switches PID: how often it went to sleep by itself.
switches() {
	sed -n 's/^voluntary_ctxt_switches:[[:blank:]]*//p' "/proc/$1/status"
}

@test "follow: an idle link does a beat a second, and makes no file" {
	follow
	kevo-put p.kv a b
	wait_for kevo-get r.kv a
	sender=$(child_of "$child")
	wait_for eval '[ "$(kevo-walship slot p.kv list | cut -f3)" = \
		"$(position p.kv)" ]'
	find p.kv r.kv | sort >before
	slept=$(switches "$sender") heard=$(switches "$child")
	used=$(($(ticks "$sender") + $(ticks "$child")))
	sleep 4
	slept=$(($(switches "$sender") - slept))
	heard=$(($(switches "$child") - heard))
	used=$(($(ticks "$sender") + $(ticks "$child") - used))
	find p.kv r.kv | sort | diff before -
	echo "sender slept $slept times, receiver $heard, $used ticks"
	[ "$slept" -ge 3 ]
	[ "$slept" -le 16 ]
	[ "$heard" -ge 3 ]
	[ "$heard" -le 16 ]
	[ "$used" -le 4 ]
	ends_after_term
}

@test "follow: a cascade: a replica sends to another" {
	replica r.kv s.kv
	follow
	first=$child
	background kevo-walship recv --apply s.kv --follow --via \
		'exec kevo-walship send r.kv --to - --acks - --follow'
	kevo-put p.kv a b
	wait_for kevo-get s.kv a
	records 300 x | kevo-put -i -b 11 p.kv
	wait_for eval '[ "$(link s.kv seq)" = "$(version p.kv)" ]'
	ends_after_term
	child=$first
	ends_after_term
	same p.kv r.kv s.kv
}

@test "follow: the service manager is told" {
	need python3
	background python3 -c '
import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind("notify")
with open("told", "w", buffering=1) as f:
    while True:
        f.write(s.recv(1000).decode() + "\n")
'
	wait_for test -S notify
	listener=$child
	NOTIFY_SOCKET=$PWD/notify follow
	wait_for grep -qx READY=1 told
	wait_for grep -q '^STATUS=Commit 15 of 15, 0 bytes, 0.000 s behind' \
		told
	wait_for grep -q '^WATCHDOG=1' told
	ends_after_term
	wait_for grep -q '^STATUS=No connection' told
	equal 'times ready' "$(grep -cx READY=1 told)" 1
}

@test "follow: an archive that follows" {
	background kevo-walship recv --via "$(via --slot r1)" --to arc \
		--follow
	kevo-put p.kv a b
	wait_for eval '[ "$(kevo-walship slot p.kv list | cut -f3)" = \
		"$(position p.kv)" ]'
	ends_after_term
	tail=$(echo arc/state/tail/*.open)
	cmp -n "$(stat -c %s "$tail")" "$tail" \
		"$(segments p.kv | tail -n 1)"
}
