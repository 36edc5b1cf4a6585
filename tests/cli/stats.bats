#!/usr/bin/env bats
# shellcheck disable=SC2154
# kevo-stats: the numbers are what other programs count, in every format.

load common
shopt -s extglob
setup() {
	common_setup
	kevo-init -q a.kv
}
teardown() { common_teardown; }

# value NAME [DB]: as tsv says.
value() {
	kevo-stats -f tsv "${2:-a.kv}" | awk -F'\t' -v n="$1" \
		'$1 == n { print $2; found = 1 } END { exit !found }'
}

# counts NAME WANTED [DB]
counts() {
	equal "$1" "$(value "$1" "${3:-a.kv}")" "$2"
}

reads() {
	kevo-config "${2:-a.kv}" set count_reads="$1"
}

@test "stats: what one-shot tools do is counted" {
	kevo-put a.kv a 1
	kevo-put a.kv b 22
	kevo-put --sync=none a.kv c 333
	no kevo-put --if-absent a.kv a 2
	kevo-delete a.kv b
	kevo-delete a.kv absent
	is 1 kevo-incr a.kv n
	seq 250 | kevo-put -i -q -k -b 100 a.kv
	no kevo-put --if-value=9 a.kv a 3
	counts puts 254
	counts deletes 2
	counts conditions_false 2
	counts transactions.begun "$(value transactions.committed)"
	# Three of the records; single ones, and the increment.
	counts batches 3
	counts commits 9
	counts appended_version 9
	counts user_bytes "$((2 + 3 + 4 + 1 + 6 + 2 + $(seq 250 | tr -d '\n' |
		wc -c)))"
	counts rebuilds 1
	counts log_segments 1
}

@test "stats: syncs are those that strace sees" {
	local before n
	need strace
	before=$(value syncs)
	n=0
	for tool in 'put a.kv k v' 'put --sync=none a.kv k v' 'incr a.kv n' \
		'put --sync=batch a.kv k v' 'delete a.kv k' 'get a.kv k'; do
		# shellcheck disable=SC2086 # words
		strace -f -o trace -e trace=fdatasync kevo-$tool >/dev/null || true
		n=$((n + $(grep -c 'fdatasync(.*= 0' trace || true)))
	done
	[ "$n" -ge 3 ]
	counts syncs $((before + n))
	counts sync_latency_seconds.count $((before + n))
}

@test "stats: reads are counted if the database is set so" {
	local i
	kevo-put a.kv a 12345
	kevo-put a.kv b 1
	kevo-get a.kv a
	kevo-scan a.kv
	counts gets.hit 0
	counts scans 0
	before=$(cksum <a.kv/shm/control)
	kevo-get a.kv a
	equal control "$(cksum <a.kv/shm/control)" "$before"
	reads on
	for i in 1 2 3; do kevo-get a.kv a; done
	no kevo-get a.kv absent
	run -1 kevo-get -f tsv a.kv a b absent
	counts gets.hit 5
	counts gets.miss 2
	counts get_latency_seconds.count 7
	counts read_bytes $((4 * 5 + 1))
	kevo-scan a.kv
	counts scanned_records 2
	counts scans 1
	counts read_bytes $((4 * 5 + 1 + 2 + 6))
	reads off
	kevo-get a.kv a
	counts gets.hit 5
}

@test "stats: who may not write is not counted, and reads all the same" {
	need setpriv
	kevo-put a.kv a 1
	reads on
	chmod -R a-w a.kv
	is 1 nodac kevo-get a.kv a
	is a$'\t'1 nodac kevo-scan a.kv
	nodac kevo-stats -f tsv a.kv >stats
	grep -qx $'gets.hit\t0\tcounter' stats
	chmod -R u+w a.kv
	is 1 kevo-get a.kv a
	counts gets.hit 1
}

@test "stats: many processes at once are counted exactly" {
	local i
	for i in 1 2 3 4 5 6; do
		background sh -c "seq 100 | while read -r n; do
			kevo-put --sync=none a.kv $i.\$n v || exit
		done"
	done
	for i in "${children[@]}"; do
		child=$i
		ends 0
	done
	counts commits 600
	counts puts 600
	counts appended_version 600
}

