#!/usr/bin/env bats
# shellcheck disable=SC2030,SC2031,SC2154
# kevo-walship send and recv: the log through pipes.

load stream
setup() {
	common_setup
	records 100 | kevo-put -i -b 7 p.kv
}
teardown() { common_teardown; }

@test "stream: a replica gets what it lacks, and nothing twice" {
	replica p.kv r.kv
	records 200 n | kevo-put -i -b 9 p.kv
	kevo-delete p.kv k7
	kevo-walship send p.kv --to - >all.ship
	ok kevo-walship recv --apply r.kv <all.ship
	same p.kv r.kv
	ok kevo-walship recv --apply r.kv <all.ship
	ok kevo-walship recv - --apply r.kv <all.ship
	same p.kv r.kv
	kevo-check -q r.kv
}

@test "stream: it says nothing, but with -v how far it came" {
	ok kevo-walship send p.kv --to - >/dev/null
	run -0 --separate-stderr kevo-walship send -v p.kv --to -
	matches "$stderr" 'kevo-walship: sent 15 commits, * up to 1.*:15:*'
}

@test "stream: a replica is written by its source alone" {
	replica p.kv r.kv
	fails 77 '*' kevo-put r.kv a b
	kevo-walship send p.kv --to - >all.ship
	fails 77 '*' kevo-walship recv --apply p.kv <all.ship
}

# all_segments: each that p.kv has completed is in arc, byte for byte.
all_segments() {
	local seg sealed=0
	for seg in arc/wal/*/*.seg; do
		sealed=$((sealed + 1))
		cmp "$seg" "$(segments p.kv | sed -n "${sealed}p")" || return
	done
	equal 'sealed segments' "$sealed" $(($(segments p.kv | wc -l) - 1))
}

@test "stream: an archive gets segments byte for byte, and a tail" {
	kevo-config p.kv set memtable_bytes=64K wal_keep=1G
	kevo-compact --full p.kv
	records 3000 m | kevo-put -i -b 10 p.kv
	[ "$(segments p.kv | wc -l)" -gt 2 ]
	ok kevo-walship recv --to arc < <(kevo-walship send p.kv --to -)
	all_segments
	tail=$(echo arc/state/tail/*.open)
	cmp -n "$(stat -c %s "$tail")" "$tail" \
		"$(segments p.kv | tail -n 1)"
	kevo-walship verify -q arc/wal/*/*.seg "$tail"
	# Again, and then more.
	ok kevo-walship recv --to arc < <(kevo-walship send p.kv --to -)
	records 2000 z | kevo-put -i -b 10 p.kv
	ok kevo-walship recv --to arc < <(kevo-walship send p.kv --to -)
	all_segments
}

@test "stream: cut anywhere, it is 75, and the next one goes on" {
	replica p.kv r.kv
	cp -a r.kv before
	records 60 n | kevo-put -i -b 3 p.kv
	kevo-walship send p.kv --to - >all.ship
	size=$(stat -c %s all.ship)
	cut=0
	while [ "$cut" -lt "$size" ]; do
		head -c "$cut" all.ship >cut.ship
		fails 75 'short: stream: ended after frame * the * commit* used; *' \
			kevo-walship recv --apply r.kv <cut.ship
		cut=$((cut + 397))
	done
	ok kevo-walship recv --apply r.kv <all.ship
	same p.kv r.kv
}

@test "stream: it can be verified without a replica" {
	kevo-config p.kv set memtable_bytes=64K wal_keep=1G
	records 3000 m | kevo-put -i -b 10 p.kv
	replica p.kv r.kv
	ok kevo-walship promote r.kv
	kevo-walship send r.kv --to - >all.ship
	last=$(version r.kv)
	run -0 kevo-walship verify all.ship
	equal 'what is in it' "$output" \
		"all.ship: stream: epoch 2, commits 1..$last"
	ok kevo-walship verify -q - < <(cat all.ship all.ship)
	size=$(stat -c %s all.ship)
	for at in 11 40 150 $((size / 2)) $((size - 1)); do
		head -c "$at" all.ship >torn
		fails 75 'short: *' kevo-walship verify -q - <torn
		cp all.ship bad
		flip bad "$at"
		fails 80 'corrupt: *' kevo-walship verify -q bad
	done
	kevo-put q.kv a b
	kevo-walship send q.kv --to - >other
	fails 83 'wrong-db: *' kevo-walship verify -q - \
		< <(cat all.ship other)
}

@test "stream: damaged anywhere, it is 80, and nothing wrong is applied" {
	replica p.kv r.kv
	records 60 n | kevo-put -i -b 3 p.kv
	kevo-walship send p.kv --to - >all.ship
	size=$(stat -c %s all.ship)
	at=0
	while [ "$at" -lt "$size" ]; do
		cp all.ship bad.ship
		flip bad.ship "$at"
		fails 80 'corrupt: stream: *' \
			kevo-walship recv --apply r.kv <bad.ship
		kevo-export p.kv >all.tsv
		kevo-export r.kv | comm -23 - all.tsv >extra
		[ ! -s extra ]
		at=$((at + 401))
	done
	fails 80 'corrupt: stream: does not begin with KEVOSHIP 1*' \
		kevo-walship recv --apply r.kv < <(echo hello)
	ok kevo-walship recv --apply r.kv <all.ship
	same p.kv r.kv
}

