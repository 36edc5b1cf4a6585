#!/usr/bin/env bats
# shellcheck disable=SC2154
# kevo-bench: what it counts, checks, refuses and leaves behind.  How fast
# anything is, is no matter here.

load common
shopt -s extglob
setup() { common_setup; }
teardown() { common_teardown; }

# field TEST MEMBER: of the JSON in $output.
field() {
	jq -r --arg t "$1" ".results[] | select(.test == \$t) | .$2" \
		<<<"$output"
}

# nothing_left: no directory of the benchmark's own.
nothing_left() {
	equal 'what is left' "$(find . -maxdepth 1 -name 'kevo-bench.*')" ''
}

quick=(--keys=300 --sync=none --duration=60)

@test "bench: each workload does what it says as often as it says" {
	need jq
	ok kevo-bench "${quick[@]}" --tests=all -f json
	jq -e . <<<"$output" >/dev/null
	equal tests "$(jq -r '.results[].test' <<<"$output" | tr '\n' ' ')" \
		"write random-write sequential-write read random-read\
 read-missing scan range-scan mixed mixed.read mixed.write transactions\
 optimistic delete compaction exec.nothing exec.get exec.put "
	for test in write random-write sequential-write read random-read scan \
		mixed; do
		equal "$test ops" "$(field $test ops)" 300
		equal "$test records" "$(field $test records)" 300
		equal "$test bytes" "$(field $test bytes)" $((300 * 116))
	done
	equal missing "$(field read-missing ops)" 300
	equal 'found missing' "$(field read-missing records)" 0
	equal scans "$(field range-scan ops)" 3
	equal parts $(($(field mixed.read ops) + $(field mixed.write ops))) 300
	[ "$(field mixed.write ops)" -gt 30 ]
	[ "$(field mixed.write ops)" -lt 150 ]
	equal transactions "$(field transactions ops)" 300
	equal 'their records' "$(field transactions records)" 600
	equal optimistic "$(field optimistic ops)" 300
	equal 'its records' "$(field optimistic records)" 300
	equal conflicts "$(field optimistic conflicts)" 0
	equal deletes "$(field delete ops)" 300
	equal merged "$(field compaction ops)" 300
	[ "$(field compaction space_before)" -gt 0 ]
	for part in nothing get put; do
		equal "exec.$part" "$(field exec.$part ops)" 300
	done
	equal limited "$(jq '[.results[] | select(.limited)] | length' \
		<<<"$output")" 0
	# A part of the reads is timed, all of the writes.
	equal timed "$(field write timed) $(field read timed)" '300 38'
	jq -e '[.results[].latency_us | .min <= .p50 and .p50 <= .p90 and
		.p90 <= .p99 and .p99 <= .p999 and .p999 <= .max] | all' \
		<<<"$output"
	nothing_left
}

@test "bench: processes, commits of many and distributions add up too" {
	need jq
	local d test
	for d in uniform zipf sequential latest; do
		ok kevo-bench "${quick[@]}" --processes=3 --batch=7 \
			--distribution=$d --value-size=8-200 --key-size=8 \
			--scan-size=9 -f json \
			--tests=write,read,scan,range-scan,mixed,transactions,optimistic,delete
		for test in write read mixed transactions optimistic \
			delete; do
			equal "$d $test" "$(field $test ops)" 300
		done
		equal "$d scan" "$(field scan ops)" 900
		equal "$d scans" "$(field range-scan ops)" 33
		equal "$d processes" "$(field write processes)" 3
	done
	ok kevo-bench "${quick[@]}" --sequential --ops=1000 -f json \
		--tests=write,read,exec
	equal ops "$(field write ops) $(field read ops)" '1000 1000'
	equal exec "$(field exec.put ops)" 1000
	nothing_left
}

@test "bench: tsv has a column for each name of its head" {
	ok kevo-bench "${quick[@]}" --tests=write,compaction,mixed -f tsv
	equal rows "${#lines[@]}" 6
	awk -F'\t' 'NR == 1 { n = NF } NF != n { exit 1 }' <<<"$output"
	matches "${lines[0]}" $'test\tprocesses\tops\t*'
	matches "${lines[1]}" $'write\t1\t300\t300\t34800\t*'
	matches "${lines[2]}" $'compaction\t*\tspace_before=*'
}

