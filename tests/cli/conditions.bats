#!/usr/bin/env bats
# shellcheck disable=SC2016,SC2154
# Conditions and expiry, in every tool that has them, and under load.

load common
shopt -s extglob
setup() { common_setup; }
teardown() { common_teardown; }

# gone DB KEY: its time is over.
gone() {
	! kevo-get "$1" "$2"
}

# short DB KEY VALUE: a record whose time is over when this returns.
short() {
	kevo-put -t 0.02 "$1" "$2" "$3" && wait_for gone "$1" "$2"
}

@test "conditions: an expired key is absent for each of them" {
	short a.kv k old
	version=$(($(kevo-put --print-version a.kv other v) - 1))
	no kevo-put --if-present a.kv k new
	no kevo-put --if-value=old a.kv k new
	no kevo-put --if-version="$version" a.kv k new
	no kevo-delete --if-present a.kv k
	no kevo-delete --if-value=old a.kv k
	no kevo-delete --if-version="$version" a.kv k
	ok kevo-put --if-version=0 a.kv k new
	is new kevo-get a.kv k
	short a.kv k old
	ok kevo-put --if-absent a.kv k newer
	is newer kevo-get a.kv k
	short a.kv k old
	is k piped 'k\n' kevo-put -k -i -p --if-absent a.kv
}

@test "conditions: an expired key is nowhere" {
	kevo-put a.kv a 1
	kevo-put a.kv c 3
	short a.kv b 2
	is $'a\t1\nc\t3' kevo-scan a.kv
	is $'c\t3\na\t1' kevo-scan -r a.kv
	is 2 kevo-scan -c a.kv
	is $'a\t1\nc\t3' kevo-export -f tsv a.kv
	run -1 kevo-get -f tsv a.kv a b c
	equal get "$output" $'a\t1\nc\t3'
	is $'a\t1' kevo-delete -p -l 1 --from=a a.kv
	no kevo-delete -p a.kv b
	is 3 kevo-delete -p -f raw -l 1 --from=b a.kv
	no kevo-delete -p -l 1 --from=a a.kv
}

@test "conditions: an expired counter begins anew, with its own time" {
	short a.kv n 41
	is 1 kevo-incr -t 1h a.kv n
	matches "$(kevo-get -m -f jsonl a.kv n)" '*"expires":*'
	short a.kv n 41
	is 5 kevo-incr a.kv n 5
	run ! grep -q expires <(kevo-get -m -f jsonl a.kv n)
}

@test "conditions: -m shows the version, and in JSON when it expires" {
	local before after tool shown
	before=$(date +%s)
	kevo-put -t 1h a.kv k v
	after=$(date +%s)
	kevo-put a.kv plain v
	for tool in 'kevo-get -m -f jsonl a.kv k' \
		'kevo-scan -m -f jsonl a.kv k'; do
		# shellcheck disable=SC2086 # words
		run -0 $tool
		matches "$output" \
			'{"key":"k","value":"v","version":+([0-9]),"expires":+([0-9.])}'
		shown=${output##*:}
		shown=${shown%%[!0-9]*}
		[ "$shown" -ge $((before + 3600)) ]
		[ "$shown" -le $((after + 3602)) ]
	done
	is '{"key":"plain","value":"v","version":2}' \
		kevo-scan -m -f jsonl a.kv plain
	is $'plain\t2\tv' kevo-scan -m a.kv plain
}

@test "conditions: kevo-delete takes them with keys, lists and ranges" {
	printf 'a1\tx\na2\ty\na3\tx\nb\tx\n' | kevo-put -i a.kv
	ok kevo-delete --if-value=x a.kv a1
	no kevo-delete --if-value=x a.kv a2
	kevo-put a.kv a1 x
	run -0 kevo-delete -q --if-value=x -P a a.kv
	is $'a2\ty\nb\tx' kevo-scan a.kv
	run -0 piped 'a2\nb\n' kevo-delete -q -i --if-value=x a.kv
	is $'a2\ty' kevo-scan a.kv
}

@test "conditions: a false one writes nothing, not even a version" {
	kevo-put a.kv k v
	before=$(kevo-stats -f tsv a.kv | grep -E '^(visible|appended|commits)')
	no kevo-put --if-absent a.kv k w
	no kevo-put --if-value=x a.kv k w
	no kevo-delete --if-version=77 a.kv k
	equal counters "$(kevo-stats -f tsv a.kv |
		grep -E '^(visible|appended|commits)')" "$before"
}

@test "conditions: a lease has one owner at a time, under load" {
	kevo-init -q a.kv
	holder() {
		local i
		for i in {1..15}; do
			until kevo-put --sync=none --if-absent -t 1m a.kv lease \
				"$1"; do
				[ $? -eq 1 ] || return
			done
			# Nobody else is here.
			mkdir inside || return 99
			rmdir inside
			kevo-delete --sync=none --if-value="$1" a.kv lease ||
				return
		done
	}
	local w
	for w in 1 2 3 4; do
		background holder $w
	done
	all_end
	is 0 kevo-scan -c a.kv
}

@test "conditions: what a false one tells of is there for the next tool" {
	kevo-init -q a.kv
	asker() {
		local k
		for k in {1..60}; do
			if ! kevo-put --if-absent a.kv "k$k" "$1"; then
				kevo-get a.kv "k$k" >/dev/null || return 98
			fi
		done
	}
	local w
	for w in 1 2 3; do
		background asker $w
	done
	all_end
	is 60 kevo-scan -c a.kv
}

@test "conditions: jobs are popped once, and a killed worker loses one at most" {
	seq 300 | sed 's/.*/todo:&\tjob &/' | kevo-put -i a.kv
	worker() {
		while kevo-delete -p -f raw -P todo: -l 1 --sync=none a.kv; do
			echo
		done >"got-$1"
		return 0
	}
	local w victim
	background worker victim
	victim=$child
	children=()
	for w in 1 2 3; do
		background worker $w
	done
	wait_for [ -s got-victim ]
	kill -9 "$victim"
	wait "$victim" 2>/dev/null || true
	all_end
	is 0 kevo-scan -c a.kv
	sort got-* | grep . >got
	equal once "$(uniq -d got)" ''
	[ "$(wc -l <got)" -ge 299 ]
	[ "$(wc -l <got)" -le 300 ]
}
