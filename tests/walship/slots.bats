#!/usr/bin/env bats
# shellcheck disable=SC2030,SC2031,SC2154
# Slots: what is kept for a replica, from reserved to lost.

load stream
setup() {
	common_setup
	kevo-init p.kv
	kevo-config p.kv set memtable_bytes=64K
	records 100 | kevo-put -i -b 7 p.kv
	replica p.kv r.kv
}
teardown() { common_teardown; }

# state NAME
state() {
	kevo-walship slot p.kv list | awk -F'\t' -v n="$1" '$1 == n { print $2 }'
}

# kept NAME: bytes that are kept for it alone.
kept() {
	kevo-walship slot p.kv list | awk -F'\t' -v n="$1" '$1 == n { print $4 }'
}

# fill: a few segments more, all in tables, and the log forgets them.
fill() {
	records 3000 "$1" | kevo-put -i -b 100 p.kv
	kevo-compact --full p.kv
}

@test "slots: reserved, extended, at risk, lost, and begun anew" {
	ok kevo-walship slot p.kv create r1 --max-bytes 1M
	equal state "$(state r1)" reserved
	fill a
	equal state "$(state r1)" extended
	[ "$(kept r1)" -gt 50000 ]
	# What the log has no more is in the slot.
	[ "$(segments p.kv | wc -l)" -eq 1 ]
	kevo-walship recv --apply r.kv --via \
		'exec kevo-walship send p.kv --to - --slot r1 --acks -'
	same p.kv r.kv
	equal state "$(state r1)" reserved
	equal kept "$(kept r1)" 0
	at=$(position p.kv)
	n=0
	while [ "$(state r1)" != at-risk ]; do
		fill "b$((n++))"
		[ "$n" -lt 40 ]
		[ "$(state r1)" != lost ]
	done
	while [ "$(state r1)" != lost ]; do
		fill "c$((n++))"
		[ "$n" -lt 80 ]
	done
	first=$(($(cut -d: -f2 <<<"$at") + 1))
	fails 85 "lost: slot r1: commits $first..* were dropped at 20*" \
		kevo-walship send p.kv --to - --slot r1
	run -85 --separate-stderr kevo-walship recv --apply r.kv --follow \
		--via "$(via --slot r1)"
	matches "$stderr" '*lost: slot r1: commits *'
	# A new replica, and the same slot again.
	rm -rf r.kv
	replica p.kv r.kv
	ok kevo-walship slot p.kv create r1 --at "$(position p.kv)"
	equal state "$(state r1)" reserved
	kevo-put p.kv a b
	kevo-walship recv --apply r.kv --via \
		'exec kevo-walship send p.kv --to - --slot r1 --acks -'
	same p.kv r.kv
}

@test "slots: without one, a replica that is too late is told what is gone" {
	fill a
	run -81 --separate-stderr kevo-walship recv --apply r.kv \
		--via 'exec kevo-walship send p.kv --to - --acks -'
	matches "$stderr" '*kevo-walship: gap: p.kv: need 16, oldest available *'
	from=$(position r.kv)
	fails 81 'gap: p.kv: need 16, oldest available is *' \
		kevo-walship send p.kv --to - --from "$from"
}

@test "slots: history first: writers stop at the limit, until it is read" {
	ok kevo-walship slot p.kv create r1 --max-bytes 200K \
		--on-limit stop-writes
	n=0
	while records 3000 "a$n" | kevo-put -w 0 -q -i -b 100 p.kv 2>err; do
		kevo-compact --full p.kv
		n=$((n + 1))
		[ "$n" -lt 40 ]
	done
	matches "$(cat err)" '*r1*'
	[ "$(state r1)" != lost ]
	kevo-walship recv --apply r.kv --via \
		'exec kevo-walship send p.kv --to - --slot r1 --acks -'
	kevo-put p.kv on it
	kevo-walship recv --apply r.kv --via \
		'exec kevo-walship send p.kv --to - --slot r1 --acks -'
	same p.kv r.kv
}