@test "stream: another database is 83, a gap is 81" {
	replica p.kv r.kv
	records 5 n | kevo-put -i -b 1 p.kv
	from=$(position p.kv)
	records 5 o | kevo-put -i -b 1 p.kv
	kevo-put q.kv a b
	kevo-walship send q.kv --to - >q.ship
	fails 83 'wrong-db: stream: the input is *, r.kv is *' \
		kevo-walship recv --apply r.kv <q.ship
	kevo-walship send p.kv --to - --from "$from" >late.ship
	fails 81 'gap: r.kv: need 16, the stream begins with 21; *' \
		kevo-walship recv --apply r.kv <late.ship
	replica p.kv s.kv
	kevo-walship recv --to arc < <(kevo-walship send s.kv --to -)
	ok kevo-walship recv --to arc <late.ship
	fails 83 'wrong-db: stream: *' kevo-walship recv --to arc <q.ship
	fails 82 '*never had the position*' \
		kevo-walship send q.kv --to - --from "$from"
}

@test "stream: two writers, or a primary that was rolled back, are 82" {
	cp -a p.kv twin.kv
	kevo-put p.kv a here
	kevo-put twin.kv a there
	replica p.kv r.kv
	kevo-walship send twin.kv --to - >twin.ship
	fails 82 'fork: *16*' kevo-walship recv --apply r.kv <twin.ship
	kevo-put twin.kv b there
	kevo-walship send twin.kv --to - >twin.ship
	fails 82 'fork: *16*' kevo-walship recv --apply r.kv <twin.ship
	cp -a p.kv old.kv
	kevo-put p.kv c d
	kevo-walship recv --apply r.kv < <(kevo-walship send p.kv --to -)
	same p.kv r.kv
	kevo-walship send old.kv --to - >old.ship
	ok kevo-walship recv --apply r.kv <old.ship
	fails 82 'fork: r.kv: we have commit 17, the primary only 16 *' \
		kevo-walship recv --apply r.kv \
		--via 'kevo-walship send old.kv --to -'
	same p.kv r.kv
}

@test "stream: streams may stand one behind the other" {
	replica p.kv r.kv
	kevo-put p.kv a b
	kevo-walship send p.kv --to - >one.ship
	from=$(position p.kv)
	kevo-put p.kv c d
	kevo-walship send p.kv --to - --from "$from" >two.ship
	[ "$(stat -c %s two.ship)" -lt "$(stat -c %s one.ship)" ]
	ok kevo-walship recv --apply r.kv < <(cat one.ship two.ship)
	same p.kv r.kv
}

@test "stream: a large commit, and many small ones" {
	replica p.kv r.kv
	head -c 30000000 /dev/urandom | kevo-put -i p.kv big
	records 20000 s | kevo-put -i -b 20000 p.kv
	records 2000 t | kevo-put --sync=none -i -b 1 p.kv
	kevo-put p.kv last one
	kevo-walship recv --apply r.kv < <(kevo-walship send p.kv --to -)
	same p.kv r.kv
}

@test "stream: what is not on disk is not sent" {
	replica p.kv r.kv
	kevo-put --sync=none p.kv a b
	kevo-walship recv --apply r.kv < <(kevo-walship send p.kv --to -)
	no kevo-get r.kv a
	kevo-put p.kv c d
	kevo-walship recv --apply r.kv < <(kevo-walship send p.kv --to -)
	is b kevo-get r.kv a
}

@test "stream: --bwlimit holds the sender back, --seal-after completes" {
	replica p.kv r.kv
	kevo-config p.kv set wal_keep=1G
	head -c 200000 /dev/urandom | kevo-put -i p.kv big
	began=$(date +%s%N)
	kevo-walship recv --apply r.kv \
		< <(kevo-walship send p.kv --to - --bwlimit 400K)
	took=$((($(date +%s%N) - began) / 1000000))
	[ "$took" -ge 400 ]
	same p.kv r.kv
	[ "$(segments p.kv | wc -l)" -eq 1 ]
	kevo-walship recv --to arc \
		< <(kevo-walship send p.kv --to - --seal-after 1h)
	[ "$(segments p.kv | wc -l)" -eq 1 ]
	kevo-walship recv --to arc \
		< <(kevo-walship send p.kv --to - --seal-after 0)
	[ "$(segments p.kv | wc -l)" -gt 1 ]
	cmp arc/wal/*/*.seg "$(segments p.kv | head -n 1)"
}

@test "stream: wrong words are 64" {
	run -64 kevo-walship send p.kv
	run -64 kevo-walship send --to -
	run -64 kevo-walship send p.kv --to - --from here
	run -64 kevo-walship send p.kv --to - --slot ../x
	run -64 kevo-walship send p.kv --to - --acks 99
	run -64 kevo-walship send p.kv --to - --bwlimit 0
	run -64 kevo-walship recv </dev/null
	run -64 kevo-walship recv --apply r.kv --to arc </dev/null
	run -64 kevo-walship recv --apply r.kv --follow </dev/null
	run -64 kevo-walship recv --apply r.kv --via true - </dev/null
	run -64 kevo-walship recv --apply r.kv stream </dev/null
	fails 66 'none.kv: *' kevo-walship send none.kv --to -
	fails 66 'none.kv: *' kevo-walship recv --apply none.kv
	fails 66 'p.kv: no slot r9*' kevo-walship send p.kv --to - --slot r9
}

@test "stream: who reads no more ends the sender as a pipe does" {
	head -c 3000000 /dev/urandom | kevo-put -i p.kv big
	(
		status=0
		kevo-walship send p.kv --to - || status=$?
		echo "$status" >status
	) 2>err | head -c 10 >/dev/null
	equal status "$(cat status)" 141
	[ ! -s err ]
}
