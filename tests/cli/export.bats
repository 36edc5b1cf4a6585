#!/usr/bin/env bats
# shellcheck disable=SC2016,SC2030,SC2031,SC2154
# kevo-export: one snapshot, one stream.

load common
shopt -s extglob
setup() { common_setup; }
teardown() { common_teardown; }

some() {
	printf 'a1\t1\na2\t2\nb1\t3\nc\tx\\ty\n' | kevo-put -i a.kv
}

@test "export: everything, or a range, in order" {
	some
	is $'a1\t1\na2\t2\nb1\t3\nc\tx\\ty' kevo-export a.kv
	is $'a1\t1\na2\t2' kevo-export -P a a.kv
	is $'a2\t2\nb1\t3' kevo-export --from a2 --to c a.kv
	is $'a2\t2' kevo-export --from=a2 --prefix=a a.kv
	is '' kevo-export -P x a.kv
	kevo-put -E a.kv 'z\n' v
	is $'z\\n\tv' kevo-export -E -P 'z\x0a' a.kv
	is $'a1\na2' kevo-export -k -P a a.kv
	is '{"key":"a1","value":1}' kevo-export -j -f jsonl -P a1 a.kv
	is $'key,value\na1,1' kevo-export --format=csv -P a1 a.kv
	equal nul "$(kevo-export -0 -P a1 a.kv | hex)" 6131003100
}

@test "export: -o writes the file whole or not at all" {
	some
	kevo-export a.kv >want
	is '' kevo-export -o out.tsv a.kv
	cmp want out.tsv
	ok kevo-export -o - a.kv
	equal '-o -' "$output" "$(cat want)"
	[ ! -e - ]
	is '' kevo-export --output=out.tsv -P a a.kv
	is 2 grep -c . out.tsv
	kevo-put a.kv nul "x"
	printf 'v\0w' | kevo-put -i a.kv nul
	cp out.tsv before
	run -65 --separate-stderr kevo-export -0 -o out.tsv a.kv
	matches "$stderr" 'kevo-export: *nul*hint: *-f tsv*'
	cmp before out.tsv
	fails 66 'no.kv: no such database*' kevo-export -o out.tsv no.kv
	cmp before out.tsv
	[ ! -e no.kv ]
	fails 73 'no/out: *' kevo-export -o no/out a.kv
	mkdir closed
	chmod 555 closed
	run --separate-stderr nodac kevo-export -o closed/out a.kv
	matches "$status" '7[37]'
	matches "$stderr" 'kevo-export: *closed/out: *'
	equal 'left behind' "$(find . -name '*tmp*' -o -name 'out*' | sort)" ./out.tsv
	# A device is written as it is.
	ok kevo-export -o /dev/null a.kv
	[ -c /dev/null ]
	run -74 --separate-stderr kevo-export -o /dev/full a.kv
}

@test "export: a signal leaves no half of a file" {
	kevo-init -q --set sync=none a.kv
	seq 30000 | awk -v OFS='\t' '{ print $1, "some value" }' |
		kevo-put -i a.kv
	mkfifo out
	env --default-signal=INT,TERM kevo-export a.kv >out 3>&- 2>err &
	child=$!
	children+=("$child")
	exec 7<out
	hear
	kill -TERM "$child"
	cat <&7 >/dev/null
	exec 7<&-
	ends 143
	equal 'standard error' "$(cat err)" ''
	# With -o: stopped at the first write, by its own death.
	need strace
	run --separate-stderr strace -f -o trace -e trace=write \
		-e inject=write:signal=TERM:when=2 \
		env --default-signal=TERM kevo-export -o file.tsv a.kv
	matches "$status" '@(143|15)'
	equal 'left behind' "$(find . -name '*file.tsv*')" ''
}

@test "export: a snapshot, however long the reader takes" {
	kevo-init -q --set sync=none a.kv
	seq 20000 | awk -v OFS='\t' '{ print $1, "old" }' | kevo-put -1 -i a.kv
	mkfifo out
	kevo-export a.kv >out 3>&- &
	child=$!
	children+=("$child")
	exec 7<out
	hear
	seq 20000 | awk -v OFS='\t' '{ print $1, "new" }' |
		kevo-put -w 0 -1 -i a.kv
	cat <&7 >rest
	exec 7<&-
	ends 0
	equal new "$(grep -c new rest)" 0
	equal lines "$(wc -l <rest)" 19999
}

@test "export: what the output says is checked" {
	some
	run -74 --separate-stderr bash -c 'kevo-export a.kv >/dev/full'
	matches "$stderr" 'kevo-export: *No space left on device*'
	seq 50000 | sed 's/$/\tsome value/' | kevo-put -i --sync=none a.kv
	run -0 --separate-stderr bash -c 'kevo-export a.kv | head -n 1
		[ "${PIPESTATUS[0]}" -eq 141 ]'
	equal 'standard error' "$stderr" ''
	fails 64 '*' kevo-export
	fails 64 '*options go before DB*' kevo-export a.kv -f hex
	fails 64 '*nonsense*' kevo-export -f nonsense a.kv
	fails 64 '*raw*' kevo-export -f raw a.kv
	fails 64 '*KEVO_DB*' kevo-export @
	KEVO_DB=a.kv ok kevo-export -P a1 @
	equal output "$output" $'a1\t1'
}

@test "export: progress is for terminals only" {
	some
	run -0 --separate-stderr kevo-export --progress a.kv
	run -0 --separate-stderr kevo-export --progress=never a.kv
	equal 'standard error' "$stderr" ''
	run -0 --separate-stderr kevo-export --progress=auto a.kv
	equal 'standard error' "$stderr" ''
	fails 64 '*--progress*sometimes*' kevo-export --progress=sometimes a.kv
	need_terminal
	terminal 'kevo-export a.kv' >seen
	kevo-export a.kv | cmp - seen
}

@test "export: -z compresses by another program" {
	local how
	seq 20000 | sed 's/$/\tvalue/' | kevo-put -i a.kv
	kevo-export a.kv >plain
	for how in gzip zstd; do
		need "$how"
		kevo-export -z "$how" a.kv >"packed.$how"
		"$how" -dc "packed.$how" | cmp - plain
		kevo-export -z "$how" -o "file.$how" a.kv
		"$how" -dc "file.$how" | cmp - plain
		[ "$(wc -c <"file.$how")" -lt "$(wc -c <plain)" ]
	done
	kevo-export -z none a.kv | cmp - plain
	fails 64 '*not one of none, zstd, gzip*' kevo-export -z lzma a.kv
	run -69 --separate-stderr env PATH="$(dirname "$(command -v kevo-export)")" \
		"$(command -v kevo-export)" -z zstd a.kv
	[[ $stderr == *'zstd: cannot be run'* ]]
	run -74 --separate-stderr sh -c 'kevo-export -z gzip a.kv >/dev/full'
}

@test "export: a limit on the size of files is 74 and leaves nothing" {
	seq 20000 | sed 's/$/\tvalue/' | kevo-put -i a.kv
	run -74 --separate-stderr bash -c 'ulimit -f 10; kevo-export -o out a.kv'
	[[ $stderr == *'File too large'* ]]
	[ -z "$(find . -name 'out*')" ]
}