@test "stats: kill -9 at any time leaves numbers that make sense" {
	local i commits
	for i in 1 2 3 4 5 6 7 8; do
		background bash -c 'exec kevo-put -i -q -f text -b 1 \
			--sync=none a.kv < <(yes | nl) 2>/dev/null'
		wait_for sh -c "[ \$(kevo-stats -f tsv a.kv |
			awk '\$1 == \"puts\" { print \$2 }') -gt $((i * 50)) ]"
		kill -KILL "$child"
		wait "$child" || true
	done
	kevo-put a.kv last v
	commits=$(value appended_version)
	[ $(($(value commits) + $(value repairs.commit) + 8)) -ge "$commits" ]
	[ "$(value commits)" -le "$commits" ]
	kevo-stats -f json a.kv >/dev/null
}

@test "stats: survive a reboot and a copy, and begin anew without shm" {
	local i since
	for i in 1 2 3; do kevo-put a.kv $i v; done
	since=$(value counters_since_timestamp_seconds)
	cp -r a.kv copy.kv
	counts commits 3 copy.kv
	counts rebuilds 2 copy.kv
	counts rebuild_records 3 copy.kv
	counts counters_since_timestamp_seconds "$since" copy.kv
	kevo-put copy.kv 4 v
	counts commits 4 copy.kv
	counts commits 3
	# Of another boot: its number is bytes 48 to 63, and hashed.
	rm -r a.kv/shm
	counts commits 0
	counts appended_version 3
	counts rebuilds 1
	[ "$(value counters_since_timestamp_seconds)" != "$since" ]
}

@test "stats: flushes and merges, and processes started for them" {
	local files
	# A writer starts what lies beside it.
	mkdir bin
	cp "$(command -v kevo-put)" bin
	printf '#!/bin/sh\necho "$@" >>%s/started\n' "$PWD" >bin/kevo-compact
	chmod +x bin/kevo-compact
	: >started
	kevo-init -q --set memtable_bytes=64K b.kv
	seq 20000 | sed 's/$/\ta value/' | bin/kevo-put -i -q --sync=none b.kv
	wait_for sh -c "[ \$(wc -l <started) -ge \$(kevo-stats -f tsv b.kv |
		awk '\$1 == \"compactors_started\" { print \$2 }') ]"
	[ "$(value compactors_started b.kv)" -gt 0 ]
	counts compactors_started "$(wc -l <started)" b.kv
	kevo-config b.kv set compaction=manual
	kevo-compact --full b.kv
	counts l0_files 0 b.kv
	[ "$(value flushes b.kv)" -gt 0 ]
	files=$(find b.kv/table -name '*.sst' -printf '%s\n' |
		awk '{ n += $1 } END { print NR, n }')
	equal tables "$(kevo-stats -f tsv b.kv | awk '/^level_tables/ {
		n += $2 } /^table_bytes/ { b = $2 } END { print n, b }')" \
		"$files"
	equal records "$(kevo-stats -f tsv b.kv | awk '/^level_records/ {
		n += $2 } END { print n }')" "$(kevo-scan -c b.kv)"
	counts table_version "$(value versions_installed b.kv)" b.kv
	run -0 kevo-stats b.kv
	matches "$output" '*Level *fullness*Tables*flushes *'
	awk 'length > 80 { print; bad = 1 } END { exit bad }' <<<"$output"
	ok kevo-stats --plot=ascii level_bytes b.kv
	need promtool
	kevo-stats -f prometheus b.kv | promtool check metrics
}

@test "stats: reading them leaves no trace" {
	kevo-put a.kv a 1
	listing a.kv >before
	for f in human tsv json prometheus openmetrics; do
		kevo-stats -f $f a.kv >/dev/null
	done
	kevo-stats --plot=svg a.kv >/dev/null
	listing a.kv | diff before -
	chmod -R a-w a.kv
	ok nodac kevo-stats a.kv
	rm -rf ro.kv
	cp -r a.kv ro.kv	# of another place, and nobody can build it
	ok nodac kevo-stats -f tsv ro.kv
	grep -qx $'puts\t1\tcounter' <<<"$output"
}

