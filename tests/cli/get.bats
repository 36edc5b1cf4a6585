#!/usr/bin/env bats
# shellcheck disable=SC1003,SC2016,SC2094,SC2154
# kevo-get: the value of one key, or the records of many.

load common
shopt -s extglob
setup() { common_setup; }
teardown() { common_teardown; }

some() {
	printf 'a\t1\nb\t2\nc\tx y\nd\t\n-5\tminus\n' | kevo-put -i a.kv
}

@test "get: the value's bytes, nothing added" {
	some
	equal value "$(kevo-get a.kv a | hex)" 31
	equal value "$(kevo-get a.kv c | hex)" 782079
	equal empty "$(kevo-get a.kv d | hex)" ''
	is minus kevo-get a.kv -5
	ok kevo-get -q a.kv d
	printf '\0\1\r\n\377\n' >odd
	kevo-put -i a.kv odd <odd
	kevo-get a.kv odd | cmp - odd
	kevo-get -f raw a.kv odd | cmp - odd
	head -c 3000000 /dev/urandom >big
	kevo-put -i a.kv big <big
	kevo-get a.kv big | cmp - big
}

@test "get: an absent key is a silent 1; -v says so; --default answers" {
	some
	no kevo-get a.kv nothing
	no kevo-get a.kv aa
	run -1 --separate-stderr kevo-get -v a.kv nothing
	equal output "$output" ''
	matches "$stderr" 'kevo-get: *nothing*'
	is 0 kevo-get --default=0 a.kv nothing
	is '' kevo-get --default= a.kv nothing
	is 1 kevo-get --default=0 a.kv a
	equal default "$(kevo-get -E --default='\x00\t' a.kv no | hex)" 0009
	kevo-delete a.kv a
	no kevo-get a.kv a
}

@test "get: wrong operands are 64; several keys need a format" {
	some
	fails 64 'DB is missing*' kevo-get
	fails 64 'KEY is missing*-i*' kevo-get a.kv
	fails 64 '*' kevo-get a.kv a b
	fails 64 '*options go before DB*' kevo-get a.kv a -q
	fails 64 '*options go before DB*' kevo-get a.kv a -f json
	fails 64 '*options go before DB*hint: *--*' kevo-get -f tsv a.kv a -q
	fails 64 '*options go before DB*' kevo-get -f tsv a.kv a --format=hex
	kevo-put a.kv -q dash
	is dash kevo-get a.kv -q
	is $'a\t1\n-q\tdash' kevo-get -f tsv -- a.kv a -q
	fails 64 '*' kevo-get -f raw a.kv a b
	fails 64 '*' kevo-get -f raw -i a.kv </dev/null
	fails 64 '*key*' kevo-get a.kv ''
	fails 64 '*key*' kevo-get -f tsv a.kv a ''
	fails 64 '*nonsense*' kevo-get -f nonsense a.kv a
	fails 64 '*operand*' kevo-get -i a.kv a </dev/null
}

@test "get: -f, -0 and -m make records, also of one key" {
	some
	is $'a\t1' kevo-get -f tsv a.kv a
	is $'b\t2\na\t1\n-5\tminus' kevo-get -f tsv a.kv b a -5
	equal nul "$(kevo-get -0 a.kv a c | hex)" 61003100630078207900
	ok kevo-get -m a.kv a
	matches "$output" $'a\t+([0-9])\t1'
	is '{"key":"c","value":"x y"}' kevo-get --format=jsonl a.kv c
	is '{"key":"a","value":1}' kevo-get -j -f jsonl a.kv a
	is $'key,value\na,1' kevo-get -f csv a.kv a
	is $'61\t31' kevo-get -f hex a.kv a
}

@test "get: of several keys, the missing are skipped, and then it is 1" {
	some
	run -1 --separate-stderr kevo-get -f tsv a.kv a nothing b
	equal output "$output" $'a\t1\nb\t2'
	equal 'standard error' "$stderr" ''
	run -1 --separate-stderr piped 'a\nnothing\nb\n' kevo-get -i a.kv
	equal output "$output" $'a\t1\nb\t2'
	is '' piped '' kevo-get -i a.kv
}

