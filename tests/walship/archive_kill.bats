#!/usr/bin/env bats
# shellcheck disable=SC2030,SC2031,SC2154
# send, recv --spool and apply, killed or failed at every system call that
# reaches the archive or the replica: what is there is sound, and the next run
# makes the same of it as if nothing had been.

load walship
load faults

setup() {
	common_setup
	[ -z "${KEVO_SAN-}" ] || skip 'a sanitizer wants to be preloaded first'
	in_memory
	every_most=9
	database p.kv
	commits p.kv 1 9
	ok kevo-walship send p.kv --to whole --seal-after 0
	commits p.kv 11 19
	ok kevo-walship send p.kv --to whole --seal-after 0 --slot none
	commits p.kv 21 25
	ok kevo-walship send p.kv --to whole --slot none
	ok kevo-walship send p.kv --to small --slot none
	rm -r small/wal/* small/state/tail/* small/state/SUMS
}
teardown() { common_teardown; }

# immutable ARCHIVE: what is in it, but for what may change.
immutable() {
	(cd "$1" && find KEVO-ARCHIVE epochs wal orphans state/tail -type f \
		! -name '.tmp.*' -exec cksum {} + | sort -k3)
}

# Whatever was struck: no wrong file, and then all of it.
send_once() {
	rm -rf ar p2.kv
	cp -a small ar
	struck "$1" ar /dev/null kevo-walship send p.kv --to ar --slot none ||
		return
	run kevo-walship verify -q ar
	[ "$status" -eq 0 ] || { cat told; echo "$output"; kill -TERM $$; }
	for f in ar/wal/*/*.seg; do
		[ ! -e "$f" ] || cmp "$f" "whole/${f#ar/}" || kill -TERM $$
	done
	run kevo-walship send p.kv --to ar --slot none
	[ "$status" -eq 0 ] || { cat told; echo "$output"; kill -TERM $$; }
	cmp <(immutable ar) <(immutable whole) || { cat told; kill -TERM $$; }
}

create_once() {
	rm -rf ar
	struck "$1" ar /dev/null kevo-walship send p.kv --to ar --slot none ||
		return
	run kevo-walship send p.kv --to ar --slot none
	[ "$status" -eq 0 ] || { cat told; echo "$output"; kill -TERM $$; }
	cmp <(immutable ar) <(immutable whole) || { cat told; kill -TERM $$; }
}

recv_once() {
	rm -rf ar in
	cp -a small ar
	mkdir in
	cp whole/wal/*/* whole/state/tail/* in/
	struck "$1" "$2" /dev/null kevo-walship recv --spool in --to ar || return
	run kevo-walship recv --spool in --to ar
	[ "$status" -eq 0 ] || { cat told; echo "$output"; kill -TERM $$; }
	[ -z "$(ls in)" ] || { cat told; ls in; kill -TERM $$; }
	cmp <(immutable ar) <(immutable whole) || { cat told; kill -TERM $$; }
}
recv_archive() { recv_once "$1" ar; }
recv_spool() { recv_once "$1" in; }

# A replica is whole commits up to some point, and then all of them.
apply_once() {
	rm -rf r.kv
	[ ! -e before.kv ] || cp -a before.kv r.kv
	struck "$1" r.kv /dev/null kevo-walship apply whole --into r.kv || return
	run kevo-walship apply whole --into r.kv
	[ "$status" -eq 0 ] || { cat told; echo "$output"; kill -TERM $$; }
	same_data p.kv r.kv || { cat told; kill -TERM $$; }
	[ "$(kevo-walship pos r.kv)" = "$(kevo-walship pos p.kv)" ] ||
		{ cat told; kill -TERM $$; }
}

@test "kill: send, at each call" {
	every kill send_once
	every killafter send_once
}

@test "kill: send that makes the archive, at each call" {
	every kill create_once
	every killafter create_once
}

@test "kill: recv --spool, at each call to archive and spool" {
	every kill recv_archive
	every killafter recv_archive
	every kill recv_spool
}

@test "kill: apply, at each call" {
	ok kevo-walship apply whole --into before.kv --until-seq 5
	every kill apply_once
	every killafter apply_once
}

@test "kill: apply that makes the replica, at each call" {
	every kill apply_once
}

@test "full: a disk that is full, and errors of the system, at each call" {
	every ENOSPC send_once
	every EIO send_once
	every ENOSPC recv_archive
	ok kevo-walship apply whole --into before.kv --until-seq 5
	every ENOSPC apply_once
}

@test "full: a full disk is said to be one, and nothing is published" {
	local k=1
	cp -a small ar
	LD_PRELOAD=$KEVO_BUILD/tests/libfault.so KEVO_FAULT_DIR=$PWD/ar \
		KEVO_FAULT=pwrite:2:ENOSPC:sticky run -74 --separate-stderr \
		kevo-walship send p.kv --to ar --slot none
	matches "$stderr" 'kevo-walship: nospace: *'
	equal segments "$(find ar/wal -type f)" ''
}

@test "links: without hard links names are still given once" {
	rm -rf ar
	LD_PRELOAD=$KEVO_BUILD/tests/libfault.so KEVO_FAULT_DIR=$PWD/ar \
		KEVO_FAULT=link:1:EMLINK:sticky \
		run -0 kevo-walship send p.kv --to ar --slot none
	cmp <(immutable ar) <(immutable whole)
	# A place that was taken and not filled.
	seg=(ar/wal/00000001/*-000000000000000b-*.seg)
	: >"${seg[0]}"
	ok kevo-walship send p.kv --to ar --slot none
	cmp <(immutable ar) <(immutable whole)
	: >"${seg[0]}"
	mkdir in
	cp whole/wal/*/*.seg whole/state/tail/* in/
	ok kevo-walship recv --spool in --to ar
	cmp <(immutable ar) <(immutable whole)
}
