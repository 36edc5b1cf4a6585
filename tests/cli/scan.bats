#!/usr/bin/env bats
# shellcheck disable=SC2016,SC2030,SC2031,SC2154
# kevo-scan: records in key order.

load common
shopt -s extglob
setup() { common_setup; }
teardown() { common_teardown; }

some() {
	printf '%s\n' b1 a1 a3 c a2 b2 | awk -v OFS='\t' '{ print $1, "v" $1 }' |
		kevo-put -i a.kv
}

# keys WANTED OPTION...: the keys of a scan, in one line.
keys() {
	local want=$1
	shift
	ok kevo-scan -k "$@" || return
	equal "$*" "$(tr '\n' ' ' <<<"$output")" "$want "
}

nothing() {
	is '' kevo-scan "$@"
	run -1 --separate-stderr kevo-scan -e "$@"
	equal "$*" "$output$stderr" ''
}

@test "scan: all records, or those of a prefix, in byte order" {
	some
	is $'a1\tva1\na2\tva2\na3\tva3\nb1\tvb1\nb2\tvb2\nc\tvc' kevo-scan a.kv
	keys 'a1 a2 a3' a.kv a
	keys 'a1 a2 a3' -P a a.kv
	keys 'a1 a2 a3 b1 b2 c' a.kv ''
	keys 'a1 a2 a3 b1 b2 c' -P '' a.kv
	nothing a.kv x
	printf '%s\t00\n' ff 00 7f 80 0000 c3a4 5a 61 ff00 | kevo-put -i -f hex b.kv
	equal order "$(kevo-scan -k -f hex b.kv | tr '\n' ' ')" \
		'00 0000 5a 61 7f 80 c3a4 ff ff00 '
	equal prefix "$(kevo-scan -E -k -f hex b.kv '\xff' | tr '\n' ' ')" \
		'ff ff00 '
	equal prefix "$(kevo-scan -E -k -f hex b.kv '\x00' | tr '\n' ' ')" \
		'00 0000 '
	kevo-put a.kv -x v
	keys -x a.kv -x
}

@test "scan: --from, --to and --after bound the keys" {
	some
	keys 'a2 a3 b1' --from a2 --to b2 a.kv
	keys 'a3 b1 b2 c' --after=a2 a.kv
	keys 'b1 b2 c' --after=a9 a.kv
	keys 'a1 a2 a3 b1 b2 c' --after= a.kv
	keys 'a1 a2 a3 b1 b2 c' --from= a.kv
	keys 'a1 a2' --to=a3 a.kv
	keys 'a2' --from a2 --to a3 a.kv
	keys 'a2 a3' --from a2 a.kv a
	keys 'a1 a2' --to a3 a.kv a
	keys 'a3' --from a1 --after a2 --to b a.kv
	nothing --from b --to a a.kv
	nothing --from x a.kv
	nothing --from a2 --to a2 a.kv
	nothing --from b a.kv a
}