@test "bench: a table for people, and notes of what was cut short" {
	ok kevo-bench --keys=300 --ops=0 --duration=0.1 --tests=write,read
	matches "$output" '*300 keys of 16 bytes, values of 100*'
	matches "$output" '*test *ops *ops/s *p50*p99.9*max*'
	matches "$output" $'*\nwrite *'
	ok kevo-bench --keys=300 --ops=100000000 --duration=0.1 --tests=read \
		--sync=none
	matches "$output" $'*\nread\* *time was over before the work*'
	nothing_left
}

@test "bench: a seed repeats the same records" {
	kevo-bench "${quick[@]}" --seed=5 --tests=write a.kv >/dev/null
	kevo-bench "${quick[@]}" --seed=5 --tests=random-write b.kv >/dev/null
	kevo-bench "${quick[@]}" --seed=6 --tests=write c.kv >/dev/null
	equal records "$(kevo-scan -c a.kv)" 300
	cmp <(kevo-scan a.kv) <(kevo-scan b.kv)
	run ! cmp -s <(kevo-scan a.kv) <(kevo-scan c.kv)
	cmp <(kevo-scan -k a.kv) <(kevo-scan -k c.kv)
}

@test "bench: with DB everything happens there, and it stays" {
	need jq
	ok kevo-bench "${quick[@]}" --set memtable_bytes=1M -f json \
		--tests=write,sequential-write,delete,read new.kv
	equal memtable "$(jq .memtable_bytes <<<"$output")" 1048576
	equal settings "$(jq -c .settings <<<"$output")" \
		'["memtable_bytes=1M"]'
	equal ops "$(jq -c '[.results[].ops]' <<<"$output")" \
		'[300,300,300,300]'
	# Filled again after the deletions, since there was something to read.
	equal records "$(kevo-scan -c new.kv)" 300
	ok kevo-init -q --set memtable_bytes=1M new.kv
	nothing_left
}

@test "bench: DB must be free or empty" {
	mkdir empty other
	ok kevo-bench "${quick[@]}" --tests=write empty
	equal records "$(kevo-scan -c empty)" 300
	echo precious >other/file
	fails 65 'other: not a kevo database, and not empty' \
		kevo-bench "${quick[@]}" other
	equal file "$(cat other/file)" precious
	equal files "$(ls -A other)" file
	kevo-put a.kv precious record
	fails 73 'a.kv: is a database already*' kevo-bench "${quick[@]}" a.kv
	KEVO_DB=a.kv fails 73 'a.kv: is a database already*' kevo-bench \
		"${quick[@]}" @
	is $'precious\trecord' kevo-scan a.kv
	fails 73 '*no/new.kv*' kevo-bench "${quick[@]}" no/new.kv
	nothing_left
}

@test "bench: --existing reads anybody's database and changes nothing" {
	need jq
	seq 1000 | sed 's/.*/key&\tvalue &/' | kevo-put -i a.kv
	listing a.kv >before
	ok kevo-bench --existing --keys=200 --processes=2 -f json a.kv
	equal tests "$(jq -r '.results[].test' <<<"$output" | tr '\n' ' ')" \
		'read read-missing scan range-scan exec.nothing exec.get '
	equal keys "$(jq .keys <<<"$output")" 200
	equal read "$(field read ops) $(field read records)" '200 200'
	equal scanned "$(field scan records)" 2000
	equal scans "$(field range-scan records)" \
		$(($(field range-scan ops) * 100))
	listing a.kv >after
	cmp before after
	fails 64 '*write*' kevo-bench --existing --tests=write a.kv
	fails 66 'no.kv: no such database' kevo-bench --existing no.kv
	kevo-init -q nothing.kv
	fails 65 '*no records*' kevo-bench --existing nothing.kv
	fails 64 '*which database*usage: *' kevo-bench --existing
	nothing_left
}

