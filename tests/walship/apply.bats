#!/usr/bin/env bats
# shellcheck disable=SC2154
# kevo-walship apply: from an archive into a replica.

load walship
setup() {
	common_setup
	database a.kv
	commits a.kv 1 9
	ok kevo-walship send a.kv --to ar --seal-after 0
	commits a.kv 11 19
	ok kevo-walship send a.kv --to ar
}
teardown() { common_teardown; }

@test "apply: a replica comes to be, goes on, and repeating changes nothing" {
	ok kevo-walship apply ar --into r.kv
	same_place a.kv r.kv
	same_data a.kv r.kv
	fails 77 'r.kv: a replica: *' kevo-put r.kv k v
	ok kevo-walship apply ar --into r.kv
	same_place a.kv r.kv
	commits a.kv 21 29
	ok kevo-walship send a.kv --to ar --seal-after 0
	run -0 --separate-stderr kevo-walship apply -v ar --into r.kv
	equal said "$stderr" 'kevo-walship: applied 10, at commit 30'
	same_data a.kv r.kv
	kevo-compact --full r.kv
	same_data a.kv r.kv
	ok kevo-check -q r.kv
}

@test "apply: exactly to a commit, and to a time" {
	local n
	for n in 1 7 10 11 15 20; do
		ok kevo-walship apply ar --into "to$n.kv" --until-seq "$n"
		matches "$(kevo-walship pos "to$n.kv")" "1.*:$n:*"
		cmp <(kevo-scan "to$n.kv") <(kevo-walship tail a.kv |
			awk -F'\t' -v n="$n" '$1 <= n { v[$4] = $5 }
				END { for (k in v) print k "\t" v[k] }' |
			LC_ALL=C sort)
	done
	# A later one goes on from there.
	ok kevo-walship apply ar --into to7.kv
	same_data a.kv to7.kv
	kevo-walship tail a.kv | awk 'NR % 6 == 3' >some
	equal commits "$(wc -l <some)" 3
	while IFS=$'\t' read -r n time _; do
		rm -rf t.kv
		ok kevo-walship apply ar --into t.kv --until-time "$time"
		matches "$(kevo-walship pos t.kv)" "1.*:$n:*"
	done <some
	rm -rf t.kv
	run -0 --separate-stderr kevo-walship apply ar --into t.kv \
		--until-time 2020-01-01T00:00:00Z
	matches "$stderr" '*ar: no commit in it is as old as that'
	matches "$(kevo-walship pos t.kv)" '1.*:0:*'
	for n in yesterday 2026-02-31T00:00:00Z 0 1970-01-01T00:00:00Z; do
		fails 64 "*$n is no time*" kevo-walship apply ar --into t.kv \
			--until-time "$n"
	done
	# Half an hour ahead, in another zone: nobody has said what came since.
	time=$(TZ=UTC-5:30 date -d '30 minutes' +%Y-%m-%dT%H:%M:%S+05:30)
	run -0 --separate-stderr kevo-walship apply ar --into t.kv \
		--until-time "$time"
	matches "$stderr" 'kevo-walship: ar ends with commit 20; *not in it'
	same_place a.kv t.kv
	ok kevo-walship apply -q ar --into t.kv --until-time "$time"
}

@test "apply: --follow ends where it is told to, also at the last commit" {
	ok timeout 60 kevo-walship apply ar --into r.kv --follow --until-seq 20
	ok timeout 60 kevo-walship apply ar --into r.kv --follow --until-seq 20
	ok timeout 60 kevo-walship apply ar --into r.kv --follow --until-seq 7
	same_place a.kv r.kv
	time=$(kevo-walship tail a.kv | tail -n 1 | cut -f 2)
	ok timeout 60 kevo-walship apply ar --into t.kv --follow \
		--until-time "$time"
	same_place a.kv t.kv
}

@test "apply: --delay leaves what is young" {
	ok kevo-walship apply ar --into r.kv --delay 1h
	matches "$(kevo-walship pos r.kv)" '1.*:0:*'
	ok kevo-walship apply ar --into r.kv --delay 0
	same_place a.kv r.kv
}

@test "apply: --follow takes what comes, segments and tail" {
	background kevo-walship apply ar --into r.kv --follow
	wait_for same_place a.kv r.kv
	commits a.kv 21 22
	ok kevo-walship send a.kv --to ar
	wait_for same_place a.kv r.kv
	ok kevo-walship send a.kv --to ar --seal-after 0
	commits a.kv 31 32
	ok kevo-walship send a.kv --to ar
	wait_for same_place a.kv r.kv
	same_data a.kv r.kv
	kill -TERM "$child"
	ends 143
}