@test "slots: list, drop, and what is refused" {
	is '' kevo-walship slot p.kv list
	ok kevo-walship slot p.kv create r1 --announce db2:9000 --max-age 7d \
		--max-bytes none
	ok kevo-walship slot p.kv create r2
	kevo-walship slot p.kv list >list
	equal slots "$(cut -f1,2 list | tr '\t\n' '  ')" \
		'r1 reserved r2 reserved '
	matches "$(head -n 1 list)" \
		$'r1\treserved\t1.*:15:*\t0\tnone\t604800\tdrop\tnever\tdb2:9000'
	fails 73 'p.kv: there is a slot r1 already' \
		kevo-walship slot p.kv create r1
	ok kevo-walship slot p.kv drop r1
	fails 66 'p.kv: no slot r1' kevo-walship slot p.kv drop r1
	run -64 kevo-walship slot p.kv
	run -64 kevo-walship slot p.kv list r1
	run -64 kevo-walship slot p.kv drop
	run -64 kevo-walship slot p.kv make r1
	run -64 kevo-walship slot p.kv create ../r1
	run -64 kevo-walship slot p.kv drop r2 --max-bytes 1M
	run -64 kevo-walship slot p.kv create r3 --on-limit explode
	fails 66 'none.kv: *' kevo-walship slot none.kv list
	rm -r p.kv/slots/r2
	is '' kevo-walship slot p.kv list
}

@test "slots: one may begin wherever the log is still kept" {
	at=$(position p.kv)
	kevo-config p.kv set wal_keep=64M
	fill a
	# The tables have it all, wal_keep the log.
	[ "$(segments p.kv | wc -l)" -gt 1 ]
	ok kevo-walship slot p.kv create r1 --at "$at"
	kevo-config p.kv set wal_keep=0
	fill b
	[ "$(segments p.kv | wc -l)" -eq 1 ]
	equal state "$(state r1)" extended
	# And now only the slot has it.
	ok kevo-walship slot p.kv create r2 --at "$at"
	ok kevo-walship slot p.kv drop r1
	kevo-walship recv --apply r.kv --via \
		'exec kevo-walship send p.kv --to - --slot r2 --acks -'
	same p.kv r.kv
	equal state "$(state r2)" reserved
	fails 81 'gap: p.kv: its log begins behind commit 15' \
		kevo-walship slot p.kv create r3 --at "$at"
	fails 81 'gap: p.kv: there is no commit 99999 yet, the last one is *' \
		kevo-walship slot p.kv create r3 \
		--at "$(sed 's/:[0-9]*:/:99999:/' <<<"$at")"
	equal slots "$(kevo-walship slot p.kv list | cut -f1)" r2
}

@test "slots: what is left in a lost one is no place to begin behind" {
	ok kevo-walship slot p.kv create r1 --max-bytes 200K
	at=$(position p.kv)
	n=0
	while [ "$(state r1)" != lost ]; do
		fill "a$((n++))"
		[ "$n" -lt 40 ]
	done
	fails 81 'gap: p.kv: its log begins behind commit 15' \
		kevo-walship slot p.kv create r1 --at "$at"
	equal state "$(state r1)" lost
}

@test "slots: a follower stops where the other side calls for a person" {
	run -66 --separate-stderr kevo-walship recv --apply r.kv --follow \
		--via "$(via --slot none)"
	matches "$stderr" '*no slot none*remote: "exec *": exit 66; next: what *'
	for code in 64 70 74; do
		run "-$code" --separate-stderr kevo-walship recv \
			--apply r.kv --follow --via "exit $code"
		matches "$stderr" "*: remote: \"exit $code\": exit $code; *"
	done
	# What may pass is tried again, and the next time it is told where.
	for code in 69 75 126 127 255; do
		rm -f tried
		run -66 --separate-stderr kevo-walship recv --apply r.kv \
			--follow --via "[ -e tried ] && exit 66
			touch tried; exit $code"
		matches "$stderr" "*exit $code; next: retried in 1 s*exit 66; *"
		run -75 kevo-walship recv --apply r.kv --via "exit $code"
	done
}