@test "bench: a wrong answer is noticed, and ends it with 70" {
	# All records come in one commit; then 30 seconds of reading begin.
	background kevo-bench --keys=50 --tests=random-read --ops=0 \
		--duration=30 a.kv >out 2>err
	wait_for is 50 kevo-scan -c a.kv
	kevo-put a.kv 0000000000000042 wrong
	ends 70
	matches "$(cat err)" 'kevo-bench: a.kv: random-read: wrong answer: key 0000000000000042: a value that was never written'
	equal messages "$(wc -l <err)" 1
	# What is lost is noticed as well, and by several told once.
	background kevo-bench --keys=50 --tests=scan --ops=0 --duration=30 \
		--processes=3 b.kv >out 2>err
	wait_for is 50 kevo-scan -c b.kv
	kevo-delete b.kv 0000000000000042
	ends 70
	matches "$(cat err)" 'kevo-bench: b.kv: scan: wrong answer: key 0000000000000042: nothing, where a record was written'
	equal messages "$(wc -l <err)" 1
}

@test "bench: a signal or a closed pipe leaves no directory and no process" {
	local signal
	for signal in INT TERM HUP; do
		background env --default-signal="$signal" kevo-bench \
			--keys=100 --ops=0 --duration=60 --processes=3 \
			--tests=write,mixed --plot=p.svg >out 2>err
		wait_for grep -q '^test ' out
		wait_for sh -c 'ls -d kevo-bench.*'
		workers=$(ps -o pid= --ppid "$child") || true
		kill -s "$signal" "$child"
		ends $((128 + $(kill -l "$signal")))
		nothing_left
		for pid in $workers; do
			run ! kill -0 "$pid"
		done
		equal drawing "$(find . -name 'p.svg*')" ''
	done
	run -0 bash -c 'kevo-bench --keys=100 --tests=write,read | head -n 1'
	wait_for sh -c '! ls -d kevo-bench.*'
	run -74 bash -c 'kevo-bench --keys=100 --tests=read >/dev/full'
	nothing_left
}

@test "bench: workers die with a parent that is killed" {
	background kevo-bench --keys=100 --ops=0 --duration=60 --tests=mixed \
		--sync=none --processes=2 >out
	# The two of the test, not the one that fills the database.
	wait_for sh -c "ps -o pid= --ppid $child >workers &&
		[ \$(wc -l <workers) -eq 2 ]"
	kill -KILL "$child"
	for pid in $(cat workers); do
		wait_for sh -c "! kill -0 $pid"
	done
}

@test "bench: --plot draws a file, whole or not at all" {
	need python3
	ok kevo-bench "${quick[@]}" --tests=write,read,exec --plot=p.svg
	python3 -c 'import sys, xml.dom.minidom as m
s = m.parse("p.svg").documentElement
assert s.tagName == "svg"
text = [t.firstChild.data for t in s.getElementsByTagName("text")]
for test in "write", "read", "exec.get":
    assert test in text, test' 3>&-
	equal files "$(find . -name 'p.svg*')" ./p.svg
	fails 73 'no/p.svg: No such file or directory' \
		kevo-bench "${quick[@]}" --plot=no/p.svg
	nothing_left
}

