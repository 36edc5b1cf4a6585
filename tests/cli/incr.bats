#!/usr/bin/env bats
# shellcheck disable=SC2154
# kevo-incr: numbers.

load common
shopt -s extglob
setup() { common_setup; }
teardown() { common_teardown; }

@test "incr: adds, from nothing, and prints the result" {
	is 1 kevo-incr a.kv n
	is 2 kevo-incr a.kv n
	is 12 kevo-incr a.kv n 10
	is 7 kevo-incr a.kv n -5
	is -3 kevo-incr a.kv n -10
	is -3 kevo-incr a.kv n 0
	is -3 kevo-get a.kv n
	is -7 kevo-incr a.kv -m -7
	kevo-put a.kv n 0041
	is 42 kevo-incr a.kv n
	is 1 kevo-incr -E a.kv 'x\x00'
	equal key "$(kevo-scan -k -f hex a.kv x)" 7800
}

@test "incr: not a number, or out of range, is 65 and changes nothing" {
	local value
	for value in '' x 1x ' 1' '1 ' 1.5 + - 0x1 99999999999999999999 1e3; do
		kevo-put a.kv n "$value"
		fails 65 '*n*' kevo-incr a.kv n
		is "$value" kevo-get a.kv n
	done
	kevo-put a.kv n 9223372036854775807
	fails 65 '*n*' kevo-incr a.kv n
	is 9223372036854775806 kevo-incr a.kv n -1
	kevo-put a.kv n -9223372036854775808
	fails 65 '*n*' kevo-incr a.kv n -1
	is -9223372036854775808 kevo-get a.kv n
	is -1 kevo-incr a.kv n 9223372036854775807
}

@test "incr: wrong operands are 64" {
	fails 64 '*' kevo-incr
	fails 64 '*' kevo-incr a.kv
	fails 64 '*key*' kevo-incr a.kv ''
	for n in x 1.5 '' 99999999999999999999 1x; do
		fails 64 '*' kevo-incr a.kv k "$n"
	done
	fails 64 '*options go before DB*' kevo-incr a.kv k 1 -q
	fails 64 '*' kevo-incr a.kv k 1 2
	fails 64 '*KEVO_DB*' kevo-incr @ k
	[ ! -e a.kv ]
	KEVO_DB=a.kv is 1 kevo-incr @ k
}

@test "incr: -t applies only when the key is created" {
	is 1 kevo-incr -t 1h a.kv n
	expires=$(kevo-get -m -f jsonl a.kv n)
	matches "$expires" '*"expires":+([0-9.])}'
	is 2 kevo-incr -t 7d a.kv n
	is 3 kevo-incr a.kv n
	ok kevo-get -m -f jsonl a.kv n
	equal expiry "${output##*expires}" "${expires##*expires}"
	is 1 kevo-incr a.kv forever
	is 2 kevo-incr -t 1 a.kv forever
	run -0 kevo-get -m -f jsonl a.kv forever
	[[ $output != *expires* ]]
	is 1 kevo-incr -t 1 a.kv short
	wait_for bash -c '! kevo-get a.kv short'
	is 5 kevo-incr a.kv short 5
}

@test "incr: a busy lock is 75 and names its holder" {
	kevo-init -q a.kv
	hold a.kv kevo-put
	fails 75 "a.kv: busy: locked by kevo-put, pid $holder, for * s*" \
		kevo-incr -w 0 a.kv n
	KEVO_WAIT=0 fails 75 "a.kv: busy: *" kevo-incr a.kv n
	release
	is 1 kevo-incr a.kv n
	run -74 --separate-stderr bash -c 'kevo-incr a.kv n >/dev/full'
	matches "$stderr" 'kevo-incr: *No space left on device*'
}
