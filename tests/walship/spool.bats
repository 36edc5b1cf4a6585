#!/usr/bin/env bats
# shellcheck disable=SC2154
# kevo-walship recv --spool: files that something else copied.

load walship
setup() {
	common_setup
	database a.kv
	for i in 1 2 3 4; do
		commits a.kv "$((10 * i))" "$((10 * i + 8))"
		ok kevo-walship send a.kv --to ar --seal-after 0
	done
	wal=ar/wal/00000001
	names=("$wal"/*.seg)
	equal segments "${#names[@]}" 4
	mkdir in
	recv=(kevo-walship recv --spool in --to b)
}
teardown() { common_teardown; }

@test "spool: what comes becomes an archive, in whatever order and how often" {
	cp ar/epochs/* "${names[2]}" "${names[0]}" in/
	fails 81 'gap: in/*-000000000000001e.seg: need commit 11, it begins at 21; *' \
		"${recv[@]}"
	equal left "$(ls in)" "$(basename "${names[2]}")"
	cp "${names[1]}" "${names[0]}" in/
	ok "${recv[@]}"
	equal left "$(ls in)" ''
	cp "${names[@]}" in/
	ok "${recv[@]}"
	equal left "$(ls in)" ''
	files b >before
	cp "${names[@]}" ar/epochs/* in/
	ok "${recv[@]}"
	files b | cmp - before
	same_log a.kv b
	same_place a.kv b
	ok kevo-walship verify -q --deep b
}

@test "spool: a copy that was interrupted stays until it is whole" {
	cp "${names[0]}" in/
	ok "${recv[@]}"
	head -c 500 "${names[1]}" >"in/$(basename "${names[1]}")"
	fails 75 'short: in/*: it ends after * sound records, without a seal; it stays*' \
		"${recv[@]}"
	# Cut between two records, too.
	size=$(($(stat -c %s "${names[1]}") - 64))
	head -c "$size" "${names[1]}" >"in/$(basename "${names[1]}")"
	fails 75 'short: in/*' "${recv[@]}"
	matches "$(kevo-walship pos b)" '1.*:10:*'
	cp "${names[1]}" in/
	ok "${recv[@]}"
	matches "$(kevo-walship pos b)" '1.*:20:*'
}

@test "spool: what nobody wrote goes to state/reject, with the reason" {
	cp "${names[0]}" in/
	ok "${recv[@]}"
	files b >before
	cp "${names[1]}" in/
	flip "in/$(basename "${names[1]}")" 900
	fails 80 'corrupt: in/*; moved to state/reject*' "${recv[@]}"
	equal left "$(ls in)" ''
	[ -e "b/state/reject/$(basename "${names[1]}")" ]
	grep -q 'corrupt' b/state/reject/REASON
	# A right segment under another one's name, and no segment at all.
	cp "${names[1]}" "in/$(basename "${names[2]}")"
	fails 80 'corrupt: *its name is not what it holds*' "${recv[@]}"
	echo nonsense >in/x.seg
	fails 80 'corrupt: in/x.seg*no segment*' "${recv[@]}"
	echo nonsense >in/00000002.epoch
	fails 80 'corrupt: in/00000002.epoch*' "${recv[@]}"
	files b | grep -v reject | cmp - before
	cp "${names[1]}" in/
	ok "${recv[@]}"
}

@test "spool: another database, and a clone's commits" {
	cp "${names[0]}" in/
	ok "${recv[@]}"
	database other.kv
	commits other.kv 1 9
	ok kevo-walship send other.kv --to other --seal-after 0
	cp other/wal/00000001/*.seg in/
	fails 83 'wrong-db: in/*' "${recv[@]}"
	equal left "$(ls in)" ''
	# Two copies of one database that both write.
	kevo-walship send a.kv --to ar --slot none
	cp -a a.kv clone.kv
	commits a.kv 51 59
	commits clone.kv 151 159
	ok kevo-walship send a.kv --to ar --seal-after 0 --slot none
	cp "$wal"/*.seg in/
	ok "${recv[@]}"
	ok kevo-walship send clone.kv --to clone --seal-after 0 --slot none
	files b | grep -v reject >before
	cp clone/wal/00000001/*-0000000000000029-*.seg in/
	fails 82 'fork: *commit 50 *' "${recv[@]}"
	files b | grep -v reject | cmp - before
}

@test "spool: a name that is taken by other bytes is a conflict" {
	cp "${names[0]}" in/
	ok "${recv[@]}"
	# The same commits, in a replica's own file.
	ok kevo-walship apply ar --into r.kv --until-seq 10
	ok kevo-walship send r.kv --to r --seal-after 0
	name=$(basename "${names[0]}")
	cmp -s "$wal/$name" "r/wal/00000001/$name" && false
	cp "r/wal/00000001/$name" in/
	files b >before
	fails 84 "conflict: b/wal/00000001/$name *" "${recv[@]}"
	files b | grep -v reject | cmp - before
}

@test "spool: what can replace a damaged one stays until that is removed" {
	cp "${names[@]}" in/
	ok "${recv[@]}"
	first=b/wal/${wal##*/}/$(basename "${names[0]}")
	chmod u+w "$first"
	flip "$first" 300
	cp "${names[0]}" in/
	fails 80 "corrupt: $first: *; next: remove it, fetch it*" "${recv[@]}"
	[ -e "in/$(basename "${names[0]}")" ]
	is 0 sh -c 'ls b/state/reject | wc -l'
	rm "$first"
	ok "${recv[@]}"
	cmp "$first" "${names[0]}"
	[ ! -e "in/$(basename "${names[0]}")" ]
	ok kevo-walship verify -q b
}

