#!/usr/bin/env bats
# shellcheck disable=SC2154
# kevo-walship status, verify of archives, known-loss and tail.

load walship
setup() {
	common_setup
	database a.kv
	for i in 1 2 3; do
		commits a.kv "$((10 * i))" "$((10 * i + 8))"
		ok kevo-walship send a.kv --to ar --seal-after 0
	done
	segs=(ar/wal/00000001/*.seg)
}
teardown() { common_teardown; }

@test "status: an archive that is up to date, in every form" {
	need jq
	ok kevo-walship status ar
	matches "$output" '*segments   3, commits 1..30*'
	matches "$output" '*lag        0 commits*drill      never'
	ok kevo-walship status --json ar
	jq -e '.commit == "30" and .segments == "3" and .lag_commits == "0" and
		.drill_ms == "unknown" and .missing == []' <<<"$output"
	ok kevo-walship status --prom ar
	matches "$output" '*kevo_walship_commit 30*kevo_walship_segments 3*'
	run -0 --separate-stderr kevo-walship status --nagios ar
	matches "$output" 'KEVO OK: ar |*commit=30*lag_commits=0*'
	if command -v promtool >/dev/null; then
		kevo-walship status --prom ar | promtool check metrics
		kevo-walship status --prom a.kv | promtool check metrics
	fi
	is '' kevo-walship status -q ar
	fails 64 '*do not go together*' kevo-walship status --json --prom ar
}

@test "status: lag is measured against the source, and unknown without it" {
	commits a.kv 41 42
	# The source says where it is, and then nothing arrives.
	cp -r ar before
	ok kevo-walship send a.kv --to ar
	cp ar/state/source before/state/
	ok kevo-walship status --json before
	matches "$output" '*"lag_commits":"3"*'
	run -1 --separate-stderr kevo-walship status -q before \
		--max-lag-commits 2
	equal said "$stderr" \
		'kevo-walship: lag: before: 3 commits behind (limit 2)'
	rm before/state/source
	ok kevo-walship status --json before
	matches "$output" '*"lag_commits":"unknown","lag_bytes":"unknown","lag_ms":"unknown"*'
	run -1 kevo-walship status -q before --max-lag 100d
	run -1 --separate-stderr kevo-walship status --nagios before --max-lag 1d
	matches "$output" 'KEVO WARNING: lag: before: unknown (limit *) |*lag=U'
	ok kevo-walship status -q ar --max-lag 100d --max-lag-commits 0
	run -1 kevo-walship status -q ar --max-drill 8d
	# The clock of the last contact counts, not the fact that it was equal.
	sed -i 's/time .*/time 01000000000000000000/' ar/state/source
	run -1 kevo-walship status -q ar --max-lag 1d
}

@test "status: a replica and slots" {
	ok kevo-walship apply ar --into r.kv
	ok kevo-walship status r.kv
	matches "$output" '*role       replica*'
	ok kevo-walship status --json a.kv
	matches "$output" '*"role":"primary"*"slots":[{*"confirmed":"1.*:30:*'
	run -3 kevo-walship status --nagios nowhere
}

@test "status: commits that are missing are told, until they are known losses" {
	mv "${segs[1]}" aside
	run -1 --separate-stderr kevo-walship status ar
	matches "$output" '*missing     11..20*'
	equal said "$stderr" \
		'kevo-walship: gap: ar: commits are missing in 1 place'
	run -2 kevo-walship status --nagios ar
	run -87 --separate-stderr kevo-walship verify ar
	matches "$stderr" '*gap: ar: commits 11..20 are missing*failed: ar: 1 thing is wrong*'
	ok kevo-walship known-loss ar 11-20 'a disk'
	ok kevo-walship status ar
	matches "$output" '*known loss  11..20*'
	ok kevo-walship verify -q ar
	fails 64 '*20-11*' kevo-walship known-loss ar 20-11 x
	fails 64 '*REASON*' kevo-walship known-loss ar 1-2
}

@test "status: 200,000 segments take less than a second" {
	[ -z "${KEVO_SAN-}" ] || skip 'it measures time'
	# What they hold is not looked at, so they need not hold anything.
	in_memory
	cp -r "$OLDPWD/ar" .
	epoch=ar/wal/00000002
	mkdir "$epoch"
	awk -v dir="$epoch" 'BEGIN { for (i = 31; i <= 200000; i++)
		printf "%s/00000002-%016x-%016x.seg\n", dir, i, i }' |
		xargs touch
	ok kevo-walship status ar
	matches "$output" '*segments   199973, commits 1..200000*'
	start=$(date +%s%N)
	ok kevo-walship status ar --json
	took=$((($(date +%s%N) - start) / 1000000))
	echo "$took ms"
	[ "$took" -lt 1000 ]
}

