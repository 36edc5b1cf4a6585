#!/usr/bin/env bats
# shellcheck disable=SC2154
# kevo-delete: keys that are named, listed or in a range.

load common
shopt -s extglob
setup() { common_setup; }
teardown() { common_teardown; }

some() {
	rm -rf a.kv
	printf '%s\n' a1 a2 a3 b1 b2 c | awk -v OFS='\t' '{ print $1, "v" NR }' |
		kevo-put -i a.kv
}

left() {
	equal 'what is left' "$(kevo-scan -k a.kv | tr '\n' ' ')" "$1"
}

@test "delete: named keys; an absent one is no error" {
	some
	is '' kevo-delete a.kv a1
	is '' kevo-delete a.kv a1
	is '' kevo-delete a.kv nothing a2 b1
	left 'a3 b2 c '
	kevo-put a.kv -x v
	kevo-put a.kv --all v
	is '' kevo-delete -- a.kv -x --all
	left 'a3 b2 c '
	kevo-put -E a.kv '\x00\xff' v
	is '' kevo-delete -E a.kv '\x00\xff'
	left 'a3 b2 c '
}

@test "delete: an option behind several keys is refused, unless it is data" {
	some
	for key in -p -l1 -P -w -pk --limit=1 --print --all -h; do
		kevo-put a.kv "$key" v
		fails 64 "$key: options go before DB*hint: *--*before DB*" \
			kevo-delete a.kv a1 "$key"
		fails 64 "$key: options go before DB*" kevo-delete a.kv "$key" a1
		is v kevo-get a.kv "$key"
		# One alone is a key, and so are all after "--".
		is '' kevo-delete a.kv "$key"
		no kevo-get a.kv "$key"
		kevo-put a.kv "$key" v
		is '' kevo-delete -- a.kv nothing "$key"
		no kevo-get a.kv "$key"
	done
	left 'a1 a2 a3 b1 b2 c '
	# What is no option of this tool is a key anyway.
	is '' kevo-delete a.kv -x --nothing -5 -pz - -- --lim a1
	left 'a2 a3 b1 b2 c '
}

@test "delete: -v says how many of a range were removed" {
	some
	run -0 --separate-stderr kevo-delete -v -P a a.kv
	equal note "$stderr" 'kevo-delete: 3 records removed'
	run -0 --separate-stderr kevo-delete -v -l 1 -P b a.kv
	equal note "$stderr" 'kevo-delete: 1 record removed'
	run -0 --separate-stderr kevo-delete -v -P nothing a.kv
	equal note "$stderr" 'kevo-delete: 0 records removed'
	left 'b2 c '
}

@test "delete: named keys go in one commit" {
	some
	v=$(kevo-put --print-version a.kv z v)
	kevo-delete a.kv a1 a2 a3
	is $((v + 2)) kevo-put --print-version a.kv z v
}

@test "delete: --if-present and -p answer 1 when there was nothing" {
	some
	no kevo-delete --if-present a.kv nothing
	ok kevo-delete --if-present a.kv a1
	no kevo-delete -p a.kv nothing
	is $'a2\tv2' kevo-delete -p a.kv a2
	no kevo-delete -p a.kv a2
	is v3 kevo-delete -p -f raw a.kv a3
	is $'b1\tv4\nb2\tv5' kevo-delete -p a.kv b1 nothing b2
	is c kevo-delete -p -k a.kv c
	left ''
	some
	ok kevo-delete -p -m a.kv a1
	matches "$output" $'a1\t+([0-9])\tv1'
	is '{"key":"a2","value":"v2"}' kevo-delete -p -f jsonl a.kv a2
}

@test "delete: conditions on the value and the version" {
	some
	no kevo-delete --if-value=other a.kv a1
	ok kevo-delete --if-value=v1 a.kv a1
	v=$(kevo-get -m a.kv a2 | cut -f2)
	no kevo-delete --if-version=$((v + 1)) a.kv a2
	ok kevo-delete --if-version="$v" a.kv a2
	no kevo-delete --if-value=v1 a.kv a1
	left 'a3 b1 b2 c '
	fails 64 '*' kevo-delete --if-present --if-value=x a.kv a3
}

@test "delete: -i takes keys, also scan's output, in each format" {
	some
	is '' piped 'a1\nnothing\na2\n' kevo-delete -i a.kv
	kevo-scan a.kv b | kevo-delete -i a.kv
	left 'a3 c '
	kevo-put -E a.kv 'x\n' v
	is '' piped 'x\n\0a3\0' kevo-delete -i -0 a.kv
	left 'c '
	kevo-put a.kv 'p\q' v
	is '' piped 'p\\q\n' kevo-delete -i -f text a.kv
	is $'c\tv6' piped 'c\nc\n' kevo-delete -i -p a.kv
	no piped 'c\n' kevo-delete -i -p a.kv
	left ''
	kevo-put a.kv d v
	fails 65 '(stdin):2: *' piped 'd\n\\q\n' kevo-delete -i a.kv
	left ''
}