@test "bench: --tune prints lines for kevo.conf, with their evidence" {
	ok kevo-bench --tune -q --rounds=3 --keys=50 --duration=0.05 \
		--tests=write,read
	tuned=$output
	matches "$output" '# kevo-bench --tune*50 keys*'
	matches "$output" '*# 3 rounds; noise*: write * %, read * %, space * %*'
	# Comments, and settings with a number of percents or a factor.
	while IFS= read -r line; do
		matches "$line" '@(#*|+([a-z0-9_]) = +([a-z0-9A-Z])  # @([-+x])+([0-9])*(*..*)*, 3 rounds*)'
	done <<<"$tuned"
	# Never without a word of warning, and never uncommented.
	run ! grep -q '^sync = ' <<<"$tuned"
	for candidate in memtable_bytes=16M memtable_bytes=256M sync=batch \
		sync=none block_bytes=16K compression=lz4; do
		equal "$candidate" "$(grep -cE \
			"(^|[ #])${candidate/=/( = |=)}( |,|$)" \
			<<<"$tuned")" 1
	done
	nothing_left
}

@test "bench: --tune tells each round, or all of it as JSON" {
	need jq
	ok kevo-bench --tune -q --rounds=3 --keys=50 --duration=0.02 \
		--tests=write --set sync=none -f tsv
	# What looks better by chance is measured again.
	[ "$(grep -c $'^baseline\twrite\t' <<<"$output")" -ge 6 ]
	[ "$(grep -c $'^memtable_bytes=16M\twrite\t' <<<"$output")" -ge 3 ]
	# What is given is not tried otherwise.
	equal sync "$(grep -c '^sync=' <<<"$output")" 0
	ok kevo-bench --tune -q --rounds=3 --keys=50 --duration=0.02 \
		--tests=write --sync=none -f json
	jq -e '.rounds == 3 and (.noise.write >= 0) and
		([.candidates[].setting] | index("memtable_bytes=16M")) and
		([.candidates[].gain.write.verdict] |
		all(. == "same" or . == "better" or . == "worse"))' \
		<<<"$output"
	nothing_left
}

@test "bench: --tune tries what it is told to" {
	ok kevo-bench --tune=block_bytes,sync=batch,block_bytes=32K -q \
		--rounds=3 --keys=50 --duration=0.02 --tests=read -f tsv
	equal tried "$(cut -f1 <<<"$output" | sort -u | tr '\n' ' ')" \
		'baseline block_bytes=16K block_bytes=2K block_bytes=32K ''block_bytes=8K setting sync=batch '
	fails 64 '*block_byte: *block_bytes*' kevo-bench --tune=block_byte
	fails 64 '*cache_bytes=VALUE' kevo-bench --tune=cache_bytes
	run -64 --separate-stderr kevo-bench --tune=block_bytes=3
	matches "$stderr" '*block_bytes=3: passed over: *nothing is left*'
	run -64 --separate-stderr kevo-bench --tune=sync --sync=none
	nothing_left
}

@test "bench: wrong options are 64, before anything is made" {
	fails 64 '*--tests: bad: not one of *' kevo-bench --tests=bad
	fails 64 '*--tests: read: twice' kevo-bench --tests=read,read
	fails 64 '*--tests: the list is empty' kevo-bench --tests=,
	fails 64 '*--keys*' kevo-bench --keys=0
	fails 64 '*--keys: at least 2 for each*' kevo-bench --keys=5 \
		--processes=3
	fails 64 '*--key-size: 2: too small*' kevo-bench --key-size=2
	fails 64 '*--value-size*' kevo-bench --value-size=7
	fails 64 '*--value-size*' kevo-bench --value-size=20-10
	fails 64 '*--batch*' kevo-bench --batch=1000000 --value-size=1M
	fails 64 '*--distribution: normal*' kevo-bench --distribution=normal
	fails 64 '*limit on the duration' kevo-bench --ops=0 --duration=inf
	fails 64 '*-f: csv*' kevo-bench -f csv
	fails 64 '*--sync*' kevo-bench --sync=some
	fails 64 '*--rounds*' kevo-bench --tune --rounds=2
	fails 64 '*--rounds goes with --tune*' kevo-bench --rounds=5
	fails 64 '*--tune*usage: *' kevo-bench --tune a.kv
	fails 64 '*exec*--tune*' kevo-bench --tune --tests=exec
	fails 64 '*options go before DB*' kevo-bench a.kv --keys=5
	fails 64 '*no_such*' kevo-bench --set no_such=1
	nothing_left
	[ ! -e a.kv ]
}

@test "bench: progress is told on request" {
	run -0 --separate-stderr kevo-bench --keys=100 --ops=0 --duration=2.5 \
		--sync=none --tests=mixed --progress=always
	matches "$stderr" 'kevo-bench: mixed +([0-9]) records, +([0-9])/s*'
}