@test "stats: every name is in the manual page, and the other way round" {
	local page=$root/man/kevo-stats.1 name
	kevo-stats -f tsv a.kv | cut -f1 | sed 's/\..*//' | sort -u >names
	while read -r name; do
		grep -qw -e "$name" "$page" || { echo "no $name"; return 1; }
	done <names
	# Names stand in the list items of METRICS; labels follow a dot.
	sed -n '/^\.Sh METRICS/,/^\.Sh FILES/p' "$page" |
		sed -n 's/^\.It Cm //p' | tr -d ',' | tr ' ' '\n' |
		grep '^[a-z]' | sed 's/\..*//' | sort -u |
		grep -vxE 'lock|help|slow|segments|level0|to' >told
	comm -13 names told >further
	equal 'names that are not there' "$(cat further)" ''
}

@test "stats: human fits 80 columns and shows what there is" {
	local i
	for i in 1 2 3; do kevo-put a.kv $i v; done
	ok kevo-stats a.kv
	awk 'length > 80 { print; bad = 1 } END { exit bad }' <<<"$output"
	matches "$output" '*commits  * 3 *'
	matches "$output" '*commit, to disk * 3 *'
	[[ $output != *Errors* && $output != *Reading* ]]
	reads on
	kevo-get a.kv 1
	no kevo-get a.kv absent
	ok kevo-stats a.kv
	matches "$output" '*Reading*gets that found * 1 *did not * 1*'
}

@test "stats: json is JSON, with the numbers of tsv" {
	need jq
	kevo-put a.kv a 1
	kevo-stats -f json a.kv >j
	equal lines "$(wc -l <j)" 1
	is 1 jq .puts j
	is '"a.kv"' jq .path j
	is '"full"' jq .settings.sync j
	is 1 jq .commit_latency_seconds.disk.count j
	jq -r 'del(.time, .path) | paths(scalars) as $p |
		[($p | join(".")), getpath($p)] | @tsv' j | cut -f1 |
		sort >from-json
	kevo-stats -f tsv a.kv | cut -f1 | sort | diff from-json -
	mv a.kv $'a"\\\n.kv'
	kevo-stats -f json $'a"\\\n.kv' | jq -e .path >/dev/null
}

@test "stats: prometheus is what promtool accepts, openmetrics ends" {
	local f
	kevo-put a.kv a 1
	kevo-stats -f prometheus a.kv >p
	grep -qx 'kevo_puts_total{path="a.kv"} 1' p
	grep -qx 'kevo_errors_total{path="a.kv",kind="busy"} 0' p
	grep -qx 'kevo_level_bytes{path="a.kv",level="3"} 0' p
	grep -qx 'kevo_sync_latency_seconds_count{path="a.kv"} 1' p
	kevo-stats -f openmetrics a.kv >o
	equal end "$(tail -n 1 o)" '# EOF'
	equal ends "$(grep -c '^# EOF' o)" 1
	grep -qx '# TYPE kevo_puts counter' o
	grep -qx 'kevo_puts_total{path="a.kv"} 1' o
	# Buckets only grow, and the last one has all.
	for f in p o; do
		awk '/_bucket/ { n = $NF; if (/le="0.000000256"/) last = 0
			if (n < last) exit 1; last = n; if (/[+]Inf/) inf = n }
			/_count[{]/ { if ($NF != inf) exit 1 }' $f
	done
	mv a.kv $'a"\\\n.kv'
	kevo-stats -f prometheus $'a"\\\n.kv' >strange
	need promtool
	ok promtool check metrics <p
	ok promtool check metrics <strange
}

@test "stats: -o is whole or not at all" {
	kevo-put a.kv a 1
	echo old >out
	ok kevo-stats -f prometheus -o out a.kv
	grep -q kevo_puts out
	run -74 --separate-stderr kevo-stats -o /dev/full a.kv
	fails 73 '*nowhere/out*' kevo-stats -o nowhere/out a.kv
	fails 64 '*empty*' kevo-stats -o '' a.kv
	echo old >out
	fails 66 '*' kevo-stats -o out no.kv
	is old cat out
	run -0 sh -c 'ls -a | grep tmp || true'
	equal leftovers "$output" ''
	is "$(kevo-stats -f tsv a.kv | grep -c .)" sh -c \
		'kevo-stats -f tsv -o - a.kv | grep -c .'
}