@test "scan: pages by --after show each record once" {
	local after='' page
	seq 25 | sed 's/$/\tv/' | kevo-put -i a.kv
	while page=$(kevo-scan -e -k -l 4 --after="$after" a.kv); do
		printf '%s\n' "$page"
		after=${page##*$'\n'}
	done >pages
	kevo-scan -k a.kv | cmp - pages
}

@test "scan: -r goes backwards, -l limits, -c counts" {
	some
	keys 'c b2 b1 a3 a2 a1' -r a.kv
	keys 'a3 a2 a1' -r a.kv a
	keys 'b1 a3 a2' -r --from a2 --to b2 a.kv
	keys 'c b2' -r -l 2 a.kv
	keys 'a1 a2' -l 2 a.kv
	nothing -l 0 a.kv
	is 6 kevo-scan -c a.kv
	is 3 kevo-scan --count a.kv a
	is 2 kevo-scan -c -l 2 a.kv
	is 0 kevo-scan -c a.kv x
	run -1 --separate-stderr kevo-scan -c -e a.kv x
	ok kevo-scan -e -c a.kv a
	kevo-put -E a.kv '\xff\xff' v
	equal last "$(kevo-scan -r -k -l 1 -f hex a.kv)" ffff
	equal last "$(kevo-scan -E -r -k -l 1 -f hex a.kv '\xff')" ffff
}

@test "scan: --suffix and --glob filter" {
	printf '%s\tv\n' user:1:mail user:2:mail user:2:name 'x*y' xzy 'a/b' |
		kevo-put -i a.kv
	keys 'user:1:mail user:2:mail' --suffix=:mail a.kv
	keys 'user:2:mail' --suffix=:mail a.kv user:2
	keys 'user:1:mail user:2:mail' --glob 'user:*:mail' a.kv
	keys 'user:2:mail user:2:name' --glob 'user:[2-9]:*' a.kv
	keys 'user:1:mail' --glob 'user:[!2]:*' a.kv
	keys 'x*y xzy' --glob 'x?y' a.kv
	keys 'x*y' --glob 'x\*y' a.kv
	keys 'a/b' --glob '*/*' a.kv
	keys 'a/b' --glob 'a*' a.kv
	nothing --glob user a.kv
	is 2 kevo-scan -c --suffix :mail a.kv
	keys 'user:1:mail' -l 1 --suffix :mail a.kv
}

@test "scan: keys or values alone, and versions" {
	some
	is $'va1\nva2\nva3' kevo-scan --values a.kv a
	is $'a1\na2\na3' kevo-scan -k a.kv a
	ok kevo-scan -m a.kv c
	matches "$output" $'c\t+([0-9])\tvc'
	ok kevo-scan -m -f jsonl a.kv c
	matches "$output" '{"key":"c","value":"vc","version":+([0-9])}'
	is $'vb1\nvb2' kevo-scan --values -f text a.kv b
	equal nul "$(kevo-scan -k -0 a.kv b | tr '\0' ,)" b1,b2,
	equal nul "$(kevo-scan --values -0 a.kv b | tr '\0' ,)" vb1,vb2,
	equal raw "$(kevo-scan -f raw -l 1 a.kv b | hex)" 766231
	fails 64 '*raw*' kevo-scan -f raw a.kv
	fails 64 '*' kevo-scan -k --values a.kv
}

@test "scan: wrong options and operands are 64, a missing database 66" {
	some
	fails 64 '*' kevo-scan
	fails 64 '*options go before DB*' kevo-scan a.kv a -k
	fails 64 '*' kevo-scan a.kv a b
	fails 64 '*-l*' kevo-scan -l x a.kv
	fails 64 '*-l*' kevo-scan -l -1 a.kv
	fails 64 '*nonsense*' kevo-scan -f nonsense a.kv
	fails 64 '*' kevo-scan -P a a.kv a
	fails 66 'no.kv: no such database*' kevo-scan no.kv
	[ ! -e no.kv ]
	fails 64 '*KEVO_DB*' kevo-scan @
	KEVO_DB=a.kv is 6 kevo-scan -c @
}

@test "scan: a deleted or expired key is not there, in either direction" {
	some
	kevo-delete a.kv a2 c
	kevo-put -t 1 a.kv b1 short
	kevo-put --if-present -t 1 a.kv a1 short
	wait_for bash -c '! kevo-get a.kv a1'
	keys 'a3 b2' a.kv
	keys 'b2 a3' -r a.kv
	is 2 kevo-scan -c a.kv
}

@test "scan: one snapshot for the whole run, and no lock" {
	kevo-init -q --set memtable_bytes=256K --set sync=none a.kv
	seq 20000 | awk -v OFS='\t' '{ print $1, "old" }' | kevo-put -1 -i a.kv
	mkfifo out
	kevo-scan a.kv >out 3>&- &
	child=$!
	children+=("$child")
	exec 7<out
	hear
	# The scan is under way and its pipe is full; others go on.
	seq 20000 | awk -v OFS='\t' '{ print $1, "new" }' |
		kevo-put -w 0 -1 -i a.kv
	kevo-put -w 0 a.kv 00 new
	kevo-delete -w 0 a.kv 777
	is new kevo-get a.kv 20000
	cat <&7 >rest
	exec 7<&-
	ends 0
	equal new "$(grep -c new rest)" 0
	equal lines "$(wc -l <rest)" 19999
}

@test "scan: output is flushed as it comes, a closed pipe ends it silently" {
	seq 50000 | sed 's/$/\tsome value/' | kevo-put -i --sync=none a.kv
	run -0 --separate-stderr bash -c 'kevo-scan a.kv | head -n 1
		[ "${PIPESTATUS[0]}" -eq 141 ]'
	equal 'standard error' "$stderr" ''
	run -0 --separate-stderr bash -c 'trap "" PIPE
		kevo-scan a.kv | head -n 1; [ "${PIPESTATUS[0]}" -eq 141 ]'
	equal 'standard error' "$stderr" ''
	run -74 --separate-stderr bash -c 'kevo-scan a.kv >/dev/full'
	matches "$stderr" 'kevo-scan: *No space left on device*'
	run -74 --separate-stderr bash -c 'kevo-scan -c a.kv >/dev/full'
	ok kevo-put -w 0 a.kv k v
}

@test "scan: a signal ends a long run, and the database does not notice" {
	seq 50000 | sed 's/$/\tsome value/' | kevo-put -i --sync=none a.kv
	mkfifo out
	env --default-signal=INT kevo-scan a.kv >out 3>&- 2>err &
	child=$!
	children+=("$child")
	exec 7<out
	hear
	kill -INT "$child"
	cat <&7 >rest
	exec 7<&-
	ends 130
	equal 'standard error' "$(cat err)" ''
	ok kevo-put -w 0 a.kv k v
	is 50001 kevo-scan -c a.kv
}

@test "scan: a terminal sees no control characters" {
	need_terminal
	printf 'k\033[31m\tv\001\302\233\342\200\256\n' | kevo-put -i -f text a.kv
	local format
	for format in tsv text nul jsonl csv raw; do
		terminal "kevo-scan -l 1 -f $format a.kv" >out 2>&1
		# What ends the fields of nul is no control of any terminal.
		if [ "$format" = nul ]; then
			equal nul "$(tr -d '\n\t\0 -~' <out | hex)" ''
		elif [ "$format" = raw ]; then
			grep -q $'\001' out
		else
			equal "$format" "$(tr -d '\n\t -~' <out | hex)" ''
		fi
	done
	# It decodes the same.
	terminal 'kevo-scan a.kv' | kevo-put -i b.kv
	kevo-scan -f hex a.kv | cmp - <(kevo-scan -f hex b.kv)
}

@test "scan: --at shows what an earlier commit showed" {
	local v
	kevo-put a.kv k old
	kevo-put a.kv gone x
	v=$(kevo-put --print-version a.kv z last)
	kevo-scan a.kv >before
	kevo-put a.kv k new
	kevo-delete a.kv gone
	kevo-put a.kv later y
	kevo-scan --at "$v" a.kv | cmp - before
	equal versions "$(kevo-scan --values --at 1 a.kv)" old
	equal count "$(kevo-scan -c --at 0 a.kv)" 0
	rm -r a.kv/shm
	kevo-scan -r --at "$v" a.kv | tac | cmp - before
	fails 69 '*version 99 is not there yet; the newest is 6*' \
		kevo-scan --at 99 a.kv
	fails 64 '*--at*' kevo-scan --at x a.kv
}