@test "spool: names that are not ours are left alone, and a directory too" {
	cp "${names[0]}" in/.x.seg.Ab12
	cp "${names[0]}" in/x.seg.part
	mkdir in/.~tmp~ in/dir.seg
	mkfifo in/pipe.seg
	ln -s "$PWD/${names[0]}" in/link.seg
	ls -A in >before
	fails 66 'b: no such archive*' "${recv[@]}"
	cp "${names[0]}" in/
	ok "${recv[@]}"
	ls -A in | cmp - before
}

@test "spool: a tail is taken, and completed by its segment" {
	cp "${names[@]}" in/
	ok "${recv[@]}"
	commits a.kv 51 55
	ok kevo-walship send a.kv --to ar
	cp ar/state/tail/*.open in/
	ok "${recv[@]}"
	same_place a.kv b
	commits a.kv 56 59
	ok kevo-walship send a.kv --to ar --seal-after 0
	cp "$wal"/*.seg in/
	ok "${recv[@]}"
	equal tails "$(ls b/state/tail)" ''
	same_log a.kv b
}

@test "spool: a tail without its seal is completed by what follows" {
	cp "${names[@]}" in/
	ok "${recv[@]}"
	commits a.kv 51 55
	ok kevo-walship send a.kv --to ar
	cp ar/state/tail/*.open in/
	ok "${recv[@]}"
	ok kevo-walship send a.kv --to ar --seal-after 0
	commits a.kv 61 65
	ok kevo-walship send a.kv --to ar
	cp ar/state/tail/*.open in/
	ok "${recv[@]}"
	same_place a.kv b
	same_log a.kv b
	ok kevo-walship verify -q b
}

@test "spool: compressed segments, and a compressing archive" {
	need zstd
	for name in "${names[@]}"; do
		zstd -q --check "$name" -o "in/$(basename "$name").zst"
	done
	ok kevo-walship recv --spool in --to b --zstd
	equal plain "$(find b/wal -name '*.seg')" ''
	same_place a.kv b
	ok kevo-walship verify -q --deep b
	cp "${names[@]}" in/
	ok kevo-walship recv --spool in --to b
	equal plain "$(find b/wal -name '*.seg')" ''
	equal left "$(ls in)" ''
}

# What was seen of rsync: a short file under the final name, leavings with a
# dot, a file that it skips though it differs.
@test "spool: rsync, interrupted in every way, and then not" {
	need rsync
	cp "${names[@]}" in/
	ok "${recv[@]}"
	head -c 3000000 /dev/urandom | kevo-put -i a.kv large
	ok kevo-walship send a.kv --to ar --seal-after 0
	large=$(ls -S "$wal" | head -n 1)
	for how in --partial --inplace --append-verify --partial-dir=.part \
		--delay-updates; do
		for signal in TERM KILL; do
			rm -rf in
			mkdir in
			rsync --bwlimit=1000 "$how" "$wal/$large" in/ \
				2>/dev/null &
			sync=$!
			wait_for sh -c 'find in -type f -size +100k | grep -q .'
			kill -"$signal" "$sync"
			wait "$sync" || true
			run "${recv[@]}"
			[ "$status" -eq 0 ] || [ "$status" -eq 75 ] ||
				{ echo "$how $signal: $output"; return 1; }
			[ ! -e "b/wal/${wal##*/}/$large" ]
		done
	done
	rsync -a --partial-dir=.part "$wal/" in/
	ok "${recv[@]}"
	same_place a.kv b
	ok kevo-walship verify -q b
}