@test "stats: --watch shows rates, a line a period, until a signal" {
	local n
	background kevo-stats --watch=0.1 -f tsv a.kv >rates
	watcher=$child
	wait_for grep -q commits rates
	kevo-put a.kv a 1
	kevo-put a.kv b 1
	# What the rates add up to is what was done.
	wait_for sh -c "[ \$(wc -l <rates) -gt 5 ]"
	wait_for awk -F'\t' '
		NR == 1 { for (i = 1; i <= NF; i++) if ($i == "puts") col = i }
		NR > 2 { sum += $col * ($1 - last) } { last = $1 }
		END { exit !(sum > 1.9 && sum < 2.1) }' rates
	kill -TERM "$watcher"
	child=$watcher
	ends 143
	awk -F'\t' 'NR == 1 { n = NF } NF != n { exit 1 }' rates
	background kevo-stats --watch=0.1 a.kv >human
	watcher=$child
	wait_for sh -c "[ \$(wc -l <human) -gt 3 ]"
	kill -INT "$watcher" 2>/dev/null || true
	kill -TERM "$watcher"
	wait "$watcher" || true
	awk 'length > 80 { exit 1 }' human
	matches "$(head -n 1 human)" 'time *commits *'
	background kevo-stats --watch=0.1 -f json a.kv >json
	watcher=$child
	wait_for sh -c "[ \$(wc -l <json) -gt 2 ]"
	kill -TERM "$watcher"
	wait "$watcher" || true
	need jq
	head -n 2 json | jq -e .rates.puts >/dev/null
}

@test "stats: --record appends lines that several share" {
	local i
	for i in 1 2 3 4 5 6 7 8; do
		background kevo-stats --record=r.tsv a.kv
	done
	for i in "${children[@]}"; do
		child=$i
		ends 0
	done
	equal lines "$(wc -l <r.tsv)" 9
	awk -F'\t' 'NR == 1 { n = NF } NF != n { exit 1 }' r.tsv
	matches "$(head -n 1 r.tsv)" 'time	id	*'
	ok kevo-stats --record=r.tsv a.kv
	equal output "$output" ''
	# What a killed process left of a line goes.
	printf '123.4\tabc\t1\t2' >>r.tsv
	kevo-put a.kv a 1
	kevo-stats --record=r.tsv a.kv
	equal lines "$(wc -l <r.tsv)" 11
	awk -F'\t' 'NR == 1 { n = NF } NF != n { exit 1 }' r.tsv
	head -c 100 r.tsv >cut.tsv
	kevo-stats --record=cut.tsv a.kv
	equal lines "$(wc -l <cut.tsv)" 2
	equal names "$(head -n 1 cut.tsv)" "$(head -n 1 r.tsv)"
	echo something else >other
	fails 65 '*other*' kevo-stats --record=other a.kv
	is 'something else' cat other
	fails 73 '*' kevo-stats --record=no/r.tsv a.kv
}