@test "get: -i reads keys, in escapes or NUL-ended or as told" {
	some
	kevo-put -E a.kv 'k\t\n\\' odd
	kevo-put a.kv 'p\q' back
	is $'k\\t\\n\\\\\todd\na\t1' piped 'k\\t\\n\\\\\na\n' kevo-get -i a.kv
	is $'p\\\\q\tback' piped 'p\\q\n' kevo-get -i --input-format=text a.kv
	is $'a\t1' piped '61\n' kevo-get -i --input-format hex a.kv
	is $'a\t1' piped 'YQ==\n' kevo-get -i --input-format base64 a.kv
	is $'a\t1' piped '{"key":"a"}\n' kevo-get -i --input-format=jsonl a.kv
	# With NUL on both sides.
	printf 'k\t\n\\\0a\0' | kevo-get -i -0 a.kv |
		cmp - <(printf 'k\t\n\\\0odd\0a\0001\0')
	# What a scan writes is a list of its keys.
	kevo-scan a.kv >all
	kevo-get -i a.kv <all | cmp - all
	run -65 --separate-stderr piped 'a\n\nb\n' kevo-get -i a.kv
	matches "$stderr" 'kevo-get: (stdin):2: *'
	equal output "$output" $'a\t1'
}

@test "get: does not read standard input unless -i" {
	some
	printf '%s\n' a b c >list
	while read -r key; do
		kevo-get a.kv "$key"
		echo
	done <list >out
	equal values "$(cat out)" $'1\n2\nx y'
}

@test "get: is a coprocess: answers at once, and with new data" {
	some
	converse kevo-get -i a.kv
	ask a
	hear
	equal answer "$line" $'a\t1'
	kevo-put a.kv a new
	ask a
	hear
	equal answer "$line" $'a\tnew'
	# A key that is absent keeps quiet, and the rest is in order.
	printf 'nothing\nb\nc\n' >&8
	hear
	equal answer "$line" $'b\t2'
	hear
	equal answer "$line" $'c\tx y'
	hang_up
	ends 1
}

@test "get: operands are read from one snapshot while others write" {
	local n
	printf 'x\t0\ny\t0\n' | kevo-put -1 -i a.kv
	(
		for n in {1..150}; do
			printf 'x\t%d\ny\t%d\n' "$n" "$n" |
				kevo-put -1 -i --sync=none a.kv
		done
	) 3>&- &
	child=$!
	children+=("$child")
	while kill -0 "$child" 2>/dev/null; do
		kevo-get -f tsv a.kv x y
	done >seen
	ends 0
	awk '$1 == "x" { x = $2 } $1 == "y" && $2 != x { exit 1 }' seen
	[ "$(sort -u seen | wc -l)" -gt 2 ]
}

@test "get: no database is 66 and stays absent; @ is KEVO_DB" {
	some
	fails 66 'no.kv: no such database*' kevo-get no.kv a
	[ ! -e no.kv ]
	fails 66 'no/no.kv: no such database*' kevo-get no/no.kv a
	fails 64 '*KEVO_DB*' kevo-get @ a
	KEVO_DB=a.kv is 1 kevo-get @ a
	KEVO_DB=$PWD/a.kv is 1 kevo-get @ a
	KEVO_DB=no.kv fails 66 'no.kv: no such database*' kevo-get @ a
}

@test "get: a full standard output is 74, a closed one 141" {
	some
	head -c 200000 /dev/zero | kevo-put -i a.kv big
	run -74 --separate-stderr bash -c 'kevo-get a.kv a >/dev/full'
	matches "$stderr" 'kevo-get: *No space left on device*'
	run -74 --separate-stderr bash -c \
		'echo a | kevo-get -i a.kv >/dev/full'
	run -74 --separate-stderr bash -c 'kevo-get a.kv a >&-'
	matches "$stderr" 'kevo-get: *'
	run -0 --separate-stderr bash -c 'kevo-get a.kv big | head -c 1 | wc -c
		[ "${PIPESTATUS[0]}" -eq 141 ]'
	equal 'standard error' "$stderr" ''
	run -0 --separate-stderr bash -c 'trap "" PIPE
		kevo-get a.kv big | head -c 1 | wc -c
		[ "${PIPESTATUS[0]}" -eq 141 ]'
	equal 'standard error' "$stderr" ''
}

@test "get: a terminal sees no control characters, but for -f raw" {
	need_terminal
	printf 'red\033[31m\001\177\302\233\342\200\256\377' |
		kevo-put -i a.kv odd
	kevo-put a.kv plain text
	kevo-put a.kv both $'one\ntwo\n'
	terminal 'kevo-get a.kv odd' >out
	run -0 cat out
	matches "$output" 'red\\x1b\[31m\\x01\\x7f*'
	equal 'raw bytes' "$(tr -d '\n -~' <out | hex)" ''
	terminal 'kevo-get a.kv plain' | cmp - <(echo text)
	terminal 'kevo-get a.kv both' | cmp - <(printf 'one\ntwo\n')
	terminal 'kevo-get -f raw a.kv plain' | cmp - <(printf text)
	terminal 'kevo-get -f raw a.kv odd' >out
	kevo-get a.kv odd | cmp - out
	terminal 'kevo-get -f text a.kv odd' >out
	[ "$(tr -d '\n\t -~' <out | wc -c)" -eq 0 ]
}