@test "verify: damage in an archive is found, whatever kind" {
	ok kevo-walship verify ar
	matches "$output" 'ar: sound: 3 of 3 segments read, 30 commits'
	ok kevo-walship verify ar --sample 100% --deep --against a.kv
	ok kevo-walship verify ar --sample 0.01%
	flip "${segs[1]}" 900
	run -87 --separate-stderr kevo-walship verify ar
	matches "$stderr" "*corrupt: ${segs[1]}: record * at byte *failed: ar: 1 thing is wrong in 3 segments"
	flip "${segs[1]}" 900
	# A segment under another one's name.
	cp "${segs[0]}" keep
	cp "${segs[1]}" "${segs[0]}"
	run -87 --separate-stderr kevo-walship verify ar
	matches "$stderr" '*its name is not what it holds*'
	cp keep "${segs[0]}"
	ok kevo-walship verify -q ar
	sed -i '1s/^./x/' ar/state/SUMS
	run -87 --separate-stderr kevo-walship verify --deep ar
	matches "$stderr" '*state/SUMS has another sum*'
	ok kevo-walship verify -q --sums ar
	(cd ar && xxhsum -q -c state/SUMS)
	rm ar/state/SUMS
	ok kevo-walship verify -q --sums ar
	(cd ar && xxhsum -q -c state/SUMS)
	equal sums "$(wc -l <ar/state/SUMS)" 3
}

@test "verify: an archive against the database that it is of" {
	cp -a a.kv b.kv
	commits a.kv 41 45
	commits b.kv 51 55
	ok kevo-walship send a.kv --to ar --seal-after 0 --slot none
	ok kevo-walship verify -q ar --against a.kv
	run -87 --separate-stderr kevo-walship verify ar --against b.kv
	matches "$stderr" '*fork: *at commit *the database has*'
	database c.kv
	kevo-put c.kv k v
	fails 83 'wrong-db: ar: *' kevo-walship verify ar --against c.kv
}

@test "tail: databases, archives and files show the same" {
	need jq
	commits a.kv 41 42
	kevo-delete a.kv k41
	ok kevo-walship send a.kv --to ar
	kevo-walship tail a.kv >db.tail
	kevo-walship tail ar >ar.tail
	cmp db.tail ar.tail
	cat <(kevo-walship tail "${segs[@]}") \
		<(kevo-walship tail ar/state/tail/*) | cmp - db.tail
	equal lines "$(wc -l <db.tail)" 34
	matches "$(tail -n 1 db.tail)" $'34\t20*Z\tdelete\tk41'
	is "$(tail -n 3 db.tail)" kevo-walship tail --from 31 ar
	is "$(tail -n 3 db.tail)" kevo-walship tail --from 31 a.kv
	pos=$(kevo-walship pos "${segs[2]}")
	is "$(tail -n 4 db.tail)" kevo-walship tail --from "$pos" ar
	kevo-walship tail --json ar | jq -e -s 'length == 34 and
		.[33].changes[0].op == "delete" and .[33].version == "34"'
	# As far as a damaged one is sound.
	cp "${segs[0]}" bad.seg
	flip bad.seg 900
	run -80 --separate-stderr kevo-walship tail bad.seg
	[ "${#lines[@]}" -ge 1 ]
	matches "$stderr" 'kevo-walship: corrupt: bad.seg: *'
}

@test "tail: --follow goes on" {
	kevo-walship tail --follow ar >ar.tail 3>&- &
	children+=($!)
	kevo-walship tail --follow a.kv >db.tail 3>&- &
	children+=($!)
	commits a.kv 41 42
	ok kevo-walship send a.kv --to ar
	wait_for grep -q k42 ar.tail
	wait_for grep -q k42 db.tail
	wait_for cmp ar.tail db.tail
}

@test "tail: --follow goes on in a tail where it was, and reads no more" {
	local before got n
	seq 40000 | sed 's/.*/big&\ta value with some length to it &/' |
		kevo-put -i -b 20 --sync=batch a.kv
	ok kevo-walship send a.kv --to ar
	size=$(stat -c %s ar/state/tail/*.open)
	[ "$size" -gt 2000000 ]
	background kevo-walship tail --follow ar >ar.tail
	wait_for grep -q big40000 ar.tail
	before=$(sed -n 's/^rchar: //p' "/proc/$child/io")
	for n in 1 2 3 4 5; do
		kevo-put a.kv "one$n" "$n"
		kevo-walship send -q a.kv --to ar
		wait_for grep -q "one$n" ar.tail
	done
	got=$(($(sed -n 's/^rchar: //p' "/proc/$child/io") - before))
	echo "tail $size, read $got"
	[ "$got" -lt $((size / 4)) ]
	# A seal, and the tail behind it.
	ok kevo-walship send a.kv --to ar --seal-after 0
	for n in 6 7; do
		kevo-put a.kv "one$n" "$n"
		kevo-walship send -q a.kv --to ar
		wait_for grep -q "one$n" ar.tail
	done
	kevo-walship tail ar | cmp - ar.tail
	kill -TERM "$child"
	ends 143
}