@test "stats: --plot draws a histogram, a name's labels, and a record" {
	local i
	for i in 1 2 3 4; do kevo-put a.kv $i v; done
	ok kevo-stats --plot=ascii put_latency a.kv
	awk 'length > 80 { exit 1 }' <<<"$output"
	matches "$output" 'commit_latency_seconds: 4 times, p50 *#*'
	# The bars' numbers are those of the commits.
	equal commits "$(awk 'NR > 1 { for (i = 1; i <= NF; i++)
		if ($i ~ /^#/) n += $(i - 1) } END { print n }' <<<"$output")" 4
	ok kevo-stats --plot=ascii commit_latency.none a.kv
	matches "$output" '*0 times*nothing yet*'
	ok kevo-stats --plot=ascii errors a.kv
	matches "$output" '*busy*0*'
	ok kevo-stats --plot=ascii a.kv
	matches "$output" '*sync_latency*'
	fails 64 '*commits*single number*' kevo-stats --plot=ascii commits a.kv
	fails 64 '*nonsense*' kevo-stats --plot=ascii nonsense a.kv
	fails 66 '*no.tsv*' kevo-stats --plot=ascii --record=no.tsv a.kv
	kevo-stats --record=r.tsv a.kv
	kevo-put a.kv 5 v
	kevo-init -q other.kv
	kevo-stats --record=r.tsv other.kv
	kevo-stats --record=r.tsv a.kv
	ok kevo-stats --plot=ascii --record=r.tsv appended_version a.kv
	matches "$output" $'appended_version\n*Z * 4 #*\n*Z * 5 #*'
	equal lines "${#lines[@]}" 3
	ok kevo-stats --plot=ascii --record=r.tsv a.kv
	matches "$output" $'commits, a second\n*Z *#*'
	ok kevo-stats --plot=ascii --record=r.tsv commit_latency.disk a.kv
	matches "$output" '*.p50*.p99*.max*'
	equal lines "$(wc -l <r.tsv)" 4
	need python3
	for i in '' commit_latency errors level_bytes; do
		# shellcheck disable=SC2086 # one or none
		kevo-stats --plot=svg $i a.kv >x.svg
		python3 -c 'import xml.dom.minidom as x; x.parse("x.svg")'
	done
	kevo-stats --plot=svg --record=r.tsv puts a.kv >x.svg
	python3 -c 'import xml.dom.minidom as x; x.parse("x.svg")'
	grep -q '<polyline' x.svg || grep -q '<circle' x.svg
	mv a.kv 'a<&>.kv'
	kevo-stats --plot=svg 'a<&>.kv' >x.svg
	python3 -c 'import xml.dom.minidom as x; x.parse("x.svg")'
	kevo-stats --plot=svg other.kv >x.svg
	python3 -c 'import xml.dom.minidom as x; x.parse("x.svg")'
}

@test "stats: what has no meaning together is 64" {
	fails 64 '*human tsv json*' kevo-stats -f csv a.kv
	fails 64 '*ascii, svg*' kevo-stats --plot=png a.kv
	fails 64 '*' kevo-stats --plot=svg -f tsv a.kv
	fails 64 '*' kevo-stats --plot=svg --watch=1 a.kv
	fails 64 '*' kevo-stats --watch=1 -f prometheus a.kv
	fails 64 '*' kevo-stats --watch=1 -o out a.kv
	fails 64 '*' kevo-stats --record=r -o out a.kv
	fails 64 '*' kevo-stats --record=r -f tsv a.kv
	fails 64 '*' kevo-stats --watch=0 a.kv
	fails 64 '*' kevo-stats --watch=inf a.kv
	fails 64 '*' kevo-stats commits a.kv
	fails 64 '*' kevo-stats --plot=svg a b a.kv
	fails 66 '*no.kv*' kevo-stats no.kv
	run -74 --separate-stderr bash -c 'kevo-stats a.kv >/dev/full'
	matches "$stderr" 'kevo-stats: *'
	[ ! -e out ] && [ ! -e r ]
}

@test "stats: the shell's .stats shows what was counted" {
	kevo-put a.kv a 1
	run -0 kevo -c .stats a.kv
	matches "$output" $'*\ncommits * 1\n*'
	matches "$output" '*commit_latency_seconds.disk *p99 *'
}

@test "check_kevo: compares a number with ranges" {
	local i
	PATH=$root/contrib:$PATH
	is 'KEVO OK - l0_files = 0 | l0_files=0;50;100' check_kevo -w 50 \
		-c 100 --metric=l0_files a.kv
	is 'KEVO OK - l0_files = 0 | l0_files=0;;' check_kevo a.kv
	for i in 1 2 3 4 5; do kevo-put --sync=none a.kv $i v; done
	while read -r status warning critical; do
		run "-$status" check_kevo -w "$warning" -c "$critical" -m puts \
			a.kv
		matches "$output" 'KEVO *puts = 5 | puts=5c;*'
	done <<-'END'
		0 5 5
		0 5: 0:5
		1 4 5
		1 6: 4:
		2 4 4
		2 1 6:10
		2 ~:10 ~:4
		2 10 @0:5
		0 @6:10 @0:4
		0 4.5:5.5 @5.5:6
	END
	for i in x 5:x : 7:5 @ ''; do
		[ "$i" ] || continue
		run -3 check_kevo -w "$i" -m puts a.kv
		matches "$output" 'KEVO UNKNOWN - *'
	done
	run -0 check_kevo -m log_bytes a.kv
	matches "$output" '*log_bytes=+([0-9])B;;'
	run -0 check_kevo --metric commit_latency_seconds.none.p99 -w 10 a.kv
	matches "$output" '*p99=0.+([0-9])s;10;'
	for i in '--metric=nonsense a.kv' 'no.kv' '-x a.kv' '-w' '' \
		'a.kv b.kv' '--metric=database.id a.kv'; do
		# shellcheck disable=SC2086 # words
		run -3 check_kevo $i
		matches "$output" 'KEVO UNKNOWN - *'
	done
	run -3 env PATH=/nowhere /bin/sh "$root/contrib/check_kevo" a.kv
}
