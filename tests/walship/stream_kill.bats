#!/usr/bin/env bats
# shellcheck disable=SC2030,SC2031,SC2154
# Sender and receiver killed, or failed, at every system call that reaches
# their files: what is there afterwards is a whole prefix, and the next run
# goes on from it.

load stream
load faults

setup() {
	common_setup
	[ -z "${KEVO_SAN-}" ] || skip 'a sanitizer wants to be preloaded first'
	in_memory
	records 40 | kevo-put -i -b 9 p.kv
	kevo-config p.kv set wal_keep=1G
	replica p.kv before.kv
	kevo-walship slot p.kv create r1
	records 30 n | kevo-put -i -b 7 p.kv
	kevo-walship send p.kv --to - --seal-after 0 >one.ship
	records 10 o | kevo-put -i -b 4 p.kv
	kevo-walship send p.kv --to - >two.ship
	cat one.ship two.ship >all.ship
	kevo-export p.kv >all.tsv
}
teardown() { common_teardown; }

# A replica is whole commits up to some point, and then all of them.
apply_once() {
	rm -rf r.kv
	cp -a before.kv r.kv
	struck "$1" r.kv all.ship kevo-walship recv --apply r.kv || return
	kevo-export r.kv | comm -23 - all.tsv >extra
	[ ! -s extra ] || { cat told extra; exit 1; }
	kevo-walship recv --apply r.kv <all.ship ||
		{ cat told; exit 1; }
	same p.kv r.kv || { cat told; exit 1; }
	kevo-check -q r.kv || { cat told; exit 1; }
}

@test "kill: a replica, at every call, and the next run completes it" {
	every kill apply_once
	every killafter apply_once
}

@test "fail: a replica, at every call, and the next run completes it" {
	every EIO apply_once
	every ENOSPC apply_once
}

# So is an archive; its segment is the primary's.
archive_once() {
	local seg
	rm -rf arc
	struck "$1" arc all.ship kevo-walship recv --to arc || return
	kevo-walship recv --to arc <all.ship || { cat told; exit 1; }
	for seg in arc/wal/*/*.seg; do
		cmp "$seg" "$(segments p.kv | head -n 1)" ||
			{ cat told; exit 1; }
	done
	cmp arc/state/tail/*.open -n "$(stat -c %s arc/state/tail/*.open)" \
		"$(segments p.kv | tail -n 1)" || { cat told; exit 1; }
}

@test "kill: an archive, at every call, and the next run completes it" {
	every kill archive_once
	every killafter archive_once
}

@test "fail: an archive, at every call, and the next run completes it" {
	every EIO archive_once
	every ENOSPC archive_once
}

# The slot is where it was or where the receiver is.
slot_once() {
	rm -rf s.kv r.kv
	cp -a p.kv s.kv
	cp -a before.kv r.kv
	struck "$1" s.kv acks kevo-walship send s.kv --to - --slot r1 \
		--acks - >some.ship || return
	kevo-walship slot s.kv list | cut -f3 >slot
	grep -qxF -e "$(position r.kv)" -e "$at" slot ||
		{ cat told slot; exit 1; }
	kevo-walship send s.kv --to - --slot r1 --acks - >some.ship <acks ||
		{ cat told; exit 1; }
	equal slot "$(kevo-walship slot s.kv list | cut -f3)" "$at" ||
		{ cat told; exit 1; }
}

@test "kill: a sender with a slot, at every call" {
	at=$(position p.kv)
	echo "ack r1 $at applied $(date -u +%FT%TZ)" >acks
	every kill slot_once
	every killafter slot_once
}