@test "delete: -P, --from, --to and -l name a range" {
	some
	is '' kevo-delete -P a a.kv
	left 'b1 b2 c '
	is '' kevo-delete -P nothing a.kv
	some
	is '' kevo-delete --from a2 --to b2 a.kv
	left 'a1 b2 c '
	is '' kevo-delete --from=b a.kv
	left 'a1 '
	some
	is '' kevo-delete --to b a.kv
	left 'b1 b2 c '
	some
	is '' kevo-delete -l 2 -P a a.kv
	left 'a3 b1 b2 c '
	is $'b1\nb2' kevo-delete -p -k --limit=9 --prefix=b a.kv
	no kevo-delete -p -P b a.kv
	is '' kevo-delete --all a.kv
	left ''
	is '' kevo-delete --all a.kv
	no kevo-delete --all -p a.kv
}

@test "delete: a prefix may end in ff" {
	printf '61ff\t00\n61ffff\t00\n62\t00\nffff\t00\n' | kevo-put -i -f hex a.kv
	is '' kevo-delete -E -P 'a\xff' a.kv
	is $'62\t00\nffff\t00' kevo-scan -f hex a.kv
	is '' kevo-delete -E -P '\xff' a.kv
	is 62 kevo-scan -k -f hex a.kv
}

@test "delete: an empty prefix or key does not remove everything" {
	some
	fails 64 '*--all*' kevo-delete -P '' a.kv
	fails 64 '*' kevo-delete --from '' a.kv
	fails 64 '*' kevo-delete --to= a.kv
	fails 64 '*key*' kevo-delete a.kv ''
	fails 64 'KEY is missing*--all*' kevo-delete a.kv
	fails 64 'DB is missing*' kevo-delete
	fails 64 '-m goes with -p*' kevo-delete -m a.kv a1
	fails 64 '*' kevo-delete -l 1 a.kv
	fails 64 '*' kevo-delete --all a.kv a1
	fails 64 '*options go before DB*' kevo-delete -P a a.kv -q
	fails 64 '*' kevo-delete --all -P a a.kv
	fails 64 '*' kevo-delete -i -P a a.kv </dev/null
	fails 64 '*' kevo-delete -p -f raw -P a a.kv
	left 'a1 a2 a3 b1 b2 c '
}

@test "delete: -p -f raw -l 1 pops the first, then says 1" {
	some
	for want in v1 v2 v3; do
		is "$want" kevo-delete -p -f raw -l 1 -P a a.kv
	done
	no kevo-delete -p -f raw -l 1 -P a a.kv
	left 'b1 b2 c '
}

@test "delete: a range of many keys in bounded commits" {
	seq 12000 | sed 's/$/\tv/' | kevo-put -i --sync=none a.kv
	is '' kevo-delete --sync=none --from 5 --to 6 a.kv
	is $((12000 - 1111)) kevo-scan -c a.kv
	kevo-delete -p -P 1 a.kv | sort -n >out
	equal printed "$(wc -l <out)" $((1 + 10 + 100 + 1000 + 2001))
	is '' kevo-delete --all a.kv
	is 0 kevo-scan -c a.kv
}

@test "delete: never creates; a busy lock is 75; standard input is let be" {
	fails 66 'no.kv: no such database*' kevo-delete no.kv k
	fails 66 'no.kv: no such database*' kevo-delete --all no.kv
	[ ! -e no.kv ]
	fails 64 '*KEVO_DB*' kevo-delete @ k
	some
	KEVO_DB=a.kv ok kevo-delete @ a1
	printf '%s\n' a2 a3 b1 >list
	while read -r key; do
		kevo-delete a.kv "$key"
	done <list
	left 'b2 c '
	hold a.kv
	fails 75 "a.kv: busy: locked by hold, pid $holder, *" \
		kevo-delete -w 0 a.kv c
	fails 75 '*busy*' kevo-delete -w 0 -P b a.kv
	fails 75 '*busy*' piped 'c\n' kevo-delete -w 0 -i a.kv
	fails 75 '*busy*' kevo-delete -w 0 -p -l 1 -P b a.kv
	release
	left 'b2 c '
}

@test "delete: what could not be printed is reported" {
	some
	run -74 --separate-stderr bash -c 'kevo-delete -p a.kv a1 >/dev/full'
	matches "$stderr" 'kevo-delete: *No space left on device*'
	run -74 --separate-stderr bash -c 'kevo-delete -p -P a a.kv >/dev/full'
	ok kevo-put -w 0 a.kv k v
}

@test "delete: -i commits when the input would block" {
	some
	converse kevo-delete -i -p a.kv
	ask a1
	hear
	equal printed "$line" $'a1\tv1'
	no kevo-get a.kv a1
	hang_up
	ends 0
}