# bytes_read PID
bytes_read() {
	sed -n 's/^rchar: //p' "/proc/$1/io"
}

@test "apply: --follow goes on in a tail where it was, and reads no more" {
	local before got
	seq 40000 | sed 's/.*/big&\ta value with some length to it &/' |
		kevo-put -i -b 20 --sync=batch a.kv
	ok kevo-walship send a.kv --to ar
	tail=$(echo ar/state/tail/*.open)
	size=$(stat -c %s "$tail")
	[ "$size" -gt 2000000 ]
	background kevo-walship apply ar --into r.kv --follow
	wait_for same_place a.kv r.kv
	before=$(bytes_read "$child")
	for n in 1 2 3 4 5 6 7 8 9 10; do
		kevo-put a.kv "one$n" "$n"
		kevo-walship send -q a.kv --to ar
		wait_for kevo-get r.kv "one$n"
	done
	got=$(($(bytes_read "$child") - before))
	echo "tail $size, read $got"
	[ "$got" -lt $((size / 4)) ]
	# Another file of this name, and one that was cut, are read anew.
	cp "$tail" copy
	cp copy "$tail"
	truncate -s "$size" "$tail"
	kevo-put a.kv another one
	kevo-walship send -q a.kv --to ar
	wait_for kevo-get r.kv another
	mv copy "$tail"
	kevo-put a.kv and another
	kevo-walship send -q a.kv --to ar
	wait_for kevo-get r.kv and
	# The segment, and the tail behind it.
	ok kevo-walship send a.kv --to ar --seal-after 0
	commits a.kv 31 32
	ok kevo-walship send a.kv --to ar
	wait_for same_place a.kv r.kv
	same_data a.kv r.kv
	kill -TERM "$child"
	ends 143
	ok kevo-check -q r.kv
}

@test "apply: --delay takes each commit when it is due, and no sooner" {
	local n now
	background kevo-walship apply ar --into late.kv --follow --delay 2
	for n in 1 2 3 4 5 6; do
		kevo-put a.kv "due$n" "$n"
		kevo-walship send -q a.kv --to ar --seal-after "$((n % 2))h"
	done
	for n in 1 2 3 4 5 6; do
		wait_for kevo-get late.kv "due$n"
		now=$(date +%s%N)
		made=$(kevo-walship tail --json a.kv | sed -n \
			"s/.*\"time\":\"\([^\"]*\)\".*\"key\":\"due$n\".*/\1/p")
		late=$(((now - $(date -d "$made" +%s%N)) / 1000000))
		echo "due$n came after $late ms"
		[ "$late" -ge 2000 ]
	done
	wait_for same_place a.kv late.kv
	# An end that was asked for is reached when it is due.
	ok kevo-walship apply ar --into some.kv --follow --delay 1 \
		--until-seq 15
	matches "$(kevo-walship pos some.kv)" '1.*:15:*'
	kevo-put a.kv the end
	kevo-walship send -q a.kv --to ar
	end=$(kevo-walship pos a.kv | cut -d: -f2)
	ok kevo-walship apply ar --into some.kv --follow --delay 1 \
		--until-seq "$end"
	matches "$(kevo-walship pos some.kv)" "1.*:$end:*"
	# Nothing is due for hours: nothing is read.
	kill -TERM "$child"
	ends 143
	kevo-put a.kv much later
	kevo-walship send -q a.kv --to ar
	background kevo-walship apply ar --into late.kv --follow --delay 5h
	wait_for test -e "/proc/$child/io"
	before=$(bytes_read "$child")
	for n in $(seq 50); do
		sleep 0.2
		got=$(bytes_read "$child")
		[ "$got" != "$before" ] || break
		before=$got
	done
	for n in 1 2 3 4 5; do
		kevo-put a.kv "much$n" later
		kevo-walship send -q a.kv --to ar
	done
	sleep 1.2
	[ $(($(bytes_read "$child") - before)) -lt 3000 ]
	kill -TERM "$child"
	ends 143
	no kevo-get late.kv much
}

@test "apply: a gap, and an archive that does not begin at the beginning" {
	ok kevo-walship send a.kv --to ar --seal-after 0
	commits a.kv 21 29
	ok kevo-walship send a.kv --to ar --seal-after 0
	ok kevo-walship apply ar --into r.kv --until-seq 5
	first=(ar/wal/00000001/*-0000000000000001-*.seg)
	second=(ar/wal/00000001/*-000000000000000b-*.seg)
	mv "${second[0]}" aside
	fails 81 'gap: r.kv: need commit 11, the next one in ar is *' \
		kevo-walship apply ar --into r.kv
	matches "$(kevo-walship pos r.kv)" '1.*:10:*'
	mv aside "${second[0]}"
	rm "${first[0]}"
	fails 81 'gap: ar: it does not begin with commit 1*: kevo-walship base *' \
		kevo-walship apply ar --into new.kv
	ok kevo-walship base a.kv --to ar
	base=$(basename "$(find ar/base -name '*.tar')")
	fails 81 "gap: ar: *; next: kevo-walship restore ar, from base $base" \
		kevo-walship apply ar --into new.kv
	[ ! -e new.kv ]
	ok kevo-walship apply ar --into r.kv
	same_data a.kv r.kv
}

@test "apply: a damaged segment ends it, before anything of it is applied" {
	seg=(ar/wal/00000001/*.seg)
	flip "${seg[0]}" 700
	run -80 --separate-stderr kevo-walship apply ar --into r.kv
	matches "$stderr" "kevo-walship: corrupt: ${seg[0]}: record * at byte *"
	matches "$(kevo-walship pos r.kv)" '1.*:0:*'
	flip "${seg[0]}" 700
	ok kevo-walship apply ar --into r.kv
	same_data a.kv r.kv
}

@test "apply: another database's archive, and a forked one" {
	ok kevo-walship apply ar --into r.kv
	database b.kv
	commits b.kv 1 9
	ok kevo-walship send b.kv --to other
	run -83 --separate-stderr kevo-walship apply other --into r.kv
	matches "$stderr" 'kevo-walship: wrong-db: *'
	# The same history, until both copies wrote.
	kevo-walship send a.kv --to ar --slot none
	cp -a a.kv c.kv
	commits c.kv 51 55
	ok kevo-walship send c.kv --to forked --slot none --seal-after 0
	commits a.kv 61 69
	ok kevo-walship send a.kv --to ar --slot none
	ok kevo-walship apply ar --into r.kv
	run -82 --separate-stderr kevo-walship apply forked --into r.kv
	matches "$stderr" 'kevo-walship: fork: *'
	same_place a.kv r.kv
}

@test "apply: into a primary is refused" {
	fails 77 'a.kv: a primary: *' kevo-walship apply ar --into a.kv
	same_log a.kv ar
}

@test "apply: a promotion: orphans are found, saved, and never applied" {
	ok kevo-walship apply ar --into r.kv
	cp -a a.kv old.kv
	# The new line begins at 20, the old primary goes on to 23.
	ok kevo-walship promote r.kv --archive ar
	commits old.kv 71 72
	kevo-put r.kv new line
	ok kevo-walship send r.kv --to ar --seal-after 0
	files ar >before
	fails 86 'fenced: old.kv: epoch 2 exists*3 commits 21..23 are only here*' \
		kevo-walship send old.kv --to ar
	files ar | cmp - before
	# What it had sent elsewhere comes by another way.
	ok kevo-walship send old.kv --to elsewhere --slot none --seal-after 0
	mkdir in
	cp elsewhere/wal/00000001/*.seg in/
	fails 88 'orphans: ar: 3 commits 21..23 of epoch 1 lost a promotion; saved in orphans/*' \
		kevo-walship recv --spool in --to ar
	equal left "$(ls in)" ''
	orphan=(ar/orphans/*.seg)
	ok kevo-walship verify "${orphan[0]}"
	matches "$(kevo-walship tail "${orphan[0]}")" '*k72*'
	ok kevo-walship verify -q ar
	# A replica that is behind both gets the line that won.
	ok kevo-walship apply ar --into late.kv
	same_data r.kv late.kv
	same_place r.kv late.kv
	is '' kevo-get --default='' late.kv k71
	# One that took the commits that lost must be rebuilt.
	ok kevo-walship apply elsewhere --into ahead.kv
	run -86 --separate-stderr kevo-walship apply ar --into ahead.kv
	matches "$stderr" 'kevo-walship: fenced: *'
}

@test "apply: --follow goes over to the line of a promotion" {
	ok kevo-walship apply ar --into r.kv
	background kevo-walship apply ar --into late.kv --follow
	wait_for same_place r.kv late.kv
	commits a.kv 21 22
	ok kevo-walship send a.kv --to ar
	wait_for same_place a.kv late.kv
	ok kevo-walship apply ar --into r.kv
	ok kevo-walship promote r.kv --archive ar
	kevo-put r.kv new line
	ok kevo-walship send r.kv --to ar
	wait_for same_place r.kv late.kv
	kevo-put r.kv newer line
	ok kevo-walship send r.kv --to ar --seal-after 0
	wait_for same_place r.kv late.kv
	same_data r.kv late.kv
	kill -TERM "$child"
	ends 143
}
